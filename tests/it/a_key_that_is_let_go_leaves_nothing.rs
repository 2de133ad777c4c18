//! KEY-02: where a private key in memory was let go, no piece of it is left: neither of its numbers, which the library has, nor
//! of the octets that it was read from, which are ours. A process of its own does with keys what the key process does, by the
//! same code: it reads them from their sealed files, opens and signs with them, lets them go, and is looked through.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kenin_keys::protocol::{Answer, EdgeRequest, Grant, Reach, Sign, Transaction, Unwrap};
use kenin_keys::{
    Decision, Event, HeldKey, Keeper, Kek, KeyFacts, KeyFolder, KeyId, Log, Moment, SealedKey,
    State, Tokens, Unlock, Unlocker, Uses,
};
use kenin_pki::Address;
use kenin_pki::crypto::{
    Aes, DigestAlgorithm, Kdf, KeyKind, KeyWrap, OaepParameters, Secret, SignatureAlgorithm,
    SigningKey, SoftKey, Wrapped, Wrapping,
};
use kenin_tests::forge::keys::Key;
use kenin_tests::memory::in_memory;
use kenin_tests::world::{Folder, PATIENCE};
use rustix::process::Pid;

use crate::key_process::attributes;

const NAME: &str =
    "a_key_that_is_let_go_leaves_nothing::no_piece_of_a_key_is_left_where_it_was_let_go";
/// Where the keys lie, for the process that works with them.
const FOLDER: &str = "KENIN_TESTS_KEYS_LET_GO";
const NOW: Moment = Duration::from_secs(1000);

#[test]
fn no_piece_of_a_key_is_left_where_it_was_let_go() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work_and_let_go(Path::new(&folder));
    }
    let folder = Folder::new();
    let keys = [Key::rsa(2048), Key::p256(), Key::p384(), Key::p521()];
    seal(folder.path(), &keys);
    let (mut line, theirs) = UnixStream::pair().unwrap();
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let pieces: Vec<Vec<Vec<u8>>> = keys.iter().map(Key::private_pieces).collect();
    let held = look(&mut line, pid, &pieces);
    let left = held
        .is_some()
        .then(|| look(&mut line, pid, &pieces).expect("as before"));
    // If it waits for a word, it goes on without.
    drop(line);
    let ended = child.wait().unwrap();
    let (Some(held), Some(left)) = (held, left) else {
        return;
    };
    assert!(ended.success(), "{ended}");
    for (number, found) in held.into_iter().enumerate() {
        assert!(found > 0, "the search finds key {number} while it is held");
    }
    assert_eq!(left, [0; 4], "of each key");
}

/// How often the pieces of each key are there, once the process says that it has got so far; then it goes on. Nothing where
/// that cannot be seen.
fn look(line: &mut UnixStream, pid: Pid, pieces: &[Vec<Vec<u8>>]) -> Option<Vec<usize>> {
    line.read_exact(&mut [0]).expect("it gets so far");
    let all = in_memory(pid, &pieces.concat())?;
    let mut counts = all.into_iter();
    let of_each = pieces
        .iter()
        .map(|own| counts.by_ref().take(own.len()).sum::<usize>());
    let of_each: Vec<usize> = of_each.collect();
    line.write_all(&[0]).unwrap();
    Some(of_each)
}

/// Puts the keys into a folder, each for an address of its own.
fn seal(folder: &Path, keys: &[Key]) {
    let kek = Kek::from_key(&secret()).unwrap();
    let sealed = KeyFolder::create(&folder.join("keys")).unwrap();
    for (number, key) in keys.iter().enumerate() {
        let soft = SoftKey::from_pem_or_der(&key.pem()).unwrap();
        let facts = KeyFacts {
            id: KeyId::random().unwrap(),
            tenant: "default".to_owned(),
            version: 1,
            state: State::Active,
            uses: Uses {
                decrypt: true,
                sign: true,
            },
            addresses: vec![Address::parse(&format!("person{number}@example.com")).unwrap()],
            public: soft.public_key().clone(),
            certificates: Vec::new(),
        };
        let pkcs8 = Secret::new(soft.to_pkcs8().unwrap());
        let key = SealedKey::seal(facts, &pkcs8, &kek).unwrap();
        sealed.change().unwrap().add(&key).unwrap();
    }
}

/// What the keys are sealed under.
fn secret() -> Secret {
    Secret::new(vec![7; 32])
}

/// What the other process does. It never sees a key but in its sealed file.
fn work_and_let_go(folder: &Path) {
    let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut wait = || {
        line.write_all(&[0]).unwrap();
        let _ = line.read_exact(&mut [0]);
    };
    let mut unlocker = Unlocker::new(vec![Unlock::Key(secret())]).unwrap();
    let sealed = KeyFolder::open(&folder.join("keys")).unwrap();
    let held = sealed.held(&mut unlocker, &Tokens::none()).unwrap();
    let held: Vec<HeldKey> = held.into_iter().map(Result::unwrap).collect();
    let facts: Vec<KeyFacts> = held.iter().map(|key| key.facts().clone()).collect();
    let mut keeper = Keeper::new(held, Nowhere);
    for facts in &facts {
        opens_and_signs(&mut keeper, facts);
    }
    wait();
    drop(keeper);
    wait();
}

struct Nowhere;

impl Log for Nowhere {
    fn record(&mut self, _: Moment, _: &Event) -> bool {
        true
    }
}

fn opens_and_signs(keeper: &mut Keeper<Nowhere>, facts: &KeyFacts) {
    let transaction = Transaction::random().unwrap();
    let owner = facts.addresses[0].clone();
    let grant = Grant {
        transaction,
        tenant: facts.tenant.clone(),
        recipients: vec![owner.clone()],
        sender: Some(owner.clone()),
        client: None,
        seconds: 60,
    };
    assert_eq!(keeper.edge(NOW, EdgeRequest::Grant(grant)), Answer::Done);
    let digest = DigestAlgorithm::Sha256;
    let (wrapping, algorithm) = match facts.public.kind() {
        KeyKind::Rsa { .. } => (
            Wrapping::RsaOaep(OaepParameters::new(digest)),
            SignatureAlgorithm::RsaPkcs1(digest),
        ),
        _ => (
            Wrapping::Agreement {
                kdf: Kdf::Hkdf(digest),
                wrap: KeyWrap::Aes(Aes::Bits128),
                shared_info: Vec::new(),
            },
            SignatureAlgorithm::Ecdsa(digest),
        ),
    };
    let content_key = Secret::new(vec![9; 16]);
    let unwrap = Unwrap {
        transaction,
        recipient: owner,
        key: facts.id,
        length: 16,
        wrapped: Wrapped::wrap(wrapping, &facts.public, &content_key).unwrap(),
    };
    let answer = worked(keeper.unwrap(NOW, Reach::One(transaction), unwrap));
    assert_eq!(answer, Answer::Key(content_key));
    let sign = Sign {
        transaction,
        key: facts.id,
        algorithm,
        attributes: attributes(),
    };
    let Answer::Signature(signature) = worked(keeper.sign(NOW, Reach::One(transaction), sign))
    else {
        panic!("no signature");
    };
    let verified = facts.public.verify(algorithm, &attributes(), &signature);
    assert_eq!(verified, Ok(()));
}

fn worked(decision: Decision) -> Answer {
    match decision {
        Decision::Answer(answer) => answer,
        Decision::Work(job, _) => job.run(),
    }
}
