//! Numbers and octets one after the other: how everything of this crate is written, on disk and between processes.
//!
//! Numbers are big-endian; what has no fixed length stands behind its length. Nothing is allocated for a length that
//! is only claimed, and a reader that is done has read everything.

/// Why octets are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub &'static str);

/// Writes one thing after the other. It may hold a key, so it is not shown.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// With room for so many octets: a vector that grows leaves copies of its content behind.
    #[must_use]
    pub fn with_room(octets: usize) -> Self {
        Self(Vec::with_capacity(octets))
    }

    /// One octet.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Four octets.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Eight octets.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Octets whose number the reader knows.
    pub fn fixed(&mut self, octets: &[u8]) -> &mut Self {
        self.0.extend_from_slice(octets);
        self
    }

    /// Octets behind their number.
    pub fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.count(octets.len()).fixed(octets)
    }

    /// How many of something follow.
    pub fn count(&mut self, count: usize) -> &mut Self {
        // Nothing here comes near 4 GiB; what did would not read.
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads one thing after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the beginning of these octets.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// One octet.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(|[octet]| octet)
    }

    /// Four octets.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight octets.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// As many octets as the type says.
    ///
    /// # Errors
    /// Where there are fewer.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (octets, rest) = self.rest.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*octets)
    }

    /// Octets behind their number, which is `most` or less.
    ///
    /// # Errors
    /// Where there are fewer, or it is more.
    pub fn octets(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        let length = self.count(most)?;
        let (octets, rest) = self.rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(octets)
    }

    /// Text in UTF-8 behind the number of its octets, which is `most` or less.
    ///
    /// # Errors
    /// Where there are fewer, it is more, or no text.
    pub fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.octets(most)?).map_err(|_| Malformed("not UTF-8"))
    }

    /// How many of something follow: `most` or less.
    ///
    /// # Errors
    /// Where there are fewer, or it is more.
    pub fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| TOO_LONG)?;
        if count > most {
            return Err(TOO_LONG);
        }
        Ok(count)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Where something is.
    pub const fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed("something follows the end"))
        }
    }
}

const ENDS_EARLY: Malformed = Malformed("ends early");
const TOO_LONG: Malformed = Malformed("a length is beyond its bound");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_and_nothing_else_does() {
        let mut writer = Writer::with_room(64);
        writer.u8(1).u32(2).fixed(b"four").octets(b"five!");
        let octets = writer.finish();
        let read = |octets: &[u8]| -> Result<(), Malformed> {
            let mut reader = Reader::new(octets);
            let numbers = (reader.u8()?, reader.u32()?);
            assert_eq!(numbers, (1, 2));
            assert_eq!(reader.fixed::<4>()?, *b"four");
            assert_eq!(reader.text(5)?, "five!");
            reader.finish()
        };
        assert_eq!(read(&octets), Ok(()));
        for cut in 0..octets.len() {
            assert_eq!(read(&octets[..cut]), Err(ENDS_EARLY), "{cut}");
        }
        let more = [&octets[..], b"x"].concat();
        assert_eq!(
            read(&more),
            Err(Malformed("something follows the end")),
            "an octet too many"
        );
    }

    #[test]
    fn a_length_that_is_only_claimed_costs_nothing() {
        let claimed = [0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Reader::new(&claimed).octets(1 << 20), Err(TOO_LONG));
        assert_eq!(Reader::new(&claimed).octets(usize::MAX), Err(ENDS_EARLY));
        assert!(Reader::new(&[0, 0, 0, 1, 0xff]).text(9).is_err());
    }
}
