use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::facts::tests::{copy, moment};
use super::*;
use crate::clock::Trust;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn settings() -> config::Quarantine {
    config::Quarantine {
        key: config::KeyAt::File(PathBuf::from("unused")),
        previous: Vec::new(),
        keep: Duration::from_secs(DAY),
        size: 1 << 20,
        entries: 3,
        notify: config::Notify::Recipient,
        postmaster: "postmaster@gw.example".to_owned(),
    }
}

/// The one in this folder, as a start finds it.
fn opened(dir: &tempfile::TempDir, keys: &[u8], settings: config::Quarantine) -> Arc<Quarantine> {
    let folder = Folder::create(&dir.path().join("quarantine")).unwrap();
    folder.sweep().unwrap();
    let quarantine = Quarantine {
        folder,
        keys: Keys::of(keys),
        settings,
        index: Mutex::default(),
        news: Notify::new(),
    };
    quarantine.look_through().unwrap();
    Arc::new(quarantine)
}

fn quarantine(dir: &tempfile::TempDir) -> Arc<Quarantine> {
    opened(dir, &[1], settings())
}

/// A mail of a transaction of its own.
fn held(refusal: Option<&str>) -> Held {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut held = copy("Subject: canary\r\n\r\ncanary\r\n", refusal);
    Arc::get_mut(&mut held.envelope).unwrap().id = format!("01J{number:023}");
    held
}

fn now() -> Moment {
    moment(NOW, Trust::Yes)
}

fn ids(quarantine: &Quarantine) -> Vec<Id> {
    quarantine.folder.ids().unwrap()
}

#[tokio::test]
async fn what_is_held_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = quarantine(&dir);
    let one = held(Some("bad words"));
    let (envelope, content) = (Arc::clone(&one.envelope), one.content.clone());
    let id = first.put(one, now()).await.unwrap();
    assert_eq!(id.as_str(), envelope.id);
    drop(first);
    let again = quarantine(&dir);
    let (ok, line) = again.health();
    assert!(ok && line.starts_with("ok quarantine: 1 held, "), "{line}");
    let (facts, text) = again
        .folder
        .read(&id, &again.keys)
        .unwrap()
        .content()
        .unwrap();
    assert_eq!(facts.from, envelope.mail_from);
    let whole: Vec<u8> = content.pieces().flatten().copied().collect();
    assert_eq!(text.expose(), whole);
    let waiting = again.look_after(now()).unwrap();
    assert_eq!(waiting.len(), 1);
    for entry in fs::read_dir(dir.path().join("quarantine")).unwrap() {
        let octets = fs::read(entry.unwrap().path()).unwrap();
        assert!(!octets.windows(6).any(|own| own == b"canary"));
    }
}

#[tokio::test]
async fn copies_of_one_mail_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = quarantine(&dir);
    let one = held(None);
    let mut other = held(None);
    other.envelope = Arc::clone(&one.envelope);
    let transaction = one.envelope.id.clone();
    quarantine.put(one, now()).await.unwrap();
    let second = quarantine.put(other, now()).await.unwrap();
    assert_eq!(second.to_string(), format!("{transaction}-2"));
    assert_eq!(ids(&quarantine).len(), 2);
}

#[tokio::test]
async fn a_quarantine_without_room_takes_nothing_until_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = quarantine(&dir);
    for _ in 0..3 {
        quarantine.put(held(None), now()).await.unwrap();
    }
    let full = quarantine.put(held(None), now()).await.unwrap_err();
    assert!(matches!(full, QuarantineError::Full), "{full}");
    assert!(
        quarantine
            .health()
            .1
            .starts_with("degraded quarantine: full")
    );
    // A command takes one out.
    let first = ids(&quarantine).remove(0);
    let Claimed::Ours(claim) = quarantine.folder.claim(&first).unwrap() else {
        panic!("it is free")
    };
    claim.remove().unwrap();
    quarantine.look_after(now()).unwrap();
    quarantine.put(held(None), now()).await.unwrap();

    let small = config::Quarantine {
        size: 1000,
        entries: 100,
        ..settings()
    };
    let dir = tempfile::tempdir().unwrap();
    let quarantine = opened(&dir, &[1], small);
    let taken = quarantine.put(held(None), now()).await;
    let more = quarantine.put(held(None), now()).await;
    assert!(taken.is_ok() && more.is_err(), "{taken:?} {more:?}");
}

/// `/readyz` and the metric said that all is well while nothing could be held, and mail that names a key was put off.
#[tokio::test]
async fn a_quarantine_whose_folder_has_gone_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = quarantine(&dir);
    quarantine.put(held(None), now()).await.unwrap();
    let (place, away) = (dir.path().join("quarantine"), dir.path().join("away"));
    fs::rename(&place, &away).unwrap();
    let (ok, line) = quarantine.health();
    assert!(!ok && line.starts_with("failed quarantine: "), "{line}");
    let refused = quarantine.promise("a", 100).unwrap_err();
    assert!(matches!(refused, QuarantineError::Storage(_)), "{refused}");
    // A volume that was not mounted, say.
    fs::rename(&away, &place).unwrap();
    let (ok, line) = quarantine.health();
    assert!(ok && line.starts_with("ok quarantine: 1 held, "), "{line}");
    quarantine.promise("a", 100).unwrap();
}

/// Whoever fills the quarantine meanwhile does not learn from the last answer what was inside.
#[tokio::test]
async fn what_was_promised_room_is_held_though_others_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = quarantine(&dir);
    let (one, two) = (held(Some("no")), held(Some("no")));
    let (first, second) = (one.envelope.id.clone(), two.envelope.id.clone());
    for _ in 0..2 {
        quarantine.promise(&first, 100).unwrap();
    }
    for _ in 0..2 {
        quarantine.put(held(None), now()).await.unwrap();
    }
    let full = quarantine.put(held(None), now()).await.unwrap_err();
    assert!(matches!(full, QuarantineError::Full), "{full}");
    let full = quarantine.promise(&second, 100).unwrap_err();
    assert!(matches!(full, QuarantineError::Full), "{full}");
    quarantine.put(one, now()).await.unwrap();
    assert_eq!(ids(&quarantine).len(), 3);

    let dir = tempfile::tempdir().unwrap();
    let quarantine = opened(&dir, &[1], settings());
    let large = quarantine.promise(&first, 1 << 20).unwrap_err();
    assert!(matches!(large, QuarantineError::Full), "{large}");
    for transaction in ["a", "b", "c"] {
        quarantine.promise(transaction, 100).unwrap();
    }
    assert!(quarantine.promise(&first, 100).is_err());
    // That one was not held.
    quarantine.forget("b");
    quarantine.promise(&first, 100).unwrap();
}

#[tokio::test]
async fn a_mail_ends_when_its_time_has_come_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = quarantine(&dir);
    let id = quarantine.put(held(Some("no")), now()).await.unwrap();
    let lasting = moment(NOW, Trust::Jumped);
    let kept = quarantine.put(held(None), lasting).await.unwrap();
    quarantine
        .look_after(moment(NOW + DAY - 1, Trust::Yes))
        .unwrap();
    assert_eq!(ids(&quarantine).len(), 2);
    // By a clock that may be ahead nothing is thrown away.
    quarantine
        .look_after(moment(NOW + 9 * DAY, Trust::Jumped))
        .unwrap();
    assert_eq!(ids(&quarantine).len(), 2);
    let Claimed::Ours(claim) = quarantine.folder.claim(&id).unwrap() else {
        panic!("it is free")
    };
    let due = moment(NOW + DAY, Trust::Yes);
    // Somebody is sending it on.
    quarantine.look_after(due).unwrap();
    assert_eq!(ids(&quarantine).len(), 2);
    drop(claim);
    quarantine.look_after(due).unwrap();
    assert_eq!(ids(&quarantine), [kept]);
    assert!(quarantine.folder.listing().unwrap().notices.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let first = quarantine(&dir);
    let id = first.put(held(None), now()).await.unwrap();
    let other = opened(&dir, &[2], settings());
    let (ok, line) = other.health();
    assert!(
        ok && line.starts_with("degraded quarantine: 1 of 1 cannot be read"),
        "{line}"
    );
    other
        .look_after(moment(NOW + 99 * DAY, Trust::Yes))
        .unwrap();
    assert_eq!(ids(&other), [id]);
    let both = opened(&dir, &[2, 1], settings());
    assert!(both.health().1.starts_with("ok quarantine: 1 held"));
}

/// Whoever's mailbox was full kept everybody else from being told.
#[tokio::test]
async fn a_notice_that_was_put_off_comes_after_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let first = quarantine(&dir);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(first.put(held(Some("no")), now()).await.unwrap());
    }
    ids.sort();
    let waiting = || -> Vec<Id> {
        let waiting = first.look_after(now()).unwrap();
        waiting.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(waiting(), ids);
    // In turn: whoever was tried last comes last.
    for _ in 0..3 {
        let next = waiting().remove(0);
        let mut index = first.index();
        let round = index.round;
        index.put_off.insert(next, round);
    }
    assert_eq!(waiting(), ids);
    first.index().put_off.remove(&ids[2]);
    let [one, two, three] = &ids[..] else {
        panic!("three")
    };
    assert_eq!(waiting(), [three.clone(), one.clone(), two.clone()]);
}

/// What mail.toml has held is looked at by whoever wrote it; of what the next hop refused, somebody has to be told.
#[tokio::test]
async fn a_notice_waits_for_what_the_next_hop_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = quarantine(&dir);
    first.put(held(None), now()).await.unwrap();
    let refused = first.put(held(Some("no")), now()).await.unwrap();
    let waiting = first.look_after(now()).unwrap();
    let waiting: Vec<Id> = waiting.into_iter().map(|(id, _)| id).collect();
    assert_eq!(waiting, std::slice::from_ref(&refused));
    first.folder.told(&refused).unwrap();
    assert!(first.look_after(now()).unwrap().is_empty());
    let silent = config::Quarantine {
        notify: config::Notify::Nobody,
        ..settings()
    };
    let dir = tempfile::tempdir().unwrap();
    let silent = opened(&dir, &[1], silent);
    silent.put(held(Some("no")), now()).await.unwrap();
    assert!(silent.look_after(now()).unwrap().is_empty());
}
