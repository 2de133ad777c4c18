//! Targets for what the key process reads: frames, sealed files, names of keys in tokens, and keys as people bring
//! them.

use std::fmt::Debug;

use kenin_keys::protocol::{Answer, EdgeRequest, WorkerRequest};
use kenin_keys::{GuardedKey, Malformed, SealedKey, TokenUri, import};
use kenin_pki::crypto::{Secret, SigningKey, SoftKey};

/// What reads can be written, and then reads as the same; and a frame is read on one kind of connection only.
pub fn key_frame(data: &[u8]) {
    let edge = again(EdgeRequest::from_frame, |said, number| {
        said.to_frame(number).ok()
    });
    let worker = again(WorkerRequest::from_frame, |said, number| {
        said.to_frame(number).ok()
    });
    let answer = again(Answer::from_frame, |said, number| {
        let frame = said.to_frame(number).ok()?;
        Some(frame.expose().to_vec())
    });
    let read = [edge(data), worker(data), answer(data)];
    assert!(read.iter().filter(|read| **read).count() <= 1);
}

/// There is one way to write a sealed key.
pub fn sealed_key(data: &[u8]) {
    if let Ok(sealed) = SealedKey::from_octets(data) {
        assert_eq!(sealed.to_octets(), data);
    }
}

/// There is one way to write a key-encryption key that a token guards.
pub fn guarded_key(data: &[u8]) {
    if let Ok(guarded) = GuardedKey::from_octets(data) {
        assert_eq!(guarded.to_octets(), data);
    }
}

/// What is imported is a private key, of the public half that is named.
pub fn key_import(data: &[u8]) {
    let password = Secret::new(b"sesame".to_vec());
    for imported in import(data, Some(&password)).into_iter().flatten() {
        let key = SoftKey::from_pkcs8(imported.pkcs8.expose());
        let id = key.map(|key| key.public_key().id());
        assert_eq!(id, Ok(imported.public.id()));
    }
}

/// What reads is written in one way, which reads as the same.
pub fn token_uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(uri) = TokenUri::parse(text) {
        let written = uri.to_string();
        assert!(written.is_ascii());
        assert_eq!(TokenUri::parse(&written), Ok(uri));
    }
}

/// A function that reads a frame, writes what it says and reads that; whether it read at all.
fn again<T: Debug + PartialEq>(
    read: impl Fn(&[u8]) -> Result<(u32, T), Malformed>,
    write: impl Fn(&T, u32) -> Option<Vec<u8>>,
) -> impl Fn(&[u8]) -> bool {
    move |data| {
        let Ok((number, said)) = read(data) else {
            return false;
        };
        let frame = write(&said, number).unwrap_or_default();
        let (_, body) = frame.split_at_checked(4).unwrap_or_default();
        assert_eq!(read(body), Ok((number, said)));
        true
    }
}
