//! `kenin worker`: what `kenin run` starts to parse mail. It gives up every right before it hears anything, is told what it
//! judges by, and then takes one mail after the other from its one socket, asking over the same socket, until that
//! ends. It has no files, no network, no keys and no log; a panic ends it. Mail whose people have keys is for a copy of a
//! [`template`], which does the same for mail of these people, and may ask the key process for what the mail's grant allows.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use kenin_keys::octets::{Malformed, Reader};
use kenin_keys::protocol::{Refusal, Transaction};
use kenin_keys::{Granted, Hand, KeyFacts, KeyId, NoKey, WorkerClient};
use kenin_pki::address::Address;
use kenin_pki::crl::{Crl, RevokedEntries, RevokedEntry};
use kenin_pki::crypto::{KeyError, PublicKey, Secret, SignatureAlgorithm, SigningKey, Wrapped};
use kenin_policy::{Answer, Question, Reason, protect as protection};
use kenin_smtp_filter::Mail;
use kenin_sys::{Mapped, Otherwise, Role};

use super::codec::question::{Errand, Given, List};
use super::codec::{self, Ask, Coded, Told, decided, written, written_in_room};
use super::frame::{Kind, invalid, receive, send};
use super::outfit::{Outfit, Whose};
use super::{HERE, IN_A_FILE, Job, What};
use crate::act::{Decided, Matter, act, follow};
use crate::clock::unix_time;
use crate::exit::Exit;
use crate::opening::{Admission, Answers, Arrival, Closed, NoRoom, Office, Room};
use crate::pipeline::verdict_of;
use crate::protect::{self, Author, AuthorKey};
use crate::snapshot::Snapshot;
use crate::{harvest, substitute};

mod template;

pub(crate) use template::run as run_template;

/// Works until the edge goes; `memory` is how many octets it may have.
pub(crate) fn run(memory: u64) -> ExitCode {
    code(work(memory))
}

/// Nobody hears what went wrong: that is wrong with what the edge said.
fn code(ended: io::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => Exit::Ok.into(),
        Err(_) => Exit::Unavailable.into(),
    }
}

fn work(memory: u64) -> io::Result<()> {
    let stream = line(memory)?;
    kenin_sys::confine(Role::Worker, Otherwise::Refuse)?;
    let edge = Arc::new(Edge(Mutex::new(stream)));
    let Some(snapshot) = snapshot(&edge)? else {
        return Ok(());
    };
    edge.say(Kind::Ready, &[])?;
    let mut lists = Lists::new(&edge);
    while one_mail(&edge, &snapshot, &mut lists)? {}
    Ok(())
}

/// Takes over the line to the edge, after what can be taken from this process without a filter.
fn line(memory: u64) -> io::Result<UnixStream> {
    kenin_sys::ignore_termination()?;
    kenin_sys::forbid_core_dumps()?;
    // The edge says it where this cannot be; cores are forbidden anyway.
    let _ = kenin_sys::keep_out_of_dumps();
    kenin_sys::forbid_tracing()?;
    kenin_sys::limit_memory(memory)?;
    kenin_sys::limit_descriptors(DESCRIPTORS)?;
    let stream = UnixStream::from(kenin_sys::take_standard_input()?);
    // Whoever calls this from a shell has put none there.
    stream.peer_addr()?;
    say_last_words(&stream)?;
    Ok(stream)
}

/// Has a panic end this process, which says where on this line, and on no other any more.
fn say_last_words(line: &UnixStream) -> io::Result<()> {
    let line = line.try_clone()?;
    std::panic::set_hook(Box::new(move |panic| {
        // The place only: what a panic says may hold part of a message.
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let _ = send(&mut &line, Kind::Panicked, place.as_bytes());
        std::process::abort();
    }));
    Ok(())
}

/// What the edge says that mail is judged by; nothing where it has gone.
fn snapshot(edge: &Arc<Edge>) -> io::Result<Option<Snapshot>> {
    let Some(outfit) = edge.next(Kind::Outfit)? else {
        return Ok(None);
    };
    let outfit: Outfit = codec::read(&outfit).map_err(malformed)?;
    let snapshot = outfit.snapshot(|whose, public| {
        Box::new(AfarKey {
            edge: Arc::clone(edge),
            whose,
            public,
        })
    });
    snapshot.map(Some).map_err(io::Error::other)
}

/// Does what the edge says with the next mail; false where it has gone.
fn one_mail(edge: &Arc<Edge>, snapshot: &Snapshot, lists: &mut Lists) -> io::Result<bool> {
    let Some(job) = edge.next(Kind::Job)? else {
        return Ok(false);
    };
    let (job, mail) = edge.mail(&job)?;
    let keys = edge.keys(&job)?;
    match job.what {
        What::Decide => {
            let office = AfarOffice {
                edge,
                keys: &job.keys,
                client: keys.as_ref(),
                granted: Cell::new(None),
            };
            let decided = decide(&job, &mail, snapshot, lists, &office);
            // Wiped: it may hold what was opened.
            let room = decided::room(&decided);
            let decided = Secret::new(written_in_room(&decided, room));
            edge.say(Kind::Decided, decided.expose())?;
        }
        What::Stamp(reason) => {
            let decided = stamp(&job, &mail, snapshot, reason, edge);
            edge.say(Kind::Decided, &written(&decided))?;
        }
        What::Find(sha256) => {
            let found = harvest::look(&mail, snapshot, &sha256);
            edge.say(Kind::Found, &written(&found))?;
        }
    }
    Ok(true)
}

/// As a thread of the edge does it, but for who answers.
fn decide(
    job: &Job,
    mail: &Mail,
    snapshot: &Snapshot,
    lists: &mut Lists,
    office: &AfarOffice<'_>,
) -> Decided {
    let time = unix_time(job.now.time);
    let lists = RefCell::new(lists);
    let judge = |raw: &[u8]| {
        let answer = |questions: &[Question]| lists.borrow_mut().answers(questions);
        let verdict = verdict_of(raw, snapshot, time, answer);
        substitute::unless_clock_is_trusted(verdict, job.now.trust)
    };
    let author = author(job, office.edge);
    let matter = Matter {
        mail,
        snapshot,
        author: &author,
        now: job.now,
        had: &job.had,
    };
    let asking = &mut |questions| answers(job, office.edge, questions);
    follow(matter, judge(&mail.raw), &judge, office, asking)
}

/// What becomes of a mail that is not examined.
fn stamp(job: &Job, mail: &Mail, snapshot: &Snapshot, reason: Reason, edge: &Arc<Edge>) -> Decided {
    let (author, limit) = (author(job, edge), Some(reason));
    let asking = &mut |questions| answers(job, edge, questions);
    let plan = protect::plan(mail, snapshot, &author, job.now, &job.had, limit, asking);
    let verdict = substitute::unexamined(reason, &mail.raw);
    act(mail, snapshot, verdict, job.now, &job.had, &plan)
}

fn author(job: &Job, edge: &Arc<Edge>) -> Author {
    let key = job.signatory.as_ref().map(|signatory| AuthorKey {
        signatory: signatory.clone(),
        granted: Arc::new(AfarAuthor(Arc::clone(edge))),
    });
    Author::known(job.author.clone(), key)
}

/// What the plan of a protection lacks. Whoever gets no answer plans as if there were none.
fn answers(
    job: &Job,
    edge: &Edge,
    questions: Vec<protection::Question>,
) -> Vec<protection::Answered> {
    // That there is a key came with the mail.
    let is_known = |question: &protection::Question| {
        job.signatory.is_some() && matches!(question, protection::Question::SenderKey(_))
    };
    let (known, unknown): (Vec<_>, Vec<_>) = questions.into_iter().partition(is_known);
    let has_key = |question| protection::Answered {
        question,
        answer: protection::Answer::SenderKey(true),
    };
    let mut answers: Vec<_> = known.into_iter().map(has_key).collect();
    if unknown.is_empty() {
        return answers;
    }
    if let Told::Protection(told) = edge.ask(&Ask::Protection(unknown)) {
        answers.extend(told);
    }
    answers
}

/// Has the edge do what opening a mail takes.
struct AfarOffice<'a> {
    edge: &'a Arc<Edge>,
    /// Recipients who have keys, with these.
    keys: &'a [(Address, Vec<Arc<KeyFacts>>)],
    /// The connection to the key process, where there is one.
    client: Option<&'a Arc<Mutex<WorkerClient>>>,
    /// Under what the key process knows the mail.
    granted: Cell<Option<Transaction>>,
}

impl AfarOffice<'_> {
    fn run(&self, errand: Errand) -> Told {
        self.edge.ask(&Ask::Office(errand))
    }
}

impl Office for AfarOffice<'_> {
    fn keys(&self, recipient: &Address) -> Vec<Arc<KeyFacts>> {
        let own = self.keys.iter().find(|(address, _)| address == recipient);
        own.map(|(_, keys)| keys.clone()).unwrap_or_default()
    }

    fn granted(&self) -> Result<Box<dyn Granted + '_>, NoKey> {
        let client = self.client.ok_or(NoKey::Gone)?;
        let granted = self
            .granted
            .get()
            .or_else(|| match self.run(Errand::Grant) {
                Told::Granted(granted) => granted,
                _ => None,
            });
        let transaction = granted.ok_or(NoKey::Gone)?;
        Ok(Box::new(Hand::new(Arc::clone(client), transaction)))
    }

    fn admit(&self, arrival: &Arrival) -> Result<Admission, Closed> {
        let short = |text: &str| text.chars().take(MAX_VALUE).collect();
        let arrival = Arrival {
            answers: Answers {
                digest: arrival.answers.digest,
                sender: short(&arrival.answers.sender),
                message_id: short(&arrival.answers.message_id),
            },
            ..arrival.clone()
        };
        let room = arrival.octets.map(|_| Room::elsewhere());
        match self.run(Errand::Admit(arrival)) {
            Told::Admitted { firsts, granted } => {
                self.granted.set(self.granted.get().or(granted));
                Ok(Admission::Granted { room, firsts })
            }
            Told::NoRoom(why) => Ok(Admission::NoRoom(why)),
            Told::Closed(why) => Err(why),
            _ => Err(Closed::Record),
        }
    }

    fn room(&self, octets: usize, wait: bool) -> Result<Room, NoRoom> {
        match self.run(Errand::Room(octets, wait)) {
            Told::Done => Ok(Room::elsewhere()),
            Told::NoRoom(why) => Err(why),
            _ => Err(NoRoom::Now),
        }
    }

    fn opened(&self, used: &[(Address, KeyId)], message_ids: &[[u8; 32]]) -> Result<(), Closed> {
        let opened = Errand::Opened(used.to_vec(), message_ids.to_vec());
        if message_ids.is_empty() {
            // The edge tells the key process, and nothing comes of it.
            self.edge.note(&Ask::Office(opened));
            return Ok(());
        }
        match self.run(opened) {
            Told::Done => Ok(()),
            Told::Closed(why) => Err(why),
            _ => Err(Closed::Record),
        }
    }
}

/// The line to the edge.
struct Edge(Mutex<UnixStream>);

impl Edge {
    /// Goes on over this line; the one before is closed.
    fn replace(&self, line: UnixStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    /// A descriptor, where one comes next.
    fn handed(&self) -> io::Result<Option<OwnedFd>> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kenin_sys::receive_descriptor(stream.as_fd())
    }

    /// The next frame, which has to be of this kind; nothing where the edge has gone.
    fn next(&self, kind: Kind) -> io::Result<Option<Vec<u8>>> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match receive(&mut *stream, usize::MAX)? {
            None => Ok(None),
            Some((came, content)) if came == kind => Ok(Some(content)),
            Some(_) => Err(invalid("another kind of frame")),
        }
    }

    fn say(&self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut *stream, kind, content)
    }

    /// Asks, and waits for the answer. Who cannot ask can do nothing at all: an answer that is missing must never be
    /// taken for one that says that there is nothing.
    fn ask(&self, ask: &Ask) -> Told {
        let asked = self.say(Kind::Ask, &written(ask));
        let told = asked.and_then(|()| self.next(Kind::Told));
        let told = told.ok().flatten().and_then(|told| codec::read(&told).ok());
        told.unwrap_or_else(|| std::process::abort())
    }

    /// Says what is not answered.
    fn note(&self, note: &Ask) {
        if self.say(Kind::Note, &written(note)).is_err() {
            std::process::abort();
        }
    }

    /// A mail with what is to be done with it.
    fn mail(&self, job: &[u8]) -> io::Result<(Job, Mail)> {
        let mut from = Reader::new(job);
        let job = Job::read(&mut from).map_err(malformed)?;
        let raw = match from.u8().map_err(malformed)? {
            HERE => Vec::<u8>::read(&mut from).map_err(malformed)?.into(),
            IN_A_FILE => {
                let descriptor = self.handed()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                match Mapped::handed(descriptor) {
                    Ok(mapped) => mapped.into(),
                    Err(failed) => {
                        self.say(Kind::Unmapped, &[])?;
                        return Err(failed);
                    }
                }
            }
            _ => return Err(invalid("neither here nor a file")),
        };
        from.finish().map_err(malformed)?;
        let envelope = Arc::clone(&job.envelope);
        Ok((job, Mail { envelope, raw }))
    }

    /// The connection to the key process for a mail that may be opened.
    fn keys(&self, job: &Job) -> io::Result<Option<Arc<Mutex<WorkerClient>>>> {
        if job.keys.is_empty() {
            return Ok(None);
        }
        let descriptor = self.handed()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let client = WorkerClient::new(descriptor.into());
        Ok(Some(Arc::new(Mutex::new(client))))
    }
}

/// Revocation lists that the edge has told of.
struct Lists {
    edge: Arc<Edge>,
    known: HashMap<[u8; 32], Crl>,
}

impl Lists {
    fn new(edge: &Arc<Edge>) -> Self {
        Self {
            edge: Arc::clone(edge),
            known: HashMap::new(),
        }
    }

    /// The answers to these, in their order.
    fn answers(&mut self, questions: &[Question]) -> Vec<Answer> {
        match self.edge.ask(&Ask::Questions(questions.to_vec())) {
            Told::Given(all) => all.into_iter().map(|given| self.answer(given)).collect(),
            _ => Vec::new(),
        }
    }

    fn answer(&mut self, given: Given) -> Answer {
        match given {
            Given::Issuers(found) => Answer::Issuers(found),
            Given::Registered(registered) => Answer::Registered(registered),
            Given::Unavailable(why) => Answer::Unavailable(why),
            Given::Status {
                lists,
                ocsp,
                unasked,
            } => {
                let lists = lists.into_iter().map(|list| self.list(list));
                match lists.collect::<Option<Vec<_>>>() {
                    Some(crls) => Answer::Status {
                        crls,
                        ocsp,
                        unasked,
                    },
                    None => Answer::Unavailable("a revocation list cannot be read".to_owned()),
                }
            }
        }
    }

    fn list(&mut self, list: List) -> Option<Crl> {
        let crl = match list {
            List::Known(sha256) => return self.known.get(&sha256).cloned(),
            List::Whole(der) => Crl::from_der(&der),
            List::Absent(parts) => Crl::absent(&parts),
            List::Afar(parts) => {
                let entries = AfarEntries {
                    edge: Arc::clone(&self.edge),
                    list: parts.sha256,
                    count: usize::try_from(parts.entries).unwrap_or(usize::MAX),
                    found: Mutex::default(),
                };
                Crl::indexed(&parts, Arc::new(entries))
            }
        };
        let crl = crl.ok()?;
        self.known.insert(*crl.sha256(), crl.clone());
        Some(crl)
    }
}

/// Entries of a long list, which the edge keeps.
struct AfarEntries {
    edge: Arc<Edge>,
    list: [u8; 32],
    count: usize,
    /// What was found before; it does not change.
    found: Mutex<Found>,
}

/// By indirect issuer and serial number.
type Found = HashMap<(u32, Vec<u8>), Option<RevokedEntry>>;

impl RevokedEntries for AfarEntries {
    fn len(&self) -> usize {
        self.count
    }

    fn find(&self, issuer: u32, serial: &[u8]) -> Option<RevokedEntry> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (issuer, serial.to_vec());
        if let Some(entry) = found.get(&key) {
            return *entry;
        }
        let asked = self.edge.ask(&Ask::Entry {
            list: self.list,
            issuer,
            serial: serial.to_vec(),
        });
        let Told::Entry(entry) = asked else {
            // That it is on no list must be said, and is never assumed.
            std::process::abort();
        };
        if found.len() >= MAX_FOUND {
            found.clear();
        }
        found.insert(key, entry);
        entry
    }
}

/// A key of the gateway's, which the edge has and signs with for the mail in hand.
struct AfarKey {
    edge: Arc<Edge>,
    whose: Whose,
    public: PublicKey,
}

impl SigningKey for AfarKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let ask = match self.whose {
            Whose::Statement => Ask::Statement(message.to_vec()),
            Whose::Wrapping => Ask::Wrapping(algorithm, message.to_vec()),
        };
        match self.edge.ask(&ask) {
            Told::Signature(Some(signature)) => Ok(signature),
            _ => Err(KeyError::Failed),
        }
    }
}

/// The key of the mail's author, which signs as the edge has it granted.
struct AfarAuthor(Arc<Edge>);

impl Granted for AfarAuthor {
    fn unwrap(&self, _: &Address, _: KeyId, _: usize, _: &Wrapped) -> Result<Secret, NoKey> {
        Err(Refusal::NotGranted.into())
    }

    /// There is one such key, whatever its name.
    fn sign(
        &self,
        _: KeyId,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, NoKey> {
        match self.0.ask(&Ask::Author(algorithm, attributes.to_vec())) {
            Told::Signature(Some(signature)) => Ok(signature),
            _ => Err(NoKey::Gone),
        }
    }
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Its line, twice, the standard ones, the file of a mail and a connection to the key process, and some that the system
/// or a library may want. Who has taken a worker over hoards none.
const DESCRIPTORS: u64 = 32;
/// Characters of a header field that the store is told.
const MAX_VALUE: usize = 512;
/// As many as one mail asks for, and more.
const MAX_FOUND: usize = 4096;
