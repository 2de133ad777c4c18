//! Signature algorithms and their identifiers.
//! <https://www.rfc-editor.org/rfc/rfc4055#section-3.1>, RFC 5758, RFC 8410, RFC 8702, RFC 9881.

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{DerError, Reader, context_constructed, write};
use crate::oid::{self, Oid, OidBuf};

use super::{DigestAlgorithm, MlDsa};

/// A signature algorithm with all it needs to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(DigestAlgorithm),
    /// RSASSA-PSS.
    RsaPss {
        /// Of the message.
        digest: DigestAlgorithm,
        /// Of the mask generation function MGF1.
        mgf: DigestAlgorithm,
        /// Octets of salt.
        salt_len: u32,
    },
    /// ECDSA over any of the supported curves.
    Ecdsa(DigestAlgorithm),
    /// DSA, in the certificates and lists of old authorities only (RFC 3279 §2.2.2, RFC 5758 §3.1).
    Dsa(DigestAlgorithm),
    /// Ed25519.
    Ed25519,
    /// ML-DSA, pure and without a context.
    MlDsa(MlDsa),
}

/// Why an identifier names no algorithm that is known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// Another algorithm.
    #[error("unsupported algorithm {0}")]
    Unsupported(OidBuf),
    /// Parameters that do not read.
    #[error("parameters of {0} do not read")]
    Parameters(OidBuf),
}

impl SignatureAlgorithm {
    /// From an identifier that names the digest too, as certificates and CRLs have it.
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let bad = || AlgorithmError::Parameters(named.to_buf());
        if named == oid::RSASSA_PSS {
            let parameters = identifier.parameters().ok_or_else(bad)?;
            return match PssParameters::read(parameters).map_err(|_| bad())? {
                Ok(PssParameters {
                    digest,
                    mgf,
                    salt_len,
                }) => Ok(Self::RsaPss {
                    digest,
                    mgf,
                    salt_len,
                }),
                Err(unsupported) => Err(AlgorithmError::Unsupported(unsupported)),
            };
        }
        if named == oid::ED25519 {
            return if identifier.parameters().is_none() {
                Ok(Self::Ed25519)
            } else {
                Err(bad())
            };
        }
        if let Some(set) = MlDsa::from_oid(named) {
            return match identifier.parameters() {
                None => Ok(Self::MlDsa(set)),
                Some(_) => Err(bad()),
            };
        }
        let Some((_, algorithm)) = BY_OID.iter().find(|(oid, _)| *oid == named) else {
            return Err(AlgorithmError::Unsupported(named.to_buf()));
        };
        if identifier.has_no_parameters() {
            Ok(*algorithm)
        } else {
            Err(bad())
        }
    }

    /// As CMS has it: a bare `rsaEncryption` (or `id-ecPublicKey`) takes its digest from the SignerInfo's
    /// digestAlgorithm. Whether the two agree where both name a digest is for the caller to compare.
    pub fn from_cms(
        identifier: &AlgorithmIdentifier,
        digest: DigestAlgorithm,
    ) -> Result<Self, AlgorithmError> {
        match identifier.oid() {
            oid::RSA_ENCRYPTION if identifier.has_no_parameters() => Ok(Self::RsaPkcs1(digest)),
            oid::RSA_ENCRYPTION => Err(AlgorithmError::Parameters(oid::RSA_ENCRYPTION.to_buf())),
            // Some signers name the key's algorithm, with or without the curve.
            oid::EC_PUBLIC_KEY => Ok(Self::Ecdsa(digest)),
            // RFC 8550 §4.3 has it as historic: it is read in old paths, and nobody signs mail by it.
            named @ (oid::DSA_WITH_SHA1 | oid::DSA_WITH_SHA224 | oid::DSA_WITH_SHA256) => {
                Err(AlgorithmError::Unsupported(named.to_buf()))
            }
            _ => Self::from_identifier(identifier),
        }
    }

    /// The identifier in its usual form.
    #[must_use]
    pub fn to_identifier(self) -> AlgorithmIdentifier {
        if let Self::RsaPss {
            digest,
            mgf,
            salt_len,
        } = self
        {
            let parameters = PssParameters {
                digest,
                mgf,
                salt_len,
            }
            .to_der();
            return AlgorithmIdentifier::new(oid::RSASSA_PSS, Some(&parameters));
        }
        let named = BY_OID
            .iter()
            .find(|(_, algorithm)| *algorithm == self)
            .map(|(oid, _)| *oid);
        match self {
            Self::RsaPkcs1(_) => {
                AlgorithmIdentifier::new(named.unwrap_or(oid::RSA_ENCRYPTION), Some(&write::null()))
            }
            Self::Ecdsa(_) => AlgorithmIdentifier::new(named.unwrap_or(oid::EC_PUBLIC_KEY), None),
            Self::Dsa(_) => AlgorithmIdentifier::new(named.unwrap_or(oid::DSA), None),
            Self::MlDsa(set) => AlgorithmIdentifier::new(set.oid(), None),
            Self::RsaPss { .. } | Self::Ed25519 => AlgorithmIdentifier::new(oid::ED25519, None),
        }
    }

    /// `rsa-pkcs1`, `rsa-pss`, `ecdsa`, `dsa`, `ed25519` or `ml-dsa-44`, `-65`, `-87`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1(_) => "rsa-pkcs1",
            Self::RsaPss { .. } => "rsa-pss",
            Self::Ecdsa(_) => "ecdsa",
            Self::Dsa(_) => "dsa",
            Self::Ed25519 => "ed25519",
            Self::MlDsa(set) => set.name(),
        }
    }

    /// The message digest; SHA-512 for Ed25519, as RFC 8419 pairs them, and for ML-DSA, where RFC 9882 §3.3 wants it
    /// understood by all.
    #[must_use]
    pub const fn digest(self) -> DigestAlgorithm {
        match self {
            Self::RsaPkcs1(digest)
            | Self::RsaPss { digest, .. }
            | Self::Ecdsa(digest)
            | Self::Dsa(digest) => digest,
            Self::Ed25519 | Self::MlDsa(_) => DigestAlgorithm::Sha512,
        }
    }

    /// Whether it signs messages as they are, and no digest of them.
    #[must_use]
    pub const fn hashes_itself(self) -> bool {
        matches!(self, Self::Ed25519 | Self::MlDsa(_))
    }

    /// Whether a SignerInfo may have it beside this digest of the content.
    #[must_use]
    pub fn suits(self, digest: DigestAlgorithm) -> bool {
        match self {
            Self::MlDsa(set) => set.suits(digest),
            _ => self.digest() == digest,
        }
    }
}

/// RSASSA-PSS-params, in a signature or, as a restriction, in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PssParameters {
    pub(super) digest: DigestAlgorithm,
    pub(super) mgf: DigestAlgorithm,
    pub(super) salt_len: u32,
}

impl PssParameters {
    /// Whether anything is signed so here: by SHA-2 of 256 bits at least, and by MGF1 with the same.
    pub(super) fn is_for_signing(&self) -> bool {
        use DigestAlgorithm::{Sha256, Sha384, Sha512};
        matches!(self.digest, Sha256 | Sha384 | Sha512) && self.mgf == self.digest
    }

    /// Reads the SEQUENCE. The inner error names an algorithm that is not known here.
    pub(super) fn read(bytes: &[u8]) -> Result<Result<Self, OidBuf>, DerError> {
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        let mut read = Self {
            digest: DigestAlgorithm::Sha1,
            mgf: DigestAlgorithm::Sha1,
            salt_len: 20,
        };
        if let Some(field) = reader.optional(context_constructed(0))? {
            let identifier = AlgorithmIdentifier::from_der(field.content)?;
            match digest_of(&identifier)? {
                Some(digest) => read.digest = digest,
                None => return Ok(Err(identifier.oid().to_buf())),
            }
        }
        if let Some(field) = reader.optional(context_constructed(1))? {
            let function = AlgorithmIdentifier::from_der(field.content)?;
            if function.oid() != oid::MGF1 {
                return Ok(Err(function.oid().to_buf()));
            }
            let parameters = function
                .parameters()
                .ok_or(DerError("MGF1 without digest"))?;
            let identifier = AlgorithmIdentifier::from_der(parameters)?;
            match digest_of(&identifier)? {
                Some(digest) => read.mgf = digest,
                None => return Ok(Err(identifier.oid().to_buf())),
            }
        }
        if let Some(field) = reader.optional(context_constructed(2))? {
            let mut inner = field.reader();
            read.salt_len = inner.small()?;
            inner.finish()?;
        }
        if let Some(field) = reader.optional(context_constructed(3))? {
            let mut inner = field.reader();
            if inner.small()? != 1 {
                return Err(DerError("trailerField is not 1"));
            }
            inner.finish()?;
        }
        reader.finish()?;
        Ok(Ok(read))
    }

    fn to_der(self) -> Vec<u8> {
        let identifier = |digest: DigestAlgorithm| {
            AlgorithmIdentifier::new(digest.oid(), Some(&write::null())).to_der()
        };
        let mut fields = Vec::new();
        // DER leaves defaults out.
        if self.digest != DigestAlgorithm::Sha1 {
            fields.push(write::explicit(0, &identifier(self.digest)));
        }
        if self.mgf != DigestAlgorithm::Sha1 {
            let function = AlgorithmIdentifier::new(oid::MGF1, Some(&identifier(self.mgf)));
            fields.push(write::explicit(1, &function.to_der()));
        }
        if self.salt_len != 20 {
            fields.push(write::explicit(
                2,
                &write::integer(i64::from(self.salt_len)),
            ));
        }
        write::seq(&fields)
    }
}

fn digest_of(identifier: &AlgorithmIdentifier) -> Result<Option<DigestAlgorithm>, DerError> {
    match DigestAlgorithm::from_oid(identifier.oid()) {
        Some(_) if !identifier.has_no_parameters() => Err(DerError("digest with parameters")),
        known => Ok(known),
    }
}

/// Identifiers that name digest and signature together; of two names for one algorithm the usual one first.
const BY_OID: [(Oid<'static>, SignatureAlgorithm); 21] = {
    use DigestAlgorithm::{
        Md5, Sha1, Sha3_256, Sha3_384, Sha3_512, Sha224, Sha256, Sha384, Sha512,
    };
    use SignatureAlgorithm::{Dsa, Ecdsa, RsaPkcs1};
    [
        (oid::SHA256_WITH_RSA, RsaPkcs1(Sha256)),
        (oid::SHA384_WITH_RSA, RsaPkcs1(Sha384)),
        (oid::SHA512_WITH_RSA, RsaPkcs1(Sha512)),
        (oid::SHA224_WITH_RSA, RsaPkcs1(Sha224)),
        (oid::SHA1_WITH_RSA, RsaPkcs1(Sha1)),
        (oid::SHA1_WITH_RSA_OIW, RsaPkcs1(Sha1)),
        (oid::MD5_WITH_RSA, RsaPkcs1(Md5)),
        (oid::SHA3_256_WITH_RSA, RsaPkcs1(Sha3_256)),
        (oid::SHA3_384_WITH_RSA, RsaPkcs1(Sha3_384)),
        (oid::SHA3_512_WITH_RSA, RsaPkcs1(Sha3_512)),
        (oid::ECDSA_WITH_SHA256, Ecdsa(Sha256)),
        (oid::ECDSA_WITH_SHA384, Ecdsa(Sha384)),
        (oid::ECDSA_WITH_SHA512, Ecdsa(Sha512)),
        (oid::ECDSA_WITH_SHA224, Ecdsa(Sha224)),
        (oid::ECDSA_WITH_SHA1, Ecdsa(Sha1)),
        (oid::ECDSA_WITH_SHA3_256, Ecdsa(Sha3_256)),
        (oid::ECDSA_WITH_SHA3_384, Ecdsa(Sha3_384)),
        (oid::ECDSA_WITH_SHA3_512, Ecdsa(Sha3_512)),
        (oid::DSA_WITH_SHA1, Dsa(Sha1)),
        (oid::DSA_WITH_SHA224, Dsa(Sha224)),
        (oid::DSA_WITH_SHA256, Dsa(Sha256)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_survives_its_identifier() {
        let pss = |digest, mgf, salt_len| SignatureAlgorithm::RsaPss {
            digest,
            mgf,
            salt_len,
        };
        let mut all: Vec<_> = BY_OID.iter().map(|(_, algorithm)| *algorithm).collect();
        all.push(SignatureAlgorithm::Ed25519);
        all.extend([MlDsa::Dsa44, MlDsa::Dsa65, MlDsa::Dsa87].map(SignatureAlgorithm::MlDsa));
        all.push(pss(DigestAlgorithm::Sha1, DigestAlgorithm::Sha1, 20));
        all.push(pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha1, 222));
        all.push(pss(DigestAlgorithm::Sha512, DigestAlgorithm::Sha256, 0));
        for algorithm in all {
            let identifier = algorithm.to_identifier();
            let read = AlgorithmIdentifier::from_der(&identifier.to_der()).unwrap();
            assert_eq!(SignatureAlgorithm::from_identifier(&read), Ok(algorithm));
        }
    }

    #[test]
    fn pss_defaults_are_those_of_rfc_4055() {
        let identifier =
            AlgorithmIdentifier::new(oid::RSASSA_PSS, Some(&write::seq::<Vec<u8>>(&[])));
        let expected = SignatureAlgorithm::RsaPss {
            digest: DigestAlgorithm::Sha1,
            mgf: DigestAlgorithm::Sha1,
            salt_len: 20,
        };
        assert_eq!(
            SignatureAlgorithm::from_identifier(&identifier),
            Ok(expected)
        );
    }

    #[test]
    fn odd_pss_parameters_are_refused() {
        let sha256 = AlgorithmIdentifier::new(oid::SHA256, None).to_der();
        let bad = [
            None,
            Some(write::null()),
            Some(write::seq(&[write::explicit(3, &write::integer(2))])),
            Some(write::seq(&[write::explicit(2, &write::integer(-1))])),
            Some(write::seq(&[write::explicit(2, &write::integer(1 << 40))])),
            Some(write::seq(&[
                write::explicit(2, &write::integer(3)),
                write::explicit(0, &sha256),
            ])),
            Some(write::seq(&[write::explicit(
                1,
                &AlgorithmIdentifier::new(oid::MGF1, None).to_der(),
            )])),
            Some([write::seq::<Vec<u8>>(&[]), write::null()].concat()),
        ];
        for parameters in bad {
            let identifier = AlgorithmIdentifier::new(oid::RSASSA_PSS, parameters.as_deref());
            let read = SignatureAlgorithm::from_identifier(&identifier);
            assert!(
                matches!(read, Err(AlgorithmError::Parameters(_))),
                "{parameters:?} {read:?}"
            );
        }
        let other = write::seq(&[write::explicit(1, &sha256)]);
        let identifier = AlgorithmIdentifier::new(oid::RSASSA_PSS, Some(&other));
        assert_eq!(
            SignatureAlgorithm::from_identifier(&identifier),
            Err(AlgorithmError::Unsupported(oid::SHA256.to_buf()))
        );
    }

    #[test]
    fn a_bare_key_algorithm_takes_the_digest_of_cms() {
        let digest = DigestAlgorithm::Sha384;
        for parameters in [None, Some(write::null())] {
            let rsa = AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, parameters.as_deref());
            assert_eq!(
                SignatureAlgorithm::from_cms(&rsa, digest),
                Ok(SignatureAlgorithm::RsaPkcs1(digest))
            );
            assert!(SignatureAlgorithm::from_identifier(&rsa).is_err());
        }
        let odd = AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, Some(&write::integer(1)));
        assert!(matches!(
            SignatureAlgorithm::from_cms(&odd, digest),
            Err(AlgorithmError::Parameters(_))
        ));
    }
}
