use kenin_pki::certificate::Certificate;
use kenin_pki::crl::RevocationReason;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey, SoftKey};
use kenin_pki::extension::{GeneralName, KeyUsage};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder};
use kenin_pki::name::NameBuilder;
use kenin_pki::oid;
use kenin_pki::path::RevocationMode;
use kenin_smime::sign::Form;
use kenin_smime::{EncryptionFacts, Limits, SignerFacts};

use super::*;
use crate::scrub::Scrubber;
use crate::step::{self, Answer, PathCache, Question, Step};
use crate::testing::{ENTITY, NOW, Party, World, builder, days, name, off};
use crate::trust::{AnchorSettings, Disclosure, PathOptions, TrustPolicy};

mod chains;
mod profile;
mod registration;
mod signers;
mod timestamps;
mod unasked;

const ALICE: &str = "alice@example.jp";

fn reason(verdict: &Verdict) -> Reason {
    assert_eq!(verdict.result, verdict.reason.map(Reason::result));
    verdict.reason.unwrap()
}

fn checks(verdict: &Verdict) -> [&'static str; 6] {
    verdict.signatures[0]
        .checks
        .each()
        .map(|(_, check)| check.as_str())
}

fn has_note(verdict: &Verdict, id: NoteId) -> bool {
    verdict.notes.iter().any(|note| note.id == id)
}

#[test]
fn honest_mail_passes_in_every_form() {
    let world = World::new();
    let alice = world.person(ALICE);
    for form in [Form::Clear, Form::Opaque, Form::OpaqueStreamed] {
        let verdict = world.verdict(&alice.sign("Alice <Alice@EXAMPLE.jp>", form));
        assert_eq!(reason(&verdict), Reason::Ok, "{form:?} {verdict:#?}");
        assert_eq!(checks(&verdict), ["ok"; 6]);
        assert!(verdict.notes.is_empty(), "{:?}", verdict.notes);
        assert_eq!(verdict.signatures[0].anchor.as_deref(), Some("root"));
        assert_eq!(verdict.signatures[0].path.len(), 2);
        assert_eq!(verdict.signatures[0].status.len(), 2);
    }
}

#[test]
fn the_json_is_the_one_of_the_manual() {
    let world = World::new();
    let alice = world.person(ALICE);
    let verdict = world.verdict(&alice.sign_as(ALICE, Form::Clear, |signer| {
        signer.signing_time = Some(NOW);
    }));
    let text = verdict.to_json("a.eml");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text.starts_with(
        r#"{"file":"a.eml","result":"pass","reason":"ok","from":["alice@example.jp"],"signatures":[{"section":"2","result":"pass","reason":"ok","checks":{"content":"ok","signature":"ok","algorithm":"ok","path":"ok","revocation":"ok","identity":"ok"},"signer":{"addresses":["alice@example.jp"],"subject":"CN=Somebody","issuer":"CN=Middle","serial":""#
    ), "{text}");
    let signature = &value["signatures"][0];
    assert_eq!(signature["digest"], "sha256");
    assert_eq!(signature["algorithm"], "ecdsa");
    assert_eq!(signature["signing_time"], NOW.to_string());
    assert_eq!(signature["signer"]["sha256"].as_str().unwrap().len(), 64);
    assert!(signature.get("root").is_none());
    assert_eq!(
        value["layers"],
        serde_json::json!([{"section": "1", "kind": "clear-signed"}])
    );
    assert_eq!(value["encryption"], serde_json::json!([]));
    assert_eq!(value["notes"], serde_json::json!([]));
    assert_eq!(value["rfc9219"], "signed/verified");
    assert_eq!(value["indication"], "TOTAL-PASSED");
}

#[test]
fn a_changed_body_fails_and_the_rest_is_still_answered() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let mail = String::from_utf8(mail)
        .unwrap()
        .replace("Hello, ", "Hullo, ");
    let verdict = world.verdict(mail.as_bytes());
    assert_eq!(reason(&verdict), Reason::DigestMismatch);
    assert_eq!(
        checks(&verdict),
        ["digest-mismatch", "ok", "ok", "ok", "ok", "ok"]
    );
    assert_eq!(verdict.rfc9219(), Some("signed/failed"));
}

#[test]
fn a_field_that_readers_take_differently_counts_while_it_stays() {
    let world = World::new();
    let alice = world.person(ALICE);
    let scrubber = Scrubber::new("smime.gw.example", &[]);
    let judged = |mail: &[u8]| {
        let (trust, limits) = (world.trust(), Limits::default());
        let case = Case::new(mail, &trust, &[], NOW, &limits).scrubbed_by(mail, &scrubber);
        step::run(&case, |question| world.answer(question)).verdict
    };
    let other = "Authentication-Results : mx.example; none";
    for (field, kept) in [
        ("X-Kenin-Verdict : forged", false),
        (
            "Authentication-Results : smime.gw.example; smime=pass",
            false,
        ),
        (other, true),
        ("N\u{e4}me: words", true),
        ("X-Kenin-Verdict : forged\r\nNote : words", true),
    ] {
        let mail = alice.sign(&format!("{ALICE}\r\n{field}"), Form::Clear);
        assert_eq!(
            reason(&world.verdict(&mail)),
            Reason::AmbiguousMime,
            "{field}"
        );
        let wanted = if kept {
            Reason::AmbiguousMime
        } else {
            Reason::Ok
        };
        let verdict = judged(&mail);
        assert_eq!(reason(&verdict), wanted, "{field}");
        assert_eq!(
            verdict.root_signatures().next().unwrap().detail.is_some(),
            kept
        );
    }
    let changed = alice.sign(&format!("{ALICE}\r\n{other}"), Form::Clear);
    let changed = String::from_utf8(changed)
        .unwrap()
        .replace("Hello, ", "Hullo, ");
    assert_eq!(reason(&judged(changed.as_bytes())), Reason::DigestMismatch);
}

#[test]
fn sig_15_to_17_the_sender_is_who_signed() {
    let world = World::new();
    let alice = world.person(ALICE);
    for (from, wanted) in [
        ("mallory@example.jp", Reason::FromMismatch),
        ("alice@example.jp.evil.example", Reason::FromMismatch),
        ("alice+tag@example.jp", Reason::FromMismatch),
        ("\"bob@bank.jp\" <alice@example.jp>", Reason::FromAmbiguous),
        ("alice@example.jp, bob@bank.jp", Reason::FromAmbiguous),
        (
            "alice@example.jp\r\nFrom: bob@bank.jp",
            Reason::FromAmbiguous,
        ),
        (
            "alice@example.jp\r\nFrom : bob@bank.jp",
            Reason::FromAmbiguous,
        ),
        ("Alice", Reason::FromAmbiguous),
        (
            "alice@example.jp\r\nSender: bob@bank.jp\r\nResent-From: x@y.jp",
            Reason::Ok,
        ),
    ] {
        let verdict = world.verdict(&alice.sign(from, Form::Clear));
        assert_eq!(reason(&verdict), wanted, "{from}");
        let identity = if wanted == Reason::Ok {
            "ok"
        } else {
            wanted.id()
        };
        assert_eq!(
            checks(&verdict),
            ["ok", "ok", "ok", "ok", "ok", identity],
            "{from}"
        );
        // What is shown is the address of the certificate, never the display name.
        assert_eq!(verdict.signatures[0].identifier(), Some(ALICE));
    }
}

#[test]
fn sig_09_weak_algorithms_are_right_but_not_accepted() {
    let mut world = World::new();
    world.settings = off();
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let alice = world.issue(key, |certificate| certificate.mail_signer(&[ALICE]));
    let sign = |digest| {
        world.verdict(&alice.sign_as(ALICE, Form::Clear, |signer| {
            signer.digest = digest;
            signer.algorithm = SignatureAlgorithm::RsaPkcs1(digest);
        }))
    };
    let verdict = sign(DigestAlgorithm::Sha1);
    assert_eq!(reason(&verdict), Reason::WeakAlgorithm);
    assert_eq!(
        checks(&verdict),
        ["ok", "ok", "weak-algorithm", "ok", "unchecked", "ok"]
    );
    assert_eq!(reason(&sign(DigestAlgorithm::Sha512)), Reason::Ok);
    let key = SoftKey::generate(KeyType::Rsa(1024)).unwrap();
    let weak = world.issue(key, |certificate| certificate.mail_signer(&[ALICE]));
    let verdict = world.verdict(&weak.sign(ALICE, Form::Clear));
    assert_eq!(reason(&verdict), Reason::WeakAlgorithm);
    assert_eq!(checks(&verdict)[..3], ["ok", "ok", "weak-algorithm"]);
}

#[test]
fn broken_and_unknown_digests() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    for (digest, wanted) in [
        (Some(DigestAlgorithm::Md5), Reason::WeakDigest),
        (None, Reason::UnsupportedAlgorithm),
    ] {
        let mut case = Case::new(&mail, &trust, &world.known, NOW, &Limits::default());
        case.examined.signatures[0].signers[0].digest = digest;
        let verdict = step::run(&case, |question| world.answer(question)).verdict;
        assert_eq!(reason(&verdict), wanted);
        assert_eq!(checks(&verdict)[2], wanted.id());
    }
}

#[test]
fn sig_13_only_the_root_counts() {
    let world = World::new();
    let alice = world.person(ALICE);
    let signed = alice.sign(ALICE, Form::Clear);
    let signed = String::from_utf8(signed).unwrap();
    let entity = signed
        .split_once("MIME-Version")
        .map(|(_, rest)| format!("MIME-Version{rest}"))
        .unwrap();
    let listed = format!(
        "From: {ALICE}\r\nList-Id: <l.example.jp>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n{entity}\r\n--outer\r\n\
         Content-Type: text/plain\r\n\r\nfooter\r\n--outer--\r\n"
    );
    let verdict = world.verdict(listed.as_bytes());
    assert_eq!(reason(&verdict), Reason::SignatureNotAtRoot, "{verdict:#?}");
    assert!(!verdict.signatures[0].root);
    // What it would be worth is told all the same.
    assert_eq!(verdict.signatures[0].reason, Reason::Ok);
    assert_eq!(verdict.to_value("f")["signatures"][0]["root"], false);
    let plain = format!("From: {ALICE}\r\n\r\nhello\r\n");
    let verdict = world.verdict(plain.as_bytes());
    assert_eq!(reason(&verdict), Reason::NotSigned);
    assert!(verdict.signatures.is_empty());
    assert_eq!(verdict.indication(), None);
}

#[test]
fn encrypted_roots_have_no_result() {
    let world = World::new();
    let trust = world.trust();
    let plain = format!("From: {ALICE}\r\n\r\nhello\r\n");
    let mut case = Case::new(plain.as_bytes(), &trust, &[], NOW, &Limits::default());
    case.examined.encryption.push(EncryptionFacts {
        section: "1".to_owned(),
        kind: LayerKind::AuthEnveloped,
        root: true,
        algorithm_oid: Some("2.16.840.1.101.3.4.1.46".to_owned()),
        recipients: 2,
        defect: None,
    });
    let verdict = step::run(&case, |_| Answer::Issuers(Vec::new())).verdict;
    assert_eq!((verdict.result, verdict.reason), (None, None));
    let value = verdict.to_value("f");
    assert!(value["result"].is_null());
    assert_eq!(
        value["encryption"],
        serde_json::json!([{"section": "1", "opened": false, "reason": "undecryptable",
            "content": "aes-256-gcm", "integrity": "aead", "recipients": 2}])
    );
}

#[test]
fn defects_of_the_message_and_of_the_layer_decide() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    for defect in Defect::ALL {
        let wanted = Reason::from_id(defect.id()).unwrap();
        let mut case = Case::new(&mail, &trust, &world.known, NOW, &Limits::default());
        case.examined.signatures[0].defect = Some(*defect);
        let verdict = step::run(&case, |question| world.answer(question)).verdict;
        assert_eq!(reason(&verdict), wanted);
        let mut case = Case::new(&mail, &trust, &world.known, NOW, &Limits::default());
        case.examined.defect = Some(*defect);
        let verdict = step::run(&case, |question| world.answer(question)).verdict;
        assert_eq!(reason(&verdict), wanted);
        // The stamp and the mail rules see it too.
        assert_eq!(verdict.signatures[0].reason, wanted);
        assert_eq!(
            crate::stamp::outward(&verdict),
            Some((wanted.result(), wanted))
        );
    }
}

#[test]
fn notes_keep_their_ids() {
    for note in [
        Note::TypeMismatch,
        Note::MicalgOdd,
        Note::EscLossSuspected,
        Note::SigningTimeOdd,
        Note::CertificateSkipped,
        Note::CrlSkipped,
        Note::TrailingBytes,
        Note::BoundaryOdd,
        Note::LineEndsConverted,
    ] {
        assert_eq!(note_id(note).id(), note.id());
    }
    let ids: HashSet<&str> = NoteId::ALL.iter().map(|note| note.id()).collect();
    assert_eq!(ids.len(), NoteId::ALL.len());
    assert!(NoteId::ALL.iter().all(|note| !note.text().is_empty()));
}

#[test]
fn sig_20_an_absurd_signing_time_is_a_note() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    for (time, odd) in [
        (UnixTime(0), true),
        (UnixTime(4_102_444_800), true),
        (days(-102), true),
        (days(2), true),
        (days(-1), false),
        (NOW, false),
    ] {
        let verdict = world.verdict(&alice.sign_as(ALICE, Form::Clear, |signer| {
            signer.signing_time = Some(time);
        }));
        assert_eq!(reason(&verdict), Reason::Ok);
        assert_eq!(has_note(&verdict, NoteId::SigningTimeOdd), odd, "{time}");
    }
}

#[test]
fn a_list_that_replaced_from_is_told() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    let mail = alice.sign(
        "list@lists.example\r\nList-Id: <l.lists.example>",
        Form::Clear,
    );
    let verdict = world.verdict(&mail);
    assert_eq!(reason(&verdict), Reason::FromMismatch);
    assert!(has_note(&verdict, NoteId::ListRewroteFrom));
}

#[test]
fn bare_cms_has_no_sender() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    let cms = kenin_smime::sign::Signer::new(&alice.key, &alice.certificate)
        .sign_cms(ENTITY.as_bytes(), true)
        .unwrap();
    let trust = world.trust();
    let examined = kenin_smime::examine_cms(
        &cms,
        Some(ENTITY.as_bytes()),
        &Limits::default(),
        &world.known,
    );
    let case = Case::bare(examined, &trust, &world.known, NOW);
    let verdict = step::run(&case, |question| world.answer(question)).verdict;
    assert_eq!(reason(&verdict), Reason::Ok);
    assert_eq!(
        checks(&verdict),
        ["ok", "ok", "ok", "ok", "unchecked", "unchecked"]
    );
    assert!(verdict.from.is_empty());
    assert_eq!(name("x").to_string(), "CN=x");
}
