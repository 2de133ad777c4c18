//! The store: one SQLite file, or a PostgreSQL database that several nodes share; numbered forward-only migrations,
//! the tenant in every key.
//!
//! It keeps what is known, never what is trusted, and no mail. A counter grows with every change
//! of what a snapshot is made of; whoever sees it change reads again.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::PublicKey;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::database::{Change, Connections, Pool, READING, WRITING, ask, statement};
use crate::encrypted::{Queued, Remembered};
use crate::index::parts;
use crate::migrations::{self, Dialect};
use crate::swept::Swept;
use crate::together::Together;
use crate::{RevocationIndex, Server, StoreError, embedded, scope};

/// The tenant of a simple installation.
pub const DEFAULT_TENANT: &str = "default";

/// An open store; cloning shares it.
#[derive(Debug, Clone)]
pub struct Store {
    /// The file, or the address of the database.
    pub(crate) name: PathBuf,
    pub(crate) pool: Pool,
    /// The database did not answer when it was last asked; [`Store::revision`] finds out that it is back.
    pub(crate) silent: Arc<AtomicBool>,
    /// When what is too old was last looked for.
    pub(crate) swept: Arc<Swept>,
    /// Encrypted mail that waits to be remembered.
    pub(crate) together: Arc<Together<Queued, Remembered>>,
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
        let connections = file(path, options, 4).await?;
        let done = migrations::build(&connections).await;
        let store = Self::over(path, Pool::Sqlite(connections));
        store.built(done).map(|()| store)
    }

    /// Reaches a database and brings its schema up to date. A schema newer than this program's is refused.
    ///
    /// # Errors
    /// When it cannot be reached now. Later the store finds its way back by itself.
    pub async fn connect(server: &Server) -> Result<Self, StoreError> {
        server.knock().await?;
        let building = server.pool_to_build();
        let done = migrations::migrator(Dialect::Postgres).run(&building).await;
        building.close().await;
        let connections = Connections::new(server.pool());
        let store = Self::over(server.name(), Pool::Postgres(connections));
        store.built(done).map(|()| store)
    }

    /// Opens a store that is there to look into it: nothing in it is changed, nor its schema. A
    /// schema of another version than this program's is refused.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        if matches!(path.try_exists(), Ok(false)) {
            return Err(StoreError::absent(path));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(TIME_LIMIT);
        let connections = file(path, options, 1).await?;
        Self::over(path, Pool::Sqlite(connections))
            .of_this_schema()
            .await
    }

    /// The same for a database.
    ///
    /// # Errors
    /// When it cannot be reached, or nothing of ours is in it.
    pub async fn connect_to_read(server: &Server) -> Result<Self, StoreError> {
        server.knock().await?;
        let pool = Pool::Postgres(Connections::new(server.pool_to_read()));
        Self::over(server.name(), pool).of_this_schema().await
    }

    fn over(name: &Path, pool: Pool) -> Self {
        Self {
            name: name.to_owned(),
            pool,
            silent: Arc::default(),
            swept: Arc::default(),
            together: Arc::default(),
        }
    }

    fn built(&self, done: Result<(), MigrateError>) -> Result<(), StoreError> {
        match done {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(found)) => Err(self.newer(found)),
            Err(error) => Err(self.database(&error.to_string())),
        }
    }

    async fn of_this_schema(self) -> Result<Self, StoreError> {
        let text = "SELECT max(version) FROM _sqlx_migrations";
        let found = statement!(self, fetch_one as (Option<i64>,): text).await;
        let found = match found {
            Ok((found,)) => found.unwrap_or_default(),
            Err(error) if is_no_table(&error) => return Err(StoreError::absent(&self.name)),
            Err(error) => return Err(self.failed(&error)),
        };
        let known = migrations::newest();
        match found.cmp(&known) {
            Ordering::Equal => Ok(self),
            Ordering::Greater => Err(self.newer(found)),
            Ordering::Less => Err(self.database(&format!(
                "its schema is {found}, older than {known}; \"kenin run\" brings it up to date"
            ))),
        }
    }

    fn newer(&self, found: i64) -> StoreError {
        StoreError::NewerSchema {
            path: self.name.clone(),
            found,
            known: migrations::newest(),
        }
    }

    /// What it is called in messages: its file, or the address of its database.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Whether other nodes may change it too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Keeps a list unless one of the same scope is there that is as new; says whether it was
    /// kept. An older list never replaces a newer one. Of a long one the store has all but the entries.
    /// `by` is the key that verified it.
    pub async fn put_crl(
        &self,
        tenant: &str,
        crl: &Crl,
        by: &PublicKey,
    ) -> Result<bool, StoreError> {
        // It is from here.
        if crl.is_absent() {
            return Ok(false);
        }
        let scope = scope::of(crl, Some(by));
        let (issuer, number) = (crl.issuer().canonical(), scope::number(crl));
        let (bytes, indexed) = match crl.abridged() {
            Some(rest) => (
                Cow::Owned(parts::to_bytes(&rest)),
                Some(crl.sha256().to_vec()),
            ),
            None => (Cow::Borrowed(crl.der()), None),
        };
        let mut change = self.begin_alone(tenant).await?;
        let held = ask!(self, change.fetch_optional as (Vec<u8>, i64):
            "SELECT number, this_update FROM crl WHERE tenant = $1 AND issuer = $2 AND scope = $3",
            tenant, issuer, scope.as_slice())?;
        if let Some((held_number, held_time)) = held {
            let new = (number.as_slice(), crl.this_update().0);
            if scope::order(new, (held_number.as_slice(), held_time)) != Ordering::Greater {
                return Ok(false);
            }
        }
        // Megabytes take their time on a narrow line.
        self.take_time(&mut change).await?;
        let put = statement!(self, change.execute:
            "INSERT INTO crl (tenant, issuer, scope, number, this_update, next_update, der, indexed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (tenant, issuer, scope) DO UPDATE SET number = excluded.number, \
             this_update = excluded.this_update, next_update = excluded.next_update, \
             der = excluded.der, indexed = excluded.indexed",
            tenant, issuer, scope.as_slice(), number.as_slice(), crl.this_update().0,
            crl.next_update().map(|time| time.0), &*bytes, indexed);
        self.attempt(WRITING, put).await?;
        self.commit(tenant, change).await?;
        Ok(true)
    }

    /// The certificates that may issue others and may be used.
    pub async fn authorities(&self, tenant: &str) -> Result<Vec<Certificate>, StoreError> {
        let mut reading = self.begin_reading().await?;
        let rows = statement!(self, reading.fetch_all as (Vec<u8>,):
            "SELECT der FROM certificate WHERE tenant = $1 AND authority = 1 AND quarantined = 0 ORDER BY sha256",
            tenant);
        let rows = self.attempt(READING, rows).await?;
        rows.iter().map(|(der,)| self.certificate(der)).collect()
    }

    /// All current revocation lists; the long ones from their index. One that is not there, or not whole, is absent
    /// ([`Crl::is_absent`]): nobody who might be on it is good.
    pub async fn crls(
        &self,
        tenant: &str,
        index: &RevocationIndex,
    ) -> Result<Vec<Crl>, StoreError> {
        let mut reading = self.begin_reading().await?;
        let rows = statement!(self, reading.fetch_all as (Vec<u8>, Option<Vec<u8>>):
            "SELECT der, indexed FROM crl WHERE tenant = $1 ORDER BY issuer, scope",
            tenant);
        let rows = self.attempt(READING, rows).await?;
        let mut crls = Vec::with_capacity(rows.len());
        for (der, indexed) in rows {
            match indexed.map(<[u8; 32]>::try_from) {
                None => {
                    let crl = Crl::from_der(&der);
                    crls.push(crl.map_err(|error| self.database(&error.to_string()))?);
                }
                Some(Ok(sha256)) => match index.open_list(&sha256) {
                    Ok(crl) => crls.push(crl),
                    Err(_) => crls.extend(absent(&der, &sha256)),
                },
                Some(Err(_)) => {}
            }
        }
        Ok(crls)
    }

    /// The counter of changes: 0 in a new store.
    ///
    /// Whoever uses a store asks for it all the time. So this is the one question that a database is asked
    /// even while it is known not to answer.
    pub async fn revision(&self, tenant: &str) -> Result<i64, StoreError> {
        let number = statement!(self, fetch_optional as (i64,):
            "SELECT number FROM revision WHERE tenant = $1", tenant);
        let number = self.attempt(REVISION, number).await?;
        Ok(number.map_or(0, |(number,)| number))
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
        ask!(self, execute: "DELETE FROM aborted WHERE tenant = $1 AND last_at < $2", tenant, since)?;
        let rows = ask!(self, fetch_all as (i64,):
            "INSERT INTO aborted (tenant, hash, times, last_at) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (tenant, hash) DO UPDATE SET times = aborted.times + 1, \
             last_at = excluded.last_at RETURNING times",
            tenant, hash.as_slice(), now)?;
        self.only(rows).map(|(times,)| times)
    }

    /// Writes everything out and closes the file, or leaves the database.
    pub async fn close(self) {
        match self.pool {
            Pool::Sqlite(connections) => connections.close().await,
            Pool::Postgres(connections) => {
                // One that is silent is not waited for.
                let _ = tokio::time::timeout(TIME_LIMIT, connections.current().close()).await;
            }
        }
    }

    pub(crate) async fn commit(&self, tenant: &str, mut change: Change) -> Result<(), StoreError> {
        ask!(self, change.execute:
            "INSERT INTO revision (tenant, number) VALUES ($1, 1) \
             ON CONFLICT (tenant) DO UPDATE SET number = revision.number + 1",
            tenant)?;
        self.keep(change).await
    }

    pub(crate) fn certificate(&self, der: &[u8]) -> Result<Certificate, StoreError> {
        Certificate::from_der(der).map_err(|error| self.database(&error.to_string()))
    }
}

async fn file(
    path: &Path,
    options: SqliteConnectOptions,
    connections: u32,
) -> Result<embedded::Connections, StoreError> {
    // What a statement sorts, or may have to take back, is no file in a common folder.
    let options = options.pragma("temp_store", "MEMORY");
    let opened = embedded::Connections::open(options, connections).await;
    opened.map_err(|error| StoreError::Database {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

/// A list of which only this is here. Nothing where a version that kept its name alone wrote it: then it comes with the
/// next list.
fn absent(bytes: &[u8], sha256: &[u8; 32]) -> Option<Crl> {
    let rest = parts::from_bytes(bytes).filter(|rest| rest.sha256 == *sha256)?;
    Crl::absent(&rest).ok()
}

/// Whether PostgreSQL has nothing of this name (`undefined_table`).
fn is_no_table(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|said| said.code());
    code.is_some_and(|code| code == "42P01")
}

/// The store's part of our budget for one message.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// How long the counter of changes is waited for.
const REVISION: Duration = Duration::from_secs(3);
const DAY: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests;
