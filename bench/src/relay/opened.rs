//! `relay opened`: mail that is encrypted for somebody whose key Kenin has is opened, what is inside is verified and
//! stamped, and it goes on so, or encrypted again for another certificate of the same person. CPU time a mail, with
//! workers and without; then large mail, many at once.

mod large;
pub(crate) mod least;
mod people;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::direct;
use crate::kenin::{Kenin, introduce};
use crate::load::{Rounds, Run, Session, Trouble, closed};
use crate::measure::Samples;
use crate::smtp::{Client, Sink, answered};
use people::{Kind, People};

/// Runs the measurement, prints the tables and returns what `results/` keeps.
pub(crate) fn measure() -> Result<Value, Trouble> {
    introduce();
    let people = People::new()?;
    println!(
        "mails of {} bytes, each another one, clear-signed by S/MIME (RSA-2048, an intermediate, two revocation lists), \
         encrypted for a key of RSA-2048 (PKCS #1 v1.5) with AES-256: then {} bytes\n\
         every mail is counted where it arrives, and must be stamped smime=pass there; what is encrypted again is opened \
         with its reader's own key",
        people.mail(VERIFY, 0).len(),
        people.mail(BAR[0], 0).len()
    );
    for mode in MODES {
        tells_apart(&people, mode)?;
    }
    let mut houses = Vec::new();
    for mode in MODES {
        houses.push(House::open(&people, mode)?);
    }
    let mut number = 0;
    // The first round fills caches and pools, and does not count.
    for round in 0..=ROUNDS {
        for (place, kind) in KINDS.iter().enumerate() {
            let letters = Arc::new(Letters::written(&people, *kind, number));
            number += MAILS as u64;
            for house in &mut houses {
                let (cpu, run) = house.send(&people, *kind, &letters)?;
                if let (Some(lane), true) = (house.lanes.get_mut(place), round > 0) {
                    lane.cpu.push(cpu);
                    lane.rounds.push(&run);
                }
            }
        }
    }
    let lanes = shown(&houses);
    let bars = BAR.map(|kind| {
        let what = format!(
            "relay verify + decrypt + re-encrypt, {}, CPU a message",
            kind.cipher()
        );
        direct::bar(&what, usual(&houses, kind), "ms", AT_MOST, true)
    });
    let in_clear = lane(&houses, VERIFY, "threads").ok_or("nothing was measured by threads")?;
    let least = least::measure(&people.mail(VERIFY, 0), in_clear, AT_MOST)?;
    drop(houses);
    println!();
    let large = large::measure(&people)?;
    Ok(json!({
        "bench": "relay opened", "bytes": people.mail(VERIFY, 0).len(),
        "bytes_encrypted": people.mail(BAR[0], 0).len(),
        "sessions": SESSIONS, "mails": MAILS, "rounds": ROUNDS, "lanes": lanes, "bars": bars, "least": least, "large": large,
    }))
}

/// The last part of it alone.
pub(crate) fn measure_large() -> Result<Value, Trouble> {
    introduce();
    let large = large::measure(&People::new()?)?;
    Ok(json!({ "bench": "relay opened large", "large": large }))
}

/// Nobody's time counts before what cannot be opened is told from what can.
fn tells_apart(people: &People, mode: Mode) -> Result<(), Trouble> {
    let sink = Sink::keeping("", WHOLE)?;
    let kenin = people.move_in(sink.address, mode.tables)?;
    let mut client = Client::open(kenin.address())?;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let number = number as u64;
        let wire = kenin_tests::client::stuffed(&people.mail(kind, number));
        answered(client.send(&kind.envelope(), &[&wire])?, "250")?;
        let [good]: [Vec<u8>; 1] = sink.taken().try_into().map_err(|_| "no mail, or many")?;
        people.check(kind, &good)?;
        let Some(closed) = people.closed_mail(kind, number) else {
            continue;
        };
        let wire = kenin_tests::client::stuffed(&closed);
        answered(client.send(&kind.envelope(), &[&wire])?, "250")?;
        let [bad]: [Vec<u8>; 1] = sink.taken().try_into().map_err(|_| "no mail, or many")?;
        if !bad.ends_with(&wire) || people.check(kind, &bad).is_ok() {
            let what = "what cannot be opened does not arrive as it came";
            return Err(format!("{}, {}: {what}", mode.name, kind.name).into());
        }
    }
    Ok(())
}

/// A Kenin that has the keys, and what was measured of it.
struct House {
    name: &'static str,
    kenin: Kenin,
    sink: Sink,
    /// One for each kind of mail.
    lanes: Vec<Lane>,
}

struct Lane {
    cpu: Samples,
    rounds: Rounds,
}

impl House {
    fn open(people: &People, mode: Mode) -> Result<Self, Trouble> {
        let sink = Sink::keeping("smime=pass", WHOLE)?;
        let kenin = people.move_in(sink.address, mode.tables)?;
        let lane = |_| Lane {
            cpu: Samples::new(),
            rounds: Rounds::new(),
        };
        Ok(Self {
            name: mode.name,
            kenin,
            sink,
            lanes: KINDS.iter().map(lane).collect(),
        })
    }

    /// Sends all of them, and looks at what arrived. The CPU seconds of one.
    fn send(
        &self,
        people: &People,
        kind: Kind,
        letters: &Arc<Letters>,
    ) -> Result<(f64, Run), Trouble> {
        let goal = self.sink.count() + letters.wires.len();
        let (address, tree) = (self.kenin.address(), self.kenin.tree());
        letters.next.store(0, Ordering::SeqCst);
        let before = tree.cpu();
        let open = || Sender::open(address, letters);
        let run = closed(&open, SESSIONS, letters.wires.len());
        let run = run.and_then(|run| self.sink.wait(goal).map(|()| run));
        let used = tree.cpu().saturating_sub(before).as_secs_f64();
        let named = |error: Trouble| format!("{}, {}: {error}", self.name, kind.name);
        let run = run.map_err(named)?;
        let arrived = self.sink.taken();
        if self.sink.count() != goal || arrived.len() != letters.wires.len() {
            return Err(named("a mail arrives twice".into()).into());
        }
        for mail in arrived.iter().step_by(SAMPLE) {
            people.check(kind, mail).map_err(named)?;
        }
        Ok((used / letters.wires.len() as f64, run))
    }
}

/// Mails as they go on the wire, each of which is sent once.
struct Letters {
    envelope: Vec<u8>,
    wires: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Letters {
    fn written(people: &People, kind: Kind, first: u64) -> Self {
        let numbers = (first..).take(MAILS);
        let mails = numbers.map(|number| people.mail(kind, number));
        Self {
            envelope: kind.envelope(),
            wires: mails
                .map(|mail| kenin_tests::client::stuffed(&mail))
                .collect(),
            next: AtomicUsize::new(0),
        }
    }
}

/// A session that sends the next of them.
struct Sender {
    client: Client,
    letters: Arc<Letters>,
}

impl Sender {
    fn open(address: SocketAddr, letters: &Arc<Letters>) -> Result<Box<dyn Session>, Trouble> {
        Ok(Box::new(Self {
            client: Client::open(address)?,
            letters: Arc::clone(letters),
        }))
    }
}

impl Session for Sender {
    fn mail(&mut self) -> Result<(), Trouble> {
        let letters = &self.letters;
        let number = letters.next.fetch_add(1, Ordering::Relaxed);
        let wire = letters.wires.get(number).ok_or("there are no more mails")?;
        // As an MTA says it of each mail (XFORWARD). A key works for so many mails of one network at a time, and may fail
        // for it so often.
        let network = number % NETWORKS;
        let mut envelope = format!("XFORWARD ADDR=10.0.{network}.1\r\n").into_bytes();
        envelope.extend_from_slice(&letters.envelope);
        answered(self.client.send(&envelope, &[wire])?, "250")
    }
}

/// Prints the table; what is kept of it.
fn shown(houses: &[House]) -> Vec<Value> {
    println!(
        "\nclosed loop of {SESSIONS} sessions, {MAILS} mails a round; {ROUNDS} interleaved rounds (medians)\n\
         \"workers\" is the default; \"kept\" has [workers] keep_opening = \"10s\", \"threads\" isolate = false. The answer to mail that is encrypted \
         waits for the next multiple of 50 ms.\n\
         {:<36}{:<10}{:>16}{:>9}{:>18}",
        "mail", "parsed by", "CPU ms a mail", "mails/s", "p50/p99 ms"
    );
    let mut rows = Vec::new();
    for (place, kind) in KINDS.iter().enumerate() {
        for house in houses {
            let Some(lane) = house.lanes.get(place) else {
                continue;
            };
            println!(
                "{:<36}{:<10}{:>16}{:>9.0}{:>18}",
                kind.name,
                house.name,
                lane.cpu.cell(1e3),
                lane.rounds.rate.median(),
                lane.rounds.cell()
            );
            rows.push(json!({
                "mail": kind.name, "parsed_by": house.name,
                "cpu": lane.cpu.json(), "closed": lane.rounds.json(),
            }));
        }
    }
    rows
}

/// Milliseconds that a mail of this kind takes as Kenin is set up without a word.
fn usual(houses: &[House], kind: Kind) -> f64 {
    lane(houses, kind, MODES[0].name).map_or(f64::NAN, |seconds| seconds * 1e3)
}

/// CPU seconds that a mail of this kind takes in this mode.
fn lane(houses: &[House], kind: Kind, mode: &str) -> Option<f64> {
    let place = KINDS.iter().position(|one| one.name == kind.name)?;
    let house = houses.iter().find(|house| house.name == mode)?;
    house.lanes.get(place).map(|lane| lane.cpu.median())
}

/// How mail is parsed.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    tables: &'static str,
}

/// The usual one first.
const MODES: [Mode; 3] = [
    Mode {
        name: "workers",
        tables: "",
    },
    Mode {
        name: "kept",
        tables: "[workers]\nkeep_opening = \"10s\"\n",
    },
    Mode {
        name: "threads",
        tables: "[workers]\nisolate = false\n",
    },
];

/// What opening is compared with: the same mail in clear.
const VERIFY: Kind = Kind::in_clear("verify");
/// What the bar is about.
const BAR: [Kind; 2] = [
    Kind::cbc("verify + decrypt + re-encrypt, CBC", true),
    Kind::gcm("verify + decrypt + re-encrypt, GCM", true),
];
const KINDS: [Kind; 5] = [
    VERIFY,
    Kind::cbc("verify + decrypt, CBC", false),
    Kind::gcm("verify + decrypt, GCM", false),
    BAR[0],
    BAR[1],
];
/// Milliseconds.
const AT_MOST: f64 = 0.9;
/// Interleaved rounds: odd, so that the median is a measured value.
const ROUNDS: usize = 5;
/// Enough that two cores have work while answers wait.
const SESSIONS: usize = 32;
/// From where they come: more than there are sessions.
const NETWORKS: usize = 250;
/// In a round, of each kind.
const MAILS: usize = 1000;
/// One of so many that arrived is looked into, beside its stamp.
const SAMPLE: usize = 50;
/// More than any of these mails has.
const WHOLE: usize = 256 << 10;
