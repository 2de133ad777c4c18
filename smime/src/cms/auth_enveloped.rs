//! What AuthEnvelopedData has beside EnvelopedData: attributes that the tag covers, and the tag (RFC 5083 §2.1, §2.2;
//! RFC 5084, RFC 8103).

use std::collections::HashSet;

use kenin_pki::ber::{Cursor, Octets};
use kenin_pki::crypto::ContentCipher;
use kenin_pki::der;

use super::attributes::attribute_parts;
use super::{Refusal, oids};
use crate::defect::Defect;

/// What the tag covers of authAttrs: the received octets, as a SET OF. They are in DER also where the rest is not, and
/// none is there twice.
pub(super) fn authenticated(attributes: Cursor<'_, '_>) -> Result<Vec<u8>, Refusal> {
    const BAD: Refusal = (
        Defect::Malformed,
        "the authenticated attributes have a wrong structure",
    );
    if !attributes.has_der_header() || !der::is_der_set_of(attributes.content()) {
        return Err((
            Defect::AttributesNotDer,
            "the authenticated attributes are not in DER",
        ));
    }
    let mut seen = HashSet::new();
    for attribute in attributes.children() {
        let (named, values) = attribute_parts(attribute).ok_or(BAD)?;
        if !seen.insert(named) {
            return Err((
                Defect::AttributeDuplicate,
                "an authenticated attribute occurs twice",
            ));
        }
        let wrong_type = oids::CONTENT_TYPE == named
            && values
                .only_child()
                .and_then(Cursor::oid)
                .is_none_or(|value| oids::DATA != value);
        if wrong_type {
            return Err((
                Defect::ContentTypeMismatch,
                "the authenticated content type is not the content's",
            ));
        }
    }
    if seen.is_empty() {
        return Err(BAD);
    }
    let mut covered = attributes.raw().to_vec();
    if let Some(first) = covered.first_mut() {
        *first = der::SET;
    }
    Ok(covered)
}

/// The mac. Its length is the one that the parameters of the cipher say, which are in the bounds of RFC 5084.
pub(super) fn tag(mac: &Octets<'_, '_>, cipher: &ContentCipher) -> Result<Vec<u8>, Refusal> {
    if Some(mac.total()) != cipher.tag_len() {
        return Err((
            Defect::Malformed,
            "the tag has not the length that the cipher says",
        ));
    }
    Ok(mac.clone().contiguous().into_owned())
}
