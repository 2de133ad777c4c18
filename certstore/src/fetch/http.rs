//! One request over HTTP/1.1 to a place that may be asked: resolve, judge, pin, ask, hand on.
//!
//! The address that was judged is the one that is connected to; no library resolves the name again.
//! It sends no credentials, keeps no connection, follows no redirect to another host, undoes no
//! compression, and never holds more of a body than a piece.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110>, <https://www.rfc-editor.org/rfc/rfc9112>.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::place::{Host, Place, PlaceError, Ports, Scheme};
use super::reach::{Forbidden, Reach};
use crate::directory::DirectoryError;

mod exchange;

#[doc(hidden)]
pub use exchange::answer_of;
use exchange::{Answer, exchange};

/// A client of web servers that nobody trusts; as a [`Fetch`](super::Fetch) one of directories too.
#[derive(Clone)]
pub struct Client {
    pub(super) resolve: Resolve,
    pub(super) reach: Reach,
    ports: Ports,
    pub(super) tls: Arc<ClientConfig>,
}

/// Gives the addresses of a name.
pub type Resolve = Arc<dyn Fn(&str) -> Resolving + Send + Sync>;

/// Addresses under way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Why the sink takes no more.
pub type SinkError = Box<dyn Error + Send + Sync>;

impl Client {
    /// A client that asks the system for addresses.
    pub fn new(reach: Reach, ports: Ports, tls: Arc<ClientConfig>) -> Self {
        Self {
            resolve: system_resolver(),
            reach,
            ports,
            tls,
        }
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// Asks, and hands the body of the answer to `sink` in pieces, in their order.
    ///
    /// # Errors
    ///
    /// Why there is no whole answer. The sink may have seen a part of one, which is worth nothing.
    pub async fn request<F, E>(
        &self,
        request: &Request<'_>,
        limits: &Limits,
        mut sink: F,
    ) -> Result<Fetched, HttpError>
    where
        F: FnMut(&[u8]) -> Result<(), E> + Send,
        E: Into<SinkError>,
    {
        let mut pass = |piece: &[u8]| -> Result<(), SinkError> { sink(piece).map_err(Into::into) };
        let all = self.follow(request, limits, &mut pass);
        match timeout(limits.total, all).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Deadline(limits.total)),
        }
    }

    async fn follow<F>(
        &self,
        request: &Request<'_>,
        limits: &Limits,
        sink: &mut F,
    ) -> Result<Fetched, HttpError>
    where
        F: FnMut(&[u8]) -> Result<(), SinkError> + Send,
    {
        let mut place = request.place.clone();
        // Redirects stay on this host, so its addresses are asked for and judged once.
        let addresses = self.addresses(&place).await?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self
                .once(&place, &addresses, request, limits, &mut *sink)
                .await?;
            let (status, location) = match answer {
                Answer::Whole(bytes) => return Ok(Fetched { place, bytes }),
                Answer::Moved { status, location } => (status, location),
            };
            // See Other means to ask otherwise, and a question that was posted has no other form.
            if status == 303 && request.content.is_some() {
                return Err(HttpError::Status(status));
            }
            let next = place.redirected(&location, &self.ports);
            let next = next.map_err(HttpError::Redirect)?;
            if next.host() != place.host() || !may_follow(place.scheme(), next.scheme()) {
                return Err(HttpError::RedirectAway(next.to_string()));
            }
            place = next;
        }
        Err(HttpError::Redirects)
    }

    /// The addresses of a host, of which each may be connected to.
    async fn addresses(&self, place: &Place) -> Result<Vec<IpAddr>, HttpError> {
        let addresses = match place.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = (self.resolve)(name).await;
                found.map_err(|error| HttpError::Resolve {
                    host: name.clone(),
                    error,
                })?
            }
        };
        self.reach.check_all(&addresses)?;
        Ok(addresses)
    }

    /// One request and its answer.
    async fn once<F>(
        &self,
        place: &Place,
        addresses: &[IpAddr],
        request: &Request<'_>,
        limits: &Limits,
        sink: &mut F,
    ) -> Result<Answer, HttpError>
    where
        F: FnMut(&[u8]) -> Result<(), SinkError> + Send,
    {
        // A place that is no web server's is not even connected to.
        let secured = match place.scheme() {
            Scheme::Http => false,
            Scheme::Https => true,
            Scheme::Ldap | Scheme::Ldaps => return Err(HttpError::NotHttp),
        };
        let head = request.head(place);
        let body = request.content.map_or(&[][..], |(_, body)| body);
        let stream = connect(place, addresses, limits).await?;
        let _ = stream.set_nodelay(true);
        if !secured {
            return exchange(stream, &head, body, limits, sink).await;
        }
        let failed = |error: io::Error| HttpError::Tls {
            host: place.host().to_string(),
            error,
        };
        let name = match place.host() {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        };
        let greeting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        let stream = match timeout(limits.connect, greeting).await {
            Ok(stream) => stream.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        exchange(stream, &head, body, limits, sink).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reach, ports) = (&self.reach, &self.ports);
        write!(f, "Client({reach:?}, {ports:?})")
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    place: &'a Place,
    accept: &'static str,
    /// Its media type and the bytes to post.
    content: Option<(&'static str, &'a [u8])>,
}

impl<'a> Request<'a> {
    /// GET, for a media type: of a list `application/pkix-crl`, of an issuer
    /// `application/pkix-cert` (RFC 2585).
    pub fn get(place: &'a Place, accept: &'static str) -> Self {
        Self {
            place,
            accept,
            content: None,
        }
    }

    /// POST of bytes of a media type, as OCSP asks (RFC 6960 Appendix A).
    pub fn post(
        place: &'a Place,
        accept: &'static str,
        media_type: &'static str,
        body: &'a [u8],
    ) -> Self {
        Self {
            place,
            accept,
            content: Some((media_type, body)),
        }
    }

    /// Where it goes first.
    pub fn place(&self) -> &'a Place {
        self.place
    }

    /// The bytes to post, none for GET.
    pub fn body(&self) -> Option<&'a [u8]> {
        self.content.map(|(_, body)| body)
    }

    /// The request line and the fields. All parts of a place are free of line ends.
    fn head(&self, place: &Place) -> String {
        let (target, host, accept) = (place.target(), place.authority(), self.accept);
        let method = if self.content.is_some() {
            "POST"
        } else {
            "GET"
        };
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Kenin\r\n\
             Accept: {accept}\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
        );
        if let Some((media_type, body)) = self.content {
            let length = body.len();
            head.push_str(&format!(
                "Content-Type: {media_type}\r\nContent-Length: {length}\r\n"
            ));
        }
        head.push_str("\r\n");
        head
    }
}

/// How much is waited for and taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body.
    pub bytes: u64,
    /// The longest time, from the resolver to the last byte.
    pub total: Duration,
    /// The longest time for one connection, and again for TLS on it.
    pub connect: Duration,
    /// The lowest rate in bytes a second, over any ten seconds of waiting.
    pub rate: u64,
}

impl Limits {
    /// For a revocation list, fetched ahead of need.
    pub const CRL: Self = Self {
        bytes: 256 << 20,
        total: Duration::from_secs(600),
        connect: Duration::from_secs(5),
        rate: 4096,
    };
    /// For an OCSP answer, for which a mail waits.
    pub const OCSP: Self = Self {
        bytes: 64 << 10,
        total: Duration::from_secs(5),
        connect: Duration::from_secs(5),
        rate: 100,
    };
    /// For an issuer's certificate, for which a mail waits.
    pub const ISSUER: Self = Self {
        bytes: 1 << 20,
        total: Duration::from_secs(5),
        connect: Duration::from_secs(5),
        rate: 100,
    };
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it came from, after redirects.
    pub place: Place,
    /// How many bytes the sink was given.
    pub bytes: u64,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The place is a directory.
    #[error("the URL is a directory's, and what is asked is asked of web servers; use another URL")]
    NotHttp,
    /// A directory gave no answer, or not one value.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The name was not resolved.
    #[error("{host} has no address: {error}; see that the name is right and the resolver answers")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// The name has no addresses.
    #[error("{0} has no address; see that the name is right")]
    NoAddress(String),
    /// One of its addresses is not to be reached.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// No connection.
    #[error("{address} takes no connection: {error}; see that a firewall lets the gateway out")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// No TLS.
    #[error("no TLS with {host}: {error}; if its authority is a private one, name its file")]
    Tls {
        /// The name that its certificate should have.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}; it is tried again later")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("no whole answer within {} s; it is tried again later", .0.as_secs())]
    Deadline(Duration),
    /// It came too slowly.
    #[error("less than {0} bytes a second came; it is tried again later")]
    TooSlow(u64),
    /// The answer is no HTTP.
    #[error("the answer is no HTTP: {0}; see what answers at that address")]
    Head(&'static str),
    /// The head of the answer does not end.
    #[error("the head of the answer is longer than 16 KiB; see what answers at that address")]
    HeadTooLong,
    /// Another status than 200 and the redirects.
    #[error("the server answered {0}; see that the URL is right")]
    Status(u16),
    /// A coding that would have to be undone.
    #[error("the server encoded the answer as `{0}`; have it send files as they are")]
    Coding(String),
    /// It is not certain where the body ends.
    #[error("where the answer ends is in doubt: {0}; see what stands between here and the server")]
    Framing(&'static str),
    /// The body is over the limit.
    #[error("the answer is longer than {0} bytes; see that the URL is right")]
    TooLarge(u64),
    /// The connection ended before the answer.
    #[error("the connection ended before the answer did; it is tried again later")]
    Truncated,
    /// A redirect to a URL that is refused.
    #[error("a redirect that is not followed: {0}")]
    Redirect(#[source] PlaceError),
    /// A redirect to another host, or out of TLS.
    #[error("a redirect to {0}, another host or without TLS; use the final URL instead")]
    RedirectAway(String),
    /// Redirects without an end.
    #[error("more than 3 redirects; use the final URL instead")]
    Redirects,
    /// The sink takes no more.
    #[error("what was fetched could not be taken: {0}")]
    Sink(#[source] SinkError),
}

/// Asks the system, as all programs do: files and name servers.
pub fn system_resolver() -> Resolve {
    Arc::new(|name: &str| -> Resolving { Box::pin(look_up(name.to_owned())) })
}

async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    // The port has no meaning here, but none cannot be said.
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Connects to the addresses in their order. Nothing else is resolved: these were judged.
async fn connect(
    place: &Place,
    addresses: &[IpAddr],
    limits: &Limits,
) -> Result<TcpStream, HttpError> {
    let mut failure = HttpError::NoAddress(place.host().to_string());
    for address in addresses.iter().take(MAX_ATTEMPTS) {
        let address = SocketAddr::new(*address, place.port());
        let error = match timeout(limits.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        failure = HttpError::Connect { address, error };
    }
    Err(failure)
}

/// A redirect may add TLS and never takes it away.
fn may_follow(from: Scheme, to: Scheme) -> bool {
    from == to || (from, to) == (Scheme::Http, Scheme::Https)
}

const MAX_REDIRECTS: usize = 3;
/// Addresses of one host that are tried.
const MAX_ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
