//! DATA and what follows it. A mail that is not going to be relayed is still read to its true
//! end, because only that end says where commands begin again; nothing of it is kept.

use std::sync::Arc;

use super::{Asked, Completed, Phase, Session, SessionEvent, Transaction};
use crate::{
    Division, Envelope, Reply,
    data::Receiver,
    received,
    server::{BareNewline, ServerConfig},
    watch::{Excess, Watch},
};

/// A mail that is arriving.
#[derive(Debug)]
pub(super) struct Content {
    config: Arc<ServerConfig>,
    receiver: Receiver,
    watch: Watch,
    refusal: Option<Reply>,
    progress: usize,
}

impl Content {
    fn new(config: Arc<ServerConfig>) -> Self {
        let watch = Watch::new(received::loop_token(&config.hostname));
        Self {
            config,
            receiver: Receiver::new(),
            watch,
            refusal: None,
            progress: 0,
        }
    }

    /// Counts received bytes; true each time that enough came to start the clock again.
    pub(super) fn made_progress(&mut self, bytes: usize) -> bool {
        self.progress = self.progress.saturating_add(bytes);
        let enough = self.progress >= PROGRESS;
        if enough {
            self.progress = 0;
        }
        enough
    }

    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal = self.refusal.take().or(Some(reply));
    }

    /// Reads on; gives what to keep, how many bytes were used, and whether the data ended.
    fn push(&mut self, input: &[u8]) -> (Vec<u8>, usize, bool) {
        let mut kept = Vec::with_capacity(input.len());
        let (used, ended) = self.receiver.push(input, &mut kept);
        self.watch.push(&kept);
        if self.is_hopeless() {
            kept = Vec::new();
        }
        (kept, used, ended)
    }

    /// Whether the mail is going to be refused whatever comes.
    fn is_hopeless(&self) -> bool {
        self.refusal.is_some() || self.verdict().is_some()
    }

    /// Why the mail is refused. The order is fixed, so that it does not matter how the bytes were
    /// split over packets.
    fn verdict(&self) -> Option<Reply> {
        let limits = &self.config.limits;
        let reject = self.config.bare_newline == BareNewline::Reject;
        let bare = reject && self.receiver.saw_bare_newline();
        if bare {
            return Some(Reply::new(550, "5.5.2", "Bare CR or LF in message data"));
        }
        match self.watch.excess(limits) {
            Some(Excess::NullDot) => {
                return Some(Reply::new(
                    550,
                    "5.5.2",
                    "NUL beside a lone dot in message data",
                ));
            }
            Some(Excess::HeaderSize) => {
                return Some(Reply::new(
                    552,
                    "5.3.4",
                    "Message header exceeds fixed limit",
                ));
            }
            Some(Excess::HeaderFields) => {
                return Some(Reply::new(550, "5.6.0", "Message structure exceeds limits"));
            }
            Some(Excess::Hops) => {
                return Some(Reply::new(
                    554,
                    "5.4.6",
                    "Too many hops, mail loop detected",
                ));
            }
            None => {}
        }
        (self.watch.size() > limits.message_size)
            .then(|| Reply::new(552, "5.3.4", "Message size exceeds fixed limit"))
    }
}

impl Session {
    pub(super) fn data(&mut self, arguments: &str) {
        if !self.lines.is_empty() {
            // DATA must be the last of a group (RFC 2920 §3.1). What is behind it is a mail to
            // one reader and commands to another: the connection is of no more use.
            self.close_with(&Reply::new(503, "5.5.1", "Data sent before 354, closing"));
            return;
        }
        if !arguments.is_empty() {
            self.wrong(&Reply::new(501, "5.5.4", "DATA takes no arguments"));
            return;
        }
        match &self.transaction {
            None => self.no_transaction(),
            // RFC 2033 §4.2.
            Some(t) if t.recipients.is_empty() && t.tried > 0 && self.is_lmtp() => {
                self.say(&Reply::new(503, "5.5.1", "No valid recipients"));
            }
            Some(t) if t.recipients.is_empty() && t.tried > 0 => {
                // Pipelined before it could know: no error of the client's.
                self.say(&Reply::new(554, "5.5.1", "No valid recipients"));
            }
            Some(t) if t.recipients.is_empty() => self.bad_sequence("Send RCPT first"),
            Some(_) => {
                self.phase = Phase::Data(Box::new(Content::new(Arc::clone(&self.config))));
                self.say(&Reply::plain(354, "End data with <CR><LF>.<CR><LF>"));
            }
        }
    }

    /// Reads what arrived of the mail; false when there is nothing to read.
    pub(super) fn content(&mut self) -> bool {
        let Phase::Data(content) = &mut self.phase else {
            return false;
        };
        if self.lines.is_empty() {
            return false;
        }
        let (kept, used, ended) = content.push(self.lines.bytes());
        self.lines.consume(used);
        if !kept.is_empty() {
            self.events.push_back(SessionEvent::Store(kept));
        }
        if ended {
            self.end_of_data();
        }
        true
    }

    fn end_of_data(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Command);
        let (Phase::Data(content), Some(transaction)) = (phase, self.transaction.take()) else {
            return;
        };
        let eight_bit = content.watch.saw_eight_bit();
        let size = content.watch.size();
        let completed = Box::new(Completed {
            envelope: self.envelope(transaction),
            size,
            eight_bit,
        });
        // What the client did wrong comes before what we could not do: retrying will not help it.
        let refusal = content.verdict().or(content.refusal);
        let recipients = completed.envelope.rcpt_to.len();
        if let Some(refusal) = refusal {
            self.say_to_each(&vec![refusal.clone(); recipients]);
            self.events
                .push_back(SessionEvent::Rejected(completed, refusal));
            self.end_transaction();
        } else {
            self.idle_commands = 0;
            self.ask(Asked::Dot(recipients), SessionEvent::EndOfData(completed));
        }
        self.transaction_deadline = None;
        self.restart_line_clock();
    }

    fn envelope(&self, transaction: Transaction) -> Envelope {
        let Transaction {
            sender, recipients, ..
        } = transaction;
        let proven = self.trusted && self.config.submission && !sender.address.is_empty();
        Envelope {
            id: String::new(),
            mail_from: sender.address.clone(),
            body: sender.body,
            smtputf8: sender.smtputf8,
            size: sender.size,
            ret: sender.ret,
            envid: sender.envid,
            rcpt_to: recipients,
            helo: self
                .hello
                .as_ref()
                .map(|h| h.name.clone())
                .unwrap_or_default(),
            esmtp: self.hello.as_ref().is_some_and(|h| h.esmtp),
            division: if self.is_lmtp() {
                Division::Answers
            } else {
                Division::Copies
            },
            // Known to whoever speaks with it.
            seven_bit_only: false,
            client: self.client,
            tls: self.tls.clone(),
            authenticated: proven.then(|| sender.address.clone()),
            daemon: None,
            xforward: self.xforward.clone(),
        }
    }
}

/// A client that sends slower than this in one line time-out is not sending a mail.
const PROGRESS: usize = 1024;
