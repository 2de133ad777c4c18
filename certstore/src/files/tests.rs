use std::fs;

use super::*;
use crate::testpki::{ca, pem, pem_crl};

#[test]
fn reads_files_and_folders_in_either_form() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (ca("one"), ca("two"));
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.der"), one.certificate.der()).unwrap();
    let mixed = pem(&two.certificate) + &pem_crl(&two.crl(Some(1), 1000));
    fs::write(folder.join("b.pem"), &mixed).unwrap();
    fs::write(folder.join("c.crl"), one.crl(Some(1), 1000).der()).unwrap();
    fs::write(folder.join(".hidden.pem"), "junk").unwrap();
    fs::write(folder.join("README"), "junk").unwrap();
    fs::write(folder.join("a.pem~"), "junk").unwrap();

    let found = read_certificates(&folder).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].der(), one.certificate.der());
    assert_eq!(
        read_crls(&folder, &RevocationIndex::passing())
            .unwrap()
            .len(),
        2
    );
    assert_eq!(read_certificates(&folder.join("b.pem")).unwrap().len(), 1);

    let set = FileSet::new(vec![folder.clone()], vec![folder]);
    let loaded = set.load(&RevocationIndex::passing()).unwrap();
    assert_eq!((loaded.certificates.len(), loaded.crls.len()), (2, 2));
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let whole = pem(&ca("one").certificate);
    for (name, content, says) in [
        (
            "junk.pem",
            "hello\n".to_owned(),
            "neither PEM nor a certificate",
        ),
        (
            "cut.pem",
            whole.lines().take(3).collect::<Vec<_>>().join("\n"),
            "PEM",
        ),
        (
            "twice.pem",
            whole.clone() + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "certificate 2",
        ),
    ] {
        fs::write(path(name), content).unwrap();
        let error = read_certificates(&path(name)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: ", path(name).display())),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
        let error = read_certificates(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(name),
            "a bad file of a folder is named too: {error}"
        );
        fs::remove_file(path(name)).unwrap();
    }
    let error = read_certificates(&path("missing.pem"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing.pem: No such file"), "{error}");
    fs::write(path("only.pem"), pem_crl(&ca("one").crl(None, 1000))).unwrap();
    let error = read_certificates(&path("only.pem"))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("holds no certificate"), "{error}");
}

#[test]
fn an_empty_folder_is_no_mistake() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read_certificates(dir.path()).unwrap().is_empty());
}

#[test]
fn files_are_read_up_to_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, [0; 10]).unwrap();
    assert_eq!(read_limited(&path, 10).unwrap().len(), 10);
    let error = read_limited(&path, 9).unwrap_err().to_string();
    assert!(error.ends_with("x: more than 9 bytes"), "{error}");
}

#[test]
fn a_fingerprint_changes_with_every_change_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, file) = (dir.path().join("folder"), dir.path().join("trust.toml"));
    fs::create_dir(&folder).unwrap();
    let mut set = FileSet::new(vec![folder.clone()], Vec::new());
    set.watch(&file);
    let mut last = set.fingerprint();
    assert_eq!(last, set.fingerprint());
    let mut changed = |what: &str| {
        let now = set.fingerprint();
        assert_ne!(now, last, "{what}");
        last = now;
    };
    fs::write(&file, "a").unwrap();
    changed("a watched file appears");
    fs::write(&file, "ab").unwrap();
    changed("it grows");
    fs::write(folder.join("x.pem"), "x").unwrap();
    changed("a file appears in a folder");
    fs::write(dir.path().join("y"), "y").unwrap();
    fs::rename(dir.path().join("y"), folder.join("x.pem")).unwrap();
    changed("a file is replaced by one of the same size");
    fs::remove_file(folder.join("x.pem")).unwrap();
    changed("it goes away");
}

#[test]
fn a_change_while_a_watched_file_is_read_is_seen_later() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trust.toml");
    fs::write(&file, "old").unwrap();
    let mut set = FileSet::default();
    set.watch(&file);
    assert_eq!(set.first_fingerprint(), set.fingerprint());
    fs::write(&file, "newer").unwrap();
    assert_ne!(set.first_fingerprint(), set.fingerprint());
}

#[test]
fn a_file_is_watched_since_it_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.kri");
    let look = |seen: FileState| {
        let mut set = FileSet::default();
        let mut first = set.first_fingerprint();
        set.watch_since(&file, seen, &mut first);
        assert_eq!(set.first_fingerprint(), first);
        set.fingerprint() == first
    };
    assert_eq!(FileState::of(&file), FileState::default());
    assert!(look(FileState::default()));
    fs::write(&file, "x").unwrap();
    assert!(!look(FileState::default()), "it came while nobody looked");
    let seen = FileState::of(&file);
    assert!(look(seen));
    fs::write(dir.path().join("y"), "x").unwrap();
    fs::rename(dir.path().join("y"), &file).unwrap();
    assert!(!look(seen), "it is another one");
}
