//! The content-encryption key as it is wrapped for one recipient.
//! <https://www.rfc-editor.org/rfc/rfc5652#section-6.2>

use crate::algorithm::AlgorithmIdentifier;
use crate::oid::{self, Oid};

use super::{
    Aes, AlgorithmError, DecryptionKey, DigestAlgorithm, KeyError, OpenError, PublicKey,
    RejectionSecret, Secret,
};

/// How a content-encryption key is wrapped: the algorithms with their parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// RSAES-PKCS1-v1_5 (RFC 3370 §4.2.1).
    RsaPkcs1,
    /// RSAES-OAEP (RFC 3560, RFC 4055 §4.1).
    RsaOaep {
        /// Of the label.
        digest: DigestAlgorithm,
        /// Of the mask generation function MGF1.
        mgf: DigestAlgorithm,
        /// The octets of pSpecified, mostly none.
        label: Vec<u8>,
    },
    /// Diffie-Hellman with a key that the sender made for it (RFC 5753, RFC 8418).
    Agreement {
        /// Makes the key-encryption key.
        kdf: Kdf,
        /// Wraps the content-encryption key.
        wrap: KeyWrap,
        /// The DER of ECC-CMS-SharedInfo (RFC 5753 §7.2).
        shared_info: Vec<u8>,
    },
    /// A key encapsulation (RFC 9629).
    Kem {
        /// Makes the key-encryption key: HKDF.
        kdf: Kdf,
        /// Wraps the content-encryption key.
        wrap: KeyWrap,
        /// The DER of CMSORIforKEMOtherInfo (RFC 9629 §5).
        info: Vec<u8>,
    },
}

/// The content-encryption key of one recipient, wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wrapped {
    /// How.
    pub wrapping: Wrapping,
    /// The encryptedKey.
    pub encrypted_key: Vec<u8>,
    /// With [`Wrapping::Agreement`] the sender's public key (the octets of its subjectPublicKey), with
    /// [`Wrapping::Kem`] the kemct; empty otherwise.
    pub peer: Vec<u8>,
}

/// A key derivation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kdf {
    /// That of ANSI X9.63 (RFC 5753).
    X963(DigestAlgorithm),
    /// HKDF without salt (RFC 5869, RFC 8418, RFC 8619).
    Hkdf(DigestAlgorithm),
}

/// A key-wrap algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyWrap {
    /// AES key wrap (RFC 3394, RFC 3565 §2.3.2).
    Aes(Aes),
    /// Triple-DES key wrap (RFC 3217 §3). Legacy: read, never written.
    TripleDes,
}

impl Wrapping {
    /// How a KeyTransRecipientInfo wraps, by its keyEncryptionAlgorithm. What says OAEP is OAEP and nothing else; its
    /// parameters have their defaults where they are absent (RFC 4055 §4.1).
    pub fn from_key_transport(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        Err(AlgorithmError::Unsupported(identifier.oid().to_buf()))
    }

    /// The keyEncryptionAlgorithm of a KeyTransRecipientInfo. Nothing for the other kinds, which name their
    /// algorithms by [`Kdf::agreement_oid`], [`Kdf::to_hkdf_identifier`] and [`KeyWrap::to_identifier`].
    #[must_use]
    pub fn to_key_transport(&self) -> Option<AlgorithmIdentifier> {
        None
    }
}

impl Wrapped {
    /// The content-encryption key: `length` octets.
    ///
    /// RSAES-PKCS1-v1_5 does not fail for what the padding holds. In place of what does not fit comes a key that is
    /// made from the rejection secret and the ciphertext, in the same time; what it opens to is nothing that anybody
    /// can use, and nobody learns which of the two it was (RFC 3218 §2.3.2). All else that fails is one error.
    pub fn unwrap(
        &self,
        key: &dyn DecryptionKey,
        rejection: &RejectionSecret,
        length: usize,
    ) -> Result<Secret, OpenError> {
        let _ = (key, rejection, length);
        Err(OpenError)
    }

    /// Wraps a content-encryption key for the holder of a public key. [`KeyError::Unsupported`] where the key does not
    /// do that, or the wrapping is one that is read only.
    pub fn wrap(wrapping: Wrapping, to: &PublicKey, key: &Secret) -> Result<Self, KeyError> {
        let _ = (wrapping, to, key);
        Err(KeyError::Unsupported)
    }
}

impl Kdf {
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

impl KeyWrap {
    /// By a KeyWrapAlgorithm. AES has no parameters (RFC 3565 §2.3.2), and some senders write NULL.
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let Some((_, wrap)) = BY_WRAP.iter().find(|(oid, _)| *oid == named) else {
            return Err(AlgorithmError::Unsupported(named.to_buf()));
        };
        if identifier.has_no_parameters() {
            Ok(*wrap)
        } else {
            Err(AlgorithmError::Parameters(named.to_buf()))
        }
    }

    /// The KeyWrapAlgorithm.
    #[must_use]
    pub fn to_identifier(self) -> AlgorithmIdentifier {
        match self {
            Self::Aes(Aes::Bits128) => AlgorithmIdentifier::new(oid::AES128_WRAP, None),
            Self::Aes(Aes::Bits192) => AlgorithmIdentifier::new(oid::AES192_WRAP, None),
            Self::Aes(Aes::Bits256) => AlgorithmIdentifier::new(oid::AES256_WRAP, None),
            Self::TripleDes => {
                AlgorithmIdentifier::new(oid::TRIPLE_DES_WRAP, Some(&crate::der::write::null()))
            }
        }
    }

    /// Octets of the key-encryption key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes(aes) => aes.key_len(),
            Self::TripleDes => 24,
        }
    }

    /// Whether it is read only where somebody asked for it.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::TripleDes)
    }
}

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
const BY_WRAP: [(Oid<'static>, KeyWrap); 4] = [
    (oid::AES128_WRAP, KeyWrap::Aes(Aes::Bits128)),
    (oid::AES192_WRAP, KeyWrap::Aes(Aes::Bits192)),
    (oid::AES256_WRAP, KeyWrap::Aes(Aes::Bits256)),
    (oid::TRIPLE_DES_WRAP, KeyWrap::TripleDes),
];
