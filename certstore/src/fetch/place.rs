//! Where something may be fetched: a URL, checked strictly.
//!
//! A certificate's URL is an attacker's text. What the specification calls doubtful, or what two
//! readers could read as two things, is refused; nothing is repaired. It never resolves a name and
//! never says whether an address may be reached (`reach.rs` does).
//!
//! URLs: <https://www.rfc-editor.org/rfc/rfc3986>; `http` and `https`:
//! <https://www.rfc-editor.org/rfc/rfc9110#section-4.2>.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ldap_url::{LdapUrlError, Search};

/// A checked URL: what may be asked of which host at which port.
///
/// Two are equal when they name the same, however host and port were spelled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    scheme: Scheme,
    host: Host,
    port: u16,
    target: String,
    search: Option<Search>,
}

impl Place {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it, and what to do about it.
    pub fn parse(text: &str, ports: &Ports) -> Result<Self, PlaceError> {
        if text.len() > MAX_URL {
            return Err(PlaceError::TooLong(text.len()));
        }
        check_characters(text)?;
        let scheme = text.split_once(':').and_then(|(word, rest)| {
            let scheme = Scheme::parse(word)?;
            Some((scheme, rest))
        });
        let (scheme, rest) = scheme.ok_or_else(|| PlaceError::Scheme(shown(text)))?;
        let rest = rest.strip_prefix("//").ok_or(PlaceError::NoHost)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(PlaceError::UserInfo);
        }
        let (host, port) = parse_authority(authority)?;
        let port = match port {
            Some(port) => parse_port(port)?,
            None => scheme.default_port(),
        };
        if !ports.permit(port) {
            return Err(PlaceError::PortNotPermitted(port));
        }
        // Brackets belong to an IPv6 address and nowhere else.
        if let Some(bracket) = target.chars().find(|c| matches!(*c, '[' | ']')) {
            return Err(PlaceError::Character(bracket));
        }
        let search = match scheme {
            Scheme::Http | Scheme::Https => None,
            Scheme::Ldap | Scheme::Ldaps => Some(Search::parse(target)?),
        };
        let target = match target.strip_prefix('/') {
            Some(_) => target.to_owned(),
            None => format!("/{target}"),
        };
        Ok(Self {
            scheme,
            host,
            port,
            target,
            search,
        })
    }

    /// The place that the `Location` of an answer from here names: a whole URL, or a path here.
    ///
    /// # Errors
    ///
    /// As of [`Self::parse`]; a path without its leading slash is refused besides.
    pub fn redirected(&self, location: &str, ports: &Ports) -> Result<Self, PlaceError> {
        if location.starts_with("//") {
            let text = format!("{}:{location}", self.scheme.as_str());
            Self::parse(&text, ports)
        } else if location.starts_with('/') {
            let (scheme, authority) = (self.scheme.as_str(), self.authority());
            Self::parse(&format!("{scheme}://{authority}{location}"), ports)
        } else if location.contains("://") {
            Self::parse(location, ports)
        } else {
            Err(PlaceError::Location(shown(location)))
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, in lower case.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port: the scheme's own where none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as written, and as HTTP sends them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What to ask a directory, where the scheme is `ldap` or `ldaps`.
    pub fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }

    /// Host and port; the port is left out where the scheme implies it.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.scheme.as_str(), self.authority());
        write!(f, "{scheme}://{authority}{}", self.target)
    }
}

/// How a place is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 9110 §4.2.1.
    Http,
    /// RFC 9110 §4.2.2.
    Https,
    /// RFC 4516.
    Ldap,
    /// LDAP over TLS from the first byte.
    Ldaps,
}

impl Scheme {
    /// Its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ldap => "ldap",
            Self::Ldaps => "ldaps",
        }
    }

    /// The port where a URL names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Ldap => 389,
            Self::Ldaps => 636,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Self::Http, Self::Https, Self::Ldap, Self::Ldaps];
        all.into_iter()
            .find(|scheme| word.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name of the domain name system, in lower case, without a dot at its end.
    Name(String),
    /// An address, as a literal.
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// As a URL writes it: an IPv6 address stands in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The ports that may be asked: 80, 443, 389 and 636, and those that the administrator lists.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ports(Vec<u16>);

impl Ports {
    /// The usual ones and these.
    pub fn and(more: &[u16]) -> Self {
        Self(more.to_vec())
    }

    /// Whether this one may be asked.
    pub fn permit(&self, port: u16) -> bool {
        matches!(port, 80 | 443 | 389 | 636) || self.0.contains(&port)
    }
}

/// Why a URL is not fetched. What is quoted of it is cut short and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Longer than any authority writes.
    #[error("a URL of {0} characters; write one of no more than 2048")]
    TooLong(usize),
    /// A control character, as it is or percent-encoded.
    #[error("a control character in the URL; it could split a request, do not fetch from there")]
    Control,
    /// Outside ASCII.
    #[error("a character outside ASCII; write the host in its xn-- form, the rest percent-encoded")]
    NotAscii,
    /// A character that no URL has, or not there.
    #[error("`{0}` may not stand there in a URL; percent-encode it")]
    Character(char),
    /// A percent sign without its two digits.
    #[error("a percent sign without two hexadecimal digits; write %25 for the sign itself")]
    Escape,
    /// A fragment, which a server never sees.
    #[error("a fragment in the URL; leave out what begins with #")]
    Fragment,
    /// Another scheme, or none.
    #[error("`{0}`: only http, https, ldap and ldaps are fetched; use a URL of one of these")]
    Scheme(String),
    /// No host.
    #[error("the URL names no host, and Kenin knows no default one; write it after the //")]
    NoHost,
    /// A user's name or password.
    #[error("a user's name in the URL; Kenin sends no credentials: leave out all before the @")]
    UserInfo,
    /// Neither a DNS name nor an address.
    #[error("`{0}` is no DNS name and no IP address; write letters, digits, hyphens and dots")]
    Host(String),
    /// An IPv4 address in another spelling than four decimal numbers.
    #[error("`{0}` is no plain IPv4 address; write four decimal numbers, as 192.0.2.1")]
    NumericHost(String),
    /// No port number.
    #[error("`{0}` is no port; write a number from 1 to 65535 without zeros before it, or none")]
    Port(String),
    /// A port that is not asked.
    #[error("port {0} is not asked; list it in the fetch settings if the authority does use it")]
    PortNotPermitted(u16),
    /// The part that LDAP alone has.
    #[error(transparent)]
    Ldap(#[from] LdapUrlError),
    /// A redirect to something else than a URL or a path with its slash.
    #[error("a redirect to `{0}`, which is no URL and no path; name the final URL instead")]
    Location(String),
}

/// Every character of a URL is one that RFC 3986 §2 has, and what is encoded is no control
/// character.
fn check_characters(text: &str) -> Result<(), PlaceError> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit);
                let low = bytes.next().and_then(hex_digit);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(PlaceError::Escape);
                };
                let value = (high << 4) | low;
                if value < 0x20 || value == 0x7f {
                    return Err(PlaceError::Control);
                }
            }
            0..0x20 | 0x7f => return Err(PlaceError::Control),
            0x80.. => return Err(PlaceError::NotAscii),
            b'#' => return Err(PlaceError::Fragment),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => {}
            _ if b"-._~:/?[]@!$&'()*+,;=".contains(&byte) => {}
            _ => return Err(PlaceError::Character(char::from(byte))),
        }
    }
    Ok(())
}

/// The value of a hexadecimal digit.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The host, and the port as written.
fn parse_authority(authority: &str) -> Result<(Host, Option<&str>), PlaceError> {
    let wrong = || PlaceError::Host(shown(authority));
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or_else(wrong)?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or_else(wrong)?),
        };
        return Ok((Host::Address(address.into()), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    Ok((parse_host(host)?, port))
}

/// An IPv4 address or a name. Where the last label is a number it is an address or nothing: system
/// resolvers take `127.1` and `0x7f000001` for addresses, and a check of the text would not.
fn parse_host(host: &str) -> Result<Host, PlaceError> {
    if host.is_empty() {
        return Err(PlaceError::NoHost);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let numeric = match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if numeric {
        let address = host.parse::<Ipv4Addr>();
        let address = address.map_err(|_| PlaceError::NumericHost(shown(host)))?;
        return Ok(Host::Address(address.into()));
    }
    let good = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > MAX_NAME || !host.split('.').all(good) {
        return Err(PlaceError::Host(shown(host)));
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

fn parse_port(text: &str) -> Result<u16, PlaceError> {
    let wrong = || PlaceError::Port(shown(text));
    // A sign would be read too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || text.starts_with('0') {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// A stranger's text for a message: short, and on one line.
pub(super) fn shown(text: &str) -> String {
    let start = text.chars().take(SHOWN);
    let mut short: String = start.flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("...");
    }
    short
}

const MAX_URL: usize = 2048;
/// The longest name as text (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// Characters of a URL that a message repeats.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests;
