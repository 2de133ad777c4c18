//! Connections to the file of a store that is SQLite's.
//!
//! A pool for databases in general asks a connection whether it is still there, before it lends it and when it comes back.
//! To SQLite each question is two wake-ups of the thread that has the connection, as many as for a statement; and a file does
//! not hang up. Here a connection is lent as it is, and the one that came back last first: what it has read is at hand.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections to one file.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    options: SqliteConnectOptions,
    /// Those that nobody has.
    idle: Mutex<Vec<SqliteConnection>>,
    /// As many as may be open at one time.
    places: Arc<Semaphore>,
    most: u32,
}

impl Connections {
    /// Opens the first of so many.
    pub(crate) async fn open(options: SqliteConnectOptions, most: u32) -> sqlx::Result<Self> {
        let first = options.connect().await?;
        let places = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Shared {
            options,
            idle: Mutex::new(vec![first]),
            places: Arc::new(Semaphore::new(places)),
            most,
        })))
    }

    /// One that nobody else has until it is dropped. It is waited for, as for a lock of the file.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent> {
        let places = || Arc::clone(&self.0.places);
        let place = match places().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => timeout(PATIENCE, places().acquire_owned())
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)?
                .map_err(|_| sqlx::Error::PoolClosed)?,
        };
        let idle = self.0.idle().pop();
        let connection = match idle {
            Some(idle) => idle,
            None => self.0.options.connect().await?,
        };
        Ok(Lent {
            connection: Some(connection),
            shared: Arc::clone(&self.0),
            _place: place,
        })
    }

    /// Begins a transaction; `alone` says whether no other may write from its beginning on.
    pub(crate) async fn begin(&self, alone: bool) -> sqlx::Result<Begun> {
        let lent = self.lend().await?;
        // From now on: whoever stops waiting does not hear whether it has begun.
        let mut begun = Begun { lent: Some(lent) };
        let statement = match alone {
            true => "BEGIN IMMEDIATE; SELECT 1",
            false => "BEGIN; SELECT 1",
        };
        finished(begun.connection()?, statement).await?;
        Ok(begun)
    }

    /// Waits until all are back, and closes them: what was written is in the file itself then. There are none after that.
    pub(crate) async fn close(&self) {
        let shared = &self.0;
        // An error says that somebody has closed them.
        let Ok(_all) = shared.places.acquire_many(shared.most).await else {
            return;
        };
        shared.places.close();
        let all = std::mem::take(&mut *shared.idle());
        for one in all {
            // What counts is on the disk, if not in the file then in the log beside it.
            let _ = one.close().await;
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that somebody has. It goes back when it is dropped.
pub(crate) struct Lent {
    /// Nothing once it is closed.
    connection: Option<SqliteConnection>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl Lent {
    pub(crate) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives it back with what was done. One whose thread has ended is not lent on.
    pub(crate) fn back<T>(mut self, done: sqlx::Result<T>) -> sqlx::Result<T> {
        if matches!(done, Err(sqlx::Error::WorkerCrashed)) {
            self.connection = None;
        }
        done
    }

    /// Ends a transaction that may have begun. SQLite ends some by itself, as on a full disk: where there is none, or that
    /// cannot be known, nobody else gets the connection.
    async fn roll_back(mut self) {
        // Nor does anybody where this ends early.
        let Some(mut own) = self.connection.take() else {
            return;
        };
        match finished(&mut own, "ROLLBACK; SELECT 1").await {
            Ok(()) => self.connection = Some(own),
            // Its place is free when the file is closed.
            Err(_) => drop(own.close().await),
        }
    }
}

/// Has this done, which gives a row at its end: where the thread of the connection ends meanwhile there is no other error.
async fn finished(connection: &mut SqliteConnection, statement: &'static str) -> sqlx::Result<()> {
    let row = sqlx::query(statement).fetch_optional(connection).await?;
    row.map(drop).ok_or(sqlx::Error::WorkerCrashed)
}

impl Drop for Lent {
    fn drop(&mut self) {
        let back = self.connection.take();
        self.shared.idle().extend(back);
    }
}

/// A transaction. What was done in it does not count where it is dropped.
pub(crate) struct Begun {
    /// Nothing once it counts.
    lent: Option<Lent>,
}

impl Begun {
    pub(crate) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let lent = self.lent.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        lent.connection()
    }

    /// Makes it count.
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        finished(self.connection()?, "COMMIT; SELECT 1").await?;
        self.lent = None;
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut lent) = self.lent.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(lent.roll_back())),
            // SQLite rolls back what is open when it closes.
            Err(_) => lent.connection = None,
        }
    }
}

/// How long one is waited for: the store's part of our time for one message.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// Two connections to a file with a table of numbers.
    async fn two() -> (tempfile::TempDir, Connections) {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("numbers"))
            .create_if_missing(true)
            .busy_timeout(Duration::ZERO);
        let both = Connections::open(options, 2).await.unwrap();
        done(&both, "CREATE TABLE numbers (number INTEGER)").await;
        (folder, both)
    }

    async fn done(of: &Connections, statement: &'static str) {
        let mut lent = of.lend().await.unwrap();
        let done = sqlx::query(statement).execute(lent.connection().unwrap());
        done.await.unwrap();
    }

    async fn count(of: &Connections) -> i64 {
        let mut lent = of.lend().await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM numbers");
        count.fetch_one(lent.connection().unwrap()).await.unwrap()
    }

    async fn one_more(begun: &mut Begun) {
        let insert = sqlx::query("INSERT INTO numbers VALUES (7)");
        insert.execute(begun.connection().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_dropped_does_not_count_and_holds_nobody_up() {
        let (_folder, both) = two().await;
        let mut begun = both.begin(true).await.unwrap();
        one_more(&mut begun).await;
        drop(begun);
        // Both are there once it is rolled back.
        drop((both.lend().await.unwrap(), both.lend().await.unwrap()));
        assert_eq!(count(&both).await, 0);
        let mut begun = both.begin(true).await.unwrap();
        one_more(&mut begun).await;
        begun.commit().await.unwrap();
        assert_eq!(count(&both).await, 1);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_is_not_lent_on() {
        let (_folder, both) = two().await;
        let mut begun = both.begin(false).await.unwrap();
        let ended = sqlx::query("ROLLBACK").execute(begun.connection().unwrap());
        ended.await.unwrap();
        let error = begun.commit().await.unwrap_err().to_string();
        assert!(error.contains("no transaction is active"), "{error}");
        drop((both.lend().await.unwrap(), both.lend().await.unwrap()));
        for _ in 0..2 {
            let mut begun = both.begin(true).await.unwrap();
            one_more(&mut begun).await;
            begun.commit().await.unwrap();
        }
        assert_eq!(count(&both).await, 2);
    }

    #[tokio::test]
    async fn dropped_where_no_runtime_is_it_does_not_count_either() {
        let (_folder, both) = two().await;
        let mut begun = both.begin(true).await.unwrap();
        one_more(&mut begun).await;
        std::thread::spawn(move || drop(begun)).join().unwrap();
        // The lock goes when its thread has closed the file.
        let mut last = sqlx::Error::PoolClosed;
        for _ in 0..1000 {
            match both.begin(true).await {
                Ok(begun) => {
                    begun.commit().await.unwrap();
                    assert_eq!(count(&both).await, 0);
                    return;
                }
                Err(error) => last = error,
            }
            tokio::task::yield_now().await;
        }
        panic!("{last}");
    }

    #[tokio::test]
    async fn closing_waits_for_all_and_then_there_are_none() {
        let (folder, both) = two().await;
        let mut begun = both.begin(true).await.unwrap();
        one_more(&mut begun).await;
        let closing = tokio::spawn({
            let both = both.clone();
            async move { both.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        begun.commit().await.unwrap();
        closing.await.unwrap();
        both.close().await;
        assert!(matches!(both.lend().await, Err(sqlx::Error::PoolClosed)));
        let again = SqliteConnectOptions::new().filename(folder.path().join("numbers"));
        assert_eq!(count(&Connections::open(again, 1).await.unwrap()).await, 1);
    }
}
