use std::fs;

use kenin_pki::crypto::SigningKey;

use super::*;
use crate::folder::{FolderCause, KeyFolder};
use crate::kek::{Kek, Unlock, Unlocker};
use crate::key::KeyFacts;
use crate::sealed::{SealError, SealedKey};
use crate::testing::{facts, generated, secret};

fn reference(object: &str) -> Reference {
    Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse(object).unwrap(),
    }
}

#[test]
fn a_reference_survives_its_octets() {
    let rejection = RejectionSecret::random().unwrap();
    let written = reference("pkcs11:id=%00%01;object=alice");
    let secret = written.to_secret(&rejection);
    let (read, kept) = Reference::from_secret(&secret).unwrap();
    assert_eq!(read, written);
    assert_eq!(kept.secret(), rejection.secret());
    for cut in 0..secret.len() {
        let cut = Secret::new(secret.expose()[..cut].to_vec());
        assert!(Reference::from_secret(&cut).is_err());
    }
}

#[test]
fn a_reference_to_nothing_is_none() {
    let rejection = RejectionSecret::random().unwrap();
    let nameless = Reference {
        token: String::new(),
        ..reference("pkcs11:id=%01")
    };
    let line = Reference {
        token: "a\nb".to_owned(),
        ..reference("pkcs11:id=%01")
    };
    for bad in [reference("pkcs11:token=kenin"), nameless, line] {
        assert!(bad.check().is_err());
        assert!(Reference::from_secret(&bad.to_secret(&rejection)).is_err());
    }
}

#[test]
fn a_module_that_does_not_load_is_told_and_keeps_no_other_from_work() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("module.so");
    fs::write(&module, "no library").unwrap();
    let tokens = Tokens::start(vec![TokenSettings {
        name: "hsm".to_owned(),
        module: module.clone(),
        token: TokenUri::default(),
        pin: None,
        sessions: 4,
    }]);
    let troubles: Vec<_> = tokens.troubles().collect();
    assert!(matches!(troubles[..], [TokenError::Module { module: named, .. }] if *named == module));
    let (key, _) = generated();
    let public = || key.public_key().clone();
    let key = tokens.key(&reference("pkcs11:id=%01"), public());
    assert!(matches!(key, Err(TokenError::Module { .. })));
    let none = Tokens::none().key(&reference("pkcs11:id=%01"), public());
    assert!(matches!(none, Err(TokenError::Unknown(_))));
}

fn kek() -> (Kek, Unlocker) {
    let key = || secret(&[1; 32]);
    let unlocker = Unlocker::new(vec![Unlock::Key(key())]).unwrap();
    (Kek::from_key(&key()).unwrap(), unlocker)
}

#[test]
fn a_key_in_a_token_has_a_file_that_says_where_it_is() {
    let (key, _) = generated();
    let (kek, mut unlocker) = kek();
    let written = reference("pkcs11:id=%01");
    let rejection = RejectionSecret::random().unwrap();
    let facts = facts(&key);
    let sealed = SealedKey::seal_reference(facts.clone(), &written, &rejection, &kek).unwrap();
    let octets = sealed.to_octets();
    let read = SealedKey::from_octets(&octets).unwrap();
    assert_eq!(read, sealed);
    assert!(read.is_reference() && read.check(&mut unlocker).is_ok());
    assert_eq!(read.open(&mut unlocker).unwrap_err(), SealError::InToken);
    let (found, kept) = read.open_reference(&mut unlocker).unwrap();
    assert_eq!(found, written);
    assert_eq!(kept.secret(), rejection.secret());
    let newer = KeyFacts {
        version: 2,
        ..facts.clone()
    };
    let again = read.again(newer, (&mut unlocker, &kek)).unwrap();
    assert_eq!(again.open_reference(&mut unlocker).unwrap().0, written);
    let nowhere = reference("pkcs11:token=kenin");
    let refused = SealedKey::seal_reference(facts, &nowhere, &rejection, &kek);
    assert!(matches!(refused, Err(SealError::Malformed(_))));
}

/// KEY-01: also where the file holds no key.
#[test]
fn every_changed_octet_of_a_reference_is_seen() {
    let (key, pkcs8) = generated();
    let (kek, mut unlocker) = kek();
    let rejection = RejectionSecret::random().unwrap();
    let written = reference("pkcs11:id=%01");
    let sealed = SealedKey::seal_reference(facts(&key), &written, &rejection, &kek).unwrap();
    let octets = sealed.to_octets();
    for at in 0..octets.len() {
        let mut changed = octets.clone();
        changed[at] ^= 1;
        let opens =
            SealedKey::from_octets(&changed).is_ok_and(|read| read.check(&mut unlocker).is_ok());
        assert!(!opens, "octet {at}");
    }
    // The one is not taken for the other.
    let mut taken = octets;
    taken[8] = 1;
    let read = SealedKey::from_octets(&taken).unwrap();
    assert!(!read.is_reference());
    assert_eq!(read.open(&mut unlocker).unwrap_err(), SealError::Changed);
    let soft = SealedKey::seal(facts(&key), &pkcs8, &kek).unwrap();
    assert!(soft.check(&mut unlocker).is_ok());
    let error = soft.open_reference(&mut unlocker).map(|_| ()).unwrap_err();
    assert_eq!(error, SealError::NotInToken);
}

#[test]
fn a_key_in_a_token_that_nobody_knows_keeps_no_other_from_work() {
    let dir = tempfile::tempdir().unwrap();
    let folder = KeyFolder::create(&dir.path().join("keys")).unwrap();
    let (kek, mut unlocker) = kek();
    let (soft, pkcs8) = generated();
    let (token, _) = generated();
    let rejection = RejectionSecret::random().unwrap();
    let written = reference("pkcs11:id=%01");
    let changes = folder.change().unwrap();
    let key = SealedKey::seal(facts(&soft), &pkcs8, &kek).unwrap();
    changes.add(&key).unwrap();
    let key = SealedKey::seal_reference(facts(&token), &written, &rejection, &kek).unwrap();
    changes.add(&key).unwrap();
    changes
        .rewrite(key.facts().id, (&mut unlocker, &kek), |_| {})
        .unwrap();
    let held = folder.held(&mut unlocker, &Tokens::none()).unwrap();
    let (there, not): (Vec<_>, Vec<_>) = held.into_iter().partition(Result::is_ok);
    let there: Vec<_> = there.into_iter().flatten().collect();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].facts().public, *soft.public_key());
    let causes: Vec<_> = not.into_iter().filter_map(Result::err).collect();
    assert!(matches!(
        causes[0].cause,
        FolderCause::Token(TokenError::Unknown(_))
    ));
    assert!(causes[0].to_string().contains("[[keys.token]]"));
}
