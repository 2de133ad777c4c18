//! What a certificate's `ldap` URL names: the values of an attribute, mostly a revocation list.
//!
//! The URL is a stranger's: the name is resolved once, all its addresses are judged, one of them is connected to,
//! and nobody logs in. `ldap` is asked in clear, as it is meant to be: what comes is signed by its authority.
//! Referrals are not followed.
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.13>, <https://www.rfc-editor.org/rfc/rfc4516>.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::timeout;

use super::http::{Limits, Resolve};
use super::place::{Place, Scheme};
use super::reach::Reach;
use crate::directory::{Connection, DirectoryError, Filter, Question, Security, To, Way};

/// Asks for what an `ldap` or `ldaps` place names and gives the values of its attributes, in the order in which they
/// came. More than 64 MiB are not taken, whatever the limits say: an answer of LDAP lies in memory.
///
/// # Errors
///
/// Why there is no whole answer. An entry without the attribute has no values, which is an answer.
pub async fn search_binary(
    place: &Place,
    reach: &Reach,
    resolve: &Resolve,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, DirectoryError> {
    match timeout(limits.total, search(place, reach, resolve, tls, limits)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DirectoryError::Deadline(limits.total)),
    }
}

async fn search(
    place: &Place,
    reach: &Reach,
    resolve: &Resolve,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, DirectoryError> {
    let security = match place.scheme() {
        Scheme::Ldap => Security::Plain,
        Scheme::Ldaps => Security::Tls,
        Scheme::Http | Scheme::Https => return Err(DirectoryError::NotLdap),
    };
    // Without one the server would send all that it has (RFC 5280 §4.2.1.13 wants one).
    let asked = place.search().filter(|one| !one.attributes().is_empty());
    let asked = asked.ok_or(DirectoryError::NotLdap)?;
    let way = Way {
        host: place.host(),
        port: place.port(),
        security,
        to: To::Within(reach),
        resolve,
        tls,
    };
    let connecting = timeout(limits.connect, Connection::open(&way)).await;
    let mut connection = connecting.unwrap_or(Err(DirectoryError::Deadline(limits.connect)))?;
    let question = Question {
        base: asked.dn(),
        scope: asked.scope(),
        filter: Filter::from(asked.filter()),
        attributes: asked.attributes(),
        size_limit: MAX_ENTRIES,
        time_limit: u32::try_from(limits.total.as_secs()).unwrap_or(0),
    };
    let bytes = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
    let answer = connection.search(&question, bytes.min(MAX_BYTES)).await?;
    let attributes = answer.entries.into_iter().flatten();
    Ok(attributes.flat_map(|one| one.values).collect())
}

/// Bytes of an answer.
const MAX_BYTES: usize = 64 << 20;
/// Entries of an answer: a list has one place.
const MAX_ENTRIES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testserver::{Server, entry};
    use crate::fetch::{Ports, system_resolver, tls_client};

    fn place(port: u16, rest: &str) -> Place {
        let text = format!("ldap://127.0.0.1:{port}/{rest}");
        Place::parse(&text, &Ports::and(&[port])).unwrap()
    }

    async fn asked(place: &Place, reach: &Reach) -> Result<Vec<Vec<u8>>, DirectoryError> {
        let tls = tls_client(None).unwrap();
        search_binary(place, reach, &system_resolver(), &tls, &Limits::CRL).await
    }

    fn here() -> Reach {
        Reach::new(vec!["127.0.0.0/8".parse().unwrap()])
    }

    const CRL: &str = "cn=CA,o=x?certificateRevocationList;binary";

    #[tokio::test]
    async fn the_values_of_the_attribute_come_back() {
        let list = entry(
            "certificateRevocationList;binary",
            &[b"one list", b"another"],
        );
        let server = Server::start(vec![list], 0).await;
        let values = asked(&place(server.port, CRL), &here()).await.unwrap();
        assert_eq!(values, [b"one list".to_vec(), b"another".to_vec()]);
    }

    #[tokio::test]
    async fn the_address_is_judged_before_anything_is_connected() {
        let server = Server::start(Vec::new(), 0).await;
        let error = asked(&place(server.port, CRL), &Reach::default()).await;
        assert!(
            matches!(error, Err(DirectoryError::Forbidden(_))),
            "{error:?}"
        );
        assert_eq!(server.connections(), 0);
    }

    #[tokio::test]
    async fn what_says_no_is_an_error() {
        let server = Server::start(Vec::new(), 32).await;
        let error = asked(&place(server.port, CRL), &here()).await.unwrap_err();
        assert!(
            matches!(error, DirectoryError::Refused { code: 32, .. }),
            "{error}"
        );
        let error = asked(&place(server.port, "cn=CA,o=x"), &here()).await;
        assert!(matches!(error, Err(DirectoryError::NotLdap)), "{error:?}");
        assert_eq!(server.connections(), 1);
        let web = Place::parse("http://127.0.0.1/x", &Ports::default()).unwrap();
        let error = asked(&web, &here()).await;
        assert!(matches!(error, Err(DirectoryError::NotLdap)), "{error:?}");
    }
}
