//! A real token: SoftHSM2, of each test's own, in a process of its own, since a module reads its environment once.
//! Where it is not installed the tests say so and check nothing; `tests/run` brings it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, mem};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, KeyType as Kind, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use kenin_pki::crypto::{
    DecryptionKey, DigestAlgorithm, KeyError, KeyKind, KeyType, OaepParameters, RejectionSecret,
    Secret, SignatureAlgorithm, SigningKey, SoftKey, Wrapped, Wrapping,
};
use kenin_pki::der::{Reader, write};

use super::*;
use crate::guarded::{GuardError, GuardedKey};
use crate::kek::Unlock;

/// A token in a folder.
struct World {
    folder: PathBuf,
    module: PathBuf,
}

impl World {
    /// The one that the parent has made.
    fn here() -> Self {
        Self {
            folder: std::env::var_os(FOLDER).unwrap().into(),
            module: module().unwrap(),
        }
    }

    /// Puts keys into the token, with the ids 1, 2 and so on.
    fn put(&self, keys: &[&SoftKey]) {
        let templates = keys.iter().zip(1..);
        self.create(templates.map(|(key, id)| template(key, id)).collect());
    }

    /// Puts these things into it. Ends the module: what uses it later starts it itself.
    fn create(&self, templates: Vec<Vec<Attribute>>) {
        let library = Pkcs11::new(&self.module).unwrap();
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        library.initialize(arguments).unwrap();
        let slots = library.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|slot| {
            let token = library.get_token_info(*slot).unwrap();
            token.token_initialized()
        });
        {
            let session = library.open_rw_session(slot.unwrap()).unwrap();
            let pin = AuthPin::new(PIN.into());
            session.login(UserType::User, Some(&pin)).unwrap();
            for template in templates {
                session.create_object(&template).unwrap();
            }
        }
        // Not unloaded: OpenSSL inside of it does not come back from that everywhere.
        mem::forget(library.clone());
        library.finalize().unwrap();
    }

    fn tokens(&self, pin: &str) -> Tokens {
        Tokens::start(vec![TokenSettings {
            name: "hsm".to_owned(),
            module: self.module.clone(),
            token: TokenUri::parse("pkcs11:token=kenin").unwrap(),
            pin: Some(Secret::new(pin.as_bytes().to_vec())),
            sessions: 2,
        }])
    }

    fn away(&self) {
        fs::rename(self.folder.join("tokens"), self.folder.join("pulled")).unwrap();
        fs::create_dir(self.folder.join("tokens")).unwrap();
    }

    fn back(&self) {
        fs::remove_dir_all(self.folder.join("tokens")).unwrap();
        fs::rename(self.folder.join("pulled"), self.folder.join("tokens")).unwrap();
    }
}

/// Runs `body` in a process of its own with a token of its own.
fn with_a_token(name: &str, body: impl FnOnce(&World)) {
    if std::env::var_os(FOLDER).is_some() {
        body(&World::here());
        eprintln!("{DONE}");
        return;
    }
    if module().is_none() {
        println!("SoftHSM2 is not installed: nothing was checked");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    let lines = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&configuration, lines).unwrap();
    let mut command = Command::new("softhsm2-util");
    command
        .args(["--init-token", "--free", "--label", "kenin"])
        .args(["--so-pin", "87654321", "--pin", PIN]);
    run(&mut command, folder.path(), &configuration);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    let said = run(&mut command, folder.path(), &configuration);
    assert!(said.contains(DONE), "no test has this name: {name}");
}

fn run(command: &mut Command, folder: &Path, configuration: &Path) -> String {
    command
        .env("SOFTHSM2_CONF", configuration)
        .env(FOLDER, folder)
        .stdout(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{:?} {said}", output.status);
    said
}

fn module() -> Option<PathBuf> {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    ];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A private key as a token takes it.
fn template(key: &SoftKey, id: u8) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(vec![id]),
        Attribute::Label(format!("key {id}").into_bytes()),
        Attribute::Sign(true),
    ];
    let pkcs8 = key.to_pkcs8().unwrap();
    let mut outer = Reader::new(&pkcs8).sequence().unwrap();
    outer.small().unwrap();
    let mut algorithm = outer.sequence().unwrap();
    algorithm.oid().unwrap();
    let inner = outer.octet_string().unwrap();
    let mut inner = Reader::new(inner).sequence().unwrap();
    inner.small().unwrap();
    if matches!(key.public_key().kind(), KeyKind::Rsa { .. }) {
        let mut next = || inner.unsigned().unwrap().to_vec();
        template.extend([
            Attribute::KeyType(Kind::RSA),
            Attribute::Decrypt(true),
            Attribute::Modulus(next()),
            Attribute::PublicExponent(next()),
            Attribute::PrivateExponent(next()),
            Attribute::Prime1(next()),
            Attribute::Prime2(next()),
            Attribute::Exponent1(next()),
            Attribute::Exponent2(next()),
            Attribute::Coefficient(next()),
        ]);
    } else {
        template.extend([
            Attribute::KeyType(Kind::EC),
            Attribute::Derive(true),
            Attribute::EcParams(algorithm.any().unwrap().raw.to_vec()),
            Attribute::Value(inner.octet_string().unwrap().to_vec()),
        ]);
    }
    template
}

/// The public half of a key on a curve, as tokens show it.
fn public(key: &SoftKey, id: u8) -> Vec<Attribute> {
    let mut outer = Reader::new(key.public_key().spki()).sequence().unwrap();
    let mut algorithm = outer.sequence().unwrap();
    algorithm.oid().unwrap();
    vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Id(vec![id]),
        Attribute::KeyType(Kind::EC),
        Attribute::EcParams(algorithm.any().unwrap().raw.to_vec()),
        Attribute::EcPoint(write::octet_string(key.public_key().bits())),
    ]
}

fn held(tokens: &Tokens, key: &SoftKey, object: &str) -> TokenKey {
    let reference = Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse(object).unwrap(),
    };
    tokens.key(&reference, key.public_key().clone()).unwrap()
}

#[test]
fn keys_in_softhsm_do_what_they_do_in_memory() {
    with_a_token(
        "token::softhsm::keys_in_softhsm_do_what_they_do_in_memory",
        |world| {
            let kinds = [
                KeyType::Rsa(2048),
                KeyType::P256,
                KeyType::P384,
                KeyType::P521,
            ];
            let soft = kinds.map(|kind| SoftKey::generate(kind).unwrap());
            world.put(&soft.each_ref());
            let tokens = world.tokens(PIN);
            let seen = tokens.see("hsm").unwrap();
            assert_eq!(seen.label, "kenin");
            assert!(seen.pin.set && !seen.pin.locked);
            let can = seen.mechanisms;
            assert!(can.rsa_raw && can.rsa_pkcs1 && can.rsa_pss && can.ecdh && can.ecdsa);
            assert_eq!(tokens.try_pin("hsm"), Ok(()));
            let [rsa, ..] = &soft;
            let key = held(&tokens, rsa, "pkcs11:id=%01");
            rsa_works(&key, rsa);
            for (soft, id) in soft.iter().zip(1..).skip(1) {
                let key = held(
                    &tokens,
                    soft,
                    &format!("pkcs11:id=%0{id};object=key%20{id}"),
                );
                assert_eq!(key.prove_opening(), Ok(()));
                let other = SoftKey::generate(kinds[id - 1]).unwrap();
                let peer = other.public_key().bits();
                assert_eq!(key.agree(peer), soft.agree(peer));
                for digest in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
                    signs(&key, SignatureAlgorithm::Ecdsa(digest));
                }
            }
            let traits = key.traits().unwrap();
            assert_eq!((traits.decrypt, traits.sign), (Some(true), Some(true)));
            assert_eq!(traits.extractable, Some(false));
            let none = held(&tokens, rsa, "pkcs11:id=%09");
            assert_eq!(none.rsa_raw(&[2; 256]), Err(KeyError::Unavailable));
            assert!(matches!(none.traits(), Err(TokenError::NoKey { .. })));
            let wrong = held(&tokens, rsa, "pkcs11:id=%02");
            assert!(wrong.prove_opening().is_err() && wrong.prove_signing().is_err());
        },
    );
}

fn rsa_works(key: &TokenKey, soft: &SoftKey) {
    assert_eq!(key.prove_opening(), Ok(()));
    let rejection = RejectionSecret::random().unwrap();
    let content_key = Secret::new(vec![7; 32]);
    for wrapping in [
        Wrapping::RsaPkcs1,
        Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256)),
    ] {
        let good = Wrapped::wrap(wrapping, key.public(), &content_key).unwrap();
        let opened = good.unwrap(key, &rejection, 32);
        assert_eq!(opened, Ok(Secret::new(vec![7; 32])));
        let mut bad = good.clone();
        bad.encrypted_key[100] ^= 1;
        let opened = bad.unwrap(key, &rejection, 32);
        assert_eq!(opened, bad.unwrap(soft, &rejection, 32));
    }
    for digest in [
        DigestAlgorithm::Sha256,
        DigestAlgorithm::Sha384,
        DigestAlgorithm::Sha512,
    ] {
        signs(key, SignatureAlgorithm::RsaPkcs1(digest));
        signs(
            key,
            SignatureAlgorithm::RsaPss {
                digest,
                mgf: digest,
                salt_len: u32::try_from(digest.size()).unwrap(),
            },
        );
    }
}

fn signs(key: &TokenKey, algorithm: SignatureAlgorithm) {
    let signature = key.sign(algorithm, b"hello").unwrap();
    let verified = key.public().verify(algorithm, b"hello", &signature);
    assert_eq!(verified, Ok(()), "{algorithm:?}");
}

#[test]
fn a_pin_that_is_wrong_uses_up_one_try() {
    with_a_token(
        "token::softhsm::a_pin_that_is_wrong_uses_up_one_try",
        |world| {
            let soft = SoftKey::generate(KeyType::P256).unwrap();
            world.put(&[&soft]);
            let tokens = world.tokens("4321");
            let key = held(&tokens, &soft, "pkcs11:id=%01");
            for _ in 0..20 {
                let error = key.traits().unwrap_err();
                let wrong = PinFault::Wrong;
                assert!(
                    matches!(&error, TokenError::Pin { fault, .. } if *fault == wrong),
                    "{error}"
                );
            }
            assert_eq!(
                tokens.try_pin("hsm").unwrap_err().advice(),
                PinFault::Wrong.advice()
            );
        },
    );
}

#[test]
fn a_token_that_goes_and_comes_back_is_used_again() {
    with_a_token(
        "token::softhsm::a_token_that_goes_and_comes_back_is_used_again",
        |world| {
            let soft = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
            world.put(&[&soft]);
            let tokens = world.tokens(PIN);
            let key = held(&tokens, &soft, "pkcs11:id=%01");
            assert_eq!(key.prove_opening(), Ok(()));
            world.away();
            // The module may know the key still; it has not got it for ever.
            let gone = (0..20).any(|_| key.rsa_raw(&[2; 256]) == Err(KeyError::Unavailable));
            println!("the module says that it is gone: {gone}");
            world.back();
            let back = (0..20).any(|_| key.prove_opening().is_ok());
            assert!(back);
        },
    );
}

#[test]
fn a_token_that_is_not_there_at_the_start_comes_later() {
    with_a_token(
        "token::softhsm::a_token_that_is_not_there_at_the_start_comes_later",
        |world| {
            let soft = SoftKey::generate(KeyType::P256).unwrap();
            world.put(&[&soft]);
            world.away();
            let tokens = world.tokens(PIN);
            let key = held(&tokens, &soft, "pkcs11:id=%01");
            assert!(matches!(key.traits(), Err(TokenError::Absent { .. })));
            let algorithm = key.default_algorithm();
            assert_eq!(key.sign(algorithm, b"x"), Err(KeyError::Unavailable));
            world.back();
            assert_eq!(key.prove_signing(), Ok(()));
        },
    );
}

fn key_at(object: &str) -> Reference {
    Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse(object).unwrap(),
    }
}

#[test]
fn a_key_encryption_key_is_guarded_by_a_key_in_softhsm() {
    with_a_token(
        "token::softhsm::a_key_encryption_key_is_guarded_by_a_key_in_softhsm",
        |world| {
            let kinds = [KeyType::Rsa(2048), KeyType::P256, KeyType::P256];
            let [rsa, first, second] = kinds.map(|kind| SoftKey::generate(kind).unwrap());
            world.create(vec![
                template(&rsa, 1),
                template(&first, 2),
                public(&first, 2),
                template(&second, 3),
                public(&second, 3),
                template(&first, 4),
            ]);
            let tokens = world.tokens(PIN);
            let all = ["pkcs11:id=%01", "pkcs11:id=%02", "pkcs11:id=%03"].map(key_at);
            for place in &all {
                let guarded = GuardedKey::make(&tokens, place).unwrap();
                let octets = guarded.to_octets();
                let read = GuardedKey::from_octets(&octets).unwrap();
                let opened = read.open(&tokens, place);
                assert!(matches!(opened, Ok(Unlock::Key(key)) if key.len() == 32));
                for other in all.iter().filter(|other| *other != place) {
                    let error = guarded.open(&tokens, other).unwrap_err();
                    assert_eq!(error, GuardError::OtherKey);
                }
                let mut changed = octets;
                let last = changed.len() - 1;
                changed[last] ^= 1;
                let changed = GuardedKey::from_octets(&changed).unwrap();
                let error = changed.open(&tokens, place).unwrap_err();
                assert_eq!(error, GuardError::Changed);
            }
            // Without its public half nothing can be made for it; what was made opens.
            let hidden = key_at("pkcs11:id=%04");
            let error = GuardedKey::make(&tokens, &hidden).unwrap_err();
            assert!(
                matches!(error, GuardError::Token(TokenError::Unsupported { .. })),
                "{error}"
            );
            let key = Secret::new(vec![7; 32]);
            let guarded = GuardedKey::seal(first.public_key(), &key).unwrap();
            let opened = guarded.open(&tokens, &hidden);
            assert!(matches!(opened, Ok(Unlock::Key(opened)) if opened == key));
            let error = guarded.open(&tokens, &key_at("pkcs11:id=%09")).unwrap_err();
            assert!(
                matches!(error, GuardError::Token(TokenError::NoKey { .. })),
                "{error}"
            );
            assert!(!error.is_away());
        },
    );
}

#[test]
fn a_wrong_pin_opens_no_key_encryption_key_and_is_tried_once() {
    with_a_token(
        "token::softhsm::a_wrong_pin_opens_no_key_encryption_key_and_is_tried_once",
        |world| {
            let soft = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
            world.put(&[&soft]);
            let guarded = GuardedKey::seal(soft.public_key(), &Secret::new(vec![7; 32])).unwrap();
            let tokens = world.tokens("4321");
            let wrong = GuardError::Token(TokenError::Pin {
                token: "hsm".to_owned(),
                fault: PinFault::Wrong,
            });
            for _ in 0..20 {
                let error = guarded.open(&tokens, &key_at("pkcs11:id=%01"));
                assert_eq!(error.unwrap_err(), wrong);
            }
        },
    );
}

#[test]
fn a_token_that_is_away_guards_until_it_is_back() {
    with_a_token(
        "token::softhsm::a_token_that_is_away_guards_until_it_is_back",
        |world| {
            let soft = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
            world.put(&[&soft]);
            world.away();
            let guarded = GuardedKey::seal(soft.public_key(), &Secret::new(vec![7; 32])).unwrap();
            let tokens = world.tokens(PIN);
            let place = key_at("pkcs11:id=%01");
            let error = guarded.open(&tokens, &place).unwrap_err();
            assert!(error.is_away(), "{error}");
            world.back();
            assert!(guarded.open(&tokens, &place).is_ok());
        },
    );
}

const PIN: &str = "1234";
const FOLDER: &str = "KENIN_KEYS_TOKEN";
const DONE: &str = "the body has been run";
