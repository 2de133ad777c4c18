//! How a content is encrypted: the algorithms with their parameters, checked before any mathematics.
//! <https://www.rfc-editor.org/rfc/rfc3565>, <https://www.rfc-editor.org/rfc/rfc5084>,
//! <https://www.rfc-editor.org/rfc/rfc8103>, <https://www.rfc-editor.org/rfc/rfc3370#section-5>.

use std::ops::RangeInclusive;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{Reader, write};
use crate::oid::{self, Oid};

use super::{AlgorithmError, DigestAlgorithm, KeyError, Secret, kdf, random};

/// A content-encryption algorithm with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContentCipher {
    /// AES in CBC mode (RFC 3565): nothing tells whether the content was changed.
    AesCbc {
        /// Size of the key.
        aes: Aes,
        /// The initialisation vector.
        iv: [u8; 16],
    },
    /// AES in GCM (RFC 5084): in AuthEnvelopedData only.
    AesGcm {
        /// Size of the key.
        aes: Aes,
        /// The nonce: 1 to 16 octets, 12 in all that is written.
        nonce: Vec<u8>,
        /// Octets of the tag, which CMS calls the MAC: 12 to 16.
        tag_len: u8,
    },
    /// ChaCha20-Poly1305 (RFC 8103): in AuthEnvelopedData only. Its tag has 16 octets.
    ChaCha20Poly1305 {
        /// The nonce.
        nonce: [u8; 12],
    },
    /// Triple DES in CBC mode with three keys (RFC 3370 §5.1). Legacy: read, never written.
    TripleDesCbc {
        /// The initialisation vector.
        iv: [u8; 8],
    },
    /// RC2 in CBC mode (RFC 3370 §5.2, RFC 2268). Legacy: read, never written.
    Rc2Cbc {
        /// Effective bits of the key: 40, 64 or 128. The key has as many.
        effective_bits: u8,
        /// The initialisation vector.
        iv: [u8; 8],
    },
}

/// The key sizes of AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aes {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

/// What a content may be encrypted with when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// AES in CBC mode, for readers that know nothing better.
    AesCbc(Aes),
    /// AES in GCM with a tag of 16 octets.
    AesGcm(Aes),
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Aes {
    /// Octets of the key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

impl ContentCipher {
    /// From a contentEncryptionAlgorithm. Another algorithm is unsupported; parameters out of their bounds do not read.
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let bad = || AlgorithmError::Parameters(named.to_buf());
        let parameters = || identifier.parameters().ok_or_else(bad);
        if let Some((_, aes)) = CBC.iter().find(|(oid, _)| *oid == named) {
            let iv = octets(parameters()?).ok_or_else(bad)?;
            return Ok(Self::AesCbc { aes: *aes, iv });
        }
        if let Some((_, aes)) = GCM.iter().find(|(oid, _)| *oid == named) {
            let (nonce, tag_len) = gcm_parameters(parameters()?).ok_or_else(bad)?;
            return Ok(Self::AesGcm {
                aes: *aes,
                nonce,
                tag_len,
            });
        }
        match named {
            oid::CHACHA20_POLY1305 => Ok(Self::ChaCha20Poly1305 {
                nonce: octets(parameters()?).ok_or_else(bad)?,
            }),
            oid::DES_EDE3_CBC => Ok(Self::TripleDesCbc {
                iv: octets(parameters()?).ok_or_else(bad)?,
            }),
            oid::RC2_CBC => {
                let (effective_bits, iv) = rc2_parameters(parameters()?).ok_or_else(bad)?;
                Ok(Self::Rc2Cbc { effective_bits, iv })
            }
            _ => Err(AlgorithmError::Unsupported(named.to_buf())),
        }
    }

    /// The identifier that says all of it.
    #[must_use]
    pub fn to_identifier(&self) -> AlgorithmIdentifier {
        let (named, parameters) = match self {
            Self::AesCbc { aes, iv } => (oid_of(&CBC, *aes), write::octet_string(iv)),
            Self::AesGcm {
                aes,
                nonce,
                tag_len,
            } => {
                let mut fields = vec![write::octet_string(nonce)];
                if *tag_len != DEFAULT_TAG_LEN {
                    fields.push(write::integer(i64::from(*tag_len)));
                }
                (oid_of(&GCM, *aes), write::seq(&fields))
            }
            Self::ChaCha20Poly1305 { nonce } => {
                (oid::CHACHA20_POLY1305, write::octet_string(nonce))
            }
            Self::TripleDesCbc { iv } => (oid::DES_EDE3_CBC, write::octet_string(iv)),
            Self::Rc2Cbc { effective_bits, iv } => {
                let version = RC2_VERSIONS
                    .iter()
                    .find(|(_, bits)| bits == effective_bits)
                    .map_or(0, |(version, _)| *version);
                let fields = [write::integer(version.into()), write::octet_string(iv)];
                (oid::RC2_CBC, write::seq(&fields))
            }
        };
        AlgorithmIdentifier::new(named, Some(&parameters))
    }

    /// Octets of the content-encryption key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        match self {
            Self::AesCbc { aes, .. } | Self::AesGcm { aes, .. } => aes.key_len(),
            Self::ChaCha20Poly1305 { .. } => CHACHA20_KEY_LEN,
            Self::TripleDesCbc { .. } => 24,
            Self::Rc2Cbc { effective_bits, .. } => usize::from(*effective_bits / 8),
        }
    }

    /// Octets of the tag; nothing where there is none.
    #[must_use]
    pub fn tag_len(&self) -> Option<usize> {
        match self {
            Self::AesGcm { tag_len, .. } => Some(usize::from(*tag_len)),
            Self::ChaCha20Poly1305 { .. } => Some(16),
            Self::AesCbc { .. } | Self::TripleDesCbc { .. } | Self::Rc2Cbc { .. } => None,
        }
    }

    /// Octets that a content of so many becomes, without the tag.
    #[must_use]
    pub const fn encrypted_len(&self, content: usize) -> usize {
        match self.block_len() {
            1 => content,
            // There is always padding (RFC 5652 §6.3).
            block => (content / block + 1) * block,
        }
    }

    /// Octets of a block; 1 where contents of every length are encrypted as they are.
    pub(super) const fn block_len(&self) -> usize {
        match self {
            Self::AesCbc { .. } => 16,
            Self::TripleDesCbc { .. } | Self::Rc2Cbc { .. } => 8,
            Self::AesGcm { .. } | Self::ChaCha20Poly1305 { .. } => 1,
        }
    }

    /// Whether the parameters are such as [`ContentCipher::from_identifier`] lets through.
    pub(super) fn is_in_bounds(&self) -> bool {
        match self {
            Self::AesGcm { nonce, tag_len, .. } => {
                NONCE_LENGTHS.contains(&nonce.len()) && TAG_LENGTHS.contains(tag_len)
            }
            Self::Rc2Cbc { effective_bits, .. } => {
                RC2_VERSIONS.iter().any(|(_, bits)| bits == effective_bits)
            }
            Self::AesCbc { .. } | Self::ChaCha20Poly1305 { .. } | Self::TripleDesCbc { .. } => true,
        }
    }

    /// Whether a tag says that nobody changed the content: exactly these stand in AuthEnvelopedData, and exactly the
    /// others in EnvelopedData.
    #[must_use]
    pub const fn is_aead(&self) -> bool {
        matches!(self, Self::AesGcm { .. } | Self::ChaCha20Poly1305 { .. })
    }

    /// Whether it is read only where somebody asked for it.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        matches!(self, Self::TripleDesCbc { .. } | Self::Rc2Cbc { .. })
    }

    /// The key that id-alg-cek-hkdf-sha256 makes of a content-encryption key (RFC 9709 §2), which opens the content in its
    /// place. `inner` is the contentEncryptionAlgorithm that stands in the parameters of that identifier.
    pub fn derive_key(
        content_key: &Secret,
        inner: &AlgorithmIdentifier,
    ) -> Result<Secret, KeyError> {
        kdf::hkdf(
            DigestAlgorithm::Sha256,
            content_key,
            b"The Cryptographic Message Syntax",
            &inner.to_der(),
            content_key.len(),
        )
    }

    /// A cipher with a nonce or initialisation vector of its own, and a content-encryption key for it.
    /// [`KeyError::Failed`] where the library has no randomness.
    pub fn fresh(kind: ContentKind) -> Result<(Self, Secret), KeyError> {
        Ok(match kind {
            ContentKind::AesCbc(aes) => {
                let (iv, key) = random::array_and_secret(aes.key_len())?;
                (Self::AesCbc { aes, iv }, key)
            }
            ContentKind::AesGcm(aes) => {
                let (nonce, key) = random::array_and_secret::<12>(aes.key_len())?;
                let (nonce, tag_len) = (nonce.to_vec(), 16);
                let cipher = Self::AesGcm {
                    aes,
                    nonce,
                    tag_len,
                };
                (cipher, key)
            }
            ContentKind::ChaCha20Poly1305 => {
                let (nonce, key) = random::array_and_secret(CHACHA20_KEY_LEN)?;
                (Self::ChaCha20Poly1305 { nonce }, key)
            }
        })
    }
}

/// An OCTET STRING of exactly `N` octets.
fn octets<const N: usize>(parameters: &[u8]) -> Option<[u8; N]> {
    let mut reader = Reader::new(parameters);
    let octets = reader.octet_string().ok()?;
    reader.finish().ok()?;
    octets.try_into().ok()
}

/// GCMParameters (RFC 5084 §3.2).
fn gcm_parameters(parameters: &[u8]) -> Option<(Vec<u8>, u8)> {
    let mut outer = Reader::new(parameters);
    let mut reader = outer.sequence().ok()?;
    outer.finish().ok()?;
    let nonce = reader.octet_string().ok()?;
    // An explicit default is no DER, and senders write it.
    let tag_len = if reader.is_empty() {
        DEFAULT_TAG_LEN
    } else {
        u8::try_from(reader.small().ok()?).ok()?
    };
    reader.finish().ok()?;
    let good = NONCE_LENGTHS.contains(&nonce.len()) && TAG_LENGTHS.contains(&tag_len);
    good.then(|| (nonce.to_vec(), tag_len))
}

/// RC2CBCParameter (RFC 2268 §6, RFC 3370 §5.2).
fn rc2_parameters(parameters: &[u8]) -> Option<(u8, [u8; 8])> {
    let mut outer = Reader::new(parameters);
    let mut reader = outer.sequence().ok()?;
    outer.finish().ok()?;
    let version = reader.small().ok()?;
    let iv = reader.octet_string().ok()?.try_into().ok()?;
    reader.finish().ok()?;
    let (_, bits) = RC2_VERSIONS.iter().find(|(named, _)| *named == version)?;
    Some((*bits, iv))
}

fn oid_of(table: &[(Oid<'static>, Aes); 3], aes: Aes) -> Oid<'static> {
    let [(small, _), (middle, _), (large, _)] = table;
    match aes {
        Aes::Bits128 => *small,
        Aes::Bits192 => *middle,
        Aes::Bits256 => *large,
    }
}

/// Octets of a key (RFC 8103 §2).
const CHACHA20_KEY_LEN: usize = 32;
const DEFAULT_TAG_LEN: u8 = 12;
/// Octets of a tag (RFC 5084 §3.2). Shorter ones are guessed.
const TAG_LENGTHS: RangeInclusive<u8> = 12..=16;
/// Octets of a nonce. RFC 5084 §3.2 sets no bound; nobody writes more than a block.
const NONCE_LENGTHS: RangeInclusive<usize> = 1..=16;
const CBC: [(Oid<'static>, Aes); 3] = [
    (oid::AES128_CBC, Aes::Bits128),
    (oid::AES192_CBC, Aes::Bits192),
    (oid::AES256_CBC, Aes::Bits256),
];
const GCM: [(Oid<'static>, Aes); 3] = [
    (oid::AES128_GCM, Aes::Bits128),
    (oid::AES192_GCM, Aes::Bits192),
    (oid::AES256_GCM, Aes::Bits256),
];
/// rc2ParameterVersion and the effective bits that it stands for.
const RC2_VERSIONS: [(u32, u8); 3] = [(160, 40), (120, 64), (58, 128)];

#[cfg(test)]
mod tests {
    use crate::testing::hex;

    use super::*;

    #[test]
    fn every_cipher_survives_its_identifier() {
        let mut all = Vec::new();
        for aes in [Aes::Bits128, Aes::Bits192, Aes::Bits256] {
            all.push(ContentCipher::AesCbc { aes, iv: [1; 16] });
            for tag_len in TAG_LENGTHS {
                for nonce_len in NONCE_LENGTHS {
                    all.push(ContentCipher::AesGcm {
                        aes,
                        nonce: vec![2; nonce_len],
                        tag_len,
                    });
                }
            }
        }
        all.push(ContentCipher::ChaCha20Poly1305 { nonce: [3; 12] });
        all.push(ContentCipher::TripleDesCbc { iv: [4; 8] });
        for (_, effective_bits) in RC2_VERSIONS {
            all.push(ContentCipher::Rc2Cbc {
                effective_bits,
                iv: [5; 8],
            });
        }
        for cipher in all {
            let identifier = cipher.to_identifier();
            assert_eq!(ContentCipher::from_identifier(&identifier), Ok(cipher));
        }
    }

    /// DEC-03: a tag of one octet is guessed in 128 tries.
    #[test]
    fn parameters_out_of_bounds_do_not_read() {
        let nonce = write::octet_string(&[2; 12]);
        let gcm = |fields: &[Vec<u8>]| Some(write::seq(fields));
        let tag = |length: i64| gcm(&[nonce.clone(), write::integer(length)]);
        let iv = |length: usize| Some(write::octet_string(&vec![1; length]));
        let rc2 = |version: i64, length: usize| {
            let iv = write::octet_string(&vec![1; length]);
            Some(write::seq(&[write::integer(version), iv]))
        };
        let gcm_cases = [-1, 0, 1, 4, 8, 11, 17, 128, 65_552]
            .map(|length| (oid::AES256_GCM, tag(length)))
            .into_iter()
            .chain([
                (oid::AES128_GCM, None),
                (oid::AES128_GCM, Some(write::null())),
                (oid::AES128_GCM, Some(nonce.clone())),
                (oid::AES128_GCM, gcm(&[])),
                (oid::AES128_GCM, gcm(&[write::octet_string(b"")])),
                (oid::AES128_GCM, gcm(&[write::octet_string(&[1; 17])])),
                (
                    oid::AES192_GCM,
                    gcm(&[nonce.clone(), write::integer(16), write::null()]),
                ),
            ]);
        let others = [
            (oid::AES128_CBC, None),
            (oid::AES128_CBC, Some(write::null())),
            (oid::AES192_CBC, iv(15)),
            (oid::AES256_CBC, iv(17)),
            (oid::AES256_CBC, iv(0)),
            (oid::CHACHA20_POLY1305, None),
            (oid::CHACHA20_POLY1305, iv(8)),
            (oid::CHACHA20_POLY1305, iv(24)),
            (oid::DES_EDE3_CBC, iv(16)),
            (oid::DES_EDE3_CBC, None),
            (oid::RC2_CBC, iv(8)),
            (oid::RC2_CBC, rc2(58, 7)),
            (oid::RC2_CBC, rc2(0, 8)),
            (oid::RC2_CBC, rc2(256, 8)),
            (oid::RC2_CBC, rc2(-58, 8)),
        ];
        for (named, parameters) in gcm_cases.chain(others) {
            let identifier = AlgorithmIdentifier::new(named, parameters.as_deref());
            assert_eq!(
                ContentCipher::from_identifier(&identifier),
                Err(AlgorithmError::Parameters(named.to_buf())),
                "{identifier:?}"
            );
        }
        for named in [oid::AES256_WRAP, oid::RSA_ENCRYPTION, oid::CMS_DATA] {
            let identifier = AlgorithmIdentifier::new(named, None);
            assert_eq!(
                ContentCipher::from_identifier(&identifier),
                Err(AlgorithmError::Unsupported(named.to_buf()))
            );
        }
    }

    #[test]
    fn a_tag_of_twelve_octets_is_the_one_that_is_not_named() {
        let parameters = |explicit: bool| {
            let mut fields = vec![write::octet_string(&[2; 12])];
            fields.extend(explicit.then(|| write::integer(12)));
            write::seq(&fields)
        };
        for explicit in [false, true] {
            let named = AlgorithmIdentifier::new(oid::AES128_GCM, Some(&parameters(explicit)));
            let cipher = ContentCipher::from_identifier(&named).unwrap();
            assert_eq!(cipher.tag_len(), Some(12));
            assert_eq!(
                cipher.to_identifier().parameters(),
                Some(&parameters(false)[..])
            );
        }
    }

    /// RFC 9709 §A.1.
    #[test]
    fn a_derived_content_key_is_the_published_one() {
        let der = hex("301b0609608648016503040106300e040c5c79058ba2f43447639d29e2");
        let inner = AlgorithmIdentifier::from_der(&der).unwrap();
        let key = Secret::new(hex("c702e7d0a9e064b09ba55245fb733cf3"));
        let derived = ContentCipher::derive_key(&key, &inner).unwrap();
        assert_eq!(derived.expose(), hex("2124ffb29fac4e0fbbc7d5d87492bff3"));
        let other = ContentCipher::from_identifier(&inner).unwrap();
        assert_eq!(other.to_identifier(), inner);
        let cbc = ContentCipher::AesCbc {
            aes: Aes::Bits128,
            iv: [0; 16],
        };
        let other = ContentCipher::derive_key(&key, &cbc.to_identifier()).unwrap();
        assert!(other != derived, "the algorithm is part of the key");
    }

    #[test]
    fn aead_and_legacy_are_told_apart() {
        let kinds = |named: Oid<'_>, parameters: Vec<u8>| {
            let identifier = AlgorithmIdentifier::new(named, Some(&parameters));
            let cipher = ContentCipher::from_identifier(&identifier).unwrap();
            (cipher.is_aead(), cipher.is_legacy(), cipher.key_len())
        };
        let octets = |length: usize| write::octet_string(&vec![1; length]);
        let gcm = write::seq(&[octets(12)]);
        assert_eq!(kinds(oid::AES192_GCM, gcm), (true, false, 24));
        assert_eq!(kinds(oid::CHACHA20_POLY1305, octets(12)), (true, false, 32));
        assert_eq!(kinds(oid::AES128_CBC, octets(16)), (false, false, 16));
        assert_eq!(kinds(oid::DES_EDE3_CBC, octets(8)), (false, true, 24));
        let rc2 = write::seq(&[write::integer(160), octets(8)]);
        assert_eq!(kinds(oid::RC2_CBC, rc2), (false, true, 5));
    }
}
