//! A mail whose recipients are treated differently: a transaction for each group.
//!
//! Under LMTP every recipient is answered, and the groups go one after the other. Under SMTP there is
//! one answer. So all mails are sent up to but not including the dot, then the dots; and when the
//! outcomes differ all the same, what was accepted is remembered for the client's next try, or a
//! refusal that no try can change is told to the sender by a notification.

use std::sync::Arc;

use super::{ServerConfig, hop::Hop};
use crate::{
    Body, Envelope, Fate, Filter, Group, Mail, MailBytes, Recipient, Reply, Share, XForward,
    client::Sender, dsn, outgoing::Outgoing, received::received_field,
};

/// A mail, its groups, and whom to ask.
pub(super) struct DividedMail<'a> {
    mail: &'a Mail,
    groups: Vec<Portion<'a>>,
    config: &'a ServerConfig,
    filter: &'a Arc<dyn Filter>,
    eight_bit: bool,
}

/// One group and what it gets.
struct Portion<'a> {
    recipients: Vec<usize>,
    what: What<'a>,
}

enum What<'a> {
    Mail(Outgoing),
    Refusal(&'a Reply),
    Nothing,
}

/// How it stands with one group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Accepted(Reply),
    Refused(Reply, Fate),
}

impl<'a> DividedMail<'a> {
    /// `None` where the groups are no division of the recipients, or an edit would break a line: a
    /// filter's mistake.
    pub(super) fn new(
        mail: &'a Mail,
        groups: &'a [Group],
        config: &'a ServerConfig,
        filter: &'a Arc<dyn Filter>,
        eight_bit: bool,
    ) -> Option<Self> {
        if !is_division(groups, mail.envelope.rcpt_to.len()) || groups.len() > MAX_GROUPS {
            return None;
        }
        let received = received_field(&mail.envelope, &config.hostname, filter.now());
        let portion = |group: &'a Group| {
            let what = match &group.share {
                Share::Relay(edits) => {
                    What::Mail(Outgoing::new(mail.raw.clone(), &received, edits)?)
                }
                Share::Refuse(reply) if reply.code() >= 400 => What::Refusal(reply),
                Share::Refuse(_) => return None,
                Share::Had => What::Nothing,
            };
            Some(Portion {
                recipients: group.recipients.clone(),
                what,
            })
        };
        Some(Self {
            mail,
            groups: groups.iter().map(portion).collect::<Option<_>>()?,
            config,
            filter,
            eight_bit,
        })
    }

    /// One group after the other, and an answer for each recipient (LMTP).
    pub(super) async fn answer_each(&self, hop: &mut Hop) -> (Vec<Reply>, Fate) {
        let mut replies = vec![Reply::aborted(); self.envelope().rcpt_to.len()];
        let mut fates = Vec::new();
        let mut tell = |place: usize, reply: &Reply| {
            if let Some(told) = replies.get_mut(place) {
                told.clone_from(reply);
            }
        };
        for group in &self.groups {
            let outgoing = match &group.what {
                What::Mail(outgoing) => outgoing,
                What::Refusal(reply) => {
                    group
                        .recipients
                        .iter()
                        .for_each(|place| tell(*place, reply));
                    fates.push(Fate::Refused);
                    continue;
                }
                What::Nothing => {
                    group
                        .recipients
                        .iter()
                        .for_each(|place| tell(*place, &had()));
                    continue;
                }
            };
            let recipients = self.recipients(&group.recipients);
            let (standing, refused) = match hop
                .begin(self.envelope(), &recipients, self.eight_bit)
                .await
            {
                Err(reply) => ((reply, Fate::NextHopRefused), Vec::new()),
                Ok(refused) if refused.iter().all(Option::is_some) => {
                    hop.abort().await;
                    ((Reply::aborted(), Fate::NextHopRefused), refused)
                }
                Ok(refused) => (hop.finish(outgoing).await, refused),
            };
            for (at, place) in group.recipients.iter().enumerate() {
                let own = refused.get(at).and_then(Option::as_ref);
                tell(*place, own.unwrap_or(&standing.0));
            }
            fates.push(standing.1);
        }
        (replies, alike(&fates))
    }

    /// All groups or none, as far as it can be done, and one answer (SMTP).
    pub(super) async fn answer_once(&self, hop: &mut Hop) -> (Reply, Fate) {
        let had = self.places(|what| matches!(what, What::Nothing));
        let refusals = self.refusals();
        // What another try may change is not told to the sender as final; what is final and cannot be
        // told by a notification is refused before anybody has the mail.
        if had.is_empty()
            && let Some(reply) = self.untellable(&refusals)
        {
            return (reply, Fate::Refused);
        }
        let relayed: Vec<&Portion<'_>> = self
            .groups
            .iter()
            .filter(|group| matches!(group.what, What::Mail(_)))
            .collect();
        let mut hops = Vec::new();
        if let Err(reply) = self.hold_all(hop, &mut hops, &relayed).await {
            hop.let_go();
            if had.is_empty() || reply.is_transient() {
                return (reply, Fate::NextHopRefused);
            }
            // Somebody has the mail since an earlier try.
            let rest = relayed.iter().flat_map(|group| &group.recipients);
            let failed = rest.map(|place| (*place, reply.clone())).collect();
            return self.settle(hop, had, Vec::new(), failed).await;
        }
        // Without a group that gets it now there is no dot.
        let standings = match relayed.is_empty() {
            true => Vec::new(),
            false => release_all(hop, &mut hops, !had.is_empty()).await,
        };
        // The client waits, and the next hop may take its time for a goodbye.
        for mut hop in hops {
            tokio::spawn(async move { hop.leave().await });
        }
        let mut accepted = Vec::new();
        let mut failed = Vec::new();
        for (at, group) in relayed.iter().enumerate() {
            match standings.get(at) {
                Some(Standing::Accepted(_)) => accepted.extend(&group.recipients),
                Some(Standing::Refused(reply, fate)) => {
                    if accepted.is_empty() && had.is_empty() {
                        return (reply.clone(), *fate);
                    }
                    failed.extend(group.recipients.iter().map(|place| (*place, reply.clone())));
                }
                None => {}
            }
        }
        if relayed.is_empty() && had.is_empty() {
            let first = refusals.first().map(|(_, reply)| reply.clone());
            return (first.unwrap_or_else(Reply::aborted), Fate::Refused);
        }
        failed.extend(refusals);
        let answer = standings.iter().rev().find_map(|standing| match standing {
            Standing::Accepted(reply) => Some(reply.clone()),
            Standing::Refused(..) => None,
        });
        if failed.is_empty() {
            return (answer.unwrap_or_else(self::had), Fate::Relayed);
        }
        self.settle(hop, had, accepted, failed).await
    }

    /// Some have the mail, some do not.
    async fn settle(
        &self,
        hop: &mut Hop,
        had: Vec<usize>,
        accepted: Vec<usize>,
        failed: Vec<(usize, Reply)>,
    ) -> (Reply, Fate) {
        if let Some((_, reply)) = failed.iter().find(|(_, reply)| reply.is_transient()) {
            self.remember(accepted).await;
            return (reply.clone(), Fate::Divided);
        }
        let told = self.notify(hop, &failed).await;
        if told.is_positive() {
            return (
                Reply::new(
                    250,
                    "2.0.0",
                    "Delivered to some recipients, the sender is told of the others",
                ),
                Fate::Divided,
            );
        }
        tracing::error!(
            id = %self.envelope().id,
            reply = %told,
            delivered = accepted.len() + had.len(),
            failed = failed.len(),
            "the next hop does not take the notification of a failed recipient"
        );
        if told.is_transient() {
            self.remember(accepted).await;
            return (told, Fate::Divided);
        }
        // The client tells the sender, of all recipients: too much is said, but nothing is kept quiet.
        let first = failed.into_iter().next().map(|(_, reply)| reply);
        (first.unwrap_or_else(Reply::aborted), Fate::Divided)
    }

    /// Begins a transaction for each group, and sends its mail up to the dot.
    async fn hold_all(
        &self,
        hop: &mut Hop,
        hops: &mut Vec<Hop>,
        relayed: &[&Portion<'_>],
    ) -> Result<(), Reply> {
        for (at, group) in relayed.iter().enumerate() {
            let What::Mail(outgoing) = &group.what else {
                continue;
            };
            let way = if at == 0 {
                &mut *hop
            } else {
                hops.push(hop.another());
                hops.last_mut().ok_or_else(Reply::aborted)?
            };
            let recipients = self.recipients(&group.recipients);
            let refused = way
                .begin(self.envelope(), &recipients, self.eight_bit)
                .await?;
            if let Some(reply) = refused.into_iter().flatten().next() {
                return Err(reply);
            }
            way.hold(outgoing).await?;
        }
        Ok(())
    }

    /// Tells the sender, by way of the next hop. Positive also where nobody wants to know.
    async fn notify(&self, hop: &mut Hop, failed: &[(usize, Reply)]) -> Reply {
        let envelope = self.envelope();
        let wanted: Vec<(&Recipient, &Reply)> = failed
            .iter()
            .filter_map(|(place, reply)| Some((envelope.rcpt_to.get(*place)?, reply)))
            .filter(|(recipient, _)| dsn::is_wanted(envelope, recipient))
            .collect();
        if wanted.is_empty() {
            tracing::warn!(id = %envelope.id, "recipients failed of whom the sender is not to hear");
            return had();
        }
        let hostname = &self.config.hostname;
        let text = dsn::notification(
            envelope,
            &wanted,
            &self.mail.raw,
            hostname,
            self.filter.now(),
        );
        let Some(outgoing) = Outgoing::new(MailBytes::from(text), b"", &[]) else {
            return Reply::aborted();
        };
        let international = dsn::is_international(envelope, &wanted);
        let sender = Sender {
            smtputf8: international,
            body: match international {
                true => Body::EightBitMime,
                false => Body::SevenBit,
            },
            ..Sender::new("")
        };
        let reply = hop.mail(&sender, &XForward::default()).await;
        if !reply.is_positive() {
            return reply;
        }
        let reply = hop.rcpt(&Recipient::new(&envelope.mail_from)).await;
        if !reply.is_positive() {
            hop.abort().await;
            return reply;
        }
        hop.finish(&outgoing).await.0
    }

    async fn remember(&self, accepted: Vec<usize>) {
        if accepted.is_empty() {
            return;
        }
        let (filter, mail) = (Arc::clone(self.filter), self.mail.clone());
        // A task of its own, so that a panic fails no session.
        let keeping = tokio::spawn(async move { filter.delivered(mail, accepted).await });
        if let Err(error) = keeping.await {
            tracing::error!(id = %self.envelope().id, %error, "the filter failed");
        }
    }

    /// The refusal to give for all where one is final, nobody has the mail yet, and its sender could
    /// not be told.
    fn untellable(&self, refusals: &[(usize, Reply)]) -> Option<Reply> {
        let null = self.envelope().mail_from.is_empty();
        let last = refusals.iter().find(|(_, reply)| !reply.is_transient());
        last.filter(|_| null).map(|(_, reply)| reply.clone())
    }

    fn refusals(&self) -> Vec<(usize, Reply)> {
        let each = self.groups.iter().filter_map(|group| match group.what {
            What::Refusal(reply) => Some(group.recipients.iter().map(|at| (*at, reply.clone()))),
            What::Mail(_) | What::Nothing => None,
        });
        each.flatten().collect()
    }

    fn places(&self, is: impl Fn(&What<'_>) -> bool) -> Vec<usize> {
        let groups = self.groups.iter().filter(|group| is(&group.what));
        groups.flat_map(|group| group.recipients.clone()).collect()
    }

    fn recipients(&self, places: &[usize]) -> Vec<&Recipient> {
        let all = &self.envelope().rcpt_to;
        places.iter().filter_map(|place| all.get(*place)).collect()
    }

    fn envelope(&self) -> &Envelope {
        &self.mail.envelope
    }
}

/// The dots, one after the other. Where the first is not accepted and nobody has the mail yet, the
/// others are not sent: it stays the client's, whole.
async fn release_all(hop: &mut Hop, hops: &mut [Hop], had: bool) -> Vec<Standing> {
    let mut standings = Vec::new();
    let mut some = had;
    for way in std::iter::once(hop).chain(hops) {
        let (reply, fate) = way.release().await;
        if fate == Fate::Relayed {
            some = true;
            standings.push(Standing::Accepted(reply));
        } else {
            standings.push(Standing::Refused(reply, fate));
            if !some {
                break;
            }
        }
    }
    standings
}

/// Whether each recipient stands in one group, and none is empty.
fn is_division(groups: &[Group], recipients: usize) -> bool {
    let mut seen = vec![false; recipients];
    let new = |place: &usize| {
        seen.get_mut(*place)
            .is_some_and(|seen| !std::mem::replace(seen, true))
    };
    let places: Vec<&usize> = groups.iter().flat_map(|group| &group.recipients).collect();
    groups.iter().all(|group| !group.recipients.is_empty())
        && places.len() == recipients
        && places.into_iter().all(new)
}

fn alike(fates: &[Fate]) -> Fate {
    match fates {
        [first, rest @ ..] if rest.iter().all(|fate| fate == first) => *first,
        [] => Fate::Relayed,
        _ => Fate::Divided,
    }
}

fn had() -> Reply {
    Reply::new(250, "2.0.0", "Delivered at an earlier try")
}

/// Transactions at once for one mail.
const MAX_GROUPS: usize = 16;
