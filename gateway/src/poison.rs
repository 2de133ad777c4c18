//! Messages that bring the engine down again and again: after the third time within a day they
//! pass untouched, so that one message cannot stop a sender's queue for ever.

use kenin_certstore::{DEFAULT_TENANT, Store};
use kenin_pki::time::UnixTime;
use kenin_smtp_filter::Mail;
use tracing::error;

use crate::identity;

/// Counts that this message was given up, and says whether that is often enough.
pub(crate) async fn is_poison(store: Option<&Store>, mail: &Mail, now: UnixTime) -> bool {
    let Some(store) = store else { return false };
    let mail = mail.clone();
    let Ok(hash) = tokio::task::spawn_blocking(move || identity(&mail.raw)).await else {
        return false;
    };
    match store.count_aborted(DEFAULT_TENANT, &hash, now.0).await {
        Ok(times) => times >= TIMES,
        Err(why) => {
            error!(error = %why, "cannot count aborted messages");
            false
        }
    }
}

/// Its body and its Message-ID, whoever sends it: it is the engine that cannot bear them.
fn identity(raw: &[u8]) -> [u8; 32] {
    identity::of("", raw, |field| field.is_plainly(raw, "message-id"))
}

const TIMES: i64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_itself_with_another_trace() {
        let one = identity(b"Received: a\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n");
        assert_eq!(
            one,
            identity(b"Received: b\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n")
        );
        assert_ne!(
            one,
            identity(b"Received: a\r\nMessage-ID: <2@x>\r\n\r\nbody\r\n")
        );
        assert_ne!(
            one,
            identity(b"Received: a\r\nMessage-ID: <1@x>\r\n\r\nother\r\n")
        );
    }
}
