//! The seam between the SMTP front end and whoever decides what becomes of a mail. Nothing here
//! knows why a decision is made.

use std::{
    future::{Future, ready},
    net::SocketAddr,
    ops::Range,
    pin::Pin,
    sync::Arc,
    time::SystemTime,
};

use crate::{Envelope, Mail, MailBytes, Outgoing, Reply};

/// Decides what becomes of each mail.
pub trait Filter: Send + Sync + 'static {
    /// Looks at a mail at its end of data. It has no deadline of its own here: the filter keeps
    /// its own budget. A panic is answered `451 4.3.0 Processing aborted, try again later` and
    /// the session lives.
    fn treat(&self, mail: Mail) -> Treating<'_>;

    /// The wall clock, for Received fields and transaction ids.
    fn now(&self) -> SystemTime;

    /// These recipients (by their place in the envelope) have the mail, and its client is about to be
    /// told to try again. Until this is done it is not told, so that the filter can keep it and give
    /// [`Share::Had`] for them next time; a filter that does not makes them get the mail twice.
    fn delivered(&self, mail: Mail, recipients: Vec<usize>) -> Recording<'_> {
        let _ = (mail, recipients);
        Box::pin(ready(()))
    }

    /// Keeps a copy of a mail in the next hop's stead. It is done only once a power cut would not lose the copy:
    /// its client is then told that the mail was accepted. An error is the reply that leaves the mail with the
    /// client; one that is not 4xx becomes `451 4.3.0`. A filter that keeps nothing has nothing to do.
    fn hold(&self, held: Held) -> Holding<'_> {
        tracing::error!(id = %held.envelope.id, "there is nothing here that could hold mail");
        Box::pin(ready(Err(Reply::aborted())))
    }

    /// Told of what happens in sessions, for logs and metrics. It must not block.
    fn on_event(&self, event: &Event<'_>) {
        let _ = event;
    }
}

/// The future of [`Filter::treat`].
pub type Treating<'a> = Pin<Box<dyn Future<Output = Treatment> + Send + 'a>>;

/// The future of [`Filter::delivered`].
pub type Recording<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The future of [`Filter::hold`].
pub type Holding<'a> = Pin<Box<dyn Future<Output = Result<(), Reply>> + Send + 'a>>;

/// A copy of a mail that is kept, and not sent on.
#[derive(Debug)]
pub struct Held {
    /// The mail's envelope.
    pub envelope: Arc<Envelope>,
    /// For whom the copy is, by their places in the envelope.
    pub recipients: Vec<usize>,
    /// Who may be told of what becomes of it where it is sent on after all: the envelope's sender; for a confided
    /// copy its return path, and where it has none, nobody.
    pub sender: String,
    /// The copy as it would have been sent.
    pub content: Outgoing,
    /// Why, as the filter said: one line of printable ASCII.
    pub reason: String,
    /// What the next hop answered to it, where that is why: it is a confided copy then, and its sender hears that it was
    /// accepted, and nothing of this. So somebody else is to be told.
    pub refusal: Option<Reply>,
}

/// What to do with a mail.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// Send it on with these edits; the client gets the next hop's answer.
    Relay(Vec<Edit>),
    /// Abort the next hop's transaction and answer this. A reply that is not 4xx or 5xx becomes
    /// `451 4.3.0`, because mail that was not relayed must stay the sender's.
    Refuse(Reply),
    /// It is taken with these edits, and held until somebody has looked at it: by the MTA where it comes by
    /// milter, elsewhere by the filter itself ([`Filter::hold`]).
    Quarantine {
        /// What is changed.
        edits: Vec<Edit>,
        /// Why, for the MTA's log or whoever looks at it: one line of printable ASCII.
        reason: String,
    },
    /// Recipients are treated differently: each stands in exactly one group. Only where the mail can
    /// be divided ([`crate::Envelope::division`]).
    Divide(Vec<Group>),
}

impl Treatment {
    /// Whether it is a milter's answer for a mail that may have been opened, which goes on with a reverse path of ours. Its MTA
    /// hears what is changed at once, and that it may go on at a whole period, as the client of a [`Confided`] copy does.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let Self::Relay(edits) = self else {
            return false;
        };
        edits.iter().any(|edit| matches!(edit, Edit::ReturnPath(_)))
    }
}

/// Recipients that are treated alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their places in the envelope.
    pub recipients: Vec<usize>,
    /// What becomes of the mail for them.
    pub share: Share,
}

/// What becomes of a mail for some of its recipients.
#[derive(Clone, Debug)]
pub enum Share {
    /// They get it with these edits.
    Relay(Vec<Edit>),
    /// They do not get it, and its sender is told so: by the answer, or where others get it and there
    /// is only one answer, by a notification.
    Refuse(Reply),
    /// They got it at an earlier try.
    Had,
    /// The filter keeps their copy ([`Filter::hold`]).
    Hold {
        /// What is changed.
        edits: Vec<Edit>,
        /// Why: one line of printable ASCII.
        reason: String,
    },
    /// They get it, and what the next hop thinks of it is told to nobody outside.
    Confide(Confided),
}

/// A copy whose content its sender may not have seen: what became of it would tell of the content.
///
/// What the next hop says to MAIL and RCPT is passed on, as it says nothing of the content. Its answer to the content
/// is not: accepted is one constant reply; refused for now, or lost, another; and what is refused for good is held
/// ([`Filter::hold`]) and told as accepted; where it cannot be held, as refused for now. The client is answered at a
/// multiple of 50 ms after its dot, and of a mail over 1M, of as many more as it has begun of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confided {
    /// The mail that goes on in the place of the one that came: whole lines with CRLF. Its octets above 127 need nobody's
    /// word before; where the next hop does not take them, it is as if it refused the content.
    pub content: Option<MailBytes>,
    /// What is changed: of the content, where there is one.
    pub edits: Vec<Edit>,
    /// Who is told by others of what becomes of it, in the place of the sender; an empty one is nobody. Without one
    /// the sender stays, and the next hop is asked to tell nothing (NOTIFY=NEVER).
    pub return_path: Option<String>,
    /// What is said of the copy where it has to be held: one line of printable ASCII.
    pub reason: String,
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
    /// These bytes, whose line ends are folds, go before this place inside a line. Several at one place
    /// are written in their order.
    Insert(usize, Vec<u8>),
    /// The body, which begins at this place behind the empty line, is replaced by these bytes: whole lines
    /// with CRLF, in ASCII unless the mail is not or an MTA has it (milter). At most one. Where the mail is a header
    /// without an empty line, the place is its end, and the bytes begin with that line.
    Body(usize, MailBytes),
    /// An MTA that shows its mail (milter) sends it on with this reverse path, without its angle brackets; empty is the
    /// null sender. At most one. Elsewhere it changes nothing: there [`Confided::return_path`] does it.
    ReturnPath(String),
}

impl Edit {
    /// The same edit of the bytes that begin at this place.
    pub(crate) fn moved(self, start: usize) -> Self {
        match self {
            Self::Prepend(bytes) => Self::Prepend(bytes),
            Self::Remove(range) => {
                Self::Remove(range.start.saturating_sub(start)..range.end.saturating_sub(start))
            }
            Self::Insert(at, bytes) => Self::Insert(at.saturating_sub(start), bytes),
            Self::Body(at, bytes) => Self::Body(at.saturating_sub(start), bytes),
            Self::ReturnPath(path) => Self::ReturnPath(path),
        }
    }
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
    /// The filter keeps it.
    Held,
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
            Self::Held => "held",
            Self::Divided => "divided",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_with_a_reverse_path_of_ours_is_timed_whether_it_was_opened_or_not() {
        let path = || Edit::ReturnPath(String::new());
        let body = || Edit::Body(0, MailBytes::from(b"opened\r\n".to_vec()));
        assert!(Treatment::Relay(vec![path()]).is_timed());
        assert!(Treatment::Relay(vec![body(), path()]).is_timed());
        assert!(!Treatment::Relay(vec![body()]).is_timed());
        assert!(!Treatment::Refuse(Reply::aborted()).is_timed());
    }
}
