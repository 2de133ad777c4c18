//! Encrypted contents (RFC 5652 §6, RFC 5083, RFC 9709): read without a key, opened with one. Nothing of a content is
//! given out before its tag or its padding was seen to be right, and everything that fails is the same.

use std::iter::Peekable;
use std::ops::Range;

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{Children, Cursor, Tag};
use kenin_pki::crypto::{AlgorithmError, ContentCipher, OpenError, Opener, Secret};
use kenin_pki::oid;

use super::recipient::{self, Recipient};
use super::{Refusal, algorithm, auth_enveloped, oids};
use crate::defect::Defect;
use crate::facts::LayerKind;
use crate::limits::Limits;
use crate::mime::slice;

/// An EnvelopedData or AuthEnvelopedData, as places in the object that it was read from.
#[derive(Debug)]
pub(crate) struct Enveloped {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) cipher: ContentCipher,
    /// The inner algorithm of id-alg-cek-hkdf-sha256: the content is opened by a key that is made of the one that was
    /// wrapped.
    derived_for: Option<AlgorithmIdentifier>,
    /// The chunks of the encryptedContent.
    pub(crate) content: Vec<Range<usize>>,
    authenticated: Vec<u8>,
    tag: Option<Vec<u8>>,
}

impl Enveloped {
    /// Reads the content of a ContentInfo of this kind. A cipher with a tag in EnvelopedData, and one without in
    /// AuthEnvelopedData, is unsupported whatever else is right: the two would open each other's contents.
    pub(crate) fn read(
        kind: LayerKind,
        content: Cursor<'_, '_>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let Begun {
            authenticated,
            recipients,
            rest: mut children,
        } = begun(kind, content)?;
        let encrypted = EncryptedContent::read(children.next().ok_or(BAD)?)?;
        if encrypted.cipher.is_aead() != authenticated {
            return Err((
                Defect::UnsupportedAlgorithm,
                "the cipher does not belong into an object of this type",
            ));
        }
        let (attributes, tag) = if authenticated {
            let attributes = match children.next_if(|child| child.is_context(1)) {
                Some(attributes) => auth_enveloped::authenticated(attributes)?,
                None => Vec::new(),
            };
            let tag = children.next().and_then(Cursor::octet_string).ok_or(BAD)?;
            children.next_if(|child| child.is_context(2));
            (
                attributes,
                Some(auth_enveloped::tag(&tag, &encrypted.cipher)?),
            )
        } else {
            children.next_if(|child| child.is_context(1));
            (Vec::new(), None)
        };
        if children.next().is_some() {
            return Err(BAD);
        }
        Ok(Self {
            recipients: recipient::recipients(recipients, limits)?,
            cipher: encrypted.cipher,
            derived_for: encrypted.derived_for,
            content: encrypted.pieces,
            authenticated: attributes,
            tag,
        })
    }

    /// Its recipients, whatever the cipher is and however the rest reads.
    pub(crate) fn read_recipients(
        kind: LayerKind,
        content: Cursor<'_, '_>,
        limits: &Limits,
    ) -> Result<Vec<Recipient>, Refusal> {
        recipient::recipients(begun(kind, content)?.recipients, limits)
    }

    /// The content, by the content-encryption key as it was wrapped. `object` is what it was read from.
    pub(crate) fn open(&self, object: &[u8], content_key: &Secret) -> Result<Vec<u8>, OpenError> {
        let derived = match &self.derived_for {
            None => None,
            Some(inner) => {
                let key = ContentCipher::derive_key(content_key, inner);
                Some(key.map_err(|_| OpenError)?)
            }
        };
        let key = derived.as_ref().unwrap_or(content_key);
        let mut opener = Opener::new(&self.cipher, key, &self.authenticated)?;
        let total: usize = self.content.iter().map(Range::len).sum();
        // Never grown: no copy of it is left where it lay before.
        let mut out = Vec::with_capacity(total.saturating_add(ROOM));
        for piece in &self.content {
            opener.update(slice(object, piece.clone()), &mut out);
        }
        match opener.finish(self.tag.as_deref(), &mut out) {
            Ok(()) => Ok(out),
            Err(error) => {
                // Wiped.
                drop(Secret::new(out));
                Err(error)
            }
        }
    }
}

/// An object up to its recipients.
struct Begun<'t, 'a> {
    /// Whether the type is the one with a tag.
    authenticated: bool,
    recipients: Cursor<'t, 'a>,
    /// What comes after them.
    rest: Peekable<Children<'t, 'a>>,
}

fn begun<'t, 'a>(kind: LayerKind, content: Cursor<'t, 'a>) -> Result<Begun<'t, 'a>, Refusal> {
    let authenticated = match kind {
        LayerKind::Enveloped => false,
        LayerKind::AuthEnveloped => true,
        _ => return Err((Defect::UnsupportedLayer, "the object is not enveloped")),
    };
    if !content.is(Tag::SEQUENCE) {
        return Err(BAD);
    }
    let mut children = content.children().peekable();
    children.next().and_then(Cursor::integer).ok_or(BAD)?;
    // OriginatorInfo: certificates and lists of the sender, which nothing here needs.
    children.next_if(|child| child.is_context(0));
    let recipients = children
        .next()
        .filter(|child| child.is(Tag::SET))
        .ok_or(BAD)?;
    Ok(Begun {
        authenticated,
        recipients,
        rest: children,
    })
}

/// EncryptedContentInfo.
struct EncryptedContent {
    cipher: ContentCipher,
    derived_for: Option<AlgorithmIdentifier>,
    pieces: Vec<Range<usize>>,
}

impl EncryptedContent {
    fn read(info: Cursor<'_, '_>) -> Result<Self, Refusal> {
        if !info.is(Tag::SEQUENCE) {
            return Err(BAD);
        }
        let mut children = info.children();
        let content_type = children.next().and_then(Cursor::oid).ok_or(BAD)?;
        let identifier = children.next().and_then(algorithm).ok_or(BAD)?;
        let octets = children
            .next()
            .and_then(|content| content.octets(Tag::context(0)))
            .ok_or((
                Defect::Malformed,
                "the encrypted content is not in the object",
            ))?;
        if children.next().is_some() {
            return Err(BAD);
        }
        // RFC 8551 §2.4.3: what is encrypted in mail is a MIME entity.
        if oids::DATA != content_type {
            return Err((Defect::UnsupportedLayer, "what is encrypted is not mail"));
        }
        let derived_for = if identifier.oid() == oid::CEK_HKDF_SHA256 {
            let inner = identifier.parameters().ok_or(BAD)?;
            Some(AlgorithmIdentifier::from_der(inner).map_err(|_| BAD)?)
        } else {
            None
        };
        let identifier = derived_for.as_ref().unwrap_or(&identifier);
        let cipher = ContentCipher::from_identifier(identifier).map_err(|error| match error {
            AlgorithmError::Unsupported(_) => {
                (Defect::UnsupportedAlgorithm, "the cipher is not supported")
            }
            AlgorithmError::Parameters(_) => {
                (Defect::Malformed, "the parameters of the cipher are wrong")
            }
        })?;
        Ok(Self {
            cipher,
            derived_for,
            pieces: octets.ranges(),
        })
    }
}

const BAD: Refusal = (
    Defect::Malformed,
    "the encrypted object has a wrong structure",
);
/// Beyond the octets of the content: a block that is held back.
const ROOM: usize = 64;
