//! Which certificates a signer identifier means (RFC 5652 §5.3, RFC 5280 §7.1).

use kenin_pki::certificate::Certificate;
use kenin_pki::name::Name;

use super::attributes::same_integer;
use crate::facts::SignerId;

/// Compares signer identifiers with certificates; the issuer is parsed once.
pub(super) struct Matcher<'s> {
    sid: &'s SignerId,
    issuer: Option<Name>,
}

impl<'s> Matcher<'s> {
    pub(super) fn new(sid: &'s SignerId) -> Self {
        let issuer = match sid {
            SignerId::IssuerAndSerial { issuer, .. } => Name::from_der(issuer).ok(),
            _ => None,
        };
        Self { sid, issuer }
    }

    pub(super) fn matches(&self, certificate: &Certificate) -> bool {
        match self.sid {
            SignerId::IssuerAndSerial { issuer, serial } => {
                same_integer(serial, certificate.serial())
                    && (issuer.as_slice() == certificate.issuer().der()
                        || self
                            .issuer
                            .as_ref()
                            .is_some_and(|name| name == certificate.issuer()))
            }
            SignerId::KeyId(id) => {
                matches!(certificate.subject_key_id(), Ok(Some(own)) if own == id.as_slice())
            }
            SignerId::Unknown => false,
        }
    }

    /// Whether an unreadable certificate looks like the one that is meant.
    pub(super) fn occurs_in(&self, raw: &[u8]) -> bool {
        match self.sid {
            SignerId::IssuerAndSerial { issuer, serial } => {
                memchr::memmem::find(raw, issuer).is_some()
                    && memchr::memmem::find(raw, serial).is_some()
            }
            SignerId::KeyId(id) => memchr::memmem::find(raw, id).is_some(),
            SignerId::Unknown => false,
        }
    }
}
