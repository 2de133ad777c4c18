//! The last look at a copy before it goes: whether it still shows a certificate that nobody may see, in whatever
//! shape it travels. Nothing here knows MIME; where it is in doubt the copy does not go.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;

/// Whether the bytes hold one of these names (DER): as they are, or in base64, in hexadecimal, or in base64 within
/// base64. Every certificate and every signer identifier holds the name of its issuer.
pub(super) fn shows(bytes: &[u8], names: &[&[u8]]) -> bool {
    let finders: Vec<memmem::Finder<'_>> = names.iter().map(memmem::Finder::new).collect();
    let found = |bytes: &[u8]| finders.iter().any(|finder| finder.find(bytes).is_some());
    let mut layer = bytes.to_vec();
    for _ in 0..DEPTH {
        if found(&layer) || found(&unhexed(&layer)) || found(&unquoted(&layer)) {
            return true;
        }
        layer = decoded(&layer);
        if layer.is_empty() {
            return false;
        }
    }
    found(&layer)
}

/// All that stands in base64, one run after the other. A run goes on over line ends and blanks, as it does in folded
/// fields; it may begin anywhere, so that it is read from each of four places.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    let mut flush = |run: &mut Vec<u8>| {
        if run.len() >= SHORTEST {
            for skip in 0..4 {
                let text = run.get(skip..).unwrap_or_default();
                let whole = text.len() / 4 * 4;
                let text = text.get(..whole).unwrap_or_default();
                if let Ok(mut some) = LENIENT.decode(text) {
                    out.append(&mut some);
                    out.push(0);
                }
            }
        }
        run.clear();
    };
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => run.push(byte),
            // The two alphabets differ in two letters.
            b'-' => run.push(b'+'),
            b'_' => run.push(b'/'),
            b'\r' | b'\n' | b' ' | b'\t' => {}
            _ => flush(&mut run),
        }
    }
    flush(&mut run);
    out
}

/// Pairs of hexadecimal digits, with nothing or a colon or blanks between them.
fn unhexed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut high = None;
    for &byte in bytes {
        let digit = char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok());
        match (digit, high) {
            (Some(digit), None) => high = Some(digit),
            (Some(digit), Some(first)) => {
                out.push(first << 4 | digit);
                high = None;
            }
            (None, _) if b": \t\r\n".contains(&byte) => {}
            (None, _) => {
                high = None;
                out.push(0);
            }
        }
    }
    out
}

/// Quoted-printable, as far as it is.
fn unquoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        rest = match escape {
            [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => after,
            [b'=', high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    after
                }
                _ => {
                    out.push(b'=');
                    escape.get(1..).unwrap_or_default()
                }
            },
            _ => &[],
        };
    }
    out.extend_from_slice(rest);
    out
}

/// What ends a run is not always its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Base64 within base64, this often.
const DEPTH: usize = 3;
/// A name is longer.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD as PLAIN, URL_SAFE_NO_PAD};

    use super::*;

    const NAME: &[u8] = b"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x0a\x0c\x05J-SIM";

    fn lines(text: &str, width: usize) -> String {
        let lines = text.as_bytes().chunks(width);
        let lines = lines.map(|line| format!("{}\r\n", String::from_utf8_lossy(line)));
        lines.collect()
    }

    #[test]
    fn a_name_is_found_in_every_shape() {
        for before in 0..5 {
            let object = [&vec![b'x'; 40 + before][..], NAME, &[b'y'; 30]].concat();
            let once = PLAIN.encode(&object);
            let mail = format!(
                "From: a\r\n\r\n--b\r\n\r\n{}\r\n--b--\r\n",
                lines(&once, 64)
            );
            let hex: String = object.iter().map(|byte| format!("{byte:02X}:")).collect();
            let quoted: String = object.iter().map(|byte| format!("={byte:02X}")).collect();
            for shape in [
                object.clone(),
                once.clone().into_bytes(),
                lines(&once, 76).into_bytes(),
                lines(&once, 61).into_bytes(),
                format!("X-Cert: {}", lines(&once, 60).replace("\r\n", "\r\n ")).into_bytes(),
                URL_SAFE_NO_PAD.encode(&object).into_bytes(),
                lines(&PLAIN.encode(lines(&once, 76)), 76).into_bytes(),
                lines(&PLAIN.encode(mail), 76).into_bytes(),
                hex.into_bytes(),
                quoted.into_bytes(),
            ] {
                let mail = [b"Subject: x\r\n\r\nHello.\r\n", &shape[..], b"\r\nBye.\r\n"].concat();
                assert!(
                    shows(&mail, &[b"other", NAME]),
                    "{}",
                    String::from_utf8_lossy(&mail)
                );
            }
        }
    }

    #[test]
    fn other_mail_is_let_through() {
        let other = lines(&PLAIN.encode([7_u8; 3000]), 76);
        for mail in ["hello", "", "J-SIM", &other] {
            assert!(!shows(mail.as_bytes(), &[NAME]));
        }
        assert!(!shows(NAME, &[]));
    }
}
