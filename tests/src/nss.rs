//! NSS as a reader of signed and encrypted mail: what Thunderbird and its relatives see.

use std::path::Path;
use std::process::Command;

use crate::forge::certificates::pem;
use crate::world::{Folder, run};

/// A profile that trusts some authorities for mail.
pub struct Nss {
    folder: Folder,
}

impl Nss {
    /// An empty profile with these roots (DER) trusted for mail.
    pub fn trusting(roots: &[&[u8]]) -> Self {
        let folder = Folder::new();
        let database = format!("sql:{}", folder.path().display());
        run(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]));
        for (number, root) in roots.iter().enumerate() {
            let file = folder.join(format!("root{number}.pem"));
            std::fs::write(&file, pem("CERTIFICATE", root)).unwrap();
            let name = format!("root{number}");
            let mut add = Command::new("certutil");
            add.args(["-A", "-d", &database, "-n", &name, "-t", ",C,", "-i"]);
            run(add.arg(&file));
        }
        Self { folder }
    }

    /// Takes a private key in, with its certificate: a PKCS #12 file.
    pub fn import(&self, pkcs12: &Path, password: &str) {
        let mut command = Command::new("pk12util");
        command.args(["-d", &self.database(), "-W", password, "-i"]);
        run(command.arg(pkcs12));
    }

    /// Offers it a private key, which it need not take.
    pub fn offer(&self, pkcs12: &Path, password: &str) {
        let mut command = Command::new("pk12util");
        command.args(["-d", &self.database(), "-W", password, "-i"]);
        command.arg(pkcs12).output().unwrap();
    }

    /// Offers it a certificate under this name, which it need not take.
    pub fn know(&self, name: &str, certificate: &Path) {
        let mut command = Command::new("certutil");
        command.args(["-A", "-d", &self.database(), "-n", name, "-t", ",,", "-i"]);
        command.arg(certificate).output().unwrap();
    }

    /// A signature (DER) with the key of this name, with the content beside it or in it; nothing where it cannot.
    pub fn sign(&self, name: &str, content: &[u8], beside: bool) -> Option<Vec<u8>> {
        let (input, output) = (self.folder.join("plain"), self.folder.join("signature"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, content).unwrap();
        let mut command = Command::new("cmsutil");
        command.args(["-S", "-d", &self.database(), "-N", name, "-G"]);
        command.args(beside.then_some("-T")).arg("-i");
        let ended = command.arg(&input).arg("-o").arg(&output).output().unwrap();
        std::fs::read(&output)
            .ok()
            .filter(|made| ended.status.success() && !made.is_empty())
    }

    /// Encrypts for somebody whose certificate it has, by a cipher of its own choice; nothing where it cannot.
    pub fn encrypt(&self, address: &str, content: &[u8]) -> Option<Vec<u8>> {
        let (input, output) = (self.folder.join("plain"), self.folder.join("encrypted"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, content).unwrap();
        let mut command = Command::new("cmsutil");
        command.args(["-E", "-d", &self.database(), "-r", address, "-i"]);
        let ended = command.arg(&input).arg("-o").arg(&output).output().unwrap();
        std::fs::read(&output)
            .ok()
            .filter(|_| ended.status.success())
    }

    /// The content of an EnvelopedData (DER); nothing where it does not open.
    pub fn decrypt(&self, object: &[u8]) -> Option<Vec<u8>> {
        let input = self.folder.join("object");
        std::fs::write(&input, object).unwrap();
        let mut command = Command::new("cmsutil");
        command
            .args(["-D", "-d", &self.database(), "-i"])
            .arg(&input);
        let output = command.output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    fn database(&self) -> String {
        format!("sql:{}", self.folder.path().display())
    }

    /// The status of each signer of a detached signature (DER) over this content.
    pub fn statuses(&self, signature: &[u8], content: &[u8]) -> Vec<String> {
        let (all, said) = self.told(signature, Some(content));
        assert!(!all.is_empty(), "cmsutil said nothing of a signer: {said}");
        all
    }

    /// Whether it finds the signature of every signer good; over what is beside it, or in it.
    pub fn verifies(&self, signature: &[u8], content: Option<&[u8]>) -> bool {
        let (all, _) = self.told(signature, content);
        !all.is_empty() && all.iter().all(|status| status == "GoodSignature")
    }

    /// Exit codes of `cmsutil` say nothing: its words do.
    fn told(&self, signature: &[u8], content: Option<&[u8]>) -> (Vec<String>, String) {
        let (object, text) = (self.folder.join("object"), self.folder.join("content"));
        std::fs::write(&object, signature).unwrap();
        let mut command = Command::new("cmsutil");
        command.args(["-D", "-d", &self.database(), "-h", "0", "-u", "5", "-i"]);
        command.arg(&object);
        if let Some(content) = content {
            std::fs::write(&text, content).unwrap();
            command.arg("-c").arg(&text);
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = |word: &str| {
            word.split_once(".status=")
                .map(|(_, status)| status.to_owned())
        };
        let words = said.split(|c: char| c.is_whitespace() || c == ';');
        let all: Vec<String> = words.filter_map(status).collect();
        (all, said)
    }
}
