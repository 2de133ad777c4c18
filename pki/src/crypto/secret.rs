//! Octets that nobody else may see.

use std::fmt;

use aws_lc_rs::constant_time;
use zeroize::optimization_barrier;

use super::{KeyError, random};

/// Octets that are wiped when dropped. They are never shown, never copied by accident, and compared in a time that
/// depends on their length only.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the octets over. Where the vector was grown before, older copies of its content lie in memory that was
    /// given back: make it with the room that it needs.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(octets)
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

impl Drop for Secret {
    fn drop(&mut self) {
        wipe_all(&mut self.0);
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

/// Makes all of them zero, also where nobody reads them again. It takes as long as any memory takes to be written, which
/// a mail of many octets needs: by volatile writes it is one octet at a time.
pub fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    // Whoever is behind this may have read them, as far as the compiler knows.
    optimization_barrier(octets);
}

/// Also what the vector has room for: it may have been longer.
fn wipe_all(octets: &mut Vec<u8>) {
    let room = octets.capacity();
    octets.resize(room, 0);
    wipe(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_what_is_wiped() {
        let mut octets = [7; 100];
        let (wiped, kept) = octets.split_at_mut(99);
        wipe(wiped);
        wipe(&mut []);
        assert_eq!(wiped, [0; 99]);
        assert_eq!(kept, [7]);
    }

    #[test]
    fn a_vector_that_was_longer_is_wiped_to_its_end() {
        let mut octets = vec![7; 1000];
        let (place, room) = (octets.as_ptr(), octets.capacity());
        octets.truncate(3);
        wipe_all(&mut octets);
        assert_eq!(octets, vec![0; room]);
        // It has not moved: what was in its old place would be left there.
        assert_eq!(octets.as_ptr(), place);
    }
}
