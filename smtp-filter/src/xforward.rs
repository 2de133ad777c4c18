//! The XFORWARD command: what a trusted peer says of the client behind it. Who is trusted is not
//! decided here.
//!
//! <https://www.postfix.org/XFORWARD_README.html>

use crate::{Reply, XForward, xtext};

impl XForward {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over the attributes of one command: what follows `XFORWARD `.
    pub(crate) fn update(&mut self, arguments: &str) -> Result<(), Reply> {
        let bad = || Reply::new(501, "5.5.4", "Bad XFORWARD attribute");
        let mut next = self.clone();
        let mut any = false;
        for part in arguments.split(' ').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(bad)?;
            let value = xtext::decode(value)
                .filter(|v| v.len() <= MAX_VALUE)
                .ok_or_else(bad)?;
            let name = name.to_ascii_uppercase();
            let unknown = value.is_empty() || value.eq_ignore_ascii_case("[UNAVAILABLE]");
            let value = (!unknown).then_some(value);
            if !is_sound(&name, value.as_deref()) {
                return Err(bad());
            }
            *next.slot(&name).ok_or_else(bad)? = value;
            any = true;
        }
        if !any {
            return Err(bad());
        }
        *self = next;
        Ok(())
    }

    /// The command lines, without CRLF, that tell it to a next hop offering `offered`.
    pub(crate) fn lines(&self, offered: &[String]) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for (name, value) in self.attributes() {
            if !offered.iter().any(|o| o.eq_ignore_ascii_case(name)) {
                continue;
            }
            let value = value.map_or_else(|| "[UNAVAILABLE]".to_owned(), xtext::encode);
            let attribute = format!(" {name}={value}");
            match lines.last_mut() {
                Some(line) if line.len() + attribute.len() <= MAX_LINE => line.push_str(&attribute),
                _ => lines.push(format!("XFORWARD{attribute}")),
            }
        }
        lines
    }

    fn attributes(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("NAME", self.name.as_deref()),
            ("ADDR", self.addr.as_deref()),
            ("PORT", self.port.as_deref()),
            ("PROTO", self.proto.as_deref()),
            ("HELO", self.helo.as_deref()),
            ("IDENT", self.ident.as_deref()),
            ("SOURCE", self.source.as_deref()),
        ]
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "NAME" => &mut self.name,
            "ADDR" => &mut self.addr,
            "PORT" => &mut self.port,
            "PROTO" => &mut self.proto,
            "HELO" => &mut self.helo,
            "IDENT" => &mut self.ident,
            "SOURCE" => &mut self.source,
            _ => return None,
        })
    }
}

fn is_sound(name: &str, value: Option<&str>) -> bool {
    let Some(value) = value else { return true };
    match name {
        "ADDR" => {
            let tagged = value
                .get(..5)
                .is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
            let ip = if tagged {
                value.get(5..).unwrap_or("")
            } else {
                value
            };
            ip.parse::<std::net::IpAddr>().is_ok()
        }
        "PORT" => value.parse::<u16>().is_ok(),
        "PROTO" => value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric()),
        "SOURCE" => value.eq_ignore_ascii_case("LOCAL") || value.eq_ignore_ascii_case("REMOTE"),
        _ => true,
    }
}

/// All attributes, as EHLO advertises them.
pub(crate) const ADVERTISED: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";
const MAX_VALUE: usize = 255;
const MAX_LINE: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_decoded_and_told_on() {
        let mut known = XForward::default();
        known
            .update("NAME=mx.example ADDR=192.0.2.1 PORT=[UNAVAILABLE] HELO=a+20b")
            .unwrap();
        known
            .update("IDENT=4xYz PROTO=ESMTP source=remote")
            .unwrap();
        assert_eq!(known.helo.as_deref(), Some("a b"));
        assert_eq!(known.port, None);
        let offered = ["name", "ADDR", "HELO", "PORT"].map(str::to_owned);
        let lines = known.lines(&offered);
        assert_eq!(
            lines,
            ["XFORWARD NAME=mx.example ADDR=192.0.2.1 PORT=[UNAVAILABLE] HELO=a+20b"]
        );
        let all: Vec<String> = ADVERTISED.split(' ').skip(1).map(str::to_owned).collect();
        let mut again = XForward::default();
        for line in known.lines(&all) {
            again
                .update(line.strip_prefix("XFORWARD ").unwrap())
                .unwrap();
        }
        assert_eq!(again, known);
        known.name = Some("n".repeat(255));
        known.helo = Some("=".repeat(255));
        assert!(known.lines(&all).iter().all(|line| line.len() <= 800));
    }

    #[test]
    fn bad_attributes_change_nothing() {
        for bad in [
            "",
            "NAME",
            "X=y",
            "NAME=a NAME",
            "NAME=a=b",
            "ADDR=host",
            "PORT=99999",
            "HELO=a+0Ab",
            "SOURCE=MOON",
            "PROTO=a+20b",
        ] {
            let mut known = XForward::default();
            assert_eq!(known.update(bad).map_err(|r| r.code()), Err(501), "{bad}");
            assert!(known.is_empty());
        }
        let mut known = XForward::default();
        known.update("ADDR=IPV6:2001:db8::1").unwrap();
        assert!(!known.is_empty());
    }
}
