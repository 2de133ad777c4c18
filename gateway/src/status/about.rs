//! A certificate that somebody is asked about, and the places where that may be: those of the settings, and of the
//! certificate's own those whose hosts are listed.

use kenin_certstore::fetch::Place;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::extension::GeneralName;
use kenin_pki::oid::{self, Oid};
use kenin_pki::path::PathRules;

use super::scope::point_names;
use crate::sources::{AnchorSources, Sources};

/// A certificate, who issued it, and where it may be asked about.
pub(super) struct About<'a> {
    pub(super) sources: &'a Sources,
    /// Those that stand above its issuer.
    pub(super) entries: Vec<&'a AnchorSources>,
    pub(super) certificate: &'a Certificate,
    pub(super) by: &'a Certificate,
    /// Those of its issuer that lie here.
    pub(super) lists: Vec<Crl>,
    /// By which an answer is judged.
    pub(super) rules: PathRules,
}

impl<'a> About<'a> {
    /// Whether it is one of those that all else rests on: nobody says anything of them.
    pub(super) fn is_anchor(&self) -> bool {
        let mut own = self.entries.iter().flat_map(|entry| &entry.certificates);
        own.any(|one| one == self.certificate)
    }

    /// The responder that the settings name, or those of the certificate where its host is listed.
    pub(super) fn responders(&self) -> Vec<Place> {
        let set = self.entries.iter().filter_map(|entry| entry.ocsp.clone());
        let mut places: Vec<Place> = set.collect();
        if places.is_empty() {
            for url in access(self.certificate, oid::AD_OCSP) {
                let mut entries = self.entries.iter();
                let ports = &self.sources.ports;
                places.extend(entries.find_map(|entry| entry.listed(&url, ports)));
            }
        }
        places.truncate(MAX_PLACES);
        places
    }

    /// Where the certificate says that lists lie, as far as the hosts are listed.
    pub(super) fn lists(&self) -> Vec<(&'a AnchorSources, Place)> {
        let mut places = Vec::new();
        for name in point_names(self.certificate) {
            let GeneralName::Uri(url) = name else {
                continue;
            };
            let mut entries = self.entries.iter();
            places.extend(entries.find_map(|entry| {
                let place = entry.listed(url, &self.sources.ports)?;
                Some((*entry, place))
            }));
        }
        places.truncate(MAX_PLACES);
        places
    }
}

/// The URLs at which a certificate says that its authority may be asked in this way.
pub(super) fn access(certificate: &Certificate, method: Oid<'_>) -> Vec<String> {
    let all = certificate.authority_info_access().unwrap_or_default();
    let urls = all.into_iter().filter_map(|one| match one.location {
        GeneralName::Uri(url) if one.method == method => Some(url.into()),
        _ => None,
    });
    urls.collect()
}

/// URLs of one certificate that are tried for the same thing.
pub(super) const MAX_PLACES: usize = 2;
