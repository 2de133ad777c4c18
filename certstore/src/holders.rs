//! Certificates of people in the store: found by mail address or fingerprint, and the addresses that are
//! registered to certificates in which they do not stand.
//!
//! Only a change of what issues others counts as a change of the store: the rest is asked for when it is
//! needed. What is found here is a candidate: whether it leads to an anchor, holds the address and is not revoked is
//! for others to decide.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use sqlx::Row;

use crate::{Store, StoreError};

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An administrator put it there: pinned, nothing else replaces it.
    Admin,
    /// It came with mail whose signature was good.
    Harvest,
    /// A directory gave it.
    Directory,
}

impl Origin {
    /// The word in the store and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Harvest => "harvest",
            Self::Directory => "directory",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Admin, Self::Harvest, Self::Directory];
        all.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// A certificate as it lies in the store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it came from.
    pub origin: Origin,
    /// Seen, but not to be used until somebody says so.
    pub quarantined: bool,
    /// Addresses that are registered to it.
    pub registered: Vec<String>,
}

impl Store {
    /// Keeps a certificate and its addresses; says whether it was new. One that is there stays as it is.
    pub async fn put_certificate(
        &self,
        tenant: &str,
        certificate: &Certificate,
        origin: Origin,
        quarantined: bool,
    ) -> Result<bool, StoreError> {
        let basic = certificate.basic_constraints().ok().flatten();
        let mut change = self.pool.begin().await.map_err(|e| self.failed(&e))?;
        let done = sqlx::query(
            "INSERT INTO certificate (tenant, sha256, subject, der, authority, not_after, origin, quarantined) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(certificate.sha256().as_slice())
        .bind(certificate.subject().canonical())
        .bind(certificate.der())
        .bind(i64::from(basic.is_some_and(|basic| basic.ca)))
        .bind(certificate.not_after().map_or(0, |time| time.0))
        .bind(origin.as_str())
        .bind(i64::from(quarantined))
        .execute(&mut *change)
        .await
        .map_err(|e| self.failed(&e))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for address in certificate.addresses().unwrap_or_default() {
            sqlx::query(
                "INSERT INTO address (tenant, address, sha256) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(tenant)
            .bind(address_key(&address))
            .bind(certificate.sha256().as_slice())
            .execute(&mut *change)
            .await
            .map_err(|e| self.failed(&e))?;
        }
        match basic.is_some_and(|basic| basic.ca) {
            true => self.commit(tenant, change).await?,
            false => change.commit().await.map_err(|e| self.failed(&e))?,
        }
        Ok(true)
    }

    /// Certificates in which this address stands or to which it is registered, those that end last first;
    /// at most [`MAX_FOUND`].
    pub async fn certificates_by_address(
        &self,
        tenant: &str,
        address: &Address,
    ) -> Result<Vec<Kept>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.der, c.origin, c.quarantined FROM certificate c WHERE c.tenant = $1 AND c.sha256 IN \
             (SELECT sha256 FROM address WHERE tenant = $1 AND address = $2 \
              UNION SELECT sha256 FROM registration WHERE tenant = $1 AND address = $2) \
             ORDER BY c.not_after DESC, c.sha256 LIMIT $3",
        )
        .bind(tenant)
        .bind(address_key(address))
        .bind(MAX_FOUND)
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))?;
        self.kept(tenant, &rows).await
    }

    /// Certificates whose fingerprint begins like this (lower-case hex); at most [`MAX_FOUND`].
    pub async fn certificates_by_fingerprint(
        &self,
        tenant: &str,
        prefix: &str,
    ) -> Result<Vec<Kept>, StoreError> {
        let rows = sqlx::query(
            "SELECT der, origin, quarantined FROM certificate WHERE tenant = $1 \
             AND lower(hex(sha256)) LIKE $2 ORDER BY sha256 LIMIT $3",
        )
        .bind(tenant)
        .bind(format!("{prefix}%"))
        .bind(MAX_FOUND)
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))?;
        self.kept(tenant, &rows).await
    }

    /// The certificates behind the `after`-th, those that end first first.
    pub async fn certificates_by_end(
        &self,
        tenant: &str,
        before: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Kept>, StoreError> {
        let rows = sqlx::query(
            "SELECT der, origin, quarantined FROM certificate WHERE tenant = $1 AND not_after < $2 \
             ORDER BY not_after, sha256 LIMIT $3 OFFSET $4",
        )
        .bind(tenant)
        .bind(before)
        .bind(limit)
        .bind(after)
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))?;
        self.kept(tenant, &rows).await
    }

    /// Lets a quarantined certificate be used; says whether it was one.
    pub async fn promote(&self, tenant: &str, sha256: &[u8; 32]) -> Result<bool, StoreError> {
        let statement = "UPDATE certificate SET quarantined = 0, origin = 'admin' \
                         WHERE tenant = $1 AND sha256 = $2 AND quarantined = 1 RETURNING authority";
        self.change_certificate(tenant, sha256, statement).await
    }

    /// Forgets a certificate; says whether it was there. What is registered to it stays registered.
    pub async fn forget(&self, tenant: &str, sha256: &[u8; 32]) -> Result<bool, StoreError> {
        let statement =
            "DELETE FROM certificate WHERE tenant = $1 AND sha256 = $2 RETURNING authority";
        self.change_certificate(tenant, sha256, statement).await
    }

    async fn change_certificate(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        statement: &'static str,
    ) -> Result<bool, StoreError> {
        let mut change = self.pool.begin().await.map_err(|e| self.failed(&e))?;
        let authority: Option<i64> = sqlx::query_scalar(statement)
            .bind(tenant)
            .bind(sha256.as_slice())
            .fetch_optional(&mut *change)
            .await
            .map_err(|e| self.failed(&e))?;
        match authority {
            Some(0) => change.commit().await.map_err(|e| self.failed(&e))?,
            Some(_) => self.commit(tenant, change).await?,
            None => {}
        }
        Ok(authority.is_some())
    }

    /// Registers an address to a certificate; says whether it was new.
    pub async fn register(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        self.change(
            sqlx::query(
                "INSERT INTO registration (tenant, sha256, address) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(tenant)
            .bind(sha256.as_slice())
            .bind(address_key(address)),
        )
        .await
    }

    /// Takes a registration back; says whether there was one.
    pub async fn unregister(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        self.change(
            sqlx::query(
                "DELETE FROM registration WHERE tenant = $1 AND sha256 = $2 AND address = $3",
            )
            .bind(tenant)
            .bind(sha256.as_slice())
            .bind(address_key(address)),
        )
        .await
    }

    /// Whether an address is registered to a certificate.
    pub async fn is_registered(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        address: &Address,
    ) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM registration WHERE tenant = $1 AND sha256 = $2 AND address = $3",
        )
        .bind(tenant)
        .bind(sha256.as_slice())
        .bind(address_key(address))
        .fetch_optional(&self.pool)
        .await
        .map_err(|e| self.failed(&e))?;
        Ok(found.is_some())
    }

    /// All registrations: fingerprints and addresses.
    pub async fn registrations(&self, tenant: &str) -> Result<Vec<([u8; 32], String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT sha256, address FROM registration WHERE tenant = $1 ORDER BY sha256, address",
        )
        .bind(tenant)
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let sha256: Vec<u8> = row.try_get(0).map_err(|e| self.failed(&e))?;
            let address = row.try_get(1).map_err(|e| self.failed(&e))?;
            if let Ok(sha256) = <[u8; 32]>::try_from(sha256) {
                all.push((sha256, address));
            }
        }
        Ok(all)
    }

    async fn registered(&self, tenant: &str, sha256: &[u8; 32]) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT address FROM registration WHERE tenant = $1 AND sha256 = $2 ORDER BY address",
        )
        .bind(tenant)
        .bind(sha256.as_slice())
        .fetch_all(&self.pool)
        .await
        .map_err(|e| self.failed(&e))
    }

    /// One statement; says whether it changed something.
    async fn change<'q>(
        &self,
        statement: sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<bool, StoreError> {
        let done = statement.execute(&self.pool).await;
        Ok(done.map_err(|e| self.failed(&e))?.rows_affected() > 0)
    }

    async fn kept(
        &self,
        tenant: &str,
        rows: &[sqlx::sqlite::SqliteRow],
    ) -> Result<Vec<Kept>, StoreError> {
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let certificate = self.certificate(row)?;
            let origin: String = row.try_get(1).map_err(|e| self.failed(&e))?;
            let quarantined: i64 = row.try_get(2).map_err(|e| self.failed(&e))?;
            all.push(Kept {
                registered: self.registered(tenant, certificate.sha256()).await?,
                certificate,
                // A word of a later version: nothing is known of it but that it is not pinned.
                origin: Origin::of(&origin).unwrap_or(Origin::Directory),
                quarantined: quarantined != 0,
            });
        }
        Ok(all)
    }
}

/// One spelling for all that are the same address (RFC 8550 §3: local parts compare without case in ASCII).
pub fn address_key(address: &Address) -> String {
    format!(
        "{}@{}",
        address.local().to_ascii_lowercase(),
        address.domain().to_ascii_lowercase()
    )
}

/// Certificates that one question brings at most.
pub const MAX_FOUND: i64 = 16;

#[cfg(test)]
mod tests;
