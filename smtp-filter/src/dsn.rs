//! The notification for recipients that did not get a mail that others got: where a client gets one
//! answer to a mail, it cannot hear both.
//!
//! It holds the header of the mail and nothing of its body, goes to the envelope sender from the null
//! sender, and is never sent about a mail from the null sender.
//!
//! <https://www.rfc-editor.org/rfc/rfc3464>, <https://www.rfc-editor.org/rfc/rfc6533>.

use std::{fmt::Write as _, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Envelope, Recipient, Reply, received::date, xtext};

/// Whether the sender of this mail is to hear that this recipient did not get it (RFC 3461 §4.1 and
/// §5.2.1: a failure is told unless NOTIFY leaves it out).
pub(crate) fn is_wanted(envelope: &Envelope, recipient: &Recipient) -> bool {
    let asked = recipient.notify.as_deref().is_none_or(|notify| {
        notify
            .split(',')
            .any(|when| when.eq_ignore_ascii_case("FAILURE"))
    });
    asked && !envelope.mail_from.is_empty()
}

/// The notification as a mail; its lines end in CRLF and it is ASCII but for what SMTPUTF8 brings.
pub(crate) fn notification(
    envelope: &Envelope,
    failed: &[(&Recipient, &Reply)],
    raw: &[u8],
    hostname: &str,
    now: SystemTime,
) -> Vec<u8> {
    let international = is_international(envelope, failed);
    let (status_type, address_type, header_type) = if international {
        ("global-delivery-status", "utf-8", "message/global-headers")
    } else {
        ("delivery-status", "rfc822", "text/rfc822-headers")
    };
    let (id, sender) = (&envelope.id, &envelope.mail_from);
    let boundary = format!("=_kenin-{id}");
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(args);
        text.push_str("\r\n");
    };
    line(format_args!(
        "From: Mail delivery <MAILER-DAEMON@{hostname}>"
    ));
    line(format_args!("To: <{sender}>"));
    line(format_args!("Subject: Not delivered to some recipients"));
    line(format_args!("Date: {}", date(now)));
    line(format_args!("Message-ID: <{id}.dsn@{hostname}>"));
    line(format_args!("Auto-Submitted: auto-replied"));
    line(format_args!("MIME-Version: 1.0"));
    line(format_args!(
        "Content-Type: multipart/report; report-type={status_type};"
    ));
    line(format_args!("\tboundary=\"{boundary}\""));
    line(format_args!(""));
    line(format_args!("--{boundary}"));
    line(format_args!("Content-Type: text/plain; charset=utf-8"));
    line(format_args!("Content-Transfer-Encoding: base64"));
    line(format_args!(""));
    for chunk in STANDARD.encode(said(failed)).as_bytes().chunks(76) {
        line(format_args!("{}", String::from_utf8_lossy(chunk)));
    }
    line(format_args!(""));
    line(format_args!("--{boundary}"));
    line(format_args!("Content-Type: message/{status_type}"));
    line(format_args!(""));
    if let Some(envid) = envelope.envid.as_deref().and_then(xtext::decode) {
        line(format_args!("Original-Envelope-Id: {envid}"));
    }
    line(format_args!("Reporting-MTA: dns; {hostname}"));
    for (recipient, reply) in failed {
        line(format_args!(""));
        if let Some(original) = recipient.orcpt.as_deref().and_then(original) {
            line(format_args!("Original-Recipient: {original}"));
        }
        line(format_args!(
            "Final-Recipient: {address_type}; {}",
            recipient.address
        ));
        line(format_args!("Action: failed"));
        line(format_args!("Status: {}", status(reply)));
        line(format_args!("Diagnostic-Code: smtp; {}", ascii(reply)));
    }
    line(format_args!(""));
    line(format_args!("--{boundary}"));
    line(format_args!("Content-Type: {header_type}"));
    let header = header_of(raw);
    let plain = header.is_ascii()
        && header
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() < 998);
    if plain || (international && str::from_utf8(header).is_ok()) {
        line(format_args!(""));
        line(format_args!("{}", String::from_utf8_lossy(header)));
    } else {
        line(format_args!("Content-Transfer-Encoding: quoted-printable"));
        line(format_args!(""));
        line(format_args!("{}", quoted_printable(header)));
    }
    line(format_args!("--{boundary}--"));
    text.into_bytes()
}

/// Whether the notification needs SMTPUTF8: an address in it is not ASCII.
pub(crate) fn is_international(envelope: &Envelope, failed: &[(&Recipient, &Reply)]) -> bool {
    let foreign = |(recipient, _): &(&Recipient, &Reply)| !recipient.address.is_ascii();
    !envelope.mail_from.is_ascii() || failed.iter().any(foreign)
}

/// What a person reads.
fn said(failed: &[(&Recipient, &Reply)]) -> String {
    let mut text = String::from(
        "Your message was not delivered to the recipients below. The others have it.\r\n\
         次の宛先には配信できませんでした。ほかの宛先には配信されています。\r\n",
    );
    for (recipient, reply) in failed {
        let _ = write!(text, "\r\n<{}>:\r\n    {reply}\r\n", recipient.address);
    }
    text
}

fn status(reply: &Reply) -> String {
    match reply.enhanced() {
        Some(enhanced) => enhanced.to_string(),
        None => format!("{}.0.0", reply.code() / 100),
    }
}

/// What the next hop said, which may be in any script; the text for people has it as it is.
fn ascii(reply: &Reply) -> String {
    let shown = |c: char| if c.is_ascii() { c } else { '?' };
    reply.to_string().chars().map(shown).collect()
}

/// ORCPT as a field has it: the address type, then the address, decoded.
fn original(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    let atom = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let address = xtext::decode(address)?;
    kind.chars().all(atom).then(|| format!("{kind}; {address}"))
}

/// The header with its last line end, whole fields only, as much as is worth sending back.
pub(crate) fn header_of(raw: &[u8]) -> &[u8] {
    let end = match memchr::memmem::find(raw, b"\r\n\r\n") {
        _ if raw.starts_with(b"\r\n") => 0,
        Some(end) => end + 2,
        None => raw.len(),
    };
    let header = raw.get(..end).unwrap_or_default();
    if header.len() <= HEADER {
        return header;
    }
    let cut = header.get(..HEADER).unwrap_or_default();
    let lines = memchr::memmem::rfind_iter(cut, b"\r\n").map(|at| at + 2);
    let whole = |at: &usize| !matches!(header.get(*at), Some(b' ' | b'\t'));
    lines
        .filter(whole)
        .find_map(|at| cut.get(..at))
        .unwrap_or_default()
}

fn quoted_printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + bytes.len() / 8);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, end) = match line.strip_suffix(b"\r\n") {
            Some(text) => (text, "\r\n"),
            None => (line, ""),
        };
        let mut width = 0;
        for (at, byte) in text.iter().enumerate() {
            let last = at + 1 == text.len();
            let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~')
                || (matches!(byte, b' ' | b'\t') && !last);
            let wide = if plain { 1 } else { 3 };
            if width + wide > 75 {
                out.push_str("=\r\n");
                width = 0;
            }
            if plain {
                out.push(char::from(*byte));
            } else {
                let _ = write!(out, "={byte:02X}");
            }
            width += wide;
        }
        out.push_str(end);
    }
    out
}

/// Bytes of the header that are sent back.
const HEADER: usize = 64 << 10;

#[cfg(test)]
mod tests;
