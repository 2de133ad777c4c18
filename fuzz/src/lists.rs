//! Targets for revocation lists of any length: as they come in pieces, and as the index files that are made of them.
//!
//! Few octets make a list, and none that nobody made fit the digests of a file. So what comes is taken twice: as it
//! is, and as changes of a list and of a file that are well made, three octets each: a place, and what stands there
//! instead.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use kenin_certstore::RevocationIndex;
use kenin_pki::crl::{CrlStream, RevocationReason, StreamedEntry};
use kenin_pki::crypto::{DigestAlgorithm, SigningKey, SoftKey};
use kenin_pki::extension::IssuingDistributionPoint;
use kenin_pki::issue::{CertificateBuilder, CrlBuilder, common_name};
use kenin_pki::{Crl, UnixTime};

/// What is a list in pieces is one as a whole, and its index says of each of its serials what the list says.
pub fn long_list(data: &[u8]) {
    same_in_pieces(data);
    same_in_pieces(&changed(made().list.der(), data));
}

/// A file of which one octet is another than it was is not opened. One that somebody made with the right digests is
/// opened or not, and whatever it is asked it answers.
pub fn index_file(data: &[u8]) {
    let made = made();
    let folder = Folder::new();
    assert!(folder.opened(data).is_none(), "nobody made it");
    let mut file = changed(&made.file, data);
    let opened = folder.opened(&file);
    assert_eq!(opened.is_some(), file == made.file);
    if let Some(list) = opened {
        for serial in (0..ENTRIES).map(serial) {
            assert_eq!(list.find(&serial), made.list.find(&serial));
        }
    }
    if fit_digests(&mut file).is_some()
        && let Some(list) = folder.opened(&file)
    {
        assert!(list.len() <= file.len());
        for serial in (0..ENTRIES).map(serial) {
            let _ = list.find(&serial);
        }
        for wide in 0..30 {
            let _ = list.find(&vec![0; wide]);
            let _ = list.find(&vec![0xff; wide]);
        }
    }
}

fn same_in_pieces(der: &[u8]) {
    let mut stream = CrlStream::new();
    let mut serials = Vec::new();
    for piece in der.chunks(61) {
        let mut each = |entry: StreamedEntry<'_>| -> Result<(), Infallible> {
            serials.push(entry.serial.to_vec());
            Ok(())
        };
        if stream.push(piece, &mut each).is_err() {
            return;
        }
    }
    if stream.finish().is_err() {
        return;
    }
    let whole = Crl::from_der(der);
    assert!(whole.is_ok(), "{whole:?}");
    let Ok(whole) = whole else { return };
    let folder = Folder::new();
    let Some(indexed) = folder.indexed(der) else {
        // A longer one is left to its list.
        assert!(serials.iter().any(|serial| serial.len() > 24));
        return;
    };
    assert_eq!(
        (indexed.len(), indexed.sha256()),
        (whole.len(), whole.sha256())
    );
    assert_eq!(indexed.issuer(), whole.issuer());
    let (one, other) = (indexed.unknown_critical(), whole.unknown_critical());
    assert_eq!(one.is_empty(), other.is_empty());
    for serial in &serials {
        let (one, other) = (indexed.find(serial), whole.find(serial));
        // Which of two entries of one certificate counts is nobody's promise.
        match serials.iter().filter(|own| *own == serial).count() {
            1 => assert_eq!(one, other),
            _ => assert_eq!(one.is_some(), other.is_some()),
        }
    }
    let again = folder.0.open_list(whole.sha256());
    assert!(again.is_ok_and(|again| again == whole));
}

/// A folder of indexes, which goes again.
struct Folder(RevocationIndex, PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kenin-fuzz-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let index = RevocationIndex::open(&path);
        assert!(index.is_ok(), "{index:?}");
        Self(index.unwrap_or_default(), path)
    }

    /// The list with this file as its index, under the name of the one that is made.
    fn opened(&self, octets: &[u8]) -> Option<Crl> {
        let name = made().list.sha256();
        let path = self.0.path_of(name);
        // What is open stays what it is: another file takes the place of the one before.
        let _ = fs::remove_file(&path);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let written = file.and_then(|mut file| file.write_all(octets));
        assert!(written.is_ok(), "{written:?}");
        self.0.open_list(name).ok()
    }

    fn indexed(&self, der: &[u8]) -> Option<Crl> {
        let mut builder = self.0.receive().ok()?;
        for piece in der.chunks(61) {
            builder.push(piece).ok()?;
        }
        builder.finish().ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.1);
    }
}

/// A list, and the index of it.
struct Made {
    list: Crl,
    file: Vec<u8>,
}

/// The same in every process: the signature is one of Ed25519, by a key that everybody knows.
fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let Some(made) = make() else {
            unreachable!("a list can be made");
        };
        made
    })
}

fn make() -> Option<Made> {
    let key = SoftKey::from_pkcs8(&[PKCS8, &[7_u8; 32][..]].concat()).ok()?;
    let issuer = CertificateBuilder::new(common_name("CA").ok()?, key.public_key())
        .authority(None)
        .self_signed(&key)
        .ok()?;
    let other = common_name("Other").ok()?;
    let point = IssuingDistributionPoint {
        indirect: true,
        ..IssuingDistributionPoint::default()
    };
    let mut builder = CrlBuilder::new(UnixTime(1000), Some(UnixTime(2000))).number(7);
    for number in 0..ENTRIES {
        let date = UnixTime(i64::from(number));
        builder = builder.revoke(&serial(number), date, RevocationReason::Superseded);
    }
    let list = builder
        .revoke_of(&other, &[5], UnixTime(3), RevocationReason::KeyCompromise)
        .issuing_distribution_point(&point)
        .issued_by(&issuer, &key)
        .ok()?;
    let folder = Folder::new();
    let indexed = folder.indexed(list.der())?;
    let file = fs::read(folder.0.path_of(indexed.sha256())).ok()?;
    Some(Made { list, file })
}

/// Serials of one to three octets, in no order.
fn serial(number: u16) -> Vec<u8> {
    let [high, low] = number.wrapping_mul(40_503).to_be_bytes();
    match number % 3 {
        0 => vec![1 | (low & 0x7f)],
        1 => vec![1 | (high & 0x7f), low],
        _ => vec![1, high, low],
    }
}

/// These octets with changes: each is a place in them, and the octet that stands there then.
fn changed(octets: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for change in changes.chunks_exact(3) {
        if let [high, low, value] = change
            && let Some(octet) = octets.get_mut(usize::from(u16::from_be_bytes([*high, *low])))
        {
            *octet = *value;
        }
    }
    octets
}

/// Puts the digests that belong there into the head of an index file; nothing where its parts are longer than it is.
fn fit_digests(file: &mut [u8]) -> Option<()> {
    let number = |at: usize| {
        let octets = file.get(at..)?.first_chunk::<8>()?;
        usize::try_from(u64::from_be_bytes(*octets)).ok()
    };
    let (count, meta) = (number(8)?, number(16)?);
    let (serial, flags) = (usize::from(*file.get(24)?), *file.get(26)?);
    let issuer = if flags & 1 != 0 { 4 } else { 0 };
    let invalidity = if flags & 2 != 0 { 5 } else { 0 };
    let width = serial + 1 + issuer + 5 + 1 + invalidity;
    let records = HEAD.checked_add(meta)?;
    let end = records.checked_add(count.checked_mul(width)?)?;
    let digest = DigestAlgorithm::Sha256.digest(file.get(records..end)?);
    file.get_mut(28..60)?.copy_from_slice(digest.as_ref());
    let parts = [file.get(..60)?, file.get(HEAD..records)?, file.get(end..)?];
    let digest = DigestAlgorithm::Sha256.digest(&parts.concat());
    file.get_mut(60..HEAD)?.copy_from_slice(digest.as_ref());
    Some(())
}

/// Entries of the list that is changed.
const ENTRIES: u16 = 150;
/// Octets of the head of a file.
const HEAD: usize = 92;
/// What stands before the 32 octets of a private key of Ed25519 (RFC 8410 §7).
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
