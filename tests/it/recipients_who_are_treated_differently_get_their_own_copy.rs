//! One mail, several rules, one answer (SMTP): a copy for each group, what may come later comes once,
//! and what cannot come is told to the sender.

use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};

const RULES: &str = "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                     then = { enforce = \"strict\" }\n\
                     [[rule]]\nwhen = { recipient_domain = \"ja.example\" }\n\
                     then = { stamp = \"subject\", language = \"ja\" }\n\
                     [[rule]]\nwhen = { recipient_domain = \"en.example\" }\n\
                     then = { stamp = \"subject\" }\n";

fn gateway(sink: &Sink, mode: &'static str) -> Gateway {
    Gateway::start(&Setup {
        mode,
        mail: RULES.to_owned(),
        ..Setup::new(sink.address)
    })
}

fn to(recipients: &[&str]) -> Envelope {
    Envelope {
        to: recipients.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new("sender@example.jp", recipients[0])
    }
}

fn signed() -> Vec<u8> {
    let town = Town::get();
    town.clear_signed(&town.bob, "bob@example.jp", "Pay one")
}

fn tampered() -> Vec<u8> {
    let text = String::from_utf8(signed()).unwrap();
    text.replace("Pay one", "Pay two").into_bytes()
}

/// The mail that this recipient got.
fn of<'a>(got: &'a [Received], recipient: &str) -> &'a Received {
    let line = format!("RCPT TO:<{recipient}>");
    let mut own = got.iter().filter(|mail| mail.recipients.contains(&line));
    let found = own
        .next()
        .unwrap_or_else(|| panic!("{recipient} got nothing"));
    assert!(own.next().is_none(), "{recipient} got it twice");
    found
}

fn subject(mail: &Received) -> String {
    mail.fields("Subject").join("|")
}

const ALL: [&str; 4] = [
    "a@x.example",
    "b@en.example",
    "c@ja.example",
    "d@en.example",
];

#[test]
fn each_domain_has_its_stamp_and_the_signed_bytes_stay() {
    let sink = Sink::start();
    let gateway = gateway(&sink, "before-queue");
    let raw = signed();
    assert_eq!(gateway.send(&to(&ALL), &raw).code, 250);
    let got = sink.wait(3, Duration::from_secs(30));
    assert_eq!(got.len(), 3);
    let plain = subject(of(&got, ALL[0]));
    let tagged = of(&got, ALL[1]);
    assert_eq!(tagged.recipients.len(), 2, "alike, together");
    assert_eq!(subject(tagged), format!("[Signature valid] {plain}"));
    let word = "=?UTF-8?B?W+e9suWQjeacieWKuV0=?=";
    assert_eq!(subject(of(&got, ALL[2])), format!("{word} {plain}"));
    let body = kenin_tests::sink::split(&raw).1;
    for mail in &got {
        assert_eq!(mail.split().1, body);
        assert!(mail.fields("Authentication-Results")[0].contains("smime=pass"));
    }
}

#[test]
fn a_tag_that_came_along_reaches_nobody() {
    let sink = Sink::start();
    let gateway = gateway(&sink, "before-queue");
    let raw = "From: eve@example.org\r\nSubject: [Signature valid] Hello\r\n\r\nhi\r\n";
    assert_eq!(gateway.send(&to(&ALL), raw.as_bytes()).code, 250);
    for mail in sink.wait(1, Duration::from_secs(30)) {
        assert_eq!(subject(&mail), "Hello");
    }
}

#[test]
fn the_strict_recipients_refusal_is_told_to_the_sender() {
    let sink = Sink::start();
    let gateway = gateway(&sink, "before-queue");
    let reply = gateway.send(&to(&["a@x.example", "b@strict.example"]), &tampered());
    assert_eq!(reply.code, 250, "{reply:?}");
    let got = sink.wait(2, Duration::from_secs(30));
    let stamped = of(&got, "a@x.example");
    assert!(stamped.fields("Authentication-Results")[0].contains("smime=fail"));
    let told = of(&got, "sender@example.jp");
    assert_eq!(
        told.mail.split(' ').take(2).collect::<Vec<_>>().join(" "),
        "MAIL FROM:<>"
    );
    let text = String::from_utf8(told.raw.clone()).unwrap();
    for part in [
        "report-type=delivery-status",
        "Final-Recipient: rfc822; b@strict.example\r\nAction: failed\r\nStatus: 5.7.7\r\n",
        "digest-mismatch",
        "Content-Type: text/rfc822-headers",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Pay two"), "no content goes back");
    // The null sender cannot be told: nobody gets it.
    let null = Envelope {
        from: String::new(),
        ..to(&["a@x.example", "b@strict.example"])
    };
    assert_eq!(gateway.send(&null, &tampered()).code, 550);
    assert_eq!(sink.count(), 2);
}

#[test]
fn what_was_delivered_is_not_delivered_again_also_after_a_kill() {
    let late = |mail: &Received| mail.recipients.iter().any(|to| to.contains("ja.example"));
    let sink = Sink::with(
        Behaviour::default().at_dot(move |_, mail| match late(mail) {
            true => Dot::Reply("452 4.2.2 Mailbox full".to_owned()),
            false => Dot::Accept,
        }),
    );
    let mut gateway = gateway(&sink, "before-queue");
    let raw = signed();
    let reply = gateway.send(&to(&ALL), &raw);
    assert_eq!((reply.code, sink.count()), (452, 2), "{reply:?}");
    gateway.kill();
    gateway.restart();
    let reply = gateway.send(&to(&ALL), &raw);
    assert_eq!((reply.code, sink.count()), (452, 2), "{reply:?}");
    sink.behave(Behaviour::default());
    // Another Received on top, as a mail server writes one at each try.
    let again = [
        &b"Received: from y by z; Mon, 1 Jan 2024 00:00:00 +0000\r\n"[..],
        &raw,
    ]
    .concat();
    assert_eq!(gateway.send(&to(&ALL), &again).code, 250);
    assert_eq!(sink.count(), 3);
    for recipient in ALL {
        of(&sink.mails(), recipient);
    }
}

#[test]
fn a_milter_has_one_body_for_all() {
    let sink = Sink::start();
    let (postfix, mut gateway) = kenin_tests::ledger::behind_postfix(&sink, "milter", "");
    std::fs::write(gateway.folder.join("mail.toml"), RULES).unwrap();
    gateway.restart();
    let one = to(&["b@en.example"]);
    let reply = kenin_tests::client::send(postfix.front, &one, &signed());
    assert_eq!(reply.code, 250, "{reply:?}");
    let got = sink.wait(1, Duration::from_secs(60));
    assert!(
        subject(&got[0]).starts_with("[Signature valid] "),
        "{}",
        subject(&got[0])
    );
    sink.clear();
    let reply = kenin_tests::client::send(postfix.front, &to(&ALL), &signed());
    assert_eq!(reply.code, 250, "{reply:?}");
    for mail in sink.wait(1, Duration::from_secs(60)) {
        assert!(!subject(&mail).contains("[Signature"), "{}", subject(&mail));
        assert!(mail.fields("Authentication-Results")[0].contains("smime=pass"));
    }
}
