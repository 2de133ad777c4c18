//! A recording SMTP server: keeps the bytes of every mail it took, and misbehaves on request.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslMethod};

use crate::forge::Town;
use crate::forge::certificates::{SERVER_AUTH, alt_names, ext_key_usage};
use crate::forge::der::tlv;
use crate::forge::keys::Key;
use crate::world::wait_within;

/// One mail as it arrived.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Received {
    /// EHLO's name.
    pub helo: String,
    /// The MAIL line, whole.
    pub mail: String,
    /// The RCPT lines, whole.
    pub recipients: Vec<String>,
    /// The bytes of the message, without dot-stuffing.
    pub raw: Vec<u8>,
    /// As they were on the wire, dot-stuffed, with the final dot.
    pub wire: Vec<u8>,
    pub tls: bool,
    pub xforward: Vec<String>,
}

impl Received {
    /// The header block and the body.
    pub fn split(&self) -> (&[u8], &[u8]) {
        split(&self.raw)
    }

    /// Field bodies of a header field, unfolded, first to last.
    pub fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.raw, name)
    }
}

/// The header block (with its last CRLF) and the body of a message.
pub fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    match raw.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => (&raw[..at + 2], &raw[at + 4..]),
        None => (raw, &[]),
    }
}

/// Field bodies of a header field by its exact name (case-insensitive), unfolded.
pub fn fields(raw: &[u8], name: &str) -> Vec<String> {
    let (head, _) = split(raw);
    let text = String::from_utf8_lossy(head).into_owned();
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    unfolded
        .split("\r\n")
        .filter_map(|line| {
            let (field, body) = line.split_once(':')?;
            field
                .eq_ignore_ascii_case(name)
                .then(|| body.trim().to_owned())
        })
        .collect()
}

/// What to do at the final dot.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Dot {
    /// 250, and the mail is kept.
    Accept,
    /// This reply line, and the mail is not kept.
    Reply(String),
    /// 250 after a pause, and the mail is kept.
    Slow(Duration),
    /// The mail is kept and the connection dies without a reply: in doubt for the client.
    KeepAndDie,
    /// The connection dies, nothing kept.
    Die,
}

type AtDot = dyn Fn(usize, &Received) -> Dot + Send + Sync;

/// How a sink behaves.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Behaviour {
    /// EHLO keywords, one line each.
    pub extensions: Vec<String>,
    /// Reply to MAIL; default 250.
    pub mail: Option<String>,
    /// RCPT lines that contain the text get the reply.
    pub recipients: Vec<(String, String)>,
    /// Reply to DATA; default 354.
    pub data: Option<String>,
    /// Called with the number of the mail (from 0) at its final dot.
    pub at_dot: Arc<AtDot>,
    /// Reply to STARTTLS, plain bytes sent at once; `None`: real TLS.
    pub starttls_reply: Option<Vec<u8>>,
    /// A pause before every reply.
    pub pause: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            extensions: [
                "8BITMIME",
                "SMTPUTF8",
                "SIZE 104857600",
                "DSN",
                "PIPELINING",
                "ENHANCEDSTATUSCODES",
            ]
            .map(str::to_owned)
            .to_vec(),
            mail: None,
            recipients: Vec::new(),
            data: None,
            at_dot: Arc::new(|_, _| Dot::Accept),
            starttls_reply: None,
            pause: Duration::ZERO,
        }
    }
}

impl Behaviour {
    /// Without some EHLO keywords.
    #[must_use]
    pub fn without(mut self, keyword: &str) -> Self {
        self.extensions.retain(|line| !line.starts_with(keyword));
        self
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.extensions.push(line.to_owned());
        self
    }

    /// With a rule for the final dot.
    #[must_use]
    pub fn at_dot(
        mut self,
        rule: impl Fn(usize, &Received) -> Dot + Send + Sync + 'static,
    ) -> Self {
        self.at_dot = Arc::new(rule);
        self
    }
}

struct State {
    behaviour: Mutex<Behaviour>,
    mails: Mutex<Vec<Received>>,
    /// Every command line, whatever became of it.
    commands: Mutex<Vec<String>>,
    dots: AtomicUsize,
    connections: AtomicUsize,
    stopped: AtomicBool,
    acceptor: SslAcceptor,
}

/// The server.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sink {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::with(Behaviour::default())
    }

    /// One that behaves as told. Its TLS certificate is for `sink.example`.
    pub fn with(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            mails: Mutex::default(),
            commands: Mutex::default(),
            dots: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            acceptor: acceptor(),
        });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let state = shared.clone();
                std::thread::spawn(move || {
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    let _ = serve(&state, stream);
                });
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// From now on it behaves so.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// Everything it took.
    pub fn mails(&self) -> Vec<Received> {
        self.state.mails.lock().unwrap().clone()
    }

    /// How many mails it took.
    pub fn count(&self) -> usize {
        self.state.mails.lock().unwrap().len()
    }

    /// Every command it was sent.
    pub fn commands(&self) -> Vec<String> {
        self.state.commands.lock().unwrap().clone()
    }

    /// How many connections it had.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.state.mails.lock().unwrap().clear();
        self.state.commands.lock().unwrap().clear();
    }

    /// Waits until it has at least this many mails and returns them.
    ///
    /// # Panics
    /// After the deadline.
    pub fn wait(&self, count: usize, deadline: Duration) -> Vec<Received> {
        let what = || format!("{count} mails at the sink");
        wait_within(deadline, &what(), || self.count() >= count);
        self.mails()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The town's root vouches for `sink.example`.
fn acceptor() -> SslAcceptor {
    let key = Key::p256();
    let root = &Town::get().root;
    let mut form = root.person_form("sink.example", "x@sink.example", &key);
    form.extensions[0] = alt_names(&[tlv(0x82, b"sink.example")]);
    form.extensions[2] = ext_key_usage(&[SERVER_AUTH]);
    let certificate = form.issue(&root.key);
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    let pkey = openssl::pkey::PKey::private_key_from_pem(&key.pem()).unwrap();
    builder.set_private_key(&pkey).unwrap();
    builder
        .set_certificate(&openssl::x509::X509::from_der(&certificate).unwrap())
        .unwrap();
    builder.build()
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
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
        state.commands.lock().unwrap().push(text.clone());
        let behaviour = state.behaviour.lock().unwrap().clone();
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
    let keep = |mail| state.mails.lock().unwrap().push(mail);
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
            keep(mail);
            return Ok(false);
        }
        Dot::Die => return Ok(false),
    }
    Ok(true)
}
