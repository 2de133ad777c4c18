//! A token that holds a key in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kenin_pki::crypto::{KeyType, OaepParameters, SoftKey, Wrapping, signs_for_its_public_half};

use super::*;
use crate::token::driver::{Driver, Mechanisms, PublicHalf, Seen};
use crate::token::pool::Place;

struct Soft {
    key: SoftKey,
    /// Calls of the key itself.
    calls: AtomicUsize,
    /// What it was asked to sign.
    signed: Mutex<Vec<Vec<u8>>>,
}

struct Slot(Arc<Soft>);

impl Driver for Slot {
    fn tokens(&self) -> Result<Vec<Seen>, Fault> {
        Ok(vec![Seen::default()])
    }

    fn open(&self, _: u64) -> Result<Box<dyn Session>, Fault> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    fn mechanisms(&self, _: u64) -> Result<Mechanisms, Fault> {
        Ok(Mechanisms::default())
    }

    fn restart(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Session for Slot {
    fn is_logged_in(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    fn log_in(&self, _: &Secret) -> Result<(), Fault> {
        Ok(())
    }

    fn find(&mut self, _: &TokenUri) -> Result<Vec<Handle>, Fault> {
        Ok(vec![Handle(0)])
    }

    fn traits(&self, _: Handle) -> Result<KeyTraits, Fault> {
        Ok(KeyTraits::default())
    }

    fn public(&self, _: Handle) -> Result<PublicHalf, Fault> {
        Err(Fault::Unsupported("public".to_owned()))
    }

    /// Leaves leading zeros out, as some do.
    fn rsa_raw(&self, _: Handle, ciphertext: &[u8]) -> Result<Secret, Fault> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let block = self.0.key.rsa_raw(ciphertext);
        let block = block.map_err(|error| Fault::Refused(error.to_string()))?;
        let zeros = block.expose().iter().take_while(|octet| **octet == 0);
        Ok(Secret::new(block.expose()[zeros.count()..].to_vec()))
    }

    fn agree(&self, _: Handle, peer: &[u8], length: usize) -> Result<Secret, Fault> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let shared = self.0.key.agree(peer);
        let shared = shared.map_err(|error| Fault::Refused(error.to_string()))?;
        assert_eq!(shared.len(), length);
        Ok(shared)
    }

    /// RSASSA-PKCS1-v1_5 of the octets as they are (RFC 8017 §9.2).
    fn sign(&self, _: Handle, how: Signing, octets: &[u8]) -> Result<Vec<u8>, Fault> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.signed.lock().unwrap().push(octets.to_vec());
        if how != Signing::RsaPkcs1 {
            return Ok(vec![1; 64]);
        }
        let length = 256 - octets.len() - 3;
        let block = [&[0, 1][..], &vec![0xff; length], &[0], octets].concat();
        let signed = self.0.key.rsa_raw(&block);
        let signed = signed.map_err(|error| Fault::Refused(error.to_string()))?;
        Ok(signed.expose().to_vec())
    }
}

/// The key in the token, and what the token saw.
fn in_token(kind: KeyType) -> (TokenKey, Arc<Soft>) {
    let key = SoftKey::generate(kind).unwrap();
    let public = key.public_key().clone();
    let soft = Arc::new(Soft {
        key,
        calls: AtomicUsize::new(0),
        signed: Mutex::new(Vec::new()),
    });
    (with_public(&soft, public), soft)
}

fn with_public(soft: &Arc<Soft>, public: PublicKey) -> TokenKey {
    let place = Place {
        name: "a".to_owned(),
        token: TokenUri::default(),
        pin: None,
    };
    let driver = Arc::new(Slot(Arc::clone(soft)));
    let pool = Pool::start(driver, vec![place], 1, Duration::from_secs(600)).unwrap();
    let object = Arc::new(TokenUri::parse("pkcs11:id=%01").unwrap());
    TokenKey::new(public, object, (Arc::new(pool), 0))
}

#[test]
fn one_code_unpads_for_keys_in_tokens_and_in_memory() {
    let (key, soft) = in_token(KeyType::Rsa(2048));
    let rejection = RejectionSecret::random().unwrap();
    let content_key = Secret::new(vec![7; 32]);
    for wrapping in [
        Wrapping::RsaPkcs1,
        Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256)),
    ] {
        let good = Wrapped::wrap(wrapping, &key.public, &content_key).unwrap();
        assert_eq!(good.unwrap(&key, &rejection, 32).unwrap(), content_key);
        let mut bad = good.clone();
        bad.encrypted_key[100] ^= 1;
        let in_token = bad.unwrap(&key, &rejection, 32);
        assert_eq!(in_token, bad.unwrap(&soft.key, &rejection, 32));
        assert_ne!(in_token.ok(), Some(Secret::new(vec![7; 32])));
    }
    assert!(key.prove_opening().is_ok());
    assert_eq!(key.agree(&[4; 65]), Err(KeyError::Unsupported));
    assert_eq!(key.decapsulate(&[]), Err(KeyError::Unsupported));
}

#[test]
fn keys_on_curves_agree_as_those_in_memory() {
    for kind in [KeyType::P256, KeyType::P384, KeyType::P521] {
        let (key, soft) = in_token(kind);
        let other = SoftKey::generate(kind).unwrap();
        let peer = other.public_key().bits();
        assert_eq!(key.agree(peer), soft.key.agree(peer));
        assert!(key.prove_opening().is_ok());
        assert_eq!(key.rsa_raw(&[2; 256]), Err(KeyError::Unsupported));
    }
}

#[test]
fn what_is_no_point_of_the_curve_never_reaches_the_token() {
    let (key, soft) = in_token(KeyType::P256);
    let mut off = SoftKey::generate(KeyType::P256)
        .unwrap()
        .public_key()
        .bits()
        .to_vec();
    let last = off.len() - 1;
    off[last] ^= 1;
    let other = SoftKey::generate(KeyType::P384).unwrap();
    for peer in [&off[..], other.public_key().bits(), &[0], &[], &[4; 65]] {
        assert_eq!(key.agree(peer), Err(KeyError::Malformed));
    }
    assert_eq!(soft.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn what_a_token_signs_is_given_away_only_if_it_verifies() {
    let (key, soft) = in_token(KeyType::Rsa(2048));
    let algorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
    let signature = key.sign(algorithm, b"hello").unwrap();
    let verified = key.public.verify(algorithm, b"hello", &signature);
    assert_eq!(verified, Ok(()));
    assert!(signs_for_its_public_half(&key) && key.prove_signing().is_ok());
    // The certificate is of another key than the one in the token.
    let other = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let wrong = with_public(&soft, other.public_key().clone());
    assert_eq!(wrong.sign(algorithm, b"hello"), Err(KeyError::Failed));
    assert_eq!(wrong.prove_signing(), Err(KeyFault::NotItsHalf));
    assert_eq!(wrong.prove_opening(), Err(KeyFault::NotItsHalf));
    let (curve, _) = in_token(KeyType::P256);
    let signed = curve.sign(SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256), b"x");
    assert_eq!(signed, Err(KeyError::Failed), "r and s of nothing");
}

#[test]
fn a_curve_gets_as_much_of_a_digest_as_it_uses() {
    let (key, soft) = in_token(KeyType::P256);
    let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha512);
    assert!(key.sign(algorithm, b"x").is_err());
    let digest = DigestAlgorithm::Sha512.digest(b"x");
    let given = soft.signed.lock().unwrap().pop();
    assert_eq!(given.as_deref(), digest.as_ref().get(..32));
    // No token is asked for what it must not do.
    let md5 = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Md5);
    assert_eq!(key.sign(md5, b"x"), Err(KeyError::Unsupported));
    assert_eq!(
        key.sign(SignatureAlgorithm::Ed25519, b"x"),
        Err(KeyError::Unsupported)
    );
    assert!(soft.signed.lock().unwrap().is_empty());
}

#[test]
fn r_and_s_become_der_and_nothing_else_does() {
    let made = [&[0; 31][..], &[5], &[0x80], &[0; 31]].concat();
    let der = to_der(&made, Curve::P256).unwrap();
    let mut reader = Reader::new(&der).sequence().unwrap();
    assert_eq!(reader.unsigned().unwrap(), [5]);
    assert_eq!(reader.unsigned().unwrap()[0], 0x80);
    assert!(reader.finish().is_ok());
    assert_eq!(to_der(&[1; 63], Curve::P256), None);
    assert_eq!(to_der(&[1; 66], Curve::P256), None);
    assert!(to_der(&[1; 132], Curve::P521).is_some());
}

#[test]
fn what_was_wrapped_is_unwrapped_or_it_is_told_why_not() {
    let content_key = Secret::new(vec![7; 32]);
    let (key, soft) = in_token(KeyType::Rsa(2048));
    let oaep = Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256));
    let wrapped = Wrapped::wrap(oaep, &key.public, &content_key).unwrap();
    assert_eq!(key.unwrap(&wrapped, 32).unwrap(), content_key);
    assert_eq!(key.unwrap(&wrapped, 31), Err(KeyFault::NotItsHalf));
    let mut changed = wrapped.clone();
    changed.encrypted_key[100] ^= 1;
    assert_eq!(key.unwrap(&changed, 32), Err(KeyFault::NotItsHalf));
    // What the token itself says of it is heard.
    let curve = SoftKey::generate(KeyType::P256).unwrap();
    let soft_curve = Arc::new(Soft {
        key: curve,
        calls: AtomicUsize::new(0),
        signed: Mutex::new(Vec::new()),
    });
    let other = with_public(&soft_curve, soft.key.public_key().clone());
    let refused = other.unwrap(&wrapped, 32);
    assert!(
        matches!(refused, Err(KeyFault::Token(TokenError::Refused { .. }))),
        "{refused:?}"
    );
}
