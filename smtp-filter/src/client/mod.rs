//! The SMTP client: what Kenin is towards the next hop, and what the demo and the tests inject
//! mail with. It never falls back to clear text and never sends before it knows whom it talks to.

mod capabilities;
mod connection;
mod replies;
pub mod session;

pub use crate::path::Sender;
pub use capabilities::Capabilities;
pub use connection::{Connection, DataTrouble};
pub use session::Trouble;

/// How long a client waits, and for what.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the TCP connection.
    pub connect: std::time::Duration,
    /// For a TLS handshake.
    pub handshake: std::time::Duration,
    /// For the answer to a command, and for progress while sending data.
    pub command: std::time::Duration,
    /// For the answer to the dot.
    pub dot: std::time::Duration,
}

impl From<&crate::server::Timeouts> for Patience {
    fn from(timeouts: &crate::server::Timeouts) -> Self {
        Self {
            connect: timeouts.connect,
            handshake: timeouts.handshake,
            command: timeouts.command,
            dot: timeouts.dot,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        (&crate::server::Timeouts::default()).into()
    }
}
