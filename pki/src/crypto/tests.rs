use std::time::Duration;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::write;
use crate::oid;
use crate::pem;
use crate::testing::cpu_time;

use super::*;

fn pss(digest: DigestAlgorithm, mgf: DigestAlgorithm, salt_len: u32) -> SignatureAlgorithm {
    SignatureAlgorithm::RsaPss {
        digest,
        mgf,
        salt_len,
    }
}

fn all_digests() -> impl Iterator<Item = DigestAlgorithm> {
    DigestAlgorithm::ALL
        .into_iter()
        .filter(|digest| *digest != DigestAlgorithm::Md5)
}

/// Signs, verifies, and sees that nothing else verifies.
fn round(key: &SoftKey, algorithm: SignatureAlgorithm) {
    let signature = key.sign(algorithm, b"message").unwrap();
    let public = key.public_key();
    assert_eq!(
        public.verify(algorithm, b"message", &signature),
        Ok(()),
        "{algorithm:?}"
    );
    assert_eq!(
        public.verify(algorithm, b"messagf", &signature),
        Err(VerifyError::BadSignature)
    );
    let mut bent = signature.clone();
    *bent.last_mut().unwrap() ^= 1;
    assert_eq!(
        public.verify(algorithm, b"message", &bent),
        Err(VerifyError::BadSignature)
    );
    for length in [0, 1, signature.len() - 1] {
        assert!(
            public
                .verify(algorithm, b"message", &signature[..length])
                .is_err()
        );
    }
    assert!(
        public
            .verify(algorithm, b"message", &[&signature[..], &[0]].concat())
            .is_err()
    );
    if algorithm != SignatureAlgorithm::Ed25519 {
        let digest = algorithm.digest().digest(b"message");
        assert_eq!(
            public.verify_digest(algorithm, digest.as_ref(), &signature),
            Ok(())
        );
        assert!(
            public
                .verify_digest(algorithm, &digest.as_ref()[1..], &signature)
                .is_err()
        );
    }
}

#[test]
fn rsa_signs_and_verifies_with_every_digest_and_salt() {
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    assert_eq!(*key.public_key().kind(), KeyKind::Rsa { bits: 2048 });
    for digest in all_digests() {
        round(&key, SignatureAlgorithm::RsaPkcs1(digest));
        round(&key, pss(digest, digest, 20));
    }
    // 222 is what `openssl cms -keyopt rsa_padding_mode:pss` makes; 0 is the other end.
    for salt_len in [0, 1, 32, 222] {
        round(
            &key,
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha256, salt_len),
        );
        round(
            &key,
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha1, salt_len),
        );
    }
    let algorithm = pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha256, 32);
    let signature = key.sign(algorithm, b"m").unwrap();
    for (other, why) in [
        (
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha256, 31),
            "shorter salt",
        ),
        (
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha256, 33),
            "longer salt",
        ),
        (
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha256, u32::MAX),
            "salt beyond any key",
        ),
        (
            pss(DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, 32),
            "other mask",
        ),
        (
            SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            "other padding",
        ),
    ] {
        assert_eq!(
            key.public_key().verify(other, b"m", &signature),
            Err(VerifyError::BadSignature),
            "{why}"
        );
    }
}

#[test]
fn curves_sign_and_verify_with_every_digest() {
    for (kind, curve) in [
        (KeyType::P256, Curve::P256),
        (KeyType::P384, Curve::P384),
        (KeyType::P521, Curve::P521),
    ] {
        let key = SoftKey::generate(kind).unwrap();
        assert_eq!(*key.public_key().kind(), KeyKind::Ec(curve));
        for digest in all_digests() {
            round(&key, SignatureAlgorithm::Ecdsa(digest));
        }
    }
    round(
        &SoftKey::generate(KeyType::Ed25519).unwrap(),
        SignatureAlgorithm::Ed25519,
    );
}

#[test]
fn md5_and_foreign_algorithms_are_not_computed() {
    let rsa = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let ec = SoftKey::generate(KeyType::P256).unwrap();
    let ed = SoftKey::generate(KeyType::Ed25519).unwrap();
    let verify = |key: &SoftKey, algorithm| {
        key.public_key()
            .verify(algorithm, b"", &[1; 64])
            .unwrap_err()
    };
    let md5 = DigestAlgorithm::Md5;
    for (key, algorithm) in [
        (&rsa, SignatureAlgorithm::RsaPkcs1(md5)),
        (&rsa, pss(md5, md5, 16)),
        (&rsa, pss(DigestAlgorithm::Sha256, md5, 16)),
        (&ec, SignatureAlgorithm::Ecdsa(md5)),
    ] {
        assert_eq!(verify(key, algorithm), VerifyError::Unsupported);
    }
    let sha256 = DigestAlgorithm::Sha256;
    for (key, algorithm) in [
        (&rsa, SignatureAlgorithm::Ecdsa(sha256)),
        (&rsa, SignatureAlgorithm::Ed25519),
        (&ec, SignatureAlgorithm::RsaPkcs1(sha256)),
        (&ec, SignatureAlgorithm::Ed25519),
        (&ed, SignatureAlgorithm::Ecdsa(sha256)),
    ] {
        assert_eq!(verify(key, algorithm), VerifyError::Mismatch);
        assert_eq!(key.sign(algorithm, b"").unwrap_err(), KeyError::Unsupported);
    }
    assert_eq!(
        ed.public_key()
            .verify_digest(SignatureAlgorithm::Ed25519, &[0; 64], &[0; 64]),
        Err(VerifyError::Unsupported)
    );
}

fn rsa_spki(algorithm: &AlgorithmIdentifier, modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = write::seq(&[write::unsigned(modulus), write::unsigned(exponent)]);
    write::seq(&[algorithm.to_der(), write::bit_string(&key)])
}

fn rsa_encryption() -> AlgorithmIdentifier {
    AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, Some(&write::null()))
}

/// BOMB-07: keys that would be expensive or senseless are refused before any mathematics.
#[test]
fn rsa_keys_out_of_bounds_are_refused() {
    let modulus = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        if !bits.is_multiple_of(8) {
            modulus[0] >>= 8 - bits % 8;
        }
        modulus
    };
    let mut even = modulus(2048);
    *even.last_mut().unwrap() = 0xfe;
    let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
    let cost = |key: &PublicKey, signature: &[u8]| {
        cpu_time(5, || {
            let _ = key.verify(algorithm, b"", signature);
        })
    };
    let e = &[1, 0, 1][..];
    for (modulus, exponent) in [
        (modulus(1023), e),
        (modulus(512), e),
        (modulus(8193), e),
        (modulus(16_384), e),
        (modulus(65_536), e),
        (even, e),
        (modulus(2048), &[2]),
        (modulus(2048), &[1]),
        (modulus(2048), &[]),
        (modulus(2048), &[1, 0, 0, 0, 0]),
        (modulus(2048), &[3, 0, 0, 0, 1]),
        (modulus(2048), &[0xff; 256]),
        (Vec::new(), e),
    ] {
        let key = PublicKey::from_spki(&rsa_spki(&rsa_encryption(), &modulus, exponent)).unwrap();
        let signature = vec![1; modulus.len()];
        assert_eq!(
            key.verify(algorithm, b"", &signature),
            Err(VerifyError::BadKey),
            "{}",
            modulus.len()
        );
        let spent = cost(&key, &signature);
        assert!(spent < Duration::from_millis(1), "{spent:?}");
    }
    // At the edges the mathematics is done, and says no.
    for (bits, exponent) in [
        (1024, e),
        (1025, e),
        (8191, e),
        (8192, e),
        (2048, &[1, 0, 0, 0, 1]),
        (2048, &[3]),
    ] {
        let modulus = modulus(bits);
        let key = PublicKey::from_spki(&rsa_spki(&rsa_encryption(), &modulus, exponent)).unwrap();
        let mut signature = vec![1; modulus.len()];
        signature[0] = 0;
        assert_eq!(
            key.verify(algorithm, b"", &signature),
            Err(VerifyError::BadSignature),
            "{bits}"
        );
        let spent = cost(&key, &signature);
        assert!(spent < Duration::from_millis(10), "{bits}: {spent:?}");
    }
}

/// BOMB-07: a modulus whose two primes are one, (2^1023 + 1)² here, is not told from others by its looks. It costs what
/// any of its size costs.
#[test]
fn a_square_as_a_modulus_costs_no_more() {
    let mut square = vec![0; 256];
    square[0] = 0x40;
    square[127] = 1;
    square[255] = 1;
    let spki = rsa_spki(&rsa_encryption(), &square, &[1, 0, 1]);
    let key = PublicKey::from_spki(&spki).unwrap();
    let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
    let mut signature = vec![1; 256];
    signature[0] = 0;
    assert!(key.verify(algorithm, b"", &signature).is_err());
    let spent = cpu_time(5, || {
        let _ = key.verify(algorithm, b"", &signature);
    });
    assert!(spent < Duration::from_millis(1), "{spent:?}");
}

#[test]
fn a_pss_key_verifies_only_what_it_allows() {
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let Ok(bits) = crate::der::Reader::new(key.public_key().bits())
        .sequence()
        .map(|mut reader| {
            (
                reader.unsigned().unwrap().to_vec(),
                reader.unsigned().unwrap().to_vec(),
            )
        })
    else {
        panic!("a key of RSA is a SEQUENCE");
    };
    let sha256 = DigestAlgorithm::Sha256;
    let restricted = pss(sha256, sha256, 32).to_identifier();
    let open = AlgorithmIdentifier::new(oid::RSASSA_PSS, None);
    let verify = |algorithm: &AlgorithmIdentifier, signature: SignatureAlgorithm| {
        let public = PublicKey::from_spki(&rsa_spki(algorithm, &bits.0, &bits.1)).unwrap();
        assert_eq!(*public.kind(), KeyKind::Rsa { bits: 2048 });
        assert_eq!(public.algorithm(), oid::RSASSA_PSS);
        public.verify(signature, b"m", &key.sign(signature, b"m").unwrap())
    };
    for salt_len in [32, 48, 222] {
        assert_eq!(verify(&restricted, pss(sha256, sha256, salt_len)), Ok(()));
    }
    for other in [
        pss(sha256, sha256, 31),
        pss(DigestAlgorithm::Sha384, sha256, 48),
        pss(sha256, DigestAlgorithm::Sha1, 32),
        SignatureAlgorithm::RsaPkcs1(sha256),
    ] {
        assert_eq!(
            verify(&restricted, other),
            Err(VerifyError::Mismatch),
            "{other:?}"
        );
    }
    assert_eq!(verify(&open, pss(sha256, DigestAlgorithm::Sha1, 0)), Ok(()));
    assert_eq!(
        verify(&open, SignatureAlgorithm::RsaPkcs1(sha256)),
        Err(VerifyError::Mismatch)
    );
}

#[test]
fn keys_that_do_not_read_are_unsupported_and_not_errors() {
    let ec = |curve: &[u8], point: &[u8]| {
        let algorithm = AlgorithmIdentifier::new(oid::EC_PUBLIC_KEY, Some(curve));
        write::seq(&[algorithm.to_der(), write::bit_string(point)])
    };
    let p256 = write::oid(oid::P256);
    for spki in [
        ec(&write::oid("1.3.132.0.10"), &[4; 65]),
        ec(&p256, &[4; 64]),
        ec(&p256, &[5; 65]),
        ec(&p256, &[]),
        ec(&write::seq(&[write::integer(1)]), &[4; 65]),
        write::seq(&[
            AlgorithmIdentifier::new(oid::ED25519, None).to_der(),
            write::bit_string(&[0; 31]),
        ]),
        write::seq(&[
            AlgorithmIdentifier::new(oid::ED448, None).to_der(),
            write::bit_string(&[0; 57]),
        ]),
        write::seq(&[rsa_encryption().to_der(), write::bit_string(b"not a key")]),
    ] {
        let key = PublicKey::from_spki(&spki).unwrap();
        assert!(matches!(key.kind(), KeyKind::Unsupported(_)), "{key:?}");
        let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);
        assert_eq!(
            key.verify(algorithm, b"", b""),
            Err(VerifyError::Unsupported)
        );
    }
    // Whether a point is on the curve is seen when it is used.
    let off = PublicKey::from_spki(&ec(&p256, &[4; 65])).unwrap();
    let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);
    assert_eq!(
        off.verify(algorithm, b"", &[0x30, 6, 2, 1, 1, 2, 1, 1]),
        Err(VerifyError::BadKey)
    );
    assert!(PublicKey::from_spki(&[off.spki(), &[0]].concat()).is_err());
}

#[test]
fn rsa_encryption_without_null_reads_too() {
    let bare = AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, None);
    let key = PublicKey::from_spki(&rsa_spki(&bare, &[0xff; 256], &[1, 0, 1])).unwrap();
    assert_eq!(*key.kind(), KeyKind::Rsa { bits: 2048 });
}

#[test]
fn private_keys_survive_their_encodings() {
    for kind in [
        KeyType::Rsa(2048),
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::Ed25519,
    ] {
        let key = SoftKey::generate(kind).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        for bytes in [
            pkcs8.clone(),
            pem::encode("PRIVATE KEY", &pkcs8).into_bytes(),
        ] {
            let again = SoftKey::from_pem_or_der(&bytes).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            let algorithm = key.default_algorithm();
            let signature = again.sign(algorithm, b"m").unwrap();
            assert_eq!(key.public_key().verify(algorithm, b"m", &signature), Ok(()));
        }
        assert_eq!(
            SoftKey::from_pkcs8(&[&pkcs8[..], &[0]].concat()).unwrap_err(),
            KeyError::Malformed
        );
        assert_eq!(
            SoftKey::from_pkcs8(&pkcs8[1..]).unwrap_err(),
            KeyError::Malformed
        );
        assert!(!format!("{key:?}").contains("private"));
    }
}

#[test]
fn older_key_files_read() {
    // The inner key of PKCS#8 is what the older files hold.
    for (kind, label) in [
        (KeyType::Rsa(2048), "RSA PRIVATE KEY"),
        (KeyType::P384, "EC PRIVATE KEY"),
    ] {
        let key = SoftKey::generate(kind).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let mut reader = crate::der::Reader::new(&pkcs8).sequence().unwrap();
        reader.small().unwrap();
        let algorithm = reader.any().unwrap();
        let mut inner = reader.octet_string().unwrap().to_vec();
        if label.starts_with("EC") {
            let mut curve = algorithm.reader();
            curve.oid().unwrap();
            let mut fields = crate::der::Reader::new(&inner).sequence().unwrap();
            let (version, private) = (fields.any().unwrap(), fields.any().unwrap());
            let parameters = write::explicit(0, curve.any().unwrap().raw);
            inner = write::seq(&[
                version.raw,
                private.raw,
                &parameters,
                fields.any().map_or(&[], |e| e.raw),
            ]);
        }
        let file = format!(
            "{}{}",
            pem::encode("EC PARAMETERS", b"x"),
            pem::encode(label, &inner)
        );
        assert_eq!(
            SoftKey::from_pem_or_der(file.as_bytes())
                .unwrap()
                .public_key(),
            key.public_key()
        );
    }
    assert!(SoftKey::from_pem_or_der(pem::encode("CERTIFICATE", b"x").as_bytes()).is_err());
}

#[test]
fn private_keys_of_pss_read() {
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let pkcs8 = key.to_pkcs8().unwrap();
    let mut reader = crate::der::Reader::new(&pkcs8).sequence().unwrap();
    let version = reader.any().unwrap().raw.to_vec();
    reader.any().unwrap();
    let inner = reader.any().unwrap().raw.to_vec();
    let algorithm = AlgorithmIdentifier::new(oid::RSASSA_PSS, None).to_der();
    let pss_key = SoftKey::from_pkcs8(&write::seq(&[version, algorithm, inner])).unwrap();
    assert_eq!(pss_key.public_key().algorithm(), oid::RSASSA_PSS);
    let algorithm = pss_key.default_algorithm();
    assert_eq!(algorithm.name(), "rsa-pss");
    let signature = pss_key.sign(algorithm, b"m").unwrap();
    for public in [pss_key.public_key(), key.public_key()] {
        assert_eq!(public.verify(algorithm, b"m", &signature), Ok(()));
    }
}

/// RFC 4055 §3.1: by the digests that the key names, and with a salt that is no shorter.
#[test]
fn a_restricted_key_signs_as_it_says() {
    use DigestAlgorithm::{Sha1, Sha256, Sha384, Sha512};
    let pkcs8 = SoftKey::generate(KeyType::Rsa(2048)).unwrap().to_pkcs8();
    let pkcs8 = pkcs8.unwrap();
    let mut reader = crate::der::Reader::new(&pkcs8).sequence().unwrap();
    let version = reader.any().unwrap().raw.to_vec();
    reader.any().unwrap();
    let inner = reader.any().unwrap().raw.to_vec();
    let restricted = |parameters: SignatureAlgorithm| {
        let algorithm = parameters.to_identifier().to_der();
        SoftKey::from_pkcs8(&write::seq(&[version.clone(), algorithm, inner.clone()])).unwrap()
    };
    for (said, signs) in [
        (pss(Sha256, Sha256, 32), pss(Sha256, Sha256, 32)),
        (pss(Sha256, Sha256, 20), pss(Sha256, Sha256, 32)),
        (pss(Sha256, Sha256, 64), pss(Sha256, Sha256, 64)),
        (pss(Sha384, Sha384, 48), pss(Sha384, Sha384, 48)),
        (pss(Sha512, Sha512, 64), pss(Sha512, Sha512, 64)),
        (pss(Sha512, Sha512, 0), pss(Sha512, Sha512, 64)),
    ] {
        let key = restricted(said);
        assert_eq!(key.default_algorithm(), signs, "{said:?}");
        assert_eq!(key.weakness(), None, "{said:?}");
        round(&key, signs);
    }
    for said in [pss(Sha1, Sha1, 20), pss(Sha256, Sha1, 32)] {
        let weakness = restricted(said).weakness();
        assert_eq!(weakness, Some(Weakness::Restriction), "{said:?}");
    }
    // No room for a salt of this length.
    let weakness = restricted(pss(Sha512, Sha512, 240)).weakness();
    assert_eq!(weakness, Some(Weakness::Halves));
}
