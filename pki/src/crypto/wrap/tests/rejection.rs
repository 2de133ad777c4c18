//! DEC-05: what RSAES-PKCS1-v1_5 makes of ciphertexts that hold no key.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crypto::{ContentCipher, ContentKind, Opener, Protector};

use super::*;

/// A key that counts what is asked of it.
struct Counting {
    key: SoftKey,
    asked: AtomicUsize,
}

impl DecryptionKey for Counting {
    fn public(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.key.rsa_raw(ciphertext)
    }

    fn agree(&self, _: &[u8]) -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }

    fn decapsulate(&self, _: &[u8]) -> Result<Secret, KeyError> {
        Err(KeyError::Unsupported)
    }
}

fn pkcs1(encrypted_key: Vec<u8>) -> Wrapped {
    Wrapped {
        wrapping: Wrapping::RsaPkcs1,
        encrypted_key,
        peer: Vec::new(),
    }
}

/// A block as it is, encrypted.
fn encrypt_block(key: &SoftKey, block: &[u8]) -> Wrapped {
    let rsa = key.public().rsa_for_encryption().unwrap();
    pkcs1(rsa.key().unwrap().encrypt(block).unwrap())
}

/// The lengths of the keys of all content ciphers that are read.
fn lengths() -> Vec<usize> {
    let mut all = vec![
        ContentCipher::TripleDesCbc { iv: [0; 8] },
        ContentCipher::Rc2Cbc {
            effective_bits: 40,
            iv: [0; 8],
        },
        ContentCipher::Rc2Cbc {
            effective_bits: 64,
            iv: [0; 8],
        },
        ContentCipher::Rc2Cbc {
            effective_bits: 128,
            iv: [0; 8],
        },
    ];
    for aes in AES {
        for kind in [ContentKind::AesCbc(aes), ContentKind::AesGcm(aes)] {
            all.push(ContentCipher::fresh(kind).unwrap().0);
        }
    }
    all.push(
        ContentCipher::fresh(ContentKind::ChaCha20Poly1305)
            .unwrap()
            .0,
    );
    all.iter().map(ContentCipher::key_len).collect()
}

#[test]
fn keys_of_every_content_cipher_open() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    for length in lengths() {
        let secret = random::secret(length).unwrap();
        let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, key.public(), &secret).unwrap();
        assert_eq!(wrapped.unwrap(&key, &rejection, length), Ok(secret));
    }
}

/// Every way in which a ciphertext can be none.
fn probes(key: &SoftKey) -> Vec<(&'static str, Wrapped)> {
    let good = |place: usize, octet: u8| {
        let mut block = [&[0, 2][..], &[0xa5; 221], &[0], &[7; 32]].concat();
        block[place] = octet;
        encrypt_block(key, &block)
    };
    let modulus = key.public().rsa_for_encryption().unwrap().modulus();
    let number = |last: u8| [&[0; 255][..], &[last]].concat();
    let mut below = modulus.to_vec();
    *below.last_mut().unwrap() -= 1;
    let secret = Secret::new(vec![7; 32]);
    let oaep = Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256));
    let oaep = Wrapped::wrap(oaep, key.public(), &secret).unwrap();
    let (short, long) = (Secret::new(vec![7; 31]), Secret::new(vec![7; 33]));
    let wrap = |secret: &Secret| Wrapped::wrap(Wrapping::RsaPkcs1, key.public(), secret).unwrap();
    let whole = wrap(&secret).encrypted_key;
    vec![
        ("the first octet", good(0, 1)),
        ("block type 0", good(1, 0)),
        ("block type 1", good(1, 1)),
        ("a zero in the first of the padding", good(2, 0)),
        ("a zero in the eighth of the padding", good(9, 0)),
        ("a zero in the ninth of the padding", good(10, 0)),
        ("a zero in the last of the padding", good(222, 0)),
        ("no zero before the key", good(223, 1)),
        ("a key that is shorter by one", wrap(&short)),
        ("a key that is longer by one", wrap(&long)),
        ("no key", wrap(&Secret::new(Vec::new()))),
        ("OAEP", pkcs1(oaep.encrypted_key)),
        ("random octets", pkcs1(number(0x35))),
        ("nothing", pkcs1(Vec::new())),
        ("zero", pkcs1(number(0))),
        ("one", pkcs1(number(1))),
        ("two", pkcs1(number(2))),
        ("the modulus less one", pkcs1(below)),
        ("the modulus", pkcs1(modulus.to_vec())),
        ("ones", pkcs1(vec![0xff; 256])),
        ("an octet less", pkcs1(whole[1..].to_vec())),
        ("an octet more", pkcs1([&[0][..], &whole].concat())),
        ("much more", pkcs1(vec![1; 100_000])),
    ]
}

#[test]
fn what_holds_no_key_gives_the_same_other_key_each_time() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let (other, _) = generate(KeyType::Rsa(2048));
    // The block that is bent to make the others does hold a key.
    let good = encrypt_block(&key, &[&[0, 2][..], &[0xa5; 221], &[0], &[7; 32]].concat());
    assert_eq!(good.unwrap(&key, &rejection, 32).unwrap().expose(), [7; 32]);
    let mut seen = HashSet::new();
    for (what, wrapped) in probes(&key) {
        let first = wrapped.unwrap(&key, &rejection, 32).unwrap();
        assert_eq!(wrapped.unwrap(&key, &rejection, 32), Ok(first), "{what}");
        // Also by the same key that was read again, and its secret made again.
        let again = SoftKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        let second = again.rejection_secret().unwrap();
        let first = wrapped.unwrap(&key, &rejection, 32).unwrap();
        assert_eq!(wrapped.unwrap(&again, &second, 32), Ok(first), "{what}");
        for length in HashSet::<usize>::from_iter(lengths()) {
            let made = wrapped.unwrap(&key, &rejection, length).unwrap();
            assert_eq!(made.len(), length, "{what}");
            // Also no length is the beginning of another.
            let mut start = made.expose().to_vec();
            start.truncate(5);
            assert!(seen.insert(start), "{what}");
        }
        // Another key, and another secret of the same key, give another.
        for (key, secret) in [
            (&other, other.rejection_secret().unwrap()),
            (&key, RejectionSecret::random().unwrap()),
        ] {
            let made = wrapped.unwrap(key, &secret, 32).unwrap();
            assert!(seen.insert(made.expose()[..5].to_vec()), "{what}");
        }
    }
}

/// A ciphertext that holds a key of another length than the content wants holds none.
#[test]
fn a_key_of_another_length_is_none() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let all: HashSet<usize> = lengths().into_iter().collect();
    for held in &all {
        let secret = random::secret(*held).unwrap();
        let wrapped = Wrapped::wrap(Wrapping::RsaPkcs1, key.public(), &secret).unwrap();
        for wanted in &all {
            let opened = wrapped.unwrap(&key, &rejection, *wanted).unwrap();
            let instead = rejection.key(&wrapped.encrypted_key, *wanted).unwrap();
            let expected = if held == wanted { &secret } else { &instead };
            assert_eq!(opened, *expected);
        }
    }
}

/// The private key is used once for every ciphertext, whatever it holds.
#[test]
fn the_work_is_the_same_for_all() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let secret = random::secret(32).unwrap();
    let good = Wrapped::wrap(Wrapping::RsaPkcs1, key.public(), &secret).unwrap();
    let mut probes = probes(&key);
    probes.push(("good", good));
    let counting = Counting {
        key,
        asked: AtomicUsize::new(0),
    };
    for (what, wrapped) in probes {
        wrapped.unwrap(&counting, &rejection, 32).unwrap();
        assert_eq!(counting.asked.swap(0, Ordering::Relaxed), 1, "{what}");
    }
}

#[test]
fn nothing_opens_with_a_key_that_was_made_instead() {
    let (key, rejection) = generate(KeyType::Rsa(2048));
    let (cipher, content_key) = ContentCipher::fresh(ContentKind::AesGcm(Aes::Bits256)).unwrap();
    let mut encrypted = Vec::new();
    let mut protector = Protector::new(&cipher, &content_key, b"").unwrap();
    protector.update(b"content", &mut encrypted);
    let tag = protector.finish(&mut encrypted).unwrap();
    for (what, wrapped) in probes(&key) {
        let made = wrapped.unwrap(&key, &rejection, 32).unwrap();
        let mut out = Vec::new();
        let mut opener = Opener::new(&cipher, &made, b"").unwrap();
        opener.update(&encrypted, &mut out);
        let ended = opener.finish(tag.as_deref(), &mut out);
        assert_eq!(ended, Err(OpenError), "{what}");
    }
}

#[test]
fn a_kept_secret_is_the_secret_that_it_was() {
    let (key, _) = generate(KeyType::Rsa(2048));
    let secret = RejectionSecret::random().unwrap();
    let kept = Secret::new(secret.secret().expose().to_vec());
    let again = RejectionSecret::from_secret(kept).unwrap();
    let wrapped = pkcs1(vec![9; 256]);
    assert_eq!(
        wrapped.unwrap(&key, &secret, 16),
        wrapped.unwrap(&key, &again, 16)
    );
    for length in [0, 16, 31, 33, 64] {
        let error = RejectionSecret::from_secret(Secret::new(vec![1; length])).err();
        assert_eq!(error, Some(KeyError::Malformed));
    }
}
