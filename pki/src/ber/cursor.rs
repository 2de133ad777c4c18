//! Walking the tape.

use std::borrow::Cow;
use std::ops::Range;

use super::tape::Node;
use super::{Class, Tag, Tape};
use crate::der::write;
use crate::oid::Oid;

/// An element of a tape.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'t, 'a> {
    tape: &'t Tape<'a>,
    index: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(super) const fn new(tape: &'t Tape<'a>, index: usize) -> Self {
        Self { tape, index }
    }

    /// Class and number.
    #[must_use]
    pub fn tag(self) -> Tag {
        self.node().tag
    }

    /// Whether it is a `tag`.
    #[must_use]
    pub fn is(self, tag: Tag) -> bool {
        self.tag() == tag
    }

    /// Whether it is made of elements.
    #[must_use]
    pub fn is_constructed(self) -> bool {
        self.node().constructed
    }

    /// Whether its end was marked by end-of-contents.
    #[must_use]
    pub fn is_indefinite(self) -> bool {
        self.node().indefinite
    }

    /// Whether its own identifier and length have the one form that DER allows (what is inside is not looked at).
    #[must_use]
    pub fn has_der_header(self) -> bool {
        self.node().minimal
    }

    /// How deep it stands; the outermost element has depth 0.
    #[must_use]
    pub fn depth(self) -> u8 {
        self.node().depth
    }

    /// Where its bytes stand in the input: identifier through end-of-contents.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let node = self.node();
        large(node.start)..large(node.end)
    }

    /// Where its content stands in the input, without end-of-contents.
    #[must_use]
    pub fn content_range(self) -> Range<usize> {
        let node = self.node();
        large(node.content)..large(node.content_end)
    }

    /// Its bytes: identifier through end-of-contents.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.tape.bytes.get(self.range()).unwrap_or_default()
    }

    /// Its content octets, without end-of-contents.
    #[must_use]
    pub fn content(self) -> &'a [u8] {
        self.tape
            .bytes
            .get(self.content_range())
            .unwrap_or_default()
    }

    /// Its bytes as DER has them: each length is definite and minimal, and each OCTET STRING is in one piece. What else is
    /// not DER in it stays, and so does all of it where it is longer than what anybody writes as a name or as parameters.
    #[must_use]
    pub fn to_der(self) -> Cow<'a, [u8]> {
        let raw = self.raw();
        let end = large(self.node().next);
        let inside = self.tape.nodes.get(self.index..end).unwrap_or_default();
        let is_der =
            |node: &Node| node.minimal && !(node.constructed && node.tag == Tag::OCTET_STRING);
        let is_long = |node: &Node| node.tag.number > SHORT_TAG;
        if raw.len() > MAX_CONVERTED || inside.iter().all(is_der) || inside.iter().any(is_long) {
            return raw.into();
        }
        // From the last element to the first, so that what is inside of one is there before it. On top is what follows.
        let mut made: Vec<Vec<u8>> = Vec::new();
        for cursor in (self.index..end)
            .rev()
            .map(|index| Self::new(self.tape, index))
        {
            let count = cursor.children().count();
            let within = made.split_off(made.len().saturating_sub(count));
            let (constructed, content) = match cursor.octet_string() {
                Some(octets) => (false, octets.contiguous()),
                None if cursor.is_constructed() => {
                    let in_order: Vec<Vec<u8>> = within.into_iter().rev().collect();
                    (true, in_order.concat().into())
                }
                None => (false, cursor.content().into()),
            };
            made.push(write::element(cursor.identifier(constructed), &content));
        }
        made.pop().map_or_else(|| raw.into(), Cow::Owned)
    }

    /// The one octet of an identifier with a short tag number.
    fn identifier(self, constructed: bool) -> u8 {
        let Tag { class, number } = self.tag();
        let class = match class {
            Class::Universal => 0x00,
            Class::Application => 0x40,
            Class::Context => 0x80,
            Class::Private => 0xc0,
        };
        let form = if constructed { 0x20 } else { 0x00 };
        class | form | u8::try_from(number.min(SHORT_TAG)).unwrap_or_default()
    }

    /// The elements directly inside, in order; none for a primitive.
    #[must_use]
    pub fn children(self) -> Children<'t, 'a> {
        Children {
            tape: self.tape,
            index: self.index + 1,
            end: large(self.node().next),
        }
    }

    /// The first element inside.
    #[must_use]
    pub fn first_child(self) -> Option<Self> {
        self.children().next()
    }

    /// The one element inside; `None` where there is none or more than one.
    #[must_use]
    pub fn only_child(self) -> Option<Self> {
        let mut children = self.children();
        let child = children.next()?;
        children.next().is_none().then_some(child)
    }

    /// The octets of a string with the outer tag `tag` (universal or implicit) and segments OCTET STRING:
    /// chunks in order, nothing copied. `None` if it has another tag or is made of something else.
    #[must_use]
    pub fn octets(self, tag: Tag) -> Option<Octets<'t, 'a>> {
        let node = self.node();
        let end = large(node.next);
        let inner = self.tape.nodes.get(self.index + 1..end)?;
        if node.tag != tag || !inner.iter().all(|n| n.tag == Tag::OCTET_STRING) {
            return None;
        }
        Some(Octets {
            tape: self.tape,
            index: self.index,
            end,
        })
    }

    /// The octets of an OCTET STRING.
    #[must_use]
    pub fn octet_string(self) -> Option<Octets<'t, 'a>> {
        self.octets(Tag::OCTET_STRING)
    }

    /// The object identifier that this is.
    #[must_use]
    pub fn oid(self) -> Option<Oid<'a>> {
        if self.is_constructed() || !self.is(Tag::OBJECT_IDENTIFIER) {
            return None;
        }
        Oid::from_content(self.content())
    }

    /// The content octets of the INTEGER that this is, one octet at least.
    #[must_use]
    pub fn integer(self) -> Option<&'a [u8]> {
        let content = self.content();
        (self.is(Tag::INTEGER) && !self.is_constructed() && !content.is_empty()).then_some(content)
    }

    /// The small INTEGER that this is.
    #[must_use]
    pub fn small(self) -> Option<u32> {
        let content = self.integer()?;
        if content.len() > 4 || content.first().is_some_and(|first| first & 0x80 != 0) {
            return None;
        }
        Some(
            content
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
        )
    }

    /// Whether this is context-specific `number`.
    #[must_use]
    pub fn is_context(self, number: u32) -> bool {
        self.tag()
            == Tag {
                class: Class::Context,
                number,
            }
    }

    fn node(self) -> Node {
        self.tape.nodes.get(self.index).copied().unwrap_or(NOTHING)
    }
}

/// The elements directly inside another.
#[derive(Clone, Debug)]
pub struct Children<'t, 'a> {
    tape: &'t Tape<'a>,
    index: usize,
    end: usize,
}

impl<'t, 'a> Iterator for Children<'t, 'a> {
    type Item = Cursor<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.end {
            return None;
        }
        let cursor = Cursor::new(self.tape, self.index);
        // A node's `next` is always beyond it; the maximum keeps that true even of a broken tape.
        self.index = large(cursor.node().next).max(self.index + 1);
        Some(cursor)
    }
}

/// The chunks of a string.
#[derive(Clone, Debug)]
pub struct Octets<'t, 'a> {
    tape: &'t Tape<'a>,
    index: usize,
    end: usize,
}

impl<'a> Octets<'_, 'a> {
    /// How many octets there are in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.clone().map(<[u8]>::len).sum()
    }

    /// Where the chunks stand in the input, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range<usize>> {
        (self.index..self.end)
            .map(|index| Cursor::new(self.tape, index))
            .filter(|cursor| !cursor.is_constructed())
            .map(Cursor::content_range)
            .collect()
    }

    /// All octets in one piece, borrowed where they stand in one piece.
    #[must_use]
    pub fn contiguous(self) -> Cow<'a, [u8]> {
        let mut chunks = self.clone().filter(|chunk| !chunk.is_empty());
        let first = chunks.next().unwrap_or_default();
        if chunks.next().is_none() {
            return first.into();
        }
        let mut all = Vec::with_capacity(self.total());
        for chunk in self {
            all.extend_from_slice(chunk);
        }
        all.into()
    }
}

impl<'a> Iterator for Octets<'_, 'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        while self.index < self.end {
            let cursor = Cursor::new(self.tape, self.index);
            self.index += 1;
            if !cursor.is_constructed() {
                return Some(cursor.content());
            }
        }
        None
    }
}

fn large(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The greatest tag number that fits the first octet (X.690 §8.1.2.2).
const SHORT_TAG: u32 = 30;
/// Octets that are put into another form, each at most as many times as elements stand inside each other.
const MAX_CONVERTED: usize = 64 * 1024;
/// Stands for an index that no tape hands out.
const NOTHING: Node = Node {
    start: 0,
    content: 0,
    content_end: 0,
    end: 0,
    next: 0,
    tag: Tag::universal(0),
    depth: 0,
    constructed: false,
    indefinite: false,
    minimal: false,
};
