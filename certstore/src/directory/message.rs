//! Messages of LDAP as octets: what is asked, and what comes back. Pure; knows no connection.
//!
//! Only what a search needs is here: bind, search, StartTLS. Answers are read by the bounded reader of
//! [`kenin_pki::ber`], which neither recurses nor allocates for a length that is only claimed: Active Directory writes
//! lengths that are not minimal, so DER would be too strict.
//!
//! <https://www.rfc-editor.org/rfc/rfc4511>.

use kenin_pki::ber::{Class, Cursor, Limits, Tag, Tape};
use kenin_pki::der::{SEQUENCE, context, write};

use super::{DirectoryError, Question};
use crate::fetch::Scope;

/// LDAPMessage around an operation (§4.1.1).
pub(super) fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    let id = write::integer(i64::from(id));
    write::element(SEQUENCE, &write::concat(&[&id[..], operation]))
}

/// BindRequest with a password (§4.2).
pub(super) fn bind(dn: &str, password: &[u8]) -> Vec<u8> {
    let parts = [
        write::integer(3),
        write::octet_string(dn.as_bytes()),
        write::element(context(0), password),
    ];
    write::element(BIND_REQUEST, &write::concat(&parts))
}

/// SearchRequest (§4.5.1). Aliases are not followed: they lead to entries that nobody named.
pub(super) fn search(question: &Question<'_>) -> Vec<u8> {
    let scope = match question.scope {
        Scope::Base => 0,
        Scope::One => 1,
        Scope::Sub => 2,
    };
    let attributes: Vec<Vec<u8>> = question
        .attributes
        .iter()
        .map(|name| write::octet_string(name.as_bytes()))
        .collect();
    let parts = [
        write::octet_string(question.base.as_bytes()),
        write::enumerated(scope),
        write::enumerated(0),
        write::integer(i64::from(question.size_limit)),
        write::integer(i64::from(question.time_limit)),
        write::boolean(false),
        question.filter.to_ber(),
        write::seq(&attributes),
    ];
    write::element(SEARCH_REQUEST, &write::concat(&parts))
}

/// The ExtendedRequest that asks for TLS (§4.14.1).
pub(super) fn start_tls() -> Vec<u8> {
    let name = write::element(context(0), START_TLS);
    write::element(EXTENDED_REQUEST, &name)
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// SearchResultEntry.
    Entry(Vec<Attribute>),
    /// SearchResultReference: another server may know more.
    Reference,
    /// SearchResultDone.
    Done(Outcome),
    /// BindResponse.
    Bound(Outcome),
    /// ExtendedResponse.
    Extended(Outcome),
}

/// An attribute of an entry, with the options that the server wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// As `userCertificate;binary`.
    pub(crate) name: String,
    /// Its values.
    pub(crate) values: Vec<Vec<u8>>,
}

/// LDAPResult (§4.1.9).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u32,
    /// Harmless and short.
    pub(super) text: String,
}

impl Outcome {
    /// Whether it is the good one.
    pub(super) fn success(self, what: &'static str) -> Result<(), DirectoryError> {
        match self.code {
            SUCCESS => Ok(()),
            REFERRAL => Err(DirectoryError::Referral),
            code => Err(DirectoryError::Refused {
                what,
                code,
                text: self.text,
            }),
        }
    }
}

/// Where the message that `held` begins with ends; none while it is not whole.
pub(super) fn end(held: &[u8], limit: usize) -> Result<Option<usize>, DirectoryError> {
    let Some(tag) = held.first() else {
        return Ok(None);
    };
    if *tag != SEQUENCE {
        return Err(DirectoryError::Malformed("no message begins so"));
    }
    let Some(first) = held.get(1) else {
        return Ok(None);
    };
    let (header, length) = if *first < 0x80 {
        (2, usize::from(*first))
    } else {
        let count = usize::from(*first & 0x7f);
        if !(1..=size_of::<u64>()).contains(&count) {
            return Err(DirectoryError::Malformed("a length of no definite form"));
        }
        let header = count.saturating_add(2);
        let Some(octets) = held.get(2..header) else {
            return Ok(None);
        };
        let length = octets
            .iter()
            .fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
        (header, usize::try_from(length).unwrap_or(usize::MAX))
    };
    let total = header.saturating_add(length);
    if total > limit {
        return Err(DirectoryError::TooLarge(limit));
    }
    Ok((held.len() >= total).then_some(total))
}

/// Reads a message: its number and what it says.
pub(super) fn read(bytes: &[u8]) -> Result<(u32, Reply), DirectoryError> {
    let bad = DirectoryError::Malformed;
    let tape = Tape::parse(bytes, &LIMITS).map_err(|error| match error.is_limit() {
        true => DirectoryError::TooMany,
        false => bad("no BER"),
    })?;
    let mut parts = tape.root().children();
    let id = parts.next().and_then(Cursor::small);
    let id = id.ok_or(bad("a message without a number"))?;
    let operation = parts.next().ok_or(bad("a message that says nothing"))?;
    let tag = operation.tag();
    if tag.class != Class::Application || !operation.is_constructed() {
        return Err(bad("another thing than an answer"));
    }
    let reply = match tag.number {
        1 => Reply::Bound(outcome(operation)?),
        4 => Reply::Entry(entry(operation)?),
        5 => Reply::Done(outcome(operation)?),
        19 => Reply::Reference,
        24 => Reply::Extended(outcome(operation)?),
        _ => return Err(bad("an answer that nobody asked for")),
    };
    Ok((id, reply))
}

/// The first message of what a server sent: where it ends, and what it says; none while it is not whole. For `fuzz/`
/// alone, which has no connection to read from.
///
/// # Errors
///
/// No message that a server of LDAP sends, or one longer than `limit`.
#[doc(hidden)]
pub fn first_message(
    received: &[u8],
    limit: usize,
) -> Result<Option<(usize, String)>, DirectoryError> {
    let Some(end) = end(received, limit)? else {
        return Ok(None);
    };
    let (number, said) = read(received.get(..end).unwrap_or_default())?;
    Ok(Some((end, format!("{number} {said:?}"))))
}

fn outcome(operation: Cursor<'_, '_>) -> Result<Outcome, DirectoryError> {
    let bad = DirectoryError::Malformed("a result without its parts");
    let mut parts = operation.children();
    let code = parts.next().and_then(enumerated);
    // The name of the entry that was found instead.
    let matched = parts.next().and_then(octets);
    let text = parts.next().and_then(octets);
    match (code, matched, text) {
        (Some(code), Some(_), Some(text)) => Ok(Outcome {
            code,
            text: harmless(text),
        }),
        _ => Err(bad),
    }
}

fn entry(operation: Cursor<'_, '_>) -> Result<Vec<Attribute>, DirectoryError> {
    let bad = || DirectoryError::Malformed("an entry without its parts");
    let list = operation.children().nth(1).ok_or_else(bad)?;
    let mut attributes = Vec::new();
    for one in list.children() {
        let mut parts = one.children();
        let name = parts.next().and_then(octets).ok_or_else(bad)?;
        let values = parts.next().ok_or_else(bad)?.children();
        attributes.push(Attribute {
            name: String::from_utf8_lossy(name).into_owned(),
            values: values
                .map(|value| octets(value).map(<[u8]>::to_vec))
                .collect::<Option<_>>()
                .ok_or_else(bad)?,
        });
    }
    Ok(attributes)
}

/// The octets of a string, which LDAP never writes in segments (§5.1).
fn octets<'a>(node: Cursor<'_, 'a>) -> Option<&'a [u8]> {
    let whole = node.is(Tag::OCTET_STRING) && !node.is_constructed();
    whole.then(|| node.content())
}

fn enumerated(node: Cursor<'_, '_>) -> Option<u32> {
    let content = node.content();
    let good = node.is(ENUMERATED) && !node.is_constructed() && (1..=4).contains(&content.len());
    good.then(|| {
        content
            .iter()
            .fold(0, |sum, octet| (sum << 8) | u32::from(*octet))
    })
}

/// A stranger's words: short, and on one line.
fn harmless(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let start = text.chars().take(SHOWN);
    start.flat_map(char::escape_default).collect()
}

/// Of an entry that holds certificates: a few hundred elements. Inside a value nothing is read here.
const LIMITS: Limits = Limits {
    depth: 8,
    elements: 20_000,
};
const ENUMERATED: Tag = Tag::universal(10);
/// Identifiers of §4.2 to §4.12: application, constructed.
const BIND_REQUEST: u8 = 0x60;
const SEARCH_REQUEST: u8 = 0x63;
const EXTENDED_REQUEST: u8 = 0x77;
/// requestName of StartTLS.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// resultCodes.
pub(super) const SUCCESS: u32 = 0;
pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
/// Characters of a server's words that a message repeats.
const SHOWN: usize = 120;

#[cfg(test)]
mod tests;
