//! What is remembered between messages and snapshots: answers until their end, and what was asked when, so
//! that many messages about the same cause one fetch.
//!
//! Whoever writes a certificate writes its URLs, and may write the same for several things. So things of one kind
//! never stand for those of another, take their room or their turn.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kenin_certstore::fetch::{Host, NotNow, Pacing, PacingSettings};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::ocsp::{CertStatus, OcspResponse};
use kenin_policy::News;
use tokio::sync::watch;

use super::DAY;

/// The memory of one process.
#[derive(Debug)]
pub(crate) struct Asked {
    state: Mutex<State>,
    /// What came, for other mail than that for which it came, too: a recipient's path is believed for an hour, and was found
    /// without it.
    news: News,
    /// Where the clock of the pacing begins: it only goes forward.
    started: Instant,
}

#[derive(Debug)]
struct State {
    answers: Shelf,
    lists: Shelf,
    issuers: Shelf,
    /// What is being asked for now.
    flights: HashMap<(Kind, String), watch::Receiver<()>>,
}

/// Things of one kind, and how often they are asked for.
#[derive(Debug)]
struct Shelf {
    held: HashMap<String, Held>,
    /// Octets of all that is held.
    size: usize,
    /// Counts uses, to know what was used last.
    uses: u64,
    room: Room,
    pacing: Pacing,
}

/// How much a shelf holds.
#[derive(Clone, Copy, Debug)]
struct Room {
    entries: usize,
    octets: usize,
}

#[derive(Debug)]
struct Held {
    what: What,
    /// In octets.
    size: usize,
    /// Seconds since 1970.
    until: i64,
    used: u64,
}

/// What was fetched.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Status(OcspResponse),
    List(Crl),
    Certificates(Vec<Certificate>),
}

impl What {
    /// Octets of it as it came.
    fn size(&self) -> usize {
        match self {
            Self::Status(response) => response.der().len(),
            Self::List(crl) => crl.der().len(),
            Self::Certificates(all) => all.iter().map(|one| one.der().len()).sum(),
        }
    }

    /// Whether it may revoke what was good without it.
    fn may_revoke(&self) -> bool {
        match self {
            Self::Status(response) => {
                let mut answers = response.answers().iter();
                answers.any(|answer| matches!(answer.status, CertStatus::Revoked(_)))
            }
            Self::List(_) => true,
            Self::Certificates(_) => false,
        }
    }
}

/// Why it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Ocsp,
    Crl,
    Issuer,
}

impl Kind {
    /// For logs and a metric.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ocsp => "ocsp",
            Self::Crl => "crl",
            Self::Issuer => "issuer",
        }
    }
}

/// How a wish begins.
pub(crate) enum Begin<'a> {
    /// It is here.
    Held(What),
    /// Somebody asks for it now; this closes when that is over.
    Wait(watch::Receiver<()>),
    /// Nobody does: it may be asked for.
    Go(Flight<'a>),
    /// Not so soon again.
    NotNow(NotNow),
}

/// A turn to ask. However it ends, those who wait for it learn that it has.
pub(crate) struct Flight<'a> {
    asked: &'a Asked,
    kind: Kind,
    key: String,
    now: i64,
    _over: watch::Sender<()>,
}

impl Asked {
    /// What is remembered of this, if it has not ended.
    pub(crate) fn get(&self, kind: Kind, key: &str, now: i64) -> Option<What> {
        self.state().shelf(kind).get(key, now)
    }

    /// Takes a turn.
    pub(crate) fn begin(&self, kind: Kind, key: &str, host: &Host, now: i64) -> Begin<'_> {
        let mut state = self.state();
        if let Some(what) = state.shelf(kind).get(key, now) {
            return Begin::Held(what);
        }
        let own = (kind, key.to_owned());
        if let Some(over) = state.flights.get(&own) {
            return Begin::Wait(over.clone());
        }
        let moment = self.started.elapsed().as_secs();
        if let Err(why) = state.shelf(kind).pacing.ask(key, host, moment) {
            return Begin::NotNow(why);
        }
        let (over, waiting) = watch::channel(());
        state.flights.insert(own, waiting);
        Begin::Go(Flight {
            asked: self,
            kind,
            key: key.to_owned(),
            now,
            _over: over,
        })
    }

    /// What has come.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Asked {
    fn default() -> Self {
        // The answers themselves say how long they are good for; a responder has many certificates to tell of.
        let answers = PacingSettings {
            apart: 5,
            burst: 200,
            refill: 1,
            ..PacingSettings::default()
        };
        Self {
            state: Mutex::new(State {
                answers: Shelf::new(ANSWERS, answers),
                lists: Shelf::new(LISTS, PacingSettings::default()),
                issuers: Shelf::new(ISSUERS, PacingSettings::default()),
                flights: HashMap::new(),
            }),
            started: Instant::now(),
            news: News::default(),
        }
    }
}

impl Flight<'_> {
    /// Whoever asked had not the time to wait: that says nothing of who was asked.
    pub(crate) fn give_up(self) {
        self.asked
            .state()
            .shelf(self.kind)
            .pacing
            .release(&self.key);
    }

    /// Keeps what was found for others, or that nothing was.
    pub(crate) fn end(self, found: Result<(What, i64), String>) -> Result<What, String> {
        let moment = self.asked.started.elapsed().as_secs();
        let mut state = self.asked.state();
        let shelf = state.shelf(self.kind);
        match &found {
            Ok((what, until)) => {
                let kept = shelf.put(&self.key, what.clone(), *until, self.now);
                // Between the end of what is held and the next turn there must be no gap.
                let lasts = until.saturating_sub(self.now).saturating_sub(OVERLAP);
                let rest = u64::try_from(lasts).ok().filter(|_| kept);
                shelf
                    .pacing
                    .fetched_for(&self.key, rest.unwrap_or(0), moment);
            }
            Err(_) => shelf.pacing.failed(&self.key, moment),
        }
        drop(state);
        if matches!(&found, Ok((what, _)) if what.may_revoke()) {
            self.asked.news.came();
        }
        found.map(|(what, _)| what)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let own = (self.kind, std::mem::take(&mut self.key));
        self.asked.state().flights.remove(&own);
    }
}

impl State {
    fn shelf(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::Ocsp => &mut self.answers,
            Kind::Crl => &mut self.lists,
            Kind::Issuer => &mut self.issuers,
        }
    }
}

impl Shelf {
    fn new(room: Room, settings: PacingSettings) -> Self {
        Self {
            held: HashMap::new(),
            size: 0,
            uses: 0,
            room,
            pacing: Pacing::new(settings),
        }
    }

    fn get(&mut self, key: &str, now: i64) -> Option<What> {
        // What seems to hold for longer than anything does was put here when the clock was ahead.
        let holds = |held: &&mut Held| now < held.until && held.until <= now.saturating_add(DAY);
        let held = self.held.get_mut(key).filter(holds)?;
        self.uses = self.uses.saturating_add(1);
        held.used = self.uses;
        Some(held.what.clone())
    }

    /// Whether it is kept: not what has ended, nor what is larger than all the room there is.
    fn put(&mut self, key: &str, what: What, until: i64, now: i64) -> bool {
        self.remove(key);
        let size = what.size().saturating_add(key.len());
        if until <= now || size > self.room.octets {
            return false;
        }
        if self.is_full(size) {
            let ended: Vec<String> = self
                .held
                .iter()
                .filter(|(_, held)| held.until <= now)
                .map(|(key, _)| key.clone())
                .collect();
            for key in ended {
                self.remove(&key);
            }
        }
        while self.is_full(size) {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return false;
            };
            self.remove(&oldest);
            // Else there would be none until its next turn.
            self.pacing.release(&oldest);
        }
        self.uses = self.uses.saturating_add(1);
        let held = Held {
            what,
            size,
            until,
            used: self.uses,
        };
        self.size = self.size.saturating_add(size);
        self.held.insert(key.to_owned(), held);
        true
    }

    /// Whether there is no room for one more of this size.
    fn is_full(&self, size: usize) -> bool {
        self.held.len() >= self.room.entries || self.size.saturating_add(size) > self.room.octets
    }

    fn remove(&mut self, key: &str) {
        if let Some(held) = self.held.remove(key) {
            self.size = self.size.saturating_sub(held.size);
        }
    }
}

/// A response is a kilobyte or two.
const ANSWERS: Room = Room {
    entries: 10_000,
    octets: 32 << 20,
};
/// Lists may be long, and the store has them.
const LISTS: Room = Room {
    entries: 256,
    octets: 64 << 20,
};
const ISSUERS: Room = Room {
    entries: 256,
    octets: 4 << 20,
};
/// Seconds before the end of what is held from which on it may be asked for anew: a message is judged by the time at
/// which it came, which is a little earlier than that at which it asks.
const OVERLAP: i64 = 60;

#[cfg(test)]
mod tests;
