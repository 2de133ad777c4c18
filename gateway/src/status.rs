//! What a decision asks about certificates: answered by what lies in the snapshot, and beyond it by the places that
//! `trust.toml` permits for the authority.
//!
//! One message causes few fetches, and waits once for all of them. What could not be had is no answer,
//! never a good one. Nothing that comes is believed here: the path that is built on it is validated as ever.
//!
//! OCSP: <https://www.rfc-editor.org/rfc/rfc6960>; issuers and lists that certificates name:
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.2.1>.

use std::future::Future;
use std::time::{Duration, Instant};

use kenin_certstore::RevocationIndex;
use kenin_certstore::fetch::{Fetch, Limits, Place, Request, SinkError};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::extension::GeneralName;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::oid::{self, Oid};
use kenin_pki::path::{AlgorithmFloor, PathRules, Purpose};
use kenin_pki::time::UnixTime;
use kenin_policy::Answer;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::metrics;
use crate::refresh::list;
use crate::snapshot::Snapshot;
use crate::sources::{AnchorSources, Sources};

mod asked;
mod responder;
mod scope;

pub(crate) use asked::Asked;
use asked::{Begin, Kind, What};
use responder::ask;
use scope::{covers, point_names};

/// Answers the questions of one message, on a thread that may wait.
pub(crate) struct Desk<'a> {
    snapshot: &'a Snapshot,
    now: UnixTime,
    /// Fetches that this message may still cause.
    left: usize,
    /// Until when it waits for them.
    until: Option<Instant>,
    /// Issuers that were fetched for it.
    found: Vec<Certificate>,
}

/// What a fetch found, and until when it may be used (seconds since 1970).
type Found = Result<(What, i64), String>;

impl<'a> Desk<'a> {
    /// For a message that is judged at this time.
    pub(crate) fn new(snapshot: &'a Snapshot, now: UnixTime) -> Self {
        Self {
            snapshot,
            now,
            left: MAX_FETCHES,
            until: None,
            found: Vec::new(),
        }
    }

    /// Certificates of this name; where none is known, those that `child` says its issuer's lie among.
    pub(crate) fn issuers(
        &mut self,
        name: &Name,
        key_id: Option<&[u8]>,
        child: &Certificate,
    ) -> Answer {
        let snapshot = self.snapshot;
        let known = snapshot.known.issuers(name, key_id);
        let Some(sources) = snapshot.sources.as_ref().filter(|_| known.is_empty()) else {
            return Answer::Issuers(known);
        };
        let mut failure = None;
        let urls = access(child, oid::AD_CA_ISSUERS);
        let places = urls.iter().filter_map(|url| sources.listed(url));
        for place in places.take(MAX_PLACES) {
            match self.certificates(sources, &place) {
                Ok(mut found) => {
                    let is_it = |one: &Certificate| {
                        one.subject() == name && child.verify_signature(one.public_key()).is_ok()
                    };
                    found.retain(is_it);
                    if !found.is_empty() {
                        let room = MAX_FOUND.saturating_sub(self.found.len());
                        self.found.extend(found.iter().take(room).cloned());
                        return Answer::Issuers(found);
                    }
                }
                Err(why) => failure = Some(why),
            }
        }
        match failure {
            Some(why) => Answer::Unavailable(why),
            None => Answer::Issuers(Vec::new()),
        }
    }

    /// What tells the status of a certificate: the lists of `issuer`, and what its authority is asked for besides.
    pub(crate) fn status(&mut self, certificate: &Certificate, issuer: &Name) -> Answer {
        let snapshot = self.snapshot;
        let mut crls = snapshot.known.crls(issuer);
        let mut ocsp = Vec::new();
        // Others that its distribution points name have the lists that lie here.
        if certificate.issuer() == issuer
            && let Some(sources) = &snapshot.sources
            && let Some(by) = self.issuer_of(certificate, sources)
        {
            let entries = sources.above(&by, &snapshot.known, &self.found);
            let is_anchor =
                |entry: &&AnchorSources| entry.certificates.iter().any(|own| own == certificate);
            if !entries.iter().any(is_anchor) {
                let about = About {
                    sources,
                    entries,
                    certificate,
                    by: &by,
                    lists: crls.clone(),
                    rules: self.rules(),
                };
                self.fetch_status(&about, &mut crls, &mut ocsp);
            }
        }
        Answer::Status {
            crls,
            ocsp,
            unasked: false,
        }
    }

    fn fetch_status(
        &mut self,
        about: &About<'_>,
        crls: &mut Vec<Crl>,
        ocsp: &mut Vec<OcspResponse>,
    ) {
        let listed = crls
            .iter()
            .any(|crl| covers(crl, about.certificate, about.by, self.now));
        let prefers = about.entries.iter().any(|entry| entry.prefer_ocsp);
        if !listed || prefers {
            for place in about.responders() {
                match self.ask(about, &place) {
                    Ok(response) => {
                        ocsp.push(response);
                        break;
                    }
                    Err(why) => debug!(url = %place, why, "no OCSP answer"),
                }
            }
        }
        if listed || !ocsp.is_empty() {
            return;
        }
        for (entry, place) in about.lists() {
            match self.list(about, entry, &place) {
                Ok(crl) => {
                    crls.push(crl);
                    break;
                }
                Err(why) => debug!(url = %place, why, "no revocation list"),
            }
        }
    }

    /// The known certificate whose key signed this one: nobody is asked about what no authority issued.
    fn issuer_of(&self, certificate: &Certificate, sources: &Sources) -> Option<Certificate> {
        let known = self.snapshot.known.issuers(certificate.issuer(), None);
        let anchors = sources.anchors.iter().flat_map(|entry| &entry.certificates);
        let mut all = known.iter().chain(anchors).chain(&self.found);
        let is_it = |by: &&Certificate| {
            by.subject() == certificate.issuer()
                && certificate.verify_signature(by.public_key()).is_ok()
        };
        all.find(is_it).cloned()
    }

    /// That a status is known, of whatever kind of certificate.
    fn rules(&self) -> PathRules {
        PathRules {
            purpose: Purpose::Any,
            algorithms: AlgorithmFloor {
                minimum_rsa_bits: self.snapshot.trust.options().minimum_rsa_bits,
                ..AlgorithmFloor::default()
            },
            ..PathRules::new(self.now)
        }
    }

    fn ask(&mut self, about: &About<'_>, place: &Place) -> Result<OcspResponse, String> {
        let key = format!("{place} {}", hex(about.certificate.sha256()));
        let work = ask(about, place, self.now);
        match self.obtain(Kind::Ocsp, place, &key, work)? {
            What::Status(response) => Ok(response),
            What::List(_) | What::Certificates(_) => Err(OTHER.to_owned()),
        }
    }

    fn certificates(
        &mut self,
        sources: &Sources,
        place: &Place,
    ) -> Result<Vec<Certificate>, String> {
        let until = self.now.plus(HOUR).0;
        let work = async {
            let request = Request::get(place, "application/pkix-cert, application/pkcs7-mime");
            let bytes = whole(&*sources.network, &request, &Limits::ISSUER).await?;
            let mut read = Certificate::from_pem_or_der_many(&bytes).map_err(|e| e.to_string())?;
            read.truncate(MAX_FOUND);
            Ok::<_, String>((What::Certificates(read), until))
        };
        match self.obtain(Kind::Issuer, place, &place.to_string(), work)? {
            What::Certificates(found) => Ok(found),
            What::List(_) | What::Status(_) => Err(OTHER.to_owned()),
        }
    }

    /// A list that the certificate names. It is kept like any other, so that the next snapshot has it.
    fn list(
        &mut self,
        about: &About<'_>,
        entry: &AnchorSources,
        place: &Place,
    ) -> Result<Crl, String> {
        let (snapshot, now) = (self.snapshot, self.now);
        let index = RevocationIndex::passing();
        let work = async {
            let source = list::Source {
                network: &*about.sources.network,
                anchor: entry,
                place,
                known: &snapshot.known,
                index: &index,
            };
            let received = source.fetch(&LIST, now).await.map_err(|e| e.to_string())?;
            let crl = received.crl.clone();
            if let Some(store) = &snapshot.store {
                let kept = list::keep(store, place, received, now).await;
                kept.map_err(|error| error.to_string())?;
            }
            let until = crl.next_update().unwrap_or(now);
            let until = until.min(now.plus(UNTIL_IT_IS_HELD)).0;
            Ok::<_, String>((What::List(crl), until))
        };
        match self.obtain(Kind::Crl, place, &place.to_string(), work)? {
            What::List(crl) => Ok(crl),
            What::Status(_) | What::Certificates(_) => Err(OTHER.to_owned()),
        }
    }

    /// What is remembered, or what the work brings: once for all that want the same at the same time, and not
    /// again soon where it failed.
    fn obtain(
        &mut self,
        kind: Kind,
        place: &Place,
        key: &str,
        work: impl Future<Output = Found>,
    ) -> Result<What, String> {
        let asked = &self.snapshot.asked;
        let now = self.now.0;
        if let Some(what) = asked.get(kind, key, now) {
            return Ok(what);
        }
        if self.left == 0 {
            return Err("this message has caused as many fetches as one may".to_owned());
        }
        let runtime = Handle::try_current().map_err(|error| error.to_string())?;
        let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        let left = until.saturating_duration_since(Instant::now());
        match asked.begin(kind, key, place.host(), now) {
            Begin::Held(what) => Ok(what),
            Begin::NotNow(why) => Err(why.to_string()),
            Begin::Wait(mut over) => {
                // It closes when the other one is through.
                let _ = runtime.block_on(timeout(left, over.changed()));
                let found = asked.get(kind, key, now);
                found.ok_or_else(|| "another message asked for it in vain".to_owned())
            }
            Begin::Go(flight) => {
                self.left = self.left.saturating_sub(1);
                let found = runtime.block_on(timeout(left, work));
                let found = found.unwrap_or_else(|_| Err("no whole answer in time".to_owned()));
                metrics::fetched(kind.as_str(), if found.is_ok() { "new" } else { "failed" });
                if let Err(why) = &found {
                    warn!(url = %place, kind = kind.as_str(), error = why, "a fetch for a message failed");
                }
                flight.end(found)
            }
        }
    }
}

/// A certificate, who issued it, and where it may be asked about.
struct About<'a> {
    sources: &'a Sources,
    /// Those that stand above its issuer.
    entries: Vec<&'a AnchorSources>,
    certificate: &'a Certificate,
    by: &'a Certificate,
    /// Those of its issuer that lie here.
    lists: Vec<Crl>,
    /// By which an answer is judged.
    rules: PathRules,
}

impl<'a> About<'a> {
    /// The responder that the settings name, or those of the certificate where its host is listed.
    fn responders(&self) -> Vec<Place> {
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
    fn lists(&self) -> Vec<(&'a AnchorSources, Place)> {
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

/// The whole body of a short answer.
async fn whole(
    network: &dyn Fetch,
    request: &Request<'_>,
    limits: &Limits,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), SinkError> {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let fetched = network.fetch(request, limits, &mut sink).await;
    fetched.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The URLs at which a certificate says that its authority may be asked in this way.
fn access(certificate: &Certificate, method: Oid<'_>) -> Vec<String> {
    let all = certificate.authority_info_access().unwrap_or_default();
    let urls = all.into_iter().filter_map(|one| match one.location {
        GeneralName::Uri(url) if one.method == method => Some(url.into()),
        _ => None,
    });
    urls.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Never more for one message, whatever stands in it.
const MAX_FETCHES: usize = 4;
/// All its fetches together wait no longer: it has other work to be done within its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// URLs of one certificate that are tried for the same thing.
const MAX_PLACES: usize = 2;
/// Certificates that one answer, or one message, brings.
const MAX_FOUND: usize = 64;
/// For a list that mail waits for: short enough to lie in memory.
const LIST: Limits = Limits {
    bytes: 8 << 20,
    ..Limits::ISSUER
};
/// Seconds in which the snapshot has taken up what came.
const UNTIL_IT_IS_HELD: i64 = 600;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const OTHER: &str = "something else lies at this place";

#[cfg(test)]
mod tests;
