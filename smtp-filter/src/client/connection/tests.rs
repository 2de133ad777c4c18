use std::{pin::pin, time::Duration};

use tokio::{io::AsyncBufReadExt, io::BufReader, net::TcpListener, task::JoinHandle};

use super::*;

/// A server that takes a mail of one recipient, and gives what came behind its 354: all until the other end has gone
/// where it answers nothing, else until the dot. One that leaves does so at once.
async fn server(then: Then) -> (NextHop, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = NextHop {
        address: listener.local_addr().unwrap().to_string(),
        tls: HopTls::None,
    };
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 here\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if line == "DATA\r\n" {
                break;
            }
            stream.write_all(b"250 yes\r\n").await.unwrap();
        }
        stream.write_all(b"354 go\r\n").await.unwrap();
        let mut came = Vec::new();
        match then {
            Then::Leaves => {}
            Then::Listens => {
                stream.read_to_end(&mut came).await.unwrap();
            }
            Then::Answers => {
                while !came.ends_with(b"\r\n.\r\n") {
                    assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0);
                }
                stream.write_all(b"250 2.0.0 it is here\r\n").await.unwrap();
            }
        }
        came
    });
    (hop, serving)
}

#[derive(Clone, Copy)]
enum Then {
    Leaves,
    Listens,
    Answers,
}

async fn begun(hop: &NextHop) -> Connection {
    let patience = Patience {
        command: Duration::from_secs(60),
        ..Patience::default()
    };
    let mut connection = Connection::open(hop, "gw.test", patience).await.unwrap();
    let said = connection.mail(&Sender::new("a@b")).await.unwrap();
    assert!(said.is_positive());
    let said = connection.rcpt(&Recipient::new("c@d")).await.unwrap();
    assert!(said.is_positive());
    connection
}

fn mail(lines: usize) -> Vec<u8> {
    b"A: b\r\n\r\n"
        .iter()
        .chain(b".x\r\n".repeat(lines).iter())
        .copied()
        .collect()
}

/// What goes to several next hops is there before the dot of any of them.
#[tokio::test]
async fn what_is_held_is_there_but_for_its_dot() {
    for lines in [1, 1000, 100_000] {
        let (hop, serving) = server(Then::Listens).await;
        let mut connection = begun(&hop).await;
        let mail = mail(lines);
        assert_eq!(connection.hold([&mail[..]]).await, Ok(None));
        drop(connection);
        assert_eq!(serving.await.unwrap().len(), mail.len() + lines);
    }
}

/// Each of both cost a system call, and woke the other end.
#[tokio::test]
async fn a_mail_goes_with_its_dot() {
    let (hop, serving) = server(Then::Answers).await;
    let mut connection = begun(&hop).await;
    let mail = mail(1000);
    assert_eq!(connection.begin_data([&mail[..]]).await, Ok(None));
    let held = connection.held.as_ref().map(|held| held.octets().len());
    assert_eq!(held, Some(mail.len() + 1000));
    connection.release().await.unwrap();
    assert!(serving.await.unwrap().ends_with(b"..x\r\n.\r\n"));
}

#[tokio::test]
async fn what_is_held_arrives_whole() {
    for lines in [0, 1, 100_000] {
        let (hop, serving) = server(Then::Answers).await;
        let mut connection = begun(&hop).await;
        let mail = mail(lines);
        let (first, second) = mail.split_at(5);
        assert_eq!(connection.hold([first, second]).await, Ok(None));
        // A command would be a line of the mail.
        assert_eq!(connection.command("NOOP").await, Err(Trouble::Garbage));
        let reply = connection.release().await.unwrap();
        assert_eq!(reply.to_string(), "250 2.0.0 it is here");
        let mut expected = b"A: b\r\n\r\n".to_vec();
        expected.extend(b"..x\r\n".repeat(lines));
        expected.extend(b".\r\n");
        assert!(serving.await.unwrap() == expected, "{lines}");
    }
}

/// Nothing of the dot has gone: the mail can be nowhere.
#[tokio::test]
async fn a_server_that_left_before_the_last_piece_leaves_no_doubt() {
    let (hop, serving) = server(Then::Leaves).await;
    let mut connection = begun(&hop).await;
    assert_eq!(connection.begin_data([&mail(1)[..]]).await, Ok(None));
    serving.await.unwrap();
    let Wire::Plain(stream) = &connection.wire else {
        panic!("it is not under TLS");
    };
    stream.readable().await.unwrap();
    let trouble = connection.release().await.unwrap_err();
    assert!(!trouble.in_doubt && trouble.begun, "{trouble:?}");
}

/// The last piece goes with its end: what was taken of both says whether the server may have the mail.
#[tokio::test]
async fn a_server_that_took_some_of_the_end_leaves_a_doubt() {
    let mail = mail(3);
    let rest = mail.len() + 3;
    let end = b".\r\n".len();
    for (held, taken, in_doubt) in [
        (false, 0, false),
        (false, rest - 1, false),
        (false, rest, false),
        (false, rest + 1, true),
        (false, rest + end - 1, true),
        (false, rest + end, true),
        // Nothing but the end is left.
        (true, 0, false),
        (true, 1, true),
        (true, end, true),
    ] {
        let (hop, serving) = server(Then::Leaves).await;
        let mut connection = begun(&hop).await;
        assert_eq!(connection.begin_data([&mail[..]]).await, Ok(None));
        serving.await.unwrap();
        let data = connection.held.as_mut().unwrap();
        assert_eq!(data.octets().len(), rest);
        if held {
            data.clear();
        }
        let trouble = released_until(&mut connection, taken).await.unwrap_err();
        let lost = matches!(trouble.trouble, Trouble::Lost(_));
        assert!(lost && trouble.begun, "{held} {taken}: {trouble:?}");
        assert_eq!(trouble.in_doubt, in_doubt, "{held} {taken}");
    }
}

/// Releases what is held to a server that takes so many octets of it and then goes.
async fn released_until(connection: &mut Connection, taken: usize) -> Result<Reply, DataTrouble> {
    let (mut here, there) = tokio::io::duplex(taken + 1);
    // There is no pipe without room, but a full one.
    here.write_all(b" ").await.unwrap();
    connection.wire = Wire::Piped(here);
    let mut releasing = pin!(connection.release());
    let waits = poll_fn(|cx| Poll::Ready(releasing.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "{taken}");
    drop(there);
    releasing.await
}
