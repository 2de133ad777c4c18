//! The mark: the latest time that a wall clock was believed to tell. It lies in the store, so that a restart and the
//! other nodes know it. When it may be raised is for the caller to know; nothing here reads a clock.

use kenin_pki::time::UnixTime;

use crate::database::ask;
use crate::{Store, StoreError};

/// The mark as it lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The latest time that was believed.
    pub time: UnixTime,
    /// How often somebody set it back: another number says that what was believed before counts no more.
    pub resets: i64,
}

impl Store {
    /// The mark; nothing where no time was believed yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clock_mark(&self, tenant: &str) -> Result<Option<ClockMark>, StoreError> {
        let row = ask!(self, fetch_optional as (i64, i64):
            "SELECT mark, resets FROM clock WHERE tenant = $1", tenant)?;
        Ok(row.map(|(time, resets)| ClockMark {
            time: UnixTime(time),
            resets,
        }))
    }

    /// Raises the mark to this one; says whether it did. It is never lowered by this, and not raised by somebody who
    /// has not seen that it was set back since.
    ///
    /// The counter of changes stays: no snapshot is made of it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn raise_clock_mark(
        &self,
        tenant: &str,
        mark: ClockMark,
    ) -> Result<bool, StoreError> {
        let rows = ask!(self, execute:
            "INSERT INTO clock (tenant, mark, resets) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant) DO UPDATE SET mark = excluded.mark \
             WHERE clock.resets = excluded.resets AND clock.mark < excluded.mark",
            tenant, mark.time.0, mark.resets)?;
        Ok(rows > 0)
    }

    /// Sets the mark to this time, later or earlier than it was, because somebody says so; gives what it is now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reset_clock_mark(
        &self,
        tenant: &str,
        time: UnixTime,
    ) -> Result<ClockMark, StoreError> {
        let rows = ask!(self, fetch_all as (i64, i64):
            "INSERT INTO clock (tenant, mark, resets) VALUES ($1, $2, 1) \
             ON CONFLICT (tenant) DO UPDATE SET mark = excluded.mark, resets = clock.resets + 1 \
             RETURNING mark, resets",
            tenant, time.0)?;
        let (time, resets) = self.only(rows)?;
        Ok(ClockMark {
            time: UnixTime(time),
            resets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_TENANT;
    use crate::database::statement;
    use crate::testplace::{Place, on_both};

    on_both!(
        the_mark_is_raised_and_found_after_opening_again,
        who_did_not_see_a_reset_raises_nothing,
        tenants_have_marks_of_their_own,
    );

    fn mark(time: i64, resets: i64) -> ClockMark {
        ClockMark {
            time: UnixTime(time),
            resets,
        }
    }

    async fn the_mark_is_raised_and_found_after_opening_again(place: &Place) {
        let store = place.open().await;
        assert_eq!(store.clock_mark(DEFAULT_TENANT).await.unwrap(), None);
        for (time, raised) in [(1000, true), (999, false), (1000, false), (1001, true)] {
            let done = store.raise_clock_mark(DEFAULT_TENANT, mark(time, 0)).await;
            assert_eq!(done.unwrap(), raised, "{time}");
        }
        assert_eq!(store.revision(DEFAULT_TENANT).await.unwrap(), 0);
        store.close().await;
        // Beyond what 32 bits count.
        let store = place.open().await;
        let found = store.clock_mark(DEFAULT_TENANT).await.unwrap();
        assert_eq!(found, Some(mark(1001, 0)));
        let late = mark(i64::from(u32::MAX) + 1, 0);
        assert!(store.raise_clock_mark(DEFAULT_TENANT, late).await.unwrap());
        let found = store.clock_mark(DEFAULT_TENANT).await.unwrap();
        assert_eq!(found, Some(late));
    }

    async fn who_did_not_see_a_reset_raises_nothing(place: &Place) {
        let (one, other) = (place.open().await, place.open().await);
        let raised = one.raise_clock_mark(DEFAULT_TENANT, mark(9000, 0)).await;
        assert!(raised.unwrap());
        let reset = other.reset_clock_mark(DEFAULT_TENANT, UnixTime(2000)).await;
        assert_eq!(reset.unwrap(), mark(2000, 1));
        let raised = one.raise_clock_mark(DEFAULT_TENANT, mark(9001, 0)).await;
        assert!(!raised.unwrap());
        let found = one.clock_mark(DEFAULT_TENANT).await.unwrap();
        assert_eq!(found, Some(mark(2000, 1)));
        let raised = one.raise_clock_mark(DEFAULT_TENANT, mark(2001, 1)).await;
        assert!(raised.unwrap());
        let reset = one.reset_clock_mark(DEFAULT_TENANT, UnixTime(3000)).await;
        assert_eq!(reset.unwrap(), mark(3000, 2));
    }

    async fn tenants_have_marks_of_their_own(place: &Place) {
        let store = place.open().await;
        // The first word may be a reset.
        let reset = store.reset_clock_mark("one", UnixTime(2000)).await;
        assert_eq!(reset.unwrap(), mark(2000, 1));
        assert_eq!(store.clock_mark("two").await.unwrap(), None);
        let raised = store.raise_clock_mark("two", mark(1, 0)).await;
        assert!(raised.unwrap());
        let found = store.clock_mark("one").await.unwrap();
        assert_eq!(found, Some(mark(2000, 1)));
    }

    /// SQLite says that a change does not count after the row that says what it was.
    #[tokio::test]
    async fn a_mark_that_does_not_count_is_not_set() {
        let place = Place::sqlite();
        let store = place.open().await;
        for text in [
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TRIGGER late AFTER INSERT ON clock BEGIN INSERT INTO child VALUES (1); END",
        ] {
            statement!(store, execute: text).await.unwrap();
        }
        let reset = store.reset_clock_mark(DEFAULT_TENANT, UnixTime(1000));
        assert!(reset.await.is_err());
        assert_eq!(store.clock_mark(DEFAULT_TENANT).await.unwrap(), None);
    }
}
