//! Certificates whose form is odd: what does not read, and what of it sinks the rest.

use super::*;

#[test]
fn versions_beyond_3_are_refused() {
    let key = key();
    let old = builder(&key)
        .mail(&["a@b.c"])
        .version_1()
        .self_signed(&key)
        .unwrap();
    assert_eq!((old.version(), old.extensions().len()), (1, 0));
    assert_eq!(old.verify_signature(key.public_key()), Ok(()));
    let new = builder(&key).self_signed(&key).unwrap();
    let version = |number| {
        with_tbs(&new, |mut fields| {
            fields[0] = write::explicit(0, &write::integer(number));
            fields
        })
    };
    // Extensions before version 3 are for path validation to refuse.
    for (number, expect) in [(0, 1), (1, 2), (2, 3)] {
        let certificate = Certificate::from_der(&version(number)).unwrap();
        assert_eq!(certificate.version(), expect);
    }
    for bad in [3, -1, 256] {
        assert!(Certificate::from_der(&version(bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_same_extension_twice_is_an_error() {
    let key = key();
    let twice = builder(&key).mail(&["a@b.c"]).mail(&["victim@b.c"]);
    let der = twice
        .sign_der(&common_name("CA").unwrap(), b"id", &key)
        .unwrap();
    assert_eq!(
        Certificate::from_der(&der).unwrap_err(),
        CertificateError::Malformed("the same extension twice")
    );
}

#[test]
fn lists_that_would_take_much_memory_are_not_read() {
    let key = key();
    let certificate = |builder: CertificateBuilder| {
        let der = builder.sign_der(&common_name("CA").unwrap(), b"id", &key);
        Certificate::from_der(&der.unwrap())
    };
    let uri = [0x86, 0];
    let names = write::element(0xa0, &write::element(0xa0, &uri.repeat(1999)));
    let point = write::seq(&[names]);
    for (count, good) in [(1, true), (2, false)] {
        let points = write::seq(&vec![point.clone(); count]);
        let builder = builder(&key).extension(oid::CRL_DISTRIBUTION_POINTS, false, &points);
        let found = certificate(builder).unwrap();
        assert_eq!(found.crl_distribution_points().is_ok(), good, "{count}");
    }
    let directory = GeneralName::Directory(common_name("x").unwrap());
    for (count, good) in [(2000, true), (2001, false)] {
        let builder = builder(&key).subject_alt_names(&vec![directory.clone(); count]);
        let found = certificate(builder).unwrap();
        assert_eq!(found.subject_alt_names().is_ok(), good, "{count}");
    }
    let long = builder(&key).extension(oid::SUBJECT_INFO_ACCESS, false, &[0; 256 * 1024]);
    assert!(certificate(long).is_err());
}

#[test]
fn a_critical_flag_of_ber_is_read_as_critical() {
    let key = key();
    let good = builder(&key)
        .extension(oid::SUBJECT_INFO_ACCESS, true, b"")
        .self_signed(&key)
        .unwrap();
    let der = good.der();
    let flag = [oid::SUBJECT_INFO_ACCESS.content(), &[1, 1, 0xff]].concat();
    let at = der.windows(flag.len()).position(|w| w == flag).unwrap() + flag.len() - 1;
    for (octet, critical) in [(0xff, true), (1, true), (0, false)] {
        let mut der = der.to_vec();
        der[at] = octet;
        let odd = Certificate::from_der(&der).unwrap();
        assert_eq!(
            odd.unknown_critical().len(),
            usize::from(critical),
            "{octet}"
        );
    }
}

#[test]
fn one_bad_field_does_not_sink_the_certificate() {
    let key = key();
    let bad = builder(&key)
        .extension(oid::SUBJECT_ALT_NAME, false, b"\x30\x03\x81\x01\x00")
        .extension(oid::KEY_USAGE, true, b"\x05\x00")
        .extension(oid::BASIC_CONSTRAINTS, true, b"\x30\x80\x00\x00")
        .self_signed(&key)
        .unwrap();
    assert_eq!(bad.addresses().unwrap_err().what, "NUL in a name");
    assert_eq!(bad.key_usage().unwrap_err().field, "keyUsage");
    assert!(bad.basic_constraints().is_err());
    assert_eq!(bad.subject().to_string(), "CN=Alice");
    let der = with_tbs(&bad, |mut fields| {
        fields[4] = write::seq(&[
            write::element(0x17, b"2501010000Z"),
            write::time(UnixTime(1)),
        ]);
        fields
    });
    let odd = Certificate::from_der(&der).unwrap();
    assert_eq!(odd.not_before().unwrap_err().field, "notBefore");
    assert_eq!(odd.not_after(), Ok(UnixTime(1)));
    assert_eq!(
        odd.verify_signature(key.public_key()),
        Err(VerifyError::BadSignature)
    );
}
