//! From bytes to answers. <https://www.rfc-editor.org/rfc/rfc6960#section-4.2>

use crate::algorithm::AlgorithmIdentifier;
use crate::certificate::Certificate;
use crate::crl::{RevocationReason, RevokedEntry, invalidity_date};
use crate::crypto::DigestAlgorithm;
use crate::der::{
    DerError, ENUMERATED, INTEGER, OCTET_STRING, Reader, context, context_constructed,
};
use crate::extension::ExtensionSet;
use crate::name::Name;
use crate::oid;
use crate::signed::Signed;

use super::{CertId, CertStatus, Inner, OcspAnswer, OcspError, Responder};

impl From<DerError> for OcspError {
    fn from(error: DerError) -> Self {
        Self::Malformed(error.0)
    }
}

pub(super) fn response(bytes: &[u8]) -> Result<Inner, OcspError> {
    if bytes.len() > MAX_RESPONSE {
        return Err(OcspError::Malformed("longer than 1 MiB"));
    }
    let mut outer = Reader::new(bytes);
    let mut reader = outer.sequence()?;
    outer.finish()?;
    let mut status = reader.element(ENUMERATED)?;
    status.tag = INTEGER;
    let word = match status.small()? {
        0 => None,
        1 => Some("malformedRequest"),
        2 => Some("internalError"),
        3 => Some("tryLater"),
        5 => Some("sigRequired"),
        6 => Some("unauthorized"),
        _ => Some("a status that the standard does not have"),
    };
    if let Some(word) = word {
        return Err(OcspError::NotSuccessful(word));
    }
    let mut wrapped = reader.nested(context_constructed(0))?;
    reader.finish()?;
    let mut typed = wrapped.sequence()?;
    wrapped.finish()?;
    let kind = typed.oid()?;
    if kind != oid::OCSP_BASIC {
        return Err(OcspError::UnknownType(kind.to_buf()));
    }
    let basic = typed.octet_string()?;
    typed.finish()?;
    Ok(basic_response(bytes, basic)?)
}

fn basic_response(whole: &[u8], bytes: &[u8]) -> Result<Inner, DerError> {
    let (basic, tbs, mut rest) = Signed::read_with_more(bytes)?;
    let mut certificates = Vec::new();
    if let Some(field) = rest.optional(context_constructed(0))? {
        let mut inner = field.reader();
        let mut list = inner.sequence()?;
        inner.finish()?;
        while !list.is_empty() {
            if certificates.len() >= MAX_CERTIFICATES {
                return Err(DerError("too many certificates"));
            }
            // One that does not read cannot have signed the answer, and another may have.
            if let Ok(certificate) = Certificate::from_der(list.any()?.raw) {
                certificates.push(certificate);
            }
        }
    }
    rest.finish()?;

    let mut reader = tbs.reader();
    if let Some(version) = reader.optional(context_constructed(0))? {
        let mut inner = version.reader();
        if inner.small()? != 0 {
            return Err(DerError("unknown version"));
        }
        inner.finish()?;
    }
    let responder = reader.any()?;
    let mut inner = responder.reader();
    let responder = match responder.tag {
        tag if tag == context_constructed(1) => Responder::Name(Name::read(&mut inner)?),
        tag if tag == context_constructed(2) => {
            Responder::KeyHash(inner.element(OCTET_STRING)?.content.into())
        }
        _ => return Err(DerError("responderID has a bad form")),
    };
    inner.finish()?;
    let produced_at = reader.time()?;
    let mut list = reader.sequence()?;
    let mut answers = Vec::new();
    while !list.is_empty() {
        if answers.len() >= MAX_ANSWERS {
            return Err(DerError("too many answers"));
        }
        answers.push(answer(list.sequence()?)?);
    }
    let extensions = match reader.optional(context_constructed(1))? {
        Some(field) => extensions(&mut field.reader())?,
        None => ExtensionSet::empty(),
    };
    reader.finish()?;
    let nonce = extensions
        .all()
        .iter()
        .find(|one| one.oid == oid::OCSP_NONCE);
    let nonce = nonce.map(|one| Reader::new(&one.value).octet_string().map(Box::from));
    Ok(Inner {
        der: whole.into(),
        basic,
        responder,
        produced_at,
        answers,
        nonce: nonce.transpose()?,
        unknown_critical: extensions.unknown_critical(&[oid::OCSP_NONCE]),
        certificates,
    })
}

fn extensions(reader: &mut Reader<'_>) -> Result<ExtensionSet, DerError> {
    let read = ExtensionSet::read(reader)?;
    if reader.is_empty() {
        Ok(read)
    } else {
        Err(DerError("something follows the extensions"))
    }
}

fn answer(mut reader: Reader<'_>) -> Result<OcspAnswer, DerError> {
    let certificate = cert_id(reader.sequence()?)?;
    let element = reader.any()?;
    let mut status = match element.tag {
        tag if tag == context(0) && element.content.is_empty() => CertStatus::Good,
        tag if tag == context_constructed(1) => {
            let mut inner = element.reader();
            let date = inner.time()?;
            let reason = match inner.optional(context_constructed(0))? {
                Some(field) => {
                    let mut field = field.reader();
                    let mut code = field.element(ENUMERATED)?;
                    field.finish()?;
                    code.tag = INTEGER;
                    RevocationReason::from_code(code.small()?)
                }
                None => RevocationReason::Unspecified,
            };
            inner.finish()?;
            CertStatus::Revoked(RevokedEntry {
                date,
                reason,
                invalidity_date: None,
            })
        }
        tag if tag == context(2) && element.content.is_empty() => CertStatus::Unknown,
        _ => return Err(DerError("certStatus has a bad form")),
    };
    let this_update = reader.time()?;
    let next_update = match reader.optional(context_constructed(0))? {
        Some(field) => {
            let mut inner = field.reader();
            let time = inner.time()?;
            inner.finish()?;
            Some(time)
        }
        None => None,
    };
    let extensions = match reader.optional(context_constructed(1))? {
        Some(field) => extensions(&mut field.reader())?,
        None => ExtensionSet::empty(),
    };
    reader.finish()?;
    // The extensions of a list's entry may stand here too (RFC 6960 §4.4.5).
    let mut dates = extensions.all().iter();
    if let CertStatus::Revoked(entry) = &mut status {
        let date = dates.find(|one| one.oid == oid::INVALIDITY_DATE);
        entry.invalidity_date = date.map(|one| invalidity_date(&one.value));
    }
    Ok(OcspAnswer {
        certificate,
        status,
        this_update,
        next_update,
        not_understood: !extensions.unknown_critical(&[]).is_empty(),
    })
}

fn cert_id(mut reader: Reader<'_>) -> Result<CertId, DerError> {
    let algorithm = AlgorithmIdentifier::read(&mut reader)?;
    let (issuer_name, issuer_key) = (reader.octet_string()?, reader.octet_string()?);
    let serial = reader.integer()?;
    reader.finish()?;
    Ok(CertId {
        digest: DigestAlgorithm::from_identifier(&algorithm),
        issuer_name: issuer_name.into(),
        issuer_key: issuer_key.into(),
        serial: serial.into(),
    })
}

/// An answer about one certificate with its responder's chain has a few thousand octets.
const MAX_RESPONSE: usize = 1 << 20;
const MAX_CERTIFICATES: usize = 16;
const MAX_ANSWERS: usize = 1000;
