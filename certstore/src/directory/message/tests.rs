use super::*;
use crate::directory::Filter;

/// SearchResultDone number 2 with this code.
fn done(code: u8) -> Vec<u8> {
    message(2, &result(0x65, code))
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    let parts = [
        write::enumerated(i64::from(code)),
        write::octet_string(b""),
        write::octet_string(b"so\r\nbe it"),
    ];
    write::element(tag, &write::concat(&parts))
}

fn entry_of(values: &[&[u8]]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|one| write::octet_string(one)).collect();
    let attribute = write::seq(&[
        write::octet_string(b"userCertificate;binary"),
        write::element(0x31, &write::concat(&values)),
    ]);
    let parts = [write::octet_string(b"cn=x"), write::seq(&[attribute])];
    message(2, &write::element(0x64, &write::concat(&parts)))
}

/// What OpenLDAP's own tools send.
#[test]
fn requests_are_those_of_the_standard() {
    assert_eq!(
        message(1, &start_tls()),
        b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
    );
    assert_eq!(
        message(1, &bind("cn=a", b"secret")),
        b"\x30\x16\x02\x01\x01\x60\x11\x02\x01\x03\x04\x04cn=a\x80\x06secret"
    );
    let question = Question {
        base: "o=x",
        scope: Scope::Sub,
        filter: Filter::Present("objectClass".to_owned()),
        attributes: &["1.1".to_owned()],
        size_limit: 16,
        time_limit: 3,
    };
    assert_eq!(
        message(2, &search(&question)),
        b"\x30\x2d\x02\x01\x02\x63\x28\x04\x03o=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x10\x02\x01\x03\
          \x01\x01\x00\x87\x0bobjectClass\x30\x05\x04\x031.1"
    );
}

#[test]
fn answers_are_read() {
    let (id, reply) = read(&entry_of(&[b"one", b"two"])).unwrap();
    let attribute = Attribute {
        name: "userCertificate;binary".to_owned(),
        values: vec![b"one".to_vec(), b"two".to_vec()],
    };
    assert_eq!((id, reply), (2, Reply::Entry(vec![attribute])));
    let Reply::Done(outcome) = read(&done(32)).unwrap().1 else {
        panic!("no result");
    };
    assert_eq!(outcome.code, 32);
    // Nothing of the server's can end a line of ours.
    assert_eq!(outcome.text, "so\\r\\nbe it");
    let error = outcome.success("the search").unwrap_err().to_string();
    assert!(error.contains("noSuchObject (32)"), "{error}");
    let (_, reply) = read(&message(1, &result(0x78, 0))).unwrap();
    assert!(matches!(reply, Reply::Extended(Outcome { code: 0, .. })));
    let (_, reply) = read(&message(1, &result(0x61, 49))).unwrap();
    assert!(matches!(reply, Reply::Bound(Outcome { code: 49, .. })));
    let (_, reply) = read(&message(3, &write::element(0x73, b""))).unwrap();
    assert_eq!(reply, Reply::Reference);
}

/// Active Directory writes four octets of length everywhere.
#[test]
fn lengths_need_not_be_minimal() {
    let long = |tag: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    };
    let parts = write::concat(&[
        write::enumerated(0),
        write::octet_string(b""),
        write::octet_string(b""),
    ]);
    let bytes = long(
        0x30,
        &write::concat(&[write::integer(5), long(0x65, &parts)]),
    );
    assert_eq!(end(&bytes, 1000).unwrap(), Some(bytes.len()));
    let (id, reply) = read(&bytes).unwrap();
    assert_eq!(id, 5);
    assert!(matches!(reply, Reply::Done(Outcome { code: 0, .. })));
}

#[test]
fn a_message_ends_where_it_says() {
    let whole = entry_of(&[&[7; 300]]);
    let two = [whole.clone(), done(0)].concat();
    for cut in 0..whole.len() {
        assert_eq!(end(&two[..cut], 1000).unwrap(), None, "{cut}");
    }
    for cut in whole.len()..two.len() {
        assert_eq!(end(&two[..cut], 1000).unwrap(), Some(whole.len()), "{cut}");
    }
}

#[test]
fn what_is_no_message_or_too_long_is_refused_at_its_head() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"\x16\x03\x01",
        b"\x30\x80",
        b"\x30\x89\x01",
        b"\x30\xff",
    ] {
        let error = end(bytes, 1000).unwrap_err();
        assert!(matches!(error, DirectoryError::Malformed(_)), "{bytes:?}");
    }
    for bytes in [
        &b"\x30\x82\x04\x00"[..],
        b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let error = end(bytes, 1000).unwrap_err();
        assert!(matches!(error, DirectoryError::TooLarge(1000)), "{bytes:?}");
    }
}

/// Nobody's stack may depend on a stranger's nesting.
#[test]
fn deep_nesting_is_refused() {
    let mut nested = Vec::new();
    for _ in 0..2000 {
        nested = write::element(0x30, &nested);
    }
    let error = read(&message(2, &write::element(0x64, &nested))).unwrap_err();
    assert!(matches!(error, DirectoryError::TooMany), "{error}");
}

/// Each prefix and each changed octet is an answer or an error, never a panic.
#[test]
fn broken_answers_are_errors() {
    for whole in [entry_of(&[b"one", &[9; 200]]), done(0)] {
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                let _ = read(&changed);
                let _ = end(&changed, 1000);
            }
        }
    }
    for bytes in [
        message(2, b""),
        message(2, b"\x05\x00"),
        message(2, &write::element(0x45, b"")),
        message(2, &write::element(0x65, b"")),
        message(2, &write::element(0x64, &write::octet_string(b"cn=x"))),
        message(2, &write::element(0x6f, b"")),
        write::seq(&[write::octet_string(b"2"), result(0x65, 0)]),
        // A code of five octets, and a text in segments.
        message(
            2,
            &write::element(0x65, b"\x0a\x05\x00\x00\x00\x00\x00\x04\x00\x04\x00"),
        ),
        message(
            2,
            &write::element(0x65, b"\x0a\x01\x00\x04\x00\x24\x02\x04\x00"),
        ),
    ] {
        assert!(read(&bytes).is_err(), "{bytes:02x?}");
    }
}
