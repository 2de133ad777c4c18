//! The thin part of the key process that touches sockets: a connection has a thread to itself, and no other waits for it.
//!
//! The process inherits two connections to its parent: the edge's line, and a door, through which the parent hands in one
//! end of a connection for whoever opens a mail, and says for which mail it is; those of its own are for all. So nothing has
//! a name by which it could be connected to, and no other mail's keys work over a connection that the parent gives away.
//!
//! The order of a start: [`abort_on_panic`]; read the secrets, open the keys, forget the secrets; lock memory and forbid
//! dumps and tracing; confine the process (`kenin-sys`); [`Server::run`]. After that it opens nothing, and ends when its
//! parent does.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{process, thread};

use crate::frame::{self, Frames};
use crate::keeper::{Decision, Job, Keeper, Log, Moment};
use crate::protocol::{Answer, EdgeRequest, Reach, Refusal, WorkerRequest};
use crate::threads::Threads;

/// A key process.
pub struct Server<L> {
    keeper: Mutex<Keeper<L>>,
    time: Time,
    threads: Threads,
    connections: AtomicUsize,
    waiting: AtomicUsize,
}

/// Where the time comes from, and how it passes.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// How long the machine has been up: [`kenin_sys::since_boot`].
    pub now: fn() -> Moment,
    /// Waits: [`thread::sleep`].
    pub wait: fn(Duration),
}

impl<L: Log + Send + 'static> Server<L> {
    /// Serves with these keys and grants.
    #[must_use]
    pub fn new(keeper: Keeper<L>, time: Time) -> Arc<Self> {
        Arc::new(Self {
            keeper: Mutex::new(keeper),
            time,
            threads: Threads::new(),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Serves this edge, and the workers whose connections come in by the door, until the edge goes.
    ///
    /// # Errors
    /// That of the line, what the edge said that does not read, and where there can be no more threads.
    pub fn run(self: &Arc<Self>, edge: UnixStream, door: UnixStream) -> io::Result<()> {
        let (failing, server) = (edge.try_clone()?, Arc::clone(self));
        thread::Builder::new().spawn(move || {
            let failed = server.accept(&door);
            // Where no worker can come any more, nothing is left to be granted.
            let _ = failing.shutdown(Shutdown::Both);
            failed
        })?;
        self.edge(edge)
    }

    /// Hears an edge until it goes, or says what no edge says.
    ///
    /// # Errors
    /// That of the socket, and where what was said does not read.
    pub fn edge(&self, stream: UnixStream) -> io::Result<()> {
        match self.hear(stream) {
            // Releases are not waited for: an edge that says its last and goes is one that has gone.
            Err(error) if has_gone(&error) => Ok(()),
            heard => heard,
        }
    }

    fn hear(&self, stream: UnixStream) -> io::Result<()> {
        let mut frames = Frames::new(stream);
        while let Some(read) = frames.next_frame()? {
            let (number, request) = EdgeRequest::from_frame(read.expose()).map_err(malformed)?;
            let answer = self.keeper()?.edge((self.time.now)(), request);
            send(frames.stream(), number, &answer)?;
        }
        Ok(())
    }

    /// Hears a worker, whose connection reaches so far, until it goes, or says what no worker says. Answers that have to
    /// wait hold no others up.
    ///
    /// # Errors
    /// As [`Server::edge`].
    pub fn worker(self: &Arc<Self>, stream: UnixStream, reach: Reach) -> io::Result<()> {
        let worker = Arc::new(Worker {
            stream,
            writing: Mutex::new(()),
        });
        let mut frames = Frames::new(&worker.stream);
        while let Some(read) = frames.next_frame()? {
            let (number, request) = WorkerRequest::from_frame(read.expose()).map_err(malformed)?;
            drop(read);
            let now = (self.time.now)();
            let decision = match request {
                WorkerRequest::Unwrap(unwrap) => self.keeper()?.unwrap(now, reach, unwrap),
                WorkerRequest::Sign(sign) => self.keeper()?.sign(now, reach, sign),
            };
            let answer = match decision {
                Decision::Answer(answer) => answer,
                Decision::Work(job, Duration::ZERO) => self.done(&job)?,
                Decision::Work(job, delay) => {
                    let job = Arc::new(job);
                    if self.later(&worker, number, (Arc::clone(&job), delay)) {
                        continue;
                    }
                    self.keeper()?.unused(now, &job);
                    Answer::Refused(Refusal::TooManyFailures)
                }
            };
            worker.answer(number, &answer)?;
        }
        Ok(())
    }

    /// Lets a key work. Nobody else waits for that.
    fn done(&self, job: &Job) -> io::Result<Answer> {
        let answer = job.run();
        if answer == Answer::Refused(Refusal::Unavailable) {
            self.keeper()?.away((self.time.now)(), job);
        }
        Ok(answer)
    }

    /// Answers after a while; false where too many wait already.
    fn later(
        self: &Arc<Self>,
        worker: &Arc<Worker>,
        number: u32,
        (job, delay): (Arc<Job>, Duration),
    ) -> bool {
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        let (server, worker) = (Arc::clone(self), Arc::clone(worker));
        let wait = self.time.wait;
        let begun = self.threads.run(move || {
            wait(delay);
            if let Ok(answer) = server.done(&job) {
                // A worker that has gone needs no answer.
                let _ = worker.answer(number, &answer);
            }
            server.waiting.fetch_sub(1, Ordering::SeqCst);
        });
        if begun.is_err() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        begun.is_ok()
    }

    fn accept(self: &Arc<Self>, door: &UnixStream) -> io::Result<()> {
        while let Some((descriptor, said)) =
            kenin_sys::receive_descriptor_with::<{ Reach::LEN }>(door.as_fd())?
        {
            let stream = UnixStream::from(descriptor);
            let reach = Reach::from_octets(said).map_err(malformed)?;
            if self.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                self.turn_away()?;
                continue;
            }
            let server = Arc::clone(self);
            let begun = self.threads.run(move || {
                // What goes wrong with one connection ends that one; its other end sees it.
                let _ = server.worker(stream, reach);
                server.connections.fetch_sub(1, Ordering::SeqCst);
            });
            if begun.is_err() {
                self.turn_away()?;
            }
        }
        Ok(())
    }

    /// One that was counted is not heard; its other end sees that, and not why.
    fn turn_away(&self) -> io::Result<()> {
        self.connections.fetch_sub(1, Ordering::SeqCst);
        self.keeper()?.turned_away((self.time.now)());
        Ok(())
    }

    fn keeper(&self) -> io::Result<MutexGuard<'_, Keeper<L>>> {
        lock(&self.keeper)
    }
}

/// The connection of a worker: it is read by one thread, and answered by several.
struct Worker {
    stream: UnixStream,
    /// Held by who writes.
    writing: Mutex<()>,
}

impl Worker {
    fn answer(&self, number: u32, answer: &Answer) -> io::Result<()> {
        let _alone = lock(&self.writing)?;
        send(&self.stream, number, answer)
    }
}

/// A panic ends the process, which then holds no keys any more; what it was about is not shown, only where it was.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        // Where nobody reads it there is nothing more to be done.
        let _ = writeln!(io::stderr(), "panic in {}", place.unwrap_or_default());
        process::abort();
    }));
}

/// Where a panic has left something half done, nothing more is done with it.
fn lock<T>(mutex: &Mutex<T>) -> io::Result<MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| io::Error::other("half done"))
}

fn send(stream: &UnixStream, number: u32, answer: &Answer) -> io::Result<()> {
    let written = answer.to_frame(number);
    let written = written.map_err(|_| frame::invalid("an answer is too long"))?;
    frame::write(stream, written.expose())
}

/// Whether the other end is there no more.
fn has_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn malformed(error: crate::octets::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Connections at one time: a few for each core.
const MAX_CONNECTIONS: usize = 1024;
/// Answers that wait at one time.
const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests;
