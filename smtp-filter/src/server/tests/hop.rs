//! Next hops that refuse, die or lie: nothing is lost, and no 250 is made up.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{World, fake::Misdeed};
use crate::{Body, Fate, Recipient, Treatment, client::Sender};

/// Nobody asked for these answers: none of them may count for a later question.
#[tokio::test]
async fn an_early_answer_is_never_that_to_the_dot() {
    let lost = "451 4.4.2 Connection to the next hop lost, try again later";
    for (misdeed, expected) in [
        (Misdeed::AcceptWith354, lost),
        (Misdeed::AcceptInData, lost),
        (
            Misdeed::RefuseInData,
            "552 5.3.4 next hop said: enough of this",
        ),
    ] {
        let world = World::new(misdeed).await;
        let mut client = world.client().await;
        // More than socket buffers hold, so that the answer is there before the dot.
        let line = [&[b'x'; 900][..], b"\r\n"].concat();
        let mail = [&b"x: y\r\n\r\n"[..], &line.repeat(20_000)].concat();
        for attempt in 1..=2 {
            assert!(
                client
                    .mail(&Sender::new("a@b"))
                    .await
                    .unwrap()
                    .is_positive()
            );
            let rcpt = client.rcpt(&Recipient::new("c@d")).await.unwrap();
            assert!(rcpt.is_positive());
            let reply = client.data([&mail[..]]).await.unwrap();
            assert_eq!(reply.to_string(), expected, "{misdeed:?}");
            let refused = vec![Fate::NextHopRefused; attempt];
            assert_eq!(world.fates(), refused, "{misdeed:?}");
        }
        assert!(world.hop.mails().is_empty(), "{misdeed:?}");
    }
}

/// A slow client's data may take longer than the next hop likes to wait.
#[tokio::test]
async fn a_next_hop_that_left_before_data_is_told_the_envelope_again() {
    for (misdeed, expected) in [
        (Misdeed::TiresOfWaiting, "250 2.0.0 queued as FAKE"),
        (
            Misdeed::TiresThenRefuses,
            "451 4.4.2 Connection to the next hop lost, try again later",
        ),
    ] {
        let world = World::new(misdeed).await;
        let mut client = world.client().await;
        let mail = "MAIL FROM:<a@b> SIZE=6 BODY=8BITMIME RET=HDRS ENVID=x";
        let rcpt = "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d";
        for line in [mail, rcpt] {
            assert!(client.command(line).await.unwrap().is_positive(), "{line}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let reply = client.data([&b"x: y\r\n"[..]]).await.unwrap();
        assert_eq!(reply.to_string(), expected);
        let told = ["EHLO gw.test", mail, rcpt];
        let commands = world.hop.commands();
        assert_eq!(commands[..3], told);
        assert_eq!(commands[3..6], told);
        let arrived = world.hop.mails().len();
        assert_eq!(arrived, usize::from(misdeed == Misdeed::TiresOfWaiting));
    }
}

#[tokio::test]
async fn a_next_hop_silent_at_data_is_not_asked_twice() {
    let world = World::with(
        Misdeed::SilentAtData,
        |c| c.timeouts.command = Duration::from_millis(100),
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let reply = world.send(b"x: y\r\n").await;
    assert_eq!(reply.code(), 451);
    let told = world.hop.commands().iter().filter(|c| *c == "DATA").count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_slow_recipient_does_not_keep_back_earlier_answers() {
    let world = World::new(Misdeed::SilentAtSecondRcpt).await;
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let commands = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<first@d>\r\nRCPT TO:<second@d>\r\n";
    let mut said = [0; 1000];
    let n = client.read(&mut said).await.unwrap();
    assert!(said[..n].starts_with(b"220 "));
    client.write_all(commands.as_bytes()).await.unwrap();
    let mut answers = String::new();
    while !answers.contains("250 2.1.5 ") {
        let n = client.read(&mut said).await.unwrap();
        assert!(n > 0, "{answers}");
        answers += str::from_utf8(&said[..n]).unwrap();
    }
}

#[tokio::test]
async fn two_answers_at_once_never_shift() {
    let world = World::new(Misdeed::TwoAnswersAtRcpt).await;
    let mut client = world.client().await;
    assert!(
        client
            .mail(&Sender::new("a@b"))
            .await
            .unwrap()
            .is_positive()
    );
    let first = client.rcpt(&Recipient::new("c@d")).await.unwrap();
    assert_eq!(first.to_string(), "250 2.1.5 ok");
    let second = client.rcpt(&Recipient::new("bad@d")).await.unwrap();
    assert_eq!(second.code(), 451);
}

#[tokio::test]
async fn next_hops_that_fail() {
    for (misdeed, expected, fate) in [
        (Misdeed::RefuseMail, "550 5.7.1 not you", None),
        (Misdeed::RefuseRcpt, "450 4.2.1 later", None),
        (
            Misdeed::Greeting554,
            "451 4.4.1 Next hop not responding, try again later",
            None,
        ),
        (
            Misdeed::DieAtMail,
            "451 4.4.2 Connection to the next hop lost, try again later",
            None,
        ),
        (
            Misdeed::DieAtRcpt,
            "451 4.4.2 Connection to the next hop lost, try again later",
            None,
        ),
        (
            Misdeed::GarbageAtRcpt,
            "451 4.4.2 Connection to the next hop lost, try again later",
            None,
        ),
        (Misdeed::Say421AtRcpt, "451 4.3.2 leaving", None),
        (
            Misdeed::DieAtData,
            "451 4.4.2 Connection to the next hop lost, try again later",
            Some(Fate::NextHopRefused),
        ),
        (
            Misdeed::RefuseData,
            "554 5.5.0 next hop said: no data",
            Some(Fate::NextHopRefused),
        ),
        (
            Misdeed::RefuseDot,
            "550 5.7.1 next hop said: bad content",
            Some(Fate::NextHopRefused),
        ),
        (
            Misdeed::DeferDot,
            "452 4.0.0 next hop said: full",
            Some(Fate::NextHopRefused),
        ),
        (
            Misdeed::DieAfterDot,
            "451 4.4.2 Connection lost after end of data",
            Some(Fate::InDoubt),
        ),
        (
            Misdeed::GarbageAfterDot,
            "451 4.4.2 Connection lost after end of data",
            Some(Fate::InDoubt),
        ),
        (
            Misdeed::SilentAfterDot,
            "451 4.4.2 Connection lost after end of data",
            Some(Fate::InDoubt),
        ),
    ] {
        let world = World::with(
            misdeed,
            |c| c.timeouts.dot = Duration::from_millis(100),
            |_| Treatment::Relay(Vec::new()),
        )
        .await;
        assert_eq!(
            world.send(b"x: y\r\n").await.to_string(),
            expected,
            "{misdeed:?}"
        );
        assert_eq!(world.fates(), Vec::from_iter(fate), "{misdeed:?}");
    }
}

#[tokio::test]
async fn nobody_listens_behind_us() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::with(
        Misdeed::None,
        |c| c.next_hop.address = closed.to_string(),
        |_| Treatment::Relay(Vec::new()),
    )
    .await;
    let reply = world.send(b"x: y\r\n").await;
    assert_eq!(
        reply.to_string(),
        "451 4.4.1 Next hop not responding, try again later"
    );
}

#[tokio::test]
async fn a_next_hop_that_dies_in_the_data_has_nothing() {
    let world = World::new(Misdeed::DieInData).await;
    let reply = world
        .send(&b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(400_000))
        .await;
    // 50 MiB are not enough for this one; half of it is.
    assert_eq!(reply.code(), 552);
    let mail = [
        &b"x: y\r\n\r\n"[..],
        &b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(600_000),
    ]
    .concat();
    let reply = world.send(&mail).await;
    assert_eq!(
        reply.to_string(),
        "451 4.4.2 Connection to the next hop lost, try again later"
    );
    assert_eq!(world.fates(), [Fate::Rejected, Fate::NextHopRefused]);
}

#[tokio::test]
async fn a_stale_connection_is_opened_again() {
    let world = World::new(Misdeed::CloseAfterMail).await;
    let mut client = world.client().await;
    for _ in 0..2 {
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
    }
    assert_eq!(world.hop.mails().len(), 2);
}

#[tokio::test]
async fn eight_bit_mail_is_never_re_encoded() {
    let world = World::new(Misdeed::SevenBitOnly).await;
    let mut client = world.client().await;
    assert!(client.capabilities().eight_bit_mime && !client.capabilities().smtputf8);
    let sender = Sender {
        body: Body::EightBitMime,
        ..Sender::new("a@b")
    };
    for (mail, expected) in [
        (&b"x: \xe4\r\n"[..], "550 5.6.1"),
        (b"x: y\r\n", "250 2.0.0"),
    ] {
        assert!(client.mail(&sender).await.unwrap().is_positive());
        assert!(
            client
                .rcpt(&Recipient::new("c@d"))
                .await
                .unwrap()
                .is_positive()
        );
        assert!(
            client
                .data([mail])
                .await
                .unwrap()
                .to_string()
                .starts_with(expected)
        );
    }
    assert_eq!(world.hop.mails().len(), 1);
    let reply = client.command("MAIL FROM:<a@b> SMTPUTF8").await.unwrap();
    assert_eq!(
        reply.to_string(),
        "550 5.6.7 Next hop does not support SMTPUTF8"
    );
}

/// Whoever waits behind a dot gives up some time and tries again: what is accepted then is accepted twice.
#[tokio::test]
async fn a_dot_that_would_come_too_late_is_not_sent() {
    let world = World::with(
        Misdeed::None,
        |c| c.timeouts.dot = Duration::from_millis(100),
        |_| {
            std::thread::sleep(Duration::from_millis(60));
            Treatment::Relay(Vec::new())
        },
    )
    .await;
    let reply = world.send(b"x: y\r\n").await;
    assert_eq!(
        reply.to_string(),
        "451 4.4.2 Connection to the next hop lost, try again later"
    );
    assert!(world.hop.mails().is_empty());
    assert_eq!(world.fates(), [Fate::NextHopRefused]);
}
