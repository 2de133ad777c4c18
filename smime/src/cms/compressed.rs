//! CompressedData (RFC 3274): expanded in pieces, and no further than the limits let it.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use kenin_pki::ber::{Cursor, Tag};

use super::{Refusal, algorithm, oids};
use crate::defect::Defect;
use crate::limits::Limits;
use crate::mime::slice;

/// A CompressedData, as places in the object that it was read from.
#[derive(Debug)]
pub(crate) struct Compressed {
    /// The chunks of the eContent.
    content: Vec<Range<usize>>,
}

impl Compressed {
    /// Reads the content of a ContentInfo.
    pub(crate) fn read(content: Cursor<'_, '_>) -> Result<Self, Refusal> {
        if !content.is(Tag::SEQUENCE) {
            return Err(BAD);
        }
        let mut children = content.children();
        children.next().and_then(Cursor::integer).ok_or(BAD)?;
        let method = children.next().and_then(algorithm).ok_or(BAD)?;
        let info = children
            .next()
            .filter(|child| child.is(Tag::SEQUENCE))
            .ok_or(BAD)?;
        if children.next().is_some() {
            return Err(BAD);
        }
        let mut inside = info.children();
        let content_type = inside.next().and_then(Cursor::oid).ok_or(BAD)?;
        let octets = inside
            .next()
            .filter(|wrapper| wrapper.is_context(0))
            .and_then(Cursor::only_child)
            .and_then(Cursor::octet_string)
            .ok_or(BAD)?;
        if inside.next().is_some() {
            return Err(BAD);
        }
        if oids::ZLIB != method.oid() {
            return Err((
                Defect::UnsupportedAlgorithm,
                "the compression is not supported",
            ));
        }
        if oids::DATA != content_type {
            return Err((Defect::UnsupportedLayer, "what is compressed is not mail"));
        }
        Ok(Self {
            content: octets.ranges(),
        })
    }

    /// The content, expanded. `object` is what it was read from.
    pub(crate) fn expand(&self, object: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
        let compressed: usize = self.content.iter().map(Range::len).sum();
        let mut inflater = Inflater {
            state: Decompress::new(true),
            block: vec![0; BLOCK],
            out: Vec::new(),
            most: compressed
                .saturating_mul(limits.compression_ratio)
                .max(FREE)
                .min(limits.message_size),
            ended: false,
        };
        for piece in &self.content {
            inflater.feed(slice(object, piece.clone()))?;
        }
        inflater.finish()
    }
}

/// zlib, stopped where it makes too much.
struct Inflater {
    state: Decompress,
    block: Vec<u8>,
    out: Vec<u8>,
    most: usize,
    ended: bool,
}

impl Inflater {
    fn feed(&mut self, mut rest: &[u8]) -> Result<(), Refusal> {
        while !rest.is_empty() {
            // Octets behind the end are another content for who reads on.
            if self.ended {
                return Err(BROKEN);
            }
            let (taken, made) = self.step(rest)?;
            if taken == 0 && made == 0 {
                return Err(BROKEN);
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, Refusal> {
        while !self.ended {
            let (_, made) = self.step(&[])?;
            if made == 0 && !self.ended {
                return Err(BROKEN);
            }
        }
        Ok(self.out)
    }

    /// How many octets were taken, and how many were made.
    fn step(&mut self, input: &[u8]) -> Result<(usize, usize), Refusal> {
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(input, &mut self.block, FlushDecompress::None)
            .map_err(|_| BROKEN)?;
        self.ended = status == Status::StreamEnd;
        let count = |now: u64, before: u64| {
            now.checked_sub(before)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(BROKEN)
        };
        let taken = count(self.state.total_in(), before_in)?;
        let made = count(self.state.total_out(), before_out)?;
        self.out
            .extend_from_slice(self.block.get(..made).ok_or(BROKEN)?);
        if self.out.len() > self.most {
            return Err((Defect::LimitCompression, Defect::LimitCompression.detail()));
        }
        Ok((taken, made))
    }
}

const BAD: Refusal = (
    Defect::Malformed,
    "the CompressedData has a wrong structure",
);
const BROKEN: Refusal = (Defect::Malformed, "the compressed content cannot be read");
/// Octets that come out in one go.
const BLOCK: usize = 32 * 1024;
/// So much may come of anything: a short text of one letter is no bomb.
const FREE: usize = 64 * 1024;
