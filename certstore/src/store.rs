//! The embedded store: one SQLite file, numbered forward-only migrations, the tenant in every key.
//!
//! It keeps what is known, never what is trusted, and no mail. A counter grows with every change
//! of what a snapshot is made of; whoever sees it change reads again.

use std::cmp::Ordering;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::PublicKey;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, Sqlite, Transaction};

use crate::{RevocationIndex, StoreError, scope};

/// The tenant of a simple installation.
pub const DEFAULT_TENANT: &str = "default";

/// An open store; cloning shares it.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    pub(crate) pool: SqlitePool,
}

impl Store {
    /// Opens or makes the file (0600) and brings its schema up to date. A schema newer than this
    /// program's is refused.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite itself would make it readable for all.
        let made = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path);
        made.map_err(|error| StoreError::read(path, error))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(TIME_LIMIT);
        let store = Self::connect(path, options, 4).await?;
        let migrator = Migrator::with_migrations(migrations());
        match migrator.run(&store.pool).await {
            Ok(()) => Ok(store),
            Err(MigrateError::VersionMissing(found)) => Err(StoreError::NewerSchema {
                path: path.to_owned(),
                found,
                known: migrations().last().map_or(0, |migration| migration.version),
            }),
            Err(error) => Err(database(path, &error)),
        }
    }

    async fn connect(
        path: &Path,
        options: SqliteConnectOptions,
        connections: u32,
    ) -> Result<Self, StoreError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(TIME_LIMIT)
            .connect_with(options)
            .await
            .map_err(|error| database(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            pool,
        })
    }

    /// Opens a store that is there to look into it: nothing in it is changed, nor its schema. A
    /// schema of another version than this program's is refused.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(TIME_LIMIT);
        let store = Self::connect(path, options, 1).await?;
        let found: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&store.pool)
            .await
            .map_err(|error| store.failed(&error))?;
        let known = migrations().last().map_or(0, |migration| migration.version);
        match found.cmp(&known) {
            Ordering::Equal => Ok(store),
            Ordering::Greater => Err(StoreError::NewerSchema {
                path: path.to_owned(),
                found,
                known,
            }),
            Ordering::Less => Err(StoreError::Database {
                path: path.to_owned(),
                message: format!(
                    "its schema is {found}, older than {known}; \"kenin run\" brings it up to date"
                ),
            }),
        }
    }

    /// Keeps a list unless one of the same scope is there that is as new; says whether it was
    /// kept. An older list never replaces a newer one.
    /// `by` is the key that verified it.
    pub async fn put_crl(
        &self,
        tenant: &str,
        crl: &Crl,
        by: &PublicKey,
    ) -> Result<bool, StoreError> {
        let scope = scope::of(crl, Some(by));
        let (issuer, number) = (crl.issuer().canonical(), scope::number(crl));
        // Taken at once: two writers that both read first would deadlock.
        let mut change = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|e| self.failed(&e))?;
        let held = sqlx::query(
            "SELECT number, this_update FROM crl WHERE tenant = ? AND issuer = ? AND scope = ?",
        )
        .bind(tenant)
        .bind(issuer)
        .bind(scope.as_slice())
        .fetch_optional(&mut *change)
        .await
        .map_err(|e| self.failed(&e))?;
        if let Some(row) = held {
            let held_number: Vec<u8> = row.try_get(0).map_err(|e| self.failed(&e))?;
            let held_time: i64 = row.try_get(1).map_err(|e| self.failed(&e))?;
            let new = (number.as_slice(), crl.this_update().0);
            if scope::order(new, (held_number.as_slice(), held_time)) != Ordering::Greater {
                return Ok(false);
            }
        }
        sqlx::query(
            "INSERT INTO crl (tenant, issuer, scope, number, this_update, next_update, der, indexed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (tenant, issuer, scope) DO UPDATE SET number = excluded.number, \
             this_update = excluded.this_update, next_update = excluded.next_update, \
             der = excluded.der, indexed = excluded.indexed",
        )
        .bind(tenant)
        .bind(issuer)
        .bind(scope.as_slice())
        .bind(&number)
        .bind(crl.this_update().0)
        .bind(crl.next_update().map(|time| time.0))
        .bind(crl.der())
        .bind(crl.is_indexed().then(|| crl.sha256().to_vec()))
        .execute(&mut *change)
        .await
        .map_err(|e| self.failed(&e))?;
        self.commit(tenant, change).await?;
        Ok(true)
    }

    /// The certificates that may issue others and may be used.
    pub async fn authorities(&self, tenant: &str) -> Result<Vec<Certificate>, StoreError> {
        let rows = sqlx::query("SELECT der FROM certificate WHERE tenant = ? AND authority = 1 AND quarantined = 0 ORDER BY sha256")
            .bind(tenant)
            .fetch_all(&self.pool)
            .await
            .map_err(|e| self.failed(&e))?;
        rows.iter().map(|row| self.certificate(row)).collect()
    }

    /// All current revocation lists; the long ones from their index, as far as they are in it.
    pub async fn crls(
        &self,
        tenant: &str,
        index: &RevocationIndex,
    ) -> Result<Vec<Crl>, StoreError> {
        let rows =
            sqlx::query("SELECT der, indexed FROM crl WHERE tenant = $1 ORDER BY issuer, scope")
                .bind(tenant)
                .fetch_all(&self.pool)
                .await
                .map_err(|e| self.failed(&e))?;
        let mut crls = Vec::with_capacity(rows.len());
        for row in &rows {
            let indexed: Option<Vec<u8>> = row.try_get(1).map_err(|e| self.failed(&e))?;
            match indexed.map(<[u8; 32]>::try_from) {
                None => crls.push(self.crl(row)?),
                // Its file may be read again; without it the status is unknown, which is never good.
                Some(Ok(sha256)) => crls.extend(index.open_list(&sha256).ok()),
                Some(Err(_)) => {}
            }
        }
        Ok(crls)
    }

    /// The counter of changes: 0 in a new store.
    pub async fn revision(&self, tenant: &str) -> Result<i64, StoreError> {
        let number = sqlx::query_scalar("SELECT number FROM revision WHERE tenant = ?")
            .bind(tenant)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| self.failed(&e))?;
        Ok(number.unwrap_or(0))
    }

    /// Counts that processing a message was aborted at this time (seconds since 1970) and says
    /// how often within a day; older counts are forgotten.
    pub async fn count_aborted(
        &self,
        tenant: &str,
        hash: &[u8; 32],
        now: i64,
    ) -> Result<i64, StoreError> {
        let since = now.saturating_sub(DAY);
        sqlx::query("DELETE FROM aborted WHERE tenant = ? AND last_at < ?")
            .bind(tenant)
            .bind(since)
            .execute(&self.pool)
            .await
            .map_err(|e| self.failed(&e))?;
        sqlx::query_scalar(
            "INSERT INTO aborted (tenant, hash, times, last_at) VALUES (?, ?, 1, ?) \
             ON CONFLICT (tenant, hash) DO UPDATE SET times = times + 1, \
             last_at = excluded.last_at RETURNING times",
        )
        .bind(tenant)
        .bind(hash.as_slice())
        .bind(now)
        .fetch_one(&self.pool)
        .await
        .map_err(|e| self.failed(&e))
    }

    /// Writes everything out and closes the file.
    pub async fn close(self) {
        self.pool.close().await;
    }

    pub(crate) async fn commit(
        &self,
        tenant: &str,
        mut change: Transaction<'_, Sqlite>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO revision (tenant, number) VALUES (?, 1) \
             ON CONFLICT (tenant) DO UPDATE SET number = number + 1",
        )
        .bind(tenant)
        .execute(&mut *change)
        .await
        .map_err(|e| self.failed(&e))?;
        change.commit().await.map_err(|e| self.failed(&e))
    }

    pub(crate) fn certificate(
        &self,
        row: &sqlx::sqlite::SqliteRow,
    ) -> Result<Certificate, StoreError> {
        let der: Vec<u8> = row.try_get(0).map_err(|e| self.failed(&e))?;
        Certificate::from_der(&der).map_err(|e| database(&self.path, &e))
    }

    fn crl(&self, row: &sqlx::sqlite::SqliteRow) -> Result<Crl, StoreError> {
        let der: Vec<u8> = row.try_get(0).map_err(|e| self.failed(&e))?;
        Crl::from_der(&der).map_err(|e| database(&self.path, &e))
    }

    pub(crate) fn failed(&self, error: &sqlx::Error) -> StoreError {
        database(&self.path, error)
    }
}

fn database(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Database {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// Forward only: a number is never given twice, and a text that was released never changes.
fn migrations() -> Vec<Migration> {
    [
        ("start", include_str!("../migrations/0001_start.sql")),
        (
            "delivered",
            include_str!("../migrations/0002_delivered.sql"),
        ),
        ("holders", include_str!("../migrations/0003_holders.sql")),
        ("indexed", include_str!("../migrations/0004_indexed.sql")),
    ]
    .into_iter()
    .zip(1..)
    .map(|((name, text), number)| {
        let text = text.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, text, false)
    })
    .collect()
}

/// The store's part of our budget for one message.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const DAY: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests;
