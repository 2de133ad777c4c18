//! Time stamps (RFC 3161): the one thing that excuses a certificate that was revoked in the meantime.
//!
//! A stamp counts where all of this holds: its certificate leads to an anchor for time stamps, is valid now and
//! known not to be revoked; its algorithms are strong; the latest moment that it may mean is before the
//! revocation, and it is not older than the signer's certificate; the reason of the revocation is known and leaves the
//! key sound. Then the path is looked for once more, and only the signer's own revocation is passed over. Nobody signed
//! that a stamp is there, so that one which does not count is as if it were not there.

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::RevokedEntry;
use kenin_pki::crypto::DigestAlgorithm;
use kenin_pki::ocsp::{CertStatus, OcspResponse};
use kenin_pki::path::{PathError, PathErrorKind};
use kenin_pki::time::UnixTime;
use kenin_smime::{SignatureFacts, SignerFacts, TimeStampFacts};

use super::certificate::strength;
use crate::step::{AtHand, Case};
use crate::trustpath;

/// The time stamps of a signer that could matter, since somebody says that its certificate was revoked after
/// them. Nothing of that is believed: it decides only whether more is asked about them.
pub(crate) fn in_question<'a>(
    case: &Case<'_>,
    at_hand: &AtHand<'a>,
    signature: &'a SignatureFacts,
    facts: &'a SignerFacts,
    leaf: &Certificate,
) -> Vec<&'a TimeStampFacts> {
    if facts.timestamps.is_empty() || case.trust.time_stamping().is_empty() {
        return Vec::new();
    }
    let lists = at_hand.crls.iter().copied().chain(&signature.crls);
    let listed = lists.filter_map(|crl| crl.find_of(leaf.issuer(), leaf.serial()));
    let responses = at_hand.ocsp.iter().copied().chain(&signature.ocsp);
    let answers = responses
        .filter(|response| response.mentions(leaf))
        .flat_map(OcspResponse::answers);
    let answered = answers.filter_map(|answer| match answer.status {
        CertStatus::Revoked(entry) => Some(entry),
        CertStatus::Good | CertStatus::Unknown => None,
    });
    let entries: Vec<RevokedEntry> = listed.chain(answered).collect();
    let stamps = facts.timestamps.iter();
    stamps
        .filter(|stamp| {
            let latest = stamp.info.latest();
            entries.iter().any(|entry| entry.is_outlived_by(latest))
        })
        .collect()
}

/// When the signature was there for certain, by a trusted time stamp from before the revocation that `error`
/// is about.
pub(super) fn proven_at(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    facts: &SignerFacts,
    certificate: &Certificate,
    error: &PathError,
) -> Option<UnixTime> {
    // A revoked authority is no matter of when somebody signed.
    let PathErrorKind::Revoked { time, reason } = error.kind() else {
        return None;
    };
    if !error.is_final() || !reason.leaves_the_key_sound() {
        return None;
    }
    // Who could choose the key after the stamp could make it fit a signature that was there before.
    let since = certificate.not_before().ok()?;
    let mut stamps: Vec<&TimeStampFacts> = facts
        .timestamps
        .iter()
        .filter(|stamp| stamp.info.latest() < time && since <= stamp.info.gen_time())
        .filter(|stamp| is_strong(case, stamp))
        .collect();
    stamps.sort_by_key(|stamp| stamp.info.latest());
    let trusted = stamps
        .into_iter()
        .find(|stamp| trustpath::is_trusted_stamp(case, at_hand, stamp));
    trusted.map(|stamp| stamp.info.latest())
}

/// Rule 5 holds for a stamp as for what it stamps; and so does its digest of the signature.
fn is_strong(case: &Case<'_>, stamp: &TimeStampFacts) -> bool {
    let algorithms = (Some(stamp.digest), Some(stamp.algorithm));
    let (_, strong) = strength(case, algorithms, &stamp.certificate);
    let weak = matches!(
        stamp.info.digest(),
        None | Some(DigestAlgorithm::Md5 | DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224)
    );
    strong.is_some() && !weak
}
