//! Making CRLs.

use crate::certificate::Certificate;
use crate::crl::{Crl, RevocationReason};
use crate::crypto::{KeyError, SignatureAlgorithm, SigningKey};
use crate::der::{INTEGER, write};
use crate::extension::write::general_names;
use crate::extension::{AuthorityKeyId, GeneralName, IssuingDistributionPoint};
use crate::name::Name;
use crate::oid::{self, Oid};
use crate::time::UnixTime;

use super::{Extensions, key_id, sign};

/// Makes a CRL. It has an authorityKeyIdentifier of the issuer's, and cRLNumber 1 until told otherwise.
#[derive(Clone, Debug)]
pub struct CrlBuilder {
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    number: Option<u64>,
    entries: Vec<Vec<u8>>,
    extensions: Extensions,
    algorithm: Option<SignatureAlgorithm>,
}

impl CrlBuilder {
    /// A CRL of this time.
    #[must_use]
    pub fn new(this_update: UnixTime, next_update: Option<UnixTime>) -> Self {
        Self {
            this_update,
            next_update,
            number: Some(1),
            entries: Vec::new(),
            extensions: Extensions::default(),
            algorithm: None,
        }
    }

    /// cRLNumber.
    #[must_use]
    pub const fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// Leaves cRLNumber out.
    #[must_use]
    pub const fn without_number(mut self) -> Self {
        self.number = None;
        self
    }

    /// Revokes a serial (content octets of the INTEGER).
    #[must_use]
    pub fn revoke(self, serial: &[u8], date: UnixTime, reason: RevocationReason) -> Self {
        self.entry(serial, date, reason, &Extensions::default())
    }

    /// Revokes a certificate of another issuer, in an indirect CRL.
    #[must_use]
    pub fn revoke_of(
        self,
        issuer: &Name,
        serial: &[u8],
        date: UnixTime,
        reason: RevocationReason,
    ) -> Self {
        let mut extensions = Extensions::default();
        let names = general_names(&[GeneralName::Directory(issuer.clone())]);
        extensions.push(oid::CERTIFICATE_ISSUER, true, &names);
        self.entry(serial, date, reason, &extensions)
    }

    /// Revokes a serial with one more extension in its entry.
    #[must_use]
    pub fn revoke_with(
        self,
        serial: &[u8],
        date: UnixTime,
        reason: RevocationReason,
        (oid, critical, value): (Oid<'_>, bool, &[u8]),
    ) -> Self {
        let mut extensions = Extensions::default();
        extensions.push(oid, critical, value);
        self.entry(serial, date, reason, &extensions)
    }

    /// IssuingDistributionPoint, critical.
    #[must_use]
    pub fn issuing_distribution_point(self, value: &IssuingDistributionPoint) -> Self {
        self.extension(oid::ISSUING_DISTRIBUTION_POINT, true, &value.to_der())
    }

    /// DeltaCRLIndicator, critical.
    #[must_use]
    pub fn delta(self, base: u64) -> Self {
        self.extension(
            oid::DELTA_CRL_INDICATOR,
            true,
            &write::unsigned(&base.to_be_bytes()),
        )
    }

    /// Any extension: `value` is the content of extnValue.
    #[must_use]
    pub fn extension(mut self, oid: Oid<'_>, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(oid, critical, value);
        self
    }

    /// Signs in another algorithm than the key's default.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Signs as `issuer`, whose certificate gives name and authority key identifier.
    pub fn issued_by(self, issuer: &Certificate, key: &dyn SigningKey) -> Result<Crl, KeyError> {
        let id = match issuer.subject_key_id() {
            Ok(Some(id)) => id.to_vec(),
            _ => key_id(issuer.public_key()),
        };
        let algorithm = self.algorithm.unwrap_or_else(|| key.default_algorithm());
        let identifier = algorithm.to_identifier().to_der();
        let mut extensions = self.extensions;
        if !extensions.has(oid::AUTHORITY_KEY_IDENTIFIER) {
            let id = AuthorityKeyId {
                key_id: Some(id.into()),
                ..AuthorityKeyId::default()
            };
            extensions.push(oid::AUTHORITY_KEY_IDENTIFIER, false, &id.to_der());
        }
        if let Some(number) = self.number {
            extensions.push(
                oid::CRL_NUMBER,
                false,
                &write::unsigned(&number.to_be_bytes()),
            );
        }
        let mut fields = vec![
            write::integer(1),
            identifier.clone(),
            issuer.subject().der().to_vec(),
            write::time(self.this_update),
        ];
        fields.extend(self.next_update.map(write::time));
        if !self.entries.is_empty() {
            fields.push(write::seq(&self.entries));
        }
        fields.extend(extensions.to_der(0));
        let der = sign(&write::seq(&fields), &identifier, algorithm, key)?;
        Crl::from_der(&der).map_err(|_| KeyError::Malformed)
    }

    fn entry(
        mut self,
        serial: &[u8],
        date: UnixTime,
        reason: RevocationReason,
        more: &Extensions,
    ) -> Self {
        let mut extensions = Extensions::default();
        // RFC 5280 §5.3.1: unspecified is said by saying nothing.
        if reason != RevocationReason::Unspecified {
            extensions.push(
                oid::CRL_REASON,
                false,
                &write::enumerated(i64::from(reason.code())),
            );
        }
        extensions.0.extend(more.0.iter().cloned());
        let mut fields = vec![write::element(INTEGER, serial), write::time(date)];
        fields.extend(extensions.sequence());
        self.entries.push(write::seq(&fields));
        self
    }
}
