//! Transfer encodings.

use std::borrow::Cow;

use super::*;

#[test]
fn transfer_encodings_decode_strictly() {
    let base64 =
        |text: &str| decode(text.as_bytes(), TransferEncoding::Base64).map(Cow::into_owned);
    assert_eq!(base64("aGVs\r\n bG8=\r\n\r\n").unwrap(), b"hello");
    assert_eq!(base64("").unwrap(), b"");
    for bad in [
        "aGVsbG8",
        "aGVs*bG8=",
        "aGVsbG8=aGVsbG8=",
        "aGVs\x0cbG8=",
        "aGVsbG8=\r\n-- \r\nfooter",
        "=",
        "a===",
        "aGVsbG8===",
    ] {
        assert!(base64(bad).is_err(), "{bad:?}");
    }
    let quoted = |text: &str| {
        decode(text.as_bytes(), TransferEncoding::QuotedPrintable).map(Cow::into_owned)
    };
    assert_eq!(quoted("a=3D=\r\nb=0d=0A").unwrap(), b"a=b\r\n");
    for bad in ["=", "=3", "=zz", "a \r\nb", "a= \r\n", "a\t"] {
        assert!(quoted(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        decode(b"x", TransferEncoding::parse(b" 8BIT ")).unwrap(),
        Cow::Borrowed(b"x")
    );
    assert!(decode(b"x", TransferEncoding::parse(b"x-uuencode")).is_err());
    assert_eq!(
        TransferEncoding::parse(b" Base64\r\n"),
        TransferEncoding::Base64
    );
}

#[test]
fn base64_is_decoded_block_by_block_as_a_whole() {
    let bytes: Vec<u8> = (0..200_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let base64 =
        |text: &str| decode(text.as_bytes(), TransferEncoding::Base64).map(Cow::into_owned);
    for width in [64, 76, 77, 1000, 100_000] {
        let text = base64_simd::STANDARD.encode_to_string(&bytes);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(width)
            .map(|line| str::from_utf8(line).unwrap())
            .collect();
        let text = lines.join("\r\n");
        assert_eq!(base64(&text).unwrap(), bytes, "{width}");
        assert_eq!(
            base64(&format!("{text}\r\n\r\n")).unwrap(),
            bytes,
            "{width}"
        );
        assert!(
            base64(&format!("{text}\r\nAAAA\r\n")).is_err(),
            "after padding, {width}"
        );
        assert!(base64(&text[..text.len() - 1]).is_err(), "cut, {width}");
    }
    // Padding at the very end of a block.
    for tail in ["AAAA", "=", "-- \r\n", "\r\nAA=="] {
        let padded = format!("{}AA==\r\n", "A".repeat(32 * 1024 - 4));
        assert!(base64(&padded).is_ok());
        assert!(base64(&format!("{padded}{tail}")).is_err(), "{tail}");
    }
}
