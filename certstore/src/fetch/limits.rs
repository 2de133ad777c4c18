//! How often the same thing is fetched, and how often the same host is asked.
//!
//! A URL that is fetched for each mail tells its owner who reads what, and lets a thousand mails
//! make one request each. So what was asked rests, what failed rests longer each time, and a host
//! has a token bucket. It fetches nothing and reads no clock: the time is given, in seconds of a
//! clock that only goes forward.

use std::collections::HashMap;

use super::place::Host;

/// What was asked when, and of whom.
#[derive(Clone, Debug)]
pub struct Pacing {
    settings: PacingSettings,
    asked: HashMap<String, Asked>,
    /// When the bucket of a host is full again.
    hosts: HashMap<String, u64>,
}

/// How often is often enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacingSettings {
    /// Seconds between two fetches of the same thing.
    pub apart: u64,
    /// How many fetches of one host may follow each other at once.
    pub burst: u64,
    /// Seconds after which one more is allowed.
    pub refill: u64,
    /// How many things, and how many hosts, are remembered.
    pub entries: usize,
    /// Differs between gateways, so that they do not all come back in the same second.
    pub seed: u64,
}

impl Default for PacingSettings {
    fn default() -> Self {
        Self {
            apart: 3600,
            burst: 8,
            refill: 10,
            entries: 4096,
            seed: 0,
        }
    }
}

impl Pacing {
    /// Nothing asked yet.
    pub fn new(settings: PacingSettings) -> Self {
        Self {
            settings,
            asked: HashMap::new(),
            hosts: HashMap::new(),
        }
    }

    /// Takes a turn: whether `what` may be fetched from `host` now.
    ///
    /// `what` is the URL, and what else tells one request from another (the hash of an OCSP
    /// request). Whoever got a turn says later how it ended; until then nobody gets another.
    ///
    /// # Errors
    ///
    /// Why not, and for how long.
    pub fn ask(&mut self, what: &str, host: &Host, now: u64) -> Result<(), NotNow> {
        if let Some(asked) = self.asked.get(what)
            && asked.not_before > now
        {
            let wait = asked.not_before.saturating_sub(now);
            return Err(match asked.failures {
                0 => NotNow::Asked { wait },
                failures => NotNow::Failed { wait, failures },
            });
        }
        self.take_token(host, now)?;
        let failures = self.asked.get(what).map_or(0, |asked| asked.failures);
        self.put(what, now.saturating_add(self.settings.apart), failures);
        Ok(())
    }

    /// It was fetched: it rests as long as all do.
    pub fn fetched(&mut self, what: &str, now: u64) {
        self.put(what, now.saturating_add(self.settings.apart), 0);
    }

    /// It was fetched, and what came is of use for so many seconds: it rests no longer than that.
    pub fn fetched_for(&mut self, what: &str, seconds: u64, now: u64) {
        let rest = seconds.min(self.settings.apart);
        self.put(what, now.saturating_add(rest), 0);
    }

    /// Its end was not waited for, or what came is not held any more: it may be asked for again at once. What failed
    /// before still counts.
    pub fn release(&mut self, what: &str) {
        if let Some(asked) = self.asked.get_mut(what) {
            asked.not_before = 0;
        }
    }

    /// It failed: it rests for 1, 2, 4 … 60 minutes, and up to a quarter longer.
    pub fn failed(&mut self, what: &str, now: u64) {
        let before = self.asked.get(what).map_or(0, |asked| asked.failures);
        let minutes = 1_u64.checked_shl(before).unwrap_or(LONGEST).min(LONGEST);
        let failures = before.saturating_add(1);
        let seconds = minutes.saturating_mul(60);
        let more = spread(what, failures, self.settings.seed) % (seconds / 4 + 1);
        let until = now.saturating_add(seconds).saturating_add(more);
        self.put(what, until, failures);
    }

    fn put(&mut self, what: &str, not_before: u64, failures: u32) {
        let asked = Asked {
            not_before,
            failures,
        };
        make_room(&mut self.asked, what, self.settings.entries, |one| {
            one.not_before
        });
        self.asked.insert(what.to_owned(), asked);
    }

    /// A token bucket of which only the time is kept when it is full again: it holds one token less
    /// for each `refill` until then.
    fn take_token(&mut self, host: &Host, now: u64) -> Result<(), NotNow> {
        let PacingSettings { burst, refill, .. } = self.settings;
        let host = host.to_string();
        let full = self.hosts.get(&host).map_or(now, |full| now.max(*full));
        let full = full.saturating_add(refill);
        let latest = now.saturating_add(burst.max(1).saturating_mul(refill));
        if full > latest {
            let wait = full.saturating_sub(latest);
            return Err(NotNow::Host { wait });
        }
        make_room(&mut self.hosts, &host, self.settings.entries, |full| *full);
        self.hosts.insert(host, full);
        Ok(())
    }
}

/// Why something is not fetched now; `wait` is in seconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotNow {
    /// Somebody asked for it.
    #[error("it was asked for already; use what is held, it is asked again in {wait} s")]
    Asked {
        /// For how long.
        wait: u64,
    },
    /// It failed lately.
    #[error("it failed {failures} times; see that its server answers, it is asked in {wait} s")]
    Failed {
        /// For how long.
        wait: u64,
        /// How often in a row.
        failures: u32,
    },
    /// Its host was asked much.
    #[error("its host was asked for many things; it is asked again in {wait} s")]
    Host {
        /// For how long.
        wait: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    not_before: u64,
    /// In a row.
    failures: u32,
}

/// Forgets the one whose time comes first, where another would be one too many.
fn make_room<T>(map: &mut HashMap<String, T>, key: &str, most: usize, time: impl Fn(&T) -> u64) {
    if map.contains_key(key) || map.len() < most {
        return;
    }
    let first = map.iter().min_by_key(|(_, one)| time(one));
    if let Some(key) = first.map(|(key, _)| key.clone()) {
        map.remove(&key);
    }
}

/// A number that is the same for the same thing and else looks like any (FNV-1a): nothing secret
/// hangs on it.
fn spread(what: &str, failures: u32, seed: u64) -> u64 {
    let bytes = what.bytes().chain(failures.to_be_bytes());
    let bytes = bytes.chain(seed.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of FNV are poor alone.
    hash ^ (hash >> 32)
}

/// In minutes.
const LONGEST: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://ca.example/a.crl";

    fn host(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    fn pacing() -> Pacing {
        Pacing::new(PacingSettings::default())
    }

    /// PKI-04: a list is no counter of readers.
    #[test]
    fn a_thousand_mails_cause_one_fetch_an_hour() {
        let mut pacing = pacing();
        let mut fetches = Vec::new();
        for mail in 0..1000 {
            let now = mail * 7;
            if pacing.ask(URL, &host("ca.example"), now).is_ok() {
                fetches.push(now);
                pacing.fetched(URL, now + 1);
            }
        }
        assert_eq!(fetches, [0, 3605]);
        let error = pacing.ask(URL, &host("ca.example"), 3606).unwrap_err();
        assert_eq!(error, NotNow::Asked { wait: 3600 });
    }

    #[test]
    fn one_that_does_not_end_is_not_joined() {
        let mut pacing = pacing();
        pacing.ask(URL, &host("ca.example"), 0).unwrap();
        for now in [0, 1, 3599] {
            assert!(pacing.ask(URL, &host("ca.example"), now).is_err());
        }
        assert!(pacing.ask(URL, &host("ca.example"), 3600).is_ok());
    }

    #[test]
    fn what_is_of_use_for_less_rests_for_less() {
        let mut pacing = pacing();
        for (seconds, rest) in [(0, 0), (100, 100), (9999, 3600)] {
            pacing.fetched_for(URL, seconds, 50);
            let early = pacing.ask(URL, &host("ca.example"), 50 + rest - u64::from(rest > 0));
            assert_eq!(early.is_ok(), rest == 0, "{seconds}");
            pacing.fetched_for(URL, seconds, 50);
            assert!(pacing.ask(URL, &host("ca.example"), 50 + rest).is_ok());
        }
    }

    #[test]
    fn what_is_released_may_be_asked_for_and_keeps_its_failures() {
        let mut pacing = pacing();
        pacing.release(URL);
        pacing.failed(URL, 10);
        pacing.failed(URL, 10);
        pacing.release(URL);
        pacing.ask(URL, &host("ca.example"), 10).unwrap();
        pacing.failed(URL, 10);
        let error = pacing.ask(URL, &host("ca.example"), 10).unwrap_err();
        assert!(
            matches!(error, NotNow::Failed { failures: 3, .. }),
            "{error}"
        );
    }

    #[test]
    fn failures_rest_longer_each_time() {
        let mut pacing = pacing();
        let mut now = 1_000_000;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            pacing.ask(URL, &host("ca.example"), now).unwrap();
            pacing.failed(URL, now);
            let error = pacing.ask(URL, &host("ca.example"), now).unwrap_err();
            let NotNow::Failed { wait, .. } = error else {
                panic!("{error}");
            };
            let shortest = minutes * 60;
            assert!(
                (shortest..=shortest + shortest / 4).contains(&wait),
                "{wait}"
            );
            assert!(
                pacing
                    .ask(URL, &host("ca.example"), now + wait - 1)
                    .is_err()
            );
            now += wait;
        }
        pacing.ask(URL, &host("ca.example"), now).unwrap();
        pacing.fetched(URL, now);
        now += 3600;
        pacing.ask(URL, &host("ca.example"), now).unwrap();
        pacing.failed(URL, now);
        assert!(
            pacing.ask(URL, &host("ca.example"), now + 75).is_ok(),
            "counts from one again"
        );
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut pacing = pacing();
        for _ in 0..200 {
            pacing.failed(URL, u64::MAX - 1);
        }
        assert!(pacing.ask(URL, &host("ca.example"), u64::MAX - 1).is_err());
        assert!(pacing.ask(URL, &host("ca.example"), u64::MAX).is_ok());
    }

    #[test]
    fn gateways_come_back_at_different_times() {
        let waits: std::collections::HashSet<u64> = (0..50)
            .map(|seed| {
                let settings = PacingSettings {
                    seed,
                    ..PacingSettings::default()
                };
                let mut pacing = Pacing::new(settings);
                for _ in 0..7 {
                    pacing.failed(URL, 0);
                }
                match pacing.ask(URL, &host("ca.example"), 0).unwrap_err() {
                    NotNow::Failed { wait, failures: 7 } => wait,
                    other => panic!("{other}"),
                }
            })
            .collect();
        assert!(waits.len() > 25, "{waits:?}");
    }

    #[test]
    fn a_host_has_a_bucket() {
        let mut pacing = pacing();
        let mut ask = |number: u64, name: &str, now| {
            pacing.ask(&format!("http://{name}/{number}"), &host(name), now)
        };
        for number in 0..8 {
            ask(number, "ca.example", 100).unwrap();
        }
        assert_eq!(
            ask(8, "ca.example", 100).unwrap_err(),
            NotNow::Host { wait: 10 }
        );
        assert_eq!(
            ask(8, "ca.example", 109).unwrap_err(),
            NotNow::Host { wait: 1 }
        );
        ask(0, "other.example", 100).unwrap();
        ask(8, "ca.example", 110).unwrap();
        assert!(ask(9, "ca.example", 110).is_err());
        for number in 10..18 {
            ask(number, "ca.example", 1000).unwrap();
        }
        assert!(ask(18, "ca.example", 1000).is_err());
    }

    #[test]
    fn a_refused_turn_changes_nothing() {
        let mut pacing = pacing();
        for number in 0..8 {
            let url = format!("http://ca.example/{number}");
            pacing.ask(&url, &host("ca.example"), 0).unwrap();
        }
        assert!(pacing.ask(URL, &host("ca.example"), 0).is_err());
        assert_eq!(pacing.asked.len(), 8);
        assert!(pacing.ask(URL, &host("ca.example"), 10).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pacing = Pacing::new(PacingSettings {
            entries: 10,
            ..PacingSettings::default()
        });
        for number in 0..100 {
            let name = format!("ca{number}.example");
            pacing.ask(&name, &host(&name), number).unwrap();
            assert!(pacing.asked.len() <= 10 && pacing.hosts.len() <= 10);
        }
        // The newest are those that are left.
        for number in 90..100 {
            let name = format!("ca{number}.example");
            assert!(
                pacing.ask(&name, &host("other.example"), 100).is_err(),
                "{name}"
            );
        }
    }
}
