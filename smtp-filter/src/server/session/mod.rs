//! The server's side of SMTP as a pure state machine: bytes in, events and bytes out. No sockets,
//! no files, no clock. It asks its shell what the next hop says and goes on with the answer.
//!
//! The same machine speaks LMTP (<https://www.rfc-editor.org/rfc/rfc2033>): another greeting, and an
//! answer for each recipient.
//!
//! Verbs: receive, poll, transmit, deadline, expire; and `answer` for what it asked. Sequencing:
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4>.

#[cfg(test)]
mod bounds;
mod commands;
mod content;
mod envelope;
mod greeting;
mod lines;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Protocol, ServerConfig};
use crate::{
    Envelope, Recipient, Reply, XForward,
    client::{Capabilities, Sender},
};
use content::Content;
use lines::Lines;

/// What a session asks of its shell, or tells it. After an event that asks, nothing more happens
/// until [`Session::answer`] or [`Session::secured`].
#[derive(Debug)]
pub enum SessionEvent {
    /// Asks for the next hop's capabilities: answer [`Answer::Capabilities`].
    Probe,
    /// Asks to pass MAIL to the next hop: answer [`Answer::Reply`].
    Mail(Box<Sender>, Box<XForward>),
    /// Asks to pass RCPT to the next hop: answer [`Answer::Reply`].
    Rcpt(Recipient),
    /// Bytes of the mail, to be kept by the shell in their order.
    Store(Vec<u8>),
    /// The mail is complete: asks what to answer to the dot, by [`Answer::Reply`] for all recipients
    /// or by [`Answer::Replies`] for each.
    EndOfData(Box<Completed>),
    /// The mail was refused here at its end of data; forget what was stored, and abort the next
    /// hop's transaction.
    Rejected(Box<Completed>, Reply),
    /// The transaction is over without a mail: abort the next hop's.
    Abort,
    /// Begin the TLS handshake, then call [`Session::secured`]. What was received before it in
    /// clear has been dropped.
    Handshake,
    /// Send what there is and close.
    Close,
}

/// The answer to an asking event.
#[derive(Debug)]
pub enum Answer {
    /// What the next hop offers, when it can be asked.
    Capabilities(Option<Capabilities>),
    /// The reply for the client.
    Reply(Reply),
    /// The replies for the recipients of a mail, in their order; where the client gets one answer to a
    /// mail, it is the first.
    Replies(Vec<Reply>),
}

/// A mail at its end of data.
#[derive(Debug)]
pub struct Completed {
    /// Its envelope; the id is for the shell to fill in.
    pub envelope: Envelope,
    /// Bytes as received, dots unstuffed.
    pub size: u64,
    /// Whether a byte above 127 was seen.
    pub eight_bit: bool,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    config: Arc<ServerConfig>,
    client: SocketAddr,
    trusted: bool,
    now: Instant,
    lines: Lines,
    output: Vec<u8>,
    events: VecDeque<SessionEvent>,
    phase: Phase,
    asked: Option<Asked>,
    opened: bool,
    draining: bool,
    errors: usize,
    idle_commands: usize,
    line_deadline: Option<Instant>,
    transaction_deadline: Option<Instant>,
    hello: Option<Hello>,
    tls: Option<String>,
    xforward: XForward,
    transaction: Option<Transaction>,
    /// How many more RCPT and DATA may have been pipelined behind a refused MAIL.
    pipelined: usize,
    hop: Option<Capabilities>,
}

#[derive(Debug)]
enum Phase {
    Command,
    Data(Box<Content>),
    Closing,
    Closed,
}

/// The question that is open.
#[derive(Debug)]
enum Asked {
    Ehlo,
    Mail(Box<Sender>),
    Rcpt(Recipient),
    /// With the number of recipients.
    Dot(usize),
    Handshake,
}

#[derive(Debug)]
struct Hello {
    name: String,
    esmtp: bool,
}

#[derive(Debug)]
struct Transaction {
    sender: Sender,
    recipients: Vec<Recipient>,
    tried: usize,
}

impl Session {
    /// A session that has not said anything yet.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, client: SocketAddr, now: Instant) -> Self {
        let trusted = config
            .trusted_peers
            .iter()
            .any(|net| net.contains(client.ip()));
        let mut session = Self {
            config,
            client,
            trusted,
            now,
            lines: Lines::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            phase: Phase::Command,
            asked: None,
            opened: false,
            draining: false,
            errors: 0,
            idle_commands: 0,
            line_deadline: None,
            transaction_deadline: None,
            hello: None,
            tls: None,
            xforward: XForward::default(),
            transaction: None,
            pipelined: 0,
            hop: None,
        };
        session.restart_line_clock();
        session
    }

    /// Greets. A client that talked before the greeting is no mail client: it is refused with 521
    /// and the connection closed, because what it sent may not have been meant for us.
    pub fn open(&mut self) {
        self.opened = true;
        if self.lines.is_empty() {
            let protocol = if self.is_lmtp() { "LMTP" } else { "ESMTP" };
            self.say(&Reply::plain(
                220,
                &format!("{} {protocol} Kenin", self.config.hostname),
            ));
        } else {
            self.close_with(&Reply::new(
                521,
                "5.5.1",
                "Client talked before the greeting",
            ));
        }
    }

    /// Whether the peer may say things that others may not.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Takes bytes from the client.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        self.lines.receive(bytes);
        if let Phase::Data(content) = &mut self.phase
            && content.made_progress(bytes.len())
        {
            self.restart_line_clock();
        }
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<SessionEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.asked.is_some() || !self.opened {
                return None;
            }
            match &mut self.phase {
                Phase::Closed => return None,
                Phase::Closing => {
                    self.phase = Phase::Closed;
                    return Some(SessionEvent::Close);
                }
                Phase::Data(_) => {
                    if !self.content() {
                        return None;
                    }
                }
                // While ending, no new transaction begins.
                Phase::Command if self.draining && self.transaction.is_none() => {
                    self.say_goodbye();
                }
                Phase::Command => match self.lines.next_line() {
                    Some(line) => self.line(line),
                    None => return None,
                },
            }
        }
    }

    /// Bytes for the client.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// When [`Session::expire`] is due: never while the session waits for its shell.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.asked.is_some() || matches!(self.phase, Phase::Closing | Phase::Closed) {
            return None;
        }
        match (self.line_deadline, self.transaction_deadline) {
            (Some(line), Some(transaction)) => Some(line.min(transaction)),
            (line, transaction) => line.or(transaction),
        }
    }

    /// Ends the session when its deadline has passed.
    pub fn expire(&mut self, now: Instant) {
        self.now = now;
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close_with(&Reply::new(421, "4.4.2", "Timeout, closing connection"));
        }
    }

    /// Goes on with what the shell found out.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        self.now = now;
        match (self.asked.take(), answer) {
            (Some(Asked::Ehlo), Answer::Capabilities(found)) => {
                self.hop = found;
                self.say_capabilities();
            }
            (Some(Asked::Mail(sender)), Answer::Reply(reply)) => {
                self.mail_answered(*sender, &reply)
            }
            (Some(Asked::Rcpt(recipient)), Answer::Reply(reply)) => {
                self.rcpt_answered(recipient, &reply);
            }
            (Some(Asked::Dot(recipients)), Answer::Reply(reply)) => {
                self.dot_answered(&vec![reply; recipients]);
            }
            (Some(Asked::Dot(_)), Answer::Replies(replies)) => self.dot_answered(&replies),
            // A shell that answers what was not asked is broken; the session keeps its state.
            (asked, _) => self.asked = asked,
        }
        self.restart_line_clock();
    }

    /// The TLS handshake is done; `description` goes into the envelope. Everything that was said
    /// in clear is forgotten.
    pub fn secured(&mut self, description: String, now: Instant) {
        self.now = now;
        if matches!(self.asked, Some(Asked::Handshake)) {
            self.asked = None;
            self.tls = Some(description);
            self.hello = None;
            self.xforward = XForward::default();
            self.restart_line_clock();
        }
    }

    /// The program is ending: an idle session ends now, another one after its transaction.
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
        self.draining = true;
    }

    /// The time for ending is over: the session ends whatever it does.
    pub fn abandon(&mut self) {
        if self.asked.is_none() {
            self.say_goodbye();
        }
    }

    /// What was stored cannot be kept: the rest of the data is read and dropped, and the dot
    /// answered with `reply`.
    pub fn storage_failed(&mut self, reply: Reply) {
        if let Phase::Data(content) = &mut self.phase {
            content.refuse(reply);
        } else if let Some(Asked::Dot(recipients)) = self.asked {
            // The last bytes and the end of data came together.
            let event = match self.events.pop_back() {
                Some(SessionEvent::EndOfData(completed)) => {
                    SessionEvent::Rejected(completed, reply.clone())
                }
                _ => SessionEvent::Abort,
            };
            self.events.clear();
            self.asked = None;
            self.say_to_each(&vec![reply; recipients]);
            self.events.push_back(event);
            self.end_transaction();
        }
    }

    fn is_lmtp(&self) -> bool {
        self.config.protocol == Protocol::Lmtp
    }

    /// A greeting that comes first.
    fn no_greeting(&mut self) {
        let verb = if self.is_lmtp() { "LHLO" } else { "EHLO" };
        self.bad_sequence(&format!("Send {verb} first"));
    }

    fn dot_answered(&mut self, replies: &[Reply]) {
        self.end_transaction();
        // Only our own side says 421: the next hop's concerns its own connection.
        match replies.iter().find(|reply| reply.code() == 421) {
            Some(reply) => self.close_with(reply),
            None => self.say_to_each(replies),
        }
    }

    /// The answer to a mail: one, or one a recipient.
    fn say_to_each(&mut self, replies: &[Reply]) {
        let count = if self.is_lmtp() { replies.len() } else { 1 };
        for reply in replies.iter().take(count) {
            self.say(reply);
        }
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&reply.to_bytes());
    }

    /// An error of the client's own making; too many end the session.
    fn wrong(&mut self, reply: &Reply) {
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.close_with(&Reply::new(
                421,
                "4.7.0",
                "Too many errors, closing connection",
            ));
        } else {
            self.say(reply);
        }
    }

    fn bad_sequence(&mut self, text: &str) {
        self.wrong(&Reply::new(503, "5.5.1", text));
    }

    /// RCPT or DATA without MAIL. A client that pipelines says them before it can know that its
    /// MAIL was refused: that is no error to be counted.
    fn no_transaction(&mut self) {
        if self.pipelined > 0 {
            self.pipelined -= 1;
            self.say(&Reply::new(503, "5.5.1", "Send MAIL first"));
        } else {
            self.bad_sequence("Send MAIL first");
        }
    }

    fn close_with(&mut self, reply: &Reply) {
        self.say(reply);
        let in_data = matches!(self.phase, Phase::Data(_));
        if self.transaction.take().is_some() || in_data {
            self.events.push_back(SessionEvent::Abort);
        }
        self.transaction_deadline = None;
        self.lines.clear();
        self.phase = Phase::Closing;
    }

    fn say_goodbye(&mut self) {
        self.close_with(&Reply::new(421, "4.3.2", "Service shutting down"));
    }

    fn end_transaction(&mut self) {
        self.transaction = None;
        self.transaction_deadline = None;
        // What a peer says of its client holds for one transaction.
        self.xforward = XForward::default();
        if !matches!(self.phase, Phase::Closing | Phase::Closed) {
            self.phase = Phase::Command;
        }
    }

    fn ask(&mut self, asked: Asked, event: SessionEvent) {
        self.asked = Some(asked);
        self.events.push_back(event);
    }

    fn restart_line_clock(&mut self) {
        self.line_deadline = self.after(self.config.timeouts.line);
    }

    fn after(&self, wait: Duration) -> Option<Instant> {
        self.now.checked_add(wait)
    }
}
