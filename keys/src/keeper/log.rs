//! What the key process writes down: every request, and what came of it.

use std::time::Duration;

use kenin_pki::Address;

use super::{Moment, Network};
use crate::key::KeyId;
use crate::protocol::Transaction;

/// Where it is written. Nobody who asks for a key can reach it.
pub trait Log {
    /// Writes one event down; whether it could. No key works of which that cannot be.
    fn record(&mut self, at: Moment, event: &Event) -> bool;
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The edge has announced a mail.
    Grant {
        /// Which.
        transaction: Transaction,
        /// Whose keys.
        tenant: String,
        /// To how many.
        recipients: usize,
        /// From where.
        network: Network,
        /// What came of it.
        outcome: Outcome,
    },
    /// The mail has ended.
    Released {
        /// Which.
        transaction: Transaction,
    },
    /// A worker wants a content-encryption key.
    Unwrap {
        /// Of which mail.
        transaction: Transaction,
        /// For whom.
        recipient: Address,
        /// With which key.
        key: KeyId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A worker wants a signature.
    Sign {
        /// Of which mail.
        transaction: Transaction,
        /// With which key.
        key: KeyId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The edge says that a layer has opened.
    Opened {
        /// Of which mail.
        transaction: Transaction,
        /// For whom.
        recipient: Address,
        /// With which key.
        key: KeyId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The edge was told what everybody may know of a key.
    Shown {
        /// Of which; nothing where there are no more.
        key: Option<KeyId>,
    },
    /// A key that was to work was not at hand.
    Away {
        /// For which mail.
        transaction: Transaction,
        /// Which key.
        key: KeyId,
    },
    /// A key was to work, and did not: too many answers waited already.
    Unused {
        /// For which mail.
        transaction: Transaction,
        /// Which key.
        key: KeyId,
    },
    /// More was refused to workers than is written down one by one.
    Untold {
        /// How often, since this was last said.
        refusals: u64,
    },
    /// Connections were turned away: too many are heard at one time, or there can be no more threads.
    TurnedAway {
        /// How many, since this was last said.
        connections: u64,
    },
    /// Somebody should look at it.
    Alert(Alert),
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Admitted,
    /// It is done, later.
    Delayed,
    /// It is not done.
    Refused(Why),
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// No such mail was announced, or it has ended.
    NoGrant,
    /// It is not the mail that the connection is for.
    AnotherMail,
    /// The grant has expired, or it is so long ago that nothing is known of it.
    Expired,
    /// The mail does not go to that recipient.
    NotRecipient,
    /// Nobody is proven to have sent it.
    NotSender,
    /// It is not the key of that recipient or sender, or there is none of that id.
    NotTheirs,
    /// The key does not do that, or does it no more, or not by that algorithm.
    NotForThat,
    /// What is to be signed is not what a mail is signed over.
    NotOfMail,
    /// The key has worked often enough for one mail.
    Spent,
    /// Too many have failed from that network for that key.
    TooManyFailures,
    /// The key has worked more often within an hour than mail comes.
    TooMuchWork,
    /// The key works for as many mails of that network as it may at one time.
    Busy,
    /// The mail was announced before.
    GrantedBefore,
    /// Too many mails are announced.
    Full,
    /// There was no use of a key that could have opened a layer.
    NotUsed,
}

impl Why {
    /// A few words, as a log has them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoGrant => "no such mail",
            Self::AnotherMail => "another mail's connection",
            Self::Expired => "expired",
            Self::NotRecipient => "not a recipient",
            Self::NotSender => "no proven sender",
            Self::NotTheirs => "not their key",
            Self::NotForThat => "not what the key is for",
            Self::NotOfMail => "not what a mail is signed over",
            Self::Spent => "used too often for one mail",
            Self::TooManyFailures => "too many failures",
            Self::TooMuchWork => "used too often within an hour",
            Self::Busy => "too many at one time",
            Self::GrantedBefore => "announced before",
            Self::Full => "too many mails",
            Self::NotUsed => "not used",
        }
    }

    /// Whether only a worker that has been taken over, or a mistake of ours, asks for it.
    #[must_use]
    pub const fn is_hostile(self) -> bool {
        match self {
            Self::NoGrant
            | Self::AnotherMail
            | Self::NotRecipient
            | Self::NotSender
            | Self::NotTheirs
            | Self::NotForThat
            | Self::NotOfMail
            | Self::Spent
            | Self::GrantedBefore
            | Self::NotUsed => true,
            Self::Expired | Self::TooManyFailures | Self::TooMuchWork | Self::Busy | Self::Full => {
                false
            }
        }
    }
}

/// What somebody should look at. Each is raised once an hour at most for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alert {
    /// Mail from this network fails for this key as often as is allowed; it stays encrypted from now on.
    Network {
        /// Which key.
        key: KeyId,
        /// Which network.
        network: Network,
    },
    /// Mail from everywhere fails for this key; its answers are delayed.
    Key {
        /// Which key.
        key: KeyId,
    },
    /// The key works more often than mail comes; it does no more until an hour has fewer uses. The edge may be taken over.
    Work {
        /// Which key.
        key: KeyId,
    },
    /// What nobody should ask for was asked for, more than once.
    Hostile,
}

/// Connections that were turned away. They come as fast as mail does, so that only so often something is said of them.
#[derive(Default)]
pub(super) struct TurnedAway {
    said: Option<Moment>,
    unsaid: u64,
}

impl TurnedAway {
    /// Counts one.
    pub(super) const fn one_more(&mut self) {
        self.unsaid = self.unsaid.saturating_add(1);
    }

    /// How many are to be told of now, each of them once.
    pub(super) fn due(&mut self, now: Moment) -> Option<u64> {
        let said = self.said;
        let is_due = said.is_none_or(|said| now.saturating_sub(said) >= MINUTE);
        (is_due && self.unsaid > 0).then(|| {
            self.said = Some(now);
            std::mem::take(&mut self.unsaid)
        })
    }
}

const MINUTE: Duration = Duration::from_secs(60);
