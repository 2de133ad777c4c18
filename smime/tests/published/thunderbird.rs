//! Thunderbird's S/MIME test messages, made with NSS: BER indefinite length in nearly all.

use std::collections::BTreeSet;

use kenin_smime::{Check, Defect, LayerKind};

use crate::{checks, examine, mail, suite};

fn names(folder: &std::path::Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".eml"))
        .collect()
}

/// Signed, altered afterwards, so that it must not verify.
fn is_tampered(name: &str) -> bool {
    name.contains(".bad.") || name.contains("mismatch-econtent")
}

#[test]
fn genuine_mail_is_right_tampered_mail_is_not_and_encrypted_mail_is_recognised() {
    let Some(folder) = suite("thunderbird/messages") else {
        return;
    };
    let (mut good, mut wrong, mut tampered, mut encrypted) = (0, Vec::new(), 0, 0);
    for name in names(&folder) {
        let raw = mail(&folder, &name);
        let examined = examine(&raw);
        let checks = checks(&examined);
        assert_eq!(examined.defect, None, "{name}");
        if is_tampered(&name) {
            tampered += 1;
            assert_ne!(checks, Some((Check::Ok, Check::Ok)), "{name}");
            assert!(examined.root_signature().is_some(), "{name}");
        } else if examined.root_encrypted() {
            encrypted += 1;
            assert!(examined.signatures.is_empty(), "{name}");
            assert_eq!(examined.layers[0].kind, LayerKind::Enveloped, "{name}");
            assert!(examined.encryption[0].recipients > 0, "{name}");
            assert_eq!(examined.encryption[0].defect, None, "{name}");
        } else {
            let root = examined
                .root_signature()
                .unwrap_or_else(|| panic!("{name} is signed"));
            let signer = root.signers.first();
            if checks == Some((Check::Ok, Check::Ok)) {
                good += 1;
                assert!(
                    signer.is_some_and(|signer| signer.signing_time.is_some()),
                    "{name}"
                );
            } else {
                wrong.push(format!(
                    "{name}: {:?} {:?} {checks:?}",
                    root.defect, root.detail
                ));
            }
        }
    }
    eprintln!("good {good}, tampered {tampered}, encrypted {encrypted}, not right: {wrong:#?}");
    assert_eq!(tampered, 8);
    assert_eq!(encrypted, 13);
    assert_eq!(good + wrong.len(), 45);
    assert!(good >= 41, "{wrong:#?}");
}

#[test]
fn each_tampered_mail_is_refused_for_its_own_reason() {
    let Some(folder) = suite("thunderbird/messages") else {
        return;
    };
    for name in names(&folder).into_iter().filter(|name| is_tampered(name)) {
        let examined = examine(&mail(&folder, &name));
        let root = examined.root_signature().unwrap();
        let reason = root.defect.or_else(|| root.signers[0].defect);
        let expected = if name.contains(".bad.") {
            Defect::DigestMismatch
        } else {
            Defect::TwoContents
        };
        assert_eq!(reason, Some(expected), "{name}");
    }
}
