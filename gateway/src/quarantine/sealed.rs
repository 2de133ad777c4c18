//! A held mail at rest: what stands in its file.
//!
//! A data key of its own seals the facts and then the mail, a chunk at a time, by AES-256-GCM; the data key is sealed
//! under the key of the quarantine. With each piece is authenticated what it is, of which mail (the name of the file),
//! which one of its chunks, and whether it is the last: none can be changed, moved, left out or put into another file.
//! Neither writing nor reading needs the mail a second time in memory.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};

use kenin_pki::crypto::{Sealer, Secret, framed};

use super::facts::{Facts, MAX_FACTS};
use super::id::Id;
use super::key::{KeyId, Keys};

/// Writes a mail in its pieces, which have together the size that its facts say.
pub(super) fn write<'a>(
    out: &mut impl Write,
    keys: &Keys,
    id: &Id,
    facts: &Facts,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(), SealError> {
    let key = keys.current();
    let data_key = Secret::random(KEY).map_err(|_| SealError::Library)?;
    let place = Place::new(id, key.id());
    let sealed_key = key.sealer().seal(&place.aad(What::Key), data_key.expose());
    let seal = sealer(&data_key)?;
    let seal = |what, octets: &[u8]| {
        let sealed = seal.seal(&place.aad(what), octets);
        sealed.ok_or(SealError::Library)
    };
    let octets = facts.to_octets().ok_or(SealError::Facts)?;
    let sealed_facts = seal(What::Facts, &octets)?;
    let length = u32::try_from(sealed_facts.len()).map_err(|_| SealError::Facts)?;
    out.write_all(&place.head)?;
    out.write_all(&sealed_key.ok_or(SealError::Library)?)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&sealed_facts)?;

    let mut left = facts.size;
    let mut index = 0;
    let mut buffer = Vec::with_capacity(CHUNK);
    for mut piece in pieces {
        while !piece.is_empty() {
            if left == 0 {
                return Err(SealError::Size);
            }
            let room = CHUNK - buffer.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            buffer.extend_from_slice(now);
            piece = later;
            let taken = u64::try_from(now.len()).unwrap_or(u64::MAX);
            left = left.checked_sub(taken).ok_or(SealError::Size)?;
            if buffer.len() == CHUNK && left > 0 {
                out.write_all(&seal(What::chunk(index, false), &buffer)?)?;
                index += 1;
                buffer.clear();
            }
        }
    }
    if left > 0 {
        return Err(SealError::Size);
    }
    out.write_all(&seal(What::chunk(index, true), &buffer)?)?;
    Ok(())
}

/// A held mail that is being read.
pub(crate) struct Sealed<R> {
    input: R,
    sealer: Sealer,
    place: Place,
    facts: Facts,
    /// Which chunk comes next.
    index: u64,
    /// Octets that are still to come.
    left: u64,
    done: bool,
}

impl<R: Read> Sealed<R> {
    /// Reads the facts. `length` is that of the whole file.
    pub(super) fn open(mut input: R, length: u64, keys: &Keys, id: &Id) -> Result<Self, OpenError> {
        let mut head = [0; HEAD];
        fill(&mut input, &mut head)?;
        let key_id = known(&head)?;
        let key = keys
            .named(&key_id)
            .ok_or_else(|| OpenError::UnknownKey(hex(&key_id)))?;
        let place = Place::new(id, key.id());
        let mut sealed = [0; KEY + OVERHEAD];
        fill(&mut input, &mut sealed)?;
        let data_key = key.sealer().open(&place.aad(What::Key), &sealed);
        let data_key = Secret::new(data_key.ok_or(OpenError::Changed)?);
        let sealer = sealer(&data_key).map_err(|_| OpenError::Changed)?;
        let mut count = [0; 4];
        fill(&mut input, &mut count)?;
        let count = usize::try_from(u32::from_be_bytes(count)).unwrap_or(usize::MAX);
        // No longer than anybody writes, and than the file is.
        let within = u64::try_from(count).is_ok_and(|count| count <= length);
        if count > MAX_FACTS + OVERHEAD || !within {
            return Err(OpenError::Changed);
        }
        let mut sealed = vec![0; count];
        fill(&mut input, &mut sealed)?;
        let facts = sealer.open(&place.aad(What::Facts), &sealed);
        let facts = facts.ok_or(OpenError::Changed)?;
        let facts = Facts::from_octets(&facts).ok_or(OpenError::Unreadable)?;
        if facts.size > length {
            return Err(OpenError::Changed);
        }
        Ok(Self {
            left: facts.size,
            input,
            sealer,
            place,
            facts,
            index: 0,
            done: false,
        })
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The next octets of the mail. What was read is proven to be a beginning of it, and all of it only once there is
    /// no more.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>, OpenError> {
        if self.done {
            return Ok(None);
        }
        let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        let last = self.left <= chunk;
        let length = usize::try_from(self.left.min(chunk)).unwrap_or(CHUNK);
        let mut sealed = vec![0; length + OVERHEAD];
        fill(&mut self.input, &mut sealed)?;
        let what = What::chunk(self.index, last);
        let content = self.sealer.open(&self.place.aad(what), &sealed);
        let content = content.ok_or(OpenError::Changed)?;
        if last && self.input.read(&mut [0])? != 0 {
            return Err(OpenError::Changed);
        }
        self.index += 1;
        self.left = self.left.saturating_sub(chunk);
        self.done = last;
        Ok(Some(content))
    }

    /// The facts, and the whole mail.
    pub(crate) fn content(mut self) -> Result<(Facts, Secret), OpenError> {
        let size = usize::try_from(self.facts.size).map_err(|_| OpenError::Changed)?;
        // All its room from the beginning: what grows leaves copies behind.
        let mut content = Vec::with_capacity(size);
        while let Some(chunk) = self.chunk()? {
            content.extend_from_slice(&chunk);
        }
        Ok((self.facts, Secret::new(content)))
    }
}

/// Why a mail cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its facts are longer than any.
    #[error("its facts are too long")]
    Facts,
    /// Its pieces have another size than its facts say.
    #[error("it has another size than was said")]
    Size,
    /// The library failed, or there is no randomness.
    #[error("the cryptographic library failed")]
    Library,
}

/// Why a held mail cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is none of a held mail.
    #[error("it is no file of a held mail")]
    Foreign,
    /// The file has a format of a later version.
    #[error("it has format {0}, which this version does not know")]
    Format(u8),
    /// The key that it names is not at hand.
    #[error("it is sealed with the key {0}, which is not at hand")]
    UnknownKey(String),
    /// A bit of the file is another than it was, or it has another name.
    #[error("it was changed after it was sealed")]
    Changed,
    /// Its facts are sealed well and say nothing that this version understands.
    #[error("this version does not understand its facts")]
    Unreadable,
}

/// The clear beginning of a file, and which file it is.
struct Place {
    id: Id,
    head: [u8; HEAD],
}

impl Place {
    fn new(id: &Id, key: &KeyId) -> Self {
        let mut head = [0; HEAD];
        let parts = MAGIC.iter().chain(&[FORMAT]).chain(key);
        for (to, from) in head.iter_mut().zip(parts) {
            *to = *from;
        }
        Self {
            id: id.clone(),
            head,
        }
    }

    /// What is authenticated with a sealed piece.
    fn aad(&self, what: What) -> Vec<u8> {
        let (name, index, last) = match what {
            What::Key => (&b"kenin: key of a held mail"[..], 0, false),
            What::Facts => (&b"kenin: facts of a held mail"[..], 0, false),
            What::Chunk { index, last } => (&b"kenin: held mail"[..], index, last),
        };
        framed(&[
            name,
            &self.head,
            self.id.as_str().as_bytes(),
            &u64::to_be_bytes(index),
            &[u8::from(last)],
        ])
    }
}

/// One of the pieces of a file.
#[derive(Clone, Copy)]
enum What {
    Key,
    Facts,
    Chunk { index: u64, last: bool },
}

impl What {
    fn chunk(index: u64, last: bool) -> Self {
        Self::Chunk { index, last }
    }
}

/// The key that a file names.
fn known(head: &[u8; HEAD]) -> Result<KeyId, OpenError> {
    let rest = head.strip_prefix(MAGIC).ok_or(OpenError::Foreign)?;
    match rest.split_first() {
        Some((&FORMAT, key)) => KeyId::try_from(key).map_err(|_| OpenError::Foreign),
        Some((format, _)) => Err(OpenError::Format(*format)),
        None => Err(OpenError::Foreign),
    }
}

fn sealer(key: &Secret) -> Result<Sealer, SealError> {
    let key = <&[u8; KEY]>::try_from(key.expose()).map_err(|_| SealError::Library)?;
    Sealer::new(key).ok_or(SealError::Library)
}

/// Reads exactly so much; a file that ends before was cut.
fn fill(input: &mut impl Read, octets: &mut [u8]) -> Result<(), OpenError> {
    input
        .read_exact(octets)
        .map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => OpenError::Changed,
            _ => error.into(),
        })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// What a file has beside facts and content, at most, for a content of this size.
pub(super) fn overhead(size: u64) -> u64 {
    let whole = |octets: usize| u64::try_from(octets).unwrap_or(u64::MAX);
    let chunks = size / whole(CHUNK) + 1;
    whole(HEAD + KEY + 4 + 2 * OVERHEAD).saturating_add(chunks.saturating_mul(whole(OVERHEAD)))
}

/// Octets that are sealed at a time.
pub(super) const CHUNK: usize = 64 << 10;
/// What sealing adds: a nonce and a tag.
const OVERHEAD: usize = 12 + 16;
const KEY: usize = 32;
const MAGIC: &[u8; 8] = b"kenin-Q\n";
const FORMAT: u8 = 1;
/// Magic, format, and the name of the key.
const HEAD: usize = 8 + 1 + 16;

#[cfg(test)]
mod tests;
