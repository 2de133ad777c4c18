//! What a mail was worth on arrival, by methods that are not ours: the value of
//! `ARC-Authentication-Results` (RFC 8617 §4.1.1), which goes into a seal.
//!
//! Method, result and property names are constants; values go through the one writer. Never adds a
//! result that nobody evaluated.

use crate::header::{scan, unfold};
use crate::writer;

/// Results of DKIM, SPF, DMARC and ARC in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrivalResults(Vec<String>);

impl ArrivalResults {
    /// Adds one result (RFC 8601 §2.7) with its properties, such as `("header.d", domain)`.
    pub fn add(
        &mut self,
        method: &'static str,
        result: &'static str,
        properties: &[(&'static str, &str)],
    ) {
        let mut text = format!("{method}={result}");
        for (name, value) in properties {
            let value = match value.contains('@') {
                true => writer::address(value),
                false => writer::value(value),
            };
            text.push_str(&format!(" {name}={value}"));
        }
        self.0.push(text);
    }

    /// The value on one line, without the instance: the authserv-id, these results, and those of the
    /// `Authentication-Results` field that begins `stamp`, if one does.
    ///
    /// White space is single everywhere, quoted strings included: a seal is over the relaxed form
    /// (RFC 6376 §3.4.2), which knows no other.
    pub fn value(&self, authserv_id: &str, stamp: &[u8]) -> String {
        let mut parts = vec![writer::value(authserv_id)];
        parts.extend(self.0.iter().cloned());
        let ours = scan(stamp).fields.into_iter().next();
        if let Some(field) = ours.filter(|one| one.is_plainly(stamp, "authentication-results")) {
            let value = String::from_utf8_lossy(&unfold(field.value(stamp))).into_owned();
            if let Some((_, results)) = value.split_once(';') {
                parts.push(results.to_owned());
            }
        }
        if parts.len() == 1 {
            parts.push("none".to_owned());
        }
        let words = parts.iter().map(|part| {
            let words: Vec<&str> = part.split_ascii_whitespace().collect();
            words.join(" ")
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn others_results_stand_before_ours() {
        let mut results = ArrivalResults::default();
        results.add(
            "dkim",
            "pass",
            &[("header.d", "example.jp"), ("header.b", "ab+/c0=")],
        );
        results.add("spf", "none", &[("smtp.mailfrom", "a b@example.jp")]);
        let stamp = b"Authentication-Results: smime.gw; smime=policy\r\n (from-mismatch)\r\n\
                      X-Kenin-Verdict: x\r\n";
        assert_eq!(
            results.value("smime.gw", stamp),
            "smime.gw; dkim=pass header.d=example.jp header.b=\"ab+/c0=\"; \
             spf=none smtp.mailfrom=\"a b@example.jp\"; smime=policy (from-mismatch)"
        );
        assert_eq!(
            ArrivalResults::default().value("smime.gw", b""),
            "smime.gw; none"
        );
    }

    proptest! {
        #[test]
        fn no_text_adds_a_result_or_white_space(text in "(\\PC|[\\x00-\\x20\"\\\\();=@]){0,300}") {
            let mut results = ArrivalResults::default();
            results.add("dkim", "fail", &[("header.d", &text), ("header.s", &text)]);
            let value = results.value("smime.gw", b"");
            prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(!value.contains("  "));
            let (mut outside, mut quoted, mut escaped) = (String::new(), false, false);
            for c in value.chars() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' if quoted => escaped = true,
                    '"' => quoted = !quoted,
                    _ if quoted => {}
                    other => outside.push(other),
                }
            }
            prop_assert!(!quoted && !escaped);
            prop_assert_eq!(outside.matches(';').count(), 1);
            prop_assert_eq!(outside.matches('(').count(), 0);
            prop_assert_eq!(outside.matches('=').count(), 3);
        }
    }
}
