//! Thunderbird's S/MIME test messages: the mathematics is right for the genuine ones signed at the
//! root, wrong for the tampered ones; what is encrypted at the root has no result; nothing is an error.

use std::path::{Path, PathBuf};

use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::parts;
use kenin_tests::sink::Sink;
use kenin_tests::verify::verify;

#[test]
fn genuine_tampered_and_enveloped_messages_are_told_apart() {
    let Some(folder) = parts::data("thunderbird/messages") else {
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "eml"))
        .collect();
    files.sort();
    let paths: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
    let anchor = format!("--anchor={}", folder.join("TestCA.pem").display());
    let (said, code, talk) = verify(&[anchor, "--revocation=off".to_owned()], &paths);
    // Several files: 1 where one is not pass; 65 or 66 only where one could not be read.
    assert_eq!(code, 1, "{talk}");
    let (mut genuine, mut right, mut bad, mut sealed) = (0, 0, 0, 0);
    let mut not_right = Vec::new();
    for (file, said) in files.iter().zip(&said) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(said.json["error"].is_null(), "{name}: {}", said.json);
        let root_signed = said.json["signatures"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["root"] != false);
        let maths = said.check("content") == "ok" && said.check("signature") == "ok";
        if name.ends_with(".bad.eml") || name.ends_with("mismatch-econtent.eml") {
            bad += 1;
            assert!(!maths, "{name}: {}", said.json);
            assert_ne!(said.result(), "pass", "{name}");
        } else if said.result() == "null" {
            sealed += 1;
        } else if root_signed {
            genuine += 1;
            if maths {
                right += 1;
            } else {
                not_right.push(format!("{name}: {}", said.reason()));
            }
            // Their addresses stand in the subject's name only, which the default does not take.
            assert_ne!(said.result(), "pass", "{name}");
        }
    }
    println!("{right} of {genuine} genuine; not right: {not_right:#?}");
    assert!(right >= 41, "{right} of {genuine}: {not_right:#?}");
    assert_eq!((genuine, bad, sealed), (45, 8, 13));
    // The rest were signed over what is inside an encryption that was taken away from around it.
    assert!(
        not_right.iter().all(|name| name.contains(".env.dsig.")),
        "{not_right:#?}"
    );
}

#[test]
fn those_that_a_mail_program_calls_good_pass_where_the_subjects_address_counts() {
    let Some(folder) = parts::data("thunderbird/messages") else {
        return;
    };
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.anchor = "dn_email = true\nrevocation = \"off\"".to_owned();
    let gateway = Gateway::prepare(&setup);
    std::fs::copy(
        folder.join("TestCA.pem"),
        gateway.folder.join("anchors/root.pem"),
    )
    .unwrap();
    let files: Vec<PathBuf> = [
        "alice.dsig",
        "alice.sig",
        "alice.html.sig",
        "alice.future.dsig",
    ]
    .iter()
    .flat_map(|kind| ["SHA256", "SHA384", "SHA512"].map(|hash| format!("{kind}.{hash}")))
    .flat_map(|stem| ["multipart", "opaque"].map(|end| folder.join(format!("{stem}.{end}.eml"))))
    .filter(|path| path.exists())
    .collect();
    assert!(files.len() >= 10, "{files:?}");
    let paths: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
    let options = [
        format!("--config={}", gateway.config().display()),
        "--at=2026-06-01T00:00:00Z".to_owned(),
    ];
    let (said, code, talk) = verify(&options, &paths);
    for (file, said) in files.iter().zip(&said) {
        assert_eq!(
            said.result(),
            "pass",
            "{}: {} {talk}",
            file.display(),
            said.json
        );
    }
    assert_eq!(code, 0);
}
