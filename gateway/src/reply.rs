//! Every SMTP reply that the gateway itself gives. (What the protocol demands is answered in
//! `kenin-smtp-filter`; what strict mode says for a reason stands beside the reason.)
//!
//! Registered texts first (RFC 5248), then our words, then the reason id and the message's id, by
//! which the log finds it again. ASCII, one line, at most 200 characters.

use kenin_policy::reason::{Reason, StrictReply};
use kenin_smtp_filter::Reply;
use kenin_sys::TempBodyError;

use crate::quarantine::QuarantineError;

/// Strict mode refuses a message.
pub(crate) fn refused(reason: Reason, reply: &StrictReply, id: &str) -> Reply {
    let tail = format!(" ({}, id {id})", reason.id());
    let room = MAX_TEXT.saturating_sub(tail.len());
    let text: String = format!("{}: {}", reply.text, reason.text())
        .chars()
        .take(room)
        .collect();
    Reply::new(reply.code, reply.enhanced, &(text + &tail))
}

/// No place among the messages being judged became free in time.
pub(crate) fn busy() -> Reply {
    Reply::new(451, "4.3.2", "System busy, try again later")
}

/// The key process is not there, or the token that has the key.
pub(crate) fn keys_gone() -> Reply {
    Reply::new(451, "4.7.5", "Cryptographic service unavailable")
}

/// Nobody whom the mail could be encrypted for.
pub(crate) fn no_certificate(address: &str) -> Reply {
    let shown = !address.is_empty()
        && address.len() <= MAX_ADDRESS
        && address.bytes().all(|byte| byte.is_ascii_graphic());
    let to = if shown { address } else { "..." };
    let text = format!("Encryption required but no valid certificate for <{to}>; message not sent");
    Reply::new(550, "5.7.1", &text)
}

/// The store does not answer, and is needed.
pub(crate) fn store_gone() -> Reply {
    let text = "Certificate store unavailable, try again later";
    Reply::new(451, "4.3.5", text)
}

/// A directory does not answer, and is needed.
pub(crate) fn directory_gone() -> Reply {
    let text = "Certificate directory unavailable, try again later";
    Reply::new(451, "4.4.3", text)
}

/// Nobody tells whether a certificate is revoked that mail is to be encrypted for.
pub(crate) fn status_unknown() -> Reply {
    let text = "Revocation status unavailable, try again later";
    Reply::new(451, "4.7.5", text)
}

/// The time cannot be right, and mail is to be encrypted or signed.
pub(crate) fn clock() -> Reply {
    Reply::new(451, "4.7.5", "Time source not trusted")
}

/// There is one body, and its recipients need different ones.
pub(crate) fn separately() -> Reply {
    let text = "Send separately: recipients need different protection";
    Reply::new(550, "5.7.1", text)
}

/// More copies than one mail can have at once: the others have theirs when it is tried again.
pub(crate) fn too_many_copies() -> Reply {
    Reply::new(452, "4.5.3", "Too many recipients")
}

/// A mail that has to be encrypted keeps no limits.
pub(crate) fn limits() -> Reply {
    Reply::new(550, "5.6.0", "Message structure exceeds limits")
}

/// A mail that has to be encrypted cannot be looked at, however often it is tried.
pub(crate) fn poison() -> Reply {
    Reply::new(554, "5.6.0", "Message cannot be processed")
}

/// What has to wait in a file has no room there, or the disk fails.
pub(crate) fn storage(error: &TempBodyError) -> Reply {
    match error {
        TempBodyError::Full => full(),
        TempBodyError::Storage(_) => broken(),
    }
}

/// What is to be held is not.
pub(crate) fn quarantine(error: &QuarantineError) -> Reply {
    match error {
        QuarantineError::Full => full(),
        QuarantineError::ReadOnly | QuarantineError::Storage(_) => broken(),
        QuarantineError::Sealing(_) => Reply::aborted(),
    }
}

/// There is no room.
pub(crate) fn full() -> Reply {
    Reply::new(452, "4.3.1", "Insufficient system storage")
}

/// The disk fails.
pub(crate) fn broken() -> Reply {
    Reply::new(451, "4.3.0", "Local storage error, try again later")
}

const MAX_TEXT: usize = 190;
/// Longer addresses are not shown.
const MAX_ADDRESS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_reason_and_message() {
        let reply = Reason::DigestMismatch.strict_reply().unwrap();
        let text =
            refused(Reason::DigestMismatch, &reply, "01J0000000000000000000000A").to_string();
        assert!(
            text.starts_with("550 5.7.7 Message integrity failure: "),
            "{text}"
        );
        assert!(
            text.ends_with(" (digest-mismatch, id 01J0000000000000000000000A)"),
            "{text}"
        );
    }

    #[test]
    fn every_refusal_is_one_short_line() {
        for reason in Reason::ALL {
            let Some(reply) = reason.strict_reply() else {
                continue;
            };
            let bytes = refused(*reason, &reply, "01J0000000000000000000000A").to_bytes();
            assert!(bytes.len() <= 202, "{}: {} bytes", reason.id(), bytes.len());
            assert!(bytes.is_ascii());
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_encrypted_is_refused_in_the_agreed_words() {
        for (reply, expected) in [
            (
                no_certificate("bob@partner.example"),
                "550 5.7.1 Encryption required but no valid certificate for <bob@partner.example>; \
                 message not sent",
            ),
            (
                no_certificate("b\u{f6}b@partner.example"),
                "550 5.7.1 Encryption required but no valid certificate for <...>; message not sent",
            ),
            (
                no_certificate("a b\r\n250 ok"),
                "550 5.7.1 Encryption required but no valid certificate for <...>; message not sent",
            ),
            (
                store_gone(),
                "451 4.3.5 Certificate store unavailable, try again later",
            ),
            (
                directory_gone(),
                "451 4.4.3 Certificate directory unavailable, try again later",
            ),
            (
                status_unknown(),
                "451 4.7.5 Revocation status unavailable, try again later",
            ),
            (clock(), "451 4.7.5 Time source not trusted"),
            (
                separately(),
                "550 5.7.1 Send separately: recipients need different protection",
            ),
            (too_many_copies(), "452 4.5.3 Too many recipients"),
            (limits(), "550 5.6.0 Message structure exceeds limits"),
            (poison(), "554 5.6.0 Message cannot be processed"),
        ] {
            assert_eq!(reply.to_string(), expected);
            assert!(reply.to_bytes().len() <= 202);
        }
        assert!(no_certificate(&"x".repeat(500)).to_bytes().len() <= 202);
    }

    #[test]
    fn our_own_failures_are_temporary() {
        assert_eq!(
            Reply::aborted().to_string(),
            "451 4.3.0 Processing aborted, try again later"
        );
        assert_eq!(busy().to_string(), "451 4.3.2 System busy, try again later");
        assert_eq!(
            keys_gone().to_string(),
            "451 4.7.5 Cryptographic service unavailable"
        );
        assert_eq!(
            storage(&TempBodyError::Full).to_string(),
            "452 4.3.1 Insufficient system storage"
        );
        let broken = TempBodyError::Storage(std::io::Error::other("gone"));
        assert_eq!(
            storage(&broken).to_string(),
            "451 4.3.0 Local storage error, try again later"
        );
        let nowhere = "451 4.3.0 Local storage error, try again later";
        for (error, told) in [
            (
                QuarantineError::Full,
                "452 4.3.1 Insufficient system storage",
            ),
            (QuarantineError::ReadOnly, nowhere),
            (QuarantineError::Storage(String::new()), nowhere),
            (
                QuarantineError::Sealing(String::new()),
                "451 4.3.0 Processing aborted, try again later",
            ),
        ] {
            assert_eq!(quarantine(&error).to_string(), told, "{error:?}");
        }
    }
}
