//! The last look at a copy before it goes: whether it still shows a certificate that nobody may see, in whatever
//! shape it travels. Nothing here knows MIME; where it is in doubt the copy does not go.
//!
//! The copy flows through a fixed tree of small stages, each of which decodes and hands on what it has. Nothing is
//! kept but what the next octets may belong to, so that a mail of any size takes the same memory, and a few steps
//! for each of its octets. The encodings are base64 (RFC 4648, both alphabets, read from each of four places, since
//! a run may begin anywhere), hexadecimal (from two), and quoted-printable (RFC 2045 §6.7). All that can be made of
//! three of them, one within the other, is read:
//!
//! * What is encoded in base64 or hexadecimal last is not decoded: what is looked for is encoded instead, and found
//!   among the letters. That leaves two decodings of these kinds, one [`Level`] each.
//! * Undoing quoted-printable leaves base64 and hexadecimal as they are, since neither has an equals sign but at its
//!   end. So a level need not be read both before and after it: it undoes as many layers as the depth allows,
//!   one after the other, and reads what has come out.
//! * Runs that are too short for anything that is looked for are not decoded. Of what is read from a wrong place,
//!   next to nothing is left by that.

mod decode;
mod search;

use decode::{Bits, Quoted, Runs};
use search::{Needles, Search, Tally};

/// What is looked for, in the forms in which it is found.
#[derive(Debug)]
pub(super) struct Wanted {
    plain: Needles,
    /// As six-bit values, not as letters.
    base64: Needles,
    /// As four-bit values.
    hexadecimal: Needles,
    too_many: bool,
}

impl Wanted {
    /// These octet strings; those that are too short to tell anything apart are left out.
    pub(super) fn new<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let long = |octets: &&[u8]| octets.len() >= SHORTEST;
        let mut all: Vec<&[u8]> = all.into_iter().filter(long).collect();
        all.sort_unstable();
        all.dedup();
        let too_many = all.len() > MOST;
        all.truncate(MOST);
        let base64 = |octets: &&[u8]| {
            // An octet string may begin at each octet of a group of three.
            [0, 1, 2].map(|before| decode::values::<6>(octets, before, 1))
        };
        // What lies at its very beginning may have been taken away with an equals sign before it.
        let behind = |octets: &&[u8]| octets.get(1..).unwrap_or_default().to_vec();
        Self {
            base64: Needles::new(all.iter().flat_map(base64)),
            hexadecimal: Needles::new(all.iter().map(|octets| decode::values::<4>(octets, 0, 3))),
            plain: Needles::new(all.iter().map(behind)),
            too_many,
        }
    }

    /// Whether nothing is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }
}

/// Whether a text that comes in these pieces holds any of what is wanted: as it is, or in base64, hexadecimal or
/// quoted-printable, or in up to three of these one within the other.
pub(super) fn shows<'a>(wanted: &Wanted, pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
    if wanted.is_empty() {
        return false;
    }
    // Not all of it can be looked for.
    if wanted.too_many {
        return true;
    }
    let mut gate = Gate::new(wanted);
    for piece in pieces {
        for part in piece.chunks(PIECE) {
            gate.push(part, false);
            if gate.tally.found {
                return true;
            }
        }
    }
    gate.push(&[], true);
    gate.tally.found
}

/// The stages that a text goes through.
#[derive(Debug)]
struct Gate<'w> {
    wanted: &'w Wanted,
    plain: Search,
    level: Level,
    tally: Tally,
}

impl<'w> Gate<'w> {
    fn new(wanted: &'w Wanted) -> Self {
        Self {
            wanted,
            plain: Search::default(),
            level: Level::new(0),
            tally: Tally::default(),
        }
    }

    fn push(&mut self, text: &[u8], last: bool) {
        let (wanted, tally) = (self.wanted, &mut self.tally);
        self.plain.push(text, true, last, &wanted.plain, tally);
        self.level.push(text, last, wanted, tally);
    }
}

/// A text that came out of so many decodings, and all that is read in it. That what is wanted stands in it as it is
/// was found among the letters that it was decoded from.
#[derive(Debug)]
struct Level {
    /// One behind the other.
    quoted: Vec<Unquoting>,
    base64: Encoded<6>,
    hexadecimal: Encoded<4>,
}

impl Level {
    fn new(depth: usize) -> Self {
        Self {
            quoted: (depth..DEPTH).map(|_| Unquoting::default()).collect(),
            base64: Encoded::new(Runs::base64(), 4, depth),
            hexadecimal: Encoded::new(Runs::hexadecimal(), 2, depth),
        }
    }

    fn push(&mut self, text: &[u8], last: bool, wanted: &Wanted, tally: &mut Tally) {
        let (mut before, mut text) = (text, text);
        for stage in &mut self.quoted {
            before = text;
            text = stage.push(text, last, &wanted.plain, tally);
        }
        // The last one uses up the depth: behind it only what stands there as it is counts.
        self.base64
            .push(before, last, &wanted.base64, wanted, tally);
        self.hexadecimal
            .push(before, last, &wanted.hexadecimal, wanted, tally);
    }
}

/// Undoes quoted-printable.
#[derive(Debug, Default)]
struct Unquoting {
    quoted: Quoted,
    out: Vec<u8>,
    search: Search,
}

impl Unquoting {
    /// What comes out of this text.
    fn push(&mut self, text: &[u8], last: bool, plain: &Needles, tally: &mut Tally) -> &[u8] {
        tally.pass(text.len());
        self.out.clear();
        let changed = self.quoted.push(text, last, &mut self.out);
        // What is as it came was searched as it came.
        self.search.push(&self.out, changed, last, plain, tally);
        &self.out
    }
}

/// What stands in a text in letters of `WIDTH` bits.
#[derive(Debug)]
struct Encoded<const WIDTH: usize> {
    runs: Runs,
    values: Vec<u8>,
    search: Search,
    /// Decoded from each place at which it may begin; nothing where the depth is used up.
    inside: Vec<Inside<WIDTH>>,
}

#[derive(Debug)]
struct Inside<const WIDTH: usize> {
    bits: Bits<WIDTH>,
    octets: Vec<u8>,
    level: Level,
}

impl<const WIDTH: usize> Encoded<WIDTH> {
    fn new(runs: Runs, places: usize, depth: usize) -> Self {
        let deeper = if depth + 1 < DEPTH { places } else { 0 };
        let inside = |place| Inside::<WIDTH> {
            bits: Bits::new(place * 8 / places),
            octets: Vec::new(),
            level: Level::new(depth + 1),
        };
        Self {
            runs,
            values: Vec::new(),
            search: Search::default(),
            inside: (0..deeper).map(inside).collect(),
        }
    }

    fn push(
        &mut self,
        text: &[u8],
        last: bool,
        needles: &Needles,
        wanted: &Wanted,
        tally: &mut Tally,
    ) {
        tally.pass(text.len());
        self.values.clear();
        self.runs.push(text, &mut self.values);
        self.search.push(&self.values, true, last, needles, tally);
        if self.values.is_empty() && !last {
            return;
        }
        for one in &mut self.inside {
            tally.pass(self.values.len());
            one.octets.clear();
            one.bits.push(&self.values, &mut one.octets);
            one.level.push(&one.octets, last, wanted, tally);
        }
    }
}

/// Encodings within each other.
const DEPTH: usize = 3;
/// Octets that go through the stages at a time.
const PIECE: usize = 1 << 10;
/// Octet strings that are looked for: more than any honest mail has.
const MOST: usize = 1024;
/// Octets of one: with the first taken off as many are left as the search needs.
const SHORTEST: usize = 9;

#[cfg(test)]
mod tests;
