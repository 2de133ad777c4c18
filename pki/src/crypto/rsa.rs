//! The two numbers of an RSA public key, and the library's key of them, which is made once and not for each use.
//! <https://www.rfc-editor.org/rfc/rfc8017#section-3.1>

use std::fmt;
use std::sync::OnceLock;

use super::public::{bit_length, is_odd};
use super::raw;

/// Modulus and exponent, whatever they are: magnitudes without leading zeros.
pub(super) struct RsaNumbers {
    modulus: Box<[u8]>,
    exponent: Box<[u8]>,
    /// Follows from the numbers.
    key: OnceLock<raw::RsaPublic>,
}

impl RsaNumbers {
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            modulus: modulus.into(),
            exponent: exponent.into(),
            key: OnceLock::new(),
        }
    }

    pub(super) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    pub(super) fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// What a hostile key could make expensive is refused by this: a huge modulus, a long exponent.
    pub(super) fn are_in_bounds(&self) -> bool {
        (MIN_BITS..=MAX_BITS).contains(&bit_length(&self.modulus))
            && (2..=MAX_EXPONENT_BITS).contains(&bit_length(&self.exponent))
            && is_odd(&self.modulus)
            && is_odd(&self.exponent)
    }

    /// The key that does mathematics. `None` where the numbers are out of bounds, or the library refuses them.
    pub(super) fn key(&self) -> Option<&raw::RsaPublic> {
        if let Some(key) = self.key.get() {
            return Some(key);
        }
        if !self.are_in_bounds() {
            return None;
        }
        let made = raw::RsaPublic::new(&self.modulus, &self.exponent)?;
        Some(self.key.get_or_init(|| made))
    }
}

impl PartialEq for RsaNumbers {
    fn eq(&self, other: &Self) -> bool {
        (&self.modulus, &self.exponent) == (&other.modulus, &other.exponent)
    }
}

impl Eq for RsaNumbers {}

impl fmt::Debug for RsaNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaNumbers")
            .field("modulus", &self.modulus)
            .field("exponent", &self.exponent)
            .finish_non_exhaustive()
    }
}

const MIN_BITS: u32 = 1024;
const MAX_BITS: u32 = 8192;
const MAX_EXPONENT_BITS: u32 = 33;

#[cfg(test)]
mod tests {
    use std::{ptr, thread};

    use super::*;
    use crate::crypto::{
        DigestAlgorithm, KeyType, PublicKey, Secret, SignatureAlgorithm, SigningKey, SoftKey,
        Wrapped, Wrapping,
    };

    fn key_of(numbers: &RsaNumbers) -> &raw::RsaPublic {
        numbers.key().unwrap()
    }

    #[test]
    fn copies_of_a_public_key_share_what_was_made_of_it() {
        let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
        let public = key.public_key();
        let (copy, fresh) = (public.clone(), PublicKey::from_spki(public.spki()).unwrap());
        let made = key_of(public.rsa_numbers().unwrap());
        assert!(ptr::eq(made, key_of(copy.rsa_numbers().unwrap())));
        assert!(ptr::eq(made, key_of(public.rsa_numbers().unwrap())));
        // Whether it was made is no part of the key.
        assert_eq!(*public, fresh);
        assert!(!ptr::eq(made, key_of(fresh.rsa_numbers().unwrap())));
    }

    #[test]
    fn nothing_is_made_of_numbers_out_of_bounds() {
        let odd = |octets: usize| vec![0xff; octets];
        for (modulus, exponent) in [
            (odd(127), vec![3]),
            (odd(1025), vec![3]),
            (odd(256), vec![1]),
            (odd(256), vec![2]),
            (odd(256), odd(5)),
            ([odd(255), vec![0xfe]].concat(), vec![3]),
            (Vec::new(), vec![3]),
            (odd(256), Vec::new()),
        ] {
            let numbers = RsaNumbers::new(&modulus, &exponent);
            assert!(!numbers.are_in_bounds(), "{numbers:?}");
            assert!(numbers.key().is_none(), "{numbers:?}");
        }
        assert!(RsaNumbers::new(&odd(256), &[3]).key().is_some());
    }

    #[test]
    fn one_key_verifies_and_encrypts_in_many_threads_at_once() {
        let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
        let rejection = key.rejection_secret().unwrap();
        let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
        let signature = key.sign(algorithm, b"message").unwrap();
        // Not yet used: all of them come first.
        let public = PublicKey::from_spki(key.public_key().spki()).unwrap();
        let secret = Secret::new(vec![7; 32]);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(public.verify(algorithm, b"message", &signature), Ok(()));
                        assert!(public.verify(algorithm, b"messagf", &signature).is_err());
                        let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, &public, &secret).unwrap();
                        let opened = wrapped.unwrap(&key, &rejection, 32).unwrap();
                        assert_eq!(opened.expose(), secret.expose());
                    }
                });
            }
        });
    }
}
