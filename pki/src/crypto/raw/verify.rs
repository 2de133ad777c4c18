//! Signatures of others, but for RSA's and ML-DSA's.

use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::Curve;

use super::{Owned, curve_nid, number, succeeded};

/// Verifies ECDSA of a digest. `None`: the point is not on the curve.
pub(crate) fn verify_ecdsa(
    curve: Curve,
    point: &[u8],
    digest: &[u8],
    signature: &[u8],
) -> Option<bool> {
    // SAFETY: plain constructors; every result is checked for NULL and freed once; the group belongs to the key.
    let code = unsafe {
        let key = Owned::new(
            sys::EC_KEY_new_by_curve_name(curve_nid(curve)),
            sys::EC_KEY_free,
        )?;
        let group = sys::EC_KEY_get0_group(key.get());
        let public = Owned::new(sys::EC_POINT_new(group), sys::EC_POINT_free)?;
        let code = sys::EC_POINT_oct2point(
            group,
            public.get(),
            point.as_ptr(),
            point.len(),
            ptr::null_mut(),
        );
        if !succeeded(code) || !succeeded(sys::EC_KEY_set_public_key(key.get(), public.get())) {
            return None;
        }
        sys::ECDSA_verify(
            0,
            digest.as_ptr(),
            digest.len(),
            signature.as_ptr(),
            signature.len(),
            key.get(),
        )
    };
    Some(succeeded(code))
}

/// Verifies DSA of a digest, by the parameters p, q and g. `None`: the key was refused.
pub(crate) fn verify_dsa(
    (p, q, g): (&[u8], &[u8], &[u8]),
    public: &[u8],
    digest: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let (p, q, g, public) = (number(p)?, number(q)?, number(g)?, number(public)?);
    // SAFETY: plain constructors; `set0` moves ownership of the numbers into the key only when it succeeds,
    // and only then are our handles forgotten; the slices are live.
    let code = unsafe {
        let key = Owned::new(sys::DSA_new(), sys::DSA_free)?;
        if !succeeded(sys::DSA_set0_pqg(key.get(), p.get(), q.get(), g.get())) {
            return None;
        }
        [p, q, g].into_iter().for_each(std::mem::forget);
        if !succeeded(sys::DSA_set0_key(key.get(), public.get(), ptr::null_mut())) {
            return None;
        }
        std::mem::forget(public);
        sys::DSA_verify(
            0,
            digest.as_ptr(),
            digest.len(),
            signature.as_ptr(),
            signature.len(),
            key.get(),
        )
    };
    Some(succeeded(code))
}

/// Verifies Ed25519 (the library refuses S ≥ L).
pub(crate) fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    // SAFETY: the arrays have the sizes that the library reads.
    succeeded(unsafe {
        sys::ED25519_verify(
            message.as_ptr(),
            message.len(),
            signature.as_ptr(),
            public.as_ptr(),
        )
    })
}
