//! When what is too old is looked for: not with each mail.

use std::sync::atomic::{AtomicI64, Ordering};

/// For each kind of what is remembered for a time.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) ciphertexts: Due,
    pub(crate) encrypted_mail: Due,
}

/// The moment of the last time.
#[derive(Debug)]
pub(crate) struct Due(AtomicI64);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Due {
    /// Whether it is time again; then this is the last time.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        // Also by a clock that was set back.
        let due = now.abs_diff(last) >= PAUSE;
        if due {
            self.0.store(now, Ordering::Relaxed);
        }
        due
    }

    /// The first of these times at which it is.
    pub(crate) fn first_due(&self, mut times: impl Iterator<Item = i64>) -> Option<i64> {
        times.find(|now| self.is_due(*now))
    }
}

/// Seconds between two times. What is remembered is so for months.
const PAUSE: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_a_minute_by_any_clock() {
        let due = Due::default();
        for (now, expected) in [
            (0, true),
            (59, false),
            (60, true),
            (61, false),
            (0, true),
            (1, false),
        ] {
            assert_eq!(due.is_due(now), expected, "{now}");
        }
    }

    #[test]
    fn of_several_times_the_first_at_which_it_is_due_counts() {
        let due = Due::default();
        assert_eq!(due.first_due([0, 600].into_iter()), Some(0));
        assert_eq!(due.first_due([1, 59].into_iter()), None);
        assert_eq!(due.first_due([59, 60, 600].into_iter()), Some(60));
        assert!(!due.is_due(61));
    }
}
