//! Who waits for whom: messages that ask somebody over the network, and those that take too long.

use kenin_certstore::CertStore;
use kenin_certstore::fetch::{Fetch, Fetching, HttpError, Limits, Request, Sink};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_policy::trust::{Anchor, AnchorSettings, PathOptions, TrustPolicy};
use kenin_smime::sign::{Form, Signer};

use super::*;
use crate::sources::tests::{ca, read};

/// A responder that takes questions and says nothing until it is told to.
struct Hanging {
    asked: Semaphore,
    go: Semaphore,
}

impl Fetch for Hanging {
    fn fetch<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _limits: &'a Limits,
        _sink: Sink<'a>,
    ) -> Fetching<'a> {
        Box::pin(async move {
            self.asked.add_permits(1);
            let _gone = self.go.acquire().await;
            Err(HttpError::Status(503))
        })
    }
}

/// A mail that cannot be judged before somebody was asked, and a pipeline with one core that asks `network`.
async fn scene(dir: &Path, network: &Arc<Hanging>) -> (Pipeline, String) {
    let (root, key) = (ca("Root", None), SoftKey::generate(KeyType::P256).unwrap());
    let alice = CertificateBuilder::new(common_name("Alice").unwrap(), key.public_key())
        .mail_signer(&["alice@example.org"])
        .issued_by(&root.certificate, &root.key)
        .unwrap();
    let signer = Signer::new(&key, &alice);
    let signed = signer
        .sign(b"Content-Type: text/plain\r\n\r\nhello\r\n", Form::Clear)
        .unwrap();
    let signed = String::from_utf8(signed).unwrap();
    let mail = format!("From: alice@example.org\r\nMessage-ID: <2@x>\r\n{signed}");

    let made = pipeline(dir, judge, |config| {
        config.limits.deadline = Duration::from_secs(8);
    })
    .await;
    let config = Arc::clone(&made.snapshots.load().config);
    let mut snapshot = Snapshot::build(config, None).await.unwrap();
    let anchor = Anchor {
        name: "a".to_owned(),
        certificate: root.certificate.clone(),
        settings: AnchorSettings::default(),
    };
    snapshot.trust = TrustPolicy::from_parts(vec![anchor], PathOptions::default());
    snapshot.known = CertStore::new(
        Vec::new(),
        Vec::new(),
        std::slice::from_ref(&root.certificate),
    );
    let text = "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\n\
                fetch = { ocsp = \"http://ocsp.example/\" }\n";
    let mut sources = read(text, &[&root]).unwrap().unwrap();
    sources.network = Arc::clone(network) as Arc<dyn Fetch>;
    snapshot.sources = Some(sources);
    made.snapshots.store(Arc::new(snapshot));
    let one_core = Pipeline {
        cores: Arc::new(Semaphore::new(1)),
        ..made
    };
    (one_core, mail)
}

/// Two responders that hang were enough to stop all judging on two cores.
#[tokio::test]
async fn a_responder_that_hangs_holds_up_no_other_mail() {
    let dir = tempfile::tempdir().unwrap();
    let network = Arc::new(Hanging {
        asked: Semaphore::new(0),
        go: Semaphore::new(0),
    });
    let (pipeline, signed) = scene(dir.path(), &network).await;
    let pipeline = Arc::new(pipeline);
    let waiting = tokio::spawn({
        let pipeline = Arc::clone(&pipeline);
        async move { pipeline.treat(mail("bob@example.net", &signed)).await }
    });
    let asked = network.asked.acquire();
    let asked = tokio::time::timeout(Duration::from_secs(60), asked).await;
    asked.expect("somebody is asked").unwrap().forget();
    for _ in 0..3 {
        let other = pipeline.treat(mail("bob@example.net", PLAIN)).await;
        assert!(prepended(&other).contains("smime=none (not-signed)"));
        assert!(!waiting.is_finished());
    }
    // The message has its place among those that are judged all the while.
    let places = pipeline.snapshots.load().config.limits.messages;
    assert_eq!(pipeline.messages.available_permits(), places - 1);
    network.go.close();
    let text = prepended(&waiting.await.unwrap()).replace("\r\n", "");
    assert!(
        text.contains("smime=temperror (revocation-unavailable)"),
        "{text}"
    );
}

/// What came back from waiting for an answer, and has waited for its turn since, was not slow itself.
#[tokio::test]
async fn waiting_for_a_core_again_is_not_held_against_a_message() {
    static STARTED: Semaphore = Semaphore::const_new(0);
    static GO: Semaphore = Semaphore::const_new(0);
    let asking: Judge = |_, _, _, core| {
        let waiter = Waiter::here(Some(core)).unwrap();
        waiter.block_on(async {
            STARTED.add_permits(1);
            GO.acquire().await.unwrap().forget();
        });
        substitute::unexamined(Reason::NotSigned, b"")
    };
    let dir = tempfile::tempdir().unwrap();
    let made = pipeline(dir.path(), asking, |config| {
        config.limits.deadline = Duration::from_millis(1500);
    })
    .await;
    let pipeline = Pipeline {
        cores: Arc::new(Semaphore::new(1)),
        ..made
    };
    let others = async {
        STARTED.acquire().await.unwrap().forget();
        let core = Arc::clone(&pipeline.cores).acquire_owned().await.unwrap();
        GO.add_permits(1);
        core
    };
    let treat = pipeline.treat(mail("bob@example.net", PLAIN));
    let (treatment, core) = tokio::join!(treat, others);
    assert_eq!(
        refused(&treatment),
        "451 4.3.2 System busy, try again later"
    );
    drop(core);
}

/// A flood of mail that takes too long could take up all threads: each was stamped on one more.
#[tokio::test]
async fn few_are_stamped_unexamined_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let slow: Judge = |_, _, _, _| {
        std::thread::sleep(Duration::from_millis(1500));
        substitute::unexamined(Reason::Ok, b"")
    };
    let made = pipeline(dir.path(), slow, |config| {
        config.limits.deadline = Duration::from_millis(300)
    })
    .await;
    let places = made.unexamined.available_permits();
    assert_eq!(places, made.cores.available_permits());
    let pipeline = Pipeline {
        grace: Duration::from_millis(300),
        ..made
    };
    let all = u32::try_from(places).unwrap();
    let taken = Arc::clone(&pipeline.unexamined)
        .acquire_many_owned(all)
        .await
        .unwrap();
    let reply = refused(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert_eq!(reply, "451 4.3.2 System busy, try again later");
    drop(taken);
    let pipeline = Pipeline {
        cores: Arc::new(Semaphore::new(1)),
        grace: GRACE,
        ..pipeline
    };
    let text = prepended(&pipeline.treat(mail("bob@example.net", PLAIN)).await);
    assert!(text.contains("smime=permerror (limit-time)"), "{text}");
    assert_eq!(pipeline.unexamined.available_permits(), places);
}
