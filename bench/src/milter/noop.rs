//! Filters that do nothing: what a milter costs at the least. One adds a header field, as every
//! verifier must; the other sends the whole body back as well. Each runs in a process of its own, so that
//! its CPU time can be told.

use std::error::Error;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::packet::{self, command, reply};

/// Serves until killed, at an address or else at a socket in the file system.
pub(crate) fn serve(place: &str, replace: bool) -> Result<(), Box<dyn Error>> {
    if let Ok(address) = place.parse::<SocketAddr>() {
        for stream in TcpListener::bind(address)?.incoming() {
            let stream = stream?;
            stream.set_nodelay(true)?;
            let read = AtOnce(stream.try_clone()?);
            std::thread::spawn(move || drop(session(read, stream, replace)));
        }
        return Ok(());
    }
    let path = Path::new(place);
    let listener = UnixListener::bind(path)?;
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(path, anybody)?;
    for stream in listener.incoming() {
        let stream = stream?;
        // An MTA that goes away ends its own session only.
        let read = stream.try_clone()?;
        std::thread::spawn(move || drop(session(read, stream, replace)));
    }
    Ok(())
}

/// Acknowledges what comes at once: an MTA waits with its last packet until then.
struct AtOnce(TcpStream);

impl Read for AtOnce {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        rustix::net::sockopt::set_tcp_quickack(&self.0, true)?;
        self.0.read(into)
    }
}

fn session(read: impl Read, mut stream: impl Write, replace: bool) -> std::io::Result<()> {
    let mut read = BufReader::with_capacity(64 << 10, read);
    let (mut out, mut body) = (Vec::new(), Vec::new());
    while let Some((command, data)) = packet::read(&mut read)? {
        match command {
            command::NEGOTIATE => {
                // Adds fields and replaces bodies; wants no answer asked for that it can do without.
                let terms = [6_u32, 0x01 | 0x02, NO_ANSWERS].map(u32::to_be_bytes);
                packet::write(&mut out, reply::NEGOTIATE, &[terms.as_flattened()]);
            }
            command::BODY if replace => body.extend_from_slice(&data),
            command::END_OF_BODY => {
                packet::write(&mut out, reply::INSERT_HEADER, &[&[0; 4], FIELD]);
                for chunk in body.chunks(packet::CHUNK) {
                    packet::write(&mut out, reply::REPLACE_BODY, &[chunk]);
                }
                body.clear();
                packet::write(&mut out, reply::ACCEPT, &[]);
            }
            command::QUIT => return Ok(()),
            _ => {}
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
            out.clear();
        }
    }
    Ok(())
}

const FIELD: &[u8] = b"X-Noop\0 seen\0";
/// No unknown commands and no DATA; no answers but the last; exact white space.
const NO_ANSWERS: u32 = 0x1f_f380;
