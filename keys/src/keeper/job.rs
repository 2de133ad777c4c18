//! Work for a private key, outside of the state machine: a key in a token takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenin_pki::crypto::{
    DecryptionKey, KeyError, PublicKey, Secret, SignatureAlgorithm, SigningKey, Wrapped,
};

use super::{HeldKey, PrivateKey};
use crate::key::KeyId;
use crate::protocol::{Answer, Refusal, Transaction};

/// Work for a private key, which has been counted.
pub struct Job {
    pub(super) key: Arc<HeldKey>,
    pub(super) transaction: Transaction,
    pub(super) task: Task,
}

pub(super) enum Task {
    Unwrap {
        /// For whom, as mailboxes are compared.
        recipient: String,
        wrapped: Wrapped,
        length: usize,
    },
    Sign(SignatureAlgorithm, Vec<u8>),
}

impl Job {
    /// Does it. Why it fails is told to nobody, but whether the key was not at hand: that has nothing to do with what
    /// it was asked.
    #[must_use]
    pub fn run(&self) -> Answer {
        let HeldKey { key, rejection, .. } = &*self.key;
        let watched = Watched {
            key: &**key,
            away: AtomicBool::new(false),
        };
        let done = match &self.task {
            Task::Unwrap {
                wrapped, length, ..
            } => {
                let opened = wrapped.unwrap(&watched, rejection, *length);
                opened.ok().map(Answer::Key)
            }
            Task::Sign(algorithm, attributes) => {
                let signed = watched.sign(*algorithm, attributes);
                signed.ok().map(Answer::Signature)
            }
        };
        done.unwrap_or_else(|| match watched.away.into_inner() {
            true => Answer::Refused(Refusal::Unavailable),
            false => Answer::Refused(Refusal::Failed),
        })
    }

    /// Which key it is work for.
    pub(super) fn key(&self) -> KeyId {
        self.key.facts.id
    }
}

/// A key that is listened to when it says that it is not at hand: what opens with it hears of one error only.
struct Watched<'a> {
    key: &'a dyn PrivateKey,
    away: AtomicBool,
}

impl Watched<'_> {
    fn heard<T>(&self, said: Result<T, KeyError>) -> Result<T, KeyError> {
        if matches!(said, Err(KeyError::Unavailable)) {
            self.away.store(true, Ordering::Relaxed);
        }
        said
    }
}

impl DecryptionKey for Watched<'_> {
    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.heard(self.key.rsa_raw(ciphertext))
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        self.heard(self.key.agree(peer))
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.heard(self.key.decapsulate(ciphertext))
    }
}

impl SigningKey for Watched<'_> {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.heard(self.key.sign(algorithm, message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kenin_pki::crypto::{
        Aes, DigestAlgorithm, Kdf, KeyWrap, RejectionSecret, SoftKey, Wrapping,
    };

    use super::*;
    use crate::keeper::{Decision, Event, Keeper, Log, Moment};
    use crate::protocol::{EdgeRequest, Grant, Reach, Unwrap};
    use crate::testing::{address, facts, generated};

    /// A key in a token that is pulled out and put back.
    struct Pulled {
        key: SoftKey,
        away: Arc<AtomicBool>,
    }

    impl Pulled {
        fn there(&self) -> Result<&SoftKey, KeyError> {
            match self.away.load(Ordering::SeqCst) {
                true => Err(KeyError::Unavailable),
                false => Ok(&self.key),
            }
        }
    }

    impl DecryptionKey for Pulled {
        fn public(&self) -> &PublicKey {
            self.key.public()
        }

        fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
            self.there()?.rsa_raw(ciphertext)
        }

        fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
            self.there()?.agree(peer)
        }

        fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
            self.there()?.decapsulate(ciphertext)
        }
    }

    impl SigningKey for Pulled {
        fn public_key(&self) -> &PublicKey {
            self.key.public_key()
        }

        fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.there()?.sign(algorithm, message)
        }
    }

    /// How often a key was away.
    #[derive(Default)]
    struct Times(usize);

    impl Log for Times {
        fn record(&mut self, _: Moment, event: &Event) -> bool {
            self.0 += usize::from(matches!(event, Event::Away { .. }));
            true
        }
    }

    const NOW: Moment = Duration::from_secs(1000);

    /// Asks once for a key for a mail from the same network, as the key process does it.
    fn asked(keeper: &mut Keeper<Times>, key: KeyId, wrapped: Wrapped) -> Answer {
        let transaction = Transaction::random().unwrap();
        let grant = Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![address("alice@example.com")],
            sender: None,
            client: Some("192.0.2.1".parse().unwrap()),
            seconds: 60,
        };
        assert_eq!(keeper.edge(NOW, EdgeRequest::Grant(grant)), Answer::Done);
        let unwrap = Unwrap {
            transaction,
            recipient: address("alice@example.com"),
            key,
            length: 32,
            wrapped,
        };
        let Decision::Work(job, _) = keeper.unwrap(NOW, Reach::One(transaction), unwrap) else {
            return Answer::Refused(Refusal::TooManyFailures);
        };
        let answer = job.run();
        if answer == Answer::Refused(Refusal::Unavailable) {
            keeper.away(NOW, &job);
        }
        assert_eq!(
            keeper.edge(NOW, EdgeRequest::Release(transaction)),
            Answer::Done
        );
        answer
    }

    #[test]
    fn a_key_that_is_away_is_told_from_one_that_fails_and_is_nobodys_failure() {
        let (key, _) = generated();
        let facts = facts(&key);
        let away = Arc::new(AtomicBool::new(true));
        let pulled = Pulled {
            key,
            away: Arc::clone(&away),
        };
        let rejection = RejectionSecret::random().unwrap();
        let held = HeldKey::new(facts.clone(), Box::new(pulled), rejection);
        let mut keeper = Keeper::new(vec![held], Times::default());
        let wrapping = Wrapping::Agreement {
            kdf: Kdf::X963(DigestAlgorithm::Sha256),
            wrap: KeyWrap::Aes(Aes::Bits256),
            shared_info: Vec::new(),
        };
        let secret = Secret::new(vec![7; 32]);
        let wrapped = Wrapped::wrap(wrapping, &facts.public, &secret).unwrap();
        // More often than a network may fail in an hour.
        for _ in 0..100 {
            let answer = asked(&mut keeper, facts.id, wrapped.clone());
            assert_eq!(answer, Answer::Refused(Refusal::Unavailable));
        }
        assert_eq!(keeper.log().0, 100);
        away.store(false, Ordering::SeqCst);
        let answer = asked(&mut keeper, facts.id, wrapped.clone());
        assert_eq!(answer, Answer::Key(secret));
        let mut broken = wrapped;
        broken.encrypted_key[0] ^= 1;
        let answer = asked(&mut keeper, facts.id, broken);
        assert_eq!(answer, Answer::Refused(Refusal::Failed));
        assert_eq!(keeper.log().0, 100);
    }
}
