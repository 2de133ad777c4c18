//! Header fields as byte ranges (RFC 5322 §2.2). Never unfolds, decodes or changes one.

use std::ops::Range;

use crate::facts::FieldSpan;
use crate::mime::{line_end, slice};

/// The header fields of an entity that starts at the first byte of `raw`.
///
/// An mbox `From ` line at the start and lines that are no field are passed over; [`Fields::body`]
/// says where the body starts.
#[must_use]
pub fn fields(raw: &[u8]) -> Fields<'_> {
    Fields {
        raw,
        at: 0,
        end: raw.len(),
        body: None,
        unsure: false,
        doubtful: false,
    }
}

/// Iterator over header fields.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    raw: &'a [u8],
    at: usize,
    end: usize,
    body: Option<usize>,
    /// A line that some readers take for the end of the header was passed over.
    unsure: bool,
    /// Another line followed it.
    doubtful: bool,
}

impl Fields<'_> {
    /// Where the body starts: known once the iterator is exhausted, the end of input before.
    #[must_use]
    pub fn body(&self) -> usize {
        self.body.unwrap_or(self.end)
    }

    fn next_field(&mut self, stop: &mut dyn FnMut(usize) -> bool) -> Option<FieldSpan> {
        let first = self.at;
        while self.body.is_none() && self.at < self.end {
            let start = self.at;
            if stop(start) {
                self.body = Some(start);
                break;
            }
            let mut next = line_end(self.raw, start, self.end);
            let line = slice(self.raw, start..next);
            if matches!(line, b"\r\n" | b"\n") {
                self.body = Some(next);
                break;
            }
            // What follows the end of the header in some reader is the body of that reader.
            self.doubtful |= self.unsure;
            while matches!(self.raw.get(next), Some(b' ' | b'\t')) && next < self.end {
                let fold = next;
                next = line_end(self.raw, fold, self.end);
                self.doubtful |= self.unsure;
                self.unsure |= is_blank(slice(self.raw, fold..next));
            }
            self.at = next;
            match field_name(line) {
                Some(length) => {
                    return Some(FieldSpan {
                        name: start..start + length,
                        whole: start..next,
                    });
                }
                None if start == first && first == 0 && line.starts_with(b"From ") => {}
                None => {
                    self.unsure = true;
                    self.doubtful = true;
                }
            }
        }
        None
    }
}

impl Iterator for Fields<'_> {
    type Item = FieldSpan;

    fn next(&mut self) -> Option<FieldSpan> {
        self.next_field(&mut |_| false)
    }
}

/// What the rest of the crate wants to know of an entity's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    /// The whole header, the empty line included.
    pub(crate) range: Range<usize>,
    /// Where the body starts.
    pub(crate) body: usize,
    /// Value of the first Content-Type.
    pub(crate) content_type: Option<Range<usize>>,
    /// Whether some other Content-Type follows, or one has space before its colon.
    pub(crate) content_type_odd: bool,
    /// Value of the first Content-Transfer-Encoding.
    pub(crate) transfer: Option<Range<usize>>,
    /// Whether it is repeated or oddly spelled.
    pub(crate) transfer_odd: bool,
    /// Value of the first Content-Disposition.
    pub(crate) disposition: Option<Range<usize>>,
    /// Readers may end this header at different places, or see different fields in it.
    pub(crate) odd: bool,
    /// Fields that make it so as long as they stay in it: by their name, or by a length that relays
    /// do not pass on.
    pub(crate) doubtful: Vec<FieldSpan>,
}

impl Header {
    /// Reads the header that starts at `range.start`; `stop` may end it before a line.
    pub(crate) fn read(
        raw: &[u8],
        range: Range<usize>,
        stop: &mut dyn FnMut(usize) -> bool,
        mut each: impl FnMut(FieldSpan),
    ) -> Self {
        let mut header = Self::default();
        let mut fields = Fields {
            raw,
            at: range.start,
            end: range.end,
            body: None,
            unsure: false,
            doubtful: false,
        };
        while let Some(field) = fields.next_field(stop) {
            header.note(raw, &field);
            each(field);
        }
        header.body = fields.body();
        header.range = range.start..header.body;
        header.odd |= fields.doubtful;
        header.odd |= has_bare_cr(slice(raw, header.range.clone()));
        header
    }

    fn note(&mut self, raw: &[u8], field: &FieldSpan) {
        let name = slice(raw, field.name.clone());
        let spaced = raw.get(field.name.end) != Some(&b':');
        let content = name
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        let longest = if content {
            MAX_CONTENT_FIELD
        } else {
            MAX_FIELD
        };
        // Postfix, and readers after it, end the header at a name that is not RFC 5322's (§2.2; RFC
        // 6532 adds nothing to names), and some at white space before the colon.
        if spaced
            || !name.iter().all(u8::is_ascii_graphic)
            || field.whole.len() > longest
            || has_long_line(slice(raw, field.whole.clone()))
        {
            if self.doubtful.len() < MAX_DOUBTFUL {
                self.doubtful.push(field.clone());
            } else {
                self.odd = true;
            }
        }
        if !content {
            return;
        }
        let value = value_range(raw, field);
        // A reader written in C sees only what stands before a NUL. Elsewhere it changes no
        // structure: a From with one is the business of whoever reads addresses.
        self.odd |= memchr::memchr(0, slice(raw, value.clone())).is_some();
        if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type_odd |= spaced;
            if self.content_type.is_none() {
                self.content_type = Some(value);
            } else {
                self.content_type_odd = true;
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            self.transfer_odd |= spaced || self.transfer.is_some();
            self.transfer.get_or_insert(value);
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            self.disposition.get_or_insert(value);
        }
    }
}

fn value_range(raw: &[u8], field: &FieldSpan) -> Range<usize> {
    let after = slice(raw, field.name.end..field.whole.end);
    let colon = memchr::memchr(b':', after).map_or(after.len(), |at| at + 1);
    field.name.end + colon..field.whole.end
}

/// Length of the field name at the start of a line, if it is a field.
///
/// White space before the colon and octets outside ASCII make a field doubtful, but it is one: a
/// scrubber has to see it. Anything else is no field.
fn field_name(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', line)?;
    let before = line.get(..colon)?;
    let name = before.trim_ascii_end();
    let valid = !name.is_empty() && name.iter().all(|byte| !matches!(byte, 0..=b' ' | 0x7f));
    valid.then_some(name.len())
}

fn is_blank(line: &[u8]) -> bool {
    line.iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a line is longer than RFC 5322 §2.1.1 allows. Relays break or cut such lines, each at its own
/// place, and so change what the header says after the verdict.
fn has_long_line(field: &[u8]) -> bool {
    if field.len() <= MAX_LINE {
        return false;
    }
    field.split(|&byte| byte == b'\n').any(|line| {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        text.len() > MAX_LINE
    })
}

fn has_bare_cr(header: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', header).any(|at| header.get(at + 1) != Some(&b'\n'))
}

/// Octets of a line without its line end (RFC 5322 §2.1.1).
const MAX_LINE: usize = 998;

/// Octets of a field that every relay passes on whole: Postfix cuts a header field off at 102,400.
const MAX_FIELD: usize = 64 * 1024;

/// Octets of a `Content-*` field. Some relays cut these at much less than other fields, and what
/// matters may stand last in it.
const MAX_CONTENT_FIELD: usize = 4096;

/// So many doubtful fields are kept; more of them make the whole header odd.
const MAX_DOUBTFUL: usize = 100;
