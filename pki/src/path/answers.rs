//! The status of a certificate by OCSP: RFC 6960.
//!
//! An answer counts only if it is about this certificate of this issuer's key, understood whole, current,
//! and signed by that key or by a responder that the same key named (§4.2.2.2). A responder is not believed
//! because it is asked at the address in a certificate.

use std::borrow::Cow;

use crate::certificate::Certificate;
use crate::crl::{RevocationReason, RevokedEntry};
use crate::crypto::{PublicKey, SignatureAlgorithm};
use crate::extension::KeyUsage;
use crate::ocsp::{CertIds, CertStatus, OcspAnswer, OcspResponse};
use crate::oid;
use crate::time::UnixTime;

use super::budget::Budget;
use super::cause::Cause;
use super::error::PathError;
use super::rules::PathRules;
use super::search::Search;
use super::status::{Source, Status, worse};
use super::validate;

/// What the answers at hand say.
pub(super) enum Answered {
    /// Good at this time, and what that rests on.
    Good(UnixTime, Vec<Source>),
    /// And what that rests on, where it is as good as an answer of "good" has to be.
    Revoked(RevokedEntry, Option<Vec<Source>>),
    /// Nothing good from an authorised responder: it does not know the certificate, or says of a time to come that
    /// it is revoked.
    Doubtful(Cause),
    /// On hold at this time, by an answer that is stale or weak: only something newer can tell that it is good again.
    Held(UnixTime),
    /// Nothing that counts; and why, where there was an answer.
    Nothing(Option<Cause>),
}

/// What a responder said that may say it.
struct Statement<'a> {
    answer: &'a OcspAnswer,
    produced_at: UnixTime,
    /// What it rests on, itself included.
    sources: Vec<Source>,
    /// Why it is no use, but for what is revoked for good.
    fault: Option<Cause>,
}

impl Statement<'_> {
    /// Later news is greater; of one moment the worse.
    fn order(&self) -> (UnixTime, UnixTime, u8) {
        let severity = match self.answer.status {
            CertStatus::Good => 0,
            CertStatus::Unknown => 1,
            CertStatus::Revoked(entry) if entry.reason.leaves_the_key_sound() => 2,
            CertStatus::Revoked(_) => 3,
        };
        (self.answer.this_update, self.produced_at, severity)
    }

    /// What the newest of all comes to; `cause` is why others are no use.
    fn said(self, cause: Option<Cause>, rules: &PathRules) -> Answered {
        match (self.answer.status, self.fault) {
            (CertStatus::Revoked(entry), None) => {
                let fresh = |source: &Source| match source {
                    Source::Crl(_) => true,
                    Source::Ocsp(_, _, until) => rules.time <= *until,
                };
                let settled = self.sources.iter().all(fresh);
                Answered::Revoked(entry, settled.then_some(self.sources))
            }
            // As with lists: what was revoked stays so when the news is old; only a hold is ever lifted.
            (CertStatus::Revoked(entry), Some(fault)) if is_heard(fault) && is_lasting(entry) => {
                Answered::Revoked(entry, None)
            }
            (CertStatus::Revoked(_), Some(fault)) if is_heard(fault) => {
                Answered::Held(self.answer.this_update)
            }
            (_, Some(fault)) => Answered::Nothing(cause.max(Some(fault))),
            (CertStatus::Good, None) => Answered::Good(self.answer.this_update, self.sources),
            (CertStatus::Unknown, None) => Answered::Doubtful(Cause::NotKnown),
        }
    }
}

impl<'a> Search<'a> {
    /// The newest answer of whoever may answer decides, as the newest list of a scope does, and an older one does not
    /// come back when it is stale or of no use; but what any of them says is revoked for good, is.
    pub(super) fn answered(
        &mut self,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Answered, PathError> {
        let certificate = self.at(chain, position);
        let Some(certificate) = certificate.filter(|_| !self.signers.ocsp.is_empty()) else {
            return Ok(Answered::Nothing(None));
        };
        let place = position.saturating_add(1);
        let above = chain.get(place..).unwrap_or_default();
        let issuer_key = match (
            self.working_key(chain, place, anchor),
            self.anchors.get(anchor),
        ) {
            (Some(key), _) => key,
            (None, Some(anchor)) => Cow::Borrowed(anchor.key()),
            (None, None) => return Ok(Answered::Nothing(None)),
        };
        let mut ids = CertIds::new(certificate, &issuer_key);
        let (mut cause, mut newest) = (None, None::<Statement<'_>>);
        let (mut doubt, mut lasting) = (None, None);
        for (at, response) in self.signers.ocsp.iter().enumerate() {
            for answer in response.answers() {
                budget.step().map_err(PathError::spent)?;
                if !ids.has(&answer.certificate) {
                    continue;
                }
                let early = answer.this_update.is_ahead_of(rules.time)
                    || response.produced_at().is_ahead_of(rules.time);
                if early && !matches!(answer.status, CertStatus::Revoked(_)) {
                    cause = cause.max(Some(Cause::AnswerNotFresh));
                    continue;
                }
                let issuer = (&*issuer_key, above, anchor);
                let told = self.may_answer(at, response, answer, issuer, rules, budget)?;
                let Some((mut sources, until)) = told else {
                    cause = cause.max(Some(Cause::AnswerNotAuthorised));
                    continue;
                };
                let fault = fault(response, answer, rules);
                // That its time is wrong does not make the certificate any better.
                if let CertStatus::Revoked(entry) = &answer.status
                    && early
                {
                    let otherwise = fault.unwrap_or(Cause::AnswerNotFresh);
                    match otherwise {
                        Cause::AnswerNotFresh => {
                            let why = Cause::of_the_future(entry, rules, otherwise);
                            doubt = doubt.max(Some(why));
                        }
                        fault => cause = cause.max(Some(fault)),
                    }
                    continue;
                }
                if let CertStatus::Revoked(entry) = answer.status
                    && is_lasting(entry)
                    && fault.is_none_or(is_heard)
                {
                    lasting = worse(lasting, entry, rules);
                }
                let until = until.min(fresh_until(answer));
                sources.push(Source::Ocsp(at, answer.this_update, until));
                let statement = Statement {
                    answer,
                    produced_at: response.produced_at(),
                    sources,
                    fault,
                };
                if newest
                    .as_ref()
                    .is_none_or(|newest| newest.order() < statement.order())
                {
                    newest = Some(statement);
                }
            }
        }
        let said = newest.map_or(Answered::Nothing(cause), |newest| newest.said(cause, rules));
        let said = match (said, lasting) {
            (said @ Answered::Revoked(..), _) | (said, None) => said,
            // What was revoked for good stays so: whoever says otherwise later lags behind, or has forgotten it.
            (_, Some(entry)) => Answered::Revoked(entry, None),
        };
        Ok(match (said, doubt) {
            (said, None) => said,
            // What is to come may be worse than what is said now.
            (Answered::Revoked(entry, _), Some(_)) => Answered::Revoked(entry, None),
            (Answered::Doubtful(why), Some(doubt)) => Answered::Doubtful(doubt.max(why)),
            (Answered::Good(..) | Answered::Held(_) | Answered::Nothing(_), Some(doubt)) => {
                Answered::Doubtful(doubt)
            }
        })
    }

    /// Whether the issuer signed the response, or a responder that it named and has not revoked; then what the
    /// responder's own status rests on, and until when it may answer.
    fn may_answer(
        &mut self,
        at: usize,
        response: &'a OcspResponse,
        answer: &OcspAnswer,
        (issuer_key, above, anchor): (&PublicKey, &[usize], usize),
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Option<(Vec<Source>, UnixTime)>, PathError> {
        let issuer = above.first().and_then(|at| self.certificates.get(*at));
        let issuer_name = match (issuer, self.anchors.get(anchor)) {
            (Some(issuer), _) => issuer.subject(),
            (None, Some(anchor)) => anchor.name(),
            (None, None) => return Ok(None),
        };
        if response.is_by(issuer_name, issuer_key)
            && self.answer_signed(at, response, issuer_key, rules, budget)?
        {
            return Ok(Some((Vec::new(), UnixTime(i64::MAX))));
        }
        // What was revoked for good is so whatever became of the responder since.
        let lasting = matches!(answer.status, CertStatus::Revoked(entry) if is_lasting(entry));
        let time = if lasting {
            response.produced_at().min(rules.time)
        } else {
            rules.time
        };
        for named in response.certificates() {
            let Some(own) = self.responders.get(named.sha256()).copied() else {
                continue;
            };
            // Whom the issuer named comes first: to see whether a key is meant all of it is hashed, and a stranger's
            // may be long.
            if named.issuer() != issuer_name
                || !self.is_signed_by(own, issuer_key, budget)?
                || !is_responder(named, time, rules)
                || !response.is_by(named.subject(), named.public_key())
                || !self.answer_signed(at, response, named.public_key(), rules, budget)?
            {
                continue;
            }
            let until = named.not_after().unwrap_or(time);
            let mut extensions = named.extensions().iter();
            if extensions.any(|one| one.oid == oid::OCSP_NO_CHECK) {
                return Ok(Some((Vec::new(), until)));
            }
            // Its own status comes from lists: an answer of its own would prove nothing.
            let chain = [&[own], above].concat();
            match self.listed(&chain, 0, anchor, rules, budget)?.0 {
                Status::Good(sources) => return Ok(Some((sources, until))),
                // What it says is revoked is heard; nothing in anybody's favour rests on it.
                Status::Unknown(_) if lasting => {
                    return Ok(Some((Vec::new(), UnixTime(i64::MIN))));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether the key signed the response, verified once.
    fn answer_signed(
        &mut self,
        at: usize,
        response: &OcspResponse,
        key: &PublicKey,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        if let Some(known) = self.signers.answers_verified.get(&(at, key.id())) {
            return Ok(*known);
        }
        if validate::weak_key(key, rules.algorithms).is_some() {
            return Ok(false);
        }
        budget
            .long_signature(response.tbs().len())
            .map_err(PathError::spent)?;
        let good = response.verify_signature(key).is_ok();
        self.signers.answers_verified.insert((at, key.id()), good);
        Ok(good)
    }
}

/// Why an answer is no use, whoever gave it.
fn fault(response: &OcspResponse, answer: &OcspAnswer, rules: &PathRules) -> Option<Cause> {
    let weak = SignatureAlgorithm::from_identifier(response.signature_algorithm())
        .is_ok_and(|algorithm| validate::weak_digest(algorithm, rules.algorithms));
    match () {
        () if !response.unknown_critical().is_empty() || answer.not_understood => {
            Some(Cause::AnswerNotUnderstood)
        }
        () if weak => Some(Cause::AnswerWeak),
        () if rules.time > fresh_until(answer) => Some(Cause::AnswerNotFresh),
        () => None,
    }
}

/// Whether what such an answer has as revoked is heard, though it says nothing good.
const fn is_heard(fault: Cause) -> bool {
    matches!(fault, Cause::AnswerNotFresh | Cause::AnswerWeak)
}

fn is_lasting(entry: RevokedEntry) -> bool {
    entry.reason != RevocationReason::CertificateHold
}

/// Whether a certificate is fit for a responder at `time`: id-kp-OCSPSigning by name, valid, understood, strong.
fn is_responder(certificate: &Certificate, time: UnixTime, rules: &PathRules) -> bool {
    let purposes = certificate.ext_key_usage().ok().flatten();
    let named = purposes.is_some_and(|all| all.iter().any(|one| *one == oid::OCSP_SIGNING));
    let signs = certificate.key_usage().is_ok_and(|usage| {
        usage.is_none_or(|u| u.any(KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION))
    });
    let valid = certificate.not_before().is_ok_and(|from| from <= time)
        && certificate.not_after().is_ok_and(|until| time <= until);
    named && signs && valid && validate::is_fit(certificate, rules)
}

/// When an answer counts until. Without nextUpdate newer information is always to be had (RFC 6960
/// §4.2.2.1): it is good for the moment, which is a little longer than a mail takes.
fn fresh_until(answer: &OcspAnswer) -> UnixTime {
    answer
        .next_update
        .unwrap_or(answer.this_update.plus(MOMENT))
}

/// Seconds.
const MOMENT: i64 = 3600;
