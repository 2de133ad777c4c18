//! Making OCSP responses.

use crate::certificate::Certificate;
use crate::crypto::{DigestAlgorithm, KeyError, PublicKey, SignatureAlgorithm, SigningKey};
use crate::der::{context, context_constructed, write};
use crate::ocsp::{CertId, CertStatus, OcspResponse, Responder};
use crate::oid::{self, Oid};
use crate::time::UnixTime;

use super::Extensions;

/// Makes an OCSP response. Without further words it names its responder by key, holds no certificate, and
/// its CertIDs are by SHA-1.
#[derive(Clone, Debug)]
pub struct OcspBuilder {
    produced_at: UnixTime,
    responder: Option<Responder>,
    digest: DigestAlgorithm,
    answers: Vec<Vec<u8>>,
    extensions: Extensions,
    certificates: Vec<Certificate>,
    algorithm: Option<SignatureAlgorithm>,
}

impl OcspBuilder {
    /// A response of this time.
    #[must_use]
    pub fn new(produced_at: UnixTime) -> Self {
        Self {
            produced_at,
            responder: None,
            digest: DigestAlgorithm::Sha1,
            answers: Vec::new(),
            extensions: Extensions::default(),
            certificates: Vec::new(),
            algorithm: None,
        }
    }

    /// Names the responder otherwise.
    #[must_use]
    pub fn responder(mut self, responder: Responder) -> Self {
        self.responder = Some(responder);
        self
    }

    /// CertIDs of the answers that follow are by this digest.
    #[must_use]
    pub const fn digest(mut self, digest: DigestAlgorithm) -> Self {
        self.digest = digest;
        self
    }

    /// Says this of a certificate that the holder of `issuer_key` issued, since and until when.
    #[must_use]
    pub fn answer(
        self,
        certificate: &Certificate,
        issuer_key: &PublicKey,
        status: CertStatus,
        times: (UnixTime, Option<UnixTime>),
    ) -> Self {
        self.answer_with(certificate, issuer_key, status, times, None)
    }

    /// The same with an extension: its kind, whether it is critical, the content of extnValue.
    #[must_use]
    pub fn answer_with(
        mut self,
        certificate: &Certificate,
        issuer_key: &PublicKey,
        status: CertStatus,
        (since, until): (UnixTime, Option<UnixTime>),
        extension: Option<(Oid<'_>, bool, &[u8])>,
    ) -> Self {
        let status = match status {
            CertStatus::Good => write::element(context(0), &[]),
            CertStatus::Revoked(entry) => {
                let code = write::enumerated(i64::from(entry.reason.code()));
                let fields = [generalized(entry.date), write::explicit(0, &code)];
                write::element(context_constructed(1), &write::concat(&fields))
            }
            CertStatus::Unknown => write::element(context(2), &[]),
        };
        let mut fields = vec![
            CertId::of(self.digest, certificate, issuer_key).to_der(),
            status,
            generalized(since),
        ];
        fields.extend(until.map(|until| write::explicit(0, &generalized(until))));
        let mut extensions = Extensions::default();
        if let Some((oid, critical, value)) = extension {
            extensions.push(oid, critical, value);
        }
        fields.extend(extensions.to_der(1));
        self.answers.push(write::seq(&fields));
        self
    }

    /// The nonce of a request.
    #[must_use]
    pub fn nonce(self, nonce: &[u8]) -> Self {
        self.extension(oid::OCSP_NONCE, false, &write::octet_string(nonce))
    }

    /// Any extension of the whole: `value` is the content of extnValue.
    #[must_use]
    pub fn extension(mut self, oid: Oid<'_>, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(oid, critical, value);
        self
    }

    /// A certificate that comes along.
    #[must_use]
    pub fn certificate(mut self, certificate: &Certificate) -> Self {
        self.certificates.push(certificate.clone());
        self
    }

    /// Signs in another algorithm than the key's default.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Signs with the responder's key.
    ///
    /// # Errors
    /// What the key could not do.
    pub fn signed_by(self, key: &dyn SigningKey) -> Result<OcspResponse, KeyError> {
        let der = self.signed_der(key)?;
        OcspResponse::from_der(&der).map_err(|_| KeyError::Malformed)
    }

    /// The same for bytes that need not read.
    ///
    /// # Errors
    /// What the key could not do.
    pub fn signed_der(self, key: &dyn SigningKey) -> Result<Vec<u8>, KeyError> {
        let algorithm = self.algorithm.unwrap_or_else(|| key.default_algorithm());
        let responder = match self.responder {
            Some(Responder::Name(name)) => write::explicit(1, name.der()),
            Some(Responder::KeyHash(hash)) => write::explicit(2, &write::octet_string(&hash)),
            None => {
                let hash = DigestAlgorithm::Sha1.digest(key.public_key().bits());
                write::explicit(2, &write::octet_string(hash.as_ref()))
            }
        };
        let mut fields = vec![
            responder,
            generalized(self.produced_at),
            write::seq(&self.answers),
        ];
        fields.extend(self.extensions.to_der(1));
        let tbs = write::seq(&fields);
        let signature = key.sign(algorithm, &tbs)?;
        let mut basic = vec![
            tbs,
            algorithm.to_identifier().to_der(),
            write::bit_string(&signature),
        ];
        if !self.certificates.is_empty() {
            let all: Vec<&[u8]> = self.certificates.iter().map(Certificate::der).collect();
            basic.push(write::explicit(0, &write::seq(&all)));
        }
        let typed = write::seq(&[
            write::oid(oid::OCSP_BASIC),
            write::octet_string(&write::seq(&basic)),
        ]);
        Ok(write::seq(&[
            write::enumerated(0),
            write::explicit(0, &typed),
        ]))
    }
}

/// OCSP has no UTCTime.
fn generalized(time: UnixTime) -> Vec<u8> {
    let (year, month, day, hour, minute, second) = time.civil();
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    write::element(crate::der::GENERALIZED_TIME, text.as_bytes())
}
