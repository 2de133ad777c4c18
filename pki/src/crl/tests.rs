use proptest::prelude::*;

use super::*;
use crate::certificate::Certificate;
use crate::crypto::{KeyType, SignatureAlgorithm, SigningKey, SoftKey};
use crate::der::{INTEGER, SEQUENCE, UTC_TIME, write};
use crate::extension::{DistributionPointName, GeneralName, ReasonFlags};
use crate::issue::{CertificateBuilder, CrlBuilder, common_name};
use crate::oid;
use crate::testing;

fn ca() -> (Certificate, SoftKey) {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(common_name("CA").unwrap(), key.public_key())
        .authority(None)
        .self_signed(&key)
        .unwrap();
    (certificate, key)
}

fn builder() -> CrlBuilder {
    CrlBuilder::new(UnixTime(1_800_000_000), Some(UnixTime(1_800_600_000)))
}

/// A CRL of these entries that nobody signed: for what reading alone shows.
fn unsigned(entries: &[u8], extensions: Option<&[u8]>) -> Vec<u8> {
    let algorithm = SignatureAlgorithm::Ed25519.to_identifier().to_der();
    let mut fields = vec![
        write::integer(1),
        algorithm.clone(),
        common_name("CA").unwrap().der().to_vec(),
        write::time(UnixTime(0)),
        write::element(SEQUENCE, entries),
    ];
    fields.extend(extensions.map(|e| write::explicit(0, e)));
    write::seq(&[write::seq(&fields), algorithm, write::bit_string(&[0; 64])])
}

#[test]
fn everything_survives_issuing_and_reading() {
    let (ca, key) = ca();
    let point = IssuingDistributionPoint {
        name: Some(DistributionPointName::Full(vec![GeneralName::Uri(
            "http://crl.example.org/".into(),
        )])),
        only_user_certs: true,
        only_some_reasons: Some(ReasonFlags(0b10)),
        ..IssuingDistributionPoint::default()
    };
    let date = UnixTime(1_700_000_000);
    let crl = builder()
        .number(0x1_0000_0001)
        .revoke(&[5], date, RevocationReason::KeyCompromise)
        .revoke(&[1], UnixTime(2_600_000_000), RevocationReason::Unspecified)
        .revoke(&[0, 0x80], date, RevocationReason::CertificateHold)
        .issuing_distribution_point(&point)
        .issued_by(&ca, &key)
        .unwrap();
    assert_eq!((crl.len(), crl.issuer()), (3, ca.subject()));
    assert_eq!(crl.this_update(), UnixTime(1_800_000_000));
    assert_eq!(crl.next_update(), Some(UnixTime(1_800_600_000)));
    assert_eq!(crl.crl_number(), Ok(Some(&[1, 0, 0, 0, 1][..])));
    assert_eq!(crl.issuing_distribution_point(), Ok(Some(&point)));
    assert_eq!(
        crl.authority_key_id().unwrap().unwrap().key_id.as_deref(),
        ca.subject_key_id().unwrap()
    );
    assert_eq!(
        crl.find(&[5]),
        Some(RevokedEntry {
            date,
            reason: RevocationReason::KeyCompromise,
            invalidity_date: None,
        })
    );
    assert_eq!(crl.find(&[1]).unwrap().date, UnixTime(2_600_000_000));
    assert_eq!(
        crl.find(&[0, 0x80]).unwrap().reason,
        RevocationReason::CertificateHold
    );
    for absent in [&[0x80][..], &[4], &[6], &[], &[0, 5]] {
        assert_eq!(crl.find(absent), None, "{absent:?}");
    }
    assert!(!crl.is_delta() && crl.unknown_critical().is_empty());
    assert_eq!(crl.verify_signature(ca.public_key()), Ok(()));
    let other = SoftKey::generate(KeyType::P256).unwrap();
    assert_eq!(
        crl.verify_signature(other.public_key()),
        Err(VerifyError::BadSignature)
    );
}

#[test]
fn deltas_and_unknown_critical_extensions_show() {
    let (ca, key) = ca();
    let delta = builder().number(3).delta(2).issued_by(&ca, &key).unwrap();
    assert!(delta.is_delta() && delta.is_empty());
    assert_eq!(delta.delta_base(), Ok(Some(&[2][..])));
    let odd = OidBuf::from_dotted("1.2.3").unwrap();
    let list = builder()
        .extension(odd.as_oid(), true, b"")
        .issued_by(&ca, &key)
        .unwrap();
    assert_eq!(list.unknown_critical(), std::slice::from_ref(&odd));
    let one = (odd.as_oid(), true, &b""[..]);
    let mut builder = builder();
    for serial in 1..100 {
        builder = builder.revoke_with(&[serial], UnixTime(0), RevocationReason::Superseded, one);
    }
    let entries = builder.issued_by(&ca, &key).unwrap();
    assert_eq!(entries.unknown_critical(), [odd]);
    assert_eq!(
        entries.find(&[99]).unwrap().reason,
        RevocationReason::Superseded
    );
}

#[test]
fn entries_of_an_indirect_crl_belong_to_their_issuer() {
    let (ca, key) = ca();
    let (other, third) = (common_name("Other").unwrap(), common_name("Third").unwrap());
    let date = UnixTime(0);
    let crl = builder()
        .revoke(&[1], date, RevocationReason::Superseded)
        .revoke_of(&other, &[1], date, RevocationReason::KeyCompromise)
        .revoke(&[2], date, RevocationReason::CaCompromise)
        .revoke_of(&third, &[2], date, RevocationReason::CertificateHold)
        .revoke_of(ca.subject(), &[3], date, RevocationReason::CertificateHold)
        .issued_by(&ca, &key)
        .unwrap();
    let reason =
        |issuer: &Name, serial: u8| crl.find_of(issuer, &[serial]).map(|entry| entry.reason);
    assert_eq!(reason(ca.subject(), 1), Some(RevocationReason::Superseded));
    assert_eq!(reason(&other, 1), Some(RevocationReason::KeyCompromise));
    // The issuer of an entry holds until another is named.
    assert_eq!(reason(&other, 2), Some(RevocationReason::CaCompromise));
    assert_eq!(reason(&third, 2), Some(RevocationReason::CertificateHold));
    assert_eq!(reason(ca.subject(), 2), None);
    assert_eq!(
        reason(ca.subject(), 3),
        Some(RevocationReason::CertificateHold)
    );
    assert_eq!(reason(&third, 1), None);
}

/// An entry with a certificateIssuer.
fn entry_of(serial: i64, issuer: &Name) -> Vec<u8> {
    let name = write::explicit(4, issuer.der());
    write::seq(&[
        write::integer(serial),
        write::time(UnixTime(0)),
        write::seq(&[write::seq(&[
            write::oid(oid::CERTIFICATE_ISSUER),
            write::boolean(true),
            write::octet_string(&write::seq(&[name])),
        ])]),
    ])
}

#[test]
fn issuers_of_entries_are_kept_once_and_bounded() {
    let (one, two) = (common_name("One").unwrap(), common_name("Two").unwrap());
    let entries: Vec<u8> = (0..1000)
        .flat_map(|n| entry_of(n, if n % 2 == 0 { &one } else { &two }))
        .collect();
    let crl = Crl::from_der(&unsigned(&entries, None)).unwrap();
    assert_eq!(crl.0.issuers.len(), 2);
    assert!(crl.find_of(&two, &[7]).is_some() && crl.find_of(&one, &[7]).is_none());
    let many = |count: i64| -> Vec<u8> {
        let long = "x".repeat(4096);
        let name = |n| common_name(&format!("{n} {long}")).unwrap();
        (0..count).flat_map(|n| entry_of(n, &name(n))).collect()
    };
    assert!(Crl::from_der(&unsigned(&many(1500), None)).is_ok());
    assert_eq!(
        Crl::from_der(&unsigned(&many(2000), None)).unwrap_err(),
        CrlError::Malformed("too many issuers of entries")
    );
}

#[test]
fn bad_lists_are_refused() {
    let entry = |parts: &[Vec<u8>]| write::seq(parts);
    let date = write::time(UnixTime(0));
    let reason = |content: &[u8]| {
        write::seq(&[write::seq(&[
            write::oid(oid::CRL_REASON),
            write::octet_string(content),
        ])])
    };
    let good = entry(&[
        write::integer(1),
        date.clone(),
        reason(&write::enumerated(1)),
    ]);
    assert_eq!(Crl::from_der(&unsigned(&good, None)).unwrap().len(), 1);
    for bad in [
        entry(&[write::integer(1)]),
        entry(&[write::element(INTEGER, &[0, 1]), date.clone()]),
        entry(&[write::element(INTEGER, &[]), date.clone()]),
        entry(&[write::integer(1), write::element(UTC_TIME, b"never")]),
        entry(&[write::integer(1), date.clone(), reason(&write::integer(1))]),
        entry(&[
            write::integer(1),
            date.clone(),
            reason(&write::enumerated(1)),
            write::null(),
        ]),
        entry(&[write::integer(1), date.clone(), write::null()]),
        write::null(),
        vec![0x30, 0x80, 0, 0],
    ] {
        assert!(Crl::from_der(&unsigned(&[good.clone(), bad].concat(), None)).is_err());
    }
    // A reason that the standard does not have revokes all the same.
    let odd = entry(&[write::integer(1), date, reason(&write::enumerated(77))]);
    let crl = Crl::from_der(&unsigned(&odd, None)).unwrap();
    assert_eq!(
        crl.find(&[1]).unwrap().reason,
        RevocationReason::Unspecified
    );
    let der = unsigned(&good, None);
    assert!(Crl::from_der(&[&der[..], &[0]].concat()).is_err());
    assert!(Crl::from_der(&der[..der.len() - 1]).is_err());
    let number = write::seq(&[
        write::oid(oid::CRL_NUMBER),
        write::octet_string(&write::integer(-1)),
    ]);
    let crl = Crl::from_der(&unsigned(&good, Some(&write::seq(&[&number[..]])))).unwrap();
    assert_eq!(crl.crl_number().unwrap_err().field, "cRLNumber");
    assert!(Crl::from_der(&unsigned(&good, Some(&write::seq(&[&number[..], &number])))).is_err());
}

#[test]
fn files_of_every_form_read() {
    let (ca, key) = ca();
    let crl = builder().issued_by(&ca, &key).unwrap();
    let pem = crate::pem::encode("X509 CRL", crl.der());
    let mixed = format!("{pem}{}{pem}", crate::pem::encode("CERTIFICATE", ca.der()));
    assert_eq!(
        Crl::from_pem_or_der_many(crl.der()).unwrap(),
        std::slice::from_ref(&crl)
    );
    assert_eq!(
        Crl::from_pem_or_der_many(mixed.as_bytes()).unwrap(),
        [crl.clone(), crl]
    );
    assert_eq!(
        Crl::from_pem_or_der_many(ca.der()).unwrap_err(),
        CrlError::Empty
    );
    assert!(matches!(
        Crl::from_pem_or_der_many(b"-----BEGIN X509 CRL-----\n"),
        Err(CrlError::Pem(_))
    ));
}

/// Entries `0..count` in an order that is not sorted, with serials of up to four octets.
fn large(count: u32) -> Vec<u8> {
    let date = write::time(UnixTime(0));
    let mut entries = Vec::new();
    for index in 0..count {
        let serial = index.wrapping_mul(2_654_435_761) >> 1;
        entries.extend(write::seq(&[
            write::integer(i64::from(serial)),
            date.clone(),
        ]));
    }
    unsigned(&entries, None)
}

#[test]
fn a_million_entries_read_fast_and_are_found() {
    let (half, whole) = (large(500_000), large(1_000_000));
    let read = |der: &[u8]| assert!(!Crl::from_der(der).unwrap().is_empty());
    let (first, second) = (
        testing::cpu_time(5, || read(&half)),
        testing::cpu_time(5, || read(&whole)),
    );
    println!("500,000 entries {first:?}, 1,000,000 entries {second:?}");
    assert!(second.as_secs_f64() < first.as_secs_f64() * 2.5);
    let crl = Crl::from_der(&whole).unwrap();
    assert_eq!(crl.len(), 1_000_000);
    for index in (0..1_000_000_u32).step_by(997) {
        let serial = write::integer(i64::from(index.wrapping_mul(2_654_435_761) >> 1));
        assert!(crl.find(&serial[2..]).is_some());
    }
    assert_eq!(crl.find(&[0x7f, 0xff, 0xff, 0xff, 0xff]), None);
    assert_eq!(size_of::<Entry>(), 16);
}

proptest! {
    #[test]
    fn what_is_revoked_is_found(serials in proptest::collection::btree_set(0_i64..2000, 0..60), asked in 0_i64..2000) {
        let date = write::time(UnixTime(9));
        let mut entries = Vec::new();
        for serial in serials.iter().rev() {
            entries.extend(write::seq(&[write::integer(*serial), date.clone()]));
        }
        let crl = Crl::from_der(&unsigned(&entries, None)).unwrap();
        prop_assert_eq!(crl.find(&write::integer(asked)[2..]).is_some(), serials.contains(&asked));
    }

    #[test]
    fn random_and_mutated_bytes_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let _ = Crl::from_der(&bytes);
        let mut der = large(3);
        let at = at.index(der.len());
        der[at] = value;
        if let Ok(crl) = Crl::from_der(&der) {
            let _ = (crl.find(&[0]), crl.find_of(&common_name("x").unwrap(), &[0]), crl.is_delta());
        }
    }
}

#[test]
fn crls_of_the_suites_read() {
    let Some(files) = testing::data_files(&["pkits", "rfc4134"], &["crl"]) else {
        return;
    };
    let count = files.len();
    for (path, bytes) in files {
        let crls = Crl::from_pem_or_der_many(&bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for crl in crls {
            assert!(crl.this_update() <= crl.next_update().unwrap_or(UnixTime(i64::MAX)));
        }
    }
    println!("{count} files of CRLs");
    assert!(count >= 100);
}
