//! Time that nobody can set. Never reads the wall clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long the machine has been up, its sleep included (CLOCK_BOOTTIME). A step of the wall clock does not touch
/// it, and what slews one slews the other.
#[must_use]
pub fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_forward() {
        let first = since_boot();
        assert!(first > Duration::ZERO);
        assert!(since_boot() >= first);
    }
}
