//! Targets for the SMTP state machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenin_smtp_filter::Reply;
use kenin_smtp_filter::client::session::{Session as Client, Tls};
use kenin_smtp_filter::server::ServerConfig;
use kenin_smtp_filter::server::session::{Answer, Session, SessionEvent};

/// A server answers in whole lines, ends after its close, and shows the same mail whether lines
/// come whole or byte by byte. (Not at once: data sent before 354 is refused, as it must be.)
pub fn smtp_server(data: &[u8]) {
    let lines = serve(data.split_inclusive(|byte| *byte == b'\n'));
    assert_eq!(
        lines,
        serve(data.chunks(1)),
        "the cut of the bytes changes nothing"
    );
    serve(std::iter::once(data));
}

fn serve<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let now = Instant::now();
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let config = Arc::new(ServerConfig::new("gw.example", "127.0.0.1:10026"));
    let mut session = Session::new(config, client, now);
    session.open();
    let (mut said, mut mails, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        session.receive(piece, now);
        while let Some(event) = session.poll() {
            match event {
                SessionEvent::Probe => session.answer(Answer::Capabilities(None), now),
                SessionEvent::Mail(..) | SessionEvent::Rcpt(_) => {
                    session.answer(Answer::Reply(Reply::new(250, "2.1.0", "Ok")), now);
                }
                SessionEvent::Store(bytes) => stored.extend(bytes),
                SessionEvent::EndOfData(_) => {
                    mails.push(std::mem::take(&mut stored));
                    session.answer(Answer::Reply(Reply::new(250, "2.0.0", "Ok")), now);
                }
                SessionEvent::Rejected(..) | SessionEvent::Abort => stored.clear(),
                SessionEvent::Handshake | SessionEvent::Close => {
                    said.extend(session.transmit().unwrap_or_default());
                    return (said, mails);
                }
            }
        }
        said.extend(session.transmit().unwrap_or_default());
        assert!(said.is_empty() || said.ends_with(b"\r\n"), "whole lines");
    }
    (said, mails)
}

/// A client takes any answer: a reply, trouble, or waiting for more.
pub fn smtp_client(data: &[u8]) {
    let now = Instant::now();
    let patience = Duration::from_secs(60);
    let mut client = Client::new("gw.example", Tls::IfOffered, patience, now);
    for piece in data.chunks(7) {
        client.receive(piece);
        while client.poll(now).is_some() {}
        if let Some(bytes) = client.transmit() {
            assert!(bytes.ends_with(b"\r\n"), "whole commands");
        }
        client.command("NOOP", patience, now);
    }
}
