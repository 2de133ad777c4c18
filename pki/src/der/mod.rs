//! Strict DER: a reader for small structures, the check that bytes are DER, and a writer.
//!
//! The reader accepts one-octet tags, definite and minimal lengths, and nothing else; it never recurses
//! and never copies. BER, as mail has it, is read by [`crate::ber`].

mod check;
mod reader;
pub mod write;

pub use check::{is_der, is_der_set_of};
pub use reader::{BitString, DerError, Element, Reader};

/// A one-octet identifier: class, constructed bit and number below 31.
pub type Tag = u8;

/// BOOLEAN.
pub const BOOLEAN: Tag = 0x01;
/// INTEGER.
pub const INTEGER: Tag = 0x02;
/// BIT STRING.
pub const BIT_STRING: Tag = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: Tag = 0x04;
/// NULL.
pub const NULL: Tag = 0x05;
/// OBJECT IDENTIFIER.
pub const OBJECT_IDENTIFIER: Tag = 0x06;
/// ENUMERATED.
pub const ENUMERATED: Tag = 0x0a;
/// UTF8String.
pub const UTF8_STRING: Tag = 0x0c;
/// NumericString.
pub const NUMERIC_STRING: Tag = 0x12;
/// PrintableString.
pub const PRINTABLE_STRING: Tag = 0x13;
/// TeletexString, also called T61String.
pub const TELETEX_STRING: Tag = 0x14;
/// IA5String.
pub const IA5_STRING: Tag = 0x16;
/// UTCTime.
pub const UTC_TIME: Tag = 0x17;
/// GeneralizedTime.
pub const GENERALIZED_TIME: Tag = 0x18;
/// VisibleString.
pub const VISIBLE_STRING: Tag = 0x1a;
/// UniversalString.
pub const UNIVERSAL_STRING: Tag = 0x1c;
/// BMPString.
pub const BMP_STRING: Tag = 0x1e;
/// SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: Tag = 0x30;
/// SET and SET OF.
pub const SET: Tag = 0x31;

/// The identifier of the context-specific primitive element `number` (below 31).
#[must_use]
pub const fn context(number: u8) -> Tag {
    0x80 | (number & 0x1f)
}

/// The identifier of the context-specific constructed element `number` (below 31).
#[must_use]
pub const fn context_constructed(number: u8) -> Tag {
    0xa0 | (number & 0x1f)
}

#[cfg(test)]
mod tests;
