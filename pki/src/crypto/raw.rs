//! The one place of this crate that calls the C library itself: signatures with salt lengths, mask digests
//! and pairs of curve and digest that the safe interface does not offer, and private keys that make them.
//!
//! Every function takes slices and plain numbers and gives owned values back; no pointer leaves this file.
//! Bounds (key sizes, exponents, digest sizes) are checked by the callers before any mathematics.
#![allow(
    unsafe_code,
    reason = "foreign functions of aws-lc, each wrapped once, here"
)]

use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use super::{Curve, DigestAlgorithm, KeyType};

/// Something of the library's that is freed when dropped.
struct Owned<T> {
    pointer: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(pointer)
            .map(|pointer| Self { pointer, free })
            .or_else(failed)
    }

    const fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the function that pairs with `free`, and nothing else frees it.
        unsafe { (self.free)(self.pointer.as_ptr()) }
    }
}

/// Verifies RSASSA-PKCS1-v1_5 of a digest. `None`: the key was refused.
pub(super) fn verify_rsa_pkcs1(
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
pub(super) fn verify_rsa_pss(
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
pub(super) fn verify_ecdsa(
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
pub(super) fn verify_dsa(
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
pub(super) fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
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

/// A private key of the library.
pub(super) struct PrivateKey(Owned<sys::EVP_PKEY>);

// SAFETY: the key is never changed after it was made, and the library's keys may be used from many threads
// as long as nobody changes them.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    /// Makes a new key.
    pub(super) fn generate(kind: KeyType) -> Option<Self> {
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
    pub(super) fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
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
    pub(super) fn to_pkcs8(&self) -> Option<Vec<u8>> {
        self.marshal(sys::EVP_marshal_private_key)
    }

    /// Writes the SubjectPublicKeyInfo.
    pub(super) fn to_spki(&self) -> Option<Vec<u8>> {
        self.marshal(sys::EVP_marshal_public_key)
    }

    /// Signs a digest by RSASSA-PKCS1-v1_5.
    pub(super) fn sign_rsa_pkcs1(
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
    pub(super) fn sign_rsa_pss(
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
    pub(super) fn sign_ecdsa(&self, digest: &[u8]) -> Option<Vec<u8>> {
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
    pub(super) fn sign_ed25519(&self, message: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: the context is live and ours; `out` has the stated room.
        unsafe {
            if sys::EVP_PKEY_id(self.0.get()) != sys::EVP_PKEY_ED25519 {
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
            let mut out = vec![0; 64];
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

/// MD5, which the safe interface does not have.
pub(super) struct Md5(Owned<sys::EVP_MD_CTX>);

// SAFETY: the context is used only through `&mut self`, or read by a copy.
unsafe impl Send for Md5 {}
// SAFETY: as above.
unsafe impl Sync for Md5 {}

impl Md5 {
    pub(super) fn new() -> Option<Self> {
        // SAFETY: a fresh context and a static digest description.
        unsafe {
            let context = Owned::new(sys::EVP_MD_CTX_new(), sys::EVP_MD_CTX_free)?;
            succeeded(sys::EVP_DigestInit_ex(
                context.get(),
                sys::EVP_md5(),
                ptr::null_mut(),
            ))
            .then_some(Self(context))
        }
    }

    pub(super) fn copy(&self) -> Option<Self> {
        // SAFETY: both contexts are live; the source is only read.
        unsafe {
            let context = Owned::new(sys::EVP_MD_CTX_new(), sys::EVP_MD_CTX_free)?;
            succeeded(sys::EVP_MD_CTX_copy_ex(context.get(), self.0.get())).then_some(Self(context))
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        // SAFETY: a live context and a live slice. MD5 has no way to fail here.
        unsafe { sys::EVP_DigestUpdate(self.0.get(), bytes.as_ptr().cast(), bytes.len()) };
    }

    pub(super) fn finish(self) -> [u8; 16] {
        let mut out = [0; 16];
        // SAFETY: MD5 writes 16 octets.
        unsafe { sys::EVP_DigestFinal_ex(self.0.get(), out.as_mut_ptr(), ptr::null_mut()) };
        out
    }
}

fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Option<Owned<sys::RSA>> {
    let (n, e) = (number(modulus)?, number(exponent)?);
    // SAFETY: the library copies both numbers.
    Owned::new(
        unsafe { sys::RSA_new_public_key(n.get(), e.get()) },
        sys::RSA_free,
    )
}

fn number(magnitude: &[u8]) -> Option<Owned<sys::BIGNUM>> {
    // SAFETY: a live slice; NULL asks for a new number.
    let number = unsafe { sys::BN_bin2bn(magnitude.as_ptr(), magnitude.len(), ptr::null_mut()) };
    Owned::new(number, sys::BN_free)
}

/// Every failure leaves an entry in the library's error queue of this thread; nobody reads it.
fn succeeded(code: c_int) -> bool {
    if code != 1 {
        failed::<()>();
    }
    code == 1
}

fn failed<T>() -> Option<T> {
    // SAFETY: touches only the error queue of this thread.
    unsafe { sys::ERR_clear_error() };
    None
}

const fn nid(algorithm: DigestAlgorithm) -> c_int {
    match algorithm {
        DigestAlgorithm::Md5 => sys::NID_md5,
        DigestAlgorithm::Sha1 => sys::NID_sha1,
        DigestAlgorithm::Sha224 => sys::NID_sha224,
        DigestAlgorithm::Sha256 => sys::NID_sha256,
        DigestAlgorithm::Sha384 => sys::NID_sha384,
        DigestAlgorithm::Sha512 => sys::NID_sha512,
        DigestAlgorithm::Sha3_256 => sys::NID_sha3_256,
        DigestAlgorithm::Sha3_384 => sys::NID_sha3_384,
        DigestAlgorithm::Sha3_512 => sys::NID_sha3_512,
    }
}

const fn curve_nid(curve: Curve) -> c_int {
    match curve {
        Curve::P256 => sys::NID_X9_62_prime256v1,
        Curve::P384 => sys::NID_secp384r1,
        Curve::P521 => sys::NID_secp521r1,
    }
}

fn method(algorithm: DigestAlgorithm) -> *const sys::EVP_MD {
    // SAFETY: these return pointers to static descriptions.
    unsafe {
        match algorithm {
            DigestAlgorithm::Md5 => sys::EVP_md5(),
            DigestAlgorithm::Sha1 => sys::EVP_sha1(),
            DigestAlgorithm::Sha224 => sys::EVP_sha224(),
            DigestAlgorithm::Sha256 => sys::EVP_sha256(),
            DigestAlgorithm::Sha384 => sys::EVP_sha384(),
            DigestAlgorithm::Sha512 => sys::EVP_sha512(),
            DigestAlgorithm::Sha3_256 => sys::EVP_sha3_256(),
            DigestAlgorithm::Sha3_384 => sys::EVP_sha3_384(),
            DigestAlgorithm::Sha3_512 => sys::EVP_sha3_512(),
        }
    }
}
