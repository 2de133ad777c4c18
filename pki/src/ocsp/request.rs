//! The question. <https://www.rfc-editor.org/rfc/rfc6960#section-4.1>

use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::Certificate;
use crate::crypto::{DigestAlgorithm, PublicKey};
use crate::der::{INTEGER, write};
use crate::oid;

use super::{CertId, OcspResponse};

/// A question about one certificate.
#[derive(Clone, Debug)]
pub struct OcspRequest {
    certificate: CertId,
    nonce: [u8; NONCE_SIZE],
}

/// Octets of a nonce (RFC 9654 §2.1 has 32 for those who ask).
pub const NONCE_SIZE: usize = 32;

impl OcspRequest {
    /// About a certificate that the holder of `issuer_key` issued. The CertID is by SHA-1, which every
    /// responder knows (RFC 5019 §2.1.1): it names and proves nothing.
    #[must_use]
    pub fn new(certificate: &Certificate, issuer_key: &PublicKey, nonce: [u8; NONCE_SIZE]) -> Self {
        Self {
            certificate: CertId::of(DigestAlgorithm::Sha1, certificate, issuer_key),
            nonce,
        }
    }

    /// The OCSPRequest.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let request = write::seq(&[self.certificate.to_der()]);
        let nonce = write::seq(&[
            write::oid(oid::OCSP_NONCE),
            write::octet_string(&write::octet_string(&self.nonce)),
        ]);
        let tbs = write::seq(&[
            write::seq(&[request]),
            write::explicit(2, &write::seq(&[nonce])),
        ]);
        write::seq(&[tbs])
    }

    /// Whether a response may be the answer to this: about the same certificate, and with no other nonce. A
    /// response without one may have been made before (RFC 5019); its times tell how old it is.
    #[must_use]
    pub fn is_answered_by(&self, response: &OcspResponse) -> bool {
        let same = response
            .answers()
            .iter()
            .any(|answer| answer.certificate == self.certificate);
        same && response.nonce().is_none_or(|nonce| nonce == self.nonce)
    }
}

impl CertId {
    /// The CertID.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let digest = self.digest.unwrap_or(DigestAlgorithm::Sha1);
        write::seq(&[
            AlgorithmIdentifier::new(digest.oid(), Some(&write::null())).to_der(),
            write::octet_string(&self.issuer_name),
            write::octet_string(&self.issuer_key),
            write::element(INTEGER, &self.serial),
        ])
    }
}
