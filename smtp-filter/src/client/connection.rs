//! The shell around a client session: a socket, TLS, time. One connection, one command at a time, or a few at once.

use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Instant};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Capabilities, Patience, Sender,
    session::{Event, Session, Tls, Trouble},
};
use crate::{
    Recipient, Reply,
    outgoing::Data,
    server::{HopTls, NextHop},
    wire::Wire,
};

/// A connection to a server, ready for commands.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    session: Session,
    patience: Patience,
    /// When the next dot's answer is of no more use.
    until: Option<Instant>,
    /// The last of the data that still lacks its dot, as far as it was not sent.
    held: Option<Data>,
    /// Whether the server refused something.
    refused: bool,
}

/// Data that was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{trouble}{}", if *.in_doubt { " after the end of data" } else { "" })]
pub struct DataTrouble {
    /// Why.
    pub trouble: Trouble,
    /// Whether the server may have seen the whole mail and accepted it.
    pub in_doubt: bool,
    /// Whether the server had said that the data may begin.
    pub begun: bool,
}

impl DataTrouble {
    fn new(trouble: Trouble, in_doubt: bool, begun: bool) -> Self {
        Self {
            trouble,
            in_doubt,
            begun,
        }
    }
}

impl Connection {
    /// Connects, greets, uses TLS as told, greets again.
    ///
    /// # Errors
    ///
    /// Why the server cannot be used. Nothing of a mail was sent.
    pub async fn open(to: &NextHop, hello: &str, patience: Patience) -> Result<Self, Trouble> {
        let connecting = TcpStream::connect(&to.address);
        let stream = match timeout(patience.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Trouble::Connect(error.to_string())),
            Err(_) => return Err(Trouble::Connect("timed out".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let (tls, settings) = match &to.tls {
            HopTls::None => (Tls::Never, None),
            HopTls::Opportunistic { config, name } => (Tls::IfOffered, Some((config, name))),
            HopTls::Required { config, name } => (Tls::Always, Some((config, name))),
        };
        let session = Session::new(hello, tls, patience.command, Instant::now());
        let mut connection = Self {
            wire: Wire::Plain(stream),
            session,
            patience,
            until: None,
            held: None,
            refused: false,
        };
        loop {
            match connection.event().await? {
                Event::Ready => return Ok(connection),
                Event::Handshake => {
                    let Some((config, name)) = settings else {
                        return Err(Trouble::NoTls);
                    };
                    let connector = TlsConnector::from(config.clone());
                    let wire = connection.wire.take_plain().ok_or(Trouble::Garbage)?;
                    let shaking = connector.connect(name.clone(), wire);
                    let stream = match timeout(connection.patience.handshake, shaking).await {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return Err(Trouble::Handshake(error.to_string())),
                        Err(_) => return Err(Trouble::Handshake("timed out".to_owned())),
                    };
                    connection.wire = Wire::Client(Box::new(stream));
                    connection.session.secured(Instant::now());
                }
                Event::Failed(trouble) => return Err(trouble),
                Event::Reply(_) => return Err(Trouble::Garbage),
            }
        }
    }

    /// What the server offers.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        self.session.capabilities()
    }

    /// Whether the connection is under TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        matches!(self.wire, Wire::Client(_))
    }

    /// Whether a stranger could go on with it: the server refused nothing, answered all, has said
    /// nothing since, and is there.
    pub(crate) async fn is_unblemished(&mut self) -> bool {
        let at_rest = self.held.is_none() && self.session.is_ready();
        at_rest && !self.refused && self.overhear().await.is_ok()
    }

    /// Sends one command line, without CRLF, and waits for its answer.
    ///
    /// # Errors
    ///
    /// When no answer came; the connection is then of no more use.
    pub async fn command(&mut self, line: &str) -> Result<Reply, Trouble> {
        // It would be a line of the mail that is held.
        if self.held.is_some() {
            return Err(Trouble::Garbage);
        }
        self.overhear().await?;
        if !self
            .session
            .command(line, self.patience.command, Instant::now())
        {
            return Err(Trouble::Garbage);
        }
        self.reply().await
    }

    /// Sends several command lines at once, without CRLF, and waits for the answer to each. They are few: the
    /// server takes them without anybody reading its answers.
    ///
    /// # Errors
    ///
    /// When the server does not offer PIPELINING, or not each was answered once; the connection is then of no more
    /// use.
    pub(crate) async fn commands(&mut self, lines: &[&str]) -> Result<Vec<Reply>, Trouble> {
        if self.held.is_some() || !self.capabilities().pipelining {
            return Err(Trouble::Garbage);
        }
        self.overhear().await?;
        let patience = self.patience.command;
        if !self.session.commands(lines, patience, Instant::now()) {
            return Err(Trouble::Garbage);
        }
        let mut replies = Vec::with_capacity(lines.len());
        for _ in lines {
            replies.push(self.reply().await?);
        }
        // With one too many, it is not known which belongs to what.
        match self.session.has_unasked() {
            true => Err(Trouble::Garbage),
            false => Ok(replies),
        }
    }

    /// MAIL, with the parameters that the server offers.
    ///
    /// # Errors
    ///
    /// As [`Connection::command`]. What the server cannot take is a refusing reply.
    pub async fn mail(&mut self, sender: &Sender) -> Result<Reply, Trouble> {
        match self.capabilities().mail_line(sender) {
            Ok(line) => self.command(&line).await,
            Err(refusal) => Ok(refusal),
        }
    }

    /// RCPT, with the parameters that the server offers.
    ///
    /// # Errors
    ///
    /// As [`Connection::command`].
    pub async fn rcpt(&mut self, recipient: &Recipient) -> Result<Reply, Trouble> {
        let line = self.capabilities().rcpt_line(recipient);
        self.command(&line).await
    }

    /// The answer to the next mail is waited for until then, and its dot is not sent in the last half of
    /// the patience for it: whoever waits behind us would have given up, and try again what was accepted.
    pub fn answer_by(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// DATA, the mail in pieces (its lines end in CRLF; dots are stuffed here), the dot, and the
    /// answer to it. When DATA itself is refused, the answer is that refusal.
    ///
    /// # Errors
    ///
    /// When no answer came, and whether the mail may have been accepted.
    pub async fn data<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Reply, DataTrouble> {
        match self.begin_data(pieces).await? {
            Some(refusal) => Ok(refusal),
            None => self.release().await,
        }
    }

    /// DATA and the mail in pieces, up to but not including the dot: the server has nothing of it before
    /// [`Connection::release`], and a connection that is dropped here delivers nothing. Gives the refusal
    /// where the server refuses.
    ///
    /// # Errors
    ///
    /// When the server is lost; never in doubt.
    pub async fn hold<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Reply>, DataTrouble> {
        if let Some(refusal) = self.begin_data(pieces).await? {
            return Ok(Some(refusal));
        }
        let Some(mut data) = self.held.take() else {
            return Ok(None);
        };
        if let Err(trouble) = self.write(data.octets()).await {
            return self.last_words(trouble).await.map(Some).map_err(early);
        }
        data.clear();
        self.held = Some(data);
        Ok(None)
    }

    /// The same but for the last piece, so that it can go together with the dot.
    async fn begin_data<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Reply>, DataTrouble> {
        let reply = self
            .command("DATA")
            .await
            .map_err(|trouble| DataTrouble::new(trouble, false, false))?;
        if reply.code() != 354 {
            let refused = reply.code() >= 400;
            return if refused {
                Ok(Some(reply))
            } else {
                Err(early(Trouble::Garbage))
            };
        }
        let mut data = Data::new();
        for mut rest in pieces {
            while !rest.is_empty() {
                if data.is_full() {
                    self.in_time()?;
                    if let Err(trouble) = self.write(data.octets()).await {
                        return self.last_words(trouble).await.map(Some).map_err(early);
                    }
                    data.clear();
                }
                rest = data.take(rest);
            }
        }
        self.held = Some(data);
        Ok(None)
    }

    /// What is not sent of the mail that is held, its dot, and the answer to that.
    ///
    /// # Errors
    ///
    /// When no answer came, and whether the mail may have been accepted.
    pub async fn release(&mut self) -> Result<Reply, DataTrouble> {
        let Some(mut data) = self.held.take() else {
            return Err(early(Trouble::Garbage));
        };
        // What was said before the dot is no answer to it.
        if let Err(trouble) = self.overhear().await {
            return self.last_words(trouble).await.map_err(early);
        }
        self.in_time()?;
        let (mut taken, rest) = (0, data.octets().len());
        data.finish();
        if let Err(trouble) = self.write_counted(data.octets(), &mut taken).await {
            // Without a part of its end, the server has not the whole mail.
            let failed = |trouble| DataTrouble::new(trouble, taken > rest, true);
            return self.last_words(trouble).await.map_err(failed);
        }
        drop(data);
        let late = |trouble| DataTrouble::new(trouble, true, true);
        let now = Instant::now();
        let patience = self.until.take().map_or(self.patience.dot, |until| {
            until.saturating_duration_since(now)
        });
        self.session.data_sent(patience, now);
        self.reply().await.map_err(late)
    }

    fn in_time(&mut self) -> Result<(), DataTrouble> {
        let half = self.patience.dot / 2;
        let last = self.until.and_then(|until| until.checked_sub(half));
        if last.is_some_and(|last| Instant::now() >= last) {
            self.session.give_up();
            return Err(early(Trouble::TimedOut));
        }
        Ok(())
    }

    /// QUIT; does not care for the answer's text.
    pub async fn quit(mut self) {
        if self.command("QUIT").await.is_ok() {
            let _ = self.wire.shutdown().await;
        }
    }

    /// The server went away in the middle of data: it may have said why. A command would now be
    /// text of the mail, so none may follow.
    async fn last_words(&mut self, trouble: Trouble) -> Result<Reply, Trouble> {
        self.session
            .data_sent(self.patience.command, Instant::now());
        let reply = self.reply().await;
        self.session.give_up();
        match reply {
            Ok(reply) if reply.code() >= 400 => Ok(reply),
            _ => Err(trouble),
        }
    }

    /// Notices what the server said though nobody asked, and that it has gone, without waiting.
    async fn overhear(&mut self) -> Result<(), Trouble> {
        let mut buffer = [0; 512];
        let mut heard = ReadBuf::new(&mut buffer);
        let wire = &mut self.wire;
        let polled =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut *wire).poll_read(cx, &mut heard))).await;
        match polled {
            Poll::Ready(Err(error)) => return Err(Trouble::Lost(error.to_string())),
            Poll::Ready(Ok(())) if heard.filled().is_empty() => {
                return Err(Trouble::Lost("closed by the server".to_owned()));
            }
            Poll::Ready(Ok(())) => self.session.receive(heard.filled()),
            Poll::Pending => {}
        }
        if self.session.has_unasked() {
            return Err(Trouble::Garbage);
        }
        Ok(())
    }

    async fn reply(&mut self) -> Result<Reply, Trouble> {
        match self.event().await? {
            Event::Reply(reply) => {
                self.refused |= reply.code() >= 400;
                Ok(reply)
            }
            Event::Failed(trouble) => Err(trouble),
            Event::Ready | Event::Handshake => Err(Trouble::Garbage),
        }
    }

    /// Runs the session until it has something to say.
    async fn event(&mut self) -> Result<Event, Trouble> {
        let mut buffer = [0; 4096];
        loop {
            let event = self.session.poll(Instant::now());
            if let Some(bytes) = self.session.transmit() {
                self.write(&bytes).await?;
            }
            if let Some(event) = event {
                return Ok(event);
            }
            let reading = self.wire.read(&mut buffer);
            let read = match self.session.deadline() {
                Some(deadline) => match tokio::time::timeout_at(deadline.into(), reading).await {
                    Ok(read) => read,
                    Err(_) => return self.session.expire(Instant::now()).ok_or(Trouble::TimedOut),
                },
                None => reading.await,
            };
            match read {
                Ok(0) => return Err(Trouble::Lost("closed by the server".to_owned())),
                Ok(n) => self.session.receive(buffer.get(..n).unwrap_or_default()),
                Err(error) => return Err(Trouble::Lost(error.to_string())),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.write_counted(bytes, &mut 0).await
    }

    /// The same, and says how many bytes were taken from us, also where it fails.
    async fn write_counted(&mut self, bytes: &[u8], taken: &mut usize) -> Result<(), Trouble> {
        let writing = async {
            while let Some(rest) = bytes.get(*taken..).filter(|rest| !rest.is_empty()) {
                match self.wire.write(rest).await? {
                    0 => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                    count => *taken += count,
                }
            }
            self.wire.flush().await
        };
        match timeout(self.patience.command, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Lost(error.to_string())),
            Err(_) => Err(Trouble::TimedOut),
        }
    }
}

/// Trouble before the dot.
fn early(trouble: Trouble) -> DataTrouble {
    DataTrouble::new(trouble, false, true)
}

#[cfg(test)]
mod tests;
