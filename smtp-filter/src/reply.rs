//! A reply of an SMTP server: code, enhanced code, text. It never holds a line break or a control
//! character, so writing one cannot inject a second reply.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.2>,
//! <https://www.rfc-editor.org/rfc/rfc3463>.

use std::fmt;

/// One reply: what a server says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    lines: Vec<String>,
}

impl Reply {
    /// A reply with an enhanced status code, for example `Reply::new(550, "5.7.1", "Refused")`.
    ///
    /// A code outside 200…599 becomes 451, and an enhanced code that cannot be read or whose class
    /// is not the code's is left out: a reply is always well formed.
    #[must_use]
    pub fn new(code: u16, enhanced: &str, text: &str) -> Self {
        let mut reply = Self::plain(code, text);
        reply.enhanced =
            Enhanced::parse(enhanced).filter(|e| u16::from(e.class) == reply.code / 100);
        reply
    }

    /// What is said of a mail that could not be treated: it stays the sender's, for another try.
    #[must_use]
    pub fn aborted() -> Self {
        Self::new(451, "4.3.0", "Processing aborted, try again later")
    }

    /// A reply without an enhanced status code (the banner, the EHLO answer, 354).
    #[must_use]
    pub fn plain(code: u16, text: &str) -> Self {
        Self {
            code: if (200..600).contains(&code) {
                code
            } else {
                451
            },
            enhanced: None,
            lines: vec![clean(text)],
        }
    }

    /// Adds one more line of text.
    #[must_use]
    pub fn line(mut self, text: &str) -> Self {
        self.lines.push(clean(text));
        self
    }

    pub(crate) fn from_parts(code: u16, enhanced: Option<Enhanced>, lines: Vec<String>) -> Self {
        let lines = if lines.is_empty() {
            vec![String::new()]
        } else {
            lines
        };
        Self {
            code,
            enhanced,
            lines,
        }
    }

    /// What a client is told of a next hop's reply: its class and codes stay; 421 becomes 451,
    /// because it is not our session that ends; a missing enhanced code becomes `x.{rest}`.
    pub(crate) fn relayed(&self, rest: (u16, u16), prefix: &str) -> Self {
        let class = u8::try_from(self.code / 100).unwrap_or(4);
        let enhanced = Enhanced {
            class,
            subject: rest.0,
            detail: rest.1,
        };
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .take(MAX_LINES)
            .map(|line| clean(line))
            .collect();
        if let Some(first) = lines.first_mut() {
            *first = clean(&format!("{prefix}{first}"));
        }
        Self {
            code: if self.code == 421 { 451 } else { self.code },
            enhanced: self.enhanced.or(Some(enhanced)),
            lines,
        }
    }

    /// The three-digit code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The lines of text, without the codes.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The text as one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Whether it is a 2xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it is a 4xx: the client keeps the mail and tries again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// The bytes on the wire, with CRLF.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if at == last { b' ' } else { b'-' });
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(enhanced.to_string().as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text())
    }
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// The subject, for example 7 for security.
    pub subject: u16,
    /// The detail.
    pub detail: u16,
}

impl Enhanced {
    /// Reads `5.7.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let subject = small(parts.next()?)?;
        let detail = small(parts.next()?)?;
        parts.next().is_none().then_some(Self {
            class,
            subject,
            detail,
        })
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn small(digits: &str) -> Option<u16> {
    let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Printable ASCII only, bounded: a reply line may be built from what a peer said.
fn clean(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT)
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// RFC 5321 §4.5.3.1.5 allows 512 octets for a reply line, codes and CRLF included.
const MAX_TEXT: usize = 480;

/// Lines of a next hop's reply that are passed on.
const MAX_LINES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_reply_keeps_its_class() {
        let relayed = |reply: Reply| reply.relayed((1, 5), "next hop said: ").to_string();
        assert_eq!(
            relayed(Reply::new(550, "5.1.1", "unknown")),
            "550 5.1.1 next hop said: unknown"
        );
        assert_eq!(
            relayed(Reply::plain(421, "bye")),
            "451 4.1.5 next hop said: bye"
        );
        assert_eq!(
            relayed(Reply::plain(450, &"x".repeat(999))).len(),
            "450 4.1.5 ".len() + 480
        );
    }

    #[test]
    fn a_reply_cannot_hold_a_second_line() {
        let reply = Reply::new(550, "5.7.1", "no\r\n250 yes");
        assert_eq!(reply.to_bytes(), b"550 5.7.1 no??250 yes\r\n");
    }

    #[test]
    fn lines_repeat_both_codes() {
        let reply = Reply::new(250, "2.1.5", "a").line("b");
        assert_eq!(reply.to_bytes(), b"250-2.1.5 a\r\n250 2.1.5 b\r\n");
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_left_out() {
        assert_eq!(Reply::new(451, "5.7.1", "x").to_string(), "451 x");
        assert_eq!(Reply::new(7, "4.0.0", "x").code(), 451);
        assert_eq!(Enhanced::parse("5.7"), None);
        assert_eq!(Enhanced::parse("5.7.1.1"), None);
        assert_eq!(Enhanced::parse("5.+7.1"), None);
    }
}
