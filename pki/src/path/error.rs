//! Why no path was found: one kind, a text for people, and a rank.
//!
//! A search that tries several paths meets several failures; the one with the highest rank is
//! reported, because it tells most. The text never holds bytes of a certificate unescaped.

use crate::certificate::Certificate;
use crate::crl::RevocationReason;
use crate::time::UnixTime;

use super::budget::Spent;

/// Why the best path failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.describe())]
pub struct PathError {
    kind: PathErrorKind,
    detail: String,
    certificate: Option<Certificate>,
    /// The certificate is the one that a path was looked for.
    of_target: bool,
}

/// The kinds of failure, as the words of a verdict need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// A certificate of the path is revoked.
    Revoked {
        /// When, by the CRL.
        time: UnixTime,
        /// Why, by the CRL.
        reason: RevocationReason,
    },
    /// A certificate of the path is past its notAfter.
    Expired,
    /// A certificate of the path is before its notBefore.
    NotYetValid,
    /// The path is sound but the certificate may not be used so (key usage, extended key usage).
    KeyUsage,
    /// A signature algorithm or key below the floor.
    WeakAlgorithm,
    /// The work limits ended before a path was found.
    Budget,
    /// The status of a certificate could not be determined.
    RevocationUnavailable,
    /// A certificate of the path breaks a rule of RFC 5280 §6.1.
    Invalid,
    /// A signature algorithm or key that cannot be checked here.
    UnsupportedAlgorithm,
    /// The path ends in a certificate that is its own issuer and no anchor.
    IssuerNotTrusted,
    /// The path ends because the certificate of an issuer is not known.
    IssuerUnavailable,
}

impl PathError {
    pub(super) fn new(
        kind: PathErrorKind,
        detail: impl Into<String>,
        certificate: Option<&Certificate>,
    ) -> Self {
        Self {
            kind,
            detail: detail.into(),
            certificate: certificate.cloned(),
            of_target: false,
        }
    }

    /// Whether it is the target itself that failed.
    pub(super) fn seen_from(mut self, target: Option<&Certificate>) -> Self {
        self.of_target = self.certificate.is_some() && self.certificate.as_ref() == target;
        self
    }

    /// Whether the target itself is revoked, on whatever path.
    pub fn is_final(&self) -> bool {
        self.of_target && matches!(self.kind, PathErrorKind::Revoked { .. })
    }

    pub(super) fn invalid(detail: impl Into<String>, certificate: &Certificate) -> Self {
        Self::new(PathErrorKind::Invalid, detail, Some(certificate))
    }

    pub(super) fn spent(spent: Spent) -> Self {
        Self::new(PathErrorKind::Budget, format!("too many {}", spent.0), None)
    }

    /// What went wrong.
    pub fn kind(&self) -> PathErrorKind {
        self.kind
    }

    /// The rule that failed, in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The certificate that failed, or whose issuer was not found.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Revoked, or the status is not known.
    pub fn is_revocation(&self) -> bool {
        matches!(
            self.kind,
            PathErrorKind::Revoked { .. } | PathErrorKind::RevocationUnavailable
        )
    }

    /// How much this failure tells: of two, the higher is reported. What is wrong with the target is
    /// wrong on every path; what is wrong with an authority on one of several ways says less than a way
    /// on which only a status was missing.
    pub fn rank(&self) -> u8 {
        let severity = self.severity();
        if self.of_target || severity <= ON_EVERY_WAY {
            severity
        } else {
            // Below RevocationUnavailable, above Invalid, in their own order.
            50 + severity / 12
        }
    }

    /// How bad this is for the path that it was found on.
    fn severity(&self) -> u8 {
        match self.kind {
            PathErrorKind::Revoked { .. } => 100,
            PathErrorKind::Expired => 90,
            PathErrorKind::NotYetValid => 89,
            PathErrorKind::KeyUsage => 80,
            PathErrorKind::WeakAlgorithm => 75,
            PathErrorKind::Budget => 70,
            PathErrorKind::RevocationUnavailable => 60,
            PathErrorKind::Invalid => 50,
            PathErrorKind::UnsupportedAlgorithm => 40,
            PathErrorKind::IssuerNotTrusted => 20,
            PathErrorKind::IssuerUnavailable => 10,
        }
    }

    fn describe(&self) -> String {
        match &self.certificate {
            Some(certificate) => format!("{} ({})", self.detail, certificate.subject()),
            None => self.detail.clone(),
        }
    }
}

/// From here on a failure is one of a certificate, not of the search.
const ON_EVERY_WAY: u8 = 70;

/// Keeps the worse of two failures of one path: nothing mends what is known to be revoked.
pub(super) fn keep_worst(worst: &mut Option<PathError>, now: PathError) {
    let severity = worst.as_ref().map_or(0, PathError::severity);
    if now.severity() > severity {
        *worst = Some(now);
    }
}

/// Keeps the more informative of what was met so far and what is met now.
pub(super) fn keep(best: &mut Option<PathError>, now: PathError) {
    if best.as_ref().is_none_or(|b| now.rank() > b.rank()) {
        *best = Some(now);
    }
}
