//! One spelling for every spelling of a host name that only has to be compared with another one.
//! Never says that a name is valid.

use kenin_pki::address::domain_to_ascii;

/// The name in lower case with A-labels; what is no domain name is only put in lower case.
pub(crate) fn to_ascii(domain: &str) -> String {
    let narrow: String = domain.trim().chars().map(narrow).collect();
    let narrow = narrow.trim_end_matches('.');
    domain_to_ascii(narrow).unwrap_or_else(|_| narrow.to_lowercase())
}

/// The name as a reader sees it that maps look-alikes and drops what is invisible (UTS 46); empty where
/// it comes to no name.
pub(crate) fn mapped(domain: &str) -> String {
    ::idna::domain_to_ascii(domain.trim().trim_end_matches('.')).unwrap_or_default()
}

/// Full-width forms and the ideographic full stops, as UTS 46 maps them.
fn narrow(c: char) -> char {
    match c {
        '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => '.',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    }
}

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
            ("not a domain!", "not a domain!"),
            ("", ""),
        ] {
            assert_eq!(to_ascii(written), wanted);
        }
    }
}
