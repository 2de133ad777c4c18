//! Signed attributes (RFC 5652 §5.3, §11; RFC 5035; RFC 6211): read over the received bytes, which have
//! to be DER. Attributes without a meaning here are signed but not looked at.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{Cursor, Tag};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::der;
use kenin_pki::name::Name;
use kenin_pki::time::UnixTime;

use crate::cms::oids::{self, Known};
use crate::cms::{Refusal, algorithm, algorithm_content, capabilities};
use crate::defect::Defect;
use crate::facts::Capabilities;

/// The signed attributes of one signer.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// What was signed: the received bytes as a SET OF.
    pub(crate) signed: Vec<u8>,
    /// The first thing that is wrong with them as a whole.
    pub(crate) defect: Option<Refusal>,
    /// Content octets of the content-type value.
    pub(crate) content_type: Option<Vec<u8>>,
    /// The message-digest value.
    pub(crate) message_digest: Option<Vec<u8>>,
    /// The signing-time value.
    pub(crate) signing_time: Option<UnixTime>,
    /// There is a signing-time that cannot be read.
    pub(crate) signing_time_odd: bool,
    /// The ESS attributes: first certificate identifier of each, `None` where unreadable.
    pub(crate) ess: Vec<Option<EssCertificate>>,
    /// The CMSAlgorithmProtection value, `Some(None)` where unreadable.
    pub(crate) protection: Option<Option<(AlgorithmIdentifier, AlgorithmIdentifier)>>,
    /// The first SMIMECapabilities, where they can be read. They decide nothing about a signature.
    pub(crate) capabilities: Option<Capabilities>,
}

/// An ESSCertID or ESSCertIDv2.
#[derive(Debug)]
pub(crate) struct EssCertificate {
    digest: DigestAlgorithm,
    hash: Vec<u8>,
    issuer_serial: Option<(Name, Vec<u8>)>,
}

impl EssCertificate {
    /// Whether it names this certificate.
    pub(crate) fn names(&self, certificate: &Certificate) -> bool {
        let rest = self.issuer_serial.as_ref().is_none_or(|(issuer, serial)| {
            same_integer(serial, certificate.serial()) && issuer == certificate.issuer()
        });
        rest && self.digest.digest(certificate.der()).as_ref() == self.hash
    }
}

impl Attributes {
    /// Reads `[0] IMPLICIT SET OF Attribute`.
    pub(crate) fn read(cursor: Cursor<'_, '_>) -> Result<Self, Refusal> {
        const BAD: Refusal = (
            Defect::Malformed,
            "the signed attributes have a wrong structure",
        );
        let mut signed = cursor.raw().to_vec();
        if let Some(first) = signed.first_mut() {
            *first = 0x31;
        }
        let mut read = Self {
            signed,
            ..Self::default()
        };
        let mut sorted = cursor.has_der_header() && der::is_der_set_of(cursor.content());
        let mut seen: Vec<Known> = Vec::new();
        let mut odd_count = None;
        for attribute in cursor.children() {
            let (oid, values) = attribute_parts(attribute).ok_or(BAD)?;
            sorted = sorted && der::is_der_set_of(values.content());
            let Some(known) = KNOWN.into_iter().find(|known| *known == oid) else {
                if oids::SMIME_CAPABILITIES == oid && read.capabilities.is_none() {
                    read.capabilities = values.only_child().and_then(capabilities::read);
                }
                continue;
            };
            if seen.contains(&known) {
                odd_count = Some((
                    Defect::AttributeDuplicate,
                    "a signed attribute occurs twice",
                ));
                continue;
            }
            seen.push(known);
            match (values.first_child(), values.only_child()) {
                (_, Some(value)) => read.take(known, value),
                (Some(_), None) => {
                    odd_count = Some((
                        Defect::AttributeDuplicate,
                        "a signed attribute has several values",
                    ));
                }
                (None, _) => {
                    odd_count = odd_count.or(Some((
                        Defect::AttributeMissing,
                        "a signed attribute has no value",
                    )));
                }
            }
        }
        read.defect = if sorted {
            odd_count
        } else {
            Some((
                Defect::AttributesNotDer,
                "the signed attributes are not in DER",
            ))
        };
        Ok(read)
    }

    fn take(&mut self, known: Known, value: Cursor<'_, '_>) {
        match known {
            oids::CONTENT_TYPE => {
                self.content_type = value.oid().map(|oid| oid.content().to_vec());
            }
            oids::MESSAGE_DIGEST => {
                self.message_digest = value
                    .octet_string()
                    .map(|all| all.contiguous().into_owned());
            }
            oids::SIGNING_TIME => {
                self.signing_time = time(value);
                self.signing_time_odd = self.signing_time.is_none();
            }
            oids::SIGNING_CERTIFICATE => self.ess.push(ess(value, false)),
            oids::SIGNING_CERTIFICATE_V2 => self.ess.push(ess(value, true)),
            oids::ALGORITHM_PROTECTION => self.protection = Some(protection(value)),
            _ => {}
        }
    }
}

/// The attributes that are looked at: each at most once, with one value.
const KNOWN: [Known; 6] = [
    oids::CONTENT_TYPE,
    oids::MESSAGE_DIGEST,
    oids::SIGNING_TIME,
    oids::SIGNING_CERTIFICATE,
    oids::SIGNING_CERTIFICATE_V2,
    oids::ALGORITHM_PROTECTION,
];

/// The type of an Attribute and the SET of its values.
pub(super) fn attribute_parts<'t, 'a>(
    attribute: Cursor<'t, 'a>,
) -> Option<(kenin_pki::oid::Oid<'a>, Cursor<'t, 'a>)> {
    if !attribute.is(Tag::SEQUENCE) {
        return None;
    }
    let mut children = attribute.children();
    let oid = children.next()?.oid()?;
    let values = children.next().filter(|values| values.is(Tag::SET))?;
    children.next().is_none().then_some((oid, values))
}

fn time(value: Cursor<'_, '_>) -> Option<UnixTime> {
    if value.is_constructed() {
        None
    } else if value.is(Tag::universal(23)) {
        UnixTime::from_utc_time(value.content())
    } else if value.is(Tag::universal(24)) {
        UnixTime::from_generalized_time(value.content())
    } else {
        None
    }
}

/// The first certificate of a SigningCertificate or SigningCertificateV2: the signer's.
fn ess(value: Cursor<'_, '_>, second_version: bool) -> Option<EssCertificate> {
    let list = value.is(Tag::SEQUENCE).then(|| value.first_child())??;
    let first = list.is(Tag::SEQUENCE).then(|| list.first_child())??;
    if !first.is(Tag::SEQUENCE) {
        return None;
    }
    let mut children = first.children().peekable();
    let digest = if second_version {
        match children.next_if(|child| child.is(Tag::SEQUENCE)) {
            Some(identifier) => DigestAlgorithm::from_identifier(&algorithm(identifier)?)?,
            None => DigestAlgorithm::Sha256,
        }
    } else {
        DigestAlgorithm::Sha1
    };
    if digest == DigestAlgorithm::Md5 {
        return None;
    }
    let hash = children.next()?.octet_string()?.contiguous().into_owned();
    let issuer_serial = match children.next() {
        None => None,
        Some(both) => Some(issuer_serial(both)?),
    };
    if children.next().is_some() {
        return None;
    }
    Some(EssCertificate {
        digest,
        hash,
        issuer_serial,
    })
}

/// IssuerSerial (RFC 5035 §5.4): the issuer is exactly one directoryName.
fn issuer_serial(both: Cursor<'_, '_>) -> Option<(Name, Vec<u8>)> {
    let mut children = both.is(Tag::SEQUENCE).then(|| both.children())?;
    let names = children.next().filter(|names| names.is(Tag::SEQUENCE))?;
    let name = names.only_child().filter(|name| name.is_context(4))?;
    let issuer = Name::from_der(name.only_child()?.raw()).ok()?;
    let serial = children.next()?.integer()?.to_vec();
    children.next().is_none().then_some((issuer, serial))
}

fn protection(value: Cursor<'_, '_>) -> Option<(AlgorithmIdentifier, AlgorithmIdentifier)> {
    let mut children = value.is(Tag::SEQUENCE).then(|| value.children())?;
    let digest = algorithm(children.next()?)?;
    let signature = children.next().filter(|child| child.is_context(1))?;
    let signature = algorithm_content(signature)?;
    children.next().is_none().then_some((digest, signature))
}

/// Whether two INTEGERs are equal, as content octets that may carry padding.
pub(crate) fn same_integer(one: &[u8], other: &[u8]) -> bool {
    fn trim(mut octets: &[u8]) -> &[u8] {
        while let [0, rest @ ..] = octets {
            octets = rest;
        }
        octets
    }
    trim(one) == trim(other)
}

/// Whether `content` is itself a DER SET OF Attribute, so that a signature over it could be moved to
/// a message without signed attributes and back.
///
/// <https://datatracker.ietf.org/doc/draft-ietf-lamps-cms-euf-cma-signeddata/>
pub(crate) fn is_signed_attributes(content: &[u8]) -> bool {
    if content.first() != Some(&0x31) {
        return false;
    }
    let mut outer = der::Reader::new(content);
    let Ok(mut set) = outer.set() else {
        return false;
    };
    if !outer.is_empty() || set.is_empty() {
        return false;
    }
    while !set.is_empty() {
        let Ok(mut attribute) = set.sequence() else {
            return false;
        };
        if attribute.oid().is_err() || attribute.set().is_err() || !attribute.is_empty() {
            return false;
        }
    }
    true
}
