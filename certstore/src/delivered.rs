//! Who got which message before its client was told to try again: hashes and addresses, for as long as
//! clients try.

use crate::database::ask;
use crate::{Store, StoreError};

impl Store {
    /// Keeps that these recipients got a message at this time (seconds since 1970); what is older than
    /// clients try is forgotten.
    pub async fn put_delivered(
        &self,
        tenant: &str,
        hash: &[u8; 32],
        recipients: &[&str],
        now: i64,
    ) -> Result<(), StoreError> {
        // Alone: two nodes that write the same rows in another order would wait for each other.
        let mut change = self.begin_alone(tenant).await?;
        ask!(self, change.execute: "DELETE FROM delivered WHERE tenant = $1 AND at < $2",
            tenant, now.saturating_sub(TRIES))?;
        for recipient in recipients {
            ask!(self, change.execute:
                "INSERT INTO delivered (tenant, hash, recipient, at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, hash, recipient) DO UPDATE SET at = excluded.at",
                tenant, hash.as_slice(), *recipient, now)?;
        }
        self.keep(change).await
    }

    /// The recipients that have this message.
    pub async fn delivered(
        &self,
        tenant: &str,
        hash: &[u8; 32],
        now: i64,
    ) -> Result<Vec<String>, StoreError> {
        let rows = ask!(self, fetch_all as (String,):
            "SELECT recipient FROM delivered WHERE tenant = $1 AND hash = $2 AND at >= $3 ORDER BY recipient",
            tenant, hash.as_slice(), now.saturating_sub(TRIES))?;
        Ok(rows.into_iter().map(|(recipient,)| recipient).collect())
    }

    /// Whether anybody has any message that may come again.
    pub async fn any_delivered(&self, tenant: &str, now: i64) -> Result<bool, StoreError> {
        let (any,) = ask!(self, fetch_one as (bool,):
            "SELECT EXISTS (SELECT 1 FROM delivered WHERE tenant = $1 AND at >= $2)",
            tenant, now.saturating_sub(TRIES))?;
        Ok(any)
    }
}

/// How long clients try again, in seconds.
const TRIES: i64 = 5 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_TENANT;
    use crate::testplace::{Place, on_both};

    on_both!(a_delivery_is_known_for_five_days);

    async fn a_delivery_is_known_for_five_days(place: &Place) {
        let store = place.open().await;
        let (one, other) = ([1; 32], [2; 32]);
        assert!(!store.any_delivered(DEFAULT_TENANT, 1000).await.unwrap());
        for _ in 0..2 {
            let to = ["a@x.example", "b@x.example"];
            store
                .put_delivered(DEFAULT_TENANT, &one, &to, 1000)
                .await
                .unwrap();
        }
        let found = |tenant, hash, now| {
            let store = store.clone();
            async move { store.delivered(tenant, &hash, now).await.unwrap() }
        };
        let last = 1000 + TRIES;
        assert_eq!(
            found(DEFAULT_TENANT, one, last).await,
            ["a@x.example", "b@x.example"]
        );
        assert!(found(DEFAULT_TENANT, other, last).await.is_empty());
        assert!(found("other", one, last).await.is_empty());
        assert!(found(DEFAULT_TENANT, one, last + 1).await.is_empty());
        assert!(store.any_delivered(DEFAULT_TENANT, last).await.unwrap());
        assert!(!store.any_delivered(DEFAULT_TENANT, last + 1).await.unwrap());
        let to = ["c@x.example"];
        store
            .put_delivered(DEFAULT_TENANT, &other, &to, last + 1)
            .await
            .unwrap();
        assert!(
            found(DEFAULT_TENANT, one, 1000).await.is_empty(),
            "forgotten"
        );
    }
}
