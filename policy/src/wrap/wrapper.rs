//! What wraps mail: a key and a certificate that mail programs accept for it. Never looks at mail.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyError, SignatureAlgorithm, SigningKey};
use kenin_pki::extension::KeyUsage;
use kenin_pki::oid;
use kenin_pki::time::UnixTime;

use crate::judge::traces::of_certificate;

/// What wraps mail: the gateway's own certificate and key, and the name it goes by.
pub struct Wrapper {
    pub(super) key: Box<dyn SigningKey>,
    pub(super) certificate: Certificate,
    pub(super) chain: Vec<Certificate>,
    pub(super) address: String,
    pub(super) service: String,
}

/// Why a certificate cannot sign wrapped mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapperError {
    /// There is none.
    #[error("there is no certificate")]
    NoCertificate,
    /// The key is another's.
    #[error("the key is not the one of the certificate, which has to be the first in its file")]
    OtherKey,
    /// Mail programs compare From with the certificate.
    #[error("the certificate holds no mail address")]
    NoAddress,
    /// Mail programs would not take it for mail.
    #[error("the certificate is not for signing mail (key usage, extended key usage)")]
    NotForMail,
}

impl Wrapper {
    /// A wrapper that signs with `key` for the first of `certificates`; the others go along with it.
    ///
    /// # Errors
    /// When mail programs would not accept the result.
    pub fn new(
        key: Box<dyn SigningKey>,
        certificates: Vec<Certificate>,
        service: &str,
    ) -> Result<Self, WrapperError> {
        let mut certificates = certificates.into_iter();
        let certificate = certificates.next().ok_or(WrapperError::NoCertificate)?;
        if certificate.public_key().spki() != key.public_key().spki() {
            return Err(WrapperError::OtherKey);
        }
        if !signs_mail(&certificate) {
            return Err(WrapperError::NotForMail);
        }
        let addresses = certificate.addresses().unwrap_or_default();
        let address = addresses.first().ok_or(WrapperError::NoAddress)?;
        Ok(Self {
            address: address.to_string(),
            key,
            // RFC 8550 §2.3: readers have the root, or do not believe it.
            chain: certificates.filter(|one| !one.is_self_signed()).collect(),
            certificate,
            service: service.to_owned(),
        })
    }

    /// The address that wrapped mail comes from.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate that signs.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate that signs, and what goes along with it.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.certificate).chain(&self.chain)
    }

    /// The name that the service goes by.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Signs what somebody else has made of a mail: SignedAttributes (RFC 5652 §5.4).
    ///
    /// # Errors
    /// When the key cannot.
    pub fn countersign(
        &self,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.key.sign(algorithm, attributes)
    }

    /// By what the certificates are seen that go along with wrapped mail.
    pub(super) fn traces(&self) -> Vec<Vec<u8>> {
        let mut traces = Vec::new();
        for certificate in self.certificates() {
            traces.extend(of_certificate(certificate));
            traces.push(certificate.issuer().der().to_vec());
        }
        traces
    }

    /// Whether the certificate is valid at this time, so that a mail program may accept it.
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        let since = self.certificate.not_before();
        let until = self.certificate.not_after();
        since.is_ok_and(|since| since <= now) && until.is_ok_and(|until| now <= until)
    }
}

impl std::fmt::Debug for Wrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wrapper")
            .field("address", &self.address)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn signs_mail(certificate: &Certificate) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    let purposes = certificate.ext_key_usage().ok().flatten();
    usage.is_none_or(|usage| {
        usage.0 & (KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION) != 0
    }) && purposes.is_none_or(|purposes| {
        purposes.iter().any(|purpose| {
            purpose.as_oid() == oid::EMAIL_PROTECTION || purpose.as_oid() == oid::ANY_EXT_KEY_USAGE
        })
    })
}
