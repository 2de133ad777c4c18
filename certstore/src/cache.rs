//! Answers of others, kept in Redis for the nodes of one gateway: what may vanish at any moment.
//!
//! Redis is not believed. Every value is sealed with a key that only the gateway has, bound to its tenant, kind,
//! key and version, and carries its own end: a value that was changed, moved, kept too long, written before the
//! version was raised or by a clock that was far ahead is a miss, and is counted. So is everything that goes wrong; nothing here is ever an error to
//! who asks, and nobody waits longer than 50 ms who has not asked for more patience. What must hold (a distrust) never
//! depends on what lies here.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kenin_pki::crypto::{Sealer, framed};
use kenin_pki::time::UnixTime;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, TlsCertificates};
use tokio::time::timeout;

use crate::breaker::Breaker;

mod settings;

pub use settings::{CacheServer, CacheSettings, ParseCacheError};

/// Where answers are kept for a while. Losing one costs time and nothing else.
pub trait AnswerCache: Send + Sync {
    /// What was put there, if it still is, unchanged and not too old.
    fn get<'a>(&'a self, kind: &'a str, key: &'a [u8]) -> Keeping<'a, Option<Vec<u8>>>;

    /// Keeps a value for so long, an hour at most; more than 1 MiB is not kept. It may be gone at once.
    fn put<'a>(
        &'a self,
        kind: &'a str,
        key: &'a [u8],
        value: &'a [u8],
        life: Duration,
    ) -> Keeping<'a, ()>;
}

/// A cache at work.
pub type Keeping<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A cache in Redis, shared by all tenants; [`Self::of`] gives one tenant's part.
pub struct Cache {
    client: Client,
    sealer: Sealer,
    clock: Clock,
    /// Only raised: what was written under a lower one is never read again.
    version: AtomicU64,
    patience: Duration,
    slot: Slot,
    breaker: Mutex<Breaker>,
    begun: Instant,
    counts: Counts,
}

/// The time of day.
pub type Clock = fn() -> UnixTime;

/// The connection, if there is one.
type Slot = Arc<tokio::sync::Mutex<Option<MultiplexedConnection>>>;

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Values that were found and used.
    pub hits: u64,
    /// Questions without such a value.
    pub misses: u64,
    /// Values that were found and not used: changed, moved, too old, of another version, or of a clock that was ahead.
    /// Each is a miss too.
    pub refused: u64,
    /// Times that Redis did not do what it was asked in time.
    pub failures: u64,
}

/// Why there can be no cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The settings say what the library does not understand.
    #[error("the cache's settings cannot be used: {0}")]
    Settings(#[from] redis::RedisError),
    /// The library does not take the key.
    #[error("the key cannot be used; make another one of 32 random bytes")]
    Key,
}

impl Cache {
    /// A cache at this server. Connects to nothing yet. With TLS its certificate must come from one of the authorities
    /// in `ca` (PEM).
    ///
    /// # Errors
    ///
    /// When the settings or the key cannot be used.
    pub fn new(
        settings: &CacheSettings,
        ca: Option<&[u8]>,
        key: &[u8; 32],
        clock: Clock,
    ) -> Result<Self, CacheError> {
        let url = settings.url();
        let client = match (&settings.server, ca) {
            (CacheServer::Tls { .. }, Some(ca)) => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca.to_vec()),
                };
                Client::build_with_tls(url, certificates)?
            }
            _ => Client::open(url)?,
        };
        Ok(Self {
            client,
            sealer: Sealer::new(key).ok_or(CacheError::Key)?,
            clock,
            version: AtomicU64::new(0),
            patience: LONGEST,
            slot: Slot::default(),
            breaker: Mutex::new(Breaker::default()),
            begun: Instant::now(),
            counts: Counts::default(),
        })
    }

    /// One tenant's part, which no other reaches.
    pub fn of(self: &Arc<Self>, tenant: &str) -> TenantCache {
        TenantCache {
            cache: Arc::clone(self),
            tenant: tenant.to_owned(),
        }
    }

    /// Forgets all that was kept under a lower version. One that is lower than before changes nothing, so that old data
    /// cannot come back with an old number.
    pub fn raise_version(&self, version: u64) {
        self.version.fetch_max(version, Ordering::Relaxed);
    }

    /// Whether Redis answers, whatever happened before.
    ///
    /// # Errors
    ///
    /// Its words.
    pub async fn probe(&self) -> Result<(), String> {
        let asked = async {
            let connecting = self.client.get_multiplexed_async_connection();
            let mut connection = connecting.await?;
            let pong: String = redis::cmd("PING").query_async(&mut connection).await?;
            Ok::<_, redis::RedisError>(pong)
        };
        match timeout(CONNECT, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} ms", CONNECT.as_millis())),
        }
    }

    /// What happened since the start.
    pub fn counts(&self) -> CacheCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheCounts {
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            refused: read(&self.counts.refused),
            failures: read(&self.counts.failures),
        }
    }

    async fn get(&self, place: &Placed<'_>) -> Option<Vec<u8>> {
        let name = self.name(place);
        // A longer value than we write is none of ours, and is not taken.
        let mut command = redis::cmd("GETRANGE");
        command.arg(&name).arg(0).arg(MAX_SEALED);
        let sealed: Option<Vec<u8>> = self.ask(&command).await;
        let found = sealed.filter(|sealed| !sealed.is_empty());
        let value = found.as_ref().and_then(|sealed| self.open(place, sealed));
        let count = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        if value.is_some() {
            count(&self.counts.hits);
        } else {
            count(&self.counts.misses);
            if found.is_some() {
                count(&self.counts.refused);
            }
        }
        value
    }

    async fn put(&self, place: &Placed<'_>, value: &[u8], life: Duration) {
        let life = life.min(LONGEST_LIFE);
        let milliseconds = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        if value.len() > MAX_VALUE || milliseconds == 0 {
            return;
        }
        let Some(sealed) = self.seal(place, value, life) else {
            return;
        };
        let mut command = redis::cmd("SET");
        let name = self.name(place);
        command.arg(&name).arg(sealed).arg("PX").arg(milliseconds);
        let _: Option<String> = self.ask(&command).await;
    }

    /// Where Redis keeps it. The name tells neither the tenant nor the address.
    fn name(&self, place: &Placed<'_>) -> String {
        let name = self.sealer.name(&place.parts());
        let hex: String = name.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("kenin:{hex}")
    }

    fn seal(&self, place: &Placed<'_>, value: &[u8], life: Duration) -> Option<Vec<u8>> {
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX).max(1);
        let end = (self.clock)().0.saturating_add(seconds);
        let plain = [&end.to_be_bytes()[..], value].concat();
        self.sealer.seal(&self.beside(place), &plain)
    }

    fn open(&self, place: &Placed<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.sealer.open(&self.beside(place), sealed)?;
        let end = plain.first_chunk().copied().map(i64::from_be_bytes)?;
        let now = (self.clock)().0;
        let longest = i64::try_from(LONGEST_LIFE.as_secs()).unwrap_or(i64::MAX);
        // Redis may have kept it longer than it was told, or may give back what was overwritten. One that ends later than
        // any that is written now is of a clock that was ahead: nobody knows when that was.
        if now >= end || end > now.saturating_add(longest) {
            return None;
        }
        plain.drain(..size_of::<i64>());
        Some(plain)
    }

    /// Waits this long for each command, and not 50 ms: for a person who asks once, over a connection that is still to
    /// be made.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What a value is bound to.
    fn beside(&self, place: &Placed<'_>) -> Vec<u8> {
        let version = self.version.load(Ordering::Relaxed).to_be_bytes();
        let [tenant, kind, key] = place.parts();
        framed(&[FORM, tenant, kind, key, &version])
    }

    /// One command in time, or nothing.
    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        if self.breaker().ask(self.begun.elapsed()).is_err() {
            return None;
        }
        let asked = async {
            let mut connection = self.connection().await?;
            let answer: Result<T, _> = command.query_async(&mut connection).await;
            answer.ok()
        };
        let answer = timeout(self.patience, asked).await.ok().flatten();
        if answer.is_some() {
            self.breaker().worked();
        } else {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            self.breaker().failed(self.begun.elapsed());
            // Whoever is connecting has the lock, and makes a new one anyway.
            if let Ok(mut slot) = self.slot.try_lock() {
                *slot = None;
            }
        }
        answer
    }

    /// The connection. Making one goes on when nobody waits any longer, so that the next has it.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        let (slot, client) = (Arc::clone(&self.slot), self.client.clone());
        if let Ok(slot) = slot.try_lock()
            && let Some(connection) = slot.as_ref()
        {
            return Some(connection.clone());
        }
        let connecting = tokio::spawn(async move {
            let mut slot = slot.lock().await;
            if slot.is_none() {
                let connecting = client.get_multiplexed_async_connection();
                *slot = timeout(CONNECT, connecting).await.ok()?.ok();
            }
            slot.clone()
        });
        connecting.await.ok().flatten()
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client knows the password.
        f.debug_struct("Cache")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// One tenant's part of a cache.
#[derive(Clone, Debug)]
pub struct TenantCache {
    cache: Arc<Cache>,
    tenant: String,
}

impl TenantCache {
    fn place<'a>(&'a self, kind: &'a str, key: &'a [u8]) -> Placed<'a> {
        Placed {
            tenant: &self.tenant,
            kind,
            key,
        }
    }
}

impl AnswerCache for TenantCache {
    fn get<'a>(&'a self, kind: &'a str, key: &'a [u8]) -> Keeping<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.cache.get(&self.place(kind, key)).await })
    }

    fn put<'a>(
        &'a self,
        kind: &'a str,
        key: &'a [u8],
        value: &'a [u8],
        life: Duration,
    ) -> Keeping<'a, ()> {
        Box::pin(async move { self.cache.put(&self.place(kind, key), value, life).await })
    }
}

/// Whose value, and which.
struct Placed<'a> {
    tenant: &'a str,
    kind: &'a str,
    key: &'a [u8],
}

impl<'a> Placed<'a> {
    fn parts(&self) -> [&'a [u8]; 3] {
        [self.tenant.as_bytes(), self.kind.as_bytes(), self.key]
    }
}

/// The form of values; another one gets another word.
const FORM: &[u8] = b"kenin cache 1";
/// The longest value that is kept.
const MAX_VALUE: usize = 1 << 20;
/// The last octet of a sealed value that is looked at: end, nonce and tag come on top.
const MAX_SEALED: usize = MAX_VALUE + 64;
/// Nothing is kept longer, and nothing that ends later is believed. No answer is kept for as long: the rest is for the
/// clocks of nodes, which differ.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// How long a message waits for a command.
const LONGEST: Duration = Duration::from_millis(50);
/// How long connecting may take, behind everybody's back.
const CONNECT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
