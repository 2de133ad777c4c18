//! The data phase of SMTP: finds the one true end of data, removes dot stuffing, and notices line
//! ends that are not CRLF. Only CRLF `.` CRLF ends data, however the bytes are split over packets.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2>, and §2.3.8 on bare CR and LF.

/// Reads one mail's data. Feed it with [`Receiver::push`] until it says that the end was seen.
#[derive(Debug)]
pub(crate) struct Receiver {
    state: State,
    bare: bool,
}

/// Where in a line the last byte left us. Only a true CRLF leads to `LineStart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Text,
    Cr,
    Dot,
    DotCr,
    End,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        // The CRLF of the DATA command itself starts the first line.
        Self {
            state: State::LineStart,
            bare: false,
        }
    }

    /// Whether a CR or LF stood alone so far. Each was written as CRLF, and none counted as the
    /// start of a line for the dot.
    pub(crate) fn saw_bare_newline(&self) -> bool {
        self.bare
    }

    /// Appends the mail's bytes to `out`; gives how many bytes of `input` were used and whether
    /// the data ended. Bytes after the end are left alone.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            if self.state == State::Text {
                let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                out.extend_from_slice(rest.get(..run).unwrap_or_default());
                at += run;
                if run == rest.len() {
                    break;
                }
            }
            let Some(&byte) = input.get(at) else { break };
            let used = self.byte(byte, out);
            at += usize::from(used);
            if self.state == State::End {
                return (at, true);
            }
        }
        (at, false)
    }

    /// One byte; false when it must be looked at again in the new state.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let (next, used) = match (self.state, byte) {
            (State::LineStart, b'.') => (State::Dot, true),
            (State::LineStart | State::Text, b'\r') => (State::Cr, true),
            (State::LineStart | State::Text, b'\n') => {
                self.bare_newline(out);
                (State::Text, true)
            }
            (State::LineStart, _) => (State::Text, false),
            (State::Text, other) => {
                out.push(other);
                (State::Text, true)
            }
            (State::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                (State::LineStart, true)
            }
            (State::Cr, _) => {
                self.bare_newline(out);
                (State::Text, false)
            }
            (State::Dot, b'\r') => (State::DotCr, true),
            // The dot was stuffing: it is dropped.
            (State::Dot, _) => (State::Text, false),
            (State::DotCr, b'\n') => (State::End, true),
            (State::DotCr, _) => {
                self.bare_newline(out);
                (State::Text, false)
            }
            (State::End, _) => (State::End, true),
        };
        self.state = next;
        used
    }

    fn bare_newline(&mut self, out: &mut Vec<u8>) {
        self.bare = true;
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8]) -> (Vec<u8>, usize, bool, bool) {
        let mut receiver = Receiver::new();
        let mut out = Vec::new();
        let (used, ended) = receiver.push(input, &mut out);
        (out, used, ended, receiver.saw_bare_newline())
    }

    #[test]
    fn only_the_true_end_ends() {
        assert_eq!(read(b".\r\nX"), (vec![], 3, true, false));
        assert_eq!(read(b"a\r\n.\r\nX"), (b"a\r\n".to_vec(), 6, true, false));
        assert_eq!(read(b"..\r\n.a\r\n.\r\n").0, b".\r\na\r\n");
        for lookalike in SMUGGLING {
            let input = [b"a", *lookalike, b"b"].concat();
            let (_, used, ended, bare) = read(&input);
            assert_eq!((used, ended), (input.len(), false), "{lookalike:?}");
            assert!(bare || lookalike.contains(&0), "{lookalike:?}");
        }
    }

    #[test]
    fn normalized_lines_keep_their_dots() {
        let (out, ..) = read(b"a\n.\nb\r.\rc\r\n.\r\n");
        assert_eq!(out, b"a\r\n.\r\nb\r\n.\r\nc\r\n");
    }

    const SMUGGLING: &[&[u8]] = &[
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\r\r\n",
        b"\r\n.\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\r\n.\n",
        b"\r\0\n.\r\n",
    ];

    proptest! {
        /// The result does not depend on where packets end, the output has no bare CR or LF, and
        /// the end is the first CRLF.CRLF of the wire.
        #[test]
        fn splits_do_not_matter(
            tokens in proptest::collection::vec(
                prop_oneof![Just("\r"), Just("\n"), Just("."), Just("\r\n"), Just("a"), Just("\0"),
                    Just("\r\n.\r"), Just("text")], 0..40),
            cuts in proptest::collection::vec(0_usize..120, 0..6),
        ) {
            let wire = tokens.concat().into_bytes();
            let whole = read(&wire);
            let framed = [b"\r\n", &wire[..]].concat();
            let end = framed.windows(5).position(|w| w == b"\r\n.\r\n").map(|at| at + 3);
            prop_assert_eq!(whole.2.then_some(whole.1), end);
            let mut receiver = Receiver::new();
            let (mut out, mut used, mut ended) = (Vec::new(), 0, false);
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                if !ended {
                    let (n, e) = receiver.push(&wire[pair[0]..pair[1]], &mut out);
                    used += n;
                    ended = e;
                }
            }
            prop_assert_eq!((out, used, ended, receiver.saw_bare_newline()), whole.clone());
            let plain = String::from_utf8(whole.0).unwrap().replace("\r\n", "");
            prop_assert!(!plain.contains(['\r', '\n']));
        }
    }
}
