//! Which list came from which URL, and when: what a restart and the commands beside the service go by.

use kenin_pki::crl::Crl;
use kenin_pki::crypto::PublicKey;
use kenin_pki::time::UnixTime;

use crate::database::ask;
use crate::{Store, StoreError, scope};

/// The list that came from a URL last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedList {
    /// The URL.
    pub url: String,
    /// SHA-256 of the list.
    pub sha256: [u8; 32],
    /// Its thisUpdate.
    pub this_update: UnixTime,
    /// Its nextUpdate.
    pub next_update: Option<UnixTime>,
    /// When it came.
    pub at: UnixTime,
}

impl Store {
    /// Notes that a URL gave this list at this time. It changes nothing of what a snapshot is made of, and the
    /// counter of changes stays.
    pub async fn put_fetched(
        &self,
        tenant: &str,
        url: &str,
        crl: &Crl,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        ask!(
            self,
            execute: "INSERT INTO fetched (tenant, url, sha256, this_update, next_update, at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, url) DO UPDATE SET \
             sha256 = excluded.sha256, this_update = excluded.this_update, \
             next_update = excluded.next_update, at = excluded.at",
            tenant,
            url,
            crl.sha256().as_slice(),
            crl.this_update().0,
            crl.next_update().map(|time| time.0),
            at.0,
        )?;
        Ok(())
    }

    /// What every URL gave last.
    pub async fn fetched(&self, tenant: &str) -> Result<Vec<FetchedList>, StoreError> {
        let rows = ask!(
            self,
            fetch_all as (String, Vec<u8>, i64, Option<i64>, i64):
            "SELECT url, sha256, this_update, next_update, at FROM fetched WHERE tenant = $1 \
             ORDER BY url",
            tenant,
        )?;
        let read =
            |(url, sha256, this_update, next_update, at): (_, Vec<u8>, _, Option<i64>, _)| {
                Some(FetchedList {
                    url,
                    // Of another length it is no digest, and the list is fetched again.
                    sha256: sha256.try_into().ok()?,
                    this_update: UnixTime(this_update),
                    next_update: next_update.map(UnixTime),
                    at: UnixTime(at),
                })
            };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Whether the list that is held of this one's scope is as new as it, so that [`Store::put_crl`] did not keep
    /// it for being the same rather than for being older.
    pub async fn has_crl(
        &self,
        tenant: &str,
        crl: &Crl,
        by: &PublicKey,
    ) -> Result<bool, StoreError> {
        let scope = scope::of(crl, Some(by));
        let (found,) = ask!(
            self,
            fetch_one as (bool,):
            "SELECT EXISTS (SELECT 1 FROM crl WHERE tenant = $1 AND issuer = $2 AND scope = $3 \
             AND number = $4 AND this_update = $5)",
            tenant,
            crl.issuer().canonical(),
            scope.as_slice(),
            scope::number(crl),
            crl.this_update().0,
        )?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpki::ca;

    const URL: &str = "http://ca.example/a.crl";

    #[tokio::test]
    async fn the_last_list_of_a_url_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kenin.sqlite");
        let store = Store::open(&path).await.unwrap();
        let ca = ca("A");
        for (number, at) in [(1, 10), (2, 20)] {
            let list = ca.crl(Some(number), 1000);
            let put = store.put_fetched("default", URL, &list, UnixTime(at));
            put.await.unwrap();
        }
        assert_eq!(store.revision("default").await.unwrap(), 0);
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let found = store.fetched("default").await.unwrap();
        let [one] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((one.url.as_str(), one.at), (URL, UnixTime(20)));
        assert_eq!(one.this_update, UnixTime(1000));
        assert_eq!(one.next_update, Some(UnixTime(2000)));
        assert!(store.fetched("other").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_same_is_told_from_the_older() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
        let ca = ca("A");
        let by = ca.certificate.public_key();
        let (old, new) = (ca.crl(Some(1), 1000), ca.crl(Some(2), 2000));
        assert!(!store.has_crl("default", &new, by).await.unwrap());
        assert!(store.put_crl("default", &new, by).await.unwrap());
        assert!(store.has_crl("default", &new, by).await.unwrap());
        assert!(!store.put_crl("default", &old, by).await.unwrap());
        assert!(!store.has_crl("default", &old, by).await.unwrap());
    }
}
