//! MD5.

use std::ptr;

use aws_lc_sys as sys;

use super::{Owned, succeeded};

/// MD5, which the safe interface does not have.
pub(crate) struct Md5(Owned<sys::EVP_MD_CTX>);

// SAFETY: the context is used only through `&mut self`, or read by a copy.
unsafe impl Send for Md5 {}
// SAFETY: as above.
unsafe impl Sync for Md5 {}

impl Md5 {
    pub(crate) fn new() -> Option<Self> {
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

    pub(crate) fn copy(&self) -> Option<Self> {
        // SAFETY: both contexts are live; the source is only read.
        unsafe {
            let context = Owned::new(sys::EVP_MD_CTX_new(), sys::EVP_MD_CTX_free)?;
            succeeded(sys::EVP_MD_CTX_copy_ex(context.get(), self.0.get())).then_some(Self(context))
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        // SAFETY: a live context and a live slice. MD5 has no way to fail here.
        unsafe { sys::EVP_DigestUpdate(self.0.get(), bytes.as_ptr().cast(), bytes.len()) };
    }

    pub(crate) fn finish(self) -> [u8; 16] {
        let mut out = [0; 16];
        // SAFETY: MD5 writes 16 octets.
        unsafe { sys::EVP_DigestFinal_ex(self.0.get(), out.as_mut_ptr(), ptr::null_mut()) };
        out
    }
}
