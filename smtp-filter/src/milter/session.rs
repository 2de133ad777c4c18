//! A milter session as a pure state machine: bytes in, events and bytes out. No sockets, no clock.
//!
//! The MTA owns the mail. It is told what to change and whether to take it, at the end of the
//! message and never before; nothing else is answered where the MTA can do without. An error of ours
//! is a temporary failure, never an acceptance.
//!
//! <https://www.postfix.org/MILTER_README.html>; Sendmail's `mfapi.h` and `mfdef.h`.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

pub use super::frame::PacketError;
pub use super::{Wants, telling::Untold};
use super::{
    edits::changes,
    frame::{Packet, Packets, strings, write},
    gathering::{Client, Gathering, sender, text},
    telling::{Terms, tell},
    words::{NEWEST, OLDEST, action, command, protocol, reply},
};
use crate::{
    Division, Edit, Envelope, MailBytes, Recipient, Reply, XForward, client::Sender, server::Limits,
};

/// What a session asks of its shell, or tells it.
#[derive(Debug)]
pub enum SessionEvent {
    /// Bytes of the mail, to be kept by the shell in their order.
    Store(Vec<u8>),
    /// The mail is complete: asks for [`Session::answer`]. Nothing more happens until then.
    EndOfMessage(Box<Completed>),
    /// The mail was refused here; what was stored is of no more use.
    Rejected(Box<Completed>, Reply),
    /// The mail will not come to its end; what was stored is of no more use.
    Abort,
    /// Send what there is and close.
    Close,
}

/// A mail at its end.
#[derive(Debug)]
pub struct Completed {
    /// Its envelope; the id is for the shell to fill in.
    pub envelope: Envelope,
    /// Its bytes, as far as the MTA told them.
    pub size: u64,
}

/// What is to become of a mail.
#[derive(Debug)]
pub enum Answer {
    /// The MTA takes it, these bytes, with these edits.
    Edits(MailBytes, Vec<Edit>),
    /// The same, and it is held for this reason until somebody has looked at it.
    Hold(MailBytes, Vec<Edit>, String),
    /// The MTA refuses it with this reply.
    Refuse(Reply),
}

/// Why a session ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes are no packets.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A command that may not come now, or that is not known.
    #[error("command {0:?} where it does not belong")]
    OutOfPlace(char),
    /// A command whose data does not have its form.
    #[error("command {0:?} with data that cannot be read")]
    Malformed(char),
    /// A version that is not spoken.
    #[error("milter protocol version {0}; 2 to 6 are spoken here")]
    Version(u32),
    /// The MTA does not let a filter change what has to be changed.
    #[error("the MTA does not allow header fields to be added and changed")]
    NoHeaderChanges,
}

/// One connection of an MTA.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    wants: Wants,
    packets: Packets,
    output: Vec<u8>,
    events: VecDeque<SessionEvent>,
    trouble: Option<ProtocolError>,
    phase: Phase,
    terms: Terms,
    peer: SocketAddr,
    client: Client,
    macros: HashMap<u8, HashMap<String, String>>,
    mail: Option<Gathering>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing may come but the negotiation.
    New,
    /// Between commands.
    Ready,
    /// The shell was asked what is to become of the mail.
    Asked,
    Closed,
}

impl Session {
    /// A session with the MTA at `peer`.
    pub fn new(limits: Limits, wants: Wants, peer: SocketAddr) -> Self {
        Self {
            limits,
            wants,
            packets: Packets::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            trouble: None,
            phase: Phase::New,
            terms: Terms::default(),
            peer,
            client: Client::default(),
            macros: HashMap::new(),
            mail: None,
        }
    }

    /// Takes in what the MTA sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.packets.push(bytes);
        self.advance();
    }

    /// The next thing for the shell to do.
    pub fn poll(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Bytes to send.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// Why the session ended early, once.
    pub fn trouble(&mut self) -> Option<ProtocolError> {
        self.trouble.take()
    }

    /// Whether a mail is under way: a service that ends waits for it.
    pub fn has_mail(&self) -> bool {
        self.mail.is_some() || self.phase == Phase::Asked
    }

    /// The MTA waits for the answer to the end of a message: asks it to go on waiting.
    pub fn progress(&mut self) {
        if self.phase == Phase::Asked {
            write(&mut self.output, reply::PROGRESS, &[]);
        }
    }

    /// Answers [`SessionEvent::EndOfMessage`]. Where the MTA was told something else than the answer, to
    /// try again later, this says why.
    ///
    /// # Errors
    ///
    /// What cannot be told to this MTA.
    pub fn answer(&mut self, answer: &Answer) -> Result<(), Untold> {
        if self.phase != Phase::Asked {
            return Ok(());
        }
        self.phase = Phase::Ready;
        let fields = self.mail.take().map(|mail| mail.fields).unwrap_or_default();
        let (raw, edits, hold) = match answer {
            Answer::Refuse(reply) => {
                self.refuse(reply);
                self.advance();
                return Ok(());
            }
            Answer::Edits(raw, edits) => (raw, edits, None),
            Answer::Hold(raw, edits, reason) => (raw, edits, Some(reason.as_str())),
        };
        let told = changes(raw, &fields, edits)
            .ok_or(Untold::Edit)
            .and_then(|changes| tell(&mut self.output, self.terms, &changes, hold));
        if told.is_err() {
            self.refuse(&Reply::aborted());
        }
        self.advance();
        told
    }

    fn refuse(&mut self, reply: &Reply) {
        // Sendmail's library takes the text for a format, and MTAs undo what it does to `%`.
        let text = reply.to_string().replace('%', "%%");
        write(
            &mut self.output,
            reply::REPLY_CODE,
            &[text.as_bytes(), b"\0"],
        );
    }

    /// Takes packets until something has to be waited for.
    fn advance(&mut self) {
        while matches!(self.phase, Phase::New | Phase::Ready) {
            match self.packets.next() {
                Ok(Some(packet)) => {
                    if let Err(error) = self.take(&packet) {
                        return self.end(Some(error));
                    }
                }
                Ok(None) => return,
                Err(error) => return self.end(Some(error.into())),
            }
        }
    }

    fn end(&mut self, trouble: Option<ProtocolError>) {
        self.forget();
        self.phase = Phase::Closed;
        self.trouble = trouble;
        self.events.push_back(SessionEvent::Close);
    }

    fn forget(&mut self) {
        if self.mail.take().is_some() {
            self.forget_macros();
            self.events.push_back(SessionEvent::Abort);
        }
    }

    /// What was said of one mail is not true of the next.
    fn forget_macros(&mut self) {
        self.macros
            .retain(|stage, _| matches!(*stage, command::CONNECT | command::HELO));
    }

    fn take(&mut self, packet: &Packet) -> Result<(), ProtocolError> {
        let Packet { command, data } = packet;
        let name = char::from(*command);
        if self.phase == Phase::New {
            return match *command {
                command::NEGOTIATE => self.negotiate(data),
                command::QUIT => {
                    self.end(None);
                    Ok(())
                }
                _ => Err(ProtocolError::OutOfPlace(name)),
            };
        }
        let no_reply = match *command {
            command::MACRO => return self.know(data),
            command::ABORT => {
                self.forget();
                // Also of a mail that had not begun.
                self.forget_macros();
                return Ok(());
            }
            command::QUIT => {
                self.end(None);
                return Ok(());
            }
            // The connection is used again, for another SMTP client.
            command::QUIT_NEW_CONNECTION => {
                self.forget();
                self.client = Client::default();
                self.macros.clear();
                return Ok(());
            }
            command::CONNECT => {
                self.forget();
                self.client = Client::parse(data).ok_or(ProtocolError::Malformed(name))?;
                protocol::NO_REPLY_CONNECT
            }
            command::HELO => {
                self.client.helo = text(strings(data).next().unwrap_or_default());
                protocol::NO_REPLY_HELO
            }
            command::MAIL => {
                let resolved = self.take_macro(command::MAIL, "mail_addr");
                self.forget();
                let sender = sender(data, resolved.as_deref());
                let sender = sender.ok_or(ProtocolError::Malformed(name))?;
                self.mail = Some(Gathering {
                    sender,
                    ..Gathering::default()
                });
                protocol::NO_REPLY_MAIL
            }
            command::RCPT => {
                let limit = self.limits.recipients;
                let resolved = self.take_macro(command::RCPT, "rcpt_addr");
                let mail = self.mail(name)?;
                mail.recipient(data, resolved.as_deref(), limit)
                    .ok_or(ProtocolError::Malformed(name))?;
                protocol::NO_REPLY_RCPT
            }
            command::DATA => protocol::NO_REPLY_DATA,
            command::UNKNOWN => protocol::NO_REPLY_UNKNOWN,
            command::HEADER => {
                let bounds = (self.limits.header_size, self.limits.header_fields);
                let exact = self.terms.protocol & protocol::HEADER_LEADING_SPACE != 0;
                let mail = self.mail(name)?;
                let mut parts = data.splitn(2, |byte| *byte == 0);
                let (Some(field), Some(value)) = (parts.next(), parts.next()) else {
                    return Err(ProtocolError::Malformed(name));
                };
                let value = value.strip_suffix(b"\0").unwrap_or(value);
                if mail.header_ended {
                    return Err(ProtocolError::OutOfPlace(name));
                }
                mail.field(field, value, exact, bounds);
                protocol::NO_REPLY_HEADER
            }
            command::END_OF_HEADERS => {
                self.mail(name)?;
                self.end_header();
                protocol::NO_REPLY_END_OF_HEADERS
            }
            command::BODY => {
                self.mail(name)?;
                self.body(data);
                protocol::NO_REPLY_BODY
            }
            command::END_OF_BODY => {
                self.mail(name)?;
                self.body(data);
                self.complete();
                return Ok(());
            }
            _ => return Err(ProtocolError::OutOfPlace(name)),
        };
        if self.terms.protocol & no_reply == 0 {
            write(&mut self.output, reply::CONTINUE, &[]);
        }
        Ok(())
    }

    fn mail(&mut self, name: char) -> Result<&mut Gathering, ProtocolError> {
        self.mail.as_mut().ok_or(ProtocolError::OutOfPlace(name))
    }

    fn negotiate(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        let mut numbers = data
            .chunks_exact(4)
            .filter_map(|chunk| chunk.first_chunk::<4>())
            .map(|chunk| u32::from_be_bytes(*chunk));
        let (Some(version), Some(actions), Some(offered)) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(ProtocolError::Malformed('O'));
        };
        if version < OLDEST {
            return Err(ProtocolError::Version(version));
        }
        if actions & action::HEADER != action::HEADER {
            return Err(ProtocolError::NoHeaderChanges);
        }
        // The others are missed only when a mail needs one.
        self.terms.actions = actions & (action::HEADER | self.wants.actions());
        self.terms.protocol = offered & protocol::WANTED;
        let answer = [
            version.min(NEWEST).to_be_bytes(),
            self.terms.actions.to_be_bytes(),
            self.terms.protocol.to_be_bytes(),
        ];
        write(&mut self.output, reply::NEGOTIATE, &[answer.as_flattened()]);
        self.phase = Phase::Ready;
        Ok(())
    }

    /// Macros of the command that follows; those of the same command before it no longer hold.
    fn know(&mut self, data: &[u8]) -> Result<(), ProtocolError> {
        let Some((command, pairs)) = data.split_first() else {
            return Err(ProtocolError::Malformed('D'));
        };
        let mut known = HashMap::new();
        let mut pairs = strings(pairs);
        while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
            if known.len() >= MAX_MACROS {
                break;
            }
            let name = text(name);
            let name = name.trim_start_matches('{').trim_end_matches('}');
            known.insert(name.to_owned(), text(value));
        }
        if STAGES.contains(command) {
            self.macros.insert(*command, known);
        }
        Ok(())
    }

    /// The value of a macro that is of this command alone, and of no later one.
    fn take_macro(&mut self, stage: u8, name: &str) -> Option<String> {
        self.macros.get_mut(&stage)?.remove(name)
    }

    /// The value of a macro, as last said.
    fn known(&self, name: &str) -> Option<&str> {
        STAGES
            .iter()
            .filter_map(|stage| self.macros.get(stage)?.get(name))
            .map(String::as_str)
            .find(|value| !value.is_empty())
    }

    fn end_header(&mut self) {
        let Some(mail) = &mut self.mail else { return };
        if std::mem::replace(&mut mail.header_ended, true) {
            return;
        }
        let mut header = std::mem::take(&mut mail.header);
        header.extend_from_slice(b"\r\n");
        if mail.grow(2, self.limits.message_size) {
            self.events.push_back(SessionEvent::Store(header));
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        self.end_header();
        let Some(mail) = &mut self.mail else { return };
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if mail.grow(more, self.limits.message_size) && !bytes.is_empty() {
            self.events.push_back(SessionEvent::Store(bytes.to_vec()));
        }
    }

    fn complete(&mut self) {
        let Some(mail) = &mut self.mail else { return };
        let refusal = mail.refusal.take();
        let (sender, size) = (std::mem::take(&mut mail.sender), mail.size);
        let recipients = std::mem::take(&mut mail.recipients);
        let envelope = self.envelope(sender, recipients);
        self.forget_macros();
        let completed = Box::new(Completed { envelope, size });
        match refusal {
            Some(reply) => {
                self.mail = None;
                self.refuse(&reply);
                self.events
                    .push_back(SessionEvent::Rejected(completed, reply));
            }
            None => {
                self.phase = Phase::Asked;
                self.events.push_back(SessionEvent::EndOfMessage(completed));
            }
        }
    }

    fn envelope(&self, sender: Sender, rcpt_to: Vec<Recipient>) -> Envelope {
        let known = |name| self.known(name).map(str::to_owned);
        let tls = self.known("tls_version").map(|version| {
            let suite = self.known("cipher").unwrap_or("unknown");
            format!("{version} {suite}")
        });
        let client = match self.client.address {
            Some(address) => SocketAddr::new(address, self.client.port),
            None => self.peer,
        };
        Envelope {
            id: String::new(),
            mail_from: sender.address,
            body: sender.body,
            smtputf8: sender.smtputf8,
            size: sender.size,
            ret: sender.ret,
            envid: sender.envid,
            rcpt_to,
            helo: self.client.helo.clone(),
            esmtp: true,
            division: Division::Never,
            seven_bit_only: false,
            client,
            tls,
            authenticated: known("auth_authen"),
            daemon: known("daemon_name"),
            xforward: XForward {
                name: known("client_name").or_else(|| self.client.name.clone()),
                addr: self.client.address.map(|address| address.to_string()),
                ident: known("i"),
                ..XForward::default()
            },
        }
    }
}

/// Where nobody says who the client is: one that came over a UNIX socket.
pub const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Stages whose macros count, the latest first.
const STAGES: [u8; 7] = [
    command::END_OF_BODY,
    command::END_OF_HEADERS,
    command::DATA,
    command::RCPT,
    command::MAIL,
    command::HELO,
    command::CONNECT,
];
const MAX_MACROS: usize = 100;
