//! What people see in a display name or comment: encoded words decoded, look-alikes narrowed, and
//! the addresses in it found. Only for saying "ambiguous"; nothing here becomes an identity. RFC
//! 2047 (encoded words), read as leniently as mail programs do.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, WINDOWS_1252};
use kenin_pki::address::{Address, AddressCase};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longest text of an encoded word that is looked at; RFC 2047 allows 75 with all around it.
const MAX_WORD: usize = 1024;

/// Whether text beside an address shows another address, or cannot be shown safely.
pub(super) fn shows_other_address(text: &str, own: &str) -> bool {
    [Words::Joined, Words::OneByOne]
        .into_iter()
        .any(|words| shows_other(text, own, words))
}

fn shows_other(text: &str, own: &str, words: Words) -> bool {
    let mut seen = unescape(text);
    // Some programs decode what decoding has laid bare; nobody decodes three times.
    for _ in 0..3 {
        if seen
            .chars()
            .any(|c| (c.is_control() && c != '\t') || super::reorders(c))
        {
            return true;
        }
        if holds_other(&seen, own) {
            return true;
        }
        match decode(&seen, words) {
            Decoded::Same => return false,
            Decoded::Unreadable => return true,
            Decoded::Text(text) => seen = text,
        }
    }
    true
}

/// Adds every domain that stands behind an `@` for some reader: as written and decoded, with comments,
/// quotes and white space and without.
pub(super) fn domains(text: &str, found: &mut HashSet<String>) {
    for words in [Words::WhatCanBe, Words::OneByOne] {
        let mut seen = text.to_owned();
        for _ in 0..3 {
            for form in forms(&seen) {
                for (place, _) in form.match_indices('@') {
                    let after = form.get(place + 1..).unwrap_or_default();
                    let domain = domain_with_marks(after.trim_start());
                    if !domain.is_empty() && found.len() <= super::MAX_SHOWN {
                        found.insert(domain.to_lowercase());
                    }
                }
            }
            match decode(&seen, words) {
                Decoded::Text(text) => seen = text,
                Decoded::Same | Decoded::Unreadable => break,
            }
        }
    }
}

/// Adds every address that stands around an `@` for some reader, in the same forms. Encoded words stay as they are.
pub(super) fn addresses_in_forms(text: &str, found: &mut HashSet<String>) {
    for form in forms(text) {
        for (place, _) in form.match_indices('@') {
            if found.len() > super::MAX_SHOWN {
                return;
            }
            let (before, after) = (form.get(..place), form.get(place + 1..));
            let local = local_before(before.unwrap_or_default().trim_end());
            let domain = domain_with_marks(after.unwrap_or_default().trim_start());
            if !local.is_empty() && !domain.is_empty() {
                found.insert(format!("{local}@{domain}"));
            }
        }
    }
}

/// A text as it stands, without comments, quotes and backslashes, and without white space too: all without what is not
/// seen; and with it, since marks may belong to the letters before them.
fn forms(text: &str) -> Vec<String> {
    let whole: String = text.chars().map(narrow).collect();
    let seen: String = whole.chars().filter(|c| !invisible(*c)).collect();
    let mut found = Vec::new();
    let both = seen != whole;
    for form in std::iter::once(seen).chain(both.then_some(whole)) {
        let bare = without_syntax(&form);
        let close = bare.chars().filter(|c| !c.is_whitespace()).collect();
        found.extend([form, bare, close]);
    }
    found
}

/// Without comments, quotes and backslashes.
fn without_syntax(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut escaped) = (0_usize, false);
    for c in text.chars() {
        match c {
            '(' if !escaped => depth += 1,
            ')' if !escaped && depth > 0 => depth -= 1,
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '"' => {}
            _ if depth > 0 => {}
            other => out.push(other),
        }
        escaped = false;
    }
    out
}

/// Everything that one reader or another shows of a text: as it is, with its encoded words decoded
/// together or one by one, and what decoding lays bare decoded again.
pub(crate) fn readings(text: &str) -> Vec<String> {
    let mut found = vec![text.to_owned()];
    for words in [Words::WhatCanBe, Words::OneByOne] {
        let mut seen = text.to_owned();
        for _ in 0..3 {
            let Decoded::Text(text) = decode(&seen, words) else {
                break;
            };
            found.push(text.clone());
            seen = text;
        }
    }
    found
}

/// The text with its encoded words decoded, if it has any that can be.
pub(crate) fn decoded(text: &str) -> Option<String> {
    match decode(text, Words::WhatCanBe) {
        Decoded::Text(text) => Some(text),
        Decoded::Same | Decoded::Unreadable => None,
    }
}

/// Everything in the text that looks like an address, as shown.
pub(super) fn addresses(text: &str) -> Vec<String> {
    let narrow: String = text.chars().map(narrow).collect();
    narrow
        .match_indices('@')
        .filter_map(|(place, _)| {
            let local = local_before(narrow.get(..place)?);
            let domain = domain_after(narrow.get(place + 1..)?);
            (!local.is_empty() && !domain.is_empty()).then(|| format!("{local}@{domain}"))
        })
        .collect()
}

fn holds_other(text: &str, own: &str) -> bool {
    let narrow: String = text
        .chars()
        .filter(|c| !invisible(*c))
        .map(narrow)
        .collect();
    // Thin spaces and the like part words for one reader and are nothing to another.
    let close: String = narrow.chars().filter(|c| !is_thin(*c)).collect();
    [narrow, close].iter().any(|seen| {
        seen.match_indices('@').any(|(place, _)| {
            let before = seen.get(..place).unwrap_or_default().trim_end();
            let after = seen.get(place + 1..).unwrap_or_default().trim_start();
            let (local, domain) = (local_before(before), domain_after(after));
            // "Tanaka @ Sales" is a name; what has a dotted domain is an address.
            let dotted = domain.split('.').filter(|label| !label.is_empty()).count() > 1;
            !local.is_empty() && dotted && !is_own(local, domain, own)
        })
    })
}

/// Whether what is shown is the address itself, perhaps between apostrophes, or among words of a script
/// that leaves no space between words.
fn is_own(local: &str, domain: &str, own: &str) -> bool {
    let same = |local: &str, domain: &str| {
        let shown = format!("{local}@{domain}");
        own.eq_ignore_ascii_case(&shown)
            || matches!(
                (Address::parse(own), Address::parse(&shown)),
                (Ok(own), Ok(shown)) if own.matches(&shown, AddressCase::Insensitive)
            )
    };
    let local = local.trim_start_matches(['\'', '`', '\u{b4}']);
    if same(local, domain) {
        return true;
    }
    if !own.is_ascii() {
        return false;
    }
    let begin = local
        .char_indices()
        .rev()
        .find(|(_, c)| !c.is_ascii())
        .map_or(0, |(place, c)| place + c.len_utf8());
    let end = domain.find(|c: char| !c.is_ascii()).unwrap_or(domain.len());
    same(
        local.get(begin..).unwrap_or_default(),
        domain.get(..end).unwrap_or_default(),
    )
}

/// White space beyond ASCII, and a point that parts syllables.
fn is_thin(c: char) -> bool {
    (c.is_whitespace() && !c.is_ascii()) || c == '\u{2027}'
}

fn local_before(before: &str) -> &str {
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| !c.is_whitespace() && !ends_address(*c))
        .last()
        .map_or(before.len(), |(place, _)| place);
    before.get(start..).unwrap_or_default()
}

fn domain_after(after: &str) -> &str {
    let end = after
        .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')))
        .unwrap_or(after.len());
    after
        .get(..end)
        .unwrap_or_default()
        .trim_end_matches(['.', '-', '_'])
}

/// A domain that may hold what is not seen and marks on its letters.
fn domain_with_marks(after: &str) -> &str {
    let end = after
        .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || invisible(c)))
        .unwrap_or(after.len());
    after
        .get(..end)
        .unwrap_or_default()
        .trim_end_matches(['.', '-', '_'])
}

fn ends_address(c: char) -> bool {
    matches!(
        c,
        '<' | '>'
            | '('
            | ')'
            | '['
            | ']'
            | '"'
            | ','
            | ';'
            | ':'
            | '@'
            | '「'
            | '」'
            | '『'
            | '』'
            | '【'
            | '】'
            | '〈'
            | '〉'
            | '《'
            | '》'
            | '«'
            | '»'
            | '“'
            | '”'
            | '‘'
            | '’'
            | '、'
            | '。'
    )
}

/// Full-width and small forms as the ASCII they look like.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{fe6b}' => '@',
        '\u{fe52}' | '\u{2024}' | '\u{3002}' | '\u{ff61}' => '.',
        '\u{2039}' | '\u{fe64}' | '\u{27e8}' | '\u{3008}' => '<',
        '\u{203a}' | '\u{fe65}' | '\u{27e9}' | '\u{3009}' => '>',
        other => other,
    }
}

fn invisible(c: char) -> bool {
    // Default_Ignorable_Code_Point of Unicode, and marks that stand on another character.
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0080}'..='\u{e0fff}'
        | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Drops the backslashes of quoted pairs.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out
}

/// What decoding the encoded words of a text comes to.
enum Decoded {
    /// There are none.
    Same,
    /// Another text.
    Text(String),
    /// An encoding in which ASCII can be hidden from us.
    Unreadable,
}

/// How neighbouring words of one charset are decoded: programs differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// As one text: their bytes are joined first.
    Joined,
    /// Each from the beginning, as RFC 2047 section 6.2 has it.
    OneByOne,
    /// Joined, and what cannot be read does not keep the rest from being read.
    WhatCanBe,
}

/// Decodes every encoded word, wherever it stands.
fn decode(text: &str, words: Words) -> Decoded {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    let mut pending: Option<(String, Vec<u8>)> = None;
    while let Some(start) = rest.find("=?") {
        let (before, at) = rest.split_at(start);
        let Some((word, after)) = EncodedWord::read(at) else {
            flush(&mut pending, &mut out);
            out.push_str(before);
            out.push_str("=?");
            rest = at.get(2..).unwrap_or_default();
            continue;
        };
        found = true;
        // White space between encoded words is not shown.
        let adjacent = before.chars().all(char::is_whitespace);
        match &mut pending {
            Some((charset, bytes))
                if words != Words::OneByOne && adjacent && *charset == word.charset =>
            {
                bytes.extend_from_slice(&word.bytes);
            }
            _ => {
                let had = pending.is_some();
                flush(&mut pending, &mut out);
                if !(had && adjacent) {
                    out.push_str(before);
                }
                if words != Words::WhatCanBe && (word.broken || hides_ascii(&word.charset)) {
                    return Decoded::Unreadable;
                }
                pending = Some((word.charset, word.bytes));
            }
        }
        rest = after;
    }
    flush(&mut pending, &mut out);
    out.push_str(rest);
    if found {
        Decoded::Text(out)
    } else {
        Decoded::Same
    }
}

fn flush(pending: &mut Option<(String, Vec<u8>)>, out: &mut String) {
    if let Some((charset, bytes)) = pending.take() {
        let (text, _) = encoding(&charset).decode_without_bom_handling(&bytes);
        out.push_str(&text);
    }
}

struct EncodedWord {
    charset: String,
    bytes: Vec<u8>,
    /// Its text is not what its encoding allows: some programs show it as it stands, others what they
    /// make of it.
    broken: bool,
}

impl EncodedWord {
    /// `=?charset[*language]?B|Q?text?=`.
    fn read(at: &str) -> Option<(Self, &str)> {
        let inside = at.strip_prefix("=?")?;
        let (charset, inside) =
            inside.split_at_checked(inside.bytes().take(64).position(|b| b == b'?')?)?;
        let (scheme, inside) = inside.strip_prefix('?')?.split_at_checked(1)?;
        let inside = inside.strip_prefix('?')?;
        // Bounded, so that a field full of beginnings costs no more than its length.
        let end = inside.as_bytes().get(..MAX_WORD.min(inside.len()))?;
        let end = memchr::memmem::find(end, b"?=")?;
        let (text, after) = (inside.get(..end)?, inside.get(end + 2..)?);
        if charset.is_empty() || !charset.is_ascii() || charset.contains(char::is_whitespace) {
            return None;
        }
        let (bytes, broken) = match scheme {
            "B" | "b" => {
                let clean: Vec<u8> = text
                    .bytes()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect();
                match LENIENT.decode(&clean) {
                    Ok(bytes) => (bytes, false),
                    Err(_) => (Vec::new(), true),
                }
            }
            "Q" | "q" => (quoted_printable(text), false),
            _ => return None,
        };
        let charset = charset
            .split('*')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let word = Self {
            charset,
            bytes,
            broken,
        };
        Some((word, after))
    }
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return out,
            [b'=', high, low, tail @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = tail;
            }
            [b'_', tail @ ..] => {
                out.push(b' ');
                rest = tail;
            }
            [other, tail @ ..] => {
                out.push(*other);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Encodings in which `@` need not be the byte 0x40 to us, but is to somebody.
fn hides_ascii(label: &str) -> bool {
    let charset: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
    [
        "utf7",
        "utf16",
        "utf32",
        "ucs",
        "iso10646",
        "unicode11utf7",
        "xunicode",
        "cp65000",
        "hz",
        "imap",
        "ebcdic",
        "ibm037",
        "cp037",
        "scsu",
        "bocu",
        "cesu",
    ]
    .iter()
    .any(|odd| charset.starts_with(odd) || charset.ends_with(odd))
        // What browsers will not decode at all: ISO-2022-KR and -CN among them.
        || Encoding::for_label(label.as_bytes()) == Some(REPLACEMENT)
}

fn encoding(charset: &str) -> &'static Encoding {
    Encoding::for_label(charset.as_bytes()).unwrap_or(match charset {
        label if label.contains("2022") && label.contains("jp") => ISO_2022_JP,
        "cp50220" | "cp50221" | "cp50222" => ISO_2022_JP,
        "cp932" | "ms932" | "sjis" => encoding_rs::SHIFT_JIS,
        // Unknown: its ASCII part is ASCII.
        _ => WINDOWS_1252,
    })
}
