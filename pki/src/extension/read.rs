//! Reading extension values. Each function takes the content of extnValue, whole.

use crate::der::{DerError, Element, Reader, context, context_constructed};
use crate::name::Name;
use crate::oid::{Oid, OidBuf};

use super::{
    AccessDescription, AuthorityKeyId, BasicConstraints, DistributionPoint, DistributionPointName,
    GeneralName, IssuingDistributionPoint, KeyUsage, NameConstraints, PolicyConstraints,
    PolicyInformation, PolicyMapping, ReasonFlags,
};

type Read<T> = Result<T, DerError>;

pub(crate) fn basic_constraints(value: &[u8]) -> Read<BasicConstraints> {
    let mut reader = sequence(value)?;
    let ca = match reader.optional(crate::der::BOOLEAN)? {
        Some(element) => element.boolean()?,
        None => false,
    };
    let path_len = match reader.optional(crate::der::INTEGER)? {
        Some(element) => Some(element.small()?),
        None => None,
    };
    reader.finish()?;
    Ok(BasicConstraints { ca, path_len })
}

pub(crate) fn key_usage(value: &[u8]) -> Read<KeyUsage> {
    Ok(KeyUsage(whole(value, |reader| {
        bits(&reader.any()?, crate::der::BIT_STRING)
    })?))
}

pub(crate) fn oids(value: &[u8]) -> Read<Vec<OidBuf>> {
    list(value, |reader| Ok(reader.oid()?.to_buf()))
}

pub(crate) fn octets(value: &[u8]) -> Read<Box<[u8]>> {
    whole(value, |reader| Ok(reader.octet_string()?.into()))
}

pub(crate) fn number(value: &[u8]) -> Read<Box<[u8]>> {
    whole(value, |reader| Ok(reader.unsigned()?.into()))
}

pub(crate) fn small(value: &[u8]) -> Read<u32> {
    whole(value, Reader::small)
}

pub(crate) fn authority_key_id(value: &[u8]) -> Read<AuthorityKeyId> {
    let mut reader = sequence(value)?;
    let key_id = reader
        .optional(context(0))?
        .map(|element| element.content.into());
    let issuer = match reader.optional(context_constructed(1))? {
        Some(element) => names_in(element.reader())?,
        None => Vec::new(),
    };
    let serial = match reader.optional(context(2))? {
        Some(element) => Some(element.integer()?.into()),
        None => None,
    };
    reader.finish()?;
    Ok(AuthorityKeyId {
        key_id,
        issuer,
        serial,
    })
}

pub(crate) fn general_names(value: &[u8]) -> Read<Vec<GeneralName>> {
    let names = repeat(sequence(value)?, MAX_NAMES, any_name())?;
    if names.is_empty() {
        Err(DerError("no name"))
    } else {
        Ok(names)
    }
}

pub(crate) fn name_constraints(value: &[u8]) -> Read<NameConstraints> {
    let mut reader = sequence(value)?;
    let mut subtrees = |number| match reader.optional(context_constructed(number))? {
        Some(element) => {
            let mut name = any_name();
            repeat(element.reader(), MAX_NAMES, |r| subtree(r, &mut name))
        }
        None => Ok(Vec::new()),
    };
    let (permitted, excluded) = (subtrees(0)?, subtrees(1)?);
    reader.finish()?;
    Ok(NameConstraints {
        permitted,
        excluded,
    })
}

pub(crate) fn policies(value: &[u8]) -> Read<Vec<PolicyInformation>> {
    list(value, |reader| {
        let mut inner = reader.sequence()?;
        let policy = inner.oid()?.to_buf();
        let qualifiers = inner
            .optional(crate::der::SEQUENCE)?
            .map(|element| element.raw.into());
        inner.finish()?;
        Ok(PolicyInformation { policy, qualifiers })
    })
}

pub(crate) fn policy_mappings(value: &[u8]) -> Read<Vec<PolicyMapping>> {
    list(value, |reader| {
        let mut inner = reader.sequence()?;
        let mapping = PolicyMapping {
            issuer: inner.oid()?.to_buf(),
            subject: inner.oid()?.to_buf(),
        };
        inner.finish()?;
        Ok(mapping)
    })
}

pub(crate) fn policy_constraints(value: &[u8]) -> Read<PolicyConstraints> {
    let mut reader = sequence(value)?;
    let mut skip = |number| match reader.optional(context(number))? {
        Some(element) => element.small().map(Some),
        None => Ok(None),
    };
    let (require_explicit_policy, inhibit_policy_mapping) = (skip(0)?, skip(1)?);
    reader.finish()?;
    Ok(PolicyConstraints {
        require_explicit_policy,
        inhibit_policy_mapping,
    })
}

pub(crate) fn distribution_points(value: &[u8]) -> Read<Vec<DistributionPoint>> {
    let mut room = MAX_LIST;
    list(value, |reader| {
        let mut inner = reader.sequence()?;
        let name = point_name(&mut inner)?;
        let reasons = reasons(&mut inner, 1)?;
        let crl_issuer = match inner.optional(context_constructed(2))? {
            Some(element) => names_in(element.reader())?,
            None => Vec::new(),
        };
        inner.finish()?;
        let full = match &name {
            Some(DistributionPointName::Full(names)) => names.len(),
            _ => 0,
        };
        room = room
            .checked_sub(full)
            .and_then(|room| room.checked_sub(crl_issuer.len()))
            .ok_or(TOO_MANY)?;
        Ok(DistributionPoint {
            name,
            reasons,
            crl_issuer,
        })
    })
}

pub(crate) fn access_descriptions(value: &[u8]) -> Read<Vec<AccessDescription>> {
    let mut name = any_name();
    list(value, |reader| {
        let mut inner = reader.sequence()?;
        let method = inner.oid()?.to_buf();
        let location = name(&mut inner)?;
        inner.finish()?;
        Ok(AccessDescription { method, location })
    })
}

pub(crate) fn issuing_distribution_point(value: &[u8]) -> Read<IssuingDistributionPoint> {
    let mut reader = sequence(value)?;
    let name = point_name(&mut reader)?;
    let flag = |reader: &mut Reader<'_>, number| match reader.optional(context(number))? {
        Some(element) => element.boolean(),
        None => Ok(false),
    };
    let only_user_certs = flag(&mut reader, 1)?;
    let only_ca_certs = flag(&mut reader, 2)?;
    let only_some_reasons = reasons(&mut reader, 3)?;
    let indirect = flag(&mut reader, 4)?;
    let only_attribute_certs = flag(&mut reader, 5)?;
    reader.finish()?;
    Ok(IssuingDistributionPoint {
        name,
        only_user_certs,
        only_ca_certs,
        only_some_reasons,
        indirect,
        only_attribute_certs,
    })
}

fn point_name(reader: &mut Reader<'_>) -> Read<Option<DistributionPointName>> {
    let Some(outer) = reader.optional(context_constructed(0))? else {
        return Ok(None);
    };
    let mut inner = outer.reader();
    let name = inner.any()?;
    inner.finish()?;
    match name.tag {
        tag if tag == context_constructed(0) => {
            Ok(Some(DistributionPointName::Full(names_in(name.reader())?)))
        }
        tag if tag == context_constructed(1) => {
            Ok(Some(DistributionPointName::Relative(name.content.into())))
        }
        _ => Err(DerError("unknown form of distribution point name")),
    }
}

fn reasons(reader: &mut Reader<'_>, number: u8) -> Read<Option<ReasonFlags>> {
    match reader.optional(context(number))? {
        Some(element) => Ok(Some(ReasonFlags(bits(&element, context(number))?))),
        None => Ok(None),
    }
}

/// The first sixteen named bits, bit n of the string in bit n of the number.
fn bits(element: &Element<'_>, tag: u8) -> Read<u16> {
    if element.tag != tag {
        return Err(DerError("another element than expected"));
    }
    let string = element.bit_string()?;
    Ok((0_u16..16)
        .filter(|bit| string.bit(usize::from(*bit)))
        .fold(0, |sum, bit| sum | (1 << bit)))
}

fn subtree(
    reader: &mut Reader<'_>,
    name: &mut impl FnMut(&mut Reader<'_>) -> Read<GeneralName>,
) -> Read<GeneralName> {
    let mut inner = reader.sequence()?;
    let base = name(&mut inner)?;
    // RFC 5280 §4.2.1.10: minimum is 0 and maximum absent; what else they could mean nobody implements.
    if let Some(minimum) = inner.optional(context(0))?
        && minimum.small()? != 0
    {
        return Err(DerError("subtree with a minimum"));
    }
    inner
        .finish()
        .map_err(|_| DerError("subtree with a maximum"))?;
    Ok(base)
}

pub(crate) fn general_name(element: &Element<'_>) -> Read<GeneralName> {
    const CONSTRUCTED: u8 = 0x20;
    let constructed = element.tag & CONSTRUCTED != 0;
    if element.tag & 0xc0 != 0x80 {
        return Err(DerError("not a general name"));
    }
    let content = element.content;
    Ok(match (element.tag & 0x1f, constructed) {
        (0, true) => {
            let mut inner = element.reader();
            let oid = inner.oid()?.to_buf();
            let mut explicit = inner.nested(context_constructed(0))?;
            inner.finish()?;
            let value = explicit.any()?.raw.into();
            explicit.finish()?;
            GeneralName::Other { oid, value }
        }
        (1, false) => GeneralName::Rfc822(ia5(content)?),
        (2, false) => GeneralName::Dns(ia5(content)?),
        (3, true) => GeneralName::X400(content.into()),
        (4, true) => GeneralName::Directory(Name::from_der(content)?),
        (5, true) => GeneralName::EdiParty(content.into()),
        (6, false) => GeneralName::Uri(ia5(content)?),
        (7, false) => GeneralName::Ip(content.into()),
        (8, false) => GeneralName::RegisteredId(
            Oid::from_content(content)
                .ok_or(DerError("object identifier has a bad form"))?
                .to_buf(),
        ),
        _ => return Err(DerError("not a general name")),
    })
}

/// IA5 text; a NUL in it is how one name pretends to be another.
fn ia5(content: &[u8]) -> Read<Box<str>> {
    if content.contains(&0) {
        return Err(DerError("NUL in a name"));
    }
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Ok(text.into()),
        _ => Err(DerError("name is not IA5")),
    }
}

pub(crate) fn names_in(reader: Reader<'_>) -> Read<Vec<GeneralName>> {
    repeat(reader, MAX_LIST, any_name())
}

/// Reads names, of which only so many may be directory names: these take much room.
fn any_name() -> impl FnMut(&mut Reader<'_>) -> Read<GeneralName> {
    let mut room = MAX_LIST;
    move |reader| {
        let name = general_name(&reader.any()?)?;
        if matches!(name, GeneralName::Directory(_)) {
            room = room.checked_sub(1).ok_or(TOO_MANY)?;
        }
        Ok(name)
    }
}

fn sequence(value: &[u8]) -> Read<Reader<'_>> {
    whole(value, Reader::sequence)
}

fn whole<'a, T>(value: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Read<T>) -> Read<T> {
    let mut reader = Reader::new(value);
    let read = read(&mut reader)?;
    reader.finish()?;
    Ok(read)
}

/// A SEQUENCE OF with one element at least.
fn list<T>(value: &[u8], read: impl FnMut(&mut Reader<'_>) -> Read<T>) -> Read<Vec<T>> {
    let all = repeat(sequence(value)?, MAX_LIST, read)?;
    if all.is_empty() {
        Err(DerError("empty list"))
    } else {
        Ok(all)
    }
}

fn repeat<T>(
    mut reader: Reader<'_>,
    most: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let mut all = Vec::new();
    while !reader.is_empty() {
        if all.len() >= most {
            return Err(TOO_MANY);
        }
        all.push(read(&mut reader)?);
    }
    Ok(all)
}

const TOO_MANY: DerError = DerError("too many elements");

/// Real lists are far shorter; an extension full of small elements must not cost much memory.
const MAX_LIST: usize = 2000;

/// Names of a subject, or of a subtree list: large organisations have some.
const MAX_NAMES: usize = 10_000;
