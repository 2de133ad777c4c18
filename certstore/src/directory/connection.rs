//! A connection to a directory: resolve, judge, pin, secure, ask. One question at a time.
//!
//! The address that was judged is the one that is connected to, and nothing is asked in clear where TLS was meant.
//! Referrals are not followed. It keeps no more of an answer than it was allowed to take.
//!
//! StartTLS: <https://www.rfc-editor.org/rfc/rfc4511#section-4.14>; what its certificate must be:
//! <https://www.rfc-editor.org/rfc/rfc4513#section-3.1.3>.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::filter::Filter;
use super::message::{self, Attribute, Reply, SIZE_LIMIT_EXCEEDED, SUCCESS};
use super::{Bind, DirectoryError, Security};
use crate::fetch::{Host, Rate, Reach, Resolve, Scope, TooSlow};

/// How a server is reached.
pub(crate) struct Way<'a> {
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) to: To<'a>,
    pub(crate) resolve: &'a Resolve,
    pub(crate) tls: &'a Arc<ClientConfig>,
}

/// Which addresses may be connected to.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// Any: an administrator named the host.
    Any,
    /// This machine.
    Here,
    /// Those that this says: a stranger named the host.
    Within(&'a Reach),
}

/// What is asked.
pub(crate) struct Question<'a> {
    /// The entry where the search begins.
    pub(crate) base: &'a str,
    /// How far below it.
    pub(crate) scope: Scope,
    /// Which entries.
    pub(crate) filter: Filter,
    /// What of them.
    pub(crate) attributes: &'a [String],
    /// How many entries.
    pub(crate) size_limit: u32,
    /// How many seconds the server may take.
    pub(crate) time_limit: u32,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The attributes of each entry.
    pub(crate) entries: Vec<Vec<Attribute>>,
    /// There were more entries.
    pub(crate) more: bool,
}

/// An open connection.
pub(crate) struct Connection(Wire<Box<dyn Stream>>);

impl Connection {
    /// Connects, and secures the connection before anything is asked.
    pub(crate) async fn open(way: &Way<'_>) -> Result<Self, DirectoryError> {
        let tcp = connect(way).await?;
        // A question is one small packet, and its answer is waited for.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = match way.security {
            Security::Plain => Box::new(tcp),
            Security::Tls => Box::new(secure(way, tcp).await?),
            Security::StartTls => {
                let mut wire = Wire::new(tcp);
                let id = wire.send(&message::start_tls()).await?;
                match wire.only(id).await? {
                    Reply::Extended(outcome) => outcome.success("StartTLS")?,
                    _ => return Err(DirectoryError::Malformed("another answer to StartTLS")),
                }
                // Whatever came in clear behind the answer would be taken for the server's, said under TLS.
                let tcp = wire.into_untouched()?;
                Box::new(secure(way, tcp).await?)
            }
        };
        Ok(Self(Wire::new(stream)))
    }

    /// Says who asks.
    pub(crate) async fn bind(&mut self, bind: &Bind) -> Result<(), DirectoryError> {
        let id = self
            .0
            .send(&message::bind(&bind.dn, &bind.password))
            .await?;
        match self.0.only(id).await? {
            Reply::Bound(outcome) => outcome.success("the password"),
            _ => Err(DirectoryError::Malformed("another answer to the password")),
        }
    }

    /// From now on answers have to come at this rate.
    pub(crate) fn at_rate(&mut self, rate: Rate) {
        self.0.rate = Some(rate);
    }

    /// Asks, and takes at most so many bytes of answers.
    pub(crate) async fn search(
        &mut self,
        question: &Question<'_>,
        bytes: usize,
    ) -> Result<Answer, DirectoryError> {
        let id = self.0.send(&message::search(question)).await?;
        let mut left = bytes;
        let mut answer = Answer::default();
        let most = usize::try_from(question.size_limit).unwrap_or(usize::MAX);
        loop {
            match self.0.receive(id, &mut left).await? {
                Reply::Entry(entry) if answer.entries.len() < most => answer.entries.push(entry),
                // A server that does not keep to the limit is not let go on for ever: `left` ends it.
                Reply::Entry(_) => answer.more = true,
                Reply::Reference => {}
                Reply::Done(outcome) => {
                    match outcome.code {
                        SUCCESS => {}
                        SIZE_LIMIT_EXCEEDED => answer.more = true,
                        _ => outcome.success("the search")?,
                    }
                    return Ok(answer);
                }
                Reply::Bound(_) | Reply::Extended(_) => {
                    return Err(DirectoryError::Malformed("another answer to the search"));
                }
            }
        }
    }
}

/// What a connection runs over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Messages on a stream.
struct Wire<S> {
    stream: S,
    /// What was read and not used.
    held: Vec<u8>,
    /// Where reading puts things first.
    piece: Vec<u8>,
    /// The number of the last message of ours.
    last: u32,
    /// How fast answers have to come, if that matters.
    rate: Option<Rate>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            held: Vec::new(),
            piece: vec![0; PIECE],
            last: 0,
            rate: None,
        }
    }

    /// The stream, of which nothing may have been read beyond the last message.
    fn into_untouched(self) -> Result<S, DirectoryError> {
        match self.held.is_empty() {
            true => Ok(self.stream),
            false => Err(DirectoryError::Injected),
        }
    }

    /// Sends an operation; its number tells its answers from others.
    async fn send(&mut self, operation: &[u8]) -> Result<u32, DirectoryError> {
        // Numbers are positive and below 2^31; a connection does not live that long.
        self.last = self.last.wrapping_add(1) & 0x7fff_ffff;
        let bytes = message::message(self.last, operation);
        let sent = self.stream.write_all(&bytes).await;
        sent.map_err(DirectoryError::Broken)?;
        let flushed = self.stream.flush().await;
        flushed.map_err(DirectoryError::Broken)?;
        Ok(self.last)
    }

    /// The one answer to a message that asks for no entries.
    async fn only(&mut self, id: u32) -> Result<Reply, DirectoryError> {
        let mut left = SMALL;
        self.receive(id, &mut left).await
    }

    /// The next answer to this message; `left` says how many bytes it may have, and then how many more.
    async fn receive(&mut self, id: u32, left: &mut usize) -> Result<Reply, DirectoryError> {
        loop {
            if let Some(length) = message::end(&self.held, *left)? {
                *left = left.saturating_sub(length);
                let rest = self.held.split_off(length);
                let bytes = std::mem::replace(&mut self.held, rest);
                return match message::read(&bytes)? {
                    (number, reply) if number == id => Ok(reply),
                    // A notice of disconnection has the number 0 (§4.4.1).
                    (0, _) => Err(DirectoryError::Closed),
                    _ => Err(DirectoryError::Malformed("an answer to another question")),
                };
            }
            let count = self.read().await?;
            match self.piece.get(..count) {
                Some(bytes) if count > 0 => self.held.extend_from_slice(bytes),
                _ => return Err(DirectoryError::Closed),
            }
        }
    }

    /// Waits for the next piece; of no bytes at the end.
    async fn read(&mut self) -> Result<usize, DirectoryError> {
        let Some(rate) = &mut self.rate else {
            let read = self.stream.read(&mut self.piece).await;
            return read.map_err(DirectoryError::Broken);
        };
        loop {
            let left = rate.left();
            let left = left.map_err(|TooSlow(lowest)| DirectoryError::TooSlow(lowest))?;
            let begun = Instant::now();
            let read = timeout(left, self.stream.read(&mut self.piece)).await;
            let Ok(read) = read else {
                rate.waited_in_vain();
                continue;
            };
            let count = read.map_err(DirectoryError::Broken)?;
            rate.note(begun.elapsed(), count);
            return Ok(count);
        }
    }
}

/// Resolves, judges all addresses, and connects to them in their order.
async fn connect(way: &Way<'_>) -> Result<TcpStream, DirectoryError> {
    let addresses = match way.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let found = (way.resolve)(name).await;
            found.map_err(|error| DirectoryError::Resolve {
                host: name.clone(),
                error,
            })?
        }
    };
    match way.to {
        To::Any => {}
        To::Here => {
            let other = |address: &&IpAddr| !address.to_canonical().is_loopback();
            if let Some(other) = addresses.iter().find(other) {
                return Err(DirectoryError::NotHere(SocketAddr::new(*other, way.port)));
            }
        }
        To::Within(reach) => reach.check_all(&addresses)?,
    }
    let mut failure = DirectoryError::NoAddress(way.host.to_string());
    for address in addresses.into_iter().take(MAX_ATTEMPTS) {
        let address = SocketAddr::new(address, way.port);
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = DirectoryError::Connect { address, error },
        }
    }
    Err(failure)
}

/// TLS with a certificate for the name that was asked for.
async fn secure(way: &Way<'_>, tcp: TcpStream) -> Result<TlsStream<TcpStream>, DirectoryError> {
    let failed = |error: io::Error| DirectoryError::Tls {
        host: way.host.to_string(),
        error,
    };
    let name = match way.host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
    };
    let greeting = TlsConnector::from(Arc::clone(way.tls)).connect(name, tcp);
    greeting.await.map_err(failed)
}

/// Bytes of an answer without entries.
const SMALL: usize = 64 << 10;
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;
/// Addresses of one host that are tried.
const MAX_ATTEMPTS: usize = 3;
