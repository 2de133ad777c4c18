//! The same for programs: `kenin-verdict.json`. Fields are only ever added.

use kenin_pki::crypto::DigestAlgorithm;
use serde_json::{Map, Value, json};

use super::statement::{Told, fresh};
use crate::decryption::Vouched;
use crate::stamp::MAX_RESULTS;
use crate::verdict::SignatureVerdict;

/// The JSON text.
pub(super) fn json(told: &Told<'_>) -> String {
    let (result, reason) = told.said();
    let signatures: Vec<Value> = told
        .verdict
        .root_signatures()
        .take(MAX_RESULTS)
        .map(signature)
        .collect();
    // Who has the signed original could else be told from who guesses it.
    let opened = Vouched::of(told.verdict);
    let digest =
        (!told.released && opened.is_none()).then(|| DigestAlgorithm::Sha256.digest(told.raw));
    let mut out = json!({
        "v": 1,
        "id": told.context.id,
        "iss": told.context.authserv_id,
        "checked_at": told.context.now.to_string(),
        "result": result.as_str(),
        "reason": reason.id(),
        "text": { "ja": reason.text_ja(), "en": reason.text() },
        "from": told.verdict.from,
        "message": {
            "date": told.field("date"),
            "message_id": told.field("message-id"),
            "subject": told.field("subject"),
        },
        "signatures": signatures,
        "content": match (told.released, opened) {
            (true, _) => "signed-content",
            (false, Some(_)) => "opened",
            (false, None) => "original",
        },
        "sha256": digest.map(|digest| crate::trust::hex(digest.as_ref())),
        "rev": told.verdict.revision,
    });
    if let (Some(members), Some(vouched)) = (out.as_object_mut(), opened) {
        members.insert("integrity".into(), vouched.as_str().into());
    }
    // Values of ours and strings: nothing that cannot be written.
    serde_json::to_string_pretty(&out).unwrap_or_default()
}

fn signature(signature: &SignatureVerdict) -> Value {
    let (result, reason) = signature.outward();
    let mut out = Map::new();
    out.insert("section".into(), signature.section.clone().into());
    out.insert("result".into(), result.as_str().into());
    out.insert("reason".into(), reason.id().into());
    if let Some(identifier) = signature.identifier() {
        out.insert("identifier".into(), identifier.into());
    }
    if let Some(since) = fresh(signature) {
        out.insert("status_as_of".into(), since.into());
    }
    if let (Some(signer), false) = (&signature.signer, signature.is_shielded()) {
        out.insert(
            "signer".into(),
            json!({
                "addresses": signer.addresses, "subject": signer.subject, "issuer": signer.issuer,
                "serial": signer.serial, "sha256": signer.sha256,
            }),
        );
        out.insert("anchor".into(), signature.anchor.clone().into());
        out.insert("status".into(), signature.status.clone().into());
        out.insert("signing_time".into(), signature.signing_time.clone().into());
    }
    Value::Object(out)
}
