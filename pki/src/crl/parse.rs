//! From bytes to fields and the index of entries, in one pass. <https://www.rfc-editor.org/rfc/rfc5280#section-5.1>

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{
    DerError, ENUMERATED, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, UTC_TIME,
    context_constructed,
};
use crate::extension::{ExtensionSet, GeneralName, read};
use crate::name::Name;
use crate::oid::{self, Oid, OidBuf};
use crate::signed::Signed;
use crate::time::UnixTime;

use super::{Entries, Entry, Inner, RevocationReason, RevokedEntry, slice};

pub(super) fn crl(bytes: &[u8]) -> Result<Inner, DerError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(DerError("longer than 4 GiB"));
    }
    let (signed, tbs, start) = Signed::read(bytes)?;
    let mut reader = tbs.reader();
    let version = match reader.optional(INTEGER)? {
        Some(element) => element.small()?,
        None => 0,
    };
    if version > 1 {
        return Err(DerError("unknown version"));
    }
    let inner_algorithm = AlgorithmIdentifier::read(&mut reader)?;
    let issuer = Name::read(&mut reader)?;
    let this_update = reader.time()?;
    let next_update = match reader.peek() {
        Some(UTC_TIME | GENERALIZED_TIME) => Some(reader.time()?),
        _ => None,
    };
    let list = reader
        .optional(SEQUENCE)?
        .map(|element| element.content)
        .unwrap_or_default();
    // `list` ends where the rest of `tbs` begins.
    let list_end = start + tbs.raw.len() - reader.rest().len();
    let extensions = match reader.optional(context_constructed(0))? {
        Some(_) if version == 0 => return Err(DerError("extensions in a CRL before version 2")),
        Some(field) => {
            let mut inner = field.reader();
            let extensions = ExtensionSet::read(&mut inner)?;
            inner.finish()?;
            extensions
        }
        None => ExtensionSet::empty(),
    };
    reader.finish()?;

    let mut unknown_critical = extensions.unknown_critical(&KNOWN);
    let mut index = Index {
        bytes,
        entries: Vec::new(),
        issuers: Issuers::default(),
    };
    index.read(list, list_end, &mut unknown_critical)?;
    let issuing_distribution_point = extensions.field(
        oid::ISSUING_DISTRIBUTION_POINT,
        "issuingDistributionPoint",
        read::issuing_distribution_point,
    );
    // RFC 5280 §5.3.3: entries of others stand in an indirect list only. In another list nobody can know
    // whose certificate is meant.
    let indirect = matches!(&issuing_distribution_point, Ok(Some(point)) if point.indirect);
    if !index.issuers.names.is_empty() && !indirect {
        unknown_critical.push(oid::CERTIFICATE_ISSUER.to_buf());
    }
    Ok(Inner {
        signed,
        inner_algorithm,
        issuer,
        this_update,
        next_update,
        unknown_critical,
        crl_number: extensions.field(oid::CRL_NUMBER, "cRLNumber", read::number),
        delta_base: extensions.field(oid::DELTA_CRL_INDICATOR, "deltaCRLIndicator", read::number),
        authority_key_id: extensions.field(
            oid::AUTHORITY_KEY_IDENTIFIER,
            "authorityKeyIdentifier",
            read::authority_key_id,
        ),
        issuing_distribution_point,
        extensions,
        entries: Entries::Here(index.entries),
        issuers: index.issuers.names,
        signed_by: OnceLock::new(),
    })
}

/// What an entry says, from the octets after its serial.
pub(super) fn entry(octets: &[u8]) -> Option<RevokedEntry> {
    let mut facts = EntryFacts::default();
    facts.read(&mut Reader::new(octets)).ok()?;
    Some(facts.entry())
}

/// The value of an invalidityDate. One that cannot be read may be any: the first of all times.
pub(crate) fn invalidity_date(value: &[u8]) -> UnixTime {
    let mut reader = Reader::new(value);
    let time = reader.time();
    match (time, reader.is_empty()) {
        (Ok(time), true) => time,
        _ => UnixTime(i64::MIN),
    }
}

/// What follows the serial in an entry.
pub(super) struct EntryFacts<'a> {
    date: UnixTime,
    reason: RevocationReason,
    pub(super) issuer: Option<&'a [u8]>,
    /// Not read before somebody asks.
    invalidity: Option<&'a [u8]>,
    unknown_critical: Option<Oid<'a>>,
}

impl Default for EntryFacts<'_> {
    fn default() -> Self {
        Self {
            date: UnixTime::default(),
            reason: RevocationReason::Unspecified,
            issuer: None,
            invalidity: None,
            unknown_critical: None,
        }
    }
}

impl<'a> EntryFacts<'a> {
    /// What is said of the certificate.
    pub(super) fn entry(&self) -> RevokedEntry {
        RevokedEntry {
            date: self.date,
            reason: self.reason,
            invalidity_date: self.invalidity.map(invalidity_date),
        }
    }

    /// Adds a critical extension that nobody knows to those found before.
    pub(super) fn note_unknown(&self, unknown: &mut Vec<OidBuf>) {
        if let Some(oid) = self.unknown_critical
            && !unknown.iter().any(|known| *known == oid)
            && unknown.len() < MAX_UNKNOWN
        {
            unknown.push(oid.to_buf());
        }
    }

    pub(super) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), DerError> {
        self.date = reader.time()?;
        if reader.is_empty() {
            return Ok(());
        }
        let mut list = reader.sequence()?;
        reader.finish()?;
        while !list.is_empty() {
            let (oid, critical, value) = ExtensionSet::read_one(&mut list)?;
            match oid {
                oid::CRL_REASON => {
                    let mut inner = Reader::new(value);
                    let mut code = inner.element(ENUMERATED)?;
                    inner.finish()?;
                    code.tag = INTEGER;
                    self.reason = RevocationReason::from_code(code.small()?);
                }
                oid::CERTIFICATE_ISSUER => self.issuer = Some(value),
                oid::INVALIDITY_DATE => self.invalidity = Some(value),
                _ if critical => self.unknown_critical = Some(oid),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The index in the making.
struct Index<'a> {
    bytes: &'a [u8],
    entries: Vec<Entry>,
    issuers: Issuers,
}

/// The issuers that entries name, and how much more of them may be kept.
pub(super) struct Issuers {
    pub(super) names: Vec<Name>,
    /// Numbers by the octets that named them.
    known: HashMap<Box<[u8]>, u32>,
    room: usize,
}

impl Default for Issuers {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            known: HashMap::new(),
            room: MAX_ISSUER_OCTETS,
        }
    }
}

impl Issuers {
    /// The number of the issuer that a certificateIssuer names. It holds for the entry and those after it,
    /// until another names its own (RFC 5280 §5.3.3).
    pub(super) fn number(&mut self, value: &[u8]) -> Result<u32, DerError> {
        if let Some(number) = self.known.get(value) {
            return Ok(*number);
        }
        let cost = value.len().saturating_add(ISSUER_OVERHEAD);
        self.room = self
            .room
            .checked_sub(cost)
            .ok_or(DerError("too many issuers of entries"))?;
        let name = directory_name(value).ok_or(DerError("certificateIssuer is not one name"))?;
        self.names.push(name);
        let number = small(self.names.len());
        self.known.insert(value.into(), number);
        Ok(number)
    }
}

impl Index<'_> {
    fn read(
        &mut self,
        list: &[u8],
        list_end: usize,
        unknown: &mut Vec<OidBuf>,
    ) -> Result<(), DerError> {
        let mut reader = Reader::new(list);
        let mut issuer = 0;
        // With the first octets of the serials beside, sorting seldom looks into the list.
        let mut entries: Vec<(u64, Entry)> = Vec::new();
        while !reader.is_empty() {
            let mut entry = reader.sequence()?;
            let end = list_end - reader.rest().len();
            let serial = entry.integer()?;
            let serial_end = end - entry.rest().len();
            let mut facts = EntryFacts::default();
            facts.read(&mut entry)?;
            if let Some(value) = facts.issuer {
                issuer = self.issuers.number(value)?;
            }
            facts.note_unknown(unknown);
            let entry = Entry {
                serial: small(serial_end - serial.len()),
                serial_end: small(serial_end),
                end: small(end),
                issuer,
            };
            entries.push((first_octets(serial), entry));
        }
        let bytes = self.bytes;
        let key = |entry: &Entry| (slice(bytes, entry.serial, entry.serial_end), entry.serial);
        entries.sort_unstable_by(|(a_first, a), (b_first, b)| {
            a_first.cmp(b_first).then_with(|| key(a).cmp(&key(b)))
        });
        self.entries = entries.into_iter().map(|(_, entry)| entry).collect();
        self.entries.shrink_to_fit();
        Ok(())
    }
}

/// The first eight octets as a number that sorts as they do, up to what follows.
fn first_octets(serial: &[u8]) -> u64 {
    let mut octets = [0; 8];
    for (slot, octet) in octets.iter_mut().zip(serial) {
        *slot = *octet;
    }
    u64::from_be_bytes(octets)
}

/// The one directoryName of a certificateIssuer.
fn directory_name(value: &[u8]) -> Option<Name> {
    let mut names = read::general_names(value)
        .ok()?
        .into_iter()
        .filter_map(|name| match name {
            GeneralName::Directory(name) => Some(name),
            _ => None,
        });
    let name = names.next()?;
    names.next().is_none().then_some(name)
}

/// Offsets were checked to fit at the door.
fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Extensions of a list that path validation understands.
const KNOWN: [Oid<'static>; 4] = [
    oid::CRL_NUMBER,
    oid::DELTA_CRL_INDICATOR,
    oid::AUTHORITY_KEY_IDENTIFIER,
    oid::ISSUING_DISTRIBUTION_POINT,
];

/// Issuers that entries of one indirect list name, in octets of their names and of what keeps them.
const MAX_ISSUER_OCTETS: usize = 8 * 1024 * 1024;
const ISSUER_OVERHEAD: usize = 256;

/// One is enough to refuse the list; a few are enough to say why.
const MAX_UNKNOWN: usize = 8;
