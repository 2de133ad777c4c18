//! The index file: a head, what stands around the entries, the records in order, and every 64th of their serials
//! once more, which a look-up searches first. The head holds a digest of the records, and one of all else.
//!
//! All of it is looked through when the file is opened, which is once for as long as the list is in use: a bit that
//! rotted is one certificate that is revoked and not found. SHA-256 takes half a second for 25 million records on a
//! processor that has it; digests of blocks would have to be looked at with every question, and make a damaged file
//! known to nobody but who asks for one of its serials.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use kenin_pki::crl::{AbridgedCrl, RevokedEntries, RevokedEntry};
use kenin_pki::crypto::{Digest, DigestAlgorithm, Digester};
use kenin_sys::Mapped;

use super::parts;
use super::record::{Item, MAX_SERIAL, Shape};
use crate::StoreError;

/// What is written, before the records are.
pub(super) struct Plan {
    shape: Shape,
    /// Leading octets that all serials share.
    shared: usize,
    count: u64,
    meta: Vec<u8>,
    samples: Vec<u64>,
    noted: u64,
    /// Over the records that were noted.
    records: Digester,
}

impl Plan {
    pub(super) fn new(
        shape: Shape,
        bounds: Option<([u64; 3], [u64; 3])>,
        count: u64,
        parts: &AbridgedCrl,
    ) -> Self {
        let shared = bounds.map_or(0, |(first, last)| {
            let octets = |words: [u64; 3]| words.into_iter().flat_map(u64::to_be_bytes);
            let same = octets(first).zip(octets(last)).take_while(|(a, b)| a == b);
            same.count().min(shape.serial)
        });
        Self {
            shape,
            shared,
            count,
            meta: parts::to_bytes(parts),
            samples: Vec::new(),
            noted: 0,
            records: Digester::new(DigestAlgorithm::Sha256),
        }
    }

    /// The next record is this, and of this item.
    pub(super) fn note(&mut self, item: &Item, record: &[u8]) {
        self.records.update(record);
        if self.noted.is_multiple_of(EVERY) {
            self.samples.push(sample(&octets(item.serial), self.shared));
        }
        self.noted += 1;
    }

    /// Room for the head: with nothing in it, the file is none.
    pub(super) fn room(&self) -> Vec<u8> {
        vec![0; HEAD + self.meta.len()]
    }

    /// The head, once all records are noted: it says that the file is whole.
    pub(super) fn head(self) -> Vec<u8> {
        let samples = self.samples();
        let whole = self.noted == self.count;
        let mut head = Vec::with_capacity(HEAD + self.meta.len());
        head.extend_from_slice(if whole { MAGIC } else { b"\0\0\0\0\0\0\0\0" });
        head.extend_from_slice(&self.count.to_be_bytes());
        head.extend_from_slice(&u64::try_from(self.meta.len()).unwrap_or(0).to_be_bytes());
        let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let flags = u8::from(self.shape.issuer) | u8::from(self.shape.invalidity) << 1;
        head.extend_from_slice(&[small(self.shape.serial), small(self.shared), flags, 0]);
        head.extend_from_slice(self.records.finish().as_ref());
        let digest = DigestAlgorithm::Sha256.digest(&[&head[..], &self.meta, &samples].concat());
        head.extend_from_slice(digest.as_ref());
        head.extend_from_slice(&self.meta);
        head
    }

    pub(super) fn samples(&self) -> Vec<u8> {
        self.samples
            .iter()
            .flat_map(|sample| sample.to_be_bytes())
            .collect()
    }
}

/// The records of a file.
pub(super) struct IndexFile {
    mapped: Mapped,
    shape: Shape,
    shared: usize,
    records: usize,
    count: usize,
    samples: Vec<u64>,
}

/// Opens an index file, and looks through it.
pub(super) fn open(path: &Path) -> Result<(AbridgedCrl, IndexFile), StoreError> {
    let failed = |error| StoreError::read(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mapped = Mapped::finished(&file).map_err(failed)?;
    let (parts, index) = read(mapped)
        .ok_or_else(|| StoreError::content(path, "is no whole index of a revocation list"))?;
    // Not by the map: pages that are looked at once would count as memory that is in use.
    let length = index.count * index.shape.width();
    let found = digest(&mut file, index.records, length).map_err(failed)?;
    let wanted = index.mapped.get(DIGESTED - DIGEST..DIGESTED);
    match wanted == Some(found.as_ref()) {
        true => Ok((parts, index)),
        false => {
            let what = "holds other records than were written into it";
            Err(StoreError::content(path, what))
        }
    }
}

/// SHA-256 of a part of a file.
fn digest(file: &mut File, start: usize, length: usize) -> io::Result<Digest> {
    let number = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(number(start)))?;
    let mut part = file.take(number(length));
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    let mut piece = vec![0; PIECE];
    loop {
        let count = part.read(&mut piece)?;
        match piece.get(..count) {
            Some(bytes) if count > 0 => digester.update(bytes),
            _ => return Ok(digester.finish()),
        }
    }
}

fn read(mapped: Mapped) -> Option<(AbridgedCrl, IndexFile)> {
    let bytes: &[u8] = &mapped;
    let number = |at: usize| -> Option<usize> {
        let octets: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
        usize::try_from(u64::from_be_bytes(octets)).ok()
    };
    if bytes.get(..8)? != MAGIC {
        return None;
    }
    let (count, meta_length) = (number(8)?, number(16)?);
    let [serial, shared, flags, _] = *bytes.get(24..28)?.first_chunk::<4>()?;
    let shape = Shape {
        serial: usize::from(serial),
        issuer: flags & 1 != 0,
        invalidity: flags & 2 != 0,
    };
    let shared = usize::from(shared);
    let records = HEAD.checked_add(meta_length)?;
    let end = records.checked_add(count.checked_mul(shape.width())?)?;
    let samples = bytes.get(end..)?;
    let meta = bytes.get(HEAD..records)?;
    let every = usize::try_from(EVERY).ok()?;
    if shape.serial > MAX_SERIAL
        || shared > shape.serial
        || samples.len() != count.div_ceil(every) * 8
    {
        return None;
    }
    let digest = DigestAlgorithm::Sha256.digest(&[bytes.get(..DIGESTED)?, meta, samples].concat());
    if bytes.get(DIGESTED..HEAD)? != digest.as_ref() {
        return None;
    }
    let parts = parts::from_bytes(meta)?;
    let samples = samples
        .chunks_exact(8)
        .map(|octets| {
            octets
                .iter()
                .fold(0, |word, octet| word << 8 | u64::from(*octet))
        })
        .collect();
    Some((
        parts,
        IndexFile {
            shape,
            shared,
            records,
            count,
            samples,
            mapped,
        },
    ))
}

impl IndexFile {
    fn record(&self, place: usize) -> &[u8] {
        let width = self.shape.width();
        let start = self.records + place * width;
        self.mapped.get(start..start + width).unwrap_or_default()
    }
}

impl RevokedEntries for IndexFile {
    fn len(&self) -> usize {
        self.count
    }

    fn find(&self, issuer: u32, serial: &[u8]) -> Option<RevokedEntry> {
        let needle = self.shape.needle(issuer, serial)?;
        let shared = self.record(0).get(..self.shared)?;
        if !needle.starts_with(shared) {
            return None;
        }
        let mut padded = [0; MAX_SERIAL];
        let octets = needle.get(..self.shape.serial)?;
        padded
            .iter_mut()
            .zip(octets)
            .for_each(|(to, from)| *to = *from);
        let wanted = sample(&padded, self.shared);
        let every = usize::try_from(EVERY).unwrap_or(usize::MAX);
        // Between the last sample before it and the first one behind it.
        let first = self.samples.partition_point(|sample| *sample < wanted);
        let last = self.samples.partition_point(|sample| *sample <= wanted);
        let (mut from, mut to) = (
            first.saturating_sub(1) * every,
            (last * every).min(self.count),
        );
        let key = self.shape.key();
        while from < to {
            let middle = from + (to - from) / 2;
            match self.record(middle).get(..key)?.cmp(&needle[..]) {
                std::cmp::Ordering::Less => from = middle + 1,
                _ => to = middle,
            }
        }
        let record = self.record(from);
        match record.get(..key) {
            Some(found) if from < self.count && found == needle => self.shape.entry(record),
            _ => None,
        }
    }
}

fn octets(words: [u64; 3]) -> [u8; MAX_SERIAL] {
    let mut octets = [0; MAX_SERIAL];
    let all = words.into_iter().flat_map(u64::to_be_bytes);
    octets.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    octets
}

/// Eight octets of a serial behind those that all share.
fn sample(serial: &[u8; MAX_SERIAL], shared: usize) -> u64 {
    let octets = serial.iter().skip(shared).copied().chain([0; 8]);
    octets
        .take(8)
        .fold(0, |word, octet| word << 8 | u64::from(octet))
}

/// Format and its version.
const MAGIC: &[u8; 8] = b"KENINRL2";
/// Octets of the head that its own digest is over; the last of them are the digest of the records.
const DIGESTED: usize = 28 + DIGEST;
/// Octets before what stands around the entries.
const HEAD: usize = DIGESTED + DIGEST;
/// Octets of a digest.
const DIGEST: usize = 32;
/// Records between two samples.
const EVERY: u64 = 64;
/// Octets that are looked at at once.
const PIECE: usize = 1 << 20;
