//! The one writer of header fields: tokens, quoted strings and reason ids go in, lines come out.
//!
//! No text from a message or a certificate can add a line, a comment or a field: what is not a
//! token becomes a quoted string of printable ASCII, everything else in it is percent-encoded, and
//! nothing is longer than [`MAX_VALUE`]. RFC 8601 §2.2, RFC 2045 §5.1 (token), RFC 5322 §3.2.4
//! (quoted-string).

use kenin_pki::address::Address;

use crate::reason::{Reason, ResultWord};

/// Most octets that a value may hold, before quoting.
pub(crate) const MAX_VALUE: usize = 255;

/// Where lines are folded if they can be.
const WIDTH: usize = 78;

/// An `Authentication-Results` field in the making.
#[derive(Debug)]
pub(crate) struct ResultsField {
    /// Pieces between which a line may end; each is written with a space before it.
    pieces: Vec<String>,
}

impl ResultsField {
    /// A field of this authserv-id, without results yet.
    pub(crate) fn new(authserv_id: &str) -> Self {
        Self {
            pieces: vec!["Authentication-Results:".to_owned(), value(authserv_id)],
        }
    }

    /// Adds one result with its properties.
    pub(crate) fn add(
        &mut self,
        result: ResultWord,
        reason: Reason,
        properties: &[(&str, String)],
    ) {
        if let Some(last) = self.pieces.last_mut() {
            last.push(';');
        }
        self.pieces.push(format!("smime={result}"));
        if reason != Reason::Ok {
            self.pieces.push(format!("({reason})"));
        }
        self.pieces.extend(
            properties
                .iter()
                .map(|(name, value)| format!("body.{name}={value}")),
        );
    }

    /// The field, folded, with its line end.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = String::new();
        let mut column = 0;
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                // The first line must hold more than the name.
                if place > 1 && column + 1 + piece.len() > WIDTH {
                    out.push_str("\r\n");
                    column = 0;
                }
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
        }
        out.push_str("\r\n");
        out.into_bytes()
    }
}

/// A field whose value is one long word of base64url and dots, folded anywhere.
pub(crate) fn long_word(name: &str, word: &str) -> Vec<u8> {
    let mut out = format!("{name}: ");
    let mut column = out.len();
    for c in word.chars().filter(char::is_ascii_graphic) {
        if column >= WIDTH {
            out.push_str("\r\n ");
            column = 1;
        }
        out.push(c);
        column += 1;
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// A value of RFC 8601: a token if it is one, else a quoted string.
pub(crate) fn value(text: &str) -> String {
    if !text.is_empty() && text.len() <= MAX_VALUE && text.bytes().all(is_token) {
        return text.to_owned();
    }
    quoted(text)
}

/// Whether a text can be written whole: half an address is another address.
pub(crate) fn fits(text: &str) -> bool {
    let octets = text.bytes().map(width).sum::<usize>();
    octets <= MAX_VALUE
}

/// Octets that one takes in a quoted string, without backslashes.
fn width(byte: u8) -> usize {
    if matches!(byte, b' '..=b'~') { 1 } else { 3 }
}

/// A quoted string of printable ASCII; everything else in it percent-encoded, bounded.
fn quoted(text: &str) -> String {
    let mut inside = String::new();
    let mut octets = 0;
    for byte in text.bytes() {
        octets += width(byte);
        if octets > MAX_VALUE {
            break;
        }
        match byte {
            b'"' | b'\\' => {
                inside.push('\\');
                inside.push(char::from(byte));
            }
            b' '..=b'~' => inside.push(char::from(byte)),
            other => inside.push_str(&format!("%{other:02X}")),
        }
    }
    format!("\"{inside}\"")
}

/// The value for a mail address: `local-part "@" domain-name` of RFC 8601. A domain is written with
/// A-labels; a local part that is no dot-atom is quoted, and percent-encoded where it is not ASCII,
/// because the message may have to travel without SMTPUTF8.
pub(crate) fn address(address: &str) -> String {
    let Ok(parsed) = Address::parse(address) else {
        return value(address);
    };
    let (local, domain) = (parsed.local(), parsed.domain());
    let of = |text: &str, good: fn(u8) -> bool| {
        text.split('.')
            .all(|atom| !atom.is_empty() && atom.bytes().all(good))
    };
    if local.len() + domain.len() >= MAX_VALUE
        || !of(domain, |b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return value(&format!("{local}@{domain}"));
    }
    match of(local, |b| {
        b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
    }) {
        true => format!("{local}@{domain}"),
        false => format!("{}@{domain}", quoted(local)),
    }
}

/// A distinguished name in the form of RFC 4514, which has its own escape for what is not ASCII.
pub(crate) fn distinguished_name(name: &str) -> String {
    let mut ascii = String::new();
    for c in name.chars() {
        let mut utf8 = [0; 4];
        let escaped: String = match c {
            ' '..='~' => c.to_string(),
            other => other
                .encode_utf8(&mut utf8)
                .bytes()
                .map(|byte| format!("\\{byte:02X}"))
                .collect(),
        };
        if ascii.len() + escaped.len() > MAX_VALUE {
            break;
        }
        ascii.push_str(&escaped);
    }
    value(&ascii)
}

/// token of RFC 2045 §5.1.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(properties: &[(&str, String)]) -> String {
        let mut field = ResultsField::new("smime.gw.example.jp");
        field.add(ResultWord::Policy, Reason::FromMismatch, properties);
        String::from_utf8(field.finish()).unwrap()
    }

    #[test]
    fn the_example_of_the_design() {
        let written = field(&[
            ("smime-identifier", address("alice@example.jp")),
            ("smime-part", value("2")),
        ]);
        assert_eq!(
            written.replace("\r\n ", " "),
            "Authentication-Results: smime.gw.example.jp; smime=policy (from-mismatch) \
             body.smime-identifier=alice@example.jp body.smime-part=2\r\n"
        );
        assert!(written.lines().all(|line| line.len() <= 78));
    }

    #[test]
    fn values() {
        assert_eq!(value("2"), "2");
        assert_eq!(value("1/2"), "\"1/2\"");
        assert_eq!(value(""), "\"\"");
        assert_eq!(value("a\"b\\c"), "\"a\\\"b\\\\c\"");
        assert_eq!(
            value("a\r\nX-Kenin-Verdict: pass"),
            "\"a%0D%0AX-Kenin-Verdict: pass\""
        );
        assert_eq!(value(&"x".repeat(70_000)).len(), MAX_VALUE + 2);
        assert_eq!(address("o'brien@example.jp"), "o'brien@example.jp");
        assert_eq!(address("\"a b\"@example.jp"), "\"a b\"@example.jp");
        assert_eq!(address("甲@例え.jp"), "\"%E7%94%B2\"@xn--r8jz45g.jp");
        assert!(fits(&"甲".repeat(28)) && !fits(&"甲".repeat(29)));
        assert_eq!(distinguished_name("CN=田"), "\"CN=\\\\E7\\\\94\\\\B0\"");
    }

    #[test]
    fn long_words_come_back() {
        for length in [0, 1, 40, 61, 62, 63, 75, 76, 77, 500] {
            let word = "abcdefghij".repeat(60)[..length].to_owned();
            let field = String::from_utf8(long_word("X-Kenin-Verdict", &word)).unwrap();
            assert!(field.ends_with("\r\n"));
            assert!(field.lines().all(|line| line.len() <= WIDTH), "{field}");
            assert!(
                field
                    .lines()
                    .skip(1)
                    .all(|line| line.starts_with(' ') && line.len() > 1)
            );
            let lines: Vec<&str> = field.lines().collect();
            let full = lines.iter().rev().skip(1).all(|line| line.len() == WIDTH);
            assert!(full, "{field}");
            let read: String = field["X-Kenin-Verdict:".len()..]
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect();
            assert_eq!(read, word);
        }
    }

    /// Reads a quoted string or token back.
    fn read(value: &str) -> String {
        let Some(inside) = value.strip_prefix('"') else {
            return value.to_owned();
        };
        let mut out = String::new();
        let mut chars = inside.strip_suffix('"').unwrap().chars();
        while let Some(c) = chars.next() {
            out.push(if c == '\\' { chars.next().unwrap() } else { c });
        }
        out
    }

    proptest! {
        /// HDR-02: whatever a certificate says, it is one value on one line.
        #[test]
        fn hdr_02_any_text_is_one_value(text in "(\\PC|[\\x00-\\x20\"\\\\();=]){0,300}") {
            let written = field(&[("smime-issuer", distinguished_name(&text)), ("smime-part", value(&text)),
                ("smime-identifier", address(&text))]);
            prop_assert!(written.ends_with("\r\n"));
            let unfolded = written[..written.len() - 2].replace("\r\n ", " ");
            prop_assert!(unfolded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(written.lines().all(|line| line.len() < 998));
            prop_assert_eq!(written.lines().skip(1).filter(|line| !line.starts_with(' ')).count(), 0);
            // Outside quotes there is our comment and no other, and our one result.
            let mut outside = String::new();
            let (mut quoted, mut escaped) = (false, false);
            for c in unfolded.chars() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    _ if quoted => {}
                    other => outside.push(other),
                }
            }
            prop_assert!(!quoted && !escaped);
            prop_assert_eq!(outside.matches('(').count(), 1);
            prop_assert_eq!(outside.matches(';').count(), 1);
            prop_assert_eq!(outside.matches('=').count(), 4);
        }

        #[test]
        fn printable_values_are_read_back(text in "[ -~]{0,255}") {
            prop_assert_eq!(read(&value(&text)), text);
        }
    }
}
