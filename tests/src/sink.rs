//! A recording SMTP server: keeps the bytes of every mail it took, and misbehaves on request. It can
//! be killed like a process: every connection breaks, and what it had kept stays kept.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslMethod};

use crate::forge::Town;
use crate::forge::certificates::{SERVER_AUTH, alt_names, ext_key_usage};
use crate::forge::der::tlv;
use crate::forge::keys::Key;
use crate::world::{free_address, wait_for, wait_within};

mod search;
mod talk;

pub use search::Search;

/// What the ledger needs of a mail that was kept.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Record {
    /// Its Message-ID.
    pub id: String,
    /// SHA-256 of its body.
    pub body: [u8; 32],
    /// Its Authentication-Results fields.
    pub stamps: Vec<String>,
    pub subject: String,
    /// Its recipients' addresses.
    pub to: Vec<String>,
    /// What it tells the sender of another mail, if it does.
    pub notice: Option<Notice>,
    /// Whether it shows the text that is looked for.
    pub shows: bool,
    /// SHA-256 of the body that it opens to with the key of whoever looks.
    pub inside: Option<[u8; 32]>,
}

/// A delivery status notification of a failure (RFC 3464).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Notice {
    /// The Message-ID of the mail that was not delivered.
    pub about: String,
    /// To whom it was not.
    pub failed: Vec<String>,
}

impl Notice {
    fn of(mail: &Received) -> Option<Self> {
        let text = String::from_utf8_lossy(mail.split().1);
        let after = |line: &str, name: &str| {
            let (field, value) = line.split_once(':')?;
            let same = field.eq_ignore_ascii_case(name);
            same.then(|| value.trim().to_owned())
        };
        if !mail.mail.starts_with("MAIL FROM:<>") || !text.contains("\nAction: failed") {
            return None;
        }
        let failed = text.lines().filter_map(|line| {
            let value = after(line, "Final-Recipient")?;
            let (_, address) = value.split_once(';')?;
            Some(address.trim().to_owned())
        });
        Some(Self {
            about: text.lines().find_map(|line| after(line, "Message-ID"))?,
            failed: failed.collect(),
        })
    }
}

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

impl Record {
    fn of(mail: &Received, search: Option<&Search>) -> Self {
        Self {
            id: mail.fields("Message-ID").concat(),
            body: openssl::sha::sha256(mail.split().1),
            stamps: mail.fields("Authentication-Results"),
            subject: mail.fields("Subject").concat(),
            to: mail.recipients.iter().filter_map(|l| address(l)).collect(),
            notice: Notice::of(mail),
            shows: search.is_some_and(|search| search.shows(mail)),
            inside: search.and_then(|search| search.inside(mail)),
        }
    }
}

/// The address of a RCPT line.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
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
    /// Whether mails and commands are kept, or only the records of mails: a long run is many mails.
    pub keeps_bytes: bool,
    /// What is looked for in each mail that is kept.
    pub search: Option<Arc<Search>>,
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
            keeps_bytes: true,
            search: None,
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
    records: Mutex<Vec<Record>>,
    /// Every command line, whatever became of it.
    commands: Mutex<Vec<String>>,
    dots: AtomicUsize,
    connections: AtomicUsize,
    /// Those that it broke itself, between a command and its answer perhaps.
    broken: AtomicUsize,
    open: Mutex<BTreeMap<usize, TcpStream>>,
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
        // Not a port that the system gives to clients: after a kill it has to be free.
        let mut sink = Self {
            address: free_address(),
            state: Arc::new(State {
                behaviour: Mutex::new(behaviour),
                mails: Mutex::default(),
                records: Mutex::default(),
                commands: Mutex::default(),
                dots: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                broken: AtomicUsize::new(0),
                open: Mutex::default(),
                stopped: AtomicBool::new(false),
                acceptor: acceptor(),
            }),
            thread: None,
        };
        sink.revive();
        sink
    }

    /// Listens (again).
    pub fn revive(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let shared = self.state.clone();
        shared.stopped.store(false, Ordering::SeqCst);
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let state = shared.clone();
                let number = state.connections.fetch_add(1, Ordering::SeqCst);
                if let Ok(clone) = stream.try_clone() {
                    state.open.lock().unwrap().insert(number, clone);
                }
                std::thread::spawn(move || {
                    let _ = talk::serve(&state, stream);
                    state.open.lock().unwrap().remove(&number);
                });
            }
        }));
    }

    /// Dies as a process does: nobody listens, and no connection says another word.
    pub fn kill(&mut self) {
        self.stop_listening();
        let open = &self.state.open;
        for stream in open.lock().unwrap().values() {
            self.state.broken.fetch_add(1, Ordering::SeqCst);
            let _ = stream.shutdown(Shutdown::Both);
        }
        wait_for("the sink's connections end", || {
            open.lock().unwrap().is_empty()
        });
    }

    fn stop_listening(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
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
        self.state.records.lock().unwrap().len()
    }

    /// The records of everything it took.
    pub fn records(&self) -> Vec<Record> {
        self.state.records.lock().unwrap().clone()
    }

    /// How many connections it broke itself: each may have had a mail in doubt.
    pub fn broken(&self) -> usize {
        self.state.broken.load(Ordering::SeqCst)
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
        self.state.records.lock().unwrap().clear();
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
        self.stop_listening();
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
