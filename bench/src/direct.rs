//! One contestant after the other, without an MTA: CPU time a mail and latency in a closed loop, then
//! latency at half, four fifths and nineteen twentieths of each one's own peak.

use serde_json::{Value, json};

use crate::load::{Open, Rounds, Run, Trouble, closed, paced};
use crate::measure::Samples;
use crate::process::{Memory, Tree, mebibytes};

/// Interleaved rounds: odd, so that the median is a measured value.
const ROUNDS: usize = 5;
/// Sessions of the closed loop.
const SESSIONS: usize = 8;
/// Sessions that a fixed rate may keep busy.
const SESSIONS_PACED: usize = 32;
/// Seconds that one load takes, about.
const SLICE: f64 = 1.0;
const SHARES: [f64; 3] = [0.50, 0.80, 0.95];

/// Somebody who is sent mail.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    tree: Tree,
    open: Box<Open<'static>>,
    /// Waits until the last load has come to rest and looks at what arrived.
    settle: Box<dyn Fn() -> Result<(), Trouble>>,
    pub(crate) cpu: Samples,
    closed: Rounds,
    paced: [Rounds; 3],
    memory: Memory,
}

impl Lane {
    pub(crate) fn new(name: &'static str, tree: Tree, open: Box<Open<'static>>) -> Self {
        Self {
            name,
            tree,
            open,
            settle: Box::new(|| Ok(())),
            cpu: Samples::new(),
            closed: Rounds::new(),
            paced: [Rounds::new(), Rounds::new(), Rounds::new()],
            memory: Memory::default(),
        }
    }

    /// What else has to hold after each load.
    pub(crate) fn settled_by(mut self, settle: impl Fn() -> Result<(), Trouble> + 'static) -> Self {
        self.settle = Box::new(settle);
        self
    }

    fn named(&self, run: Result<Run, Trouble>) -> Result<Run, Trouble> {
        let run = run.and_then(|run| (self.settle)().map(|()| run));
        run.map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn mails(&self, share: f64) -> usize {
        let mails = (self.closed.rate.median() * share * SLICE) as usize;
        mails.max(100)
    }

    fn closed(&mut self, mails: usize) -> Result<(), Trouble> {
        let before = self.tree.cpu();
        let run = self.named(closed(&*self.open, SESSIONS, mails))?;
        let used = self.tree.cpu().saturating_sub(before);
        self.cpu.push(used.as_secs_f64() / mails as f64);
        self.closed.push(&run);
        self.memory = self.tree.memory();
        Ok(())
    }

    fn paced(&mut self) -> Result<(), Trouble> {
        let peak = self.closed.rate.median();
        for (place, share) in SHARES.iter().enumerate() {
            let (mails, rate) = (self.mails(*share), peak * share);
            let run = self.named(paced(&*self.open, SESSIONS_PACED, mails, rate))?;
            if let Some(rounds) = self.paced.get_mut(place) {
                rounds.push(&run);
            }
        }
        Ok(())
    }
}

/// Measures all lanes and prints their table.
pub(crate) fn measure(lanes: &mut [Lane]) -> Result<Value, Trouble> {
    let mut mails = Vec::new();
    for lane in lanes.iter() {
        // Caches fill, pools grow, and the slice finds its length.
        lane.named(closed(&*lane.open, SESSIONS, 200))?;
        let run = lane.named(closed(&*lane.open, SESSIONS, 500))?;
        mails.push(((run.rate() * SLICE) as usize).max(500));
    }
    for _ in 0..ROUNDS {
        for (lane, mails) in lanes.iter_mut().zip(&mails) {
            lane.closed(*mails)?;
        }
    }
    for _ in 0..ROUNDS {
        for lane in lanes.iter_mut() {
            lane.paced()?;
        }
    }
    println!(
        "\nalone, closed loop of {SESSIONS} sessions, then fixed rates; {ROUNDS} interleaved rounds (medians)\n\
         {:<18}{:>16}{:>9}{:>16}{:>16}{:>16}{:>16}{:>12}{:>12}",
        "filter",
        "CPU ms a mail",
        "peak/s",
        "p50/p99 ms",
        "at 50 %",
        "at 80 %",
        "at 95 %",
        "resident",
        "anonymous"
    );
    let mut rows = Vec::new();
    for lane in lanes.iter() {
        let [half, most, nearly] = &lane.paced;
        println!(
            "{:<18}{:>16}{:>9.0}{:>16}{:>16}{:>16}{:>16}{:>12}{:>12}",
            lane.name,
            lane.cpu.cell(1e3),
            lane.closed.rate.median(),
            lane.closed.cell(),
            half.cell(),
            most.cell(),
            nearly.cell(),
            mebibytes(lane.memory.resident),
            mebibytes(lane.memory.anonymous)
        );
        rows.push(json!({
            "filter": lane.name, "cpu": lane.cpu.json(), "closed": lane.closed.json(),
            "at_50": half.json(), "at_80": most.json(), "at_95": nearly.json(),
            "memory": lane.memory.json(),
        }));
    }
    Ok(json!({ "sessions": SESSIONS, "rounds": ROUNDS, "filters": rows }))
}

/// A bar beside what was measured, printed and kept.
pub(crate) fn bar(what: &str, measured: f64, unit: &str, limit: f64, at_most: bool) -> Value {
    let met = if at_most {
        measured <= limit
    } else {
        measured >= limit
    };
    println!(
        "bar: {what}: {measured:.3} {unit}, {} {limit} {unit}: {}",
        if at_most { "at most" } else { "at least" },
        if met { "met" } else { "MISSED" }
    );
    json!({ "bar": what, "measured": measured, "unit": unit, "limit": limit, "met": met })
}
