//! PEM (RFC 7468): finding the blocks of a file. Text around blocks is ignored, a broken block is an error.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands between `BEGIN` and the dashes.
    pub label: String,
    /// The decoded bytes.
    pub bytes: Vec<u8>,
}

impl Block {
    /// Whether it is labelled as a CMS object.
    #[must_use]
    pub fn is_cms(&self) -> bool {
        CMS_LABELS.contains(&self.label.as_str())
    }
}

/// Labels of CMS objects: that of RFC 7468 §9, those of older programs, and those of gpgsm.
pub const CMS_LABELS: [&str; 5] = [
    "CMS",
    "PKCS7",
    "PKCS #7 SIGNED DATA",
    "SIGNED MESSAGE",
    "ENCRYPTED MESSAGE",
];

/// Why text with PEM lines does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad PEM in line {line}: {what}")]
pub struct PemError {
    /// What is wrong.
    pub what: &'static str,
    /// Where, from 1.
    pub line: usize,
}

/// All blocks in order; text around them is ignored, and so are private keys in the sealed form of
/// RFC 1421. Empty if there is no `-----BEGIN` line.
pub fn decode(bytes: &[u8]) -> Result<Vec<Block>, PemError> {
    // Editors on Windows put a byte order mark before the first line.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &[u8], Vec<u8>)> = None;
    let mut sealed = false;
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let error = |what| PemError {
            what,
            line: index + 1,
        };
        let line = line.trim_ascii();
        match (&mut open, marker(line)) {
            (None, Some((true, label))) => open = Some((index + 1, label, Vec::new())),
            (None, _) => {}
            (Some(_), Some((true, _))) => return Err(error("a block begins inside another")),
            (Some((begin, label, text)), Some((false, end))) => {
                if *label != end {
                    return Err(error("the end has another label than the beginning"));
                }
                if std::mem::take(&mut sealed) {
                    open = None;
                    continue;
                }
                let bytes = BASE64.decode(&text).map_err(|_| PemError {
                    what: "not base64",
                    line: *begin,
                })?;
                blocks.push(Block {
                    label: String::from_utf8_lossy(label).into_owned(),
                    bytes,
                });
                open = None;
            }
            // RFC 1421 header fields (`Proc-Type: 4,ENCRYPTED`) mean content that is not the bare
            // object. They are usual in private keys, which nobody here reads.
            (Some((_, label, text)), None) if line.contains(&b':') => {
                if !label.ends_with(b"PRIVATE KEY") {
                    return Err(error("header field inside a block"));
                }
                sealed = true;
                text.clear();
            }
            (Some((_, _, text)), None) => {
                text.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
            }
        }
    }
    match open {
        Some((line, ..)) => Err(PemError {
            what: "the block does not end",
            line,
        }),
        None => Ok(blocks),
    }
}

/// Writes one block.
#[must_use]
pub fn encode(label: &str, bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Is this a boundary line: does it begin a block, and its label.
fn marker(line: &[u8]) -> Option<(bool, &[u8])> {
    let inner = line.strip_prefix(b"-----")?.strip_suffix(b"-----")?;
    match inner.strip_prefix(b"BEGIN ") {
        Some(label) => Some((true, label)),
        None => inner.strip_prefix(b"END ").map(|label| (false, label)),
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_among_other_text() {
        let text = "subject=x\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\n-----END CERTIFICATE-----\r\nmore\n\
                    -----BEGIN X509 CRL-----\nBA==\n-----END X509 CRL-----";
        let blocks = decode(text.as_bytes()).unwrap();
        let seen: Vec<_> = blocks
            .iter()
            .map(|b| (b.label.as_str(), b.bytes.as_slice()))
            .collect();
        assert_eq!(seen, [("CERTIFICATE", &[1, 2, 3][..]), ("X509 CRL", &[4])]);
    }

    #[test]
    fn a_byte_order_mark_hides_no_block() {
        let text = "\u{feff}-----BEGIN A-----\nAQID\n-----END A-----\n";
        assert_eq!(decode(text.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn broken_blocks_are_told_with_their_line() {
        for (text, line) in [
            ("-----BEGIN A-----\nAQID\n", 1),
            ("\n-----BEGIN A-----\n!!\n-----END A-----\n", 2),
            ("-----BEGIN A-----\n-----END B-----\n", 2),
            ("-----BEGIN A-----\n-----BEGIN B-----\n", 2),
            ("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n", 2),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap_err().line, line, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("TEST", &bytes);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            prop_assert_eq!(decode(text.as_bytes()).unwrap(), vec![Block { label: "TEST".into(), bytes }]);
        }

        #[test]
        fn random_text_does_not_panic(text in "(-----(BEGIN|END) A-----|[A-Za-z=\\n: ]{0,20}|\\n){0,20}") {
            let _ = decode(text.as_bytes());
        }
    }
}
