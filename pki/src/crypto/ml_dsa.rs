//! The parameter sets of ML-DSA (FIPS 204) and their keys in PKCS#8.
//! <https://www.rfc-editor.org/rfc/rfc9881>, <https://www.rfc-editor.org/rfc/rfc9882>

use crate::oid::{self, Oid};

use super::DigestAlgorithm;
use super::kem::{PrivateForm, private_form};

/// A parameter set of ML-DSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MlDsa {
    /// ML-DSA-44.
    Dsa44,
    /// ML-DSA-65.
    Dsa65,
    /// ML-DSA-87.
    Dsa87,
}

impl MlDsa {
    /// By object identifier, which is that of the keys and of the signatures (RFC 9881 §2).
    #[must_use]
    pub fn from_oid(oid: Oid<'_>) -> Option<Self> {
        Some(match oid {
            oid::ML_DSA_44 => Self::Dsa44,
            oid::ML_DSA_65 => Self::Dsa65,
            oid::ML_DSA_87 => Self::Dsa87,
            _ => return None,
        })
    }

    /// Its object identifier.
    #[must_use]
    pub const fn oid(self) -> Oid<'static> {
        match self {
            Self::Dsa44 => oid::ML_DSA_44,
            Self::Dsa65 => oid::ML_DSA_65,
            Self::Dsa87 => oid::ML_DSA_87,
        }
    }

    /// `ml-dsa-44`, `ml-dsa-65` or `ml-dsa-87`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dsa44 => "ml-dsa-44",
            Self::Dsa65 => "ml-dsa-65",
            Self::Dsa87 => "ml-dsa-87",
        }
    }

    /// Octets of a public key (FIPS 204 §4).
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::Dsa44 => 1312,
            Self::Dsa65 => 1952,
            Self::Dsa87 => 2592,
        }
    }

    /// Octets of a private key in its expanded form (FIPS 204 §4).
    pub(super) const fn private_len(self) -> usize {
        match self {
            Self::Dsa44 => 2560,
            Self::Dsa65 => 4032,
            Self::Dsa87 => 4896,
        }
    }

    /// Octets of a signature (FIPS 204 §4).
    #[must_use]
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Dsa44 => 2420,
            Self::Dsa65 => 3309,
            Self::Dsa87 => 4627,
        }
    }

    /// Whether a digest is as strong as the signature that it stands under (RFC 9882 §3.3, table 1).
    #[must_use]
    pub const fn suits(self, digest: DigestAlgorithm) -> bool {
        match digest {
            DigestAlgorithm::Md5 | DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224 => false,
            DigestAlgorithm::Sha256 | DigestAlgorithm::Sha3_256 => matches!(self, Self::Dsa44),
            DigestAlgorithm::Sha384 | DigestAlgorithm::Sha3_384 => !matches!(self, Self::Dsa87),
            DigestAlgorithm::Sha512 | DigestAlgorithm::Sha3_512 => true,
        }
    }
}

/// The key of a PKCS#8 that holds one of ML-DSA (RFC 9881 §6). `None` where it holds another, or none.
pub(super) fn private_key(pkcs8: &[u8]) -> Option<(MlDsa, PrivateForm<'_>)> {
    let (algorithm, form) = private_form(pkcs8)?;
    let set = MlDsa::from_oid(algorithm.oid())?;
    algorithm.parameters().is_none().then_some((set, form))
}

/// Octets of a seed (FIPS 204 §5.1).
pub(super) const SEED_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use crate::algorithm::AlgorithmIdentifier;
    use crate::certificate::Certificate;
    use crate::crypto::{
        KeyError, KeyKind, KeyType, PublicKey, SignatureAlgorithm, SigningKey, SoftKey, VerifyError,
    };
    use crate::der::write;
    use crate::testing::data_files;

    use super::*;

    const ALL: [MlDsa; 3] = [MlDsa::Dsa44, MlDsa::Dsa65, MlDsa::Dsa87];

    #[test]
    fn keys_of_ml_dsa_sign_and_verify_whole_messages() {
        for set in ALL {
            let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
            assert_eq!(*key.public_key().kind(), KeyKind::MlDsa(set));
            assert_eq!(key.public_key().algorithm(), set.oid());
            let algorithm = key.default_algorithm();
            assert_eq!(algorithm, SignatureAlgorithm::MlDsa(set));
            assert_eq!(algorithm.name(), set.name());
            let signature = key.sign(algorithm, b"m").unwrap();
            assert_eq!(signature.len(), set.signature_len());
            let public = PublicKey::from_spki(key.public_key().spki()).unwrap();
            assert_eq!(public.verify(algorithm, b"m", &signature), Ok(()));
            let bad = Err(VerifyError::BadSignature);
            assert_eq!(public.verify(algorithm, b"n", &signature), bad);
            assert_eq!(public.verify(algorithm, b"m", &signature[1..]), bad);
            assert_eq!(public.verify(algorithm, b"m", b""), bad);
            let mut bent = signature.clone();
            bent[7] ^= 1;
            assert_eq!(public.verify(algorithm, b"m", &bent), bad);
            // It signs messages, and no digest of them.
            let digest = algorithm.digest().digest(b"m");
            assert_eq!(
                public.verify_digest(algorithm, digest.as_ref(), &signature),
                Err(VerifyError::Unsupported)
            );
            for other in ALL {
                let named = SignatureAlgorithm::MlDsa(other);
                let verified = public.verify(named, b"m", &signature);
                assert_eq!(verified.is_ok(), other == set);
                assert_eq!(key.sign(named, b"m").is_ok(), other == set);
            }
            let ed25519 = SignatureAlgorithm::Ed25519;
            assert_eq!(
                public.verify(ed25519, b"m", &[0; 64]),
                Err(VerifyError::Mismatch)
            );
        }
    }

    #[test]
    fn keys_of_another_length_or_with_parameters_are_not_supported() {
        for set in ALL {
            for (length, parameters) in [
                (set.public_len() - 1, None),
                (set.public_len() + 1, None),
                (set.public_len(), Some(write::null())),
            ] {
                let algorithm = AlgorithmIdentifier::new(set.oid(), parameters.as_deref()).to_der();
                let spki = write::seq(&[algorithm, write::bit_string(&vec![9; length])]);
                let key = PublicKey::from_spki(&spki).unwrap();
                assert!(matches!(key.kind(), KeyKind::Unsupported(_)), "{set:?}");
            }
            let null = AlgorithmIdentifier::new(set.oid(), Some(&write::null()));
            assert!(SignatureAlgorithm::from_identifier(&null).is_err());
        }
    }

    /// RFC 9881 §6: the seed, the expanded key, or both, which then must be of one key.
    #[test]
    fn keys_of_ml_dsa_read_in_each_of_their_three_forms() {
        for set in ALL {
            let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
            let other = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
            let pkcs8 = |inner: Vec<u8>| {
                let algorithm = AlgorithmIdentifier::new(set.oid(), None).to_der();
                write::seq(&[write::integer(0), algorithm, write::octet_string(&inner)])
            };
            let seed_of = |key: &SoftKey| match private_key(&key.to_pkcs8().unwrap()) {
                Some((_, PrivateForm::Seed(seed))) => seed.to_vec(),
                _ => panic!("a generated key is written as its seed"),
            };
            let expanded = |key: &SoftKey| key.ml_dsa_private(set).unwrap().expose().to_vec();
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
            // A seed is no expanded key, and an expanded key is no seed.
            assert_eq!(read(write::octet_string(&seed)), malformed);
            assert_eq!(read(write::implicit(0, &private)), malformed);
            assert_eq!(read(write::implicit(0, &seed[1..])), malformed);
            assert_eq!(read(write::octet_string(&private[1..])), malformed);
            assert_eq!(
                read([both(&seed, &private), write::null()].concat()),
                malformed
            );
            let whole = pkcs8(write::implicit(0, &seed));
            let longer = SoftKey::from_pkcs8(&[&whole[..], &[0]].concat());
            assert_eq!(longer.unwrap_err(), KeyError::Malformed);
            // The secret from which signatures are hedged shows in the public half nowhere.
            let mut bent = private.clone();
            bent[40] ^= 1;
            assert_eq!(read(both(&seed, &bent)), malformed);
            bent[0] ^= 1;
            assert_eq!(read(write::octet_string(&bent)), malformed);
            assert_eq!(read(write::null()), malformed);
        }
    }

    #[test]
    fn an_expanded_key_is_written_as_itself() {
        for set in ALL {
            let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
            let private = key.ml_dsa_private(set).unwrap();
            let algorithm = AlgorithmIdentifier::new(set.oid(), None).to_der();
            let inner = write::octet_string(private.expose());
            let written = write::seq(&[write::integer(0), algorithm, write::octet_string(&inner)]);
            let expanded = SoftKey::from_pkcs8(&written).unwrap();
            assert_eq!(expanded.to_pkcs8().unwrap(), written);
            let signature = expanded.sign(SignatureAlgorithm::MlDsa(set), b"m").unwrap();
            let public = key.public_key();
            let verified = public.verify(SignatureAlgorithm::MlDsa(set), b"m", &signature);
            assert_eq!(verified, Ok(()));
        }
    }

    #[test]
    fn digests_are_those_of_the_table_of_rfc_9882() {
        use DigestAlgorithm::{
            Md5, Sha1, Sha3_256, Sha3_384, Sha3_512, Sha224, Sha256, Sha384, Sha512,
        };
        for (digest, expected) in [
            (Md5, [false, false, false]),
            (Sha1, [false, false, false]),
            (Sha224, [false, false, false]),
            (Sha256, [true, false, false]),
            (Sha3_256, [true, false, false]),
            (Sha384, [true, true, false]),
            (Sha3_384, [true, true, false]),
            (Sha512, [true, true, true]),
            (Sha3_512, [true, true, true]),
        ] {
            let found = ALL.map(|set| SignatureAlgorithm::MlDsa(set).suits(digest));
            assert_eq!(found, expected, "{digest:?}");
        }
    }

    /// An authority that OpenSSL made, with its key in the expanded form, and a certificate that it issued.
    #[test]
    fn a_published_authority_of_ml_dsa_verifies() {
        let Some(files) = data_files(&["pq/ml-kem/example"], &["pem", "priv"]) else {
            return;
        };
        let file = |name: &str| {
            let found = files.iter().find(|(path, _)| path.ends_with(name));
            found.map(|(_, bytes)| bytes.clone()).unwrap()
        };
        let certificate = |name: &str| {
            let all = Certificate::from_pem_or_der_many(&file(name)).unwrap();
            all.first().unwrap().clone()
        };
        let root = certificate("mldsa65RootCA.pem");
        let holder = certificate("ML-KEM-512.pem");
        let key = root.public_key();
        assert_eq!(*key.kind(), KeyKind::MlDsa(MlDsa::Dsa65));
        assert_eq!(root.verify_signature(key), Ok(()));
        assert_eq!(holder.verify_signature(key), Ok(()));
        let own = SoftKey::from_pem_or_der(&file("mldsa65RootCA.priv")).unwrap();
        assert_eq!(own.public_key(), key);
        assert_eq!(own.weakness(), None);
    }
}
