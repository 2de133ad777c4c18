//! What protecting mail has to remember: which mail came encrypted, so that answers to it are encrypted too, and what
//! holders of certificates said they can read. Digests, domains and names of ciphers; nothing of any mail.

use std::collections::BTreeMap;

use kenin_pki::crypto::{Aes, ContentKind};
use sqlx::AssertSqlSafe;

use crate::database::{Change, ask};
use crate::{EncryptedMail, Store, StoreError, rows};

/// What the holder of a certificate said can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptCapabilities {
    /// Ciphers, the best one first.
    pub ciphers: Vec<ContentKind>,
    /// Whether keys may be transported by RSAES-OAEP.
    pub oaep: bool,
}

impl KeptCapabilities {
    /// As they lie in the store.
    pub(crate) fn of(ciphers: &str, oaep: i64) -> Self {
        Self {
            ciphers: ciphers.split(' ').filter_map(cipher).collect(),
            oaep: oaep != 0,
        }
    }
}

impl Store {
    /// Keeps, as a part of all that is remembered of these mails, that what has their ids came encrypted for people in
    /// their domains.
    pub(crate) async fn put_encrypted_mails(
        &self,
        change: &mut Change,
        tenant: &str,
        mails: &[&EncryptedMail],
    ) -> Result<(), StoreError> {
        let named = mails.iter().filter(|mail| mail.is_named());
        let swept = &self.swept.encrypted_mail;
        let due = swept.first_due(named.filter_map(|mail| mail.at));
        if let Some(now) = due {
            ask!(self, change.execute: "DELETE FROM encrypted_mail WHERE tenant = $1 AND at < $2",
                tenant, now.saturating_sub(REMEMBERED))?;
        }
        for some in names(mails).chunks(rows::MOST) {
            let rows = rows::filled(some);
            let text = AssertSqlSafe(format!(
                "WITH given (id, domain, at) AS (VALUES {}) \
                 INSERT INTO encrypted_mail (tenant, id, domain, at) \
                 SELECT $1, id, domain, at FROM given WHERE id IS NOT NULL \
                 ON CONFLICT (tenant, id, domain) DO UPDATE SET at = excluded.at",
                rows::places(rows.len(), 3)
            ));
            ask!(self, change.execute: text, tenant; for row in &rows =>
                row.map(|row| row.id.as_slice()), row.map(|row| row.domain), row.map(|row| row.at))?;
        }
        Ok(())
    }

    /// Whether mail with one of these ids came encrypted for somebody in one of these domains, and is not forgotten by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_encrypted_mail(
        &self,
        tenant: &str,
        ids: &[[u8; 32]],
        domains: &[&str],
        now: i64,
    ) -> Result<bool, StoreError> {
        let since = now.saturating_sub(REMEMBERED);
        for domain in domains {
            for some in ids.chunks(AT_ONCE) {
                let (found,) = ask!(self, fetch_one as (bool,):
                    "SELECT EXISTS (SELECT 1 FROM encrypted_mail WHERE tenant = $1 AND domain = $2 AND at >= $3 \
                     AND id IN ($4, $5, $6, $7, $8, $9, $10, $11))",
                    tenant, *domain, since, nth(some, 0), nth(some, 1), nth(some, 2), nth(some, 3),
                    nth(some, 4), nth(some, 5), nth(some, 6), nth(some, 7))?;
                if found {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Keeps what the holder of a certificate said at this time (seconds since 1970), unless something newer is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_capabilities(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
        said: &KeptCapabilities,
        now: i64,
    ) -> Result<(), StoreError> {
        ask!(self, execute:
            "INSERT INTO capability (tenant, sha256, ciphers, oaep, at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, sha256) DO UPDATE SET ciphers = excluded.ciphers, oaep = excluded.oaep, \
             at = excluded.at WHERE capability.at <= excluded.at",
            tenant, sha256.as_slice(), words(&said.ciphers), i64::from(said.oaep), now)?;
        Ok(())
    }

    /// What the holder of a certificate said last; nothing where nobody heard it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn capabilities(
        &self,
        tenant: &str,
        sha256: &[u8; 32],
    ) -> Result<Option<KeptCapabilities>, StoreError> {
        let row = ask!(self, fetch_optional as (String, i64):
            "SELECT ciphers, oaep FROM capability WHERE tenant = $1 AND sha256 = $2",
            tenant, sha256.as_slice())?;
        Ok(row.map(|(ciphers, oaep)| KeptCapabilities::of(&ciphers, oaep)))
    }
}

/// A mail's id, and a domain of people it was for.
struct Name<'a> {
    id: &'a [u8; 32],
    domain: &'a str,
    at: i64,
}

/// Each once, with the time of the last mail that has it: PostgreSQL changes no row twice in one statement.
fn names<'a>(mails: &[&'a EncryptedMail]) -> Vec<Name<'a>> {
    let mut all = BTreeMap::new();
    for &mail in mails {
        for id in &mail.ids {
            for domain in &mail.domains {
                all.insert((id, domain.as_str()), mail.time());
            }
        }
    }
    let name = |((id, domain), at)| Name { id, domain, at };
    all.into_iter().map(name).collect()
}

/// One of these, and the last where there are not so many.
fn nth(some: &[[u8; 32]], place: usize) -> &[u8] {
    let one = some.get(place).or_else(|| some.last());
    one.map_or(&[][..], |one| one.as_slice())
}

fn words(ciphers: &[ContentKind]) -> String {
    let word = |kind: &ContentKind| {
        let known = CIPHERS.iter().find(|(own, _)| own == kind);
        known.map(|(_, word)| *word)
    };
    ciphers
        .iter()
        .filter_map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word of a later version is passed over.
fn cipher(word: &str) -> Option<ContentKind> {
    let known = CIPHERS.iter().find(|(_, own)| *own == word);
    known.map(|(kind, _)| *kind)
}

const CIPHERS: [(ContentKind, &str); 7] = [
    (ContentKind::AesGcm(Aes::Bits256), "aes256-gcm"),
    (ContentKind::AesGcm(Aes::Bits192), "aes192-gcm"),
    (ContentKind::AesGcm(Aes::Bits128), "aes128-gcm"),
    (ContentKind::ChaCha20Poly1305, "chacha20-poly1305"),
    (ContentKind::AesCbc(Aes::Bits256), "aes256-cbc"),
    (ContentKind::AesCbc(Aes::Bits192), "aes192-cbc"),
    (ContentKind::AesCbc(Aes::Bits128), "aes128-cbc"),
];

/// How long answers may come, in seconds.
const REMEMBERED: i64 = 400 * 24 * 60 * 60;
/// Ids that one statement asks about.
const AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_TENANT;
    use crate::testplace::{Place, on_both};

    on_both!(
        mail_that_came_encrypted_is_known_for_four_hundred_days,
        what_a_holder_said_last_is_kept,
    );

    async fn mail_that_came_encrypted_is_known_for_four_hundred_days(place: &Place) {
        let store = place.open().await;
        let (one, other) = ([1; 32], [2; 32]);
        let put = |ids: Vec<[u8; 32]>, now| {
            let store = store.clone();
            async move {
                let domains = ["own.example", "branch.example"];
                let mail = EncryptedMail {
                    ids,
                    domains: domains.map(str::to_owned).to_vec(),
                    at: Some(now),
                    ..EncryptedMail::default()
                };
                let put = store.remember_encrypted(DEFAULT_TENANT, mail);
                assert!(put.await.unwrap().is_empty());
            }
        };
        let known = |tenant, ids: Vec<[u8; 32]>, domain, now| {
            let store = store.clone();
            async move {
                let domains = [domain];
                let asked = store.is_encrypted_mail(tenant, &ids, &domains, now);
                asked.await.unwrap()
            }
        };
        put(vec![one], 1000).await;
        put(vec![one], 1000).await;
        put(Vec::new(), 1000).await;
        let last = 1000 + REMEMBERED;
        assert!(known(DEFAULT_TENANT, vec![one], "own.example", last).await);
        assert!(known(DEFAULT_TENANT, vec![one], "branch.example", last).await);
        assert!(!known(DEFAULT_TENANT, vec![one], "own.example", last + 1).await);
        assert!(!known(DEFAULT_TENANT, vec![one], "partner.example", last).await);
        assert!(!known(DEFAULT_TENANT, vec![other], "own.example", last).await);
        assert!(!known(DEFAULT_TENANT, Vec::new(), "own.example", last).await);
        assert!(!known("other", vec![one], "own.example", last).await);
        // One of many, wherever it stands among them.
        for at in [0, 7, 8, 20] {
            let mut many: Vec<[u8; 32]> = (0..21).map(|n| [n + 100; 32]).collect();
            assert!(!known(DEFAULT_TENANT, many.clone(), "own.example", last).await);
            many[at] = one;
            assert!(known(DEFAULT_TENANT, many, "own.example", last).await);
        }
        put(vec![other], last + 1).await;
        assert!(
            !known(DEFAULT_TENANT, vec![one], "own.example", 1000).await,
            "forgotten"
        );
    }

    async fn what_a_holder_said_last_is_kept(place: &Place) {
        let store = place.open().await;
        let sha256 = [3; 32];
        let said = |ciphers: &[ContentKind], oaep| KeptCapabilities {
            ciphers: ciphers.to_vec(),
            oaep,
        };
        let kept = |tenant| {
            let store = store.clone();
            async move { store.capabilities(tenant, &sha256).await.unwrap() }
        };
        assert_eq!(kept(DEFAULT_TENANT).await, None);
        let all: Vec<ContentKind> = CIPHERS.iter().map(|(kind, _)| *kind).collect();
        let (first, later, none) = (said(&all, true), said(&all[4..], false), said(&[], false));
        for (new, now, expected) in [
            (&first, 1000, &first),
            (&later, 2000, &later),
            // One that was on its way for longer is no news.
            (&first, 1500, &later),
            (&none, 2000, &none),
        ] {
            let put = store.put_capabilities(DEFAULT_TENANT, &sha256, new, now);
            put.await.unwrap();
            assert_eq!(kept(DEFAULT_TENANT).await.as_ref(), Some(expected));
        }
        assert_eq!(kept("other").await, None);
    }
}
