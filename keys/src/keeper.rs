//! The key process as a state machine: what is granted, what is asked, what is counted. It knows no socket, no file and
//! no clock; the time is a parameter, and private keys work outside of it, in a [`Job`].
//!
//! Whoever has taken over a worker reaches, through this, the keys of the recipients of the mail that the worker has in
//! hand, a few times, and no others. There is no call that gives a key away, and none that tries several.

mod attributes;
mod job;
mod limits;
mod log;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kenin_pki::Address;
use kenin_pki::crypto::{
    DecryptionKey, DigestAlgorithm, KeyError, RejectionSecret, SignatureAlgorithm, SigningKey,
    SoftKey,
};

use crate::key::{KeyFacts, KeyId, mailbox};
use crate::protocol::{Answer, EdgeRequest, Grant, Reach, Refusal, Sign, Transaction, Unwrap};

use job::Task;
use limits::{Limits, Told};
use log::TurnedAway;

pub use attributes::are_of_mail;
pub use job::Job;
pub use limits::Network;
pub use log::{Alert, Event, Log, Outcome, Why};

/// A time: how long the machine has been up then (CLOCK_BOOTTIME). Only differences count.
pub type Moment = Duration;

/// A private key that opens and signs: in memory, or in a token.
pub trait PrivateKey: DecryptionKey + SigningKey {}

impl<T: DecryptionKey + SigningKey> PrivateKey for T {}

/// A key that is held, and the secret of its implicit rejection.
pub struct HeldKey {
    facts: KeyFacts,
    key: Box<dyn PrivateKey>,
    rejection: RejectionSecret,
}

impl HeldKey {
    /// A key in memory.
    ///
    /// # Errors
    /// [`KeyError::Failed`] where the library fails.
    pub fn soft(facts: KeyFacts, key: SoftKey) -> Result<Self, KeyError> {
        let rejection = key.rejection_secret()?;
        Ok(Self::new(facts, Box::new(key), rejection))
    }

    /// Any key.
    #[must_use]
    pub fn new(facts: KeyFacts, key: Box<dyn PrivateKey>, rejection: RejectionSecret) -> Self {
        Self {
            facts,
            key,
            rejection,
        }
    }

    /// What everybody may know of it.
    #[must_use]
    pub const fn facts(&self) -> &KeyFacts {
        &self.facts
    }
}

/// How often a key was let work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Content-encryption keys that it was used for.
    pub unwraps: u64,
    /// Signatures.
    pub signatures: u64,
}

/// What is to be done with a request.
#[must_use]
pub enum Decision {
    /// It is answered.
    Answer(Answer),
    /// A key has to work, after so long.
    Work(Job, Duration),
}

/// The keys, the grants, and what was done.
pub struct Keeper<L> {
    keys: BTreeMap<KeyId, (Arc<HeldKey>, Counts)>,
    /// By tenant and mailbox.
    owners: HashMap<(String, String), Vec<KeyId>>,
    grants: HashMap<Transaction, Granted>,
    limits: Limits,
    told: Told,
    turned_away: TurnedAway,
    refusals: u64,
    swept: Moment,
    log: L,
}

/// What is known of a mail.
struct Granted {
    tenant: String,
    recipients: HashSet<String>,
    sender: Option<String>,
    network: Network,
    until: Moment,
    /// Keys that it has a place with, or was refused by for failures; and the network that it is counted for there.
    places: HashMap<KeyId, Network>,
    uses: Vec<Use>,
    signatures: usize,
}

/// A use of a key for a recipient of a mail, which is a failure where the mail ends before it is said to be none.
struct Use {
    recipient: String,
    key: KeyId,
    opened: bool,
}

impl Granted {
    /// It has ended: what is not known to have opened were failures, and its places are free.
    fn end(self, now: Moment, limits: &mut Limits) {
        for (key, network) in self.places {
            let of_key = self.uses.iter().filter(|one| one.key == key);
            for _ in of_key.filter(|one| !one.opened) {
                limits.fail(now, key, network);
            }
            limits.leave(key, network);
        }
    }
}

impl<L: Log> Keeper<L> {
    /// With these keys. What was not there at the start does not come later.
    #[must_use]
    pub fn new(keys: Vec<HeldKey>, log: L) -> Self {
        let mut owners: HashMap<_, Vec<KeyId>> = HashMap::new();
        for key in &keys {
            for address in &key.facts.addresses {
                let owner = (key.facts.tenant.clone(), mailbox(address));
                owners.entry(owner).or_default().push(key.facts.id);
            }
        }
        let held = |key: HeldKey| (key.facts.id, (Arc::new(key), Counts::default()));
        Self {
            keys: keys.into_iter().map(held).collect(),
            owners,
            grants: HashMap::new(),
            limits: Limits::default(),
            told: Told::default(),
            turned_away: TurnedAway::default(),
            refusals: 0,
            swept: Moment::ZERO,
            log,
        }
    }

    /// How often a key was let work; nothing for one that is not held.
    #[must_use]
    pub fn counts(&self, key: KeyId) -> Option<Counts> {
        self.keys.get(&key).map(|(_, counts)| *counts)
    }

    /// How many requests were refused.
    #[must_use]
    pub const fn refusals(&self) -> u64 {
        self.refusals
    }

    /// What the log keeps.
    #[must_use]
    pub const fn log(&self) -> &L {
        &self.log
    }

    /// Hears the edge.
    pub fn edge(&mut self, now: Moment, request: EdgeRequest) -> Answer {
        let refusals = self.told.untold();
        if refusals > 0 {
            self.log.record(now, &Event::Untold { refusals });
        }
        self.tell_turned_away(now);
        let done = match request {
            EdgeRequest::Grant(grant) => self.grant(now, grant),
            EdgeRequest::Release(transaction) => {
                if let Some(granted) = self.grants.remove(&transaction) {
                    granted.end(now, &mut self.limits);
                }
                self.log.record(now, &Event::Released { transaction });
                self.raise(now);
                Ok(())
            }
            EdgeRequest::Opened {
                transaction,
                recipient,
                key,
            } => self.opened(now, transaction, &recipient, key),
            EdgeRequest::Next(after) => return self.next(now, after),
        };
        match done {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Hears a worker that wants a content-encryption key, over a connection that reaches so far.
    pub fn unwrap(&mut self, now: Moment, reach: Reach, request: Unwrap) -> Decision {
        let (transaction, key) = (request.transaction, request.key);
        let (outcome, decision) = match self.admit_unwrap(now, reach, &request) {
            Ok((held, late)) => {
                let length = usize::try_from(request.length).unwrap_or(0);
                let job = Job {
                    key: held,
                    transaction,
                    task: Task::Unwrap {
                        recipient: mailbox(&request.recipient),
                        wrapped: request.wrapped,
                        length,
                    },
                };
                let (outcome, delay) = match late {
                    true => (Outcome::Delayed, DELAY),
                    false => (Outcome::Admitted, Duration::ZERO),
                };
                (outcome, Decision::Work(job, delay))
            }
            Err(why) => (Outcome::Refused(why), refused(why)),
        };
        let event = Event::Unwrap {
            transaction,
            recipient: request.recipient,
            key,
            outcome,
        };
        let is_written = self.note_of_worker(now, &event, outcome);
        self.if_written(is_written, decision)
    }

    /// Hears a worker that wants a signature, over a connection that reaches so far.
    pub fn sign(&mut self, now: Moment, reach: Reach, request: Sign) -> Decision {
        let (transaction, key) = (request.transaction, request.key);
        let (outcome, decision) = match self.admit_sign(now, reach, &request) {
            Ok(held) => {
                let job = Job {
                    key: held,
                    transaction,
                    task: Task::Sign(request.algorithm, request.attributes),
                };
                (Outcome::Admitted, Decision::Work(job, Duration::ZERO))
            }
            Err(why) => (Outcome::Refused(why), refused(why)),
        };
        let event = Event::Sign {
            transaction,
            key,
            outcome,
        };
        let is_written = self.note_of_worker(now, &event, outcome);
        self.if_written(is_written, decision)
    }

    /// No key works of which nobody could tell afterwards: mail waits until the record can be written again.
    fn if_written(&mut self, is_written: bool, decision: Decision) -> Decision {
        match decision {
            Decision::Work(job, _) if !is_written => {
                self.forget(&job);
                Decision::Answer(Answer::Refused(Refusal::Unavailable))
            }
            other => other,
        }
    }

    /// Hears that a key was not at hand: that was no failure of whoever sent the mail, and is not counted as one.
    pub fn away(&mut self, now: Moment, job: &Job) {
        let (transaction, key) = (job.transaction, job.key());
        if let Task::Unwrap { recipient, .. } = &job.task {
            self.take_back(transaction, recipient, key);
        }
        self.log.record(now, &Event::Away { transaction, key });
    }

    /// Hears that a key was not let work, since too many answers wait: that tells nothing of the mail either.
    pub fn unused(&mut self, now: Moment, job: &Job) {
        let (transaction, key) = (job.transaction, job.key());
        self.forget(job);
        self.log.record(now, &Event::Unused { transaction, key });
    }

    /// Hears that a connection was turned away.
    pub fn turned_away(&mut self, now: Moment) {
        self.turned_away.one_more();
        self.tell_turned_away(now);
    }

    fn tell_turned_away(&mut self, now: Moment) {
        if let Some(connections) = self.turned_away.due(now) {
            self.log.record(now, &Event::TurnedAway { connections });
        }
    }

    /// A key did not work after all.
    fn forget(&mut self, job: &Job) {
        let key = job.key();
        if let Task::Unwrap { recipient, .. } = &job.task {
            self.take_back(job.transaction, recipient, key);
        }
        if let Some((_, counts)) = self.keys.get_mut(&key) {
            let uses = match job.task {
                Task::Unwrap { .. } => &mut counts.unwraps,
                Task::Sign(..) => &mut counts.signatures,
            };
            *uses = uses.saturating_sub(1);
        }
    }

    fn grant(&mut self, now: Moment, grant: Grant) -> Result<(), Refusal> {
        self.sweep(now);
        let transaction = grant.transaction;
        if self.grants.len() >= MAX_GRANTS {
            self.end_expired(now);
        }
        let refused = if self.grants.len() >= MAX_GRANTS {
            Some((Why::Full, Refusal::Busy))
        } else if self.grants.contains_key(&transaction) {
            // One that is made anew could be made wider.
            Some((Why::GrantedBefore, Refusal::NotGranted))
        } else {
            None
        };
        let network = Network::of(grant.client);
        let outcome = match refused {
            Some((why, _)) => Outcome::Refused(why),
            None => Outcome::Admitted,
        };
        let event = Event::Grant {
            transaction,
            tenant: grant.tenant.clone(),
            recipients: grant.recipients.len(),
            network,
            outcome,
        };
        self.note(now, &event, outcome);
        if let Some((_, refusal)) = refused {
            return Err(refusal);
        }
        let lifetime = Duration::from_secs(grant.seconds.into()).min(MAX_LIFETIME);
        let granted = Granted {
            tenant: grant.tenant,
            recipients: grant.recipients.iter().map(mailbox).collect(),
            sender: grant.sender.as_ref().map(mailbox),
            network,
            until: now.saturating_add(lifetime),
            places: HashMap::new(),
            uses: Vec::new(),
            signatures: 0,
        };
        self.grants.insert(transaction, granted);
        Ok(())
    }

    /// Hears that a use was no failure. There are not more of them than uses.
    fn opened(
        &mut self,
        now: Moment,
        transaction: Transaction,
        recipient: &Address,
        key: KeyId,
    ) -> Result<(), Refusal> {
        let outcome = if self.take_back(transaction, &mailbox(recipient), key) {
            Outcome::Admitted
        } else if self.grants.contains_key(&transaction) {
            Outcome::Refused(Why::NotUsed)
        } else {
            // Which mail it is about the edge says and no worker. It took long, and what it used has failed.
            Outcome::Refused(Why::Expired)
        };
        let event = Event::Opened {
            transaction,
            recipient: recipient.clone(),
            key,
            outcome,
        };
        self.note(now, &event, outcome);
        match outcome {
            Outcome::Refused(_) => Err(Refusal::NotGranted),
            _ => Ok(()),
        }
    }

    /// One use of a key is no failure, if there is one of which nothing was said yet.
    fn take_back(&mut self, transaction: Transaction, mailbox: &str, key: KeyId) -> bool {
        let Some(granted) = self.grants.get_mut(&transaction) else {
            return false;
        };
        let pending = |one: &&mut Use| !one.opened && one.key == key && one.recipient == mailbox;
        let Some(one) = granted.uses.iter_mut().find(pending) else {
            return false;
        };
        one.opened = true;
        true
    }

    fn next(&mut self, now: Moment, after: Option<KeyId>) -> Answer {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let next = self.keys.range((from, Unbounded)).next();
        let key = next.map(|(id, _)| *id);
        self.log.record(now, &Event::Shown { key });
        next.map_or(Answer::NoMore, |(_, (key, _))| {
            Answer::Facts(Box::new(key.facts.clone()))
        })
    }

    /// What an unwrap needs before a private key is touched: a grant that holds, for that recipient, whose key it is,
    /// which has a place for the mail and has not failed too often. With whether the answer waits.
    fn admit_unwrap(
        &mut self,
        now: Moment,
        reach: Reach,
        request: &Unwrap,
    ) -> Result<(Arc<HeldKey>, bool), Why> {
        let granted = that_holds(&mut self.grants, now, reach, request.transaction)?;
        let recipient = mailbox(&request.recipient);
        if !granted.recipients.contains(&recipient) {
            return Err(Why::NotRecipient);
        }
        let owner = (granted.tenant.clone(), recipient);
        let theirs = self.owners.get(&owner).map_or(&[][..], Vec::as_slice);
        let (held, counts) = match self.keys.get_mut(&request.key) {
            Some(found) if theirs.contains(&request.key) => found,
            _ => return Err(Why::NotTheirs),
        };
        if !held.facts.uses.decrypt {
            return Err(Why::NotForThat);
        }
        let of_key = granted.uses.iter().filter(|one| one.key == request.key);
        if of_key.count() >= MAX_USES_OF_KEY || granted.uses.len() >= MAX_USES {
            return Err(Why::Spent);
        }
        let network = match granted.places.get(&request.key) {
            // A mail that has begun is not told in the middle to come later.
            Some(network) => *network,
            None => {
                let network = self.limits.enter(request.key, granted.network)?;
                granted.places.insert(request.key, network);
                network
            }
        };
        let late = self.limits.admit(now, request.key, network)?;
        granted.uses.push(Use {
            recipient: owner.1,
            key: request.key,
            opened: false,
        });
        counts.unwraps += 1;
        Ok((Arc::clone(held), late))
    }

    /// What a signature needs before a private key is touched: a grant that holds, of a mail whose sender was proven, who
    /// has this key in use, over what belongs to a mail.
    fn admit_sign(
        &mut self,
        now: Moment,
        reach: Reach,
        request: &Sign,
    ) -> Result<Arc<HeldKey>, Why> {
        let granted = that_holds(&mut self.grants, now, reach, request.transaction)?;
        let sender = granted.sender.clone().ok_or(Why::NotSender)?;
        let owner = (granted.tenant.clone(), sender);
        let theirs = self.owners.get(&owner).map_or(&[][..], Vec::as_slice);
        let (held, counts) = match self.keys.get_mut(&request.key) {
            Some(found) if theirs.contains(&request.key) => found,
            _ => return Err(Why::NotTheirs),
        };
        if !held.facts.may_sign() || is_weak(request.algorithm) {
            return Err(Why::NotForThat);
        }
        if !are_of_mail(&request.attributes) {
            return Err(Why::NotOfMail);
        }
        if granted.signatures >= MAX_SIGNATURES {
            return Err(Why::Spent);
        }
        self.limits.sign(now, request.key)?;
        granted.signatures += 1;
        counts.signatures += 1;
        Ok(Arc::clone(held))
    }

    /// Writes down what a worker has asked for. Of what is refused only so much; every use of a key.
    fn note_of_worker(&mut self, now: Moment, event: &Event, outcome: Outcome) -> bool {
        if !matches!(outcome, Outcome::Refused(_)) || self.told.one_more(now) {
            return self.note(now, event, outcome);
        }
        self.count(now, outcome);
        true
    }

    /// Writes down what was asked and what came of it; whether that could be written.
    fn note(&mut self, now: Moment, event: &Event, outcome: Outcome) -> bool {
        let is_written = self.log.record(now, event);
        self.count(now, outcome);
        is_written
    }

    /// Counts what was refused, and raises what should not wait until somebody reads it.
    fn count(&mut self, now: Moment, outcome: Outcome) {
        if matches!(outcome, Outcome::Refused(_)) {
            self.refusals += 1;
        }
        if matches!(outcome, Outcome::Refused(why) if why.is_hostile()) {
            self.limits.hostile(now);
        }
        self.raise(now);
    }

    fn raise(&mut self, now: Moment) {
        for alert in self.limits.alerts() {
            self.log.record(now, &Event::Alert(alert));
        }
    }

    /// Forgets what has ended, now and then.
    fn sweep(&mut self, now: Moment) {
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.end_expired(now);
            self.limits.sweep(now);
        }
    }

    /// Mails of which nobody has said that they have ended, and whose time is over.
    fn end_expired(&mut self, now: Moment) {
        let expired = self.grants.extract_if(|_, granted| now >= granted.until);
        for (_, granted) in expired {
            granted.end(now, &mut self.limits);
        }
    }
}

/// What a mail was granted, where it is one of the connection's and its time is not over.
fn that_holds(
    grants: &mut HashMap<Transaction, Granted>,
    now: Moment,
    reach: Reach,
    transaction: Transaction,
) -> Result<&mut Granted, Why> {
    // Before it is looked for: over its own connection nobody finds out about another mail, not even whether there is one.
    if !reach.has(transaction) {
        return Err(Why::AnotherMail);
    }
    let granted = grants.get_mut(&transaction).ok_or(Why::NoGrant)?;
    match now < granted.until {
        true => Ok(granted),
        false => Err(Why::Expired),
    }
}

/// Digests by which nothing new is signed.
const fn is_weak(algorithm: SignatureAlgorithm) -> bool {
    matches!(
        algorithm.digest(),
        DigestAlgorithm::Md5 | DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224
    )
}

const fn refused(why: Why) -> Decision {
    Decision::Answer(Answer::Refused(match why {
        Why::TooManyFailures | Why::TooMuchWork => Refusal::TooManyFailures,
        Why::Busy => Refusal::Busy,
        _ => Refusal::NotGranted,
    }))
}

/// Grants at one time.
pub const MAX_GRANTS: usize = 4096;
/// How long a grant holds at most: longer than any client waits for the answer to its data.
pub const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How often one key works for one mail: so many layers deep is no mail.
pub const MAX_USES_OF_KEY: usize = 8;
/// How often all keys work for one mail.
pub const MAX_USES: usize = 1024;
/// Signatures of one mail: one for each group of recipients who get it differently.
pub const MAX_SIGNATURES: usize = 16;
/// How long an answer waits where a key fails too often.
pub const DELAY: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
