//! Makes a copy of a message as it was planned: signed, encrypted, or both (RFC 8551 §3.7: the signature inside).
//!
//! What is signed or encrypted by somebody else keeps its octets. Copies no field outside that the plan hides there.

use std::borrow::Cow;

use kenin_smime::encrypt::{Addressee, Protect, ProtectError};
use kenin_smime::header_protection::{
    Halves, HeaderProtection, protect_header, split, split_hiding, was_hidden,
};
use kenin_smime::sign::{Form, SignError, Signer};
use kenin_smime::{Limits, fits_relays, relayable};

use super::plan::Protection;
use crate::header;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It was to be signed, and there is nobody who signs.
    #[error("there is no key to sign with")]
    NoSigner,
    /// The signature was not made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It was not encrypted.
    #[error(transparent)]
    Protect(#[from] ProtectError),
}

/// The whole message in its new form. Without anything to do it is the message itself.
///
/// # Errors
/// All or nothing: nothing of the message is given out in a form that was not planned.
pub fn copy(
    message: &[u8],
    protection: &Protection,
    signer: Option<&Signer<'_>>,
    limits: &Limits,
) -> Result<Vec<u8>, CopyError> {
    if protection.sign.is_none() && protection.encryption.is_none() {
        return Ok(message.to_vec());
    }
    // What was hidden before is hidden again, whatever is done with other mail.
    let again = protection.encryption.is_some() && was_hidden(message);
    let how = protection
        .header
        .or(again.then_some(HeaderProtection::Cipher));
    let protected = how.and_then(|how| protect_header(message, how));
    let hidden = protected.is_some() && protection.encryption.is_some();
    // What is protected already keeps its header outside, but for what is hidden inside.
    let Halves { mut outer, entity } =
        protected.unwrap_or_else(|| match protection.encryption.is_some() {
            true => split_hiding(message, limits),
            false => split(message),
        });
    if protection.encryption.is_some() {
        outer = without(outer, &DIGESTS);
    }
    if hidden {
        outer = without(outer, &[TOPIC]);
    }
    let entity = match protection.sign {
        Some(form) => sign(entity, form, signer.ok_or(CopyError::NoSigner)?, limits)?,
        None => entity,
    };
    let whole = match &protection.encryption {
        Some(encryption) => {
            let readers = encryption.readers.iter().map(|reader| Addressee {
                oaep: reader.oaep,
                ..Addressee::of(&reader.certificate)
            });
            let protect = Protect {
                recipients: &readers.collect::<Vec<_>>(),
                cipher: encryption.cipher,
            };
            protect.protect(&entity)?
        }
        None => entity,
    };
    outer.extend_from_slice(&whole);
    Ok(outer)
}

/// Header fields without those of these names.
fn without(fields: Vec<u8>, names: &[&str]) -> Vec<u8> {
    let header = header::scan(&fields);
    let is_it = |field: &&header::Field| field.may_be(&fields, |own| names.contains(&own));
    if !header.fields.iter().any(|field| is_it(&field)) {
        return fields;
    }
    let kept = header.fields.iter().filter(|field| !is_it(field));
    let kept = kept.map(|field| fields.get(field.whole.clone()).unwrap_or_default());
    kept.collect::<Vec<_>>().concat()
}

/// Signed in a form that relays do not change: what does not fit them travels as an object.
fn sign(
    entity: Vec<u8>,
    form: Form,
    signer: &Signer<'_>,
    limits: &Limits,
) -> Result<Vec<u8>, SignError> {
    let fitting = match relayable(&entity, limits) {
        Some(Cow::Owned(fitting)) => Some(fitting),
        Some(Cow::Borrowed(_)) | None => None,
    };
    let entity = fitting.unwrap_or(entity);
    match fits_relays(&entity) {
        true => signer.sign(&entity, form),
        false => signer.sign_whole(&entity),
    }
}

/// Where some programs say the Subject once more.
const TOPIC: &str = "thread-topic";
/// What says a digest of the content and signs the Subject (RFC 6376 §3.5, RFC 4870): who guesses them could find out
/// whether that is right. They hold for nothing once the mail is encrypted.
const DIGESTS: [&str; 3] = [
    "dkim-signature",
    "x-google-dkim-signature",
    "domainkey-signature",
];

#[cfg(test)]
mod tests;
