use kenin_pki::crypto::{Aes, ContentKind};

use super::*;
use crate::encrypt::Protect;
use crate::testing::{Person, Shape, bob, mail};

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
    crate::sign::push_base64(&mut base64, &object);
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
