//! SIG-04: several signers.

use super::super::Expect::{self, Is, NotPass, OneOf};
use super::super::Shape;
use super::super::certificates::Person;
use super::super::cms::{SignedForm, SignerForm};
use super::super::der::{oid, seq};
use super::super::keys::{Alg, Hash, Key};
use super::super::mime::{self, clear_signed, headers};
use super::super::town::Town;

/// SIG-04: signers are grouped by person; any `fail` is `fail`; two persons are refused.
pub fn sig04(town: &Town) -> Vec<Shape> {
    let part = mime::text("Signed by several");
    let (alice, bob, mallory) = (&town.alice, &town.bob, &town.mallory);
    let good = |person: &Person| SignerForm::new(person, &part).encode(&part);
    let with =
        |person: &Person, algorithm: Alg| SignerForm::with(person, algorithm, &part).encode(&part);
    // A bad signature: the victim's real signature over other content.
    let digest_bad = |person: &Person| {
        let other = mime::text("Something else");
        SignerForm::new(person, &other).encode(&other)
    };
    let maths_bad = |person: &Person| {
        let form = SignerForm::new(person, &part);
        let mut signature = form.key.sign(form.algorithm, &form.to_be_signed(&part));
        let at = signature.len() - 5;
        signature[at] ^= 1;
        SignerForm {
            signature: Some(signature),
            ..form
        }
        .encode(&part)
    };
    let send = |from: &str, people: &[&Person], signers: Vec<Vec<u8>>, attached: bool| {
        let mut certificates: Vec<Vec<u8>> = people.iter().map(|p| p.certificate.clone()).collect();
        certificates.push(town.issuer.certificate.clone());
        let form = SignedForm {
            digests: vec![
                Hash::Sha256.identifier(),
                Hash::Sha512.identifier(),
                Hash::Sha1.identifier(),
            ],
            certificates,
            signers,
            ..SignedForm::empty()
        };
        if attached {
            mime::opaque(
                &headers(from),
                "signed-data",
                &form.attached(&part).encode(),
            )
        } else {
            clear_signed(&headers(from), &part, &form.encode())
        }
    };
    let fail = OneOf(&[("fail", "")]);
    let many = Is("policy", "multiple-signers");
    let pass = Is("pass", "ok");
    // One address under two trusts is two groups.
    let strange = OneOf(&[
        ("policy", "multiple-signers"),
        ("policy", "issuer-not-trusted"),
    ]);
    let mut out = Vec::new();
    let mut both_orders =
        |name: &str, from: &str, people: &[&Person], signers: [Vec<u8>; 2], expect: &Expect| {
            let [first, second] = signers;
            for (order, signers) in [
                ("append", vec![first.clone(), second.clone()]),
                ("prepend", vec![second.clone(), first.clone()]),
            ] {
                for attached in [false, true] {
                    let raw = send(from, people, signers.clone(), attached);
                    let form = if attached { "opaque" } else { "detached" };
                    out.push(Shape::new(
                        "SIG-04",
                        format!("{name}, {order}, {form}"),
                        raw,
                        *expect,
                    ));
                }
            }
        };
    let victim = "alice@example.jp";
    both_orders(
        "attacker good, victim's digest wrong",
        victim,
        &[mallory, alice],
        [good(mallory), digest_bad(alice)],
        &fail,
    );
    both_orders(
        "attacker good, victim's signature wrong",
        victim,
        &[mallory, alice],
        [good(mallory), maths_bad(alice)],
        &fail,
    );
    both_orders(
        "attacker good, victim bad, From of the attacker",
        "mallory@evil.example",
        &[mallory, alice],
        [good(mallory), maths_bad(alice)],
        &fail,
    );
    both_orders(
        "victim good, attacker bad",
        victim,
        &[mallory, alice],
        [maths_bad(mallory), good(alice)],
        &fail,
    );
    both_orders(
        "two persons, both good",
        victim,
        &[mallory, alice],
        [good(mallory), good(alice)],
        &many,
    );
    both_orders(
        "two persons of one house",
        "bob@example.jp",
        &[bob, alice],
        [good(bob), good(alice)],
        &many,
    );
    both_orders(
        "one person twice, both good",
        victim,
        &[alice],
        [
            with(alice, Alg::Pkcs1(Hash::Sha256)),
            with(alice, Alg::Pkcs1(Hash::Sha512)),
        ],
        &pass,
    );
    both_orders(
        "one person twice, one bad",
        victim,
        &[alice],
        [good(alice), maths_bad(alice)],
        &fail,
    );
    both_orders(
        "one person, SHA-1 beside SHA-256",
        victim,
        &[alice],
        [good(alice), with(alice, Alg::Pkcs1(Hash::Sha1))],
        &pass,
    );
    both_orders(
        "one person revoked, the other good",
        "bob@example.jp",
        &[bob, &town.rita],
        [good(bob), good(&town.rita)],
        &fail,
    );
    both_orders(
        "the trusted and the strange Alice",
        victim,
        &[alice, &town.strange_alice],
        [good(alice), good(&town.strange_alice)],
        &strange,
    );
    // The same person with a key of another kind, as RFC 5752 has it.
    let second_key = town.issuer.person("Alice", victim, Key::p256());
    both_orders(
        "one person with two keys",
        victim,
        &[alice, &second_key],
        [good(alice), good(&second_key)],
        &pass,
    );
    // Beside a good one, what nobody can check is a note.
    let unknown = SignerForm {
        signature_identifier: Some(seq([oid("1.3.6.1.4.1.99999.2")])),
        signature: Some(vec![9; 64]),
        ..SignerForm::new(alice, &part)
    }
    .encode(&part);
    for (order, signers) in [
        ("first", vec![unknown.clone(), good(alice)]),
        ("last", vec![good(alice), unknown.clone()]),
    ] {
        let raw = send(victim, &[alice], signers, false);
        out.push(
            Shape::new(
                "SIG-04",
                format!("one person, unknown algorithm {order}"),
                raw,
                pass,
            )
            .noted(&["unsupported-signer"]),
        );
    }
    let raw = send(victim, &[mallory], vec![good(mallory), good(alice)], false);
    out.push(Shape::new(
        "SIG-04",
        "the victim's certificate is not there",
        raw,
        NotPass,
    ));
    for (count, expect) in [(16, pass), (17, Is("permerror", "limit-signers"))] {
        let raw = send(victim, &[alice], vec![good(alice); count], false);
        out.push(Shape::new(
            "SIG-04",
            format!("{count} signers"),
            raw,
            expect,
        ));
    }
    out
}
