//! Private keys in a token, a real one: `kenin key doctor` tells whether they would work and what to do where not, and
//! the key process works with them, also after the token was away.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use kenin_keys::protocol::{Grant, Reach, Refusal, Sign, Transaction, Unwrap};
use kenin_keys::{ClientError, EdgeClient, KeyFacts, WorkerClient};
use kenin_pki::crypto::{DigestAlgorithm, Secret, SignatureAlgorithm, Wrapped, Wrapping};
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{Person, pem};
use kenin_tests::forge::keys::Key;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::parts;
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{wait_for, write_secret};
use serde_json::Value;

/// A token, and a configuration that names it.
struct World {
    hsm: SoftHsm,
    gateway: Gateway,
}

impl World {
    fn new() -> Self {
        let hsm = SoftHsm::new();
        let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
        setup.tables = format!("[keys]\nkey_file = \"kek\"\n{}", hsm.lines());
        let gateway = Gateway::prepare(&setup);
        write_secret(&gateway.folder.join("kek"), &[7; 32]);
        let world = Self { hsm, gateway };
        world.pin(PIN);
        world
    }

    /// What is configured as the PIN.
    fn pin(&self, pin: &str) {
        let file = self.gateway.folder.join("hsm.pin");
        let _ = fs::remove_file(&file);
        write_secret(&file, pin.as_bytes());
    }

    fn config(&self) -> String {
        self.gateway.config().display().to_string()
    }

    /// Takes in a person's key that is said to be this thing in the token; gives its id.
    fn import(&self, person: &Person, name: &str, object: &str) -> String {
        let file = self.gateway.folder.join(format!("{name}.pem"));
        fs::write(&file, pem("CERTIFICATE", &person.certificate)).unwrap();
        let (file, config) = (file.display().to_string(), self.config());
        let output = self.hsm.kenin(&[
            "key",
            "import",
            "--token",
            "hsm",
            object,
            "--certificate",
            &file,
            "--use",
            "decrypt",
            "--use",
            "sign",
            "--config",
            &config,
        ]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// With Alice's key, RSA, in the token.
    fn with_alice() -> (Self, String) {
        let world = Self::new();
        let alice = &Town::get().alice;
        world.hsm.import(&alice.key, 1, "alice");
        let id = world.import(alice, "alice", "pkcs11:id=%01");
        (world, id)
    }

    /// What the doctor says, and with which exit status.
    fn doctor(&self) -> (Option<i32>, Value) {
        let arguments = ["key", "doctor", "--format", "json", "--config"];
        let config = self.config();
        let output = self
            .hsm
            .kenin(&[&arguments[..], &[config.as_str()][..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout);
        let report: Value = report.unwrap_or_else(|error| panic!("{error}: {said}"));
        let code = output.status.code();
        assert_eq!(report["ok"], code == Some(0), "{report}");
        (code, report)
    }
}

/// What the doctor says of one thing about a token or a key: the result, the text.
fn result(report: &Value, part: &str, check: &str) -> (String, String) {
    let all = ["tokens", "keys"].iter().flat_map(|kind| {
        let parts = report[kind].as_array().unwrap();
        parts
            .iter()
            .filter(move |one| one["token"] == part || one["key"] == part)
    });
    let checks: Vec<&Value> = all
        .flat_map(|one| one["checks"].as_array().unwrap())
        .collect();
    let found = checks.iter().find(|one| one["check"] == check);
    let found = found.unwrap_or_else(|| panic!("{part} has no {check}: {report}"));
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    let quiet = matches!(text("result").as_str(), "ok" | "skipped");
    assert_eq!(text("advice").is_empty(), quiet, "{found}");
    (text("result"), text("text"))
}

#[track_caller]
fn fails(report: &Value, part: &str, check: &str, words: &str) {
    let (state, text) = result(report, part, check);
    assert_eq!(state, "failed", "{check}: {text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_key_that_works() {
    let (world, id) = World::with_alice();
    let (code, report) = world.doctor();
    assert_eq!(code, Some(0), "{report}");
    for check in ["module", "token", "mechanisms", "pin"] {
        assert_eq!(result(&report, "hsm", check).0, "ok", "{report}");
    }
    for check in [
        "file",
        "place",
        "signature",
        "unwrap",
        "strength",
        "certificate",
        "dates",
        "addresses",
    ] {
        assert_eq!(result(&report, &id, check).0, "ok", "{report}");
    }
    let config = world.config();
    let output = world
        .hsm
        .kenin(&["key", "doctor", &id[..8], "--config", &config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("key {id} alice@example.jp")),
        "{text}"
    );
    assert!(!text.contains("what to do"), "{text}");
    assert!(!text.contains(PIN), "{text}");
}

/// It was said that there is no key.
#[test]
fn kenin_sign_says_of_a_key_in_a_token_where_it_is() {
    let (world, _) = World::with_alice();
    let mail = world.gateway.folder.join("mail.eml");
    fs::write(&mail, "From: alice@example.jp\r\n\r\nHello\r\n").unwrap();
    let (mail, config) = (mail.display().to_string(), world.config());
    let words = [
        "sign",
        "--sender",
        "alice@example.jp",
        &mail,
        "--config",
        &config,
    ];
    let output = world.hsm.kenin(&words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("lies in a token"), "{said}");
}

#[test]
fn the_doctor_says_what_is_wrong_with_each_key() {
    let (world, alice) = World::with_alice();
    let town = Town::get();
    // The token's own tool takes EC keys in for signatures alone.
    world.hsm.import(&town.bob.key, 2, "bob");
    let bob = world.import(&town.bob, "bob", "pkcs11:id=%02");
    let carol = world.import(&town.carol, "carol", "pkcs11:object=carol");
    let zoe = town.issuer.person("Zoe", "zoe@example.jp", Key::rsa(2048));
    let zoe = world.import(&zoe, "zoe", "pkcs11:id=%01");
    let (code, report) = world.doctor();
    assert_eq!(code, Some(1));
    assert_eq!(result(&report, &alice, "unwrap").0, "ok");
    fails(&report, &bob, "place", "CKA_DERIVE");
    assert_eq!(result(&report, &bob, "signature").0, "ok");
    assert_eq!(result(&report, &bob, "unwrap").0, "failed");
    fails(&report, &carol, "place", "is not in the token");
    assert_eq!(result(&report, &carol, "signature").0, "skipped");
    fails(&report, &zoe, "signature", "another than the public one");
    fails(&report, &zoe, "unwrap", "another than the public one");
}

#[test]
fn the_doctor_says_what_is_wrong_with_a_token() {
    let (world, id) = World::with_alice();
    world.pin("4321");
    let (_, report) = world.doctor();
    fails(&report, "hsm", "pin", "the PIN is wrong");
    fails(&report, &id, "place", "the PIN is wrong");
    world.pin(PIN);
    let (code, report) = world.doctor();
    assert_eq!(code, Some(0), "{report}");
    let (state, text) = result(&report, "hsm", "pin");
    assert_eq!(state, "warning", "{text}");

    world.hsm.pull_out();
    let (_, report) = world.doctor();
    assert_eq!(result(&report, "hsm", "module").0, "ok");
    fails(&report, "hsm", "token", "is not at hand");
    assert_eq!(result(&report, "hsm", "pin").0, "skipped");
    fails(&report, &id, "place", "is not at hand");
    world.hsm.put_back();
    assert_eq!(world.doctor().0, Some(0));

    let module = SoftHsm::module().display().to_string();
    let text = fs::read_to_string(world.gateway.config()).unwrap();
    fs::write(world.gateway.config(), text.replace(&module, "/none.so")).unwrap();
    let (_, report) = world.doctor();
    fails(&report, "hsm", "module", "/none.so cannot be loaded");
    fails(&report, &id, "place", "/none.so cannot be loaded");
}

/// A key process, started as `kenin run` starts it.
struct KeyProcess {
    child: Child,
    edge: EdgeClient,
    door: UnixStream,
    alice: KeyFacts,
}

impl KeyProcess {
    fn start(world: &World) -> Self {
        let (line, theirs) = UnixStream::pair().unwrap();
        let (door, inside) = UnixStream::pair().unwrap();
        let (name, value) = world.hsm.environment();
        let mut command = Command::new(parts::kenin());
        command
            .arg("--config")
            .arg(world.gateway.config())
            .args(["key-process", "--log-format", "json"])
            .env(name, value)
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(inside))
            .stderr(File::create(world.gateway.folder.join("kenin.log")).unwrap());
        let child = command.spawn().unwrap();
        drop(command);
        let mut edge = EdgeClient::new(line);
        let alice = edge.keys().expect("it says which keys there are").remove(0);
        Self {
            child,
            edge,
            door,
            alice,
        }
    }

    /// Begins a mail of Alice's to herself, and a worker for it.
    fn begin(&mut self) -> (Transaction, WorkerClient) {
        let transaction = Transaction::random().unwrap();
        let alice = self.alice.addresses[0].clone();
        let granted = self.edge.grant(Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![alice.clone()],
            sender: Some(alice),
            client: Some("192.0.2.1".parse().unwrap()),
            seconds: 60,
        });
        granted.unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let own = Reach::One(transaction).to_octets();
        kenin_sys::send_descriptor_with(self.door.as_fd(), theirs.as_fd(), &own).unwrap();
        let patience = Some(Duration::from_secs(60));
        ours.set_read_timeout(patience).unwrap();
        (transaction, WorkerClient::new(ours))
    }

    fn unwrap(&mut self) -> Result<(), ClientError> {
        let (transaction, mut worker) = self.begin();
        let recipient = self.alice.addresses[0].clone();
        let content_key = Secret::new(vec![9; 16]);
        let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, &self.alice.public, &content_key);
        let answer = worker.unwrap(Unwrap {
            transaction,
            recipient: recipient.clone(),
            key: self.alice.id,
            length: 16,
            wrapped: wrapped.unwrap(),
        });
        if answer.is_ok() {
            let opened = self.edge.opened(transaction, recipient, self.alice.id);
            opened.unwrap();
        }
        self.edge.release(transaction).unwrap();
        assert_eq!(answer?.expose(), [9; 16]);
        Ok(())
    }

    fn sign(&mut self) -> Result<(), ClientError> {
        let (transaction, mut worker) = self.begin();
        let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
        let answer = worker.sign(Sign {
            transaction,
            key: self.alice.id,
            algorithm,
            attributes: attributes(),
        });
        self.edge.release(transaction).unwrap();
        let public = &self.alice.public;
        let verified = public.verify(algorithm, &attributes(), &answer?);
        assert!(verified.is_ok());
        Ok(())
    }
}

impl Drop for KeyProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SignedAttributes of a mail: content-type data, and a digest.
fn attributes() -> Vec<u8> {
    const TYPE: &[u8] = b"\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03\x31\x0b\
        \x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    const DIGEST: &[u8] = b"\x30\x2f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31\x22\x04\x20";
    [&[0x31, 0x4b][..], TYPE, DIGEST, &[5; 32]].concat()
}

fn is_away(done: &Result<(), ClientError>) -> bool {
    matches!(done, Err(ClientError::Refused(Refusal::Unavailable)))
}

#[test]
fn the_key_process_works_with_a_token_that_comes_and_goes() {
    let (world, _) = World::with_alice();
    world.hsm.pull_out();
    let mut process = KeyProcess::start(&world);
    assert!(is_away(&process.unwrap()) && is_away(&process.sign()));
    world.hsm.put_back();
    process.unwrap().unwrap();
    process.sign().unwrap();

    world.hsm.pull_out();
    wait_for("the token is missed", || is_away(&process.unwrap()));
    assert!(is_away(&process.sign()));
    world.hsm.put_back();
    wait_for("the token is there again", || process.unwrap().is_ok());
    process.sign().unwrap();
    // Nobody is slowed down, or shut out, for what the token did.
    let log = world.gateway.log();
    assert!(log.contains("the key is not at hand"), "{log}");
    assert!(!log.contains("fails too often"), "{log}");
}

#[test]
fn a_wrong_pin_is_tried_once_by_a_key_process() {
    let (world, _) = World::with_alice();
    world.pin("4321");
    let mut process = KeyProcess::start(&world);
    for _ in 0..5 {
        assert!(is_away(&process.unwrap()));
    }
    // Another that knows it resets the token's count of wrong ones. What the first has learned does not change.
    world.pin(PIN);
    assert_eq!(world.doctor().0, Some(0));
    assert!(is_away(&process.sign()));
    let (_, report) = world.doctor();
    assert_eq!(result(&report, "hsm", "pin").0, "ok");
}
