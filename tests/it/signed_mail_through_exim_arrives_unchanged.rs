//! Signed and unsigned mail through Exim and Kenin, set up by the very pieces that `kenin init exim`
//! prints: no signed byte changes, OpenSSL accepts what is delivered, DKIM signatures still hold,
//! mail waits in Exim's queue while Kenin is away, and none goes round for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::exim::behind_exim;
use kenin_tests::forge::Town;
use kenin_tests::forge::keys::Hash;
use kenin_tests::opendkim::OpenDkim;
use kenin_tests::openssl_mail::{SignedMail, Workshop, part, signed_part};
use kenin_tests::sink::{Sink, fields, split};
use kenin_tests::world::wait_for;

const SIGNED: usize = 120;
const PLAIN: usize = 30;

/// Mail without a signature: the same contents, and one line that is longer than SMTP allows.
fn plain(number: usize) -> (String, Vec<u8>) {
    let id = format!("<plain-{number}@example.jp>");
    let mut raw = format!(
        "From: Bob <bob@example.jp>\r\nTo: reader@example.jp\r\nSubject: plain\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: {id}\r\nMIME-Version: 1.0\r\n"
    )
    .into_bytes();
    raw.extend(part(number));
    if number == 0 {
        raw.extend(format!("\r\n{}\r\n", "long".repeat(400)).bytes());
    }
    (id, raw)
}

fn deliver(front: SocketAddr, mails: &[Vec<u8>]) {
    let mut client = Client::greeted(front);
    let envelope = Envelope::new("sender@example.jp", "reader@example.jp").with("BODY=8BITMIME");
    for raw in mails {
        let reply = client.mail(&envelope, raw).expect("Exim answers");
        assert_eq!(reply.code, 250, "{}", reply.text());
    }
}

/// What arrived, by Message-ID.
fn arrived(sink: &Sink, count: usize) -> BTreeMap<String, Vec<u8>> {
    let mails = sink.wait(count, Duration::from_secs(120));
    let by_id: BTreeMap<String, Vec<u8>> = mails
        .into_iter()
        .map(|mail| (fields(&mail.raw, "Message-ID").concat(), mail.raw))
        .collect();
    assert_eq!((by_id.len(), sink.count()), (count, count), "duplicates");
    by_id
}

fn stamp(raw: &[u8]) -> String {
    fields(raw, "Authentication-Results").concat()
}

fn through(mode: &str) {
    let workshop = Workshop::new(Town::get());
    let dkim = OpenDkim::new();
    let sink = Sink::start();
    let (exim, mut gateway) = behind_exim(&sink, mode, false);
    gateway.restart();
    let signed: Vec<SignedMail> = workshop
        .mails(SIGNED)
        .into_iter()
        .map(|mail| SignedMail {
            raw: dkim.sign(&mail.raw),
            ..mail
        })
        .collect();
    let unsigned: Vec<(String, Vec<u8>)> = (0..PLAIN).map(plain).collect();
    let all: Vec<Vec<u8>> = signed
        .iter()
        .map(|mail| mail.raw.clone())
        .chain(unsigned.iter().map(|(_, raw)| raw.clone()))
        .collect();
    // Two clients at once: mails overtake each other on the way.
    std::thread::scope(|scope| {
        for half in all.chunks(all.len() / 2) {
            scope.spawn(|| deliver(exim.front, half));
        }
    });
    let arrived = arrived(&sink, all.len());
    for (id, raw) in &unsigned {
        let got = &arrived[id];
        assert_eq!(split(got).1, split(raw).1, "{id}: the body changed");
        assert!(stamp(got).contains("smime=none (not-signed)"), "{id}");
    }
    for sent in &signed {
        let (name, got) = (&sent.kind.name, &arrived[&sent.message_id]);
        assert_eq!(split(got).1, split(&sent.raw).1, "{name}: the body changed");
        if !sent.kind.opaque {
            assert_eq!(signed_part(got), signed_part(&sent.raw), "{name}");
        }
        let stamp = stamp(got);
        let right = match sent.kind.hash {
            Hash::Sha1 => stamp.contains("smime=policy (weak-algorithm"),
            Hash::Sha224 => !stamp.contains("smime=pass"),
            _ => stamp.contains("smime=pass"),
        };
        assert!(right, "{name}: {stamp}");
        let checked = workshop.verify(got, "exim");
        checked.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let delivered: Vec<Vec<u8>> = signed
        .iter()
        .map(|mail| arrived[&mail.message_id].clone())
        .collect();
    assert_eq!(
        dkim.broken(&delivered),
        [0_usize; 0],
        "DKIM signatures broke"
    );
}

#[test]
fn after_the_queue() {
    through("after-queue");
}

#[test]
fn after_the_queue_by_lmtp() {
    through("lmtp");
}

#[test]
fn mail_waits_while_kenin_is_away() {
    let town = Town::get();
    let sink = Sink::start();
    let (exim, mut gateway) = behind_exim(&sink, "after-queue", false);
    let text = String::from_utf8(town.clear_signed(&town.bob, "bob@example.jp", "Wait")).unwrap();
    let mails: Vec<Vec<u8>> = (0..25)
        .map(|n| text.replace("<forged@example.jp>", &format!("<waits-{n}@example.jp>")))
        .map(String::into_bytes)
        .collect();
    deliver(exim.front, &mails);
    wait_for("Exim finds nobody at Kenin's port", || {
        exim.log().contains("Connection refused")
    });
    assert_eq!((exim.queued(), sink.count()), (mails.len(), 0));
    gateway.restart();
    let arrived = arrived(&sink, mails.len());
    for (id, raw) in &arrived {
        assert!(stamp(raw).contains("smime=pass"), "{id}: {}", stamp(raw));
    }
    wait_for("Exim's queue is empty", || exim.queued() == 0);
}

#[test]
fn an_unknown_recipient_is_refused_at_once() {
    let sink = Sink::start();
    let (exim, _away) = behind_exim(&sink, "after-queue", false);
    let mut client = Client::greeted(exim.front);
    assert_eq!(client.command("MAIL FROM:<bob@example.jp>").code, 250);
    assert_eq!(client.command("RCPT TO:<unknown@example.jp>").code, 550);
    assert_eq!(client.command("RCPT TO:<reader@example.jp>").code, 250);
}

#[test]
fn mail_that_would_go_round_is_stopped() {
    let sink = Sink::start();
    let (exim, mut gateway) = behind_exim(&sink, "after-queue", true);
    gateway.restart();
    deliver(exim.front, &[plain(1).1]);
    // The mail comes back as from outside until Kenin knows itself again; so does the notice to the
    // sender, which Exim then freezes.
    wait_for("the notice is frozen", || exim.log().contains("Frozen"));
    let log = exim.log();
    assert!(log.contains("554 5.4.6 Too many hops, mail loop"), "{log}");
    wait_for("nothing else is left", || exim.queued() == 1);
    assert_eq!(sink.count(), 0);
}
