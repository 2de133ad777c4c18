//! Contents opened and protected in pieces.

use super::{ContentCipher, KeyError, Secret};

/// A content does not open. One word for every cause: which of them it was is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open")]
pub struct OpenError;

/// Opens a content in pieces. Nothing that [`Opener::update`] gives may be shown to anybody before
/// [`Opener::finish`] says that it is right.
pub struct Opener {}

impl Opener {
    /// Begins. `aad` is authenticated beside the content: the DER of the authAttrs as a SET OF, or nothing; it must be
    /// empty where the cipher has no tag.
    pub fn new(cipher: &ContentCipher, key: &Secret, aad: &[u8]) -> Result<Self, OpenError> {
        let _ = (cipher, key, aad);
        Err(OpenError)
    }

    /// Takes more of the encrypted content, and adds what it opens to.
    pub fn update(&mut self, encrypted: &[u8], out: &mut Vec<u8>) {
        let _ = (encrypted, out);
    }

    /// Ends: checks the tag, or the padding (RFC 5652 §6.3) where there is no tag, and adds the rest. Whatever was
    /// given before is worthless where this fails.
    pub fn finish(self, tag: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), OpenError> {
        let _ = (tag, out);
        Err(OpenError)
    }
}

/// Encrypts a content in pieces.
pub struct Protector {}

impl Protector {
    /// Begins; `aad` as for [`Opener::new`]. [`KeyError::Unsupported`] where the cipher is one that is read only.
    pub fn new(cipher: &ContentCipher, key: &Secret, aad: &[u8]) -> Result<Self, KeyError> {
        let _ = (cipher, key, aad);
        Err(KeyError::Unsupported)
    }

    /// Takes more of the content, and adds what it becomes.
    pub fn update(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let _ = (content, out);
    }

    /// Ends: adds the rest with its padding, and gives the tag where there is one.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Option<Vec<u8>>, KeyError> {
        let _ = out;
        Err(KeyError::Unsupported)
    }
}
