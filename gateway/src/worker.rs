//! Workers: processes that parse mail and decide, and can do nothing else. The edge starts them, one for each mail at
//! a time, and has them work in its stead ([`Pool`]); [`run`] is what they do. Mail whose people have keys is for copies
//! of a process that reads none itself ([`run_template`]), each of which has mail of the same people only.
//!
//! What both ends say to each other is in [`codec`] and [`frame`]; what a worker judges by in [`outfit`].

use std::sync::Arc;

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_keys::protocol::Transaction;
use kenin_keys::{KeyFacts, KeyId};
use kenin_pki::address::Address;
use kenin_policy::Reason;
use kenin_smtp_filter::Envelope;

use crate::clock::Moment;
use crate::protect::Signatory;

mod codec;
mod frame;
pub(crate) mod fuzzed;
mod outfit;
mod pool;
mod serve;

use codec::{Coded, coded};
pub(crate) use pool::{Lost, Pool, Work};
pub(crate) use serve::{run, run_template};

/// A mail, and what is to be done with it. Its octets come behind it, and then, where it may be opened, the descriptor of a
/// connection to the key process, over which this mail's grant is honoured.
struct Job {
    what: What,
    envelope: Arc<Envelope>,
    /// Who its author is known to be.
    author: Option<Address>,
    /// What signs for them, if there is something.
    signatory: Option<Signatory>,
    now: Moment,
    /// Recipients who have it, by their place.
    had: Vec<usize>,
    /// Recipients who have keys, with these.
    keys: Vec<(Address, Vec<Arc<KeyFacts>>)>,
}

impl Job {
    /// Whose keys may work for it, where there is somebody: whoever has it has seen no mail of others, and sees none.
    fn people(&self) -> Option<People> {
        let mut recipients: Vec<Address> = self.keys.iter().map(|(one, _)| one.clone()).collect();
        recipients.sort_unstable();
        let author = self.signatory.as_ref().map(|one| Author {
            key: one.facts.id,
            address: self.author.clone(),
            login: self.envelope.authenticated.clone(),
        });
        let is_anybody = !recipients.is_empty() || author.is_some();
        is_anybody.then_some(People { recipients, author })
    }
}

coded!(Job {
    what,
    envelope,
    author,
    signatory,
    now,
    had,
    keys,
});

/// Whose keys may work for a mail.
#[derive(Debug, PartialEq, Eq)]
struct People {
    /// Recipients who have keys, in order.
    recipients: Vec<Address>,
    author: Option<Author>,
}

/// An author who has a key. Several may have one key, and several logins one mailbox.
#[derive(Debug, PartialEq, Eq)]
struct Author {
    key: KeyId,
    address: Option<Address>,
    /// Who the client has proved to be.
    login: Option<String>,
}

impl Coded for Transaction {
    fn write(&self, out: &mut Writer) {
        out.fixed(self.octets());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.fixed().map(Self::from_octets)
    }
}

/// What is to be done.
enum What {
    /// It is judged, and the rules say what becomes of it.
    Decide,
    /// It is not examined, for this reason; the rules say what becomes of it.
    Stamp(Reason),
    /// The certificate with this fingerprint (hex) is looked for among those that signed it, where the rules want it.
    Find(String),
}

/// Behind a [`Job`]: the octets of the mail.
const HERE: u8 = 0;
/// Behind a [`Job`]: the descriptor of a file with the mail follows.
const IN_A_FILE: u8 = 1;

impl Coded for What {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Decide => {
                out.u8(0);
            }
            Self::Stamp(reason) => {
                out.u8(1);
                reason.write(out);
            }
            Self::Find(sha256) => {
                out.u8(2);
                sha256.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::Decide),
            1 => Coded::read(from).map(Self::Stamp),
            2 => Coded::read(from).map(Self::Find),
            _ => Err(Malformed("unknown work")),
        }
    }
}
