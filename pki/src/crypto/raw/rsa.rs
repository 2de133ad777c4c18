//! RSA with the public key: verifying signatures, and encrypting for the key's holder.

use std::ffi::c_int;

use aws_lc_sys as sys;

use crate::crypto::{DigestAlgorithm, OaepParameters, Secret};

use super::{Owned, method, nid, number, succeeded};

/// An RSA public key of the library.
pub(crate) struct RsaPublic(Owned<sys::RSA>);

// SAFETY: numbers and flags of the key are never changed after it was made, and no pointer to it leaves this file. What
// is done with it the library documents as non-mutating and as safe from many threads at once (openssl/rsa.h); what the
// first use works out of the modulus, it puts there under a lock of the key's own.
unsafe impl Send for RsaPublic {}
// SAFETY: as above.
unsafe impl Sync for RsaPublic {}

impl RsaPublic {
    /// Reads two magnitudes. `None`: the library refuses the key.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (n, e) = (number(modulus)?, number(exponent)?);
        // SAFETY: the library copies both numbers.
        let key = unsafe { sys::RSA_new_public_key(n.get(), e.get()) };
        Owned::new(key, sys::RSA_free).map(Self)
    }

    /// Verifies RSASSA-PKCS1-v1_5 of a digest.
    pub(crate) fn verify_pkcs1(
        &self,
        algorithm: DigestAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> bool {
        // SAFETY: pointers and lengths are of live slices; the key is live.
        succeeded(unsafe {
            sys::RSA_verify(
                nid(algorithm),
                digest.as_ptr(),
                digest.len(),
                signature.as_ptr(),
                signature.len(),
                self.0.get(),
            )
        })
    }

    /// Verifies RSASSA-PSS of a digest with exactly this salt length.
    pub(crate) fn verify_pss(
        &self,
        (algorithm, mgf, salt_len): (DigestAlgorithm, DigestAlgorithm, u32),
        digest: &[u8],
        signature: &[u8],
    ) -> bool {
        // Negative lengths have special meanings in the library; none can arise here.
        let Ok(salt_len) = c_int::try_from(salt_len) else {
            return false;
        };
        // SAFETY: as above; `digest` has the size of its algorithm, which the caller checked, and the
        // library's digest descriptions are static.
        succeeded(unsafe {
            sys::RSA_verify_pss_mgf1(
                self.0.get(),
                digest.as_ptr(),
                digest.len(),
                method(algorithm),
                method(mgf),
                salt_len,
                signature.as_ptr(),
                signature.len(),
            )
        })
    }

    /// RSAES-OAEP (RFC 8017 §7.1.1). `None` where the key is too small for the message.
    pub(crate) fn encrypt_oaep(
        &self,
        parameters: &OaepParameters,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let mut padded = vec![0; self.size()?];
        // SAFETY: all slices are live and have the stated lengths, which the library checks against each other; the
        // descriptions are static.
        let code = unsafe {
            sys::RSA_padding_add_PKCS1_OAEP_mgf1(
                padded.as_mut_ptr(),
                padded.len(),
                message.as_ptr(),
                message.len(),
                parameters.label.as_ptr(),
                parameters.label.len(),
                method(parameters.digest),
                method(parameters.mgf),
            )
        };
        let padded = Secret::new(padded);
        if !succeeded(code) {
            return None;
        }
        self.encrypt(padded.expose())
    }

    /// RSAEP (RFC 8017 §5.1.1) of a block that is padded already. `None` where it is not as long as the modulus, or not
    /// less.
    pub(crate) fn encrypt(&self, block: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; self.size()?];
        let mut length = 0;
        // SAFETY: the key is live; `out` has the room of its modulus; the block is live and its length is checked by
        // the library.
        let code = unsafe {
            sys::RSA_encrypt(
                self.0.get(),
                &raw mut length,
                out.as_mut_ptr(),
                out.len(),
                block.as_ptr(),
                block.len(),
                sys::RSA_NO_PADDING,
            )
        };
        (succeeded(code) && length == out.len()).then_some(out)
    }

    /// Octets of the modulus.
    pub(crate) fn size(&self) -> Option<usize> {
        // SAFETY: a live key.
        usize::try_from(unsafe { sys::RSA_size(self.0.get()) }).ok()
    }
}
