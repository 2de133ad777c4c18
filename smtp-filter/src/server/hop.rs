//! One session's way to the next hop: connected when it is first needed, or taken over from a session
//! that ended, and kept for the session's further mails. What the next hop answers is made into what the
//! client is told here, and nowhere else is "250" said for a mail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{
    ServerConfig,
    parking::{Parking, Way},
};
use crate::{
    Envelope, Fate, Recipient, Reply, XForward,
    client::{Capabilities, Connection, DataTrouble, Sender, Trouble},
    outgoing::Outgoing,
};

/// What was last learnt of the next hop, shared by all sessions of a listener.
#[derive(Clone, Debug, Default)]
pub(super) struct LearntHop(Arc<Mutex<Option<(String, Capabilities)>>>);

impl LearntHop {
    /// Nothing when the last one was another: a reload may name a new next hop.
    fn get(&self, address: &str) -> Option<Capabilities> {
        let learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, capabilities) = learnt.as_ref()?;
        (of == address).then(|| capabilities.clone())
    }

    fn set(&self, address: &str, capabilities: Capabilities) {
        let learnt = Some((address.to_owned(), capabilities));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = learnt;
    }
}

/// The next hop of one session.
#[derive(Debug)]
pub(super) struct Hop {
    config: Arc<ServerConfig>,
    learnt: LearntHop,
    parking: Parking,
    way: Option<Way>,
    in_transaction: bool,
    /// When the client's dot has to be answered.
    answer_by: Option<Instant>,
}

impl Hop {
    pub(super) fn new(config: Arc<ServerConfig>, learnt: LearntHop, parking: Parking) -> Self {
        Self {
            config,
            learnt,
            parking,
            way: None,
            in_transaction: false,
            answer_by: None,
        }
    }

    /// The client has sent its dot and waits: for our own work, for the data to reach the next hop and
    /// for the answer to it together.
    pub(super) fn start_clock(&mut self) {
        self.answer_by = Instant::now().checked_add(self.config.timeouts.dot);
    }

    /// What the next hop offers, as last learnt; asked now when nobody has yet. `None` when it
    /// cannot be asked.
    pub(super) async fn capabilities(&mut self) -> Option<Capabilities> {
        let config = Arc::clone(&self.config);
        let address = &config.next_hop.address;
        if self.learnt.get(address).is_none()
            && let Err(reply) = self.connect().await
        {
            tracing::debug!(%reply, "the next hop cannot be asked what it offers");
        }
        self.learnt.get(address)
    }

    /// Passes MAIL on, over a new connection where the kept one has gone stale, and where one that was
    /// taken over is refused: that may be for what others did.
    pub(super) async fn mail(&mut self, sender: &Sender, xforward: &XForward) -> Reply {
        let own = self.way.is_some();
        if !own {
            self.way = self.parking.take(&self.config).await;
        }
        loop {
            let kept = self.way.is_some();
            if !kept && let Err(reply) = self.connect().await {
                return reply;
            }
            match self.try_mail(sender, xforward).await {
                Ok(reply) if kept && reply.code() == 421 => self.forget(),
                Ok(reply) if kept && !own && !reply.is_positive() => self.forget(),
                Ok(reply) => {
                    self.in_transaction = true;
                    return self.checked(&reply, (1, 0));
                }
                Err(trouble) if kept => {
                    tracing::debug!(%trouble, "the kept connection is of no more use");
                    self.forget();
                }
                Err(trouble) => return self.lost(&trouble),
            }
        }
    }

    /// Passes RCPT on.
    pub(super) async fn rcpt(&mut self, recipient: &Recipient) -> Reply {
        let Some(way) = &mut self.way else {
            return connection_lost();
        };
        match way.connection.rcpt(recipient).await {
            Ok(reply) => self.checked(&reply, (1, 5)),
            Err(trouble) => self.lost(&trouble),
        }
    }

    /// Ends a transaction without a mail.
    pub(super) async fn abort(&mut self) {
        if !std::mem::take(&mut self.in_transaction) {
            return;
        }
        let Some(way) = &mut self.way else { return };
        way.reset = true;
        let reply = way.connection.command("RSET").await;
        if !reply.is_ok_and(|reply| reply.is_positive()) {
            self.forget();
        }
    }

    /// Whether the next hop takes bytes above 127.
    pub(super) fn takes_eight_bit(&self) -> bool {
        self.way
            .as_ref()
            .is_none_or(|way| way.connection.capabilities().eight_bit_mime)
    }

    /// Sends the mail and makes the answer to the client's dot. A next hop that grew tired of
    /// waiting for a slow client's data is told the envelope once more: it has nothing of the
    /// mail yet, and a retry by the client would be as slow again.
    pub(super) async fn relay(
        &mut self,
        outgoing: &Outgoing,
        envelope: &Envelope,
        eight_bit: bool,
    ) -> (Reply, Fate) {
        if let Some(answered) = self.hand_over(outgoing).await {
            return answered;
        }
        self.forget();
        let patience = self.config.timeouts.command;
        let resumed = tokio::time::timeout(patience, self.resume(envelope, eight_bit)).await;
        let answered = match resumed {
            Ok(true) => self.hand_over(outgoing).await,
            Ok(false) | Err(_) => None,
        };
        answered.unwrap_or_else(|| {
            self.forget();
            (connection_lost(), Fate::NextHopRefused)
        })
    }

    /// Says MAIL and RCPT for these recipients in a transaction of its own: the one under way is given
    /// up, it has others. Gives the refusal of each recipient that is not accepted.
    ///
    /// # Errors
    ///
    /// The answer to the client: there is no transaction.
    pub(super) async fn begin(
        &mut self,
        envelope: &Envelope,
        recipients: &[&Recipient],
        eight_bit: bool,
    ) -> Result<Vec<Option<Reply>>, Reply> {
        let fits = !eight_bit || self.takes_eight_bit();
        if fits && let Some(begun) = self.begin_at_once(envelope, recipients).await {
            return begun;
        }
        let reply = self.mail(&sender_of(envelope), &envelope.xforward).await;
        if !reply.is_positive() {
            return Err(reply);
        }
        if eight_bit && !self.takes_eight_bit() {
            return Err(connection_lost());
        }
        let mut refused = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let reply = self.rcpt(recipient).await;
            refused.push((!reply.is_positive()).then_some(reply));
        }
        Ok(refused)
    }

    /// The same by one write; `None` where it has to be said one by one, if need be over a new connection.
    async fn begin_at_once(
        &mut self,
        envelope: &Envelope,
        recipients: &[&Recipient],
    ) -> Option<Result<Vec<Option<Reply>>, Reply>> {
        let way = self.way.as_mut()?;
        let said = said_at_once(way, envelope, recipients)?;
        let given_up = std::mem::take(&mut self.in_transaction);
        way.reset |= given_up;
        let lines = given_up.then_some("RSET").into_iter();
        let lines: Vec<&str> = lines.chain(said.iter().map(String::as_str)).collect();
        let replies = match way.connection.commands(&lines).await {
            Ok(replies) => replies,
            // One that is there and silent would be as silent again, and the client waits.
            Err(Trouble::TimedOut) => return Some(Err(self.lost(&Trouble::TimedOut))),
            Err(trouble) => {
                tracing::debug!(%trouble, "the kept connection is of no more use");
                self.forget();
                return None;
            }
        };
        let mut replies = replies.into_iter().skip(usize::from(given_up));
        let Some(mail) = replies.next().filter(|reply| reply.code() != 421) else {
            self.forget();
            return None;
        };
        self.in_transaction = true;
        let mail = self.checked(&mail, (1, 0));
        if !mail.is_positive() {
            return Some(Err(mail));
        }
        let refused = replies.map(|reply| {
            let reply = self.checked(&reply, (1, 5));
            (!reply.is_positive()).then_some(reply)
        });
        Some(Ok(refused.collect()))
    }

    /// Sends the mail of a transaction that was begun, and gives the answer.
    pub(super) async fn finish(&mut self, outgoing: &Outgoing) -> (Reply, Fate) {
        let answered = self.hand_over(outgoing).await;
        answered.unwrap_or_else(|| {
            self.forget();
            (connection_lost(), Fate::NextHopRefused)
        })
    }

    /// Sends the mail of a transaction that was begun, but not its dot.
    ///
    /// # Errors
    ///
    /// The answer to the client: the next hop has nothing.
    pub(super) async fn hold(&mut self, outgoing: &Outgoing) -> Result<(), Reply> {
        let Some(Way { connection, .. }) = self.way.as_mut() else {
            return Err(connection_lost());
        };
        if let Some(until) = self.answer_by {
            connection.answer_by(until);
        }
        match connection.hold(outgoing.pieces()).await {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(self.refused(&refusal).await.0),
            Err(trouble) => Err(self.lost(&trouble.trouble)),
        }
    }

    /// The dot of a mail that is held, and the answer.
    pub(super) async fn release(&mut self) -> (Reply, Fate) {
        let Some(Way { connection, .. }) = self.way.as_mut() else {
            return (connection_lost(), Fate::NextHopRefused);
        };
        let answer = connection.release().await;
        let answered = self.answered(answer).await;
        answered.unwrap_or_else(|| {
            self.forget();
            (connection_lost(), Fate::NextHopRefused)
        })
    }

    /// Another way to the same next hop, for a transaction beside this one.
    pub(super) fn another(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            learnt: self.learnt.clone(),
            parking: self.parking.clone(),
            way: None,
            in_transaction: false,
            answer_by: self.answer_by,
        }
    }

    /// Drops the connection: what is held there is delivered to nobody.
    pub(super) fn let_go(&mut self) {
        self.forget();
    }

    /// Says MAIL and RCPT over a new connection; false unless all is accepted as before.
    async fn resume(&mut self, envelope: &Envelope, eight_bit: bool) -> bool {
        let sender = sender_of(envelope);
        let accepted = |reply: Result<Reply, Trouble>| reply.is_ok_and(|r| r.is_positive());
        if self.connect().await.is_err() || (eight_bit && !self.takes_eight_bit()) {
            return false;
        }
        if !accepted(self.try_mail(&sender, &envelope.xforward).await) {
            return false;
        }
        self.in_transaction = true;
        for recipient in &envelope.rcpt_to {
            let Some(way) = &mut self.way else {
                return false;
            };
            if !accepted(way.connection.rcpt(recipient).await) {
                return false;
            }
        }
        tracing::info!(id = %envelope.id, "the next hop had left and was told the envelope again");
        true
    }

    /// Sends the mail; `None` when the next hop is gone and was not yet told to take data.
    async fn hand_over(&mut self, outgoing: &Outgoing) -> Option<(Reply, Fate)> {
        let connection = &mut self.way.as_mut()?.connection;
        if let Some(until) = self.answer_by {
            connection.answer_by(until);
        }
        let answer = connection.data(outgoing.pieces()).await;
        self.answered(answer).await
    }

    /// From the answer to a mail to the client's; `None` as [`Hop::hand_over`].
    async fn answered(&mut self, answer: Result<Reply, DataTrouble>) -> Option<(Reply, Fate)> {
        Some(match answer {
            Ok(reply) if reply.is_positive() => {
                self.in_transaction = false;
                if let Some(way) = &mut self.way {
                    way.mails += 1;
                }
                (reply.relayed((0, 0), ""), Fate::Relayed)
            }
            Ok(reply) if reply.code() >= 400 => self.refused(&reply).await,
            // A 3xx to the dot: it cannot be known what became of the mail.
            Ok(reply) => {
                tracing::warn!(%reply, "the next hop's answer to the dot makes no sense");
                self.forget();
                (lost_after_dot(), Fate::InDoubt)
            }
            Err(trouble) if trouble.in_doubt => {
                tracing::warn!(%trouble, "the next hop was lost at the dot: in doubt");
                self.forget();
                (lost_after_dot(), Fate::InDoubt)
            }
            // One that is there and silent would be as silent again, and the client waits.
            Err(trouble) if !trouble.begun && trouble.trouble != Trouble::TimedOut => {
                tracing::debug!(%trouble, "the next hop left while the data came");
                return None;
            }
            Err(trouble) => (self.lost(&trouble.trouble), Fate::NextHopRefused),
        })
    }

    /// The next hop refused DATA or the dot. A refused DATA leaves the transaction open; RSET after a
    /// refused dot does no harm.
    async fn refused(&mut self, reply: &Reply) -> (Reply, Fate) {
        if reply.code() == 421 {
            self.forget();
        } else {
            self.abort().await;
        }
        (
            reply.relayed((0, 0), "next hop said: "),
            Fate::NextHopRefused,
        )
    }

    /// Leaves the next hop to the next session, or says goodbye to it.
    pub(super) async fn leave(&mut self) {
        if let Some(mut way) = self.way.take() {
            way.reset |= self.in_transaction;
            self.parking.leave(way, &self.config).await;
        }
    }

    async fn connect(&mut self) -> Result<(), Reply> {
        self.forget();
        let config = &self.config;
        let opened = Connection::open(
            &config.next_hop,
            &config.hostname,
            (&config.timeouts).into(),
        )
        .await;
        match opened {
            Ok(connection) => {
                self.learnt
                    .set(&config.next_hop.address, connection.capabilities().clone());
                self.way = Some(Way::new(connection));
                Ok(())
            }
            Err(trouble) => {
                tracing::warn!(next_hop = %config.next_hop.address, %trouble, "no next hop");
                Err(not_responding(&trouble))
            }
        }
    }

    async fn try_mail(&mut self, sender: &Sender, known: &XForward) -> Result<Reply, Trouble> {
        let in_transaction = std::mem::take(&mut self.in_transaction);
        let Some(way) = &mut self.way else {
            return Err(Trouble::Garbage);
        };
        if in_transaction {
            way.reset = true;
            way.connection.command("RSET").await?;
        }
        // All that it takes is told, the unknown as unknown: nothing stays of who was told of before.
        let before = way.introduced;
        if before || !known.is_empty() {
            for line in known.lines(&way.connection.capabilities().xforward) {
                let reply = way.connection.command(&line).await?;
                if reply.is_positive() {
                    way.introduced = true;
                } else if before {
                    return Err(Trouble::Refused(Box::new(reply)));
                } else {
                    // The mail matters more than what is known of its client.
                    tracing::warn!(%reply, "the next hop refuses XFORWARD");
                }
            }
        }
        way.connection.mail(sender).await
    }

    /// The client's reply for an answer to MAIL or RCPT.
    fn checked(&mut self, reply: &Reply, rest: (u16, u16)) -> Reply {
        if reply.code() == 421 {
            self.forget();
        }
        if reply.code() / 100 == 3 {
            return self.lost(&Trouble::Garbage);
        }
        reply.relayed(rest, "")
    }

    fn lost(&mut self, trouble: &Trouble) -> Reply {
        tracing::warn!(next_hop = %self.config.next_hop.address, %trouble, "next hop lost");
        self.forget();
        connection_lost()
    }

    fn forget(&mut self) {
        self.way = None;
        self.in_transaction = false;
    }
}

fn sender_of(envelope: &Envelope) -> Sender {
    Sender {
        address: envelope.mail_from.clone(),
        size: envelope.size,
        body: envelope.body,
        smtputf8: envelope.smtputf8,
        ret: envelope.ret.clone(),
        envid: envelope.envid.clone(),
    }
}

/// MAIL and RCPT, where the next hop takes them at once and hears nothing of a client before (XFORWARD).
fn said_at_once(way: &Way, envelope: &Envelope, recipients: &[&Recipient]) -> Option<Vec<String>> {
    let offered = way.connection.capabilities();
    let introduces = !envelope.xforward.is_empty() && !offered.xforward.is_empty();
    if !offered.pipelining || way.introduced || introduces || recipients.len() > AT_ONCE {
        return None;
    }
    // What cannot be said is answered where it is said one by one.
    let mail = offered.mail_line(&sender_of(envelope)).ok()?;
    let rcpt = recipients.iter().map(|to| offered.rcpt_line(to));
    Some(std::iter::once(mail).chain(rcpt).collect())
}

fn not_responding(trouble: &Trouble) -> Reply {
    match trouble {
        Trouble::NoTls | Trouble::Handshake(_) | Trouble::Injection => Reply::new(
            451,
            "4.7.0",
            "No secure connection to the next hop, try again later",
        ),
        _ => Reply::new(451, "4.4.1", "Next hop not responding, try again later"),
    }
}

fn connection_lost() -> Reply {
    Reply::new(
        451,
        "4.4.2",
        "Connection to the next hop lost, try again later",
    )
}

fn lost_after_dot() -> Reply {
    Reply::new(451, "4.4.2", "Connection lost after end of data")
}

/// Recipients that are told at once: their lines, and the answers, wait in the buffers of sockets.
const AT_ONCE: usize = 16;
