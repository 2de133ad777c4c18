//! Writes DER: each function returns one whole element. Content that the caller supplies is taken as it
//! is; what cannot be written (a bad dotted identifier of the caller's own) becomes a visible error.
//! X.690 §10.

use super::{
    BIT_STRING, BOOLEAN, ENUMERATED, IA5_STRING, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING,
    PRINTABLE_STRING, SEQUENCE, SET, Tag, UTF8_STRING, context, context_constructed,
};
use crate::oid::{Oid, OidBuf};
use crate::time::UnixTime;

/// An element `tag` with `content`.
#[must_use]
pub fn element(tag: Tag, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    push_length(&mut out, content.len());
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of the given elements, in this order.
#[must_use]
pub fn seq<T: AsRef<[u8]>>(elements: &[T]) -> Vec<u8> {
    element(SEQUENCE, &concat(elements))
}

/// A SET OF the given elements, put in DER order.
#[must_use]
pub fn set_of<T: AsRef<[u8]>>(elements: &[T]) -> Vec<u8> {
    element(SET, &set_of_content(elements))
}

/// The content octets of a SET OF, in DER order (for an implicit tag).
#[must_use]
pub fn set_of_content<T: AsRef<[u8]>>(elements: &[T]) -> Vec<u8> {
    let mut sorted: Vec<&[u8]> = elements.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted.concat()
}

/// The elements one after the other.
#[must_use]
pub fn concat<T: AsRef<[u8]>>(elements: &[T]) -> Vec<u8> {
    let length = elements.iter().map(|element| element.as_ref().len());
    let mut out = Vec::with_capacity(length.sum());
    for element in elements {
        out.extend_from_slice(element.as_ref());
    }
    out
}

/// An OBJECT IDENTIFIER from a constant or from dotted decimal.
#[must_use]
pub fn oid<'a>(oid: impl Into<OidText<'a>>) -> Vec<u8> {
    match oid.into() {
        OidText::Oid(oid) => element(OBJECT_IDENTIFIER, oid.content()),
        // A bad text becomes an empty identifier, which every reader refuses.
        OidText::Dotted(text) => match OidBuf::from_dotted(text) {
            Some(oid) => element(OBJECT_IDENTIFIER, oid.as_oid().content()),
            None => element(OBJECT_IDENTIFIER, &[]),
        },
    }
}

/// An object identifier as a caller may give it.
#[derive(Clone, Copy, Debug)]
pub enum OidText<'a> {
    /// As octets.
    Oid(Oid<'a>),
    /// As dotted decimal.
    Dotted(&'a str),
}

impl<'a> From<&'a str> for OidText<'a> {
    fn from(text: &'a str) -> Self {
        Self::Dotted(text)
    }
}

impl<'a> From<Oid<'a>> for OidText<'a> {
    fn from(oid: Oid<'a>) -> Self {
        Self::Oid(oid)
    }
}

impl<'a> From<&'a OidBuf> for OidText<'a> {
    fn from(oid: &'a OidBuf) -> Self {
        Self::Oid(oid.as_oid())
    }
}

/// An INTEGER of the machine's size.
#[must_use]
pub fn integer(value: i64) -> Vec<u8> {
    element(INTEGER, &signed_content(value))
}

/// An INTEGER that is not negative, from its big-endian magnitude.
#[must_use]
pub fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let skip = magnitude.iter().take_while(|b| **b == 0).count();
    let magnitude = magnitude.get(skip..).unwrap_or_default();
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|first| first & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    element(INTEGER, &content)
}

/// An ENUMERATED.
#[must_use]
pub fn enumerated(value: i64) -> Vec<u8> {
    element(ENUMERATED, &signed_content(value))
}

/// A BOOLEAN.
#[must_use]
pub fn boolean(value: bool) -> Vec<u8> {
    element(BOOLEAN, &[if value { 0xff } else { 0 }])
}

/// A NULL.
#[must_use]
pub fn null() -> Vec<u8> {
    element(NULL, &[])
}

/// An OCTET STRING.
#[must_use]
pub fn octet_string(octets: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, octets)
}

/// A BIT STRING of whole octets.
#[must_use]
pub fn bit_string(octets: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(octets.len() + 1);
    content.push(0);
    content.extend_from_slice(octets);
    element(BIT_STRING, &content)
}

/// A BIT STRING that is a list of named bits: bit 0 is the lowest bit of `bits`; trailing zeros are left out.
#[must_use]
pub fn named_bits(bits: u16) -> Vec<u8> {
    element(BIT_STRING, &named_bits_content(bits))
}

/// The content octets of [`named_bits`], for an implicit tag.
#[must_use]
pub fn named_bits_content(bits: u16) -> Vec<u8> {
    let [high, low] = bits.reverse_bits().to_be_bytes();
    let octets: &[u8] = if low != 0 {
        &[high, low]
    } else if high != 0 {
        &[high]
    } else {
        &[]
    };
    let unused = octets.last().map_or(0, |last| last.trailing_zeros());
    let mut content = vec![u8::try_from(unused).unwrap_or(0)];
    content.extend_from_slice(octets);
    content
}

/// A UTF8String.
#[must_use]
pub fn utf8_string(text: &str) -> Vec<u8> {
    element(UTF8_STRING, text.as_bytes())
}

/// A PrintableString; the caller sees to its alphabet.
#[must_use]
pub fn printable_string(text: &str) -> Vec<u8> {
    element(PRINTABLE_STRING, text.as_bytes())
}

/// An IA5String; the caller sees to its alphabet.
#[must_use]
pub fn ia5_string(text: &str) -> Vec<u8> {
    element(IA5_STRING, text.as_bytes())
}

/// A time as RFC 5280 §4.1.2.5 writes it: UTCTime through 2049, GeneralizedTime after.
#[must_use]
pub fn time(time: UnixTime) -> Vec<u8> {
    let (tag, text) = time.to_x509();
    element(tag, text.as_bytes())
}

/// `[number] EXPLICIT` around a whole element.
#[must_use]
pub fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    element(context_constructed(number), inner)
}

/// `[number] IMPLICIT` primitive with this content.
#[must_use]
pub fn implicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(context(number), content)
}

/// Elements around a content that is written by itself, between a head and a tail. A large content is not copied for each
/// element that it stands in.
#[derive(Clone, Debug)]
pub struct Enclosure {
    head: Vec<u8>,
    content: usize,
    tail: Vec<u8>,
}

impl Enclosure {
    /// Nothing yet, around a content of so many octets.
    #[must_use]
    pub const fn around(content: usize) -> Self {
        Self {
            head: Vec::new(),
            content,
            tail: Vec::new(),
        }
    }

    /// An element `tag` around what there is, with whole elements before and after that.
    #[must_use]
    pub fn element(self, tag: Tag, before: &[u8], after: &[u8]) -> Self {
        let beside = before.len().saturating_add(after.len());
        let length = self.len().saturating_add(beside);
        let mut head = Vec::with_capacity(self.head.len().saturating_add(before.len()) + 10);
        head.push(tag);
        push_length(&mut head, length);
        head.extend_from_slice(before);
        head.extend_from_slice(&self.head);
        let mut tail = self.tail;
        tail.extend_from_slice(after);
        Self { head, tail, ..self }
    }

    /// What stands before the content.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What stands behind it.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Octets of all, the content among them.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        let beside = self.head.len().saturating_add(self.tail.len());
        beside.saturating_add(self.content)
    }
}

/// Gives a whole element another identifier octet, which is how an implicit tag is put on.
#[must_use]
pub fn retag(tag: Tag, mut whole: Vec<u8>) -> Vec<u8> {
    if let Some(first) = whole.first_mut() {
        *first = tag;
    }
    whole
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    let octets = length.to_be_bytes();
    let skip = octets.iter().take_while(|b| **b == 0).count();
    let octets = octets.get(skip..).unwrap_or_default();
    match octets {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        _ => {
            out.push(0x80 | u8::try_from(octets.len()).unwrap_or(8));
            out.extend_from_slice(octets);
        }
    }
}

fn signed_content(value: i64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let mut content: &[u8] = &octets;
    while let [first, rest @ ..] = content {
        let redundant = match rest.first() {
            Some(second) => {
                (*first == 0 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0)
            }
            None => false,
        };
        if !redundant {
            break;
        }
        content = rest;
    }
    content.to_vec()
}
