use std::os::unix::fs::{PermissionsExt, symlink};

use kenin_pki::crypto::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::key::State;
use crate::testing::{CHEAP, address, facts, generated, secret};

mod changed;

struct Keys {
    folder: KeyFolder,
    kek: Kek,
    path: TempDir,
}

/// An empty folder, and a key to seal under.
fn keys() -> Keys {
    let path = tempfile::tempdir().unwrap();
    Keys {
        folder: KeyFolder::create(&path.path().join("keys")).unwrap(),
        kek: Kek::from_key(&secret(&[1; 32])).unwrap(),
        path,
    }
}

impl Keys {
    fn add(&self) -> KeyFacts {
        let (key, pkcs8) = generated();
        let facts = facts(&key);
        let sealed = SealedKey::seal(facts.clone(), &pkcs8, &self.kek).unwrap();
        self.folder.change().unwrap().add(&sealed).unwrap();
        facts
    }

    /// The names of all that lies in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder.path).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    fn cause(&self, id: KeyId) -> FolderCause {
        let error = self.folder.read(id).unwrap_err();
        assert_eq!(error.path, self.folder.file(id));
        error.cause
    }
}

fn unlocker(octets: &[u8]) -> Unlocker {
    let keys = octets
        .iter()
        .map(|octet| Unlock::Key(secret(&[*octet; 32])));
    Unlocker::new(keys.collect()).unwrap()
}

#[test]
fn keys_lie_in_private_files_and_open() {
    let keys = keys();
    let all = [keys.add(), keys.add()];
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&keys.folder.path), 0o700);
    assert_eq!(mode(&keys.folder.file(all[0].id)), 0o600);
    assert_eq!(keys.names().len(), 2);
    let opened = keys.folder.open_all(&mut unlocker(&[1])).unwrap();
    for opened in opened {
        let (facts, key) = opened.unwrap();
        assert!(all.contains(&facts));
        assert_eq!(*key.public_key(), facts.public);
    }
}

#[test]
fn a_key_that_was_removed_is_gone_and_the_others_stay() {
    let keys = keys();
    let (gone, stays) = (keys.add().id, keys.add().id);
    let changes = keys.folder.change().unwrap();
    changes.remove(gone).unwrap();
    let again = changes.remove(gone).unwrap_err();
    assert_eq!(again.path, keys.folder.file(gone));
    drop(changes);
    assert_eq!(keys.folder.ids().unwrap(), [stays]);
    assert!(keys.folder.read(stays).is_ok());
}

#[test]
fn what_others_may_read_is_refused() {
    let keys = keys();
    let id = keys.add().id;
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o604, 0o640, 0o620, 0o601] {
        chmod(&keys.folder.file(id), mode);
        assert!(matches!(
            keys.cause(id),
            FolderCause::Open { folder: false }
        ));
    }
    chmod(&keys.folder.path, 0o750);
    let error = KeyFolder::open(&keys.folder.path).unwrap_err();
    assert!(error.to_string().ends_with("chmod 700"), "{error}");
}

/// A name is no way to give a key the facts of another one.
#[test]
fn a_file_under_the_name_of_another_is_refused() {
    let keys = keys();
    let (first, second) = (keys.add().id, keys.add().id);
    fs::copy(keys.folder.file(first), keys.folder.file(second)).unwrap();
    assert!(matches!(keys.cause(second), FolderCause::Name));
    fs::remove_file(keys.folder.file(second)).unwrap();
    symlink(keys.folder.file(first), keys.folder.file(second)).unwrap();
    assert!(matches!(keys.cause(second), FolderCause::Io(_)));
    fs::remove_file(keys.folder.file(second)).unwrap();
    fs::create_dir(keys.folder.file(second)).unwrap();
    assert!(matches!(keys.cause(second), FolderCause::NoKey));
    let stranger = keys.folder.path.join("alice.key");
    fs::write(&stranger, b"x").unwrap();
    assert_eq!(keys.folder.ids().unwrap_err().path, stranger);
}

#[test]
fn a_changed_file_is_named_with_what_to_do() {
    let keys = keys();
    let (good, bad) = (keys.add().id, keys.add().id);
    let path = keys.folder.file(bad);
    let mut octets = fs::read(&path).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&path, octets).unwrap();
    let opened = keys.folder.open_all(&mut unlocker(&[1])).unwrap();
    let errors: Vec<_> = opened.iter().filter_map(|o| o.as_ref().err()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, path);
    let text = errors[0].to_string();
    assert!(text.ends_with("restore the file from a backup"), "{text}");
    assert!(opened.iter().flatten().any(|(facts, _)| facts.id == good));
}

#[test]
fn keys_are_sealed_under_a_new_one_and_old_mail_still_opens() {
    let keys = keys();
    let all = [keys.add(), keys.add(), keys.add()];
    let passphrase = Kek::from_passphrase(&secret(b"new"), CHEAP).unwrap();
    let both = || {
        let secrets = vec![
            Unlock::Key(secret(&[1; 32])),
            Unlock::Passphrase(secret(b"new")),
        ];
        Unlocker::new(secrets).unwrap()
    };
    let changes = keys.folder.change().unwrap();
    // One of them was done when it was interrupted.
    changes
        .rewrite(all[1].id, (&mut both(), &passphrase), |_| {})
        .unwrap();
    assert!(
        keys.folder
            .open_all(&mut both())
            .unwrap()
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(changes.reseal(&mut both(), &passphrase).unwrap(), 2);
    assert_eq!(changes.reseal(&mut both(), &passphrase).unwrap(), 0);
    let mut new = Unlocker::new(vec![Unlock::Passphrase(secret(b"new"))]).unwrap();
    for opened in keys.folder.open_all(&mut new).unwrap() {
        let (facts, key) = opened.unwrap();
        let before = all.iter().find(|one| one.id == facts.id).unwrap();
        assert_eq!(*key.public_key(), before.public);
        assert_eq!(facts.version, 2);
    }
    let old = keys.folder.open_all(&mut unlocker(&[1])).unwrap();
    assert!(old.iter().all(Result::is_err));
}

/// One import after the other, each by a command of its own, must not make the start dearer each time.
#[test]
fn a_hundred_keys_under_one_passphrase_open_with_one_derivation() {
    let keys = keys();
    let passphrase = |word: &[u8]| Unlock::Passphrase(secret(word));
    let first = keys.folder.kek(&passphrase(b"word"), CHEAP).unwrap();
    for number in 0..100 {
        let kek = keys.folder.kek(&passphrase(b"word"), CHEAP).unwrap();
        assert_ne!(kek.id(), first.id(), "nothing is sealed under the first");
        let (key, pkcs8) = generated();
        let sealed = SealedKey::seal(facts(&key), &pkcs8, &kek).unwrap();
        keys.folder.change().unwrap().add(&sealed).unwrap();
        let of = keys.folder.kek(&passphrase(b"word"), CHEAP).unwrap();
        assert_eq!(of.id(), kek.id(), "{number}");
    }
    let mut unlocker = Unlocker::new(vec![passphrase(b"word")]).unwrap();
    let opened = keys.folder.open_all(&mut unlocker).unwrap();
    assert_eq!(opened.iter().flatten().count(), 100);
    // Another passphrase, and a key, make new ones.
    let other = keys.folder.kek(&passphrase(b"other"), CHEAP).unwrap();
    let key = Unlock::Key(secret(&[1; 32]));
    let of_key = keys.folder.kek(&key, CHEAP).unwrap();
    assert_eq!(of_key.id(), keys.kek.id());
    assert_ne!(other.id(), first.id());
    let error = keys.folder.kek(&passphrase(b""), CHEAP).unwrap_err();
    assert!(
        error.to_string().contains("the passphrase is empty"),
        "{error}"
    );
}

#[test]
fn facts_change_and_the_key_stays() {
    let keys = keys();
    let before = keys.add();
    let changes = keys.folder.change().unwrap();
    let mut ours = unlocker(&[1]);
    changes
        .rewrite(before.id, (&mut ours, &keys.kek), |facts| {
            facts.state = State::Retired;
            facts.addresses.push(address("office@example.com"));
            facts.tenant = "another".to_owned();
            facts.version = 7;
        })
        .unwrap();
    let after = keys.folder.read(before.id).unwrap().facts().clone();
    assert_eq!(after.state, State::Retired);
    assert_eq!(after.addresses.len(), 2);
    assert_eq!((&after.tenant, after.version), (&before.tenant, 2));
    let second = SealedKey::seal(before, &generated().1, &keys.kek);
    assert_eq!(second.unwrap_err(), SealError::NotItsKey);
}

#[test]
fn one_at_a_time_changes_and_leftovers_go() {
    let keys = keys();
    let facts = keys.add();
    let leftover = keys.folder.path.join(format!(".{}{TEMPORARY}", facts.id));
    fs::write(&leftover, b"half").unwrap();
    assert_eq!(keys.folder.ids().unwrap(), [facts.id]);
    let changes = keys.folder.change().unwrap();
    assert!(!leftover.exists());
    let error = keys.folder.change().unwrap_err();
    assert!(matches!(error.cause, FolderCause::Busy));
    let sealed = keys.folder.read(facts.id).unwrap();
    assert!(changes.add(&sealed).is_err(), "an id is given once");
    drop(changes);
    assert!(keys.folder.change().is_ok());
    assert!(keys.path.path().exists());
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let keys = keys();
    let facts = keys.add();
    let before = fs::read(keys.folder.file(facts.id)).unwrap();
    let changes = keys.folder.change().unwrap();
    // In the place of the temporary file lies what cannot be replaced.
    let blocked = keys.folder.path.join(format!(".{}{TEMPORARY}", facts.id));
    fs::create_dir(&blocked).unwrap();
    let mut ours = unlocker(&[1]);
    let rewritten = changes.rewrite(facts.id, (&mut ours, &keys.kek), |_| {});
    assert!(matches!(rewritten.unwrap_err().cause, FolderCause::Io(_)));
    assert_eq!(fs::read(keys.folder.file(facts.id)).unwrap(), before);
}
