//! The two kinds of database behind a store, and how they are asked.
//!
//! Every statement is written once, in the words that both know: numbered placeholders, `ON CONFLICT`, `RETURNING`;
//! values are text, bytes and 64-bit numbers, and a truth is read where one is computed. What differs stands in this
//! file and in [`crate::migrations`].

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::{PgPool, Postgres, Transaction};

use crate::{Store, StoreError, embedded};

/// Open connections.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(embedded::Connections),
    Postgres(Connections),
}

/// Connections to a server, which are given up together where it falls silent. One that waits for a peer that is gone
/// holds its place in a pool for as long as TCP tries, a quarter of an hour: the pool itself waits without a limit when
/// a connection comes back to it, and gives nobody its sockets to set one.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<RwLock<Current>>);

#[derive(Debug)]
struct Current {
    pool: PgPool,
    /// Which it is, of all there were.
    number: u64,
}

impl Connections {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self(Arc::new(RwLock::new(Current { pool, number: 0 })))
    }

    /// The pool that is in use.
    pub(crate) fn current(&self) -> PgPool {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.pool.clone()
    }

    /// Which one that is.
    fn number(&self) -> u64 {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.number
    }

    /// Puts another in the place of this one, unless somebody has.
    fn give_up(&self, number: u64) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.number != number {
            return;
        }
        let options = (*current.pool.connect_options()).clone();
        let fresh = current.pool.options().clone().connect_lazy_with(options);
        // Not closed: who waits for a connection of the old one is not told that there is none. It goes with the last
        // of them, and what hangs in it holds up nobody any more.
        current.pool = fresh;
        current.number = number.wrapping_add(1);
    }
}

/// Statements that count all or not at all; those of one that is dropped do not count.
pub(crate) enum Change {
    Sqlite(embedded::Begun),
    Postgres(Transaction<'static, Postgres>),
}

impl Change {
    /// The same for [`statement!`], whether it is held or lent.
    pub(crate) fn lent(&mut self) -> &mut Self {
        self
    }
}

/// One statement as a future, once for both kinds of database:
/// `statement!(self, fetch_all as (Vec<u8>, i64): "SELECT …", value, value)` gives rows as tuples,
/// `statement!(self, execute: "DELETE …", value)` how many rows it changed. With `change.` in front of the verb it is
/// part of a [`Change`], and can have values of several rows behind its own: `…, value; for row in &rows => cell, cell`.
macro_rules! statement {
    ($store:ident, execute: $text:expr $(, $value:expr)* $(,)?) => {
        async {
            match &$store.pool {
                $crate::database::Pool::Sqlite(all) => {
                    let mut lent = all.lend().await?;
                    let done = sqlx::query::<sqlx::Sqlite>($text)
                        $(.bind($value))*
                        .execute(lent.connection()?)
                        .await;
                    lent.back(done).map(|done| done.rows_affected())
                }
                $crate::database::Pool::Postgres(all) => sqlx::query::<sqlx::Postgres>($text)
                    $(.bind($value))*
                    .execute(&all.current())
                    .await
                    .map(|done| done.rows_affected()),
            }
        }
    };
    ($store:ident, $how:ident as $row:ty: $text:expr $(, $value:expr)* $(,)?) => {
        async {
            match &$store.pool {
                $crate::database::Pool::Sqlite(all) => {
                    let mut lent = all.lend().await?;
                    let done = sqlx::query_as::<sqlx::Sqlite, $row>($text)
                        $(.bind($value))*
                        .$how(lent.connection()?)
                        .await;
                    lent.back(done)
                }
                $crate::database::Pool::Postgres(all) => sqlx::query_as::<sqlx::Postgres, $row>($text)
                    $(.bind($value))*
                    .$how(&all.current())
                    .await,
            }
        }
    };
    ($store:ident, $change:ident.execute: $text:expr $(, $value:expr)* $(,)?) => {
        async {
            match $change.lent() {
                $crate::database::Change::Sqlite(open) => sqlx::query::<sqlx::Sqlite>($text)
                    $(.bind($value))*
                    .execute(open.connection()?)
                    .await
                    .map(|done| done.rows_affected()),
                $crate::database::Change::Postgres(open) => sqlx::query::<sqlx::Postgres>($text)
                    $(.bind($value))*
                    .execute(&mut **open)
                    .await
                    .map(|done| done.rows_affected()),
            }
        }
    };
    ($store:ident, $change:ident.$how:ident as $row:ty: $text:expr $(, $value:expr)* $(,)?) => {
        async {
            match $change.lent() {
                $crate::database::Change::Sqlite(open) => sqlx::query_as::<sqlx::Sqlite, $row>($text)
                    $(.bind($value))*
                    .$how(open.connection()?)
                    .await,
                $crate::database::Change::Postgres(open) => sqlx::query_as::<sqlx::Postgres, $row>($text)
                    $(.bind($value))*
                    .$how(&mut **open)
                    .await,
            }
        }
    };
    ($store:ident, $change:ident.execute: $text:expr $(, $value:expr)*;
     for $one:ident in $rows:expr => $($cell:expr),+ $(,)?) => {
        async {
            match $change.lent() {
                $crate::database::Change::Sqlite(open) => {
                    let mut query = sqlx::query::<sqlx::Sqlite>($text)$(.bind($value))*;
                    for $one in $rows {
                        query = query$(.bind($cell))+;
                    }
                    query.execute(open.connection()?).await.map(|done| done.rows_affected())
                }
                $crate::database::Change::Postgres(open) => {
                    let mut query = sqlx::query::<sqlx::Postgres>($text)$(.bind($value))*;
                    for $one in $rows {
                        query = query$(.bind($cell))+;
                    }
                    query.execute(&mut **open).await.map(|done| done.rows_affected())
                }
            }
        }
    };
    ($store:ident, $change:ident.$how:ident as $row:ty: $text:expr $(, $value:expr)*;
     for $one:ident in $rows:expr => $($cell:expr),+ $(,)?) => {
        async {
            match $change.lent() {
                $crate::database::Change::Sqlite(open) => {
                    let mut query = sqlx::query_as::<sqlx::Sqlite, $row>($text)$(.bind($value))*;
                    for $one in $rows {
                        query = query$(.bind($cell))+;
                    }
                    query.$how(open.connection()?).await
                }
                $crate::database::Change::Postgres(open) => {
                    let mut query = sqlx::query_as::<sqlx::Postgres, $row>($text)$(.bind($value))*;
                    for $one in $rows {
                        query = query$(.bind($cell))+;
                    }
                    query.$how(&mut **open).await
                }
            }
        }
    };
}
pub(crate) use statement;

/// A [`statement!`] that is waited for, but not for longer than a message may wait.
macro_rules! ask {
    ($store:ident, $($rest:tt)+) => {
        $store
            .within($crate::database::statement!($store, $($rest)+))
            .await
    };
}
pub(crate) use ask;

impl Store {
    /// Waits for an answer, but not for longer than a message may wait. While the database is known to be silent
    /// there is none: where one question waited in vain the next need not.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(self.database(SILENT));
        }
        self.attempt(ANSWER, work).await
    }

    /// The same for as long as this, and whatever is known: who asks this way finds out that the database is back.
    pub(crate) async fn attempt<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let Pool::Postgres(connections) = &self.pool else {
            // A file answers, or SQLite says in time that it is busy.
            return work.await.map_err(|error| self.failed(&error));
        };
        let number = connections.number();
        let (answer, silent) = match tokio::time::timeout(limit, work).await {
            Ok(Ok(answer)) => (Ok(answer), false),
            Ok(Err(error)) => (Err(self.failed(&error)), is_silence(&error)),
            Err(_) => {
                connections.give_up(number);
                (Err(self.database(SILENT)), true)
            }
        };
        self.silent.store(silent, Ordering::Relaxed);
        answer
    }

    /// Begins a change.
    pub(crate) async fn begin(&self) -> Result<Change, StoreError> {
        self.within(begun(&self.pool)).await
    }

    /// Begins a change that no other of this tenant runs beside: what it reads stays so until it is over.
    pub(crate) async fn begin_alone(&self, tenant: &str) -> Result<Change, StoreError> {
        self.within(begun_alone(&self.pool, tenant)).await
    }

    /// Begins to read much, which may take longer than a message may wait.
    pub(crate) async fn begin_reading(&self) -> Result<Change, StoreError> {
        self.within(begun_reading(&self.pool)).await
    }

    /// Lets the statements of a change take longer than a message may wait: up to [`WRITING`].
    pub(crate) async fn take_time(&self, change: &mut Change) -> Result<(), StoreError> {
        let Change::Postgres(open) = change else {
            return Ok(());
        };
        // As long as WRITING, in milliseconds.
        let set = sqlx::query("SET LOCAL statement_timeout = 20000").execute(&mut **open);
        self.within(async { set.await.map(drop) }).await
    }

    /// Makes a change count.
    pub(crate) async fn keep(&self, change: Change) -> Result<(), StoreError> {
        self.within(async move {
            match change {
                Change::Sqlite(open) => open.commit().await,
                Change::Postgres(open) => open.commit().await,
            }
        })
        .await
    }

    /// The one row of a statement that changes something by itself, of which all rows were fetched. Whoever fetches only the
    /// first one does not hear that SQLite could not make the change count: that comes after it.
    pub(crate) fn only<T>(&self, rows: Vec<T>) -> Result<T, StoreError> {
        let row = rows.into_iter().next();
        row.ok_or_else(|| self.database("it does not say what it changed"))
    }

    pub(crate) fn failed(&self, error: &sqlx::Error) -> StoreError {
        self.database(&error.to_string())
    }

    pub(crate) fn database(&self, message: &str) -> StoreError {
        StoreError::Database {
            path: self.name.clone(),
            message: message.to_owned(),
        }
    }
}

async fn begun(pool: &Pool) -> Result<Change, sqlx::Error> {
    Ok(match pool {
        Pool::Sqlite(all) => Change::Sqlite(all.begin(false).await?),
        Pool::Postgres(all) => Change::Postgres(all.current().begin().await?),
    })
}

async fn begun_alone(pool: &Pool, tenant: &str) -> Result<Change, sqlx::Error> {
    Ok(match pool {
        // Taken at once: two writers that both read first would deadlock.
        Pool::Sqlite(all) => Change::Sqlite(all.begin(true).await?),
        Pool::Postgres(all) => {
            let mut open = all.current().begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(tenant)
                .execute(&mut *open)
                .await?;
            Change::Postgres(open)
        }
    })
}

async fn begun_reading(pool: &Pool) -> Result<Change, sqlx::Error> {
    Ok(match pool {
        Pool::Sqlite(all) => Change::Sqlite(all.begin(false).await?),
        Pool::Postgres(all) => {
            let mut open = all.current().begin().await?;
            // As long as READING, in milliseconds.
            sqlx::query("SET LOCAL statement_timeout = 60000")
                .execute(&mut *open)
                .await?;
            Change::Postgres(open)
        }
    })
}

/// Whether nobody answered: everything that a database says itself is an answer, but for its saying that it is not
/// there (classes 08 and 57P, and 53: no connection left).
fn is_silence(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(said) => said.code().is_some_and(|code| {
            ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

const SILENT: &str = "it does not answer";
/// How long one statement takes at most, the way there and back included: the store's part of our time for one message.
/// A connection is waited for no longer than [`crate::server::CONNECTION`], and the database itself gives up after
/// [`crate::server::STATEMENT`]: less than this together, since one that is only slow is not given up.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a list may take to be written.
pub(crate) const WRITING: Duration = Duration::from_secs(20);
/// How long all certificates of authorities, or all lists, may take.
pub(crate) const READING: Duration = Duration::from_secs(60);
