//! Which messages a message answers, as digests of their ids, and who stands in its header for all to see.

use std::collections::HashSet;

use kenin_pki::crypto::DigestAlgorithm;
use kenin_smime::{Limits, attached};

use crate::header::{self, Header, unfold};
use crate::mail::mailbox;
use crate::mailbox::decoded;

/// Digests (SHA-256) of the ids that the message gives itself.
#[must_use]
pub fn message_ids(raw: &[u8]) -> Vec<[u8; 32]> {
    let header = header::scan(raw);
    digests(raw, &header, "message-id")
}

/// Digests (SHA-256) of the ids of the messages that this one answers, passes on (Resent- fields, RFC 5322 §3.6.6) or has
/// attached: those it names last, since they are the nearest.
///
/// References and In-Reply-To count each for itself. Programs take over the References of the mail that they answer, and
/// whoever had that on its way can have filled them.
#[must_use]
pub fn answered(raw: &[u8], limits: &Limits) -> Vec<[u8; 32]> {
    let header = header::scan(raw);
    let mut names = vec!["references", "in-reply-to", "x-forwarded-message-id"];
    let resent = |name: &str| name.starts_with("resent-");
    if header.fields.iter().any(|field| field.may_be(raw, resent)) {
        names.push("message-id");
    }
    let named = names
        .into_iter()
        .flat_map(|name| digests(raw, &header, name));
    let attached = attached(raw, limits).into_iter().flat_map(message_ids);
    let mut known = HashSet::new();
    let all = named.chain(attached);
    all.filter(|digest| known.insert(*digest))
        .take(MAX_NAMED)
        .collect()
}

/// The mailboxes that stand in To and Cc, and in their Resent- forms, in one spelling each. Whoever else gets the message
/// is not to be seen by these. An address that a display name, a comment or the name of a group shows is none of them:
/// whoever is missed here gets a copy alone, which hurts nobody. Only where there can be one body for all, behind a milter,
/// the mail is treated as one with a Bcc then.
#[must_use]
pub fn visible(raw: &[u8]) -> HashSet<String> {
    let header = header::scan(raw);
    let shown = |name: &str| SHOWN.contains(&name);
    let mut found = HashSet::new();
    for field in header.fields.iter().filter(|field| field.plain) {
        if field.may_be(raw, shown) {
            let text = String::from_utf8_lossy(&unfold(field.value(raw))).into_owned();
            found.extend(listed(&text).iter().map(|one| mailbox(one)));
        }
    }
    found
}

/// What stands in an address list (RFC 5322 §3.4) between angle brackets, or as a member without any.
fn listed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut piece, mut whole) = (String::new(), None);
    let (mut quoted, mut escaped, mut in_brackets) = (false, false, false);
    // Of comments, which nest.
    let mut depth = 0_usize;
    for c in text.chars().chain([',']) {
        match c {
            _ if escaped => {
                escaped = false;
                if depth == 0 {
                    piece.push(c);
                }
            }
            '\\' if depth > 0 => escaped = true,
            '\\' if quoted => {
                escaped = true;
                piece.push(c);
            }
            '(' if !quoted => depth = depth.saturating_add(1),
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '"' => {
                quoted = !quoted;
                piece.push(c);
            }
            '<' if !quoted => {
                found.extend(whole.take());
                piece.clear();
                in_brackets = true;
            }
            '>' if !quoted => {
                // Behind a route (RFC 5322 §4.4).
                let route = piece.trim_start().starts_with('@');
                let address = piece.rsplit_once(':').filter(|_| route);
                let address = address.map_or(piece.as_str(), |(_, address)| address);
                whole = Some(address.trim().to_owned());
                piece.clear();
                in_brackets = false;
            }
            ',' | ';' | ':' if !quoted && !in_brackets => {
                match whole.take() {
                    Some(address) => found.push(address),
                    // The name of a group.
                    None if c == ':' => {}
                    None if piece.contains('"') => found.push(piece.trim().to_owned()),
                    // People leave out commas.
                    None => found.extend(piece.split_whitespace().map(str::to_owned)),
                }
                piece.clear();
            }
            _ => piece.push(c),
        }
    }
    found.retain(|one| one.contains('@'));
    found
}

fn digests(raw: &[u8], header: &Header, name: &str) -> Vec<[u8; 32]> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for field in &header.fields {
        if field.may_be(raw, |own| own == name) {
            let value = field.value(raw);
            collect(value, &mut ids);
            // Nothing says that an id may be encoded words (RFC 2047); Python's library writes long ones so.
            if memchr::memmem::find(value, b"=?").is_some()
                && let Some(text) = decoded(&String::from_utf8_lossy(&unfold(value)))
            {
                collect(text.as_bytes(), &mut ids);
            }
        }
    }
    // The first began the thread, the last are what is answered.
    let skipped = ids.len().saturating_sub(MAX_IDS);
    ids.drain(..skipped);
    let mut out: Vec<[u8; 32]> = Vec::new();
    for id in ids {
        let digest = DigestAlgorithm::Sha256.digest(&id);
        if let Ok(digest) = <[u8; 32]>::try_from(digest.as_ref())
            && !out.contains(&digest)
        {
            out.push(digest);
        }
    }
    out
}

/// What stands between angle brackets, without white space (RFC 5322 §3.6.4). Some programs write an id without them: where
/// a field has none, each word with an `@` is one. A bracket that nobody closed hides no id behind it.
fn collect(value: &[u8], ids: &mut Vec<Vec<u8>>) {
    if memchr::memchr(b'<', value).is_none() {
        let words = value.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
        let named = words.filter(|word| memchr::memchr(b'@', word).is_some());
        ids.extend(named.map(<[u8]>::to_vec));
        return;
    }
    let mut rest = value;
    while let Some(start) = memchr::memchr(b'<', rest) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'>', rest) else {
            return;
        };
        let id: Vec<u8> = rest
            .get(..end)
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        rest = rest.get(end + 1..).unwrap_or_default();
        let behind = memchr::memrchr(b'<', &id).and_then(|at| id.get(at + 1..));
        let behind = behind.map(<[u8]>::to_vec);
        ids.extend(
            [Some(id), behind]
                .into_iter()
                .flatten()
                .filter(|id| !id.is_empty()),
        );
    }
}

/// Fields in which everybody sees who gets the message.
const SHOWN: [&str; 4] = ["to", "cc", "resent-to", "resent-cc"];
/// No thread names more that matter.
const MAX_IDS: usize = 64;
/// Of one message, whatever it names.
const MAX_NAMED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(raw: &[u8]) -> Vec<[u8; 32]> {
        answered(raw, &Limits::default())
    }

    fn id(text: &str) -> [u8; 32] {
        let digest = DigestAlgorithm::Sha256.digest(text.as_bytes());
        digest.as_ref().try_into().unwrap()
    }

    #[test]
    fn an_answer_names_what_it_answers() {
        let raw = b"Message-ID: <me@own.example>\r\nReferences: <first@x.example>\r\n\
            \t<second@x.example> <sec\r\n ond@y.example>\r\nIn-Reply-To: <second@x.example> (by phone)\r\n\
            Subject: <no@id.example>\r\n\r\nIn-Reply-To: <body@x.example>\r\n";
        assert_eq!(message_ids(raw), [id("me@own.example")]);
        let expected = [
            id("first@x.example"),
            id("second@x.example"),
            id("second@y.example"),
        ];
        assert_eq!(named(raw), expected);
        assert!(named(b"Subject: x\r\n\r\n").is_empty());
        for odd in [
            "<",
            "<>",
            "< >",
            "no brackets",
            "a> <b",
            "",
            "<a@b",
            "a@b <",
        ] {
            let raw = format!("References: {odd}\r\n\r\n");
            assert!(named(raw.as_bytes()).is_empty(), "{odd}");
        }
    }

    /// DEC-14: what a program leaves out is no way around.
    #[test]
    fn an_id_without_brackets_is_one() {
        for value in [
            "e2@ext.example",
            " e2@ext.example ",
            "\r\n\te2@ext.example",
            "Your message of Friday,e2@ext.example",
        ] {
            let raw = format!("In-Reply-To: {value}\r\n\r\n");
            assert_eq!(named(raw.as_bytes()), [id("e2@ext.example")], "{value}");
        }
        let several = b"References: e1@ext.example, e2@ext.example\r\n\te3@ext.example\r\n\r\n";
        let expected = ["e1", "e2", "e3"].map(|name| id(&format!("{name}@ext.example")));
        assert_eq!(named(several), expected);
        // Remembered so, whichever way the answer names it.
        let bare = b"Message-ID: e2@ext.example\r\n\r\n";
        assert_eq!(message_ids(bare), [id("e2@ext.example")]);
        let both = b"References: <e1@ext.example>\r\nIn-Reply-To: e2@ext.example\r\n\r\n";
        assert_eq!(named(both), [id("e1@ext.example"), id("e2@ext.example")]);
        let beside = b"In-Reply-To: alex@ext.example <e2@ext.example>\r\n\r\n";
        assert_eq!(named(beside), [id("e2@ext.example")]);
    }

    /// DEC-14: a spelling of the field that only some programs read is no way around.
    #[test]
    fn the_nearest_messages_are_kept_and_odd_spellings_are_read() {
        let many: String = (0..500).map(|n| format!(" <{n}@x.example>\r\n")).collect();
        let raw = format!("in-reply-to : <last@x.example>\r\nREFERENCES:{many}\r\n");
        let found = named(raw.as_bytes());
        assert_eq!(found.len(), MAX_IDS + 1);
        assert_eq!(found[MAX_IDS - 1], id("499@x.example"));
        assert_eq!(found[MAX_IDS], id("last@x.example"));
        let odd = named(b"In-Reply-To : <last@x.example>\r\n\r\n");
        assert_eq!(odd, [id("last@x.example")]);
    }

    /// DEC-14: so EmailMessage of Python 3.11 names a message of Exchange Online.
    #[test]
    fn an_id_in_encoded_words_is_one() {
        let long = id(
            "TYCPR01MB12345A1B2C3D4E5F60718293A4B5C6D7E8F9@TYCPR01MB12345.jpnprd01.prod.outlook.com",
        );
        let raw =
            b"In-Reply-To: =?utf-8?q?=3CTYCPR01MB12345A1B2C3D4E5F60718293A4B5C6D7E8F9=40TY?=\r\n \
            =?utf-8?q?CPR01MB12345=2Ejpnprd01=2Eprod=2Eoutlook=2Ecom=3E?=\r\n\r\n";
        assert_eq!(named(raw), [long]);
        let raw =
            b"References: <a@b> =?utf-8?q?=3CTYCPR01MB12345A1B2C3D4E5F60718293A4B5C6D7E8F9?=\r\n \
            =?utf-8?q?=40TYCPR01MB12345=2Ejpnprd01=2Eprod=2Eoutlook=2Ecom=3E?=\r\n\r\n";
        assert_eq!(named(raw), [id("a@b"), long]);
    }

    /// DEC-14: programs take over the References of the mail that they answer, whoever wrote them.
    #[test]
    fn a_bracket_that_is_not_closed_hides_no_id() {
        let many: String = (0..100).map(|n| format!(" <{n}@x.example>\r\n")).collect();
        for references in [
            "<open <last@x.example>",
            "<a@x.example> <<open\r\n <last@x.example>",
            "<last@x.example> <open",
        ] {
            let raw = format!("References: {references}\r\n\r\n");
            let found = named(raw.as_bytes());
            assert!(found.contains(&id("last@x.example")), "{references}");
            let full = format!("In-Reply-To: <last@x.example>\r\nReferences:{many} <open\r\n\r\n");
            assert!(named(full.as_bytes()).contains(&id("last@x.example")));
        }
        // By whichever the answer names it.
        let expected = [id("a<b@x.example"), id("b@x.example")];
        assert_eq!(
            message_ids(b"Message-ID: <a<b@x.example>\r\n\r\n"),
            expected
        );
    }

    /// DEC-14: a mail that goes out whole, under its own name or within another, says as much as one that quotes it.
    #[test]
    fn what_is_passed_on_or_attached_is_named_as_what_is_answered() {
        let whole = "Message-ID: <a@x.example>\r\nFrom: c@x.example\r\n\r\nquoted\r\n";
        assert!(named(whole.as_bytes()).is_empty());
        for field in ["Resent-To", "resent-date"] {
            let raw = format!("{field}: b@y.example\r\n{whole}");
            assert_eq!(named(raw.as_bytes()), [id("a@x.example")], "{field}");
        }
        let raw = b"X-Forwarded-Message-Id: <a@x.example>\r\n\r\n";
        assert_eq!(named(raw), [id("a@x.example")]);
        let part = |text: &str| format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{text}\r\n");
        let (first, second) = (part(whole), part(&whole.replace("a@x", "b@x")));
        let raw = format!(
            "Message-ID: <own@y.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee below\r\n\
             {first}{second}--b--\r\n"
        );
        let expected = [id("a@x.example"), id("b@x.example")];
        assert_eq!(named(raw.as_bytes()), expected);
        let alone = format!("Content-Type: message/rfc822\r\n\r\n{whole}");
        assert_eq!(named(alone.as_bytes()), expected[..1]);
        let many = first.repeat(500).replace("a@x", "c@x") + &second;
        let raw = format!("Content-Type: multipart/digest; boundary=b\r\n\r\n{many}--b--\r\n");
        assert!(named(raw.as_bytes()).contains(&id("c@x.example")));
    }

    #[test]
    fn who_stands_in_the_header_is_seen_and_nobody_else() {
        let raw = b"From: alice@own.example\r\nTo: Bob <Bob@Partner.example>, carol@partner.example\r\n\
            Cc: =?utf-8?Q?dave?= <dave@partner.example>\r\nBcc: eve@partner.example\r\n\
            Reply-To: frank@own.example\r\nResent-To: gina@partner.example\r\n\r\nTo: hans@partner.example\r\n";
        let mut found: Vec<String> = visible(raw).into_iter().collect();
        found.sort();
        let expected =
            ["bob", "carol", "dave", "gina"].map(|name| format!("{name}@partner.example"));
        assert_eq!(found, expected);
        assert!(visible(b"\r\n").is_empty());
    }

    /// Whoever got the mail unseen stood in the shared copy, where To showed the address and meant another.
    #[test]
    fn an_address_that_is_only_shown_is_no_recipient() {
        for to in [
            "\"carol@partner.example\" <bob@partner.example>",
            "carol@partner.example <bob@partner.example>",
            "bob@partner.example (carol@partner.example)",
            "<bob@partner.example> (see (also) carol@partner.example)",
            "=?utf-8?q?carol=40partner.example?= <bob@partner.example>",
            "carol@partner.example: bob@partner.example;",
            "\"x\\\", carol@partner.example, \" <bob@partner.example>",
            "bob@partner.example, \"open, carol@partner.example",
            "bob@partner.example, (open, carol@partner.example",
            "bob@partner.example, <carol@partner.example",
        ] {
            let raw = format!("To: {to}\r\n\r\n");
            let found: Vec<String> = visible(raw.as_bytes()).into_iter().collect();
            assert_eq!(found, ["bob@partner.example"], "{to}");
        }
    }

    /// RFC 5322 §3.4, 4.4: groups, folded lines, quoted local parts, comments between, routes.
    #[test]
    fn whoever_stands_in_a_list_is_seen() {
        let raw = b"To: Friends: Bob <bob@partner.example>,\r\n carol@partner.example;, \"Doe, J.\"\r\n\
            \t<dave@partner.example>, (x) \"john doe\"@partner.example, \"eve\"@partner.example,\r\n\
            \tFrank <@a.example,@b.example:frank@partner.example>\r\n\r\n";
        let mut found: Vec<String> = visible(raw).into_iter().collect();
        found.sort();
        let expected = ["bob", "carol", "dave", "eve", "frank", "john doe"];
        assert_eq!(
            found,
            expected.map(|name| format!("{name}@partner.example"))
        );
    }

    #[test]
    fn a_list_without_its_commas_is_one() {
        for to in [
            "bob@partner.example carol@partner.example",
            "bob@partner.example;carol@partner.example",
            "<bob@partner.example> < carol@partner.example >",
            "Doe, Bob <bob@partner.example> Carol <carol@partner.example>",
        ] {
            let raw = format!("To: {to}\r\n\r\n");
            let mut found: Vec<String> = visible(raw.as_bytes()).into_iter().collect();
            found.sort();
            assert_eq!(
                found,
                ["bob@partner.example", "carol@partner.example"],
                "{to}"
            );
        }
    }
}
