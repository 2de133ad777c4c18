//! A private key in a token: what opens and signs as a key in memory does, and may be away.

use std::sync::{Arc, Mutex, PoisonError};

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::crypto::{
    Curve, DecryptionKey, DigestAlgorithm, KeyError, KeyKind, PublicKey, RejectionSecret, Secret,
    SignatureAlgorithm, SigningKey, Wrapped, opens_what_its_public_half_protects,
};
use kenin_pki::der::{Reader, write};

use super::driver::{Fault, Handle, KeyTraits, Session, Signing};
use super::error::TokenError;
use super::pool::Pool;
use super::uri::TokenUri;

/// A private key in a token. What it needs of the token it asks for when it works, so that one is made also while the
/// token is away.
pub struct TokenKey {
    public: PublicKey,
    object: Arc<TokenUri>,
    pool: Arc<Pool>,
    token: usize,
}

impl TokenKey {
    pub(crate) fn new(
        public: PublicKey,
        object: Arc<TokenUri>,
        (pool, token): (Arc<Pool>, usize),
    ) -> Self {
        Self {
            public,
            object,
            pool,
            token,
        }
    }

    /// Signs something, and sees that the public half verifies it.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn prove_signing(&self) -> Result<(), KeyFault> {
        let signed = self.try_to_sign(self.default_algorithm(), PROBE);
        signed.map(|_| ())
    }

    /// Opens something that was protected for the public half.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn prove_opening(&self) -> Result<(), KeyFault> {
        if opens_what_its_public_half_protects(self) {
            return Ok(());
        }
        // Why it does not, the token tells of the bare step.
        match self.public.kind() {
            KeyKind::Rsa { bits } => {
                let length = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
                let mut two = vec![0; length];
                if let Some(last) = two.last_mut() {
                    *last = 2;
                }
                self.try_rsa(&two)?;
            }
            _ => {
                self.try_to_agree(self.public.bits())?;
            }
        }
        Err(KeyFault::NotItsHalf)
    }

    /// What was wrapped for the public half: `length` octets. Unlike what becomes of mail, it is told why not.
    ///
    /// # Errors
    /// [`KeyFault`]; [`KeyFault::NotItsHalf`] where the token did its part and nothing came out.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped, length: usize) -> Result<Secret, KeyFault> {
        let told = Told {
            key: self,
            fault: Mutex::new(None),
        };
        // No wrapping that is read here needs one.
        let rejection = RejectionSecret::random().map_err(|_| KeyFault::NotItsHalf)?;
        wrapped.unwrap(&told, &rejection, length).map_err(|_| {
            let fault = told.fault.into_inner();
            let fault = fault.unwrap_or_else(PoisonError::into_inner);
            fault.unwrap_or(KeyFault::NotItsHalf)
        })
    }

    /// What the token says that the key may do.
    ///
    /// # Errors
    /// [`TokenError`], where it is not there.
    pub fn traits(&self) -> Result<KeyTraits, TokenError> {
        self.ask(|session, key| session.traits(key))
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl Fn(&dyn Session, Handle) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, TokenError> {
        self.pool.call(self.token, &self.object, work)
    }

    /// Tries a signature and tells why there is none.
    fn try_to_sign(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyFault> {
        let digest = algorithm.digest().digest(message);
        let digest = digest.as_ref();
        let (how, octets) = match (self.public.kind(), algorithm) {
            // A key that says OAEP is for that alone, and nothing is signed by MD5.
            _ if self.public.oaep().is_some() => return Err(KeyFault::Kind),
            _ if algorithm.digest() == DigestAlgorithm::Md5 => return Err(KeyFault::Kind),
            (KeyKind::Rsa { .. }, SignatureAlgorithm::RsaPkcs1(named)) => {
                (Signing::RsaPkcs1, digest_info(named, digest))
            }
            (
                KeyKind::Rsa { .. },
                SignatureAlgorithm::RsaPss {
                    digest: named,
                    mgf,
                    salt_len,
                },
            ) => {
                let how = Signing::RsaPss {
                    digest: named,
                    mgf,
                    salt_len: usize::try_from(salt_len).map_err(|_| KeyFault::Kind)?,
                };
                (how, digest.to_vec())
            }
            (KeyKind::Ec(curve), SignatureAlgorithm::Ecdsa(_)) => {
                // FIPS 186-5 §6.4.1: of a longer digest the leftmost bits count. Not all tokens know.
                let used = digest.get(..curve.field_size()).unwrap_or(digest);
                (Signing::Ecdsa, used.to_vec())
            }
            _ => return Err(KeyFault::Kind),
        };
        let made = self.ask(move |session, key| session.sign(key, how, &octets))?;
        let signature = match self.public.kind() {
            KeyKind::Ec(curve) => to_der(&made, *curve).ok_or(KeyFault::NotItsHalf)?,
            _ => made,
        };
        // A token may be broken, or its key another than was thought. What does not verify goes nowhere.
        match self.public.verify(algorithm, message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(KeyFault::NotItsHalf),
        }
    }

    /// Diffie-Hellman, telling why there is none.
    fn try_to_agree(&self, peer: &[u8]) -> Result<Secret, KeyFault> {
        let KeyKind::Ec(curve) = self.public.kind() else {
            return Err(KeyFault::Kind);
        };
        // What is no point of the curve could be used to ask the token for its key, bit by bit.
        if !is_of_group(&self.public, peer) {
            return Err(KeyFault::Peer);
        }
        let (length, peer) = (curve.field_size(), peer.to_vec());
        let shared = self.ask(move |session, key| session.agree(key, &peer, length))?;
        padded(&shared, length).ok_or(KeyFault::NotItsHalf)
    }

    /// RSADP, telling why there is none.
    fn try_rsa(&self, ciphertext: &[u8]) -> Result<Secret, KeyFault> {
        let KeyKind::Rsa { bits } = self.public.kind() else {
            return Err(KeyFault::Kind);
        };
        let length = usize::try_from(bits.div_ceil(8)).map_err(|_| KeyFault::Kind)?;
        let ciphertext = ciphertext.to_vec();
        let block = self.ask(move |session, key| session.rsa_raw(key, &ciphertext))?;
        padded(&block, length).ok_or(KeyFault::NotItsHalf)
    }
}

impl DecryptionKey for TokenKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        Ok(self.try_rsa(ciphertext)?)
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        Ok(self.try_to_agree(peer)?)
    }

    /// Tokens are not asked for that.
    fn decapsulate(&self, _: &[u8]) -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }
}

/// A key that remembers why it did nothing, which who reads a padding does not tell.
struct Told<'a> {
    key: &'a TokenKey,
    fault: Mutex<Option<KeyFault>>,
}

impl Told<'_> {
    fn remember(&self, done: Result<Secret, KeyFault>) -> Result<Secret, KeyError> {
        done.map_err(|fault| {
            let mut place = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            *place = Some(fault.clone());
            fault.into()
        })
    }
}

impl DecryptionKey for Told<'_> {
    fn public(&self) -> &PublicKey {
        &self.key.public
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.remember(self.key.try_rsa(ciphertext))
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        self.remember(self.key.try_to_agree(peer))
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.key.decapsulate(ciphertext)
    }
}

impl SigningKey for TokenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.try_to_sign(algorithm, message)?)
    }
}

/// Why a key in a token did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The token says no, or nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A key of this kind does not do that.
    #[error("a key of this kind does not do that")]
    Kind,
    /// What it was given is no point of its curve.
    #[error("no point of the key's curve")]
    Peer,
    /// The key in the token is another than the public one, or the token is broken.
    #[error("the key in the token is another than the public one, or the token is broken")]
    NotItsHalf,
}

impl KeyFault {
    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Token(error) => error.advice(),
            Self::Kind | Self::Peer => "use a key of RSA or of P-256, P-384 or P-521",
            Self::NotItsHalf => {
                "see which key the certificate is of, and import the reference anew with the right id"
            }
        }
    }
}

impl From<KeyFault> for KeyError {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Token(error) => error.into(),
            KeyFault::Kind => Self::Unsupported,
            KeyFault::Peer => Self::Malformed,
            KeyFault::NotItsHalf => Self::Failed,
        }
    }
}

/// DigestInfo (RFC 8017 §9.2).
fn digest_info(named: DigestAlgorithm, digest: &[u8]) -> Vec<u8> {
    let algorithm = AlgorithmIdentifier::new(named.oid(), Some(&write::null()));
    write::seq(&[algorithm.to_der(), write::octet_string(digest)])
}

/// r and s of a token as ECDSA-Sig-Value (RFC 3279 §2.2.3). Nothing where they have another length.
fn to_der(made: &[u8], curve: Curve) -> Option<Vec<u8>> {
    let (r, s) = made.split_at_checked(made.len() / 2)?;
    if r.len() != s.len() || r.len() > curve.field_size() {
        return None;
    }
    Some(write::seq(&[write::unsigned(r), write::unsigned(s)]))
}

/// With the leading zeros that a token has left out. Nothing where it is longer than it can be.
fn padded(octets: &Secret, length: usize) -> Option<Secret> {
    let missing = length.checked_sub(octets.len())?;
    let mut whole = Vec::with_capacity(length);
    whole.resize(missing, 0);
    whole.extend_from_slice(octets.expose());
    Some(Secret::new(whole))
}

/// Whether a peer's public key is one of the same group as ours.
fn is_of_group(ours: &PublicKey, peer: &[u8]) -> bool {
    let algorithm = Reader::new(ours.spki())
        .sequence()
        .and_then(|mut reader| reader.any());
    let Ok(algorithm) = algorithm else {
        return false;
    };
    let spki = write::seq(&[algorithm.raw.to_vec(), write::bit_string(peer)]);
    PublicKey::from_spki(&spki)
        .is_ok_and(|key| key.kind() == ours.kind() && key.weakness().is_none())
}

/// What is signed to see whether a key signs.
const PROBE: &[u8] = b"kenin: whether this key signs";

#[cfg(test)]
mod tests;
