//! The configuration as the front ends want it: one settings object a listener, TLS files read. Never
//! opens a socket.

use std::path::Path;
use std::sync::Arc;

use kenin_certstore::FileSet;
use kenin_smtp_filter::milter::{MilterConfig, Wants};
use kenin_smtp_filter::server::{
    BareNewline, HopTls, Limits, NextHop, Protocol, ServerConfig, Timeouts,
};
use kenin_smtp_filter::tls;
use rustls::pki_types::ServerName;

use crate::config::{self, Config, ConfigError, Listener, ListenerMode, TlsLevel};

/// The settings of one listener's front end.
#[derive(Clone, Debug)]
pub enum Front {
    /// SMTP, before or after a queue.
    Smtp(Arc<ServerConfig>),
    /// Milter.
    Milter(Arc<MilterConfig>),
}

impl Front {
    /// Those of an SMTP listener.
    pub(crate) fn smtp(&self) -> Option<&Arc<ServerConfig>> {
        match self {
            Self::Smtp(server) => Some(server),
            Self::Milter(_) => None,
        }
    }

    /// Those of a milter listener.
    pub(crate) fn milter(&self) -> Option<&Arc<MilterConfig>> {
        match self {
            Self::Milter(milter) => Some(milter),
            Self::Smtp(_) => None,
        }
    }
}

/// One a listener, in order; the TLS files are added to those watched.
pub(crate) fn fronts(config: &Config, files: &mut FileSet) -> Result<Vec<Front>, ConfigError> {
    let next_hop = match &config.next_hop {
        Some(next) => Some(next_hop(config, next, files)?),
        None => None,
    };
    let listeners = config.listeners.iter().enumerate();
    listeners
        .map(|(index, one)| match (one.mode, &next_hop) {
            (ListenerMode::Milter, _) => Ok(Front::Milter(milter(config, one))),
            (_, Some(next_hop)) => server(config, index, one, next_hop, files).map(Front::Smtp),
            (_, None) => Err(config.mistake(
                &format!("listener.{index}.mode"),
                "this listener needs a [next_hop]",
            )),
        })
        .collect()
}

fn milter(config: &Config, listener: &Listener) -> Arc<MilterConfig> {
    Arc::new(MilterConfig {
        temp_dir: config.temp_dir(),
        trusted_peers: listener.trusted_peers.clone(),
        // Also where no rule needs it now: a reload may bring one, and the MTA is asked only once.
        wants: Wants {
            body: true,
            quarantine: true,
            sender: true,
        },
        limits: limits(config),
        ..MilterConfig::default()
    })
}

fn limits(config: &Config) -> Limits {
    config.caps.front(Limits {
        message_size: config.limits.message_size,
        connections: config.limits.connections,
        connections_per_client: config.limits.connections_per_client,
        ..Limits::default()
    })
}

fn server(
    config: &Config,
    index: usize,
    listener: &Listener,
    next_hop: &NextHop,
    files: &mut FileSet,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let tls = match &listener.tls {
        None => None,
        Some(pair) => {
            let key = |name: &str| format!("listener.{index}.tls.{name}");
            let chain = read(config, &key("certificate"), &pair.certificate, files)?;
            let secret = read(config, &key("key"), &pair.key, files)?;
            let made = tls::server_config(&chain, &secret);
            Some(made.map_err(|e| config.mistake(&format!("listener.{index}.tls"), e.to_string()))?)
        }
    };
    Ok(Arc::new(ServerConfig {
        hostname: config.hostname.clone(),
        protocol: match listener.mode {
            ListenerMode::Lmtp => Protocol::Lmtp,
            _ => Protocol::Smtp,
        },
        trusted_peers: listener.trusted_peers.clone(),
        submission: listener.submission,
        bare_newline: match listener.bare_newline {
            config::BareNewline::Reject => BareNewline::Reject,
            config::BareNewline::Normalize => BareNewline::Normalize,
        },
        tls,
        next_hop: next_hop.clone(),
        temp_dir: config.temp_dir(),
        limits: limits(config),
        timeouts: Timeouts::default(),
    }))
}

/// Where mail goes on to; the TLS files are added to those watched.
pub(crate) fn next_hop(
    config: &Config,
    next: &config::NextHop,
    files: &mut FileSet,
) -> Result<NextHop, ConfigError> {
    let unusable = |error: tls::TlsError| config.mistake("next_hop.tls", error.to_string());
    // Without a name of its own the certificate must hold the host that is connected to.
    let host = next
        .address
        .rsplit_once(':')
        .map_or(next.address.as_str(), |(host, _)| host);
    let name = next
        .name
        .as_deref()
        .unwrap_or_else(|| host.trim_matches(['[', ']']));
    let name = || {
        ServerName::try_from(name.to_owned())
            .map_err(|_| config.mistake("next_hop.name", format!("\"{name}\" is no host name")))
    };
    let tls = match next.tls {
        TlsLevel::None => HopTls::None,
        TlsLevel::Opportunistic => HopTls::Opportunistic {
            config: tls::opportunistic_client().map_err(unusable)?,
            name: name()?,
        },
        TlsLevel::Required => {
            let Some(ca) = &next.ca else {
                let text = "tls = \"required\" needs the authority of the next hop's certificate";
                return Err(config
                    .mistake("next_hop.tls", text)
                    .hint("add ca = \"ca.pem\""));
            };
            let ca = read(config, "next_hop.ca", ca, files)?;
            HopTls::Required {
                config: tls::verifying_client(&ca).map_err(unusable)?,
                name: name()?,
            }
        }
    };
    Ok(NextHop {
        address: next.address.clone(),
        tls,
    })
}

fn read(
    config: &Config,
    key: &str,
    path: &Path,
    files: &mut FileSet,
) -> Result<Vec<u8>, ConfigError> {
    files.watch(path);
    std::fs::read(path).map_err(|error| config.mistake(key, format!("{}: {error}", path.display())))
}
