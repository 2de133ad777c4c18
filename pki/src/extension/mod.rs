//! Certificate and CRL extensions as types. Reading only: what they mean for a path is for [`crate::path`].
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.2>

pub(crate) mod read;
mod set;
pub(crate) mod write;

use crate::name::Name;
use crate::oid::OidBuf;

pub(crate) use set::ExtensionSet;

/// A field that is there and cannot be read. It does not sink the certificate; who needs the field fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct FieldError {
    /// Which field or extension.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

/// An extension as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Which.
    pub oid: OidBuf,
    /// Whether who does not know it must give up.
    pub critical: bool,
    /// The content of extnValue.
    pub value: Box<[u8]>,
}

/// GeneralName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneralName {
    /// otherName.
    Other {
        /// type-id.
        oid: OidBuf,
        /// The value, a whole element, without its explicit tag.
        value: Box<[u8]>,
    },
    /// rfc822Name.
    Rfc822(Box<str>),
    /// dNSName.
    Dns(Box<str>),
    /// x400Address, as it came.
    X400(Box<[u8]>),
    /// directoryName.
    Directory(Name),
    /// ediPartyName, as it came.
    EdiParty(Box<[u8]>),
    /// uniformResourceIdentifier.
    Uri(Box<str>),
    /// iPAddress: 4 or 16 octets, in name constraints 8 or 32.
    Ip(Box<[u8]>),
    /// registeredID.
    RegisteredId(OidBuf),
}

/// BasicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BasicConstraints {
    /// cA.
    pub ca: bool,
    /// pathLenConstraint.
    pub path_len: Option<u32>,
}

/// KeyUsage, bit n of the extension in bit n of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: u16 = 1;
    /// nonRepudiation, also called contentCommitment.
    pub const NON_REPUDIATION: u16 = 1 << 1;
    /// keyEncipherment.
    pub const KEY_ENCIPHERMENT: u16 = 1 << 2;
    /// dataEncipherment.
    pub const DATA_ENCIPHERMENT: u16 = 1 << 3;
    /// keyAgreement.
    pub const KEY_AGREEMENT: u16 = 1 << 4;
    /// keyCertSign.
    pub const KEY_CERT_SIGN: u16 = 1 << 5;
    /// cRLSign.
    pub const CRL_SIGN: u16 = 1 << 6;
    /// encipherOnly.
    pub const ENCIPHER_ONLY: u16 = 1 << 7;
    /// decipherOnly.
    pub const DECIPHER_ONLY: u16 = 1 << 8;

    /// Whether any of `bits` is set.
    #[must_use]
    pub const fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }
}

/// AuthorityKeyIdentifier.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AuthorityKeyId {
    /// keyIdentifier.
    pub key_id: Option<Box<[u8]>>,
    /// authorityCertIssuer.
    pub issuer: Vec<GeneralName>,
    /// authorityCertSerialNumber: content octets of the INTEGER.
    pub serial: Option<Box<[u8]>>,
}

/// NameConstraints: `minimum` is 0 and `maximum` absent, or the extension does not read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NameConstraints {
    /// permittedSubtrees.
    pub permitted: Vec<GeneralName>,
    /// excludedSubtrees.
    pub excluded: Vec<GeneralName>,
}

/// PolicyInformation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInformation {
    /// policyIdentifier.
    pub policy: OidBuf,
    /// policyQualifiers, the whole SEQUENCE as it came.
    pub qualifiers: Option<Box<[u8]>>,
}

/// One pair of PolicyMappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyMapping {
    /// issuerDomainPolicy.
    pub issuer: OidBuf,
    /// subjectDomainPolicy.
    pub subject: OidBuf,
}

/// PolicyConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PolicyConstraints {
    /// requireExplicitPolicy.
    pub require_explicit_policy: Option<u32>,
    /// inhibitPolicyMapping.
    pub inhibit_policy_mapping: Option<u32>,
}

/// DistributionPointName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DistributionPointName {
    /// fullName.
    Full(Vec<GeneralName>),
    /// nameRelativeToCRLIssuer: the content octets of the RDN's SET OF.
    Relative(Box<[u8]>),
}

/// ReasonFlags, bit n of the BIT STRING in bit n of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonFlags(pub u16);

/// DistributionPoint.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DistributionPoint {
    /// distributionPoint.
    pub name: Option<DistributionPointName>,
    /// reasons; all when absent.
    pub reasons: Option<ReasonFlags>,
    /// cRLIssuer.
    pub crl_issuer: Vec<GeneralName>,
}

/// AccessDescription of AuthorityInfoAccess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessDescription {
    /// accessMethod: id-ad-ocsp, id-ad-caIssuers, or another.
    pub method: OidBuf,
    /// accessLocation.
    pub location: GeneralName,
}

/// IssuingDistributionPoint of a CRL.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IssuingDistributionPoint {
    /// distributionPoint.
    pub name: Option<DistributionPointName>,
    /// onlyContainsUserCerts.
    pub only_user_certs: bool,
    /// onlyContainsCACerts.
    pub only_ca_certs: bool,
    /// onlySomeReasons.
    pub only_some_reasons: Option<ReasonFlags>,
    /// indirectCRL.
    pub indirect: bool,
    /// onlyContainsAttributeCerts.
    pub only_attribute_certs: bool,
}
