//! The right to calculate on a core, which a message gives back while it only waits: one that asks somebody over the
//! network must not keep others from being judged. Decides nothing.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Handle, TryCurrentError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A core, for as long as the thread of one message calculates.
pub(crate) struct Core {
    cores: Arc<Semaphore>,
    permit: Cell<Option<OwnedSemaphorePermit>>,
    queued: Arc<AtomicBool>,
}

impl Core {
    /// The next that becomes free; nothing where there will be none.
    pub(super) async fn take(cores: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(cores).acquire_owned().await.ok()?;
        Some(Self {
            cores: Arc::clone(cores),
            permit: Cell::new(Some(permit)),
            queued: Arc::default(),
        })
    }

    /// Tells whether the message has waited for what it asked, and now waits for its turn again.
    pub(super) fn queued(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.queued)
    }

    /// Runs this to its end without the core, and takes one again.
    fn without<T>(&self, runtime: &Handle, wait: impl Future<Output = T>) -> T {
        drop(self.permit.take());
        let out = runtime.block_on(wait);
        self.queued.store(true, Ordering::Relaxed);
        let permit = runtime.block_on(Arc::clone(&self.cores).acquire_owned());
        self.queued.store(false, Ordering::Relaxed);
        self.permit.set(permit.ok());
        out
    }
}

/// Waits on a thread that may: without its core, where it has one.
pub(crate) struct Waiter<'c> {
    runtime: Handle,
    core: Option<&'c Core>,
}

impl<'c> Waiter<'c> {
    /// For this thread.
    pub(crate) fn here(core: Option<&'c Core>) -> Result<Self, TryCurrentError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_has_no_core_and_who_calculates_has_one() {
        let cores = Arc::new(Semaphore::new(1));
        let core = Core::take(&cores).await.unwrap();
        let queued = core.queued();
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
        });
        job.await.unwrap();
        assert_eq!(cores.available_permits(), 1);
        assert!(!queued.load(Ordering::Relaxed));
    }
}
