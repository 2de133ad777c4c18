//! The milter server: an MTA shows its mail to the [`Filter`] and is told what to change and whether
//! to take it. The MTA owns the mail all the time; nothing is kept here and nothing is sent on.
//!
//! Protocol version 6, negotiated down to 2; no more is asked of the MTA than is used. It never answers
//! for the filter: what went wrong on our side is a temporary failure.
//!
//! <https://www.postfix.org/MILTER_README.html>.

mod connection;
mod edits;
mod frame;
mod gathering;
mod listener;
pub mod session;
mod telling;
#[cfg(test)]
mod tests;
mod words;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{Event, Filter, Network, server::Limits, sessions::Sessions};
use connection::Connection;
pub use listener::Listener;

/// Gives the configuration for a new session; a reload swaps what it gives.
pub type MilterSource = Arc<dyn Fn() -> Arc<MilterConfig> + Send + Sync>;

/// The settings of one milter listener.
#[derive(Clone, Debug)]
pub struct MilterConfig {
    /// Folder for the temporary files of large mail; they never have a name there for long.
    pub temp_dir: PathBuf,
    /// What may be needed beside changes of the header.
    pub wants: Wants,
    /// MTAs that are believed when they say who a client proved to be. Over a UNIX socket comes who may open it.
    pub trusted_peers: Vec<Network>,
    /// Bounds. Those of hops, errors and clients are the MTA's own business.
    pub limits: Limits,
    /// For an MTA to say its next word: longer than any SMTP client may be silent.
    pub idle: Duration,
    /// How often an MTA that waits for an answer is told to go on waiting.
    pub progress: Duration,
    /// For mail under way at shutdown.
    pub drain: Duration,
}

/// What an MTA is asked to let us do with mail, beside changing its header. Where it does not, a mail that
/// needs it is answered `451 4.3.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Replacing the body ([`crate::Edit::Body`]).
    pub body: bool,
    /// Having it held ([`crate::Treatment::Quarantine`]).
    pub quarantine: bool,
    /// Giving it another reverse path ([`crate::Edit::ReturnPath`]).
    pub sender: bool,
}

impl Wants {
    fn actions(self) -> u32 {
        let or_none = |wanted: bool, action: u32| if wanted { action } else { 0 };
        or_none(self.body, words::action::BODY)
            | or_none(self.quarantine, words::action::QUARANTINE)
            | or_none(self.sender, words::action::SENDER)
    }
}

impl MilterConfig {
    /// Whether this peer is believed.
    fn trusts(&self, peer: std::net::SocketAddr) -> bool {
        let mut trusted = self.trusted_peers.iter();
        peer == session::NOBODY || trusted.any(|network| network.contains(peer.ip()))
    }
}

impl Default for MilterConfig {
    fn default() -> Self {
        Self {
            temp_dir: std::env::temp_dir(),
            wants: Wants::default(),
            trusted_peers: Vec::new(),
            limits: Limits::default(),
            idle: Duration::from_secs(1800),
            progress: Duration::from_secs(5),
            drain: Duration::from_secs(25),
        }
    }
}

/// Serves milter sessions on `listener` until `shutdown` becomes true, then lets the mails under way
/// come to their end.
///
/// # Errors
///
/// When the listener cannot be used at all.
pub async fn serve(
    listener: Listener,
    config: MilterSource,
    filter: Arc<dyn Filter>,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut sessions = Sessions::new(shutdown.clone());
    while let Some((stream, peer)) = sessions.accept(|| listener.accept()).await {
        let settings = config();
        if sessions.len() >= settings.limits.connections {
            // The MTA then does what its own configuration says for a milter that is not there.
            filter.on_event(&Event::TurnedAway { client: peer });
            continue;
        }
        let filter = Arc::clone(&filter);
        let connection = Connection::new(
            stream,
            peer,
            settings,
            Arc::clone(&filter),
            shutdown.clone(),
        );
        sessions.spawn(async move {
            filter.on_event(&Event::Opened { client: peer });
            let _closed = Closed(Arc::clone(&filter), peer);
            connection.run().await;
        });
    }
    drop(listener);
    sessions.drain(config().drain).await;
    Ok(())
}

/// Tells the filter of a session's end, also when it is cut.
struct Closed(Arc<dyn Filter>, std::net::SocketAddr);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.on_event(&Event::Closed { client: self.1 });
    }
}
