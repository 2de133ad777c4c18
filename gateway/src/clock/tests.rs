use std::cell::Cell;

use super::*;

thread_local! {
    /// Seconds that have passed on both clocks of this thread's test.
    static PASSED: Cell<u64> = const { Cell::new(0) };
}

/// Just after boot, on a day on which there is such a program.
fn told() -> (SystemTime, Duration) {
    let passed = PASSED.get();
    let up = Duration::from_secs(60 + passed);
    (at(start().plus(i64::try_from(passed).unwrap())), up)
}

/// A clock that was just started.
fn started() -> Clock {
    PASSED.set(0);
    Clock::new(told)
}

fn start() -> UnixTime {
    EARLIEST.plus(86_400)
}

fn at(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.0).unwrap())
}

fn pass(seconds: u64) {
    PASSED.set(PASSED.get() + seconds);
}

async fn stored(store: &Store) -> Option<i64> {
    let mark = store.clock_mark(DEFAULT_TENANT).await.unwrap();
    mark.map(|mark| mark.time.0 - start().0)
}

#[tokio::test]
async fn the_mark_in_the_store_follows_the_clock_every_ten_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let clock = started();
    for (seconds, wanted) in [
        (0, None),
        (599, None),
        (1, Some(600)),
        (5, Some(600)),
        (594, Some(600)),
        (1, Some(1200)),
    ] {
        pass(seconds);
        clock.exchange(&store).await.unwrap();
        assert_eq!(stored(&store).await, wanted, "{seconds}");
    }
    assert_eq!(store.revision(DEFAULT_TENANT).await.unwrap(), 0);
}

#[tokio::test]
async fn a_mark_in_the_store_is_gone_by_until_somebody_resets_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let clock = started();
    assert_eq!(clock.read().trust, Trust::Yes);
    let ahead = ClockMark {
        time: start().plus(31_557_600),
        resets: 0,
    };
    let raised = store.raise_clock_mark(DEFAULT_TENANT, ahead).await;
    assert!(raised.unwrap());
    clock.exchange(&store).await.unwrap();
    assert_eq!(clock.read().trust, Trust::BeforeMark);
    let reset = store.reset_clock_mark(DEFAULT_TENANT, start()).await;
    reset.unwrap();
    assert_eq!(clock.read().trust, Trust::BeforeMark, "nobody has told it");
    clock.exchange(&store).await.unwrap();
    let moment = clock.read();
    assert_eq!(moment.trust, Trust::Yes);
    assert_eq!(moment.time, at(start()));
    // From then on it is raised again.
    pass(600);
    clock.exchange(&store).await.unwrap();
    assert_eq!(stored(&store).await, Some(600));
}

#[tokio::test]
async fn a_start_goes_by_the_mark_and_by_its_resets() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let ahead = start().plus(31_557_600);
    let reset = store.reset_clock_mark(DEFAULT_TENANT, ahead).await;
    assert_eq!(reset.unwrap().resets, 1);
    let clock = started();
    clock.exchange(&store).await.unwrap();
    assert_eq!(clock.read().trust, Trust::BeforeMark);
}
