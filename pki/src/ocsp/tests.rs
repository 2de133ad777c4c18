use super::*;
use crate::crl::RevocationReason;
use crate::crypto::{KeyType, SigningKey, SoftKey};
use crate::der::write;
use crate::issue::{CertificateBuilder, OcspBuilder, common_name};
use crate::oid;

fn now() -> UnixTime {
    UnixTime::parse_rfc3339("2026-06-01T00:00:00Z").unwrap()
}

struct World {
    ca: Certificate,
    key: SoftKey,
    leaf: Certificate,
}

fn world() -> World {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let ca = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key())
        .authority(None)
        .self_signed(&key)
        .unwrap();
    let leaf_key = SoftKey::generate(KeyType::P256).unwrap();
    let leaf = CertificateBuilder::new(common_name("Alice").unwrap(), leaf_key.public_key())
        .issued_by(&ca, &key)
        .unwrap();
    World { ca, key, leaf }
}

impl World {
    fn response(&self, status: CertStatus) -> OcspBuilder {
        let times = (now(), Some(now().plus(3600)));
        OcspBuilder::new(now()).answer(&self.leaf, self.ca.public_key(), status, times)
    }
}

#[test]
fn a_response_reads_as_it_was_made() {
    let world = world();
    let entry = RevokedEntry {
        date: now().plus(-9),
        reason: RevocationReason::KeyCompromise,
        invalidity_date: None,
    };
    for status in [
        CertStatus::Good,
        CertStatus::Unknown,
        CertStatus::Revoked(entry),
        CertStatus::Revoked(RevokedEntry {
            reason: RevocationReason::Unspecified,
            ..entry
        }),
    ] {
        for digest in [
            DigestAlgorithm::Sha1,
            DigestAlgorithm::Sha256,
            DigestAlgorithm::Sha512,
        ] {
            let times = (now(), None);
            let response = OcspBuilder::new(now().plus(1))
                .responder(Responder::Name(world.ca.subject().clone()))
                .digest(digest)
                .answer(&world.leaf, world.ca.public_key(), status, times)
                .nonce(&[7; 32])
                .certificate(&world.ca)
                .signed_by(&world.key)
                .unwrap();
            assert_eq!(response.produced_at(), now().plus(1));
            assert_eq!(response.nonce(), Some(&[7; 32][..]));
            assert_eq!(response.certificates(), std::slice::from_ref(&world.ca));
            assert!(response.is_by(world.ca.subject(), world.ca.public_key()));
            let mut answers = response.about(&world.leaf, world.ca.public_key());
            let answer = answers.next().unwrap();
            assert!(answers.next().is_none());
            assert_eq!(answer.status, status);
            assert_eq!((answer.this_update, answer.next_update), times);
            assert_eq!(response.verify_signature(world.ca.public_key()), Ok(()));
            // Of another certificate, or of the same number under another key, it says nothing.
            let other = (&world.ca, world.ca.public_key());
            let twin = (&world.leaf, world.leaf.public_key());
            for (certificate, key) in [other, twin] {
                assert_eq!(response.about(certificate, key).count(), 0);
            }
            assert!(response.verify_signature(world.leaf.public_key()).is_err());
        }
    }
}

#[test]
fn an_answer_of_another_question_is_none() {
    let world = world();
    let ask = |nonce| OcspRequest::new(&world.leaf, world.ca.public_key(), [nonce; NONCE_SIZE]);
    let answer = |builder: OcspBuilder| builder.signed_by(&world.key).unwrap();
    let plain = answer(world.response(CertStatus::Good));
    let with = answer(world.response(CertStatus::Good).nonce(&[1; NONCE_SIZE]));
    assert!(ask(1).is_answered_by(&plain));
    assert!(ask(1).is_answered_by(&with));
    assert!(!ask(2).is_answered_by(&with));
    let other = OcspRequest::new(&world.ca, world.ca.public_key(), [1; NONCE_SIZE]);
    assert!(!other.is_answered_by(&with));
}

#[test]
fn what_the_responder_refuses_is_told_in_its_word() {
    for (code, word) in [
        (1, "malformedRequest"),
        (2, "internalError"),
        (3, "tryLater"),
        (5, "sigRequired"),
        (6, "unauthorized"),
        (4, "does not have"),
        (99, "does not have"),
    ] {
        let refusal = write::seq(&[write::enumerated(code)]);
        match OcspResponse::from_der(&refusal) {
            Err(OcspError::NotSuccessful(said)) => assert!(said.contains(word), "{said}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    let odd = write::seq(&[write::oid(oid::ED25519), write::octet_string(b"")]);
    let odd = write::seq(&[write::enumerated(0), write::explicit(0, &odd)]);
    assert!(matches!(
        OcspResponse::from_der(&odd),
        Err(OcspError::UnknownType(_))
    ));
}

#[test]
fn malformed_responses_are_refused() {
    let world = world();
    let good = world
        .response(CertStatus::Good)
        .nonce(&[1; 32])
        .signed_by(&world.key)
        .unwrap();
    let der = good.der();
    for end in 0..der.len() {
        assert!(OcspResponse::from_der(&der[..end]).is_err(), "{end}");
    }
    let longer = [der, &[0]].concat();
    assert!(OcspResponse::from_der(&longer).is_err());
    // A success that says nothing.
    let empty = write::seq(&[write::enumerated(0)]);
    assert!(OcspResponse::from_der(&empty).is_err());
    // No bit can be changed unseen: it does not read, or the signature is bad.
    for at in 0..der.len() * 8 {
        let mut changed = der.to_vec();
        changed[at / 8] ^= 1 << (at % 8);
        if let Ok(read) = OcspResponse::from_der(&changed) {
            assert!(
                read.verify_signature(world.ca.public_key()).is_err(),
                "bit {at}"
            );
        }
    }
    let many = (0..1001).fold(OcspBuilder::new(now()), |builder, _| {
        builder.answer(
            &world.leaf,
            world.ca.public_key(),
            CertStatus::Good,
            (now(), None),
        )
    });
    let many = many.signed_der(&world.key).unwrap();
    assert_eq!(
        OcspResponse::from_der(&many),
        Err(OcspError::Malformed("too many answers"))
    );
    let crowd = (0..17).fold(world.response(CertStatus::Good), |builder, _| {
        builder.certificate(&world.ca)
    });
    let crowd = crowd.signed_der(&world.key).unwrap();
    assert_eq!(
        OcspResponse::from_der(&crowd),
        Err(OcspError::Malformed("too many certificates"))
    );
    let long = vec![0x30; (1 << 20) + 1];
    assert!(OcspResponse::from_der(&long).is_err());
}

#[test]
fn critical_extensions_are_seen() {
    let world = world();
    let odd = oid::ED448;
    let whole = world
        .response(CertStatus::Good)
        .extension(odd, true, b"x")
        .signed_by(&world.key)
        .unwrap();
    assert_eq!(whole.unknown_critical(), [odd.to_buf()]);
    for critical in [false, true] {
        let one = OcspBuilder::new(now())
            .answer_with(
                &world.leaf,
                world.ca.public_key(),
                CertStatus::Good,
                (now(), None),
                Some((odd, critical, b"x")),
            )
            .signed_by(&world.key)
            .unwrap();
        assert_eq!(one.answers()[0].not_understood, critical);
    }
}
