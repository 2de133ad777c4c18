//! Command lines out of bytes. Only CRLF is a line end; a line is bounded, and a line without end
//! costs no memory.

/// Bytes that were received and not used yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    dropped: usize,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(Vec<u8>),
    TooLong,
    /// A CR or LF stood alone; the line counts up to the LF and is not to be executed.
    BareNewline,
    /// So long that waiting for its end is of no use.
    Flood,
}

impl Lines {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.buffer = Vec::new();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.buffer.drain(..count.min(self.buffer.len()));
    }

    pub(super) fn next_line(&mut self) -> Option<Line> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            if self.buffer.len() > MAX_LINE {
                // The CR of a CRLF may be the last byte so far, but a line this long is refused.
                self.dropped = self.dropped.saturating_add(self.buffer.len());
                self.buffer.clear();
            }
            return (self.dropped > MAX_DROPPED).then_some(Line::Flood);
        };
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        let dropped = std::mem::take(&mut self.dropped);
        line.pop();
        if dropped > 0 || line.len() > MAX_LINE {
            return Some(Line::TooLong);
        }
        if line.pop() != Some(b'\r') || line.contains(&b'\r') {
            return Some(Line::BareNewline);
        }
        Some(Line::Text(line))
    }
}

/// RFC 5321 says 512 and lets extensions add to it; DSN and SMTPUTF8 add most of this.
const MAX_LINE: usize = 2048;
const MAX_DROPPED: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], step: usize) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in bytes.chunks(step) {
            lines.receive(chunk);
            while let Some(line) = lines.next_line() {
                found.push(line);
            }
        }
        found
    }

    #[test]
    fn lines_end_in_crlf_only() {
        for step in [1, 2, 1000] {
            let found = lines(b"A\r\nB\nC\rD\r\n\r\n\nE\r\n", step);
            let text = |t: &str| Line::Text(t.as_bytes().to_vec());
            assert_eq!(
                found,
                [
                    text("A"),
                    Line::BareNewline,
                    Line::BareNewline,
                    text(""),
                    Line::BareNewline,
                    text("E")
                ]
            );
        }
    }

    #[test]
    fn long_lines_are_dropped_whole() {
        for step in [1, 100, 10_000] {
            let longest = [&[b'x'; 2047][..], b"\r\n"].concat();
            assert!(matches!(&lines(&longest, step)[..], [Line::Text(t)] if t.len() == 2047));
            let longer = [&[b'x'; 2048][..], b"\r\nA\r\n"].concat();
            assert_eq!(
                lines(&longer, step),
                [Line::TooLong, Line::Text(b"A".to_vec())]
            );
            let long = [&[b'x'; 9000][..], b"\r\nA\r\n"].concat();
            assert_eq!(
                lines(&long, step),
                [Line::TooLong, Line::Text(b"A".to_vec())]
            );
        }
    }

    #[test]
    fn an_endless_line_is_a_flood() {
        let mut lines = Lines::default();
        for _ in 0..400 {
            lines.receive(&[b'x'; 4096]);
            let found = lines.next_line();
            assert!(lines.bytes().len() <= 4096);
            if found == Some(Line::Flood) {
                return;
            }
        }
        panic!("no end");
    }
}
