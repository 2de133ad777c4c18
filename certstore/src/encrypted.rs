//! What is remembered of mail that came encrypted for somebody whose keys are here: its names, by which answers to it are
//! known, and the digests of its encrypted contents, by which one is seen that comes again under another sender (verdicts.md,
//! `replayed-ciphertext`). Nothing of what is in them is kept.
//!
//! Each mail waits until that is on the disk, and much of it comes at one time: what is in hand together is written together.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use crate::database::{Change, ask};
use crate::{Store, StoreError, rows};

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

impl EncryptedMail {
    /// Whether any id of it is remembered.
    pub(crate) fn is_named(&self) -> bool {
        !self.ids.is_empty() && !self.domains.is_empty()
    }

    /// When it came, as that is kept.
    pub(crate) fn time(&self) -> i64 {
        self.at.unwrap_or(i64::MAX)
    }
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
        if mail.contents.is_empty() && !mail.is_named() {
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
        let mails: Vec<&EncryptedMail> = batch.iter().map(|one| &one.mail).collect();
        // Alone: two nodes that write the same rows in another order would wait for each other.
        let mut change = self.begin_alone(tenant).await?;
        self.put_encrypted_mails(&mut change, tenant, &mails)
            .await?;
        let known = self.put_contents(&mut change, tenant, &mails).await?;
        let all: Option<_> = mails.iter().map(|mail| firsts(mail, &known)).collect();
        let all = all.ok_or_else(|| self.database("it does not say what it changed"))?;
        self.keep(change).await?;
        Ok(all)
    }

    /// Each content of these mails, and how it came for the first time.
    async fn put_contents(
        &self,
        change: &mut Change,
        tenant: &str,
        mails: &[&EncryptedMail],
    ) -> Result<Known, StoreError> {
        let bearing = mails.iter().filter(|mail| !mail.contents.is_empty());
        let swept = &self.swept.ciphertexts;
        let due = swept.first_due(bearing.filter_map(|mail| mail.at));
        if let Some(now) = due {
            ask!(self, change.execute: "DELETE FROM ciphertext WHERE tenant = $1 AND last_at < $2",
                tenant, now.saturating_sub(REMEMBERED))?;
        }
        let mut known = Known::new();
        for some in contents(mails).chunks(rows::MOST) {
            let rows = rows::filled(some);
            let text = AssertSqlSafe(format!(
                "WITH given (sha256, answers, sender, message_id, first_at, last_at) AS (VALUES {}) \
                 INSERT INTO ciphertext (tenant, sha256, answers, sender, message_id, first_at, last_at) \
                 SELECT $1, sha256, answers, sender, message_id, first_at, last_at FROM given \
                 WHERE sha256 IS NOT NULL \
                 ON CONFLICT (tenant, sha256) DO UPDATE SET last_at = excluded.last_at \
                 RETURNING sha256, answers, sender, message_id, first_at",
                rows::places(rows.len(), 6)
            ));
            let kept = ask!(self, change.fetch_all as Row: text, tenant; for row in &rows =>
                row.map(|row| row.sha256.as_slice()), row.map(|row| row.first.answers.as_slice()),
                row.map(|row| text_of(&row.first.sender)), row.map(|row| text_of(&row.first.message_id)),
                row.map(|row| row.first.time()), row.map(|row| row.last_at))?;
            known.extend(kept.into_iter().map(first_seen));
        }
        Ok(known)
    }
}

/// Contents by their SHA-256.
type Known = BTreeMap<Vec<u8>, FirstSeen>;

/// The SHA-256 of a content, and how it came for the first time.
type Row = (Vec<u8>, Vec<u8>, String, String, i64);

fn first_seen(row: Row) -> (Vec<u8>, FirstSeen) {
    let (sha256, answers, sender, message_id, at) = row;
    let first = FirstSeen {
        answers,
        sender,
        message_id,
        at,
    };
    (sha256, first)
}

/// Of each content of a mail, in their order.
fn firsts(mail: &EncryptedMail, known: &Known) -> Option<Vec<FirstSeen>> {
    let first = |sha256: &[u8; 32]| known.get(sha256.as_slice()).cloned();
    mail.contents.iter().map(first).collect()
}

/// A content that came with some of the mails that are in hand.
struct Content<'a> {
    sha256: &'a [u8; 32],
    /// The first of them.
    first: &'a EncryptedMail,
    /// The time of the last.
    last_at: i64,
}

/// Each once: PostgreSQL changes no row twice in one statement.
fn contents<'a>(mails: &[&'a EncryptedMail]) -> Vec<Content<'a>> {
    let mut all = BTreeMap::new();
    for &mail in mails {
        let last_at = mail.time();
        for sha256 in &mail.contents {
            let known = all.entry(sha256);
            let known = known.and_modify(|one: &mut Content<'a>| one.last_at = last_at);
            known.or_insert(Content {
                sha256,
                first: mail,
                last_at,
            });
        }
    }
    all.into_values().collect()
}

/// What is kept of a field's text: a line, and not much of it. PostgreSQL takes no NUL.
fn text_of(value: &str) -> String {
    let shown = value.chars().filter(|c| !c.is_control());
    shown.take(MAX_TEXT).collect()
}

/// In seconds: more than the ninety days for which it has to be known.
const REMEMBERED: i64 = 100 * 24 * 60 * 60;
const MAX_TEXT: usize = 320;
const BROKEN_OFF: &str = "what was to be written was not";

#[cfg(test)]
mod tests;
