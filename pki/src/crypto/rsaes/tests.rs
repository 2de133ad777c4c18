use proptest::prelude::*;

use crate::crypto::random;
use crate::testing::hex;

use super::*;

fn digests() -> impl Iterator<Item = DigestAlgorithm> {
    DigestAlgorithm::ALL
        .into_iter()
        .filter(|digest| *digest != DigestAlgorithm::Md5)
}

#[test]
fn parameters_of_oaep_survive() {
    for digest in digests() {
        for mgf in digests() {
            for label in [&b""[..], b"label", &[0; 300]] {
                let parameters = OaepParameters {
                    digest,
                    mgf,
                    label: label.to_vec(),
                };
                let again = OaepParameters::from_der(&parameters.to_der());
                assert_eq!(again, Ok(parameters));
            }
        }
    }
}

#[test]
fn parameters_of_oaep_are_written_as_rfc_4055_has_them() {
    let sha1 = OaepParameters::new(DigestAlgorithm::Sha1);
    assert_eq!(sha1.to_der(), hex("3000"));
    let sha256 = OaepParameters::new(DigestAlgorithm::Sha256);
    let der = hex("302f a00f 300d0609608648016503040201 0500 \
              a11c 301a06092a864886f70d010108 300d0609608648016503040201 0500");
    assert_eq!(sha256.to_der(), der);
    // Defaults that are written out, and digests without NULL, are no DER, and senders write them.
    let spelled = hex(
        "3038 a009 300706052b0e03021a a116 301406092a864886f70d010108 300706052b0e03021a \
              a213 301106092a864886f70d010109 04047a7a7a7a",
    );
    let read = OaepParameters::from_der(&spelled).unwrap();
    assert_eq!(
        (read.digest, read.mgf, &*read.label),
        (sha1.digest, sha1.mgf, &b"zzzz"[..])
    );
}

#[test]
fn other_parameters_of_oaep_are_refused() {
    let identifier =
        |named, parameters: Option<&[u8]>| AlgorithmIdentifier::new(named, parameters).to_der();
    let null = write::null();
    let digest = |named| identifier(named, Some(&null));
    let sha256 = digest(oid::SHA256);
    let mgf = |named, inner: &[u8]| identifier(named, Some(inner));
    let field = |number: u8, inner: &[u8]| write::seq(&[write::explicit(number, inner)]);
    let bad = || AlgorithmError::Parameters(oid::RSAES_OAEP.to_buf());
    for (der, expected) in [
        (Vec::new(), bad()),
        (null.clone(), bad()),
        (write::octet_string(b""), bad()),
        ([write::seq::<Vec<u8>>(&[]), null.clone()].concat(), bad()),
        (write::seq(&[&null]), bad()),
        (field(3, &sha256), bad()),
        (field(0, &null), bad()),
        (field(0, &[&sha256[..], &null].concat()), bad()),
        (
            field(0, &digest(oid::MD5)),
            AlgorithmError::Unsupported(oid::MD5.to_buf()),
        ),
        (
            field(0, &digest(oid::CMS_DATA)),
            AlgorithmError::Unsupported(oid::CMS_DATA.to_buf()),
        ),
        (
            field(0, &identifier(oid::SHA256, Some(&write::integer(1)))),
            AlgorithmError::Parameters(oid::SHA256.to_buf()),
        ),
        (field(1, &identifier(oid::MGF1, None)), bad()),
        (field(1, &mgf(oid::MGF1, &null)), bad()),
        (
            field(1, &mgf(oid::MGF1, &digest(oid::MD5))),
            AlgorithmError::Unsupported(oid::MD5.to_buf()),
        ),
        (
            field(1, &mgf(oid::SHA256, &sha256)),
            AlgorithmError::Unsupported(oid::SHA256.to_buf()),
        ),
        (field(2, &identifier(oid::P_SPECIFIED, None)), bad()),
        (field(2, &mgf(oid::P_SPECIFIED, &null)), bad()),
        (
            field(2, &mgf(oid::CMS_DATA, &write::octet_string(b""))),
            AlgorithmError::Unsupported(oid::CMS_DATA.to_buf()),
        ),
        // The second before the first.
        (
            write::seq(&[
                write::explicit(1, &mgf(oid::MGF1, &sha256)),
                write::explicit(0, &sha256),
            ]),
            bad(),
        ),
    ] {
        assert_eq!(OaepParameters::from_der(&der), Err(expected), "{der:?}");
    }
}

/// 00 02, padding, 00, message.
fn pkcs1_block(size: usize, message: &[u8]) -> Vec<u8> {
    let padding = size - message.len() - 3;
    [&[0, 2][..], &vec![0xa5; padding], &[0], message].concat()
}

#[test]
fn blocks_of_pkcs1_are_read_where_each_octet_is_in_its_place() {
    let message: Vec<u8> = (0..16).collect();
    let instead = || Secret::new(vec![0x77; 16]);
    let read = |block: &[u8], usable: bool| {
        let read = pkcs1_or(&Secret::new(block.to_vec()), usable, &instead());
        read.expose().to_vec()
    };
    for size in [27, 28, 64, 128, 256, 1024] {
        let good = pkcs1_block(size, &message);
        assert_eq!(read(&good, true), message, "{size}");
        assert_eq!(read(&good, false), instead().expose(), "{size}");
        for place in 0..size {
            let mut bent = good.clone();
            bent[place] ^= 0xa5;
            let expected = match place {
                // The padding is zero there now, or the two first octets and the last zero are not what they were.
                _ if place < size - 16 => instead().expose().to_vec(),
                _ => bent[size - 16..].to_vec(),
            };
            assert_eq!(read(&bent, true), expected, "{size} {place}");
        }
        // Other octets of the padding are as good as these.
        for octet in 1..=u8::MAX {
            let mut other = good.clone();
            other[2..size - 17].fill(octet);
            assert_eq!(read(&other, true), message);
        }
        // Every other octet in the three places that have one.
        for (place, right) in [(0, 0), (1, 2), (size - 17, 0)] {
            for octet in (0..=u8::MAX).filter(|octet| *octet != right) {
                let mut other = good.clone();
                other[place] = octet;
                assert_eq!(read(&other, true), instead().expose());
            }
        }
        // A message that is shorter or longer by one.
        for length in [0, 1, 15, 17] {
            if size < length + 11 {
                continue;
            }
            let other = pkcs1_block(size, &vec![0x33; length]);
            assert_eq!(read(&other, true), instead().expose(), "{size} {length}");
        }
    }
    // Seven octets of padding are too few.
    assert_eq!(read(&pkcs1_block(26, &message), true), instead().expose());
}

/// EME-OAEP encoding (RFC 8017 §7.1.1, step 2), with what may be wrong in it as its own argument.
fn oaep_block(
    size: usize,
    parameters: &OaepParameters,
    message: &[u8],
    bend: impl Fn(&mut u8, &mut [u8]),
) -> Secret {
    let hash = parameters.digest.digest(&parameters.label);
    let length = size - 1 - hash.as_ref().len();
    let zeros = length - hash.as_ref().len() - 1 - message.len();
    let mut data = [hash.as_ref(), &vec![0; zeros], &[1], message].concat();
    let mut first = 0;
    bend(&mut first, &mut data);
    let seed = random::secret(hash.as_ref().len()).unwrap();
    let mut masked = mask(parameters.mgf, seed.expose(), length);
    apply(&mut masked, &data);
    let mut masked_seed = mask(parameters.mgf, &masked, hash.as_ref().len());
    apply(&mut masked_seed, seed.expose());
    Secret::new([&[first][..], &masked_seed, &masked].concat())
}

#[test]
fn blocks_of_oaep_are_read_where_each_octet_is_in_its_place() {
    let message: Vec<u8> = (0..32).collect();
    for digest in digests() {
        for mgf in digests() {
            let parameters = OaepParameters {
                digest,
                mgf,
                label: b"label".to_vec(),
            };
            let read = |bend: &dyn Fn(&mut u8, &mut [u8]), length: usize| {
                let block = oaep_block(256, &parameters, &message, bend);
                oaep(&block, &parameters, length).map(|read| read.expose().to_vec())
            };
            assert_eq!(read(&|_, _| (), 32), Some(message.clone()));
            for length in [0, 1, 31, 33, 200, 256, 1000] {
                assert_eq!(read(&|_, _| (), length), None, "{length}");
            }
            assert_eq!(read(&|first, _| *first = 1, 32), None);
            assert_eq!(read(&|first, _| *first = 0x80, 32), None);
            let data_len = 255 - digest.size();
            for place in 0..data_len - 32 {
                for bit in [1, 0x80] {
                    let bent = read(&|_, data: &mut [u8]| data[place] ^= bit, 32);
                    assert_eq!(bent, None, "{digest:?} {mgf:?} {place}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_block_makes_a_panic(
        block in proptest::collection::vec(any::<u8>(), 0..300),
        length in 0_usize..300,
        digest in proptest::sample::select(digests().collect::<Vec<_>>()),
        usable in any::<bool>(),
    ) {
        let block = Secret::new(block);
        let instead = Secret::new(vec![9; length]);
        prop_assert_eq!(pkcs1_or(&block, usable, &instead).len(), length);
        prop_assert!(oaep(&block, &OaepParameters::new(digest), length).is_none());
    }
}

/// RFC 8017 §7.2.1: EM = 00 02 PS 00 M, no octet of PS is 0, and there are eight at least.
#[test]
fn a_message_is_padded_to_the_modulus() {
    let message = Secret::new(vec![0; 32]);
    let mut seen = std::collections::HashSet::new();
    for size in [43, 44, 128, 256, 1024, 2048] {
        // So often that some draws hold more zeros than there is to spare.
        for _ in 0..200 {
            let block = pkcs1(&message, size).unwrap();
            let [0, 2, padding @ ..] = block.expose() else {
                panic!("{size}")
            };
            assert_eq!(padding.len() + 2, size);
            let (padding, rest) = padding.split_at(size - 35);
            assert!(padding.iter().all(|octet| *octet != 0), "{size}");
            assert_eq!(rest, [0; 33]);
            seen.insert(padding.to_vec());
            let instead = Secret::new(vec![1; 32]);
            assert!(pkcs1_or(&block, true, &instead) == message);
        }
    }
    assert_eq!(seen.len(), 6 * 200);
    for size in [0, 2, 35, 42] {
        assert!(pkcs1(&message, size).is_err(), "{size}");
    }
}
