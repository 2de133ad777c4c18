//! The certificates of recipients, each judged at this moment: path, use, address and status
//! ([`kenin_policy::recipient`]). Where one was found says nothing for it.
//!
//! The directories are asked only where the store has none that is good. Cards' certificates are never good.

use std::sync::Arc;

use kenin_certstore::{DEFAULT_TENANT, KeptCapabilities, KeptRecipient, Origin};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_policy::protect::{Candidate, Found, Unavailable};
use kenin_policy::recipient::{self, RecipientCase};
use kenin_smime::Capabilities;
use tracing::{debug, warn};

use super::places::{self, Places};
use crate::clock::{Moment, unix_time};
use crate::pipeline::{Clerk, Core, Waiter};
use crate::snapshot::Snapshot;

/// Finds and judges the certificates for one mail.
pub(super) struct Search<'a> {
    snapshot: &'a Snapshot,
    places: &'a Arc<Places>,
    core: Option<&'a Core>,
    now: Moment,
    /// One for all recipients: a mail causes few fetches, however many they are.
    clerk: Clerk<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, core: Option<&'a Core>, now: Moment) -> Self {
        Self {
            snapshot,
            places: &snapshot.means.places,
            core,
            now,
            clerk: Clerk::new(snapshot, unix_time(now.time), core),
        }
    }

    /// What there is for each of these mailboxes.
    pub(super) fn find(&mut self, addresses: &[Address]) -> Vec<Found> {
        let Ok(waiter) = Waiter::here(self.core) else {
            return addresses.iter().map(|_| silent()).collect();
        };
        let kept = match &self.snapshot.store {
            Some(store) => waiter.block_on(places::in_store(store, addresses)),
            None => addresses.iter().map(|_| Some(Vec::new())).collect(),
        };
        let mut all: Vec<Found> = addresses
            .iter()
            .zip(kept)
            .map(|(address, kept)| self.of_store(address, kept))
            .collect();
        self.ask_directories(&waiter, addresses, &mut all);
        for one in all.iter_mut().filter_map(used) {
            if one.capabilities.is_none() {
                one.capabilities = Capabilities::of_certificate(&one.certificate);
            }
        }
        all
    }

    /// Adds what the directories have where none was good.
    fn ask_directories(&mut self, waiter: &Waiter<'_>, addresses: &[Address], all: &mut [Found]) {
        let pairs = addresses.iter().zip(all);
        let mut lacking: Vec<(&Address, &mut Found)> =
            pairs.filter(|(_, found)| is_lacking(found)).collect();
        if lacking.is_empty() || self.places.is_empty() {
            return;
        }
        let asked: Vec<Address> = lacking
            .iter()
            .map(|(address, _)| (*address).clone())
            .collect();
        let answers = waiter.block_on(self.places.ask(&asked));
        for ((address, found), answer) in lacking.iter_mut().zip(answers) {
            let some = answer.certificates.into_iter().map(|one| (one, None));
            let more = self.judged(address, some.collect());
            found.candidates.extend(more);
            if answer.silent {
                // The store weighs more: without it nobody knows what was pinned.
                found.unavailable = found.unavailable.max(Some(Unavailable::Directory));
            }
        }
        let good = lacking.into_iter().filter_map(|(_, found)| used(found));
        self.tell_capabilities(waiter, good.collect());
    }

    fn of_store(&mut self, address: &Address, kept: Option<Vec<KeptRecipient>>) -> Found {
        let Some(kept) = kept else {
            return silent();
        };
        let usable = kept.into_iter().filter(|one| !one.quarantined);
        let (pinned, others): (Vec<_>, Vec<_>) =
            usable.partition(|one| one.origin == Origin::Admin);
        let mut candidates = Vec::new();
        // What an administrator put there comes before what came by itself.
        for some in [pinned, others] {
            let some = some
                .into_iter()
                .map(|one| (one.certificate, one.said.map(capabilities)));
            candidates.extend(self.judged(address, some.collect()));
        }
        Found {
            candidates,
            unavailable: None,
        }
    }

    /// The good ones first, the one that was issued last before the others. With each comes what its holder once said.
    fn judged(
        &mut self,
        address: &Address,
        some: Vec<(Certificate, Option<Capabilities>)>,
    ) -> Vec<Candidate> {
        let (certificates, said): (Vec<_>, Vec<_>) = some.into_iter().unzip();
        let snapshot = self.snapshot;
        let case = RecipientCase::new(
            address,
            &certificates,
            &snapshot.trust,
            snapshot.known.intermediates(),
            unix_time(self.now.time),
        )
        .within(snapshot.config.caps.budget())
        .cached(&snapshot.paths);
        let clerk = &mut self.clerk;
        let judged = recipient::run(&case, |question| clerk.answer(question));
        let good = judged.good.iter().map(|position| (*position, None));
        let refused = judged.refused.iter().map(|one| {
            debug!(
                reason = one.reason.id(),
                detail = one.detail,
                "a certificate is no good"
            );
            (one.position, Some(one.reason))
        });
        good.chain(refused)
            .filter_map(|(position, refused)| {
                Some(Candidate {
                    certificate: certificates.get(position)?.clone(),
                    refused,
                    capabilities: said.get(position).cloned().flatten(),
                })
            })
            .collect()
    }

    /// What the holders of these once said: where nobody tells, it is as if they had said nothing.
    fn tell_capabilities(&self, waiter: &Waiter<'_>, good: Vec<&mut Candidate>) {
        let Some(store) = &self.snapshot.store else {
            return;
        };
        waiter.block_on(async {
            for one in good {
                let kept = store.capabilities(DEFAULT_TENANT, one.certificate.sha256());
                match kept.await {
                    Ok(kept) => one.capabilities = kept.map(capabilities),
                    // The others would not be told either.
                    Err(error) => {
                        warn!(%error, "the store does not tell what a recipient can read");
                        return;
                    }
                }
            }
        });
    }
}

fn capabilities(kept: KeptCapabilities) -> Capabilities {
    Capabilities {
        ciphers: kept.ciphers,
        oaep: kept.oaep,
    }
}

/// The one that mail is encrypted for.
fn used(found: &mut Found) -> Option<&mut Candidate> {
    let mut candidates = found.candidates.iter_mut();
    candidates.find(|one| one.refused.is_none())
}

/// Whether there is none that is good.
fn is_lacking(found: &Found) -> bool {
    found.candidates.iter().all(|one| one.refused.is_some())
}

/// The store does not answer.
fn silent() -> Found {
    Found {
        candidates: Vec::new(),
        unavailable: Some(Unavailable::Store),
    }
}
