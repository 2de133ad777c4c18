//! Keys that open what was protected for them.

use super::{
    DigestAlgorithm, KeyError, KeyKind, PublicKey, Secret, SigningKey, SoftKey, framed, kdf, random,
};

/// Something that holds a private key and does with it the one mathematical step that opening needs: in a file, a
/// token, a card. What the step gives is judged by one code for all of them.
pub trait DecryptionKey: Send + Sync {
    /// Its public half.
    fn public(&self) -> &PublicKey;

    /// RSADP (RFC 8017 §5.1.2): as many octets as the modulus has; no padding is looked at. It is asked only for numbers
    /// above 1 and below the modulus less 1, with as many octets as the modulus. [`KeyError::Unsupported`] where it is no
    /// RSA key.
    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError>;

    /// Diffie-Hellman with the public key of a peer (the octets of its subjectPublicKey), which is checked: the
    /// x coordinate (RFC 5753), or the output of X25519 (RFC 7748 §6.1), never all zeros. [`KeyError::Malformed`] where
    /// the peer's key is none of the same group, or of small order; [`KeyError::Unsupported`] where this is no such key.
    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError>;

    /// Decapsulation of ML-KEM (FIPS 203 §7.3): the shared secret, or where the ciphertext is not of this key another
    /// one that nobody knows. [`KeyError::Malformed`] where it has another length; [`KeyError::Unsupported`] where this is
    /// no such key.
    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError>;
}

impl DecryptionKey for SoftKey {
    fn public(&self) -> &PublicKey {
        self.public_key()
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        match self.public_key().kind() {
            KeyKind::Rsa { .. } => self.private().rsa_raw(ciphertext).ok_or(KeyError::Failed),
            _ => Err(KeyError::Unsupported),
        }
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        let agreed = match self.public_key().kind() {
            KeyKind::Ec(curve) if curve.is_form_of_point(peer) => {
                self.private().agree_ec(*curve, peer)
            }
            KeyKind::X25519 => <&[u8; 32]>::try_from(peer)
                .ok()
                .and_then(|peer| self.private().agree_x25519(peer)),
            KeyKind::Ec(_) => None,
            _ => return Err(KeyError::Unsupported),
        };
        agreed.ok_or(KeyError::Malformed)
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        match self.public_key().kind() {
            KeyKind::MlKem(set) if ciphertext.len() != set.ciphertext_len() => {
                Err(KeyError::Malformed)
            }
            KeyKind::MlKem(_) => self
                .private()
                .decapsulate(ciphertext)
                .ok_or(KeyError::Failed),
            _ => Err(KeyError::Unsupported),
        }
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

    /// The key that stands in place of the one that a ciphertext does not hold: `length` octets.
    pub(super) fn key(&self, ciphertext: &[u8], length: usize) -> Result<Secret, KeyError> {
        let wanted = u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes();
        let info = framed(&[KEY, &wanted, ciphertext]);
        kdf::hkdf(DigestAlgorithm::Sha256, &self.0, b"", &info, length)
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
        let private = Secret::new(self.to_pkcs8()?);
        kdf::hkdf(DigestAlgorithm::Sha256, &private, b"", SECRET, 32).map(RejectionSecret)
    }
}

/// What the keys are made for, so that no other use of the same secret gives the same octets.
const SECRET: &[u8] = b"kenin: secret of implicit rejection";
const KEY: &[u8] = b"kenin: implicit rejection";
