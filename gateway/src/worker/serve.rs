//! `kenin worker`: what `kenin run` starts to parse mail. It gives up every right before it hears anything, is told what it
//! judges by, and then takes one mail after the other from its one socket, asking over the same socket, until that
//! ends. It has no files, no network, no keys and no log; a panic ends it. Where the mail's people have keys, it may ask
//! the key process for what their grant allows, over a connection that it has from its start.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use kenin_keys::octets::{Malformed, Reader};
use kenin_keys::protocol::Refusal;
use kenin_keys::{Granted, Hand, KeyFacts, KeyId, NoKey, WorkerClient};
use kenin_pki::address::Address;
use kenin_pki::crl::{Crl, RevokedEntries, RevokedEntry};
use kenin_pki::crypto::{KeyError, PublicKey, Secret, SignatureAlgorithm, SigningKey, Wrapped};
use kenin_policy::verdict::Verdict;
use kenin_policy::{Answer, Question, Reason};
use kenin_smtp_filter::{Mail, MailBytes};
use kenin_sys::{Mapped, Otherwise, Role};

use super::codec::question::List;
use super::codec::{self, Ask, Coded, Told, written};
use super::frame::{Kind, invalid, receive, send};
use super::outfit::{Outfit, Whose};
use super::{HERE, IN_A_FILE, Job, What};
use crate::act::{Decided, act};
use crate::clock::unix_time;
use crate::exit::Exit;
use crate::pipeline::{limit_of, verdict_of};
use crate::protect::{self, Author, AuthorKey};
use crate::snapshot::Snapshot;
use crate::{harvest, substitute};

/// Works until the edge goes; `memory` is how many octets it may have.
pub(crate) fn run(memory: u64) -> ExitCode {
    match work(memory) {
        Ok(()) => Exit::Ok.into(),
        // Nobody hears why: what is wrong here is wrong with what the edge said.
        Err(_) => Exit::Unavailable.into(),
    }
}

fn work(memory: u64) -> io::Result<()> {
    kenin_sys::ignore_termination()?;
    kenin_sys::forbid_core_dumps()?;
    kenin_sys::forbid_tracing()?;
    kenin_sys::limit_memory(memory)?;
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Whoever calls this from a shell has put none there.
    stream.peer_addr()?;
    let keys = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let keys = keys.peer_addr().is_ok().then(|| WorkerClient::new(keys));
    let keys = keys.map(|client| Arc::new(Mutex::new(client)));
    let last_words = stream.try_clone()?;
    std::panic::set_hook(Box::new(move |panic| {
        // The place only: what a panic says may hold part of a message.
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let _ = send(&mut &last_words, Kind::Panicked, place.as_bytes());
        std::process::abort();
    }));
    kenin_sys::confine(Role::Worker, Otherwise::Refuse)?;
    let edge = Arc::new(Edge(Mutex::new(stream)));
    let Some(outfit) = edge.next(Kind::Outfit)? else {
        return Ok(());
    };
    let outfit: Outfit = codec::read(&outfit).map_err(malformed)?;
    let snapshot = outfit.snapshot(|whose, public| {
        Box::new(AfarKey {
            edge: Arc::clone(&edge),
            whose,
            public,
        })
    });
    let snapshot = snapshot.map_err(io::Error::other)?;
    edge.say(Kind::Ready, &[])?;
    let mut lists = Lists {
        edge: Arc::clone(&edge),
        known: HashMap::new(),
    };
    while let Some(job) = edge.next(Kind::Job)? {
        let (job, mail) = edge.mail(&job)?;
        match job.what {
            What::Decide => {
                let people = job.people.as_ref().zip(keys.as_ref());
                let people = people.map(|((transaction, facts), client)| People {
                    _hand: Hand::new(Arc::clone(client), *transaction),
                    _facts: facts,
                });
                let decided = decide(&job, &mail, &snapshot, &mut lists, people.as_ref(), &edge);
                edge.say(Kind::Decided, &written(&decided))?;
            }
            What::Stamp(reason) => {
                let verdict = substitute::unexamined(reason, &mail.raw);
                let decided = follow(&job, &mail, &snapshot, verdict, Some(reason), &edge);
                edge.say(Kind::Decided, &written(&decided))?;
            }
            What::Find(sha256) => {
                let found = harvest::look(&mail, &snapshot, &sha256);
                edge.say(Kind::Found, &written(&found))?;
            }
        }
    }
    Ok(())
}

/// The people of a mail who have keys, and how these are reached; mail is not opened here yet.
struct People<'a> {
    _hand: Hand,
    _facts: &'a [KeyFacts],
}

/// As a thread of the edge does it, but for who answers.
fn decide(
    job: &Job,
    mail: &Mail,
    snapshot: &Snapshot,
    lists: &mut Lists,
    _people: Option<&People<'_>>,
    edge: &Arc<Edge>,
) -> Decided {
    let time = unix_time(job.now.time);
    let verdict = verdict_of(&mail.raw, snapshot, time, |question| lists.answer(question));
    let verdict = substitute::unless_clock_is_trusted(verdict, job.now.trust);
    let limit = limit_of(&verdict);
    follow(job, mail, snapshot, verdict, limit, edge)
}

/// What follows from a verdict.
fn follow(
    job: &Job,
    mail: &Mail,
    snapshot: &Snapshot,
    verdict: Verdict,
    limit: Option<Reason>,
    edge: &Arc<Edge>,
) -> Decided {
    let key = job.signatory.as_ref().map(|signatory| AuthorKey {
        signatory: signatory.clone(),
        granted: Arc::new(AfarAuthor(Arc::clone(edge))),
    });
    let author = Author::known(job.author.clone(), key);
    let asking = &mut |questions| match edge.ask(&Ask::Protection(questions)) {
        Told::Protection(answered) => answered,
        // Whoever gets no answer plans as if there were none.
        _ => Vec::new(),
    };
    let plan = protect::plan(mail, snapshot, &author, job.now, &job.had, limit, asking);
    act(mail, snapshot, verdict, job.now, &job.had, &plan)
}

/// The line to the edge.
struct Edge(Mutex<UnixStream>);

impl Edge {
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

    /// A mail with what is to be done with it.
    fn mail(&self, job: &[u8]) -> io::Result<(Job, Mail)> {
        let mut from = Reader::new(job);
        let job = Job::read(&mut from).map_err(malformed)?;
        let raw = match from.u8().map_err(malformed)? {
            HERE => MailBytes::read(&mut from).map_err(malformed)?,
            IN_A_FILE => {
                let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let descriptor = kenin_sys::receive_descriptor(stream.as_fd())?;
                let descriptor = descriptor.ok_or(io::ErrorKind::UnexpectedEof)?;
                Mapped::handed(descriptor)?.into()
            }
            _ => return Err(invalid("neither here nor a file")),
        };
        from.finish().map_err(malformed)?;
        let envelope = Arc::clone(&job.envelope);
        Ok((job, Mail { envelope, raw }))
    }
}

/// Revocation lists that the edge has told of.
struct Lists {
    edge: Arc<Edge>,
    known: HashMap<[u8; 32], Crl>,
}

impl Lists {
    fn answer(&mut self, question: &Question) -> Answer {
        match self.edge.ask(&Ask::Question(question.clone())) {
            Told::Issuers(found) => Answer::Issuers(found),
            Told::Registered(registered) => Answer::Registered(registered),
            Told::Unavailable(why) => Answer::Unavailable(why),
            Told::Status {
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
            Told::Entry(_) | Told::Signature(_) | Told::Protection(_) => {
                Answer::Unavailable("another question was answered".to_owned())
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

/// As many as one mail asks for, and more.
const MAX_FOUND: usize = 4096;
