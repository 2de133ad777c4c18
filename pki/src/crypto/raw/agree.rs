//! What a private key does in opening.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use crate::crypto::{Curve, Secret};

use super::{Owned, PrivateKey, failed, succeeded};

impl PrivateKey {
    /// RSADP (RFC 8017 §5.1.2), blinded, and checked against faults by the library. `None` where it is no RSA key, or
    /// the ciphertext has not as many octets as the modulus, or is 0, 1, or not below the modulus by two at least.
    pub(crate) fn rsa_raw(&self, ciphertext: &[u8]) -> Option<Secret> {
        // SAFETY: the RSA key is borrowed from a live one; `out` has the room of its modulus, and the library checks
        // the length of the ciphertext.
        let (code, out, length) = unsafe {
            let rsa = NonNull::new(sys::EVP_PKEY_get0_RSA(self.0.get()))?.as_ptr();
            let mut out = vec![0; usize::try_from(sys::RSA_size(rsa)).ok()?];
            let mut length = 0;
            let code = sys::RSA_decrypt(
                rsa,
                &raw mut length,
                out.as_mut_ptr(),
                out.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                sys::RSA_NO_PADDING,
            );
            (code, Secret::new(out), length)
        };
        (succeeded(code) && length == out.len()).then_some(out)
    }

    /// The x coordinate of ECDH (RFC 5753). `None` where it is no EC key, or `peer` is no point of its curve or the one
    /// at infinity. `curve` is the key's.
    pub(crate) fn agree_ec(&self, curve: Curve, peer: &[u8]) -> Option<Secret> {
        let mut out = vec![0; curve.field_size()];
        // SAFETY: the EC key and its group are borrowed from a live key; the point is live, is made of a live slice and
        // checked to be on the curve; `out` has the room that is stated, and the library writes no more.
        let written = unsafe {
            let key = NonNull::new(sys::EVP_PKEY_get0_EC_KEY(self.0.get()))?.as_ptr();
            let group = sys::EC_KEY_get0_group(key);
            let point = Owned::new(sys::EC_POINT_new(group), sys::EC_POINT_free)?;
            let code = sys::EC_POINT_oct2point(
                group,
                point.get(),
                peer.as_ptr(),
                peer.len(),
                ptr::null_mut(),
            );
            if !succeeded(code) {
                return None;
            }
            let room: *mut c_void = out.as_mut_ptr().cast();
            sys::ECDH_compute_key(room, out.len(), point.get(), key, None)
        };
        let out = Secret::new(out);
        let whole = usize::try_from(written).is_ok_and(|written| written == out.len());
        whole.then_some(out).or_else(failed)
    }

    /// X25519 (RFC 7748 §6.1). `None` where it is no such key, or the output is all zeros, as it is for points of small
    /// order.
    pub(crate) fn agree_x25519(&self, peer: &[u8; 32]) -> Option<Secret> {
        let mut private = vec![0; 32];
        let mut length = private.len();
        // SAFETY: the key is live; `private` has the stated room.
        let code = unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != sys::EVP_PKEY_X25519 {
                return None;
            }
            sys::EVP_PKEY_get_raw_private_key(self.0.get(), private.as_mut_ptr(), &raw mut length)
        };
        let private = Secret::new(private);
        if !succeeded(code) || length != private.len() {
            return None;
        }
        let mut out = vec![0; 32];
        // SAFETY: all three have the 32 octets that the library reads or writes.
        let code =
            unsafe { sys::X25519(out.as_mut_ptr(), private.expose().as_ptr(), peer.as_ptr()) };
        let out = Secret::new(out);
        succeeded(code).then_some(out)
    }
}
