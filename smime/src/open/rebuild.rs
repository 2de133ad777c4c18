//! Makes a message of an opened content (RFC 8551 §3.3, RFC 9788 §4).
//!
//! The content stays as it is, octet for octet. Its own header fields become those of the message only where it says that
//! they stand for them, and only those that people read: a content never brings in a trace, a result of a check, or
//! anything that hosts believe.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use kenin_pki::crypto::Secret;

use crate::facts::FieldSpan;
use crate::header_protection::{
    Fold, NOT_IDENTIFYING, describes_content, is_protected, plain, protected_name, push, read,
};
use crate::layer;
use crate::limits::Limits;
use crate::mime::{ContentType, Header, Part, PartKind, Tree, slice};
use crate::release::{encapsulated, end_of_fields};

/// The message with an opened content in place of its encrypted one: the fields of its header except those that described
/// the encrypted content, then the entity. Its line ends stay too: who needs them as CRLF converts them afterwards, which
/// text and the signatures over it survive.
///
/// Where the entity, or what is signed in it, protects the header (`hp="cipher"`, and what came before RFC 9788:
/// `protected-headers="v1"`, or a message in the wrapper of RFC 8551 §3.1), its fields replace those outside. `keep_field`
/// is asked for each by its name in lower case, and one that it does not want stays as it is outside. Say no to `from`
/// unless the inner address is the outer one or that of a good signature: nobody on the way has seen the inner one.
///
/// `hp="cipher"` says that no field is left out inside. What stands outside alone was added on the way, and goes where it
/// says whom an answer is for: the answer would carry the content to whoever added it.
#[must_use]
pub fn reassemble(
    raw: &[u8],
    entity: &[u8],
    limits: &Limits,
    keep_field: &dyn Fn(&str) -> bool,
) -> Vec<u8> {
    let (mut inner, is_whole) = protected_fields(entity, limits);
    inner.retain(|(name, _)| keep_field(name));
    // However many fields there are, they have few names.
    let names: BTreeSet<&str> = inner.iter().map(|(name, _)| *name).collect();
    let (_, outer) = read(raw);
    let mut out = Vec::with_capacity(raw.len().min(MAX_HEADER) + entity.len());
    for field in &outer {
        if describes_content(raw, field) || field.is(raw, "mime-version") {
            continue;
        }
        let replaced = names.iter().any(|name| field.is(raw, name));
        let is_answered = || {
            ANSWERED
                .iter()
                .any(|name| field.is(raw, name) && keep_field(name))
        };
        if !(replaced || is_whole && is_answered()) {
            push(&mut out, slice(raw, field.whole.clone()));
        }
    }
    for (_, field) in &inner {
        push(&mut out, field);
    }
    let (whole, _) = read(entity);
    let header = slice(entity, whole.range.clone());
    let unfolded =
        (whole.odd && header.len() <= limits.header_size).then(|| without_blank_folds(header));
    let header = unfolded.as_ref().map_or(header, Secret::expose);
    let (own, fields) = read(header);
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    // Lines that look like fields are lost as such; where nothing says that they are, they may be what was written.
    let is_mime =
        |field: &FieldSpan| describes_content(header, field) || field.is(header, "mime-version");
    let is_entity = fields.is_empty() || fields.iter().any(is_mime);
    let is_entity = is_entity && is_nothing_else(header, &own, &fields);
    if is_entity && is_doubted(header, &own, &fields, whole.odd) {
        // Nobody knows whether its fields stand for those outside. They stay those of a message inside.
        out.extend_from_slice(b"Content-Type: message/rfc822\r\n\r\n");
        out.extend_from_slice(entity);
    } else if is_entity {
        for field in fields
            .iter()
            .filter(|field| describes_content(header, field))
        {
            push(&mut out, slice(header, field.whole.clone()));
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(slice(entity, whole.body..entity.len()));
    } else {
        // No entity to whoever reads it: all of it is text.
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(entity);
    }
    out
}

/// A header without the lines of a field in which only white space stands (RFC 5322 §4.2, obs-FWS): some readers end it
/// there, and to all it says the same without them.
pub(super) fn without_blank_folds(header: &[u8]) -> Secret {
    let is_fold = |line: &[u8]| {
        matches!(line.first(), Some(b' ' | b'\t')) && line.trim_ascii_start().is_empty()
    };
    let mut left = Vec::with_capacity(header.len());
    let lines = header.split_inclusive(|octet| *octet == b'\n');
    for (at, line) in lines.enumerate() {
        // Nothing is in front of the first that it could belong to.
        if at == 0 || !is_fold(line) {
            left.extend_from_slice(line);
        }
    }
    Secret::new(left)
}

/// Whether a header is made of fields, in which all readers see the same.
pub(super) fn is_nothing_else(entity: &[u8], header: &Header, fields: &[FieldSpan]) -> bool {
    let length: usize = fields.iter().map(|field| field.whole.len()).sum();
    !header.odd && length == end_of_fields(entity, header)
}

/// Fields with their names.
pub(crate) type Named = Vec<(&'static str, Vec<u8>)>;

/// The fields that stand for the message's header, in their order; one that says who wrote it, when, or whom an answer goes
/// to stands there once, or it is none. And whether they are all that its sender gave it.
pub(crate) fn protected_fields(entity: &[u8], limits: &Limits) -> (Named, bool) {
    let mut bytes = Cow::Borrowed(entity);
    // Each is a signed content in the one before.
    for _ in 0..limits.layers {
        let Ok(tree) = Tree::read(&bytes, 0..bytes.len(), limits, |_| ()) else {
            break;
        };
        let Some((payload, wrapped)) = payload(&bytes, &tree) else {
            break;
        };
        if is_unsure(&bytes, payload) {
            break;
        }
        if !wrapped && payload.kind == PartKind::Leaf && layer::is_object(&bytes, payload) {
            let Ok(content) = encapsulated(&bytes, payload, limits) else {
                break;
            };
            bytes = Cow::Owned(content);
            continue;
        }
        return fields_of(&bytes, payload, wrapped);
    }
    (Vec::new(), false)
}

/// What the signatures around the whole are over; and whether that was a wrapper (RFC 8551 §3.1), in whose place the message
/// in it stands. A wrapper that has the header by RFC 9788 itself is as any other content.
fn payload<'t>(bytes: &[u8], tree: &'t Tree) -> Option<(&'t Part, bool)> {
    let mut part = tree.parts.first()?;
    // A part comes after the one that it is in.
    while part.kind == PartKind::Signed {
        if part.ambiguous {
            return None;
        }
        part = tree.parts.get(*part.children.first()?)?;
    }
    let wraps = part.content_type.wraps_message() && !part.content_type.says("hp", b"cipher");
    if part.kind != PartKind::Message || !wraps {
        return Some((part, false));
    }
    let message = tree.parts.get(*part.children.first()?)?;
    (!is_unsure(bytes, part)).then_some((message, true))
}

/// Whether readers differ about the header of a part.
fn is_unsure(bytes: &[u8], part: &Part) -> bool {
    part.header.odd
        || part.header.content_type_odd
        || part.content_type.odd
        || has_odd_name(bytes, &part.header)
}

/// Whether some readers end a header at one of its fields. About one that is only too long they do not differ: relays do,
/// and it is folded before it gets to one.
fn has_odd_name(bytes: &[u8], header: &Header) -> bool {
    header.doubtful.iter().any(|field| {
        let name = slice(bytes, field.name.clone());
        bytes.get(field.name.end) != Some(&b':') || !name.iter().all(u8::is_ascii_graphic)
    })
}

/// Whether an entity says of its header that it is protected, and readers differ about that; `odd` says that it was unfolded
/// before. What is signed inside shows its fields there.
fn is_doubted(entity: &[u8], header: &Header, fields: &[FieldSpan], odd: bool) -> bool {
    let types = fields
        .iter()
        .filter(|field| field.is(entity, "content-type"));
    let types: Vec<_> = types
        .map(|field| ContentType::parse(field.value(entity)))
        .collect();
    let is_protected = types.first().is_some_and(|one| is_protected(&one.essence));
    let says = |one: &ContentType| PROTECTING.iter().any(|name| one.names(name));
    let is_odd = |one: &ContentType| {
        let is_unclear = |name: &&str| one.names(name) && one.only(name).is_none();
        one.odd || PROTECTING.iter().any(is_unclear)
    };
    let is_unsure =
        odd || header.content_type_odd || types.iter().any(is_odd) || has_odd_name(entity, header);
    is_unsure
        && !is_protected
        && types.iter().any(says)
        && fields
            .iter()
            .any(|field| protected_name(entity, field).is_some())
}

fn fields_of(bytes: &[u8], payload: &Part, wrapped: bool) -> (Named, bool) {
    let content_type = &payload.content_type;
    let by_standard = content_type.says("hp", b"cipher");
    if !(by_standard || wrapped || content_type.says("protected-headers", b"v1")) {
        return (Vec::new(), false);
    }
    let header = slice(bytes, payload.header.range.clone());
    let (_, fields) = read(header);
    let named: Vec<_> = fields
        .iter()
        .filter_map(|field| Some((protected_name(header, field)?, field)))
        .collect();
    // Nobody has counted the fields of a content.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &named {
        *counts.entry(*name).or_default() += 1;
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    // A sender who keeps to RFC 9788 never leaves From out.
    let is_whole = by_standard && count("from") == 1;
    let found = named
        .iter()
        .filter(|found| count(found.0) == 1 || NOT_IDENTIFYING.contains(&found.0))
        .map(|(name, field)| {
            (
                *name,
                plain(slice(header, field.whole.clone()), Fold::Anywhere),
            )
        })
        .collect();
    (found, is_whole)
}

/// What says of a content that it protects its header.
const PROTECTING: [&str; 2] = ["hp", "protected-headers"];
/// Fields by which programs find whom to answer, beside From and To, which every message has.
const ANSWERED: [&str; 4] = ["reply-to", "mail-reply-to", "mail-followup-to", "cc"];
/// No need for more room than this for a header; a larger one makes its own.
const MAX_HEADER: usize = 64 * 1024;
