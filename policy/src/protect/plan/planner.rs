//! What is decided for each recipient, and who of them share a copy.

use std::collections::HashMap;

use kenin_pki::address::Address;
use kenin_smime::Shape;
use kenin_smime::header_protection::HeaderProtection;
use kenin_smime::sign::Form;

use super::{
    Answer, Answered, Candidate, Course, Encryption, Found, Group, Outgoing, Plan, Protection,
    Question, Reader, Refusal, To, Unavailable,
};
use crate::mail::{Encrypt, Sign, Whose};
use crate::protect::cipher;
use crate::reason::{Reason, ResultWord};

/// A mail and what is known of it.
pub(super) struct Planner<'a> {
    mail: &'a Outgoing<'a>,
    known: HashMap<&'a Question, &'a Answer>,
    reply: Reply,
    key: Key,
}

/// What is decided for one recipient, before groups are made.
#[derive(Clone, Copy, Debug)]
enum Decided<'a> {
    Clear,
    AsItIs,
    Sign(Form),
    Encrypt(&'a Candidate, Option<Form>),
    Refuse(Refusal),
}

/// What makes recipients share a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clear,
    AsItIs,
    Sign(Form),
    /// How it is signed in any case, and the one who gets a copy alone, or is the first of those who get one apart.
    Encrypt(Option<Form>, Sign, Option<usize>),
    Refuse(Refusal),
}

/// Whether an answer to encrypted mail is known to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    No,
    Yes,
    Unknown(Unavailable),
}

impl<'a> Planner<'a> {
    pub(super) fn new(mail: &'a Outgoing<'a>, answers: &'a [Answered]) -> Self {
        let known = answers.iter().map(|one| (&one.question, &one.answer));
        let mut planner = Self {
            mail,
            known: known.collect(),
            reply: Reply::No,
            key: Key::None,
        };
        planner.reply = planner.find_reply();
        planner.key = planner.find_key();
        planner
    }

    /// All that is still lacking, each once.
    pub(super) fn questions(&self) -> Vec<Question> {
        let mut lacking = Vec::new();
        let mut need = |question: Question| {
            if !self.known.contains_key(&question) && !lacking.contains(&question) {
                lacking.push(question);
            }
        };
        if let Some(question) = self.reply_question() {
            need(question);
        }
        if let Some(question) = self.key_question() {
            need(question);
        }
        for to in self.mail.recipients {
            for address in self.mailboxes(to) {
                need(Question::RecipientCertificates(address));
            }
        }
        lacking
    }

    /// Asked only where the answer changes anything.
    fn reply_question(&self) -> Option<Question> {
        let mail = self.mail;
        let free = |to: &To| to.wish.encrypt != Encrypt::Must;
        let asked = mail.protecting.replies
            && !mail.answered.is_empty()
            && mail.shape != Shape::Encrypted
            && mail.recipients.iter().any(free);
        asked.then(|| Question::CameEncrypted(mail.answered.to_vec()))
    }

    fn key_question(&self) -> Option<Question> {
        let sender = self.mail.sender.filter(|_| self.may_be_signed())?;
        let wanted = |to: &To| match to.wish.sign {
            Sign::Clear | Sign::Opaque => true,
            Sign::Inside => self.wants(to) != Encrypt::Never,
            Sign::Never => false,
        };
        let any = self.mail.recipients.iter().any(wanted);
        any.then(|| Question::SenderKey(sender.clone()))
    }

    /// Whether a signature of ours would stand for what readers see.
    fn may_be_signed(&self) -> bool {
        self.mail.shape == Shape::Open && self.mail.examined
    }

    fn find_reply(&self) -> Reply {
        let Some(question) = self.reply_question() else {
            return Reply::No;
        };
        match self.known.get(&question).copied() {
            Some(Answer::CameEncrypted(true)) => Reply::Yes,
            Some(Answer::CameEncrypted(false)) | None => Reply::No,
            Some(Answer::Unavailable(who)) => Reply::Unknown(*who),
            Some(Answer::Certificates(_) | Answer::SenderKey(_)) => {
                Reply::Unknown(Unavailable::Store)
            }
        }
    }

    /// Whether it is to be encrypted for this recipient, as far as is known.
    fn wants(&self, to: &To) -> Encrypt {
        match self.reply {
            Reply::Yes => Encrypt::Must,
            Reply::No | Reply::Unknown(_) => to.wish.encrypt,
        }
    }

    /// Whose certificates are of interest for this recipient: those of a gateway only where there are none of the person.
    fn mailboxes(&self, to: &To) -> Vec<Address> {
        let mail = self.mail;
        let wanted = self.wants(to) != Encrypt::Never && mail.shape != Shape::Encrypted;
        let Some(person) = to
            .address
            .as_ref()
            .filter(|_| wanted && mail.clock && mail.examined)
        else {
            return Vec::new();
        };
        let gateway = Address::from_parts(GATEWAY, person.domain()).ok();
        match to.wish.certificates {
            Whose::Person => vec![person.clone()],
            Whose::Domain => gateway.into_iter().collect(),
            Whose::Either => {
                let lacking = matches!(self.found(to, person), Some(Err(_)));
                let gateway = gateway.filter(|_| lacking);
                std::iter::once(person.clone()).chain(gateway).collect()
            }
        }
    }

    /// The best certificate of a mailbox, or why there is none; nothing where that was not asked.
    fn found(&self, to: &To, address: &Address) -> Option<Result<&'a Candidate, Lacking>> {
        let question = Question::RecipientCertificates(address.clone());
        Some(match self.known.get(&question).copied()? {
            Answer::Certificates(found) => found.best(self.wants(to)),
            Answer::Unavailable(who) => Err(Lacking::Unavailable(*who)),
            Answer::SenderKey(_) | Answer::CameEncrypted(_) => Err(Lacking::Certificate),
        })
    }

    /// Whether there is a key of the sender's, where one was asked for.
    fn find_key(&self) -> Key {
        let question = self.key_question();
        match question.and_then(|question| self.known.get(&question).copied()) {
            Some(Answer::SenderKey(true)) => Key::There,
            Some(Answer::Unavailable(_)) => Key::Gone,
            _ => Key::None,
        }
    }

    fn decide(&self, place: usize, to: &To) -> Decided<'a> {
        let mail = self.mail;
        if mail.shape == Shape::Encrypted {
            return Decided::AsItIs;
        }
        let wanted = self.wants(to);
        if let (Reply::Unknown(who), true) = (self.reply, wanted != Encrypt::Must) {
            // It may have to be encrypted.
            return Decided::Refuse(Refusal::Unavailable(who));
        }
        let sign = match self.signature(to.wish.sign) {
            Ok(form) => form,
            Err(refusal) => return Decided::Refuse(refusal),
        };
        if wanted != Encrypt::Never {
            match self.reader(place, to) {
                Ok(reader) => return Decided::Encrypt(reader, sign),
                Err(refusal) if wanted == Encrypt::Must => return Decided::Refuse(refusal),
                Err(_) => {}
            }
        }
        match sign {
            Some(form) => Decided::Sign(form),
            None => Decided::Clear,
        }
    }

    /// The form that somebody asked for, if it can be had.
    fn signature(&self, wish: Sign) -> Result<Option<Form>, Refusal> {
        let form = match wish {
            Sign::Clear => Form::Clear,
            Sign::Opaque => Form::Opaque,
            Sign::Inside | Sign::Never => return Ok(None),
        };
        match self.key {
            // What is signed has a date.
            Key::There if self.mail.clock => Ok(Some(form)),
            Key::There => Err(Refusal::Clock),
            Key::Gone => Err(Refusal::Unavailable(Unavailable::Keys)),
            Key::None => Ok(None),
        }
    }

    fn reader(&self, place: usize, to: &To) -> Result<&'a Candidate, Refusal> {
        let mail = self.mail;
        if !mail.examined {
            return Err(Refusal::Limits);
        }
        if !mail.clock {
            return Err(Refusal::Clock);
        }
        let mut lacking = Lacking::Certificate;
        for address in self.mailboxes(to) {
            match self.found(to, &address) {
                Some(Ok(found)) => return Ok(found),
                Some(Err(why)) => lacking = lacking.max(why),
                None => {}
            }
        }
        Err(match lacking {
            Lacking::Certificate => Refusal::NoCertificate(Some(place)),
            Lacking::Status => Refusal::Status,
            Lacking::Unavailable(who) => Refusal::Unavailable(who),
        })
    }

    pub(super) fn plan(&self) -> Plan {
        let recipients = self.mail.recipients;
        let each: Vec<Decided<'a>> = recipients
            .iter()
            .enumerate()
            .map(|(place, to)| self.decide(place, to))
            .collect();
        let mut groups: Vec<(Kind, Vec<usize>)> = Vec::new();
        for (place, (decided, to)) in each.iter().zip(recipients).enumerate() {
            let kind = match decided {
                Decided::Clear => Kind::Clear,
                Decided::AsItIs => Kind::AsItIs,
                Decided::Sign(form) => Kind::Sign(*form),
                Decided::Refuse(refusal) => Kind::Refuse(*refusal),
                Decided::Encrypt(own, form) => {
                    let alone = match to.visible {
                        true => self.apart(own, &each),
                        false => Some(place),
                    };
                    Kind::Encrypt(*form, to.wish.sign, alone)
                }
            };
            match groups.iter_mut().find(|(own, _)| *own == kind) {
                Some((_, places)) => places.push(place),
                None => groups.push((kind, vec![place])),
            }
        }
        let groups = match self.mail.one_body {
            // There is one copy at most, and another try brings no more.
            true => groups,
            false => bounded(groups),
        };
        let groups = groups.into_iter().map(|(kind, places)| Group {
            course: self.course(kind, &places, &each),
            recipients: places,
        });
        let groups: Vec<Group> = groups.collect();
        match self.mail.one_body && groups.len() > 1 {
            true => Plan {
                groups: vec![self.for_all(&groups)],
            },
            false => Plan { groups },
        }
    }

    /// The first with this certificate, where others who are seen have another one of the same key: a copy that names a key
    /// twice is opened by no gateway that has it, which would get two tries. One body names both: mail programs read it.
    fn apart(&self, own: &Candidate, each: &[Decided<'a>]) -> Option<usize> {
        if self.mail.one_body {
            return None;
        }
        let key = own.certificate.public_key().id();
        let all = each.iter().zip(self.mail.recipients).enumerate();
        let mut alike = all.filter_map(|(place, (decided, to))| match decided {
            Decided::Encrypt(other, _) if to.visible => {
                let certificate = &other.certificate;
                (certificate.public_key().id() == key).then_some((place, certificate))
            }
            _ => None,
        });
        let (_, first) = alike.next()?;
        if *first == own.certificate {
            return None;
        }
        let of_own = alike.find(|(_, certificate)| **certificate == own.certificate);
        of_own.map(|(place, _)| place)
    }

    fn course(&self, kind: Kind, places: &[usize], each: &[Decided<'a>]) -> Course {
        let header = |protection| self.mail.protecting.header.then_some(protection);
        let (form, wish) = match kind {
            Kind::Clear => return Course::Clear,
            Kind::AsItIs => return Course::AsItIs,
            Kind::Refuse(refusal) => return Course::Refuse(refusal),
            Kind::Sign(form) => {
                return Course::Protect(Protection {
                    encryption: None,
                    sign: Some(form),
                    header: header(HeaderProtection::Clear),
                    required: false,
                });
            }
            Kind::Encrypt(form, wish, _) => (form, wish),
        };
        let found = places.iter().filter_map(|place| match each.get(*place) {
            Some(Decided::Encrypt(candidate, _)) => Some(*candidate),
            _ => None,
        });
        let said = found.clone().map(|one| one.capabilities.as_ref());
        let cipher = cipher::choose(said, self.mail.protecting.unknown);
        let mut readers: Vec<Reader> = Vec::new();
        for one in found {
            // Several mailboxes of one person, or one gateway for a whole domain.
            if !readers
                .iter()
                .any(|known| known.certificate == one.certificate)
            {
                readers.push(Reader {
                    certificate: one.certificate.clone(),
                    oaep: one.capabilities.as_ref().is_some_and(|said| said.oaep),
                });
            }
        }
        let inside =
            wish == Sign::Inside && !cipher::has_integrity(cipher) && self.key == Key::There;
        let required = places.iter().any(|place| {
            let to = self.mail.recipients.get(*place);
            to.is_none_or(|to| self.wants(to) == Encrypt::Must)
        });
        Course::Protect(Protection {
            encryption: Some(Encryption { cipher, readers }),
            sign: form.or(inside.then_some(Form::Clear)),
            header: header(HeaderProtection::Cipher),
            required,
        })
    }

    /// One body for all, whose recipients would get different ones.
    fn for_all(&self, groups: &[Group]) -> Group {
        let refused = groups.iter().find_map(|group| match &group.course {
            Course::Refuse(refusal) => Some(*refusal),
            Course::Clear | Course::AsItIs | Course::Protect(_) => None,
        });
        let required = groups.iter().any(|group| match &group.course {
            Course::Protect(protection) => protection.required,
            Course::Clear | Course::AsItIs | Course::Refuse(_) => false,
        });
        let course = match refused {
            Some(refusal) => Course::Refuse(refusal),
            None if required => Course::Refuse(Refusal::Separately),
            // Nobody asks for more than what can be done for all.
            None => signed_alike(groups).map_or(Course::Clear, |(form, header)| {
                Course::Protect(Protection {
                    encryption: None,
                    sign: Some(form),
                    header: header.map(|_| HeaderProtection::Clear),
                    required: false,
                })
            }),
        };
        Group {
            recipients: (0..self.mail.recipients.len()).collect(),
            course,
        }
    }
}

/// Not more copies than a mail can have at once, and not more refusals than somebody would read.
fn bounded(groups: Vec<(Kind, Vec<usize>)>) -> Vec<(Kind, Vec<usize>)> {
    let (mut copies, mut named) = (0, 0);
    let mut out: Vec<(Kind, Vec<usize>)> = Vec::new();
    for (mut kind, places) in groups {
        if matches!(kind, Kind::Encrypt(..)) {
            copies += 1;
            if copies > MAX_COPIES {
                kind = Kind::Refuse(Refusal::Copies);
            }
        } else if matches!(kind, Kind::Refuse(Refusal::NoCertificate(_))) {
            named += 1;
            if named > MAX_NAMED {
                kind = Kind::Refuse(Refusal::NoCertificate(None));
            }
        }
        match out.iter_mut().find(|(own, _)| *own == kind) {
            Some((_, own)) => own.extend(places),
            None => out.push((kind, places)),
        }
    }
    out
}

/// The form in which all groups are signed, if they are.
fn signed_alike(groups: &[Group]) -> Option<(Form, Option<HeaderProtection>)> {
    let mut forms = groups.iter().map(|group| match &group.course {
        Course::Protect(protection) => protection.sign.map(|form| (form, protection.header)),
        Course::Clear | Course::AsItIs | Course::Refuse(_) => None,
    });
    let first = forms.next()??;
    forms
        .all(|form| form.is_some_and(|(form, _)| form == first.0))
        .then_some(first)
}

impl Found {
    fn best(&self, wanted: Encrypt) -> Result<&Candidate, Lacking> {
        // Only the store knows what an administrator put there: what a directory has does not take its place meanwhile.
        let settled = wanted != Encrypt::Must || self.unavailable != Some(Unavailable::Store);
        let mut candidates = self.candidates.iter();
        let good = candidates.find(|one| settled && one.refused.is_none());
        good.ok_or_else(|| {
            let unknown = |one: &Candidate| {
                let reason = one.refused.map(Reason::result);
                reason == Some(ResultWord::TempError)
            };
            match self.unavailable {
                Some(who) => Lacking::Unavailable(who),
                None if self.candidates.iter().any(unknown) => Lacking::Status,
                None => Lacking::Certificate,
            }
        })
    }
}

/// What is lacking, that which weighs most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lacking {
    Certificate,
    Status,
    Unavailable(Unavailable),
}

/// Whether the sender has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// There is none, or nobody asked.
    None,
    There,
    /// There may be one, and it cannot be used now.
    Gone,
}

/// Encrypted copies of one mail: the next hop takes them side by side.
const MAX_COPIES: usize = 8;
/// Recipients who are told one by one that they have no certificate.
const MAX_NAMED: usize = 4;
/// The mailbox of the gateway that reads the mail of a domain (RFC 3183 §4).
const GATEWAY: &str = "domain-confidentiality-authority";
