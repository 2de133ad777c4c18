//! Keeps the revocation lists fresh that `trust.toml` names a URL for: each is fetched well ahead of its end, a
//! little earlier or later than other gateways do.
//!
//! A list that comes is judged as one that lies in a file and more strictly ([`list`]), then goes to the
//! store, whose counter of changes has the new snapshot made. Whatever goes wrong, the list that is held stays, and
//! the log and a metric say so. It never blocks mail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kenin_certstore::fetch::{Limits, Place};
use kenin_certstore::{DEFAULT_TENANT, FetchedList, RevocationIndex, Store};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::clock::{now, unix_time};
use crate::metrics;
use crate::snapshot::{Snapshot, lists_folder};

pub(crate) mod list;
mod schedule;

use list::{NotTaken, Taken};

/// Fetches lists for as long as the service runs.
pub(crate) struct Refresher {
    snapshots: Arc<ArcSwap<Snapshot>>,
    store: Store,
    /// By URL.
    plans: HashMap<String, Plan>,
    /// The revision of the snapshot that the plans were made for.
    planned: Option<String>,
    /// Anchors that a metric names.
    named: HashSet<String>,
}

/// What is planned for one URL. Times are seconds since 1970.
struct Plan {
    anchor: String,
    place: Place,
    /// When it is asked for.
    due: i64,
    /// In a row.
    failures: u32,
    /// When a list came last that could be used.
    success: Option<i64>,
    /// When the fetch began that has not ended.
    begun: Option<i64>,
}

impl Plan {
    /// Whether a fetch has begun that may still end.
    fn is_under_way(&self, now: i64) -> bool {
        let until = self.begun.map(|begun| begun.saturating_add(PATIENCE));
        until.is_some_and(|until| now < until)
    }
}

/// One fetch that is over; nothing was found out where the service stops.
struct Ended {
    url: String,
    outcome: Option<Result<Taken, NotTaken>>,
}

impl Refresher {
    /// For the sources of whatever snapshot is in force.
    pub(crate) fn new(snapshots: Arc<ArcSwap<Snapshot>>, store: Store) -> Self {
        Self {
            snapshots,
            store,
            plans: HashMap::new(),
            planned: None,
            named: HashSet::new(),
        }
    }

    /// Fetches what is due, until told to stop.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut running: JoinSet<Ended> = JoinSet::new();
        while !*stopping.borrow() {
            let snapshot = self.snapshots.load_full();
            self.plan(&snapshot).await;
            self.start(&snapshot, &mut running, &stopping);
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                Some(ended) = running.join_next() => {
                    // One that panicked is asked for again when its patience is over.
                    if let Ok(ended) = ended {
                        self.end(&snapshot, ended);
                    }
                }
                _ = stopping.changed() => {}
            }
        }
    }

    /// Plans what a new snapshot names, and forgets what it does not.
    async fn plan(&mut self, snapshot: &Snapshot) {
        if self.planned.as_ref() == Some(&snapshot.revision) {
            return;
        }
        self.planned = Some(snapshot.revision.clone());
        let anchors = snapshot.sources.iter().flat_map(|all| &all.anchors);
        let wanted = anchors.flat_map(|anchor| {
            let places = anchor.lists.iter();
            places.map(move |place| (place.to_string(), (anchor.name.clone(), place.clone())))
        });
        let wanted: HashMap<String, (String, Place)> = wanted.collect();
        self.plans.retain(|url, _| wanted.contains_key(url));
        if wanted.is_empty() && self.named.is_empty() {
            return;
        }
        // Without it everything is fetched anew, which does no harm.
        let fetched = self.store.fetched(DEFAULT_TENANT).await;
        let fetched: HashMap<String, FetchedList> = fetched
            .unwrap_or_default()
            .into_iter()
            .map(|one| (one.url.clone(), one))
            .collect();
        let now = unix_time(now()).0;
        for (url, (anchor, place)) in wanted {
            let before = fetched.get(&url);
            let success = before.map(|one| one.at.0);
            match self.plans.get_mut(&url) {
                // A command beside the service may have fetched it, or another node.
                Some(plan) => {
                    plan.anchor = anchor;
                    if plan.success < success {
                        plan.success = success;
                        plan.failures = 0;
                    }
                    // What it brought is not at hand here: it has to come once more.
                    let lacking = before.is_some_and(|one| snapshot.known.is_lacking(&one.sha256));
                    if lacking && plan.failures == 0 && !plan.is_under_way(now) {
                        plan.due = plan.due.min(now);
                    }
                }
                None => {
                    let due = before
                        .filter(|one| is_held(snapshot, one, now))
                        .map_or(now, |one| {
                            let jitter = jitter(snapshot, &url);
                            let life = (one.this_update, one.next_update);
                            schedule::after_success(life, one.at.0, jitter)
                        });
                    let plan = Plan {
                        anchor,
                        place,
                        due,
                        failures: 0,
                        success,
                        begun: None,
                    };
                    self.plans.insert(url, plan);
                }
            }
        }
        self.tell();
    }

    /// Begins what is due. A few at once: one server that hangs must not hold up the others.
    fn start(
        &mut self,
        snapshot: &Arc<Snapshot>,
        running: &mut JoinSet<Ended>,
        stopping: &watch::Receiver<bool>,
    ) {
        let now = unix_time(now()).0;
        let mut due: Vec<(i64, &String)> = self
            .plans
            .iter()
            .filter(|(_, plan)| schedule::is_due(plan.due, now))
            .map(|(url, plan)| (plan.due, url))
            .collect();
        due.sort_unstable();
        let room = AT_ONCE.saturating_sub(running.len());
        let urls: Vec<String> = due
            .into_iter()
            .take(room)
            .map(|(_, url)| url.clone())
            .collect();
        for url in urls {
            let Some(plan) = self.plans.get_mut(&url) else {
                continue;
            };
            // Until it has ended, it is not begun again.
            plan.due = now.saturating_add(PATIENCE);
            plan.begun = Some(now);
            let job = Job {
                snapshot: Arc::clone(snapshot),
                store: self.store.clone(),
                anchor: plan.anchor.clone(),
                place: plan.place.clone(),
                stopping: stopping.clone(),
            };
            // Sorting a long list takes longer than a thread for I/O has.
            running.spawn_blocking(move || Ended {
                url,
                outcome: job.run(),
            });
        }
    }

    /// Says what came of a fetch, and plans the next.
    fn end(&mut self, snapshot: &Snapshot, ended: Ended) {
        let (url, Some(outcome)) = (ended.url, ended.outcome) else {
            return;
        };
        metrics::fetched("crl", list::word(&outcome));
        let now = unix_time(now()).0;
        let jitter = jitter(snapshot, &url);
        let Some(plan) = self.plans.get_mut(&url) else {
            return;
        };
        plan.begun = None;
        let anchor = &plan.anchor;
        match &outcome {
            Ok(Taken { crl, new }) => {
                if *new {
                    let (issuer, entries) = (crl.issuer().to_string(), crl.len());
                    let until = crl.next_update().map(|time| time.to_string());
                    info!(
                        url,
                        anchor, issuer, entries, until, "a newer revocation list came"
                    );
                }
                plan.failures = 0;
                plan.success = Some(now);
                let life = (crl.this_update(), crl.next_update());
                plan.due = schedule::after_success(life, now, jitter);
            }
            Err(why) => {
                plan.failures = plan.failures.saturating_add(1);
                plan.due = schedule::after_failure(plan.failures, now, jitter);
                let again = plan.due.saturating_sub(now);
                warn!(url, anchor, error = %why, again, "a revocation list was not taken over, the one held stays");
            }
        }
        self.tell();
    }

    /// When the last list came, of each anchor the URL that waits longest.
    fn tell(&mut self) {
        let mut oldest: HashMap<&str, i64> = HashMap::new();
        for plan in self.plans.values() {
            let success = plan.success.unwrap_or(0);
            let entry = oldest.entry(&plan.anchor).or_insert(success);
            *entry = success.min(*entry);
        }
        for (anchor, time) in &oldest {
            metrics::last_list(anchor, Some(*time));
        }
        // What is no longer asked for must not raise an alarm.
        for gone in self
            .named
            .iter()
            .filter(|name| !oldest.contains_key(name.as_str()))
        {
            metrics::last_list(gone, None);
        }
        self.named = oldest.into_keys().map(str::to_owned).collect();
    }
}

/// One fetch, on a thread that may take its time.
struct Job {
    snapshot: Arc<Snapshot>,
    store: Store,
    anchor: String,
    place: Place,
    stopping: watch::Receiver<bool>,
}

impl Job {
    fn run(self) -> Option<Result<Taken, NotTaken>> {
        let Self {
            snapshot,
            store,
            anchor,
            place,
            mut stopping,
        } = self;
        let runtime = Handle::try_current().ok()?;
        let sources = snapshot.sources.as_ref()?;
        let anchor = sources.anchors.iter().find(|one| one.name == anchor)?;
        let index = match RevocationIndex::open(&lists_folder(&snapshot.config)) {
            Ok(index) => index,
            Err(error) => return Some(Err(error.into())),
        };
        let source = list::Source {
            network: &*sources.network,
            anchor,
            place: &place,
            known: &snapshot.known,
            more: &[],
            index: &index,
        };
        runtime.block_on(async {
            let taken = async {
                let now = unix_time(now());
                let received = source.fetch(&Limits::CRL, now).await?;
                list::keep(&store, &place, received, now).await
            };
            tokio::select! {
                taken = taken => Some(taken),
                _ = stopping.wait_for(|stop| *stop) => None,
            }
        })
    }
}

/// Whether the list that a URL gave last is in use and has not ended.
fn is_held(snapshot: &Snapshot, one: &FetchedList, now: i64) -> bool {
    let fresh = one.next_update.is_some_and(|until| now < until.0);
    let mut held = snapshot.known.all_crls().iter();
    fresh && held.any(|crl| *crl.sha256() == one.sha256 && !crl.is_absent())
}

fn jitter(snapshot: &Snapshot, url: &str) -> u64 {
    schedule::jitter(&[url, &snapshot.config.authserv_id])
}

const TICK: Duration = Duration::from_secs(1);
/// Lists that are fetched at the same time.
const AT_ONCE: usize = 4;
/// In seconds: longer than any fetch and what follows it takes.
const PATIENCE: i64 = 1800;
