//! LMTP (RFC 2033): one answer a recipient, each true for its own.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope, stuffed};
use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::wait_within;

fn setup(sink: &Sink) -> Setup {
    Setup {
        mode: "lmtp",
        ..Setup::new(sink.address).strict("strict.example")
    }
}

fn greeted(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address);
    let greeting = client.reply().unwrap();
    assert!(greeting.text().ends_with("LMTP Kenin"), "{greeting:?}");
    let hello = client.command("LHLO client.example");
    assert!(hello.code == 250 && hello.has("PIPELINING") && hello.has("8BITMIME"));
    client
}

/// Sends a mail and returns the answers to its dot.
fn send(client: &mut Client, to: &[&str], raw: &[u8]) -> Vec<u16> {
    assert_eq!(client.command("MAIL FROM:<sender@example.jp>").code, 250);
    let accepted = to
        .iter()
        .filter(|to| client.command(&format!("RCPT TO:<{to}>")).code == 250)
        .count();
    assert_eq!(client.command("DATA").code, 354);
    client.send(&stuffed(raw));
    (0..accepted)
        .map(|_| client.reply().unwrap().code)
        .collect()
}

fn tampered() -> Vec<u8> {
    let town = Town::get();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "Pay one");
    let text = String::from_utf8(raw).unwrap();
    text.replace("Pay one", "Pay two").into_bytes()
}

#[test]
fn only_the_strict_recipient_is_refused() {
    let sink = Sink::with(Behaviour {
        recipients: vec![("nobody@".to_owned(), "550 5.1.1 No such user".to_owned())],
        ..Behaviour::default()
    });
    let gateway = Gateway::start(&setup(&sink));
    let mut client = greeted(&gateway);
    let to = [
        "a@example.jp",
        "b@strict.example",
        "nobody@example.jp",
        "c@example.jp",
    ];
    assert_eq!(send(&mut client, &to, &tampered()), [250, 550, 250]);
    let got = sink.wait(1, Duration::from_secs(30));
    assert_eq!(got.len(), 1);
    assert_eq!(
        got[0].recipients,
        ["RCPT TO:<a@example.jp>", "RCPT TO:<c@example.jp>"]
    );
    assert!(got[0].fields("Authentication-Results")[0].contains("smime=fail"));
    assert!(got[0].fields("Received")[0].contains(" with LMTP"));
    // All of one mind: the transaction that is under way goes on.
    let good = Town::get().clear_signed(&Town::get().bob, "bob@example.jp", "Good");
    assert_eq!(send(&mut client, &to[..2], &good), [250, 250]);
    assert_eq!(sink.wait(2, Duration::from_secs(30))[1].recipients.len(), 2);
    assert_eq!(send(&mut client, &["x@strict.example"], &tampered()), [550]);
    assert_eq!(client.command("QUIT").code, 221);
    assert_eq!(sink.count(), 2);
    kenin_tests::world::wait_for("the log says so", || {
        let log = gateway.log();
        log.contains("\"fate\":\"divided\"") && log.contains("mail.toml#1")
    });
}

#[test]
fn the_next_hops_answer_is_each_recipients() {
    let sink = Sink::with(Behaviour::default().at_dot(|n, _| match n {
        0 => Dot::Reply("452 4.2.2 Mailbox full".to_owned()),
        1 => Dot::Die,
        2 => Dot::KeepAndDie,
        _ => Dot::Accept,
    }));
    let gateway = Gateway::start(&setup(&sink));
    let mut client = greeted(&gateway);
    let to = ["a@example.jp", "b@strict.example", "c@example.jp"];
    assert_eq!(send(&mut client, &to, &tampered()), [452, 550, 452]);
    assert_eq!(send(&mut client, &to, &tampered()), [451, 550, 451]);
    assert_eq!(send(&mut client, &to, &tampered()), [451, 550, 451]);
    assert_eq!(send(&mut client, &to, &tampered()), [250, 550, 250]);
    assert_eq!(
        sink.count(),
        2,
        "the third is in doubt, the fourth is there"
    );
}

#[test]
fn what_is_refused_before_the_filter_is_refused_for_each() {
    let sink = Sink::start();
    let gateway = Gateway::start(&setup(&sink));
    let mut client = greeted(&gateway);
    let loops = format!("{}\r\nx\r\n", "Received: from a by b\r\n".repeat(101));
    let to = ["a@example.jp", "c@example.jp"];
    assert_eq!(send(&mut client, &to, loops.as_bytes()), [554, 554]);
    assert_eq!(client.command("NOOP").code, 250);
    assert_eq!(sink.count(), 0);
}

#[test]
fn it_is_not_taken_for_smtp() {
    let sink = Sink::with(Behaviour {
        recipients: vec![("nobody@".to_owned(), "550 5.1.1 No such user".to_owned())],
        ..Behaviour::default()
    });
    let gateway = Gateway::start(&setup(&sink));
    let mut client = Client::connect(gateway.address);
    client.reply().unwrap();
    assert_eq!(client.command("EHLO c").code, 500);
    assert_eq!(client.command("HELO c").code, 500);
    assert_eq!(client.command("MAIL FROM:<a@b.example>").code, 503);
    let mut client = greeted(&gateway);
    assert_eq!(client.command("MAIL FROM:<a@b.example>").code, 250);
    assert_eq!(client.command("RCPT TO:<nobody@example.jp>").code, 550);
    // RFC 2033 §4.2.
    assert_eq!(client.command("DATA").code, 503);
    let smtp = Gateway::start(&Setup::new(sink.address));
    assert_eq!(smtp.client().command("LHLO c").code, 500);
}

/// Postfix keeps a mail for those whose answer was temporary, and returns it for those whose answer was
/// not, one by one.
#[test]
fn postfix_hears_each_answer() {
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "lmtp", "");
    let rule = "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                then = { enforce = \"strict\" }\n";
    std::fs::write(gateway.folder.join("mail.toml"), rule).unwrap();
    gateway.restart();
    let envelope = Envelope {
        to: ["a@example.jp", "b@strict.example"]
            .map(str::to_owned)
            .to_vec(),
        ..Envelope::new("sender@example.jp", "a@example.jp")
    };
    let mut client = Client::greeted(postfix.front);
    assert_eq!(client.mail(&envelope, &tampered()).unwrap().code, 250);
    // The mail for one, and Postfix's own notice to the sender about the other.
    let got = sink.wait(2, Duration::from_secs(60));
    let of = |to: &str| {
        let all: Vec<_> = got
            .iter()
            .filter(|mail| mail.recipients.concat().contains(to))
            .collect();
        assert_eq!(all.len(), 1, "{to}");
        all[0].clone()
    };
    assert!(of("a@example.jp").fields("Authentication-Results")[0].contains("smime=fail"));
    let notice = String::from_utf8_lossy(&of("sender@example.jp").raw).into_owned();
    assert!(
        notice.contains("b@strict.example") && notice.contains("digest-mismatch"),
        "{notice}"
    );
    assert!(
        !notice.contains("Final-Recipient: rfc822; a@example.jp"),
        "{notice}"
    );
    wait_within(Duration::from_secs(30), "Postfix is done", || {
        postfix.queued() == 0
    });
}
