//! Who sent a mail to whom, as the SMTP client said it. It never holds anything from the mail's
//! own header.

use std::net::SocketAddr;

/// The envelope of one mail and what is known of the client.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The transaction's id: 26 characters, sortable by time, also in our Received field.
    pub id: String,
    /// The reverse path without its angle brackets; empty for `<>`.
    pub mail_from: String,
    /// What MAIL declared with BODY=.
    pub body: Body,
    /// Whether MAIL carried SMTPUTF8.
    pub smtputf8: bool,
    /// What MAIL declared with SIZE=.
    pub size: Option<u64>,
    /// RET= of MAIL (RFC 3461): `FULL` or `HDRS`.
    pub ret: Option<String>,
    /// ENVID= of MAIL, still in xtext.
    pub envid: Option<String>,
    /// The recipients that the next hop accepted, in their order.
    pub rcpt_to: Vec<Recipient>,
    /// What the client said in EHLO or HELO.
    pub helo: String,
    /// Whether it was EHLO or LHLO.
    pub esmtp: bool,
    /// How far its recipients can be treated differently.
    pub division: Division,
    /// Whether the next hop has said that it takes no octets above 127 (it has no 8BITMIME). A milter does not hear of that.
    pub seven_bit_only: bool,
    /// The client's address, as the socket gives it.
    pub client: SocketAddr,
    /// The TLS version and cipher suite, when the session is under TLS.
    pub tls: Option<String>,
    /// Who the client proved to be (AUTH), where an MTA says so that is trusted: by a milter macro (`auth_authen`), or
    /// by giving us nothing else ([`crate::server::ServerConfig::submission`]), where it is the reverse path.
    pub authenticated: Option<String>,
    /// The MTA's name for the service that took the mail (milter macro `daemon_name`); by custom
    /// `ORIGINATING` is submission.
    pub daemon: Option<String>,
    /// What a trusted peer said of the real client.
    pub xforward: XForward,
}

/// How far the recipients of one mail can be treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Not at all: the MTA has one body and takes one answer (milter).
    Never,
    /// Each may get a copy of its own, but the client gets one answer (SMTP).
    Copies,
    /// Each may get a copy of its own, and an answer of its own (LMTP).
    Answers,
}

/// One recipient that the next hop accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The forward path without its angle brackets.
    pub address: String,
    /// NOTIFY= (RFC 3461).
    pub notify: Option<String>,
    /// ORCPT=, still in xtext.
    pub orcpt: Option<String>,
}

/// The BODY= parameter of MAIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Not declared, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME` (RFC 6152).
    EightBitMime,
}

/// The attributes of XFORWARD, decoded; absent and `[UNAVAILABLE]` are both `None`.
///
/// <https://www.postfix.org/XFORWARD_README.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XForward {
    /// The client's host name.
    pub name: Option<String>,
    /// The client's address.
    pub addr: Option<String>,
    /// The client's port.
    pub port: Option<String>,
    /// `SMTP` or `ESMTP`.
    pub proto: Option<String>,
    /// What the client said in HELO.
    pub helo: Option<String>,
    /// The upstream queue id.
    pub ident: Option<String>,
    /// `LOCAL` or `REMOTE`.
    pub source: Option<String>,
}
