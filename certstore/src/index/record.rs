//! One entry as a record of fixed width: what is compared stands first.

use kenin_pki::crl::{RevocationReason, RevokedEntry};
use kenin_pki::time::UnixTime;

/// The longest serial number that is indexed; RFC 5280 §4.1.2.2 allows 20 octets.
pub(super) const MAX_SERIAL: usize = 24;

/// An entry on its way, in the widest form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The serial's octets from the left, zeros behind them.
    pub(super) serial: [u64; 3],
    /// How many octets of the serial count, then the issuer: what else is compared. Then what is said.
    pub(super) rest: [u8; 16],
}

/// Octets of an item in a run.
pub(super) const ITEM: usize = 40;

impl Item {
    /// Nothing where the serial is longer than any may be.
    pub(super) fn new(serial: &[u8], issuer: u32, entry: RevokedEntry) -> Option<Self> {
        let mut octets = [0; MAX_SERIAL];
        octets.get_mut(..serial.len())?.copy_from_slice(serial);
        let word = |at: usize| -> Option<u64> {
            let octets: [u8; 8] = octets.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(octets))
        };
        let invalidity = match entry.invalidity_date {
            None => NO_TIME,
            Some(time) => packed(time),
        };
        let mut rest = [0; 16];
        let parts: [&[u8]; 5] = [
            &[u8::try_from(serial.len()).ok()?],
            &issuer.to_be_bytes(),
            &packed(entry.date),
            &[entry.reason.code()],
            &invalidity,
        ];
        rest.iter_mut()
            .zip(parts.iter().copied().flatten())
            .for_each(|(to, from)| *to = *from);
        Some(Self {
            serial: [word(0)?, word(8)?, word(16)?],
            rest,
        })
    }

    /// What sorts: serial, its length, issuer.
    pub(super) fn key(&self) -> ([u64; 3], u64) {
        let [length, a, b, c, d, ..] = self.rest;
        let tail = u64::from(length) << 32 | u64::from(u32::from_be_bytes([a, b, c, d]));
        (self.serial, tail)
    }

    pub(super) fn to_bytes(self) -> [u8; ITEM] {
        let mut bytes = [0; ITEM];
        let words = self.serial.iter().flat_map(|word| word.to_be_bytes());
        bytes
            .iter_mut()
            .zip(words.chain(self.rest))
            .for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ITEM]) -> Self {
        let mut words = [0_u64; 3];
        let (serial, rest) = bytes.split_at(MAX_SERIAL);
        for (word, octets) in words.iter_mut().zip(serial.chunks_exact(8)) {
            *word = octets
                .iter()
                .fold(0, |word, octet| word << 8 | u64::from(*octet));
        }
        let mut tail = [0; 16];
        tail.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self {
            serial: words,
            rest: tail,
        }
    }
}

/// Which of the parts of a record a file has: those that no entry needs are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Octets of the serial.
    pub(super) serial: usize,
    /// Whether entries have an issuer of their own.
    pub(super) issuer: bool,
    /// Whether entries have an invalidityDate.
    pub(super) invalidity: bool,
}

impl Shape {
    /// Octets of a record.
    pub(super) const fn width(self) -> usize {
        self.key() + DATE + 1 + if self.invalidity { DATE } else { 0 }
    }

    /// Octets of what is compared.
    pub(super) const fn key(self) -> usize {
        self.serial + 1 + if self.issuer { 4 } else { 0 }
    }

    /// Writes an item; its serial fits.
    pub(super) fn push(self, item: &Item, out: &mut Vec<u8>) {
        let bytes = item.to_bytes();
        let (serial, rest) = bytes.split_at(MAX_SERIAL);
        let issuer = if self.issuer { 0..5 } else { 0..1 };
        let said = if self.invalidity { 5..16 } else { 5..11 };
        for part in [serial.get(..self.serial), rest.get(issuer), rest.get(said)] {
            out.extend_from_slice(part.unwrap_or_default());
        }
    }

    /// What to look for; nothing where no record can hold it.
    pub(super) fn needle(self, issuer: u32, serial: &[u8]) -> Option<Vec<u8>> {
        if serial.len() > self.serial || (issuer != 0 && !self.issuer) {
            return None;
        }
        let mut needle = serial.to_vec();
        needle.resize(self.serial, 0);
        needle.push(u8::try_from(serial.len()).ok()?);
        if self.issuer {
            needle.extend_from_slice(&issuer.to_be_bytes());
        }
        Some(needle)
    }

    /// What a record says.
    pub(super) fn entry(self, record: &[u8]) -> Option<RevokedEntry> {
        let said = record.get(self.key()..)?;
        let reason = u32::from(*said.get(DATE)?);
        Some(RevokedEntry {
            date: unpacked(said.get(..DATE)?),
            reason: RevocationReason::from_code(reason),
            invalidity_date: match said.get(DATE + 1..) {
                Some(octets) if self.invalidity && octets != NO_TIME => Some(unpacked(octets)),
                _ => None,
            },
        })
    }
}

/// Seconds in five octets: all times that a certificate can have, and the first of all times.
fn packed(time: UnixTime) -> [u8; DATE] {
    let shifted = time.0.saturating_add(SHIFT).clamp(0, LAST);
    let [_, _, _, a, b, c, d, e] = shifted.to_be_bytes();
    [a, b, c, d, e]
}

fn unpacked(octets: &[u8]) -> UnixTime {
    let shifted = octets
        .iter()
        .fold(0_i64, |number, octet| number << 8 | i64::from(*octet));
    match shifted {
        0 => UnixTime(i64::MIN),
        shifted => UnixTime(shifted - SHIFT),
    }
}

/// Octets of a time.
const DATE: usize = 5;
/// From the year 0 on: 1970 is some 6·10^10 seconds after it.
const SHIFT: i64 = 1 << 38;
const LAST: i64 = (1 << 40) - 2;
/// No time at all.
const NO_TIME: [u8; DATE] = [0xff; DATE];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_item_comes_back(
            serial in proptest::collection::vec(any::<u8>(), 0..=MAX_SERIAL), issuer: u32,
            date in -62_167_219_200_i64..253_402_300_800, reason in 0_u32..11,
            invalidity in proptest::option::of(-62_167_219_200_i64..253_402_300_800),
        ) {
            let entry = RevokedEntry {
                date: UnixTime(date),
                reason: RevocationReason::from_code(reason),
                invalidity_date: invalidity.map(UnixTime),
            };
            let item = Item::new(&serial, issuer, entry).unwrap();
            prop_assert_eq!(Item::from_bytes(&item.to_bytes()), item);
            let shape = Shape { serial: serial.len(), issuer: issuer != 0, invalidity: invalidity.is_some() };
            let mut record = Vec::new();
            shape.push(&item, &mut record);
            prop_assert_eq!(record.len(), shape.width());
            let needle = shape.needle(issuer, &serial).unwrap();
            prop_assert!(record.starts_with(&needle));
            prop_assert_eq!(shape.entry(&record), Some(entry));
        }

        #[test]
        fn items_sort_as_their_records(
            a in proptest::collection::vec(0_u8..3, 0..6), b in proptest::collection::vec(0_u8..3, 0..6),
            first in 0_u32..3, second in 0_u32..3,
        ) {
            let entry = RevokedEntry { date: UnixTime(0), reason: RevocationReason::Unspecified, invalidity_date: None };
            let shape = Shape { serial: 6, issuer: true, invalidity: false };
            let one = Item::new(&a, first, entry).unwrap();
            let two = Item::new(&b, second, entry).unwrap();
            let order = one.key().cmp(&two.key());
            prop_assert_eq!(order, shape.needle(first, &a).cmp(&shape.needle(second, &b)));
        }
    }

    #[test]
    fn the_first_of_all_times_stays_it() {
        assert_eq!(unpacked(&packed(UnixTime(i64::MIN))), UnixTime(i64::MIN));
        assert!(
            Item::new(
                &[1; MAX_SERIAL + 1],
                0,
                RevokedEntry {
                    date: UnixTime(0),
                    reason: RevocationReason::Unspecified,
                    invalidity_date: None,
                }
            )
            .is_none()
        );
    }
}
