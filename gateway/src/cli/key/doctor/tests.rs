use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kenin_keys::{Kek, KeyFacts, Reference, SealedKey, State as Life, TokenUri, Unlock, Uses};
use kenin_pki::address::Address;
use kenin_pki::crypto::{KeyType, RejectionSecret, Secret, SigningKey};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_pki::oid;

use super::*;
use crate::config::{SecretAt, Token, TokenKeyAt, WhenGone};
use crate::demo::authority::{Authority, Holder, Term};

/// A folder with a key in it.
struct World {
    dir: tempfile::TempDir,
    kek: Kek,
    unlocker: Unlocker,
}

impl World {
    fn new() -> Self {
        let secret = || Secret::new(vec![7; 32]);
        Self {
            dir: tempfile::tempdir().unwrap(),
            kek: Kek::from_key(&secret()).unwrap(),
            unlocker: Unlocker::new(vec![Unlock::Key(secret())]).unwrap(),
        }
    }

    fn folder(&self) -> KeyFolder {
        KeyFolder::create(&self.dir.path().join("keys")).unwrap()
    }

    fn add(&self, facts: KeyFacts, holder: &Holder) -> KeyId {
        let pkcs8 = Secret::new(holder.key.to_pkcs8().unwrap());
        let sealed = SealedKey::seal(facts, &pkcs8, &self.kek).unwrap();
        self.folder().change().unwrap().add(&sealed).unwrap();
        sealed.facts().id
    }

    fn looked_at(&mut self, id: KeyId) -> Part {
        let folder = self.folder();
        checks::key(&folder, id, (&mut self.unlocker, &Tokens::none()), NOW)
    }
}

fn holder(term: Term) -> Holder {
    let mut authority = Authority::new("Test", KeyType::P256, NOW).unwrap();
    let issued = authority.issue("Alice", "alice@example.jp", KeyType::P256, term);
    issued.unwrap()
}

fn facts(holder: &Holder) -> KeyFacts {
    KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: "default".to_owned(),
        version: 1,
        state: Life::Active,
        uses: Uses {
            decrypt: true,
            sign: true,
        },
        addresses: vec![Address::parse("alice@example.jp").unwrap()],
        public: holder.key.public_key().clone(),
        certificates: vec![holder.certificate.clone()],
    }
}

/// What a check came to.
fn result(part: &Part, name: &str) -> (State, String) {
    let check = part.checks.iter().find(|check| check.name == name);
    let check = check.unwrap_or_else(|| panic!("{name} in {part:?}"));
    let quiet = matches!(check.state, State::Good | State::Skipped);
    assert_eq!(check.advice.is_none(), quiet, "what to do is said: {name}");
    (check.state, check.text.clone())
}

const NOW: UnixTime = UnixTime(1_795_000_000);

#[test]
fn a_good_key_has_nothing_to_be_done_about_it() {
    let mut world = World::new();
    let holder = holder(Term::Valid);
    let id = world.add(facts(&holder), &holder);
    let part = world.looked_at(id);
    assert!(part.is_good());
    assert!(part.checks.iter().all(|check| check.state == State::Good));
    for name in ["file", "place", "signature", "unwrap", "dates", "addresses"] {
        result(&part, name);
    }
    let text = part.to_text();
    assert!(
        text.starts_with(&format!("key {id} alice@example.jp\n")),
        "{text}"
    );
    let json = part.to_json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["checks"][0]["check"], "file");
}

#[test]
fn dates_addresses_and_uses_are_looked_at() {
    let mut world = World::new();
    for (term, words) in [(Term::Expired, "has ended"), (Term::Future, "not begun")] {
        let holder = holder(term);
        let id = world.add(facts(&holder), &holder);
        let (state, text) = result(&world.looked_at(id), "dates");
        assert_eq!(state, State::Bad);
        assert!(text.contains(words), "{text}");
        // Old mail opens with it, whatever the date.
        let retired = KeyFacts {
            id: KeyId::random().unwrap(),
            state: Life::Retired,
            ..facts(&holder)
        };
        let id = world.add(retired, &holder);
        let part = world.looked_at(id);
        assert!(part.is_good(), "{part:?}");
        assert!(part.checks.iter().all(|check| check.name != "signature"));
    }
    let holder = holder(Term::Valid);
    let other = KeyFacts {
        addresses: vec![Address::parse("bob@example.jp").unwrap()],
        ..facts(&holder)
    };
    let id = world.add(other, &holder);
    let (state, text) = result(&world.looked_at(id), "addresses");
    assert_eq!(state, State::Warning);
    assert!(text.contains("bob@example.jp"), "{text}");
    let key = holder.key.public_key();
    let server = CertificateBuilder::new(common_name("Alice").unwrap(), key)
        .mail(&["alice@example.jp"])
        .ext_key_usage(&[oid::SERVER_AUTH])
        .self_signed(&holder.key)
        .unwrap();
    let of_a_server = KeyFacts {
        certificates: vec![server],
        ..facts(&holder)
    };
    let id = world.add(of_a_server, &holder);
    let (state, text) = result(&world.looked_at(id), "certificate");
    assert_eq!(state, State::Bad);
    assert!(text.contains("for signing mail"), "{text}");
    let nobody = KeyFacts {
        addresses: Vec::new(),
        certificates: Vec::new(),
        ..facts(&holder)
    };
    let id = world.add(nobody, &holder);
    let part = world.looked_at(id);
    assert_eq!(result(&part, "addresses").0, State::Bad);
    assert_eq!(result(&part, "certificate").0, State::Bad);
    assert_eq!(result(&part, "dates").0, State::Skipped);
    assert!(!part.is_good());
}

#[test]
fn a_key_that_does_not_open_or_lies_in_no_token_is_told() {
    let mut world = World::new();
    let holder = holder(Term::Valid);
    let reference = Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse("pkcs11:id=%01").unwrap(),
    };
    let rejection = RejectionSecret::random().unwrap();
    let sealed = SealedKey::seal_reference(facts(&holder), &reference, &rejection, &world.kek);
    let sealed = sealed.unwrap();
    let id = sealed.facts().id;
    world.folder().change().unwrap().add(&sealed).unwrap();
    let part = world.looked_at(id);
    let (state, text) = result(&part, "place");
    assert_eq!(state, State::Bad);
    assert!(text.contains("hsm"), "{text}");
    assert_eq!(result(&part, "unwrap").0, State::Skipped);
    world.unlocker = Unlocker::new(vec![Unlock::Key(Secret::new(vec![8; 32]))]).unwrap();
    let part = world.looked_at(id);
    assert_eq!(result(&part, "file").0, State::Bad);
    assert_eq!(result(&part, "place").0, State::Skipped);
    assert_eq!(result(&part, "dates").0, State::Good);
}

/// Its strength, its certificate and its addresses were shown, with what to do about them, and are anybody's.
#[test]
fn nothing_is_said_of_what_stands_in_a_file_that_was_changed() {
    let mut world = World::new();
    let holder = holder(Term::Valid);
    let id = world.add(facts(&holder), &holder);
    let file = world.dir.path().join(format!("keys/{id}.key"));
    let mut octets = fs::read(&file).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&file, octets).unwrap();
    let part = world.looked_at(id);
    assert_eq!(result(&part, "file").0, State::Bad);
    for name in ["place", "strength", "certificate", "dates", "addresses"] {
        assert_eq!(result(&part, name).0, State::Skipped);
    }
}

/// Keys under `previous` were shown as if they did not open.
#[test]
fn a_guard_that_is_away_keeps_no_other_secret_from_opening() {
    let mut world = World::new();
    let holder = holder(Term::Valid);
    let id = world.add(facts(&holder), &holder);
    let write = |name: &str, octets: &[u8]| {
        let path = world.dir.path().join(name);
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    // For a key in the token; the rest of it nobody comes to read.
    let public = holder.key.public_key().spki();
    let length = u32::try_from(public.len()).unwrap().to_be_bytes();
    let guarded = [&b"kenin-G\n\x01"[..], &length, public, &[0_u8; 12]].concat();
    let guarded = SecretAt::Token(TokenKeyAt {
        file: write("guarded", &guarded),
        key: Reference {
            token: "hsm".to_owned(),
            object: TokenUri::parse("pkcs11:id=%01").unwrap(),
        },
    });
    let own = SecretAt::Key(write("kek", &[7; 32]));
    for (seal, previous) in [(&guarded, &own), (&own, &guarded)] {
        let keys = Keys {
            folder: world.dir.path().join("keys"),
            seal: seal.clone(),
            previous: Some(previous.clone()),
            when_gone: WhenGone::default(),
            tokens: Vec::new(),
        };
        world.unlocker = unlocker(&keys, &Tokens::none()).unwrap();
        let part = world.looked_at(id);
        assert!(part.is_good(), "{part:?}");
    }
}

#[test]
fn a_token_without_its_module_is_told() {
    let token = Token {
        name: "hsm".to_owned(),
        module: PathBuf::from("/nonexistent/module.so"),
        token: TokenUri::parse("pkcs11:token=kenin").unwrap(),
        pin: None,
        sessions: 1,
    };
    let tokens = Tokens::start(vec![token.settings().unwrap()]);
    let part = checks::token(&tokens, &token);
    assert_eq!(result(&part, "module").0, State::Bad);
    assert_eq!(result(&part, "pin").0, State::Skipped);
    let report = Report { parts: vec![part] };
    assert!(!report.is_good());
}
