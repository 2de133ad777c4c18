//! What is remembered between messages and snapshots: answers until their end, and what was asked when, so
//! that many messages about the same cause one fetch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kenin_certstore::fetch::{Host, NotNow, Pacing, PacingSettings};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::ocsp::OcspResponse;
use tokio::sync::watch;

/// The memory of one process.
#[derive(Debug)]
pub(crate) struct Asked {
    state: Mutex<State>,
    /// Where the clock of the pacing begins: it only goes forward.
    started: Instant,
}

#[derive(Debug)]
struct State {
    answers: Shelf,
    files: Shelf,
    /// What is being asked for now.
    flights: HashMap<String, watch::Receiver<()>>,
}

/// Things of one kind, and how often they are asked for.
#[derive(Debug)]
struct Shelf {
    held: HashMap<String, Held>,
    /// Counts uses, to know what was used last.
    uses: u64,
    most: usize,
    pacing: Pacing,
}

#[derive(Debug)]
struct Held {
    what: What,
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

/// Why it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        if let Some(over) = state.flights.get(key) {
            return Begin::Wait(over.clone());
        }
        let moment = self.started.elapsed().as_secs();
        if let Err(why) = state.shelf(kind).pacing.ask(key, host, moment) {
            return Begin::NotNow(why);
        }
        let (over, waiting) = watch::channel(());
        state.flights.insert(key.to_owned(), waiting);
        Begin::Go(Flight {
            asked: self,
            kind,
            key: key.to_owned(),
            now,
            _over: over,
        })
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
                answers: Shelf::new(MAX_ANSWERS, answers),
                files: Shelf::new(MAX_FILES, PacingSettings::default()),
                flights: HashMap::new(),
            }),
            started: Instant::now(),
        }
    }
}

impl Flight<'_> {
    /// Keeps what was found for others, or that nothing was.
    pub(crate) fn end(self, found: Result<(What, i64), String>) -> Result<What, String> {
        let moment = self.asked.started.elapsed().as_secs();
        let mut state = self.asked.state();
        let shelf = state.shelf(self.kind);
        match &found {
            Ok((what, until)) => {
                shelf.pacing.fetched(&self.key, moment);
                shelf.put(&self.key, what.clone(), *until, self.now);
            }
            Err(_) => shelf.pacing.failed(&self.key, moment),
        }
        drop(state);
        found.map(|(what, _)| what)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.asked.state().flights.remove(&self.key);
    }
}

impl State {
    fn shelf(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::Ocsp => &mut self.answers,
            Kind::Crl | Kind::Issuer => &mut self.files,
        }
    }
}

impl Shelf {
    fn new(most: usize, settings: PacingSettings) -> Self {
        Self {
            held: HashMap::new(),
            uses: 0,
            most,
            pacing: Pacing::new(settings),
        }
    }

    fn get(&mut self, key: &str, now: i64) -> Option<What> {
        let held = self.held.get_mut(key).filter(|held| now < held.until)?;
        self.uses = self.uses.saturating_add(1);
        held.used = self.uses;
        Some(held.what.clone())
    }

    fn put(&mut self, key: &str, what: What, until: i64, now: i64) {
        if until <= now {
            return;
        }
        if self.held.len() >= self.most && !self.held.contains_key(key) {
            self.held.retain(|_, held| now < held.until);
        }
        if self.held.len() >= self.most && !self.held.contains_key(key) {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.held.remove(&oldest);
            }
        }
        self.uses = self.uses.saturating_add(1);
        let used = self.uses;
        self.held.insert(key.to_owned(), Held { what, until, used });
    }
}

/// A response is a kilobyte or two.
const MAX_ANSWERS: usize = 10_000;
/// Lists may be long, and the store has them.
const MAX_FILES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "http://ocsp.example/ 01";

    fn host() -> Host {
        Host::Name("ocsp.example".to_owned())
    }

    fn nothing() -> What {
        What::Certificates(Vec::new())
    }

    fn go(asked: &Asked, key: &str) -> Option<bool> {
        match asked.begin(Kind::Ocsp, key, &host(), 100) {
            Begin::Go(flight) => Some(flight.end(Ok((nothing(), 200))).is_ok()),
            _ => None,
        }
    }

    #[test]
    fn what_came_is_remembered_until_its_end() {
        let asked = Asked::default();
        assert_eq!(go(&asked, KEY), Some(true));
        assert!(asked.get(Kind::Ocsp, KEY, 199).is_some());
        assert!(asked.get(Kind::Ocsp, KEY, 200).is_none());
        assert!(asked.get(Kind::Crl, KEY, 150).is_none());
        let begin = asked.begin(Kind::Ocsp, KEY, &host(), 150);
        assert!(matches!(begin, Begin::Held(_)));
    }

    #[test]
    fn what_failed_rests() {
        let asked = Asked::default();
        let Begin::Go(flight) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
            panic!()
        };
        assert!(flight.end(Err("no".to_owned())).is_err());
        let begin = asked.begin(Kind::Ocsp, KEY, &host(), 100);
        assert!(matches!(begin, Begin::NotNow(NotNow::Failed { .. })));
    }

    #[test]
    fn who_wants_the_same_waits_and_is_told() {
        let asked = Asked::default();
        let Begin::Go(flight) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
            panic!()
        };
        let Begin::Wait(over) = asked.begin(Kind::Ocsp, KEY, &host(), 100) else {
            panic!()
        };
        assert!(over.has_changed().is_ok());
        // Also where whoever asked panics.
        drop(flight);
        assert!(over.has_changed().is_err());
        let begin = asked.begin(Kind::Ocsp, KEY, &host(), 100);
        assert!(matches!(begin, Begin::NotNow(NotNow::Asked { .. })));
    }

    #[test]
    fn what_was_not_used_for_long_makes_room() {
        let mut shelf = Shelf::new(3, PacingSettings::default());
        for key in ["a", "b", "c"] {
            shelf.put(key, nothing(), 200, 100);
        }
        assert!(shelf.get("a", 100).is_some());
        shelf.put("d", nothing(), 200, 100);
        assert!(shelf.get("b", 100).is_none());
        shelf.put("e", nothing(), 400, 300);
        assert_eq!(shelf.held.len(), 1, "what has ended goes first");
        shelf.put("f", nothing(), 300, 300);
        assert!(shelf.get("f", 300).is_none());
    }
}
