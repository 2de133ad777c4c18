//! The status of the certificates of a chain: by CRLs (RFC 5280 §6.3.3, with delta and indirect lists), and
//! by OCSP, which [`super::answers`] reads. Who may sign a list is asked in
//! [`super::list_signers`]. Of two sources the worse news counts, and a responder that does
//! not know a certificate outweighs a list that does not have it: a list says who was revoked, not who was
//! issued.
//!
//! A list counts only if it is understood whole, fresh, in scope and signed: by the key that issued
//! the certificate, or by another certificate of the list's issuer that may sign lists and has a
//! valid path, not revoked, to the same anchor. Anything else leaves the status unknown, never good.

use std::collections::HashMap;

use crate::crl::{Crl, RevocationReason, RevokedEntry};
use crate::crypto::{Digest, SignatureAlgorithm};
use crate::ocsp::OcspResponse;
use crate::time::UnixTime;

use super::answers::Answered;
use super::budget::Budget;
use super::cause::Cause;
use super::delta;
use super::error::{PathError, PathErrorKind, keep_worst};
use super::rules::{PathRules, RevocationMode};
use super::scope::{self, Point, Reasons};
use super::search::Search;
use super::validate;
use super::{StatusFact, StatusSources};

/// What is known of the certificates of a whole chain.
#[derive(Default)]
pub(super) struct PathStatus {
    pub(super) facts: Vec<StatusFact>,
    pub(super) notes: Vec<String>,
    /// A revocation of the target that came too late to matter.
    pub(super) outlived: Option<RevokedEntry>,
}

/// The CRLs and OCSP answers of a search, and which signatures of theirs were verified.
pub(super) struct Signers<'a> {
    /// The newest first; of one moment those that are not at hand.
    pub(super) crls: Vec<&'a Crl>,
    pub(super) verified: HashMap<(usize, Digest), bool>,
    pub(super) ocsp: &'a [OcspResponse],
    /// By place among the answers and key.
    pub(super) answers_verified: HashMap<(usize, Digest), bool>,
    /// Certificates of CRL signers whose path is being validated.
    pub(super) in_progress: Vec<usize>,
}

/// What is known of one certificate.
pub(super) enum Status {
    /// Good, by these.
    Good(Vec<Source>),
    Revoked(Revocation),
    Unknown(Cause),
}

/// That a certificate is revoked, and what says so.
pub(super) struct Revocation {
    /// Of several the worst: one that came too late to matter only where all did.
    entry: RevokedEntry,
    by: &'static str,
    /// What it rests on, where that is as current and as complete as "good" would have to rest on. Else
    /// there may be worse news by now, such as that the key was stolen, and the revocation is never excused.
    settled: Option<Vec<Source>>,
}

/// What a status rests on: a place among the lists or the answers.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Crl(usize),
    /// And the times of the answer that counted.
    Ocsp(usize, UnixTime, UnixTime),
}

impl<'a> Signers<'a> {
    pub(super) fn new(sources: StatusSources<'a>) -> Self {
        let all = sources.crls.iter();
        // Whoever brings the very list that is not at hand has brought it.
        let is_brought = |absent: &&Crl| all.clone().any(|crl| !crl.is_absent() && crl == *absent);
        let counts = |crl: &&Crl| !crl.is_absent() || !is_brought(crl);
        let mut crls: Vec<&Crl> = all.clone().filter(counts).collect();
        crls.sort_by(|one, other| {
            let at_hand = one.is_absent().cmp(&other.is_absent()).reverse();
            delta::by_time(other, one).then(at_hand)
        });
        Self {
            crls,
            verified: HashMap::new(),
            ocsp: sources.ocsp,
            answers_verified: HashMap::new(),
            in_progress: Vec::new(),
        }
    }
}

impl<'a> Search<'a> {
    /// The status of every certificate of a chain; the worst news of all is the error.
    pub(super) fn path_status(
        &mut self,
        chain: &[usize],
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<PathStatus, PathError> {
        let mut path = PathStatus::default();
        let mut worst = None;
        for position in (0..chain.len()).rev() {
            let certificate = self.at(chain, position);
            match self.status(chain, position, anchor, rules, budget)? {
                Status::Good(used) => {
                    let facts = used
                        .iter()
                        .filter_map(|source| self.fact(*source, position));
                    path.facts.extend(facts);
                }
                Status::Revoked(Revocation {
                    entry,
                    settled: Some(used),
                    ..
                }) if position == 0 && rules.outlives(&entry) => {
                    let facts = used
                        .iter()
                        .filter_map(|source| self.fact(*source, position));
                    path.facts.extend(facts);
                    path.outlived = Some(entry);
                }
                Status::Revoked(Revocation { entry, by, .. }) => {
                    let kind = PathErrorKind::Revoked {
                        time: entry.date,
                        reason: entry.reason,
                    };
                    let what = format!("certificate is revoked by {by}");
                    keep_worst(&mut worst, PathError::new(kind, what, certificate));
                }
                Status::Unknown(cause)
                    if rules.revocation == RevocationMode::Required || cause.is_news() =>
                {
                    let kind = PathErrorKind::RevocationUnavailable;
                    keep_worst(&mut worst, PathError::new(kind, cause.text(), certificate));
                }
                Status::Unknown(cause) => {
                    let subject = certificate
                        .map(|c| c.subject().to_string())
                        .unwrap_or_default();
                    path.notes.push(format!(
                        "status of {subject} is not known: {}",
                        cause.text()
                    ));
                }
            }
        }
        worst.map_or(Ok(path), Err)
    }

    fn fact(&self, source: Source, position: usize) -> Option<StatusFact> {
        Some(match source {
            Source::Crl(at) => {
                let crl = self.signers.crls.get(at)?;
                StatusFact {
                    position,
                    source: "crl",
                    digest: *crl.sha256(),
                    this_update: crl.this_update(),
                    next_update: crl.next_update().unwrap_or(crl.this_update()),
                }
            }
            Source::Ocsp(at, this_update, next_update) => StatusFact {
                position,
                source: "ocsp",
                digest: *self.signers.ocsp.get(at)?.sha256(),
                this_update,
                next_update,
            },
        })
    }

    /// What lists and answers together say.
    fn status(
        &mut self,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Status, PathError> {
        let answered = self.answered(chain, position, anchor, rules, budget)?;
        if let Answered::Revoked(entry, settled) = answered {
            let mut answer = Revocation {
                entry,
                by: "OCSP",
                settled,
            };
            // Before it is passed over, the lists are heard too.
            if answer.settled.is_some() && rules.outlives(&entry) {
                match self.listed(chain, position, anchor, rules, budget)? {
                    (Status::Revoked(listed), _) if !rules.outlives(&listed.entry) => {
                        return Ok(Status::Revoked(listed));
                    }
                    (_, Some(_)) => answer.settled = None,
                    _ => {}
                }
            }
            return Ok(Status::Revoked(answer));
        }
        let (listed, mut held) = self.listed(chain, position, anchor, rules, budget)?;
        if let Answered::Held(since) = answered {
            held = held.max(Some(since));
        }
        let outdated = |made: UnixTime| held.is_some_and(|held| made <= held);
        Ok(match (answered, listed) {
            (Answered::Doubtful(_), Status::Revoked(revocation)) => Status::Revoked(Revocation {
                settled: None,
                ..revocation
            }),
            (_, revoked @ Status::Revoked(_)) => revoked,
            (Answered::Doubtful(why), Status::Unknown(cause)) if cause.is_news() => {
                Status::Unknown(cause.max(why))
            }
            (Answered::Doubtful(why), _) => Status::Unknown(why),
            (_, unknown @ Status::Unknown(Cause::OfTheFuture)) => unknown,
            (Answered::Good(time, sources), _) if !outdated(time) => Status::Good(sources),
            (_, Status::Good(sources)) if !outdated(self.newest(&sources)) => Status::Good(sources),
            (Answered::Good(..), Status::Unknown(cause)) if cause.is_news() => {
                Status::Unknown(cause)
            }
            // A list or an answer that is stale by now had it on hold when these were made, or later.
            (Answered::Good(..), _) | (_, Status::Good(_)) => Status::Unknown(Cause::NotFresh),
            (Answered::Held(_), Status::Unknown(cause)) => {
                Status::Unknown(cause.max(Cause::AnswerNotFresh))
            }
            (Answered::Nothing(Some(why)), Status::Unknown(cause)) => {
                Status::Unknown(cause.max(why))
            }
            (_, listed) => listed,
        })
    }

    /// What lists say; and the time of the newest that is of no use now, but keeps older news from being good: it had
    /// the certificate on hold, is of the future and has it as revoked, or is not at hand and might have it so.
    pub(super) fn listed(
        &mut self,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<(Status, Option<UnixTime>), PathError> {
        let Some(certificate) = self.at(chain, position) else {
            return Ok((Status::Unknown(Cause::NoList), None));
        };
        let making = scope::weight(certificate);
        budget.compare(making).map_err(PathError::spent)?;
        let Ok(points) = scope::points(certificate) else {
            return Ok((Status::Unknown(Cause::NotUnderstood), None));
        };
        let mut reasons = Reasons::NONE;
        let mut cause = Cause::NoList;
        let mut used: Vec<(usize, Digest)> = Vec::new();
        let mut unused: Vec<(usize, Digest)> = Vec::new();
        // Lists that are not at hand: nothing that was made before one tells that a certificate is not on it.
        let mut absent: Vec<(usize, Digest)> = Vec::new();
        let (mut revoked, mut held, mut doubt) = (None, None, None);
        let mut old_news = false;
        for point in &points {
            for at in 0..self.signers.crls.len() {
                let Some(crl) = self.signers.crls.get(at).copied() else {
                    continue;
                };
                if crl.is_delta() {
                    continue;
                }
                budget.step().map_err(PathError::spent)?;
                let names = scope::comparisons(point, crl);
                budget.compare(names).map_err(PathError::spent)?;
                let Some(covered) = self.in_scope(point, crl, chain, position, &mut cause) else {
                    continue;
                };
                if used.iter().any(|(used, _)| *used == at) {
                    reasons = reasons.or(covered);
                    continue;
                }
                let fault = self.unusable(crl, rules);
                cause = cause.max(fault.filter(|_| !crl.is_absent()).unwrap_or(cause));
                let early = crl.this_update().is_ahead_of(rules.time);
                if early && fault != Some(Cause::NotFresh) {
                    continue;
                }
                let mut may_sign = true;
                let mut key = self.signer(at, chain, position, anchor, rules, budget)?;
                if key.is_none() {
                    // The very key that issued the certificate may not sign lists on this way; what it
                    // says is revoked, it knows all the same.
                    may_sign = false;
                    key = self.issuing_key(at, chain, position, anchor, rules, budget)?;
                }
                let Some(key) = key else {
                    cause = cause.max(Cause::BadSignature);
                    continue;
                };
                // It says nothing good yet; but that its time is wrong does not make the certificate any better.
                if early {
                    if let Ok(Some(entry)) = self.entry(at, &key, chain, position, rules, budget)? {
                        let why = Cause::of_the_future(&entry, rules, Cause::NotFresh);
                        doubt = doubt.max(Some(why));
                        held = held.max(Some(crl.this_update()));
                    }
                    continue;
                }
                // A newer list of the same scope by the same key was seen already: by the key that verified
                // it, since what a list says of its key is only a claim. One by another key is looked at
                // too: authorities that changed their key often go on with two lists.
                let kin = |(other, by): &(usize, Digest)| {
                    let other = self.signers.crls.get(*other).copied();
                    other.filter(|other| *by == key.id() && scope::same(other, crl))
                };
                let mut newer = used.iter().filter_map(kin);
                if newer.any(|newer| delta::replaces(newer, crl)) {
                    continue;
                }
                if crl.is_absent() {
                    absent.push((at, key.id()));
                    continue;
                }
                // Where the newer one was of no use, an older one cannot say "good" in its stead.
                let mut absent_kin = absent.iter().filter_map(kin);
                let outdated = unused.iter().any(|other| kin(other).is_some())
                    || absent_kin.any(|newer| !delta::replaces(crl, newer));
                if fault.is_some_and(|fault| !matches!(fault, Cause::NotFresh | Cause::Weak)) {
                    unused.push((at, key.id()));
                    continue;
                }
                let entry = self.entry(at, &key, chain, position, rules, budget)?;
                held = held.max(self.absent_delta(at, &key, rules));
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(why) => {
                        cause = cause.max(why);
                        unused.push((at, key.id()));
                        continue;
                    }
                };
                let lasting = |e: &RevokedEntry| e.reason != RevocationReason::CertificateHold;
                // A delta of yesterday is heard as a list of yesterday is.
                if entry.is_none()
                    && let Some((entry, made)) =
                        self.old_delta(at, &key, chain, position, rules, budget)?
                {
                    if lasting(&entry) {
                        revoked = worse(revoked, entry, rules);
                        old_news = true;
                    } else {
                        held = held.max(Some(made));
                    }
                }
                if fault.is_some() || outdated || !may_sign {
                    if may_sign {
                        unused.push((at, key.id()));
                    } else {
                        cause = cause.max(Cause::BadSignature);
                    }
                    // A list of yesterday, or a weak one, cannot say "good", but what it says is revoked
                    // stays so; only a hold is ever lifted (RFC 5280 §5.3.1).
                    match entry {
                        Some(entry) if lasting(&entry) => {
                            revoked = worse(revoked, entry, rules);
                            old_news = true;
                        }
                        Some(_) => held = held.max(Some(crl.this_update())),
                        None => {}
                    }
                    continue;
                }
                if let Some(entry) = entry {
                    revoked = worse(revoked, entry, rules);
                }
                used.push((at, key.id()));
                reasons = reasons.or(covered);
            }
            if reasons == Reasons::ALL {
                break;
            }
        }
        let missed = self.missed(&absent, &used);
        for crl in &missed {
            cause = cause.max(Cause::NotAtHand);
            held = held.max(Some(crl.this_update()));
        }
        let lacking = missed.iter().any(|crl| is_fresh(crl, rules));
        let complete = reasons == Reasons::ALL && !lacking;
        let sources: Vec<Source> = used.iter().map(|u| Source::Crl(u.0)).collect();
        let outdated = held.is_some_and(|held| self.newest(&sources) <= held);
        let status = match (revoked, doubt) {
            (Some(entry), _) => Status::Revoked(Revocation {
                entry,
                by: "CRL",
                settled: (complete && held.is_none() && !old_news).then_some(sources),
            }),
            (None, Some(doubt)) => Status::Unknown(cause.max(doubt)),
            (None, None) if complete && outdated => Status::Unknown(cause.max(Cause::NotFresh)),
            (None, None) if complete => Status::Good(sources),
            (None, None) if used.is_empty() => Status::Unknown(cause),
            (None, None) => Status::Unknown(cause.max(Cause::SomeReasons)),
        };
        Ok((status, held))
    }

    /// Those of these lists, which are not at hand, whose place none that was used takes.
    fn missed(&self, absent: &[(usize, Digest)], used: &[(usize, Digest)]) -> Vec<&'a Crl> {
        let crl = |at: usize| self.signers.crls.get(at).copied();
        let missed = absent.iter().filter_map(|(at, by)| {
            let absent = crl(*at)?;
            let is_newer = |used: &Crl| scope::same(used, absent) && delta::replaces(used, absent);
            let mut used = used.iter();
            let replaced = used.any(|(at, key)| key == by && crl(*at).is_some_and(is_newer));
            (!replaced).then_some(absent)
        });
        missed.collect()
    }

    /// When the newest of these was made.
    fn newest(&self, sources: &[Source]) -> UnixTime {
        let made = |source: &Source| match source {
            Source::Crl(at) => self.signers.crls.get(*at).map(|crl| crl.this_update()),
            Source::Ocsp(_, this_update, _) => Some(*this_update),
        };
        let newest = sources.iter().filter_map(made).max();
        newest.unwrap_or(UnixTime(i64::MIN))
    }

    fn in_scope(
        &self,
        point: &Point<'_>,
        crl: &Crl,
        chain: &[usize],
        position: usize,
        cause: &mut Cause,
    ) -> Option<Reasons> {
        let certificate = self.at(chain, position)?;
        let covered = scope::covers(point, crl, certificate);
        if covered.is_none() && crl.issuer() == certificate.issuer() {
            *cause = (*cause).max(Cause::NotInScope);
        }
        covered
    }

    /// Why a list may not be used, whoever signed it.
    pub(super) fn unusable(&self, crl: &Crl, rules: &PathRules) -> Option<Cause> {
        let readable = crl.unknown_critical().is_empty()
            && crl.issuing_distribution_point().is_ok()
            && crl.crl_number().is_ok()
            && crl.authority_key_id().is_ok();
        if !readable {
            return Some(Cause::NotUnderstood);
        }
        let weak = SignatureAlgorithm::from_identifier(crl.signature_algorithm())
            .is_ok_and(|algorithm| validate::weak_digest(algorithm, rules.algorithms));
        if weak {
            return Some(Cause::Weak);
        }
        if crl.is_absent() {
            return Some(Cause::NotAtHand);
        }
        (!is_fresh(crl, rules)).then_some(Cause::NotFresh)
    }
}

/// The earlier of two; but one that matters before one that came too late to.
pub(super) fn worse(
    known: Option<RevokedEntry>,
    entry: RevokedEntry,
    rules: &PathRules,
) -> Option<RevokedEntry> {
    let order = |entry: &RevokedEntry| (rules.outlives(entry), entry.date);
    match known {
        Some(known) if order(&known) <= order(&entry) => Some(known),
        _ => Some(entry),
    }
}

/// Whether now is between the two times of a list.
pub(super) fn is_fresh(crl: &Crl, rules: &PathRules) -> bool {
    !crl.this_update().is_ahead_of(rules.time)
        && crl.next_update().is_some_and(|until| rules.time <= until)
}

/// When a status counts until.
pub(super) fn fresh_until(facts: &[StatusFact], until: UnixTime) -> UnixTime {
    facts
        .iter()
        .map(|fact| fact.next_update)
        .fold(until, UnixTime::min)
}
