//! What an administrator says of a directory.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::DnsName;

use crate::fetch::Host;

/// Where a directory is and what its entries look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// The server.
    pub server: Server,
    /// Ask for TLS on the port without it.
    pub start_tls: bool,
    /// Ask another machine in clear.
    pub insecure: bool,
    /// The name of the entry below which people are (RFC 4514).
    pub base: String,
    /// The attributes that hold certificates.
    pub attributes: Vec<String>,
    /// The attributes that hold mail addresses.
    pub address_attributes: Vec<String>,
    /// How long a question may take, connecting included.
    pub timeout: Duration,
    /// Entries that are taken.
    pub size_limit: u32,
}

impl DirectorySettings {
    /// The usual ones.
    pub fn new(server: Server, base: impl Into<String>) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            server,
            start_tls: false,
            insecure: false,
            base: base.into(),
            attributes: owned(&ATTRIBUTES),
            address_attributes: owned(&ADDRESS_ATTRIBUTES),
            timeout: Duration::from_secs(3),
            size_limit: 16,
        }
    }

    /// What no setting by itself can get wrong, and what the wire cannot carry.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn check(&self) -> Result<(), SettingsMistake> {
        let mistake = |key, text: String| Err(SettingsMistake { key, text });
        if self.start_tls && self.server.tls {
            let text =
                "ldaps:// has TLS from the first byte; leave start_tls out, or write ldap://";
            return mistake("start_tls", text.to_owned());
        }
        if self.security() == Security::Plain && !self.insecure && !self.server.may_be_here() {
            let text = format!(
                "{} would be asked in clear; set start_tls = true, or write ldaps://",
                self.server
            );
            return mistake("url", text);
        }
        if self.base.is_empty() {
            let text =
                "is empty: every server begins elsewhere; write for example \"dc=example,dc=jp\"";
            return mistake("base", text.to_owned());
        }
        let lists = [
            ("attributes", &self.attributes),
            ("address_attributes", &self.address_attributes),
        ];
        for (key, names) in lists {
            if names.is_empty() || names.len() > MAX_NAMES {
                return mistake(key, format!("1 to {MAX_NAMES} names, not {}", names.len()));
            }
            if let Some(odd) = names.iter().find(|name| !is_attribute(name)) {
                return mistake(key, format!("\"{}\" is no attribute", odd.escape_default()));
            }
        }
        if !(SHORTEST..=LONGEST).contains(&self.timeout) {
            return mistake("timeout", "is not between 100ms and 30s".to_owned());
        }
        if !(1..=MAX_ENTRIES).contains(&self.size_limit) {
            return mistake("size_limit", format!("is not between 1 and {MAX_ENTRIES}"));
        }
        Ok(())
    }

    /// How the connection is secured.
    pub fn security(&self) -> Security {
        match (self.server.tls, self.start_tls) {
            (true, _) => Security::Tls,
            (false, true) => Security::StartTls,
            (false, false) => Security::Plain,
        }
    }

    /// Whether an attribute of an answer was asked for. Servers write options as they like.
    pub(super) fn wants(&self, attribute: &str) -> bool {
        let name = |text: &str| {
            text.split(';')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        let wanted = name(attribute);
        self.attributes.iter().any(|one| name(one) == wanted)
    }
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By StartTLS, or there is no connection.
    StartTls,
    /// By TLS from the first byte.
    Tls,
}

/// Who asks: a name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    /// The name of an entry.
    pub dn: String,
    /// Its password.
    pub password: Vec<u8>,
}

impl Bind {
    pub(super) fn check(&self, settings: &DirectorySettings) -> Result<(), SettingsMistake> {
        let mistake = |key, text: &str| {
            let text = text.to_owned();
            Err(SettingsMistake { key, text })
        };
        if self.dn.is_empty() {
            return mistake("bind_dn", "is empty; leave it out to ask without a name");
        }
        // An empty password is no password: servers then let anybody in as nobody (RFC 4513 §5.1.2).
        if self.password.is_empty() {
            return mistake("password_file", "the password is empty");
        }
        let plain = settings.security() == Security::Plain;
        if plain && settings.insecure && !settings.server.may_be_here() {
            return mistake(
                "bind_dn",
                "the password would go in clear to another machine",
            );
        }
        Ok(())
    }
}

/// Shows the name and nothing of the password.
impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("dn", &self.dn)
            .finish_non_exhaustive()
    }
}

/// A server: `ldap://host:port` or `ldaps://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    tls: bool,
    host: Host,
    port: u16,
}

impl Server {
    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it may be this machine; of a name only connecting tells.
    fn may_be_here(&self) -> bool {
        match &self.host {
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "ldaps" } else { "ldap" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl FromStr for Server {
    type Err = ParseServerError;

    fn from_str(text: &str) -> Result<Self, ParseServerError> {
        let lower = text.to_ascii_lowercase();
        let (tls, rest) = match (
            lower.strip_prefix("ldap://"),
            lower.strip_prefix("ldaps://"),
        ) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(ParseServerError),
        };
        let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest)).ok_or(ParseServerError)?;
        let port = match port {
            Some(port) => port.parse::<u16>().ok().filter(|port| *port != 0),
            None => Some(if tls { 636 } else { 389 }),
        };
        Ok(Self {
            tls,
            host,
            port: port.ok_or(ParseServerError)?,
        })
    }
}

/// A host, and the port as written.
pub(crate) fn split(text: &str) -> Option<(Host, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let address: IpAddr = address.parse().ok().filter(IpAddr::is_ipv6)?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':')?),
        };
        return Some((Host::Address(address), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => {
            // What consists of digits and dots and is no address is a slip, not a name.
            let named = host.contains(|c: char| c.is_ascii_alphabetic());
            let name = DnsName::try_from(host).ok().filter(|_| named)?;
            Host::Name(name.as_ref().to_owned())
        }
    };
    Some((host, port))
}

/// The text is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no directory server; write ldaps://ldap.example.jp or ldap://192.0.2.1:389, and the base by itself"
)]
pub struct ParseServerError;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {text}")]
pub struct SettingsMistake {
    /// Which.
    pub key: &'static str,
    /// What is wrong with it.
    pub text: String,
}

/// A name or a dotted number, and options (RFC 4512 §2.5).
fn is_attribute(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';');
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= MAX_NAME
        && text.bytes().all(inside)
}

/// Servers tell the two spellings apart in different ways: OpenLDAP loads and returns `;binary` only, Active Directory
/// knows no such option.
const ATTRIBUTES: [&str; 4] = [
    "userCertificate;binary",
    "userCertificate",
    "userSMIMECertificate;binary",
    "userSMIMECertificate",
];
const ADDRESS_ATTRIBUTES: [&str; 2] = ["mail", "proxyAddresses"];
const MAX_NAMES: usize = 16;
const MAX_NAME: usize = 128;
const MAX_ENTRIES: u32 = 100;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> DirectorySettings {
        DirectorySettings::new(url.parse().unwrap(), "o=x")
    }

    fn wrong(settings: &DirectorySettings) -> &'static str {
        settings.check().map_or_else(|mistake| mistake.key, |()| "")
    }

    #[test]
    fn servers_are_read() {
        for (text, expected) in [
            ("ldap://localhost", "ldap://localhost:389"),
            ("LDAPS://Ldap.Example.JP/", "ldaps://ldap.example.jp:636"),
            ("ldap://192.0.2.1:1389", "ldap://192.0.2.1:1389"),
            ("ldaps://[2001:db8::1]:636", "ldaps://[2001:db8::1]:636"),
            ("ldap://[::1]", "ldap://[::1]:389"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.to_string(), expected);
        }
        for text in [
            "",
            "ldap.example.jp",
            "http://x",
            "ldapi://%2frun",
            "ldap://",
            "ldap://x:0",
            "ldap://x:65536",
            "ldap://x:y",
            "ldap://127.1",
            "ldap://a b",
            "ldap://me@x",
            "ldap://x/dc=example",
            "ldap://[192.0.2.1]",
            "ldap://[::1]x",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_goes_in_clear_to_another_machine_unless_somebody_says_so() {
        for here in ["ldap://127.0.0.1", "ldap://[::1]:1389", "ldap://localhost"] {
            assert_eq!(wrong(&settings(here)), "", "{here}");
        }
        for other in ["ldap://192.0.2.1", "ldap://ldap.example.jp"] {
            let mut settings = settings(other);
            assert_eq!(wrong(&settings), "url", "{other}");
            settings.start_tls = true;
            assert_eq!(wrong(&settings), "", "{other}");
            settings.start_tls = false;
            settings.insecure = true;
            assert_eq!(wrong(&settings), "", "{other}");
            let bind = Bind {
                dn: "cn=a".to_owned(),
                password: b"x".to_vec(),
            };
            assert_eq!(bind.check(&settings).unwrap_err().key, "bind_dn");
        }
        let mut settings = settings("ldaps://ldap.example.jp");
        assert_eq!(wrong(&settings), "");
        settings.start_tls = true;
        assert_eq!(wrong(&settings), "start_tls");
    }

    #[test]
    fn other_mistakes_are_named() {
        let good = settings("ldaps://ldap.example.jp");
        let with = |change: &dyn Fn(&mut DirectorySettings)| {
            let mut changed = good.clone();
            change(&mut changed);
            wrong(&changed)
        };
        assert_eq!(with(&|s| s.base.clear()), "base");
        assert_eq!(with(&|s| s.attributes.clear()), "attributes");
        assert_eq!(
            with(&|s| s.attributes.push("a)(b".to_owned())),
            "attributes"
        );
        assert_eq!(
            with(&|s| s.address_attributes.push("*".to_owned())),
            "address_attributes"
        );
        assert_eq!(with(&|s| s.timeout = Duration::ZERO), "timeout");
        assert_eq!(with(&|s| s.size_limit = 0), "size_limit");
        let empty = Bind {
            dn: "cn=a".to_owned(),
            password: Vec::new(),
        };
        assert_eq!(empty.check(&good).unwrap_err().key, "password_file");
        assert!(!format!("{empty:?}").contains("password"), "{empty:?}");
    }

    #[test]
    fn options_of_attributes_do_not_count() {
        let settings = settings("ldaps://ldap.example.jp");
        for name in [
            "userCertificate;binary",
            "USERCERTIFICATE",
            "userSMIMECertificate;x",
        ] {
            assert!(settings.wants(name), "{name}");
        }
        for name in ["cACertificate;binary", "userCertificat", ""] {
            assert!(!settings.wants(name), "{name}");
        }
    }
}
