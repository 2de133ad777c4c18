//! The examples of RFC 9882 appendix B. They hold no certificates: their keys are those of RFC 9881 appendix C, made from
//! one seed that is printed there.

use kenin_pki::ber::Tape;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, MlDsa, SigningKey, SoftKey};
use kenin_pki::der::write;
use kenin_pki::issue::CertificateBuilder;
use kenin_pki::name::Name;
use kenin_pki::pem;
use kenin_smime::{Check, Defect, Limits, examine_cms};

use crate::{read, suite};

/// The seed: 00 01 02 to 1f.
fn key(set: MlDsa) -> SoftKey {
    let seed: Vec<u8> = (0..32).collect();
    let algorithm = write::seq(&[write::oid(set.oid())]);
    let inner = write::octet_string(&write::implicit(0, &seed));
    SoftKey::from_pkcs8(&write::seq(&[write::integer(0), algorithm, inner])).unwrap()
}

/// A certificate of a key by the name and serial number that an object has for its signer.
fn certificate(object: &[u8], key: &SoftKey) -> Certificate {
    let tape = Tape::parse_prefix(object, &Default::default()).unwrap();
    let signed = tape.root().children().nth(1).unwrap();
    let signed = signed.first_child().unwrap();
    let signers = signed.children().last().unwrap();
    let signer = signers.first_child().unwrap();
    let sid: Vec<_> = signer.children().nth(1).unwrap().children().collect();
    let issuer = Name::from_der(sid[0].raw()).unwrap();
    let serial = &sid[1].raw()[2..];
    CertificateBuilder::new(issuer.clone(), key.public_key())
        .serial(serial)
        .sign(&issuer, &[1; 20], key)
        .unwrap()
}

#[test]
fn the_examples_of_rfc_9882_are_right() {
    let Some(folder) = suite("pq/ml-dsa/examples") else {
        return;
    };
    for (name, set) in [
        ("mldsa44", MlDsa::Dsa44),
        ("mldsa65", MlDsa::Dsa65),
        ("mldsa87", MlDsa::Dsa87),
    ] {
        let file = read(&folder, &format!("{name}-signed-attrs.pem"));
        let object = pem::decode(&file).unwrap().remove(0).bytes;
        let key = key(set);
        let look = |object: &[u8], known: &[Certificate]| {
            let examined = examine_cms(object, None, &Limits::default(), known);
            let signature = examined.root_signature().unwrap();
            signature.signers[0].clone()
        };
        let known = [certificate(&object, &key)];
        let signer = look(&object, &known);
        assert_eq!(signer.defect, None, "{name}: {:?}", signer.detail);
        let checks = (signer.content, signer.signature());
        assert_eq!(checks, (Check::Ok, Check::Ok), "{name}");
        assert_eq!(signer.algorithm.unwrap().name(), set.name());
        assert_eq!(signer.digest, Some(DigestAlgorithm::Sha512), "{name}");
        // Nobody else's.
        let other = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
        let other = look(&object, &[certificate(&object, &other)]);
        assert_eq!(other.defect, Some(Defect::SignatureInvalid), "{name}");
        // Every octet of content and signature counts.
        let mut changed = object.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        let defect = look(&changed, &known).defect;
        assert_eq!(defect, Some(Defect::SignatureInvalid), "{name}");
        let text = b"signed-data example";
        let mut windows = object.windows(text.len());
        let at = windows.position(|octets| octets == text).unwrap();
        let mut changed = object.clone();
        changed[at] ^= 1;
        let defect = look(&changed, &known).defect;
        assert_eq!(defect, Some(Defect::DigestMismatch), "{name}");
    }
}
