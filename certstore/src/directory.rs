//! Certificates of people in a directory (LDAP), found by mail address.
//!
//! A directory is asked and not believed: only certificates in which the address itself stands come back, and whether
//! one leads to an anchor and is not revoked is for others to decide. It is never written to, referrals are never
//! followed, and a password goes over TLS only, or to this machine.
//!
//! The protocol is a few messages and is spoken here (`message.rs`): a URL of a certificate may lead to anybody's
//! server, and an answer must neither end the process by its depth nor fill the memory.
//! <https://www.rfc-editor.org/rfc/rfc4511>; the attributes: <https://www.rfc-editor.org/rfc/rfc4523>,
//! <https://www.rfc-editor.org/rfc/rfc2798#section-2.8>.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::breaker::Breaker;
use crate::fetch::{Resolve, Scope, system_resolver, tls_client};

mod cached;
mod connection;
mod error;
mod filter;
mod message;
mod settings;

pub use cached::Asked;
pub(crate) use connection::{Answer, Connection, Question, To, Way};
pub use error::DirectoryError;
pub use filter::Filter;
#[doc(hidden)]
pub use message::first_message;
pub(crate) use settings::split;
pub use settings::{Bind, DirectorySettings, ParseServerError, Security, Server, SettingsMistake};

/// A directory that is asked for certificates.
pub struct Directory {
    settings: DirectorySettings,
    bind: Option<Bind>,
    tls: Arc<ClientConfig>,
    resolve: Resolve,
    /// Connections that wait for the next question, and since when.
    idle: Mutex<Vec<(Connection, Instant)>>,
    /// How many may ask at once.
    turns: Semaphore,
    breaker: Mutex<Breaker>,
    begun: Instant,
    dropped: AtomicU64,
}

/// What a directory had for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Certificates in which the address stands, those that end last first; 64 at most.
    pub certificates: Vec<Certificate>,
    /// What else was in the entries.
    pub dropped: Dropped,
    /// More entries have the address than were asked for.
    pub more: bool,
}

/// Values that were left out, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Certificates without the address.
    pub foreign: u64,
    /// No certificates, nor a PKCS#7 of them.
    pub unreadable: u64,
    /// Longer than 64 KiB, or certificates with the address beyond the 64 that end last.
    pub too_much: u64,
}

impl Dropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.foreign
            .saturating_add(self.unreadable)
            .saturating_add(self.too_much)
    }
}

impl Directory {
    /// A directory with these settings, under one of the authorities in `ca` (PEM) or those that the web trusts.
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used.
    pub fn new(
        settings: DirectorySettings,
        ca: Option<&[u8]>,
        bind: Option<Bind>,
    ) -> Result<Self, SettingsMistake> {
        settings.check()?;
        let tls = tls_client(ca).map_err(|error| SettingsMistake {
            key: "ca",
            text: error.to_string(),
        })?;
        if let Some(bind) = &bind {
            bind.check(&settings)?;
        }
        Ok(Self {
            settings,
            bind,
            tls,
            resolve: system_resolver(),
            idle: Mutex::new(Vec::new()),
            turns: Semaphore::new(AT_ONCE),
            breaker: Mutex::new(Breaker::default()),
            begun: Instant::now(),
            dropped: AtomicU64::new(0),
        })
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// Its settings.
    pub fn settings(&self) -> &DirectorySettings {
        &self.settings
    }

    /// The certificates in which this address stands.
    ///
    /// # Errors
    ///
    /// Why the directory gave no answer.
    pub async fn find(&self, address: &Address) -> Result<Vec<Certificate>, DirectoryError> {
        Ok(self.ask(address).await?.certificates)
    }

    /// The same, and what was left out.
    ///
    /// # Errors
    ///
    /// Why the directory gave no answer.
    pub async fn ask(&self, address: &Address) -> Result<Found, DirectoryError> {
        let settings = &self.settings;
        let question = Question {
            base: &settings.base,
            scope: Scope::Sub,
            filter: Filter::of_address(&address.to_string(), &settings.address_attributes)?,
            attributes: &settings.attributes,
            size_limit: settings.size_limit,
            time_limit: self.seconds(),
        };
        lock(&self.breaker).ask(self.begun.elapsed())?;
        let outcome = self.in_time(&question).await;
        let mut breaker = lock(&self.breaker);
        match &outcome {
            Ok(_) => breaker.worked(),
            // Whoever fills one entry does not keep everybody else from being found.
            Err(error) if error.is_of_one_answer() => breaker.worked(),
            // A refusal too: a password that is wrong three times could lock the account.
            Err(_) => breaker.failed(self.begun.elapsed()),
        }
        drop(breaker);
        let found = self.sift(address, outcome?);
        let dropped = found.dropped.total();
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(found)
    }

    /// Asks for the entry where searches begin, whatever happened before.
    ///
    /// # Errors
    ///
    /// Why searches would fail.
    pub async fn probe(&self) -> Result<(), DirectoryError> {
        let question = Question {
            base: &self.settings.base,
            scope: Scope::Base,
            filter: Filter::Present("objectClass".to_owned()),
            // No attributes (RFC 4511 §4.5.1.8).
            attributes: &["1.1".to_owned()],
            size_limit: 1,
            time_limit: self.seconds(),
        };
        self.in_time(&question).await.map(drop)
    }

    /// Values that were left out since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    async fn in_time(&self, question: &Question<'_>) -> Result<Answer, DirectoryError> {
        let limit = self.settings.timeout;
        match timeout(limit, self.exchange(question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DirectoryError::Deadline(limit)),
        }
    }

    async fn exchange(&self, question: &Question<'_>) -> Result<Answer, DirectoryError> {
        // Nobody closes the semaphore.
        let _turn = self.turns.acquire().await;
        if let Some(mut kept) = self.kept() {
            match kept.search(question, MAX_ANSWER).await {
                Ok(answer) => {
                    self.keep(kept);
                    return Ok(answer);
                }
                // A server closes what was idle for too long: that says nothing of the next connection.
                Err(DirectoryError::Broken(_) | DirectoryError::Closed) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.open().await?;
        let answer = connection.search(question, MAX_ANSWER).await?;
        self.keep(connection);
        Ok(answer)
    }

    async fn open(&self) -> Result<Connection, DirectoryError> {
        let settings = &self.settings;
        let security = settings.security();
        let way = Way {
            host: settings.server.host(),
            port: settings.server.port(),
            security,
            to: match security == Security::Plain && !settings.insecure {
                true => To::Here,
                false => To::Any,
            },
            resolve: &self.resolve,
            tls: &self.tls,
        };
        let mut connection = Connection::open(&way).await?;
        if let Some(bind) = &self.bind {
            connection.bind(bind).await?;
        }
        Ok(connection)
    }

    /// A connection that is not too old, the newest first.
    fn kept(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        idle.retain(|(_, since)| since.elapsed() < MAX_IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_KEPT {
            idle.push((connection, Instant::now()));
        }
    }

    /// The certificates of an answer in which the address stands.
    fn sift(&self, address: &Address, answer: Answer) -> Found {
        let mut found = Found {
            more: answer.more,
            ..Found::default()
        };
        let attributes = answer.entries.into_iter().flatten();
        let values = attributes
            .filter(|attribute| self.settings.wants(&attribute.name))
            .flat_map(|attribute| attribute.values);
        // However many there are, all of them are looked at: where somebody's old ones were never removed the good one may
        // be the last. The answer has its bytes.
        for value in values {
            if value.len() > MAX_VALUE {
                found.dropped.too_much = found.dropped.too_much.saturating_add(1);
                continue;
            }
            let Some(certificates) = certificates(&value) else {
                found.dropped.unreadable = found.dropped.unreadable.saturating_add(1);
                continue;
            };
            // A PKCS#7 brings its chain along: those others are no news.
            if !found.take(address, certificates) {
                found.dropped.foreign = found.dropped.foreign.saturating_add(1);
            }
            if found.certificates.len() >= 2 * MAX_CERTIFICATES {
                found.keep_those_that_end_last();
            }
        }
        found.keep_those_that_end_last();
        found
    }

    fn seconds(&self) -> u32 {
        let whole = self.settings.timeout.as_secs().max(1);
        u32::try_from(whole).unwrap_or(u32::MAX)
    }
}

impl Found {
    /// Takes those in which the address stands; says whether one was there.
    fn take(&mut self, address: &Address, certificates: Vec<Certificate>) -> bool {
        let mut any = false;
        for certificate in certificates {
            let addresses = certificate.addresses().unwrap_or_default();
            let holds = addresses
                .iter()
                .any(|one| one.matches(address, AddressCase::Insensitive));
            if holds {
                any = true;
                if !self.certificates.contains(&certificate) {
                    self.certificates.push(certificate);
                }
            }
        }
        any
    }

    /// Leaves out what is too much: none that has ended takes the place of one that has not.
    fn keep_those_that_end_last(&mut self) {
        self.sort();
        let more = self.certificates.len().saturating_sub(MAX_CERTIFICATES);
        self.certificates.truncate(MAX_CERTIFICATES);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        self.dropped.too_much = self.dropped.too_much.saturating_add(more);
    }

    fn sort(&mut self) {
        let end = |one: &Certificate| one.not_after().map_or(i64::MIN, |time| time.0);
        // Those of one second stand in the same order whoever answers.
        self.certificates
            .sort_by(|one, other| (end(other), one.sha256()).cmp(&(end(one), other.sha256())));
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The certificates of a value: one in DER, or those of a PKCS#7 (userSMIMECertificate).
fn certificates(value: &[u8]) -> Option<Vec<Certificate>> {
    match Certificate::from_der(value) {
        Ok(one) => Some(vec![one]),
        Err(_) => Certificate::from_pem_or_der_many(value).ok(),
    }
}

/// A panic elsewhere says nothing of what lies here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Questions at once.
const AT_ONCE: usize = 8;
/// Connections that are kept, and for how long without a question.
const MAX_KEPT: usize = 4;
const MAX_IDLE: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const MAX_ANSWER: usize = 8 << 20;
/// How long a value may be that is read.
const MAX_VALUE: usize = 64 << 10;
/// Certificates with the address that are kept. Whoever judges them looks at no more than 16.
const MAX_CERTIFICATES: usize = 64;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod testserver;
