//! Path building: an iterative depth-first search from the target towards the anchors.
//!
//! Names decide who may be an issuer, key identifiers and validity only the order in which issuers
//! are tried; a signature is verified before the search goes on above it, and once only. What does
//! not lead to an anchor by name is never tried, loops are cut (same name and key), and every step
//! is counted. RFC 4158 describes the choices.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::certificate::Certificate;
use crate::crypto::{Digest, PublicKey, SignatureAlgorithm, VerifyError};
use crate::name::Name;
use crate::ocsp::OcspResponse;
use crate::oid;

use super::anchor::TrustAnchor;
use super::budget::Budget;
use super::error::{PathError, PathErrorKind, keep};
use super::rules::{PathRules, RevocationMode};
use super::status::{PathStatus, Signers};
use super::{StatusSources, validate};

/// The certificates, anchors and CRLs of one call, and what was computed about them.
pub(super) struct Search<'a> {
    /// The target, then the candidates without repetition.
    pub(super) certificates: Vec<&'a Certificate>,
    pub(super) anchors: &'a [TrustAnchor],
    pub(super) by_subject: HashMap<&'a Name, Vec<usize>>,
    pub(super) signers: Signers<'a>,
    /// Where among `certificates` those that came with OCSP answers stand, by fingerprint. Nothing is built
    /// of them: they are issuers of nothing.
    pub(super) responders: HashMap<&'a [u8; 32], usize>,
    /// The self-issued certificates of anchors among `certificates`: they lead nowhere new.
    anchors_again: HashSet<usize>,
    /// By certificate and key of the issuer.
    verified: HashMap<(usize, Digest), Result<(), VerifyError>>,
}

/// A chain that passed everything.
pub(super) struct Found {
    /// Indices into the certificates, target first.
    pub(super) chain: Vec<usize>,
    pub(super) anchor: usize,
    pub(super) status: PathStatus,
}

/// Who may have issued a certificate.
#[derive(Clone, Copy)]
enum Link {
    Anchor(usize),
    Certificate(usize),
}

/// How the key identifiers of a certificate and a possible issuer compare; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KeyIds {
    Same,
    Unknown,
    Differ,
}

struct Frame {
    certificate: usize,
    links: Vec<(KeyIds, Link)>,
    next: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        target: &'a Certificate,
        candidates: &'a [Certificate],
        anchors: &'a [TrustAnchor],
        sources: StatusSources<'a>,
    ) -> Self {
        let mut seen = HashSet::from([target.sha256()]);
        let mut certificates = vec![target];
        certificates.extend(candidates.iter().filter(|c| seen.insert(c.sha256())));
        let mut by_subject: HashMap<&Name, Vec<usize>> = HashMap::new();
        for (at, certificate) in certificates.iter().enumerate() {
            by_subject
                .entry(certificate.subject())
                .or_default()
                .push(at);
        }
        let is_again = |c: &Certificate| {
            c.is_self_issued()
                && anchors.iter().any(|anchor| {
                    anchor.name() == c.subject() && anchor.key().id() == c.public_key().id()
                })
        };
        let anchors_again = (0..).zip(&certificates).filter(|(_, c)| is_again(c));
        let anchors_again = anchors_again.map(|(at, _)| at).collect();
        let mut responders = HashMap::new();
        for certificate in sources.ocsp.iter().flat_map(OcspResponse::certificates) {
            responders.entry(certificate.sha256()).or_insert_with(|| {
                certificates.push(certificate);
                certificates.len() - 1
            });
        }
        Self {
            certificates,
            anchors,
            by_subject,
            signers: Signers::new(sources),
            responders,
            anchors_again,
            verified: HashMap::new(),
        }
    }

    /// Looks for a path from the certificate `target` to an anchor, to `only` if given.
    pub(super) fn run(
        &mut self,
        target: usize,
        only: Option<usize>,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Found, PathError> {
        let mut best = None;
        match self.walk(target, only, rules, budget, &mut best) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(end) => keep(&mut best, end),
        }
        Err(best.unwrap_or_else(|| self.no_anchor(target)))
    }

    /// `Err` ends the search: the budget is spent or no other path can do better.
    fn walk(
        &mut self,
        target: usize,
        only: Option<usize>,
        rules: &PathRules,
        budget: &mut Budget,
        best: &mut Option<PathError>,
    ) -> Result<Option<Found>, PathError> {
        let own = self.certificates.get(target).copied();
        let leading = self.leading(target, only, budget)?;
        let mut frames = vec![self.frame(target, only, &leading, rules)];
        loop {
            let Some(frame) = frames.last_mut() else {
                return Ok(None);
            };
            let Some((ids, link)) = frame.links.get(frame.next).copied() else {
                frames.pop();
                continue;
            };
            frame.next += 1;
            let below = frame.certificate;
            budget.step().map_err(PathError::spent)?;
            match link {
                Link::Anchor(anchor) => {
                    let Some(by) = self.anchors.get(anchor) else {
                        continue;
                    };
                    if let Err(error) = self.signed_by(below, ids, by.key(), rules, budget)? {
                        keep(best, error.seen_from(own));
                        continue;
                    }
                    let chain: Vec<usize> = frames.iter().map(|f| f.certificate).collect();
                    match self.complete(chain, anchor, rules, budget) {
                        Ok(found) => return Ok(Some(found)),
                        Err(error) if error.kind() == PathErrorKind::Budget => return Err(error),
                        Err(error) => {
                            let error = error.seen_from(own);
                            // Its issuer has revoked it, whatever other way leads to that issuer.
                            if error.is_final() {
                                return Err(error);
                            }
                            keep(best, error);
                        }
                    }
                    // An anchor was reached, and the target itself is not fit: nothing helps.
                    if let Some(target) = own {
                        validate::target(target, rules).map_err(|error| error.seen_from(own))?;
                    }
                }
                Link::Certificate(issuer) => {
                    let Some(by) = self.certificates.get(issuer).copied() else {
                        continue;
                    };
                    if self.is_repeated(by, &frames, budget)? {
                        continue;
                    }
                    if self.is_too_deep(&frames, by, budget) {
                        let what = "path is longer than the limit";
                        keep(best, PathError::new(PathErrorKind::Budget, what, Some(by)));
                        continue;
                    }
                    // What a key inherits is known when its way to an anchor is: see `complete`.
                    let key = by.public_key();
                    if !key.is_incomplete()
                        && let Err(error) = self.signed_by(below, ids, key, rules, budget)?
                    {
                        keep(best, error.seen_from(own));
                        continue;
                    }
                    if let Err(error) = validate::intermediate(by, rules) {
                        keep(best, error.seen_from(own));
                        continue;
                    }
                    frames.push(self.frame(issuer, only, &leading, rules));
                }
            }
        }
    }

    /// A chain with good signatures up to an anchor: the rest of the rules.
    fn complete(
        &mut self,
        chain: Vec<usize>,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Found, PathError> {
        for (at, below) in chain.iter().enumerate() {
            let key = self.working_key(&chain, at.saturating_add(1), anchor);
            if let Some(key @ Cow::Owned(_)) = key {
                self.signed_by(*below, KeyIds::Unknown, &key, rules, budget)??;
            }
        }
        let certificates: Vec<&Certificate> = chain
            .iter()
            .filter_map(|at| self.certificates.get(*at).copied())
            .collect();
        if let Some(by) = self.anchors.get(anchor) {
            validate::chain(&certificates, by, rules, budget)?;
        }
        let status = match rules.revocation {
            RevocationMode::Off => PathStatus::default(),
            _ => self.path_status(&chain, anchor, rules, budget)?,
        };
        Ok(Found {
            chain,
            anchor,
            status,
        })
    }

    /// The key of the certificate at `position` of a chain, with the parameters that it inherits on this
    /// way (RFC 5280 §6.1.4 (e), (f)); then it is an owned one. Parameters that another certificate of the
    /// issuer's name has would not do: whoever may choose them can make any signature fit.
    pub(super) fn working_key(
        &self,
        chain: &[usize],
        position: usize,
        anchor: usize,
    ) -> Option<Cow<'a, PublicKey>> {
        let key = |at: &usize| Some(self.certificates.get(*at)?.public_key());
        let own = key(chain.get(position)?)?;
        if !own.is_incomplete() {
            return Some(Cow::Borrowed(own));
        }
        let above = chain.get(position.saturating_add(1)..).unwrap_or_default();
        let above = above.iter().filter_map(key);
        let above = above.chain(self.anchors.get(anchor).map(TrustAnchor::key));
        let complete = above.into_iter().find(|key| !key.is_incomplete());
        let whole = complete.and_then(|complete| own.inheriting(complete));
        // With nothing to inherit it verifies nothing.
        Some(Cow::Owned(whole.unwrap_or_else(|| own.clone())))
    }

    /// The names from which an anchor can be reached, going up from the target's issuer by name.
    fn leading(
        &self,
        target: usize,
        only: Option<usize>,
        budget: &mut Budget,
    ) -> Result<HashSet<&'a Name>, PathError> {
        let Some(target) = self.certificates.get(target) else {
            return Ok(HashSet::new());
        };
        let mut seen = HashSet::from([target.issuer()]);
        let mut queue = vec![target.issuer()];
        let mut below: HashMap<&Name, Vec<&Name>> = HashMap::new();
        while let Some(name) = queue.pop() {
            for issuer in self.named(name).map(Certificate::issuer) {
                budget.step().map_err(PathError::spent)?;
                if issuer != name {
                    below.entry(issuer).or_default().push(name);
                }
                if seen.insert(issuer) {
                    queue.push(issuer);
                }
            }
        }
        let anchors = self.anchors.iter().enumerate();
        let mut leading: HashSet<&Name> = anchors
            .filter(|(at, _)| only.is_none_or(|only| only == *at))
            .filter_map(|(_, anchor)| seen.get(anchor.name()).copied())
            .collect();
        let mut queue: Vec<&Name> = leading.iter().copied().collect();
        while let Some(name) = queue.pop() {
            for name in below.get(name).into_iter().flatten() {
                budget.step().map_err(PathError::spent)?;
                if leading.insert(name) {
                    queue.push(name);
                }
            }
        }
        Ok(leading)
    }

    /// The issuers to try for a certificate, the likeliest first.
    fn frame(
        &self,
        at: usize,
        only: Option<usize>,
        leading: &HashSet<&'a Name>,
        rules: &PathRules,
    ) -> Frame {
        let Some(below) = self.certificates.get(at).copied() else {
            return Frame {
                certificate: at,
                links: Vec::new(),
                next: 0,
            };
        };
        let mut links = Vec::new();
        for (anchor, by) in self.anchors.iter().enumerate() {
            if by.name() == below.issuer() && only.is_none_or(|only| only == anchor) {
                let ids = by
                    .certificate()
                    .map_or(KeyIds::Unknown, |c| key_ids(below, c));
                links.push(((ids, false, 0, 0), Link::Anchor(anchor)));
            }
        }
        for &issuer in self.by_subject.get(below.issuer()).into_iter().flatten() {
            let Some(by) = self.certificates.get(issuer).copied() else {
                continue;
            };
            if issuer == at
                || !leading.contains(by.issuer())
                || self.anchors_again.contains(&issuer)
            {
                continue;
            }
            let valid = by.not_before().is_ok_and(|t| t <= rules.time)
                && by.not_after().is_ok_and(|t| rules.time <= t);
            let newest = by.not_before().map_or(0, |t| t.0.saturating_neg());
            links.push((
                (key_ids(below, by), !valid, 1, newest),
                Link::Certificate(issuer),
            ));
        }
        links.sort_by_key(|(order, _)| *order);
        let links = links
            .into_iter()
            .map(|((ids, ..), link)| (ids, link))
            .collect();
        Frame {
            certificate: at,
            links,
            next: 0,
        }
    }

    /// The certificate at a position of a chain.
    pub(super) fn at(&self, chain: &[usize], position: usize) -> Option<&'a Certificate> {
        let at = chain.get(position)?;
        self.certificates.get(*at).copied()
    }

    /// Whether the key signed the certificate, verified once.
    pub(super) fn is_signed_by(
        &mut self,
        at: usize,
        key: &PublicKey,
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        Ok(self.verify(at, key, budget)?.is_ok())
    }

    fn verify(
        &mut self,
        at: usize,
        key: &PublicKey,
        budget: &mut Budget,
    ) -> Result<Result<(), VerifyError>, PathError> {
        if let Some(known) = self.verified.get(&(at, key.id())) {
            return Ok(*known);
        }
        budget.signature().map_err(PathError::spent)?;
        let result = match self.certificates.get(at) {
            Some(certificate) => certificate.verify_signature(key),
            None => Err(VerifyError::BadSignature),
        };
        self.verified.insert((at, key.id()), result);
        Ok(result)
    }

    /// Whether the key signed the certificate. The outer error is the end of the budget.
    fn signed_by(
        &mut self,
        below: usize,
        ids: KeyIds,
        key: &PublicKey,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Result<(), PathError>, PathError> {
        let Some(certificate) = self.certificates.get(below).copied() else {
            return Ok(Ok(()));
        };
        let Err(error) = self.verify(below, key, budget)? else {
            return Ok(Ok(()));
        };
        let at = Some(certificate);
        let weak = |what: String| PathError::new(PathErrorKind::WeakAlgorithm, what, at);
        Ok(Err(match error {
            _ if ids == KeyIds::Differ => {
                let what = "no certificate of its issuer has the key that signed it";
                PathError::new(PathErrorKind::IssuerNotTrusted, what, at)
            }
            VerifyError::BadSignature | VerifyError::Mismatch => {
                PathError::invalid("signature does not verify", certificate)
            }
            VerifyError::BadKey => match validate::weak_key(key, rules.algorithms) {
                Some(what) => weak(what),
                None => PathError::invalid("key of the issuer is out of bounds", certificate),
            },
            VerifyError::Unsupported if is_broken_digest(certificate) => {
                weak("signature with a broken digest".to_owned())
            }
            VerifyError::Unsupported => {
                let what = "signature algorithm is not supported";
                PathError::new(PathErrorKind::UnsupportedAlgorithm, what, at)
            }
        }))
    }

    /// Whether a certificate of the same name and key is in the chain already.
    fn is_repeated(
        &self,
        by: &Certificate,
        frames: &[Frame],
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        for frame in frames {
            budget.step().map_err(PathError::spent)?;
            let same = self.certificates.get(frame.certificate).is_some_and(|c| {
                c.public_key().id() == by.public_key().id() && c.subject() == by.subject()
            });
            if same {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Self-issued certificates do not count, as for path length constraints, but are bounded too.
    fn is_too_deep(&self, frames: &[Frame], by: &Certificate, budget: &Budget) -> bool {
        let counted = frames
            .iter()
            .skip(1)
            .filter_map(|f| self.certificates.get(f.certificate).copied())
            .chain([by])
            .filter(|c| !c.is_self_issued())
            .count();
        counted > budget.depth || frames.len() > budget.depth.saturating_mul(2).saturating_add(2)
    }

    fn named(&self, name: &Name) -> impl Iterator<Item = &'a Certificate> {
        let at = self.by_subject.get(name).into_iter().flatten();
        at.filter_map(|at| self.certificates.get(*at).copied())
    }

    /// Says why no chain ends in an anchor, even by name.
    fn no_anchor(&self, target: usize) -> PathError {
        let mut seen: HashSet<&Name> = HashSet::new();
        let mut queue: Vec<&Certificate> =
            self.certificates.get(target).copied().into_iter().collect();
        let mut missing = None;
        while let Some(certificate) = queue.pop() {
            if !seen.insert(certificate.issuer()) {
                continue;
            }
            let before = queue.len();
            queue.extend(self.named(certificate.issuer()));
            if queue.len() == before {
                missing = Some(certificate);
            } else if self
                .named(certificate.issuer())
                .any(Certificate::is_self_issued)
            {
                let what = "the path ends in an authority that is not trusted";
                return PathError::new(PathErrorKind::IssuerNotTrusted, what, Some(certificate));
            }
        }
        match missing {
            Some(certificate) => PathError::new(
                PathErrorKind::IssuerUnavailable,
                format!("no certificate of its issuer {}", certificate.issuer()),
                Some(certificate),
            ),
            None => PathError::new(
                PathErrorKind::IssuerNotTrusted,
                "no path leads to a trusted authority",
                self.certificates.get(target).copied(),
            ),
        }
    }
}

/// Compares authorityKeyIdentifier with subjectKeyIdentifier; whatever is absent says nothing.
fn key_ids(below: &Certificate, issuer: &Certificate) -> KeyIds {
    let wanted = below
        .authority_key_id()
        .ok()
        .flatten()
        .and_then(|id| id.key_id.as_deref());
    let own = issuer.subject_key_id().ok().flatten();
    match (wanted, own) {
        (Some(wanted), Some(own)) if wanted == own => KeyIds::Same,
        (Some(_), Some(_)) => KeyIds::Differ,
        _ => KeyIds::Unknown,
    }
}

fn is_broken_digest(certificate: &Certificate) -> bool {
    let identifier = certificate.signature_algorithm();
    [oid::MD5_WITH_RSA, oid::MD2_WITH_RSA].contains(&identifier.oid())
        || SignatureAlgorithm::from_identifier(identifier)
            .is_ok_and(|a| a.digest() == crate::crypto::DigestAlgorithm::Md5)
}
