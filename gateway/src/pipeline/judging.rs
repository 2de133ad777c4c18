//! From the bytes of a message to its verdict: ask and answer until there is one. Who answers may wait, and is
//! somewhere else than who decides where that is in a worker.

use std::time::{Duration, SystemTime};

use kenin_certstore::{DEFAULT_TENANT, Store};
use kenin_pki::address::Address;
use kenin_pki::time::UnixTime;
use kenin_policy::scrub::Scrubber;
use kenin_policy::verdict::Verdict;
use kenin_policy::{Answer, Case, Question, step};

use super::cores::{Core, Waiter};
use crate::clock::unix_time;
use crate::snapshot::Snapshot;
use crate::status::Desk;

/// From the bytes of a message to its verdict; the tests put in one that fails.
pub(super) type Judge = fn(&[u8], &Snapshot, SystemTime, &Core) -> Verdict;

/// Ask and answer, until the verdict.
pub(super) fn judge(raw: &[u8], snapshot: &Snapshot, now: SystemTime, core: &Core) -> Verdict {
    let time = unix_time(now);
    let mut clerk = Clerk::new(snapshot, time, Some(core));
    let mut all = |questions: &[Question]| clerk.answers(questions);
    verdict_of(raw, snapshot, time, &mut all)
}

/// The verdict on a message, by whoever answers what is open at one time.
pub(crate) fn verdict_of(
    raw: &[u8],
    snapshot: &Snapshot,
    time: UnixTime,
    answer: impl FnMut(&[Question]) -> Vec<Answer>,
) -> Verdict {
    let known = &snapshot.known;
    let config = &snapshot.config;
    let limits = config.engine_limits();
    let scrubber = Scrubber::new(&config.authserv_id, &config.site_authserv_ids);
    let case = Case::cached(
        raw,
        &snapshot.trust,
        known.intermediates(),
        time,
        &limits,
        &snapshot.paths,
    )
    .within(config.caps.budget())
    .scrubbed_by(raw, &scrubber);
    step::run_together(&case, answer).verdict
}

/// Answers the questions of one message, on a thread that may wait.
pub(crate) struct Clerk<'a> {
    desk: Desk<'a>,
    store: Option<&'a Store>,
    core: Option<&'a Core>,
}

impl<'a> Clerk<'a> {
    /// For a message that is judged at this time; the core that it has is given back while this waits.
    pub(crate) fn new(snapshot: &'a Snapshot, time: UnixTime, core: Option<&'a Core>) -> Self {
        let desk = Desk::new(snapshot, time);
        Self {
            desk: match core {
                Some(core) => desk.giving_back(core),
                None => desk,
            },
            store: snapshot.store.as_ref(),
            core,
        }
    }

    /// What is known here, or can be asked for: for each of these.
    pub(crate) fn answers(&mut self, questions: &[Question]) -> Vec<Answer> {
        let all = questions.iter();
        all.map(|question| self.answer(question)).collect()
    }

    /// The same for one.
    pub(crate) fn answer(&mut self, question: &Question) -> Answer {
        match question {
            Question::Issuers {
                name,
                key_id,
                child,
            } => self.desk.issuers(name, key_id.as_deref(), child),
            Question::Status {
                certificate,
                issuer,
                candidates,
            } => self.desk.status(certificate, issuer, candidates),
            Question::Registration {
                certificate,
                address,
            } => registered(self.store, certificate, address, self.core),
        }
    }
}

/// Asks the store.
fn registered(
    store: Option<&Store>,
    certificate: &[u8; 32],
    address: &Address,
    core: Option<&Core>,
) -> Answer {
    let Some(store) = store else {
        return Answer::Registered(false);
    };
    let waiter = match Waiter::here(core) {
        Ok(waiter) => waiter,
        Err(error) => return Answer::Unavailable(error.to_string()),
    };
    let asked = store.is_registered(DEFAULT_TENANT, certificate, address);
    match waiter.block_on(tokio::time::timeout(STORE_PATIENCE, asked)) {
        Ok(Ok(found)) => Answer::Registered(found),
        Ok(Err(error)) => Answer::Unavailable(error.to_string()),
        Err(_) => Answer::Unavailable("the store does not answer".to_owned()),
    }
}

/// The store's part of our budget for one message.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
