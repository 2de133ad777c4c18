//! CMS objects (RFC 5652): what they are and what their signatures say. Everything unsigned in them is
//! skipped: unsigned attributes and countersignatures influence nothing. One is read, in `timestamp`: what it
//! says of a signature never makes the signature right or wrong.

mod attributes;
mod auth_enveloped;
pub(crate) mod capabilities;
mod compressed;
mod content;
mod envelope;
mod enveloped;
mod matcher;
mod oids;
mod recipient;
mod signed_data;
mod timestamp;
mod verify;

pub(crate) use attributes::is_signed_attributes;
pub(crate) use compressed::Compressed;
pub(crate) use content::Content;
pub(crate) use envelope::Envelope;
pub(crate) use enveloped::Enveloped;
pub(crate) use oids::{
    ALGORITHM_PROTECTION, AUTH_ENVELOPED_DATA, CONTENT_TYPE, DATA, ENVELOPED_DATA, Known,
    MESSAGE_DIGEST, ORI_KEM, SIGNED_DATA, SIGNING_CERTIFICATE_V2, SIGNING_TIME, SMIME_CAPABILITIES,
};
pub use recipient::{Recipient, RecipientId};
pub(crate) use recipient::{curve_oid, kem_info, shared_info};
pub(crate) use signed_data::SignedData;
pub(crate) use verify::{Budget, Verifier};

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{self, Cursor, Tag, Tape};
use kenin_pki::oid::Oid;

use crate::defect::Defect;
use crate::facts::LayerKind;
use crate::limits::Limits;

/// A refusal and what exactly was wrong.
pub(crate) type Refusal = (Defect, &'static str);

/// Reads the outermost element. Says also whether other bytes than padding follow it.
pub(crate) fn read_tape<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Tape<'a>, bool), Refusal> {
    let limits = ber::Limits {
        depth: u8::try_from(limits.ber_depth).unwrap_or(u8::MAX),
        elements: u32::try_from(limits.ber_tlvs).unwrap_or(u32::MAX),
    };
    let tape = Tape::parse_prefix(bytes, &limits).map_err(|error| {
        if error.is_limit() {
            (
                Defect::LimitAsn1,
                "the object has too many or too deeply nested elements",
            )
        } else {
            (Defect::Malformed, "the object is not BER")
        }
    })?;
    let rest = bytes.get(tape.root().range().end..).unwrap_or_default();
    let trailing = rest
        .iter()
        .any(|byte| !matches!(byte, 0 | b'\r' | b'\n' | b' ' | b'\t'));
    Ok((tape, trailing))
}

/// The content type of a ContentInfo and its content.
pub(crate) fn content_info<'t, 'a>(
    root: Cursor<'t, 'a>,
) -> Result<(LayerKind, Cursor<'t, 'a>), Refusal> {
    const BAD: Refusal = (Defect::Malformed, "the object is no ContentInfo");
    if !root.is(Tag::SEQUENCE) {
        return Err(BAD);
    }
    let mut children = root.children();
    let oid = children.next().and_then(Cursor::oid).ok_or(BAD)?;
    let wrapper = children
        .next()
        .filter(|child| child.is_context(0))
        .ok_or(BAD)?;
    let content = wrapper.only_child().ok_or(BAD)?;
    if children.next().is_some() {
        return Err(BAD);
    }
    Ok((kind_of(oid), content))
}

/// What an object that cannot be read to its end is, if its first octets are those of a ContentInfo with
/// an encrypted type.
pub(crate) fn begins_encrypted(bytes: &[u8]) -> Option<LayerKind> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    // X.690 §8.1.3: the long form says how many octets of length follow.
    let more = usize::from(length).saturating_sub(0x80);
    let oid = rest.get(more..)?.strip_prefix(&[0x06])?;
    let (&length, rest) = oid.split_first()?;
    let oid = rest.get(..usize::from(length))?;
    let kind = [
        (ENVELOPED_DATA, LayerKind::Enveloped),
        (AUTH_ENVELOPED_DATA, LayerKind::AuthEnveloped),
        (oids::SIGNED_AND_ENVELOPED_DATA, LayerKind::Enveloped),
        (oids::ENCRYPTED_DATA, LayerKind::Encrypted),
    ]
    .into_iter()
    .find_map(|(known, kind)| (known.content() == oid).then_some(kind))?;
    (tag == 0x30).then_some(kind)
}

/// Which kind of layer a content type is. For SignedData that is [`LayerKind::Opaque`] for now.
fn kind_of(oid: Oid<'_>) -> LayerKind {
    [
        (SIGNED_DATA, LayerKind::Opaque),
        (ENVELOPED_DATA, LayerKind::Enveloped),
        (AUTH_ENVELOPED_DATA, LayerKind::AuthEnveloped),
        (oids::COMPRESSED_DATA, LayerKind::Compressed),
        (oids::ENCRYPTED_DATA, LayerKind::Encrypted),
        (oids::SIGNED_AND_ENVELOPED_DATA, LayerKind::Enveloped),
        (oids::DIGESTED_DATA, LayerKind::Digested),
        (oids::AUTHENTICATED_DATA, LayerKind::Authenticated),
    ]
    .into_iter()
    .find_map(|(known, kind)| (known == oid).then_some(kind))
    .unwrap_or(LayerKind::Other)
}

/// An AlgorithmIdentifier, in BER where mail has it so; its parameters come in DER.
pub(crate) fn algorithm(cursor: Cursor<'_, '_>) -> Option<AlgorithmIdentifier> {
    if !cursor.is(Tag::SEQUENCE) {
        return None;
    }
    algorithm_content(cursor)
}

/// The same under another tag.
pub(crate) fn algorithm_content(cursor: Cursor<'_, '_>) -> Option<AlgorithmIdentifier> {
    let mut children = cursor.children();
    let oid = children.next()?.oid()?;
    let parameters = children.next().map(Cursor::to_der);
    children
        .next()
        .is_none()
        .then(|| AlgorithmIdentifier::new(oid, parameters.as_deref()))
}
