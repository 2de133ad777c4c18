//! `gpgsm --verify`, at the time of the tests, with an agent of its own: it asks the agent which roots are trusted.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Trial;
use crate::forge::certificates::{AT, pem};
use crate::forge::keys::Hash;
use crate::world::{Folder, run};

/// A home with one root that is trusted. What is verified in it stays in its key box, so that a later chain may be
/// completed by certificates of an earlier one.
pub struct Gpgsm {
    folder: Folder,
    /// The agent's companion. The agent ends some seconds after it, and it ends when its input does: also where the
    /// test is killed.
    companion: Child,
}

impl Gpgsm {
    /// Trusts this root (DER).
    pub fn trusting(root: &[u8]) -> Self {
        Self::started(root, &["--batch", "--no-allow-mark-trusted"])
    }

    /// The same, ready to take private keys in.
    pub fn with_keys(root: &[u8]) -> Self {
        // With --batch its agent takes no passphrase.
        Self::started(root, &["--no-allow-mark-trusted"])
    }

    fn started(root: &[u8], options: &[&str]) -> Self {
        let folder = Folder::new();
        let home = folder.join("home");
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(&home).unwrap();
        let name: String = Hash::Sha1
            .of(root)
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        std::fs::write(home.join("trustlist.txt"), format!("{name} S\n")).unwrap();
        let mut agent = Command::new("gpg-agent");
        agent.arg("--homedir").arg(&home);
        agent.args(options).args(["--daemon", "cat"]);
        agent.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut companion = agent
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start gpg-agent: {error}"));
        // The companion is started when the agent listens.
        let mut echo = [0];
        let (stdin, stdout) = (&mut companion.stdin, &mut companion.stdout);
        stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        stdout.as_mut().unwrap().read_exact(&mut echo).unwrap();
        let gpgsm = Self { folder, companion };
        std::fs::write(gpgsm.file("root.pem"), pem("CERTIFICATE", root)).unwrap();
        run(gpgsm.command().arg("--import").arg(gpgsm.file("root.pem")));
        gpgsm
    }

    /// Whether it finds every signature of a mail good and its chain trusted; what it said otherwise.
    pub fn verify(&self, trial: &Trial) -> Result<(), String> {
        let mut told = self.verify_once(trial);
        // Its clock is set and then runs: what holds until this very second has ended where the next one begins meanwhile.
        for _ in 0..4 {
            match &told {
                Err(words) if words.contains("EXPKEYSIG") => told = self.verify_once(trial),
                _ => break,
            }
        }
        told
    }

    fn verify_once(&self, trial: &Trial) -> Result<(), String> {
        let mut command = self.command();
        std::fs::write(self.file("object"), &trial.cms).unwrap();
        command.arg("--verify").arg(self.file("object"));
        if let Some(content) = &trial.content {
            std::fs::write(self.file("content"), content).unwrap();
            command.arg(self.file("content"));
        }
        let output = command.output().unwrap();
        let status = String::from_utf8_lossy(&output.stdout);
        let count = |word: &str| {
            let lines = status.lines();
            let told = lines.filter_map(|line| line.strip_prefix("[GNUPG:] "));
            told.filter(|line| line.split(' ').next() == Some(word))
                .count()
        };
        let signatures = count("NEWSIG");
        // Its exit code is 0 also where nobody signed.
        let is_good =
            signatures > 0 && count("GOODSIG") == signatures && count("TRUST_FULLY") == signatures;
        if output.status.success() && is_good {
            return Ok(());
        }
        Err(format!(
            "{status}{}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }

    /// Offers it a private key with its certificate: a PKCS #12 file of the old algorithms. Whether it has the key then:
    /// it crashes on those of curves, and takes the certificate also where it does not come to the key.
    pub fn offer(&self, pkcs12: &Path, password: &str) -> bool {
        let mut command = self.command();
        command.args(LOOPBACK).arg("--import").arg(pkcs12);
        answered(command, password).contains("secret keys read: 1")
    }

    /// Offers it a certificate, which it need not take.
    pub fn know(&self, certificate: &Path) {
        let mut command = self.command();
        command.arg("--import").arg(certificate).output().unwrap();
    }

    /// A signature (DER) of somebody whose key it has, with the content beside it or in it; nothing where it cannot.
    pub fn sign(
        &self,
        address: &str,
        content: &[u8],
        beside: bool,
        password: &str,
    ) -> Option<Vec<u8>> {
        let (input, output) = (self.file("plain"), self.file("signature"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, content).unwrap();
        let mut command = self.command();
        command.args(LOOPBACK).args(["--local-user", address]);
        command.arg("--output").arg(&output);
        command.arg(if beside { "--detach-sign" } else { "--sign" });
        command.arg(&input);
        let said = answered(command, password);
        let signed = said.contains("SIG_CREATED");
        std::fs::read(&output).ok().filter(|_| signed)
    }

    /// Encrypts for somebody whose certificate it has, by one of its ciphers; nothing where it cannot.
    pub fn encrypt(&self, address: &str, cipher: &str, content: &[u8]) -> Option<Vec<u8>> {
        let (input, output) = (self.file("plain"), self.file("encrypted"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, content).unwrap();
        let mut command = self.command();
        command.args(["--cipher-algo", cipher, "--recipient", address, "--output"]);
        command.arg(&output).arg("--encrypt").arg(&input);
        command.output().unwrap();
        // What it could not do, it leaves behind as an empty file.
        std::fs::read(&output).ok().filter(|made| !made.is_empty())
    }

    /// The content of an EnvelopedData (DER); nothing where it does not open.
    pub fn decrypt(&self, object: &[u8], password: &str) -> Option<Vec<u8>> {
        let (input, output) = (self.file("object"), self.file("content"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, object).unwrap();
        let mut command = self.command();
        command.args(LOOPBACK).arg("--output").arg(&output);
        command.arg("--decrypt").arg(&input);
        let said = answered(command, password);
        let opened = said.contains("DECRYPTION_OKAY");
        std::fs::read(&output).ok().filter(|_| opened)
    }

    /// Revocation needs dirmngr, and is off.
    fn command(&self) -> Command {
        let mut command = Command::new("gpgsm");
        command.arg("--homedir").arg(self.file("home"));
        command.args(["--batch", "--no-tty", "--no-options", "--no-autostart"]);
        command.args(["--disable-dirmngr", "--disable-crl-checks"]);
        command.args(["--no-common-certs-import", "--status-fd", "1"]);
        let time = AT.replace(['-', ':'], "");
        command.args(["--faked-system-time", time.trim_end_matches('Z')]);
        command.env("LC_ALL", "C");
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Runs a command that asks for a passphrase on its standard input; all that it said.
fn answered(mut command: Command, password: &str) -> String {
    command.stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having asked.
    let _ = stdin.write_all(format!("{password}\n").as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Nobody is asked on a terminal.
const LOOPBACK: [&str; 4] = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"];

impl Drop for Gpgsm {
    fn drop(&mut self) {
        // Told to, the agent ends at once.
        for end in [&["--kill", "gpg-agent"][..], &["--remove-socketdir"]] {
            let mut command = Command::new("gpgconf");
            command.arg("--homedir").arg(self.file("home")).args(end);
            let _ = command.output();
        }
        let _ = self.companion.kill();
        let _ = self.companion.wait();
    }
}
