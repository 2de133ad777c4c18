//! Reverse and forward paths and the parameters of MAIL and RCPT. Checks their form only; whether
//! an address is served is the next hop's to say.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2>; SIZE RFC 1870, BODY RFC 6152, DSN
//! RFC 3461, SMTPUTF8 RFC 6531.

use crate::{Body, Recipient, Reply, xtext};

/// The sender of a transaction: a reverse path and the parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The reverse path without its angle brackets; empty for `<>`.
    pub address: String,
    /// SIZE=.
    pub size: Option<u64>,
    /// BODY=.
    pub body: Body,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET=.
    pub ret: Option<String>,
    /// ENVID=, in xtext.
    pub envid: Option<String>,
}

impl Sender {
    /// A sender without parameters.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            ..Self::default()
        }
    }

    /// Reads what follows `MAIL `.
    pub(crate) fn parse(arguments: &str) -> Result<Self, Reply> {
        let syntax = || Reply::new(501, "5.1.7", "Bad sender address syntax");
        let rest = after_keyword(arguments, "FROM:").ok_or_else(syntax)?;
        let (address, parameters) = path(rest).ok_or_else(syntax)?;
        if !address.is_empty() && !is_mailbox(address) {
            return Err(syntax());
        }
        let mut sender = Self::new(address);
        let mut seen = Vec::new();
        for (key, value) in each_parameter(parameters, &mut seen) {
            match (key?.as_str(), value) {
                ("SIZE", Some(value)) => {
                    let digits = value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
                    let size = value.parse().ok().filter(|_| digits);
                    sender.size = Some(size.ok_or_else(bad_parameter)?);
                }
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {}
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                    sender.body = Body::EightBitMime;
                }
                ("SMTPUTF8", None) => sender.smtputf8 = true,
                ("RET", Some(value)) => {
                    let value = value.to_ascii_uppercase();
                    let known = value == "FULL" || value == "HDRS";
                    sender.ret = Some(known.then_some(value).ok_or_else(bad_parameter)?);
                }
                ("ENVID", Some(value)) => {
                    let fits = value.len() <= 100 && value.is_ascii() && xtext::is_xtext(value);
                    sender.envid = Some(fits.then(|| value.to_owned()).ok_or_else(bad_parameter)?);
                }
                ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID", _) => return Err(bad_parameter()),
                _ => return Err(unknown_parameter()),
            }
        }
        if !sender.address.is_ascii() && !sender.smtputf8 {
            return Err(Reply::new(
                553,
                "5.6.7",
                "Non-ASCII sender address needs SMTPUTF8",
            ));
        }
        Ok(sender)
    }
}

impl Recipient {
    /// A recipient without parameters.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            notify: None,
            orcpt: None,
        }
    }

    /// Reads what follows `RCPT `.
    pub(crate) fn parse(arguments: &str, smtputf8: bool) -> Result<Self, Reply> {
        let syntax = || Reply::new(501, "5.1.3", "Bad recipient address syntax");
        let rest = after_keyword(arguments, "TO:").ok_or_else(syntax)?;
        let (address, parameters) = path(rest).ok_or_else(syntax)?;
        if address.starts_with('@') {
            return Err(Reply::new(553, "5.1.3", "Source routes are not accepted"));
        }
        if !address.eq_ignore_ascii_case("postmaster") && !is_mailbox(address) {
            return Err(syntax());
        }
        if !address.is_ascii() && !smtputf8 {
            return Err(Reply::new(
                553,
                "5.6.7",
                "Non-ASCII recipient address needs SMTPUTF8",
            ));
        }
        let mut recipient = Self::new(address);
        let mut seen = Vec::new();
        for (key, value) in each_parameter(parameters, &mut seen) {
            match (key?.as_str(), value) {
                ("NOTIFY", Some(value)) => {
                    let value = value.to_ascii_uppercase();
                    let fits = is_notify(&value);
                    recipient.notify = Some(fits.then_some(value).ok_or_else(bad_parameter)?);
                }
                ("ORCPT", Some(value)) => {
                    let (kind, original) = value.split_once(';').ok_or_else(bad_parameter)?;
                    let fits = value.len() <= 500
                        && is_keyword(kind)
                        && (value.is_ascii() || smtputf8)
                        && xtext::is_xtext(original);
                    recipient.orcpt =
                        Some(fits.then(|| value.to_owned()).ok_or_else(bad_parameter)?);
                }
                ("NOTIFY" | "ORCPT", None) => return Err(bad_parameter()),
                _ => return Err(unknown_parameter()),
            }
        }
        Ok(recipient)
    }
}

/// `FROM:<a>` and `FROM: <a>`: the space is wrong and everywhere.
fn after_keyword<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let head = arguments.get(..keyword.len())?;
    let rest = arguments.get(keyword.len()..)?;
    head.eq_ignore_ascii_case(keyword)
        .then(|| rest.trim_start_matches(' '))
}

/// Splits `<path> parameters`; a `>` inside a quoted string does not end the path.
fn path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let rest = inner.get(at + 1..)?;
                let separated = rest.is_empty() || rest.starts_with(' ');
                return separated.then_some((inner.get(..at)?, rest));
            }
            _ => {}
        }
    }
    None
}

/// `local-part@domain`, bounded, where nothing can end the path or the line.
pub(crate) fn is_mailbox(address: &str) -> bool {
    let Some(at) = address.rfind('@') else {
        return false;
    };
    let (local, domain) = (
        address.get(..at).unwrap_or(""),
        address.get(at + 1..).unwrap_or(""),
    );
    let local_fits = match local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(inner) => is_quoted(inner),
        None => {
            // Dots may stand anywhere: Japanese carriers gave out such addresses for years.
            !local.is_empty()
                && local
                    .chars()
                    .all(|c| !c.is_control() && !" \t\"(),:;<>@[\\]".contains(c))
        }
    };
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    let domain_fits = match literal {
        Some(inner) => {
            !inner.is_empty()
                && inner
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c))
        }
        None => {
            !domain.is_empty()
                && domain
                    .chars()
                    .all(|c| c.is_alphanumeric() || "-._".contains(c) || c > '\u{7f}')
                && !domain.starts_with(['.', '-'])
                && !domain.contains("..")
        }
    };
    local_fits && domain_fits && address.len() <= MAX_ADDRESS
}

fn is_quoted(inner: &str) -> bool {
    let mut escaped = false;
    for c in inner.chars() {
        if c.is_control() || (!escaped && c == '"') {
            return false;
        }
        escaped = !escaped && c == '\\';
    }
    !escaped
}

/// Gives `KEY`, `value` pairs; a pair is an error when malformed or given twice.
fn each_parameter<'a>(
    text: &'a str,
    seen: &'a mut Vec<String>,
) -> impl Iterator<Item = (Result<String, Reply>, Option<&'a str>)> {
    text.split(' ')
        .filter(|part| !part.is_empty())
        .map(move |part| {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            let key = key.to_ascii_uppercase();
            let sound = is_keyword(&key)
                && !seen.contains(&key)
                && value.is_none_or(|v| !v.is_empty() && !v.chars().any(char::is_control));
            if !sound {
                return (Err(bad_parameter()), value);
            }
            seen.push(key.clone());
            (Ok(key), value)
        })
}

fn is_keyword(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_notify(value: &str) -> bool {
    let known = |word: &str| matches!(word, "SUCCESS" | "FAILURE" | "DELAY");
    value == "NEVER" || (value.len() <= 21 && value.split(',').all(known))
}

fn bad_parameter() -> Reply {
    Reply::new(501, "5.5.4", "Bad parameter")
}

fn unknown_parameter() -> Reply {
    Reply::new(555, "5.5.4", "Parameter not recognized")
}

/// RFC 5321 §4.5.3.1.3 allows 256 for a path; addresses made by lists and SRS are longer.
const MAX_ADDRESS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(arguments: &str) -> Result<Sender, u16> {
        Sender::parse(arguments).map_err(|reply| reply.code())
    }

    fn rcpt(arguments: &str) -> Result<Recipient, u16> {
        Recipient::parse(arguments, false).map_err(|reply| reply.code())
    }

    #[test]
    fn senders_with_all_parameters() {
        let sender = mail("FROM:<a@b.example> SIZE=12 body=8bitmime RET=hdrs ENVID=x+2B SMTPUTF8");
        let expected = Sender {
            address: "a@b.example".to_owned(),
            size: Some(12),
            body: Body::EightBitMime,
            smtputf8: true,
            ret: Some("HDRS".to_owned()),
            envid: Some("x+2B".to_owned()),
        };
        assert_eq!(sender, Ok(expected));
        assert_eq!(mail("from: <>"), Ok(Sender::default()));
        assert_eq!(
            mail("FROM:<\"a>b\\\" c\"@d>").unwrap().address,
            "\"a>b\\\" c\"@d"
        );
        assert!(mail("FROM:<a@[IPv6:::1]>").is_ok());
        assert!(mail("FROM:<ü@b> SMTPUTF8").is_ok());
        assert!(mail("FROM:<.a..b.@docomo.example>").is_ok());
    }

    #[test]
    fn bad_senders() {
        for bad in [
            "",
            "FROM",
            "FROM:",
            "FROM:a@b",
            "FROM:<a@b",
            "FROM:<a>",
            "FROM:<a@>",
            "FROM:<@b>",
            "FROM:<a@b>x",
            "FROM:<a b@c>",
            "FROM:<a@b c>",
            "FROM:<a\tb@c>",
            "TO:<a@b>",
            "FROM:<a@b..c>",
            "FROM:<\"a\"b\"@c>",
            "FROM:<a@b@c>",
            "FROM:<<a@b>>",
            "FROM:<a@b> SIZE",
            "FROM:<a@b> SIZE=",
            "FROM:<a@b> SIZE=-1",
            "FROM:<a@b> SIZE=+1",
            "FROM:<a@b> SIZE=1 SIZE=1",
            "FROM:<a@b> SIZE=99999999999999999999",
            "FROM:<a@b> BODY=BINARYMIME",
            "FROM:<a@b> RET=X",
            "FROM:<a@b> ENVID=a=b",
            "FROM:<a@b> ENVID=a+0D+0AX:+20y",
            "FROM:<a@b> SMTPUTF8=1",
            "FROM:<a@b> =",
            "FROM:<a@b> -A=1",
        ] {
            assert_eq!(mail(bad), Err(501), "{bad}");
        }
        assert_eq!(mail("FROM:<a@b> AUTH=<>"), Err(555));
        assert_eq!(mail("FROM:<ü@b>"), Err(553));
        assert_eq!(mail(&format!("FROM:<{}@b>", "a".repeat(511))), Err(501));
    }

    #[test]
    fn recipients() {
        let expected = Recipient {
            address: "a@b".to_owned(),
            notify: Some("SUCCESS,DELAY".to_owned()),
            orcpt: Some("rfc822;a+2Bx@b".to_owned()),
        };
        assert_eq!(
            rcpt("TO:<a@b> NOTIFY=success,delay ORCPT=rfc822;a+2Bx@b"),
            Ok(expected)
        );
        assert_eq!(rcpt("TO:<Postmaster>").unwrap().address, "Postmaster");
        for bad in [
            "TO:<>",
            "TO:<a>",
            "TO:a@b",
            "TO:<a@b> NOTIFY=NEVER,DELAY",
            "TO:<a@b> NOTIFY=X",
            "TO:<a@b> ORCPT=x",
            "TO:<a@b> ORCPT=rfc822;a=b",
            "TO:<a@b> ORCPT=rfc822;a+0Ab",
            "TO:<a@b> NOTIFY",
        ] {
            assert_eq!(rcpt(bad), Err(501), "{bad}");
        }
        assert_eq!(rcpt("TO:<@a,@b:c@d>"), Err(553));
        assert_eq!(rcpt("TO:<ü@b>"), Err(553));
        assert_eq!(rcpt("TO:<a@b> SIZE=1"), Err(555));
        assert!(Recipient::parse("TO:<ü@b>", true).is_ok());
    }
}
