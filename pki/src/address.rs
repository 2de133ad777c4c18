//! Mail addresses of certificates, and how they compare with one of a message.
//!
//! An address is a mailbox and nothing else: no display name, no comment, no NUL, no route. Domains compare
//! as A-labels without case; local parts without ASCII case or exactly, and never by any Unicode folding.
//! <https://www.rfc-editor.org/rfc/rfc9598#section-5>, RFC 8550 §3.

use std::fmt;

use crate::name::is_unprintable;

/// A mail address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Box<str>,
    domain: Box<str>,
}

impl Address {
    /// Reads `local@domain`: a Mailbox of RFC 5321 §4.1.2, with UTF-8 as in RFC 6531.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(quoted) = text.strip_prefix('"') {
            let (local, rest) = unquote(quoted)?;
            let domain = rest
                .strip_prefix('@')
                .ok_or(AddressError("no @ after the quoted local part"))?;
            return Self::from_parts(&local, domain);
        }
        let (local, domain) = text.split_once('@').ok_or(AddressError("no @"))?;
        if local
            .split('.')
            .any(|atom| atom.is_empty() || !atom.chars().all(is_atext))
        {
            return Err(AddressError("local part is not a dot-atom"));
        }
        Self::from_parts(local, domain)
    }

    /// From a local part without quotes and a domain.
    pub fn from_parts(local: &str, domain: &str) -> Result<Self, AddressError> {
        if local.is_empty() || local.len() > MAX_PART {
            return Err(AddressError("local part out of bounds"));
        }
        // An address is shown to people and decides for them: no control characters, nothing that turns
        // or hides text, but for the joiners that some scripts need.
        if local
            .chars()
            .any(|c| is_unprintable(c) && !matches!(c, '\u{200c}'..='\u{200d}'))
        {
            return Err(AddressError(
                "local part has a character that cannot be seen",
            ));
        }
        Ok(Self {
            local: local.into(),
            domain: domain_to_ascii(domain)?.into(),
        })
    }

    /// The local part, unquoted.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain in lower case, as A-labels.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the local part is ASCII, so that the address fits an rfc822Name.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    /// Whether both are the same mailbox.
    #[must_use]
    pub fn matches(&self, other: &Self, case: AddressCase) -> bool {
        // RFC 9598 §5: a local part beyond ASCII compares octet by octet, whatever its ASCII letters.
        let folded = case == AddressCase::Insensitive && self.is_ascii() && other.is_ascii();
        let same_local = if folded {
            self.local.eq_ignore_ascii_case(&other.local)
        } else {
            self.local == other.local
        };
        same_local && self.domain == other.domain
    }
}

/// `local@domain`, the local part quoted where it has to be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self
            .local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
        {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for character in self.local.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// How local parts compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AddressCase {
    /// ASCII letters compare without case (RFC 8550 §3).
    #[default]
    Insensitive,
    /// Octet by octet.
    Exact,
}

/// Why text is not a mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mail address: {0}")]
pub struct AddressError(pub &'static str);

/// A domain in lower case as A-labels, or an address literal in lower case.
pub fn domain_to_ascii(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() || domain.len() > MAX_PART {
        return Err(AddressError("domain out of bounds"));
    }
    if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        let plain = !literal.is_empty()
            && literal
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-'));
        return if plain {
            Ok(domain.to_ascii_lowercase())
        } else {
            Err(AddressError("bad address literal"))
        };
    }
    let mut out = String::with_capacity(domain.len());
    for label in domain.split('.') {
        if !out.is_empty() {
            out.push('.');
        }
        let start = out.len();
        if label.is_ascii() {
            out.push_str(&label.to_ascii_lowercase());
        } else {
            let lower: Vec<char> = label.chars().flat_map(char::to_lowercase).collect();
            if !lower
                .iter()
                .all(|c| c.is_alphanumeric() || *c == '-' || is_mark(*c))
            {
                return Err(AddressError(
                    "domain label has a character that no domain has",
                ));
            }
            out.push_str("xn--");
            punycode(&lower, &mut out).ok_or(AddressError("domain label too long"))?;
        }
        let label = out.get(start..).unwrap_or_default();
        let good = !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !good {
            return Err(AddressError("bad domain label"));
        }
    }
    // A-labels are longer than what they stand for, and what is written must read again.
    if out.len() > MAX_PART {
        return Err(AddressError("domain out of bounds"));
    }
    Ok(out)
}

/// The content of a quoted string, and what follows its end.
fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((local, text.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next() {
                Some((_, escaped)) => local.push(escaped),
                None => break,
            },
            other => local.push(other),
        }
    }
    Err(AddressError("quoted local part does not end"))
}

fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character) || {
        !character.is_ascii() && !character.is_control() && !character.is_whitespace()
    }
}

/// Combining marks and joiners that scripts of domain names need.
const fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' | '\u{3099}'..='\u{309a}'
        | '\u{200c}'..='\u{200d}' | '\u{b7}' | '\u{30fb}' | '\u{30fc}' | '\u{5f3}'..='\u{5f4}' | '\u{375}')
}

/// RFC 3492 §6.3.
fn punycode(label: &[char], out: &mut String) -> Option<()> {
    if label.len() > 63 {
        return None;
    }
    let basic = label.iter().filter(|c| c.is_ascii());
    let mut handled = u32::try_from(basic.clone().count()).ok()?;
    out.extend(basic);
    if handled > 0 {
        out.push('-');
    }
    let total = u32::try_from(label.len()).ok()?;
    let (mut n, mut delta, mut bias, mut first) = (128_u32, 0_u32, 72_u32, true);
    while handled < total {
        let next = label
            .iter()
            .map(|c| u32::from(*c))
            .filter(|c| *c >= n)
            .min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for character in label.iter().map(|c| u32::from(*c)) {
            if character < n {
                delta = delta.checked_add(1)?;
            }
            if character == n {
                let (mut quotient, mut k) = (delta, 36);
                loop {
                    let threshold = k.clamp(bias + 1, bias + 26) - bias;
                    if quotient < threshold {
                        break;
                    }
                    out.push(digit(
                        threshold + (quotient - threshold) % (36 - threshold),
                    )?);
                    quotient = (quotient - threshold) / (36 - threshold);
                    k += 36;
                }
                out.push(digit(quotient)?);
                bias = adapt(delta, handled + 1, first);
                first = false;
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(())
}

fn digit(value: u32) -> Option<char> {
    char::from_digit(value, 36).map(|_| ()).and_then(|()| {
        let base = if value < 26 {
            u32::from('a')
        } else {
            u32::from('0') - 26
        };
        char::from_u32(base + value)
    })
}

const fn adapt(delta: u32, handled: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / handled;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

const MAX_PART: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn domains_compare_as_a_labels_without_case() {
        assert!(parse("a@Example.ORG").matches(&parse("A@example.org"), AddressCase::Insensitive));
        assert!(!parse("a@example.org").matches(&parse("A@example.org"), AddressCase::Exact));
        assert_eq!(parse("a@Bücher.example").domain(), "xn--bcher-kva.example");
        assert_eq!(parse("a@日本語.jp").domain(), "xn--wgv71a119e.jp");
        assert_eq!(
            parse("a@他们为什么不说中文.cn").domain(),
            "xn--ihqwcrb4cv8a8dqg056pqjye.cn"
        );
        assert_eq!(parse("a@XN--BCHER-KVA.example"), parse("a@bücher.example"));
    }

    /// Such an address was read, and what it was written as was not: a frame with one in it was none.
    #[test]
    fn a_domain_that_is_too_long_as_a_labels_is_none() {
        let domain = |labels: usize| format!("a@{}jp", "é.".repeat(labels));
        let fits = parse(&domain(31));
        assert_eq!(fits.domain().len(), 250);
        assert_eq!(parse(&fits.to_string()), fits);
        for labels in [32, 84] {
            assert!(Address::parse(&domain(labels)).is_err(), "{labels}");
        }
    }

    #[test]
    fn local_parts_fold_only_in_ascii() {
        let insensitive = |a: &str, b: &str| parse(a).matches(&parse(b), AddressCase::Insensitive);
        assert!(insensitive("Dürst@example.org", "Dürst@EXAMPLE.org"));
        assert!(!insensitive("dürst@example.org", "Dürst@example.org"));
        // KELVIN SIGN is not a k.
        assert!(!insensitive("\u{212a}@example.org", "k@example.org"));
        assert!(!insensitive("a+tag@example.org", "a@example.org"));
        assert!(!insensitive("a.b@example.org", "ab@example.org"));
        assert!(insensitive("\"a.b\"@example.org", "a.b@example.org"));
    }

    #[test]
    fn what_is_not_one_mailbox_is_refused() {
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b.c",
            "a@b@c",
            "a b@c.d",
            "a@b..c",
            "a@.b",
            "a@b.",
            "<a@b.c>",
            "a@b c.d",
            "a@b.c\0.d",
            "a\0@b.c",
            "a@b.c\r\nX: y",
            "\"a@b.c",
            "\"a\"b@c.d",
            "\"a\0\"@b.c",
            "a..b@c.d",
            ".a@c.d",
            "a@-b.c",
            "a@b-.c",
            "a@[",
            "a@[]",
            "a@[x y]",
            "a(c)@b.c",
            "a@b.c,d@e.f",
            "a@b/c",
            "a@b\u{2024}c",
            "a@\u{ff0e}c",
            "a\u{202e}b@c.d",
            "a\u{200b}@c.d",
            "\"a\u{2066}\"@c.d",
            "a\u{feff}@c.d",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Address::parse(&format!("{}@b.c", "a".repeat(256))).is_err());
        assert!(Address::parse(&format!("a@{}.c", "b".repeat(64))).is_err());
    }

    #[test]
    fn text_quotes_what_must_be_quoted() {
        for text in [
            "a.b@example.org",
            "\"a b\"@example.org",
            "\"a\\\"b\"@example.org",
            "a@[192.0.2.1]",
            "\".a\"@b.c",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn text_survives(local in "[ -~\u{a1}-\u{ac}\u{ae}-\u{2ff}\u{3041}-\u{3163}\u{4e00}-\u{9fff}]{1,20}", domain in "[a-z]{1,9}(\\.[a-z0-9]{1,9}){0,3}") {
            let address = Address::from_parts(&local, &domain).unwrap();
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }

        #[test]
        fn random_text_does_not_panic(text in ".{0,60}") {
            let _ = Address::parse(&text);
            let _ = domain_to_ascii(&text);
        }
    }
}
