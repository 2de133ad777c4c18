//! Canonical line ends (RFC 8551 §3.1.1): every line ends with CRLF.
//!
//! Text that already is canonical is passed on where it lies; other text goes through a small buffer. A
//! bare CR is content, not a line end.

use std::borrow::Cow;

/// How much is looked at before stopping, and converted in one go.
const BLOCK: usize = 4096;
/// The last of ASCII, a control.
const DELETE: u8 = 0x7f;

/// Whether some line feed has no carriage return before it. Runs over every signed byte.
#[must_use]
pub fn has_bare_lf(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else {
        return false;
    };
    let blocks = bytes.chunks(BLOCK).zip(rest.chunks(BLOCK));
    *first == b'\n'
        || blocks.into_iter().any(|(before, block)| {
            // No way out inside a block, so that the compiler makes vector code of it.
            let found = before
                .iter()
                .zip(block)
                .fold(0_u8, |found, (before, byte)| {
                    found | (u8::from(*byte == b'\n') & u8::from(*before != b'\r'))
                });
            found != 0
        })
}

/// Whether every line feed has a carriage return before it, and every carriage return a line feed behind it.
#[must_use]
pub fn has_only_crlf(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else {
        return true;
    };
    let mut blocks = bytes.chunks(BLOCK).zip(rest.chunks(BLOCK));
    *first != b'\n'
        && bytes.last() != Some(&b'\r')
        && blocks.all(|(before, block)| {
            let pairs = before.iter().zip(block);
            // As above.
            let found = pairs.fold(0_u8, |found, (before, byte)| {
                found | (u8::from(*before == b'\r') ^ u8::from(*byte == b'\n'))
            });
            found == 0
        })
}

/// Whether all octets are of ASCII, and none a control but for the tab and those of line ends.
pub(crate) fn is_printed(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).all(|block| {
        // As above.
        let found = block.iter().fold(0_u8, |found, octet| {
            let is_control =
                (*octet < b' ') & (*octet != b'\t') & (*octet != b'\r') & (*octet != b'\n');
            found | u8::from(is_control | (*octet >= DELETE))
        });
        found == 0
    })
}

/// Feeds the canonical form of `bytes` to `sink`: in one piece and as it is where it is canonical.
///
/// Returns whether a line end had to be converted.
pub fn feed(bytes: &[u8], mut sink: impl FnMut(&[u8])) -> bool {
    if !has_bare_lf(bytes) {
        sink(bytes);
        return false;
    }
    convert(bytes, sink);
    true
}

/// Feeds the canonical form in blocks: text of line feeds only would come in very many pieces.
pub(crate) fn convert(bytes: &[u8], mut sink: impl FnMut(&[u8])) {
    let mut buffer = Vec::with_capacity(2 * BLOCK);
    let mut last = None;
    for block in bytes.chunks(BLOCK) {
        buffer.clear();
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', block) {
            let before = match at.checked_sub(1) {
                Some(before) => block.get(before).copied(),
                None => last,
            };
            if before != Some(b'\r') {
                buffer.extend_from_slice(block.get(start..at).unwrap_or_default());
                buffer.extend_from_slice(b"\r\n");
                start = at + 1;
            }
        }
        buffer.extend_from_slice(block.get(start..).unwrap_or_default());
        sink(&buffer);
        last = block.last().copied();
    }
}

/// The canonical form: the text itself where it is that. For signers; verification uses [`feed`].
#[must_use]
pub fn form(bytes: &[u8]) -> Cow<'_, [u8]> {
    match has_bare_lf(bytes) {
        true => Cow::Owned(to_crlf(bytes)),
        false => Cow::Borrowed(bytes),
    }
}

/// The canonical form as an owned copy.
#[must_use]
pub fn to_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 40);
    feed(bytes, |piece| out.extend_from_slice(piece));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_line_feeds_become_crlf_and_nothing_else_changes() {
        assert_eq!(to_crlf(b"a\nb\r\nc\rd\n\n"), b"a\r\nb\r\nc\rd\r\n\r\n");
        assert_eq!(to_crlf(b"\n"), b"\r\n");
        assert_eq!(to_crlf(b"a\r\r\nb  \r\n"), b"a\r\r\nb  \r\n");
        assert!(!feed(b"a\r\nb", |_| ()));
        assert!(feed(b"\n", |_| ()));
    }

    #[test]
    fn canonical_text_is_passed_on_in_one_piece() {
        let text = b"line\r\n".repeat(5000);
        let mut pieces = 0;
        feed(&text, |piece| {
            pieces += 1;
            assert_eq!(piece.as_ptr(), text.as_ptr());
        });
        assert_eq!(pieces, 1);
    }

    fn naive(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' && (i == 0 || bytes[i - 1] != b'\r') {
                out.push(b'\r');
            }
            out.push(byte);
        }
        out
    }

    /// A line end that is cut by the edge of a block is seen whole, and one octet of it alone.
    #[test]
    fn no_edge_of_a_block_hides_a_line_end() {
        for at in [
            0,
            1,
            BLOCK - 2,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            2 * BLOCK - 1,
            2 * BLOCK,
        ] {
            let with = |octets: &[u8]| {
                let mut text = vec![b'x'; 2 * BLOCK + 2];
                text[at..at + octets.len()].copy_from_slice(octets);
                text
            };
            let right = with(b"\r\n");
            assert!(has_only_crlf(&right) && !has_bare_lf(&right) && is_printed(&right));
            assert!(!has_only_crlf(&right[..=at]), "{at}");
            assert!(
                has_only_crlf(&right[..at + 2]) && has_only_crlf(&right[..at]),
                "{at}"
            );
            for wrong in [&b"\r"[..], b"\n", b"\n\r"] {
                assert!(!has_only_crlf(&with(wrong)), "{at} {wrong:?}");
                assert_eq!(has_bare_lf(&with(wrong)), wrong != b"\r", "{at} {wrong:?}");
            }
            for dropped in [0, 0x1b, DELETE, 0x80, 0xff] {
                assert!(!is_printed(&with(&[dropped])), "{at} {dropped}");
            }
            assert!(is_printed(&with(b"\t~")) && is_printed(&[]) && has_only_crlf(&[]));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_way(bytes in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..9000))
        {
            prop_assert_eq!(has_bare_lf(&bytes), naive(&bytes) != bytes);
            prop_assert_eq!(to_crlf(&bytes), naive(&bytes));
            prop_assert_eq!(&*form(&bytes), naive(&bytes));
        }

        /// In text that is right but for one octet somewhere, or for none.
        #[test]
        fn one_octet_in_a_wrong_place_is_found(lines in 0..1500_usize, at in any::<proptest::sample::Index>(),
            octet in any::<u8>())
        {
            let mut bytes = b"line\r\n".repeat(lines);
            if let Some(place) = (!bytes.is_empty()).then(|| at.index(bytes.len())) {
                bytes[place] = octet;
            }
            let crlf = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "");
            prop_assert_eq!(has_only_crlf(&bytes), !crlf(&bytes).contains(['\r', '\n']));
            let dropped = |octet: &u8| octet.is_ascii_control() && !b"\t\r\n".contains(octet);
            prop_assert_eq!(is_printed(&bytes), bytes.is_ascii() && !bytes.iter().any(dropped));
        }

        #[test]
        fn is_idempotent(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let once = to_crlf(&bytes);
            prop_assert_eq!(to_crlf(&once), once);
        }
    }
}
