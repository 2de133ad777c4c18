//! Makes certificates, CRLs, OCSP responses and time stamps: for the demo, for `kenin init`, and for tests. It writes
//! what it is told, sensible or not: tests need both. <https://www.rfc-editor.org/rfc/rfc5280#section-4>

mod crl;
mod ocsp;
mod timestamp;

#[cfg(test)]
mod tests;

use crate::certificate::Certificate;
use crate::crypto::{DigestAlgorithm, KeyError, PublicKey, SignatureAlgorithm, SigningKey};
use crate::der::write;
use crate::extension::write::general_names;
use crate::extension::{
    AuthorityKeyId, BasicConstraints, DistributionPoint, GeneralName, KeyUsage, NameConstraints,
    PolicyConstraints,
};
use crate::name::{Name, NameBuilder};
use crate::oid::{self, Oid, OidBuf};
use crate::time::UnixTime;

pub use crl::CrlBuilder;
pub use ocsp::OcspBuilder;
pub use timestamp::TimeStampBuilder;

/// Makes a certificate.
///
/// Without further words it has a serial number and a subjectKeyIdentifier made from the key, an
/// authorityKeyIdentifier of the issuer's, and is valid from 2025 to 2035.
#[derive(Clone, Debug)]
pub struct CertificateBuilder {
    version: u8,
    subject: Name,
    spki: Vec<u8>,
    key_id: Vec<u8>,
    serial: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    extensions: Extensions,
    algorithm: Option<SignatureAlgorithm>,
    key_ids: bool,
}

impl CertificateBuilder {
    /// A certificate of `key` for `subject`.
    #[must_use]
    pub fn new(subject: Name, key: &PublicKey) -> Self {
        let key_id = key_id(key);
        // Seven bits keep the number positive, one bit keeps it from being zero.
        let mut seed = key.spki().to_vec();
        seed.extend_from_slice(subject.der());
        let mut serial = DigestAlgorithm::Sha256.digest(&seed).as_ref().to_vec();
        serial.truncate(16);
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        Self {
            version: 3,
            subject,
            spki: key.spki().to_vec(),
            key_id,
            serial,
            not_before: UnixTime(1_735_689_600),
            not_after: UnixTime(2_051_222_400),
            extensions: Extensions::default(),
            algorithm: None,
            key_ids: true,
        }
    }

    /// A version 1 certificate: the extensions are left out.
    #[must_use]
    pub const fn version_1(mut self) -> Self {
        self.version = 1;
        self
    }

    /// The serial number: big-endian magnitude.
    #[must_use]
    pub fn serial(mut self, magnitude: &[u8]) -> Self {
        self.serial = magnitude.to_vec();
        self
    }

    /// notBefore and notAfter.
    #[must_use]
    pub const fn validity(mut self, not_before: UnixTime, not_after: UnixTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// Signs in another algorithm than the key's default.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// A certification authority, with this path length: BasicConstraints, keyCertSign and cRLSign.
    #[must_use]
    pub fn authority(self, path_len: Option<u32>) -> Self {
        self.basic_constraints(BasicConstraints { ca: true, path_len })
            .key_usage(KeyUsage::KEY_CERT_SIGN | KeyUsage::CRL_SIGN)
    }

    /// Somebody who signs mail from these addresses: digitalSignature, emailProtection, subjectAltName.
    #[must_use]
    pub fn mail_signer(self, addresses: &[&str]) -> Self {
        self.key_usage(KeyUsage::DIGITAL_SIGNATURE)
            .ext_key_usage(&[oid::EMAIL_PROTECTION])
            .mail(addresses)
    }

    /// BasicConstraints, critical.
    #[must_use]
    pub fn basic_constraints(self, value: BasicConstraints) -> Self {
        self.extension(oid::BASIC_CONSTRAINTS, true, &value.to_der())
    }

    /// KeyUsage, critical; bits of [`KeyUsage`].
    #[must_use]
    pub fn key_usage(self, bits: u16) -> Self {
        self.extension(oid::KEY_USAGE, true, &KeyUsage(bits).to_der())
    }

    /// ExtKeyUsage.
    #[must_use]
    pub fn ext_key_usage(self, purposes: &[Oid<'_>]) -> Self {
        let all: Vec<_> = purposes
            .iter()
            .map(|purpose| write::oid(*purpose))
            .collect();
        self.extension(oid::EXT_KEY_USAGE, false, &write::seq(&all))
    }

    /// SubjectAltName; critical where the subject is empty, as RFC 5280 asks.
    #[must_use]
    pub fn subject_alt_names(self, names: &[GeneralName]) -> Self {
        let critical = self.subject.is_empty();
        self.extension(oid::SUBJECT_ALT_NAME, critical, &general_names(names))
    }

    /// SubjectAltName with these addresses, as rfc822Name or, beyond ASCII, SmtpUTF8Mailbox.
    #[must_use]
    pub fn mail(self, addresses: &[&str]) -> Self {
        let names: Vec<_> = addresses
            .iter()
            .map(|address| match address.is_ascii() {
                true => GeneralName::Rfc822((*address).into()),
                false => GeneralName::smtp_utf8_mailbox(address),
            })
            .collect();
        self.subject_alt_names(&names)
    }

    /// NameConstraints, critical.
    #[must_use]
    pub fn name_constraints(self, value: &NameConstraints) -> Self {
        self.extension(oid::NAME_CONSTRAINTS, true, &value.to_der())
    }

    /// CertificatePolicies.
    #[must_use]
    pub fn policies(self, policies: &[Oid<'_>]) -> Self {
        let all: Vec<_> = policies
            .iter()
            .map(|policy| write::seq(&[write::oid(*policy)]))
            .collect();
        self.extension(oid::CERTIFICATE_POLICIES, false, &write::seq(&all))
    }

    /// PolicyMappings, critical: issuer domain, subject domain.
    #[must_use]
    pub fn policy_mappings(self, pairs: &[(Oid<'_>, Oid<'_>)]) -> Self {
        let all: Vec<_> = pairs
            .iter()
            .map(|(from, to)| write::seq(&[write::oid(*from), write::oid(*to)]))
            .collect();
        self.extension(oid::POLICY_MAPPINGS, true, &write::seq(&all))
    }

    /// PolicyConstraints, critical.
    #[must_use]
    pub fn policy_constraints(self, value: PolicyConstraints) -> Self {
        self.extension(oid::POLICY_CONSTRAINTS, true, &value.to_der())
    }

    /// InhibitAnyPolicy, critical.
    #[must_use]
    pub fn inhibit_any_policy(self, skip: u32) -> Self {
        self.extension(
            oid::INHIBIT_ANY_POLICY,
            true,
            &write::integer(i64::from(skip)),
        )
    }

    /// CRLDistributionPoints.
    #[must_use]
    pub fn crl_distribution_points(self, points: &[DistributionPoint]) -> Self {
        let all: Vec<_> = points.iter().map(DistributionPoint::to_der).collect();
        self.extension(oid::CRL_DISTRIBUTION_POINTS, false, &write::seq(&all))
    }

    /// AuthorityKeyIdentifier, in place of the one made from the issuer.
    #[must_use]
    pub fn authority_key_id(self, value: &AuthorityKeyId) -> Self {
        self.extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &value.to_der())
    }

    /// No subjectKeyIdentifier and no authorityKeyIdentifier but those set by hand.
    #[must_use]
    pub const fn without_key_ids(mut self) -> Self {
        self.key_ids = false;
        self
    }

    /// Any extension: `value` is the content of extnValue. Given twice it is written twice.
    #[must_use]
    pub fn extension(mut self, oid: Oid<'_>, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(oid, critical, value);
        self
    }

    /// Signs as `issuer`, whose certificate gives name and authority key identifier.
    pub fn issued_by(
        self,
        issuer: &Certificate,
        key: &dyn SigningKey,
    ) -> Result<Certificate, KeyError> {
        let id = match issuer.subject_key_id() {
            Ok(Some(id)) => id.to_vec(),
            _ => key_id(issuer.public_key()),
        };
        self.sign(issuer.subject(), &id, key)
    }

    /// Signs with its own key.
    pub fn self_signed(self, key: &dyn SigningKey) -> Result<Certificate, KeyError> {
        let (issuer, id) = (self.subject.clone(), self.key_id.clone());
        self.sign(&issuer, &id, key)
    }

    /// Signs under any issuer name and key identifier.
    pub fn sign(
        self,
        issuer: &Name,
        issuer_key_id: &[u8],
        key: &dyn SigningKey,
    ) -> Result<Certificate, KeyError> {
        let der = self.sign_der(issuer, issuer_key_id, key)?;
        Certificate::from_der(&der).map_err(|_| KeyError::Malformed)
    }

    /// As [`Self::sign`], for bytes that need not read as a certificate.
    pub fn sign_der(
        self,
        issuer: &Name,
        issuer_key_id: &[u8],
        key: &dyn SigningKey,
    ) -> Result<Vec<u8>, KeyError> {
        let algorithm = self.algorithm.unwrap_or_else(|| key.default_algorithm());
        let identifier = algorithm.to_identifier().to_der();
        let mut extensions = self.extensions;
        if self.key_ids {
            if !extensions.has(oid::SUBJECT_KEY_IDENTIFIER) {
                extensions.push(
                    oid::SUBJECT_KEY_IDENTIFIER,
                    false,
                    &write::octet_string(&self.key_id),
                );
            }
            if !extensions.has(oid::AUTHORITY_KEY_IDENTIFIER) {
                let id = AuthorityKeyId {
                    key_id: Some(issuer_key_id.into()),
                    ..AuthorityKeyId::default()
                };
                extensions.push(oid::AUTHORITY_KEY_IDENTIFIER, false, &id.to_der());
            }
        }
        let mut fields = Vec::new();
        if self.version == 3 {
            fields.push(write::explicit(0, &write::integer(2)));
        }
        fields.push(write::unsigned(&self.serial));
        fields.push(identifier.clone());
        fields.push(issuer.der().to_vec());
        fields.push(write::seq(&[
            write::time(self.not_before),
            write::time(self.not_after),
        ]));
        fields.push(self.subject.der().to_vec());
        fields.push(self.spki);
        if self.version == 3 {
            fields.extend(extensions.to_der(3));
        }
        sign(&write::seq(&fields), &identifier, algorithm, key)
    }
}

/// A name with just a common name.
pub fn common_name(text: &str) -> Result<Name, crate::der::DerError> {
    NameBuilder::default().with(oid::COMMON_NAME, text).build()
}

/// The key identifier of RFC 5280 §4.2.1.2 (1).
#[must_use]
pub fn key_id(key: &PublicKey) -> Vec<u8> {
    DigestAlgorithm::Sha1.digest(key.bits()).as_ref().to_vec()
}

/// Extensions in the order in which they were given.
#[derive(Clone, Debug, Default)]
struct Extensions(Vec<(OidBuf, Vec<u8>)>);

impl Extensions {
    fn push(&mut self, oid: Oid<'_>, critical: bool, value: &[u8]) {
        let mut fields = vec![write::oid(oid)];
        if critical {
            fields.push(write::boolean(true));
        }
        fields.push(write::octet_string(value));
        self.0.push((oid.to_buf(), write::seq(&fields)));
    }

    fn has(&self, oid: Oid<'_>) -> bool {
        self.0.iter().any(|(given, _)| *given == oid)
    }

    /// The SEQUENCE, if there is anything to put in.
    fn sequence(&self) -> Option<Vec<u8>> {
        let all: Vec<_> = self.0.iter().map(|(_, der)| der.as_slice()).collect();
        (!all.is_empty()).then(|| write::seq(&all))
    }

    fn to_der(&self, tag: u8) -> Option<Vec<u8>> {
        self.sequence()
            .map(|sequence| write::explicit(tag, &sequence))
    }
}

/// SEQUENCE { tbs, algorithm, signature }.
fn sign(
    tbs: &[u8],
    identifier: &[u8],
    algorithm: SignatureAlgorithm,
    key: &dyn SigningKey,
) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(algorithm, tbs)?;
    Ok(write::seq(&[
        tbs,
        identifier,
        &write::bit_string(&signature),
    ]))
}
