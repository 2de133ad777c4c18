//! Another message as changes of the one that came, for an MTA that has that one and keeps it (milter).

use std::sync::Arc;

use kenin_pki::crypto::Secret;
use kenin_policy::header;
use kenin_smtp_filter::{Edit, MailBytes, Outgoing};

use crate::opening::{Plain, Room};

/// The edits of `raw` that make of it `content` with its own edits: what its header does not hold any more goes, what is new in
/// it comes first, and the body is another. Nothing where the edits of the content are none.
pub(super) fn edits_of(
    raw: &[u8],
    content: &MailBytes,
    edits: &[Edit],
    room: Option<Arc<Room>>,
) -> Option<Vec<Edit>> {
    let outgoing = Outgoing::new(content.clone(), b"", edits)?;
    let pieces: Vec<&[u8]> = outgoing.pieces().collect();
    let whole = Secret::new(pieces.concat());
    let (old, new) = (header::scan(raw), header::scan(whole.expose()));
    let mut out = Vec::new();
    let mut added = Vec::new();
    // Fields that stay are in their old order.
    let mut left = old.fields.as_slice();
    for field in &new.fields {
        let text = whole.expose().get(field.whole.clone())?;
        let stays = |one: &header::Field| raw.get(one.whole.clone()) == Some(text);
        match left.iter().position(stays) {
            Some(at) => {
                let (gone, rest) = left.split_at(at);
                out.extend(gone.iter().map(|one| Edit::Remove(one.whole.clone())));
                left = rest.get(1..).unwrap_or_default();
            }
            None => added.extend_from_slice(text),
        }
    }
    out.extend(left.iter().map(|one| Edit::Remove(one.whole.clone())));
    out.push(Edit::Prepend(added));
    let body = whole.expose().get(new.body..)?.to_vec();
    let body = Plain::new(Secret::new(body), room);
    out.push(Edit::Body(old.body, body.into()));
    Some(out)
}

/// Whether every field of this message's header is one that an MTA takes whole from a milter.
pub(super) fn is_told_whole(message: &[u8]) -> bool {
    let header = header::scan(message);
    let mut fields = header.fields.iter();
    fields.all(|field| field.whole.len() <= LONGEST_FIELD)
}

/// Octets of a field: Postfix cuts at 60000 what a milter gives it, and says nothing.
const LONGEST_FIELD: usize = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_postfix_would_cut_is_not_told_whole() {
        let message = |size: usize| format!("A: b\r\nCc: {}\r\n\r\nbody\r\n", "x".repeat(size));
        let rest = "Cc: \r\n".len();
        assert!(is_told_whole(message(LONGEST_FIELD - rest).as_bytes()));
        assert!(!is_told_whole(message(LONGEST_FIELD - rest + 1).as_bytes()));
    }

    fn changed(raw: &str, content: &str, edits: &[Edit]) -> String {
        let content = MailBytes::from(content.as_bytes().to_vec());
        let edits = edits_of(raw.as_bytes(), &content, edits, None).unwrap();
        let raw = MailBytes::from(raw.as_bytes().to_vec());
        let outgoing = Outgoing::new(raw, b"", &edits).unwrap();
        String::from_utf8(outgoing.pieces().flatten().copied().collect()).unwrap()
    }

    #[test]
    fn the_message_that_came_becomes_the_other_one() {
        let raw = "Received: by a\r\nX-Kenin-Verdict: forged\r\nFrom: a@x\r\nSubject: [...]\r\nTo: b@x,\r\n c@x\r\n\
            Content-Type: application/pkcs7-mime\r\nX: y\r\n\r\nMIIB\r\n";
        let content = "Received: by a\r\nX-Kenin-Verdict: forged\r\nFrom: a@x\r\nTo: b@x,\r\n c@x\r\nX: y\r\n\
            Subject: Pay\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhello\r\n";
        let edits = [
            Edit::Remove(16..41),
            Edit::Prepend(b"Authentication-Results: gw\r\n".to_vec()),
        ];
        let wanted = "Authentication-Results: gw\r\nSubject: Pay\r\nMIME-Version: 1.0\r\n\
            Content-Type: text/plain\r\nReceived: by a\r\nFrom: a@x\r\nTo: b@x,\r\n c@x\r\nX: y\r\n\r\nhello\r\n";
        assert_eq!(changed(raw, content, &edits), wanted);
    }

    #[test]
    fn what_is_the_same_changes_nothing_but_its_body() {
        let raw = "A: 1\r\nA: 1\r\nB: 2\r\n\r\nx\r\n";
        assert_eq!(changed(raw, raw, &[]), raw);
        let fewer = "A: 1\r\nB: 2\r\n\r\ny\r\n";
        assert_eq!(changed(raw, fewer, &[]), fewer);
        let swapped = "B: 2\r\nA: 1\r\n\r\ny\r\n";
        assert_eq!(changed(raw, swapped, &[]), "A: 1\r\nB: 2\r\n\r\ny\r\n");
    }

    #[test]
    fn what_is_no_edit_gives_nothing() {
        let content = MailBytes::from(b"A: b\r\n\r\nx\r\n".to_vec());
        let wrong = [Edit::Prepend(b"half a line".to_vec())];
        assert_eq!(edits_of(b"A: b\r\n\r\nx\r\n", &content, &wrong, None), None);
    }
}
