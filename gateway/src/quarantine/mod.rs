//! The quarantine: mail that is neither sent on nor left with its sender, kept on the disk and sealed.
//!
//! Whoever puts a mail in may say 250 once that has succeeded, and not before. It never decides what is held, and never
//! lets anything go by itself but by time. What lies in the folder is the truth; the index in memory is made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use kenin_certstore::DEFAULT_TENANT;
use kenin_pki::time::UnixTime;
use kenin_smtp_filter::{Held, Reply};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::clock::{Clock, Moment, unix_time};
use crate::config::{self, Config, ConfigError};
use crate::front::Front;
use crate::snapshot::Snapshot;
use crate::{metrics, reply};

mod facts;
mod folder;
pub(crate) mod fuzzed;
mod id;
mod key;
mod notice;
mod promise;
mod release;
mod sealed;

pub(crate) use facts::{Facts, Why};
pub(crate) use folder::{Claimed, Folder};
pub(crate) use id::Id;
pub(crate) use key::Keys;
pub(crate) use release::{SendError, release};
pub(crate) use sealed::OpenError;

use folder::{Listing, PutError};
use promise::Promises;

/// The quarantine of a running service.
#[derive(Debug)]
pub(crate) struct Quarantine {
    folder: Folder,
    keys: Keys,
    settings: config::Quarantine,
    index: Mutex<Index>,
    /// Somebody may have to be told of something.
    news: Notify,
}

/// What lies in the folder, without looking.
#[derive(Debug, Default)]
struct Index {
    mails: BTreeMap<Id, Kept>,
    /// Octets of all files.
    octets: u64,
    /// Those of which somebody was told, for where the disk does not learn it.
    told: BTreeSet<Id>,
    /// Those whose notice was put off, and in which round: others come before them, and those of older rounds.
    put_off: BTreeMap<Id, u64>,
    round: u64,
    /// What may come yet.
    promises: Promises,
}

/// What the service remembers of a mail: nothing of who wrote what to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    octets: u64,
    /// Until when; for ever where that is not known.
    until: Option<i64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is being written.
    Coming,
    /// It is there.
    There,
    /// It is there, and cannot be read.
    Unreadable,
}

/// Why a mail is not held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuarantineError {
    /// There is no room.
    #[error("there is no room")]
    Full,
    /// Nothing is written any more, since the disk has failed.
    #[error("it is read-only")]
    ReadOnly,
    /// The disk fails.
    #[error("{0}")]
    Storage(String),
    /// It cannot be sealed.
    #[error("it cannot be sealed: {0}")]
    Sealing(String),
}

/// Why there is no quarantine to start with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A key cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot.
    #[error("{0}")]
    Folder(String),
}

impl Quarantine {
    /// Opens the folder, sweeps it and looks through it; nothing where the configuration has no quarantine. Reads
    /// files, and may take its time.
    pub(crate) fn open(config: &Config) -> Result<Option<Arc<Self>>, StartError> {
        let Some(settings) = config.quarantine.clone() else {
            return Ok(None);
        };
        let keys = Keys::read(config, &settings)?;
        let path = config.quarantine_dir();
        let failed = |error: io::Error| {
            let text = format!("the quarantine {}: {error}", path.display());
            StartError::Folder(text)
        };
        let folder = Folder::create(&path).map_err(failed)?;
        let swept = folder.sweep().map_err(failed)?;
        if swept > 0 {
            info!(
                swept,
                "leftovers of mail that was not held to its end are gone"
            );
        }
        let quarantine = Self {
            folder,
            keys,
            settings,
            index: Mutex::default(),
            news: Notify::new(),
        };
        quarantine.look_through().map_err(failed)?;
        Ok(Some(Arc::new(quarantine)))
    }

    /// Puts a copy of a mail in. Once that is done, not even a power cut loses it.
    pub(crate) async fn put(
        self: &Arc<Self>,
        held: Held,
        now: Moment,
    ) -> Result<Id, QuarantineError> {
        let put = self.aside(move |own| own.put_now(&held, now)).await;
        let put = put.unwrap_or_else(|| Err(QuarantineError::Sealing("a panic".to_owned())));
        let outcome = match &put {
            Ok(_) => "held",
            Err(QuarantineError::Full) => "full",
            Err(_) => "failed",
        };
        metrics::quarantined(outcome);
        self.aside(Self::describe).await;
        put
    }

    fn put_now(&self, held: &Held, now: Moment) -> Result<Id, QuarantineError> {
        let facts = Facts::of(held, DEFAULT_TENANT, now, self.settings.keep);
        let id = self.reserve(&facts)?;
        let notice = facts.is_confided() && self.settings.notify != config::Notify::Nobody;
        let put = self.folder.put(&id, notice, |file| {
            sealed::write(file, &self.keys, &id, &facts, held.content.pieces())
        });
        let length = put.is_ok().then(|| self.folder.length(&id).ok()).flatten();
        let mut index = self.index();
        let kept = index.remove(&id);
        if let Err(error) = put {
            drop(index);
            return Err(self.failed(error));
        }
        let octets = length.or_else(|| kept.map(|kept| kept.octets));
        let octets = octets.unwrap_or_default();
        index.insert(
            id.clone(),
            Kept {
                octets,
                until: facts.until,
                state: State::There,
            },
        );
        drop(index);
        if notice {
            self.news.notify_one();
        }
        Ok(id)
    }

    /// Keeps room and a name for a mail.
    fn reserve(&self, facts: &Facts) -> Result<Id, QuarantineError> {
        if self.folder.broken().is_some() {
            return Err(QuarantineError::ReadOnly);
        }
        let names = facts.to_octets().map_or(0, |octets| octets.len());
        let octets = u64::try_from(names)
            .unwrap_or(u64::MAX)
            .saturating_add(facts.size)
            .saturating_add(sealed::overhead(facts.size));
        let mut index = self.index();
        let promised = index.promises.has(&facts.transaction);
        if !promised && index.is_full(octets, &self.settings) {
            return Err(QuarantineError::Full);
        }
        let mut names = (1..=id::MAX_COPIES).filter_map(|copy| Id::of(&facts.transaction, copy));
        let free = |id: &Id| !index.mails.contains_key(id);
        let Some(id) = names.find(free) else {
            return Err(QuarantineError::Sealing("it has no id".to_owned()));
        };
        index.insert(
            id.clone(),
            Kept {
                octets,
                until: None,
                state: State::Coming,
            },
        );
        Ok(id)
    }

    fn failed(&self, error: PutError) -> QuarantineError {
        if error.is_full() {
            return QuarantineError::Full;
        }
        match error {
            PutError::ReadOnly => QuarantineError::ReadOnly,
            PutError::Unsure(why) => {
                error!(error = %why, "the quarantine cannot be brought to the disk, and is read-only until the next start");
                QuarantineError::Storage(why.to_string())
            }
            PutError::Io(why) => QuarantineError::Storage(why.to_string()),
            PutError::Seal(why) => QuarantineError::Sealing(why.to_string()),
        }
    }

    /// Why nothing can be held, whatever it is.
    fn trouble(&self) -> Option<String> {
        match (self.folder.broken(), self.folder.free()) {
            (Some(why), _) => Some(format!("read-only: {why}")),
            // It has gone, or its file system was made read-only. It may be back without another start.
            (None, Err(error)) => Some(error.to_string()),
            (None, Ok(_)) => None,
        }
    }

    /// Whether it is in order, as a line for whoever asks how the service is. It asks the disk.
    pub(crate) fn health(&self) -> (bool, String) {
        if let Some(why) = self.trouble() {
            return (false, format!("failed quarantine: {why}\n"));
        }
        let index = self.index();
        let (count, octets) = (index.mails.len(), index.octets);
        let unreadable = index.count(State::Unreadable);
        drop(index);
        let full = count >= self.settings.entries || octets >= self.settings.size;
        let line = match (unreadable, full) {
            (0, false) => format!("ok quarantine: {count} held, {octets} bytes\n"),
            (0, true) => format!("degraded quarantine: full: {count} held, {octets} bytes\n"),
            (some, _) => format!(
                "degraded quarantine: {some} of {count} cannot be read; \"kenin quarantine list\" says why\n"
            ),
        };
        (true, line)
    }

    /// Watches over it until told to stop: what is due goes, whoever has to know is told, and what commands took out
    /// is forgotten.
    pub(crate) async fn watch(
        self: Arc<Self>,
        snapshots: Arc<ArcSwap<Snapshot>>,
        clock: Arc<Clock>,
        mut stopping: watch::Receiver<bool>,
    ) {
        while !*stopping.borrow() {
            let now = clock.read();
            let look = move |quarantine: &Self| quarantine.look_after(now);
            match self.aside(look).await {
                Some(Ok(waiting)) => self.tell(waiting, snapshots.load_full(), now).await,
                Some(Err(error)) => error!(%error, "the quarantine cannot be looked through"),
                None => error!("looking after the quarantine panicked"),
            }
            self.aside(Self::describe).await;
            tokio::select! {
                () = tokio::time::sleep(ROUND) => {}
                () = self.news.notified() => {}
                told = stopping.changed() => if told.is_err() {
                    return;
                },
            }
        }
    }

    /// Does something that may wait for the disk, away from the threads that wait for the network; nothing where it
    /// panicked.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let quarantine = Arc::clone(self);
        spawn_blocking(move || work(&quarantine)).await.ok()
    }

    /// Takes in what lies there, and removes what is due; gives some of those of which somebody has to be told.
    fn look_after(&self, now: Moment) -> io::Result<Vec<(Id, Facts)>> {
        let listing = self.look_through()?;
        // Of two clocks that disagree, the later one would throw mail away.
        if now.trust.is_trusted() && self.folder.broken().is_none() {
            self.expire(unix_time(now.time));
        }
        let waiting: Vec<Id> = {
            let mut index = self.index();
            index.round = index.round.saturating_add(1);
            let mut waiting: Vec<(Option<u64>, Id)> = Vec::new();
            for id in listing.notices {
                if !index.told.contains(&id) {
                    waiting.push((index.put_off.get(&id).copied(), id));
                }
            }
            waiting.sort();
            waiting.into_iter().map(|(_, id)| id).collect()
        };
        let readable = waiting.into_iter().filter_map(|id| {
            let read = self.folder.read(&id, &self.keys).ok()?;
            let facts = read.facts().clone();
            Some((id, facts))
        });
        Ok(readable.take(AT_ONCE).collect())
    }

    /// Makes the index as the folder is.
    fn look_through(&self) -> io::Result<Listing> {
        // What comes from now on is not missed where it is not listed.
        let before: Vec<Id> = {
            let index = self.index();
            let mails = index.mails.iter();
            let there = mails.filter(|(_, kept)| kept.state != State::Coming);
            there.map(|(id, _)| id.clone()).collect()
        };
        let listing = self.folder.listing()?;
        let new: Vec<&Id> = {
            let mut index = self.index();
            for id in before.iter().filter(|id| !listing.mails.contains(*id)) {
                index.remove(id);
            }
            let mails = listing.mails.iter();
            mails.filter(|id| !index.mails.contains_key(*id)).collect()
        };
        for id in new {
            // It may have been taken out meanwhile.
            let Ok(octets) = self.folder.length(id) else {
                continue;
            };
            let (until, state) = match self.folder.read(id, &self.keys) {
                Ok(read) => (read.facts().until, State::There),
                Err(error) => {
                    warn!(quarantine = %id, %error, "a held mail cannot be read, and is kept");
                    (None, State::Unreadable)
                }
            };
            let kept = Kept {
                octets,
                until,
                state,
            };
            self.index().insert(id.clone(), kept);
        }
        Ok(listing)
    }

    fn expire(&self, now: UnixTime) {
        let due: Vec<Id> = {
            let index = self.index();
            let due = |kept: &Kept| kept.until.is_some_and(|until| until <= now.0);
            let mails = index.mails.iter().filter(|(_, kept)| due(kept));
            mails.map(|(id, _)| id.clone()).collect()
        };
        for id in due {
            let removed = match self.folder.claim(&id) {
                Ok(Claimed::Ours(claim)) => claim.remove(),
                // Somebody is sending it on at this moment.
                Ok(Claimed::Busy) => continue,
                Ok(Claimed::Absent) => Ok(()),
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => {
                    self.index().remove(&id);
                    metrics::quarantined("expired");
                    info!(quarantine = %id, "a held mail has ended");
                }
                Err(error) => {
                    error!(quarantine = %id, %error, "a held mail that is due cannot be removed")
                }
            }
        }
    }

    /// Tells whoever has to know, by way of the next hop.
    async fn tell(
        self: &Arc<Self>,
        waiting: Vec<(Id, Facts)>,
        snapshot: Arc<Snapshot>,
        now: Moment,
    ) {
        let Some(server) = snapshot.fronts.iter().find_map(Front::smtp) else {
            return;
        };
        let mut more = waiting.len() == AT_ONCE;
        for (id, facts) in waiting {
            match notice::tell(server, &self.settings, &id, &facts, now.time).await {
                Ok(()) => metrics::quarantined("noticed"),
                // Another round may do.
                Err(error @ SendError::Unusable(_)) => {
                    warn!(quarantine = %id, %error, "a notice waits for the next hop");
                    return;
                }
                // Whose mailbox is full does not keep others from being told.
                Err(error) if error.is_passing() => {
                    warn!(quarantine = %id, %error, "a notice is put off");
                    let mut index = self.index();
                    let round = index.round;
                    index.put_off.insert(id, round);
                    more = false;
                    continue;
                }
                Err(error) => error!(quarantine = %id, %error, "nobody can be told of a held mail"),
            }
            self.index().told.insert(id.clone());
            let done = id.clone();
            let told = self.aside(move |own| own.folder.told(&done)).await;
            if let Some(Err(error)) = told {
                error!(quarantine = %id, %error, "a notice will be given again after the next start");
            }
        }
        if more {
            self.news.notify_one();
        }
    }

    /// Says in metrics how it is. It asks the disk.
    fn describe(&self) {
        let writable = self.trouble().is_none();
        let index = self.index();
        metrics::quarantine(
            index.mails.len(),
            index.octets,
            index.count(State::Unreadable),
            writable,
        );
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, id: Id, kept: Kept) {
        self.remove(&id);
        self.octets = self.octets.saturating_add(kept.octets);
        self.mails.insert(id, kept);
    }

    fn remove(&mut self, id: &Id) -> Option<Kept> {
        let kept = self.mails.remove(id)?;
        self.told.remove(id);
        self.put_off.remove(id);
        self.octets = self.octets.saturating_sub(kept.octets);
        Some(kept)
    }

    /// Whether there is no room for one more of so many octets, beside what is promised to others.
    fn is_full(&self, octets: u64, settings: &config::Quarantine) -> bool {
        let mails = self.mails.len().saturating_add(self.promises.count());
        let all = self.octets.saturating_add(self.promises.octets());
        mails >= settings.entries || all.saturating_add(octets) > settings.size
    }

    fn count(&self, state: State) -> usize {
        let all = self.mails.values();
        all.filter(|kept| kept.state == state).count()
    }
}

/// Has a copy held, for the front end: whether it is, and if not, what its client is told.
pub(crate) async fn hold(
    quarantine: Option<&Arc<Quarantine>>,
    held: Held,
    now: Moment,
) -> Result<(), Reply> {
    let transaction = held.envelope.id.clone();
    let Some(quarantine) = quarantine else {
        error!(
            id = transaction,
            "mail is to be held, and this service was started without a [quarantine]"
        );
        return Err(Reply::aborted());
    };
    // What the next hop said may tell of the content, and is sealed with it.
    let code = held.refusal.as_ref().map(Reply::code);
    let (reason, recipients) = (held.reason.clone(), held.recipients.len());
    match quarantine.put(held, now).await {
        Ok(id) => {
            info!(id = transaction, quarantine = %id, reason, next_hop = code, recipients, "mail is held");
            Ok(())
        }
        Err(why) => {
            error!(id = transaction, error = %why, "mail cannot be held");
            Err(reply::quarantine(&why))
        }
    }
}

/// How often the folder is looked through.
const ROUND: Duration = Duration::from_secs(30);
/// Notices that are given in one round.
const AT_ONCE: usize = 100;

#[cfg(test)]
mod tests;
