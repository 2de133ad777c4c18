//! Changes while the service runs: a new snapshot is built whole and swapped in, or the old one
//! stays and the log says why. No change of a file can stop the service.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kenin_certstore::Store;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::clock::{now, unix_time};
use crate::config::{Config, ConfigError};
use crate::metrics;
use crate::snapshot::{Snapshot, State, revision};

/// Why the files are not what is in force.
#[derive(Debug, Default)]
struct Trouble {
    /// Of the last reload that was asked for. Only another one mends it: what a watcher takes over
    /// leaves `kenin.toml` unread, and the next start would meet the same mistake.
    asked: Option<String>,
    /// Of the last change that was seen.
    seen: Option<String>,
}

/// Builds snapshots and swaps them.
#[derive(Debug)]
pub struct Reloader {
    current: Arc<ArcSwap<Snapshot>>,
    store: Option<Store>,
    /// Two rebuilds at a time could swap in the wrong order.
    one_at_a_time: Mutex<()>,
    /// The state of files that was refused last, whoever asked.
    refused: std::sync::Mutex<Option<State>>,
    trouble: std::sync::Mutex<Trouble>,
    interval: Duration,
}

impl Reloader {
    /// For this pointer.
    pub fn new(current: Arc<ArcSwap<Snapshot>>, store: Option<Store>) -> Self {
        Self {
            current,
            store,
            one_at_a_time: Mutex::new(()),
            refused: std::sync::Mutex::default(),
            trouble: std::sync::Mutex::default(),
            interval: INTERVAL,
        }
    }

    /// Reads everything again, `kenin.toml` included.
    pub async fn all(&self) -> Result<(), ConfigError> {
        self.swap(true).await
    }

    /// Reads trust, mail rules, certificates and lists again.
    pub async fn policy(&self) -> Result<(), ConfigError> {
        self.swap(false).await
    }

    /// Looks twice a second whether a file or the store changed, until told to stop. A change of a file is
    /// taken up once it has been quiet for a second: writers are not always atomic. One of the store is whole
    /// as soon as it is seen, and what was said on another node shall hold here within a second.
    pub async fn watch(&self, mut shutdown: watch::Receiver<bool>) {
        let mut last = self.current.load().state.clone();
        let (mut since, mut silent) = (Instant::now(), false);
        while !*shutdown.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                _ = shutdown.changed() => continue,
            }
            let now = self.state().await;
            if now != last {
                (last, since) = (now.clone(), Instant::now());
            }
            if (now.store < 0) != silent {
                silent = !silent;
                if silent {
                    error!("the store does not answer: mail is judged by what is known here");
                } else {
                    info!("the store answers again");
                    self.forget();
                }
            }
            let current = self.current.load().state.clone();
            if now == current {
                self.settle();
                continue;
            }
            let only_the_store = now.files == current.files;
            if only_the_store && since.elapsed() >= AGAIN {
                since = Instant::now();
                self.forget();
            }
            // There is nothing to take over from one that does not answer.
            let ripe = match only_the_store {
                true => !silent,
                false => since.elapsed() >= self.interval * 2,
            };
            // What was refused is logged once, and not tried again until the next change.
            if ripe && !self.was_refused(&now) {
                let _ = self.policy().await;
            }
        }
    }

    /// What was refused may be tried again: a store may give now what it could not give then.
    fn forget(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is there is what is in force: whatever was seen in between is over.
    fn settle(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.seen.take().is_some() {
            metrics::reloaded(trouble.asked.is_none());
        }
    }

    /// Why the files are not what is in force, if so.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.asked.clone().or_else(|| trouble.seen.clone())
    }

    /// Notes that the keys stay as they were, though all else was taken over. Only another reload that is asked for mends it.
    pub fn keys_stay(&self, why: &str) {
        self.note(true, Some(format!("the keys stay as they were: {why}")));
    }

    fn note(&self, settings_too: bool, why: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if settings_too {
            trouble.seen = None;
            trouble.asked = why;
        } else {
            trouble.seen = why;
        }
        metrics::reloaded(trouble.asked.is_none() && trouble.seen.is_none());
    }

    fn was_refused(&self, state: &State) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref() == Some(state)
    }

    /// The present state of what the snapshot in force was made of.
    async fn state(&self) -> State {
        let snapshot = self.current.load_full();
        let files = spawn_blocking(move || snapshot.files.fingerprint()).await;
        State {
            files: files.unwrap_or_default(),
            store: revision(self.store.as_ref()).await,
        }
    }

    async fn swap(&self, settings_too: bool) -> Result<(), ConfigError> {
        let _alone = self.one_at_a_time.lock().await;
        // Before anything is read: what a writer finishes meanwhile is then a change.
        let state = self.state().await;
        match self.build(settings_too).await {
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                // Before anybody is told: the next mail is judged by it.
                self.current.store(Arc::clone(&snapshot));
                self.note(settings_too, None);
                metrics::describe_snapshot(&snapshot, unix_time(now()));
                info!(rev = snapshot.revision, "configuration taken over");
                Ok(())
            }
            Err(why) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
                self.note(settings_too, Some(why.to_string()));
                let rev = self.current.load().revision.clone();
                error!(rev, error = %why, "configuration not taken over, the old one stays");
                Err(why)
            }
        }
    }

    /// Called alone: settings taken from the snapshot in force would undo those of a reload that is
    /// under way.
    async fn build(&self, settings_too: bool) -> Result<Snapshot, ConfigError> {
        let current = self.current.load_full();
        let mut config = Arc::clone(&current.config);
        if settings_too {
            let mut new = config.reload()?;
            // It is opened at a start. Mail would be opened for which there is no place where the next hop refuses it, and
            // its client would hear so.
            if config.quarantine.is_none() && new.quarantine.is_some() {
                let text = "[quarantine] is new, and begins at a start only";
                return Err(new.mistake("quarantine", text).hint("restart the service"));
            }
            for what in unchangeable(&config, &new) {
                warn!(
                    setting = what,
                    "a changed setting takes effect after a restart"
                );
            }
            // It is there until the service ends, and so is what rests on it: mail stayed encrypted at once, and could be opened
            // after a restart only, also where the lines were put back.
            if new.quarantine.is_none() {
                new.quarantine.clone_from(&config.quarantine);
            }
            config = Arc::new(new);
        }
        let store = self.store.as_ref();
        let mut snapshot = Snapshot::build_after(config, store, Some(&*current)).await?;
        snapshot.asks_like(&current);
        if !settings_too && snapshot.means.is_used() == current.means.is_used() {
            snapshot.means.places = Arc::clone(&current.means.places);
        }
        // Rules are taken back by an empty file, not by a file that somebody moved.
        if snapshot.without_rules && !current.without_rules {
            let gone = ConfigError::new(snapshot.config.mail_file(), "the file has gone");
            return Err(gone.hint("an empty file says that there are no rules"));
        }
        // A key that works is not given up for one that does not.
        if current.key.is_some()
            && let Some(trouble) = snapshot.key_trouble.take()
        {
            return Err(trouble);
        }
        if current.arc.is_some()
            && let Some(trouble) = snapshot.arc_trouble.take()
        {
            return Err(trouble);
        }
        if current.wrapper.is_some()
            && let Some(trouble) = snapshot.wrap_trouble.take()
        {
            return Err(trouble);
        }
        Ok(snapshot)
    }
}

/// Settings that are bound to sockets, files and threads made at start.
fn unchangeable(old: &Config, new: &Config) -> Vec<&'static str> {
    let addresses = |config: &Config| -> Vec<_> {
        config
            .listeners
            .iter()
            .map(|listener| listener.address.clone())
            .collect()
    };
    let changed = [
        ("listener.address", addresses(old) != addresses(new)),
        ("http.address", old.http != new.http),
        ("store", old.store != new.store),
        ("keys", old.keys.is_some() != new.keys.is_some()),
        ("workers", old.workers != new.workers),
        ("quarantine", old.quarantine != new.quarantine),
        ("decrypt.memory", old.decrypt.memory != new.decrypt.memory),
        (
            "limits.messages",
            old.limits.messages != new.limits.messages,
        ),
        ("log", old.log != new.log),
    ];
    changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name)
        .collect()
}

const INTERVAL: Duration = Duration::from_millis(500);
/// How long a change of the store that could not be taken over waits for another try.
const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
