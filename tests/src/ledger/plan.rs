//! A run: mails take a road while Kenin and the sink are killed at random moments; then the books are
//! closed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fan::{self, BARRED};
use super::postfix_log::{given_up, overheard, proxy_in_doubt, told, trace};
use super::{
    Account, Answers, Circumstances, Courier, Ledger, Road, Told, Truth, behind_postfix, sealed,
};
use crate::client::{Client, Envelope};
use crate::forge::{Town, mime};
use crate::kenin::{Gateway, Setup};
use crate::opened::traces;
use crate::postfix::Postfix;
use crate::sink::{Behaviour, Dot, Received, Sink};
use crate::world::{Dice, PATIENCE, wait_within};

/// What a run is.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Plan {
    pub road: Road,
    pub mails: usize,
    /// Two of three mails are for some eyes only, and Kenin has keys, a quarantine and a rule that requires encryption:
    /// where our own client is the sender.
    pub secrets: bool,
    /// SIGKILL of Kenin.
    pub kills: usize,
    /// Deaths of the sink besides.
    pub sink_kills: usize,
    pub seed: u64,
    pub deadline: Duration,
}

/// A choice of mails whose right verdict is known.
pub struct Letters {
    small: Vec<(Truth, Vec<u8>)>,
    /// One that waits in a temporary file; now and then it is its turn.
    large: Option<Vec<u8>>,
}

impl Letters {
    /// Signed in two forms, tampered with, and not signed.
    pub fn new() -> Self {
        let town = Town::get();
        let (from, bob) = ("bob@example.jp", &town.bob);
        let mut all = Vec::new();
        for number in 0..6 {
            let text = format!("Count me, {number}");
            all.push((Truth::Good, town.clear_signed(bob, from, &text)));
            if number % 3 == 0 {
                all.push((Truth::Good, town.opaque(bob, from, &text)));
                let plain = mime::plain(&mime::headers(from), &text);
                all.push((Truth::NotGood, plain));
                let signed = String::from_utf8(town.clear_signed(bob, from, &text)).unwrap();
                let tampered = signed.replace("Count me", "Count him");
                all.push((Truth::NotGood, tampered.into_bytes()));
            }
        }
        Self {
            small: all,
            large: None,
        }
    }

    /// The same, and every so many mails a large one.
    pub fn some_large() -> Self {
        let town = Town::get();
        let line = format!("{}\r\n", "0123456789".repeat(7));
        let text = line.repeat(LARGE / line.len());
        Self {
            large: Some(town.clear_signed(&town.bob, "bob@example.jp", &text)),
            ..Self::new()
        }
    }

    /// The mail of a number, under a Message-ID of its own.
    pub fn letter(&self, number: usize, id: &str) -> (Truth, Vec<u8>) {
        let (truth, raw) = match &self.large {
            Some(large) if number % LARGE_EVERY == LARGE_EVERY / 2 => (Truth::Good, large),
            _ => {
                let (truth, raw) = &self.small[number % self.small.len()];
                (*truth, raw)
            }
        };
        let text = std::str::from_utf8(raw).unwrap();
        let raw = text.replacen("<forged@example.jp>", id, 1);
        (truth, raw.into_bytes())
    }

    /// The same, with an account in the ledger.
    pub fn entered(&self, number: usize, id: &str, to: &Envelope, ledger: &Ledger) -> Vec<u8> {
        let (truth, raw) = self.letter(number, id);
        ledger.open(id, truth, to, &raw);
        raw
    }
}

impl Default for Letters {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends, kills, waits, and closes the books.
///
/// # Panics
/// When the deadline passes.
pub fn run_plan(plan: &Plan) -> Account {
    let direct = plan.road.is_direct();
    let mut sink = Sink::with(Behaviour {
        keeps_bytes: false,
        search: plan.secrets.then(sealed::search),
        ..Behaviour::default().at_dot(move |n, mail| at_dot(direct, n, mail))
    });
    let mut scene = Scene::new(plan, &sink);
    let ledger = Ledger::default();
    let letters = Letters::some_large();
    let baseline = scene.gateway.descriptors();
    let next = AtomicUsize::new(0);
    let end = Instant::now() + plan.deadline;
    let front = scene.front();
    let (mut kills, mut sink_kills, mut leaks) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        let writing = || {
            let mut courier = Courier::new(front, PATIENCE);
            if plan.road == Road::Lmtp {
                courier = courier.lmtp();
            }
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= plan.mails {
                    return courier.quit();
                }
                let id = id(plan.road, number);
                if plan.secrets && !number.is_multiple_of(3) {
                    let nth = number / 3 * 2 + number % 3 - 1;
                    let letter = sealed::letter(nth, &id, &sender(number));
                    let (envelope, raw) = (&letter.envelope, &letter.raw);
                    ledger.open_secret(&id, envelope, raw, letter.secret);
                    until_settled(&mut courier, &ledger, &id, envelope, raw, end);
                    continue;
                }
                let mut envelope = Envelope::new(&sender(number), "reader@example.jp");
                if plan.road.divides() {
                    envelope.to = fan::circle(number);
                }
                let raw = letters.entered(number, &id, &envelope, &ledger);
                if direct {
                    until_settled(&mut courier, &ledger, &id, &envelope, &raw, end);
                } else {
                    into_postfix(front, &ledger, &id, &envelope, &raw);
                }
            }
        };
        let writers = if direct { 6 } else { 2 };
        let writers: Vec<_> = (0..writers).map(|_| scope.spawn(writing)).collect();
        let mut dice = Dice::new(plan.seed);
        let mut victims = vec![true; plan.kills];
        for _ in 0..plan.sink_kills {
            let at = dice.below(victims.len() as u64 + 1) as usize;
            victims.insert(at, false);
        }
        for (n, kenin) in victims.iter().enumerate() {
            // The next kill comes after a random number of further arrivals: spread over the run,
            // whatever the machine's speed; a random pause puts it anywhere inside a delivery.
            let step = (plan.mails / (victims.len() + 1)).max(1);
            let goal = step * n + dice.below(step as u64) as usize;
            let goal = goal.min(plan.mails.saturating_sub(2));
            wait_within(plan.deadline, "mails arrive between kills", || {
                sink.count() >= goal
            });
            std::thread::sleep(Duration::from_micros(dice.below(20_000)));
            if *kenin {
                scene.gateway.kill();
                kills += 1;
                leaks.extend(scene.leaks());
                scene.gateway.restart();
            } else {
                sink.kill();
                sink_kills += 1;
                sink.revive();
            }
            assert!(Instant::now() < end, "the plan takes too long");
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
    let mut account = scene.close(&ledger, &sink, (baseline, leaks), end);
    (account.kills, account.sink_kills) = (kills, sink_kills);
    account
}

/// Kenin on its road.
struct Scene {
    road: Road,
    secrets: bool,
    gateway: Gateway,
    inside: Option<Postfix>,
    outside: Option<Postfix>,
}

impl Scene {
    fn new(plan: &Plan, sink: &Sink) -> Self {
        let road = plan.road;
        if road.is_direct() {
            let setup = Setup {
                mode: road.mode(),
                mail: fan::RULES.to_owned(),
                ..Setup::new(sink.address)
            };
            return Self {
                road,
                secrets: plan.secrets,
                gateway: match plan.secrets {
                    true => sealed::started(setup),
                    false => Gateway::start(&setup),
                },
                inside: None,
                outside: None,
            };
        }
        assert!(!plan.secrets, "{road:?}: no Postfix has such mail");
        let (inside, mut gateway) = behind_postfix(sink, road.mode(), "");
        if road.divides() {
            std::fs::write(gateway.folder.join("mail.toml"), fan::RULES).unwrap();
            gateway.restart();
        }
        let outside = road
            .needs_outside()
            .then(|| Postfix::start(inside.front, ""));
        Self {
            road,
            secrets: false,
            gateway,
            inside: Some(inside),
            outside,
        }
    }

    /// Where the writers bring their mails.
    fn front(&self) -> SocketAddr {
        let postfix = self.outside.as_ref().or(self.inside.as_ref());
        postfix.map_or(self.gateway.address, |postfix| postfix.front)
    }

    /// Where in its folders the canary can be read.
    fn leaks(&self) -> Vec<String> {
        match self.secrets {
            true => traces(&self.gateway, sealed::CANARY),
            false => Vec::new(),
        }
    }

    fn postfixes(&self) -> impl Iterator<Item = &Postfix> {
        self.inside.iter().chain(&self.outside)
    }

    /// Waits until the mails are through, and checks the books.
    fn close(
        mut self,
        ledger: &Ledger,
        sink: &Sink,
        (baseline, mut leaks): (usize, Vec<String>),
        end: Instant,
    ) -> Account {
        let ids = ledger.ids();
        while self.postfixes().any(|postfix| postfix.queued() > 0) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        let slack = if self.secrets { LINES } else { 0 };
        let left_behind = self.gateway.left_behind(baseline + slack, PATIENCE);
        let held = match self.secrets {
            true => sealed::held(&self.gateway),
            false => Vec::new(),
        };
        if self.secrets {
            self.gateway.kill();
            leaks.extend(self.leaks());
        }
        let mut circumstances = Circumstances {
            answers: Answers::of_the_sink().and(BARRED).and(FULL),
            hop_breaks: sink.broken(),
            left_behind,
            held,
            leaks,
            ..Circumstances::default()
        };
        let logs: Vec<String> = self.postfixes().map(Postfix::log).collect();
        if !self.road.is_direct() {
            circumstances.answers = circumstances.answers.and_postfix();
            circumstances.overheard = logs.iter().flat_map(|log| overheard(log)).collect();
            for ((id, to), told) in logs.iter().flat_map(|log| told(log)) {
                if ids.contains(&id) {
                    ledger.overheard(&id, Some(&to), told);
                } else {
                    circumstances.notices_in_doubt += told.in_doubt;
                }
            }
            for id in logs.iter().flat_map(|log| given_up(log)) {
                if ids.contains(&id) {
                    ledger.garbled(&id);
                }
            }
            // Only the one beside Kenin has a filter before its queue.
            for (sender, times) in logs.first().iter().flat_map(|log| proxy_in_doubt(log)) {
                let number = sender.trim_start_matches("ledger-");
                let number = number.split('@').next().and_then(|n| n.parse().ok());
                let doubt = Told {
                    in_doubt: times,
                    ..Told::default()
                };
                match number {
                    Some(number) => ledger.overheard(&id(self.road, number), None, doubt),
                    // Of a notification.
                    None => circumstances.notices_in_doubt += times,
                }
            }
        }
        let mut account = ledger.check(&sink.records(), &circumstances);
        let mut traces = Vec::new();
        for violation in account.violations.iter().take(TRACED) {
            let Some((id, _)) = violation.what.split_once([',', ':']) else {
                continue;
            };
            let number = id
                .split_once(".n")
                .map_or("", |(_, n)| n.split('@').next().unwrap());
            let from = format!("ledger-{number}@example.jp");
            for log in logs.iter().chain([&self.gateway.log()]) {
                traces.extend(trace("log", log, id, &from));
            }
        }
        account.traces = traces;
        account
    }
}

/// The sink takes its time now and then, so that kills meet every moment of a delivery, and refuses
/// some, so that one copy is accepted and another is not.
fn at_dot(direct: bool, number: usize, mail: &Received) -> Dot {
    let barred = mail.recipients.iter().any(|to| to.contains("@barred."));
    match number {
        _ if barred => Dot::Reply(BARRED.to_owned()),
        // Nobody outside may hear of it.
        _ if mail.recipients.iter().any(|to| sealed::is_over_quota(to)) => {
            Dot::Reply("552 5.2.2 Over quota".to_owned())
        }
        // A real MTA would wait for seconds.
        n if direct && n % 11 == 7 => Dot::Reply(FULL.to_owned()),
        n if n % 20 == 0 => Dot::Slow(Duration::from_millis(30)),
        n if n % 5 == 0 => Dot::Slow(Duration::from_millis(3)),
        _ => Dot::Accept,
    }
}

/// As a mail server does: again and again, until the mail is taken over or refused for good, for each
/// recipient where each is answered.
pub fn until_settled(
    courier: &mut Courier,
    ledger: &Ledger,
    id: &str,
    envelope: &Envelope,
    raw: &[u8],
    end: Instant,
) {
    let mut left = envelope.clone();
    while !left.to.is_empty() {
        let one = courier.hand_over(ledger, id, &left, raw);
        assert!(Instant::now() < end, "{id} is not taken over: {one:?}");
        left.to = one.open();
        // A pause as any sender makes, so that a dead server is not asked a million times.
        if !left.to.is_empty() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn into_postfix(front: SocketAddr, ledger: &Ledger, id: &str, envelope: &Envelope, raw: &[u8]) {
    let reply = Client::greeted(front)
        .mail(envelope, raw)
        .expect("Postfix answers");
    assert_eq!(reply.code, 250, "{}", reply.text());
    ledger.taken_over(id);
}

fn id(road: Road, number: usize) -> String {
    format!("<{}.n{number}@ledger.example>", road.name())
}

/// The envelope sender of a mail, by which a log line without its Message-ID is known.
fn sender(number: usize) -> String {
    format!("ledger-{number}@example.jp")
}

/// What the sink says now and then.
const FULL: &str = "452 4.2.2 Mailbox full";
/// Bytes of a large mail: more than stays in memory.
const LARGE: usize = 1_300_000;
const LARGE_EVERY: usize = 61;
/// What is opened when it is first needed, where keys work: a line for each mail at a time, and the next hop's for copies.
const LINES: usize = 8;
/// Violations whose traces are looked up.
const TRACED: usize = 20;
