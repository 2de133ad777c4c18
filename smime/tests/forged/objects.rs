//! CMS objects: contents, signers, certificates, labels, BER (SIG-01, 04, 05, 06).

use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::der::write;
use kenin_smime::{Check, Defect, Examined, LayerKind, Limits, Note, examine_cms};

use crate::forge::*;
use crate::{ENTITY, alice, assert_right, examine, is_right, mallory, reason, root, signer};

fn signed(content: Option<&str>) -> Vec<u8> {
    let signer = honest(alice(), content.unwrap_or(ENTITY).as_bytes());
    signed_data(
        content.map(str::as_bytes),
        &[alice().certificate.der()],
        &[signer],
    )
}

#[test]
fn two_contents_are_refused_even_when_equal() {
    let other = "Content-Type: text/plain\r\n\r\nPay Mallory 1000 yen.\r\n";
    for text in [ENTITY, other] {
        let examined = examine(clear(text, &signed(Some(ENTITY))));
        assert_eq!(reason(&examined), Some(Defect::TwoContents));
        assert_eq!(
            signer(&examined).content,
            Check::Failed(Defect::TwoContents)
        );
        assert_eq!(signer(&examined).signature(), Check::Ok);
    }
    let empty = signed_data(
        Some(b""),
        &[alice().certificate.der()],
        &[honest(alice(), ENTITY.as_bytes())],
    );
    assert_eq!(
        reason(&examine(clear(ENTITY, &empty))),
        Some(Defect::TwoContents)
    );
}

#[test]
fn an_opaque_object_without_its_content_is_malformed() {
    let examined = examine(opaque("; smime-type=signed-data", &signed(None)));
    assert_eq!(reason(&examined), Some(Defect::Malformed));
    assert!(!signer(&examined).content.is_ok());
}

#[test]
fn no_signer_is_no_signature() {
    let bag = [alice().certificate.der()];
    for (content, certificates) in [
        (None, &bag[..]),
        (None, &[]),
        (Some(ENTITY.as_bytes()), &bag[..]),
        (Some(ENTITY.as_bytes()), &[]),
    ] {
        let object = signed_data(content, certificates, &[]);
        let examined = examine(opaque("; smime-type=signed-data", &object));
        assert_eq!(reason(&examined), Some(Defect::NoSigners), "{content:?}");
        assert!(root(&examined).notes.contains(&Note::TypeMismatch));
        let examined = examine(clear(ENTITY, &object));
        assert_eq!(reason(&examined), Some(Defect::NoSigners), "{content:?}");
    }
}

#[test]
fn certificates_only_is_no_signature_and_labels_do_not_decide() {
    let certs = signed_data(None, &[alice().certificate.der()], &[]);
    for label in ["; smime-type=certs-only", "", "; smime-type=enveloped-data"] {
        let examined = examine(opaque(label, &certs));
        assert!(examined.signatures.is_empty(), "{label}");
        assert_eq!(examined.layers[0].kind, LayerKind::CertsOnly);
        assert_eq!(
            examined.notes.contains(&Note::TypeMismatch),
            label.contains("enveloped")
        );
    }
    // A content without signers is no list of certificates, whatever the label says.
    let lie = signed_data(Some(ENTITY.as_bytes()), &[alice().certificate.der()], &[]);
    for label in ["; smime-type=certs-only", ""] {
        assert_eq!(
            reason(&examine(opaque(label, &lie))),
            Some(Defect::NoSigners)
        );
    }
    let examined = examine(opaque("; smime-type=enveloped-data", &signed(Some(ENTITY))));
    assert_right(&examined);
    assert_eq!(root(&examined).notes, [Note::TypeMismatch]);
    // Who believes this label shows nothing of the content.
    let examined = examine(opaque("; smime-type=certs-only", &signed(Some(ENTITY))));
    assert_eq!(reason(&examined), Some(Defect::NoSigners));
    assert_eq!(root(&examined).notes, [Note::TypeMismatch]);
    assert!(
        root(&examine(opaque("", &signed(Some(ENTITY)))))
            .notes
            .is_empty()
    );
}

#[test]
fn each_signer_has_its_own_facts_in_order() {
    let good = honest(mallory(), ENTITY.as_bytes());
    let bad = honest(alice(), b"something else");
    let bag = [alice().certificate.der(), mallory().certificate.der()];
    for (signers, wrong) in [([bad.clone(), good.clone()], 0), ([good, bad], 1)] {
        let examined = examine(clear(ENTITY, &signed_data(None, &bag, &signers)));
        assert!(!is_right(&examined));
        let facts = &root(&examined).signers;
        assert_eq!(facts[wrong].defect, Some(Defect::DigestMismatch));
        assert_eq!(facts[1 - wrong].defect, None);
    }
}

#[test]
fn the_signers_certificate_may_come_from_elsewhere_or_be_missing() {
    let object = signed_data(None, &[], &[honest(alice(), ENTITY.as_bytes())]);
    let raw = clear(ENTITY, &object);
    assert_eq!(
        reason(&examine(&raw)),
        Some(Defect::SignerCertificateMissing)
    );
    assert_eq!(signer(&examine(&raw)).content, Check::Ok);
    let known = [mallory().certificate.clone(), alice().certificate.clone()];
    let examined = kenin_smime::examine(raw.as_bytes(), &Limits::default(), &known);
    assert_right(&examined);
    assert_eq!(signer(&examined).candidates.len(), 1);
    assert!(root(&examined).certificates.is_empty());
}

#[test]
fn a_signer_may_be_named_by_its_key_identifier() {
    let id = alice()
        .certificate
        .subject_key_id()
        .unwrap()
        .unwrap()
        .to_vec();
    let digest = DigestAlgorithm::Sha256;
    let mut shape = SignerShape::new(
        alice(),
        digest,
        sorted(&attributes(ENTITY.as_bytes(), digest)),
    );
    shape.sid = write::implicit(0, &id);
    let bag = [mallory().certificate.der(), alice().certificate.der()];
    let examined = examine(clear(ENTITY, &signed_data(None, &bag, &[shape.write()])));
    assert_right(&examined);
    assert_eq!(signer(&examined).candidates.len(), 1);
}

#[test]
fn a_key_that_did_not_sign_is_a_wrong_signature() {
    let digest = DigestAlgorithm::Sha256;
    let mut shape = SignerShape::new(
        mallory(),
        digest,
        sorted(&attributes(ENTITY.as_bytes(), digest)),
    );
    shape.sid = sid(&alice().certificate);
    let object = signed_data(None, &[alice().certificate.der()], &[shape.write()]);
    assert_eq!(
        reason(&examine(clear(ENTITY, &object))),
        Some(Defect::SignatureInvalid)
    );
}

#[test]
fn other_things_among_the_certificates_are_passed_over() {
    let broken = write::seq(&[write::integer(1)]);
    let other = write::element(0xa3, &write::oid("1.2.3"));
    let bag = [
        broken.as_slice(),
        other.as_slice(),
        alice().certificate.der(),
    ];
    let object = signed_data(None, &bag, &[honest(alice(), ENTITY.as_bytes())]);
    let examined = examine(clear(ENTITY, &object));
    assert_right(&examined);
    assert_eq!(root(&examined).notes, [Note::CertificateSkipped]);
    assert_eq!(root(&examined).certificates.len(), 1);
    // The signer's own certificate, unreadable.
    let mut own = alice().certificate.der().to_vec();
    let at = own
        .windows(3)
        .position(|window| window == [0x02, 0x01, 0x02])
        .unwrap();
    own[at - 2] = 0xa1;
    let object = signed_data(None, &[&own], &[honest(alice(), ENTITY.as_bytes())]);
    assert_eq!(
        reason(&examine(clear(ENTITY, &object))),
        Some(Defect::Malformed)
    );
}

#[test]
fn structures_with_something_wrong_are_malformed() {
    let good = signed(None);
    let malformed = |object: &[u8]| {
        let examined = examine(clear(ENTITY, object));
        assert_eq!(reason(&examined), Some(Defect::Malformed));
    };
    malformed(b"");
    malformed(b"not CMS at all");
    malformed(&good[..good.len() - 10]);
    malformed(&write::seq(&[write::oid(SIGNED_DATA)]));
    malformed(&content_info(SIGNED_DATA, &write::null()));
    malformed(&content_info(
        "1.2.840.113549.1.7.3",
        &write::seq(&[write::integer(0)]),
    ));
    let broken = signed_data(None, &[], &[write::seq(&[write::integer(1)])]);
    malformed(&broken);
    let doubled = [write::oid(DATA), write::explicit(0, &write::integer(5))];
    let parts = [
        write::integer(1),
        write::element(0x31, &[]),
        write::seq(&doubled),
        write::element(0x31, &[]),
    ];
    malformed(&content_info(SIGNED_DATA, &write::seq(&parts)));
    // Digest algorithms that are none.
    let algorithms = write::set_of(&[identifier(DigestAlgorithm::Sha256)]);
    let at = memchr::memmem::find(&good, &algorithms).unwrap();
    let mut wrong = good.clone();
    wrong[at + 2] = 0x31;
    malformed(&wrong);
}

/// Turns every constructed element into one of indefinite length, and every content into chunks.
fn to_ber(object: &[u8]) -> Vec<u8> {
    fn element(bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let (header, length) = match bytes[1] {
            length if length < 0x80 => (2, usize::from(length)),
            form => {
                let octets = usize::from(form - 0x80);
                let length = bytes[2..2 + octets]
                    .iter()
                    .fold(0, |sum, b| sum << 8 | usize::from(*b));
                (2 + octets, length)
            }
        };
        let content = &bytes[header..header + length];
        // Signed attributes, certificates and signer identifiers stay DER.
        let identifier =
            bytes[0] == 0x30 && content.len() > 3 && content[0] == 0x30 && content[2] == 0x31;
        let certificates =
            bytes[0] == 0xa0 && content.len() > 300 && content[0] == 0x30 && content[4] == 0x30;
        let signed_attributes = bytes[0] == 0xa0
            && content
                .windows(5)
                .any(|w| w == [0x2a, 0x86, 0x48, 0x86, 0xf7])
            && content[0] == 0x30
            && content.len() < 300;
        if bytes[0] & 0x20 == 0 || certificates || signed_attributes || identifier {
            out.extend(&bytes[..header + length]);
            return header + length;
        }
        out.extend([bytes[0], 0x80]);
        let mut at = 0;
        while at < content.len() {
            at += element(&content[at..], out);
        }
        out.extend([0, 0]);
        header + length
    }
    let mut out = Vec::new();
    element(object, &mut out);
    out
}

#[test]
fn indefinite_lengths_chunks_and_padding_are_read() {
    let ber = to_ber(&signed(None));
    assert_ne!(ber, signed(None));
    assert_right(&examine(clear(ENTITY, &ber)));
    for tail in [&b"\0\0"[..], b"\r\n", b"\0\0\0\0\r\n\r\n", b" "] {
        let padded = [ber.as_slice(), tail].concat();
        let examined = examine(clear(ENTITY, &padded));
        assert_right(&examined);
        assert!(root(&examined).notes.is_empty());
    }
    let examined = examine(clear(ENTITY, &[&*ber, b"junk"].concat()));
    assert_right(&examined);
    assert_eq!(root(&examined).notes, [Note::TrailingBytes]);
    assert!(!is_right(&examine(clear(ENTITY, &ber[..ber.len() - 4]))));
    // A length in more octets than needed.
    let good = signed(None);
    assert_eq!(good[1], 0x82);
    let long = [&[0x30, 0x84, 0, 0], &good[2..]].concat();
    assert_right(&examine(clear(ENTITY, &long)));
}

#[test]
fn every_kind_of_object_is_recognised_and_labels_are_compared() {
    let kinds = [
        (
            "1.2.840.113549.1.9.16.1.9",
            LayerKind::Compressed,
            Some(Defect::UnsupportedLayer),
        ),
        (
            "1.2.840.113549.1.7.5",
            LayerKind::Digested,
            Some(Defect::UnsupportedLayer),
        ),
        (
            "1.2.840.113549.1.9.16.1.2",
            LayerKind::Authenticated,
            Some(Defect::UnsupportedLayer),
        ),
        ("1.2.3.4", LayerKind::Other, Some(Defect::UnsupportedLayer)),
        (
            "1.2.840.113549.1.7.3",
            LayerKind::Enveloped,
            Some(Defect::Malformed),
        ),
    ];
    for (oid, kind, defect) in kinds {
        let examined = examine(opaque(
            "; smime-type=signed-data",
            &content_info(oid, &write::seq::<&[u8]>(&[])),
        ));
        assert_eq!(
            (examined.layers[0].kind, examined.layers[0].defect),
            (kind, defect)
        );
        assert!(examined.layers[0].root && examined.signatures.is_empty());
        assert_eq!(examined.notes, [Note::TypeMismatch], "{oid}");
    }
    let info = write::seq(&[
        write::oid(DATA),
        write::seq(&[write::oid("2.16.840.1.101.3.4.1.46")]),
    ]);
    let recipients = write::element(0x31, &write::seq::<&[u8]>(&[]).repeat(3));
    let enveloped = write::seq(&[write::integer(0), recipients, info]);
    let examined = examine(opaque(
        "",
        &content_info("1.2.840.113549.1.9.16.1.23", &enveloped),
    ));
    let layer = &examined.encryption[0];
    assert_eq!(
        (layer.kind, layer.recipients, layer.defect),
        (LayerKind::AuthEnveloped, 3, None)
    );
    assert_eq!(
        layer.algorithm_oid.as_deref(),
        Some("2.16.840.1.101.3.4.1.46")
    );
}

fn bare(object: &[u8], content: Option<&[u8]>) -> Examined {
    examine_cms(object, content, &Limits::default(), &[])
}

#[test]
fn bare_objects_are_read_in_der_ber_and_pem() {
    let opaque = signed(Some(ENTITY));
    assert_right(&bare(&opaque, None));
    assert_right(&bare(&to_ber(&opaque), None));
    for label in ["CMS", "PKCS7"] {
        let pem = kenin_pki::pem::encode(label, &opaque);
        assert_right(&bare(pem.as_bytes(), None));
    }
    assert_right(&bare(&signed(None), Some(ENTITY.as_bytes())));
    assert_eq!(reason(&bare(&signed(None), None)), Some(Defect::Malformed));
    assert_eq!(
        reason(&bare(&opaque, Some(ENTITY.as_bytes()))),
        Some(Defect::TwoContents)
    );
    for junk in [
        &b""[..],
        b"junk",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(reason(&bare(junk, None)), Some(Defect::Malformed));
    }
}

/// A token of another protocol is no signed mail, however its content reads.
#[test]
fn what_was_not_signed_as_mail_is_not_mail() {
    const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
    let digest = DigestAlgorithm::Sha256;
    let mut attributes = attributes(ENTITY.as_bytes(), digest);
    attributes[0] = attribute(CONTENT_TYPE, &[write::oid(TST_INFO)]);
    let signer = SignerShape::new(alice(), digest, sorted(&attributes)).write();
    let object = |content: bool| {
        let mut encapsulated = vec![write::oid(TST_INFO)];
        encapsulated
            .extend(content.then(|| write::explicit(0, &write::octet_string(ENTITY.as_bytes()))));
        let signed = write::seq(&[
            write::integer(3),
            write::set_of(&[identifier(digest)]),
            write::seq(&encapsulated),
            write::element(0xa0, alice().certificate.der()),
            write::element(0x31, &signer),
        ]);
        content_info(SIGNED_DATA, &signed)
    };
    for mail in [
        clear(ENTITY, &object(false)),
        opaque("; smime-type=signed-data", &object(true)),
    ] {
        let examined = examine(mail);
        assert_eq!(reason(&examined), Some(Defect::ContentTypeMismatch));
    }
    // As a file it is what it is.
    assert_right(&bare(&object(true), None));
}
