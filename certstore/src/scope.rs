//! Which revocation lists replace each other, and which of two is the newer.
//!
//! Two lists are of one scope when the same issuer signed them with the same key over the same
//! part of its certificates (RFC 5280 §5.2.5 issuingDistributionPoint, §5.2.4 delta).
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-5.2>

use std::cmp::Ordering;

use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, Digester, PublicKey};
use kenin_pki::oid;

/// A name for the scope of a list that this key verified, or of one that nobody known here signed. What
/// a list says of its key is a claim: it only keeps lists of unknown keys apart.
pub(crate) fn of(crl: &Crl, by: Option<&PublicKey>) -> [u8; 32] {
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    let extension = |wanted| {
        let mut all = crl.extensions().iter();
        all.find(|one| one.oid.as_oid() == wanted)
            .map_or(&[][..], |one| &one.value)
    };
    let key = by.map(PublicKey::id);
    let (word, key) = match &key {
        Some(id) => (&b"signed"[..], id.as_ref()),
        None => (&b"unsigned"[..], extension(oid::AUTHORITY_KEY_IDENTIFIER)),
    };
    // A list that says something unreadable is a scope of its own: it replaces nothing.
    let part = match crl.issuing_distribution_point() {
        Ok(_) => extension(oid::ISSUING_DISTRIBUTION_POINT),
        Err(_) => crl.sha256(),
    };
    let delta: &[u8] = if crl.is_delta() {
        b"delta"
    } else {
        b"complete"
    };
    for piece in [crl.issuer().canonical(), word, key, part, delta] {
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

/// The order of two lists of one scope: by thisUpdate and, of one moment, by cRLNumber where both have
/// one. An authority that began to count anew is still believed what it said last.
pub(crate) fn compare(one: &Crl, other: &Crl) -> Ordering {
    order(
        (&number(one), one.this_update().0),
        (&number(other), other.this_update().0),
    )
}

/// The same over numbers as they are stored (big-endian; empty: none) and seconds.
pub(crate) fn order(one: (&[u8], i64), other: (&[u8], i64)) -> Ordering {
    let by_number = || {
        if one.0.is_empty() || other.0.is_empty() {
            return Ordering::Equal;
        }
        one.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| one.0.cmp(other.0))
    };
    one.1.cmp(&other.1).then_with(by_number)
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
    fn times_count_before_numbers() {
        assert_eq!(order((&[1], 9), (&[2], 0)), Ordering::Greater);
        assert_eq!(order((&[1], 3), (&[1], 2)), Ordering::Greater);
        assert_eq!(order((&[], 3), (&[9], 2)), Ordering::Greater);
        assert_eq!(order((&[2], 1), (&[1], 1)), Ordering::Greater);
        assert_eq!(order((&[1, 0], 1), (&[0xFF], 1)), Ordering::Greater);
        assert_eq!(order((&[0], 1), (&[0], 1)), Ordering::Equal);
    }
}
