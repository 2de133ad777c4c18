//! A raw SMTP client: sends exactly the bytes it is told to, in the pieces it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

/// A reply: its code and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// All of it in one line.
    pub fn text(&self) -> String {
        self.lines.join(" / ")
    }

    /// Whether an EHLO reply has a keyword.
    pub fn has(&self, keyword: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line[4..].split(' ').next() == Some(keyword))
    }
}

/// Why no reply was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The connection ended.
    Closed,
    /// Nothing came in time.
    TimedOut,
    /// What came is no reply.
    Garbage(String),
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// A connection.
pub struct Client {
    wire: Wire,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects and reads nothing.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            wire: Wire::Plain(stream),
            buffer: Vec::new(),
        }
    }

    /// Connects, if somebody listens, and waits for each reply so long.
    pub fn try_connect(address: SocketAddr, patience: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            wire: Wire::Plain(stream),
            buffer: Vec::new(),
        })
    }

    /// Connects, reads the greeting, says EHLO.
    pub fn greeted(address: SocketAddr) -> Self {
        Self::introduced(address, "EHLO")
    }

    /// Connects, reads the greeting, says LHLO: each recipient is answered.
    pub fn greeted_by_lmtp(address: SocketAddr) -> Self {
        Self::introduced(address, "LHLO")
    }

    fn introduced(address: SocketAddr, hello: &str) -> Self {
        let mut client = Self::connect(address);
        assert_eq!(client.reply().unwrap().code, 220);
        let reply = client.command(&format!("{hello} client.example"));
        assert_eq!(reply.code, 250);
        client
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        // A server may close in mid-air: the reply, or its absence, is what tests look at.
        let _ = self.try_send(bytes);
    }

    /// Sends bytes; false when our own system would not take them all.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        let sent = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes),
        };
        sent.is_ok()
    }

    /// Sends bytes in pieces, each in its own segment.
    pub fn send_split(&mut self, bytes: &[u8], sizes: &[usize]) {
        let mut at = 0_usize;
        for size in sizes.iter().chain(std::iter::once(&usize::MAX)) {
            let end = at.saturating_add(*size).min(bytes.len());
            if at < end {
                self.send(&bytes[at..end]);
                // Without a pause the kernel may join two segments.
                std::thread::sleep(Duration::from_millis(2));
            }
            at = end;
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 4096];
        let n = loop {
            let read = match &mut self.wire {
                Wire::Plain(stream) => stream.read(&mut bytes),
                Wire::Tls(stream) => stream.read(&mut bytes),
            };
            match read {
                // A signal to this process is no end of the connection.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// The next reply; `None` when the server closed.
    ///
    /// # Panics
    /// When none comes in time, or something else.
    pub fn reply(&mut self) -> Option<Reply> {
        match self.hear() {
            Ok(reply) => Some(reply),
            Err(Silence::Closed) => None,
            Err(Silence::TimedOut) => panic!("no reply in time"),
            Err(Silence::Garbage(line)) => panic!("no reply line: {line:?}"),
        }
    }

    /// The next reply, or why there is none.
    pub fn hear(&mut self) -> Result<Reply, Silence> {
        let mut lines = Vec::new();
        loop {
            while let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                let line = String::from_utf8_lossy(&line[..at]).into_owned();
                let code = line.get(..3).and_then(|c| c.parse::<u16>().ok());
                let Some(code) = code else {
                    return Err(Silence::Garbage(line));
                };
                let more = line.as_bytes().get(3) == Some(&b'-');
                lines.push(line);
                if !more {
                    return Ok(Reply { code, lines });
                }
            }
            match self.fill() {
                Ok(0) => return Err(Silence::Closed),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(Silence::TimedOut);
                }
                Err(_) => return Err(Silence::Closed),
            }
        }
    }

    /// Every reply until the server closes or is silent for a moment.
    pub fn replies(&mut self, silence: Duration) -> Vec<Reply> {
        self.set_timeout(silence);
        let mut out = Vec::new();
        loop {
            if !self.buffer.windows(2).any(|w| w == b"\r\n") {
                match self.fill() {
                    Ok(n) if n > 0 => continue,
                    _ => break,
                }
            }
            match self.reply() {
                Some(reply) => out.push(reply),
                None => break,
            }
        }
        self.set_timeout(Duration::from_secs(60));
        out
    }

    fn set_timeout(&mut self, timeout: Duration) {
        let stream = match &mut self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_mut(),
        };
        stream.set_read_timeout(Some(timeout)).unwrap();
    }

    /// Sends a line and reads its reply.
    ///
    /// # Panics
    /// When the server closed instead.
    pub fn command(&mut self, line: &str) -> Reply {
        self.try_command(line)
            .unwrap_or_else(|| panic!("closed after {line}"))
    }

    /// Sends a line and reads its reply, if one comes.
    pub fn try_command(&mut self, line: &str) -> Option<Reply> {
        self.send(line.as_bytes());
        self.send(b"\r\n");
        self.reply()
    }

    /// Whether the server has closed (waits for it).
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }

    /// Closes our half.
    pub fn finish(&mut self) {
        if let Wire::Plain(stream) = &self.wire {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// STARTTLS and the handshake; any certificate will do.
    pub fn start_tls(mut self) -> Self {
        assert_eq!(self.command("STARTTLS").code, 220);
        self.handshake()
    }

    /// The handshake only.
    pub fn handshake(self) -> Self {
        let Wire::Plain(stream) = self.wire else {
            panic!("already secret")
        };
        let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        let mut configuration = builder.build().configure().unwrap();
        configuration.set_verify_hostname(false);
        let tls = configuration.connect("kenin.example", stream).unwrap();
        Self {
            wire: Wire::Tls(Box::new(tls)),
            buffer: Vec::new(),
        }
    }

    /// Sends one mail with the envelope of [`Envelope`] and returns the reply to the dot, or the
    /// first reply that refused. By LMTP the first recipient's; the others' come behind it.
    pub fn mail(&mut self, envelope: &Envelope, raw: &[u8]) -> Option<Reply> {
        let reply = self.try_command(&format!(
            "MAIL FROM:<{}>{}",
            envelope.from, envelope.parameters
        ))?;
        if reply.code != 250 {
            return Some(reply);
        }
        let mut accepted = 0;
        let mut last = None;
        for to in &envelope.to {
            let reply = self.try_command(&format!("RCPT TO:<{to}>"))?;
            accepted += usize::from(reply.code == 250);
            last = Some(reply);
        }
        if accepted == 0 {
            return last;
        }
        let reply = self.try_command("DATA")?;
        if reply.code != 354 {
            return Some(reply);
        }
        self.send(&stuffed(raw));
        self.reply()
    }
}

/// Who sends to whom.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Envelope {
    pub from: String,
    pub to: Vec<String>,
    /// Behind MAIL FROM, with a leading space.
    pub parameters: String,
}

impl Envelope {
    /// To one recipient.
    pub fn new(from: &str, to: &str) -> Self {
        Self {
            from: from.to_owned(),
            to: vec![to.to_owned()],
            parameters: String::new(),
        }
    }

    /// With MAIL parameters.
    #[must_use]
    pub fn with(mut self, parameters: &str) -> Self {
        self.parameters = format!(" {parameters}");
        self
    }
}

/// A message as it goes on the wire: dots doubled, the final dot behind it.
pub fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    let mut start = true;
    for byte in raw {
        if start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        start = *byte == b'\n';
    }
    if !raw.ends_with(b"\r\n") && !raw.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Sends one mail over a connection of its own.
///
/// # Panics
/// When the server closes without a reply.
pub fn send(address: SocketAddr, envelope: &Envelope, raw: &[u8]) -> Reply {
    let mut client = Client::greeted(address);
    let reply = client.mail(envelope, raw).expect("a reply to the mail");
    client.send(b"QUIT\r\n");
    reply
}
