//! Two gateways over one PostgreSQL: what is said on one holds on the other, mail goes on while the database is
//! away, and nothing passes that should not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kenin_tests::forge::card::{ATTRIBUTES, Holder, JSim, POLICY};
use kenin_tests::forge::certificates::{Person, pem};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::postgres::Postgres;
use kenin_tests::sink::{Sink, fields};
use kenin_tests::world::{PATIENCE, wait_for, wait_within, write_secret};

const HANAKO: &str = "hanako@example.jp";
/// The database lets everybody in, and so nobody notices; it must not stand anywhere all the same.
const PASSWORD: &str = "canary-of-a-password";

/// A node that takes card signatures.
fn node(database: &Postgres, sink: &Sink, jsim: &JSim) -> Gateway {
    let gateway = Gateway::prepare(&Setup {
        tables: format!(
            "[store]\nurl = \"{}\"\npassword_file = \"password\"\n",
            database.url()
        ),
        ..Setup::new(sink.address)
    });
    let folder = &gateway.folder;
    write_secret(&folder.join("password"), PASSWORD.as_bytes());
    std::fs::write(folder.join("anchors/jsim.pem"), jsim.anchor_pem()).unwrap();
    std::fs::write(folder.join("crls/jsim.crl"), jsim.crl(&[])).unwrap();
    let mut trust = std::fs::read_to_string(folder.join("trust.toml")).unwrap();
    trust.push_str(&format!(
        "\n[[anchor]]\nname = \"j-sim\"\nfile = \"anchors/jsim.pem\"\ndisclosure = \"verdict-only\"\n\
         profile = {{ certificate_policies = [\"{POLICY}\"], key_usage = [\"digital-signature\", \"non-repudiation\"], holder_attributes = \"{ATTRIBUTES}\" }}\n"
    ));
    std::fs::write(folder.join("trust.toml"), trust).unwrap();
    gateway
}

/// A clear-signed mail without anybody's certificate but the signer's.
fn signed(person: &Person, from: &str, body: &str) -> Vec<u8> {
    let part = mime::text(body);
    let object = cms::detached(person, &[], &part);
    mime::clear_signed(&mime::headers(from), &part, &object)
}

/// The same mail with another subject, which no signature covers.
fn titled(raw: &[u8], subject: &str) -> Vec<u8> {
    let old = b"Subject: Forged\r\n";
    let at = raw.windows(old.len()).position(|window| window == old);
    let at = at.expect("the forged header has a subject");
    let new = format!("Subject: {subject}\r\n");
    [&raw[..at], new.as_bytes(), &raw[at + old.len()..]].concat()
}

/// What a node says of a mail.
fn stamp(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let subject = format!("one-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    assert_eq!(gateway.send(&envelope(), &titled(raw, &subject)).code, 250);
    let mut mail = None;
    wait_for("the mail arrives", || {
        let mails = sink.mails();
        mail = mails
            .into_iter()
            .find(|mail| mail.fields("Subject") == [subject.as_str()]);
        mail.is_some()
    });
    mail.unwrap().fields("Authentication-Results").concat()
}

fn cert(gateway: &Gateway, words: &[&str]) -> String {
    let config = gateway.config().display().to_string();
    let done = kenin(&[&["cert"][..], words, &["--config", config.as_str()][..]].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_is_said_on_one_node_holds_on_the_other_within_a_second() {
    let (town, jsim, sink) = (Town::get(), JSim::new(), Sink::start());
    let database = Postgres::start();
    let mut nodes = [(); 2].map(|()| node(&database, &sink, &jsim));
    for node in &mut nodes {
        // Neither knows who issued the certificates of the town.
        std::fs::remove_file(node.folder.join("intermediates/issuer.pem")).unwrap();
        node.restart();
    }
    let [here, there] = &nodes;

    // A registration is asked for with every mail.
    let card = jsim.card(&Holder::HANAKO, Key::rsa(2048));
    let raw = signed(&card, HANAKO, "hello");
    for node in [here, there] {
        let told = stamp(node, &sink, &raw);
        assert!(told.contains("smime=policy (not-accepted)"), "{told}");
    }
    let file = here.folder.join("card.pem");
    std::fs::write(&file, pem("CERTIFICATE", &card.certificate)).unwrap();
    let file = file.display().to_string();
    for (verb, wanted) in [
        ("register", "smime=pass"),
        ("unregister", "smime=policy (not-accepted)"),
    ] {
        let fingerprint = hex(&openssl::sha::sha256(&card.certificate));
        let which = if verb == "register" {
            &file
        } else {
            &fingerprint
        };
        cert(here, &[verb, "Hanako@example.jp", which]);
        let told = stamp(there, &sink, &raw);
        assert!(told.contains(wanted), "{verb}: {told}");
    }

    // An issuer is part of the snapshot, which the counter has made again.
    let raw = signed(&town.alice, "alice@example.jp", "hello");
    for node in [here, there] {
        let told = stamp(node, &sink, &raw);
        assert!(!told.contains("smime=pass"), "{told}");
    }
    let file = here.folder.join("issuer.pem");
    std::fs::write(&file, pem("CERTIFICATE", &town.issuer.certificate)).unwrap();
    cert(here, &["import", &file.display().to_string()]);
    let begun = Instant::now();
    for node in [there, here] {
        // A second, and what a busy machine makes of it.
        wait_within(Duration::from_secs(5), "the other node knows it", || {
            stamp(node, &sink, &raw).contains("smime=pass")
        });
        println!("known after {:?}", begun.elapsed());
    }
    // The other node's commands and checks see it as well.
    let listed = cert(there, &["list", "--format", "jsonl"]);
    assert!(listed.contains("Kenin Test Issuer"), "{listed}");
    let config = there.config().display().to_string();
    let checked = kenin(&["check", "--config", &config]);
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let name = database.url();
    assert!(
        said.contains(&format!("the store answers: {name}")),
        "{said}"
    );
    for node in &nodes {
        assert!(!node.log().contains(PASSWORD));
    }
}

/// What every recipient may be told of each kind of mail, whatever becomes of the database.
const KINDS: [(&str, &[&str]); 4] = [
    ("plain", &["smime=none"]),
    ("alice", &["smime=pass"]),
    ("forged", &["smime=fail"]),
    (
        "card",
        &["smime=pass", "smime=temperror (registration-unavailable)"],
    ),
];

#[test]
fn mail_goes_on_while_the_database_is_away() {
    let (town, jsim, sink) = (Town::get(), JSim::new(), Sink::start());
    let database = Postgres::start();
    let mut nodes = [(); 2].map(|()| node(&database, &sink, &jsim));
    nodes.iter_mut().for_each(Gateway::restart);
    let card = jsim.card(&Holder::HANAKO, Key::rsa(2048));
    let file = nodes[0].folder.join("card.pem");
    std::fs::write(&file, pem("CERTIFICATE", &card.certificate)).unwrap();
    cert(
        &nodes[0],
        &["register", HANAKO, &file.display().to_string()],
    );
    let good = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    let forged = String::from_utf8(good.clone()).unwrap();
    let mails = [
        mime::plain(&mime::headers("a@b.example"), "hello"),
        good,
        forged.replace("1000", "9000").into_bytes(),
        signed(&card, HANAKO, "hello"),
    ];

    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let accepted = Mutex::new(Vec::new());
    let told = |kind: &str, words: &str| {
        let mails = sink.mails();
        let of_it = mails.iter().filter(|mail| {
            let stamp = mail.fields("Authentication-Results").concat();
            mail.fields("Subject").concat().starts_with(kind) && stamp.contains(words)
        });
        of_it.count()
    };
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (node, over, sent) = (&nodes[worker % 2], &over, &sent);
            let (accepted, mails) = (&accepted, &mails);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let number = sent.fetch_add(1, Ordering::SeqCst);
                    let (kind, raw) = (KINDS[number % 4].0, &mails[number % 4]);
                    let subject = format!("{kind}-{number}");
                    let reply = node.send(&envelope(), &titled(raw, &subject));
                    // Nothing of all this is a reason to refuse, or to put off.
                    assert_eq!(reply.code, 250, "{subject}: {}", reply.text());
                    accepted.lock().unwrap().push(subject);
                }
            });
        }
        // Also when something here fails: the others would go on for ever.
        let _end = End(&over);
        wait_for("cards pass", || told("card", "smime=pass") >= 4);
        database.stop();
        let unavailable = "smime=temperror (registration-unavailable)";
        wait_for("the store is missed", || told("card", unavailable) >= 8);
        let before = (told("alice", "smime=pass"), told("plain", "smime=none"));
        wait_for("other mail goes on", || {
            told("alice", "smime=pass") >= before.0 + 8
                && told("plain", "smime=none") >= before.1 + 8
        });
        for node in &nodes {
            let (status, body) = node.get("/readyz?verbose");
            assert!(status == 200 && body.contains("degraded store"), "{body}");
        }
        database.begin();
        let before = told("card", "smime=pass");
        wait_for("it is back", || told("card", "smime=pass") >= before + 8);
    });

    let accepted = accepted.into_inner().unwrap();
    let mut arrived = BTreeMap::new();
    for mail in sink.wait(accepted.len(), PATIENCE) {
        let subject = fields(&mail.raw, "Subject").concat();
        let stamp = mail.fields("Authentication-Results").concat();
        let (_, wanted) = KINDS
            .iter()
            .find(|(kind, _)| subject.starts_with(kind))
            .expect("one of ours");
        assert!(
            wanted.iter().any(|words| stamp.contains(words)),
            "{subject}: {stamp}"
        );
        *arrived.entry(subject).or_insert(0) += 1;
    }
    assert_eq!(arrived.len(), accepted.len(), "none is lost");
    assert!(
        arrived.values().all(|times| *times == 1),
        "none comes twice"
    );
    for node in &nodes {
        let log = node.log();
        assert!(log.contains("the store does not answer"), "{log}");
        assert!(
            !log.contains("panicked") && !log.contains(PASSWORD),
            "{log}"
        );
        wait_for("all is well again", || {
            let (status, body) = node.get("/readyz?verbose");
            status == 200 && !body.contains("degraded")
        });
    }
}

/// Says that it is over, however it ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_start_without_the_database_says_which_one_is_missing() {
    let (jsim, sink) = (JSim::new(), Sink::start());
    let database = Postgres::start();
    let mut gateway = node(&database, &sink, &jsim);
    database.stop();
    let ended = gateway.try_restart_under(&[]).expect("it does not start");
    assert_eq!(ended.code(), Some(69));
    let (log, name) = (gateway.log(), database.url());
    assert!(log.contains(&name) && log.contains("refused"), "{log}");
    let config = gateway.config().display().to_string();
    let checked = kenin(&["check", "--config", &config]);
    assert_eq!(checked.status.code(), Some(78));
    let said = [checked.stdout, checked.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains(&name));
    // Who is not to look at the machine asks nobody.
    let checked = kenin(&["check", "--offline", "--config", &config]);
    let said = [checked.stdout, checked.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(&name));

    database.begin();
    gateway.restart();
    assert!(!gateway.log().contains(PASSWORD));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
