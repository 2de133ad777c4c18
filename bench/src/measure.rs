//! CPU time, medians and the table: how every figure of this package is taken.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// CPU time that this process has used so far, all threads.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// CPU seconds that one call of `work` takes, over as many calls as `slice` allows.
pub(crate) fn per_call(slice: Duration, mut work: impl FnMut()) -> f64 {
    let begin = cpu_time();
    let mut calls = 0_u32;
    loop {
        work();
        calls += 1;
        let used = cpu_time().saturating_sub(begin);
        if used >= slice {
            return used.as_secs_f64() / f64::from(calls);
        }
    }
}

/// What one contestant did in each of the interleaved rounds, in CPU seconds a message.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Half the distance between best and worst, as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        match (self.0.first(), self.0.last()) {
            (Some(low), Some(high)) => (high - low) / 2.0 / self.median(),
            _ => f64::NAN,
        }
    }

    pub(crate) fn json(&self) -> Value {
        self.json_in("cpu_seconds")
    }

    /// The same for what is no CPU time.
    pub(crate) fn json_in(&self, unit: &str) -> Value {
        json!({ unit: self.0, "median": self.median(), "spread": self.spread() })
    }

    /// Median and half the spread, times `scale`, for a table.
    pub(crate) fn cell(&self, scale: f64) -> String {
        let share = self.spread() * 100.0;
        format!("{:.3} ±{share:.0}%", self.median() * scale)
    }
}

/// A duration as people read it.
pub(crate) fn human(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.1} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}
