//! Trust anchors: a name and a key, perhaps with the certificate that carried them.
//!
//! By RFC 5280 §6.1.1 (d) an anchor is a name, a key and parameters; the extensions of a certificate
//! that carries it are advice to whoever configures it, not input to validation. They count here
//! only after [`TrustAnchor::constrained`] (RFC 5937): then its basic constraints, key usage,
//! name constraints and critical extensions bind like those of any other certificate.

use crate::certificate::Certificate;
use crate::crypto::PublicKey;
use crate::name::Name;

/// Whom a path may end in.
#[derive(Clone, Debug)]
pub struct TrustAnchor {
    name: Name,
    key: PublicKey,
    certificate: Option<Certificate>,
    constrained: bool,
}

impl TrustAnchor {
    /// The anchor that a certificate describes; its signature and extensions are not looked at.
    pub fn from_certificate(certificate: Certificate) -> Self {
        Self {
            name: certificate.subject().clone(),
            key: certificate.public_key().clone(),
            certificate: Some(certificate),
            constrained: false,
        }
    }

    /// An anchor without a certificate.
    pub fn from_name_and_key(name: Name, key: PublicKey) -> Self {
        Self {
            name,
            key,
            certificate: None,
            constrained: false,
        }
    }

    /// The same anchor, with the constraints in its certificate binding (RFC 5937).
    #[must_use]
    pub fn constrained(mut self) -> Self {
        self.constrained = true;
        self
    }

    /// The name that certificates below it carry as issuer.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key that checks the certificates below it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The certificate it was made from.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The certificate, where its constraints bind.
    pub(super) fn binding(&self) -> Option<&Certificate> {
        self.certificate.as_ref().filter(|_| self.constrained)
    }
}
