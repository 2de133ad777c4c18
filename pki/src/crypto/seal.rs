//! Values that others keep for us: sealed with AES-256-GCM, under names that tell nothing.
//!
//! Whoever keeps them can lose them or give an old one back, and nothing else. Nonces are random, so a key is good for
//! 2^32 values (NIST SP 800-38D §8.3).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

/// Seals and opens under one key.
pub struct Sealer {
    values: RandomizedNonceKey,
    names: hmac::Key,
}

impl Sealer {
    /// From 32 octets that nobody can guess. None if the library cannot use them.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        // One key for each purpose, so that no use of one says anything of the other.
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let values = hmac::sign(&root, b"kenin: sealed values");
        let names = hmac::sign(&root, b"kenin: names");
        Some(Self {
            values: RandomizedNonceKey::new(&AES_256_GCM, values.as_ref()).ok()?,
            names: hmac::Key::new(hmac::HMAC_SHA256, names.as_ref()),
        })
    }

    /// The value so that only this key opens it, and only beside the same `aad`: nonce, content, tag. None if the
    /// library fails.
    #[must_use]
    pub fn seal(&self, aad: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut content = value.to_vec();
        let nonce = self
            .values
            .seal_in_place_append_tag(Aad::from(aad), &mut content)
            .ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        let mut sealed = Vec::with_capacity(content.len().saturating_add(NONCE_LEN));
        sealed.extend_from_slice(nonce);
        sealed.append(&mut content);
        Some(sealed)
    }

    /// The value that was sealed. None where one bit of it, or of `aad`, is another.
    #[must_use]
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let length = self
            .values
            .open_in_place(nonce, Aad::from(aad), &mut content)
            .ok()?
            .len();
        content.truncate(length);
        Some(content)
    }

    /// A name for these parts that nobody without the key can tell from another. Where one part ends counts.
    #[must_use]
    pub fn name(&self, parts: &[&[u8]]) -> [u8; 32] {
        let tag = hmac::sign(&self.names, &framed(parts));
        let mut name = [0; 32];
        for (to, from) in name.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        name
    }
}

/// Parts one after the other, each behind its length, so that no two lists of parts make the same octets.
#[must_use]
pub fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Shows nothing of the key.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_beside_the_same_words_only() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        for value in [&b""[..], b"a", &[9; 5000]] {
            let sealed = sealer.seal(b"here", value).unwrap();
            assert_eq!(sealed.len(), value.len() + 28);
            assert_eq!(sealer.open(b"here", &sealed).as_deref(), Some(value));
            assert_eq!(sealer.open(b"there", &sealed), None);
            assert_eq!(sealer.open(b"", &sealed), None);
            let other = Sealer::new(&[8; 32]).unwrap();
            assert_eq!(other.open(b"here", &sealed), None);
        }
        // The same twice looks different.
        assert_ne!(sealer.seal(b"", b"x"), sealer.seal(b"", b"x"));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer.seal(b"here", b"a certificate").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(sealer.open(b"here", &changed), None, "{at} {bit}");
            }
            assert_eq!(sealer.open(b"here", &sealed[..at]), None, "{at}");
        }
    }

    #[test]
    fn names_tell_parts_from_each_other() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let name = |parts: &[&[u8]]| sealer.name(parts);
        assert_eq!(name(&[b"a", b"bc"]), name(&[b"a", b"bc"]));
        assert_ne!(name(&[b"a", b"bc"]), name(&[b"ab", b"c"]));
        assert_ne!(name(&[b"a", b""]), name(&[b"a"]));
        let other = Sealer::new(&[8; 32]).unwrap();
        assert_ne!(name(&[b"a"]), other.name(&[b"a"]));
    }
}
