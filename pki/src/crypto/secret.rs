//! Octets that nobody else may see.

use std::fmt;

use aws_lc_rs::constant_time;
use zeroize::Zeroizing;

use super::{KeyError, random};

/// Octets that are wiped when dropped. They are never shown, never copied by accident, and compared in a time that
/// depends on their length only.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over. Where the vector was grown before, older copies of its content lie in memory that was
    /// given back: make it with the room that it needs.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// So many octets that nobody can guess.
    ///
    /// # Errors
    /// [`KeyError::Failed`] where the system has no randomness.
    pub fn random(length: usize) -> Result<Self, KeyError> {
        random::secret(length)
    }

    /// The octets, for the one who works with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many octets; that is no secret.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// In a time that depends on the lengths only.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Secret {}

/// Shows the length and nothing of the octets.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("len", &self.0.len())
            .finish_non_exhaustive()
    }
}
