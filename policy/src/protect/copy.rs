//! Makes a copy of a message as it was planned: signed, encrypted, or both (RFC 8551 §3.7: the signature inside).
//!
//! What is signed or encrypted by somebody else keeps its octets. Copies no field outside that the plan hides there.

use std::borrow::Cow;

use kenin_pki::address::AddressCase;
use kenin_smime::encrypt::{Addressee, Protect, ProtectError};
use kenin_smime::header_protection::{
    Came, Halves, HeaderProtection, protect_header, protect_header_again, split, split_hiding,
    was_hidden,
};
use kenin_smime::sign::{Form, SignError, Signer};
use kenin_smime::{Limits, fits_relays, is_called_seven_bit, signable};

use super::plan::Protection;
use crate::{header, mailbox};

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
    made(message, None, protection, signer, limits)
}

/// The same of a message that came encrypted, as `raw`, and was opened: encrypted again, it shows no more outside than it did
/// when it came.
///
/// # Errors
/// As [`copy`].
pub fn copy_again(
    message: &[u8],
    raw: &[u8],
    protection: &Protection,
    limits: &Limits,
) -> Result<Vec<u8>, CopyError> {
    let (header, wrapped) = as_it_came(message, raw);
    let came = Came {
        header: &header,
        wrapped,
    };
    made(message, Some(came), protection, None, limits)
}

/// The header that a message came with, and whether it is from somebody else now: it stands in a message of ours, or a
/// signature inside says so. Whoever it is from keeps the address.
fn as_it_came(message: &[u8], raw: &[u8]) -> (Vec<u8>, bool) {
    let (now, then) = (header::scan(message), header::scan(raw));
    let sender = |bytes: &[u8], header: &header::Header| {
        let from = mailbox::from_field(bytes, header);
        from.mailbox.ok().map(|mailbox| mailbox.address)
    };
    let is_same = match (sender(message, &now), sender(raw, &then)) {
        (Some(now), Some(then)) => now.matches(&then, AddressCase::Insensitive),
        _ => false,
    };
    if is_same {
        let end = then.body.min(raw.len());
        return (raw.get(..end).unwrap_or_default().to_vec(), false);
    }
    let fields = |bytes: &[u8], header: &header::Header, from: bool| {
        let fields = header.fields.iter();
        let fields = fields.filter(|field| field.may_be(bytes, |name| name == "from") == from);
        let fields = fields.map(|field| bytes.get(field.whole.clone()).unwrap_or_default());
        fields.collect::<Vec<_>>().concat()
    };
    let both = [fields(message, &now, true), fields(raw, &then, false)];
    (both.concat(), true)
}

fn made(
    message: &[u8],
    came: Option<Came<'_>>,
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
    let protected = how.and_then(|how| match came {
        Some(came) if how == HeaderProtection::Cipher => protect_header_again(message, came),
        _ => protect_header(message, how),
    });
    let hidden = protected.is_some() && protection.encryption.is_some();
    // What is protected already keeps its header outside, but for what is hidden inside.
    let Halves { mut outer, entity } =
        protected.unwrap_or_else(|| match protection.encryption.is_some() {
            true => split_hiding(message, limits, came),
            false => split(message),
        });
    if protection.encryption.is_some() {
        let is_told =
            |own: &str| DIGESTS.contains(&own) || BLIND.contains(&own) || REPORTS.contains(&own);
        outer = without(outer, is_told);
    }
    if hidden {
        outer = without(outer, says_the_subject);
    }
    let entity = match protection.sign {
        Some(form) => sign(&entity, form, signer.ok_or(CopyError::NoSigner)?, limits)?,
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
fn without(fields: Vec<u8>, is_named: impl Fn(&str) -> bool) -> Vec<u8> {
    let header = header::scan(&fields);
    let is_it = |field: &&header::Field| field.may_be(&fields, &is_named);
    if !header.fields.iter().any(|field| is_it(&field)) {
        return fields;
    }
    let kept = header.fields.iter().filter(|field| !is_it(field));
    let kept = kept.map(|field| fields.get(field.whole.clone()).unwrap_or_default());
    kept.collect::<Vec<_>>().concat()
}

/// Signed in a form that relays do not change: what does not fit them travels as an object.
fn sign(
    entity: &[u8],
    form: Form,
    signer: &Signer<'_>,
    limits: &Limits,
) -> Result<Vec<u8>, SignError> {
    let Some(close) = signable(entity, limits) else {
        return signer.sign_whole(entity);
    };
    // What is left as it was fits.
    let fits = matches!(close, Cow::Borrowed(_)) || fits_relays(&close);
    match fits && is_called_seven_bit(&close, limits) {
        true => signer.sign(&close, form),
        false => signer.sign_whole(&close),
    }
}

/// Whether a field says the Subject once more: mail programs write Thread-Topic, Sieve Original-Subject (RFC 5703 §6), and
/// what marks mail as spam X-Spam-Prev-Subject, X-ASG-Orig-Subj and the like.
fn says_the_subject(name: &str) -> bool {
    let ends = |end: &str| name.len() > end.len() && name.ends_with(end);
    name == "thread-topic" || ends("subject") || ends("subj")
}

/// What filters say of a mail with lines or words of it: SpamAssassin, amavis (of a bad header), DSPAM.
const REPORTS: [&str; 5] = [
    "x-spam-report",
    "x-spam-hammy",
    "x-spam-spammy",
    "x-amavis-alert",
    "x-dspam-factors",
];
/// Who gets a copy that the others are not to know of: for them each such copy is made apart (RFC 5322 §3.6.3).
const BLIND: [&str; 2] = ["bcc", "resent-bcc"];
/// What says a digest of the content and signs the Subject (RFC 6376 §3.5, RFC 4870): who guesses them could find out
/// whether that is right. They hold for nothing once the mail is encrypted.
const DIGESTS: [&str; 3] = [
    "dkim-signature",
    "x-google-dkim-signature",
    "domainkey-signature",
];

#[cfg(test)]
mod tests;
