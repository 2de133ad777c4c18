//! What the edge tells a worker about the mail in its hand: answers, and signatures of the gateway and of the mail's author.
//! However it asks, it gets them for this mail only, and no more of them than a mail can need.

use std::collections::{HashMap, HashSet};
use std::io;

use kenin_keys::{MAX_USES, are_of_mail};
use kenin_pki::address::Address;
use kenin_pki::crl::Crl;
use kenin_policy::protect::Question;
use kenin_policy::{Answer, Stated};
use kenin_smtp_filter::Envelope;

use super::Work;
use crate::clock::unix_time;
use crate::opening::{Admission, Answers, Arrival, MAX_OTHERS, Office};
use crate::pipeline::{Clerk, OwnOffice};
use crate::protect;
use crate::worker::codec::question::{Errand, Given, List};
use crate::worker::codec::{Ask, Told};
use crate::worker::frame::invalid;

/// Who answers for one mail; nobody where nothing is to be asked.
#[derive(Default)]
pub(super) struct Desks<'d, 'c, 'p> {
    pub(super) clerk: Option<&'d mut Clerk<'c>>,
    pub(super) protecting: Option<&'d mut protect::Clerk<'p>>,
}

/// What one mail has asked for.
#[derive(Default)]
pub(super) struct Asked {
    questions: usize,
    plans: usize,
    statements: usize,
    wrappings: usize,
    signatures: usize,
    errands: usize,
    uses: usize,
    names: usize,
}

impl Asked {
    pub(super) fn one_more(&mut self, ask: &Ask) -> io::Result<()> {
        let (asked, more, most) = match ask {
            // All their answers are made before one is told.
            Ask::Questions(all) if all.len() > MAX_AT_ONCE => {
                return Err(invalid("a worker asks too much at once"));
            }
            Ask::Questions(all) => (&mut self.questions, all.len().max(1), MAX_QUESTIONS),
            Ask::Entry { .. } => (&mut self.questions, 1, MAX_QUESTIONS),
            Ask::Protection(_) => (&mut self.plans, 1, MAX_ROUNDS),
            Ask::Statement(_) => (&mut self.statements, 1, MAX_STATEMENTS),
            Ask::Wrapping(..) => (&mut self.wrappings, 1, MAX_SIGNATURES),
            Ask::Author(..) => (&mut self.signatures, 1, MAX_SIGNATURES),
            // Each of them is told to the key process, in the line in which other mails are announced.
            Ask::Office(Errand::Opened(used, message_ids)) => {
                count(&mut self.names, message_ids.len(), MAX_NAMES)?;
                (&mut self.uses, used.len().max(1), MAX_USES)
            }
            // Each of them is kept for a hundred days.
            Ask::Office(Errand::Admit(arrival)) => {
                count(&mut self.names, arrival.message_ids.len(), MAX_NAMES)?;
                (&mut self.errands, arrival.digests.len().max(1), MAX_ERRANDS)
            }
            Ask::Office(_) => (&mut self.errands, 1, MAX_ERRANDS),
        };
        count(asked, more, most)
    }
}

/// So many more of this.
fn count(asked: &mut usize, more: usize, most: usize) -> io::Result<()> {
    *asked = asked.saturating_add(more);
    match *asked > most {
        true => Err(invalid("a worker asks too much")),
        false => Ok(()),
    }
}

/// The answer to a question about the mail in hand. An error ends the worker.
pub(super) fn tell(
    ask: &Ask,
    work: &Work<'_>,
    lists: &mut HashMap<[u8; 32], Crl>,
    desks: &mut Desks<'_, '_, '_>,
) -> io::Result<Told> {
    let snapshot = work.snapshot;
    Ok(match ask {
        Ask::Questions(questions) => {
            let clerk = desks.clerk.as_mut();
            let clerk = clerk.ok_or_else(|| invalid("nothing is to be asked for this"))?;
            let all = clerk.answers(questions).into_iter();
            Told::Given(all.map(|answer| given(answer, lists)).collect())
        }
        Ask::Entry {
            list,
            issuer,
            serial,
        } => {
            let list = lists.get(list).and_then(Crl::kept_by);
            let list = list.ok_or_else(|| invalid("a list that nobody told of"))?;
            Told::Entry(list.find(*issuer, serial))
        }
        Ask::Protection(questions) => {
            let clerk = desks.protecting.as_mut();
            let clerk = clerk.ok_or_else(|| invalid("nothing is to be protected"))?;
            if questions.len() > MAX_MAILBOXES || !are_about(questions, &work.mail.envelope) {
                return Err(invalid("a worker asks for others than the mail has"));
            }
            Told::Protection(clerk.answer(questions.clone()))
        }
        // While the clock is not trusted, nothing is signed.
        Ask::Statement(_) | Ask::Wrapping(..) | Ask::Author(..) if !work.now.trust.is_trusted() => {
            return Err(invalid("a signature without a time"));
        }
        Ask::Statement(statement) => {
            let mail = Stated {
                id: &work.mail.envelope.id,
                issuer: &snapshot.config.authserv_id,
                time: unix_time(work.now.time),
                revision: &snapshot.revision,
            };
            let key = snapshot.key.as_ref();
            let key = key.ok_or_else(|| invalid("there is no key for it"))?;
            let signature = key.countersign(statement, &mail);
            Told::Signature(Some(
                signature.ok_or_else(|| invalid("a statement about another mail"))?,
            ))
        }
        Ask::Wrapping(algorithm, attributes) => {
            let wrapper = snapshot.wrapper.as_ref();
            let wrapper = wrapper.ok_or_else(|| invalid("there is no key for it"))?;
            if !are_of_mail(attributes) {
                return Err(invalid("what is to be signed is no mail"));
            }
            Told::Signature(wrapper.countersign(*algorithm, attributes).ok())
        }
        Ask::Author(algorithm, attributes) => {
            let key = work.author.key.as_ref();
            let key = key.ok_or_else(|| invalid("nobody signs it"))?;
            if !are_of_mail(attributes) {
                return Err(invalid("what is to be signed is no mail"));
            }
            Told::Signature(key.sign(&work.mail.envelope.id, *algorithm, attributes))
        }
        Ask::Office(errand) => {
            let office = work.office;
            let office = office.ok_or_else(|| invalid("nothing is to be opened"))?;
            run(errand, office)?
        }
    })
}

/// What is done for a mail that a worker opens. Its keys work for its recipients, whatever the worker says.
fn run(errand: &Errand, office: &OwnOffice<'_>) -> io::Result<Told> {
    Ok(match errand {
        Errand::Grant => {
            let lease = office.lease().ok();
            Told::Granted(lease.map(|lease| lease.transaction()))
        }
        Errand::Admit(arrival) => admit(arrival, office)?,
        Errand::Room(octets, wait) => match office.room(*octets, *wait) {
            // The office holds it for the mail.
            Ok(_) => Told::Done,
            Err(why) => Told::NoRoom(why),
        },
        Errand::Opened(used, message_ids) => match office.opened(used, message_ids) {
            Ok(()) => Told::Done,
            Err(why) => Told::Closed(why),
        },
    })
}

fn admit(arrival: &Arrival, office: &OwnOffice<'_>) -> io::Result<Told> {
    let Answers {
        sender, message_id, ..
    } = &arrival.answers;
    if sender.len() > MAX_VALUE || message_id.len() > MAX_VALUE {
        return Err(invalid("a field of a mail is too long"));
    }
    if arrival.digests.len() > MAX_DIGESTS {
        return Err(invalid("more people than a mail has"));
    }
    Ok(match office.admit(arrival) {
        Ok(Admission::Granted { firsts, .. }) => {
            let granted = office.held_lease();
            Told::Admitted {
                firsts,
                granted: granted.map(|lease| lease.transaction()),
            }
        }
        Ok(Admission::NoRoom(why)) => Told::NoRoom(why),
        Err(why) => Told::Closed(why),
    })
}

/// Whether certificates are asked for in the domains of those who get the mail.
fn are_about(questions: &[Question], envelope: &Envelope) -> bool {
    let recipients = envelope.rcpt_to.iter();
    let recipients = recipients.filter_map(|to| Address::parse(&to.address).ok());
    let domains: HashSet<String> = recipients.map(|to| domain(&to)).collect();
    questions.iter().all(|question| match question {
        Question::RecipientCertificates(address) => domains.contains(&domain(address)),
        Question::SenderKey(_) | Question::CameEncrypted(_) => true,
    })
}

fn domain(address: &Address) -> String {
    address.domain().to_ascii_lowercase()
}

/// Whether nothing comes of it that has to be waited for.
pub(super) fn is_note(ask: &Ask) -> bool {
    matches!(ask, Ask::Office(Errand::Opened(_, message_ids)) if message_ids.is_empty())
}

/// An answer as a worker is told of it.
fn given(answer: Answer, told: &mut HashMap<[u8; 32], Crl>) -> Given {
    match answer {
        Answer::Issuers(found) => Given::Issuers(found),
        Answer::Registered(registered) => Given::Registered(registered),
        Answer::Unavailable(why) => Given::Unavailable(why),
        Answer::Status {
            crls,
            ocsp,
            unasked,
        } => Given::Status {
            lists: crls.into_iter().map(|crl| listed(crl, told)).collect(),
            ocsp,
            unasked,
        },
    }
}

/// A list as a worker is told of it.
fn listed(crl: Crl, told: &mut HashMap<[u8; 32], Crl>) -> List {
    let sha256 = *crl.sha256();
    // One that was not at hand may be by now.
    if told
        .get(&sha256)
        .is_some_and(|known| known.is_absent() == crl.is_absent())
    {
        return List::Known(sha256);
    }
    let list = match crl.abridged() {
        None => List::Whole(crl.der().to_vec()),
        Some(parts) if crl.is_absent() => List::Absent(parts),
        Some(parts) => List::Afar(parts),
    };
    told.insert(sha256, crl);
    list
}

/// Answers and entries that one mail may want.
pub(super) const MAX_QUESTIONS: usize = 4096;
/// Questions of one round.
pub(super) const MAX_AT_ONCE: usize = kenin_policy::step::MAX_QUESTIONS;
/// Times that the plan of one mail may ask, and how much at once: an envelope has no more recipients.
pub(super) const MAX_ROUNDS: usize = 16;
pub(super) const MAX_MAILBOXES: usize = 4096;
/// What one mail may have done to be opened: a few times for each layer, and once for each key that is asked. All keys
/// together work 1,024 times for a mail.
pub(super) const MAX_ERRANDS: usize = 8192;
/// Digests that are remembered at once: of a content, and of what is wrapped for each recipient, and for some others.
const MAX_DIGESTS: usize = 1 + MAX_MAILBOXES + MAX_OTHERS;
/// Octets of a header field that the store is told.
const MAX_VALUE: usize = 4096;
/// Message-IDs that are remembered of one mail, each for 400 days and for each domain of the recipients': of the mail as it came
/// and of each copy, so many as are read of a message.
pub(super) const MAX_NAMES: usize = (1 + MAX_SIGNATURES) * 64;
/// Statements that one mail may want: one for each copy, and for each form in which it is shown, opened or not.
pub(super) const MAX_STATEMENTS: usize = 64;
/// Other signatures of one kind that one mail may want: one for each copy.
pub(super) const MAX_SIGNATURES: usize = 16;
