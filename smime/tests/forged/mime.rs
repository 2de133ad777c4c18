//! Where a signature stands and what it covers (SIG-13, 21): nested signatures are never the root, and
//! the signed bytes are the bytes that came.

use kenin_smime::{Check, Defect, LayerKind, Note};

use crate::forge::*;
use crate::{ENTITY, alice, assert_right, examine, is_right, mallory, reason, root, signer};

pub(crate) fn detached(entity: &str) -> Vec<u8> {
    signed_data(
        None,
        &[alice().certificate.der()],
        &[honest(alice(), entity.as_bytes())],
    )
}

pub(crate) fn good() -> String {
    clear(ENTITY, &detached(ENTITY))
}

fn embedded(entity: &str, outer: &str) -> String {
    format!("Content-Type: multipart/{outer}; boundary=o\r\n\r\n--o\r\n{entity}\r\n--o--\r\n")
}

#[test]
fn a_plain_message_is_right_and_its_range_is_exact() {
    let raw = format!("From: a@example.jp\r\nMIME-Version: 1.0\r\n{}", good());
    let examined = examine(&raw);
    assert_right(&examined);
    let facts = root(&examined);
    assert_eq!(
        (facts.section.as_str(), facts.kind),
        ("2", LayerKind::ClearSigned)
    );
    assert_eq!(&raw[facts.content.clone().unwrap()], ENTITY);
    assert!(facts.notes.is_empty(), "{:?}", facts.notes);
    assert_eq!(examined.layers.len(), 1);
    assert_eq!(
        (examined.layers[0].section.as_str(), examined.layers[0].root),
        ("1", true)
    );
    assert_eq!(examined.fields.len(), 3);
    assert!(raw[examined.body.clone()].starts_with("--b1\r\n"));
}

#[test]
fn spellings_that_everybody_reads_alike_are_right() {
    let raw = good();
    let variants = [
        raw.replace(
            "application/pkcs7-signature",
            "application/x-pkcs7-signature",
        ),
        raw.replace("multipart/signed", "Multipart/SIGNED"),
        raw.replace(
            "Content-Type: application/pkcs7-signature; name=smime.p7s",
            "content-type:application/octet-stream; name=\"smime.p7s\"",
        ),
        raw.replace(
            "Content-Type: application/pkcs7-signature;",
            "Content-Type: application/pkcs7-mime;",
        ),
        raw.replacen(
            "\r\n\r\n--b1\r\n",
            "\r\n\r\nThis is a signed message.\r\n--b1\r\n",
            1,
        ),
        format!("{raw}\r\nepilogue\r\n"),
        raw.replace("--b1\r\n", "--b1 \t\r\n"),
        raw.trim_end().to_owned(),
    ];
    for (number, variant) in variants.iter().enumerate() {
        let examined = examine(variant);
        assert!(
            is_right(&examined),
            "{number}: {:?} {:?}",
            reason(&examined),
            root(&examined).detail
        );
        assert_eq!(
            (examined.signatures.len(), examined.layers.len()),
            (1, 1),
            "{number}"
        );
    }
}

#[test]
fn the_signature_may_be_binary_or_quoted_printable() {
    let object = detached(ENTITY);
    let quoted: String = object
        .iter()
        .map(|byte| format!("={byte:02X}=\r\n"))
        .collect();
    let good = clear(ENTITY, &object);
    let raw = good
        .replace("base64\r\n\r\n", "quoted-printable\r\n\r\n")
        .replace(&base64(&object), &format!("{quoted}\r\n"));
    assert_right(&examine(&raw));
    for encoding in ["binary", "8bit", "7bit"] {
        let text = good.replace("base64\r\n\r\n", &format!("{encoding}\r\n\r\n"));
        let (before, after) = text.split_once(&base64(&object)).unwrap();
        let raw = [before.as_bytes(), &object, b"\r\n", after.as_bytes()].concat();
        assert_right(&examine(&raw));
    }
}

#[test]
fn odd_labels_are_notes() {
    let raw = good();
    for odd in [
        raw.replace("micalg=sha-256; ", ""),
        raw.replace("micalg=sha-256", "micalg=md5"),
        raw.replace("micalg=sha-256", "micalg=sha-256; micalg=sha-1"),
        raw.replace(" protocol=\"application/pkcs7-signature\";", ""),
        raw.replace(
            "protocol=\"application/pkcs7-signature\"",
            "protocol=\"application/pgp-signature\"",
        ),
        raw.replace(
            "protocol=\"application/pkcs7-signature\"",
            "protocol=\"text/plain\"",
        ),
    ] {
        let examined = examine(&odd);
        assert_right(&examined);
        assert_eq!(root(&examined).notes, [Note::MicalgOdd], "{odd}");
    }
    assert!(
        root(&examine(raw.replace("sha-256;", "SHA256;")))
            .notes
            .is_empty()
    );
    let examined = examine(raw.replace("\"b1\"", "\"b{1\"").replace("--b1", "--b{1"));
    assert_right(&examined);
    assert_eq!(root(&examined).notes, [Note::BoundaryOdd]);
}

/// SIG-13.
#[test]
fn a_signature_below_the_root_is_never_the_messages() {
    let signed = good();
    let opaque_part = opaque(
        "; smime-type=signed-data",
        &signed_data(
            Some(ENTITY.as_bytes()),
            &[alice().certificate.der()],
            &[honest(alice(), ENTITY.as_bytes())],
        ),
    );
    let rfc822 =
        |inner: &str| format!("Content-Type: message/rfc822\r\n\r\nFrom: a@example.jp\r\n{inner}");
    for (outer, section) in [
        (embedded(&signed, "mixed"), "1.2"),
        (embedded(&signed, "related"), "1.2"),
        (embedded(&format!("\r\ntext\r\n--o\r\n{signed}"), "mixed"), "2.2"),
        (embedded(&embedded(&signed, "alternative").replace("=o", "=p").replace("--o", "--p"), "mixed"), "1.1.2"),
        (rfc822(&signed), "1.2"),
        (embedded(&rfc822(&signed), "digest"), "1.2"),
        (embedded(&opaque_part, "mixed"), "1"),
        (rfc822(&opaque_part), "1.1"),
        (embedded(&opaque_part.replace("Content-Type: application/pkcs7-mime;", "Content-Disposition: attachment; filename=x.p7m\r\nContent-Type: application/octet-stream;"), "mixed"), "1"),
    ] {
        let examined = examine(&outer);
        assert!(examined.root_signature().is_none(), "{outer}");
        let [facts] = examined.signatures.as_slice() else { panic!("one signature in {outer}") };
        assert_eq!((facts.root, facts.section.as_str(), facts.defect), (false, section, None));
        assert_eq!(facts.signers[0].defect, None, "what it would be worth is still said");
        assert!(examined.layers.iter().all(|layer| !layer.root));
    }
}

#[test]
fn layers_inside_layers_have_sections_of_their_own() {
    let object = |content: &str| {
        let signer = honest(mallory(), content.as_bytes());
        signed_data(
            Some(content.as_bytes()),
            &[mallory().certificate.der()],
            &[signer],
        )
    };
    // Clear inside opaque.
    let examined = examine(opaque("; smime-type=signed-data", &object(&good())));
    let facts: Vec<_> = examined
        .signatures
        .iter()
        .map(|s| (&*s.section, s.root, s.kind))
        .collect();
    assert_eq!(
        facts,
        [
            ("1", true, LayerKind::Opaque),
            ("1/2", false, LayerKind::ClearSigned)
        ]
    );
    let layers: Vec<_> = examined
        .layers
        .iter()
        .map(|layer| (&*layer.section, layer.kind))
        .collect();
    assert_eq!(
        layers,
        [("1", LayerKind::Opaque), ("1/1", LayerKind::ClearSigned)]
    );
    assert!(
        examined
            .signatures
            .iter()
            .all(|s| s.signers[0].defect.is_none())
    );
    // Opaque inside clear inside opaque.
    let inner = opaque("", &object(ENTITY));
    let middle = clear(&inner, &detached(&inner));
    let examined = examine(opaque("", &object(&middle)));
    let facts: Vec<_> = examined
        .signatures
        .iter()
        .map(|s| (&*s.section, s.root))
        .collect();
    assert_eq!(facts, [("1", true), ("1/2", false), ("1/1", false)]);
    assert!(
        examined
            .signatures
            .iter()
            .all(|s| s.signers[0].defect.is_none())
    );
    // Opaque in opaque, and something encrypted inside a signed part.
    let examined = examine(opaque("", &object(&inner)));
    assert_eq!(examined.signatures[1].section, "1/1");
    let secret = opaque(
        "; smime-type=enveloped-data",
        &content_info("1.2.840.113549.1.7.3", &[0x30, 0]),
    );
    let examined = examine(clear(&secret, &detached(&secret)));
    assert_right(&examined);
    assert!(!examined.root_encrypted());
    assert_eq!(
        (
            examined.encryption[0].root,
            &*examined.encryption[0].section
        ),
        (false, "1")
    );
}

#[test]
fn openpgp_is_not_ours_and_an_opaque_root_may_be_labelled_in_several_ways() {
    let pgp = "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n";
    assert!(examine(pgp).signatures.is_empty() && examine(pgp).layers.is_empty());
    let object = signed_data(
        Some(ENTITY.as_bytes()),
        &[alice().certificate.der()],
        &[honest(alice(), ENTITY.as_bytes())],
    );
    let raw = opaque("; smime-type=signed-data", &object);
    for variant in [
        raw.clone(),
        raw.replace("pkcs7-mime", "x-pkcs7-mime"),
        raw.replace(
            "application/pkcs7-mime; smime-type=signed-data",
            "application/octet-stream",
        ),
        raw.replace(
            "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m",
            "application/octet-stream\r\nContent-Disposition: attachment; filename=\"SMIME.P7M\"",
        ),
        raw.replace("signed-data", "SIGNED-DATA"),
    ] {
        let examined = examine(&variant);
        assert_right(&examined);
        assert_eq!(root(&examined).section, "1");
    }
    for ambiguous in [
        format!("Content-Type: text/html\r\n{raw}"),
        raw.replacen("\r\n\r\n", "\r\nContent-Type: text/html\r\n\r\n", 1),
        format!("Content-Transfer-Encoding: 7bit\r\n{raw}"),
        raw.replacen("Content-Type:", "Content-Type :", 1),
        format!("Subject: x\r\n \r\n{raw}"),
    ] {
        assert_eq!(
            reason(&examine(&ambiguous)),
            Some(Defect::AmbiguousMime),
            "{ambiguous}"
        );
    }
    assert_eq!(
        reason(&examine(format!("{raw}-- \r\nfooter *\r\n"))),
        Some(Defect::Malformed)
    );
}

/// SIG-21: trailing white space, bare CR and empty lines are content; a lone LF is a line end.
#[test]
fn the_bytes_as_received_are_what_counts() {
    for entity in [
        "\r\ntrailing spaces  \t\r\n\r\n\r\n",
        "Content-Type: text/plain\r\n\r\na\rb\r\n",
        "\r\n.\r\n..dots\r\nFrom here\r\n",
        "\r\nno line end",
        "\r\n",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{65e5}\u{672c}\r\n",
    ] {
        let raw = clear(entity, &detached(entity));
        assert_right(&examine(&raw));
        let part = |entity: &str| format!("--b1\r\n{entity}\r\n--b1");
        let changed = raw.replacen(&part(entity), &part(&format!("{entity} ")), 1);
        assert!(changed != raw && !is_right(&examine(changed)));
    }
    let raw = good();
    assert!(!is_right(&examine(raw.replace("10 yen.", "10 yen. "))));
    let examined = examine(raw.replace("charset=utf-8\r\n\r\nPay", "charset=utf-8\n\nPay"));
    assert_right(&examined);
    assert_eq!(root(&examined).notes, [Note::LineEndsConverted]);
}

/// RFC 8551 §3.1.1: only text has a canonical form. What is binary comes out of an encryption.
#[test]
fn binary_octets_beside_a_signature_are_what_was_signed() {
    let entity = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\n\r\u{1}\n\n\r\n";
    let raw = clear(entity, &detached(entity));
    let examined = examine(&raw);
    assert_right(&examined);
    assert!(root(&examined).notes.is_empty());
    assert!(!is_right(&examine(raw.replace('\u{1}', "\u{2}"))));
}

#[test]
fn lost_escape_bytes_are_suspected_where_they_are_likely() {
    let entity = "Content-Type: text/plain; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\x1b$B$\"\x1b(B\r\n";
    let raw = clear(entity, &detached(entity));
    assert_right(&examine(&raw));
    assert!(root(&examine(&raw)).content_type_iso2022jp_7bit);
    assert!(root(&examine(&raw)).notes.is_empty());
    let lost = examine(raw.replace('\x1b', ""));
    assert_eq!(reason(&lost), Some(Defect::DigestMismatch));
    assert_eq!(root(&lost).notes, [Note::EscLossSuspected]);
    assert_eq!(signer(&lost).signature(), Check::Ok);
    let plain = examine(good().replace("Bob", "Eve"));
    assert_eq!(
        (reason(&plain), root(&plain).notes.len()),
        (Some(Defect::DigestMismatch), 0)
    );
}
