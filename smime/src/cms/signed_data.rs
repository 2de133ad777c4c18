//! SignedData and SignerInfo as structures (RFC 5652 §5.1, §5.3), over a tape. Versions are not looked
//! at: programs write them wrongly and nothing depends on them. Judges nothing but form.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{Cursor, Octets, Tag};
use kenin_pki::certificate::{Certificate, Memo};
use kenin_pki::crl::Crl;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::oid::Oid;

use crate::cms::{Refusal, algorithm, oids};
use crate::defect::Defect;
use crate::facts::SignerId;
use crate::limits::Limits;

/// A SignedData.
pub(crate) struct SignedData<'t, 'a> {
    pub(crate) content_type: Oid<'a>,
    /// The eContent, if there is one.
    pub(crate) content: Option<Cursor<'t, 'a>>,
    pub(crate) certificates: Vec<Certificate>,
    /// Certificates that cannot be read, raw.
    pub(crate) unreadable: Vec<&'a [u8]>,
    pub(crate) crls: Vec<Crl>,
    pub(crate) unreadable_crls: bool,
    /// OCSP responses among the CRLs.
    pub(crate) ocsp: Vec<OcspResponse>,
    pub(crate) signers: Vec<Cursor<'t, 'a>>,
}

/// A SignerInfo.
pub(crate) struct SignerInfo<'t, 'a> {
    pub(crate) sid: SignerId,
    pub(crate) digest: AlgorithmIdentifier,
    pub(crate) signed_attributes: Option<Cursor<'t, 'a>>,
    pub(crate) algorithm: AlgorithmIdentifier,
    pub(crate) signature: Vec<u8>,
    /// For [`super::timestamp`] only: nothing else that is not signed is read.
    pub(crate) unsigned_attributes: Option<Cursor<'t, 'a>>,
}

const BAD: Refusal = (Defect::Malformed, "the SignedData has a wrong structure");

impl<'t, 'a> SignedData<'t, 'a> {
    /// Reads a SignedData.
    pub(crate) fn read(
        content: Cursor<'t, 'a>,
        limits: &Limits,
        memo: Option<&Memo>,
    ) -> Result<Self, Refusal> {
        if !content.is(Tag::SEQUENCE) {
            return Err(BAD);
        }
        let mut children = content.children().peekable();
        children.next().and_then(Cursor::integer).ok_or(BAD)?;
        // The digest algorithms are a hint for readers in one pass; each signer says its own.
        children
            .next()
            .filter(|child| child.is(Tag::SET) && child.children().all(is_identifier))
            .ok_or(BAD)?;
        let encapsulated = children
            .next()
            .filter(|child| child.is(Tag::SEQUENCE))
            .ok_or(BAD)?;
        let (content_type, content) = encapsulated_content(encapsulated)?;
        let mut read = Self {
            content_type,
            content,
            certificates: Vec::new(),
            unreadable: Vec::new(),
            crls: Vec::new(),
            unreadable_crls: false,
            ocsp: Vec::new(),
            signers: Vec::new(),
        };
        if let Some(set) = children.next_if(|child| child.is_context(0)) {
            read.read_certificates(set, limits, memo)?;
        }
        if let Some(set) = children.next_if(|child| child.is_context(1)) {
            read.read_crls(set, limits)?;
        }
        let signers = children
            .next()
            .filter(|child| child.is(Tag::SET))
            .ok_or(BAD)?;
        if children.next().is_some() {
            return Err(BAD);
        }
        read.signers = signers.children().take(limits.signers + 1).collect();
        if read.signers.len() > limits.signers {
            return Err((Defect::LimitSigners, "there are too many SignerInfos"));
        }
        Ok(read)
    }

    /// The octets of the eContent.
    pub(crate) fn octets(&self) -> Option<Octets<'t, 'a>> {
        self.content.and_then(Cursor::octet_string)
    }

    /// Whether the content is ordinary data, which in mail is a MIME entity.
    pub(crate) fn is_data(&self) -> bool {
        oids::DATA == self.content_type
    }

    fn read_certificates(
        &mut self,
        set: Cursor<'t, 'a>,
        limits: &Limits,
        memo: Option<&Memo>,
    ) -> Result<(), Refusal> {
        for (number, child) in set.children().enumerate() {
            if number >= limits.certificates {
                return Err((Defect::LimitCertificates, "there are too many certificates"));
            }
            // Extended, attribute and other certificates have context tags and no use here.
            if !child.is(Tag::SEQUENCE) {
                continue;
            }
            let read = memo.map_or_else(
                || Certificate::from_der(child.raw()),
                |memo| memo.from_der(child.raw()),
            );
            match read {
                Ok(certificate) => {
                    if !self
                        .certificates
                        .iter()
                        .any(|other| other.der() == certificate.der())
                    {
                        self.certificates.push(certificate);
                    }
                }
                Err(_) => self.unreadable.push(child.raw()),
            }
        }
        Ok(())
    }

    fn read_crls(&mut self, set: Cursor<'t, 'a>, limits: &Limits) -> Result<(), Refusal> {
        for (number, child) in set.children().enumerate() {
            if number >= limits.crls {
                return Err((Defect::LimitCertificates, "there are too many CRLs"));
            }
            if child.is(Tag::SEQUENCE) {
                match Crl::from_der(child.raw()) {
                    Ok(crl) => self.crls.push(crl),
                    Err(_) => self.unreadable_crls = true,
                }
            } else if let Some(response) = ocsp_response(child) {
                match OcspResponse::from_der(response) {
                    Ok(response) => self.ocsp.push(response),
                    Err(_) => self.unreadable_crls = true,
                }
            }
        }
        Ok(())
    }
}

/// An OCSPResponse in an OtherRevocationInfoFormat (RFC 5652 §10.2.1, RFC 5940 §2.1).
fn ocsp_response<'a>(info: Cursor<'_, 'a>) -> Option<&'a [u8]> {
    let mut children = info.is_context(1).then(|| info.children())?;
    let format = children.next().and_then(Cursor::oid)?;
    let response = children.next()?;
    (oids::OCSP_RESPONSE == format && children.next().is_none()).then(|| response.raw())
}

fn is_identifier(child: Cursor<'_, '_>) -> bool {
    child.is(Tag::SEQUENCE) && child.first_child().and_then(Cursor::oid).is_some()
}

fn encapsulated_content<'t, 'a>(
    info: Cursor<'t, 'a>,
) -> Result<(Oid<'a>, Option<Cursor<'t, 'a>>), Refusal> {
    let mut children = info.children();
    let content_type = children.next().and_then(Cursor::oid).ok_or(BAD)?;
    let content = match children.next() {
        None => None,
        Some(wrapper) if wrapper.is_context(0) => {
            let content = wrapper.only_child().ok_or(BAD)?;
            // PKCS #7 allowed any type here; nobody agrees on what is hashed then.
            content
                .octet_string()
                .ok_or((Defect::Malformed, "the eContent is no OCTET STRING"))?;
            Some(content)
        }
        Some(_) => return Err(BAD),
    };
    if children.next().is_some() {
        return Err(BAD);
    }
    Ok((content_type, content))
}

impl<'t, 'a> SignerInfo<'t, 'a> {
    /// Reads a SignerInfo.
    pub(crate) fn read(cursor: Cursor<'t, 'a>) -> Option<Self> {
        if !cursor.is(Tag::SEQUENCE) {
            return None;
        }
        let mut children = cursor.children().peekable();
        children.next()?.integer()?;
        let sid = signer_id(children.next()?)?;
        let digest = algorithm(children.next()?)?;
        let signed_attributes = children.next_if(|child| child.is_context(0));
        let algorithm = algorithm(children.next()?)?;
        let signature = children.next()?.octet_string()?.contiguous().into_owned();
        let unsigned_attributes = children.next_if(|child| child.is_context(1));
        if children.next().is_some() {
            return None;
        }
        Some(Self {
            sid,
            digest,
            signed_attributes,
            algorithm,
            signature,
            unsigned_attributes,
        })
    }
}

fn signer_id(cursor: Cursor<'_, '_>) -> Option<SignerId> {
    if cursor.is(Tag::SEQUENCE) {
        let mut children = cursor.children();
        let issuer = children
            .next()
            .filter(|child| child.is(Tag::SEQUENCE))?
            .to_der()
            .into_owned();
        let serial = children.next()?.integer()?.to_vec();
        return children
            .next()
            .is_none()
            .then_some(SignerId::IssuerAndSerial { issuer, serial });
    }
    let octets = cursor.octets(Tag::context(0))?;
    Some(SignerId::KeyId(octets.contiguous().into_owned()))
}
