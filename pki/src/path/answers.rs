//! The status of a certificate by OCSP: RFC 6960.
//!
//! An answer counts only if it is about this certificate of this issuer's key, understood whole, current,
//! and signed by that key or by a responder that the same key named (§4.2.2.2). A responder is not believed
//! because it is asked at the address in a certificate.

use crate::certificate::Certificate;
use crate::crl::{RevocationReason, RevokedEntry};
use crate::crypto::{PublicKey, SignatureAlgorithm};
use crate::extension::KeyUsage;
use crate::ocsp::{CertStatus, OcspAnswer, OcspResponse};
use crate::oid;
use crate::time::UnixTime;

use super::budget::Budget;
use super::error::PathError;
use super::rules::PathRules;
use super::search::Search;
use super::status::{Cause, Status, earlier};
use super::validate;

/// What the answers at hand say.
pub(super) enum Answered {
    /// Good, by the answer at this place.
    Good(usize),
    Revoked(RevokedEntry),
    /// An authorised responder does not know the certificate.
    NotKnown,
    /// Nothing that counts; and why, where there was an answer.
    Nothing(Option<Cause>),
}

impl<'a> Search<'a> {
    pub(super) fn answered(
        &mut self,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Answered, PathError> {
        let certificate = chain
            .get(position)
            .and_then(|at| self.certificates.get(*at));
        let Some(certificate) = certificate.copied() else {
            return Ok(Answered::Nothing(None));
        };
        let above = position.saturating_add(1);
        let anchor_key = || self.anchors.get(anchor).map(|by| by.key().clone());
        let issuer_key = match self.working_key(chain, above, anchor) {
            Some(key) => key.into_owned(),
            None => match anchor_key() {
                Some(key) => key,
                None => return Ok(Answered::Nothing(None)),
            },
        };
        let (mut cause, mut revoked) = (None, None);
        let mut newest: Option<(usize, &OcspAnswer)> = None;
        for (at, response) in self.signers.ocsp.iter().enumerate() {
            for _ in response.answers() {
                budget.step().map_err(PathError::spent)?;
            }
            let Some(answer) = response.about(certificate, &issuer_key) else {
                continue;
            };
            if rules.time < answer.this_update || rules.time < response.produced_at() {
                cause = cause.max(Some(Cause::AnswerNotFresh));
                continue;
            }
            if !response.unknown_critical().is_empty() || answer.not_understood {
                cause = cause.max(Some(Cause::AnswerNotUnderstood));
                continue;
            }
            let weak = SignatureAlgorithm::from_identifier(response.signature_algorithm())
                .is_ok_and(|algorithm| validate::weak_digest(algorithm, rules.algorithms));
            if weak {
                cause = cause.max(Some(Cause::AnswerWeak));
                continue;
            }
            let above = chain.get(above..).unwrap_or_default();
            if !self.may_answer(at, response, &issuer_key, (above, anchor), rules, budget)? {
                cause = cause.max(Some(Cause::AnswerNotAuthorised));
                continue;
            }
            // As with lists: what was revoked stays so when the news is old; only a hold is ever lifted.
            if let CertStatus::Revoked(entry) = answer.status
                && entry.reason != RevocationReason::CertificateHold
            {
                revoked = earlier(revoked, entry);
                continue;
            }
            if rules.time > fresh_until(answer) {
                cause = cause.max(Some(Cause::AnswerNotFresh));
                continue;
            }
            // An older answer that is still current must not undo a newer one.
            if newest.is_none_or(|(_, newer)| newer.this_update < answer.this_update) {
                newest = Some((at, answer));
            }
        }
        Ok(match (revoked, newest) {
            (Some(entry), _) => Answered::Revoked(entry),
            (None, None) => Answered::Nothing(cause),
            (None, Some((at, answer))) => match answer.status {
                CertStatus::Good => Answered::Good(at),
                CertStatus::Revoked(entry) => Answered::Revoked(entry),
                CertStatus::Unknown => Answered::NotKnown,
            },
        })
    }

    /// Whether the issuer signed the response, or a responder that it named and has not revoked.
    fn may_answer(
        &mut self,
        at: usize,
        response: &'a OcspResponse,
        issuer_key: &PublicKey,
        (above, anchor): (&[usize], usize),
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        let issuer = above.first().and_then(|at| self.certificates.get(*at));
        let issuer_name = match (issuer, self.anchors.get(anchor)) {
            (Some(issuer), _) => issuer.subject(),
            (None, Some(anchor)) => anchor.name(),
            (None, None) => return Ok(false),
        };
        if response.is_by(issuer_name, issuer_key)
            && self.answer_signed(at, response, issuer_key, rules, budget)?
        {
            return Ok(true);
        }
        for named in response.certificates() {
            if !response.is_by(named.subject(), named.public_key())
                || named.issuer() != issuer_name
                || !is_responder(named, rules)
            {
                continue;
            }
            budget.signature().map_err(PathError::spent)?;
            if named.verify_signature(issuer_key).is_err()
                || !self.answer_signed(at, response, named.public_key(), rules, budget)?
            {
                continue;
            }
            let no_check = named.extensions().iter();
            if no_check
                .into_iter()
                .any(|one| one.oid == oid::OCSP_NO_CHECK)
            {
                return Ok(true);
            }
            // Its own status comes from lists: an answer of its own would prove nothing.
            let Some(own) = self.responders.get(named.sha256()).copied() else {
                continue;
            };
            let chain = [&[own], above].concat();
            if matches!(
                self.listed(&chain, 0, anchor, rules, budget)?,
                Status::Good(_)
            ) {
                return Ok(true);
            }
        }
        Ok(false)
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

/// Whether a certificate is fit for a responder: id-kp-OCSPSigning by name, valid, understood, strong.
fn is_responder(certificate: &Certificate, rules: &PathRules) -> bool {
    let purposes = certificate.ext_key_usage().ok().flatten();
    let named = purposes.is_some_and(|all| all.iter().any(|one| *one == oid::OCSP_SIGNING));
    let signs = certificate.key_usage().is_ok_and(|usage| {
        usage.is_none_or(|u| u.any(KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION))
    });
    let valid = certificate
        .not_before()
        .is_ok_and(|from| from <= rules.time)
        && certificate
            .not_after()
            .is_ok_and(|until| rules.time <= until);
    named && signs && valid && validate::is_fit(certificate, rules)
}

/// When an answer counts until. Without nextUpdate newer information is always to be had (RFC 6960
/// §4.2.2.1): it is good for the moment, which is a little longer than a mail takes.
pub(super) fn fresh_until(answer: &OcspAnswer) -> UnixTime {
    answer
        .next_update
        .unwrap_or(answer.this_update.plus(MOMENT))
}

/// Seconds.
const MOMENT: i64 = 3600;
