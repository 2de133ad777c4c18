//! People who sign, with files for every program, and other programs that sign and verify: OpenSSL, NSS, gpgsm.

use std::path::PathBuf;
use std::process::Command;

use crate::encryption::{PASSWORD, Program, Reader, TEXT, names, object, part, said};
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
}

impl Pen {
    /// As `kenin` wants it: `CERT:KEY`.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.certificate.display(), self.key.display())
    }
}

/// A signature (DER), and what it is about where that lies beside it and not in it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Signed {
    pub object: Vec<u8>,
    pub content: Option<Vec<u8>>,
}

impl Signed {
    /// The same signature with another text of the same length in place of [`TEXT`].
    ///
    /// # Panics
    /// Where the text is not there.
    #[must_use]
    pub fn saying(&self, text: &str) -> Self {
        let mut changed = self.clone();
        let place = changed.content.as_mut().unwrap_or(&mut changed.object);
        let mut windows = place.windows(TEXT.len());
        let at = windows.position(|window| window == TEXT.as_bytes());
        let at = at.expect("the text is there");
        place[at..at + TEXT.len()].copy_from_slice(text.as_bytes());
        changed
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
    pub fn pen(&self, name: &str, key: Key) -> Pen {
        let is_rsa = key.is_rsa();
        let reader = Reader::with(self.folder.path(), &self.root, name, key, |form| {
            // NSS signs with, and believes, what it could also encrypt for.
            if is_rsa {
                form.extensions[1] = key_usage(0xa0);
            }
        });
        self.nss.offer(&reader.pkcs12, PASSWORD);
        reader.is_taken_by(&self.gpgsm);
        Pen {
            name: name.to_owned(),
            address: reader.address,
            certificate: reader.certificate,
            key: reader.key,
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
        }
    }

    /// What a program makes of [`part`], with the content beside the signature or in it; nothing where it cannot, or signs
    /// by another padding.
    pub fn sign(&self, program: Program, pen: &Pen, pss: bool, beside: bool) -> Option<Signed> {
        let object = match program {
            Program::Kenin => Some(self.kenin_sign(pen, beside)),
            Program::OpenSsl => self.openssl_sign(pen, pss, beside),
            // It has PSS for keys that are for nothing else only, and leaves the parameters out, which RFC 4055 §3.1
            // wants there.
            Program::Nss => {
                let made = self.nss.sign(&pen.name, &part(), beside);
                made.filter(|_| !pss)
            }
            Program::Gpgsm => self.gpgsm.sign(&pen.address, &part(), beside, PASSWORD),
        };
        let object = object.filter(|object| names(object, RSASSA_PSS) == pss)?;
        let content = beside.then(part);
        Some(Signed { object, content })
    }

    /// Whether a program finds a signature right.
    pub fn verifies(&self, program: Program, pen: &Pen, signed: &Signed) -> bool {
        let Signed { object, content } = signed;
        match program {
            Program::Kenin => {
                let headers = mime::headers(&pen.address);
                let raw = match content {
                    Some(content) => mime::clear_signed(&headers, content, object),
                    None => mime::opaque(&headers, "signed-data", object),
                };
                let mail = self.written("signed.eml", &raw);
                let verdict = kenin(&[
                    "verify",
                    "--revocation=off",
                    &format!("--anchor={}", self.anchor.display()),
                    &mail.display().to_string(),
                ]);
                verdict.status.success()
            }
            Program::OpenSsl => {
                let object = self.written("object.der", object);
                let mut verify = Command::new("openssl");
                verify.args(["cms", "-verify", "-binary", "-purpose", "any"]);
                verify.args(["-inform", "DER", "-in"]).arg(object);
                if let Some(content) = content {
                    let text = self.written("content", content);
                    verify.arg("-content").arg(text);
                }
                verify.arg("-CAfile").arg(&self.anchor);
                verify.output().unwrap().status.success()
            }
            Program::Nss => self.nss.verifies(object, content.as_deref()),
            Program::Gpgsm => {
                let trial = Trial {
                    name: pen.name.clone(),
                    mail: Vec::new(),
                    cms: object.clone(),
                    content: content.clone(),
                    lists: Vec::new(),
                    from: None,
                    is_wrong: false,
                    abstaining: Vec::new(),
                };
                self.gpgsm.verify(&trial).is_ok()
            }
        }
    }

    fn kenin_sign(&self, pen: &Pen, beside: bool) -> Vec<u8> {
        let raw = [mime::headers(&pen.address), part()].concat();
        let mail = self.written("plain.eml", &raw).display().to_string();
        let pair = pen.pair();
        let mut words = vec!["sign", "--no-header-protection", "--key"];
        words.extend([pair.as_str(), mail.as_str()]);
        words.extend((!beside).then_some("--opaque"));
        let output = kenin(&words);
        assert!(output.status.success(), "{}", said(&output));
        if !beside {
            return object(&output.stdout);
        }
        let (content, signature) = halves(&output.stdout);
        assert_eq!(content, part());
        signature
    }

    fn openssl_sign(&self, pen: &Pen, pss: bool, beside: bool) -> Option<Vec<u8>> {
        let (input, output) = (self.written("part", &part()), self.folder.join("made.der"));
        let _ = std::fs::remove_file(&output);
        let mut sign = Command::new("openssl");
        sign.args(["cms", "-sign", "-binary", "-outform", "DER", "-in"]);
        sign.arg(&input).arg("-out").arg(&output);
        sign.arg("-signer").arg(&pen.certificate);
        sign.arg("-inkey").arg(&pen.key);
        sign.args((!beside).then_some("-nodetach"));
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

/// id-RSASSA-PSS.
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

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
