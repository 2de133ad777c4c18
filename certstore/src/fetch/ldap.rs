//! What an `ldap` or `ldaps` URL names, for a certificate or the settings: a revocation list, or certificates of an
//! issuer.
//!
//! The URL may be a stranger's: the name is resolved once, all its addresses are judged, one of them is connected to,
//! and nobody logs in. `ldap` is asked in clear, as it is meant to be: what comes is signed by its authority.
//! Referrals are not followed. An answer lies in memory whole, unlike one of a web server.
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.13>, <https://www.rfc-editor.org/rfc/rfc4516>,
//! <https://www.rfc-editor.org/rfc/rfc4523#section-2>.

use kenin_pki::pem;
use tokio::time::timeout;

use super::http::{Client, Fetched, HttpError, Limits, Request};
use super::ldap_url::Search;
use super::place::{Place, Scheme};
use super::{Rate, Sink};
use crate::directory::{Connection, DirectoryError, Filter, Question, Security, To, Way};

impl Client {
    /// Asks a directory for what the place names, and hands the value on; of several values each as PEM. More than
    /// 64 MiB are not taken, whatever the limits say.
    ///
    /// # Errors
    ///
    /// Why there is no whole value. Nothing can be posted to a directory.
    pub(super) async fn search(
        &self,
        request: &Request<'_>,
        limits: &Limits,
        sink: Sink<'_>,
    ) -> Result<Fetched, HttpError> {
        if request.body().is_some() {
            return Err(HttpError::NotHttp);
        }
        let place = request.place();
        let values = match timeout(limits.total, self.values(place, limits)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(HttpError::Deadline(limits.total)),
        };
        let mut bytes: u64 = 0;
        let mut pass = |octets: &[u8]| -> Result<(), HttpError> {
            for piece in octets.chunks(PIECE) {
                bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                sink(piece).map_err(HttpError::Sink)?;
            }
            Ok(())
        };
        match values.as_slice() {
            [Value { octets, .. }] => pass(octets)?,
            // One behind the other in DER, where one ends and the next begins would be anybody's guess.
            many => {
                for Value { label, octets } in many {
                    pass(pem::encode(label, octets).as_bytes())?;
                }
            }
        }
        Ok(Fetched {
            place: place.clone(),
            bytes,
        })
    }

    /// The values at a place, at least one: any single one, or several that are short together.
    async fn values(&self, place: &Place, limits: &Limits) -> Result<Vec<Value>, DirectoryError> {
        let security = match place.scheme() {
            Scheme::Ldap => Security::Plain,
            Scheme::Ldaps => Security::Tls,
            Scheme::Http | Scheme::Https => return Err(DirectoryError::NotLdap),
        };
        // Without one the server would send all that it has (RFC 5280 §4.2.1.13 wants one).
        let wanted = place.search().filter(|one| !one.attributes().is_empty());
        let wanted = wanted.ok_or(DirectoryError::NotLdap)?;
        let way = Way {
            host: place.host(),
            port: place.port(),
            security,
            to: To::Within(&self.reach),
            resolve: &self.resolve,
            tls: &self.tls,
        };
        let connecting = timeout(limits.connect, Connection::open(&way)).await;
        let mut connection = connecting.unwrap_or(Err(DirectoryError::Deadline(limits.connect)))?;
        connection.at_rate(Rate::new(limits.rate));
        let attributes = descriptions(wanted);
        let question = Question {
            base: wanted.dn(),
            scope: wanted.scope(),
            filter: Filter::from(wanted.filter()),
            attributes: &attributes,
            size_limit: MAX_ENTRIES,
            time_limit: u32::try_from(limits.total.as_secs()).unwrap_or(0),
        };
        let bytes = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
        let answer = connection.search(&question, bytes.min(MAX_BYTES)).await?;
        let mut values: Vec<Value> = Vec::new();
        for attribute in answer.entries.into_iter().flatten() {
            // A server may send what nobody asked for.
            if !is_wanted(wanted, &attribute.name) {
                continue;
            }
            let label = label(&attribute.name);
            for octets in attribute.values {
                let value = Value { label, octets };
                // It may come under both names that it was asked by.
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        let total: usize = values.iter().map(|value| value.octets.len()).sum();
        match values.len() {
            0 => Err(DirectoryError::NoValue(wanted.attributes().join(", "))),
            1 => Ok(values),
            count if count <= MAX_VALUES && total <= MAX_TOGETHER => Ok(values),
            count => Err(DirectoryError::ManyValues(count, total)),
        }
    }
}

/// One value of an attribute.
#[derive(PartialEq, Eq)]
struct Value {
    /// What PEM calls its like.
    label: &'static str,
    octets: Vec<u8>,
}

/// What to ask for. Lists and certificates are requested and sent with the option `binary`, whether a URL says so or
/// not (RFC 4523 §2, RFC 4522 §4); but some servers know the bare names only. So both are asked for.
fn descriptions(search: &Search) -> Vec<String> {
    let mut all = Vec::new();
    for written in search.attributes() {
        all.push(written.clone());
        let (kind, options) = parts(written);
        if is_known(kind) && options.is_empty() {
            all.push(format!("{kind};{BINARY}"));
        } else if is_known(kind) && options.eq_ignore_ascii_case(BINARY) {
            all.push(kind.to_owned());
        }
    }
    all
}

/// Whether this attribute of an answer is one that the URL names, by name or by number and with whatever options.
fn is_wanted(search: &Search, name: &str) -> bool {
    let (kind, _) = parts(name);
    let mut wanted = search.attributes().iter();
    wanted.any(|one| name_of(parts(one).0).eq_ignore_ascii_case(name_of(kind)))
}

/// What PEM calls values of this attribute.
fn label(name: &str) -> &'static str {
    let kind = name_of(parts(name).0).to_ascii_lowercase();
    match kind.ends_with("revocationlist") {
        true => "X509 CRL",
        false => "CERTIFICATE",
    }
}

/// The type of an attribute description, and its options.
fn parts(description: &str) -> (&str, &str) {
    description.split_once(';').unwrap_or((description, ""))
}

fn is_known(kind: &str) -> bool {
    let is_it = |text: &&str| kind.eq_ignore_ascii_case(text);
    TYPES
        .iter()
        .any(|(name, number)| is_it(name) || is_it(number))
}

/// The name of a type that is written as a number, where it is known here.
fn name_of(kind: &str) -> &str {
    let found = TYPES.iter().find(|(_, number)| *number == kind);
    found.map_or(kind, |(name, _)| *name)
}

/// The attribute types that hold lists or certificates (RFC 4523 §2).
const TYPES: [(&str, &str); 5] = [
    ("certificateRevocationList", "2.5.4.39"),
    ("authorityRevocationList", "2.5.4.38"),
    ("deltaRevocationList", "2.5.4.53"),
    ("cACertificate", "2.5.4.37"),
    ("userCertificate", "2.5.4.36"),
];
const BINARY: &str = "binary";
/// Bytes of an answer.
const MAX_BYTES: usize = 64 << 20;
/// Entries of an answer: a list has one place.
const MAX_ENTRIES: u32 = 8;
/// Values that are taken where there is more than one.
const MAX_VALUES: usize = 16;
/// Bytes of such values together: in PEM they are still no long list.
const MAX_TOGETHER: usize = 4 << 20;
/// Bytes that the sink is given at once.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests;
