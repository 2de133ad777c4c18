//! An entity made fit for every relay before it is signed (RFC 8551 §3.1.2–3.1.3): 7-bit, no line longer
//! than a relay takes. Parts that are not are encoded as base64; what they decode to stays the same.
//!
//! Never touches what is signed or encrypted: an entity that would need it is left to the caller.

use std::borrow::Cow;
use std::ops::Range;

use crate::canonical;
use crate::limits::Limits;
use crate::mime::{Part, PartKind, TransferEncoding, Tree, fields, slice};

/// The longest line without its line end (RFC 5321 §4.5.3.1.6).
const MAX_LINE: usize = 998;

/// The entity in 7-bit form, or nothing where that is not possible without changing a header or
/// something signed.
#[must_use]
pub fn seven_bit<'e>(entity: &'e [u8], limits: &Limits) -> Option<Cow<'e, [u8]>> {
    if fits(entity) {
        return Some(Cow::Borrowed(entity));
    }
    let tree = Tree::read(entity, 0..entity.len(), limits, |_| ()).ok()?;
    let mut out = Vec::with_capacity(entity.len() + entity.len() / 2);
    let mut at = 0;
    for (index, part) in tree.parts.iter().enumerate() {
        // The header up to the empty line, without what says how the body is encoded.
        let start = part.header.range.start.max(at);
        let encoded = part.kind == PartKind::Leaf
            && part.transfer == TransferEncoding::Identity
            && !fits(slice(entity, part.body()));
        let labelled = part.kind != PartKind::Leaf && part.header.transfer.is_some();
        if !encoded && !labelled {
            continue;
        }
        if is_inside_signed(&tree, index) {
            return None;
        }
        push(&mut out, entity, at..start);
        let header = slice(entity, part.header.range.clone());
        for field in fields(header) {
            if !field.is(header, "content-transfer-encoding") {
                push(&mut out, header, field.whole);
            }
        }
        at = part.header.body;
        if encoded {
            out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
            encode(body_of(entity, part), &mut out);
            at = part.whole.end;
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    push(&mut out, entity, at..entity.len());
    fits(&out).then_some(Cow::Owned(out))
}

/// Whether every relay passes it on as it is.
fn fits(bytes: &[u8]) -> bool {
    let mut start = 0;
    bytes.is_ascii()
        && memchr::memchr(0, bytes).is_none()
        && memchr::memchr_iter(b'\r', bytes).all(|at| bytes.get(at + 1) == Some(&b'\n'))
        && memchr::memchr_iter(b'\n', bytes)
            .chain([bytes.len()])
            .all(|end| {
                let line = bytes.get(start..end).unwrap_or_default();
                start = end + 1;
                line.strip_suffix(b"\r").unwrap_or(line).len() <= MAX_LINE
            })
        && !canonical::has_bare_lf(bytes)
}

/// Text is encoded with its canonical line ends (RFC 2046 §4.1.1).
fn body_of<'e>(entity: &'e [u8], part: &Part) -> Cow<'e, [u8]> {
    let body = slice(entity, part.body());
    let is_text =
        part.content_type.essence.is_empty() || part.content_type.essence.starts_with("text/");
    if is_text && canonical::has_bare_lf(body) {
        Cow::Owned(canonical::to_crlf(body))
    } else {
        Cow::Borrowed(body)
    }
}

fn is_inside_signed(tree: &Tree, index: usize) -> bool {
    let mut at = tree.parts.get(index);
    while let Some(part) = at {
        if part.kind == PartKind::Signed {
            return true;
        }
        at = part.parent.and_then(|parent| tree.parts.get(parent));
    }
    false
}

fn push(out: &mut Vec<u8>, from: &[u8], range: Range<usize>) {
    out.extend_from_slice(slice(from, range));
}

fn encode(body: Cow<'_, [u8]>, out: &mut Vec<u8>) {
    for line in body.chunks(57) {
        base64_simd::STANDARD.encode_append(line, out);
        out.extend_from_slice(b"\r\n");
    }
    // The line end before the next delimiter is not the part's.
    if out.ends_with(b"\r\n") && !body.is_empty() {
        out.truncate(out.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(entity: &[u8]) -> Option<Vec<u8>> {
        seven_bit(entity, &Limits::default()).map(Cow::into_owned)
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let entity = b"Content-Type: text/plain\r\n\r\nplain\r\n";
        assert!(matches!(
            seven_bit(entity, &Limits::default()),
            Some(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn an_8bit_part_is_encoded_and_its_siblings_are_not() {
        let entity = "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n検印\r\n\
            --b\r\n\r\nplain\r\n--b--\r\n";
        assert_eq!(
            String::from_utf8(made(entity.as_bytes()).unwrap()).unwrap(),
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n5qSc5Y2w\r\n\
             --b\r\n\r\nplain\r\n--b--\r\n"
        );
    }

    #[test]
    fn long_lines_nul_and_lone_ends_are_encoded() {
        for body in [
            "x".repeat(MAX_LINE + 1),
            "a\0b".to_owned(),
            "a\rb".to_owned(),
            "a\nb".to_owned(),
        ] {
            let entity = format!("Content-Type: application/x\r\n\r\n{body}");
            let out = made(entity.as_bytes()).unwrap();
            let (_, encoded) = std::str::from_utf8(&out)
                .unwrap()
                .split_once("\r\n\r\n")
                .unwrap();
            let decoded =
                crate::mime::decode(encoded.as_bytes(), TransferEncoding::Base64).unwrap();
            assert_eq!(decoded.as_ref(), body.as_bytes());
        }
        let fits = format!("\r\n{}\r\n", "x".repeat(MAX_LINE));
        assert_eq!(made(fits.as_bytes()).unwrap(), fits.as_bytes());
    }

    #[test]
    fn what_is_signed_and_what_stands_in_a_header_is_not_touched() {
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(made(signed.as_bytes()), None);
        assert_eq!(
            made("Content-Description: \u{e9}\r\n\r\nx\r\n".as_bytes()),
            None
        );
    }
}
