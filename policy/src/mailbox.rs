//! Who a message says it is from: exactly one From field with exactly one strict mailbox, or
//! nobody.
//!
//! RFC 5322 §3.4 and §3.6.2, RFC 6532 for UTF-8. Whatever two mail programs could read differently
//! is ambiguous, and so is a display name or comment that, decoded, shows another person's address:
//! people read the display name. Never guesses. The decoded text is only looked at, never compared
//! as an identity.

use std::collections::HashSet;

use kenin_pki::address::Address;

use crate::header::{Header, unfold};

mod words;

pub(crate) use words::{decoded, readings};

/// Longest From value that is looked at; RFC 5322 §2.1.1 allows no longer line.
const MAX_VALUE: usize = 998;

/// Longest run of white space: more of it only pushes the rest out of sight.
const MAX_SPACES: usize = 64;

/// How many addresses are collected for reports.
const MAX_ADDRESSES: usize = 8;

/// How many domains, and addresses, a From may show.
const MAX_SHOWN: usize = 100;

/// What the From field says.
#[derive(Clone, Debug)]
pub struct FromField {
    /// Addresses that stand in the From fields, for reports; never an identity.
    pub addresses: Vec<String>,
    /// The one mailbox, or why there is not exactly one.
    pub mailbox: Result<Mailbox, Ambiguity>,
}

/// One strict mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its address.
    pub address: Address,
    /// The address as written.
    pub written: String,
}

/// Why From does not name exactly one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguity(pub &'static str);

/// Reads the From fields of a header.
pub fn from_field(raw: &[u8], header: &Header) -> FromField {
    let mut fields = header
        .fields
        .iter()
        .filter(|field| field.may_be(raw, |name| name == "from"));
    let (first, second) = (fields.next(), fields.next());
    let mut addresses = Vec::new();
    for field in [first, second].into_iter().flatten() {
        collect_addresses(&unfold(field.value(raw)), &mut addresses);
    }
    let mailbox = match (first, second) {
        (None, _) => Err(Ambiguity("there is no From field")),
        (Some(_), Some(_)) => Err(Ambiguity("there is more than one From field")),
        (Some(field), None) if !field.is_plainly(raw, "from") => {
            Err(Ambiguity("the name of the From field is oddly spelled"))
        }
        (Some(field), None) => unfold_strictly(field.value(raw)).and_then(|value| parse(&value)),
    };
    if let Ok(mailbox) = &mailbox {
        addresses = vec![mailbox.written.clone()];
    }
    FromField { addresses, mailbox }
}

/// Whom some reader may find in the From fields: as wide as possible, because a rule that
/// asks for signatures of a domain must not be evaded by a spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// As written or decoded.
    pub domains: Vec<String>,
    /// The addresses that can be told whole, likewise.
    pub addresses: Vec<String>,
    /// There are more than anybody would read.
    pub crowded: bool,
}

impl Shown {
    /// Reads all From fields, whole.
    pub fn read(raw: &[u8], header: &Header) -> Self {
        let (mut found, mut whole) = (HashSet::new(), HashSet::new());
        let fields = header
            .fields
            .iter()
            .filter(|field| field.may_be(raw, |name| name == "from"));
        for field in fields {
            let value = unfold(field.value(raw));
            let text = String::from_utf8_lossy(&value);
            words::domains(&text, &mut found);
            for reading in readings(&text) {
                words::addresses_in_forms(&reading, &mut whole);
            }
            if found.len() > MAX_SHOWN || whole.len() > MAX_SHOWN {
                break;
            }
        }
        let crowded = found.len() > MAX_SHOWN || whole.len() > MAX_SHOWN;
        let few = |all: HashSet<String>| {
            let mut all: Vec<String> = all.into_iter().collect();
            all.sort();
            all.truncate(MAX_SHOWN);
            all
        };
        Self {
            domains: few(found),
            addresses: few(whole),
            crowded,
        }
    }
}

/// One line of text, or the reason why it is none.
fn unfold_strictly(value: &[u8]) -> Result<String, Ambiguity> {
    if value.len() > MAX_VALUE {
        return Err(Ambiguity("the From field is longer than a line may be"));
    }
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let text =
        std::str::from_utf8(value).map_err(|_| Ambiguity("From is neither ASCII nor UTF-8"))?;
    let mut out = String::with_capacity(text.len());
    let mut spaces = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\n' if matches!(chars.peek(), Some(' ' | '\t')) => continue,
            ' ' | '\t' => {
                spaces += 1;
                out.push(' ');
                if spaces > MAX_SPACES {
                    return Err(Ambiguity("From holds a long run of white space"));
                }
                continue;
            }
            _ if c.is_control() => return Err(Ambiguity("From holds a control character")),
            _ if reorders(c) => return Err(Ambiguity("From holds a direction control")),
            _ => out.push(c),
        }
        spaces = 0;
    }
    Ok(out)
}

/// Characters that make text look other than it is: direction controls, line separators, fillers.
fn reorders(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Reads one unfolded value as exactly one mailbox.
///
/// # Errors
/// Why it is not exactly one.
pub fn parse(value: &str) -> Result<Mailbox, Ambiguity> {
    let tokens = tokens(value)?;
    let plain: Vec<&Token<'_>> = tokens
        .iter()
        .filter(|token| !matches!(token, Token::Comment(_)))
        .collect();
    let angle = plain
        .iter()
        .position(|token| matches!(token, Token::Angle(_)));
    let written = match (angle, plain.as_slice()) {
        (_, []) => return Err(Ambiguity("From is empty")),
        (Some(place), all) if place + 1 == all.len() => {
            let Some(Token::Angle(address)) = all.last() else {
                return Err(Ambiguity("From is not a mailbox"));
            };
            for token in all.get(..place).unwrap_or_default() {
                match token {
                    // No phrase, but some programs write the address twice, and that says nothing false.
                    Token::Bare(text) if is_again(text, all) => {}
                    Token::Bare(text) => check_phrase(text)?,
                    _ => {}
                }
            }
            check_comment_places(&tokens)?;
            *address
        }
        (Some(_), _) => return Err(Ambiguity("From goes on after the address")),
        (None, [Token::Bare(address)]) => address.trim(),
        (None, _) => return Err(Ambiguity("From is not one plain address")),
    };
    let address = check_address(written)?;
    // People read words, comments and the address as one line: look at them one by one and joined, as
    // they stand, with space between them and without.
    let shown: Vec<&str> = tokens
        .iter()
        .filter_map(|token| match token {
            Token::Comment(text) | Token::Quoted(text) => Some(*text),
            Token::Bare(text) if angle.is_some() => Some(*text),
            Token::Bare(_) | Token::Angle(_) => None,
        })
        .collect();
    let (spaced, close) = (shown.join(" "), shown.concat());
    for text in shown
        .iter()
        .copied()
        .chain([spaced.as_str(), close.as_str()])
    {
        if words::shows_other_address(text, written) {
            return Err(Ambiguity(
                "the display name shows another address or hides something",
            ));
        }
    }
    Ok(Mailbox {
        address,
        written: written.to_owned(),
    })
}

/// The parts of a From value.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Between parentheses, with what is nested in it.
    Comment(&'a str),
    /// Between double quotes, with its backslashes.
    Quoted(&'a str),
    /// Between angle brackets.
    Angle(&'a str),
    /// Anything else, up to the next of the above.
    Bare(&'a str),
}

fn tokens(value: &str) -> Result<Vec<Token<'_>>, Ambiguity> {
    let mut out = Vec::new();
    let mut rest = value.trim_matches(' ');
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => {
                let inside = closing(rest, '(', ')').ok_or(Ambiguity("a comment has no end"))?;
                (Token::Comment(inside), inside.len() + 2)
            }
            '"' => {
                let inside =
                    closing(rest, '"', '"').ok_or(Ambiguity("a quoted string has no end"))?;
                (Token::Quoted(inside), inside.len() + 2)
            }
            '<' => {
                let end = rest
                    .find('>')
                    .ok_or(Ambiguity("an angle bracket has no end"))?;
                (Token::Angle(rest.get(1..end).unwrap_or_default()), end + 1)
            }
            '>' | ')' => return Err(Ambiguity("a bracket has no start")),
            ',' => return Err(Ambiguity("From is a list")),
            ';' => return Err(Ambiguity("From is a group or a list")),
            _ => {
                let end = rest
                    .find(['(', ')', '"', '<', '>', ',', ';'])
                    .unwrap_or(rest.len());
                (Token::Bare(rest.get(..end).unwrap_or_default()), end)
            }
        };
        out.push(token);
        rest = rest
            .get(length..)
            .unwrap_or_default()
            .trim_start_matches(' ');
    }
    Ok(out)
}

/// What stands between the first character and the one that closes it; backslashes escape, and
/// comments nest (counted, not by recursion).
fn closing(text: &str, open: char, close: char) -> Option<&str> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == close && depth > 0 && (open != close || place > 0) => {
                depth -= 1;
                if depth == 0 {
                    return text.get(open.len_utf8()..place);
                }
            }
            _ if c == open => depth += 1,
            _ => {}
        }
    }
    None
}

/// Whether the text is the address that stands behind it, perhaps between apostrophes.
fn is_again(text: &str, tokens: &[&Token<'_>]) -> bool {
    let bare = text.trim().trim_matches(['\'', '`']);
    matches!(tokens.last(), Some(Token::Angle(address)) if bare.eq_ignore_ascii_case(address))
}

/// Words of a display name: atoms, and dots as in obs-phrase ("J. Doe").
fn check_phrase(text: &str) -> Result<(), Ambiguity> {
    match text
        .chars()
        .find(|&c| !(is_atext(c) || c == '.' || c == ' '))
    {
        None => Ok(()),
        Some('@' | '\u{ff20}') => Err(Ambiguity("an address stands before the address")),
        Some(':') => Err(Ambiguity("From is a group")),
        Some(_) => Err(Ambiguity("the display name is not a phrase")),
    }
}

/// A comment may stand anywhere but between the parts of an address, where readers differ.
fn check_comment_places(tokens: &[Token<'_>]) -> Result<(), Ambiguity> {
    let bare_after_comment = tokens.windows(3).any(|three| {
        matches!(three, [Token::Bare(_), Token::Comment(_), Token::Bare(next)] if next.starts_with('@'))
    });
    match bare_after_comment {
        true => Err(Ambiguity("a comment stands inside an address")),
        false => Ok(()),
    }
}

/// An addr-spec as people write it: dot-atom on both sides of one `@`.
fn check_address(written: &str) -> Result<Address, Ambiguity> {
    let Some((local, domain)) = written.split_once('@') else {
        return Err(Ambiguity("there is no address"));
    };
    if written.contains(['"', '\\']) {
        return Err(Ambiguity("the local part is quoted"));
    }
    if written.starts_with('@') || written.contains(',') {
        return Err(Ambiguity("the address is empty or a route"));
    }
    if !is_dot_atom(local) || !is_dot_atom(domain) {
        return Err(Ambiguity("the address is not of the form local@domain"));
    }
    if written.contains("=?") {
        return Err(Ambiguity("the address holds an encoded word"));
    }
    if written.chars().any(odd_in_address) {
        return Err(Ambiguity("the address holds look-alike characters"));
    }
    if local.len() > 64 || domain.len() > 255 {
        return Err(Ambiguity("the address is too long"));
    }
    Address::parse(written).map_err(|_| Ambiguity("the address cannot be read"))
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// atext of RFC 5322 §3.2.3 and RFC 6532 §3.2.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '/'
                | '='
                | '?'
                | '^'
                | '_'
                | '`'
                | '{'
                | '|'
                | '}'
                | '~'
        )
        || (!c.is_ascii() && !c.is_control())
}

/// Characters outside ASCII that look like syntax, like space, or like nothing.
fn odd_in_address(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ff01}'..='\u{ff5e}' | '\u{fe50}'..='\u{fe6b}' | '\u{ad}' | '\u{34f}' | '\u{115f}'
            | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2024}' | '\u{2044}' | '\u{2060}'..='\u{206f}' | '\u{2215}' | '\u{3002}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ff61}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
        )
}

/// Collects what looks like addresses, printable and bounded.
fn collect_addresses(value: &[u8], out: &mut Vec<String>) {
    let text = String::from_utf8_lossy(value.get(..MAX_VALUE.min(value.len())).unwrap_or_default());
    let found = words::addresses(&text);
    for address in found {
        if out.len() < MAX_ADDRESSES && !out.contains(&address) {
            out.push(address);
        }
    }
}

#[cfg(test)]
mod tests;
