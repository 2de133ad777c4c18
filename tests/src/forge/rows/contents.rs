//! SIG-01, 05, 06, 21, 22: what is signed, and whether anything is.

use super::super::Expect::{Is, NotPass, OneOf};
use super::super::Shape;
use super::super::cms::{Content, SignedForm, SignerForm, detached, honest, opaque};
use super::super::der::{cat, explicit, int, oid, seq, set_of, tlv};
use super::super::keys::Hash;
use super::super::mime::{self, clear_signed, headers};
use super::super::town::Town;

const ALICE: &str = "alice@example.jp";

/// SIG-01: a detached signature that also has its own content.
pub fn sig01(town: &Town) -> Vec<Shape> {
    let old = mime::text("Old signed words");
    let new = mime::text("Pay the attacker");
    let two = Is("permerror", "two-contents");
    let honest_old = || honest(&town.alice, &town.chain(), &old);
    let shape = |name: &str, part: &[u8], form: SignedForm| {
        let raw = clear_signed(&headers(ALICE), part, &form.encode());
        Shape::new("SIG-01", name, raw, two)
    };
    vec![
        shape(
            "old content inside, attacker's part outside",
            &new,
            honest_old().attached(&old),
        ),
        shape("the same content twice", &old, honest_old().attached(&old)),
        shape(
            "attacker's content inside, signed part outside",
            &old,
            honest_old().attached(&new),
        ),
        shape("empty content inside", &old, honest_old().attached(b"")),
        shape(
            "content inside in chunks",
            &new,
            SignedForm {
                content: Content::Chunked(old.clone(), 7),
                ..honest_old()
            },
        ),
        shape(
            "no chunk at all inside",
            &new,
            SignedForm {
                content: Content::Chunked(Vec::new(), 7),
                ..honest_old()
            },
        ),
        shape(
            "content inside, indefinite lengths outside",
            &new,
            SignedForm {
                ber: true,
                ..honest_old().attached(&old)
            },
        ),
        shape(
            "elliptic signer",
            &new,
            honest(&town.bob, &town.chain(), &old).attached(&old),
        ),
    ]
}

/// SIG-05: nobody signed.
pub fn sig05(town: &Town) -> Vec<Shape> {
    let part = mime::text("Nobody signed this");
    let none = Is("permerror", "no-signers");
    let with = |certificates: bool| SignedForm {
        certificates: if certificates {
            vec![
                town.alice.certificate.clone(),
                town.issuer.certificate.clone(),
            ]
        } else {
            Vec::new()
        },
        ..SignedForm::empty()
    };
    let mut out = Vec::new();
    for certificates in [true, false] {
        for ber in [true, false] {
            let name = format!("certificates {certificates}, indefinite {ber}");
            let form = SignedForm {
                ber,
                ..with(certificates)
            };
            let cms = form.encode();
            let raw = clear_signed(&headers(ALICE), &part, &cms);
            out.push(Shape::new("SIG-05", format!("detached, {name}"), raw, none));
            let cms = form.clone().attached(&part).encode();
            let raw = mime::opaque(&headers(ALICE), "signed-data", &cms);
            out.push(Shape::new("SIG-05", format!("opaque, {name}"), raw, none));
        }
    }
    let no_digests = SignedForm {
        digests: Vec::new(),
        ..with(true)
    }
    .attached(&part);
    let raw = mime::opaque(&headers(ALICE), "signed-data", &no_digests.encode());
    out.push(Shape::new(
        "SIG-05",
        "opaque, no digest algorithms",
        raw,
        none,
    ));
    out
}

/// SIG-06: the label says one thing, the CMS another.
pub fn sig06(town: &Town) -> Vec<Shape> {
    let part = mime::text("Labelled wrongly");
    let certificates = SignedForm {
        digests: Vec::new(),
        certificates: vec![
            town.alice.certificate.clone(),
            town.strange_root.certificate.clone(),
        ],
        ..SignedForm::empty()
    };
    let nothing: &[_] = &[("none", ""), ("permerror", "no-signers")];
    let mail = |kind: &str, cms: &[u8]| mime::opaque(&headers(ALICE), kind, cms);
    let signed = opaque(&town.alice, &town.chain(), &part);
    let zero = SignedForm::empty().attached(&part).encode();
    vec![
        Shape::new(
            "SIG-06",
            "certificates only, labelled signed-data",
            mail("signed-data", &certificates.encode()),
            OneOf(nothing),
        )
        .noted(&["type-mismatch"]),
        Shape::new(
            "SIG-06",
            "certificates only, honest",
            mail("certs-only", &certificates.encode()),
            OneOf(nothing),
        ),
        Shape::new(
            "SIG-06",
            "certificates only, labelled enveloped-data",
            mail("enveloped-data", &certificates.encode()),
            OneOf(nothing),
        )
        .noted(&["type-mismatch"]),
        Shape::new(
            "SIG-06",
            "content without signers, labelled certs-only",
            mail("certs-only", &zero),
            OneOf(nothing),
        ),
        // Readers pass over what is no base64, and find signed data; the label does not encrypt it.
        Shape::new(
            "SIG-06",
            "unreadable, labelled enveloped-data",
            String::from_utf8_lossy(&mail("enveloped-data", &signed))
                .replacen("\r\n\r\nMI", "\r\n\r\n!MI", 1)
                .into_bytes(),
            Is("permerror", "malformed"),
        ),
        // Well signed, but a program that believes the label shows nothing of it.
        Shape::new(
            "SIG-06",
            "signed-data labelled certs-only",
            mail("certs-only", &signed),
            Is("permerror", "no-signers"),
        )
        .noted(&["type-mismatch"]),
        Shape::new(
            "SIG-06",
            "signed-data without a label",
            mail("", &signed),
            Is("pass", "ok"),
        ),
    ]
}

/// SIG-21: canonical form. What a signer signs has CRLF line ends; everything else is as sent.
pub fn sig21(town: &Town) -> Vec<Shape> {
    let mut out = Vec::new();
    let bodies: &[(&str, &[u8])] = &[
        ("trailing spaces", b"Spaces   \r\nat the end \t\r\n"),
        ("dots", b".\r\n..\r\n.starts with a dot\r\n...\r\n"),
        ("no line end at the end", b"no end"),
        ("empty body", b""),
        ("empty lines at the end", b"text\r\n\r\n\r\n"),
        ("8bit Japanese", "日本語の本文です。\r\n".as_bytes()),
        ("ISO-2022-JP", b"\x1b$BF|K\\8l\x1b(B\r\n"),
        ("a line of 5000 octets", &[b'x'; 5000]),
        (
            "a line like a boundary",
            b"--kenin-forge-7f3\r\n-- kenin-forge-7f3a\r\n",
        ),
        (
            "From at the start of a line",
            b"From here\r\n>From there\r\n",
        ),
        ("tabs and controls", b"\x0b\x0c\x01\t\x7f\r\n"),
    ];
    for (name, body) in bodies {
        let mut part =
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                .to_vec();
        part.extend_from_slice(body);
        let raw = clear_signed(
            &headers(ALICE),
            &part,
            &detached(&town.alice, &town.chain(), &part),
        );
        out.push(Shape::new("SIG-21", *name, raw.clone(), Is("pass", "ok")));
        let lf: Vec<u8> = {
            let mut text = Vec::new();
            for (i, byte) in raw.iter().enumerate() {
                if *byte == b'\r' && raw.get(i + 1) == Some(&b'\n') {
                    continue;
                }
                text.push(*byte);
            }
            text
        };
        out.push(Shape::new(
            "SIG-21",
            format!("{name}, LF line ends in the file"),
            lf,
            Is("pass", "ok"),
        ));
    }
    // A changed trailing space, a lost dot, an added line end: all are changes.
    let part = mime::text("Spaces   \r\nand . dots");
    let cms = detached(&town.alice, &town.chain(), &part);
    let text = String::from_utf8(part).unwrap();
    for (name, changed) in [
        ("trailing spaces cut", text.replace("   \r\n", "\r\n")),
        ("dot doubled", text.replace(" . ", " .. ")),
        ("line end added", format!("{text}\r\n")),
        ("case changed", text.replace("Spaces", "spaces")),
        (
            "8bit turned to quoted-printable",
            text.replace("Spaces", "=53paces"),
        ),
    ] {
        let raw = clear_signed(&headers(ALICE), changed.as_bytes(), &cms);
        out.push(Shape::new(
            "SIG-21",
            name,
            raw,
            Is("fail", "digest-mismatch"),
        ));
    }
    // ISO-2022-JP whose escapes a relay dropped: the hint.
    let part = b"Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\x1b$BF|K\\8l\x1b(B\r\n";
    let cms = detached(&town.alice, &town.chain(), part);
    let lost: Vec<u8> = part.iter().copied().filter(|b| *b != 0x1b).collect();
    let raw = clear_signed(&headers(ALICE), &lost, &cms);
    out.push(
        Shape::new(
            "SIG-21",
            "ESC dropped from ISO-2022-JP",
            raw,
            Is("fail", "digest-mismatch"),
        )
        .noted(&["esc-loss-suspected"]),
    );
    // Opaque content is hashed as it is.
    for (name, body) in bodies {
        let mut part =
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                .to_vec();
        part.extend_from_slice(body);
        let cms = opaque(&town.alice, &town.chain(), &part);
        let raw = mime::opaque(&headers(ALICE), "signed-data", &cms);
        out.push(Shape::new(
            "SIG-21",
            format!("opaque: {name}"),
            raw,
            Is("pass", "ok"),
        ));
    }
    out
}

/// SIG-22: lengths that no message has.
pub fn sig22(town: &Town) -> Vec<Shape> {
    let part = mime::text("Length games");
    let signer = SignerForm::new(&town.alice, &part).encode(&part);
    let bad = OneOf(&[
        ("permerror", "malformed"),
        ("permerror", "limit-asn1"),
        ("permerror", "limit-size"),
    ]);
    let claims: &[(&str, &[u8])] = &[
        ("2 GiB", &[0x84, 0x80, 0, 0, 0]),
        ("2 GiB less one", &[0x84, 0x7f, 0xff, 0xff, 0xff]),
        ("4 GiB", &[0x85, 1, 0, 0, 0, 0]),
        ("2^63", &[0x88, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (
            "2^64 less one",
            &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        ("2^72", &[0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("126 length octets", &[0xfe, 1, 2, 3]),
        ("reserved 0xff", &[0xff, 1]),
    ];
    let mut out = Vec::new();
    for (name, claim) in claims {
        let content = cat([&[4][..], claim, &part]);
        let inner = seq([oid("1.2.840.113549.1.7.1"), explicit(0, &content)]);
        let body = seq([
            int(1),
            set_of(&[Hash::Sha256.identifier()]),
            inner,
            tlv(0x31, &signer),
        ]);
        let cms = seq([oid("1.2.840.113549.1.7.2"), explicit(0, &body)]);
        let raw = mime::opaque(&headers(ALICE), "signed-data", &cms);
        out.push(Shape::new("SIG-22", format!("content of {name}"), raw, bad));
        let cms = cat([&[0x30][..], claim, &cms]);
        let raw = clear_signed(&headers(ALICE), &part, &cms);
        out.push(Shape::new(
            "SIG-22",
            format!("ContentInfo of {name}"),
            raw,
            bad,
        ));
        let raw = clear_signed(
            &headers(ALICE),
            &part,
            &cat([&[0x30, 0x80, 6, 9][..], claim]),
        );
        out.push(Shape::new(
            "SIG-22",
            format!("nothing but a claim of {name}"),
            raw,
            NotPass,
        ));
    }
    out
}
