//! Copies that are held and not sent on, and copies of whose fate nobody outside is to hear: what their
//! client is told instead.

use std::{sync::Arc, time::Duration};

use super::hop::Hop;
use crate::{Body, Confided, Envelope, Fate, Filter, Held, Outgoing, Recipient, Reply};

/// Has the filter keep a copy, and makes the answer to the dot.
pub(super) async fn hold(filter: &Arc<dyn Filter>, held: Held) -> (Reply, Fate) {
    let (filter, id) = (Arc::clone(filter), held.envelope.id.clone());
    // A task of its own, so that a panic fails this mail only.
    let holding = tokio::spawn(async move { filter.hold(held).await });
    match holding.await {
        Ok(Ok(())) => (accepted(), Fate::Held),
        Ok(Err(reply)) if reply.is_transient() => (reply, Fate::Refused),
        Ok(Err(_)) => (Reply::aborted(), Fate::Aborted),
        Err(error) => {
            tracing::error!(id, %error, "the filter failed");
            (Reply::aborted(), Fate::Aborted)
        }
    }
}

/// The envelope and the recipients that the next hop is told for a confided copy.
pub(super) fn readdressed(
    envelope: &Envelope,
    recipients: &[&Recipient],
    confided: &Confided,
    outgoing: &Outgoing,
) -> (Envelope, Vec<Recipient>) {
    let mut envelope = envelope.clone();
    if confided.content.is_some() {
        // What the client said was of another mail; and a size that is refused would tell of the content.
        envelope.size = None;
        envelope.body = match outgoing.is_ascii() {
            true => Body::SevenBit,
            false => Body::EightBitMime,
        };
    }
    // Whoever is told of its fate is not told what the sender named it.
    envelope.envid = None;
    envelope.ret = Some("HDRS".to_owned());
    let notify = match &confided.return_path {
        Some(path) => {
            envelope.mail_from.clone_from(path);
            None
        }
        None => Some("NEVER".to_owned()),
    };
    let recipients = recipients.iter().map(|recipient| Recipient {
        address: recipient.address.clone(),
        notify: notify.clone(),
        orcpt: None,
    });
    (envelope, recipients.collect())
}

/// What a next hop would say to octets above 127 if it were sent some, where it takes none.
pub(super) fn unfit(hop: &Hop, eight_bit: bool) -> Option<Reply> {
    let text = "The next hop does not support 8BITMIME";
    (eight_bit && !hop.takes_eight_bit()).then(|| Reply::new(550, "5.6.1", text))
}

/// How long a client waits that was sent a confided copy's answer after so long, for a mail of so many octets: to the next
/// whole period, so that it cannot see which way the copy went. What is done only where a mail opens takes longer with
/// its size, and whoever may add octets could find the size at which that needs a period more; so periods grow with it.
pub(crate) fn rounded(elapsed: Duration, size: u64) -> Duration {
    let period = PERIOD.saturating_mul(u32::try_from(size / LARGE + 1).unwrap_or(u32::MAX));
    let periods = elapsed.as_millis() / period.as_millis() + 1;
    period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
}

/// Sends a confided copy up to but not including its dot. Gives the refusal of its content, where the next hop
/// refuses it that early.
///
/// # Errors
///
/// The answer to the client: there is no transaction, or it is of no more use.
pub(super) async fn hold_back(hop: &mut Hop, outgoing: &Outgoing) -> Result<Option<Reply>, Reply> {
    match hop.hold(outgoing).await {
        Ok(()) => Ok(None),
        Err(reply) if reply.is_transient() => Err(later()),
        Err(refusal) => Ok(Some(refusal)),
    }
}

/// What the client is told of a copy that was confided to the next hop, and got this answer. `held` is the copy, for
/// where it is refused for good.
pub(super) async fn discreet(
    filter: &Arc<dyn Filter>,
    (reply, fate): (Reply, Fate),
    held: impl FnOnce(Reply) -> Held,
) -> (Reply, Fate) {
    match fate {
        Fate::Relayed => (accepted(), fate),
        Fate::NextHopRefused if !reply.is_transient() => match hold(filter, held(reply)).await {
            (_, Fate::Held) => (accepted(), Fate::Held),
            // It looks as if the next hop had not taken it for now.
            (_, fate) => (later(), fate),
        },
        _ => (later(), fate),
    }
}

/// A copy is accepted: by the next hop, or to be held.
pub(super) fn accepted() -> Reply {
    Reply::new(250, "2.0.0", "Accepted")
}

/// A confided copy was not accepted, and another try may be.
fn later() -> Reply {
    Reply::new(451, "4.3.0", "Try again later")
}

/// What an answer is rounded up to, for each begun [`LARGE`] of the mail.
const PERIOD: Duration = Duration::from_millis(50);
const LARGE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MailBytes;

    #[test]
    fn answers_come_at_whole_periods_and_never_at_once() {
        for (elapsed, answered) in [
            (0, 50),
            (1, 50),
            (49, 50),
            (50, 100),
            (51, 100),
            (1234, 1250),
            (20_000, 20_050),
        ] {
            let rounded = rounded(Duration::from_millis(elapsed), 10_000);
            assert_eq!(rounded, Duration::from_millis(answered), "{elapsed}");
        }
        assert!(rounded(Duration::MAX, 0) > Duration::from_secs(3600));
        assert!(rounded(Duration::ZERO, u64::MAX) > Duration::from_secs(3600));
    }

    /// DEC-07: 3 MB that open take some 100 ms, and some 60 where they do not.
    #[test]
    fn periods_grow_with_the_mail() {
        for (elapsed, size, answered) in [
            (60, LARGE - 1, 100),
            (60, 4 * LARGE, 250),
            (110, 4 * LARGE, 250),
            (250, 4 * LARGE, 500),
            (1_200, 40 * LARGE, 2_050),
        ] {
            let rounded = rounded(Duration::from_millis(elapsed), size);
            assert_eq!(
                rounded,
                Duration::from_millis(answered),
                "{elapsed}, {size}"
            );
        }
    }

    #[test]
    fn what_is_said_of_another_content_is_true_of_it() {
        let envelope = Envelope {
            size: Some(9999),
            ..crate::received::tests::envelope()
        };
        for (content, body) in [
            ("A: b\r\n\r\nc\r\n", Body::SevenBit),
            ("A: b\r\n\r\n\u{e9}\r\n", Body::EightBitMime),
        ] {
            let content = MailBytes::from(content.as_bytes().to_vec());
            let outgoing = Outgoing::new(content.clone(), b"", &[]).unwrap();
            let confided = Confided {
                content: Some(content.clone()),
                edits: Vec::new(),
                return_path: None,
                reason: String::new(),
            };
            let (told, _) = readdressed(&envelope, &[], &confided, &outgoing);
            assert_eq!(told.body, body);
            assert_eq!(told.size, None);
        }
    }

    #[test]
    fn nobody_but_ourselves_is_told_of_a_confided_copy() {
        let envelope = crate::received::tests::envelope();
        let sender = Envelope {
            mail_from: "sender@a.example".to_owned(),
            ret: Some("FULL".to_owned()),
            envid: Some("secret-plan".to_owned()),
            ..envelope
        };
        let recipient = Recipient {
            notify: Some("SUCCESS,FAILURE".to_owned()),
            orcpt: Some("rfc822;b@x.example".to_owned()),
            ..Recipient::new("b@x.example")
        };
        let confided = |return_path: Option<&str>| Confided {
            content: None,
            edits: Vec::new(),
            return_path: return_path.map(str::to_owned),
            reason: String::new(),
        };
        for (path, from, notify) in [
            (None, "sender@a.example", Some("NEVER")),
            (Some("ours@gw.example"), "ours@gw.example", None),
            (Some(""), "", None),
        ] {
            let outgoing = Outgoing::new(MailBytes::from(Vec::new()), b"", &[]).unwrap();
            let (told, to) = readdressed(&sender, &[&recipient], &confided(path), &outgoing);
            assert_eq!((told.mail_from.as_str(), told.envid), (from, None));
            assert_eq!(told.ret.as_deref(), Some("HDRS"));
            assert_eq!(to[0].notify.as_deref(), notify);
            assert_eq!(
                (to[0].address.as_str(), &to[0].orcpt),
                ("b@x.example", &None)
            );
        }
    }
}
