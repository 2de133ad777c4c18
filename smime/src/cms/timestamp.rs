//! Time stamps over a signature value (RFC 3161 appendix A; RFC 5126 §6.1.1 calls them signature-time-stamp):
//! the one unsigned attribute that is read. Whoever passes a mail on can add it or take it away, so that it
//! counts only by its own signature; and it changes nothing of what is found out about the signer.
//!
//! The tokens lie in the tape of the object that holds them. A time stamp within a time stamp is not looked at.

use kenin_pki::ber::Cursor;
use kenin_pki::certificate::{Certificate, Memo};
use kenin_pki::tst_info::TstInfo;

use super::attributes::attribute_parts;
use super::signed_data::{SignedData, SignerInfo};
use super::verify::{Budget, Verifier};
use super::{Content, content_info, oids};
use crate::facts::{Ess, LayerKind, TimeStampFacts};
use crate::limits::Limits;

/// The time stamps of a signer that are right. A wrong one is left out, whatever is wrong with it.
pub(super) fn read(
    signer: &SignerInfo<'_, '_>,
    known: &[Certificate],
    limits: &Limits,
    memo: Option<&Memo>,
    budget: &mut Budget,
) -> Vec<TimeStampFacts> {
    let Some(attributes) = signer.unsigned_attributes else {
        return Vec::new();
    };
    let limits = Limits {
        // RFC 3161 §2.4.2: the authority signs, and nobody else.
        signers: 1,
        certificates: limits.certificates.min(MAX_CERTIFICATES),
        ..limits.clone()
    };
    let tokens = attributes.children().filter_map(token).take(MAX_TOKENS);
    tokens
        .filter_map(|token| verify(token, &signer.signature, known, &limits, memo, budget))
        .collect()
}

/// The token of an attribute, if it is one with a single value.
fn token<'t, 'a>(attribute: Cursor<'t, 'a>) -> Option<Cursor<'t, 'a>> {
    let (oid, values) = attribute_parts(attribute)?;
    if oids::TIME_STAMP_TOKEN == oid {
        values.only_child()
    } else {
        None
    }
}

/// Reads a token and checks its mathematics: over these octets, signed once, by the certificate that it names.
fn verify(
    token: Cursor<'_, '_>,
    stamped: &[u8],
    known: &[Certificate],
    limits: &Limits,
    memo: Option<&Memo>,
    budget: &mut Budget,
) -> Option<TimeStampFacts> {
    if budget.timestamp_checks == 0 {
        return None;
    }
    let (_, content) = content_info(token)
        .ok()
        .filter(|(kind, _)| *kind == LayerKind::Opaque)?;
    let signed = SignedData::read(content, limits, memo).ok()?;
    let octets = signed
        .octets()
        .filter(|octets| oids::TST_INFO == signed.content_type && octets.total() <= MAX_INFO)?;
    let info = TstInfo::from_der(&octets.clone().contiguous()).ok()?;
    let [only] = signed.signers.as_slice() else {
        return None;
    };
    if !info.is_of(stamped) {
        return None;
    }
    let checks = budget.timestamp_checks.min(MAX_CHECKS);
    let mut own = Budget {
        signature_checks: checks,
        digested_bytes: MAX_DIGESTED,
        timestamp_checks: 0,
    };
    let pieces = Content::Pieces(octets.collect());
    let facts = Verifier::new(pieces, known, &mut own).signer(&signed, SignerInfo::read(*only));
    let spent = checks.saturating_sub(own.signature_checks);
    budget.timestamp_checks = budget.timestamp_checks.saturating_sub(spent);
    // That the content-type attribute says TSTInfo, and all the rest of RFC 5652, is among the defects.
    if facts.defect.is_some() || !facts.content.is_ok() || facts.ess != Ess::Matched {
        return None;
    }
    let certificate = facts.verified()?.certificate.clone();
    Some(TimeStampFacts {
        info,
        certificate,
        digest: facts.digest?,
        algorithm: facts.algorithm?,
        certificates: signed.certificates,
        crls: signed.crls,
        ocsp: signed.ocsp,
    })
}

/// Tokens of one signer; programs write one, or two where they change their authority.
const MAX_TOKENS: usize = 4;

/// Certificates that one token brings: its authority's, and those above.
const MAX_CERTIFICATES: usize = 16;

/// Certificates that are tried for the signature of one token.
const MAX_CHECKS: usize = 4;

/// Octets of a TSTInfo.
const MAX_INFO: usize = 64 << 10;

/// Octets that are hashed for one token: the TSTInfo and the attributes, for each certificate tried.
const MAX_DIGESTED: usize = 256 << 10;
