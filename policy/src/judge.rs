//! From facts, trust and answers to a verdict: the rules for when a signature is `pass`.
//!
//! Default is not-pass. `pass` is said in one place, the function `pass`, which takes a `Proof`: a
//! value that only exists when every condition holds. Never looks at the message itself and never
//! at the clock.

use std::collections::HashSet;

use kenin_pki::path::Budget;
use kenin_pki::time::UnixTime;
use kenin_smime::{Check, Defect, EncryptionFacts, LayerKind, Note, SignatureFacts};

use crate::note::NoteId;
use crate::protection::Agreement;
use crate::reason::{Reason, ResultWord};
use crate::step::{AtHand, Case};
use crate::trust::Disclosure;
use crate::verdict::{
    CheckResult, Checks, EncryptionVerdict, LayerVerdict, NoteVerdict, SignatureVerdict, Verdict,
};

mod certificate;
mod signer;
pub(crate) mod timestamp;
pub(crate) mod traces;

use certificate::Judged;
use signer::JudgedSigner;
pub(crate) use signer::in_question;

/// Proof that every condition for `pass` holds for one signer.
#[derive(Debug)]
struct Proof {
    _mathematics: signer::Sound,
    _strength: certificate::Strong,
    _path: certificate::Chained,
    _identity: crate::identity::Identified,
}

/// The one place that says `pass`.
fn pass(_proof: Proof) -> Reason {
    Reason::Ok
}

/// What to look for in a message whose header holds such a field.
const DOUBTFUL_FIELD: &str =
    "a header field has a name or a length that other programs end, break or cut the header at";

/// Judges a case with everything that is at hand.
pub(crate) fn judge(case: &Case<'_>, at_hand: &AtHand<'_>) -> Verdict {
    let examined = &case.examined;
    let mut budget = case.budget.clone();
    // Root signatures come first, so that nested ones cannot use up their budget.
    let mut signatures: Vec<SignatureVerdict> = Vec::new();
    for root in [true, false] {
        for signature in examined
            .signatures
            .iter()
            .filter(|signature| signature.root == root)
        {
            signatures.push(judge_signature(case, at_hand, signature, &mut budget));
        }
    }
    unfinished(examined.defect, &mut signatures);
    let (result, reason) = whole(case, &signatures);
    let mut notes: Vec<NoteVerdict> = Vec::new();
    let own = examined.notes.iter().map(|note| NoteVerdict {
        id: note_id(*note),
        section: None,
    });
    for note in own.chain(
        signatures
            .iter()
            .flat_map(|signature| signature.notes.clone()),
    ) {
        if !notes.iter().any(|other| other.id == note.id) {
            notes.push(note);
        }
    }
    Verdict {
        result,
        reason,
        from: case
            .from()
            .map(|from| from.addresses.clone())
            .unwrap_or_default(),
        signatures,
        encryption: examined.encryption.iter().map(encryption).collect(),
        layers: examined
            .layers
            .iter()
            .map(|layer| LayerVerdict {
                section: layer.section.clone(),
                kind: layer.kind.as_str(),
                root: layer.root,
            })
            .collect(),
        notes,
        detail: examined.detail.map(str::to_owned),
        revision: case.trust.revision().to_owned(),
    }
}

/// Where the message could not be read to its end, what was read of it says nothing better: the stamp
/// speaks signature by signature, and must not say `pass` of one that stands in such a message.
fn unfinished(defect: Option<Defect>, signatures: &mut [SignatureVerdict]) {
    let Some(reason) = defect.map(defect_reason) else {
        return;
    };
    for signature in signatures.iter_mut().filter(|signature| signature.root) {
        if signature.result.badness() < reason.result().badness() {
            (signature.result, signature.reason) = (reason.result(), reason);
        }
    }
}

/// Result and reason of the message: the worst root signature; without one, why there is none.
fn whole(case: &Case<'_>, signatures: &[SignatureVerdict]) -> (Option<ResultWord>, Option<Reason>) {
    let examined = &case.examined;
    let said = |reason: Reason| (Some(reason.result()), Some(reason));
    // A message that could not be read to its end has no better result than that.
    if let Some(defect) = examined.defect {
        return said(defect_reason(defect));
    }
    let worst = signatures
        .iter()
        .filter(|signature| signature.root)
        .map(|signature| signature.reason)
        .max_by_key(|reason| reason.badness());
    if let Some(worst) = worst {
        return said(worst);
    }
    if examined.root_encrypted() {
        return (None, None);
    }
    let unread = examined
        .layers
        .iter()
        .filter(|layer| layer.root)
        .find_map(|layer| layer.defect);
    if let Some(defect) = unread {
        return said(defect_reason(defect));
    }
    match signatures.is_empty() {
        true => said(Reason::NotSigned),
        false => said(Reason::SignatureNotAtRoot),
    }
}

fn judge_signature(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    signature: &SignatureFacts,
    budget: &mut Budget,
) -> SignatureVerdict {
    let mut notes: HashSet<NoteId> = signature.notes.iter().map(|note| note_id(*note)).collect();
    let mut signers: Vec<JudgedSigner> = signature
        .signers
        .iter()
        .map(|facts| signer::judge(case, at_hand, signature, facts, budget))
        .collect();
    let disclosure = disclosure(case, signature, &signers);
    let traces = match disclosure {
        Disclosure::Full => Vec::new(),
        Disclosure::VerdictOnly => traces::of_layer(case, signature, &signers),
    };
    let (mut reason, chosen) = together(&mut signers, &mut notes);
    let chosen = chosen.map(|place| signers.swap_remove(place));
    if let Some(defect) = signature.defect {
        reason = defect_reason(defect);
    }
    // Whatever else is wrong says more to the person who reads it.
    let split_differently = signature.root && case.doubtful && reason == Reason::Ok;
    if split_differently {
        reason = Reason::AmbiguousMime;
    }
    let content_lost = chosen
        .as_ref()
        .is_some_and(|signer| signer.checks.content == CheckResult::Failed(Reason::DigestMismatch));
    if content_lost && signature.content_type_iso2022jp_7bit {
        notes.insert(NoteId::EscLossSuspected);
    }
    if signature.root && case.header == Agreement::NotCovered {
        notes.insert(NoteId::NotCoveredHeaders);
    }
    if reason == Reason::FromMismatch && case.listed {
        notes.insert(NoteId::ListRewroteFrom);
    }
    let facts = chosen
        .as_ref()
        .and_then(|signer| signature.signers.get(signer.place));
    if let Some(facts) = facts {
        notes.extend(facts.notes.iter().map(|note| note_id(*note)));
        let judged = chosen
            .as_ref()
            .and_then(|signer| signer.certificate.as_ref());
        if facts
            .signing_time
            .is_some_and(|time| is_odd(time, judged, case.time))
        {
            notes.insert(NoteId::SigningTimeOdd);
        }
    }
    let judged = chosen
        .as_ref()
        .and_then(|signer| signer.certificate.as_ref());
    if judged.is_some_and(|judged| judged.status_unknown) {
        notes.insert(NoteId::StatusUnknown);
    }
    let mut notes: Vec<NoteVerdict> = notes
        .into_iter()
        .map(|id| NoteVerdict {
            id,
            section: Some(signature.section.clone()),
        })
        .collect();
    notes.sort_by_key(|note| note.id);
    SignatureVerdict {
        section: signature.section.clone(),
        root: signature.root,
        within: signature.within.clone(),
        result: reason.result(),
        reason,
        checks: chosen
            .as_ref()
            .map_or(Checks::UNCHECKED, |signer| signer.checks),
        signer: judged.map(|judged| judged.signer.clone()),
        digest: facts
            .and_then(|facts| facts.digest)
            .map(|digest| digest.name().to_owned()),
        algorithm: facts
            .and_then(|facts| facts.algorithm)
            .map(|algorithm| algorithm.name().to_owned()),
        signing_time: facts
            .and_then(|facts| facts.signing_time)
            .map(|time| time.to_string()),
        detail: signature
            .detail
            .or_else(|| signature.defect.map(Defect::detail))
            .or(split_differently.then_some(DOUBTFUL_FIELD))
            .map(str::to_owned)
            .or_else(|| chosen.as_ref().and_then(|signer| signer.detail.clone())),
        notes,
        path: judged.map(|judged| judged.path.clone()).unwrap_or_default(),
        anchor: judged.and_then(|judged| judged.anchor.clone()),
        status: judged
            .map(|judged| judged.status.clone())
            .unwrap_or_default(),
        status_as_of: judged
            .and_then(|judged| judged.status_as_of)
            .map(|time| time.to_string()),
        revoked: judged.and_then(|judged| judged.revoked.clone()),
        disclosure,
        signers: signature.signers.len(),
        traces,
    }
}

/// How much of a layer may be shown: what the strictest of its signers allows, and of the certificates that came
/// along. Without a certificate that could be read nobody knows whose it is.
fn disclosure(case: &Case<'_>, signature: &SignatureFacts, signers: &[JudgedSigner]) -> Disclosure {
    let unknown = || certificate::unknown_issuer(case).disclosure == Disclosure::VerdictOnly;
    let nobody = || signers.is_empty() && unknown();
    let brought = || {
        let names = case.trust.shielded_names(case.known);
        let mut certificates = signature.certificates.iter();
        certificates.any(|one| names.contains(&one.issuer()))
    };
    match signers.iter().any(|one| is_closed(case, one)) || nobody() || brought() {
        true => Disclosure::VerdictOnly,
        false => Disclosure::Full,
    }
}

/// Whether the certificate of a signer must not be shown.
fn is_closed(case: &Case<'_>, signer: &JudgedSigner) -> bool {
    let disclosure = match &signer.certificate {
        Some(judged) => judged.settings.disclosure,
        None => certificate::unknown_issuer(case).disclosure,
    };
    disclosure == Disclosure::VerdictOnly
}

/// The signers of one layer as one: grouped by person. Gives the reason and the signer to show.
fn together(signers: &mut [JudgedSigner], notes: &mut HashSet<NoteId>) -> (Reason, Option<usize>) {
    let worst = |signers: &[JudgedSigner]| {
        signers
            .iter()
            .enumerate()
            .max_by_key(|(place, signer)| (signer.reason.badness(), usize::MAX - place))
            .map(|(place, signer)| (signer.reason, Some(place)))
    };
    let Some((worst_reason, worst_place)) = worst(signers) else {
        return (Reason::NoSigners, None);
    };
    // One wrong signature spoils the layer, whoever made it.
    if matches!(
        worst_reason.result(),
        ResultWord::PermError | ResultWord::Fail
    ) {
        return (worst_reason, worst_place);
    }
    if signers
        .iter()
        .any(|signer| signer.reason == Reason::MultipleSigners)
    {
        return (Reason::MultipleSigners, worst_place);
    }
    let sidelined = |signer: &JudgedSigner| {
        matches!(
            signer.reason,
            Reason::UnsupportedAlgorithm | Reason::WeakAlgorithm
        )
    };
    let persons: HashSet<&[String]> = signers.iter().map(|signer| signer.person()).collect();
    // What could not be checked now says nothing about trust.
    let trusts: HashSet<bool> = signers
        .iter()
        .filter(|signer| !sidelined(signer) && signer.reason.result() != ResultWord::TempError)
        .map(JudgedSigner::is_trusted)
        .collect();
    if persons.len() > 1 || trusts.len() > 1 {
        return (Reason::MultipleSigners, worst_place);
    }
    // One of the same person that could not be checked may be revoked: unknown is not pass.
    if worst_reason.result() == ResultWord::TempError {
        return (worst_reason, worst_place);
    }
    match signers
        .iter()
        .position(|signer| signer.reason == Reason::Ok)
    {
        Some(place) => {
            if signers.iter().any(sidelined) {
                notes.insert(NoteId::UnsupportedSigner);
            }
            (Reason::Ok, Some(place))
        }
        None => (worst_reason, worst_place),
    }
}

/// A claimed time that cannot be: before mail was signed, before the certificate, or in the future.
fn is_odd(claimed: UnixTime, judged: Option<&Judged>, now: UnixTime) -> bool {
    const DAY: i64 = 86_400;
    const YEAR_1995: i64 = 788_918_400;
    let before_certificate = judged
        .and_then(|judged| judged.not_before)
        .is_some_and(|since| claimed.0 < since.0 - DAY);
    claimed.0 < YEAR_1995 || claimed.0 > now.0.saturating_add(DAY) || before_certificate
}

/// The reason a defect is; the ids are the same, and a test sees to it.
pub(crate) fn defect_reason(defect: Defect) -> Reason {
    Reason::from_id(defect.id()).unwrap_or(Reason::Malformed)
}

fn check_result(check: Check) -> CheckResult {
    match check {
        Check::Ok => CheckResult::Ok,
        Check::Unchecked => CheckResult::Unchecked,
        Check::Failed(defect) => CheckResult::Failed(defect_reason(defect)),
    }
}

fn note_id(note: Note) -> NoteId {
    match note {
        Note::TypeMismatch => NoteId::TypeMismatch,
        Note::MicalgOdd => NoteId::MicalgOdd,
        Note::EscLossSuspected => NoteId::EscLossSuspected,
        Note::SigningTimeOdd => NoteId::SigningTimeOdd,
        Note::CertificateSkipped => NoteId::CertificateSkipped,
        Note::CrlSkipped => NoteId::CrlSkipped,
        Note::TrailingBytes => NoteId::TrailingBytes,
        Note::BoundaryOdd => NoteId::BoundaryOdd,
        Note::LineEndsConverted => NoteId::LineEndsConverted,
    }
}

fn encryption(facts: &EncryptionFacts) -> EncryptionVerdict {
    EncryptionVerdict {
        section: facts.section.clone(),
        opened: false,
        reason: "undecryptable",
        content: facts
            .algorithm_oid
            .as_deref()
            .map_or("unknown", cipher_name)
            .to_owned(),
        integrity: match facts.kind {
            LayerKind::AuthEnveloped => "aead".to_owned(),
            _ => "none".to_owned(),
        },
        recipients: facts.recipients,
    }
}

/// Names for content encryption algorithms; an OID that is not known names itself.
#[must_use]
pub fn cipher_name(oid: &str) -> &str {
    match oid {
        "2.16.840.1.101.3.4.1.2" => "aes-128-cbc",
        "2.16.840.1.101.3.4.1.22" => "aes-192-cbc",
        "2.16.840.1.101.3.4.1.42" => "aes-256-cbc",
        "2.16.840.1.101.3.4.1.6" => "aes-128-gcm",
        "2.16.840.1.101.3.4.1.26" => "aes-192-gcm",
        "2.16.840.1.101.3.4.1.46" => "aes-256-gcm",
        "2.16.840.1.101.3.4.1.7" => "aes-128-ccm",
        "2.16.840.1.101.3.4.1.27" => "aes-192-ccm",
        "2.16.840.1.101.3.4.1.47" => "aes-256-ccm",
        "1.2.840.113549.1.9.16.3.18" => "chacha20-poly1305",
        "1.2.840.113549.3.7" => "des-ede3-cbc",
        "1.2.840.113549.3.2" => "rc2-cbc",
        "1.3.14.3.2.7" => "des-cbc",
        other => other,
    }
}

#[cfg(test)]
mod tests;
