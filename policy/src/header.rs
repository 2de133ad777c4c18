//! The header block as the most lenient of readers might split it.
//!
//! Verification needs one strict reading; scrubbing needs every reading somebody else may have. So
//! a field here has one place in the bytes and possibly several names: with white space before the
//! colon, with a folded name, with control or 8-bit characters or look-alike letters inside, behind
//! a bare CR. Never changes a byte. RFC 5322 §2.2, §4.5 (obsolete fields).

use std::ops::Range;

/// One header block.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// The fields and field-like lines, in order.
    pub fields: Vec<Field>,
    /// Where the body starts.
    pub body: usize,
}

/// One field or field-like line with its folded lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// All of it, with the last line end.
    pub whole: Range<usize>,
    /// The bytes before the first colon, or before the end where there is no colon.
    pub name: Range<usize>,
    /// Whether it is spelled plainly: a name of letters, digits and hyphens, a colon at once after
    /// it, and no line separators inside that only some readers know.
    pub plain: bool,
}

impl Field {
    /// The bytes after the colon, with folds and the last line end.
    pub fn value<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get((self.name.end + 1).min(self.whole.end)..self.whole.end)
            .unwrap_or_default()
    }

    /// The name as written.
    pub fn name<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.name.clone()).unwrap_or_default()
    }

    /// Whether some reader may see a name here that `wanted` accepts. Names are given in lower
    /// case.
    pub fn may_be(&self, raw: &[u8], wanted: impl Fn(&str) -> bool) -> bool {
        if self.plain {
            // Nearly every field of nearly every message ends here.
            let name = self.name(raw);
            let mut lower = [0_u8; 64];
            if let Some(lower) = lower.get_mut(..name.len()) {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                return std::str::from_utf8(lower).is_ok_and(&wanted);
            }
        }
        let whole = raw.get(self.whole.clone()).unwrap_or_default();
        let wanted: &dyn Fn(&str) -> bool = &wanted;
        if any_squeezed(self.name(raw), wanted) {
            return true;
        }
        let first_line = whole
            .split(|&byte| is_break(byte))
            .next()
            .unwrap_or_default();
        let colon_first = memchr::memchr(b':', first_line).is_some();
        pieces(whole).enumerate().any(|(place, piece)| {
            let continued = matches!(piece.text.first(), Some(b' ' | b'\t'));
            // An honest continuation of an honest field is content, not a field.
            if place == 0 || (continued && colon_first && !piece.after_odd_break) {
                return place == 0 && !colon_first && any_squeezed(first_word(piece.text), wanted);
            }
            match memchr::memchr(b':', piece.text) {
                Some(colon) => any_squeezed(piece.text.get(..colon).unwrap_or_default(), wanted),
                None => any_squeezed(first_word(piece.text), wanted),
            }
        })
    }

    /// Whether the name is exactly `name`, in any case and spelled plainly.
    pub fn is_plainly(&self, raw: &[u8], name: &str) -> bool {
        self.plain && self.name(raw).eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Splits a message into header fields and the place where its body starts.
pub fn scan(raw: &[u8]) -> Header {
    let mut header = Header {
        fields: Vec::new(),
        body: raw.len(),
    };
    let mut at = 0;
    let mut open: Option<usize> = None;
    while at < raw.len() {
        let rest = raw.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map_or(raw.len(), |place| at + place + 1);
        let line = raw.get(at..end).unwrap_or_default();
        if matches!(line, b"\r\n" | b"\n") {
            header.body = end;
            break;
        }
        let continued = matches!(line.first(), Some(b' ' | b'\t'));
        if !continued && let Some(start) = open.replace(at) {
            header.fields.push(field(raw, start..at));
        }
        open.get_or_insert(at);
        at = end;
    }
    if let Some(start) = open {
        header.fields.push(field(raw, start..at));
    }
    header
}

/// The value of a field on one line: line ends are dropped (white space after them stays), and so
/// is white space at both ends.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let joined: Vec<u8> = value
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    joined.trim_ascii().to_vec()
}

fn field(raw: &[u8], whole: Range<usize>) -> Field {
    let bytes = raw.get(whole.clone()).unwrap_or_default();
    let colon = memchr::memchr(b':', bytes);
    let name_end = whole.start + colon.unwrap_or(bytes.len());
    let name = bytes.get(..colon.unwrap_or(0)).unwrap_or_default();
    let plain = colon.is_some()
        && !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !has_odd_break(bytes);
    Field {
        name: whole.start..name_end,
        whole,
        plain,
    }
}

/// A piece of a field between breaks that some reader takes for line ends.
struct Piece<'a> {
    text: &'a [u8],
    after_odd_break: bool,
}

fn pieces(whole: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = whole;
    let mut odd = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .iter()
            .enumerate()
            .find(|(place, byte)| {
                is_break(**byte) || wide_break(rest.get(*place..).unwrap_or_default())
            })
            .map_or(rest.len(), |(place, _)| place);
        let text = rest.get(..end).unwrap_or_default();
        let tail = rest.get(end..).unwrap_or_default();
        let piece = Piece {
            text,
            after_odd_break: odd,
        };
        let skipped = match tail {
            [b'\r', b'\n', ..] => 2,
            [0xc2, 0x85, ..] => 2,
            [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
            [] => 0,
            _ => 1,
        };
        odd = !matches!(tail, [b'\r', b'\n', ..] | [b'\n', ..]);
        rest = tail.get(skipped..).unwrap_or_default();
        Some(piece)
    })
}

/// Bytes that one reader or another takes for the end of a line.
fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0 | 0x0b | 0x0c | 0x1c..=0x1e)
}

/// NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR in UTF-8.
fn wide_break(bytes: &[u8]) -> bool {
    matches!(bytes, [0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..])
}

fn has_odd_break(bytes: &[u8]) -> bool {
    let lone = |place: usize| bytes.get(place + 1) != Some(&b'\n');
    if memchr::memchr_iter(b'\r', bytes).any(lone) {
        return true;
    }
    // All bytes without a branch first: nearly every field of nearly every message ends here.
    let odd = |byte: u8| {
        byte == 0xc2 || byte == 0xe2 || (is_break(byte) && !matches!(byte, b'\r' | b'\n'))
    };
    let any = bytes.iter().fold(false, |any, byte| any | odd(*byte));
    any && bytes.iter().enumerate().any(|(place, byte)| match byte {
        b'\r' | b'\n' => false,
        0xc2 | 0xe2 => wide_break(bytes.get(place..).unwrap_or_default()),
        other => is_break(*other),
    })
}

fn first_word(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let end = line
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == b':');
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

/// Asks about a name with everything dropped that a reader may drop, and with look-alikes taken for
/// the letters they look like.
fn any_squeezed(name: &[u8], wanted: &dyn Fn(&str) -> bool) -> bool {
    // No name that matters is longer; what is, is padded with bytes that are dropped.
    let mut mapped = String::new();
    let mut dropped = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if let Some(letter) = ascii_look_alike(c) {
                mapped.push(letter);
                if c.is_ascii() {
                    dropped.push(letter);
                }
            }
        }
    }
    wanted(&mapped) || (mapped != dropped && wanted(&dropped))
}

/// The ASCII character a name character is taken for; nothing for what is dropped.
fn ascii_look_alike(c: char) -> Option<char> {
    Some(match c {
        '_' => '-',
        '!'..='~' => c.to_ascii_lowercase(),
        // Full-width forms.
        '\u{ff01}'..='\u{ff5e}' => {
            let narrow = char::from_u32(u32::from(c) - 0xfee0)?;
            return ascii_look_alike(narrow);
        }
        '\u{ad}'
        | '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{30fc}'
        | '\u{fe58}'
        | '\u{fe63}' => '-',
        'Х' | 'х' | 'Χ' | 'χ' => 'x',
        'К' | 'к' | 'Κ' | 'κ' | '\u{212a}' => 'k',
        'Е' | 'е' | 'Ε' | 'ε' => 'e',
        'Ν' | 'ո' => 'n',
        'І' | 'і' | 'Ι' | 'ι' | 'ı' | 'İ' => 'i',
        'А' | 'а' | 'Α' | 'α' => 'a',
        'О' | 'о' | 'Ο' | 'ο' => 'o',
        'Ѕ' | 'ѕ' | 'ſ' => 's',
        'Т' | 'т' | 'Τ' | 'τ' => 't',
        'Н' | 'һ' | 'Η' => 'h',
        'М' | 'м' | 'Μ' => 'm',
        'Ғ' | 'ғ' => 'f',
        'г' => 'r',
        'с' | 'С' => 'c',
        'ԁ' => 'd',
        'υ' | 'ս' => 'u',
        'ӏ' | 'Ӏ' => 'l',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(raw: &[u8]) -> Vec<String> {
        scan(raw)
            .fields
            .iter()
            .map(|field| String::from_utf8_lossy(field.name(raw)).into_owned())
            .collect()
    }

    #[test]
    fn fields_folds_and_body() {
        let raw = b"A: 1\r\nB: 2\r\n  more\r\nC:\r\n\r\nD: body\r\n";
        assert_eq!(names(raw), ["A", "B", "C"]);
        let header = scan(raw);
        assert_eq!(raw.get(header.body..), Some(&b"D: body\r\n"[..]));
        assert_eq!(header.fields[1].value(raw), b" 2\r\n  more\r\n");
        assert_eq!(unfold(header.fields[1].value(raw)), b"2  more");
        assert!(header.fields.iter().all(|field| field.plain));
    }

    #[test]
    fn edges() {
        assert!(scan(b"").fields.is_empty());
        assert_eq!(scan(b"\r\nbody").body, 2);
        assert_eq!(names(b"A: 1"), ["A"]);
        assert_eq!(scan(b"A: 1").body, 4);
        assert_eq!(names(b" x: 1\r\nA: 1\n\nb").len(), 2);
        assert_eq!(scan(b"A: 1\n\nb").body, 6);
        // A line of white space continues the field; it does not end the header.
        assert_eq!(names(b"A: 1\r\n \r\nB: 2\r\n\r\n"), ["A", "B"]);
    }

    #[test]
    fn every_spelling_of_a_name_is_seen() {
        for spelling in [
            "X-Kenin-Verdict: a\r\n",
            "x-kENIN-vERDICT:a\r\n",
            "X-Kenin-Verdict : a\r\n",
            "X-Kenin-Verdict\t: a\r\n",
            "X-Kenin-Verdict\r\n : a\r\n",
            "X-Kenin\r\n -Verdict: a\r\n",
            "X-Kenin-\0Verdict: a\r\n",
            "X-Kenin-Ver\u{7f}dict: a\r\n",
            "\u{feff}X-Kenin-Verdict: a\r\n",
            "X-Kenin-Verdict\u{a0}: a\r\n",
            "X\u{2010}Kenin\u{2010}Verdict: a\r\n",
            "Ｘ－Ｋｅｎｉｎ－Ｖｅｒｄｉｃｔ: a\r\n",
            "X-\u{41a}\u{435}nin-Verdict: a\r\n",
            "X_Kenin_Verdict: a\r\n",
            "X-Kenin-Verdict a\r\n",
            "Subject: b\rX-Kenin-Verdict: a\r\n",
            "Subject: b\u{c}X-Kenin-Verdict: a\r\n",
            "Subject: b\u{2028}X-Kenin-Verdict: a\r\n",
            "Subject: b\r X-Kenin-Verdict: a\r\n",
            "garbage\r\n X-Kenin-Verdict: a\r\n",
            " X-Kenin-Verdict: a\r\n",
        ] {
            let header = scan(spelling.as_bytes());
            assert!(
                header.fields[0].may_be(spelling.as_bytes(), |name| name.starts_with("x-kenin-")),
                "{spelling:?}"
            );
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for other in [
            "X-Kennel: a\r\n",
            "Subject: X-Kenin-Verdict: a\r\n",
            "Subject: b\r\n X-Kenin-Verdict: a\r\n",
            "X-Not-Kenin-Verdict: a\r\n",
            "Xkenin: a\r\n",
            "件名: a\r\n",
        ] {
            let header = scan(other.as_bytes());
            assert!(
                !header.fields[0].may_be(other.as_bytes(), |name| name.starts_with("x-kenin")),
                "{other:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn fields_tile_the_header(raw in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), any::<u8>()], 0..200))
        {
            let header = scan(&raw);
            let mut at = 0;
            for field in &header.fields {
                prop_assert_eq!(field.whole.start, at);
                prop_assert!(field.name.end <= field.whole.end);
                at = field.whole.end;
                field.may_be(&raw, |_| false);
                field.value(&raw);
            }
            prop_assert!(at <= header.body && header.body <= raw.len());
            prop_assert!(header.body - at <= 2);
        }
    }
}
