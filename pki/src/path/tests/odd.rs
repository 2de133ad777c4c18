//! Certificates whose form is odd: what sinks a path, and what does not.

use super::*;
use crate::der::{Reader, write};

/// A person's certificate whose version is another, signed again.
fn versioned(ca: &Party, version: i64, change: Change) -> Party {
    let leaf = ca.leaf("Alice", change);
    let mut tbs = Reader::new(leaf.certificate.tbs()).sequence().unwrap();
    tbs.any().unwrap();
    let version = write::explicit(0, &write::integer(version));
    let tbs = write::seq(&[&version[..], tbs.rest()]);
    let algorithm = ca.key.default_algorithm();
    let signature = ca.key.sign(algorithm, &tbs).unwrap();
    let parts = [
        tbs,
        algorithm.to_identifier().to_der(),
        write::bit_string(&signature),
    ];
    let certificate = Certificate::from_der(&write::seq(&parts)).unwrap();
    Party {
        certificate,
        key: leaf.key,
    }
}

#[test]
fn extensions_before_version_3_fail_the_path() {
    let root = Party::root("Root");
    let ca = root.ca("CA", same);
    for (version, good) in [(2, true), (1, false), (0, false)] {
        let leaf = versioned(&ca, version, person);
        let end = find(&leaf, &[&ca], &root, &off());
        if good {
            end.unwrap();
        } else {
            fails(end, PathErrorKind::Invalid, "before version 3");
        }
    }
}

#[test]
fn a_distribution_point_that_does_not_read_fails_the_path_only_where_it_is_critical() {
    let root = Party::root("Root");
    for critical in [false, true] {
        let leaf = root.leaf("Alice", |b| {
            person(b).extension(oid::CRL_DISTRIBUTION_POINTS, critical, b"\x05\x00")
        });
        let end = find(&leaf, &[], &root, &off());
        if critical {
            fails(end, PathErrorKind::Invalid, "cRLDistributionPoints");
        } else {
            end.unwrap();
        }
    }
}

#[test]
fn a_serial_number_of_more_than_twenty_octets_fails_the_path() {
    let root = Party::root("Root");
    for (serial, good) in [
        (&[0x7f; 20][..], true),
        // Twenty-one in DER.
        (&[0xff; 20][..], true),
        (&[0x7f; 21][..], false),
        (&[0x01; 24][..], false),
        (&[0][..], true),
    ] {
        let ca = root.ca("CA", same);
        let leaf = ca.leaf("Alice", |b| person(b).serial(serial));
        let odd = root.ca("CA", |b| b.serial(serial));
        let below = odd.leaf("Alice", person);
        for end in [
            find(&leaf, &[&ca], &root, &off()),
            find(&below, &[&odd], &root, &off()),
        ] {
            match good {
                true => assert!(end.is_ok(), "{serial:?}"),
                false => fails(end, PathErrorKind::Invalid, "serial number"),
            }
        }
    }
}
