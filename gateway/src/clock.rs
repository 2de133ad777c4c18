//! The program reads the wall clock here and nowhere else: everything else gets the time as a value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenin_pki::time::UnixTime;

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
