use kenin_pki::crypto::{KeyError, KeyType, PublicKey, SignatureAlgorithm, SigningKey, SoftKey};
use kenin_smime::sign::Form;
use proptest::prelude::*;

use super::*;
use crate::header::scan;
use crate::testing::{NOW, World, off};
use crate::trust::AnchorSettings;

const ALICE: &str = "alice@example.jp";
const OWN: &str = "smime.gw.example.jp";

fn context(key: Option<&StampKey>) -> StampContext<'_> {
    StampContext {
        authserv_id: OWN,
        site_authserv_ids: &[],
        key,
        id: "01J",
        now: NOW,
        mode: StampMode::Headers,
        tags: false,
        wrapper: None,
        shielded_names: &[],
    }
}

fn fields(raw: &[u8]) -> Vec<String> {
    scan(raw)
        .fields
        .iter()
        .map(|field| String::from_utf8_lossy(&raw[field.whole.clone()]).replace("\r\n ", " "))
        .collect()
}

#[test]
fn signed_mail_gets_both_fields_and_keeps_every_other_byte() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let verdict = world.verdict(&mail);
    let (key, _) = StampKey::generate().unwrap();
    let edits = stamp(&mail, &verdict, &context(Some(&key)));
    assert!(edits.remove.is_empty());
    let out = edits.apply(&mail);
    assert!(out.ends_with(&mail));
    let serial = crate::trust::hex(alice.certificate.serial());
    let fields = fields(&out);
    assert_eq!(
        fields[0],
        format!(
            "Authentication-Results: {OWN}; smime=pass body.smime-identifier={ALICE} \
             body.smime-part=2 body.smime-serial={serial} body.smime-issuer=\"CN=Middle\"\r\n"
        )
    );
    assert!(fields[1].starts_with("X-Kenin-Verdict: ey"));
    assert!(fields[2].starts_with("Received:"));
    let payload = verify_statement(&out, key.public_key(), OWN).unwrap();
    assert_eq!(payload["v"], 1);
    assert_eq!(payload["id"], "01J");
    assert_eq!(payload["iat"], NOW.0);
    assert_eq!(payload["result"], "pass");
    assert_eq!(payload["reason"], "ok");
    assert_eq!(payload["signer"], serde_json::json!([ALICE]));
    assert_eq!(payload["rev"], verdict.revision);
    assert_eq!(payload["h"]["subject"], "Hello");
    assert_eq!(payload["h"]["from"], ALICE);
}

#[test]
fn hdr_03_an_edited_or_moved_statement_is_found_out() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let verdict = world.verdict(&mail);
    let (key, _) = StampKey::generate().unwrap();
    let (other, _) = StampKey::generate().unwrap();
    let out = stamp(&mail, &verdict, &context(Some(&key))).apply(&mail);
    let text = String::from_utf8(out.clone()).unwrap();
    let check = |text: &str| verify_statement(text.as_bytes(), key.public_key(), OWN).map(|_| ());
    assert_eq!(check(&text), Ok(()));
    assert_eq!(
        check(&text.replace("Subject: Hello", "Subject:  Hello ")),
        Ok(()),
        "relaxed form"
    );
    assert_eq!(
        check(&text.replace("Subject: Hello", "Subject: Hallo")),
        Err(StatementError::Header)
    );
    assert_eq!(
        check(&text.replace("Subject: Hello", "Subject: Hello\r\nSubject: b")),
        Err(StatementError::Header)
    );
    assert_eq!(
        check(&text.replace("Subject: Hello", "Subject: Hello\r\nFrom : b")),
        Err(StatementError::Header)
    );
    assert_eq!(
        check(&text.replace("Hello, ", "Hullo, ")),
        Err(StatementError::Body)
    );
    assert_eq!(
        check(&format!("{text}\r\n\r\n")),
        Ok(()),
        "empty lines at the end"
    );
    assert_eq!(check(&format!("{text}x\r\n")), Err(StatementError::Body));
    assert_eq!(
        check(&text.replace("X-Kenin-Verdict", "X-Other")),
        Err(StatementError::Absent)
    );
    assert_eq!(
        check(&format!("x-kenin-verdict: a\r\n{text}")),
        Err(StatementError::Several)
    );
    assert_eq!(
        verify_statement(&out, key.public_key(), "smime.other.example").unwrap_err(),
        StatementError::Issuer
    );
    assert_eq!(
        verify_statement(&out, other.public_key(), OWN).unwrap_err(),
        StatementError::OtherKey
    );
    let mut flipped = out.clone();
    let place = text.find("X-Kenin-Verdict").unwrap() + 200;
    flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    assert!(verify_statement(&flipped, key.public_key(), OWN).is_err());
    // What a forger puts before ours is gone after the next stamp.
    let again = stamp(&out, &verdict, &context(Some(&key))).apply(&out);
    assert_eq!(
        String::from_utf8(again)
            .unwrap()
            .matches("X-Kenin-Verdict")
            .count(),
        1
    );
}

#[test]
fn the_statement_covers_the_fields_that_are_left() {
    let verdict = crate::testing::unsigned();
    let (key, _) = StampKey::generate().unwrap();
    // The first Subject hides a field of ours from some reader and goes; the second one stays.
    for raw in [
        &b"Subject: a\x0cX-Kenin-Verdict: b\r\nSubject: real\r\nFrom: a@b.jp\r\n\r\nhi\r\n"[..],
        b" From: x\r\nFrom: a@b.jp\r\nSubject: real\r\n\r\nhi\r\n",
    ] {
        let out = stamp(raw, &verdict, &context(Some(&key))).apply(raw);
        let payload = verify_statement(&out, key.public_key(), OWN).unwrap();
        assert_eq!(payload["h"]["subject"], "real");
        assert_eq!(payload["h"]["from"], "a@b.jp");
    }
}

#[test]
fn unsigned_mail_is_none_and_encrypted_mail_gets_nothing() {
    let world = World::new();
    let mail = b"Authentication-Results: smime.gw.example.jp; smime=pass\r\nX-Kenin-Verdict: ey\r\nFrom: a@example.jp\r\n\r\nhi\r\n";
    let mut verdict = world.verdict(mail);
    let out = stamp(mail, &verdict, &context(None)).apply(mail);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "Authentication-Results: smime.gw.example.jp; smime=none (not-signed)\r\n\
         From: a@example.jp\r\n\r\nhi\r\n"
    );
    (verdict.result, verdict.reason) = (None, None);
    let (key, _) = StampKey::generate().unwrap();
    let out = stamp(mail, &verdict, &context(Some(&key))).apply(mail);
    assert_eq!(out, b"From: a@example.jp\r\n\r\nhi\r\n");
}

#[test]
fn under_verdict_only_nothing_of_the_certificate_leaves() {
    let mut world = World::new();
    world.settings = AnchorSettings {
        disclosure: Disclosure::VerdictOnly,
        ..AnchorSettings::default()
    };
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let (key, _) = StampKey::generate().unwrap();
    let shown = |world: &World| {
        let verdict = world.verdict(&mail);
        let out = stamp(&mail, &verdict, &context(Some(&key))).apply(&mail);
        let payload = verify_statement(&out, key.public_key(), OWN).unwrap();
        (fields(&out)[0].clone(), payload)
    };
    let (field, _) = shown(&world);
    assert_eq!(
        field,
        format!(
            "Authentication-Results: {OWN}; smime=pass body.smime-identifier={ALICE} body.smime-part=2\r\n"
        )
    );
    world.publish(&[&alice.certificate]);
    let (field, payload) = shown(&world);
    assert_eq!(
        field,
        format!(
            "Authentication-Results: {OWN}; smime=policy (not-accepted) \
             body.smime-identifier={ALICE} body.smime-part=2\r\n"
        )
    );
    assert_eq!(payload["result"], "policy");
    assert_eq!(payload["reason"], "not-accepted");
    world.crls.clear();
    assert!(
        shown(&world)
            .0
            .contains("smime=temperror (revocation-unavailable)")
    );
}

#[test]
fn hdr_02_names_of_certificates_stay_values() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let mut verdict = world.verdict(&mail);
    let signer = verdict.signatures[0].signer.as_mut().unwrap();
    signer.issuer = format!(
        "CN=a\r\nX-Kenin-Verdict: pass\0\u{202e}田\"\\({}",
        "x".repeat(65_536)
    );
    signer.serial = "1\r\n2".to_owned();
    let out = stamp(&mail, &verdict, &context(None)).apply(&mail);
    let header = scan(&out);
    let first = &out[header.fields[0].whole.clone()];
    assert!(first.len() < 1000 && first.is_ascii());
    assert_eq!(
        &out[header.fields[1].whole.clone()],
        b"Received: by mx.example.jp\r\n"
    );
    assert!(
        !header
            .fields
            .iter()
            .any(|field| field.is_plainly(&out, "x-kenin-verdict"))
    );
}

#[test]
fn only_ed25519_keys_sign_statements() {
    let (key, text) = StampKey::generate().unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(
        StampKey::from_pkcs8(text.as_bytes()).unwrap().id(),
        key.id()
    );
    assert_eq!(key.id().len(), 43);
    assert_eq!(key.jwk()["kid"], key.id());
    assert!(!format!("{key:?}").contains("PRIVATE"));
    let other = SoftKey::generate(KeyType::P256)
        .unwrap()
        .to_pkcs8()
        .unwrap();
    assert!(matches!(
        StampKey::from_pkcs8(&other),
        Err(StampKeyError::NotEd25519)
    ));
    assert!(matches!(
        StampKey::from_pkcs8(b"no key"),
        Err(StampKeyError::Unreadable(_))
    ));
}

#[test]
fn the_thumbprint_is_the_one_of_rfc_8037() {
    // RFC 8037 appendix A.1 and A.3.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    let mut pkcs8 = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    pkcs8.extend_from_slice(&seed);
    let key = StampKey::from_pkcs8(&pkcs8).unwrap();
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(
        key.jwk()["x"],
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    );
}

#[test]
fn several_root_signatures_are_several_results() {
    let mut world = World::new();
    world.settings = off();
    let mail = world.person(ALICE).sign(ALICE, Form::Clear);
    let mut verdict = world.verdict(&mail);
    let mut second = verdict.signatures[0].clone();
    second.section = "1/2".to_owned();
    (second.result, second.reason) = (ResultWord::Policy, Reason::FromMismatch);
    second.signer = None;
    let mut nested = second.clone();
    nested.root = false;
    verdict.signatures.extend([second, nested]);
    let out = stamp(&mail, &verdict, &context(None)).apply(&mail);
    let field = &fields(&out)[0];
    assert_eq!(field.matches("smime=").count(), 2);
    assert!(
        field.ends_with("; smime=policy (from-mismatch) body.smime-part=\"1/2\"\r\n"),
        "{field}"
    );
    assert_eq!(
        outward(&verdict),
        Some((ResultWord::Policy, Reason::FromMismatch))
    );
}

proptest! {
    #[test]
    fn any_message_takes_a_stamp(lines in proptest::collection::vec(prop_oneof![
        "[A-Za-z-]{1,12}:[ -~]{0,30}", "[ \t][ -~]{0,20}", "", "\\PC{0,20}",
        Just("X-Kenin-Verdict: a".to_owned()),
        Just("Authentication-Results: smime.gw.example.jp; smime=pass".to_owned()),
    ], 0..10)) {
        let raw = lines.join("\r\n").into_bytes();
        let verdict = crate::testing::unsigned();
        let out = KEY.with(|key| stamp(&raw, &verdict, &context(Some(key))).apply(&raw));
        let header = scan(&out);
        let of = |name: &str| header.fields.iter().filter(|field| field.may_be(&out, |own| own == name)).count();
        prop_assert_eq!(of("x-kenin-verdict"), 1);
        prop_assert!(header.fields[0].is_plainly(&out, "authentication-results"));
        prop_assert!(header.fields[1].is_plainly(&out, "x-kenin-verdict"));
        let own = &out[..header.fields[1].whole.end];
        for (place, byte) in own.iter().enumerate() {
            match byte {
                b'\r' => prop_assert_eq!(own.get(place + 1), Some(&b'\n')),
                b'\n' => prop_assert_eq!(own[place - 1], b'\r'),
                b' '..=b'~' => {}
                other => prop_assert!(false, "byte {} in our fields", other),
            }
        }
        prop_assert!(KEY.with(|key| verify_statement(&out, key.public_key(), OWN)).is_ok());
    }
}

thread_local! {
    static KEY: StampKey = StampKey::generate().unwrap().0;
}

#[test]
fn the_statement_covers_the_subject_with_its_tag() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let verdict = world.verdict(&mail);
    let (key, _) = StampKey::generate().unwrap();
    let context = StampContext {
        mode: StampMode::Subject(crate::Language::En),
        tags: true,
        ..context(Some(&key))
    };
    let text = String::from_utf8(mail.clone()).unwrap();
    let without = text.replace("Subject: Hello\r\n", "");
    let forged = text.replace("Subject: Hello", "Subject: [signed] Hello");
    for (mail, subject) in [
        (text, "[Signature valid] Hello"),
        (without, "[Signature valid]"),
        (forged, "[Signature valid] Hello"),
    ] {
        let out = stamp(mail.as_bytes(), &verdict, &context).apply(mail.as_bytes());
        let payload = verify_statement(&out, key.public_key(), OWN).unwrap();
        assert_eq!(payload["h"]["subject"], subject);
        let delivered = fields(&out);
        let subject = format!("Subject: {subject}\r\n");
        assert!(delivered.contains(&subject), "{delivered:?}");
    }
}

#[test]
fn mail_of_lists_and_unsigned_mail_get_no_tag() {
    let world = World::new();
    let alice = world.person(ALICE);
    let signed = String::from_utf8(alice.sign(ALICE, Form::Clear)).unwrap();
    let listed = format!("List-Id: <l.example>\r\n{signed}");
    let unsigned = "From: a@example.jp\r\nSubject: [Signature valid] Hello\r\n\r\nhi\r\n";
    for mail in [listed.as_str(), unsigned] {
        let context = StampContext {
            mode: StampMode::Subject(crate::Language::En),
            tags: true,
            ..context(None)
        };
        let verdict = world.verdict(mail.as_bytes());
        let out = stamp(mail.as_bytes(), &verdict, &context).apply(mail.as_bytes());
        assert!(fields(&out).contains(&"Subject: Hello\r\n".to_owned()));
    }
}

/// What another process makes is signed where it is about the mail in hand, and nowhere else.
#[test]
fn a_statement_that_is_made_elsewhere_is_signed_for_its_mail_only() {
    struct Afar(StampKey, Stated<'static>);

    impl SigningKey for Afar {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(&self, _: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.countersign(message, &self.1).ok_or(KeyError::Failed)
        }
    }

    let right = Stated {
        id: "01J",
        issuer: OWN,
        time: NOW,
        revision: "r1",
    };
    let (_, pem) = StampKey::generate().unwrap();
    let key = || StampKey::from_pkcs8(pem.as_bytes()).unwrap();
    let world = World::new();
    let mail = world.person(ALICE).sign(ALICE, Form::Clear);
    let verdict = Verdict {
        revision: "r1".to_owned(),
        ..world.verdict(&mail)
    };
    let stamped = |stated: Stated<'static>| {
        let afar = StampKey::new(Box::new(Afar(key(), stated))).unwrap();
        stamp(&mail, &verdict, &context(Some(&afar))).apply(&mail)
    };
    assert!(verify_statement(&stamped(right), key().public_key(), OWN).is_ok());
    for wrong in [
        Stated { id: "01K", ..right },
        Stated {
            issuer: "smime.other.example",
            ..right
        },
        Stated {
            time: NOW.plus(1),
            ..right
        },
        Stated {
            revision: "r2",
            ..right
        },
    ] {
        let absent = verify_statement(&stamped(wrong), key().public_key(), OWN);
        assert_eq!(absent.unwrap_err(), StatementError::Absent, "{wrong:?}");
    }
    let (other, _) = StampKey::generate().unwrap();
    for text in [&b""[..], b".", b"a.b", b"\xff.\xff", b"{}.{}"] {
        assert_eq!(other.countersign(text, &right), None);
    }
}

/// DEC-01: the stamp says what nobody vouches for; of mail that was not opened it says nothing.
#[test]
fn the_stamp_of_opened_mail_says_who_vouches_for_it() {
    let mail = b"From: alice@example.jp\r\nX-Kenin-Decryption: opened; integrity=aead\r\n\r\nx\r\n";
    let (key, _) = StampKey::generate().unwrap();
    for (opened, field, claim) in [
        (
            true,
            Some("X-Kenin-Decryption: opened; integrity=none; sender=not-proven\r\n"),
            serde_json::json!(["opened", "none"]),
        ),
        (false, None, serde_json::json!([null, null])),
    ] {
        let mut verdict = crate::testing::unsigned();
        verdict.encryption.push(crate::verdict::EncryptionVerdict {
            section: "1".to_owned(),
            opened,
            reason: "opened",
            content: "aes-256-cbc".to_owned(),
            integrity: "none".to_owned(),
            recipients: 1,
        });
        let out = stamp(mail, &verdict, &context(Some(&key))).apply(mail);
        let fields = fields(&out);
        let said = fields
            .iter()
            .find(|field| field.starts_with("X-Kenin-Decryption"));
        assert_eq!(said.map(String::as_str), field);
        let payload = verify_statement(&out, key.public_key(), OWN).unwrap();
        assert_eq!(
            serde_json::json!([payload["enc"], payload["integrity"]]),
            claim
        );
    }
}
