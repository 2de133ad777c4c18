//! Mail that leaves: what is required goes encrypted or not at all, whatever fails.

use kenin_certstore::{DEFAULT_TENANT, EncryptedMail, Origin};
use kenin_keys::{HeldKey, KeyFacts, KeyId, State, Uses};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Aes, ContentKind, KeyType, SigningKey, SoftKey};
use kenin_pki::extension::KeyUsage;
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_pki::oid;
use kenin_policy::verdict::Verdict;
use kenin_smime::Shape;
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::open::EncryptedLayer;
use kenin_smtp_filter::{Group, Share};

use super::*;
use crate::config::LogAddresses;
use crate::key_process::Journal;

const CANARY: &str = "canary-5e1f";
const MAIL: &str = "From: Alice <alice@own.example>\r\nTo: bob@partner.example, nobody@partner.example\r\n\
    Subject: canary-5e1f\r\nMessage-ID: <1@own.example>\r\n\r\ncanary-5e1f\r\n";
const RULES: &str = "[[rule]]\nwhen = { recipient_domain = \"partner.example\" }\nthen = { encrypt = \"must\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"maybe.example\" }\nthen = { encrypt = \"opportunistic\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"signed.example\" }\nthen = { sign = \"clear\" }\n\
    [[rule]]\nwhen = { recipient_domain = \"card.example\" }\nthen = { reencrypt = true }\n";

/// A gateway that trusts one authority.
struct Gateway {
    _dir: tempfile::TempDir,
    pipeline: Pipeline,
    root: (Certificate, SoftKey),
}

impl Gateway {
    async fn new(revocation: &str, judge: Judge) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let root = CertificateBuilder::new(common_name("Root").unwrap(), key.public_key())
            .authority(None)
            .self_signed(&key)
            .unwrap();
        let made = pipeline(dir.path(), judge, |config| {
            let anchor = format!(
                "[[anchor]]\nname = \"a\"\nfile = \"anchors/a.der\"\nrevocation = \"{revocation}\"\n"
            );
            let anchors = config.dir.join("anchors");
            std::fs::create_dir_all(&anchors).unwrap();
            std::fs::write(anchors.join("a.der"), root.der()).unwrap();
            std::fs::write(config.trust_file(), anchor).unwrap();
            std::fs::write(config.mail_file(), RULES).unwrap();
            config.limits.deadline = Duration::from_millis(1500);
            config.quarantine = Some(opening::quarantine());
        });
        Self {
            pipeline: made.await,
            _dir: dir,
            root: (root, key),
        }
    }

    fn issue(&self, address: &str, usage: u16) -> (Certificate, SoftKey) {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = CertificateBuilder::new(common_name("Leaf").unwrap(), key.public_key())
            .mail(&[address])
            .key_usage(usage)
            .ext_key_usage(&[oid::EMAIL_PROTECTION])
            .issued_by(&self.root.0, &self.root.1)
            .unwrap();
        (certificate, key)
    }

    /// Somebody whose certificate lies in the store.
    async fn reader(&self, address: &str) -> Certificate {
        let (certificate, _) = self.issue(address, KeyUsage::KEY_AGREEMENT);
        let store = self.pipeline.store.as_ref().unwrap();
        let put = store.put_certificate(DEFAULT_TENANT, &certificate, Origin::Admin, false);
        assert!(put.await.unwrap());
        certificate
    }

    async fn treat(&self, to: &[&str], division: Division) -> Treatment {
        self.pipeline.treat(mail_to(to, MAIL, division)).await
    }
}

/// The mail as it goes on with these edits.
fn edited(edits: &[Edit]) -> Vec<u8> {
    let (mut front, mut body, mut gone) = (Vec::new(), None, vec![false; MAIL.len()]);
    for edit in edits {
        match edit {
            Edit::Prepend(bytes) => front.extend_from_slice(bytes),
            Edit::Remove(range) => gone[range.clone()].fill(true),
            Edit::Body(at, bytes) => body = Some((*at, bytes.to_vec())),
            Edit::Insert(..) | Edit::ReturnPath(_) => panic!("{edit:?}"),
        }
    }
    let end = body.as_ref().map_or(MAIL.len(), |(at, _)| *at);
    let kept = MAIL.bytes().take(end).zip(gone);
    front.extend(kept.filter(|(_, gone)| !gone).map(|(byte, _)| byte));
    front.extend(body.map(|(_, bytes)| bytes).unwrap_or_default());
    front
}

fn relayed(treatment: &Treatment) -> Vec<u8> {
    match treatment {
        Treatment::Relay(edits) => edited(edits),
        other => panic!("{other:?}"),
    }
}

fn shows(mail: &[u8]) -> bool {
    mail.windows(CANARY.len()).any(|at| at == CANARY.as_bytes())
}

/// Whether it is encrypted for this certificate, and shows nothing of what it was.
fn is_for(mail: &[u8], certificate: &Certificate) -> bool {
    let layer = EncryptedLayer::of(mail, &kenin_smime::Limits::default());
    let own = [certificate.clone()];
    layer.is_some_and(|layer| !layer.match_certificates(&own).is_empty()) && !shows(mail)
}

#[tokio::test]
async fn what_must_be_encrypted_is_or_is_refused() {
    let gateway = Gateway::new("off", judge).await;
    let bob = gateway.reader("bob@partner.example").await;
    let to_bob = gateway
        .treat(&["bob@partner.example"], Division::Copies)
        .await;
    let copy = relayed(&to_bob);
    assert!(is_for(&copy, &bob), "{}", String::from_utf8_lossy(&copy));
    let header = String::from_utf8_lossy(&copy).into_owned();
    assert!(
        header.contains("Subject: [...]\r\n") && header.contains("smime=none"),
        "{header}"
    );
    for division in [Division::Copies, Division::Answers, Division::Never] {
        let reply = refused(&gateway.treat(&["nobody@partner.example"], division).await);
        assert_eq!(
            reply,
            "550 5.7.1 Encryption required but no valid certificate for <nobody@partner.example>; \
             message not sent"
        );
    }
    let plain = relayed(
        &gateway
            .treat(&["x@elsewhere.example"], Division::Copies)
            .await,
    );
    assert!(shows(&plain));
}

#[tokio::test]
async fn each_recipient_has_what_the_rule_says() {
    let gateway = Gateway::new("off", judge).await;
    let bob = gateway.reader("bob@partner.example").await;
    let hidden = gateway.reader("hidden@partner.example").await;
    let to = [
        "bob@partner.example",
        "nobody@partner.example",
        "hidden@partner.example",
        "x@maybe.example",
    ];
    let treatment = gateway.treat(&to, Division::Copies).await;
    let Treatment::Divide(groups) = treatment else {
        panic!("{treatment:?}")
    };
    let copy = |place: usize| -> Vec<u8> {
        let own = |group: &&Group| group.recipients.contains(&place);
        match &groups.iter().find(own).unwrap().share {
            Share::Relay(edits) => edited(edits),
            other => panic!("{other:?}"),
        }
    };
    assert!(is_for(&copy(0), &bob) && !is_for(&copy(0), &hidden));
    assert!(is_for(&copy(2), &hidden) && !is_for(&copy(2), &bob));
    assert!(shows(&copy(3)));
    let nobody = groups.iter().find(|group| group.recipients == [1]).unwrap();
    assert!(
        matches!(&nobody.share, Share::Refuse(reply) if reply.to_string().starts_with("550 5.7.1 "))
    );
    // There is one body.
    let one = gateway.treat(&[to[0], to[3]], Division::Never).await;
    assert_eq!(
        refused(&one),
        "550 5.7.1 Send separately: recipients need different protection"
    );
    let one = gateway.treat(&[to[0]], Division::Never).await;
    assert!(is_for(&relayed(&one), &bob));
}

#[tokio::test]
async fn what_cannot_be_known_now_is_tried_again_later() {
    let gateway = Gateway::new("required", judge).await;
    gateway.reader("bob@partner.example").await;
    gateway.reader("bob@maybe.example").await;
    let to = ["bob@partner.example"];
    let reply = refused(&gateway.treat(&to, Division::Copies).await);
    assert_eq!(
        reply,
        "451 4.7.5 Revocation status unavailable, try again later"
    );
    let maybe = gateway
        .treat(&["bob@maybe.example"], Division::Copies)
        .await;
    assert!(shows(&relayed(&maybe)));
    let mut gateway = Gateway::new("off", judge).await;
    gateway.reader("bob@partner.example").await;
    gateway.pipeline.clock = Arc::new(Clock::new(|| (UNIX_EPOCH, Duration::ZERO)));
    let reply = refused(&gateway.treat(&to, Division::Copies).await);
    assert_eq!(reply, "451 4.7.5 Time source not trusted");
}

/// What nobody could look at goes on untouched, but not in clear where that is forbidden.
#[tokio::test]
async fn a_mail_that_cannot_be_examined_does_not_go_in_clear() {
    let bad: Judge = |_, _, _, _| panic!("a bug");
    let gateway = Gateway::new("off", bad).await;
    gateway.reader("bob@partner.example").await;
    let to = ["bob@partner.example"];
    for _ in 0..2 {
        let reply = refused(&gateway.treat(&to, Division::Copies).await);
        assert_eq!(reply, "451 4.3.0 Processing aborted, try again later");
    }
    let reply = refused(&gateway.treat(&to, Division::Copies).await);
    assert_eq!(reply, "554 5.6.0 Message cannot be processed");
    let others = gateway.treat(&["x@maybe.example"], Division::Copies).await;
    assert!(shows(&relayed(&others)));
    let slow: Judge = |_, _, _, _| {
        std::thread::sleep(Duration::from_millis(3000));
        substitute::unexamined(Reason::Ok, b"")
    };
    let gateway = Gateway::new("off", slow).await;
    let reply = refused(&gateway.treat(&to, Division::Copies).await);
    assert_eq!(reply, "451 4.3.2 System busy, try again later");
    let limited: Judge = |_, _, _, _| -> Verdict { substitute::unexamined(Reason::LimitMime, b"") };
    let gateway = Gateway::new("off", limited).await;
    let reply = refused(&gateway.treat(&to, Division::Copies).await);
    assert_eq!(reply, "550 5.6.0 Message structure exceeds limits");
}

/// A key in this process that signs for somebody.
fn keyring(gateway: &Gateway, address: &str) -> Keyring {
    let uses = Uses {
        decrypt: false,
        sign: true,
    };
    keyring_for(gateway, &[address], uses).0
}

/// A key in this process that opens mail for the first of these addresses, and for the others; with its certificate.
fn opens_for(gateway: &Gateway, addresses: &[&str]) -> (Keyring, Certificate) {
    let uses = Uses {
        decrypt: true,
        sign: false,
    };
    keyring_for(gateway, addresses, uses)
}

fn keyring_for(gateway: &Gateway, addresses: &[&str], uses: Uses) -> (Keyring, Certificate) {
    let usage = match uses.sign {
        true => KeyUsage::DIGITAL_SIGNATURE,
        false => KeyUsage::KEY_AGREEMENT,
    };
    let (certificate, key) = gateway.issue(addresses[0], usage);
    let addresses = addresses.iter().map(|one| Address::parse(one).unwrap());
    let facts = KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: DEFAULT_TENANT.to_owned(),
        version: 1,
        state: State::Active,
        uses,
        addresses: addresses.collect(),
        public: key.public_key().clone(),
        certificates: vec![certificate.clone()],
    };
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let held = vec![HeldKey::soft(facts, key).unwrap()];
    (Keyring::in_process(held, journal).unwrap(), certificate)
}

/// DEC-10: whoever has a key of their own gets it encrypted for that, or as it came, and never opened.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_is_encrypted_for_its_recipient_where_a_rule_says_so() {
    let mut gateway = Gateway::new("off", judge).await;
    let card = gateway.reader("carol@card.example").await;
    let to = ["carol@card.example", "dave@card.example"];
    let (keyring, here) = opens_for(&gateway, &to);
    gateway.pipeline.opener.keyring = keyring;
    let protect = Protect {
        recipients: &[Addressee::of(&here)],
        cipher: ContentKind::AesGcm(Aes::Bits256),
    };
    let entity = format!("Content-Type: text/plain\r\n\r\n{CANARY}\r\n");
    let entity = protect.protect(entity.as_bytes()).unwrap();
    let header = "From: a@x.example\r\nTo: carol@card.example\r\nMessage-ID: <1@x.example>\r\n";
    let raw = format!("{header}{}", String::from_utf8(entity).unwrap());
    let memory = Memory::new(64 << 20);
    gateway.pipeline.opener.memory = memory.clone();
    // All but what is lost by rounding.
    let all = 65_535 * 1024 / 6;
    for (to, again) in [("carol@card.example", true), ("dave@card.example", false)] {
        let treatment = gateway.pipeline.treat(mail(to, &raw)).await;
        let Treatment::Divide(groups) = treatment else {
            panic!("{treatment:?}")
        };
        let [group] = groups.as_slice() else {
            panic!("{groups:?}")
        };
        let Share::Confide(confided) = &group.share else {
            panic!("{:?}", group.share)
        };
        let content = confided.content.as_ref();
        assert_eq!(content.is_some(), again, "{to}");
        if let Some(content) = content {
            assert!(is_for(content, &card) && !is_for(content, &here));
        }
        // While it waits for the next hop it has its room.
        drop(groups);
        assert!(memory.try_take(all).is_err(), "{to}");
        opening::finish(&gateway.pipeline, &mail(to, &raw));
        assert!(memory.try_take(all).is_ok());
    }
}

/// DEC-07: of mail that is encrypted behind a signature, what stayed closed was encrypted once more, with a copy for each
/// recipient who is not to be seen, and what opened was not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_behind_a_signature_is_not_encrypted_once_more() {
    let mut gateway = Gateway::new("off", judge).await;
    let to = ["carol@maybe.example", "dave@maybe.example"];
    for to in to {
        gateway.reader(to).await;
    }
    let (keyring, here) = opens_for(&gateway, &to);
    gateway.pipeline.opener.keyring = keyring;
    let (signs, signer) = gateway.issue("a@x.example", KeyUsage::DIGITAL_SIGNATURE);
    let signer = kenin_smime::sign::Signer::new(&signer, &signs);
    let entity = format!("Content-Type: text/plain\r\n\r\n{CANARY}\r\n");
    let protect = Protect {
        recipients: &[Addressee::of(&here)],
        cipher: ContentKind::AesGcm(Aes::Bits256),
    };
    let good = protect.protect(entity.as_bytes()).unwrap();
    let mut bad = good.clone();
    // Of the tag.
    let at = bad.len() - 12;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    for (entity, opens) in [(&good, true), (&bad, false)] {
        let signed = signer.sign(entity, kenin_smime::sign::Form::Clear).unwrap();
        let header = format!(
            "From: a@x.example\r\nTo: {}\r\nMessage-ID: <1@x.example>\r\n",
            to[0]
        );
        let raw = format!("{header}{}", String::from_utf8(signed).unwrap());
        let treatment = gateway
            .pipeline
            .treat(mail_to(&to, &raw, Division::Copies))
            .await;
        let Treatment::Divide(groups) = treatment else {
            panic!("{treatment:?}")
        };
        let [group] = groups.as_slice() else {
            panic!("{opens}: {groups:?}")
        };
        let Share::Confide(confided) = &group.share else {
            panic!("{:?}", group.share)
        };
        assert_eq!(confided.content.is_some(), opens);
        // Behind a milter one was refused and the other not.
        let treatment = gateway
            .pipeline
            .treat(mail_to(&to, &raw, Division::Never))
            .await;
        assert!(
            matches!(treatment, Treatment::Relay(_)),
            "{opens}: {treatment:?}"
        );
    }
}

/// RFC 6409: mail is signed for who proved to be its author, and for nobody else.
#[tokio::test]
async fn only_the_proven_author_has_mail_signed() {
    let mut gateway = Gateway::new("off", judge).await;
    gateway.pipeline.opener.keyring = keyring(&gateway, "alice@own.example");
    for (login, signed) in [
        (Some("alice@own.example"), true),
        (Some("mallory@own.example"), false),
        (None, false),
    ] {
        let mut mail = mail("bob@signed.example", MAIL);
        Arc::make_mut(&mut mail.envelope).authenticated = login.map(str::to_owned);
        let copy = relayed(&gateway.pipeline.treat(mail).await);
        let shape = Shape::of(&copy, &kenin_smime::Limits::default());
        assert_eq!(shape == Shape::Kept, signed, "{login:?}");
        assert!(shows(&copy));
        if signed {
            let text = String::from_utf8_lossy(&copy).into_owned();
            assert!(
                text.contains("multipart/signed") && !text.contains("smime="),
                "{text}"
            );
            let snapshot = gateway.pipeline.snapshots.load_full();
            let judged = spawn_blocking(move || {
                let trust = &snapshot.trust;
                let (known, limits) = (
                    snapshot.known.intermediates(),
                    kenin_smime::Limits::default(),
                );
                let time = unix_time(now());
                let case = kenin_policy::Case::new(&copy, trust, known, time, &limits);
                let none = |_: &kenin_policy::Question| kenin_policy::Answer::Issuers(Vec::new());
                kenin_policy::step::run(&case, none).verdict
            });
            assert!(judged.await.unwrap().is_pass());
        }
    }
}

/// DEC-14.
#[tokio::test]
async fn an_answer_to_mail_that_came_encrypted_is_encrypted_or_refused() {
    let mut gateway = Gateway::new("off", judge).await;
    gateway.pipeline.opener.keyring = keyring(&gateway, "alice@own.example");
    let mut snapshot = Snapshot::build(
        Arc::clone(&gateway.pipeline.snapshots.load().config),
        gateway.pipeline.store.as_ref(),
    )
    .await
    .unwrap();
    let mut config = (*snapshot.config).clone();
    config.keys = Some(crate::config::Keys {
        folder: "keys".into(),
        seal: crate::config::SecretAt::Key("k".into()),
        previous: None,
        when_gone: crate::config::WhenGone::default(),
        tokens: Vec::new(),
    });
    snapshot.config = Arc::new(config);
    gateway.pipeline.snapshots.store(Arc::new(snapshot));
    let store = gateway.pipeline.store.clone().unwrap();
    let ids = kenin_policy::protect::message_ids(b"Message-ID: <secret@x.example>\r\n\r\n");
    let time = unix_time(now()).0;
    let came = EncryptedMail {
        ids,
        domains: vec!["own.example".to_owned()],
        at: Some(time),
        ..EncryptedMail::default()
    };
    let remembered = store.remember_encrypted(DEFAULT_TENANT, came);
    assert!(remembered.await.unwrap().is_empty());
    let answer = |login: Option<&str>, id: &str| {
        let raw = MAIL.replacen("Subject", &format!("In-Reply-To: <{id}>\r\nSubject"), 1);
        let mut mail = mail("x@elsewhere.example", &raw);
        Arc::make_mut(&mut mail.envelope).authenticated = login.map(str::to_owned);
        mail
    };
    let alice = Some("alice@own.example");
    let sent = gateway
        .pipeline
        .treat(answer(alice, "secret@x.example"))
        .await;
    assert!(refused(&sent).starts_with("550 5.7.1 Encryption required"));
    // Another thread, and somebody who is not known to be in that domain: nothing can be learnt by asking.
    for (login, id) in [
        (alice, "other@x.example"),
        (None, "secret@x.example"),
        (Some("x@elsewhere.example"), "secret@x.example"),
    ] {
        let sent = gateway.pipeline.treat(answer(login, id)).await;
        assert!(matches!(sent, Treatment::Relay(_)), "{login:?} {id}");
    }
}
