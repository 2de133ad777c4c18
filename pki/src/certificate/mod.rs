//! Certificates: read once, owned, cheap to clone.
//!
//! A field that cannot be read (a date, an extension) does not sink the certificate: it is kept as an
//! error that its accessor returns, so that validation fails it. Nothing here judges a certificate.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4>

mod bundle;
mod memo;
mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::address::Address;
use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::{PublicKey, VerifyError};
use crate::der::{IA5_STRING, Reader, UTF8_STRING};
use crate::extension::{
    AccessDescription, AuthorityKeyId, BasicConstraints, DistributionPoint, Extension,
    ExtensionSet, FieldError, GeneralName, KeyUsage, NameConstraints, PolicyConstraints,
    PolicyInformation, PolicyMapping, read,
};
use crate::name::Name;
use crate::oid::{self, OidBuf};
use crate::signed::Signed;
use crate::time::UnixTime;

pub use bundle::Bundle;
pub use memo::Memo;

/// An X.509 certificate.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

impl Certificate {
    /// Reads exactly one certificate in DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        parse::certificate(bytes)
            .map(|inner| Self(Arc::new(inner)))
            .map_err(|error| CertificateError::Malformed(error.0))
    }

    /// Reads a file: DER, PEM with any number of certificates, or a certs-only PKCS#7.
    pub fn from_pem_or_der_many(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let found = Bundle::read(bytes)?.certificates;
        if found.is_empty() {
            Err(CertificateError::Empty)
        } else {
            Ok(found)
        }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.0.signed.der()
    }

    /// The bytes that the issuer signed.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.0.signed.tbs()
    }

    /// 1, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.0.version
    }

    /// The content octets of the serial number's INTEGER.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The serial number as people write it: lower-case hex, without the octet that DER puts before
    /// a number whose first bit is set.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        let octets = match self.serial() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            octets => octets,
        };
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Who issued it.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// Whom it is for.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// From when it is valid.
    pub fn not_before(&self) -> Result<UnixTime, FieldError> {
        self.0.not_before
    }

    /// Until when it is valid, that second included.
    pub fn not_after(&self) -> Result<UnixTime, FieldError> {
        self.0.not_after
    }

    /// The subject's key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// SubjectPublicKeyInfo as it came.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.0.public_key.spki()
    }

    /// The outer signatureAlgorithm. That the inner one differs shows in [`Self::verify_signature`].
    #[must_use]
    pub fn signature_algorithm(&self) -> &AlgorithmIdentifier {
        self.0.signed.algorithm()
    }

    /// The signature's octets.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.0.signed.signature()
    }

    /// Whether the holder of `issuer_key` signed this. Strength is not judged here.
    pub fn verify_signature(&self, issuer_key: &PublicKey) -> Result<(), VerifyError> {
        self.0.signed.verify(&self.0.inner_algorithm, issuer_key)
    }

    /// All extensions as they came.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        self.0.extensions.all()
    }

    /// Critical extensions that this crate has no type for.
    #[must_use]
    pub fn unknown_critical(&self) -> &[OidBuf] {
        &self.0.unknown_critical
    }

    /// BasicConstraints.
    pub fn basic_constraints(&self) -> Result<Option<&BasicConstraints>, FieldError> {
        borrow(&self.0.basic_constraints)
    }

    /// KeyUsage.
    pub fn key_usage(&self) -> Result<Option<KeyUsage>, FieldError> {
        self.0.key_usage
    }

    /// ExtKeyUsage.
    pub fn ext_key_usage(&self) -> Result<Option<&[OidBuf]>, FieldError> {
        Ok(borrow(&self.0.ext_key_usage)?.map(Vec::as_slice))
    }

    /// SubjectKeyIdentifier.
    pub fn subject_key_id(&self) -> Result<Option<&[u8]>, FieldError> {
        Ok(borrow(&self.0.subject_key_id)?.map(|id| &**id))
    }

    /// AuthorityKeyIdentifier.
    pub fn authority_key_id(&self) -> Result<Option<&AuthorityKeyId>, FieldError> {
        borrow(&self.0.authority_key_id)
    }

    /// SubjectAltName.
    pub fn subject_alt_names(&self) -> Result<Option<&[GeneralName]>, FieldError> {
        Ok(borrow(&self.0.subject_alt_names)?.map(Vec::as_slice))
    }

    /// NameConstraints.
    pub fn name_constraints(&self) -> Result<Option<&NameConstraints>, FieldError> {
        borrow(&self.0.name_constraints)
    }

    /// CertificatePolicies.
    pub fn policies(&self) -> Result<Option<&[PolicyInformation]>, FieldError> {
        Ok(borrow(&self.0.policies)?.map(Vec::as_slice))
    }

    /// PolicyMappings.
    pub fn policy_mappings(&self) -> Result<Option<&[PolicyMapping]>, FieldError> {
        Ok(borrow(&self.0.policy_mappings)?.map(Vec::as_slice))
    }

    /// PolicyConstraints.
    pub fn policy_constraints(&self) -> Result<Option<&PolicyConstraints>, FieldError> {
        borrow(&self.0.policy_constraints)
    }

    /// InhibitAnyPolicy.
    pub fn inhibit_any_policy(&self) -> Result<Option<u32>, FieldError> {
        self.0.inhibit_any_policy
    }

    /// CRLDistributionPoints.
    pub fn crl_distribution_points(&self) -> Result<Option<&[DistributionPoint]>, FieldError> {
        Ok(borrow(&self.0.crl_distribution_points)?.map(Vec::as_slice))
    }

    /// AuthorityInfoAccess ([RFC 5280 §4.2.2.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.2.1)); none
    /// where it is absent. Read at each call: no path depends on it.
    ///
    /// # Errors
    /// When it is there and does not read.
    pub fn authority_info_access(&self) -> Result<Vec<AccessDescription>, FieldError> {
        let field = self.0.extensions.field(
            oid::AUTHORITY_INFO_ACCESS,
            "authorityInfoAccess",
            read::access_descriptions,
        );
        Ok(field?.unwrap_or_default())
    }

    /// SHA-256 of the whole.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        self.0.signed.sha256()
    }

    /// Mail addresses of the subjectAltName: rfc822Name and SmtpUTF8Mailbox. Names that are not one
    /// mailbox are left out; an extension that does not read (a NUL in a name, say) is an error.
    pub fn addresses(&self) -> Result<Vec<Address>, FieldError> {
        let names = self.subject_alt_names()?.unwrap_or_default();
        Ok(names.iter().filter_map(address).collect())
    }

    /// Whether subjectAltName holds a mail address in either form, also one that cannot be read.
    ///
    /// # Errors
    /// As [`Certificate::addresses`].
    pub fn has_mail_names(&self) -> Result<bool, FieldError> {
        let names = self.subject_alt_names()?.unwrap_or_default();
        Ok(names.iter().any(|name| match name {
            GeneralName::Rfc822(_) => true,
            GeneralName::Other { oid: form, .. } => *form == oid::SMTP_UTF8_MAILBOX,
            _ => false,
        }))
    }

    /// Mail addresses of the subject's emailAddress attributes.
    #[must_use]
    pub fn subject_addresses(&self) -> Vec<Address> {
        self.subject()
            .attributes()
            .filter(|attribute| {
                attribute.oid() == oid::EMAIL_ADDRESS && attribute.tag() == IA5_STRING
            })
            .filter_map(|attribute| Address::parse(&attribute.text()?).ok())
            .collect()
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Whether its own key signed it, as that of a root did. One that is self-issued may lead to another key, where that
    /// was renewed.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.verify_signature(self.public_key()).is_ok()
    }
}

/// Octet by octet.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.der() == other.der()
    }
}

impl Eq for Certificate {}

impl std::hash::Hash for Certificate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.sha256().hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", self.subject())
            .field("issuer", self.issuer())
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not a certificate in DER.
    #[error("not a certificate: {0}")]
    Malformed(&'static str),
    /// The file has bad PEM.
    #[error(transparent)]
    Pem(#[from] crate::pem::PemError),
    /// The file holds no certificate.
    #[error("no certificate found")]
    Empty,
}

/// A field that may be absent and may not read.
type Field<T> = Result<Option<T>, FieldError>;

struct Inner {
    signed: Signed,
    version: u8,
    serial: Box<[u8]>,
    inner_algorithm: AlgorithmIdentifier,
    issuer: Name,
    not_before: Result<UnixTime, FieldError>,
    not_after: Result<UnixTime, FieldError>,
    subject: Name,
    public_key: PublicKey,
    extensions: ExtensionSet,
    unknown_critical: Vec<OidBuf>,
    basic_constraints: Field<BasicConstraints>,
    key_usage: Field<KeyUsage>,
    ext_key_usage: Field<Vec<OidBuf>>,
    subject_key_id: Field<Box<[u8]>>,
    authority_key_id: Field<AuthorityKeyId>,
    subject_alt_names: Field<Vec<GeneralName>>,
    name_constraints: Field<NameConstraints>,
    policies: Field<Vec<PolicyInformation>>,
    policy_mappings: Field<Vec<PolicyMapping>>,
    policy_constraints: Field<PolicyConstraints>,
    inhibit_any_policy: Field<u32>,
    crl_distribution_points: Field<Vec<DistributionPoint>>,
}

const fn borrow<T>(field: &Field<T>) -> Result<Option<&T>, FieldError> {
    match field {
        Ok(value) => Ok(value.as_ref()),
        Err(error) => Err(*error),
    }
}

/// The mailbox that a general name is.
fn address(name: &GeneralName) -> Option<Address> {
    match name {
        GeneralName::Rfc822(text) => Address::parse(text).ok(),
        GeneralName::Other { oid, value } if *oid == oid::SMTP_UTF8_MAILBOX => {
            let mut reader = Reader::new(value);
            let text = reader.element(UTF8_STRING).ok()?.content;
            reader.finish().ok()?;
            // RFC 9598 §3: only for local parts beyond ASCII; others would get around rfc822Name constraints.
            Address::parse(std::str::from_utf8(text).ok()?)
                .ok()
                .filter(|address| !address.is_ascii())
        }
        _ => None,
    }
}
