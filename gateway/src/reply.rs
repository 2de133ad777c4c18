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
#[allow(dead_code)] // Mail is not opened yet.
pub(crate) fn keys_gone() -> Reply {
    Reply::new(451, "4.7.5", "Cryptographic service unavailable")
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

fn full() -> Reply {
    Reply::new(452, "4.3.1", "Insufficient system storage")
}

fn broken() -> Reply {
    Reply::new(451, "4.3.0", "Local storage error, try again later")
}

const MAX_TEXT: usize = 190;

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
