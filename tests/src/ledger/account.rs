//! The books of a run and the one checker of its invariants.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use super::Answers;
use crate::client::{Reply, Silence};
use crate::sink::Record;

/// One attempt to hand a mail over.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Try {
    /// Whether the final dot was sent (to our own system at least).
    pub dot: bool,
    /// The reply to the dot, or to the command that ended the attempt.
    pub answer: Result<Reply, Silence>,
    /// Every reply of the attempt, that one too.
    pub heard: Vec<Reply>,
}

impl Try {
    /// The mail was taken over.
    pub fn is_accepted(&self) -> bool {
        self.dot && matches!(&self.answer, Ok(reply) if reply.code / 100 == 2)
    }

    /// Nobody can know on this side: the dot was sent, and no answer came or one that says just this.
    pub fn is_in_doubt(&self) -> bool {
        match &self.answer {
            Ok(reply) => self.dot && says_in_doubt(&reply.text()),
            Err(_) => self.dot,
        }
    }

    /// It stays the sender's for good.
    pub fn is_refused(&self) -> bool {
        matches!(&self.answer, Ok(reply) if reply.code / 100 == 5)
    }
}

/// Whether a reply says that the next hop was lost at the dot.
pub(super) fn says_in_doubt(text: &str) -> bool {
    text.contains("4.4.2 Connection lost after end of data")
}

/// What a mail is, and so what its stamp may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Well signed: `pass`, and nothing else.
    Good,
    /// Anything else: never `pass`.
    NotGood,
    /// Its stamp may say what it will: the harness changed the mail behind Kenin.
    Changed,
}

#[derive(Clone, Debug)]
struct Entry {
    truth: Truth,
    /// SHA-256 of the body; `None` where the harness changed it.
    body: Option<[u8; 32]>,
    tries: Vec<Try>,
    /// Told by other means: deliveries accepted and in doubt, by an MTA's log.
    accepted: usize,
    in_doubt: usize,
}

/// The senders' books, by Message-ID.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<String, Entry>>);

impl Ledger {
    /// Opens an account for a mail.
    pub fn open(&self, id: &str, truth: Truth, body: Option<&[u8]>) {
        let entry = Entry {
            truth,
            body: body.map(openssl::sha::sha256),
            tries: Vec::new(),
            accepted: 0,
            in_doubt: 0,
        };
        self.0.lock().unwrap().insert(id.to_owned(), entry);
    }

    /// Writes down an attempt.
    pub fn tried(&self, id: &str, one: Try) {
        self.with(id, |entry| entry.tries.push(one));
    }

    /// Somebody else took the mail over for good, and delivers it.
    pub fn taken_over(&self, id: &str) {
        self.with(id, |entry| entry.accepted += 1);
    }

    /// Somebody else's deliveries were in doubt so often.
    pub fn doubted(&self, id: &str, times: usize) {
        self.with(id, |entry| entry.in_doubt += times);
    }

    /// The harness changed the mail on its way.
    pub fn changed(&self, id: &str, truth: Truth) {
        self.with(id, |entry| {
            entry.truth = truth;
            entry.body = None;
        });
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.lock().unwrap();
        change(entries.get_mut(id).expect("the mail has an account"));
    }

    /// Every Message-ID.
    pub fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Checks the invariants.
    pub fn check(&self, records: &[Record], circumstances: &Circumstances) -> Account {
        let entries = self.0.lock().unwrap();
        let mut account = Account {
            sent: entries.len(),
            ..Account::default()
        };
        let mut copies: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            copies.entry(&record.id).or_default().push(record);
        }
        for (id, entry) in entries.iter() {
            let found = copies.remove(id.as_str()).unwrap_or_default();
            account.weigh(id, entry, &found);
            for record in found {
                account.judge(id, entry, record);
            }
            for reply in entry.tries.iter().flat_map(|one| &one.heard) {
                account.hear(&reply.text(), &circumstances.answers);
            }
        }
        for id in copies.keys() {
            let what = format!("{id}: at the sink, and nobody sent it");
            account.violate(Invariant::I2NothingRefusedArrives, what);
        }
        for line in &circumstances.overheard {
            account.hear(line, &circumstances.answers);
        }
        if account.told_in_doubt > circumstances.hop_breaks {
            let what = format!(
                "{} times the next hop was said to be lost at the dot; it was cut {} times",
                account.told_in_doubt, circumstances.hop_breaks
            );
            account.violate(Invariant::I8EveryReplyIsKnown, what);
        }
        for left in &circumstances.left_behind {
            account.violate(Invariant::I7NothingIsLeftOpen, left.clone());
        }
        account
    }
}

/// What the checker has to know beside the books.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Circumstances {
    pub answers: Answers,
    /// Replies that an MTA's log tells of.
    pub overheard: Vec<String>,
    /// How many connections of the next hop the harness broke: none of Kenin's "lost at the dot" may
    /// be without one.
    pub hop_breaks: usize,
    /// What did not return to its baseline: descriptors, memory, files.
    pub left_behind: Vec<String>,
}

/// An invariant of the design's failures.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Invariant {
    I1NothingIsLost,
    I2NothingRefusedArrives,
    I3DuplicatesWereInDoubt,
    I6PassIsTrue,
    I7NothingIsLeftOpen,
    I8EveryReplyIsKnown,
}

/// One that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Account {
    pub sent: usize,
    /// Mails that were answered 2xx.
    pub accepted: usize,
    /// Mails that ended with a refusal, or were given up.
    pub kept_by_sender: usize,
    /// Mails of which the sink has a copy.
    pub arrived: usize,
    /// Copies beyond the first.
    pub duplicates: usize,
    /// Deliveries of which their sender could not know.
    pub in_doubt: usize,
    pub attempts: usize,
    pub kills: usize,
    pub sink_kills: usize,
    pub violations: Vec<Violation>,
    /// Every different reply, ids and numbers taken out, and how often.
    pub replies: BTreeMap<String, usize>,
    /// What the logs tell of the mails in violations, to find the fault by.
    pub traces: Vec<String>,
    told_in_doubt: usize,
}

impl Account {
    /// Whether the invariants hold.
    pub fn balanced(&self) -> bool {
        self.violations.is_empty()
    }

    /// How often one does not hold.
    pub fn broken(&self, invariant: Invariant) -> usize {
        self.violations
            .iter()
            .filter(|one| one.invariant == invariant)
            .count()
    }

    fn violate(&mut self, invariant: Invariant, what: String) {
        self.violations.push(Violation { invariant, what });
    }

    /// I1, I2, I3: there are as many copies as were accepted, and at most those in doubt more.
    fn weigh(&mut self, id: &str, entry: &Entry, found: &[&Record]) {
        let count = |which: fn(&Try) -> bool| entry.tries.iter().filter(|one| which(one)).count();
        let accepted = count(Try::is_accepted) + entry.accepted;
        let in_doubt = count(Try::is_in_doubt) + entry.in_doubt;
        self.attempts += entry.tries.len();
        self.accepted += usize::from(accepted > 0);
        self.kept_by_sender += usize::from(accepted == 0);
        self.arrived += usize::from(!found.is_empty());
        self.duplicates += found.len().saturating_sub(1);
        self.in_doubt += in_doubt;
        if found.len() < accepted {
            let what = format!(
                "{id}: accepted {accepted} times, {} at the sink",
                found.len()
            );
            self.violate(Invariant::I1NothingIsLost, what);
        }
        if found.len() > accepted + in_doubt {
            let invariant = if accepted == 0 {
                Invariant::I2NothingRefusedArrives
            } else {
                Invariant::I3DuplicatesWereInDoubt
            };
            let told = entry.tries.last().map(|one| &one.answer);
            let what = format!(
                "{id}: {} at the sink, accepted {accepted} times, {in_doubt} in doubt; last told {told:?}",
                found.len()
            );
            self.violate(invariant, what);
        }
    }

    /// I6, and that the mail is the one that was sent.
    fn judge(&mut self, id: &str, entry: &Entry, record: &Record) {
        let pass = record.stamps.iter().any(|s| s.contains("smime=pass"));
        let true_stamp = match entry.truth {
            Truth::Good => pass,
            Truth::NotGood => !pass,
            Truth::Changed => true,
        };
        if record.stamps.len() != 1 || !true_stamp {
            let what = format!("{id}: {:?}, stamped {:?}", entry.truth, record.stamps);
            self.violate(Invariant::I6PassIsTrue, what);
        }
        if entry.body.is_some_and(|body| body != record.body) {
            let what = format!("{id}: another body than was sent");
            self.violate(Invariant::I1NothingIsLost, what);
        }
    }

    /// I8.
    fn hear(&mut self, line: &str, answers: &Answers) {
        self.told_in_doubt += usize::from(says_in_doubt(line));
        let general = answers.generalize(line);
        let first = !self.replies.contains_key(&general);
        if first && !answers.knows(line) {
            self.violate(Invariant::I8EveryReplyIsKnown, line.to_owned());
        }
        *self.replies.entry(general).or_default() += 1;
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, accepted {}, kept by the sender {}, arrived {}, lost {}, duplicates {}, in doubt {}, \
             attempts {}, kills {} (and {} of the sink), violations {}",
            self.sent,
            self.accepted,
            self.kept_by_sender,
            self.arrived,
            self.broken(Invariant::I1NothingIsLost),
            self.duplicates,
            self.in_doubt,
            self.attempts,
            self.kills,
            self.sink_kills,
            self.violations.len()
        )
    }
}

#[cfg(test)]
mod tests;
