//! ML-KEM.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::{MlKem, Secret};

use super::{Owned, PrivateKey, succeeded};

impl PrivateKey {
    /// Makes a new key of ML-KEM.
    pub(super) fn generate_kem(set: MlKem) -> Option<Self> {
        let context = generator(set)?;
        let mut key = ptr::null_mut();
        // SAFETY: the context is live, and the key that it makes is ours.
        if !succeeded(unsafe { sys::EVP_PKEY_keygen(context.get(), &raw mut key) }) {
            return None;
        }
        Owned::new(key, sys::EVP_PKEY_free).map(Self)
    }

    /// The key that a seed stands for (FIPS 203 §7.1: d and z).
    pub(crate) fn from_kem_seed(set: MlKem, seed: &[u8]) -> Option<Self> {
        let context = generator(set)?;
        let (mut key, mut length) = (ptr::null_mut(), seed.len());
        // SAFETY: as above; the library checks the length of the seed before it reads it.
        let code = unsafe {
            sys::EVP_PKEY_keygen_deterministic(
                context.get(),
                &raw mut key,
                seed.as_ptr(),
                &raw mut length,
            )
        };
        if !succeeded(code) {
            return None;
        }
        Owned::new(key, sys::EVP_PKEY_free).map(Self)
    }

    /// A decapsulation key (FIPS 203) with the encapsulation key that lies within it.
    pub(crate) fn from_kem(set: MlKem, private: &[u8]) -> Option<Self> {
        let public = set.public_within(private)?;
        // SAFETY: both slices are live, and the library copies them after it checked their lengths; the key that it
        // makes is ours.
        unsafe {
            let key = Owned::new(
                sys::EVP_PKEY_kem_new_raw_key(
                    nid(set),
                    public.as_ptr(),
                    public.len(),
                    private.as_ptr(),
                    private.len(),
                ),
                sys::EVP_PKEY_free,
            )?;
            succeeded(sys::EVP_PKEY_kem_check_key(key.get())).then_some(Self(key))
        }
    }

    /// The decapsulation key. `None` where it is another kind of key.
    pub(crate) fn kem_private(&self, set: MlKem) -> Option<Secret> {
        let mut out = vec![0; set.private_len()];
        let mut length = out.len();
        // SAFETY: the key is live; `out` has the stated room, and the library writes no more.
        let code = unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != sys::EVP_PKEY_KEM {
                return None;
            }
            sys::EVP_PKEY_get_raw_private_key(self.0.get(), out.as_mut_ptr(), &raw mut length)
        };
        let out = Secret::new(out);
        (succeeded(code) && length == out.len()).then_some(out)
    }

    /// Decapsulates. A ciphertext of the right length always gives something (FIPS 203 §6.3).
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Option<Secret> {
        let mut out = vec![0; SHARED_SECRET];
        let mut length = out.len();
        // SAFETY: the key and the context are live; `out` has the stated room; the library checks the length of the
        // ciphertext before it reads it.
        let code = unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != sys::EVP_PKEY_KEM {
                return None;
            }
            let context = Owned::new(
                sys::EVP_PKEY_CTX_new(self.0.get(), ptr::null_mut()),
                sys::EVP_PKEY_CTX_free,
            )?;
            sys::EVP_PKEY_decapsulate(
                context.get(),
                out.as_mut_ptr(),
                &raw mut length,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        let out = Secret::new(out);
        (succeeded(code) && length == out.len()).then_some(out)
    }
}

/// Encapsulates to an encapsulation key: the ciphertext and the shared secret. `None`: the key was refused.
pub(crate) fn encapsulate(set: MlKem, public: &[u8]) -> Option<(Vec<u8>, Secret)> {
    let mut ciphertext = vec![0; set.ciphertext_len()];
    let mut ciphertext_len = ciphertext.len();
    let mut shared = vec![0; SHARED_SECRET];
    let mut shared_len = shared.len();
    // SAFETY: the slice is live, and the library checks its length; key and context are live; both buffers have the
    // stated room.
    let code = unsafe {
        let key = Owned::new(
            sys::EVP_PKEY_kem_new_raw_public_key(nid(set), public.as_ptr(), public.len()),
            sys::EVP_PKEY_free,
        )?;
        let context = Owned::new(
            sys::EVP_PKEY_CTX_new(key.get(), ptr::null_mut()),
            sys::EVP_PKEY_CTX_free,
        )?;
        sys::EVP_PKEY_encapsulate(
            context.get(),
            ciphertext.as_mut_ptr(),
            &raw mut ciphertext_len,
            shared.as_mut_ptr(),
            &raw mut shared_len,
        )
    };
    let shared = Secret::new(shared);
    let whole = ciphertext_len == ciphertext.len() && shared_len == shared.len();
    (succeeded(code) && whole).then_some((ciphertext, shared))
}

fn generator(set: MlKem) -> Option<Owned<sys::EVP_PKEY_CTX>> {
    // SAFETY: a plain constructor whose result is checked; the context is live.
    unsafe {
        let context = Owned::new(
            sys::EVP_PKEY_CTX_new_id(sys::EVP_PKEY_KEM, ptr::null_mut()),
            sys::EVP_PKEY_CTX_free,
        )?;
        let ready = succeeded(sys::EVP_PKEY_keygen_init(context.get()))
            && succeeded(sys::EVP_PKEY_CTX_kem_set_params(context.get(), nid(set)));
        ready.then_some(context)
    }
}

const fn nid(set: MlKem) -> c_int {
    match set {
        MlKem::Kem512 => sys::NID_MLKEM512,
        MlKem::Kem768 => sys::NID_MLKEM768,
        MlKem::Kem1024 => sys::NID_MLKEM1024,
    }
}

/// Octets of a shared secret (FIPS 203 §8).
const SHARED_SECRET: usize = 32;
