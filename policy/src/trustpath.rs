//! From a signer's certificate to a trust anchor: what is in reach, what is lacking, and the
//! search, with a cache of paths that were found valid.
//!
//! Path validation itself is `kenin_pki::path`; this file decides which anchors, under which rules.
//! A failure is never cached, nor a path of which a status was left open; and a cached path is used only inside its
//! validity.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kenin_pki::certificate::{Certificate, Memo};
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, Digester};
use kenin_pki::extension::GeneralName;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::path::{
    self, Budget, PathError, PathErrorKind, PathRules, Purpose, RevocationMode, ValidPath,
};
use kenin_pki::time::UnixTime;
use kenin_smime::{SignatureFacts, TimeStampFacts};

use crate::reason::Reason;
use crate::step::{AtHand, Case, MAX_ROUNDS};
use crate::trust::{Anchor, TrustPolicy};

/// How many certificates are looked at above one signer.
const MAX_REACHED: usize = 64;

/// What the path of one time stamp may cost: a few certificates and their lists.
const STAMP_SIGNATURES: u32 = 24;
const STAMP_STEPS: u32 = 20_000;

/// A valid path to an anchor of the policy in force. Made by [`find`] only, from a
/// [`ValidPath`] of pki.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    path: Arc<ValidPath>,
    anchor: usize,
}

impl Trusted {
    pub(crate) fn path(&self) -> &ValidPath {
        &self.path
    }

    /// Position in the anchors of the policy.
    pub(crate) fn anchor(&self) -> usize {
        self.anchor
    }
}

/// Certificates read and paths found valid before, for one trust policy and one state of the known certificates and
/// lists. Use a new one whenever any of these changes.
#[derive(Debug, Default)]
pub struct PathCache {
    entries: RwLock<HashMap<[u8; 32], Entry>>,
    certificates: Memo,
    news: News,
}

#[derive(Clone, Debug)]
struct Entry {
    trusted: Trusted,
    since: UnixTime,
    until: UnixTime,
    /// What had come when its search began.
    news: u64,
}

/// How often something has come that may revoke what was good without it. Whoever clones it shares it.
#[derive(Clone, Debug, Default)]
pub struct News(Arc<AtomicU64>);

impl News {
    /// Something has come: no path that was found before, or is being searched for now, is believed any more.
    pub fn came(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A cache as one case has it, from before its first question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a> {
    cache: &'a PathCache,
    news: u64,
}

impl PathCache {
    /// How many paths are kept; when there are more, all are dropped and found again.
    const CAPACITY: usize = 2048;

    /// How long a path is believed without another look, in seconds.
    const LIFETIME: i64 = 3600;

    /// An empty one, in which nothing is believed that was found before such news.
    #[must_use]
    pub fn following(news: News) -> Self {
        Self {
            news,
            ..Self::default()
        }
    }

    /// For a case that begins now.
    pub(crate) fn begin(&self) -> Paths<'_> {
        Paths {
            cache: self,
            news: self.news.count(),
        }
    }

    /// How many paths it holds that no news has ended.
    pub fn len(&self) -> usize {
        let news = self.news.count();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().filter(|entry| entry.news == news).count()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Paths<'a> {
    /// The certificates that were read.
    pub(crate) fn certificates(self) -> &'a Memo {
        &self.cache.certificates
    }

    fn get(self, key: &[u8; 32], time: UnixTime) -> Option<Trusted> {
        let cache = self.cache;
        let entries = cache.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key)?;
        let holds = entry.since <= time && time < entry.until && entry.news == cache.news.count();
        holds.then(|| entry.trusted.clone())
    }

    fn put(self, key: [u8; 32], trusted: &Trusted, time: UnixTime) {
        // What could not be told for this mail is asked about anew for the next.
        if !trusted.path.notes().is_empty() {
            return;
        }
        let mut until =
            UnixTime(time.0.saturating_add(PathCache::LIFETIME)).min(trusted.path.valid_until());
        for fact in trusted.path.revocation() {
            until = until.min(fact.next_update);
        }
        if until <= time {
            return;
        }
        let mut entries = (self.cache.entries.write()).unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= PathCache::CAPACITY {
            entries.clear();
        }
        entries.insert(
            key,
            Entry {
                trusted: trusted.clone(),
                since: time,
                until,
                news: self.news,
            },
        );
    }
}

/// What can be reached from a certificate upward by issuer names.
#[derive(Debug, Default)]
pub(crate) struct Reach<'a> {
    /// The certificate itself first, then issuers and issuers of issuers.
    pub(crate) certificates: Vec<&'a Certificate>,
    /// Certificates whose issuer is neither in reach nor an anchor, near enough to ask about.
    pub(crate) orphans: Vec<&'a Certificate>,
    /// Positions of the anchors whose name was met.
    pub(crate) anchors: Vec<usize>,
}

impl Reach<'_> {
    /// Whose status is of interest, with the name of who issues the list.
    pub(crate) fn status(&self) -> impl Iterator<Item = (&Certificate, Name)> {
        self.certificates.iter().flat_map(|certificate| {
            list_issuers(certificate)
                .into_iter()
                .map(move |issuer| (*certificate, issuer))
        })
    }
}

/// The issuer of a certificate, and whoever else its distribution points name.
fn list_issuers(certificate: &Certificate) -> Vec<Name> {
    let mut names = vec![certificate.issuer().clone()];
    for point in certificate
        .crl_distribution_points()
        .ok()
        .flatten()
        .unwrap_or_default()
    {
        for name in &point.crl_issuer {
            if let GeneralName::Directory(name) = name
                && !names.contains(name)
                && names.len() < 4
            {
                names.push(name.clone());
            }
        }
    }
    names
}

/// Walks upward from `leaf` over everything at hand and what came along with it, breadth first.
pub(crate) fn reach<'a>(
    known: &'a [Certificate],
    at_hand: &AtHand<'a>,
    anchors: &[Anchor],
    brought: &'a [Certificate],
    leaf: &'a Certificate,
) -> Reach<'a> {
    let mut reach = Reach {
        certificates: vec![leaf],
        ..Reach::default()
    };
    let mut seen: HashSet<&[u8; 32]> = HashSet::from([leaf.sha256()]);
    let mut level_starts = 0;
    for level in 0.. {
        let this_level: Vec<&Certificate> = reach
            .certificates
            .get(level_starts..)
            .unwrap_or_default()
            .to_vec();
        if this_level.is_empty() {
            break;
        }
        level_starts = reach.certificates.len();
        for child in this_level {
            for wanted in list_issuers(child) {
                let is_issuer = wanted == *child.issuer();
                let mut found = false;
                for (place, anchor) in anchors.iter().enumerate() {
                    if *anchor.certificate.subject() == wanted {
                        found = true;
                        if is_issuer && !reach.anchors.contains(&place) {
                            reach.anchors.push(place);
                        }
                    }
                }
                let pool = brought
                    .iter()
                    .chain(known)
                    .chain(at_hand.issuers.iter().copied());
                for issuer in pool.filter(|candidate| *candidate.subject() == wanted) {
                    found |= issuer.sha256() != child.sha256();
                    if reach.certificates.len() < MAX_REACHED && seen.insert(issuer.sha256()) {
                        reach.certificates.push(issuer);
                    }
                }
                let near = level + 1 < MAX_ROUNDS;
                if !found && near && is_issuer && !child.is_self_issued() {
                    reach.orphans.push(child);
                }
            }
        }
    }
    reach
}

/// A path that is known to be valid now.
pub(crate) fn cached(
    case: &Case<'_>,
    signature: &SignatureFacts,
    leaf: &Certificate,
) -> Option<Trusted> {
    case.cache?
        .get(&cache_key(case, signature, leaf)?, case.time)
}

/// Everything a path depends on besides the cache's own scope; nothing where the message brings
/// revocation lists or OCSP responses, which must be looked at.
fn cache_key(case: &Case<'_>, signature: &SignatureFacts, leaf: &Certificate) -> Option<[u8; 32]> {
    if !signature.crls.is_empty() || !signature.ocsp.is_empty() {
        return None;
    }
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    digester.update(case.trust.revision().as_bytes());
    digester.update(leaf.sha256());
    for certificate in &signature.certificates {
        digester.update(certificate.sha256());
    }
    digester.finish().as_ref().try_into().ok()
}

/// What a search goes over, in one piece.
struct Gathered {
    candidates: Vec<Certificate>,
    crls: Vec<Crl>,
    ocsp: Vec<OcspResponse>,
}

impl Gathered {
    /// Of what is at hand, and the lists and responses that came along.
    fn new(at_hand: &AtHand<'_>, reach: &Reach<'_>, crls: &[Crl], ocsp: &[OcspResponse]) -> Self {
        Self {
            candidates: reach
                .certificates
                .iter()
                .skip(1)
                .map(|certificate| (*certificate).clone())
                .collect(),
            crls: at_hand
                .crls
                .iter()
                .map(|crl| (*crl).clone())
                .chain(crls.iter().cloned())
                .collect(),
            ocsp: at_hand
                .ocsp
                .iter()
                .map(|response| (*response).clone())
                .chain(
                    ocsp.iter()
                        .filter(|own| !at_hand.ocsp.contains(own))
                        .cloned(),
                )
                .collect(),
        }
    }

    fn sources(&self) -> path::StatusSources<'_> {
        path::StatusSources {
            crls: &self.crls,
            ocsp: &self.ocsp,
        }
    }
}

/// Whether a time stamp was made by an authority that is trusted for time stamps, whose certificate is valid
/// now and known not to be revoked.
///
/// That it is judged by today, and not by the day of the stamp, is the simplest rule that holds: who can forge
/// what an authority signed loses that with its certificate. Mail is judged when it comes in, so that little
/// is lost by it.
pub(crate) fn is_trusted_stamp(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    stamp: &TimeStampFacts,
) -> bool {
    let (certificate, anchors) = (&stamp.certificate, case.trust.time_stamping());
    let reach = reach(
        case.known,
        at_hand,
        anchors,
        &stamp.certificates,
        certificate,
    );
    if reach.anchors.is_empty() {
        return false;
    }
    let gathered = Gathered::new(at_hand, &reach, &stamp.crls, &stamp.ocsp);
    // On an account of its own: what nobody signed takes nothing from what was signed.
    let mut budget = Budget {
        signatures: case.budget.signatures.min(STAMP_SIGNATURES),
        steps: case.budget.steps.min(STAMP_STEPS),
        comparisons: case.budget.comparisons.min(STAMP_STEPS),
        depth: case.budget.depth,
    };
    path::find_path(
        certificate,
        &gathered.candidates,
        case.trust.time_stampers(),
        gathered.sources(),
        &case.trust.time_stamping_rules(case.time),
        &mut budget,
    )
    .is_ok()
}

/// Looks for a valid path under every group of anchors; the most telling failure is reported. `proven_at` is
/// when the signature was there, as a trusted time stamp says: a path that needs it is good for this one
/// signature and is never kept.
pub(crate) fn find(
    case: &Case<'_>,
    at_hand: &AtHand<'_>,
    signature: &SignatureFacts,
    leaf: &Certificate,
    reach: &Reach<'_>,
    proven_at: Option<UnixTime>,
    budget: &mut Budget,
) -> Result<Trusted, Option<PathError>> {
    if let Some(trusted) = at_hand.cached(signature, leaf) {
        return Ok(trusted.clone());
    }
    let gathered = Gathered::new(at_hand, reach, &signature.crls, &signature.ocsp);
    let unasked = at_hand.is_unasked(&reach.certificates);
    let rules = |mode| PathRules {
        proven_at,
        ..case.trust.rules(mode, case.time)
    };
    let trusted = search(case.trust, &rules, (leaf, &gathered), unasked, budget)?;
    if proven_at.is_none()
        && let (Some(cache), Some(key)) = (case.cache, cache_key(case, signature, leaf))
    {
        cache.put(key, &trusted, case.time);
    }
    Ok(trusted)
}

/// Looks for a valid path for encrypting mail to the holder of a certificate that came with nothing.
pub(crate) fn find_for_encryption(
    (trust, time, cache): Place<'_>,
    at_hand: &AtHand<'_>,
    leaf: &Certificate,
    reach: &Reach<'_>,
    budget: &mut Budget,
) -> Result<Trusted, Option<PathError>> {
    let gathered = Gathered::new(at_hand, reach, &[], &[]);
    let unasked = at_hand.is_unasked(&reach.certificates);
    let rules = |mode| PathRules {
        purpose: Purpose::MailEncryption,
        ..trust.rules(mode, time)
    };
    let trusted = search(trust, &rules, (leaf, &gathered), unasked, budget)?;
    if let (Some(cache), Some(key)) = (cache, encryption_key(trust, leaf)) {
        cache.put(key, &trusted, time);
    }
    Ok(trusted)
}

/// What a path is judged by, and where those are that were found valid before.
pub(crate) type Place<'a> = (&'a TrustPolicy, UnixTime, Option<Paths<'a>>);

/// A path for encrypting mail that is known to be valid now.
pub(crate) fn cached_for_encryption(
    (trust, time, cache): Place<'_>,
    leaf: &Certificate,
) -> Option<Trusted> {
    cache?.get(&encryption_key(trust, leaf)?, time)
}

/// Another one than any path of a signature has.
fn encryption_key(trust: &TrustPolicy, leaf: &Certificate) -> Option<[u8; 32]> {
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    digester.update(b"for encryption: ");
    digester.update(trust.revision().as_bytes());
    digester.update(leaf.sha256());
    digester.finish().as_ref().try_into().ok()
}

/// The search, one group of anchors after the other.
fn search(
    trust: &TrustPolicy,
    rules: &dyn Fn(RevocationMode) -> PathRules,
    (leaf, gathered): (&Certificate, &Gathered),
    unasked: bool,
    budget: &mut Budget,
) -> Result<Trusted, Option<PathError>> {
    let (candidates, sources) = (&gathered.candidates, gathered.sources());
    let mut worst: Option<PathError> = None;
    for group in trust.groups() {
        // What nobody asked about is not what nobody could tell: a crowd of certificates or signers in a message must
        // not keep the question away that matters.
        let mode = match group.mode {
            RevocationMode::IfAvailable if unasked => RevocationMode::Required,
            mode => mode,
        };
        let found = path::find_path(
            leaf,
            candidates,
            &group.anchors,
            sources,
            &rules(mode),
            budget,
        );
        match found {
            Ok(path) => {
                let anchor = group
                    .places
                    .get(path.anchor())
                    .copied()
                    .unwrap_or(usize::MAX);
                return Ok(Trusted {
                    path: Arc::new(path),
                    anchor,
                });
            }
            // Revoked is revoked, under whatever anchor; a laxer one does not forgive it.
            Err(error) if error.is_final() => return Err(Some(error)),
            Err(error) => {
                if worst
                    .as_ref()
                    .is_none_or(|worst| error.rank() > worst.rank())
                {
                    worst = Some(error);
                }
            }
        }
    }
    Err(worst)
}

/// The reason of a failure; nothing was found where there are no anchors.
pub(crate) fn reason(error: Option<&PathError>, at_hand: &AtHand<'_>) -> Reason {
    let Some(error) = error else {
        return Reason::IssuerNotTrusted;
    };
    match error.kind() {
        PathErrorKind::Revoked { .. } => Reason::Revoked,
        PathErrorKind::Expired => Reason::CertificateExpired,
        PathErrorKind::NotYetValid => Reason::CertificateNotYetValid,
        PathErrorKind::KeyUsage => Reason::KeyUsage,
        PathErrorKind::WeakAlgorithm => Reason::WeakAlgorithm,
        PathErrorKind::Budget => Reason::PathBudget,
        PathErrorKind::RevocationUnavailable => Reason::RevocationUnavailable,
        PathErrorKind::UnsupportedAlgorithm => Reason::UnsupportedAlgorithm,
        // Nobody knows the issuer, or those who might could not be asked.
        PathErrorKind::IssuerNotTrusted | PathErrorKind::IssuerUnavailable => {
            let orphan = error.certificate().map(Certificate::issuer);
            match orphan.is_some_and(|issuer| at_hand.is_unavailable(issuer)) {
                true => Reason::IssuerUnavailable,
                false => Reason::IssuerNotTrusted,
            }
        }
        // PathErrorKind may grow; what is not known is not valid.
        _ => Reason::PathInvalid,
    }
}
