//! Header protection (RFC 9788): which fields of a message go along inside its protection, and what is left of them
//! outside.
//!
//! Only what is known to be safe is moved: fields that people read and that programs answer by. What the way of a mail
//! adds (traces, results, signatures of hosts) is never taken in, and never taken out again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::canonical;
use crate::facts::FieldSpan;
use crate::layer;
use crate::limits::Limits;
use crate::mime::{ContentType, Header, TransferEncoding, slice};
use crate::open::protected_fields;
use crate::release::{describes, end_of_fields};
use crate::sign::boundary_for;

/// A message in two halves: the one that stays outside, and the one that is signed or encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halves {
    /// Header fields of the message, without the empty line: what the protected entity makes goes behind them.
    pub outer: Vec<u8>,
    /// The MIME entity that is to be protected.
    pub entity: Vec<u8>,
}

/// What protects the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderProtection {
    /// A signature alone: `hp="clear"`, and the outer fields stay.
    Clear,
    /// Encryption too: `hp="cipher"`, and hcp_baseline (RFC 9788 §3.2.1) hides the outer Subject, Comments and
    /// Keywords.
    Cipher,
}

/// The halves as they are: no field of the message goes inside, only those that describe the content. These do not say
/// that any did. Lines of the header that are no field, which may be text to somebody, are a part of the content where
/// nobody has protected that.
#[must_use]
pub fn split(message: &[u8]) -> Halves {
    split_as(message, &mut |field| {
        Some(slice(message, field.whole.clone()))
    })
}

/// The same for a message that is to be encrypted. Where it is signed, and what is signed says that encryption hid its
/// header, the outer Subject, Comments and Keywords are hidden again: they came out when it was opened, and stay inside.
/// Of one that came encrypted and was opened no more is shown outside than was then.
#[must_use]
pub fn split_hiding(message: &[u8], limits: &Limits, came: Option<Came<'_>>) -> Halves {
    let (header, _) = read(message);
    let content_type = header
        .content_type
        .map(|value| ContentType::parse(slice(message, value)))
        .unwrap_or_default();
    let inside = match is_protected(&content_type.essence) {
        true => protected_fields(message, limits).0,
        false => Vec::new(),
    };
    // However many fields there are, they have few names.
    let inside: BTreeSet<&str> = inside.iter().map(|(name, _)| *name).collect();
    let mut left = Left::of(came);
    split_as(message, &mut |field| {
        let whole = slice(message, field.whole.clone());
        match protected_name(message, field) {
            Some(name) if inside.contains(name) => left.of_inside(name, whole),
            Some(name) => left.of_outside(name, whole),
            None => Some(whole),
        }
    })
}

/// Whether a message, which nobody has signed, says of its content that encryption hid its header: it came out when that
/// was opened. So it did of a message in a wrapper (RFC 8551 §3.1).
#[must_use]
pub fn was_hidden(message: &[u8]) -> bool {
    let (header, _) = read(message);
    let content_type = header
        .content_type
        .map(|value| ContentType::parse(slice(message, value)))
        .unwrap_or_default();
    let essence = content_type.essence.as_str();
    let is_wrapper =
        matches!(essence, "message/rfc822" | "message/global") && content_type.wraps_message();
    !is_protected(essence)
        && (is_wrapper
            || content_type.says("hp", b"cipher")
            || content_type.says("protected-headers", b"v1"))
}

/// The halves with this in place of each field outside.
fn split_as<'m>(
    message: &'m [u8],
    outside: &mut dyn FnMut(&FieldSpan) -> Option<&'m [u8]>,
) -> Halves {
    let (header, all) = read(message);
    let mut halves = Halves {
        outer: Vec::new(),
        entity: Vec::new(),
    };
    let about_content = |field: &&FieldSpan| describes_content(message, field);
    for field in all.iter().filter(|field| !about_content(field)) {
        if !field.is(message, "mime-version")
            && let Some(field) = outside(field)
        {
            push(&mut halves.outer, &plain(field, Fold::AtSpaces));
        }
    }
    let content_type = header.content_type.clone();
    let content_type = content_type.map(|value| ContentType::parse(slice(message, value)));
    let content_type = content_type.unwrap_or_default();
    // Around what is protected there is nothing that anybody reads.
    let is_kept = is_protected(&content_type.essence);
    if !is_kept && !lines_of_no_field(message, &header, &all).is_empty() {
        halves.enclose(message, &header, &all, None);
        return halves;
    }
    let is_plain = !is_kept && !header.content_type_odd && !content_type.odd;
    for field in all.iter().filter(about_content) {
        let whole = slice(message, field.whole.clone());
        // What it says of a header was true of another protection.
        match is_plain && field.is(message, "content-type") {
            true => push(&mut halves.entity, &without_hp(whole)),
            false => push(&mut halves.entity, whole),
        }
    }
    halves.close(message, &header);
    halves
}

/// What encryption leaves of a field outside: hcp_baseline (RFC 9788 §3.2.1).
fn left_outside<'m>(name: &str, whole: &'m [u8]) -> Option<&'m [u8]> {
    match name {
        "comments" | "keywords" => None,
        "subject" => Some(b"Subject: [...]\r\n"),
        _ => Some(whole),
    }
}

/// How a message looked that came encrypted, and was opened.
#[derive(Clone, Copy, Debug)]
pub struct Came<'m> {
    /// Its header.
    pub header: &'m [u8],
    /// Whether what was opened has been put into a message of somebody else's, which took fields from it.
    pub wrapped: bool,
}

/// What encryption leaves outside of the fields of a message, one after the other.
struct Left<'m> {
    /// How it looked when it came encrypted.
    came: Option<Came<'m>>,
    /// The fields of that by their names, those that have been asked for no more.
    then: BTreeMap<&'static str, VecDeque<FieldSpan>>,
}

impl<'m> Left<'m> {
    fn of(came: Option<Came<'m>>) -> Self {
        let mut then: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        if let Some(Came { header, .. }) = came {
            for field in read(header).1 {
                if let Some(name) = protected_name(header, &field) {
                    then.entry(name).or_default().push_back(field);
                }
            }
        }
        Self { came, then }
    }

    /// What is left of a field that stands inside too.
    fn of_inside(&mut self, name: &'static str, whole: &'m [u8]) -> Option<&'m [u8]> {
        left_outside(name, self.then(name, whole)?)
    }

    /// What is left of a field that stands nowhere else.
    fn of_outside(&mut self, name: &'static str, whole: &'m [u8]) -> Option<&'m [u8]> {
        let wrapped = self.came.is_some_and(|came| came.wrapped);
        match wrapped && NOT_IDENTIFYING.contains(&name) {
            true => self.then(name, whole),
            false => Some(whole),
        }
    }

    /// The field as it stood outside when the message came, if it did. A message keeps its own name, by which its answer is
    /// known.
    fn then(&mut self, name: &'static str, whole: &'m [u8]) -> Option<&'m [u8]> {
        let Some(came) = self.came.filter(|_| name != "message-id") else {
            return Some(whole);
        };
        let field = self.then.get_mut(name)?.pop_front()?;
        Some(slice(came.header, field.whole))
    }
}

/// The halves with the header protected (RFC 9788 §5.2): copies of its fields inside, and beside them how they look
/// outside.
///
/// Nothing where the message is protected already, so that the fields would not stand inside of all its protection. A
/// signature alone leaves out a header, too, about which readers differ, also when its long lines are folded. Encryption
/// leaves out none: what it hides must not stand outside because something else in the header is odd. What such a header
/// says of the content is that of a part then, in a multipart/mixed whose own header is plain.
#[must_use]
pub fn protect_header(message: &[u8], protection: HeaderProtection) -> Option<Halves> {
    protect(message, protection, None)
}

/// The same by encryption for a message that came encrypted and was opened: outside stands no more of it than did then. What
/// its sender hid beyond what we do (RFC 9788 §3.2.2) is hidden still.
#[must_use]
pub fn protect_header_again(message: &[u8], came: Came<'_>) -> Option<Halves> {
    protect(message, HeaderProtection::Cipher, Some(came))
}

fn protect(message: &[u8], protection: HeaderProtection, came: Option<Came<'_>>) -> Option<Halves> {
    let (header, all) = read(message);
    let content_type = header
        .content_type
        .clone()
        .map(|value| ContentType::parse(slice(message, value)))
        .unwrap_or_default();
    if is_protected(&content_type.essence) {
        return None;
    }
    let is_about_content = |field: &FieldSpan| describes_content(message, field);
    // A signature without what it is over, which is a file that somebody sends. Who opens it looks for an object there, and
    // for the header in that.
    let is_file = layer::is_pkcs7(&content_type.essence);
    let is_odd = is_file
        || header.odd
        || header.content_type_odd
        || content_type.odd
        || header.doubtful.iter().any(is_about_content);
    let is_plain = |field: &FieldSpan| {
        let (header, _) = read(&plain(slice(message, field.whole.clone()), Fold::AtSpaces));
        !header.odd && header.doubtful.is_empty()
    };
    if protection == HeaderProtection::Clear && (is_odd || !header.doubtful.iter().all(is_plain)) {
        return None;
    }
    let mut halves = Halves {
        outer: Vec::new(),
        entity: Vec::new(),
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut left = Left::of(came);
    let mut outside = Vec::new();
    for field in &all {
        let whole = slice(message, field.whole.clone());
        if is_about_content(field) || field.is(message, "mime-version") {
            continue;
        }
        let outer = plain(whole, Fold::AtSpaces);
        let Some(name) = protected_name(message, field) else {
            push(&mut halves.outer, &outer);
            continue;
        };
        if protection == HeaderProtection::Clear {
            if seen.contains(&name) && !REPEATABLE.contains(&name) {
                return None;
            }
            seen.push(name);
            push(&mut halves.entity, &outer);
            push(&mut halves.outer, &outer);
            continue;
        }
        push(&mut halves.entity, &plain(whole, Fold::Anywhere));
        if let Some(left) = left.of_inside(name, whole) {
            let left = plain(left, Fold::AtSpaces);
            push(&mut halves.outer, &left);
            push(&mut outside, &hp_outer(&left));
        }
    }
    halves.entity.extend_from_slice(&outside);
    if is_odd {
        halves.enclose(message, &header, &all, Some(protection));
        return Some(halves);
    }
    for field in all.iter().filter(|field| is_about_content(field)) {
        let whole = slice(message, field.whole.clone());
        if field.is(message, "content-type") {
            push(&mut halves.entity, &with_hp(whole, protection));
        } else {
            push(&mut halves.entity, whole);
        }
    }
    if header.content_type.is_none() {
        // A text that is something else must not be called so: readers guess what nothing is said of, as that in
        // ISO-2022-JP without MIME (RFC 1468).
        let plain: &[u8] = match is_ascii_text(message, &header) {
            true => b"Content-Type: text/plain; charset=us-ascii",
            false => b"Content-Type: text/plain",
        };
        push(&mut halves.entity, &with_hp(plain, protection));
    }
    halves.close(message, &header);
    Some(halves)
}

/// Whether a body is ASCII as it stands, without controls that switch to another set of characters.
fn is_ascii_text(message: &[u8], header: &Header) -> bool {
    let transfer = header.transfer.clone();
    let transfer = transfer.map_or(TransferEncoding::Identity, |value| {
        TransferEncoding::parse(slice(message, value))
    });
    let is_text =
        |octet: &u8| octet.is_ascii() && (!octet.is_ascii_control() || b"\t\r\n".contains(octet));
    let body = slice(message, header.body..message.len());
    transfer == TransferEncoding::Identity && body.iter().all(is_text)
}

/// Where a line may be broken that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Before white space only, which changes nothing of what the field says (RFC 5322 §2.2.3).
    AtSpaces,
    /// In a word, too, where there is no other way.
    Anywhere,
}

/// A field in which all readers see the same, and relays as well: without white space before its colon, and without lines of
/// nothing but that (RFC 5322 §4.2, §4.5), at which some end a header; with a space where a CR stands alone, and folded
/// where a line is longer than one may be (§2.1.1).
pub(crate) fn plain(field: &[u8], fold: Fold) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).unwrap_or_default();
    let (name, value) = field.split_at(colon);
    let mut out = name.trim_ascii_end().to_vec();
    for (at, line) in value.split_inclusive(|octet| *octet == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // The first has the name.
        if at > 0 && line.trim_ascii().is_empty() {
            continue;
        }
        let before = if at == 0 { out.len() } else { 0 };
        push_folded(&mut out, line, MAX_LINE.saturating_sub(before), fold);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Adds a line without its end; more of them where it has more octets than `room`.
fn push_folded(out: &mut Vec<u8>, line: &[u8], room: usize, fold: Fold) {
    // Looked at once: somebody may have written megabytes of white space.
    let end = line.trim_ascii_end().len();
    // A name may have taken all room.
    let (mut rest, mut room) = (line, room.max(1));
    loop {
        let (first, others) = match rest.get(..room) {
            Some(most) if rest.len() > room => rest.split_at(end_of_line(rest, most, fold)),
            _ => (rest, &[][..]),
        };
        if !others.is_empty() && first.trim_ascii().is_empty() {
            // A line of white space alone. One of it is as good.
            let blank = rest.len() - rest.trim_ascii_start().len();
            rest = slice(rest, blank.saturating_sub(1)..rest.len());
            continue;
        }
        out.extend(first.iter().map(|octet| match octet {
            b'\r' => b' ',
            other => *other,
        }));
        // What is left is white space, or nothing.
        if line.len() - others.len() >= end {
            return;
        }
        out.extend_from_slice(b"\r\n");
        (rest, room) = (others, MAX_LINE);
        if !others.starts_with(b" ") && !others.starts_with(b"\t") {
            out.push(b' ');
            room -= 1;
        }
    }
}

/// Where to break the line whose beginning fits: before the last white space that stands behind more than white space.
fn end_of_line(line: &[u8], most: &[u8], fold: Fold) -> usize {
    let gap = memchr::memrchr2(b' ', b'\t', most);
    if let Some(gap) = gap.filter(|at| !slice(line, 0..*at).trim_ascii().is_empty()) {
        return gap;
    }
    match fold {
        Fold::Anywhere => most.len(),
        // After the word.
        Fold::AtSpaces => {
            let others = slice(line, most.len()..line.len());
            let space = memchr::memchr2(b' ', b'\t', others);
            space.map_or(line.len(), |at| most.len() + at)
        }
    }
}

/// How a field looks outside (RFC 9788 §2.2).
fn hp_outer(field: &[u8]) -> Vec<u8> {
    plain(&[b"HP-Outer: ", field].concat(), Fold::Anywhere)
}

impl Halves {
    /// Puts the content into a part, with the fields that describe it as they came. Lines of the header that are no field,
    /// which may be text to somebody, are a part before it.
    fn enclose(
        &mut self,
        message: &[u8],
        header: &Header,
        all: &[FieldSpan],
        protection: Option<HeaderProtection>,
    ) {
        let mut parts = Vec::new();
        let lines = lines_of_no_field(message, header, all);
        if !lines.is_empty() {
            let plain = b"Content-Type: text/plain; charset=utf-8\r\n\r\n";
            parts.push([&plain[..], &lines].concat());
        }
        let mut content = Self {
            outer: Vec::new(),
            entity: Vec::new(),
        };
        for field in all.iter().filter(|field| describes_content(message, field)) {
            push(&mut content.entity, slice(message, field.whole.clone()));
        }
        content.close(message, header);
        parts.push(content.entity);
        let boundary = boundary_for(&parts.concat());
        let kind = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"");
        match protection {
            Some(protection) => push(&mut self.entity, &with_hp(kind.as_bytes(), protection)),
            None => push(&mut self.entity, kind.as_bytes()),
        }
        // RFC 2045 §6.4: what holds for a part holds for what it is in.
        let transfer = header.transfer.clone().map(|value| slice(message, value));
        let is_binary = transfer.is_some_and(|value| {
            let value = value.trim_ascii();
            value.eq_ignore_ascii_case(b"binary")
        });
        if is_binary {
            push(&mut self.entity, b"Content-Transfer-Encoding: binary");
        } else if !parts.iter().all(|part| part.is_ascii()) {
            push(&mut self.entity, b"Content-Transfer-Encoding: 8bit");
        }
        for part in &parts {
            let begin = format!("\r\n--{boundary}\r\n");
            self.entity.extend_from_slice(begin.as_bytes());
            self.entity.extend_from_slice(part);
        }
        let end = format!("\r\n--{boundary}--\r\n");
        self.entity.extend_from_slice(end.as_bytes());
    }

    fn close(&mut self, message: &[u8], header: &Header) {
        self.entity.extend_from_slice(b"\r\n");
        self.entity
            .extend_from_slice(slice(message, header.body..message.len()));
    }
}

/// What stands between the fields of a header, but for the line that an mbox begins with.
fn lines_of_no_field(message: &[u8], header: &Header, all: &[FieldSpan]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut at = header.range.start;
    for field in all {
        lines.extend_from_slice(slice(message, at..field.whole.start));
        at = field.whole.end;
    }
    lines.extend_from_slice(slice(message, at..end_of_fields(message, header)));
    let mbox = match lines.starts_with(b"From ") {
        true => memchr::memchr(b'\n', &lines).map_or(lines.len(), |end| end + 1),
        false => 0,
    };
    lines.split_off(mbox)
}

/// Which of the fields that may stand inside a field is.
pub(crate) fn protected_name(raw: &[u8], field: &FieldSpan) -> Option<&'static str> {
    PROTECTED.into_iter().find(|name| field.is(raw, name))
}

/// Whether a field is about the content of an entity (RFC 2045 §3).
pub(crate) fn describes_content(raw: &[u8], field: &FieldSpan) -> bool {
    describes(slice(raw, field.name.clone()))
}

/// A header and its fields.
pub(crate) fn read(raw: &[u8]) -> (Header, Vec<FieldSpan>) {
    let mut all = Vec::new();
    let header = Header::read(raw, 0..raw.len(), &mut |_| false, |field| all.push(field));
    (header, all)
}

/// Adds a field, in lines that end.
pub(crate) fn push(out: &mut Vec<u8>, field: &[u8]) {
    canonical::feed(field, |piece| out.extend_from_slice(piece));
    if !field.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// A Content-Type field with the parameter that says what its entity protects, in place of what it said before: that was
/// of a protection that was taken off.
fn with_hp(field: &[u8], protection: HeaderProtection) -> Vec<u8> {
    let field = without_hp(field.trim_ascii_end());
    let mut field = field.trim_ascii_end();
    while let Some(before) = field.strip_suffix(b";") {
        field = before.trim_ascii_end();
    }
    let word: &[u8] = match protection {
        HeaderProtection::Clear => b"clear",
        HeaderProtection::Cipher => b"cipher",
    };
    [field, b";\r\n\thp=\"", word, b"\"\r\n"].concat()
}

/// A Content-Type field, which has neither comments nor quoted pairs, without the parameters that say what its entity
/// protects.
fn without_hp(field: &[u8]) -> Vec<u8> {
    let (mut quoted, mut start) = (false, 0);
    let mut kept: Vec<&[u8]> = Vec::new();
    for at in 0..=field.len() {
        let octet = field.get(at);
        quoted ^= octet == Some(&b'"');
        if octet.is_none() || (octet == Some(&b';') && !quoted) {
            let piece = slice(field, start..at);
            if kept.is_empty() || !is_about_header(piece) {
                kept.push(piece);
            }
            start = at + 1;
        }
    }
    kept.join(&b';')
}

/// Whether a parameter says of its entity that it protects a header.
fn is_about_header(parameter: &[u8]) -> bool {
    let mut name = parameter.split(|octet| matches!(octet, b'=' | b'*'));
    let name = name.next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"hp") || name.eq_ignore_ascii_case(b"protected-headers")
}

/// Whether a content of this type is signed or encrypted by itself. A signature alone is not.
pub(crate) fn is_protected(essence: &str) -> bool {
    matches!(
        essence,
        "multipart/signed"
            | "multipart/encrypted"
            | "application/pkcs7-mime"
            | "application/x-pkcs7-mime"
    )
}

/// The fields that go inside.
pub(crate) const PROTECTED: [&str; 12] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "date",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "comments",
    "keywords",
];

/// Those of them that say neither who wrote a message, nor when, nor whom an answer goes to. Some programs write them twice,
/// which hurts nobody; and a message of ours around another takes them from it.
pub(crate) const NOT_IDENTIFYING: [&str; 7] = [
    "to",
    "cc",
    "subject",
    "in-reply-to",
    "references",
    "comments",
    "keywords",
];

/// Those of them of which a message may have many (RFC 5322 §3.6).
const REPEATABLE: [&str; 2] = ["comments", "keywords"];

/// Octets of a line without its end (RFC 5322 §2.1.1).
const MAX_LINE: usize = 998;

#[cfg(test)]
mod tests;
