//! Public keys and verification. Sizes and forms are checked before any mathematics.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.7>

use std::sync::Arc;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{DerError, Reader};
use crate::oid::{self, Oid, OidBuf};

use super::dsa::DsaParameters;
use super::rsa::RsaNumbers;
use super::signature::PssParameters;
use super::{
    Curve, Digest, DigestAlgorithm, Digester, MlDsa, MlKem, OaepParameters, SignatureAlgorithm, raw,
};

/// The public key of a SubjectPublicKeyInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Box<[u8]>,
    /// SHA-256 of `spki`.
    id: Digest,
    /// The content of subjectPublicKey.
    bits: Box<[u8]>,
    kind: KeyKind,
    material: Material,
}

/// What kind of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, of rsaEncryption, id-RSASSA-PSS or id-RSAES-OAEP.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
    /// An elliptic curve.
    Ec(Curve),
    /// DSA, for judging old paths only.
    Dsa {
        /// Bits of p; `None` where the parameters are those of the issuer's key (RFC 3279 §2.3.2).
        bits: Option<u32>,
    },
    /// Ed25519.
    Ed25519,
    /// X25519 (RFC 8410): agrees on keys, and signs nothing.
    X25519,
    /// ML-KEM (RFC 9935): encapsulates keys, and signs nothing.
    MlKem(MlKem),
    /// ML-DSA (RFC 9881).
    MlDsa(MlDsa),
    /// Another algorithm, or one of these in a form that cannot be used.
    Unsupported(OidBuf),
}

/// Why a signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The mathematics says no.
    #[error("signature does not verify")]
    BadSignature,
    /// The key cannot have made a signature by this algorithm.
    #[error("key and signature algorithm do not belong together")]
    Mismatch,
    /// The key has a size or form that is refused before any mathematics.
    #[error("key is out of bounds")]
    BadKey,
    /// Key or algorithm is not supported.
    #[error("unsupported algorithm")]
    Unsupported,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER. An algorithm or key that cannot be used is a kind, not an error.
    pub fn from_spki(bytes: &[u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        let algorithm = AlgorithmIdentifier::read(&mut reader)?;
        let bits = reader.bit_string()?.octets()?;
        reader.finish()?;
        let (kind, material) = Material::read(&algorithm, bits).unwrap_or_else(|| {
            (
                KeyKind::Unsupported(algorithm.oid().to_buf()),
                Material::Opaque,
            )
        });
        Ok(Self {
            spki: bytes.into(),
            id: DigestAlgorithm::Sha256.digest(bytes),
            bits: bits.into(),
            kind,
            material,
        })
    }

    /// What kind of key.
    #[must_use]
    pub const fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo: two keys are one exactly if these are equal.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// The content of subjectPublicKey: what a key identifier of RFC 5280 §4.2.1.2 is made from.
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The key's algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Oid<'_> {
        match &self.kind {
            KeyKind::Rsa { .. } => match &self.material {
                Material::Rsa { pss_only: true, .. } => oid::RSASSA_PSS,
                Material::Rsa { oaep: Some(_), .. } => oid::RSAES_OAEP,
                _ => oid::RSA_ENCRYPTION,
            },
            KeyKind::Ec(_) => oid::EC_PUBLIC_KEY,
            KeyKind::Dsa { .. } => oid::DSA,
            KeyKind::Ed25519 => oid::ED25519,
            KeyKind::X25519 => oid::X25519,
            KeyKind::MlKem(set) => set.oid(),
            KeyKind::MlDsa(set) => set.oid(),
            KeyKind::Unsupported(oid) => oid.as_oid(),
        }
    }

    /// The parameters of a key that encrypts by OAEP and does nothing else (RFC 4055 §4); SHA-256 where such a key names
    /// none. Nothing for all other keys.
    #[must_use]
    pub const fn oaep(&self) -> Option<&OaepParameters> {
        match &self.material {
            Material::Rsa { oaep, .. } => oaep.as_ref(),
            _ => None,
        }
    }

    /// Modulus and exponent of an RSA key, whatever they are.
    pub(super) fn rsa_numbers(&self) -> Option<&RsaNumbers> {
        match &self.material {
            Material::Rsa { numbers, .. } => Some(numbers),
            _ => None,
        }
    }

    /// Modulus and exponent of an RSA key that may encrypt. `None` where it is another key, one for signatures only, or
    /// out of bounds.
    pub(super) fn rsa_for_encryption(&self) -> Option<&RsaNumbers> {
        match &self.material {
            Material::Rsa {
                numbers,
                pss_only: false,
                ..
            } => numbers.are_in_bounds().then_some(&**numbers),
            _ => None,
        }
    }

    /// Whether the key lacks what it inherits from the key of its issuer.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        matches!(
            self.material,
            Material::Dsa {
                parameters: None,
                ..
            }
        )
    }

    /// An incomplete key with the parameters of its issuer's key (RFC 5280 §6.1.4 (f)); a key of its own
    /// identity, since with other parameters it is another key. `None` where there is nothing to inherit.
    #[must_use]
    pub fn inheriting(&self, issuer: &Self) -> Option<Self> {
        let (
            Material::Dsa {
                parameters: None,
                public,
            },
            Material::Dsa {
                parameters: Some(parameters),
                ..
            },
        ) = (&self.material, &issuer.material)
        else {
            return None;
        };
        let identity = [&*self.spki, &*parameters.p, &*parameters.q, &*parameters.g];
        let mut digester = Digester::new(DigestAlgorithm::Sha256);
        for piece in identity {
            digester.update(&u64::try_from(piece.len()).unwrap_or(u64::MAX).to_be_bytes());
            digester.update(piece);
        }
        Some(Self {
            id: digester.finish(),
            kind: KeyKind::Dsa {
                bits: Some(bit_length(&parameters.p)),
            },
            material: Material::Dsa {
                parameters: Some(parameters.clone()),
                public: public.clone(),
            },
            ..self.clone()
        })
    }

    /// The algorithm by which its private half signs when nobody asks for another. A key with a restriction (RFC 4055
    /// §1.2) signs by what that says, and with a salt that is no shorter (§3.1).
    #[must_use]
    pub fn default_algorithm(&self) -> SignatureAlgorithm {
        match self.kind() {
            KeyKind::Rsa { .. } if self.algorithm() == oid::RSASSA_PSS => {
                let wanted = self.restriction().filter(|wanted| wanted.is_for_signing());
                let digest = wanted.map_or(DigestAlgorithm::Sha256, |wanted| wanted.digest);
                let salt_len = u32::try_from(digest.size()).unwrap_or_default();
                SignatureAlgorithm::RsaPss {
                    digest,
                    mgf: digest,
                    salt_len: wanted.map_or(salt_len, |wanted| wanted.salt_len.max(salt_len)),
                }
            }
            // The last of these sign by nothing.
            KeyKind::Rsa { .. }
            | KeyKind::Dsa { .. }
            | KeyKind::X25519
            | KeyKind::MlKem(_)
            | KeyKind::Unsupported(_) => SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            KeyKind::Ec(Curve::P256) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            KeyKind::Ec(Curve::P384) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384),
            KeyKind::Ec(Curve::P521) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha512),
            KeyKind::Ed25519 => SignatureAlgorithm::Ed25519,
            KeyKind::MlDsa(set) => SignatureAlgorithm::MlDsa(*set),
        }
    }

    /// What an RSA key says of the signatures that are made with it.
    pub(super) const fn restriction(&self) -> Option<PssParameters> {
        match &self.material {
            Material::Rsa { restriction, .. } => *restriction,
            _ => None,
        }
    }

    /// Verifies a signature of `message`.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        self.admits(algorithm)?;
        outcome(match &self.material {
            Material::Ed25519(public) => Some(
                <&[u8; 64]>::try_from(signature)
                    .is_ok_and(|signature| raw::verify_ed25519(public, message, signature)),
            ),
            Material::MlDsa(set) => raw::verify_ml_dsa(*set, &self.bits, message, signature),
            _ => {
                let digest = algorithm.digest().digest(message);
                return self.verify_digest(algorithm, digest.as_ref(), signature);
            }
        })
    }

    /// Verifies a signature of a message whose digest (by the algorithm's own digest) is known.
    /// Ed25519 and ML-DSA sign messages and not digests: [`VerifyError::Unsupported`].
    pub fn verify_digest(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        self.admits(algorithm)?;
        if digest.len() != algorithm.digest().size() {
            return Err(VerifyError::BadSignature);
        }
        outcome(match (&self.material, algorithm) {
            (Material::Rsa { numbers, .. }, SignatureAlgorithm::RsaPkcs1(named)) => {
                let key = numbers.key();
                key.map(|key| key.verify_pkcs1(named, digest, signature))
            }
            (
                Material::Rsa { numbers, .. },
                SignatureAlgorithm::RsaPss {
                    digest: named,
                    mgf,
                    salt_len,
                },
            ) => {
                let key = numbers.key();
                key.map(|key| key.verify_pss((named, mgf, salt_len), digest, signature))
            }
            (Material::Ec(curve), SignatureAlgorithm::Ecdsa(_)) => {
                raw::verify_ecdsa(*curve, &self.bits, digest, signature)
            }
            (
                Material::Dsa {
                    parameters: Some(parameters),
                    public,
                },
                SignatureAlgorithm::Dsa(_),
            ) => {
                let DsaParameters { p, q, g } = parameters;
                raw::verify_dsa((p, q, g), public, digest, signature)
            }
            _ => return Err(VerifyError::Unsupported),
        })
    }

    /// Whether a signature by this algorithm may be checked with this key at all.
    fn admits(&self, algorithm: SignatureAlgorithm) -> Result<(), VerifyError> {
        match (&self.material, algorithm) {
            (Material::Opaque, _) => Err(VerifyError::Unsupported),
            (
                Material::Rsa {
                    numbers,
                    pss_only,
                    restriction,
                    oaep,
                },
                SignatureAlgorithm::RsaPkcs1(_) | SignatureAlgorithm::RsaPss { .. },
            ) => {
                if !numbers.are_in_bounds() {
                    return Err(VerifyError::BadKey);
                }
                if oaep.is_some() {
                    return Err(VerifyError::Mismatch);
                }
                let mut weak = algorithm.digest() == DigestAlgorithm::Md5;
                if let SignatureAlgorithm::RsaPss {
                    digest,
                    mgf,
                    salt_len,
                } = algorithm
                {
                    weak |= mgf == DigestAlgorithm::Md5;
                    // RFC 4055 §3.1: the same digests, and a salt that is no shorter.
                    if restriction.is_some_and(|r| {
                        r.digest != digest || r.mgf != mgf || r.salt_len > salt_len
                    }) {
                        return Err(VerifyError::Mismatch);
                    }
                } else if *pss_only {
                    return Err(VerifyError::Mismatch);
                }
                if weak {
                    Err(VerifyError::Unsupported)
                } else {
                    Ok(())
                }
            }
            (Material::Ec(_), SignatureAlgorithm::Ecdsa(DigestAlgorithm::Md5)) => {
                Err(VerifyError::Unsupported)
            }
            (
                Material::Dsa {
                    parameters: Some(parameters),
                    public,
                },
                SignatureAlgorithm::Dsa(_),
            ) => {
                if parameters.in_bounds(public) {
                    Ok(())
                } else {
                    Err(VerifyError::BadKey)
                }
            }
            // Which parameters it has is not known.
            (
                Material::Dsa {
                    parameters: None, ..
                },
                SignatureAlgorithm::Dsa(_),
            ) => Err(VerifyError::Unsupported),
            (Material::Ec(_), SignatureAlgorithm::Ecdsa(_))
            | (Material::Ed25519(_), SignatureAlgorithm::Ed25519) => Ok(()),
            (Material::MlDsa(set), SignatureAlgorithm::MlDsa(named)) if *set == named => Ok(()),
            _ => Err(VerifyError::Mismatch),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        /// Shared by all copies, so that what is made of them is made once.
        numbers: Arc<RsaNumbers>,
        pss_only: bool,
        restriction: Option<PssParameters>,
        /// A key that encrypts by OAEP and does nothing else, with the parameters that it asks for.
        oaep: Option<OaepParameters>,
    },
    Ec(Curve),
    Dsa {
        parameters: Option<DsaParameters>,
        /// y, without leading zeros.
        public: Box<[u8]>,
    },
    Ed25519([u8; 32]),
    /// The key is the content of subjectPublicKey.
    MlDsa(MlDsa),
    /// No signature is verified with it.
    Opaque,
}

impl Material {
    fn read(algorithm: &AlgorithmIdentifier, bits: &[u8]) -> Option<(KeyKind, Self)> {
        match algorithm.oid() {
            named @ (oid::RSA_ENCRYPTION | oid::RSASSA_PSS | oid::RSAES_OAEP) => {
                let pss_only = named == oid::RSASSA_PSS;
                let oaep = match algorithm.parameters() {
                    _ if named != oid::RSAES_OAEP => None,
                    Some(parameters) => Some(OaepParameters::from_der(parameters).ok()?),
                    None => Some(OaepParameters::new(DigestAlgorithm::Sha256)),
                };
                let restriction = match algorithm.parameters() {
                    Some(parameters) if pss_only => {
                        Some(PssParameters::read(parameters).ok()?.ok()?)
                    }
                    _ if pss_only || oaep.is_some() || algorithm.has_no_parameters() => None,
                    _ => return None,
                };
                let mut outer = Reader::new(bits);
                let mut reader = outer.sequence().ok()?;
                let (modulus, exponent) = (reader.unsigned().ok()?, reader.unsigned().ok()?);
                reader.finish().ok()?;
                outer.finish().ok()?;
                let kind = KeyKind::Rsa {
                    bits: bit_length(modulus),
                };
                Some((
                    kind,
                    Self::Rsa {
                        numbers: Arc::new(RsaNumbers::new(modulus, exponent)),
                        pss_only,
                        restriction,
                        oaep,
                    },
                ))
            }
            oid::EC_PUBLIC_KEY => {
                let mut parameters = Reader::new(algorithm.parameters()?);
                let curve = match parameters.oid().ok()? {
                    oid::P256 => Curve::P256,
                    oid::P384 => Curve::P384,
                    oid::P521 => Curve::P521,
                    _ => return None,
                };
                parameters.finish().ok()?;
                curve
                    .is_form_of_point(bits)
                    .then_some((KeyKind::Ec(curve), Self::Ec(curve)))
            }
            oid::DSA => {
                let parameters = match algorithm.parameters() {
                    Some(parameters) if !algorithm.has_no_parameters() => {
                        Some(DsaParameters::read(parameters)?)
                    }
                    _ => None,
                };
                let mut reader = Reader::new(bits);
                let public = reader.unsigned().ok()?.into();
                reader.finish().ok()?;
                let bits = parameters.as_ref().map(|own| bit_length(&own.p));
                Some((KeyKind::Dsa { bits }, Self::Dsa { parameters, public }))
            }
            oid::ED25519 if algorithm.parameters().is_none() => {
                Some((KeyKind::Ed25519, Self::Ed25519(bits.try_into().ok()?)))
            }
            oid::X25519 if algorithm.parameters().is_none() => {
                (bits.len() == 32).then_some((KeyKind::X25519, Self::Opaque))
            }
            named => {
                let has_form = |length| algorithm.parameters().is_none() && bits.len() == length;
                if let Some(set) = MlDsa::from_oid(named) {
                    let fits = has_form(set.public_len());
                    return fits.then_some((KeyKind::MlDsa(set), Self::MlDsa(set)));
                }
                let set = MlKem::from_oid(named)?;
                has_form(set.public_len()).then_some((KeyKind::MlKem(set), Self::Opaque))
            }
        }
    }
}

/// What the library said of a signature; nothing where it refused the key.
const fn outcome(verified: Option<bool>) -> Result<(), VerifyError> {
    match verified {
        Some(true) => Ok(()),
        Some(false) => Err(VerifyError::BadSignature),
        None => Err(VerifyError::BadKey),
    }
}

pub(super) fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}

/// Bits of a magnitude without leading zero octets.
pub(super) fn bit_length(magnitude: &[u8]) -> u32 {
    let first = magnitude.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(magnitude.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(8)
        .saturating_sub(first)
}
