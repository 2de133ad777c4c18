//! The edge's end: workers that are free, those that are at work, and what they may say. A worker has one mail at a time, and
//! what it says is taken as mail is: bounded, and checked. Whoever says what no worker says, or nothing in time, is ended; the
//! mail is then the caller's to answer.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kenin_keys::octets::Writer;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::Secret;
use kenin_policy::Reason;
use kenin_smtp_filter::Mail;
use tracing::{error, warn};

use super::codec::{self, Ask, Coded, decided, written};
use super::frame::{Kind, Until, frame, invalid, receive, send};
use super::outfit::Outfit;
use super::{HERE, IN_A_FILE, Job, What};
use crate::act::{self, Decided};
use crate::clock::Moment;
use crate::harvest;
use crate::keyring::Keyring;
use crate::pipeline::{Clerk, OwnOffice};
use crate::protect::{self, Author};
use crate::snapshot::Snapshot;

mod answers;

use answers::{Asked, Desks, tell};

/// Workers that have nothing to do, and how more are made.
#[derive(Debug)]
pub(crate) struct Pool {
    program: PathBuf,
    arguments: Vec<OsString>,
    snapshots: Arc<ArcSwap<Snapshot>>,
    keyring: Keyring,
    free: Mutex<Vec<Worker>>,
    /// How many free ones are kept.
    spares: usize,
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

impl Pool {
    /// Workers that judge by the snapshot that the pointer holds at the time, with the keys of this ring.
    pub(crate) fn new(snapshots: Arc<ArcSwap<Snapshot>>, keyring: Keyring) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // What runs now, also where the file has another version by now.
            program: "/proc/self/exe".into(),
            arguments: vec![OsString::from("worker")],
            snapshots,
            keyring,
            free: Mutex::default(),
            spares: cores.saturating_mul(2),
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
        let desks = Desks {
            clerk: Some(clerk),
            protecting: Some(protecting),
        };
        self.decided(What::Decide, work, desks)
    }

    /// Says what becomes of a mail that is not examined, for this reason. It blocks.
    pub(crate) fn stamp(
        &self,
        reason: Reason,
        work: Work<'_>,
        protecting: &mut protect::Clerk<'_>,
    ) -> Result<Decided, Lost> {
        let desks = Desks {
            clerk: None,
            protecting: Some(protecting),
        };
        self.decided(What::Stamp(reason), work, desks)
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
        let found = self.done(what, work, Desks::default(), |kind, content, _| {
            match (kind, codec::read::<Option<harvest::Found>>(content)) {
                (Kind::Found, Ok(found)) => Ok(found),
                (Kind::Found, Err(error)) => Err(io::Error::other(error)),
                _ => Err(invalid("another kind of frame")),
            }
        });
        let found = found.ok().flatten();
        found.filter(|found| harvest::is_it(&found.certificate, sha256))
    }

    fn decided(
        &self,
        what: What,
        work: Work<'_>,
        desks: Desks<'_, '_, '_>,
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
            found.discreet = work.office.is_some_and(OwnOffice::is_discreet);
            act::own_return_path(&mut found, work.mail, &work.snapshot.config);
            if let Some(office) = work.office {
                act::lodge(&mut found, &Arc::new(office.held_rooms()));
            }
            Ok(found)
        })
    }

    /// Has a worker do this, and reads its result. A worker that did is kept, any other is ended.
    fn done<T>(
        &self,
        what: What,
        work: Work<'_>,
        desks: Desks<'_, '_, '_>,
        result: impl FnOnce(Kind, &[u8], &Work<'_>) -> io::Result<T>,
    ) -> Result<T, Lost> {
        let id = &work.mail.envelope.id;
        let mut worker = self.take(&work).map_err(|failed| {
            error!(id, error = %failed, "a worker cannot be started");
            match failed.kind() {
                io::ErrorKind::TimedOut => Lost::Late,
                _ => Lost::NoWorker,
            }
        })?;
        let done = worker.work(what, &work, desks);
        let done = done.and_then(|(kind, content)| {
            // Wiped: it may hold what was opened.
            let content = Secret::new(content);
            result(kind, content.expose(), &work)
        });
        match done {
            Ok(done) => {
                // Who may have seen what is inside of a mail sees no other mail.
                if !work.office.is_some_and(OwnOffice::was_used) {
                    self.put(worker);
                }
                Ok(done)
            }
            Err(failed) if failed.kind() == io::ErrorKind::TimedOut => Err(Lost::Late),
            Err(failed) if failed.kind() == io::ErrorKind::OutOfMemory => {
                error!(id, "a worker cannot map a mail");
                Err(Lost::NoRoom)
            }
            Err(failed) => {
                warn!(id, error = %failed, "a worker was lost");
                Err(Lost::Died)
            }
        }
    }

    /// One that judges by this snapshot: a free one, or another.
    fn take(&self, work: &Work<'_>) -> io::Result<Worker> {
        while let Some(mut worker) = self.free_one(work.snapshot) {
            // One that was killed while it had nothing to do costs no mail.
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        Worker::start(command, self.keyring.connection(), work)
    }

    fn free_one(&self, snapshot: &Arc<Snapshot>) -> Option<Worker> {
        let keys = self.keyring.number();
        let mut free = self.lock();
        let fits = |worker: &Worker| Arc::ptr_eq(&worker.snapshot, snapshot) && worker.keys == keys;
        let place = free.iter().rposition(fits)?;
        Some(free.swap_remove(place))
    }

    /// Keeps a worker that is as new as the snapshot and not too old; and lets those go that no longer are.
    fn put(&self, worker: Worker) {
        let (current, keys) = (self.snapshots.load_full(), self.keyring.number());
        let is_good = |worker: &Worker| {
            Arc::ptr_eq(&worker.snapshot, &current)
                && worker.keys == keys
                && worker.mails < MAX_MAILS
                && worker.lists.len() < MAX_LISTS
        };
        let mut gone = Vec::new();
        {
            let mut free = self.lock();
            free.push(worker);
            let mut place = 0;
            while let Some(worker) = free.get(place) {
                if is_good(worker) && place < self.spares {
                    place += 1;
                } else {
                    gone.push(free.swap_remove(place));
                }
            }
        }
        // Their end is waited for while nobody waits for the lock.
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that parses mail.
#[derive(Debug)]
struct Worker {
    stream: UnixStream,
    child: Child,
    snapshot: Arc<Snapshot>,
    /// To which key process it has a connection.
    keys: Option<u64>,
    /// What it was told of.
    lists: HashMap<[u8; 32], Crl>,
    mails: u32,
}

impl Worker {
    fn start(
        mut command: Command,
        keys: Option<(u64, UnixStream)>,
        work: &Work<'_>,
    ) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        let size = work.snapshot.config.limits.message_size;
        let memory = MEMORY.saturating_add(size.saturating_mul(MEMORY_OF_MAIL));
        let (keys, connection) = keys.unzip();
        command
            .arg0("kenin")
            .arg("--memory")
            .arg(memory.to_string())
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(connection.map_or_else(Stdio::null, |one| OwnedFd::from(one).into()))
            .stderr(Stdio::null());
        let child = command.spawn()?;
        // Its end is its own: where it has gone, ours tells.
        drop(command);
        let worker = Self {
            stream,
            child,
            snapshot: Arc::clone(work.snapshot),
            keys,
            lists: HashMap::new(),
            mails: 0,
        };
        let mut line = Until {
            stream: &worker.stream,
            end: work.until.min(Instant::now() + START),
        };
        send(
            &mut line,
            Kind::Outfit,
            &written(&Outfit::of(work.snapshot)),
        )?;
        match receive(&mut line, MAX_PLACE)? {
            Some((Kind::Ready, _)) => Ok(worker),
            Some((Kind::Panicked, place)) => Err(panicked(&place)),
            _ => Err(invalid("a worker is not ready")),
        }
    }

    /// Has it do this; what it says at the end.
    fn work(
        &mut self,
        what: What,
        work: &Work<'_>,
        mut desks: Desks<'_, '_, '_>,
    ) -> io::Result<(Kind, Vec<u8>)> {
        self.mails = self.mails.saturating_add(1);
        let mail = work.mail;
        let job = Job {
            what,
            envelope: Arc::clone(&mail.envelope),
            author: work.author.address.clone(),
            signatory: work.author.key.as_ref().map(|key| key.signatory.clone()),
            now: work.now,
            had: work.had.to_vec(),
            keys: work.office.map(OwnOffice::all_keys).unwrap_or_default(),
        };
        let size = usize::try_from(work.snapshot.config.limits.message_size);
        let most = size.unwrap_or(usize::MAX / 8).saturating_mul(4);
        let most = most.saturating_add(MAX_BESIDE_MAIL);
        let mut line = Until {
            stream: &self.stream,
            end: work.until,
        };
        hand_over(&job, mail, &mut line)?;
        let mut asked = Asked::default();
        loop {
            let Some((kind, content)) = receive(&mut line, most)? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            match kind {
                // Read, it would take many times the memory.
                Kind::Ask if content.len() > MAX_BESIDE_MAIL => {
                    return Err(invalid("a question is too long"));
                }
                Kind::Ask => {
                    let ask: Ask = codec::read(&content).map_err(io::Error::other)?;
                    asked.one_more(&ask)?;
                    let told = tell(&ask, work, &mut self.lists, &mut desks)?;
                    send(&mut line, Kind::Told, &written(&told))?;
                }
                Kind::Panicked => return Err(panicked(&content)),
                Kind::Unmapped => return Err(io::ErrorKind::OutOfMemory.into()),
                other => return Ok((other, content)),
            }
        }
    }
}

/// Ends with whatever it is doing. What it was told is not told to anybody else.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a mail and what is to be done with it: in one piece, or as a file that can be read and not written.
fn hand_over(job: &Job, mail: &Mail, line: &mut Until<'_>) -> io::Result<()> {
    let mut out = Writer::with_room(mail.raw.len().saturating_add(1024));
    job.write(&mut out);
    match mail.raw.descriptor() {
        None => {
            out.u8(HERE).octets(&mail.raw);
            line.write_all(&frame(Kind::Job, &out.finish())?)
        }
        Some(descriptor) => {
            out.u8(IN_A_FILE);
            line.write_all(&frame(Kind::Job, &out.finish())?)?;
            kenin_sys::send_descriptor(line.stream.as_fd(), descriptor)
        }
    }
}

fn panicked(place: &[u8]) -> io::Error {
    let place: String = String::from_utf8_lossy(place).chars().take(200).collect();
    io::Error::other(format!("it panicked in {place}"))
}

/// A worker that has had so many mails is replaced: who has taken it over does not keep it.
const MAX_MAILS: u32 = 10_000;
/// Lists that one worker is told of.
const MAX_LISTS: usize = 1024;
/// How long a start may take.
const START: Duration = Duration::from_secs(10);
/// Octets of the place of a panic.
const MAX_PLACE: usize = 1024;
/// Octets that a worker may say beside what is in the mail, four times.
const MAX_BESIDE_MAIL: usize = 16 << 20;
/// Octets that a worker may have, beside those for its mail.
const MEMORY: u64 = 256 << 20;
/// And so many times the largest mail: three of copies that are encrypted, and what it takes to make and tell them.
const MEMORY_OF_MAIL: u64 = 12;

#[cfg(test)]
mod tests;
