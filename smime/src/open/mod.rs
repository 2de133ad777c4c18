//! Opens encrypted mail (RFC 8551 §3.3, RFC 5652 §6, RFC 5083), in two steps: what a layer says about itself without a
//! key, and its content by the content-encryption key, which somebody else unwraps.
//!
//! Only what the whole message is gets opened. A part that is encrypted stays as it is, or text around it could carry
//! its content away. Never sees a private key, never tries one after the other, and never says why something did not
//! open.

mod rebuild;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{ContentCipher, Digest, DigestAlgorithm, Digester, OpenError, Secret};

use crate::cms::{self, Compressed, Enveloped, Refusal};
use crate::defect::Defect;
use crate::examine::header_fits;
use crate::facts::LayerKind;
use crate::header_protection::read;
use crate::layer;
use crate::limits::Limits;
use crate::mime::{PartKind, Tree, slice};
use crate::release::{end_of_fields, release};

pub use crate::cms::{Recipient, RecipientId};
pub(crate) use rebuild::protected_fields;
pub use rebuild::reassemble;

/// An encrypted layer that is the whole of a message.
#[derive(Debug)]
pub struct EncryptedLayer {
    object: Vec<u8>,
    enveloped: Enveloped,
    /// How many layers were around it.
    around: usize,
}

/// A certificate and the one recipient that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Position among the certificates that were asked about.
    pub certificate: usize,
    /// Position in [`EncryptedLayer::recipients`].
    pub recipient: usize,
}

/// What is known of a content that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// Its tag was right: nobody changed it without the content-encryption key.
    Aead,
    /// Nothing: parts of it may have been exchanged. Only a good signature inside says more.
    None,
}

/// The content of an encrypted layer.
pub struct Opened {
    /// The MIME entity, octet for octet.
    pub entity: Vec<u8>,
    /// Whether somebody can have changed it.
    pub integrity: Integrity,
    /// How many layers were around it.
    around: usize,
}

impl EncryptedLayer {
    /// The layer that the message is: by its type, or as a bare file with the name of one, in any transfer encoding
    /// that has one meaning. Nothing where the root is something else, is beyond a limit, or cannot be read.
    ///
    /// A signature around it is taken off first, by [`release`](fn@crate::release).
    #[must_use]
    pub fn of(raw: &[u8], limits: &Limits) -> Option<Self> {
        Self::within(raw, limits, 0)
    }

    /// The same, and where there is none the recipients of a layer that names them and cannot be opened: by a cipher that is not
    /// known here, or since the rest of it does not read. Nobody where it is no such layer, or does not say.
    ///
    /// # Errors
    /// Those recipients.
    pub fn of_or_recipients(raw: &[u8], limits: &Limits) -> Result<Self, Vec<Recipient>> {
        let fits = raw.len() <= limits.message_size && header_fits(raw, limits.header_size);
        let object = fits.then(|| layer::root_object(raw, limits)).flatten();
        let object = object.ok_or_else(Vec::new)?.into_owned();
        match enveloped(&object, limits) {
            Ok(enveloped) => Ok(Self {
                object,
                enveloped,
                around: 0,
            }),
            Err(_) => Err(named_in(&object, limits).unwrap_or_default()),
        }
    }

    fn within(raw: &[u8], limits: &Limits, around: usize) -> Option<Self> {
        if around >= limits.layers {
            return None;
        }
        let layer = Self::of_or_recipients(raw, limits).ok()?;
        Some(Self { around, ..layer })
    }

    /// A bare object, in DER or BER.
    #[must_use]
    pub fn of_cms(object: &[u8], limits: &Limits) -> Option<Self> {
        if object.len() > limits.message_size {
            return None;
        }
        Self::read(object.to_vec(), limits, 0)
    }

    fn read(object: Vec<u8>, limits: &Limits, around: usize) -> Option<Self> {
        let enveloped = enveloped(&object, limits).ok()?;
        Some(Self {
            object,
            enveloped,
            around,
        })
    }

    /// Why the layer that the message is cannot be read, where it is an encrypted one by its first octets, or by its label
    /// where its transfer encoding is broken: in words for people, and by nothing but what everybody sees who has the
    /// message. Nothing where it is none, or can be read.
    #[must_use]
    pub fn refused(raw: &[u8], limits: &Limits) -> Option<&'static str> {
        if raw.len() > limits.message_size || !header_fits(raw, limits.header_size) {
            return None;
        }
        match layer::root_object(raw, limits) {
            Some(object) => Self::refused_cms(&object, limits),
            None => layer::root_damage(raw, limits),
        }
    }

    /// The same for a bare object.
    #[must_use]
    pub fn refused_cms(object: &[u8], limits: &Limits) -> Option<&'static str> {
        if object.len() > limits.message_size {
            return None;
        }
        cms::begins_encrypted(object)?;
        enveloped(object, limits).err().map(|(_, detail)| detail)
    }

    /// For whom it is encrypted, in order: those who are named by a certificate.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.enveloped.recipients
    }

    /// Which of these certificates are recipients, and which ones. A key that more than one recipient names is in no
    /// match: nobody gets two tries with it.
    #[must_use]
    pub fn match_certificates(&self, certificates: &[Certificate]) -> Vec<Match> {
        let mut found = Vec::new();
        // The recipient of each key; nothing where there are several.
        let mut only: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
        for (at, certificate) in certificates.iter().enumerate() {
            let mut own = None;
            for (recipient, named) in self.recipients().iter().enumerate() {
                if !named.id.matches(certificate) {
                    continue;
                }
                own = Some(recipient);
                only.entry(certificate.public_key().id().as_ref().to_vec())
                    .and_modify(|known| *known = known.filter(|known| *known == recipient))
                    .or_insert(own);
            }
            found.extend(own.map(|recipient| Match {
                certificate: at,
                recipient,
            }));
        }
        found.retain(|found| {
            let key = certificates.get(found.certificate);
            let recipient = self.recipients().get(found.recipient);
            key.zip(recipient).is_some_and(|(certificate, recipient)| {
                let key = certificate.public_key();
                only.get(key.id().as_ref()) == Some(&Some(found.recipient))
                    && recipient.wrapped.is_some()
                    && recipient.suits(key)
            })
        });
        found
    }

    /// The algorithm of the content. Whether one that is [legacy](ContentCipher::is_legacy) is opened is for the
    /// caller to say.
    #[must_use]
    pub const fn cipher(&self) -> &ContentCipher {
        &self.enveloped.cipher
    }

    /// Octets of the content-encryption key: what [`Wrapped::unwrap`](kenin_pki::crypto::Wrapped::unwrap) is asked for.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.enveloped.cipher.key_len()
    }

    /// Octets of the encrypted content, which are not fewer than those that it opens to.
    #[must_use]
    pub fn encrypted_len(&self) -> usize {
        self.enveloped.content.iter().map(Range::len).sum()
    }

    /// SHA-256 of the encrypted content: the same where it is sent again, whatever is put around it.
    #[must_use]
    pub fn encrypted_digest(&self) -> Digest {
        let mut digester = Digester::new(DigestAlgorithm::Sha256);
        for piece in &self.enveloped.content {
            digester.update(slice(&self.object, piece.clone()));
        }
        digester.finish()
    }

    /// The content, by the content-encryption key.
    ///
    /// # Errors
    /// One for all: the key is another, or the content was changed. Nothing of it is given out.
    pub fn open_with(&self, content_key: &Secret) -> Result<Opened, OpenError> {
        let entity = self.enveloped.open(&self.object, content_key)?;
        let integrity = match self.enveloped.cipher.is_aead() {
            true => Integrity::Aead,
            false => Integrity::None,
        };
        Ok(Opened {
            entity,
            integrity,
            around: self.around + 1,
        })
    }
}

/// The encrypted layer that an object is.
fn enveloped(object: &[u8], limits: &Limits) -> Result<Enveloped, Refusal> {
    let (tape, _) = cms::read_tape(object, limits)?;
    let (kind, content) = cms::content_info(tape.root())?;
    Enveloped::read(kind, content, limits)
}

/// The recipients of an object that is encrypted by its first octets, whatever the rest of it is.
fn named_in(object: &[u8], limits: &Limits) -> Option<Vec<Recipient>> {
    cms::begins_encrypted(object)?;
    let (tape, _) = cms::read_tape(object, limits).ok()?;
    let (kind, content) = cms::content_info(tape.root()).ok()?;
    Enveloped::read_recipients(kind, content, limits).ok()
}

/// The content of the compressed layer that the message is (RFC 8551 §3.6, RFC 3274). Nothing where it is none.
///
/// # Errors
/// What is wrong with it, or which limit it does not keep.
#[must_use]
pub fn expand(raw: &[u8], limits: &Limits) -> Option<Result<Vec<u8>, Defect>> {
    if raw.len() > limits.message_size || !header_fits(raw, limits.header_size) {
        return None;
    }
    let object = layer::root_object(raw, limits)?;
    let (tape, _) = cms::read_tape(&object, limits).ok()?;
    let (kind, content) = cms::content_info(tape.root()).ok()?;
    let expanded = || Compressed::read(content)?.expand(&object, limits);
    (kind == LayerKind::Compressed).then(|| expanded().map_err(|(defect, _)| defect))
}

/// The message without the signature around the whole of it (RFC 2634 §1.1): its content stands in its place, under the
/// message's own header. Nothing where it is not signed as a whole, or where the content cannot be told from the signature.
#[must_use]
pub fn signed_content(raw: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    if raw.len() > limits.message_size || !header_fits(raw, limits.header_size) {
        return None;
    }
    let section = {
        let tree = Tree::read(raw, 0..raw.len(), limits, |_| ()).ok()?;
        let part = tree.parts.first()?;
        match part.kind {
            PartKind::Signed => "2",
            PartKind::Leaf if layer::is_object(raw, part) => "1",
            _ => return None,
        }
    };
    release(raw, limits, &HashSet::from([section])).ok()
}

impl Opened {
    /// The same with the compressed layer that is all of it expanded. Nothing where there is none.
    ///
    /// # Errors
    /// What is wrong with it, which limit it does not keep, or that there were too many layers before.
    #[must_use]
    pub fn expanded(&self, limits: &Limits) -> Option<Result<Self, Defect>> {
        let entity = expand(&self.entity, limits)?;
        if self.around >= limits.layers {
            return Some(Err(Defect::LimitLayers));
        }
        Some(entity.map(|entity| Self {
            entity,
            integrity: self.integrity,
            around: self.around + 1,
        }))
    }

    /// Whether it begins as a MIME entity does: with header fields, or none, and the empty line after them. What a wrong
    /// key opens to by chance hardly ever does, and only without [`Integrity::Aead`], and where a
    /// [wrapping](kenin_pki::crypto::Wrapping::proves_its_key) proves nothing of the key, is there such a chance.
    #[must_use]
    pub fn is_entity(&self) -> bool {
        let (header, _) = read(&self.entity);
        let ended = end_of_fields(&self.entity, &header) < header.range.end;
        // One garbage of 256 begins with a line feed, and no entity does.
        if !ended || self.entity.starts_with(b"\n") {
            return false;
        }
        let plain = rebuild::without_blank_folds(slice(&self.entity, header.range));
        let (header, fields) = read(plain.expose());
        let named = fields
            .iter()
            .all(|field| slice(plain.expose(), field.name.clone()).is_ascii());
        named && rebuild::is_nothing_else(plain.expose(), &header, &fields)
    }

    /// The encrypted layer that is all of it. Nothing where there is none, or where there were too many before.
    #[must_use]
    pub fn inner(&self, limits: &Limits) -> Option<EncryptedLayer> {
        EncryptedLayer::within(&self.entity, limits, self.around)
    }
}

/// Says nothing of the content.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("len", &self.entity.len())
            .field("integrity", &self.integrity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
