//! Takes signed content out of its signature.
//!
//! What is taken out keeps its octets: its CMS is dropped, nothing else. Never decides which signature
//! is dropped (the caller does), and never promotes a header field of the content to one of the message:
//! fields that describe the content go along, any other makes the content a message of its own, or text. No recursion:
//! what is still to be written stands on a list.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use crate::cms::{self, SignedData};
use crate::defect::Defect;
use crate::examine::Source;
use crate::facts::FieldSpan;
use crate::facts::LayerKind;
use crate::limits::Limits;
use crate::mime::{
    Header, Part, PartKind, Tree, check_boundary, decode, fields, slice, split_signed,
};

/// The message without those of its signed layers that have these sections (as in
/// [`SignatureFacts`](crate::SignatureFacts)): in place of each stands its content.
///
/// # Errors
/// Why a content cannot be told from its signature, or that not all of them were found: one stands in an opaque
/// layer that is kept, for instance. Nothing is given out then.
pub fn release(raw: &[u8], limits: &Limits, sections: &HashSet<&str>) -> Result<Vec<u8>, Defect> {
    let mut found: HashSet<String> = HashSet::new();
    let mut dropped = |section: &str| {
        let wanted = sections.contains(section);
        if wanted {
            found.insert(section.to_owned());
        }
        wanted
    };
    let mut out = Vec::with_capacity(raw.len());
    let mut work = vec![Work::Entity(Entity {
        source: Source::Message(raw),
        range: 0..raw.len(),
        prefix: String::new(),
        layers: 0,
    })];
    // Last in, first out.
    while let Some(next) = work.pop() {
        match next {
            Work::Kept(source, range) => out.extend_from_slice(slice(source.bytes(), range)),
            Work::New(bytes) => out.extend_from_slice(bytes),
            Work::Entity(entity) => {
                let pieces = entity.pieces(limits, &mut dropped)?;
                work.extend(pieces.into_iter().rev());
            }
        }
    }
    match found.len() == sections.len() {
        true => Ok(out),
        false => Err(Defect::AmbiguousMime),
    }
}

/// What is still to be written.
enum Work<'a> {
    Kept(Source<'a>, Range<usize>),
    New(&'static [u8]),
    Entity(Entity<'a>),
}

/// An entity that may hold layers.
struct Entity<'a> {
    source: Source<'a>,
    range: Range<usize>,
    /// What stands before its section numbers: empty for the message, else it is the content of a
    /// dropped layer.
    prefix: String,
    layers: usize,
}

/// A range that is left out, and what stands in its place.
struct Cut<'a> {
    range: Range<usize>,
    instead: Vec<Work<'a>>,
}

impl<'a> Entity<'a> {
    /// What is left of it, in order.
    fn pieces(
        &self,
        limits: &Limits,
        dropped: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<Work<'a>>, Defect> {
        let bytes = self.source.bytes();
        let tree = Tree::read(bytes, self.range.clone(), limits, |_| ())?;
        let mut cuts: Vec<Cut<'a>> = Vec::new();
        // Parts that are the content of a dropped layer, and parts that are gone with one.
        let mut contents: HashSet<usize> = HashSet::new();
        let mut gone: HashSet<usize> = HashSet::new();
        if !self.prefix.is_empty() {
            contents.insert(0);
        }
        for (index, part) in tree.parts.iter().enumerate() {
            if gone.contains(&index) || part.parent.is_some_and(|parent| gone.contains(&parent)) {
                gone.insert(index);
                continue;
            }
            let is_content = contents.contains(&index);
            let own = Some(part.section.as_str()).filter(|own| !own.is_empty());
            let section = format!("{}{}", self.prefix, own.unwrap_or("1"));
            let header = || match is_content {
                // Nothing of it counts outside.
                true => Vec::new(),
                false => self.fields(part, &|name| !describes(name)),
            };
            if part.kind == PartKind::Signed && dropped(&self.signature_section(part)) {
                let content = content_of(bytes, &tree, part)?;
                cuts.push(Cut {
                    range: part.whole.start..content.start,
                    instead: header(),
                });
                cuts.push(Cut {
                    range: content.end..part.whole.end,
                    instead: Vec::new(),
                });
                contents.extend(part.children.first());
                gone.extend(part.children.iter().skip(1));
            } else if part.kind == PartKind::Leaf && dropped(&section) {
                if self.layers >= limits.layers {
                    return Err(Defect::LimitLayers);
                }
                let content = Rc::new(encapsulated(bytes, part, limits)?);
                let mut instead = header();
                instead.push(Work::Entity(Entity {
                    range: 0..content.len(),
                    source: Source::Decoded(content),
                    prefix: format!("{section}/"),
                    layers: self.layers + 1,
                }));
                cuts.push(Cut {
                    range: part.whole.clone(),
                    instead,
                });
            } else if dropped(&section) && part.kind != PartKind::Signed {
                // What only some readers take as signed cannot be taken out for all of them.
                return Err(Defect::AmbiguousMime);
            } else if is_content {
                cuts.push(self.content_header(part));
            }
        }
        cuts.sort_by_key(|cut| (cut.range.start, cut.range.end));
        let mut pieces = Vec::new();
        let mut at = self.range.start;
        for cut in cuts {
            pieces.push(Work::Kept(self.source.clone(), at..cut.range.start.max(at)));
            pieces.extend(cut.instead);
            at = at.max(cut.range.end);
        }
        pieces.push(Work::Kept(self.source.clone(), at..self.range.end.max(at)));
        Ok(pieces)
    }

    /// What becomes of the header of a content that is written: not a word of it is lost, and none of it becomes
    /// a field of what it is put into.
    fn content_header(&self, part: &Part) -> Cut<'a> {
        let start = part.header.range.start;
        let header = slice(self.source.bytes(), part.header.range.clone());
        let end = end_of_fields(self.source.bytes(), &part.header);
        let is_ours = |field: &FieldSpan| {
            let name = slice(header, field.name.clone());
            describes(name) || name.eq_ignore_ascii_case(b"mime-version")
        };
        let (mut length, mut ours, mut typed) = (0, true, false);
        for field in fields(header) {
            length += field.whole.len();
            ours &= is_ours(&field);
            typed |= field.is(header, "content-type");
        }
        let nothing_else = start + length == end;
        if nothing_else && ours {
            // Fields that describe the content are those of the part it becomes.
            return Cut {
                range: start..end,
                instead: self.fields(part, &describes),
            };
        }
        let front: &[u8] = match nothing_else && typed {
            // Header fields of its own (RFC 9788): they stay those of a message inside.
            true => b"Content-Type: message/rfc822\r\n\r\n",
            // No entity to whoever reads what was written: all of it is text.
            false => b"\r\n",
        };
        Cut {
            range: start..start,
            instead: vec![Work::New(front)],
        }
    }

    fn signature_section(&self, part: &Part) -> String {
        let dot = if part.section.is_empty() { "" } else { "." };
        format!("{}{}{dot}2", self.prefix, part.section)
    }

    /// The fields of a header whose names are wanted, as they are.
    fn fields(&self, part: &Part, wanted: &dyn Fn(&[u8]) -> bool) -> Vec<Work<'a>> {
        let start = part.header.range.start;
        let header = slice(self.source.bytes(), part.header.range.clone());
        let wanted = fields(header).filter(|field| wanted(slice(header, field.name.clone())));
        let place = |whole: Range<usize>| start + whole.start..start + whole.end;
        wanted
            .map(|field| Work::Kept(self.source.clone(), place(field.whole)))
            .collect()
    }
}

/// Whether a field is about the content of an entity (RFC 2045 §3).
pub(crate) fn describes(name: &[u8]) -> bool {
    name.get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
}

/// Where the empty line after the fields begins.
pub(crate) fn end_of_fields(bytes: &[u8], header: &Header) -> usize {
    let fields = slice(bytes, header.range.clone());
    let empty = match fields {
        b"\r\n" | [.., b'\n', b'\r', b'\n'] => 2,
        b"\n" | [.., b'\n', b'\n'] => 1,
        _ => 0,
    };
    header.range.end - empty
}

/// The content of a multipart/signed, which all readers have to see in the same place.
fn content_of(bytes: &[u8], tree: &Tree, part: &Part) -> Result<Range<usize>, Defect> {
    let split = check_boundary(&part.content_type)
        .and_then(|(boundary, _)| split_signed(bytes, part.body(), boundary))
        .map_err(|_| Defect::AmbiguousMime)?;
    let first = part
        .children
        .first()
        .and_then(|child| tree.parts.get(*child));
    match first {
        Some(first) if first.whole == split.content => Ok(split.content),
        _ => Err(Defect::AmbiguousMime),
    }
}

/// The content of an opaque layer.
pub(crate) fn encapsulated(bytes: &[u8], part: &Part, limits: &Limits) -> Result<Vec<u8>, Defect> {
    let decoded =
        decode(slice(bytes, part.body()), part.transfer).map_err(|_| Defect::Malformed)?;
    let (tape, _) = cms::read_tape(&decoded, limits).map_err(|(defect, _)| defect)?;
    let (kind, content) = cms::content_info(tape.root()).map_err(|(defect, _)| defect)?;
    if kind != LayerKind::Opaque {
        return Err(Defect::Malformed);
    }
    let signed = SignedData::read(content, limits, None).map_err(|(defect, _)| defect)?;
    let octets = signed.octets().filter(|_| signed.is_data());
    Ok(octets.ok_or(Defect::Malformed)?.contiguous().into_owned())
}

#[cfg(test)]
mod tests;
