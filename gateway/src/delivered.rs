//! Who has which message already: where only some recipients of a message got it and its client is told
//! to try again, the next try must not bring it to them twice.
//!
//! Keeps hashes, never a message. What cannot be kept or looked up makes a message come twice, never
//! get lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kenin_certstore::{DEFAULT_TENANT, Store};
use kenin_pki::time::UnixTime;
use kenin_policy::header::Field;
use kenin_smtp_filter::Mail;
use tokio::task::spawn_blocking;
use tracing::error;

use crate::identity;

/// The record.
#[derive(Debug)]
pub(crate) struct Delivered {
    store: Option<Store>,
    /// Nearly always nothing is kept, and then no message pays for the question.
    nothing: Nothing,
}

/// Whether it is certain that nothing is kept.
///
/// Two counts and no flag: a flag that is cleared for the time of a question tells everybody who comes
/// meanwhile that nothing is kept, and one that is cleared after it forgets what was kept meanwhile.
#[derive(Debug)]
struct Nothing {
    /// How often something was kept, and 1 for what may be there from before.
    kept: AtomicU64,
    /// The count of which it is known that the store was empty all the same.
    empty_at: AtomicU64,
    /// How long that is certain, where other nodes keep something too.
    lasts: Option<Duration>,
    /// When it was found, in milliseconds after `begun`.
    found: AtomicU64,
    begun: Instant,
}

impl Nothing {
    fn is_certain(&self) -> bool {
        let fresh = |lasts: Duration| {
            let found = Duration::from_millis(self.found.load(Ordering::SeqCst));
            self.begun.elapsed() < found.saturating_add(lasts)
        };
        self.kept.load(Ordering::SeqCst) == self.empty_at.load(Ordering::SeqCst)
            && self.lasts.is_none_or(fresh)
    }

    /// To be called before the store is asked.
    fn ask(&self) -> u64 {
        self.kept.load(Ordering::SeqCst)
    }

    /// The store was found empty by the question that began so.
    fn is_found(&self, asked: u64) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.found.fetch_max(now, Ordering::SeqCst);
        self.empty_at.fetch_max(asked, Ordering::SeqCst);
    }

    /// To be called after something was kept.
    fn is_over(&self) {
        self.kept.fetch_add(1, Ordering::SeqCst);
    }
}

impl Default for Nothing {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(1),
            empty_at: AtomicU64::new(0),
            lasts: None,
            found: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }
}

impl Delivered {
    /// Over this store, which may hold something from before.
    pub(crate) fn new(store: Option<Store>) -> Self {
        let shared = store.as_ref().is_some_and(Store::is_shared);
        Self {
            store,
            nothing: Nothing {
                lasts: shared.then_some(CERTAIN),
                ..Nothing::default()
            },
        }
    }

    /// The recipients, by their place, that have this message.
    pub(crate) async fn of(&self, mail: &Mail, now: UnixTime) -> Vec<usize> {
        let Some(store) = self.store.as_ref().filter(|_| !self.nothing.is_certain()) else {
            return Vec::new();
        };
        match self.look_up(store, mail, now).await {
            Ok(found) => found,
            Err(why) => {
                error!(error = %why, "cannot look up who has a message already");
                Vec::new()
            }
        }
    }

    async fn look_up(
        &self,
        store: &Store,
        mail: &Mail,
        now: UnixTime,
    ) -> Result<Vec<usize>, String> {
        let asked = self.nothing.ask();
        let kept = store.any_delivered(DEFAULT_TENANT, now.0).await;
        if !kept.map_err(|why| why.to_string())? {
            self.nothing.is_found(asked);
            return Ok(Vec::new());
        }
        let hash = hash_of(mail).await?;
        let recipients = store.delivered(DEFAULT_TENANT, &hash, now.0).await;
        let recipients = recipients.map_err(|why| why.to_string())?;
        let places = mail.envelope.rcpt_to.iter().enumerate();
        Ok(places
            .filter(|(_, to)| recipients.contains(&to.address))
            .map(|(place, _)| place)
            .collect())
    }

    /// Keeps that these recipients have it.
    pub(crate) async fn keep(&self, mail: &Mail, places: &[usize], now: UnixTime) {
        let Some(store) = &self.store else {
            return;
        };
        let recipients: Vec<&str> = places
            .iter()
            .filter_map(|place| mail.envelope.rcpt_to.get(*place))
            .map(|to| to.address.as_str())
            .collect();
        let kept = match hash_of(mail).await {
            Ok(hash) => store
                .put_delivered(DEFAULT_TENANT, &hash, &recipients, now.0)
                .await
                .map_err(|why| why.to_string()),
            Err(why) => Err(why),
        };
        // Whoever comes from now on has to ask.
        self.nothing.is_over();
        if let Err(why) = kept {
            error!(id = mail.envelope.id, error = %why, "cannot keep who has a message already");
        }
    }
}

async fn hash_of(mail: &Mail) -> Result<[u8; 32], String> {
    let mail = mail.clone();
    spawn_blocking(move || identity(&mail))
        .await
        .map_err(|why| why.to_string())
}

/// Sender, body, and the header but for what is written on the way.
fn identity(mail: &Mail) -> [u8; 32] {
    let raw: &[u8] = &mail.raw;
    identity::of(&mail.envelope.mail_from, raw, |field| stays(raw, field))
}

fn stays(raw: &[u8], field: &Field) -> bool {
    let name = field.name(raw).to_ascii_lowercase();
    let trace: [&[u8]; 4] = [
        b"received",
        b"return-path",
        b"delivered-to",
        b"authentication-results",
    ];
    let written: [&[u8]; 4] = [b"received-", b"arc-", b"dkim-", b"x-"];
    !trace.contains(&name.as_slice()) && !written.iter().any(|start| name.starts_with(start))
}

/// What another node kept is known here after this: no client tries again sooner.
const CERTAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
