//! The edge's end: workers that are free, those that are at work, and what they may say. A worker has one mail at a time, and
//! what it says is taken as mail is: bounded, and checked. Whoever says what no worker says, or nothing in time, is ended; the
//! mail is then the caller's to answer. Mail that is signed, or opened, with people's keys is for a copy of a template, which is
//! handed a line, and over it a connection to the key process for each mail. It has mail of the same people only, and for no
//! longer than the administrator allows.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use kenin_keys::octets::Writer;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::Secret;
use kenin_policy::Reason;
use kenin_smtp_filter::Mail;
use tracing::{error, warn};

use super::codec::{self, Ask, Coded, decided, written};
use super::frame::{Kind, Until, invalid, receive, send};
use super::{HERE, IN_A_FILE, Job, People, What};
use crate::act::{self, Decided};
use crate::clock::Moment;
use crate::harvest;
use crate::pipeline::{Clerk, Discretion, OwnOffice, seems_encrypted};
use crate::protect::{self, Author};
use crate::snapshot::Snapshot;

mod answers;
mod process;
mod spares;

use answers::{Asked, Desks, is_note, tell};
use process::{Copy, Sort, Worker, panicked};
use spares::Spares;

/// Workers and templates that have nothing to do, and how more are made.
#[derive(Debug)]
pub(crate) struct Pool {
    program: PathBuf,
    /// In front of those of a worker.
    arguments: Vec<OsString>,
    snapshots: Arc<ArcSwap<Snapshot>>,
    spares: Spares,
}

/// Why nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// There can be no worker.
    NoWorker,
    /// It took too long.
    Late,
    /// It had no room for the mail. That says nothing of the mail.
    NoRoom,
    /// The worker has ended, or said what no worker says.
    Died,
}

/// A mail, as the pipeline has it.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) mail: &'a Mail,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    /// Who its author is known to be.
    pub(crate) author: &'a Author,
    pub(crate) now: Moment,
    /// Recipients who have it, by their place.
    pub(crate) had: &'a [usize],
    /// Who does what opening it takes; nobody where it is not to be opened.
    pub(crate) office: Option<&'a OwnOffice<'a>>,
    /// How long anybody waits for it.
    pub(crate) until: Instant,
}

impl Work<'_> {
    /// The same for a worker that opens nothing, where it seems that nothing has to be opened: a copy costs many times as much.
    fn without_keys(self) -> Option<Self> {
        let office = self.office?;
        let is_plain = self.author.key.is_none()
            && !office.all_keys().is_empty()
            && !seems_encrypted(&self.mail.raw);
        is_plain.then_some(Self {
            office: None,
            ..self
        })
    }
}

impl Pool {
    /// Workers that judge by the snapshot that the pointer holds at the time.
    pub(crate) fn new(snapshots: Arc<ArcSwap<Snapshot>>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // What runs now, also where the file has another version by now.
            program: "/proc/self/exe".into(),
            arguments: Vec::new(),
            snapshots,
            spares: Spares::new(cores.saturating_mul(2)),
        }
    }

    /// Judges a mail, and says what becomes of it: the first answers what the verdict lacks, the second what its
    /// protection does. It blocks.
    pub(crate) fn decide(
        &self,
        work: Work<'_>,
        clerk: &mut Clerk<'_>,
        protecting: &mut protect::Clerk<'_>,
    ) -> Result<Decided, Lost> {
        let mut desks = Desks {
            clerk: Some(clerk),
            protecting: Some(protecting),
        };
        if let Some(work) = work.without_keys() {
            let decided = self.decided(What::Decide, work, &mut desks)?;
            // Whoever leaves out that something is encrypted in it leaves it so.
            if decided.verdict.encryption.is_empty() {
                return Ok(decided);
            }
        }
        self.decided(What::Decide, work, &mut desks)
    }

    /// Says what becomes of a mail that is not examined, for this reason. It blocks.
    pub(crate) fn stamp(
        &self,
        reason: Reason,
        work: Work<'_>,
        protecting: &mut protect::Clerk<'_>,
    ) -> Result<Decided, Lost> {
        let mut desks = Desks {
            clerk: None,
            protecting: Some(protecting),
        };
        self.decided(What::Stamp(reason), work, &mut desks)
    }

    /// The certificate with this fingerprint (hex) among those that signed the mail, where the rules want it kept. It
    /// blocks.
    pub(crate) fn find(
        &self,
        mail: &Mail,
        snapshot: &Arc<Snapshot>,
        sha256: &str,
    ) -> Option<harvest::Found> {
        let work = Work {
            mail,
            snapshot,
            author: &Author::default(),
            now: Moment {
                time: crate::clock::now(),
                trust: crate::clock::Trust::Yes,
            },
            had: &[],
            office: None,
            until: Instant::now() + snapshot.config.limits.deadline,
        };
        let what = What::Find(sha256.to_owned());
        let found = self.done(
            what,
            work,
            &mut Desks::default(),
            |kind, content, _| match (kind, codec::read::<Option<harvest::Found>>(content)) {
                (Kind::Found, Ok(found)) => Ok(found),
                (Kind::Found, Err(error)) => Err(io::Error::other(error)),
                _ => Err(invalid("another kind of frame")),
            },
        );
        let found = found.ok().flatten();
        found.filter(|found| harvest::is_it(&found.certificate, sha256))
    }

    fn decided(
        &self,
        what: What,
        work: Work<'_>,
        desks: &mut Desks<'_, '_, '_>,
    ) -> Result<Decided, Lost> {
        self.done(what, work, desks, |kind, content, work| {
            if kind != Kind::Decided {
                return Err(invalid("another kind of frame"));
            }
            let found: Decided = codec::read(content).map_err(io::Error::other)?;
            let (envelope, length) = (&work.mail.envelope, work.mail.raw.len());
            decided::check(&found, envelope, length).map_err(io::Error::other)?;
            // What the edge knows itself it does not take from a worker.
            let mut found = found;
            found.clock = work.now.trust;
            found.sealed = "";
            found.verdict.revision.clone_from(&work.snapshot.revision);
            let discretion = work.office.map(OwnOffice::discretion);
            found.discreet = discretion.is_some_and(Discretion::is_wanted);
            act::own_return_path(&mut found, work.mail, &work.snapshot.config);
            if let Some(discretion) = discretion {
                act::lodge(&mut found, &Arc::new(discretion.rooms()));
            }
            Ok(found)
        })
    }

    /// Has a worker do this, and reads its result. A worker that did is kept, any other is ended. So is a template whose copy
    /// did not: its copies have their memory laid out alike, and whoever has tried something tries it on another next.
    fn done<T>(
        &self,
        what: What,
        work: Work<'_>,
        desks: &mut Desks<'_, '_, '_>,
        result: impl FnOnce(Kind, &[u8], &Work<'_>) -> io::Result<T>,
    ) -> Result<T, Lost> {
        let id = &work.mail.envelope.id;
        let none = |failed: io::Error| {
            error!(id, error = %failed, "a worker cannot be started");
            match failed.kind() {
                // The start has a time of its own: where that is over first, the mail is not to blame.
                io::ErrorKind::TimedOut if Instant::now() >= work.until => Lost::Late,
                _ => Lost::NoWorker,
            }
        };
        let job = job(what, &work);
        let people = job.people();
        let mut worker = self.take(people.as_ref(), &work).map_err(none)?;
        worker.mails = worker.mails.saturating_add(1);
        let done = match people {
            None => talk(&worker.stream, &mut worker.lists, &job, &work, desks),
            Some(people) => {
                let mut copy = worker.copy_for(people, &work).map_err(none)?;
                let done = talk(&copy.line, &mut copy.lists, &job, &work, desks);
                worker.copy = is_small(&copy, work.mail).then_some(copy);
                done
            }
        };
        let done = done.and_then(|(kind, content)| {
            // Wiped: it may hold what was opened.
            let content = Secret::new(content);
            result(kind, content.expose(), &work)
        });
        if done.is_ok() && worker.rest().is_ok() {
            self.spares.put(worker, &self.snapshots);
        }
        done.map_err(|failed| {
            let lost = lost(&failed);
            match lost {
                Lost::Late => {}
                Lost::NoRoom => error!(id, "a worker cannot map a mail"),
                Lost::NoWorker => error!(id, error = %failed, "a worker cannot be handed a mail"),
                Lost::Died => warn!(id, error = %failed, "a worker was lost"),
            }
            lost
        })
    }

    /// One that judges by the mail's snapshot: a free one, or another. A template where somebody's keys may work for the mail.
    fn take(&self, people: Option<&People>, work: &Work<'_>) -> io::Result<Worker> {
        if let Some(worker) = self.spares.take(people, work.snapshot) {
            return Ok(worker);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let sort = match people {
            None => Sort::Worker,
            Some(_) => Sort::Template,
        };
        Worker::start(command, sort, work)
    }
}

/// What it means that a mail was not talked over to its end.
fn lost(failed: &io::Error) -> Lost {
    match (failed.kind(), failed.raw_os_error()) {
        (io::ErrorKind::TimedOut, _) => Lost::Late,
        (io::ErrorKind::OutOfMemory, _) => Lost::NoRoom,
        // It never began with it. A mail that comes three times meanwhile would pass for one that no worker bears.
        (_, Some(code)) if OWN_WANTS.contains(&code) => Lost::NoWorker,
        _ => Lost::Died,
    }
}

/// Whether a copy that has had this mail has room for more.
fn is_small(copy: &Copy, mail: &Mail) -> bool {
    mail.raw.len() <= LARGE && copy.lists.len() < MAX_LISTS
}

/// What is to be done with a mail, as a worker is told.
fn job(what: What, work: &Work<'_>) -> Job {
    Job {
        what,
        envelope: Arc::clone(&work.mail.envelope),
        author: work.author.address.clone(),
        signatory: work.author.key.as_ref().map(|key| key.signatory.clone()),
        now: work.now,
        had: work.had.to_vec(),
        keys: work.office.map(OwnOffice::all_keys).unwrap_or_default(),
    }
}

/// Has whoever is at the other end do this; what it says at the end. `lists` is what it was told of.
fn talk(
    stream: &UnixStream,
    lists: &mut HashMap<[u8; 32], Crl>,
    job: &Job,
    work: &Work<'_>,
    desks: &mut Desks<'_, '_, '_>,
) -> io::Result<(Kind, Vec<u8>)> {
    let size = usize::try_from(work.snapshot.config.limits.message_size);
    let most = size.unwrap_or(usize::MAX / 8).saturating_mul(4);
    let most = most.saturating_add(MAX_BESIDE_MAIL);
    let mut line = Until::new(stream, work.until);
    // Until nothing more is said for this mail.
    let _lent = hand_over(job, work, &mut line)?;
    let mut asked = Asked::default();
    loop {
        let Some((kind, content)) = receive(&mut line, most)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match kind {
            // Read, it would take many times the memory.
            Kind::Ask | Kind::Note if content.len() > MAX_BESIDE_MAIL => {
                return Err(invalid("a question is too long"));
            }
            Kind::Ask => {
                let ask: Ask = codec::read(&content).map_err(io::Error::other)?;
                asked.one_more(&ask)?;
                let told = tell(&ask, work, lists, desks)?;
                send(&mut line, Kind::Told, &written(&told))?;
            }
            Kind::Note => {
                let ask: Ask = codec::read(&content).map_err(io::Error::other)?;
                if !is_note(&ask) {
                    return Err(invalid("what is said has to be answered"));
                }
                asked.one_more(&ask)?;
                tell(&ask, work, lists, desks)?;
            }
            Kind::Panicked => return Err(panicked(&content)),
            Kind::Unmapped => return Err(io::ErrorKind::OutOfMemory.into()),
            other => return Ok((other, content)),
        }
    }
}

/// Sends a mail and what is to be done with it: in one piece, or as a file that can be read and not written. And what leads
/// to the keys that it may be opened with.
fn hand_over(job: &Job, work: &Work<'_>, line: &mut Until<'_>) -> io::Result<Option<Lent>> {
    let mail = work.mail;
    let mut out = Writer::with_room(mail.raw.len().saturating_add(1024));
    job.write(&mut out);
    match mail.raw.descriptor() {
        None => {
            out.u8(HERE).octets(&mail.raw);
            send(line, Kind::Job, &out.finish())?;
        }
        Some(descriptor) => {
            out.u8(IN_A_FILE);
            send(line, Kind::Job, &out.finish())?;
            kenin_sys::send_descriptor(line.stream().as_fd(), descriptor)?;
        }
    }
    // Who has no keys to open it with needs none to talk to: signatures are the edge's to ask for.
    if job.keys.is_empty() {
        return Ok(None);
    }
    let keys = work.office.and_then(OwnOffice::connection);
    // Where there is no key process, what has no other end.
    let keys = keys.map_or_else(|| UnixStream::pair().map(|(one, _)| one), Ok)?;
    let lent = Lent(keys);
    kenin_sys::send_descriptor(line.stream().as_fd(), lent.0.as_fd())?;
    Ok(Some(lent))
}

/// A connection to the key process that whoever has a mail has, too. It ends with the mail, whoever keeps it: the key process
/// has only so many.
struct Lent(UnixStream);

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// What the system says where this process, or all of them, have too many descriptors, also on their way to others (errno(3),
/// unix(7)): ENFILE, EMFILE, ENOBUFS, ETOOMANYREFS. No worker's doing.
const OWN_WANTS: [i32; 4] = [23, 24, 105, 109];
/// Lists that one worker is told of.
const MAX_LISTS: usize = 1024;
/// Octets of a mail after which a copy has no other: what it has had of memory it has still.
const LARGE: usize = 1 << 20;
/// Octets that a worker may say beside what is in the mail, four times.
const MAX_BESIDE_MAIL: usize = 16 << 20;

#[cfg(test)]
mod tests;
