//! The client's side of SMTP as a pure state machine: greeting, EHLO, STARTTLS, then one command
//! at a time, or a group of them (PIPELINING). No sockets, no clock. Five verbs: receive, poll, transmit, deadline, expire.
//!
//! STARTTLS: <https://www.rfc-editor.org/rfc/rfc3207#section-4.2> (what was learnt before TLS is
//! forgotten; bytes sent before TLS are an attack).

use std::time::{Duration, Instant};

use super::{Capabilities, replies::Replies};
use crate::Reply;

/// Whether TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Never,
    /// When the server offers it.
    IfOffered,
    /// Or nothing is sent.
    Always,
}

/// What a session asks of its shell, or tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Begin the TLS handshake, then call [`Session::secured`].
    Handshake,
    /// The server is ready for commands.
    Ready,
    /// The answer to a command.
    Reply(Reply),
    /// The connection is of no more use.
    Failed(Trouble),
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It could not be opened.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server's greeting or EHLO answer is a refusal.
    #[error("the server refuses to serve: {0}")]
    Refused(Box<Reply>),
    /// TLS is required and the server does not offer it, or refuses it.
    #[error("the server does not offer STARTTLS")]
    NoTls,
    /// The handshake failed.
    #[error("TLS handshake: {0}")]
    Handshake(String),
    /// The server, or somebody in between, sent bytes in clear behind the answer to STARTTLS.
    #[error("clear text after the answer to STARTTLS")]
    Injection,
    /// What came is not SMTP.
    #[error("not an SMTP reply")]
    Garbage,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// One connection of a client.
#[derive(Debug)]
pub struct Session {
    hello: String,
    tls: Tls,
    patience: Duration,
    replies: Replies,
    state: State,
    secured: bool,
    capabilities: Capabilities,
    output: Vec<u8>,
    deadline: Option<Instant>,
    /// Answers that follow the one that is waited for, and how long each may take.
    following: (usize, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshaking,
    Idle,
    Waiting,
    Dead,
}

impl Session {
    /// A session that waits for the greeting; `hello` is our name, `patience` the time a server
    /// has for each answer.
    #[must_use]
    pub fn new(hello: &str, tls: Tls, patience: Duration, now: Instant) -> Self {
        Self {
            hello: hello.to_owned(),
            tls,
            patience,
            replies: Replies::default(),
            state: State::Greeting,
            secured: false,
            capabilities: Capabilities::default(),
            output: Vec::new(),
            deadline: now.checked_add(patience),
            following: (0, patience),
        }
    }

    /// Takes bytes from the server.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.replies.receive(bytes);
    }

    /// The next event; `now` is when a command that it makes is sent.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        loop {
            if matches!(self.state, State::Handshaking | State::Idle | State::Dead) {
                return None;
            }
            let reply = match self.replies.poll() {
                Ok(Some(reply)) => reply,
                Ok(None) => return None,
                Err(_) => return Some(self.fail(Trouble::Garbage)),
            };
            self.deadline = None;
            // Two answers to one question: the second would be taken for that to the next one.
            let greeting = matches!(self.state, State::Greeting | State::Ehlo | State::Helo);
            if greeting && !self.replies.is_empty() {
                return Some(self.fail(Trouble::Garbage));
            }
            if let Some(event) = self.answer(reply, now) {
                return Some(event);
            }
        }
    }

    /// Bytes for the server.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// When [`Session::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives up when the deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Option<Event> {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        due.then(|| self.fail(Trouble::TimedOut))
    }

    /// The handshake is done; says EHLO again.
    pub fn secured(&mut self, now: Instant) {
        if self.state == State::Handshaking {
            self.secured = true;
            self.capabilities = Capabilities::default();
            self.say_hello(State::Ehlo, now);
        }
    }

    /// Sends a command line (without CRLF). Only when ready, and one at a time: false otherwise,
    /// and when the line would be more than one line.
    pub fn command(&mut self, line: &str, patience: Duration, now: Instant) -> bool {
        self.commands(&[line], patience, now)
    }

    /// Sends several at once, each of which is answered, as [`Session::command`]. Only where the server offers
    /// PIPELINING: <https://www.rfc-editor.org/rfc/rfc2920#section-3.1>.
    pub fn commands(&mut self, lines: &[&str], patience: Duration, now: Instant) -> bool {
        let following = lines.len().checked_sub(1);
        let one_each = lines.iter().all(|line| !line.contains(['\r', '\n']));
        let Some(following) = following.filter(|_| one_each && self.state == State::Idle) else {
            return false;
        };
        for line in lines {
            self.send(line, State::Waiting, now);
        }
        self.following = (following, patience);
        self.deadline = now.checked_add(patience);
        true
    }

    /// Data was sent by the shell; now the answer to the dot is waited for.
    pub fn data_sent(&mut self, patience: Duration, now: Instant) {
        if self.state == State::Idle {
            self.state = State::Waiting;
            self.deadline = now.checked_add(patience);
        }
    }

    /// No command may follow: what the server would make of one is not known.
    pub fn give_up(&mut self) {
        self.fail(Trouble::Garbage);
    }

    /// What the server offers.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether a command may be sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether bytes came that nobody asked for.
    #[must_use]
    pub fn has_unasked(&self) -> bool {
        self.state == State::Idle && !self.replies.is_empty()
    }

    fn answer(&mut self, reply: Reply, now: Instant) -> Option<Event> {
        match (self.state, reply.code()) {
            (State::Waiting, _) => {
                let (following, patience) = self.following;
                match following.checked_sub(1) {
                    Some(rest) => {
                        self.following = (rest, patience);
                        self.deadline = now.checked_add(patience);
                    }
                    None => self.state = State::Idle,
                }
                Some(Event::Reply(reply))
            }
            (State::Greeting, 220) => {
                self.say_hello(State::Ehlo, now);
                None
            }
            (State::Ehlo, 250) => {
                self.capabilities = Capabilities::parse(reply.lines());
                self.after_hello(now)
            }
            (State::Helo, 250) => self.after_hello(now),
            // Not while secured: a server that spoke EHLO in clear speaks it under TLS.
            (State::Ehlo, 500 | 502 | 504 | 550) if !self.secured => {
                self.say_hello(State::Helo, now);
                None
            }
            (State::StartTls, 220) if self.replies.is_empty() => {
                self.state = State::Handshaking;
                Some(Event::Handshake)
            }
            (State::StartTls, 220) => Some(self.fail(Trouble::Injection)),
            // Offered and then refused: never go on in clear.
            (State::StartTls, _) => Some(self.fail(Trouble::NoTls)),
            _ if reply.code() >= 400 => Some(self.fail(Trouble::Refused(Box::new(reply)))),
            _ => Some(self.fail(Trouble::Garbage)),
        }
    }

    fn after_hello(&mut self, now: Instant) -> Option<Event> {
        match (self.tls, self.secured, self.capabilities.starttls) {
            (Tls::Never, ..) | (_, true, _) | (Tls::IfOffered, false, false) => {
                self.state = State::Idle;
                Some(Event::Ready)
            }
            (Tls::Always, false, false) => Some(self.fail(Trouble::NoTls)),
            (_, false, true) => {
                self.send("STARTTLS", State::StartTls, now);
                None
            }
        }
    }

    fn say_hello(&mut self, state: State, now: Instant) {
        let verb = if state == State::Ehlo { "EHLO" } else { "HELO" };
        let line = format!("{verb} {}", self.hello);
        self.send(&line, state, now);
    }

    fn send(&mut self, line: &str, state: State, now: Instant) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.state = state;
        self.deadline = now.checked_add(self.patience);
    }

    fn fail(&mut self, trouble: Trouble) -> Event {
        self.state = State::Dead;
        self.deadline = None;
        Event::Failed(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dialogue as text: `S: ` what the server sends, `C: ` what the client must say then.
    fn play(tls: Tls, script: &str) -> Vec<Event> {
        let now = Instant::now();
        let mut session = Session::new("me", tls, Duration::from_secs(60), now);
        let mut events = Vec::new();
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if let Some(text) = line.strip_prefix("S: ") {
                session.receive(text.replace('|', "\r\n").as_bytes());
                session.receive(b"\r\n");
                while let Some(event) = session.poll(now) {
                    if event == Event::Handshake {
                        session.secured(now);
                    }
                    events.push(event);
                }
            } else if let Some(text) = line.strip_prefix("> ") {
                assert!(session.command(text, Duration::from_secs(1), now));
            } else {
                let said = session.transmit().map(|b| String::from_utf8(b).unwrap());
                assert_eq!(format!("C: {}", said.unwrap_or_default().trim_end()), line);
            }
        }
        assert_eq!(session.transmit(), None);
        events
    }

    #[test]
    fn plain_and_helo() {
        let events = play(
            Tls::Never,
            "S: 220-hi|220 there
             C: EHLO me
             S: 250-x|250-STARTTLS|250 DSN
             > MAIL FROM:<>
             C: MAIL FROM:<>
             S: 250 2.1.0 ok",
        );
        assert_eq!(
            events,
            [Event::Ready, Event::Reply(Reply::new(250, "2.1.0", "ok"))]
        );
        let events = play(
            Tls::IfOffered,
            "S: 220 hi
             C: EHLO me
             S: 502 what
             C: HELO me
             S: 250 x",
        );
        assert_eq!(events, [Event::Ready]);
    }

    #[test]
    fn tls_is_used_when_offered_and_never_given_up() {
        for tls in [Tls::IfOffered, Tls::Always] {
            let events = play(
                tls,
                "S: 220 hi
                 C: EHLO me
                 S: 250-x|250 STARTTLS
                 C: STARTTLS
                 S: 220 go
                 C: EHLO me
                 S: 250-x|250 STARTTLS",
            );
            assert_eq!(events, [Event::Handshake, Event::Ready]);
            let refused = play(
                tls,
                "S: 220 hi
                 C: EHLO me
                 S: 250-x|250 STARTTLS
                 C: STARTTLS
                 S: 454 later",
            );
            assert_eq!(refused, [Event::Failed(Trouble::NoTls)]);
            let injected = play(
                tls,
                "S: 220 hi
                 C: EHLO me
                 S: 250-x|250 STARTTLS
                 C: STARTTLS
                 S: 220 go|250 forged",
            );
            assert_eq!(injected, [Event::Failed(Trouble::Injection)]);
        }
        let stripped = play(
            Tls::Always,
            "S: 220 hi
             C: EHLO me
             S: 250-x|250 XXXXXXXX",
        );
        assert_eq!(stripped, [Event::Failed(Trouble::NoTls)]);
    }

    #[test]
    fn refusals_garbage_and_silence() {
        let refused = Trouble::Refused(Box::new(Reply::plain(554, "no")));
        assert_eq!(play(Tls::Never, "S: 554 no"), [Event::Failed(refused)]);
        assert_eq!(
            play(Tls::Never, "S: SSH-2.0-x"),
            [Event::Failed(Trouble::Garbage)]
        );
        assert_eq!(
            play(Tls::Never, "S: 354 go"),
            [Event::Failed(Trouble::Garbage)]
        );
        let now = Instant::now();
        let mut session = Session::new("me", Tls::Never, Duration::from_secs(60), now);
        assert_eq!(session.expire(now + Duration::from_secs(59)), None);
        let late = now + Duration::from_secs(60);
        assert_eq!(session.expire(late), Some(Event::Failed(Trouble::TimedOut)));
        assert_eq!(session.deadline(), None);
    }

    #[test]
    fn two_answers_at_once_are_garbage_before_the_session_is_ready() {
        let garbage = [Event::Failed(Trouble::Garbage)];
        assert_eq!(play(Tls::Never, "S: 220 hi|250 forged"), garbage);
        let script = "S: 220 hi
             C: EHLO me
             S: 250 x|250 y";
        assert_eq!(play(Tls::IfOffered, script), garbage);
    }

    #[test]
    fn a_command_is_one_line_at_the_right_time() {
        let now = Instant::now();
        let mut session = Session::new("me", Tls::Never, Duration::from_secs(60), now);
        assert!(!session.command("NOOP", Duration::ZERO, now));
        session.receive(b"220 a\r\n");
        while session.poll(now).is_some() {}
        session.receive(b"250 b\r\n");
        while session.poll(now).is_some() {}
        assert!(!session.command("NOOP\r\nQUIT", Duration::ZERO, now));
        assert!(session.command("NOOP", Duration::ZERO, now));
        assert!(!session.command("NOOP", Duration::ZERO, now));
    }

    #[test]
    fn commands_that_are_sent_at_once_are_answered_one_by_one() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let mut session = Session::new("me", Tls::Never, minute, now);
        session.receive(b"220 a\r\n");
        while session.poll(now).is_some() {}
        session.receive(b"250 b\r\n");
        while session.poll(now).is_some() {}
        session.transmit();
        assert!(!session.commands(&[], minute, now));
        assert!(!session.commands(&["RSET", "NOOP\r\nQUIT"], minute, now));
        assert_eq!(session.transmit(), None);
        assert!(session.commands(&["RSET", "NOOP"], minute, now));
        assert_eq!(session.transmit(), Some(b"RSET\r\nNOOP\r\n".to_vec()));
        session.receive(b"250 c\r\n");
        let later = now + Duration::from_secs(30);
        assert_eq!(
            session.poll(later),
            Some(Event::Reply(Reply::plain(250, "c")))
        );
        // Another is still to come, and has its own time.
        assert!(!session.is_ready() && !session.command("NOOP", minute, later));
        assert_eq!(session.deadline(), Some(later + minute));
        session.receive(b"500 d\r\n250 e\r\n");
        assert_eq!(
            session.poll(later),
            Some(Event::Reply(Reply::plain(500, "d")))
        );
        assert!(session.is_ready() && session.has_unasked());
    }
}
