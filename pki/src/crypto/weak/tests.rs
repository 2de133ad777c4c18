use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::{KeyError, KeyType, MlDsa, MlKem, SignatureAlgorithm};
use crate::der::{Reader, write};
use crate::oid::{self, Oid};
use crate::testing::hex;

use super::*;

/// A key of an RSA modulus and exponent, as the library would read it.
fn rsa(modulus: &[u8], exponent: &[u8]) -> PublicKey {
    let algorithm = AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, Some(&write::null()));
    let numbers = write::seq(&[write::unsigned(modulus), write::unsigned(exponent)]);
    public(&algorithm, &numbers)
}

fn public(algorithm: &AlgorithmIdentifier, bits: &[u8]) -> PublicKey {
    PublicKey::from_spki(&write::seq(&[algorithm.to_der(), write::bit_string(bits)])).unwrap()
}

/// The modulus of a good key.
fn modulus(key: &SoftKey) -> Vec<u8> {
    let mut numbers = Reader::new(key.public().bits()).sequence().unwrap();
    numbers.unsigned().unwrap().to_vec()
}

#[test]
fn new_keys_of_every_kind_are_good() {
    for kind in [
        KeyType::Rsa(2048),
        KeyType::Rsa(3072),
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::Ed25519,
        KeyType::X25519,
        KeyType::MlKem(MlKem::Kem512),
        KeyType::MlKem(MlKem::Kem768),
        KeyType::MlKem(MlKem::Kem1024),
        KeyType::MlDsa(MlDsa::Dsa44),
        KeyType::MlDsa(MlDsa::Dsa65),
        KeyType::MlDsa(MlDsa::Dsa87),
    ] {
        let key = SoftKey::generate(kind).unwrap();
        assert_eq!(key.weakness(), None, "{kind:?}");
        assert_eq!(key.public().weakness(), None, "{kind:?}");
    }
}

#[test]
fn keys_that_are_for_one_thing_only_are_good() {
    let key = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let pkcs8 = key.to_pkcs8().unwrap();
    let mut reader = Reader::new(&pkcs8).sequence().unwrap();
    let version = reader.any().unwrap().raw;
    reader.any().unwrap();
    let inner = reader.any().unwrap().raw;
    for named in [oid::RSASSA_PSS, oid::RSAES_OAEP] {
        let algorithm = AlgorithmIdentifier::new(named, None).to_der();
        let only = SoftKey::from_pkcs8(&write::seq(&[version, &algorithm, inner])).unwrap();
        assert_eq!(only.public().algorithm(), named);
        assert_eq!(only.weakness(), None, "{named}");
    }
}

#[test]
fn rsa_keys_of_other_sizes_and_exponents_are_weak() {
    let good = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let good = modulus(&good);
    let e = &[1, 0, 1][..];
    let all_ones = |octets: usize| vec![0xff; octets];
    for (modulus, exponent, expected) in [
        (good.clone(), e, None),
        (good.clone(), &[1, 0, 0, 0, 1], None),
        (all_ones(128), e, Some(Weakness::Size(1024))),
        (all_ones(255), e, Some(Weakness::Size(2040))),
        (all_ones(1025), e, Some(Weakness::Size(8200))),
        (Vec::new(), e, Some(Weakness::Size(0))),
        (good.clone(), &[], Some(Weakness::Exponent)),
        (good.clone(), &[1], Some(Weakness::Exponent)),
        (good.clone(), &[2], Some(Weakness::Exponent)),
        (good.clone(), &[3], Some(Weakness::Exponent)),
        (good.clone(), &[0xff, 0xff], Some(Weakness::Exponent)),
        (good.clone(), &[1, 0, 0], Some(Weakness::Exponent)),
        // 2^2048 - 1 is a multiple of 3.
        (all_ones(256), e, Some(Weakness::Factor)),
        ([&good[..255], &[0]].concat(), e, Some(Weakness::Factor)),
    ] {
        assert_eq!(rsa(&modulus, exponent).weakness(), expected);
    }
}

/// CVE-2017-15361: powers of 65537 have the remainders that all moduli of that generator have.
#[test]
fn moduli_of_the_generator_of_roca_are_known_by_their_remainders() {
    let mut modulus = vec![1_u8];
    for _ in 0..150 {
        // Times 2^16, and once more: the number of octets from the end.
        let mut carry = 0_u16;
        let mut next = vec![0; modulus.len() + 2];
        for (place, digit) in next.iter_mut().rev().enumerate() {
            let octet = |back: usize| {
                let at = modulus.len().checked_sub(back + 1);
                at.map_or(0, |at| u16::from(modulus[at]))
            };
            let shifted = place.checked_sub(2).map_or(0, octet);
            let sum = octet(place) + shifted + carry;
            *digit = sum.to_be_bytes()[1];
            carry = sum >> 8;
        }
        let start = next.iter().position(|octet| *octet != 0).unwrap();
        modulus = next.split_off(start);
    }
    let e = &[1, 0, 1];
    assert_eq!(rsa(&modulus, e).weakness(), Some(Weakness::Roca));
    // Another number of that size.
    for add in [2, 4, 6, 8, 10, 12] {
        let mut other = modulus.clone();
        *other.last_mut().unwrap() += add;
        assert_ne!(rsa(&other, e).weakness(), Some(Weakness::Roca));
    }
}

/// Ten bits lie between the primes of this key: Fermat's method factors it in its first step.
#[test]
fn primes_that_are_neighbours_are_seen() {
    let key = SoftKey::from_pem_or_der(NEIGHBOURS.as_bytes()).unwrap();
    assert_eq!(key.public().weakness(), None);
    assert_eq!(key.weakness(), Some(Weakness::ClosePrimes));
}

#[test]
fn points_that_are_none_and_points_of_small_order_are_weak() {
    let curve = |named: Oid<'_>, point: &[u8]| {
        let parameters = write::oid(named);
        public(
            &AlgorithmIdentifier::new(oid::EC_PUBLIC_KEY, Some(&parameters)),
            point,
        )
    };
    let group = Some(Weakness::Group);
    for (named, size) in [(oid::P256, 32), (oid::P384, 48), (oid::P521, 66)] {
        for octet in [0, 1, 0xff] {
            let point = [&[4][..], &vec![octet; 2 * size]].concat();
            assert_eq!(curve(named, &point).weakness(), group);
        }
        // The point at infinity is none that is read.
        assert_eq!(curve(named, &[0]).weakness(), Some(Weakness::Kind));
    }
    let x25519 = AlgorithmIdentifier::new(oid::X25519, None);
    // RFC 7748 §6.1 and its security considerations: points of order 1, 2, 4 and 8, also not reduced.
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert_eq!(public(&x25519, &hex(point)).weakness(), group, "{point}");
    }
    // FIPS 203 §7.2: coefficients that are not reduced.
    let kem = AlgorithmIdentifier::new(oid::ML_KEM_768, None);
    assert_eq!(public(&kem, &[0xff; 1184]).weakness(), group);
    let dsa = AlgorithmIdentifier::new(oid::DSA, None);
    let dsa = public(&dsa, &write::unsigned(&[5]));
    assert_eq!(dsa.weakness(), Some(Weakness::Kind));
}

/// A token whose two halves are of two keys.
struct Liar {
    private: SoftKey,
    public: PublicKey,
}

impl DecryptionKey for Liar {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.private.rsa_raw(ciphertext)
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        self.private.agree(peer)
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.private.decapsulate(ciphertext)
    }
}

impl SigningKey for Liar {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.private.sign(algorithm, message)
    }
}

#[test]
fn halves_of_two_keys_do_not_fit() {
    for (kind, opens, signs) in [
        (KeyType::Rsa(2048), true, true),
        (KeyType::P256, true, true),
        (KeyType::Ed25519, false, true),
        (KeyType::X25519, true, false),
        (KeyType::MlKem(MlKem::Kem768), true, false),
        (KeyType::MlDsa(MlDsa::Dsa65), false, true),
    ] {
        let key = |public: &SoftKey, private: SoftKey| Liar {
            public: public.public().clone(),
            private,
        };
        let (one, other) = (
            SoftKey::generate(kind).unwrap(),
            SoftKey::generate(kind).unwrap(),
        );
        let lie = key(&one, other);
        assert!(!opens_what_its_public_half_protects(&lie), "{kind:?}");
        assert!(!signs_for_its_public_half(&lie), "{kind:?}");
        let same = SoftKey::from_pkcs8(&one.to_pkcs8().unwrap()).unwrap();
        let truth = key(&one, same);
        assert_eq!(
            opens_what_its_public_half_protects(&truth),
            opens,
            "{kind:?}"
        );
        assert_eq!(signs_for_its_public_half(&truth), signs, "{kind:?}");
    }
}

/// What a key file says twice must be the same both times.
#[test]
fn key_files_that_contradict_themselves_do_not_read() {
    let (one, other) = (
        SoftKey::generate(KeyType::P256).unwrap(),
        SoftKey::generate(KeyType::P256).unwrap(),
    );
    let fields = |key: &SoftKey| {
        let pkcs8 = key.to_pkcs8().unwrap();
        let mut outer = Reader::new(&pkcs8).sequence().unwrap();
        outer.any().unwrap();
        let algorithm = outer.any().unwrap().raw.to_vec();
        let inner = outer.octet_string().unwrap().to_vec();
        let mut inner = Reader::new(&inner).sequence().unwrap();
        inner.any().unwrap();
        let private = inner.any().unwrap().raw.to_vec();
        (algorithm, private, key.public().bits().to_vec())
    };
    let (algorithm, private, own) = fields(&one);
    let read = |point: &[u8]| {
        let point = write::explicit(1, &write::bit_string(point));
        let inner = write::seq(&[write::integer(1), private.clone(), point]);
        let outer = [
            write::integer(0),
            algorithm.clone(),
            write::octet_string(&inner),
        ];
        SoftKey::from_pkcs8(&write::seq(&outer)).map(|key| key.public().clone())
    };
    assert_eq!(read(&own), Ok(one.public().clone()));
    assert_eq!(read(other.public().bits()), Err(KeyError::Malformed));
    assert_eq!(
        read(&[&[4][..], &[1; 64]].concat()),
        Err(KeyError::Malformed)
    );
    // A number of the RSA key after the other: whichever is changed, the key is none.
    let rsa = SoftKey::generate(KeyType::Rsa(2048)).unwrap().to_pkcs8();
    let rsa = rsa.unwrap();
    let mut outer = Reader::new(&rsa).sequence().unwrap();
    let (version, algorithm) = (outer.any().unwrap().raw, outer.any().unwrap().raw);
    let mut inner = Reader::new(outer.octet_string().unwrap())
        .sequence()
        .unwrap();
    let mut numbers = Vec::new();
    while !inner.is_empty() {
        numbers.push(inner.any().unwrap().raw.to_vec());
    }
    for changed in 0..=numbers.len() {
        let mut numbers = numbers.clone();
        if let Some(number) = numbers.get_mut(changed) {
            *number.last_mut().unwrap() ^= 2;
        }
        let inner = write::octet_string(&write::seq(&numbers));
        let read = SoftKey::from_pkcs8(&write::seq(&[version, algorithm, &inner]));
        assert_eq!(read.is_ok(), changed == numbers.len(), "{changed}");
    }
}

const NEIGHBOURS: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDGh0ymIx7OrOAj
ZxZxM1YAmejTnQ+6Q9Jjyb7HBOxjq4orPZs8Q5TwKHei/QYr7UDtRNNbQdrs3Yo9
mb6TRYqoPmM/uerQX+6VPzYPhWy+E/ZjA11UglePCfVOQQddxq+hBjMjcj5tZf3/
cVRXjrTiNNA8d0jn2abH28GC3fGASCq0rRbsqeW5wno8r2E5k4RFjNOv8Qrsy0o8
TRhefj11wp3CqH3hGrvTf1c4xZW9WjAW7yJIO1SwWsvTrGoSc3qf3RayR0qdmmd7
rCNCtFKMjtirlY/PhkO0aJyXG9D0TRBKQGsMfsHa5O62exB9l6zebIc41iuuNiB/
xXy2jNkxAgMBAAECggEAYqzRHiqKn3MxnKcacn1vm7DkFnoUXSJkqhCWcFk0HX4f
mMpwJA37MzsJ68sTjDXKdaQl4U/kPqMGmQOXw59nAaSws/X2jkeAUFIwzpokqH1H
k4MSmnSGjKQIdzK/NI8SsFhihpW8DagKDTMJFtPpeB2D+unXJNX7nY7Oqfsik/1q
kYqmKF/fRED7CKZYgVB7nTPqflICtv3GQzA0LmLBK2JCYyIxQTIE3QnRgXkMuTD6
0vb1wb4FcojXSCYPGAQwGY4j/dSbB0SBSYKRcZ2ndz51XfDyg+6IMEkEahBfsVhk
kgLC9n3eISl28UFfU9kKSfF1ZYdyfOKkfRUbWM+tGQKBgQDhcLM4OSYwWfKMEF0f
sXwjkMGSz9OslK8PId22bK1KJo0Rbs4XOPfZPZwXJBHiC49rDVSbbwNnWhYAo1oJ
mVDYNvZ1zIHnTvXo4l2UDtkEdZUxmF1dncn4GBjoEYkvkCvSPwgkEosvMwxcf9Cm
o6RQZRMnDiaeDTfyp03kUua2ywKBgQDhcLM4OSYwWfKMEF0fsXwjkMGSz9OslK8P
Id22bK1KJo0Rbs4XOPfZPZwXJBHiC49rDVSbbwNnWhYAo1oJmVDYNvZ1zIHnTvXo
4l2UDtkEdZUxmF1dncn4GBjoEYkvkCvSPwgkEosvMwxcf9Cmo6RQZRMnDiaeDTfy
p03kUua0cwKBgCQledbt8t2Vznn+ta+7OXhKYX80q2/kdx0qBO6XBkH5ZG0DIzA+
Bh9i7YAYXHWt/NThUkuJxTXxD84SYwFe/8NrLKE+pSV9V5h7kx2GM+2vHLjTAUVd
Y2DQHE45YZGqwBv510hRYNe0i6rZI49UdageTK/aaP62h930TVzqnet5AoGAVZdm
U+hOuXjM/6SO1qOaEB67f7PsF8/zjvk6pjIosMhmMsIw+NwmLZKYmqiVKY9eCjTr
dH/3eNvZErDyVEajTRPBCwR0JY/zCVI4WSgx+OFznXrNp+dqcQklG6bcwPQpzw8j
Vh68PVVSUiQs4bergOJ/HQrgWo2GOliO2CspcEUCgYEA3I5CHCAEghO7XzdDNnko
zysPTKTshyKHbRkGj+l4Cq1lUXtWbOfyeoHSTvWij+u8hiwwNskx1i3k4sHyHQSA
KN0GdBmR3MAF6j0Ixwln8SmmA7h6EBFpAabvaCkMnQoPkK1z6UOinz5QyW2viyKo
AdpZ/az9rIwULPgoynhbve0=
-----END PRIVATE KEY-----
";

proptest::proptest! {
    #[test]
    fn a_number_has_the_remainders_that_are_calculated_by_hand(number in proptest::collection::vec(0..=u8::MAX, 0..70)) {
        let found = remainders(&number);
        proptest::prop_assert_eq!(found.len(), SMALL_PRIMES.len());
        for (prime, remainder) in found {
            let by_hand = number
                .iter()
                .fold(0, |rest, octet| (rest * 256 + u32::from(*octet)) % prime);
            proptest::prop_assert_eq!(remainder, by_hand, "{}", prime);
        }
    }
}
