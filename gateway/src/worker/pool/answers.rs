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
use crate::opening::{Closed, Office};
use crate::pipeline::{Clerk, OwnOffice};
use crate::protect;
use crate::worker::codec::question::{Errand, List};
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
        let mut more = 1;
        let (count, most) = match ask {
            Ask::Question(_) | Ask::Entry { .. } => (&mut self.questions, MAX_QUESTIONS),
            Ask::Protection(_) => (&mut self.plans, MAX_ROUNDS),
            Ask::Statement(_) => (&mut self.statements, MAX_SIGNATURES),
            Ask::Wrapping(..) => (&mut self.wrappings, MAX_SIGNATURES),
            Ask::Author(..) => (&mut self.signatures, MAX_SIGNATURES),
            // Each of them is told to the key process, in the line in which other mails are announced.
            Ask::Office(Errand::Opened(used)) => {
                more = used.len().max(1);
                (&mut self.uses, MAX_USES)
            }
            // Each of them is kept for 400 days, for each domain of the recipients'.
            Ask::Office(Errand::CameEncrypted(message_ids)) => {
                more = message_ids.len().max(1);
                (&mut self.names, MAX_NAMES)
            }
            Ask::Office(_) => (&mut self.errands, MAX_ERRANDS),
        };
        *count = count.saturating_add(more);
        match *count > most {
            true => Err(invalid("a worker asks too much")),
            false => Ok(()),
        }
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
        Ask::Question(question) => match desks.clerk.as_mut().map(|clerk| clerk.answer(question)) {
            Some(Answer::Issuers(found)) => Told::Issuers(found),
            Some(Answer::Registered(registered)) => Told::Registered(registered),
            Some(Answer::Unavailable(why)) => Told::Unavailable(why),
            Some(Answer::Status {
                crls,
                ocsp,
                unasked,
            }) => Told::Status {
                lists: crls.into_iter().map(|crl| listed(crl, lists)).collect(),
                ocsp,
                unasked,
            },
            None => return Err(invalid("nothing is to be asked for this")),
        },
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
    let known = |known: Result<Option<Vec<u8>>, Closed>| match known {
        Ok(answers) => Told::Answers(answers),
        Err(why) => Told::Closed(why),
    };
    Ok(match errand {
        Errand::Grant => {
            let lease = office.lease().ok();
            Told::Granted(lease.map(|lease| lease.transaction()))
        }
        Errand::First(sha256) => known(office.first(sha256)),
        Errand::Remember(sha256, answers) => {
            if answers.sender.len() > MAX_VALUE || answers.message_id.len() > MAX_VALUE {
                return Err(invalid("a field of a mail is too long"));
            }
            known(office.remember(sha256, answers).map(Some))
        }
        Errand::CameEncrypted(message_ids) => match office.came_encrypted(message_ids) {
            Ok(()) => Told::Done,
            Err(why) => Told::Closed(why),
        },
        Errand::Room(octets, wait) => match office.hold_room(*octets, *wait) {
            Ok(()) => Told::Done,
            Err(why) => Told::NoRoom(why),
        },
        Errand::Opened(used) => {
            office.opened(used);
            Told::Done
        }
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
/// Times that the plan of one mail may ask, and how much at once: an envelope has no more recipients.
pub(super) const MAX_ROUNDS: usize = 16;
pub(super) const MAX_MAILBOXES: usize = 4096;
/// What one mail may have done to be opened: a few times for each layer, and twice for each key that is asked. All keys
/// together work 1,024 times for a mail.
pub(super) const MAX_ERRANDS: usize = 8192;
/// Octets of a header field that the store is told.
const MAX_VALUE: usize = 4096;
/// Message-IDs that are remembered of one mail: of the mail as it came and of each copy, so many as are read of a message.
pub(super) const MAX_NAMES: usize = (1 + MAX_SIGNATURES) * 64;
/// Signatures of one kind that one mail may want: one for each copy.
pub(super) const MAX_SIGNATURES: usize = 16;
