//! Which lists belong together: deltas with their complete list (RFC 5280 §5.2.4 and §6.3.3 (c)), and a newer list
//! with the one whose place it takes; and what they say of a certificate together.

use std::cmp::Ordering;

use crate::crl::{Crl, RevocationReason, RevokedEntry};
use crate::crypto::PublicKey;
use crate::time::UnixTime;

use super::budget::Budget;
use super::cause::Cause;
use super::error::PathError;
use super::rules::PathRules;
use super::scope;
use super::search::Search;
use super::status::is_fresh;

impl Search<'_> {
    /// What the list, or a newer delta to it, says of the certificate, or why nobody knows.
    pub(super) fn entry(
        &mut self,
        at: usize,
        key: &PublicKey,
        chain: &[usize],
        position: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Result<Option<RevokedEntry>, Cause>, PathError> {
        let certificate = self.at(chain, position);
        let base = self.signers.crls.get(at).copied();
        let (Some(certificate), Some(base)) = (certificate, base) else {
            return Ok(Err(Cause::NotUnderstood));
        };
        // Where nobody says that it is revoked; a newer delta that is not at hand might say so.
        let mut otherwise = Ok(None);
        for delta in self.deltas(base, rules) {
            if !self.signed(delta, key, rules, budget)? {
                continue;
            }
            let Some(delta) = self.signers.crls.get(delta) else {
                continue;
            };
            if delta.is_absent() {
                otherwise = Err(Cause::NotAtHand);
                continue;
            }
            match delta.find_of(certificate.issuer(), certificate.serial()) {
                Some(entry) if entry.reason == RevocationReason::RemoveFromCrl => {
                    return Ok(otherwise);
                }
                Some(entry) => return Ok(Ok(Some(entry))),
                None => break,
            }
        }
        Ok(
            match base.find_of(certificate.issuer(), certificate.serial()) {
                // Only a delta can remove.
                Some(entry) if entry.reason == RevocationReason::RemoveFromCrl => {
                    Err(Cause::NotUnderstood)
                }
                Some(entry) => Ok(Some(entry)),
                None => otherwise,
            },
        )
    }

    /// The places of the deltas to a list that count now, at hand or not; the newest first.
    fn deltas(&self, base: &Crl, rules: &PathRules) -> Vec<usize> {
        let counts = |delta: &Crl| match self.unusable(delta, rules) {
            None => true,
            Some(Cause::NotAtHand) => is_fresh(delta, rules),
            Some(_) => false,
        };
        let mut deltas: Vec<usize> = (0..self.signers.crls.len())
            .filter(|at| {
                self.signers
                    .crls
                    .get(*at)
                    .is_some_and(|delta| is_delta_of(delta, base) && counts(delta))
            })
            .collect();
        deltas.sort_by(|a, b| {
            let crl = |at: &usize| self.signers.crls.get(*at).copied();
            match (crl(a), crl(b)) {
                (Some(a), Some(b)) => by_number(b, a),
                _ => Ordering::Equal,
            }
        });
        deltas
    }

    /// When the latest delta was made that [`Self::entry`] would have looked into, and that is not at hand.
    pub(super) fn absent_delta(
        &self,
        at: usize,
        key: &PublicKey,
        rules: &PathRules,
    ) -> Option<UnixTime> {
        let base = self.signers.crls.get(at).copied()?;
        let verified = &self.signers.verified;
        let signed = |at: &usize| verified.get(&(*at, key.id())).copied() == Some(true);
        let deltas = self.deltas(base, rules).into_iter().filter(signed);
        let deltas = deltas.filter_map(|at| self.signers.crls.get(at).copied());
        let absent = deltas.take_while(|delta| delta.is_absent());
        absent.map(|delta| delta.this_update()).max()
    }

    /// What the newest delta to a list says of the certificate, and when it was made, where that delta is stale by
    /// now, or weak; nothing where a newer one counts.
    pub(super) fn old_delta(
        &mut self,
        at: usize,
        key: &PublicKey,
        chain: &[usize],
        position: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Option<(RevokedEntry, UnixTime)>, PathError> {
        let certificate = self.at(chain, position);
        let base = self.signers.crls.get(at).copied();
        let (Some(certificate), Some(base)) = (certificate, base) else {
            return Ok(None);
        };
        let all = self.signers.crls.iter().copied().enumerate();
        let mut deltas: Vec<(usize, &Crl)> = all
            .filter(|(_, delta)| is_delta_of(delta, base))
            .filter(|(_, delta)| !delta.this_update().is_ahead_of(rules.time))
            .collect();
        deltas.sort_by(|(_, one), (_, other)| by_number(other, one));
        for (at, delta) in deltas {
            let entry = delta.find_of(certificate.issuer(), certificate.serial());
            let said = match (self.unusable(delta, rules), entry) {
                (None, _) => None,
                (Some(Cause::NotFresh | Cause::Weak), Some(entry)) => {
                    Some((entry, delta.this_update()))
                }
                // It says nothing, and there may be many of them: no signature is spent on it.
                _ => continue,
            };
            if self.signed(at, key, rules, budget)? {
                let lifted = RevocationReason::RemoveFromCrl;
                return Ok(said.filter(|(entry, _)| entry.reason != lifted));
            }
        }
        Ok(None)
    }
}

/// §6.3.3 (c) and (h): same issuer and scope, and the base is neither too old for the delta nor newer.
pub(super) fn is_delta_of(delta: &Crl, base: &Crl) -> bool {
    let (Some(own), Some(of)) = (number(delta), number(base)) else {
        return false;
    };
    let Some(from) = delta.delta_base().ok().flatten() else {
        return false;
    };
    scope::same(delta, base)
        && delta.authority_key_id() == base.authority_key_id()
        && magnitude(of, from) != Ordering::Less
        && magnitude(of, own) == Ordering::Less
}

/// Which of two lists was made later: by thisUpdate and, of one moment, by cRLNumber.
pub(super) fn by_time(one: &Crl, other: &Crl) -> Ordering {
    let times = one.this_update().cmp(&other.this_update());
    times.then_with(|| by_number(one, other))
}

/// Whether a list takes the place of another of the same scope and key: it was made later, or is the same one. Where
/// neither time nor number tells which of two was, both are heard.
pub(super) fn replaces(newer: &Crl, older: &Crl) -> bool {
    let later = match newer.this_update().cmp(&older.this_update()) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => number(newer)
            .zip(number(older))
            .is_some_and(|(newer, older)| magnitude(newer, older) == Ordering::Greater),
    };
    later || newer == older
}

/// Compares two lists by their numbers; one without a number is the oldest.
pub(super) fn by_number(one: &Crl, other: &Crl) -> Ordering {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => magnitude(one, other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

fn number(crl: &Crl) -> Option<&[u8]> {
    crl.crl_number().ok().flatten()
}

/// Compares numbers without leading zeros.
fn magnitude(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
