//! Who has which message already: where only some recipients of a message got it and its client is told
//! to try again, the next try must not bring it to them twice.
//!
//! Keeps hashes, never a message. What cannot be kept or looked up makes a message come twice, never
//! get lost.

use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Whether anything may be kept: nearly never, and then no message pays for the question.
    any: AtomicBool,
}

impl Delivered {
    /// Over this store, which may hold something from before.
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self {
            any: AtomicBool::new(store.is_some()),
            store,
        }
    }

    /// The recipients, by their place, that have this message.
    pub(crate) async fn of(&self, mail: &Mail, now: UnixTime) -> Vec<usize> {
        let Some(store) = self
            .store
            .as_ref()
            .filter(|_| self.any.load(Ordering::SeqCst))
        else {
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
        // Before the question: what is kept meanwhile says so after it is kept.
        self.any.store(false, Ordering::SeqCst);
        let kept = store.any_delivered(DEFAULT_TENANT, now.0).await;
        if matches!(kept, Ok(false)) {
            return Ok(Vec::new());
        }
        self.any.store(true, Ordering::SeqCst);
        kept.map_err(|why| why.to_string())?;
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
        self.any.store(true, Ordering::SeqCst);
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

#[cfg(test)]
mod tests;
