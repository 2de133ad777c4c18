//! The content-encryption key as it is wrapped for one recipient.
//! <https://www.rfc-editor.org/rfc/rfc5652#section-6.2>

use crate::algorithm::AlgorithmIdentifier;
use crate::der::write;
use crate::oid;

use super::{
    AlgorithmError, Curve, DecryptionKey, Kdf, KeyError, KeyKind, KeyType, KeyWrap, OaepParameters,
    OpenError, PublicKey, RejectionSecret, Secret, SoftKey, raw, rsaes,
};

/// How a content-encryption key is wrapped: the algorithms with their parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// RSAES-PKCS1-v1_5 (RFC 3370 §4.2.1).
    RsaPkcs1,
    /// RSAES-OAEP (RFC 3560, RFC 4055 §4.1).
    RsaOaep(OaepParameters),
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

impl Wrapping {
    /// How a KeyTransRecipientInfo wraps, by its keyEncryptionAlgorithm. What says OAEP is OAEP and nothing else, and its
    /// parameters must be there (RFC 4055 §4.1).
    pub fn from_key_transport(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let bad = || AlgorithmError::Parameters(named.to_buf());
        match named {
            oid::RSA_ENCRYPTION if identifier.has_no_parameters() => Ok(Self::RsaPkcs1),
            oid::RSA_ENCRYPTION => Err(bad()),
            oid::RSAES_OAEP => {
                let parameters = identifier.parameters().ok_or_else(bad)?;
                OaepParameters::from_der(parameters).map(Self::RsaOaep)
            }
            _ => Err(AlgorithmError::Unsupported(named.to_buf())),
        }
    }

    /// The keyEncryptionAlgorithm of a KeyTransRecipientInfo. Nothing for the other kinds, which name their
    /// algorithms by [`Kdf::agreement_oid`], [`Kdf::to_hkdf_identifier`] and [`KeyWrap::to_identifier`].
    #[must_use]
    pub fn to_key_transport(&self) -> Option<AlgorithmIdentifier> {
        Some(match self {
            Self::RsaPkcs1 => AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, Some(&write::null())),
            Self::RsaOaep(parameters) => {
                AlgorithmIdentifier::new(oid::RSAES_OAEP, Some(&parameters.to_der()))
            }
            Self::Agreement { .. } | Self::Kem { .. } => return None,
        })
    }

    /// Whether it is read only where somebody asked for it.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        match self {
            Self::Agreement { wrap, .. } | Self::Kem { wrap, .. } => wrap.is_legacy(),
            Self::RsaPkcs1 | Self::RsaOaep(_) => false,
        }
    }

    /// Whether what it unwraps is what somebody wrapped, or an error. RSAES-PKCS1-v1_5 makes a key of its own in place of
    /// an error.
    #[must_use]
    pub const fn proves_its_key(&self) -> bool {
        !matches!(self, Self::RsaPkcs1)
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
        match &self.wrapping {
            Wrapping::RsaPkcs1 => self.unwrap_pkcs1(key, rejection, length),
            Wrapping::RsaOaep(parameters) => {
                let rsa = key.public().rsa_for_encryption().ok_or(OpenError)?;
                if !is_ciphertext(&self.encrypted_key, rsa.modulus()) {
                    return Err(OpenError);
                }
                let block = raw_block(key, &self.encrypted_key)?;
                rsaes::oaep(&block, parameters, length).ok_or(OpenError)
            }
            Wrapping::Agreement {
                kdf,
                wrap,
                shared_info,
            } => {
                let shared = key.agree(&self.peer).map_err(|_| OpenError)?;
                self.unwrap_under(*kdf, *wrap, &shared, shared_info, length)
            }
            Wrapping::Kem { kdf, wrap, info } => {
                let shared = key.decapsulate(&self.peer).map_err(|_| OpenError)?;
                self.unwrap_under(*kdf, *wrap, &shared, info, length)
            }
        }
    }

    /// Wraps a content-encryption key for the holder of a public key. [`KeyError::Unsupported`] where the key does not
    /// do that, or the wrapping is one that is read only.
    pub fn wrap(wrapping: Wrapping, to: &PublicKey, key: &Secret) -> Result<Self, KeyError> {
        let (encrypted_key, peer) = match &wrapping {
            // A key that says OAEP is for OAEP, and by its own parameters.
            Wrapping::RsaPkcs1 if to.oaep().is_some() => return Err(KeyError::Unsupported),
            Wrapping::RsaOaep(parameters)
                if !parameters.is_supported()
                    || to.oaep().is_some_and(|wanted| wanted != parameters) =>
            {
                return Err(KeyError::Unsupported);
            }
            Wrapping::RsaPkcs1 => {
                let rsa = to.rsa_for_encryption().ok_or(KeyError::Unsupported)?;
                let rsa = rsa.key().ok_or(KeyError::Failed)?;
                let block = rsaes::pkcs1(key, rsa.size().unwrap_or_default())?;
                let made = rsa.encrypt(block.expose());
                (made.ok_or(KeyError::Failed)?, Vec::new())
            }
            Wrapping::RsaOaep(parameters) => {
                let rsa = to.rsa_for_encryption().ok_or(KeyError::Unsupported)?;
                let made = rsa.key();
                let made = made.and_then(|rsa| rsa.encrypt_oaep(parameters, key.expose()));
                (made.ok_or(KeyError::Failed)?, Vec::new())
            }
            Wrapping::Agreement {
                kdf,
                wrap,
                shared_info,
            } => {
                let own = SoftKey::generate(same_group(to)?)?;
                let shared = own.agree(to.bits())?;
                let kek = kdf.derive(&shared, shared_info, wrap.key_len())?;
                (wrap.wrap(&kek, key)?, own.public().bits().to_vec())
            }
            Wrapping::Kem { kdf, wrap, info } => {
                let KeyKind::MlKem(set) = to.kind() else {
                    return Err(KeyError::Unsupported);
                };
                let (ciphertext, shared) =
                    raw::encapsulate(*set, to.bits()).ok_or(KeyError::Failed)?;
                let kek = kdf.derive(&shared, info, wrap.key_len())?;
                (wrap.wrap(&kek, key)?, ciphertext)
            }
        };
        Ok(Self {
            wrapping,
            encrypted_key,
            peer,
        })
    }

    fn unwrap_pkcs1(
        &self,
        key: &dyn DecryptionKey,
        rejection: &RejectionSecret,
        length: usize,
    ) -> Result<Secret, OpenError> {
        let public = key.public();
        let modulus = public.rsa_for_encryption().ok_or(OpenError)?.modulus();
        if public.oaep().is_some() {
            return Err(OpenError);
        }
        let instead = rejection.key(&self.encrypted_key, length);
        let instead = instead.map_err(|_| OpenError)?;
        // What is no ciphertext of this key is seen by everybody; it costs the same work all the same.
        let usable = is_ciphertext(&self.encrypted_key, modulus);
        let block = if usable {
            raw_block(key, &self.encrypted_key)?
        } else {
            let mut two = vec![0; modulus.len()];
            if let Some(last) = two.last_mut() {
                *last = 2;
            }
            raw_block(key, &two)?
        };
        if block.len() != modulus.len() {
            return Err(OpenError);
        }
        Ok(rsaes::pkcs1_or(&block, usable, &instead))
    }

    fn unwrap_under(
        &self,
        kdf: Kdf,
        wrap: KeyWrap,
        shared: &Secret,
        info: &[u8],
        length: usize,
    ) -> Result<Secret, OpenError> {
        let kek = kdf.derive(shared, info, wrap.key_len());
        wrap.unwrap(&kek.map_err(|_| OpenError)?, &self.encrypted_key, length)
    }
}

fn raw_block(key: &dyn DecryptionKey, ciphertext: &[u8]) -> Result<Secret, OpenError> {
    key.rsa_raw(ciphertext).map_err(|_| OpenError)
}

/// Whether octets are as many as those of the modulus, and a number that is neither 0 nor 1 nor the modulus less 1, whose
/// powers are themselves, nor above that.
fn is_ciphertext(octets: &[u8], modulus: &[u8]) -> bool {
    // The modulus is odd.
    let mut bound = modulus.to_vec();
    if let Some(last) = bound.last_mut() {
        *last &= 0xfe;
    }
    let above_one = octets
        .split_last()
        .is_some_and(|(last, rest)| *last > 1 || rest.iter().any(|octet| *octet != 0));
    octets.len() == modulus.len() && above_one && octets < bound.as_slice()
}

/// What to generate so that it agrees with this key.
fn same_group(key: &PublicKey) -> Result<KeyType, KeyError> {
    match key.kind() {
        KeyKind::Ec(Curve::P256) => Ok(KeyType::P256),
        KeyKind::Ec(Curve::P384) => Ok(KeyType::P384),
        KeyKind::Ec(Curve::P521) => Ok(KeyType::P521),
        KeyKind::X25519 => Ok(KeyType::X25519),
        _ => Err(KeyError::Unsupported),
    }
}

#[cfg(test)]
mod tests;
