//! The seam between the SMTP front end and whoever decides what becomes of a mail. Nothing here
//! knows why a decision is made.

use std::{future::Future, net::SocketAddr, ops::Range, pin::Pin, time::SystemTime};

use crate::{Mail, Reply};

/// Decides what becomes of each mail.
pub trait Filter: Send + Sync + 'static {
    /// Looks at a mail at its end of data. It has no deadline of its own here: the filter keeps
    /// its own budget. A panic is answered `451 4.3.0 Processing aborted, try again later` and
    /// the session lives.
    fn treat(&self, mail: Mail) -> Treating<'_>;

    /// The wall clock, for Received fields and transaction ids.
    fn now(&self) -> SystemTime;

    /// Told of what happens in sessions, for logs and metrics. It must not block.
    fn on_event(&self, event: &Event<'_>) {
        let _ = event;
    }
}

/// The future of [`Filter::treat`].
pub type Treating<'a> = Pin<Box<dyn Future<Output = Treatment> + Send + 'a>>;

/// What to do with a mail.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// Send it on with these edits; the client gets the next hop's answer.
    Relay(Vec<Edit>),
    /// Abort the next hop's transaction and answer this. A reply that is not 4xx or 5xx becomes
    /// `451 4.3.0`, because mail that was not relayed must stay the sender's.
    Refuse(Reply),
    /// Recipients are treated differently. Only where each of them is answered
    /// ([`crate::Envelope::each_answered`]); elsewhere all are refused as the first that is.
    Divide {
        /// For the recipients that get the mail.
        edits: Vec<Edit>,
        /// One for each recipient of the envelope, in their order; none: it gets the mail.
        refused: Vec<Option<Reply>>,
    },
}

/// One change to a mail on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// These bytes (whole header fields with CRLF) go above everything, our Received field
    /// included. Several are written in their order.
    Prepend(Vec<u8>),
    /// These bytes of the mail are left out. Ranges may come in any order and overlap; what lies
    /// outside the mail is ignored.
    Remove(Range<usize>),
}

/// Something that happened in a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client connected.
    Opened {
        /// Its address.
        client: SocketAddr,
    },
    /// A client was turned away by a connection limit.
    TurnedAway {
        /// Its address.
        client: SocketAddr,
    },
    /// A transaction that reached its end of data is over: one log line a mail.
    Finished(&'a Finished),
    /// A session is over.
    Closed {
        /// Its address.
        client: SocketAddr,
    },
}

/// How a mail ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The id of its envelope.
    pub id: String,
    /// What became of it.
    pub fate: Fate,
    /// What the client was answered.
    pub reply: Reply,
    /// Bytes of the mail as received.
    pub size: u64,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next hop accepted it.
    Relayed,
    /// The MTA that showed it has it, with the filter's edits.
    Returned,
    /// The next hop refused it or could not be used; nothing was delivered.
    NextHopRefused,
    /// The next hop was lost after our dot: it may or may not have the mail.
    InDoubt,
    /// The filter refused it.
    Refused,
    /// Some recipients have it, some do not.
    Divided,
    /// The session refused it before the filter saw it: size, line ends, loops, storage.
    Rejected,
    /// The filter panicked.
    Aborted,
}

impl Fate {
    /// A stable word for logs and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Returned => "returned",
            Self::NextHopRefused => "next-hop-refused",
            Self::InDoubt => "in-doubt",
            Self::Refused => "refused",
            Self::Divided => "divided",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
        }
    }
}
