//! What a server offers in EHLO, and what of a transaction it can take. Never guesses: what is not
//! offered is not there.

use crate::{Body, Recipient, Reply, client::Sender};

/// The extensions of a server that matter for relaying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// DSN.
    pub dsn: bool,
    /// SIZE: `Some(0)` or `Some(limit)`.
    pub size: Option<u64>,
    /// PIPELINING.
    pub pipelining: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// The attributes of XFORWARD.
    pub xforward: Vec<String>,
}

impl Capabilities {
    /// Reads the lines of an EHLO answer; the first is a greeting.
    #[must_use]
    pub fn parse(lines: &[String]) -> Self {
        let mut found = Self::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "SIZE" => {
                    found.size = Some(words.next().and_then(|w| w.parse().ok()).unwrap_or(0));
                }
                "PIPELINING" => found.pipelining = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "STARTTLS" => found.starttls = true,
                "XFORWARD" => found.xforward = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        found
    }

    /// The MAIL command, without CRLF, with the parameters that the server offers.
    ///
    /// # Errors
    ///
    /// The reply to give when something cannot be left out.
    pub fn mail_line(&self, sender: &Sender) -> Result<String, Reply> {
        let needs_utf8 = sender.smtputf8 || !sender.address.is_ascii();
        if needs_utf8 && !self.smtputf8 {
            return Err(Reply::new(
                550,
                "5.6.7",
                "Next hop does not support SMTPUTF8",
            ));
        }
        if let (Some(limit @ 1..), Some(size)) = (self.size, sender.size)
            && size > limit
        {
            return Err(Reply::new(
                552,
                "5.3.4",
                "Message size exceeds the limit of the next hop",
            ));
        }
        let mut line = format!("MAIL FROM:<{}>", sender.address);
        if let (Some(_), Some(size)) = (self.size, sender.size) {
            line.push_str(&format!(" SIZE={size}"));
        }
        if self.eight_bit_mime && sender.body == Body::EightBitMime {
            line.push_str(" BODY=8BITMIME");
        }
        if needs_utf8 {
            line.push_str(" SMTPUTF8");
        }
        if self.dsn {
            append(&mut line, "RET", sender.ret.as_deref());
            append(&mut line, "ENVID", sender.envid.as_deref());
        }
        Ok(line)
    }

    /// The RCPT command, without CRLF, with the parameters that the server offers.
    #[must_use]
    pub fn rcpt_line(&self, recipient: &Recipient) -> String {
        let mut line = format!("RCPT TO:<{}>", recipient.address);
        if self.dsn {
            append(&mut line, "NOTIFY", recipient.notify.as_deref());
            append(&mut line, "ORCPT", recipient.orcpt.as_deref());
        }
        line
    }
}

fn append(line: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        line.push_str(&format!(" {key}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(lines: &[&str]) -> Capabilities {
        let lines: Vec<_> = lines.iter().map(|l| (*l).to_owned()).collect();
        Capabilities::parse(&lines)
    }

    #[test]
    fn parameters_go_only_where_they_are_offered() {
        let sender = Sender::parse("FROM:<a@b> SIZE=9 BODY=8BITMIME RET=FULL ENVID=x").unwrap();
        let recipient = Recipient::parse("TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d", false).unwrap();
        let none = offered(&["DSN", "x"]);
        assert_eq!(none, Capabilities::default());
        assert_eq!(none.mail_line(&sender).unwrap(), "MAIL FROM:<a@b>");
        assert_eq!(none.rcpt_line(&recipient), "RCPT TO:<c@d>");
        let all = offered(&[
            "h",
            "dsn",
            "SIZE 10",
            "8BITMIME",
            "SMTPUTF8",
            "XFORWARD NAME ADDR",
        ]);
        assert_eq!(
            all.mail_line(&sender).unwrap(),
            "MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME RET=FULL ENVID=x"
        );
        assert_eq!(
            all.rcpt_line(&recipient),
            "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d"
        );
        assert_eq!(all.xforward, ["NAME", "ADDR"]);
    }

    #[test]
    fn what_cannot_be_left_out_is_refused() {
        let utf8 = Sender::parse("FROM:<a@b> SMTPUTF8").unwrap();
        let refused = Capabilities::default().mail_line(&utf8).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "550 5.6.7 Next hop does not support SMTPUTF8"
        );
        let big = Sender {
            size: Some(11),
            ..Sender::new("a@b")
        };
        assert_eq!(
            offered(&["h", "SIZE 10"])
                .mail_line(&big)
                .unwrap_err()
                .code(),
            552
        );
        assert!(offered(&["h", "SIZE 0"]).mail_line(&big).is_ok());
        assert!(offered(&["h", "SIZE x"]).mail_line(&big).is_ok());
    }
}
