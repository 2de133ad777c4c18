//! Ask or answer: the synchronous decision over one message.
//!
//! [`Case::new`] reads the message once. [`step`] then either asks for what it lacks (certificates
//! of issuers, revocation lists) or is done. The shell answers, or says that it cannot, appends the
//! answers and calls again, at most [`MAX_ROUNDS`] times; nothing is asked twice. Equal cases and
//! answers give equal outcomes: a verdict can be replayed.
//!
//! Never does I/O, never reads a clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::path::Budget;
use kenin_pki::time::UnixTime;
use kenin_smime::{Examined, Limits, SignatureFacts};

use crate::header;
use crate::identity;
use crate::judge::{self, timestamp};
use crate::mailbox::{self, FromField};
use crate::protection::{self, Agreement};
use crate::scrub::Scrubber;
use crate::trust::TrustPolicy;
use crate::trustpath::Paths;
use crate::trustpath::{self, Trusted};
pub use crate::trustpath::{News, PathCache};
use crate::verdict::Verdict;

mod asking;

pub(crate) use asking::Asking;
pub use asking::MAX_QUESTIONS;

/// How often questions are asked about one message, at most: issuers are followed one level a
/// round, and the status of all takes one more. Where a certificate is revoked and the signature has
/// a time stamp, as many rounds again may ask about who stamped it.
pub const MAX_ROUNDS: usize = 8;

/// What is said where nothing is.
const UNANSWERED: &str = "it was not answered";

/// After so many answers nothing more is asked.
pub(crate) const MAX_ANSWERS: usize = 256;

/// How many certificates of one message may be asked about as the sender's.
const MAX_REGISTRATIONS: usize = 4;

/// One message, the trust it is judged by, and the moment of judgement.
#[derive(Debug)]
pub struct Case<'a> {
    pub(crate) examined: Examined,
    pub(crate) sender: Sender,
    pub(crate) trust: &'a TrustPolicy,
    pub(crate) known: &'a [Certificate],
    pub(crate) cache: Option<Paths<'a>>,
    pub(crate) budget: Budget,
    pub(crate) time: UnixTime,
    /// Whether the message went through a mailing list, by its own account.
    pub(crate) listed: bool,
    /// How its header stands to the one that the root's signature protects.
    pub(crate) header: Agreement,
    /// Whether a field stays in the header that other programs take differently.
    pub(crate) doubtful: bool,
}

/// Who the message says it is from.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    /// What the From field says.
    Mail(FromField),
    /// Bare CMS has no sender; identity is not a question.
    Bare,
}

impl<'a> Case<'a> {
    /// Reads a message, once. `known` are intermediate certificates at hand.
    pub fn new(
        raw: &[u8],
        trust: &'a TrustPolicy,
        known: &'a [Certificate],
        time: UnixTime,
        limits: &Limits,
    ) -> Self {
        Self::read(raw, trust, known, time, limits, None)
    }

    /// The same with a cache of what was read and found valid before, which it fills. The cache must be
    /// replaced by an empty one whenever trust, known certificates or held revocation lists change.
    pub fn cached(
        raw: &[u8],
        trust: &'a TrustPolicy,
        known: &'a [Certificate],
        time: UnixTime,
        limits: &Limits,
        cache: &'a PathCache,
    ) -> Self {
        Self::read(raw, trust, known, time, limits, Some(cache.begin()))
    }

    fn read(
        raw: &[u8],
        trust: &'a TrustPolicy,
        known: &'a [Certificate],
        time: UnixTime,
        limits: &Limits,
        cache: Option<Paths<'a>>,
    ) -> Self {
        let memo = cache.map(Paths::certificates);
        let examined = kenin_smime::examine_with(raw, limits, known, memo);
        // A larger one was refused by the engine.
        let header = header::scan(raw.get(..limits.header_size).unwrap_or(raw));
        let sender = Sender::Mail(mailbox::from_field(raw, &header));
        let listed = header.fields.iter().any(|field| {
            ["list-id", "list-post"]
                .iter()
                .any(|name| field.is_plainly(raw, name))
        });
        let root = examined.root_signature();
        let protected = root.map_or(&[][..], |signature| &signature.protected);
        let agreement = protection::compare(raw, &header, protected);
        Self {
            doubtful: !examined.doubtful_fields.is_empty(),
            examined,
            sender,
            trust,
            known,
            cache,
            budget: Budget::DEFAULT,
            time,
            listed,
            header: agreement,
        }
    }

    /// A case over bare CMS that `kenin_smime::examine_cms` has read: there is no sender to
    /// compare.
    pub fn bare(
        examined: Examined,
        trust: &'a TrustPolicy,
        known: &'a [Certificate],
        time: UnixTime,
    ) -> Self {
        Self {
            examined,
            sender: Sender::Bare,
            trust,
            known,
            cache: None,
            budget: Budget::DEFAULT,
            time,
            listed: false,
            header: Agreement::Agrees,
            doubtful: false,
        }
    }

    /// Judges the message as it is without what `scrubber` takes out of it: a forged stamp in an odd
    /// spelling does not count against the mail that it is removed from. `raw` is the same message.
    #[must_use]
    pub fn scrubbed_by(mut self, raw: &[u8], scrubber: &Scrubber) -> Self {
        if self.doubtful {
            let gone = scrubber.ranges(raw, &header::scan(raw));
            let gone: HashSet<usize> = gone.iter().map(|range| range.start).collect();
            self.doubtful = self
                .examined
                .doubtful_fields
                .iter()
                .any(|field| !gone.contains(&field.whole.start));
        }
        self
    }

    /// With another budget for paths than the default.
    #[must_use]
    pub fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The facts about the message.
    pub fn examined(&self) -> &Examined {
        &self.examined
    }

    /// What the From field says; nothing for bare CMS.
    pub fn from(&self) -> Option<&FromField> {
        match &self.sender {
            Sender::Mail(from) => Some(from),
            Sender::Bare => None,
        }
    }

    /// The moment of judgement.
    pub fn time(&self) -> UnixTime {
        self.time
    }
}

/// Something the decision lacks.
#[derive(Clone, Debug)]
pub enum Question {
    /// Certificates whose subject is `name`.
    Issuers {
        /// The issuer name of a certificate at hand.
        name: Name,
        /// The authority key identifier of that certificate.
        key_id: Option<Vec<u8>>,
        /// That certificate, which may say where its issuer's lies.
        child: Certificate,
    },
    /// Revocation lists that may cover `certificate`, and OCSP answers about it.
    Status {
        /// Whose status is asked.
        certificate: Certificate,
        /// Whose lists.
        issuer: Name,
        /// Certificates at hand among which those above it may be, from the message too: none of them is verified.
        candidates: Arc<[Certificate]>,
    },
    /// Whether the certificate is registered to the address, which does not stand in it.
    Registration {
        /// SHA-256 of the certificate.
        certificate: [u8; 32],
        /// The address that the mail is from.
        address: Address,
    },
}

/// What the shell found.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Certificates; none means that there are none.
    Issuers(Vec<Certificate>),
    /// What says something of the status; none means that there is none.
    Status {
        /// Revocation lists.
        crls: Vec<Crl>,
        /// OCSP responses.
        ocsp: Vec<OcspResponse>,
        /// Somebody was left unasked who might have told more: there was no time, or too much was asked before.
        unasked: bool,
    },
    /// Whether it is registered.
    Registered(bool),
    /// Could not be found out now, because.
    Unavailable(String),
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was asked.
    pub question: Question,
    /// What was found.
    pub answer: Answer,
}

/// What [`step`] comes to.
#[derive(Debug)]
pub enum Step {
    /// Answer these, append the answers, call again.
    Ask(Vec<Question>),
    /// Nothing is lacking any more.
    Done(Outcome),
}

/// The end of a decision.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was found out.
    pub verdict: Verdict,
}

/// Decides, or asks for what it takes to decide.
pub fn step<'a>(case: &'a Case<'_>, answers: &'a [Answered]) -> Step {
    let mut at_hand = AtHand::collect(answers);
    let mut questions = open_questions(case, &mut at_hand);
    at_hand.exhausted = !questions.is_empty();
    // Asked after all else: what nobody signed keeps no question from being asked.
    if questions.is_empty() {
        questions = timestamp_questions(case, &at_hand);
    }
    match questions.is_empty() || answers.len() >= MAX_ANSWERS {
        true => Step::Done(Outcome {
            verdict: judge::judge(case, &at_hand),
        }),
        false => Step::Ask(questions),
    }
}

/// Runs a case to its end with a function that answers one question; for callers that can answer
/// without waiting.
pub fn run(case: &Case<'_>, mut answer: impl FnMut(&Question) -> Answer) -> Outcome {
    run_together(case, |questions| {
        questions.iter().map(&mut answer).collect()
    })
}

/// The same with one that answers all questions that are open at one time, in their order.
pub fn run_together(
    case: &Case<'_>,
    mut answer: impl FnMut(&[Question]) -> Vec<Answer>,
) -> Outcome {
    let mut answers = Vec::new();
    loop {
        match step(case, &answers) {
            Step::Done(outcome) => return outcome,
            Step::Ask(questions) => {
                // One that is left out would be asked without end.
                let rest = std::iter::repeat_with(|| Answer::Unavailable(UNANSWERED.to_owned()));
                let told = answer(&questions).into_iter().chain(rest);
                let all = questions.into_iter().zip(told);
                answers.extend(all.map(|(question, answer)| Answered { question, answer }));
            }
        }
    }
}

/// The answers, sorted for use, and the paths that need none.
#[derive(Debug, Default)]
pub(crate) struct AtHand<'a> {
    /// Certificates that answers brought.
    pub(crate) issuers: Vec<&'a Certificate>,
    /// Lists that answers brought.
    pub(crate) crls: Vec<&'a Crl>,
    /// OCSP responses that answers brought.
    pub(crate) ocsp: Vec<&'a OcspResponse>,
    /// Paths found valid before, by the section of the signature (which brings certificates and
    /// lists of its own) and the fingerprint of the certificate they start from.
    cached: Vec<(&'a str, &'a [u8; 32], Trusted)>,
    /// Paths for encryption found valid before, by the fingerprint of the certificate they start from.
    pub(crate) cached_for_encryption: HashMap<&'a [u8; 32], Trusted>,
    /// Issuer questions that could not be answered.
    unavailable: HashSet<&'a Name>,
    /// Certificates of whose status somebody who might know it was not asked.
    unasked: HashSet<&'a [u8; 32]>,
    /// Something was left unasked, because too much was asked before.
    pub(crate) exhausted: bool,
    /// Certificates that were asked about, and whether they are registered to the sender.
    pub(crate) registered: HashMap<&'a [u8; 32], Registered>,
    asked_issuers: HashSet<(&'a Name, Option<&'a [u8]>)>,
    asked_status: HashSet<(&'a [u8; 32], &'a Name)>,
}

impl<'a> AtHand<'a> {
    pub(crate) fn collect(answers: &'a [Answered]) -> Self {
        let mut at_hand = Self::default();
        // An issuer's lists come with each of its certificates, and an answer may be about several.
        let mut seen: HashSet<&[u8; 32]> = HashSet::new();
        for Answered { question, answer } in answers {
            match question {
                Question::Issuers { name, key_id, .. } => {
                    at_hand.asked_issuers.insert((name, key_id.as_deref()));
                    if matches!(answer, Answer::Unavailable(_)) {
                        at_hand.unavailable.insert(name);
                    }
                }
                Question::Status {
                    certificate,
                    issuer,
                    ..
                } => {
                    at_hand.asked_status.insert((certificate.sha256(), issuer));
                    if matches!(
                        answer,
                        Answer::Unavailable(_) | Answer::Status { unasked: true, .. }
                    ) {
                        at_hand.unasked.insert(certificate.sha256());
                    }
                }
                Question::Registration { certificate, .. } => {
                    let registered = match answer {
                        Answer::Registered(true) => Registered::Yes,
                        Answer::Registered(false) => Registered::No,
                        _ => Registered::Unknown,
                    };
                    at_hand.registered.insert(certificate, registered);
                }
            }
            match answer {
                Answer::Issuers(certificates) => at_hand.issuers.extend(certificates),
                Answer::Status { crls, ocsp, .. } => {
                    for crl in crls {
                        if seen.insert(crl.sha256()) {
                            at_hand.crls.push(crl);
                        }
                    }
                    for response in ocsp {
                        if seen.insert(response.sha256()) {
                            at_hand.ocsp.push(response);
                        }
                    }
                }
                Answer::Registered(_) | Answer::Unavailable(_) => {}
            }
        }
        at_hand
    }

    /// A path found valid before for this certificate as the signer of this signature.
    pub(crate) fn cached(
        &self,
        signature: &SignatureFacts,
        leaf: &Certificate,
    ) -> Option<&Trusted> {
        let is_it = |(section, key, _): &&(&str, &[u8; 32], Trusted)| {
            *section == signature.section && *key == leaf.sha256()
        };
        self.cached.iter().find(is_it).map(|(_, _, found)| found)
    }

    /// Whether this certificate is registered to the sender's address.
    pub(crate) fn registered(&self, certificate: &[u8; 32]) -> Registered {
        let asked = self.registered.get(certificate).copied();
        // What was left unasked nobody knows.
        asked.unwrap_or(match self.exhausted {
            true => Registered::Unknown,
            false => Registered::No,
        })
    }

    /// Whether somebody who might know the status of one of these was not asked.
    pub(crate) fn is_unasked(&self, certificates: &[&Certificate]) -> bool {
        let mut all = certificates.iter();
        self.exhausted || all.any(|one| self.unasked.contains(one.sha256()))
    }

    /// Whether the certificates of an issuer were asked for and could not be had.
    pub(crate) fn is_unavailable(&self, issuer: &Name) -> bool {
        self.unavailable.contains(issuer)
    }
}

/// What is still lacking for any signature of the message.
fn open_questions<'a>(case: &'a Case<'_>, at_hand: &mut AtHand<'a>) -> Vec<Question> {
    let mut asking = Asking::default();
    let mut registrations: HashSet<[u8; 32]> = HashSet::new();
    for signature in &case.examined.signatures {
        for leaf in leaves(signature) {
            let sender = case.from().and_then(|from| from.mailbox.as_ref().ok());
            if let Some(sender) = sender.filter(|_| signature.root)
                && !at_hand.registered.contains_key(leaf.sha256())
                && registrations.len() < MAX_REGISTRATIONS
                && !identity::may_speak_for(leaf, &sender.address)
                && registrations.insert(*leaf.sha256())
            {
                asking.questions.push(Question::Registration {
                    certificate: *leaf.sha256(),
                    address: sender.address.clone(),
                });
            }
            if let Some(found) = trustpath::cached(case, signature, leaf) {
                at_hand
                    .cached
                    .push((&signature.section, leaf.sha256(), found));
                continue;
            }
            let (anchors, brought) = (case.trust.anchors(), &signature.certificates);
            let reach = trustpath::reach(case.known, at_hand, anchors, brought, leaf);
            asking.about(at_hand, &reach, case.trust.wants_status());
        }
    }
    asking.finish()
}

/// What is lacking to know who stamped the time of a signature whose certificate is said to be revoked since.
fn timestamp_questions(case: &Case<'_>, at_hand: &AtHand<'_>) -> Vec<Question> {
    let mut asking = Asking::default();
    for signature in &case.examined.signatures {
        for facts in &signature.signers {
            for leaf in judge::in_question(facts).map(|candidate| &candidate.certificate) {
                let stamps = timestamp::in_question(case, at_hand, signature, facts, leaf);
                for stamp in stamps {
                    let (anchors, brought) = (case.trust.time_stamping(), &stamp.certificates);
                    let leaf = &stamp.certificate;
                    let reach = trustpath::reach(case.known, at_hand, anchors, brought, leaf);
                    asking.about(at_hand, &reach, true);
                }
            }
        }
    }
    asking.finish()
}

/// Whether a certificate is registered to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can say now.
    Unknown,
}

/// The certificates that may have made the signatures of a layer.
fn leaves(signature: &SignatureFacts) -> impl Iterator<Item = &Certificate> {
    signature
        .signers
        .iter()
        .flat_map(judge::in_question)
        .map(|candidate| &candidate.certificate)
}
