//! The two ends of a mail's way: a client that pipelines its commands, and a sink that counts what
//! arrived and forgets it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::load::{Open, Session, Trouble};

/// One connection to an SMTP server.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    /// Connects and greets.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Trouble> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream: BufReader::new(stream),
            line: String::new(),
        };
        client.expect("220")?;
        client.say(b"EHLO client.example\r\n")?;
        client.expect("250")?;
        Ok(client)
    }

    /// Sends a mail, whose pieces are as they go on the wire, behind the lines that lead to its DATA; the line that
    /// answers its dot.
    pub(crate) fn send(&mut self, envelope: &[u8], pieces: &[&[u8]]) -> Result<&str, Trouble> {
        self.say(envelope)?;
        let lines = envelope.iter().filter(|octet| **octet == b'\n').count();
        for _ in 1..lines {
            self.expect("250")?;
        }
        self.expect("354")?;
        for piece in pieces {
            self.say(piece)?;
        }
        self.hear()?;
        Ok(&self.line)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads a reply to its last line.
    fn hear(&mut self) -> Result<(), Trouble> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line)? == 0 {
                return Err("the server closed".into());
            }
            if self.line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    fn expect(&mut self, code: &str) -> Result<(), Trouble> {
        self.hear()?;
        answered(&self.line, code)
    }
}

/// Whether an answer has this code.
pub(crate) fn answered(line: &str, code: &str) -> Result<(), Trouble> {
    match line.starts_with(code) {
        true => Ok(()),
        false => Err(format!("{line:?} instead of {code}").into()),
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.say(b"QUIT\r\n");
    }
}

/// Sends the same mail again and again.
struct Repeating {
    client: Client,
    /// The mail as it goes on the wire, dots doubled and ended.
    wire: Arc<[u8]>,
}

impl Session for Repeating {
    fn mail(&mut self) -> Result<(), Trouble> {
        let line = self.client.send(ENVELOPE, &[&self.wire])?;
        answered(line, "250")
    }
}

/// Opens clients.
pub(crate) fn opener(address: SocketAddr, wire: &Arc<[u8]>) -> Box<Open<'static>> {
    let wire = Arc::clone(wire);
    Box::new(move || {
        let (client, wire) = (Client::open(address)?, Arc::clone(&wire));
        Ok(Box::new(Repeating { client, wire }))
    })
}

/// The start of a session's mail: from whom, to whom, and that it comes.
pub(crate) fn envelope(from: &str, to: &str) -> Vec<u8> {
    format!("MAIL FROM:<{from}> BODY=8BITMIME\r\nRCPT TO:<{to}>\r\nDATA\r\n").into_bytes()
}

/// A mail as it goes on the wire.
pub(crate) fn wire(raw: &[u8]) -> Arc<[u8]> {
    kenin_tests::client::stuffed(raw).into()
}

/// An SMTP server that takes everything. It lives as long as this process.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    mails: AtomicUsize,
    marked: AtomicUsize,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Sink {
    /// Counts mails, and those whose beginning holds `mark`.
    pub(crate) fn start(mark: &'static str) -> Result<Self, Trouble> {
        Self::keeping(mark, 0)
    }

    /// The same, and keeps of each mail this many octets, as they come on the wire, until they are taken.
    pub(crate) fn keeping(mark: &'static str, octets: usize) -> Result<Self, Trouble> {
        // Below the ports that the system gives to clients, so that none of them is in the way.
        let listener = TcpListener::bind(kenin_tests::world::free_address())?;
        let address = listener.local_addr()?;
        let tally = Arc::new(Tally::default());
        let counting = Arc::clone(&tally);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tally = Arc::clone(&counting);
                // A client that goes away ends its own session only.
                std::thread::spawn(move || drop(serve(stream, &tally, mark, octets)));
            }
        });
        Ok(Self { address, tally })
    }

    /// How many mails have arrived.
    pub(crate) fn count(&self) -> usize {
        self.tally.mails.load(Ordering::SeqCst)
    }

    /// How many of them are marked.
    pub(crate) fn marked(&self) -> usize {
        self.tally.marked.load(Ordering::SeqCst)
    }

    /// What it has kept since it was last asked.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.tally.lock())
    }

    /// Waits until this many have arrived; all of them must be marked.
    pub(crate) fn wait(&self, count: usize) -> Result<(), Trouble> {
        let end = Instant::now() + PATIENCE;
        while self.count() < count {
            if Instant::now() > end {
                return Err(format!("{} of {count} mails arrived", self.count()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let marked = self.marked();
        if marked < self.count() {
            return Err(format!("{marked} of {} mails are marked as good", self.count()).into());
        }
        Ok(())
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: TcpStream, tally: &Tally, mark: &str, octets: usize) -> Result<(), Trouble> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut line = String::new();
    stream.get_mut().write_all(b"220 sink.example ESMTP\r\n")?;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_str() {
            "EHLO" => {
                b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"
            }
            "QUIT" => b"221 2.0.0 Bye\r\n",
            "DATA" => {
                stream.get_mut().write_all(b"354 Go on\r\n")?;
                let mut beginning = take(&mut stream, octets.max(HEAD))?;
                let marked = is_marked(&beginning, mark);
                if octets > 0 {
                    beginning.truncate(octets);
                    tally.lock().push(beginning);
                }
                tally
                    .marked
                    .fetch_add(usize::from(marked), Ordering::SeqCst);
                tally.mails.fetch_add(1, Ordering::SeqCst);
                b"250 2.0.0 Ok\r\n"
            }
            _ => b"250 2.0.0 Ok\r\n",
        };
        stream.get_mut().write_all(reply)?;
        if verb == "QUIT" {
            return Ok(());
        }
    }
}

/// Reads a mail to its end; so many octets of its beginning.
fn take(stream: &mut impl BufRead, octets: usize) -> std::io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    data(stream, |bytes| {
        let room = octets.saturating_sub(beginning.len()).min(bytes.len());
        beginning.extend_from_slice(bytes.get(..room).unwrap_or_default());
    })?;
    Ok(beginning)
}

/// Looks for the mark in the first 16 KiB of a mail.
fn is_marked(beginning: &[u8], mark: &str) -> bool {
    let head = beginning.get(..HEAD).unwrap_or(beginning);
    let mark = mark.as_bytes();
    mark.is_empty() || head.windows(mark.len()).any(|window| window == mark)
}

/// Reads a mail with its dot and hands on its pieces. Nothing but a QUIT may follow a dot that is not
/// answered, so only the end of each piece has to be searched for the dot.
pub(crate) fn data(stream: &mut impl BufRead, mut keep: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let chunk = stream.fill_buf()?;
        if chunk.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let start = chunk.len().saturating_sub(NEAR);
        let before = if start == 0 { tail.len() } else { 0 };
        let near = chunk.get(start..).unwrap_or_default();
        tail.drain(..tail.len() - before);
        tail.extend_from_slice(near);
        let end = tail.windows(END.len()).position(|window| window == END);
        let used = end.map_or(chunk.len(), |at| start + at + END.len() - before);
        keep(chunk.get(..used).unwrap_or_default());
        stream.consume(used);
        if end.is_some() {
            return Ok(());
        }
        tail.drain(..tail.len().saturating_sub(END.len() - 1));
    }
}

/// As much as a QUIT and the end of a mail may take, and more.
const NEAR: usize = 64;
const HEAD: usize = 16 << 10;
const END: &[u8] = b"\r\n.\r\n";
const ENVELOPE: &[u8] =
    b"MAIL FROM:<alice@example.jp> BODY=8BITMIME\r\nRCPT TO:<reader@example.jp>\r\nDATA\r\n";
const PATIENCE: Duration = Duration::from_secs(120);
