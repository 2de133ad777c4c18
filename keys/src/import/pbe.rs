//! What a password opens: PBES2 (RFC 8018 §6.2) and the schemes of PKCS#12 (RFC 7292 appendices B and C).

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{hmac, pbkdf2};
use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{Cursor, Tag};
use kenin_pki::crypto::{ContentCipher, DigestAlgorithm, Opener, Secret};

use super::ImportError;

/// A password, in the octets that the schemes make of it.
#[derive(Clone)]
pub(super) struct Password {
    text: Arc<Secret>,
}

impl Password {
    /// UTF-8, and not longer than anybody types.
    pub(super) fn new(password: &Secret) -> Result<Self, ImportError> {
        let text = password.expose();
        if text.len() > MAX_PASSWORD || std::str::from_utf8(text).is_err() {
            return Err(ImportError::BadPassword);
        }
        Ok(Self {
            text: Arc::new(Secret::new(text.to_vec())),
        })
    }

    /// How PKCS#12 may have it: as a BMPString with a zero at its end (RFC 7292 §B.1), and the empty one also as nothing
    /// at all, as some programs do.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> + use<> {
        let text = Arc::clone(&self.text);
        let ended = [true, false]
            .into_iter()
            .take(if text.is_empty() { 2 } else { 1 });
        ended.map(move |ended| {
            let utf8 = std::str::from_utf8(text.expose()).unwrap_or_default();
            let mut bmp = Vec::with_capacity(text.len() * 2 + 2);
            for unit in utf8.encode_utf16() {
                bmp.extend_from_slice(&unit.to_be_bytes());
            }
            if ended {
                bmp.extend_from_slice(&[0, 0]);
            }
            Form {
                text: Arc::clone(&text),
                bmp: Secret::new(bmp),
            }
        })
    }
}

/// A password in one form.
pub(super) struct Form {
    text: Arc<Secret>,
    bmp: Secret,
}

/// How much work a file may still cause, in iterations.
pub(super) struct Work(u32);

impl Default for Work {
    fn default() -> Self {
        Self(MAX_ITERATIONS)
    }
}

impl Work {
    /// For so many blocks of the digest, each of which takes all iterations.
    fn spend(&mut self, iterations: u32, blocks: usize) -> Result<NonZeroU32, ImportError> {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let left = self.0.checked_sub(iterations.saturating_mul(blocks));
        self.0 = left.ok_or(ImportError::TooMuchWork)?;
        NonZeroU32::new(iterations).ok_or(ImportError::Malformed("no iterations"))
    }
}

/// Opens `encrypted` by the scheme that `algorithm` names.
pub(super) fn decrypt(
    algorithm: Cursor<'_, '_>,
    encrypted: &[u8],
    password: &Form,
    work: &mut Work,
) -> Result<Secret, ImportError> {
    let (named, parameters) = algorithm_of(algorithm)?;
    let (cipher, key) = if named == PBES2 {
        pbes2(parameters.ok_or(BAD_PARAMETERS)?, password, work)?
    } else if let Some((_, scheme)) = BY_PKCS12.iter().find(|(oid, _)| *oid == named) {
        pkcs12_scheme(*scheme, parameters.ok_or(BAD_PARAMETERS)?, password, work)?
    } else {
        return Err(unsupported("encryption scheme", named));
    };
    // All its room from the beginning, so that it never moves.
    let mut out = Vec::with_capacity(encrypted.len() + 64);
    let opened = Opener::new(&cipher, &key, b"").and_then(|mut opener| {
        opener.update(encrypted, &mut out);
        opener.finish(None, &mut out)
    });
    let out = Secret::new(out);
    opened.map_err(|_| ImportError::WrongPassword)?;
    Ok(out)
}

/// Whether a MacData (RFC 7292 §4) holds for `content`.
pub(super) fn is_mac(
    mac_data: Cursor<'_, '_>,
    content: &[u8],
    password: &Form,
    work: &mut Work,
) -> Result<bool, ImportError> {
    let bad = || ImportError::Malformed("MacData");
    let mut children = mac_data.children();
    let (mac, salt) = (children.next(), children.next());
    let (mac, salt) = (mac.ok_or_else(bad)?, salt.ok_or_else(bad)?);
    let iterations = match children.next() {
        Some(count) => count.small().ok_or_else(bad)?,
        None => 1,
    };
    let mut children = mac.children();
    let algorithm = children.next().ok_or_else(bad)?;
    let tag = children.next().and_then(Cursor::octet_string);
    let tag = tag.ok_or_else(bad)?.contiguous();
    let (named, parameters) = algorithm_of(algorithm)?;
    let key = if named == PBMAC1 {
        pbmac1(parameters.ok_or_else(bad)?, password, work)?
    } else {
        let digest = algorithm.first_child().and_then(Cursor::oid);
        let digest = digest.and_then(DigestAlgorithm::from_oid);
        let digest = digest.ok_or_else(|| unsupported("digest", named))?;
        let algorithm = BY_DIGEST.iter().find(|(known, _)| *known == digest);
        let (_, algorithm) = algorithm.ok_or_else(|| unsupported("digest", named))?;
        let salt = salt_of(salt)?;
        let iterations = work.spend(iterations, 1)?;
        let key = derive(
            (digest, Purpose::Mac),
            password,
            &salt,
            iterations,
            digest.size(),
        );
        hmac::Key::new(*algorithm, key.expose())
    };
    Ok(hmac::verify(&key, content, &tag).is_ok())
}

/// PBMAC1 in PKCS#12 (RFC 9579 §4): salt and iterations stand in its own parameters, and the password is UTF-8.
fn pbmac1(
    parameters: Cursor<'_, '_>,
    password: &Form,
    work: &mut Work,
) -> Result<hmac::Key, ImportError> {
    let mut children = parameters.children();
    let (Some(kdf), Some(mac)) = (children.next(), children.next()) else {
        return Err(BAD_PARAMETERS);
    };
    let (named, _) = algorithm_of(mac)?;
    let algorithm = BY_HMAC.iter().find(|(oid, ..)| *oid == named);
    let (_, algorithm, _) = algorithm.ok_or_else(|| unsupported("MAC", named))?;
    let kdf = Pbkdf2::read(kdf)?;
    // It must be there, and a shorter one is guessed (RFC 9579 §9).
    let length = kdf.length.filter(|length| (20..=64).contains(length));
    let key = kdf.derive(password, length.ok_or(BAD_PARAMETERS)?, work)?;
    Ok(hmac::Key::new(*algorithm, key.expose()))
}

/// PBES2: its parameters name a derivation and a cipher.
fn pbes2(
    parameters: Cursor<'_, '_>,
    password: &Form,
    work: &mut Work,
) -> Result<(ContentCipher, Secret), ImportError> {
    let mut children = parameters.children();
    let (Some(kdf), Some(scheme)) = (children.next(), children.next()) else {
        return Err(BAD_PARAMETERS);
    };
    let (named, _) = algorithm_of(scheme)?;
    let identifier = AlgorithmIdentifier::from_der(scheme.raw()).map_err(|_| BAD_PARAMETERS)?;
    let cipher = ContentCipher::from_identifier(&identifier).ok();
    let cipher = cipher.filter(|cipher| !cipher.is_aead());
    let cipher = cipher.ok_or_else(|| unsupported("cipher", named))?;
    let kdf = Pbkdf2::read(kdf)?;
    let length = cipher.key_len();
    if kdf.length.is_some_and(|named| named != length) {
        return Err(BAD_PARAMETERS);
    }
    let key = kdf.derive(password, length, work)?;
    Ok((cipher, key))
}

/// PBKDF2 and its parameters (RFC 8018 §A.2).
struct Pbkdf2 {
    salt: Vec<u8>,
    iterations: u32,
    length: Option<usize>,
    prf: pbkdf2::Algorithm,
}

impl Pbkdf2 {
    fn read(algorithm: Cursor<'_, '_>) -> Result<Self, ImportError> {
        let (named, parameters) = algorithm_of(algorithm)?;
        if named != PBKDF2 {
            return Err(unsupported("key derivation", named));
        }
        let mut children = parameters.ok_or(BAD_PARAMETERS)?.children();
        let salt = salt_of(children.next().ok_or(BAD_PARAMETERS)?)?;
        let iterations = children.next().and_then(Cursor::small);
        let mut made = Self {
            salt,
            iterations: iterations.ok_or(BAD_PARAMETERS)?,
            length: None,
            prf: pbkdf2::PBKDF2_HMAC_SHA1,
        };
        for child in children {
            if child.is(Tag::INTEGER) {
                let length = child.small().and_then(|length| length.try_into().ok());
                made.length = Some(length.ok_or(BAD_PARAMETERS)?);
            } else {
                let (named, _) = algorithm_of(child)?;
                let prf = BY_HMAC.iter().find(|(oid, ..)| *oid == named);
                let prf = prf.and_then(|(_, _, prf)| *prf);
                made.prf = prf.ok_or_else(|| unsupported("pseudorandom function", named))?;
            }
        }
        Ok(made)
    }

    fn derive(
        &self,
        password: &Form,
        length: usize,
        work: &mut Work,
    ) -> Result<Secret, ImportError> {
        // Longer digests need fewer.
        let iterations = work.spend(self.iterations, length.div_ceil(SHA1_LEN))?;
        let mut key = vec![0; length];
        let password = password.text.expose();
        pbkdf2::derive(self.prf, iterations, &self.salt, password, &mut key);
        Ok(Secret::new(key))
    }
}

/// A scheme of PKCS#12: a cipher, and what is made of the password by SHA-1.
#[derive(Clone, Copy)]
enum Scheme {
    TripleDes { two_keys: bool },
    Rc2 { bits: u8 },
}

fn pkcs12_scheme(
    scheme: Scheme,
    parameters: Cursor<'_, '_>,
    password: &Form,
    work: &mut Work,
) -> Result<(ContentCipher, Secret), ImportError> {
    let mut children = parameters.children();
    let salt = salt_of(children.next().ok_or(BAD_PARAMETERS)?)?;
    let iterations = children.next().and_then(Cursor::small);
    // One for the vector, and those of the key.
    let key_len: usize = match scheme {
        Scheme::TripleDes { two_keys: false } => 24,
        Scheme::TripleDes { two_keys: true } => 16,
        Scheme::Rc2 { bits } => usize::from(bits / 8),
    };
    let blocks = key_len.div_ceil(SHA1_LEN).saturating_add(1);
    let iterations = work.spend(iterations.ok_or(BAD_PARAMETERS)?, blocks)?;
    let make = |purpose, length| {
        let how = (DigestAlgorithm::Sha1, purpose);
        derive(how, password, &salt, iterations, length)
    };
    let iv = make(Purpose::Iv, 8);
    let iv: [u8; 8] = iv.expose().try_into().map_err(|_| BAD_PARAMETERS)?;
    Ok(match scheme {
        Scheme::TripleDes { two_keys: false } => (
            ContentCipher::TripleDesCbc { iv },
            make(Purpose::Key, key_len),
        ),
        Scheme::TripleDes { two_keys: true } => {
            let pair = make(Purpose::Key, key_len);
            let first = pair.expose().get(..8).unwrap_or_default();
            let key = Secret::new([pair.expose(), first].concat());
            (ContentCipher::TripleDesCbc { iv }, key)
        }
        Scheme::Rc2 { bits } => {
            let cipher = ContentCipher::Rc2Cbc {
                effective_bits: bits,
                iv,
            };
            (cipher, make(Purpose::Key, key_len))
        }
    })
}

/// What octets are made for (RFC 7292 §B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key,
    Iv,
    Mac,
}

/// The derivation of PKCS#12 (RFC 7292 §B.2).
fn derive(
    (digest, purpose): (DigestAlgorithm, Purpose),
    password: &Form,
    salt: &[u8],
    iterations: NonZeroU32,
    length: usize,
) -> Secret {
    let block = if digest.size() > 32 { 128 } else { 64 };
    let id = match purpose {
        Purpose::Key => 1,
        Purpose::Iv => 2,
        Purpose::Mac => 3,
    };
    let fill = |octets: &[u8]| -> Vec<u8> {
        let whole = octets.len().div_ceil(block) * block;
        octets.iter().copied().cycle().take(whole).collect()
    };
    let diversifier = vec![id; block];
    let salted = fill(salt);
    let mut input = Vec::with_capacity(salted.len() + password.bmp.len() + block);
    input.extend_from_slice(&salted);
    input.append(&mut fill(password.bmp.expose()));
    let mut out = Vec::with_capacity(length + digest.size());
    while out.len() < length {
        let mut hashed = digest.digest(&[&diversifier[..], &input].concat());
        for _ in 1..iterations.get() {
            hashed = digest.digest(hashed.as_ref());
        }
        out.extend_from_slice(hashed.as_ref());
        let addend: Vec<u8> = hashed
            .as_ref()
            .iter()
            .copied()
            .cycle()
            .take(block)
            .collect();
        for piece in input.chunks_exact_mut(block) {
            add_one_more(piece, &addend);
        }
    }
    drop(Secret::new(input));
    out.truncate(length);
    Secret::new(out)
}

/// Adds `addend` and 1 to a big-endian number of the same length; what does not fit is lost.
fn add_one_more(number: &mut [u8], addend: &[u8]) {
    let mut carry = 1;
    for (octet, add) in number.iter_mut().zip(addend).rev() {
        let sum = u16::from(*octet) + u16::from(*add) + carry;
        let [high, low] = sum.to_be_bytes();
        *octet = low;
        carry = u16::from(high);
    }
}

/// The content of the identifier and the parameters of an AlgorithmIdentifier.
fn algorithm_of<'t, 'a>(
    algorithm: Cursor<'t, 'a>,
) -> Result<(&'a [u8], Option<Cursor<'t, 'a>>), ImportError> {
    let mut children = algorithm.children();
    let named = children.next().and_then(Cursor::oid);
    let named = named.ok_or(ImportError::Malformed("AlgorithmIdentifier"))?;
    Ok((named.content(), children.next()))
}

fn salt_of(salt: Cursor<'_, '_>) -> Result<Vec<u8>, ImportError> {
    let salt = salt.octet_string().ok_or(BAD_PARAMETERS)?.contiguous();
    if salt.len() > MAX_SALT {
        return Err(ImportError::TooMuchWork);
    }
    Ok(salt.into_owned())
}

fn unsupported(what: &str, named: &[u8]) -> ImportError {
    let named = kenin_pki::oid::Oid::from_content(named);
    let named = named.map_or_else(String::new, |oid| oid.to_string());
    ImportError::Unsupported(format!("{what} {named}"))
}

const BAD_PARAMETERS: ImportError = ImportError::Malformed("parameters of an algorithm");
/// Iterations in all that one file may ask for.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Octets of the shortest digest.
const SHA1_LEN: usize = 20;
const MAX_SALT: usize = 1024;
const MAX_PASSWORD: usize = 1024;

/// 1.2.840.113549.1.5, PKCS#5.
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBMAC1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e";
/// 1.2.840.113549.1.12.1, PKCS#12. The two of RC4 are read by nobody here.
const BY_PKCS12: [(&[u8], Scheme); 4] = [
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03",
        Scheme::TripleDes { two_keys: false },
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x04",
        Scheme::TripleDes { two_keys: true },
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x05",
        Scheme::Rc2 { bits: 128 },
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06",
        Scheme::Rc2 { bits: 40 },
    ),
];
/// 1.2.840.113549.2: HMAC with the digests.
const BY_HMAC: [(&[u8], hmac::Algorithm, Option<pbkdf2::Algorithm>); 5] = [
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x07",
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Some(pbkdf2::PBKDF2_HMAC_SHA1),
    ),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x08", hmac::HMAC_SHA224, None),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x09",
        hmac::HMAC_SHA256,
        Some(pbkdf2::PBKDF2_HMAC_SHA256),
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a",
        hmac::HMAC_SHA384,
        Some(pbkdf2::PBKDF2_HMAC_SHA384),
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b",
        hmac::HMAC_SHA512,
        Some(pbkdf2::PBKDF2_HMAC_SHA512),
    ),
];
const BY_DIGEST: [(DigestAlgorithm, hmac::Algorithm); 5] = [
    (DigestAlgorithm::Sha1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
    (DigestAlgorithm::Sha224, hmac::HMAC_SHA224),
    (DigestAlgorithm::Sha256, hmac::HMAC_SHA256),
    (DigestAlgorithm::Sha384, hmac::HMAC_SHA384),
    (DigestAlgorithm::Sha512, hmac::HMAC_SHA512),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of RFC 7292 do not exist; what openssl and others make is in the fixtures. This is the arithmetic.
    #[test]
    fn a_carry_goes_through_and_the_last_is_lost() {
        let sum = |number: [u8; 3], addend: [u8; 3]| {
            let mut number = number;
            add_one_more(&mut number, &addend);
            number
        };
        assert_eq!(sum([0, 0, 0], [0, 0, 0]), [0, 0, 1]);
        assert_eq!(sum([0, 0xff, 0xff], [0, 0, 0]), [1, 0, 0]);
        assert_eq!(sum([0xff, 0xff, 0xff], [0xff, 0xff, 0xff]), [0xff; 3]);
        assert_eq!(sum([0xff; 3], [0; 3]), [0; 3]);
    }

    #[test]
    fn work_is_bounded_over_the_whole_file() {
        let mut work = Work::default();
        assert!(work.spend(MAX_ITERATIONS - 1, 1).is_ok());
        assert!(work.spend(1, 1).is_ok());
        assert_eq!(work.spend(1, 1), Err(ImportError::TooMuchWork));
        let mut work = Work::default();
        assert_eq!(work.spend(u32::MAX, 1), Err(ImportError::TooMuchWork));
        assert!(matches!(work.spend(0, 1), Err(ImportError::Malformed(_))));
        // Each block costs as much.
        let mut work = Work::default();
        assert!(work.spend(MAX_ITERATIONS / 4, 3).is_ok());
        assert_eq!(
            work.spend(MAX_ITERATIONS / 4, 2),
            Err(ImportError::TooMuchWork)
        );
    }

    #[test]
    fn the_empty_password_has_two_forms_and_others_one() {
        let forms = |text: &[u8]| -> Vec<Vec<u8>> {
            let password = Password::new(&Secret::new(text.to_vec())).unwrap();
            password.forms().map(|f| f.bmp.expose().to_vec()).collect()
        };
        assert_eq!(forms(b""), [vec![0, 0], vec![]]);
        assert_eq!(forms(b"ab"), [vec![0, b'a', 0, b'b', 0, 0]]);
        assert_eq!(forms("検".as_bytes()), [vec![0x69, 0x1c, 0, 0]]);
        assert!(Password::new(&Secret::new(vec![0xff])).is_err());
        assert!(Password::new(&Secret::new(vec![b'x'; 1025])).is_err());
    }
}
