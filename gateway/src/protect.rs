//! Protecting mail: whom to encrypt it for, who signs it, and what becomes of those for whom that cannot be done.
//!
//! `kenin_policy::protect` plans and makes the copies; this answers its questions (store, directories, keys), and says
//! a refusal in SMTP. Whatever fails here, nothing of a mail goes in clear that must be encrypted: what cannot be done
//! is a refusal, and who does not ask gets none.

use std::sync::Arc;

use kenin_certstore::address_key;
use kenin_keys::{NoKey, SenderKey};
use kenin_pki::address::Address;
use kenin_policy::Reason;
use kenin_policy::mail::{Encrypt, Sign, Wish};
use kenin_policy::protect::{
    self as policy, Answered, CopyError, Course, Outgoing, Protection, Question, Refusal, Step, To,
    Unavailable,
};
use kenin_smime::sign::{CAPABILITIES, Signer};
use kenin_smime::{Limits, Shape};
use kenin_smtp_filter::{Division, Mail, MailBytes, Reply};
use tracing::{error, warn};

use crate::act;
use crate::clock::{Moment, unix_time};
use crate::config::{Config, ConfigError};
use crate::reply;
use crate::sender::Logins;
use crate::snapshot::Snapshot;

mod candidates;
mod clerk;
mod places;
mod signer;

pub(crate) use clerk::Clerk;
pub(crate) use places::Places;
pub(crate) use signer::{Author, AuthorKey, Signatory};

/// Who answers the questions of a plan, one answer for each: a [`Clerk`], or one in another process.
pub(crate) type Asking<'a> = dyn FnMut(Vec<Question>) -> Vec<Answered> + 'a;

/// What it takes beside rules and trust, read with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Means {
    /// Whose mailboxes are whose.
    pub(crate) logins: Logins,
    /// Where certificates are found.
    pub(crate) places: Arc<Places>,
}

impl Means {
    /// As the settings say. Without a rule that has mail encrypted no place is opened.
    pub(crate) fn read(config: &Config, used: bool) -> Result<Self, ConfigError> {
        Ok(Self {
            logins: Logins::read(&config.senders)?,
            places: match used {
                true => Arc::new(Places::open(config)?),
                false => Arc::default(),
            },
        })
    }

    /// Whether there are places.
    pub(crate) fn is_used(&self) -> bool {
        !self.places.is_empty()
    }
}

/// A mail on its way to some of its recipients.
struct Job<'a> {
    /// As it came.
    mail: &'a Mail,
    /// Their places in the envelope.
    recipients: &'a [usize],
    /// What they get.
    origin: Origin,
    /// Why it was not examined to its end, if so.
    unexamined: Option<Reason>,
    /// Who its author is known to be.
    author: &'a Author,
    /// What is in force.
    snapshot: &'a Snapshot,
    /// When.
    now: Moment,
}

/// What somebody gets of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The message that came.
    Received,
    /// What was opened of it here: it goes encrypted or not at all, and nobody signs it.
    Opened,
}

/// Who gets which copy.
#[derive(Debug)]
pub(crate) struct Plan {
    groups: Vec<policy::Group>,
    rule: Option<usize>,
    unexamined: Option<Reason>,
    /// The mail as it came, where the copies are of what it opened to.
    came: Option<MailBytes>,
    author: Author,
    limits: Limits,
    now: Moment,
    id: String,
}

/// What becomes of the mail for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes as it is.
    AsItIs,
    /// It goes in the copy of this group.
    Copy(usize),
    /// It does not go: the reply of this group.
    Refused(usize),
}

/// The plan for a mail as it came, for those who do not have it yet.
pub(crate) fn plan(
    mail: &Mail,
    snapshot: &Snapshot,
    author: &Author,
    now: Moment,
    had: &[usize],
    unexamined: Option<Reason>,
    asking: &mut Asking<'_>,
) -> Plan {
    // Where there is one body nobody has it from elsewhere.
    let one_body = mail.envelope.division == Division::Never;
    let lacks = |place: &usize| one_body || !had.contains(place);
    let recipients: Vec<usize> = (0..mail.envelope.rcpt_to.len()).filter(lacks).collect();
    let job = Job {
        mail,
        recipients: &recipients,
        origin: Origin::Received,
        unexamined,
        author,
        snapshot,
        now,
    };
    Plan::of(&job, asking)
}

/// The plan by which what opens of a mail is encrypted again for these recipients. Who of them gets which copy stands in what
/// everybody sees of the mail, so that it says nothing of what is inside.
pub(crate) fn plan_again(
    mail: &Mail,
    recipients: &[usize],
    snapshot: &Snapshot,
    now: Moment,
    asking: &mut Asking<'_>,
) -> Plan {
    let job = Job {
        mail,
        recipients,
        origin: Origin::Opened,
        unexamined: None,
        author: &Author::default(),
        snapshot,
        now,
    };
    Plan::of(&job, asking)
}

impl Plan {
    /// Has all questions answered, and plans.
    fn of(job: &Job<'_>, asking: &mut Asking<'_>) -> Self {
        let wishes = wishes(job);
        let groups = match is_left_alone(job, &wishes) {
            true => all(job.recipients, Course::Clear),
            false => planned(job, &wishes, asking),
        };
        let refused = groups
            .iter()
            .filter(|group| matches!(group.course, Course::Refuse(_)))
            .flat_map(|group| &group.recipients)
            .filter_map(|place| job.recipients.iter().position(|own| own == place));
        let rule = refused.filter_map(|at| wishes.get(at)?.rule).next();
        Self {
            groups,
            rule,
            unexamined: job.unexamined,
            came: (job.origin == Origin::Opened).then(|| job.mail.raw.clone()),
            author: job.author.clone(),
            limits: job.snapshot.config.engine_limits(),
            now: job.now,
            id: job.mail.envelope.id.clone(),
        }
    }

    /// One by which a mail goes to all as it is.
    pub(crate) fn of_nothing(mail: &Mail, snapshot: &Snapshot, now: Moment) -> Self {
        let recipients: Vec<usize> = (0..mail.envelope.rcpt_to.len()).collect();
        Self {
            groups: all(&recipients, Course::AsItIs),
            rule: None,
            unexamined: None,
            came: None,
            author: Author::default(),
            limits: snapshot.config.engine_limits(),
            now,
            id: mail.envelope.id.clone(),
        }
    }

    /// The same for these recipients alone, whose places are then those among them.
    pub(crate) fn only(&self, places: &[usize]) -> Self {
        let at = |own: &usize| places.iter().position(|place| place == own);
        let groups = self.groups.iter().map(|group| policy::Group {
            recipients: group.recipients.iter().filter_map(at).collect(),
            course: match &group.course {
                Course::Refuse(Refusal::NoCertificate(own)) => {
                    let own = own.as_ref().and_then(at);
                    Course::Refuse(Refusal::NoCertificate(own))
                }
                other => other.clone(),
            },
        });
        let groups = groups.filter(|group| !group.recipients.is_empty());
        Self {
            groups: groups.collect(),
            rule: self.rule,
            unexamined: self.unexamined,
            came: self.came.clone(),
            author: self.author.clone(),
            limits: self.limits.clone(),
            now: self.now,
            id: self.id.clone(),
        }
    }

    /// Whether the mail goes to all as it is.
    pub(crate) fn is_nothing(&self) -> bool {
        (0..self.groups.len()).all(|at| self.fate_of(at) == Fate::AsItIs)
    }

    /// What becomes of it for the recipient at this place. One whom nobody planned for gets nothing.
    pub(crate) fn fate(&self, place: usize) -> Fate {
        let group = |group: &policy::Group| group.recipients.contains(&place);
        let at = self.groups.iter().position(group);
        at.map_or(Fate::Refused(usize::MAX), |at| self.fate_of(at))
    }

    /// The rule of `mail.toml` that asked for what is refused, counted from 1.
    pub(crate) fn rule(&self) -> Option<usize> {
        self.rule
    }

    /// Whether its author was proven: it leaves, and is not arriving.
    pub(crate) fn is_submitted(&self) -> bool {
        self.author.address.is_some()
    }

    /// What the copy of a group is, in a word.
    pub(crate) fn kind(&self, at: usize) -> &'static str {
        match self.groups.get(at).map(|group| &group.course) {
            Some(Course::Protect(one)) => match (&one.encryption, one.sign) {
                (Some(_), Some(_)) => "signed-encrypted",
                (Some(_), None) => "encrypted",
                (None, _) => "signed",
            },
            _ => "none",
        }
    }

    fn fate_of(&self, at: usize) -> Fate {
        match self.groups.get(at).map(|group| &group.course) {
            Some(Course::Clear | Course::AsItIs) => Fate::AsItIs,
            Some(Course::Protect(_)) => Fate::Copy(at),
            Some(Course::Refuse(_)) | None => Fate::Refused(at),
        }
    }

    /// The copy of a group, made of this message; nothing where it may go as it is, and the copy could not be made. What was
    /// opened and is encrypted all the same has no copy either: its recipients get it as it came.
    ///
    /// # Errors
    /// The reply for whoever is in the group.
    pub(crate) fn copy(&self, at: usize, message: &[u8]) -> Result<Option<Vec<u8>>, Reply> {
        let course = self.groups.get(at).map(|group| &group.course);
        let Some(Course::Protect(protection)) = course else {
            return Err(Reply::aborted());
        };
        if self.came.is_some() && Shape::of(message, &self.limits) == Shape::Encrypted {
            return Ok(None);
        }
        let trouble = match self.made(protection, message) {
            Ok(copy) => return Ok(Some(copy)),
            Err(trouble) => trouble,
        };
        error!(id = self.id, error = %trouble, "a mail cannot be protected");
        match trouble {
            // Whoever wants it signed does not want it unsigned.
            CopyError::Sign(_) | CopyError::NoSigner => Err(reply::keys_gone()),
            CopyError::Protect(_) if protection.required => Err(Reply::aborted()),
            CopyError::Protect(_) => Ok(None),
        }
    }

    fn made(&self, protection: &Protection, message: &[u8]) -> Result<Vec<u8>, CopyError> {
        if let Some(raw) = &self.came {
            return policy::copy_again(message, raw, protection, &self.limits);
        }
        let Some(own) = &self.author.key else {
            return policy::copy(message, protection, None, &self.limits);
        };
        let signatory = &own.signatory;
        let key = SenderKey::new(own.granted.as_ref(), &signatory.facts);
        let opens = signatory.facts.uses.decrypt;
        let signer = Signer {
            chain: &signatory.chain,
            signing_time: Some(unix_time(self.now.time)),
            // Who answers would encrypt for this certificate.
            capabilities: match opens {
                true => &CAPABILITIES,
                false => &[],
            },
            ..Signer::new(&key, &signatory.certificate)
        };
        let made = policy::copy(message, protection, Some(&signer), &self.limits);
        if let Some(trouble) = key.trouble() {
            let why = match trouble {
                NoKey::Refused(refusal) => refusal.to_string(),
                NoKey::Gone => "nobody answers".to_owned(),
            };
            warn!(id = self.id, why, "a key did not sign");
        }
        made
    }

    /// The reply of a group that is refused.
    pub(crate) fn refusal(&self, at: usize, mail: &Mail) -> Reply {
        let course = self.groups.get(at).map(|group| &group.course);
        let Some(Course::Refuse(refusal)) = course else {
            return Reply::aborted();
        };
        let address = |place: usize| {
            let to = mail.envelope.rcpt_to.get(place);
            to.map_or("", |to| to.address.as_str())
        };
        match refusal {
            Refusal::NoCertificate(place) => reply::no_certificate(place.map_or("", address)),
            Refusal::Unavailable(Unavailable::Store) => reply::store_gone(),
            Refusal::Unavailable(Unavailable::Directory) => reply::directory_gone(),
            Refusal::Unavailable(Unavailable::Keys) => reply::keys_gone(),
            Refusal::Status => reply::status_unknown(),
            Refusal::Clock => reply::clock(),
            Refusal::Separately => reply::separately(),
            Refusal::Copies => reply::too_many_copies(),
            Refusal::Limits => match self.unexamined {
                Some(Reason::LimitTime) => reply::busy(),
                Some(Reason::LimitPoison) => reply::poison(),
                _ => reply::limits(),
            },
        }
    }
}

/// What the rules wish for these recipients.
fn wishes(job: &Job<'_>) -> Vec<Wish> {
    let rules = &job.snapshot.mail;
    let said = match rules.may_encrypt() || rules.may_sign() {
        true => act::wishes(job.mail, job.snapshot),
        false => Vec::new(),
    };
    let wishes = job.recipients.iter().map(|place| {
        let wish: Wish = said.get(*place).copied().unwrap_or_default();
        match job.origin {
            Origin::Received => wish,
            Origin::Opened => Wish {
                encrypt: Encrypt::Must,
                sign: Sign::Never,
                ..wish
            },
        }
    });
    wishes.collect()
}

/// Whether nobody asks for anything: nearly all mail of a site that only verifies.
fn is_left_alone(job: &Job<'_>, wishes: &[Wish]) -> bool {
    let nothing = |wish: &Wish| {
        wish.encrypt == Encrypt::Never && matches!(wish.sign, Sign::Inside | Sign::Never)
    };
    !may_answer(job) && wishes.iter().all(nothing)
}

/// Whether it can be an answer to mail that came encrypted for a domain of the client's. That the client has proved to be
/// somebody is enough: whatever stands in From, what is quoted is the same.
fn may_answer(job: &Job<'_>) -> bool {
    let replies = job.snapshot.mail.protecting().replies;
    let opens = job.snapshot.config.keys.is_some();
    replies && opens && job.origin == Origin::Received && job.mail.envelope.authenticated.is_some()
}

fn all(recipients: &[usize], course: Course) -> Vec<policy::Group> {
    vec![policy::Group {
        recipients: recipients.to_vec(),
        course,
    }]
}

fn planned(job: &Job<'_>, wishes: &[Wish], asking: &mut Asking<'_>) -> Vec<policy::Group> {
    let limits = job.snapshot.config.engine_limits();
    let visible = policy::visible(&job.mail.raw);
    let recipients: Vec<To> = job
        .recipients
        .iter()
        .zip(wishes)
        .map(|(place, wish)| {
            let to = job.mail.envelope.rcpt_to.get(*place);
            let address = to.and_then(|to| Address::parse(&to.address).ok());
            To {
                visible: address
                    .as_ref()
                    .is_some_and(|own| visible.contains(&address_key(own))),
                address,
                wish: *wish,
            }
        })
        .collect();
    let answered = match may_answer(job) {
        true => policy::answered(&job.mail.raw, &limits),
        false => Vec::new(),
    };
    let received = job.origin == Origin::Received;
    let outgoing = Outgoing {
        recipients: &recipients,
        shape: match (job.origin, job.unexamined) {
            // What is inside is not to be seen by the plan.
            (Origin::Opened, _) => Shape::Open,
            // It has cost enough already.
            (_, Some(Reason::LimitTime | Reason::LimitPoison)) => Shape::Kept,
            _ => Shape::of(&job.mail.raw, &limits),
        },
        examined: job.unexamined.is_none(),
        sender: job.author.address.as_ref().filter(|_| received),
        answered: &answered,
        protecting: job.snapshot.mail.protecting(),
        one_body: job.mail.envelope.division == Division::Never,
        clock: job.now.trust.is_trusted(),
    };
    let mut answers: Vec<Answered> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        match policy::step(&outgoing, &answers) {
            Step::Done(plan) => return placed(job, plan.groups),
            Step::Ask(questions) => answers.extend(asking(questions)),
        }
    }
    error!(
        id = job.mail.envelope.id,
        "there is no end of questions about a mail"
    );
    all(
        job.recipients,
        Course::Refuse(Refusal::Unavailable(Unavailable::Store)),
    )
}

/// From places among these recipients to places in the envelope.
fn placed(job: &Job<'_>, groups: Vec<policy::Group>) -> Vec<policy::Group> {
    let place = |at: usize| job.recipients.get(at).copied();
    let groups = groups.into_iter().map(|group| policy::Group {
        recipients: group.recipients.into_iter().filter_map(place).collect(),
        course: match group.course {
            Course::Refuse(Refusal::NoCertificate(at)) => {
                Course::Refuse(Refusal::NoCertificate(at.and_then(place)))
            }
            other => other,
        },
    });
    groups.collect()
}

/// Rounds of questions: an answer, certificates, those of gateways.
const MAX_ROUNDS: usize = 8;

#[cfg(test)]
mod tests;
