//! How often the use of a key may fail: 20 times an hour for one network, and 200 times until its answers wait.
//!
//! A use is a failure when its mail has ended and the edge has not said that what was encrypted has opened. Until then it
//! is none: many good mails at once are no attack. So that bad ones at once are no way round the limit, a key works for
//! so many mails of one network at a time. An attacker who makes ciphertexts up, and learns from what happens to each,
//! learns it 20 times an hour, and from what was in work when the twentieth failed.
//!
//! How many are in work does not depend on what failed: a mail that is refused for failures has its place as well, and a
//! mail whose content has opened keeps its own. Else whoever is told to come later would hear how the others fared.
//!
//! And how often a key works at all: what the edge says of networks and of what opened changes nothing about that, so it
//! holds where the edge lies.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Alert, Moment, Why};
use crate::key::KeyId;

/// Where mail comes from, as far as one who sends it cannot easily be somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// 48 bits of an IPv6 address.
    V6([u8; 6]),
    /// The client has no address.
    Local,
    /// All those for whom there is no more room: they are one.
    Crowd,
}

impl Network {
    /// The network of a client.
    #[must_use]
    pub fn of(client: Option<IpAddr>) -> Self {
        match client.map(|client| client.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(client)) => {
                let [a, b, c, _] = client.octets();
                Self::V4([a, b, c])
            }
            Some(IpAddr::V6(client)) => {
                let [a, b, c, d, e, f, ..] = client.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// The failures of an hour, and the mails that are in work.
#[derive(Default)]
pub(super) struct Limits {
    networks: HashMap<(KeyId, Network), OfNetwork>,
    keys: HashMap<KeyId, Hour>,
    work: HashMap<KeyId, Work>,
    hostile: Hour,
    raised: Vec<Alert>,
}

impl Limits {
    /// Gives a mail its place among those of its network that a key works for; [`Limits::leave`] takes it back. What
    /// happens to the mail counts for the network that is returned.
    pub(super) fn enter(&mut self, key: KeyId, network: Network) -> Result<Network, Why> {
        let network = self.network(key, network);
        let of_network = self.networks.entry((key, network)).or_default();
        if of_network.in_work >= MAX_IN_WORK {
            return Err(Why::Busy);
        }
        of_network.in_work += 1;
        Ok(network)
    }

    /// Whether the key works for a mail that has its place: true where its answer waits, since the key fails so often.
    pub(super) fn admit(&mut self, now: Moment, key: KeyId, network: Network) -> Result<bool, Why> {
        let of_network = self.networks.entry((key, network)).or_default();
        let of_network = &mut of_network.hour;
        of_network.forget(now);
        if of_network.failures.len() >= PER_NETWORK {
            if of_network.may_raise(now) {
                self.raised.push(Alert::Network { key, network });
            }
            return Err(Why::TooManyFailures);
        }
        let of_key = self.keys.entry(key).or_default();
        of_key.forget(now);
        if of_key.failures.len() >= MAX_PER_KEY {
            return Err(Why::TooManyFailures);
        }
        let work = self.work.entry(key).or_default();
        work.admit(now, key, &mut self.raised)?;
        let over = of_key.failures.len() >= PER_KEY;
        if over && of_key.may_raise(now) {
            self.raised.push(Alert::Key { key });
        }
        Ok(over)
    }

    /// Counts a signature, of which none fails.
    pub(super) fn sign(&mut self, now: Moment, key: KeyId) -> Result<(), Why> {
        let work = self.work.entry(key).or_default();
        work.admit(now, key, &mut self.raised)
    }

    /// A use of a key has ended, and nothing is known to have opened.
    pub(super) fn fail(&mut self, now: Moment, key: KeyId, network: Network) {
        let of_network = self.networks.entry((key, network)).or_default();
        of_network.hour.add(now);
        let of_key = self.keys.entry(key).or_default();
        of_key.add(now);
        if of_key.failures.len() > PER_KEY && of_key.may_raise(now) {
            self.raised.push(Alert::Key { key });
        }
    }

    /// A mail has ended that had its place.
    pub(super) fn leave(&mut self, key: KeyId, network: Network) {
        if let Some(of_network) = self.networks.get_mut(&(key, network)) {
            of_network.in_work = of_network.in_work.saturating_sub(1);
        }
    }

    /// Something was asked for that nobody should ask for.
    pub(super) fn hostile(&mut self, now: Moment) {
        self.hostile.forget(now);
        if self.hostile.failures.len() >= MANY_HOSTILE {
            if self.hostile.may_raise(now) {
                self.raised.push(Alert::Hostile);
            }
            return;
        }
        self.hostile.add(now);
    }

    /// What is to be raised, once.
    pub(super) fn alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.raised)
    }

    /// Forgets what is longer ago than an hour, and networks of which nothing is left.
    pub(super) fn sweep(&mut self, now: Moment) {
        let keep = |hour: &mut Hour| {
            hour.forget(now);
            !hour.failures.is_empty() || hour.raised_lately(now)
        };
        self.networks
            .retain(|_, own| keep(&mut own.hour) || own.in_work > 0);
        self.keys.retain(|_, hour| keep(hour));
    }

    /// The network itself, while there is room for it.
    fn network(&self, key: KeyId, network: Network) -> Network {
        let known = self.networks.contains_key(&(key, network));
        match known || self.networks.len() < MAX_NETWORKS {
            true => network,
            false => Network::Crowd,
        }
    }
}

/// Refusals that are written down one by one. Whoever asks without end would push all else out of the log, of which only so
/// much waits until somebody reads it.
#[derive(Default)]
pub(super) struct Told {
    since: Moment,
    count: usize,
    untold: u64,
}

impl Told {
    /// Whether one more is written down; where not, it is counted.
    pub(super) fn one_more(&mut self, now: Moment) -> bool {
        if now.saturating_sub(self.since) >= MINUTE {
            self.since = now;
            self.count = 0;
        }
        if self.count >= MAX_TOLD {
            self.untold = self.untold.saturating_add(1);
            return false;
        }
        self.count += 1;
        true
    }

    /// How many were not written down since this was asked last.
    pub(super) fn untold(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }
}

/// One network, and one key.
#[derive(Default)]
struct OfNetwork {
    hour: Hour,
    /// Mails that the key works for, or was asked to.
    in_work: usize,
}

/// The failures of the last hour, the oldest first.
#[derive(Default)]
struct Hour {
    failures: VecDeque<Moment>,
    raised: Option<Moment>,
}

impl Hour {
    fn forget(&mut self, now: Moment) {
        while let Some(first) = self.failures.front() {
            if now.saturating_sub(*first) < HOUR {
                break;
            }
            self.failures.pop_front();
        }
    }

    fn add(&mut self, now: Moment) {
        self.forget(now);
        self.failures.push_back(now);
    }

    /// Whether it is time to raise an alert; then it is remembered.
    fn may_raise(&mut self, now: Moment) -> bool {
        may_raise(&mut self.raised, now)
    }

    fn raised_lately(&self, now: Moment) -> bool {
        raised_lately(self.raised, now)
    }
}

/// How often a key has worked in each minute of the last hour.
#[derive(Default)]
struct Work {
    minutes: VecDeque<(u64, usize)>,
    raised: Option<Moment>,
}

impl Work {
    /// Counts that it works once more, if it may.
    fn admit(&mut self, now: Moment, key: KeyId, raised: &mut Vec<Alert>) -> Result<(), Why> {
        let minute = now.as_secs() / 60;
        self.minutes
            .retain(|(begun, _)| minute.saturating_sub(*begun) <= 60);
        let done: usize = self.minutes.iter().map(|(_, times)| times).sum();
        if done >= MAX_WORK {
            if may_raise(&mut self.raised, now) {
                raised.push(Alert::Work { key });
            }
            return Err(Why::TooMuchWork);
        }
        match self.minutes.back_mut() {
            Some((begun, times)) if *begun == minute => *times += 1,
            _ => self.minutes.push_back((minute, 1)),
        }
        Ok(())
    }
}

fn may_raise(raised: &mut Option<Moment>, now: Moment) -> bool {
    let may = !raised_lately(*raised, now);
    if may {
        *raised = Some(now);
    }
    may
}

fn raised_lately(raised: Option<Moment>, now: Moment) -> bool {
    raised.is_some_and(|raised| now.saturating_sub(raised) < HOUR)
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Failures of one key from one network in an hour, until its mail is refused.
pub(super) const PER_NETWORK: usize = 20;
/// Mails of one network that a key works for at one time: as many as are judged at one time, unless `[limits] messages` says
/// more.
pub(super) const MAX_IN_WORK: usize = 64;
/// Failures of one key in an hour from which on its answers wait.
const PER_KEY: usize = 200;
/// After more failures of one key than this in an hour none of its uses begins. What is in work then may still fail.
const MAX_PER_KEY: usize = 20_000;
/// How often a key works in an hour, whatever comes of it: 27 times a second, which is more than the mail that one
/// domain gets for its one key, and less than who carries keys' work away wants.
const MAX_WORK: usize = 100_000;
/// Networks that are told apart.
const MAX_NETWORKS: usize = 65_536;
/// So many requests of nobody's in an hour are a mistake; one more is an attack.
const MANY_HOSTILE: usize = 3;
/// Refusals of workers that are written down in a minute: lines of some 300 KB.
pub(super) const MAX_TOLD: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(octet: u8) -> KeyId {
        KeyId::from_octets([octet; 16])
    }

    fn network(number: u32) -> Network {
        let [_, a, b, c] = number.to_be_bytes();
        Network::V4([a, b, c])
    }

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn networks_are_as_wide_as_one_sender() {
        let of = |text: &str| Network::of(Some(text.parse().unwrap()));
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::"));
        assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
        assert_eq!(Network::of(None), Network::Local);
    }

    /// A mail that asks once, and ends.
    fn tried(
        limits: &mut Limits,
        now: Moment,
        of: (KeyId, Network),
        opens: bool,
    ) -> Result<bool, Why> {
        let (key, network) = of;
        let network = limits.enter(key, network)?;
        let admitted = limits.admit(now, key, network);
        if admitted.is_ok() && !opens {
            limits.fail(now, key, network);
        }
        limits.leave(key, network);
        admitted
    }

    fn failed(limits: &mut Limits, now: Moment, of: (KeyId, Network)) -> Result<bool, Why> {
        tried(limits, now, of, false)
    }

    #[test]
    fn twenty_an_hour_of_one_network_fail_and_the_hour_slides() {
        let mut limits = Limits::default();
        let of = (key(1), network(1));
        for second in 0..20 {
            assert!(failed(&mut limits, at(second * 60), of).is_ok());
        }
        let refused = failed(&mut limits, at(3599), of);
        assert_eq!(refused, Err(Why::TooManyFailures));
        // Another key and another network have their own.
        assert!(failed(&mut limits, at(3599), (key(2), network(1))).is_ok());
        assert!(failed(&mut limits, at(3599), (key(1), network(2))).is_ok());
        // The first is an hour old; the second is not.
        assert!(failed(&mut limits, at(3600), of).is_ok());
        assert!(failed(&mut limits, at(3601), of).is_err());
        assert!(failed(&mut limits, at(3660), of).is_ok());
    }

    #[test]
    fn what_opened_does_not_count() {
        let mut limits = Limits::default();
        let of = (key(1), network(1));
        for _ in 0..1000 {
            assert_eq!(tried(&mut limits, at(1), of, true), Ok(false));
        }
        for _ in 0..20 {
            assert!(failed(&mut limits, at(1), of).is_ok());
        }
        assert!(failed(&mut limits, at(1), of).is_err());
        assert_eq!(limits.keys[&key(1)].failures.len(), 20);
    }

    #[test]
    fn a_key_works_for_so_many_mails_of_a_network_at_a_time() {
        let mut limits = Limits::default();
        for _ in 0..MAX_IN_WORK {
            assert_eq!(limits.enter(key(1), network(1)), Ok(network(1)));
            assert_eq!(limits.admit(at(1), key(1), network(1)), Ok(false));
        }
        assert_eq!(limits.enter(key(1), network(1)), Err(Why::Busy));
        // Another key and another network have their own places.
        assert!(limits.enter(key(2), network(1)).is_ok());
        assert!(limits.enter(key(1), network(2)).is_ok());
        limits.leave(key(1), network(1));
        assert!(limits.enter(key(1), network(1)).is_ok());
        assert_eq!(limits.enter(key(1), network(1)), Err(Why::Busy));
        // Who is busy has not failed.
        assert!(limits.alerts().is_empty());
        limits.sweep(at(10_000));
        assert_eq!(limits.enter(key(1), network(1)), Err(Why::Busy));
    }

    /// In whatever order mails begin and end, and whichever of them open.
    #[test]
    fn in_no_hour_more_begin_that_do_not_open_than_may_fail_and_be_in_work() {
        let mut limits = Limits::default();
        let of = (key(1), network(1));
        let (mut in_work, mut begun) = (VecDeque::new(), VecDeque::new());
        let mut dice: u32 = 1;
        let mut most = 0;
        for step in 0..200_000 {
            let now = at(step);
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (ends, opens) = (dice >> 30 == 0, (dice >> 20).is_multiple_of(8));
            if !ends && limits.enter(of.0, of.1).is_ok() {
                // When it began, where it works.
                let admitted = limits.admit(now, of.0, of.1).ok();
                in_work.push_back(admitted.map(|_| now));
            } else if let Some(began) = in_work.pop_front() {
                if let (Some(began), false) = (began, opens) {
                    limits.fail(now, of.0, of.1);
                    begun.push_back(began);
                }
                limits.leave(of.0, of.1);
            }
            while begun
                .front()
                .is_some_and(|began| now.saturating_sub(*began) >= HOUR)
            {
                begun.pop_front();
            }
            most = most.max(begun.len());
        }
        assert!(most > PER_NETWORK, "{most}");
        assert!(most < PER_NETWORK + MAX_IN_WORK, "{most}");
    }

    #[test]
    fn a_key_that_fails_everywhere_is_slowed_and_told_once() {
        let mut limits = Limits::default();
        for number in 0..200 {
            let late = failed(&mut limits, at(5), (key(1), network(number)));
            assert_eq!(late, Ok(false), "{number}");
        }
        assert!(limits.alerts().is_empty());
        for number in 200..300 {
            let late = failed(&mut limits, at(6), (key(1), network(number)));
            assert_eq!(late, Ok(true), "{number}");
        }
        assert_eq!(limits.alerts(), [Alert::Key { key: key(1) }]);
        // An hour later it is as before.
        let late = failed(&mut limits, at(3606), (key(1), network(1)));
        assert_eq!(late, Ok(false));
    }

    /// All of them began before the first failed.
    #[test]
    fn a_key_that_fails_everywhere_at_one_moment_is_told_too() {
        let mut limits = Limits::default();
        for number in 0..300 {
            assert!(limits.enter(key(1), network(number)).is_ok());
            let late = limits.admit(at(5), key(1), network(number));
            assert_eq!(late, Ok(false), "{number}");
        }
        for number in 0..300 {
            limits.fail(at(6), key(1), network(number));
            limits.leave(key(1), network(number));
        }
        assert_eq!(limits.alerts(), [Alert::Key { key: key(1) }]);
    }

    #[test]
    fn one_network_that_tries_on_is_told_once() {
        let mut limits = Limits::default();
        for _ in 0..10_000 {
            let _ = failed(&mut limits, at(5), (key(1), network(1)));
        }
        let alert = Alert::Network {
            key: key(1),
            network: network(1),
        };
        assert_eq!(limits.alerts(), [alert]);
        assert_eq!(limits.keys[&key(1)].failures.len(), 20);
    }

    /// KEY-03: an edge that has been taken over says that all opens, and has each mail come from elsewhere.
    #[test]
    fn what_the_edge_says_does_not_make_a_key_work_without_end() {
        let mut limits = Limits::default();
        let mut times = 0;
        for number in 0..u32::try_from(MAX_WORK).unwrap() {
            // Within an hour, half of it signatures.
            let now = at(u64::from(number / 50));
            if number & 1 == 0 {
                times += usize::from(limits.sign(now, key(1)).is_ok());
            } else {
                times +=
                    usize::from(tried(&mut limits, now, (key(1), network(number)), true).is_ok());
            }
        }
        assert_eq!(times, MAX_WORK);
        assert!(limits.alerts().is_empty());
        for number in 0..100 {
            let admitted = tried(&mut limits, at(3599), (key(1), network(number)), true);
            assert_eq!(admitted, Err(Why::TooMuchWork));
            assert_eq!(limits.sign(at(3599), key(1)), Err(Why::TooMuchWork));
        }
        assert_eq!(limits.alerts(), [Alert::Work { key: key(1) }]);
        // Others' keys work on, and this one when it has rested.
        assert!(tried(&mut limits, at(3599), (key(2), network(1)), true).is_ok());
        assert!(tried(&mut limits, at(3720), (key(1), network(1)), true).is_ok());
        assert!(limits.work[&key(1)].minutes.len() <= 61);
    }

    #[test]
    fn memory_is_bounded_and_the_rest_is_a_crowd() {
        let mut limits = Limits::default();
        let many = u32::try_from(MAX_NETWORKS).unwrap();
        for number in 0..many {
            let of = u8::try_from(number % 8).unwrap();
            let done = tried(&mut limits, at(5), (key(of), network(number)), true);
            assert!(done.is_ok());
        }
        let crowd = (many..many + 100)
            .filter(|number| failed(&mut limits, at(5), (key(1), network(*number))).is_ok());
        assert_eq!(crowd.count(), PER_NETWORK);
        let entered = limits.enter(key(1), network(many + 1));
        assert_eq!(entered, Ok(Network::Crowd));
        limits.sweep(at(3700));
        assert_eq!(limits.networks.len(), 1, "the crowd");
        limits.leave(key(1), Network::Crowd);
        limits.sweep(at(3700));
        assert_eq!(limits.networks.len(), 0);
    }
}
