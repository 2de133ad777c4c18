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

/// BOMB-08: a list that nobody of weight signed names its part by an RDN of megabytes. The name was put together
/// again for every certificate, distribution point and signer, and counted as one comparison.
#[test]
fn long_relative_names_of_lists_are_counted() {
    let (root, ca, leaf) = three(same, person);
    let rdn = write::seq(&[
        write::oid(oid::COMMON_NAME),
        write::utf8_string(&"a".repeat(10_000_000)),
    ]);
    let scope = IssuingDistributionPoint {
        name: Some(DistributionPointName::Relative(rdn.into())),
        ..IssuingDistributionPoint::default()
    };
    let stranger = Party::root("Intermediate");
    let long = stranger.crl(|c| c.issuing_distribution_point(&scope));
    let crls = [root.crl(|c| c), ca.crl(|c| c), long.clone(), long];
    let rules = PathRules::new(now());
    let end = find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules);
    fails(end, PathErrorKind::Budget, "name comparisons");
    // Those of real lists are short.
    let short = write::seq(&[write::oid(oid::COMMON_NAME), write::utf8_string("1")]);
    let name = || Some(DistributionPointName::Relative(short.as_slice().into()));
    let leaf = ca.leaf("Alice", |b| {
        person(b).crl_distribution_points(&[DistributionPoint {
            name: name(),
            ..DistributionPoint::default()
        }])
    });
    let scope = IssuingDistributionPoint {
        name: name(),
        ..IssuingDistributionPoint::default()
    };
    let crls = [
        root.crl(|c| c),
        ca.crl(|c| c.issuing_distribution_point(&scope)),
    ];
    find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules).unwrap();
}
