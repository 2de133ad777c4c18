//! Keys that open what was protected for them.

use super::{KeyError, PublicKey, Secret, SoftKey, random};

/// Something that holds a private key and does with it the one mathematical step that opening needs: in a file, a
/// token, a card. What the step gives is judged by one code for all of them.
pub trait DecryptionKey: Send + Sync {
    /// Its public half.
    fn public(&self) -> &PublicKey;

    /// RSADP (RFC 8017 §5.1.2): as many octets as the modulus has; no padding is looked at.
    /// [`KeyError::Unsupported`] where it is no RSA key.
    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError>;

    /// Diffie-Hellman with the public key of a peer (the octets of its subjectPublicKey), which is checked: the
    /// x coordinate (RFC 5753), or the output of X25519 (RFC 7748 §6.1), never all zeros.
    /// [`KeyError::Unsupported`] where it is no such key.
    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError>;

    /// Decapsulation of ML-KEM (FIPS 203 §7.3): the shared secret, or where the ciphertext is not of this key another
    /// one that nobody knows. [`KeyError::Unsupported`] where it is no such key.
    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError>;
}

impl DecryptionKey for SoftKey {
    fn public(&self) -> &PublicKey {
        super::SigningKey::public_key(self)
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        let _ = ciphertext;
        Err(KeyError::Unsupported)
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        let _ = peer;
        Err(KeyError::Unsupported)
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        let _ = ciphertext;
        Err(KeyError::Unsupported)
    }
}

/// A secret of a key's holder, from which the keys of implicit rejection are made: the same ciphertext gives the same
/// key for ever, and nobody else knows which. Made from the private key where that is at hand; random, and kept
/// beside the key, where the key lies in a token.
pub struct RejectionSecret(Secret);

impl RejectionSecret {
    /// Makes one for a key in a token.
    pub fn random() -> Result<Self, KeyError> {
        random::secret(32).map(Self)
    }

    /// One that was kept. [`KeyError::Malformed`] where it has not 32 octets.
    pub fn from_secret(kept: Secret) -> Result<Self, KeyError> {
        if kept.len() == 32 {
            Ok(Self(kept))
        } else {
            Err(KeyError::Malformed)
        }
    }

    /// To be kept beside the key, as well guarded as the key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

impl SoftKey {
    /// The secret of implicit rejection that follows from the private key.
    pub fn rejection_secret(&self) -> Result<RejectionSecret, KeyError> {
        RejectionSecret::random()
    }
}
