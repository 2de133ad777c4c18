//! What strangers send along with a mail, where it is long and looked at often: it costs little, or is counted.

use std::time::{Duration, Instant};

use super::*;
use crate::crypto::PublicKey;
use crate::der::write;
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse, Responder};

/// BOMB-08: whether a key is the one that a response names costs a digest of the key. It was made of every key
/// that came along, for every answer: five megabytes of mail cost half a minute.
#[test]
fn long_keys_beside_many_answers_are_not_hashed_for_each() {
    let (root, ca, leaf) = three(same, person);
    let spki = write::seq(&[
        write::seq(&[write::oid(oid::CMS_DATA)]),
        write::bit_string(&[b'k'; 250_000]),
    ]);
    let long = PublicKey::from_spki(&spki).unwrap();
    // In the name of the issuer, and not by its key.
    let stranger = CertificateBuilder::new(name("Responder"), &long)
        .key_usage(KeyUsage::DIGITAL_SIGNATURE)
        .ext_key_usage(&[oid::OCSP_SIGNING])
        .issued_by(&ca.certificate, &key())
        .unwrap();
    let mut response = OcspBuilder::new(now())
        .responder(Responder::KeyHash(Box::new([7_u8; 20])))
        .certificate(&stranger)
        .certificate(&stranger)
        .certificate(&stranger);
    let times = (now().plus(-DAY), Some(now().plus(DAY)));
    for _ in 0..1000 {
        let issuer_key = ca.certificate.public_key();
        response = response.answer(&leaf.certificate, issuer_key, CertStatus::Good, times);
    }
    let crowd: Vec<OcspResponse> = vec![response.signed_by(&key()).unwrap(); 16];
    let crls = [root.crl(|c| c)];
    let sources = StatusSources {
        crls: &crls,
        ocsp: &crowd,
    };
    let start = Instant::now();
    let end = find_path(
        &leaf.certificate,
        std::slice::from_ref(&ca.certificate),
        &[root.anchor()],
        sources,
        &PathRules::new(now()),
        &mut Budget::default(),
    );
    let spent = start.elapsed();
    let why = "no authorised responder";
    fails(end, PathErrorKind::RevocationUnavailable, why);
    assert!(spent < Duration::from_secs(2), "{spent:?}");
}
