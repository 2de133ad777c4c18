//! MIME over raw bytes: fields, types, parts, transfer encodings (RFC 2045, 2046, 5322).
//!
//! Everything is a range of the input; nothing is decoded unless it is a CMS object, and nothing is
//! re-built. Reading is lenient where only a hint depends on it, and strict where a signature does:
//! what two readers could split differently is reported as ambiguous. No recursion, one pass.

mod content_type;
mod header;
mod multipart;
mod transfer;
mod tree;

#[cfg(test)]
mod tests;

pub use content_type::{ContentType, Parameter};
pub use header::{Fields, fields};
pub use multipart::{SignedSplit, split_signed};
pub use transfer::{TransferEncoding, decode};

pub(crate) use header::Header;
pub(crate) use multipart::check_boundary;
pub(crate) use tree::{Part, PartKind, Tree};

use std::ops::Range;

/// The bytes of a range; empty where the range is out of bounds.
pub(crate) fn slice(raw: &[u8], range: Range<usize>) -> &[u8] {
    raw.get(range).unwrap_or_default()
}

/// End of the line that holds `at`: just after its line feed, or `end`.
pub(crate) fn line_end(raw: &[u8], at: usize, end: usize) -> usize {
    memchr::memchr(b'\n', slice(raw, at..end)).map_or(end, |found| at + found + 1)
}

/// The end of a part whose delimiter line starts at `delimiter`: the line end before it belongs to
/// the delimiter (RFC 2046 §5.1.1).
pub(crate) fn before_delimiter(raw: &[u8], start: usize, delimiter: usize) -> usize {
    let text = slice(raw, start..delimiter);
    let cut = match text {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    delimiter.saturating_sub(cut).max(start)
}

/// What follows `--boundary` on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing but white space: a delimiter.
    Delimiter,
    /// `--` and white space: the closing delimiter.
    Close,
    /// Something else: some readers take it as a delimiter, some do not.
    Other,
}

/// Reads the rest of a delimiter line, which starts at `at`; says also where the next line starts.
pub(crate) fn delimiter_tail(raw: &[u8], at: usize, end: usize) -> (Tail, usize) {
    let next = line_end(raw, at, end);
    let mut rest = slice(raw, at..next);
    rest = rest
        .strip_suffix(b"\r\n")
        .or_else(|| rest.strip_suffix(b"\n"))
        .unwrap_or(rest);
    let (dashes, padding) = match rest.strip_prefix(b"--") {
        Some(after) => (true, after),
        None => (false, rest),
    };
    if !padding.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
        return (Tail::Other, next);
    }
    (if dashes { Tail::Close } else { Tail::Delimiter }, next)
}
