//! When a list is asked for again. Nothing here reads a clock: all times are seconds since 1970.

use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::time::UnixTime;

/// After a list came at `now` that was made and ends at these times: somewhere between half and three quarters of
/// its life, at least once a day and never twice within five minutes. While the server has nothing newer
/// although it is time, more often as the end comes nearer.
pub(super) fn after_success(life: (UnixTime, Option<UnixTime>), now: i64, jitter: u64) -> i64 {
    let (UnixTime(made), Some(UnixTime(end))) = life else {
        // It never counts as fresh: the next one may say how long it does.
        return now.saturating_add(HOUR);
    };
    let life = end.saturating_sub(made).max(0);
    let due = made
        .saturating_add(life / 2)
        .saturating_add(part(life / 4, jitter));
    let wait = match due.saturating_sub(now) {
        wait @ 1.. => wait.clamp(SHORTEST, DAY),
        _ => (end.saturating_sub(now) / 4).clamp(SHORTEST, HOUR),
    };
    now.saturating_add(wait)
}

/// After so many failures in a row, the last of them at `now`: 5, 10, 20, 40, 60 minutes, and up to a
/// quarter longer.
pub(super) fn after_failure(failures: u32, now: i64, jitter: u64) -> i64 {
    let doubled = 1_i64.checked_shl(failures.saturating_sub(1).min(16));
    let wait = SHORTEST.saturating_mul(doubled.unwrap_or(1)).min(HOUR);
    now.saturating_add(wait)
        .saturating_add(part(wait / 4, jitter))
}

/// Whether what was to be asked for at `due` is asked for at `now`. Nothing is ever put off for longer than a day: what
/// seems to be was planned by a clock that was ahead and has been set right.
pub(super) const fn is_due(due: i64, now: i64) -> bool {
    due <= now || due > now.saturating_add(DAY)
}

/// A number that is the same for the same words and else looks like any, so that gateways and lists do not all come
/// in the same second.
pub(super) fn jitter(words: &[&str]) -> u64 {
    let digest = DigestAlgorithm::Sha256.digest(words.join("\n").as_bytes());
    let first = digest.as_ref().iter().take(8);
    first.fold(0, |number, octet| (number << 8) | u64::from(*octet))
}

/// Of so many seconds the part that the number stands for.
fn part(of: i64, jitter: u64) -> i64 {
    let thousandths = i64::try_from(jitter % 1000).unwrap_or(0);
    // The division comes first where the product could overflow.
    match of.checked_mul(thousandths) {
        Some(product) => product / 1000,
        None => (of / 1000).saturating_mul(thousandths),
    }
}

const SHORTEST: i64 = 300;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn due(made: i64, end: Option<i64>, now: i64, jitter: u64) -> i64 {
        after_success((UnixTime(made), end.map(UnixTime)), now, jitter)
    }

    #[test]
    fn a_list_is_fetched_between_half_and_three_quarters_of_its_life() {
        for (jitter, wanted) in [(0, 40_000), (500, 50_000), (999, 59_980)] {
            assert_eq!(due(0, Some(80_000), 100, jitter), wanted);
        }
    }

    #[test]
    fn it_is_fetched_once_a_day_and_not_all_the_time() {
        assert_eq!(due(0, Some(1_000_000_000), 0, 0), DAY);
        assert_eq!(due(0, Some(600), 0, 0), SHORTEST);
        assert_eq!(due(0, None, 50, 0), 50 + HOUR);
        // Made for the past, or for no time at all.
        assert_eq!(due(0, Some(100), 1000, 0), 1000 + SHORTEST);
        assert_eq!(due(500, Some(100), 1000, 7), 1000 + SHORTEST);
    }

    #[test]
    fn a_server_without_news_is_asked_more_often_towards_the_end() {
        let wait = |now| due(0, Some(80_000), now, 0) - now;
        assert_eq!(wait(60_000), HOUR);
        assert_eq!(wait(72_000), 2000);
        assert_eq!(wait(79_900), SHORTEST);
    }

    #[test]
    fn failures_rest_longer_each_time() {
        let waits: Vec<i64> = (1..8).map(|n| after_failure(n, 1000, 0) - 1000).collect();
        assert_eq!(waits, [300, 600, 1200, 2400, 3600, 3600, 3600]);
        assert_eq!(after_failure(u32::MAX, 0, 999), 3600 + 899);
        assert_eq!(after_failure(1, i64::MAX, 999), i64::MAX);
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_puts_nothing_off_once_it_is_right() {
        let (now, ahead) = (1000, 1000 + 365 * DAY);
        for planned in [
            after_failure(1, ahead, 0),
            due(ahead, Some(ahead + DAY), ahead, 0),
        ] {
            assert!(!is_due(planned, ahead), "{planned}");
            assert!(is_due(planned, now), "{planned}");
            assert!(is_due(planned, planned), "{planned}");
        }
        // As far ahead as anything is planned.
        assert!(!is_due(due(0, Some(i64::MAX), 0, 0), 0));
        assert!(!is_due(after_failure(u32::MAX, 0, 999), 0));
        assert!(is_due(i64::MAX, i64::MAX));
    }

    #[test]
    fn gateways_come_at_different_times() {
        let of = |id: &str| jitter(&["http://ca.example/a.crl", id]) % 1000;
        assert_eq!(of("a"), of("a"));
        let all: std::collections::HashSet<u64> = (0..50).map(|n| of(&n.to_string())).collect();
        assert!(all.len() > 40, "{all:?}");
        assert_eq!(due(i64::MIN, Some(i64::MAX), 0, 999), HOUR);
    }
}
