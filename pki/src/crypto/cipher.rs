//! Contents opened and protected in pieces. What a piece opens to is worth nothing before the end was seen.
//! <https://www.rfc-editor.org/rfc/rfc5652#section-6.3>

use zeroize::Zeroizing;

use super::branchless::{is_at_most, is_equal, is_zero};
use super::raw::{Cipher, Direction};
use super::{ContentCipher, KeyError, Secret};

/// A content does not open. One word for every cause: which of them it was is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open")]
pub struct OpenError;

/// Opens a content in pieces. Nothing that [`Opener::update`] gives may be shown to anybody before
/// [`Opener::finish`] says that it is right.
pub struct Opener {
    cipher: Cipher,
    tail: Tail,
    failed: bool,
}

/// What stands at the end of a content.
enum Tail {
    Tag {
        length: usize,
    },
    /// The last block that was opened is held back: it may be the one with the padding.
    Padding {
        block: usize,
        held: Zeroizing<Vec<u8>>,
    },
}

impl Opener {
    /// Begins. `aad` is authenticated beside the content: the DER of the authAttrs as a SET OF, or nothing; it must be
    /// empty where the cipher has no tag.
    pub fn new(cipher: &ContentCipher, key: &Secret, aad: &[u8]) -> Result<Self, OpenError> {
        let tail = match cipher.tag_len() {
            Some(length) => Tail::Tag { length },
            None => Tail::Padding {
                block: cipher.block_len(),
                held: Zeroizing::new(Vec::new()),
            },
        };
        let cipher = begin(cipher, key, aad, Direction::Open).ok_or(OpenError)?;
        Ok(Self {
            cipher,
            tail,
            failed: false,
        })
    }

    /// Takes more of the encrypted content, and adds what it opens to.
    pub fn update(&mut self, encrypted: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if let Tail::Padding { held, .. } = &mut self.tail {
            out.append(held);
        }
        self.failed |= self.cipher.update(encrypted, out).is_none();
        if let Tail::Padding { block, held } = &mut self.tail {
            let kept = out.len().saturating_sub(*block).max(start);
            held.extend_from_slice(out.get(kept..).unwrap_or_default());
            out.truncate(kept);
        }
    }

    /// Ends: checks the tag, or the padding where there is no tag, and adds the rest. Whatever was given before is
    /// worthless where this fails.
    pub fn finish(self, tag: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), OpenError> {
        if self.failed {
            return Err(OpenError);
        }
        match (self.tail, tag) {
            (Tail::Tag { length }, Some(tag)) if tag.len() == length => {
                self.cipher.finish_opening(Some(tag)).ok_or(OpenError)
            }
            (Tail::Padding { block, held }, None) => {
                self.cipher.finish_opening(None).ok_or(OpenError)?;
                out.extend_from_slice(without_padding(&held, block).ok_or(OpenError)?);
                Ok(())
            }
            _ => Err(OpenError),
        }
    }
}

/// Encrypts a content in pieces.
pub struct Protector {
    cipher: Cipher,
    tag_len: Option<usize>,
    failed: bool,
}

impl Protector {
    /// Begins; `aad` as for [`Opener::new`]. A cipher with its nonce protects one content and no other.
    /// [`KeyError::Unsupported`] where the cipher is one that is read only; [`KeyError::Failed`] where key or
    /// parameters do not fit.
    pub fn new(cipher: &ContentCipher, key: &Secret, aad: &[u8]) -> Result<Self, KeyError> {
        if cipher.is_legacy() {
            return Err(KeyError::Unsupported);
        }
        let tag_len = cipher.tag_len();
        let cipher = begin(cipher, key, aad, Direction::Protect).ok_or(KeyError::Failed)?;
        Ok(Self {
            cipher,
            tag_len,
            failed: false,
        })
    }

    /// Takes more of the content, and adds what it becomes.
    pub fn update(&mut self, content: &[u8], out: &mut Vec<u8>) {
        self.failed |= self.cipher.update(content, out).is_none();
    }

    /// Ends: adds the rest with its padding, and gives the tag where there is one.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Option<Vec<u8>>, KeyError> {
        if self.failed {
            return Err(KeyError::Failed);
        }
        self.cipher
            .finish_protecting(self.tag_len, out)
            .ok_or(KeyError::Failed)
    }
}

fn begin(cipher: &ContentCipher, key: &Secret, aad: &[u8], direction: Direction) -> Option<Cipher> {
    if !cipher.is_in_bounds() || !(cipher.is_aead() || aad.is_empty()) {
        return None;
    }
    let mut begun = Cipher::new(cipher, key.expose(), direction)?;
    begun.authenticate(aad)?;
    Some(begun)
}

/// The last block without its padding: as many octets as the last one says, each the same. Which octet is wrong
/// cannot be told from the time.
fn without_padding(last_block: &[u8], block: usize) -> Option<&[u8]> {
    if last_block.len() != block {
        return None;
    }
    let count = *last_block.last()?;
    let mut good = !is_zero(count) & is_at_most(count, u8::try_from(block).ok()?);
    for (place, octet) in (1..=u8::MAX).zip(last_block.iter().rev()) {
        good &= !is_at_most(place, count) | is_equal(*octet, count);
    }
    if good == 0 {
        return None;
    }
    last_block.get(..block.checked_sub(usize::from(count))?)
}

#[cfg(test)]
mod tests;
