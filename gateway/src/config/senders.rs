//! `[senders]`: which mailboxes belong to a client that proved who it is. This module only reads what is written.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::value::HostName;

/// How names that clients log in by become mailboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    /// `login_domain`: the domain of a login without one.
    pub login_domain: Option<String>,
    /// `logins`: a file of mailboxes and the logins that may use each. Other logins are mailboxes themselves.
    pub logins: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSenders {
    pub(super) login_domain: Option<HostName>,
    pub(super) logins: Option<String>,
}

impl RawSenders {
    /// With a path that begins in this folder.
    pub(super) fn finish(self, dir: &Path) -> Senders {
        Senders {
            login_domain: self.login_domain.map(|name| name.0),
            logins: self.logins.map(|file| dir.join(file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn parse(mode: &str, listener: &str, tables: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\nmode = \"{mode}\"\n\
             {listener}\n[next_hop]\naddress = \"127.0.0.1:10026\"\n{tables}"
        );
        Config::parse(&text, Path::new("/etc/kenin/kenin.toml"))
    }

    #[test]
    fn nobody_is_proven_unless_it_is_written() {
        let usual = parse("before-queue", "", "").unwrap();
        assert_eq!(usual.senders, Senders::default());
        assert!(!usual.listeners[0].submission);
        let tables = "[senders]\nlogin_domain = \"example.jp\"\nlogins = \"logins\"\n";
        let config = parse("before-queue", "submission = true", tables).unwrap();
        assert!(config.listeners[0].submission);
        let expected = Senders {
            login_domain: Some("example.jp".to_owned()),
            logins: Some("/etc/kenin/logins".into()),
        };
        assert_eq!(config.senders, expected);
        let milter = parse("milter", "trusted_peers = [\"192.0.2.1\"]", "").unwrap();
        assert_eq!(milter.listeners[0].trusted_peers.len(), 1);
    }

    #[test]
    fn a_milter_is_told_who_sends_by_the_mta() {
        let error = parse("milter", "submission = true", "").unwrap_err();
        assert!(error.to_string().contains("not for a milter"), "{error}");
        let error = parse("milter", "", "[senders]\nlogindomain = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("did you mean"), "{error}");
    }
}
