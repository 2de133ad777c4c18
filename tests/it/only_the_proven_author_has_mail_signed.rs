//! Mail that leaves is signed for its author, who has proven to the MTA who they are, with their own key, and for nobody
//! else (RFC 6409 §8.1). Where the key is away, what it is to sign waits.

use std::process::Command;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::encryption::{AGREEMENT, Reader, object, said};
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{alt_names, ext_key_usage, key_usage, pem, rfc822};
use kenin_tests::forge::keys::Key;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::memory::copies;
use kenin_tests::openssl_mail::Workshop;
use kenin_tests::sink::{Received, Sink};
use kenin_tests::world::{Folder, children, is_gone, wait_for, write_secret};
use rustix::process::{Pid, Signal, kill_process};

const ALICE: &str = "alice@own.example";
/// digitalSignature and nonRepudiation.
const SIGNS: u8 = 0xc0;
const RULES: &str = "[[rule]]\nwhen = { sender_domain = \"own.example\", recipient_domain = \"must.example\" }\n\
    then = { encrypt = \"must\", sign = \"clear\" }\n\
    [[rule]]\nwhen = { sender_domain = \"own.example\" }\nthen = { sign = \"clear\" }\n";
const TABLES: &str = "[keys]\nkey_file = \"kek\"\n[senders]\nlogin_domain = \"own.example\"\n";

fn person(folder: &Folder, address: &str, usage: u8) -> Reader {
    let name = address.replace('@', "-at-");
    let issuer = &Town::get().issuer;
    Reader::with(folder.path(), issuer, &name, Key::p256(), |form| {
        form.extensions[0] = alt_names(&[rfc822(address.as_bytes())]);
        form.extensions[1] = key_usage(usage);
    })
}

/// Has the gateway sign for her, once it starts.
fn take_in(gateway: &Gateway, folder: &Folder, alice: &Reader) {
    let secret = gateway.folder.join("kek");
    if !secret.exists() {
        write_secret(&secret, &[7; 32]);
    }
    let chain = folder.join("issuer.pem");
    std::fs::write(&chain, pem("CERTIFICATE", &Town::get().issuer.certificate)).unwrap();
    let words = [
        alice.key.display().to_string(),
        "--certificate".to_owned(),
        alice.certificate.display().to_string(),
        "--certificate".to_owned(),
        chain.display().to_string(),
        "--config".to_owned(),
        gateway.config().display().to_string(),
    ];
    let mut all = vec!["key", "import"];
    all.extend(words.iter().map(String::as_str));
    let output = kenin(&all);
    assert!(output.status.success(), "{}", said(&output));
}

fn mail(from: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: bob@there.example\r\nSubject: Hello\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <1@own.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nThe body is hers.\r\n"
    )
    .into_bytes()
}

fn is_signed(workshop: &Workshop, mail: &Received) -> bool {
    let kind = mail.fields("Content-Type").concat();
    let text = String::from_utf8_lossy(&mail.raw).into_owned();
    assert!(text.contains("The body is hers.\r\n"), "{text}");
    if !kind.starts_with("multipart/signed") {
        assert!(kind.starts_with("text/plain"), "{kind}");
        return false;
    }
    // What it was found to be when it came says nothing of what leaves.
    assert!(!text.contains("smime="), "{text}");
    let content = workshop.verify(&mail.raw, "one").unwrap();
    String::from_utf8_lossy(&content).contains("The body is hers.")
}

fn submitted(sink: &Sink, submission: bool, tables: &str) -> Gateway {
    Gateway::prepare(&Setup {
        trusted_peers: Some(format!("[\"127.0.0.1\"]\nsubmission = {submission}")),
        tables: format!("{TABLES}{tables}"),
        mail: RULES.to_owned(),
        ..Setup::new(sink.address)
    })
}

fn by_submission(tables: &str) {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let (workshop, alice) = (Workshop::new(town), person(&folder, ALICE, SIGNS));
    let mut count = 0;
    for submission in [true, false] {
        let mut gateway = submitted(&sink, submission, tables);
        take_in(&gateway, &folder, &alice);
        gateway.restart();
        for (sender, from, signed) in [
            (ALICE, ALICE, true),
            ("Alice@OWN.example", "Alice <alice@own.example>", true),
            ("mallory@own.example", ALICE, false),
            ("", ALICE, false),
            // She may send it, and it says that somebody else wrote it.
            (ALICE, "boss@own.example", false),
            (ALICE, "alice@own.example, boss@own.example", false),
        ] {
            let envelope = Envelope::new(sender, "bob@there.example");
            let reply = gateway.send(&envelope, &mail(from));
            assert_eq!(reply.code, 250, "{sender} {from}: {}", reply.text());
            count += 1;
            let got = sink.wait(count, Duration::from_secs(30)).pop().unwrap();
            let found = is_signed(&workshop, &got);
            assert_eq!(found, signed && submission, "{sender} {from} {submission}");
        }
    }
}

#[test]
fn who_submits_mail_has_it_signed() {
    by_submission("");
}

/// Who sends one mail after the other is served by one process, for a while. Nobody else's mail is that process's.
#[test]
fn mail_of_one_author_has_one_process() {
    const BEA: &str = "bea@own.example";
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let workshop = Workshop::new(town);
    let people = [ALICE, BEA].map(|address| person(&folder, address, SIGNS));
    for (keep, stays) in [("10m", true), ("0s", false)] {
        let table = format!("[workers]\nisolate = true\nkeep_signing = \"{keep}\"\n");
        let mut gateway = submitted(&sink, true, &table);
        for one in &people {
            take_in(&gateway, &folder, one);
        }
        gateway.restart();
        let mut signed_by = |author: &str| {
            sink.clear();
            let envelope = Envelope::new(author, "bob@there.example");
            assert_eq!(gateway.send(&envelope, &mail(author)).code, 250);
            assert!(is_signed(&workshop, &sink.mails()[0]));
            if !stays {
                wait_for("it has ended", || copies(&mut gateway).is_empty());
            }
            copies(&mut gateway)
        };
        let (first, second) = (signed_by(ALICE), signed_by(ALICE));
        assert_eq!(first, second);
        let beas = signed_by(BEA);
        assert_eq!(
            (first.len(), beas.len()),
            (usize::from(stays), usize::from(stays))
        );
        assert_eq!(first != beas, stays);
        assert!(first.iter().all(|pid| is_gone(*pid)));
    }
}

/// A key works for several mailboxes where its certificate has them: whoever signed for one of them had the others' mail, too.
#[test]
fn who_has_a_key_in_common_has_no_process_in_common() {
    const CHIEF: &str = "chief@own.example";
    const CLERK: &str = "clerk@own.example";
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let workshop = Workshop::new(town);
    let house = Reader::with(folder.path(), &town.issuer, "house", Key::p256(), |form| {
        form.extensions[0] = alt_names(&[CHIEF, CLERK].map(|one| rfc822(one.as_bytes())));
        form.extensions[1] = key_usage(SIGNS);
    });
    let table = "[workers]\nisolate = true\nkeep_signing = \"10m\"\n";
    let mut gateway = submitted(&sink, true, table);
    take_in(&gateway, &folder, &house);
    gateway.restart();
    let mut had_by = |author: &str| {
        sink.clear();
        let envelope = Envelope::new(author, "bob@there.example");
        assert_eq!(gateway.send(&envelope, &mail(author)).code, 250);
        assert!(is_signed(&workshop, &sink.mails()[0]));
        copies(&mut gateway)
    };
    let chiefs = had_by(CHIEF);
    assert_eq!(had_by(CHIEF), chiefs);
    assert_ne!(had_by(CLERK), chiefs);
    assert!(chiefs.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn and_where_mail_is_parsed_by_threads() {
    by_submission("[workers]\nisolate = false\n");
}

/// RFC 5322 §3.5: the body is optional, and so is the empty line before it.
#[test]
fn a_mail_that_is_a_header_only_is_signed_too() {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let (workshop, alice) = (Workshop::new(town), person(&folder, ALICE, SIGNS));
    let mut gateway = submitted(&sink, true, "");
    let maybe = "then = { encrypt = \"opportunistic\", sign";
    let rules = RULES.replace("then = { sign", maybe);
    std::fs::write(gateway.folder.join("mail.toml"), rules).unwrap();
    take_in(&gateway, &folder, &alice);
    gateway.restart();
    let raw = "From: alice@own.example\r\nTo: bob@there.example\r\nSubject: No more\r\n\
               Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <2@own.example>\r\n";
    let envelope = Envelope::new(ALICE, "bob@there.example");
    let reply = gateway.send(&envelope, raw.as_bytes());
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    let kind = got.fields("Content-Type").concat();
    assert!(kind.starts_with("multipart/signed"), "{kind}");
    assert_eq!(got.fields("Subject"), ["No more"]);
    workshop.verify(&got.raw, "one").unwrap();
}

/// A signature by a server's certificate is believed by nobody, whatever was said when its key was imported.
#[test]
fn a_certificate_that_is_not_for_mail_signs_none() {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let workshop = Workshop::new(town);
    let alice = Reader::with(folder.path(), &town.issuer, "server", Key::p256(), |form| {
        form.extensions[0] = alt_names(&[rfc822(ALICE.as_bytes())]);
        form.extensions[2] = ext_key_usage(&["1.3.6.1.5.5.7.3.1"]);
    });
    let mut gateway = submitted(&sink, true, "");
    write_secret(&gateway.folder.join("kek"), &[7; 32]);
    let (key, certificate) = (alice.key.to_str().unwrap(), alice.certificate.to_str());
    let config = gateway.config();
    let (certificate, config) = (certificate.unwrap(), config.to_str().unwrap());
    let words = ["key", "import", key, "--certificate", certificate];
    let output = kenin(&[&words[..], &["--use", "sign", "--config", config]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let told = said(&output);
    assert!(told.contains("for signing mail"), "{told}");
    gateway.restart();
    let reply = gateway.send(&Envelope::new(ALICE, "bob@there.example"), &mail(ALICE));
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!is_signed(&workshop, &got));
}

/// Postfix tells a milter who has logged in; here a trusted client tells Postfix.
#[test]
fn a_milter_is_told_who_has_logged_in() {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let (workshop, alice) = (Workshop::new(town), person(&folder, ALICE, SIGNS));
    let clients = "smtpd_authorized_xclient_hosts = 127.0.0.0/8\n";
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", clients);
    std::fs::write(gateway.folder.join("mail.toml"), RULES).unwrap();
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    // The folder of settings has a table of its own already.
    let config = config.replace("\n[senders]\n", "\n");
    std::fs::write(gateway.config(), format!("{config}\n{TABLES}")).unwrap();
    take_in(&gateway, &folder, &alice);
    gateway.restart();
    let send = |login: Option<&str>| -> Reply {
        let mut client = Client::greeted(postfix.front);
        if let Some(login) = login {
            assert_eq!(client.command(&format!("XCLIENT LOGIN={login}")).code, 220);
            assert_eq!(client.command("EHLO client.example").code, 250);
        }
        let envelope = Envelope::new(ALICE, "bob@there.example");
        client.mail(&envelope, &mail(ALICE)).expect("an answer")
    };
    for (number, (login, signed)) in [
        (Some("alice"), true),
        (Some("mallory"), false),
        (None, false),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = send(login);
        assert_eq!(reply.code, 250, "{login:?}: {}", reply.text());
        let got = sink
            .wait(number + 1, Duration::from_secs(30))
            .pop()
            .unwrap();
        assert_eq!(is_signed(&workshop, &got), signed, "{login:?}");
    }
}

#[test]
fn what_is_signed_and_encrypted_is_signed_inside() {
    let (folder, sink) = (Folder::new(), Sink::start());
    let alice = person(&folder, ALICE, SIGNS);
    let bob = person(&folder, "bob@must.example", AGREEMENT);
    let mut gateway = submitted(&sink, true, "");
    take_in(&gateway, &folder, &alice);
    let (file, config) = (bob.certificate.display().to_string(), gateway.config());
    let config = config.display().to_string();
    let output = kenin(&["cert", "import", &file, "--config", &config]);
    assert!(output.status.success(), "{}", said(&output));
    gateway.restart();
    let envelope = Envelope::new(ALICE, "bob@must.example");
    assert_eq!(gateway.send(&envelope, &mail(ALICE)).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    let made = folder.join("object.der");
    std::fs::write(&made, object(&got.raw)).unwrap();
    let mut command = Command::new("openssl");
    command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]);
    command.arg(&made).arg("-recip").arg(&bob.certificate);
    let output = command.arg("-inkey").arg(&bob.key).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let inside = Workshop::new(Town::get()).verify(&output.stdout, "inside");
    let inside = String::from_utf8_lossy(&inside.unwrap()).into_owned();
    assert!(inside.contains("The body is hers."), "{inside}");
    assert!(!String::from_utf8_lossy(&got.raw).contains("is hers"));
}

/// The key processes that the gateway has.
fn key_processes(gateway: &mut Gateway) -> Vec<Pid> {
    let is_one = |pid: &Pid| {
        let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let words = words.unwrap_or_default();
        let mut words = words.split(|octet| *octet == 0);
        words.any(|word| word == b"key-process")
    };
    let parent = gateway.process().pid();
    children(parent).into_iter().filter(is_one).collect()
}

#[test]
fn what_a_key_is_to_sign_does_not_go_unsigned_without_it() {
    let (town, folder, sink) = (Town::get(), Folder::new(), Sink::start());
    let (workshop, alice) = (Workshop::new(town), person(&folder, ALICE, SIGNS));
    let mut gateway = submitted(&sink, true, "");
    take_in(&gateway, &folder, &alice);
    gateway.restart();
    for pid in key_processes(&mut gateway) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    let envelope = Envelope::new(ALICE, "bob@there.example");
    // Another one starts soon.
    wait_for("it is signed", || {
        let reply = gateway.send(&envelope, &mail(ALICE));
        let put_off = reply.text().starts_with("451 4.7.5 ");
        assert!(put_off || reply.code == 250, "{}", reply.text());
        reply.code == 250
    });
    for got in sink.wait(1, Duration::from_secs(30)) {
        assert!(is_signed(&workshop, &got));
    }
}
