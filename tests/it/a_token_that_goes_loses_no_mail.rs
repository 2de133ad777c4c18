//! Mail for somebody whose key lies in a token that is pulled out and put back while mail comes. Meanwhile it waits
//! with its sender, or is delivered encrypted, as `when_gone` says; what such a key is to sign waits, and leaves signed or
//! not at all; and nobody has to start anything again.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kenin_tests::client::{Envelope, Reply};
use kenin_tests::forge::certificates::{Person, pem};
use kenin_tests::forge::enveloped::{self, Way, encrypted};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::{Courier, Ledger, Truth};
use kenin_tests::opened::is_as_it_came;
use kenin_tests::openssl_mail::Workshop;
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{PATIENCE, run, wait_for, write_secret};

/// A gateway with somebody's key in a token.
struct World {
    hsm: SoftHsm,
    sink: Sink,
    gateway: Gateway,
    /// Mails that were sent.
    sent: usize,
}

impl World {
    /// Alice's, which opens what is encrypted for her.
    fn start(when_gone: &str) -> Self {
        Self::with(&Town::get().alice, "decrypt", |setup, token| {
            setup.tables = format!(
                "[keys]\nkey_file = \"kek\"\nwhen_gone = \"{when_gone}\"\n{token}\
                 [quarantine]\nkey_file = \"quarantine.key\"\n"
            );
        })
    }

    /// Ada's, which signs what she submits.
    fn signing() -> Self {
        let ada = Town::get().issuer.person("Ada", ADA, Key::p256());
        Self::with(&ada, "sign", |setup, token| {
            setup.tables = format!(
                "[keys]\nkey_file = \"kek\"\n{token}[senders]\nlogin_domain = \"own.example\"\n"
            );
            setup.trusted_peers = Some("[\"127.0.0.1\"]\nsubmission = true".to_owned());
            setup.mail = "[[rule]]\nwhen = { sender_domain = \"own.example\" }\n\
                          then = { sign = \"clear\" }\n"
                .to_owned();
        })
    }

    /// This person's, for this use; `change` is given the table of the token.
    fn with(person: &Person, purpose: &str, change: impl FnOnce(&mut Setup, &str)) -> Self {
        let (hsm, sink) = (SoftHsm::new(), Sink::start());
        hsm.import(&person.key, 1, "holder");
        let mut setup = Setup::new(sink.address);
        change(&mut setup, &hsm.lines());
        let mut gateway = Gateway::prepare(&setup);
        write_secret(&gateway.folder.join("kek"), &[7; 32]);
        write_secret(&gateway.folder.join("quarantine.key"), &[8; 32]);
        write_secret(&gateway.folder.join("hsm.pin"), PIN.as_bytes());
        let certificate = gateway.folder.join("holder.pem");
        fs::write(&certificate, pem("CERTIFICATE", &person.certificate)).unwrap();
        let chain = gateway.folder.join("intermediates/issuer.pem");
        let mut words = vec!["key", "import", "--token", "hsm", "pkcs11:id=%01"];
        words.extend([
            "--use",
            purpose,
            "--certificate",
            certificate.to_str().unwrap(),
        ]);
        if purpose == "sign" {
            words.extend(["--certificate", chain.to_str().unwrap()]);
        }
        let config = gateway.config();
        words.extend(["--config", config.to_str().unwrap()]);
        let output = hsm.kenin(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let (name, value) = hsm.environment();
        let variable = format!("{name}={}", value.display());
        gateway.restart_under(&["env".to_owned(), variable]);
        Self {
            hsm,
            sink,
            gateway,
            sent: 0,
        }
    }

    /// Sends Alice a mail that nobody has sent before, encrypted by OpenSSL.
    fn send(&mut self) -> Reply {
        self.sent += 1;
        let content = self.gateway.folder.join("content");
        fs::write(&content, mime::text(&format!("{SECRET}, {}", self.sent))).unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["cms", "-encrypt", "-binary", "-aes-256-cbc"])
            .args(["-outform", "DER", "-in"])
            .arg(&content)
            .arg(self.gateway.folder.join("holder.pem"));
        let object = run(&mut command);
        let mut raw = mime::headers("Bob <bob@example.jp>");
        raw.extend_from_slice(
            b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\
              Content-Transfer-Encoding: base64\r\n\r\n",
        );
        raw.extend(mime::base64(&object));
        let envelope = Envelope::new("bob@example.jp", "alice@example.jp");
        self.gateway.send(&envelope, &raw)
    }

    /// The same, which is taken; what arrived.
    fn deliver(&mut self) -> Received {
        let before = self.sink.count();
        let reply = self.send();
        assert_eq!(reply.code, 250, "{}", reply.text());
        assert_eq!(self.sink.count(), before + 1);
        self.sink.mails().remove(before)
    }
}

fn is_open(mail: &Received) -> bool {
    let text = String::from_utf8_lossy(&mail.raw);
    let encrypted = text.contains("smime-type=enveloped-data");
    assert_ne!(text.contains(SECRET), encrypted, "{text}");
    !encrypted
}

#[test]
fn mail_waits_with_its_sender_until_the_token_is_back() {
    let mut world = World::start("tempfail");
    assert!(is_open(&world.deliver()));
    world.hsm.pull_out();
    wait_for("the token is missed", || {
        let before = world.sink.count();
        let reply = world.send();
        if reply.code == 250 {
            // The module has not seen yet that it is gone.
            return false;
        }
        assert_eq!(reply.text(), GONE);
        assert_eq!(world.sink.count(), before);
        true
    });
    world.hsm.put_back();
    wait_for("the token is there again", || world.send().code == 250);
    assert!(world.sink.mails().iter().all(is_open));
}

#[test]
fn mail_is_delivered_encrypted_while_the_token_is_away() {
    let mut world = World::start("deliver");
    assert!(is_open(&world.deliver()));
    world.hsm.pull_out();
    wait_for("the token is missed", || !is_open(&world.deliver()));
    assert!(!is_open(&world.deliver()));
    world.hsm.put_back();
    wait_for("the token is there again", || is_open(&world.deliver()));
}

/// What a sender brings under the name that stands in its Message-ID.
type Letter = fn(&str) -> (Envelope, Vec<u8>);

/// To Alice, encrypted.
fn to_alice(name: &str) -> (Envelope, Vec<u8>) {
    let object = encrypted(Way::Cbc, &[&Town::get().alice], &mime::text(&text_of(name)));
    let header = enveloped::fields("Bob <bob@example.jp>", name);
    let envelope = Envelope::new("bob@example.jp", "alice@example.jp");
    (envelope, enveloped::mail(&header, &object))
}

/// From Ada, in clear.
fn from_ada(name: &str) -> (Envelope, Vec<u8>) {
    let header = format!(
        "From: Ada <{ADA}>\r\nTo: bob@there.example\r\nSubject: Hello\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <{name}>\r\nMIME-Version: 1.0\r\n"
    );
    let raw = [header.into_bytes(), mime::text(&text_of(name))].concat();
    (Envelope::new(ADA, "bob@there.example"), raw)
}

/// What several senders bring at a time, each trying again as a mail server does, while the token goes and comes.
#[derive(Default)]
struct Load {
    ledger: Ledger,
    /// Every mail, by its Message-ID.
    sent: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Every answer to a mail, and how often.
    answers: Mutex<BTreeMap<String, usize>>,
    over: AtomicBool,
}

impl Load {
    /// One sender: mail after mail, each until it is taken over.
    fn bring(&self, gateway: SocketAddr, sender: usize, letter: Letter) {
        let end = Instant::now() + PATIENCE * 2;
        let mut courier = Courier::new(gateway, PATIENCE);
        for number in 0.. {
            if self.over.load(Ordering::SeqCst) || Instant::now() > end {
                return courier.quit();
            }
            let name = format!("{sender}.{number}@token.example");
            let (id, (envelope, raw)) = (format!("<{name}>"), letter(&name));
            self.ledger.open(&id, Truth::NotGood, &envelope, &raw);
            self.sent.lock().unwrap().insert(id.clone(), raw.clone());
            loop {
                let told = courier.hand_over(&self.ledger, &id, &envelope, &raw);
                let answer = match &told.answer {
                    Ok(reply) => reply.text(),
                    Err(silence) => format!("{silence:?}"),
                };
                *self.answers.lock().unwrap().entry(answer).or_default() += 1;
                if told.is_accepted() {
                    break;
                }
                assert!(Instant::now() < end, "{id} is not taken over: {told:?}");
                // A pause as any sender makes, so that the token is not asked a million times.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// How often mail was put off because of the token.
    fn put_off(&self) -> usize {
        let answers = self.answers.lock().unwrap();
        answers.get(GONE).copied().unwrap_or_default()
    }
}

/// What stands in a mail of this name.
fn text_of(name: &str) -> String {
    format!("{SECRET}: {name}.")
}

/// What came of mail after mail.
struct Rush {
    /// Each that arrived, and as it was sent.
    mails: Vec<(Received, Vec<u8>)>,
    /// Every answer, and how often.
    answers: BTreeMap<String, usize>,
}

impl Rush {
    /// Four senders, and a token that is pulled out and put back twice; `worked` says whether the key in it did its work
    /// for a mail that arrives. Every mail is there once.
    fn of(world: &World, letter: Letter, worked: fn(&Received) -> bool) -> Self {
        let seen: Arc<[AtomicUsize; 2]> = Arc::default();
        let counted = Arc::clone(&seen);
        let behaviour = Behaviour::default().at_dot(move |_, mail| {
            counted[usize::from(worked(mail))].fetch_add(1, Ordering::SeqCst);
            Dot::Accept
        });
        world.sink.behave(behaviour);
        let (without, with) = (
            || seen[0].load(Ordering::SeqCst),
            || seen[1].load(Ordering::SeqCst),
        );
        let (load, address) = (Load::default(), world.gateway.address);
        std::thread::scope(|scope| {
            let load = &load;
            for sender in 0..SENDERS {
                scope.spawn(move || load.bring(address, sender, letter));
            }
            let goes_through = || {
                let before = with();
                wait_for("the key works", || with() >= before + 8 * SENDERS);
            };
            goes_through();
            for _ in 0..2 {
                let before = without() + load.put_off();
                world.hsm.pull_out();
                // Each sender has met it.
                wait_for("the token is missed", || {
                    without() + load.put_off() >= before + 4 * SENDERS
                });
                world.hsm.put_back();
                goes_through();
            }
            load.over.store(true, Ordering::SeqCst);
        });
        let mut sent = load.sent.into_inner().unwrap();
        let mut mails = Vec::new();
        for mail in world.sink.mails() {
            let id = id(&mail);
            let raw = sent.remove(&id);
            let raw = raw.unwrap_or_else(|| panic!("nobody sent {id}, or it was there before"));
            mails.push((mail, raw));
        }
        assert!(sent.is_empty(), "lost: {:?}", sent.keys());
        Self {
            mails,
            answers: load.answers.into_inner().unwrap(),
        }
    }
}

fn id(mail: &Received) -> String {
    mail.fields("Message-ID").concat()
}

/// What stands in a mail that has this Message-ID.
fn text_by(id: &str) -> String {
    text_of(id.trim_matches(['<', '>']))
}

/// Every mail to Alice is there, open, or as it came: how many are open, how many are not, and every answer.
fn under_load(when_gone: &str) -> (usize, usize, BTreeMap<String, usize>) {
    let rush = Rush::of(&World::start(when_gone), to_alice, is_open);
    let mut opened = 0;
    for (mail, raw) in &rush.mails {
        let id = id(mail);
        if is_open(mail) {
            opened += 1;
            assert!(enveloped::shows(mail.split().1, &text_by(&id)), "{id}");
        } else {
            assert!(is_as_it_came(mail, raw), "{id}");
        }
    }
    (opened, rush.mails.len() - opened, rush.answers)
}

#[test]
fn under_load_every_mail_waits_for_the_token_and_is_opened() {
    let (opened, closed, answers) = under_load("tempfail");
    println!("{opened} opened, {answers:?}");
    assert_eq!(closed, 0);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [TAKEN, GONE]);
    assert_eq!(answers[TAKEN], opened);
}

#[test]
fn under_load_every_mail_is_delivered_open_or_as_it_came() {
    let (opened, closed, answers) = under_load("deliver");
    println!("{opened} opened, {closed} not, {answers:?}");
    assert!(opened > 0 && closed > 0);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [TAKEN]);
    assert_eq!(answers[TAKEN], opened + closed);
}

fn is_signed(mail: &Received) -> bool {
    let kind = mail.fields("Content-Type").concat();
    kind.starts_with("multipart/signed")
}

/// failures.md: what is to be signed does not leave unsigned while the token is away.
#[test]
fn under_load_every_mail_waits_for_the_token_and_is_signed() {
    let world = World::signing();
    let rush = Rush::of(&world, from_ada, is_signed);
    println!("{} signed, {:?}", rush.mails.len(), rush.answers);
    let workshop = Workshop::new(Town::get());
    for (mail, _) in &rush.mails {
        let id = id(mail);
        assert!(is_signed(mail), "{id} left unsigned");
        let content = workshop.verify(&mail.raw, "one");
        let content = content.unwrap_or_else(|why| panic!("{id}: {why}"));
        let content = String::from_utf8_lossy(&content).into_owned();
        assert!(content.contains(&text_by(&id)), "{id}: {content}");
    }
    assert_eq!(rush.answers.keys().collect::<Vec<_>>(), [KEPT, GONE]);
    assert_eq!(rush.answers[KEPT], rush.mails.len());
}

const ADA: &str = "ada@own.example";
const SECRET: &str = "for Alice alone";
const SENDERS: usize = 4;
/// failures.md: what is told of mail to decrypt, whatever comes of it.
const TAKEN: &str = "250 2.0.0 Accepted";
/// What the next hop says of any other.
const KEPT: &str = "250 2.0.0 Ok: kept";
/// failures.md: the key cannot be used now.
const GONE: &str = "451 4.7.5 Cryptographic service unavailable";
