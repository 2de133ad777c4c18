//! What is remembered of mail that came encrypted for somebody whose keys are here: its names, by which answers to it are
//! known, and the digests of its encrypted contents, by which one is seen that comes again under another sender (verdicts.md,
//! `replayed-ciphertext`). Nothing of what is in them is kept.
//!
//! Each mail waits until that is on the disk, and much of it comes at one time: what is in hand together is written together.

use crate::database::{Change, ask};
use crate::{Store, StoreError};

/// A mail that came encrypted, as far as it is remembered.
#[derive(Clone, Debug, Default)]
pub struct EncryptedMail {
    /// SHA-256 of each of its Message-IDs.
    pub ids: Vec<[u8; 32]>,
    /// Domains of the people whom it is for. Without one no id is remembered.
    pub domains: Vec<String>,
    /// SHA-256 of its encrypted contents, and of their keys as they are wrapped for somebody.
    pub contents: Vec<[u8; 32]>,
    /// SHA-256 of whom an answer to it goes to.
    pub answers: [u8; 32],
    /// What From says.
    pub sender: String,
    /// What Message-ID says.
    pub message_id: String,
    /// When it came (seconds since 1970). By a clock that cannot be right there is no time: then nothing is forgotten, and
    /// what came is kept until it comes again.
    pub at: Option<i64>,
}

/// How an encrypted content came for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// SHA-256 of whom an answer to that mail goes to.
    pub answers: Vec<u8>,
    /// What From said, as far as it was kept.
    pub sender: String,
    /// What Message-ID said, as far as it was kept.
    pub message_id: String,
    /// When (seconds since 1970).
    pub at: i64,
}

/// What waits to be written.
pub(crate) struct Queued {
    tenant: String,
    mail: EncryptedMail,
}

/// What comes of it, or what the database said.
pub(crate) type Remembered = Result<Vec<FirstSeen>, String>;

impl Store {
    /// Remembers a mail, all of it or nothing, and gives of each of its contents how that came for the first time, which may be
    /// now. A name is forgotten after four hundred days; a content that nobody has sent for a hundred days is, too.
    ///
    /// # Errors
    /// When the store fails; then nothing is remembered.
    pub async fn remember_encrypted(
        &self,
        tenant: &str,
        mail: EncryptedMail,
    ) -> Result<Vec<FirstSeen>, StoreError> {
        if mail.contents.is_empty() && (mail.ids.is_empty() || mail.domains.is_empty()) {
            return Ok(Vec::new());
        }
        let queued = Queued {
            tenant: tenant.to_owned(),
            mail,
        };
        let store = self.clone();
        let all = move |batch| store.clone().remember_all(batch);
        let remembered = self.together.add(queued, all).await;
        let remembered = remembered.unwrap_or_else(|| Err(BROKEN_OFF.to_owned()));
        remembered.map_err(|message| self.database(&message))
    }

    /// One transaction for all that stand beside each other for one tenant. Where it fails, it does for each of them:
    /// nothing that a mail says of itself makes it fail.
    async fn remember_all(self, batch: Vec<Queued>) -> Vec<Remembered> {
        let mut remembered = Vec::with_capacity(batch.len());
        let mut rest = batch.as_slice();
        while let Some(Queued { tenant, .. }) = rest.first() {
            let same = rest.iter().take_while(|one| one.tenant == *tenant);
            let (own, others) = rest.split_at(same.count());
            match self.remember_together(tenant, own).await {
                Ok(firsts) => remembered.extend(firsts.into_iter().map(Ok)),
                Err(error) => {
                    let message = match error {
                        StoreError::Database { message, .. } => message,
                        other => other.to_string(),
                    };
                    remembered.extend(own.iter().map(|_| Err(message.clone())));
                }
            }
            rest = others;
        }
        remembered
    }

    async fn remember_together(
        &self,
        tenant: &str,
        batch: &[Queued],
    ) -> Result<Vec<Vec<FirstSeen>>, StoreError> {
        // Alone: two nodes that write the same rows in another order would wait for each other.
        let mut change = self.begin_alone(tenant).await?;
        let mut all = Vec::with_capacity(batch.len());
        for Queued { mail, .. } in batch {
            self.put_encrypted_mail(&mut change, tenant, mail).await?;
            all.push(self.put_contents(&mut change, tenant, mail).await?);
        }
        self.keep(change).await?;
        Ok(all)
    }

    async fn put_contents(
        &self,
        change: &mut Change,
        tenant: &str,
        mail: &EncryptedMail,
    ) -> Result<Vec<FirstSeen>, StoreError> {
        if mail.contents.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(now) = mail.at.filter(|now| self.swept.ciphertexts.is_due(*now)) {
            ask!(self, change.execute: "DELETE FROM ciphertext WHERE tenant = $1 AND last_at < $2",
                tenant, now.saturating_sub(REMEMBERED))?;
        }
        let (sender, message_id) = (text(&mail.sender), text(&mail.message_id));
        let at = mail.at.unwrap_or(i64::MAX);
        let mut firsts = Vec::with_capacity(mail.contents.len());
        for sha256 in &mail.contents {
            let row = ask!(self, change.fetch_one as Row:
                "INSERT INTO ciphertext (tenant, sha256, answers, sender, message_id, first_at, last_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $6) \
                 ON CONFLICT (tenant, sha256) DO UPDATE SET last_at = excluded.last_at \
                 RETURNING answers, sender, message_id, first_at",
                tenant, sha256.as_slice(), mail.answers.as_slice(), sender.as_str(),
                message_id.as_str(), at)?;
            firsts.push(first_seen(row));
        }
        Ok(firsts)
    }
}

type Row = (Vec<u8>, String, String, i64);

fn first_seen(row: Row) -> FirstSeen {
    let (answers, sender, message_id, at) = row;
    FirstSeen {
        answers,
        sender,
        message_id,
        at,
    }
}

/// What is kept of a field's text: a line, and not much of it. PostgreSQL takes no NUL.
fn text(value: &str) -> String {
    let shown = value.chars().filter(|c| !c.is_control());
    shown.take(MAX_TEXT).collect()
}

/// In seconds: more than the ninety days for which it has to be known.
const REMEMBERED: i64 = 100 * 24 * 60 * 60;
const MAX_TEXT: usize = 320;
const BROKEN_OFF: &str = "what was to be written was not";

#[cfg(test)]
mod tests;
