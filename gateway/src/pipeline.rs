//! The life of a message inside Kenin, between its end of data and the next hop: the first page
//! to read.
//!
//! A permit bounds how many messages are judged at once. The message is judged against the
//! present [`Snapshot`] on a thread of its own kind, one a core, never on those that do I/O:
//! ask/answer until there is a verdict, then the mail rules, then the stamp. Whatever goes wrong
//! on our side is 451: the message stays the sender's. Nothing here changes a signed byte.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use kenin_certstore::{DEFAULT_TENANT, Store};
use kenin_pki::address::Address;
use kenin_policy::scrub::Scrubber;
use kenin_policy::verdict::Verdict;
use kenin_policy::{Answer, Case, Question, Reason, step};
use kenin_smtp_filter::{Event, Filter, Mail, Recording, Reply, Treating, Treatment};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use crate::act::{Decided, act};
use crate::clock::{Clock, now, unix_time};
use crate::delivered::Delivered;
use crate::harvest::Harvester;
use crate::snapshot::Snapshot;
use crate::status::Desk;
use crate::summary::{Summaries, Summary};
use crate::{arc, metrics, poison, reply, substitute};

/// The filter that the SMTP front end asks about each message.
#[derive(Debug)]
pub struct Pipeline {
    snapshots: Arc<ArcSwap<Snapshot>>,
    clock: Arc<Clock>,
    store: Option<Store>,
    delivered: Delivered,
    harvester: Harvester,
    messages: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    summaries: Summaries,
    judge: Judge,
}

/// From the bytes of a message to its verdict; the tests put in one that fails.
type Judge = fn(&[u8], &Snapshot, SystemTime) -> Verdict;

impl Pipeline {
    /// Judges against whatever snapshot the pointer holds at the time.
    pub(crate) fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        clock: Arc<Clock>,
        store: Option<Store>,
    ) -> Self {
        let messages = Arc::new(Semaphore::new(snapshots.load().config.limits.messages));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = Arc::new(Semaphore::new(cores));
        Self {
            snapshots,
            clock,
            delivered: Delivered::new(store.clone()),
            harvester: Harvester::new(store.clone()),
            store,
            messages,
            cores,
            summaries: Summaries::default(),
            judge,
        }
    }

    async fn handle(&self, mail: Mail) -> Treatment {
        let snapshot = self.snapshots.load_full();
        let mut summary = Summary::begin(&mail, &snapshot);
        let treatment = match self.decide(mail.clone(), &snapshot).await {
            Ok(decided) => {
                summary.decide(&decided, &snapshot);
                self.harvester.begin(&mail, &snapshot, &decided);
                decided.treatment
            }
            Err(reply) => Treatment::Refuse(reply),
        };
        summary.end();
        self.summaries.keep(summary);
        treatment
    }

    async fn decide(&self, mail: Mail, snapshot: &Arc<Snapshot>) -> Result<Decided, Reply> {
        let (start, budget) = (tokio::time::Instant::now(), snapshot.config.limits.deadline);
        let permits = async {
            let message = Arc::clone(&self.messages).acquire_owned().await.ok()?;
            let core = Arc::clone(&self.cores).acquire_owned().await.ok()?;
            Some((message, core))
        };
        // Half the time at most: what had to wait for others still gets the other half for itself,
        // and is not called too slow because we are.
        let Ok(Some(permits)) = tokio::time::timeout_at(start + budget / 2, permits).await else {
            return Err(reply::busy());
        };
        let now = self.clock.read();
        let had = self.delivered.of(&mail, unix_time(now.time)).await;
        let job = spawn_blocking({
            let (judge, mail, had) = (self.judge, mail.clone(), had.clone());
            let snapshot = Arc::clone(snapshot);
            move || {
                let _permits = permits;
                let verdict = judge(&mail.raw, &snapshot, now.time);
                let verdict = substitute::unless_clock_is_trusted(verdict, now.trust);
                act(&mail, &snapshot, verdict, now, &had)
            }
        });
        let reason = match tokio::time::timeout_at(start + budget, job).await {
            Ok(Ok(mut decided)) => {
                arc::seal(&mail, snapshot, &mut decided, start + budget).await;
                return Ok(decided);
            }
            // The thread goes on with its permits until it is through; the mail does not wait.
            Err(_) => Reason::LimitTime,
            Ok(Err(_)) => {
                error!(id = mail.envelope.id, "judging a message panicked");
                let time = unix_time(now.time);
                if !poison::is_poison(self.store.as_ref(), &mail, time).await {
                    return Err(Reply::aborted());
                }
                Reason::LimitPoison
            }
        };
        warn!(
            id = mail.envelope.id,
            reason = reason.id(),
            "message delivered without examination"
        );
        let stamped = spawn_blocking({
            let (mail, snapshot) = (mail.clone(), Arc::clone(snapshot));
            move || {
                let verdict = substitute::unexamined(reason, &mail.raw);
                act(&mail, &snapshot, verdict, now, &had)
            }
        });
        let mut decided = stamped.await.map_err(|_| Reply::aborted())?;
        arc::seal(&mail, snapshot, &mut decided, start + budget).await;
        Ok(decided)
    }
}

impl Filter for Pipeline {
    fn treat(&self, mail: Mail) -> Treating<'_> {
        Box::pin(self.handle(mail))
    }

    fn delivered(&self, mail: Mail, recipients: Vec<usize>) -> Recording<'_> {
        Box::pin(async move {
            let now = unix_time(now());
            self.delivered.keep(&mail, &recipients, now).await;
        })
    }

    fn now(&self) -> SystemTime {
        now()
    }

    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Opened { .. } => metrics::sessions(1.0),
            Event::Closed { .. } => metrics::sessions(-1.0),
            Event::TurnedAway { client } => {
                metrics::turned_away();
                warn!(client = %client, "connection turned away by a limit");
            }
            Event::Finished(finished) => {
                let addresses = self.snapshots.load().config.log.addresses;
                self.summaries.finish(finished, addresses);
            }
            _ => {}
        }
    }
}

/// Ask and answer, until the verdict.
fn judge(raw: &[u8], snapshot: &Snapshot, now: SystemTime) -> Verdict {
    let known = &snapshot.known;
    let limits = snapshot.config.engine_limits();
    let time = unix_time(now);
    let config = &snapshot.config;
    let scrubber = Scrubber::new(&config.authserv_id, &config.site_authserv_ids);
    let case = Case::cached(
        raw,
        &snapshot.trust,
        known.intermediates(),
        time,
        &limits,
        &snapshot.paths,
    )
    .within(config.caps.budget())
    .scrubbed_by(raw, &scrubber);
    let mut desk = Desk::new(snapshot, time);
    let outcome = step::run(&case, |question| match question {
        Question::Issuers {
            name,
            key_id,
            child,
        } => desk.issuers(name, key_id.as_deref(), child),
        Question::Status {
            certificate,
            issuer,
            candidates,
        } => desk.status(certificate, issuer, candidates),
        Question::Registration {
            certificate,
            address,
        } => registered(snapshot.store.as_ref(), certificate, address),
    });
    outcome.verdict
}

/// Asks the store, from a thread that may wait.
fn registered(store: Option<&Store>, certificate: &[u8; 32], address: &Address) -> Answer {
    let (Some(store), Ok(runtime)) = (store, Handle::try_current()) else {
        return Answer::Registered(false);
    };
    let asked = store.is_registered(DEFAULT_TENANT, certificate, address);
    match runtime.block_on(tokio::time::timeout(STORE_PATIENCE, asked)) {
        Ok(Ok(found)) => Answer::Registered(found),
        Ok(Err(error)) => Answer::Unavailable(error.to_string()),
        Err(_) => Answer::Unavailable("the store does not answer".to_owned()),
    }
}

/// The store's part of our budget for one message.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
pub(crate) mod tests;
