//! What can go wrong between us and a directory.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::breaker::Resting;
use crate::fetch::Forbidden;

/// Why a directory gave no answer. That it knows nobody of an address is an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// An address that is not asked for.
    #[error("an empty address, or a control character in it; no mailbox has one")]
    Address,
    /// The place is no directory, or its URL says too little.
    #[error("the URL names no attribute of a directory's entry to fetch; use another source")]
    NotLdap,
    /// It failed before, and is not asked for a while.
    #[error(transparent)]
    Resting(#[from] Resting),
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
    /// Without TLS only this machine is asked.
    #[error("{0} is another machine, which is asked with TLS only; set start_tls = true")]
    NotHere(SocketAddr),
    /// No connection.
    #[error("{address} takes no connection: {error}; see that the server runs and may be reached")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// No TLS.
    #[error("no TLS with {host}: {error}; see that ca names the authority of its certificate")]
    Tls {
        /// The name that its certificate should have.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// Something came in clear behind the answer to StartTLS, where only TLS may come.
    #[error("the answer to StartTLS goes on in clear; see who stands between here and the server")]
    Injected,
    /// The connection broke.
    #[error("the connection broke: {0}; it is tried again later")]
    Broken(#[source] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection; it is tried again later")]
    Closed,
    /// It took too long.
    #[error("no answer within {} ms; it is tried again later", .0.as_millis())]
    Deadline(Duration),
    /// It came too slowly.
    #[error("less than {0} bytes a second came; it is tried again later")]
    TooSlow(u64),
    /// What came is no LDAP.
    #[error("the answer is no LDAP: {0}; see what answers at that address")]
    Malformed(&'static str),
    /// More came than anybody asked for.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// There is more in it than is read: values, or elements inside each other.
    #[error("there is more in an entry than is read")]
    TooMany,
    /// There is nothing to fetch.
    #[error("no entry there has {0}; see that the URL names the right entry and attribute")]
    NoValue(String),
    /// There is more to fetch than one thing.
    #[error("the entry has {0} values in {1} bytes; have a long list in an entry of its own")]
    ManyValues(usize, usize),
    /// The server says no.
    #[error("the server refused {what}: {name} ({code}) {text}", name = code_name(*code))]
    Refused {
        /// What.
        what: &'static str,
        /// resultCode of RFC 4511 §4.1.9.
        code: u32,
        /// The server's words, made harmless.
        text: String,
    },
    /// The server sends us elsewhere.
    #[error("the server refers to another one, which is never followed; set the URL to that one")]
    Referral,
}

impl DirectoryError {
    /// Whether it says something of what was asked about, and nothing of the server: another question may go well.
    pub(super) const fn is_of_one_answer(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::TooMany)
    }
}

/// What a code means (RFC 4511 Appendix A), of those that a search meets.
const fn code_name(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "code",
    }
}
