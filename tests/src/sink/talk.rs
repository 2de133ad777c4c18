//! The sink's side of one connection.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Behaviour, Dot, Received, Record, State};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

pub(super) fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_nodelay(true)?;
    let mut session = Session::default();
    let mut plain = BufReader::new(Box::new(stream.try_clone()?) as Box<dyn Stream>);
    plain.get_mut().write_all(b"220 sink.example ESMTP\r\n")?;
    if !talk(state, &mut plain, &mut session)? {
        return Ok(());
    }
    let Ok(tls) = state.acceptor.accept(stream) else {
        return Ok(());
    };
    session = Session {
        tls: true,
        ..Session::default()
    };
    let mut secret = BufReader::new(Box::new(tls) as Box<dyn Stream>);
    talk(state, &mut secret, &mut session).map(|_| ())
}

#[derive(Default)]
struct Session {
    helo: String,
    mail: String,
    recipients: Vec<String>,
    xforward: Vec<String>,
    tls: bool,
}

/// Talks until the end; `true`: TLS shall begin.
fn talk(
    state: &State,
    stream: &mut BufReader<Box<dyn Stream>>,
    session: &mut Session,
) -> std::io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let behaviour = state.behaviour.lock().unwrap().clone();
        if behaviour.keeps_bytes {
            state.commands.lock().unwrap().push(text.clone());
        }
        if !behaviour.pause.is_zero() {
            std::thread::sleep(behaviour.pause);
        }
        let verb = text
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => {
                session.helo = text.clone();
                let mut lines = vec!["sink.example".to_owned()];
                lines.extend(behaviour.extensions.iter().cloned());
                let last = lines.len() - 1;
                let mut out = String::new();
                for (i, line) in lines.iter().enumerate() {
                    out.push_str(&format!(
                        "250{}{line}\r\n",
                        if i == last { ' ' } else { '-' }
                    ));
                }
                out
            }
            "HELO" => "250 sink.example\r\n".to_owned(),
            "MAIL" => {
                session.mail = text.clone();
                session.recipients.clear();
                crlf(behaviour.mail.as_deref().unwrap_or("250 2.1.0 Ok"))
            }
            "RCPT" => match behaviour
                .recipients
                .iter()
                .find(|(part, _)| text.contains(part))
            {
                Some((_, reply)) => crlf(reply),
                None => {
                    session.recipients.push(text.clone());
                    crlf("250 2.1.5 Ok")
                }
            },
            "DATA" => {
                let reply = behaviour.data.as_deref().unwrap_or("354 go on");
                stream.get_mut().write_all(crlf(reply).as_bytes())?;
                if !reply.starts_with('3') {
                    continue;
                }
                if !data(state, stream, session, &behaviour)? {
                    return Ok(false);
                }
                continue;
            }
            "RSET" => {
                session.mail.clear();
                session.recipients.clear();
                crlf("250 2.0.0 Ok")
            }
            "NOOP" => crlf("250 2.0.0 Ok"),
            "XFORWARD" => {
                session.xforward.push(text.clone());
                crlf("250 2.0.0 Ok")
            }
            "STARTTLS" => match &behaviour.starttls_reply {
                Some(bytes) => {
                    stream.get_mut().write_all(bytes)?;
                    if bytes.starts_with(b"220") {
                        return Ok(true);
                    }
                    continue;
                }
                None => {
                    stream.get_mut().write_all(b"220 2.0.0 go\r\n")?;
                    return Ok(true);
                }
            },
            "QUIT" => {
                stream.get_mut().write_all(b"221 2.0.0 Bye\r\n")?;
                return Ok(false);
            }
            _ => crlf("500 5.5.2 What?"),
        };
        stream.get_mut().write_all(reply.as_bytes())?;
    }
}

fn crlf(line: &str) -> String {
    format!("{line}\r\n")
}

/// The message up to CRLF.CRLF and nothing else; `false`: the connection is to die.
fn data(
    state: &State,
    stream: &mut BufReader<Box<dyn Stream>>,
    session: &mut Session,
    behaviour: &Behaviour,
) -> std::io::Result<bool> {
    let (mut raw, mut wire) = (Vec::new(), Vec::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line ends in CRLF only: a lone LF is content.
        while !line.ends_with(b"\r\n") {
            if stream.read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
        }
        wire.extend_from_slice(&line);
        if line == b".\r\n" {
            break;
        }
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
    let mail = Received {
        helo: session.helo.clone(),
        mail: std::mem::take(&mut session.mail),
        recipients: std::mem::take(&mut session.recipients),
        raw,
        wire,
        tls: session.tls,
        xforward: session.xforward.clone(),
    };
    let number = state.dots.fetch_add(1, Ordering::SeqCst);
    let dot = (behaviour.at_dot)(number, &mail);
    let keep = |mail: Received| {
        let record = Record::of(&mail, behaviour.search.as_deref());
        if behaviour.keeps_bytes {
            state.mails.lock().unwrap().push(mail);
        }
        // Last: whoever has waited for the count finds the mail.
        state.records.lock().unwrap().push(record);
    };
    match dot {
        Dot::Accept => {
            keep(mail);
            stream.get_mut().write_all(b"250 2.0.0 Ok: kept\r\n")?;
        }
        Dot::Slow(pause) => {
            std::thread::sleep(pause);
            keep(mail);
            stream.get_mut().write_all(b"250 2.0.0 Ok: kept\r\n")?;
        }
        Dot::Reply(reply) => stream.get_mut().write_all(crlf(&reply).as_bytes())?,
        Dot::KeepAndDie => {
            state.broken.fetch_add(1, Ordering::SeqCst);
            keep(mail);
            return Ok(false);
        }
        Dot::Die => {
            state.broken.fetch_add(1, Ordering::SeqCst);
            return Ok(false);
        }
    }
    Ok(true)
}
