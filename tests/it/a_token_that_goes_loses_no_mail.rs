//! Mail for somebody whose key lies in a token that is pulled out and put back while mail comes. Meanwhile it waits
//! with its sender, or is delivered encrypted, as `when_gone` says; and nobody has to start anything again.

use std::fs;
use std::process::Command;

use kenin_tests::client::{Envelope, Reply};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::{Received, Sink};
use kenin_tests::softhsm::{PIN, SoftHsm};
use kenin_tests::world::{run, wait_for, write_secret};

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
        assert_eq!(reply.text(), "451 4.7.5 Cryptographic service unavailable");
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

const SECRET: &str = "for Alice alone";
