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
use crate::snapshot::Snapshot;
use crate::worker::codec::written;
use crate::worker::frame::{Kind, Until, invalid, receive, send};
use crate::worker::outfit::Outfit;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// It has one mail after the other, of those whose people have no keys.
    Worker,
    /// It has none, and a copy for each of those whose people have keys.
    Template,
}

/// A process that parses mail, or has copies that do.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) sort: Sort,
    pub(super) stream: UnixStream,
    pub(super) child: Child,
    pub(super) snapshot: Arc<Snapshot>,
    /// What it was told of. A copy begins with nothing.
    pub(super) lists: HashMap<[u8; 32], Crl>,
    pub(super) mails: u32,
    /// Since when it has had nothing to do.
    pub(super) idle: Instant,
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

    /// Has a template make a copy, with this connection to the key process, and says how to talk to it. Nobody else has either.
    pub(super) fn copy(&self, keys: Option<UnixStream>, work: &Work<'_>) -> io::Result<UnixStream> {
        let (stream, theirs) = UnixStream::pair()?;
        // Where there is no key process, what has no other end.
        let keys = keys.map_or_else(|| UnixStream::pair().map(|(one, _)| one), Ok)?;
        kenin_sys::send_descriptor(self.stream.as_fd(), theirs.as_fd())?;
        kenin_sys::send_descriptor(self.stream.as_fd(), keys.as_fd())?;
        // Their end is the copy's own: where it has gone, ours tells.
        drop((theirs, keys));
        let end = work.until.min(Instant::now() + START);
        ready(&mut Until::new(&stream, end))?;
        Ok(stream)
    }

    /// Has a template end its copy, whatever that does.
    pub(super) fn end_copy(&self) -> io::Result<()> {
        (&self.stream).write_all(&[0])
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
