//! Signed mail of every shape, honest and forged, made with keys of the test: each has its facts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod ambiguous;
mod attributes;
mod elsewhere;
mod forge;
mod limits;
mod mime;
mod objects;
mod round_trip;
mod timestamps;

use std::sync::OnceLock;

use kenin_pki::crypto::KeyType;
use kenin_smime::{Check, Defect, Examined, Limits, SignatureFacts, SignerFacts};

use forge::Person;

pub(crate) const ENTITY: &str =
    "Content-Type: text/plain; charset=utf-8\r\n\r\nPay Bob 10 yen.\r\n";

pub(crate) fn alice() -> &'static Person {
    static ALICE: OnceLock<Person> = OnceLock::new();
    ALICE.get_or_init(|| Person::new("alice", KeyType::P256))
}

pub(crate) fn mallory() -> &'static Person {
    static MALLORY: OnceLock<Person> = OnceLock::new();
    MALLORY.get_or_init(|| Person::new("mallory", KeyType::P256))
}

pub(crate) fn rsa() -> &'static Person {
    static RSA: OnceLock<Person> = OnceLock::new();
    RSA.get_or_init(|| Person::new("rsa", KeyType::Rsa(2048)))
}

pub(crate) fn examine(raw: impl AsRef<[u8]>) -> Examined {
    kenin_smime::examine(raw.as_ref(), &Limits::default(), &[])
}

pub(crate) fn root(examined: &Examined) -> &SignatureFacts {
    examined.root_signature().expect("a root signature")
}

pub(crate) fn signer(examined: &Examined) -> &SignerFacts {
    &root(examined).signers[0]
}

/// Nothing is wrong with the root signature.
#[track_caller]
pub(crate) fn assert_right(examined: &Examined) {
    assert_eq!(examined.defect, None, "{:?}", examined.detail);
    let root = root(examined);
    assert_eq!(root.defect, None, "{:?}", root.detail);
    assert!(!root.signers.is_empty());
    for signer in &root.signers {
        assert_eq!(signer.defect, None, "{:?}", signer.detail);
        assert_eq!((signer.content, signer.signature()), (Check::Ok, Check::Ok));
    }
}

/// Whether everything about the root signature is right.
pub(crate) fn is_right(examined: &Examined) -> bool {
    examined.defect.is_none()
        && examined.root_signature().is_some_and(|root| {
            root.defect.is_none()
                && !root.signers.is_empty()
                && root.signers.iter().all(|signer| {
                    signer.defect.is_none() && signer.content.is_ok() && signer.verified().is_some()
                })
        })
}

/// The defect of the layer, else of its first signer, else of the message.
pub(crate) fn reason(examined: &Examined) -> Option<Defect> {
    let root = examined.root_signature();
    examined
        .defect
        .or_else(|| root.and_then(|root| root.defect))
        .or_else(|| root.and_then(|root| root.signers.iter().find_map(|signer| signer.defect)))
}
