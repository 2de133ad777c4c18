//! When an MTA hears what: of mail that may have been opened its answer's time tells nothing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
    time::Instant,
};

use super::{ACTIONS, OFFERED, PEER, Packets, write};
use crate::{
    Edit, Filter, Mail, Treating, Treatment,
    milter::{MilterConfig, Wants, connection::Connection, listener::Stream},
};

/// Takes some time for a mail, and gives this answer.
struct Slow(Duration, Treatment);

impl Filter for Slow {
    fn treat(&self, _: Mail) -> Treating<'_> {
        Box::pin(async move {
            tokio::time::sleep(self.0).await;
            self.1.clone()
        })
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// The commands that an MTA hears of its mail, and how many milliseconds behind its end.
async fn heard(filter: Slow) -> Vec<(u8, u128)> {
    let (mut mta, theirs) = UnixStream::pair().unwrap();
    let config = MilterConfig {
        wants: Wants {
            body: true,
            quarantine: true,
            sender: true,
        },
        ..MilterConfig::default()
    };
    let (_keep, shutdown) = watch::channel(false);
    let stream = Stream::Unix(theirs);
    let connection = Connection::new(stream, PEER, Arc::new(config), Arc::new(filter), shutdown);
    let served = tokio::spawn(connection.run());
    let mut mail = Vec::new();
    let terms = [6, ACTIONS, OFFERED].map(u32::to_be_bytes);
    write(&mut mail, b'O', &[terms.as_flattened()]);
    for (command, data) in [
        (b'M', &b"<a@example.org>\0"[..]),
        (b'R', b"<b@example.jp>\0"),
        (b'L', b"Subject\0 one\0"),
        (b'N', b""),
        (b'E', b"line\r\n"),
    ] {
        write(&mut mail, command, &[data]);
    }
    mta.write_all(&mail).await.unwrap();
    let begun = Instant::now();
    let (mut packets, mut heard) = (Packets::default(), Vec::new());
    while !matches!(heard.last(), Some((b'a' | b'c', _))) {
        let mut octets = [0; 4096];
        let count = mta.read(&mut octets).await.unwrap();
        assert!(count > 0, "{heard:?}");
        packets.push(&octets[..count]);
        while let Some(packet) = packets.next().unwrap() {
            // The answer to the negotiation.
            if packet.command != b'O' {
                heard.push((packet.command, begun.elapsed().as_millis()));
            }
        }
    }
    drop(mta);
    served.await.unwrap();
    heard
}

/// DEC-07: an MTA works on a new body, and the client sees how long.
#[tokio::test(start_paused = true)]
async fn changes_are_heard_at_once_and_their_end_at_a_whole_period() {
    let path = || Edit::ReturnPath(String::new());
    let body = || Edit::Body("Subject: one\r\n\r\n".len(), b"opened\r\n".to_vec().into());
    for (edits, changes) in [(vec![path(), body()], &b"eb"[..]), (vec![path()], b"e")] {
        for (work, end) in [(3, 50), (49, 50), (51, 100)] {
            let treatment = Treatment::Relay(edits.clone());
            let mut heard = heard(Slow(Duration::from_millis(work), treatment)).await;
            let (_, last) = heard.pop().unwrap();
            // The clock goes by milliseconds, and may be one late.
            assert!((end..=end + 1).contains(&last), "{work}: {last}");
            let commands: Vec<u8> = heard.iter().map(|(command, _)| *command).collect();
            assert_eq!(commands, changes, "{work}");
            let work = u128::from(work);
            assert!(
                heard.iter().all(|(_, at)| (work..=work + 1).contains(at)),
                "{heard:?}"
            );
        }
    }
}

/// Nobody waits for other mail.
#[tokio::test(start_paused = true)]
async fn other_mail_is_answered_at_once() {
    let edit = Edit::Prepend(b"A: b\r\n".to_vec());
    let heard = heard(Slow(Duration::from_millis(3), Treatment::Relay(vec![edit]))).await;
    assert!(heard.iter().all(|(_, at)| *at <= 4), "{heard:?}");
}
