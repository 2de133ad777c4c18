//! Key-encryption keys: what sealed files are sealed under.
//!
//! One comes from a file of 32 octets (a credential of the service manager, say, or what a token opens) or from a
//! passphrase by Argon2id (<https://www.rfc-editor.org/rfc/rfc9106>). A sealed file says which one it needs, and for a passphrase how it is
//! made from it; what it asks for is bounded before any work is done.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use kenin_pki::crypto::{Sealer, Secret};

use crate::key::{random, write_hex};
use crate::octets::{Malformed, Reader, Writer};
use crate::sealed::{SealError, SealedKey};

/// A key-encryption key.
pub struct Kek {
    under: Under,
    sealer: Sealer,
}

impl Kek {
    /// From 32 octets that nobody can guess.
    ///
    /// # Errors
    /// [`SealError::KeyLength`], and [`SealError::Failed`] where the library cannot use it.
    pub fn from_key(key: &Secret) -> Result<Self, SealError> {
        Self::new(key, Origin::Key)
    }

    /// From a passphrase, with a salt of its own.
    ///
    /// # Errors
    /// [`SealError::EmptyPassphrase`], [`SealError::Work`] where the work factor is out of bounds, and
    /// [`SealError::Failed`] where the library fails.
    pub fn from_passphrase(passphrase: &Secret, work: WorkFactor) -> Result<Self, SealError> {
        let salt = random().map_err(|_| SealError::Failed)?;
        Self::derive(passphrase, Passphrase { work, salt })
    }

    /// The one that `sealed` is sealed under: a passphrase is made into a key with the same salt. What opens many files
    /// then makes it once.
    ///
    /// # Errors
    /// [`SealError::UnknownKek`] and [`SealError::WrongPassphrase`] where it is not made from this secret, and as
    /// [`Kek::from_key`] and [`Kek::from_passphrase`].
    pub fn of(sealed: &SealedKey, secret: &Unlock) -> Result<Self, SealError> {
        let under = sealed.under();
        let (made, error) = match (secret, under.origin) {
            (Unlock::Key(key), Origin::Key) => {
                (Self::from_key(key)?, SealError::UnknownKek(under.id))
            }
            (Unlock::Passphrase(passphrase), Origin::Passphrase(parameters)) => {
                let made = Self::derive(passphrase, parameters)?;
                (made, SealError::WrongPassphrase(under.id))
            }
            _ => return Err(SealError::UnknownKek(under.id)),
        };
        if made.under == *under {
            Ok(made)
        } else {
            Err(error)
        }
    }

    /// Which one it is.
    #[must_use]
    pub const fn id(&self) -> KekId {
        self.under.id
    }

    pub(crate) const fn under(&self) -> &Under {
        &self.under
    }

    pub(crate) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    fn derive(passphrase: &Secret, parameters: Passphrase) -> Result<Self, SealError> {
        let key = parameters.key(passphrase)?;
        Self::new(&key, Origin::Passphrase(parameters))
    }

    fn new(key: &Secret, origin: Origin) -> Result<Self, SealError> {
        let sealer = sealer(key)?;
        let [a, b, c, d, e, f, g, h, ..] = sealer.name(&[b"kenin: key-encryption key"]);
        let id = KekId([a, b, c, d, e, f, g, h]);
        Ok(Self {
            under: Under { id, origin },
            sealer,
        })
    }
}

/// Shows which one it is and nothing of the key.
impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kek")
            .field("under", &self.under)
            .finish_non_exhaustive()
    }
}

/// Which key-encryption key: made from the key, which it does not give away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KekId([u8; 8]);

/// Lower-case hexadecimal.
impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What it costs to try a passphrase (RFC 9106 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkFactor {
    /// Memory in KiB: 8 for each lane, up to 1 GiB.
    pub memory_kib: u32,
    /// Passes over it: 1 to 64.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl WorkFactor {
    /// The second choice of RFC 9106 §4, for machines that have more to do: 64 MiB.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };

    fn params(self) -> Result<Params, SealError> {
        if self.memory_kib > MAX_MEMORY_KIB {
            return Err(SealError::Work("more than 1 GiB of memory"));
        }
        if self.passes > MAX_PASSES {
            return Err(SealError::Work("more than 64 passes"));
        }
        if self.lanes > MAX_LANES {
            return Err(SealError::Work("more than 16 lanes"));
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LEN))
            .map_err(|_| SealError::Work("less than Argon2 can do with"))
    }
}

/// How a key is made from a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Passphrase {
    work: WorkFactor,
    salt: [u8; 16],
}

impl Passphrase {
    /// Argon2id, version 1.3.
    fn key(&self, passphrase: &Secret) -> Result<Secret, SealError> {
        if passphrase.is_empty() {
            return Err(SealError::EmptyPassphrase);
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.work.params()?);
        let mut key = vec![0; KEY_LEN];
        let made = argon2.hash_password_into(passphrase.expose(), &self.salt, &mut key);
        let key = Secret::new(key);
        made.map_err(|_| SealError::Failed)?;
        Ok(key)
    }
}

/// What a sealed file is sealed under, as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Under {
    id: KekId,
    origin: Origin,
}

/// Where a key-encryption key comes from. One that a token guards is a key as others, once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Key,
    Passphrase(Passphrase),
}

impl Under {
    pub(crate) const fn id(&self) -> KekId {
        self.id
    }

    pub(crate) fn to_octets(self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.fixed(&self.id.0);
        match self.origin {
            Origin::Key => writer.u8(FROM_KEY),
            Origin::Passphrase(Passphrase { work, salt }) => writer
                .u8(FROM_PASSPHRASE)
                .u32(work.memory_kib)
                .u32(work.passes)
                .u32(work.lanes)
                .fixed(&salt),
        };
        writer.finish()
    }

    pub(crate) fn from_octets(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let id = KekId(reader.fixed()?);
        let origin = match reader.u8()? {
            FROM_KEY => Origin::Key,
            FROM_PASSPHRASE => Origin::Passphrase(Passphrase {
                work: WorkFactor {
                    memory_kib: reader.u32()?,
                    passes: reader.u32()?,
                    lanes: reader.u32()?,
                },
                salt: reader.fixed()?,
            }),
            _ => return Err(Malformed("an unknown kind of key-encryption key")),
        };
        reader.finish()?;
        Ok(Self { id, origin })
    }
}

/// A secret that key-encryption keys come from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unlock {
    /// 32 octets that are the key.
    Key(Secret),
    /// A passphrase.
    Passphrase(Secret),
}

/// Finds the key-encryption key that a sealed file needs, among those that it can make from what it was given. While
/// files are sealed anew under another one, it is given both.
#[derive(Debug)]
pub struct Unlocker {
    passphrases: Vec<Secret>,
    keks: Vec<Kek>,
    derivations: usize,
}

impl Unlocker {
    /// With these secrets.
    ///
    /// # Errors
    /// As [`Kek::from_key`], and [`SealError::EmptyPassphrase`].
    pub fn new(secrets: Vec<Unlock>) -> Result<Self, SealError> {
        let mut made = Self {
            passphrases: Vec::new(),
            keks: Vec::new(),
            derivations: 0,
        };
        for secret in secrets {
            match secret {
                Unlock::Key(key) => made.keks.push(Kek::from_key(&key)?),
                Unlock::Passphrase(passphrase) if passphrase.is_empty() => {
                    return Err(SealError::EmptyPassphrase);
                }
                Unlock::Passphrase(passphrase) => made.passphrases.push(passphrase),
            }
        }
        Ok(made)
    }

    /// The key that a file names. Each passphrase is tried once with the same salt; how often in all is bounded, since
    /// the salts stand in files.
    pub(crate) fn kek(&mut self, under: &Under) -> Result<&Kek, SealError> {
        let at = match self.keks.iter().position(|kek| kek.under == *under) {
            Some(at) => at,
            None => self.make(under)?,
        };
        self.keks.get(at).ok_or(SealError::UnknownKek(under.id))
    }

    /// Makes the key, and says where it stands then.
    fn make(&mut self, under: &Under) -> Result<usize, SealError> {
        let Origin::Passphrase(parameters) = under.origin else {
            return Err(SealError::UnknownKek(under.id));
        };
        if self.passphrases.is_empty() {
            return Err(SealError::UnknownKek(under.id));
        }
        for passphrase in &self.passphrases {
            if self.derivations >= MAX_DERIVATIONS {
                return Err(SealError::Work(
                    "its passphrase has another salt than those of the other files",
                ));
            }
            self.derivations += 1;
            let kek = Kek::derive(passphrase, parameters)?;
            if kek.under == *under {
                self.keks.push(kek);
                return Ok(self.keks.len() - 1);
            }
        }
        Err(SealError::WrongPassphrase(under.id))
    }
}

/// What seals under 32 octets.
pub(crate) fn sealer(key: &Secret) -> Result<Sealer, SealError> {
    let key = key
        .expose()
        .try_into()
        .map_err(|_| SealError::KeyLength(key.len()))?;
    Sealer::new(key).ok_or(SealError::Failed)
}

/// How often an [`Unlocker`] makes a key from a passphrase.
pub const MAX_DERIVATIONS: usize = 8;
/// Octets of a key.
pub(crate) const KEY_LEN: usize = 32;
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;
const FROM_KEY: u8 = 1;
const FROM_PASSPHRASE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CHEAP, secret};

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// What OpenSSL makes of the same.
    #[test]
    fn argon2id_gives_the_known_answer() {
        let parameters = |salt| Passphrase {
            work: WorkFactor {
                memory_kib: 256,
                passes: 2,
                lanes: 1,
            },
            salt,
        };
        let key = |parameters: Passphrase| parameters.key(&secret(b"password")).unwrap();
        let salt = *b"somesaltsomesalt";
        assert_eq!(hex(key(parameters(salt)).expose()), KNOWN);
        assert_ne!(hex(key(parameters(*b"othersalt1234567")).expose()), KNOWN);
    }

    #[test]
    fn a_work_factor_is_bounded_before_any_work() {
        let good = WorkFactor::RECOMMENDED;
        let refused = |work: WorkFactor| {
            let parameters = Passphrase {
                work,
                salt: [0; 16],
            };
            matches!(parameters.key(&secret(b"x")), Err(SealError::Work(_)))
        };
        for memory_kib in [0, 7, (1 << 20) + 1, u32::MAX] {
            assert!(refused(WorkFactor { memory_kib, ..good }), "{memory_kib}");
        }
        for passes in [0, 65, u32::MAX] {
            assert!(refused(WorkFactor { passes, ..good }), "{passes}");
        }
        for lanes in [0, 17, u32::MAX] {
            assert!(refused(WorkFactor { lanes, ..good }), "{lanes}");
        }
        assert!(good.params().is_ok());
        let most = WorkFactor {
            memory_kib: 1 << 20,
            passes: 64,
            lanes: 16,
        };
        assert!(most.params().is_ok());
    }

    #[test]
    fn what_is_sealed_under_survives_its_octets() {
        let key = Kek::from_key(&secret(&[3; 32])).unwrap();
        let passphrase = Kek::from_passphrase(&secret(b"open"), CHEAP).unwrap();
        for kek in [&key, &passphrase] {
            let octets = kek.under().to_octets();
            assert_eq!(Under::from_octets(&octets), Ok(*kek.under()));
            for cut in 0..octets.len() {
                assert!(Under::from_octets(&octets[..cut]).is_err());
            }
        }
        assert_ne!(key.id(), passphrase.id());
        assert!(!format!("{key:?}").contains("03030303"));
    }

    #[test]
    fn the_right_passphrase_is_found_among_several() {
        let kek = Kek::from_passphrase(&secret(b"old"), CHEAP).unwrap();
        let passphrases = |all: &[&[u8]]| {
            let secrets = all.iter().map(|one| Unlock::Passphrase(secret(one)));
            Unlocker::new(secrets.collect()).unwrap()
        };
        let mut both = passphrases(&[b"new", b"old"]);
        assert_eq!(both.kek(kek.under()).unwrap().id(), kek.id());
        assert_eq!(both.derivations, 2);
        // The second time it is at hand.
        assert!(both.kek(kek.under()).is_ok());
        assert_eq!(both.derivations, 2);
        let mut other = passphrases(&[b"new"]);
        assert_eq!(
            other.kek(kek.under()).unwrap_err(),
            SealError::WrongPassphrase(kek.id())
        );
        let mut none = passphrases(&[]);
        assert_eq!(
            none.kek(kek.under()).unwrap_err(),
            SealError::UnknownKek(kek.id())
        );
    }

    #[test]
    fn files_with_ever_new_salts_cause_bounded_work() {
        let mut unlocker = Unlocker::new(vec![Unlock::Passphrase(secret(b"open"))]).unwrap();
        for salt in 0..100 {
            let under = Under {
                id: KekId([0; 8]),
                origin: Origin::Passphrase(Passphrase {
                    work: CHEAP,
                    salt: [salt; 16],
                }),
            };
            assert!(unlocker.kek(&under).is_err());
        }
        assert_eq!(unlocker.derivations, MAX_DERIVATIONS);
    }

    #[test]
    fn a_key_of_another_length_and_an_empty_passphrase_are_refused() {
        for length in [0, 31, 33] {
            let error = Kek::from_key(&secret(&vec![1; length])).unwrap_err();
            assert_eq!(error, SealError::KeyLength(length));
        }
        let empty = || secret(b"");
        let made = Kek::from_passphrase(&empty(), CHEAP).unwrap_err();
        assert_eq!(made, SealError::EmptyPassphrase);
        let opened = Unlocker::new(vec![Unlock::Passphrase(empty())]).unwrap_err();
        assert_eq!(opened, SealError::EmptyPassphrase);
    }

    const KNOWN: &str = "cab746b4621993fdc91ec50787980b414a90a692f0bc68dfe19f9c25b3cba9ec";
}
