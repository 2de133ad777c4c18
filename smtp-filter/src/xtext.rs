//! xtext, the quoting of parameter values in DSN and XFORWARD. Decoding gives no control
//! characters.
//!
//! <https://www.rfc-editor.org/rfc/rfc3461#section-4>.

/// Whether `text` is well-formed xtext without control characters. RFC 3461 §4.2 and §4.4 allow
/// none, and whoever writes a bounce decodes the text into a header.
pub(crate) fn is_xtext(text: &str) -> bool {
    decode_bytes(text).is_some_and(|bytes| !bytes.iter().any(u8::is_ascii_control))
}

/// Decodes xtext to printable text; `None` when it is malformed or holds control characters.
pub(crate) fn decode(text: &str) -> Option<String> {
    let decoded = String::from_utf8(decode_bytes(text)?).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

/// Encodes text as xtext.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            out.push('+');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    out
}

fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                out.push((high << 4) | low);
            }
            b'=' => return None,
            b'!'..=b'~' => out.push(byte),
            // Raw UTF-8 is not xtext, but utf-8-address-xtext of RFC 6533 allows it in ORCPT.
            0x80.. => out.push(byte),
            _ => return None,
        }
    }
    Some(out)
}

/// xtext wants upper case; lower case is seen in the wild and means the same.
fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_xtext_is_refused() {
        for bad in [
            "a=b", "+", "+4", "+4g", "a b", "a\tb", "a+0D+0Ab", "+00", "+7F",
        ] {
            assert!(!is_xtext(bad), "{bad:?}");
        }
        assert_eq!(decode("a+0D+0Ab"), None);
        assert_eq!(decode("a+2Bb").as_deref(), Some("a+b"));
        assert_eq!(decode("+2b").as_deref(), Some("+"));
    }

    proptest::proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "\\PC*") {
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            let coded = encode(&text);
            proptest::prop_assert!(coded.bytes().all(|b| b.is_ascii_graphic()));
            proptest::prop_assert_eq!(decode(&coded), Some(text));
        }
    }
}
