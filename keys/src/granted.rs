//! What the keys of the people of one mail do, for whoever works on that mail: it names a recipient and a key, and knows
//! neither sockets nor grants. Never says why the key process refuses.

use std::sync::{Arc, Mutex, OnceLock};

use kenin_pki::Address;
use kenin_pki::crypto::{KeyError, PublicKey, Secret, SignatureAlgorithm, SigningKey, Wrapped};

use crate::client::{ClientError, WorkerClient};
use crate::key::{KeyFacts, KeyId};
use crate::protocol::{Refusal, Sign, Transaction, Unwrap};

/// The keys of the people of one mail, as far as its grant goes. It blocks: a key may be in a token.
pub trait Granted: Send + Sync {
    /// The content-encryption key of a layer, of `length` octets, for this recipient of the mail with this key of theirs.
    ///
    /// # Errors
    /// [`NoKey`].
    fn unwrap(
        &self,
        recipient: &Address,
        key: KeyId,
        length: usize,
        wrapped: &Wrapped,
    ) -> Result<Secret, NoKey>;

    /// A signature as the sender of the mail, over the DER of SignedAttributes as a SET OF (RFC 5652 §5.4).
    ///
    /// # Errors
    /// [`NoKey`].
    fn sign(
        &self,
        key: KeyId,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, NoKey>;
}

/// Why a key does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It was refused, and would be again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody answers, neither the key process nor the token that the key lies in, or has no room: it may go better later.
    #[error("the key does not answer")]
    Gone,
}

impl From<ClientError> for NoKey {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(Refusal::Busy | Refusal::Unavailable)
            | ClientError::Malformed(_)
            | ClientError::Io(_) => Self::Gone,
            ClientError::Refused(refusal) => Self::Refused(refusal),
            // So long is nothing that a key of ours made or makes.
            ClientError::TooLong(_) => Self::Refused(Refusal::Failed),
        }
    }
}

/// A connection to the key process, and the mail that it is used for.
#[derive(Clone, Debug)]
pub struct Hand {
    client: Arc<Mutex<WorkerClient>>,
    transaction: Transaction,
}

impl Hand {
    /// For this mail, over this connection.
    #[must_use]
    pub const fn new(client: Arc<Mutex<WorkerClient>>, transaction: Transaction) -> Self {
        Self {
            client,
            transaction,
        }
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&mut WorkerClient) -> Result<T, ClientError>,
    ) -> Result<T, NoKey> {
        // Where a panic has left half a question, the connection is worth nothing.
        let mut client = self.client.lock().map_err(|_| NoKey::Gone)?;
        Ok(question(&mut client)?)
    }
}

impl Granted for Hand {
    fn unwrap(
        &self,
        recipient: &Address,
        key: KeyId,
        length: usize,
        wrapped: &Wrapped,
    ) -> Result<Secret, NoKey> {
        let unwrap = Unwrap {
            transaction: self.transaction,
            recipient: recipient.clone(),
            key,
            length: u32::try_from(length).map_err(|_| Refusal::Failed)?,
            wrapped: wrapped.clone(),
        };
        self.ask(|client| client.unwrap(unwrap))
    }

    fn sign(
        &self,
        key: KeyId,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, NoKey> {
        let sign = Sign {
            transaction: self.transaction,
            key,
            algorithm,
            attributes: attributes.to_vec(),
        };
        self.ask(|client| client.sign(sign))
    }
}

/// The sender's key, as what makes signed mail takes keys: it signs SignedAttributes and nothing else.
pub struct SenderKey<'a> {
    granted: &'a dyn Granted,
    facts: &'a KeyFacts,
    trouble: OnceLock<NoKey>,
}

impl<'a> SenderKey<'a> {
    /// This key, under the grant of the mail.
    #[must_use]
    pub const fn new(granted: &'a dyn Granted, facts: &'a KeyFacts) -> Self {
        Self {
            granted,
            facts,
            trouble: OnceLock::new(),
        }
    }

    /// Why it did not sign, where that was not the mathematics.
    #[must_use]
    pub fn trouble(&self) -> Option<NoKey> {
        self.trouble.get().copied()
    }
}

impl SigningKey for SenderKey<'_> {
    fn public_key(&self) -> &PublicKey {
        &self.facts.public
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signed = self.granted.sign(self.facts.id, algorithm, message);
        signed.map_err(|trouble| {
            let _ = self.trouble.set(trouble);
            KeyError::Failed
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use kenin_pki::crypto::DigestAlgorithm;

    use super::*;
    use crate::octets::Malformed;
    use crate::protocol::TooLong;
    use crate::testing::{facts, generated};

    struct Nobody(NoKey);

    impl Granted for Nobody {
        fn unwrap(&self, _: &Address, _: KeyId, _: usize, _: &Wrapped) -> Result<Secret, NoKey> {
            Err(self.0)
        }

        fn sign(&self, _: KeyId, _: SignatureAlgorithm, _: &[u8]) -> Result<Vec<u8>, NoKey> {
            Err(self.0)
        }
    }

    #[test]
    fn who_may_try_again_is_told_from_who_may_not() {
        let gone = [
            ClientError::Io(io::ErrorKind::BrokenPipe.into()),
            ClientError::Malformed(Malformed("x")),
            ClientError::Refused(Refusal::Busy),
            ClientError::Refused(Refusal::Unavailable),
        ];
        for error in gone {
            assert_eq!(NoKey::from(error), NoKey::Gone);
        }
        for refusal in [
            Refusal::NotGranted,
            Refusal::TooManyFailures,
            Refusal::Failed,
        ] {
            let found = NoKey::from(ClientError::Refused(refusal));
            assert_eq!(found, NoKey::Refused(refusal));
        }
        let long = NoKey::from(ClientError::TooLong(TooLong));
        assert_eq!(long, NoKey::Refused(Refusal::Failed));
    }

    #[test]
    fn a_key_that_did_not_sign_tells_why() {
        let (key, _) = generated();
        let facts = facts(&key);
        let gone = Nobody(NoKey::Gone);
        let key = SenderKey::new(&gone, &facts);
        assert_eq!(key.public_key(), &facts.public);
        assert_eq!(key.trouble(), None);
        let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);
        assert_eq!(key.sign(algorithm, b"x"), Err(KeyError::Failed));
        assert_eq!(key.trouble(), Some(NoKey::Gone));
    }
}
