//! Transfer encodings (RFC 2045 §6) of CMS objects. Strict: what two readers could decode differently
//! is an error. Never used on signed content.

use std::borrow::Cow;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// 7bit, 8bit, binary or nothing said.
    Identity,
    /// base64.
    Base64,
    /// quoted-printable.
    QuotedPrintable,
    /// Something else.
    Unknown,
}

impl TransferEncoding {
    /// Reads the value of a Content-Transfer-Encoding field.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
        if is("base64") {
            Self::Base64
        } else if is("quoted-printable") {
            Self::QuotedPrintable
        } else if is("7bit") || is("8bit") || is("binary") {
            Self::Identity
        } else {
            Self::Unknown
        }
    }
}

/// Decodes a body.
pub fn decode(body: &[u8], encoding: TransferEncoding) -> Result<Cow<'_, [u8]>, &'static str> {
    match encoding {
        TransferEncoding::Identity => Ok(Cow::Borrowed(body)),
        TransferEncoding::Base64 => base64(body).map(Cow::Owned),
        TransferEncoding::QuotedPrintable => quoted_printable(body).map(Cow::Owned),
        TransferEncoding::Unknown => Err("the transfer encoding is not known"),
    }
}

/// base64 with line ends and white space anywhere, and nothing else tolerated.
fn base64(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    match base64_in_lines(body) {
        Some(decoded) => Ok(decoded),
        None => base64_with_spaces(body),
    }
}

/// The quick way for text in lines; `None` where anything else is in it. Line ends are taken out block by
/// block, so that the text is not copied as a whole.
fn base64_in_lines(body: &[u8]) -> Option<Vec<u8>> {
    const BLOCK: usize = 32 * 1024;
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    let mut text = Vec::with_capacity(body.len().min(BLOCK + 1024));
    let mut rest = body;
    // Nearly all lines have the length of the first: look there before searching.
    let mut usual = 0;
    while !rest.is_empty() {
        let end = match rest.get(usual) {
            Some(b'\n') => usual,
            _ => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
        };
        usual = end;
        let (line, after) = rest.split_at_checked(end)?;
        text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        rest = after.get(1..).unwrap_or_default();
        if text.len() >= BLOCK {
            let whole = text.len() / 4 * 4;
            let block = text.get(..whole)?;
            if block.ends_with(b"=") && (whole < text.len() || !is_blank(rest)) {
                return None;
            }
            base64_simd::STANDARD.decode_append(block, &mut out).ok()?;
            text.drain(..whole);
        }
    }
    base64_simd::STANDARD.decode_append(text, &mut out).ok()?;
    Some(out)
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// The slow way, which also finds out what is wrong.
fn base64_with_spaces(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "the base64 text is cut off or holds foreign characters";
    // The decoder also skips form feeds and forgives missing padding; mail readers differ in both.
    let spaces = body
        .iter()
        .filter(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .count();
    if memchr::memchr(0x0c, body).is_some() || !(body.len() - spaces).is_multiple_of(4) {
        return Err(BAD);
    }
    base64_simd::forgiving_decode_to_vec(body).map_err(|_| BAD)
}

fn quoted_printable(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "the quoted-printable text has a wrong escape";
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    loop {
        let at = memchr::memchr(b'=', rest).unwrap_or(rest.len());
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        if has_trailing_space(plain, escape.is_empty()) {
            return Err("the quoted-printable text has white space at the end of a line");
        }
        out.extend_from_slice(plain);
        rest = match escape {
            [] => return Ok(out),
            [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => after,
            [b'=', high, low, after @ ..] => {
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err(BAD);
                };
                out.push(high << 4 | low);
                after
            }
            _ => return Err(BAD),
        };
    }
}

fn has_trailing_space(plain: &[u8], last: bool) -> bool {
    memchr::memchr_iter(b'\n', plain).any(|at| {
        let line = plain.get(..at).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        matches!(line.last(), Some(b' ' | b'\t'))
    }) || (last && matches!(plain.last(), Some(b' ' | b'\t')))
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
