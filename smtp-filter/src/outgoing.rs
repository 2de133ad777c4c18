//! A mail on its way out: the edits applied without copying the mail, and dot stuffing. Never
//! writes a bare CR or LF: edits that would are refused.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2>.

use std::{fmt, ops::Range};

use zeroize::optimization_barrier;

use crate::{Edit, MailBytes};

/// An edited mail as a list of pieces.
#[derive(Clone)]
pub struct Outgoing {
    head: Vec<u8>,
    raw: MailBytes,
    pieces: Vec<Piece>,
}

#[derive(Clone)]
enum Piece {
    Kept(Range<usize>),
    New(Vec<u8>),
    Body(MailBytes),
}

impl Outgoing {
    /// Puts the filter's prepended bytes above `received`, and both above what remains of the
    /// mail. `None` when an edit would break a line: that is a filter's mistake.
    #[must_use]
    pub fn new(raw: MailBytes, received: &[u8], edits: &[Edit]) -> Option<Self> {
        let mut head = Vec::new();
        let mut removed = Vec::new();
        let mut inserted = Vec::new();
        let mut body: Option<(usize, &MailBytes)> = None;
        for edit in edits {
            match edit {
                Edit::Prepend(bytes) if is_whole_lines(bytes) => head.extend_from_slice(bytes),
                Edit::Prepend(_) => return None,
                Edit::Remove(range) => {
                    let range = range.start.min(raw.len())..range.end.min(raw.len());
                    if splits_line_end(&raw, range.start) || splits_line_end(&raw, range.end) {
                        return None;
                    }
                    removed.push(range);
                }
                Edit::Insert(at, bytes) => {
                    if !is_inside_a_line(&raw, *at) || !only_folds(bytes) {
                        return None;
                    }
                    inserted.push((*at, bytes));
                }
                Edit::Body(at, bytes) => {
                    // What was told of the mail when it began (BODY=7BIT) has to hold to its end.
                    let fits = bytes.is_ascii() || !raw.is_ascii();
                    if body.is_some() || !fits || !is_new_body(&raw, *at, bytes) {
                        return None;
                    }
                    removed.push(*at..raw.len());
                    body = Some((*at, bytes));
                }
                Edit::ReturnPath(_) => {}
            }
        }
        if body.is_some_and(|(start, _)| inserted.iter().any(|(at, _)| *at >= start)) {
            return None;
        }
        head.extend_from_slice(received);
        inserted.sort_by_key(|(at, _)| *at);
        let mut pieces = woven(remaining(raw.len(), removed), inserted);
        pieces.extend(body.map(|(_, bytes)| Piece::Body(bytes.clone())));
        // A mail that begins with white space has no header; without an empty line (which Postfix
        // adds too) its first line would become a part of our last field.
        let first = match pieces.first() {
            Some(Piece::Kept(range)) => raw.get(range.start),
            Some(Piece::New(bytes)) => bytes.first(),
            Some(Piece::Body(bytes)) => bytes.first(),
            None => None,
        };
        if !head.is_empty() && matches!(first, Some(b' ' | b'\t')) {
            head.extend_from_slice(b"\r\n");
        }
        Some(Self { head, raw, pieces })
    }

    /// How many bytes all pieces have together.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sizes = self
            .pieces()
            .map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX));
        sizes.fold(0, u64::saturating_add)
    }

    /// Whether it has no octet above 127.
    pub(crate) fn is_ascii(&self) -> bool {
        self.pieces().all(<[u8]>::is_ascii)
    }

    /// The pieces in their order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let rest = self.pieces.iter().map(|piece| match piece {
            Piece::Kept(range) => self.raw.get(range.clone()).unwrap_or_default(),
            Piece::New(bytes) => bytes,
            Piece::Body(bytes) => bytes,
        });
        std::iter::once(&self.head[..]).chain(rest)
    }
}

/// Shows the size only: a mail's content belongs in no log.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} bytes)", self.size())
    }
}

/// What is kept, parted where something new goes.
fn woven(kept: Vec<Range<usize>>, inserted: Vec<(usize, &Vec<u8>)>) -> Vec<Piece> {
    let mut out = Vec::with_capacity(kept.len() + 2 * inserted.len());
    let mut inserted = inserted.into_iter().peekable();
    for mut range in kept {
        while let Some((at, bytes)) = inserted.next_if(|(at, _)| *at < range.end) {
            if at > range.start {
                out.push(Piece::Kept(range.start..at));
                range.start = at;
            }
            out.push(Piece::New(bytes.clone()));
        }
        out.push(Piece::Kept(range));
    }
    out.extend(inserted.map(|(_, bytes)| Piece::New(bytes.clone())));
    out
}

/// A mail's data on its way out: so much of it as goes in one piece. It may be a mail that was opened, so whatever was
/// here is wiped when it is not needed any more; and it never moves, as it would leave itself behind.
pub(crate) struct Data {
    stuffer: Stuffer,
    octets: Vec<u8>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self {
            stuffer: Stuffer::new(),
            octets: Vec::with_capacity(ROOM),
        }
    }

    /// Takes as much of this as there is room for, as it goes on the wire, and gives the rest.
    pub(crate) fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = PIECE.saturating_sub(self.octets.len());
        let (now, later) = bytes.split_at(bytes.len().min(room));
        self.stuffer.push(now, &mut self.octets);
        later
    }

    /// Whether nothing more is taken before what is here is gone.
    pub(crate) fn is_full(&self) -> bool {
        self.octets.len() >= PIECE
    }

    /// What is here, as it goes on the wire.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What was here is gone.
    pub(crate) fn clear(&mut self) {
        self.octets.fill(0);
        optimization_barrier(self.octets.as_slice());
        self.octets.clear();
    }

    /// Puts the end of data behind what is here.
    pub(crate) fn finish(&mut self) {
        self.stuffer.finish(&mut self.octets);
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Shows the size only.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.octets.len())
    }
}

/// Adds the dots that keep a mail's own lines from ending its data.
pub(crate) struct Stuffer {
    last: [u8; 2],
}

impl Stuffer {
    pub(crate) fn new() -> Self {
        Self { last: *b"\r\n" }
    }

    /// Appends `bytes` as they go on the wire.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.last[1] == b'\n' && bytes.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut from = 0;
        for at in memchr::memmem::find_iter(bytes, b"\n.") {
            out.extend_from_slice(bytes.get(from..=at).unwrap_or_default());
            out.push(b'.');
            from = at + 1;
        }
        out.extend_from_slice(bytes.get(from..).unwrap_or_default());
        if let Some(tail) = bytes.last_chunk::<2>() {
            self.last = *tail;
        } else if let [only] = bytes {
            self.last = [self.last[1], *only];
        }
    }

    /// Appends the end of data.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        if self.last != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

fn remaining(len: usize, mut removed: Vec<Range<usize>>) -> Vec<Range<usize>> {
    removed.retain(|range| !range.is_empty());
    removed.sort_by_key(|range| range.start);
    let mut kept = Vec::new();
    let mut from = 0;
    for range in removed {
        if range.start > from {
            kept.push(from..range.start);
        }
        from = from.max(range.end);
    }
    if from < len {
        kept.push(from..len);
    }
    kept
}

/// Whether every line end is one that white space follows.
fn only_folds(bytes: &[u8]) -> bool {
    let mut last = [b' '; 2];
    for byte in bytes {
        let fits = match (last, byte) {
            ([b'\r', b'\n'], b' ' | b'\t') => true,
            ([b'\r', b'\n'], _) => false,
            ([_, b'\r'], _) => *byte == b'\n',
            (_, b'\n') => false,
            _ => true,
        };
        if !fits {
            return false;
        }
        last = [last[1], *byte];
    }
    !matches!(last[1], b'\r' | b'\n')
}

/// Whether text that goes before this place lengthens a line that is there.
fn is_inside_a_line(raw: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| raw.get(before));
    raw.get(at).is_some() && before.is_some_and(|byte| *byte != b'\n') && !splits_line_end(raw, at)
}

fn splits_line_end(raw: &[u8], at: usize) -> bool {
    at > 0 && raw.get(at - 1) == Some(&b'\r') && raw.get(at) == Some(&b'\n')
}

/// Whether a body may begin at this place, and these bytes may be it.
pub(crate) fn is_new_body(raw: &[u8], at: usize, bytes: &[u8]) -> bool {
    let begins = raw
        .get(..at)
        .is_some_and(|head| head.is_empty() || head == b"\r\n" || head.ends_with(b"\r\n\r\n"));
    let behind = at == raw.len() && is_header_only(raw) && bytes.starts_with(b"\r\n");
    (begins || behind) && is_whole_lines(bytes)
}

/// Whether a mail has no empty line: its body, if it gets one, brings it along (RFC 5322 §3.5).
fn is_header_only(raw: &[u8]) -> bool {
    raw.ends_with(b"\r\n")
        && !raw.starts_with(b"\r\n")
        && memchr::memmem::find(raw, b"\r\n\r\n").is_none()
}

fn is_whole_lines(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else {
        return true;
    };
    let mut blocks = bytes.chunks(BLOCK).zip(rest.chunks(BLOCK));
    *first != b'\n'
        && bytes.last() == Some(&b'\n')
        && blocks.all(|(before, block)| {
            let pairs = before.iter().zip(block);
            // No way out inside a block, so that the compiler makes vector code of it.
            let found = pairs.fold(0_u8, |found, (before, byte)| {
                found | (u8::from(*before == b'\r') ^ u8::from(*byte == b'\n'))
            });
            found == 0
        })
}

/// Bytes that are looked at before stopping.
const BLOCK: usize = 4096;
/// Bytes that go in one piece: with a dot for each second one, that is half as much again at most.
const PIECE: usize = 64 << 10;
/// The largest piece, a dot before it, and the end of data.
const ROOM: usize = PIECE + PIECE / 2 + 1 + b"\r\n.\r\n".len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Receiver;
    use proptest::prelude::*;

    fn edited(raw: &str, edits: &[Edit]) -> Option<String> {
        let raw = MailBytes::from(raw.as_bytes().to_vec());
        let outgoing = Outgoing::new(raw, b"R\r\n", edits)?;
        Some(String::from_utf8(outgoing.pieces().flatten().copied().collect()).unwrap())
    }

    #[test]
    fn edits_apply_in_any_order() {
        let edits = [
            Edit::Remove(9..12),
            Edit::Prepend(b"S\r\n".to_vec()),
            Edit::Remove(0..3),
            Edit::Remove(1..3),
            Edit::Prepend(b"T\r\n".to_vec()),
            Edit::Remove(90..99),
        ];
        let text = edited("A\r\nB\r\nC\r\nD\r\nE\r\n", &edits);
        assert_eq!(text.as_deref(), Some("S\r\nT\r\nR\r\nB\r\nC\r\nE\r\n"));
    }

    #[test]
    fn edits_that_break_lines_are_refused() {
        for bad in ["x", "x\n", "x\r", "x\r\ny", "\rx\r\n", "a\nb\r\n", "\n"] {
            assert_eq!(
                edited("A\r\n", &[Edit::Prepend(bad.into())]),
                None,
                "{bad:?}"
            );
        }
        assert!(edited("A\r\n", &[Edit::Prepend(Vec::new())]).is_some());
        assert!(edited("A\r\n", &[Edit::Prepend(b"a\r\n\r\n".to_vec())]).is_some());
        assert_eq!(edited("A\r\nB\r\n", &[Edit::Remove(0..2)]), None);
        assert_eq!(edited("A\r\nB\r\n", &[Edit::Remove(2..3)]), None);
        #[expect(clippy::reversed_empty_ranges, reason = "a filter may send nonsense")]
        let backwards = edited("A\r\nB\r\n", &[Edit::Remove(3..0)]);
        assert_eq!(backwards.as_deref(), Some("R\r\nA\r\nB\r\n"));
    }

    #[test]
    fn text_goes_into_a_line_and_nowhere_else() {
        let mail = "Subject: a b\r\nX: y\r\n\r\nbody\r\n";
        let tag = |at: usize| Edit::Insert(at, b"[t] ".to_vec());
        let tagged = edited(mail, &[tag(9)]).unwrap();
        assert_eq!(tagged, format!("R\r\n{}", mail.replace("a b", "[t] a b")));
        let other = [Edit::Remove(9..11), tag(9), Edit::Remove(14..20)];
        let tagged = edited(mail, &other).unwrap();
        assert_eq!(tagged, "R\r\nSubject: [t] b\r\n\r\nbody\r\n");
        let twice = edited(mail, &[tag(9), Edit::Insert(9, b"u".to_vec()), tag(12)]).unwrap();
        assert!(twice.starts_with("R\r\nSubject: [t] ua b[t] \r\n"));
        for at in [0, 13, 14, 20, mail.len(), mail.len() + 9] {
            assert_eq!(edited(mail, &[tag(at)]), None, "{at}");
        }
        for bad in ["a\r\nB: c", "\r", "\n", "a\r\n", "a\n b", "a\r b"] {
            assert_eq!(edited(mail, &[Edit::Insert(9, bad.into())]), None);
        }
        let folded = edited(mail, &[Edit::Insert(9, "t\r\n ".into())]).unwrap();
        assert!(folded.starts_with("R\r\nSubject: t\r\n a b\r\n"));
    }

    #[test]
    fn a_body_is_replaced_from_its_first_byte() {
        let mail = "A: b\r\n\r\nold\r\nbody\r\n";
        let body =
            |at: usize, text: &str| Edit::Body(at, MailBytes::from(text.as_bytes().to_vec()));
        for new in ["new\r\n.\r\n", ""] {
            let text = edited(mail, &[Edit::Remove(0..6), body(8, new)]).unwrap();
            assert_eq!(text, format!("R\r\n\r\n{new}"));
        }
        assert_eq!(
            edited("\r\nold\r\n", &[body(2, "n\r\n")]).unwrap(),
            "R\r\n\r\nn\r\n"
        );
        // A mail without a header is all body, and does not reach into our field.
        assert_eq!(
            edited("old\r\n", &[body(0, " n\r\n")]).unwrap(),
            "R\r\n\r\n n\r\n"
        );
        for (at, new) in [
            (6, "n\r\n"),
            (9, "n\r\n"),
            (13, "n\r\n"),
            (99, "n\r\n"),
            (8, "n"),
            (8, "n\n"),
            (8, "\rn\r\n"),
            (8, "\u{e4}\r\n"),
        ] {
            assert_eq!(edited(mail, &[body(at, new)]), None, "{at} {new:?}");
        }
        // One that is a header only has its empty line from the body.
        let only = "A: b\r\nC: d\r\n";
        assert_eq!(
            edited(only, &[Edit::Remove(0..6), body(12, "\r\nn\r\n")]).unwrap(),
            "R\r\nC: d\r\n\r\nn\r\n"
        );
        assert_eq!(
            edited(only, &[Edit::Remove(0..12), body(12, "\r\n")]).unwrap(),
            "R\r\n\r\n"
        );
        for (at, new) in [(12, "n\r\n"), (12, ""), (6, "\r\nn\r\n"), (12, "\r\nn")] {
            assert_eq!(edited(only, &[body(at, new)]), None, "{at} {new:?}");
        }
        assert_eq!(edited("A: b", &[body(4, "\r\nn\r\n")]), None);
        assert_eq!(edited(mail, &[body(mail.len(), "\r\nn\r\n")]), None);
        let eight_bit = mail.replace("old", "\u{e4}");
        assert!(edited(&eight_bit, &[body(8, "\u{f6}\r\n")]).is_some());
        assert_eq!(edited(mail, &[body(8, ""), body(8, "")]), None);
        assert_eq!(
            edited(mail, &[body(8, ""), Edit::Insert(10, b"x".to_vec())]),
            None
        );
    }

    #[test]
    fn no_mail_reaches_into_our_own_fields() {
        let relayed = |mail: &str| edited(mail, &[]).unwrap();
        assert_eq!(relayed(" by me\r\nA: b\r\n"), "R\r\n\r\n by me\r\nA: b\r\n");
        assert_eq!(relayed("\tx\r\n"), "R\r\n\r\n\tx\r\n");
        assert_eq!(relayed("A: b\r\n"), "R\r\nA: b\r\n");
        assert_eq!(relayed("\r\n body\r\n"), "R\r\n\r\n body\r\n");
        assert_eq!(relayed("text\r\n"), "R\r\ntext\r\n");
        assert_eq!(relayed(""), "R\r\n");
        let uncovered = edited("A: b\r\n c\r\n", &[Edit::Remove(0..6)]);
        assert_eq!(uncovered.as_deref(), Some("R\r\n\r\n c\r\n"));
    }

    /// Where it grew, what was opened would be left behind.
    #[test]
    fn data_has_room_for_the_worst_and_never_moves() {
        for mail in [
            b".\n".repeat(PIECE),
            b"\n.".repeat(PIECE),
            b".\n".repeat(PIECE / 2),
            b"a".repeat(3 * PIECE),
        ] {
            let (mut whole, mut stuffer) = (Vec::new(), Stuffer::new());
            stuffer.push(&mail, &mut whole);
            stuffer.finish(&mut whole);
            for first in [0, 1, 1000, PIECE / 2, PIECE - 1, PIECE] {
                let (mut data, mut wire) = (Data::new(), Vec::new());
                let (place, room) = (data.octets.as_ptr(), data.octets.capacity());
                let (start, mut rest) = mail.split_at(first);
                assert!(data.take(start).is_empty());
                while !rest.is_empty() {
                    if data.is_full() {
                        wire.extend_from_slice(data.octets());
                        data.clear();
                    }
                    rest = data.take(rest);
                }
                data.finish();
                wire.extend_from_slice(data.octets());
                let now = (data.octets.as_ptr(), data.octets.capacity());
                assert_eq!(now, (place, room), "{first}");
                assert!(wire == whole, "{first}");
            }
        }
    }

    /// A line end that is cut by the edge of a block is seen whole, and one octet of it alone.
    #[test]
    fn no_edge_of_a_block_hides_a_line_end() {
        assert!(is_whole_lines(b"") && is_whole_lines(b"\r\n"));
        for alone in [&b"\r"[..], b"\n", b"x", b"\n\r\n", b"x\r"] {
            assert!(!is_whole_lines(alone), "{alone:?}");
        }
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
                let mut text = [&vec![b'x'; 2 * BLOCK + 2][..], b"\r\n"].concat();
                text[at..at + octets.len()].copy_from_slice(octets);
                text
            };
            let right = with(b"\r\n");
            assert!(
                is_whole_lines(&right) && is_whole_lines(&right[..at + 2]),
                "{at}"
            );
            assert!(!is_whole_lines(&right[..=at]), "{at}");
            for wrong in [&b"\r"[..], b"\n", b"\n\r"] {
                assert!(!is_whole_lines(&with(wrong)), "{at} {wrong:?}");
            }
        }
    }

    proptest! {
        /// In text that is right but for one octet somewhere, or for none.
        #[test]
        fn whole_lines_are_told_from_others(lines in 0..1500_usize, octet in prop_oneof![
            Just(None), Just(Some(b'\r')), Just(Some(b'\n')), Just(Some(b'x'))], at in any::<proptest::sample::Index>())
        {
            let mut bytes = b"line\r\n".repeat(lines);
            if let (Some(octet), false) = (octet, bytes.is_empty()) {
                let place = at.index(bytes.len());
                bytes[place] = octet;
            }
            let text = String::from_utf8(bytes.clone()).unwrap();
            let rest = text.replace("\r\n", "");
            let ends = text.is_empty() || text.ends_with("\r\n");
            prop_assert_eq!(is_whole_lines(&bytes), ends && !rest.contains(['\r', '\n']));
        }

        /// What the stuffer writes, a receiver reads back as the same bytes.
        #[test]
        fn unstuffing_undoes_stuffing(
            tokens in proptest::collection::vec(
                prop_oneof![Just("\r\n"), Just("."), Just("a"), Just("\r\n.\r\n"), Just("..")],
                0..40),
            step in 1_usize..9,
        ) {
            let mail = format!("{}\r\n", tokens.concat());
            let mut wire = Vec::new();
            let mut stuffer = Stuffer::new();
            for chunk in mail.as_bytes().chunks(step) {
                stuffer.push(chunk, &mut wire);
            }
            stuffer.finish(&mut wire);
            let (mut out, mut receiver) = (Vec::new(), Receiver::new());
            prop_assert_eq!(receiver.push(&wire, &mut out), (wire.len(), true));
            prop_assert!(!receiver.saw_bare_newline());
            prop_assert_eq!(String::from_utf8(out).unwrap(), mail);
        }
    }
}
