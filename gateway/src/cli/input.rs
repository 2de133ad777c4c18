//! Reading what `verify` and `explain` are given: a mail or a bare CMS file, brought to the form in
//! which the engine meets it on the wire. Never reads more than the limit and one byte.
//!
//! Lone LF is taken as CRLF, as an SMTP client would have sent it
//! (<https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8>); the octets of a body that says it is
//! `binary` are not line ends.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::pem::CMS_LABELS;
use memchr::memchr_iter;

use crate::exit::{Exit, Failure};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `message/rfc822`.
    Mail,
    /// A CMS `ContentInfo`: DER, BER, PEM or base64.
    Cms,
}

/// Reads a file, or standard input for `-`, up to `limit` bytes and one more: so the engine sees
/// that it is too long without anybody holding all of it.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
    } else {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let what = "is a directory; name the files in it";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        let expected = metadata.len().min(limit).saturating_add(1);
        bytes.reserve(usize::try_from(expected).unwrap_or(0));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What a CMS file in base64 without PEM lines holds: people save the body of an
/// `application/pkcs7-mime` part so. Nothing for every other file: a mail has a colon in its first
/// line, which base64 has not.
pub(super) fn base64_cms(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first: Vec<u8> = without_spaces(text).take(SNIFFED).collect();
    let whole = first.len() / 4 * 4;
    let begin = STANDARD.decode(first.get(..whole)?).ok()?;
    if !is_content_info(&begin) {
        return None;
    }
    let all: Vec<u8> = without_spaces(text).collect();
    STANDARD.decode(all).ok()
}

fn without_spaces(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().copied().filter(|b| !b.is_ascii_whitespace())
}

/// Base64 characters that hold the longest beginning by which a `ContentInfo` is known.
const SNIFFED: usize = 48;

/// Standard input can be read once: a second `-` would be an empty file.
pub(super) fn standard_input_once<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    if paths.into_iter().filter(|p| p.as_os_str() == "-").count() > 1 {
        let what = "standard input (-) can be named only once; put the others into files";
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(())
}

/// Mail, unless the beginning can only be that of CMS.
pub(super) fn kind(bytes: &[u8]) -> Kind {
    if is_pem_cms(bytes) || is_content_info(bytes) {
        Kind::Cms
    } else {
        Kind::Mail
    }
}

/// Whether a PEM block of CMS begins before anything that could be a header field. Text may stand
/// before it (RFC 7468 section 2).
fn is_pem_cms(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let field = |line: &[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let bare = name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        name.len() < line.len() && bare
    };
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .take(EXPLANATION)
        .take_while(|line| !field(line))
        .any(|line| {
            CMS_LABELS.iter().any(|label| {
                line.strip_prefix(b"-----BEGIN ")
                    .and_then(|rest| rest.strip_suffix(b"-----"))
                    == Some(label.as_bytes())
            })
        })
}

/// Lines of text before a block: the names of some certificates, no book.
const EXPLANATION: usize = 1000;

/// A SEQUENCE, any form of length, whose first member is an OBJECT IDENTIFIER of PKCS #7 or
/// PKCS #9 S/MIME.
fn is_content_info(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else {
        return false;
    };
    let skip = match length {
        0..=0x80 => 0,
        n => usize::from(n & 0x7f),
    };
    let Some(inner) = rest.get(skip..) else {
        return false;
    };
    inner.starts_with(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07")
        || inner.starts_with(b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01")
}

/// The mail with CRLF line ends; without a copy where it has them.
pub(super) fn wire_form(mail: &[u8]) -> Cow<'_, [u8]> {
    let header = header_length(mail);
    let (head, body) = mail.split_at(header);
    let keep_body = is_binary(head) && !(is_multipart(head) && has_lone_lf(head));
    let converted = if keep_body { head } else { mail };
    if !has_lone_lf(converted) {
        return Cow::Borrowed(mail);
    }
    let mut out = with_crlf(converted);
    if keep_body {
        out.extend_from_slice(body);
    }
    Cow::Owned(out)
}

/// What came out of an encryption, in the form in which mail travels. Where its header has CRLF line ends already, as
/// RFC 8551 §3.1.1 asks for, a lone LF below it is an octet of something binary, which needs no transfer encoding there.
pub(super) fn content_form(entity: &[u8]) -> Cow<'_, [u8]> {
    let (head, _) = entity.split_at(header_length(entity));
    match has_lone_lf(head) {
        true => wire_form(entity),
        false => Cow::Borrowed(entity),
    }
}

fn has_lone_lf(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|at| !has_cr_before(bytes, at))
}

fn has_cr_before(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'\r')
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(bytes.len() / 32));
    let mut done = 0;
    for at in memchr_iter(b'\n', bytes) {
        if !has_cr_before(bytes, at) {
            out.extend_from_slice(bytes.get(done..at).unwrap_or_default());
            out.push(b'\r');
            done = at;
        }
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
    out
}

/// Length of the header block with the empty line after it.
fn header_length(mail: &[u8]) -> usize {
    let mut start = 0;
    for at in memchr_iter(b'\n', mail) {
        let line = mail.get(start..at).unwrap_or_default();
        start = at.saturating_add(1);
        if matches!(line, b"" | b"\r") {
            return start;
        }
    }
    mail.len()
}

fn is_binary(head: &[u8]) -> bool {
    field(head, b"content-transfer-encoding")
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"binary"))
}

fn is_multipart(head: &[u8]) -> bool {
    field(head, b"content-type").is_some_and(|value| {
        value
            .trim_ascii_start()
            .get(..10)
            .is_some_and(|t| t.eq_ignore_ascii_case(b"multipart/"))
    })
}

/// The first line of the first field of that name; enough for a one-word value.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let (key, value) = line.split_at(at);
        key.trim_ascii_end()
            .eq_ignore_ascii_case(name)
            .then(|| value.get(1..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lone_lf_becomes_crlf_and_nothing_else_changes() {
        assert_eq!(
            &*wire_form(b"A: b\n\nx\r\ny\rz\n"),
            b"A: b\r\n\r\nx\r\ny\rz\r\n"
        );
        assert!(matches!(wire_form(b"A: b\r\n\r\nx\r\n"), Cow::Borrowed(_)));
        assert!(matches!(wire_form(b""), Cow::Borrowed(_)));
    }

    #[test]
    fn octets_of_a_binary_body_stay() {
        let mail = b"Content-Transfer-Encoding: binary\n\n0\n\x00\n";
        assert_eq!(
            &*wire_form(mail),
            b"Content-Transfer-Encoding: binary\r\n\r\n0\n\x00\n".as_slice()
        );
    }

    #[test]
    fn octets_of_a_content_that_was_written_for_mail_stay() {
        let picture = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Transfer-Encoding: binary\r\n\r\n0\n\x00\r\n--b--\r\n";
        assert!(matches!(content_form(picture), Cow::Borrowed(_)));
        assert_eq!(&*content_form(b"A: b\n\nx\n"), b"A: b\r\n\r\nx\r\n");
    }

    #[test]
    fn cms_is_known_by_its_first_bytes() {
        assert_eq!(
            kind(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0"),
            Kind::Cms
        );
        assert_eq!(
            kind(b"\x30\x82\x01\x02\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"),
            Kind::Cms
        );
        assert_eq!(kind(b"\n-----BEGIN CMS-----\nMII"), Kind::Cms);
        assert_eq!(kind(b"-----BEGIN SIGNED MESSAGE-----\nMII"), Kind::Cms);
        assert_eq!(kind(b"-----BEGIN ENCRYPTED MESSAGE-----\nMII"), Kind::Cms);
        assert_eq!(kind(b"\xef\xbb\xbf-----BEGIN PKCS7-----\r\nMII"), Kind::Cms);
        assert_eq!(
            kind(b"subject=CN = a:b\nissuer=/CN=c\n\n-----BEGIN CMS-----\nMII"),
            Kind::Cms
        );
        assert_eq!(
            kind(b"From: a@b.example\n\n-----BEGIN CMS-----\nMII"),
            Kind::Mail
        );
        assert_eq!(kind(b"0: x\r\n"), Kind::Mail);
        assert_eq!(kind(b"\x30"), Kind::Mail);
        assert_eq!(kind(b"\x30\xff"), Kind::Mail);
        assert_eq!(kind(b""), Kind::Mail);
    }

    #[test]
    fn cms_in_base64_is_known_by_what_it_holds() {
        let cms = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x00";
        let text = STANDARD.encode(cms);
        let (a, b) = text.split_at(9);
        for form in [
            text.clone(),
            format!("{text}\n"),
            format!("\r\n\n {a}\r\n{b}\r\n"),
            format!("\u{feff}{text}"),
        ] {
            assert_eq!(
                base64_cms(form.as_bytes()).as_deref(),
                Some(&cms[..]),
                "{form:?}"
            );
        }
        for other in [
            String::new(),
            "TUlJ".to_owned(),
            format!("Subject: {text}"),
            format!("{text}!"),
            format!("From: a@example.jp\n\n{text}"),
        ] {
            assert_eq!(base64_cms(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn standard_input_is_named_once() {
        let paths = ["a", "-", "./-", "b"].map(PathBuf::from);
        assert!(standard_input_once(&paths).is_ok());
        let content = Some(PathBuf::from("-"));
        let failure = standard_input_once(paths.iter().chain(&content)).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_folder_is_no_input() {
        assert!(read(Path::new("/"), 10).is_err());
    }

    proptest! {
        #[test]
        fn wire_form_is_idempotent(mail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = wire_form(&mail).into_owned();
            prop_assert_eq!(&*wire_form(&once), &once[..]);
        }

        #[test]
        fn text_has_no_lone_lf_afterwards(mail in "[a-c\r\n]{0,60}") {
            prop_assert!(!has_lone_lf(&wire_form(mail.as_bytes())));
        }
    }
}
