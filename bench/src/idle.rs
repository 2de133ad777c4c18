//! `idle`: what 10,000 sessions that say nothing cost: memory each, and the latency of live traffic with
//! and without them. The idle clients are a process of their own: a process has 20,000 descriptors at
//! most on many machines.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use kenin_tests::world::wait_for;
use serde_json::{Value, json};

use crate::direct::bar;
use crate::kenin::{Kenin, introduce};
use crate::load::{Open, Rounds, Trouble, closed, paced};
use crate::measure::Samples;
use crate::milter::client::{Client, Parts};
use crate::process::mebibytes;
use crate::smtp::{self, Sink, opener};
use crate::{mails, milter};

/// Interleaved rounds: odd, so that the median is a measured value.
const ROUNDS: usize = 5;
const IDLE: usize = 10_000;
const LIMITS: &str = "connections = 12000";
/// Live traffic.
const SESSIONS: usize = 4;
const MAILS: usize = 2000;

/// Runs the measurement, prints the table and returns what `results/` keeps.
pub(crate) fn idle() -> Result<Value, Trouble> {
    introduce();
    let mail = mails::signed(10_000);
    let sink = Sink::start("smime=pass")?;
    let relay = Kenin::relay(sink.address, LIMITS)?;
    let wire = smtp::wire(&mail);
    let address = relay.address();
    let smtp = measure("SMTP", &relay, &*opener(address, &wire), &|| {
        Idle::start(SMTP, address)
    })?;
    sink.wait(0)?;

    let kenin = Kenin::milter(LIMITS)?;
    let (parts, place) = (Arc::new(Parts::of(&mail)?), kenin.tcp());
    let milter = measure(
        "milter",
        &kenin,
        &move || {
            let client = Client::open(&place, Arc::clone(&parts), |said| {
                said.has("Authentication-Results:", "smime=pass")
            })?;
            Ok(Box::new(client))
        },
        &|| Idle::start(MILTER, kenin.address()),
    )?;
    Ok(json!({ "bench": "idle", "sessions": IDLE, "smtp": smtp, "milter": milter }))
}

fn measure(
    name: &str,
    kenin: &Kenin,
    open: &Open<'_>,
    idle: &dyn Fn() -> Result<Idle, Trouble>,
) -> Result<Value, Trouble> {
    let tree = kenin.tree();
    closed(open, SESSIONS, MAILS)?;
    let peak = closed(open, SESSIONS, MAILS)?.rate();
    let (mut without, mut with) = (
        [Rounds::new(), Rounds::new()],
        [Rounds::new(), Rounds::new()],
    );
    let (mut anonymous, mut resident) = (Samples::new(), Samples::new());
    // Before the first idle session: an allocator keeps what it once had for the next ones.
    let before = tree.memory();
    for _ in 0..ROUNDS {
        wait_for("the idle sessions are gone", || {
            tree.descriptors() < IDLE / 10
        });
        traffic(open, peak, &mut without)?;
        let held = idle()?;
        let after = tree.memory();
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / IDLE as f64;
        anonymous.push(each(after.anonymous, before.anonymous));
        resident.push(each(after.resident, before.resident));
        traffic(open, peak, &mut with)?;
        drop(held);
    }
    println!(
        "\n{name}: {IDLE} idle sessions (greeted), live traffic of {SESSIONS} sessions, mails of 10 KB, {ROUNDS} \
         interleaved rounds (medians)\n\
         memory a session: {:.1} KiB anonymous ±{:.0}%, {:.1} KiB resident; Kenin {} before, {} after all are gone",
        anonymous.median() / 1024.0,
        anonymous.spread() * 100.0,
        resident.median() / 1024.0,
        mebibytes(before.anonymous),
        mebibytes(tree.memory().anonymous)
    );
    println!(
        "{:<26}{:>20}{:>20}{:>10}",
        "p50 / p99 ms", "without", "with", "p99 ×"
    );
    let mut rows = Vec::new();
    let mut bars = vec![bar(
        &format!("{name}: memory an idle session"),
        anonymous.median() / 1024.0,
        "KiB",
        32.0,
        true,
    )];
    for ((load, without), with) in LOADS.iter().zip(&without).zip(&with) {
        let times = with.p99.median() / without.p99.median();
        println!(
            "{load:<26}{:>20}{:>20}{times:>9.2}×",
            without.cell(),
            with.cell()
        );
        rows.push(json!({ "load": load, "without": without.json(), "with": with.json(), "p99_times": times }));
        bars.push(bar(
            &format!("{name}: p99 with idle sessions, {load}"),
            times,
            "×",
            2.0,
            true,
        ));
    }
    Ok(json!({
        "memory": { "anonymous": anonymous.json_in("bytes"), "resident": resident.json_in("bytes") },
        "latency": rows, "bars": bars,
    }))
}

fn traffic(open: &Open<'_>, peak: f64, rounds: &mut [Rounds; 2]) -> Result<(), Trouble> {
    let [closed_loop, half] = rounds;
    closed_loop.push(&closed(open, SESSIONS, MAILS)?);
    half.push(&paced(open, SESSIONS * 4, MAILS, peak / 2.0)?);
    Ok(())
}

/// A process that holds sessions until it is dropped.
struct Idle(Child);

impl Idle {
    fn start(kind: &str, address: SocketAddr) -> Result<Self, Trouble> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hold", kind, &address.to_string(), &IDLE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take();
        let idle = Self(child);
        let mut line = String::new();
        BufReader::new(out.ok_or("no output")?).read_line(&mut line)?;
        if line.trim() == HELD {
            return Ok(idle);
        }
        Err(format!("the idle sessions could not be opened: {line}").into())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It ends with its input, and its connections with it.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The process that holds: opens sessions, says so, waits for the end of its input.
pub(crate) fn hold(kind: &str, address: &str, count: &str) -> Result<(), Box<dyn Error>> {
    let (address, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        if kind == MILTER {
            milter::client::introduce(&mut stream)?;
        } else {
            answer(&mut stream)?;
            stream.write_all(b"EHLO client.example\r\n")?;
            answer(&mut stream)?;
        }
        held.push(stream);
    }
    println!("{HELD}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reads until the last line of an answer.
fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut text = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let last = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
        if text.ends_with(b"\n") && last.and_then(|line| line.get(3)) == Some(&b' ') {
            return Ok(());
        }
    }
}

const SMTP: &str = "smtp";
const MILTER: &str = "milter";
const HELD: &str = "held";
/// Loads of the live traffic.
const LOADS: [&str; 2] = ["closed loop", "50 % of the peak"];
