//! A client that hands mails over and writes down what it was told; it may leave at any moment.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Ledger, Try};
use crate::client::{Client, Envelope, Reply, Silence, stuffed};

/// When a courier hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// When all is done.
    Never,
    /// Before it says this command (0: before the greeting is read, 1: EHLO, and so on).
    Before(usize),
    /// After so many bytes of the data.
    InData(usize),
    /// After the dot, without hearing the answer.
    AfterDot,
}

/// One client, with the connection that it keeps.
pub struct Courier {
    address: SocketAddr,
    hello: &'static str,
    patience: Duration,
    client: Option<Client>,
}

impl Courier {
    /// One that speaks SMTP and waits for each answer so long.
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self {
            address,
            hello: "EHLO courier.example",
            patience,
            client: None,
        }
    }

    /// The same, speaking LMTP (to one recipient a mail).
    #[must_use]
    pub fn lmtp(mut self) -> Self {
        self.hello = "LHLO courier.example";
        self
    }

    /// Tries to hand a mail over, and writes that down.
    pub fn hand_over(&mut self, ledger: &Ledger, id: &str, to: &Envelope, raw: &[u8]) -> Try {
        self.hand_over_or_leave(ledger, id, to, raw, Leave::Never)
    }

    /// The same, leaving when told to.
    pub fn hand_over_or_leave(
        &mut self,
        ledger: &Ledger,
        id: &str,
        envelope: &Envelope,
        raw: &[u8],
        leave: Leave,
    ) -> Try {
        let mut one = Try {
            dot: false,
            answer: Err(Silence::Closed),
            heard: Vec::new(),
        };
        one.answer = self.walk(envelope, raw, leave, &mut one);
        // A transaction that was given up half-way is not reset but left.
        let goes_on = one.dot && matches!(&one.answer, Ok(reply) if reply.code != 421);
        if !goes_on || leave != Leave::Never {
            self.client = None;
        }
        ledger.tried(id, one.clone());
        one
    }

    /// Says goodbye.
    pub fn quit(&mut self) {
        if let Some(mut client) = self.client.take() {
            let _ = client.try_send(b"QUIT\r\n");
            let _ = client.hear();
        }
    }

    fn walk(
        &mut self,
        envelope: &Envelope,
        raw: &[u8],
        leave: Leave,
        one: &mut Try,
    ) -> Result<Reply, Silence> {
        let greeted = self.client.is_some();
        if !greeted {
            self.client = Client::try_connect(self.address, self.patience);
        }
        let client = self.client.as_mut().ok_or(Silence::Closed)?;
        let mut say = |client: &mut Client, line: &str| {
            if !line.is_empty() && !client.try_send(format!("{line}\r\n").as_bytes()) {
                return Err(Silence::Closed);
            }
            let reply = client.hear()?;
            one.heard.push(reply.clone());
            Ok(reply)
        };
        let lines = [
            String::new(),
            self.hello.to_owned(),
            format!("MAIL FROM:<{}>{}", envelope.from, envelope.parameters),
            format!("RCPT TO:<{}>", envelope.to[0]),
            "DATA".to_owned(),
        ];
        for (number, line) in lines.iter().enumerate() {
            if leave == Leave::Before(number) {
                return Err(Silence::Closed);
            }
            if greeted && number < 2 {
                continue;
            }
            let reply = say(client, line)?;
            if reply.code >= 400 || (number == 4 && reply.code != 354) {
                return Ok(reply);
            }
        }
        let wire = stuffed(raw);
        if let Leave::InData(length) = leave {
            let _ = client.try_send(&wire[..length.min(wire.len() - 3)]);
            return Err(Silence::Closed);
        }
        // What our own system did not take was not sent, and the dot is the last of it.
        one.dot = client.try_send(&wire);
        if !one.dot || leave == Leave::AfterDot {
            return Err(Silence::Closed);
        }
        let reply = client.hear()?;
        one.heard.push(reply.clone());
        Ok(reply)
    }
}
