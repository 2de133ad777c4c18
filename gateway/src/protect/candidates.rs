//! The certificates of recipients, each judged at this moment: path, use, address and status
//! ([`kenin_policy::recipient`]). Where one was found says nothing for it.
//!
//! The directories are asked only where the store has none that is good. Cards' certificates are never good.

use std::sync::Arc;

use kenin_certstore::{DEFAULT_TENANT, Kept, Origin, Store, StoreError};
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
        let lacking: Vec<Address> = addresses
            .iter()
            .zip(&all)
            .filter(|(_, found)| is_lacking(found))
            .map(|(address, _)| address.clone())
            .collect();
        if !lacking.is_empty() && !self.places.is_empty() {
            let answers = waiter.block_on(self.places.ask(&lacking));
            let mut answers = lacking.iter().zip(answers);
            for found in all.iter_mut().filter(|found| is_lacking(found)) {
                let Some((address, answer)) = answers.next() else {
                    break;
                };
                let more = self.judged(address, answer.certificates);
                found.candidates.extend(more);
                if answer.silent {
                    // The store weighs more: without it nobody knows what was pinned.
                    found.unavailable = found.unavailable.max(Some(Unavailable::Directory));
                }
            }
        }
        self.tell_capabilities(&waiter, &mut all);
        all
    }

    fn of_store(&mut self, address: &Address, kept: Option<Vec<Kept>>) -> Found {
        let Some(kept) = kept else {
            return silent();
        };
        let usable = kept.into_iter().filter(|one| !one.quarantined);
        let (pinned, others): (Vec<Kept>, Vec<Kept>) =
            usable.partition(|one| one.origin == Origin::Admin);
        let mut candidates = Vec::new();
        // What an administrator put there comes before what came by itself.
        for some in [pinned, others] {
            let certificates = some.into_iter().map(|one| one.certificate);
            candidates.extend(self.judged(address, certificates.collect()));
        }
        Found {
            candidates,
            unavailable: None,
        }
    }

    /// The good ones first, the one that was issued last before the others.
    fn judged(&mut self, address: &Address, certificates: Vec<Certificate>) -> Vec<Candidate> {
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
                    capabilities: None,
                })
            })
            .collect()
    }

    /// What the holders of those that are used once said, and else what the certificate says of them: where nobody tells,
    /// it is as if they had said nothing.
    fn tell_capabilities(&self, waiter: &Waiter<'_>, all: &mut [Found]) {
        let used = all.iter_mut().filter_map(|found| {
            let mut candidates = found.candidates.iter_mut();
            candidates.find(|one| one.refused.is_none())
        });
        let mut used: Vec<&mut Candidate> = used.collect();
        for one in &mut used {
            one.capabilities = Capabilities::of_certificate(&one.certificate);
        }
        let Some(store) = &self.snapshot.store else {
            return;
        };
        waiter.block_on(async {
            for one in used {
                match capabilities(store, &one.certificate).await {
                    Ok(Some(said)) => one.capabilities = Some(said),
                    Ok(None) => {}
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

async fn capabilities(
    store: &Store,
    certificate: &Certificate,
) -> Result<Option<Capabilities>, StoreError> {
    let kept = store.capabilities(DEFAULT_TENANT, certificate.sha256());
    Ok(kept.await?.map(|kept| Capabilities {
        ciphers: kept.ciphers,
        oaep: kept.oaep,
    }))
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
