//! `soak`: mails go through Kenin by every road while Kenin and the sink are killed at random moments;
//! in the end every mail is accounted for, for each of its recipients. Then every link is broken after each byte of a
//! dialogue. The tests run the same plans with fewer mails.

use std::error::Error;
use std::time::{Duration, Instant};

use kenin_tests::faults::{Branch, Cuts, Link, Sweep, cut_divided, sweep};
use kenin_tests::ledger::{Account, Invariant, Plan, Road, run_plan};
use kenin_tests::proxy::{Fault, Way};
use serde_json::{Value, json};

/// One kill for so many mails.
const MAILS_A_KILL: usize = 40;
/// One death of the sink for so many kills.
const KILLS_A_SINK_KILL: usize = 4;
/// Without another: the same seed, the same kills.
const SEED: u64 = 0x6b65_6e69_6e21;

/// How much is done.
pub(crate) struct Extent {
    mails: usize,
    kills: usize,
    seed: u64,
}

impl Extent {
    /// Mails, kills and seed, as far as they are told.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut numbers = words.iter().map(|word| word.parse::<u64>().ok());
        let mails = usize::try_from(numbers.next().unwrap_or(Some(2000))?).ok()?;
        let kills = match numbers.next() {
            Some(kills) => usize::try_from(kills?).ok()?,
            None => mails / MAILS_A_KILL,
        };
        let seed = numbers.next().unwrap_or(Some(SEED))?;
        let sound = numbers.next().is_none() && mails >= 100 && kills <= mails / 2;
        sound.then_some(Self { mails, kills, seed })
    }
}

/// Runs the plans and prints the accounts; one that does not balance is an error.
pub(crate) fn soak(extent: &Extent) -> Result<Value, Box<dyn Error>> {
    println!(
        "{} mails, {} kills (SIGKILL at random moments), seed {}",
        extent.mails, extent.kills, extent.seed
    );
    let begin = Instant::now();
    let mut roads = Vec::new();
    let mut all = Totals::default();
    let secrets = [Road::Smtp, Road::Lmtp].map(|road| (road, true));
    let plain = Road::ALL.map(|road| (road, false));
    for (road, secrets) in plain.into_iter().chain(secrets) {
        let kills = share(road, secrets, extent.kills);
        let name = match secrets {
            true => format!("{}-secrets", road.name()),
            false => road.name().to_owned(),
        };
        let plan = Plan {
            road,
            mails: share(road, secrets, extent.mails),
            secrets,
            kills,
            sink_kills: kills / KILLS_A_SINK_KILL,
            seed: extent.seed,
            deadline: Duration::from_secs(3000),
        };
        let started = Instant::now();
        let account = run_plan(&plan);
        let seconds = started.elapsed().as_secs_f64();
        println!("{name:21} {account}; {seconds:.0} s");
        if !account.balanced() {
            return Err(format!("the account does not balance: {account:#?}").into());
        }
        all.add(&account);
        roads.push(row(&name, &account, seconds));
    }
    println!(
        "{:21} accepted {}, sender notified {}, lost 0, duplicates {}, in doubt {}, kills {} (and {} of the sink)",
        "all", all.accepted, all.notified, all.duplicates, all.in_doubt, all.kills, all.sink_kills
    );
    let sweeps = sweeps()?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{seconds:.0} s");
    Ok(json!({
        "bench": "soak", "mails": extent.mails, "seed": extent.seed, "seconds": seconds.round(),
        "sent": all.sent, "deliveries": all.deliveries, "accepted": all.accepted,
        "arrived": all.arrived, "notified": all.notified, "lost": 0,
        "duplicates": all.duplicates, "in_doubt": all.in_doubt,
        "kills": all.kills, "sink_kills": all.sink_kills, "roads": roads, "sweeps": sweeps,
    }))
}

/// Breaks every link after each byte, by FIN and by RST.
fn sweeps() -> Result<Vec<Value>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for link in [
        Link::Client,
        Link::LmtpClient,
        Link::NextHop,
        Link::LmtpNextHop,
        Link::Milter,
    ] {
        for way in [Way::ToServer, Way::ToClient] {
            for fault in [Fault::Cut, Fault::Reset] {
                for divided in [false, true] {
                    if divided && !matches!(link, Link::Client | Link::LmtpClient) {
                        continue;
                    }
                    let plan = Sweep {
                        link,
                        way,
                        fault,
                        divided,
                    };
                    let to = if divided { " divided" } else { "" };
                    let name = format!("{link:?}{to} {way:?} {fault:?}");
                    rows.push(swept(&name, &sweep(&plan))?);
                }
            }
        }
    }
    for (link, branch) in [
        (Link::NextHop, Branch::First),
        (Link::NextHop, Branch::Second),
        (Link::LmtpNextHop, Branch::First),
    ] {
        for way in [Way::ToServer, Way::ToClient] {
            for fault in [Fault::Cut, Fault::Reset] {
                let cuts = Cuts {
                    link,
                    branch,
                    way,
                    fault,
                    step: 1,
                };
                let name = format!("{link:?} {branch:?} copy {way:?} {fault:?}");
                rows.push(swept(&name, &cut_divided(&cuts))?);
            }
        }
    }
    Ok(rows)
}

/// Prints what became of a sweep; one that does not balance is an error.
fn swept(
    name: &str,
    (account, fired, places): &(Account, usize, usize),
) -> Result<Value, Box<dyn Error>> {
    println!("{name:37} {fired} of {places} places; {account}");
    if !account.balanced() || fired != places {
        return Err(format!("{name}: {account:#?}").into());
    }
    Ok(json!({
        "link": name, "places": fired, "accepted": account.accepted,
        "arrived": account.arrived, "notified": account.notified, "in_doubt": account.in_doubt,
        "violations": account.violations.len(), "replies": account.replies,
    }))
}

/// Most go where a mail costs least: our own client needs no queue between two tries.
fn share(road: Road, secrets: bool, whole: usize) -> usize {
    let percent = match road {
        Road::Smtp if !secrets => 44,
        Road::Lmtp if !secrets => 20,
        _ => 6,
    };
    (whole * percent).div_ceil(100)
}

fn row(road: &str, account: &Account, seconds: f64) -> Value {
    json!({
        "road": road, "sent": account.sent, "deliveries": account.deliveries,
        "accepted": account.accepted, "notified": account.notified,
        "arrived": account.arrived, "lost": account.broken(Invariant::I1NothingIsLost),
        "held": account.held, "opened": account.opened, "encrypted": account.encrypted,
        "duplicates": account.duplicates, "in_doubt": account.in_doubt,
        "attempts": account.attempts, "kills": account.kills, "sink_kills": account.sink_kills,
        "violations": account.violations.len(), "replies": account.replies,
        "seconds": seconds.round(),
    })
}

#[derive(Default)]
struct Totals {
    sent: usize,
    deliveries: usize,
    accepted: usize,
    arrived: usize,
    notified: usize,
    duplicates: usize,
    in_doubt: usize,
    kills: usize,
    sink_kills: usize,
}

impl Totals {
    fn add(&mut self, account: &Account) {
        self.sent += account.sent;
        self.deliveries += account.deliveries;
        self.notified += account.notified;
        self.accepted += account.accepted;
        self.arrived += account.arrived;
        self.duplicates += account.duplicates;
        self.in_doubt += account.in_doubt;
        self.kills += account.kills;
        self.sink_kills += account.sink_kills;
    }
}
