//! Keys that sign.

use std::fmt;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{Reader, SEQUENCE, context_constructed, write};
use crate::oid;
use crate::pem;

use super::kem::{self, PrivateForm};
use super::ml_dsa;
use super::{KeyKind, MlDsa, MlKem, PublicKey, Secret, SignatureAlgorithm, raw};

/// Something that holds a private key and signs with it.
pub trait SigningKey: Send + Sync {
    /// Its public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`.
    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The algorithm that suits the key when nobody asks for another.
    fn default_algorithm(&self) -> SignatureAlgorithm {
        self.public_key().default_algorithm()
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with this many bits.
    Rsa(u16),
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// X25519.
    X25519,
    /// ML-KEM.
    MlKem(MlKem),
    /// ML-DSA.
    MlDsa(MlDsa),
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a private key that is known here.
    #[error("not a private key that can be used")]
    Malformed,
    /// The key does not work by this algorithm.
    #[error("the key does not work by this algorithm")]
    Unsupported,
    /// The library failed.
    #[error("the cryptographic library failed")]
    Failed,
    /// The key is somewhere else (in a token) and does not answer. That says nothing of what it was asked.
    #[error("the key is not at hand")]
    Unavailable,
}

/// A private key in memory.
pub struct SoftKey {
    private: raw::PrivateKey,
    public: PublicKey,
}

impl SoftKey {
    /// Makes a new key.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        Self::from_raw(raw::PrivateKey::generate(kind).ok_or(KeyError::Failed)?)
    }

    /// Reads PKCS#8 in DER. A key of ML-KEM or ML-DSA may be there as its seed, as what is made from that or as both,
    /// which then must be of one key (RFC 9935 §6, RFC 9881 §6).
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        if let Some((set, form)) = kem::private_key(bytes) {
            return Self::from_kem(set, &form);
        }
        if let Some((set, form)) = ml_dsa::private_key(bytes) {
            return Self::from_ml_dsa(set, &form);
        }
        if let Some((algorithm, inner)) = restricted_key(bytes) {
            // The library does mathematics with plain RSA keys only; what the key may do is in its public half.
            let mut key = Self::from_pkcs8(wrap_rsa(inner).expose())?;
            let bits = write::bit_string(key.public.bits());
            key.public = PublicKey::from_spki(&write::seq(&[algorithm.to_der(), bits]))
                .ok()
                .filter(|public| matches!(public.kind(), KeyKind::Rsa { .. }))
                .ok_or(KeyError::Malformed)?;
            return Ok(key);
        }
        let key = Self::from_raw(raw::PrivateKey::from_pkcs8(bytes).ok_or(KeyError::Malformed)?)?;
        match key.public.kind() {
            // Those have been read, in each of their forms.
            KeyKind::MlDsa(_) => Err(KeyError::Malformed),
            _ => Ok(key),
        }
    }

    /// Reads a key file: PKCS#8 in DER or PEM, or the older `RSA PRIVATE KEY` and `EC PRIVATE KEY` in PEM.
    /// Other blocks beside the key are passed over.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem::decode(bytes).map_err(|_| KeyError::Malformed)?;
        if blocks.is_empty() {
            return Self::from_pkcs8(bytes);
        }
        for block in blocks {
            let bytes = Secret::new(block.bytes);
            let wrapped = match block.label.as_str() {
                "PRIVATE KEY" => bytes,
                "RSA PRIVATE KEY" => wrap_rsa(bytes.expose()),
                "EC PRIVATE KEY" => wrap_ec(bytes.expose()).ok_or(KeyError::Malformed)?,
                _ => continue,
            };
            return Self::from_pkcs8(wrapped.expose());
        }
        Err(KeyError::Malformed)
    }

    /// Writes PKCS#8 in DER; a key of id-RSASSA-PSS or id-RSAES-OAEP becomes one of rsaEncryption.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        if let Some(written) = self.private.to_pkcs8() {
            return Ok(written);
        }
        // The library writes a key of ML-DSA as its seed; where nobody knows it, what was made from it stands there.
        let KeyKind::MlDsa(set) = self.public.kind() else {
            return Err(KeyError::Failed);
        };
        let private = self.private.ml_dsa_private(*set).ok_or(KeyError::Failed)?;
        let algorithm = AlgorithmIdentifier::new(set.oid(), None).to_der();
        let inner = Secret::new(write::octet_string(private.expose()));
        Ok(write::seq(&[
            write::integer(0),
            algorithm,
            write::octet_string(inner.expose()),
        ]))
    }

    /// The private half, for what it does in opening.
    pub(super) const fn private(&self) -> &raw::PrivateKey {
        &self.private
    }

    /// The decapsulation key, for tests of the forms in which it is written.
    #[cfg(test)]
    pub(super) fn kem_private(&self, set: MlKem) -> Option<Secret> {
        self.private.kem_private(set)
    }

    /// The expanded key, for tests of the forms in which it is written.
    #[cfg(test)]
    pub(super) fn ml_dsa_private(&self, set: MlDsa) -> Option<Secret> {
        self.private.ml_dsa_private(set)
    }

    fn from_ml_dsa(set: MlDsa, form: &PrivateForm<'_>) -> Result<Self, KeyError> {
        let of_seed = |seed: &[u8]| match seed.len() {
            ml_dsa::SEED_LEN => raw::PrivateKey::from_ml_dsa(set, seed),
            _ => None,
        };
        let private = match form {
            PrivateForm::Seed(seed) => of_seed(seed),
            PrivateForm::Expanded(expanded) if expanded.len() == set.private_len() => {
                raw::PrivateKey::from_ml_dsa(set, expanded)
            }
            PrivateForm::Expanded(_) => None,
            PrivateForm::Both { seed, expanded } => of_seed(seed).filter(|key| {
                let made = key.ml_dsa_private(set);
                made.is_some_and(|made| made == Secret::new(expanded.to_vec()))
            }),
        };
        Self::from_raw(private.ok_or(KeyError::Malformed)?)
    }

    fn from_kem(set: MlKem, form: &PrivateForm<'_>) -> Result<Self, KeyError> {
        let private = match form {
            PrivateForm::Seed(seed) => raw::PrivateKey::from_kem_seed(set, seed),
            PrivateForm::Expanded(expanded) => raw::PrivateKey::from_kem(set, expanded),
            PrivateForm::Both { seed, expanded } => raw::PrivateKey::from_kem_seed(set, seed)
                .filter(|key| {
                    let made = key.kem_private(set);
                    made.is_some_and(|made| made == Secret::new(expanded.to_vec()))
                }),
        };
        Self::from_raw(private.ok_or(KeyError::Malformed)?)
    }

    fn from_raw(private: raw::PrivateKey) -> Result<Self, KeyError> {
        let spki = private.to_spki().ok_or(KeyError::Failed)?;
        let public = PublicKey::from_spki(&spki).map_err(|_| KeyError::Malformed)?;
        if matches!(public.kind(), KeyKind::Unsupported(_)) {
            return Err(KeyError::Malformed);
        }
        Ok(Self { private, public })
    }
}

impl SigningKey for SoftKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let digest = algorithm.digest().digest(message);
        let digest = digest.as_ref();
        let private = &self.private;
        let signed = match (self.public.kind(), algorithm) {
            // A key that says OAEP is for that alone.
            _ if self.public.oaep().is_some() => return Err(KeyError::Unsupported),
            (KeyKind::Rsa { .. }, SignatureAlgorithm::RsaPkcs1(named)) => {
                private.sign_rsa_pkcs1(named, digest)
            }
            (
                KeyKind::Rsa { .. },
                SignatureAlgorithm::RsaPss {
                    digest: named,
                    mgf,
                    salt_len,
                },
            ) => private.sign_rsa_pss((named, mgf, salt_len), digest),
            (KeyKind::Ec(_), SignatureAlgorithm::Ecdsa(_)) => private.sign_ecdsa(digest),
            (KeyKind::Ed25519, SignatureAlgorithm::Ed25519) => private.sign_ed25519(message),
            (KeyKind::MlDsa(set), SignatureAlgorithm::MlDsa(named)) if *set == named => {
                private.sign_ml_dsa(named, message)
            }
            _ => return Err(KeyError::Unsupported),
        };
        signed.ok_or(KeyError::Failed)
    }
}

/// Shows what kind of key it is and nothing of the key.
impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey")
            .field("kind", self.public.kind())
            .finish_non_exhaustive()
    }
}

/// The algorithm and the RSAPrivateKey of a PKCS#8 whose algorithm says what the RSA key is for and nothing else:
/// id-RSASSA-PSS or id-RSAES-OAEP.
fn restricted_key(bytes: &[u8]) -> Option<(AlgorithmIdentifier, &[u8])> {
    let mut reader = Reader::new(bytes).sequence().ok()?;
    reader.small().ok()?;
    let algorithm = AlgorithmIdentifier::read(&mut reader).ok()?;
    let inner = reader.octet_string().ok()?;
    matches!(algorithm.oid(), oid::RSASSA_PSS | oid::RSAES_OAEP).then_some((algorithm, inner))
}

/// PKCS#8 around an RSAPrivateKey of RFC 8017.
fn wrap_rsa(bytes: &[u8]) -> Secret {
    let algorithm = write::seq(&[write::oid(oid::RSA_ENCRYPTION), write::null()]);
    wrap(&algorithm, bytes)
}

/// PKCS#8 around an ECPrivateKey of RFC 5915, which names its curve itself.
fn wrap_ec(bytes: &[u8]) -> Option<Secret> {
    let mut reader = Reader::new(bytes).sequence().ok()?;
    reader.small().ok()?;
    reader.octet_string().ok()?;
    let curve = reader.optional(context_constructed(0)).ok()??;
    let algorithm = write::seq(&[write::oid(oid::EC_PUBLIC_KEY), curve.content.to_vec()]);
    Some(wrap(&algorithm, bytes))
}

/// PKCS#8 around a private key; no copy of it stays behind.
fn wrap(algorithm: &[u8], private: &[u8]) -> Secret {
    let private = Secret::new(write::octet_string(private));
    let version = write::integer(0);
    // With all its room from the beginning, so that it never moves.
    let room = version.len() + algorithm.len() + private.len();
    let mut content = Vec::with_capacity(room);
    for part in [version.as_slice(), algorithm, private.expose()] {
        content.extend_from_slice(part);
    }
    let content = Secret::new(content);
    Secret::new(write::element(SEQUENCE, content.expose()))
}
