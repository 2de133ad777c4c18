//! Message digests.

use aws_lc_rs::digest;
use zeroize::Zeroize;

use crate::algorithm::AlgorithmIdentifier;
use crate::oid::{self, Oid};

use super::raw;

/// A message digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// MD5: named so that it can be refused; no signature is verified with it.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

impl DigestAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    /// By object identifier.
    #[must_use]
    pub fn from_oid(oid: Oid<'_>) -> Option<Self> {
        Some(match oid {
            oid::MD5 => Self::Md5,
            oid::SHA1 => Self::Sha1,
            oid::SHA224 => Self::Sha224,
            oid::SHA256 => Self::Sha256,
            oid::SHA384 => Self::Sha384,
            oid::SHA512 => Self::Sha512,
            oid::SHA3_256 => Self::Sha3_256,
            oid::SHA3_384 => Self::Sha3_384,
            oid::SHA3_512 => Self::Sha3_512,
            _ => return None,
        })
    }

    /// By identifier, whose parameters must be absent or NULL.
    #[must_use]
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Option<Self> {
        Self::from_oid(identifier.oid()).filter(|_| identifier.has_no_parameters())
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::Md5 => oid::MD5,
            Self::Sha1 => oid::SHA1,
            Self::Sha224 => oid::SHA224,
            Self::Sha256 => oid::SHA256,
            Self::Sha384 => oid::SHA384,
            Self::Sha512 => oid::SHA512,
            Self::Sha3_256 => oid::SHA3_256,
            Self::Sha3_384 => oid::SHA3_384,
            Self::Sha3_512 => oid::SHA3_512,
        }
    }

    /// As written in reports: `sha256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    /// How many octets a digest has.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut digester = Digester::new(self);
        digester.update(bytes);
        digester.finish()
    }
}

/// A digest's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    octets: [u8; 64],
    size: usize,
}

impl Digest {
    fn new(from: &[u8]) -> Self {
        let mut octets = [0; 64];
        for (slot, octet) in octets.iter_mut().zip(from) {
            *slot = *octet;
        }
        Self {
            octets,
            size: from.len().min(octets.len()),
        }
    }
}

impl Digest {
    /// Makes it all zeros, for digests that are secrets.
    pub(super) fn wipe(&mut self) {
        self.octets.zeroize();
    }

    /// Octets that were a digest; nothing where they are too many.
    pub(crate) fn of(octets: &[u8]) -> Option<Self> {
        (octets.len() <= 64).then(|| Self::new(octets))
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.size).unwrap_or_default()
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Digester {
    algorithm: DigestAlgorithm,
    state: State,
}

impl Digester {
    /// Begins.
    #[must_use]
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        let method = match algorithm {
            DigestAlgorithm::Md5 => {
                return Self {
                    algorithm,
                    state: State::Md5(raw::Md5::new()),
                };
            }
            DigestAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha224 => &digest::SHA224,
            DigestAlgorithm::Sha256 => &digest::SHA256,
            DigestAlgorithm::Sha384 => &digest::SHA384,
            DigestAlgorithm::Sha512 => &digest::SHA512,
            DigestAlgorithm::Sha3_256 => &digest::SHA3_256,
            DigestAlgorithm::Sha3_384 => &digest::SHA3_384,
            DigestAlgorithm::Sha3_512 => &digest::SHA3_512,
        };
        Self {
            algorithm,
            state: State::Safe(digest::Context::new(method)),
        }
    }

    /// Takes more octets.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Safe(context) => context.update(bytes),
            State::Md5(Some(md5)) => md5.update(bytes),
            State::Md5(None) => {}
        }
    }

    /// Ends.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.state {
            State::Safe(context) => Digest::new(context.finish().as_ref()),
            // Without memory for a context there is no digest; the empty one equals no digest of a message.
            State::Md5(md5) => {
                md5.map_or_else(|| Digest::new(&[]), |md5| Digest::new(&md5.finish()))
            }
        }
    }

    /// Which algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }
}

impl std::io::Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum State {
    Safe(digest::Context),
    Md5(Option<raw::Md5>),
}

impl Clone for State {
    fn clone(&self) -> Self {
        match self {
            Self::Safe(context) => Self::Safe(context.clone()),
            Self::Md5(md5) => Self::Md5(md5.as_ref().and_then(raw::Md5::copy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn known_answers_of_abc() {
        let all = [
            (DigestAlgorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (
                DigestAlgorithm::Sha1,
                "a9993e364706816aba3e25717850c26c9cd0d89d",
            ),
            (
                DigestAlgorithm::Sha224,
                "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            ),
            (
                DigestAlgorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                DigestAlgorithm::Sha3_256,
                "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
            ),
        ];
        for (algorithm, expected) in all {
            assert_eq!(
                hex(algorithm.digest(b"abc").as_ref()),
                expected,
                "{}",
                algorithm.name()
            );
        }
    }

    #[test]
    fn pieces_and_copies_make_the_same_digest() {
        for algorithm in DigestAlgorithm::ALL {
            let mut one = Digester::new(algorithm);
            one.update(b"a");
            let mut two = one.clone();
            one.update(b"bc");
            two.update(b"b");
            two.update(b"c");
            let whole = algorithm.digest(b"abc");
            assert_eq!((one.finish(), two.finish()), (whole, whole));
            assert_eq!(whole.as_ref().len(), algorithm.size());
            assert_eq!(DigestAlgorithm::from_oid(algorithm.oid()), Some(algorithm));
        }
    }
}
