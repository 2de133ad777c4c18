//! The commands outside a transaction: EHLO, HELO, STARTTLS, XFORWARD, RSET, VRFY, QUIT.

use super::{Asked, Hello, Phase, Session, SessionEvent};
use crate::{Reply, XForward, xforward::ADVERTISED};

impl Session {
    pub(super) fn hello(&mut self, name: &str, esmtp: bool) {
        let sound = !name.is_empty() && name.len() <= 255 && !name.contains(' ');
        if !sound {
            self.wrong(&Reply::new(501, "5.5.4", "Host name expected"));
            return;
        }
        self.abort_transaction();
        self.hello = Some(Hello {
            name: name.to_owned(),
            esmtp,
        });
        if !esmtp {
            self.say(&Reply::plain(250, &self.config.hostname.clone()));
        } else if self.hop.is_some() {
            self.say_capabilities();
        } else {
            self.ask(Asked::Ehlo, SessionEvent::Probe);
        }
    }

    /// The answer to EHLO. 8BITMIME is always offered, because a client that does not see it
    /// re-encodes the mail and breaks its signatures; the rest only as far as the next hop goes.
    pub(super) fn say_capabilities(&mut self) {
        let hop = self.hop.clone().unwrap_or_default();
        let ours = self.config.limits.message_size;
        let size = hop
            .size
            .filter(|limit| *limit > 0)
            .map_or(ours, |limit| limit.min(ours));
        let mut reply = Reply::plain(250, &self.config.hostname)
            .line("PIPELINING")
            .line(&format!("SIZE {size}"))
            .line("ENHANCEDSTATUSCODES")
            .line("8BITMIME");
        if self.config.tls.is_some() && self.tls.is_none() {
            reply = reply.line("STARTTLS");
        }
        if hop.dsn {
            reply = reply.line("DSN");
        }
        if hop.smtputf8 {
            reply = reply.line("SMTPUTF8");
        }
        if self.trusted {
            reply = reply.line(ADVERTISED);
        }
        self.say(&reply);
    }

    pub(super) fn start_tls(&mut self, arguments: &str) {
        if self.config.tls.is_none() {
            self.wrong(&Reply::new(502, "5.5.1", "Command not implemented"));
        } else if self.tls.is_some() {
            self.bad_sequence("Already under TLS");
        } else if self.transaction.is_some() {
            self.bad_sequence("STARTTLS within a transaction");
        } else if !arguments.is_empty() {
            self.wrong(&Reply::new(501, "5.5.4", "STARTTLS takes no arguments"));
        } else if !self.lines.is_empty() {
            // Somebody put commands behind STARTTLS, to be run after the handshake
            // (CVE-2011-0411).
            self.close_with(&Reply::new(
                503,
                "5.5.1",
                "Commands after STARTTLS, closing",
            ));
        } else {
            self.say(&Reply::new(220, "2.0.0", "Ready to start TLS"));
            self.ask(Asked::Handshake, SessionEvent::Handshake);
        }
    }

    pub(super) fn xforward(&mut self, arguments: &str) {
        if !self.trusted {
            self.wrong(&Reply::new(550, "5.7.0", "XFORWARD not authorized"));
        } else if self.hello.is_none() {
            self.no_greeting();
        } else if self.transaction.is_some() {
            self.bad_sequence("XFORWARD within a transaction");
        } else {
            match self.xforward.update(arguments) {
                Ok(()) => self.say(&Reply::new(250, "2.0.0", "Ok")),
                Err(reply) => self.wrong(&reply),
            }
        }
    }

    pub(super) fn reset(&mut self, arguments: &str) {
        if arguments.is_empty() {
            self.abort_transaction();
            self.say(&Reply::new(250, "2.0.0", "Ok"));
        } else {
            self.wrong(&Reply::new(501, "5.5.4", "RSET takes no arguments"));
        }
    }

    pub(super) fn verify(&mut self, arguments: &str) {
        if arguments.is_empty() {
            self.wrong(&Reply::new(501, "5.5.4", "Address expected"));
        } else {
            self.say(&Reply::new(
                252,
                "2.0.0",
                "Cannot verify, send some mail to try",
            ));
        }
    }

    pub(super) fn quit(&mut self, arguments: &str) {
        if arguments.is_empty() {
            self.close_with(&Reply::new(221, "2.0.0", "Bye"));
        } else {
            self.wrong(&Reply::new(501, "5.5.4", "QUIT takes no arguments"));
        }
    }

    fn abort_transaction(&mut self) {
        if self.transaction.take().is_some() {
            self.events.push_back(SessionEvent::Abort);
        }
        self.transaction_deadline = None;
        self.xforward = XForward::default();
        self.phase = Phase::Command;
    }
}
