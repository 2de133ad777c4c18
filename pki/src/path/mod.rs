//! Path building and validation: RFC 5280 §6.1, RFC 9618 for policies, RFC 9598 for mail addresses,
//! revocation by the CRLs of RFC 5280 §6.3 and by OCSP (RFC 6960).
//!
//! [`find_path`] looks for a path from a certificate to an anchor among candidates that may be
//! hostile, with counted work, without recursion on input, without a clock and without any I/O.
//! A [`ValidPath`] exists only if every rule held.

mod anchor;
mod answers;
mod budget;
mod cause;
mod constraints;
mod delta;
mod error;
mod list_signers;
mod match_name;
mod policy;
mod rules;
mod scope;
mod search;
mod status;
mod validate;

pub use anchor::TrustAnchor;
pub use budget::Budget;
pub use error::{PathError, PathErrorKind};
pub use rules::{AlgorithmFloor, PathRules, Purpose, RevocationMode};
pub use validate::{encrypting_usage, mail_signing_usage};

use crate::certificate::Certificate;
use crate::crl::{Crl, RevokedEntry};
use crate::ocsp::OcspResponse;
use crate::time::UnixTime;

/// A path that was found valid. Only [`find_path`] makes one.
#[derive(Clone, Debug)]
pub struct ValidPath {
    certificates: Vec<Certificate>,
    anchor: usize,
    revocation: Vec<StatusFact>,
    notes: Vec<String>,
    outlived: Option<RevokedEntry>,
    valid_until: UnixTime,
}

/// Where the status of one certificate of a path came from.
#[derive(Clone, Debug)]
pub struct StatusFact {
    /// Position in [`ValidPath::certificates`].
    pub position: usize,
    /// What said so: `crl` or `ocsp`.
    pub source: &'static str,
    /// SHA-256 of the list or of the BasicOCSPResponse.
    pub digest: [u8; 32],
    /// Since when the information is current.
    pub this_update: UnixTime,
    /// Until when it counts as fresh.
    pub next_update: UnixTime,
}

impl ValidPath {
    /// From the target to the certificate that the anchor issued; the anchor itself is not part.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The index in the list of anchors that was given.
    pub fn anchor(&self) -> usize {
        self.anchor
    }

    /// What the status of each certificate rests on; empty where revocation was not looked at.
    pub fn revocation(&self) -> &[StatusFact] {
        &self.revocation
    }

    /// What was left open, such as a status that could not be determined and need not be.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The revocation of the target that came after [`PathRules::proven_at`]. Such a path is good for what was
    /// proven, and for nothing else.
    pub fn outlived(&self) -> Option<RevokedEntry> {
        self.outlived
    }

    /// The moment after which the path must be looked at again.
    pub fn valid_until(&self) -> UnixTime {
        self.valid_until
    }
}

/// What is at hand of the status of certificates, from wherever: none of it is believed unverified.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusSources<'a> {
    /// Revocation lists.
    pub crls: &'a [Crl],
    /// Answers of OCSP responders.
    pub ocsp: &'a [OcspResponse],
}

impl<'a> StatusSources<'a> {
    /// Lists only.
    #[must_use]
    pub const fn lists(crls: &'a [Crl]) -> Self {
        Self { crls, ocsp: &[] }
    }
}

/// Looks for a valid path from `target` over `candidates` to one of `anchors`.
///
/// # Errors
/// The most informative failure met, by [`PathError::rank`].
pub fn find_path(
    target: &Certificate,
    candidates: &[Certificate],
    anchors: &[TrustAnchor],
    sources: StatusSources<'_>,
    rules: &PathRules,
    budget: &mut Budget,
) -> Result<ValidPath, PathError> {
    let mut search = search::Search::new(target, candidates, anchors, sources);
    let found = search.run(0, None, rules, budget)?;
    let certificates: Vec<Certificate> = found
        .chain
        .iter()
        .filter_map(|at| search.certificates.get(*at).map(|c| (*c).clone()))
        .collect();
    // The anchor's own end counts where it is looked at.
    let anchor = anchors.get(found.anchor).and_then(TrustAnchor::certificate);
    let ends = certificates
        .iter()
        .chain(anchor.filter(|_| rules.check_anchor_validity));
    let ends = ends.filter_map(|c| c.not_after().ok());
    let valid_until = status::fresh_until(
        &found.status.facts,
        ends.fold(UnixTime(i64::MAX), UnixTime::min),
    );
    Ok(ValidPath {
        certificates,
        anchor: found.anchor,
        revocation: found.status.facts,
        notes: found.status.notes,
        outlived: found.status.outlived,
        valid_until,
    })
}

#[cfg(test)]
mod tests;
