//! Distinguished names: comparison by RFC 5280 §7.1 and text by RFC 4514.
//!
//! Two names are compared by a canonical form made once: attribute by attribute, strings folded (case,
//! white space, character set), anything that is not a string by its octets. Of the preparation of RFC 4518
//! only the parts that names in certificates need are done; a difference in Unicode normal form is a difference.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-7.1>

#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::sync::{Arc, OnceLock};

use crate::crypto::{Digest, DigestAlgorithm};
use crate::der::{
    BMP_STRING, DerError, IA5_STRING, NUMERIC_STRING, PRINTABLE_STRING, Reader, SET,
    TELETEX_STRING, UNIVERSAL_STRING, UTF8_STRING, VISIBLE_STRING, write,
};
use crate::oid::{self, Oid, OidBuf};

/// A distinguished name: the bytes as they came and what they say. Equality is that of RFC 5280 §7.1.
#[derive(Clone)]
pub struct Name(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    canonical: Box<[u8]>,
    /// SHA-256 of `canonical`: names of any length compare and hash in one step.
    id: Digest,
    /// Made when asked for: most names are only compared.
    rdns: OnceLock<Vec<Rdn>>,
}

impl Name {
    /// Reads bytes that are exactly one Name.
    pub fn from_der(bytes: &[u8]) -> Result<Self, DerError> {
        let mut reader = Reader::new(bytes);
        let name = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(name)
    }

    /// Reads the Name that comes next.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let element = reader.element(crate::der::SEQUENCE)?;
        let mut inner = element.reader();
        let (mut canonical, mut room) = (Vec::new(), MAX_ATTRIBUTES);
        while !inner.is_empty() {
            let rdn = Rdn::read(inner.element(SET)?.content, &mut room)?;
            rdn.push_canonical(&mut canonical);
        }
        Ok(Self(Arc::new(Inner {
            der: element.raw.into(),
            id: DigestAlgorithm::Sha256.digest(&canonical),
            canonical: canonical.into(),
            rdns: OnceLock::new(),
        })))
    }

    /// The encoding as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Whether it has no RDN.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.canonical.is_empty()
    }

    /// The RDNs in order of the encoding, outermost (country) first.
    #[must_use]
    pub fn rdns(&self) -> &[Rdn] {
        self.0.rdns.get_or_init(|| {
            let (mut rdns, mut room) = (Vec::new(), MAX_ATTRIBUTES);
            let mut sets = Reader::new(self.der())
                .sequence()
                .unwrap_or(Reader::new(&[]));
            // All of it was read before.
            while let Ok(set) = sets.element(SET) {
                rdns.extend(Rdn::read(set.content, &mut room));
            }
            rdns
        })
    }

    /// All attributes in order of the encoding.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.rdns().iter().flat_map(|rdn| rdn.attributes.iter())
    }

    /// Whether this name is `base` or stands below it: the directoryName rule of RFC 5280 §4.2.1.10.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        // Every RDN of the canonical form carries its length, so a prefix ends where an RDN ends.
        self.0.canonical.starts_with(&base.0.canonical)
    }

    /// This name with one more RDN, given as the content octets of its SET OF (nameRelativeToCRLIssuer).
    pub fn with_relative(&self, rdn: &[u8]) -> Result<Self, DerError> {
        let mut content = Reader::new(self.der()).sequence()?.rest().to_vec();
        content.extend(write::element(SET, rdn));
        Self::from_der(&write::element(crate::der::SEQUENCE, &content))
    }

    /// A canonical form: two names are equal exactly if these are. For maps and stores.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.0.canonical
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id.as_ref().hash(state);
    }
}

/// RFC 4514: the most specific RDN first, everything that could confuse a reader escaped, at most
/// about a thousand characters.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for rdn in self.rdns().iter().rev() {
            for (index, attribute) in rdn.attributes.iter().enumerate() {
                match (text.is_empty(), index) {
                    (true, _) => {}
                    (false, 0) => text.push(','),
                    (false, _) => text.push('+'),
                }
                attribute.push_text(&mut text)?;
                if text.len() > MAX_TEXT {
                    text.push_str("...");
                    return f.write_str(&text);
                }
            }
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A relative distinguished name: one attribute or more.
#[derive(Clone, Debug)]
pub struct Rdn {
    attributes: Vec<Attribute>,
}

impl Rdn {
    /// The attributes.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    fn read(content: &[u8], room: &mut usize) -> Result<Self, DerError> {
        let mut set = Reader::new(content);
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let mut pair = set.sequence()?;
            let oid = pair.oid()?.to_buf();
            let value = pair.any()?;
            pair.finish()?;
            *room = room
                .checked_sub(1)
                .ok_or(DerError("name has too many attributes"))?;
            attributes.push(Attribute {
                oid,
                tag: value.tag,
                value: value.content.into(),
            });
        }
        if attributes.is_empty() {
            Err(DerError("empty RDN"))
        } else {
            Ok(Self { attributes })
        }
    }

    /// Attributes in an order of their own, so that the order of the SET does not matter.
    fn push_canonical(&self, out: &mut Vec<u8>) {
        let mut all: Vec<Vec<u8>> = self.attributes.iter().map(Attribute::canonical).collect();
        all.sort_unstable();
        push_counted(out, &all.concat());
    }
}

/// AttributeTypeAndValue.
#[derive(Clone, Debug)]
pub struct Attribute {
    oid: OidBuf,
    tag: u8,
    value: Box<[u8]>,
}

impl Attribute {
    /// The type.
    #[must_use]
    pub const fn oid(&self) -> Oid<'_> {
        self.oid.as_oid()
    }

    /// Identifier octet of the value.
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// Content octets of the value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The value as text, if it is a string that reads.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        decode(self.tag, &self.value)
    }

    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_counted(&mut out, self.oid().content());
        if let Some(text) = self.text() {
            out.push(0);
            push_counted(&mut out, fold(&text).as_bytes());
        } else {
            out.push(self.tag);
            push_counted(&mut out, &self.value);
        }
        out
    }

    fn push_text(&self, out: &mut String) -> fmt::Result {
        match SHORT.iter().find(|(oid, _)| *oid == self.oid()) {
            Some((_, short)) => out.push_str(short),
            None => write!(out, "{}", self.oid())?,
        }
        out.push('=');
        let Some(text) = self.text() else {
            out.push('#');
            for byte in write::element(self.tag, &self.value)
                .iter()
                .take(MAX_TEXT / 2)
            {
                write!(out, "{byte:02x}")?;
            }
            return Ok(());
        };
        let last = text.chars().count().saturating_sub(1);
        for (index, character) in text.chars().enumerate() {
            if out.len() > MAX_TEXT {
                break;
            }
            let edge = (index == 0 && matches!(character, ' ' | '#'))
                || (index == last && character == ' ');
            if edge || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
                out.push('\\');
                out.push(character);
            } else if is_unprintable(character) {
                let mut octets = [0; 4];
                for byte in character.encode_utf8(&mut octets).bytes() {
                    write!(out, "\\{byte:02X}")?;
                }
            } else {
                out.push(character);
            }
        }
        Ok(())
    }
}

/// Builds a name from attributes, one RDN each, as UTF8String (country and serial number PrintableString,
/// domainComponent and emailAddress IA5String).
#[derive(Clone, Debug, Default)]
pub struct NameBuilder {
    rdns: Vec<Vec<u8>>,
}

impl NameBuilder {
    /// Adds one RDN.
    #[must_use]
    pub fn with(self, oid: Oid<'_>, text: &str) -> Self {
        let tag = match oid {
            oid::COUNTRY | oid::SERIAL_NUMBER => PRINTABLE_STRING,
            oid::DOMAIN_COMPONENT | oid::EMAIL_ADDRESS => IA5_STRING,
            _ => UTF8_STRING,
        };
        self.with_value(oid, tag, text.as_bytes())
    }

    /// Adds one RDN with a value of any kind.
    #[must_use]
    pub fn with_value(mut self, oid: Oid<'_>, tag: u8, content: &[u8]) -> Self {
        let pair = write::seq(&[write::oid(oid), write::element(tag, content)]);
        self.rdns.push(write::set_of(&[pair]));
        self
    }

    /// The encoding.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        write::seq(&self.rdns)
    }

    /// Ends.
    pub fn build(&self) -> Result<Name, DerError> {
        Name::from_der(&self.to_der())
    }
}

/// What a directory string says; `None` for another kind of value or one that does not read.
fn decode(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => std::str::from_utf8(content).ok().map(str::to_owned),
        PRINTABLE_STRING | NUMERIC_STRING | IA5_STRING | VISIBLE_STRING => content
            .is_ascii()
            .then(|| content.iter().copied().map(char::from).collect()),
        // What is called T61 is Latin-1 in practice.
        TELETEX_STRING => Some(content.iter().copied().map(char::from).collect()),
        BMP_STRING => {
            let mut chunks = content.chunks_exact(2);
            let units = chunks
                .by_ref()
                .map(|c| c.iter().fold(0_u16, |sum, b| (sum << 8) | u16::from(*b)));
            let text = char::decode_utf16(units)
                .collect::<Result<String, _>>()
                .ok()?;
            chunks.remainder().is_empty().then_some(text)
        }
        UNIVERSAL_STRING => {
            let mut chunks = content.chunks_exact(4);
            let text = chunks
                .by_ref()
                .map(|c| char::from_u32(c.iter().fold(0_u32, |sum, b| (sum << 8) | u32::from(*b))))
                .collect::<Option<String>>()?;
            chunks.remainder().is_empty().then_some(text)
        }
        _ => None,
    }
}

/// Case folded, white space trimmed and runs of it made one space, full-width forms of ASCII made ASCII,
/// characters without appearance dropped.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for character in text.chars() {
        let character = match character {
            '\u{ff01}'..='\u{ff5e}' => {
                char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
            }
            other => other,
        };
        if character.is_whitespace() {
            space = true;
        } else if !matches!(character, '\u{ad}' | '\u{200b}' | '\u{feff}') {
            if space && !out.is_empty() {
                out.push(' ');
            }
            space = false;
            out.extend(character.to_lowercase());
        }
    }
    out
}

/// Control characters, and the ones that change the direction of or hide the text around them.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn push_counted(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend(
        u32::try_from(octets.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(octets);
}

/// Short names of RFC 4514 §3, and `emailAddress`, which everybody writes.
const SHORT: [(Oid<'static>, &str); 10] = [
    (oid::COMMON_NAME, "CN"),
    (oid::LOCALITY, "L"),
    (oid::STATE, "ST"),
    (oid::ORGANIZATION, "O"),
    (oid::ORGANIZATIONAL_UNIT, "OU"),
    (oid::COUNTRY, "C"),
    (oid::STREET, "STREET"),
    (oid::DOMAIN_COMPONENT, "DC"),
    (oid::USER_ID, "UID"),
    (oid::EMAIL_ADDRESS, "emailAddress"),
];

const MAX_ATTRIBUTES: usize = 1000;
const MAX_TEXT: usize = 1000;
