//! Revocation lists, OCSP answers and issuer certificates from where certificates say they are
//! ([RFC 5280 §4.2.1.13 and §4.2.2.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.13)).
//!
//! Whoever writes a certificate writes its URLs too. So a [`Place`] is parsed strictly, [`Reach`]
//! judges every address before anything is connected, and [`Pacing`] says how often. Whether the
//! authority is one that is configured is the caller's question and comes first. Nothing here keeps
//! what it fetched, believes it, or sends a credential.

use std::future::Future;
use std::pin::Pin;

mod http;
mod ldap;
mod ldap_url;
mod limits;
mod place;
mod rate;
mod reach;
mod tls;

#[doc(hidden)]
pub use http::answer_of;
pub use http::{
    Client, Fetched, HttpError, Limits, Request, Resolve, Resolving, SinkError, system_resolver,
};
pub use ldap_url::{Filter, LdapUrlError, Scope, Search};
pub use limits::{NotNow, Pacing, PacingSettings};
pub use place::{Host, Place, PlaceError, Ports, Scheme};
pub(crate) use rate::{Rate, TooSlow};
pub use reach::{Forbidden, Network, NetworkError, Reach};
pub use tls::{TlsError, tls_client};

/// Where fetched bytes come from: the network ([`Client`]), or what a test put there.
pub trait Fetch: Send + Sync {
    /// Asks for what the request names and hands it to the sink piece by piece.
    ///
    /// After an error the sink has seen a part that is worth nothing.
    fn fetch<'a>(
        &'a self,
        request: &'a Request<'a>,
        limits: &'a Limits,
        sink: Sink<'a>,
    ) -> Fetching<'a>;
}

/// Takes the pieces of a body in their order, so that a list of any size never sits in memory.
pub type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), SinkError> + Send);

/// A fetch under way. Dropping it closes the connection.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, HttpError>> + Send + 'a>>;

impl Fetch for Client {
    fn fetch<'a>(
        &'a self,
        request: &'a Request<'a>,
        limits: &'a Limits,
        sink: Sink<'a>,
    ) -> Fetching<'a> {
        Box::pin(async move {
            match request.place().scheme() {
                Scheme::Http | Scheme::Https => self.request(request, limits, sink).await,
                Scheme::Ldap | Scheme::Ldaps => self.search(request, limits, sink).await,
            }
        })
    }
}
