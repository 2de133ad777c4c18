//! SIG-09: algorithms that are weak, unknown, or do not agree with each other.

use super::super::Expect::{self, Is, NotPass};
use super::super::Shape;
use super::super::certificates::Person;
use super::super::cms::{SignerForm, algorithm_protection, attribute, usual_attributes};
use super::super::der::{null, oid, retag, seq};
use super::super::keys::{Alg, Hash, Key};
use super::super::mime::{self};
use super::super::town::Town;

use super::attributes::mail_by;

const ALICE: &str = "alice@example.jp";

fn mail(town: &Town, form: &SignerForm, part: &[u8]) -> Vec<u8> {
    mail_by(town, &town.alice, ALICE, form, part)
}

/// SIG-09: algorithms that are weak or do not agree with each other.
pub fn sig09(town: &Town) -> Vec<Shape> {
    let part = mime::text("Algorithms");
    let by = |person: &Person, from: &str, algorithm: Alg| {
        mail_by(
            town,
            person,
            from,
            &SignerForm::with(person, algorithm, &part),
            &part,
        )
    };
    let pass = Is("pass", "ok");
    let weak = Is("policy", "weak-algorithm");
    let shape = |name: &str, raw: Vec<u8>, expect: Expect| Shape::new("SIG-09", name, raw, expect);
    let alice = &town.alice;
    let mut out = Vec::new();
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        let n = hash.name();
        out.push(shape(
            &format!("good: rsa {n}"),
            by(alice, ALICE, Alg::Pkcs1(hash)),
            pass,
        ));
        out.push(shape(
            &format!("good: pss {n}"),
            by(alice, ALICE, Alg::pss(hash)),
            pass,
        ));
        for (person, from) in [
            (&town.bob, "bob@example.jp"),
            (&town.carol, "carol@example.jp"),
            (&town.dave, "dave@example.jp"),
        ] {
            let raw = by(person, from, Alg::Ecdsa(hash));
            out.push(shape(&format!("good: ecdsa {n} {from}"), raw, pass));
        }
    }
    out.push(shape(
        "good: ed25519",
        by(&town.erin, "erin@example.jp", Alg::Ed25519),
        pass,
    ));
    out.push(shape(
        "MD5",
        by(alice, ALICE, Alg::Pkcs1(Hash::Md5)),
        Is("fail", "weak-digest"),
    ));
    out.push(shape(
        "SHA-1, RSA",
        by(alice, ALICE, Alg::Pkcs1(Hash::Sha1)),
        weak,
    ));
    out.push(shape(
        "SHA-1, PSS",
        by(alice, ALICE, Alg::pss(Hash::Sha1)),
        weak,
    ));
    out.push(shape(
        "SHA-1, ECDSA",
        by(&town.bob, "bob@example.jp", Alg::Ecdsa(Hash::Sha1)),
        weak,
    ));
    let small = Is("neutral", "unsupported-algorithm");
    out.push(shape(
        "SHA-224, RSA",
        by(alice, ALICE, Alg::Pkcs1(Hash::Sha224)),
        small,
    ));
    out.push(shape(
        "SHA-224, ECDSA",
        by(&town.bob, "bob@example.jp", Alg::Ecdsa(Hash::Sha224)),
        small,
    ));
    let raw = by(&town.weak, "weak@example.jp", Alg::Pkcs1(Hash::Sha256));
    out.push(shape("RSA-1024", raw, weak));
    let tampered = SignerForm::with(alice, Alg::Pkcs1(Hash::Sha1), b"other");
    out.push(shape(
        "SHA-1 and a wrong digest",
        mail(town, &tampered, &part),
        Is("fail", "digest-mismatch"),
    ));
    // digestAlgorithm and signatureAlgorithm name different digests (RFC 8933).
    let mixed = SignerForm {
        hash: Hash::Sha256,
        attributes: Some(usual_attributes(Hash::Sha256, &part)),
        ..SignerForm::with(alice, Alg::Pkcs1(Hash::Sha512), &part)
    };
    out.push(shape(
        "content SHA-256, signature SHA-512",
        mail(town, &mixed, &part),
        NotPass,
    ));
    let mixed = SignerForm {
        hash: Hash::Sha1,
        attributes: Some(usual_attributes(Hash::Sha1, &part)),
        ..SignerForm::with(alice, Alg::Pkcs1(Hash::Sha256), &part)
    };
    out.push(shape(
        "content SHA-1, signature SHA-256",
        mail(town, &mixed, &part),
        NotPass,
    ));
    // rsaEncryption as signature algorithm is what most mail has.
    let plain = SignerForm {
        signature_identifier: Some(seq([oid("1.2.840.113549.1.1.1"), null()])),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "good: rsaEncryption with SHA-256",
        mail(town, &plain, &part),
        pass,
    ));
    let lie = SignerForm {
        signature_identifier: Some(Alg::Pkcs1(Hash::Sha512).identifier()),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "signature algorithm lies",
        mail(town, &lie, &part),
        NotPass,
    ));
    let lie = SignerForm {
        digest_identifier: Some(Hash::Sha512.identifier()),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "digest algorithm lies",
        mail(town, &lie, &part),
        NotPass,
    ));
    // CMSAlgorithmProtection (RFC 6211).
    let protected = |digest: Vec<u8>, signature: Vec<u8>| {
        let mut attributes = usual_attributes(Hash::Sha256, &part);
        attributes.push(algorithm_protection(&digest, &signature));
        let form = SignerForm {
            attributes: Some(attributes),
            ..SignerForm::new(alice, &part)
        };
        mail(town, &form, &part)
    };
    let (sha256, sha1) = (Hash::Sha256.identifier(), Hash::Sha1.identifier());
    let (rsa256, rsa512) = (
        Alg::Pkcs1(Hash::Sha256).identifier(),
        Alg::Pkcs1(Hash::Sha512).identifier(),
    );
    let attack = Is("fail", "algorithm-mismatch");
    out.push(shape(
        "good: algorithm protection",
        protected(sha256.clone(), rsa256.clone()),
        pass,
    ));
    out.push(shape(
        "algorithm protection, other digest",
        protected(sha1, rsa256.clone()),
        attack,
    ));
    out.push(shape(
        "algorithm protection, other signature",
        protected(sha256.clone(), rsa512),
        attack,
    ));
    let mut attributes = usual_attributes(Hash::Sha256, &part);
    let both = seq([sha256, retag(0xa2, &rsa256)]);
    attributes.push(attribute("1.2.840.113549.1.9.52", &[both]));
    let form = SignerForm {
        attributes: Some(attributes),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "algorithm protection for a MAC",
        mail(town, &form, &part),
        NotPass,
    ));
    // Algorithms nobody knows are nobody's fault.
    let unknown = || seq([oid("1.3.6.1.4.1.99999.2")]);
    let unsupported = Is("neutral", "unsupported-algorithm");
    let form = SignerForm {
        signature_identifier: Some(unknown()),
        signature: Some(vec![7; 64]),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "unknown signature algorithm",
        mail(town, &form, &part),
        unsupported,
    ));
    let form = SignerForm {
        digest_identifier: Some(unknown()),
        ..SignerForm::new(alice, &part)
    };
    out.push(shape(
        "unknown digest algorithm",
        mail(town, &form, &part),
        unsupported,
    ));
    let koblitz = town
        .issuer
        .person("Koblitz", "koblitz@example.jp", Key::secp256k1());
    let raw = by(&koblitz, "koblitz@example.jp", Alg::Ecdsa(Hash::Sha256));
    out.push(shape("secp256k1", raw, unsupported));
    out
}
