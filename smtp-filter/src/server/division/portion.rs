//! The groups of a divided mail: what each gets, and what came of it.

use super::super::{hop::Hop, keeping::unfit};
use crate::{Confided, Edit, Fate, Group, MailBytes, Outgoing, Reply, Share};

/// One group and what it gets.
pub(super) struct Portion<'a> {
    pub(super) recipients: Vec<usize>,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    Mail(Outgoing),
    Confided(Outgoing, &'a Confided),
    Held(Outgoing, &'a str),
    Refusal(&'a Reply),
    Nothing,
}

/// A group that is sent on.
pub(super) struct Leg<'a> {
    pub(super) recipients: &'a [usize],
    pub(super) outgoing: &'a Outgoing,
    pub(super) confided: Option<&'a Confided>,
}

impl Leg<'_> {
    /// As what refusal it counts that the content is not sent, where it is not.
    pub(super) fn unsent(&self, hop: &Hop) -> Option<Reply> {
        unfit(hop, self.has_own_eight_bit())
    }

    /// Whether it has octets above 127 of which the client has not said a word.
    fn has_own_eight_bit(&self) -> bool {
        let own = self.confided.is_some_and(|one| one.content.is_some());
        own && !self.outgoing.is_ascii()
    }
}

impl<'a> Portion<'a> {
    /// `None` where an edit would break a line, or a refusal is none: a filter's mistake.
    pub(super) fn of(group: &'a Group, raw: &MailBytes, received: &[u8]) -> Option<Self> {
        let edited = |edits: &[Edit]| Outgoing::new(raw.clone(), received, edits);
        let what = match &group.share {
            Share::Relay(edits) => What::Mail(edited(edits)?),
            Share::Confide(confided) => {
                let own = confided.content.as_ref().unwrap_or(raw);
                let outgoing = Outgoing::new(own.clone(), received, &confided.edits)?;
                What::Confided(outgoing, confided)
            }
            Share::Hold { edits, reason } => What::Held(edited(edits)?, reason),
            Share::Refuse(reply) if reply.code() >= 400 => What::Refusal(reply),
            Share::Refuse(_) => return None,
            Share::Had => What::Nothing,
        };
        Some(Self {
            recipients: group.recipients.clone(),
            what,
        })
    }

    /// The group, if it is sent on.
    pub(super) fn leg(&self) -> Option<Leg<'_>> {
        let (outgoing, confided) = match &self.what {
            What::Mail(outgoing) => (outgoing, None),
            What::Confided(outgoing, confided) => (outgoing, Some(*confided)),
            What::Held(..) | What::Refusal(_) | What::Nothing => return None,
        };
        Some(Leg {
            recipients: &self.recipients,
            outgoing,
            confided,
        })
    }

    /// The group, if the filter keeps its copy: who, what, and why.
    pub(super) fn held(&self) -> Option<(&[usize], &Outgoing, &str)> {
        match &self.what {
            What::Held(content, reason) => Some((self.recipients.as_slice(), content, *reason)),
            _ => None,
        }
    }
}

/// How it stands with one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Accepted(Reply, Fate),
    Refused(Reply, Fate),
}

impl Standing {
    pub(super) fn of((reply, fate): (Reply, Fate)) -> Self {
        match fate {
            Fate::Relayed | Fate::Held => Self::Accepted(reply, fate),
            _ => Self::Refused(reply, fate),
        }
    }
}
