//! What a decision asks about certificates: answered by what lies in the snapshot, and beyond it by the places that
//! `trust.toml` permits for the authority.
//!
//! One message causes few fetches, and waits once for all issuers and once for the status of all, without its core.
//! What could not be had is no answer, never a good one; and where nobody was asked, since too much was before, the
//! answer says so: a sender must not decide who is asked. Nothing that comes is believed here, by mail or by network:
//! the path that is built on it is validated as ever.
//!
//! OCSP: <https://www.rfc-editor.org/rfc/rfc6960>; issuers and lists that certificates name:
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.2.1>.

use std::future::Future;
use std::time::{Duration, Instant};

use kenin_certstore::RevocationIndex;
use kenin_certstore::fetch::{Fetch, Limits, NotNow, Place, Request, SinkError};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::oid;
use kenin_pki::path::{AlgorithmFloor, PathRules, Purpose};
use kenin_pki::time::UnixTime;
use kenin_policy::Answer;
use tokio::time::{Timeout, timeout};
use tracing::{debug, warn};

use crate::metrics;
use crate::pipeline::{Core, Waiter};
use crate::refresh::list;
use crate::snapshot::Snapshot;
use crate::sources::{AnchorSources, Sources};

mod about;
mod asked;
mod responder;
mod scope;
mod way;

use about::{About, MAX_PLACES, access};
pub(crate) use asked::Asked;
use asked::{Begin, Flight, Kind, What};
use responder::{ask, tells_until};
use scope::covers;
use way::{Above, MAX_CHECKS, TooMany};

/// Answers the questions of one message, on a thread that may wait.
pub(crate) struct Desk<'a> {
    snapshot: &'a Snapshot,
    now: UnixTime,
    /// What this message may still cause to find issuers. Anybody can name some in a message.
    for_issuers: Allowance,
    /// And to learn the status of what they issued.
    for_status: Allowance,
    /// Issuers that were fetched for it, or came with it and stand below an authority that may be asked about.
    found: Vec<Certificate>,
    /// Signatures that may still be verified to find them.
    checks: u32,
    /// The core that it is judged on, which others have while it waits.
    core: Option<&'a Core>,
}

/// Fetches of one sort that a message may still cause.
struct Allowance {
    left: usize,
    /// How long it may still wait for them. Its own turn on a core, afterwards, is not held against it.
    patience: Duration,
    /// And how long for all of them.
    whole: Duration,
}

/// What tells of a status.
#[derive(Default)]
struct Said {
    crls: Vec<Crl>,
    ocsp: Vec<OcspResponse>,
    /// Somebody was not asked who may be.
    unasked: bool,
}

/// What a fetch found, and until when it may be used (seconds since 1970).
type Found = Result<(What, i64), String>;

/// Why something is not there.
#[derive(Debug, thiserror::Error)]
enum Missing {
    /// It was asked for, now or lately, and did not come.
    #[error("{0}")]
    Failed(String),
    /// It was not asked for, though it may be.
    #[error("{0}")]
    Unasked(String),
}

impl<'a> Desk<'a> {
    /// For a message that is judged at this time.
    pub(crate) fn new(snapshot: &'a Snapshot, now: UnixTime) -> Self {
        Self {
            snapshot,
            now,
            for_issuers: Allowance::new(ISSUERS_PATIENCE),
            for_status: Allowance::new(STATUS_PATIENCE),
            found: Vec::new(),
            checks: MAX_CHECKS,
            core: None,
        }
    }

    /// For a message that has a core.
    pub(crate) fn giving_back(mut self, core: &'a Core) -> Self {
        self.core = Some(core);
        self
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
            Some(why) => Answer::Unavailable(why.to_string()),
            None => Answer::Issuers(Vec::new()),
        }
    }

    /// What tells the status of a certificate: the lists of `issuer`, and what its authority is asked for besides. Those
    /// above it may be among the candidates.
    pub(crate) fn status(
        &mut self,
        certificate: &Certificate,
        issuer: &Name,
        candidates: &[Certificate],
    ) -> Answer {
        let snapshot = self.snapshot;
        let mut said = Said {
            crls: snapshot.known.crls(issuer, self.now),
            ..Said::default()
        };
        // Others that its distribution points name have the lists that lie here.
        if certificate.issuer() == issuer
            && let Some(sources) = snapshot.sources.as_ref().filter(|all| all.answer_mail())
        {
            match self.issuer_of(certificate, candidates, sources) {
                Ok(Some(Above { by, entries })) => {
                    let about = About {
                        sources,
                        entries,
                        certificate,
                        by: &by,
                        lists: said.crls.clone(),
                        rules: self.rules(),
                    };
                    if !about.is_anchor() {
                        self.fetch_status(&about, &mut said);
                    }
                }
                Ok(None) => {}
                Err(TooMany) => said.unasked = true,
            }
        }
        Answer::Status {
            crls: said.crls,
            ocsp: said.ocsp,
            unasked: said.unasked,
        }
    }

    fn fetch_status(&mut self, about: &About<'_>, said: &mut Said) {
        let listed = said
            .crls
            .iter()
            .any(|crl| covers(crl, about.certificate, about.by, self.now));
        let prefers = about.entries.iter().any(|entry| entry.prefer_ocsp);
        let (mut more, mut told) = (false, listed);
        if !listed || prefers {
            let responders = about.responders();
            for place in responders.tried {
                match self.ask(about, &place) {
                    Ok(response) => {
                        // One that tells nothing keeps nobody else from being asked.
                        told |= tells_until(about, &response, self.now).is_some();
                        said.ocsp.push(response);
                        if told {
                            break;
                        }
                    }
                    Err(why) => said.miss(&place, &why),
                }
            }
            more = responders.more;
        }
        if told {
            return;
        }
        let lists = about.lists();
        for (entry, place) in lists.tried {
            match self.list(about, entry, &place) {
                Ok(crl) => {
                    said.crls.push(crl);
                    return;
                }
                Err(why) => said.miss(&place, &why),
            }
        }
        said.unasked |= more || lists.more;
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

    fn ask(&mut self, about: &About<'_>, place: &Place) -> Result<OcspResponse, Missing> {
        let key = format!("{place} {}", hex(about.certificate.sha256()));
        let work = ask(about, place, self.now);
        match self.obtain(Kind::Ocsp, place, &key, work)? {
            What::Status(response) => Ok(response),
            What::List(_) | What::Certificates(_) => Err(Missing::other()),
        }
    }

    fn certificates(
        &mut self,
        sources: &Sources,
        place: &Place,
    ) -> Result<Vec<Certificate>, Missing> {
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
            What::List(_) | What::Status(_) => Err(Missing::other()),
        }
    }

    /// A list that the certificate names. It is kept like any other, so that the next snapshot has it.
    fn list(
        &mut self,
        about: &About<'_>,
        entry: &AnchorSources,
        place: &Place,
    ) -> Result<Crl, Missing> {
        let (snapshot, now) = (self.snapshot, self.now);
        let index = RevocationIndex::passing();
        let more = self.found.clone();
        let work = async {
            let source = list::Source {
                network: &*about.sources.network,
                anchor: entry,
                place,
                known: &snapshot.known,
                more: &more,
                index: &index,
            };
            let received = source.fetch(&LIST, now).await.map_err(|e| e.to_string())?;
            let crl = received.crl.clone();
            // For the next snapshot, which has none of issuers that it does not know. Whether it can be kept changes
            // nothing of what it says, and takes none of the message's time.
            if let Some(store) = snapshot.store.as_ref().filter(|_| knows(snapshot, &crl)) {
                let (store, place) = (store.clone(), place.clone());
                tokio::spawn(async move {
                    if let Err(error) = list::keep(&store, &place, received, now).await {
                        warn!(url = %place, %error, "a list that was fetched for a message is not kept");
                    }
                });
            }
            let until = match crl.next_update() {
                Some(until) if now < until => until.min(now.plus(HOUR)),
                // What it says is revoked stays so, and its server may have a newer one by then.
                _ => now.plus(UNTIL_A_NEWER_ONE),
            };
            Ok::<_, String>((What::List(crl), until.0))
        };
        match self.obtain(Kind::Crl, place, &place.to_string(), work)? {
            What::List(crl) => Ok(crl),
            What::Status(_) | What::Certificates(_) => Err(Missing::other()),
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
    ) -> Result<What, Missing> {
        let asked = &self.snapshot.asked;
        let now = self.now.0;
        if let Some(what) = asked.get(kind, key, now) {
            return Ok(what);
        }
        let allowance = match kind {
            Kind::Issuer => &mut self.for_issuers,
            Kind::Ocsp | Kind::Crl => &mut self.for_status,
        };
        if allowance.left == 0 {
            return Err(Missing::unasked(
                "the message has caused as many as one may",
            ));
        }
        let waiter =
            Waiter::here(self.core).map_err(|error| Missing::Unasked(error.to_string()))?;
        loop {
            let patience = allowance.patience;
            if patience < LEAST {
                return Err(Missing::unasked(
                    "the message has waited as long as one may",
                ));
            }
            match asked.begin(kind, key, place.host(), now) {
                Begin::Held(what) => return Ok(what),
                Begin::NotNow(why @ NotNow::Failed { .. }) => {
                    return Err(Missing::Failed(why.to_string()));
                }
                Begin::NotNow(why) => return Err(Missing::Unasked(why.to_string())),
                Begin::Wait(mut over) => {
                    // It closes when the other one is through; then what came is held, or is not to be had, or
                    // this one takes its turn.
                    let over = async { drop(timeout(patience, over.changed()).await) };
                    waiter.block_on(allowance.waiting(over));
                }
                Begin::Go(flight) => {
                    allowance.left = allowance.left.saturating_sub(1);
                    let fresh = patience + LEAST >= allowance.whole;
                    // The others that want it have it before this message has its turn again.
                    let landed = land(flight, kind, place, timeout(patience, work), fresh);
                    return waiter.block_on(allowance.waiting(landed));
                }
            }
        }
    }
}

/// Ends a fetch with what it brought in its time; `fresh` where that was nearly all that a message has.
async fn land(
    flight: Flight<'_>,
    kind: Kind,
    place: &Place,
    work: Timeout<impl Future<Output = Found>>,
    fresh: bool,
) -> Result<What, Missing> {
    let found = work.await;
    let word = if matches!(found, Ok(Ok(_))) {
        "new"
    } else {
        "failed"
    };
    metrics::fetched(kind.as_str(), word);
    let late = "no whole answer in time".to_owned();
    let found = match found {
        Ok(found) => found,
        // What came before took the time: this one has not shown that it does not answer.
        Err(_) if !fresh => {
            warn!(url = %place, kind = kind.as_str(), error = late, "a fetch for a message was broken off");
            flight.give_up();
            return Err(Missing::Unasked(late));
        }
        Err(_) => Err(late),
    };
    if let Err(why) = &found {
        warn!(url = %place, kind = kind.as_str(), error = why, "a fetch for a message failed");
    }
    flight.end(found).map_err(Missing::Failed)
}

impl Allowance {
    const fn new(patience: Duration) -> Self {
        Self {
            left: MAX_FETCHES,
            patience,
            whole: patience,
        }
    }

    /// Waits for this, and counts how long.
    async fn waiting<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let out = wait.await;
        self.patience = self.patience.saturating_sub(began.elapsed());
        out
    }
}

impl Said {
    /// Nothing came from there.
    fn miss(&mut self, place: &Place, why: &Missing) {
        self.unasked |= matches!(why, Missing::Unasked(_));
        debug!(url = %place, %why, "no status");
    }
}

impl Missing {
    fn unasked(why: &str) -> Self {
        Self::Unasked(why.to_owned())
    }

    fn other() -> Self {
        Self::Failed("something else lies at this place".to_owned())
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

/// Whether the issuer of a list is one that is known, by name.
fn knows(snapshot: &Snapshot, crl: &Crl) -> bool {
    let (trust, issuer) = (&snapshot.trust, crl.issuer());
    let mut anchors = trust.anchors().iter().chain(trust.time_stamping());
    anchors.any(|anchor| anchor.certificate.subject() == issuer)
        || !snapshot.known.issuers(issuer, None).is_empty()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Never more of one sort for one message, whatever stands in it.
const MAX_FETCHES: usize = 4;
/// All fetches of issuers together wait no longer: the message has other work to be done within its time.
const ISSUERS_PATIENCE: Duration = Duration::from_secs(3);
/// And those of status: as long as one fetch may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// In less nothing is begun: connecting alone may take as long.
const LEAST: Duration = Duration::from_secs(1);
/// Certificates that one answer, or one message, brings.
const MAX_FOUND: usize = 64;
/// For a list that mail waits for: short enough to lie in memory.
const LIST: Limits = Limits {
    bytes: 8 << 20,
    ..Limits::ISSUER
};
/// Seconds for which a list that has ended already is held.
const UNTIL_A_NEWER_ONE: i64 = 600;
/// Also the time in which a list or an issuer is not asked for twice.
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests;
