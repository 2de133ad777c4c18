//! `[[directory]]` and `[cache]`: where certificates and answers come from besides the store. This module only
//! reads what is written; `crate::services` opens it.

use std::path::{Path, PathBuf};

use kenin_certstore::CacheServer;
use kenin_certstore::directory::{DirectorySettings, Server};
use serde::Deserialize;

use super::value::Period;
use super::{Config, ConfigError};

/// A directory of certificates (LDAP).
#[derive(Debug, Clone)]
pub struct Directory {
    /// `url`, `start_tls`, `insecure`, `base`, `attributes`, `address_attributes`, `timeout`, `size_limit`.
    pub settings: DirectorySettings,
    /// `ca`: PEM of the authorities that its certificate may come from. Default: those that the web trusts.
    pub ca: Option<PathBuf>,
    /// `bind_dn`: the name to ask under. Without it nobody logs in.
    pub bind_dn: Option<String>,
    /// `password_file`: the password of that name.
    pub password_file: Option<PathBuf>,
}

/// Where answers are kept for a while (Redis).
#[derive(Debug, Clone)]
pub struct Cache {
    /// `url`: `rediss://host:port` or `unix:/path`.
    pub server: CacheServer,
    /// `ca`: PEM of the authorities that its certificate may come from; needed for `rediss://`.
    pub ca: Option<PathBuf>,
    /// `user`: of Redis's access list. Default: its default one.
    pub user: Option<String>,
    /// `password_file`: the user's password.
    pub password_file: Option<PathBuf>,
    /// `key_file`: 32 random bytes that values are sealed with.
    pub key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDirectory {
    url: Parsed<Server>,
    start_tls: Option<bool>,
    insecure: Option<bool>,
    ca: Option<String>,
    bind_dn: Option<String>,
    password_file: Option<String>,
    base: String,
    attributes: Option<Vec<String>>,
    address_attributes: Option<Vec<String>>,
    timeout: Option<Period>,
    size_limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    url: Parsed<CacheServer>,
    ca: Option<String>,
    user: Option<String>,
    password_file: Option<String>,
    key_file: String,
}

impl RawDirectory {
    /// With the defaults filled in, and paths that begin in this folder.
    pub(super) fn finish(self, dir: &Path) -> Directory {
        let usual = DirectorySettings::new(self.url.0, self.base);
        Directory {
            ca: self.ca.map(|ca| dir.join(ca)),
            bind_dn: self.bind_dn,
            password_file: self.password_file.map(|file| dir.join(file)),
            settings: DirectorySettings {
                start_tls: self.start_tls.unwrap_or(false),
                insecure: self.insecure.unwrap_or(false),
                attributes: self.attributes.unwrap_or(usual.attributes),
                address_attributes: self.address_attributes.unwrap_or(usual.address_attributes),
                timeout: self.timeout.map_or(usual.timeout, |period| period.0),
                size_limit: self.size_limit.unwrap_or(usual.size_limit),
                server: usual.server,
                base: usual.base,
            },
        }
    }
}

impl RawCache {
    /// With paths that begin in this folder.
    pub(super) fn finish(self, dir: &Path) -> Cache {
        Cache {
            server: self.url.0,
            ca: self.ca.map(|ca| dir.join(ca)),
            user: self.user,
            password_file: self.password_file.map(|file| dir.join(file)),
            key_file: dir.join(self.key_file),
        }
    }
}

/// What the settings need of each other.
pub(super) fn coherent(config: &Config) -> Result<(), ConfigError> {
    for (index, one) in config.directories.iter().enumerate() {
        let wrong =
            |key: &str, text: &str| config.mistake(&format!("directory.{index}.{key}"), text);
        one.settings
            .check()
            .map_err(|mistake| wrong(mistake.key, &format!("{} {}", mistake.key, mistake.text)))?;
        match (&one.bind_dn, &one.password_file) {
            (Some(_), None) => {
                let error = wrong("bind_dn", "bind_dn needs a password");
                return Err(error.hint("add password_file = \"directory.password\""));
            }
            (None, Some(_)) => {
                let text = "password_file has no effect without bind_dn";
                return Err(wrong("password_file", text));
            }
            _ => {}
        }
    }
    let Some(cache) = &config.cache else {
        return Ok(());
    };
    match (&cache.server, &cache.ca) {
        (CacheServer::Tls { .. }, None) => {
            let error = config.mistake(
                "cache.url",
                "rediss:// needs the authority of its certificate",
            );
            return Err(error.hint("add ca = \"cache-ca.pem\""));
        }
        (CacheServer::Unix(_), Some(_)) => {
            let text = "ca has no effect with a socket of this machine";
            return Err(config.mistake("cache.ca", text));
        }
        _ => {}
    }
    if cache.user.is_some() && cache.password_file.is_none() {
        let error = config.mistake("cache.user", "user needs a password");
        return Err(error.hint("add password_file = \"cache.password\""));
    }
    Ok(())
}

/// A text that says what it should be where it is something else.
#[derive(Debug)]
struct Parsed<T>(T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|error| serde::de::Error::custom(format!("\"{text}\" is {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(tables: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n{tables}"
        );
        Config::parse(&text, Path::new("/etc/kenin/kenin.toml"))
    }

    fn wrong(tables: &str) -> String {
        parse(tables).unwrap_err().to_string()
    }

    const DIRECTORY: &str =
        "[[directory]]\nurl = \"ldaps://ldap.example.jp\"\nbase = \"dc=example,dc=jp\"\n";
    const CACHE: &str =
        "[cache]\nurl = \"rediss://cache.example.jp\"\nca = \"ca.pem\"\nkey_file = \"cache.key\"\n";

    #[test]
    fn the_defaults_are_those_of_the_page() {
        let config = parse(&format!("{DIRECTORY}{CACHE}")).unwrap();
        let directory = &config.directories[0];
        assert_eq!(directory.settings.timeout, Duration::from_secs(3));
        assert_eq!(directory.settings.size_limit, 16);
        assert_eq!(
            directory.settings.address_attributes,
            ["mail", "proxyAddresses"]
        );
        assert_eq!(directory.settings.attributes.len(), 4);
        let cache = config.cache.unwrap();
        assert_eq!(cache.server.to_string(), "rediss://cache.example.jp:6379");
        assert_eq!(cache.key_file, Path::new("/etc/kenin/cache.key"));
        assert!(parse("").unwrap().directories.is_empty());
    }

    #[test]
    fn mistakes_have_their_place() {
        for (tables, line, expected) in [
            (
                "[[directory]]\nurl = \"http://x\"\nbase = \"o=x\"\n",
                8,
                "no directory server",
            ),
            (
                "[[directory]]\nurl = \"ldap://192.0.2.1\"\nbase = \"o=x\"\n",
                8,
                "in clear",
            ),
            (
                "[[directory]]\nurl = \"ldaps://x\"\nbase = \"\"\n",
                9,
                "base is empty",
            ),
            (
                "[cache]\nurl = \"redis://x\"\nkey_file = \"k\"\n",
                8,
                "no cache that is asked",
            ),
            (
                "[cache]\nurl = \"rediss://x\"\nkey_file = \"k\"\n",
                8,
                "authority",
            ),
        ] {
            let text = wrong(tables);
            assert!(text.contains(&format!("kenin.toml:{line}:")), "{text}");
            assert!(text.contains(expected), "{text}");
        }
        let more = |line: &str| wrong(&format!("{DIRECTORY}{line}\n"));
        assert!(more("bind_dn = \"cn=a\"").contains("needs a password"));
        assert!(more("password_file = \"p\"").contains("no effect"));
        assert!(more("start_tls = true").contains("leave start_tls out"));
        assert!(more("pasword_file = \"p\"").contains("did you mean"));
        // The second of two is the one that is wrong.
        let text = wrong(&format!("{DIRECTORY}{DIRECTORY}timeout = \"1h\"\n"));
        assert!(text.contains("kenin.toml:13:"), "{text}");
        let user = wrong(&format!("{CACHE}user = \"kenin\"\n"));
        assert!(user.contains("needs a password"), "{user}");
    }
}
