//! Signed attributes: present, once, with one value, in DER, and saying what is so (SIG-02, 07, 08, 09, 12).

use kenin_pki::crypto::{Aes, ContentKind, DigestAlgorithm, MlDsa, SignatureAlgorithm};
use kenin_pki::der::write;
use kenin_smime::{Check, Defect, Ess, Note, examine_cms};

use crate::forge::*;
use crate::{ENTITY, alice, assert_right, examine, is_right, mallory, reason, root, rsa, signer};

const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

fn with(attributes: &[Vec<u8>]) -> kenin_smime::Examined {
    shaped(SignerShape::new(alice(), SHA256, sorted(attributes)))
}

fn shaped(shape: SignerShape) -> kenin_smime::Examined {
    let certificates = [alice().certificate.der(), rsa().certificate.der()];
    examine(clear(
        ENTITY,
        &signed_data(None, &certificates, &[shape.write()]),
    ))
}

fn base() -> Vec<Vec<u8>> {
    attributes(ENTITY.as_bytes(), SHA256)
}

#[test]
fn the_plain_shape_is_right() {
    assert_right(&with(&base()));
}

#[test]
fn a_signer_without_attributes_is_computed_and_refused() {
    let examined = shaped(SignerShape::bare(alice(), SHA256, ENTITY.as_bytes()));
    assert_eq!(reason(&examined), Some(Defect::NoSignedAttributes));
    assert_eq!(
        (signer(&examined).content, signer(&examined).signature()),
        (Check::Ok, Check::Ok)
    );
    let other = shaped(SignerShape::bare(alice(), SHA256, b"other"));
    assert_eq!(reason(&other), Some(Defect::NoSignedAttributes));
    assert!(!signer(&other).content.is_ok() && !signer(&other).signature().is_ok());
}

/// SIG-02: the attributes of an old signature become the content of a new one without attributes.
#[test]
fn attributes_turned_into_content_are_refused() {
    let attributes = sorted(&base());
    let honest = SignerShape::new(alice(), SHA256, attributes.clone());
    let content = write::element(0x31, &attributes);
    let bare = SignerShape {
        attributes: None,
        ..honest
    };
    let object = signed_data(
        Some(&content),
        &[alice().certificate.der()],
        &[bare.write()],
    );
    let examined = examine(opaque("; smime-type=signed-data", &object));
    assert_eq!(reason(&examined), Some(Defect::NoSignedAttributes));
    // With attributes around it, it is refused as well.
    let object = signed_data(
        Some(&content),
        &[alice().certificate.der()],
        &[crate::forge::honest(alice(), &content)],
    );
    let examined = examine(opaque("; smime-type=signed-data", &object));
    assert_eq!(root(&examined).defect, Some(Defect::Malformed));
}

#[test]
fn missing_attributes_are_named() {
    for (kept, present) in [(0, CONTENT_TYPE), (1, MESSAGE_DIGEST)] {
        let examined = with(&base()[kept..=kept]);
        assert_eq!(
            reason(&examined),
            Some(Defect::AttributeMissing),
            "only {present}"
        );
    }
    let mut empty = base();
    empty[1] = attribute(MESSAGE_DIGEST, &[]);
    assert_eq!(reason(&with(&empty)), Some(Defect::AttributeMissing));
}

#[test]
fn repeated_attributes_and_values_are_refused() {
    let digest = write::octet_string(SHA256.digest(ENTITY.as_bytes()).as_ref());
    for extra in [
        attribute(MESSAGE_DIGEST, std::slice::from_ref(&digest)),
        attribute(MESSAGE_DIGEST, &[write::octet_string(&[1; 32])]),
        attribute(CONTENT_TYPE, &[write::oid(DATA)]),
    ] {
        let mut attributes = base();
        attributes.push(extra);
        assert_eq!(reason(&with(&attributes)), Some(Defect::AttributeDuplicate));
    }
    let mut two_values = base();
    two_values[1] = attribute(MESSAGE_DIGEST, &[digest, write::octet_string(&[1; 32])]);
    assert_eq!(reason(&with(&two_values)), Some(Defect::AttributeDuplicate));
    let mut times = base();
    let time = || {
        attribute(
            SIGNING_TIME,
            &[write::time(kenin_pki::UnixTime(1_000_000_000))],
        )
    };
    times.extend([time(), time()]);
    assert_eq!(reason(&with(&times)), Some(Defect::AttributeDuplicate));
}

#[test]
fn a_wrong_digest_and_a_wrong_type_are_told_apart() {
    let mut wrong = attributes(b"something else", SHA256);
    assert_eq!(reason(&with(&wrong)), Some(Defect::DigestMismatch));
    assert_eq!(signer(&with(&wrong)).signature(), Check::Ok);
    wrong = base();
    wrong[0] = attribute(CONTENT_TYPE, &[write::oid(SIGNED_DATA)]);
    assert_eq!(reason(&with(&wrong)), Some(Defect::ContentTypeMismatch));
    let mut unreadable = base();
    unreadable[0] = attribute(CONTENT_TYPE, &[write::octet_string(b"x")]);
    assert_eq!(reason(&with(&unreadable)), Some(Defect::AttributeMissing));
}

#[test]
fn attributes_that_are_not_der_are_refused() {
    // Unsorted.
    let mut reversed = base();
    reversed.sort();
    reversed.reverse();
    let examined = shaped(SignerShape::new(alice(), SHA256, reversed.concat()));
    assert_eq!(reason(&examined), Some(Defect::AttributesNotDer));
    // A length that is not minimal inside.
    let mut attributes = base();
    attributes.sort();
    let mut padded = attributes.concat();
    let length = padded[1];
    padded.splice(1..2, [0x81, length]);
    let examined = shaped(SignerShape::new(alice(), SHA256, padded));
    assert_eq!(reason(&examined), Some(Defect::AttributesNotDer));
    // Indefinite length outside: signed as DER, sent as BER.
    let mut shape = SignerShape::new(alice(), SHA256, sorted(&base()));
    let content = shape.attributes.take().unwrap();
    let mut written = shape.write();
    let at = written
        .windows(shape.digest.len())
        .position(|w| w == shape.digest)
        .unwrap();
    let mut ber = vec![0xa0, 0x80];
    ber.extend(&content);
    ber.extend([0, 0]);
    written.splice(
        at + shape.digest.len()..at + shape.digest.len(),
        ber.iter().copied(),
    );
    let body = written[if written[1] < 0x80 {
        2
    } else {
        1 + usize::from(written[1] - 0x7f)
    }..]
        .to_vec();
    let object = signed_data(
        None,
        &[alice().certificate.der()],
        &[write::element(0x30, &body)],
    );
    assert_eq!(
        reason(&examine(clear(ENTITY, &object))),
        Some(Defect::AttributesNotDer)
    );
}

#[test]
fn other_attributes_are_signed_and_not_looked_at() {
    let mut attributes = base();
    attributes.push(attribute(
        "1.2.840.113549.1.9.15",
        &[write::seq(&[write::null()])],
    ));
    attributes.push(attribute(
        SIGNING_TIME,
        &[write::time(kenin_pki::UnixTime(1_000_000_000))],
    ));
    let examined = with(&attributes);
    assert_right(&examined);
    assert_eq!(
        signer(&examined).signing_time,
        Some(kenin_pki::UnixTime(1_000_000_000))
    );
}

#[test]
fn an_unreadable_signing_time_is_a_note() {
    let mut attributes = base();
    attributes.push(attribute(SIGNING_TIME, &[write::element(0x17, b"991332")]));
    let examined = with(&attributes);
    assert_right(&examined);
    assert_eq!(signer(&examined).notes, [Note::SigningTimeOdd]);
}

#[test]
fn a_changed_attribute_breaks_the_signature() {
    let mut shape = SignerShape::new(alice(), SHA256, sorted(&base()));
    let mut attributes = base();
    attributes.push(attribute(
        SIGNING_TIME,
        &[write::time(kenin_pki::UnixTime(9))],
    ));
    shape.attributes = Some(sorted(&attributes));
    assert_eq!(reason(&shaped(shape)), Some(Defect::SignatureInvalid));
}

#[test]
fn algorithm_protection_has_to_agree() {
    let protection = |digest: DigestAlgorithm, algorithm: SignatureAlgorithm| {
        let algorithm = write::retag(0xa1, algorithm.to_identifier().to_der());
        let mut attributes = base();
        attributes.push(attribute(
            PROTECTION,
            &[write::seq(&[identifier(digest), algorithm])],
        ));
        with(&attributes)
    };
    assert_right(&protection(SHA256, SignatureAlgorithm::Ecdsa(SHA256)));
    let sha512 = DigestAlgorithm::Sha512;
    for examined in [
        protection(sha512, SignatureAlgorithm::Ecdsa(SHA256)),
        protection(SHA256, SignatureAlgorithm::Ecdsa(sha512)),
        protection(SHA256, SignatureAlgorithm::RsaPkcs1(SHA256)),
    ] {
        assert_eq!(reason(&examined), Some(Defect::AlgorithmMismatch));
    }
    let mut unreadable = base();
    unreadable.push(attribute(PROTECTION, &[write::null()]));
    assert_eq!(reason(&with(&unreadable)), Some(Defect::AlgorithmMismatch));
}

#[test]
fn digest_and_signature_algorithm_have_to_agree() {
    // Signed with SHA-512, digested with SHA-256 (RFC 8933).
    let attributes = sorted(&base());
    let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha512);
    let mut shape = SignerShape::new(rsa(), SHA256, attributes.clone());
    shape.algorithm = algorithm.to_identifier().to_der();
    shape.signature = kenin_pki::crypto::SigningKey::sign(
        &rsa().key,
        algorithm,
        &write::element(0x31, &attributes),
    )
    .unwrap();
    assert_eq!(reason(&shaped(shape)), Some(Defect::AlgorithmMismatch));
}

/// RFC 8419 §3.1.
#[test]
fn ed25519_goes_with_sha512_only() {
    let person = Person::new("edith", kenin_pki::crypto::KeyType::Ed25519);
    for (digest, defect) in [
        (DigestAlgorithm::Sha512, None),
        (SHA256, Some(Defect::AlgorithmMismatch)),
    ] {
        let attributes = sorted(&attributes(ENTITY.as_bytes(), digest));
        let shape = SignerShape::new(&person, digest, attributes);
        let object = signed_data(None, &[person.certificate.der()], &[shape.write()]);
        assert_eq!(reason(&examine(clear(ENTITY, &object))), defect);
    }
}

/// RFC 9882 §3.3: a digest that is no weaker than the signature.
#[test]
fn ml_dsa_goes_with_digests_of_its_strength_only() {
    for (set, weakest) in [
        (MlDsa::Dsa44, SHA256),
        (MlDsa::Dsa65, DigestAlgorithm::Sha384),
        (MlDsa::Dsa87, DigestAlgorithm::Sha512),
    ] {
        let person = Person::new("edith", kenin_pki::crypto::KeyType::MlDsa(set));
        let order = [SHA256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512];
        for digest in order {
            let attributes = sorted(&attributes(ENTITY.as_bytes(), digest));
            let shape = SignerShape::new(&person, digest, attributes);
            let object = signed_data(None, &[person.certificate.der()], &[shape.write()]);
            let examined = examine(clear(ENTITY, &object));
            let weak = digest.size() < weakest.size();
            let expected = weak.then_some(Defect::AlgorithmMismatch);
            assert_eq!(reason(&examined), expected, "{set:?} {digest:?}");
            assert_eq!(
                signer(&examined).algorithm,
                Some(SignatureAlgorithm::MlDsa(set))
            );
        }
    }
}

#[test]
fn ess_names_the_certificate() {
    let ess = |oid: &str, certs: Vec<u8>| {
        let mut attributes = base();
        attributes.push(attribute(oid, &[write::seq(&[write::seq(&[certs])])]));
        with(&attributes)
    };
    let own = alice().certificate.sha256().to_vec();
    let sha1 = DigestAlgorithm::Sha1.digest(alice().certificate.der());
    let named = ess(ESS_V2, write::seq(&[write::octet_string(&own)]));
    assert_right(&named);
    assert_eq!(signer(&named).ess, Ess::Matched);
    assert_eq!(signer(&named).candidates[0].ess, Check::Ok);
    assert_right(&ess(
        ESS_V1,
        write::seq(&[write::octet_string(sha1.as_ref())]),
    ));
    let sha512 = DigestAlgorithm::Sha512;
    let long = sha512.digest(alice().certificate.der());
    assert_right(&ess(
        ESS_V2,
        write::seq(&[identifier(sha512), write::octet_string(long.as_ref())]),
    ));

    let other = ess(
        ESS_V2,
        write::seq(&[write::octet_string(mallory().certificate.sha256())]),
    );
    assert_eq!(reason(&other), Some(Defect::EssMismatch));
    assert_eq!(signer(&other).signature(), Check::Ok);
    assert!(signer(&other).verified().is_none());
    let serial = |serial: i64| {
        let names = write::seq(&[write::element(0xa4, alice().certificate.issuer().der())]);
        let issuer_serial = write::seq(&[names, write::integer(serial)]);
        ess(
            ESS_V2,
            write::seq(&[write::octet_string(&own), issuer_serial]),
        )
    };
    assert_right(&serial(7));
    assert_eq!(reason(&serial(8)), Some(Defect::EssMismatch));
    let issuer = |names: &[Vec<u8>]| {
        let issuer_serial = write::seq(&[write::seq(names), write::integer(7)]);
        ess(
            ESS_V2,
            write::seq(&[write::octet_string(&own), issuer_serial]),
        )
    };
    let own_name = write::element(0xa4, alice().certificate.issuer().der());
    let other_name = write::element(0xa4, mallory().certificate.issuer().der());
    assert_right(&issuer(std::slice::from_ref(&own_name)));
    for names in [vec![other_name.clone()], vec![own_name, other_name], vec![]] {
        assert_eq!(reason(&issuer(&names)), Some(Defect::EssMismatch));
    }
    let unreadable = ess(ESS_V2, write::null());
    assert_eq!(reason(&unreadable), Some(Defect::EssMismatch));
    assert_eq!(signer(&unreadable).ess, Ess::Unreadable);
}

/// SIG-12: another certificate for the same key.
#[test]
fn every_certificate_that_matches_is_a_candidate_and_ess_decides() {
    let twin = certificate("alice", &alice().key, 7);
    assert_ne!(
        twin.der(),
        alice().certificate.der(),
        "ECDSA signatures differ each time"
    );
    let bag = [twin.der(), alice().certificate.der()];
    let plain = signed_data(None, &bag, &[honest(alice(), ENTITY.as_bytes())]);
    let examined = examine(clear(ENTITY, &plain));
    assert_right(&examined);
    assert_eq!(signer(&examined).candidates.len(), 2);
    assert!(
        signer(&examined)
            .candidates
            .iter()
            .all(|candidate| candidate.signature.is_ok())
    );

    let mut named = base();
    let hash = write::seq(&[write::octet_string(alice().certificate.sha256())]);
    named.push(attribute(ESS_V2, &[write::seq(&[write::seq(&[hash])])]));
    let shape = SignerShape::new(alice(), SHA256, sorted(&named));
    let examined = examine(clear(ENTITY, &signed_data(None, &bag, &[shape.write()])));
    assert_right(&examined);
    let allowed: Vec<_> = signer(&examined)
        .candidates
        .iter()
        .map(|c| c.ess.is_ok())
        .collect();
    assert_eq!(allowed, [false, true]);
    // Only the substitute is sent.
    let object = signed_data(None, &[twin.der()], &[shape.write()]);
    assert_eq!(
        reason(&examine(clear(ENTITY, &object))),
        Some(Defect::EssMismatch)
    );
}

/// SIG-11: nothing unsigned changes anything.
#[test]
fn unsigned_attributes_influence_nothing() {
    let mut shape = SignerShape::new(alice(), SHA256, sorted(&base()));
    let without = shaped(SignerShape::new(alice(), SHA256, sorted(&base())));
    shape.unsigned = Some(sorted(&[
        attribute(COUNTERSIGNATURE, &[honest(mallory(), b"x")]),
        attribute(SIGNING_TIME, &[write::time(kenin_pki::UnixTime(1))]),
        attribute(MESSAGE_DIGEST, &[write::octet_string(b"x")]),
    ]));
    let with = shaped(shape);
    assert_right(&with);
    assert_eq!(root(&with).signers.len(), 1);
    assert_eq!(signer(&with).signing_time, signer(&without).signing_time);
    assert_eq!(
        signer(&with).candidates.len(),
        signer(&without).candidates.len()
    );
}

#[test]
fn broken_and_unknown_algorithms_are_told_apart() {
    let md5 = write::seq(&[write::oid("1.2.840.113549.2.5"), write::null()]);
    let md2 = write::seq(&[write::oid("1.2.840.113549.2.2"), write::null()]);
    let unknown = write::seq(&[write::oid("1.2.3.4"), write::null()]);
    let make = |digest: Option<Vec<u8>>, algorithm: Option<Vec<u8>>| {
        let mut shape = SignerShape::new(rsa(), SHA256, sorted(&base()));
        shape.algorithm = algorithm.unwrap_or(write::seq(&[
            write::oid("1.2.840.113549.1.1.1"),
            write::null(),
        ]));
        shape.digest = digest.unwrap_or(shape.digest);
        shaped(shape)
    };
    assert_right(&make(None, None));
    assert_eq!(
        reason(&make(Some(md5.clone()), None)),
        Some(Defect::WeakDigest)
    );
    assert_eq!(reason(&make(Some(md2), None)), Some(Defect::WeakDigest));
    let md5_rsa = write::seq(&[write::oid("1.2.840.113549.1.1.4"), write::null()]);
    assert_eq!(
        reason(&make(Some(md5), Some(md5_rsa.clone()))),
        Some(Defect::WeakDigest)
    );
    assert!(!is_right(&make(None, Some(md5_rsa))));
    assert_eq!(
        reason(&make(Some(unknown.clone()), None)),
        Some(Defect::UnsupportedAlgorithm)
    );
    let examined = make(None, Some(unknown));
    assert_eq!(reason(&examined), Some(Defect::UnsupportedAlgorithm));
    assert_eq!(signer(&examined).content, Check::Ok);
    assert_eq!(signer(&examined).algorithm_oid, "1.2.3.4");
    // A wrong content is the worse news.
    let mut shape = SignerShape::new(rsa(), SHA256, sorted(&attributes(b"x", SHA256)));
    shape.algorithm = write::seq(&[write::oid("1.2.3.4")]);
    assert_eq!(reason(&shaped(shape)), Some(Defect::DigestMismatch));
}

#[test]
fn a_detached_content_with_lone_line_feeds_is_its_canonical_form() {
    let object = signed_data(
        None,
        &[alice().certificate.der()],
        &[honest(alice(), b"a\r\nb\r\n")],
    );
    for content in [&b"a\r\nb\r\n"[..], b"a\nb\n", b"a\nb\r\n"] {
        let examined = examine_cms(&object, Some(content), &Default::default(), &[]);
        assert_right(&examined);
    }
    let binary = signed_data(
        None,
        &[alice().certificate.der()],
        &[honest(alice(), b"a\nb\n")],
    );
    assert_right(&examine_cms(
        &binary,
        Some(b"a\nb\n"),
        &Default::default(),
        &[],
    ));
    assert!(!is_right(&examine_cms(
        &binary,
        Some(b"a\nc\n"),
        &Default::default(),
        &[]
    )));
}

#[test]
fn capabilities_are_read_as_far_as_they_are_known_and_decide_nothing() {
    let capability =
        |oid: &str, parameters: &[u8]| write::seq(&[write::oid(oid), parameters.to_vec()]);
    let sender = write::seq(&[
        capability("2.16.840.1.101.3.4.1.42", &[]),
        capability("1.2.840.113549.3.7", &[]),
        capability("1.2.840.113549.3.2", &write::integer(128)),
        capability("2.16.840.1.101.3.4.1.46", &write::null()),
        capability("2.16.840.1.101.3.4.1.42", &[]),
        capability("1.2.840.113549.1.1.7", &[]),
    ]);
    let of = |values: &[Vec<u8>]| {
        let mut all = base();
        all.push(attribute("1.2.840.113549.1.9.15", values));
        let examined = with(&all);
        assert_right(&examined);
        signer(&examined).capabilities.clone()
    };
    let read = of(std::slice::from_ref(&sender)).unwrap();
    let ciphers = [
        ContentKind::AesCbc(Aes::Bits256),
        ContentKind::AesGcm(Aes::Bits256),
    ];
    assert_eq!(read.ciphers, ciphers);
    assert!(read.oaep);
    assert_eq!(of(&[write::seq::<Vec<u8>>(&[])]).unwrap().ciphers, []);
    for unreadable in [
        vec![],
        vec![write::null()],
        vec![write::seq(&[write::null()])],
        vec![sender.clone(), write::null()],
    ] {
        assert_eq!(of(&unreadable), None);
    }
}
