//! Content-encryption keys wrapped under key-encryption keys.
//! <https://www.rfc-editor.org/rfc/rfc3394>, <https://www.rfc-editor.org/rfc/rfc3217#section-3>.

use aws_lc_rs::constant_time;
use zeroize::Zeroizing;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::write;
use crate::oid::{self, Oid};

use super::{
    Aes, AlgorithmError, ContentCipher, DigestAlgorithm, KeyError, OpenError, Secret, raw,
};

/// A key-wrap algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyWrap {
    /// AES key wrap (RFC 3394, RFC 3565 §2.3.2).
    Aes(Aes),
    /// Triple-DES key wrap (RFC 3217 §3). Legacy: read, never written.
    TripleDes,
}

impl KeyWrap {
    /// By a KeyWrapAlgorithm. AES has no parameters (RFC 3565 §2.3.2), and some senders write NULL.
    pub fn from_identifier(identifier: &AlgorithmIdentifier) -> Result<Self, AlgorithmError> {
        let named = identifier.oid();
        let Some((_, wrap)) = BY_WRAP.iter().find(|(oid, _)| *oid == named) else {
            return Err(AlgorithmError::Unsupported(named.to_buf()));
        };
        if identifier.has_no_parameters() {
            Ok(*wrap)
        } else {
            Err(AlgorithmError::Parameters(named.to_buf()))
        }
    }

    /// The KeyWrapAlgorithm.
    #[must_use]
    pub fn to_identifier(self) -> AlgorithmIdentifier {
        match self {
            Self::Aes(Aes::Bits128) => AlgorithmIdentifier::new(oid::AES128_WRAP, None),
            Self::Aes(Aes::Bits192) => AlgorithmIdentifier::new(oid::AES192_WRAP, None),
            Self::Aes(Aes::Bits256) => AlgorithmIdentifier::new(oid::AES256_WRAP, None),
            Self::TripleDes => AlgorithmIdentifier::new(oid::TRIPLE_DES_WRAP, Some(&write::null())),
        }
    }

    /// Octets of the key-encryption key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes(aes) => aes.key_len(),
            Self::TripleDes => 24,
        }
    }

    /// The key that was wrapped under `kek`, of `length` octets.
    pub(super) fn unwrap(
        self,
        kek: &Secret,
        wrapped: &[u8],
        length: usize,
    ) -> Result<Secret, OpenError> {
        let bounded = kek.len() == self.key_len() && wrapped.len() <= MAX_WRAPPED;
        let unwrapped = match self {
            _ if !bounded => None,
            Self::Aes(_) => raw::aes_unwrap(kek.expose(), wrapped),
            Self::TripleDes => triple_des_unwrap(kek, wrapped),
        };
        unwrapped.filter(|key| key.len() == length).ok_or(OpenError)
    }

    /// Wraps a key under `kek`. [`KeyError::Unsupported`] where the algorithm is one that is read only, or does not wrap
    /// keys of this length.
    pub(super) fn wrap(self, kek: &Secret, key: &Secret) -> Result<Vec<u8>, KeyError> {
        let bounded = kek.len() == self.key_len() && key.len() < MAX_WRAPPED;
        match self {
            Self::Aes(_) if bounded => {
                raw::aes_wrap(kek.expose(), key.expose()).ok_or(KeyError::Unsupported)
            }
            Self::Aes(_) | Self::TripleDes => Err(KeyError::Unsupported),
        }
    }

    /// Whether it is read only where somebody asked for it.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::TripleDes)
    }
}

/// RFC 3217 §3.2: encrypted twice, turned round in between, with a checksum behind the key.
fn triple_des_unwrap(kek: &Secret, wrapped: &[u8]) -> Option<Secret> {
    if wrapped.len() != 40 {
        return None;
    }
    let mut turned = Zeroizing::new(decrypt(kek, OUTER_IV, wrapped)?);
    turned.reverse();
    let (iv, inner) = turned.split_at_checked(8)?;
    let mut key = Zeroizing::new(decrypt(kek, iv.try_into().ok()?, inner)?);
    let (content, checksum) = key.split_at_checked(24)?;
    let mut digest = DigestAlgorithm::Sha1.digest(content);
    let right = digest
        .as_ref()
        .get(..8)
        .is_some_and(|start| constant_time::verify_slices_are_equal(start, checksum).is_ok());
    digest.wipe();
    key.truncate(24);
    right.then(|| Secret::new(std::mem::take(&mut *key)))
}

/// Whole blocks of triple DES, without padding.
fn decrypt(kek: &Secret, iv: [u8; 8], blocks: &[u8]) -> Option<Vec<u8>> {
    let cipher = ContentCipher::TripleDesCbc { iv };
    let mut cipher = raw::Cipher::new(&cipher, kek.expose(), raw::Direction::Open)?;
    let mut out = Vec::with_capacity(blocks.len().saturating_add(16));
    cipher.update(blocks, &mut out)?;
    cipher.finish_opening(None)?;
    Some(out)
}

/// The initialisation vector of the outer encryption (RFC 3217 §3.1).
const OUTER_IV: [u8; 8] = [0x4a, 0xdd, 0xa2, 0x2c, 0x79, 0xe8, 0x21, 0x05];
/// More than any wrapped key.
const MAX_WRAPPED: usize = 1024;
const BY_WRAP: [(Oid<'static>, KeyWrap); 4] = [
    (oid::AES128_WRAP, KeyWrap::Aes(Aes::Bits128)),
    (oid::AES192_WRAP, KeyWrap::Aes(Aes::Bits192)),
    (oid::AES256_WRAP, KeyWrap::Aes(Aes::Bits256)),
    (oid::TRIPLE_DES_WRAP, KeyWrap::TripleDes),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::hex;

    use super::*;

    /// RFC 3394 §4.
    #[test]
    fn aes_wraps_as_published() {
        let kek: Vec<u8> = (0..32).collect();
        let key = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
        for (aes, length, expected) in [
            (
                Aes::Bits128,
                16,
                "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
            ),
            (
                Aes::Bits192,
                16,
                "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d",
            ),
            (
                Aes::Bits256,
                16,
                "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7",
            ),
            (
                Aes::Bits192,
                24,
                "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2",
            ),
            (
                Aes::Bits256,
                24,
                "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1",
            ),
            (
                Aes::Bits256,
                32,
                "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43b\
                 fb988b9b7a02dd21",
            ),
        ] {
            let wrap = KeyWrap::Aes(aes);
            let kek = Secret::new(kek[..aes.key_len()].to_vec());
            let key = Secret::new(key[..length].to_vec());
            let wrapped = wrap.wrap(&kek, &key).unwrap();
            assert_eq!(wrapped, hex(expected));
            assert_eq!(wrap.unwrap(&kek, &wrapped, length), Ok(key));
            for other in [0, 8, length - 8, length + 8] {
                assert_eq!(wrap.unwrap(&kek, &wrapped, other), Err(OpenError));
            }
            for bit in 0..wrapped.len() * 8 {
                let mut bent = wrapped.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(wrap.unwrap(&kek, &bent, length), Err(OpenError));
            }
        }
    }

    /// RFC 3217 §3.4.
    #[test]
    fn triple_des_unwraps_as_published_and_never_wraps() {
        let kek = Secret::new(hex("255e0d1c07b646dfb3134cc843ba8aa71f025b7c0838251f"));
        let key = Secret::new(hex("2923bf85e06dd6ae529149f1f1bae9eab3a7da3d860d3e98"));
        let wrapped = hex(
            "690107618ef092b3b48ca1796b234ae9fa33ebb4159604037db5d6a84eb3aac2\
             768c632775a467d4",
        );
        let wrap = KeyWrap::TripleDes;
        assert_eq!(wrap.unwrap(&kek, &wrapped, 24).as_ref(), Ok(&key));
        assert_eq!(wrap.unwrap(&kek, &wrapped, 16), Err(OpenError));
        for bit in 0..wrapped.len() * 8 {
            let mut bent = wrapped.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(wrap.unwrap(&kek, &bent, 24), Err(OpenError));
        }
        for end in 0..wrapped.len() {
            assert_eq!(wrap.unwrap(&kek, &wrapped[..end], 24), Err(OpenError));
        }
        assert_eq!(wrap.wrap(&kek, &key), Err(KeyError::Unsupported));
    }

    #[test]
    fn algorithms_survive_their_identifiers() {
        for (oid, wrap) in BY_WRAP {
            let identifier = wrap.to_identifier();
            assert_eq!(identifier.oid(), oid);
            assert_eq!(KeyWrap::from_identifier(&identifier), Ok(wrap));
            assert_eq!(wrap.is_legacy(), oid == oid::TRIPLE_DES_WRAP);
            let null = AlgorithmIdentifier::new(oid, Some(&write::null()));
            assert_eq!(KeyWrap::from_identifier(&null), Ok(wrap));
            let other = AlgorithmIdentifier::new(oid, Some(&write::integer(1)));
            let bad = Err(AlgorithmError::Parameters(oid.to_buf()));
            assert_eq!(KeyWrap::from_identifier(&other), bad);
        }
        let other = AlgorithmIdentifier::new(oid::AES128_CBC, None);
        let unsupported = Err(AlgorithmError::Unsupported(other.oid().to_buf()));
        assert_eq!(KeyWrap::from_identifier(&other), unsupported);
    }

    #[test]
    fn keys_that_do_not_fit_are_refused() {
        let kek = |length: usize| Secret::new(vec![1; length]);
        let wrap = KeyWrap::Aes(Aes::Bits128);
        for (kek, key) in [
            (kek(24), kek(16)),
            (kek(0), kek(16)),
            (kek(16), kek(0)),
            (kek(16), kek(5)),
            (kek(16), kek(8)),
            (kek(16), kek(17)),
            (kek(16), kek(2000)),
        ] {
            assert_eq!(wrap.wrap(&kek, &key), Err(KeyError::Unsupported));
        }
        let long = vec![1; 1_000_000];
        assert_eq!(wrap.unwrap(&kek(16), &long, 16), Err(OpenError));
        assert_eq!(wrap.unwrap(&kek(32), &[1; 24], 16), Err(OpenError));
    }

    proptest! {
        #[test]
        fn no_octets_unwrap(
            wrapped in proptest::collection::vec(any::<u8>(), 0..80),
            length in 0_usize..40,
            which in 0..BY_WRAP.len(),
        ) {
            let (_, wrap) = BY_WRAP[which];
            let kek = Secret::new(vec![1; wrap.key_len()]);
            prop_assert_eq!(wrap.unwrap(&kek, &wrapped, length), Err(OpenError));
        }
    }
}
