//! The ledger: mails go out from a real Postfix through Kenin to a sink while Kenin is killed at
//! random moments, and at the end every mail is accounted for. Bounded in the tests, long in
//! `bench/soak`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, Envelope};
use crate::forge::Town;
use crate::kenin::{Gateway, Setup};
use crate::parts;
use crate::postfix::Postfix;
use crate::sink::{Behaviour, Dot, Sink, fields};
use crate::world::{Dice, free_address, run, wait_within};

/// What a run is.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Plan {
    pub mails: usize,
    pub kills: usize,
    pub seed: u64,
    pub deadline: Duration,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Account {
    pub sent: usize,
    pub arrived: usize,
    pub kills: usize,
    /// Copies beyond the first.
    pub duplicates: usize,
    /// Deliveries at whose dot Postfix got no answer, by its own log.
    pub in_doubt: usize,
    pub lost: Vec<String>,
    /// What the logs tell of the lost ones, to find the fault by.
    pub traces: Vec<String>,
    /// Mails with more copies than their in-doubt deliveries explain.
    pub unexplained: Vec<String>,
    /// Copies whose verdict or content is wrong.
    pub wrong: Vec<String>,
}

impl Account {
    /// Whether the invariants hold.
    pub fn balanced(&self) -> bool {
        self.lost.is_empty() && self.unexplained.is_empty() && self.wrong.is_empty()
    }
}

/// Postfix and Kenin in a mode of `kenin init postfix`, set up by the very lines it prints.
pub fn behind_postfix(sink: &Sink, mode: &str, main: &str) -> (Postfix, Gateway) {
    let postfix = Postfix::start(sink.address, main);
    let again = free_address();
    let mut gateway = Gateway::prepare(&Setup::new(again));
    let trust = std::fs::read(gateway.folder.join("trust.toml")).unwrap();
    let mut command = Command::new(parts::kenin());
    command.args([
        "init",
        "postfix",
        "--force",
        "--mode",
        mode,
        "--hostname",
        "gw.example.jp",
    ]);
    command.arg("--dir").arg(gateway.folder.path());
    command.arg("--state-dir").arg(gateway.folder.join("state"));
    command.args(["--listen", &gateway.address.to_string()]);
    command.args(["--next-hop", &again.to_string()]);
    command
        .args(["--http", &gateway.http.to_string()])
        .env_remove("KENIN_CONFIG");
    let lines = String::from_utf8(run(&mut command)).unwrap();
    std::fs::write(gateway.folder.join("trust.toml"), trust).unwrap();
    gateway.restart();
    postfix.execute(&lines);
    if mode != "milter" {
        wait_within(
            Duration::from_secs(30),
            "Postfix's second smtpd listens",
            || crate::world::listens(again),
        );
    }
    (postfix, gateway)
}

/// Sends through the after-queue filter, kills, waits, counts.
pub fn run_plan(plan: &Plan) -> Account {
    run_plan_in(plan, "after-queue")
}

/// The same in a mode of `kenin init postfix`. Before the queue, and beside it, it is another Postfix,
/// outside, that keeps the mails and tries again.
pub fn run_plan_in(plan: &Plan, mode: &str) -> Account {
    let town = Town::get();
    // The sink takes its time now and then, so that kills meet every moment of a delivery.
    let slow = Behaviour::default().at_dot(|n, _| {
        if n % 5 == 0 {
            Dot::Slow(Duration::from_millis(30))
        } else {
            Dot::Accept
        }
    });
    let sink = Sink::with(slow);
    let (inside, mut gateway) = behind_postfix(&sink, mode, "");
    let outside =
        matches!(mode, "before-queue" | "milter").then(|| Postfix::start(inside.front, ""));
    let postfix = outside.as_ref().unwrap_or(&inside);
    let ids: Vec<String> = (0..plan.mails)
        .map(|n| format!("<ledger-{n}@example.jp>"))
        .collect();
    let finished = AtomicBool::new(false);
    let mut kills = 0;
    let mut dice = Dice::new(plan.seed);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let body = town.clear_signed(&town.bob, "bob@example.jp", "Count me");
            let text = String::from_utf8(body).unwrap();
            let mut client = Client::greeted(postfix.front);
            for (n, id) in ids.iter().enumerate() {
                let raw = text.replace("<forged@example.jp>", id);
                let envelope = Envelope::new(&sender(n), "reader@example.jp");
                let reply = client
                    .mail(&envelope, raw.as_bytes())
                    .expect("Postfix answers");
                assert_eq!(reply.code, 250, "{}", reply.text());
            }
            finished.store(true, Ordering::SeqCst);
        });
        let end = Instant::now() + plan.deadline;
        for n in 0..plan.kills {
            // The next kill comes after a random number of further arrivals: spread over the run,
            // whatever the machine's speed; a random pause puts it anywhere inside a delivery.
            let step = (plan.mails / (plan.kills + 1)).max(1);
            let goal = step * n + dice.below(step as u64) as usize;
            wait_within(plan.deadline, "mails arrive between kills", || {
                sink.count() >= goal.min(plan.mails.saturating_sub(2))
            });
            std::thread::sleep(Duration::from_micros(dice.below(20_000)));
            gateway.kill();
            kills += 1;
            gateway.restart();
            assert!(Instant::now() < end, "the plan takes too long");
        }
        writer.join().unwrap();
    });
    let seen = || {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for mail in sink.mails() {
            *seen
                .entry(fields(&mail.raw, "Message-ID").join(""))
                .or_default() += 1;
        }
        seen
    };
    let end = Instant::now() + plan.deadline;
    while (seen().len() < plan.mails || postfix.queued() > 0) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(finished.load(Ordering::SeqCst));
    let mut doubts = in_doubt(&postfix.log());
    if outside.is_some() {
        for (n, id) in ids.iter().enumerate() {
            *doubts.entry(id.clone()).or_default() += proxy_in_doubt(&inside.log(), &sender(n));
        }
    }
    let seen = seen();
    let mut account = Account {
        sent: ids.len(),
        kills,
        ..Account::default()
    };
    for (n, id) in ids.iter().enumerate() {
        let copies = seen.get(id).copied().unwrap_or(0);
        let doubt = doubts.get(id).copied().unwrap_or(0);
        account.arrived += usize::from(copies > 0);
        account.in_doubt += doubt;
        account.duplicates += copies.saturating_sub(1);
        if copies == 0 {
            account.lost.push(id.clone());
            let mut logs = vec![("postfix", postfix.log()), ("kenin", gateway.log())];
            if outside.is_some() {
                logs.push(("inner postfix", inside.log()));
            }
            for (program, log) in logs {
                account.traces.extend(trace(program, &log, id, &sender(n)));
            }
        }
        if copies > doubt + 1 {
            account
                .unexplained
                .push(format!("{id}: {copies} copies, {doubt} in doubt"));
        }
    }
    for mail in sink.mails() {
        let stamps = mail.fields("Authentication-Results");
        if stamps.len() != 1 || !stamps[0].contains("smime=pass") {
            account
                .wrong
                .push(String::from_utf8_lossy(mail.split().0).into_owned());
        }
    }
    account
}

/// The envelope sender of a mail, by which a log line without its Message-ID is known.
fn sender(number: usize) -> String {
    format!("ledger-{number}@example.jp")
}

/// Deliveries whose dot got no answer from the proxy filter, as the front smtpd's log tells them.
fn proxy_in_doubt(log: &str, sender: &str) -> usize {
    let from = format!("from=<{sender}>");
    log.lines()
        .filter(|line| line.contains("proxy-reject: END-OF-MESSAGE") && line.contains(&from))
        .count()
}

/// Deliveries whose dot got no answer, by Message-ID, as Postfix's own log tells them.
fn in_doubt(log: &str) -> BTreeMap<String, usize> {
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut doubts: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("]: ") else {
            continue;
        };
        let Some((queue, text)) = rest.split_once(": ") else {
            continue;
        };
        if let Some(id) = text.strip_prefix("message-id=") {
            ids.insert(queue, id);
        }
        let unanswered = text.contains("while sending end of data");
        // One line a try; the summary line of the recipient repeats it.
        if unanswered && text.starts_with("to=<") {
            let id = ids.get(queue).map_or(queue, |id| *id);
            *doubts.entry(id.to_owned()).or_default() += 1;
        }
    }
    doubts
}

/// The lines of a log that speak of a mail: by its Message-ID, its sender, or a queue id that had
/// either.
fn trace(program: &str, log: &str, id: &str, sender: &str) -> Vec<String> {
    let queue = |line: &str| {
        let (_, rest) = line.split_once("]: ")?;
        let (queue, _) = rest.split_once(": ")?;
        queue
            .bytes()
            .all(|b| b.is_ascii_alphanumeric())
            .then(|| queue.to_owned())
    };
    let names = |line: &str| line.contains(id) || line.contains(&format!("<{sender}>"));
    let queues: BTreeSet<String> = log.lines().filter(|l| names(l)).filter_map(queue).collect();
    log.lines()
        .filter(|line| names(line) || queue(line).is_some_and(|q| queues.contains(&q)))
        .map(|line| format!("{program}: {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postfix_log_lines_are_read() {
        let log = "Nov 22 12:00:00 h postfix/cleanup[1]: 4F1: message-id=<a@b>\n\
            Nov 22 12:00:01 h postfix/smtp[2]: 4F1: lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once\n\
            Nov 22 12:00:01 h postfix/smtp[2]: 4F1: to=<x@y>, relay=127.0.0.1, status=deferred (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)\n";
        assert_eq!(in_doubt(log).get("<a@b>"), Some(&1));
        assert!(in_doubt("nothing").is_empty());
        let about = trace("postfix", log, "<a@b>", "s@y");
        assert_eq!(about.len(), 3, "{about:?}");
        assert!(trace("postfix", log, "<b@b>", "s@y").is_empty());
    }
}
