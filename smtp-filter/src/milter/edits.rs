//! From edits of a mail's bytes to changes of its header fields, which is how an MTA takes them.
//!
//! The bytes of a mail are put together from the fields that the MTA told, so every edit that takes
//! out whole fields has a field to take out; anything else is a filter's mistake.

use std::{collections::HashMap, ops::Range};

use crate::Edit;

/// A header field that the MTA told.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Its bytes in the mail, with its last CRLF.
    pub(super) range: Range<usize>,
    /// Its name as told, without white space behind it.
    pub(super) name: Vec<u8>,
}

/// A change of the header, in the order in which the MTA has to make them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The n-th (from 1) of the fields of this name goes.
    Delete { name: Vec<u8>, index: u32 },
    /// A new first field. Its lines end in LF, as libmilter wants them.
    Insert { name: Vec<u8>, value: Vec<u8> },
}

/// The changes for these edits; `None` where an edit is no change of whole fields.
///
/// Fields go from the last to the first, so that no number changes before it is used; new ones
/// come last, the lowest first, each above everything.
pub(super) fn changes(fields: &[Field], edits: &[Edit]) -> Option<Vec<Change>> {
    let mut removed: Vec<Range<usize>> = Vec::new();
    let mut added = Vec::new();
    for edit in edits {
        match edit {
            Edit::Remove(range) if range.is_empty() => {}
            Edit::Remove(range) => removed.push(range.clone()),
            Edit::Prepend(bytes) => added.extend(split(bytes)?),
        }
    }
    let mut out = deletions(fields, merged(removed))?;
    out.reverse();
    out.extend(added.into_iter().rev());
    Some(out)
}

/// From the first to the last.
fn deletions(fields: &[Field], removed: Vec<Range<usize>>) -> Option<Vec<Change>> {
    let mut out = Vec::new();
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut removed = removed.into_iter().peekable();
    for field in fields {
        let name = field.name.to_ascii_lowercase();
        let index = seen.entry(name).or_insert(0);
        *index = index.saturating_add(1);
        let Some(range) = removed.peek_mut() else {
            break;
        };
        if field.range.start < range.start {
            // A range that begins inside a field.
            if field.range.end > range.start {
                return None;
            }
            continue;
        }
        if field.range.start != range.start || field.range.end > range.end {
            return None;
        }
        out.push(Change::Delete {
            name: field.name.clone(),
            index: *index,
        });
        range.start = field.range.end;
        if range.start == range.end {
            removed.next();
        }
    }
    removed.peek().is_none().then_some(out)
}

/// Sorted, without overlaps.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// The fields of a block of whole lines.
fn split(block: &[u8]) -> Option<Vec<Change>> {
    let mut out: Vec<Change> = Vec::new();
    let mut rest = block;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let (line, after) = (rest.get(..end)?, rest.get(end.saturating_add(2)..)?);
        rest = after;
        if line
            .first()
            .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        {
            let Some(Change::Insert { value, .. }) = out.last_mut() else {
                return None;
            };
            value.push(b'\n');
            value.extend_from_slice(line);
            continue;
        }
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        out.push(Change::Insert {
            name: name.to_vec(),
            value: value.get(1..).unwrap_or_default().to_vec(),
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of a header, as the MTA told them.
    fn fields(header: &str) -> Vec<Field> {
        let mut at = 0;
        let mut out = Vec::new();
        for line in header.split_inclusive("\r\n") {
            let name = line.split(':').next().unwrap().trim_end();
            out.push(Field {
                range: at..at + line.len(),
                name: name.as_bytes().to_vec(),
            });
            at += line.len();
        }
        out
    }

    fn delete(name: &str, index: u32) -> Change {
        Change::Delete {
            name: name.into(),
            index,
        }
    }

    #[test]
    fn fields_go_from_the_last_to_the_first_and_new_ones_stand_in_their_order() {
        let header = "A: 1\r\nX: 2\r\nx: 3\r\nB: 4\r\nX : 5\r\n";
        let edits = [
            Edit::Remove(6..18),
            Edit::Prepend(b"One: 1\r\n a\r\nTwo: 2\r\n".to_vec()),
            Edit::Remove(24..31),
            Edit::Prepend(b"Three:3\r\n".to_vec()),
        ];
        let insert = |name: &str, value: &str| Change::Insert {
            name: name.into(),
            value: value.into(),
        };
        assert_eq!(
            changes(&fields(header), &edits).unwrap(),
            [
                delete("X", 3),
                delete("x", 2),
                delete("X", 1),
                insert("Three", "3"),
                insert("Two", " 2"),
                insert("One", " 1\n a"),
            ]
        );
    }

    #[test]
    fn what_is_no_whole_field_is_a_mistake() {
        let header = "A: 1\r\nX: 2\r\n";
        for wrong in [0..3, 3..6, 4..12, 6..13, 11..12, 12..14] {
            let edits = [Edit::Remove(wrong.clone())];
            assert_eq!(changes(&fields(header), &edits), None, "{wrong:?}");
        }
        for wrong in ["x\r\n", " a: b\r\n", "a: b", "a: b\r\n\r\n"] {
            let edits = [Edit::Prepend(wrong.into())];
            assert_eq!(changes(&[], &edits), None, "{wrong:?}");
        }
        let both = [Edit::Remove(0..6), Edit::Remove(0..12), Edit::Remove(3..3)];
        let gone = [delete("X", 1), delete("A", 1)];
        assert_eq!(changes(&fields(header), &both).unwrap(), gone);
    }
}
