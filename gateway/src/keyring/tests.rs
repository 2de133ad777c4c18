use std::sync::Mutex;
use std::time::Duration;

use kenin_keys::protocol::Refusal;
use kenin_keys::{Hand, State, Uses, WorkerClient};
use kenin_pki::crypto::{
    Aes, DigestAlgorithm, Kdf, KeyType, KeyWrap, SigningKey, SoftKey, Wrapping,
};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::*;
use crate::config::LogAddresses;

const JOURNAL: Journal = Journal {
    addresses: LogAddresses::Full,
};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A key of this person's.
fn key_of(person: &str) -> (HeldKey, KeyFacts) {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let facts = KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: "default".to_owned(),
        version: 1,
        state: State::Active,
        uses: Uses {
            decrypt: true,
            sign: true,
        },
        addresses: vec![address(person)],
        public: key.public_key().clone(),
        certificates: Vec::new(),
    };
    (HeldKey::soft(facts.clone(), key).unwrap(), facts)
}

fn wrapped(facts: &KeyFacts) -> Wrapped {
    let wrapping = Wrapping::Agreement {
        kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
        wrap: KeyWrap::Aes(Aes::Bits128),
        shared_info: Vec::new(),
    };
    Wrapped::wrap(wrapping, &facts.public, &Secret::new(vec![9; 16])).unwrap()
}

fn ask(recipient: &str) -> Ask {
    Ask {
        tenant: "default".to_owned(),
        recipients: vec![address(recipient)],
        sender: None,
        client: Some("192.0.2.1".parse().unwrap()),
        seconds: 60,
    }
}

/// What unwrapping for the recipient comes to, on a thread that may wait.
async fn unwrapped(lease: &Lease, recipient: &str, facts: &KeyFacts) -> Result<Vec<u8>, NoKey> {
    let (lease, recipient, facts) = (lease.clone(), address(recipient), facts.clone());
    let done = spawn_blocking(move || {
        let key = lease.unwrap(&recipient, facts.id, 16, &wrapped(&facts));
        key.map(|key| key.expose().to_vec())
    });
    done.await.unwrap()
}

#[tokio::test]
async fn a_gateway_without_keys_knows_nobody_and_misses_nothing() {
    let none = Keyring::default();
    assert!(none.of("default", &address("alice@example.com")).is_empty());
    assert!(none.is_there());
    assert!(none.renew().await.is_ok());
    assert!(matches!(
        none.grant(ask("alice@example.com")).await,
        Err(NoKey::Gone)
    ));
}

#[tokio::test]
async fn a_mail_reaches_the_keys_of_its_recipients_as_long_as_it_lasts() {
    let (alices, alice) = key_of("alice@example.com");
    let (bobs, bob) = key_of("bob@example.com");
    let keyring = Keyring::in_process(vec![alices, bobs], JOURNAL).unwrap();
    let found = keyring.of("default", &address("ALICE@example.com"));
    assert_eq!(found.len(), 1);
    assert_eq!(*found[0], alice);
    assert!(
        keyring
            .of("other", &address("alice@example.com"))
            .is_empty()
    );

    let lease = keyring.grant(ask("alice@example.com")).await.unwrap();
    let other = keyring.grant(ask("bob@example.com")).await.unwrap();
    let opened = unwrapped(&lease, "alice@example.com", &alice).await;
    assert_eq!(opened, Ok(vec![9; 16]));
    let refused = Err(NoKey::Refused(Refusal::NotGranted));
    assert_eq!(unwrapped(&lease, "bob@example.com", &bob).await, refused);
    assert_eq!(unwrapped(&lease, "alice@example.com", &bob).await, refused);
    assert_eq!(
        unwrapped(&other, "alice@example.com", &alice).await,
        refused
    );
    assert!(unwrapped(&other, "bob@example.com", &bob).await.is_ok());
    let (key, algorithm) = (alice.id, SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256));
    let signer = lease.clone();
    let signed = spawn_blocking(move || signer.sign(key, algorithm, b"1"))
        .await
        .unwrap();
    assert_eq!(signed, Err(NoKey::Refused(Refusal::NotGranted)));
    // A grant ends with the last of those who have it, and not with the first.
    let last = lease.clone();
    drop(lease);
    assert!(unwrapped(&last, "alice@example.com", &alice).await.is_ok());
    let transaction = last.0.transaction;
    let vault = Arc::clone(&last.0.vault);
    drop(last);
    // An answer on the same line comes after what was said before it.
    drop(keyring.grant(ask("alice@example.com")).await.unwrap());
    let after = spawn_blocking(move || {
        vault.by_hand(transaction, |hand| {
            hand.unwrap(
                &address("alice@example.com"),
                alice.id,
                16,
                &wrapped(&alice),
            )
        })
    });
    assert_eq!(
        after.await.unwrap().map(|_| ()),
        Err(NoKey::Refused(Refusal::NotGranted))
    );
}

/// KEY-03: whoever has a mail, and knows under which name another is granted keys at that moment, has nothing of it.
#[tokio::test]
async fn a_connection_that_is_handed_out_with_a_mail_is_for_no_other() {
    let (held, alice) = key_of("alice@example.com");
    let keyring = Keyring::in_process(vec![held], JOURNAL).unwrap();
    let own = Transaction::random().unwrap();
    let connection = keyring.connection(own).unwrap();
    let lease = keyring.grant_as(own, ask("alice@example.com"));
    let lease = lease.await.unwrap();
    let other = keyring.grant(ask("alice@example.com")).await.unwrap();
    let both = [other.transaction(), lease.transaction()];
    let facts = alice.clone();
    let asked = spawn_blocking(move || {
        let client = Arc::new(Mutex::new(WorkerClient::new(connection)));
        both.map(|transaction| {
            let hand = Hand::new(Arc::clone(&client), transaction);
            let recipient = address("alice@example.com");
            let key = hand.unwrap(&recipient, facts.id, 16, &wrapped(&facts));
            key.map(|key| key.expose().to_vec())
        })
    });
    let refused = Err(NoKey::Refused(Refusal::NotGranted));
    assert_eq!(asked.await.unwrap(), [refused, Ok(vec![9; 16])]);
    // Those of the edge itself are for whichever mail it has.
    for lease in [lease, other] {
        let opened = unwrapped(&lease, "alice@example.com", &alice).await;
        assert_eq!(opened, Ok(vec![9; 16]));
    }
}

/// DEC-06: what was said to have opened was no failure, and everything else was one.
#[tokio::test]
async fn what_has_opened_is_no_failure() {
    let (held, alice) = key_of("alice@example.com");
    let keyring = Keyring::in_process(vec![held], JOURNAL).unwrap();
    for opens in [true, false] {
        for round in 0..25 {
            let lease = keyring.grant(ask("alice@example.com")).await.unwrap();
            let key = unwrapped(&lease, "alice@example.com", &alice).await;
            assert_eq!(key.is_ok(), opens || round < 20, "{opens} {round}");
            if opens {
                lease.opened(&address("alice@example.com"), alice.id);
            }
        }
    }
}

#[tokio::test]
async fn when_the_keys_have_gone_their_owners_are_still_known() {
    let (held, alice) = key_of("alice@example.com");
    let keyring = Keyring::in_process(vec![held], JOURNAL).unwrap();
    let lease = keyring.grant(ask("alice@example.com")).await.unwrap();
    let ring = keyring.0.as_ref().unwrap();
    let lost = Keyring::lost(vec![alice.clone()]).await.unwrap();
    ring.vault.store(lost.0.unwrap().vault.load_full());
    assert!(!keyring.is_there());
    assert!(matches!(
        keyring.grant(ask("alice@example.com")).await,
        Err(NoKey::Gone)
    ));
    assert_eq!(
        keyring.of("default", &address("alice@example.com")).len(),
        1
    );
    // The mail that has begun ends with what it was granted.
    assert!(unwrapped(&lease, "alice@example.com", &alice).await.is_ok());
}

/// A key process without keys, and what it ends with.
fn empty() -> (Vault, UnixStream) {
    let (line, end) = UnixStream::pair().unwrap();
    let (door, _) = UnixStream::pair().unwrap();
    (Vault::new(line, door, Vec::new()).unwrap(), end)
}

/// Once it was given up nobody watched; and whoever watched did not see the newest end while mail worked with an older one.
#[tokio::test]
async fn the_one_that_a_reload_brings_is_watched_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("started");
    let script = format!("echo started > '{}'; exit 69", trace.display());
    let starter = Starter::of("/bin/sh", &["-c", &script], process::START);
    let (first, end) = empty();
    drop(end);
    until(&mut first.line.gone()).await;
    let keyring = Keyring::new(first, Some(starter));
    let mut worn = Patience::default();
    while worn.after(Instant::now(), None).is_some() {}
    let (stop, stopping) = watch::channel(false);
    let watching = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.watch_with(worn, stopping).await }
    });
    // There is one thread: it gives up.
    tokio::task::yield_now().await;
    let ring = keyring.0.as_ref().unwrap();
    let (second, _second_end) = empty();
    ring.take_over(second);
    let with_mail = ring.vault.load_full();
    tokio::task::yield_now().await;
    let (third, third_end) = empty();
    ring.take_over(third);
    drop(third_end);
    let started = async {
        while !trace.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let started = timeout(process::START, started).await;
    started.expect("another one is started");
    assert!(with_mail.line.is_there());
    stop.send(true).unwrap();
    watching.await.unwrap();
}

/// It said that no token of that name was configured, where one was.
#[test]
fn a_gateway_in_one_process_says_that_it_uses_no_tokens() {
    let own = "token_key = { token = \"hsm\", key = \"pkcs11:id=%05\", file = \"/keys.kek\" }";
    for lines in [
        own.to_owned(),
        format!("key_file = \"/k\"\nprevious = {{ {own} }}"),
    ] {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n[keys]\n{lines}\n\
             [[keys.token]]\nname = \"hsm\"\nmodule = \"/m.so\"\ntoken = \"pkcs11:token=a\"\n"
        );
        let config = Config::parse(&text, Path::new("/etc/kenin/kenin.toml")).unwrap();
        let error = Keyring::here(&config).unwrap_err().to_string();
        assert!(error.contains("kenin.toml:7:"), "{error}");
        assert!(error.contains(NO_TOKENS_HERE), "{error}");
    }
}
