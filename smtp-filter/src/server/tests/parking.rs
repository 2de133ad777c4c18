//! A connection to the next hop serves one session after the other, and no session is the worse for it.

use std::time::Duration;

use tokio::net::TcpListener;

use super::{FakeHop, World, fake::Misdeed};
use crate::{
    Recipient, Reply, Treatment,
    client::{Connection, Sender},
    server::{ServerConfig, fixed, serve},
};

const MAIL: &[u8] = b"x: y\r\n";

async fn world(misdeed: Misdeed, change: impl FnOnce(&mut ServerConfig)) -> World {
    let change = |config: &mut ServerConfig| {
        // No test here is about how fast it runs.
        config.timeouts.parked = Duration::from_secs(60);
        change(config);
    };
    World::with(misdeed, change, |_| Treatment::Relay(Vec::new())).await
}

/// Sends a mail over a session, and waits for the session to have left the next hop.
async fn send(world: &World) {
    let reply = world.send(MAIL).await;
    assert_eq!(reply.to_string(), "250 2.0.0 queued as FAKE");
    closed(world).await;
}

async fn closed(world: &World) {
    let count = |what: &str| {
        let log = world.filter.log.lock().unwrap();
        log.iter().filter(|event| **event == what).count()
    };
    while count("closed") < count("opened") {
        tokio::task::yield_now().await;
    }
}

async fn transact(client: &mut Connection) -> Reply {
    for reply in [
        client.mail(&Sender::new("a@b")).await.unwrap(),
        client.rcpt(&Recipient::new("c@d")).await.unwrap(),
    ] {
        assert!(reply.is_positive(), "{reply}");
    }
    client.data([MAIL]).await.unwrap()
}

#[tokio::test]
async fn a_connection_serves_the_next_session() {
    let world = world(Misdeed::None, |_| {}).await;
    for _ in 0..3 {
        send(&world).await;
    }
    assert_eq!(world.hop.mails().len(), 3);
    assert_eq!(world.hop.connections(), (1, 0));
    // Two at a time need two, and both wait afterwards.
    let (mut one, mut other) = (world.client().await, world.client().await);
    assert!(one.mail(&Sender::new("a@b")).await.unwrap().is_positive());
    assert!(transact(&mut other).await.is_positive());
    drop(other);
    closed_but_one(&world).await;
    send_over(one).await;
    closed(&world).await;
    assert_eq!(world.hop.connections(), (2, 0));
    // At the end it hears goodbye.
    world.stop.send(true).unwrap();
    world.server.await.unwrap().unwrap();
    let goodbyes = |said: &[String]| said.iter().filter(|line| *line == "QUIT").count();
    assert_eq!(goodbyes(&world.hop.commands()), 2);
}

async fn closed_but_one(world: &World) {
    while world.filter.log.lock().unwrap().last() != Some(&"closed") {
        tokio::task::yield_now().await;
    }
}

async fn send_over(mut client: Connection) {
    let reply = client.rcpt(&Recipient::new("c@d")).await.unwrap();
    assert!(reply.is_positive());
    assert!(client.data([MAIL]).await.unwrap().is_positive());
}

#[tokio::test]
async fn a_connection_that_went_stale_costs_no_session_anything() {
    for misdeed in [
        Misdeed::CloseAfterMail,
        Misdeed::Say421AfterMail,
        Misdeed::RefuseSecondMail,
    ] {
        let world = world(misdeed, |_| {}).await;
        for mails in 1..=3 {
            send(&world).await;
            assert_eq!(world.hop.mails().len(), mails, "{misdeed:?}");
            assert_eq!(world.hop.connections().0, mails, "{misdeed:?}");
        }
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_patience_for_it() {
    let short = |c: &mut ServerConfig| c.timeouts.parked = Duration::from_millis(50);
    let world = world(Misdeed::None, short).await;
    send(&world).await;
    while world.hop.connections() != (1, 1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.hop.commands().last().unwrap(), "QUIT");
    send(&world).await;
    assert_eq!(world.hop.connections().0, 2);
    // Without patience nothing is kept at all.
    let none = |c: &mut ServerConfig| c.timeouts.parked = Duration::ZERO;
    let world = self::world(Misdeed::None, none).await;
    for mails in 1..=2 {
        send(&world).await;
        assert_eq!(world.hop.connections().0, mails);
    }
}

#[tokio::test]
async fn what_a_server_holds_against_a_connection_is_held_against_no_other_session() {
    let world = world(Misdeed::AsAddressed, |_| {}).await;
    for bad in ["unknown@d", "busy@d", "no-data@d", "refuse@d", "defer@d"] {
        let refused = world
            .send_to(&Sender::new("a@b"), &[Recipient::new(bad)], MAIL)
            .await;
        assert!(!refused.is_positive(), "{bad}");
        closed(&world).await;
        send(&world).await;
    }
    // Each refusal ended the connection that the mail before had left.
    assert_eq!(world.hop.connections().0, 6);
    assert_eq!(world.hop.mails().len(), 5);
    let mut client = world.client().await;
    assert!(
        client
            .mail(&Sender::new("a@b"))
            .await
            .unwrap()
            .is_positive()
    );
    drop(client);
    closed(&world).await;
    send(&world).await;
    assert_eq!(world.hop.connections().0, 7, "a transaction was given up");
}

#[tokio::test]
async fn a_connection_takes_a_hundred_mails() {
    let world = world(Misdeed::None, |c| c.limits.idle_commands = 1000).await;
    let mut client = world.client().await;
    for _ in 0..99 {
        assert!(transact(&mut client).await.is_positive());
    }
    client.quit().await;
    closed(&world).await;
    send(&world).await;
    assert_eq!(world.hop.connections().0, 1);
    send(&world).await;
    assert_eq!(world.hop.connections().0, 2);
}

#[tokio::test]
async fn nothing_of_a_client_is_told_of_the_next_one() {
    let trusted = |c: &mut ServerConfig| {
        c.trusted_peers = vec!["127.0.0.0/8".parse().unwrap()];
    };
    for misdeed in [Misdeed::None, Misdeed::RefuseSecondXforward] {
        let world = world(misdeed, trusted).await;
        for attribute in ["ADDR=192.0.2.7", "HELO=other.test", ""] {
            let mut client = world.client().await;
            if !attribute.is_empty() {
                let line = format!("XFORWARD {attribute}");
                assert!(client.command(&line).await.unwrap().is_positive());
            }
            assert!(transact(&mut client).await.is_positive());
            client.quit().await;
            closed(&world).await;
        }
        let commands = world.hop.commands();
        let told: Vec<&str> = commands
            .iter()
            .filter(|line| ["XFORWARD", "EHLO"].contains(&line.split(' ').next().unwrap()))
            .map(String::as_str)
            .collect();
        let hello = "EHLO gw.test";
        let addr = "XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.7 HELO=[UNAVAILABLE]";
        let helo = "XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=other.test";
        let unknown = "XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]";
        match misdeed {
            Misdeed::None => assert_eq!(told, [hello, addr, helo, unknown]),
            // It may remember what it cannot be told to forget.
            _ => assert_eq!(told, [hello, addr, helo, hello, helo, unknown, hello]),
        }
    }
}

#[tokio::test]
async fn a_reload_begins_with_new_connections() {
    let hop = FakeHop::start(Misdeed::None).await;
    let world = world(Misdeed::None, |_| {}).await;
    let address = hop.address.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let configs = ["one.test", "other.test"].map(|name| fixed(ServerConfig::new(name, &address))());
    let mut turn = 0;
    let turns = std::sync::Mutex::new(move || {
        turn += 1;
        std::sync::Arc::clone(&configs[(turn - 1) / 2 % 2])
    });
    let source = std::sync::Arc::new(move || (turns.lock().unwrap())());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(serve(listener, source, world.filter.clone(), stopped));
    for connections in [1, 1, 2, 2] {
        let mut client = Connection::open(
            &super::plain(place),
            "client.test",
            crate::client::Patience::default(),
        )
        .await
        .unwrap();
        assert!(transact(&mut client).await.is_positive());
        client.quit().await;
        closed(&world).await;
        assert_eq!(hop.connections().0, connections);
    }
}
