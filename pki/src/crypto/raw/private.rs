//! Private keys, and the signatures that they make.

use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use crate::crypto::{Curve, DigestAlgorithm, KeyType};

use super::{Owned, curve_nid, method, nid, number, succeeded};

/// A private key of the library.
pub(crate) struct PrivateKey(pub(super) Owned<sys::EVP_PKEY>);

// SAFETY: the key is never changed after it was made, and the library's keys may be used from many threads
// as long as nobody changes them.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    /// Makes a new key.
    pub(crate) fn generate(kind: KeyType) -> Option<Self> {
        // SAFETY: plain constructors, each result checked; `assign` moves ownership into the EVP_PKEY only
        // when it succeeds, and only then is our handle forgotten.
        unsafe {
            let key = Owned::new(sys::EVP_PKEY_new(), sys::EVP_PKEY_free)?;
            let curve = match kind {
                KeyType::Rsa(bits) => {
                    let rsa = Owned::new(sys::RSA_new(), sys::RSA_free)?;
                    let exponent = number(&[1, 0, 1])?;
                    let made = sys::RSA_generate_key_ex(
                        rsa.get(),
                        c_int::from(bits),
                        exponent.get(),
                        ptr::null_mut(),
                    );
                    if !succeeded(made)
                        || !succeeded(sys::EVP_PKEY_assign_RSA(key.get(), rsa.get()))
                    {
                        return None;
                    }
                    std::mem::forget(rsa);
                    return Some(Self(key));
                }
                KeyType::Ed25519 => {
                    let (mut public, mut private) = ([0_u8; 32], [0_u8; 64]);
                    sys::ED25519_keypair(public.as_mut_ptr(), private.as_mut_ptr());
                    let made = sys::EVP_PKEY_new_raw_private_key(
                        sys::EVP_PKEY_ED25519,
                        ptr::null_mut(),
                        private.as_ptr(),
                        32,
                    );
                    sys::OPENSSL_cleanse(private.as_mut_ptr().cast(), private.len());
                    return Owned::new(made, sys::EVP_PKEY_free).map(Self);
                }
                KeyType::X25519 => {
                    let (mut public, mut private) = ([0_u8; 32], [0_u8; 32]);
                    sys::X25519_keypair(public.as_mut_ptr(), private.as_mut_ptr());
                    let made = sys::EVP_PKEY_new_raw_private_key(
                        sys::EVP_PKEY_X25519,
                        ptr::null_mut(),
                        private.as_ptr(),
                        private.len(),
                    );
                    sys::OPENSSL_cleanse(private.as_mut_ptr().cast(), private.len());
                    return Owned::new(made, sys::EVP_PKEY_free).map(Self);
                }
                KeyType::MlKem(set) => return Self::generate_kem(set),
                KeyType::MlDsa(set) => return Self::generate_ml_dsa(set),
                KeyType::P256 => Curve::P256,
                KeyType::P384 => Curve::P384,
                KeyType::P521 => Curve::P521,
            };
            let ec = Owned::new(
                sys::EC_KEY_new_by_curve_name(curve_nid(curve)),
                sys::EC_KEY_free,
            )?;
            if !succeeded(sys::EC_KEY_generate_key(ec.get()))
                || !succeeded(sys::EVP_PKEY_assign_EC_KEY(key.get(), ec.get()))
            {
                return None;
            }
            std::mem::forget(ec);
            Some(Self(key))
        }
    }

    /// Reads exactly one PKCS#8 PrivateKeyInfo.
    pub(crate) fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        let mut cbs = sys::CBS {
            data: bytes.as_ptr(),
            len: bytes.len(),
        };
        // SAFETY: the CBS describes a live slice; the library only reads it and moves its start.
        let key = Owned::new(
            unsafe { sys::EVP_parse_private_key(&raw mut cbs) },
            sys::EVP_PKEY_free,
        )?;
        (cbs.len == 0).then_some(Self(key))
    }

    /// Writes PKCS#8.
    pub(crate) fn to_pkcs8(&self) -> Option<Vec<u8>> {
        self.marshal(sys::EVP_marshal_private_key)
    }

    /// Writes the SubjectPublicKeyInfo.
    pub(crate) fn to_spki(&self) -> Option<Vec<u8>> {
        self.marshal(sys::EVP_marshal_public_key)
    }

    /// Signs a digest by RSASSA-PKCS1-v1_5.
    pub(crate) fn sign_rsa_pkcs1(
        &self,
        algorithm: DigestAlgorithm,
        digest: &[u8],
    ) -> Option<Vec<u8>> {
        // SAFETY: `out` has the size that the library asks for; the RSA key is borrowed from a live one.
        unsafe {
            let rsa = NonNull::new(sys::EVP_PKEY_get0_RSA(self.0.get()))?.as_ptr();
            let mut out = vec![0; usize::try_from(sys::RSA_size(rsa)).ok()?];
            let mut length: c_uint = 0;
            let code = sys::RSA_sign(
                nid(algorithm),
                digest.as_ptr(),
                digest.len(),
                out.as_mut_ptr(),
                &raw mut length,
                rsa,
            );
            out.truncate(usize::try_from(length).ok()?);
            succeeded(code).then_some(out)
        }
    }

    /// Signs a digest by RSASSA-PSS.
    pub(crate) fn sign_rsa_pss(
        &self,
        (algorithm, mgf, salt_len): (DigestAlgorithm, DigestAlgorithm, u32),
        digest: &[u8],
    ) -> Option<Vec<u8>> {
        let salt_len = c_int::try_from(salt_len).ok()?;
        // SAFETY: as above, with the room stated.
        unsafe {
            let rsa = NonNull::new(sys::EVP_PKEY_get0_RSA(self.0.get()))?.as_ptr();
            let mut out = vec![0; usize::try_from(sys::RSA_size(rsa)).ok()?];
            let mut length = 0;
            let code = sys::RSA_sign_pss_mgf1(
                rsa,
                &raw mut length,
                out.as_mut_ptr(),
                out.len(),
                digest.as_ptr(),
                digest.len(),
                method(algorithm),
                method(mgf),
                salt_len,
            );
            out.truncate(length);
            succeeded(code).then_some(out)
        }
    }

    /// Signs a digest by ECDSA.
    pub(crate) fn sign_ecdsa(&self, digest: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: `out` has the size that the library asks for; the EC key is borrowed from a live one.
        unsafe {
            let ec = NonNull::new(sys::EVP_PKEY_get0_EC_KEY(self.0.get()))?.as_ptr();
            let mut out = vec![0; sys::ECDSA_size(ec)];
            let mut length: c_uint = 0;
            let code = sys::ECDSA_sign(
                0,
                digest.as_ptr(),
                digest.len(),
                out.as_mut_ptr(),
                &raw mut length,
                ec,
            );
            out.truncate(usize::try_from(length).ok()?);
            succeeded(code).then_some(out)
        }
    }

    /// Signs a message by Ed25519.
    pub(crate) fn sign_ed25519(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.sign_message(sys::EVP_PKEY_ED25519, 64, message)
    }

    /// Signs a message as a key of this kind does that takes no digest; its signatures have this length.
    pub(super) fn sign_message(
        &self,
        kind: c_int,
        signature_len: usize,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        // SAFETY: the context is live and ours; `out` has the stated room.
        unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != kind {
                return None;
            }
            let context = Owned::new(sys::EVP_MD_CTX_new(), sys::EVP_MD_CTX_free)?;
            let begun = sys::EVP_DigestSignInit(
                context.get(),
                ptr::null_mut(),
                ptr::null(),
                ptr::null_mut(),
                self.0.get(),
            );
            let mut out = vec![0; signature_len];
            let mut length = out.len();
            let done = succeeded(begun)
                && succeeded(sys::EVP_DigestSign(
                    context.get(),
                    out.as_mut_ptr(),
                    &raw mut length,
                    message.as_ptr(),
                    message.len(),
                ));
            (done && length == out.len()).then_some(out)
        }
    }

    /// Bits of the distance between the two primes of an RSA key. `None` where it is another key.
    pub(crate) fn distance_of_primes(&self) -> Option<u32> {
        // SAFETY: the RSA key and its numbers are borrowed from a live key; the difference is ours, and wiped when it
        // is freed.
        unsafe {
            let rsa = NonNull::new(sys::EVP_PKEY_get0_RSA(self.0.get()))?.as_ptr();
            let p = NonNull::new(sys::RSA_get0_p(rsa).cast_mut())?;
            let q = NonNull::new(sys::RSA_get0_q(rsa).cast_mut())?;
            let distance = Owned::new(sys::BN_new(), sys::BN_clear_free)?;
            if !succeeded(sys::BN_sub(distance.get(), p.as_ptr(), q.as_ptr())) {
                return None;
            }
            Some(sys::BN_num_bits(distance.get()))
        }
    }

    fn marshal(
        &self,
        write: unsafe extern "C" fn(*mut sys::CBB, *const sys::EVP_PKEY) -> c_int,
    ) -> Option<Vec<u8>> {
        // SAFETY: the CBB is initialised before use and either finished or cleaned up; the buffer that the
        // library hands over is copied, wiped and freed.
        unsafe {
            let mut cbb = MaybeUninit::<sys::CBB>::uninit();
            if !succeeded(sys::CBB_init(cbb.as_mut_ptr(), 256)) {
                return None;
            }
            let (mut data, mut length) = (ptr::null_mut(), 0);
            if !succeeded(write(cbb.as_mut_ptr(), self.0.get()))
                || !succeeded(sys::CBB_finish(
                    cbb.as_mut_ptr(),
                    &raw mut data,
                    &raw mut length,
                ))
            {
                sys::CBB_cleanup(cbb.as_mut_ptr());
                return None;
            }
            let out = std::slice::from_raw_parts(data, length).to_vec();
            sys::OPENSSL_cleanse(data.cast(), length);
            sys::OPENSSL_free(data.cast());
            Some(out)
        }
    }
}
