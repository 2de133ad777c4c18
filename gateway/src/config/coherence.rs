//! What the settings need of each other, once all files are laid over each other and every value by itself
//! is one. Never touches a file and never asks the network for a name.

use std::net::{IpAddr, SocketAddr};

use kenin_policy::toml_error;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{
    Config, ConfigError, ListenerMode, MAX_DEADLINE, MAX_KEEP, MIN_DEADLINE, NextHop, TlsLevel,
    quarantine, services,
};

impl Config {
    /// What no single value can get wrong.
    pub(super) fn coherent(&self) -> Result<(), ConfigError> {
        for (index, one) in self.listeners.iter().enumerate() {
            let mut before = self.listeners.iter().take(index);
            let key = format!("listener.{index}.address");
            let tcp = one.address.tcp();
            if tcp.is_none_or(|tcp| tcp.port() != 0) && before.any(|b| b.address == one.address) {
                return Err(self.mistake(&key, format!("{} is listened on twice", one.address)));
            }
            let Some(tcp) = tcp else {
                if one.mode != ListenerMode::Milter {
                    let text = "mail comes over a UNIX socket only with mode = \"milter\"";
                    return Err(self.mistake(&key, text));
                }
                continue;
            };
            if self
                .next_hop
                .as_ref()
                .is_some_and(|next| reaches(&next.address, tcp))
            {
                let text = "mail would go round: the next hop is this listener";
                return Err(self.mistake(&key, text));
            }
            let taken = |http: SocketAddr| {
                http.port() == tcp.port() && http.port() != 0 && overlap(http.ip(), tcp.ip())
            };
            if self.http.is_some_and(taken) {
                let text = format!("{} is a listener for mail already", one.address);
                return Err(self.mistake("http.address", text));
            }
        }
        self.next_hop.as_ref().map_or(Ok(()), |n| self.sound(n))?;
        services::coherent(self)?;
        quarantine::coherent(self)?;
        let limits = &self.limits;
        let bounds = [
            (
                "limits.message_size",
                limits.message_size < 1024,
                "is below 1K",
            ),
            (
                "limits.connections",
                limits.connections == 0,
                "is 0: nothing would be accepted",
            ),
            (
                "limits.connections_per_client",
                limits.connections_per_client == 0,
                "is 0: no stranger would be served",
            ),
            (
                "limits.messages",
                limits.messages == 0,
                "is 0: nothing would be judged",
            ),
            (
                "limits.deadline",
                limits.deadline < MIN_DEADLINE,
                "is below 100ms",
            ),
            (
                "limits.deadline",
                limits.deadline > MAX_DEADLINE,
                "is above 60s",
            ),
            (
                "workers.keep_opening",
                self.workers.keep_opening > MAX_KEEP,
                "is above 10m",
            ),
            (
                "workers.keep_signing",
                self.workers.keep_signing > MAX_KEEP,
                "is above 10m",
            ),
        ];
        for (key, wrong, text) in bounds {
            if wrong {
                let name = key.rsplit('.').next().unwrap_or(key);
                return Err(self.mistake(key, format!("{name} {text}")));
            }
        }
        self.known_level()
    }

    /// What one setting of the next hop needs of another.
    fn sound(&self, next: &NextHop) -> Result<(), ConfigError> {
        if next.tls == TlsLevel::Required && next.name.is_none() {
            let text = "tls = \"required\" needs the name in the next hop's certificate";
            return Err(self
                .mistake("next_hop.tls", text)
                .hint("add name = \"mx.example.jp\""));
        }
        if next.tls != TlsLevel::Required && next.ca.is_some() {
            let text = "ca has no effect unless tls = \"required\"";
            return Err(self.mistake("next_hop.ca", text));
        }
        Ok(())
    }

    /// A bare word that is no level would be taken for a module's name, and silence everything.
    fn known_level(&self) -> Result<(), ConfigError> {
        let level = &self.log.level;
        let bare = |part: &&str| !part.contains('=');
        let odd = level
            .split(',')
            .map(str::trim)
            .filter(bare)
            .find(|part| part.parse::<LevelFilter>().is_err());
        if let Some(odd) = odd {
            let known = ["error", "warn", "info", "debug", "trace", "off"];
            let hint = toml_error::suggestion(odd, &known).unwrap_or_default();
            let text = format!("no log level: `{odd}`");
            return Err(self.mistake("log.level", text).hint(hint));
        }
        match level.parse::<Targets>() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.mistake("log.level", format!("no log level: {error}"))),
        }
    }
}

/// Whether a connection to `next_hop` (`HOST:PORT`, as written) would come out at this listener. Of
/// names only `localhost` is known: a look-up would be an opinion of the moment.
fn reaches(next_hop: &str, listener: SocketAddr) -> bool {
    let next_hop = match next_hop.rsplit_once(':') {
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
        _ => next_hop.to_owned(),
    };
    let Ok(to) = next_hop.parse::<SocketAddr>() else {
        return false;
    };
    // Other addresses of this machine are not known here.
    to.port() == listener.port()
        && (to.ip() == listener.ip()
            || (listener.ip().is_unspecified() && to.ip().is_loopback())
            || (to.ip().is_unspecified() && listener.ip().is_loopback()))
}

/// Whether two sockets on one port would be in each other's way.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
