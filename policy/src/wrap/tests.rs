use kenin_pki::crl::RevocationReason;
use kenin_pki::extension::KeyUsage;
use kenin_pki::issue::CrlBuilder;
use kenin_pki::oid;
use kenin_smime::examine;

use super::*;
use crate::jws::{StampKey, verify_statement};
use crate::testing::{ENTITY, NOW, Party, World, days};
use crate::trust::Disclosure;

mod traces;

const ALICE: &str = "alice@example.jp";
const GATEWAY: &str = "kenin@gw.example.jp";
const OWN: &str = "smime.gw.example.jp";
const FORMS: [Form; 3] = [Form::Clear, Form::Opaque, Form::OpaqueStreamed];

/// The sender's world, and the gateway's own.
struct Scene {
    world: World,
    own: World,
    wrapper: Wrapper,
    stamp: StampKey,
    names: Vec<&'static [u8]>,
}

impl Scene {
    fn new(disclosure: Disclosure) -> Self {
        let (mut world, mut own) = (World::new(), World::called("Gateway "));
        world.settings.disclosure = disclosure;
        own.settings = crate::testing::off();
        let Party { key, certificate } = own.person(GATEWAY);
        let chain = vec![certificate, own.middle.certificate.clone()];
        let wrapper = Wrapper::new(Box::new(key), chain, "Kenin 検印").unwrap();
        let (stamp, _) = StampKey::generate().unwrap();
        let policy = world.trust();
        let names = policy.shielded_names(&world.known).into_iter();
        let names = names.map(|name| &*name.der().to_vec().leak()).collect();
        Self {
            world,
            own,
            wrapper,
            stamp,
            names,
        }
    }

    fn context(&self, mode: StampMode) -> StampContext<'_> {
        StampContext {
            authserv_id: OWN,
            site_authserv_ids: &[],
            key: Some(&self.stamp),
            id: "01J",
            now: NOW,
            mode,
            tags: false,
            wrapper: Some(&self.wrapper),
            shielded_names: &self.names,
        }
    }

    fn copy(&self, mail: &[u8], mode: StampMode) -> (Verdict, Delivered) {
        let verdict = self.world.verdict(mail);
        let context = self.context(mode);
        let copy = deliver(mail, &verdict, &context, &Limits::default()).unwrap();
        (verdict, copy)
    }

    fn delivered(&self, mail: &[u8], mode: StampMode) -> Vec<u8> {
        applied(mail, &self.copy(mail, mode).1)
    }
}

fn applied(mail: &[u8], copy: &Delivered) -> Vec<u8> {
    copy.applied(mail)
}

fn field(mail: &[u8], name: &str) -> Vec<String> {
    let header = header::scan(mail);
    let fields = header
        .fields
        .iter()
        .filter(|field| field.is_plainly(mail, name));
    let text =
        |field: &header::Field| String::from_utf8_lossy(field.value(mail)).replace("\r\n", "");
    fields.map(|field| text(field).trim().to_owned()).collect()
}

/// Every base64 run of the text, decoded in its place, so that a search finds what hides in one.
fn opened(mail: &[u8]) -> Vec<u8> {
    let once = opened_once(mail);
    let inside = once.get(mail.len()..).unwrap_or_default();
    [&once, &opened_once(inside)[..]].concat()
}

fn opened_once(mail: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(mail);
    let mut out = mail.to_vec();
    let mut run = String::new();
    for line in text.lines().chain([""]) {
        let is_base64 = line.len() > 3
            && line
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        if is_base64 {
            run.push_str(line);
        } else {
            if let Ok(bytes) = decoded_base64(&run) {
                out.extend_from_slice(&bytes);
            }
            run.clear();
        }
    }
    out
}

fn decoded_base64(text: &str) -> Result<Vec<u8>, ()> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| ())
}

#[test]
fn an_ordinary_reader_verifies_the_wrapped_mail_by_the_gateways_root() {
    let scene = Scene::new(Disclosure::Full);
    let alice = scene.world.person(ALICE);
    for form in FORMS {
        let mail = alice.sign(ALICE, form);
        let out = scene.delivered(&mail, StampMode::Wrap);
        let verdict = scene.own.verdict(&out);
        assert!(verdict.is_pass(), "{form:?} {verdict:?}");
        assert_eq!(verdict.from, [GATEWAY]);
        assert!(verdict.notes.is_empty(), "{:?}", verdict.notes);
        // Inside it the original still verifies by its own.
        let facts = examine(&out, &Limits::default(), &[]);
        assert_eq!(facts.signatures.len(), 2, "{form:?}");
        assert!(facts.signatures[1].signers[0].content.is_ok());
        assert!(
            memchr::memmem::find(&opened(&out), &mail).is_some(),
            "{form:?}"
        );
        let from = field(&out, "from").remove(0);
        let shown = crate::mailbox::decoded(&from).unwrap();
        assert_eq!(
            shown.split_whitespace().collect::<Vec<_>>().join(" "),
            format!("alice at example.jp via Kenin 検印 <{GATEWAY}>")
        );
        assert_eq!(field(&out, "reply-to"), [ALICE]);
        assert_eq!(field(&out, "subject"), ["Hello"]);
        assert_eq!(field(&out, "to"), ["bob@example.jp"]);
        assert_eq!(field(&out, "message-id"), ["<1@example.jp>"]);
        assert_eq!(field(&out, "date"), [names::date(NOW)]);
        assert_eq!(field(&out, "mime-version"), ["1.0"]);
        let payload = verify_statement(&out, scene.stamp.public_key(), OWN).unwrap();
        assert_eq!(payload["result"], "pass");
    }
}

#[test]
fn what_must_not_be_shown_is_in_no_copy() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let alice = scene.world.person(ALICE);
    let serial_hex = alice.certificate.serial_hex();
    for form in FORMS {
        for mode in [StampMode::Headers, StampMode::Wrap] {
            let mail = alice.sign(ALICE, form);
            let (verdict, copy) = scene.copy(&mail, mode);
            assert!(verdict.is_pass() && copy.wrapped);
            let out = applied(&mail, &copy);
            assert!(scene.own.verdict(&out).is_pass());
            let seen = opened(&out);
            let certificate = &alice.certificate;
            for (what, secret) in [
                ("certificate", certificate.der()),
                ("key", certificate.spki()),
                ("serial", certificate.serial()),
                ("signature", certificate.signature()),
                ("fingerprint", certificate.sha256().as_slice()),
                ("serial in hex", serial_hex.as_bytes()),
            ] {
                assert!(
                    memchr::memmem::find(&seen, secret).is_none(),
                    "{form:?} {what}"
                );
            }
            assert_eq!(examine(&out, &Limits::default(), &[]).signatures.len(), 1);
            let inner = format!(
                "Content-Type: message/rfc822\r\nContent-Disposition: inline; filename=\"original.eml\"\r\n\r\n\
                 From: {ALICE}\r\nTo: bob@example.jp\r\nSubject: Hello\r\n\
                 Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.jp>\r\nMIME-Version: 1.0\r\n\
                 Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            );
            assert!(
                memchr::memmem::find(&out, inner.as_bytes()).is_some(),
                "{}",
                String::from_utf8_lossy(&out)
            );
            let text = ENTITY.split_once("\r\n\r\n").unwrap().1;
            assert!(
                memchr::memmem::find(&seen, text.as_bytes()).is_some(),
                "{}",
                String::from_utf8_lossy(&out)
            );
        }
    }
}

/// Revoked, expired and of unknown status look alike outside, to the last octet but for time and key.
#[test]
fn all_that_is_not_accepted_looks_alike() {
    let mut told = Vec::new();
    for how in ["revoked", "expired", "unknown issuer"] {
        let mut scene = Scene::new(Disclosure::VerdictOnly);
        let alice = match how {
            "expired" => {
                let key =
                    kenin_pki::crypto::SoftKey::generate(kenin_pki::crypto::KeyType::P256).unwrap();
                scene.world.issue(key, |certificate| {
                    certificate
                        .validity(days(-10), days(-5))
                        .mail_signer(&[ALICE])
                })
            }
            _ => scene.world.person(ALICE),
        };
        match how {
            "revoked" => {
                scene.world.crls[0] = CrlBuilder::new(days(-1), Some(days(7)))
                    .revoke(
                        alice.certificate.serial(),
                        days(-2),
                        RevocationReason::Superseded,
                    )
                    .issued_by(&scene.world.middle.certificate, &scene.world.middle.key)
                    .unwrap();
            }
            "unknown issuer" => scene.world.known.clear(),
            _ => {}
        }
        let mail = alice.sign(ALICE, Form::Clear);
        let (verdict, copy) = scene.copy(&mail, StampMode::Headers);
        assert!(!verdict.is_pass() && copy.wrapped, "{how}");
        let out = applied(&mail, &copy);
        let results = field(&out, "authentication-results");
        assert!(results[0].contains("smime=policy"), "{how} {results:?}");
        assert_eq!(
            field(&out, "from"),
            field(&scene.delivered(&mail, StampMode::Wrap), "from")
        );
        let text = String::from_utf8(out).unwrap();
        let statement = text
            .split("Content-Transfer-Encoding: base64\r\n\r\n")
            .nth(1)
            .unwrap();
        let evidence = text
            .split("Content-Transfer-Encoding: base64\r\n\r\n")
            .nth(2)
            .unwrap();
        let end = |part: &str| part.split("\r\n--").next().unwrap().to_owned();
        let identifier = results[0].replace(OWN, "");
        // The scenes have different roots, and so different policies.
        let evidence = decoded_base64(&end(evidence).replace("\r\n", "")).unwrap();
        let mut evidence: serde_json::Value = serde_json::from_slice(&evidence).unwrap();
        evidence["rev"] = "".into();
        told.push((end(statement), evidence.to_string(), identifier));
        let statement = opened(end(statement).as_bytes());
        let statement = String::from_utf8(statement).unwrap();
        assert!(
            statement.contains("受け入れ条件を満たしません / Signed, but not accepted"),
            "{statement}"
        );
        for word in ["revoked", "expired", "失効され", "有効期間"] {
            assert!(!statement.contains(word), "{how}: {word}");
        }
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[test]
fn without_a_certificate_of_ours_the_content_goes_on_bare() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let alice = scene.world.person(ALICE);
    for form in FORMS {
        let mail = alice.sign(ALICE, form);
        let verdict = scene.world.verdict(&mail);
        for (wrapper, now) in [(None, NOW), (Some(&scene.wrapper), days(200))] {
            let context = StampContext {
                wrapper,
                now,
                ..scene.context(StampMode::Headers)
            };
            let copy = deliver(&mail, &verdict, &context, &Limits::default()).unwrap();
            assert!(!copy.wrapped);
            let out = applied(&mail, &copy);
            assert!(memchr::memmem::find(&opened(&out), alice.certificate.serial()).is_none());
            assert!(examine(&out, &Limits::default(), &[]).signatures.is_empty());
            assert_eq!(field(&out, "from"), [ALICE]);
            assert!(field(&out, "authentication-results")[0].contains("smime=pass"));
            verify_statement(&out, scene.stamp.public_key(), OWN).unwrap();
            assert!(out.is_ascii() || !mail.is_ascii());
        }
    }
}

#[test]
fn what_cannot_be_told_from_its_signature_is_not_delivered() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let alice = scene.world.person(ALICE);
    let mut opaque = alice.sign(ALICE, Form::Opaque);
    opaque.truncate(opaque.len() - 300);
    let verdict = scene.world.verdict(&opaque);
    let context = scene.context(StampMode::Headers);
    let refused = deliver(&opaque, &verdict, &context, &Limits::default());
    assert_eq!(refused, Err(Reason::Malformed));
    // What was not looked at goes only where it shows nothing.
    let mail = alice.sign(ALICE, Form::Clear);
    let unread = Verdict {
        result: Some(Reason::LimitTime.result()),
        reason: Some(Reason::LimitTime),
        ..crate::testing::unsigned()
    };
    let refused = deliver(&mail, &unread, &context, &Limits::default());
    assert_eq!(refused, Err(Reason::LimitTime));
    let plain = b"From: a@example.jp\r\n\r\nno signature, but p7m and p7s in a word\r\n";
    assert!(deliver(plain, &unread, &context, &Limits::default()).is_ok());
    // Where nothing has to be kept from anybody, the mail goes on.
    let open = Scene::new(Disclosure::Full);
    let verdict = open.world.verdict(&opaque);
    assert!(
        deliver(
            &opaque,
            &verdict,
            &open.context(StampMode::Wrap),
            &Limits::default()
        )
        .is_ok()
    );
}

/// Shapes in which a certificate travels that the engine does not call a signature.
#[test]
fn a_certificate_in_any_other_shape_keeps_the_mail_with_its_sender() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let card = scene.world.person(ALICE);
    let signed = card.sign(ALICE, Form::Clear);
    let at = memchr::memmem::find(
        &signed,
        b"Content-Disposition: attachment; filename=\"smime.p7s\"",
    )
    .unwrap();
    let object = String::from_utf8_lossy(&signed[at..]).into_owned();
    let object = object
        .split("\r\n\r\n")
        .nth(1)
        .unwrap()
        .split("\r\n--")
        .next()
        .unwrap()
        .to_owned();
    let encoded = |bytes: &[u8]| {
        let mut out = Vec::new();
        kenin_smime::push_base64(&mut out, bytes);
        String::from_utf8(out).unwrap()
    };
    let mixed = |kind: &str, encoding: &str, body: &str| {
        format!(
            "From: {ALICE}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
             Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n--b--\r\n"
        )
    };
    for mail in [
        mixed(
            "application/pkcs7-signature; name=smime.p7s",
            "base64",
            &object,
        ),
        mixed(
            "application/octet-stream; name=smime.p7s",
            "base64",
            &object,
        ),
        mixed("application/octet-stream", "base64", &object),
        mixed("message/rfc822", "base64", &encoded(&signed)),
        mixed(
            "application/pkix-cert",
            "base64",
            &encoded(card.certificate.der()),
        ),
        format!(
            "From: {ALICE}\r\nX-Cert: {}\r\n\r\nhello\r\n",
            object.replace("\r\n", "\r\n ")
        ),
    ] {
        let verdict = scene.world.verdict(mail.as_bytes());
        for mode in [StampMode::Headers, StampMode::Wrap] {
            let copy = deliver(
                mail.as_bytes(),
                &verdict,
                &scene.context(mode),
                &Limits::default(),
            );
            assert_eq!(copy, Err(Reason::NotAccepted), "{mail}");
        }
    }
    // The same within mail that is signed with another's certificate, which may be shown.
    let open = Scene::new(Disclosure::Full);
    let verdict = open.world.verdict(&signed);
    assert!(!verdict.is_shielded());
}

#[test]
fn the_strictest_of_several_signers_decides() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let (card, other) = (scene.world.person(ALICE), World::called("Other "));
    let bob = other.person("bob@example.jp");
    // Bob's signature brings the card's certificate along.
    let chain = [card.certificate.clone()];
    let mail = bob.sign_as("bob@example.jp", Form::Clear, |signer| {
        signer.chain = Box::leak(Box::new(chain))
    });
    let (verdict, copy) = scene.copy(&mail, StampMode::Headers);
    assert!(verdict.is_shielded() && copy.wrapped);
    assert!(
        memchr::memmem::find(&opened(&applied(&mail, &copy)), card.certificate.serial()).is_none()
    );
}

#[test]
fn only_what_was_signed_is_called_that() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let card = scene.world.person(ALICE);
    let mail = card.sign(ALICE, Form::Clear);
    let changed = String::from_utf8(mail.clone())
        .unwrap()
        .replace("Hello, ", "Hullo, ");
    for (mail, unchanged) in [(mail, true), (changed.into_bytes(), false)] {
        let seen = opened(&scene.delivered(&mail, StampMode::Headers));
        let text = String::from_utf8_lossy(&seen).into_owned();
        assert_eq!(
            text.contains("is what was signed, unchanged"),
            unchanged,
            "{text}"
        );
        assert_eq!(text.contains("署名されていた内容そのものです"), unchanged);
        assert_eq!(
            text.contains("is what came, without the signature"),
            !unchanged
        );
    }
}

#[test]
fn mail_that_is_not_signed_is_never_wrapped() {
    let scene = Scene::new(Disclosure::Full);
    let plain = b"From: a@example.jp\r\nSubject: x\r\n\r\nhello\r\n";
    let (_, copy) = scene.copy(plain, StampMode::Wrap);
    assert_eq!(copy.body, None);
    assert!(applied(plain, &copy).ends_with(plain));
}

#[test]
fn an_anomaly_shows_no_name_that_was_not_found_to_be_the_signers() {
    let scene = Scene::new(Disclosure::Full);
    let alice = scene.world.person(ALICE);
    let mail = alice.sign("\"Boss\" <boss@example.jp>", Form::Clear);
    let out = scene.delivered(&mail, StampMode::Wrap);
    let from = field(&out, "from").remove(0);
    assert_eq!(from, format!("=?UTF-8?B?S2VuaW4g5qSc5Y2w?= <{GATEWAY}>"));
    assert_eq!(field(&out, "reply-to"), ["\"Boss\" <boss@example.jp>"]);
    assert!(scene.own.verdict(&out).is_pass());
    let statement = String::from_utf8_lossy(&opened(&out)).into_owned();
    assert!(statement.contains("Signed, but not accepted"));
    assert!(statement.contains("policy (from-mismatch)"));
    assert!(statement.contains("\"result\": \"policy\""));
    // Two senders: nobody to answer to.
    let twice = [b"From: other@example.jp\r\n".as_slice(), &mail].concat();
    let out = scene.delivered(&twice, StampMode::Wrap);
    assert!(field(&out, "reply-to").is_empty());
    assert_eq!(field(&out, "from").len(), 1);
}

/// What a relay may change in a signed part is signed as an object of its own.
#[test]
fn an_8bit_original_is_wrapped_whole() {
    let scene = Scene::new(Disclosure::Full);
    let alice = scene.world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    assert!(!mail.is_ascii());
    let out = scene.delivered(&mail, StampMode::Wrap);
    assert!(out.is_ascii());
    assert!(field(&out, "content-type")[0].starts_with("application/pkcs7-mime"));
    assert!(scene.own.verdict(&out).is_pass());
    assert!(memchr::memmem::find(&opened(&out), &mail).is_some());
}

#[test]
fn a_certificate_that_mail_programs_would_refuse_wraps_nothing() {
    let own = World::new();
    let made = |party: Party| {
        Wrapper::new(Box::new(party.key), vec![party.certificate], "Kenin").unwrap_err()
    };
    let key = || kenin_pki::crypto::SoftKey::generate(kenin_pki::crypto::KeyType::P256).unwrap();
    assert_eq!(
        made(own.issue(key(), |c| c.key_usage(KeyUsage::DIGITAL_SIGNATURE))),
        WrapperError::NoAddress
    );
    assert_eq!(
        made(own.issue(key(), |c| {
            c.mail(&[GATEWAY]).key_usage(KeyUsage::KEY_CERT_SIGN)
        })),
        WrapperError::NotForMail
    );
    assert_eq!(
        made(own.issue(key(), |c| {
            c.mail(&[GATEWAY]).ext_key_usage(&[oid::SERVER_AUTH])
        })),
        WrapperError::NotForMail
    );
    let other = Party {
        key: key(),
        certificate: own.person(GATEWAY).certificate,
    };
    assert_eq!(made(other), WrapperError::OtherKey);
    assert_eq!(
        Wrapper::new(Box::new(key()), Vec::new(), "Kenin").unwrap_err(),
        WrapperError::NoCertificate
    );
}
