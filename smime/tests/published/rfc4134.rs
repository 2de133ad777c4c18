//! The examples of RFC 4134: SHA-1, DSA, 1024-bit RSA. DSA is not implemented; where RSA signs, the
//! mathematics has to be right.

use std::path::Path;

use kenin_smime::{Check, Defect, Examined, LayerKind, Limits, SignerFacts, examine_cms};

use crate::{mail, read, suite};

fn object(folder: &Path, name: &str, content: Option<&[u8]>) -> Examined {
    examine_cms(
        &read(folder, &format!("{name}.bin")),
        content,
        &Limits::default(),
        &[],
    )
}

fn signers(examined: &Examined) -> &[SignerFacts] {
    &examined.root_signature().unwrap().signers
}

#[test]
fn rsa_signatures_are_right_and_without_signed_attributes() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    for name in ["4.2", "4.5"] {
        let examined = object(&folder, name, None);
        let [signer] = signers(&examined) else {
            panic!("{name} has one signer")
        };
        assert_eq!(
            (signer.content, signer.signature()),
            (Check::Ok, Check::Ok),
            "{name}"
        );
        assert_eq!(signer.defect, Some(Defect::NoSignedAttributes), "{name}");
    }
}

#[test]
fn dsa_is_said_to_be_unsupported_and_the_content_is_still_checked() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    for name in ["4.4", "4.10"] {
        let examined = object(&folder, name, None);
        let signer = &signers(&examined)[0];
        assert_eq!(signer.content, Check::Ok, "{name}");
        assert_eq!(signer.defect, Some(Defect::UnsupportedAlgorithm), "{name}");
        assert_eq!(signer.candidates.len(), 1, "{name}");
        assert_eq!(signer.signature(), Check::Unchecked, "{name}");
    }
    let content = read(&folder, "ExContent.bin");
    for (name, content, count) in [
        ("4.1", None, 1),
        ("4.3", Some(&*content), 1),
        ("4.6", None, 2),
        ("4.7", None, 1),
    ] {
        let examined = object(&folder, name, content);
        assert_eq!(signers(&examined).len(), count, "{name}");
        for signer in signers(&examined) {
            assert_eq!(signer.defect, Some(Defect::NoSignedAttributes), "{name}");
            assert!(!signer.signature().is_ok(), "{name}");
        }
    }
}

#[test]
fn a_content_beside_an_object_that_has_one_is_refused_even_when_equal() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    let content = read(&folder, "ExContent.bin");
    for name in ["4.1", "4.2", "4.4", "4.5", "4.6", "4.7", "4.10"] {
        let examined = object(&folder, name, Some(&content));
        assert_eq!(
            examined.root_signature().unwrap().defect,
            Some(Defect::TwoContents),
            "{name}"
        );
        assert!(
            signers(&examined)
                .iter()
                .all(|signer| !signer.content.is_ok()),
            "{name}"
        );
    }
}

#[test]
fn every_other_kind_of_object_is_recognised() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    for (name, kind) in [
        ("4.11", LayerKind::CertsOnly),
        ("5.1", LayerKind::Enveloped),
        ("5.2", LayerKind::Enveloped),
        ("6.0", LayerKind::Digested),
        ("7.1", LayerKind::Encrypted),
        ("7.2", LayerKind::Encrypted),
        ("3.1", LayerKind::Other),
    ] {
        let examined = object(&folder, name, None);
        assert_eq!(examined.layers[0].kind, kind, "{name}");
        assert!(examined.signatures.is_empty(), "{name}");
    }
    let examined = crate::examine(&mail(&folder, "5.3.eml"));
    assert!(examined.root_encrypted());
}

#[test]
fn the_signed_mails_are_split_and_read() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    for (name, kind, section) in [
        ("4.8.eml", LayerKind::ClearSigned, "2"),
        ("4.9.eml", LayerKind::Opaque, "1"),
    ] {
        let raw = mail(&folder, name);
        let examined = crate::examine(&raw);
        let root = examined.root_signature().unwrap();
        assert_eq!(
            (root.kind, root.section.as_str(), root.defect),
            (kind, section, None),
            "{name}"
        );
        assert_eq!(root.signers[0].candidates.len(), 1, "{name}");
        if let Some(content) = &root.content {
            assert_eq!(&raw[content.clone()], b"\r\nThis is some sample content.");
        }
    }
}
