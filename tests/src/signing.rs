//! People who sign, with files for every program, and other programs that sign and verify: OpenSSL, NSS, gpgsm.

use std::path::PathBuf;
use std::process::Command;

use crate::encryption::{PASSWORD, Program, Reader, part, said};
use crate::forge::certificates::{Authority, key_usage, pem};
use crate::forge::keys::Key;
use crate::forge::mime;
use crate::kenin::kenin;
use crate::nss::Nss;
use crate::oracles::Trial;
use crate::oracles::gpgsm::Gpgsm;
use crate::world::{Folder, write_secret};

/// Somebody who signs.
#[allow(missing_docs)]
pub struct Pen {
    name: String,
    pub address: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whether the key is for PSS and nothing else.
    pub only_pss: bool,
}

impl Pen {
    /// As `kenin` wants it: `CERT:KEY`.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.certificate.display(), self.key.display())
    }
}

/// Programs that sign and verify, and who vouches for all who sign.
pub struct Workshop {
    folder: Folder,
    root: Authority,
    anchor: PathBuf,
    nss: Nss,
    gpgsm: Gpgsm,
}

impl Workshop {
    /// Nobody has a key yet.
    pub fn new() -> Self {
        let folder = Folder::new();
        let root = Authority::root("Signing Root");
        let anchor = folder.join("root.pem");
        std::fs::write(&anchor, pem("CERTIFICATE", &root.certificate)).unwrap();
        Self {
            nss: Nss::trusting(&[&root.certificate]),
            gpgsm: Gpgsm::with_keys(&root.certificate),
            folder,
            root,
            anchor,
        }
    }

    /// Somebody with a key of OpenSSL's, which is offered to the other programs.
    pub fn pen(&self, name: &str, key: Key, only_pss: bool) -> Pen {
        let is_rsa = key.is_rsa();
        let reader = Reader::with(self.folder.path(), &self.root, name, key, |form| {
            // NSS signs with, and believes, what it could also encrypt for.
            if is_rsa {
                form.extensions[1] = key_usage(0xa0);
            }
        });
        self.nss.offer(&reader.pkcs12, PASSWORD);
        self.gpgsm.offer(&reader.pkcs12, PASSWORD);
        Pen {
            name: name.to_owned(),
            address: reader.address,
            certificate: reader.certificate,
            key: reader.key,
            only_pss,
        }
    }

    /// Somebody with a key that only Kenin knows: its SubjectPublicKeyInfo, and the private half in PEM.
    pub fn strange_pen(&self, name: &str, spki: Vec<u8>, private: &[u8]) -> Pen {
        let address = format!("{name}@example.jp");
        let standing_in = Key::p256();
        let mut form = self.root.person_form(name, &address, &standing_in);
        form.spki = spki;
        let person = self.root.issue(&form, standing_in);
        let path = |end: &str| self.folder.join(format!("{name}.{end}"));
        let (certificate, key) = (path("pem"), path("key"));
        std::fs::write(&certificate, pem("CERTIFICATE", &person.certificate)).unwrap();
        write_secret(&key, private);
        Pen {
            name: name.to_owned(),
            address,
            certificate,
            key,
            only_pss: false,
        }
    }

    /// The detached signature (DER) that a program makes over [`part`]; nothing where it cannot.
    pub fn sign(&self, program: Program, pen: &Pen, pss: bool) -> Option<Vec<u8>> {
        match program {
            // The key says which padding, and nobody else.
            Program::Kenin => (pss == pen.only_pss).then(|| self.kenin_sign(pen)),
            Program::OpenSsl => self.openssl_sign(pen, pss),
            // It has PSS for keys that are for nothing else only, and leaves the parameters out, which RFC 4055 §3.1
            // wants there.
            Program::Nss => self.nss.sign(&pen.name, &part()).filter(|_| !pss),
            Program::Gpgsm => {
                let made = self.gpgsm.sign(&pen.address, &part(), PASSWORD);
                made.filter(|_| !pss)
            }
        }
    }

    /// Whether a program finds a detached signature over this content right.
    pub fn verifies(&self, program: Program, pen: &Pen, signature: &[u8], content: &[u8]) -> bool {
        match program {
            Program::Kenin => {
                let mail = self.folder.join("signed.eml");
                let headers = mime::headers(&pen.address);
                std::fs::write(&mail, mime::clear_signed(&headers, content, signature)).unwrap();
                let verdict = kenin(&[
                    "verify",
                    "--revocation=off",
                    &format!("--anchor={}", self.anchor.display()),
                    &mail.display().to_string(),
                ]);
                verdict.status.success()
            }
            Program::OpenSsl => {
                let object = self.written("object.der", signature);
                let text = self.written("content", content);
                let mut verify = Command::new("openssl");
                verify.args(["cms", "-verify", "-binary", "-purpose", "any"]);
                verify.args(["-inform", "DER", "-in"]).arg(object);
                verify.arg("-content").arg(text).arg("-CAfile");
                verify.arg(&self.anchor).output().unwrap().status.success()
            }
            Program::Nss => self.nss.verifies(signature, content),
            Program::Gpgsm => {
                let trial = Trial {
                    name: pen.name.clone(),
                    mail: Vec::new(),
                    cms: signature.to_vec(),
                    content: Some(content.to_vec()),
                    lists: Vec::new(),
                    from: None,
                    is_wrong: false,
                    abstaining: Vec::new(),
                };
                self.gpgsm.verify(&trial).is_ok()
            }
        }
    }

    fn kenin_sign(&self, pen: &Pen) -> Vec<u8> {
        let raw = [mime::headers(&pen.address), part()].concat();
        let mail = self.written("plain.eml", &raw);
        let output = kenin(&[
            "sign",
            "--no-header-protection",
            "--key",
            &pen.pair(),
            &mail.display().to_string(),
        ]);
        assert!(output.status.success(), "{}", said(&output));
        let (content, signature) = halves(&output.stdout);
        assert_eq!(content, part());
        signature
    }

    fn openssl_sign(&self, pen: &Pen, pss: bool) -> Option<Vec<u8>> {
        let (input, output) = (self.written("part", &part()), self.folder.join("made.der"));
        let _ = std::fs::remove_file(&output);
        let mut sign = Command::new("openssl");
        sign.args(["cms", "-sign", "-binary", "-outform", "DER", "-in"]);
        sign.arg(&input).arg("-out").arg(&output);
        sign.arg("-signer").arg(&pen.certificate);
        sign.arg("-inkey").arg(&pen.key);
        if pss {
            sign.args(["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"]);
            sign.args(["-keyopt", "rsa_pss_saltlen:32"]);
        }
        let ended = sign.output().unwrap();
        std::fs::read(&output)
            .ok()
            .filter(|made| ended.status.success() && !made.is_empty())
    }

    fn written(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

/// The part that is signed, and the signature (DER), of a clear-signed mail as Kenin writes it.
fn halves(mail: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text = std::str::from_utf8(mail).unwrap();
    let (_, rest) = text.split_once("boundary=\"").unwrap();
    let (boundary, rest) = rest.split_once('"').unwrap();
    let delimiter = format!("--{boundary}\r\n");
    let mut parts = rest.split(delimiter.as_str()).skip(1);
    let content = parts.next().unwrap().strip_suffix("\r\n").unwrap();
    let (_, signature) = parts.next().unwrap().split_once("\r\n\r\n").unwrap();
    let (digits, _) = signature.split_once("--").unwrap();
    let digits: String = digits.split_whitespace().collect();
    let signature = openssl::base64::decode_block(&digits).unwrap();
    (content.as_bytes().to_vec(), signature)
}
