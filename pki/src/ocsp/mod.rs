//! OCSP: what a responder says of single certificates, and how it is asked. Whether a responder is
//! authorised, and whether an answer is current, is for [`crate::path`].
//! <https://www.rfc-editor.org/rfc/rfc6960>, RFC 9654 (nonce).

mod parse;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::Certificate;
use crate::crl::RevokedEntry;
use crate::crypto::{Digest, DigestAlgorithm, PublicKey, VerifyError};
use crate::name::Name;
use crate::oid::OidBuf;
use crate::signed::Signed;
use crate::time::UnixTime;

pub use request::{NONCE_SIZE, OcspRequest};

/// A BasicOCSPResponse of a successful OCSPResponse.
#[derive(Clone)]
pub struct OcspResponse(Arc<Inner>);

struct Inner {
    /// The bytes as they came, the outer layer included.
    der: Box<[u8]>,
    basic: Signed,
    responder: Responder,
    produced_at: UnixTime,
    answers: Vec<OcspAnswer>,
    nonce: Option<Box<[u8]>>,
    unknown_critical: Vec<OidBuf>,
    certificates: Vec<Certificate>,
}

/// Who answers: ResponderID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Responder {
    /// byName.
    Name(Name),
    /// byKey: SHA-1 of the content of subjectPublicKey.
    KeyHash(Box<[u8]>),
}

/// A SingleResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspAnswer {
    /// Which certificate it is about.
    pub certificate: CertId,
    /// What is said of it.
    pub status: CertStatus,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: Option<UnixTime>,
    /// Whether it has a critical extension that is not known here.
    pub not_understood: bool,
}

/// A CertID: a certificate by its number and digests of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    /// `None`: an algorithm that is not known here; it matches nothing.
    digest: Option<DigestAlgorithm>,
    issuer_name: Box<[u8]>,
    issuer_key: Box<[u8]>,
    serial: Box<[u8]>,
}

/// CertStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Revoked, or on hold.
    Revoked(RevokedEntry),
    /// The responder does not know the certificate: never as good as good.
    Unknown,
}

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Not an OCSPResponse in DER.
    #[error("not an OCSP response: {0}")]
    Malformed(&'static str),
    /// The responder says that it has no answer: OCSPResponseStatus.
    #[error("the OCSP responder answers: {0}")]
    NotSuccessful(&'static str),
    /// An answer of another kind than id-pkix-ocsp-basic.
    #[error("OCSP response of an unknown type {0}")]
    UnknownType(OidBuf),
}

impl OcspResponse {
    /// Reads exactly one OCSPResponse in DER.
    ///
    /// # Errors
    /// What it is instead, or why the responder has no answer.
    pub fn from_der(bytes: &[u8]) -> Result<Self, OcspError> {
        parse::response(bytes).map(|inner| Self(Arc::new(inner)))
    }

    /// The bytes as they came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 of the BasicOCSPResponse.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        self.0.basic.sha256()
    }

    /// Who answers.
    #[must_use]
    pub fn responder(&self) -> &Responder {
        &self.0.responder
    }

    /// producedAt: when it was signed.
    #[must_use]
    pub fn produced_at(&self) -> UnixTime {
        self.0.produced_at
    }

    /// All answers.
    #[must_use]
    pub fn answers(&self) -> &[OcspAnswer] {
        &self.0.answers
    }

    /// The answers about a certificate that the holder of `issuer_key` issued: more than one where it is named in
    /// several ways.
    pub fn about<'a>(
        &'a self,
        certificate: &'a Certificate,
        issuer_key: &'a PublicKey,
    ) -> impl Iterator<Item = &'a OcspAnswer> {
        let mut ids = CertIds::new(certificate, issuer_key);
        let answers = self.0.answers.iter();
        answers.filter(move |answer| ids.has(&answer.certificate))
    }

    /// Whether some answer is about a certificate of this number: worth a closer look.
    #[must_use]
    pub fn mentions(&self, certificate: &Certificate) -> bool {
        let has = |answer: &OcspAnswer| answer.certificate.has(certificate.serial());
        self.0.answers.iter().any(has)
    }

    /// The nonce, as it was asked with (RFC 9654 §2.1).
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.0.nonce.as_deref()
    }

    /// Critical extensions of the whole that are not known here.
    #[must_use]
    pub fn unknown_critical(&self) -> &[OidBuf] {
        &self.0.unknown_critical
    }

    /// The certificates that came along.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0.certificates
    }

    /// The algorithm of the signature.
    #[must_use]
    pub fn signature_algorithm(&self) -> &AlgorithmIdentifier {
        self.0.basic.algorithm()
    }

    /// Octets that the responder signed.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.0.basic.tbs()
    }

    /// Whether the holder of the key signed this. Strength is not judged here.
    ///
    /// # Errors
    /// Why not.
    pub fn verify_signature(&self, key: &PublicKey) -> Result<(), VerifyError> {
        self.0.basic.verify_by(key)
    }

    /// Whether the response names this holder of a key as its maker.
    #[must_use]
    pub fn is_by(&self, name: &Name, key: &PublicKey) -> bool {
        match &self.0.responder {
            Responder::Name(own) => own == name,
            Responder::KeyHash(hash) => {
                DigestAlgorithm::Sha1.digest(key.bits()).as_ref() == &**hash
            }
        }
    }
}

/// Octet by octet.
impl PartialEq for OcspResponse {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.der() == other.der()
    }
}

impl Eq for OcspResponse {}

impl fmt::Debug for OcspResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OcspResponse")
            .field("responder", &self.0.responder)
            .field("produced_at", &self.0.produced_at)
            .field("answers", &self.0.answers)
            .finish_non_exhaustive()
    }
}

impl CertId {
    /// Of a certificate that the holder of `issuer_key` issued, by this digest.
    #[must_use]
    pub fn of(digest: DigestAlgorithm, certificate: &Certificate, issuer_key: &PublicKey) -> Self {
        let boxed = |digest: Digest| digest.as_ref().into();
        Self {
            digest: Some(digest),
            issuer_name: boxed(digest.digest(certificate.issuer().der())),
            issuer_key: boxed(digest.digest(issuer_key.bits())),
            serial: certificate.serial().into(),
        }
    }

    /// Whether it has this serial number (content octets).
    pub(crate) fn has(&self, serial: &[u8]) -> bool {
        *self.serial == *serial
    }
}

/// The CertIDs of one certificate, each made when it is first met: issuers may have long names.
pub(crate) struct CertIds<'a> {
    certificate: &'a Certificate,
    issuer_key: &'a PublicKey,
    made: Vec<CertId>,
}

impl<'a> CertIds<'a> {
    pub(crate) const fn new(certificate: &'a Certificate, issuer_key: &'a PublicKey) -> Self {
        Self {
            certificate,
            issuer_key,
            made: Vec::new(),
        }
    }

    /// Whether this one is among them.
    pub(crate) fn has(&mut self, id: &CertId) -> bool {
        // The serial costs nothing to compare.
        let Some(digest) = id.digest.filter(|_| id.has(self.certificate.serial())) else {
            return false;
        };
        if !self.made.iter().any(|made| made.digest == id.digest) {
            let made = CertId::of(digest, self.certificate, self.issuer_key);
            self.made.push(made);
        }
        self.made.contains(id)
    }
}
