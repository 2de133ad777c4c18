//! A revocation list that is too long for memory, through the real program: it is found in, it survives a restart
//! and its own file, and neither an older list nor one of another key takes its place.

use std::time::Duration;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::Authority;
use kenin_tests::forge::keys::Key;
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::{Folder, files, wait_for};

fn results(said: &str) -> Vec<String> {
    let word = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {}",
            value["result"].as_str().unwrap(),
            value["reason"].as_str().unwrap()
        )
    };
    said.lines().map(word).collect()
}

#[test]
fn a_long_list_is_found_in() {
    let town = Town::get();
    let folder = Folder::new();
    let trust = town.write(folder.path());
    let list = town.issuer.long_crl(&[&town.bob.serial], "20260101000000Z");
    std::fs::write(trust.crls.join("issuer.crl"), &list).unwrap();
    let mut mails = Vec::new();
    for (name, person) in [("alice", &town.alice), ("bob", &town.bob)] {
        let mail = folder.join(format!("{name}.eml"));
        let from = format!("{name}@example.jp");
        std::fs::write(&mail, town.clear_signed(person, &from, "hello")).unwrap();
        mails.push(mail.display().to_string());
    }
    let run = |crls: &str| {
        let mut words = vec![
            "verify",
            "--format",
            "jsonl",
            "--at",
            "2026-06-01T00:00:00Z",
        ];
        let (anchor, intermediates) = (
            trust.anchor.display().to_string(),
            trust.intermediates.display().to_string(),
        );
        words.extend([
            "--anchor",
            &anchor,
            "--intermediate",
            &intermediates,
            "--crl",
            crls,
        ]);
        words.extend(mails.iter().map(String::as_str));
        let output = kenin(&words);
        (
            results(&String::from_utf8(output.stdout).unwrap()),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let crls = trust.crls.display().to_string();
    assert_eq!(run(&crls).0, ["pass ok", "fail revoked"]);
    // One octet of an entry is another: the signature is over the whole.
    let mut changed = list.clone();
    let middle = changed.len() / 2;
    let place = middle
        + changed[middle..]
            .windows(4)
            .position(|w| w == [0x5a; 4])
            .unwrap();
    changed[place] ^= 1;
    std::fs::write(trust.crls.join("issuer.crl"), &changed).unwrap();
    assert_eq!(run(&crls).0, ["temperror revocation-unavailable"; 2]);
    // Cut off: said, and of no use.
    std::fs::write(trust.crls.join("issuer.crl"), &list[..list.len() - 9]).unwrap();
    let (words, said) = run(&crls);
    assert_eq!(words, ["temperror revocation-unavailable"; 2]);
    assert!(
        said.contains("issuer.crl") && said.contains("ends too early"),
        "{said}"
    );
}

#[test]
fn a_long_list_survives_restart_and_replacement() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::prepare(&Setup::new(sink.address));
    let file = gateway.folder.join("crls/issuer.crl");
    std::fs::write(
        &file,
        town.issuer.long_crl(&[&town.bob.serial], "20260201000000Z"),
    )
    .unwrap();
    gateway.restart();
    let mail = town.clear_signed(&town.bob, "bob@example.jp", "hello");
    let mut count = 0;
    let mut stamp = |gateway: &Gateway| {
        assert_eq!(gateway.send(&envelope(), &mail).code, 250);
        count += 1;
        let mails = sink.wait(count, Duration::from_secs(60));
        mails[count - 1].fields("Authentication-Results").concat()
    };
    assert!(stamp(&gateway).contains("smime=fail (revoked)"));
    let indexes = |gateway: &Gateway| {
        let all = files(&gateway.folder.join("state/lists"));
        all.iter()
            .filter(|path| path.extension().is_some_and(|end| end == "kri"))
            .count()
    };
    assert_eq!(indexes(&gateway), 1);
    // The file goes; what it said is remembered, by the running service and by the next.
    std::fs::remove_file(&file).unwrap();
    wait_for("the files are read again", || {
        gateway.log().contains("configuration taken over")
    });
    assert!(stamp(&gateway).contains("smime=fail (revoked)"));
    gateway.restart();
    assert!(stamp(&gateway).contains("smime=fail (revoked)"));
    assert_eq!(indexes(&gateway), 1);
    // Neither an older list nor one of another key takes its place.
    for list in [
        town.issuer
            .crl_between(&[], "20260101000000Z", Some("20480101000000Z")),
        Authority {
            key: Key::p256(),
            ..town.issuer.clone()
        }
        .crl_between(&[], "20260301000000Z", Some("20480101000000Z")),
    ] {
        std::fs::write(&file, list).unwrap();
        gateway.restart();
        assert!(stamp(&gateway).contains("smime=fail (revoked)"));
    }
    // A newer one does, and the index of the old one goes.
    std::fs::write(
        &file,
        town.issuer
            .crl_between(&[], "20260401000000Z", Some("20480101000000Z")),
    )
    .unwrap();
    gateway.restart();
    assert!(stamp(&gateway).contains("smime=pass"));
    assert_eq!(indexes(&gateway), 0);
}
