//! SIG-15 to SIG-17: who the message says it is from, and who signed it.

use super::super::Expect::{Is, NotPass, OneOf};
use super::super::Shape;
use super::super::certificates::Person;
use super::super::cms::detached;
use super::super::mime::{clear_signed, headers_with_from, text};
use super::super::town::Town;

const MALLORY: &str = "mallory@evil.example";

/// A mail by somebody with raw From fields.
fn from_fields(town: &Town, person: &Person, fields: &[u8]) -> Vec<u8> {
    let part = text("Who am I?");
    clear_signed(
        &headers_with_from(fields),
        &part,
        &detached(person, &town.chain(), &part),
    )
}

/// SIG-15: From is not the signer.
pub fn sig15(town: &Town) -> Vec<Shape> {
    let mismatch = Is("policy", "from-mismatch");
    [
        ("another person", "From: alice@example.jp\r\n"),
        (
            "with the victim's name",
            "From: Alice <alice@example.jp>\r\n",
        ),
        ("look-alike domain", "From: mallory@evi1.example\r\n"),
        ("subdomain", "From: mallory@mail.evil.example\r\n"),
        ("parent domain", "From: mallory@example\r\n"),
        ("plus tag", "From: mallory+x@evil.example\r\n"),
        ("dot in the local part", "From: mal.lory@evil.example\r\n"),
        ("address prefix", "From: xmallory@evil.example\r\n"),
        ("address suffix", "From: mallory@evil.example.jp\r\n"),
        (
            "Sender is the signer",
            "From: alice@example.jp\r\nSender: mallory@evil.example\r\n",
        ),
        (
            "Reply-To is the signer",
            "From: alice@example.jp\r\nReply-To: mallory@evil.example\r\n",
        ),
        (
            "Resent-From is the signer",
            "Resent-From: mallory@evil.example\r\nFrom: alice@example.jp\r\n",
        ),
        (
            "X-From is the signer",
            "X-From: mallory@evil.example\r\nFrom: alice@example.jp\r\n",
        ),
    ]
    .into_iter()
    .map(|(name, fields)| {
        let raw = from_fields(town, &town.mallory, fields.as_bytes());
        Shape::new("SIG-15", name, raw, mismatch).shows(MALLORY)
    })
    .chain([
        Shape::new(
            "SIG-15",
            "good: Sender is another",
            from_fields(
                town,
                &town.mallory,
                b"From: mallory@evil.example\r\nSender: alice@example.jp\r\n",
            ),
            Is("pass", "ok"),
        ),
        Shape::new(
            "SIG-15",
            "good: resent by another",
            from_fields(
                town,
                &town.mallory,
                b"Resent-From: alice@example.jp\r\nFrom: mallory@evil.example\r\n",
            ),
            Is("pass", "ok"),
        ),
        Shape::new(
            "SIG-15",
            "good: a decent display name",
            from_fields(
                town,
                &town.mallory,
                "From: \"Mallory, M.\" <mallory@evil.example>\r\n".as_bytes(),
            ),
            Is("pass", "ok"),
        ),
        Shape::new(
            "SIG-15",
            "good: a Japanese display name",
            from_fields(
                town,
                &town.mallory,
                b"From: =?utf-8?B?5bGx55Sw5aSq6YOO?= <mallory@evil.example>\r\n",
            ),
            Is("pass", "ok"),
        ),
        Shape::new(
            "SIG-15",
            "good: domain in other case",
            from_fields(town, &town.mallory, b"From: mallory@EVIL.Example\r\n"),
            Is("pass", "ok"),
        ),
        Shape::new(
            "SIG-15",
            "good: folded",
            from_fields(
                town,
                &town.mallory,
                b"From: Mallory\r\n <mallory@evil.example>\r\n",
            ),
            Is("pass", "ok"),
        ),
    ])
    .collect()
}

/// SIG-16: shapes of From that people and programs read differently. All are signed by mallory.
pub fn sig16(town: &Town) -> Vec<Shape> {
    let unsure = OneOf(&[("policy", "from-ambiguous"), ("policy", "from-mismatch")]);
    // What some readers take for another end of the header is worse than an ambiguous From.
    let torn = OneOf(&[
        ("permerror", "ambiguous-mime"),
        ("policy", "from-ambiguous"),
    ]);
    let spaces = format!(
        "From: alice@example.jp{}<mallory@evil.example>\r\n",
        " ".repeat(900)
    );
    let folded_spaces = format!(
        "From: alice@example.jp\r\n{}<mallory@evil.example>\r\n",
        " ".repeat(1100)
    );
    let shapes: Vec<(&str, Vec<u8>)> = [
        (
            "address as name",
            "From: alice@example.jp <mallory@evil.example>\r\n",
        ),
        (
            "quoted address as name",
            "From: \"alice@example.jp\" <mallory@evil.example>\r\n",
        ),
        (
            "name with address",
            "From: \"Alice alice@example.jp\" <mallory@evil.example>\r\n",
        ),
        (
            "name with address in angles",
            "From: \"Alice <alice@example.jp>\" <mallory@evil.example>\r\n",
        ),
        (
            "escaped quotes",
            "From: \"Alice \\<alice@example.jp\\>\" <mallory@evil.example>\r\n",
        ),
        (
            "encoded word with address",
            "From: =?utf-8?Q?alice=40example=2Ejp?= <mallory@evil.example>\r\n",
        ),
        (
            "base64 word with address",
            "From: =?utf-8?B?YWxpY2VAZXhhbXBsZS5qcA==?= <mallory@evil.example>\r\n",
        ),
        (
            "address split over two words",
            "From: =?utf-8?Q?alice=40exa?= =?utf-8?Q?mple=2Ejp?= <mallory@evil.example>\r\n",
        ),
        (
            "address in ISO-2022-JP word",
            "From: =?iso-2022-jp?B?YWxpY2VAZXhhbXBsZS5qcA==?= <mallory@evil.example>\r\n",
        ),
        (
            "address in a comment",
            "From: mallory@evil.example (alice@example.jp)\r\n",
        ),
        (
            "address in a comment before",
            "From: (alice@example.jp) mallory@evil.example\r\n",
        ),
        (
            "address in a comment inside",
            "From: Mallory (alice@example.jp) <mallory@evil.example>\r\n",
        ),
        (
            "nested comment",
            "From: mallory@evil.example (x (alice@example.jp) y)\r\n",
        ),
        (
            "full-width at sign",
            "From: \"alice＠example.jp\" <mallory@evil.example>\r\n",
        ),
        (
            "full-width at sign, encoded",
            "From: =?utf-8?B?YWxpY2XvvKBleGFtcGxlLmpw?= <mallory@evil.example>\r\n",
        ),
        ("empty", "From: \r\n"),
        ("empty and folded", "From:\r\n \r\n"),
        ("name only", "From: Mallory\r\n"),
        ("empty angles", "From: Mallory <>\r\n"),
        ("no domain", "From: mallory\r\n"),
        ("no local part", "From: @evil.example\r\n"),
        ("two at signs", "From: alice@example.jp@evil.example\r\n"),
        ("group", "From: alice@example.jp:mallory@evil.example;\r\n"),
        ("group of nobody", "From: undisclosed:;\r\n"),
        (
            "group with a name",
            "From: Friends: Mallory <mallory@evil.example>;\r\n",
        ),
        (
            "route address",
            "From: <@example.jp:mallory@evil.example>\r\n",
        ),
        (
            "route address with two hosts",
            "From: <@example.jp,@b.example:mallory@evil.example>\r\n",
        ),
        (
            "comment in the local part",
            "From: mallory(alice)@evil.example\r\n",
        ),
        (
            "quoted local part of another",
            "From: \"alice@example.jp\"@evil.example\r\n",
        ),
        (
            "quoted local part with a space",
            "From: \"mal lory\"@evil.example\r\n",
        ),
        (
            "encoded word as address",
            "From: =?utf-8?Q?mallory=40evil=2Eexample?=\r\n",
        ),
        (
            "encoded word in the address",
            "From: <=?utf-8?Q?mallory?=@evil.example>\r\n",
        ),
        (
            "two angles",
            "From: <alice@example.jp> <mallory@evil.example>\r\n",
        ),
        (
            "two angles, other order",
            "From: <mallory@evil.example> <alice@example.jp>\r\n",
        ),
        ("angles in angles", "From: <<mallory@evil.example>>\r\n"),
        ("unclosed angle", "From: Mallory <mallory@evil.example\r\n"),
        (
            "unclosed quotes",
            "From: \"Mallory <mallory@evil.example>\r\n",
        ),
        (
            "text behind the angle",
            "From: <mallory@evil.example> alice@example.jp\r\n",
        ),
        (
            "unescaped comma",
            "From: Alice, CEO <mallory@evil.example>\r\n",
        ),
        ("trailing comma", "From: mallory@evil.example,\r\n"),
        ("semicolon", "From: mallory@evil.example;\r\n"),
        ("trailing dot", "From: mallory@evil.example.\r\n"),
        ("two dots", "From: mallory@evil..example\r\n"),
        ("leading dot", "From: .mallory@evil.example\r\n"),
        (
            "bidirectional control in the name",
            "From: \"Alice \u{202e}moc.elpmaxe@ecila\" <mallory@evil.example>\r\n",
        ),
        (
            "zero-width in an address as name",
            "From: \"alice\u{200b}@example.jp\" <mallory@evil.example>\r\n",
        ),
        ("domain literal", "From: mallory@[192.0.2.1]\r\n"),
        ("percent hack", "From: alice%example.jp@evil.example\r\n"),
        ("bang path", "From: example.jp!alice@evil.example\r\n"),
    ]
    .into_iter()
    .map(|(name, field)| (name, field.as_bytes().to_vec()))
    .chain([
        ("900 spaces", spaces.into_bytes()),
        ("1100 spaces after a fold", folded_spaces.into_bytes()),
        (
            "NUL before the address",
            b"From: alice@example.jp\0<mallory@evil.example>\r\n".to_vec(),
        ),
        (
            "NUL in the address",
            b"From: alice@example.jp\0.evil.example\r\n".to_vec(),
        ),
        (
            "NUL behind the address",
            b"From: <mallory@evil.example\0>\r\n".to_vec(),
        ),
        (
            "8-bit in the address",
            b"From: m\xe1llory@evil.example\r\n".to_vec(),
        ),
        (
            "bare CR in the field",
            b"From: alice@example.jp\r<mallory@evil.example>\r\n".to_vec(),
        ),
    ])
    .collect();
    shapes
        .into_iter()
        .map(|(name, field)| {
            let expect = match name {
                "empty and folded" | "bare CR in the field" => torn,
                _ => unsure,
            };
            Shape::new(
                "SIG-16",
                name,
                from_fields(town, &town.mallory, &field),
                expect,
            )
        })
        .collect()
}

/// SIG-17: not exactly one From field with one mailbox.
pub fn sig17(town: &Town) -> Vec<Shape> {
    let good = "From: mallory@evil.example\r\n";
    let victim = "From: alice@example.jp\r\n";
    let shapes: Vec<(&str, Vec<u8>)> = vec![
        ("none", Vec::new()),
        ("two, signer first", format!("{good}{victim}").into()),
        ("two, victim first", format!("{victim}{good}").into()),
        ("two, equal", format!("{good}{good}").into()),
        ("three", format!("{good}{victim}{good}").into()),
        (
            "two with a field between",
            format!("{good}X-Y: z\r\n{victim}").into(),
        ),
        (
            "list of two",
            "From: mallory@evil.example, alice@example.jp\r\n".into(),
        ),
        (
            "list, victim first",
            "From: alice@example.jp, mallory@evil.example\r\n".into(),
        ),
        (
            "list of the same",
            "From: mallory@evil.example, mallory@evil.example\r\n".into(),
        ),
        (
            "folded list",
            "From: alice@example.jp,\r\n mallory@evil.example\r\n".into(),
        ),
        (
            "list with an empty element",
            "From: ,mallory@evil.example\r\n".into(),
        ),
        (
            "space before the colon",
            "From : mallory@evil.example\r\n".into(),
        ),
        (
            "tab before the colon",
            "From\t: mallory@evil.example\r\n".into(),
        ),
        (
            "space and a plain one",
            format!("From : alice@example.jp\r\n{good}").into(),
        ),
        (
            "plain one and a space",
            format!("{good}From : alice@example.jp\r\n").into(),
        ),
        (
            "upper case beside",
            format!("{good}FROM: alice@example.jp\r\n").into(),
        ),
        (
            "lower case beside",
            format!("from: alice@example.jp\r\n{good}").into(),
        ),
        ("folded name", "Fr\r\n om: mallory@evil.example\r\n".into()),
        (
            "name folded before the colon",
            "From\r\n : mallory@evil.example\r\n".into(),
        ),
        (
            "folded before the colon beside a plain one",
            format!("From\r\n : alice@example.jp\r\n{good}").into(),
        ),
        (
            "leading space",
            format!(" From: alice@example.jp\r\n{good}").into(),
        ),
        (
            "first line is folded",
            format!(" \r\n{victim}{good}").into(),
        ),
        (
            "zero-width in the name",
            "Fr\u{200b}om: mallory@evil.example\r\n".into(),
        ),
        ("full-width name", "Ｆrom: mallory@evil.example\r\n".into()),
        ("Cyrillic o", "Frоm: mallory@evil.example\r\n".into()),
        (
            "8-bit look-alike beside another's",
            b"Fr\xf6m: mallory@evil.example\r\nFrom: alice@example.jp\r\n".to_vec(),
        ),
        (
            "NUL in the name",
            b"From\0: mallory@evil.example\r\n".to_vec(),
        ),
        (
            "NUL in a second name",
            [good.as_bytes(), b"From\0: alice@example.jp\r\n"].concat(),
        ),
        (
            "bare CR makes a second",
            b"X-Y: z\rFrom: alice@example.jp\r\nFrom: mallory@evil.example\r\n".to_vec(),
        ),
        (
            "no colon",
            format!("From mallory@evil.example\r\n{victim}").into(),
        ),
        ("only Sender", "Sender: mallory@evil.example\r\n".into()),
        (
            "only Resent-From",
            "Resent-From: mallory@evil.example\r\n".into(),
        ),
        ("only X-From", "X-From: mallory@evil.example\r\n".into()),
        (
            "mbox line and another From",
            format!("From mallory@evil.example Thu Jan  1 00:00:00 1970\r\n{victim}").into(),
        ),
        ("in the body only", b"X-Y: z\r\n".to_vec()),
    ];
    shapes
        .into_iter()
        .map(|(name, fields)| {
            Shape::new(
                "SIG-17",
                name,
                from_fields(town, &town.mallory, &fields),
                NotPass,
            )
        })
        .collect()
}
