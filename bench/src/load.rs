//! Load: so many sessions, each sending its next mail when the last is answered (closed loop), or mails
//! at a fixed rate whatever the answers do. At a fixed rate a mail's time counts from when it was due,
//! so that a server that falls behind cannot hide it.

use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::measure::Samples;

/// Why a measurement failed, from any thread.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

/// A connection over which one mail after the other goes; a wrong answer is an error.
pub(crate) trait Session: Send {
    fn mail(&mut self) -> Result<(), Trouble>;
}

/// Opens connections.
pub(crate) type Open<'a> = dyn Fn() -> Result<Box<dyn Session>, Trouble> + Sync + 'a;

/// What came of one load.
#[derive(Debug)]
pub(crate) struct Run {
    /// From the first mail to the last answer.
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Run {
    /// Mails answered a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The time that this share of the mails did not exceed, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        let found = self.latencies.get(place.min(last));
        found.map_or(f64::NAN, Duration::as_secs_f64)
    }
}

/// Closed loop: `sessions` send `mails` together.
pub(crate) fn closed(open: &Open<'_>, sessions: usize, mails: usize) -> Result<Run, Trouble> {
    drive(open, sessions, mails, None)
}

/// `mails` at `rate` a second, over as many sessions as may be busy at once.
pub(crate) fn paced(
    open: &Open<'_>,
    sessions: usize,
    mails: usize,
    rate: f64,
) -> Result<Run, Trouble> {
    drive(open, sessions, mails, Some(rate))
}

fn drive(
    open: &Open<'_>,
    sessions: usize,
    mails: usize,
    rate: Option<f64>,
) -> Result<Run, Trouble> {
    let opened = (0..sessions)
        .map(|_| open())
        .collect::<Result<Vec<_>, _>>()?;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let trouble = Mutex::new(None);
    let all = Mutex::new(Vec::with_capacity(mails));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for mut session in opened {
            let (next, failed, trouble, all) = (&next, &failed, &trouble, &all);
            scope.spawn(move || {
                let mut own = Vec::new();
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= mails {
                        break;
                    }
                    let due = match rate {
                        None => Instant::now(),
                        Some(rate) => {
                            let due = begin + Duration::from_secs_f64(number as f64 / rate);
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
                            due
                        }
                    };
                    if let Err(error) = session.mail() {
                        failed.store(true, Ordering::Relaxed);
                        if let Ok(mut place) = trouble.lock() {
                            *place = Some(error);
                        }
                        break;
                    }
                    own.push(due.elapsed());
                }
                if let Ok(mut all) = all.lock() {
                    all.append(&mut own);
                }
            });
        }
    });
    let elapsed = begin.elapsed();
    if let Some(error) = trouble.into_inner().ok().flatten() {
        return Err(error);
    }
    let mut latencies = all.into_inner().unwrap_or_default();
    latencies.sort_unstable();
    if latencies.len() != mails {
        return Err(format!("{} of {mails} mails were answered", latencies.len()).into());
    }
    Ok(Run { elapsed, latencies })
}

/// p50, p99 and rate of each round.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) p50: Samples,
    pub(crate) p99: Samples,
    pub(crate) rate: Samples,
}

impl Rounds {
    pub(crate) fn new() -> Self {
        Self {
            p50: Samples::new(),
            p99: Samples::new(),
            rate: Samples::new(),
        }
    }

    pub(crate) fn push(&mut self, run: &Run) {
        self.p50.push(run.quantile(0.50));
        self.p99.push(run.quantile(0.99));
        self.rate.push(run.rate());
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "p50": self.p50.json_in("seconds"), "p99": self.p99.json_in("seconds"),
            "rate": self.rate.json_in("mails_a_second"),
        })
    }

    /// `p50 / p99` for a table.
    pub(crate) fn cell(&self) -> String {
        format!(
            "{:.2} / {:.2}",
            self.p50.median() * 1e3,
            self.p99.median() * 1e3
        )
    }
}
