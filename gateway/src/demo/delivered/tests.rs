//! The demo's own checks must see every way in which a delivery can be wrong.

use kenin_pki::time::UnixTime;
use kenin_policy::trust::{PathOptions, TrustPolicy};
use kenin_policy::{Case as Judgement, StampContext, StampMode, stamp, step};

use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};

use super::*;
use std::path::PathBuf;

const ID: &str = "smime.gw.example";
const MAIL: &[u8] = b"X-Kenin-Verdict: forged\r\nAuthentication-Results: mx.example; dkim=pass\r\n\
    From: a@example.jp\r\nTo: b@example.jp\r\n\r\nbody\r\n";

fn case(expected: Expected) -> Case {
    Case {
        title: "t",
        mail: MAIL.to_vec(),
        to: "b@example.jp",
        expected,
    }
}

fn authority() -> Certificate {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    CertificateBuilder::new(common_name("Gateway").unwrap(), key.public_key())
        .authority(Some(0))
        .self_signed(&key)
        .unwrap()
}

/// What the gateway would deliver.
fn delivered(key: &StampKey) -> Vec<u8> {
    let trust = TrustPolicy::from_parts(Vec::new(), PathOptions::default());
    let now = UnixTime(1_790_000_000);
    let judgement = Judgement::new(MAIL, &trust, &[], now, &kenin_smime::Limits::default());
    let verdict = step::run(&judgement, |_| step::Answer::Issuers(Vec::new())).verdict;
    let context = StampContext {
        authserv_id: ID,
        site_authserv_ids: &[],
        key: Some(key),
        id: "1",
        now,
        mode: StampMode::Headers,
        tags: false,
        wrapper: None,
        shielded_names: &[],
    };
    stamp(MAIL, &verdict, &context).apply(MAIL)
}

fn problems(
    expected: Expected,
    reply: &str,
    bytes: Option<Vec<u8>>,
    key: &StampKey,
) -> Vec<String> {
    let arrived = bytes.map(|bytes| Arrived {
        file: PathBuf::new(),
        mail_from: String::new(),
        rcpt_to: Vec::new(),
        bytes,
    });
    inspect(
        &case(expected),
        reply,
        arrived.as_ref(),
        ID,
        key,
        &authority(),
    )
    .problems
}

fn edited(mail: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(old), "{text}");
    text.replacen(old, new, 1).into_bytes()
}

#[test]
fn a_right_delivery_has_no_problem() {
    let (key, _) = StampKey::generate().unwrap();
    let unsigned = Expected::Stamped("none", "not-signed");
    assert_eq!(
        problems(unsigned, "250 ok", Some(delivered(&key)), &key),
        [""; 0]
    );
    let refused = Expected::Refused("550 5.7.7", "digest-mismatch");
    assert_eq!(
        problems(refused, "550 5.7.7 No (digest-mismatch, id 1)", None, &key),
        [""; 0]
    );
}

#[test]
fn every_wrong_delivery_is_seen() {
    let (key, _) = StampKey::generate().unwrap();
    let (other, _) = StampKey::generate().unwrap();
    let good = delivered(&key);
    let unsigned = Expected::Stamped("none", "not-signed");
    let own = format!("Authentication-Results: {ID}; smime=pass\r\n").into_bytes();
    let wrong = [
        (
            "the body was changed",
            edited(&good, "body\r\n", "b0dy\r\n"),
        ),
        (
            "a field was changed",
            edited(&good, "dkim=pass", "dkim=fail"),
        ),
        (
            "a field was lost",
            edited(&good, "To: b@example.jp\r\n", ""),
        ),
        (
            "the statement is gone",
            edited(&good, "X-Kenin-Verdict:", "X-Other:"),
        ),
        ("another verdict", edited(&good, "smime=none", "smime=pass")),
        (
            "another reason",
            edited(&good, "(not-signed)", "(signature-not-at-root)"),
        ),
        ("a second result", [own, good.clone()].concat()),
        (
            "a forged field stayed",
            [b"X-Kenin-Verdict: forged\r\n", &good[..]].concat(),
        ),
        ("not stamped at all", MAIL.to_vec()),
    ];
    for (what, bytes) in wrong {
        assert_ne!(
            problems(unsigned, "250 ok", Some(bytes), &key),
            [""; 0],
            "{what}"
        );
    }
    assert_ne!(
        problems(unsigned, "250 ok", Some(good.clone()), &other),
        [""; 0],
        "another key"
    );
    assert_ne!(
        problems(unsigned, "451 later", Some(good.clone()), &key),
        [""; 0],
        "reply"
    );
    assert_ne!(problems(unsigned, "250 ok", None, &key), [""; 0], "lost");
    let refused = Expected::Refused("550 5.7.7", "digest-mismatch");
    assert_ne!(
        problems(refused, "250 ok", Some(good.clone()), &key),
        [""; 0],
        "accepted"
    );
    assert_ne!(
        problems(refused, "550 5.7.1 No (revoked)", None, &key),
        [""; 0],
        "another reply"
    );
    assert_ne!(
        problems(Expected::Unstamped, "250 ok", Some(good), &key),
        [""; 0],
        "a result"
    );
}

#[test]
fn a_mail_that_was_opened_has_a_stamp_that_passes() {
    let (key, _) = StampKey::generate().unwrap();
    let (other, _) = StampKey::generate().unwrap();
    let found = |bytes: &[u8], key: &StampKey| {
        let mut row = inspect(
            &case(Expected::Unstamped),
            "250 ok",
            None,
            ID,
            key,
            &authority(),
        );
        row.problems.clear();
        opened(&mut row, bytes, ID, key);
        row.problems
    };
    let good = delivered(&key);
    // Nobody signed it.
    assert_eq!(found(&good, &key), ["another verdict"]);
    assert_eq!(found(&good, &other).len(), 2, "another key");
    let own = format!("Authentication-Results: {ID}; smime=pass\r\n").into_bytes();
    assert!(found(&[own, good].concat(), &key).len() > 1, "two results");
    assert!(found(MAIL, &key).len() > 1, "not stamped at all");
}
