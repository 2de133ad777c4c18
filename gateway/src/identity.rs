//! What makes a message the same when it is sent again. Its trace differs: every server on the way writes
//! fields above it.

use kenin_pki::crypto::{DigestAlgorithm, Digester};
use kenin_policy::header::{self, Field};

/// SHA-256 over the sender, the header fields that `counts` names, in their order, and the body.
pub(crate) fn of(sender: &str, raw: &[u8], counts: impl Fn(&Field) -> bool) -> [u8; 32] {
    let header = header::scan(raw);
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    digester.update(sender.as_bytes());
    for field in header.fields.iter().filter(|field| counts(field)) {
        // No sender, and nothing before the body, holds a line end alone.
        digester.update(b"\n");
        digester.update(raw.get(field.whole.clone()).unwrap_or_default());
    }
    digester.update(b"\n\n");
    digester.update(raw.get(header.body..).unwrap_or_default());
    let mut hash = [0; 32];
    hash.iter_mut()
        .zip(digester.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}
