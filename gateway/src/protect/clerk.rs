//! Answers the questions of a plan: certificates from where they are found, keys by what the mail was granted, and what
//! came encrypted from the store. What cannot be found out now is said to be so.

use std::time::Duration;

use kenin_certstore::DEFAULT_TENANT;
use kenin_pki::address::Address;
use kenin_policy::protect::{Answer, Answered, Found, Question, Unavailable};
use tokio::time::timeout;
use tracing::warn;

use super::Author;
use super::candidates::Search;
use crate::clock::{Moment, unix_time};
use crate::pipeline::{Core, Waiter};
use crate::snapshot::Snapshot;

/// Answers the questions of a plan, on a thread that may wait.
pub(crate) struct Clerk<'a> {
    snapshot: &'a Snapshot,
    author: &'a Author,
    now: Moment,
    core: Option<&'a Core>,
    search: Search<'a>,
}

impl<'a> Clerk<'a> {
    /// For the mail of this author; the core that it has is given back while this waits.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        author: &'a Author,
        now: Moment,
        core: Option<&'a Core>,
    ) -> Self {
        Self {
            snapshot,
            author,
            now,
            core,
            search: Search::new(snapshot, core, now),
        }
    }

    /// What can be found out now, one answer for each question.
    pub(crate) fn answer(&mut self, questions: Vec<Question>) -> Vec<Answered> {
        // All mailboxes at once: whoever is asked over the network is asked for all of them.
        let addresses: Vec<Address> = questions
            .iter()
            .filter_map(|question| match question {
                Question::RecipientCertificates(address) => Some(address.clone()),
                Question::SenderKey(_) | Question::CameEncrypted(_) => None,
            })
            .collect();
        let mut found = match addresses.is_empty() {
            true => Vec::new(),
            false => self.search.find(&addresses),
        }
        .into_iter();
        let answer = |question: Question| {
            let answer = match &question {
                Question::RecipientCertificates(_) => {
                    Answer::Certificates(found.next().unwrap_or_else(nowhere))
                }
                Question::SenderKey(_) => self.key(),
                Question::CameEncrypted(ids) => self.came_encrypted(ids),
            };
            Answered { question, answer }
        };
        questions.into_iter().map(answer).collect()
    }

    fn key(&self) -> Answer {
        match self.author.gone {
            true => Answer::Unavailable(Unavailable::Keys),
            false => Answer::SenderKey(self.author.key.is_some()),
        }
    }

    fn came_encrypted(&self, ids: &[[u8; 32]]) -> Answer {
        let gone = Answer::Unavailable(Unavailable::Store);
        if self.author.domains.is_empty() {
            return Answer::CameEncrypted(false);
        }
        let (Some(store), Ok(waiter)) = (&self.snapshot.store, Waiter::here(self.core)) else {
            return gone;
        };
        let domains: Vec<&str> = self.author.domains.iter().map(String::as_str).collect();
        // By a clock that is ahead all would be forgotten, and answered in clear.
        let now = match self.now.trust.is_trusted() {
            true => unix_time(self.now.time).0,
            false => 0,
        };
        let asked = store.is_encrypted_mail(DEFAULT_TENANT, ids, &domains, now);
        match waiter.block_on(timeout(STORE_PATIENCE, asked)) {
            Ok(Ok(came)) => Answer::CameEncrypted(came),
            Ok(Err(error)) => {
                warn!(%error, "the store does not tell what came encrypted");
                gone
            }
            Err(_) => gone,
        }
    }
}

/// An answer that got lost is no good certificate.
fn nowhere() -> Found {
    Found {
        candidates: Vec::new(),
        unavailable: Some(Unavailable::Store),
    }
}

/// The store's part of our time for one message.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
