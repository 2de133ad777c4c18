//! What a server needs to know. All defaults are safe ones; nothing here is read from a file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;

use crate::{Network, spool::Keeping};

/// Gives the configuration for a new session; a reload swaps what it gives.
pub type ConfigSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// A [`ConfigSource`] that always gives the same.
#[must_use]
pub fn fixed(config: ServerConfig) -> ConfigSource {
    let config = Arc::new(config);
    Arc::new(move || Arc::clone(&config))
}

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Our name in the banner, in EHLO and in Received.
    pub hostname: String,
    /// What is spoken with clients.
    pub protocol: Protocol,
    /// Peers that may send XFORWARD.
    pub trusted_peers: Vec<Network>,
    /// Whether these peers give us only mail of clients that proved who they are, and have seen to it that the reverse
    /// path is theirs (RFC 6409 §6.1).
    pub submission: bool,
    /// What to do with a CR or LF that stands alone.
    pub bare_newline: BareNewline,
    /// STARTTLS towards clients, when set (see [`crate::tls::server_config`]).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Where mail goes.
    pub next_hop: NextHop,
    /// Folder for the temporary files of large mail; they never have a name there for long.
    pub temp_dir: PathBuf,
    /// Bounds.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
}

impl ServerConfig {
    pub(crate) fn keeping(&self) -> Keeping {
        Keeping {
            folder: self.temp_dir.clone(),
            memory: self.limits.memory,
        }
    }

    /// Safe defaults for a host and a next hop without TLS.
    #[must_use]
    pub fn new(hostname: &str, next_hop: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            protocol: Protocol::Smtp,
            trusted_peers: Vec::new(),
            submission: false,
            bare_newline: BareNewline::Reject,
            tls: None,
            next_hop: NextHop {
                address: next_hop.to_owned(),
                tls: HopTls::None,
            },
            temp_dir: std::env::temp_dir(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// What is spoken with clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP: one answer to a mail.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): one answer a recipient.
    Lmtp,
}

/// What to do with a CR or LF that is not part of a CRLF, in the data of a mail. Neither ever ends
/// the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewline {
    /// The mail is refused at its dot with `550 5.5.2`.
    #[default]
    Reject,
    /// Each becomes CRLF before anything looks at the mail.
    Normalize,
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub struct NextHop {
    /// `host:port`, resolved at each connection.
    pub address: String,
    /// Whether TLS is used.
    pub tls: HopTls,
}

/// TLS towards the next hop.
#[derive(Clone, Debug)]
pub enum HopTls {
    /// Never.
    None,
    /// When it offers STARTTLS; a handshake that then fails is `451 4.7.0`, never clear text.
    Opportunistic {
        /// See [`crate::tls::opportunistic_client`].
        config: Arc<rustls::ClientConfig>,
        /// The name to ask for.
        name: ServerName<'static>,
    },
    /// Always, with a certificate that proves the name; otherwise `451 4.7.0`, nothing sent.
    Required {
        /// See [`crate::tls::verifying_client`].
        config: Arc<rustls::ClientConfig>,
        /// The name the certificate must have.
        name: ServerName<'static>,
    },
}

/// Bounds on what a client may make us do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a mail.
    pub message_size: u64,
    /// Bytes of a mail up to which it stays in memory.
    pub memory: usize,
    /// Bytes of its header.
    pub header_size: usize,
    /// Fields of its header.
    pub header_fields: usize,
    /// Received fields.
    pub hops: usize,
    /// Recipients of a transaction.
    pub recipients: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address outside [`ServerConfig::trusted_peers`].
    pub connections_per_client: usize,
    /// Commands answered 5xx by ourselves before the session is closed.
    pub errors: usize,
    /// Commands that bring no mail nearer (NOOP, RSET, EHLO, a refused MAIL and the like) since
    /// the last mail before the session is closed.
    pub idle_commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 50 << 20,
            memory: 1 << 20,
            header_size: 1 << 20,
            header_fields: 2000,
            hops: 100,
            recipients: 1000,
            connections: 500,
            connections_per_client: 50,
            errors: 20,
            idle_commands: 100,
        }
    }
}

/// Deadlines.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a client to send its next line, or to make progress in its data.
    pub line: Duration,
    /// For a transaction, from MAIL to the end of data.
    pub transaction: Duration,
    /// For a TLS handshake, either side.
    pub handshake: Duration,
    /// For a connection to the next hop.
    pub connect: Duration,
    /// For the next hop's answer to a command.
    pub command: Duration,
    /// For the next hop's answer to the dot (RFC 5321 §4.5.3.2.6: shorter makes duplicates).
    pub dot: Duration,
    /// For another session to take over a connection to the next hop; zero: none does. Longer than
    /// between two mails of a busy hour, shorter than any server's patience.
    pub parked: Duration,
    /// For running transactions at shutdown.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            line: Duration::from_secs(300),
            transaction: Duration::from_secs(1800),
            handshake: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            command: Duration::from_secs(60),
            dot: Duration::from_secs(590),
            parked: Duration::from_secs(2),
            drain: Duration::from_secs(25),
        }
    }
}
