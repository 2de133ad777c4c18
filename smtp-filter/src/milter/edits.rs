//! From edits of a mail's bytes to changes of its header fields, which is how an MTA takes them.
//!
//! The bytes of a mail are put together from the fields that the MTA told, so every edit that takes
//! out whole fields has a field to take out; anything else is a filter's mistake.

use std::{collections::HashMap, ops::Range};

use crate::{
    Edit, MailBytes,
    outgoing::{Outgoing, is_new_body},
};

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
    /// The n-th of the fields of this name gets another value.
    Replace {
        name: Vec<u8>,
        index: u32,
        value: Vec<u8>,
    },
    /// A new first field. Its lines end in LF, as libmilter wants them.
    Insert { name: Vec<u8>, value: Vec<u8> },
}

/// What an MTA is told to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) header: Vec<Change>,
    /// The new body, if it is another.
    pub(super) body: Option<MailBytes>,
    /// The new reverse path, if it is another.
    pub(super) sender: Option<String>,
}

/// The changes for these edits of `raw`; `None` where an edit is no change of fields or of the body.
///
/// Fields go from the last to the first, so that no number changes before it is used; new ones
/// come last, the lowest first, each above everything.
pub(super) fn changes(raw: &[u8], fields: &[Field], edits: &[Edit]) -> Option<Changes> {
    let mut removed: Vec<Range<usize>> = Vec::new();
    let mut inserted: Vec<(usize, &[u8])> = Vec::new();
    let mut added = Vec::new();
    let mut body = None;
    let mut sender = None;
    for edit in edits {
        match edit {
            Edit::ReturnPath(path) => {
                let plain = |c: u8| c.is_ascii_graphic() && !b"<>".contains(&c);
                if sender.is_some() || !path.bytes().all(plain) {
                    return None;
                }
                sender = Some(path.clone());
            }
            Edit::Remove(range) if range.is_empty() => {}
            Edit::Remove(range) => removed.push(range.clone()),
            Edit::Insert(at, bytes) => inserted.push((*at, bytes)),
            Edit::Prepend(bytes) => added.extend(split(bytes)?),
            Edit::Body(at, bytes) => {
                let header = fields.last().map_or(0, |field| field.range.end);
                if body.is_some() || *at != header + 2 || !is_new_body(raw, *at, bytes) {
                    return None;
                }
                body = Some(bytes.clone());
            }
        }
    }
    inserted.sort_by_key(|(at, _)| *at);
    let mut out = changed(raw, fields, merged(removed), &inserted)?;
    out.reverse();
    out.extend(added.into_iter().rev());
    Some(Changes {
        header: out,
        body,
        sender,
    })
}

/// From the first to the last.
fn changed(
    raw: &[u8],
    fields: &[Field],
    removed: Vec<Range<usize>>,
    inserted: &[(usize, &[u8])],
) -> Option<Vec<Change>> {
    let mut out = Vec::new();
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    // What was removed and inserted in no field is a mistake.
    let (mut removed_here, mut inserted_here) = (0, 0);
    for field in fields {
        let index = seen.entry(field.name.to_ascii_lowercase()).or_insert(0);
        *index = index.saturating_add(1);
        let first = removed.partition_point(|range| range.end <= field.range.start);
        let gone: Vec<Range<usize>> = removed
            .iter()
            .skip(first)
            .take_while(|range| range.start < field.range.end)
            .map(|range| range.start.max(field.range.start)..range.end.min(field.range.end))
            .collect();
        removed_here += gone.iter().map(Range::len).sum::<usize>();
        let new: Vec<(usize, &[u8])> = inserted
            .iter()
            .skip(inserted.partition_point(|(at, _)| *at < field.range.start))
            .take_while(|(at, _)| *at < field.range.end)
            .copied()
            .collect();
        inserted_here += new.len();
        let (name, index) = (field.name.clone(), *index);
        if gone.as_slice() == [field.range.clone()] {
            out.push(Change::Delete { name, index });
        } else if !gone.is_empty() || !new.is_empty() {
            let value = value(raw, &field.range, gone, &new)?;
            out.push(Change::Replace { name, index, value });
        }
    }
    let all = removed.iter().map(Range::len).sum::<usize>();
    (removed_here == all && inserted_here == inserted.len()).then_some(out)
}

/// The new value of a field, its lines ended by LF; `None` where its name or its end would change, or
/// one of its lines.
fn value(
    raw: &[u8],
    field: &Range<usize>,
    gone: Vec<Range<usize>>,
    new: &[(usize, &[u8])],
) -> Option<Vec<u8>> {
    let whole = raw.get(field.clone())?;
    let colon = memchr::memchr(b':', whole)?;
    let (start, end) = (field.start + colon + 1, field.end.checked_sub(2)?);
    let inside = |range: &Range<usize>| range.start >= start && range.end <= end;
    let places = new.iter().all(|(at, _)| (start..=end).contains(at));
    if !gone.iter().all(inside) || !places {
        return None;
    }
    let edits: Vec<Edit> = gone
        .into_iter()
        .map(Edit::Remove)
        .chain(
            new.iter()
                .map(|(at, bytes)| Edit::Insert(*at, bytes.to_vec())),
        )
        .map(|edit| edit.moved(field.start))
        .collect();
    let edited = Outgoing::new(MailBytes::from(whole.to_vec()), b"", &edits)?;
    let mut text: Vec<u8> = edited.pieces().flatten().copied().collect();
    text.drain(..=colon);
    text.truncate(text.len().checked_sub(2)?);
    text.retain(|byte| *byte != b'\r');
    Some(text)
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

    fn header_changes(raw: &[u8], fields: &[Field], edits: &[Edit]) -> Option<Vec<Change>> {
        changes(raw, fields, edits).map(|changes| changes.header)
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
            header_changes(header.as_bytes(), &fields(header), &edits).unwrap(),
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
    fn a_value_is_changed_in_its_place() {
        let header = "Subject: a\r\nX: y\r\nsubject: b c\r\n";
        let edits = [
            Edit::Insert(27, b"[t] ".to_vec()),
            Edit::Remove(28..29),
            Edit::Remove(12..18),
        ];
        let replaced = Change::Replace {
            name: b"subject".to_vec(),
            index: 2,
            value: b" [t] bc".to_vec(),
        };
        assert_eq!(
            header_changes(header.as_bytes(), &fields(header), &edits).unwrap(),
            [replaced, delete("X", 1)]
        );
    }

    #[test]
    fn what_is_no_change_of_fields_is_a_mistake() {
        let header = "A: 1\r\nX: 2\r\n";
        for wrong in [0..3, 3..6, 4..12, 6..13, 11..12, 12..14] {
            let edits = [Edit::Remove(wrong.clone())];
            assert_eq!(
                changes(header.as_bytes(), &fields(header), &edits),
                None,
                "{wrong:?}"
            );
        }
        for wrong in [0, 1, 5, 6, 12, 13] {
            let edits = [Edit::Insert(wrong, b"x".to_vec())];
            let changes = changes(header.as_bytes(), &fields(header), &edits);
            assert_eq!(changes, None, "{wrong}");
        }
        for wrong in ["x\r\n", " a: b\r\n", "a: b", "a: b\r\n\r\n"] {
            let edits = [Edit::Prepend(wrong.into())];
            assert_eq!(changes(b"", &[], &edits), None, "{wrong:?}");
        }
        let both = [Edit::Remove(0..6), Edit::Remove(0..12), Edit::Remove(3..3)];
        let gone = [delete("X", 1), delete("A", 1)];
        assert_eq!(
            header_changes(header.as_bytes(), &fields(header), &both).unwrap(),
            gone
        );
    }

    #[test]
    fn a_new_body_begins_where_the_header_ends() {
        let header = "A: 1\r\nX: 2\r\n";
        let mail = format!("{header}\r\nold\r\n\r\nbody\r\n");
        let body = |at: usize| Edit::Body(at, MailBytes::from(b"new\r\n".to_vec()));
        let whole = changes(
            mail.as_bytes(),
            &fields(header),
            &[body(14), Edit::Remove(0..6)],
        );
        let wanted = Changes {
            header: vec![delete("A", 1)],
            body: Some(b"new\r\n".to_vec().into()),
            sender: None,
        };
        assert_eq!(whole, Some(wanted));
        // Not where only another reader would see an end of the header.
        for at in [0, 12, 16, 21] {
            let changes = changes(mail.as_bytes(), &fields(header), &[body(at)]);
            assert_eq!(changes, None, "{at}");
        }
        let twice = [body(14), body(14)];
        assert_eq!(changes(mail.as_bytes(), &fields(header), &twice), None);
        assert!(changes(b"\r\nold\r\n", &[], &[body(2)]).is_some());
    }
}
