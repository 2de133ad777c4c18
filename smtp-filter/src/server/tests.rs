//! The whole server over loopback sockets, against a next hop that misbehaves as told.

mod at_once;
mod division;
mod fake;
mod hop;
mod keeping;
mod parking;
mod secure;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fake::{FakeHop, Misdeed};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{BareNewline, HopTls, NextHop, ServerConfig, fixed, serve};
use crate::{
    Edit, Event, Fate, Filter, Finished, Held, Holding, Mail, Recipient, Recording, Reply,
    Treating, Treatment,
    client::{Connection, Patience, Sender, Trouble},
};

/// A filter that does as told and remembers what it saw.
struct Told {
    treatment: Box<dyn Fn(&Mail) -> Treatment + Send + Sync>,
    seen: Mutex<Vec<Mail>>,
    finished: Mutex<Vec<Finished>>,
    delivered: Mutex<Vec<Vec<usize>>>,
    held: Mutex<Vec<Held>>,
    /// What it says to a copy that it is to keep; by itself it keeps none.
    keeps: Mutex<Result<(), Reply>>,
    log: Mutex<Vec<&'static str>>,
}

impl Filter for Told {
    fn treat(&self, mail: Mail) -> Treating<'_> {
        Box::pin(async move {
            let treatment = (self.treatment)(&mail);
            self.seen.lock().unwrap().push(mail);
            treatment
        })
    }

    fn delivered(&self, _: Mail, recipients: Vec<usize>) -> Recording<'_> {
        self.delivered.lock().unwrap().push(recipients);
        Box::pin(std::future::ready(()))
    }

    fn hold(&self, held: Held) -> Holding<'_> {
        self.held.lock().unwrap().push(held);
        let answer = self.keeps.lock().unwrap().clone();
        Box::pin(std::future::ready(answer))
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    fn on_event(&self, event: &Event<'_>) {
        self.log.lock().unwrap().push(match event {
            Event::Opened { .. } => "opened",
            Event::TurnedAway { .. } => "turned away",
            Event::Finished(_) => "finished",
            Event::Closed { .. } => "closed",
        });
        if let Event::Finished(finished) = event {
            self.finished.lock().unwrap().push((*finished).clone());
        }
    }
}

/// A running server.
struct World {
    address: SocketAddr,
    filter: Arc<Told>,
    hop: FakeHop,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

impl World {
    async fn new(misdeed: Misdeed) -> Self {
        Self::with(misdeed, |_| {}, |_| Treatment::Relay(Vec::new())).await
    }

    async fn with(
        misdeed: Misdeed,
        change: impl FnOnce(&mut ServerConfig),
        treatment: impl Fn(&Mail) -> Treatment + Send + Sync + 'static,
    ) -> Self {
        let hop = FakeHop::start(misdeed).await;
        let mut config = ServerConfig::new("gw.test", &hop.address.to_string());
        change(&mut config);
        let filter = Arc::new(Told {
            treatment: Box::new(treatment),
            seen: Mutex::default(),
            finished: Mutex::default(),
            delivered: Mutex::default(),
            held: Mutex::default(),
            keeps: Mutex::new(Err(Reply::aborted())),
            log: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, fixed(config), filter.clone(), stopped));
        Self {
            address,
            filter,
            hop,
            stop,
            server,
        }
    }

    async fn client(&self) -> Connection {
        Connection::open(&plain(self.address), "client.test", Patience::default())
            .await
            .unwrap()
    }

    /// Sends one mail; gives the reply that decided.
    async fn send(&self, mail: &[u8]) -> Reply {
        self.send_to(&Sender::new("a@b"), &[Recipient::new("c@d")], mail)
            .await
    }

    async fn send_to(&self, sender: &Sender, recipients: &[Recipient], mail: &[u8]) -> Reply {
        let mut client = self.client().await;
        let reply = client.mail(sender).await.unwrap();
        if !reply.is_positive() {
            return reply;
        }
        for recipient in recipients {
            let reply = client.rcpt(recipient).await.unwrap();
            if !reply.is_positive() {
                return reply;
            }
        }
        let reply = client.data([mail]).await.unwrap();
        client.quit().await;
        reply
    }

    fn fates(&self) -> Vec<Fate> {
        self.filter
            .finished
            .lock()
            .unwrap()
            .iter()
            .map(|f| f.fate)
            .collect()
    }
}

fn plain(address: SocketAddr) -> NextHop {
    NextHop {
        address: address.to_string(),
        tls: HopTls::None,
    }
}

fn received() -> String {
    "Received: from client.test ([127.0.0.1])\r\n\tby gw.test (Kenin) with ESMTP\r\n\tid "
        .to_owned()
}

#[tokio::test]
async fn a_mail_arrives_byte_for_byte() {
    let edit = |mail: &Mail| {
        assert_eq!(mail.envelope.mail_from, "a@b");
        Treatment::Relay(vec![
            Edit::Prepend(b"X-Stamp: 1\r\n".to_vec()),
            Edit::Remove(0..7),
        ])
    };
    let world = World::with(Misdeed::None, |_| {}, edit).await;
    let mail = b"Bad: 1\n\r\n".to_vec();
    assert_eq!(world.send(&mail).await.code(), 550);
    let mail = b"Gone:\r\nSubject: \xe4\x00\r\n\r\n.dot\r\n..\r\n.\r\nlong ".to_vec();
    let mail = [&mail[..], &[b'y'; 5000][..], b"\r\n"].concat();
    let reply = world.send(&mail).await;
    assert_eq!(reply.to_string(), "250 2.0.0 queued as FAKE");
    let seen = world.filter.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(&seen[0].raw[..], &mail[..]);
    assert!(!seen[0].raw.is_mapped());
    let id = &seen[0].envelope.id;
    assert_eq!(id.len(), 26);
    let head = format!(
        "X-Stamp: 1\r\n{}{id}; Sun, 9 Sep 2001 01:46:40 +0000\r\n",
        received()
    );
    let arrived = world.hop.mails();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0], [head.as_bytes(), &mail[7..]].concat());
    assert_eq!(world.fates(), [Fate::Rejected, Fate::Relayed]);
    assert_eq!(world.filter.finished.lock().unwrap()[1].id, *id);
}

#[tokio::test]
async fn bare_newlines_are_normalized_before_anybody_looks() {
    let world = World::with(
        Misdeed::None,
        |c| c.bare_newline = BareNewline::Normalize,
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    assert!(world.send(b"A: b\n\nx\ny\rz\r\n").await.is_positive());
    let seen = world.filter.seen.lock().unwrap();
    assert_eq!(&*seen[0].raw, b"A: b\r\n\r\nx\r\ny\r\nz\r\n");
    assert!(world.hop.mails()[0].ends_with(&seen[0].raw));
}

#[tokio::test]
async fn a_big_mail_goes_through_a_file() {
    let world = World::new(Misdeed::None).await;
    let line = [&[b'.'; 3][..], &[b'z'; 990][..], b"\r\n"].concat();
    let mail = [b"Subject: big\r\n\r\n".to_vec(), line.repeat(5300)].concat();
    assert!(mail.len() > 5 << 20);
    assert!(world.send(&mail).await.is_positive());
    assert!(world.filter.seen.lock().unwrap()[0].raw.is_mapped());
    assert!(world.hop.mails()[0].ends_with(&mail));
}

#[tokio::test]
async fn refusals_of_the_filter_abort_the_next_hop() {
    let refuse = |_: &Mail| Treatment::Refuse(Reply::new(550, "5.7.7", "no"));
    let world = World::with(Misdeed::None, |_| {}, refuse).await;
    assert_eq!(world.send(b"x: y\r\n").await.to_string(), "550 5.7.7 no");
    assert!(world.hop.mails().is_empty());
    assert!(world.hop.commands().contains(&"RSET".to_owned()));
    // A filter must not make a 250 of a mail that nobody has.
    let lie = |_: &Mail| Treatment::Refuse(Reply::new(250, "2.0.0", "yes"));
    let world = World::with(Misdeed::None, |_| {}, lie).await;
    assert_eq!(world.send(b"x: y\r\n").await.code(), 451);
    assert_eq!(world.fates(), [Fate::Aborted]);
}

#[tokio::test]
async fn a_panic_fails_one_mail() {
    let world = World::with(
        Misdeed::None,
        |_| {},
        |mail| {
            assert!(!mail.raw.starts_with(b"Panic"), "as asked");
            let broken = mail.raw.starts_with(b"Broken");
            Treatment::Relay(
                broken
                    .then(|| Edit::Prepend(b"no line".to_vec()))
                    .into_iter()
                    .collect(),
            )
        },
    )
    .await;
    let mut client = world.client().await;
    let aborted = "451 4.3.0 Processing aborted, try again later";
    for (mail, expected) in [
        (&b"Panic: 1\r\n"[..], aborted),
        (b"Broken: 1\r\n", aborted),
        (b"Fine: 1\r\n", "250 2.0.0 queued as FAKE"),
    ] {
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
        assert_eq!(client.data([mail]).await.unwrap().to_string(), expected);
    }
    assert_eq!(world.fates(), [Fate::Aborted, Fate::Aborted, Fate::Relayed]);
    assert_eq!(world.hop.mails().len(), 1);
}

#[tokio::test]
async fn parameters_and_xforward_reach_the_next_hop() {
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let world = World::with(
        Misdeed::None,
        |c| c.trusted_peers = trusted,
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let mut client = world.client().await;
    for line in [
        "XFORWARD ADDR=192.0.2.7 NAME=mx.test",
        "MAIL FROM:<a@b> SIZE=99 BODY=8BITMIME RET=HDRS ENVID=x",
        "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d",
    ] {
        assert!(client.command(line).await.unwrap().is_positive(), "{line}");
    }
    assert!(client.data([&b"x: y\r\n"[..]]).await.unwrap().is_positive());
    assert_eq!(
        world.hop.commands(),
        [
            "EHLO gw.test",
            "XFORWARD NAME=mx.test ADDR=192.0.2.7 HELO=[UNAVAILABLE]",
            "MAIL FROM:<a@b> SIZE=99 BODY=8BITMIME RET=HDRS ENVID=x",
            "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d",
            "DATA",
        ]
    );
    let seen = world.filter.seen.lock().unwrap();
    assert_eq!(seen[0].envelope.xforward.addr.as_deref(), Some("192.0.2.7"));
}

#[tokio::test]
async fn shutdown_ends_idle_sessions_and_waits_for_the_others() {
    let world = World::new(Misdeed::None).await;
    let mut busy = world.client().await;
    assert!(busy.mail(&Sender::new("a@b")).await.unwrap().is_positive());
    assert!(
        busy.rcpt(&Recipient::new("c@d"))
            .await
            .unwrap()
            .is_positive()
    );
    let mut idle = BufReader::new(TcpStream::connect(world.address).await.unwrap());
    let mut line = String::new();
    idle.read_line(&mut line).await.unwrap();
    assert_eq!(line, "220 gw.test ESMTP Kenin\r\n");
    world.stop.send(true).unwrap();
    line.clear();
    idle.read_to_string(&mut line).await.unwrap();
    assert_eq!(line, "421 4.3.2 Service shutting down\r\n");
    drop(idle);
    assert!(busy.data([&b"x: y\r\n"[..]]).await.unwrap().is_positive());
    drop(busy);
    world.server.await.unwrap().unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
    let log = world.filter.log.lock().unwrap();
    assert_eq!(log.iter().filter(|e| **e == "closed").count(), 2);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let world = World::with(
        Misdeed::None,
        |c| c.timeouts.drain = Duration::from_millis(50),
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let mut stuck = world.client().await;
    assert!(stuck.mail(&Sender::new("a@b")).await.unwrap().is_positive());
    world.stop.send(true).unwrap();
    world.server.await.unwrap().unwrap();
    assert!(world.hop.mails().is_empty());
}

#[tokio::test]
async fn connections_are_limited() {
    let world = World::with(
        Misdeed::None,
        |c| c.limits.connections_per_client = 1,
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let first = world.client().await;
    let mut second = TcpStream::connect(world.address).await.unwrap();
    let mut said = String::new();
    second.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "421 4.3.2 Too many connections, try again later\r\n");
    first.quit().await;
    // The place is given back when the session has ended.
    while world.filter.log.lock().unwrap().last() != Some(&"closed") {
        tokio::task::yield_now().await;
    }
    world.client().await;
    assert!(world.filter.log.lock().unwrap().contains(&"turned away"));
}

#[test]
fn one_ipv6_network_is_one_client() {
    let mut config = ServerConfig::new("gw.test", "127.0.0.1:1");
    config.limits.connections_per_client = 1;
    let census = Arc::new(super::Census::default());
    let enter = |ip: &str| census.enter(ip.parse().unwrap(), &config);
    let first = enter("2001:db8::1");
    assert!(first.is_some());
    assert!(enter("2001:db8::ffff:2").is_none());
    assert!(enter("2001:db8:0:1::1").is_some());
    let old = enter("::ffff:192.0.2.1");
    assert!(old.is_some() && enter("192.0.2.1").is_none());
    assert!(enter("192.0.2.2").is_some());
    drop(first);
    assert!(enter("2001:db8::ffff:2").is_some());
}

#[tokio::test]
async fn a_stranger_that_talks_first_is_refused() {
    let world = World::new(Misdeed::None).await;
    // Whether its bytes come in the first moment is the network's choice: both answers are right,
    // and an HTTP request never becomes a mail.
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n")
        .await
        .unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    let refused = said.starts_with("521 5.5.1 ") && said.lines().count() == 1;
    let closed = said
        .lines()
        .nth(1)
        .is_some_and(|l| l.starts_with("221 2.7.0"))
        && said.lines().count() == 2;
    assert!(refused || closed, "{said}");
}

#[tokio::test]
async fn a_client_tells_what_is_wrong() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let open = |to: NextHop| async move {
        Connection::open(&to, "c", Patience::default())
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(open(plain(closed)).await, Trouble::Connect(_)));
    let hop = FakeHop::start(Misdeed::Greeting554).await;
    assert!(matches!(
        open(plain(hop.address)).await,
        Trouble::Refused(_)
    ));
}

#[tokio::test]
async fn a_new_body_is_sent_in_the_old_ones_place() {
    let replace = |mail: &Mail| {
        let at = memchr::memmem::find(&mail.raw, b"\r\n\r\n").unwrap() + 4;
        Treatment::Relay(vec![Edit::Body(at, b".new\r\n".to_vec().into())])
    };
    let world = World::with(Misdeed::None, |_| {}, replace).await;
    assert!(world.send(b"x: y\r\n\r\nold\r\n").await.is_positive());
    let mails = world.hop.mails();
    assert!(mails[0].ends_with(b"x: y\r\n\r\n.new\r\n"), "{mails:?}");
}
