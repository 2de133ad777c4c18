//! The shell around a milter session: the socket, time, and the filter. All decisions of the protocol
//! are the session's.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    MilterConfig,
    listener::Stream,
    session::{Answer, Completed, Session, SessionEvent},
};
use crate::{
    Event, Fate, Filter, Finished, Mail, Reply, Treatment,
    id::new_id,
    server::rounded,
    spool::{Keeping, Spool},
    wire::receive,
};

/// One connection of an MTA.
pub(super) struct Connection {
    config: Arc<MilterConfig>,
    filter: Arc<dyn Filter>,
    session: Session,
    stream: Stream,
    spool: Spool,
    /// Why the mail that is coming cannot be kept.
    spool_trouble: Option<Reply>,
    trusted: bool,
    shutdown: watch::Receiver<bool>,
}

/// The connection is over.
struct Over;

impl Connection {
    pub(super) fn new(
        stream: Stream,
        peer: SocketAddr,
        config: Arc<MilterConfig>,
        filter: Arc<dyn Filter>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self {
            session: Session::new(config.limits.clone(), config.wants, peer),
            stream,
            spool: Spool::default(),
            spool_trouble: None,
            trusted: config.trusts(peer),
            config,
            filter,
            shutdown,
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self) {
        while self.turn().await.is_ok() {}
        if let Some(trouble) = self.session.trouble() {
            tracing::warn!(%trouble, "milter session ended: the MTA does what it does without a milter");
        }
        let _ = self.flush().await;
        let _ = timeout(LINGER, self.stream.shutdown()).await;
    }

    /// Does all that can be done, then waits for the MTA.
    async fn turn(&mut self) -> Result<(), Over> {
        while let Some(event) = self.session.poll() {
            self.act(event).await?;
        }
        self.flush().await?;
        // The one who started us cuts what takes longer than the drain.
        if *self.shutdown.borrow() && !self.session.has_mail() {
            return Err(Over);
        }
        let told = *self.shutdown.borrow() || self.shutdown.has_changed().is_err();
        self.stream.acknowledge_at_once();
        let Self {
            stream, session, ..
        } = self;
        tokio::select! {
            read = receive::<CHUNK, _>(stream, |bytes| session.receive(bytes)) => if !matches!(read, Ok(1..)) {
                return Err(Over);
            },
            () = sleep(self.config.idle) => {
                tracing::warn!("milter session ended: the MTA was silent for too long");
                return Err(Over);
            }
            // Once told, or when nobody is left to tell, only the MTA is waited for.
            _ = self.shutdown.changed(), if !told => {}
        }
        Ok(())
    }

    async fn act(&mut self, event: SessionEvent) -> Result<(), Over> {
        match event {
            SessionEvent::Store(bytes) => {
                if self.spool_trouble.is_none()
                    && let Err(reply) = self.spool.append(&bytes, &self.keeping()).await
                {
                    self.spool = Spool::default();
                    self.spool_trouble = Some(reply);
                }
            }
            SessionEvent::EndOfMessage(completed) => return self.end_of_message(*completed).await,
            SessionEvent::Rejected(mut completed, reply) => {
                self.clear();
                completed.envelope.id = new_id(self.filter.now());
                self.finished(
                    &completed.envelope.id,
                    Fate::Rejected,
                    reply,
                    completed.size,
                );
            }
            SessionEvent::Abort => self.clear(),
            SessionEvent::Close => return Err(Over),
        }
        Ok(())
    }

    async fn end_of_message(&mut self, completed: Completed) -> Result<(), Over> {
        let begun = Instant::now();
        let Completed { mut envelope, size } = completed;
        envelope.id = new_id(self.filter.now());
        envelope.authenticated = envelope.authenticated.filter(|_| self.trusted);
        let id = envelope.id.clone();
        let spool = std::mem::take(&mut self.spool);
        let kept = match self.spool_trouble.take() {
            Some(reply) => Err(reply),
            None => spool.finish(&self.keeping()).await,
        };
        let raw = match kept {
            Ok(raw) => raw,
            Err(reply) => {
                let _ = self.session.answer(&Answer::Refuse(reply.clone()));
                self.finished(&id, Fate::Rejected, reply, size);
                return Ok(());
            }
        };
        let mail = Mail {
            envelope: Arc::new(envelope),
            raw: raw.clone(),
        };
        let treatment = self.treat(mail).await;
        let is_timed = treatment.as_ref().is_some_and(Treatment::is_timed);
        let (answer, fate, reply) = match treatment {
            Some(Treatment::Relay(edits)) => {
                let reply = Reply::new(250, "2.0.0", "Returned to the MTA");
                (Answer::Edits(raw, edits), Fate::Returned, reply)
            }
            Some(Treatment::Quarantine { edits, reason }) => {
                let reply = Reply::new(250, "2.0.0", "Returned to the MTA, to be held");
                (Answer::Hold(raw, edits, reason), Fate::Returned, reply)
            }
            Some(Treatment::Refuse(reply)) if reply.code() >= 400 => {
                (Answer::Refuse(reply.clone()), Fate::Refused, reply)
            }
            // There is one body, so nothing can be divided: that is the filter's mistake.
            Some(Treatment::Refuse(_) | Treatment::Divide(_)) | None => {
                let reply = Reply::aborted();
                (Answer::Refuse(reply.clone()), Fate::Aborted, reply)
            }
        };
        let (fate, reply) = match self.session.answer(&answer) {
            Ok(()) => (fate, reply),
            Err(error) => {
                tracing::error!(id, %error, "the MTA has to try again later");
                (Fate::Aborted, Reply::aborted())
            }
        };
        let told = match is_timed {
            true => self.flush_timed(begun, size).await,
            false => self.flush().await,
        };
        // Without an answer the MTA does what it does without a milter: it cannot be known here.
        let fate = if told.is_ok() { fate } else { Fate::InDoubt };
        self.finished(&id, fate, reply, size);
        told
    }

    /// Asks the filter, telling the MTA now and then that it is still being asked; `None`: it failed.
    async fn treat(&mut self, mail: Mail) -> Option<Treatment> {
        let id = mail.envelope.id.clone();
        let filter = Arc::clone(&self.filter);
        // A task of its own, so that a panic fails this mail only.
        let mut treating = tokio::spawn(async move { filter.treat(mail).await });
        let mut next = Instant::now() + self.config.progress;
        loop {
            tokio::select! {
                treated = &mut treating => {
                    return treated
                        .inspect_err(|error| tracing::error!(id, %error, "the filter failed"))
                        .ok();
                }
                () = sleep_until(next) => {
                    next += self.config.progress;
                    self.session.progress();
                    // That it has gone shows when it is answered.
                    let _ = self.flush().await;
                }
            }
        }
    }

    fn clear(&mut self) {
        self.spool = Spool::default();
        self.spool_trouble = None;
    }

    fn keeping(&self) -> Keeping {
        Keeping {
            folder: self.config.temp_dir.clone(),
            memory: self.config.limits.memory,
        }
    }

    fn finished(&self, id: &str, fate: Fate, reply: Reply, size: u64) {
        let finished = Finished {
            id: id.to_owned(),
            fate,
            reply,
            size,
        };
        self.filter.on_event(&Event::Finished(&finished));
    }

    async fn flush(&mut self) -> Result<(), Over> {
        while let Some(bytes) = self.session.transmit() {
            self.write(&bytes).await?;
        }
        Ok(())
    }

    /// Sends an answer whose time is to tell nothing. An MTA makes changes as it hears of them, and a new body takes it longer
    /// than none: so the end of the answer waits for a whole period, and the rest does not.
    async fn flush_timed(&mut self, begun: Instant, size: u64) -> Result<(), Over> {
        let mut changes = self.session.transmit().unwrap_or_default();
        let last = changes.split_off(changes.len().saturating_sub(LAST_PACKET));
        self.write(&changes).await?;
        // It may be as large as the mail, and is of no more use.
        drop(changes);
        if let Some(then) = begun.checked_add(rounded(begun.elapsed(), size)) {
            sleep_until(then).await;
        }
        self.write(&last).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(WRITING, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }
}

const CHUNK: usize = 64 << 10;
/// Octets of the packet that ends an answer with edits: its length and one command.
const LAST_PACKET: usize = 5;
const WRITING: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_secs(1);
