//! CMS objects made with the LAMPS sample keys of RFC 9216.

use kenin_pki::certificate::Certificate;
use kenin_smime::{Check, Defect, Examined, LayerKind, Limits, examine_cms};

use crate::{read, suite};

fn object(name: &str, content: Option<&[u8]>, known: &[Certificate]) -> Option<Examined> {
    let folder = suite("rfc9216/binary-files")?;
    Some(examine_cms(
        &read(&folder, &format!("{name}.p7m")),
        content,
        &Limits::default(),
        known,
    ))
}

fn content_of(name: &str) -> Option<Vec<u8>> {
    // The detached object signs what the opaque one holds: the first primitive OCTET STRING.
    let folder = suite("rfc9216/binary-files")?;
    let raw = read(&folder, &format!("{name}.p7m"));
    let tape = kenin_pki::ber::Tape::parse_prefix(&raw, &Default::default()).unwrap();
    let signed = tape.root().children().nth(1)?.first_child()?;
    let content = signed.children().nth(2)?.children().nth(1)?.first_child()?;
    Some(content.octet_string()?.contiguous().into_owned())
}

#[test]
fn pkcs1_pss_and_ed25519_are_right() {
    for (name, algorithm, attributes) in [
        ("signedByAliceRSA", "rsa-pkcs1", false),
        ("signedByAliceRSAPSS", "rsa-pss", true),
        ("signedByCarlosEd25519", "ed25519", true),
    ] {
        let Some(examined) = object(name, None, &[]) else {
            return;
        };
        let signer = &examined.root_signature().unwrap().signers[0];
        assert_eq!(
            (signer.content, signer.signature()),
            (Check::Ok, Check::Ok),
            "{name}"
        );
        assert_eq!(signer.algorithm.unwrap().name(), algorithm, "{name}");
        let expected = (!attributes).then_some(Defect::NoSignedAttributes);
        assert_eq!(signer.defect, expected, "{name}");
    }
}

#[test]
fn a_detached_object_is_right_over_its_content_only() {
    let Some(content) = content_of("signedByCarlosEd25519") else {
        return;
    };
    let examined = object("signedByCarlosDetached", Some(&content), &[]).unwrap();
    let signer = &examined.root_signature().unwrap().signers[0];
    assert_eq!((signer.content, signer.signature()), (Check::Ok, Check::Ok));
    let wrong = object("signedByCarlosDetached", Some(b"something else"), &[]).unwrap();
    assert!(!wrong.root_signature().unwrap().signers[0].content.is_ok());
    let alone = object("signedByCarlosDetached", None, &[]).unwrap();
    assert_eq!(
        alone.root_signature().unwrap().defect,
        Some(Defect::Malformed)
    );
}

#[test]
fn certificates_from_elsewhere_serve_where_the_object_has_none() {
    let Some(folder) = suite("rfc9216/certs-and-keys") else {
        return;
    };
    let known: Vec<_> = ["lamps-alice.crt", "lamps-carlos.crt"]
        .iter()
        .flat_map(|name| Certificate::from_pem_or_der_many(&read(&folder, name)).unwrap())
        .collect();
    let name = "signedByAliceAndCarlosNoCerts";
    let with = object(name, None, &known).unwrap();
    let signers = &with.root_signature().unwrap().signers;
    assert_eq!(signers.len(), 2);
    assert!(
        signers
            .iter()
            .all(|signer| signer.signature().is_ok() && signer.content.is_ok())
    );
    let without = object(name, None, &[]).unwrap();
    assert!(
        without
            .root_signature()
            .unwrap()
            .signers
            .iter()
            .all(|s| s.candidates.is_empty())
    );
}

#[test]
fn encrypted_objects_are_recognised() {
    for (name, kind) in [
        (
            "authEnvelopedForBobChaCha20Poly1305",
            LayerKind::AuthEnveloped,
        ),
        ("authEnvelopedForDanaX25519HKDF", LayerKind::AuthEnveloped),
        ("encryptedForBobAndDana", LayerKind::Enveloped),
        ("encryptedForBobRSAOaep", LayerKind::Enveloped),
        ("encryptedKekri", LayerKind::Enveloped),
    ] {
        let Some(examined) = object(name, None, &[]) else {
            return;
        };
        assert_eq!(examined.encryption[0].kind, kind, "{name}");
        assert!(examined.root_encrypted() && examined.encryption[0].algorithm_oid.is_some());
    }
}
