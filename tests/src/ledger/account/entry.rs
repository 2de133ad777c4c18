//! The account of one mail.

use std::collections::BTreeMap;

use super::{Secret, Truth};
use crate::ledger::fan::Wish;
use crate::ledger::{Told, Try};

/// What one mail is, to whom it goes, and what was told of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) truth: Truth,
    /// SHA-256 of the body, and the Subject; `None` where the harness changed the mail.
    pub(super) text: Option<([u8; 32], String)>,
    /// Whether what is said of it was changed by the harness, or spoiled by an MTA: it may be refused
    /// for that.
    pub(super) garbled: bool,
    /// What is for some eyes only.
    pub(super) secret: Option<Secret>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) tries: Vec<Try>,
    /// Told by other means, an MTA's log, of each recipient.
    pub(super) others: BTreeMap<String, Told>,
}

impl Entry {
    /// What was told of a recipient, in all.
    pub(super) fn told(&self, address: &str) -> Told {
        let mut sum = self.others.get(address).copied().unwrap_or_default();
        for told in self.tries.iter().filter_map(|one| one.tell(address)) {
            sum += told;
        }
        sum
    }

    /// How it is treated for a recipient.
    pub(super) fn wish(&self, address: &str) -> Wish {
        let opens = |secret: &Secret| secret.opens.iter().any(|to| to == address);
        match self.secret.as_ref().is_some_and(opens) {
            true => Wish::Opens,
            false => Wish::of(address),
        }
    }

    /// Whether two of its recipients get the same copy.
    pub(super) fn is_alike(&self, one: &str, other: &str) -> bool {
        let (one, other) = (self.wish(one), self.wish(other));
        one == other || (self.truth == Truth::Good && one.is_alike(other))
    }

    /// Whether its recipients are treated in several ways.
    pub(super) fn is_divided(&self) -> bool {
        let mut pairs = self.to.iter().zip(self.to.iter().skip(1));
        pairs.any(|(one, next)| !self.is_alike(one, next))
    }

    /// Whether this recipient may be refused for good, or the sender told that he was.
    pub(super) fn may_fail(&self, address: &str) -> bool {
        // One answer for all: that for the first copy.
        let one_answer = self.tries.iter().any(|one| !one.one_by_one);
        let barred = self.to.iter().any(|to| Wish::of(to) == Wish::Barred);
        self.garbled
            || (one_answer && barred)
            || Wish::of(address).forbids(self.truth) != Some(false)
    }

    /// How many losses of the next hop at the dot were told, at least.
    pub(super) fn losses_told(&self) -> usize {
        let told =
            |one: &Try, address: &str| one.tell(address).is_some_and(|t| t.said_in_doubt > 0);
        let losses = |one: &Try| {
            let mut groups: Vec<&str> = Vec::new();
            for address in one.each.keys().filter(|address| told(one, address)) {
                if !groups.iter().any(|first| self.is_alike(first, address)) {
                    groups.push(address);
                }
            }
            if one.one_by_one {
                groups.len()
            } else {
                groups.len().min(1)
            }
        };
        let overheard = self.others.values().map(|told| told.said_in_doubt).max();
        self.tries.iter().map(losses).sum::<usize>() + overheard.unwrap_or_default()
    }
}
