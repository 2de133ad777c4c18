//! Transaction ids: 26 characters, 48 bits of time and 80 of chance in Crockford's base 32, so
//! that they sort by time and never meet (the layout of a ULID). Never reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// A new id for this moment.
pub(crate) fn new_id(now: SystemTime) -> String {
    let mut random = [0; 10];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    if source.fill(&mut random).is_err() {
        tracing::error!("no random bytes for a transaction id");
    }
    transaction_id(now, random)
}

/// The id for a moment and ten random bytes.
fn transaction_id(now: SystemTime, random: [u8; 10]) -> String {
    let millis = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis()) & ((1 << 48) - 1);
    let chance = random
        .iter()
        .fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let value = (millis << 80) | chance;
    (0..26)
        .rev()
        .map(|digit| {
            let index = (value >> (digit * 5)) & 31;
            usize::try_from(index)
                .ok()
                .and_then(|i| ALPHABET.get(i))
                .map_or('0', |c| char::from(*c))
        })
        .collect()
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ids_sort_by_time() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(transaction_id(at(0), [0; 10]), "0".repeat(26));
        assert_eq!(
            transaction_id(at((1 << 48) - 1), [255; 10]),
            format!("7{}", "Z".repeat(25))
        );
        assert!(transaction_id(at(1), [255; 10]) < transaction_id(at(2), [0; 10]));
        // The example of the ULID specification.
        assert_eq!(
            &transaction_id(at(1_469_918_176_385), [0; 10])[..10],
            "01ARYZ6S41"
        );
    }
}
