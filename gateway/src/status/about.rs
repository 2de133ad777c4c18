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

    /// For each authority the responder that the settings name, or those of the certificate where its host is listed.
    pub(super) fn responders(&self) -> Places<Place> {
        let urls = access(self.certificate, oid::AD_OCSP);
        let ports = &self.sources.ports;
        let places = self.entries.iter().flat_map(|entry| match &entry.ocsp {
            Some(place) => vec![place.clone()],
            None => urls
                .iter()
                .filter_map(|url| entry.listed(url, ports))
                .collect(),
        });
        Places::new(places, |place| place)
    }

    /// Where the certificate says that lists lie, as far as the hosts are listed.
    pub(super) fn lists(&self) -> Places<(&'a AnchorSources, Place)> {
        let urls = point_names(self.certificate).filter_map(|name| match name {
            GeneralName::Uri(url) => Some(url),
            _ => None,
        });
        let places = urls.filter_map(|url| {
            let mut entries = self.entries.iter();
            entries.find_map(|entry| Some((*entry, entry.listed(url, &self.sources.ports)?)))
        });
        Places::new(places, |(_, place)| place)
    }
}

/// Where something may be had, first what is tried first.
pub(super) struct Places<T> {
    pub(super) tried: Vec<T>,
    /// There are others, which are not.
    pub(super) more: bool,
}

impl<T> Places<T> {
    /// Each once, and no more than [`MAX_PLACES`].
    fn new(all: impl IntoIterator<Item = T>, place: impl Fn(&T) -> &Place) -> Self {
        let mut tried: Vec<T> = Vec::new();
        for one in all {
            if tried.iter().any(|other| place(other) == place(&one)) {
                continue;
            }
            if tried.len() == MAX_PLACES {
                return Self { tried, more: true };
            }
            tried.push(one);
        }
        Self { tried, more: false }
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
