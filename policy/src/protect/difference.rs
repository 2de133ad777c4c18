//! From a message and its copy to the changes that make one of the other: relays and MTAs are told changes, and keep
//! what they know of the rest.

use crate::header;
use crate::stamp::HeaderEdits;
use crate::wrap::Delivered;

/// How a copy differs from the message that came: which fields go, which come, and the new body. Fields that are the same
/// stay where they are, and new ones stand in front. A message may be a header only (RFC 5322 §3.5): then the empty line
/// comes with the body. Nothing where the message has no body that could be another: no empty line ends its header, and not
/// all of it are fields.
#[must_use]
pub fn difference(raw: &[u8], copy: &[u8]) -> Option<Delivered> {
    let (own, new) = (header::scan(raw), header::scan(copy));
    let ended = raw
        .get(..own.body)
        .is_some_and(|head| head == b"\r\n" || head.ends_with(b"\r\n\r\n"));
    let between: &[u8] = match ended {
        true => b"",
        false if is_header_only(raw, &own) => b"\r\n",
        false => return None,
    };
    let mut edits = HeaderEdits {
        rewrites: true,
        ..HeaderEdits::default()
    };
    let text = |field: &header::Field| raw.get(field.whole.clone()).unwrap_or_default();
    let mut at = 0;
    for field in &new.fields {
        let wanted = copy.get(field.whole.clone()).unwrap_or_default();
        let rest = own.fields.get(at..).unwrap_or_default();
        match rest.iter().position(|field| text(field) == wanted) {
            Some(skipped) => {
                let gone = rest.iter().take(skipped);
                edits.remove.extend(gone.map(|field| field.whole.clone()));
                at += skipped + 1;
            }
            None => {
                edits.prepend.extend_from_slice(wanted);
                if !wanted.ends_with(b"\n") {
                    edits.prepend.extend_from_slice(b"\r\n");
                }
            }
        }
    }
    let gone = own.fields.iter().skip(at);
    edits.remove.extend(gone.map(|field| field.whole.clone()));
    let body = copy.get(new.body..).unwrap_or_default();
    Some(Delivered {
        header: edits,
        body: Some((own.body, [between, body].concat())),
        wrapped: false,
    })
}

/// Whether all of it are header fields to everybody, in whole lines. What is none may be text to somebody.
fn is_header_only(raw: &[u8], header: &header::Header) -> bool {
    let mut lines = raw.split_inclusive(|byte| *byte == b'\n');
    header.body == raw.len()
        && !header.fields.is_empty()
        && header.fields.iter().all(|field| field.plain)
        && lines.all(|line| line.ends_with(b"\r\n") && line.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(raw: &str, copy: &str) -> Option<(String, usize)> {
        let delivered = difference(raw.as_bytes(), copy.as_bytes())?;
        let text = String::from_utf8(delivered.applied(raw.as_bytes())).unwrap();
        Some((text, delivered.header.remove.len()))
    }

    #[test]
    fn what_is_the_same_stays_and_what_is_new_stands_in_front() {
        let raw = "Received: a\r\nReceived: b\r\nFrom: x\r\nSubject: secret\r\nMIME-Version: 1.0\r\n\
            Content-Type: text/plain\r\nTo: y,\r\n z\r\n\r\nbody\r\n";
        let copy = "Received: a\r\nReceived: b\r\nFrom: x\r\nSubject: [...]\r\nTo: y,\r\n z\r\n\
            MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime\r\n\r\nMIIB\r\n";
        let (text, removed) = applied(raw, copy).unwrap();
        assert_eq!(
            text,
            "Subject: [...]\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime\r\n\
             Received: a\r\nReceived: b\r\nFrom: x\r\nTo: y,\r\n z\r\n\r\nMIIB\r\n"
        );
        assert_eq!(removed, 3);
        let (text, removed) = applied(raw, raw).unwrap();
        assert_eq!((text.as_str(), removed), (raw, 0));
    }

    #[test]
    fn no_field_of_the_message_is_left_that_the_copy_lacks() {
        for (raw, copy) in [
            ("A: 1\r\nB: 2\r\n\r\nx\r\n", "B: 2\r\nA: 1\r\n\r\ny\r\n"),
            ("A: 1\r\nA: 1\r\n\r\nx\r\n", "A: 1\r\n\r\ny\r\n"),
            ("A: 1\r\n\r\nx\r\n", "\r\ny\r\n"),
            ("\r\nx\r\n", "A: 1\r\n\r\ny\r\n"),
            ("A: 1\r\nB: 2\r\n\r\n", "B: 2\r\nB: 2\r\n\r\ny\r\n"),
        ] {
            let (text, _) = applied(raw, copy).unwrap();
            let sorted = |text: &str| {
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or(("", &text[2..]));
                let mut fields: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
                fields.sort();
                (fields, body.to_owned())
            };
            assert_eq!(sorted(&text), sorted(copy), "{raw}");
        }
    }

    #[test]
    fn a_message_without_the_end_of_its_header_has_no_copy() {
        for raw in [
            "A: 1",
            "",
            "A: 1\n\nx\n",
            "A: 1\n",
            "A: 1\nB: 2\r\n",
            "A: 1\r\ntext\r\n",
            "text\r\n",
            " A: 1\r\n",
            "A: 1\rB: 2\r\n",
            "A: 1\r\n\n",
        ] {
            assert_eq!(applied(raw, "A: 1\r\n\r\ny\r\n"), None, "{raw:?}");
        }
    }

    /// RFC 5322 §3.5: the body is optional, and so is the empty line before it.
    #[test]
    fn a_message_that_is_a_header_only_gets_its_empty_line() {
        let copy = "A: 1\r\nC: 3\r\n\r\ny\r\n";
        for (raw, expected, gone) in [
            ("A: 1\r\n", "C: 3\r\nA: 1\r\n\r\ny\r\n", 0),
            ("A: 1\r\nB: 2,\r\n 3\r\n", "C: 3\r\nA: 1\r\n\r\ny\r\n", 1),
            ("B: 2\r\n", "A: 1\r\nC: 3\r\n\r\ny\r\n", 1),
        ] {
            let expected = (expected.to_owned(), gone);
            assert_eq!(applied(raw, copy), Some(expected), "{raw:?}");
        }
        let empty = applied("A: 1\r\n", "A: 1\r\n\r\n");
        assert_eq!(empty, Some(("A: 1\r\n\r\n".to_owned(), 0)));
    }
}
