//! SMTP-03 and SMTP-04: nothing that was sent in clear counts after STARTTLS, on either side, and a
//! next hop that has to be secret gets nothing in clear.

use std::time::Duration;

use kenin_tests::client::{Client, Reply};
use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Sink};

fn tls_gateway(sink: &Sink) -> Gateway {
    let mut setup = Setup::new(sink.address);
    setup.listener_tls = true;
    Gateway::start(&setup)
}

#[test]
fn mail_comes_in_over_starttls() {
    let town = Town::get();
    let sink = Sink::start();
    let gateway = tls_gateway(&sink);
    let mut client = gateway.client();
    assert!(client.command("EHLO again.example").has("STARTTLS"));
    client = client.start_tls();
    let reply = client.command("EHLO client.example");
    assert_eq!(reply.code, 250);
    assert!(!reply.has("STARTTLS"), "STARTTLS inside TLS");
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "secret");
    assert_eq!(client.mail(&envelope(), &raw).unwrap().code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(got.fields("Authentication-Results")[0].contains("smime=pass"));
    assert!(
        got.fields("Received")[0].contains("ESMTPS"),
        "{:?}",
        got.fields("Received")
    );
    // A second time it is refused.
    let reply = client.command("STARTTLS");
    assert_eq!(reply.code / 100, 5, "{}", reply.text());
}

#[test]
fn commands_behind_starttls_in_one_write_are_never_executed() {
    let sink = Sink::start();
    let gateway = tls_gateway(&sink);
    let injections: &[&[u8]] = &[
        b"MAIL FROM:<injected@evil.example>\r\n",
        b"EHLO injected.example\r\n",
        b"RSET\r\n",
        b"NOOP\r\nNOOP\r\n",
        b"M",
        b"\r\n",
        b"\x16",
        b"MAIL FROM:<injected@evil.example>\r\nRCPT TO:<x@example.jp>\r\nDATA\r\n",
    ];
    for injected in injections {
        let mut client = gateway.client();
        client.send(&[b"STARTTLS\r\n", *injected].concat());
        match client.reply() {
            // Refused and closed: nothing more is said.
            Some(reply) if reply.code / 100 == 5 || reply.code == 421 => {
                let _ = client.replies(Duration::from_millis(200));
                assert!(client.is_closed(), "{}", injected.escape_ascii());
            }
            // Or the handshake goes on as if nothing had been sent.
            Some(reply) => {
                assert_eq!(reply.code, 220, "{}", reply.text());
                let mut client = client.handshake();
                let first = client.replies(Duration::from_millis(300));
                assert!(first.is_empty(), "{first:?} answers what was sent in clear");
                let reply = client.command("MAIL FROM:<a@example.jp>");
                assert_eq!(
                    reply.code,
                    503,
                    "state from before TLS is still there: {}",
                    reply.text()
                );
            }
            None => {}
        }
    }
    assert_eq!(sink.count(), 0);
    assert!(
        sink.commands().iter().all(|c| !c.contains("injected")),
        "{:?}",
        sink.commands()
    );
}

#[test]
fn a_transaction_from_before_starttls_is_forgotten() {
    let sink = Sink::start();
    let gateway = tls_gateway(&sink);
    let mut client = gateway.client();
    assert_eq!(client.command("MAIL FROM:<before@example.jp>").code, 250);
    let reply = client.command("STARTTLS");
    if reply.code == 220 {
        let mut client = client.handshake();
        assert_eq!(client.command("RCPT TO:<reader@example.jp>").code, 503);
        assert_eq!(client.command("DATA").code, 503);
    } else {
        assert_eq!(reply.code / 100, 5, "{}", reply.text());
    }
}

#[test]
fn the_next_hop_gets_tls_when_it_must() {
    let town = Town::get();
    let sink = Sink::with(Behaviour::default().with("STARTTLS"));
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "secret");
    // Opportunistic: TLS where offered, any certificate.
    let mut setup = Setup::new(sink.address);
    setup.next_hop_lines = "tls = \"opportunistic\"".to_owned();
    let gateway = Gateway::start(&setup);
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    assert!(sink.wait(1, Duration::from_secs(30))[0].tls);
    // Required, and the certificate is the right one.
    setup.next_hop_lines = required("sink.example");
    let gateway = Gateway::start(&setup);
    let reply = gateway.send(&envelope(), &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert!(sink.wait(2, Duration::from_secs(30))[1].tls);
    // Required, and it is somebody else's: nothing is sent.
    setup.next_hop_lines = required("other.example");
    let gateway = Gateway::start(&setup);
    assert_eq!(refusal(&gateway, &raw).code / 100, 4);
    assert_eq!(sink.count(), 2);
}

fn required(name: &str) -> String {
    format!("tls = \"required\"\nname = \"{name}\"\nca = \"anchors/root.pem\"")
}

/// The reply that stops a mail, wherever in the session it comes.
fn refusal(gateway: &Gateway, raw: &[u8]) -> Reply {
    let mut client = Client::connect(gateway.address);
    assert_eq!(client.reply().unwrap().code, 220);
    let hello = client.command("EHLO client.example");
    if hello.code == 250 {
        client.mail(&envelope(), raw).unwrap()
    } else {
        hello
    }
}

#[test]
fn a_stripped_starttls_stops_the_mail() {
    let town = Town::get();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "secret");
    let refuses = Behaviour {
        starttls_reply: Some(b"454 4.7.0 TLS not available\r\n".to_vec()),
        ..Behaviour::default().with("STARTTLS")
    };
    let injects = Behaviour {
        starttls_reply: Some(b"220 go\r\n250 sink.example\r\n250 Ok\r\n".to_vec()),
        ..Behaviour::default().with("STARTTLS")
    };
    for (name, behaviour) in [
        ("keyword gone", Behaviour::default()),
        ("refused", refuses),
        ("answers injected", injects),
    ] {
        let sink = Sink::with(behaviour);
        let mut setup = Setup::new(sink.address);
        setup.next_hop_lines = required("sink.example");
        let gateway = Gateway::start(&setup);
        let reply = refusal(&gateway, &raw);
        assert_eq!(reply.code / 100, 4, "{name}: {}", reply.text());
        assert_eq!(sink.count(), 0, "{name}");
        let clear: Vec<_> = sink
            .commands()
            .into_iter()
            .filter(|c| c.starts_with("MAIL") || c.starts_with("DATA"))
            .collect();
        assert!(clear.is_empty(), "{name}: sent in clear: {clear:?}");
    }
}
