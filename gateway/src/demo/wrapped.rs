//! Whether a wrapped mail is one: signed by the gateway, by its authority alone, from its own address, around the
//! mail that was sent; and what it says to the person who gets it.

use kenin_pki::certificate::Certificate;
use kenin_pki::path::RevocationMode;
use kenin_policy::step::{self, Answer, Case};
use kenin_policy::trust::PathOptions;
use kenin_policy::{Anchor, AnchorSettings, TrustPolicy};
use kenin_smime::Limits;
use kenin_smime::mime::{TransferEncoding, decode};

/// What is wrong with a wrapped mail around `original`.
pub(super) fn problems(bytes: &[u8], original: &[u8], authority: &Certificate) -> Vec<String> {
    let mut problems = Vec::new();
    let anchor = Anchor {
        name: "gateway".to_owned(),
        certificate: authority.clone(),
        settings: AnchorSettings {
            revocation: RevocationMode::Off,
            ..AnchorSettings::default()
        },
    };
    let trust = TrustPolicy::from_parts(vec![anchor], PathOptions::default());
    let case = Case::new(bytes, &trust, &[], crate::cli::now(), &Limits::default());
    // The chain is in the mail, and its authority has no list.
    let outcome = step::run(&case, |_| Answer::Issuers(Vec::new()));
    if !outcome.verdict.is_pass() {
        let reason = outcome.verdict.reason_id();
        problems.push(format!("its own signature: {reason}"));
    }
    if !holds(bytes, original) && !holds(&inside(bytes), original) {
        problems.push("the original is not inside".to_owned());
    }
    problems
}

/// The statement for people.
pub(super) fn statement(bytes: &[u8]) -> Option<String> {
    let text = first_base64(bytes, b"Content-Language: ja, en")?;
    Some(String::from_utf8_lossy(&text).replace("\r\n", "\n"))
}

/// What an opaque or an encrypted form holds.
pub(super) fn inside(bytes: &[u8]) -> Vec<u8> {
    first_base64(bytes, b"smime.p7m").unwrap_or_default()
}

/// The first base64 body behind a mark.
fn first_base64(bytes: &[u8], mark: &[u8]) -> Option<Vec<u8>> {
    let at = find(bytes, mark)?;
    let part = bytes.get(at..)?;
    let body = part.get(find(part, b"\r\n\r\n")? + 4..)?;
    let end = find(body, b"\r\n--").unwrap_or(body.len());
    let decoded = decode(body.get(..end)?, TransferEncoding::Base64).ok()?;
    Some(decoded.into_owned())
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    find(bytes, what).is_some()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
