//! From a verdict to header fields: scrub first, then `Authentication-Results` and
//! `X-Kenin-Verdict`.
//!
//! Never touches the body, never re-orders or rewrites somebody else's field, never says more about
//! a signer than the trust anchor allows. RFC 7281 and RFC 8601 §4.1; nothing says `smime=` about
//! mail that was not opened (RFC 7281 §5).

use std::collections::HashSet;
use std::ops::Range;

use kenin_pki::time::UnixTime;

pub use crate::jws::{StampKey, StampKeyError, Stated, StatementError, verify_statement};

use crate::decryption::{self, Vouched};
use crate::header::{self, Header};
use crate::jws::{Claims, payload};
use crate::mail::StampMode;
use crate::reason::{Reason, ResultWord};
use crate::scrub::Scrubber;
use crate::subject::{self, SubjectEdits};
use crate::trust::Disclosure;
use crate::verdict::{SignatureVerdict, Verdict};
use crate::wrap::Wrapper;
use crate::writer::{self, ResultsField, long_word};

/// How many signatures of one message are written down.
pub(crate) const MAX_RESULTS: usize = 16;

/// What to change in a header: first leave out the ranges, then put the bytes in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Byte ranges of the message to leave out, ascending, not overlapping.
    pub remove: Vec<Range<usize>>,
    /// What goes before these places inside fields, ascending; its line ends are folds.
    pub insert: Vec<(usize, Vec<u8>)>,
    /// Complete fields to put before the first byte.
    pub prepend: Vec<u8>,
    /// Whether a field of the sender's is changed, so that a DKIM signature over it no longer holds.
    pub rewrites: bool,
}

impl HeaderEdits {
    /// The message with the edits made.
    pub fn apply(&self, raw: &[u8]) -> Vec<u8> {
        self.pieces(raw).concat()
    }

    /// The same in pieces, which are copies of nothing.
    pub(crate) fn pieces<'a>(&'a self, raw: &'a [u8]) -> Vec<&'a [u8]> {
        let mut out = vec![self.prepend.as_slice()];
        let mut inserts = self.insert.iter().peekable();
        let mut at = 0;
        let end = raw.len()..raw.len();
        for range in self.remove.iter().chain(std::iter::once(&end)) {
            while let Some((place, bytes)) = inserts.next_if(|(place, _)| *place <= range.start) {
                out.push(raw.get(at..*place).unwrap_or_default());
                out.push(bytes);
                at = at.max(*place);
            }
            out.push(raw.get(at..range.start).unwrap_or_default());
            at = at.max(range.end);
        }
        out
    }
}

/// What a stamp needs beside message and verdict.
#[derive(Clone, Copy, Debug)]
pub struct StampContext<'a> {
    /// The authserv-id of this gateway.
    pub authserv_id: &'a str,
    /// Other ids of the site, under which nobody else may claim `smime`.
    pub site_authserv_ids: &'a [String],
    /// The key for the signed statement; without it the statement is left out.
    pub key: Option<&'a StampKey>,
    /// The id of the message in our logs.
    pub id: &'a str,
    /// Now.
    pub now: UnixTime,
    /// How the verdict is shown.
    pub mode: StampMode,
    /// Whether the site reads tags in subjects, so that no mail may bring one along.
    pub tags: bool,
    /// What wraps mail; without it no mail is wrapped.
    pub wrapper: Option<&'a Wrapper>,
    /// Names (DER) of the authorities whose certificates must not be shown to others.
    pub shielded_names: &'a [&'a [u8]],
}

/// Scrubs and stamps: what to change in the header of `raw` for this verdict.
///
/// A mail whose root layer stayed encrypted is scrubbed and gets nothing.
pub fn stamp(raw: &[u8], verdict: &Verdict, context: &StampContext<'_>) -> HeaderEdits {
    let mut header = header::scan(raw);
    let scrubber = Scrubber::new(context.authserv_id, context.site_authserv_ids);
    let remove = scrubber.ranges(raw, &header);
    // The statement is about the copy that is delivered.
    if !remove.is_empty() {
        let gone: HashSet<usize> = remove.iter().map(|range| range.start).collect();
        header
            .fields
            .retain(|field| !gone.contains(&field.whole.start));
    }
    let outward = outward(verdict);
    let subject = subject_edits(raw, &header, outward, context);
    let body = raw.get(header.body..).unwrap_or_default();
    let mut prepend = if subject.is_empty() {
        own_fields(verdict, context, raw, &header, body)
    } else {
        let head = head_as_delivered(raw, &header, &remove, &subject);
        own_fields(verdict, context, &head, &header::scan(&head), body)
    };
    let rewrites = !subject.is_empty();
    prepend.extend(subject.field);
    let mut remove = remove;
    remove.extend(subject.remove);
    remove.sort_by_key(|range| range.start);
    HeaderEdits {
        remove,
        insert: subject.insert,
        prepend,
        rewrites,
    }
}

/// `Authentication-Results`, `X-Kenin-Verdict` and, where it was opened, `X-Kenin-Decryption` for a copy with this header, which lies in `head`, and
/// this body; nothing where there is no result.
pub(crate) fn own_fields(
    verdict: &Verdict,
    context: &StampContext<'_>,
    head: &[u8],
    header: &Header,
    body: &[u8],
) -> Vec<u8> {
    let Some((result, reason)) = outward(verdict) else {
        return Vec::new();
    };
    let mut fields = results(verdict, (result, reason), context.authserv_id);
    if let Some(key) = context.key {
        let claims = Claims {
            id: context.id,
            issuer: context.authserv_id,
            time: context.now,
            result: result.as_str(),
            reason: reason.id(),
            signers: verdict
                .root_signatures()
                .filter_map(SignatureVerdict::identifier)
                .take(MAX_RESULTS)
                .collect(),
            revision: &verdict.revision,
            opened: Vouched::of(verdict).map(Vouched::as_str),
        };
        if let Some(jws) = key.sign(&payload(head, header, body, &claims)) {
            fields.extend(long_word("X-Kenin-Verdict", &jws));
        }
    }
    fields.extend(decryption::field(verdict).unwrap_or_default());
    fields
}

fn subject_edits(
    raw: &[u8],
    header: &Header,
    outward: Option<(ResultWord, Reason)>,
    context: &StampContext<'_>,
) -> SubjectEdits {
    if !context.tags {
        return SubjectEdits::default();
    }
    let listed = header.fields.iter().any(|field| {
        ["list-id", "list-post"]
            .iter()
            .any(|name| field.is_plainly(raw, name))
    });
    let tag = match (context.mode, outward) {
        (StampMode::Subject(language), Some((result, _))) if !listed => {
            subject::tag(result, language)
        }
        _ => None,
    };
    subject::edits(raw, header, tag)
}

/// The header without what is removed and with its Subject changed: what the statement is about.
fn head_as_delivered(
    raw: &[u8],
    header: &Header,
    remove: &[Range<usize>],
    subject: &SubjectEdits,
) -> Vec<u8> {
    let mut remove: Vec<Range<usize>> = remove.iter().chain(&subject.remove).cloned().collect();
    remove.sort_by_key(|range| range.start);
    let edits = HeaderEdits {
        remove,
        insert: subject.insert.clone(),
        prepend: subject.field.clone(),
        ..HeaderEdits::default()
    };
    edits.apply(raw.get(..header.body).unwrap_or(raw))
}

/// What may be said outside about the whole message; nothing when there is no result.
pub fn outward(verdict: &Verdict) -> Option<(ResultWord, Reason)> {
    let (result, reason) = (verdict.result?, verdict.reason?);
    let worst = verdict
        .root_signatures()
        .map(SignatureVerdict::outward)
        .max_by_key(|(_, reason)| reason.badness());
    Some(worst.unwrap_or((result, reason)))
}

/// The `Authentication-Results` field: one result a root signature, or one for the message.
fn results(verdict: &Verdict, whole: (ResultWord, Reason), authserv_id: &str) -> Vec<u8> {
    let mut field = ResultsField::new(authserv_id);
    let mut any = false;
    for signature in verdict.root_signatures().take(MAX_RESULTS) {
        let (result, reason) = signature.outward();
        field.add(result, reason, &properties(signature));
        any = true;
    }
    if !any {
        field.add(whole.0, whole.1, &[]);
    }
    field.finish()
}

fn properties(signature: &SignatureVerdict) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if let Some(identifier) = signature.identifier().filter(|text| writer::fits(text)) {
        out.push(("smime-identifier", writer::address(identifier)));
    }
    out.push(("smime-part", writer::value(&signature.section)));
    // Both or neither, and neither under restricted disclosure.
    if let (Some(signer), Disclosure::Full) = (&signature.signer, signature.disclosure) {
        out.push(("smime-serial", writer::value(&signer.serial)));
        out.push(("smime-issuer", writer::distinguished_name(&signer.issuer)));
    }
    out
}

#[cfg(test)]
mod tests;
