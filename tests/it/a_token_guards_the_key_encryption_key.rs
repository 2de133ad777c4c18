//! The key-encryption key lies in a file that a token opens: the token is asked when the key process starts, and by the
//! commands that open keys. Without it the folder and the file are worth nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use kenin_tests::client::Envelope;
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::enveloped::{Way, shows};
use kenin_tests::forge::keys::Key;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::opened::{BOB, People, text, to_bob};
use kenin_tests::sink::Sink;
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{listens, wait_for, write_secret};
use rustix::process::Signal;
use serde_json::Value;

/// A gateway for Bob's mail, and a token with a key for the key-encryption key.
struct World {
    hsm: SoftHsm,
    sink: Sink,
    gateway: Gateway,
    /// Mails that were sent.
    sent: usize,
}

impl World {
    /// With these lines in `[keys]`.
    fn new(lines: &str) -> Self {
        let (hsm, sink) = (SoftHsm::new(), Sink::start());
        hsm.import(&Key::rsa(2048), 5, "kek");
        let mut setup = Setup::new(sink.address);
        setup.tables = format!(
            "[keys]\n{lines}{}[quarantine]\nkey_file = \"quarantine.key\"\n",
            hsm.lines()
        );
        let gateway = Gateway::prepare(&setup);
        write_secret(&gateway.folder.join("quarantine.key"), &[8; 32]);
        let world = Self {
            hsm,
            sink,
            gateway,
            sent: 0,
        };
        world.pin(PIN);
        world
    }

    /// The same with the key-encryption key made, and Bob's key under it; gives that one's id.
    fn with_bob() -> (Self, String) {
        let world = Self::new(GUARDED);
        done(&world.key(&["seal-secret"]));
        let id = world.import_bob();
        (world, id)
    }

    fn pin(&self, pin: &str) {
        let file = self.gateway.folder.join("hsm.pin");
        let _ = fs::remove_file(&file);
        write_secret(&file, pin.as_bytes());
    }

    /// Writes other lines into `[keys]`.
    fn say(&self, before: &str, now: &str) {
        let text = fs::read_to_string(self.gateway.config()).unwrap();
        assert!(text.contains(before));
        fs::write(self.gateway.config(), text.replace(before, now)).unwrap();
    }

    /// Runs a command that finds the token.
    fn kenin(&self, words: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        let last = ["--config", &config];
        self.hsm.kenin(&[words, &last[..]].concat())
    }

    fn key(&self, words: &[&str]) -> Output {
        self.kenin(&[&["key"][..], words].concat())
    }

    fn import_bob(&self) -> String {
        let bob = &People::get().bob;
        let certificate = pem("CERTIFICATE", &bob.certificate);
        let both = [bob.key.pem().as_slice(), certificate.as_bytes()].concat();
        let file = self.gateway.folder.join("bob.pem");
        write_secret(&file, &both);
        let output = self.key(&["import", file.to_str().unwrap()]);
        done(&output);
        fs::remove_file(&file).unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Whether a key opens, and if not why.
    fn opens(&self, id: &str) -> Result<(), String> {
        opens(&self.key(&["show", id, "--format", "json"]))
    }

    /// Starts it; the exit status if it ends instead of listening.
    fn start(&mut self) -> Option<i32> {
        let (name, value) = self.hsm.environment();
        let variable = format!("{name}={}", value.display());
        let ended = self
            .gateway
            .try_restart_under(&["env".to_owned(), variable]);
        ended.map(|status| status.code().unwrap())
    }

    /// Whether a mail to Bob that nobody has sent before arrives open.
    fn is_opened(&mut self) -> bool {
        self.sent += 1;
        let (canary, id) = (
            format!("canary {}", self.sent),
            format!("{}@example.jp", self.sent),
        );
        let raw = to_bob(Way::Gcm, "alice@example.jp", &id, &text(&canary));
        self.sink.clear();
        let reply = self
            .gateway
            .send(&Envelope::new("alice@example.jp", BOB), &raw);
        assert_eq!(reply.code, 250, "{}", reply.text());
        let mails = self.sink.mails();
        assert_eq!(mails.len(), 1);
        shows(&mails[0].raw, &canary)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        said(output)
    );
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
}

fn opens(shown: &Output) -> Result<(), String> {
    let value: Value = serde_json::from_slice(&shown.stdout).unwrap();
    match value["opens"].as_bool().unwrap() {
        true => Ok(()),
        false => Err(value["error"].as_str().unwrap().to_owned()),
    }
}

#[test]
fn mail_is_opened_with_a_key_that_is_sealed_under_what_a_token_guards() {
    let (mut world, id) = World::with_bob();
    assert_eq!(world.opens(&id), Ok(()));
    assert_eq!(world.start(), None, "{}", world.gateway.log());
    assert!(world.is_opened());

    // The token was asked at the start; while it is away the key process goes on.
    world.hsm.pull_out();
    assert!(world.is_opened());
    world.gateway.process().signal(Signal::HUP);
    wait_for("the old key process stays", || {
        world.gateway.log().contains("the keys stay as they were")
    });
    assert!(world.gateway.log().contains("is not at hand"));
    assert!(world.is_opened());
    world.hsm.put_back();
    world.gateway.process().signal(Signal::HUP);
    wait_for("another takes over", || {
        let log = world.gateway.log();
        log.contains("another key process has taken over")
    });
    assert!(world.is_opened());
}

#[test]
fn without_the_token_it_does_not_start_and_says_that_it_is_away() {
    let (mut world, id) = World::with_bob();
    world.hsm.pull_out();
    assert_eq!(world.start(), Some(69), "{}", world.gateway.log());
    let log = world.gateway.log();
    assert!(log.contains("keys.kek: the token"), "{log}");
    assert!(log.contains("is not at hand"), "{log}");
    assert!(!listens(world.gateway.address));
    let why = world.opens(&id).unwrap_err();
    assert!(why.contains("is not at hand"), "{why}");
    fails(&world.key(&["retire", &id]), 69, "is not at hand");
    // Nothing that is written is wrong, and who only lists opens nothing.
    let offline = world.kenin(&["check", "--offline"]);
    let text = String::from_utf8_lossy(&offline.stdout).into_owned();
    assert!(text.contains("a token guards them"), "{text}");
    assert!(!text.contains("is not at hand"), "{text}");
    done(&world.key(&["list"]));
    world.hsm.put_back();
    assert_eq!(world.start(), None, "{}", world.gateway.log());
    assert!(world.is_opened());
}

#[test]
fn a_wrong_pin_is_a_mistake_and_not_a_token_that_is_away() {
    let (mut world, id) = World::with_bob();
    world.pin("4321");
    assert_eq!(world.start(), Some(78), "{}", world.gateway.log());
    let log = world.gateway.log();
    assert!(log.contains("the PIN is wrong"), "{log}");
    fails(&world.key(&["retire", &id]), 78, "the PIN is wrong");
    world.pin(PIN);
    assert_eq!(world.opens(&id), Ok(()));
}

#[test]
fn what_a_token_guards_is_opened_by_that_token_alone_and_only_unchanged() {
    let (world, id) = World::with_bob();
    let config = world.gateway.config().display().to_string();
    let show = ["key", "show", &id, "--format", "json", "--config", &config];
    let other = SoftHsm::new();
    other.import(&Key::rsa(2048), 5, "kek");
    let why = opens(&other.kenin(&show)).unwrap_err();
    assert!(
        why.contains("another key than the one in the token"),
        "{why}"
    );

    let file = world.gateway.folder.join("keys.kek");
    let whole = fs::read(&file).unwrap();
    // The magic, the format, the public key, what is wrapped, what is sealed.
    let last = whole.len() - 1;
    for at in [0, 8, 12, 200, 330, 500, last] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&file, &changed).unwrap();
        let why = world.opens(&id).unwrap_err();
        assert!(why.contains("keys.kek"), "{at}: {why}");
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(world.opens(&id), Ok(()));
}

#[test]
fn keys_move_to_what_a_token_guards() {
    let mut world = World::new(PLAIN);
    write_secret(&world.gateway.folder.join("kek"), &[7; 32]);
    let id = world.import_bob();
    fails(&world.key(&["seal-secret"]), 78, "token_key");
    world.say(
        PLAIN,
        &format!("{GUARDED}previous = {{ {} }}\n", PLAIN.trim()),
    );
    done(&world.key(&["seal-secret", "--dry-run"]));
    let file = world.gateway.folder.join("keys.kek");
    assert!(!file.exists());
    done(&world.key(&["seal-secret"]));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Once made it is not written over.
    let made = fs::read(&file).unwrap();
    fails(&world.key(&["seal-secret"]), 2, "is there already");
    assert_eq!(fs::read(&file).unwrap(), made);
    let output = world.key(&["rekey"]);
    done(&output);
    assert!(said(&output).contains("sealed 1 key(s) anew"));
    let before = format!("previous = {{ {} }}\n", PLAIN.trim());
    world.say(&before, "");
    assert_eq!(world.opens(&id), Ok(()));
    let checked = world.kenin(&["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &said(&checked);
    assert!(text.contains("private keys that open: 1"), "{text}");
    let doctor = world.key(&["doctor", "--format", "json"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = report["tokens"][0]["checks"].as_array().unwrap();
    let secret = checks.iter().find(|check| check["check"] == "secret");
    assert_eq!(secret.unwrap()["result"], "ok", "{report}");
    assert_eq!(report["keys"][0]["ok"], true, "{report}");
    assert_eq!(world.start(), None, "{}", world.gateway.log());
    assert!(world.is_opened());
}

#[test]
fn the_doctor_says_that_a_token_guards_in_vain() {
    let (world, id) = World::with_bob();
    world.hsm.pull_out();
    let doctor = world.key(&["doctor", "--format", "json"]);
    assert_eq!(doctor.status.code(), Some(1), "{}", said(&doctor));
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = report["tokens"][0]["checks"].as_array().unwrap();
    let secret = checks.iter().find(|check| check["check"] == "secret");
    let secret = secret.unwrap();
    assert_eq!(secret["result"], "failed", "{report}");
    let text = secret["text"].as_str().unwrap();
    assert!(text.contains("is not at hand"), "{report}");
    assert_eq!(report["keys"][0]["key"], id.as_str());
    assert_eq!(report["keys"][0]["ok"], false, "{report}");
}

const GUARDED: &str =
    "token_key = { token = \"hsm\", key = \"pkcs11:id=%05\", file = \"keys.kek\" }\n";
const PLAIN: &str = "key_file = \"kek\"\n";
