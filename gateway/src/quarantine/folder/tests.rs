use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn id(copy: usize) -> Id {
    Id::of("01J0000000000000000000000A", copy).unwrap()
}

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(&dir.path().join("quarantine")).unwrap();
    (dir, folder)
}

fn put(folder: &Folder, id: &Id, notice: bool) -> Result<(), PutError> {
    folder.put(id, notice, |file| Ok(file.write_all(b"content")?))
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn what_was_put_in_is_there_for_its_owner_alone() {
    let (_dir, folder) = folder();
    put(&folder, &id(1), false).unwrap();
    put(&folder, &id(2), true).unwrap();
    let named = |copy| id(copy).to_string();
    let one = format!("{}.mail", named(1));
    let (two, notice) = (format!("{}.mail", named(2)), format!("{}.notice", named(2)));
    assert_eq!(names(&folder), [two, notice, one]);
    let listing = folder.listing().unwrap();
    assert_eq!(listing.mails, BTreeSet::from([id(1), id(2)]));
    assert_eq!(listing.notices, BTreeSet::from([id(2)]));
    for name in names(&folder) {
        let mode = fs::metadata(folder.path.join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&folder.path).unwrap().mode() & 0o777, 0o700);
    assert_eq!(folder.length(&id(1)).unwrap(), 7);
    // No mail takes another's place.
    assert!(put(&folder, &id(1), false).is_err());
    assert_eq!(names(&folder).len(), 3);
    folder.told(&id(2)).unwrap();
    folder.told(&id(2)).unwrap();
    assert!(folder.listing().unwrap().notices.is_empty());
}

#[test]
fn a_folder_that_others_may_look_into_is_refused() {
    let (dir, folder) = folder();
    let path = folder.path.clone();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
    let kind = Folder::open(&path).err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::PermissionDenied));
    assert!(Folder::create(&path).is_err());
    assert!(Folder::open(&dir.path().join("absent")).is_err());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Folder::create(&file).is_err());
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let (_dir, folder) = folder();
    let full = folder.put(&id(1), true, |file| {
        file.write_all(b"half")?;
        Err(io::Error::from(ErrorKind::StorageFull).into())
    });
    assert!(full.unwrap_err().is_full());
    assert!(names(&folder).is_empty());
    // Room may come back.
    assert!(folder.broken().is_none());
    put(&folder, &id(1), false).unwrap();
}

/// A disk that has failed once is not asked again.
#[test]
fn a_disk_that_fails_makes_the_folder_read_only() {
    let (_dir, folder) = folder();
    put(&folder, &id(1), false).unwrap();
    let failed = folder.put(&id(2), true, |_| {
        Err(io::Error::from_raw_os_error(EIO).into())
    });
    assert!(matches!(failed, Err(PutError::Unsure(_))), "{failed:?}");
    assert!(folder.broken().is_some());
    for _ in 0..2 {
        let refused = put(&folder, &id(3), false);
        assert!(matches!(refused, Err(PutError::ReadOnly)), "{refused:?}");
    }
    assert_eq!(names(&folder), [format!("{}.mail", id(1))]);
    // What is there can still be read.
    assert!(matches!(folder.claim(&id(1)).unwrap(), Claimed::Ours(_)));
}

#[test]
fn leftovers_of_a_crash_are_swept_and_nothing_else() {
    let (_dir, folder) = folder();
    put(&folder, &id(1), true).unwrap();
    let at = |name: &str| folder.path.join(name);
    fs::write(at(&format!(".{}.new", id(2))), "half").unwrap();
    fs::write(at(&format!("{}.notice", id(3))), "").unwrap();
    fs::write(at("README"), "mine").unwrap();
    fs::write(at(".x.new"), "mine").unwrap();
    // Somebody is writing it.
    let busy = at(&format!(".{}.new", id(4)));
    let file = File::create(&busy).unwrap();
    file.try_lock().unwrap();
    assert_eq!(folder.sweep().unwrap(), 2);
    assert!(busy.exists());
    drop(file);
    assert_eq!(folder.sweep().unwrap(), 1);
    assert_eq!(folder.sweep().unwrap(), 0);
    let mail = format!("{}.mail", id(1));
    let notice = format!("{}.notice", id(1));
    assert_eq!(
        names(&folder),
        [".x.new".to_owned(), mail, notice, "README".to_owned()]
    );
}

#[test]
fn one_at_a_time_has_a_mail() {
    let (_dir, folder) = folder();
    put(&folder, &id(1), true).unwrap();
    let Claimed::Ours(claim) = folder.claim(&id(1)).unwrap() else {
        panic!("it is free");
    };
    // Another process has a handle of its own.
    let other = Folder::open(&folder.path).unwrap();
    assert!(matches!(other.claim(&id(1)).unwrap(), Claimed::Busy));
    drop(claim);
    let Claimed::Ours(claim) = other.claim(&id(1)).unwrap() else {
        panic!("it is free again");
    };
    claim.remove().unwrap();
    assert!(matches!(folder.claim(&id(1)).unwrap(), Claimed::Absent));
    assert!(names(&folder).is_empty());
}
