//! What follows from the verdict on a mail as it came: what is encrypted for people whose keys are here is opened, and then the
//! rules, the stamp and the plan of its protection say what each recipient gets.
//!
//! The same on a thread of the edge and in a worker: who answers, and does what is not done here, is given.

use std::cell::RefCell;

use kenin_pki::address::Address;
use kenin_policy::protect::message_ids;
use kenin_policy::verdict::Verdict;
use kenin_smtp_filter::{Division, Mail, Reply};

use super::confided::{Confider, openable};
use super::{Decided, act, refusal_of};
use crate::clock::Moment;
use crate::config::{Config, WhenGone};
use crate::opening::{Answers, Closed, Job, Office, Opening, Person, State, open};
use crate::pipeline::limit_of;
use crate::protect::{self, Asking, Author, Plan};
use crate::reply;
use crate::snapshot::Snapshot;

/// A mail that is decided on.
#[derive(Clone, Copy)]
pub(crate) struct Matter<'m> {
    pub(crate) mail: &'m Mail,
    pub(crate) snapshot: &'m Snapshot,
    /// Who its author is known to be.
    pub(crate) author: &'m Author,
    pub(crate) now: Moment,
    /// Recipients who have it, by their place.
    pub(crate) had: &'m [usize],
}

/// What follows from this verdict; `judge` is the verdict on a message that was in it.
pub(crate) fn follow(
    matter: Matter<'_>,
    outer: Verdict,
    judge: &dyn Fn(&[u8]) -> Verdict,
    office: &dyn Office,
    asking: &mut Asking<'_>,
) -> Decided {
    let Matter {
        mail,
        snapshot,
        author,
        now,
        had,
    } = matter;
    let limit = limit_of(&outer);
    let plan = protect::plan(mail, snapshot, author, now, had, limit, asking);
    if outer.encryption.is_empty() {
        return act(mail, snapshot, outer, now, had, &plan);
    }
    let keys = |address: &Address| office.keys(address);
    let people = openable(mail, snapshot, &outer, had, keys);
    let opening = match opened(matter, &people, judge, office) {
        Ok(opening) => opening,
        Err(reply) => return refusal_of(outer, reply, None, now.trust),
    };
    let asking = RefCell::new(asking);
    let again = |recipients: &[usize]| -> Plan {
        let asking = &mut **asking.borrow_mut();
        protect::plan_again(mail, recipients, snapshot, now, asking)
    };
    let confider = Confider {
        mail,
        snapshot,
        outer: &outer,
        now,
        had,
        plan: &plan,
        again: &again,
    };
    let mut decided = confider.act(&opening);
    if outer.result.is_none() {
        // All of it is encrypted, in a way that nobody here reads.
        let unread = decided.states.iter_mut();
        unread
            .filter(|state| **state == State::NotRoot)
            .for_each(|state| *state = State::Undecryptable);
    }
    let root = outer.result.is_none() || !opening.named.is_empty();
    let other = match root {
        true => State::NotRecipient,
        false => State::NotRoot,
    };
    // Whoever has no key here is no recipient of it either.
    let others = mail.envelope.rcpt_to.len().saturating_sub(people.len());
    decided.states.extend((others > 0).then_some(other));
    decided.states.sort();
    decided
}

/// What is opened of it, for these people.
///
/// # Errors
/// The reply that leaves it with its client. It says nothing of what is inside.
fn opened(
    matter: Matter<'_>,
    people: &[Person],
    judge: &dyn Fn(&[u8]) -> Verdict,
    office: &dyn Office,
) -> Result<Opening, Reply> {
    if people.is_empty() {
        return Ok(Opening::default());
    }
    let (raw, config) = (&matter.mail.raw, &matter.snapshot.config);
    let name = format!("{}@{}", matter.mail.envelope.id, config.authserv_id);
    let opening = open(&Job {
        raw,
        people,
        answers: &Answers::of(raw),
        limits: &config.engine_limits(),
        receipts: config.decrypt.receipts,
        name: &name,
        // A milter does not hear what its MTA's next hop takes.
        seven_bit: matter.mail.envelope.division == Division::Never
            || matter.mail.envelope.seven_bit_only,
        office,
        judge,
    });
    let opening = opening.and_then(|opening| {
        let names = names(&opening, raw, &name);
        if !opening.used.is_empty() || !names.is_empty() {
            office.opened(&opening.used, &names)?;
        }
        Ok(opening)
    });
    let opening = opening.map_err(|closed| match closed {
        Closed::Memory => reply::busy(),
        Closed::Record => reply::store_gone(),
        Closed::Full => reply::full(),
        Closed::Storage => reply::broken(),
    })?;
    if opening.gone && when_gone(config) == WhenGone::Tempfail {
        return Err(reply::keys_gone());
    }
    Ok(opening)
}

/// What an answer to it names, by digests: the message that its author has seen.
fn names(opening: &Opening, raw: &[u8], name: &str) -> Vec<[u8; 32]> {
    let copies = opening.copies.iter();
    let mut ids: Vec<[u8; 32]> = copies.flat_map(|copy| message_ids(&copy.message)).collect();
    if opening.copies.is_empty() && !opening.named.is_empty() {
        // As much work as where something opened, which has a name in any case.
        ids = message_ids(raw);
        if ids.is_empty() {
            ids = message_ids(format!("Message-ID: <{name}>\r\n\r\n").as_bytes());
        }
    }
    // Copies of one message have one name.
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn when_gone(config: &Config) -> WhenGone {
    let keys = config.keys.as_ref();
    keys.map(|keys| keys.when_gone).unwrap_or_default()
}
