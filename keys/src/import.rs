//! Private keys as people bring them: PEM, PKCS#8 (RFC 5958) in clear and encrypted, and PKCS#12 (RFC 7292).
//!
//! Size, nesting and the work that a password costs are bounded before anything is done. What is read is whatever
//! programs of the last 25 years have written; nothing of it is ever written here.

mod pbe;
mod pkcs12;

use kenin_pki::ber::{BerError, Cursor, Limits, Tag, Tape};
use kenin_pki::crypto::{PublicKey, Secret, SigningKey, SoftKey, Weakness};
use kenin_pki::{Certificate, pem};

use pbe::{Password, Work};

/// A private key with what belongs to it.
#[derive(Debug)]
pub struct Imported {
    /// The private key: PKCS#8 in DER.
    pub pkcs8: Secret,
    /// Its public half.
    pub public: PublicKey,
    /// Why it should do nothing new, if so; it may still open old mail.
    pub weakness: Option<Weakness>,
    /// Whether no password kept it, or an empty one: whoever could read the file has it.
    pub in_clear: bool,
    /// The certificates of this key, and then those that lead up from the first of them. Nothing is verified.
    pub certificates: Vec<Certificate>,
}

/// Reads the private keys of a file, one at least.
///
/// # Errors
/// [`ImportError::PasswordNeeded`] and [`ImportError::WrongPassword`] where it does not open, and others where it is
/// nothing that is read here.
pub fn import(file: &[u8], password: Option<&Secret>) -> Result<Vec<Imported>, ImportError> {
    if file.len() > MAX_FILE {
        return Err(ImportError::TooLarge);
    }
    let mut found = Found::default();
    let mut reading = Reading {
        cover: match password {
            Some(password) if !password.expose().is_empty() => Cover::Password,
            // An empty one is the first that anybody tries.
            Some(_) | None => Cover::Nothing,
        },
        password: password.map(Password::new).transpose()?,
        work: Work::default(),
    };
    if file.windows(BEGIN.len()).any(|window| window == BEGIN) {
        reading.pem(file, &mut found)?;
    } else {
        reading.der(file, &mut found)?;
    }
    found.finish()
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file is larger than any file of keys.
    #[error("larger than any file of keys")]
    TooLarge,
    /// There is no private key in it.
    #[error("no private key in it")]
    NoKey,
    /// There are more private keys or certificates than anybody has.
    #[error("more keys or certificates than are read")]
    TooMany,
    /// It has a form that is not read: this one.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// It has no form that is known, or a broken one.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// It is encrypted, and no password was given.
    #[error("a password is needed")]
    PasswordNeeded,
    /// It does not open with this password, or was changed.
    #[error("wrong password, or the file was changed")]
    WrongPassword,
    /// The password is longer than any, or no UTF-8.
    #[error("the password cannot be used")]
    BadPassword,
    /// To open it would cost more work than is done for any file.
    #[error("asks for too much work to be opened")]
    TooMuchWork,
}

impl From<BerError> for ImportError {
    fn from(error: BerError) -> Self {
        match error {
            BerError::Malformed { what, .. } => Self::Malformed(what),
            BerError::Limit { .. } => Self::TooMany,
        }
    }
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    keys: Vec<Taken>,
    certificates: Vec<Certificate>,
}

struct Taken {
    pkcs8: Secret,
    key: SoftKey,
    cover: Cover,
}

/// What keeps a key from whoever reads its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    Nothing,
    Password,
}

impl Found {
    /// Takes a PKCS#8 that is proven to be one.
    fn key(&mut self, pkcs8: Secret, cover: Cover) -> Result<(), ImportError> {
        let key = SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_| NO_KEY)?;
        // Some programs write a key twice.
        let id = key.public_key().id();
        let is_it = |known: &&mut Taken| known.key.public_key().id() == id;
        match self.keys.iter_mut().find(is_it) {
            Some(known) if cover == Cover::Nothing => known.cover = cover,
            Some(_) => {}
            None => self.keys.push(Taken { pkcs8, key, cover }),
        }
        self.bounded()
    }

    fn certificate(&mut self, der: &[u8]) -> Result<(), ImportError> {
        let certificate = Certificate::from_der(der);
        let certificate =
            certificate.map_err(|_| ImportError::Malformed("a broken certificate"))?;
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
        self.bounded()
    }

    const fn bounded(&self) -> Result<(), ImportError> {
        if self.keys.len() > MAX_KEYS || self.certificates.len() > MAX_CERTIFICATES {
            return Err(ImportError::TooMany);
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Imported>, ImportError> {
        if self.keys.is_empty() {
            return Err(ImportError::NoKey);
        }
        let imported = self.keys.into_iter().map(|taken| Imported {
            certificates: belonging(taken.key.public_key(), &self.certificates),
            weakness: taken.key.weakness(),
            public: taken.key.public_key().clone(),
            in_clear: taken.cover == Cover::Nothing,
            pkcs8: taken.pkcs8,
        });
        Ok(imported.collect())
    }
}

/// The certificates of a key among these, and the way up from the first, as far as names lead. None where there is none
/// of this key. Nothing is verified.
#[must_use]
pub fn belonging(public: &PublicKey, all: &[Certificate]) -> Vec<Certificate> {
    let of_key = |certificate: &&Certificate| certificate.public_key().bits() == public.bits();
    let mut chosen: Vec<Certificate> = all.iter().filter(of_key).cloned().collect();
    let mut last = chosen.first().cloned();
    while let Some(below) = last {
        let next = all
            .iter()
            .find(|above| above.subject() == below.issuer() && !chosen.contains(above));
        last = next.cloned();
        chosen.extend(next.cloned());
    }
    chosen
}

/// A file that is being read.
struct Reading {
    password: Option<Password>,
    /// What keeps a key that it opens.
    cover: Cover,
    work: Work,
}

impl Reading {
    fn pem(&mut self, file: &[u8], found: &mut Found) -> Result<(), ImportError> {
        let blocks = pem::decode(file).map_err(|error| ImportError::Malformed(error.what))?;
        for block in blocks {
            let label = block.label;
            let bytes = Secret::new(block.bytes);
            match label.as_str() {
                "PRIVATE KEY" => found.key(bytes, Cover::Nothing)?,
                "ENCRYPTED PRIVATE KEY" => self.der(bytes.expose(), found)?,
                "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                    found.key(in_pkcs8(&label, &bytes)?, Cover::Nothing)?;
                }
                "CERTIFICATE" | "X509 CERTIFICATE" => found.certificate(bytes.expose())?,
                "PKCS12" => self.der(bytes.expose(), found)?,
                _ => {}
            }
        }
        let sealed =
            found.keys.is_empty() && file.windows(RFC1421.len()).any(|window| window == RFC1421);
        if sealed {
            let form = "a key encrypted as in RFC 1421; openssl pkcs8 -topk8 writes it anew";
            return Err(ImportError::Unsupported(form.to_owned()));
        }
        Ok(())
    }

    /// Tells by the first elements what it is.
    fn der(&mut self, file: &[u8], found: &mut Found) -> Result<(), ImportError> {
        let tape = Tape::parse(file, &LIMITS)?;
        let root = tape.root();
        let mut children = root.children();
        let (first, second) = (children.next(), children.next());
        match (first, second) {
            (Some(version), Some(content))
                if version.small() == Some(3) && content.is(Tag::SEQUENCE) =>
            {
                pkcs12::read(root, self, found)
            }
            (Some(version), Some(algorithm))
                if version.is(Tag::INTEGER) && algorithm.is(Tag::SEQUENCE) =>
            {
                found.key(Secret::new(file.to_vec()), Cover::Nothing)
            }
            // What openssl writes where DER is asked for: RSAPrivateKey (RFC 8017 §A.1.2), ECPrivateKey (RFC 5915 §3).
            (Some(version), Some(modulus))
                if version.is(Tag::INTEGER) && modulus.is(Tag::INTEGER) =>
            {
                let pkcs8 = in_pkcs8("RSA PRIVATE KEY", &Secret::new(file.to_vec()))?;
                found.key(pkcs8, Cover::Nothing)
            }
            (Some(version), Some(private))
                if version.is(Tag::INTEGER) && private.octet_string().is_some() =>
            {
                let pkcs8 = in_pkcs8("EC PRIVATE KEY", &Secret::new(file.to_vec()))?;
                found.key(pkcs8, Cover::Nothing)
            }
            (Some(algorithm), Some(_)) if algorithm.is(Tag::SEQUENCE) => {
                let pkcs8 = self.encrypted_key(root)?;
                // With the wrong password the padding may fit, and what comes out is no key. A key of a kind that is not
                // known here came out with the right one.
                if !is_pkcs8(pkcs8.expose()) {
                    return Err(ImportError::WrongPassword);
                }
                found.key(pkcs8, self.cover)
            }
            _ => Err(ImportError::Malformed("no PKCS#8 and no PKCS#12")),
        }
    }

    /// EncryptedPrivateKeyInfo (RFC 5958 §3).
    fn encrypted_key(&mut self, root: Cursor<'_, '_>) -> Result<Secret, ImportError> {
        let mut children = root.children();
        let (Some(algorithm), Some(encrypted), None) =
            (children.next(), children.next(), children.next())
        else {
            return Err(ImportError::Malformed("no encrypted private key"));
        };
        let encrypted = encrypted.octet_string();
        let encrypted = encrypted.ok_or(ImportError::Malformed("no encrypted private key"))?;
        let encrypted = encrypted.contiguous();
        for form in self.password()?.forms() {
            match pbe::decrypt(algorithm, &encrypted, &form, &mut self.work) {
                Err(ImportError::WrongPassword) => {}
                done => return done,
            }
        }
        Err(ImportError::WrongPassword)
    }

    fn password(&self) -> Result<Password, ImportError> {
        self.password.clone().ok_or(ImportError::PasswordNeeded)
    }
}

/// PKCS#8 of an older form in PEM.
fn in_pkcs8(label: &str, bytes: &Secret) -> Result<Secret, ImportError> {
    let block = Secret::new(pem::encode(label, bytes.expose()).into_bytes());
    let key = SoftKey::from_pem_or_der(block.expose());
    let pkcs8 = key.and_then(|key| key.to_pkcs8());
    pkcs8.map(Secret::new).map_err(|_| NO_KEY)
}

/// Whether it has the form of a PrivateKeyInfo (RFC 5958 §2), of whatever kind of key.
fn is_pkcs8(der: &[u8]) -> bool {
    Tape::parse(der, &LIMITS).is_ok_and(|tape| {
        let mut children = tape.root().children();
        let (version, algorithm, key) = (children.next(), children.next(), children.next());
        let named = algorithm.and_then(Cursor::first_child);
        version.is_some_and(|version| version.is(Tag::INTEGER))
            && named.and_then(Cursor::oid).is_some()
            && key.and_then(Cursor::octet_string).is_some()
    })
}

const NO_KEY: ImportError =
    ImportError::Malformed("no private key of a kind known here, or its parts do not fit");

/// Octets of a file, at most.
const MAX_FILE: usize = 1 << 20;
const MAX_KEYS: usize = 16;
const MAX_CERTIFICATES: usize = 128;
const LIMITS: Limits = Limits {
    depth: 24,
    elements: 20_000,
};
const BEGIN: &[u8] = b"-----BEGIN ";
const RFC1421: &[u8] = b"Proc-Type:";

#[cfg(test)]
mod tests;
