//! ML-DSA, pure and with an empty context, as certificates and CMS have it (RFC 9881 §3, RFC 9882 §3.2).

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::{MlDsa, Secret};

use super::{Owned, PrivateKey, succeeded};

impl PrivateKey {
    /// Makes a new key of ML-DSA.
    pub(super) fn generate_ml_dsa(set: MlDsa) -> Option<Self> {
        // SAFETY: plain constructors whose results are checked; the context is live, and the key that it makes is ours.
        unsafe {
            let context = Owned::new(
                sys::EVP_PKEY_CTX_new_id(sys::EVP_PKEY_PQDSA, ptr::null_mut()),
                sys::EVP_PKEY_CTX_free,
            )?;
            let mut key = ptr::null_mut();
            let made = succeeded(sys::EVP_PKEY_keygen_init(context.get()))
                && succeeded(sys::EVP_PKEY_CTX_pqdsa_set_params(context.get(), nid(set)))
                && succeeded(sys::EVP_PKEY_keygen(context.get(), &raw mut key));
            if !made {
                return None;
            }
            Owned::new(key, sys::EVP_PKEY_free).map(Self)
        }
    }

    /// A key by its seed or its expanded form: the library tells them by their lengths. Of an expanded key it checks the
    /// digest of the public half that lies within it.
    pub(crate) fn from_ml_dsa(set: MlDsa, private: &[u8]) -> Option<Self> {
        // SAFETY: the slice is live, and the library copies it after it checked its length; the key is ours.
        let key = unsafe {
            sys::EVP_PKEY_pqdsa_new_raw_private_key(nid(set), private.as_ptr(), private.len())
        };
        Owned::new(key, sys::EVP_PKEY_free).map(Self)
    }

    /// The expanded key. `None` where it is another kind of key.
    pub(crate) fn ml_dsa_private(&self, set: MlDsa) -> Option<Secret> {
        let mut out = vec![0; set.private_len()];
        let mut length = out.len();
        // SAFETY: the key is live; `out` has the stated room, and the library writes no more.
        let code = unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != sys::EVP_PKEY_PQDSA {
                return None;
            }
            sys::EVP_PKEY_get_raw_private_key(self.0.get(), out.as_mut_ptr(), &raw mut length)
        };
        let out = Secret::new(out);
        (succeeded(code) && length == out.len()).then_some(out)
    }

    /// Signs a message by ML-DSA.
    pub(crate) fn sign_ml_dsa(&self, set: MlDsa, message: &[u8]) -> Option<Vec<u8>> {
        self.sign_message(sys::EVP_PKEY_PQDSA, set.signature_len(), message)
    }
}

/// Verifies ML-DSA. `None`: the key was refused.
pub(crate) fn verify_ml_dsa(
    set: MlDsa,
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    // SAFETY: the slices are live; the library checks the lengths of key and signature before it reads them; key and
    // context are ours, and the context borrows the key only while both live.
    unsafe {
        let key = Owned::new(
            sys::EVP_PKEY_pqdsa_new_raw_public_key(nid(set), public.as_ptr(), public.len()),
            sys::EVP_PKEY_free,
        )?;
        let context = Owned::new(sys::EVP_MD_CTX_new(), sys::EVP_MD_CTX_free)?;
        let begun = sys::EVP_DigestVerifyInit(
            context.get(),
            ptr::null_mut(),
            ptr::null(),
            ptr::null_mut(),
            key.get(),
        );
        let good = succeeded(begun)
            && succeeded(sys::EVP_DigestVerify(
                context.get(),
                signature.as_ptr(),
                signature.len(),
                message.as_ptr(),
                message.len(),
            ));
        Some(good)
    }
}

const fn nid(set: MlDsa) -> c_int {
    match set {
        MlDsa::Dsa44 => sys::NID_MLDSA44,
        MlDsa::Dsa65 => sys::NID_MLDSA65,
        MlDsa::Dsa87 => sys::NID_MLDSA87,
    }
}
