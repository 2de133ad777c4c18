//! What stands in objects of other programs, and not in ours.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::crypto::ContentCipher;
use kenin_pki::der::write;
use kenin_pki::oid;

use super::*;
use crate::testing::{everybody, in_ber, rita};

const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
const DATA: &str = "1.2.840.113549.1.7.1";

fn attribute(oid: &str, value: &[u8]) -> Vec<u8> {
    write::seq(&[write::oid(oid), write::set_of(&[value])])
}

/// An AuthEnvelopedData for Rita with these attributes under its tag, as they are written.
fn with_attributes(attributes: &[u8], covered: &[u8]) -> Vec<u8> {
    let (cipher, key) = ContentCipher::fresh(GCM).unwrap();
    let mut shape = Shape::by_key(vec![transported(&key)], &cipher, &key, (ENTITY, covered));
    shape.rest.insert(0, attributes.to_vec());
    shape.write()
}

/// A KeyTransRecipientInfo for Rita.
fn transported(key: &Secret) -> Vec<u8> {
    use kenin_pki::crypto::{Wrapped, Wrapping};
    let public = rita().certificate.public_key();
    let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, public, key).unwrap();
    write::seq(&[
        write::integer(0),
        write::seq(&[
            rita().certificate.issuer().der().to_vec(),
            write::element(2, rita().certificate.serial()),
        ]),
        wrapped.wrapping.to_key_transport().unwrap().to_der(),
        write::octet_string(&wrapped.encrypted_key),
    ])
}

fn opened_by_rita(object: &[u8]) -> Option<Vec<u8>> {
    let opened = rita().open(&layer_of(&mail(object))?).ok()?;
    Some(opened.entity)
}

#[test]
fn authenticated_attributes_are_under_the_tag_as_a_set() {
    let typed = attribute(CONTENT_TYPE, &write::oid(DATA));
    let time = attribute(
        SIGNING_TIME,
        &write::time(kenin_pki::UnixTime(1_700_000_000)),
    );
    let content = write::set_of_content(&[typed.clone(), time.clone()]);
    let (own_tag, set) = (
        write::element(0xa1, &content),
        write::element(0x31, &content),
    );
    assert_eq!(
        opened_by_rita(&with_attributes(&own_tag, &set)).as_deref(),
        Some(ENTITY)
    );
    // Under their own tag, not at all, or others.
    assert_eq!(opened_by_rita(&with_attributes(&own_tag, &own_tag)), None);
    assert_eq!(opened_by_rita(&with_attributes(&own_tag, &[])), None);
    let one = write::element(0xa1, &typed);
    assert_eq!(opened_by_rita(&with_attributes(&one, &set)), None);
    // Not in DER, twice, of another type, none at all.
    let as_they_are = |content: &[u8]| {
        let object = with_attributes(
            &write::element(0xa1, content),
            &write::element(0x31, content),
        );
        layer_of(&mail(&object)).is_some()
    };
    assert!(as_they_are(&content) && as_they_are(&typed) && as_they_are(&time));
    let sorted = write::set_of_content(&[typed.clone(), time.clone()]);
    let unsorted = match sorted.starts_with(&typed) {
        true => [time.clone(), typed.clone()].concat(),
        false => [typed.clone(), time].concat(),
    };
    assert!(!as_they_are(&unsorted));
    assert!(!as_they_are(&typed.repeat(2)));
    assert!(!as_they_are(&attribute(
        CONTENT_TYPE,
        &write::oid("1.2.840.113549.1.7.2")
    )));
    assert!(!as_they_are(&[]));
    let indefinite = [&[0xa1, 0x80][..], &typed, &[0, 0]].concat();
    let object = with_attributes(&indefinite, &write::element(0x31, &typed));
    assert!(layer_of(&mail(&object)).is_none());
}

/// RFC 9709: the content is opened by a key that is made of the one that was wrapped.
#[test]
fn a_derived_key_opens_what_says_so_and_nothing_else() {
    for kind in [GCM, CBC] {
        let (cipher, key) = ContentCipher::fresh(kind).unwrap();
        let inner = cipher.to_identifier();
        let derived = ContentCipher::derive_key(&key, &inner).unwrap();
        let mut shape = Shape::by_key(vec![transported(&key)], &cipher, &derived, (ENTITY, &[]));
        assert_ne!(opened_by_rita(&shape.write()).as_deref(), Some(ENTITY));
        let outer = AlgorithmIdentifier::new(oid::CEK_HKDF_SHA256, Some(&inner.to_der()));
        shape.algorithm = outer.to_der();
        assert_eq!(opened_by_rita(&shape.write()).as_deref(), Some(ENTITY));
        assert_eq!(opened_by_rita(&shape.streamed(5)).as_deref(), Some(ENTITY));
        // Not twice, and not around nothing.
        let twice = AlgorithmIdentifier::new(oid::CEK_HKDF_SHA256, Some(&outer.to_der()));
        for wrong in [twice, AlgorithmIdentifier::new(oid::CEK_HKDF_SHA256, None)] {
            shape.algorithm = wrong.to_der();
            assert!(layer_of(&mail(&shape.write())).is_none());
        }
    }
}

/// RFC 5652 §1: parameters and names too, which have to be DER nowhere but under a signature or a tag.
#[test]
fn an_object_that_is_ber_throughout_is_opened() {
    for person in everybody() {
        for cipher in [GCM, CBC] {
            let object = in_ber(&shape_for(person, cipher, ENTITY).write());
            let layer = layer_of(&mail(&object)).unwrap();
            assert_eq!(person.open(&layer).unwrap().entity, ENTITY);
        }
    }
}

#[test]
fn recipients_of_other_kinds_are_passed_over() {
    let kekri = write::element(
        0xa2,
        &[
            write::integer(4),
            write::seq(&[write::octet_string(b"id")]),
            write::seq(&[write::oid(oid::AES128_WRAP)]),
            write::octet_string(&[0; 24]),
        ]
        .concat(),
    );
    let pwri = write::element(
        0xa3,
        &[
            write::integer(0),
            write::seq(&[write::oid("1.2.840.113549.1.9.16.3.9")]),
            write::octet_string(&[0; 32]),
        ]
        .concat(),
    );
    let unknown = write::element(
        0xa4,
        &[write::oid("1.3.6.1.4.1.99999.1"), write::null()].concat(),
    );
    let mut shape = shape(GCM);
    let own = shape.recipients[0].clone();
    shape.recipients = vec![kekri.clone(), pwri, own, unknown, write::element(0xa9, &[])];
    let layer = layer_of(&mail(&shape.write())).unwrap();
    assert_eq!(layer.recipients().len(), 1);
    assert_eq!(bob().open(&layer).unwrap().entity, ENTITY);
    // They are recipients all the same.
    shape.recipients = vec![kekri; 5001];
    assert!(layer_of(&mail(&shape.write())).is_none());
}

#[test]
fn an_unknown_way_of_wrapping_leaves_the_other_recipients_alone() {
    let mut shape = shape(GCM);
    let own = shape.recipients[0].clone();
    let (_, key) = ContentCipher::fresh(GCM).unwrap();
    let known = transported(&key);
    let at = memchr::memmem::find(&known, oid::RSA_ENCRYPTION.content()).unwrap();
    let mut unknown = known.clone();
    unknown[at + 8] = 99;
    shape.recipients = vec![own, unknown];
    let layer = layer_of(&mail(&shape.write())).unwrap();
    assert_eq!(layer.recipients()[1].wrapped, None);
    let both = [rita().certificate.clone(), bob().certificate.clone()];
    assert_eq!(layer.match_certificates(&both).len(), 1);
    assert!(bob().open(&layer).is_ok());
    // One that is no RecipientInfo is another matter.
    shape.recipients.push(write::seq(&[write::integer(0)]));
    assert!(layer_of(&mail(&shape.write())).is_none());
}

#[test]
fn certificates_of_the_sender_and_unprotected_attributes_are_passed_over() {
    for kind in [GCM, CBC] {
        let mut shape = shape(kind);
        let attributes = write::element(
            if kind == GCM { 0xa2 } else { 0xa1 },
            &attribute(SIGNING_TIME, &write::null()),
        );
        shape.rest.push(attributes);
        assert_eq!(opened(&shape.write()).as_deref(), Some(ENTITY));
        let originator = write::element(0xa0, &write::element(0xa0, &[]));
        shape.version = [shape.version, originator].concat();
        assert_eq!(opened(&shape.write()).as_deref(), Some(ENTITY));
        shape.rest.push(write::null());
        assert_eq!(opened(&shape.write()), None);
    }
}

#[test]
fn what_is_no_mail_inside_or_has_no_content_is_no_layer() {
    for kind in [GCM, CBC] {
        let shape = shape(kind);
        let signed = Shape {
            content_type: write::oid("1.2.840.113549.1.7.2"),
            ..shape.clone()
        };
        assert!(layer_of(&mail(&signed.write())).is_none());
        assert!(layer_of(&mail(&shape.write_with(&[]))).is_none());
        let text = write::element(0xa0, &write::utf8_string("no octets"));
        assert!(layer_of(&mail(&shape.write_with(&text))).is_none());
        let nested = write::element(
            0xa0,
            &write::element(0x24, &write::octet_string(&shape.content)),
        );
        assert_eq!(opened(&shape.write_with(&nested)).as_deref(), Some(ENTITY));
    }
}
