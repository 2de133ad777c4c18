//! Symmetric ciphers, in pieces.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use aws_lc_sys as sys;

use crate::crypto::{Aes, ContentCipher};

use super::{Owned, succeeded};

/// A cipher at work, in one direction. What it opens by CBC keeps its padding.
pub(crate) struct Cipher {
    context: Owned<sys::EVP_CIPHER_CTX>,
    direction: Direction,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Open,
    Protect,
}

// SAFETY: the context belongs to one owner, is used only through `&mut self` or `self`, and is bound to no thread.
unsafe impl Send for Cipher {}

impl Cipher {
    /// Begins. `None` where key or parameters have a length that does not fit, or the library fails.
    pub(crate) fn new(cipher: &ContentCipher, key: &[u8], direction: Direction) -> Option<Self> {
        if key.len() != cipher.key_len() {
            return None;
        }
        let nonce = match cipher {
            ContentCipher::AesCbc { iv, .. } => iv.as_slice(),
            ContentCipher::AesGcm { nonce, .. } => nonce.as_slice(),
            ContentCipher::ChaCha20Poly1305 { nonce } => nonce.as_slice(),
            ContentCipher::TripleDesCbc { iv } | ContentCipher::Rc2Cbc { iv, .. } => iv.as_slice(),
        };
        let nonce_len = c_int::try_from(nonce.len()).ok()?;
        let key_len = c_uint::try_from(key.len()).ok()?;
        // SAFETY: the context is live; the description is static; a nonce length that is not the usual one is set
        // before the nonce is read; RC2, which takes keys of many lengths, is told the length before the key is read;
        // for all others `key` has the one length that the description names, as seen above.
        unsafe {
            let context = Owned::new(sys::EVP_CIPHER_CTX_new(), sys::EVP_CIPHER_CTX_free)?;
            let this = Self { context, direction };
            this.init(description(cipher), ptr::null(), ptr::null())?;
            if let ContentCipher::AesGcm { .. } = cipher {
                this.control(sys::EVP_CTRL_AEAD_SET_IVLEN, nonce_len, ptr::null_mut())?;
            }
            if let ContentCipher::Rc2Cbc { effective_bits, .. } = cipher {
                let bits = c_int::from(*effective_bits);
                let set = sys::EVP_CIPHER_CTX_set_key_length(this.context.get(), key_len);
                if !succeeded(set) {
                    return None;
                }
                this.control(sys::EVP_CTRL_SET_RC2_KEY_BITS, bits, ptr::null_mut())?;
            }
            this.init(ptr::null(), key.as_ptr(), nonce.as_ptr())?;
            // Padding is put on here, and looked at by the one who opens, in constant time.
            let padded = c_int::from(direction == Direction::Protect);
            succeeded(sys::EVP_CIPHER_CTX_set_padding(this.context.get(), padded)).then_some(this)
        }
    }

    /// Takes what is authenticated beside the content; before any content, for ciphers that have a tag.
    pub(crate) fn authenticate(&mut self, aad: &[u8]) -> Option<()> {
        for chunk in aad.chunks(CHUNK) {
            // SAFETY: NULL, as the function takes it.
            unsafe { self.step(chunk, ptr::null_mut())? };
        }
        Some(())
    }

    /// Takes more content, and adds what it becomes.
    pub(crate) fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for chunk in input.chunks(CHUNK) {
            let (start, most) = (out.len(), chunk.len().checked_add(BLOCK)?);
            out.reserve(most);
            let room = out.spare_capacity_mut();
            // SAFETY: room for the chunk and a block, in another vector.
            let written = unsafe { self.step(chunk, room.as_mut_ptr().cast())? };
            debug_assert!(written <= most);
            // SAFETY: so many octets were written there, and there was room for them.
            unsafe { out.set_len(start.checked_add(written.min(most))?) };
        }
        Some(())
    }

    /// Ends opening. With a tag, that must be right; without one, the content must have been whole blocks.
    pub(crate) fn finish_opening(self, tag: Option<&[u8]>) -> Option<()> {
        if let Some(tag) = tag {
            // The library takes a pointer to octets that it does not change.
            let mut tag = tag.to_vec();
            let length = c_int::try_from(tag.len()).ok()?;
            // SAFETY: `tag` has the stated length, which the library bounds and copies.
            unsafe { self.control(sys::EVP_CTRL_AEAD_SET_TAG, length, tag.as_mut_ptr().cast())? };
        }
        let mut out = [0_u8; BLOCK];
        let mut written: c_int = 0;
        // SAFETY: a live context; without padding the library writes nothing, and with it a block at most.
        let code = unsafe {
            sys::EVP_DecryptFinal_ex(self.context.get(), out.as_mut_ptr(), &raw mut written)
        };
        (succeeded(code) && written == 0).then_some(())
    }

    /// Ends protecting: adds the last block with its padding, or gives a tag of `tag_len` octets.
    pub(crate) fn finish_protecting(
        self,
        tag_len: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Option<Option<Vec<u8>>> {
        let mut last = [0_u8; BLOCK];
        let mut written: c_int = 0;
        // SAFETY: a live context, and room for the one block that the library may write.
        let code = unsafe {
            sys::EVP_EncryptFinal_ex(self.context.get(), last.as_mut_ptr(), &raw mut written)
        };
        if !succeeded(code) {
            return None;
        }
        out.extend_from_slice(last.get(..usize::try_from(written).ok()?)?);
        let Some(tag_len) = tag_len else {
            return Some(None);
        };
        let mut tag = vec![0; tag_len];
        let length = c_int::try_from(tag_len).ok()?;
        // SAFETY: `tag` has the stated room.
        unsafe { self.control(sys::EVP_CTRL_AEAD_GET_TAG, length, tag.as_mut_ptr().cast())? };
        Some(Some(tag))
    }

    /// One call of the library; how much it wrote.
    ///
    /// # Safety
    ///
    /// `out` is NULL, which says that the chunk is authenticated only, or has room for the chunk and one block more,
    /// and does not overlap it.
    unsafe fn step(&mut self, chunk: &[u8], out: *mut u8) -> Option<usize> {
        let mut written: c_int = 0;
        let length = c_int::try_from(chunk.len()).ok()?;
        // SAFETY: the context and the chunk are live; the rest is the caller's promise.
        let code = unsafe {
            let update = match self.direction {
                Direction::Open => sys::EVP_DecryptUpdate,
                Direction::Protect => sys::EVP_EncryptUpdate,
            };
            update(
                self.context.get(),
                out,
                &raw mut written,
                chunk.as_ptr(),
                length,
            )
        };
        if succeeded(code) {
            usize::try_from(written).ok()
        } else {
            None
        }
    }

    /// # Safety
    ///
    /// `description` is NULL or static; `key` and `nonce` are NULL or have as many octets as the cipher reads.
    unsafe fn init(
        &self,
        description: *const sys::EVP_CIPHER,
        key: *const u8,
        nonce: *const u8,
    ) -> Option<()> {
        let init = match self.direction {
            Direction::Open => sys::EVP_DecryptInit_ex,
            Direction::Protect => sys::EVP_EncryptInit_ex,
        };
        // SAFETY: the context is live; the rest is the caller's promise.
        let code = unsafe { init(self.context.get(), description, ptr::null_mut(), key, nonce) };
        succeeded(code).then_some(())
    }

    /// # Safety
    ///
    /// `pointer` is what the command takes, with room for `argument` octets where the command moves any.
    unsafe fn control(&self, command: c_int, argument: c_int, pointer: *mut c_void) -> Option<()> {
        // SAFETY: the context is live; the rest is the caller's promise.
        let code =
            unsafe { sys::EVP_CIPHER_CTX_ctrl(self.context.get(), command, argument, pointer) };
        succeeded(code).then_some(())
    }
}

fn description(cipher: &ContentCipher) -> *const sys::EVP_CIPHER {
    // SAFETY: these return pointers to static descriptions.
    unsafe {
        match cipher {
            ContentCipher::AesCbc { aes, .. } => match aes {
                Aes::Bits128 => sys::EVP_aes_128_cbc(),
                Aes::Bits192 => sys::EVP_aes_192_cbc(),
                Aes::Bits256 => sys::EVP_aes_256_cbc(),
            },
            ContentCipher::AesGcm { aes, .. } => match aes {
                Aes::Bits128 => sys::EVP_aes_128_gcm(),
                Aes::Bits192 => sys::EVP_aes_192_gcm(),
                Aes::Bits256 => sys::EVP_aes_256_gcm(),
            },
            ContentCipher::ChaCha20Poly1305 { .. } => sys::EVP_chacha20_poly1305(),
            ContentCipher::TripleDesCbc { .. } => sys::EVP_des_ede3_cbc(),
            ContentCipher::Rc2Cbc { .. } => sys::EVP_rc2_cbc(),
        }
    }
}

/// Octets that the library takes at once; it counts in `int`.
const CHUNK: usize = 1 << 20;
/// The largest block of any cipher here.
const BLOCK: usize = 16;
