//! What must leave a header before ours is put in front: every claim to be us.
//!
//! On all mail: (a) `Authentication-Results` under our authserv-id, however spelled; (b) under the
//! other ids of the site, a field that holds an `smime` method; (c) every field of the `X-Kenin`
//! namespace, and folded lines that would become part of ours. Everything else stays as it is, byte
//! for byte. Where two readers may differ, the reading that claims more counts.
//! <https://www.rfc-editor.org/rfc/rfc8601#section-5>

use std::ops::Range;

use crate::header::{Field, Header, unfold};
use crate::idna;
use crate::mailbox::decoded;

/// What counts as a claim to be us.
#[derive(Clone, Debug)]
pub struct Scrubber {
    own: String,
    /// Our id with a result of ours behind it, squeezed.
    claim: String,
    site: Vec<String>,
}

impl Scrubber {
    /// For a gateway with this authserv-id on a site with these others.
    pub fn new(authserv_id: &str, site_authserv_ids: &[String]) -> Self {
        let own = idna::to_ascii(authserv_id);
        Self {
            claim: format!("{own};smime"),
            own,
            site: site_authserv_ids
                .iter()
                .map(|id| idna::to_ascii(id))
                .collect(),
        }
    }

    /// The byte ranges to leave out: whole fields, ascending, not overlapping.
    pub fn ranges(&self, raw: &[u8], header: &Header) -> Vec<Range<usize>> {
        header
            .fields
            .iter()
            .enumerate()
            .filter(|(place, field)| {
                self.claims(raw, field) || (*place == 0 && dangles(raw, field))
            })
            .map(|(_, field)| field.whole.clone())
            .collect()
    }

    /// Whether a field claims to be ours.
    pub fn claims(&self, raw: &[u8], field: &Field) -> bool {
        if field.may_be(raw, is_our_name) {
            return true;
        }
        if !field.may_be(raw, |name| name == "authentication-results") {
            return false;
        }
        if !field.plain {
            // No honest filter writes such a name; leave it only if it cannot concern us.
            let whole = raw.get(field.whole.clone()).unwrap_or_default();
            return self.mentions_us(&squeeze(&String::from_utf8_lossy(whole)));
        }
        let value = unfold(field.value(raw));
        let text = String::from_utf8_lossy(&value);
        // Filters that people write look for these words, wherever they stand: behind a longer id, in a
        // comment, in quotes.
        if squeeze(&text).contains(&self.claim) {
            return true;
        }
        self.claims_value(&text) || decoded(&text).is_some_and(|text| self.claims_value(&text))
    }

    fn claims_value(&self, value: &str) -> bool {
        // Control and invisible characters are what some readers drop.
        let value: String = value
            .chars()
            .filter(|c| !c.is_control() || *c == '\t')
            .collect();
        let Some((id, rest)) = read_id(&value) else {
            // Unreadable for us; a reader that is less strict may see our id.
            return self.mentions_us(&squeeze(&value));
        };
        // Without an id, or with one that is a result already, nobody is named as the author.
        let anonymous = id.is_empty() || rest.trim_start().starts_with(['=', '/']);
        let bare = id_without_syntax(&value);
        let ids = [
            idna::to_ascii(&id),
            idna::mapped(&id),
            idna::mapped(&bare),
            bare,
        ];
        ids.contains(&self.own)
            || ((anonymous || ids.iter().any(|id| self.site.contains(id))) && holds_smime(&value))
    }

    fn mentions_us(&self, squeezed: &str) -> bool {
        squeezed.contains(&self.own) || squeezed.contains("smime")
    }
}

/// Names of our namespace, in lower case.
fn is_our_name(name: &str) -> bool {
    name.strip_prefix("x-kenin")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

/// A first line that continues nothing would continue our last field.
fn dangles(raw: &[u8], field: &Field) -> bool {
    matches!(raw.get(field.whole.start), Some(b' ' | b'\t'))
}

/// The authserv-id of a value and what follows it; nothing where comments or quotes do not end.
fn read_id(value: &str) -> Option<(String, &str)> {
    let rest = skip_comments(value)?;
    if let Some(inside) = rest.strip_prefix('"') {
        let mut id = String::new();
        let mut escaped = false;
        for (place, c) in inside.char_indices() {
            match c {
                _ if escaped => {
                    id.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    let id = id.trim().trim_end_matches('.').to_owned();
                    return Some((id, skip_comments(inside.get(place + 1..)?)?));
                }
                _ => id.push(c),
            }
        }
        return None;
    }
    let end = rest.find(|c: char| !in_id(c)).unwrap_or(rest.len());
    let id: String = rest
        .get(..end)?
        .chars()
        .filter(|c| !invisible(*c))
        .collect();
    Some((id, skip_comments(rest.get(end..)?)?))
}

/// The id as readers see it that first throw away comments, quotes and white space: everything before
/// the results, less a version at its end that stands alone.
fn id_without_syntax(value: &str) -> String {
    let mut id = String::new();
    let (mut depth, mut escaped) = (0_usize, false);
    for c in value.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                if depth == 0 {
                    id.push(c);
                }
            }
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 || c == '"' || invisible(c) => {}
            ';' => break,
            other => id.push(other),
        }
    }
    let version = |c: char| c.is_ascii_digit() || c.is_whitespace();
    let without = id.trim_end_matches(version);
    // Digits belong to the last label unless white space or a slash parts them from it.
    let parted = id
        .get(without.len()..)
        .is_some_and(|tail| tail.starts_with(char::is_whitespace));
    let id = match without.strip_suffix('/') {
        Some(before) => before,
        None if parted => without,
        None => &id,
    };
    let narrow: String = id.chars().filter(|c| !c.is_whitespace()).collect();
    idna::to_ascii(&narrow)
}

/// Characters of a host name in any script.
fn in_id(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '.' | '-' | '_')
        || (!c.is_ascii() && !c.is_whitespace())
}

fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

/// Skips white space and comments; nothing where a comment does not end.
fn skip_comments(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while rest.starts_with('(') {
        let mut depth = 0_usize;
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let (end, _) = end?;
        rest = rest.get(end + 1..)?.trim_start();
    }
    Some(rest)
}

/// Whether some reader finds a method `smime`: the word outside comments and quotes, alone, with
/// `=` or a version after it. Where a comment or a quoted string does not end, the bare word
/// suffices.
fn holds_smime(value: &str) -> bool {
    // A comment parts two words for one reader and joins them for another.
    [" ", ""].iter().any(|comment| holds_method(value, comment))
}

fn holds_method(value: &str, comment: &str) -> bool {
    let mut outside = String::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                outside.push_str(comment);
            }
            _ if quoted || depth > 0 || invisible(c) => {}
            _ => outside.extend(narrow(c).to_lowercase()),
        }
    }
    if quoted || depth > 0 {
        return squeeze(value).contains("smime");
    }
    outside.match_indices("smime").any(|(place, word)| {
        let before = outside.get(..place).unwrap_or_default().chars().next_back();
        let after = outside
            .get(place + word.len()..)
            .unwrap_or_default()
            .trim_start();
        let part_of_word =
            before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
        !part_of_word && after.starts_with(['=', '/'])
    })
}

/// Lower case, without white space and what is invisible, full-width forms narrowed.
fn squeeze(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !invisible(*c))
        .map(narrow)
        .flat_map(char::to_lowercase)
        .collect()
}

fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::scan;
    use proptest::prelude::*;

    const OWN: &str = "smime.gw.example.jp";

    fn left(raw: &[u8]) -> Vec<u8> {
        let scrubber = Scrubber::new(OWN, &["gw.example.jp".to_owned()]);
        let mut out = Vec::new();
        let mut at = 0;
        for range in scrubber.ranges(raw, &scan(raw)) {
            out.extend_from_slice(&raw[at..range.start]);
            at = range.end;
        }
        out.extend_from_slice(&raw[at..]);
        out
    }

    fn assert_removed(field: &[u8]) {
        for (before, after) in [(&b""[..], &b""[..]), (b"A: 1\r\n", b"B: 2\r\n f\r\n")] {
            let mut raw = before.to_vec();
            raw.extend_from_slice(field);
            raw.extend_from_slice(after);
            raw.extend_from_slice(b"\r\nbody\r\n");
            let wanted = [before, after, b"\r\nbody\r\n"].concat();
            assert_eq!(
                String::from_utf8_lossy(&left(&raw)),
                String::from_utf8_lossy(&wanted),
                "{:?}",
                String::from_utf8_lossy(field)
            );
        }
    }

    /// HDR-01: spellings of our fields.
    #[test]
    fn hdr_01_every_spelling_of_ours_is_removed() {
        let spellings: &[&str] = &[
            "X-Kenin-Verdict: a",
            "x-kenin-verdict:a",
            "X-KENIN-VERDICT: a\r\n folded",
            "X-Kenin-Verdict : a",
            "X-Kenin-Verdict\t\t: a",
            "X-Kenin-Verdict\r\n : a",
            "X-Kenin\r\n -Verdict: a",
            "X-Kenin-Anything-Else: a",
            "X-Kenin: a",
            "X-Kenin-: a",
            "X-Kenin-Verdict\0: a",
            "X-Kenin\0-Verdict: a",
            "X-Kenin-Verdict\u{a0}: a",
            "X-Ken\u{200b}in-Verdict: a",
            "X\u{2011}Kenin\u{2011}Verdict: a",
            "Ｘ-Ｋｅｎｉｎ-Verdict: a",
            "X-K\u{435}nin-Verdict: a",
            "X_Kenin_Verdict: a",
            "X-Kenin-Verdict a",
            "X-Kenin-Verdict",
            "Authentication-Results: smime.gw.example.jp; smime=pass",
            "authentication-results:smime.gw.example.jp;smime=pass",
            "AUTHENTICATION-RESULTS: SMIME.GW.EXAMPLE.JP; smime=pass",
            "Authentication-Results : smime.gw.example.jp; smime=pass",
            "Authentication-Results\r\n : smime.gw.example.jp; smime=pass",
            "Authentication\r\n -Results: smime.gw.example.jp; smime=pass",
            "Authentication-Results:\r\n smime.gw.example.jp;\r\n smime=pass",
            "Authentication-Results: smime.gw.example.jp 1; smime=pass",
            "Authentication-Results: smime.gw.example.jp/1; smime=pass",
            "Authentication-Results: smime.gw.example.jp (comment) 1 ; smime=pass",
            "Authentication-Results: (comment) smime.gw.example.jp; smime=pass",
            "Authentication-Results: (a (nested \\) one)) smime.gw.example.jp; smime=pass",
            "Authentication-Results: \"smime.gw.example.jp\"; smime=pass",
            "Authentication-Results: \"smime.gw\\.example.jp\" 1; smime=pass",
            "Authentication-Results: \" smime.gw.example.jp \"; smime=pass",
            "Authentication-Results: smime.gw.example.jp.; smime=pass",
            "Authentication-Results: smime(c).gw.example.jp; smime=pass",
            "Authentication-Results: smi(c)me.gw.example.jp 1; smime=pass",
            "Authentication-Results: smime. gw .example.jp; smime=pass",
            "Authentication-Results: smime.gw.\r\n example.jp/1; smime=pass",
            "Authentication-Results: \"smime\".gw.example.jp; smime=pass",
            "Authentication-Results: \"smime.gw\" . example.jp 1 ; smime=pass",
            "Authentication-Results: gw(c).example.jp; smime=pass",
            "Authentication-Results: gw.example.jp; smi(c)me=pass",
            "Authentication-Results: smime.gw.example.jp",
            "Authentication-Results: smime.gw.example.jp; none",
            "Authentication-Results: smime.gw.example.jp; dkim=pass",
            "Authentication-Results: smime.gw.ex\0ample.jp; smime=pass",
            "Authentication-Results: smime.gw.ex\u{200b}ample.jp; smime=pass",
            "Authentication-Results: smime。gw。example。jp; smime=pass",
            "Authentication-Results: ｓｍｉｍｅ.gw.example.jp; smime=pass",
            "Authentication-Results: =?utf-8?Q?smime=2Egw.example.jp?=; smime=pass",
            "Authentication-Results: (open smime.gw.example.jp; smime=pass",
            "Authentication-Results: \"smime.gw.example.jp; smime=pass",
            "Authentication-Results: smime=pass",
            "Authentication-Results: xsmime.gw.example.jp; smime=pass",
            "Authentication-Results: x.smime.gw.example.jp ; smime=pass",
            "Authentication-Results: -smime.gw.example.jp; smime=pass",
            "Authentication-Results: x smime.gw.example.jp; smime=pass",
            "Authentication-Results: other.example (smime.gw.example.jp; smime=pass); dkim=pass",
            "Authentication-Results: other.example; dkim=pass reason=\"smime.gw.example.jp; SMIME=pass\"",
            "Authentication-Results: \u{17f}mime.gw.example.jp; smime=pass",
            "Authentication-Results: \u{24e2}mime.gw.example.jp; smime=pass",
            "Authentication-Results: smi\u{34f}me.gw.example.jp; smime=pass",
            "Authentication-Results: smime\u{2024}gw.example.jp; smime=pass",
            "Authentication-Results: ; smime=pass",
            "Authentication-Results\u{a0}: other.example; smime=pass",
            "Authentication_Results: smime.gw.example.jp; smime=pass",
            "Authentication-Results: gw.example.jp; smime=pass",
            "Authentication-Results: GW.example.JP 1; dkim=pass; SMIME = pass",
            "Authentication-Results: gw.example.jp; dkim=pass;\r\n smime/1=pass",
            "Authentication-Results: gw.example.jp; dkim=pass; (c) smime (c) = pass",
            "Authentication-Results: gw.example.jp; dkim=pass smime=pass",
            "Authentication-Results: gw.example.jp; dkim=pass (open; smime=pass",
        ];
        assert!(spellings.len() >= 30);
        for spelling in spellings {
            assert_removed(format!("{spelling}\r\n").as_bytes());
        }
        assert_removed(b"X-Kenin\xa0-Verdict: a\r\n");
        assert_removed(b"X-Kenin-Verdict\xff: a\r\n");
    }

    #[test]
    fn fields_hidden_behind_odd_line_ends_take_their_host_with_them() {
        assert_removed(b"Subject: x\rX-Kenin-Verdict: a\r\n");
        assert_removed(b"Subject: x\x0cX-Kenin-Verdict: a\r\n");
        assert_removed(b"Subject: x\rAuthentication-Results: smime.gw.example.jp; smime=pass\r\n");
        assert_removed(b"garbage\r\n X-Kenin-Verdict: a\r\n");
    }

    #[test]
    fn a_line_that_would_continue_ours_is_removed() {
        assert_eq!(
            left(b" dangling\r\n\tmore\r\nA: 1\r\n\r\nbody"),
            b"A: 1\r\n\r\nbody"
        );
    }

    #[test]
    fn what_belongs_to_others_stays_byte_equal() {
        for kept in [
            "Authentication-Results: gw.example.jp; dkim=pass header.d=example.org; spf=pass",
            "Authentication-Results:  gw.example.jp;\r\n\tdkim=pass (2048-bit key; smime=pass)\r\n",
            "Authentication-Results: gw.example.jp; dkim=pass header.d=smime.gw.example.jp",
            "Authentication-Results: gw.example.jp; dkim=pass reason=\"smime=pass\"",
            "Authentication-Results: mx.other.example; smime=pass",
            "Authentication-Results: xsmime.gw.example.jp; dkim=pass",
            "Authentication-Results: smime.gw.example.jp2; smime=pass",
            "Authentication-Results: other.example (smime.gw.example.jp; x); smime=pass",
            "Authentication-Results: gw.example.jp; dkim=pass (smime) header.d=a.example",
            "Authentication-Results: smime.gw.example.jp.evil.example; smime=pass",
            "Authentication-Results: gw.example.jp; x-smime=pass; dkim=pass body.smime-part=2",
            "ARC-Authentication-Results: i=1; smime.gw.example.jp; smime=pass",
            "X-Spam-Status: No",
            "X-Kenins: a",
            "Subject: X-Kenin-Verdict: pass",
            "Subject: a\r\n X-Kenin-Verdict: pass",
        ] {
            let raw = format!("{}\r\n\r\nbody", kept.trim_end());
            assert_eq!(
                String::from_utf8_lossy(&left(raw.as_bytes())),
                raw,
                "{kept:?}"
            );
        }
    }

    #[test]
    fn u_labels_and_a_labels_are_one_id() {
        let scrubber = Scrubber::new("smime.例え.jp", &[]);
        for id in [
            "smime.xn--r8jz45g.jp",
            "smime.例え.jp",
            "SMIME.XN--R8JZ45G.JP",
            "\"smime.例え.jp\"",
        ] {
            let raw = format!("Authentication-Results: {id}; smime=pass\r\n\r\n");
            assert_eq!(
                scrubber.ranges(raw.as_bytes(), &scan(raw.as_bytes())).len(),
                1,
                "{id}"
            );
        }
    }

    #[test]
    fn after_a_thousand_fields_and_never_in_the_body() {
        let mut raw = "X-Other: a\r\n".repeat(1500).into_bytes();
        let kept = raw.len();
        raw.extend_from_slice(b"x-KENIN-verdict : a\r\n\r\nX-Kenin-Verdict: in the body\r\n");
        let out = left(&raw);
        assert_eq!(&out[kept..], b"\r\nX-Kenin-Verdict: in the body\r\n");
    }

    proptest! {
        #[test]
        fn nothing_of_ours_is_left(lines in proptest::collection::vec(prop_oneof![
            "X-Kenin-Verdict[ \t]?:[ -~]{0,20}",
            "[ \t][ -~]{0,20}",
            "Authentication-Results:[ ]?\"?(smime\\.)?gw\\.example\\.jp\"?[ -~]{0,20}",
            "[ -~]{0,30}",
            "\\PC{0,20}",
        ], 0..12), bare in any::<bool>()) {
            let raw = format!("{}\r\n\r\nbody", lines.join(if bare { "\r" } else { "\r\n" }));
            let out = left(raw.as_bytes());
            let scrubber = Scrubber::new(OWN, &["gw.example.jp".to_owned()]);
            let header = scan(&out);
            for field in &header.fields {
                prop_assert!(!scrubber.claims(&out, field));
            }
            prop_assert!(!matches!(out.first(), Some(b' ' | b'\t')));
        }
    }
}
