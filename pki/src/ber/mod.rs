//! BER as mail has it: one pass over the bytes into a flat list of elements, which cursors then walk.
//!
//! Indefinite lengths, constructed strings and lengths that are not minimal are read; nothing is copied but what
//! is asked for in DER, nothing recurses, and nothing is allocated for a length that is only claimed. X.690 §8.

mod cursor;
mod tape;

#[cfg(test)]
mod tests;

pub use cursor::{Children, Cursor, Octets};
pub use tape::{BerError, Class, Limits, Tag, Tape};
