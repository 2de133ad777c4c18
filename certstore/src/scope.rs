//! Which revocation lists replace each other, and which of two is the newer.
//!
//! Two lists are of one scope when the same issuer signed them with the same key over the same
//! part of its certificates (RFC 5280 §5.2.5 issuingDistributionPoint, §5.2.4 delta).
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-5.2>

use std::cmp::Ordering;

use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, Digester};

/// A name for the scope of a list.
pub(crate) fn of(crl: &Crl) -> [u8; 32] {
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    // A list that says something unreadable is a scope of its own: it replaces nothing.
    let key = match crl.authority_key_id() {
        Ok(Some(id)) => format!("{id:?}"),
        Ok(None) => String::new(),
        Err(_) => format!("{:?}", crl.sha256()),
    };
    let part = match crl.issuing_distribution_point() {
        Ok(point) => format!("{point:?}"),
        Err(_) => format!("{:?}", crl.sha256()),
    };
    let delta = if crl.is_delta() { "delta" } else { "complete" };
    for piece in [
        crl.issuer().canonical(),
        key.as_bytes(),
        part.as_bytes(),
        delta.as_bytes(),
    ] {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        digester.update(&length.to_be_bytes());
        digester.update(piece);
    }
    let digest = digester.finish();
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    name
}

/// The order in time of two lists of one scope: by cRLNumber where both have one, else, and
/// between equal numbers, by thisUpdate.
pub(crate) fn compare(one: &Crl, other: &Crl) -> Ordering {
    order(
        (&number(one), one.this_update().0),
        (&number(other), other.this_update().0),
    )
}

/// The same over numbers as they are stored (big-endian; empty: none) and seconds.
pub(crate) fn order(one: (&[u8], i64), other: (&[u8], i64)) -> Ordering {
    let by_number = if one.0.is_empty() || other.0.is_empty() {
        Ordering::Equal
    } else {
        one.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| one.0.cmp(other.0))
    };
    by_number.then(one.1.cmp(&other.1))
}

/// The number as it is stored. Zero keeps its one digit, so that it is not taken for none.
pub(crate) fn number(crl: &Crl) -> Vec<u8> {
    match crl.crl_number() {
        Ok(Some([])) => vec![0],
        Ok(Some(number)) => number.to_vec(),
        Ok(None) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_before_times() {
        assert_eq!(order((&[2], 0), (&[1], 9)), Ordering::Greater);
        assert_eq!(order((&[1, 0], 0), (&[0xFF], 9)), Ordering::Greater);
        assert_eq!(order((&[1], 3), (&[1], 2)), Ordering::Greater);
        assert_eq!(order((&[], 3), (&[9], 2)), Ordering::Greater);
        assert_eq!(order((&[0], 1), (&[0], 1)), Ordering::Equal);
    }
}
