use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use kenin_certstore::{DEFAULT_TENANT, KeptCapabilities, Origin as From};
use kenin_pki::crypto::{
    Aes, ContentKind, KeyError, KeyType, PublicKey, SignatureAlgorithm, SigningKey, SoftKey,
};
use kenin_pki::extension::KeyUsage;
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_pki::oid::Oid;
use kenin_policy::StampKey;
use kenin_policy::jws::{StatementError, verify_statement};
use kenin_smime::Capabilities;
use kenin_smtp_filter::{Edit, Share, Treatment};

use super::candidates::Search;
use super::*;
use crate::clock::Clock;
use crate::init::{InitOptions, Mode, postfix};
use crate::pipeline::tests::mail_to;
use crate::substitute::unexamined;

const OPENED: &[u8] =
    b"From: alice@outside.example\r\nTo: bob@own.example\r\nSubject: canary-9a44\r\n\r\n\
    canary-9a44\r\n";

/// id-smimeCapabilities (RFC 4262), and AES-128-CBC as its one capability.
const SAYS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 15];
const AES: &[u8] = &[
    0x30, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2,
];

/// A snapshot that knows a certificate of Bob's.
async fn snapshot(dir: &std::path::Path) -> Snapshot {
    snapshot_with(dir, "").await
}

/// The same with these mail rules.
async fn snapshot_with(dir: &std::path::Path, rules: &str) -> Snapshot {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let config = Config::load(&[dir.join("etc/kenin.toml")]).unwrap();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let root = CertificateBuilder::new(common_name("Root").unwrap(), key.public_key())
        .authority(None)
        .self_signed(&key)
        .unwrap();
    std::fs::write(config.dir.join("anchors/a.der"), root.der()).unwrap();
    let anchor = "[[anchor]]\nname = \"a\"\nfile = \"anchors/a.der\"\nrevocation = \"off\"\n";
    std::fs::write(config.trust_file(), anchor).unwrap();
    std::fs::write(config.mail_file(), rules).unwrap();
    let store = crate::store::open(&config).await.unwrap();
    let own = SoftKey::generate(KeyType::P256).unwrap();
    let bob = CertificateBuilder::new(common_name("Bob").unwrap(), own.public_key())
        .mail(&["bob@own.example"])
        .key_usage(KeyUsage::KEY_AGREEMENT)
        .extension(Oid::from_content(SAYS).unwrap(), false, AES)
        .issued_by(&root, &key)
        .unwrap();
    let put = store.put_certificate(DEFAULT_TENANT, &bob, From::Admin, false);
    assert!(put.await.unwrap());
    Snapshot::build(Arc::new(config), Some(&store))
        .await
        .unwrap()
}

fn moment() -> Moment {
    let right = || {
        (
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            Duration::ZERO,
        )
    };
    Clock::new(right).read()
}

/// What was opened goes on encrypted, without any rule that says so, or the caller is told that it must not go.
#[tokio::test]
async fn what_was_opened_goes_encrypted_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Arc::new(snapshot(dir.path()).await);
    let done = tokio::task::spawn_blocking(move || {
        let to = ["carol@own.example", "bob@own.example"];
        let mail = mail_to(
            &to,
            "From: x@y.example\r\n\r\nciphertext\r\n",
            Division::Copies,
        );
        let (author, now) = (Author::default(), moment());
        let mut clerk = Clerk::new(&snapshot, &author, now, None);
        let asking = &mut |questions| clerk.answer(questions);
        let came = plan(&mail, &snapshot, &author, now, &[], None, asking);
        assert!(came.is_nothing());
        let opened = plan_again(&mail, &[0, 1], &snapshot, now, asking);
        let Fate::Refused(at) = opened.fate(0) else {
            panic!("{opened:?}")
        };
        assert_eq!(opened.refusal(at, &mail).code(), 550);
        let Fate::Copy(at) = opened.fate(1) else {
            panic!("{opened:?}")
        };
        let copy = opened.copy(at, OPENED).unwrap().unwrap();
        let canary = b"canary-9a44";
        assert!(!copy.windows(canary.len()).any(|at| at == canary));
        // What is inside and encrypted is nobody's to encrypt for others.
        assert_eq!(opened.copy(at, &copy).unwrap(), None);
        // Only those who are asked about are told of.
        let one = plan_again(&mail, &[1], &snapshot, now, asking);
        assert!(matches!(one.fate(1), Fate::Copy(_)));
        assert_eq!(one.fate(0), Fate::Refused(usize::MAX));
    });
    done.await.unwrap();
}

/// Of a mail that some get, the rule that refuses the others stood nowhere.
#[tokio::test]
async fn the_rule_is_named_that_refuses_some_recipients() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "[[rule]]\nwhen = { recipient_domain = \"other.example\" }\nthen = { stamp = \"headers\" }\n\
        [[rule]]\nthen = { encrypt = \"must\" }\n";
    let snapshot = Arc::new(snapshot_with(dir.path(), rules).await);
    let done = tokio::task::spawn_blocking(move || {
        let decided = |to: &[&str]| {
            let raw = "From: x@y.example\r\nSubject: canary\r\n\r\nHello.\r\n";
            let mail = mail_to(to, raw, Division::Copies);
            let (author, now) = (Author::default(), moment());
            let mut clerk = Clerk::new(&snapshot, &author, now, None);
            let plan = plan(
                &mail,
                &snapshot,
                &author,
                now,
                &[],
                None,
                &mut |questions| clerk.answer(questions),
            );
            let verdict = unexamined(Reason::NotSigned, raw.as_bytes());
            act::act(&mail, &snapshot, verdict, now, &[], &plan)
        };
        for (to, action, rule) in [
            (
                &["bob@own.example", "carol@own.example"][..],
                "divide",
                Some(2),
            ),
            (
                &["bob@own.example", "dave@other.example"][..],
                "divide",
                None,
            ),
            (&["carol@own.example"][..], "refuse", Some(2)),
        ] {
            let decided = decided(to);
            assert_eq!((decided.action, decided.rule), (action, rule), "{to:?}");
        }
    });
    done.await.unwrap();
}

/// A key of the gateway's own statement that counts what it signs.
struct Counted {
    key: SoftKey,
    signed: Arc<AtomicUsize>,
}

impl SigningKey for Counted {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        self.key.sign(algorithm, message)
    }
}

/// A certificate that is taken to be good for this mailbox: at `signs.example` of a key that only signs.
fn candidate(address: &Address) -> policy::Candidate {
    let kind = match address.domain() {
        "signs.example" => KeyType::Ed25519,
        _ => KeyType::P256,
    };
    let (key, authority) = (
        SoftKey::generate(kind).unwrap(),
        SoftKey::generate(KeyType::P256).unwrap(),
    );
    let builder = CertificateBuilder::new(common_name("Leaf").unwrap(), key.public_key());
    policy::Candidate {
        certificate: builder
            .sign(&common_name("Root").unwrap(), &[1; 20], &authority)
            .unwrap(),
        refused: None,
        capabilities: None,
    }
}

/// What others are made of is stamped without a statement. Where one cannot be made, and need not be, it goes on itself, and
/// then it has one; and none is signed that nobody gets.
#[tokio::test]
async fn what_could_not_be_encrypted_goes_on_with_its_statement() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "[[rule]]\nthen = { encrypt = \"opportunistic\" }\n";
    let mut snapshot = snapshot_with(dir.path(), rules).await;
    let signed = Arc::new(AtomicUsize::new(0));
    let key = Counted {
        key: SoftKey::generate(KeyType::Ed25519).unwrap(),
        signed: Arc::clone(&signed),
    };
    let public = key.public_key().clone();
    snapshot.key = Some(StampKey::new(Box::new(key)).unwrap());
    // Nobody is seen to get it, so that each gets a copy of their own.
    let raw = "From: x@y.example\r\nSubject: canary\r\n\r\nHello.\r\n";
    let copies = |to: &[&str], author: &Author| -> Vec<Vec<u8>> {
        let (mail, now) = (mail_to(to, raw, Division::Copies), moment());
        let answer = |question: Question| {
            let answer = match &question {
                Question::RecipientCertificates(address) => {
                    policy::Answer::Certificates(policy::Found {
                        candidates: vec![candidate(address)],
                        unavailable: None,
                    })
                }
                Question::SenderKey(_) => policy::Answer::SenderKey(false),
                Question::CameEncrypted(_) => policy::Answer::CameEncrypted(false),
            };
            Answered { question, answer }
        };
        let plan = plan(&mail, &snapshot, author, now, &[], None, &mut |questions| {
            questions.into_iter().map(answer).collect()
        });
        let verdict = unexamined(Reason::NotSigned, raw.as_bytes());
        let edits: Vec<Vec<Edit>> =
            match act::act(&mail, &snapshot, verdict, now, &[], &plan).treatment {
                Treatment::Relay(edits) => vec![edits],
                Treatment::Divide(groups) => {
                    let shares = groups.into_iter().map(|group| match group.share {
                        Share::Relay(edits) => edits,
                        other => panic!("{other:?}"),
                    });
                    shares.collect()
                }
                other => panic!("{other:?}"),
            };
        let whole = |edits: Vec<Edit>| {
            let outgoing = kenin_smtp_filter::Outgoing::new(mail.raw.clone(), b"", &edits).unwrap();
            let pieces: Vec<&[u8]> = outgoing.pieces().collect();
            pieces.concat()
        };
        edits.into_iter().map(whole).collect()
    };
    let (bob, ed) = ("bob@own.example", "ed@signs.example");
    let (arriving, leaving) = (
        Author::default(),
        Author::known(Some(Address::parse("x@y.example").unwrap()), None),
    );
    let absent = Err(StatementError::Absent);
    for (to, author, expected, signatures) in [
        (&[ed][..], &arriving, &[(true, Ok(()))][..], 1),
        (&[bob], &arriving, &[(false, Ok(()))], 1),
        (&[bob, ed], &arriving, &[(false, Ok(())), (true, Ok(()))], 2),
        (&[ed], &leaving, &[(true, Ok(()))], 1),
        (&[bob], &leaving, &[(false, absent)], 0),
        (&[bob, ed], &leaving, &[(false, absent), (true, Ok(()))], 1),
    ] {
        let found = copies(to, author).into_iter().map(|copy| {
            let text = String::from_utf8_lossy(&copy).into_owned();
            let held = verify_statement(&copy, &public, &snapshot.config.authserv_id);
            // Whatever the statement is, the one has what the other has.
            assert_eq!(text.contains("smime=none"), held.is_ok(), "{text}");
            (text.contains("Hello."), held.map(|_| ()))
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{to:?}");
        assert_eq!(signed.swap(0, Ordering::Relaxed), signatures, "{to:?}");
    }
}

#[tokio::test]
async fn what_a_recipient_said_comes_before_what_the_certificate_says() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Arc::new(snapshot(dir.path()).await);
    let bob = [Address::parse("bob@own.example").unwrap()];
    let read = async || {
        let (snapshot, bob) = (Arc::clone(&snapshot), bob.clone());
        let find = move || Search::new(&snapshot, None, moment()).find(&bob);
        let found = tokio::task::spawn_blocking(find).await.unwrap();
        let candidate = &found[0].candidates[0];
        assert_eq!((found.len(), candidate.refused), (1, None));
        (
            candidate.certificate.clone(),
            candidate.capabilities.clone(),
        )
    };
    let own = Capabilities {
        ciphers: vec![ContentKind::AesCbc(Aes::Bits128)],
        oaep: false,
    };
    let (certificate, first) = read().await;
    assert_eq!(first, Some(own));
    let all = vec![ContentKind::AesGcm(Aes::Bits256)];
    // Also where it is nothing that is known here.
    for (ciphers, oaep, time) in [(all, true, 1000), (Vec::new(), false, 2000)] {
        let said = KeptCapabilities {
            ciphers: ciphers.clone(),
            oaep,
        };
        let store = snapshot.store.as_ref().unwrap();
        let put = store.put_capabilities(DEFAULT_TENANT, certificate.sha256(), &said, time);
        put.await.unwrap();
        let (_, now) = read().await;
        assert_eq!(now, Some(Capabilities { ciphers, oaep }));
    }
}
