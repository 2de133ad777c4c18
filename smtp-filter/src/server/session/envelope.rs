//! MAIL and RCPT: checked for form and order here, then passed to the next hop, whose answer is
//! the client's. Who may send to whom is the next hop's to say.

use super::{Asked, Session, SessionEvent, Transaction};
use crate::{Recipient, Reply, client::Sender};

impl Session {
    pub(super) fn mail(&mut self, arguments: &str) {
        if self.hello.is_none() {
            self.no_greeting();
            return;
        }
        if self.transaction.is_some() {
            self.bad_sequence("Nested MAIL command");
            return;
        }
        match Sender::parse(arguments) {
            Ok(sender) if sender.size > Some(self.config.limits.message_size) => {
                self.wrong(&Reply::new(
                    552,
                    "5.3.4",
                    "Message size exceeds fixed limit",
                ));
            }
            Ok(sender) => {
                let event =
                    SessionEvent::Mail(Box::new(sender.clone()), Box::new(self.xforward.clone()));
                self.ask(Asked::Mail(Box::new(sender)), event);
            }
            Err(reply) => self.wrong(&reply),
        }
    }

    pub(super) fn mail_answered(&mut self, sender: Sender, reply: &Reply) {
        if reply.is_positive() {
            self.pipelined = 0;
            self.transaction = Some(Transaction {
                sender,
                recipients: Vec::new(),
                tried: 0,
            });
            self.transaction_deadline = self.after(self.config.timeouts.transaction);
        } else {
            self.pipelined = self.config.limits.recipients.saturating_add(1);
            self.idle_commands = self.idle_commands.saturating_add(1);
        }
        self.say(reply);
    }

    pub(super) fn rcpt(&mut self, arguments: &str) {
        let Some(transaction) = &self.transaction else {
            self.no_transaction();
            return;
        };
        // Refused ones count too: who guesses addresses gets no more guesses than others.
        if transaction.tried >= self.config.limits.recipients {
            self.say(&Reply::new(452, "4.5.3", "Too many recipients"));
            return;
        }
        match Recipient::parse(arguments, transaction.sender.smtputf8) {
            Ok(recipient) => {
                let event = SessionEvent::Rcpt(recipient.clone());
                self.ask(Asked::Rcpt(recipient), event);
            }
            Err(reply) => self.wrong(&reply),
        }
    }

    pub(super) fn rcpt_answered(&mut self, recipient: Recipient, reply: &Reply) {
        if let Some(transaction) = &mut self.transaction {
            transaction.tried += 1;
            if reply.is_positive() {
                transaction.recipients.push(recipient);
            }
        }
        self.say(reply);
    }
}
