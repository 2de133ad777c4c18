//! Work for the tokens of one module: a few threads, each with sessions of its own, and callers who wait for so long
//! and no longer.
//!
//! A call into a module cannot be broken off. So it is made on a thread that may be lost, and who asked goes on without
//! it. A token that was pulled out and came back is found by a new session; where that is not enough, the module is
//! started anew. A PIN is tried once: a wrong one is never tried again, whatever happens meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem, thread};

use kenin_pki::crypto::Secret;

use super::driver::{Driver, Fault, Handle, PinFault, Seen, Session};
use super::error::TokenError;
use super::uri::TokenUri;

/// A token as it is configured.
pub(crate) struct Place {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Which one of the module.
    pub(crate) token: TokenUri,
    /// The user's PIN; without it only what needs no login is done.
    pub(crate) pin: Option<Secret>,
}

/// The tokens of a module, at work.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    inside: Arc<Inside>,
    patience: Duration,
}

/// How many threads have to do with the module.
#[derive(Default)]
struct Inside {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Inside {
    fn enter(self: &Arc<Self>) -> Entered {
        *lock(&self.count) += 1;
        Entered(Arc::clone(self))
    }
}

/// One of them, until this is dropped.
struct Entered(Arc<Inside>);

impl Drop for Entered {
    fn drop(&mut self) {
        let mut count = lock(&self.0.count);
        *count = count.saturating_sub(1);
        self.0.fewer.notify_all();
    }
}

impl Pool {
    /// Begins with so many threads.
    pub(crate) fn start(
        driver: Arc<dyn Driver>,
        places: Vec<Place>,
        threads: usize,
        patience: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            driver,
            threads,
            tokens: places.into_iter().map(Token::new).collect(),
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            generation: AtomicU64::new(0),
        });
        let pool = Self {
            shared: Arc::clone(&shared),
            inside: Arc::default(),
            patience,
        };
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("token".to_owned());
            let entered = pool.inside.enter();
            builder.spawn(move || {
                shared.work();
                // Its sessions are closed by now, and what is last to go may be the module.
                drop(shared);
                drop(entered);
            })?;
        }
        Ok(pool)
    }

    /// Lets a key work, and waits for it.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        token: usize,
        object: &Arc<TokenUri>,
        work: impl Fn(&dyn Session, Handle) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, TokenError> {
        let place = Arc::new(Mutex::new(None));
        let made = Arc::clone(&place);
        let (answer, heard) = mpsc::sync_channel(1);
        let work: Work = Box::new(move |session: &dyn Session, key: Handle| {
            let done = work(session, key)?;
            *lock(&made) = Some(done);
            Ok(())
        });
        let task = Arc::new(Task {
            token,
            object: Arc::clone(object),
            work: Mutex::new(work),
            stage: Mutex::new(Stage::Waiting),
            answer,
        });
        self.shared.put(&task)?;
        let done = match heard.recv_timeout(self.patience) {
            Ok(done) => done,
            // It may have ended at the last moment.
            Err(_) if self.shared.give_up(&task) => Err(TokenError::Hangs(self.name(token))),
            Err(_) => heard
                .recv()
                .unwrap_or_else(|_| Err(TokenError::Hangs(self.name(token)))),
        };
        done?;
        let made = lock(&place).take();
        made.ok_or_else(|| TokenError::Hangs(self.name(token)))
    }

    /// Asks the module itself something, on a thread of its own.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        token: usize,
        question: impl FnOnce(&dyn Driver) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, TokenError> {
        let driver = Arc::clone(&self.shared.driver);
        let (answer, heard) = mpsc::sync_channel(1);
        let entered = self.inside.enter();
        let begun = thread::Builder::new().spawn(move || {
            let said = question(&*driver);
            drop(driver);
            drop(entered);
            // Who asked may have gone.
            let _ = answer.send(said);
        });
        let name = self.name(token);
        if begun.is_err() {
            return Err(TokenError::Busy(name));
        }
        match heard.recv_timeout(self.patience) {
            Ok(said) => said.map_err(|fault| TokenError::of(fault, &name)),
            Err(_) => Err(TokenError::Hangs(name)),
        }
    }

    /// The token itself, if it is in a slot.
    pub(crate) fn see(&self, token: usize) -> Result<Seen, TokenError> {
        let seen = self.ask(token, |driver| driver.tokens())?;
        let place = self.shared.token(token)?;
        choose(place, seen)
    }

    fn name(&self, token: usize) -> String {
        let token = self.shared.tokens.get(token);
        token.map_or_else(String::new, |token| token.place.name.clone())
    }
}

/// The threads end, and that is waited for, a second at most: one that closed its sessions while the process ends would be in a module that is
/// being torn down. One that is lost in the module ends with the process.
impl Drop for Pool {
    fn drop(&mut self) {
        let lost = {
            let mut queue = lock(&self.shared.queue);
            queue.closed = true;
            queue.lost
        };
        self.shared.wake.notify_all();
        let (count, fewer) = (lock(&self.inside.count), &self.inside.fewer);
        // Whoever has poisoned it has ended.
        drop(fewer.wait_timeout_while(count, self.patience.min(END), |count| *count > lost));
    }
}

/// What the threads of a module share.
struct Shared {
    driver: Arc<dyn Driver>,
    threads: usize,
    tokens: Vec<Token>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// How often the module was started anew: sessions of before are worth nothing.
    generation: AtomicU64,
}

struct Token {
    place: Place,
    /// Sessions that are open.
    open: AtomicUsize,
    /// Why the PIN is not tried any more. Whoever logs in holds it.
    refused: Mutex<Option<PinFault>>,
    /// Keys that were there once.
    found: Mutex<HashSet<Arc<TokenUri>>>,
}

impl Token {
    fn new(place: Place) -> Self {
        Self {
            place,
            open: AtomicUsize::new(0),
            refused: Mutex::new(None),
            found: Mutex::new(HashSet::new()),
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Task>>,
    /// Threads that are in the module.
    busy: usize,
    /// Those of them for which nobody waits any more.
    lost: usize,
    /// The module is being started anew, and nobody goes in.
    closed_for_start: bool,
    /// Nobody will come any more.
    closed: bool,
}

struct Task {
    token: usize,
    object: Arc<TokenUri>,
    work: Mutex<Work>,
    stage: Mutex<Stage>,
    answer: SyncSender<Result<(), TokenError>>,
}

type Work = Box<dyn Fn(&dyn Session, Handle) -> Result<(), Fault> + Send>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has begun with it.
    Waiting,
    /// A thread is at it.
    Taken,
    /// Nobody waits for it any more.
    GivenUp,
    /// It was answered.
    Answered,
}

/// A session of one thread with one token.
struct Open {
    session: Box<dyn Session>,
    generation: u64,
    keys: HashMap<Arc<TokenUri>, Handle>,
}

impl Shared {
    fn token(&self, token: usize) -> Result<&Token, TokenError> {
        let unknown = || TokenError::Unknown(String::new());
        self.tokens.get(token).ok_or_else(unknown)
    }

    fn put(&self, task: &Arc<Task>) -> Result<(), TokenError> {
        let name = || self.token(task.token).map(|token| token.place.name.clone());
        let mut queue = lock(&self.queue);
        if queue.lost >= self.threads {
            return Err(TokenError::Hangs(name()?));
        }
        if queue.waiting.len() >= MAX_WAITING {
            return Err(TokenError::Busy(name()?));
        }
        queue.waiting.push_back(Arc::clone(task));
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Stops waiting; whether there was still something to wait for.
    fn give_up(&self, task: &Arc<Task>) -> bool {
        let mut queue = lock(&self.queue);
        let mut stage = lock(&task.stage);
        match *stage {
            Stage::Waiting => queue.waiting.retain(|other| !Arc::ptr_eq(other, task)),
            Stage::Taken => queue.lost += 1,
            Stage::GivenUp | Stage::Answered => return false,
        }
        *stage = Stage::GivenUp;
        true
    }

    /// A thread's life.
    fn work(&self) {
        let mut sessions: Vec<Option<Open>> = Vec::new();
        sessions.resize_with(self.tokens.len(), || None);
        while let Some(task) = self.next() {
            let done = self.perform(&mut sessions, &task);
            let mut queue = lock(&self.queue);
            queue.busy = queue.busy.saturating_sub(1);
            let mut stage = lock(&task.stage);
            if *stage == Stage::GivenUp {
                queue.lost = queue.lost.saturating_sub(1);
            } else {
                *stage = Stage::Answered;
                // There is room for it.
                let _ = task.answer.try_send(done);
            }
        }
    }

    fn next(&self) -> Option<Arc<Task>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            if !queue.closed_for_start
                && let Some(task) = queue.waiting.pop_front()
            {
                queue.busy += 1;
                *lock(&task.stage) = Stage::Taken;
                return Some(task);
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does it: with the session that is there, with a new one, and after a new start of the module.
    fn perform(&self, sessions: &mut [Option<Open>], task: &Task) -> Result<(), TokenError> {
        let token = self.token(task.token)?;
        let mut tried = self.attempt(sessions, task, token);
        if let Err(Trouble::Again(_)) = tried {
            self.forget(sessions, task.token);
            tried = self.attempt(sessions, task, token);
        }
        if let Err(Trouble::Again(error)) = &tried {
            // A key that never was there does not come by a new start.
            let was_there = lock(&token.found).contains(&task.object);
            let hopeful = was_there || !matches!(error, TokenError::NoKey { .. });
            self.forget(sessions, task.token);
            if hopeful && self.start_anew(sessions, task.token) {
                tried = self.attempt(sessions, task, token);
            }
        }
        tried.map_err(|trouble| match trouble {
            Trouble::Again(error) | Trouble::Final(error) => error,
        })
    }

    fn attempt(
        &self,
        sessions: &mut [Option<Open>],
        task: &Task,
        token: &Token,
    ) -> Result<(), Trouble> {
        let name = &token.place.name;
        let unknown = || Trouble::Final(TokenError::Unknown(name.clone()));
        let place = sessions.get_mut(task.token).ok_or_else(unknown)?;
        let generation = self.generation.load(Ordering::SeqCst);
        if place
            .as_ref()
            .is_some_and(|open| open.generation != generation)
        {
            // Its number may be that of another session by now, and must not be closed.
            mem::forget(place.take());
        }
        if place.is_none() {
            *place = Some(self.open(token, generation)?);
        }
        let open = place.as_mut().ok_or_else(unknown)?;
        let known = open.keys.get(&task.object).copied();
        let key = match known {
            Some(key) => key,
            None => {
                let key = find(&mut *open.session, &task.object, name)?;
                lock(&token.found).insert(Arc::clone(&task.object));
                open.keys.insert(Arc::clone(&task.object), key);
                key
            }
        };
        let work = lock(&task.work);
        (*work)(&*open.session, key).map_err(|fault| Trouble::of(fault, name))
    }

    fn open(&self, token: &Token, generation: u64) -> Result<Open, Trouble> {
        let name = &token.place.name;
        let failed = |fault| Trouble::of(fault, name);
        let seen = self.driver.tokens().map_err(failed)?;
        let seen = choose(token, seen).map_err(|error| match error {
            TokenError::Absent { .. } => Trouble::Again(error),
            _ => Trouble::Final(error),
        })?;
        let session = self.driver.open(seen.slot).map_err(failed)?;
        log_in(token, &seen, &*session)?;
        token.open.fetch_add(1, Ordering::SeqCst);
        Ok(Open {
            session,
            generation,
            keys: HashMap::new(),
        })
    }

    fn forget(&self, sessions: &mut [Option<Open>], token: usize) {
        let Some(open) = sessions.get_mut(token).and_then(Option::take) else {
            return;
        };
        if open.generation != self.generation.load(Ordering::SeqCst) {
            mem::forget(open);
        } else if let Some(token) = self.tokens.get(token) {
            token.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Starts the module anew, if nobody is in it and no other token of it is in use; whether that was done.
    fn start_anew(&self, sessions: &mut [Option<Open>], token: usize) -> bool {
        {
            let mut queue = lock(&self.queue);
            let others = self.tokens.iter().enumerate();
            let in_use = others
                .filter(|(other, _)| *other != token)
                .any(|(_, other)| other.open.load(Ordering::SeqCst) > 0);
            if queue.busy > 1 || queue.closed_for_start || in_use {
                return false;
            }
            queue.closed_for_start = true;
        }
        for session in sessions {
            *session = None;
        }
        let started = self.driver.restart().is_ok();
        self.generation.fetch_add(1, Ordering::SeqCst);
        for token in &self.tokens {
            token.open.store(0, Ordering::SeqCst);
        }
        lock(&self.queue).closed_for_start = false;
        self.wake.notify_all();
        started
    }
}

/// What an attempt has come to.
enum Trouble {
    /// With a new session it may go better.
    Again(TokenError),
    /// It would be the same again.
    Final(TokenError),
}

impl Trouble {
    fn of(fault: Fault, token: &str) -> Self {
        match fault {
            Fault::Lost(_) => Self::Again(TokenError::of(fault, token)),
            _ => Self::Final(TokenError::of(fault, token)),
        }
    }
}

/// The one token that is such as the configuration says.
fn choose(token: &Token, seen: Vec<Seen>) -> Result<Seen, TokenError> {
    let wanted = &token.place.token;
    let mut fitting = seen.into_iter().filter(|one| wanted.fits(&one.described()));
    let first = fitting.next().ok_or_else(|| TokenError::Absent {
        token: token.place.name.clone(),
        what: format!("no slot has a token such as {wanted}"),
    })?;
    match fitting.next() {
        None => Ok(first),
        Some(_) => Err(TokenError::SeveralTokens(token.place.name.clone())),
    }
}

/// The one key that is such as the reference says.
fn find(session: &mut dyn Session, object: &TokenUri, token: &str) -> Result<Handle, Trouble> {
    let found = session
        .find(object)
        .map_err(|fault| Trouble::of(fault, token))?;
    let (token, object) = (token.to_owned(), object.to_string());
    match found.as_slice() {
        [key] => Ok(*key),
        // One that was pulled out has no keys, with some modules.
        [] => Err(Trouble::Again(TokenError::NoKey { token, object })),
        _ => Err(Trouble::Final(TokenError::SeveralKeys { token, object })),
    }
}

/// Logs in, unless another session has. Nobody tries a PIN that was wrong, and nobody makes the last try.
fn log_in(token: &Token, seen: &Seen, session: &dyn Session) -> Result<(), Trouble> {
    let Some(pin) = &token.place.pin else {
        return Ok(());
    };
    let name = &token.place.name;
    let refused = |fault| Err(Trouble::of(Fault::Pin(fault), name));
    // One after the other: two that try the same wrong PIN at once use up two tries.
    let mut state = lock(&token.refused);
    if let Some(fault) = *state {
        return refused(fault);
    }
    if session
        .is_logged_in()
        .map_err(|fault| Trouble::of(fault, name))?
    {
        return Ok(());
    }
    let flags = seen.pin;
    if flags.locked {
        return refused(PinFault::Locked);
    }
    if flags.last_try {
        return refused(PinFault::LastTry);
    }
    session.log_in(pin).map_err(|fault| {
        if let Fault::Pin(fault) = fault {
            *state = Some(fault);
        }
        Trouble::of(fault, name)
    })
}

/// What a panic has left half done is a count that is wrong by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long threads are waited for at the end.
const END: Duration = Duration::from_secs(1);
/// Calls that wait at one time.
const MAX_WAITING: usize = 256;

#[cfg(test)]
mod tests;
