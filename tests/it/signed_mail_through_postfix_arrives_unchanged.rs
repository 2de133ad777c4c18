//! 200 signed mails of every kind that `openssl cms` makes through Postfix and Kenin, as proxy before
//! the queue, as filter after it and as milter, set up by the very lines that `kenin init postfix`
//! prints: no
//! signed byte changes, OpenSSL accepts what is delivered, and the DKIM signature that opendkim made
//! before still holds.

use std::collections::BTreeMap;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::Town;
use kenin_tests::forge::keys::Hash;
use kenin_tests::ledger::behind_postfix;
use kenin_tests::opendkim::OpenDkim;
use kenin_tests::openssl_mail::{SignedMail, Workshop, signed_part};
use kenin_tests::sink::{Sink, fields, split};

const MAILS: usize = 200;

fn through(mode: &str) {
    let workshop = Workshop::new(Town::get());
    let dkim = OpenDkim::new();
    let sink = Sink::start();
    let (postfix, _gateway) = behind_postfix(&sink, mode, "");
    let mails: Vec<SignedMail> = workshop
        .mails(MAILS)
        .into_iter()
        .map(|mail| SignedMail {
            raw: dkim.sign(&mail.raw),
            ..mail
        })
        .collect();
    // Two clients at once: mails overtake each other on the way.
    std::thread::scope(|scope| {
        for half in mails.chunks(MAILS / 2) {
            let front = postfix.front;
            scope.spawn(move || {
                let mut client = Client::greeted(front);
                for mail in half {
                    let envelope = Envelope::new("sender@example.jp", "reader@example.jp")
                        .with("BODY=8BITMIME");
                    let reply = client.mail(&envelope, &mail.raw).expect("Postfix answers");
                    assert_eq!(reply.code, 250, "{}: {}", mail.kind.name, reply.text());
                }
            });
        }
    });
    sink.wait(MAILS, Duration::from_secs(120));
    let arrived: BTreeMap<String, Vec<u8>> = sink
        .mails()
        .into_iter()
        .map(|mail| (fields(&mail.raw, "Message-ID").concat(), mail.raw))
        .collect();
    assert_eq!(arrived.len(), MAILS);
    assert_eq!(sink.count(), MAILS, "duplicates");

    let pairs: Vec<(&SignedMail, &Vec<u8>)> = mails
        .iter()
        .map(|mail| (mail, &arrived[&mail.message_id]))
        .collect();
    for (sent, got) in &pairs {
        let name = &sent.kind.name;
        assert_eq!(split(got).1, split(&sent.raw).1, "{name}: the body changed");
        if !sent.kind.opaque {
            let before = signed_part(&sent.raw).expect("a signed part");
            let after = signed_part(got).expect("a signed part");
            assert_eq!(Hash::Sha256.of(&before), Hash::Sha256.of(&after), "{name}");
        }
        let stamp = fields(got, "Authentication-Results").concat();
        let right = match sent.kind.hash {
            Hash::Sha1 => stamp.contains("smime=policy (weak-algorithm"),
            Hash::Sha224 => !stamp.contains("smime=pass"),
            _ => stamp.contains("smime=pass"),
        };
        assert!(right, "{name}: {stamp}");
    }
    std::thread::scope(|scope| {
        for (n, half) in pairs.chunks(MAILS / 2).enumerate() {
            let workshop = &workshop;
            scope.spawn(move || {
                for (sent, got) in half {
                    let checked = workshop.verify(got, &n.to_string());
                    checked.unwrap_or_else(|e| panic!("{}: {e}", sent.kind.name));
                }
            });
        }
    });
    let delivered: Vec<Vec<u8>> = pairs.iter().map(|(_, got)| (*got).clone()).collect();
    let broken = dkim.broken(&delivered);
    assert!(
        broken.is_empty(),
        "{} DKIM signatures broke: {broken:?}",
        broken.len()
    );
}

#[test]
fn before_the_queue() {
    through("before-queue");
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
fn shown_by_milter() {
    through("milter");
}

#[test]
fn opendkim_would_notice_a_change() {
    let workshop = Workshop::new(Town::get());
    let dkim = OpenDkim::new();
    let good = dkim.sign(&workshop.mails(1)[0].raw);
    let mut bad = good.clone();
    let last = bad.len() - 10;
    bad[last] ^= 1;
    assert_eq!(dkim.broken(&[good.clone(), bad, good]), [1]);
}
