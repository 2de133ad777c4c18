//! SMTP sessions and the relay client: bytes to [`Mail`] and [`Treatment`].
//!
//! A session is a pure state machine: bytes go in, events and bytes come out; sockets, TLS and
//! time live in thin shells around it. MAIL and RCPT pass live to the next hop; the mail is shown
//! to a [`Filter`] at the end of data, and the client's final dot is answered with the next hop's
//! answer. Nothing is queued: what the next hop did not accept stays the sender's, unless the filter
//! says that it keeps it.
//!
//! This crate never looks at what a mail means: it knows nothing of S/MIME, trust or policy. It
//! never re-encodes a body and never answers 250 for mail that neither the next hop accepted nor the
//! filter keeps.
//!
//! Beside SMTP an MTA may show its own mail by milter, and keep it.
//!
//! SMTP: <https://www.rfc-editor.org/rfc/rfc5321>.

pub mod client;
pub mod milter;
pub mod server;
pub mod tls;

mod address;
mod data;
mod dsn;
mod envelope;
mod filter;
mod id;
mod mail;
mod outgoing;
mod path;
mod received;
mod reply;
mod sessions;
mod spool;
mod watch;
mod wire;
mod xforward;
mod xtext;

pub use address::{Network, NetworkError};
pub use envelope::{Body, Division, Envelope, Recipient, XForward};
pub use filter::{
    Confided, Edit, Event, Fate, Filter, Finished, Group, Held, Holding, Recording, Share,
    Treating, Treatment,
};
pub use mail::{Mail, MailBytes};
pub use outgoing::Outgoing;
pub use received::date;
pub use reply::{Enhanced, Reply};
