//! One certificate that may have made a signature: is its key strong enough, does it lead to an
//! anchor, is it not revoked, does it belong to the sender?
//!
//! Every question is answered on its own, also when another one failed before, so that a reader can
//! ask one by one.

use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::RevokedEntry;
use kenin_pki::crypto::{DigestAlgorithm, KeyKind, SignatureAlgorithm};
use kenin_pki::path::{Budget, PathErrorKind};
use kenin_pki::time::UnixTime;
use kenin_smime::{SignatureFacts, SignerFacts};

use super::timestamp;
use crate::identity::{self, Identified, Identity};
use crate::protection::Agreement;
use crate::reason::Reason;
use crate::step::{AtHand, Case};
use crate::trust::{AnchorSettings, Disclosure, hex};
use crate::trustpath::{self, Reach, Trusted};
use crate::verdict::{CheckResult, SignerVerdict};

/// Longest list of addresses that is shown; certificates can hold thousands.
const MAX_ADDRESSES: usize = 32;

/// Proof that algorithms and key are above the floor. Made in [`strength`] only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strong(());

/// Proof that a valid path leads to a trusted anchor, revocation included. Made in [`judge`] from a
/// `Trusted` only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chained(());

/// What was found out about a certificate.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) algorithm: CheckResult,
    pub(super) path_check: CheckResult,
    pub(super) revocation: CheckResult,
    pub(super) identity: CheckResult,
    pub(super) strong: Option<Strong>,
    pub(super) chained: Option<Chained>,
    pub(super) identified: Option<Identified>,
    pub(super) settings: AnchorSettings,
    pub(super) signer: SignerVerdict,
    pub(super) path: Vec<String>,
    pub(super) anchor: Option<String>,
    pub(super) status: Vec<String>,
    pub(super) status_as_of: Option<UnixTime>,
    pub(super) status_unknown: bool,
    pub(super) revoked: Option<(String, Option<u8>)>,
    pub(super) not_before: Option<UnixTime>,
    pub(super) detail: Option<String>,
    /// The addresses in one order and case, to tell persons apart; the subject where there are none.
    pub(super) person: Vec<String>,
}

impl Judged {
    /// Everything holds but, perhaps, that it is the sender's.
    pub(super) fn is_acceptable(&self) -> bool {
        self.strong.is_some() && self.chained.is_some()
    }
}

/// The settings for a certificate that leads to no anchor. It may be one of an authority whose
/// certificates must not be shown, with a link left out on purpose.
pub(super) fn unknown_issuer(case: &Case<'_>) -> AnchorSettings {
    let mut anchors = case.trust.anchors().iter();
    let closed = anchors.any(|anchor| anchor.settings.disclosure == Disclosure::VerdictOnly);
    AnchorSettings {
        disclosure: if closed {
            Disclosure::VerdictOnly
        } else {
            Disclosure::Full
        },
        ..AnchorSettings::default()
    }
}

/// Judges a certificate as the signer's of `facts`.
pub(super) fn judge(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    signature: &SignatureFacts,
    facts: &SignerFacts,
    certificate: &Certificate,
    budget: &mut Budget,
) -> Judged {
    let (algorithm, strong) = strength(case, (facts.digest, facts.algorithm), certificate);
    // A path known to be valid needs no walk.
    let reach = match at_hand.cached(signature, certificate).is_some() {
        true => Reach::default(),
        false => {
            let (anchors, brought) = (case.trust.anchors(), &signature.certificates);
            trustpath::reach(case.known, at_hand, anchors, brought, certificate)
        }
    };
    let mut find = |proven_at| {
        trustpath::find(
            case,
            at_hand,
            signature,
            certificate,
            &reach,
            proven_at,
            budget,
        )
    };
    let found = match find(None) {
        // Revoked by now: good all the same, if the signature is known to be older, and all else holds.
        Err(Some(error)) => match timestamp::proven_at(case, at_hand, facts, certificate, &error) {
            // What came with a stamp makes nothing worse.
            Some(time) => find(Some(time)).or(Err(Some(error))),
            None => Err(Some(error)),
        },
        found => found,
    };
    let anchor = match &found {
        Ok(trusted) => case.trust.anchors().get(trusted.anchor()),
        Err(_) => None,
    };
    let profile = anchor.and_then(|anchor| anchor.settings.profile.as_ref());
    let unlike = profile.and_then(|profile| profile.fault(certificate));
    let chained = (found.is_ok() && unlike.is_none()).then_some(Chained(()));
    // Where no path was found, the anchor that was in sight decides what may be shown.
    let in_sight = anchor.or_else(|| {
        // Of several the one that allows least.
        let seen = reach.anchors.iter();
        let seen = seen.filter_map(|place| case.trust.anchors().get(*place));
        seen.max_by_key(|anchor| anchor.settings.disclosure == Disclosure::VerdictOnly)
    });
    let settings = in_sight.map_or_else(|| unknown_issuer(case), |anchor| anchor.settings.clone());

    let addresses = identity::addresses(certificate, &settings);
    // What a signature below the root protects is not this message's header.
    let header = if signature.root {
        case.header
    } else {
        Agreement::Agrees
    };
    let Identity {
        check: identity,
        identifier,
        proof: identified,
    } = identity::compare(
        &case.sender,
        addresses.as_deref(),
        &settings,
        header,
        at_hand.registered(certificate.sha256()),
    );
    let (path_check, revocation, detail) = match &found {
        Ok(trusted) => match unlike {
            None => {
                let detail = trusted.path().outlived().map(excused);
                (CheckResult::Ok, status_check(trusted), detail)
            }
            Some(what) => (
                CheckResult::Failed(Reason::Profile),
                status_check(trusted),
                Some(what),
            ),
        },
        Err(None) => (
            CheckResult::Failed(Reason::IssuerNotTrusted),
            CheckResult::Unchecked,
            Some("there are no trust anchors".to_owned()),
        ),
        Err(Some(error)) => {
            let reason = trustpath::reason(Some(error), at_hand);
            let detail = Some(error.to_string());
            match error.is_revocation() {
                true => (CheckResult::Ok, CheckResult::Failed(reason), detail),
                false => (CheckResult::Failed(reason), CheckResult::Unchecked, detail),
            }
        }
    };
    let revoked = match &found {
        Err(Some(error)) => match error.kind() {
            PathErrorKind::Revoked { time, reason } => {
                Some((time.to_string(), Some(reason.code())))
            }
            _ => None,
        },
        _ => None,
    };
    let path = found.as_ref().ok().map(Trusted::path);
    Judged {
        algorithm,
        path_check,
        revocation,
        identity,
        strong,
        chained,
        identified,
        signer: describe(certificate, addresses.as_deref(), identifier),
        path: path
            .map(|path| {
                path.certificates()
                    .iter()
                    .map(|c| c.subject().to_string())
                    .collect()
            })
            .unwrap_or_default(),
        anchor: anchor.map(|anchor| anchor.name.clone()),
        status: path
            .map(|path| {
                path.revocation()
                    .iter()
                    .map(|fact| {
                        let (from, until) = (fact.this_update, fact.next_update);
                        format!(
                            "{} {} of {from}, fresh until {until}",
                            fact.position, fact.source
                        )
                    })
                    .collect()
            })
            .unwrap_or_default(),
        status_as_of: path.and_then(|path| {
            let facts = path.revocation().iter();
            facts.map(|fact| fact.this_update).min()
        }),
        status_unknown: path.is_some_and(|path| !path.notes().is_empty()),
        revoked,
        not_before: certificate.not_before().ok(),
        detail,
        person: person(certificate, addresses.as_deref()),
        settings,
    }
}

/// Rule 5: the algorithms of the signature and the key that made it.
pub(super) fn strength(
    case: &Case<'_>,
    algorithms: (Option<DigestAlgorithm>, Option<SignatureAlgorithm>),
    certificate: &Certificate,
) -> (CheckResult, Option<Strong>) {
    let (Some(digest), Some(algorithm)) = algorithms else {
        return (CheckResult::Failed(Reason::UnsupportedAlgorithm), None);
    };
    let signed_digest = match algorithm {
        SignatureAlgorithm::RsaPkcs1(digest)
        | SignatureAlgorithm::Ecdsa(digest)
        | SignatureAlgorithm::Dsa(digest)
        | SignatureAlgorithm::RsaPss { digest, .. } => Some(digest),
        SignatureAlgorithm::Ed25519 | SignatureAlgorithm::MlDsa(_) => None,
    };
    let digests = [Some(digest), signed_digest];
    let has = |wanted: DigestAlgorithm| digests.contains(&Some(wanted));
    let weak_key = match certificate.public_key().kind() {
        KeyKind::Rsa { bits } => {
            usize::try_from(*bits).is_ok_and(|bits| bits < case.trust.options().minimum_rsa_bits)
        }
        KeyKind::Ec(_) | KeyKind::Ed25519 | KeyKind::MlDsa(_) => false,
        KeyKind::Dsa { .. } | KeyKind::X25519 | KeyKind::MlKem(_) | KeyKind::Unsupported(_) => {
            return (CheckResult::Failed(Reason::UnsupportedAlgorithm), None);
        }
    };
    match () {
        () if has(DigestAlgorithm::Md5) => (CheckResult::Failed(Reason::WeakDigest), None),
        () if has(DigestAlgorithm::Sha1) || weak_key => {
            (CheckResult::Failed(Reason::WeakAlgorithm), None)
        }
        () if has(DigestAlgorithm::Sha224) => {
            (CheckResult::Failed(Reason::UnsupportedAlgorithm), None)
        }
        () => (CheckResult::Ok, Some(Strong(()))),
    }
}

/// What is told of a revocation that a time stamp excuses.
fn excused(entry: RevokedEntry) -> String {
    let (date, reason) = (entry.date, entry.reason.name());
    format!(
        "certificate is revoked since {date} ({reason}); a time stamp shows an earlier signature"
    )
}

/// `ok` only where something said so for every certificate of the path.
fn status_check(trusted: &Trusted) -> CheckResult {
    let path = trusted.path();
    let covered = (0..path.certificates().len())
        .all(|place| path.revocation().iter().any(|fact| fact.position == place));
    if covered {
        CheckResult::Ok
    } else {
        CheckResult::Unchecked
    }
}

fn describe(
    certificate: &Certificate,
    addresses: Option<&[Address]>,
    identifier: Option<String>,
) -> SignerVerdict {
    SignerVerdict {
        addresses: addresses
            .unwrap_or_default()
            .iter()
            .take(MAX_ADDRESSES)
            .map(ToString::to_string)
            .collect(),
        identifier,
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: certificate.serial_hex(),
        sha256: hex(certificate.sha256()),
    }
}

fn person(certificate: &Certificate, addresses: Option<&[Address]>) -> Vec<String> {
    let mut all: Vec<String> = addresses
        .unwrap_or_default()
        .iter()
        .map(|address| address.to_string().to_ascii_lowercase())
        .collect();
    if all.is_empty() {
        all.push(certificate.subject().to_string());
    }
    all.sort();
    all.dedup();
    all
}
