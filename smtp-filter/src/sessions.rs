//! The sessions of one listener: taken in until the service ends, then waited for.

use std::{future::Future, io, time::Duration};

use tokio::{sync::watch, task::JoinSet};

/// What a listener serves at the moment.
pub(crate) struct Sessions {
    running: JoinSet<()>,
    shutdown: watch::Receiver<bool>,
}

impl Sessions {
    /// None yet; `shutdown` becomes true when no more are to be taken in.
    pub(crate) fn new(shutdown: watch::Receiver<bool>) -> Self {
        Self {
            running: JoinSet::new(),
            shutdown,
        }
    }

    /// The next connection, or nothing when the service ends.
    pub(crate) async fn accept<T, F>(&mut self, mut accept: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = io::Result<T>>,
    {
        let shutdown = &mut self.shutdown;
        let mut ending = std::pin::pin!(async move {
            // Without a sender nobody can end us: serve on.
            if shutdown.wait_for(|end| *end).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                Some(_) = self.running.join_next() => continue,
                () = &mut ending => return None,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    // Out of descriptors, or the client has gone: neither is a reason to stop.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// How many have not ended.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Runs one.
    pub(crate) fn spawn(&mut self, session: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(session);
    }

    /// Waits for all to end, and a moment more than `patience`; then they are cut.
    pub(crate) async fn drain(mut self, patience: Duration) {
        let all = async { while self.running.join_next().await.is_some() {} };
        let patience = patience.saturating_add(ACCEPT_PAUSE);
        if tokio::time::timeout(patience, all).await.is_err() {
            let sessions = self.running.len();
            tracing::warn!(sessions, "sessions cut at the end of the drain");
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
