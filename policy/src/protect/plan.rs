//! From wishes and certificates to a plan: ask or answer.
//!
//! [`step`] asks for what it lacks (certificates of recipients, a key of the sender, whether the mail answers one that
//! came encrypted) or is done. Nothing is asked twice, and equal answers give equal plans. Never does I/O.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::ContentKind;
use kenin_smime::header_protection::HeaderProtection;
use kenin_smime::sign::Form;
use kenin_smime::{Capabilities, Shape};

use crate::mail::{Protecting, Wish};
use crate::reason::Reason;

mod planner;

use planner::Planner;

/// A mail on its way out, and what is wished for it.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Who gets it, in the order of the envelope.
    pub recipients: &'a [To],
    /// What protects it already.
    pub shape: Shape,
    /// Whether it keeps the limits within which messages are examined.
    pub examined: bool,
    /// The author, where it was proven that the client is they.
    pub sender: Option<&'a Address>,
    /// What it answers ([`super::answered`]); nothing where nobody is to be asked about that.
    pub answered: &'a [[u8; 32]],
    /// What holds for all mail.
    pub protecting: Protecting,
    /// Whether there is one body for all (milter).
    pub one_body: bool,
    /// Whether the time is believed. While it is not, no certificate is good, and nothing is signed.
    pub clock: bool,
}

/// A recipient.
#[derive(Clone, Debug)]
pub struct To {
    /// The mailbox; nothing where the address is none that a certificate could have.
    pub address: Option<Address>,
    /// Whether everybody sees that it gets the mail: it stands in To or Cc.
    pub visible: bool,
    /// What the rules say.
    pub wish: Wish,
}

/// Something that the plan lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The certificates of a mailbox, each judged now ([`mod@crate::recipient`]).
    RecipientCertificates(Address),
    /// Whether there is a key that signs for this mailbox.
    SenderKey(Address),
    /// Whether one of these messages came encrypted for somebody in a domain of the client's.
    CameEncrypted(Vec<[u8; 32]>),
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Certificates, those to prefer first.
    Certificates(Found),
    /// Whether there is a key.
    SenderKey(bool),
    /// Whether one of them did.
    CameEncrypted(bool),
    /// Could not be found out now.
    Unavailable(Unavailable),
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was asked.
    pub question: Question,
    /// What was found.
    pub answer: Answer,
}

/// Certificates that were found for a mailbox.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Those to prefer first.
    pub candidates: Vec<Candidate>,
    /// Who could not be asked, so that there may be more.
    pub unavailable: Option<Unavailable>,
}

/// A certificate, judged now.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The certificate.
    pub certificate: Certificate,
    /// Why nothing is encrypted for it; nothing where it is good.
    pub refused: Option<Reason>,
    /// What its holder once said can be read.
    pub capabilities: Option<Capabilities>,
}

/// Who does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unavailable {
    /// The keys.
    Keys,
    /// A directory.
    Directory,
    /// The store.
    Store,
}

/// What [`step`] comes to.
#[derive(Clone, Debug)]
pub enum Step {
    /// Answer these, append the answers, call again.
    Ask(Vec<Question>),
    /// Nothing is lacking any more.
    Done(Plan),
}

/// Who gets which copy. Every recipient stands in exactly one group.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The groups, in the order of their first recipients.
    pub groups: Vec<Group>,
}

/// Recipients that are treated alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their places.
    pub recipients: Vec<usize>,
    /// What becomes of the mail for them.
    pub course: Course,
}

/// What becomes of the mail for a group.
#[derive(Clone, Debug)]
pub enum Course {
    /// It goes as it is: nothing asks for more.
    Clear,
    /// It goes as it is, since it is encrypted already.
    AsItIs,
    /// It goes as another message.
    Protect(Protection),
    /// It does not go.
    Refuse(Refusal),
}

/// How a copy is protected.
#[derive(Clone, Debug)]
pub struct Protection {
    /// For whom it is encrypted, and how.
    pub encryption: Option<Encryption>,
    /// How it is signed, by the sender's key.
    pub sign: Option<Form>,
    /// How its header is protected.
    pub header: Option<HeaderProtection>,
    /// Whether it may go in no other way.
    pub required: bool,
}

/// For whom a copy is encrypted, and how.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The cipher of the content.
    pub cipher: ContentKind,
    /// Each certificate once.
    pub readers: Vec<Reader>,
}

/// Somebody whom a copy is encrypted for.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The certificate.
    pub certificate: Certificate,
    /// Whether its holder said that RSAES-OAEP is understood.
    pub oaep: bool,
}

/// Why a mail does not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no certificate for this recipient (its place) that is good; for several, where no place is given.
    NoCertificate(Option<usize>),
    /// Somebody does not answer who is needed.
    Unavailable(Unavailable),
    /// The status of a certificate is not known now.
    Status,
    /// The time is not believed.
    Clock,
    /// The message does not keep the limits.
    Limits,
    /// There is one body, and recipients who need different ones.
    Separately,
    /// The mail has as many copies as it can have at once: these are for another try.
    Copies,
}

impl Refusal {
    /// Whether another try may end otherwise.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Status | Self::Clock | Self::Copies => true,
            Self::NoCertificate(_) | Self::Limits | Self::Separately => false,
        }
    }
}

/// Plans, or asks for what it takes to plan.
#[must_use]
pub fn step(mail: &Outgoing<'_>, answers: &[Answered]) -> Step {
    let planner = Planner::new(mail, answers);
    let questions = planner.questions();
    match questions.is_empty() {
        true => Step::Done(planner.plan()),
        false => Step::Ask(questions),
    }
}

#[cfg(test)]
mod tests;
