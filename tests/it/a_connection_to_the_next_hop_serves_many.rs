//! A connection to the next hop is handed from one client's session to the next, and nobody notices but
//! the next hop.

use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Sink};
use kenin_tests::world::wait_for;

const MAILS: usize = 120;

fn mail() -> Vec<u8> {
    mime::plain(&mime::headers("a@b.example"), "x")
}

fn trusting(sink: &Sink) -> Setup {
    Setup {
        trusted_peers: Some("[\"127.0.0.0/8\"]".to_owned()),
        ..Setup::new(sink.address)
    }
}

/// Fewer than mails, and yet none takes more of them than servers like.
#[test]
fn sessions_share_a_connection_for_a_while() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let before = gateway.descriptors();
    for _ in 0..MAILS {
        assert_eq!(gateway.send(&envelope(), &mail()).code, 250);
    }
    assert_eq!(sink.count(), MAILS);
    let connections = sink.connections();
    assert!((2..MAILS / 2).contains(&connections), "{connections}");
    // And none is kept where there is nothing to do.
    wait_for("the last connection hears goodbye", || {
        let goodbyes = |line: &&String| line.as_str() == "QUIT";
        sink.commands().iter().filter(goodbyes).count() == connections
    });
    wait_for("descriptors are given back", || {
        gateway.descriptors() <= before
    });
}

/// A server that goes away between two sessions is asked again, whatever became of its connections.
#[test]
fn a_connection_that_broke_meanwhile_costs_no_mail() {
    let mut sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    for mails in 1..=10 {
        let reply = gateway.send(&envelope(), &mail());
        assert_eq!(reply.code, 250, "{}", reply.text());
        assert_eq!(sink.count(), mails);
        sink.kill();
        sink.revive();
    }
}

/// What the next hop was told of one client is not what it thinks of the next.
#[test]
fn no_client_is_taken_for_the_one_before() {
    let sink = Sink::with(Behaviour::default().with("XFORWARD NAME ADDR HELO IDENT"));
    let gateway = Gateway::start(&trusting(&sink));
    for turn in 0..10 {
        let mut client = gateway.client();
        if turn % 2 == 0 {
            let told = client.command("XFORWARD NAME=mx.example ADDR=192.0.2.7 IDENT=4F1");
            assert_eq!(told.code, 250, "{}", told.text());
        }
        let reply = client.mail(&envelope(), &mail()).unwrap();
        assert_eq!(reply.code, 250, "{}", reply.text());
        assert_eq!(client.command("QUIT").code, 221);
    }
    assert!(sink.connections() < 10, "none was shared");
    for (turn, mail) in sink.mails().iter().enumerate() {
        // The last word on a connection counts.
        let last = mail.xforward.last().map_or("", String::as_str);
        let unknown = "XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE] \
                       IDENT=[UNAVAILABLE]";
        match turn % 2 {
            0 => assert!(last.contains("ADDR=192.0.2.7"), "{last}"),
            _ => assert!(["", unknown].contains(&last), "{last}"),
        }
    }
}
