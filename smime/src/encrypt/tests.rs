use kenin_pki::crypto::{KeyType, SoftKey};
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;
use crate::open::{EncryptedLayer, Integrity};
use crate::testing::{Person, bob, everybody, mail, rita};

const CIPHERS: [ContentKind; 7] = [
    ContentKind::AesCbc(Aes::Bits128),
    ContentKind::AesCbc(Aes::Bits192),
    ContentKind::AesCbc(Aes::Bits256),
    ContentKind::AesGcm(Aes::Bits128),
    ContentKind::AesGcm(Aes::Bits192),
    ContentKind::AesGcm(Aes::Bits256),
    ContentKind::ChaCha20Poly1305,
];

fn layer(raw: &[u8]) -> EncryptedLayer {
    EncryptedLayer::of(raw, &Limits::default()).expect("an encrypted layer")
}

fn protect(to: &[Addressee<'_>], cipher: ContentKind, content: &[u8]) -> Vec<u8> {
    let protect = Protect {
        recipients: to,
        cipher,
    };
    protect.protect(content).unwrap()
}

#[test]
fn every_cipher_is_opened_by_every_kind_of_key() {
    let content = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";
    for cipher in CIPHERS {
        for person in everybody() {
            let what = format!("{cipher:?} for {}", person.certificate.subject());
            let raw = protect(&[person.addressee()], cipher, content);
            let layer = layer(&raw);
            let opened = person.open(&layer).expect(&what);
            assert_eq!(opened.entity, content, "{what}");
            let aead = !matches!(cipher, ContentKind::AesCbc(_));
            let expected = match aead {
                true => Integrity::Aead,
                false => Integrity::None,
            };
            assert_eq!(opened.integrity, expected, "{what}");
            let label: &[u8] = match aead {
                true => b"smime-type=authEnveloped-data;",
                false => b"smime-type=enveloped-data;",
            };
            assert!(memchr::memmem::find(&raw, label).is_some(), "{what}");
        }
    }
}

#[test]
fn all_recipients_of_one_mail_open_the_same() {
    let to: Vec<_> = everybody().iter().map(Person::addressee).collect();
    let raw = protect(&to, ContentKind::AesGcm(Aes::Bits256), b"\r\nto all\r\n");
    let layer = layer(&raw);
    assert_eq!(layer.recipients().len(), to.len());
    for person in everybody() {
        assert_eq!(person.open(&layer).unwrap().entity, b"\r\nto all\r\n");
    }
    assert!(bob().open(&layer).is_err());
    let certificates: Vec<_> = everybody()
        .iter()
        .map(|person| person.certificate.clone())
        .collect();
    assert_eq!(layer.match_certificates(&certificates).len(), to.len());
}

#[test]
fn recipients_may_be_named_by_their_keys() {
    for person in everybody() {
        let id = person.certificate.subject_key_id().unwrap().unwrap();
        let to = Addressee {
            id: RecipientId::KeyId(id.to_vec()),
            ..person.addressee()
        };
        let raw = protect(&[to], ContentKind::AesCbc(Aes::Bits256), b"by key");
        assert_eq!(person.open(&layer(&raw)).unwrap().entity, b"by key");
    }
}

#[test]
fn oaep_is_used_where_the_key_or_its_holder_asks_for_it() {
    let wrapping = |to: Addressee<'_>| {
        let raw = protect(&[to], ContentKind::AesGcm(Aes::Bits128), b"x");
        let layer = layer(&raw);
        layer.recipients()[0].wrapped.clone().unwrap().wrapping
    };
    assert_eq!(wrapping(rita().addressee()), Wrapping::RsaPkcs1);
    let sha256 = OaepParameters::new(DigestAlgorithm::Sha256);
    let asked = Addressee {
        oaep: true,
        ..rita().addressee()
    };
    assert_eq!(wrapping(asked.clone()), Wrapping::RsaOaep(sha256));
    let raw = protect(&[asked], ContentKind::AesGcm(Aes::Bits128), b"by OAEP");
    assert_eq!(rita().open(&layer(&raw)).unwrap().entity, b"by OAEP");
    // A key that says so itself, by its own parameters.
    let sha384 = OaepParameters::new(DigestAlgorithm::Sha384);
    let algorithm = AlgorithmIdentifier::new(oid::RSAES_OAEP, Some(&sha384.to_der()));
    let bits = write::bit_string(rita().certificate.public_key().bits());
    let key = PublicKey::from_spki(&write::seq(&[algorithm.to_der(), bits])).unwrap();
    let only = Addressee {
        key: &key,
        ..rita().addressee()
    };
    assert_eq!(wrapping(only), Wrapping::RsaOaep(sha384));
}

#[test]
fn one_key_that_cannot_be_encrypted_for_keeps_all_from_being() {
    let signer = Person::new("Ed", KeyType::Ed25519);
    let to = [bob().addressee(), signer.addressee()];
    let protect = |recipients| Protect {
        recipients,
        cipher: ContentKind::AesGcm(Aes::Bits256),
    };
    assert_eq!(
        protect(&to).protect(b"x"),
        Err(ProtectError::Recipient {
            position: 1,
            error: KeyError::Unsupported
        })
    );
    assert_eq!(protect(&[]).protect(b"x"), Err(ProtectError::NoRecipient));
}

#[test]
fn nothing_is_the_same_twice() {
    let once = || {
        protect(
            &[bob().addressee()],
            ContentKind::AesGcm(Aes::Bits256),
            b"same",
        )
    };
    let (one, other) = (layer(&once()), layer(&once()));
    assert_ne!(one.cipher(), other.cipher());
    assert_ne!(one.recipients(), other.recipients());
    assert_ne!(one.encrypted_digest(), other.encrypted_digest());
    assert_ne!(bob().content_key(&one), bob().content_key(&other));
}

#[test]
fn a_renewed_certificate_of_the_same_key_opens_only_what_names_it() {
    let key = SoftKey::from_pkcs8(&bob().key.to_pkcs8().unwrap()).unwrap();
    let renewed = Person::with_key("Bob renewed", key);
    let raw = protect(&[renewed.addressee()], CIPHERS[5], b"x");
    assert!(renewed.open(&layer(&raw)).is_ok());
    assert!(bob().open(&layer(&raw)).is_err());
}

#[test]
fn lines_are_as_long_as_mail_allows() {
    let raw = protect(&[bob().addressee()], CIPHERS[2], &[7; 4000]);
    assert!(crate::fits_relays(&raw));
    let body = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(
        raw[body..]
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() <= 77)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_encrypted_opens_to_what_it_was(
        content in proptest::collection::vec(any::<u8>(), 0..2000),
        which in 0_usize..7,
        chunk in 1_usize..700,
    ) {
        let to = [bob().addressee()];
        let protect = Protect { recipients: &to, cipher: CIPHERS[which] };
        let shape = crate::testing::Shape::honest(&protect, &content);
        for object in [shape.write(), shape.streamed(chunk)] {
            let opened = bob().open(&layer(&mail(&object))).unwrap();
            prop_assert_eq!(&opened.entity, &content);
        }
    }
}
