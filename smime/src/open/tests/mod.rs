use kenin_pki::crypto::{Aes, ContentKind};

use super::*;
use crate::encrypt::Protect;
use crate::sign::{Form, Signer};
use crate::testing::{Person, Shape, bob, mail};

mod compressed;
mod hostile;
mod objects;
mod rebuilt;

const ENTITY: &[u8] = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";
const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);

fn layer_of(raw: &[u8]) -> Option<EncryptedLayer> {
    EncryptedLayer::of(raw, &Limits::default())
}

/// What Bob gets of an object: its content, or nothing.
fn opened(object: &[u8]) -> Option<Vec<u8>> {
    let opened = bob().open(&layer_of(&mail(object))?).ok()?;
    Some(opened.entity)
}

fn shape_for(person: &Person, cipher: ContentKind, content: &[u8]) -> Shape {
    let to = [person.addressee()];
    let protect = Protect {
        recipients: &to,
        cipher,
    };
    Shape::honest(&protect, content)
}

fn shape(cipher: ContentKind) -> Shape {
    shape_for(bob(), cipher, ENTITY)
}

#[test]
fn a_root_is_recognised_by_type_or_name_in_every_transfer_encoding() {
    let object = shape(GCM).write();
    let with = |header: &str, body: &[u8]| {
        let mut raw = format!("From: a@example.jp\r\n{header}\r\n\r\n").into_bytes();
        raw.extend_from_slice(body);
        layer_of(&raw).is_some()
    };
    let mut base64 = Vec::new();
    crate::base64_lines::push_base64(&mut base64, &object);
    let coded = "Content-Transfer-Encoding: base64";
    for header in [
        "Content-Type: application/pkcs7-mime; smime-type=authenveloped-data",
        "Content-Type: application/x-pkcs7-mime; name=smime.p7m",
        "Content-Type: APPLICATION/PKCS7-MIME; smime-type=enveloped-data",
        "Content-Type: application/octet-stream; name=\"smime.p7m\"",
        "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=x.P7M",
    ] {
        assert!(with(&format!("{header}\r\n{coded}"), &base64), "{header}");
        let binary = format!("{header}\r\nContent-Transfer-Encoding: binary");
        assert!(with(&binary, &object), "{header}");
    }
    for header in [
        "Content-Type: application/octet-stream; name=x.bin",
        "Content-Type: text/plain",
        "X: y",
        // Two readers could see two messages.
        "Content-Type: application/pkcs7-mime\r\nContent-Type: text/plain",
    ] {
        assert!(!with(&format!("{header}\r\n{coded}"), &base64), "{header}");
    }
}

/// A mailing list puts its lines below the base64.
#[test]
fn a_layer_that_is_labelled_and_broken_is_refused_and_not_overlooked() {
    let limits = Limits::default();
    let raw = mail(&shape(GCM).write());
    let broken = [&raw[..], b"--\r\nthe list\r\n"].concat();
    assert!(layer_of(&broken).is_none());
    let labelled = |label: &str| {
        let text = String::from_utf8(broken.clone()).unwrap();
        text.replace("; name=smime.p7m", label)
    };
    for (label, refused) in [
        ("; smime-type=enveloped-data", true),
        ("; smime-type=authEnveloped-data", true),
        ("; smime-type=signed-data", false),
        ("", false),
    ] {
        let why = EncryptedLayer::refused(labelled(label).as_bytes(), &limits);
        assert_eq!(why.is_some(), refused, "{label}");
    }
    assert_eq!(EncryptedLayer::refused(&raw, &limits), None);
}

/// DEC-02: text around an encrypted part could carry its content away.
#[test]
fn only_the_root_is_opened() {
    let part = mail(&shape(GCM).write());
    let start = memchr::memmem::find(&part, b"Content-Type").unwrap();
    let part = String::from_utf8(part[start..].to_vec()).unwrap();
    assert!(layer_of(part.as_bytes()).is_some());
    for kind in ["mixed", "related", "signed", "alternative"] {
        let raw =
            format!("Content-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\n{part}\r\n--b--\r\n");
        assert!(layer_of(raw.as_bytes()).is_none(), "{kind}");
    }
    let forwarded = format!("Content-Type: message/rfc822\r\n\r\n{part}");
    assert!(layer_of(forwarded.as_bytes()).is_none());
}

#[test]
fn layers_inside_each_other_are_opened_up_to_the_limit() {
    let limits = Limits::default();
    let to = [bob().addressee()];
    let mut entity = ENTITY.to_vec();
    for cipher in [GCM, CBC].into_iter().cycle().take(limits.layers + 1) {
        let protect = Protect {
            recipients: &to,
            cipher,
        };
        entity = protect.protect(&entity).unwrap();
    }
    let mut next = EncryptedLayer::of(&entity, &limits);
    let mut count = 0;
    let mut last = Vec::new();
    while let Some(layer) = next {
        let opened = bob().open(&layer).unwrap();
        count += 1;
        next = opened.inner(&limits);
        last = opened.entity;
    }
    assert_eq!(count, limits.layers);
    // The one that is too many is still there.
    assert!(EncryptedLayer::of(&last, &limits).is_some());
}

/// RFC 2634 §1.1: the signature outside is taken off first, and its content is a root.
#[test]
fn a_mail_that_is_signed_encrypted_and_signed_is_opened_layer_by_layer() {
    let signer = Signer::new(&bob().key, &bob().certificate);
    let to = [bob().addressee()];
    let protect = Protect {
        recipients: &to,
        cipher: GCM,
    };
    let limits = Limits::default();
    let inner = signer.sign(ENTITY, Form::Clear).unwrap();
    let encrypted = protect.protect(&inner).unwrap();
    for (form, section) in [(Form::Clear, "2"), (Form::Opaque, "1")] {
        let raw = signer.sign(&encrypted, form).unwrap();
        assert!(layer_of(&raw).is_none());
        let released = release(&raw, &limits, &HashSet::from([section])).unwrap();
        assert_eq!(signed_content(&raw, &limits).as_ref(), Some(&released));
        let opened = bob().open(&layer_of(&released).unwrap()).unwrap();
        assert_eq!(opened.entity, inner);
        assert!(opened.inner(&limits).is_none());
    }
}

#[test]
fn only_a_signature_around_the_whole_is_taken_off() {
    let limits = Limits::default();
    let signer = Signer::new(&bob().key, &bob().certificate);
    for form in [Form::Clear, Form::Opaque] {
        let signed = String::from_utf8(signer.sign(ENTITY, form).unwrap()).unwrap();
        let raw = format!("From: a@example.jp\r\n{signed}");
        let content = signed_content(raw.as_bytes(), &limits).unwrap();
        let content = String::from_utf8(content).unwrap();
        assert!(content.starts_with("From: a@example.jp\r\n"), "{content}");
        assert!(
            content.ends_with("\r\n\r\nPay Bob 10 yen.\r\n"),
            "{content}"
        );
        let mixed = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n{signed}\r\n--x--\r\n"
        );
        assert_eq!(signed_content(mixed.as_bytes(), &limits), None);
    }
    let encrypted = mail(&shape(GCM).write());
    assert_eq!(signed_content(&encrypted, &limits), None);
    assert_eq!(
        signed_content(b"From: a@example.jp\r\n\r\ntext\r\n", &limits),
        None
    );
}

#[test]
fn what_a_wrong_key_opens_to_is_no_entity() {
    let cipher = ContentCipher::AesCbc {
        aes: Aes::Bits256,
        iv: [1; 16],
    };
    // The same each time.
    let key = Secret::new(vec![2; 32]);
    let shape = Shape::by_key(Vec::new(), &cipher, &key, (ENTITY, &[]));
    let layer = layer_of(&mail(&shape.write())).unwrap();
    assert_eq!(layer.encrypted_len(), shape.content.len());
    assert!(layer.open_with(&key).unwrap().is_entity());
    let mut by_chance = 0;
    for number in 0..4000_u16 {
        let key = DigestAlgorithm::Sha256.digest(&number.to_be_bytes());
        let key = Secret::new(key.as_ref().to_vec());
        if let Ok(opened) = layer.open_with(&key) {
            by_chance += 1;
            assert!(!opened.is_entity());
        }
    }
    // One padding of 256 looks right.
    assert!((1..100).contains(&by_chance), "{by_chance}");
    let of = |entity: &[u8]| {
        let layer = layer_of(&mail(&shape_for(bob(), CBC, entity).write())).unwrap();
        bob().open(&layer).unwrap().is_entity()
    };
    assert!(of(b"\r\ntext") && of(b"A: b\r\n\r\ntext") && of(b"A: b\n\ntext"));
    assert!(!of(b"text") && !of(b"A: b\r\ntext\r\n\r\n") && !of(b"\ntext"));
    // White space alone in a line of a field (RFC 5322 §4.2).
    assert!(of(b"A: b;\r\n \r\n c=d\r\n\t\r\nE: f\r\n\r\ntext") && of(b"A: b\n \n\ntext"));
    assert!(!of(b" \r\nA: b\r\n\r\ntext") && !of(b"A: b\r\ntext\r\n \r\n\r\n"));
    assert!(!of(b"A: b\r\n") && !of(b"\xe6\xa4\x9c: b\r\n\r\ntext") && !of(b""));
}

#[test]
fn the_digest_is_that_of_the_encrypted_content() {
    let shape = shape(GCM);
    let expected = DigestAlgorithm::Sha256.digest(&shape.content);
    for object in [shape.write(), shape.streamed(7)] {
        let layer = layer_of(&mail(&object)).unwrap();
        assert_eq!(layer.encrypted_digest(), expected);
    }
}

#[test]
fn nothing_that_was_opened_is_shown_by_accident() {
    let layer = layer_of(&mail(&shape(GCM).write())).unwrap();
    let opened = bob().open(&layer).unwrap();
    let shown = format!("{opened:?}");
    assert!(shown.contains("len: 45") && !shown.contains("Pay") && !shown.contains("80, 97"));
}
