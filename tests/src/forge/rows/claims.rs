//! SIG-11, 12, 20: claims beside a signature: countersignatures, other certificates of the same key,
//! the signer's own clock.

use super::super::Expect::{self, Is, NotPass, OneOf};
use super::super::Shape;
use super::super::certificates::{Person, alt_names, rfc822};
use super::super::cms::{
    COUNTERSIGNATURE, SIGNED_DATA, SignedForm, SignerForm, attribute, content_type_attribute,
    message_digest_attribute, signing_certificate_v1, signing_certificate_v2,
    signing_certificate_v2_with, signing_time_attribute, usual_attributes,
};
use super::super::der::{int, octets, oid, seq, set_of, tlv, utf8};
use super::super::keys::Hash;
use super::super::mime::{self, clear_signed, headers};
use super::super::town::Town;

use super::attributes::mail_by;

const ALICE: &str = "alice@example.jp";

/// SIG-11: what is not signed does not count.
pub fn sig11(town: &Town) -> Vec<Shape> {
    let part = mime::text("Countersigned");
    let honest = SignerForm::new(&town.alice, &part);
    let signature = town
        .alice
        .key
        .sign(honest.algorithm, &honest.to_be_signed(&part));
    let counter_form = SignerForm {
        attributes: Some(vec![message_digest_attribute(Hash::Sha256, &signature)]),
        ..SignerForm::new(&town.mallory, &signature)
    };
    let counter = counter_form.encode(&signature);
    let broken = SignerForm {
        signature: Some(vec![1; 70]),
        ..counter_form
    }
    .encode(&signature);
    let mut out = Vec::new();
    for (name, unsigned) in [
        (
            "a countersignature",
            vec![attribute(COUNTERSIGNATURE, std::slice::from_ref(&counter))],
        ),
        (
            "a broken countersignature",
            vec![attribute(COUNTERSIGNATURE, &[broken])],
        ),
        (
            "two countersignatures",
            vec![attribute(
                COUNTERSIGNATURE,
                &[counter.clone(), counter.clone()],
            )],
        ),
        (
            "a countersignature of garbage",
            vec![attribute(COUNTERSIGNATURE, &[octets(b"x")])],
        ),
        (
            "an unknown attribute",
            vec![attribute(
                "1.3.6.1.4.1.99999.3",
                &[utf8("alice is mallory")],
            )],
        ),
        (
            "a second message-digest",
            vec![message_digest_attribute(Hash::Sha256, b"other")],
        ),
        (
            "a second content-type",
            vec![content_type_attribute(SIGNED_DATA)],
        ),
        (
            "a signing-certificate of mallory",
            vec![signing_certificate_v2(&[&town.mallory.certificate])],
        ),
        (
            "a signing-time",
            vec![signing_time_attribute("19700101000000Z")],
        ),
    ] {
        let form = SignerForm {
            unsigned: unsigned.clone(),
            ..honest.clone()
        };
        let mut signed = SignedForm::detached(
            &form,
            &part,
            &[&town.alice.certificate, &town.issuer.certificate],
        );
        signed.certificates.push(town.mallory.certificate.clone());
        let raw = clear_signed(&headers(ALICE), &part, &signed.encode());
        out.push(
            Shape::new("SIG-11", format!("good with {name}"), raw, Is("pass", "ok"))
                .shows("alice@example.jp")
                .hides("mallory"),
        );
        let raw = clear_signed(&headers("mallory@evil.example"), &part, &signed.encode());
        out.push(Shape::new(
            "SIG-11",
            format!("From of the countersigner with {name}"),
            raw,
            Is("policy", "from-mismatch"),
        ));
        let raw = clear_signed(&headers(ALICE), &mime::text("Changed"), &signed.encode());
        out.push(Shape::new(
            "SIG-11",
            format!("tampered with {name}"),
            raw,
            Is("fail", "digest-mismatch"),
        ));
    }
    out
}

/// SIG-12: another certificate for the same key.
pub fn sig12(town: &Town) -> Vec<Shape> {
    let part = mime::text("Whose certificate?");
    let key = town.bob.key.clone();
    let bob = &town.bob;
    // The same key, certified for another address by the same issuer.
    let other = town.issuer.person("Boss", "boss@example.jp", key.clone());
    let ess = |certificates: &[&[u8]]| {
        let mut all = usual_attributes(Hash::Sha256, &part);
        all.push(signing_certificate_v2(certificates));
        all
    };
    let send = |from: &str, sid: Vec<u8>, attributes: Vec<Vec<u8>>, certificates: &[&[u8]]| {
        let form = SignerForm {
            version: if sid[0] == 0x80 { 3 } else { 1 },
            sid,
            attributes: Some(attributes),
            ..SignerForm::new(bob, &part)
        };
        let mut signed = SignedForm::detached(&form, &part, certificates);
        signed.version = form.version;
        clear_signed(&headers(from), &part, &signed.encode())
    };
    let usual = || usual_attributes(Hash::Sha256, &part);
    let (b, o) = (&bob.certificate[..], &other.certificate[..]);
    let ca = &town.issuer.certificate[..];
    let ess_fail = Is("fail", "ess-mismatch");
    let pass = Is("pass", "ok");
    let with = |attribute: Vec<u8>| {
        let mut all = usual();
        all.push(attribute);
        all
    };
    let sha1_of = |c: &[u8]| signing_certificate_v1(c);
    let mut wrong_order = usual();
    wrong_order.push(signing_certificate_v2(&[ca, b]));
    let two_values = seq([
        oid("1.2.840.113549.1.9.16.2.47"),
        set_of(&[
            seq([seq([seq([octets(&Hash::Sha256.of(b))])])]),
            seq([seq([seq([octets(&Hash::Sha256.of(o))])])]),
        ]),
    ]);
    let cases: Vec<(&str, Vec<u8>, Expect)> = vec![
        (
            "good: ESS names the certificate",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                ess(&[b]),
                &[b, ca],
            ),
            pass,
        ),
        (
            "good: ESS with the chain",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                ess(&[b, ca]),
                &[b, ca],
            ),
            pass,
        ),
        (
            "good: ESS with SHA-512",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(signing_certificate_v2_with(Hash::Sha512, b)),
                &[b, ca],
            ),
            pass,
        ),
        (
            "good: ESS version 1",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(sha1_of(b)),
                &[b, ca],
            ),
            pass,
        ),
        (
            "good: key identifier",
            send("bob@example.jp", bob.by_key_id(), usual(), &[b, ca]),
            pass,
        ),
        (
            "substituted by key identifier",
            send("boss@example.jp", bob.by_key_id(), ess(&[b]), &[o, ca]),
            ess_fail,
        ),
        (
            "substituted by issuer and serial",
            send(
                "boss@example.jp",
                other.issuer_and_serial(),
                ess(&[b]),
                &[o, ca],
            ),
            ess_fail,
        ),
        (
            "substituted, ESS version 1",
            send(
                "boss@example.jp",
                other.issuer_and_serial(),
                with(sha1_of(b)),
                &[o, ca],
            ),
            ess_fail,
        ),
        (
            "substituted, ESS with SHA-512",
            send(
                "boss@example.jp",
                other.issuer_and_serial(),
                with(signing_certificate_v2_with(Hash::Sha512, b)),
                &[o, ca],
            ),
            ess_fail,
        ),
        (
            "substituted, both certificates sent",
            send(
                "boss@example.jp",
                other.issuer_and_serial(),
                ess(&[b]),
                &[o, b, ca],
            ),
            ess_fail,
        ),
        (
            "ESS names the issuer first",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                wrong_order,
                &[b, ca],
            ),
            ess_fail,
        ),
        (
            "ESS names garbage",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(attribute(
                    "1.2.840.113549.1.9.16.2.47",
                    &[seq([seq([seq([octets(&[0; 32])])])])],
                )),
                &[b, ca],
            ),
            ess_fail,
        ),
        (
            "ESS with two values",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(two_values),
                &[b, o, ca],
            ),
            NotPass,
        ),
        (
            "ESS of another type",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(attribute("1.2.840.113549.1.9.16.2.47", &[utf8("x")])),
                &[b, ca],
            ),
            NotPass,
        ),
        (
            "ESS without a certificate",
            send(
                "bob@example.jp",
                bob.issuer_and_serial(),
                with(attribute(
                    "1.2.840.113549.1.9.16.2.47",
                    &[seq([seq::<_, &[u8]>([])])],
                )),
                &[b, ca],
            ),
            NotPass,
        ),
        (
            "two certificates, no ESS, From of one",
            send("bob@example.jp", bob.by_key_id(), usual(), &[b, o, ca]),
            Is("policy", "multiple-signers"),
        ),
        (
            "two certificates, no ESS, From of the other",
            send("boss@example.jp", bob.by_key_id(), usual(), &[b, o, ca]),
            Is("policy", "multiple-signers"),
        ),
        (
            "two certificates in the other order",
            send("bob@example.jp", bob.by_key_id(), usual(), &[o, b, ca]),
            Is("policy", "multiple-signers"),
        ),
        (
            "good: two certificates, ESS decides",
            send("bob@example.jp", bob.by_key_id(), ess(&[b]), &[o, b, ca]),
            pass,
        ),
        (
            "two certificates, ESS decides against From",
            send("boss@example.jp", bob.by_key_id(), ess(&[b]), &[o, b, ca]),
            Is("policy", "from-mismatch"),
        ),
    ];
    let mut out: Vec<Shape> = cases
        .into_iter()
        .map(|(name, raw, expect)| Shape::new("SIG-12", name, raw, expect))
        .collect();
    // Same key and same address, renewed: nobody is deceived.
    let renewed = town
        .issuer
        .person("Bob again", "bob@example.jp", key.clone());
    let raw = send(
        "bob@example.jp",
        bob.by_key_id(),
        usual(),
        &[b, &renewed.certificate, ca],
    );
    out.push(Shape::new(
        "SIG-12",
        "good: renewed certificate, same address",
        raw,
        Is("pass", "ok"),
    ));
    // The other certificate has no address at all.
    let mut form = town.issuer.person_form("Nameless", "x@example.jp", &key);
    form.extensions
        .retain(|e| *e != alt_names(&[rfc822(b"x@example.jp")]));
    let nameless = town.issuer.issue(&form, key);
    let raw = send(
        "bob@example.jp",
        nameless.issuer_and_serial(),
        ess(&[b]),
        &[&nameless.certificate, ca],
    );
    out.push(Shape::new(
        "SIG-12",
        "substituted by a certificate without address",
        raw,
        Is("fail", "ess-mismatch"),
    ));
    out
}

/// SIG-20: the signer's clock is a claim.
pub fn sig20(town: &Town) -> Vec<Shape> {
    let part = mime::text("When?");
    let with_time = |person: &Person, from: &str, time: Option<Vec<u8>>| {
        let mut attributes = usual_attributes(Hash::Sha256, &part);
        attributes.remove(1);
        attributes.extend(time);
        let form = SignerForm {
            attributes: Some(attributes),
            ..SignerForm::new(person, &part)
        };
        mail_by(town, person, from, &form, &part)
    };
    let mut out = Vec::new();
    for (name, text) in [
        ("1970", "19700101000000Z"),
        ("2099", "20990101000000Z"),
        ("1950", "19500101000000Z"),
        ("9999", "99991231235959Z"),
        ("before the certificate", "20190601000000Z"),
    ] {
        let time = signing_time_attribute(text);
        let raw = with_time(&town.bob, "bob@example.jp", Some(time.clone()));
        out.push(
            Shape::new("SIG-20", format!("signed in {name}"), raw, Is("pass", "ok"))
                .noted(&["signing-time-odd"]),
        );
        // A claim does not revive a revoked certificate.
        let raw = with_time(&town.rita, "rita@example.jp", Some(time));
        out.push(Shape::new(
            "SIG-20",
            format!("revoked, signed in {name}"),
            raw,
            Is("fail", "revoked"),
        ));
    }
    let raw = with_time(&town.bob, "bob@example.jp", None);
    out.push(Shape::new(
        "SIG-20",
        "no signing-time",
        raw,
        Is("pass", "ok"),
    ));
    let before = signing_time_attribute("20220101000000Z");
    let raw = with_time(&town.rita, "rita@example.jp", Some(before));
    out.push(Shape::new(
        "SIG-20",
        "revoked later than it says it was signed",
        raw,
        Is("fail", "revoked"),
    ));
    let words = attribute("1.2.840.113549.1.9.5", &[tlv(23, b"yesterday")]);
    let raw = with_time(&town.bob, "bob@example.jp", Some(words));
    out.push(Shape::new(
        "SIG-20",
        "signing-time is no time",
        raw,
        OneOf(&[("pass", "ok"), ("permerror", "malformed")]),
    ));
    let number = attribute("1.2.840.113549.1.9.5", &[int(5)]);
    let raw = with_time(&town.bob, "bob@example.jp", Some(number));
    out.push(Shape::new(
        "SIG-20",
        "signing-time is a number",
        raw,
        OneOf(&[("pass", "ok"), ("permerror", "malformed")]),
    ));
    // An expired certificate stays expired, whenever it says it signed.
    let mut form = town
        .issuer
        .person_form("Expired", "expired@example.jp", &town.bob.key);
    form.not_after = super::super::der::time("20240101000000Z");
    let expired = town.issuer.issue(&form, town.bob.key.clone());
    let valid_then = signing_time_attribute("20230601000000Z");
    let raw = with_time(&expired, "expired@example.jp", Some(valid_then));
    out.push(Shape::new(
        "SIG-20",
        "expired, signed while valid",
        raw,
        Is("fail", "certificate-expired"),
    ));
    out
}
