//! The one place of this crate that calls the C library itself: what the safe interface does not offer.
//!
//! Every function takes slices and plain numbers and gives owned values back; no pointer leaves this folder.
//! Bounds (key sizes, exponents, digest sizes) are checked by the callers before any mathematics.
#![allow(
    unsafe_code,
    reason = "foreign functions of aws-lc, each wrapped once, here"
)]

mod agree;
mod cipher;
mod derive;
mod kem;
mod md5;
mod ml_dsa;
mod private;
mod rsa;
mod verify;

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys as sys;

use super::{Curve, DigestAlgorithm};

pub(super) use cipher::{Cipher, Direction};
pub(super) use derive::{aes_unwrap, aes_wrap, hkdf};
pub(super) use kem::encapsulate;
pub(super) use md5::Md5;
pub(super) use ml_dsa::verify_ml_dsa;
pub(super) use private::PrivateKey;
pub(super) use rsa::RsaPublic;
pub(super) use verify::{verify_dsa, verify_ecdsa, verify_ed25519};

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
