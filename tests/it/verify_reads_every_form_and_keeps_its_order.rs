//! `kenin verify` as programs use it: mail and bare CMS, DER, BER and PEM, detached content, standard
//! input, many files at once in the order given, and the exit codes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kenin_tests::bombs;
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::cms::{Content, SignedForm, SignerForm};
use kenin_tests::forge::{Town, mime};
use kenin_tests::parts;
use kenin_tests::verify::{options, verify};
use kenin_tests::world::Folder;
use serde_json::Value;

struct Desk {
    folder: Folder,
    options: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        let folder = Folder::new();
        let trust = Town::get().write(folder.path());
        Self {
            options: options(&trust, true),
            folder,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn result(&self, path: &Path, more: &[String]) -> Value {
        let options = [&self.options[..], more].concat();
        let (said, _, _) = verify(&options, &[path]);
        said[0].json.clone()
    }
}

#[test]
fn bare_cms_in_every_coding() {
    let town = Town::get();
    let desk = Desk::new();
    let content = b"Just content, no mail\r\n";
    let form = SignerForm::new(&town.bob, content);
    let chain = [&town.bob.certificate[..], &town.issuer.certificate];
    let detached = SignedForm::detached(&form, content, &chain);
    let attached = detached.clone().attached(content);
    let chunked = SignedForm {
        content: Content::Chunked(content.to_vec(), 4),
        ..detached.clone()
    };
    let maths = |value: &Value| {
        let checks = &value["signatures"][0]["checks"];
        (
            checks["content"] == "ok" && checks["signature"] == "ok",
            checks["path"] == "ok",
        )
    };
    // The label of gpgsm.
    let gpgsm = pem("SIGNED MESSAGE", &attached.encode());
    for (name, bytes) in [
        ("attached.der", attached.encode()),
        ("attached.ber", chunked.encode()),
        ("attached.pem", pem("CMS", &attached.encode()).into_bytes()),
        ("pkcs7.pem", pem("PKCS7", &attached.encode()).into_bytes()),
        ("gpgsm.pem", gpgsm.into_bytes()),
    ] {
        let said = desk.result(&desk.file(name, &bytes), &[]);
        assert_eq!(maths(&said), (true, true), "{name}: {said}");
    }
    let text = desk.file("content", content);
    let other = desk.file("other", b"other");
    let with = |path: &Path| vec![format!("--content={}", path.display())];
    for (name, bytes) in [
        ("detached.der", detached.encode()),
        (
            "detached.ber",
            SignedForm {
                ber: true,
                ..detached.clone()
            }
            .encode(),
        ),
        ("detached.pem", pem("CMS", &detached.encode()).into_bytes()),
    ] {
        let file = desk.file(name, &bytes);
        let said = desk.result(&file, &with(&text));
        assert_eq!(maths(&said), (true, true), "{name}: {said}");
        let said = desk.result(&file, &with(&other));
        assert_eq!(
            said["signatures"][0]["checks"]["content"], "digest-mismatch",
            "{name}: {said}"
        );
        assert_eq!(said["result"], "fail");
        let said = desk.result(&file, &[]);
        assert_ne!(said["result"], "pass", "{name} without its content: {said}");
    }
    // Both contents, for a bare one too.
    let said = desk.result(&desk.file("both", &attached.encode()), &with(&text));
    assert_eq!(said["reason"], "two-contents", "{said}");
}

#[test]
fn many_files_keep_their_order_and_the_worst_sets_the_exit_code() {
    let town = Town::get();
    let desk = Desk::new();
    let good = town.clear_signed(&town.bob, "bob@example.jp", "good");
    let bad = town.clear_signed(&town.bob, "alice@example.jp", "bad");
    let mut files = Vec::new();
    for n in 0..120 {
        let raw = if n % 3 == 0 { &bad } else { &good };
        files.push(desk.file(&format!("{n}.eml"), raw));
    }
    let paths: Vec<_> = files.iter().map(|p| p.as_path()).collect();
    let (said, code, _) = verify(&desk.options, &paths);
    assert_eq!(code, 1);
    for (n, (path, said)) in files.iter().zip(&said).enumerate() {
        assert_eq!(said.json["file"], path.display().to_string());
        assert_eq!(said.result(), if n % 3 == 0 { "policy" } else { "pass" });
    }
    let (_, code, _) = verify(&desk.options, &[&files[1], &files[2]]);
    assert_eq!(code, 0);
    let missing = desk.folder.join("missing.eml");
    let (said, code, _) = verify(&desk.options, &[&files[1], &missing, &files[0]]);
    assert_eq!(code, 66);
    assert_eq!(said[0].result(), "pass");
    assert!(
        said[1].json["error"].is_string() && said[1].json["result"].is_null(),
        "{}",
        said[1].json
    );
    assert_eq!(said[2].result(), "policy");
    let (said, code, _) = verify(&desk.options, &[desk.folder.path()]);
    assert!(
        said[0].json["error"].is_string() && (code == 65 || code == 66),
        "{code}"
    );
}

#[test]
fn nothing_that_is_read_makes_it_panic() {
    let desk = Desk::new();
    let mut files = vec![
        desk.file("empty", b""),
        desk.file("line", b"\r\n"),
        desk.file("nul", &[0; 4096]),
        desk.file("ff", &[0xff; 4096]),
        desk.file("sequence", b"0"),
        desk.file("indefinite", &[0x30, 0x80]),
        desk.file("pem", b"-----BEGIN CMS-----\n"),
        desk.file("pem2", b"-----BEGIN CMS-----\n!!!!\n-----END CMS-----\n"),
        desk.file(
            "pem3",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ];
    let mut dice = kenin_tests::world::Dice::new(7);
    for n in 0..40 {
        let bytes: Vec<u8> = (0..dice.below(3000))
            .map(|_| dice.below(256) as u8)
            .collect();
        files.push(desk.file(&format!("random-{n}"), &bytes));
    }
    let paths: Vec<_> = files.iter().map(|p| p.as_path()).collect();
    let (said, code, talk) = verify(&desk.options, &paths);
    assert!(matches!(code, 1 | 65), "{code}: {talk}");
    assert!(!talk.contains("panicked"), "{talk}");
    assert!(said.iter().all(|s| s.result() != "pass"));
}

#[test]
fn standard_input_is_a_file_too() {
    let town = Town::get();
    let desk = Desk::new();
    let mut child = Command::new(parts::kenin())
        .args(["verify", "--format", "json"])
        .args(&desk.options)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "piped");
    child.stdin.take().unwrap().write_all(&raw).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = if json.is_array() { &json[0] } else { &json };
    assert_eq!(one["result"], "pass", "{json}");
}

#[test]
fn wrong_options_are_usage_errors() {
    let desk = Desk::new();
    let file = desk.file("x.eml", &mime::plain(&mime::headers("a@b.example"), "x"));
    let file = file.display().to_string();
    let run = |arguments: &[&str]| kenin_tests::kenin::kenin(arguments).status.code();
    assert_eq!(run(&["verify"]), Some(2));
    assert_eq!(run(&["verify", "--at", "yesterday", &file]), Some(2));
    assert_eq!(run(&["verify", "--revocation", "maybe", &file]), Some(2));
    assert_eq!(run(&["verify", "--nonsense", &file]), Some(2));
    let missing = run(&["verify", "--anchor", "/nonexistent.pem", &file]);
    assert!(matches!(missing, Some(65 | 66 | 78)), "{missing:?}");
}

#[test]
fn a_layer_that_nobody_signed_is_not_judged() {
    let desk = Desk::new();
    let object = bombs::compressed(1);
    let raw = mime::opaque(&mime::headers("bob@example.jp"), "compressed-data", &object);
    let said = desk.result(&desk.file("compressed.eml", &raw), &[]);
    assert_eq!(said["reason"], "unsupported-layer", "{said}");
    assert_eq!(said["rfc9219"], "unknown", "{said}");
}
