//! RFC 4134 and RFC 9216: the mathematics of their signed examples is right where the algorithm is
//! supported; a modern policy refuses the old ones with a reason and never with a panic or an error.

use std::path::Path;

use kenin_tests::parts;
use kenin_tests::verify::{Said, verify};

fn one(folder: &Path, file: &str, anchor: &str, at: &str, content: Option<&str>) -> Said {
    let mut options = vec![
        format!("--anchor={}", folder.join(anchor).display()),
        format!("--at={at}"),
        "--revocation=off".to_owned(),
    ];
    options.extend(content.map(|c| format!("--content={}", folder.join(c).display())));
    let (mut said, _, talk) = verify(&options, &[&folder.join(file)]);
    assert!(
        said[0].json["error"].is_null(),
        "{file}: {} {talk}",
        said[0].json
    );
    said.remove(0)
}

#[test]
fn rfc_4134() {
    let Some(folder) = parts::data("rfc4134") else {
        return;
    };
    let at = "2003-06-01T00:00:00Z";
    // (file, detached content, mathematics right, why not otherwise)
    for (file, content, right) in [
        ("4.1.bin", None, false),
        ("4.2.bin", None, true),
        ("4.3.bin", Some("ExContent.bin"), false),
        ("4.4.bin", None, false),
        ("4.5.bin", None, true),
        ("4.6.bin", None, false),
        ("4.7.bin", None, false),
        ("4.8.eml", None, false),
        ("4.9.eml", None, false),
        ("4.10.bin", None, false),
        ("4.11.bin", None, false),
    ] {
        let said = one(&folder, file, "CarlRSASelf.cer", at, content);
        println!(
            "{file}: {} ({}), content {}, signature {}",
            said.result(),
            said.reason(),
            said.check("content"),
            said.check("signature")
        );
        assert_ne!(said.result(), "pass", "{file}");
        if right {
            assert_eq!(
                (said.check("content"), said.check("signature")),
                ("ok", "ok"),
                "{file}"
            );
        }
    }
}

#[test]
fn rfc_9216() {
    let Some(folder) = parts::data("rfc9216") else {
        return;
    };
    let content = kenin_tests::world::Folder::new();
    let text = content.join("content");
    std::fs::write(&text, "This is some sample content.").unwrap();
    let keys = folder.join("certs-and-keys");
    for (file, detached, result, algorithm) in [
        ("signedByAliceRSA", false, "permerror", "rsa-pkcs1"),
        ("signedByAliceRSAPSS", false, "policy", "rsa-pss"),
        ("signedByCarlosEd25519", false, "policy", "ed25519"),
        ("signedByCarlosDetached", true, "", "ed25519"),
        (
            "signedByAliceAndCarlosNoCerts",
            false,
            "permerror",
            "ed25519",
        ),
    ] {
        let mut options: Vec<String> = ["--at=2021-01-01T00:00:00Z", "--revocation=off"]
            .map(str::to_owned)
            .to_vec();
        for certificate in ["lamps-alice.crt", "lamps-carlos.crt"] {
            options.push(format!(
                "--intermediate={}",
                keys.join(certificate).display()
            ));
        }
        if detached {
            options.push(format!("--content={}", text.display()));
        }
        let path = folder.join(format!("binary-files/{file}.p7m"));
        let (said, _, talk) = verify(&options, &[&path]);
        let said = &said[0];
        assert!(said.json["error"].is_null(), "{file}: {} {talk}", said.json);
        assert_eq!(
            (said.check("content"), said.check("signature")),
            ("ok", "ok"),
            "{file}: {}",
            said.json
        );
        assert_eq!(said.json["signatures"][0]["algorithm"], algorithm, "{file}");
        // No anchor is trusted here; and two of them have no signed attributes.
        assert_ne!(said.result(), "pass", "{file}");
        assert!(
            result.is_empty() || said.result() == result,
            "{file}: {}",
            said.json
        );
    }
    for file in [
        "authEnvelopedForBobChaCha20Poly1305",
        "encryptedForBobRSAOaep",
        "encryptedKekri",
    ] {
        let path = folder.join(format!("binary-files/{file}.p7m"));
        let (said, _, _) = verify(&["--revocation=off".to_owned()], &[&path]);
        assert!(
            said[0].json["error"].is_null() && said[0].result() == "null",
            "{}",
            said[0].json
        );
    }
}
