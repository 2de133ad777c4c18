//! The copy of a signed mail in which the gateway speaks: its own signed message around the original, or,
//! where the signer's certificate must not be shown, around what was signed.
//!
//! A copy that must not show a certificate never does: where its content cannot be taken out of the
//! signature, there is no copy, and the caller has to refuse the mail, which then stays its sender's.
//! Never changes an octet of what was signed, never promotes one of its header fields, never shows a
//! name in From that was not found to be the signer's. RFC 8551 §3.5, RFC 5322.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use kenin_smime::sign::{Form, Signer, boundary_for};
use kenin_smime::{Limits, is_seven_bit, relayable, release, signable};

use crate::header::{self, Header};
use crate::mail::StampMode;
use crate::reason::Reason;
use crate::stamp::{HeaderEdits, StampContext, outward, own_fields, stamp};
use crate::verdict::Verdict;

mod evidence;
mod gate;
mod names;
mod statement;
mod wrapper;

use gate::Wanted;
pub use wrapper::{Wrapper, WrapperError};

/// How a copy differs from the message that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The changes of its header.
    pub header: HeaderEdits,
    /// Where the body begins, and the one that takes its place.
    pub body: Option<(usize, Vec<u8>)>,
    /// Whether the gateway signed it.
    pub wrapped: bool,
}

impl Delivered {
    /// The copy as it arrives.
    pub fn applied(&self, raw: &[u8]) -> Vec<u8> {
        self.pieces(raw).concat()
    }

    /// The same in pieces, which are copies of nothing.
    fn pieces<'a>(&'a self, raw: &'a [u8]) -> Vec<&'a [u8]> {
        match &self.body {
            None => self.header.pieces(raw),
            Some((at, body)) => {
                let mut pieces = self.header.pieces(raw.get(..*at).unwrap_or(raw));
                pieces.push(body);
                pieces
            }
        }
    }
}

/// Whether mail of this verdict is wrapped in this mode, where there is something that can sign the wrapping.
pub fn is_wrapped(verdict: &Verdict, mode: StampMode) -> bool {
    let signed = verdict.root_signatures().next().is_some();
    signed && (mode == StampMode::Wrap || verdict.is_shielded())
}

/// The copy to deliver for this verdict: stamped, or wrapped where the mode or the signer's certificate
/// asks for it.
///
/// # Errors
/// Why nothing may be delivered: the mail shows, or may show, a certificate that nobody may see, and its
/// content cannot be told from it.
pub fn deliver(
    raw: &[u8],
    verdict: &Verdict,
    context: &StampContext<'_>,
    limits: &Limits,
) -> Result<Delivered, Reason> {
    let copies = deliver_each(raw, verdict, context, &[context.mode], limits)?;
    copies.into_iter().next().ok_or(Reason::Malformed)
}

/// The same for several modes, in their order; that of the context does not count. Of a shielded verdict all modes
/// give the same copy, so that one is enough to ask for.
///
/// # Errors
/// As of [`deliver`]: what must not be shown in one copy must not be in another.
pub fn deliver_each(
    raw: &[u8],
    verdict: &Verdict,
    context: &StampContext<'_>,
    modes: &[StampMode],
    limits: &Limits,
) -> Result<Vec<Delivered>, Reason> {
    // Said to the sender, so only what may be said outside.
    let reason = outward(verdict).map_or(Reason::Malformed, |(_, reason)| reason);
    let reason = match reason.strict_reply() {
        Some(_) => reason,
        None => Reason::Malformed,
    };
    let mut copies = Vec::new();
    for mode in modes {
        let context = StampContext {
            mode: *mode,
            ..*context
        };
        copies.push(copy(raw, verdict, &context, limits, reason)?);
    }
    // Whatever shape it travels in: no list of shapes is complete, and what was not read to its end may hold any.
    let compressed = verdict.layers.iter().any(|layer| layer.kind == COMPRESSED);
    let wanted = wanted(verdict, context);
    let shows = |text: Vec<&[u8]>| gate::shows(&wanted, text);
    match wanted.is_empty() || copies.is_empty() {
        true => Ok(copies),
        false if compressed => Err(Reason::UnsupportedLayer),
        false if texts(raw, &copies).into_iter().any(shows) => Err(match reason {
            // It says nothing of the signature, which may be good.
            Reason::Malformed | Reason::NotSigned | Reason::SignatureNotAtRoot => {
                Reason::NotAccepted
            }
            other => other,
        }),
        false => Ok(copies),
    }
}

/// All that stands in these copies, in pieces. The body of the mail itself is in one of them only: with the other
/// headers goes no more of it than what began in a header could end in.
fn texts<'a>(raw: &'a [u8], copies: &'a [Delivered]) -> Vec<Vec<&'a [u8]>> {
    let beginning = header::scan(raw).body.saturating_add(BESIDE);
    let beginning = raw.get(..beginning).unwrap_or(raw);
    let mut whole = false;
    let text = |copy: &'a Delivered| match (&copy.body, whole) {
        (None, true) => copy.header.pieces(beginning),
        (None, false) => {
            whole = true;
            copy.pieces(raw)
        }
        (Some(_), _) => copy.pieces(raw),
    };
    copies.iter().map(text).collect()
}

/// What a copy must not show: the names of the shielded authorities, and what shows a certificate or a signature that
/// was taken out.
fn wanted(verdict: &Verdict, context: &StampContext<'_>) -> Wanted {
    // A mail that was wrapped here may come back: what our own signature shows is no secret.
    let own = context.wrapper.map(Wrapper::traces).unwrap_or_default();
    let traces = verdict.signatures.iter().flat_map(|one| &one.traces);
    let traces = traces.filter(|trace| !own.contains(trace));
    let names = context.shielded_names.iter().copied();
    Wanted::new(names.chain(traces.map(Vec::as_slice)))
}

fn copy(
    raw: &[u8],
    verdict: &Verdict,
    context: &StampContext<'_>,
    limits: &Limits,
    reason: Reason,
) -> Result<Delivered, Reason> {
    let shielded = verdict.is_shielded();
    let wrapper = context
        .wrapper
        .filter(|wrapper| is_wrapped(verdict, context.mode) && wrapper.is_valid_at(context.now));
    if wrapper.is_none() && !shielded {
        return Ok(Delivered {
            header: stamp(raw, verdict, context),
            ..Delivered::default()
        });
    }
    let own = header::scan(raw);
    // Scrubbed, and nothing else: the stamps are made for another header.
    let scrubbed = HeaderEdits {
        prepend: Vec::new(),
        ..stamp(
            raw,
            verdict,
            &StampContext {
                mode: StampMode::Headers,
                ..*context
            },
        )
    };
    let released = match shielded {
        true => Some(without_signatures(raw, verdict, limits).ok_or(reason)?),
        false => None,
    };
    let copy = Copy {
        raw,
        header: &own,
        scrubbed,
        verdict,
        context,
        limits,
    };
    if let Some(wrapped) = wrapper.and_then(|wrapper| copy.wrapped(wrapper, released.as_deref())) {
        return Ok(wrapped);
    }
    match released {
        Some(released) => copy.bare(&released).ok_or(reason),
        None => Ok(Delivered {
            header: stamp(raw, verdict, context),
            ..Delivered::default()
        }),
    }
}

/// The message without the signatures whose certificates must not be shown.
fn without_signatures(raw: &[u8], verdict: &Verdict, limits: &Limits) -> Option<Vec<u8>> {
    let shielded = verdict.signatures.iter().filter(|one| one.is_shielded());
    // A signature over a content that is changed says nothing any more: it goes too.
    let sections: HashSet<&str> = shielded
        .flat_map(|one| one.within.iter().chain([&one.section]))
        .map(String::as_str)
        .collect();
    release(raw, limits, &sections).ok()
}

/// What a copy is made of.
struct Copy<'a> {
    raw: &'a [u8],
    header: &'a Header,
    scrubbed: HeaderEdits,
    verdict: &'a Verdict,
    context: &'a StampContext<'a>,
    limits: &'a Limits,
}

impl Copy<'_> {
    /// The released message as it is, under the sender's own header: where nobody can sign another.
    fn bare(&self, released: &[u8]) -> Option<Delivered> {
        let entity = self.fitting(released)?;
        let inner = header::scan(&entity);
        let mut fields = Vec::new();
        let content = inner
            .fields
            .iter()
            .filter(|field| describes(&entity, field));
        for field in content {
            fields.extend_from_slice(entity.get(field.whole.clone())?);
            if !fields.ends_with(b"\r\n") {
                fields.extend_from_slice(b"\r\n");
            }
        }
        let body = entity.get(inner.body..)?.to_vec();
        self.delivered(|field| describes(self.raw, field), fields, body, false)
    }

    /// The gateway's own message around the released one, or around the one that came.
    fn wrapped(&self, wrapper: &Wrapper, released: Option<&[u8]>) -> Option<Delivered> {
        let inner = match released {
            Some(released) => {
                let whole = self.inner(released);
                match signable(&whole, self.limits) {
                    Some(Cow::Owned(fitting)) => fitting,
                    Some(Cow::Borrowed(_)) | None => whole,
                }
            }
            None => {
                let edits = &self.scrubbed;
                edits.apply(self.raw)
            }
        };
        let entity = self.entity(wrapper, &inner, released.is_some());
        // What a relay might change inside a signed part travels as an object of its own. Not so the ESC of ISO-2022-JP:
        // few drop it, it has come here, and an object cannot be read without S/MIME.
        let signer = Signer {
            chain: &wrapper.chain,
            signing_time: Some(self.context.now),
            ..Signer::new(&*wrapper.key, &wrapper.certificate)
        };
        let mut signed = match is_seven_bit(&entity) {
            true => signer.sign(&entity, Form::Clear),
            false => signer.sign_whole(&entity),
        }
        .ok()?;
        drop(entity);
        let start = header::scan(&signed).body;
        let body = signed.split_off(start);
        let mut fields = self.own_header(wrapper);
        fields.extend_from_slice(signed.get(..start.checked_sub(2)?)?);
        let replaced = |field: &header::Field| {
            let replaced = |name: &str| REPLACED.contains(&name) || DIVERTING.contains(&name);
            describes(self.raw, field) || field.may_be(self.raw, replaced)
        };
        self.delivered(replaced, fields, body, true)
    }

    /// The message inside: of the original header what a reader needs, of the content all.
    fn inner(&self, released: &[u8]) -> Vec<u8> {
        let head = self
            .scrubbed
            .apply(self.raw.get(..self.header.body).unwrap_or_default());
        let mut out = Vec::with_capacity(released.len());
        // One of each: of two every program shows another one.
        let mut left: Vec<&str> = INNER.to_vec();
        for field in header::scan(&head).fields {
            if let Some(at) = left.iter().position(|name| field.is_plainly(&head, name)) {
                left.swap_remove(at);
                out.extend_from_slice(head.get(field.whole).unwrap_or_default());
            }
        }
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        let content = header::scan(released);
        for field in &content.fields {
            if describes(released, field) && !field.may_be(released, |name| name == "mime-version")
            {
                out.extend_from_slice(released.get(field.whole.clone()).unwrap_or_default());
            }
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(released.get(content.body..).unwrap_or_default());
        out
    }

    /// Statement, evidence and message.
    fn entity(&self, wrapper: &Wrapper, inner: &[u8], released: bool) -> Vec<u8> {
        let told = statement::Told {
            raw: self.raw,
            header: self.header,
            verdict: self.verdict,
            context: self.context,
            service: &wrapper.service,
            released,
        };
        let boundary = boundary_for(inner);
        let mut out = Vec::with_capacity(inner.len() + 8192);
        let part = |out: &mut Vec<u8>, header: &str| {
            out.extend_from_slice(format!("--{boundary}\r\n{header}\r\n").as_bytes());
        };
        out.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n").as_bytes(),
        );
        part(
            &mut out,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Language: ja, en\r\n\
             Content-Transfer-Encoding: base64\r\n",
        );
        kenin_smime::push_base64(&mut out, statement::text(&told).as_bytes());
        part(
            &mut out,
            "Content-Type: application/json; name=\"kenin-verdict.json\"\r\n\
             Content-Disposition: attachment; filename=\"kenin-verdict.json\"\r\n\
             Content-Transfer-Encoding: base64\r\n",
        );
        kenin_smime::push_base64(&mut out, evidence::json(&told).as_bytes());
        // Only what is 7-bit says nothing of its encoding.
        let encoding = match inner.is_ascii() {
            true => "",
            false => "Content-Transfer-Encoding: 8bit\r\n",
        };
        part(
            &mut out,
            &format!(
                "Content-Type: message/rfc822\r\nContent-Disposition: inline; filename=\"original.eml\"\r\n{encoding}"
            ),
        );
        out.extend_from_slice(inner);
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    /// From, Reply-To and Date of the wrapping message.
    fn own_header(&self, wrapper: &Wrapper) -> Vec<u8> {
        let pass = self.verdict.is_pass();
        let signer = self
            .verdict
            .root_signatures()
            .find_map(|one| one.identifier());
        let shown = match signer.filter(|_| pass) {
            // Readers, this engine among them, distrust a display name that holds another address.
            Some(signer) => format!("{} via {}", signer.replace('@', " at "), wrapper.service),
            None => wrapper.service.clone(),
        };
        let mut out = names::mailbox_field("From", &shown, &wrapper.address);
        let mut from = self
            .header
            .fields
            .iter()
            .filter(|field| field.may_be(self.raw, |name| name == "from"));
        // An answer goes to whoever wrote; where that is not one person, to nobody but us.
        if let (Some(only), None) = (from.next(), from.next())
            && only.is_plainly(self.raw, "from")
            && self.verdict.reason != Some(Reason::FromAmbiguous)
        {
            out.extend_from_slice(b"Reply-To:");
            out.extend_from_slice(only.value(self.raw));
        }
        out.extend_from_slice(format!("Date: {}\r\n", names::date(self.context.now)).as_bytes());
        out
    }

    /// 7-bit where the message that came was: the next hop was told so.
    fn fitting<'r>(&self, released: &'r [u8]) -> Option<Cow<'r, [u8]>> {
        let fitting = relayable(released, self.limits)?;
        (fitting.is_ascii() || !self.raw.is_ascii()).then_some(fitting)
    }

    /// The copy with another body, these fields in place of the replaced ones, and the stamps for it.
    fn delivered(
        &self,
        replaced: impl Fn(&header::Field) -> bool,
        fields: Vec<u8>,
        mut body: Vec<u8>,
        wrapped: bool,
    ) -> Option<Delivered> {
        if !body.ends_with(b"\r\n") {
            body.extend_from_slice(b"\r\n");
        }
        let mut edits = self.scrubbed.clone();
        let gone: Vec<Range<usize>> = self
            .header
            .fields
            .iter()
            .filter(|field| replaced(field))
            .map(|field| field.whole.clone())
            .collect();
        let inside = |at: usize| gone.iter().any(|range| range.contains(&at));
        edits.remove.retain(|range| !inside(range.start));
        edits.insert.retain(|(at, _)| !inside(*at));
        edits.remove.extend(gone);
        edits.remove.sort_by_key(|range| range.start);
        edits.prepend = fields;
        edits.rewrites = true;
        let head = edits.apply(self.raw.get(..self.header.body)?);
        let own = own_fields(
            self.verdict,
            self.context,
            &head,
            &header::scan(&head),
            &body,
        );
        edits.prepend = [own, edits.prepend].concat();
        Some(Delivered {
            header: edits,
            body: Some((self.header.body, body)),
            wrapped,
        })
    }
}

/// Whether a field is about how the body is written.
fn describes(raw: &[u8], field: &header::Field) -> bool {
    field.may_be(raw, |name| {
        name.starts_with("content-") || name == "mime-version"
    })
}

/// Fields that a wrapping message has of its own.
const REPLACED: [&str; 4] = ["from", "sender", "reply-to", "date"];
/// Fields by which programs answer or report to somebody else than the sender in front of them, and keys: a
/// message of ours does not pass them on.
const DIVERTING: [&str; 12] = [
    "mail-followup-to",
    "mail-reply-to",
    "list-post",
    "disposition-notification-to",
    "return-receipt-to",
    "errors-to",
    "resent-from",
    "resent-sender",
    "resent-reply-to",
    "autocrypt",
    "autocrypt-gossip",
    "openpgp",
];
/// Octets at the beginning of a body that are looked at together with each header.
const BESIDE: usize = 64 << 10;
/// What [`kenin_smime::LayerKind`] calls a layer that would have to be unpacked to be looked into.
const COMPRESSED: &str = kenin_smime::LayerKind::Compressed.as_str();
/// Fields of the original that stand in the message inside.
const INNER: [&str; 6] = ["from", "to", "cc", "date", "subject", "message-id"];

#[cfg(test)]
mod tests;
