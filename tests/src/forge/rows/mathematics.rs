//! SIG-10: signatures that a lax verifier accepts.

use openssl::bn::{BigNum, BigNumContext};

use super::super::Expect::{Is, NotPass};
use super::super::Shape;
use super::super::certificates::Person;
use super::super::cms::{SignedForm, SignerForm};
use super::super::der::{cat, int, long, null, octets, oid, seq, tlv, unsigned};
use super::super::keys::{Alg, Hash, Key};
use super::super::mime::{self, clear_signed, headers};
use super::super::town::Town;

/// The order of P-256.
const P256_ORDER: &str = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";

fn mail(town: &Town, person: &Person, from: &str, form: &SignerForm, part: &[u8]) -> Vec<u8> {
    let certificates = [&person.certificate[..], &town.issuer.certificate];
    let cms = SignedForm::detached(form, part, &certificates).encode();
    clear_signed(&headers(from), part, &cms)
}

/// SIG-10: broken paddings, scalars and encodings.
pub fn sig10(town: &Town) -> Vec<Shape> {
    let part = mime::text("Mathematics");
    let mut out = pkcs1(town, &part);
    out.extend(pss(town, &part));
    out.extend(ecdsa(town, &part));
    out.extend(ed25519(town, &part));
    out
}

fn pkcs1(town: &Town, part: &[u8]) -> Vec<Shape> {
    let alice = &town.alice;
    let form = SignerForm::new(alice, part);
    let digest = Hash::Sha256.of(&form.to_be_signed(part));
    let size = alice.key.size();
    let info = seq([seq([oid(Hash::Sha256.dotted()), null()]), octets(&digest)]);
    let pad = |kind: u8, fill: u8, tail: &[u8]| {
        let mut block = vec![0, kind];
        block.resize(size - tail.len() - 1, fill);
        block.push(0);
        block.extend_from_slice(tail);
        block
    };
    let short = |garbage_first: bool| {
        let mut block = cat([&[0, 1][..], &[0xff; 8], &[0]]);
        if garbage_first {
            block.resize(size - info.len(), 0x5a);
            block.extend_from_slice(&info);
        } else {
            block.extend_from_slice(&info);
            block.resize(size, 0x5a);
        }
        block
    };
    let no_null = seq([seq([oid(Hash::Sha256.dotted())]), octets(&digest)]);
    let long_length = long(0x30, &info[2..], 2);
    let trailing_in_info = seq([
        seq([oid(Hash::Sha256.dotted()), null()]),
        octets(&digest),
        vec![5, 0],
    ]);
    let parameters = seq([
        seq([oid(Hash::Sha256.dotted()), octets(&[0; 40])]),
        octets(&digest),
    ]);
    let other_hash = seq([
        seq([oid(Hash::Sha1.dotted()), null()]),
        octets(&digest[..20]),
    ]);
    let cases = [
        ("eight octets of padding, garbage behind", short(false)),
        ("garbage before the digest", short(true)),
        ("block type 2", pad(2, 0xff, &info)),
        ("block type 0", pad(0, 0xff, &info)),
        ("padding of zeros", pad(1, 0, &info)),
        ("padding of 0xfe", pad(1, 0xfe, &info)),
        ("digest without its name", pad(1, 0xff, &digest)),
        ("no NULL parameters", pad(1, 0xff, &no_null)),
        ("long form of a length", pad(1, 0xff, &long_length)),
        ("element behind the digest", pad(1, 0xff, &trailing_in_info)),
        ("garbage as parameters", pad(1, 0xff, &parameters)),
        ("named as SHA-1", pad(1, 0xff, &other_hash)),
    ];
    let invalid = Is("fail", "signature-invalid");
    let mut out: Vec<Shape> = cases
        .into_iter()
        .map(|(name, block)| {
            let form = SignerForm {
                signature: Some(alice.key.rsa_raw(&block)),
                ..form.clone()
            };
            let raw = mail(town, alice, "alice@example.jp", &form, part);
            Shape::new("SIG-10", format!("PKCS#1: {name}"), raw, invalid)
        })
        .collect();
    let good = alice.key.sign(form.algorithm, &form.to_be_signed(part));
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    for (name, signature) in [
        ("one bit changed", flipped),
        ("empty", Vec::new()),
        ("zero", vec![0; size]),
        ("one", cat([&vec![0; size - 1][..], &[1]])),
        ("all ones", vec![0xff; size]),
        ("an octet more in front", cat([&[0][..], &good])),
        ("an octet more behind", cat([&good[..], &[0]])),
        ("an octet less", good[..size - 1].to_vec()),
    ] {
        let form = SignerForm {
            signature: Some(signature),
            ..form.clone()
        };
        let raw = mail(town, alice, "alice@example.jp", &form, part);
        out.push(Shape::new("SIG-10", format!("RSA: {name}"), raw, NotPass));
    }
    out.extend(cube_root(town, part));
    out
}

/// Bleichenbacher's forgery of 2006: with e = 3 a block that only begins well is a cube without
/// anybody's key.
fn cube_root(town: &Town, part: &[u8]) -> Vec<Shape> {
    let key = Key::rsa_with_exponent(2048, 3);
    let person = town.issuer.person("Three", "three@example.jp", key.clone());
    let form = SignerForm::new(&person, part);
    let digest = Hash::Sha256.of(&form.to_be_signed(part));
    let info = seq([seq([oid(Hash::Sha256.dotted()), null()]), octets(&digest)]);
    let mut block = cat([&[0, 1][..], &[0xff; 8], &[0], &info]);
    block.resize(key.size(), 0xff);
    let ceiling = BigNum::from_slice(&block).unwrap();
    let root = cube_root_floor(&ceiling);
    let forged = SignerForm {
        signature: Some(root.to_vec_padded(key.size() as i32).unwrap()),
        ..form.clone()
    };
    let raw = mail(town, &person, "three@example.jp", &forged, part);
    let mut out = vec![Shape::new(
        "SIG-10",
        "cube root forgery",
        raw,
        Is("fail", "signature-invalid"),
    )];
    let raw = mail(town, &person, "three@example.jp", &form, part);
    out.push(Shape::new(
        "SIG-10",
        "good: e = 3, honest",
        raw,
        Is("pass", "ok"),
    ));
    out
}

fn cube_root_floor(value: &BigNum) -> BigNum {
    let mut context = BigNumContext::new().unwrap();
    let mut root = BigNum::new().unwrap();
    for bit in (0..=value.num_bits() / 3).rev() {
        root.set_bit(bit).unwrap();
        let mut square = BigNum::new().unwrap();
        square.sqr(&root, &mut context).unwrap();
        let mut cube = BigNum::new().unwrap();
        cube.checked_mul(&square, &root, &mut context).unwrap();
        if cube > *value {
            root.clear_bit(bit).unwrap();
        }
    }
    root
}

fn pss(town: &Town, part: &[u8]) -> Vec<Shape> {
    let alice = &town.alice;
    let mut out = Vec::new();
    let pair = |made: Alg, declared: Alg| {
        let form = SignerForm::with(alice, made, part);
        let form = SignerForm {
            signature_identifier: Some(declared.identifier()),
            ..form
        };
        mail(town, alice, "alice@example.jp", &form, part)
    };
    let usual = Alg::pss(Hash::Sha256);
    let with = |mgf: Hash, salt: i32| Alg::Pss {
        hash: Hash::Sha256,
        mgf,
        salt,
    };
    for salt in [0, 20, 64, 222] {
        let algorithm = with(Hash::Sha256, salt);
        let raw = pair(algorithm, algorithm);
        out.push(Shape::new(
            "SIG-10",
            format!("good: PSS with a salt of {salt}"),
            raw,
            Is("pass", "ok"),
        ));
        let raw = pair(algorithm, usual);
        let name = format!("PSS salt {salt} declared as 32");
        out.push(Shape::new(
            "SIG-10",
            name,
            raw,
            Is("fail", "signature-invalid"),
        ));
    }
    for (name, made, declared) in [
        (
            "other MGF hash than declared",
            with(Hash::Sha512, 32),
            usual,
        ),
        ("PKCS#1 declared as PSS", Alg::Pkcs1(Hash::Sha256), usual),
        ("PSS declared as PKCS#1", usual, Alg::Pkcs1(Hash::Sha256)),
    ] {
        let raw = pair(made, declared);
        out.push(Shape::new(
            "SIG-10",
            name,
            raw,
            Is("fail", "signature-invalid"),
        ));
    }
    // Parameters left out mean SHA-1 (RFC 4055 §3.1); negative and huge salts mean nothing.
    let bare = seq([oid("1.2.840.113549.1.1.10"), seq::<_, &[u8]>([])]);
    let none = seq([oid("1.2.840.113549.1.1.10")]);
    let salted = |salt: Vec<u8>| {
        let md = seq([oid(Hash::Sha256.dotted()), null()]);
        let mgf = seq([oid("1.2.840.113549.1.1.8"), md.clone()]);
        let all = seq([tlv(0xa0, &md), tlv(0xa1, &mgf), tlv(0xa2, &salt)]);
        seq([oid("1.2.840.113549.1.1.10"), all])
    };
    for (name, identifier) in [
        ("PSS with empty parameters", bare),
        ("PSS without parameters", none),
        ("PSS with a negative salt", salted(int(-1))),
        ("PSS with a salt of 2^31", salted(int(1 << 31))),
        ("PSS with a salt of 2^70", salted(unsigned(&[0x40; 9]))),
        ("PSS with a salt as long as the key", salted(int(256))),
    ] {
        let form = SignerForm::with(alice, usual, part);
        let form = SignerForm {
            signature_identifier: Some(identifier),
            ..form
        };
        let raw = mail(town, alice, "alice@example.jp", &form, part);
        out.push(Shape::new("SIG-10", name, raw, NotPass));
    }
    out
}

fn ecdsa(town: &Town, part: &[u8]) -> Vec<Shape> {
    let bob = &town.bob;
    let form = SignerForm::new(bob, part);
    let good = bob.key.sign(form.algorithm, &form.to_be_signed(part));
    let order = BigNum::from_hex_str(P256_ORDER).unwrap().to_vec();
    let pair = |r: &[u8], s: &[u8]| seq([tlv(2, r), tlv(2, s)]);
    let positive = cat([&[0][..], &order]);
    let r = &good[4..4 + usize::from(good[3])];
    let s = &good[4 + usize::from(good[3]) + 2..];
    let plus_order = {
        let mut sum = BigNum::new().unwrap();
        let old = BigNum::from_slice(s).unwrap();
        sum.checked_add(&old, &BigNum::from_slice(&order).unwrap())
            .unwrap();
        unsigned(&sum.to_vec())[2..].to_vec()
    };
    let cases = [
        ("r = s = 0", pair(&[0], &[0])),
        ("r = 0", pair(&[0], s)),
        ("s = 0", pair(r, &[0])),
        ("r = s = 1", pair(&[1], &[1])),
        ("r = order, s = 1", pair(&positive, &[1])),
        ("r = s = order", pair(&positive, &positive)),
        ("s + order", pair(r, &plus_order)),
        ("negative r", pair(&[0xff], s)),
        ("negative s", pair(r, &[0x80])),
        ("r and s exchanged", pair(s, r)),
        ("zero-padded r", pair(&cat([&[0, 0][..], r]), s)),
        ("garbage behind", cat([&good[..], &[0]])),
        ("garbage inside", seq([tlv(2, r), tlv(2, s), null()])),
        (
            "indefinite length",
            super::super::der::indefinite(0x30, &cat([tlv(2, r), tlv(2, s)])),
        ),
        ("long form of a length", long(0x30, &good[2..], 2)),
        ("no s", seq([tlv(2, r)])),
        ("empty", Vec::new()),
        ("empty sequence", seq::<_, &[u8]>([])),
        ("raw r and s", vec![0x11; 64]),
        (
            "ten thousand octets",
            pair(&vec![0x7f; 5000], &vec![0x7f; 5000]),
        ),
    ];
    cases
        .into_iter()
        .map(|(name, signature)| {
            let form = SignerForm {
                signature: Some(signature),
                ..form.clone()
            };
            let raw = mail(town, bob, "bob@example.jp", &form, part);
            Shape::new("SIG-10", format!("ECDSA: {name}"), raw, NotPass)
        })
        .collect()
}

fn ed25519(town: &Town, part: &[u8]) -> Vec<Shape> {
    let erin = &town.erin;
    let form = SignerForm::new(erin, part);
    let good = erin.key.sign(form.algorithm, &form.to_be_signed(part));
    // s + L is the same scalar to a lax verifier (RFC 8032 §5.1.7 refuses it).
    let order = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";
    let mut sum = BigNum::new().unwrap();
    let little: Vec<u8> = good[32..].iter().rev().copied().collect();
    let s = BigNum::from_slice(&little).unwrap();
    sum.checked_add(&s, &BigNum::from_hex_str(order).unwrap())
        .unwrap();
    let mut bytes = sum.to_vec_padded(32).unwrap();
    bytes.reverse();
    let mut flipped = good.clone();
    flipped[5] ^= 4;
    [
        ("s + L", cat([&good[..32], &bytes])),
        ("zero", vec![0; 64]),
        ("s = 0", cat([&good[..32], &[0; 32]])),
        ("one bit changed", flipped),
        ("63 octets", good[..63].to_vec()),
        ("65 octets", cat([&good[..], &[0]])),
        ("empty", Vec::new()),
        ("identity point", cat([&[1][..], &[0; 63]])),
    ]
    .into_iter()
    .map(|(name, signature)| {
        let form = SignerForm {
            signature: Some(signature),
            ..form.clone()
        };
        let raw = mail(town, erin, "erin@example.jp", &form, part);
        Shape::new("SIG-10", format!("Ed25519: {name}"), raw, NotPass)
    })
    .collect()
}
