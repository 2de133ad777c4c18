//! `kenin.toml`: the deployment's settings, from one file or several laid over each other.
//!
//! Unknown keys are errors. What is trusted stands in `trust.toml`, what is done with mail in
//! `mail.toml`, both beside the first file; this module only says where they are.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kenin_smtp_filter::Network;
use serde::Deserialize;

mod caps;
mod coherence;
mod decrypt;
mod error;
mod keys;
mod quarantine;
mod raw;
mod senders;
mod services;
mod source;
mod store;
mod tokens;
mod value;
mod workers;

use raw::{Raw, RawListener, RawTls};
use source::Source;

pub(crate) use caps::{Cap, Caps};
pub use decrypt::{Decrypt, Receipts};
pub use error::{ConfigError, Place};
pub use keys::{Keys, KeysError, SecretAt, TokenKeyAt, WhenGone};
pub use quarantine::{KeyAt, Notify, Quarantine};
pub use senders::Senders;
pub use services::{Cache, Directory};
pub use store::{StoreAt, StoreServer};
pub use tokens::{PinAt, Token};
pub(crate) use value::HostName;
use workers::MAX_KEEP;
pub use workers::Workers;

/// All settings, with defaults filled in and paths made absolute.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the first file: `trust.toml` and `mail.toml` stand here, and relative paths
    /// begin here.
    pub dir: PathBuf,
    /// `hostname`: this host's name, in greetings and `Received`. Required.
    pub hostname: String,
    /// `authserv_id`: Kenin's own name in `Authentication-Results`. Default `smime.<hostname>`.
    pub authserv_id: String,
    /// `site_authserv_ids`: names of other filters here, whose `smime=` claims are removed.
    pub site_authserv_ids: Vec<String>,
    /// `state_dir`: where the store lives. Default `/var/lib/kenin`.
    pub state_dir: PathBuf,
    /// `[[listener]]`: where mail comes in. At least one.
    pub listeners: Vec<Listener>,
    /// `[next_hop]`: where mail goes on to. Required unless every listener is a milter.
    pub next_hop: Option<NextHop>,
    /// `[http] address`: health, metrics and keys. Without it there is no such listener.
    pub http: Option<SocketAddr>,
    /// `[stamp] key`: the Ed25519 key of `X-Kenin-Verdict`. Without it that field is not written.
    pub stamp_key: Option<PathBuf>,
    /// `[arc]`: seals mail that is changed. Without it there are no seals.
    pub arc: Option<Arc>,
    /// `[wrap]`: what signs mail of our own around others'. Without it no mail is wrapped.
    pub wrap: Option<Wrap>,
    /// `[dns] servers`: who is asked for keys and policies of senders' domains. Default: the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// `[store]`.
    pub store: StoreAt,
    /// `[[directory]]`: who is asked for certificates of an address, besides the store.
    pub directories: Vec<Directory>,
    /// `[cache]`: keeps what others answered for a while. Without it they are asked each time.
    pub cache: Option<Cache>,
    /// `[keys]`: where private keys of people lie. Without it there are none.
    pub keys: Option<Keys>,
    /// `[workers]`: who parses mail.
    pub workers: Workers,
    /// `[quarantine]`: mail that the gateway holds itself. Without it there is none.
    pub quarantine: Option<Quarantine>,
    /// `[senders]`: which mailboxes belong to whom.
    pub senders: Senders,
    /// `[decrypt]`: how mail that was opened passes.
    pub decrypt: Decrypt,
    /// `[limits]`.
    pub limits: Limits,
    /// `[caps]`: what one message may hold or cost.
    pub(crate) caps: Caps,
    /// `[log]`.
    pub log: Log,
    asked: Vec<PathBuf>,
    sources: Vec<Source>,
}

/// A listener for mail.
#[derive(Debug, Clone)]
pub struct Listener {
    /// `address`: where to listen.
    pub address: ListenAddress,
    /// `mode`: the place in the mail's way.
    pub mode: ListenerMode,
    /// `socket_mode`: permissions of a UNIX socket. Default 0660.
    pub socket_mode: u32,
    /// `trusted_peers`: who may send XFORWARD, or say who a client proved to be. Default: loopback.
    pub trusted_peers: Vec<Network>,
    /// `submission`: trusted peers give only mail whose reverse path is proven. Default `false`.
    pub submission: bool,
    /// `bare_newline`: what to do with a CR or LF alone. Default `reject`.
    pub bare_newline: BareNewline,
    /// `tls`: offers STARTTLS with this certificate.
    pub tls: Option<Tls>,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address and port.
    Tcp(SocketAddr),
    /// The path of a UNIX socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The certificate of a listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Chain in PEM, own certificate first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1 in PEM.
    pub key: PathBuf,
}

/// In whose name changed mail is sealed (RFC 8617).
#[derive(Debug, Clone)]
pub struct Arc {
    /// `domain`: the `d=` of the seals.
    pub domain: String,
    /// `selector`: their `s=`; the public key is at `<selector>._domainkey.<domain>`.
    pub selector: String,
    /// `key`: an RSA private key of 2048 bits or more, PKCS#8 or PKCS#1 in PEM.
    pub key: PathBuf,
}

/// What signs the messages that mail is wrapped in.
#[derive(Debug, Clone)]
pub struct Wrap {
    /// `certificate`: a certificate for mail in PEM, with the chain that goes along behind it.
    pub certificate: PathBuf,
    /// `key`: its private key, PKCS#8, PKCS#1 or SEC1 in PEM.
    pub key: PathBuf,
    /// `name`: what the service is called in From and in the statement. Default `Kenin`.
    pub name: String,
}

/// Where mail goes on to.
#[derive(Debug, Clone)]
pub struct NextHop {
    /// `address`: `host:port`; a name is resolved at each connection.
    pub address: String,
    /// `tls`. Default `none`.
    pub tls: TlsLevel,
    /// `ca`: PEM of the authorities that its certificate may come from; needed for `required`.
    pub ca: Option<PathBuf>,
    /// `name`: the name that its certificate must hold; needed for `required`.
    pub name: Option<String>,
}

/// Bounds of the service as a whole.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `message_size`: the largest message taken. Default 50M.
    pub message_size: u64,
    /// `connections`: sessions at once. Default 500.
    pub connections: usize,
    /// `connections_per_client`: sessions at once from one address that is no trusted peer. Default 50.
    pub connections_per_client: usize,
    /// `messages`: messages judged or waiting for it at once. Default 64.
    pub messages: usize,
    /// `deadline`: our own work on one message, at most 60s. Default 20s.
    pub deadline: Duration,
}

/// The log, always on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `format`. Default `pretty`.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug`, or a filter as `info,kenin=debug`. Default `info`.
    pub level: String,
    /// `addresses`. Default `full`.
    pub addresses: LogAddresses,
}

/// The place of a listener in the mail's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerMode {
    /// `smtpd_proxy_filter`: before the MTA's queue.
    BeforeQueue,
    /// `content_filter`: after the MTA's queue.
    AfterQueue,
    /// `smtpd_milters`: beside the MTA, which keeps the mail.
    Milter,
    /// LMTP, after a queue: each recipient is answered.
    Lmtp,
}

/// What happens to a message with a CR or LF that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// It is refused.
    Reject,
    /// It becomes CRLF before anything looks at the message.
    Normalize,
}

/// How mail travels to the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsLevel {
    /// In clear.
    None,
    /// With STARTTLS where it is offered, whoever answers.
    Opportunistic,
    /// Only with STARTTLS and a certificate that proves `name`.
    Required,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Logfmt => "logfmt",
            Self::Json => "json",
        }
    }
}

/// Whether mail addresses stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogAddresses {
    /// As they are.
    Full,
    /// Only their domains.
    Domain,
}

impl Config {
    /// The file used when none is named: `$KENIN_CONFIG`, else `/etc/kenin/kenin.toml`.
    pub fn default_path() -> PathBuf {
        std::env::var_os("KENIN_CONFIG").map_or_else(|| DEFAULT_FILE.into(), PathBuf::from)
    }

    /// Reads the files and lays later ones over earlier ones. Without any: the default path, and
    /// `conf.d/*.toml` beside it in the order of their names.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut files = paths.to_vec();
        if files.is_empty() {
            let main = Self::default_path();
            files.extend(source::fragments(&main));
            files.insert(0, main);
        }
        let read = |path: &PathBuf| match std::fs::read_to_string(path) {
            Ok(text) => Ok(Source {
                path: path.clone(),
                text,
            }),
            Err(error) => {
                let mistake = ConfigError::new(path, error.to_string());
                Err(match error.kind() {
                    ErrorKind::NotFound => mistake.hint("\"kenin init postfix\" writes one"),
                    _ => mistake,
                })
            }
        };
        let sources = files.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self {
            asked: paths.to_vec(),
            ..Self::from_sources(sources)?
        })
    }

    /// Reads one text as if it stood in this file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let sources = vec![Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }];
        Ok(Self {
            asked: vec![path.to_owned()],
            ..Self::from_sources(sources)?
        })
    }

    /// `trust.toml` beside the first file.
    pub fn trust_file(&self) -> PathBuf {
        self.dir.join("trust.toml")
    }

    /// `mail.toml` beside the first file.
    pub fn mail_file(&self) -> PathBuf {
        self.dir.join("mail.toml")
    }

    /// Where large messages are kept, without a name, while they pass.
    pub fn temp_dir(&self) -> PathBuf {
        self.state_dir.join("tmp")
    }

    /// Where held mail lies, sealed.
    pub fn quarantine_dir(&self) -> PathBuf {
        self.state_dir.join("quarantine")
    }

    /// The engine's limits.
    pub(crate) fn engine_limits(&self) -> kenin_smime::Limits {
        self.caps.engine(self.limits.message_size)
    }

    /// The files read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    /// Reads again what this was read from, files that came to `conf.d` since included.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(&self.asked)
    }

    /// A mistake found later in the value of this key (`listener.0.tls.key`).
    pub fn mistake(&self, key: &str, message: impl Into<String>) -> ConfigError {
        source::mistake(&self.sources, key, message)
    }

    fn from_sources(sources: Vec<Source>) -> Result<Self, ConfigError> {
        let mut raw = Raw::default();
        for source in &sources {
            let one = toml::from_str::<Raw>(&source.text)
                .map_err(|error| ConfigError::toml(&source.path, &source.text, &error))?;
            raw.overlay(one);
        }
        let first = sources
            .first()
            .map(|source| source.path.clone())
            .unwrap_or_default();
        let dir = first.parent().map(Path::to_owned).unwrap_or_default();
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let missing = |key: &str, example: &str| {
            ConfigError::new(&first, format!("{key} is missing"))
                .hint(format!("write for example {example}"))
        };
        let hostname = raw
            .hostname
            .ok_or_else(|| missing("hostname", "hostname = \"gw.example.jp\""))?
            .0;
        let relays = |one: &RawListener| one.mode != ListenerMode::Milter;
        if raw.next_hop.address.is_none()
            && (raw.listener.is_empty() || raw.listener.iter().any(relays))
        {
            return Err(missing(
                "address in [next_hop]",
                "address = \"127.0.0.1:10026\"",
            ));
        }
        if raw.listener.is_empty() {
            return Err(missing(
                "[[listener]]",
                "address = \"127.0.0.1:10025\" below it",
            ));
        }
        let tls = |tls: RawTls| Tls {
            certificate: dir.join(tls.certificate),
            key: dir.join(tls.key),
        };
        let unfit = raw.listener.iter().position(|one| {
            !relays(one)
                && (one.submission.is_some() || one.bare_newline.is_some() || one.tls.is_some())
        });
        let listeners = raw.listener.into_iter().map(|one| Listener {
            address: one.address.0,
            mode: one.mode,
            socket_mode: one.socket_mode.map_or(DEFAULT_SOCKET_MODE, |mode| mode.0),
            trusted_peers: one.trusted_peers.map_or_else(loopback, |peers| {
                peers.into_iter().map(|peer| peer.0).collect()
            }),
            submission: one.submission.unwrap_or(false),
            bare_newline: one.bare_newline.unwrap_or(BareNewline::Reject),
            tls: one.tls.map(tls),
        });
        let state_dir = dir.join(raw.state_dir.unwrap_or_else(|| DEFAULT_STATE.to_owned()));
        let store = StoreAt::read(raw.store, &state_dir, &dir)
            .map_err(|(key, text)| source::mistake(&sources, key, text))?;
        let keys = raw.keys.map(|keys| keys.finish(&state_dir, &dir));
        let keys = keys
            .transpose()
            .map_err(|(key, text)| source::mistake(&sources, key, text))?;
        let quarantine = raw.quarantine.map(|one| one.finish(&dir, &hostname));
        let quarantine = quarantine
            .transpose()
            .map_err(|(key, text)| source::mistake(&sources, key, text))?;
        let decrypt = raw.decrypt.finish();
        let decrypt = decrypt.map_err(|(key, text)| source::mistake(&sources, key, text))?;
        let config = Self {
            authserv_id: raw
                .authserv_id
                .map_or_else(|| format!("smime.{hostname}"), |id| id.0),
            hostname,
            site_authserv_ids: names(raw.site_authserv_ids),
            store,
            state_dir,
            listeners: listeners.collect(),
            next_hop: raw.next_hop.address.map(|address| NextHop {
                address: address.0,
                tls: raw.next_hop.tls.unwrap_or(TlsLevel::None),
                ca: raw.next_hop.ca.map(|ca| dir.join(ca)),
                name: raw.next_hop.name,
            }),
            http: raw.http.address.map(|endpoint| endpoint.0),
            stamp_key: raw.stamp.key.map(|key| dir.join(key)),
            arc: raw.arc.map(|arc| Arc {
                domain: arc.domain.0,
                selector: arc.selector.0,
                key: dir.join(arc.key),
            }),
            wrap: raw.wrap.map(|wrap| Wrap {
                certificate: dir.join(wrap.certificate),
                key: dir.join(wrap.key),
                name: wrap.name.unwrap_or_else(|| "Kenin".to_owned()),
            }),
            dns_servers: raw
                .dns
                .servers
                .into_iter()
                .flatten()
                .map(|one| one.0)
                .collect(),
            directories: raw
                .directory
                .into_iter()
                .map(|one| one.finish(&dir))
                .collect(),
            cache: raw.cache.map(|one| one.finish(&dir)),
            keys,
            workers: raw.workers.finish(),
            quarantine,
            senders: raw.senders.finish(&dir),
            decrypt,
            limits: Limits {
                message_size: raw
                    .limits
                    .message_size
                    .map_or(DEFAULT_MESSAGE_SIZE, |size| size.0),
                connections: raw.limits.connections.unwrap_or(500),
                connections_per_client: raw.limits.connections_per_client.unwrap_or(50),
                messages: raw.limits.messages.unwrap_or(64),
                deadline: raw
                    .limits
                    .deadline
                    .map_or(DEFAULT_DEADLINE, |period| period.0),
            },
            caps: Caps::default(),
            log: Log {
                format: raw.log.format.unwrap_or(LogFormat::Pretty),
                level: raw.log.level.unwrap_or_else(|| "info".to_owned()),
                addresses: raw.log.addresses.unwrap_or(LogAddresses::Full),
            },
            dir,
            asked: Vec::new(),
            sources,
        };
        if let Some(index) = unfit {
            let text = "submission, bare_newline and tls are for SMTP, not for a milter";
            return Err(config.mistake(&format!("listener.{index}.mode"), text));
        }
        let config = match Caps::new(raw.caps) {
            Ok(caps) => Self { caps, ..config },
            Err((cap, text)) => return Err(config.mistake(&format!("caps.{}", cap.name()), text)),
        };
        config.coherent().map(|()| config)
    }
}

fn names(names: Option<Vec<HostName>>) -> Vec<String> {
    names.into_iter().flatten().map(|name| name.0).collect()
}

fn loopback() -> Vec<Network> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

const DEFAULT_FILE: &str = "/etc/kenin/kenin.toml";
const DEFAULT_SOCKET_MODE: u32 = 0o660;
const DEFAULT_STATE: &str = "/var/lib/kenin";
const DEFAULT_MESSAGE_SIZE: u64 = 50 << 20;
const DEFAULT_DEADLINE: Duration = Duration::from_secs(20);
const MIN_DEADLINE: Duration = Duration::from_millis(100);
/// A client waits 100 s at `smtpd_proxy_filter`, and the next hop wants its part of them.
const MAX_DEADLINE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
