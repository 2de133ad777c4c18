//! Does a CRL speak about a certificate: distribution points and issuingDistributionPoint,
//! RFC 5280 §6.3.3 (b).
//!
//! Only names and flags are compared here; nothing is fetched, and no signature is looked at.

use std::borrow::Cow;

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
    names: Cow<'a, [GeneralName]>,
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
        names: Cow::Owned(vec![GeneralName::Directory(certificate.issuer().clone())]),
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
            &*point.names
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
    let (own, made) = match named {
        Some(DistributionPointName::Full(names)) => (names.len(), 0),
        Some(DistributionPointName::Relative(rdn)) => (1, making(crl.issuer(), rdn)),
        None => (0, 0),
    };
    own.saturating_mul(point.names.len().max(point.issuers.len()))
        .saturating_add(point.issuers.len())
        .saturating_add(made)
}

/// What [`points`] costs, as comparisons.
pub(super) fn weight(certificate: &Certificate) -> usize {
    let given = certificate.crl_distribution_points().ok().flatten();
    let cost = |point: &DistributionPoint| match &point.name {
        Some(DistributionPointName::Relative(rdn)) => {
            making(base(point, certificate.issuer()), rdn)
        }
        _ => 0,
    };
    let given = given.unwrap_or_default().iter();
    given.map(cost).fold(0, usize::saturating_add)
}

/// What it costs to put a relative name behind another, as comparisons: either may have megabytes, and it is done
/// wherever the name is compared.
fn making(base: &Name, rdn: &[u8]) -> usize {
    base.der().len().saturating_add(rdn.len()) / OCTETS_A_COMPARISON
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
        let names = match &point.name {
            Some(name) => full_names(name, base(point, issuer))?,
            None if point.crl_issuer.is_empty() => return None,
            None => Cow::default(),
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
        // Case changes no length.
        (GeneralName::Uri(one), GeneralName::Uri(other)) if one.len() == other.len() => {
            let split = |uri: &str| {
                let authority = uri.find("://").map_or(0, |at| at.saturating_add(3));
                let rest = uri.get(authority..).unwrap_or_default();
                let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                authority.saturating_add(host)
            };
            let (a, b) = (split(one), split(other));
            let heads = one.get(..a).zip(other.get(..b));
            heads.is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
                && one.get(a..) == other.get(b..)
        }
        _ => one == other,
    }
}

fn full_names<'a>(name: &'a DistributionPointName, base: &Name) -> Option<Cow<'a, [GeneralName]>> {
    match name {
        DistributionPointName::Full(names) => Some(Cow::Borrowed(names.as_slice())),
        DistributionPointName::Relative(rdn) => {
            let name = base.with_relative(rdn).ok()?;
            Some(Cow::Owned(vec![GeneralName::Directory(name)]))
        }
    }
}

/// Whose name a relative name stands behind.
fn base<'a>(point: &'a DistributionPoint, issuer: &'a Name) -> &'a Name {
    directory_names(&point.crl_issuer).next().unwrap_or(issuer)
}

fn directory_names(names: &[GeneralName]) -> impl Iterator<Item = &Name> {
    names.iter().filter_map(|name| match name {
        GeneralName::Directory(name) => Some(name),
        _ => None,
    })
}

/// Octets of a name that are put together, folded and hashed in the time of one comparison, or a few.
const OCTETS_A_COMPARISON: usize = 64;
