//! Encrypted contents that came for somebody whose keys are here: by their digests, so that one that comes again under
//! another sender is seen (verdicts.md, `replayed-ciphertext`). Nothing of what is in them is kept.

use crate::database::ask;
use crate::{Store, StoreError};

/// An encrypted content, and the mail that it came in.
#[derive(Clone, Copy, Debug)]
pub struct Ciphertext<'a> {
    /// SHA-256 of the encryptedContent, or of its key as it is wrapped for somebody.
    pub sha256: &'a [u8; 32],
    /// SHA-256 of whom an answer to the mail goes to.
    pub answers: &'a [u8; 32],
    /// What From says.
    pub sender: &'a str,
    /// What Message-ID says.
    pub message_id: &'a str,
}

/// How an encrypted content came for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// SHA-256 of whom an answer to that mail goes to.
    pub answers: Vec<u8>,
    /// What From said, as far as it was kept.
    pub sender: String,
    /// What Message-ID said, as far as it was kept.
    pub message_id: String,
    /// When (seconds since 1970).
    pub at: i64,
}

impl Store {
    /// How this encrypted content came for the first time; nothing where it is new, or was forgotten.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ciphertext(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
    ) -> Result<Option<FirstSeen>, StoreError> {
        let row = ask!(self, fetch_optional as (Vec<u8>, String, String, i64):
            "SELECT answers, sender, message_id, first_at FROM ciphertext WHERE tenant = $1 AND sha256 = $2",
            tenant, sha256.as_slice())?;
        Ok(row.map(first_seen))
    }

    /// Remembers that this encrypted content has come at this time (seconds since 1970), and gives how it came for the
    /// first time, which may be now. What nobody has sent for a hundred days is forgotten; by a clock that cannot be right
    /// (no time) nothing is, and what comes meanwhile is kept until it comes again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remember_ciphertext(
        &self,
        tenant: &str,
        one: &Ciphertext<'_>,
        now: Option<i64>,
    ) -> Result<FirstSeen, StoreError> {
        let (sender, message_id) = (text(one.sender), text(one.message_id));
        if let Some(now) = now.filter(|now| self.swept.ciphertexts.is_due(*now)) {
            ask!(self, execute: "DELETE FROM ciphertext WHERE tenant = $1 AND last_at < $2",
                tenant, now.saturating_sub(REMEMBERED))?;
        }
        let at = now.unwrap_or(i64::MAX);
        let row = ask!(self, fetch_one as (Vec<u8>, String, String, i64):
            "INSERT INTO ciphertext (tenant, sha256, answers, sender, message_id, first_at, last_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) \
             ON CONFLICT (tenant, sha256) DO UPDATE SET last_at = excluded.last_at \
             RETURNING answers, sender, message_id, first_at",
            tenant, one.sha256.as_slice(), one.answers.as_slice(), sender.as_str(),
            message_id.as_str(), at)?;
        Ok(first_seen(row))
    }
}

fn first_seen(row: (Vec<u8>, String, String, i64)) -> FirstSeen {
    let (answers, sender, message_id, at) = row;
    FirstSeen {
        answers,
        sender,
        message_id,
        at,
    }
}

/// What is kept of a field's text: a line, and not much of it. PostgreSQL takes no NUL.
fn text(value: &str) -> String {
    let shown = value.chars().filter(|c| !c.is_control());
    shown.take(MAX_TEXT).collect()
}

/// In seconds: more than the ninety days for which it has to be known.
const REMEMBERED: i64 = 100 * 24 * 60 * 60;
const MAX_TEXT: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_TENANT;
    use crate::testplace::{Place, on_both};

    on_both!(
        the_first_mail_of_an_encrypted_content_is_remembered,
        what_was_sent_within_ninety_days_is_known,
        a_clock_that_cannot_be_right_forgets_nothing,
        tenants_remember_their_own,
    );

    fn one<'a>(sha256: &'a [u8; 32], answers: &'a [u8; 32], sender: &'a str) -> Ciphertext<'a> {
        Ciphertext {
            sha256,
            answers,
            sender,
            message_id: "<1@example.jp>",
        }
    }

    async fn the_first_mail_of_an_encrypted_content_is_remembered(place: &Place) {
        let store = place.open().await;
        let (content, alice, mallory) = ([1; 32], [2; 32], [3; 32]);
        let known = store.ciphertext(DEFAULT_TENANT, &content).await.unwrap();
        assert_eq!(known, None);
        let first = FirstSeen {
            answers: alice.to_vec(),
            sender: "Alice <alice@example.jp>".to_owned(),
            message_id: "<1@example.jp>".to_owned(),
            at: 1000,
        };
        // A text that no database and no log should have as it is.
        let sender = "Alice \0<alice@\r\nexample.jp>";
        for (answers, sender, now) in [
            (alice, sender, 1000),
            (alice, sender, 2000),
            (mallory, "mallory@example.com", 3000),
        ] {
            let ciphertext = one(&content, &answers, sender);
            let seen = store.remember_ciphertext(DEFAULT_TENANT, &ciphertext, Some(now));
            assert_eq!(seen.await.unwrap(), first, "{now}");
        }
        let known = store.ciphertext(DEFAULT_TENANT, &content).await.unwrap();
        assert_eq!(known, Some(first));
        let other = store.ciphertext(DEFAULT_TENANT, &[9; 32]).await.unwrap();
        assert_eq!(other, None);
        // No snapshot is made of it.
        assert_eq!(store.revision(DEFAULT_TENANT).await.unwrap(), 0);
        let long = "x".repeat(9000);
        let ciphertext = one(&mallory, &alice, &long);
        let seen = store.remember_ciphertext(DEFAULT_TENANT, &ciphertext, Some(1));
        assert_eq!(seen.await.unwrap().sender.len(), MAX_TEXT);
    }

    async fn what_was_sent_within_ninety_days_is_known(place: &Place) {
        let store = place.open().await;
        let (content, other, answers) = ([1; 32], [2; 32], [3; 32]);
        let days = |days: i64| 1000 + days * 24 * 60 * 60;
        let put = |sha256: [u8; 32], now: i64| {
            let store = store.clone();
            async move {
                let ciphertext = one(&sha256, &answers, "a@example.jp");
                let seen = store.remember_ciphertext(DEFAULT_TENANT, &ciphertext, Some(now));
                seen.await.unwrap().at
            }
        };
        assert_eq!(put(content, days(0)).await, days(0));
        assert_eq!(put(other, days(91)).await, days(91));
        let known = store.ciphertext(DEFAULT_TENANT, &content).await.unwrap();
        assert_eq!(known.unwrap().at, days(0));
        // Who sends it again and again does not make it forgotten.
        assert_eq!(put(content, days(92)).await, days(0));
        assert_eq!(put(other, days(190)).await, days(91));
        let known = store.ciphertext(DEFAULT_TENANT, &content).await.unwrap();
        assert_eq!(known.unwrap().at, days(0));
        assert_eq!(put(other, days(193)).await, days(91));
        let known = store.ciphertext(DEFAULT_TENANT, &content).await.unwrap();
        assert_eq!(known, None, "forgotten");
    }

    async fn a_clock_that_cannot_be_right_forgets_nothing(place: &Place) {
        let store = place.open().await;
        let (content, other, answers) = ([1; 32], [2; 32], [3; 32]);
        let put = |sha256: [u8; 32], now: Option<i64>| {
            let store = store.clone();
            async move {
                let ciphertext = one(&sha256, &answers, "a@example.jp");
                let seen = store.remember_ciphertext(DEFAULT_TENANT, &ciphertext, now);
                seen.await.unwrap();
            }
        };
        put(content, Some(1000)).await;
        put(other, None).await;
        put([4; 32], Some(2000)).await;
        for known in [content, other] {
            let known = store.ciphertext(DEFAULT_TENANT, &known).await.unwrap();
            assert!(known.is_some());
        }
    }

    async fn tenants_remember_their_own(place: &Place) {
        let store = place.open().await;
        let (content, alice, bob) = ([1; 32], [2; 32], [3; 32]);
        for (tenant, answers) in [("one", alice), ("One", bob)] {
            let ciphertext = one(&content, &answers, tenant);
            let seen = store
                .remember_ciphertext(tenant, &ciphertext, Some(1000))
                .await;
            assert_eq!(seen.unwrap().answers, answers);
        }
        let known = store.ciphertext("one", &content).await.unwrap();
        assert_eq!(known.unwrap().sender, "one");
        let known = store.ciphertext("two", &content).await.unwrap();
        assert_eq!(known, None);
        // Nor does one make the other forget.
        let ciphertext = one(&bob, &bob, "x");
        let later = store.remember_ciphertext("One", &ciphertext, Some(i64::MAX));
        later.await.unwrap();
        let known = store.ciphertext("one", &content).await.unwrap();
        assert!(known.is_some());
    }
}
