//! Opens encrypted mail for the people whose keys are here, and keeps quiet about what came of it.
//!
//! Synchronous, and without sockets, stores or a clock: those are an [`Office`]'s. A key works for the
//! recipient of the envelope that it belongs to, and for nobody else; there is no trying of keys. What does not open stays
//! as it came, byte for byte, and nobody outside can tell why, or that it did not.

mod answers;
mod digests;
mod layers;
mod memory;
mod message;
mod named;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use kenin_keys::{Granted, KeyFacts, KeyId, NoKey};
use kenin_pki::address::Address;
use kenin_policy::verdict::Verdict;
use kenin_policy::{OpeningRule, Vouched};
use kenin_smime::Limits;
use kenin_smtp_filter::MailBytes;
use tracing::warn;

pub(crate) use answers::Answers;
pub(crate) use layers::MAX_OTHERS;
pub(crate) use memory::{Memory, NoRoom, Plain, Room, lodged};
pub(crate) use message::wishes;

use crate::config::Receipts;
use layers::{Found, Walk};
use message::Making;

/// What became of a mail's encryption for one recipient (verdicts.md). It is recorded; outside all but the first are one
/// word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// It was opened.
    Opened,
    /// A part is encrypted, and the mail is not.
    NotRoot,
    /// No key that is here and theirs is named.
    NotRecipient,
    /// It does not open, or what is inside cannot be delivered.
    Undecryptable,
    /// It came before, in another mail.
    Replayed,
    /// Too much from the client's network did not open.
    Throttled,
}

impl State {
    /// A stable word for the log and a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::NotRoot => "not-root",
            Self::NotRecipient => "not-recipient",
            Self::Undecryptable => "undecryptable",
            Self::Replayed => "replayed-ciphertext",
            Self::Throttled => "throttled",
        }
    }
}

/// A recipient who has keys here, and whose mail may be opened.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The place in the envelope.
    pub(crate) place: usize,
    pub(crate) address: Address,
    /// Their keys that open mail.
    pub(crate) keys: Vec<Arc<KeyFacts>>,
    pub(crate) rule: OpeningRule,
}

/// A mail that is to be opened.
pub(crate) struct Job<'j> {
    /// As it came.
    pub(crate) raw: &'j [u8],
    pub(crate) people: &'j [Person],
    /// Whom an answer to it goes to.
    pub(crate) answers: &'j Answers,
    pub(crate) limits: &'j Limits,
    pub(crate) receipts: Receipts,
    /// What a message is called that has no name by which an answer to it is known.
    pub(crate) name: &'j str,
    /// Whether what is inside should rather be of octets below 128.
    pub(crate) seven_bit: bool,
    pub(crate) office: &'j dyn Office,
    /// The verdict on what was opened.
    pub(crate) judge: &'j dyn Fn(&[u8]) -> Verdict,
}

/// What is done elsewhere for a mail that is opened: by the key process, the store, and whoever counts the memory.
pub(crate) trait Office {
    /// The keys of a recipient.
    fn keys(&self, recipient: &Address) -> Vec<Arc<KeyFacts>>;

    /// What the keys of the mail's recipients do for it.
    fn granted(&self) -> Result<Box<dyn Granted + '_>, NoKey>;

    /// Lets a layer in that names a key of somebody's, before any key works: from then on nobody outside is to hear what is
    /// done with the mail. Then there is room for it, or it ends there; and then it is remembered, all of it at once.
    fn admit(&self, arrival: &Arrival) -> Result<Admission, Closed>;

    /// Room for so many octets more; `wait` says whether it may be waited for.
    fn room(&self, octets: usize, wait: bool) -> Result<Room, NoRoom>;

    /// These uses of keys were no guesses, whatever becomes of the rest. And remembers what the messages are called that answers
    /// to the mail name, by the digests of their Message-IDs.
    fn opened(&self, used: &[(Address, KeyId)], message_ids: &[[u8; 32]]) -> Result<(), Closed>;
}

/// A layer that names a key of somebody's.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// What the mail is called, by the digests of its Message-IDs. None for a layer within another.
    pub(crate) message_ids: Vec<[u8; 32]>,
    /// SHA-256 of its encrypted content, and of what is wrapped for each person whose key would be asked, and for some others.
    pub(crate) digests: Vec<[u8; 32]>,
    /// Whom an answer to the mail goes to.
    pub(crate) answers: Answers,
    /// How many octets there has to be room for, if any.
    pub(crate) octets: Option<usize>,
    /// Whether that may be waited for.
    pub(crate) wait: bool,
    /// Whether a key is to work for it next ([`Office::granted`]).
    pub(crate) grant: bool,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is remembered.
    Granted {
        /// What it wanted.
        room: Option<Room>,
        /// For each of its digests, whom an answer to the first mail with that went to ([`Answers::digest`]).
        firsts: Vec<Vec<u8>>,
    },
    /// Nothing of it is remembered.
    NoRoom(NoRoom),
}

/// Why a mail cannot be opened now; another try may do it. It says nothing of what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Others have all memory.
    Memory,
    /// What came before is not known.
    Record,
    /// There is no room for it where it would be held.
    Full,
    /// Nothing can be held.
    Storage,
}

/// What was opened of a mail.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) copies: Vec<OpenedCopy>,
    /// Recipients, by their place, of whom the mail names a key that is here: what became of it for them is told to
    /// nobody.
    pub(crate) named: Vec<usize>,
    /// Those of them for whom it stays closed whatever is inside: their key opens no such layer, is not at hand, or was not
    /// granted.
    pub(crate) apart: Vec<usize>,
    /// Of each person, with their place.
    pub(crate) states: Vec<(usize, State)>,
    /// Uses of keys that were no guesses.
    pub(crate) used: Vec<(Address, KeyId)>,
    /// A key that was needed did not answer.
    pub(crate) gone: bool,
}

/// A message that was opened, for those who may have it.
#[derive(Debug)]
pub(crate) struct OpenedCopy {
    /// Their places.
    pub(crate) recipients: Vec<usize>,
    pub(crate) message: MailBytes,
    pub(crate) verdict: Verdict,
    /// Whether it is encrypted again before they get it.
    pub(crate) again: bool,
    /// The memory that it takes.
    pub(crate) room: Option<Arc<Room>>,
}

/// Opens it for each of the people, as far as their keys and their rules go. Where it is closed after all, what did open
/// has been told to the office.
pub(crate) fn open(job: &Job<'_>) -> Result<Opening, Closed> {
    let mut walk = Walk::new(job).run()?;
    let making = Making {
        raw: job.raw,
        limits: job.limits,
        receipts: job.receipts,
        name: job.name,
        seven_bit: job.seven_bit,
        judge: job.judge,
    };
    let mut copies = Vec::new();
    for found in std::mem::take(&mut walk.found) {
        copies.extend(copies_of(job, &mut walk, &making, found));
    }
    let place = |at: usize| job.people.get(at).map(|person| person.place);
    let places = |flags: &[bool]| -> Vec<usize> {
        let flags = flags.iter().enumerate();
        let places = flags.filter_map(|(at, flag)| flag.then(|| place(at)).flatten());
        places.collect()
    };
    let states = walk.states.iter().enumerate();
    let states = states.filter_map(|(at, state)| Some((place(at)?, *state)));
    Ok(Opening {
        copies,
        named: places(&walk.named),
        apart: places(&walk.apart),
        states: states.collect(),
        used: walk.used,
        gone: walk.gone,
    })
}

/// The copies with this content: one that goes on as it is, and one that is encrypted again, for whom may have it.
fn copies_of(
    job: &Job<'_>,
    walk: &mut Walk<'_>,
    making: &Making<'_>,
    found: Found,
) -> Vec<OpenedCopy> {
    let mut made = making.message(found.entity.expose());
    match &mut made {
        Some((_, verdict)) => drop(verdict.encryption.splice(0..0, found.layers)),
        None => warn!("what was opened cannot be sent on; the mail stays encrypted"),
    }
    let closed = |rule: &OpeningRule| match &made {
        None => true,
        Some((_, verdict)) => {
            rule.require_integrity && Vouched::of(verdict) == Some(Vouched::Nobody)
        }
    };
    let (mut plainly, mut again) = (Vec::new(), Vec::new());
    for at in found.people {
        let Some(person) = job.people.get(at) else {
            continue;
        };
        if !closed(&person.rule) {
            match person.rule.reencrypt {
                true => again.push(person.place),
                false => plainly.push(person.place),
            }
        } else if let Some(state) = walk.states.get_mut(at) {
            *state = State::Undecryptable;
        }
    }
    let Some((whole, verdict)) = made else {
        return Vec::new();
    };
    let room = walk.room.clone();
    let message = MailBytes::from(Plain::new(whole, room.clone()));
    let copies = [(plainly, false), (again, true)].into_iter();
    let copies = copies.filter(|(recipients, _)| !recipients.is_empty());
    let copies = copies.map(|(recipients, again)| OpenedCopy {
        recipients,
        message: message.clone(),
        verdict: verdict.clone(),
        again,
        room: room.clone(),
    });
    copies.collect()
}
