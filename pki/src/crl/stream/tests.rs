use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::certificate::Certificate;
use crate::crl::{RevocationReason, RevokedEntries};
use crate::crypto::{KeyType, SigningKey, SoftKey};
use crate::extension::IssuingDistributionPoint;
use crate::issue::{CertificateBuilder, CrlBuilder, common_name};
use crate::time::UnixTime;

/// The plainest keeper of entries.
struct Listed(Vec<(Vec<u8>, u32, RevokedEntry)>);

impl RevokedEntries for Listed {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, issuer: u32, serial: &[u8]) -> Option<RevokedEntry> {
        let found = self.0.iter().find(|(s, i, _)| s == serial && *i == issuer);
        found.map(|(_, _, entry)| *entry)
    }
}

/// Reads bytes in pieces of this size.
fn streamed(bytes: &[u8], piece: usize) -> Result<(AbridgedCrl, Listed), String> {
    let mut stream = CrlStream::new();
    let mut listed = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        stream
            .push(piece, &mut |entry: StreamedEntry<'_>| {
                listed.push((entry.serial.to_vec(), entry.issuer, entry.entry));
                Ok::<(), Infallible>(())
            })
            .map_err(|error| error.to_string())?;
    }
    let parts = stream.finish().map_err(|error| error.to_string())?;
    Ok((parts, Listed(listed)))
}

struct Authority {
    key: SoftKey,
    certificate: Certificate,
}

fn authority(kind: KeyType) -> Authority {
    let key = SoftKey::generate(kind).unwrap();
    let certificate = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key())
        .authority(None)
        .self_signed(&key)
        .unwrap();
    Authority { key, certificate }
}

fn list(authority: &Authority, entries: u32, shape: impl FnOnce(CrlBuilder) -> CrlBuilder) -> Crl {
    let mut builder = CrlBuilder::new(UnixTime(1000), Some(UnixTime(2000))).number(7);
    for number in 0..entries {
        let reason = match number % 3 {
            0 => RevocationReason::Unspecified,
            1 => RevocationReason::KeyCompromise,
            _ => RevocationReason::Superseded,
        };
        // Not in the order of the serials.
        let serial = number.wrapping_mul(0x9e37_79b1) | 0x0100_0000;
        builder = builder.revoke(&serial.to_be_bytes(), UnixTime(i64::from(number)), reason);
    }
    shape(builder)
        .issued_by(&authority.certificate, &authority.key)
        .unwrap()
}

fn same(whole: &Crl, bytes: &[u8], piece: usize) {
    let (parts, listed) = streamed(bytes, piece).unwrap();
    assert_eq!(parts.entries, u64::try_from(whole.len()).unwrap());
    let entries = listed.0.clone();
    let indexed = Crl::indexed(&parts, Arc::new(listed)).unwrap();
    assert_eq!(indexed.sha256(), whole.sha256());
    assert_eq!(&indexed, whole);
    assert!(indexed.is_indexed() && indexed.der().is_empty() && indexed.tbs().is_empty());
    assert_eq!(indexed.issuer(), whole.issuer());
    assert_eq!(indexed.this_update(), whole.this_update());
    assert_eq!(indexed.next_update(), whole.next_update());
    assert_eq!(indexed.crl_number(), whole.crl_number());
    assert_eq!(indexed.extensions(), whole.extensions());
    assert_eq!(indexed.unknown_critical(), whole.unknown_critical());
    assert_eq!(indexed.len(), whole.len());
    for (serial, _, _) in entries {
        assert_eq!(indexed.find(&serial), whole.find(&serial));
        for name in &whole.0.issuers {
            assert_eq!(indexed.find_of(name, &serial), whole.find_of(name, &serial));
        }
    }
    assert_eq!(indexed.find(b"\x01\x02"), None);
    // What is left without the entries is enough to know it by.
    assert!(whole.abridged().is_none() && !indexed.is_absent());
    let absent = Crl::absent(&indexed.abridged().unwrap()).unwrap();
    assert!(absent.is_absent() && !absent.is_indexed() && absent.is_empty());
    assert_eq!(&absent, whole);
    assert_eq!(absent.extensions(), whole.extensions());
}

#[test]
fn a_list_in_pieces_is_the_list() {
    let ca = authority(KeyType::P256);
    for entries in [0, 1, 2, 300] {
        let whole = list(&ca, entries, |c| c);
        for piece in [1, 2, 7, 64, 1000, usize::MAX] {
            let bytes = whole.der();
            same(&whole, bytes, piece.min(bytes.len()));
        }
    }
}

#[test]
fn the_signature_is_that_of_the_whole() {
    for kind in [KeyType::P256, KeyType::P384, KeyType::Rsa(2048)] {
        let (ca, other) = (authority(kind), authority(kind));
        let whole = list(&ca, 100, |c| c);
        let (parts, listed) = streamed(whole.der(), 50).unwrap();
        let listed: Arc<dyn RevokedEntries> = Arc::new(listed);
        let indexed = Crl::indexed(&parts, Arc::clone(&listed)).unwrap();
        assert!(indexed.verify_signature(ca.key.public_key()).is_ok());
        assert!(indexed.verify_signature(other.key.public_key()).is_err());
        let absent = Crl::absent(&indexed.abridged().unwrap()).unwrap();
        assert!(absent.verify_signature(ca.key.public_key()).is_ok());
        assert!(absent.verify_signature(other.key.public_key()).is_err());
        // An entry changed on the way is another list.
        let mut bytes = whole.der().to_vec();
        let middle = bytes.len() / 2;
        let serial = whole.der()[..middle]
            .windows(2)
            .rposition(|w| w == [2, 4])
            .unwrap()
            + 5;
        bytes[serial] ^= 1;
        let (changed, _) = streamed(&bytes, 50).unwrap();
        let changed = Crl::indexed(&changed, listed).unwrap();
        assert!(changed.verify_signature(ca.key.public_key()).is_err());
        assert_ne!(changed, whole);
    }
}

/// It signs the message and not a digest of it: nobody can check it piece by piece.
#[test]
fn what_signs_no_digest_is_never_verified() {
    let ca = authority(KeyType::Ed25519);
    let whole = list(&ca, 3, |c| c);
    assert!(whole.verify_signature(ca.key.public_key()).is_ok());
    let (parts, listed) = streamed(whole.der(), 50).unwrap();
    assert!(parts.tbs_digest.is_empty());
    let indexed = Crl::indexed(&parts, Arc::new(listed)).unwrap();
    assert!(indexed.verify_signature(ca.key.public_key()).is_err());
}

#[test]
fn entries_of_others_keep_their_issuers() {
    let ca = authority(KeyType::P256);
    let (one, two) = (common_name("One").unwrap(), common_name("Two").unwrap());
    let point = IssuingDistributionPoint {
        indirect: true,
        ..IssuingDistributionPoint::default()
    };
    let whole = list(&ca, 2, |builder| {
        builder
            .issuing_distribution_point(&point)
            .revoke_of(&one, b"\x05", UnixTime(1), RevocationReason::KeyCompromise)
            .revoke_of(&two, b"\x05", UnixTime(2), RevocationReason::Superseded)
            .revoke_of(&one, b"\x06", UnixTime(3), RevocationReason::Superseded)
    });
    for piece in [1, 33, 5000] {
        same(&whole, whole.der(), piece);
    }
    assert_eq!(whole.find_of(&two, b"\x05").unwrap().date, UnixTime(2));
}

#[test]
fn what_is_no_list_is_refused() {
    let ca = authority(KeyType::P256);
    let whole = list(&ca, 20, |c| c);
    let der = whole.der();
    for cut in 0..der.len() {
        assert!(streamed(&der[..cut], 40).is_err(), "cut at {cut}");
    }
    let mut longer = der.to_vec();
    longer.push(0);
    assert!(streamed(&longer, 40).is_err());
    assert!(streamed(ca.certificate.der(), 40).is_err());
    assert!(streamed(b"", 1).is_err());
    // A length that nothing follows claims no memory.
    let claim = [
        0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x30, 0x84, 0x7f, 0xff, 0xff,
        0xff,
    ];
    assert!(streamed(&claim, 40).is_err());
}

/// In pieces it was a list of which the second half of the entries was nowhere.
#[test]
fn a_second_list_behind_the_entries_or_a_time_there_is_refused() {
    let ca = authority(KeyType::P256);
    let whole = list(&ca, 2, |c| c);
    let mut parts = Reader::new(whole.der()).sequence().unwrap();
    let mut tbs = parts.sequence().unwrap();
    let mut fields = Vec::new();
    while !tbs.is_empty() {
        fields.push(tbs.any().unwrap().raw.to_vec());
    }
    let built = |fields: &[Vec<u8>]| write::seq(&[write::seq(fields), parts.rest().to_vec()]);
    assert_eq!(built(&fields), whole.der());
    // Version, algorithm, issuer, thisUpdate, nextUpdate, entries, extensions.
    let mut twice = fields.clone();
    twice.insert(6, fields[5].clone());
    let mut empty = fields.clone();
    empty.insert(6, vec![SEQUENCE, 0]);
    let mut late = fields;
    late.swap(4, 5);
    for fields in [twice, empty, late] {
        let der = built(&fields);
        assert!(Crl::from_der(&der).is_err());
        assert!(streamed(&der, 40).is_err());
    }
}

proptest! {
    /// Whatever the bytes: what is read in pieces is what is read whole, or neither is a list.
    #[test]
    fn both_readers_agree(place in 0_usize..2000, octet in any::<u8>(), piece in 1_usize..300) {
        thread_local! {
            static LIST: Vec<u8> = {
                let ca = authority(KeyType::P256);
                list(&ca, 12, |c| c).der().to_vec()
            };
        }
        LIST.with(|bytes| {
            let mut bytes = bytes.clone();
            let place = place % bytes.len();
            bytes[place] = octet;
            match (Crl::from_der(&bytes), streamed(&bytes, piece)) {
                (Ok(whole), Ok(_)) => same(&whole, &bytes, piece),
                (Err(_), Err(_)) => {}
                (whole, pieces) => panic!("{whole:?} {:?}", pieces.map(|(parts, _)| parts)),
            }
        });
    }
}
