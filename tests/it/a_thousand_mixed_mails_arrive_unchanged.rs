//! 1,000 mails of every kind a day brings, signed by DKIM, through each mode behind a real Postfix and
//! behind a real Exim: each recipient gets each mail once, with the one stamp that is true of it, no
//! byte of the body changed, and the DKIM signatures hold. The same where Kenin tags Subjects: then it
//! seals what it changed, and the chain holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kenin_tests::client::Client;
use kenin_tests::dkimpy::{Signer, opinions};
use kenin_tests::dns::NameServer;
use kenin_tests::exim::behind_exim;
use kenin_tests::kenin::AUTHSERV_ID;
use kenin_tests::ledger::behind_postfix;
use kenin_tests::mixture::{DKIM_FIELDS, Mixed, mix, samples};
use kenin_tests::sealing::Sealing;
use kenin_tests::sink::{Received, Sink, fields, split};
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

/// The words in front of a Subject; mail that is not signed and mail of lists gets none.
fn tag(mail: &Mixed) -> Option<&'static str> {
    if mail.kind.contains("list") {
        return None;
    }
    match mail.result? {
        "pass" => Some("[Signature valid] "),
        "policy" => Some("[Signed, not accepted] "),
        "fail" => Some("[Signature INVALID] "),
        _ => None,
    }
}

/// What somebody else's verifier says of all that was delivered, in one process: what was not changed
/// has its DKIM signature, what was changed has a seal.
fn is_verified(signer: &Signer, sealing: Option<&Sealing>, got: &[(&Mixed, &Received)]) {
    let raw: Vec<Vec<u8>> = got.iter().map(|(_, mail)| mail.raw.clone()).collect();
    let records: Vec<_> = [signer.record()]
        .into_iter()
        .chain(sealing.map(Sealing::record))
        .collect();
    let Some(opinions) = opinions(&raw, &records) else {
        return;
    };
    let mut sealed = 0;
    for ((sent, mail), opinion) in got.iter().zip(opinions) {
        let what = format!("{} {}", sent.kind, sent.id);
        let tag = sealing.and_then(|_| tag(sent));
        let subject = mail.fields("Subject").concat();
        let before = fields(&sent.raw, "Subject").concat();
        assert_eq!(
            subject,
            format!("{}{before}", tag.unwrap_or_default()),
            "{what}"
        );
        assert_eq!(opinion.dkim, [tag.is_none()], "{what}: DKIM");
        if tag.is_some() {
            sealed += 1;
            assert_eq!(opinion.chain, "pass", "{what}");
            assert_eq!(opinion.sets, [(1, true, true)], "{what}");
            let told = mail.fields("ARC-Authentication-Results").concat();
            assert!(
                told.contains("dkim=pass header.d=example.jp"),
                "{what}: {told}"
            );
        } else {
            assert_eq!(opinion.chain, "none", "{what}");
        }
    }
    println!("{sealed} copies are sealed");
}

fn through(
    front: SocketAddr,
    sink: &Sink,
    signer: &Signer,
    mails: &[Mixed],
    sealing: Option<&Sealing>,
) {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for part in mails.chunks(MAILS.div_ceil(CLIENTS)) {
            scope.spawn(move || deliver(front, part));
        }
    });
    let got = arrived(sink, mails);
    let delivered = begin.elapsed();
    let by_id: BTreeMap<&str, &Mixed> = mails.iter().map(|mail| (&mail.id[..], mail)).collect();
    let pairs: Vec<(&Mixed, &Received)> = got
        .iter()
        .map(|mail| (by_id[&mail.fields("Message-ID").concat()[..]], mail))
        .collect();
    for (sent, mail) in &pairs {
        is_right(sent, mail);
    }
    is_verified(signer, sealing, &pairs);
    println!(
        "{} mails, {} copies, delivered in {delivered:.1?}, checked after {:.1?}",
        mails.len(),
        got.len(),
        begin.elapsed()
    );
}

/// A name server that knows the sender's key and the gateway's.
fn name_server(signer: &Signer, sealing: &Sealing) -> NameServer {
    NameServer::start(&[signer.record(), sealing.record()])
}

/// Twice: with header fields alone, then with tags and seals.
fn by_postfix(mode: &str) {
    let Some((signer, mails)) = mails() else {
        return;
    };
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, mode, "");
    through(postfix.front, &sink, &signer, &mails, None);
    sink.clear();
    let sealing = Sealing::new("gw.example.jp");
    let dns = name_server(&signer, &sealing);
    sealing.switch_on(&gateway, &dns);
    gateway.restart();
    through(postfix.front, &sink, &signer, &mails, Some(&sealing));
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
    let Some((signer, mails)) = mails() else {
        return;
    };
    let sink = Sink::start();
    let (exim, mut gateway) = behind_exim(&sink, "after-queue", false);
    gateway.restart();
    through(exim.front, &sink, &signer, &mails, None);
    sink.clear();
    let sealing = Sealing::new("gw.example.jp");
    let dns = name_server(&signer, &sealing);
    sealing.switch_on(&gateway, &dns);
    gateway.restart();
    through(exim.front, &sink, &signer, &mails, Some(&sealing));
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
