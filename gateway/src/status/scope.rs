//! Which certificates a revocation list tells the status of, and where a certificate says that lists lie.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-5.2.5>

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::extension::{DistributionPointName, GeneralName, IssuingDistributionPoint};
use kenin_pki::time::UnixTime;

/// Whether a list tells the status of a certificate by itself. What is not certain is no: then somebody is
/// asked in vain, and nothing worse.
pub(super) fn covers(
    crl: &Crl,
    certificate: &Certificate,
    issuer: &Certificate,
    now: UnixTime,
) -> bool {
    let fresh =
        !crl.this_update().is_ahead_of(now) && crl.next_update().is_some_and(|until| now <= until);
    let whole = !crl.is_delta() && !crl.is_absent() && crl.unknown_critical().is_empty();
    let in_scope = match crl.issuing_distribution_point() {
        Ok(None) => true,
        Ok(Some(scope)) => is_in(scope, certificate),
        Err(_) => false,
    };
    fresh && whole && in_scope && crl.verify_signature(issuer.public_key()).is_ok()
}

fn is_in(scope: &IssuingDistributionPoint, certificate: &Certificate) -> bool {
    let basic = certificate.basic_constraints().ok().flatten();
    let is_ca = basic.is_some_and(|basic| basic.ca);
    let of_others = (scope.only_user_certs && is_ca) || (scope.only_ca_certs && !is_ca);
    let named = match &scope.name {
        None => true,
        Some(DistributionPointName::Full(own)) => {
            point_names(certificate).any(|name| own.contains(name))
        }
        Some(DistributionPointName::Relative(_)) => false,
    };
    named && !of_others && !scope.only_attribute_certs && scope.only_some_reasons.is_none()
}

/// The full names of the distribution points of a certificate.
pub(super) fn point_names(certificate: &Certificate) -> impl Iterator<Item = &GeneralName> {
    let points = certificate.crl_distribution_points().ok().flatten();
    let names = points.unwrap_or_default().iter().filter_map(|point| {
        let Some(DistributionPointName::Full(names)) = &point.name else {
            return None;
        };
        Some(names)
    });
    names.flatten()
}
