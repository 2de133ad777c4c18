//! What may be fetched and from where, ready for use: `[fetch]` and `[anchor.fetch]` of `trust.toml`.
//!
//! For whom something is fetched is decided here, and nowhere else: an authority counts only where names and
//! signatures lead from it to an anchor whose entry names a place. Fetches nothing itself.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kenin_certstore::fetch::{
    Client, Fetch, Host, Network, Place, Ports, Reach, Scheme, tls_client,
};
use kenin_certstore::{CertStore, FileSet, read_limited};
use kenin_pki::certificate::Certificate;
use kenin_policy::trust::{self, Fetching, Written};

use crate::config::{self, Config, ConfigError};

/// Everything that may be fetched.
pub(crate) struct Sources {
    /// The network, or what a test put in its place.
    pub(crate) network: Arc<dyn Fetch>,
    pub(crate) ports: Ports,
    /// One an entry of `trust.toml` that has any.
    pub(crate) anchors: Vec<AnchorSources>,
}

/// The places for what stands below one entry.
#[derive(Clone, Debug)]
pub(crate) struct AnchorSources {
    pub(crate) name: String,
    /// The certificates of the entry.
    pub(crate) certificates: Vec<Certificate>,
    /// Lists that are kept fresh.
    pub(crate) lists: Vec<Place>,
    /// Who is asked about single certificates.
    pub(crate) ocsp: Option<Place>,
    pub(crate) prefer_ocsp: bool,
    /// Whose URLs in certificates may be fetched.
    hosts: Vec<Host>,
}

impl Sources {
    /// From the words of `trust.toml`; nothing where nothing may be fetched. `text` is the whole file, for
    /// places of mistakes.
    pub(crate) fn read(
        config: &Config,
        fetching: &Fetching,
        text: &str,
        files: &mut FileSet,
    ) -> Result<Option<Self>, ConfigError> {
        let file = config.trust_file();
        let words = Words { file: &file, text };
        let ports = Ports::and(&fetching.ports);
        let networks = fetching.networks.iter().map(|word| {
            let network: Result<Network, _> = word.text.parse();
            network.map_err(|error| words.wrong(word, error))
        });
        let reach = Reach::new(networks.collect::<Result<_, _>>()?);
        let anchors = fetching
            .sources
            .iter()
            .map(|sources| AnchorSources::read(sources, &ports, &words));
        let anchors: Vec<AnchorSources> = anchors.collect::<Result<_, _>>()?;
        let pem = match &fetching.ca {
            None => None,
            Some(word) => {
                let path = config.dir.join(&word.text);
                files.watch(&path);
                let read = read_limited(&path, MAX_CA);
                Some((word, read.map_err(|error| words.wrong(word, error))?))
            }
        };
        if anchors.is_empty() {
            return Ok(None);
        }
        let tls = tls_client(pem.as_ref().map(|(_, bytes)| bytes.as_slice()));
        let tls = tls.map_err(|error| match &pem {
            Some((word, _)) => words.wrong(word, error),
            None => ConfigError::new(&file, error.to_string()),
        })?;
        Ok(Some(Self {
            network: Arc::new(Client::new(reach, ports.clone(), tls)),
            ports,
            anchors,
        }))
    }

    /// The entries that an authority stands below, or is one of. `more` are certificates at hand besides the
    /// known ones.
    pub(crate) fn above<'a>(
        &'a self,
        authority: &Certificate,
        known: &CertStore,
        more: &[Certificate],
    ) -> Vec<&'a AnchorSources> {
        let leads = |entry: &&AnchorSources| entry.stands_above(authority, known, more);
        self.anchors.iter().filter(leads).collect()
    }

    /// Whether something may be fetched that tells of what an authority issued.
    pub(crate) fn tell_of(&self, authority: &Certificate, known: &CertStore) -> bool {
        let above = self.above(authority, known, &[]);
        above
            .iter()
            .any(|entry| !entry.lists.is_empty() || entry.ocsp.is_some() || !entry.hosts.is_empty())
    }

    /// Whether anything may be asked while mail waits.
    pub(crate) fn answer_mail(&self) -> bool {
        let mut entries = self.anchors.iter();
        entries.any(|entry| entry.ocsp.is_some() || !entry.hosts.is_empty())
    }

    /// The place of a URL in a certificate, if any entry lists its host.
    pub(crate) fn listed(&self, url: &str) -> Option<Place> {
        let mut entries = self.anchors.iter();
        entries.find_map(|entry| entry.listed(url, &self.ports))
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("anchors", &self.anchors)
            .finish_non_exhaustive()
    }
}

impl AnchorSources {
    fn read(
        written: &trust::Sources,
        ports: &Ports,
        words: &Words<'_>,
    ) -> Result<Self, ConfigError> {
        let place = |word: &Written| {
            let place = Place::parse(&word.text, ports);
            place.map_err(|error| words.wrong(word, error))
        };
        let list = |word: &Written| {
            let place = place(word)?;
            match names_a_file(&place) {
                true => Ok(place),
                false => Err(words.wrong(word, NO_ATTRIBUTE)),
            }
        };
        let responder = |word: &Written| {
            let place = place(word)?;
            match place.scheme() {
                Scheme::Http | Scheme::Https => Ok(place),
                Scheme::Ldap | Scheme::Ldaps => Err(words.wrong(word, NO_RESPONDER)),
            }
        };
        let host = |word: &Written| {
            let place = Place::parse(&format!("http://{}/", word.text), ports);
            let place = place.map_err(|error| words.wrong(word, error))?;
            // With a port or a path it would seem to say more than it does.
            match place.host().to_string().eq_ignore_ascii_case(&word.text) {
                true => Ok(place.host().clone()),
                false => Err(words.wrong(word, "write the name of a host and nothing else")),
            }
        };
        let lists: Vec<Place> = written.crl.iter().map(list).collect::<Result<_, _>>()?;
        Ok(Self {
            name: written.anchor.clone(),
            certificates: written.certificates.clone(),
            lists,
            ocsp: written.ocsp.as_ref().map(responder).transpose()?,
            prefer_ocsp: written.prefer_ocsp,
            hosts: written.hosts.iter().map(host).collect::<Result<_, _>>()?,
        })
    }

    /// Whether names and signatures lead from an authority to a certificate of this entry. Level by level, and
    /// not far: whoever makes a certificate must not choose how long this takes.
    pub(crate) fn stands_above(
        &self,
        authority: &Certificate,
        known: &CertStore,
        more: &[Certificate],
    ) -> bool {
        let mut seen: HashSet<[u8; 32]> = HashSet::new();
        let mut level = vec![authority.clone()];
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for one in &level {
                let signed_by = |by: &Certificate| {
                    by.subject() == one.issuer() && one.verify_signature(by.public_key()).is_ok()
                };
                let mut own = self.certificates.iter();
                if own.any(|anchor| anchor == one || signed_by(anchor)) {
                    return true;
                }
                let candidates = known.issuers(one.issuer(), None);
                for issuer in candidates.iter().chain(more) {
                    let new = seen.len() < MAX_SEEN && !seen.contains(issuer.sha256());
                    if new && signed_by(issuer) {
                        seen.insert(*issuer.sha256());
                        next.push(issuer.clone());
                    }
                }
            }
            level = next;
        }
        false
    }

    /// The place of a URL in a certificate, if its host is listed here.
    pub(crate) fn listed(&self, url: &str, ports: &Ports) -> Option<Place> {
        if self.hosts.is_empty() {
            return None;
        }
        let place = Place::parse(url, ports).ok()?;
        (names_a_file(&place) && self.hosts.contains(place.host())).then_some(place)
    }
}

/// Tells mistakes at their place in `trust.toml`.
struct Words<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Words<'_> {
    fn wrong(&self, word: &Written, what: impl fmt::Display) -> ConfigError {
        let place = config::Place::new(self.text, word.line, word.column);
        let mut error = ConfigError::new(self.file, format!("\"{}\": {what}", word.text));
        error.place = Some(Box::new(place));
        error
    }
}

/// Whether one thing lies there: of a directory's entry an attribute has to be named (RFC 5280 §4.2.1.13).
fn names_a_file(place: &Place) -> bool {
    let search = place.search();
    search.is_none_or(|search| !search.attributes().is_empty())
}

const NO_ATTRIBUTE: &str =
    "it names an entry and nothing of it; write ?certificateRevocationList;binary behind it";
const NO_RESPONDER: &str = "a responder is asked over HTTP; write a URL that begins with http";

/// A bundle of all public authorities is a quarter of it.
const MAX_CA: u64 = 1 << 20;
/// Authorities above each other.
const MAX_DEPTH: usize = 8;
/// Authorities that are looked at for one question.
const MAX_SEEN: usize = 64;

#[cfg(test)]
pub(crate) mod tests;
