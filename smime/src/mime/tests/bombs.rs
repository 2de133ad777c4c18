//! Caps, and text that is quadratic in some reader.

use super::*;

fn nested_multiparts(depth: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    for level in 0..depth {
        if level > 0 {
            raw.extend(format!("--b{}x\r\n", level - 1).into_bytes());
        }
        raw.extend(
            format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n").into_bytes(),
        );
    }
    raw
}

fn flat_parts(parts: usize) -> Vec<u8> {
    let mut raw = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n".to_vec();
    raw.extend(b"--a\r\n\r\n".repeat(parts));
    raw
}

#[test]
fn caps_hold_exactly() {
    let limits = Limits::default();
    assert!(tree(&nested_multiparts(limits.mime_depth - 1)).is_ok());
    assert!(tree(&nested_multiparts(limits.mime_depth)).is_ok());
    assert_eq!(
        tree(&nested_multiparts(limits.mime_depth + 1)).unwrap_err(),
        Defect::LimitMime
    );
    // The multipart itself is a part too.
    assert!(tree(&flat_parts(limits.mime_parts - 2)).is_ok());
    assert!(tree(&flat_parts(limits.mime_parts - 1)).is_ok());
    assert_eq!(
        tree(&flat_parts(limits.mime_parts)).unwrap_err(),
        Defect::LimitMime
    );
}

/// Every bomb that is quadratic in some reader; a quadratic one here would not end in a test's time.
#[test]
fn bombs_cost_linear_time() {
    assert!(tree(&nested_multiparts(10_000)).is_err());
    assert!(tree(&flat_parts(1_000_000)).is_err());
    let mut embedded = b"Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert_eq!(tree(&embedded).unwrap_err(), Defect::LimitMime);
    embedded.truncate(31 * 40);
    assert!(tree(&embedded).is_ok());

    let long = "b".repeat(100_000);
    let mut raw = format!("Content-Type: multipart/mixed; boundary={long}\r\n\r\n").into_bytes();
    raw.extend(format!("--{long}\r\n").repeat(100).into_bytes());
    assert_eq!(tree(&raw).unwrap().parts.len(), 1);
    assert!(check_boundary(&tree(&raw).unwrap().parts[0].content_type).is_err());

    for line in ["--a--a", "\r\n--", "\r\n--a", "\n--ab\n", "\r\n--a--   x"] {
        let mut raw = b"Content-Type: multipart/signed; boundary=a\r\n\r\n".to_vec();
        raw.extend(line.repeat(4_000_000 / line.len()).into_bytes());
        let _ = tree(&raw);
        let _ = split_signed(&raw, 0..raw.len(), b"a");
    }

    let mut deep = nested_multiparts(49);
    deep.extend(b"\n--b".repeat(1_000_000));
    assert!(tree(&deep).is_ok());

    let mut breaks = b"AAAA\r\n".to_vec();
    breaks.extend(b"\r\n".repeat(10_000_000));
    assert_eq!(decode(&breaks, TransferEncoding::Base64).unwrap().len(), 3);

    let mut value = b"multipart/signed".to_vec();
    for number in 0..100_000 {
        value.extend(format!("; boundary*{number}=a").into_bytes());
    }
    let parsed = ContentType::parse(&value);
    assert!(parsed.odd && check_boundary(&parsed).is_err());
    let comments = format!("text/plain {}", "(".repeat(1_000_000));
    assert!(ContentType::parse(comments.as_bytes()).odd);

    let fields = b"a:\n".repeat(1_000_000);
    assert_eq!(super::fields(&fields).count(), 1_000_000);
    let junk = b"x\n".repeat(1_000_000);
    assert_eq!(super::fields(&junk).count(), 0);
    let folds = [b"a: b\n".to_vec(), b" \n".repeat(1_000_000)].concat();
    assert_eq!(super::fields(&folds).count(), 1);
}
