//! What the honest signer makes is right, whatever the form and the algorithm; what is changed
//! afterwards is not.

use std::sync::OnceLock;

use kenin_pki::UnixTime;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, MlDsa, SignatureAlgorithm, SoftKey};
use kenin_smime::sign::{Form, SignError, Signer};
use kenin_smime::{Ess, examine as examine_with};
use proptest::prelude::*;

use crate::forge::{Person, base64, clear, honest, signed_data};
use crate::{ENTITY, alice, assert_right, examine, is_right, root, rsa, signer};

const FORMS: [Form; 3] = [Form::Clear, Form::Opaque, Form::OpaqueStreamed];

fn keys() -> &'static [(Person, SignatureAlgorithm)] {
    static KEYS: OnceLock<Vec<(Person, SignatureAlgorithm)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        use DigestAlgorithm::{Sha256, Sha384, Sha512};
        let pss = |digest, mgf, salt_len| SignatureAlgorithm::RsaPss {
            digest,
            mgf,
            salt_len,
        };
        let person = |kind| Person::new("signer", kind);
        let ml_dsa = |set| (person(KeyType::MlDsa(set)), SignatureAlgorithm::MlDsa(set));
        let rsa = || {
            let key = SoftKey::from_pkcs8(&rsa().key.to_pkcs8().unwrap()).unwrap();
            Person {
                key,
                certificate: rsa().certificate.clone(),
            }
        };
        vec![
            (rsa(), SignatureAlgorithm::RsaPkcs1(Sha256)),
            (rsa(), SignatureAlgorithm::RsaPkcs1(Sha512)),
            (rsa(), pss(Sha256, Sha256, 32)),
            (rsa(), pss(Sha384, Sha384, 48)),
            (person(KeyType::P256), SignatureAlgorithm::Ecdsa(Sha256)),
            (person(KeyType::P384), SignatureAlgorithm::Ecdsa(Sha384)),
            (person(KeyType::P521), SignatureAlgorithm::Ecdsa(Sha512)),
            (person(KeyType::Ed25519), SignatureAlgorithm::Ed25519),
            ml_dsa(MlDsa::Dsa44),
            ml_dsa(MlDsa::Dsa65),
            ml_dsa(MlDsa::Dsa87),
        ]
    })
}

#[test]
fn every_form_and_algorithm_is_right() {
    for (person, algorithm) in keys() {
        for form in FORMS {
            let maker = Signer {
                algorithm: *algorithm,
                digest: algorithm.digest(),
                chain: std::slice::from_ref(&alice().certificate),
                signing_time: Some(UnixTime(1_700_000_000)),
                ..Signer::new(&person.key, &person.certificate)
            };
            let raw = maker.sign(ENTITY.as_bytes(), form).unwrap();
            let examined = examine(&raw);
            assert_right(&examined);
            let facts = signer(&examined);
            assert_eq!(facts.algorithm, Some(*algorithm));
            assert_eq!(facts.digest, Some(algorithm.digest()));
            assert_eq!(facts.signing_time, Some(UnixTime(1_700_000_000)));
            assert_eq!(facts.ess, Ess::Matched);
            assert_eq!(root(&examined).certificates.len(), 2);
            assert!(
                root(&examined).notes.is_empty(),
                "{:?}",
                root(&examined).notes
            );
        }
    }
}

#[test]
fn line_feeds_become_line_ends_and_the_rest_stays() {
    let maker = Signer::new(&alice().key, &alice().certificate);
    let raw = maker
        .sign(b"Content-Type: text/plain\n\na\rb  \n", Form::Clear)
        .unwrap();
    let examined = examine(&raw);
    assert_right(&examined);
    let content = root(&examined).content.clone().unwrap();
    assert_eq!(&raw[content], b"Content-Type: text/plain\r\n\r\na\rb  \r\n");
}

#[test]
fn attributes_are_not_signed_as_content() {
    let maker = Signer::new(&alice().key, &alice().certificate);
    let attributes = crate::forge::attributes(b"x", DigestAlgorithm::Sha256);
    let content = kenin_pki::der::write::set_of(&attributes);
    assert!(matches!(
        maker.sign_cms(&content, true),
        Err(SignError::ContentIsAttributes)
    ));
    assert!(matches!(
        maker.sign(&content, Form::OpaqueStreamed),
        Err(SignError::ContentIsAttributes)
    ));
    assert!(
        maker
            .sign_cms(b"1 text that starts like a set", true)
            .is_ok()
    );
}

#[test]
fn a_large_mail_is_right_in_every_form() {
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let entity = format!("Content-Type: text/plain\r\n\r\n{}", line.repeat(30_000));
    let maker = Signer::new(&alice().key, &alice().certificate);
    for form in FORMS {
        assert_right(&examine(maker.sign(entity.as_bytes(), form).unwrap()));
    }
}

fn mails() -> &'static [Vec<u8>] {
    static MAILS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MAILS.get_or_init(|| {
        let maker = Signer::new(&alice().key, &alice().certificate);
        let entity = format!(
            "Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n{ENTITY}\r\n--in\r\n\r\nmore\r\n--in--\r\n"
        );
        let mut mails: Vec<_> =
            FORMS.iter().map(|form| maker.sign(entity.as_bytes(), *form).unwrap()).collect();
        mails.push(maker.sign(&mails[1], Form::Clear).unwrap());
        mails.push(maker.sign(&mails[0], Form::OpaqueStreamed).unwrap());
        mails
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_signed_byte_is_never_right(which in 0_usize..2, at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let raw = &mails()[[0, 3][which]];
        let content = root(&examine(raw)).content.clone().unwrap();
        let mut changed = raw.clone();
        let at = content.start + at.index(content.len());
        changed[at] ^= flip;
        // A CR before a LF that goes, or a LF after a CR that goes, may leave the same canonical text.
        let same = kenin_smime::canonical::to_crlf(&changed[content.clone()]) == raw[content];
        prop_assert!(same || !is_right(&examine(&changed)));
    }

    #[test]
    fn mutated_mail_never_panics_and_keeps_its_ranges(
        which in 0_usize..5,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..12),
    ) {
        let mut raw = mails()[which].clone();
        for (at, byte, kind) in edits {
            let at = at.index(raw.len());
            match kind {
                0 => raw[at] = byte,
                1 => raw.insert(at, byte),
                2 if raw.len() > 40 => { raw.remove(at); }
                2 => {}
                _ => raw.truncate(at.max(40)),
            }
        }
        let examined = examine(&raw);
        prop_assert!(examined.body.start <= examined.body.end && examined.body.end <= raw.len());
        for facts in &examined.signatures {
            if let Some(content) = &facts.content {
                prop_assert!(content.start <= content.end && content.end <= raw.len());
            }
        }
        prop_assert!(examined.signatures.iter().filter(|facts| facts.root).count() <= 1);
    }

    #[test]
    fn mutated_objects_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut object = signed_data(None, &[alice().certificate.der()], &[honest(alice(), ENTITY.as_bytes())]);
        for (at, byte) in edits {
            let at = at.index(object.len());
            object[at] = byte;
        }
        let raw = clear(ENTITY, &object);
        let examined = examine(&raw);
        prop_assert!(examined.root_signature().is_some());
        let detached = kenin_smime::examine_cms(&object, Some(ENTITY.as_bytes()), &Default::default(), &[]);
        prop_assert_eq!(is_right(&examined), is_right(&detached));
        prop_assert!(!base64(&object).is_empty());
    }

    #[test]
    fn any_bytes_are_examined_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = examine_with(&raw, &Default::default(), &[]);
        let _ = kenin_smime::examine_cms(&raw, None, &Default::default(), &[]);
    }
}
