//! Credentials of systemd (systemd.exec(5)): the key-encryption key, the key of held mail and the PIN of a token lie in a folder
//! that is named in the environment, and nowhere else. The test hands them over as a service manager does, and leaves one out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use kenin_tests::client::{Envelope, Reply};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::enveloped::{Way, shows};
use kenin_tests::held::Desk;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::opened::{BOB, People, import_under, text, to_bob};
use kenin_tests::parts;
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{listens, run, write_secret};

const KEYS: &str = "kenin-keys";
const QUARANTINE: &str = "kenin-quarantine";
const TOKEN_PIN: &str = "kenin-hsm-pin";

/// A gateway for Bob's mail whose secrets are credentials.
struct World {
    hsm: Option<SoftHsm>,
    sink: Sink,
    gateway: Gateway,
    /// Mails that were sent.
    sent: usize,
}

impl World {
    fn new(hsm: Option<SoftHsm>) -> Self {
        let sink = Sink::start();
        let by_file = "pin_file = \"hsm.pin\"";
        let token = hsm.as_ref().map(SoftHsm::lines).unwrap_or_default();
        let token = token.replace(by_file, &format!("pin_credential = \"{TOKEN_PIN}\""));
        let tables = format!(
            "[keys]\ncredential = \"{KEYS}\"\n{token}\
             [quarantine]\ncredential = \"{QUARANTINE}\"\nnotify = \"nobody\"\n"
        );
        let gateway = Gateway::prepare(&Setup {
            tables,
            ..Setup::new(sink.address)
        });
        let world = Self {
            hsm,
            sink,
            gateway,
            sent: 0,
        };
        fs::create_dir(world.folder()).unwrap();
        for (name, octets) in [
            (KEYS, vec![7; 32]),
            (QUARANTINE, vec![8; 32]),
            (TOKEN_PIN, PIN.as_bytes().to_vec()),
        ] {
            let file = world.folder().join(name);
            write_secret(&file, &octets);
            // As they look where an entry of an access list lets the service read them.
            fs::set_permissions(&file, PermissionsExt::from_mode(0o440)).unwrap();
        }
        world
    }

    /// With Bob's key in a token.
    fn with_token() -> Self {
        let (hsm, bob) = (SoftHsm::new(), &People::get().bob);
        hsm.import(&bob.key, 1, "bob");
        let world = Self::new(Some(hsm));
        let certificate = world.gateway.folder.join("bob.pem");
        fs::write(&certificate, pem("CERTIFICATE", &bob.certificate)).unwrap();
        let words = world.handed();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(parts::kenin());
        command.args(["key", "import", "--token", "hsm", "pkcs11:id=%01"]);
        command.args(["--use", "decrypt", "--certificate"]);
        command.arg(&certificate).arg("--config");
        command.arg(world.gateway.config());
        run(command.env_remove("KENIN_CONFIG"));
        world
    }

    /// Where the credentials lie.
    fn folder(&self) -> PathBuf {
        self.gateway.folder.join("credentials")
    }

    /// What stands in front of a command that is handed what lies there.
    fn handed(&self) -> Vec<String> {
        let variable = format!("CREDENTIALS_DIRECTORY={}", self.folder().display());
        self.under(&[variable.as_str()])
    }

    /// The same that is handed nothing.
    fn alone(&self) -> Vec<String> {
        self.under(&["-u", "CREDENTIALS_DIRECTORY"])
    }

    fn under(&self, words: &[&str]) -> Vec<String> {
        let mut all = vec!["env".to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        if let Some(hsm) = &self.hsm {
            let (name, value) = hsm.environment();
            all.push(format!("{name}={}", value.display()));
        }
        all
    }

    /// Starts it; the exit code if it ends instead of listening, and what it said.
    fn start(&mut self, words: &[String]) -> (Option<i32>, String) {
        let before = self.gateway.log().len();
        let ended = self.gateway.try_restart_under(words);
        let said = self.gateway.log().split_off(before);
        (ended.map(|status| status.code().unwrap()), said)
    }

    /// Sends Bob a mail that nobody has sent before; what is in it, and the answer.
    fn send(&mut self) -> (String, Reply) {
        self.sent += 1;
        let canary = format!("canary {} in the coal mine", self.sent);
        let id = format!("{}@example.jp", self.sent);
        let raw = to_bob(Way::Gcm, "alice@example.jp", &id, &text(&canary));
        let envelope = Envelope::new("alice@example.jp", BOB);
        (canary, self.gateway.send(&envelope, &raw))
    }

    /// Whether it arrives open.
    fn is_opened(&mut self) -> bool {
        self.sink.clear();
        let (canary, reply) = self.send();
        assert_eq!(reply.code, 250, "{}", reply.text());
        let mails = self.sink.mails();
        assert_eq!(mails.len(), 1);
        shows(&mails[0].raw, &canary)
    }
}

#[test]
fn what_is_sealed_under_credentials_opens_with_them_and_not_without() {
    let mut world = World::new(None);
    let handed = world.handed();
    import_under(&handed, &world.gateway, &People::get().bob, &[]);
    let (ended, said) = world.start(&handed);
    assert_eq!(ended, None, "{said}");
    assert!(world.is_opened());

    // What the next hop refuses of it is held under the other one.
    let refusing = Behaviour::default().at_dot(|_, _| Dot::Reply("550 5.7.1 no".to_owned()));
    world.sink.behave(refusing);
    let (canary, reply) = world.send();
    assert_eq!(reply.text(), "250 2.0.0 Accepted");
    world.sink.behave(Behaviour::default());
    let desk = Desk::of(&world.gateway, &handed);
    let ids = desk.ids();
    assert_eq!(ids.len(), 1);
    let release = ["release", ids[0].as_str()];
    let (code, said) = Desk::of(&world.gateway, &world.alone()).said(&release);
    let advice = format!("LoadCredentialEncrypted={QUARANTINE}");
    assert!(code == 78 && said.contains(&advice), "{code} {said}");
    world.sink.clear();
    let (code, said) = desk.said(&release);
    assert_eq!(code, 0, "{said}");
    assert!(shows(&world.sink.mails()[0].raw, &canary));
}

#[test]
fn a_token_whose_pin_is_a_credential_opens_mail() {
    let mut world = World::with_token();
    let handed = world.handed();
    let (ended, said) = world.start(&handed);
    assert_eq!(ended, None, "{said}");
    assert!(world.is_opened(), "{}", world.gateway.log());
}

#[test]
fn without_one_of_them_it_does_not_start_and_says_who_hands_it_over() {
    let mut world = World::with_token();
    let (handed, alone) = (world.handed(), world.alone());
    let (ended, said) = world.start(&alone);
    assert_eq!(ended, Some(78), "{said}");
    assert!(said.contains("LoadCredentialEncrypted="), "{said}");
    // Others are there, and this one is not.
    for name in [KEYS, QUARANTINE, TOKEN_PIN] {
        let (file, away) = (world.folder().join(name), world.gateway.folder.join("away"));
        fs::rename(&file, &away).unwrap();
        let (ended, said) = world.start(&handed);
        assert_eq!(ended, Some(78), "{name}: {said}");
        let told = said.contains(name) && said.contains("LoadCredentialEncrypted=");
        assert!(told, "{name}: {said}");
        assert!(!listens(world.gateway.address), "{name}");
        fs::rename(&away, &file).unwrap();
    }
    let (ended, said) = world.start(&handed);
    assert_eq!(ended, None, "{said}");
    assert!(world.is_opened());
}
