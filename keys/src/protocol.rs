//! What edge, workers and key process say to each other, over sockets that nobody else has.
//!
//! A frame is four octets of length, and then: the version of this protocol, a number that the answer repeats, what it
//! is, and its parts (numbers big-endian, octets behind their length). There are two kinds of connection. On that of the
//! edge go grants; on that of a worker goes what the grant of its mail allows. What is said on the wrong one, or does not
//! read, ends that connection. Nothing here knows a socket.

mod reach;
mod wrapped;

use std::fmt;
use std::net::IpAddr;

use kenin_pki::Address;
use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::crypto::{KeyError, Secret, SignatureAlgorithm, Wrapped};

use crate::key::{KeyFacts, KeyId, MAX_FACTS, address, random, tenant, write_hex};
use crate::octets::{Malformed, Reader, Writer};

pub use reach::Reach;

/// Octets of a frame behind its length, at most.
pub const MAX_FRAME: usize = 64 << 10;
/// Recipients that one grant can name. Only those who have keys need to be named.
pub const MAX_RECIPIENTS: usize = 1024;

/// One mail on its way, from when its data has ended until it is answered. It is random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction([u8; 16]);

impl Transaction {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Failed`] where the system has no randomness.
    pub fn random() -> Result<Self, KeyError> {
        random().map(Self)
    }

    /// From its octets.
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the edge says of a mail before any worker sees it: for whom keys may be used, and as whom may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which mail.
    pub transaction: Transaction,
    /// Whose keys.
    pub tenant: String,
    /// To whom it goes.
    pub recipients: Vec<Address>,
    /// Who sent it, if that was proven.
    pub sender: Option<Address>,
    /// Where the client is; nothing where it has no address.
    pub client: Option<IpAddr>,
    /// For how many seconds from now. The key process has a bound of its own.
    pub seconds: u32,
}

/// What the edge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeRequest {
    /// A mail begins.
    Grant(Grant),
    /// It has ended: nothing more is allowed for it.
    Release(Transaction),
    /// A layer that was encrypted for the recipient's key has opened: one use of the key was no guess.
    Opened {
        /// In which mail.
        transaction: Transaction,
        /// For whom.
        recipient: Address,
        /// With which key.
        key: KeyId,
    },
    /// Asks what everybody may know of the key that follows this one, or of the first.
    Next(Option<KeyId>),
}

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerRequest {
    /// The content-encryption key.
    Unwrap(Unwrap),
    /// A signature as the sender of the mail.
    Sign(Sign),
}

/// Asks for the content-encryption key of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrap {
    /// Of which mail.
    pub transaction: Transaction,
    /// For whom.
    pub recipient: Address,
    /// With which key of theirs.
    pub key: KeyId,
    /// How many octets the content-encryption key has.
    pub length: u32,
    /// What the layer holds for that key.
    pub wrapped: Wrapped,
}

/// Asks for a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Of which mail.
    pub transaction: Transaction,
    /// With which key of the sender's.
    pub key: KeyId,
    /// By which algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The DER of SignedAttributes as a SET OF (RFC 5652 §5.4): what the signature is made over.
    pub attributes: Vec<u8>,
}

/// What the key process answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The content-encryption key, or what stands in its place (RFC 3218 §2.3.2).
    Key(Secret),
    /// The signature.
    Signature(Vec<u8>),
    /// What everybody may know of a key.
    Facts(Box<KeyFacts>),
    /// There are no more keys.
    NoMore,
    /// It is not done.
    Refused(Refusal),
}

/// Why something is not done, as far as the one who asked may know. The key process keeps the rest in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No grant allows it. Which part of it is missing is not told: who may not use a key may not find out about it.
    #[error("not granted")]
    NotGranted,
    /// Too many have failed: mail from this network stays encrypted for this key for a while.
    #[error("too many failures")]
    TooManyFailures,
    /// The key does not do that, or the mathematics failed.
    #[error("does not open")]
    Failed,
    /// The key process holds as many grants as it can, or the key works for as many mails of that network as it may at one
    /// time. Another time it may go well, and it has nothing to do with what was asked.
    #[error("too many at one time")]
    Busy,
    /// The key lies in a token that does not answer. It may later, and it has nothing to do with what was asked.
    #[error("the key is not at hand")]
    Unavailable,
}

/// What does not fit into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("longer than a frame can be")]
pub struct TooLong;

impl EdgeRequest {
    /// The whole frame.
    ///
    /// # Errors
    /// [`TooLong`], with too many recipients.
    pub fn to_frame(&self, number: u32) -> Result<Vec<u8>, TooLong> {
        let mut writer = begin(number, 1024);
        match self {
            Self::Grant(grant) => {
                if grant.recipients.len() > MAX_RECIPIENTS {
                    return Err(TooLong);
                }
                writer
                    .u8(GRANT)
                    .fixed(&grant.transaction.0)
                    .octets(grant.tenant.as_bytes())
                    .count(grant.recipients.len());
                for recipient in &grant.recipients {
                    write_address(&mut writer, recipient);
                }
                writer.u8(grant.sender.is_some().into());
                if let Some(sender) = &grant.sender {
                    write_address(&mut writer, sender);
                }
                match grant.client {
                    None => writer.u8(0),
                    Some(IpAddr::V4(client)) => writer.u8(4).fixed(&client.octets()),
                    Some(IpAddr::V6(client)) => writer.u8(6).fixed(&client.octets()),
                };
                writer.u32(grant.seconds);
            }
            Self::Release(transaction) => {
                writer.u8(RELEASE).fixed(&transaction.0);
            }
            Self::Opened {
                transaction,
                recipient,
                key,
            } => {
                writer.u8(OPENED).fixed(&transaction.0);
                write_address(&mut writer, recipient);
                writer.fixed(key.octets());
            }
            Self::Next(after) => {
                writer.u8(NEXT).u8(after.is_some().into());
                if let Some(after) = after {
                    writer.fixed(after.octets());
                }
            }
        }
        end(writer)
    }

    /// Reads a frame without its length; with the number.
    ///
    /// # Errors
    /// [`Malformed`], also for what is for workers to say.
    pub fn from_frame(frame: &[u8]) -> Result<(u32, Self), Malformed> {
        let (number, mut reader) = open(frame)?;
        let request = match reader.u8()? {
            GRANT => Self::Grant(read_grant(&mut reader)?),
            RELEASE => Self::Release(Transaction(reader.fixed()?)),
            OPENED => Self::Opened {
                transaction: Transaction(reader.fixed()?),
                recipient: address(&mut reader)?,
                key: KeyId::from_octets(reader.fixed()?),
            },
            NEXT => Self::Next(match is_there(&mut reader)? {
                true => Some(KeyId::from_octets(reader.fixed()?)),
                false => None,
            }),
            _ => return Err(Malformed("nothing that an edge says")),
        };
        reader.finish()?;
        Ok((number, request))
    }
}

impl WorkerRequest {
    /// The whole frame.
    ///
    /// # Errors
    /// [`TooLong`], with more than a layer or a signature has.
    pub fn to_frame(&self, number: u32) -> Result<Vec<u8>, TooLong> {
        let mut writer = begin(number, 1024);
        match self {
            Self::Unwrap(unwrap) => {
                writer.u8(UNWRAP).fixed(&unwrap.transaction.0);
                write_address(&mut writer, &unwrap.recipient);
                writer.fixed(unwrap.key.octets()).u32(unwrap.length);
                wrapped::write(&mut writer, &unwrap.wrapped)?;
            }
            Self::Sign(sign) => {
                if sign.attributes.len() > MAX_ATTRIBUTES {
                    return Err(TooLong);
                }
                writer
                    .u8(SIGN)
                    .fixed(&sign.transaction.0)
                    .fixed(sign.key.octets())
                    .octets(&sign.algorithm.to_identifier().to_der())
                    .octets(&sign.attributes);
            }
        }
        end(writer)
    }

    /// Reads a frame without its length; with the number.
    ///
    /// # Errors
    /// [`Malformed`], also for what is for the edge to say.
    pub fn from_frame(frame: &[u8]) -> Result<(u32, Self), Malformed> {
        let (number, mut reader) = open(frame)?;
        let request = match reader.u8()? {
            UNWRAP => Self::Unwrap(Unwrap {
                transaction: Transaction(reader.fixed()?),
                recipient: address(&mut reader)?,
                key: KeyId::from_octets(reader.fixed()?),
                length: content_key_length(reader.u32()?)?,
                wrapped: wrapped::read(&mut reader)?,
            }),
            SIGN => Self::Sign(Sign {
                transaction: Transaction(reader.fixed()?),
                key: KeyId::from_octets(reader.fixed()?),
                algorithm: signature_algorithm(&mut reader)?,
                attributes: reader.octets(MAX_ATTRIBUTES)?.to_vec(),
            }),
            _ => return Err(Malformed("nothing that a worker says")),
        };
        reader.finish()?;
        Ok((number, request))
    }
}

impl Answer {
    /// The whole frame. It may hold a key.
    ///
    /// # Errors
    /// [`TooLong`], which no key of ours is.
    pub fn to_frame(&self, number: u32) -> Result<Secret, TooLong> {
        let room = match self {
            Self::Facts(_) => MAX_FRAME,
            Self::Key(key) => key.len() + 64,
            _ => 1024,
        };
        let mut writer = begin(number, room);
        match self {
            Self::Done => writer.u8(DONE),
            Self::Key(key) => writer.u8(KEY).octets(key.expose()),
            Self::Signature(signature) => writer.u8(SIGNATURE).octets(signature),
            Self::Facts(facts) => writer.u8(FACTS).octets(&facts.to_octets()),
            Self::NoMore => writer.u8(NO_MORE),
            Self::Refused(refusal) => writer.u8(REFUSED).u8(match refusal {
                Refusal::NotGranted => 1,
                Refusal::TooManyFailures => 2,
                Refusal::Failed => 3,
                Refusal::Busy => 4,
                Refusal::Unavailable => 5,
            }),
        };
        end(writer).map(Secret::new)
    }

    /// Reads a frame without its length; with the number.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_frame(frame: &[u8]) -> Result<(u32, Self), Malformed> {
        let (number, mut reader) = open(frame)?;
        let answer = match reader.u8()? {
            DONE => Self::Done,
            KEY => Self::Key(Secret::new(reader.octets(MAX_CONTENT_KEY)?.to_vec())),
            SIGNATURE => Self::Signature(reader.octets(MAX_SIGNATURE)?.to_vec()),
            FACTS => {
                let facts = KeyFacts::from_octets(reader.octets(MAX_FACTS)?)?;
                Self::Facts(Box::new(facts))
            }
            NO_MORE => Self::NoMore,
            REFUSED => Self::Refused(match reader.u8()? {
                1 => Refusal::NotGranted,
                2 => Refusal::TooManyFailures,
                3 => Refusal::Failed,
                4 => Refusal::Busy,
                5 => Refusal::Unavailable,
                _ => return Err(Malformed("an unknown refusal")),
            }),
            _ => return Err(Malformed("nothing that a key process says")),
        };
        reader.finish()?;
        Ok((number, answer))
    }
}

/// A frame up to what it is, with room so that it need not grow. The length is set when it has ended.
fn begin(number: u32, room: usize) -> Writer {
    let mut writer = Writer::with_room(room);
    writer.u32(0).u8(VERSION).u32(number);
    writer
}

fn end(writer: Writer) -> Result<Vec<u8>, TooLong> {
    let mut frame = writer.finish();
    let length = frame.len().saturating_sub(LENGTH);
    let head = frame.first_chunk_mut::<LENGTH>().ok_or(TooLong)?;
    *head = u32::try_from(length).map_err(|_| TooLong)?.to_be_bytes();
    if length > MAX_FRAME {
        // It may hold a key.
        drop(Secret::new(frame));
        return Err(TooLong);
    }
    Ok(frame)
}

fn open(frame: &[u8]) -> Result<(u32, Reader<'_>), Malformed> {
    if frame.len() > MAX_FRAME {
        return Err(Malformed("longer than a frame can be"));
    }
    let mut reader = Reader::new(frame);
    if reader.u8()? != VERSION {
        return Err(Malformed("another version of the protocol"));
    }
    Ok((reader.u32()?, reader))
}

fn read_grant(reader: &mut Reader<'_>) -> Result<Grant, Malformed> {
    let transaction = Transaction(reader.fixed()?);
    let tenant = tenant(reader)?;
    let count = reader.count(MAX_RECIPIENTS)?;
    let mut recipients = Vec::new();
    for _ in 0..count {
        recipients.push(address(reader)?);
    }
    let sender = match is_there(reader)? {
        true => Some(address(reader)?),
        false => None,
    };
    let client = match reader.u8()? {
        0 => None,
        4 => Some(IpAddr::from(reader.fixed::<4>()?)),
        6 => Some(IpAddr::from(reader.fixed::<16>()?)),
        _ => return Err(Malformed("an unknown kind of network")),
    };
    Ok(Grant {
        transaction,
        tenant,
        recipients,
        sender,
        client,
        seconds: reader.u32()?,
    })
}

fn write_address(writer: &mut Writer, address: &Address) {
    writer.octets(address.to_string().as_bytes());
}

fn is_there(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("neither there nor absent")),
    }
}

fn content_key_length(length: u32) -> Result<u32, Malformed> {
    match usize::try_from(length) {
        Ok(1..=MAX_CONTENT_KEY) => Ok(length),
        _ => Err(Malformed("no length of a content-encryption key")),
    }
}

fn signature_algorithm(reader: &mut Reader<'_>) -> Result<SignatureAlgorithm, Malformed> {
    let identifier = identifier(reader)?;
    SignatureAlgorithm::from_identifier(&identifier)
        .map_err(|_| Malformed("an unknown signature algorithm"))
}

fn identifier(reader: &mut Reader<'_>) -> Result<AlgorithmIdentifier, Malformed> {
    AlgorithmIdentifier::from_der(reader.octets(MAX_IDENTIFIER)?)
        .map_err(|_| Malformed("no AlgorithmIdentifier"))
}

/// Octets before a frame that say how long it is.
pub(crate) const LENGTH: usize = 4;
/// Octets of a content-encryption key, at most.
const MAX_CONTENT_KEY: usize = 64;
/// Octets of SignedAttributes, at most.
pub(crate) const MAX_ATTRIBUTES: usize = 16 << 10;
const MAX_SIGNATURE: usize = 16 << 10;
const MAX_IDENTIFIER: usize = 1024;
const VERSION: u8 = 1;

const GRANT: u8 = 1;
const RELEASE: u8 = 2;
const OPENED: u8 = 3;
const NEXT: u8 = 4;
const UNWRAP: u8 = 16;
const SIGN: u8 = 17;
const DONE: u8 = 32;
const KEY: u8 = 33;
const SIGNATURE: u8 = 34;
const FACTS: u8 = 35;
const NO_MORE: u8 = 36;
const REFUSED: u8 = 37;

#[cfg(test)]
mod tests;
