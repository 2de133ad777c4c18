//! Target for the milter session.

use std::net::{Ipv4Addr, SocketAddr};

use kenin_smtp_filter::Edit;
use kenin_smtp_filter::milter::session::{Answer, Session, SessionEvent, Untold, Wants};
use kenin_smtp_filter::server::Limits;

/// An MTA is answered in whole packets, is shown to have sent the same mails however its bytes are cut,
/// and can always be told to remove the whole header that it told, to replace the body, and to hold the mail
/// where it agreed to that.
pub fn milter(data: &[u8]) {
    let whole = serve(std::iter::once(data));
    assert_eq!(whole, serve(data.chunks(1)), "the cut changes nothing");
}

fn serve<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    let wants = Wants {
        body: true,
        quarantine: true,
        sender: true,
    };
    let mut session = Session::new(Limits::default(), wants, peer);
    let (mut said, mut mails, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        session.receive(piece);
        while let Some(event) = session.poll() {
            match event {
                SessionEvent::Store(bytes) => stored.push(bytes),
                SessionEvent::EndOfMessage(_) => {
                    // The header is stored in one piece, with the empty line behind it.
                    let header = stored.first().map_or(0, |first: &Vec<u8>| first.len() - 2);
                    let mail = stored.concat();
                    let edits = vec![
                        Edit::Remove(0..header),
                        Edit::Prepend(b"A: b\r\n".to_vec()),
                        Edit::Body(header + 2, b"new\r\n".to_vec().into()),
                        Edit::ReturnPath(String::new()),
                    ];
                    let answer = Answer::Hold(mail.clone().into(), edits, "odd".to_owned());
                    let told = session.answer(&answer);
                    assert_ne!(told, Err(Untold::Edit), "header and body can be replaced");
                    stored.clear();
                    mails.push(mail);
                }
                SessionEvent::Rejected(..) | SessionEvent::Abort => stored.clear(),
                SessionEvent::Close => {
                    said.extend(session.transmit().unwrap_or_default());
                    packets(&said);
                    return (said, mails);
                }
            }
        }
        said.extend(session.transmit().unwrap_or_default());
    }
    packets(&said);
    (said, mails)
}

/// Whole packets, and nothing behind them.
fn packets(mut said: &[u8]) {
    while let Some((length, rest)) = said.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        assert!(length > 0 && length <= rest.len(), "whole packets");
        said = rest.get(length..).unwrap_or_default();
    }
    assert!(said.is_empty(), "whole packets");
}
