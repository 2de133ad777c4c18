//! What the story tells must be found wrong when it is.

use std::path::PathBuf;

use super::super::mailbox::Arrived;
use super::*;

fn sent(reply: &str, bytes: &[u8]) -> Sent {
    Sent {
        reply: reply.to_owned(),
        arrived: Some(Arrived {
            file: PathBuf::new(),
            mail_from: "<>".to_owned(),
            rcpt_to: Vec::new(),
            bytes: bytes.to_vec(),
        }),
    }
}

/// Uses of keys.
fn uses(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn with_noise(head: &[u8]) -> Vec<u8> {
    [head, b"\r\n", &forge::encrypted()].concat()
}

#[test]
fn mail_that_leaves_in_clear_is_seen() {
    let good = with_noise(b"Subject: [...]");
    let row = on_the_wire(&sent("250 2.0.0 Kept", &good), &uses(&["sign"]));
    assert_eq!(row.problems, [""; 0]);
    assert_eq!(
        (row.verdict.as_str(), row.reason.as_str()),
        ("encrypted", "aes-256-cbc")
    );
    let subject = with_noise(format!("Subject: {SUBJECT}").as_bytes());
    let signed = uses(&["sign"]);
    for (what, sent) in [
        ("in clear", sent("250 2.0.0 Kept", &letter())),
        ("its Subject in clear", sent("250 2.0.0 Kept", &subject)),
        ("refused", sent("550 5.7.1 No", &good)),
        ("nothing arrived", Sent::default()),
    ] {
        assert_ne!(on_the_wire(&sent, &signed).problems, [""; 0], "{what}");
    }
    for wrong in [uses(&[]), uses(&["unwrap"]), uses(&["sign", "sign"])] {
        let row = on_the_wire(&sent("250 2.0.0 Kept", &good), &wrong);
        assert_ne!(row.problems, [""; 0], "{wrong:?}");
    }
}

#[test]
fn mail_that_is_not_opened_or_has_no_stamp_is_seen() {
    let (key, _) = StampKey::generate().unwrap();
    for mail in [with_noise(b"Subject: [...]"), letter()] {
        let row = opened(
            &sent("250 2.0.0 Accepted", &mail),
            &uses(&["unwrap"]),
            HOME,
            &key,
        );
        assert!(row.problems.contains(&"another verdict".to_owned()));
        assert_ne!(row.verdict, "pass");
    }
}

/// What makes a good theft another.
type Change = fn(&mut Theft);

fn theft() -> Theft {
    let stolen = with_noise(FROM_MALLORY);
    let arrived = [&b"Received: from a\r\n\tby b\r\n"[..], &stolen].concat();
    Theft {
        stolen,
        sent: sent("250 2.0.0 Kept", &arrived),
        nobodys: sent("250 2.0.0 Kept", b""),
        again: sent("250 2.0.0 Accepted", &letter()),
        before: uses(&["unwrap"]),
        after: uses(&["unwrap", "unwrap"]),
    }
}

#[test]
fn a_theft_that_succeeds_is_seen() {
    assert_eq!(theft().row().problems, [""; 0]);
    let changes: [(&str, Change); 8] = [
        ("he reads it", |theft| {
            theft.sent = sent("250 2.0.0 Kept", &letter());
        }),
        ("he reads what he sent", |theft| {
            theft.stolen = [FROM_MALLORY, b"\r\n", &letter()].concat();
            theft.sent = sent("250 2.0.0 Kept", &theft.stolen);
        }),
        ("it is marked", |theft| {
            let marked = [&b"X-Kenin-Decryption: opened\r\n"[..], &theft.stolen].concat();
            theft.sent = sent("250 2.0.0 Kept", &marked);
        }),
        ("he hears that there is a key", |theft| {
            theft.sent.reply = "250 2.0.0 Accepted".to_owned();
        }),
        ("it is refused", |theft| theft.sent = Sent::default()),
        ("a key was used for him", |theft| {
            theft.after = uses(&["unwrap", "unwrap", "unwrap"]);
        }),
        ("nothing was used at all", |theft| theft.after.truncate(1)),
        ("she lost it", |theft| theft.again = Sent::default()),
    ];
    for (what, change) in changes {
        let mut theft = theft();
        change(&mut theft);
        assert_ne!(theft.row().problems, [""; 0], "{what}");
    }
}

#[test]
fn what_nobody_sent_is_not_stolen() {
    let mut theft = theft();
    theft.stolen = with_noise(b"From: Bob <bob@office.example>");
    theft.sent = sent("250 2.0.0 Kept", &theft.stolen);
    assert_eq!(theft.row().problems, ["there was nothing to steal"]);
}
