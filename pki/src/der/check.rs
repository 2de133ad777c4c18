//! Is a run of bytes one DER element? Walks with a bounded stack of its own, never with calls.
//! X.690 §10 and §11.

use super::reader::{Element, Reader};
use super::{BIT_STRING, BOOLEAN, INTEGER, NULL, OBJECT_IDENTIFIER, SEQUENCE, SET};
use crate::oid::Oid;

/// Whether `bytes` is exactly one DER element: definite minimal lengths throughout, strings primitive,
/// BOOLEAN, INTEGER, BIT STRING and OBJECT IDENTIFIER in their one form. The order inside a SET is not
/// looked at (whether a SET is a SET OF is known only to who knows its type): see [`is_der_set_of`].
#[must_use]
pub fn is_der(bytes: &[u8]) -> bool {
    let mut open = Vec::with_capacity(8);
    open.push(Reader::new(bytes));
    let mut outermost = true;
    while let Some(reader) = open.last_mut() {
        if reader.is_empty() {
            if outermost {
                return false;
            }
            open.pop();
            continue;
        }
        let Ok(element) = reader.any() else {
            return false;
        };
        if outermost && !reader.is_empty() {
            return false;
        }
        outermost = false;
        if element.tag & 0x20 != 0 {
            if open.len() >= MAX_DEPTH
                || matches!(element.tag & 0xc0, 0) && !is_collection(element.tag)
            {
                return false;
            }
            open.push(element.reader());
        } else if !primitive_is_der(&element) {
            return false;
        }
    }
    true
}

/// Whether `content`, the content octets of a SET OF, holds DER elements in ascending order of their
/// encodings, as X.690 §11.6 asks.
#[must_use]
pub fn is_der_set_of(content: &[u8]) -> bool {
    let mut reader = Reader::new(content);
    let mut last: &[u8] = &[];
    while !reader.is_empty() {
        let Ok(element) = reader.any() else {
            return false;
        };
        if !is_der(element.raw) || element.raw < last {
            return false;
        }
        last = element.raw;
    }
    true
}

const fn is_collection(tag: u8) -> bool {
    matches!(tag, SEQUENCE | SET | 0x28 | 0x2b)
}

fn primitive_is_der(element: &Element<'_>) -> bool {
    match element.tag {
        BOOLEAN => element.boolean().is_ok(),
        INTEGER => element.integer().is_ok(),
        BIT_STRING => element.bit_string().is_ok(),
        NULL => element.content.is_empty(),
        OBJECT_IDENTIFIER => Oid::from_content(element.content).is_some(),
        // A collection is always constructed.
        0x08 | 0x0b | 0x10 | 0x11 => false,
        _ => true,
    }
}

const MAX_DEPTH: usize = 64;
