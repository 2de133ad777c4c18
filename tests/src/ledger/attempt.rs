//! One attempt to hand a mail over, and what each recipient's answer says.

use std::collections::BTreeMap;

use crate::client::{Reply, Silence};

/// One attempt to hand a mail over.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Try {
    /// Whether the final dot was sent (to our own system at least).
    pub dot: bool,
    /// The reply to the dot, or to the command that ended the attempt; where recipients are answered
    /// one by one, the first that is no 2xx, or the last.
    pub answer: Result<Reply, Silence>,
    /// The answer for each recipient of the attempt, by address.
    pub each: BTreeMap<String, Result<Reply, Silence>>,
    /// Whether each recipient has an answer of its own (LMTP).
    pub one_by_one: bool,
    /// Every reply of the attempt, those too.
    pub heard: Vec<Reply>,
}

impl Try {
    /// The mail was taken over, for all recipients.
    pub fn is_accepted(&self) -> bool {
        self.dot && matches!(&self.answer, Ok(reply) if reply.code / 100 == 2)
    }

    /// It stays the sender's for good, for one recipient at least.
    pub fn is_refused(&self) -> bool {
        matches!(&self.answer, Ok(reply) if reply.code / 100 == 5)
    }

    /// The recipients of whom the last word is not said.
    pub fn open(&self) -> Vec<String> {
        let open = |answer: &Result<Reply, Silence>| match answer {
            Ok(reply) => !matches!(reply.code / 100, 2 | 5),
            Err(_) => true,
        };
        let each = self.each.iter().filter(|(_, answer)| open(answer));
        each.map(|(address, _)| address.clone()).collect()
    }

    /// What it means for a recipient; nothing for one who was not among its recipients.
    pub fn tell(&self, address: &str) -> Option<Told> {
        let answer = self.each.get(address)?;
        let (code, text) = match answer {
            Ok(reply) => (reply.code, reply.text()),
            Err(_) => (0, String::new()),
        };
        let said_in_doubt = self.dot && says_in_doubt(&text);
        Some(Told {
            accepted: usize::from(self.dot && code / 100 == 2),
            // Nobody can know on this side: the dot was sent, and no answer came, or one that says
            // just this.
            in_doubt: usize::from(said_in_doubt || (self.dot && answer.is_err())),
            said_in_doubt: usize::from(said_in_doubt),
            partly: usize::from(self.dot && !self.one_by_one && says_partly(&text)),
            hushed: usize::from(self.dot && text == HUSHED),
            refused: usize::from(code / 100 == 5),
            misheard: 0,
        })
    }
}

/// How often what was told of a recipient's mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It was taken over.
    pub accepted: usize,
    /// Nobody can know.
    pub in_doubt: usize,
    /// The same, in so many words: the next hop was lost at the dot.
    pub said_in_doubt: usize,
    /// To be tried again, in words that may mean that others have it already.
    pub partly: usize,
    /// To be tried again, in the words that hide what the next hop said of mail to decrypt: also where it was lost at the
    /// dot.
    pub hushed: usize,
    /// It stays the sender's for good.
    pub refused: usize,
    /// The MTA beside Kenin gave its client, who gave up, an answer that was not to the dot.
    pub misheard: usize,
}

impl std::ops::AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.in_doubt += other.in_doubt;
        self.said_in_doubt += other.said_in_doubt;
        self.partly += other.partly;
        self.hushed += other.hushed;
        self.refused += other.refused;
        self.misheard += other.misheard;
    }
}

/// failures.md, "next hop 4xx at the dot" of mail to decrypt.
const HUSHED: &str = "451 4.3.0 Try again later";

/// Whether a reply says that the next hop was lost at the dot.
pub(super) fn says_in_doubt(text: &str) -> bool {
    text.contains("4.4.2 Connection lost after end of data")
}

/// Whether a reply to one of several groups' mail leaves open that another group has it: it tells of
/// the next hop, and not of what Kenin itself could not do before anything was sent.
pub(super) fn says_partly(text: &str) -> bool {
    text.starts_with('4')
        && ["4.4.1 ", "4.4.2 ", "next hop said: "]
            .iter()
            .any(|part| text.contains(part))
}
