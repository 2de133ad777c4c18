//! Which delta CRLs belong to which complete list: RFC 5280 §5.2.4 and §6.3.3 (c).
//!
//! Only issuers, scopes and numbers are compared here; no signature is looked at.

use std::cmp::Ordering;

use crate::crl::Crl;

use super::scope;

/// §6.3.3 (c) and (h): same issuer and scope, and the base is neither too old for the delta nor newer.
pub(super) fn is_delta_of(delta: &Crl, base: &Crl) -> bool {
    let number = |crl: &Crl| crl.crl_number().ok().flatten().map(<[u8]>::to_vec);
    let (Some(own), Some(of)) = (number(delta), number(base)) else {
        return false;
    };
    let Some(from) = delta.delta_base().ok().flatten() else {
        return false;
    };
    scope::same(delta, base)
        && delta.authority_key_id() == base.authority_key_id()
        && magnitude(&of, from) != Ordering::Less
        && magnitude(&of, &own) == Ordering::Less
}

/// Compares two lists by their numbers; one without a number is the oldest.
pub(super) fn by_number(one: &Crl, other: &Crl) -> Ordering {
    let number = |crl: &Crl| crl.crl_number().ok().flatten().map(<[u8]>::to_vec);
    magnitude(
        &number(one).unwrap_or_default(),
        &number(other).unwrap_or_default(),
    )
}

/// Compares numbers without leading zeros.
fn magnitude(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
