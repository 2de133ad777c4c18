//! Mail for somebody whose key lies in a token that is pulled out and put back while mail comes. Meanwhile it waits
//! with its sender, or is delivered encrypted, as `when_gone` says; and nobody has to start anything again.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kenin_tests::client::{Envelope, Reply};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::enveloped::{self, Way, encrypted};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::{Courier, Ledger, Truth};
use kenin_tests::opened::is_as_it_came;
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{PATIENCE, run, wait_for, write_secret};

/// A gateway with Alice's key in a token.
struct World {
    hsm: SoftHsm,
    sink: Sink,
    gateway: Gateway,
    /// Mails that were sent.
    sent: usize,
}

impl World {
    fn start(when_gone: &str) -> Self {
        let (hsm, sink) = (SoftHsm::new(), Sink::start());
        let alice = &Town::get().alice;
        hsm.import(&alice.key, 1, "alice");
        let mut setup = Setup::new(sink.address);
        setup.tables = format!(
            "[keys]\nkey_file = \"kek\"\nwhen_gone = \"{when_gone}\"\n{}\
             [quarantine]\nkey_file = \"quarantine.key\"\n",
            hsm.lines()
        );
        let mut gateway = Gateway::prepare(&setup);
        write_secret(&gateway.folder.join("kek"), &[7; 32]);
        write_secret(&gateway.folder.join("quarantine.key"), &[8; 32]);
        write_secret(&gateway.folder.join("hsm.pin"), PIN.as_bytes());
        let certificate = gateway.folder.join("alice.pem");
        fs::write(&certificate, pem("CERTIFICATE", &alice.certificate)).unwrap();
        let output = hsm.kenin(&[
            "key",
            "import",
            "--token",
            "hsm",
            "pkcs11:id=%01",
            "--certificate",
            certificate.to_str().unwrap(),
            "--use",
            "decrypt",
            "--config",
            gateway.config().to_str().unwrap(),
        ]);
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
            .arg(self.gateway.folder.join("alice.pem"));
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
    fn bring(&self, gateway: SocketAddr, sender: usize) {
        let end = Instant::now() + PATIENCE * 2;
        let mut courier = Courier::new(gateway, PATIENCE);
        let envelope = Envelope::new("bob@example.jp", "alice@example.jp");
        for number in 0.. {
            if self.over.load(Ordering::SeqCst) || Instant::now() > end {
                return courier.quit();
            }
            let name = format!("{sender}.{number}@token.example");
            let entity = mime::text(&text_of(&name));
            let object = encrypted(Way::Cbc, &[&Town::get().alice], &entity);
            let header = enveloped::fields("Bob <bob@example.jp>", &name);
            let (id, raw) = (format!("<{name}>"), enveloped::mail(&header, &object));
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

/// What stands in a mail.
fn text_of(name: &str) -> String {
    format!("{SECRET}: {name}.")
}

/// Four senders, and a token that is pulled out and put back twice. Every mail is there once, open, or as it came;
/// how many are open, how many are not, and every answer.
fn under_load(when_gone: &str) -> (usize, usize, BTreeMap<String, usize>) {
    let world = World::start(when_gone);
    let seen: Arc<[AtomicUsize; 2]> = Arc::default();
    let counted = Arc::clone(&seen);
    let behaviour = Behaviour::default().at_dot(move |_, mail| {
        counted[usize::from(is_open(mail))].fetch_add(1, Ordering::SeqCst);
        Dot::Accept
    });
    world.sink.behave(behaviour);
    let (closed, open) = (
        || seen[0].load(Ordering::SeqCst),
        || seen[1].load(Ordering::SeqCst),
    );
    let (load, address) = (Load::default(), world.gateway.address);
    std::thread::scope(|scope| {
        let load = &load;
        for sender in 0..SENDERS {
            scope.spawn(move || load.bring(address, sender));
        }
        let goes_through = || {
            let before = open();
            wait_for("mail is opened", || open() >= before + 8 * SENDERS);
        };
        goes_through();
        for _ in 0..2 {
            let before = closed() + load.put_off();
            world.hsm.pull_out();
            // Each sender has met it.
            wait_for("the token is missed", || {
                closed() + load.put_off() >= before + 4 * SENDERS
            });
            world.hsm.put_back();
            goes_through();
        }
        load.over.store(true, Ordering::SeqCst);
    });
    let sent = load.sent.into_inner().unwrap();
    let (mut arrived, mut opened) = (BTreeMap::<String, usize>::new(), 0);
    for mail in world.sink.mails() {
        let id = mail.fields("Message-ID").concat();
        *arrived.entry(id.clone()).or_default() += 1;
        let raw = sent.get(&id).unwrap_or_else(|| panic!("nobody sent {id}"));
        if is_open(&mail) {
            opened += 1;
            let text = text_of(id.trim_matches(['<', '>']));
            assert!(enveloped::shows(mail.split().1, &text), "{id}");
        } else {
            assert!(is_as_it_came(&mail, raw), "{id}");
        }
    }
    let lost: Vec<&String> = sent
        .keys()
        .filter(|id| !arrived.contains_key(*id))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let twice = arrived.iter().filter(|(_, times)| **times != 1);
    let twice: Vec<_> = twice.collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    (
        opened,
        sent.len() - opened,
        load.answers.into_inner().unwrap(),
    )
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

const SECRET: &str = "for Alice alone";
const SENDERS: usize = 4;
/// failures.md: what is told of mail to decrypt, whatever comes of it.
const TAKEN: &str = "250 2.0.0 Accepted";
const GONE: &str = "451 4.7.5 Cryptographic service unavailable";
