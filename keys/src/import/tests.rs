use kenin_pki::crypto::{KeyType, MlDsa};
use kenin_pki::der::write;

use super::*;
use crate::kek::{Kek, Unlock, Unlocker};
use crate::sealed::SealedKey;
use crate::testing::facts;

const ALICE_KEY: &[u8] = include_bytes!("fixtures/alice-key.pem");
const ALICE: &[u8] = include_bytes!("fixtures/alice.pem");
const MODERN: &[u8] = include_bytes!("fixtures/modern.p12");
const NO_MAC: &[u8] = include_bytes!("fixtures/no-mac.p12");
const LEGACY: &[u8] = include_bytes!("fixtures/legacy.p12");
const PBES2: &[u8] = include_bytes!("fixtures/pbes2.pem");

fn with(file: &[u8], password: &str) -> Result<Vec<Imported>, ImportError> {
    import(file, Some(&Secret::new(password.as_bytes().to_vec())))
}

fn error(file: &[u8], password: &str) -> ImportError {
    with(file, password).map(drop).unwrap_err()
}

/// The one key that all fixtures hold.
fn alice() -> PublicKey {
    let key = SoftKey::from_pem_or_der(ALICE_KEY).unwrap();
    key.public_key().clone()
}

/// Whatever openssl writes, and what was added to it by hand and opened by openssl 4 (PBMAC1).
#[test]
fn every_form_of_pkcs12_is_read() {
    for (name, file, password) in [
        ("modern", MODERN, "sesame"),
        ("legacy", LEGACY, "sesame"),
        (
            "triple-des",
            include_bytes!("fixtures/triple-des.p12"),
            "sesame",
        ),
        ("empty", include_bytes!("fixtures/empty-password.p12"), ""),
        ("no-mac", NO_MAC, "sesame"),
        (
            "japanese",
            include_bytes!("fixtures/japanese-password.p12"),
            "パスワード",
        ),
        ("pbmac1", include_bytes!("fixtures/pbmac1.p12"), "sesame"),
    ] {
        let keys = with(file, password).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(keys.len(), 1, "{name}");
        assert_eq!(keys[0].public, alice(), "{name}");
        assert_eq!(keys[0].weakness, None, "{name}");
        let key = SoftKey::from_pkcs8(keys[0].pkcs8.expose()).unwrap();
        assert_eq!(*key.public_key(), alice(), "{name}");
        let certificates = &keys[0].certificates;
        assert_eq!(certificates.len(), 2, "{name}");
        assert_eq!(certificates[0].public_key(), &alice(), "{name}");
        assert_eq!(
            certificates[0].issuer(),
            certificates[1].subject(),
            "{name}"
        );
        assert_eq!(error(file, "sesam"), ImportError::WrongPassword, "{name}");
        let needed = import(file, None).map(drop);
        assert_eq!(needed, Err(ImportError::PasswordNeeded), "{name}");
    }
}

#[test]
fn every_form_of_a_single_key_is_read() {
    let block = pem::decode(ALICE_KEY).unwrap().remove(0);
    let both = [ALICE, ALICE_KEY].concat();
    for (name, file) in [
        ("PKCS#8", ALICE_KEY),
        ("PKCS#8 in DER", &block.bytes),
        ("SEC 1", include_bytes!("fixtures/alice-ec.pem")),
        ("PBES2", PBES2),
        ("3DES in DER", include_bytes!("fixtures/triple-des.p8")),
        ("with its certificate", &both),
    ] {
        let keys = with(file, "sesame").unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(keys[0].public, alice(), "{name}");
        let certificates = usize::from(name == "with its certificate");
        assert_eq!(keys[0].certificates.len(), certificates, "{name}");
    }
    assert_eq!(error(PBES2, "sesam"), ImportError::WrongPassword);
    let needed = import(PBES2, None).map(drop);
    assert_eq!(needed, Err(ImportError::PasswordNeeded));
}

/// As `openssl pkey -outform DER` writes them: without PKCS#8 around.
#[test]
fn a_key_in_der_of_its_own_form_is_read() {
    let key = SoftKey::generate(KeyType::Rsa(1024)).unwrap();
    let pkcs8 = key.to_pkcs8().unwrap();
    let tape = Tape::parse(&pkcs8, &LIMITS).unwrap();
    let inner = tape.root().children().nth(2).unwrap();
    let inner = inner.octet_string().unwrap().contiguous();
    assert_eq!(import(&inner, None).unwrap()[0].public, *key.public_key());
    let blocks = pem::decode(include_bytes!("fixtures/alice-ec.pem")).unwrap();
    let mut blocks = blocks.into_iter();
    let block = blocks.find(|block| block.label == "EC PRIVATE KEY");
    let found = import(&block.unwrap().bytes, None).unwrap();
    assert_eq!(found[0].public, alice());
    assert!(found[0].in_clear);
}

/// A password for the file need not be one for the key, and some files have none at all.
#[test]
fn a_key_that_no_password_keeps_is_told_from_others() {
    let clear = include_bytes!("fixtures/clear.p12");
    assert!(with(clear, "sesame").unwrap()[0].in_clear);
    assert_eq!(error(clear, "sesam"), ImportError::WrongPassword);
    let alone = include_bytes!("fixtures/clear-no-mac.p12");
    let found = import(alone, None).unwrap();
    assert_eq!(found[0].public, alice());
    assert!(found[0].in_clear);
    assert!(import(ALICE_KEY, None).unwrap()[0].in_clear);
    for file in [MODERN, NO_MAC, LEGACY, PBES2] {
        assert!(!with(file, "sesame").unwrap()[0].in_clear);
    }
    let empty = include_bytes!("fixtures/empty-password.p12");
    assert!(with(empty, "").unwrap()[0].in_clear);
    let twice = [PBES2, ALICE_KEY].concat();
    assert!(with(&twice, "sesame").unwrap()[0].in_clear);
}

/// secp256k1. The password was right, and to be told otherwise sends people looking for another.
#[test]
fn a_key_of_a_kind_that_is_not_known_is_not_called_a_wrong_password() {
    let file = include_bytes!("fixtures/unknown-kind.pem");
    assert_eq!(error(file, "sesame"), NO_KEY);
    assert_eq!(error(file, "sesam"), ImportError::WrongPassword);
}

#[test]
fn a_weak_key_is_read_and_called_weak() {
    let key = SoftKey::generate(KeyType::Rsa(1024)).unwrap();
    let keys = import(&key.to_pkcs8().unwrap(), None).unwrap();
    assert_eq!(keys[0].weakness, Some(Weakness::Size(1024)));
}

#[test]
fn what_holds_no_key_or_is_not_read_is_named() {
    assert_eq!(error(ALICE, ""), ImportError::NoKey);
    let sealed = error(include_bytes!("fixtures/rfc1421.pem"), "sesame");
    assert!(
        sealed.to_string().contains("openssl pkcs8 -topk8"),
        "{sealed}"
    );
    assert_eq!(error(&vec![0; (1 << 20) + 1], ""), ImportError::TooLarge);
    for nothing in [&b""[..], b"hello", b"\x30\x00", b"\x30\x03\x02\x01\x00"] {
        assert!(matches!(error(nothing, ""), ImportError::Malformed(_)));
    }
}

/// What MAC or padding are there for: no changed bit gives another key.
#[test]
fn a_changed_file_gives_the_same_key_or_none() {
    for file in [MODERN, LEGACY] {
        for at in 0..file.len() {
            let mut changed = file.to_vec();
            changed[at] ^= 1 << (at % 8);
            if let Ok(keys) = with(&changed, "sesame") {
                assert_eq!(keys[0].public, alice(), "{at}");
                assert_eq!(keys[0].certificates.len(), 2, "{at}");
            }
        }
    }
}

#[test]
fn a_cut_file_does_not_read() {
    for file in [MODERN, NO_MAC, LEGACY] {
        for cut in 0..file.len() {
            assert!(with(&file[..cut], "sesame").is_err(), "{cut}");
        }
    }
}

/// As some programs write it: lengths that are not named, and strings in pieces.
#[test]
fn pkcs12_in_ber_is_read() {
    let tape = Tape::parse(MODERN, &LIMITS).unwrap();
    let children: Vec<_> = tape.root().children().collect();
    let content = children[1].children().nth(1).unwrap().only_child().unwrap();
    let content = content.octet_string().unwrap().contiguous().into_owned();
    let (first, second) = content.split_at(content.len() / 2);
    let pieces = [write::octet_string(first), write::octet_string(second)].concat();
    let open = |tag: u8, content: &[u8]| [&[tag, 0x80], content, &[0, 0]].concat();
    let string = open(0x24, &pieces);
    let data = [write::oid(kenin_pki::oid::CMS_DATA), open(0xa0, &string)].concat();
    let info = open(0x30, &data);
    let file = open(
        0x30,
        &[children[0].raw(), &info, children[2].raw()].concat(),
    );
    assert_eq!(with(&file, "sesame").unwrap()[0].public, alice());
}

/// A number in the file must not decide how long we work.
#[test]
fn iterations_are_bounded_before_they_are_done() {
    let block = pem::decode(PBES2).unwrap().remove(0).bytes;
    let tape = Tape::parse(&block, &LIMITS).unwrap();
    let encrypted = tape.root().children().nth(1).unwrap().raw();
    let prf = write::seq(&[write::oid("1.2.840.113549.2.9"), write::null()]);
    let hostile = |count: i64| {
        let salt = write::octet_string(&[1; 8]);
        let kdf = write::seq(&[
            write::oid("1.2.840.113549.1.5.12"),
            write::seq(&[salt, write::integer(count), prf.clone()]),
        ]);
        let cipher = write::seq(&[
            write::oid("2.16.840.1.101.3.4.1.42"),
            write::octet_string(&[2; 16]),
        ]);
        let scheme = write::seq(&[
            write::oid("1.2.840.113549.1.5.13"),
            write::seq(&[kdf, cipher]),
        ]);
        error(&write::seq(&[&scheme[..], encrypted]), "sesame")
    };
    assert_eq!(hostile(10_000_001), ImportError::TooMuchWork);
    assert_eq!(hostile(0x7fff_ffff), ImportError::TooMuchWork);
    assert!(matches!(hostile(0xffff_ffff), ImportError::Malformed(_)));
    assert!(matches!(hostile(-1), ImportError::Malformed(_)));
    assert!(matches!(hostile(0), ImportError::Malformed(_)));
    assert_eq!(hostile(2), ImportError::WrongPassword);
}

/// RFC 9881 §6: as its seed, in DER and in PEM.
#[test]
fn keys_of_ml_dsa_are_read_and_sealed() {
    for set in [MlDsa::Dsa44, MlDsa::Dsa65, MlDsa::Dsa87] {
        let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let text = pem::encode("PRIVATE KEY", &pkcs8).into_bytes();
        for file in [pkcs8, text] {
            let found = import(&file, None).unwrap();
            assert_eq!(found.len(), 1, "{set:?}");
            assert_eq!(found[0].public, *key.public_key(), "{set:?}");
            assert_eq!(found[0].weakness, None, "{set:?}");
            let secret = Secret::new(vec![1; 32]);
            let kek = Kek::from_key(&secret).unwrap();
            let mut unlocker = Unlocker::new(vec![Unlock::Key(secret)]).unwrap();
            let sealed = SealedKey::seal(facts(&key), &found[0].pkcs8, &kek).unwrap();
            let opened = sealed.open(&mut unlocker).unwrap();
            assert_eq!(opened.public_key(), key.public_key(), "{set:?}");
        }
    }
}
