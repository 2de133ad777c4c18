//! Keys made from secrets, and keys wrapped under keys.

use std::ffi::{c_int, c_uint};
use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::{DigestAlgorithm, Secret};

use super::{failed, method, succeeded};

/// HKDF (RFC 5869). `None` where it makes no key of this length.
pub(crate) fn hkdf(
    digest: DigestAlgorithm,
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> Option<Secret> {
    let mut out = vec![0; length];
    // SAFETY: all slices are live and have the stated lengths; the description is static.
    let code = unsafe {
        sys::HKDF(
            out.as_mut_ptr(),
            out.len(),
            method(digest),
            secret.as_ptr(),
            secret.len(),
            salt.as_ptr(),
            salt.len(),
            info.as_ptr(),
            info.len(),
        )
    };
    let out = Secret::new(out);
    succeeded(code).then_some(out)
}

/// AES key wrap (RFC 3394 §2.2.1). `None` where the key to wrap has not at least two blocks of 64 bits, or is not whole
/// blocks.
pub(crate) fn aes_wrap(kek: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let schedule = Schedule::new(kek, sys::AES_set_encrypt_key)?;
    let mut out = vec![0; key.len().checked_add(8)?];
    // SAFETY: the schedule is live; NULL is the initial value of the RFC; `out` has room for eight octets more than
    // the key.
    let length = unsafe {
        sys::AES_wrap_key(
            &raw const *schedule.0,
            ptr::null(),
            out.as_mut_ptr(),
            key.as_ptr(),
            key.len(),
        )
    };
    whole(length, out.len()).then_some(out)
}

/// AES key unwrap (RFC 3394 §2.2.2), with its check. `None` where that fails.
pub(crate) fn aes_unwrap(kek: &[u8], wrapped: &[u8]) -> Option<Secret> {
    let schedule = Schedule::new(kek, sys::AES_set_decrypt_key)?;
    let mut out = vec![0; wrapped.len().checked_sub(8)?];
    // SAFETY: as above; `out` has room for eight octets less than what is wrapped.
    let length = unsafe {
        sys::AES_unwrap_key(
            &raw const *schedule.0,
            ptr::null(),
            out.as_mut_ptr(),
            wrapped.as_ptr(),
            wrapped.len(),
        )
    };
    let out = Secret::new(out);
    whole(length, out.len()).then_some(out)
}

/// The rounds' keys of AES, wiped when dropped.
struct Schedule(Box<sys::AES_KEY>);

impl Schedule {
    fn new(
        key: &[u8],
        expand: unsafe extern "C" fn(*const u8, c_uint, *mut sys::AES_KEY) -> c_int,
    ) -> Option<Self> {
        let bits = c_uint::try_from(key.len().checked_mul(8)?).ok()?;
        let mut schedule = Self(Box::default());
        // SAFETY: the library takes 128, 192 and 256 bits and refuses others; the key has as many.
        let code = unsafe { expand(key.as_ptr(), bits, &raw mut *schedule.0) };
        (code == 0).then_some(schedule).or_else(failed)
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        let schedule = &raw mut *self.0;
        // SAFETY: the structure is ours, live and plain numbers.
        unsafe { sys::OPENSSL_cleanse(schedule.cast(), size_of::<sys::AES_KEY>()) }
    }
}

/// Whether the library wrote all that there is room for.
fn whole(length: c_int, room: usize) -> bool {
    let whole = usize::try_from(length).is_ok_and(|length| length == room);
    if !whole {
        failed::<()>();
    }
    whole
}
