//! Rules that have mail encrypted, with a real MTA behind the gateway and a real directory beside it: what must be encrypted
//! arrives encrypted or is refused, whatever its recipients' certificates are and whoever is away; and the rest arrives.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::encryption::{AGREEMENT, Reader, object, said};
use kenin_tests::forge::certificates::{
    Authority, CertificateForm, alt_names, key_usage, pem, rfc822,
};
use kenin_tests::forge::der::time;
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::postfix::Postfix;
use kenin_tests::postgres::Postgres;
use kenin_tests::redis::{PASSWORD, Redis};
use kenin_tests::sink::{Received, Sink, split};
use kenin_tests::slapd::{BASE, Entry, Slapd};
use kenin_tests::world::{Folder, free_address, run, wait_for, write_secret};

const SENDER: &str = "sender@own.example";
const MUST: &str = "must.example";
const MAYBE: &str = "maybe.example";
const NEVER: &str = "never.example";
const RULES: &str = "[[rule]]\nwhen = { recipient_domain = \"must.example\" }\nthen = { encrypt = \"must\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"maybe.example\" }\nthen = { encrypt = \"opportunistic\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"never.example\" }\nthen = { encrypt = \"never\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"gateway.example\" }\n\
    then = { encrypt = \"must\", certificates = \"domain\" }\n";

/// What there is to be said of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Expired,
    Revoked,
    /// Nobody tells whether it is revoked.
    Unknown,
    Absent,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Good,
        Self::Expired,
        Self::Revoked,
        Self::Unknown,
        Self::Absent,
    ];
}

/// What becomes of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clear,
    Encrypted,
    /// With a reply that begins so.
    Refused(&'static str),
}

/// Somebody with a certificate for this address.
fn reader(
    folder: &Path,
    authority: &Authority,
    address: &str,
    change: impl FnOnce(&mut CertificateForm),
) -> Reader {
    let name = address.replace('@', "-at-");
    Reader::with(folder, authority, &name, Key::p256(), |form| {
        form.extensions[0] = alt_names(&[rfc822(address.as_bytes())]);
        form.extensions[1] = key_usage(AGREEMENT);
        change(form);
    })
}

/// An ordinary one by the town's issuer.
fn good(folder: &Folder, address: &str) -> Reader {
    reader(folder.path(), &Town::get().issuer, address, |_| {})
}

fn mail(to: &str, canary: &str) -> Vec<u8> {
    format!(
        "From: Sender <{SENDER}>\r\nTo: {to}\r\nSubject: About {canary}\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <{canary}@own.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nThe body says {canary}.\r\n"
    )
    .into_bytes()
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Whether its text can be read; its Message-ID is not hidden from anybody.
fn shows(mail: &[u8], canary: &str) -> bool {
    has(mail, format!("The body says {canary}").as_bytes())
        || has(mail, format!("About {canary}").as_bytes())
}

fn is_for(mail: &Received, address: &str) -> bool {
    let to = format!("<{address}>");
    mail.recipients.iter().any(|line| line.contains(&to))
}

/// What OpenSSL opens a mail to with somebody's key; nothing where it cannot.
fn opened(folder: &Folder, reader: &Reader, mail: &[u8]) -> Option<Vec<u8>> {
    let file = folder.join("object.der");
    std::fs::write(&file, object(mail)).unwrap();
    let mut command = Command::new("openssl");
    command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]);
    command.arg(&file).arg("-recip").arg(&reader.certificate);
    let output = command.arg("-inkey").arg(&reader.key).output().unwrap();
    output.status.success().then_some(output.stdout)
}

#[track_caller]
fn keep(gateway: &Gateway, reader: &Reader) {
    let (file, config) = (reader.certificate.display(), gateway.config());
    let (file, config) = (file.to_string(), config.display().to_string());
    let output = kenin(&["cert", "import", &file, "--config", &config]);
    assert!(output.status.success(), "{}", said(&output));
}

fn send(gateway: &Gateway, to: &[&str], raw: &[u8]) -> Reply {
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new(SENDER, to[0])
    };
    gateway.send(&envelope, raw)
}

/// A gateway with these rules and tables, not started.
fn prepared(next_hop: std::net::SocketAddr, tables: &str) -> Gateway {
    Gateway::prepare(&Setup {
        tables: tables.to_owned(),
        mail: RULES.to_owned(),
        ..Setup::new(next_hop)
    })
}

fn directory(address: std::net::SocketAddr) -> String {
    format!("[[directory]]\nurl = \"ldap://{address}\"\nbase = \"{BASE}\"\n")
}

fn expected(domain: &str, kind: Kind, is_up: bool) -> Outcome {
    match (domain, kind, is_up) {
        (MUST | MAYBE, Kind::Good, true) => Outcome::Encrypted,
        (MUST, Kind::Unknown, true) => Outcome::Refused("451 4.7.5 Revocation status unavailable"),
        (MUST, _, true) => {
            Outcome::Refused("550 5.7.1 Encryption required but no valid certificate for <")
        }
        (MUST, _, false) => Outcome::Refused("451 4.4.3 Certificate directory unavailable"),
        _ => Outcome::Clear,
    }
}

/// Every rule, every certificate, with the directory and without it.
fn every_cell(more: &str) {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let silent = town.issuer.below("Silent Issuer");
    let (mut people, mut entries) = (Vec::new(), Vec::new());
    for domain in [MUST, MAYBE, NEVER] {
        for kind in Kind::ALL {
            let address = format!("{kind:?}@{domain}").to_lowercase();
            let issuer = match kind {
                Kind::Unknown => &silent,
                _ => &town.issuer,
            };
            let reader = reader(folder.path(), issuer, &address, |form| {
                if kind == Kind::Expired {
                    form.not_after = time("20210101000000Z");
                }
            });
            let entry = Entry::person(&address).with("mail", &address);
            entries.push(match kind {
                Kind::Absent => entry,
                _ => entry.certificate(&reader.person.certificate),
            });
            people.push((domain, kind, address, reader));
        }
    }
    let mut slapd = Slapd::start(&entries);
    let postfix = Postfix::start(sink.address, "");
    let tables = format!("{}{more}", directory(slapd.plain));
    let mut gateway = prepared(postfix.front, &tables);
    let file = gateway.folder.join("intermediates/silent.pem");
    std::fs::write(file, pem("CERTIFICATE", &silent.certificate)).unwrap();
    let mut revoked: Vec<&[u8]> = vec![&town.rita.serial];
    for (_, kind, _, reader) in &people {
        if *kind == Kind::Revoked {
            revoked.push(&reader.person.serial);
        }
    }
    let list = gateway.folder.join("crls/issuer.crl");
    std::fs::write(list, town.issuer.crl(&revoked)).unwrap();
    gateway.restart();
    let mut arrived = 0;
    for is_up in [true, false] {
        if !is_up {
            slapd.stop();
        }
        for (number, (domain, kind, address, reader)) in people.iter().enumerate() {
            let cell = format!("{domain} {kind:?}, directory up: {is_up}");
            let canary = format!("canary-{number}-{is_up}");
            let reply = send(&gateway, &[address.as_str()], &mail(address, &canary));
            let wanted = expected(domain, *kind, is_up);
            if let Outcome::Refused(words) = wanted {
                assert!(reply.text().starts_with(words), "{cell}: {}", reply.text());
                continue;
            }
            assert_eq!(reply.code, 250, "{cell}: {}", reply.text());
            arrived += 1;
            let got = sink.wait(arrived, Duration::from_secs(30)).pop().unwrap();
            assert!(is_for(&got, address), "{cell}: {:?}", got.recipients);
            let is_clear = shows(&got.raw, &canary);
            assert_eq!(is_clear, wanted == Outcome::Clear, "{cell}");
            if wanted == Outcome::Encrypted {
                let opened = opened(&folder, reader, &got.raw).expect("it opens");
                assert!(shows(&opened, &canary), "{cell}");
            }
        }
    }
    // Whatever was said meanwhile.
    for got in sink.mails() {
        let must = got.recipients.iter().any(|line| line.contains(MUST));
        assert!(!must || !has(&got.raw, b"The body says"));
    }
    wait_for("nothing is left in the queue", || postfix.queued() == 0);
    assert_eq!(sink.count(), arrived);
}

#[test]
fn each_rule_holds_for_each_certificate_with_and_without_the_directory() {
    every_cell("");
}

#[test]
fn and_where_mail_is_parsed_by_threads() {
    every_cell("[workers]\nisolate = false\n");
}

#[test]
fn what_lies_in_the_store_is_found_without_a_directory_and_judged_all_the_same() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let ann = good(&folder, "ann@must.example");
    let mut gateway = prepared(sink.address, &directory(free_address()));
    keep(&gateway, &ann);
    gateway.restart();
    let raw = mail("ann@must.example", "canary-1");
    let reply = send(&gateway, &["ann@must.example"], &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!shows(&got.raw, "canary-1"));
    let inside = opened(&folder, &ann, &got.raw).unwrap();
    assert!(shows(&inside, "canary-1"));
    assert_eq!(got.fields("Subject"), ["[...]"]);
    // Nobody knows whether the directory has another one for her by now.
    let list = Town::get().issuer.crl(&[&ann.person.serial]);
    std::fs::write(gateway.folder.join("crls/issuer.crl"), list).unwrap();
    gateway.restart();
    let reply = send(&gateway, &["ann@must.example"], &raw);
    assert!(reply.text().starts_with("451 4.4.3 "), "{}", reply.text());
    assert_eq!(sink.count(), 1);
}

/// What is odd in a header does not keep it outside (RFC 9788 §3.2.1).
#[test]
fn no_subject_goes_in_clear_whatever_is_odd_in_the_header() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let ann = good(&folder, "ann@must.example");
    let mut gateway = prepared(sink.address, "");
    keep(&gateway, &ann);
    gateway.restart();
    let raw = String::from_utf8(mail("ann@must.example", "canary-1")).unwrap();
    let plain = "Content-Type: text/plain; charset=utf-8\r\n";
    let long = format!("X-{}: y\r\n", "x".repeat(40));
    let many = format!("Cc: {}<a@x.example>\r\n", "b@x.example, ".repeat(75));
    for (place, (was, odd)) in [
        (
            "MIME-Version",
            "Cc: a@x.example\r\nCc: b@x.example\r\nMIME-Version",
        ),
        ("MIME-Version", &format!("{many}MIME-Version")),
        ("MIME-Version", "no field\r\nMIME-Version"),
        ("MIME-Version", "Subject: About canary-1\r\nMIME-Version"),
        ("Subject:", "Subject :"),
        (plain, "Content-Type: text/plain (text); charset=utf-8\r\n"),
        (
            plain,
            "Content-Type: text/plain; name=\"a\\\"b.txt\"; charset=utf-8\r\n",
        ),
        (plain, &format!("{plain}Content-Type: text/html\r\n")),
        (plain, &long),
    ]
    .into_iter()
    .enumerate()
    {
        let raw = raw.replacen(was, odd, 1);
        let reply = send(&gateway, &["ann@must.example"], raw.as_bytes());
        assert_eq!(reply.code, 250, "{odd}: {}", reply.text());
        let got = sink.wait(place + 1, Duration::from_secs(30)).pop().unwrap();
        assert!(!shows(&got.raw, "canary-1"), "{odd}");
        let inside = opened(&folder, &ann, &got.raw).unwrap();
        assert!(has(&inside, b"The body says canary-1"), "{odd}");
        assert!(has(&inside, b"About canary-1"), "{odd}");
        assert!(has(&inside, b"hp=\"cipher\""), "{odd}");
        assert!(
            !odd.contains("no field") || has(&inside, b"no field"),
            "it is lost"
        );
    }
}

#[test]
fn each_has_the_copy_that_is_for_them_and_who_is_refused_is_told() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let postfix = Postfix::start(sink.address, "");
    let mut gateway = prepared(postfix.front, "");
    let [ann, bob, carol] = ["ann", "bob", "carol"].map(|name| {
        let reader = good(&folder, &format!("{name}@must.example"));
        keep(&gateway, &reader);
        reader
    });
    gateway.restart();
    let to = [
        "ann@must.example",
        "bob@must.example",
        "carol@must.example",
        "nobody@must.example",
        "dan@elsewhere.example",
    ];
    // Nobody is told that carol gets it.
    let raw = mail("ann@must.example, Bob <BOB@must.example>", "canary-1");
    let reply = send(&gateway, &to, &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let all = sink.wait(4, Duration::from_secs(30));
    let of = |address: &str| {
        let mut own = all.iter().filter(|mail| is_for(mail, address));
        let found = own.next();
        assert!(own.next().is_none(), "{address} has it twice");
        found
    };
    let both = of("ann@must.example").unwrap();
    assert!(is_for(both, "bob@must.example") && both.recipients.len() == 2);
    let hidden = of("carol@must.example").unwrap();
    assert_eq!(hidden.recipients.len(), 1);
    for (mail, reader, opens) in [
        (both, &ann, true),
        (both, &bob, true),
        (both, &carol, false),
        (hidden, &ann, false),
        (hidden, &carol, true),
    ] {
        let opened = opened(&folder, reader, &mail.raw);
        assert_eq!(
            opened.is_some_and(|inside| shows(&inside, "canary-1")),
            opens
        );
        assert!(!shows(&mail.raw, "canary-1"));
    }
    assert!(of("nobody@must.example").is_none());
    assert!(shows(&of("dan@elsewhere.example").unwrap().raw, "canary-1"));
    let notice = of(SENDER).unwrap();
    assert!(notice.mail.starts_with("MAIL FROM:<>"), "{}", notice.mail);
    assert!(has(&notice.raw, b"nobody@must.example"));
    assert!(!has(&notice.raw, b"The body says"));
    wait_for("the log says who has nothing, and why", || {
        let log = gateway.log();
        let tells = |parts: &[&str]| {
            let mut lines = log.lines();
            lines.any(|line| parts.iter().all(|part| line.contains(part)))
        };
        let rule = "\"policy\":\"mail.toml#1\"";
        let to = "\"to\":\"nobody@must.example\"";
        tells(&["\"action\":\"divide\"", rule])
            && tells(&[
                "recipients refused",
                rule,
                to,
                "550 5.7.1 Encryption required",
            ])
    });
}

#[test]
fn what_is_protected_already_keeps_its_octets() {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let mut gateway = prepared(sink.address, "");
    let ann = good(&folder, "ann@must.example");
    keep(&gateway, &ann);
    gateway.restart();
    let signed = town.clear_signed(&town.bob, "bob@example.jp", "The body says canary-1.");
    assert_eq!(send(&gateway, &["ann@must.example"], &signed).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!has(&got.raw, b"canary-1"));
    let inside = opened(&folder, &ann, &got.raw).unwrap();
    assert!(has(&inside, split(&signed).1));
    // Its sender has encrypted it, for whom we cannot know.
    let (input, output) = (folder.join("part"), folder.join("made.der"));
    std::fs::write(&input, mime::text("The body says canary-2.")).unwrap();
    let mut command = Command::new("openssl");
    command.args(["cms", "-encrypt", "-binary", "-outform", "DER"]);
    command.args(["-aes-256-cbc", "-in"]).arg(&input);
    command.arg("-out").arg(&output).arg("-recip");
    run(command.arg(&ann.certificate));
    let made = std::fs::read(&output).unwrap();
    let encrypted = mime::opaque(&mime::headers(SENDER), "enveloped-data", &made);
    for to in ["ann@must.example", "nobody@must.example"] {
        let reply = send(&gateway, &[to], &encrypted);
        assert_eq!(reply.code, 250, "{}", reply.text());
    }
    for got in &sink.wait(3, Duration::from_secs(30))[1..] {
        assert_eq!(split(&got.raw).1, split(&encrypted).1);
    }
}

/// RFC 6531 §3.2: a U-label in any spelling that an MTA maps to the name of the rule (UTS 46).
#[test]
fn no_spelling_of_a_domain_gets_around_a_rule() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let mut gateway = prepared(sink.address, "");
    keep(&gateway, &good(&folder, "ann@must.example"));
    gateway.restart();
    let raw = mail("ann@must.example", "canary-1");
    // What the next hop takes is learnt by the first mail at the latest.
    let first = mail("dan@never.example", "canary-2");
    assert_eq!(send(&gateway, &["dan@never.example"], &first).code, 250);
    for domain in [
        "ⓜust.example",
        "mu\u{ad}st.example",
        "must.example\u{200b}",
        "ＭＵＳＴ．example",
        "must。example",
        "𝐦ust.ex\u{2060}ample",
    ] {
        for name in ["ann", "nobody"] {
            let to = format!("{name}@{domain}");
            let envelope = Envelope::new(SENDER, &to).with("BODY=8BITMIME SMTPUTF8");
            let reply = gateway.send(&envelope, &raw);
            // Certificates are for the name itself: no spelling of it has one.
            let words = "550 5.7.1 Encryption required";
            assert!(reply.text().starts_with(words), "{to:?}: {}", reply.text());
        }
    }
    assert_eq!(sink.count(), 1);
    let reply = send(&gateway, &["ann@must.example"], &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    assert!(!shows(&got.raw, "canary-1"));
}

/// RFC 5322 §3.5: the body is optional, and so is the empty line before it.
#[test]
fn a_mail_that_is_a_header_only_is_encrypted_too() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let mut gateway = prepared(sink.address, "");
    let ann = good(&folder, "ann@must.example");
    keep(&gateway, &ann);
    gateway.restart();
    let raw = mail("ann@must.example", "canary-1");
    let header = split(&raw).0;
    let reply = send(&gateway, &["ann@must.example"], header);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!shows(&got.raw, "canary-1"));
    assert_eq!(got.fields("Subject"), ["[...]"]);
    let inside = opened(&folder, &ann, &got.raw).expect("it opens");
    assert!(shows(&inside, "canary-1"));
    // What is no field may be text to somebody.
    let text = [header, b"The body says canary-1.\r\n"].concat();
    let reply = send(&gateway, &["ann@must.example"], &text);
    assert_eq!(reply.code / 100, 5, "{}", reply.text());
    assert_eq!(sink.count(), 1);
}

/// RFC 3183: from gateway to gateway.
#[test]
fn a_domains_gateway_reads_for_its_people() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let mut gateway = prepared(sink.address, "");
    let theirs = good(&folder, "domain-confidentiality-authority@gateway.example");
    keep(&gateway, &theirs);
    gateway.restart();
    let raw = mail("eve@gateway.example", "canary-1");
    let reply = send(&gateway, &["eve@gateway.example"], &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!shows(&got.raw, "canary-1"));
    let inside = opened(&folder, &theirs, &got.raw).unwrap();
    assert!(shows(&inside, "canary-1"));
}

#[test]
fn a_store_that_is_away_holds_up_only_what_needs_it() {
    let (folder, sink, database) = (Folder::new(), Sink::start(), Postgres::start());
    let tables = format!(
        "[store]\nurl = \"{}\"\npassword_file = \"password\"\n",
        database.url()
    );
    let mut gateway = prepared(sink.address, &tables);
    write_secret(&gateway.folder.join("password"), b"any");
    let ann = good(&folder, "ann@must.example");
    gateway.restart();
    keep(&gateway, &ann);
    let raw = mail("ann@must.example", "canary-1");
    let must = || send(&gateway, &["ann@must.example"], &raw);
    assert_eq!(must().code, 250);
    database.stop();
    let reply = must();
    assert!(reply.text().starts_with("451 4.3.5 "), "{}", reply.text());
    for to in ["dan@never.example", "dan@maybe.example"] {
        assert_eq!(send(&gateway, &[to], &raw).code, 250);
    }
    database.begin();
    wait_for("the store is asked again", || must().code == 250);
    for got in sink.mails() {
        let is_clear = shows(&got.raw, "canary-1");
        assert_eq!(is_clear, !is_for(&got, "ann@must.example"));
    }
}

/// failures.md: a cache that says nothing, or is not there, is passed by.
#[test]
fn without_the_cache_the_directory_is_asked() {
    let (folder, sink, mut redis) = (Folder::new(), Sink::start(), Redis::start());
    let ann = good(&folder, "ann@must.example");
    let entry = Entry::person("ann").with("mail", "ann@must.example");
    let slapd = Slapd::start(&[entry.certificate(&ann.person.certificate)]);
    let tables = format!(
        "{}[cache]\nurl = \"rediss://{}\"\nca = \"cache-ca.pem\"\n\
         password_file = \"cache.password\"\nkey_file = \"cache.key\"\n",
        directory(slapd.plain),
        redis.address
    );
    let mut gateway = prepared(sink.address, &tables);
    std::fs::copy(redis.ca(), gateway.folder.join("cache-ca.pem")).unwrap();
    write_secret(&gateway.folder.join("cache.password"), PASSWORD.as_bytes());
    write_secret(&gateway.folder.join("cache.key"), &[7; 32]);
    gateway.restart();
    let raw = mail("ann@must.example", "canary-1");
    let must = |when: &str| {
        let reply = send(&gateway, &["ann@must.example"], &raw);
        assert_eq!(reply.code, 250, "{when}: {}", reply.text());
    };
    must("it is there");
    redis.pause();
    must("it says nothing");
    redis.resume();
    redis.kill();
    must("it is away");
    let mails = sink.mails();
    assert_eq!(mails.len(), 3);
    for got in mails {
        assert!(!shows(&got.raw, "canary-1"));
        let inside = opened(&folder, &ann, &got.raw).expect("it opens");
        assert!(shows(&inside, "canary-1"));
    }
}

#[test]
fn a_milter_has_one_body_for_all() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    std::fs::write(gateway.folder.join("mail.toml"), RULES).unwrap();
    let ann = good(&folder, "ann@must.example");
    keep(&gateway, &ann);
    gateway.restart();
    let raw = mail("ann@must.example", "canary-1");
    let send = |to: &[&str]| {
        let envelope = Envelope {
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            ..Envelope::new(SENDER, to[0])
        };
        let mut client = Client::greeted(postfix.front);
        client.mail(&envelope, &raw).expect("Postfix answers")
    };
    for (to, words) in [
        (
            &["nobody@must.example"][..],
            "550 5.7.1 Encryption required",
        ),
        (
            &["ann@must.example", "dan@never.example"],
            "550 5.7.1 Send separately",
        ),
    ] {
        let reply = send(to);
        assert!(reply.text().starts_with(words), "{}", reply.text());
    }
    let reply = send(&["ann@must.example"]);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!shows(&got.raw, "canary-1"));
    let inside = opened(&folder, &ann, &got.raw).unwrap();
    assert!(shows(&inside, "canary-1"));
    assert_eq!(sink.count(), 1);
}
