//! A search for many octet strings at once, in a text that comes piece by piece.
//!
//! An octet costs the same few steps however many strings there are: the eight octets up to it say whether one of
//! them may end here. Comparing goes on an account that no text can overdraw.

/// Octet strings that are looked for.
#[derive(Debug)]
pub(super) struct Needles {
    /// In the order of their ends.
    all: Vec<Needle>,
    /// A bit for every value that an end comes to; what has none set is no end.
    ends: Vec<u64>,
    longest: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Needle {
    /// Its last eight octets.
    end: u64,
    octets: Vec<u8>,
}

impl Needles {
    /// Of long ones only the end is looked for; short ones are left out.
    pub(super) fn new(all: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut all: Vec<Needle> = all.into_iter().filter_map(Needle::new).collect();
        all.sort_unstable();
        all.dedup();
        let mut ends = vec![0; WORDS];
        for needle in &all {
            let (word, bit) = place(needle.end);
            if let Some(word) = ends.get_mut(word) {
                *word |= bit;
            }
        }
        let longest = all.iter().map(|needle| needle.octets.len()).max();
        Self {
            longest: longest.unwrap_or(0),
            all,
            ends,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn may_end(&self, end: u64) -> bool {
        let (word, bit) = place(end);
        self.ends.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether one of them ends a text that ends so, and what it took to know.
    fn end(&self, end: u64, text: &[u8]) -> (bool, usize) {
        let first = self.all.partition_point(|needle| needle.end < end);
        let mut compared = 0_usize;
        for needle in self.all.iter().skip(first) {
            if needle.end != end {
                break;
            }
            let pairs = text.iter().rev().zip(needle.octets.iter().rev());
            let same = pairs.take_while(|(one, other)| one == other).count();
            compared = compared.saturating_add(same + 1);
            if same == needle.octets.len() {
                return (true, compared);
            }
        }
        (false, compared)
    }
}

impl Needle {
    fn new(mut octets: Vec<u8>) -> Option<Self> {
        octets.drain(..octets.len().saturating_sub(LONGEST));
        let end = end_of(&octets);
        (octets.len() >= END).then_some(Self { end, octets })
    }
}

/// A search through one text.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The end of what was searched, as much as a needle may begin in, and what was not searched yet.
    held: Vec<u8>,
    searched: usize,
    /// Octets from `searched` on that have to be searched.
    due: usize,
}

impl Search {
    /// Looks at what follows. It is searched only if it is `new`, together with what stands beside it: the rest was
    /// searched elsewhere.
    pub(super) fn push(
        &mut self,
        text: &[u8],
        new: bool,
        last: bool,
        needles: &Needles,
        tally: &mut Tally,
    ) {
        if needles.is_empty() {
            return;
        }
        if new {
            let waiting = self.held.len().saturating_sub(self.searched);
            // And what follows, as far as one reaches into it.
            let beside = text.len().saturating_add(needles.longest);
            self.due = waiting.saturating_add(beside);
        }
        for piece in text.chunks(WINDOW) {
            self.held.extend_from_slice(piece);
            if self.held.len().saturating_sub(self.searched) >= WINDOW {
                self.look(needles, tally);
            }
        }
        if last {
            self.look(needles, tally);
        }
    }

    fn look(&mut self, needles: &Needles, tally: &mut Tally) {
        let (old, fresh) = self.held.split_at(self.searched);
        if self.due > 0 {
            tally.pass(fresh.len());
            let mut end = end_of(old);
            for (at, octet) in fresh.iter().enumerate() {
                end = end << 8 | u64::from(*octet);
                if needles.may_end(end) {
                    let text = self.held.get(..=self.searched + at).unwrap_or_default();
                    tally.compare(needles.end(end, text));
                }
            }
        }
        self.due = self.due.saturating_sub(fresh.len());
        let kept = self.held.len().min(needles.longest.saturating_sub(1));
        self.held.drain(..self.held.len().saturating_sub(kept));
        self.searched = kept;
    }

    /// Octets of memory that it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.held.capacity()
    }
}

/// What was found, and the work that was done for it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) found: bool,
    /// Octets that went into the stages.
    pub(super) passed: usize,
    /// Octets that were compared.
    pub(super) compared: usize,
}

impl Tally {
    pub(super) fn pass(&mut self, octets: usize) {
        self.passed = self.passed.saturating_add(octets);
    }

    fn compare(&mut self, (found, compared): (bool, usize)) {
        self.compared = self.compared.saturating_add(compared);
        // A text that imitates a name that often is one that is looked at no closer: in doubt it does not go.
        let most = self.passed.saturating_add(FREE);
        self.found |= found || self.compared > most;
    }
}

fn end_of(octets: &[u8]) -> u64 {
    let before = octets.len().saturating_sub(END);
    let end = octets.iter().skip(before);
    end.fold(0, |end, octet| end << 8 | u64::from(*octet))
}

/// The word and the bit in it for an end: its upper bits times an odd number that spreads them.
fn place(end: u64) -> (usize, u64) {
    let mixed = end.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    let word = usize::try_from(mixed >> 6).unwrap_or_default();
    (word, 1 << (mixed & 63))
}

/// Octets of an end.
const END: usize = 8;
/// Octets, or values, of the longest needle.
const LONGEST: usize = 512;
/// Octets that are searched at a time.
const WINDOW: usize = 512;
const BITS: u32 = 15;
const WORDS: usize = 1 << (BITS - 6);
/// Octets that may be compared beside one for each that went into a stage.
const FREE: usize = 1 << 20;
