//! `kenin demo --once`: everything in one process on loopback, its own results checked, exit 0.
//! Without `--once` it stays up, and the lines it prints work as printed.

use std::process::Command;
use std::time::{Duration, Instant};

use kenin_tests::client::{Envelope, send};
use kenin_tests::kenin::kenin;
use kenin_tests::parts;
use kenin_tests::world::{Folder, Process, run, wait_for};

#[test]
fn once_ends_with_0_and_shows_a_table() {
    let start = Instant::now();
    let output = kenin(&["demo", "--once"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    for part in [
        "pass",
        "digest-mismatch",
        "from-mismatch",
        "revoked",
        "issuer-not-trusted",
        "not-signed",
        "signature-not-at-root",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn once_keeps_its_folder_when_it_is_named() {
    let folder = Folder::new();
    let dir = folder.join("demo");
    let output = kenin(&["demo", "--once", "--dir", &dir.display().to_string()]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(std::fs::read_dir(&dir).unwrap().count() > 0);
}

#[test]
fn the_lines_it_prints_work_as_printed() {
    let folder = Folder::new();
    // A shell must take it for one word.
    let dir = folder.join("it's my demo");
    let mut command = Command::new(parts::kenin());
    command.args(["demo", "--dir"]).arg(&dir);
    let demo = Process::start(command, &folder.join("log"));
    wait_for("the directions", || demo.output().contains("Ctrl-C"));
    let printed = demo.output();
    let (_, lines) = printed.split_once("Send to it\n").unwrap();
    let address = lines.split("curl smtp://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    // Commands are indented. The harness's client does what curl would, which may not be installed.
    let script: String = lines
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("  ("))
        .filter(|line| !line.contains("curl ") && !line.contains("--upload-file"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(script.contains("verify --config"), "{script}");
    let said = run(Command::new("sh").args(["-euc", &script]));
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("[pass: ok]"), "{said}");

    let raw = std::fs::read(dir.join("hello.eml")).unwrap();
    let envelope = Envelope::new("alice@demo.example", "carol@recipient.example");
    let reply = send(address.parse().unwrap(), &envelope, &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    wait_for("the mail in the list", || {
        demo.output()
            .contains("smime=pass body.smime-identifier=alice@demo.example")
    });
}
