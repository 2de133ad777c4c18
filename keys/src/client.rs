//! The other end of the key process's sockets, for whoever may block. One question at a time; an answer that does not
//! belong to it, or an error of the socket, makes the connection worthless.

use std::io;
use std::os::unix::net::UnixStream;

use kenin_pki::Address;
use kenin_pki::crypto::Secret;

use crate::frame::{self, Frames};
use crate::key::{KeyFacts, KeyId};
use crate::octets::Malformed;
use crate::protocol::{
    Answer, EdgeRequest, Grant, Refusal, Sign, TooLong, Transaction, Unwrap, WorkerRequest,
};

/// The edge's end.
#[derive(Debug)]
pub struct EdgeClient(Line);

impl EdgeClient {
    /// Speaks over this connection.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self(Line::new(stream))
    }

    /// Announces a mail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn grant(&mut self, grant: Grant) -> Result<(), ClientError> {
        self.done(&EdgeRequest::Grant(grant))
    }

    /// Says that the mail has ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn release(&mut self, transaction: Transaction) -> Result<(), ClientError> {
        self.done(&EdgeRequest::Release(transaction))
    }

    /// Says that a layer has opened.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn opened(
        &mut self,
        transaction: Transaction,
        recipient: Address,
        key: KeyId,
    ) -> Result<(), ClientError> {
        self.done(&EdgeRequest::Opened {
            transaction,
            recipient,
            key,
        })
    }

    /// What everybody may know of all keys.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn keys(&mut self) -> Result<Vec<KeyFacts>, ClientError> {
        let mut keys: Vec<KeyFacts> = Vec::new();
        loop {
            let after = keys.last().map(|key| key.id);
            match self.ask(&EdgeRequest::Next(after))? {
                Answer::Facts(facts) if after.is_none_or(|after| facts.id > after) => {
                    keys.push(*facts);
                }
                Answer::NoMore => return Ok(keys),
                other => return Err(unexpected(other)),
            }
        }
    }

    fn done(&mut self, request: &EdgeRequest) -> Result<(), ClientError> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&mut self, request: &EdgeRequest) -> Result<Answer, ClientError> {
        self.0.ask(|number| request.to_frame(number))
    }
}

/// A worker's end.
#[derive(Debug)]
pub struct WorkerClient(Line);

impl WorkerClient {
    /// Speaks over this connection.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self(Line::new(stream))
    }

    /// The content-encryption key of a layer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn unwrap(&mut self, unwrap: Unwrap) -> Result<Secret, ClientError> {
        match self.ask(&WorkerRequest::Unwrap(unwrap))? {
            Answer::Key(key) => Ok(key),
            other => Err(unexpected(other)),
        }
    }

    /// A signature as the sender of the mail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn sign(&mut self, sign: Sign) -> Result<Vec<u8>, ClientError> {
        match self.ask(&WorkerRequest::Sign(sign))? {
            Answer::Signature(signature) => Ok(signature),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&mut self, request: &WorkerRequest) -> Result<Answer, ClientError> {
        self.0.ask(|number| request.to_frame(number))
    }
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key process says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The question is too long to be asked.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// What came is no answer to the question.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection has ended, or does not answer.
    #[error("the key process: {0}")]
    Io(#[from] io::Error),
}

/// A connection.
#[derive(Debug)]
struct Line {
    frames: Frames<UnixStream>,
    number: u32,
}

impl Line {
    fn new(stream: UnixStream) -> Self {
        Self {
            frames: Frames::new(stream),
            number: 0,
        }
    }

    fn ask(
        &mut self,
        frame: impl FnOnce(u32) -> Result<Vec<u8>, TooLong>,
    ) -> Result<Answer, ClientError> {
        self.number = self.number.wrapping_add(1);
        frame::write(self.frames.stream(), &frame(self.number)?)?;
        let read = self.frames.next_frame()?;
        let read = read.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let (number, answer) = Answer::from_frame(read.expose())?;
        if number != self.number {
            return Err(Malformed("an answer to another question").into());
        }
        Ok(answer)
    }
}

fn unexpected(answer: Answer) -> ClientError {
    match answer {
        Answer::Refused(refusal) => refusal.into(),
        _ => Malformed("another kind of answer").into(),
    }
}
