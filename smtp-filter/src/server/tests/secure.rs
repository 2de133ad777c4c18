//! TLS on both sides: used where it is offered, never given up where it is required.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{
    World,
    fake::{FakeHop, Misdeed},
};
use crate::{
    Recipient, Treatment,
    client::{Connection, Patience, Sender},
    server::{HopTls, NextHop, ServerConfig},
    tls,
};

/// PEM of a certificate for `name` and its key.
fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn required(address: SocketAddr, ca: &str, name: &str) -> NextHop {
    let config = tls::verifying_client(ca.as_bytes()).unwrap();
    let name = name.to_owned().try_into().unwrap();
    NextHop {
        address: address.to_string(),
        tls: HopTls::Required { config, name },
    }
}

#[tokio::test]
async fn tls_on_both_sides() {
    let (chain, key) = certificate("gw.test");
    let server = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    let hop = FakeHop::start_tls(Misdeed::None, server.clone()).await;
    let next_hop = required(hop.address, &chain, "gw.test");
    let world = World::with(
        Misdeed::None,
        |c| {
            c.tls = Some(server);
            c.next_hop = next_hop;
        },
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let to_us = required(world.address, &chain, "gw.test");
    let mut client = Connection::open(&to_us, "client.test", Patience::default())
        .await
        .unwrap();
    assert!(client.is_secured());
    assert!(!client.capabilities().starttls);
    assert!(
        client
            .mail(&Sender::new("a@b"))
            .await
            .unwrap()
            .is_positive()
    );
    assert!(
        client
            .rcpt(&Recipient::new("c@d"))
            .await
            .unwrap()
            .is_positive()
    );
    assert!(client.data([&b"x: y\r\n"[..]]).await.unwrap().is_positive());
    client.quit().await;
    let mail = String::from_utf8(hop.mails().remove(0)).unwrap();
    assert!(mail.contains(" with ESMTPS\r\n"), "{mail}");
    assert_eq!(
        hop.commands()[..3],
        ["EHLO gw.test", "STARTTLS", "EHLO gw.test"]
    );
    let tls = world.filter.seen.lock().unwrap()[0]
        .envelope
        .tls
        .clone()
        .unwrap();
    assert!(tls.starts_with("TLSv1_3 TLS13_"), "{tls}");
}

#[tokio::test]
async fn required_tls_never_becomes_clear_text() {
    let (chain, key) = certificate("gw.test");
    let (other, _) = certificate("gw.test");
    let server = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    let good = FakeHop::start_tls(Misdeed::None, server.clone()).await;
    let stripped = FakeHop::start(Misdeed::None).await;
    let injecting = FakeHop::start_tls(Misdeed::InjectBehindStartTls, server).await;
    for next_hop in [
        required(stripped.address, &chain, "gw.test"),
        required(good.address, &chain, "else.test"),
        required(good.address, &other, "gw.test"),
        required(injecting.address, &chain, "gw.test"),
    ] {
        let world = World::with(
            Misdeed::None,
            |c| c.next_hop = next_hop,
            |_| Treatment::Relay(vec![]),
        )
        .await;
        let reply = world.send(b"x: y\r\n").await.to_string();
        assert_eq!(
            reply,
            "451 4.7.0 No secure connection to the next hop, try again later"
        );
    }
    for hop in [good, stripped, injecting] {
        assert!(
            hop.commands().iter().all(|c| !c.starts_with("MAIL")),
            "{:?}",
            hop.commands()
        );
    }
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate_or_none() {
    let (chain, key) = certificate("whoever.test");
    let server = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    for hop in [
        FakeHop::start(Misdeed::None).await,
        FakeHop::start_tls(Misdeed::None, server).await,
    ] {
        let next_hop = NextHop {
            address: hop.address.to_string(),
            tls: HopTls::Opportunistic {
                config: tls::opportunistic_client().unwrap(),
                name: "gw.test".try_into().unwrap(),
            },
        };
        let world = World::with(
            Misdeed::None,
            |c| c.next_hop = next_hop,
            |_| Treatment::Relay(vec![]),
        )
        .await;
        assert!(world.send(b"x: y\r\n").await.is_positive());
        assert_eq!(hop.mails().len(), 1);
    }
}

#[tokio::test]
async fn commands_put_behind_starttls_are_answered_by_a_close() {
    let (chain, key) = certificate("gw.test");
    let server = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    let world = World::with(
        Misdeed::None,
        |c| c.tls = Some(server),
        |_| Treatment::Relay(vec![]),
    )
    .await;
    let mut client = BufReader::new(TcpStream::connect(world.address).await.unwrap());
    let mut said = String::new();
    client.read_line(&mut said).await.unwrap();
    client
        .write_all(b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<x@y>\r\n")
        .await
        .unwrap();
    said.clear();
    client.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "503 5.5.1 Commands after STARTTLS, closing\r\n");
    assert!(world.hop.commands().is_empty());
}

#[tokio::test]
async fn silence_has_an_end_also_in_a_handshake() {
    let (chain, key) = certificate("gw.test");
    let server = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    let change = |c: &mut ServerConfig| {
        c.tls = Some(server);
        c.timeouts.handshake = Duration::from_millis(50);
        c.timeouts.line = Duration::from_millis(200);
    };
    let world = World::with(Misdeed::None, change, |_| Treatment::Relay(vec![])).await;
    for (said, heard) in [
        ("", "421 4.4.2 Timeout, closing connection\r\n"),
        ("NOO", "421 4.4.2 Timeout, closing connection\r\n"),
        ("STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n"),
    ] {
        let mut client = BufReader::new(TcpStream::connect(world.address).await.unwrap());
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        line.clear();
        client.read_to_string(&mut line).await.unwrap();
        assert_eq!(line, heard);
    }
}
