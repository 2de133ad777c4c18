//! An entity made fit for every relay before it is signed (RFC 8551 §3.1.2–3.1.3): 7-bit, no line longer
//! than a relay takes, no control that some relay drops (the ESC of ISO-2022-JP), no line that an mbox quotes. Parts that
//! are not are encoded as base64; what they decode to stays the same. Nor is anything called 8bit or binary that is not:
//! relays encode by the label, whatever stands behind it.
//!
//! Never touches what is signed or encrypted: an entity that would need it is left to the caller.

use std::borrow::Cow;
use std::ops::Range;

use crate::base64_lines::push_base64;
use crate::canonical;
use crate::limits::Limits;
use crate::mime::{Part, PartKind, TransferEncoding, Tree, decode, fields, slice};

/// The longest line without its line end (RFC 5321 §4.5.3.1.6).
const MAX_LINE: usize = 998;
/// How a message begins in an mbox: such files have ">From " for it inside of one (RFC 4155).
const FROM: &[u8] = b"From ";

/// The entity in a form that relays pass on, in 7 bits but for headers that are not; nothing where that is not
/// possible without changing something signed. Controls in headers, and in what is signed already, stay: whether nothing
/// of it can be lost, [`fits_relays`] says.
#[must_use]
pub fn relayable<'e>(entity: &'e [u8], limits: &Limits) -> Option<Cow<'e, [u8]>> {
    if fits_relays(entity) {
        return Some(Cow::Borrowed(entity));
    }
    let tree = Tree::read(entity, 0..entity.len(), limits, |_| ()).ok()?;
    made(entity, &tree, Labels::AsTheyCame)
}

/// The same for an entity that is to be signed: a part in 7 bits is not called 8bit or binary any more. A relay whose next
/// hop takes no 8-bit data goes by these words alone, and encodes plain text too.
#[must_use]
pub fn signable<'e>(entity: &'e [u8], limits: &Limits) -> Option<Cow<'e, [u8]>> {
    let fits = fits_relays(entity);
    if fits && !may_be_called_wide(entity) {
        return Some(Cow::Borrowed(entity));
    }
    let Ok(tree) = Tree::read(entity, 0..entity.len(), limits, |_| ()) else {
        return fits.then_some(Cow::Borrowed(entity));
    };
    if fits && !tree.parts.iter().any(|part| is_called_wide(entity, part)) {
        return Some(Cow::Borrowed(entity));
    }
    made(entity, &tree, Labels::AsItIs)
}

/// Whether nothing in an entity is called 8bit or binary. Where that cannot be found out something may be.
#[must_use]
pub fn is_called_seven_bit(entity: &[u8], limits: &Limits) -> bool {
    !may_be_called_wide(entity)
        || Tree::read(entity, 0..entity.len(), limits, |_| ())
            .is_ok_and(|tree| !tree.parts.iter().any(|part| is_called_wide(entity, part)))
}

/// What parts are called that nothing has to be done about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    /// What they came with.
    AsTheyCame,
    /// What they are.
    AsItIs,
}

fn made<'e>(entity: &'e [u8], tree: &Tree, labels: Labels) -> Option<Cow<'e, [u8]>> {
    // RFC 2045 §6.4: what has octets above 127 in it still is called so.
    let stays = |part: &Part| {
        part.kind == PartKind::Leaf
            && !may_be_encoded(part)
            && !slice(entity, part.body()).is_ascii()
    };
    let in_header = |part: &Part| !slice(entity, part.header.range.clone()).is_ascii();
    let keeps_labels = tree.parts.iter().any(stays) || tree.parts.iter().skip(1).any(in_header);
    let mut out = Vec::with_capacity(entity.len() + entity.len() / 2);
    let mut at = 0;
    for (index, part) in tree.parts.iter().enumerate() {
        let text = text_or_not(part, slice(entity, part.body()));
        let is_signed = is_inside_signed(tree, index);
        let is_unfit = part.kind == PartKind::Leaf && !fits_relays(&text);
        let is_plain = part.transfer == TransferEncoding::Identity;
        if is_unfit && is_plain && is_signed && !is_seven_bit(&text) {
            return None;
        }
        // Also what is encoded already: some programs write base64 as one line, and "From " in quoted-printable.
        let content = match is_unfit && !is_signed && may_be_encoded(part) {
            true => decode(&text, part.transfer).ok(),
            false => None,
        };
        let encoded = content.is_some();
        let labelled = part.kind != PartKind::Leaf
            && part.header.transfer.is_some()
            && !is_signed
            && !keeps_labels;
        let is_mislabelled = labels == Labels::AsItIs
            && part.kind == PartKind::Leaf
            && is_plain
            && !is_signed
            && !part.header.transfer_odd
            && is_called_wide(entity, part)
            && is_seven_bit(&text);
        let changed = encoded || labelled || is_mislabelled;
        // What stands between parts, and headers, is lines.
        push(&mut out, entity, at..part.header.range.start.max(at));
        let header = slice(entity, part.header.range.clone());
        if changed {
            for field in fields(header) {
                if !field.is(header, "content-transfer-encoding") {
                    push(&mut out, header, field.whole);
                }
            }
            let encoding: &[u8] = match encoded {
                true => b"Content-Transfer-Encoding: base64\r\n\r\n",
                false => b"\r\n",
            };
            out.extend_from_slice(encoding);
        } else {
            push(&mut out, header, 0..header.len());
        }
        at = part.header.body;
        if part.kind == PartKind::Leaf {
            match content {
                Some(content) => encode(&content, &mut out),
                None => out.extend_from_slice(&text),
            }
            at = part.whole.end.max(at);
        }
    }
    push(&mut out, entity, at..entity.len());
    has_relayable_lines(&out).then_some(Cow::Owned(out))
}

/// Whether every relay passes it on as it is: 7-bit, in lines of a length they take, ended by CRLF, and no control but
/// the tab: some relays drop ESC, and others whatever is not printed. And no line that is quoted where mail is kept in
/// mbox files.
#[must_use]
pub fn fits_relays(bytes: &[u8]) -> bool {
    canonical::is_printed(bytes) && has_relayable_lines(bytes) && !has_from_line(bytes)
}

/// Whether some line may say of a part that it is in 8 bits or binary: a look at the octets, before anything is parsed.
fn may_be_called_wide(bytes: &[u8]) -> bool {
    const BEFORE: &[u8] = b"transfer";
    const BEHIND: &[u8] = b"encoding";
    // Rare in text, and never in base64.
    memchr::memchr_iter(b'-', bytes).any(|at| {
        let before = at.checked_sub(BEFORE.len());
        let before = before.and_then(|start| bytes.get(start..at));
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let Some((behind, rest)) = rest.split_at_checked(BEHIND.len()) else {
            return false;
        };
        let is_named = before.is_some_and(|before| before.eq_ignore_ascii_case(BEFORE))
            && behind.eq_ignore_ascii_case(BEHIND);
        is_named && {
            let line = slice(rest, 0..rest.len().min(MAX_LINE));
            let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
            let value = slice(line, 0..end).trim_ascii();
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            // What stands in the next line may be anything.
            value.is_empty() || is_wide(value)
        }
    })
}

fn is_called_wide(entity: &[u8], part: &Part) -> bool {
    let label = part.header.transfer.clone();
    label.is_some_and(|value| is_wide(slice(entity, value).trim_ascii()))
}

/// Whether a label says so, also in front of a comment, or may say so behind one, which relays pass over.
fn is_wide(label: &[u8]) -> bool {
    let words: [&[u8]; 2] = [b"8bit", b"binary"];
    let begins = |word: &[u8]| {
        let start = label.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    label.starts_with(b"(") || words.into_iter().any(begins)
}

fn has_from_line(bytes: &[u8]) -> bool {
    bytes.starts_with(FROM) || memchr::memmem::find(bytes, b"\nFrom ").is_some()
}

/// Whether no relay refuses it: 7-bit data of RFC 2045 §2.7, in lines of a length they take. A relay that drops controls
/// may change it all the same.
#[must_use]
pub fn is_seven_bit(bytes: &[u8]) -> bool {
    bytes.is_ascii() && has_relayable_lines(bytes)
}

fn has_relayable_lines(bytes: &[u8]) -> bool {
    let mut start = 0;
    memchr::memchr(0, bytes).is_none()
        && canonical::has_only_crlf(bytes)
        && memchr::memchr_iter(b'\n', bytes)
            .chain([bytes.len()])
            .all(|end| {
                let line = bytes.get(start..end).unwrap_or_default();
                start = end + 1;
                line.strip_suffix(b"\r").unwrap_or(line).len() <= MAX_LINE
            })
}

/// Text has canonical line ends (RFC 2046 §4.1.1); anything else stays as it is.
fn text_or_not<'e>(part: &Part, body: &'e [u8]) -> Cow<'e, [u8]> {
    let essence = &part.content_type.essence;
    // What has NUL in it (UTF-16) is in no character set whose line ends are octets.
    let is_text =
        (essence.is_empty() || essence.starts_with("text/")) && memchr::memchr(0, body).is_none();
    // What is encoded is lines, whatever it is.
    let is_lines = is_text || part.transfer != TransferEncoding::Identity;
    match is_lines {
        true => canonical::form(body),
        false => Cow::Borrowed(body),
    }
}

/// RFC 2045 §6.4: nothing that is made of parts, or of a message, is encoded itself, and no report (RFC 3464 §2.1). What
/// is for addresses outside of ASCII may be (RFC 6532 §3.7, RFC 6533 §3).
fn may_be_encoded(part: &Part) -> bool {
    let essence = &part.content_type.essence;
    let is_message = essence.starts_with("message/") && !essence.starts_with("message/global");
    !is_message && !essence.starts_with("multipart/")
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
    canonical::feed(slice(from, range), |piece| out.extend_from_slice(piece));
}

fn encode(body: &[u8], out: &mut Vec<u8>) {
    push_base64(out, body);
    // The line end before the next delimiter is not the part's.
    if out.ends_with(b"\r\n") && !body.is_empty() {
        out.truncate(out.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(entity: &[u8]) -> Option<Vec<u8>> {
        relayable(entity, &Limits::default())
            .map(Cow::into_owned)
            .filter(|out| fits_relays(out))
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let entity = b"Content-Type: text/plain\r\n\r\nplain\r\n";
        assert!(matches!(
            relayable(entity, &Limits::default()),
            Some(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn an_8bit_part_is_encoded_and_its_siblings_are_not() {
        let entity = "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n検印\r\n\
            --b\r\n\r\nplain\r\n--b--\r\n";
        assert_eq!(
            String::from_utf8(fitting(entity.as_bytes()).unwrap()).unwrap(),
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
            let out = fitting(entity.as_bytes()).unwrap();
            let (_, encoded) = std::str::from_utf8(&out)
                .unwrap()
                .split_once("\r\n\r\n")
                .unwrap();
            let decoded = decode(encoded.as_bytes(), TransferEncoding::Base64).unwrap();
            assert_eq!(decoded.as_ref(), body.as_bytes());
        }
        // Its line ends are not octets.
        let wide = "\r\0\n\0x\0\n\0";
        let entity = format!("Content-Type: text/csv; charset=utf-16le\r\n\r\n{wide}");
        let out = fitting(entity.as_bytes()).unwrap();
        let at = memchr::memmem::find(&out, b"\r\n\r\n").unwrap() + 4;
        let decoded = decode(&out[at..], TransferEncoding::Base64).unwrap();
        assert_eq!(decoded.as_ref(), wide.as_bytes());
        let lines = "Content-Type: text/plain\nX: y\n\na\nb\n";
        assert_eq!(
            fitting(lines.as_bytes()).unwrap(),
            lines.replace('\n', "\r\n").as_bytes()
        );
        let picture = b"Content-Type: multipart/mixed; boundary=q; name=\"\xe6\xa4\x9c\"\r\n\r\n--q\r\n\
            Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x1a\nA\n\r\n--q--\r\n";
        // The header stays in 8 bits, and no octet of the picture changes.
        let out = relayable(picture, &Limits::default()).unwrap().into_owned();
        assert!(!out.is_ascii() && out.ends_with(b"base64\r\n\r\nGgpBCg==\r\n--q--\r\n"));
        let fits = format!("\r\n{}\r\n", "x".repeat(MAX_LINE));
        assert_eq!(fitting(fits.as_bytes()).unwrap(), fits.as_bytes());
    }

    #[test]
    fn text_whose_esc_a_relay_may_drop_is_encoded() {
        const HEADER: &str = "Content-Type: text/plain; charset=iso-2022-jp\r\n";
        let japanese = "\x1b$B8!0u\x1b(B\r\n";
        for body in [
            japanese,
            "\x08\r\n",
            "a\x0cb\r\n",
            "a\x7f\r\n",
            "\x0e\x0f\r\n",
        ] {
            let entity = format!("{HEADER}Content-Transfer-Encoding: 7bit\r\n\r\n{body}");
            assert!(!fits_relays(entity.as_bytes()), "{body:?}");
            let out = String::from_utf8(fitting(entity.as_bytes()).unwrap()).unwrap();
            let start = format!("{HEADER}Content-Transfer-Encoding: base64\r\n\r\n");
            let encoded = out.strip_prefix(&start).unwrap();
            let decoded = decode(encoded.as_bytes(), TransferEncoding::Base64).unwrap();
            assert_eq!(decoded.as_ref(), body.as_bytes());
        }
        assert!(fits_relays(b"\r\na\tb\r\n"));
        // Encoded already, it stays as it is.
        let quoted = format!(
            "{HEADER}Content-Transfer-Encoding: quoted-printable\r\n\r\n=1B$B8!0u=1B(B\r\n"
        );
        assert_eq!(fitting(quoted.as_bytes()).unwrap(), quoted.as_bytes());
    }

    fn decoded(entity: &str) -> String {
        let out = String::from_utf8(fitting(entity.as_bytes()).unwrap()).unwrap();
        let start = "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        let encoded = out.strip_prefix(start).unwrap().as_bytes();
        let decoded = decode(encoded, TransferEncoding::Base64).unwrap();
        String::from_utf8(decoded.into_owned()).unwrap()
    }

    #[test]
    fn a_line_that_an_mbox_quotes_is_encoded() {
        const QUOTED: &str = "Content-Transfer-Encoding: quoted-printable\r\n";
        for (field, body) in [
            ("", "From here\r\n"),
            ("", "a\r\nFrom here\r\n"),
            (QUOTED, "a=3D\r\nFrom here\r\n"),
        ] {
            let entity = format!("Content-Type: text/plain\r\n{field}\r\n{body}");
            assert_eq!(decoded(&entity), body.replace("=3D", "="));
        }
        assert!(fits_relays(b"\r\n>From here\r\nFromage\r\n From x\r\n"));
    }

    #[test]
    fn base64_in_one_long_line_is_written_in_lines() {
        let entity = format!(
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            "QUJD".repeat(400)
        );
        assert_eq!(decoded(&entity), "ABC".repeat(400));
    }

    #[test]
    fn a_report_is_not_encoded() {
        let with = |essence: &str| {
            format!(
                "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b\r\n\
                 Content-Type: message/{essence}\r\n\r\nX: \u{e9}\r\n\r\n--b--\r\n"
            )
        };
        for essence in ["delivery-status", "partial", "external-body"] {
            let entity = with(essence);
            let out = relayable(entity.as_bytes(), &Limits::default()).unwrap();
            let out = String::from_utf8(out.into_owned()).unwrap();
            assert!(out.contains("base64\r\n\r\nw6k=\r\n--b\r\n"), "{out}");
            assert!(out.ends_with("\r\n\r\nX: \u{e9}\r\n\r\n--b--\r\n"), "{out}");
        }
        assert!(fitting(with("global-headers").as_bytes()).is_some());
        // What it is in says still that it has such octets.
        let label = "Content-Transfer-Encoding: 8bit\r\n";
        let labelled = format!("{label}{}", with("delivery-status"));
        let out = relayable(labelled.as_bytes(), &Limits::default()).unwrap();
        assert!(out.starts_with(label.as_bytes()));
    }

    #[test]
    fn what_holds_a_header_in_8_bits_is_called_so() {
        let around = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
        let entity =
            format!("{around}Subject: \u{e9}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{e9}\r\n");
        let out = relayable(entity.as_bytes(), &Limits::default()).unwrap();
        let out = String::from_utf8(out.into_owned()).unwrap();
        let inside = "Subject: \u{e9}\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kNCg==";
        assert_eq!(out, format!("{around}{inside}"));
    }

    #[test]
    fn esc_in_what_is_signed_already_is_left_to_the_caller() {
        let signed = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
            Content-Type: multipart/signed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n--b\r\n\
            Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B8!0u\x1b(B\r\n--b\r\n\r\nx\r\n\
            --b--\r\n--o\r\n\r\n";
        let beside = |text: &str| format!("{signed}{text}\r\n--o--\r\n");
        let plain = beside("plain");
        let out = relayable(plain.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(out.as_ref(), plain.as_bytes());
        assert!(!fits_relays(&out));
        let wide = beside("\u{e9}");
        let out = relayable(wide.as_bytes(), &Limits::default()).unwrap();
        assert!(out.starts_with(signed.strip_suffix("\r\n").unwrap().as_bytes()));
        assert!(out.is_ascii() && !fits_relays(&out));
    }

    #[test]
    fn what_is_signed_and_what_stands_in_a_header_is_not_touched() {
        let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(fitting(signed.as_bytes()), None);
        assert_eq!(
            fitting("Content-Description: \u{e9}\r\n\r\nx\r\n".as_bytes()),
            None
        );
    }

    /// Postfix, whose next hop takes no 8-bit data, encodes a part that is called 8bit, also one of ASCII, and with it what
    /// somebody signed.
    #[test]
    fn a_part_in_7_bits_is_not_called_8bit_where_it_is_signed() {
        let limits = Limits::default();
        let signed = |entity: &str| {
            let out = signable(entity.as_bytes(), &limits).unwrap();
            assert!(is_called_seven_bit(&out, &limits) && fits_relays(&out));
            String::from_utf8(out.into_owned()).unwrap()
        };
        for label in ["8bit", "8BIT ", "Binary", "\r\n 8bit"] {
            let field = format!("content-transfer-Encoding: {label}\r\n");
            let text = format!("Content-Type: text/plain\r\n{field}\r\nplain = text\r\n");
            let bare = text.replace(&field, "");
            assert!(!is_called_seven_bit(text.as_bytes(), &limits), "{label}");
            assert_eq!(signed(&text), bare);
            let around = |part: &str, field: &str| {
                format!(
                    "Content-Type: multipart/mixed; boundary=b\r\n{field}\r\n--b\r\n{part}\r\n--b\r\n\
                     Content-Type: message/rfc822\r\n{field}\r\nSubject: x\r\n{part}\r\n--b--\r\n"
                )
            };
            assert_eq!(signed(&around(&text, &field)), around(&bare, ""));
            // Whatever it is called, it goes as it came where nobody signs it.
            let out = relayable(text.as_bytes(), &limits).unwrap();
            assert!(matches!(out, Cow::Borrowed(_)));
        }
        for label in ["7bit", "quoted-printable", "x-unknown"] {
            let text = format!("Content-Transfer-Encoding: {label}\r\n\r\nplain\r\n");
            assert_eq!(signed(&text), text);
        }
        // What only speaks of it is no label.
        let text = "\r\nContent-Transfer-Encoding: 8bit\r\n";
        assert_eq!(signed(text), text);
        let wide = signed("Content-Transfer-Encoding: 8bit\r\n\r\n\u{e9}\r\n");
        assert_eq!(wide, "Content-Transfer-Encoding: base64\r\n\r\nw6kNCg==");
    }

    /// Postfix reads 8bit there, and what is no word of RFC 2045 §6.1 here is not taken out.
    #[test]
    fn a_label_behind_a_comment_may_say_8bit() {
        let entity = b"Content-Transfer-Encoding: (as it came) 8bit\r\n\r\nplain\r\n";
        let limits = Limits::default();
        assert!(!is_called_seven_bit(entity, &limits));
        assert_eq!(signable(entity, &limits).unwrap().as_ref(), entity);
    }

    #[test]
    fn what_is_signed_already_keeps_its_label() {
        let entity = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
            Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\
            Content-Transfer-Encoding: 8bit\r\n\r\nplain\r\n--b\r\n\r\nx\r\n--b--\r\n\r\n--o--\r\n";
        let limits = Limits::default();
        let out = signable(entity.as_bytes(), &limits).unwrap();
        assert_eq!(out.as_ref(), entity.as_bytes());
        assert!(!is_called_seven_bit(&out, &limits));
    }
}
