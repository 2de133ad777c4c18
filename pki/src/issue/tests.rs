use super::*;
use crate::crl::RevocationReason;
use crate::crypto::{KeyType, MlDsa, SoftKey};
use crate::der::is_der;

/// Every kind of key signs certificates and CRLs that verify, PSS included, and that are DER.
#[test]
fn every_kind_of_key_issues() {
    let pss = SignatureAlgorithm::RsaPss {
        digest: DigestAlgorithm::Sha256,
        mgf: DigestAlgorithm::Sha256,
        salt_len: 222,
    };
    let leaf_key = SoftKey::generate(KeyType::P256).unwrap();
    for (kind, algorithm) in [
        (KeyType::Rsa(2048), None),
        (KeyType::Rsa(2048), Some(pss)),
        (KeyType::P256, None),
        (
            KeyType::P384,
            Some(SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256)),
        ),
        (KeyType::P521, None),
        (KeyType::Ed25519, None),
        (KeyType::MlDsa(MlDsa::Dsa44), None),
        (KeyType::MlDsa(MlDsa::Dsa65), None),
        (KeyType::MlDsa(MlDsa::Dsa87), None),
    ] {
        let key = SoftKey::generate(kind).unwrap();
        let algorithm = algorithm.unwrap_or_else(|| key.default_algorithm());
        let ca = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key())
            .authority(Some(0))
            .algorithm(algorithm)
            .self_signed(&key)
            .unwrap();
        let leaf = CertificateBuilder::new(common_name("Leaf").unwrap(), leaf_key.public_key())
            .mail_signer(&["leaf@example.org"])
            .algorithm(algorithm)
            .issued_by(&ca, &key)
            .unwrap();
        let crl = CrlBuilder::new(UnixTime(1), None)
            .revoke(leaf.serial(), UnixTime(1), RevocationReason::Superseded)
            .algorithm(algorithm)
            .issued_by(&ca, &key)
            .unwrap();
        for (der, verified) in [
            (ca.der(), ca.verify_signature(ca.public_key())),
            (leaf.der(), leaf.verify_signature(ca.public_key())),
            (crl.der(), crl.verify_signature(ca.public_key())),
        ] {
            assert!(is_der(der));
            assert_eq!(verified, Ok(()), "{algorithm:?}");
        }
        assert!(crl.find(leaf.serial()).is_some());
        assert_eq!(
            SignatureAlgorithm::from_identifier(leaf.signature_algorithm()),
            Ok(algorithm)
        );
    }
}

#[test]
fn an_algorithm_that_the_key_does_not_have_is_an_error() {
    let key = SoftKey::generate(KeyType::Ed25519).unwrap();
    let builder = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key());
    let wrong = builder.algorithm(SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256));
    assert_eq!(wrong.self_signed(&key).unwrap_err(), KeyError::Unsupported);
}

#[test]
fn serials_are_positive_and_differ() {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let serial = |name: &str| {
        let certificate = CertificateBuilder::new(common_name(name).unwrap(), key.public_key())
            .self_signed(&key)
            .unwrap();
        certificate.serial().to_vec()
    };
    let (a, b) = (serial("a"), serial("b"));
    assert!(a != b && a.len() == 16 && a.iter().take(1).all(|first| (0x40..0x80).contains(first)));
}
