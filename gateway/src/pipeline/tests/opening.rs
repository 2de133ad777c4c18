//! Mail that is opened, from the front end's question to its answer: with the real keeper of keys and a real store.
//!
//! It is long: all of its tests begin with the same gateway, keys and mail, which nothing else has.

use std::sync::Mutex;

use kenin_keys::{
    Granted, Hand, HeldKey, KeyFacts, KeyId, NoKey, State as KeyState, Uses, WorkerClient,
};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    Aes, ContentKind, DigestAlgorithm, Kdf, KeyType, KeyWrap, Secret, SigningKey, SoftKey, Wrapped,
    Wrapping,
};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smtp_filter::{Confided, Group, Outgoing, Share};

use super::*;
use crate::config::{KeyAt, LogAddresses, Notify, Quarantine as Settings, Receipts};
use crate::key_process::Journal;
use crate::opening::{Answers, Arrival, Closed, Office, State};

const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);
const ENTITY: &str = "Content-Type: text/plain\r\n\r\nThe canary sings.\r\n";

/// A key, and its certificate.
fn key_of(person: &str) -> (HeldKey, Certificate) {
    key_for(person, &[person])
}

/// A key that works for these addresses, and its certificate.
fn key_for(person: &str, addresses: &[&str]) -> (HeldKey, Certificate) {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let authority = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(common_name(person).unwrap(), key.public_key())
        .mail(&[person])
        .sign(&common_name("Authority").unwrap(), &[1; 20], &authority)
        .unwrap();
    let facts = KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: "default".to_owned(),
        version: 1,
        state: KeyState::Active,
        uses: Uses {
            decrypt: true,
            sign: false,
        },
        addresses: addresses
            .iter()
            .map(|address| Address::parse(address).unwrap())
            .collect(),
        public: key.public_key().clone(),
        certificates: vec![certificate.clone()],
    };
    (HeldKey::soft(facts, key).unwrap(), certificate)
}

fn encrypted(to: &[&Certificate], cipher: ContentKind, from: &str) -> String {
    let to: Vec<Addressee<'_>> = to.iter().map(|one| Addressee::of(one)).collect();
    let protect = Protect {
        recipients: &to,
        cipher,
    };
    let entity = String::from_utf8(protect.protect(ENTITY.as_bytes()).unwrap()).unwrap();
    format!("From: {from}\r\nTo: alice@example.jp\r\nMessage-ID: <1@x>\r\n{entity}")
}

/// Somewhere to hold mail, which nothing here does.
pub(super) fn quarantine() -> Settings {
    Settings {
        key: KeyAt::File("unread".into()),
        previous: Vec::new(),
        keep: Duration::from_secs(86_400),
        size: 1 << 20,
        entries: 10,
        notify: Notify::Nobody,
        postmaster: "postmaster@gw.example.jp".to_owned(),
    }
}

/// A pipeline with Alice's key, and her certificate.
async fn with_alice(dir: &Path, edit: impl FnOnce(&mut Config)) -> (Pipeline, Certificate) {
    let (held, certificate) = key_of("alice@example.jp");
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let keyring = Keyring::in_process(vec![held], journal).unwrap();
    let pipeline = pipeline(dir, judge, |config| {
        config.quarantine = Some(quarantine());
        edit(config);
    })
    .await;
    (pipeline.with_keys(keyring), certificate)
}

/// The same, with a quarantine that takes one mail.
async fn with_room_for_one(dir: &Path) -> (Pipeline, Certificate) {
    use std::os::unix::fs::PermissionsExt;
    let (pipeline, alice) = with_alice(dir, |config| {
        let key = config.dir.join("quarantine.key");
        std::fs::write(&key, [7; 32]).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        config.quarantine = Some(Settings {
            key: KeyAt::File(key),
            entries: 1,
            ..quarantine()
        });
    })
    .await;
    let snapshot = pipeline.snapshots.load_full();
    let opened = Quarantine::open(&snapshot.config).unwrap();
    (pipeline.holding_in(opened), alice)
}

/// Tells the pipeline that the mail is over.
pub(super) fn finish(pipeline: &Pipeline, mail: &Mail) {
    let finished = kenin_smtp_filter::Finished {
        id: mail.envelope.id.clone(),
        fate: kenin_smtp_filter::Fate::Relayed,
        reply: Reply::new(250, "2.0.0", "Accepted"),
        size: 1,
    };
    pipeline.on_event(&Event::Finished(&finished));
}

fn groups(treatment: Treatment) -> Vec<Group> {
    let Treatment::Divide(groups) = treatment else {
        panic!("{treatment:?}")
    };
    groups
}

/// A confided share as it goes on: whether it was opened, and its text.
fn sent(mail: &Mail, share: &Share) -> (bool, String) {
    let Share::Confide(Confided {
        content,
        edits,
        return_path,
        ..
    }) = share
    else {
        panic!("{share:?}")
    };
    assert_eq!(return_path.as_deref(), Some(""));
    let raw = content.as_ref().unwrap_or(&mail.raw).clone();
    let outgoing = Outgoing::new(raw, b"", edits).unwrap();
    let text = outgoing.pieces().flatten().copied().collect();
    (content.is_some(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn alice_gets_it_opened_with_a_stamp_and_the_others_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let to = ["mallory@example.jp", "alice@example.jp"];
    let mail = mail_to(&to, &raw, Division::Copies);
    let groups = groups(pipeline.treat(mail.clone()).await);
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].recipients, [1]);
    let (opened, text) = sent(&mail, &groups[0].share);
    assert!(opened && text.ends_with("The canary sings.\r\n"), "{text}");
    for line in [
        "Authentication-Results: smime.gw.example.jp; smime=none (not-signed)\r\n",
        "\r\nX-Kenin-Verdict: ",
        "\r\nX-Kenin-Decryption: opened; integrity=aead; sender=not-proven\r\n",
        "\r\nFrom: carol@example.net\r\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(groups[1].recipients, [0]);
    let Share::Relay(edits) = &groups[1].share else {
        panic!("{:?}", groups[1].share)
    };
    let outgoing = Outgoing::new(mail.raw.clone(), b"", edits).unwrap();
    let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
    assert_eq!(text, raw.as_bytes(), "not a word more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_goes_the_same_way_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let good = encrypted(&[&alice], GCM, "carol@example.net");
    // In the tag.
    let mut tag = good.as_bytes()[..good.len() - 12].iter();
    let at = tag.rposition(u8::is_ascii_alphanumeric).unwrap();
    let mut bad = good.clone().into_bytes();
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    let bad = String::from_utf8(bad).unwrap();
    let mail = mail("alice@example.jp", &bad);
    let groups = groups(pipeline.treat(mail.clone()).await);
    assert_eq!(groups.len(), 1);
    let (opened, text) = sent(&mail, &groups[0].share);
    assert_eq!((opened, text), (false, bad));
}

/// DEC-06: a receipt that comes only for what stayed encrypted would tell that it did.
#[tokio::test(flavor = "multi_thread")]
async fn dec_06_no_receipt_is_asked_for_what_does_not_open() {
    let asks = "Disposition-Notification-To: mallory@example.com\r\n";
    for (receipts, kept) in [(Receipts::Strip, false), (Receipts::Keep, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (pipeline, alice) =
            with_alice(dir.path(), |config| config.decrypt.receipts = receipts).await;
        let good = encrypted(&[&alice], GCM, "carol@example.net");
        pipeline.treat(mail("alice@example.jp", &good)).await;
        // It came before, and does not open again.
        let bad = good.replace("carol@example.net", "mallory@example.com");
        let asked = format!("{asks}{bad}");
        let wanted = if kept { &asked } else { &bad };
        let came = mail("alice@example.jp", &asked);
        let treated = groups(pipeline.treat(came.clone()).await);
        assert_eq!(sent(&came, &treated[0].share), (false, wanted.clone()));
        let came = mail_to(&["alice@example.jp"], &asked, Division::Never);
        let Treatment::Relay(edits) = pipeline.treat(came.clone()).await else {
            panic!("not relayed")
        };
        let outgoing = Outgoing::new(came.raw.clone(), b"", &edits).unwrap();
        let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
        assert_eq!(text, wanted.as_bytes());
        // Who has no key here gets what came.
        let other = encrypted(&[&key_of("bob@example.jp").1], GCM, "carol@example.net");
        let came = mail("alice@example.jp", &format!("{asks}{other}"));
        let Treatment::Relay(edits) = pipeline.treat(came.clone()).await else {
            panic!("not relayed")
        };
        let outgoing = Outgoing::new(came.raw.clone(), b"", &edits).unwrap();
        let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
        assert_eq!(text, came.raw.to_vec());
    }
}

/// DEC-03: a cipher with a tag has no place in EnvelopedData, and one that nobody knows none anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_mail_whose_cipher_is_not_known_is_undecryptable_and_no_part() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let good = encrypted(&[&alice], CBC, "carol@example.net");
    let (header, body) = good.split_once("\r\n\r\n").unwrap();
    let object = STANDARD.decode(body.replace("\r\n", "")).unwrap();
    // The last octets of id-aes256-CBC (42), id-aes256-GCM (46) and of one that there is not.
    let cbc = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 42];
    let at = object.windows(9).position(|octets| octets == cbc).unwrap();
    for last in [46, 99] {
        let mut other = object.clone();
        other[at + 8] = last;
        let lines: Vec<String> = STANDARD
            .encode(&other)
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let raw = format!("{header}\r\n\r\n{}\r\n", lines.join("\r\n"));
        let snapshot = pipeline.snapshots.load_full();
        let discretion = Arc::default();
        let decided = pipeline.decide(mail("alice@example.jp", &raw), &snapshot, &discretion);
        let decided = decided.await.unwrap();
        assert_eq!(decided.states, [State::Undecryptable], "{last}");
        // It names her: the answer to it is that to what does not open.
        assert!(decided.discreet);
    }
    // A part is one, whatever its cipher.
    let part = good.split_once("Message-ID: <1@x>\r\n").unwrap().1;
    let raw = format!(
        "From: carol@example.net\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\n\r\nhello\r\n--b\r\n{part}\r\n--b--\r\n"
    );
    let snapshot = pipeline.snapshots.load_full();
    let discretion = Arc::default();
    let decided = pipeline.decide(mail("alice@example.jp", &raw), &snapshot, &discretion);
    assert_eq!(decided.await.unwrap().states, [State::NotRoot]);
}

/// DEC-11, over the store.
#[tokio::test(flavor = "multi_thread")]
async fn dec_11_what_somebody_sends_again_stays_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    for (raw, wanted) in [
        (raw.clone(), true),
        (raw.clone(), true),
        (
            raw.replace("carol@example.net", "mallory@example.com"),
            false,
        ),
        (raw, true),
    ] {
        let mail = mail("alice@example.jp", &raw);
        let groups = groups(pipeline.treat(mail.clone()).await);
        assert_eq!(sent(&mail, &groups[0].share).0, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_refuses_of_opened_mail_stays_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |config| {
        let rules = "[[rule]]\nwhen = { sender_domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\", require_signature = true }\n\
                     [[rule]]\nwhen = { sender_domain = \"closed.example\" }\n\
                     then = { decrypt = false }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    let treated = async |from: &str, cipher| {
        let mut mail = mail("alice@example.jp", &encrypted(&[&alice], cipher, from));
        Arc::make_mut(&mut mail.envelope).mail_from = from.to_owned();
        (pipeline.treat(mail.clone()).await, mail)
    };
    let (treatment, mail) = treated("a@other.example", GCM).await;
    assert!(sent(&mail, &groups(treatment)[0].share).0);
    let (treatment, mail) = treated("a@strict.example", GCM).await;
    let (opened, text) = sent(&mail, &groups(treatment)[0].share);
    assert!(
        !opened && text.as_bytes() == &*mail.raw,
        "it goes as it came"
    );
    // DEC-01: and what nobody vouches for is not opened there at all.
    let (treatment, mail) = treated("a@strict.example", CBC).await;
    assert!(!sent(&mail, &groups(treatment)[0].share).0);
    // Where nothing is to be opened, it is mail like any other.
    let (treatment, _) = treated("a@closed.example", GCM).await;
    assert!(matches!(treatment, Treatment::Relay(_)), "{treatment:?}");
}

/// DEC-13: it cannot be told from what does not open, not by its place among other copies either.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_refuses_or_holds_of_opened_mail_goes_the_way_of_what_stays_closed() {
    for enforce in ["strict", "quarantine"] {
        let dir = tempfile::tempdir().unwrap();
        let (pipeline, alice) = with_alice(dir.path(), |config| {
            let rules = format!(
                "[[rule]]\nwhen = {{ recipient_domain = \"example.jp\" }}\n\
                 then = {{ enforce = \"{enforce}\", require_signature = true, \
                 require_integrity = false }}\n"
            );
            std::fs::write(config.mail_file(), rules).unwrap();
        })
        .await;
        let good = encrypted(&[&alice], CBC, "carol@example.net");
        // It came before, in a mail of another's, and so stays closed.
        let bad = good.replace("carol@example.net", "mallory@example.com");
        for raw in [&good, &bad] {
            let to = ["mallory@example.net", "alice@example.jp"];
            let mail = mail_to(&to, raw, Division::Copies);
            let [hers, others] = &groups(pipeline.treat(mail.clone()).await)[..] else {
                panic!("two")
            };
            assert_eq!(
                (&hers.recipients[..], &others.recipients[..]),
                (&[1][..], &[0][..])
            );
            let (opened, text) = sent(&mail, &hers.share);
            assert!(!opened && text.as_bytes() == &*mail.raw);
            assert!(matches!(others.share, Share::Relay(_)));
            // Behind a milter there is one body.
            let mail = mail_to(&["alice@example.jp"], raw, Division::Never);
            let Treatment::Relay(edits) = pipeline.treat(mail).await else {
                panic!("held")
            };
            let path = Edit::ReturnPath(String::new());
            assert_eq!(edits.last(), Some(&path), "{enforce}");
            let outgoing = Outgoing::new(raw.clone().into_bytes().into(), b"", &edits).unwrap();
            let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
            assert_eq!(text, raw.as_bytes());
        }
    }
}

/// DEC-07: the client sees how long the transactions take, and so how many there are.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_closed_has_as_many_transactions_as_what_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |config| {
        let rules = "[[rule]]\nwhen = { recipient_domain = \"tagged.example\" }\n\
                     then = { stamp = \"subject\" }\n\
                     [[rule]]\nwhen = { recipient_domain = \"filed.example\" }\n\
                     then = { stamp = \"folder\" }\n\
                     [[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\", require_integrity = false }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    let to = [
        "alice@example.jp",
        "alice@tagged.example",
        "alice@filed.example",
        "alice@strict.example",
    ];
    let (held, alice) = key_for("alice@example.jp", &to);
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let pipeline = pipeline.with_keys(Keyring::in_process(vec![held], journal).unwrap());
    let good = encrypted(&[&alice], GCM, "carol@example.net");
    // It came before, in a mail of another's, and so stays closed.
    let bad = good.replace("carol@example.net", "mallory@example.com");
    for (raw, opens) in [(&good, true), (&bad, false)] {
        let mail = mail_to(&to, raw, Division::Copies);
        let treated = groups(pipeline.treat(mail.clone()).await);
        let places: Vec<&[usize]> = treated
            .iter()
            .map(|group| group.recipients.as_slice())
            .collect();
        assert_eq!(places, [&[0, 2][..], &[1][..], &[3][..]], "{opens}");
        for group in &treated {
            assert_eq!(sent(&mail, &group.share).0, opens);
        }
    }
}

/// The places that are together, and whether they have it opened.
fn shape(mail: &Mail, groups: &[Group]) -> Vec<(Vec<usize>, bool)> {
    let all = groups.iter();
    all.map(|group| (group.recipients.clone(), sent(mail, &group.share).0))
        .collect()
}

/// A mail with what is wrapped for these of its recipients changed.
fn broken(raw: &str, which: &[&Certificate]) -> String {
    let (header, body) = raw.split_at(raw.find("\r\n\r\n").unwrap() + 4);
    let object = base64(body);
    let limits = kenin_smime::Limits::default();
    let layer = kenin_smime::open::EncryptedLayer::of(raw.as_bytes(), &limits).unwrap();
    let mut changed = object.clone();
    for certificate in which {
        let found = layer.match_certificates(std::slice::from_ref(certificate));
        let recipient = &layer.recipients()[found[0].recipient];
        let wrapped = recipient.wrapped.as_ref().unwrap();
        let at = memchr::memmem::find(&object, &wrapped.encrypted_key).unwrap();
        changed[at] ^= 1;
    }
    let mut text = Vec::new();
    kenin_smime::push_base64(&mut text, &changed);
    format!("{header}{}", String::from_utf8(text).unwrap())
}

fn base64(body: &str) -> Vec<u8> {
    kenin_smime::mime::decode(body.as_bytes(), kenin_smime::mime::TransferEncoding::Base64)
        .unwrap()
        .into_owned()
}

/// A pipeline with keys of these, and their certificates.
async fn with_keys_of(
    dir: &Path,
    people: &[&str],
    edit: impl FnOnce(&mut Config),
) -> (Pipeline, Vec<Certificate>) {
    let (held, certificates) = people.iter().map(|person| key_of(person)).unzip();
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let (pipeline, _) = with_alice(dir, edit).await;
    let keyring = Keyring::in_process(held, journal).unwrap();
    (pipeline.with_keys(keyring), certificates)
}

/// DEC-05, DEC-07: beside Bob's part of a mail of his, somebody writes one for Alice that nothing opens to. That it opened for
/// Bob alone made two transactions of one.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_open_for_one_of_two_has_as_many_transactions_as_what_opens_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let to = ["alice@example.jp", "bob@example.jp"];
    let (pipeline, certificates) = with_keys_of(dir.path(), &to, |_| ()).await;
    let [alice, bob] = certificates.as_slice() else {
        panic!("two")
    };
    for (which, opens) in [
        (&[][..], true),
        (&[alice][..], false),
        (&[bob][..], false),
        (&[alice, bob][..], false),
    ] {
        let raw = encrypted(&[alice, bob], GCM, "carol@example.net");
        let mail = mail_to(&to, &broken(&raw, which), Division::Copies);
        let treated = groups(pipeline.treat(mail.clone()).await);
        let broken = which.len();
        assert_eq!(shape(&mail, &treated), [(vec![0, 1], opens)], "{broken}");
    }
}

/// What everybody can see, that a mail names Bob's key twice, keeps it closed for him alone.
#[tokio::test(flavor = "multi_thread")]
async fn whose_key_is_not_asked_keeps_nobody_elses_mail_closed() {
    let dir = tempfile::tempdir().unwrap();
    let to = ["alice@example.jp", "bob@example.jp", "carla@example.jp"];
    let (pipeline, certificates) = with_keys_of(dir.path(), &to, |_| ()).await;
    let [alice, bob, carla] = certificates.as_slice() else {
        panic!("three")
    };
    for (which, opens) in [(&[][..], true), (&[carla][..], false)] {
        let raw = encrypted(&[alice, bob, bob, carla], GCM, "carol@example.net");
        let mail = mail_to(&to, &broken(&raw, which), Division::Copies);
        let treated = groups(pipeline.treat(mail.clone()).await);
        let expected = [(vec![0, 2], opens), (vec![1], false)];
        assert_eq!(shape(&mail, &treated), expected);
    }
}

/// Somebody who sends another mail meanwhile sees whether there is memory for it, and so whether the one before has some.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_closed_has_its_room_as_long_as_what_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (mut pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let memory = Memory::new(64 << 20);
    pipeline.opener.memory = memory.clone();
    // All but what is lost by rounding.
    let all = 65_535 * 1024 / 6;
    let good = encrypted(&[&alice], GCM, "carol@example.net");
    let bad = broken(&good, &[&alice]);
    for (raw, opens) in [(&good, true), (&bad, false)] {
        for division in [Division::Copies, Division::Never] {
            let came = mail_to(&["alice@example.jp"], raw, division);
            let treatment = pipeline.treat(came.clone()).await;
            if let Treatment::Divide(groups) = &treatment {
                assert_eq!(sent(&came, &groups[0].share).0, opens);
            }
            drop(treatment);
            assert!(memory.try_take(all).is_err(), "{opens} {division:?}");
            finish(&pipeline, &came);
            assert!(memory.try_take(all).is_ok(), "{opens} {division:?}");
        }
    }
}

/// DEC-13: where nothing can be held, what opens and is refused must not be told from what stays closed and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_quarantine_puts_off_all_that_names_a_key_whether_it_opens_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_room_for_one(dir.path()).await;
    let good = encrypted(&[&alice], GCM, "carol@example.net");
    // It came before, and does not open again.
    let bad = good.replace("carol@example.net", "mallory@example.com");
    let other = encrypted(&[&key_of("bob@example.jp").1], GCM, "carol@example.net");
    for (raw, opens) in [(&good, true), (&bad, false)] {
        let came = mail("alice@example.jp", raw);
        let treated = groups(pipeline.treat(came.clone()).await);
        assert_eq!(sent(&came, &treated[0].share).0, opens);
        finish(&pipeline, &came);
    }
    let came = mail("alice@example.jp", &good);
    let held = Held {
        envelope: Arc::clone(&came.envelope),
        recipients: vec![0],
        sender: String::new(),
        content: Outgoing::new(came.raw.clone(), b"", &[]).unwrap(),
        reason: "odd".to_owned(),
        refusal: None,
    };
    pipeline.hold(held).await.unwrap();
    for raw in [&good, &bad] {
        for division in [Division::Copies, Division::Answers] {
            let came = mail_to(&["alice@example.jp"], raw, division);
            let reply = refused(&pipeline.treat(came).await);
            assert_eq!(reply, "452 4.3.1 Insufficient system storage");
        }
    }
    // Nor does a key work for whoever goes on all the same.
    let (said, granted) = asked_in_order(&pipeline, came, A_MINUTE).await;
    assert_eq!((said, granted), (Err(Closed::Full), [false, false]));
    // It names no key, and the MTA behind a milter holds what it has to.
    for came in [
        mail("alice@example.jp", &other),
        mail_to(&["alice@example.jp"], &good, Division::Never),
    ] {
        let treatment = pipeline.treat(came).await;
        assert!(matches!(treatment, Treatment::Relay(_)), "{treatment:?}");
    }
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// A layer that needs no room, and a key.
fn arrival() -> Arrival {
    Arrival {
        message_ids: vec![[1; 32]],
        digests: vec![[2; 32]],
        answers: Answers::of(b"From: carol@example.net\r\n\r\n"),
        octets: None,
        wait: false,
        grant: true,
    }
}

/// What comes of it when it is said that this mail came encrypted, which somebody waits for so long; and whether its keys
/// are granted before that and after.
async fn asked_in_order(
    pipeline: &Pipeline,
    mail: Mail,
    waiting: Duration,
) -> (Result<(), Closed>, [bool; 2]) {
    let (opener, now) = (pipeline.opener.clone(), pipeline.clock.read());
    let end = Instant::now() + waiting;
    let core = Core::take(&pipeline.cores, end).await.unwrap();
    let asked = spawn_blocking(move || {
        let discretion = Discretion::default();
        let office = opener.office(&mail, now, &[], &core, end, &discretion);
        let granted = || match office.lease() {
            Ok(_) => true,
            Err(no) => {
                assert_eq!(no, NoKey::Gone);
                false
            }
        };
        let before = granted();
        let said = office.admit(&arrival()).map(drop);
        assert!(discretion.is_wanted());
        (said, [before, granted()])
    });
    asked.await.unwrap()
}

/// KEY-03: whoever has taken over a worker asks for the keys, and leaves out that the mail came encrypted.
#[tokio::test(flavor = "multi_thread")]
async fn key_03_no_key_is_granted_before_it_is_said_that_the_mail_came_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let (said, granted) = asked_in_order(&pipeline, mail("alice@example.jp", &raw), A_MINUTE).await;
    assert_eq!((said, granted), (Ok(()), [false, true]));
}

/// Where the keys were read again meanwhile, whoever opened it asked one key process for what another had granted: it went on
/// unopened, and the log said that one may be taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_granted_keys_by_the_key_process_that_it_is_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |_| ()).await;
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let (held, _) = key_of("alice@example.jp");
    let next = Keyring::in_process(vec![held], journal).unwrap();
    let (opener, now) = (pipeline.opener.clone(), pipeline.clock.read());
    let end = Instant::now() + A_MINUTE;
    let core = Core::take(&pipeline.cores, end).await.unwrap();
    let worked = spawn_blocking(move || {
        let (mail, discretion) = (mail("alice@example.jp", PLAIN), Discretion::default());
        let office = opener.office(&mail, now, &[], &core, end, &discretion);
        let connection = office.connection().unwrap();
        opener.keyring.taken_over_by(&next);
        assert!(office.admit(&arrival()).is_ok());
        let client = Arc::new(Mutex::new(WorkerClient::new(connection)));
        let hand = Hand::new(client, office.lease().unwrap().transaction());
        let alice = Address::parse("alice@example.jp").unwrap();
        let key = Arc::clone(&office.keys(&alice)[0]);
        let wrapping = Wrapping::Agreement {
            kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
            wrap: KeyWrap::Aes(Aes::Bits128),
            shared_info: Vec::new(),
        };
        let secret = Secret::new(vec![9; 16]);
        let wrapped = Wrapped::wrap(wrapping, &key.public, &secret).unwrap();
        let opened = hand.unwrap(&alice, key.id, 16, &wrapped);
        opened.map(|opened| opened.expose().to_vec())
    });
    assert_eq!(worked.await.unwrap(), Ok(vec![9; 16]));
}

/// A thread that goes on after its mail has ended must not keep room that is never given back.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_keeps_no_room_in_the_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_room_for_one(dir.path()).await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let late = mail("alice@example.jp", &raw);
    let (said, granted) = asked_in_order(&pipeline, late, Duration::ZERO).await;
    assert_eq!((said, granted), (Err(Closed::Record), [false, false]));
    let mut next = mail("alice@example.jp", &raw);
    Arc::make_mut(&mut next.envelope).id = "01J0000000000000000000000B".to_owned();
    let treated = groups(pipeline.treat(next.clone()).await);
    assert!(sent(&next, &treated[0].share).0);
}

/// failures.md: a key process that has gone.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_process_mail_waits_or_goes_on_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let address = Address::parse("alice@example.jp").unwrap();
    let known = pipeline.opener.keyring.of("default", &address);
    let known = known.iter().map(|facts| KeyFacts::clone(facts)).collect();
    let pipeline = pipeline.with_keys(Keyring::lost(known).await.unwrap());
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    for division in [Division::Copies, Division::Answers, Division::Never] {
        let begun = Instant::now();
        let mail = mail_to(&["alice@example.jp"], &raw, division);
        let reply = refused(&pipeline.treat(mail).await);
        assert_eq!(reply, "451 4.7.5 Cryptographic service unavailable");
        // Another's key may have opened it before.
        assert!(
            begun.elapsed() >= crate::pipeline::opening::PERIOD,
            "{division:?}"
        );
    }
    let other = encrypted(&[&key_of("bob@example.jp").1], GCM, "carol@example.net");
    let treatment = pipeline.treat(mail("alice@example.jp", &other)).await;
    assert!(
        matches!(treatment, Treatment::Relay(_)),
        "it needs no key: {treatment:?}"
    );
}

/// failures.md: no memory is left, and whoever has it keeps it longer than a mail may wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_memory_waits_and_is_put_off() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |config| {
        config.decrypt.memory = 1 << 20;
        config.limits.deadline = Duration::from_millis(1500);
    })
    .await;
    // All of it, to the last kibibyte.
    let taken = pipeline.opener.memory.try_take((1 << 20) / 6).unwrap();
    assert!(pipeline.opener.memory.try_take(1).is_err());
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let reply = refused(&pipeline.treat(mail("alice@example.jp", &raw)).await);
    assert_eq!(reply, "451 4.3.2 System busy, try again later");
    let store = pipeline.store.clone().unwrap();
    let ids = kenin_policy::protect::message_ids(b"Message-ID: <1@x>\r\n\r\n");
    let is_known = async || {
        let known = store.is_encrypted_mail("default", &ids, &["example.jp"], unix_time(now()).0);
        known.await.unwrap()
    };
    assert!(!is_known().await, "what waits in vain leaves nothing");
    let other = pipeline.treat(mail("alice@example.jp", PLAIN)).await;
    assert!(prepended(&other).contains("smime=none (not-signed)"));
    drop(taken);
    let mail = mail("alice@example.jp", &raw);
    let groups = groups(pipeline.treat(mail.clone()).await);
    assert!(sent(&mail, &groups[0].share).0);
    assert!(is_known().await);
}

/// failures.md: what is inside may say nothing good by a clock that cannot be right, and is opened, whatever the rule: to put
/// it off would tell of what is inside.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_cannot_be_right_holds_up_no_mail_to_decrypt() {
    let dir = tempfile::tempdir().unwrap();
    let (mut pipeline, alice) = with_alice(dir.path(), |config| {
        let rules = "[[rule]]\nwhen = { sender_domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\", require_signature = true }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    // What is inside is signed, as far as this test goes.
    let inside: Judge = |raw, snapshot, time, core| match raw.ends_with(b"The canary sings.\r\n") {
        true => signed(),
        false => judge(raw, snapshot, time, core),
    };
    pipeline.judge = inside;
    pipeline.clock = Arc::new(Clock::new(|| (UNIX_EPOCH, Duration::ZERO)));
    for from in ["carol@example.net", "carol@strict.example"] {
        let mut mail = mail("alice@example.jp", &encrypted(&[&alice], GCM, from));
        Arc::make_mut(&mut mail.envelope).mail_from = from.to_owned();
        let groups = groups(pipeline.treat(mail.clone()).await);
        let (opened, text) = sent(&mail, &groups[0].share);
        let text = text.replace("\r\n ", " ");
        assert!(opened, "{from}: {text}");
        assert!(
            text.contains("smime=temperror (clock-not-trusted)"),
            "{from}: {text}"
        );
        assert!(!text.contains("X-Kenin-Verdict"), "{from}: {text}");
    }
}

/// DEC-14: the store knows what came encrypted, by the name outside and by the one inside, whether it opened or not.
#[tokio::test(flavor = "multi_thread")]
async fn dec_14_what_came_encrypted_is_known_by_its_message_id() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let store = pipeline.store.clone().unwrap();
    let now = unix_time(now()).0;
    let known = async |id: &str, domain: &str| {
        let raw = format!("Message-ID: {id}\r\n\r\n");
        let ids = kenin_policy::protect::message_ids(raw.as_bytes());
        let domains = [domain];
        let found = store.is_encrypted_mail("default", &ids, &domains, now);
        found.await.unwrap()
    };
    assert!(!known("<1@x>", "example.jp").await);
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    pipeline.treat(mail("alice@example.jp", &raw)).await;
    assert!(known("<1@x>", "example.jp").await);
    assert!(!known("<1@x>", "example.net").await);
    // What does not open is answered no less.
    let bad = raw.replace("<1@x>", "<2@x>").replace("carol@", "mallory@");
    pipeline.treat(mail("alice@example.jp", &bad)).await;
    assert!(known("<2@x>", "example.jp").await);
    // Nor is less done for it where it has no name than where it opens, and gets one.
    let own = "<01J0000000000000000000000A@smime.gw.example.jp>";
    let nameless = bad.replace("Message-ID: <2@x>\r\n", "");
    assert!(!known(own, "example.jp").await);
    pipeline.treat(mail("alice@example.jp", &nameless)).await;
    assert!(known(own, "example.jp").await);
    let inner = "Message-ID: <inner@x>\r\nFrom: carol@example.net\r\n\
        Content-Type: text/plain; hp=\"cipher\"\r\n\r\nThe canary sings.\r\n";
    let to = [Addressee::of(&alice)];
    let protect = Protect {
        recipients: &to,
        cipher: GCM,
    };
    let entity = String::from_utf8(protect.protect(inner.as_bytes()).unwrap()).unwrap();
    let raw = format!("From: carol@example.net\r\nMessage-ID: <outer@x>\r\n{entity}");
    pipeline.treat(mail("alice@example.jp", &raw)).await;
    assert!(known("<outer@x>", "example.jp").await);
    assert!(known("<inner@x>", "example.jp").await);
}

/// DEC-14: what came to an alias is answered under the address that the mail program has.
#[tokio::test(flavor = "multi_thread")]
async fn dec_14_an_answer_under_another_address_of_the_key_is_known_too() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |_| ()).await;
    let addresses = ["sales@alias.example", "alice@example.jp"];
    let (held, certificate) = key_for("alice@example.jp", &addresses);
    let journal = Journal {
        addresses: LogAddresses::Full,
    };
    let pipeline = pipeline.with_keys(Keyring::in_process(vec![held], journal).unwrap());
    let store = pipeline.store.clone().unwrap();
    let now = unix_time(now()).0;
    let ids = kenin_policy::protect::message_ids(b"Message-ID: <1@x>\r\n\r\n");
    let raw = encrypted(&[&certificate], GCM, "carol@example.net");
    pipeline.treat(mail("sales@alias.example", &raw)).await;
    for (domain, wanted) in [
        ("alias.example", true),
        ("example.jp", true),
        ("example.net", false),
    ] {
        let domains = [domain];
        let known = store.is_encrypted_mail("default", &ids, &domains, now);
        assert_eq!(known.await.unwrap(), wanted, "{domain}");
    }
}

/// There is one body: it is opened for all or for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_milter_opens_for_all_or_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |_| ()).await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let mail = mail_to(&["alice@example.jp"], &raw, Division::Never);
    let Treatment::Relay(edits) = pipeline.treat(mail.clone()).await else {
        panic!("not relayed")
    };
    let paths = edits.iter().filter_map(|edit| match edit {
        Edit::ReturnPath(path) => Some(path.as_str()),
        _ => None,
    });
    assert_eq!(paths.collect::<Vec<_>>(), [""]);
    let outgoing = Outgoing::new(mail.raw.clone(), b"", &edits).unwrap();
    let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with("\r\n\r\nThe canary sings.\r\n"), "{text}");
    assert!(text.contains("X-Kenin-Decryption: opened;"), "{text}");
    assert!(!text.contains("pkcs7-mime"), "{text}");
    let to = ["alice@example.jp", "mallory@example.jp"];
    let mail = mail_to(&to, &raw, Division::Never);
    let Treatment::Relay(edits) = pipeline.treat(mail.clone()).await else {
        panic!("not relayed")
    };
    let outgoing = Outgoing::new(mail.raw.clone(), b"", &edits).unwrap();
    let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
    assert_eq!(text, raw.as_bytes());
}

/// DEC-12: it goes on under the reverse path of what stays closed, without its wishes for receipts.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_refuses_of_opened_mail_behind_a_milter_is_told_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, alice) = with_alice(dir.path(), |config| {
        let rules = "[[rule]]\nwhen = { recipient_domain = \"example.jp\" }\n\
                     then = { enforce = \"strict\", require_signature = true }\n";
        std::fs::write(config.mail_file(), rules).unwrap();
    })
    .await;
    let raw = encrypted(&[&alice], GCM, "carol@example.net");
    let asked = format!("Disposition-Notification-To: carol@example.net\r\n{raw}");
    let mail = mail_to(&["alice@example.jp"], &asked, Division::Never);
    let Treatment::Relay(edits) = pipeline.treat(mail.clone()).await else {
        panic!("held")
    };
    let paths = edits.iter().filter_map(|edit| match edit {
        Edit::ReturnPath(path) => Some(path.as_str()),
        _ => None,
    });
    assert_eq!(paths.collect::<Vec<_>>(), [""]);
    let outgoing = Outgoing::new(mail.raw.clone(), b"", &edits).unwrap();
    let text: Vec<u8> = outgoing.pieces().flatten().copied().collect();
    assert_eq!(text, raw.as_bytes());
}

/// DEC-12: what comes back of it is told to nobody.
#[tokio::test]
async fn dec_12_mail_to_the_return_path_goes_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |config| {
        config.decrypt.return_path = Some("kenin-bounces@gw.example.jp".to_owned());
    })
    .await;
    let to = ["Kenin-Bounces@gw.example.jp", "bob@example.jp"];
    for division in [Division::Copies, Division::Answers] {
        let groups = groups(pipeline.treat(mail_to(&to, PLAIN, division)).await);
        let had = groups
            .iter()
            .filter(|group| matches!(group.share, Share::Had));
        let had: Vec<&[usize]> = had.map(|group| group.recipients.as_slice()).collect();
        assert_eq!(had, [&[0][..]]);
        let alone = pipeline.treat(mail_to(&to[..1], PLAIN, division)).await;
        let Treatment::Divide(alone) = alone else {
            panic!("{alone:?}")
        };
        assert!(matches!(alone[0].share, Share::Had));
    }
}

/// Fifty of them were decoded at one time, beside the budget.
#[tokio::test(flavor = "multi_thread")]
async fn large_mail_takes_turns_where_it_may_be_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |_| ()).await;
    let opener = &pipeline.opener;
    let large = |to: &str, kind: &str| {
        let head = format!("From: carol@example.net\r\nContent-Type: {kind}\r\n\r\n");
        mail(to, &format!("{head}{}", "MIIB\r\n".repeat(7 << 20)))
    };
    let encrypted = "application/pkcs7-mime; smime-type=enveloped-data";
    let first = opener.turn(&large("alice@example.jp", encrypted)).await;
    assert!(first.is_some());
    for (to, kind) in [
        ("mallory@example.jp", encrypted),
        ("alice@example.jp", "text/plain"),
        ("alice@example.jp", "Multipart/Mixed; boundary=b"),
    ] {
        assert!(opener.turn(&large(to, kind)).await.is_none(), "{to} {kind}");
    }
    let small = mail(
        "alice@example.jp",
        "Content-Type: application/pkcs7-mime\r\n\r\nMIIB\r\n",
    );
    assert!(opener.turn(&small).await.is_none());
    for kind in [
        encrypted,
        "multipart/signed; boundary=b",
        "a; b\r\nContent-Type: text/plain",
    ] {
        let next = large("alice@example.jp", kind);
        let waits = tokio::time::timeout(Duration::from_millis(1), opener.turn(&next));
        assert!(waits.await.is_err(), "{kind}");
    }
    drop(first);
    let next = large("alice@example.jp", encrypted);
    assert!(opener.turn(&next).await.is_some());
}

/// A few that waited had all places among the messages, and nobody's mail was judged.
#[tokio::test(flavor = "multi_thread")]
async fn large_mail_that_waits_for_its_turn_has_no_place_that_others_need() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, _) = with_alice(dir.path(), |config| config.limits.messages = 1).await;
    let turns = Arc::clone(&pipeline.opener.turns);
    let all = u32::try_from(turns.available_permits()).unwrap();
    let taken = turns.acquire_many_owned(all).await.unwrap();
    let head = "From: carol@example.net\r\nContent-Type: application/pkcs7-mime\r\n\r\n";
    let large = format!("{head}{}", "MIIB\r\n".repeat(1 << 18));
    let mut waiting = pipeline.treat(mail("alice@example.jp", &large));
    tokio::select! {
        biased;
        treatment = &mut waiting => panic!("{treatment:?}"),
        () = std::future::ready(()) => {}
    }
    let other = pipeline.treat(mail("bob@example.net", PLAIN)).await;
    assert!(prepended(&other).contains("smime=none (not-signed)"));
    drop((waiting, taken));
}
