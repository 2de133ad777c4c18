//! A certificate profile: what an anchor's holder promises of the certificates below it beyond RFC 5280, so that
//! one issued for something else is not taken for a signer's. National authorities publish such profiles;
//! their numbers are configuration, never code.

use kenin_pki::certificate::Certificate;
use kenin_pki::extension::KeyUsage;
use kenin_pki::oid::{self, Oid, OidBuf};

use crate::holder::HolderAttributes;

/// What a signer's certificate must look like. What is not asked for may be anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Profile {
    /// certificatePolicies is critical and names exactly one policy, which is one of these. Empty: not asked.
    pub policies: Vec<OidBuf>,
    /// keyUsage is critical and has exactly these bits. `None`: not asked.
    pub key_usage: Option<KeyUsage>,
    /// The attributes of the holder stand below this arc, and nothing is wrong with any of them. `None`: not
    /// asked.
    pub holder_attributes: Option<OidBuf>,
}

impl Profile {
    /// What a certificate does not meet, in words, which say nothing of its holder.
    #[must_use]
    pub fn fault(&self, certificate: &Certificate) -> Option<String> {
        self.policy_fault(certificate)
            .or_else(|| self.usage_fault(certificate))
            .map(str::to_owned)
            .or_else(|| self.holder_fault(certificate))
    }

    fn policy_fault(&self, certificate: &Certificate) -> Option<&'static str> {
        if self.policies.is_empty() {
            return None;
        }
        let Ok(Some([policy])) = certificate.policies() else {
            return Some("the certificate does not name exactly one policy");
        };
        if !self.policies.contains(&policy.policy) {
            return Some("the policy of the certificate is not one that the profile has");
        }
        let critical = is_critical(certificate, oid::CERTIFICATE_POLICIES);
        (!critical).then_some("certificatePolicies is not critical")
    }

    fn usage_fault(&self, certificate: &Certificate) -> Option<&'static str> {
        let wanted = self.key_usage?;
        if certificate.key_usage() != Ok(Some(wanted)) {
            return Some("the key usage is not the one that the profile has");
        }
        let critical = is_critical(certificate, oid::KEY_USAGE);
        (!critical).then_some("keyUsage is not critical")
    }

    fn holder_fault(&self, certificate: &Certificate) -> Option<String> {
        let arc = self.holder_attributes.as_ref()?;
        match HolderAttributes::read(certificate, arc.as_oid()) {
            Ok(Some(_)) => None,
            Ok(None) => Some("the certificate does not carry the holder's attributes".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn is_critical(certificate: &Certificate, wanted: Oid<'_>) -> bool {
    let mut extensions = certificate.extensions().iter();
    extensions.any(|one| one.critical && one.oid == wanted)
}
