//! Certificate revocation lists, made for lists of a million entries: one pass over the bytes, sixteen
//! octets of index an entry, look-up by binary search. What a list is authorised to say is for
//! [`crate::path`]. <https://www.rfc-editor.org/rfc/rfc5280#section-5>

mod abridged;
mod parse;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::{Bundle, CertificateError};
use crate::crypto::{Digest, PublicKey, VerifyError};
use crate::extension::{
    AuthorityKeyId, Extension, ExtensionSet, FieldError, IssuingDistributionPoint,
};
use crate::name::Name;
use crate::oid::OidBuf;
use crate::signed::Signed;
use crate::time::UnixTime;

pub use stream::{AbridgedCrl, CrlStream, StreamError, StreamedEntry};

pub(crate) use parse::invalidity_date;

/// A complete or delta CRL.
#[derive(Clone)]
pub struct Crl(Arc<Inner>);

impl Crl {
    /// Reads exactly one CRL in DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CrlError> {
        parse::crl(bytes)
            .map(|inner| Self(Arc::new(inner)))
            .map_err(|error| CrlError::Malformed(error.0))
    }

    /// Reads a file: DER or PEM with any number of CRLs, or a PKCS#7 that carries some.
    pub fn from_pem_or_der_many(bytes: &[u8]) -> Result<Vec<Self>, CrlError> {
        let found = Bundle::read(bytes)
            .map_err(|error| match error {
                CertificateError::Malformed(what) => CrlError::Malformed(what),
                CertificateError::Pem(error) => CrlError::Pem(error),
                CertificateError::Empty => CrlError::Empty,
            })?
            .crls;
        if found.is_empty() {
            Err(CrlError::Empty)
        } else {
            Ok(found)
        }
    }

    /// The bytes as they came; none where somebody else keeps its entries.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.0.signed.der()
    }

    /// The bytes that the issuer signed; none where somebody else keeps the entries.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.0.signed.tbs()
    }

    /// Who issued it.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// thisUpdate.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.0.this_update
    }

    /// nextUpdate.
    #[must_use]
    pub fn next_update(&self) -> Option<UnixTime> {
        self.0.next_update
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
        if self.is_known_of(issuer_key) {
            return Ok(());
        }
        self.0.signed.verify(&self.0.inner_algorithm, issuer_key)?;
        self.0.signed_by.get_or_init(|| issuer_key.id());
        Ok(())
    }

    /// Whether [`Self::verify_signature`] found this key to have signed it before.
    pub(crate) fn is_known_of(&self, issuer_key: &PublicKey) -> bool {
        self.0.signed_by.get() == Some(&issuer_key.id())
    }

    /// All extensions of the list as they came.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        self.0.extensions.all()
    }

    /// cRLNumber: magnitude without leading zeros.
    pub fn crl_number(&self) -> Result<Option<&[u8]>, FieldError> {
        borrow(&self.0.crl_number).map(|number| number.map(|n| &**n))
    }

    /// BaseCRLNumber of a delta CRL: magnitude without leading zeros.
    pub fn delta_base(&self) -> Result<Option<&[u8]>, FieldError> {
        borrow(&self.0.delta_base).map(|number| number.map(|n| &**n))
    }

    /// Whether this is a delta CRL (or says so unreadably).
    #[must_use]
    pub fn is_delta(&self) -> bool {
        !matches!(self.0.delta_base, Ok(None))
    }

    /// AuthorityKeyIdentifier.
    pub fn authority_key_id(&self) -> Result<Option<&AuthorityKeyId>, FieldError> {
        borrow(&self.0.authority_key_id)
    }

    /// IssuingDistributionPoint.
    pub fn issuing_distribution_point(
        &self,
    ) -> Result<Option<&IssuingDistributionPoint>, FieldError> {
        borrow(&self.0.issuing_distribution_point)
    }

    /// Critical extensions, of the list or of any entry, that this crate has no type for.
    #[must_use]
    pub fn unknown_critical(&self) -> &[OidBuf] {
        &self.0.unknown_critical
    }

    /// How many entries; none where nobody has them at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0.entries {
            Entries::Here(entries) => entries.len(),
            Entries::Elsewhere(entries) => entries.len(),
            Entries::Nowhere => 0,
        }
    }

    /// Whether somebody else keeps its entries.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        matches!(self.0.entries, Entries::Elsewhere(_))
    }

    /// Who keeps its entries, where that is somebody else.
    #[must_use]
    pub fn kept_by(&self) -> Option<&dyn RevokedEntries> {
        match &self.0.entries {
            Entries::Elsewhere(entries) => Some(&**entries),
            _ => None,
        }
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of the certificate that the CRL's own issuer issued with this serial (content octets).
    #[must_use]
    pub fn find(&self, serial: &[u8]) -> Option<RevokedEntry> {
        self.find_of(&self.0.issuer, serial)
    }

    /// The entry of the certificate that `issuer` issued with this serial, in an indirect CRL too.
    #[must_use]
    pub fn find_of(&self, issuer: &Name, serial: &[u8]) -> Option<RevokedEntry> {
        let entries = match &self.0.entries {
            Entries::Here(entries) => entries,
            Entries::Elsewhere(entries) => {
                let own = (&self.0.issuer == issuer).then_some(0);
                let named = self.0.issuers.iter().zip(1..);
                let named = named.filter(|(name, _)| *name == issuer);
                let mut numbers = own.into_iter().chain(named.map(|(_, number)| number));
                return numbers.find_map(|number| entries.find(number, serial));
            }
            Entries::Nowhere => return None,
        };
        let from = entries.partition_point(|entry| self.0.serial(entry) < serial);
        entries
            .get(from..)?
            .iter()
            .take_while(|entry| self.0.serial(entry) == serial)
            .find(|entry| self.0.issuer_of(entry) == Some(issuer))
            .and_then(|entry| self.0.read_entry(entry))
    }

    /// SHA-256 of the whole.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        self.0.signed.sha256()
    }
}

/// Octet by octet, as far as SHA-256 tells.
impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.sha256() == other.sha256()
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("issuer", self.issuer())
            .field("this_update", &self.this_update())
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

/// CRLReason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// unspecified, or no reason given.
    Unspecified,
    /// keyCompromise.
    KeyCompromise,
    /// cACompromise.
    CaCompromise,
    /// affiliationChanged.
    AffiliationChanged,
    /// superseded.
    Superseded,
    /// cessationOfOperation.
    CessationOfOperation,
    /// certificateHold.
    CertificateHold,
    /// removeFromCRL, in delta CRLs only.
    RemoveFromCrl,
    /// privilegeWithdrawn.
    PrivilegeWithdrawn,
    /// aACompromise.
    AaCompromise,
}

impl RevocationReason {
    /// By the number of the standard; one that the standard does not have is unspecified.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::KeyCompromise,
            2 => Self::CaCompromise,
            3 => Self::AffiliationChanged,
            4 => Self::Superseded,
            5 => Self::CessationOfOperation,
            6 => Self::CertificateHold,
            8 => Self::RemoveFromCrl,
            9 => Self::PrivilegeWithdrawn,
            10 => Self::AaCompromise,
            _ => Self::Unspecified,
        }
    }

    /// The number of the standard (ReasonFlags counts otherwise from privilegeWithdrawn on).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::RemoveFromCrl => 8,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The word of RFC 5280.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::RemoveFromCrl => "removeFromCRL",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }

    /// Whether it says for certain that the key was in nobody else's hands. An unspecified reason may be any,
    /// and a hold is a question that is still open: it is what a lost card gets first.
    #[must_use]
    pub const fn leaves_the_key_sound(self) -> bool {
        match self {
            Self::AffiliationChanged
            | Self::Superseded
            | Self::CessationOfOperation
            | Self::PrivilegeWithdrawn => true,
            Self::Unspecified
            | Self::KeyCompromise
            | Self::CaCompromise
            | Self::CertificateHold
            | Self::RemoveFromCrl
            | Self::AaCompromise => false,
        }
    }
}

/// What a CRL says of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedEntry {
    /// revocationDate.
    pub date: UnixTime,
    /// reasonCode.
    pub reason: RevocationReason,
    /// invalidityDate: since when the certificate was no good, as its issuer thinks; the first of all times
    /// where that cannot be read.
    pub invalidity_date: Option<UnixTime>,
}

impl RevokedEntry {
    /// Whether a signature that was there at `proven_at` was made with a certificate that was still good, and a
    /// key that nobody else had.
    #[must_use]
    pub fn is_outlived_by(&self, proven_at: UnixTime) -> bool {
        let since = self.invalidity_date.unwrap_or(self.date).min(self.date);
        proven_at < since && self.reason.leaves_the_key_sound()
    }
}

/// Why bytes are not a CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The bytes are not a CRL in DER.
    #[error("not a CRL: {0}")]
    Malformed(&'static str),
    /// The file has bad PEM.
    #[error(transparent)]
    Pem(#[from] crate::pem::PemError),
    /// The file holds no CRL.
    #[error("no CRL found")]
    Empty,
}

type Field<T> = Result<Option<T>, FieldError>;

struct Inner {
    signed: Signed,
    inner_algorithm: AlgorithmIdentifier,
    issuer: Name,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    extensions: ExtensionSet,
    unknown_critical: Vec<OidBuf>,
    crl_number: Field<Box<[u8]>>,
    delta_base: Field<Box<[u8]>>,
    authority_key_id: Field<AuthorityKeyId>,
    issuing_distribution_point: Field<IssuingDistributionPoint>,
    entries: Entries,
    /// Issuers that entries of an indirect CRL name.
    issuers: Vec<Name>,
    /// The key that was found to have signed it: a long list is hashed once, not once a message.
    signed_by: OnceLock<Digest>,
}

/// The entries of a list.
enum Entries {
    /// Sorted by serial, entries of one serial in order of the list.
    Here(Vec<Entry>),
    /// Somebody else keeps them.
    Elsewhere(Arc<dyn RevokedEntries>),
    /// Nobody has them at hand.
    Nowhere,
}

/// Who keeps the entries of a list that is too long to be kept as it is.
pub trait RevokedEntries: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first entry of this serial (content octets) and issuer, as [`StreamedEntry`] has them.
    fn find(&self, issuer: u32, serial: &[u8]) -> Option<RevokedEntry>;
}

/// Where an entry stands in the bytes.
#[derive(Clone, Copy)]
struct Entry {
    serial: u32,
    serial_end: u32,
    end: u32,
    /// 0 is the CRL's own issuer, n the n-th of `issuers`.
    issuer: u32,
}

impl Inner {
    fn serial(&self, entry: &Entry) -> &[u8] {
        slice(self.signed.der(), entry.serial, entry.serial_end)
    }

    fn issuer_of(&self, entry: &Entry) -> Option<&Name> {
        match entry.issuer.checked_sub(1) {
            None => Some(&self.issuer),
            Some(index) => self.issuers.get(usize::try_from(index).ok()?),
        }
    }

    fn read_entry(&self, entry: &Entry) -> Option<RevokedEntry> {
        parse::entry(slice(self.signed.der(), entry.serial_end, entry.end))
    }
}

const fn borrow<T>(field: &Field<T>) -> Result<Option<&T>, FieldError> {
    match field {
        Ok(value) => Ok(value.as_ref()),
        Err(error) => Err(*error),
    }
}

fn slice(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) => bytes.get(from..to).unwrap_or_default(),
        _ => &[],
    }
}
