//! Whom a layer names, and which of their keys is asked.

use std::sync::Arc;

use kenin_keys::{KeyFacts, KeyId, State as KeyState};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::PublicKey;
use kenin_smime::open::{EncryptedLayer, Recipient};

use super::Person;

/// Whether one of a layer's recipients is named by a certificate of the person's, in whatever way, and however often.
pub(super) fn names(recipients: &[Recipient], person: &Person) -> bool {
    let own: Vec<Certificate> = person
        .keys
        .iter()
        .flat_map(|key| own_certificates(key))
        .collect();
    let mut recipients = recipients.iter();
    recipients.any(|recipient| own.iter().any(|own| recipient.id.matches(own)))
}

/// The one key of the person's that is asked, and which recipient of the layer it is: one in use before one that was
/// replaced. Nothing where all that is for theirs is wrapped as old programs did.
pub(super) fn chosen(layer: &EncryptedLayer, person: &Person) -> Option<(KeyId, usize)> {
    let mut owned: Vec<(&Arc<KeyFacts>, Certificate)> = Vec::new();
    for key in &person.keys {
        owned.extend(own_certificates(key).into_iter().map(|own| (key, own)));
    }
    let certificates: Vec<Certificate> = owned.iter().map(|(_, own)| own.clone()).collect();
    let matches = layer.match_certificates(&certificates);
    let matched = matches.iter().filter_map(|found| {
        let (key, _) = owned.get(found.certificate)?;
        let wrapped = layer.recipients().get(found.recipient)?.wrapped.as_ref()?;
        if wrapped.wrapping.is_legacy() {
            return None;
        }
        Some((key.state != KeyState::Active, key.id, found.recipient))
    });
    let (_, key, recipient) = matched.min()?;
    Some((key, recipient))
}

/// The certificates of a key, without those of the authorities above.
fn own_certificates(key: &KeyFacts) -> Vec<Certificate> {
    let certificates = key.certificates.iter();
    let own = certificates.filter(|one| is_same(one.public_key(), &key.public));
    own.cloned().collect()
}

/// A certificate may say of its key that it is for one padding only, and the key file not.
fn is_same(one: &PublicKey, other: &PublicKey) -> bool {
    one.kind() == other.kind() && one.bits() == other.bits()
}
