//! Kenin has no queue: what the next hop says is what the client hears, and what the next hop did not
//! take is never answered 250. The table of failures, row by row.

use std::sync::Arc;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::{free_address, wait_for};

fn mail() -> Vec<u8> {
    mime::plain(&mime::headers("a@b.example"), "x")
}

fn at_dot(dot: Dot) -> Behaviour {
    Behaviour::default().at_dot(move |_, _| dot.clone())
}

#[test]
fn a_next_hop_that_is_not_there_is_a_tempfail() {
    let gateway = Gateway::start(&Setup::new(free_address()));
    let mut client = gateway.client();
    let reply = client.command("MAIL FROM:<a@b.example>");
    assert_eq!(reply.code, 451, "{}", reply.text());
    assert!(reply.text().contains("4.4.1"), "{}", reply.text());
    assert_eq!(client.command("NOOP").code, 250, "the session goes on");
}

#[test]
fn replies_to_mail_and_rcpt_are_relayed() {
    let mut behaviour = Behaviour::default();
    behaviour
        .recipients
        .push(("full@".to_owned(), "452 4.2.2 Mailbox full".to_owned()));
    behaviour
        .recipients
        .push(("nobody@".to_owned(), "550 5.1.1 No such user".to_owned()));
    let sink = Sink::with(behaviour);
    let gateway = Gateway::start(&Setup::new(sink.address));
    let mut client = gateway.client();
    assert_eq!(client.command("MAIL FROM:<a@b.example>").code, 250);
    let reply = client.command("RCPT TO:<full@d.example>");
    assert!(
        reply.code == 452 && reply.text().contains("4.2.2"),
        "{}",
        reply.text()
    );
    let reply = client.command("RCPT TO:<nobody@d.example>");
    assert!(
        reply.code == 550 && reply.text().contains("5.1.1"),
        "{}",
        reply.text()
    );
    assert_eq!(client.command("RCPT TO:<some@d.example>").code, 250);
    assert_eq!(client.command("DATA").code, 354);
    client.send(&kenin_tests::client::stuffed(&mail()));
    assert_eq!(client.reply().unwrap().code, 250);
    assert_eq!(sink.mails()[0].recipients.len(), 1);
    let refusing = Behaviour {
        mail: Some("550 5.7.1 Not you".to_owned()),
        ..Behaviour::default()
    };
    sink.behave(refusing);
    let reply = gateway.client().command("MAIL FROM:<a@b.example>");
    assert!(
        reply.code == 550 && reply.text().contains("5.7.1"),
        "{}",
        reply.text()
    );
}

#[test]
fn the_reply_to_the_dot_is_the_next_hops() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    for (line, code, enhanced) in [
        ("451 4.3.0 Try later", 451, "4.3.0"),
        ("452 4.3.1 Full", 452, "4.3.1"),
        ("550 5.7.1 No", 550, "5.7.1"),
        ("554 5.6.0 Bad content", 554, "5.6.0"),
    ] {
        sink.behave(at_dot(Dot::Reply(line.to_owned())));
        let reply = gateway.send(&envelope(), &mail());
        assert_eq!(reply.code, code, "{line}: {}", reply.text());
        assert!(reply.text().contains(enhanced), "{line}: {}", reply.text());
        assert!(
            reply.text().contains("next hop said:"),
            "{line}: {}",
            reply.text()
        );
        assert_eq!(sink.count(), 0);
    }
    let refusing = Behaviour {
        data: Some("451 4.3.2 Busy".to_owned()),
        ..Behaviour::default()
    };
    sink.behave(refusing);
    let reply = gateway.send(&envelope(), &mail());
    assert_eq!(reply.code, 451, "{}", reply.text());
    assert_eq!(sink.count(), 0);
}

#[test]
fn a_next_hop_that_dies_at_the_dot_leaves_it_in_doubt() {
    let sink = Sink::with(at_dot(Dot::KeepAndDie));
    let gateway = Gateway::start(&Setup::new(sink.address));
    let reply = gateway.send(&envelope(), &mail());
    assert_eq!(reply.code, 451, "{}", reply.text());
    assert!(reply.text().contains("4.4.2"), "{}", reply.text());
    sink.behave(at_dot(Dot::Die));
    let reply = gateway.send(&envelope(), &mail());
    assert_eq!(reply.code, 451, "{}", reply.text());
    sink.behave(Behaviour::default());
    assert_eq!(
        gateway.send(&envelope(), &mail()).code,
        250,
        "and the next one goes through"
    );
}

#[test]
fn a_client_that_leaves_before_the_dot_sends_nothing() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    for end in [
        &b"Subject: half\r\n\r\nx"[..],
        b"Subject: half\r\n\r\nx\r\n.",
        b"Subject: half\r\n\r\nx\r\n.\r",
    ] {
        let mut client = gateway.client();
        for line in ["MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>"] {
            assert_eq!(client.command(line).code, 250);
        }
        assert_eq!(client.command("DATA").code, 354);
        client.send(end);
        client.finish();
        let replies = client.replies(Duration::from_secs(5));
        assert!(replies.iter().all(|r: &Reply| r.code >= 400), "{replies:?}");
    }
    assert_eq!(sink.count(), 0);
    assert_eq!(gateway.send(&envelope(), &mail()).code, 250);
}

#[test]
fn strict_domains_get_refusals_and_others_get_stamps() {
    let town = Town::get();
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address).strict("strict.example"));
    let good = town.clear_signed(&town.bob, "bob@example.jp", "good");
    let text = String::from_utf8(good.clone()).unwrap();
    let tampered = text.replace("good", "evil").into_bytes();
    let weak = town.clear_signed(&town.weak, "weak@example.jp", "weak");
    let revoked = town.clear_signed(&town.rita, "rita@example.jp", "revoked");
    let other = town.clear_signed(&town.mallory, "bob@example.jp", "other");
    let unsigned = mail();
    let strict = Envelope::new("a@b.example", "c@strict.example").with("BODY=8BITMIME");
    let cases: [(&str, &[u8], u16, &str); 6] = [
        ("good", &good, 250, "2."),
        ("unsigned", &unsigned, 250, "2."),
        ("tampered", &tampered, 550, "5.7.7"),
        ("weak", &weak, 550, "5.7.6"),
        ("revoked", &revoked, 550, "5.7.5"),
        ("From of another", &other, 550, "5.7.1"),
    ];
    let mut arrived = 0;
    for (name, raw, code, enhanced) in cases {
        let reply = gateway.send(&strict, raw);
        assert_eq!(reply.code, code, "{name}: {}", reply.text());
        assert!(reply.text().contains(enhanced), "{name}: {}", reply.text());
        arrived += usize::from(code == 250);
        // The same mail to a domain without rules arrives, stamped.
        assert_eq!(gateway.send(&envelope(), raw).code, 250, "{name}");
        arrived += 1;
        assert_eq!(sink.count(), arrived, "{name}");
        let last = sink.mails().pop().unwrap();
        assert_eq!(last.fields("Authentication-Results").len(), 1, "{name}");
    }
}

#[test]
fn a_status_that_nobody_knows_is_a_tempfail_where_it_is_strict() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::prepare(&Setup::new(sink.address).strict("strict.example"));
    std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
    gateway.restart();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "status?");
    let strict = Envelope::new("a@b.example", "c@strict.example").with("BODY=8BITMIME");
    let reply = gateway.send(&strict, &raw);
    assert!(
        reply.code == 451 && reply.text().contains("4.7.5"),
        "{}",
        reply.text()
    );
    assert_eq!(sink.count(), 0);
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let got = sink.mails().pop().unwrap();
    assert!(
        got.fields("Authentication-Results")[0].contains("smime=temperror (revocation-unavailable")
    );
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let sink = Sink::with(Behaviour {
        at_dot: Arc::new(|_, mail| {
            if String::from_utf8_lossy(&mail.raw).contains("refuse me") {
                Dot::Reply("550 5.7.1 as you wish".to_owned())
            } else {
                Dot::Accept
            }
        }),
        ..Behaviour::default()
    });
    let gateway = Gateway::start(&Setup::new(sink.address));
    let address = gateway.address;
    std::thread::scope(|scope| {
        for worker in 0..16 {
            scope.spawn(move || {
                let mut client = Client::greeted(address);
                for n in 0..10 {
                    let refuse = (worker + n) % 3 == 0;
                    let body = if refuse { "refuse me" } else { "take me" };
                    let raw = mime::plain(&mime::headers("a@b.example"), body);
                    let code = client.mail(&envelope(), &raw).unwrap().code;
                    assert_eq!(code, if refuse { 550 } else { 250 });
                }
            });
        }
    });
    let taken = (0..16)
        .flat_map(|w| (0..10).map(move |n| (w + n) % 3 != 0))
        .filter(|t| *t)
        .count();
    wait_for("every answer is counted", || sink.count() == taken);
}
