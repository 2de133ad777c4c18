//! What holds of any text: ranges nest, splits partition, nothing panics.

use proptest::prelude::*;

use super::*;

/// Text that is dense in what matters to the reader.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just("--a"),
        Just("--ab"),
        Just("--a--"),
        Just("--b"),
        Just("--"),
        Just(" "),
        Just("\t"),
        Just("text"),
        Just(":"),
        Just("\r\n\r\n"),
        Just("\r\n--a\r\n"),
        Just("\r\n--b\r\n"),
        Just("\r\n--b--\r\n"),
        Just("\r\n--a--\r\n"),
        Just("Content-Type: multipart/signed; boundary=a\r\n\r\n"),
        Just("Content-Type: multipart/mixed; boundary=b\r\n\r\n"),
        Just("Content-Type: message/rfc822\r\n\r\n"),
        Just("X: y\r\n"),
        Just("\"("),
        Just("\0"),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn parts_lie_inside_their_parents_and_beside_each_other(raw in mail()) {
        let tree = tree(&raw).unwrap();
        for (index, part) in tree.parts.iter().enumerate() {
            prop_assert!(part.whole.start <= part.whole.end && part.whole.end <= raw.len());
            prop_assert!(part.body().start <= part.body().end);
            if let Some(parent) = part.parent {
                prop_assert!(parent < index);
                let parent = &tree.parts[parent];
                prop_assert!(parent.whole.start <= part.whole.start);
                prop_assert!(part.whole.end <= parent.whole.end);
                prop_assert!(parent.children.contains(&index));
            } else {
                prop_assert_eq!(index, 0);
            }
            for pair in part.children.windows(2) {
                prop_assert!(tree.parts[pair[0]].whole.end <= tree.parts[pair[1]].whole.start);
            }
        }
    }

    #[test]
    fn a_strict_split_partitions_the_body(raw in mail()) {
        if let Ok(split) = split_signed(&raw, 0..raw.len(), b"a") {
            prop_assert!(split.content.start <= split.content.end);
            prop_assert!(split.content.end < split.signature.start);
            prop_assert!(split.signature.start <= split.signature.end);
            prop_assert!(split.signature.end < raw.len());
            // Between the parts stands one delimiter line and nothing else.
            let between = &raw[split.content.end..split.signature.start];
            let between = std::str::from_utf8(between).unwrap();
            prop_assert_eq!(between.trim(), "--a");
        }
    }

    #[test]
    fn header_spans_partition_the_header(raw in mail()) {
        let mut fields = fields(&raw);
        let mut at = 0;
        for field in fields.by_ref() {
            prop_assert!(field.whole.start >= at && field.whole.end <= raw.len());
            prop_assert!(field.name.start == field.whole.start && !field.name.is_empty());
            at = field.whole.end;
        }
        prop_assert!(fields.body() >= at && fields.body() <= raw.len());
    }

    #[test]
    fn any_bytes_are_read_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = tree(&raw);
        let _ = ContentType::parse(&raw);
        let _ = split_signed(&raw, 0..raw.len(), b"a");
        let _ = decode(&raw, TransferEncoding::Base64);
        let _ = decode(&raw, TransferEncoding::QuotedPrintable);
    }

    #[test]
    fn base64_survives_line_ends_anywhere(bytes in proptest::collection::vec(any::<u8>(), 0..200), width in 1_usize..80) {
        let text = base64_simd::STANDARD.encode_to_string(&bytes);
        let lines: Vec<_> = text.as_bytes().chunks(width).map(<[u8]>::to_vec).collect();
        let decoded = decode(&lines.join(&b"\r\n"[..]), TransferEncoding::Base64).unwrap().into_owned();
        prop_assert_eq!(decoded, bytes);
    }
}
