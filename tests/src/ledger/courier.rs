//! A client that hands mails over and writes down what it was told; it may leave at any moment.

use std::collections::BTreeMap;
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
    lmtp: bool,
    patience: Duration,
    client: Option<Client>,
}

impl Courier {
    /// One that speaks SMTP and waits for each answer so long.
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self {
            address,
            lmtp: false,
            patience,
            client: None,
        }
    }

    /// The same, speaking LMTP: each recipient is answered.
    #[must_use]
    pub fn lmtp(mut self) -> Self {
        self.lmtp = true;
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
            each: BTreeMap::new(),
            one_by_one: self.lmtp,
            heard: Vec::new(),
        };
        one.answer = self.walk(envelope, raw, leave, &mut one);
        for address in &envelope.to {
            let answer = one.each.entry(address.clone());
            answer.or_insert_with(|| one.answer.clone());
        }
        // A transaction that was given up half-way is not reset but left.
        let left = |answer: &Result<Reply, Silence>| match answer {
            Ok(reply) => reply.code == 421,
            Err(_) => true,
        };
        let goes_on = one.dot && !one.each.values().any(left);
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
        let hello = if self.lmtp { "LHLO" } else { "EHLO" };
        let mut lines = vec![
            String::new(),
            format!("{hello} courier.example"),
            format!("MAIL FROM:<{}>{}", envelope.from, envelope.parameters),
        ];
        lines.extend(envelope.to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".to_owned());
        let last = lines.len() - 1;
        for (number, line) in lines.iter().enumerate() {
            if leave == Leave::Before(number) {
                return Err(Silence::Closed);
            }
            if greeted && number < 2 {
                continue;
            }
            let reply = say(client, line)?;
            if reply.code >= 400 || (number == last && reply.code != 354) {
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
        if !self.lmtp {
            let reply = client.hear()?;
            one.heard.push(reply.clone());
            return Ok(reply);
        }
        let mut worst = None;
        for address in &envelope.to {
            let answer = client.hear();
            one.heard.extend(answer.clone());
            one.each.insert(address.clone(), answer.clone());
            let good =
                |answer: &Result<Reply, Silence>| matches!(answer, Ok(r) if r.code / 100 == 2);
            if worst.as_ref().is_none_or(good) {
                worst = Some(answer);
            }
        }
        worst.unwrap_or(Err(Silence::Closed))
    }
}
