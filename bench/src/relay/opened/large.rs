//! Large mail, many at once, for somebody whose key is there: more than `[decrypt] memory` lets be open at one moment.
//! Whoever is told to try again later (451) does so. How much memory Kenin takes that no file backs, and whether each
//! mail arrives, opened, once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::people::{Kind, People, header, number_of};
use crate::direct::bar;
use crate::load::Trouble;
use crate::process::mebibytes;
use crate::smtp::{Client, Sink, answered};

/// A fresh Kenin for each load; its memory is looked at every 10 ms.
pub(super) fn measure(people: &People) -> Result<Value, Trouble> {
    let mut rows = Vec::new();
    for kind in LOADS {
        rows.push(load(people, kind).map_err(|error| format!("{}: {error}", kind.name))?);
    }
    Ok(Value::Array(rows))
}

fn load(people: &People, kind: Kind) -> Result<Value, Trouble> {
    let rest = kenin_tests::client::stuffed(&people.large(kind, SIZE));
    let sink = Sink::keeping("smime=pass", BEGINNING)?;
    let kenin = people.move_in(sink.address, TABLES)?;
    let at_rest = kenin.tree().memory();
    let before = kenin.tree().cpu();
    let watch = kenin.tree().watch();
    let begin = Instant::now();
    let put_off = AtomicUsize::new(0);
    let sent = send_all(kenin.address(), &kind.envelope(), &rest, &put_off);
    let took = begin.elapsed().as_secs_f64();
    let peak = watch.peak();
    sent?;
    let cpu = kenin.tree().cpu().saturating_sub(before).as_secs_f64() / MAILS as f64;
    // Whatever it still had in hand has gone on when it has ended.
    drop(kenin);
    sink.wait(MAILS)?;
    let arrived = sink.taken();
    let numbers: BTreeSet<u64> = arrived.iter().filter_map(|mail| number_of(mail)).collect();
    if sink.count() != MAILS || !numbers.iter().copied().eq(0..MAILS as u64) {
        return Err(format!(
            "{} mails arrived, {} different ones of {MAILS}",
            sink.count(),
            numbers.len()
        )
        .into());
    }
    let put_off = put_off.into_inner();
    let bytes = header(0).len() + rest.len();
    println!(
        "{}: {MAILS} mails of {:.1} MB at once in {took:.0} s, all arrived opened, each once; told to try again: {put_off}\n\
         at rest {}, peak {} (resident with mapped files {}), {:.0} ms CPU a mail",
        kind.name,
        bytes as f64 / 1e6,
        mebibytes(at_rest.anonymous),
        mebibytes(peak.anonymous),
        mebibytes(peak.resident),
        cpu * 1e3
    );
    let what = format!("50 concurrent 50 MB mails, {}, memory", kind.name);
    let limit = MEMORY as f64 / 1e6 + 100.0;
    Ok(json!({
        "mail": kind.name, "bytes": bytes, "mails": MAILS, "decrypt_memory": MEMORY,
        "arrived": arrived.len(), "accepted": MAILS, "told_to_try_again": put_off, "seconds": took,
        "at_rest": at_rest.json(), "peak": peak.json(), "cpu_seconds": cpu,
        "bar": bar(&what, peak.anonymous as f64 / 1e6, "MB", limit, true),
    }))
}

/// All of them at once, each over a session of its own. `put_off` counts the answers that say to try again.
fn send_all(
    address: SocketAddr,
    envelope: &[u8],
    rest: &[u8],
    put_off: &AtomicUsize,
) -> Result<(), Trouble> {
    thread::scope(|scope| -> Result<(), Trouble> {
        let numbers = 0..MAILS as u64;
        let clients = numbers
            .map(|number| scope.spawn(move || send(address, envelope, number, rest, put_off)));
        // All of them are there before the first is waited for.
        let clients: Vec<_> = clients.collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}

/// Sends one until it is taken.
fn send(
    address: SocketAddr,
    envelope: &[u8],
    number: u64,
    rest: &[u8],
    put_off: &AtomicUsize,
) -> Result<(), Trouble> {
    let end = Instant::now() + PATIENCE;
    let header = header(number);
    loop {
        // Nobody keeps a session for a mail that is to come again later.
        let mut client = Client::open(address)?;
        let line = client.send(envelope, &[&header, rest])?;
        if !line.starts_with("451") {
            return answered(line, "250");
        }
        if Instant::now() > end {
            return Err(format!("{line:?} after {PATIENCE:?}").into());
        }
        put_off.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

const LOADS: [Kind; 2] = [
    Kind::cbc("verify + decrypt", false),
    Kind::cbc("verify + decrypt + re-encrypt", true),
];
const MAILS: usize = 50;
/// What is signed. Encrypted it has just less than 50 MB (the default `message_size` is 50 MiB), and six times its
/// content is less than MEMORY.
const SIZE: usize = 35_000_000;
/// The default, said.
const MEMORY: u64 = 256 << 20;
const TABLES: &str = "[decrypt]\nmemory = \"256M\"\n";
/// Its stamp and its header stand in it.
const BEGINNING: usize = 16 << 10;
/// Until who was put off tries again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take to get rid of a mail.
const PATIENCE: Duration = Duration::from_secs(1200);
