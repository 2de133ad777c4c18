//! When to leave a failing service alone, so that mail does not wait for it once a message.
//!
//! Pure state: the time is given, as what has passed on a clock that only goes forward.

use std::time::Duration;

/// Counts failures in a row; after three nobody asks for 10 s, and twice as long after each further one, up to
/// 5 minutes.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Until then nobody asks.
    until: Duration,
    /// One asks for all whether the service is back.
    probing: bool,
}

/// The service is not asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it failed several times in a row and is left alone for another {left} s",
    left = wait.as_secs().saturating_add(1)
)]
pub struct Resting {
    /// How long.
    pub wait: Duration,
}

impl Breaker {
    /// Whether to ask now. Whoever may says later how it ended.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub fn ask(&mut self, now: Duration) -> Result<(), Resting> {
        if self.failures < PATIENCE {
            return Ok(());
        }
        if now < self.until {
            let wait = self.until.saturating_sub(now);
            return Err(Resting { wait });
        }
        // The others wait for this one. Should it never tell, the next has its turn soon.
        self.until = now.saturating_add(FIRST_REST);
        self.probing = true;
        Ok(())
    }

    /// It answered.
    pub fn worked(&mut self) {
        *self = Self::default();
    }

    /// It did not.
    pub fn failed(&mut self, now: Duration) {
        // Those that were under way when the rest began say nothing new.
        if self.failures >= PATIENCE && !self.probing {
            return;
        }
        self.probing = false;
        self.failures = self.failures.saturating_add(1);
        if let Some(doublings) = self.failures.checked_sub(PATIENCE) {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            let rest = FIRST_REST.saturating_mul(factor).min(LONGEST_REST);
            self.until = now.saturating_add(rest);
        }
    }
}

/// Failures in a row before a rest.
const PATIENCE: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wait(breaker: &mut Breaker, seconds: u64) -> u64 {
        breaker
            .ask(at(seconds))
            .map_or_else(|rest| rest.wait.as_secs(), |()| 0)
    }

    #[test]
    fn three_failures_in_a_row_make_a_rest() {
        let mut breaker = Breaker::default();
        for second in 0..3 {
            assert_eq!(wait(&mut breaker, second), 0);
            breaker.failed(at(second));
        }
        assert_eq!(wait(&mut breaker, 2), 10);
        assert_eq!(wait(&mut breaker, 11), 1);
        assert_eq!(wait(&mut breaker, 12), 0);
    }

    #[test]
    fn an_answer_forgets_failures() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(at(0));
            breaker.failed(at(0));
            breaker.worked();
        }
        assert_eq!(wait(&mut breaker, 0), 0);
    }

    #[test]
    fn each_vain_probe_doubles_the_rest_up_to_five_minutes() {
        let mut breaker = Breaker::default();
        let mut now = 0;
        for _ in 0..3 {
            breaker.failed(at(now));
        }
        for rest in [10, 20, 40, 80, 160, 300, 300, 300] {
            assert_eq!(wait(&mut breaker, now), rest);
            now += rest;
            assert_eq!(wait(&mut breaker, now), 0);
            // Only one asks.
            assert_eq!(wait(&mut breaker, now), 10);
            breaker.failed(at(now));
        }
        now += 300;
        assert_eq!(wait(&mut breaker, now), 0);
        breaker.worked();
        assert_eq!(wait(&mut breaker, now), 0);
    }

    #[test]
    fn late_failures_do_not_lengthen_the_rest() {
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            breaker.failed(at(1));
        }
        assert_eq!(wait(&mut breaker, 1), 10);
    }

    #[test]
    fn a_probe_that_never_tells_holds_nobody_up_for_long() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(at(0));
        }
        assert_eq!(wait(&mut breaker, 10), 0);
        assert_eq!(wait(&mut breaker, 19), 1);
        assert_eq!(wait(&mut breaker, 20), 0);
    }
}
