//! The pass that makes the tape.

use super::Cursor;

/// How much structure is read before giving up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep elements may stand inside each other; the outermost has depth 0.
    pub depth: u8,
    /// How many elements there may be in all.
    pub elements: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 32,
            elements: 200_000,
        }
    }
}

/// Why there is no tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BerError {
    /// The bytes are not BER.
    #[error("malformed BER at octet {at}: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// The bytes may be BER, but there is too much of it.
    #[error("BER beyond a limit at octet {at}: {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Where.
        at: usize,
    },
}

impl BerError {
    /// Whether a limit was met, and not bad bytes.
    #[must_use]
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }
}

/// The class of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Of ASN.1 itself.
    Universal,
    /// Of an application.
    Application,
    /// Of the structure it stands in.
    Context,
    /// Of private agreement.
    Private,
}

/// Class and number of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The class.
    pub class: Class,
    /// The number.
    pub number: u32,
}

impl Tag {
    /// INTEGER.
    pub const INTEGER: Self = Self::universal(2);
    /// BIT STRING.
    pub const BIT_STRING: Self = Self::universal(3);
    /// OCTET STRING.
    pub const OCTET_STRING: Self = Self::universal(4);
    /// NULL.
    pub const NULL: Self = Self::universal(5);
    /// OBJECT IDENTIFIER.
    pub const OBJECT_IDENTIFIER: Self = Self::universal(6);
    /// SEQUENCE.
    pub const SEQUENCE: Self = Self::universal(16);
    /// SET.
    pub const SET: Self = Self::universal(17);

    /// A universal tag.
    #[must_use]
    pub const fn universal(number: u32) -> Self {
        Self {
            class: Class::Universal,
            number,
        }
    }

    /// A context-specific tag.
    #[must_use]
    pub const fn context(number: u32) -> Self {
        Self {
            class: Class::Context,
            number,
        }
    }
}

/// One BER element and everything inside it, in the order of the bytes.
#[derive(Clone, Debug)]
pub struct Tape<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) nodes: Vec<Node>,
    end: usize,
}

/// One element. Offsets fit 32 bits: longer input is refused at the door.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) content: u32,
    pub(super) content_end: u32,
    pub(super) end: u32,
    /// Index of the node that follows this one and all inside it.
    pub(super) next: u32,
    pub(super) tag: Tag,
    pub(super) depth: u8,
    pub(super) constructed: bool,
    pub(super) indefinite: bool,
    pub(super) minimal: bool,
}

impl<'a> Tape<'a> {
    /// Reads bytes that are exactly one element.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, BerError> {
        let tape = Self::parse_prefix(bytes, limits)?;
        if tape.end == bytes.len() {
            Ok(tape)
        } else {
            Err(malformed("trailing bytes", tape.end))
        }
    }

    /// Reads the one element that `bytes` begin with; [`Self::rest`] tells what follows.
    pub fn parse_prefix(bytes: &'a [u8], limits: &Limits) -> Result<Self, BerError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(limit("longer than 4 GiB", 0));
        }
        let mut tape = Self {
            bytes,
            nodes: Vec::new(),
            end: 0,
        };
        // The constructed elements that are open: index, and where a definite one ends.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut at = 0;
        loop {
            // Close every definite element that ends here.
            while let Some((index, end)) = open.last().copied() {
                if tape.is_indefinite(index) || at < end {
                    break;
                }
                tape.close(index, at, at);
                open.pop();
            }
            let bound = match open.last() {
                Some((_, end)) => *end,
                None if !tape.nodes.is_empty() => break,
                None => bytes.len(),
            };
            let header = Header::read(bytes, at, bound)?;
            if header.is_end_of_contents() {
                match open.pop() {
                    Some((index, _)) if tape.is_indefinite(index) => {
                        let end = header.content;
                        tape.close(index, at, end);
                        at = end;
                        continue;
                    }
                    _ => return Err(malformed("end-of-contents where nothing is open", at)),
                }
            }
            let depth = u8::try_from(open.len()).unwrap_or(u8::MAX);
            if depth > limits.depth {
                return Err(limit("too deep", at));
            }
            let index = tape.nodes.len();
            if index >= usize::try_from(limits.elements).unwrap_or(usize::MAX) {
                return Err(limit("too many elements", at));
            }
            let end = match header.length {
                Some(length) => match header.content.checked_add(length) {
                    Some(end) if end <= bound => end,
                    _ => return Err(malformed("length beyond the end", at)),
                },
                None => bound,
            };
            tape.nodes.push(Node {
                start: small(at),
                content: small(header.content),
                content_end: small(end),
                end: small(end),
                next: small(index + 1),
                tag: header.tag,
                depth,
                constructed: header.constructed,
                indefinite: header.length.is_none(),
                minimal: header.minimal,
            });
            if header.constructed {
                open.push((index, end));
                at = header.content;
            } else {
                at = end;
            }
        }
        tape.end = at;
        Ok(tape)
    }

    /// The outermost element.
    #[must_use]
    pub fn root(&self) -> Cursor<'_, 'a> {
        Cursor::new(self, 0)
    }

    /// What follows the element.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.end..).unwrap_or_default()
    }

    /// How many octets the element takes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.end
    }

    /// How many elements there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.nodes.len()
    }

    fn is_indefinite(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|node| node.indefinite)
    }

    fn close(&mut self, index: usize, content_end: usize, end: usize) {
        let next = small(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(index) {
            node.content_end = small(content_end);
            node.end = small(end);
            node.next = next;
        }
    }
}

/// Identifier and length octets.
struct Header {
    tag: Tag,
    constructed: bool,
    content: usize,
    /// `None` is indefinite.
    length: Option<usize>,
    minimal: bool,
}

impl Header {
    fn read(bytes: &[u8], start: usize, bound: usize) -> Result<Self, BerError> {
        let mut at = start;
        let mut next = || {
            let byte = if at < bound {
                bytes.get(at).copied()
            } else {
                None
            };
            at += 1;
            byte.ok_or_else(|| malformed("ends early", start))
        };
        let first = next()?;
        let class = match first >> 6 {
            0 => Class::Universal,
            1 => Class::Application,
            2 => Class::Context,
            _ => Class::Private,
        };
        let mut minimal = true;
        let mut number = u32::from(first & 0x1f);
        if number == 0x1f {
            number = 0;
            let mut count = 0;
            loop {
                let byte = next()?;
                count += 1;
                if count > 4 || (count == 1 && byte == 0x80) {
                    return Err(malformed("tag number has a bad form", start));
                }
                number = (number << 7) | u32::from(byte & 0x7f);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            minimal = number >= 0x1f;
        }
        let constructed = first & 0x20 != 0;
        let octet = next()?;
        let length = match octet {
            0x80 if constructed => {
                minimal = false;
                None
            }
            0x80 => return Err(malformed("indefinite length of a primitive", start)),
            0xff => return Err(malformed("reserved length", start)),
            short if short < 0x80 => Some(usize::from(short)),
            long => {
                let mut length = 0_u64;
                let count = long & 0x7f;
                for index in 0..count {
                    let byte = next()?;
                    minimal &= index > 0 || byte != 0;
                    if length >> 56 != 0 {
                        return Err(malformed("length beyond the end", start));
                    }
                    length = (length << 8) | u64::from(byte);
                }
                minimal &= length >= 0x80;
                Some(
                    usize::try_from(length)
                        .map_err(|_| malformed("length beyond the end", start))?,
                )
            }
        };
        let tag = Tag { class, number };
        if tag == END_OF_CONTENTS && (first != 0 || length != Some(0) || !minimal) {
            return Err(malformed("end-of-contents has a bad form", start));
        }
        Ok(Self {
            tag,
            constructed,
            content: at,
            length,
            minimal,
        })
    }

    fn is_end_of_contents(&self) -> bool {
        self.tag == END_OF_CONTENTS
    }
}

const fn malformed(what: &'static str, at: usize) -> BerError {
    BerError::Malformed { what, at }
}

const fn limit(what: &'static str, at: usize) -> BerError {
    BerError::Limit { what, at }
}

/// Offsets were checked to fit at the door.
fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

const END_OF_CONTENTS: Tag = Tag::universal(0);
