//! One SignerInfo: the mathematics that smime found, and the certificates that may stand behind it.
//!
//! Every certificate that matches the signer identifier is tried. Where the signer has named one
//! (ESS signing-certificate), only that one counts; where two would be accepted for different
//! persons, nobody is (RFC 5035, RFC 8551 §2.6).

use kenin_pki::path::Budget;
use kenin_smime::{Candidate, Check, SignatureFacts, SignerFacts};

use super::certificate::{self, Judged};
use super::{Proof, check_result, defect_reason, pass};
use crate::reason::Reason;
use crate::step::{AtHand, Case};
use crate::verdict::{CheckResult, Checks};

/// Proof that content and signature are right for the certificate at hand. Made in [`sound`] only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sound(());

/// What was found out about one signer.
#[derive(Debug)]
pub(super) struct JudgedSigner {
    /// Position in the layer.
    pub(super) place: usize,
    pub(super) reason: Reason,
    pub(super) checks: Checks,
    pub(super) certificate: Option<Judged>,
    pub(super) detail: Option<String>,
}

impl JudgedSigner {
    /// The addresses that tell persons apart.
    pub(super) fn person(&self) -> &[String] {
        self.certificate
            .as_ref()
            .map(|judged| judged.person.as_slice())
            .unwrap_or_default()
    }

    /// Whether the certificate leads to an anchor.
    pub(super) fn is_trusted(&self) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|judged| judged.chained.is_some())
    }
}

/// Judges one signer of a layer.
pub(super) fn judge(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    signature: &SignatureFacts,
    facts: &SignerFacts,
    budget: &mut Budget,
) -> JudgedSigner {
    let place = signature
        .signers
        .iter()
        .position(|other| std::ptr::eq(other, facts))
        .unwrap_or(0);
    let mut tried: Vec<(&Candidate, Judged)> = Vec::new();
    for candidate in in_question(facts) {
        let certificate = &candidate.certificate;
        let judged = certificate::judge(case, at_hand, signature, facts, certificate, budget);
        tried.push((candidate, judged));
    }
    let several = persons_accepted(&tried) > 1;
    // The one that comes furthest stands for the signer.
    let best = tried
        .into_iter()
        .map(|(candidate, judged)| {
            let checks = checks_of(facts, candidate, &judged);
            (
                reason_of(facts, candidate, &judged, &checks),
                checks,
                judged,
            )
        })
        .min_by_key(|(reason, _, _)| reason.badness());
    let detail = facts
        .detail
        .or_else(|| facts.defect.map(kenin_smime::Defect::detail));
    match best {
        Some((reason, checks, judged)) => JudgedSigner {
            place,
            reason: if several && reason.result() <= MULTIPLE.result() {
                MULTIPLE
            } else {
                reason
            },
            checks,
            detail: detail.map(str::to_owned).or_else(|| judged.detail.clone()),
            certificate: Some(judged),
        },
        None => JudgedSigner {
            place,
            reason: facts
                .defect
                .map_or(Reason::SignerCertificateMissing, defect_reason),
            checks: Checks {
                content: check_result(facts.content),
                ..Checks::UNCHECKED
            },
            detail: detail.map(str::to_owned),
            certificate: None,
        },
    }
}

const MULTIPLE: Reason = Reason::MultipleSigners;

/// The candidates worth a look: every one that is right. Where none is, the first one is shown with
/// what is wrong. A message can bring many that match by name; nothing is asked about those.
pub(crate) fn in_question(facts: &SignerFacts) -> impl Iterator<Item = &Candidate> {
    let none_right = !facts.candidates.iter().any(is_right);
    facts
        .candidates
        .iter()
        .enumerate()
        .filter(move |(place, candidate)| is_right(candidate) || (none_right && *place == 0))
        .map(|(_, candidate)| candidate)
}

/// The key of this certificate made the signature, and the signer did not name another one.
fn is_right(candidate: &Candidate) -> bool {
    candidate.signature.is_ok() && !matches!(candidate.ess, Check::Failed(_))
}

/// How many different persons would be accepted as the signer.
fn persons_accepted(tried: &[(&Candidate, Judged)]) -> usize {
    let mut persons: Vec<&[String]> = tried
        .iter()
        .filter(|(candidate, judged)| is_right(candidate) && judged.is_acceptable())
        .map(|(_, judged)| judged.person.as_slice())
        .collect();
    persons.sort();
    persons.dedup();
    persons.len()
}

fn checks_of(facts: &SignerFacts, candidate: &Candidate, judged: &Judged) -> Checks {
    Checks {
        content: check_result(facts.content),
        signature: check_result(candidate.signature),
        algorithm: judged.algorithm,
        path: judged.path_check,
        revocation: judged.revocation,
        identity: judged.identity,
    }
}

/// The conditions in their order. What is wrong with the signature itself comes first: nothing else
/// has a meaning then. Of the rest the worst counts.
fn reason_of(
    facts: &SignerFacts,
    candidate: &Candidate,
    judged: &Judged,
    checks: &Checks,
) -> Reason {
    if let Some(sound) = sound(facts, candidate)
        && let (Some(strength), Some(path), Some(identity)) =
            (judged.strong, judged.chained, judged.identified)
    {
        return pass(Proof {
            _mathematics: sound,
            _strength: strength,
            _path: path,
            _identity: identity,
        });
    }
    if let Some(defect) = facts.defect {
        return defect_reason(defect);
    }
    let failed = |check: CheckResult| match check {
        CheckResult::Failed(reason) => Some(reason),
        CheckResult::Ok | CheckResult::Unchecked => None,
    };
    if let Some(reason) = failed(checks.content).or_else(|| failed(checks.signature)) {
        return reason;
    }
    if let Check::Failed(defect) = candidate.ess {
        return defect_reason(defect);
    }
    if checks.algorithm == CheckResult::Failed(Reason::UnsupportedAlgorithm) {
        return Reason::UnsupportedAlgorithm;
    }
    let rest = [
        checks.algorithm,
        checks.path,
        checks.revocation,
        checks.identity,
    ];
    let mut worst: Option<Reason> = None;
    for reason in rest.into_iter().filter_map(failed) {
        // The first of equally bad ones: the order is the order of the conditions.
        if worst.is_none_or(|worst| reason.result().badness() > worst.result().badness()) {
            worst = Some(reason);
        }
    }
    // Something was not reached and nothing says why: not a pass.
    worst.unwrap_or(Reason::SignatureInvalid)
}

/// Rules 2 to 4, as smime found them.
fn sound(facts: &SignerFacts, candidate: &Candidate) -> Option<Sound> {
    let right = facts.defect.is_none() && facts.content.is_ok() && is_right(candidate);
    right.then_some(Sound(()))
}
