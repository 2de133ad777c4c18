use std::os::unix::fs::PermissionsExt;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::{RevocationReason, RevokedEntry};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::extension::IssuingDistributionPoint;
use kenin_pki::issue::{CertificateBuilder, CrlBuilder, common_name};
use kenin_pki::time::UnixTime;
use proptest::prelude::*;

use super::*;

struct Authority {
    key: SoftKey,
    certificate: Certificate,
}

fn authority() -> Authority {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key())
        .authority(None)
        .self_signed(&key)
        .unwrap();
    Authority { key, certificate }
}

impl Authority {
    fn list(&self, shape: impl FnOnce(CrlBuilder) -> CrlBuilder) -> Crl {
        shape(CrlBuilder::new(UnixTime(1000), Some(UnixTime(2000))).number(7))
            .issued_by(&self.certificate, &self.key)
            .unwrap()
    }

    fn list_of(&self, serials: &[Vec<u8>]) -> Crl {
        self.list(|mut builder| {
            for (serial, date) in serials.iter().zip(0..) {
                builder = builder.revoke(serial, UnixTime(date), RevocationReason::Superseded);
            }
            builder
        })
    }
}

fn folder() -> (tempfile::TempDir, RevocationIndex) {
    let dir = tempfile::tempdir().unwrap();
    let index = RevocationIndex::open(&dir.path().join("lists")).unwrap();
    (dir, index)
}

fn indexed(index: &RevocationIndex, der: &[u8], piece: usize) -> Result<Crl, IndexError> {
    let mut builder = index.receive().unwrap();
    for piece in der.chunks(piece) {
        builder.push(piece)?;
    }
    builder.finish()
}

fn assert_same(one: &Crl, other: &Crl, serials: &[Vec<u8>]) {
    assert_eq!(one, other);
    assert_eq!(one.len(), other.len());
    for serial in serials {
        assert_eq!(one.find(serial), other.find(serial), "{serial:?}");
        let mut longer = serial.clone();
        longer.push(0);
        assert_eq!(one.find(&longer), other.find(&longer));
        let shorter = &serial[..serial.len() - 1];
        assert_eq!(one.find(shorter), other.find(shorter));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Several runs, serials of all lengths, some twice: what the index says is what the list says.
    #[test]
    fn the_index_says_what_the_list_says(
        serials in proptest::collection::vec(proptest::collection::vec(1_u8..4, 1..6), 0..400),
        prefix in proptest::collection::vec(1_u8..127, 0..16), piece in 1_usize..3000,
    ) {
        let ca = authority();
        let serials: Vec<Vec<u8>> = serials.into_iter().map(|one| [prefix.clone(), one].concat()).collect();
        let whole = ca.list_of(&serials);
        let (_dir, index) = folder();
        let list = indexed(&index, whole.der(), piece).unwrap();
        assert_same(&list, &whole, &serials);
        assert!(list.verify_signature(ca.key.public_key()).is_ok());
        let again = index.open_list(list.sha256()).unwrap();
        assert_same(&again, &whole, &serials);
    }
}

#[test]
fn reasons_dates_and_issuers_are_kept() {
    let ca = authority();
    let other = common_name("Other").unwrap();
    let point = IssuingDistributionPoint {
        indirect: true,
        ..IssuingDistributionPoint::default()
    };
    let whole = ca.list(|builder| {
        builder
            .issuing_distribution_point(&point)
            .revoke(&[5], UnixTime(-1000), RevocationReason::KeyCompromise)
            .revoke_of(
                &other,
                &[5],
                UnixTime(4_000_000_000),
                RevocationReason::CertificateHold,
            )
    });
    let (_dir, index) = folder();
    let list = indexed(&index, whole.der(), 10).unwrap();
    let own = list.find(&[5]).unwrap();
    assert_eq!(
        own,
        RevokedEntry {
            date: UnixTime(-1000),
            reason: RevocationReason::KeyCompromise,
            invalidity_date: None,
        }
    );
    assert_eq!(list.find_of(&other, &[5]), whole.find_of(&other, &[5]));
    assert!(list.find_of(&other, &[5]).is_some());
    assert_eq!(list.find_of(&common_name("Nobody").unwrap(), &[5]), None);
}

#[test]
fn a_file_is_read_anew_only_where_it_changed() {
    let ca = authority();
    let (dir, index) = folder();
    let path = dir.path().join("list.crl");
    fs::write(&path, ca.list_of(&[vec![1]]).der()).unwrap();
    let first = index.of_file(&path).unwrap();
    let file = dir
        .path()
        .join("lists")
        .join(format!("{}.kri", hex(first.sha256())));
    let made = fs::metadata(&file).unwrap().ino();
    assert_eq!(index.of_file(&path).unwrap(), first);
    assert_eq!(
        fs::metadata(&file).unwrap().ino(),
        made,
        "it was made again"
    );
    fs::write(&path, ca.list_of(&[vec![1], vec![2]]).der()).unwrap();
    let second = index.of_file(&path).unwrap();
    assert!(second.find(&[2]).is_some() && first.find(&[2]).is_none());
    // What nobody names any more goes; who has it keeps it.
    index.keep_only(&HashSet::from([*second.sha256()]));
    assert!(!file.exists());
    assert!(first.find(&[1]).is_some());
    assert!(index.open_list(first.sha256()).is_err());
    assert!(index.open_list(second.sha256()).is_ok());
}

/// Between the receiving of a list and its use lies a moment in which others clear up.
#[test]
fn what_was_just_received_is_not_cleared_away() {
    let ca = authority();
    let (dir, index) = folder();
    let receive = |serial: u8| indexed(&index, ca.list_of(&[vec![serial]]).der(), 100).unwrap();
    let (used, coming, old) = (receive(1), receive(2), receive(3));
    let mark = |list: &Crl| {
        let name = format!("{}.new", hex(list.sha256()));
        dir.path().join("lists").join(name)
    };
    let file = File::options().write(true).open(mark(&old)).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    index.keep_only(&HashSet::from([*used.sha256()]));
    assert!(index.open_list(used.sha256()).is_ok() && !mark(&used).exists());
    assert!(index.open_list(coming.sha256()).is_ok() && mark(&coming).exists());
    assert!(index.open_list(old.sha256()).is_err() && !mark(&old).exists());
    // Once it was in use, it goes with its use.
    index.keep_only(&HashSet::new());
    assert!(index.open_list(used.sha256()).is_err());
    index.forget(coming.sha256());
    assert_eq!(fs::read_dir(dir.path().join("lists")).unwrap().count(), 0);
}

#[test]
fn what_is_no_list_leaves_nothing_behind() {
    let ca = authority();
    let (dir, index) = folder();
    let whole = ca.list_of(&[vec![1], vec![2]]);
    let path = dir.path().join("list.crl");
    for bytes in [
        &whole.der()[..whole.der().len() - 1],
        ca.certificate.der(),
        b"hello",
        b"",
    ] {
        fs::write(&path, bytes).unwrap();
        let error = index.of_file(&path).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: not a CRL", path.display())),
            "{error}"
        );
    }
    let long = ca.list_of(&[vec![1; 25]]);
    let error = indexed(&index, long.der(), 100).unwrap_err().to_string();
    assert!(error.contains("24 octets"), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("lists")).unwrap().count(), 0);
}

/// Bits that rot, in the records too, files cut off, files of others: an error, never another answer.
#[test]
fn a_damaged_index_is_refused() {
    let ca = authority();
    let (dir, index) = folder();
    let list = indexed(
        &index,
        ca.list_of(&[vec![1], vec![2], vec![9, 9]]).der(),
        100,
    )
    .unwrap();
    let file = dir
        .path()
        .join("lists")
        .join(format!("{}.kri", hex(list.sha256())));
    let good = fs::read(&file).unwrap();
    let write = |bytes: &[u8]| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for cut in [0, 10, 59, 60, good.len() / 2, good.len() - 1] {
        write(&good[..cut]);
        assert!(index.open_list(list.sha256()).is_err(), "cut at {cut}");
    }
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        write(&bytes);
        let error = index.open_list(list.sha256()).unwrap_err().to_string();
        assert!(error.contains(".kri: "), "{place}: {error}");
    }
    write(&good);
    assert!(index.open_list(list.sha256()).is_ok());
    // What is open already is not looked through again.
    let holding = RevocationIndex::open(&dir.path().join("lists")).unwrap();
    let holding = holding.holding(std::slice::from_ref(&list));
    write(b"");
    assert_eq!(holding.open_list(list.sha256()).unwrap(), list);
    assert!(index.open_list(list.sha256()).is_err());
    write(&good);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let error = index.open_list(list.sha256()).unwrap_err().to_string();
    assert!(error.contains("written by others"), "{error}");
}

#[test]
fn a_new_owner_clears_what_was_half_written() {
    let (dir, _) = folder();
    let lists = dir.path().join("lists");
    let part = lists.join("1-1.part");
    fs::write(&part, b"half").unwrap();
    let _index = RevocationIndex::open(&lists).unwrap();
    assert!(part.exists(), "somebody may be writing it");
    let file = File::options().write(true).open(&part).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let _index = RevocationIndex::open(&lists).unwrap();
    assert_eq!(fs::read_dir(&lists).unwrap().count(), 0);
    assert_eq!(
        fs::metadata(&lists).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let passing = RevocationIndex::passing();
    let folder = passing.folder.clone();
    assert!(!folder.exists());
    let list = indexed(&passing, authority().list_of(&[vec![1]]).der(), 100).unwrap();
    assert!(folder.is_dir() && list.find(&[1]).is_some());
    drop(passing);
    assert!(!folder.exists());
}
