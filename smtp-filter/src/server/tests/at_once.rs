//! An envelope that is told to the next hop once more by one write: each recipient gets the mail once,
//! or the client hears that they do not.

use super::*;
use crate::{Group, Share, server::Protocol};

const MAIL: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

/// All recipients in one group, which is a transaction of its own.
async fn world(misdeed: Misdeed, protocol: Protocol) -> World {
    let change = |config: &mut ServerConfig| {
        config.protocol = protocol;
        // For a next hop that waits for more.
        config.timeouts.command = Duration::from_secs(5);
    };
    let one_group = |mail: &Mail| {
        Treatment::Divide(vec![Group {
            recipients: (0..mail.envelope.rcpt_to.len()).collect(),
            share: Share::Relay(Vec::new()),
        }])
    };
    World::with(misdeed, change, one_group).await
}

fn names(count: usize) -> Vec<String> {
    let all = ["first", "second", "third"].map(str::to_owned).into_iter();
    let more = (3..).map(|at| format!("number-{at}"));
    all.chain(more).take(count).collect()
}

async fn send(world: &World, names: &[String]) -> String {
    let to: Vec<Recipient> = names
        .iter()
        .map(|name| Recipient::new(&format!("{name}@x.example")))
        .collect();
    let sender = Sender::new("a@b");
    world.send_to(&sender, &to, MAIL).await.to_string()
}

/// The same by LMTP; gives the answer for each recipient.
async fn send_lmtp(world: &World, names: &[String]) -> Vec<String> {
    let mut stream = BufReader::new(TcpStream::connect(world.address).await.unwrap());
    assert!(answer(&mut stream).await.starts_with("220 "));
    let lines = ["LHLO c".to_owned(), "MAIL FROM:<a@b>".to_owned()];
    for line in lines.into_iter().chain(names.iter().map(|name| rcpt(name))) {
        let line = format!("{line}\r\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("250 "), "{line}: {answer}");
    }
    stream.write_all(b"DATA\r\n").await.unwrap();
    assert!(answer(&mut stream).await.starts_with("354 "));
    let data = [MAIL, b".\r\n"].concat();
    stream.write_all(&data).await.unwrap();
    let mut answers = Vec::new();
    for _ in names {
        answers.push(answer(&mut stream).await);
    }
    answers
}

/// The last line of an answer.
async fn answer(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
        if line.as_bytes().get(3) == Some(&b' ') {
            return line.trim_end().to_owned();
        }
    }
}

fn rcpt(name: &str) -> String {
    format!("RCPT TO:<{name}@x.example>")
}

fn addresses(names: &[String]) -> Vec<String> {
    let each = names.iter().map(|name| format!("<{name}@x.example>"));
    each.collect()
}

/// What the next hop is told of it.
fn envelope(names: &[String]) -> Vec<String> {
    let mail = std::iter::once("MAIL FROM:<a@b>".to_owned());
    mail.chain(names.iter().map(|name| rcpt(name))).collect()
}

fn only(line: &str) -> Vec<String> {
    vec![line.to_owned()]
}

#[tokio::test]
async fn a_next_hop_that_leaves_is_told_it_again_and_gets_the_mail_once() {
    let names = names(3);
    let envelope = envelope(&names);
    for (misdeed, heard) in [
        (Misdeed::Says421Together, 4),
        // Of the recipients, the first.
        (Misdeed::LeavesTogether, 2),
        (Misdeed::DiesTogether, 2),
    ] {
        let world = world(misdeed, Protocol::Smtp).await;
        let reply = send(&world, &names).await;
        assert_eq!(reply, "250 2.0.0 queued as FAKE", "{misdeed:?}");
        assert_eq!(world.hop.recipients(), [addresses(&names)], "{misdeed:?}");
        assert_eq!(world.hop.connections().0, 2, "{misdeed:?}");
        let expected = [
            only("EHLO gw.test"),
            envelope.clone(),
            only("RSET"),
            envelope[..heard].to_vec(),
            only("EHLO gw.test"),
            envelope.clone(),
            only("DATA"),
        ]
        .concat();
        let commands = world.hop.commands();
        assert_eq!(commands[..expected.len()], expected, "{misdeed:?}");
        assert_eq!(world.fates(), [Fate::Relayed], "{misdeed:?}");
    }
}

#[tokio::test]
async fn a_recipient_who_is_refused_among_others_is_the_only_one() {
    let names = names(3);
    let world = world(Misdeed::RefusesRcptTogether, Protocol::Lmtp).await;
    let answers = send_lmtp(&world, &names).await;
    let queued = "250 2.0.0 queued as FAKE";
    assert_eq!(answers, [queued, "550 5.1.1 who", queued]);
    let others = addresses(&[names[0].clone(), names[2].clone()]);
    assert_eq!(world.hop.recipients(), [others]);
    assert_eq!(world.hop.connections().0, 1);
}

/// There is one answer for all.
#[tokio::test]
async fn without_an_answer_for_each_nobody_gets_what_one_is_refused() {
    let world = world(Misdeed::RefusesRcptTogether, Protocol::Smtp).await;
    assert_eq!(send(&world, &names(3)).await, "550 5.1.1 who");
    assert!(world.hop.mails().is_empty());
    assert!(!world.hop.commands().contains(&"DATA".to_owned()));
    assert_eq!(world.fates(), [Fate::NextHopRefused]);
}

/// More lines, and their answers, might not fit where they wait.
#[tokio::test]
async fn more_than_sixteen_recipients_are_told_line_by_line() {
    for (count, misdeed, connections) in [
        (16, Misdeed::AnswersTogether, 1),
        (16, Misdeed::LeavesAtHaste, 2),
        (17, Misdeed::LeavesAtHaste, 1),
    ] {
        let names = names(count);
        let world = world(misdeed, Protocol::Smtp).await;
        let reply = send(&world, &names).await;
        assert_eq!(reply, "250 2.0.0 queued as FAKE", "{count} {misdeed:?}");
        let recipients = world.hop.recipients();
        assert_eq!(recipients, [addresses(&names)], "{count} {misdeed:?}");
        let seen = world.hop.connections().0;
        assert_eq!(seen, connections, "{count} {misdeed:?}");
    }
}
