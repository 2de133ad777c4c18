//! An SMTP relay that does nothing: it takes a mail whole and passes it on, as a filter must, and looks
//! at nothing in it. It runs in a process of its own, so that its CPU time can be told.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::load::Trouble;
use crate::smtp::data;

/// Serves until killed.
pub(crate) fn serve(listen: &str, next_hop: &str) -> Result<(), Box<dyn Error>> {
    let next_hop: SocketAddr = next_hop.parse()?;
    let listener = TcpListener::bind(listen)?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes away ends its own session only.
        std::thread::spawn(move || drop(session(stream, next_hop)));
    }
    Ok(())
}

/// Each command goes to the next hop and its answer comes back; data is taken whole first.
fn session(client: TcpStream, next_hop: SocketAddr) -> Result<(), Trouble> {
    let hop = TcpStream::connect(next_hop)?;
    client.set_nodelay(true)?;
    hop.set_nodelay(true)?;
    let mut client = BufReader::with_capacity(64 << 10, client);
    let mut hop = BufReader::with_capacity(16 << 10, hop);
    let (mut line, mut answer) = (Vec::new(), Vec::new());
    pass_back(&mut hop, &mut client, &mut answer)?;
    loop {
        line.clear();
        if client.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.eq_ignore_ascii_case(b"DATA\r\n") {
            client.get_mut().write_all(b"354 Go on\r\n")?;
            let mut mail = Vec::new();
            data(&mut client, |bytes| mail.extend_from_slice(bytes))?;
            hop.get_mut().write_all(&line)?;
            answer.clear();
            hop.read_until(b'\n', &mut answer)?;
            if !answer.starts_with(b"354") {
                return Err("the next hop does not take data".into());
            }
            hop.get_mut().write_all(&mail)?;
        } else {
            hop.get_mut().write_all(&line)?;
        }
        pass_back(&mut hop, &mut client, &mut answer)?;
        if line.eq_ignore_ascii_case(b"QUIT\r\n") {
            return Ok(());
        }
    }
}

fn pass_back(
    hop: &mut BufReader<TcpStream>,
    client: &mut BufReader<TcpStream>,
    answer: &mut Vec<u8>,
) -> Result<(), Trouble> {
    answer.clear();
    loop {
        let start = answer.len();
        if hop.read_until(b'\n', answer)? == 0 {
            return Err("the next hop closed".into());
        }
        if answer.get(start + 3) != Some(&b'-') {
            break;
        }
    }
    Ok(client.get_mut().write_all(answer)?)
}
