use std::fs;
use std::os::unix::fs::PermissionsExt;

use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder, common_name};
use kenin_pki::time::UnixTime;

use super::*;
use crate::init::{InitOptions, Mode, postfix};

/// A configuration with one anchor, and its store.
struct World {
    dir: tempfile::TempDir,
    config: Arc<Config>,
    store: Store,
    root: Certificate,
    key: SoftKey,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            dir: dir.path().join("etc"),
            state_dir: dir.path().join("state"),
            ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
        };
        postfix(&options).unwrap();
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let root = CertificateBuilder::new(common_name("A").unwrap(), key.public_key())
            .authority(None)
            .self_signed(&key)
            .unwrap();
        let etc = dir.path().join("etc");
        fs::write(etc.join("anchors/a.der"), root.der()).unwrap();
        let trust = fs::read_to_string(etc.join("trust.toml")).unwrap();
        let anchor = "[[anchor]]\nname = \"a\"\nfile = \"anchors/a.der\"\n";
        fs::write(etc.join("trust.toml"), trust + anchor).unwrap();
        let config = Config::load(&[etc.join("kenin.toml")]).unwrap();
        let store = store::open(&config).await.unwrap();
        Self {
            dir,
            config: Arc::new(config),
            store,
            root,
            key,
        }
    }

    fn list(&self, number: u64) -> Crl {
        let made = UnixTime(i64::try_from(number).unwrap() * 1000);
        CrlBuilder::new(made, Some(UnixTime(4_000_000_000)))
            .number(number)
            .issued_by(&self.root, &self.key)
            .unwrap()
    }

    /// Where another node has its indexes.
    fn elsewhere(&self) -> PathBuf {
        self.dir.path().join("elsewhere")
    }

    fn here(&self) -> PathBuf {
        lists_folder(&self.config)
    }

    async fn put(&self, list: &Crl) {
        let key = self.root.public_key();
        let put = self.store.put_crl(DEFAULT_TENANT, list, key).await;
        assert!(put.unwrap());
    }

    async fn after(&self, before: Option<&Snapshot>) -> Snapshot {
        let built = Snapshot::build_after(Arc::clone(&self.config), Some(&self.store), before);
        let snapshot = built.await.unwrap();
        let now = self.store.revision(DEFAULT_TENANT).await.unwrap();
        assert_eq!(snapshot.state.store, now, "no second reload follows");
        snapshot
    }
}

/// The list as it is once it was received into the indexes of a folder.
fn received(folder: &Path, list: &Crl) -> Crl {
    let index = RevocationIndex::open(folder).unwrap();
    let mut builder = index.receive().unwrap();
    builder.push(list.der()).unwrap();
    builder.finish().unwrap()
}

/// The lists in use, and whether each is at hand.
fn held(snapshot: &Snapshot) -> Vec<(Crl, bool)> {
    let all = snapshot.known.all_crls().iter();
    all.map(|crl| (crl.clone(), !crl.is_absent())).collect()
}

/// Whether the service would read again.
fn is_changed(snapshot: &Snapshot) -> bool {
    snapshot.files.fingerprint() != snapshot.state.files
}

#[tokio::test]
async fn a_list_of_another_node_is_known_and_taken_up_when_it_comes() {
    let world = World::new().await;
    let first = received(&world.elsewhere(), &world.list(1));
    world.put(&first).await;
    let before = world.after(None).await;
    assert_eq!(held(&before), [(first.clone(), false)]);
    assert!(!is_changed(&before));
    received(&world.here(), &world.list(1));
    // Each time it is made it has another signature.
    assert!(!is_changed(&before), "that is another list");
    let index = |list: &Crl| format!("{}.kri", hex(list.sha256()));
    let copy = |list: &Crl| {
        let from = world.elsewhere().join(index(list));
        fs::copy(from, world.here().join(index(list))).unwrap();
    };
    copy(&first);
    assert!(is_changed(&before));
    let at_hand = world.after(Some(&before)).await;
    assert_eq!(held(&at_hand), [(first.clone(), true)]);
    assert_ne!(at_hand.revision, before.revision);

    // The next one: what is here stands in, as long as nobody starts anew.
    let second = received(&world.elsewhere(), &world.list(2));
    world.put(&second).await;
    let waiting = world.after(Some(&at_hand)).await;
    let both = [(second.clone(), false), (first.clone(), true)];
    assert_eq!(held(&waiting), both);
    assert!(world.here().join(index(&first)).exists());
    let waiting = world.after(Some(&waiting)).await;
    assert_eq!(held(&waiting), both);
    let started = world.after(None).await;
    assert_eq!(held(&started), [(second.clone(), false)]);
    copy(&second);
    assert!(is_changed(&waiting) && is_changed(&started));
    let at_hand = world.after(Some(&waiting)).await;
    assert_eq!(held(&at_hand), [(second.clone(), true)]);
    assert!(!world.here().join(index(&first)).exists());
}

/// Nobody is told so by a service that starts and says nothing, and no damaged file is read again and again.
#[tokio::test]
async fn a_damaged_index_is_a_list_that_is_not_at_hand() {
    let world = World::new().await;
    let list = received(&world.here(), &world.list(1));
    world.put(&list).await;
    let before = world.after(None).await;
    assert_eq!(held(&before), [(list.clone(), true)]);
    let file = world.here().join(format!("{}.kri", hex(list.sha256())));
    let good = fs::read(&file).unwrap();
    let mut rotten = good.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    // Another file: who has the one before open keeps it.
    let replace = |bytes: &[u8]| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for damage in [&rotten[..], &good[..middle], b""] {
        replace(damage);
        let started = world.after(None).await;
        assert_eq!(held(&started), [(list.clone(), false)]);
        assert!(!is_changed(&started));
        let running = world.after(Some(&before)).await;
        assert_eq!(held(&running), [(list.clone(), true)]);
        replace(&good);
        assert!(is_changed(&started));
        let again = world.after(Some(&started)).await;
        assert_eq!(held(&again), [(list.clone(), true)]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
