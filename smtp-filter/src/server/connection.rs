//! The shell around a server session: the socket, TLS, time, the next hop and the filter. All
//! decisions of the protocol are the session's.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    ServerConfig,
    division::DividedMail,
    hop::Hop,
    keeping,
    session::{Answer, Completed, Session, SessionEvent},
};
use crate::{
    Division, Event, Fate, Filter, Finished, Held, Mail, Outgoing, Reply, Share, Treatment,
    id::new_id,
    received::received_field,
    spool::{Spool, room_for},
    wire::{Wire, receive},
};

/// One client's connection.
pub(super) struct Connection {
    config: Arc<ServerConfig>,
    filter: Arc<dyn Filter>,
    session: Session,
    wire: Wire,
    hop: Hop,
    spool: Spool,
    shutdown: watch::Receiver<bool>,
    drained_at: Option<Instant>,
}

/// The connection is over.
struct Over;

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        client: SocketAddr,
        config: Arc<ServerConfig>,
        filter: Arc<dyn Filter>,
        hop: Hop,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let _ = stream.set_nodelay(true);
        Self {
            session: Session::new(Arc::clone(&config), client, Instant::now()),
            wire: Wire::Plain(stream),
            hop,
            spool: Spool::default(),
            drained_at: None,
            config,
            filter,
            shutdown,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self) {
        self.listen_before_greeting().await;
        self.session.open();
        while self.turn().await.is_ok() {}
        // At once: the next session may have begun.
        let _ = timeout(LINGER, self.hop.leave()).await;
        // What the client said last may make its system drop our last words: take it in first.
        let _ = timeout(LINGER, self.linger()).await;
    }

    /// Does all that can be done, then waits for the client.
    async fn turn(&mut self) -> Result<(), Over> {
        if *self.shutdown.borrow() && self.drained_at.is_none() {
            self.drained_at = Instant::now().checked_add(self.config.timeouts.drain);
            self.session.shut_down(Instant::now());
        }
        while let Some(event) = self.session.poll() {
            self.act(event).await?;
        }
        self.flush().await?;
        let deadline = self.session.deadline();
        let Self { wire, session, .. } = self;
        let take = |bytes: &[u8]| session.receive(bytes, Instant::now());
        tokio::select! {
            read = receive::<CHUNK, _>(wire, take) => if !matches!(read, Ok(1..)) {
                return Err(Over);
            },
            () = until(deadline) => self.session.expire(Instant::now()),
            () = until(self.drained_at) => {
                self.drained_at = None;
                self.session.abandon();
            }
            changed = self.shutdown.changed(), if self.drained_at.is_none() => {
                if changed.is_err() {
                    // Nobody can end us any more: wait for the client alone.
                    self.drained_at = Instant::now().checked_add(FAR);
                }
            }
        }
        Ok(())
    }

    async fn act(&mut self, event: SessionEvent) -> Result<(), Over> {
        match event {
            SessionEvent::Probe => {
                let found = self.hop.capabilities().await;
                self.session
                    .answer(Answer::Capabilities(found), Instant::now());
            }
            SessionEvent::Mail(sender, xforward) => {
                self.flush().await?;
                let reply = match room_for(sender.size, &self.config.keeping()) {
                    Ok(()) => self.hop.mail(&sender, &xforward).await,
                    Err(reply) => reply,
                };
                self.session.answer(Answer::Reply(reply), Instant::now());
            }
            SessionEvent::Rcpt(recipient) => {
                // A slow next hop must not keep back the answers to what came before.
                self.flush().await?;
                let reply = self.hop.rcpt(&recipient).await;
                self.session.answer(Answer::Reply(reply), Instant::now());
            }
            SessionEvent::Store(bytes) => {
                if let Err(reply) = self.spool.append(&bytes, &self.config.keeping()).await {
                    self.spool = Spool::default();
                    self.session.storage_failed(reply);
                }
            }
            SessionEvent::EndOfData(completed) => {
                self.flush().await?;
                let replies = self.end_of_data(*completed).await;
                self.session
                    .answer(Answer::Replies(replies), Instant::now());
            }
            SessionEvent::Rejected(mut completed, reply) => {
                self.spool = Spool::default();
                // A silent next hop must not keep back our answer.
                self.flush().await?;
                self.hop.abort().await;
                completed.envelope.id = new_id(self.filter.now());
                self.finished(
                    &completed.envelope.id,
                    Fate::Rejected,
                    &reply,
                    completed.size,
                );
            }
            SessionEvent::Abort => {
                self.spool = Spool::default();
                self.flush().await?;
                self.hop.abort().await;
            }
            SessionEvent::Handshake => self.handshake().await?,
            SessionEvent::Close => {
                self.flush().await?;
                let _ = timeout(LINGER, self.wire.shutdown()).await;
                return Err(Over);
            }
        }
        Ok(())
    }

    /// Shows the mail to the filter, relays it or not, and makes the answer to the dot for each
    /// recipient.
    async fn end_of_data(&mut self, completed: Completed) -> Vec<Reply> {
        let Completed {
            mut envelope,
            size,
            eight_bit,
        } = completed;
        let begun = Instant::now();
        self.hop.start_clock();
        envelope.id = new_id(self.filter.now());
        let id = envelope.id.clone();
        let recipients = envelope.rcpt_to.len();
        let spool = std::mem::take(&mut self.spool);
        let all = |(reply, fate): (Reply, Fate)| (vec![reply; recipients], fate);
        let mut discreet = false;
        let (replies, fate) = match spool.finish(&self.config.keeping()).await {
            Err(reply) => all((reply, Fate::Rejected)),
            Ok(_) if eight_bit && !self.hop.takes_eight_bit() => {
                let text = "Next hop does not support 8BITMIME, and mail is not re-encoded";
                all((Reply::new(550, "5.6.1", text), Fate::Rejected))
            }
            Ok(raw) => {
                envelope.seven_bit_only = !self.hop.takes_eight_bit();
                let mail = Mail {
                    envelope: Arc::new(envelope),
                    raw,
                };
                self.treat(mail, eight_bit, &mut discreet).await
            }
        };
        if fate != Fate::Relayed {
            self.hop.abort().await;
        }
        // What is worth a look in the log is what went wrong.
        let worst = replies.iter().find(|reply| !reply.is_positive());
        let told = worst
            .or(replies.first())
            .cloned()
            .unwrap_or_else(Reply::aborted);
        // Others need not wait for the memory that it has had.
        self.finished(&id, fate, &told, size);
        if discreet && let Some(then) = begun.checked_add(keeping::rounded(begun.elapsed(), size)) {
            sleep_until(then.into()).await;
        }
        replies
    }

    /// `discreet` becomes true where nobody is to see by the time of the answer what was done.
    async fn treat(
        &mut self,
        mail: Mail,
        eight_bit: bool,
        discreet: &mut bool,
    ) -> (Vec<Reply>, Fate) {
        let (envelope, raw) = (Arc::clone(&mail.envelope), mail.raw.clone());
        let filter = Arc::clone(&self.filter);
        // A task of its own, so that a panic fails this mail only.
        let treating = tokio::spawn(async move { filter.treat(mail).await });
        let all = |(reply, fate): (Reply, Fate)| (vec![reply; envelope.rcpt_to.len()], fate);
        let received = received_field(&envelope, &self.config.hostname, self.filter.now());
        match treating.await {
            Ok(Treatment::Relay(edits)) => match Outgoing::new(raw, &received, &edits) {
                Some(outgoing) => all(self.hop.relay(&outgoing, &envelope, eight_bit).await),
                None => {
                    tracing::error!(id = %envelope.id, "an edit would break a line");
                    all((Reply::aborted(), Fate::Aborted))
                }
            },
            Ok(Treatment::Divide(groups)) => {
                let own = |share: &Share| matches!(share, Share::Confide(_) | Share::Hold { .. });
                *discreet = groups.iter().any(|group| own(&group.share));
                let mail = Mail {
                    envelope: Arc::clone(&envelope),
                    raw,
                };
                let (config, filter) = (&self.config, &self.filter);
                let Some(division) = DividedMail::new(&mail, &groups, config, filter, eight_bit)
                else {
                    tracing::error!(id = %envelope.id, "the filter's groups are no division");
                    return all((Reply::aborted(), Fate::Aborted));
                };
                if envelope.division == Division::Answers {
                    division.answer_each(&mut self.hop).await
                } else {
                    all(division.answer_once(&mut self.hop).await)
                }
            }
            Ok(Treatment::Quarantine { edits, reason }) => {
                match Outgoing::new(raw, &received, &edits) {
                    Some(content) => {
                        let held = Held {
                            envelope: Arc::clone(&envelope),
                            recipients: (0..envelope.rcpt_to.len()).collect(),
                            sender: envelope.mail_from.clone(),
                            content,
                            reason,
                            refusal: None,
                        };
                        all(keeping::hold(&self.filter, held).await)
                    }
                    None => {
                        tracing::error!(id = %envelope.id, "an edit would break a line");
                        all((Reply::aborted(), Fate::Aborted))
                    }
                }
            }
            Ok(Treatment::Refuse(reply)) if reply.code() >= 400 => all((reply, Fate::Refused)),
            Ok(Treatment::Refuse(_)) => all((Reply::aborted(), Fate::Aborted)),
            Err(error) => {
                tracing::error!(id = %envelope.id, %error, "the filter failed");
                all((Reply::aborted(), Fate::Aborted))
            }
        }
    }

    fn finished(&self, id: &str, fate: Fate, reply: &Reply, size: u64) {
        let finished = Finished {
            id: id.to_owned(),
            fate,
            reply: reply.clone(),
            size,
        };
        self.filter.on_event(&Event::Finished(&finished));
    }

    async fn handshake(&mut self) -> Result<(), Over> {
        self.flush().await?;
        let config = self.config.tls.clone().ok_or(Over)?;
        let stream = self.wire.take_plain().ok_or(Over)?;
        let accepting = TlsAcceptor::from(config).accept(stream);
        let stream = match timeout(self.config.timeouts.handshake, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake with a client");
                return Err(Over);
            }
            Err(_) => return Err(Over),
        };
        let (_, tls) = stream.get_ref();
        let version = tls
            .protocol_version()
            .and_then(|v| v.as_str())
            .unwrap_or("TLS");
        let suite = tls
            .negotiated_cipher_suite()
            .and_then(|s| s.suite().as_str());
        let description = format!("{version} {}", suite.unwrap_or("unknown"));
        self.wire = Wire::Server(Box::new(stream));
        self.session.secured(description, Instant::now());
        Ok(())
    }

    /// A stranger that talks before the greeting is no mail client; a moment shows most of them.
    async fn listen_before_greeting(&mut self) {
        let Wire::Plain(stream) = &self.wire else {
            return;
        };
        if self.session.is_trusted() || timeout(MOMENT, stream.readable()).await.is_err() {
            return;
        }
        let mut buffer = [0; 512];
        if let Ok(n @ 1..) = stream.try_read(&mut buffer) {
            self.session
                .receive(buffer.get(..n).unwrap_or_default(), Instant::now());
        }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        while let Some(bytes) = self.session.transmit() {
            let writing = async {
                self.wire.write_all(&bytes).await?;
                self.wire.flush().await
            };
            match timeout(self.config.timeouts.line, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    async fn linger(&mut self) {
        let mut buffer = vec![0; CHUNK];
        let mut left = LINGER_BYTES;
        while let Ok(n @ 1..) = self.wire.read(&mut buffer).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

const CHUNK: usize = 16 << 10;
const MOMENT: Duration = Duration::from_millis(1);
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;
const FAR: Duration = Duration::from_secs(1 << 30);
