//! One spelling for every spelling of a host name that only has to be compared with another one.
//! Never says that a name is valid.

use kenin_pki::address::domain_to_ascii;

/// The name in lower case with A-labels; what is no domain name is only put in lower case. A name beyond ASCII is mapped
/// by UTS 46 first, as an MTA does that looks it up. Where the whole is no name to that, each label is read by itself: some
/// check less of the labels beside it. <https://www.unicode.org/reports/tr46/#Processing>
pub(crate) fn to_ascii(domain: &str) -> String {
    let narrow: String = domain.trim().chars().map(narrow).collect();
    let narrow = narrow.trim_end_matches('.');
    let is_name = narrow.len() <= MAX_MAPPED && narrow.split('.').count() <= MAX_LABELS;
    if narrow.is_ascii() || !is_name {
        return strict(narrow);
    }
    let whole = looked_up(narrow);
    if !whole.is_empty() {
        return whole;
    }
    let labels: Vec<String> = narrow.split('.').map(label).collect();
    labels.join(".")
}

/// The name as a reader sees it that maps look-alikes and drops what is invisible (UTS 46); empty where
/// it comes to no name.
pub(crate) fn mapped(domain: &str) -> String {
    let name = ::idna::domain_to_ascii(domain.trim().trim_end_matches('.')).unwrap_or_default();
    // What was dropped may have hidden the end.
    name.trim_end_matches('.').to_owned()
}

/// As [`mapped`]; empty, too, where a label is longer than those that are looked up (RFC 1035 §2.3.4): to write it as an
/// A-label costs the square of its length.
fn looked_up(name: &str) -> String {
    let (seen, _) = ::idna::domain_to_unicode(name);
    let is_long = |label: &str| label.chars().nth(MAX_LABEL).is_some();
    match seen.split('.').any(is_long) {
        true => String::new(),
        false => mapped(name),
    }
}

fn label(label: &str) -> String {
    match label.is_ascii() {
        true => strict(label),
        false => match looked_up(label) {
            none if none.is_empty() => strict(label),
            mapped => mapped,
        },
    }
}

/// As certificates are compared.
fn strict(name: &str) -> String {
    domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase())
}

/// Full-width forms and the ideographic full stops, as UTS 46 maps them.
fn narrow(c: char) -> char {
    match c {
        '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => '.',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    }
}

/// Octets of a name that is mapped: no MTA takes longer lines for an address (RFC 5321 §4.5.3.1.4).
const MAX_MAPPED: usize = 2048;
const MAX_LABEL: usize = 63;
/// As many as fit into the 255 octets of a name (RFC 1035 §2.3.4).
const MAX_LABELS: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        for (written, wanted) in [
            ("Example.JP", "example.jp"),
            ("example.jp.", "example.jp"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("ＧＷ．example", "gw.example"),
            // What UTS 46 maps to the name: compatibility forms, what is not seen, marks by themselves.
            ("ⓟartner.example", "partner.example"),
            ("part\u{ad}ner.example", "partner.example"),
            ("part\u{2060}ner.example", "partner.example"),
            ("partner.example\u{200b}", "partner.example"),
            ("partner.example.\u{200b}", "partner.example"),
            ("partner.ex\u{fe0f}ample", "partner.example"),
            ("𝐩artner.example", "partner.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("BU\u{308}CHER.example", "xn--bcher-kva.example"),
            // A label that is no name does not hide the others.
            ("\u{5d0}a.ⓟartner.example", "xn--a-zhc.partner.example"),
            ("a b.Ⓟartner.example", "a b.partner.example"),
            // Whoever keeps these apart sends to another domain.
            ("straße.example", "xn--strae-oqa.example"),
            ("not a domain!", "not a domain!"),
            ("", ""),
        ] {
            assert_eq!(to_ascii(written), wanted);
        }
    }

    /// What is dropped does not count, and what is left of it all the more: nobody looks such a label up.
    #[test]
    fn a_label_that_is_too_long_is_not_encoded_and_hides_no_other() {
        let padded = format!("part{}ner.example", "\u{ad}".repeat(900));
        assert_eq!(to_ascii(&padded), "partner.example");
        let long = "漢".repeat(MAX_LABEL + 1);
        let name = format!("{long}.ⓟartner.example");
        assert_eq!(to_ascii(&name), format!("{long}.partner.example"));
    }
}
