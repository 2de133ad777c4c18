//! Threads for what may block, as many as there is of it: work is done by a thread that has nothing to do, or by a new
//! one. Work never waits for other work.
//!
//! A thread that has become free is kept for the next work: a stack that is made anew is faulted in and locked anew.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

/// The threads. Those without work end when this is dropped.
pub(crate) struct Threads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Work for threads that are idle, one for each at most.
    given: VecDeque<Work>,
    /// Threads without work, also those that were woken and have not begun.
    idle: usize,
    /// No more work comes.
    closed: bool,
}

type Work = Box<dyn FnOnce() + Send>;

impl Threads {
    /// Without any yet.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins with it, and waits for nothing.
    ///
    /// # Errors
    /// Where there can be no more threads; then nothing of it is done.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.idle > state.given.len() {
            state.given.push_back(Box::new(work));
            drop(state);
            self.0.wake.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        let begun = thread::Builder::new().stack_size(STACK).spawn(move || {
            work();
            while let Some(work) = shared.next() {
                work();
            }
        });
        begun.map(drop)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    /// The next work for a thread that has done its own; nothing where the thread is needed no more.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.given.pop_front() {
                return Some(work);
            }
            if state.closed || state.idle >= MAX_IDLE {
                return None;
            }
            state.idle += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// No work is done under it, so none can leave anything half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads that are kept without work.
const MAX_IDLE: usize = 8;
/// Octets of a stack. ML-DSA-87 needs most, some 120 KiB; RSA has its numbers elsewhere, and modules of tokens have
/// threads of their own.
const STACK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};

    use kenin_pki::crypto::{
        Aes, DecryptionKey, DigestAlgorithm, Kdf, KeyType, KeyWrap, MlDsa, MlKem, Secret,
        SignatureAlgorithm, SigningKey, SoftKey, Wrapped, Wrapping,
    };

    use super::*;

    impl Threads {
        /// Threads that live.
        fn count(&self) -> usize {
            Arc::strong_count(&self.0) - 1
        }
    }

    /// Waits for what another thread does next.
    fn until(so: impl Fn() -> bool) {
        while !so() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_is_free_does_the_next_work() {
        let threads = Threads::new();
        let (tell, told) = mpsc::channel();
        let mut ids = Vec::new();
        for _ in 0..20 {
            let tell = tell.clone();
            let work = move || tell.send(thread::current().id()).unwrap();
            threads.run(work).unwrap();
            ids.push(told.recv().unwrap());
            until(|| threads.0.lock().idle == 1);
        }
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(threads.count(), 1);
    }

    #[test]
    fn no_work_waits_for_other_work() {
        const MANY: usize = 4 * MAX_IDLE;
        let threads = Threads::new();
        // The first time all threads are new, the second time some.
        for _ in 0..2 {
            let all = Arc::new(Barrier::new(MANY + 1));
            for _ in 0..MANY {
                let all = Arc::clone(&all);
                let come = move || {
                    all.wait();
                };
                threads.run(come).unwrap();
            }
            // It is passed when each of them has come.
            all.wait();
            until(|| threads.count() == MAX_IDLE && threads.0.lock().idle == MAX_IDLE);
        }
    }

    #[test]
    fn threads_end_with_what_they_are_for() {
        let threads = Threads::new();
        let (go, gone) = mpsc::channel::<()>();
        threads.run(|| ()).unwrap();
        until(|| threads.0.lock().idle == 1);
        let waits = move || {
            let _ = gone.recv();
        };
        threads.run(waits).unwrap();
        threads.run(|| ()).unwrap();
        let shared = Arc::downgrade(&threads.0);
        drop(threads);
        // One is still at work.
        until(|| shared.strong_count() == 1);
        drop(go);
        until(|| shared.strong_count() == 0);
    }

    fn opens(key: &SoftKey, wrapping: Wrapping) {
        let secret = Secret::new(vec![7; 32]);
        let wrapped = Wrapped::wrap(wrapping, key.public(), &secret).unwrap();
        let rejection = key.rejection_secret().unwrap();
        assert_eq!(wrapped.unwrap(key, &rejection, 32), Ok(secret));
    }

    fn signs(key: &SoftKey) {
        let algorithm = key.default_algorithm();
        let signature = key.sign(algorithm, b"mail").unwrap();
        let verified = key.public_key().verify(algorithm, b"mail", &signature);
        assert_eq!(verified, Ok(()));
    }

    /// With a quarter to spare, also where nothing is optimised. A stack that does not suffice ends this process.
    #[test]
    fn every_key_works_on_a_stack_of_this_size() {
        let kdf = Kdf::Hkdf(DigestAlgorithm::Sha256);
        let wrap = KeyWrap::Aes(Aes::Bits256);
        let agreement = move || Wrapping::Agreement {
            kdf,
            wrap,
            shared_info: vec![1; 64],
        };
        let kem = Wrapping::Kem {
            kdf,
            wrap,
            info: vec![1; 64],
        };
        let key = |kind| SoftKey::generate(kind).unwrap();
        let rsa = key(KeyType::Rsa(4096));
        let (p256, p384, p521) = (key(KeyType::P256), key(KeyType::P384), key(KeyType::P521));
        let (ed25519, x25519) = (key(KeyType::Ed25519), key(KeyType::X25519));
        let ml_kem = key(KeyType::MlKem(MlKem::Kem1024));
        let ml_dsa = key(KeyType::MlDsa(MlDsa::Dsa87));
        let small = thread::Builder::new().stack_size(STACK / 4 * 3);
        let worked = small.spawn(move || {
            opens(&rsa, Wrapping::RsaPkcs1);
            let pss = SignatureAlgorithm::RsaPss {
                digest: DigestAlgorithm::Sha512,
                mgf: DigestAlgorithm::Sha512,
                salt_len: 64,
            };
            assert!(rsa.sign(pss, b"mail").is_ok());
            for key in [&rsa, &p256, &p384, &p521, &ed25519, &ml_dsa] {
                signs(key);
            }
            for key in [&p256, &p384, &p521, &x25519] {
                opens(key, agreement());
            }
            opens(&ml_kem, kem);
        });
        worked.unwrap().join().unwrap();
    }
}
