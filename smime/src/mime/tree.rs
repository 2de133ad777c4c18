//! The parts of a message, in one pass with an explicit stack (RFC 2046 §5.1).
//!
//! Lenient: it finds what there is. The strict split of multipart/signed is `multipart.rs`, and a
//! signature counts only where both agree.

use std::cmp::Ordering;
use std::ops::Range;

use memchr::memmem;

use crate::defect::Defect;
use crate::facts::FieldSpan;
use crate::limits::Limits;
use crate::mime::content_type::ContentType;
use crate::mime::header::Header;
use crate::mime::transfer::TransferEncoding;
use crate::mime::{Tail, before_delimiter, delimiter_tail, slice};

/// Longer boundaries are not followed: no mail program makes them.
const MAX_BOUNDARY: usize = 998;

/// What a part is to this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// multipart/signed.
    Signed,
    /// Another multipart.
    Multipart,
    /// message/rfc822 or message/global, not encoded.
    Message,
    /// Anything else.
    Leaf,
}

/// One part: ranges of the input and what its header says.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    /// IMAP section; empty for a multipart at the root.
    pub(crate) section: String,
    pub(crate) parent: Option<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) header: Header,
    pub(crate) content_type: ContentType,
    pub(crate) transfer: TransferEncoding,
    /// Header and body, without the line end before the delimiter.
    pub(crate) whole: Range<usize>,
    /// Readers could split this part, or what it is in, differently.
    pub(crate) ambiguous: bool,
}

impl Part {
    pub(crate) fn body(&self) -> Range<usize> {
        self.header.body.min(self.whole.end)..self.whole.end
    }

    /// Text in ISO-2022-JP sent as 7bit: the form in which some relays drop ESC bytes.
    pub(crate) fn is_iso2022jp_7bit(&self) -> bool {
        self.transfer == TransferEncoding::Identity
            && self
                .content_type
                .word("charset")
                .is_some_and(|set| set.starts_with("iso-2022-jp"))
    }
}

/// All parts of one entity; the first is the entity itself, parents come before children.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) parts: Vec<Part>,
}

struct Open {
    part: usize,
    /// Its place in the chain of parts that have not ended.
    place: usize,
    boundary: Vec<u8>,
    /// Already known as ambiguous.
    marked: bool,
}

/// The open multiparts, innermost last. No boundary is the start of another one, so that a line can
/// start with one of them at most, and is looked up instead of compared with all.
#[derive(Default)]
struct Stack {
    open: Vec<Open>,
    /// Indices into `open` in the order of the boundaries, with what decides most comparisons.
    sorted: Vec<(u64, usize)>,
}

/// The first bytes as a number: smaller for what is smaller, the same only where the bytes have to be
/// compared.
fn key(text: &[u8]) -> u64 {
    if let Some(first) = text.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(text)
        .for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
}

impl Stack {
    fn boundary(&self, which: usize) -> &[u8] {
        self.open
            .get(which)
            .map_or(&[], |open| open.boundary.as_slice())
    }

    /// Opens a multipart unless its boundary and an open one are part of each other.
    fn push(&mut self, part: usize, place: usize, boundary: &[u8]) -> bool {
        let clash = self.open.iter().any(|open| {
            open.boundary.starts_with(boundary) || boundary.starts_with(&open.boundary)
        });
        if clash {
            return false;
        }
        let at = self.place_of(boundary);
        self.sorted.insert(at, (key(boundary), self.open.len()));
        self.open.push(Open {
            part,
            place,
            boundary: boundary.to_vec(),
            marked: false,
        });
        true
    }

    fn truncate(&mut self, length: usize) {
        self.open.truncate(length);
        self.sorted.retain(|(_, which)| *which < length);
    }

    /// How many boundaries come before the line or are the line.
    fn place_of(&self, line: &[u8]) -> usize {
        let of_line = key(line);
        self.sorted
            .partition_point(|&(of_boundary, which)| match of_boundary.cmp(&of_line) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => self.boundary(which) <= line,
            })
    }

    /// The open multipart whose boundary the line starts with.
    fn find(&self, line: &[u8]) -> Option<(usize, usize)> {
        let before = self.place_of(line).checked_sub(1)?;
        let (_, which) = *self.sorted.get(before)?;
        let boundary = self.boundary(which);
        line.starts_with(boundary)
            .then_some((which, boundary.len()))
    }
}

struct Walker<'a> {
    raw: &'a [u8],
    end: usize,
    limits: &'a Limits,
    parts: Vec<Part>,
    chain: Vec<usize>,
    stack: Stack,
}

impl Tree {
    /// Whether nothing but layers around the whole stands between the entity and this part: each time it
    /// is what a multipart/signed signs, or the message in its wrapper.
    pub(crate) fn is_payload(&self, index: usize) -> bool {
        let mut at = index;
        while let Some(part) = self.parts.get(at) {
            let Some(parent) = part.parent else {
                return true;
            };
            let holds = self
                .parts
                .get(parent)
                .is_some_and(|outer| match outer.kind {
                    PartKind::Signed => outer.children.first() == Some(&at),
                    PartKind::Message => outer.content_type.wraps_message(),
                    PartKind::Multipart | PartKind::Leaf => false,
                });
            if !holds {
                return false;
            }
            at = parent;
        }
        false
    }

    /// Reads the entity in `range` of `raw`; `each` sees the header fields of the entity itself.
    pub(crate) fn read(
        raw: &[u8],
        range: Range<usize>,
        limits: &Limits,
        each: impl FnMut(FieldSpan),
    ) -> Result<Self, Defect> {
        let mut walker = Walker {
            raw,
            end: range.end,
            limits,
            parts: Vec::new(),
            chain: Vec::new(),
            stack: Stack::default(),
        };
        let body = walker.enter(range.start, each)?;
        walker.walk(body)?;
        Ok(Self {
            parts: walker.parts,
        })
    }
}

impl Walker<'_> {
    /// Opens the part that starts at `start`, and the message in it if it is one. Returns where the
    /// search for the next delimiter goes on.
    fn enter(&mut self, start: usize, each: impl FnMut(FieldSpan)) -> Result<usize, Defect> {
        let mut at = start;
        let mut each = Some(each);
        loop {
            let (index, body) = self.open_part(at, &mut each)?;
            let inner = self
                .parts
                .get(index)
                .is_some_and(|part| part.kind == PartKind::Message);
            if !inner {
                return Ok(body);
            }
            at = body;
        }
    }

    fn open_part(
        &mut self,
        start: usize,
        each: &mut Option<impl FnMut(FieldSpan)>,
    ) -> Result<(usize, usize), Defect> {
        if self.parts.len() >= self.limits.mime_parts || self.chain.len() >= self.limits.mime_depth
        {
            return Err(Defect::LimitMime);
        }
        let (raw, end, stack) = (self.raw, self.end, &self.stack);
        let mut stop = |at: usize| classify(raw, at, end, stack).exact.is_some();
        let mut each = each.take();
        let header = Header::read(raw, start..end, &mut stop, |field| {
            if let Some(each) = each.as_mut() {
                each(field);
            }
        });
        let content_type = header
            .content_type
            .clone()
            .map(|value| ContentType::parse(slice(raw, value)))
            .unwrap_or_default();
        let transfer = header
            .transfer
            .clone()
            .map_or(TransferEncoding::Identity, |value| {
                TransferEncoding::parse(slice(raw, value))
            });
        let parent = self.chain.last().copied();
        let in_digest = parent
            .and_then(|parent| self.parts.get(parent))
            .is_some_and(|parent| {
                parent.content_type.essence == "multipart/digest" && header.content_type.is_none()
            });
        let kind = match kind_of(&content_type, transfer) {
            // RFC 2046 §5.1.5: what says nothing in a digest is a message.
            PartKind::Leaf if in_digest && transfer == TransferEncoding::Identity => {
                PartKind::Message
            }
            kind => kind,
        };
        let index = self.parts.len();
        let section = self.section(parent, kind);
        if let Some(parent) = parent.and_then(|parent| self.parts.get_mut(parent)) {
            parent.children.push(index);
        }
        let body = header.body;
        let mut shared = false;
        if matches!(kind, PartKind::Signed | PartKind::Multipart)
            && let Some(boundary) = content_type.parameter("boundary")
            && (1..=MAX_BOUNDARY).contains(&boundary.value.len())
        {
            // A boundary inside itself, or inside one that it is part of: readers differ in whose
            // delimiters these are, and what it holds is not looked at.
            shared = !self.stack.push(index, self.chain.len(), &boundary.value);
        }
        self.chain.push(index);
        self.parts.push(Part {
            kind,
            section,
            parent,
            children: Vec::new(),
            header,
            content_type,
            transfer,
            whole: start..end,
            ambiguous: shared,
        });
        if shared {
            self.mark_open();
        }
        Ok((index, body))
    }

    /// IMAP part numbers (RFC 3501 §6.4.5).
    fn section(&self, parent: Option<usize>, kind: PartKind) -> String {
        let multipart = matches!(kind, PartKind::Signed | PartKind::Multipart);
        let Some(parent) = parent.and_then(|parent| self.parts.get(parent)) else {
            return if multipart {
                String::new()
            } else {
                "1".to_owned()
            };
        };
        if parent.kind == PartKind::Message {
            return if multipart {
                parent.section.clone()
            } else {
                format!("{}.1", parent.section)
            };
        }
        let number = parent.children.len() + 1;
        if parent.section.is_empty() {
            number.to_string()
        } else {
            format!("{}.{number}", parent.section)
        }
    }

    fn walk(&mut self, start: usize) -> Result<(), Defect> {
        let finder = memmem::Finder::new(b"\n--");
        let mut at = start;
        let mut line_start = true; // a body starts at the start of a line
        // Without an open multipart no line means anything.
        while at < self.end && !self.stack.open.is_empty() {
            if !line_start {
                // The line feed before a delimiter may be the last byte passed over.
                let from = at.saturating_sub(1);
                match find(&finder, slice(self.raw, from..self.end)) {
                    Some(found) => at = from + found + 1,
                    None => break,
                }
            }
            line_start = false;
            match self.delimiter(at)? {
                Some(next) => {
                    at = next;
                    line_start = true;
                }
                None => at += 1,
            }
        }
        Ok(())
    }

    /// Handles a possible delimiter line at `at`; returns where the search goes on if it was one.
    fn delimiter(&mut self, at: usize) -> Result<Option<usize>, Defect> {
        let line = classify(self.raw, at, self.end, &self.stack);
        if line.prefix {
            // RFC 2046 lets readers take a line that starts with a boundary as its delimiter.
            self.mark_open();
        }
        let Some((which, tail)) = line.exact else {
            return Ok(None);
        };
        let place = self.stack.open.get(which).map_or(0, |open| open.place);
        // An empty message in a part may start behind the line end that the delimiter takes away.
        let mut bound = at;
        for index in self.chain.drain(place + 1..) {
            if let Some(part) = self.parts.get_mut(index) {
                let end = before_delimiter(self.raw, part.whole.start, at).min(bound);
                part.whole = part.whole.start.min(end)..end;
                bound = end;
            }
        }
        if tail == Tail::Close {
            self.stack.truncate(which);
            return Ok(Some(line.next));
        }
        self.stack.truncate(which + 1);
        self.enter(line.next, |_| ()).map(Some)
    }

    fn mark_open(&mut self) {
        // All that are open are marked together, so that the marked ones come first.
        for open in self.stack.open.iter_mut().rev() {
            if open.marked {
                break;
            }
            open.marked = true;
            if let Some(part) = self.parts.get_mut(open.part) {
                part.ambiguous = true;
            }
        }
    }
}

/// Where `\n--` is. The start is looked at by hand, or the search would mostly start and stop where such
/// lines are dense.
fn find(finder: &memmem::Finder<'_>, text: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let near = text.get(..NEAR).unwrap_or(text);
    near.windows(3)
        .position(|three| three == b"\n--")
        .or_else(|| finder.find(text))
}

struct Line {
    /// The open multipart that this line delimits exactly.
    exact: Option<(usize, Tail)>,
    /// The line starts with an open boundary and goes on.
    prefix: bool,
    /// Where the next line starts, after a delimiter.
    next: usize,
}

fn classify(raw: &[u8], at: usize, end: usize, stack: &Stack) -> Line {
    let none = Line {
        exact: None,
        prefix: false,
        next: end,
    };
    let Some(rest) = slice(raw, at..end).strip_prefix(b"--") else {
        return none;
    };
    let Some((which, length)) = stack.find(rest) else {
        return none;
    };
    let (tail, next) = delimiter_tail(raw, at + 2 + length, end);
    match tail {
        Tail::Other => Line {
            prefix: true,
            ..none
        },
        _ => Line {
            exact: Some((which, tail)),
            prefix: false,
            next,
        },
    }
}

fn kind_of(content_type: &ContentType, transfer: TransferEncoding) -> PartKind {
    let essence = content_type.essence.as_str();
    if essence == "multipart/signed" {
        PartKind::Signed
    } else if essence.starts_with("multipart/") {
        PartKind::Multipart
    } else if matches!(essence, "message/rfc822" | "message/global")
        && transfer == TransferEncoding::Identity
    {
        PartKind::Message
    } else {
        PartKind::Leaf
    }
}
