//! What can be said of an encrypted layer without a key (RFC 5652 §6.1, §8, RFC 5083 §2.1).

use kenin_pki::ber::{Cursor, Tag};

use crate::cms::{Refusal, algorithm};
use crate::defect::Defect;
use crate::facts::LayerKind;
use crate::limits::Limits;

/// The outside of an encrypted layer.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) recipients: usize,
    pub(crate) algorithm_oid: Option<String>,
}

impl Envelope {
    /// Counts recipients and names the content encryption algorithm.
    pub(crate) fn read(
        content: Cursor<'_, '_>,
        kind: LayerKind,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        const BAD: Refusal = (
            Defect::Malformed,
            "the encrypted object has a wrong structure",
        );
        if !content.is(Tag::SEQUENCE) {
            return Err(BAD);
        }
        let mut children = content.children().peekable();
        children.next().and_then(Cursor::integer).ok_or(BAD)?;
        let mut envelope = Self::default();
        if matches!(kind, LayerKind::Enveloped | LayerKind::AuthEnveloped) {
            if children.peek().is_some_and(|child| child.is_context(0)) {
                children.next();
            }
            let recipients = children
                .next()
                .filter(|child| child.is(Tag::SET))
                .ok_or(BAD)?;
            envelope.recipients = recipients.children().take(limits.recipients + 1).count();
            if envelope.recipients > limits.recipients {
                return Err((Defect::LimitAsn1, "there are too many recipients"));
            }
        }
        // SignedAndEnvelopedData has its digest algorithms here.
        let info = children.find(|child| child.is(Tag::SEQUENCE)).ok_or(BAD)?;
        let identifier = info.children().nth(1).and_then(algorithm);
        envelope.algorithm_oid = identifier.map(|identifier| identifier.oid().to_string());
        Ok(envelope)
    }
}
