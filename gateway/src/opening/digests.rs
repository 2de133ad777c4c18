//! By what an encrypted content is known when it comes again.

use kenin_pki::crypto::{Digest, DigestAlgorithm, Digester};
use kenin_smime::open::EncryptedLayer;

/// SHA-256 of the encrypted content.
pub(super) fn digest_of(layer: &EncryptedLayer) -> [u8; 32] {
    octets_of(&layer.encrypted_digest())
}

/// SHA-256 of the key as it is wrapped for a recipient. The sender's key beside it, which can be written in several ways,
/// does not count.
pub(super) fn digest_of_key(layer: &EncryptedLayer, recipient: usize) -> [u8; 32] {
    let recipient = layer.recipients().get(recipient);
    let wrapped = recipient.and_then(|recipient| recipient.wrapped.as_ref());
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    digester.update(b"kenin: wrapped key");
    digester.update(wrapped.map_or(&[][..], |wrapped| wrapped.encrypted_key.as_slice()));
    octets_of(&digester.finish())
}

fn octets_of(digest: &Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}
