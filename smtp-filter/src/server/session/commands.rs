//! A line of the client's: which command it is, and who may not go on.

use super::{Session, lines::Line};
use crate::Reply;

impl Session {
    pub(super) fn line(&mut self, line: Line) {
        match line {
            Line::Text(text) => self.command(&text),
            Line::TooLong => self.wrong(&Reply::new(500, "5.5.2", "Line too long")),
            Line::BareNewline => {
                self.wrong(&Reply::new(500, "5.5.2", "Lines must end in CRLF"));
            }
            Line::Flood => self.close_with(&Reply::new(421, "4.7.0", "Line too long, closing")),
        }
        self.restart_line_clock();
    }

    fn command(&mut self, line: &[u8]) {
        // What is not a letter begins no command: an HTTP header, a TLS record, a body.
        let first = line.first().copied().unwrap_or(b' ');
        if !first.is_ascii_alphabetic() && !line.is_empty() {
            self.close_with(&Reply::new(
                221,
                "2.7.0",
                "This is SMTP, closing connection",
            ));
            return;
        }
        let Some(text) = str::from_utf8(line)
            .ok()
            .filter(|t| !t.chars().any(|c| c.is_control()))
        else {
            self.wrong(&Reply::new(500, "5.5.2", "Command is not text"));
            return;
        };
        let (verb, arguments) = match text.split_once(' ') {
            Some((verb, arguments)) => (verb, arguments.trim_matches(' ')),
            None => (text, ""),
        };
        let verb = verb.to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" | "HELO" | "LHLO" | "RSET" | "NOOP" | "VRFY" | "HELP" | "XFORWARD" => {
                self.idle_commands = self.idle_commands.saturating_add(1);
            }
            _ => {}
        }
        if self.idle_commands > self.config.limits.idle_commands && verb != "QUIT" {
            self.close_with(&Reply::new(
                421,
                "4.7.0",
                "Too many commands without a mail, closing connection",
            ));
            return;
        }
        match verb.as_str() {
            "LHLO" if self.is_lmtp() => self.hello(arguments, true),
            // RFC 2033 §4.1: who takes this for SMTP must not get on.
            "EHLO" | "HELO" if self.is_lmtp() => {
                self.wrong(&Reply::new(500, "5.5.1", "This is LMTP, send LHLO"));
            }
            "EHLO" => self.hello(arguments, true),
            "HELO" => self.hello(arguments, false),
            "MAIL" => self.mail(arguments),
            "RCPT" => self.rcpt(arguments),
            "DATA" => self.data(arguments),
            "RSET" => self.reset(arguments),
            "NOOP" => self.say(&Reply::new(250, "2.0.0", "Ok")),
            "VRFY" => self.verify(arguments),
            "HELP" => self.say(&Reply::new(214, "2.0.0", "See RFC 5321")),
            "QUIT" => self.quit(arguments),
            "STARTTLS" => self.start_tls(arguments),
            "XFORWARD" => self.xforward(arguments),
            "EXPN" | "AUTH" | "BDAT" | "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML"
            | "XCLIENT" => {
                self.wrong(&Reply::new(502, "5.5.1", "Command not implemented"));
            }
            "GET" | "POST" | "CONNECT" | "PUT" | "HEAD" | "OPTIONS" | "DELETE" | "PATCH"
            | "TRACE" | "PRI" => {
                self.close_with(&Reply::new(
                    221,
                    "2.7.0",
                    "This is SMTP, closing connection",
                ));
            }
            _ => self.wrong(&Reply::new(500, "5.5.2", "Command not recognized")),
        }
    }
}
