//! What a worker asks while it has a mail, and what it is told, as octets.

use kenin_keys::KeyId;
use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_keys::protocol::Transaction;
use kenin_pki::address::Address;
use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::{AbridgedCrl, RevocationReason, RevokedEntry};
use kenin_pki::crypto::SignatureAlgorithm;
use kenin_pki::ocsp::OcspResponse;
use kenin_policy::{Question, protect};

use super::{Coded, coded, coded_by_number};
use crate::opening::{Answers, Arrival, Closed, NoRoom};

/// Something asked.
#[derive(Clone, Debug)]
pub(in crate::worker) enum Ask {
    /// What a decision lacks.
    Questions(Vec<Question>),
    /// The entry of a list that the edge keeps.
    Entry {
        /// SHA-256 of the list.
        list: [u8; 32],
        /// The number of the issuer in it.
        issuer: u32,
        /// The serial number (content octets).
        serial: Vec<u8>,
    },
    /// A signature under the statement about the mail (what stands before the second dot of the JWS).
    Statement(Vec<u8>),
    /// A signature under what the mail is wrapped in: over SignedAttributes (RFC 5652 §5.4).
    Wrapping(SignatureAlgorithm, Vec<u8>),
    /// What the plan of its protection lacks.
    Protection(Vec<protect::Question>),
    /// A signature as its author: over SignedAttributes.
    Author(SignatureAlgorithm, Vec<u8>),
    /// What it takes to open it.
    Office(Errand),
}

/// What is to be done for a mail that is opened.
#[derive(Clone, Debug)]
pub(in crate::worker) enum Errand {
    /// The key process is to know of it.
    Grant,
    /// A layer of it is let in.
    Admit(Arrival),
    /// Room for so many octets, which may be waited for or not.
    Room(usize, bool),
    /// Uses of keys that were no guesses, and what messages are called that answers name, by digests.
    Opened(Vec<(Address, KeyId)>, Vec<[u8; 32]>),
}

/// The answer to a question of a decision.
#[derive(Clone, Debug)]
pub(in crate::worker) enum Given {
    /// Certificates of issuers.
    Issuers(Vec<Certificate>),
    /// What says something of a status.
    Status {
        /// Revocation lists.
        lists: Vec<List>,
        /// OCSP responses.
        ocsp: Vec<OcspResponse>,
        /// Whether somebody was left unasked.
        unasked: bool,
    },
    /// Whether it is registered.
    Registered(bool),
    /// Could not be found out, because.
    Unavailable(String),
}

/// What is told.
#[derive(Clone, Debug)]
pub(in crate::worker) enum Told {
    /// What the decision lacked, in the order in which it was asked.
    Given(Vec<Given>),
    /// The entry, if there is one.
    Entry(Option<RevokedEntry>),
    /// The signature, if there is to be one.
    Signature(Option<Vec<u8>>),
    /// What the plan lacked.
    Protection(Vec<protect::Answered>),
    /// Under what the key process knows the mail; nothing where it does not.
    Granted(Option<Transaction>),
    /// The layer is let in.
    Admitted {
        /// For each digest, whom an answer to the first mail with that went to.
        firsts: Vec<Vec<u8>>,
        /// Under what the key process knows the mail, where a key is to work for it.
        granted: Option<Transaction>,
    },
    /// It is done.
    Done,
    /// It cannot be done now, for want of memory or of the store.
    Closed(Closed),
    /// There is no room, now or ever.
    NoRoom(NoRoom),
}

coded!(Answers {
    digest,
    sender,
    message_id,
});

coded!(Arrival {
    message_ids,
    digests,
    answers,
    octets,
    wait,
    grant,
});

coded_by_number!(Closed: Memory = 0, Record = 1, Full = 2, Storage = 3);
coded_by_number!(NoRoom: Now = 0, Ever = 1);

impl Coded for Errand {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Grant => {
                out.u8(0);
            }
            Self::Admit(arrival) => {
                out.u8(1);
                arrival.write(out);
            }
            Self::Room(octets, wait) => {
                out.u8(2);
                octets.write(out);
                wait.write(out);
            }
            Self::Opened(used, message_ids) => {
                out.u8(3);
                used.write(out);
                message_ids.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::Grant),
            1 => Coded::read(from).map(Self::Admit),
            2 => Ok(Self::Room(Coded::read(from)?, Coded::read(from)?)),
            3 => Ok(Self::Opened(Coded::read(from)?, Coded::read(from)?)),
            _ => Err(Malformed("an unknown errand")),
        }
    }
}

impl Coded for KeyId {
    fn write(&self, out: &mut Writer) {
        out.fixed(self.octets());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.fixed().map(Self::from_octets)
    }
}

/// A revocation list.
#[derive(Clone, Debug)]
pub(in crate::worker) enum List {
    /// One that the worker has been told of before, by its SHA-256.
    Known([u8; 32]),
    /// In DER.
    Whole(Vec<u8>),
    /// One whose entries the edge keeps.
    Afar(AbridgedCrl),
    /// One whose entries nobody has at hand.
    Absent(AbridgedCrl),
}

coded!(AbridgedCrl {
    der,
    sha256,
    tbs_digest,
    issuers,
    unknown_critical,
    entries,
});

coded!(RevokedEntry {
    date,
    reason,
    invalidity_date,
});

impl Coded for Ask {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Questions(questions) => {
                out.u8(0);
                questions.write(out);
            }
            Self::Entry {
                list,
                issuer,
                serial,
            } => {
                out.u8(1);
                list.write(out);
                issuer.write(out);
                serial.write(out);
            }
            Self::Statement(statement) => {
                out.u8(2);
                statement.write(out);
            }
            Self::Wrapping(algorithm, attributes) => {
                out.u8(3);
                out.octets(&algorithm.to_identifier().to_der());
                attributes.write(out);
            }
            Self::Protection(questions) => {
                out.u8(4);
                questions.write(out);
            }
            Self::Author(algorithm, attributes) => {
                out.u8(5);
                out.octets(&algorithm.to_identifier().to_der());
                attributes.write(out);
            }
            Self::Office(errand) => {
                out.u8(6);
                errand.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Questions),
            1 => Ok(Self::Entry {
                list: Coded::read(from)?,
                issuer: Coded::read(from)?,
                serial: Coded::read(from)?,
            }),
            2 => Coded::read(from).map(Self::Statement),
            3 => Ok(Self::Wrapping(algorithm(from)?, Coded::read(from)?)),
            4 => Coded::read(from).map(Self::Protection),
            5 => Ok(Self::Author(algorithm(from)?, Coded::read(from)?)),
            6 => Coded::read(from).map(Self::Office),
            _ => Err(Malformed("an unknown question")),
        }
    }
}

fn algorithm(from: &mut Reader<'_>) -> Result<SignatureAlgorithm, Malformed> {
    let identifier = AlgorithmIdentifier::from_der(from.octets(MAX_IDENTIFIER)?)
        .map_err(|_| Malformed("no AlgorithmIdentifier"))?;
    SignatureAlgorithm::from_identifier(&identifier)
        .map_err(|_| Malformed("an unknown signature algorithm"))
}

impl Coded for Question {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Issuers {
                name,
                key_id,
                child,
            } => {
                out.u8(0);
                name.write(out);
                key_id.write(out);
                child.write(out);
            }
            Self::Status {
                certificate,
                issuer,
                candidates,
            } => {
                out.u8(1);
                certificate.write(out);
                issuer.write(out);
                candidates.to_vec().write(out);
            }
            Self::Registration {
                certificate,
                address,
            } => {
                out.u8(2);
                certificate.write(out);
                address.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::Issuers {
                name: Coded::read(from)?,
                key_id: Coded::read(from)?,
                child: Coded::read(from)?,
            }),
            1 => Ok(Self::Status {
                certificate: Coded::read(from)?,
                issuer: Coded::read(from)?,
                candidates: Vec::<Certificate>::read(from)?.into(),
            }),
            2 => Ok(Self::Registration {
                certificate: Coded::read(from)?,
                address: Coded::read(from)?,
            }),
            _ => Err(Malformed("an unknown question")),
        }
    }
}

impl Coded for Given {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Issuers(found) => {
                out.u8(0);
                found.write(out);
            }
            Self::Status {
                lists,
                ocsp,
                unasked,
            } => {
                out.u8(1);
                lists.write(out);
                ocsp.write(out);
                unasked.write(out);
            }
            Self::Registered(registered) => {
                out.u8(2);
                registered.write(out);
            }
            Self::Unavailable(why) => {
                out.u8(3);
                why.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Issuers),
            1 => Ok(Self::Status {
                lists: Coded::read(from)?,
                ocsp: Coded::read(from)?,
                unasked: Coded::read(from)?,
            }),
            2 => Coded::read(from).map(Self::Registered),
            3 => Coded::read(from).map(Self::Unavailable),
            _ => Err(Malformed("an unknown answer")),
        }
    }
}

impl Coded for Told {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Given(given) => {
                out.u8(0);
                given.write(out);
            }
            Self::Entry(entry) => {
                out.u8(1);
                entry.write(out);
            }
            Self::Signature(signature) => {
                out.u8(2);
                signature.write(out);
            }
            Self::Protection(answered) => {
                out.u8(3);
                answered.write(out);
            }
            Self::Granted(transaction) => {
                out.u8(4);
                transaction.write(out);
            }
            Self::Admitted { firsts, granted } => {
                out.u8(5);
                firsts.write(out);
                granted.write(out);
            }
            Self::Done => {
                out.u8(6);
            }
            Self::Closed(why) => {
                out.u8(7);
                why.write(out);
            }
            Self::NoRoom(why) => {
                out.u8(8);
                why.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Given),
            1 => Coded::read(from).map(Self::Entry),
            2 => Coded::read(from).map(Self::Signature),
            3 => Coded::read(from).map(Self::Protection),
            4 => Coded::read(from).map(Self::Granted),
            5 => Ok(Self::Admitted {
                firsts: Coded::read(from)?,
                granted: Coded::read(from)?,
            }),
            6 => Ok(Self::Done),
            7 => Coded::read(from).map(Self::Closed),
            8 => Coded::read(from).map(Self::NoRoom),
            _ => Err(Malformed("an unknown answer")),
        }
    }
}

impl Coded for List {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Known(sha256) => {
                out.u8(0);
                sha256.write(out);
            }
            Self::Whole(der) => {
                out.u8(1);
                der.write(out);
            }
            Self::Afar(parts) => {
                out.u8(2);
                parts.write(out);
            }
            Self::Absent(parts) => {
                out.u8(3);
                parts.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Known),
            1 => Coded::read(from).map(Self::Whole),
            2 => Coded::read(from).map(Self::Afar),
            3 => Coded::read(from).map(Self::Absent),
            _ => Err(Malformed("an unknown kind of list")),
        }
    }
}

impl Coded for RevocationReason {
    fn write(&self, out: &mut Writer) {
        out.u8(self.code());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self::from_code(from.u8()?.into()))
    }
}

const MAX_IDENTIFIER: usize = 1024;
