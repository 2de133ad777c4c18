//! Who got which message before its client was told to try again: hashes and addresses, for as long as
//! clients try.

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
        let mut change = self.pool.begin().await.map_err(|e| self.failed(&e))?;
        sqlx::query("DELETE FROM delivered WHERE tenant = ? AND at < ?")
            .bind(tenant)
            .bind(now.saturating_sub(TRIES))
            .execute(&mut *change)
            .await
            .map_err(|e| self.failed(&e))?;
        for recipient in recipients {
            sqlx::query(
                "INSERT INTO delivered (tenant, hash, recipient, at) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (tenant, hash, recipient) DO UPDATE SET at = excluded.at",
            )
            .bind(tenant)
            .bind(hash.as_slice())
            .bind(*recipient)
            .bind(now)
            .execute(&mut *change)
            .await
            .map_err(|e| self.failed(&e))?;
        }
        change.commit().await.map_err(|e| self.failed(&e))
    }

    /// The recipients that have this message.
    pub async fn delivered(
        &self,
        tenant: &str,
        hash: &[u8; 32],
        now: i64,
    ) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT recipient FROM delivered WHERE tenant = ? AND hash = ? AND at >= ?",
        )
        .bind(tenant)
        .bind(hash.as_slice())
        .bind(now.saturating_sub(TRIES))
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))
    }

    /// Whether anybody has any message that may come again.
    pub async fn any_delivered(&self, tenant: &str, now: i64) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM delivered WHERE tenant = ? AND at >= ?)")
            .bind(tenant)
            .bind(now.saturating_sub(TRIES))
            .fetch_one(&self.pool)
            .await
            .map_err(|e| self.failed(&e))
    }
}

/// How long clients try again, in seconds.
const TRIES: i64 = 5 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_TENANT;

    #[tokio::test]
    async fn a_delivery_is_known_for_five_days() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("s.sqlite")).await.unwrap();
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
