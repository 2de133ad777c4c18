//! Octets that nobody wrapped.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

/// One of each kind of key, made once.
fn keys() -> &'static [(SoftKey, RejectionSecret)] {
    static KEYS: OnceLock<Vec<(SoftKey, RejectionSecret)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        [
            KeyType::Rsa(2048),
            KeyType::P256,
            KeyType::P384,
            KeyType::P521,
            KeyType::Ed25519,
            KeyType::X25519,
            KeyType::MlKem(MlKem::Kem512),
            KeyType::MlKem(MlKem::Kem768),
        ]
        .map(generate)
        .into_iter()
        .collect()
    })
}

fn any_wrapping() -> impl Strategy<Value = Wrapping> {
    let digest = proptest::sample::select(DigestAlgorithm::ALL.to_vec());
    let info = proptest::collection::vec(any::<u8>(), 0..40);
    let wrap = proptest::sample::select(vec![
        KeyWrap::Aes(Aes::Bits128),
        KeyWrap::Aes(Aes::Bits192),
        KeyWrap::Aes(Aes::Bits256),
        KeyWrap::TripleDes,
    ]);
    (0..5, digest.clone(), digest, wrap, info).prop_map(|(which, digest, mgf, wrap, info)| {
        let kdf = if which % 2 == 0 {
            Kdf::X963(digest)
        } else {
            Kdf::Hkdf(digest)
        };
        match which {
            0 => Wrapping::RsaPkcs1,
            1 => Wrapping::RsaOaep(OaepParameters {
                digest,
                mgf,
                label: info,
            }),
            2 | 3 => Wrapping::Agreement {
                kdf,
                wrap,
                shared_info: info,
            },
            _ => Wrapping::Kem { kdf, wrap, info },
        }
    })
}

/// Octets of every length that means something, and others.
fn any_octets() -> impl Strategy<Value = Vec<u8>> {
    let lengths = vec![0, 8, 16, 24, 32, 33, 40, 65, 97, 133, 256, 257, 768, 1088];
    prop_oneof![
        proptest::sample::select(lengths)
            .prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length)),
        proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn no_octets_make_a_panic_and_all_of_pkcs1_make_a_key(
        wrapping in any_wrapping(),
        encrypted_key in any_octets(),
        peer in any_octets(),
        which in 0_usize..8,
        length in proptest::sample::select(vec![5_usize, 8, 16, 24, 32]),
    ) {
        let (key, rejection) = &keys()[which];
        let wrapped = Wrapped { wrapping, encrypted_key, peer };
        let opened = wrapped.unwrap(key, rejection, length);
        // Nobody finds a key that fits by chance; only where that shows nothing is there one all the same.
        let pkcs1 = wrapped.wrapping == Wrapping::RsaPkcs1 && which == 0;
        prop_assert_eq!(opened.is_ok(), pkcs1);
        if let Ok(opened) = opened {
            prop_assert_eq!(opened.len(), length);
        }
    }
}
