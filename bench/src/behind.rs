//! The same mail through a real Postfix and a filter: what arrives a second when 20 sessions send, and
//! how long one session alone waits for the answer to its mail. Deliveries are counted, not acceptances.

use std::sync::Arc;
use std::time::Instant;

use kenin_tests::postfix::Postfix;
use serde_json::{Value, json};

use crate::load::{Rounds, Trouble, closed};
use crate::measure::Samples;
use crate::process::Tree;
use crate::smtp::{Sink, opener};

/// Interleaved rounds: odd, so that the median is a measured value.
const ROUNDS: usize = 15;
const SESSIONS: usize = 20;
const MAILS: usize = 250;
const MAILS_ALONE: usize = 40;

/// A line of `main.cf`. Postfix makes a sender wait a second when more comes in than goes out: that says
/// nothing of a filter, and the faster one would have it more often.
pub(crate) const NO_PAUSES: &str = "in_flow_delay = 0\n";

/// A Postfix with one filter, and what was measured of it.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    postfix: Postfix,
    sink: Sink,
    /// The filter's process; a Postfix without a filter has none.
    tree: Option<Tree>,
    /// Mails delivered a second, 20 sessions.
    delivered: Samples,
    /// The same in the order of the rounds.
    rounds: Vec<f64>,
    /// Latencies of the same.
    many: Rounds,
    /// Latencies with one session.
    pub(crate) alone: Rounds,
    /// CPU seconds of the filter a mail, 20 sessions.
    cpu: Samples,
}

impl Lane {
    pub(crate) fn new(
        name: &'static str,
        postfix: Postfix,
        sink: Sink,
        tree: Option<Tree>,
    ) -> Self {
        Self {
            name,
            postfix,
            sink,
            tree,
            delivered: Samples::new(),
            rounds: Vec::new(),
            many: Rounds::new(),
            alone: Rounds::new(),
            cpu: Samples::new(),
        }
    }

    /// Sends so many mails and waits until all have arrived, good; mails a second.
    fn send(
        &self,
        sessions: usize,
        mails: usize,
        wire: &Arc<[u8]>,
    ) -> Result<(f64, crate::load::Run), Trouble> {
        let goal = self.sink.count() + mails;
        let begin = Instant::now();
        let run = closed(&*opener(self.postfix.front, wire), sessions, mails)
            .and_then(|run| self.sink.wait(goal).map(|()| run))
            .map_err(|error| format!("{}: {error}", self.name))?;
        Ok((mails as f64 / begin.elapsed().as_secs_f64(), run))
    }

    fn cpu(&self) -> f64 {
        self.tree.map_or(0.0, |tree| tree.cpu().as_secs_f64())
    }

    fn round(&mut self, wire: &Arc<[u8]>) -> Result<(), Trouble> {
        let before = self.cpu();
        let (rate, run) = self.send(SESSIONS, MAILS, wire)?;
        self.cpu.push((self.cpu() - before) / MAILS as f64);
        self.delivered.push(rate);
        self.rounds.push(rate);
        self.many.push(&run);
        let (_, run) = self.send(1, MAILS_ALONE, wire)?;
        self.alone.push(&run);
        Ok(())
    }
}

/// Measures all lanes, prints their table; shares are those of the lane called `floor`.
pub(crate) fn measure(lanes: &mut [Lane], floor: &str, wire: &Arc<[u8]>) -> Result<Value, Trouble> {
    for lane in lanes.iter_mut() {
        // Postfix starts its processes when they are first needed.
        lane.send(SESSIONS, SESSIONS * 2, wire)?;
    }
    for round in 0..ROUNDS {
        // Who comes first changes: whoever follows meets what the disk still writes for the one before.
        for place in 0..lanes.len() {
            let next = (round + place) % lanes.len();
            if let Some(lane) = lanes.get_mut(next) {
                lane.round(wire)?;
            }
        }
    }
    println!(
        "\nbehind Postfix: {SESSIONS} sessions, {MAILS} mails a round, {ROUNDS} interleaved rounds (medians)\n\
         {:<18}{:>20}{:>10}{:>16}{:>22}{:>24}",
        "filter", "delivered/s", "share", "CPU ms a mail", "p50 / p99 ms", "1 session p50 / p99 ms"
    );
    let mut rows = Vec::new();
    for lane in lanes.iter() {
        let share = share(lanes, lane.name, floor);
        println!(
            "{:<18}{:>20}{:>9.1}%{:>16}{:>22}{:>24}",
            lane.name,
            format!(
                "{:.0} ±{:.0}%",
                lane.delivered.median(),
                lane.delivered.spread() * 100.0
            ),
            share * 100.0,
            lane.tree.map_or("–".to_owned(), |_| lane.cpu.cell(1e3)),
            lane.many.cell(),
            lane.alone.cell()
        );
        rows.push(json!({
            "filter": lane.name, "share": share, "cpu": lane.cpu.json(),
            "delivered": lane.delivered.json_in("mails_a_second"),
            "sessions_20": lane.many.json(), "session_1": lane.alone.json(),
        }));
    }
    println!(
        "(share: of the mails that arrive a second with \"{floor}\" in the same place, round by round)"
    );
    Ok(json!({ "floor": floor, "mails_a_round": MAILS, "rounds": ROUNDS, "filters": rows }))
}

/// The share of the floor's deliveries that a lane reached: the median over the rounds, each lane beside the
/// floor of its own round. What else the machine does changes slower than rounds do.
pub(crate) fn share(lanes: &[Lane], name: &str, floor: &str) -> f64 {
    let rounds = |wanted: &str| {
        let found = lanes.iter().find(|lane| lane.name == wanted);
        found.map_or(&[] as &[f64], |lane| &lane.rounds)
    };
    let mut shares = Samples::new();
    for (lane, floor) in rounds(name).iter().zip(rounds(floor)) {
        shares.push(lane / floor);
    }
    shares.median()
}
