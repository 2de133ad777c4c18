//! People who read encrypted mail, with files for every program, and other programs that encrypt and decrypt: OpenSSL,
//! NSS, gpgsm.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::forge::certificates::{Authority, CertificateForm, Person, extension, key_usage, pem};
use crate::forge::der::{oid, seq};
use crate::forge::enveloped::{AES_256_CBC, AES_256_GCM, AUTH_ENVELOPED, ENVELOPED};
use crate::forge::keys::Key;
use crate::forge::mime;
use crate::kenin::kenin;
use crate::nss::Nss;
use crate::oracles::gpgsm::Gpgsm;
use crate::world::{Folder, run, write_secret};

/// The password of everybody's PKCS #12 file.
pub const PASSWORD: &str = "open sesame";
/// What is written in the mails.
pub const TEXT: &str = "Pay Bob 10 yen.";

/// digitalSignature and keyEncipherment.
pub const TRANSPORT: u8 = 0xa0;
/// digitalSignature and keyAgreement.
pub const AGREEMENT: u8 = 0x88;

/// RSAES-OAEP.
pub const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";
/// AES-192-CBC.
pub const AES_192_CBC: &str = "2.16.840.1.101.3.4.1.22";
/// AES-192-GCM.
pub const AES_192_GCM: &str = "2.16.840.1.101.3.4.1.26";
/// SMIMECapabilities.
const CAPABILITIES: &str = "1.2.840.113549.1.9.15";
const CIPHERS: [(&str, &str); 7] = [
    ("aes-128-cbc", "2.16.840.1.101.3.4.1.2"),
    ("aes-192-cbc", AES_192_CBC),
    ("aes-256-cbc", AES_256_CBC),
    ("aes-128-gcm", "2.16.840.1.101.3.4.1.6"),
    ("aes-192-gcm", AES_192_GCM),
    ("aes-256-gcm", AES_256_GCM),
    ("chacha20-poly1305", "1.2.840.113549.1.9.16.3.18"),
];

/// Somebody who reads encrypted mail.
#[allow(missing_docs)]
pub struct Reader {
    pub address: String,
    pub person: Person,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub pkcs12: PathBuf,
}

impl Reader {
    /// Whose certificate allows this, with files in this folder.
    pub fn new(folder: &Path, root: &Authority, name: &str, key: Key, usage: u8) -> Self {
        Self::with(folder, root, name, key, |form| {
            form.extensions[1] = key_usage(usage)
        })
    }

    /// Whose certificate is changed before it is issued.
    pub fn with(
        folder: &Path,
        root: &Authority,
        name: &str,
        key: Key,
        change: impl FnOnce(&mut CertificateForm),
    ) -> Self {
        let address = format!("{name}@example.jp");
        let mut form = root.person_form(name, &address, &key);
        change(&mut form);
        let person = root.issue(&form, key);
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let (certificate, key) = (path("pem"), path("key"));
        std::fs::write(&certificate, pem("CERTIFICATE", &person.certificate)).unwrap();
        write_secret(&key, &person.key.pem());
        let pkcs12 = path("p12");
        let reader = Self {
            address,
            person,
            certificate,
            key,
            pkcs12,
        };
        reader.export();
        reader
    }

    /// Makes the PKCS #12 file, with a salt of its own.
    fn export(&self) {
        let name = self.address.split('@').next().unwrap();
        let mut export = Command::new("openssl");
        export.args(["pkcs12", "-export", "-legacy", "-passout"]);
        export.arg(format!("pass:{PASSWORD}")).arg("-inkey");
        export.arg(&self.key).arg("-in").arg(&self.certificate);
        run(export.arg("-name").arg(name).arg("-out").arg(&self.pkcs12));
    }

    /// Offers the key to gpgsm. Whether it has it then.
    pub fn is_taken_by(&self, gpgsm: &Gpgsm) -> bool {
        // Of the right password and one salt in a hundred and more it makes a wrong key, each time (2.2.40).
        (0..5).any(|_| {
            let taken = gpgsm.offer(&self.pkcs12, PASSWORD);
            if !taken {
                self.export();
            }
            taken
        })
    }

    /// As `kenin` wants it: `CERT:KEY`.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.certificate.display(), self.key.display())
    }
}

/// A program that encrypts and decrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Program {
    Kenin,
    OpenSsl,
    Nss,
    Gpgsm,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kenin, Self::OpenSsl, Self::Nss, Self::Gpgsm];
}

/// How a content is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Way {
    /// As `openssl` and `kenin` call it: `aes-256-cbc`.
    pub cipher: &'static str,
    pub oaep: bool,
}

impl Way {
    /// The cipher's number.
    fn number(self) -> &'static str {
        let known = CIPHERS.iter().find(|(name, _)| *name == self.cipher);
        known.expect("a known cipher").1
    }

    /// Whether an object is encrypted so. One that names a cipher with a tag and has no room for the tag is not:
    /// gpgsm writes such.
    fn is_of(self, object: &[u8]) -> bool {
        let kind = match self.cipher.ends_with("-cbc") {
            true => ENVELOPED,
            false => AUTH_ENVELOPED,
        };
        names(object, kind)
            && names(object, self.number())
            && names(object, RSAES_OAEP) == self.oaep
    }
}

/// Readers, and the programs with their keys.
pub struct Workshop {
    folder: Folder,
    /// Who vouches for everybody.
    pub root: Authority,
    /// RSA-2048.
    pub rsa: Reader,
    /// P-256.
    pub p256: Reader,
    /// P-384.
    pub p384: Reader,
    /// P-521.
    pub p521: Reader,
    /// X25519.
    pub x25519: Reader,
    nss: Nss,
    gpgsm: Gpgsm,
}

impl Workshop {
    /// Gives every key to every program that takes it, and every certificate to all: gpgsm 2.2 crashes on keys of curves.
    pub fn new() -> Self {
        let folder = Folder::new();
        let root = Authority::root("Encryption Root");
        let path = folder.path();
        let rsa = Reader::new(path, &root, "rita", Key::rsa(2048), TRANSPORT);
        let p256 = Reader::new(path, &root, "paul", Key::p256(), AGREEMENT);
        let p384 = Reader::new(path, &root, "pia", Key::p384(), AGREEMENT);
        let p521 = Reader::new(path, &root, "pola", Key::p521(), AGREEMENT);
        // keyAgreement alone (RFC 8410 §5).
        let x25519 = Reader::new(path, &root, "xenia", Key::x25519(), 0x08);
        let nss = Nss::trusting(&[&root.certificate]);
        for reader in [&rsa, &p256, &p384, &p521] {
            nss.import(&reader.pkcs12, PASSWORD);
        }
        nss.offer(&x25519.pkcs12, PASSWORD);
        nss.know("xenia", &x25519.certificate);
        let gpgsm = Gpgsm::with_keys(&root.certificate);
        assert!(rsa.is_taken_by(&gpgsm));
        for reader in [&p256, &p384, &p521, &x25519] {
            gpgsm.know(&reader.certificate);
        }
        Self {
            folder,
            root,
            rsa,
            p256,
            p384,
            p521,
            x25519,
            nss,
            gpgsm,
        }
    }

    /// Somebody with a key that OpenSSL does not know: its SubjectPublicKeyInfo, and the private half in PEM. The
    /// certificate is offered to the other programs.
    pub fn strange(&self, name: &str, spki: Vec<u8>, private: &[u8], usage: u8) -> Reader {
        let address = format!("{name}@example.jp");
        let standing_in = Key::p256();
        let mut form = self.root.person_form(name, &address, &standing_in);
        form.spki = spki;
        form.extensions[1] = key_usage(usage);
        let person = self.root.issue(&form, standing_in);
        let path = |end: &str| self.folder.join(format!("{name}.{end}"));
        let (certificate, key) = (path("pem"), path("key"));
        std::fs::write(&certificate, pem("CERTIFICATE", &person.certificate)).unwrap();
        write_secret(&key, private);
        self.nss.know(name, &certificate);
        self.gpgsm.know(&certificate);
        Reader {
            address,
            person,
            certificate,
            key,
            pkcs12: path("p12"),
        }
    }

    /// Somebody whose certificate says that this algorithm is understood (RFC 4262), whom the other programs know.
    pub fn saying(&self, name: &str, key: Key, algorithm: &str) -> Reader {
        let is_rsa = key.is_rsa();
        let reader = Reader::with(self.folder.path(), &self.root, name, key, |form| {
            form.extensions[1] = key_usage(if is_rsa { TRANSPORT } else { AGREEMENT });
            let said = seq([seq([oid(algorithm)])]);
            form.extensions.push(extension(CAPABILITIES, false, &said));
        });
        self.nss.import(&reader.pkcs12, PASSWORD);
        match is_rsa {
            true => assert!(reader.is_taken_by(&self.gpgsm)),
            false => self.gpgsm.know(&reader.certificate),
        }
        reader
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The object that a program makes of [`part`] in this way; nothing where it cannot, or does it in another.
    pub fn encrypt(&self, program: Program, to: &Reader, way: Way) -> Option<Vec<u8>> {
        let made = match program {
            Program::Kenin => Some(self.kenin_encrypt(to, way)),
            Program::OpenSsl => self.openssl_encrypt(to, way),
            // It chooses the cipher itself.
            Program::Nss => self.nss.encrypt(&to.address, &part()),
            Program::Gpgsm => self.gpgsm.encrypt(&to.address, way.number(), &part()),
        };
        made.filter(|made| way.is_of(made))
    }

    /// What a program opens an object to; nothing where it cannot.
    pub fn decrypt(&self, program: Program, reader: &Reader, object: &[u8]) -> Option<Vec<u8>> {
        match program {
            Program::Kenin => {
                let output = self.kenin_decrypt(reader, object);
                output.status.success().then_some(output.stdout)
            }
            Program::OpenSsl => {
                let input = self.file("object.der");
                std::fs::write(&input, object).unwrap();
                let mut command = Command::new("openssl");
                command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]);
                command.arg(&input).arg("-recip").arg(&reader.certificate);
                let output = command.arg("-inkey").arg(&reader.key).output().unwrap();
                output.status.success().then_some(output.stdout)
            }
            Program::Nss => self.nss.decrypt(object),
            Program::Gpgsm => self.gpgsm.decrypt(object, PASSWORD),
        }
    }

    /// `kenin decrypt` of a mail that is this object.
    pub fn kenin_decrypt(&self, reader: &Reader, object: &[u8]) -> Output {
        let mail = self.file("encrypted.eml");
        let raw = mime::opaque(&mime::headers("alice@example.jp"), "", object);
        std::fs::write(&mail, raw).unwrap();
        kenin(&[
            "decrypt",
            "--key",
            &reader.pair(),
            &mail.display().to_string(),
        ])
    }

    fn kenin_encrypt(&self, to: &Reader, way: Way) -> Vec<u8> {
        let mail = self.file("plain.eml");
        std::fs::write(&mail, [mime::headers("alice@example.jp"), part()].concat()).unwrap();
        let mail = mail.display().to_string();
        let certificate = to.certificate.display().to_string();
        let mut words = vec!["encrypt", "--unchecked", "--certificate"];
        words.extend([certificate.as_str(), mail.as_str()]);
        // AES-192 and OAEP are not for the command line to ask for: they are used where a certificate says so.
        if !way.cipher.starts_with("aes-192-") {
            words.extend(["--cipher", way.cipher]);
        }
        let output = kenin(&words);
        assert!(output.status.success(), "{}", said(&output));
        object(&output.stdout)
    }

    fn openssl_encrypt(&self, to: &Reader, way: Way) -> Option<Vec<u8>> {
        let (input, output) = (self.file("part"), self.file("made.der"));
        let _ = std::fs::remove_file(&output);
        std::fs::write(&input, part()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["cms", "-encrypt", "-binary", "-outform", "DER"]);
        command.arg(format!("-{}", way.cipher)).arg("-in");
        command.arg(&input).arg("-out").arg(&output);
        command.arg("-recip").arg(&to.certificate);
        if way.oaep {
            command.args(["-keyopt", "rsa_padding_mode:oaep"]);
        }
        let ended = command.output().unwrap();
        std::fs::read(&output)
            .ok()
            .filter(|_| ended.status.success())
    }
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

/// The entity that is encrypted.
pub fn part() -> Vec<u8> {
    mime::text(TEXT)
}

/// Whether an OBJECT IDENTIFIER stands in an object.
pub(crate) fn names(object: &[u8], number: &str) -> bool {
    let number = oid(number);
    object.windows(number.len()).any(|window| window == number)
}

/// The CMS object that a mail is, in base64.
///
/// # Panics
/// Where it is none.
pub fn object(mail: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(mail);
    let (_, body) = text.split_once("\r\n\r\n").expect("a header and a body");
    let digits: String = body.split_whitespace().collect();
    openssl::base64::decode_block(&digits).expect("base64")
}

/// All that a command said.
pub fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}: {}", output.status, String::from_utf8_lossy(&all))
}
