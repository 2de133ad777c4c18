//! DSA in the paths of old authorities, with the certificates of NIST PKITS 4.1.4 to 4.1.6.

use super::*;
use crate::crypto::{PublicKey, VerifyError};
use crate::der::write;

/// A certificate of the suite; `None` where its data is absent.
fn suite() -> Option<impl Fn(&str) -> Certificate> {
    let files = crate::testing::data_files(&["pkits/certs"], &["crt"])?;
    Some(move |name: &str| {
        let is_it = |(path, _): &&(std::path::PathBuf, Vec<u8>)| path.ends_with(name);
        let (_, der) = files.iter().find(is_it).unwrap();
        Certificate::from_der(der).unwrap()
    })
}

fn old(allow_dsa: bool) -> PathRules {
    PathRules {
        purpose: Purpose::Any,
        revocation: RevocationMode::Off,
        algorithms: AlgorithmFloor {
            minimum_rsa_bits: 1024,
            allow_sha1: true,
            allow_dsa,
        },
        ..PathRules::new(UnixTime::parse_rfc3339("2020-01-01T00:00:00Z").unwrap())
    }
}

fn path(
    target: &Certificate,
    candidates: &[Certificate],
    anchor: &Certificate,
    rules: &PathRules,
) -> Result<usize, PathErrorKind> {
    let anchors = [TrustAnchor::from_certificate(anchor.clone())];
    find_path(
        target,
        candidates,
        &anchors,
        StatusSources::default(),
        rules,
        &mut Budget::default(),
    )
    .map(|found| found.certificates().len())
    .map_err(|error| error.kind())
}

#[test]
fn dsa_is_verified_and_too_weak_unless_it_is_allowed() {
    let Some(suite) = suite() else { return };
    let root = suite("TrustAnchorRootCertificate.crt");
    let ca = [suite("DSACACert.crt")];
    let good = suite("ValidDSASignaturesTest4EE.crt");
    let bad = suite("InvalidDSASignatureTest6EE.crt");
    assert!(path(&good, &ca, &root, &old(true)).is_ok());
    assert_eq!(
        path(&bad, &ca, &root, &old(true)),
        Err(PathErrorKind::Invalid)
    );
    assert_eq!(
        path(&good, &ca, &root, &old(false)),
        Err(PathErrorKind::WeakAlgorithm)
    );
}

/// Whoever may choose the parameters of a key can make its signatures fit: another certificate that
/// happens to be at hand does not give them.
#[test]
fn parameters_are_inherited_on_the_way_to_the_anchor_only() {
    let Some(suite) = suite() else { return };
    let root = suite("TrustAnchorRootCertificate.crt");
    let ca = suite("DSACACert.crt");
    let heir = suite("DSAParametersInheritedCACert.crt");
    let leaf = suite("ValidDSAParameterInheritanceTest5EE.crt");
    assert!(path(&leaf, &[heir.clone(), ca.clone()], &root, &old(true)).is_ok());
    // The same without an authority between: the anchor's parameters.
    assert!(path(&leaf, std::slice::from_ref(&heir), &ca, &old(true)).is_ok());

    let other = Party::root("Root");
    let below = authority(CertificateBuilder::new(
        heir.subject().clone(),
        heir.public_key(),
    ));
    let without = below
        .validity(
            UnixTime::parse_rfc3339("2010-01-01T00:00:00Z").unwrap(),
            UnixTime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap(),
        )
        .issued_by(&other.certificate, &other.key)
        .unwrap();
    let candidates = [without, ca, heir.clone()];
    assert_eq!(
        path(&leaf, &candidates, &other.certificate, &old(true)),
        Err(PathErrorKind::UnsupportedAlgorithm)
    );
    // A key without parameters as an anchor has nothing to inherit from.
    assert_eq!(
        path(&leaf, &[], &heir, &old(true)),
        Err(PathErrorKind::UnsupportedAlgorithm)
    );
}

#[test]
fn an_heir_is_another_key_under_other_parameters() {
    let Some(suite) = suite() else { return };
    let ca = suite("DSACACert.crt");
    let heir = suite("DSAParametersInheritedCACert.crt");
    let leaf = suite("ValidDSAParameterInheritanceTest5EE.crt");
    let own = heir.public_key();
    assert!(own.is_incomplete());
    assert_eq!(leaf.verify_signature(own), Err(VerifyError::Unsupported));
    let whole = own.inheriting(ca.public_key()).unwrap();
    assert!(!whole.is_incomplete());
    assert_ne!(whole.id(), own.id());
    assert_eq!(leaf.verify_signature(&whole), Ok(()));
    assert_eq!(whole.inheriting(ca.public_key()), None);
    assert_eq!(own.inheriting(own), None);
    assert_eq!(own.inheriting(key().public_key()), None);
}

/// BOMB-07: sizes that are not those of FIPS 186 are refused before any mathematics.
#[test]
fn dsa_keys_out_of_bounds_are_refused() {
    let Some(suite) = suite() else { return };
    let leaf = suite("ValidDSASignaturesTest4EE.crt");
    let big = |bits: usize| {
        let mut number = vec![0xff; bits / 8];
        number.insert(0, 0);
        write::element(crate::der::INTEGER, &number)
    };
    let spki = |p: Vec<u8>, q: Vec<u8>, g: Vec<u8>, y: Vec<u8>| {
        let parameters = write::seq(&[p, q, g]);
        let algorithm =
            crate::algorithm::AlgorithmIdentifier::new(oid::DSA, Some(&parameters)).to_der();
        PublicKey::from_spki(&write::seq(&[algorithm, write::bit_string(&y)])).unwrap()
    };
    let small = |number| write::integer(number);
    for (what, key) in [
        ("p", spki(big(100_000), big(160), small(2), small(3))),
        ("q", spki(big(1024), big(1000), small(2), small(3))),
        ("g is 0", spki(big(1024), big(160), small(0), small(3))),
        ("g is 1", spki(big(1024), big(160), small(1), small(3))),
        ("g beyond p", spki(big(1024), big(160), big(1024), small(3))),
        ("y is 1", spki(big(1024), big(160), small(2), small(1))),
        ("y beyond p", spki(big(1024), big(160), small(2), big(2048))),
    ] {
        assert_eq!(
            leaf.verify_signature(&key),
            Err(VerifyError::BadKey),
            "{what}"
        );
        let spent = crate::testing::cpu_time(5, || {
            let _ = leaf.verify_signature(&key);
        });
        assert!(
            spent < std::time::Duration::from_millis(1),
            "{what}: {spent:?}"
        );
    }
}
