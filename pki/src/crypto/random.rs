//! Randomness of the operating system, through the library.

use aws_lc_rs::rand;

use super::{KeyError, Secret};

/// Octets that nobody can guess and everybody may see.
pub(super) fn array<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| KeyError::Failed)?;
    Ok(octets)
}

/// Octets that nobody may see.
pub(super) fn secret(length: usize) -> Result<Secret, KeyError> {
    let mut octets = vec![0; length];
    rand::fill(&mut octets).map_err(|_| KeyError::Failed)?;
    Ok(Secret::new(octets))
}
