//! A module that does what a test wants.

use std::sync::mpsc::Receiver;
use std::sync::{Barrier, atomic::AtomicBool};

use super::*;
use crate::token::driver::{KeyTraits, Mechanisms, PinFlags, PublicHalf, Signing};

/// What the tokens of a module are like.
#[derive(Default)]
struct State {
    tokens: Vec<Seen>,
    /// A session is of the start of the module and of the insertion of its token that it was opened in.
    epoch: u64,
    logged_in: Vec<u64>,
    /// What has come back shows after a new start only.
    hidden: Vec<Seen>,
    logins: usize,
    wrong: usize,
    restarts: usize,
    closed: usize,
    keys: usize,
}

struct Fake(Mutex<State>);

impl Fake {
    fn with(labels: &[&str]) -> Arc<Self> {
        let tokens = labels.iter().zip(0..).map(|(label, slot)| Seen {
            slot,
            label: (*label).to_owned(),
            pin: PinFlags {
                set: true,
                ..PinFlags::default()
            },
            ..Seen::default()
        });
        Arc::new(Self(Mutex::new(State {
            tokens: tokens.collect(),
            keys: 1,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// All are pulled out.
    fn pull(&self) -> Vec<Seen> {
        let mut state = self.state();
        state.epoch += 1;
        state.logged_in.clear();
        mem::take(&mut state.tokens)
    }
}

struct Driving(Arc<Fake>);

impl Driver for Driving {
    fn tokens(&self) -> Result<Vec<Seen>, Fault> {
        Ok(self.0.state().tokens.clone())
    }

    fn open(&self, slot: u64) -> Result<Box<dyn Session>, Fault> {
        let epoch = self.0.state().epoch;
        Ok(Box::new(Opened {
            fake: Arc::clone(&self.0),
            slot,
            epoch,
        }))
    }

    fn mechanisms(&self, _: u64) -> Result<Mechanisms, Fault> {
        Ok(Mechanisms::default())
    }

    fn restart(&self) -> Result<(), Fault> {
        let mut state = self.0.state();
        state.restarts += 1;
        state.epoch += 1;
        state.logged_in.clear();
        let hidden = mem::take(&mut state.hidden);
        state.tokens.extend(hidden);
        Ok(())
    }
}

struct Opened {
    fake: Arc<Fake>,
    slot: u64,
    epoch: u64,
}

/// A module takes its time for that.
impl Drop for Opened {
    fn drop(&mut self) {
        (0..1000).for_each(|_| thread::yield_now());
        self.fake.state().closed += 1;
    }
}

impl Opened {
    fn good(&self) -> Result<(), Fault> {
        match self.fake.state().epoch == self.epoch {
            true => Ok(()),
            false => Err(Fault::Lost("SessionHandleInvalid".to_owned())),
        }
    }
}

impl Session for Opened {
    fn is_logged_in(&self) -> Result<bool, Fault> {
        self.good()?;
        Ok(self.fake.state().logged_in.contains(&self.slot))
    }

    fn log_in(&self, pin: &Secret) -> Result<(), Fault> {
        self.good()?;
        let mut state = self.fake.state();
        state.logins += 1;
        if pin.expose() != b"1234" {
            state.wrong += 1;
            return Err(Fault::Pin(PinFault::Wrong));
        }
        state.logged_in.push(self.slot);
        Ok(())
    }

    fn find(&mut self, _: &TokenUri) -> Result<Vec<Handle>, Fault> {
        self.good()?;
        Ok((0..self.fake.state().keys).map(Handle).collect())
    }

    fn traits(&self, _: Handle) -> Result<KeyTraits, Fault> {
        Ok(KeyTraits::default())
    }

    fn public(&self, _: Handle) -> Result<PublicHalf, Fault> {
        Err(Fault::Unsupported("public".to_owned()))
    }

    fn rsa_raw(&self, _: Handle, ciphertext: &[u8]) -> Result<Secret, Fault> {
        self.good()?;
        Ok(Secret::new(ciphertext.to_vec()))
    }

    fn agree(&self, _: Handle, _: &[u8], _: usize) -> Result<Secret, Fault> {
        Err(Fault::Unsupported("agree".to_owned()))
    }

    fn sign(&self, _: Handle, _: Signing, _: &[u8]) -> Result<Vec<u8>, Fault> {
        Err(Fault::Refused("sign".to_owned()))
    }
}

fn places(labels: &[&str], pin: &[u8]) -> Vec<Place> {
    let place = |label: &&str| Place {
        name: (*label).to_owned(),
        token: TokenUri::parse(&format!("pkcs11:token={label}")).unwrap(),
        pin: Some(Secret::new(pin.to_vec())),
    };
    labels.iter().map(place).collect()
}

fn pool(fake: &Arc<Fake>, labels: &[&str], pin: &[u8], threads: usize) -> Pool {
    let driver = Arc::new(Driving(Arc::clone(fake)));
    Pool::start(driver, places(labels, pin), threads, LONG).unwrap()
}

fn key() -> Arc<TokenUri> {
    Arc::new(TokenUri::parse("pkcs11:id=%01").unwrap())
}

/// One use of the key.
fn used(pool: &Pool, token: usize) -> Result<Secret, TokenError> {
    pool.call(token, &key(), |session, key| session.rsa_raw(key, b"x"))
}

/// Opens four sessions: nobody goes on before four are in.
fn four_at_once(pool: &Pool) {
    let barrier = Arc::new(Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            let barrier = Arc::clone(&barrier);
            scope.spawn(|| {
                let waited = pool.call(0, &key(), move |_, _| {
                    barrier.wait();
                    Ok(())
                });
                assert_eq!(waited, Ok(()));
            });
        }
    });
}

/// A process that ended while a thread closed its session crashed in the module, after all was done.
#[test]
fn whoever_lets_the_tokens_go_goes_on_when_their_sessions_are_closed() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 4);
    four_at_once(&pool);
    assert_eq!(fake.state().closed, 0);
    drop(pool);
    assert_eq!(fake.state().closed, 4);
}

#[test]
fn many_sessions_log_in_once() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 4);
    four_at_once(&pool);
    assert_eq!(fake.state().logins, 1);
    assert_eq!(used(&pool, 0).unwrap().expose(), b"x");
    assert_eq!(fake.state().logins, 1);
}

#[test]
fn a_wrong_pin_is_tried_once_by_all_together() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"4321", 4);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let error = used(&pool, 0).unwrap_err();
                assert!(matches!(
                    error,
                    TokenError::Pin {
                        fault: PinFault::Wrong,
                        ..
                    }
                ));
            });
        }
    });
    // Nor after it was pulled out and came back.
    let pulled = fake.pull();
    assert!(used(&pool, 0).is_err());
    fake.state().tokens = pulled;
    assert!(used(&pool, 0).is_err());
    assert_eq!(fake.state().wrong, 1);
}

#[test]
fn nobody_makes_the_last_try_or_knocks_at_a_locked_door() {
    for (flags, expected) in [
        (
            PinFlags {
                last_try: true,
                ..PinFlags::default()
            },
            PinFault::LastTry,
        ),
        (
            PinFlags {
                locked: true,
                ..PinFlags::default()
            },
            PinFault::Locked,
        ),
    ] {
        let fake = Fake::with(&["a"]);
        fake.state().tokens[0].pin = flags;
        let pool = pool(&fake, &["a"], b"1234", 1);
        let error = used(&pool, 0).unwrap_err();
        assert!(matches!(error, TokenError::Pin { fault, .. } if fault == expected));
        assert!(error.is_away());
        assert_eq!(fake.state().logins, 0);
        // Somebody has seen to it.
        fake.state().tokens[0].pin = PinFlags::default();
        assert!(used(&pool, 0).is_ok());
    }
}

#[test]
fn a_token_that_was_pulled_out_works_when_it_is_back() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 2);
    assert!(used(&pool, 0).is_ok());
    let pulled = fake.pull();
    for _ in 0..3 {
        let error = used(&pool, 0).unwrap_err();
        assert!(matches!(error, TokenError::Absent { .. }), "{error}");
        assert!(error.is_away());
    }
    fake.state().tokens = pulled;
    assert!(used(&pool, 0).is_ok());
    assert_eq!(fake.state().logins, 2);
}

#[test]
fn a_module_that_sees_it_after_a_new_start_only_is_started_anew() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 2);
    assert!(used(&pool, 0).is_ok());
    let pulled = fake.pull();
    assert!(used(&pool, 0).is_err());
    fake.state().hidden = pulled;
    let before = fake.state().restarts;
    assert!(used(&pool, 0).is_ok());
    assert_eq!(fake.state().restarts, before + 1);
    // It is no habit.
    assert!(used(&pool, 0).is_ok());
    assert_eq!(fake.state().restarts, before + 1);
}

#[test]
fn a_module_is_not_started_anew_under_another_token() {
    let fake = Fake::with(&["a", "b"]);
    let pool = pool(&fake, &["a", "b"], b"1234", 1);
    assert!(used(&pool, 0).is_ok());
    fake.state().tokens.pop();
    assert!(used(&pool, 1).is_err());
    assert_eq!(fake.state().restarts, 0);
    assert!(used(&pool, 0).is_ok());
}

#[test]
fn a_key_that_is_not_one_key_is_not_used() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 1);
    fake.state().keys = 0;
    assert!(matches!(used(&pool, 0), Err(TokenError::NoKey { .. })));
    assert_eq!(fake.state().restarts, 0, "nothing was lost");
    fake.state().keys = 2;
    assert!(matches!(
        used(&pool, 0),
        Err(TokenError::SeveralKeys { .. })
    ));
    fake.state().keys = 1;
    assert!(used(&pool, 0).is_ok());
    let twin = fake.state().tokens[0].clone();
    fake.state().tokens.push(Seen { slot: 9, ..twin });
    assert!(matches!(pool.see(0), Err(TokenError::SeveralTokens(_))));
}

#[test]
fn what_a_token_does_not_do_is_not_tried_again() {
    let fake = Fake::with(&["a"]);
    let pool = pool(&fake, &["a"], b"1234", 1);
    let agreed = pool.call(0, &key(), |session, key| session.agree(key, b"", 32));
    let error = agreed.unwrap_err();
    assert!(matches!(error, TokenError::Unsupported { .. }) && !error.is_away());
    let signed = pool.call(0, &key(), |session, key| {
        session.sign(key, Signing::Ecdsa, b"")
    });
    let error = signed.unwrap_err();
    assert!(matches!(error, TokenError::Refused { .. }) && !error.is_away());
    let state = fake.state();
    assert_eq!((state.logins, state.restarts), (1, 0));
}

#[test]
fn a_call_that_hangs_holds_nobody_longer_than_so_long() {
    let fake = Fake::with(&["a"]);
    let driver = Arc::new(Driving(Arc::clone(&fake)));
    let pool = Pool::start(driver, places(&["a"], b"1234"), 1, SHORT).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let held: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(held));
    let inside = Arc::new(AtomicBool::new(false));
    // On a machine with other work the thread may not be there in time.
    while !inside.load(Ordering::SeqCst) {
        let (held, inside) = (Arc::clone(&held), Arc::clone(&inside));
        let hung = pool.call(0, &key(), move |_, _| {
            inside.store(true, Ordering::SeqCst);
            let _ = lock(&held).recv();
            Ok(())
        });
        assert_eq!(hung, Err(TokenError::Hangs("a".to_owned())));
    }
    // The only thread is lost, and nobody waits for it.
    let ran = Arc::new(AtomicBool::new(false));
    let next = {
        let ran = Arc::clone(&ran);
        pool.call(0, &key(), move |_, _| {
            ran.store(true, Ordering::SeqCst);
            Ok(())
        })
    };
    assert_eq!(next, Err(TokenError::Hangs("a".to_owned())));
    assert!(!ran.load(Ordering::SeqCst));
    // It comes back, and so does the token.
    drop(release);
    let back = (0..10_000).any(|_| {
        thread::yield_now();
        used(&pool, 0).is_ok()
    });
    assert!(back);
    assert!(!ran.load(Ordering::SeqCst), "what was given up is not done");
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// A call that is meant to hang is waited for so long.
const SHORT: Duration = Duration::from_millis(50);
