//! SIG-02, 07, 08: signed attributes that are missing, doubled, wrong, or not DER.

use super::super::Expect::{self, Is, NotPass, OneOf};
use super::super::Shape;
use super::super::certificates::Person;
use super::super::cms::{
    CONTENT_TYPE, Coding, DATA, MESSAGE_DIGEST, SIGNED_DATA, SignedForm, SignerForm, attribute,
    content_type_attribute, message_digest_attribute, usual_attributes,
};
use super::super::der::{content, octets, oid, seq, tlv, utf8};
use super::super::keys::Hash;
use super::super::mime::{self, clear_signed, headers};
use super::super::town::Town;

const ALICE: &str = "alice@example.jp";

fn mail(town: &Town, form: &SignerForm, part: &[u8]) -> Vec<u8> {
    mail_by(town, &town.alice, ALICE, form, part)
}

pub(super) fn mail_by(
    town: &Town,
    person: &Person,
    from: &str,
    form: &SignerForm,
    part: &[u8],
) -> Vec<u8> {
    let certificates = [&person.certificate[..], &town.issuer.certificate];
    let cms = SignedForm::detached(form, part, &certificates).encode();
    clear_signed(&headers(from), part, &cms)
}

/// SIG-02: no signed attributes, so that attributes could be passed off as content.
pub fn sig02(town: &Town) -> Vec<Shape> {
    let part = mime::text("Signed without attributes");
    let bare = Is("permerror", "no-signed-attributes");
    let mut out = Vec::new();
    for (name, person, from) in [
        ("RSA", &town.alice, ALICE),
        ("P-256", &town.bob, "bob@example.jp"),
        ("Ed25519", &town.erin, "erin@example.jp"),
    ] {
        let form = SignerForm {
            attributes: None,
            ..SignerForm::new(person, &part)
        };
        let raw = mail_by(town, person, from, &form, &part);
        out.push(Shape::new("SIG-02", format!("detached, {name}"), raw, bare));
        let certificates = [&person.certificate[..], &town.issuer.certificate];
        let cms = SignedForm::detached(&form, &part, &certificates)
            .attached(&part)
            .encode();
        let raw = mime::opaque(&headers(from), "signed-data", &cms);
        out.push(Shape::new("SIG-02", format!("opaque, {name}"), raw, bare));
    }
    // The attack: an honest signature's attributes become the content of a signature without any.
    let honest = SignerForm::new(&town.alice, &part);
    let content = honest.to_be_signed(&part);
    let stolen = SignerForm {
        attributes: None,
        signature: Some(town.alice.key.sign(honest.algorithm, &content)),
        ..honest.clone()
    };
    let certificates = [&town.alice.certificate[..], &town.issuer.certificate];
    let form = SignedForm::detached(&stolen, &content, &certificates);
    let raw = mime::opaque(
        &headers(ALICE),
        "signed-data",
        &form.clone().attached(&content).encode(),
    );
    out.push(Shape::new(
        "SIG-02",
        "attributes as content, opaque",
        raw,
        bare,
    ));
    let raw = clear_signed(&headers(ALICE), &content, &form.encode());
    out.push(Shape::new(
        "SIG-02",
        "attributes as content, detached",
        raw,
        NotPass,
    ));
    // Even with attributes: content that reads as attributes is refused.
    let again = SignerForm::new(&town.alice, &content);
    let cms = SignedForm::detached(&again, &content, &certificates)
        .attached(&content)
        .encode();
    let raw = mime::opaque(&headers(ALICE), "signed-data", &cms);
    out.push(Shape::new(
        "SIG-02",
        "attributes as content under honest attributes",
        raw,
        OneOf(&[("permerror", "")]),
    ));
    // An empty set of attributes is no set.
    let empty = SignerForm {
        attributes: Some(Vec::new()),
        ..SignerForm::new(&town.alice, &part)
    };
    let raw = mail(town, &empty, &part);
    out.push(Shape::new(
        "SIG-02",
        "empty set of attributes",
        raw,
        OneOf(&[("permerror", "")]),
    ));
    out
}

/// SIG-07: the two attributes that have to be there once, with one value.
pub fn sig07(town: &Town) -> Vec<Shape> {
    let part = mime::text("Attributes");
    let usual = usual_attributes(Hash::Sha256, &part);
    let [kind, time, digest] = usual.as_slice() else {
        unreachable!()
    };
    let value = octets(&Hash::Sha256.of(&part));
    let wrong = octets(&Hash::Sha256.of(b"other"));
    let missing = Is("permerror", "attribute-missing");
    let duplicate = Is("permerror", "attribute-duplicate");
    let mismatch = Is("permerror", "content-type-mismatch");
    let odd = OneOf(&[
        ("permerror", "malformed"),
        ("permerror", "attribute-duplicate"),
        ("permerror", "attribute-missing"),
    ]);
    let two_digests = attribute(MESSAGE_DIGEST, &[value.clone(), wrong.clone()]);
    let cases: Vec<(&str, Vec<Vec<u8>>, Expect)> = vec![
        (
            "no message-digest",
            vec![kind.clone(), time.clone()],
            missing,
        ),
        (
            "no content-type",
            vec![time.clone(), digest.clone()],
            missing,
        ),
        ("only signing-time", vec![time.clone()], missing),
        (
            "message-digest twice, equal",
            vec![kind.clone(), digest.clone(), digest.clone()],
            duplicate,
        ),
        (
            "message-digest twice, wrong first",
            vec![
                kind.clone(),
                attribute(MESSAGE_DIGEST, std::slice::from_ref(&wrong)),
                digest.clone(),
            ],
            duplicate,
        ),
        (
            "content-type twice, equal",
            vec![kind.clone(), kind.clone(), digest.clone()],
            duplicate,
        ),
        (
            "content-type twice, different",
            vec![
                kind.clone(),
                content_type_attribute(SIGNED_DATA),
                digest.clone(),
            ],
            duplicate,
        ),
        (
            "message-digest with two values",
            vec![kind.clone(), two_digests],
            odd,
        ),
        (
            "message-digest with two equal values",
            vec![
                kind.clone(),
                seq([
                    oid(MESSAGE_DIGEST),
                    tlv(0x31, &[value.clone(), value.clone()].concat()),
                ]),
            ],
            odd,
        ),
        (
            "content-type with two values",
            vec![
                attribute(CONTENT_TYPE, &[oid(DATA), oid(SIGNED_DATA)]),
                digest.clone(),
            ],
            odd,
        ),
        (
            "message-digest without value",
            vec![kind.clone(), attribute(MESSAGE_DIGEST, &[])],
            odd,
        ),
        (
            "content-type without value",
            vec![attribute(CONTENT_TYPE, &[]), digest.clone()],
            odd,
        ),
        (
            "message-digest of another type",
            vec![kind.clone(), attribute(MESSAGE_DIGEST, &[utf8("digest")])],
            odd,
        ),
        (
            "content-type is not the content's",
            vec![content_type_attribute(SIGNED_DATA), digest.clone()],
            mismatch,
        ),
        (
            "content-type unknown",
            vec![
                content_type_attribute("1.3.6.1.4.1.99999.5"),
                digest.clone(),
            ],
            mismatch,
        ),
        (
            "wrong digest",
            vec![kind.clone(), attribute(MESSAGE_DIGEST, &[wrong])],
            Is("fail", "digest-mismatch"),
        ),
        (
            "digest cut short",
            vec![
                kind.clone(),
                attribute(MESSAGE_DIGEST, &[octets(&Hash::Sha256.of(&part)[..16])]),
            ],
            OneOf(&[("fail", "digest-mismatch"), ("permerror", "malformed")]),
        ),
        (
            "empty digest",
            vec![kind.clone(), attribute(MESSAGE_DIGEST, &[octets(b"")])],
            OneOf(&[("fail", "digest-mismatch"), ("permerror", "malformed")]),
        ),
        (
            "digest by another algorithm",
            vec![kind.clone(), message_digest_attribute(Hash::Sha512, &part)],
            OneOf(&[("fail", "digest-mismatch"), ("permerror", "malformed")]),
        ),
    ];
    let mut out: Vec<Shape> = cases
        .into_iter()
        .map(|(name, attributes, expect)| {
            let form = SignerForm {
                attributes: Some(attributes),
                ..SignerForm::new(&town.alice, &part)
            };
            Shape::new("SIG-07", name, mail(town, &form, &part), expect)
        })
        .collect();
    let form = SignerForm::new(&town.alice, &part);
    let changed = mime::text("Attributez");
    let certificates = [&town.alice.certificate[..], &town.issuer.certificate];
    let signed = SignedForm::detached(&form, &part, &certificates);
    let raw = clear_signed(&headers(ALICE), &changed, &signed.encode());
    out.push(Shape::new(
        "SIG-07",
        "changed body",
        raw,
        Is("fail", "digest-mismatch"),
    ));
    let raw = mime::opaque(
        &headers(ALICE),
        "signed-data",
        &signed.attached(&changed).encode(),
    );
    out.push(Shape::new(
        "SIG-07",
        "changed opaque body",
        raw,
        Is("fail", "digest-mismatch"),
    ));
    // eContentType is not id-data, and the attribute agrees with it.
    let mut attributes = usual.clone();
    attributes[0] = content_type_attribute("1.2.840.113549.1.9.16.1.4");
    let form = SignerForm {
        attributes: Some(attributes),
        ..form
    };
    let mut signed = SignedForm::detached(&form, &part, &certificates);
    signed.content_type = "1.2.840.113549.1.9.16.1.4";
    signed.version = 3;
    let raw = clear_signed(&headers(ALICE), &part, &signed.encode());
    out.push(Shape::new(
        "SIG-07",
        "content is not data, and says so",
        raw,
        OneOf(&[("pass", "ok"), ("permerror", "content-type-mismatch")]),
    ));
    out
}

/// SIG-08: attributes that are not DER.
pub fn sig08(town: &Town) -> Vec<Shape> {
    let part = mime::text("Not DER");
    let mut out = Vec::new();
    for (name, coding) in [
        ("unsorted", Coding::Unsorted),
        ("indefinite length", Coding::Indefinite),
        ("long form of a short length", Coding::LongLength),
    ] {
        for over_sent in [false, true] {
            for (who, person, from) in [
                ("RSA", &town.alice, ALICE),
                ("P-256", &town.bob, "bob@example.jp"),
            ] {
                let form = SignerForm {
                    coding,
                    over_sent,
                    ..SignerForm::new(person, &part)
                };
                let over = if over_sent { "as sent" } else { "as DER" };
                let raw = mail_by(town, person, from, &form, &part);
                let name = format!("{name}, signed {over}, {who}");
                out.push(Shape::new(
                    "SIG-08",
                    name,
                    raw,
                    Is("permerror", "attributes-not-der"),
                ));
            }
        }
    }
    // Inside an attribute.
    let mut attributes = usual_attributes(Hash::Sha256, &part);
    let digest = attributes.pop().unwrap();
    attributes.push(super::super::der::long(0x30, content(&digest), 2));
    let form = SignerForm {
        attributes: Some(attributes),
        ..SignerForm::new(&town.alice, &part)
    };
    let raw = mail(town, &form, &part);
    out.push(Shape::new(
        "SIG-08",
        "long length inside an attribute",
        raw,
        Is("permerror", "attributes-not-der"),
    ));
    out
}
