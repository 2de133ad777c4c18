//! Mail as it comes along in a day: signed and not, tampered with, Japanese, attachments, lists,
//! forgeries, encrypted; each with the word that its stamp has to say.

use crate::client::Envelope;
use crate::forge::{Town, cms, mime};

/// One mail.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Mixed {
    pub kind: &'static str,
    /// The result in its stamp; none where the root stays encrypted, which gets no stamp.
    pub result: Option<&'static str>,
    pub id: String,
    pub envelope: Envelope,
    pub raw: Vec<u8>,
}

/// The header fields that a sender signs by DKIM. Not the Message-ID: by that the mails of one sample
/// differ.
pub const DKIM_FIELDS: [&str; 8] = [
    "From",
    "To",
    "Subject",
    "Date",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
];

/// One of each kind in a few sizes, under the Message-ID that [`mix`] replaces: kind, result, bytes.
pub fn samples() -> Vec<(&'static str, Option<&'static str>, Vec<u8>)> {
    let mut all = Vec::new();
    for size in [1, 7, 40] {
        all.extend(of_size(size));
    }
    all
}

/// So many mails of these samples, one kind after the other, each with its own Message-ID.
pub fn mix(samples: &[(&'static str, Option<&'static str>, Vec<u8>)], count: usize) -> Vec<Mixed> {
    let one = |number: usize| {
        let (kind, result, raw) = &samples[number % samples.len()];
        let id = format!("<{number}@mixture.example>");
        let at = raw.windows(ID.len()).position(|w| w == ID).unwrap();
        let raw = [&raw[..at], id.as_bytes(), &raw[at + ID.len()..]].concat();
        // Not in step with the kinds.
        let circle = CIRCLES[(number / samples.len()) % CIRCLES.len()];
        Mixed {
            kind,
            result: *result,
            id,
            envelope: Envelope {
                to: circle.iter().map(|to| (*to).to_owned()).collect(),
                ..Envelope::new("bob@example.jp", circle[0]).with("BODY=8BITMIME")
            },
            raw,
        }
    };
    (0..count).map(one).collect()
}

fn of_size(size: usize) -> Vec<(&'static str, Option<&'static str>, Vec<u8>)> {
    let town = Town::get();
    let text = "Some words in a line.\r\n".repeat(size);
    let signed = |head: &[u8], part: &[u8]| {
        let cms = cms::detached(&town.bob, &town.chain(), part);
        mime::clear_signed(head, part, &cms)
    };
    let from = "bob@example.jp";
    let head = mime::headers(from);
    let japanese = subject("=?ISO-2022-JP?B?GyRCJDMkcyRLJEEkTxsoQg==?=");
    // "Hello", as it is written in many a Japanese mail: seven bits, with escape sequences.
    let shifted = b"\x1b$B$3$s$K$A$O\x1b(B\r\n".repeat(size);
    let iso = [
        b"Content-Type: text/plain; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
        shifted.as_slice(),
    ]
    .concat();
    let utf8 = format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}",
        "こんにちは、検印です。\r\n".repeat(size)
    );
    let dots = format!(".\r\n..\r\n.leading\r\n{text}.");
    let attached = mime::mixed(
        b"",
        "mixed",
        &[&mime::text(&text), &attachment(size * 1000)],
    );
    let footer = mime::text("Sent to the list by its software");
    let entity = signed(b"", &mime::text(&text));
    let wrapped = mime::mixed(&listed(&head), "mixed", &[&entity, &footer]);
    let honest = signed(&head, &mime::text(&text));
    let tampered = replaced(&honest, "Some words", "Same words");
    let forged = |rest: &[u8]| [FORGED, rest].concat();
    let plain = |body: &str| mime::plain(&head, body);
    vec![
        ("clear-signed", Some("pass"), honest.clone()),
        ("opaque", Some("pass"), town.opaque(&town.bob, from, &text)),
        ("not signed", Some("none"), plain(&text)),
        ("tampered with", Some("fail"), tampered.clone()),
        (
            "somebody else's signature",
            Some("policy"),
            town.clear_signed(&town.alice, from, &text),
        ),
        (
            "Japanese, not signed",
            Some("none"),
            [&japanese[..], &iso].concat(),
        ),
        ("Japanese, signed", Some("pass"), signed(&japanese, &iso)),
        (
            "8bit, not signed",
            Some("none"),
            [&head[..], utf8.as_bytes()].concat(),
        ),
        (
            "8bit, signed",
            Some("pass"),
            signed(&subject("=?utf-8?Q?=E6=A4=9C=E5=8D=B0?="), utf8.as_bytes()),
        ),
        ("long lines", Some("none"), plain(&"x".repeat(998))),
        (
            "long lines, signed",
            Some("pass"),
            signed(&head, &mime::text(&format!("{text}{}", "x".repeat(998)))),
        ),
        ("dots", Some("none"), plain(&dots)),
        (
            "dots, signed",
            Some("pass"),
            signed(&head, &mime::text(&dots)),
        ),
        ("empty body", Some("none"), [&head[..], b"\r\n"].concat()),
        ("attachment", Some("none"), [&head[..], &attached].concat()),
        ("attachment, signed", Some("pass"), signed(&head, &attached)),
        ("forged stamps", Some("none"), forged(&plain(&text))),
        (
            "forged stamps on a signature",
            Some("pass"),
            forged(&honest),
        ),
        (
            "forged stamps, tampered with",
            Some("fail"),
            forged(&tampered),
        ),
        (
            "by a list",
            Some("pass"),
            signed(&listed(&head), &mime::text(&text)),
        ),
        ("wrapped by a list", Some("none"), wrapped),
        (
            "encrypted",
            None,
            mime::opaque(&head, "enveloped-data", &cms::enveloped()),
        ),
    ]
}

fn subject(value: &str) -> Vec<u8> {
    let field = format!("Subject: {value}\r\n");
    replaced(
        &mime::headers("bob@example.jp"),
        "Subject: Forged\r\n",
        &field,
    )
}

fn listed(head: &[u8]) -> Vec<u8> {
    let fields =
        b"List-Id: Talk <talk.example.jp>\r\nList-Unsubscribe: <mailto:leave@example.jp>\r\n";
    [head, fields].concat()
}

fn attachment(size: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
    let mut out = b"Content-Type: application/octet-stream; name=\"a.bin\"\r\n\
        Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a.bin\"\r\n\r\n"
        .to_vec();
    out.extend(mime::base64(&bytes));
    out
}

fn replaced(raw: &[u8], old: &str, new: &str) -> Vec<u8> {
    let at = raw.windows(old.len()).position(|w| w == old.as_bytes());
    let at = at.expect("the text is there");
    [&raw[..at], new.as_bytes(), &raw[at + old.len()..]].concat()
}

/// Kenin's own fields, as others write them.
const FORGED: &[u8] = b"Authentication-Results: smime.gw.example.jp; smime=pass\r\n\
    X-Kenin-Verdict: eyJhbGciOiJFZERTQSJ9.e30.AAAA\r\n\
    authentication-results: SMIME.gw.example.jp (x) ; smime = pass\r\n";
/// As [`mime::headers`] writes it.
const ID: &[u8] = b"<forged@example.jp>";
const CIRCLES: [&[&str]; 3] = [
    &["reader@example.jp"],
    &["reader@example.jp", "other@example.jp"],
    &[
        "one@first.example",
        "two@second.example",
        "reader@example.jp",
    ],
];
