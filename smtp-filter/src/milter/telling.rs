//! The answer to the end of a message, in packets: what is changed, whether the mail is held, and last
//! that the MTA takes it. Nothing is told of what the MTA did not agree to.

use super::{
    edits::{Change, Changes},
    frame::write,
    words::{BODY_CHUNK, action, protocol, reply},
};

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    pub(super) protocol: u32,
    pub(super) actions: u32,
}

/// Why an MTA cannot be told what is to become of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// A filter's mistake.
    #[error("an edit is no change of header fields or of the body")]
    Edit,
    /// It did not agree to it, or was not asked.
    #[error("the MTA does not let a milter replace the body")]
    Body,
    /// As [`Untold::Body`].
    #[error("the MTA does not let a milter have mail held")]
    Quarantine,
    /// As [`Untold::Body`].
    #[error("the MTA does not let a milter give mail another reverse path")]
    Sender,
}

/// Appends the whole answer, or nothing.
pub(super) fn tell(
    out: &mut Vec<u8>,
    terms: Terms,
    changes: &Changes,
    hold: Option<&str>,
) -> Result<(), Untold> {
    // Another reverse path has what may have been opened. Which of such mail needs a new body is no business of its sender,
    // who hears the answer: without both the MTA gets none of it.
    let opened_or_not = changes.sender.is_some();
    for (needed, action, untold) in [
        (opened_or_not, action::SENDER, Untold::Sender),
        (
            opened_or_not || changes.body.is_some(),
            action::BODY,
            Untold::Body,
        ),
        (hold.is_some(), action::QUARANTINE, Untold::Quarantine),
    ] {
        if needed && terms.actions & action == 0 {
            return Err(untold);
        }
    }
    // Before anything that stood inside: an MTA that loses us here may go on with what it was told so far, and must not send
    // an opened body under the sender's reverse path.
    if let Some(path) = &changes.sender {
        write(out, reply::CHANGE_SENDER, &[b"<", path.as_bytes(), b">\0"]);
    }
    for change in &changes.header {
        match change {
            Change::Delete { name, index } => {
                let index = index.to_be_bytes();
                write(out, reply::CHANGE_HEADER, &[&index, name, b"\0", b"\0"]);
            }
            Change::Replace { name, index, value } => {
                let (index, value) = (index.to_be_bytes(), told(terms, value));
                let data: [&[u8]; 5] = [&index, name, b"\0", value, b"\0"];
                write(out, reply::CHANGE_HEADER, &data);
            }
            Change::Insert { name, value } => {
                let value = told(terms, value);
                let data: [&[u8]; 5] = [&[0; 4], name, b"\0", value, b"\0"];
                write(out, reply::INSERT_HEADER, &data);
            }
        }
    }
    if let Some(body) = &changes.body {
        // An empty body is one packet too: without any, the MTA keeps the old one.
        write(
            out,
            reply::REPLACE_BODY,
            &[body.get(..BODY_CHUNK).unwrap_or(body)],
        );
        let rest = body.get(BODY_CHUNK..).unwrap_or_default();
        for chunk in rest.chunks(BODY_CHUNK) {
            write(out, reply::REPLACE_BODY, &[chunk]);
        }
    }
    if let Some(reason) = hold {
        write(out, reply::QUARANTINE, &[&printable(reason), b"\0"]);
    }
    write(out, reply::ACCEPT, &[]);
    Ok(())
}

/// A value as the MTA takes it: it puts the space there itself unless it was agreed that it does not.
fn told(terms: Terms, value: &[u8]) -> &[u8] {
    let exact = terms.protocol & protocol::HEADER_LEADING_SPACE != 0;
    match value.strip_prefix(b" ") {
        Some(bare) if !exact => bare,
        _ => value,
    }
}

/// One line for a log, and no end of a string within.
fn printable(reason: &str) -> Vec<u8> {
    let shown = |byte: u8| match byte {
        b' '..=b'~' => byte,
        _ => b'?',
    };
    reason.bytes().take(MAX_REASON).map(shown).collect()
}

const MAX_REASON: usize = 200;
