//! Randomness of the operating system, through the library.

use aws_lc_rs::rand;

use zeroize::Zeroizing;

use super::{KeyError, Secret};

/// Octets that nobody can guess and everybody may see.
pub(super) fn array<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut octets = [0; N];
    fill(&mut octets)?;
    Ok(octets)
}

/// Fills it with such octets.
pub(super) fn fill(octets: &mut [u8]) -> Result<(), KeyError> {
    rand::fill(octets).map_err(|_| KeyError::Failed)
}

/// Of both kinds, by one call: each costs as much as many octets do.
pub(super) fn array_and_secret<const N: usize>(
    length: usize,
) -> Result<([u8; N], Secret), KeyError> {
    let mut octets = Zeroizing::new([0; 64]);
    let drawn = octets.get_mut(..N.saturating_add(length));
    let drawn = drawn.ok_or(KeyError::Failed)?;
    fill(drawn)?;
    let (seen, hidden) = drawn.split_first_chunk().ok_or(KeyError::Failed)?;
    Ok((*seen, Secret::new(hidden.to_vec())))
}

/// Octets that nobody may see.
pub(super) fn secret(length: usize) -> Result<Secret, KeyError> {
    let mut octets = vec![0; length];
    fill(&mut octets)?;
    Ok(Secret::new(octets))
}
