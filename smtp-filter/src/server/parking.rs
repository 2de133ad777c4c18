//! Connections to the next hop between two sessions: one that served well waits a moment for the next
//! client's mail, instead of a goodbye and a new greeting for each.
//!
//! Only what no later client can notice is kept: a server counts refusals and resets of a connection,
//! grows slow or leaves; a connection with either is not kept. Nor is one that a reload may have made
//! another's, and nothing is kept for long.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

use super::ServerConfig;
use crate::client::Connection;

/// A connection to the next hop, and what was done with it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) connection: Connection,
    opened: Instant,
    /// How many mails were accepted.
    pub(super) mails: usize,
    /// Whether the next hop was told of a client (XFORWARD). It may still think of it.
    pub(super) introduced: bool,
    /// Whether a transaction was given up.
    pub(super) reset: bool,
}

impl Way {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            opened: Instant::now(),
            mails: 0,
            introduced: false,
            reset: false,
        }
    }

    /// Servers take a bounded number of mails over a connection, and some say so with an error.
    fn is_worn(&self) -> bool {
        self.reset || self.mails >= MAILS || self.opened.elapsed() >= AGE
    }

    async fn quit(self) {
        let _ = timeout(GOODBYE, self.connection.quit()).await;
    }
}

/// The connections of a listener that no session uses just now.
#[derive(Clone, Debug, Default)]
pub(super) struct Parking(Arc<Mutex<Lot>>);

/// In the order in which they came.
#[derive(Debug, Default)]
struct Lot {
    waiting: Vec<Parked>,
    /// Whether somebody sees to it that none waits too long.
    watched: bool,
    closed: bool,
}

#[derive(Debug)]
struct Parked {
    way: Way,
    /// The settings that it was opened with.
    config: Arc<ServerConfig>,
    until: Instant,
}

impl Parking {
    /// The connection that waits since the shortest time and still lives.
    pub(super) async fn take(&self, config: &Arc<ServerConfig>) -> Option<Way> {
        loop {
            let mut way = self.last(config)?;
            if way.connection.is_unblemished().await {
                return Some(way);
            }
        }
    }

    /// Keeps a connection for the next session, or says goodbye.
    pub(super) async fn leave(&self, mut way: Way, config: &Arc<ServerConfig>) {
        let fit = !way.is_worn() && way.connection.is_unblemished().await;
        let refused = match fit {
            true => self.park(way, config),
            false => Some(way),
        };
        if let Some(way) = refused {
            way.quit().await;
        }
    }

    /// Says goodbye to all that wait, and keeps none any more.
    pub(super) async fn close(&self) {
        let waiting = {
            let mut lot = lock(&self.0);
            lot.closed = true;
            std::mem::take(&mut lot.waiting)
        };
        say_goodbye(waiting).await;
    }

    fn last(&self, config: &Arc<ServerConfig>) -> Option<Way> {
        let now = Instant::now();
        let mut lot = lock(&self.0);
        let fits = |one: &Parked| Arc::ptr_eq(&one.config, config) && now < one.until;
        let at = lot.waiting.iter().rposition(fits)?;
        Some(lot.waiting.remove(at).way)
    }

    /// Gives the connection back where there is no place for it.
    fn park(&self, way: Way, config: &Arc<ServerConfig>) -> Option<Way> {
        let patience = config.timeouts.parked;
        let mut lot = lock(&self.0);
        let until = Instant::now().checked_add(patience);
        let Some(until) =
            until.filter(|_| !lot.closed && !patience.is_zero() && lot.waiting.len() < PLACES)
        else {
            return Some(way);
        };
        let config = Arc::clone(config);
        lot.waiting.push(Parked { way, config, until });
        if !std::mem::replace(&mut lot.watched, true) {
            // It must not keep the lot alive: with the listener all connections go.
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
        None
    }
}

/// Says goodbye to those that nobody took in time, until none waits.
async fn watch(lot: Weak<Mutex<Lot>>) {
    loop {
        let Some(strong) = lot.upgrade() else { return };
        let (late, next) = {
            let mut lot = lock(&strong);
            let now = Instant::now();
            let (waiting, late) = std::mem::take(&mut lot.waiting)
                .into_iter()
                .partition(|one| now < one.until);
            lot.waiting = waiting;
            let next = lot.waiting.iter().map(|one| one.until).min();
            lot.watched = next.is_some();
            (late, next)
        };
        drop(strong);
        tokio::spawn(say_goodbye(late));
        let Some(next) = next else { return };
        tokio::time::sleep_until(next.into()).await;
    }
}

async fn say_goodbye(parked: Vec<Parked>) {
    let all: JoinSet<()> = parked.into_iter().map(|one| one.way.quit()).collect();
    all.join_all().await;
}

fn lock(lot: &Mutex<Lot>) -> MutexGuard<'_, Lot> {
    lot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections that wait at a time.
const PLACES: usize = 32;
/// Mails over a connection, after which it is not kept.
const MAILS: usize = 100;
/// A connection's age, after which it is not kept: names are looked up again.
const AGE: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_secs(1);
