//! base64 in lines of 76 (RFC 2045 §6.8), of content that comes in pieces.

use std::mem::MaybeUninit;

use base64_simd::{Out, STANDARD};

/// Writes lines as content comes; the last one at the end.
#[derive(Debug, Default)]
pub(crate) struct Base64Lines {
    /// What does not fill a line yet.
    begun: Vec<u8>,
}

impl Base64Lines {
    /// Takes more of the content, and adds the lines that it fills.
    pub(crate) fn push(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let missing = match self.begun.len() {
            0 => 0,
            begun => LINE - begun,
        };
        let (first, rest) = content.split_at_checked(missing).unwrap_or((content, &[]));
        self.begun.extend_from_slice(first);
        if self.begun.len() == LINE {
            push_lines(out, &self.begun);
            self.begun.clear();
        }
        let whole = rest.len() - rest.len() % LINE;
        let (whole, rest) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        push_lines(out, whole);
        self.begun.extend_from_slice(rest);
    }

    /// Ends the last line.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        push_lines(out, &self.begun);
    }
}

/// Octets that so many become.
pub(crate) fn length(content: usize) -> usize {
    content
        .div_ceil(LINE)
        .saturating_mul(WIDTH.saturating_add(2))
}

/// Adds a whole content as base64 in lines of 76 (RFC 2045 §6.8).
pub fn push_base64(out: &mut Vec<u8>, content: &[u8]) {
    out.reserve(length(content.len()));
    push_lines(out, content);
}

fn push_lines(out: &mut Vec<u8>, content: &[u8]) {
    if content.len() <= LINE {
        return push_line(out, content);
    }
    let mut text = [const { MaybeUninit::uninit() }; WIDTH * AT_ONCE];
    let mut block = [0; (WIDTH + 2) * AT_ONCE];
    for line in block.as_chunks_mut::<{ WIDTH + 2 }>().0 {
        line[WIDTH..].copy_from_slice(b"\r\n");
    }
    for some in content.chunks(LINE * AT_ONCE) {
        let text = STANDARD.encode(some, Out::from_uninit_slice(&mut text));
        // Copies of a size that the compiler knows.
        let (whole, last) = text.as_chunks::<WIDTH>();
        for (line, place) in whole.iter().zip(block.as_chunks_mut::<{ WIDTH + 2 }>().0) {
            place[..WIDTH].copy_from_slice(line);
        }
        let filled = whole.len() * (WIDTH + 2);
        out.extend_from_slice(block.get(..filled).unwrap_or_default());
        if !last.is_empty() {
            out.extend_from_slice(last);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Less than two lines need no room for many.
fn push_line(out: &mut Vec<u8>, content: &[u8]) {
    let mut text = [0; WIDTH];
    let text = STANDARD.encode(content, Out::from_slice(&mut text));
    if !text.is_empty() {
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
}

/// Octets in a line.
const LINE: usize = 57;
/// Characters in a line.
const WIDTH: usize = 76;
/// Lines that are encoded in one go.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_of_76() {
        let mut out = Vec::new();
        push_base64(&mut out, &[0; 58]);
        let first = "A".repeat(76);
        assert_eq!(out, format!("{first}\r\nAA==\r\n").into_bytes());
        push_base64(&mut out, b"");
        assert_eq!(out.len(), length(58) - 72);
    }

    proptest! {
        #[test]
        fn pieces_become_what_the_whole_becomes(pieces in proptest::collection::vec(0_usize..9000, 0..6)) {
            let whole: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
            let (mut lines, mut out, mut rest) = (Base64Lines::default(), Vec::new(), &whole[..]);
            for piece in pieces {
                let (first, others) = rest.split_at(piece);
                lines.push(first, &mut out);
                rest = others;
            }
            lines.finish(&mut out);
            let mut at_once = Vec::new();
            push_base64(&mut at_once, &whole);
            prop_assert!(out == at_once);
            prop_assert!(out.len() <= length(whole.len()));
        }
    }
}
