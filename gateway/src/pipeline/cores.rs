//! The right to calculate on a core, which a message gives back while it only waits: one that asks somebody over the
//! network must not keep others from being judged. Decides nothing.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, TryCurrentError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A core, for as long as the thread of one message calculates.
pub(crate) struct Core {
    cores: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// When nobody waits for the message any more.
    end: Instant,
    work: Arc<Work>,
}

/// How long a message has had its core, and not only waited.
#[derive(Debug)]
pub(super) struct Work(Mutex<Spent>);

#[derive(Debug)]
struct Spent {
    before: Duration,
    /// Since when it has it now.
    since: Option<Instant>,
}

impl Core {
    /// The next that becomes free, for a message that has until then; nothing where there will be none.
    pub(crate) async fn take(cores: &Arc<Semaphore>, end: Instant) -> Option<Self> {
        let permit = Arc::clone(cores).acquire_owned().await.ok()?;
        let spent = Spent {
            before: Duration::ZERO,
            since: Some(Instant::now()),
        };
        Some(Self {
            cores: Arc::clone(cores),
            permit: Mutex::new(Some(permit)),
            end,
            work: Arc::new(Work(Mutex::new(spent))),
        })
    }

    /// What tells how long it was had.
    pub(super) fn work(&self) -> Arc<Work> {
        Arc::clone(&self.work)
    }

    /// Whether nobody waits for the message any more.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Runs this to its end without the core, and takes one again.
    fn without<T>(&self, runtime: &Handle, wait: impl Future<Output = T>) -> T {
        self.work.pause();
        drop(self.swap(None));
        let out = runtime.block_on(wait);
        let permit = runtime.block_on(Arc::clone(&self.cores).acquire_owned());
        drop(self.swap(permit.ok()));
        self.work.resume();
        out
    }

    fn swap(&self, permit: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
        let mut own = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut *own, permit)
    }
}

impl Work {
    /// Until now.
    pub(super) fn spent(&self) -> Duration {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = spent.since.map_or(Duration::ZERO, |since| since.elapsed());
        spent.before.saturating_add(now)
    }

    fn pause(&self) {
        let before = self.spent();
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = Spent {
            before,
            since: None,
        };
    }

    fn resume(&self) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.since = Some(Instant::now());
    }
}

/// Waits on a thread that may: without its core, where it has one.
pub(crate) struct Waiter<'c> {
    runtime: Handle,
    core: Option<&'c Core>,
}

impl<'c> Waiter<'c> {
    /// For this thread.
    ///
    /// # Errors
    /// When it may not wait, or nobody waits for what it does.
    pub(crate) fn here(core: Option<&'c Core>) -> Result<Self, NoWaiting> {
        if core.is_some_and(Core::is_over) {
            return Err(NoWaiting::Over);
        }
        let runtime = Handle::try_current()?;
        Ok(Self { runtime, core })
    }

    /// Runs this to its end.
    pub(crate) fn block_on<T>(&self, wait: impl Future<Output = T>) -> T {
        match self.core {
            Some(core) => core.without(&self.runtime, wait),
            None => self.runtime.block_on(wait),
        }
    }
}

/// Why nothing can be waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWaiting {
    #[error("the time for the message is over")]
    Over,
    #[error(transparent)]
    Thread(#[from] TryCurrentError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Later than any test ends.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[tokio::test]
    async fn who_waits_has_no_core_and_who_calculates_has_one() {
        let cores = Arc::new(Semaphore::new(1));
        let core = Core::take(&cores, later()).await.unwrap();
        let work = core.work();
        assert_eq!(cores.available_permits(), 0);
        let others = Arc::clone(&cores);
        let job = tokio::task::spawn_blocking(move || {
            let waiter = Waiter::here(Some(&core)).unwrap();
            // Another one has its turn meanwhile; it would wait for ever.
            let other = waiter.block_on(async { others.acquire().await.map(drop) });
            assert!(other.is_ok());
            assert_eq!(others.available_permits(), 0);
            assert_eq!(waiter.block_on(async { others.available_permits() }), 1);
            Waiter::here(None).unwrap().block_on(async {});
            assert_eq!(others.available_permits(), 0);
            core.work.pause();
        });
        job.await.unwrap();
        assert_eq!(cores.available_permits(), 1);
        assert_eq!(work.spent(), work.spent(), "it counts on without a core");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_no_work() {
        let core = Core::take(&Arc::new(Semaphore::new(1)), later()).await;
        let core = core.unwrap();
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        core.work.pause();
        tokio::time::advance(second * 5).await;
        assert_eq!(core.work.spent(), second);
        core.work.resume();
        tokio::time::advance(second).await;
        assert_eq!(core.work.spent(), second * 2);
        assert!(!core.is_over());
        tokio::time::advance(second * 600).await;
        assert!(core.is_over());
        assert!(matches!(Waiter::here(Some(&core)), Err(NoWaiting::Over)));
    }
}
