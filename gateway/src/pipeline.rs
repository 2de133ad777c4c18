//! The life of a message inside Kenin, between its end of data and the next hop: the first page
//! to read.
//!
//! A permit bounds how many messages are judged at once. The message is judged against the
//! present [`Snapshot`] on a thread of its own kind, one a core, never on those that do I/O, or by a
//! process of its own while that thread waits (`worker`): ask/answer until there is a verdict, then
//! it is opened for those whose keys are here, then the mail rules, then the stamp. While it waits for
//! an answer another has its core. Whatever goes wrong on our side is 451: the message stays the
//! sender's. Nothing here changes a signed byte.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use kenin_certstore::Store;
use kenin_policy::Reason;
use kenin_policy::verdict::Verdict;
use kenin_smtp_filter::{
    Event, Filter, Held, Holding, Mail, Recording, Reply, Treating, Treatment,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, warn};

use crate::act::{Decided, Matter, act, confide, follow, keep};
use crate::clock::{Clock, Moment, now, unix_time};
use crate::delivered::Delivered;
use crate::harvest::Harvester;
use crate::keyring::Keyring;
use crate::opening::Memory;
use crate::protect::{self, Author};
use crate::quarantine::Quarantine;
use crate::snapshot::Snapshot;
use crate::summary::{Summaries, Summary};
use crate::worker::{Lost, Pool, Work};
use crate::{arc, metrics, poison, quarantine, reply, sender, substitute};

mod cores;
mod judging;
mod opening;

pub(crate) use cores::{Core, Waiter};
pub(crate) use judging::{Clerk, verdict_of};
use judging::{Judge, judge};
pub(crate) use opening::{Discretion, OwnOffice, seems_encrypted};
use opening::{Lodgings, Opener};

/// The filter that the SMTP front end asks about each message.
#[derive(Debug)]
pub struct Pipeline {
    snapshots: Arc<ArcSwap<Snapshot>>,
    clock: Arc<Clock>,
    store: Option<Store>,
    delivered: Delivered,
    harvester: Harvester,
    quarantine: Option<Arc<Quarantine>>,
    messages: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    /// For messages that are stamped without having been examined: beside the cores, which those that took
    /// too long still have.
    unexamined: Arc<Semaphore>,
    grace: Duration,
    summaries: Summaries,
    judge: Judge,
    opener: Opener,
    lodgings: Lodgings,
    /// Who parses mail and decides, where that is not a thread of this process.
    workers: Option<Arc<Pool>>,
}

impl Pipeline {
    /// Judges against whatever snapshot the pointer holds at the time.
    pub(crate) fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        clock: Arc<Clock>,
        store: Option<Store>,
    ) -> Self {
        let messages = Arc::new(Semaphore::new(snapshots.load().config.limits.messages));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let unexamined = Arc::new(Semaphore::new(cores));
        let cores = Arc::new(Semaphore::new(cores));
        let opener = Opener {
            keyring: Keyring::default(),
            memory: Memory::new(snapshots.load().config.decrypt.memory),
            store: store.clone(),
            quarantine: None,
            turns: Arc::new(Semaphore::new(usize::try_from(opening::TURNS).unwrap_or(1))),
        };
        Self {
            snapshots,
            clock,
            delivered: Delivered::new(store.clone()),
            harvester: Harvester::new(store.clone()),
            store,
            quarantine: None,
            messages,
            cores,
            unexamined,
            grace: GRACE,
            summaries: Summaries::default(),
            judge,
            opener,
            lodgings: Lodgings::default(),
            workers: None,
        }
    }

    /// The same with others who parse mail and decide.
    pub(crate) fn with_workers(mut self, workers: Arc<Pool>) -> Self {
        self.harvester = self.harvester.with_workers(Arc::clone(&workers));
        self.workers = Some(workers);
        self
    }

    /// The same with keys of people.
    pub(crate) fn with_keys(mut self, keyring: Keyring) -> Self {
        self.opener.keyring = keyring;
        self
    }

    /// The same, with somewhere to hold mail.
    pub(crate) fn holding_in(mut self, quarantine: Option<Arc<Quarantine>>) -> Self {
        self.opener.quarantine.clone_from(&quarantine);
        Self { quarantine, ..self }
    }

    async fn handle(&self, mail: Mail) -> Treatment {
        let snapshot = self.snapshots.load_full();
        let begun = Instant::now();
        let mut summary = Summary::begin(&mail, &snapshot);
        let discretion = Arc::default();
        let decided = self.decide(mail.clone(), &snapshot, &discretion).await;
        let timed = match decided.as_ref().map(|decided| &decided.treatment) {
            // By whoever answers the client, as late as is known what becomes of it.
            Ok(Treatment::Divide(_)) => true,
            Ok(treatment) => treatment.is_timed(),
            Err(_) => false,
        };
        if discretion.is_wanted() && !timed {
            sleep_until(opening::whole_period(begun, mail.raw.len())).await;
        }
        let treatment = match decided {
            Ok(decided) => {
                summary.decide(&mail, &decided, &snapshot);
                // Whose signature is found depends on what opened.
                if !discretion.is_wanted() {
                    self.harvester.begin(&mail, &snapshot, &decided);
                }
                self.lodgings.keep(&mail.envelope.id, discretion.rooms());
                decided.treatment
            }
            Err(reply) => Treatment::Refuse(reply),
        };
        summary.end();
        self.summaries.keep(summary);
        treatment
    }

    /// The service ends now: of messages that are not over the log tells that nothing more will be said.
    pub(crate) fn cut_off(&self) {
        self.summaries.cut_off();
    }

    async fn decide(
        &self,
        mail: Mail,
        snapshot: &Arc<Snapshot>,
        discretion: &Arc<Discretion>,
    ) -> Result<Decided, Reply> {
        let (start, budget) = (Instant::now(), snapshot.config.limits.deadline);
        let end = start + budget;
        let permits = async {
            // Before it has a place: however many wait for their turn, others are judged meanwhile. Who has a place waits for
            // no turn, so neither waits for ever.
            let turn = self.opener.turn(&mail).await;
            let message = Arc::clone(&self.messages).acquire_owned().await.ok()?;
            let now = self.clock.read();
            let mut had = self.delivered.of(&mail, unix_time(now.time)).await;
            had.extend(opening::taken_in(&mail, &snapshot.config));
            let author = self.author(&mail, snapshot, now).await;
            let core = Core::take(&self.cores, end).await?;
            Some(((message, turn), now, (had, author), core))
        };
        // Half the time at most: what had to wait for others still gets the other half for itself,
        // and is not called too slow because we are.
        let permits = timeout_at(start + budget / 2, permits).await;
        let Ok(Some((places, now, (had, author), core))) = permits else {
            return Err(reply::busy());
        };
        let effort = core.work();
        let job = spawn_blocking({
            let (judge, mail, had) = (self.judge, mail.clone(), had.clone());
            let (snapshot, workers) = (Arc::clone(snapshot), self.workers.clone());
            let (author, discretion) = (author.clone(), Arc::clone(discretion));
            let opener = self.opener.clone();
            move || -> Result<Option<Decided>, Lost> {
                let (_places, core) = (places, core);
                let mut asked = protect::Clerk::new(&snapshot, &author, now, Some(&core));
                let office = opener.office(&mail, now, &had, &core, end, &discretion);
                let decided = match &workers {
                    None => {
                        let judge = |raw: &[u8]| {
                            let verdict = judge(raw, &snapshot, now.time, &core);
                            substitute::unless_clock_is_trusted(verdict, now.trust)
                        };
                        let verdict = judge(&mail.raw);
                        if core.is_over() {
                            return Ok(None);
                        }
                        let matter = Matter {
                            mail: &mail,
                            snapshot: &snapshot,
                            author: &author,
                            now,
                            had: &had,
                        };
                        let asking = &mut |questions| asked.answer(questions);
                        follow(matter, verdict, &judge, &office, asking)
                    }
                    Some(pool) => {
                        let mut clerk = Clerk::new(&snapshot, unix_time(now.time), Some(&core));
                        let work = Work {
                            mail: &mail,
                            snapshot: &snapshot,
                            author: &author,
                            now,
                            had: &had,
                            office: Some(&office),
                            until: end.into_std(),
                        };
                        pool.decide(work, &mut clerk, &mut asked)?
                    }
                };
                let folder = snapshot.config.temp_dir();
                Ok(Some(keep(decided, &mail.envelope.id, &folder)))
            }
        });
        let reason = match timeout_at(end, job).await {
            Ok(Ok(Ok(Some(mut decided)))) => {
                arc::seal(&mail, snapshot, &mut decided, end).await;
                return Ok(decided);
            }
            Ok(Ok(Err(Lost::NoWorker))) => return Err(reply::busy()),
            Ok(Ok(Err(Lost::NoRoom))) => return Err(reply::broken()),
            // The thread goes on with its permits until it is through; the mail does not wait. What waited for
            // others most of the time was not slow itself.
            Err(_) | Ok(Ok(Ok(None) | Err(Lost::Late))) if effort.spent() < budget / 2 => {
                return Err(reply::busy());
            }
            Err(_) | Ok(Ok(Ok(None) | Err(Lost::Late))) => Reason::LimitTime,
            Ok(Err(_) | Ok(Err(Lost::Died))) => {
                // Whether it panicked, or somebody killed the worker, stands in the line before.
                error!(id = mail.envelope.id, "judging a message was broken off");
                let time = unix_time(now.time);
                if !poison::is_poison(self.store.as_ref(), &mail, time).await {
                    return Err(Reply::aborted());
                }
                Reason::LimitPoison
            }
        };
        let stamping = self.unexamined(&mail, snapshot, reason, now, (had, author));
        // Too many others take too long, or something of ours hangs: what is not stamped does not go.
        let Ok(stamped) = timeout_at(end + self.grace, stamping).await else {
            return Err(reply::busy());
        };
        let mut decided = stamped?;
        if discretion.is_wanted() {
            decided.treatment = confide(&mail, &snapshot.config, decided.treatment);
            decided.discreet = true;
        }
        warn!(
            id = mail.envelope.id,
            reason = reason.id(),
            "message delivered without examination"
        );
        arc::seal(&mail, snapshot, &mut decided, end).await;
        Ok(decided)
    }

    /// What becomes of a message that was not examined, for this reason. Few at a time: its thread, too, goes on
    /// when nobody waits any more.
    async fn unexamined(
        &self,
        mail: &Mail,
        snapshot: &Arc<Snapshot>,
        reason: Reason,
        now: Moment,
        (had, author): (Vec<usize>, Author),
    ) -> Result<Decided, Reply> {
        let place = Arc::clone(&self.unexamined).acquire_owned().await;
        let place = place.map_err(|_| reply::busy())?;
        let (mail, snapshot) = (mail.clone(), Arc::clone(snapshot));
        let (workers, until) = (self.workers.clone(), Instant::now() + self.grace);
        let stamping = spawn_blocking(move || -> Result<Decided, Lost> {
            let _place = place;
            let mut asked = protect::Clerk::new(&snapshot, &author, now, None);
            let decided = match &workers {
                None => {
                    let verdict = substitute::unexamined(reason, &mail.raw);
                    let (limit, asking) = (Some(reason), &mut |questions| asked.answer(questions));
                    let plan = protect::plan(&mail, &snapshot, &author, now, &had, limit, asking);
                    act(&mail, &snapshot, verdict, now, &had, &plan)
                }
                Some(pool) => {
                    let work = Work {
                        mail: &mail,
                        snapshot: &snapshot,
                        author: &author,
                        now,
                        had: &had,
                        office: None,
                        until: until.into_std(),
                    };
                    pool.stamp(reason, work, &mut asked)?
                }
            };
            Ok(keep(
                decided,
                &mail.envelope.id,
                &snapshot.config.temp_dir(),
            ))
        });
        match stamping.await {
            Ok(Ok(decided)) => Ok(decided),
            Ok(Err(Lost::NoWorker)) => Err(reply::busy()),
            Ok(Err(Lost::NoRoom)) => Err(reply::broken()),
            Ok(Err(Lost::Late | Lost::Died)) | Err(_) => Err(Reply::aborted()),
        }
    }

    /// Whose mail it is, and what signs it.
    async fn author(&self, mail: &Mail, snapshot: &Snapshot, now: Moment) -> Author {
        let proven = sender::proven(mail, &snapshot.means.logins);
        let time = unix_time(now.time);
        let keyring = &self.opener.keyring;
        Author::of(proven, &mail.envelope, snapshot, keyring, time).await
    }
}

/// Which limit kept a mail from being examined to its end, if one did.
pub(crate) fn limit_of(verdict: &Verdict) -> Option<Reason> {
    verdict
        .reason
        .filter(|reason| reason.id().starts_with("limit-"))
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

    fn hold(&self, held: Held) -> Holding<'_> {
        let now = self.clock.read();
        Box::pin(quarantine::hold(self.quarantine.as_ref(), held, now))
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
                if let Some(quarantine) = &self.quarantine {
                    quarantine.forget(&finished.id);
                }
                self.lodgings.give_back(&finished.id);
                let addresses = self.snapshots.load().config.log.addresses;
                self.summaries.finish(finished, addresses);
            }
            _ => {}
        }
    }
}

/// What stamping a message that was not examined may take beyond the time for examining it.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(crate) mod tests;
