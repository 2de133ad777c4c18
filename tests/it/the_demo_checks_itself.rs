//! `kenin demo --once`: everything on loopback, its own results checked, exit 0; and what it says of private keys, of mail
//! that was opened and of a thief is in its files.
//! Without `--once` it stays up, and the lines it prints work as printed.

use std::process::Command;
use std::time::{Duration, Instant};

use kenin_tests::client::{Envelope, send};
use kenin_tests::kenin::kenin;
use kenin_tests::parts;
use kenin_tests::sink::split;
use kenin_tests::world::{Folder, Process, files, run, wait_for};

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
        "must be encrypted: on the wire",
        "its reader's key is here: opened",
        "taken by a thief: stays closed",
        "X-Kenin-Decryption: opened; integrity=signature; sender=proven",
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

/// What it tells of Bob, Alice and Mallory, by its files.
#[test]
fn mail_for_people_is_protected_and_opened_and_a_thief_gets_nothing() {
    let folder = Folder::new();
    let dir = folder.join("demo");
    let name = dir.display().to_string();
    let output = kenin(&["demo", "--once", "--format", "jsonl", "--dir", &name]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.iter().all(|row| row["ok"] == true), "{text}");
    let (_, last) = rows.split_at(rows.len() - 3);
    let verdicts: Vec<_> = last.iter().map(|row| row["verdict"].clone()).collect();
    assert_eq!(verdicts, ["encrypted", "pass", "-"], "{text}");

    let shows = |octets: &[u8], text: &str| {
        let mut windows = octets.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    };
    let mail = |site: &str, number: u8| {
        let file = dir.join(format!("{site}/mailbox/000{number}.eml"));
        std::fs::read(file).unwrap()
    };
    // On the wire, and what Mallory gets of it: the same ciphertext.
    let (wire, stolen) = (mail("office", 1), mail("home", 2));
    assert!(shows(&wire, "smime-type=enveloped-data"));
    assert_eq!(split(&wire).1, split(&stolen).1);
    assert!(shows(&stolen, "From: Mallory"));
    // Alice's copies, and nothing else in all of the folder, hold what Bob wrote.
    let secret = "we offer 1,000 yen";
    let told: Vec<_> = files(&dir)
        .into_iter()
        .filter(|file| shows(&std::fs::read(file).unwrap_or_default(), secret))
        .collect();
    let hers = [1, 4].map(|number| dir.join(format!("home/mailbox/000{number}.eml")));
    assert_eq!(told.len(), hers.len(), "{told:?}");
    assert!(hers.iter().all(|file| told.contains(file)), "{told:?}");
    let config = dir.join("home/kenin.toml").display().to_string();
    let opened = hers[0].display().to_string();
    let verified = kenin(&["verify", "--config", &config, &opened]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    // By the logs of the two processes that have the keys.
    for (site, what, times) in [("office", "sign", 1), ("home", "unwrap", 2)] {
        let log = std::fs::read_to_string(dir.join(site).join("key-process.log")).unwrap();
        let used = log.lines().filter(|line| line.contains("a key was used"));
        let used: Vec<&str> = used.collect();
        assert_eq!(used.len(), times, "{log}");
        let word = format!("\"what\":\"{what}\"");
        assert!(used.iter().all(|line| line.contains(&word)), "{log}");
    }
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
