use proptest::prelude::*;

use super::*;
use crate::oid;
use crate::time::UnixTime;

#[test]
fn the_reader_takes_only_der_lengths() {
    for bad in [
        &[][..],
        &[0x04],
        &[0x04, 0x01],
        &[0x04, 0x81, 0x01, 0x00],
        &[0x04, 0x82, 0x00, 0x80],
        &[0x30, 0x80, 0x00, 0x00],
        &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x04, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[0x1f, 0x1f, 0x00],
        &[0x00, 0x00],
    ] {
        assert!(Reader::new(bad).any().is_err(), "{bad:?}");
    }
}

#[test]
fn values_have_one_form_each() {
    for bad in [&[][..], &[0, 1], &[0xff, 0x80]] {
        assert!(
            Reader::new(&write::element(INTEGER, bad))
                .integer()
                .is_err(),
            "{bad:?}"
        );
    }
    assert_eq!(
        Reader::new(&write::element(INTEGER, &[0, 0x80])).unsigned(),
        Ok(&[0x80][..])
    );
    assert!(Reader::new(&write::integer(-1)).unsigned().is_err());
    assert!(Reader::new(&write::integer(1 << 40)).small().is_err());
    for bad in [&[][..], &[1], &[0, 0]] {
        assert!(
            Reader::new(&write::element(BOOLEAN, bad))
                .boolean()
                .is_err(),
            "{bad:?}"
        );
    }
    for bad in [&[][..], &[1], &[8, 0], &[1, 1], &[7, 0x40]] {
        assert!(
            Reader::new(&write::element(BIT_STRING, bad))
                .bit_string()
                .is_err(),
            "{bad:?}"
        );
    }
    assert!(Reader::new(&[NULL, 1, 0]).null().is_err());
    assert!(
        Reader::new(&write::element(UTC_TIME, b"260101000000+0900"))
            .time()
            .is_err()
    );
}

#[test]
fn an_unexpected_element_is_left_to_read() {
    let bytes = write::integer(5);
    let mut reader = Reader::new(&bytes);
    assert!(reader.boolean().is_err());
    assert_eq!(reader.optional(NULL), Ok(None));
    assert_eq!(reader.small(), Ok(5));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn named_bits_are_minimal() {
    assert_eq!(write::named_bits(0), [BIT_STRING, 1, 0]);
    assert_eq!(write::named_bits(0b1), [BIT_STRING, 2, 7, 0x80]);
    assert_eq!(write::named_bits(0b110_0000), [BIT_STRING, 2, 1, 0x06]);
    assert_eq!(write::named_bits(1 << 8), [BIT_STRING, 3, 7, 0, 0x80]);
    let bytes = write::named_bits(0b1_0010_0001);
    let bits = Reader::new(&bytes).bit_string().unwrap();
    assert_eq!(
        (0..20).filter(|n| bits.bit(*n)).collect::<Vec<_>>(),
        [0, 5, 8]
    );
}

#[test]
fn sets_are_sorted_when_written_and_checked_when_asked() {
    let set = write::set_of(&[write::integer(3), write::null(), write::integer(1)]);
    assert_eq!(set, [SET, 8, 2, 1, 1, 2, 1, 3, 5, 0]);
    assert!(is_der_set_of(&set[2..]));
    assert!(!is_der_set_of(&[2, 1, 3, 2, 1, 1]));
    assert!(is_der(&[SET, 6, 2, 1, 3, 2, 1, 1]));
    assert!(is_der_set_of(&[]));
    assert!(!is_der_set_of(&[0x30, 0x80, 0, 0]));
}

#[test]
fn ber_is_not_der() {
    for bad in [
        &[][..],
        &[0x05, 0x00, 0x00],
        &[0x30, 0x80, 0x00, 0x00],
        &[0x24, 0x03, 0x04, 0x01, 0x61],
        &[0x30, 0x81, 0x00],
        &[0x30, 0x03, 0x01, 0x01, 0x01],
        &[0x30, 0x04, 0x02, 0x02, 0x00, 0x01],
        &[0x30, 0x03, 0x06, 0x01, 0x80],
        &[0x10, 0x00],
    ] {
        assert!(!is_der(bad), "{bad:?}");
    }
    assert!(is_der(&write::seq(&[
        write::explicit(0, &write::oid(oid::SHA256)),
        write::implicit(1, b"x")
    ])));
}

#[test]
fn depth_bombs_are_not_der_and_do_not_overflow_the_stack() {
    let work = || {
        let mut bytes = Vec::new();
        for _ in 0..3000 {
            bytes = write::element(0x30, &bytes);
        }
        assert!(!is_der(&bytes));
        assert!(!is_der(
            &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff].repeat(1_000_000)
        ));
    };
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

proptest! {
    #[test]
    fn what_is_written_reads(
        number in any::<i64>(), octets in proptest::collection::vec(any::<u8>(), 0..300), flag in any::<bool>(),
        seconds in 0_i64..200_000_000_000, text in "\\PC{0,20}", bits in any::<u16>(),
    ) {
        let bytes = write::seq(&[
            write::integer(number),
            write::unsigned(&octets),
            write::octet_string(&octets),
            write::bit_string(&octets),
            write::boolean(flag),
            write::time(UnixTime(seconds)),
            write::utf8_string(&text),
            write::null(),
            write::oid("1.2.840.113549"),
            write::explicit(3, &write::named_bits(bits)),
        ]);
        prop_assert!(is_der(&bytes));
        let mut outer = Reader::new(&bytes);
        let mut reader = outer.sequence().unwrap();
        prop_assert_eq!(outer.finish(), Ok(()));
        let content = reader.integer().unwrap();
        let sign = if content[0] & 0x80 == 0 { 0_i64 } else { -1 };
        prop_assert_eq!(content.iter().fold(sign, |sum, b| (sum << 8) | i64::from(*b)), number);
        let trimmed: Vec<u8> = octets.iter().copied().skip_while(|b| *b == 0).collect();
        prop_assert_eq!(reader.unsigned().unwrap(), &trimmed[..]);
        prop_assert_eq!(reader.octet_string().unwrap(), &octets[..]);
        prop_assert_eq!(reader.bit_string().unwrap().octets().unwrap(), &octets[..]);
        prop_assert_eq!(reader.boolean(), Ok(flag));
        prop_assert_eq!(reader.time(), Ok(UnixTime(seconds)));
        prop_assert_eq!(reader.element(UTF8_STRING).unwrap().content, text.as_bytes());
        prop_assert_eq!(reader.null(), Ok(()));
        prop_assert_eq!(reader.oid().unwrap().to_string(), "1.2.840.113549");
        let named = reader.nested(context_constructed(3)).unwrap().bit_string().unwrap();
        prop_assert_eq!((0_u16..16).filter(|n| named.bit(usize::from(*n))).fold(0, |sum, n| sum | 1 << n), bits);
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = is_der(&bytes);
        let _ = is_der_set_of(&bytes);
        let mut reader = Reader::new(&bytes);
        while let Ok(element) = reader.any() {
            let _ = (element.time(), element.small(), element.boolean(), element.bit_string());
        }
    }
}
