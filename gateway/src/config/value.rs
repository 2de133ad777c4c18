//! Values that people write in words: sizes, durations, addresses, networks. Never touches a
//! file and never asks the network for a name.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::ListenAddress;
use kenin_smtp_filter::Network;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A number of bytes: `52428800`, `"50M"`, `"64 KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A duration: `20` (seconds), `"20s"`, `"500ms"`, `"2m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

/// A network: `127.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peers(pub(super) Network);

/// An address and port: `127.0.0.1:10025`, `[::1]:25`, `localhost:10026`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint(pub(super) SocketAddr);

/// Where a listener listens: an [`Endpoint`], or a socket as MTAs write it: `inet:127.0.0.1:8891`
/// (Postfix), `inet:8891@127.0.0.1` (Sendmail, libmilter), `unix:/run/kenin/milter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket(pub(super) ListenAddress);

/// Permissions of a socket's file, in octal as `chmod` takes them: `"0660"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileMode(pub(super) u32);

/// A host (name or address) and port: `mx.example.jp:25`, `[::1]:25`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort(pub(super) String);

/// A host name (or another name made of dot-separated labels, as an authserv-id is).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(pub(super) String);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1_u64,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return Err(format!("\"{text}\" is no size; write for example \"50M\"")),
        };
        let number = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor));
        number
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no size; write for example \"50M\""))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let milliseconds = match unit {
            "ms" => 1_u64,
            "" | "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => {
                return Err(format!(
                    "\"{text}\" is no duration; write for example \"20s\""
                ));
            }
        };
        let number = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(milliseconds));
        number
            .map(|n| Self(Duration::from_millis(n)))
            .ok_or_else(|| format!("\"{text}\" is no duration; write for example \"20s\""))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let literal = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        literal.parse().map(Self).map_err(|_| {
            format!("\"{text}\" is no address with port; write for example \"127.0.0.1:10025\"")
        })
    }
}

impl FromStr for Socket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text
            .strip_prefix("unix:")
            .or_else(|| text.strip_prefix("local:"))
        {
            return if path.starts_with('/') {
                Ok(Self(ListenAddress::Unix(path.into())))
            } else {
                Err(format!("\"{path}\" is no absolute path of a socket"))
            };
        }
        let endpoint = match text.strip_prefix("inet:") {
            Some(rest) => match rest.split_once('@') {
                Some((port, host)) => format!("{host}:{port}"),
                None => rest.to_owned(),
            },
            None => text.to_owned(),
        };
        let endpoint: Endpoint = endpoint.parse()?;
        Ok(Self(ListenAddress::Tcp(endpoint.0)))
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = u32::from_str_radix(text, 8).ok();
        // Everybody who may write to it may show mail to Kenin, which harms nobody; setuid and the
        // like make no sense.
        mode.filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600)
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no mode; write for example \"0660\""))
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = || {
            let (host, port) = text.rsplit_once(':')?;
            let valid =
                host.parse::<HostName>().is_ok() && port.parse::<u16>().is_ok_and(|p| p > 0);
            // A host of digits and dots that is no address is a slip, not a name.
            (valid && host.contains(|c: char| c.is_ascii_alphabetic())).then_some(())
        };
        if text
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.port() > 0)
            || named().is_some()
        {
            Ok(Self(text.to_owned()))
        } else {
            let example = "write for example \"127.0.0.1:10026\"";
            Err(format!("\"{text}\" is no host with port; {example}"))
        }
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!(
                "\"{text}\" is no host name; write for example \"gw.example.jp\""
            ))
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Text("a size, for example \"50M\"", true))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Text("a duration, for example \"20s\"", true))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Text("an address with port", false))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for Socket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Text("an address with port, or unix:/path", false))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Text("a mode in quotes, for example \"0660\"", false))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Text("a host with port", false))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Text("a host name", false))
            .and_then(parsed)
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: String = deserializer.deserialize_str(Text("a network", false))?;
        text.parse().map(Self).map_err(|_| {
            let example = "write for example \"192.0.2.0/24\"";
            Error::custom(format!("\"{text}\" is no network; {example}"))
        })
    }
}

fn parsed<T: FromStr<Err = String>, E: Error>(text: String) -> Result<T, E> {
    text.parse().map_err(E::custom)
}

/// Takes a string (or, if so said, a whole number) as text.
struct Text(&'static str, bool);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        match self.1 {
            true => Ok(number.to_string()),
            false => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sockets_in_both_spellings() {
        let tcp = |text: &str| Ok(Socket(ListenAddress::Tcp(text.parse().unwrap())));
        for text in [
            "127.0.0.1:8891",
            "inet:127.0.0.1:8891",
            "inet:8891@127.0.0.1",
            "inet:localhost:8891",
            "inet:8891@localhost",
        ] {
            assert_eq!(text.parse(), tcp("127.0.0.1:8891"), "{text}");
        }
        assert_eq!("inet:8891@[::1]".parse(), tcp("[::1]:8891"));
        for text in ["unix:/run/k/milter", "local:/run/k/milter"] {
            let path = ListenAddress::Unix("/run/k/milter".into());
            assert_eq!(text.parse(), Ok(Socket(path)), "{text}");
        }
        for wrong in [
            "unix:milter",
            "inet:8891",
            "inet:8891@",
            "/run/milter",
            "unix:",
        ] {
            assert!(wrong.parse::<Socket>().is_err(), "{wrong}");
        }
        assert_eq!("0660".parse(), Ok(FileMode(0o660)));
        for wrong in ["", "rw", "0999", "04755", "0444"] {
            assert!(wrong.parse::<FileMode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_sizes_and_durations_in_words() {
        assert_eq!("50M".parse(), Ok(Size(52_428_800)));
        assert_eq!("64 KiB".parse(), Ok(Size(65_536)));
        assert_eq!("20s".parse(), Ok(Period(Duration::from_secs(20))));
        assert_eq!("500ms".parse(), Ok(Period(Duration::from_millis(500))));
        for wrong in ["", "M", "-1", "1.5M", "1 fortnight", "99999999999G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }
}
