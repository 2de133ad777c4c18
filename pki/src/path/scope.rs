//! Does a CRL speak about a certificate: distribution points and issuingDistributionPoint,
//! RFC 5280 §6.3.3 (b).
//!
//! Only names and flags are compared here; nothing is fetched, and no signature is looked at.

use crate::certificate::Certificate;
use crate::crl::Crl;
use crate::extension::{
    DistributionPoint, DistributionPointName, FieldError, GeneralName, ReasonFlags,
};
use crate::name::Name;
use crate::oid;

/// A set of reasons for revocation: bits 1 to 8 of ReasonFlags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reasons(u16);

impl Reasons {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0x1fe);

    fn of(flags: Option<ReasonFlags>) -> Self {
        flags.map_or(Self::ALL, |flags| Self(flags.0 & Self::ALL.0))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where the status of a certificate is to be found.
pub(super) struct Point<'a> {
    /// Full names of the distribution point; empty if it is named by its issuer only.
    names: Vec<GeneralName>,
    /// Who issues the list: names of cRLIssuer, or none for the issuer of the certificate.
    issuers: &'a [GeneralName],
    reasons: Reasons,
}

/// The distribution points of a certificate, and at the end the one that every certificate has:
/// a list of its issuer without further scope.
pub(super) fn points(certificate: &Certificate) -> Result<Vec<Point<'_>>, FieldError> {
    let given = match certificate.crl_distribution_points() {
        Ok(given) => given.unwrap_or_default(),
        // What need not be understood may be passed over: a list that says which part it covers will
        // not match then.
        Err(error) => {
            let mut all = certificate.extensions().iter();
            if all.any(|one| one.critical && one.oid.as_oid() == oid::CRL_DISTRIBUTION_POINTS) {
                return Err(error);
            }
            &[]
        }
    };
    let mut points: Vec<Point<'_>> = given
        .iter()
        .filter_map(|point| Point::of(point, certificate.issuer()))
        .collect();
    points.push(Point {
        names: vec![GeneralName::Directory(certificate.issuer().clone())],
        issuers: &[],
        reasons: Reasons::ALL,
    });
    Ok(points)
}

/// The reasons for which a CRL speaks about a certificate by way of a distribution point; `None` if
/// it does not speak about it at all.
pub(super) fn covers(point: &Point<'_>, crl: &Crl, certificate: &Certificate) -> Option<Reasons> {
    let scope = crl.issuing_distribution_point().ok()?;
    let indirect = scope.is_some_and(|scope| scope.indirect);
    if point.issuers.is_empty() {
        if crl.issuer() != certificate.issuer() {
            return None;
        }
    } else {
        let named = directory_names(point.issuers).any(|name| name == crl.issuer());
        if !named || !(indirect || crl.issuer() == certificate.issuer()) {
            return None;
        }
    }
    let Some(scope) = scope else {
        return Some(point.reasons);
    };
    if let Some(name) = &scope.name {
        let own = full_names(name, crl.issuer())?;
        let wanted = if point.names.is_empty() {
            point.issuers
        } else {
            &point.names[..]
        };
        let same = |name: &GeneralName| wanted.iter().any(|other| is_same(name, other));
        if !own.iter().any(same) {
            return None;
        }
    }
    let is_ca = certificate
        .basic_constraints()
        .ok()?
        .is_some_and(|basic| basic.ca);
    if scope.only_attribute_certs || scope.only_user_certs && is_ca || scope.only_ca_certs && !is_ca
    {
        return None;
    }
    Some(point.reasons.and(Reasons::of(scope.only_some_reasons)))
}

/// How many pairs of names [`covers`] may have to compare.
pub(super) fn comparisons(point: &Point<'_>, crl: &Crl) -> usize {
    let named = match crl.issuing_distribution_point() {
        Ok(Some(scope)) => scope.name.as_ref(),
        _ => None,
    };
    let own = match named {
        Some(DistributionPointName::Full(names)) => names.len(),
        Some(DistributionPointName::Relative(_)) => 1,
        None => 0,
    };
    own.saturating_mul(point.names.len().max(point.issuers.len()))
        .saturating_add(point.issuers.len())
}

/// Whether two lists of one issuer have the same scope, so that the newer replaces the older.
pub(super) fn same(one: &Crl, other: &Crl) -> bool {
    let (Ok(scope), Ok(of_other)) = (
        one.issuing_distribution_point(),
        other.issuing_distribution_point(),
    ) else {
        return false;
    };
    one.issuer() == other.issuer() && scope == of_other
}

impl<'a> Point<'a> {
    fn of(point: &'a DistributionPoint, issuer: &Name) -> Option<Self> {
        let base = directory_names(&point.crl_issuer).next().unwrap_or(issuer);
        let names = match &point.name {
            Some(name) => full_names(name, base)?,
            None if point.crl_issuer.is_empty() => return None,
            None => Vec::new(),
        };
        Some(Self {
            names,
            issuers: &point.crl_issuer,
            reasons: Reasons::of(point.reasons),
        })
    }
}

/// Scheme and host of a URI compare without case, the rest octet by octet (RFC 5280 §7.4).
fn is_same(one: &GeneralName, other: &GeneralName) -> bool {
    match (one, other) {
        (GeneralName::Uri(one), GeneralName::Uri(other)) => {
            let split = |uri: &str| {
                let authority = uri.find("://").map_or(0, |at| at.saturating_add(3));
                let rest = uri.get(authority..).unwrap_or_default();
                let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                authority.saturating_add(host)
            };
            let (a, b) = (split(one), split(other));
            let head = |uri: &str, at: usize| uri.get(..at).map(str::to_ascii_lowercase);
            head(one, a) == head(other, b) && one.get(a..) == other.get(b..)
        }
        _ => one == other,
    }
}

fn full_names(name: &DistributionPointName, base: &Name) -> Option<Vec<GeneralName>> {
    match name {
        DistributionPointName::Full(names) => Some(names.clone()),
        DistributionPointName::Relative(rdn) => {
            Some(vec![GeneralName::Directory(base.with_relative(rdn).ok()?)])
        }
    }
}

fn directory_names(names: &[GeneralName]) -> impl Iterator<Item = &Name> {
    names.iter().filter_map(|name| match name {
        GeneralName::Directory(name) => Some(name),
        _ => None,
    })
}
