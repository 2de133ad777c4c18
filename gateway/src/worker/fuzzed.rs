//! What `fuzz/` feeds of edge and workers: frames, as either end may get them of another that has been taken over.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_smtp_filter::{
    Body, Division, Edit, Envelope, Mail, MailBytes, Outgoing, Recipient, Share, Treatment,
    XForward,
};

use super::codec::{self, Ask, Coded, Told, coded, decided, written};
use super::frame::{Kind, receive, send};
use super::outfit::Outfit;
use super::{HERE, Job};
use crate::act::Decided;
use crate::harvest;

/// Frames one after the other: each is written as it came, what is in it says the same when it is written and read
/// again, and what the edge believes to be decided of a mail (the last that a job brought) can be done with it.
pub(crate) fn frames(octets: &[u8]) {
    let mut mail = usual();
    let mut rest = octets;
    loop {
        let before = rest;
        let Ok(Some((kind, content))) = receive(&mut rest, MOST) else {
            return;
        };
        let (came, _) = before.split_at(before.len().saturating_sub(rest.len()));
        let mut sent = Vec::new();
        assert!(send(&mut sent, kind, &content).is_ok() && sent == came);
        match kind {
            Kind::Outfit => {
                again::<Outfit>(&content);
            }
            Kind::Job => {
                if let Some(sent) = again::<Sent>(&content) {
                    mail = Mail {
                        envelope: sent.job.envelope,
                        raw: sent.raw.into(),
                    };
                }
            }
            Kind::Told => {
                again::<Told>(&content);
            }
            Kind::Ask | Kind::Note => {
                again::<Ask>(&content);
            }
            Kind::Decided => {
                if let Some(decided) = again::<Decided>(&content) {
                    done(&decided, &mail);
                }
            }
            Kind::Found => {
                again::<Option<harvest::Found>>(&content);
            }
            Kind::Ready | Kind::Panicked | Kind::Unmapped => {}
        }
    }
}

/// What reads, written again: another way to say it may come to the same.
fn again<T: Coded>(octets: &[u8]) -> Option<T> {
    let what = codec::read::<T>(octets).ok()?;
    let once = written(&what);
    let twice = codec::read::<T>(&once).map(|what| written(&what));
    assert_eq!(twice, Ok(once));
    Some(what)
}

/// A job with its mail behind it. (What lies in a file comes another way.)
struct Sent {
    job: Job,
    here: Here,
    raw: Vec<u8>,
}

coded!(Sent { job, here, raw });

struct Here;

impl Coded for Here {
    fn write(&self, out: &mut Writer) {
        out.u8(HERE);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            HERE => Ok(Self),
            _ => Err(Malformed("a mail in a file")),
        }
    }
}

/// Lines that end as they should still do so once this is done with the mail.
fn done(found: &Decided, mail: &Mail) {
    if decided::check(found, &mail.envelope, mail.raw.len()).is_err() {
        return;
    }
    match &found.treatment {
        Treatment::Relay(edits) | Treatment::Quarantine { edits, .. } => edited(&mail.raw, edits),
        Treatment::Refuse(_) => {}
        Treatment::Divide(groups) => {
            for group in groups {
                match &group.share {
                    Share::Relay(edits) | Share::Hold { edits, .. } => edited(&mail.raw, edits),
                    Share::Confide(confided) => {
                        let content = confided.content.as_ref();
                        edited(content.unwrap_or(&mail.raw), &confided.edits);
                    }
                    Share::Refuse(_) | Share::Had => {}
                }
            }
        }
    }
}

fn edited(raw: &MailBytes, edits: &[Edit]) {
    let whole = ends_lines(raw);
    if let Some(outgoing) = Outgoing::new(raw.clone(), b"Received: by us\r\n", edits) {
        let octets: Vec<u8> = outgoing.pieces().flatten().copied().collect();
        assert_eq!(u64::try_from(octets.len()), Ok(outgoing.size()));
        assert!(!whole || ends_lines(&octets), "a bare CR or LF");
    }
}

/// Whether no CR or LF stands alone.
fn ends_lines(octets: &[u8]) -> bool {
    let mut last = 0;
    for octet in octets {
        if (*octet == b'\n') != (last == b'\r') {
            return false;
        }
        last = *octet;
    }
    last != b'\r'
}

/// A mail like any other.
fn usual() -> Mail {
    let recipient = |address: &str| Recipient {
        address: address.to_owned(),
        notify: None,
        orcpt: None,
    };
    let envelope = Envelope {
        id: "01J0000000000000000000000A".to_owned(),
        mail_from: "a@example.net".to_owned(),
        body: Body::SevenBit,
        smtputf8: false,
        size: None,
        ret: None,
        envid: None,
        rcpt_to: vec![recipient("b@example.jp"), recipient("c@example.jp")],
        helo: "mx.example.net".to_owned(),
        esmtp: true,
        division: Division::Copies,
        seven_bit_only: false,
        client: SocketAddr::from((Ipv4Addr::LOCALHOST, 25)),
        tls: None,
        authenticated: None,
        daemon: None,
        xforward: XForward::default(),
    };
    Mail {
        envelope: Arc::new(envelope),
        raw: b"From: a@example.net\r\nSubject: x\r\n\r\nbody\r\n"
            .to_vec()
            .into(),
    }
}

/// Octets of a frame, at most.
const MOST: usize = 1 << 20;

#[cfg(test)]
mod tests;
