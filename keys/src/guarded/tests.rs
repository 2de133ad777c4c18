use std::os::unix::fs::PermissionsExt;

use kenin_pki::crypto::{DecryptionKey, KeyType, RejectionSecret, SigningKey, SoftKey};

use super::*;
use crate::secret_file::read_guarded_file;
use crate::testing::secret;
use crate::token::TokenUri;

/// As with a token, with a key in memory.
fn opened(guarded: &GuardedKey, key: &dyn DecryptionKey) -> Result<Vec<u8>, GuardError> {
    let rejection = RejectionSecret::random().unwrap();
    let own = guarded.wrapped().unwrap(key, &rejection, KEY_LEN);
    let own = own.map_err(|_| GuardError::Changed)?;
    match guarded.unseal(&own)? {
        Unlock::Key(key) => Ok(key.expose().to_vec()),
        Unlock::Passphrase(_) => Err(GuardError::Failed),
    }
}

fn kinds() -> [SoftKey; 4] {
    [
        KeyType::Rsa(2048),
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
    ]
    .map(|kind| SoftKey::generate(kind).unwrap())
}

#[test]
fn what_was_sealed_for_a_key_is_opened_by_it_and_by_no_other() {
    let (keys, others) = (kinds(), kinds());
    for (key, other) in keys.iter().zip(&others) {
        let made = GuardedKey::seal(key.public_key(), &secret(&[7; 32])).unwrap();
        let octets = made.to_octets();
        let read = GuardedKey::from_octets(&octets).unwrap();
        assert_eq!(read, made);
        assert_eq!(opened(&read, key), Ok(vec![7; 32]));
        assert_eq!(opened(&read, other), Err(GuardError::Changed));
        // What is in it shows nowhere, and no two files are alike.
        assert!(!octets.windows(8).any(|part| part == [7; 8]));
        let again = GuardedKey::seal(key.public_key(), &secret(&[7; 32])).unwrap();
        assert_ne!(again.to_octets(), octets);
    }
}

#[test]
fn every_changed_bit_and_every_cut_of_a_guarded_key_is_seen() {
    for key in [KeyType::Rsa(2048), KeyType::P256] {
        let key = SoftKey::generate(key).unwrap();
        let made = GuardedKey::seal(key.public_key(), &secret(&[7; 32])).unwrap();
        let octets = made.to_octets();
        for at in 0..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 1 << (at % 8);
            let read = GuardedKey::from_octets(&changed);
            let opens = read.is_ok_and(|read| opened(&read, &key).is_ok());
            assert!(!opens, "octet {at}");
            assert!(GuardedKey::from_octets(&octets[..at]).is_err(), "cut {at}");
        }
        let longer = [&octets[..], b"x"].concat();
        assert!(GuardedKey::from_octets(&longer).is_err());
        let mut later = octets;
        later[MAGIC.len()] = 2;
        assert_eq!(GuardedKey::from_octets(&later), Err(SealError::Format(2)));
    }
}

#[test]
fn a_key_of_another_length_is_none_even_if_it_opens() {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    for length in [0, 31, 33] {
        let made = GuardedKey::seal(key.public_key(), &secret(&vec![7; length])).unwrap();
        assert_eq!(opened(&made, &key), Err(GuardError::Changed));
    }
}

#[test]
fn keys_that_are_weak_or_of_other_kinds_guard_nothing() {
    for (kind, expected) in [
        (KeyType::Ed25519, GuardError::Kind),
        (KeyType::X25519, GuardError::Kind),
        (KeyType::Rsa(1024), GuardError::Weak(Weakness::Size(1024))),
    ] {
        let Ok(key) = SoftKey::generate(kind) else {
            continue;
        };
        let made = GuardedKey::seal(key.public_key(), &secret(&[7; 32]));
        assert_eq!(made, Err(expected));
    }
}

#[test]
fn a_file_is_for_its_owner_alone_and_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let made = GuardedKey::seal(key.public_key(), &secret(&[7; 32])).unwrap();
    made.write_new(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(read_guarded_file(&path).unwrap(), made);
    let other = GuardedKey::seal(key.public_key(), &secret(&[8; 32])).unwrap();
    let error = other.write_new(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(read_guarded_file(&path).unwrap(), made);
    fs::write(&path, [7; 32]).unwrap();
    let error = read_guarded_file(&path).unwrap_err().to_string();
    assert!(error.contains("that a token guards"), "{error}");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let error = read_guarded_file(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn a_token_that_is_not_configured_opens_nothing_and_is_not_waited_for() {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let made = GuardedKey::seal(key.public_key(), &secret(&[7; 32])).unwrap();
    let at = Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse("pkcs11:id=%01").unwrap(),
    };
    let error = made.open(&Tokens::none(), &at).unwrap_err();
    assert_eq!(error, GuardError::Token(TokenError::Unknown("hsm".into())));
    assert!(!error.is_away());
    assert!(GuardedKey::make(&Tokens::none(), &at).is_err());
    let token = || "hsm".to_owned();
    let absent = TokenError::Absent {
        token: token(),
        what: String::new(),
    };
    for away in [
        absent,
        TokenError::Hangs(token()),
        TokenError::Busy(token()),
    ] {
        assert!(GuardError::from(away).is_away());
    }
    let pin = TokenError::Pin {
        token: token(),
        fault: crate::token::PinFault::Wrong,
    };
    assert!(!GuardError::from(pin).is_away());
}
