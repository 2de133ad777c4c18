//! Held mail goes on: to the next hop, as it would have gone at first.

use kenin_smtp_filter::client::{Connection, Patience, Sender, Trouble};
use kenin_smtp_filter::server::NextHop;
use kenin_smtp_filter::{Body, Recipient, Reply};

use super::facts::Facts;

/// Sends a held mail on; gives the next hop's answer, which is positive. Nobody gets it unless all of its recipients do.
pub(crate) async fn release(
    next_hop: &NextHop,
    hostname: &str,
    facts: &Facts,
    content: &[u8],
) -> Result<Reply, SendError> {
    let confided = facts.is_confided();
    let recipients = facts.recipients.iter().map(|to| Recipient {
        address: to.address.clone(),
        // Whoever is told of its fate is not told what the sender wanted.
        notify: to.notify.clone().filter(|_| !confided),
        orcpt: to.orcpt.clone().filter(|_| !confided),
    });
    let recipients: Vec<Recipient> = recipients.collect();
    let sender = Sender {
        smtputf8: facts.smtputf8,
        body: match facts.eight_bit {
            true => Body::EightBitMime,
            false => Body::SevenBit,
        },
        ret: Some("HDRS".to_owned()),
        ..Sender::new(&facts.return_path)
    };
    send(next_hop, hostname, sender, &recipients, Whole::All, content).await
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The next hop cannot be used; it has nothing of the mail.
    #[error("next hop: {0}")]
    Unusable(Trouble),
    /// The next hop refuses it.
    #[error("the next hop said: {0}")]
    Refused(Reply),
    /// The next hop was lost after the end of the mail, and may have it.
    #[error("the next hop was lost after the end of the mail, and may have it")]
    InDoubt,
}

impl SendError {
    /// Whether another try may succeed, and does no harm.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unusable(_) => true,
            Self::Refused(reply) => reply.is_transient(),
            Self::InDoubt => false,
        }
    }
}

/// For whom a mail has to be accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// For all its recipients, or it is sent to none.
    All,
    /// For one of them.
    Some,
}

/// One mail in a connection of its own.
pub(super) async fn send(
    next_hop: &NextHop,
    hostname: &str,
    sender: Sender,
    recipients: &[Recipient],
    whole: Whole,
    content: &[u8],
) -> Result<Reply, SendError> {
    let sender = told(sender, recipients, content);
    let opened = Connection::open(next_hop, hostname, Patience::default()).await;
    let mut connection = opened.map_err(SendError::Unusable)?;
    if !content.is_ascii() && !connection.capabilities().eight_bit_mime {
        let text = "Next hop does not support 8BITMIME, and mail is not re-encoded";
        return Err(SendError::Refused(Reply::new(550, "5.6.1", text)));
    }
    let reply = connection.mail(&sender).await;
    positive(reply.map_err(SendError::Unusable)?)?;
    let mut accepted = 0_usize;
    let mut refused = None;
    for recipient in recipients {
        let reply = connection.rcpt(recipient).await;
        match positive(reply.map_err(SendError::Unusable)?) {
            Ok(_) => accepted += 1,
            Err(refusal) => refused = Some(refusal),
        }
    }
    match refused {
        Some(refusal) if whole == Whole::All || accepted == 0 => return Err(refusal),
        _ => {}
    }
    let answer = connection.data([content]).await;
    let reply = answer.map_err(|trouble| match trouble.in_doubt {
        true => SendError::InDoubt,
        false => SendError::Unusable(trouble.trouble),
    })?;
    let reply = positive(reply)?;
    connection.quit().await;
    Ok(reply)
}

/// The sender as the next hop has to be told: what a mail needs does not depend on what was declared of it.
fn told(sender: Sender, recipients: &[Recipient], content: &[u8]) -> Sender {
    let foreign = |recipient: &Recipient| !recipient.address.is_ascii();
    Sender {
        size: u64::try_from(content.len()).ok(),
        smtputf8: sender.smtputf8 || recipients.iter().any(foreign),
        body: match content.is_ascii() {
            true => sender.body,
            false => Body::EightBitMime,
        },
        ..sender
    }
}

fn positive(reply: Reply) -> Result<Reply, SendError> {
    match reply.is_positive() {
        true => Ok(reply),
        false => Err(SendError::Refused(reply)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kenin_smtp_filter::server::HopTls;

    use super::super::facts::tests::{copy, moment};
    use super::*;
    use crate::clock::Trust;
    use crate::demo::mailbox::Mailbox;

    fn facts(refusal: Option<&str>) -> Facts {
        let now = moment(1_800_000_000, Trust::Yes);
        let held = copy("Subject: x\r\n", refusal);
        Facts::of(&held, "default", now, Duration::from_secs(1))
    }

    fn to(address: &str) -> NextHop {
        NextHop {
            address: address.to_owned(),
            tls: HopTls::None,
        }
    }

    /// What bounces of it must not go to somebody who may not see it.
    #[tokio::test]
    async fn released_mail_goes_out_under_the_return_path_that_it_was_held_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = Mailbox::start(folder.path()).await.unwrap();
        let next_hop = to(&mailbox.address.to_string());
        let mail = "Subject: 検印\r\n\r\n.text\r\n".as_bytes();
        for refusal in [None, Some("bad words")] {
            let facts = facts(refusal);
            let reply = release(&next_hop, "gw.example", &facts, mail)
                .await
                .unwrap();
            assert!(reply.is_positive());
            let arrived = mailbox.next().await.unwrap();
            let from = arrived.mail_from;
            assert!(from.starts_with("<return@gw.example> "), "{from}");
            assert!(from.contains(" BODY=8BITMIME"), "{from}");
            assert_eq!(arrived.rcpt_to, ["<a@x.example>", "<c@x.example>"]);
            assert_eq!(arrived.bytes, mail);
        }
    }

    #[tokio::test]
    async fn a_next_hop_that_is_not_there_has_nothing_of_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let gone = release(&to(&address), "gw.example", &facts(None), b"x\r\n").await;
        let error = gone.unwrap_err();
        assert!(matches!(error, SendError::Unusable(_)), "{error}");
        assert!(error.is_passing());
        assert!(!SendError::InDoubt.is_passing());
        assert!(!SendError::Refused(Reply::new(550, "5.1.1", "who")).is_passing());
    }
}
