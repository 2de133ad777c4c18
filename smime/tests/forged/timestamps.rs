//! Time stamps over the signature value: right ones are listed, and wrong ones are as if they were not there.

use kenin_pki::UnixTime;
use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::der::write;
use kenin_pki::issue::TimeStampBuilder;
use kenin_smime::{Examined, Limits};

use crate::forge::*;
use crate::{ENTITY, alice, assert_right, examine, mallory, rsa, signer};

const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;
const TOKEN: &str = "1.2.840.113549.1.9.16.2.14";
const TIME: UnixTime = UnixTime(1_795_000_000);

/// Mail of alice's, with what `make` makes of her signature value as unsigned attributes.
fn stamped(make: impl FnOnce(&[u8]) -> Vec<Vec<u8>>) -> Examined {
    let attributes = sorted(&attributes(ENTITY.as_bytes(), SHA256));
    let mut shape = SignerShape::new(alice(), SHA256, attributes);
    shape.unsigned = Some(sorted(&make(&shape.signature)));
    let object = signed_data(None, &[alice().certificate.der()], &[shape.write()]);
    examine(clear(ENTITY, &object))
}

fn attached(tokens: &[Vec<u8>]) -> Vec<u8> {
    attribute(TOKEN, tokens)
}

/// Of an authority that is nobody's: here that does not matter.
fn signed(builder: TimeStampBuilder) -> Vec<u8> {
    builder.signed_by(&rsa().certificate, &rsa().key).unwrap()
}

fn one(make: impl FnOnce(&[u8]) -> Vec<u8>) -> Examined {
    stamped(|signature| vec![attached(&[make(signature)])])
}

#[track_caller]
fn count(examined: &Examined) -> usize {
    // Whatever the tokens are, the signature is what it is.
    assert_right(examined);
    signer(examined).timestamps.len()
}

#[test]
fn a_right_one_is_listed() {
    let examined = one(|signature| {
        signed(TimeStampBuilder::new(signature, TIME).certificate(&mallory().certificate))
    });
    assert_eq!(count(&examined), 1);
    let found = &signer(&examined).timestamps[0];
    assert_eq!(found.info.gen_time(), TIME);
    assert_eq!(found.info.latest(), TIME.plus(1));
    assert_eq!(found.certificate, rsa().certificate);
    assert_eq!(found.certificates.len(), 2);
    assert_eq!(found.digest, SHA256);
    assert_eq!(count(&stamped(|_| Vec::new())), 0);
}

#[test]
fn wrong_ones_are_as_if_they_were_not_there() {
    let new = |signature: &[u8]| TimeStampBuilder::new(signature, TIME);
    type Make<'m> = &'m dyn Fn(&[u8]) -> Vec<u8>;
    let cases: &[(&str, Make<'_>)] = &[
        ("another signature", &|_| signed(new(b"another"))),
        ("two signers", &|s| signed(new(s).signers(2))),
        ("no signer", &|s| signed(new(s).signers(0))),
        ("no ESS attribute", &|s| signed(new(s).naming(None))),
        ("ESS of another certificate", &|s| {
            signed(new(s).naming(Some(&mallory().certificate)))
        }),
        ("ordinary data", &|s| signed(new(s).content_type(DATA))),
        ("no TSTInfo", &|_| {
            signed(TimeStampBuilder::around(b"time".to_vec()))
        }),
        ("another key", &|s| {
            let made = new(s).signed_by(&rsa().certificate, &mallory().key);
            made.unwrap()
        }),
        ("a signature that was changed", &|s| {
            let mut token = signed(new(s));
            *token.last_mut().unwrap() ^= 1;
            token
        }),
        ("no ContentInfo", &|_| write::null()),
        ("another kind of object", &|s| {
            content_info(DATA, &write::octet_string(s))
        }),
    ];
    for (what, make) in cases {
        assert_eq!(count(&one(make)), 0, "{what}");
    }
}

#[test]
fn attributes_of_another_shape_are_not_read() {
    let token = |signature: &[u8]| signed(TimeStampBuilder::new(signature, TIME));
    // Two values in one attribute; another one beside it is still found.
    let two = stamped(|s| vec![attached(&[token(s), write::null()])]);
    assert_eq!(count(&two), 0);
    let beside = stamped(|s| {
        vec![
            attached(&[token(s), write::null()]),
            attached(&[token(s)]),
            write::null(),
            attribute(COUNTERSIGNATURE, &[write::null()]),
        ]
    });
    assert_eq!(count(&beside), 1);
    assert_eq!(count(&stamped(|_| vec![attached(&[])])), 0);
    // No more than four are looked at.
    let crowd = stamped(|s| (0..9).map(|_| attached(&[token(s)])).collect());
    assert_eq!(count(&crowd), 4);
}

/// A token among the signed attributes is signed, and is none.
#[test]
fn the_token_stands_beside_the_signature_only() {
    let token = signed(TimeStampBuilder::new(b"x", TIME));
    let mut own = attributes(ENTITY.as_bytes(), SHA256);
    own.push(attached(&[token]));
    let shape = SignerShape::new(alice(), SHA256, sorted(&own));
    let object = signed_data(None, &[alice().certificate.der()], &[shape.write()]);
    assert_eq!(count(&examine(clear(ENTITY, &object))), 0);
}

/// SIG-11: a crowd of tokens takes nothing from what is signed.
#[test]
fn tokens_have_a_budget_of_their_own() {
    let content = ENTITY.as_bytes();
    let signers: Vec<Vec<u8>> = (0..8)
        .map(|_| {
            let attributes = sorted(&attributes(content, SHA256));
            let mut shape = SignerShape::new(alice(), SHA256, attributes);
            let token = signed(TimeStampBuilder::new(&shape.signature, TIME));
            shape.unsigned = Some(sorted(&vec![attached(&[token]); 4]));
            shape.write()
        })
        .collect();
    let object = signed_data(None, &[alice().certificate.der()], &signers);
    let limits = Limits {
        signature_checks: 8,
        ..Limits::default()
    };
    let mail = clear(ENTITY, &object);
    let examined = kenin_smime::examine(mail.as_bytes(), &limits, &[]);
    assert_right(&examined);
    let root = examined.root_signature().unwrap();
    let found: usize = root.signers.iter().map(|one| one.timestamps.len()).sum();
    assert_eq!(found, 16);
}

/// What did not verify is not stamped.
#[test]
fn a_wrong_signer_has_no_time_stamps() {
    let attributes = sorted(&attributes(b"another content", SHA256));
    let mut shape = SignerShape::new(alice(), SHA256, attributes);
    let token = signed(TimeStampBuilder::new(&shape.signature, TIME));
    shape.unsigned = Some(sorted(&[attached(&[token])]));
    let object = signed_data(None, &[alice().certificate.der()], &[shape.write()]);
    let examined = examine(clear(ENTITY, &object));
    assert!(signer(&examined).defect.is_some());
    assert!(signer(&examined).timestamps.is_empty());
}
