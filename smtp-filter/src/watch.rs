//! Watches a mail's bytes as they arrive and counts what has a limit: header size, header fields,
//! Received fields. It keeps at most one line and understands nothing else of a mail.

use crate::server::Limits;

/// The running counts of one mail.
#[derive(Debug)]
pub(crate) struct Watch {
    loop_token: String,
    in_header: bool,
    first_line: bool,
    in_received: bool,
    line: Vec<u8>,
    line_len: usize,
    header_size: usize,
    fields: usize,
    hops: usize,
    loops: usize,
    size: u64,
    eight_bit: bool,
    null_line: NullLine,
    null_dot: bool,
}

/// Follows a line that starts with NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NullLine {
    Start,
    Nulls,
    Dot,
    Other,
}

/// A limit that a mail went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    HeaderSize,
    HeaderFields,
    Hops,
    /// A line that becomes a lone dot where NULs are dropped (SMTP smuggling by old relays).
    NullDot,
}

impl Watch {
    /// `loop_token` is what a Received field of our own holds.
    pub(crate) fn new(loop_token: String) -> Self {
        Self {
            loop_token,
            in_header: true,
            first_line: true,
            in_received: false,
            line: Vec::new(),
            line_len: 0,
            header_size: 0,
            fields: 0,
            hops: 0,
            loops: 0,
            size: 0,
            eight_bit: false,
            null_line: NullLine::Start,
            null_dot: false,
        }
    }

    /// Looks at the next bytes, whose line ends are all CRLF.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.eight_bit |= !bytes.is_ascii();
        self.look_for_null_dots(bytes);
        let mut rest = bytes;
        while self.in_header && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.header_size = self.header_size.saturating_add(part.len());
            self.line_len = self.line_len.saturating_add(part.len());
            let room = KEPT.saturating_sub(self.line.len()).min(part.len());
            self.line
                .extend_from_slice(part.get(..room).unwrap_or_default());
            if end.is_some() {
                self.header_line();
            }
            rest = after;
        }
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether a byte above 127 was seen.
    pub(crate) fn saw_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// The first limit that was gone over.
    pub(crate) fn excess(&self, limits: &Limits) -> Option<Excess> {
        if self.null_dot {
            Some(Excess::NullDot)
        } else if self.header_size > limits.header_size {
            Some(Excess::HeaderSize)
        } else if self.fields > limits.header_fields {
            Some(Excess::HeaderFields)
        } else if self.hops > limits.hops || self.loops >= LOOPS {
            Some(Excess::Hops)
        } else {
            None
        }
    }

    fn header_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let empty = self.line_len == 2;
        let whole = self.line_len == line.len();
        self.line_len = 0;
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        // A mail that starts with something else than a field has no header.
        let no_header = self.first_line && !folded && whole && !line.contains(&b':');
        self.first_line = false;
        if empty || no_header {
            self.in_header = false;
            return;
        }
        if !folded {
            self.fields += 1;
            let name = line
                .split(|b| *b == b':')
                .next()
                .unwrap_or_default()
                .trim_ascii_end();
            self.in_received = name.eq_ignore_ascii_case(b"Received");
            self.hops += usize::from(self.in_received);
        }
        if self.in_received {
            let token = self.loop_token.as_bytes();
            self.loops += usize::from(memchr::memmem::find(&line, token).is_some());
        }
    }

    fn look_for_null_dots(&mut self, bytes: &[u8]) {
        let pending = matches!(self.null_line, NullLine::Nulls | NullLine::Dot);
        if !pending && memchr::memchr(0, bytes).is_none() {
            match bytes.last() {
                Some(b'\n') => self.null_line = NullLine::Start,
                Some(_) => self.null_line = NullLine::Other,
                None => {}
            }
            return;
        }
        for byte in bytes {
            self.null_line = match (self.null_line, byte) {
                (NullLine::Dot, b'\n') => {
                    self.null_dot = true;
                    NullLine::Start
                }
                (_, b'\n') => NullLine::Start,
                (NullLine::Start | NullLine::Nulls, 0) => NullLine::Nulls,
                (NullLine::Nulls, b'.') => NullLine::Dot,
                (NullLine::Dot, 0 | b'\r') => NullLine::Dot,
                _ => NullLine::Other,
            };
        }
    }
}

/// Bytes of a header line that are looked at.
const KEPT: usize = 1000;
/// Times that a mail may have passed here before.
const LOOPS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(bytes: &[u8], step: usize) -> Watch {
        let mut watch = Watch::new("by gw (Kenin)".to_owned());
        for chunk in bytes.chunks(step) {
            watch.push(chunk);
        }
        watch
    }

    #[test]
    fn limits_hold_at_the_edge() {
        let limits = Limits {
            header_size: 20,
            header_fields: 3,
            hops: 1,
            ..Limits::default()
        };
        let excess = |bytes: &[u8]| {
            let found: Vec<_> = [1, 2, 7, 1000]
                .map(|step| watched(bytes, step).excess(&limits))
                .to_vec();
            assert!(found.windows(2).all(|w| w[0] == w[1]), "{found:?}");
            found[0]
        };
        assert_eq!(excess(b"A: b\r\nC: d\r\nE:f\r\n\r\nbody: x\r\n"), None);
        assert_eq!(excess(b"A: b\r\nC: d\r\nE: f\r\n\r\n"), None);
        assert_eq!(
            excess(b"A: b\r\nC: d\r\nE: fg\r\n\r\n"),
            Some(Excess::HeaderSize)
        );
        assert_eq!(
            excess(b"A:\r\nB:\r\nC:\r\nD:\r\n\r\n"),
            Some(Excess::HeaderFields)
        );
        assert_eq!(excess(b"A:\r\n B\r\n C\r\n D\r\n\r\n"), None);
        assert_eq!(excess(b"RECEIVED:\r\n\r\n"), None);
        assert_eq!(excess(b"RECEIVED:\r\nX\r\n\r\n"), None);
        let two = watched(b"RECEIVED:\r\nreceived :x\r\n\r\nReceived: y\r\n", 3);
        assert_eq!(
            two.excess(&Limits {
                hops: 2,
                ..Limits::default()
            }),
            None
        );
        assert_eq!(
            two.excess(&Limits {
                hops: 1,
                ..Limits::default()
            }),
            Some(Excess::Hops)
        );
        assert_eq!(
            excess(b"no header at all\r\nA: x\r\nB: x\r\nC: x\r\nD: x\r\n"),
            None
        );
    }

    #[test]
    fn a_long_first_line_does_not_hide_the_header() {
        for name in [999, 1000, 1001, 5000] {
            let mail = format!(
                "{}: x\r\n{}",
                "n".repeat(name),
                "Received: x\r\n".repeat(101)
            );
            let watch = watched(mail.as_bytes(), 700);
            assert_eq!(
                watch.excess(&Limits::default()),
                Some(Excess::Hops),
                "{name}"
            );
        }
    }

    #[test]
    fn our_own_token_three_times_is_a_loop() {
        let field = b"Received: from a\r\n\tby gw (Kenin) with ESMTP\r\n".repeat(2);
        assert_eq!(watched(&field, 5).excess(&Limits::default()), None);
        let field = b"Received: from a\r\n\tby gw (Kenin) with ESMTP\r\n".repeat(3);
        assert_eq!(
            watched(&field, 5).excess(&Limits::default()),
            Some(Excess::Hops)
        );
        let other = b"Subject: by gw (Kenin)\r\n".repeat(5);
        assert_eq!(watched(&other, 5).excess(&Limits::default()), None);
    }

    #[test]
    fn null_dots_are_seen() {
        let limits = Limits::default();
        for step in [1, 3, 100] {
            for bad in [
                &b"\r\n\0.\r\n"[..],
                b"\r\n\0\0.\0\r\n",
                b"A: b\r\n\r\nx\r\n\0.\r\n",
            ] {
                assert_eq!(
                    watched(bad, step).excess(&limits),
                    Some(Excess::NullDot),
                    "{bad:?}"
                );
            }
            for good in [
                &b"\r\n\0..\r\n"[..],
                b"\r\nx\0.\r\n",
                b"\r\n.\0\r\n",
                b"\r\n\0\r\n.\r\n",
            ] {
                assert_eq!(watched(good, step).excess(&limits), None, "{good:?}");
            }
        }
    }
}
