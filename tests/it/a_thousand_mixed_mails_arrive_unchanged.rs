//! 1,000 mails of every kind a day brings, signed by DKIM, through each mode behind a real Postfix and
//! behind a real Exim: each recipient gets each mail once, with the one stamp that is true of it, no
//! byte of the body changed, and the DKIM signatures hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kenin_tests::client::Client;
use kenin_tests::dkimpy::{Signer, opinions};
use kenin_tests::exim::behind_exim;
use kenin_tests::kenin::AUTHSERV_ID;
use kenin_tests::ledger::behind_postfix;
use kenin_tests::mixture::{DKIM_FIELDS, Mixed, mix, samples};
use kenin_tests::sink::{Received, Sink, split};
use kenin_tests::world::wait_within;

const MAILS: usize = 1000;
const CLIENTS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(240);

/// The mails, and a signer who knows what DKIM says of them; nothing where Python's readers are absent.
fn mails() -> Option<(Signer, Vec<Mixed>)> {
    let signer = Signer::new("example.jp");
    let mut samples = samples();
    let raw: Vec<Vec<u8>> = samples.iter().map(|(_, _, raw)| raw.clone()).collect();
    for (sample, signed) in samples.iter_mut().zip(signer.sign(&raw, &DKIM_FIELDS)?) {
        sample.2 = signed;
    }
    Some((signer, mix(&samples, MAILS)))
}

fn deliver(front: SocketAddr, mails: &[Mixed]) {
    let mut client = Client::greeted(front);
    for mail in mails {
        let reply = client.mail(&mail.envelope, &mail.raw).expect("an answer");
        assert_eq!(reply.code, 250, "{}: {}", mail.kind, reply.text());
    }
}

/// Every recipient of every mail has it once; one copy of each mail for each transaction it came in.
fn arrived(sink: &Sink, mails: &[Mixed]) -> Vec<Received> {
    wait_within(DEADLINE, "every mail arrives", || {
        sink.count() >= mails.len()
    });
    let expected: usize = mails.iter().map(|mail| mail.envelope.to.len()).sum();
    let mut got = Vec::new();
    wait_within(DEADLINE, "every recipient has his mail", || {
        got = sink.mails();
        got.iter().map(|mail| mail.recipients.len()).sum::<usize>() >= expected
    });
    let mut copies = BTreeMap::new();
    for mail in &got {
        let id = mail.fields("Message-ID").concat();
        for line in &mail.recipients {
            let address = line.split(['<', '>']).nth(1).unwrap().to_owned();
            *copies.entry((id.clone(), address)).or_insert(0) += 1;
        }
    }
    for mail in mails {
        for address in &mail.envelope.to {
            let count = copies.remove(&(mail.id.clone(), address.clone()));
            assert_eq!(count, Some(1), "{} {}, {address}", mail.kind, mail.id);
        }
    }
    assert!(copies.is_empty(), "{copies:?}");
    got
}

fn is_right(sent: &Mixed, got: &Received) {
    let what = format!("{} {}", sent.kind, sent.id);
    assert_eq!(
        got.split().1,
        split(&sent.raw).1,
        "{what}: the body changed"
    );
    let stamps = got.fields("Authentication-Results");
    match sent.result {
        Some(word) => {
            assert_eq!(stamps.len(), 1, "{what}: {stamps:?}");
            let begin = format!("{AUTHSERV_ID}; smime={word}");
            let rest = stamps[0].strip_prefix(&begin);
            let ends = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
            assert!(ends, "{what}: {stamps:?}");
        }
        None => assert!(stamps.is_empty(), "{what}: {stamps:?}"),
    }
    let statements = got.fields("X-Kenin-Verdict");
    let expected = usize::from(sent.result.is_some());
    assert_eq!(statements.len(), expected, "{what}: {statements:?}");
    assert!(
        !statements.concat().contains("e30.AAAA"),
        "{what}: a forgery stays"
    );
}

/// What somebody else's verifier says of all that was delivered, in one process. Without `[arc]` nobody
/// seals; where a gateway does, its chain is told here too.
fn is_verified(signer: &Signer, got: &[Received]) {
    let raw: Vec<Vec<u8>> = got.iter().map(|mail| mail.raw.clone()).collect();
    let Some(opinions) = opinions(&raw, &[signer.record()]) else {
        return;
    };
    for (mail, opinion) in got.iter().zip(opinions) {
        let id = mail.fields("Message-ID").concat();
        assert_eq!(opinion.dkim, [true], "{id}: DKIM broke");
        assert_eq!(opinion.chain, "none", "{id}");
    }
}

fn through(front: SocketAddr, sink: &Sink) {
    let Some((signer, mails)) = mails() else {
        return;
    };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for part in mails.chunks(MAILS.div_ceil(CLIENTS)) {
            scope.spawn(move || deliver(front, part));
        }
    });
    let got = arrived(sink, &mails);
    let delivered = begin.elapsed();
    let by_id: BTreeMap<&str, &Mixed> = mails.iter().map(|mail| (&mail.id[..], mail)).collect();
    for mail in &got {
        is_right(by_id[&mail.fields("Message-ID").concat()[..]], mail);
    }
    is_verified(&signer, &got);
    println!(
        "{} mails, {} copies, delivered in {delivered:.1?}, checked after {:.1?}",
        mails.len(),
        got.len(),
        begin.elapsed()
    );
}

fn by_postfix(mode: &str) {
    let sink = Sink::start();
    let (postfix, _gateway) = behind_postfix(&sink, mode, "");
    through(postfix.front, &sink);
}

#[test]
fn before_postfixs_queue() {
    by_postfix("before-queue");
}

#[test]
fn after_postfixs_queue() {
    by_postfix("after-queue");
}

#[test]
fn after_postfixs_queue_by_lmtp() {
    by_postfix("lmtp");
}

#[test]
fn by_postfixs_milter() {
    by_postfix("milter");
}

#[test]
fn behind_exims_queue() {
    let sink = Sink::start();
    let (exim, mut gateway) = behind_exim(&sink, "after-queue", false);
    gateway.restart();
    through(exim.front, &sink);
}

/// The check would notice.
#[test]
fn a_changed_byte_breaks_dkim() {
    let Some((signer, mails)) = mails() else {
        return;
    };
    let good = mails[0].raw.clone();
    let mut bad = good.clone();
    let last = bad.len() - 10;
    bad[last] ^= 1;
    let opinions = opinions(&[good, bad], &[signer.record()]).unwrap();
    assert_eq!(
        (&opinions[0].dkim[..], &opinions[1].dkim[..]),
        (&[true][..], &[false][..])
    );
}
