use proptest::prelude::*;

use crate::crypto::{Aes, ContentKind};
use crate::testing::hex;

use super::*;

/// All kinds that are written.
fn kinds() -> Vec<ContentKind> {
    let sizes = [Aes::Bits128, Aes::Bits192, Aes::Bits256];
    let cbc = sizes.into_iter().map(ContentKind::AesCbc);
    let gcm = sizes.into_iter().map(ContentKind::AesGcm);
    cbc.chain(gcm)
        .chain([ContentKind::ChaCha20Poly1305])
        .collect()
}

fn protect(
    cipher: &ContentCipher,
    key: &Secret,
    aad: &[u8],
    content: &[u8],
) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut out = Vec::new();
    let mut protector = Protector::new(cipher, key, aad).unwrap();
    protector.update(content, &mut out);
    let tag = protector.finish(&mut out).unwrap();
    (out, tag)
}

fn open(
    cipher: &ContentCipher,
    key: &Secret,
    aad: &[u8],
    encrypted: &[u8],
    tag: Option<&[u8]>,
) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    let mut opener = Opener::new(cipher, key, aad)?;
    opener.update(encrypted, &mut out);
    opener.finish(tag, &mut out)?;
    Ok(out)
}

/// What is encrypted with CBC, as its octets are: no padding is put on.
fn raw_cbc(cipher: &ContentCipher, key: &Secret, blocks: &[u8]) -> Vec<u8> {
    // The padding makes one block more, and changes nothing before it.
    let (mut out, _) = protect(cipher, key, b"", blocks);
    out.truncate(blocks.len());
    out
}

#[test]
fn gcm_has_the_published_answers() {
    let key = hex("feffe9928665731c6d6a8f9467308308");
    let content = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let usual = "cafebabefacedbaddecaf888";
    // McGrew and Viega, The Galois/Counter Mode of Operation, test cases 4, 5, 10 and 16.
    for (aes, nonce, encrypted, tag) in [
        (
            Aes::Bits128,
            usual,
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            Aes::Bits128,
            "cafebabefacedbad",
            "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423\
             73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
            "3612d2e79e3b0785561be14aaca2fccb",
        ),
        (
            Aes::Bits192,
            usual,
            "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c\
             7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
            "2519498e80f1478f37ba55bd6d27618c",
        ),
        (
            Aes::Bits256,
            usual,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ] {
        let key = Secret::new(key.iter().copied().cycle().take(aes.key_len()).collect());
        for tag_len in 12..=16 {
            let cipher = ContentCipher::AesGcm {
                aes,
                nonce: hex(nonce),
                tag_len,
            };
            let tag = hex(tag)[..usize::from(tag_len)].to_vec();
            let made = protect(&cipher, &key, &aad, &content);
            assert_eq!(made, (hex(encrypted), Some(tag.clone())));
            let opened = open(&cipher, &key, &aad, &hex(encrypted), Some(&tag));
            assert_eq!(opened.unwrap(), content);
        }
    }
}

/// RFC 8439 §2.8.2.
#[test]
fn chacha20_poly1305_has_the_published_answer() {
    let content = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                    for the future, sunscreen would be it.";
    let encrypted = hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
         3ff4def08e4b7a9de576d26586cec64b6116",
    );
    let tag = hex("1ae10b594f09e26a7e902ecbd0600691");
    let key = Secret::new((0x80..0xa0).collect());
    let cipher = ContentCipher::ChaCha20Poly1305 {
        nonce: hex("070000004041424344454647").try_into().unwrap(),
    };
    let aad = hex("50515253c0c1c2c3c4c5c6c7");
    let made = protect(&cipher, &key, &aad, content);
    assert_eq!(made, (encrypted.clone(), Some(tag.clone())));
    let opened = open(&cipher, &key, &aad, &encrypted, Some(&tag)).unwrap();
    assert_eq!(opened, content);
}

/// NIST SP 800-38A §F.2: the first two blocks of each, and a block of padding.
#[test]
fn cbc_has_the_published_answers() {
    let content = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    for (aes, key, encrypted) in [
        (
            Aes::Bits128,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
             55e21d7100b988ffec32feeafaf23538",
        ),
        (
            Aes::Bits192,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a\
             c81ca99c3a1e883fa8d834316a2275ec",
        ),
        (
            Aes::Bits256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
             3a3aa5e0213db1a9901f9036cf5102d2",
        ),
    ] {
        let iv = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let cipher = ContentCipher::AesCbc { aes, iv };
        let key = Secret::new(hex(key));
        assert_eq!(
            protect(&cipher, &key, b"", &content),
            (hex(encrypted), None)
        );
        let opened = open(&cipher, &key, b"", &hex(encrypted), None).unwrap();
        assert_eq!(opened, content);
    }
}

/// Made by `openssl enc` with its legacy provider.
#[test]
fn legacy_ciphers_are_read_and_not_written() {
    let iv = [1, 2, 3, 4, 5, 6, 7, 8];
    for (cipher, key, encrypted) in [
        (
            ContentCipher::TripleDesCbc {
                iv: hex("1234567890abcdef").try_into().unwrap(),
            },
            "0123456789abcdef23456789abcdef01456789abcdef0123",
            "97032fbf9053af3b2de9a1684e314ba063f67aa98b20c2cd26de36a17ba95dab8a9010830dc5f7cc",
        ),
        (
            ContentCipher::Rc2Cbc {
                effective_bits: 40,
                iv,
            },
            "8877665544",
            "5ff4020590a9ea84989005f73ae28dfcea1ae1ea977e9d271024e842df5e0de8dadb7e109be4530c",
        ),
        (
            ContentCipher::Rc2Cbc {
                effective_bits: 64,
                iv,
            },
            "8877665544332211",
            "3c780dc0cd0470943348856c2135a1120f659324f3d303ab809e134da3c5028ed24ab701d00d45b8",
        ),
        (
            ContentCipher::Rc2Cbc {
                effective_bits: 128,
                iv,
            },
            "88bca90e90875a7f0f79c384627bafb2",
            "b64e0d4ef3d5c2eb27f679fc4910af50b0337d0809c1b2d1eea9d023f711b3144970df732fb651b0",
        ),
    ] {
        let (key, encrypted) = (Secret::new(hex(key)), hex(encrypted));
        let opened = open(&cipher, &key, b"", &encrypted, None).unwrap();
        assert_eq!(opened, b"a message of more than one block");
        let error = Protector::new(&cipher, &key, b"").err();
        assert_eq!(error, Some(KeyError::Unsupported));
    }
}

#[test]
fn contents_of_every_length_open_in_pieces_of_every_size() {
    for kind in kinds() {
        let (cipher, key) = ContentCipher::fresh(kind).unwrap();
        let aad: &[u8] = if cipher.is_aead() { b"beside" } else { b"" };
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 64, 65, 1000] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let (encrypted, tag) = protect(&cipher, &key, aad, &content);
            for size in [1, 7, 16, 17, 64, 2000] {
                let mut out = b"before".to_vec();
                let mut opener = Opener::new(&cipher, &key, aad).unwrap();
                for piece in encrypted.chunks(size) {
                    opener.update(piece, &mut out);
                    opener.update(b"", &mut out);
                }
                opener.finish(tag.as_deref(), &mut out).unwrap();
                assert_eq!(out, [&b"before"[..], &content].concat(), "{kind:?}");
            }
        }
    }
}

#[test]
fn every_cut_and_every_bit_is_seen_where_there_is_a_tag() {
    for kind in kinds() {
        let (cipher, key) = ContentCipher::fresh(kind).unwrap();
        if !cipher.is_aead() {
            continue;
        }
        let (encrypted, tag) = protect(&cipher, &key, b"aad", b"twenty octets of it.");
        let tag = tag.unwrap();
        let refused = |aad: &[u8], encrypted: &[u8], tag: &[u8]| {
            assert_eq!(
                open(&cipher, &key, aad, encrypted, Some(tag)),
                Err(OpenError),
                "{kind:?}"
            );
        };
        for bit in 0..encrypted.len() * 8 {
            let mut bent = encrypted.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            refused(b"aad", &bent, &tag);
        }
        for bit in 0..tag.len() * 8 {
            let mut bent = tag.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            refused(b"aad", &encrypted, &bent);
        }
        for end in 0..tag.len() {
            refused(b"aad", &encrypted, &tag[..end]);
        }
        for end in 0..encrypted.len() {
            refused(b"aad", &encrypted[..end], &tag);
        }
        refused(b"aae", &encrypted, &tag);
        refused(b"", &encrypted, &tag);
        refused(b"aad", &encrypted, &[&tag[..], &[0]].concat());
        assert_eq!(
            open(&cipher, &key, b"aad", &encrypted, None),
            Err(OpenError)
        );
    }
}

#[test]
fn padding_of_every_wrong_form_is_refused() {
    let (cipher, key) = ContentCipher::fresh(ContentKind::AesCbc(Aes::Bits256)).unwrap();
    let opens = |blocks: &[u8]| open(&cipher, &key, b"", &raw_cbc(&cipher, &key, blocks), None);
    for count in 0..=u8::MAX {
        // All octets of the block say the same number.
        let block = [[7; 16], [count; 16]].concat();
        let length = 32_usize.saturating_sub(usize::from(count));
        let expected = match count {
            1..=16 => Ok(block[..length].to_vec()),
            _ => Err(OpenError),
        };
        assert_eq!(opens(&block), expected, "{count}");
    }
    for count in 2..=16_u8 {
        let mut block = [7; 16];
        let start = 16 - usize::from(count);
        block[start..].fill(count);
        assert_eq!(opens(&block), Ok(vec![7; start]), "{count}");
        for wrong in start..15 {
            let mut bent = block;
            bent[wrong] ^= 1;
            assert_eq!(opens(&bent), Err(OpenError), "{count} {wrong}");
        }
    }
    // Nothing at all, and what is no whole block.
    let (encrypted, _) = protect(&cipher, &key, b"", b"content");
    for end in 0..encrypted.len() {
        assert_eq!(
            open(&cipher, &key, b"", &encrypted[..end], None),
            Err(OpenError)
        );
    }
    assert_eq!(
        open(&cipher, &key, b"", &encrypted, Some(&[0; 16])),
        Err(OpenError)
    );
}

/// Of the last block nothing is given away before its padding was seen.
#[test]
fn the_last_block_is_held_back() {
    let (cipher, key) = ContentCipher::fresh(ContentKind::AesCbc(Aes::Bits128)).unwrap();
    let mut encrypted = raw_cbc(&cipher, &key, &[77; 48]);
    let mut out = Vec::new();
    let mut opener = Opener::new(&cipher, &key, b"").unwrap();
    for (fed, given) in [(16, 0), (8, 0), (8, 16), (16, 32)] {
        let piece: Vec<u8> = encrypted.drain(..fed).collect();
        opener.update(&piece, &mut out);
        assert_eq!(out.len(), given);
    }
    assert_eq!(opener.finish(None, &mut out), Err(OpenError));
    assert_eq!(out.len(), 32);
}

#[test]
fn what_does_not_fit_the_cipher_is_refused_before_anything_is_opened() {
    let nonce = vec![1; 12];
    let gcm = |nonce: &[u8], tag_len| ContentCipher::AesGcm {
        aes: Aes::Bits128,
        nonce: nonce.to_vec(),
        tag_len,
    };
    let cbc = ContentCipher::AesCbc {
        aes: Aes::Bits128,
        iv: [0; 16],
    };
    let rc2 = |effective_bits| ContentCipher::Rc2Cbc {
        effective_bits,
        iv: [0; 8],
    };
    for (cipher, key_len, aad) in [
        (gcm(&nonce, 11), 16, &b""[..]),
        (gcm(&nonce, 17), 16, b""),
        (gcm(&nonce, 1), 16, b""),
        (gcm(b"", 16), 16, b""),
        (gcm(&[1; 17], 16), 16, b""),
        (gcm(&nonce, 16), 24, b""),
        (gcm(&nonce, 16), 0, b""),
        (cbc.clone(), 15, b""),
        (cbc.clone(), 32, b""),
        (cbc, 16, b"authenticated by nobody"),
        (rc2(0), 0, b""),
        (rc2(48), 6, b""),
        (rc2(40), 16, b""),
    ] {
        let key = Secret::new(vec![3; key_len]);
        assert!(
            Opener::new(&cipher, &key, aad).is_err(),
            "{cipher:?} {key_len}"
        );
        assert!(
            Protector::new(&cipher, &key, aad).is_err(),
            "{cipher:?} {key_len}"
        );
    }
}

/// KEY-05: nonces do not come twice.
#[test]
fn keys_and_nonces_are_fresh() {
    for kind in kinds() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let (cipher, key) = ContentCipher::fresh(kind).unwrap();
            assert_eq!(key.len(), cipher.key_len());
            assert!(seen.insert(cipher.to_identifier().to_der()), "{kind:?}");
            assert!(seen.insert(key.expose().to_vec()), "{kind:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_octets_make_the_opener_panic(
        encrypted in proptest::collection::vec(any::<u8>(), 0..100),
        tag in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        kind in proptest::sample::select(kinds()),
    ) {
        let (cipher, key) = ContentCipher::fresh(kind).unwrap();
        let opened = open(&cipher, &key, b"", &encrypted, tag.as_deref());
        prop_assert!(opened.is_err() || !cipher.is_aead());
    }
}
