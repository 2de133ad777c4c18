use std::time::{Duration, UNIX_EPOCH};

use kenin_certstore::{DEFAULT_TENANT, Origin as From};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::extension::KeyUsage;
use kenin_pki::issue::{CertificateBuilder, common_name};

use super::*;
use crate::clock::Clock;
use crate::init::{InitOptions, Mode, postfix};
use crate::pipeline::tests::mail_to;

const OPENED: &[u8] =
    b"From: alice@outside.example\r\nTo: bob@own.example\r\nSubject: canary-9a44\r\n\r\n\
    canary-9a44\r\n";

/// A snapshot that knows a certificate of Bob's.
async fn snapshot(dir: &std::path::Path) -> Snapshot {
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
    let store = crate::store::open(&config).await.unwrap();
    let own = SoftKey::generate(KeyType::P256).unwrap();
    let bob = CertificateBuilder::new(common_name("Bob").unwrap(), own.public_key())
        .mail(&["bob@own.example"])
        .key_usage(KeyUsage::KEY_AGREEMENT)
        .issued_by(&root, &key)
        .unwrap();
    let put = store.put_certificate(DEFAULT_TENANT, &bob, From::Admin, false);
    assert!(put.await.unwrap());
    Snapshot::build(Arc::new(config), Some(&store))
        .await
        .unwrap()
}

/// What was opened goes on encrypted, without any rule that says so, or the caller is told that it must not go.
#[tokio::test]
async fn what_was_opened_goes_encrypted_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = Arc::new(snapshot(dir.path()).await);
    let right = || {
        (
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            Duration::ZERO,
        )
    };
    let done = tokio::task::spawn_blocking(move || {
        let to = ["carol@own.example", "bob@own.example"];
        let mail = mail_to(
            &to,
            "From: x@y.example\r\n\r\nciphertext\r\n",
            Division::Copies,
        );
        let protected = |origin, recipients: &[usize]| {
            let (author, now) = (Author::default(), Clock::new(right).read());
            let mut clerk = Clerk::new(&snapshot, &author, now, None);
            let job = Job {
                mail: &mail,
                message: OPENED,
                recipients,
                origin,
                unexamined: None,
                author: &author,
                snapshot: &snapshot,
                now,
            };
            protect(&job, &mut |questions| clerk.answer(questions))
        };
        let as_it_is = protected(Origin::Received, &[0, 1]);
        assert!(matches!(&as_it_is[..], [one] if matches!(one.course, Outcome::AsItIs)));
        let mut opened = protected(Origin::Opened, &[0, 1]);
        opened.sort_by_key(|one| one.recipients.clone());
        assert_eq!(opened.len(), 2);
        assert_eq!((opened[0].recipients[0], opened[1].recipients[0]), (0, 1));
        assert!(matches!(&opened[0].course, Outcome::Refused(reply) if reply.code() == 550));
        let Outcome::Copy(copy) = &opened[1].course else {
            panic!("{opened:?}")
        };
        let canary = b"canary-9a44";
        assert!(!copy.windows(canary.len()).any(|at| at == canary));
        // Only those who are asked about are told of.
        let one = protected(Origin::Opened, &[1]);
        assert!(matches!(&one[..], [one] if one.recipients == [1]));
    });
    done.await.unwrap();
}
