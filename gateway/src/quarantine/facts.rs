//! What is known of a held mail beside its content. It is sealed with it: who wrote to whom is no less private than
//! what.

use std::time::Duration;

use kenin_pki::time::UnixTime;
use kenin_smtp_filter::{Body, Held, Recipient};
use serde::{Deserialize, Serialize};

use crate::clock::{Moment, unix_time};

/// The facts of one held mail. Fields that are added have a default, and those that are not known are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Whose mail it is.
    pub(crate) tenant: String,
    /// The id that log and `Received` have for its transaction.
    pub(crate) transaction: String,
    /// The envelope sender; empty for the null sender.
    pub(crate) from: String,
    /// Who is told of what becomes of it when it is released: the sender, or somebody else in his place, or nobody.
    pub(crate) return_path: String,
    /// For whom it is.
    pub(crate) recipients: Vec<To>,
    /// Whether its transaction needed SMTPUTF8.
    pub(crate) smtputf8: bool,
    /// Whether its sender declared BODY=8BITMIME.
    pub(crate) eight_bit: bool,
    /// The address that it came from.
    pub(crate) client: String,
    /// Why it is held.
    pub(crate) why: Why,
    /// When that was, in seconds since 1970.
    pub(crate) held: i64,
    /// Until when it is kept; for ever where nobody could say what time it was.
    pub(crate) until: Option<i64>,
    /// Octets of the mail.
    pub(crate) size: u64,
}

/// A recipient, as RCPT named him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct To {
    /// The forward path without its angle brackets.
    pub(crate) address: String,
    /// NOTIFY= (RFC 3461).
    pub(crate) notify: Option<String>,
    /// ORCPT=, in xtext.
    pub(crate) orcpt: Option<String>,
}

/// Why a mail is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Why {
    /// A rule of `mail.toml` says so.
    Rule {
        /// In one line.
        reason: String,
    },
    /// The next hop refused it, and its sender was not to hear that.
    Refused {
        /// What it is, in one line.
        reason: String,
        /// What the next hop said. It may tell of the content.
        reply: String,
    },
}

impl Why {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Rule { reason } | Self::Refused { reason, .. } => reason,
        }
    }
}

impl Facts {
    /// Those of a copy that is to be held now, for so long.
    pub(super) fn of(held: &Held, tenant: &str, now: Moment, keep: Duration) -> Self {
        let envelope = &held.envelope;
        let recipient = |place: &usize| {
            let Recipient {
                address,
                notify,
                orcpt,
            } = envelope.rcpt_to.get(*place)?.clone();
            Some(To {
                address,
                notify,
                orcpt,
            })
        };
        let time = unix_time(now.time);
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        let reason = held.reason.clone();
        Self {
            tenant: tenant.to_owned(),
            transaction: envelope.id.clone(),
            from: envelope.mail_from.clone(),
            return_path: held.sender.clone(),
            recipients: held.recipients.iter().filter_map(recipient).collect(),
            smtputf8: envelope.smtputf8,
            eight_bit: envelope.body == Body::EightBitMime,
            client: envelope.client.ip().to_string(),
            why: match &held.refusal {
                None => Why::Rule { reason },
                Some(reply) => Why::Refused {
                    reason,
                    reply: reply.to_string(),
                },
            },
            held: time.0,
            // By a clock that was ahead it would be kept far too long, by one of the past not at all.
            until: now.trust.is_trusted().then(|| time.plus(keep).0),
            size: held.content.size(),
        }
    }

    /// Whether somebody other than its sender has to be told of it, and its sender of nothing.
    pub(crate) fn is_confided(&self) -> bool {
        matches!(self.why, Why::Refused { .. })
    }

    /// Whether it is no longer kept.
    pub(crate) fn is_due(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| until <= now.0)
    }

    /// The octets that are sealed; nothing where they are more than a reader takes.
    pub(super) fn to_octets(&self) -> Option<Vec<u8>> {
        let octets = serde_json::to_vec(self).ok()?;
        (octets.len() <= MAX_FACTS).then_some(octets)
    }

    /// Reads what [`Facts::to_octets`] wrote.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        serde_json::from_slice(octets).ok()
    }
}

/// Octets of the facts, at most: those of ten thousand recipients with all their parameters.
pub(super) const MAX_FACTS: usize = 16 << 20;

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kenin_smtp_filter::{Division, Outgoing, Reply};

    use super::*;
    use crate::clock::Trust;
    use crate::pipeline::tests::mail_to;

    /// A copy of a mail for some of its recipients.
    pub(crate) fn copy(raw: &str, refusal: Option<&str>) -> Held {
        let to = ["a@x.example", "b@x.example", "c@x.example"];
        let mail = mail_to(&to, raw, Division::Copies);
        Held {
            envelope: mail.envelope,
            recipients: vec![0, 2, 7],
            sender: "return@gw.example".to_owned(),
            content: Outgoing::new(mail.raw, b"Received: by me\r\n", &[]).unwrap(),
            reason: "odd".to_owned(),
            refusal: refusal.map(|text| Reply::new(550, "5.7.1", text)),
        }
    }

    pub(crate) fn moment(seconds: u64, trust: Trust) -> Moment {
        Moment {
            time: UNIX_EPOCH + Duration::from_secs(seconds),
            trust,
        }
    }

    #[test]
    fn facts_are_those_of_the_copy() {
        let now = moment(1_800_000_000, Trust::Yes);
        let keep = Duration::from_secs(86_400);
        let facts = Facts::of(&copy("x: y\r\n", Some("bad words")), "t", now, keep);
        assert_eq!(facts.size, 23);
        let to: Vec<&str> = facts
            .recipients
            .iter()
            .map(|to| to.address.as_str())
            .collect();
        assert_eq!(to, ["a@x.example", "c@x.example"]);
        assert_eq!(facts.from, "alice@example.org");
        assert_eq!(facts.return_path, "return@gw.example");
        assert_eq!(facts.until, Some(1_800_086_400));
        let reply = "550 5.7.1 bad words".to_owned();
        let reason = "odd".to_owned();
        assert_eq!(facts.why, Why::Refused { reason, reply });
        assert!(!facts.is_due(UnixTime(1_800_086_399)));
        assert!(facts.is_due(UnixTime(1_800_086_400)));
        let octets = facts.to_octets().unwrap();
        assert_eq!(Facts::from_octets(&octets), Some(facts));
        assert_eq!(Facts::from_octets(&octets[1..]), None);
    }

    /// A wrong clock must not throw mail away.
    #[test]
    fn what_is_held_while_the_clock_is_not_trusted_is_kept() {
        let now = moment(0, Trust::Jumped);
        let facts = Facts::of(&copy("x: y\r\n", None), "t", now, Duration::from_secs(1));
        assert_eq!(facts.until, None);
        assert!(!facts.is_due(UnixTime(i64::MAX)));
    }
}
