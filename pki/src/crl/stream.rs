//! Reads a CRL of any length as it comes, in pieces of any size, with bounded memory: the entries go to the
//! caller one by one, and what stands around them is kept. Checks the same form as
//! [`Crl::from_der`]. <https://www.rfc-editor.org/rfc/rfc5280#section-5.1>

use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::{DigestAlgorithm, Digester, SignatureAlgorithm};
use crate::der::{
    DerError, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, Tag, UTC_TIME, context_constructed,
    write,
};
use crate::oid::OidBuf;

use super::parse::{EntryFacts, Issuers};
use super::{Crl, CrlError, RevokedEntry};

/// One entry on its way.
#[derive(Clone, Copy, Debug)]
pub struct StreamedEntry<'a> {
    /// The serial number's content octets.
    pub serial: &'a [u8],
    /// Whose certificate it is: 0 stands for the CRL's own issuer, n for the n-th that entries of an indirect
    /// CRL name.
    pub issuer: u32,
    /// What is said of it.
    pub entry: RevokedEntry,
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum StreamError<E> {
    /// The bytes are not a CRL in DER.
    #[error("not a CRL: {0}")]
    Malformed(&'static str),
    /// The caller could not take an entry.
    #[error("{0}")]
    Caller(E),
}

/// A CRL that is being read.
pub struct CrlStream {
    place: Place,
    /// What was not understood yet, because its end has not come.
    rest: Vec<u8>,
    /// Octets of the whole, and of what is signed, that are still to come.
    whole_left: u64,
    tbs_left: u64,
    list_left: u64,
    whole: Digester,
    /// Of what is signed, once its algorithm is known.
    tbs: Option<Digester>,
    /// The fields of what is signed that stand before and behind the entries.
    head: Vec<u8>,
    tail: Vec<u8>,
    times: u8,
    issuers: Issuers,
    issuer: u32,
    unknown_critical: Vec<OidBuf>,
    entries: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Whole,
    Tbs,
    Head,
    Entries,
    Tail,
}

/// A CRL without its entries, which somebody else keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbridgedCrl {
    /// A CRL in DER with the same fields and signature, and without entries. The signature is not over this.
    pub der: Vec<u8>,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// Digest of what was signed, by the algorithm of the signature; empty where that is not known, or
    /// signs no digest.
    pub tbs_digest: Vec<u8>,
    /// Issuers that entries name, DER, in the order of their numbers from 1 on.
    pub issuers: Vec<Vec<u8>>,
    /// Critical extensions of entries that nobody knows, DER.
    pub unknown_critical: Vec<Vec<u8>>,
    /// How many entries there were.
    pub entries: u64,
}

impl CrlStream {
    /// Nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            place: Place::Whole,
            rest: Vec::new(),
            whole_left: 0,
            tbs_left: 0,
            list_left: 0,
            whole: Digester::new(DigestAlgorithm::Sha256),
            tbs: None,
            head: Vec::new(),
            tail: Vec::new(),
            times: 0,
            issuers: Issuers::default(),
            issuer: 0,
            unknown_critical: Vec::new(),
            entries: 0,
        }
    }

    /// Takes the next bytes, and hands out the entries that ended in them.
    ///
    /// # Errors
    /// What is wrong; nothing more can be read then.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(StreamedEntry<'_>) -> Result<(), E>,
    ) -> Result<(), StreamError<E>> {
        self.whole.update(bytes);
        if self.rest.is_empty() {
            let used = self.read(bytes, each)?;
            self.rest
                .extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let used = self.read(&rest, each)?;
            rest.drain(..used);
            self.rest = rest;
        }
        let limit = match self.place {
            Place::Tail => MAX_TAIL,
            _ => MAX_ELEMENT,
        };
        if self.rest.len() > limit {
            return Err(StreamError::Malformed("a field or an entry is too long"));
        }
        Ok(())
    }

    /// Everything has come.
    ///
    /// # Errors
    /// When something is missing or wrong.
    pub fn finish(self) -> Result<AbridgedCrl, CrlError> {
        let wrong = |what: DerError| CrlError::Malformed(what.0);
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        if self.place != Place::Tail || self.tbs_left > 0 || rest != self.whole_left {
            return Err(CrlError::Malformed("it ends too early"));
        }
        // A second list, or a time, would be read below as one that stood before the entries.
        let first = self.tail.first().copied();
        if first.is_some_and(|tag| tag != context_constructed(0)) {
            return Err(CrlError::Malformed(
                "another field than the extensions follows the entries",
            ));
        }
        let tbs = write::seq(&[self.head, self.tail]);
        let mut reader = Reader::new(&self.rest);
        let algorithm = AlgorithmIdentifier::read(&mut reader).map_err(wrong)?;
        let signature = reader.any().map_err(wrong)?;
        reader.finish().map_err(wrong)?;
        let der = write::seq(&[tbs, algorithm.to_der(), signature.raw.to_vec()]);
        // The same checks as over a whole one.
        let head = Crl::from_der(&der)?;
        let indirect =
            matches!(head.issuing_distribution_point(), Ok(Some(point)) if point.indirect);
        let mut unknown_critical = self.unknown_critical;
        if !self.issuers.names.is_empty() && !indirect {
            unknown_critical.push(crate::oid::CERTIFICATE_ISSUER.to_buf());
        }
        let digest = |digester: Digester| digester.finish().as_ref().to_vec();
        let whole = self.whole.finish();
        Ok(AbridgedCrl {
            der,
            sha256: whole.as_ref().try_into().unwrap_or([0; 32]),
            tbs_digest: self.tbs.map(digest).unwrap_or_default(),
            issuers: self
                .issuers
                .names
                .iter()
                .map(|name| name.der().to_vec())
                .collect(),
            unknown_critical: unknown_critical
                .iter()
                .map(|oid| write::oid(oid.as_oid()))
                .collect(),
            entries: self.entries,
        })
    }

    /// Reads what is whole in `bytes`; says how much that was.
    fn read<E>(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(StreamedEntry<'_>) -> Result<(), E>,
    ) -> Result<usize, StreamError<E>> {
        let wrong = |error: DerError| StreamError::Malformed(error.0);
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.place {
                Place::Whole => {
                    let Some((length, content)) = header(rest, SEQUENCE).map_err(wrong)? else {
                        return Ok(at);
                    };
                    self.whole_left = content;
                    self.place = Place::Tbs;
                    at += length;
                }
                Place::Tbs => {
                    let Some((length, content)) = header(rest, SEQUENCE).map_err(wrong)? else {
                        return Ok(at);
                    };
                    self.tbs_left = content;
                    self.take(length, content).map_err(wrong)?;
                    self.place = Place::Head;
                    // It is hashed with the rest of the head, once the algorithm is known.
                    self.head
                        .extend_from_slice(rest.get(..length).unwrap_or_default());
                    at += length;
                }
                Place::Head => match self.head_field(rest).map_err(wrong)? {
                    Some(length) => at += length,
                    None => return Ok(at),
                },
                Place::Entries => {
                    let used = self.entries(rest, each)?;
                    if let Some(tbs) = &mut self.tbs {
                        tbs.update(rest.get(..used).unwrap_or_default());
                    }
                    at += used;
                    if self.list_left > 0 {
                        return Ok(at);
                    }
                    self.place = Place::Tail;
                }
                Place::Tail => {
                    let left = usize::try_from(self.tbs_left).unwrap_or(usize::MAX);
                    let now = rest.len().min(left);
                    let piece = rest.get(..now).unwrap_or_default();
                    self.tail.extend_from_slice(piece);
                    if self.tail.len() > MAX_TAIL {
                        return Err(StreamError::Malformed("its extensions are too long"));
                    }
                    if let Some(tbs) = &mut self.tbs {
                        tbs.update(piece);
                    }
                    self.spend(now).map_err(wrong)?;
                    at += now;
                    if self.tbs_left > 0 {
                        return Ok(at);
                    }
                    // Algorithm and signature stay in `rest` to the end.
                    let left = bytes.len() - at;
                    return match u64::try_from(left).is_ok_and(|left| left <= self.whole_left) {
                        true => Ok(at),
                        false => Err(StreamError::Malformed("something follows it")),
                    };
                }
            }
        }
    }

    /// One field before the entries; its length, or nothing where it has not come whole.
    fn head_field(&mut self, rest: &[u8]) -> Result<Option<usize>, DerError> {
        if self.tbs_left == 0 {
            self.end_of_head()?;
            self.place = Place::Tail;
            return Ok(Some(0));
        }
        let Some(tag) = rest.first().copied() else {
            return Ok(None);
        };
        if self.times > 0 && tag == SEQUENCE {
            let Some((length, content)) = header(rest, SEQUENCE)? else {
                return Ok(None);
            };
            self.end_of_head()?;
            if let Some(tbs) = &mut self.tbs {
                tbs.update(rest.get(..length).unwrap_or_default());
            }
            self.list_left = content;
            self.spend(length)?;
            if self.list_left > self.tbs_left {
                return Err(DerError("its list is longer than what is signed"));
            }
            self.place = Place::Entries;
            return Ok(Some(length));
        }
        if self.times > 0 && tag == context_constructed(0) {
            self.end_of_head()?;
            self.place = Place::Tail;
            return Ok(Some(0));
        }
        let Some((length, content)) = header(rest, tag)? else {
            return Ok(None);
        };
        let whole = usize::try_from(content)
            .ok()
            .and_then(|content| content.checked_add(length))
            .filter(|whole| *whole <= MAX_ELEMENT)
            .ok_or(DerError("a field is too long"))?;
        let Some(field) = rest.get(..whole) else {
            return Ok(None);
        };
        match tag {
            UTC_TIME | GENERALIZED_TIME if self.times < 2 => self.times += 1,
            _ if self.times > 0 => return Err(DerError("an unknown field follows the times")),
            _ => {}
        }
        self.head.extend_from_slice(field);
        if self.head.len() > 2 * MAX_ELEMENT {
            return Err(DerError("its fields are too long"));
        }
        self.spend(whole)?;
        Ok(Some(whole))
    }

    /// The head is complete: from its algorithm on, what is signed can be hashed.
    fn end_of_head(&mut self) -> Result<(), DerError> {
        if self.tbs.is_some() || self.times == 0 {
            return match self.times {
                0 => Err(DerError("it has no thisUpdate")),
                _ => Ok(()),
            };
        }
        // The header that stands there promises the list as well.
        let header = header(&self.head, SEQUENCE)?.map_or(0, |(length, _)| length);
        let mut outer = Reader::new(self.head.get(header..).unwrap_or_default());
        let _ = outer.optional(INTEGER)?;
        let algorithm = AlgorithmIdentifier::read(&mut outer)?;
        if let Ok(algorithm) = SignatureAlgorithm::from_identifier(&algorithm)
            && !algorithm.hashes_itself()
        {
            let mut digester = Digester::new(algorithm.digest());
            digester.update(&self.head);
            self.tbs = Some(digester);
        }
        self.head.drain(..header);
        Ok(())
    }

    /// The entries that are whole in `rest`; how long they are together.
    fn entries<E>(
        &mut self,
        rest: &[u8],
        each: &mut dyn FnMut(StreamedEntry<'_>) -> Result<(), E>,
    ) -> Result<usize, StreamError<E>> {
        let wrong = |error: DerError| StreamError::Malformed(error.0);
        let mut at = 0;
        while self.list_left > 0 {
            let here = rest.get(at..).unwrap_or_default();
            let Some((length, content)) = header(here, SEQUENCE).map_err(wrong)? else {
                break;
            };
            let whole = usize::try_from(content)
                .ok()
                .and_then(|content| content.checked_add(length))
                .filter(|whole| *whole <= MAX_ELEMENT)
                .ok_or(StreamError::Malformed("an entry is too long"))?;
            let Some(entry) = here.get(length..whole) else {
                break;
            };
            let long = u64::try_from(whole).unwrap_or(u64::MAX);
            self.list_left = self
                .list_left
                .checked_sub(long)
                .ok_or(StreamError::Malformed("an entry is longer than its list"))?;
            let mut reader = Reader::new(entry);
            let serial = reader.integer().map_err(wrong)?;
            let mut facts = EntryFacts::default();
            facts.read(&mut reader).map_err(wrong)?;
            if let Some(value) = facts.issuer {
                self.issuer = self.issuers.number(value).map_err(wrong)?;
            }
            facts.note_unknown(&mut self.unknown_critical);
            each(StreamedEntry {
                serial,
                issuer: self.issuer,
                entry: facts.entry(),
            })
            .map_err(StreamError::Caller)?;
            self.entries += 1;
            at += whole;
        }
        self.spend(at).map_err(wrong)?;
        Ok(at)
    }

    /// These octets of what is signed were read.
    fn spend(&mut self, length: usize) -> Result<(), DerError> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let left = self.tbs_left.checked_sub(length);
        self.tbs_left = left.ok_or(DerError("a field is longer than what is signed"))?;
        Ok(())
    }

    /// What is signed begins: header and content are a part of the whole.
    fn take(&mut self, header: usize, content: u64) -> Result<(), DerError> {
        let header = u64::try_from(header).unwrap_or(u64::MAX);
        let left = header
            .checked_add(content)
            .and_then(|tbs| self.whole_left.checked_sub(tbs));
        self.whole_left = left.ok_or(DerError("what is signed is longer than the whole"))?;
        Ok(())
    }
}

impl Default for CrlStream {
    fn default() -> Self {
        Self::new()
    }
}

/// Lengths of identifier and length octets and of the content; nothing where they have not come whole.
fn header(bytes: &[u8], tag: Tag) -> Result<Option<(usize, u64)>, DerError> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if *first != tag {
        return Err(DerError("another field is expected"));
    }
    let Some((first, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if *first < 0x80 {
        return Ok(Some((2, u64::from(*first))));
    }
    let count = usize::from(*first & 0x7f);
    if count == 0 {
        return Err(DerError("indefinite length"));
    }
    if count > 8 {
        return Err(DerError("length too long"));
    }
    let Some(octets) = rest.get(..count) else {
        return Ok(None);
    };
    let length = octets
        .iter()
        .fold(0, |length: u64, octet| (length << 8) | u64::from(*octet));
    if length < 0x80 || octets.first() == Some(&0) {
        return Err(DerError("length not minimal"));
    }
    Ok(Some((2 + count, length)))
}

/// Octets of one field of the head, and of one entry.
const MAX_ELEMENT: usize = 64 << 10;
/// Octets of the extensions, and of the signature with its algorithm.
const MAX_TAIL: usize = 1 << 20;

#[cfg(test)]
mod tests;
