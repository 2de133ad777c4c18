//! The strict reader. It hands out sub-readers over borrowed bytes; the caller decides how deep to go.
//! X.690 §8 and §10.

use crate::oid::Oid;
use crate::time::UnixTime;

use super::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING,
    SEQUENCE, SET, Tag, UTC_TIME,
};

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// One element: its identifier, its content, and the bytes of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The identifier octet.
    pub tag: Tag,
    /// The content octets.
    pub content: &'a [u8],
    /// Identifier, length and content.
    pub raw: &'a [u8],
}

/// A BIT STRING: octets, of which the last has `unused` bits that do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitString<'a> {
    /// How many bits of the last octet are padding (zero, as DER wants).
    pub unused: u8,
    /// The octets.
    pub bytes: &'a [u8],
}

/// Why bytes are not the DER that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not DER: {0}")]
pub struct DerError(pub &'static str);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The identifier that comes next.
    #[must_use]
    pub fn peek(&self) -> Option<Tag> {
        self.rest.first().copied()
    }

    /// Checks that nothing is left.
    pub const fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DerError("trailing bytes"))
        }
    }

    /// The next element, whatever it is.
    pub fn any(&mut self) -> Result<Element<'a>, DerError> {
        let all = self.rest;
        let (&tag, after) = all.split_first().ok_or(DerError("ends early"))?;
        if tag & 0x1f == 0x1f {
            return Err(DerError("identifier of more than one octet"));
        }
        if tag == 0 {
            return Err(DerError("end-of-contents"));
        }
        let (&first, mut after) = after.split_first().ok_or(DerError("ends early"))?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 {
                return Err(DerError("indefinite length"));
            }
            if count > size_of::<u64>() {
                return Err(DerError("length too long"));
            }
            let (octets, tail) = after
                .split_at_checked(count)
                .ok_or(DerError("ends early"))?;
            after = tail;
            let length = octets
                .iter()
                .fold(0_u64, |sum, b| (sum << 8) | u64::from(*b));
            if length < 0x80 || octets.first() == Some(&0) {
                return Err(DerError("length not minimal"));
            }
            usize::try_from(length).map_err(|_| DerError("length too long"))?
        };
        let (content, rest) = after
            .split_at_checked(length)
            .ok_or(DerError("ends early"))?;
        self.rest = rest;
        let raw = all.get(..all.len() - rest.len()).unwrap_or(all);
        Ok(Element { tag, content, raw })
    }

    /// The next element, which must be a `tag`.
    pub fn element(&mut self, tag: Tag) -> Result<Element<'a>, DerError> {
        let before = *self;
        let element = self.any()?;
        if element.tag == tag {
            return Ok(element);
        }
        *self = before;
        Err(DerError("another element than expected"))
    }

    /// The next element if it is a `tag`.
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Element<'a>>, DerError> {
        if self.peek() == Some(tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// A reader of the content of the next element, which must be a `tag`.
    pub fn nested(&mut self, tag: Tag) -> Result<Self, DerError> {
        Ok(Self::new(self.element(tag)?.content))
    }

    /// A reader of the content of a SEQUENCE.
    pub fn sequence(&mut self) -> Result<Self, DerError> {
        self.nested(SEQUENCE)
    }

    /// A reader of the content of a SET.
    pub fn set(&mut self) -> Result<Self, DerError> {
        self.nested(SET)
    }

    /// An object identifier.
    pub fn oid(&mut self) -> Result<Oid<'a>, DerError> {
        Oid::from_content(self.element(OBJECT_IDENTIFIER)?.content)
            .ok_or(DerError("object identifier has a bad form"))
    }

    /// A BOOLEAN, 00 or FF.
    pub fn boolean(&mut self) -> Result<bool, DerError> {
        self.element(BOOLEAN)?.boolean()
    }

    /// The content octets of an INTEGER: at least one, minimal, two's complement.
    pub fn integer(&mut self) -> Result<&'a [u8], DerError> {
        self.element(INTEGER)?.integer()
    }

    /// An INTEGER from 0 to `u32::MAX`.
    pub fn small(&mut self) -> Result<u32, DerError> {
        self.element(INTEGER)?.small()
    }

    /// The magnitude of an INTEGER that is not negative, without leading zero octets.
    pub fn unsigned(&mut self) -> Result<&'a [u8], DerError> {
        self.element(INTEGER)?.unsigned()
    }

    /// A BIT STRING.
    pub fn bit_string(&mut self) -> Result<BitString<'a>, DerError> {
        self.element(BIT_STRING)?.bit_string()
    }

    /// The octets of an OCTET STRING.
    pub fn octet_string(&mut self) -> Result<&'a [u8], DerError> {
        Ok(self.element(OCTET_STRING)?.content)
    }

    /// A NULL.
    pub fn null(&mut self) -> Result<(), DerError> {
        if self.element(NULL)?.content.is_empty() {
            Ok(())
        } else {
            Err(DerError("NULL has content"))
        }
    }

    /// A UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 profiles them.
    pub fn time(&mut self) -> Result<UnixTime, DerError> {
        self.any()?.time()
    }
}

impl<'a> Element<'a> {
    /// A reader of the content.
    #[must_use]
    pub const fn reader(&self) -> Reader<'a> {
        Reader::new(self.content)
    }

    /// The content as a BOOLEAN.
    pub const fn boolean(&self) -> Result<bool, DerError> {
        match self.content {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(DerError("BOOLEAN has a bad form")),
        }
    }

    /// The content as an INTEGER: two's complement, minimal.
    pub const fn integer(&self) -> Result<&'a [u8], DerError> {
        match self.content {
            [] => Err(DerError("INTEGER is empty")),
            [0, 0..=0x7f, ..] => Err(DerError("INTEGER not minimal")),
            [0xff, 0x80..=0xff, ..] => Err(DerError("INTEGER not minimal")),
            content => Ok(content),
        }
    }

    /// The content as the magnitude of an INTEGER that is not negative, without leading zero octets.
    pub fn unsigned(&self) -> Result<&'a [u8], DerError> {
        match self.integer()? {
            [first, ..] if first & 0x80 != 0 => Err(DerError("INTEGER is negative")),
            [0, rest @ ..] => Ok(rest),
            content => Ok(content),
        }
    }

    /// The content as an INTEGER from 0 to `u32::MAX`.
    pub fn small(&self) -> Result<u32, DerError> {
        let magnitude = self.unsigned()?;
        if magnitude.len() > size_of::<u32>() {
            return Err(DerError("INTEGER too large"));
        }
        Ok(magnitude
            .iter()
            .fold(0, |sum, b| (sum << 8) | u32::from(*b)))
    }

    /// The content as a BIT STRING whose padding bits are zero.
    pub fn bit_string(&self) -> Result<BitString<'a>, DerError> {
        let (&unused, bytes) = self
            .content
            .split_first()
            .ok_or(DerError("BIT STRING is empty"))?;
        let last = bytes.last().copied();
        let clean = match last {
            None => unused == 0,
            Some(last) => unused < 8 && u16::from(last) & ((1_u16 << unused) - 1) == 0,
        };
        if clean {
            Ok(BitString { unused, bytes })
        } else {
            Err(DerError("BIT STRING has bad padding"))
        }
    }

    /// The element as a UTCTime or GeneralizedTime.
    pub fn time(&self) -> Result<UnixTime, DerError> {
        match self.tag {
            UTC_TIME => UnixTime::from_utc_time(self.content),
            GENERALIZED_TIME => UnixTime::from_generalized_time(self.content),
            _ => None,
        }
        .ok_or(DerError("time has a bad form"))
    }
}

impl<'a> BitString<'a> {
    /// Bit `number`, counted from the first; bits beyond the end are zero.
    #[must_use]
    pub fn bit(&self, number: usize) -> bool {
        self.bytes
            .get(number / 8)
            .is_some_and(|byte| byte & (0x80 >> (number % 8)) != 0)
    }

    /// The octets, when no bit is unused.
    pub const fn octets(&self) -> Result<&'a [u8], DerError> {
        if self.unused == 0 {
            Ok(self.bytes)
        } else {
            Err(DerError("BIT STRING is not whole octets"))
        }
    }
}
