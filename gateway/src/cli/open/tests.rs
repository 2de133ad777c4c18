use kenin_pki::crypto::{Aes, ContentKind, KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::header_protection::{HeaderProtection, protect_header};
use kenin_smime::sign::{Form, Signer};

use super::*;
use crate::opening::tests::room::compressed_data;

const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);
const MAIL: &[u8] = b"From: Alice <alice@example.jp>\r\nTo: bob@example.jp\r\nSubject: Pay\r\n\
    Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";

fn holder(name: &str, kind: KeyType) -> Holder {
    let key = SoftKey::generate(kind).unwrap();
    let builder = CertificateBuilder::new(common_name(name).unwrap(), key.public_key());
    let builder = builder.mail(&["bob@example.jp"]);
    let authority = SoftKey::generate(KeyType::P256).unwrap();
    let issuer = common_name("Authority").unwrap();
    let certificate = builder.sign(&issuer, &[1; 20], &authority).unwrap();
    Holder::new(key, &[certificate]).unwrap().unwrap()
}

fn encrypted(to: &[&Holder], cipher: ContentKind, entity: &[u8]) -> Vec<u8> {
    let recipients: Vec<_> = to
        .iter()
        .map(|holder| Addressee::of(&holder.own[0]))
        .collect();
    let protect = Protect {
        recipients: &recipients,
        cipher,
    };
    protect.protect(entity).unwrap()
}

fn mail(entity: &[u8]) -> Vec<u8> {
    let header = b"From: Alice <alice@example.jp>\r\nTo: bob@example.jp\r\nSubject: [...]\r\n";
    [&header[..], entity].concat()
}

fn look(holders: &[Holder], message: &[u8]) -> Look {
    let limits = Limits::default();
    let opener = Opener {
        holders,
        limits: &limits,
        legacy: false,
    };
    opener.look(message)
}

#[track_caller]
fn opened(holders: &[Holder], message: &[u8]) -> OpenedLayer {
    match look(holders, message) {
        Look::Opened(layer) => *layer,
        Look::Closed(closed) => panic!("{closed:?}"),
        Look::Nothing => panic!("nothing to open"),
    }
}

#[test]
fn a_protected_header_comes_back_with_the_content() {
    let bob = [holder("Bob", KeyType::P256)];
    let halves = protect_header(MAIL, HeaderProtection::Cipher).unwrap();
    let raw = [halves.outer, encrypted(&[&bob[0]], GCM, &halves.entity)].concat();
    let layer = opened(&bob, &raw);
    let text = String::from_utf8(layer.message).unwrap();
    assert!(text.contains("Subject: Pay\r\n"), "{text}");
    assert!(!text.contains("[...]\r\nMIME"), "{text}");
    assert!(text.ends_with("\r\n\r\nPay Bob 10 yen.\r\n"), "{text}");
    assert_eq!(layer.integrity, Integrity::Aead);
    assert_eq!((layer.signatures, layer.recipients), (0, 1));
    assert!(!layer.other_from);
}

/// An entity in CompressedData, so many times, by blocks of zlib that are stored (RFC 1951 §3.2.4).
fn compressed(entity: &[u8], times: usize) -> Vec<u8> {
    let mut entity = entity.to_vec();
    for _ in 0..times {
        let length = u16::try_from(entity.len()).unwrap();
        let (mut low, mut high) = (1_u32, 0_u32);
        for octet in &entity {
            low = (low + u32::from(*octet)) % 65_521;
            high = (high + low) % 65_521;
        }
        let zlib = [
            &b"\x78\x01\x01"[..],
            &length.to_le_bytes(),
            &(!length).to_le_bytes(),
            &entity,
            &((high << 16) | low).to_be_bytes(),
        ]
        .concat();
        let object = compressed_data(&zlib);
        let header = b"Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n";
        entity = [&header[..], &object].concat();
    }
    entity
}

/// As the gateway does it: layer by layer, and the encrypted one is counted with them.
#[test]
fn what_is_compressed_inside_is_expanded_to_the_limit_of_layers() {
    let bob = [holder("Bob", KeyType::P256)];
    let text = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";
    let layers = Limits::default().layers;
    for times in [1, 2, layers - 1] {
        let raw = mail(&encrypted(&[&bob[0]], GCM, &compressed(text, times)));
        let layer = opened(&bob, &raw);
        assert_eq!(layer.compressed, None, "{times}");
        assert!(layer.message.ends_with(b"Pay Bob 10 yen.\r\n"), "{times}");
    }
    let raw = mail(&encrypted(&[&bob[0]], GCM, &compressed(text, layers)));
    assert_eq!(opened(&bob, &raw).compressed, Some(Defect::LimitLayers));
    // Its checksum is wrong.
    let mut broken = compressed(text, 1);
    *broken.last_mut().unwrap() ^= 1;
    let raw = mail(&encrypted(&[&bob[0]], GCM, &broken));
    assert_eq!(opened(&bob, &raw).compressed, Some(Defect::Malformed));
}

/// Nobody on the way has seen the From that stands inside.
#[test]
fn another_from_inside_stays_inside() {
    let bob = [holder("Bob", KeyType::P256)];
    let halves = protect_header(MAIL, HeaderProtection::Cipher).unwrap();
    let outer = String::from_utf8(halves.outer).unwrap();
    let outer = outer.replace("alice@", "mallory@");
    let entity = encrypted(&[&bob[0]], GCM, &halves.entity);
    let layer = opened(&bob, &[outer.as_bytes(), &entity].concat());
    let text = String::from_utf8(layer.message).unwrap();
    assert!(layer.other_from);
    assert!(
        text.contains("From: Alice <mallory@example.jp>\r\n"),
        "{text}"
    );
    assert!(!text.contains("alice@"), "{text}");
    assert!(text.contains("Subject: Pay\r\n"), "{text}");
}

#[test]
fn what_is_signed_at_the_root_is_opened_below_and_keeps_its_inner_signature() {
    let bob = [holder("Bob", KeyType::P256)];
    let signer = Signer::new(&bob[0].key, &bob[0].own[0]);
    let inner = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";
    for (outer, within) in [
        (Form::Clear, Form::Opaque),
        (Form::Opaque, Form::Clear),
        (Form::OpaqueStreamed, Form::Clear),
    ] {
        let signed = signer.sign(inner, within).unwrap();
        let sealed = encrypted(&[&bob[0]], CBC, &signed);
        let once = mail(&signer.sign(&sealed, outer).unwrap());
        let layer = opened(&bob, &once);
        assert_eq!(layer.signatures, 1, "{outer:?}");
        assert_eq!(layer.integrity, Integrity::None);
        let examined = kenin_smime::examine(&layer.message, &Limits::default(), &[]);
        assert!(examined.root_signature().is_some(), "{outer:?}");
        assert!(matches!(look(&bob, &layer.message), Look::Nothing));
        let twice = mail(
            &signer
                .sign(&signer.sign(&sealed, outer).unwrap(), outer)
                .unwrap(),
        );
        assert_eq!(opened(&bob, &twice).signatures, 2, "{outer:?}");
    }
}

/// RFC 8551 §3.7: layers stand around each other in any order.
#[test]
fn what_is_compressed_at_the_root_is_opened_below() {
    let bob = [holder("Bob", KeyType::P256)];
    let signer = Signer::new(&bob[0].key, &bob[0].own[0]);
    let text = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";
    let sealed = encrypted(&[&bob[0]], GCM, text);
    let signed = signer.sign(&sealed, Form::Opaque).unwrap();
    for (around, signatures) in [
        (compressed(&sealed, 1), 0),
        (compressed(&sealed, 2), 0),
        (compressed(&signed, 1), 1),
        (signer.sign_whole(&compressed(&sealed, 1)).unwrap(), 1),
    ] {
        let layer = opened(&bob, &mail(&around));
        assert_eq!(layer.signatures, signatures);
        assert!(layer.message.starts_with(b"From: Alice "));
        assert!(layer.message.ends_with(b"\r\n\r\nPay Bob 10 yen.\r\n"));
    }
    let many = compressed(&sealed, Limits::default().layers + 1);
    assert!(matches!(look(&bob, &mail(&many)), Look::Nothing));
    assert!(matches!(
        look(&bob, &mail(&compressed(text, 1))),
        Look::Nothing
    ));
}

/// DEC-02: text around an encrypted part could carry its content away.
#[test]
fn an_encrypted_part_is_not_opened() {
    let bob = [holder("Bob", KeyType::P256)];
    let part = encrypted(&[&bob[0]], GCM, b"Content-Type: text/plain\r\n\r\nx\r\n");
    let head = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n";
    let whole = mail(&[&head[..], &part, b"\r\n--x--\r\n"].concat());
    assert!(matches!(look(&bob, &whole), Look::Nothing));
    assert!(matches!(look(&bob, MAIL), Look::Nothing));
}

#[test]
fn for_others_is_told_from_broken() {
    let people = [
        holder("Bob", KeyType::P256),
        holder("Rita", KeyType::Rsa(2048)),
    ];
    let eve = [holder("Eve", KeyType::P256)];
    let raw = mail(&encrypted(&[&people[0], &people[1]], GCM, b"\r\nx\r\n"));
    for owner in people {
        assert_eq!(opened(&[owner], &raw).recipients, 2);
    }
    assert!(matches!(
        look(&eve, &raw),
        Look::Closed(Closed::NotRecipient)
    ));
    assert!(matches!(
        look(&[], &raw),
        Look::Closed(Closed::NotRecipient)
    ));
}

/// Whatever it is: programs encrypt files, too.
#[test]
fn what_is_neither_mail_nor_text_is_opened() {
    let rita = [holder("Rita", KeyType::Rsa(2048))];
    let bob = [holder("Bob", KeyType::P256)];
    let binary = [0_u8, 1, 2, 3, 250];
    for (to, cipher, content) in [
        (&rita, GCM, &binary[..]),
        (&rita, CBC, &binary),
        (&bob, CBC, &binary),
        (&rita, CBC, "Zahle 10 €.\n".as_bytes()),
    ] {
        let raw = mail(&encrypted(&[&to[0]], cipher, content));
        assert!(
            opened(to, &raw)
                .message
                .ends_with(&input::content_form(content))
        );
    }
}

/// RFC 8551 §3.1.3: what is encrypted needs no transfer encoding, and most programs say `binary` of the part alone.
#[test]
fn a_binary_part_keeps_its_octets() {
    let bob = [holder("Bob", KeyType::P256)];
    let picture =
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\x00\n\r\n--b--\r\n";
    let layer = opened(&bob, &mail(&encrypted(&[&bob[0]], GCM, picture)));
    let body = b"\x89PNG\r\n\x1a\n\x00\n\r\n--b--\r\n";
    assert!(layer.message.ends_with(body));
}

/// One in 256 of the keys that are made in place of what does not fit opens a content of CBC to something.
#[test]
fn a_key_that_nobody_wrapped_opens_nothing() {
    let rita = holder("Rita", KeyType::Rsa(2048));
    let raw = mail(&encrypted(&[&rita], CBC, MAIL));
    let layer = EncryptedLayer::of(&raw, &Limits::default()).unwrap();
    let good = layer.recipients()[0].wrapped.clone().unwrap();
    let key = |wrapped: &Wrapped| {
        let key = wrapped.unwrap(&rita.key, &rita.rejection, layer.key_len());
        key.unwrap()
    };
    assert!(is_wrapped(&good, &rita, &key(&good)));
    let mut changed = good;
    changed.encrypted_key[200] ^= 1;
    assert!(!is_wrapped(&changed, &rita, &key(&changed)));
}

#[test]
fn a_bare_object_is_opened_to_its_content() {
    let bob = [holder("Bob", KeyType::P256)];
    let recipients = [Addressee::of(&bob[0].own[0])];
    let protect = Protect {
        recipients: &recipients,
        cipher: GCM,
    };
    let object = protect.protect_cms(b"just this").unwrap();
    let limits = Limits::default();
    let opener = Opener {
        holders: &bob,
        limits: &limits,
        legacy: false,
    };
    let Look::Opened(layer) = opener.look_at_cms(&object) else {
        panic!("it is closed")
    };
    assert_eq!(layer.message, b"just this");
    assert!(matches!(opener.look_at_cms(b"x"), Look::Nothing));
    // Also inside of a signature.
    let sealed = encrypted(&[&bob[0]], GCM, b"\r\njust this");
    let signer = Signer::new(&bob[0].key, &bob[0].own[0]);
    let signed = signer.sign_cms(&sealed, false).unwrap();
    let Look::Opened(layer) = opener.look_at_cms(&signed) else {
        panic!("it is closed")
    };
    assert_eq!(layer.signatures, 1);
    assert!(layer.message.ends_with(b"\r\n\r\njust this"));
}
