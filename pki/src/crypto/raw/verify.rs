//! Signatures of others.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::{Curve, DigestAlgorithm};

use super::{Owned, curve_nid, method, nid, number, rsa_public, succeeded};

/// Verifies RSASSA-PKCS1-v1_5 of a digest. `None`: the key was refused.
pub(crate) fn verify_rsa_pkcs1(
    modulus: &[u8],
    exponent: &[u8],
    algorithm: DigestAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let rsa = rsa_public(modulus, exponent)?;
    // SAFETY: pointers and lengths are of live slices; the key is live.
    let code = unsafe {
        sys::RSA_verify(
            nid(algorithm),
            digest.as_ptr(),
            digest.len(),
            signature.as_ptr(),
            signature.len(),
            rsa.get(),
        )
    };
    Some(succeeded(code))
}

/// Verifies RSASSA-PSS of a digest with exactly this salt length. `None`: the key was refused.
pub(crate) fn verify_rsa_pss(
    modulus: &[u8],
    exponent: &[u8],
    (algorithm, mgf, salt_len): (DigestAlgorithm, DigestAlgorithm, u32),
    digest: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let rsa = rsa_public(modulus, exponent)?;
    // Negative lengths have special meanings in the library; none can arise here.
    let Ok(salt_len) = c_int::try_from(salt_len) else {
        return Some(false);
    };
    // SAFETY: as above; `digest` has the size of its algorithm, which the caller checked, and the
    // library's digest descriptions are static.
    let code = unsafe {
        sys::RSA_verify_pss_mgf1(
            rsa.get(),
            digest.as_ptr(),
            digest.len(),
            method(algorithm),
            method(mgf),
            salt_len,
            signature.as_ptr(),
            signature.len(),
        )
    };
    Some(succeeded(code))
}

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
