//! Key derivation functions.
//! ANSI X9.63 as <https://www.rfc-editor.org/rfc/rfc5753#section-7.2> and SEC 1 §3.6.1 have it, and
//! <https://www.rfc-editor.org/rfc/rfc5869>.

use crate::algorithm::AlgorithmIdentifier;
use crate::oid::{self, Oid};

use super::{AlgorithmError, DigestAlgorithm, Digester, KeyError, Secret, raw};

/// A key derivation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kdf {
    /// That of ANSI X9.63 (RFC 5753).
    X963(DigestAlgorithm),
    /// HKDF without salt (RFC 5869, RFC 8418, RFC 8619).
    Hkdf(DigestAlgorithm),
}

impl Kdf {
    /// A key of `length` octets from a secret that was agreed on. `info` is what both sides know beside it.
    /// [`KeyError::Unsupported`] where the digest is MD5 or the function makes no key of that length.
    pub(super) fn derive(
        self,
        shared: &Secret,
        info: &[u8],
        length: usize,
    ) -> Result<Secret, KeyError> {
        match self {
            Self::X963(DigestAlgorithm::Md5) | Self::Hkdf(DigestAlgorithm::Md5) => {
                Err(KeyError::Unsupported)
            }
            Self::X963(digest) => x963(digest, shared, info, length),
            Self::Hkdf(digest) => hkdf(digest, shared, b"", info, length),
        }
    }

    /// By the keyEncryptionAlgorithm of a KeyAgreeRecipientInfo (RFC 5753 §7.1.4, RFC 8418 §2.2). The cofactor
    /// primitive is the same as the other over curves whose cofactor is 1.
    #[must_use]
    pub fn from_agreement(algorithm: Oid<'_>) -> Option<Self> {
        BY_AGREEMENT
            .iter()
            .find(|(oid, _)| *oid == algorithm)
            .map(|(_, kdf)| *kdf)
    }

    /// The keyEncryptionAlgorithm of a KeyAgreeRecipientInfo. Nothing where there is none with this digest.
    #[must_use]
    pub fn agreement_oid(self) -> Option<Oid<'static>> {
        BY_AGREEMENT
            .iter()
            .find(|(_, kdf)| *kdf == self)
            .map(|(oid, _)| *oid)
    }

    /// By the kdf of a KEMRecipientInfo: HKDF (RFC 8619 §2), whose parameters are absent.
    pub fn from_hkdf_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let Some((_, kdf)) = BY_HKDF.iter().find(|(oid, _)| *oid == named) else {
            return Err(AlgorithmError::Unsupported(named.to_buf()));
        };
        if identifier.parameters().is_none() {
            Ok(*kdf)
        } else {
            Err(AlgorithmError::Parameters(named.to_buf()))
        }
    }

    /// The kdf of a KEMRecipientInfo. Nothing where there is none with this function and digest.
    #[must_use]
    pub fn to_hkdf_identifier(self) -> Option<AlgorithmIdentifier> {
        BY_HKDF
            .iter()
            .find(|(_, kdf)| *kdf == self)
            .map(|(oid, _)| AlgorithmIdentifier::new(*oid, None))
    }
}

/// HKDF, with a salt that may be empty.
pub(super) fn hkdf(
    digest: DigestAlgorithm,
    shared: &Secret,
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Secret, KeyError> {
    raw::hkdf(digest, shared.expose(), salt, info, length).ok_or(KeyError::Unsupported)
}

/// The digests of the secret, a counter and the information, one behind the other.
fn x963(
    digest: DigestAlgorithm,
    shared: &Secret,
    info: &[u8],
    length: usize,
) -> Result<Secret, KeyError> {
    if length > MAX_LENGTH {
        return Err(KeyError::Unsupported);
    }
    // Made with its room, so that it never moves.
    let mut out = Vec::with_capacity(length.saturating_add(digest.size()));
    for counter in 1..=u32::MAX {
        if out.len() >= length {
            break;
        }
        let mut digester = Digester::new(digest);
        digester.update(shared.expose());
        digester.update(&counter.to_be_bytes());
        digester.update(info);
        let mut block = digester.finish();
        out.extend_from_slice(block.as_ref());
        block.wipe();
    }
    out.truncate(length);
    Ok(Secret::new(out))
}

/// More than any key.
const MAX_LENGTH: usize = 1024;
/// What is written comes before what is only read.
const BY_AGREEMENT: [(Oid<'static>, Kdf); 13] = [
    (oid::STD_DH_SHA1_KDF, Kdf::X963(DigestAlgorithm::Sha1)),
    (oid::STD_DH_SHA224_KDF, Kdf::X963(DigestAlgorithm::Sha224)),
    (oid::STD_DH_SHA256_KDF, Kdf::X963(DigestAlgorithm::Sha256)),
    (oid::STD_DH_SHA384_KDF, Kdf::X963(DigestAlgorithm::Sha384)),
    (oid::STD_DH_SHA512_KDF, Kdf::X963(DigestAlgorithm::Sha512)),
    (oid::STD_DH_HKDF_SHA256, Kdf::Hkdf(DigestAlgorithm::Sha256)),
    (oid::STD_DH_HKDF_SHA384, Kdf::Hkdf(DigestAlgorithm::Sha384)),
    (oid::STD_DH_HKDF_SHA512, Kdf::Hkdf(DigestAlgorithm::Sha512)),
    (oid::COFACTOR_DH_SHA1_KDF, Kdf::X963(DigestAlgorithm::Sha1)),
    (
        oid::COFACTOR_DH_SHA224_KDF,
        Kdf::X963(DigestAlgorithm::Sha224),
    ),
    (
        oid::COFACTOR_DH_SHA256_KDF,
        Kdf::X963(DigestAlgorithm::Sha256),
    ),
    (
        oid::COFACTOR_DH_SHA384_KDF,
        Kdf::X963(DigestAlgorithm::Sha384),
    ),
    (
        oid::COFACTOR_DH_SHA512_KDF,
        Kdf::X963(DigestAlgorithm::Sha512),
    ),
];
const BY_HKDF: [(Oid<'static>, Kdf); 3] = [
    (oid::HKDF_SHA256, Kdf::Hkdf(DigestAlgorithm::Sha256)),
    (oid::HKDF_SHA384, Kdf::Hkdf(DigestAlgorithm::Sha384)),
    (oid::HKDF_SHA512, Kdf::Hkdf(DigestAlgorithm::Sha512)),
];

#[cfg(test)]
mod tests {
    use crate::der::write;
    use crate::testing::hex;

    use super::*;

    /// NIST CAVP, ANS X9.63-2001 with SHA-256.
    #[test]
    fn x963_has_the_published_answers() {
        for (shared, info, expected) in [
            (
                "96c05619d56c328ab95fe84b18264b08725b85e33fd34f08",
                "",
                "443024c3dae66b95e6f5670601558f71",
            ),
            (
                "22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d",
                "75eef81aa3041e33b80971203d2c0c52",
                "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e\
                 52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485\
                 500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269\
                 142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21",
            ),
        ] {
            let (shared, expected) = (Secret::new(hex(shared)), hex(expected));
            for length in 0..=expected.len() {
                let kdf = Kdf::X963(DigestAlgorithm::Sha256);
                let made = kdf.derive(&shared, &hex(info), length).unwrap();
                assert_eq!(made.expose(), &expected[..length]);
            }
        }
    }

    /// RFC 5869, appendix A: test cases 1 and 3.
    #[test]
    fn hkdf_has_the_published_answers() {
        let shared = Secret::new(vec![0x0b; 22]);
        let salt = hex("000102030405060708090a0b0c");
        let info = hex("f0f1f2f3f4f5f6f7f8f9");
        let made = hkdf(DigestAlgorithm::Sha256, &shared, &salt, &info, 42).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf\
                        34007208d5b887185865";
        assert_eq!(made.expose(), hex(expected));
        let kdf = Kdf::Hkdf(DigestAlgorithm::Sha256);
        let made = kdf.derive(&shared, b"", 42).unwrap();
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d\
                        9d201395faa4b61a96c8";
        assert_eq!(made.expose(), hex(expected));
    }

    #[test]
    fn md5_and_endless_keys_are_not_made() {
        let shared = Secret::new(vec![1; 32]);
        for (kdf, length) in [
            (Kdf::X963(DigestAlgorithm::Md5), 16),
            (Kdf::Hkdf(DigestAlgorithm::Md5), 16),
            (Kdf::X963(DigestAlgorithm::Sha256), 1025),
            (Kdf::Hkdf(DigestAlgorithm::Sha256), 255 * 32 + 1),
        ] {
            let error = kdf.derive(&shared, b"", length);
            assert_eq!(error, Err(KeyError::Unsupported));
        }
    }

    #[test]
    fn functions_survive_their_identifiers() {
        for (oid, kdf) in BY_AGREEMENT {
            assert_eq!(Kdf::from_agreement(oid), Some(kdf));
            let written = kdf.agreement_oid().unwrap();
            assert_eq!(Kdf::from_agreement(written), Some(kdf));
            let cofactor = BY_AGREEMENT[8..].iter().any(|(oid, _)| *oid == written);
            assert!(!cofactor, "{kdf:?}");
        }
        assert_eq!(Kdf::from_agreement(oid::HKDF_SHA256), None);
        assert_eq!(Kdf::Hkdf(DigestAlgorithm::Sha1).agreement_oid(), None);
        for (oid, kdf) in BY_HKDF {
            let identifier = kdf.to_hkdf_identifier().unwrap();
            assert_eq!(identifier, AlgorithmIdentifier::new(oid, None));
            assert_eq!(Kdf::from_hkdf_identifier(&identifier), Ok(kdf));
            let null = AlgorithmIdentifier::new(oid, Some(&write::null()));
            let bad = Err(AlgorithmError::Parameters(oid.to_buf()));
            assert_eq!(Kdf::from_hkdf_identifier(&null), bad);
        }
        let other = AlgorithmIdentifier::new(oid::STD_DH_HKDF_SHA256, None);
        let unsupported = Err(AlgorithmError::Unsupported(other.oid().to_buf()));
        assert_eq!(Kdf::from_hkdf_identifier(&other), unsupported);
        let x963 = Kdf::X963(DigestAlgorithm::Sha256);
        assert_eq!(x963.to_hkdf_identifier(), None);
    }
}
