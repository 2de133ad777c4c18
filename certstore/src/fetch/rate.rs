//! How fast a server sends, in windows of ten seconds: one that keeps a connection busy with a byte now and then is
//! left. It reads nothing itself, and what is done between two reads is not the server's to account for.

use std::time::Duration;

/// The rate of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    /// Bytes a second.
    lowest: u64,
    /// The time waited in this window.
    waited: Duration,
    /// The bytes that came in it.
    came: u64,
}

/// Fewer came than so many bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow(pub(crate) u64);

impl Rate {
    /// No window has begun.
    pub(crate) fn new(lowest: u64) -> Self {
        Self {
            lowest,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// For how long the next read may be waited for. Where a window is over, another begins.
    pub(crate) fn left(&mut self) -> Result<Duration, TooSlow> {
        if self.waited >= WINDOW {
            if self.came < self.lowest.saturating_mul(WINDOW.as_secs()) {
                return Err(TooSlow(self.lowest));
            }
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(WINDOW.saturating_sub(self.waited))
    }

    /// A read brought so many bytes, after so long.
    pub(crate) fn note(&mut self, waited: Duration, count: usize) {
        self.waited = self.waited.saturating_add(waited);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.came = self.came.saturating_add(count);
    }

    /// A read brought nothing as long as it was waited for.
    pub(crate) fn waited_in_vain(&mut self) {
        self.waited = WINDOW;
    }
}

/// The time over which a rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_judged_when_it_is_over() {
        let mut rate = Rate::new(100);
        assert_eq!(rate.left(), Ok(WINDOW));
        rate.note(Duration::from_secs(4), 1);
        assert_eq!(rate.left(), Ok(Duration::from_secs(6)));
        rate.note(Duration::from_secs(6), 999);
        assert_eq!(rate.left(), Ok(WINDOW), "a thousand in ten seconds");
        rate.note(Duration::from_secs(1), 999);
        rate.waited_in_vain();
        assert_eq!(rate.left(), Err(TooSlow(100)));
    }
}
