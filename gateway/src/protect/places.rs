//! Where certificates of recipients are found: the store first, then the directories, behind a cache. What is found is a
//! candidate and no more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kenin_certstore::directory::Directory;
use kenin_certstore::{AnswerCache, DEFAULT_TENANT, KeptRecipient, Store, TenantCache};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::config::{Config, ConfigError};
use crate::services;

/// The directories, and what they said lately. They outlive a snapshot: one that fails is left alone for a while, and
/// connections are kept.
#[derive(Debug, Default)]
pub(crate) struct Places {
    directories: Vec<Directory>,
    cache: Option<TenantCache>,
}

/// What all directories had for an address.
#[derive(Debug, Default)]
pub(super) struct InDirectories {
    pub(super) certificates: Vec<Certificate>,
    /// Some did not answer.
    pub(super) silent: bool,
}

impl Places {
    /// Those of the settings. Connects to nothing.
    pub(crate) fn open(config: &Config) -> Result<Self, ConfigError> {
        let directories = config.directories.iter().enumerate();
        let directories = directories
            .map(|(index, one)| services::directory(config, index, one))
            .collect::<Result<_, _>>()?;
        let cache = services::shared_cache(config)?;
        Ok(Self {
            directories,
            cache: cache.map(|cache| Arc::new(cache).of(DEFAULT_TENANT)),
        })
    }

    /// Whether there is any directory to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// What the directories have for these addresses.
    pub(super) async fn ask(self: &Arc<Self>, addresses: &[Address]) -> Vec<InDirectories> {
        let questions: Vec<(usize, Address)> = addresses
            .iter()
            .flat_map(|address| (0..self.directories.len()).map(|at| (at, address.clone())))
            .collect();
        let answers = at_once(questions, DIRECTORIES, |(at, address)| {
            let places = Arc::clone(self);
            async move { places.one(at, &address).await }
        });
        let mut answers = answers.await.into_iter();
        let of_one = |_: &Address| {
            let (mut each, mut silent) = (Vec::new(), false);
            for answer in answers.by_ref().take(self.directories.len()) {
                match answer.flatten() {
                    Some(certificates) => each.push(certificates),
                    None => silent = true,
                }
            }
            InDirectories {
                certificates: in_turn(each),
                silent,
            }
        };
        addresses.iter().map(of_one).collect()
    }

    async fn one(&self, at: usize, address: &Address) -> Option<Vec<Certificate>> {
        let directory = self.directories.get(at)?;
        let cache = self.cache.as_ref().map(|cache| cache as &dyn AnswerCache);
        match directory.ask_through(cache, address).await {
            Ok(asked) => {
                let left_out = asked.found.dropped.too_much;
                if left_out > 0 {
                    let server = &directory.settings().server;
                    warn!(
                        %server,
                        left_out,
                        "certificates of a directory are left out, too many for an address or too long"
                    );
                }
                Some(asked.found.certificates)
            }
            Err(error) => {
                let server = &directory.settings().server;
                warn!(%server, %error, "a directory of certificates does not answer");
                None
            }
        }
    }
}

/// What the store has for these addresses; nothing where it does not answer.
pub(super) async fn in_store(
    store: &Store,
    addresses: &[Address],
) -> Vec<Option<Vec<KeptRecipient>>> {
    let answers = at_once(addresses.to_vec(), STORE, |address| {
        let store = store.clone();
        async move {
            let found = store.recipients_by_address(DEFAULT_TENANT, &address);
            found
                .await
                .inspect_err(|error| warn!(%error, "the store does not tell certificates"))
                .ok()
        }
    });
    answers.await.into_iter().map(Option::flatten).collect()
}

/// One of each, then the next one of each: not all are looked at, and a directory that has many hides none of another.
fn in_turn<T>(each: Vec<Vec<T>>) -> Vec<T> {
    let mut each: Vec<_> = each.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(each.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

/// Asks all questions at once; what has not come by then is nothing.
async fn at_once<Q, T, F>(
    questions: Vec<Q>,
    patience: Duration,
    ask: impl Fn(Q) -> F,
) -> Vec<Option<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut found: Vec<Option<T>> = questions.iter().map(|_| None).collect();
    let mut asked = JoinSet::new();
    for (at, question) in questions.into_iter().enumerate() {
        let answer = ask(question);
        asked.spawn(async move { (at, answer.await) });
    }
    let all = async {
        while let Some(done) = asked.join_next().await {
            if let Ok((at, answer)) = done
                && let Some(place) = found.get_mut(at)
            {
                *place = Some(answer);
            }
        }
    };
    let _ = timeout(patience, all).await;
    found
}

/// The store's part of our time for one message.
const STORE: Duration = Duration::from_secs(2);
/// The directories' part.
const DIRECTORIES: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_come_in_time_keeps_nothing_else_away() {
        let patience = Duration::from_millis(50);
        let found = at_once(vec![1, 2, 3], patience, |n| async move {
            if n == 2 {
                std::future::pending::<()>().await;
            }
            n * 10
        });
        assert_eq!(found.await, [Some(10), None, Some(30)]);
        let none = at_once(Vec::<u8>::new(), patience, |n| async move { n });
        assert!(none.await.is_empty());
    }

    #[test]
    fn a_directory_that_has_many_hides_none_of_another() {
        let all = in_turn(vec![vec![1, 2, 3, 4], vec![], vec![10], vec![20, 21]]);
        assert_eq!(all, [1, 10, 20, 2, 21, 3, 4]);
        assert!(in_turn(Vec::<Vec<u8>>::new()).is_empty());
    }

    #[tokio::test]
    async fn without_a_directory_nobody_is_silent() {
        let places = Arc::new(Places::default());
        assert!(places.is_empty());
        let address = Address::parse("bob@partner.example").unwrap();
        let found = places.ask(&[address.clone(), address]).await;
        assert_eq!(found.len(), 2);
        let quiet = |one: &InDirectories| !one.silent && one.certificates.is_empty();
        assert!(found.iter().all(quiet));
    }
}
