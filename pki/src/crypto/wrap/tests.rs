use crate::crypto::{Aes, DigestAlgorithm, MlKem, SigningKey, random};
use crate::oid::Oid;
use crate::testing::hex;

use super::*;

mod hostile;
mod rejection;

const AES: [Aes; 3] = [Aes::Bits128, Aes::Bits192, Aes::Bits256];

fn digests() -> impl Iterator<Item = DigestAlgorithm> {
    DigestAlgorithm::ALL
        .into_iter()
        .filter(|digest| *digest != DigestAlgorithm::Md5)
}

fn generate(kind: KeyType) -> (SoftKey, RejectionSecret) {
    let key = SoftKey::generate(kind).unwrap();
    let rejection = key.rejection_secret().unwrap();
    (key, rejection)
}

/// A key that is read again as one of another algorithm, with its parameters.
fn renamed(key: &SoftKey, algorithm: &AlgorithmIdentifier) -> SoftKey {
    let pkcs8 = key.to_pkcs8().unwrap();
    let mut reader = crate::der::Reader::new(&pkcs8).sequence().unwrap();
    let version = reader.any().unwrap().raw;
    reader.any().unwrap();
    let inner = reader.any().unwrap().raw;
    SoftKey::from_pkcs8(&write::seq(&[version, &algorithm.to_der(), inner])).unwrap()
}

/// Bends every bit of every eighth octet, cuts, and lengthens.
fn bent(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for place in (0..octets.len()).step_by(8).chain([octets.len() - 1]) {
        for bit in [1, 0x80] {
            let mut bent = octets.to_vec();
            bent[place] ^= bit;
            all.push(bent);
        }
    }
    all.push(octets[1..].to_vec());
    all.push(octets[..octets.len() - 1].to_vec());
    all.push([octets, &[0]].concat());
    all.push([&[0][..], octets].concat());
    all.push(Vec::new());
    all
}

#[test]
fn oaep_opens_with_the_parameters_that_it_was_made_with_and_no_others() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let secret = random::secret(32).unwrap();
    for digest in digests() {
        for mgf in digests() {
            for label in [&b""[..], b"label"] {
                let parameters = OaepParameters {
                    digest,
                    mgf,
                    label: label.to_vec(),
                };
                let wrapping = Wrapping::RsaOaep(parameters.clone());
                let mut wrapped = Wrapped::wrap(wrapping, key.public(), &secret).unwrap();
                assert!(wrapped.peer.is_empty());
                let opened = wrapped.unwrap(&key, &rejection, 32);
                assert_eq!(opened.as_ref(), Ok(&secret), "{parameters:?}");
                assert_eq!(wrapped.unwrap(&key, &rejection, 16), Err(OpenError));
                let mut others = [parameters.clone(), parameters.clone(), parameters];
                others[0].label.push(0);
                others[1].digest = match digest {
                    DigestAlgorithm::Sha256 => DigestAlgorithm::Sha3_256,
                    _ => DigestAlgorithm::Sha256,
                };
                others[2].mgf = match mgf {
                    DigestAlgorithm::Sha1 => DigestAlgorithm::Sha224,
                    _ => DigestAlgorithm::Sha1,
                };
                for other in others {
                    wrapped.wrapping = Wrapping::RsaOaep(other);
                    assert_eq!(wrapped.unwrap(&key, &rejection, 32), Err(OpenError));
                }
            }
        }
    }
}

#[test]
fn what_is_bent_does_not_open_by_oaep() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let secret = random::secret(32).unwrap();
    let wrapping = Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256));
    let wrapped = Wrapped::wrap(wrapping, key.public(), &secret).unwrap();
    for encrypted_key in bent(&wrapped.encrypted_key) {
        let wrapped = Wrapped {
            encrypted_key,
            ..wrapped.clone()
        };
        assert_eq!(wrapped.unwrap(&key, &rejection, 32), Err(OpenError));
    }
    let (other, rejection) = generate(KeyType::Rsa(2048));
    assert_eq!(wrapped.unwrap(&other, &rejection, 32), Err(OpenError));
    // MD5 is computed by nobody.
    let mut weak = OaepParameters::new(DigestAlgorithm::Sha256);
    weak.mgf = DigestAlgorithm::Md5;
    let wrapping = Wrapping::RsaOaep(weak);
    let refused = Wrapped::wrap(wrapping.clone(), key.public(), &secret);
    assert_eq!(refused, Err(KeyError::Unsupported));
    let wrapped = Wrapped {
        wrapping,
        ..wrapped
    };
    assert_eq!(wrapped.unwrap(&key, &rejection, 32), Err(OpenError));
}

/// RFC 4055 §4: a key of id-RSAES-OAEP is for that, and by the parameters that it names.
#[test]
fn keys_that_are_for_one_thing_do_no_other() {
    let (key, _) = generate(KeyType::Rsa(2048));
    let sha256 = OaepParameters::new(DigestAlgorithm::Sha256);
    let sha384 = OaepParameters::new(DigestAlgorithm::Sha384);
    let parameters = sha384.to_der();
    let oaep = AlgorithmIdentifier::new(oid::RSAES_OAEP, Some(&parameters));
    let (oaep, pss) = (
        renamed(&key, &oaep),
        renamed(&key, &AlgorithmIdentifier::new(oid::RSASSA_PSS, None)),
    );
    assert_eq!(oaep.public().oaep(), Some(&sha384));
    let secret = random::secret(16).unwrap();
    let rejection = RejectionSecret::random().unwrap();
    for (to, wrapping, works) in [
        (&oaep, Wrapping::RsaOaep(sha384.clone()), true),
        (&oaep, Wrapping::RsaOaep(sha256.clone()), false),
        (&oaep, Wrapping::RsaPkcs1, false),
        (&pss, Wrapping::RsaOaep(sha384.clone()), false),
        (&pss, Wrapping::RsaPkcs1, false),
        (&key, Wrapping::RsaOaep(sha384), true),
        (&key, Wrapping::RsaPkcs1, true),
    ] {
        let made = Wrapped::wrap(wrapping.clone(), to.public(), &secret);
        assert_eq!(made.is_ok(), works, "{wrapping:?}");
        if let Err(error) = made {
            assert_eq!(error, KeyError::Unsupported);
        }
    }
    for (wrapping, opens_by_oaep) in [
        (Wrapping::RsaPkcs1, false),
        (Wrapping::RsaOaep(sha256), true),
    ] {
        let wrapped = Wrapped::wrap(wrapping, key.public(), &secret).unwrap();
        assert_eq!(wrapped.unwrap(&pss, &rejection, 16), Err(OpenError));
        // What somebody sent by other parameters than the key asks for is read all the same.
        let opened = wrapped.unwrap(&oaep, &rejection, 16);
        assert_eq!(opened.is_ok(), opens_by_oaep);
    }
    let message = oaep.sign(oaep.default_algorithm(), b"message");
    assert_eq!(message, Err(KeyError::Unsupported));
}

#[test]
fn key_transport_is_named_as_it_is_read() {
    for wrapping in [
        Wrapping::RsaPkcs1,
        Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha1)),
        Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha512)),
    ] {
        let identifier = wrapping.to_key_transport().unwrap();
        assert_eq!(Wrapping::from_key_transport(&identifier), Ok(wrapping));
    }
    let read = |named: Oid<'_>, parameters: Option<&[u8]>| {
        Wrapping::from_key_transport(&AlgorithmIdentifier::new(named, parameters))
    };
    assert_eq!(read(oid::RSA_ENCRYPTION, None), Ok(Wrapping::RsaPkcs1));
    let bad = |named: Oid<'_>| Err(AlgorithmError::Parameters(named.to_buf()));
    let empty = write::seq::<Vec<u8>>(&[]);
    assert_eq!(
        read(oid::RSA_ENCRYPTION, Some(&empty)),
        bad(oid::RSA_ENCRYPTION)
    );
    // What says OAEP and cannot be read is never taken for PKCS#1 v1.5.
    assert_eq!(read(oid::RSAES_OAEP, None), bad(oid::RSAES_OAEP));
    assert_eq!(
        read(oid::RSAES_OAEP, Some(&write::null())),
        bad(oid::RSAES_OAEP)
    );
    assert_eq!(
        read(oid::RSASSA_PSS, None),
        Err(AlgorithmError::Unsupported(oid::RSASSA_PSS.to_buf()))
    );
    let wrapping = agreement(Kdf::Hkdf(DigestAlgorithm::Sha256), Aes::Bits128);
    assert_eq!(wrapping.to_key_transport(), None);
}

fn agreement(kdf: Kdf, aes: Aes) -> Wrapping {
    Wrapping::Agreement {
        kdf,
        wrap: KeyWrap::Aes(aes),
        shared_info: b"what both know".to_vec(),
    }
}

#[test]
fn agreements_over_every_curve_open_by_every_function() {
    for kind in [KeyType::P256, KeyType::P384, KeyType::P521, KeyType::X25519] {
        let (key, rejection) = generate(kind);
        for digest in digests() {
            for aes in AES {
                for kdf in [Kdf::X963(digest), Kdf::Hkdf(digest)] {
                    let secret = random::secret(aes.key_len()).unwrap();
                    let made = Wrapped::wrap(agreement(kdf, aes), key.public(), &secret);
                    let wrapped = made.unwrap();
                    assert_eq!(wrapped.encrypted_key.len(), secret.len() + 8);
                    let opened = wrapped.unwrap(&key, &rejection, secret.len());
                    assert_eq!(opened, Ok(secret), "{kind:?} {kdf:?} {aes:?}");
                }
            }
        }
    }
}

#[test]
fn an_agreement_that_differs_in_anything_does_not_open() {
    let curves = [KeyType::P256, KeyType::P384, KeyType::P521, KeyType::X25519];
    let kdf = Kdf::X963(DigestAlgorithm::Sha256);
    for kind in curves {
        let (key, rejection) = generate(kind);
        let secret = random::secret(32).unwrap();
        let wrapped = Wrapped::wrap(agreement(kdf, Aes::Bits256), key.public(), &secret).unwrap();
        let fails = |wrapped: &Wrapped| {
            for length in [16, 32] {
                let opened = wrapped.unwrap(&key, &rejection, length);
                assert_eq!(opened, Err(OpenError), "{kind:?}");
            }
        };
        assert_eq!(wrapped.unwrap(&key, &rejection, 16), Err(OpenError));
        for encrypted_key in bent(&wrapped.encrypted_key) {
            fails(&Wrapped {
                encrypted_key,
                ..wrapped.clone()
            });
        }
        for peer in bent(&wrapped.peer) {
            // X25519 does not look at the highest bit (RFC 7748 §5).
            let same = kind == KeyType::X25519
                && peer.len() == 32
                && peer[..31] == wrapped.peer[..31]
                && peer[31] ^ 0x80 == wrapped.peer[31];
            if !same {
                fails(&Wrapped {
                    peer,
                    ..wrapped.clone()
                });
            }
        }
        let other = curves.map(|other| SoftKey::generate(other).unwrap());
        for other in other {
            fails(&Wrapped {
                peer: other.public().bits().to_vec(),
                ..wrapped.clone()
            });
        }
        for wrapping in [
            agreement(Kdf::X963(DigestAlgorithm::Sha384), Aes::Bits256),
            agreement(Kdf::Hkdf(DigestAlgorithm::Sha256), Aes::Bits256),
            agreement(Kdf::X963(DigestAlgorithm::Md5), Aes::Bits256),
            agreement(kdf, Aes::Bits128),
            Wrapping::Agreement {
                kdf,
                wrap: KeyWrap::Aes(Aes::Bits256),
                shared_info: b"what both knew".to_vec(),
            },
            Wrapping::Agreement {
                kdf,
                wrap: KeyWrap::TripleDes,
                shared_info: b"what both know".to_vec(),
            },
            Wrapping::Kem {
                kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
                wrap: KeyWrap::Aes(Aes::Bits256),
                info: b"what both know".to_vec(),
            },
            Wrapping::RsaPkcs1,
            Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256)),
        ] {
            fails(&Wrapped {
                wrapping,
                ..wrapped.clone()
            });
        }
    }
}

/// DEC-16: points of other curves, of none, and of small order agree on nothing.
#[test]
fn points_that_are_none_agree_on_nothing() {
    for (kind, size) in [
        (KeyType::P256, 32),
        (KeyType::P384, 48),
        (KeyType::P521, 66),
    ] {
        let key = SoftKey::generate(kind).unwrap();
        let own = key.public().bits().to_vec();
        let mut off = own.clone();
        *off.last_mut().unwrap() ^= 1;
        let hybrid = [&[6 | (own[2 * size] & 1)][..], &own[1..]].concat();
        for point in [
            off,
            hybrid,
            Vec::new(),
            vec![0],
            vec![0; 1 + 2 * size],
            vec![4],
            [&[4][..], &vec![0; 2 * size]].concat(),
            [&[4][..], &vec![0xff; 2 * size]].concat(),
            [&[2][..], &vec![0xff; size]].concat(),
            own[..2 * size].to_vec(),
            [&own[..], &[0]].concat(),
        ] {
            assert_eq!(key.agree(&point), Err(KeyError::Malformed), "{point:?}");
        }
        // Compressed, it is the same point.
        let compressed = [&[2 | (own[2 * size] & 1)][..], &own[1..=size]].concat();
        assert_eq!(key.agree(&compressed), key.agree(&own));
        assert_eq!(key.agree(&own).unwrap().len(), size);
    }
    let key = SoftKey::generate(KeyType::X25519).unwrap();
    let one = [&[1][..], &[0; 31]].concat();
    for point in [vec![0; 32], one, vec![9; 31], vec![9; 33], Vec::new()] {
        assert_eq!(key.agree(&point), Err(KeyError::Malformed), "{point:?}");
    }
}

#[test]
fn encapsulations_open_by_every_set_and_function() {
    for set in [MlKem::Kem512, MlKem::Kem768, MlKem::Kem1024] {
        let (key, rejection) = generate(KeyType::MlKem(set));
        let wrapping = |digest, aes| Wrapping::Kem {
            kdf: Kdf::Hkdf(digest),
            wrap: KeyWrap::Aes(aes),
            info: b"what both know".to_vec(),
        };
        for digest in digests() {
            for aes in AES {
                let secret = random::secret(aes.key_len()).unwrap();
                let made = Wrapped::wrap(wrapping(digest, aes), key.public(), &secret);
                let wrapped = made.unwrap();
                assert_eq!(wrapped.peer.len(), set.ciphertext_len());
                let opened = wrapped.unwrap(&key, &rejection, secret.len());
                assert_eq!(opened, Ok(secret), "{set:?} {digest:?} {aes:?}");
            }
        }
        let secret = random::secret(32).unwrap();
        let made = wrapping(DigestAlgorithm::Sha256, Aes::Bits256);
        let wrapped = Wrapped::wrap(made, key.public(), &secret).unwrap();
        for encrypted_key in bent(&wrapped.encrypted_key) {
            let wrapped = Wrapped {
                encrypted_key,
                ..wrapped.clone()
            };
            assert_eq!(wrapped.unwrap(&key, &rejection, 32), Err(OpenError));
        }
        for peer in bent(&wrapped.peer) {
            let wrapped = Wrapped {
                peer,
                ..wrapped.clone()
            };
            assert_eq!(wrapped.unwrap(&key, &rejection, 32), Err(OpenError));
        }
        // The secret of a ciphertext that is not of this key is always the same, and another for each (FIPS 203 §6.3).
        let (one, two) = (vec![1; set.ciphertext_len()], vec![2; set.ciphertext_len()]);
        assert_eq!(key.decapsulate(&one), key.decapsulate(&one));
        assert!(key.decapsulate(&one) != key.decapsulate(&two));
    }
}

#[test]
fn keys_do_only_what_their_kind_does() {
    let (rsa, ec, ed, x, kem) = (
        SoftKey::generate(KeyType::Rsa(2048)).unwrap(),
        SoftKey::generate(KeyType::P256).unwrap(),
        SoftKey::generate(KeyType::Ed25519).unwrap(),
        SoftKey::generate(KeyType::X25519).unwrap(),
        SoftKey::generate(KeyType::MlKem(MlKem::Kem512)).unwrap(),
    );
    let unsupported = Err(KeyError::Unsupported);
    for key in [&ec, &ed, &x, &kem] {
        assert_eq!(key.rsa_raw(&[2; 256]), unsupported);
    }
    for key in [&rsa, &ed, &kem] {
        assert_eq!(key.agree(ec.public().bits()), unsupported);
    }
    for key in [&rsa, &ec, &ed, &x] {
        assert_eq!(key.decapsulate(&[2; 768]), unsupported);
    }
    let secret = random::secret(16).unwrap();
    let aes = KeyWrap::Aes(Aes::Bits128);
    let kem_wrapping = Wrapping::Kem {
        kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
        wrap: aes,
        info: Vec::new(),
    };
    let legacy = Wrapping::Agreement {
        kdf: Kdf::X963(DigestAlgorithm::Sha1),
        wrap: KeyWrap::TripleDes,
        shared_info: Vec::new(),
    };
    let agreement = agreement(Kdf::X963(DigestAlgorithm::Sha256), Aes::Bits128);
    for (wrapping, keys) in [
        (Wrapping::RsaPkcs1, vec![&ec, &ed, &x, &kem]),
        (agreement, vec![&rsa, &ed, &kem]),
        (kem_wrapping, vec![&rsa, &ec, &ed, &x]),
        (legacy, vec![&ec, &x]),
    ] {
        for key in keys {
            let made = Wrapped::wrap(wrapping.clone(), key.public(), &secret);
            assert_eq!(made, Err(KeyError::Unsupported), "{wrapping:?} {key:?}");
        }
    }
}

/// The key of Dana in RFC 9216, and a key that was agreed on with it by dhSinglePass-stdDH-hkdf-sha256-scheme and
/// wrapped by AES-256, each step of it computed by another implementation.
#[test]
fn an_agreement_over_x25519_is_the_one_that_others_compute() {
    let key = hex("302e020100300506032b656e04220420\
         6c59b7c2fb958e3c384ab882cfec990e3078385134c9581c6db54ad8af3dfcf7");
    let key = SoftKey::from_pkcs8(&key).unwrap();
    let peer = hex("bccd39392841322786ac048ef35c36e0d54030daf8ad17aaf45432202beb0448");
    let agreed = key.agree(&peer).unwrap();
    let expected = hex("75eeb5b82d5b6465267ddda3e2d7762859ca392b5e806a1a6f04cd0bd89beb79");
    assert_eq!(agreed.expose(), expected);
    let wrapped = Wrapped {
        wrapping: Wrapping::Agreement {
            kdf: Kdf::from_agreement(oid::STD_DH_HKDF_SHA256).unwrap(),
            wrap: KeyWrap::Aes(Aes::Bits256),
            shared_info: hex("3015300b060960864801650304012da206040400000100"),
        },
        encrypted_key: hex("27bc5ce0a386ce1383a945b1bd690071838b1e47262ae8b5"),
        peer,
    };
    let rejection = RejectionSecret::random().unwrap();
    let opened = wrapped.unwrap(&key, &rejection, 16).unwrap();
    assert_eq!(opened.expose(), hex("78ecac3e6b48a69d251c86d4634a204d"));
}

/// RFC 9936, appendix C: from the shared secret of the encapsulation to the content-encryption key.
#[test]
fn an_encapsulated_key_is_the_published_one() {
    let shared = Secret::new(hex(
        "7df12d412ae299a24fde6d7c3bb8e3194c80ad3c733dcf2775e09fe8bedb86d8",
    ));
    let kdf = Kdf::from_hkdf_identifier(&AlgorithmIdentifier::new(oid::HKDF_SHA256, None));
    let info = hex("3010300b0609608648016503040105020110");
    let kek = kdf.unwrap().derive(&shared, &info, 16).unwrap();
    assert_eq!(kek.expose(), hex("cf453a3e2bae0a78701b8206c185a008"));
    let encrypted = hex("c050e4392f9c14dd0ac2220203f317d701f94f9dd92778f5");
    let opened = KeyWrap::Aes(Aes::Bits128).unwrap(&kek, &encrypted, 16);
    assert_eq!(
        opened.unwrap().expose(),
        hex("c5153005588269a0a59f3c01943fdd56")
    );
}
