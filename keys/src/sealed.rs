//! A private key at rest: what stands in its file.
//!
//! The private key is sealed under a data key of its own, and that one under a key-encryption key, both by AES-256-GCM.
//! All else in the file (tenant, id, version and the other facts) stands in clear and is authenticated with both. A key that
//! lies in a token has such a file too: what is sealed in it is where the key is, and a secret that is made for it.

use kenin_pki::crypto::{KeyError, RejectionSecret, Secret, SigningKey, SoftKey, framed};

use crate::kek::{KEY_LEN, Kek, KekId, Under, Unlocker, sealer};
use crate::key::{KeyFacts, MAX_FACTS, random_secret};
use crate::octets::{Malformed, Reader, Writer};
use crate::token::Reference;

/// A private key that is sealed, with what everybody may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    facts: KeyFacts,
    content: Content,
    under: Under,
    data_key: Vec<u8>,
    private: Vec<u8>,
}

/// What lies sealed. The format of the file says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A private key.
    Key,
    /// Where one is.
    Reference,
}

impl SealedKey {
    /// Seals a private key (PKCS#8 in DER) under a new data key, and that under `kek`.
    ///
    /// # Errors
    /// [`SealError::NotItsKey`] where `facts` are those of another key, [`SealError::Malformed`] where they say what no
    /// file can, and [`SealError::Failed`] where the library fails.
    pub fn seal(facts: KeyFacts, pkcs8: &Secret, kek: &Kek) -> Result<Self, SealError> {
        read(&facts, pkcs8)?;
        Self::seal_content(facts, Content::Key, pkcs8, kek)
    }

    /// Seals where a private key is that lies in a token, and the secret of its implicit rejection.
    ///
    /// # Errors
    /// [`SealError::Malformed`] where the reference names no token or no key, or the facts say what no file can, and
    /// [`SealError::Failed`] where the library fails.
    pub fn seal_reference(
        facts: KeyFacts,
        reference: &Reference,
        rejection: &RejectionSecret,
        kek: &Kek,
    ) -> Result<Self, SealError> {
        reference.check()?;
        let secret = reference.to_secret(rejection);
        Self::seal_content(facts, Content::Reference, &secret, kek)
    }

    fn seal_content(
        facts: KeyFacts,
        content: Content,
        secret: &Secret,
        kek: &Kek,
    ) -> Result<Self, SealError> {
        let octets = facts.to_octets();
        KeyFacts::from_octets(&octets)?;
        let under = *kek.under();
        let aad = |what| aad(what, content, &octets, &under);
        let data_key = random_secret(KEY_LEN)?;
        let seal_private = sealer(&data_key)?.seal(&aad(PRIVATE_KEY), secret.expose());
        let seal_data_key = kek.sealer().seal(&aad(DATA_KEY), data_key.expose());
        Ok(Self {
            facts,
            content,
            under,
            data_key: seal_data_key.ok_or(SealError::Failed)?,
            private: seal_private.ok_or(SealError::Failed)?,
        })
    }

    /// What stands beside the private key. It is proven only once the key was opened.
    #[must_use]
    pub const fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    /// The key-encryption key that opens it.
    #[must_use]
    pub const fn kek(&self) -> KekId {
        self.under.id()
    }

    pub(crate) const fn under(&self) -> &Under {
        &self.under
    }

    /// Whether the private key is not in the file but in a token.
    #[must_use]
    pub const fn is_reference(&self) -> bool {
        matches!(self.content, Content::Reference)
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`SealError::UnknownKek`] and [`SealError::WrongPassphrase`] where the right secret is not at hand;
    /// [`SealError::Changed`] where one bit of the file is another than it was; [`SealError::InToken`] where the private
    /// key is not in the file.
    pub fn open(&self, unlocker: &mut Unlocker) -> Result<SoftKey, SealError> {
        match self.content {
            Content::Key => read(&self.facts, &self.secret(unlocker)?),
            Content::Reference => Err(SealError::InToken),
        }
    }

    /// Opens what says where the key is.
    ///
    /// # Errors
    /// As [`SealedKey::open`], and [`SealError::NotInToken`] where the private key is in the file.
    pub fn open_reference(
        &self,
        unlocker: &mut Unlocker,
    ) -> Result<(Reference, RejectionSecret), SealError> {
        match self.content {
            Content::Reference => Ok(Reference::from_secret(&self.secret(unlocker)?)?),
            Content::Key => Err(SealError::NotInToken),
        }
    }

    /// Whether it opens, whatever is in it.
    ///
    /// # Errors
    /// As [`SealedKey::open`].
    pub fn check(&self, unlocker: &mut Unlocker) -> Result<(), SealError> {
        match self.content {
            Content::Key => self.open(unlocker).map(|_| ()),
            Content::Reference => self.open_reference(unlocker).map(|_| ()),
        }
    }

    /// The same key with other facts, sealed anew.
    pub(crate) fn again(
        &self,
        facts: KeyFacts,
        (unlocker, kek): (&mut Unlocker, &Kek),
    ) -> Result<Self, SealError> {
        let secret = self.secret(unlocker)?;
        if self.content == Content::Key {
            read(&facts, &secret)?;
        }
        Self::seal_content(facts, self.content, &secret, kek)
    }

    /// What lies sealed.
    fn secret(&self, unlocker: &mut Unlocker) -> Result<Secret, SealError> {
        let kek = unlocker.kek(&self.under)?;
        let octets = self.facts.to_octets();
        let aad = |what| aad(what, self.content, &octets, &self.under);
        let data_key = kek.sealer().open(&aad(DATA_KEY), &self.data_key);
        let data_key = Secret::new(data_key.ok_or(SealError::Changed)?);
        let private = sealer(&data_key)?.open(&aad(PRIVATE_KEY), &self.private);
        private.map(Secret::new).ok_or(SealError::Changed)
    }

    /// The file's content.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .fixed(MAGIC)
            .u8(self.content.format())
            .octets(&self.facts.to_octets())
            .octets(&self.under.to_octets())
            .octets(&self.data_key)
            .octets(&self.private);
        writer.finish()
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`SealError::Malformed`] where it is none, [`SealError::Format`] where a later version wrote it.
    pub fn from_octets(octets: &[u8]) -> Result<Self, SealError> {
        let mut reader = Reader::new(octets);
        if reader.fixed()? != *MAGIC {
            return Err(Malformed("no sealed key").into());
        }
        let format = reader.u8()?;
        let content = Content::of(format).ok_or(SealError::Format(format))?;
        let facts = reader.octets(MAX_FACTS)?;
        let read = Self {
            facts: KeyFacts::from_octets(facts)?,
            content,
            under: Under::from_octets(reader.octets(MAX_UNDER)?)?,
            data_key: reader.octets(MAX_DATA_KEY)?.to_vec(),
            private: reader.octets(MAX_PRIVATE)?.to_vec(),
        };
        reader.finish()?;
        // What is authenticated is what is written here; there must not be two ways of writing it.
        if read.facts.to_octets() != facts {
            return Err(Malformed("facts are not written as they should be").into());
        }
        Ok(read)
    }
}

impl Content {
    const fn format(self) -> u8 {
        match self {
            Self::Key => FORMAT,
            Self::Reference => FORMAT_OF_REFERENCE,
        }
    }

    const fn of(format: u8) -> Option<Self> {
        match format {
            FORMAT => Some(Self::Key),
            FORMAT_OF_REFERENCE => Some(Self::Reference),
            _ => None,
        }
    }
}

/// Why a key cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file is no sealed key.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The file has a format of a later version.
    #[error("it has format {0}, which this version does not know")]
    Format(u8),
    /// A bit of the file is another than it was when it was sealed.
    #[error("it was changed after it was sealed")]
    Changed,
    /// The key-encryption key that it names is not at hand.
    #[error("it is sealed under the key-encryption key {0}, which is not at hand")]
    UnknownKek(KekId),
    /// No passphrase that is at hand makes the key-encryption key that it names.
    #[error("no passphrase that is at hand makes its key-encryption key {0}")]
    WrongPassphrase(KekId),
    /// A key-encryption key has exactly 32 octets.
    #[error("a key-encryption key has 32 octets, not {0}")]
    KeyLength(usize),
    /// The passphrase is empty.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// To make the key from the passphrase would cost too much, or nothing.
    #[error("making the key from the passphrase: {0}")]
    Work(&'static str),
    /// The private key and what is said of it are of two keys.
    #[error("the private key is another than its facts say")]
    NotItsKey,
    /// The private key is in a token, which this does not ask.
    #[error("its private key is in a token")]
    InToken,
    /// The private key is in the file.
    #[error("its private key is in no token")]
    NotInToken,
    /// The library failed, or there is no randomness.
    #[error("the cryptographic library failed")]
    Failed,
}

impl SealError {
    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Changed | Self::NotItsKey => {
                "restore the file from a backup"
            }
            Self::Format(_) => "run the version that wrote it, or a later one",
            Self::UnknownKek(_) | Self::WrongPassphrase(_) => {
                "give the key or passphrase that it was sealed under, beside the new one"
            }
            Self::KeyLength(_) => "make one: head -c 32 /dev/urandom",
            Self::EmptyPassphrase => "write a passphrase into its file",
            Self::Work(_) => "seal it anew with another work factor",
            Self::InToken => "leave it to the service, and look at it with \"kenin key doctor\"",
            Self::NotInToken => "use the key in the file",
            Self::Failed => "try again; if it stays so, this is a mistake of ours",
        }
    }

    /// Whether nothing is wrong with the key, and it is sealed under a secret that is not at hand.
    #[must_use]
    pub const fn is_of_another_secret(&self) -> bool {
        matches!(self, Self::UnknownKek(_) | Self::WrongPassphrase(_))
    }
}

impl From<KeyError> for SealError {
    fn from(_: KeyError) -> Self {
        Self::Failed
    }
}

/// The private key, if it is the one that the facts speak of.
fn read(facts: &KeyFacts, pkcs8: &Secret) -> Result<SoftKey, SealError> {
    let key = SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_| SealError::NotItsKey)?;
    if key.public_key().id() != facts.public.id() {
        return Err(SealError::NotItsKey);
    }
    Ok(key)
}

/// What is authenticated beside a sealed value: all else in the file, and which of the two values it is.
fn aad(what: &[u8], content: Content, facts: &[u8], under: &Under) -> Vec<u8> {
    framed(&[what, &[content.format()], facts, &under.to_octets()])
}

/// Octets of a file, at most.
pub(crate) const MAX_FILE: usize = MAX_FACTS + MAX_UNDER + MAX_DATA_KEY + MAX_PRIVATE + 64;
const MAX_UNDER: usize = 256;
const MAX_DATA_KEY: usize = 256;
/// The largest private keys are those of RSA with 8192 bits, and ML-KEM as seed and key.
const MAX_PRIVATE: usize = 32 << 10;
const MAGIC: &[u8; 8] = b"kenin-K\n";
const FORMAT: u8 = 1;
const FORMAT_OF_REFERENCE: u8 = 2;
const DATA_KEY: &[u8] = b"kenin: data key";
const PRIVATE_KEY: &[u8] = b"kenin: private key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kek::Unlock;
    use crate::key::State;
    use crate::testing::{CHEAP, facts, generated, secret};

    fn kek(octet: u8) -> (Kek, Unlocker) {
        let key = || secret(&[octet; 32]);
        let unlocker = Unlocker::new(vec![Unlock::Key(key())]).unwrap();
        (Kek::from_key(&key()).unwrap(), unlocker)
    }

    #[test]
    fn what_was_sealed_opens_under_its_key_only() {
        let (key, pkcs8) = generated();
        let (ours, mut unlocker) = kek(1);
        let sealed = SealedKey::seal(facts(&key), &pkcs8, &ours).unwrap();
        assert_eq!(sealed.kek(), ours.id());
        let read = SealedKey::from_octets(&sealed.to_octets()).unwrap();
        assert_eq!(read, sealed);
        let opened = read.open(&mut unlocker).unwrap();
        assert_eq!(opened.public_key(), key.public_key());
        let (_, mut others) = kek(2);
        let error = read.open(&mut others).unwrap_err();
        assert_eq!(error, SealError::UnknownKek(ours.id()));
        // Twice the same looks different.
        let again = SealedKey::seal(facts(&key), &pkcs8, &ours).unwrap();
        assert_ne!(again.private, sealed.private);
    }

    #[test]
    fn a_passphrase_opens_what_was_sealed_under_it() {
        let (key, pkcs8) = generated();
        let kek = Kek::from_passphrase(&secret(b"open sesame"), CHEAP).unwrap();
        let sealed = SealedKey::seal(facts(&key), &pkcs8, &kek).unwrap();
        let with = |word: &[u8]| {
            let mut unlocker = Unlocker::new(vec![Unlock::Passphrase(secret(word))]).unwrap();
            sealed.open(&mut unlocker).map(|key| key.public_key().id())
        };
        assert_eq!(with(b"open sesame"), Ok(key.public_key().id()));
        let wrong = SealError::WrongPassphrase(kek.id());
        assert_eq!(with(b"open sesam"), Err(wrong));
    }

    /// KEY-01: whatever bit of a file is changed, the key does not open, and nothing panics.
    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let (key, pkcs8) = generated();
        let (ours, mut unlocker) = kek(1);
        let sealed = SealedKey::seal(facts(&key), &pkcs8, &ours).unwrap();
        let octets = sealed.to_octets();
        let mut opens = |octets: &[u8]| {
            SealedKey::from_octets(octets).is_ok_and(|read| read.open(&mut unlocker).is_ok())
        };
        assert!(opens(&octets));
        for at in 0..octets.len() {
            for bit in 0..8 {
                let mut changed = octets.clone();
                changed[at] ^= 1 << bit;
                assert!(!opens(&changed), "octet {at} bit {bit}");
            }
            assert!(!opens(&octets[..at]), "cut at {at}");
        }
        assert!(!opens(&[&octets[..], b"x"].concat()));
    }

    /// Parts of good files do not make another good file.
    #[test]
    fn the_sealed_parts_of_two_files_do_not_mix() {
        let (ours, mut unlocker) = kek(1);
        let (key, pkcs8) = generated();
        let first = facts(&key);
        let second = KeyFacts {
            version: 2,
            ..first.clone()
        };
        let first = SealedKey::seal(first, &pkcs8, &ours).unwrap();
        let second = SealedKey::seal(second, &pkcs8, &ours).unwrap();
        let mixed = [
            SealedKey {
                facts: second.facts.clone(),
                ..first.clone()
            },
            SealedKey {
                data_key: second.data_key.clone(),
                ..first.clone()
            },
            SealedKey {
                private: second.private.clone(),
                ..first.clone()
            },
        ];
        for sealed in mixed {
            let error = sealed.open(&mut unlocker).unwrap_err();
            assert_eq!(error, SealError::Changed);
        }
        assert!(first.open(&mut unlocker).is_ok());
    }

    /// KEY-01: nothing of the private key stands in the file.
    #[test]
    fn no_piece_of_the_private_key_is_in_the_file() {
        let (key, pkcs8) = generated();
        let (ours, _) = kek(1);
        let octets = SealedKey::seal(facts(&key), &pkcs8, &ours)
            .unwrap()
            .to_octets();
        let public = key.public_key().spki();
        for piece in pkcs8.expose().windows(16) {
            let is_public = public.windows(16).any(|window| window == piece);
            let seen = octets.windows(16).any(|window| window == piece);
            assert!(is_public || !seen, "{piece:?}");
        }
    }

    #[test]
    fn facts_of_another_key_are_refused() {
        let (key, _) = generated();
        let (_, other) = generated();
        let (ours, _) = kek(1);
        let error = SealedKey::seal(facts(&key), &other, &ours).unwrap_err();
        assert_eq!(error, SealError::NotItsKey);
        let (key, pkcs8) = generated();
        for tenant in ["", "a\nb", &"x".repeat(256)] {
            let facts = KeyFacts {
                tenant: tenant.to_owned(),
                ..facts(&key)
            };
            let error = SealedKey::seal(facts, &pkcs8, &ours).unwrap_err();
            assert!(matches!(error, SealError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn a_format_of_a_later_version_is_named() {
        let (key, pkcs8) = generated();
        let (ours, _) = kek(1);
        let retired = KeyFacts {
            state: State::Retired,
            ..facts(&key)
        };
        let sealed = SealedKey::seal(retired, &pkcs8, &ours).unwrap();
        let mut octets = sealed.to_octets();
        octets[MAGIC.len()] = 3;
        assert_eq!(SealedKey::from_octets(&octets), Err(SealError::Format(3)));
        assert!(!sealed.facts().may_sign());
        assert!(!format!("{sealed:?}").is_empty());
    }
}
