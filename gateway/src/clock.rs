//! The program reads the wall clock here and nowhere else: everything else gets the time as a value; where certificates
//! are judged or something is signed, together with whether that clock can be right ([`judge`]).
//!
//! The latest time that was believed, the mark, lies in the store: a restart and other nodes go by it too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenin_certstore::{ClockMark, DEFAULT_TENANT, Store, StoreError};
use kenin_pki::time::UnixTime;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::metrics;

mod judge;

#[cfg(test)]
pub(crate) use judge::EARLIEST;
use judge::Judge;
pub(crate) use judge::{Trust, plausible};

/// The wall clock: the one place that reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "everything else gets the time from here"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970; before that it is 1970.
pub(crate) fn unix_time(time: SystemTime) -> UnixTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A time, and whether it can be right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: SystemTime,
    pub(crate) trust: Trust,
}

/// The wall clock of the service, watched.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    state: Mutex<State>,
}

/// The wall clock, and at the same moment one that only goes forward, also while the machine sleeps.
type Source = fn() -> (SystemTime, Duration);

#[derive(Debug, Default)]
struct State {
    judge: Judge,
    /// The mark in the store, when it was asked last.
    stored: Option<ClockMark>,
    /// How often the mark was set back that is judged by.
    resets: i64,
    /// What was said last.
    said: Option<Trust>,
}

impl Clock {
    /// By this source.
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            state: Mutex::default(),
        }
    }

    /// What time it is, and whether that can be right. Says so once where it is another answer than before.
    pub(crate) fn read(&self) -> Moment {
        let mut state = self.state();
        // Read while nobody else can: of two readings the later one has to be judged later.
        let (time, up) = (self.source)();
        state.observe(time, up)
    }

    /// What is said of it to whoever asks how the service is.
    pub(crate) fn health(&self) -> String {
        let moment = self.read();
        let time = unix_time(moment.time);
        match moment.trust.why() {
            None => format!("ok clock: {time}\n"),
            Some(why) => format!("degraded clock: {time}: {why}\n"),
        }
    }

    /// Goes by the mark in the store, and raises it there when it is time to.
    ///
    /// # Errors
    /// When the store fails; the clock is judged by what is known here then.
    pub(crate) async fn exchange(&self, store: &Store) -> Result<(), StoreError> {
        if let Some(stored) = store.clock_mark(DEFAULT_TENANT).await? {
            self.state().adopt(stored);
        }
        self.read();
        let due = self.state().due();
        if let Some(mark) = due {
            store.raise_clock_mark(DEFAULT_TENANT, mark).await?;
        }
        Ok(())
    }

    /// Watches the clock until told to stop.
    pub(crate) async fn watch(self: Arc<Self>, store: Store, mut stopping: watch::Receiver<bool>) {
        while !*stopping.borrow() {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                told = stopping.changed() => match told {
                    Ok(()) => continue,
                    // Nobody is left who could.
                    Err(_) => return,
                },
            }
            // Also where the store cannot be asked; the reloader says so then.
            self.read();
            let _ = self.exchange(&store).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| (now(), kenin_sys::since_boot()))
    }
}

impl State {
    fn observe(&mut self, time: SystemTime, up: Duration) -> Moment {
        let trust = self.judge.observe(time, up);
        let before = self.said.replace(trust);
        if before != Some(trust) {
            metrics::clock_trusted(trust.is_trusted());
            let clock = unix_time(time).to_string();
            let mark = self.judge.mark().map(|mark| mark.to_string());
            match (trust.why(), before) {
                (Some(why), _) => {
                    error!(
                        clock,
                        mark, why, "the clock is not trusted: no signature passes"
                    );
                }
                (None, Some(_)) => info!(clock, mark, "the clock is trusted again"),
                (None, None) => {}
            }
        }
        Moment { time, trust }
    }

    fn adopt(&mut self, stored: ClockMark) {
        if stored.resets == self.resets {
            self.judge.raise(stored.time);
        } else {
            // At the start there is nothing that could be lost by it.
            if self.said.is_some() {
                let (mark, before) = (stored.time.to_string(), self.judge.mark());
                let before = before.map(|mark| mark.to_string());
                warn!(
                    mark,
                    before, "somebody has set the latest time that is believed"
                );
            }
            self.judge.reset(stored.time);
            self.resets = stored.resets;
        }
        self.stored = Some(stored);
    }

    /// The mark that the store should have, where it is behind by so much that it is worth writing.
    fn due(&self) -> Option<ClockMark> {
        let mark = self.judge.mark()?;
        self.stored
            .is_none_or(|stored| mark >= stored.time.plus(APART))
            .then_some(ClockMark {
                time: mark,
                resets: self.resets,
            })
    }
}

/// How often the clock and the mark are looked at where no mail comes: a reset holds after this time at the latest.
const TICK: Duration = Duration::from_secs(5);
/// Seconds by which the mark in the store is raised at least.
const APART: i64 = 600;

#[cfg(test)]
mod tests;
