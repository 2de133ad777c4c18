//! A mail whose recipients are treated differently: a transaction for each group.
//!
//! Under LMTP every recipient is answered, and the groups go one after the other. Under SMTP there is
//! one answer. So all mails are sent up to but not including the dot, then the dots; and when the
//! outcomes differ all the same, what was accepted is remembered for the client's next try, or a
//! refusal that no try can change is told to the sender by a notification.

mod portion;

use std::sync::Arc;

use portion::{Leg, Portion, Standing, What};

use super::{
    ServerConfig,
    hop::Hop,
    keeping::{accepted, discreet, hold, hold_back, readdressed},
};
use crate::{
    Body, Confided, Edit, Envelope, Fate, Filter, Group, Held, Mail, MailBytes, Outgoing,
    Recipient, Reply, Share, XForward, client::Sender, dsn, received::received_field,
};

/// A mail, its groups, and whom to ask.
pub(super) struct DividedMail<'a> {
    mail: &'a Mail,
    shares: &'a [Group],
    groups: Vec<Portion<'a>>,
    config: &'a ServerConfig,
    filter: &'a Arc<dyn Filter>,
    eight_bit: bool,
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
        let portion = |group: &'a Group| Portion::of(group, &mail.raw, &received);
        Some(Self {
            mail,
            shares: groups,
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
            let (standing, refused) = match (&group.what, group.leg()) {
                (_, Some(leg)) => self.send_one(hop, &leg).await,
                (What::Held(content, reason), None) => {
                    let held = self.held(&group.recipients, content, reason);
                    (hold(self.filter, held).await, Vec::new())
                }
                (What::Refusal(reply), None) => (((*reply).clone(), Fate::Refused), Vec::new()),
                _ => {
                    let recipients = group.recipients.iter();
                    recipients.for_each(|place| tell(*place, &had()));
                    continue;
                }
            };
            for (at, place) in group.recipients.iter().enumerate() {
                let own = refused.get(at).and_then(Option::as_ref);
                tell(*place, own.unwrap_or(&standing.0));
            }
            fates.push(standing.1);
        }
        (replies, alike(&fates))
    }

    /// A transaction for one group: what comes of it, and the refusal of each recipient that is not accepted.
    async fn send_one(&self, hop: &mut Hop, leg: &Leg<'_>) -> ((Reply, Fate), Vec<Option<Reply>>) {
        let refused = match self.begin(hop, leg).await {
            Err(reply) => return ((reply, Fate::NextHopRefused), Vec::new()),
            Ok(refused) => refused,
        };
        if refused.iter().all(Option::is_some) {
            hop.abort().await;
            return ((Reply::aborted(), Fate::NextHopRefused), refused);
        }
        let answer = match leg.unsent(hop) {
            None => hop.finish(leg.outgoing).await,
            Some(refusal) => {
                hop.abort().await;
                (refusal, Fate::NextHopRefused)
            }
        };
        let Some(confided) = leg.confided else {
            return (answer, refused);
        };
        // Whom the next hop does not know is told so, and has no part in what is held.
        let places = leg.recipients.iter().enumerate();
        let taken: Vec<usize> = places
            .filter(|(at, _)| refused.get(*at).is_none_or(Option::is_none))
            .map(|(_, place)| *place)
            .collect();
        let held = |refusal| self.refused(&taken, leg.outgoing, confided, refusal);
        (discreet(self.filter, answer, held).await, refused)
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
        let relayed: Vec<Leg<'_>> = self.groups.iter().filter_map(Portion::leg).collect();
        let mut hops = Vec::new();
        let early = match self.hold_all(hop, &mut hops, &relayed).await {
            Ok(early) => early,
            Err(reply) => {
                hop.let_go();
                if had.is_empty() || reply.is_transient() {
                    return (reply, Fate::NextHopRefused);
                }
                // Somebody has the mail since an earlier try.
                let rest = relayed.iter().flat_map(|leg| leg.recipients);
                let failed = rest.map(|place| (*place, reply.clone())).collect();
                return self.settle(hop, had, Vec::new(), failed).await;
            }
        };
        let ways = std::iter::once(&mut *hop).chain(&mut hops);
        let sent = relayed.iter().zip(early).zip(ways).collect();
        let standings = self.release_all(sent, !had.is_empty()).await;
        // The client waits, and the next hop may take its time for a goodbye.
        for mut hop in hops {
            tokio::spawn(async move { hop.leave().await });
        }
        let mut taken = Vec::new();
        let mut failed = Vec::new();
        let legs = relayed.iter().map(|leg| leg.recipients).zip(standings);
        // What is held in the open is held last: where nobody takes the rest, nothing is.
        let held: Vec<_> = self.groups.iter().filter_map(Portion::held).collect();
        let mut outcomes: Vec<(&[usize], Standing)> = legs.collect();
        if let Some((_, Standing::Refused(reply, fate))) = outcomes.first()
            && had.is_empty()
        {
            return (reply.clone(), *fate);
        }
        for (recipients, content, reason) in held {
            let held = self.held(recipients, content, reason);
            let standing = Standing::of(hold(self.filter, held).await);
            outcomes.push((recipients, standing));
        }
        if outcomes.is_empty() && had.is_empty() {
            let first = refusals.first().map(|(_, reply)| reply.clone());
            return (first.unwrap_or_else(Reply::aborted), Fate::Refused);
        }
        let mut fates = Vec::new();
        let mut answer = None;
        for (recipients, standing) in outcomes {
            match standing {
                Standing::Accepted(reply, fate) => {
                    taken.extend_from_slice(recipients);
                    fates.push(fate);
                    answer = Some(reply);
                }
                Standing::Refused(reply, fate) => {
                    if taken.is_empty() && had.is_empty() {
                        return (reply, fate);
                    }
                    failed.extend(recipients.iter().map(|place| (*place, reply.clone())));
                }
            }
        }
        failed.extend(refusals);
        if failed.is_empty() {
            // Who had a copy of their own is not to be seen from outside.
            let answer = match self.is_plain() {
                true => answer.unwrap_or_else(self::had),
                false => accepted(),
            };
            return (answer, alike(&fates));
        }
        self.settle(hop, had, taken, failed).await
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

    /// Begins a transaction for each group, and sends its mail up to the dot. Gives for each the refusal of its
    /// content that came before the dot, where that is told to nobody.
    async fn hold_all(
        &self,
        hop: &mut Hop,
        hops: &mut Vec<Hop>,
        relayed: &[Leg<'_>],
    ) -> Result<Vec<Option<Reply>>, Reply> {
        let mut early = Vec::with_capacity(relayed.len());
        for (at, leg) in relayed.iter().enumerate() {
            let way = if at == 0 {
                &mut *hop
            } else {
                hops.push(hop.another());
                hops.last_mut().ok_or_else(Reply::aborted)?
            };
            let refused = self.begin(way, leg).await?;
            if let Some(reply) = refused.into_iter().flatten().next() {
                return Err(reply);
            }
            early.push(match (leg.confided, leg.unsent(way)) {
                (Some(_), None) => hold_back(way, leg.outgoing).await?,
                (None, _) => way.hold(leg.outgoing).await.map(|()| None)?,
                (Some(_), refusal) => {
                    way.abort().await;
                    refusal
                }
            });
        }
        Ok(early)
    }

    /// MAIL and RCPT for one group.
    async fn begin(&self, hop: &mut Hop, leg: &Leg<'_>) -> Result<Vec<Option<Reply>>, Reply> {
        let recipients = self.recipients(leg.recipients);
        let Some(confided) = leg.confided else {
            let mut envelope = self.envelope().clone();
            // What the client said was of the mail as it came (RFC 1870 §6.3).
            envelope.size = envelope.size.map(|_| leg.outgoing.size());
            return hop.begin(&envelope, &recipients, self.eight_bit).await;
        };
        let (envelope, recipients) =
            readdressed(self.envelope(), &recipients, confided, leg.outgoing);
        let recipients: Vec<&Recipient> = recipients.iter().collect();
        // Of another content nothing was promised yet.
        let eight_bit = self.eight_bit && confided.content.is_none();
        hop.begin(&envelope, &recipients, eight_bit).await
    }

    /// The dots, one after the other. Where the first is not accepted and nobody has the mail yet, the
    /// others are not sent: it stays the client's, whole.
    async fn release_all<'l>(
        &self,
        sent: Vec<((&'l Leg<'l>, Option<Reply>), &'l mut Hop)>,
        had: bool,
    ) -> Vec<Standing> {
        let mut standings = Vec::new();
        let mut some = had;
        for ((leg, early), way) in sent {
            let answer = match early {
                Some(refusal) => (refusal, Fate::NextHopRefused),
                None => way.release().await,
            };
            let answer = match leg.confided {
                None => answer,
                Some(confided) => {
                    let held =
                        |refusal| self.refused(leg.recipients, leg.outgoing, confided, refusal);
                    discreet(self.filter, answer, held).await
                }
            };
            let standing = Standing::of(answer);
            some |= matches!(standing, Standing::Accepted(..));
            standings.push(standing);
            if !some {
                break;
            }
        }
        standings
    }

    /// A copy that is kept by the filter's own wish.
    fn held(&self, recipients: &[usize], content: &Outgoing, reason: &str) -> Held {
        Held {
            envelope: Arc::clone(&self.mail.envelope),
            recipients: recipients.to_vec(),
            sender: self.envelope().mail_from.clone(),
            content: content.clone(),
            reason: reason.to_owned(),
            refusal: None,
        }
    }

    /// A confided copy that the next hop refused for good.
    fn refused(
        &self,
        recipients: &[usize],
        content: &Outgoing,
        confided: &Confided,
        refusal: Reply,
    ) -> Held {
        let mut envelope = Arc::clone(&self.mail.envelope);
        if confided.content.is_some() && !content.is_ascii() {
            // Of this one it is true, whatever the client said of the other.
            Arc::make_mut(&mut envelope).body = Body::EightBitMime;
        }
        Held {
            envelope,
            sender: confided.return_path.clone().unwrap_or_default(),
            refusal: Some(refusal),
            ..self.held(recipients, content, &confided.reason)
        }
    }

    /// Whether the next hop's words are the client's to hear.
    fn is_plain(&self) -> bool {
        let plain =
            |group: &Portion<'_>| !matches!(group.what, What::Confided(..) | What::Held(..));
        self.groups.iter().all(plain)
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
            &self.shown(),
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

    /// The header of the mail, without the fields that some copy does not have: what is hidden in an encrypted one does not
    /// go out in clear to tell of another.
    fn shown(&self) -> Vec<u8> {
        let edits = self.shares.iter().flat_map(|group| match &group.share {
            Share::Relay(edits) | Share::Hold { edits, .. } => edits.as_slice(),
            // What is taken out of a confided copy tells what it is; nothing of it is hidden from its sender.
            Share::Confide(_) | Share::Refuse(_) | Share::Had => &[],
        });
        let removed = edits.filter(|edit| matches!(edit, Edit::Remove(_)));
        let removed: Vec<Edit> = removed.cloned().collect();
        let header = MailBytes::from(dsn::header_of(&self.mail.raw).to_vec());
        let shown = Outgoing::new(header, b"", &removed);
        shown.map_or_else(Vec::new, |shown| {
            shown.pieces().flatten().copied().collect()
        })
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
            What::Mail(_) | What::Confided(..) | What::Held(..) | What::Nothing => None,
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
