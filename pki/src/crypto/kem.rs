//! The parameter sets of ML-KEM (FIPS 203) and their keys in PKCS#8.
//! <https://www.rfc-editor.org/rfc/rfc9935>

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{OCTET_STRING, Reader, SEQUENCE, context};
use crate::oid::{self, Oid};

/// A parameter set of ML-KEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MlKem {
    /// ML-KEM-512.
    Kem512,
    /// ML-KEM-768.
    Kem768,
    /// ML-KEM-1024.
    Kem1024,
}

impl MlKem {
    /// By object identifier, which is that of the keys and of the algorithm (RFC 9936 §2.1).
    #[must_use]
    pub fn from_oid(oid: Oid<'_>) -> Option<Self> {
        Some(match oid {
            oid::ML_KEM_512 => Self::Kem512,
            oid::ML_KEM_768 => Self::Kem768,
            oid::ML_KEM_1024 => Self::Kem1024,
            _ => return None,
        })
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::Kem512 => oid::ML_KEM_512,
            Self::Kem768 => oid::ML_KEM_768,
            Self::Kem1024 => oid::ML_KEM_1024,
        }
    }

    /// Octets of an encapsulation key, the public one (FIPS 203 §8).
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::Kem512 => 800,
            Self::Kem768 => 1184,
            Self::Kem1024 => 1568,
        }
    }

    /// Octets of a decapsulation key, the private one (FIPS 203 §8).
    pub(super) const fn private_len(self) -> usize {
        match self {
            Self::Kem512 => 1632,
            Self::Kem768 => 2400,
            Self::Kem1024 => 3168,
        }
    }

    /// Octets of a ciphertext (FIPS 203 §8).
    #[must_use]
    pub const fn ciphertext_len(self) -> usize {
        match self {
            Self::Kem512 => 768,
            Self::Kem768 => 1088,
            Self::Kem1024 => 1568,
        }
    }

    /// The encapsulation key that lies within a decapsulation key, behind the key of K-PKE (FIPS 203 §7.1).
    pub(super) fn public_within(self, private: &[u8]) -> Option<&[u8]> {
        let before = self
            .private_len()
            .checked_sub(self.public_len())?
            .checked_sub(2 * 32)?;
        let end = before.checked_add(self.public_len())?;
        (private.len() == self.private_len())
            .then(|| private.get(before..end))
            .flatten()
    }
}

/// The privateKey of a PKCS#8, one of the three forms of RFC 9935 §6 and RFC 9881 §6.
pub(super) enum PrivateForm<'a> {
    /// The seed, from which the library makes the rest.
    Seed(&'a [u8]),
    /// The key that is made from the seed, alone.
    Expanded(&'a [u8]),
    /// Both.
    Both { seed: &'a [u8], expanded: &'a [u8] },
}

/// The key of a PKCS#8 that holds one of ML-KEM. `None` where it holds another, or none.
pub(super) fn private_key(pkcs8: &[u8]) -> Option<(MlKem, PrivateForm<'_>)> {
    let (algorithm, form) = private_form(pkcs8)?;
    Some((MlKem::from_oid(algorithm.oid())?, form))
}

/// The algorithm of a PKCS#8, and its privateKey where it has one of these forms.
pub(super) fn private_form(pkcs8: &[u8]) -> Option<(AlgorithmIdentifier, PrivateForm<'_>)> {
    let mut outer = Reader::new(pkcs8);
    let mut reader = outer.sequence().ok()?;
    outer.finish().ok()?;
    reader.small().ok()?;
    let algorithm = AlgorithmIdentifier::read(&mut reader).ok()?;
    let mut inner = Reader::new(reader.octet_string().ok()?);
    let element = inner.any().ok()?;
    inner.finish().ok()?;
    let form = match element.tag {
        OCTET_STRING => PrivateForm::Expanded(element.content),
        SEQUENCE => {
            let mut both = element.reader();
            let (seed, expanded) = (both.octet_string().ok()?, both.octet_string().ok()?);
            both.finish().ok()?;
            PrivateForm::Both { seed, expanded }
        }
        tag if tag == context(0) => PrivateForm::Seed(element.content),
        _ => return None,
    };
    Some((algorithm, form))
}

#[cfg(test)]
mod tests {
    use crate::crypto::{
        DigestAlgorithm, KeyError, KeyKind, KeyType, PublicKey, SignatureAlgorithm, SigningKey,
        SoftKey, VerifyError,
    };
    use crate::der::write;

    use super::*;

    #[test]
    fn keys_that_only_receive_survive_their_encodings_and_sign_nothing() {
        for (kind, expected) in [
            (KeyType::X25519, KeyKind::X25519),
            (KeyType::MlKem(MlKem::Kem512), KeyKind::MlKem(MlKem::Kem512)),
            (KeyType::MlKem(MlKem::Kem768), KeyKind::MlKem(MlKem::Kem768)),
            (
                KeyType::MlKem(MlKem::Kem1024),
                KeyKind::MlKem(MlKem::Kem1024),
            ),
        ] {
            let key = SoftKey::generate(kind).unwrap();
            assert_eq!(*key.public_key().kind(), expected);
            let again = SoftKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            let spki = PublicKey::from_spki(key.public_key().spki()).unwrap();
            assert_eq!(spki.algorithm(), key.public_key().algorithm());
            assert_eq!(
                key.sign(key.default_algorithm(), b"m"),
                Err(KeyError::Unsupported)
            );
            for algorithm in [
                SignatureAlgorithm::Ed25519,
                SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
                SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            ] {
                assert_eq!(
                    spki.verify(algorithm, b"m", &[0; 64]),
                    Err(VerifyError::Unsupported)
                );
            }
        }
        for (oid, length) in [
            (oid::X25519, 31),
            (oid::X25519, 33),
            (oid::ML_KEM_512, 799),
            (oid::ML_KEM_768, 800),
            (oid::ML_KEM_1024, 1569),
        ] {
            let algorithm = AlgorithmIdentifier::new(oid, None).to_der();
            let spki = write::seq(&[algorithm, write::bit_string(&vec![9; length])]);
            let key = PublicKey::from_spki(&spki).unwrap();
            assert!(matches!(key.kind(), KeyKind::Unsupported(_)), "{key:?}");
        }
    }

    /// RFC 9935 §6: the seed, the expanded key, or both, which then must be of one key.
    #[test]
    fn keys_of_ml_kem_read_in_each_of_their_three_forms() {
        for set in [MlKem::Kem512, MlKem::Kem768, MlKem::Kem1024] {
            let key = SoftKey::generate(KeyType::MlKem(set)).unwrap();
            let other = SoftKey::generate(KeyType::MlKem(set)).unwrap();
            let pkcs8 = |inner: Vec<u8>| {
                let algorithm = AlgorithmIdentifier::new(set.oid(), None).to_der();
                write::seq(&[write::integer(0), algorithm, write::octet_string(&inner)])
            };
            let seed_of = |key: &SoftKey| match private_key(&key.to_pkcs8().unwrap()) {
                Some((_, PrivateForm::Seed(seed))) => seed.to_vec(),
                _ => panic!("a generated key is written as its seed"),
            };
            let expanded = |key: &SoftKey| key.kem_private(set).unwrap().expose().to_vec();
            let read = |inner: Vec<u8>| {
                SoftKey::from_pkcs8(&pkcs8(inner)).map(|read| read.public_key().clone())
            };
            let both = |seed: &[u8], expanded: &[u8]| {
                write::seq(&[write::octet_string(seed), write::octet_string(expanded)])
            };
            let (seed, private) = (seed_of(&key), expanded(&key));
            let public = Ok(key.public_key().clone());
            assert_eq!(read(write::implicit(0, &seed)), public);
            assert_eq!(read(write::octet_string(&private)), public);
            assert_eq!(read(both(&seed, &private)), public);
            let malformed = Err(KeyError::Malformed);
            assert_eq!(read(both(&seed, &expanded(&other))), malformed);
            assert_eq!(read(both(&seed_of(&other), &private)), malformed);
            assert_eq!(read(both(&seed, b"")), malformed);
            assert_eq!(read(write::implicit(0, &seed[1..])), malformed);
            assert_eq!(read(write::octet_string(&private[1..])), malformed);
            // The digest of the public half that the private one holds must fit it (FIPS 203 §7.3).
            let mut bent = private.clone();
            let at = bent.len() - 64;
            bent[at] ^= 1;
            assert_eq!(read(write::octet_string(&bent)), malformed);
            assert_eq!(read(write::null()), malformed);
        }
    }
}
