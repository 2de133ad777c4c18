use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::extension::BasicConstraints;
use kenin_pki::issue::{CertificateBuilder, CrlBuilder};
use kenin_pki::name::NameBuilder;
use kenin_pki::oid;
use kenin_pki::time::UnixTime;

use super::*;
use crate::init::{InitOptions, Mode, postfix};

/// A configuration in a folder, and a reloader over it.
async fn world(dir: &Path) -> (Arc<ArcSwap<Snapshot>>, Reloader, Store) {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let config = Config::load(&[dir.join("etc/kenin.toml")]).unwrap();
    let store = crate::store::open(&config).await.unwrap();
    let first = Snapshot::build(Arc::new(config), Some(&store))
        .await
        .unwrap();
    let current = Arc::new(ArcSwap::from_pointee(first));
    (
        Arc::clone(&current),
        Reloader::new(current, Some(store.clone())),
        store,
    )
}

fn append(path: &Path, text: &str) {
    let old = fs::read_to_string(path).unwrap();
    fs::write(path, old + text).unwrap();
}

#[tokio::test]
async fn a_mistake_keeps_the_old_configuration_and_says_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let before = current.load().revision.clone();
    for (name, text, says) in [
        (
            "etc/kenin.toml",
            "\nlevle = \"debug\"\n",
            "did you mean \"level\"?",
        ),
        (
            "etc/trust.toml",
            "\n[[ancor]]\nname = \"x\"\n",
            "trust.toml:",
        ),
        ("etc/mail.toml", "\n[[rule]]\nwehn = 1\n", "mail.toml:"),
    ] {
        let path = dir.path().join(name);
        let good = fs::read_to_string(&path).unwrap();
        append(&path, text);
        let error = reloader.all().await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(current.load().revision, before);
        fs::write(&path, good).unwrap();
        reloader.all().await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_certificate_file_keeps_the_old_snapshot_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let before = current.load_full();
    fs::write(
        dir.path().join("etc/intermediates/bad.pem"),
        "-----BEGIN CERTIFICATE-----\nAA==\n",
    )
    .unwrap();
    let error = reloader.policy().await.unwrap_err().to_string();
    assert!(error.contains("intermediates/bad.pem"), "{error}");
    assert!(Arc::ptr_eq(&before, &current.load_full()));
}

#[tokio::test]
async fn rules_and_trust_that_vanish_stay_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let rules = dir.path().join("etc/mail.toml");
    fs::remove_file(&rules).unwrap();
    for error in [
        reloader.all().await.unwrap_err(),
        reloader.policy().await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("etc/mail.toml: the file has gone"), "{text}");
    }
    assert!(!current.load().without_rules);
    fs::write(&rules, "").unwrap();
    reloader.all().await.unwrap();
    fs::remove_file(dir.path().join("etc/trust.toml")).unwrap();
    let error = reloader.all().await.unwrap_err().to_string();
    assert!(error.contains("etc/trust.toml: No such file"), "{error}");
}

#[tokio::test]
async fn what_was_refused_when_asked_for_stays_said_until_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_current, reloader, _store) = world(dir.path()).await;
    assert_eq!(reloader.trouble(), None);
    let settings = dir.path().join("etc/kenin.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("hostnam = \"x\"\n{good}")).unwrap();
    reloader.all().await.unwrap_err();
    assert!(reloader.trouble().unwrap().contains("kenin.toml:1:1"));
    // The next start would meet the same mistake, whatever is taken over meanwhile.
    append(&dir.path().join("etc/mail.toml"), "\n# a comment\n");
    reloader.policy().await.unwrap();
    assert!(reloader.trouble().unwrap().contains("kenin.toml:1:1"));
    fs::write(&settings, good).unwrap();
    reloader.all().await.unwrap();
    assert_eq!(reloader.trouble(), None);
    // What a watcher refused is mended by what it takes over.
    let trust = dir.path().join("etc/trust.toml");
    let good = fs::read_to_string(&trust).unwrap();
    append(&trust, "\n[[ancor]]\n");
    reloader.policy().await.unwrap_err();
    assert!(reloader.trouble().unwrap().contains("trust.toml"));
    fs::write(&trust, good).unwrap();
    reloader.policy().await.unwrap();
    assert_eq!(reloader.trouble(), None);
}

#[tokio::test]
async fn a_change_is_taken_over_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let before = current.load().revision.clone();
    append(&dir.path().join("etc/trust.toml"), "\n# another text\n");
    append(&dir.path().join("etc/kenin.toml"), "\nlevel = \"debug\"\n");
    reloader.all().await.unwrap();
    assert_ne!(current.load().revision, before);
    assert_eq!(current.load().config.log.level, "debug");
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (current, mut reloader, _store) = world(dir.path()).await;
    reloader.interval = Duration::from_millis(5);
    let before = current.load().revision.clone();
    let (stop, stopping) = watch::channel(false);
    let watcher = tokio::spawn(async move { reloader.watch(stopping).await });
    append(&dir.path().join("etc/trust.toml"), "\n# another text\n");
    let noticed = async {
        while current.load().revision == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .unwrap();
    stop.send(true).unwrap();
    watcher.await.unwrap();
}

/// Somebody who can write a file of lists must not be able to bring a revoked signer back.
#[tokio::test]
async fn an_older_list_in_a_files_place_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, store) = world(dir.path()).await;
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let name = NameBuilder::default()
        .with(oid::COMMON_NAME, "A")
        .build()
        .unwrap();
    let root = CertificateBuilder::new(name, key.public_key())
        .basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .self_signed(&key)
        .unwrap();
    let list = |number: u64| {
        let builder = CrlBuilder::new(UnixTime(1000), None).number(number);
        builder.issued_by(&root, &key).unwrap()
    };
    let etc = dir.path().join("etc");
    fs::write(etc.join("anchors/a.der"), root.der()).unwrap();
    append(
        &etc.join("trust.toml"),
        "[[anchor]]\nname = \"a\"\nfile = \"anchors/a.der\"\n",
    );
    fs::write(etc.join("crls/a.crl"), list(2).der()).unwrap();
    reloader.policy().await.unwrap();
    let held = |current: &ArcSwap<Snapshot>| {
        current.load().known.all_crls()[0]
            .crl_number()
            .unwrap()
            .unwrap()
            .to_vec()
    };
    assert_eq!(held(&current), [2]);
    let state = current.load().state.clone();
    assert_eq!(
        state.store,
        store.revision("default").await.unwrap(),
        "no second reload follows"
    );

    fs::write(etc.join("crls/a.crl"), list(1).der()).unwrap();
    reloader.policy().await.unwrap();
    assert_eq!(held(&current), [2]);
    fs::write(etc.join("crls/a.crl"), list(3).der()).unwrap();
    reloader.policy().await.unwrap();
    assert_eq!(held(&current), [3]);

    // An authority that is no longer trusted leaves nothing behind.
    fs::remove_file(etc.join("crls/a.crl")).unwrap();
    fs::write(etc.join("trust.toml"), "crls = [\"crls\"]\n").unwrap();
    reloader.policy().await.unwrap();
    assert!(current.load().known.all_crls().is_empty());
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let text = "hostname = \"a.b\"\n[next_hop]\naddress = \"[::1]:25\"\n[[listener]]\n\
                mode = \"after-queue\"\naddress = \"[::1]:";
    let parse = |rest: &str| Config::parse(&format!("{text}{rest}"), Path::new("k.toml")).unwrap();
    let old = parse("10025\"\n");
    assert!(unchangeable(&old, &parse("10025\"\n")).is_empty());
    let new = parse("10027\"\n[log]\nformat = \"json\"\n");
    assert_eq!(unchangeable(&old, &new), ["listener.address", "log"]);
    let held = |more: &str| parse(&format!("10025\"\n[quarantine]\nkey_file = \"k\"\n{more}"));
    let new = held("keep = 7\n[decrypt]\nmemory = \"64M\"\n");
    assert_eq!(
        unchangeable(&held(""), &new),
        ["quarantine", "decrypt.memory"]
    );
}

/// Mail would be opened, and what the next hop refuses of it could not be held: its client would hear so.
#[tokio::test]
async fn a_quarantine_that_is_new_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let path = dir.path().join("etc/kenin.toml");
    let good = fs::read_to_string(&path).unwrap();
    append(&path, "\n[quarantine]\nkey_file = \"quarantine.key\"\n");
    let error = reloader.all().await.unwrap_err().to_string();
    assert!(error.contains("[quarantine] is new"), "{error}");
    assert!(current.load().config.quarantine.is_none());
    fs::write(&path, good).unwrap();
    reloader.all().await.unwrap();
}

/// The log says that it takes effect with the next start; until then mail is opened, and held, as before.
#[tokio::test]
async fn a_quarantine_that_is_taken_out_stays_until_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, store) = world(dir.path()).await;
    let path = dir.path().join("etc/kenin.toml");
    let without = fs::read_to_string(&path).unwrap();
    append(&path, "\n[quarantine]\nkey_file = \"quarantine.key\"\n");
    let with = fs::read_to_string(&path).unwrap();
    let config = Arc::new(Config::load(std::slice::from_ref(&path)).unwrap());
    let started = Snapshot::build(config, Some(&store)).await.unwrap();
    current.store(Arc::new(started));
    for text in [&without, &with, &without] {
        fs::write(&path, text).unwrap();
        reloader.all().await.unwrap();
        assert!(current.load().config.quarantine.is_some());
    }
}

/// A file changes at the moment of SIGHUP: both rebuilds run, and the later one must not bring back
/// the settings of before.
#[tokio::test]
async fn a_change_of_policy_does_not_undo_a_reload_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, _store) = world(dir.path()).await;
    let path = dir.path().join("etc/kenin.toml");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("\"smime.gw.example.jp\"", "\"other.gw.example.jp\"");
    assert_ne!(changed, text);
    fs::write(&path, changed).unwrap();
    let (all, policy) = tokio::join!(reloader.all(), reloader.policy());
    all.unwrap();
    policy.unwrap();
    assert_eq!(current.load().config.authserv_id, "other.gw.example.jp");
}

/// A statement less is no reason to stop mail; a key that works stays in force.
#[tokio::test]
async fn a_stamp_key_that_cannot_be_used_costs_the_statement_only() {
    let dir = tempfile::tempdir().unwrap();
    let (current, reloader, store) = world(dir.path()).await;
    assert!(current.load().key.is_some());
    let file = dir.path().join("etc/stamp.key");
    let good = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let told = reloader.policy().await.unwrap_err().to_string();
    assert!(told.contains("stamp.key"), "{told}");
    assert!(current.load().key.is_some(), "the one in force stays");

    let config = Arc::clone(&current.load().config);
    let private = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    for bad in [None, Some("no key")] {
        if let Some(text) = bad {
            private(text.as_bytes());
        }
        let started = Snapshot::build(Arc::clone(&config), Some(&store))
            .await
            .unwrap();
        assert!(started.key.is_none() && started.key_trouble.is_some());
        current.store(Arc::new(started));
        reloader.policy().await.unwrap();
    }
    private(&good);
    reloader.policy().await.unwrap();
    let now = current.load();
    assert!(now.key.is_some() && now.key_trouble.is_none());
}
