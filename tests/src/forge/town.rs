//! The people of the forged mails and the authority that vouches for them, made once per test run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::certificates::{Authority, Person, pem};
use super::cms;
use super::keys::Key;
use super::mime;

/// Everybody's certificates and keys.
pub struct Town {
    /// The trusted root.
    pub root: Authority,
    /// The issuer of everybody's certificate.
    pub issuer: Authority,
    /// alice@example.jp, RSA-2048.
    pub alice: Person,
    /// bob@example.jp, P-256.
    pub bob: Person,
    /// carol@example.jp, P-384.
    pub carol: Person,
    /// dave@example.jp, P-521.
    pub dave: Person,
    /// erin@example.jp, Ed25519.
    pub erin: Person,
    /// mallory@evil.example, P-256, as trusted as the others: an attacker with a real certificate.
    pub mallory: Person,
    /// rita@example.jp, P-256, revoked.
    pub rita: Person,
    /// weak@example.jp, RSA-1024.
    pub weak: Person,
    /// A root that nobody trusts.
    pub strange_root: Authority,
    /// alice@example.jp, P-256, by the strange root.
    pub strange_alice: Person,
}

impl Town {
    /// The one of this process.
    pub fn get() -> &'static Self {
        static TOWN: OnceLock<Town> = OnceLock::new();
        TOWN.get_or_init(Self::build)
    }

    fn build() -> Self {
        let root = Authority::root("Kenin Test Root");
        let issuer = root.below("Kenin Test Issuer");
        let strange_root = Authority::root("Strange Root");
        Self {
            alice: issuer.person("Alice", "alice@example.jp", Key::rsa(2048)),
            bob: issuer.person("Bob", "bob@example.jp", Key::p256()),
            carol: issuer.person("Carol", "carol@example.jp", Key::p384()),
            dave: issuer.person("Dave", "dave@example.jp", Key::p521()),
            erin: issuer.person("Erin", "erin@example.jp", Key::ed25519()),
            mallory: issuer.person("Mallory", "mallory@evil.example", Key::p256()),
            rita: issuer.person("Rita", "rita@example.jp", Key::p256()),
            weak: issuer.person("Weak", "weak@example.jp", Key::rsa(1024)),
            strange_alice: strange_root.person("Alice", "alice@example.jp", Key::p256()),
            strange_root,
            root,
            issuer,
        }
    }

    /// The chain that a mail program puts beside a signer's certificate.
    pub fn chain(&self) -> [&[u8]; 1] {
        [&self.issuer.certificate]
    }

    /// An honest clear-signed mail of somebody, from an address.
    pub fn clear_signed(&self, person: &Person, from: &str, body: &str) -> Vec<u8> {
        let part = mime::text(body);
        let cms = cms::detached(person, &self.chain(), &part);
        mime::clear_signed(&mime::headers(from), &part, &cms)
    }

    /// An honest opaque mail.
    pub fn opaque(&self, person: &Person, from: &str, body: &str) -> Vec<u8> {
        let cms = cms::opaque(person, &self.chain(), &mime::text(body));
        mime::opaque(&mime::headers(from), "signed-data", &cms)
    }

    /// Writes anchor, intermediate and CRLs below a folder, as `kenin` wants them.
    pub fn write(&self, folder: &Path) -> Trust {
        let trust = Trust {
            anchor: folder.join("anchors/root.pem"),
            intermediates: folder.join("intermediates"),
            crls: folder.join("crls"),
        };
        for dir in [&folder.join("anchors"), &trust.intermediates, &trust.crls] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(&trust.anchor, pem("CERTIFICATE", &self.root.certificate)).unwrap();
        let issuer = pem("CERTIFICATE", &self.issuer.certificate);
        std::fs::write(trust.intermediates.join("issuer.pem"), issuer).unwrap();
        std::fs::write(trust.crls.join("root.crl"), self.root.crl(&[])).unwrap();
        let revoked = self.issuer.crl(&[&self.rita.serial]);
        std::fs::write(trust.crls.join("issuer.crl"), revoked).unwrap();
        trust
    }
}

/// Where the trust files of a town lie.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Trust {
    pub anchor: PathBuf,
    pub intermediates: PathBuf,
    pub crls: PathBuf,
}
