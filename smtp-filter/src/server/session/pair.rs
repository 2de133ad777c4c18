//! The client's session against the server's, and the rule that it never matters how bytes are
//! split over packets.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::tests::{Bench, config};
use crate::{
    client,
    server::{BareNewline, ServerConfig},
};

/// The client's own session against ours, with every byte stream cut where `cuts` says.
fn converse(mail: &[u8], cuts: &[usize]) -> (Vec<(String, Vec<u8>)>, Vec<u16>) {
    let now = Instant::now();
    let mut bench = Bench::new(config());
    let patience = Duration::from_secs(60);
    let mut client =
        client::session::Session::new("me", client::session::Tls::Never, patience, now);
    let mut cuts = cuts.iter().copied().cycle();
    let mut todo = vec![
        "QUIT",
        "",
        "DATA",
        "RCPT TO:<c@d>",
        "RCPT TO:<bad@d>",
        "MAIL FROM:<a@b>",
    ];
    let mut codes = Vec::new();
    let mut to_client = b"220 gw.test\r\n".to_vec();
    while !bench.closed {
        let cut = cuts.next().unwrap_or(1).clamp(1, to_client.len().max(1));
        let rest = to_client.split_off(cut.min(to_client.len()));
        client.receive(&std::mem::replace(&mut to_client, rest));
        let mut to_server = client.transmit().unwrap_or_default();
        while let Some(event) = client.poll(now) {
            to_server.extend(client.transmit().unwrap_or_default());
            match event {
                client::session::Event::Ready => {}
                client::session::Event::Reply(reply) => codes.push(reply.code()),
                other => panic!("{other:?}"),
            }
            match todo.pop() {
                Some("") => {
                    let mut stuffer = crate::outgoing::Stuffer::new();
                    stuffer.push(mail, &mut to_server);
                    stuffer.finish(&mut to_server);
                    client.data_sent(patience, now);
                }
                Some(command) => assert!(client.command(command, patience, now)),
                None => {}
            }
            to_server.extend(client.transmit().unwrap_or_default());
        }
        to_server.extend(client.transmit().unwrap_or_default());
        while !to_server.is_empty() {
            let cut = cuts.next().unwrap_or(1).clamp(1, to_server.len());
            let rest = to_server.split_off(cut);
            to_client.extend(bench.send(&to_server).into_bytes());
            to_server = rest;
        }
    }
    client.receive(&to_client);
    while let Some(client::session::Event::Reply(reply)) = client.poll(now) {
        codes.push(reply.code());
    }
    let mails = bench
        .mails
        .into_iter()
        .map(|(e, content)| (e.mail_from, content))
        .collect();
    (mails, codes)
}

/// All that a session said and got, the wire being cut into pieces of the given sizes.
fn transcript(mode: BareNewline, content: &[u8], cuts: &[usize]) -> (String, Vec<Vec<u8>>, usize) {
    let mut bench = Bench::new(ServerConfig {
        bare_newline: mode,
        ..config()
    });
    let mut said = String::new();
    let mut cuts = cuts.iter().copied().cycle();
    for part in [
        &b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"[..],
        content,
        b"\r\n.\r\nNOOP\r\nMAIL FROM:<e@f>\r\nRSET\r\nQUIT\r\n",
    ] {
        let mut rest = part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(9999).clamp(1, rest.len()));
            said += &bench.send(now);
            rest = later;
        }
    }
    (
        said,
        bench
            .mails
            .into_iter()
            .map(|(_, content)| content)
            .collect(),
        bench.rejected,
    )
}

proptest! {
    #[test]
    fn a_pair_carries_any_mail(
        lines in proptest::collection::vec("[.a\\x00-\\x09\u{e4}]{0,5}", 0..20),
        cuts in proptest::collection::vec(1_usize..40, 1..9),
    ) {
        let mail: Vec<u8> = lines.iter().flat_map(|l| format!(" {l}\r\n.{l}\r\n").into_bytes()).collect();
        let (mails, codes) = converse(&mail, &cuts);
        prop_assert_eq!(codes, [250, 550, 250, 354, 250, 221]);
        prop_assert_eq!(mails, [("a@b".to_owned(), mail)]);
    }

    #[test]
    fn splits_change_nothing(
        tokens in proptest::collection::vec(
            prop_oneof![Just("\r"), Just("\n"), Just("."), Just("\r\n"), Just("\0"), Just("a: b"),
                Just("\r\n.\r\n"), Just("RSET\r\n"), Just("Received: x\r\n")], 0..30),
        cuts in proptest::collection::vec(1_usize..30, 1..9),
        normalize: bool,
    ) {
        let mode = if normalize { BareNewline::Normalize } else { BareNewline::Reject };
        let content = tokens.concat();
        let whole = transcript(mode, content.as_bytes(), &[9999]);
        prop_assert_eq!(transcript(mode, content.as_bytes(), &cuts), whole);
    }

    #[test]
    fn any_bytes_are_safe(chunks in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let mut bench = Bench::new(config());
        for chunk in chunks {
            for line in bench.send(chunk).lines() {
                prop_assert!(line.len() >= 4 && line.is_ascii());
            }
        }
    }

    #[test]
    fn any_commands_are_safe(lines in proptest::collection::vec(
        "(EHLO|HELO|MAIL FROM:|RCPT TO:|DATA|RSET|QUIT|XFORWARD|STARTTLS|\\.)( ?<?[a@.\" =]{0,9}>?)", 0..20)) {
        let mut bench = Bench::new(with_trust());
        for line in lines {
            bench.send(format!("{line}\r\n"));
        }
        prop_assert!(bench.mails.iter().all(|(e, _)| !e.rcpt_to.is_empty()));
    }
}

fn with_trust() -> ServerConfig {
    ServerConfig {
        trusted_peers: vec!["192.0.2.1".parse().unwrap()],
        ..config()
    }
}
