//! What an administrator says of the cache.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use crate::directory::split;
use crate::fetch::Host;

/// Where the cache is and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The server.
    pub server: CacheServer,
    /// The user of Redis's access list; none means its default one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
}

/// A server of Redis: over TLS, or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheServer {
    /// `rediss://host:port`.
    Tls {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

impl CacheSettings {
    /// For the library, which takes all of it as one URL.
    pub(super) fn url(&self) -> String {
        let user = escaped(self.user.as_deref().unwrap_or_default(), "");
        let password = self.password.as_deref().map(|text| escaped(text, ""));
        match &self.server {
            CacheServer::Tls { host, port } => {
                let login = password.map_or_else(String::new, |text| format!("{user}:{text}@"));
                format!("rediss://{login}{host}:{port}/0")
            }
            CacheServer::Unix(path) => {
                let login = match (password, user.is_empty()) {
                    (None, _) => String::new(),
                    (Some(text), true) => format!("?pass={text}"),
                    (Some(text), false) => format!("?user={user}&pass={text}"),
                };
                format!("unix://{}{login}", escaped(&path.to_string_lossy(), "/._-"))
            }
        }
    }
}

/// Shows nothing of the password.
impl fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSettings")
            .field("server", &self.server)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CacheServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { host, port } => write!(f, "rediss://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for CacheServer {
    type Err = ParseCacheError;

    fn from_str(text: &str) -> Result<Self, ParseCacheError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(ParseCacheError),
            };
        }
        let lower = text.to_ascii_lowercase();
        let rest = lower.strip_prefix("rediss://").ok_or(ParseCacheError)?;
        let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest)).ok_or(ParseCacheError)?;
        let port = match port {
            Some(port) => port.parse::<u16>().ok().filter(|port| *port != 0),
            None => Some(6379),
        };
        Ok(Self::Tls {
            host,
            port: port.ok_or(ParseCacheError)?,
        })
    }
}

/// The text is no server of Redis that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no cache that is asked; write rediss://cache.example.jp:6379 or unix:/run/redis/redis.sock, and user and password \
     by themselves"
)]
pub struct ParseCacheError;

/// Percent-encoded, but for letters, digits and these.
fn escaped(text: &str, plain: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        let character = char::from(octet);
        if octet.is_ascii_alphanumeric() || plain.contains(character) {
            out.push(character);
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_and_sockets_are_servers() {
        for (text, expected) in [
            ("rediss://localhost", "rediss://localhost:6379"),
            (
                "REDISS://Cache.Example.JP:6380/",
                "rediss://cache.example.jp:6380",
            ),
            ("rediss://[::1]:1", "rediss://[::1]:1"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("unix:///run/redis.sock", "unix:/run/redis.sock"),
        ] {
            let server: CacheServer = text.parse().unwrap();
            assert_eq!(server.to_string(), expected);
        }
        for text in [
            "",
            "redis://localhost",
            "rediss://",
            "rediss://user:pass@x",
            "rediss://x/1",
            "rediss://x/#insecure",
            "rediss://x:0",
            "unix:redis.sock",
            "unix:",
        ] {
            assert!(text.parse::<CacheServer>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_stays_one_word_of_the_url() {
        let settings = |server: &str| CacheSettings {
            server: server.parse().unwrap(),
            user: Some("ken:in".to_owned()),
            password: Some("a@b/c?d&e#f %".to_owned()),
        };
        let tls = settings("rediss://cache.example.jp");
        assert_eq!(
            tls.url(),
            "rediss://ken%3Ain:a%40b%2Fc%3Fd%26e%23f%20%25@cache.example.jp:6379/0"
        );
        let unix = settings("unix:/run/my redis.sock");
        assert_eq!(
            unix.url(),
            "unix:///run/my%20redis.sock?user=ken%3Ain&pass=a%40b%2Fc%3Fd%26e%23f%20%25"
        );
        assert!(!format!("{tls:?}").contains("a@b"), "{tls:?}");
    }
}
