//! The two parts of multipart/signed (RFC 1847 §2.1, RFC 8551 §3.5.3), split so that no reader can
//! split them differently. Preamble and epilogue are ignored text.

use std::ops::Range;

use memchr::memmem;

use crate::mime::content_type::{ContentType, Parameter};
use crate::mime::{Tail, before_delimiter, delimiter_tail};

/// The parts of a multipart/signed body, as ranges of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSplit {
    /// The signed entity: header and body, without the line end before the delimiter.
    pub content: Range<usize>,
    /// The signature entity, header included.
    pub signature: Range<usize>,
}

/// Splits the body of a multipart/signed entity into exactly two parts.
///
/// The error says why readers could disagree.
pub fn split_signed(
    raw: &[u8],
    body: Range<usize>,
    boundary: &[u8],
) -> Result<SignedSplit, &'static str> {
    let mut needle = Vec::with_capacity(boundary.len() + 2);
    needle.extend_from_slice(b"--");
    needle.extend_from_slice(boundary);
    let text = raw.get(..body.end).unwrap_or(raw);
    let mut lines: Vec<(Range<usize>, Tail)> = Vec::with_capacity(3);
    for found in memmem::find_iter(text.get(body.start..).unwrap_or_default(), &needle) {
        let at = body.start + found;
        let before = at.checked_sub(1).and_then(|before| raw.get(before));
        match before {
            _ if at == body.start => {}
            Some(b'\n') => {}
            Some(b'\r') => return Err("a carriage return alone stands before a boundary"),
            // Some readers look for it anywhere (mail-parser does).
            _ => return Err("the boundary stands in the middle of a line"),
        }
        let (tail, next) = delimiter_tail(text, at + needle.len(), text.len());
        match (lines.len(), tail) {
            (_, Tail::Other) => return Err("a line starts with the boundary and goes on"),
            (0 | 1, Tail::Delimiter) | (2, Tail::Close) => lines.push((at..next, tail)),
            (0, Tail::Close) => return Err("the closing boundary comes first"),
            (1, Tail::Close) => return Err("there is only one part"),
            (2, Tail::Delimiter) => return Err("there are more than two parts"),
            _ => return Err("the boundary occurs again after its end"),
        }
    }
    let [first, second, third] = lines.as_slice() else {
        return Err(match lines.len() {
            0 => "the boundary does not occur",
            1 => "there is only one part",
            _ => "the closing boundary is missing",
        });
    };
    if first.0.end == second.0.start || second.0.end == third.0.start {
        return Err("a part has no line at all");
    }
    Ok(SignedSplit {
        content: first.0.end..before_delimiter(raw, first.0.end, second.0.start),
        signature: second.0.end..before_delimiter(raw, second.0.end, third.0.start),
    })
}

/// The boundary of a multipart/signed, if every reader would find the same one.
///
/// Says also whether it holds characters that RFC 2046 does not list but everybody accepts.
pub(crate) fn check_boundary(content_type: &ContentType) -> Result<(&[u8], bool), &'static str> {
    if content_type.odd {
        return Err("the Content-Type does not follow the grammar");
    }
    if content_type.parameters.iter().any(hides_boundary) {
        return Err(
            "another parameter looks like a boundary to a reader that searches for the word",
        );
    }
    let Some(parameter) = content_type.only("boundary") else {
        return Err("there is not exactly one plain boundary parameter");
    };
    let boundary = parameter.value.as_slice();
    if boundary.is_empty() || boundary.len() > 70 {
        return Err("the boundary is empty or longer than 70 characters");
    }
    if matches!(boundary, [b'<', .., b'>'] | [b'\'', .., b'\'']) {
        return Err("the boundary stands in brackets that some readers take away");
    }
    if boundary.first() == Some(&b' ') || boundary.last() == Some(&b' ') {
        return Err("the boundary starts or ends with a space");
    }
    if !boundary
        .iter()
        .all(|&byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    {
        return Err("the boundary holds characters outside printable ASCII");
    }
    if boundary.windows(2).any(|pair| pair == b"=?")
        && boundary.windows(2).any(|pair| pair == b"?=")
    {
        return Err("the boundary looks like an encoded word");
    }
    if boundary.ends_with(b"--") {
        return Err("the boundary ends like a closing delimiter");
    }
    // What RFC 2046 does not list but everybody accepts is only noted, except where a reader that knows
    // no quotes, or decodes, ends the boundary at it or makes another of it.
    if boundary.iter().any(|byte| b";*%".contains(byte)) {
        return Err("the boundary holds a character at which some readers cut it");
    }
    let odd = !boundary
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte));
    Ok((boundary, odd))
}

/// Whether a parameter holds `boundary=` somewhere else than where the boundary is.
fn hides_boundary(parameter: &Parameter) -> bool {
    let is_boundary = parameter.name == "boundary" || parameter.name.starts_with("boundary*");
    let in_value = || {
        let value = parameter.value.to_ascii_lowercase();
        memmem::find(&value, b"boundary").is_some() && value.contains(&b'=')
    };
    !is_boundary && (parameter.name.contains("boundary") || in_value())
}
