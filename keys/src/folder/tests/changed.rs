//! KEY-01: octets of sealed files are changed on the disk, and the folder is read as the key process reads it at its start.

use std::os::unix::fs::FileExt;
use std::thread;

use kenin_pki::crypto::{KeyType, RejectionSecret, Secret};
use kenin_pki::issue::{CertificateBuilder, common_name};

use super::*;
use crate::testing::Dice;
use crate::token::{Reference, TokenUri};

/// A folder with one file, and what opens it.
struct Store {
    folder: KeyFolder,
    id: KeyId,
    unlocker: Unlocker,
    _path: TempDir,
}

impl Store {
    fn new(sealed: &SealedKey, secret: Unlock) -> Self {
        let path = tempfile::tempdir().unwrap();
        let folder = KeyFolder::create(&path.path().join("keys")).unwrap();
        folder.change().unwrap().add(sealed).unwrap();
        Self {
            folder,
            id: sealed.facts().id,
            unlocker: Unlocker::new(vec![secret]).unwrap(),
            _path: path,
        }
    }

    /// Why the key is not held; nothing where it is.
    fn trouble(&mut self) -> Option<FolderCause> {
        let held = self.folder.held(&mut self.unlocker, &Tokens::none());
        let mut held = held.unwrap();
        assert_eq!(held.len(), 1);
        held.remove(0).err().map(|error| error.cause)
    }

    /// Changes one octet, so many times, each of them at least once; each time only that one is another than it was.
    fn change(&mut self, times: usize, mut dice: Dice) {
        let path = self.folder.file(self.id);
        let good = fs::read(&path).unwrap();
        assert!(good.len() < times / 2, "{} octets", good.len());
        let file = File::options().write(true).open(&path).unwrap();
        for number in 0..times {
            let at = match number < good.len() {
                true => number,
                false => dice.roll(good.len()),
            };
            let bits = u8::try_from(1 + dice.roll(255)).unwrap();
            let write = |octet| {
                let place = u64::try_from(at).unwrap();
                file.write_all_at(&[octet], place).unwrap();
            };
            write(good[at] ^ bits);
            let trouble = self.trouble();
            let seen = matches!(trouble, Some(FolderCause::Seal(_) | FolderCause::Name));
            assert!(seen, "octet {at} by {bits:#04x}: {trouble:?}");
            write(good[at]);
        }
        assert_eq!(fs::read(&path).unwrap(), good);
    }
}

/// KEY-01: whichever octet of a file becomes whatever other, its key is not held, and nothing panics.
#[test]
fn a_hundred_thousand_changed_octets_are_seen() {
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let pkcs8 = Secret::new(key.to_pkcs8().unwrap());
    let builder = |name: &str, key: &SoftKey| {
        CertificateBuilder::new(common_name(name).unwrap(), key.public_key())
    };
    let (authority, _) = generated();
    let above = builder("authority", &authority).authority(None);
    let above = above.self_signed(&authority).unwrap();
    let own = builder("Alice", &key).mail_signer(&["alice@example.com"]);
    let own = own.issued_by(&above, &authority).unwrap();
    let with_certificates = || KeyFacts {
        certificates: vec![own.clone(), above.clone()],
        ..facts(&key)
    };

    let of_key = Kek::from_key(&secret(&[1; 32])).unwrap();
    let sealed = SealedKey::seal(with_certificates(), &pkcs8, &of_key).unwrap();
    let mut under_key = Store::new(&sealed, Unlock::Key(secret(&[1; 32])));
    assert!(under_key.trouble().is_none());

    let reference = Reference {
        token: "hsm".to_owned(),
        object: TokenUri::parse("pkcs11:id=%01;object=alice").unwrap(),
    };
    let rejection = RejectionSecret::random().unwrap();
    let sealed = SealedKey::seal_reference(with_certificates(), &reference, &rejection, &of_key);
    let mut in_token = Store::new(&sealed.unwrap(), Unlock::Key(secret(&[1; 32])));
    // There is no such token here; where the file is another than it was, nobody gets as far as asking for it.
    assert!(matches!(in_token.trouble(), Some(FolderCause::Token(_))));

    let of_word = Kek::from_passphrase(&secret(b"word"), CHEAP).unwrap();
    let sealed = SealedKey::seal(with_certificates(), &pkcs8, &of_word).unwrap();
    let mut under_word = Store::new(&sealed, Unlock::Passphrase(secret(b"word")));
    assert!(under_word.trouble().is_none());
    // A file that says that its key is made at another cost must not cost that here. What may be spent on other salts is
    // spent on these, and the right key is at hand.
    for _ in 1..MAX_DERIVATIONS {
        let other = Kek::from_passphrase(&secret(b"other"), CHEAP).unwrap();
        let sealed = SealedKey::seal(facts(&key), &pkcs8, &other).unwrap();
        assert!(sealed.check(&mut under_word.unlocker).is_err());
    }
    assert!(under_word.trouble().is_none());

    thread::scope(|scope| {
        scope.spawn(|| under_key.change(40_000, Dice(1)));
        scope.spawn(|| under_word.change(40_000, Dice(2)));
        scope.spawn(|| in_token.change(20_000, Dice(3)));
    });
    assert!(under_key.trouble().is_none());
    assert!(under_word.trouble().is_none());
}
