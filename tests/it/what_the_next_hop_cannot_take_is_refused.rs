//! SMTP-06, 07, 09, HDR-04: 8-bit signed mail to a 7-bit hop, XFORWARD from strangers, loops, header
//! blocks beyond the limits. Refused with the right reply, never re-encoded, never lost.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Sink, split};

#[test]
fn signed_8bit_mail_to_a_7bit_hop_is_refused() {
    let town = Town::get();
    let sink = Sink::with(Behaviour::default().without("8BITMIME"));
    let gateway = Gateway::start(&Setup::new(sink.address));
    let reply = Client::greeted(gateway.address).command("EHLO x.example");
    assert!(reply.has("8BITMIME"), "always offered: {}", reply.text());
    let part = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n日本語\r\n";
    let cms = cms::detached(&town.bob, &town.chain(), part.as_bytes());
    let raw = mime::clear_signed(&mime::headers("bob@example.jp"), part.as_bytes(), &cms);
    let reply = gateway.send(&envelope(), &raw);
    assert_eq!(reply.code, 550, "{}", reply.text());
    assert!(reply.text().contains("5.6.1"), "{}", reply.text());
    assert_eq!(sink.count(), 0);
    // 7-bit mail goes through the same hop, also where the client said BODY=8BITMIME.
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "ascii only");
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(!got.mail.contains("8BITMIME"), "{}", got.mail);
    assert_eq!(got.split().1, split(&raw).1);
}

#[test]
fn an_international_address_needs_a_hop_that_takes_it() {
    let sink = Sink::with(Behaviour::default().without("SMTPUTF8"));
    let gateway = Gateway::start(&Setup::new(sink.address));
    // Learnt from the next hop by the first mail at the latest.
    assert_eq!(
        gateway
            .send(
                &envelope(),
                &mime::plain(&mime::headers("a@b.example"), "x")
            )
            .code,
        250
    );
    let mut client = gateway.client();
    let to = Envelope::new("a@example.jp", "山田@example.jp").with("BODY=8BITMIME SMTPUTF8");
    let reply = client
        .mail(&to, &mime::plain(&mime::headers("a@b.example"), "x"))
        .unwrap();
    assert_eq!(reply.code / 100, 5, "{}", reply.text());
    assert_eq!(sink.count(), 1);
}

#[test]
fn smtputf8_passes_where_the_hop_takes_it() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    assert_eq!(
        gateway
            .send(
                &envelope(),
                &mime::plain(&mime::headers("a@b.example"), "x")
            )
            .code,
        250
    );
    let to = Envelope::new("山本@example.jp", "山田@example.jp").with("BODY=8BITMIME SMTPUTF8");
    let reply = gateway.send(
        &to,
        &mime::plain(&mime::headers("山本@example.jp"), "日本語"),
    );
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    assert!(
        got.mail.contains("SMTPUTF8") && got.mail.contains("山本@example.jp"),
        "{}",
        got.mail
    );
}

#[test]
fn xforward_is_for_trusted_peers_only() {
    let sink =
        Sink::with(Behaviour::default().with("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"));
    let mut setup = Setup::new(sink.address);
    setup.trusted_peers = Some("[\"192.0.2.0/24\"]".to_owned());
    let stranger = Gateway::start(&setup);
    let mut client = Client::connect(stranger.address);
    client.reply().unwrap();
    assert!(!client.command("EHLO x.example").has("XFORWARD"));
    let reply = client.command("XFORWARD NAME=evil.example ADDR=203.0.113.1");
    assert!(matches!(reply.code, 500..=599), "{}", reply.text());
    setup.trusted_peers = None;
    let gateway = Gateway::start(&setup);
    let mut client = Client::connect(gateway.address);
    client.reply().unwrap();
    assert!(client.command("EHLO x.example").has("XFORWARD"));
    assert_eq!(
        client
            .command("XFORWARD NAME=client.example ADDR=203.0.113.1 IDENT=4F1A2B")
            .code,
        250
    );
    let raw = mime::plain(&mime::headers("a@b.example"), "x");
    assert_eq!(client.mail(&envelope(), &raw).unwrap().code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(
        got.xforward.iter().any(|line| line.contains("203.0.113.1")),
        "{:?}",
        got.xforward
    );
    kenin_tests::world::wait_for("the upstream id joins the two logs", || {
        gateway.log().contains("4F1A2B")
    });
}

#[test]
fn a_mail_that_goes_round_is_stopped() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let trace = |n: usize| {
        "Received: from a by b; Fri, 01 May 2026 12:00:00 +0000\r\n"
            .repeat(n)
            .into_bytes()
    };
    let mail = |n: usize| {
        mime::plain(
            &mime::join(&[&trace(n), &mime::headers("a@b.example")]),
            "x",
        )
    };
    let reply = gateway.send(&envelope(), &mail(101));
    assert_eq!(reply.code, 554, "{}", reply.text());
    assert!(reply.text().contains("5.4.6"), "{}", reply.text());
    assert_eq!(sink.count(), 0);
    assert_eq!(gateway.send(&envelope(), &mail(90)).code, 250);
    // Through Kenin again and again.
    let mut raw = mail(0);
    let mut rounds = 0;
    loop {
        let reply = gateway.send(&envelope(), &raw);
        if reply.code != 250 {
            assert_eq!(reply.code, 554, "{}", reply.text());
            break;
        }
        rounds += 1;
        assert!(rounds < 120, "it goes round for ever");
        raw = sink
            .wait(rounds + 1, Duration::from_secs(30))
            .pop()
            .unwrap()
            .raw;
    }
}

#[test]
fn headers_beyond_the_limits_are_refused_and_long_bodies_pass() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let with = |fields: String| {
        mime::plain(
            &mime::join(&[fields.as_bytes(), &mime::headers("a@b.example")]),
            "x",
        )
    };
    for (name, raw) in [
        (
            "a header of 2 MiB",
            with(
                "X-A: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(36_000),
            ),
        ),
        ("100,000 fields", with("A: b\r\n".repeat(100_000))),
        ("2,100 fields", with("A: b\r\n".repeat(2_100))),
        (
            "a field name of 1 MiB",
            with(format!("{}: x\r\n", "N".repeat(1 << 20))),
        ),
    ] {
        let reply = gateway.send(&envelope(), &raw);
        let text = reply.text();
        assert!(
            (reply.code == 552 && text.contains("5.3.4"))
                || (reply.code == 550 && text.contains("5.6.0")),
            "{name}: {text}"
        );
    }
    assert_eq!(sink.count(), 0);
    assert_eq!(
        gateway
            .send(&envelope(), &with("A: b\r\n".repeat(1_900)))
            .code,
        250
    );
    let long = mime::plain(&mime::headers("a@b.example"), &"z".repeat(1 << 20));
    assert_eq!(gateway.send(&envelope(), &long).code, 250);
    let got = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    assert_eq!(got.split().1, split(&long).1);
}

#[test]
fn a_mail_beyond_the_size_limit_is_refused_before_it_is_parsed() {
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.limits = "message_size = 100000".to_owned();
    let gateway = Gateway::start(&setup);
    let reply = gateway.client().command("EHLO x.example");
    assert!(reply.text().contains("SIZE 100000"), "{}", reply.text());
    let reply = gateway
        .client()
        .command("MAIL FROM:<a@example.jp> SIZE=100001");
    assert!(
        reply.code == 552 && reply.text().contains("5.3.4"),
        "{}",
        reply.text()
    );
    let mail = |n: usize| mime::plain(&mime::headers("a@b.example"), &"z\r\n".repeat(n / 3));
    let reply = gateway.send(&envelope(), &mail(120_000));
    assert!(
        reply.code == 552 && reply.text().contains("5.3.4"),
        "{}",
        reply.text()
    );
    assert_eq!(sink.count(), 0);
    assert_eq!(gateway.send(&envelope(), &mail(90_000)).code, 250);
}
