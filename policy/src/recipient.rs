//! Whether mail may be encrypted for somebody now: which of the certificates that were found for an address are good
//! for it at this moment (RFC 8550 §2.3, §4; RFC 5280 §6).
//!
//! Whoever encrypts answers for the recipient's certificate, and nobody checks it afterwards. So that each is judged
//! for each mail, with its path and its status; a path that was found valid is believed as long as one of a signature is
//! ([`PathCache`]). It asks and answers as [`mod@crate::step`] does. Where a certificate was found says nothing for it.

use std::cmp::Reverse;
use std::collections::HashMap;

use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::KeyKind;
use kenin_pki::oid;
use kenin_pki::path::{Budget, encrypting_usage};
use kenin_pki::time::UnixTime;

use crate::identity;
use crate::reason::{Reason, ResultWord};
use crate::step::{Answer, Answered, Asking, AtHand, MAX_ANSWERS, Question, Registered};
use crate::trust::{AnchorSettings, TrustPolicy};
use crate::trustpath::{self, PathCache, Paths, Trusted};

/// An address, and the certificates that were found for it.
#[derive(Debug)]
pub struct RecipientCase<'a> {
    address: &'a Address,
    certificates: &'a [Certificate],
    trust: &'a TrustPolicy,
    known: &'a [Certificate],
    time: UnixTime,
    budget: Budget,
    cache: Option<Paths<'a>>,
}

/// What [`step`] comes to.
#[derive(Debug)]
pub enum RecipientStep {
    /// Answer these, append the answers, call again.
    Ask(Vec<Question>),
    /// Nothing is lacking any more.
    Done(Judged),
}

/// The certificates of an address, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Positions of those that are good for it now, the one that was issued last first.
    pub good: Vec<usize>,
    /// The others.
    pub refused: Vec<Refused>,
}

/// A certificate that nothing is encrypted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its position.
    pub position: usize,
    /// Why.
    pub reason: Reason,
    /// What exactly, for people.
    pub detail: String,
}

impl Judged {
    /// Whether there is none that is good, and there may be one when it is tried again.
    #[must_use]
    pub fn is_to_be_tried_again(&self) -> bool {
        let passes = |refused: &Refused| refused.reason.result() == ResultWord::TempError;
        self.good.is_empty() && self.refused.iter().any(passes)
    }
}

impl<'a> RecipientCase<'a> {
    /// `certificates` are those that were found for `address`, wherever; `known` are intermediate certificates at hand.
    #[must_use]
    pub const fn new(
        address: &'a Address,
        certificates: &'a [Certificate],
        trust: &'a TrustPolicy,
        known: &'a [Certificate],
        time: UnixTime,
    ) -> Self {
        Self {
            address,
            certificates,
            trust,
            known,
            time,
            budget: Budget::DEFAULT,
            cache: None,
        }
    }

    /// With paths that were found valid by this trust policy, these certificates and this state of the lists.
    #[must_use]
    pub fn cached(mut self, cache: &'a PathCache) -> Self {
        self.cache = Some(cache.begin());
        self
    }

    /// With another budget for paths than the default.
    #[must_use]
    pub fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    const fn place(&self) -> trustpath::Place<'a> {
        (self.trust, self.time, self.cache)
    }

    /// Their paths that are known to be valid now, by their fingerprints.
    fn cached_paths(&self) -> HashMap<&'a [u8; 32], Trusted> {
        let cached = |leaf| trustpath::cached_for_encryption(self.place(), leaf);
        let paths = self
            .candidates()
            .filter_map(|(_, leaf)| Some((leaf.sha256(), cached(leaf)?)));
        paths.collect()
    }

    /// Those that are looked at. Where there are too many, those that are plainly no good hide none that may be.
    fn candidates(&self) -> impl Iterator<Item = (usize, &'a Certificate)> {
        let mut all: Vec<_> = self.certificates.iter().enumerate().collect();
        if all.len() > MAX_CANDIDATES {
            all.sort_by_cached_key(|(_, leaf)| self.doubts(leaf));
            all.truncate(MAX_CANDIDATES);
        }
        all.into_iter()
    }

    /// What can be told without a path: whether it is not for encrypting mail now, and whether nobody known has the name of its
    /// issuer.
    fn doubts(&self, leaf: &Certificate) -> (bool, bool) {
        let begun = leaf.not_before().is_ok_and(|start| start <= self.time);
        let lasts = leaf.not_after().is_ok_and(|end| self.time <= end);
        let for_mail = leaf.ext_key_usage().is_ok_and(|purposes| {
            purposes.is_none_or(|purposes| {
                purposes
                    .iter()
                    .any(|one| *one == oid::EMAIL_PROTECTION || *one == oid::ANY_EXT_KEY_USAGE)
            })
        });
        let fits = begun && lasts && for_mail && encrypting_usage(leaf).is_ok();
        let anchors = self.trust.anchors().iter();
        let mut issuers = anchors.map(|anchor| &anchor.certificate).chain(self.known);
        (!fits, !issuers.any(|one| one.subject() == leaf.issuer()))
    }

    fn questions(&self, at_hand: &AtHand<'_>) -> Vec<Question> {
        let mut asking = Asking::default();
        for (_, leaf) in self.candidates() {
            // About what is of no use nobody is asked.
            if self.fault(at_hand, leaf).is_some() {
                continue;
            }
            let is_named = self.is_named(leaf);
            if !is_named || !self.is_held(leaf) {
                match at_hand.registered.get(leaf.sha256()) {
                    Some(Registered::Yes) => {}
                    Some(Registered::No | Registered::Unknown) if is_named => {}
                    Some(Registered::No | Registered::Unknown) => continue,
                    None => {
                        asking.questions.push(Question::Registration {
                            certificate: *leaf.sha256(),
                            address: self.address.clone(),
                        });
                        continue;
                    }
                }
            }
            if at_hand.cached_for_encryption.contains_key(leaf.sha256()) {
                continue;
            }
            let anchors = self.trust.anchors();
            let reach = trustpath::reach(self.known, at_hand, anchors, &[], leaf);
            asking.about(at_hand, &reach, self.trust.wants_status());
        }
        asking.finish()
    }

    /// Whether the address stands somewhere in the certificate. What the anchor makes of it is another matter.
    fn is_named(&self, leaf: &Certificate) -> bool {
        let is_it = |own: &Address| own.matches(self.address, AddressCase::Insensitive);
        identity::may_speak_for(leaf, self.address) || leaf.subject_addresses().iter().any(is_it)
    }

    /// Whether it stands there whichever anchor the certificate leads to, so that no registration is needed.
    fn is_held(&self, leaf: &Certificate) -> bool {
        let mut anchors = self.trust.anchors().iter();
        anchors.all(|anchor| self.holds(leaf, &anchor.settings) == Some(true))
    }

    /// Whether the address counts as the certificate's under these settings; nothing where its addresses cannot be read.
    fn holds(&self, leaf: &Certificate, settings: &AnchorSettings) -> Option<bool> {
        let own = identity::addresses(leaf, settings)?;
        let case = match settings.exact_case {
            true => AddressCase::Exact,
            false => AddressCase::Insensitive,
        };
        Some(own.iter().any(|own| own.matches(self.address, case)))
    }

    /// What is wrong with a certificate by itself.
    fn fault(&self, at_hand: &AtHand<'_>, leaf: &Certificate) -> Option<(Reason, String)> {
        let said = |reason: Reason| Some((reason, reason.text().to_owned()));
        let ended = leaf.not_after().is_ok_and(|end| end < self.time);
        if ended {
            return said(Reason::CertificateExpired);
        }
        let key = leaf.public_key();
        match key.kind() {
            KeyKind::Rsa { .. } if key.algorithm() != oid::RSASSA_PSS => {}
            KeyKind::Ec(_) | KeyKind::X25519 | KeyKind::MlKem(_) => {}
            KeyKind::Rsa { .. } | KeyKind::Ed25519 | KeyKind::MlDsa(_) => {
                // What the reasons say for themselves they say of signatures.
                let detail = "its key signs, and nothing is encrypted for such a key";
                return Some((Reason::KeyUsage, detail.to_owned()));
            }
            KeyKind::Dsa { .. } | KeyKind::Unsupported(_) => {
                let detail = "nothing is encrypted here for a key of its kind";
                return Some((Reason::UnsupportedAlgorithm, detail.to_owned()));
            }
        }
        // Only of a key that is not weak a path was looked for.
        if at_hand.cached_for_encryption.contains_key(leaf.sha256()) {
            return None;
        }
        let weakness = key.weakness()?;
        Some((Reason::WeakAlgorithm, weakness.to_string()))
    }

    fn judge(&self, at_hand: &AtHand<'_>) -> Judged {
        let mut judged = Judged::default();
        let mut budget = self.budget.clone();
        for (position, leaf) in self.candidates() {
            match self.one(at_hand, leaf, &mut budget) {
                Ok(()) => judged.good.push(position),
                Err((reason, detail)) => judged.refused.push(Refused {
                    position,
                    reason,
                    detail,
                }),
            }
        }
        let issued = |position: &usize| {
            let leaf = self.certificates.get(*position);
            leaf.and_then(|leaf| leaf.not_before().ok())
        };
        judged
            .good
            .sort_by_key(|position| Reverse(issued(position)));
        judged
    }

    fn one(
        &self,
        at_hand: &AtHand<'_>,
        leaf: &Certificate,
        budget: &mut Budget,
    ) -> Result<(), (Reason, String)> {
        if let Some(fault) = self.fault(at_hand, leaf) {
            return Err(fault);
        }
        if !self.is_named(leaf) {
            // Nobody was asked for more about somebody else's.
            is_registered(at_hand, leaf).map_err(|reason| (reason, reason.text().to_owned()))?;
        }
        let anchors = self.trust.anchors();
        let trusted = match at_hand.cached_for_encryption.get(leaf.sha256()) {
            Some(trusted) => trusted.clone(),
            None => self.path(at_hand, leaf, budget)?,
        };
        let settings = anchors.get(trusted.anchor()).map(|anchor| &anchor.settings);
        let settings = settings.cloned().unwrap_or_default();
        if settings.is_for_cards() {
            // Cards sign, and who gets the mail would see which certificate it is for.
            let detail = "certificates below this anchor are of cards that sign".to_owned();
            return Err((Reason::Profile, detail));
        }
        self.identity(at_hand, leaf, &settings)
            .map_err(|reason| (reason, reason.text().to_owned()))
    }

    fn path(
        &self,
        at_hand: &AtHand<'_>,
        leaf: &Certificate,
        budget: &mut Budget,
    ) -> Result<Trusted, (Reason, String)> {
        let anchors = self.trust.anchors();
        let reach = trustpath::reach(self.known, at_hand, anchors, &[], leaf);
        let found = trustpath::find_for_encryption(self.place(), at_hand, leaf, &reach, budget);
        found.map_err(|error| {
            let reason = trustpath::reason(error.as_ref(), at_hand);
            let detail = error.map_or_else(|| reason.text().to_owned(), |e| e.to_string());
            (reason, detail)
        })
    }

    /// Whether the certificate is the recipient's.
    fn identity(
        &self,
        at_hand: &AtHand<'_>,
        leaf: &Certificate,
        settings: &AnchorSettings,
    ) -> Result<(), Reason> {
        if self.holds(leaf, settings).ok_or(Reason::Malformed)? {
            return Ok(());
        }
        is_registered(at_hand, leaf)
    }
}

fn is_registered(at_hand: &AtHand<'_>, leaf: &Certificate) -> Result<(), Reason> {
    match at_hand.registered(leaf.sha256()) {
        Registered::Yes => Ok(()),
        Registered::Unknown => Err(Reason::RegistrationUnavailable),
        Registered::No => Err(Reason::NotRegistered),
    }
}

/// Decides, or asks for what it takes to decide.
#[must_use]
pub fn step(case: &RecipientCase<'_>, answers: &[Answered]) -> RecipientStep {
    let mut at_hand = AtHand::collect(answers);
    // Once: where another mail changed the cache between the questions and the judgement, nobody would have been asked about
    // a certificate that has no path then.
    at_hand.cached_for_encryption = case.cached_paths();
    let questions = case.questions(&at_hand);
    at_hand.exhausted = !questions.is_empty();
    match questions.is_empty() || answers.len() >= MAX_ANSWERS {
        true => RecipientStep::Done(case.judge(&at_hand)),
        false => RecipientStep::Ask(questions),
    }
}

/// Runs a case to its end with a function that answers one question; for callers that can answer without waiting.
pub fn run(case: &RecipientCase<'_>, mut answer: impl FnMut(&Question) -> Answer) -> Judged {
    let mut answers = Vec::new();
    loop {
        match step(case, &answers) {
            RecipientStep::Done(judged) => return judged,
            RecipientStep::Ask(questions) => {
                answers.extend(questions.into_iter().map(|question| {
                    let answer = answer(&question);
                    Answered { question, answer }
                }))
            }
        }
    }
}

/// Certificates of one address that are looked at; nobody has more in use.
const MAX_CANDIDATES: usize = 16;

#[cfg(test)]
mod tests;
