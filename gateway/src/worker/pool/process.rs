//! The processes that the edge starts for mail: workers, templates and their copies, how each is talked to, and how it ends.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenin_pki::crl::Crl;

use super::Work;
use crate::config::Workers;
use crate::snapshot::Snapshot;
use crate::worker::People;
use crate::worker::codec::written;
use crate::worker::frame::{Kind, Until, invalid, receive, send};
use crate::worker::outfit::Outfit;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// It has one mail after the other, of those whose people have no keys.
    Worker,
    /// It has none, and copies for those whose people have keys.
    Template,
}

/// A process that parses mail, or has copies that do.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) sort: Sort,
    pub(super) stream: UnixStream,
    pub(super) child: Child,
    pub(super) snapshot: Arc<Snapshot>,
    /// What it was told of.
    pub(super) lists: HashMap<[u8; 32], Crl>,
    /// What a template has made last, where that is there to have more mail.
    pub(super) copy: Option<Copy>,
    pub(super) mails: u32,
    /// Since when it has had nothing to do.
    pub(super) idle: Instant,
}

/// A copy of a template: it has mail of the same people, for a while.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) line: UnixStream,
    /// Whose keys work for its mail.
    people: People,
    /// When it gets no more.
    pub(super) end: Instant,
    /// What it was told of. It begins with nothing.
    pub(super) lists: HashMap<[u8; 32], Crl>,
}

impl Copy {
    /// Whether it may have another mail, of these people.
    pub(super) fn is_for(&self, people: &People) -> bool {
        self.people == *people && Instant::now() < self.end
    }
}

impl Worker {
    pub(super) fn start(mut command: Command, sort: Sort, work: &Work<'_>) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        let size = work.snapshot.config.limits.message_size;
        let memory = MEMORY.saturating_add(size.saturating_mul(MEMORY_OF_MAIL));
        command
            .arg0("kenin")
            .arg(match sort {
                Sort::Worker => "worker",
                Sort::Template => "template",
            })
            .arg("--memory")
            .arg(memory.to_string())
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn()?;
        // Its end is its own: where it has gone, ours tells.
        drop(command);
        let worker = Self {
            sort,
            stream,
            child,
            snapshot: Arc::clone(work.snapshot),
            lists: HashMap::new(),
            copy: None,
            mails: 0,
            idle: Instant::now(),
        };
        let end = work.until.min(Instant::now() + START);
        let mut line = Until::new(&worker.stream, end);
        send(
            &mut line,
            Kind::Outfit,
            &written(&Outfit::of(work.snapshot)),
        )?;
        ready(&mut line)?;
        Ok(worker)
    }

    /// The copy for mail of these people: the one that is there, or else another. Nobody else has its line.
    pub(super) fn copy_for(&mut self, people: People, work: &Work<'_>) -> io::Result<Copy> {
        match self.copy.take() {
            Some(copy) if copy.is_for(&people) => return Ok(copy),
            Some(_) => self.end_copy()?,
            None => {}
        }
        let (line, theirs) = UnixStream::pair()?;
        kenin_sys::send_descriptor(self.stream.as_fd(), theirs.as_fd())?;
        // Their end is the copy's own: where it has gone, ours tells.
        drop(theirs);
        let begun = Instant::now();
        ready(&mut Until::new(&line, work.until.min(begun + START)))?;
        let kept = kept(&people, work.snapshot.config.workers);
        Ok(Copy {
            line,
            people,
            end: begun.checked_add(kept).unwrap_or(begun),
            lists: HashMap::new(),
        })
    }

    /// Has a template end its copy, whatever that does.
    pub(super) fn end_copy(&mut self) -> io::Result<()> {
        self.copy = None;
        (&self.stream).write_all(&[0])
    }

    /// After a mail: ends a copy that has no other.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        let has_more = |copy: &Copy| Instant::now() < copy.end;
        match self.sort == Sort::Worker || self.copy.as_ref().is_some_and(has_more) {
            true => Ok(()),
            false => self.end_copy(),
        }
    }

    /// Whether it is there, with what it has made: one that was killed while it had nothing to do costs no mail.
    pub(super) fn is_there(&mut self) -> bool {
        let is_quiet = |copy: &Copy| kenin_sys::is_quiet(copy.line.as_fd());
        matches!(self.child.try_wait(), Ok(None)) && self.copy.as_ref().is_none_or(is_quiet)
    }
}

/// How long a copy has mail of these people.
fn kept(people: &People, workers: Workers) -> Duration {
    match people.recipients.is_empty() {
        true => workers.keep_signing,
        false => workers.keep_opening,
    }
}

/// Ends with whatever it is doing. What it was told is not told to anybody else.
impl Drop for Worker {
    fn drop(&mut self) {
        if self.sort == Sort::Template {
            // It ends its copy first, for which nobody would wait after it.
            let _ = self.stream.shutdown(Shutdown::Write);
            let _ = self.stream.set_read_timeout(Some(END));
            let _ = (&self.stream).read_exact(&mut [0]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until whoever is at the other end can have a mail.
fn ready(line: &mut Until<'_>) -> io::Result<()> {
    match receive(line, MAX_PLACE)? {
        Some((Kind::Ready, _)) => Ok(()),
        Some((Kind::Panicked, place)) => Err(panicked(&place)),
        _ => Err(invalid("a worker is not ready")),
    }
}

pub(super) fn panicked(place: &[u8]) -> io::Error {
    let place: String = String::from_utf8_lossy(place).chars().take(200).collect();
    io::Error::other(format!("it panicked in {place}"))
}

/// How long a start may take.
const START: Duration = Duration::from_secs(10);
/// How long a template may take to end its copy and itself.
const END: Duration = Duration::from_secs(1);
/// Octets of the place of a panic.
const MAX_PLACE: usize = 1024;
/// Octets that a worker may have, beside those for its mail.
const MEMORY: u64 = 256 << 20;
/// And so many times the largest mail: three of copies that are encrypted, and what it takes to make and tell them.
const MEMORY_OF_MAIL: u64 = 12;
