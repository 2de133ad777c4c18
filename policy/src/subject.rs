//! The tag in front of a Subject, and the removal of everything that looks like one.
//!
//! A tag is text that anybody can type, so where a site reads tags no mail may bring one along. The
//! Subject's own bytes stay as they are behind ours; only one that held such a text is written anew.
//! Never used on mail of lists. RFC 2047 (encoded words).

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{EUC_JP, ISO_2022_JP, SHIFT_JIS};
use serde::Deserialize;

use crate::header::{Field, Header, unfold};
use crate::mailbox::readings;
use crate::reason::ResultWord;

/// The language of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

/// The tag for a result; mail that is not signed has none.
pub fn tag(result: ResultWord, language: Language) -> Option<&'static str> {
    let (en, ja) = match result {
        ResultWord::None => return None,
        ResultWord::Pass => ("[Signature valid]", "[署名有効]"),
        ResultWord::Policy | ResultWord::Neutral => ("[Signed, not accepted]", "[署名不受理]"),
        ResultWord::Fail | ResultWord::PermError => ("[Signature INVALID]", "[署名無効]"),
        ResultWord::TempError => ("[Signature not checked]", "[署名未確認]"),
    };
    Some(match language {
        Language::En => en,
        Language::Ja => ja,
    })
}

/// What to change in a header for its Subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubjectEdits {
    pub(crate) remove: Vec<Range<usize>>,
    pub(crate) insert: Vec<(usize, Vec<u8>)>,
    /// A field of our own, where there is none to put the tag into.
    pub(crate) field: Vec<u8>,
}

impl SubjectEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.insert.is_empty() && self.field.is_empty()
    }
}

/// Takes look-alikes out of every Subject and puts the tag into it.
pub(crate) fn edits(raw: &[u8], header: &Header, tag: Option<&str>) -> SubjectEdits {
    let mut edits = SubjectEdits::default();
    let mut tagged = false;
    let subjects = header
        .fields
        .iter()
        .filter(|field| field.may_be(raw, |name| name == "subject"));
    for field in subjects {
        if !field.is_plainly(raw, "subject") {
            // Whoever reads this as a Subject must not find a tag in it, and it cannot be written anew
            // without deciding for all who do not.
            let whole = raw.get(field.whole.clone()).unwrap_or_default();
            if cleaned(whole).is_some() {
                edits.remove.push(field.whole.clone());
            }
            continue;
        }
        let place = value_place(raw, field);
        match cleaned(field.value(raw)) {
            Some(rest) => {
                let written = written(&rest);
                let front = tag.map_or_else(Vec::new, |tag| front(tag, written.as_bytes()));
                edits.remove.push(place.clone());
                let new = [b" ", front.as_slice(), written.as_bytes()].concat();
                edits.insert.push((place.start, new));
            }
            None => {
                if let Some(tag) = tag {
                    let value = raw.get(place.clone()).unwrap_or_default();
                    let blank = value.iter().take_while(|b| b" \t\r\n".contains(b)).count();
                    // Not where there is nothing but blanks, nor at the beginning of a line.
                    let before = blank.checked_sub(1).and_then(|before| value.get(before));
                    let inside = blank < value.len() && before.is_none_or(|b| *b != b'\n');
                    let blank = if inside { blank } else { 0 };
                    let mut new = front(tag, value.get(blank..).unwrap_or_default());
                    if blank == 0 {
                        new.insert(0, b' ');
                    }
                    edits.insert.push((place.start + blank, new));
                }
            }
        }
        tagged = true;
    }
    if let (Some(tag), false) = (tag, tagged) {
        let value = front(tag, b"");
        edits.field = [b"Subject: ", value.trim_ascii_end(), b"\r\n"].concat();
    }
    edits
}

/// The value without the last line end.
fn value_place(raw: &[u8], field: &Field) -> Range<usize> {
    let start = (field.name.end + 1).min(field.whole.end);
    let value = raw.get(start..field.whole.end).unwrap_or_default();
    let end = match value {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] => rest.len(),
        all => all.len(),
    };
    start..start + end
}

/// A tag as it stands before `rest`: what follows is parted from it for whoever reads it.
fn front(tag: &str, rest: &[u8]) -> Vec<u8> {
    let mut out = if tag.is_ascii() {
        format!("{tag} ")
    } else if rest.starts_with(b"=?") {
        // White space between encoded words is not shown.
        format!("{} ", word(&format!("{tag} ")))
    } else {
        format!("{} ", word(tag))
    };
    // A line that would become too long for some relay on the way is folded behind the tag.
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() + out.len() > MAX_LINE {
        out = format!("{}\r\n ", out.trim_end());
    }
    out.into_bytes()
}

/// Text as the value of a field, folded.
fn written(text: &str) -> String {
    let shown = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(shown) && !text.contains("=?") && text.len() < MAX_LINE {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut part = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if part.len() + c.len_utf8() > WORD {
            words.push(word(&part));
            part.clear();
        }
        part.push(c);
    }
    if !part.is_empty() {
        words.push(word(&part));
    }
    words.join("\r\n ")
}

fn word(text: &str) -> String {
    format!("=?UTF-8?B?{}?=", STANDARD.encode(text))
}

/// The value without what looks like a tag to some reader; nothing where there is none. Not all of a
/// longer value than anybody is shown is looked at, and the rest goes with a look-alike before it.
fn cleaned(value: &[u8]) -> Option<String> {
    let line = unfold(value.get(..MAX_VALUE).unwrap_or(value));
    let mut text = as_written(&line)
        .iter()
        .find_map(|text| without_tags_in_any(text))?;
    // Whoever decodes what is left must not find another.
    for _ in 0..MAX_ROUNDS {
        match without_tags_in_any(&text) {
            Some(rest) => text = rest,
            None => return Some(text),
        }
    }
    Some(String::new())
}

/// The characters of a line, in every encoding in which such bytes are shown.
fn as_written(line: &[u8]) -> Vec<String> {
    let mut texts = vec![String::from_utf8_lossy(line).into_owned()];
    // 7-bit, and told by its escapes.
    if line.contains(&0x1b) {
        texts.push(ISO_2022_JP.decode_without_bom_handling(line).0.into_owned());
    }
    if str::from_utf8(line).is_err() {
        for guess in [SHIFT_JIS, EUC_JP] {
            texts.push(guess.decode_without_bom_handling(line).0.into_owned());
        }
    }
    texts
}

fn without_tags_in_any(text: &str) -> Option<String> {
    readings(text).iter().find_map(|text| without_tags(text))
}

/// The text without what looks like a tag; nothing where there is none.
fn without_tags(text: &str) -> Option<String> {
    let mut letters: Vec<char> = text.chars().take(MAX_TEXT).collect();
    let (mut start, mut end) = look_alike(&letters)?;
    // What is left around one may be another.
    loop {
        letters.drain(start..end);
        match look_alike(&letters) {
            Some(next) => (start, end) = next,
            None => break,
        }
    }
    let rest: String = letters.into_iter().collect();
    Some(rest.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Where the first text in brackets stands that begins as a tag does.
fn look_alike(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|start| {
        if !is_opening(*letters.get(start)?) {
            return None;
        }
        let inside = letters.get(start + 1..)?;
        let after = HEADS.iter().filter_map(|head| begins(inside, head)).max()?;
        let rest = inside.get(after..).unwrap_or_default();
        let close = rest.iter().take(MAX_TAG).position(|c| is_closing(*c));
        Some((
            start,
            start + 1 + after + close.map_or(0, |place| place + 1),
        ))
    })
}

/// How many characters make up `head` at the beginning: case, width, what is not shown and what
/// stands between letters does not count, and a letter of another script may stand for any.
fn begins(letters: &[char], head: &str) -> Option<usize> {
    let mut head = head.chars().peekable();
    for (place, c) in letters.iter().take(MAX_TAG).enumerate() {
        let Some(wanted) = head.peek() else {
            return Some(place);
        };
        let c = narrow(*c).to_lowercase().next().unwrap_or(*c);
        if is_closing(c) {
            return None;
        }
        if !c.is_alphanumeric() && !"!|".contains(c) {
            continue;
        }
        let stands_for = wanted.is_ascii()
            && ((!c.is_ascii() && u32::from(c) < 0x2e80)
                || matches!((*wanted, c), ('i' | 'l', '1' | 'l' | 'i' | '!' | '|')));
        if c != *wanted && !stands_for {
            return None;
        }
        head.next();
    }
    head.peek().is_none().then_some(letters.len().min(MAX_TAG))
}

fn is_opening(c: char) -> bool {
    "[({<［（｛＜【〔〖〘〚〈《「『｢⟦⟨⁅❲".contains(c)
}

fn is_closing(c: char) -> bool {
    "])}>］）｝＞】〕〗〙〛〉》」』｣⟧⟩⁆❳".contains(c)
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    }
}

/// How all tags begin.
const HEADS: [&str; 3] = ["signature", "signed", "署名"];
/// Characters from the beginning of a look-alike to its bracket.
const MAX_TAG: usize = 64;
/// Bytes of a Subject that are looked at.
const MAX_VALUE: usize = 16 << 10;
/// Decodings of what is left of one.
const MAX_ROUNDS: usize = 8;
/// Characters of it that are looked at.
const MAX_TEXT: usize = 2000;
/// Octets of text in one encoded word of at most 75 (RFC 2047 §2).
const WORD: usize = 45;
/// Octets of a line, with room for the name (RFC 5322 §2.1.1: 998).
const MAX_LINE: usize = 900;

#[cfg(test)]
mod tests;
