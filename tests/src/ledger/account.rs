//! The books of a run and the one checker of its invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use super::fan::Wish;
use super::{Answers, Told, Try};
use crate::client::Envelope;
use crate::sink::{Record, fields, split};

mod entry;
mod secret;

use entry::Entry;
pub use secret::{HeldMail, Secret};

/// What a mail is, and so what its stamp may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Well signed: `pass`, and nothing else.
    Good,
    /// Well signed, while a part that has to be asked about it may be away: `pass` or `temperror`.
    Unsure,
    /// Anything else: never `pass`.
    NotGood,
    /// Its stamp may say what it will: the harness changed the mail behind Kenin.
    Changed,
}

/// The senders' books, by Message-ID.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<String, Entry>>);

impl Ledger {
    /// Opens an account for a mail.
    pub fn open(&self, id: &str, truth: Truth, envelope: &Envelope, raw: &[u8]) {
        self.begin(id, truth, envelope, raw, None);
    }

    /// The same for a mail that is for some eyes only; nobody signed it.
    pub fn open_secret(&self, id: &str, envelope: &Envelope, raw: &[u8], secret: Secret) {
        self.begin(id, Truth::NotGood, envelope, raw, Some(secret));
    }

    fn begin(
        &self,
        id: &str,
        truth: Truth,
        envelope: &Envelope,
        raw: &[u8],
        secret: Option<Secret>,
    ) {
        let body = openssl::sha::sha256(split(raw).1);
        let entry = Entry {
            truth,
            text: Some((body, fields(raw, "Subject").concat())),
            garbled: false,
            secret,
            from: envelope.from.clone(),
            to: envelope.to.clone(),
            tries: Vec::new(),
            others: BTreeMap::new(),
        };
        self.0.lock().unwrap().insert(id.to_owned(), entry);
    }

    /// Writes down an attempt.
    pub fn tried(&self, id: &str, one: Try) {
        self.with(id, |entry| entry.tries.push(one));
    }

    /// Somebody else took the mail over for good, and delivers it.
    pub fn taken_over(&self, id: &str) {
        let accepted = Told {
            accepted: 1,
            ..Told::default()
        };
        self.overheard(id, None, accepted);
    }

    /// Somebody else was told this of a recipient, or of all.
    pub fn overheard(&self, id: &str, address: Option<&str>, told: Told) {
        self.with(id, |entry| {
            for to in &entry.to {
                if address.is_none_or(|address| address == to) {
                    *entry.others.entry(to.clone()).or_default() += told;
                }
            }
        });
    }

    /// The harness changed the mail on its way.
    pub fn changed(&self, id: &str, truth: Truth) {
        self.with(id, |entry| {
            entry.truth = truth;
            entry.text = None;
        });
    }

    /// What was said around the mail was changed on its way, not by Kenin.
    pub fn garbled(&self, id: &str) {
        self.with(id, |entry| entry.garbled = true);
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.lock().unwrap();
        change(entries.get_mut(id).expect("the mail has an account"));
    }

    /// Every Message-ID.
    pub fn ids(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Checks the invariants.
    pub fn check(&self, records: &[Record], circumstances: &Circumstances) -> Account {
        let entries = self.0.lock().unwrap();
        let mut account = Account {
            sent: entries.len(),
            ..Account::default()
        };
        let (mut copies, mut notices) = (ById::new(), ById::new());
        for record in records {
            match &record.notice {
                Some(notice) => notices.entry(&notice.about).or_default().push(record),
                None => copies.entry(&record.id).or_default().push(record),
            }
        }
        account.count_notices(&notices, circumstances.notices_in_doubt);
        account.judge_held(&entries, &circumstances.held);
        let mut losses = 0;
        for (id, entry) in entries.iter() {
            let found = copies.remove(id.as_str()).unwrap_or_default();
            let told = notices.remove(id.as_str()).unwrap_or_default();
            account.attempts += entry.tries.len();
            for address in &entry.to {
                let held = circumstances.held.iter();
                let held = held.filter(|held| held.is_for(id, address)).count();
                account.weigh(id, entry, address, (found.as_slice(), held), &told);
            }
            for record in found {
                account.judge(id, entry, record);
                account.look_into(id, entry, record);
            }
            for record in told {
                account.judge_notice(id, entry, record);
                account.look_into(id, entry, record);
            }
            losses += entry.losses_told();
            for reply in entry.tries.iter().flat_map(|one| &one.heard) {
                account.hear(&reply.text(), &circumstances.answers);
            }
        }
        for id in copies.keys().chain(notices.keys()) {
            let what = format!("{id}: at the sink, and nobody sent it");
            account.violate(Invariant::I2NothingRefusedArrives, what);
        }
        for line in &circumstances.overheard {
            account.hear(line, &circumstances.answers);
        }
        if losses > circumstances.hop_breaks {
            let what = format!(
                "{losses} times the next hop was said to be lost at the dot; it was cut {} times",
                circumstances.hop_breaks
            );
            account.violate(Invariant::I8EveryReplyIsKnown, what);
        }
        account.judge_hushed(circumstances.hop_breaks.saturating_sub(losses));
        for place in &circumstances.leaks {
            account.violate(Invariant::I5OpenedStaysInside, place.clone());
        }
        for left in &circumstances.left_behind {
            account.violate(Invariant::I7NothingIsLeftOpen, left.clone());
        }
        account
    }
}

type ById<'a> = BTreeMap<&'a str, Vec<&'a Record>>;

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
    /// How many deliveries of notifications were in doubt.
    pub notices_in_doubt: usize,
    /// What did not return to its baseline: descriptors, memory, files.
    pub left_behind: Vec<String>,
    /// What Kenin holds itself.
    pub held: Vec<HeldMail>,
    /// Where a text that is for some eyes only lies in Kenin's folders.
    pub leaks: Vec<String>,
}

/// What holds whatever fails: of each mail, of what becomes of it, and of what is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Invariant {
    I1NothingIsLost,
    I2NothingRefusedArrives,
    I3DuplicatesWereInDoubt,
    I4MustIsEncrypted,
    I5OpenedStaysInside,
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
    /// Mails.
    pub sent: usize,
    /// Mails times recipients; so are the next ones.
    pub deliveries: usize,
    /// Answered 2xx.
    pub accepted: usize,
    /// Ended with a refusal, or given up.
    pub kept_by_sender: usize,
    /// The sink has a copy, or Kenin holds one.
    pub arrived: usize,
    /// Copies that Kenin holds.
    pub held: usize,
    /// Copies that came open, and such that came encrypted as they have to.
    pub opened: usize,
    pub encrypted: usize,
    /// The sender was told by a notification that there is none.
    pub notified: usize,
    /// Copies beyond the first.
    pub duplicates: usize,
    /// Copies beyond the first of which the reply that hides it did not say that they were in doubt.
    pub hushed: usize,
    /// Attempts of which their sender could not know.
    pub in_doubt: usize,
    pub attempts: usize,
    pub kills: usize,
    pub sink_kills: usize,
    pub violations: Vec<Violation>,
    /// Every different reply, ids and numbers taken out, and how often.
    pub replies: BTreeMap<String, usize>,
    /// What the logs tell of the mails in violations, to find the fault by.
    pub traces: Vec<String>,
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

    /// I1, I2, I3 for one recipient: there are as many copies, or notifications that there is none, as
    /// were accepted, and at most those in doubt more.
    fn weigh(
        &mut self,
        id: &str,
        entry: &Entry,
        address: &str,
        (copies, held): (&[&Record], usize),
        notices: &[&Record],
    ) {
        let told = entry.told(address);
        let copies = copies
            .iter()
            .filter(|record| record.to.iter().any(|to| to == address))
            .count();
        let copies = copies + held;
        self.held += held;
        let named = notices
            .iter()
            .filter(|record| names(record, address))
            .map(|record| &record.id);
        // A notification that came twice is one: its own delivery was in doubt.
        let notices = named.collect::<BTreeSet<_>>().len();
        self.deliveries += 1;
        self.accepted += usize::from(told.accepted > 0);
        self.kept_by_sender += usize::from(told.accepted == 0);
        self.arrived += usize::from(copies > 0);
        self.notified += usize::from(notices > 0);
        self.duplicates += copies.saturating_sub(1);
        self.in_doubt += told.in_doubt;
        let state = format!(
            "{id}, {address}: {copies} at the sink or held, {notices} notifications, {told:?}; last told {:?}",
            entry.tries.last().map(|one| &one.answer)
        );
        let found = copies + notices;
        if found < told.accepted {
            self.violate(Invariant::I1NothingIsLost, state.clone());
        }
        // Who gets it at an earlier try does not get it again: one, however often the others' copies
        // were put off.
        let partly = if entry.is_divided() {
            told.partly.min(1)
        } else {
            0
        };
        let accounted = told.accepted.max(partly) + told.in_doubt;
        let hushed = match &entry.secret {
            Some(secret) if secret.is_hushed(address) => told.hushed,
            _ => 0,
        };
        self.hushed += found.saturating_sub(accounted).min(hushed);
        if found > accounted + hushed {
            let invariant = if told.accepted == 0 {
                Invariant::I2NothingRefusedArrives
            } else {
                Invariant::I3DuplicatesWereInDoubt
            };
            self.violate(invariant, state.clone());
        }
        if copies > 0 && Wish::of(address).forbids(entry.truth) == Some(true) {
            self.violate(Invariant::I2NothingRefusedArrives, state.clone());
        }
        let failed = notices > 0 || (told.accepted == 0 && told.refused > 0);
        if failed && told.misheard == 0 && !entry.may_fail(address) {
            self.violate(
                Invariant::I1NothingIsLost,
                format!("{state}: without cause"),
            );
        }
    }

    /// I6, and that the mail is the one that was sent, as these recipients shall have it.
    fn judge(&mut self, id: &str, entry: &Entry, record: &Record) {
        if let Some(secret) = &entry.secret {
            self.judge_recipients(id, entry, record);
            self.judge_secret(id, entry, secret, record);
            return;
        }
        let stamp = record.stamps.concat();
        let pass = stamp.contains("smime=pass");
        let true_stamp = match entry.truth {
            Truth::Good => pass,
            Truth::Unsure => pass || stamp.contains("smime=temperror"),
            Truth::NotGood => !pass,
            Truth::Changed => true,
        };
        if record.stamps.len() != 1 || !true_stamp {
            let what = format!("{id}: {:?}, stamped {:?}", entry.truth, record.stamps);
            self.violate(Invariant::I6PassIsTrue, what);
        }
        let first = self.judge_recipients(id, entry, record);
        let Some((body, subject)) = &entry.text else {
            return;
        };
        if *body != record.body {
            let what = format!("{id}: another body than was sent");
            self.violate(Invariant::I1NothingIsLost, what);
        }
        if !Wish::of(first).fits(subject, &record.subject, &stamp) {
            let what = format!("{id}, {first}: {subject:?} became {:?}", record.subject);
            self.violate(Invariant::I6PassIsTrue, what);
        }
    }

    /// A copy is for recipients who all get the same one; says the first.
    fn judge_recipients<'r>(&mut self, id: &str, entry: &Entry, record: &'r Record) -> &'r str {
        let first = record.to.first().map(String::as_str).unwrap_or_default();
        for address in &record.to {
            if !entry.to.contains(address) || !entry.is_alike(first, address) {
                let what = format!("{id}: a copy for {:?}, sent to {:?}", record.to, entry.to);
                self.violate(Invariant::I2NothingRefusedArrives, what);
            }
        }
        first
    }

    /// A notification goes to the sender, and is about recipients.
    fn judge_notice(&mut self, id: &str, entry: &Entry, record: &Record) {
        let stray = |address: &String| !entry.to.contains(address);
        let failed = record.notice.iter().flat_map(|notice| &notice.failed);
        if record.to != [entry.from.as_str()] || failed.clone().any(stray) {
            let what = format!("{id}: {:?} for {:?}", record.notice, record.to);
            self.violate(Invariant::I2NothingRefusedArrives, what);
        }
    }

    /// I3 for notifications themselves.
    fn count_notices(&mut self, notices: &ById<'_>, in_doubt: usize) {
        let all = notices.values().flatten();
        let ids: BTreeSet<&str> = all.clone().map(|record| record.id.as_str()).collect();
        let twice = all.count() - ids.len();
        if twice > in_doubt {
            let what = format!("{twice} notifications came again, {in_doubt} were in doubt");
            self.violate(Invariant::I3DuplicatesWereInDoubt, what);
        }
    }

    /// I8.
    fn hear(&mut self, line: &str, answers: &Answers) {
        let general = answers.generalize(line);
        let first = !self.replies.contains_key(&general);
        if first && !answers.knows(line) {
            self.violate(Invariant::I8EveryReplyIsKnown, line.to_owned());
        }
        *self.replies.entry(general).or_default() += 1;
    }
}

/// Whether a notification tells of this recipient.
fn names(record: &Record, address: &str) -> bool {
    let mut failed = record.notice.iter().flat_map(|notice| &notice.failed);
    failed.any(|failed| failed == address)
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} to {} recipients, accepted {}, kept by the sender {}, arrived {}, sender notified {}, \
             lost {}, duplicates {}, in doubt {}, attempts {}, kills {} (and {} of the sink), violations {}",
            self.sent,
            self.deliveries,
            self.accepted,
            self.kept_by_sender,
            self.arrived,
            self.notified,
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
