//! KEY-03: somebody else's code in the place of a copy that opens a mail. It is confined by the functions that confine the
//! real one, in their order, and has what that one has: a line, and a connection to a real key process. It does whatever it
//! is told to try, and says what came of it.
//!
//! Who makes copies has one thread, which no test in a harness has: this is a program of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kenin_keys::protocol::{
    Answer, EdgeRequest, Grant, MAX_FRAME, Reach, Refusal, Transaction, WorkerRequest,
};
use kenin_keys::{KeyFacts, KeyId, MAX_USES_OF_KEY};
use kenin_pki::crypto::Secret;
use kenin_sys::{Copied, Fork, Otherwise, Template};
use kenin_tests::world::{PATIENCE, files, wait_for};
use rustix::process::{Pid, test_kill_process};

use key_process::{ALICE, BOB, KeyProcess, address, attributes, sign, unwrap};

// Other tests use more of it.
#[allow(dead_code)]
#[path = "../it/key_process.rs"]
mod key_process;

fn main() {
    match std::env::var_os(STAGE) {
        Some(_) => make_copies(),
        None => who_has_taken_over_a_copy_has_the_keys_of_its_mail_and_nothing_else(),
    }
}

fn who_has_taken_over_a_copy_has_the_keys_of_its_mail_and_nothing_else() {
    let mut process = KeyProcess::start();
    let (alice, bob) = (process.alice.clone(), process.bob.clone());
    let for_alice = |mail| WorkerRequest::Unwrap(unwrap(mail, ALICE, &alice));
    let for_bob = |mail| WorkerRequest::Unwrap(unwrap(mail, BOB, &bob));
    let maker = Maker::start();
    let socket = process.folder.join("socket");
    let listening = (
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        UnixListener::bind(&socket).unwrap(),
    );
    let rights = rights(&process, &listening.0, &socket);
    // All of it can be had by this program, until it is confined.
    for (what, with) in &rights {
        let (came, _) = does(&maker.line, *what, with.as_bytes());
        assert_eq!(came, DONE, "{} {with}", char::from(*what));
    }
    say(&maker.line, ENOUGH, b"");

    // More than a worker's mail is ever granted: signatures are the edge's to ask for.
    let mail = process.mail(Some(ALICE), 600);
    let thief = maker.copy(process.connection(Reach::One(mail)));
    for (what, with) in &rights {
        let (came, _) = thief.tries(*what, with.as_bytes());
        assert_eq!(came, REFUSED, "{} {with}", char::from(*what));
    }
    assert!(opens(&thief.asks(&for_alice(mail))));
    let signed = thief.asks(&WorkerRequest::Sign(sign(mail, &alice, attributes())));
    assert!(matches!(signed, Answer::Signature(_)), "{signed:?}");
    let [others, bobs, ended] = [None, Some(BOB), None].map(|sender| process.mail(sender, 600));
    process.edge.release(ended).unwrap();
    let denied = denied(mail, [others, bobs, ended], [&alice, &bob]);
    for (what, request) in &denied {
        assert_eq!(thief.asks(request), DENIED, "{what}");
    }
    // Each is written down, and no key has worked for it.
    wait_for("the log has every refusal", || {
        process.said("a key was refused") == denied.len()
    });
    assert_eq!(process.said("a key was used"), 2);
    let more = (0..100).filter(|_| opens(&thief.asks(&for_alice(mail))));
    assert_eq!(more.count(), MAX_USES_OF_KEY - 1);

    let short = process.mail(None, 1);
    let thief = maker.copy(process.connection(Reach::One(short)));
    // It comes in time, unless the machine is very slow.
    let first = thief.asks(&for_alice(short));
    assert!(opens(&first) || first == DENIED, "{first:?}");
    wait_for("the key process says that the grant has expired", || {
        // To whom the mail does not go: that uses nothing up.
        assert_eq!(thief.asks(&for_bob(short)), DENIED);
        process.said("expired") > 0
    });
    let used = process.said("a key was used");
    assert_eq!(thief.asks(&for_alice(short)), DENIED);
    assert_eq!(process.said("a key was used"), used);

    for bad in malformed(&for_alice(mail)) {
        let own = process.mail(None, 600);
        let thief = maker.copy(process.connection(Reach::One(own)));
        assert_eq!(thief.tries(ASK, &bad), (ENDED, Vec::new()), "{bad:?}");
        // Its own mail is not opened either any more.
        let good = for_alice(own).to_frame(NUMBER).unwrap();
        assert_eq!(thief.tries(ASK, &good).0, ENDED, "{bad:?}");
    }
    // Nobody else is the worse for any of it, or the better.
    let next = process.mail(None, 600);
    let thief = maker.copy(process.connection(Reach::One(next)));
    assert_eq!(thief.asks(&for_alice(others)), DENIED);
    assert!(opens(&thief.asks(&for_alice(next))));
}

/// What every program of this user may: the files with the keys and their secret, sockets, other programs.
fn rights(process: &KeyProcess, tcp: &TcpListener, socket: &Path) -> Vec<(u8, String)> {
    let shown = |path: &Path| path.display().to_string();
    let folder = process.folder.join("state/keys");
    let mut secrets = files(&folder);
    assert!(secrets.len() >= 2, "{secrets:?}");
    secrets.push(process.folder.join("kek"));
    let mut rights = Vec::new();
    for secret in &secrets {
        rights.extend([(READ, shown(secret)), (WRITE, shown(secret))]);
    }
    rights.extend([
        (LIST, shown(&folder)),
        (TCP, tcp.local_addr().unwrap().to_string()),
        (UDP, "127.0.0.1:0".to_owned()),
        (UNIX, shown(socket)),
        (PAIR, String::new()),
        (RUN, "/bin/true".to_owned()),
        (SIGNAL, process.pid().as_raw_nonzero().to_string()),
    ]);
    rights
}

/// What is not granted to whoever has this mail, which is to Alice and by her.
fn denied(
    mail: Transaction,
    [others, bobs, ended]: [Transaction; 3],
    [alice, bob]: [&KeyFacts; 2],
) -> Vec<(&'static str, WorkerRequest)> {
    let mut unwraps = vec![
        ("another recipient", unwrap(mail, BOB, bob)),
        ("another recipient, with her key", unwrap(mail, BOB, alice)),
        ("another's key", unwrap(mail, ALICE, bob)),
        ("a live mail to her", unwrap(others, ALICE, alice)),
        ("a live mail by Bob", unwrap(bobs, ALICE, alice)),
        ("a mail that has ended", unwrap(ended, ALICE, alice)),
        (
            "a mail that never was",
            unwrap(Transaction::random().unwrap(), ALICE, alice),
        ),
    ];
    // Which keys there are cannot be found out: one that is not there is refused as Bob's is.
    for octet in 0..64 {
        let mut unknown = alice.clone();
        unknown.id = KeyId::from_octets([octet; 16]);
        unwraps.push(("a key that is not there", unwrap(mail, ALICE, &unknown)));
    }
    let text = b"I owe Mallory a million".to_vec();
    let signatures = [
        ("another sender", sign(mail, bob, attributes())),
        (
            "another sender of another mail",
            sign(bobs, bob, attributes()),
        ),
        ("another mail", sign(bobs, alice, attributes())),
        ("what is no mail", sign(mail, alice, text)),
    ];
    let unwraps = unwraps.into_iter();
    let unwraps = unwraps.map(|(what, one)| (what, WorkerRequest::Unwrap(one)));
    let signatures = signatures.into_iter();
    unwraps
        .chain(signatures.map(|(what, one)| (what, WorkerRequest::Sign(one))))
        .collect()
}

/// What no worker says: what does not read, and what is the edge's to say. `good` is something that one says.
fn malformed(good: &WorkerRequest) -> Vec<Vec<u8>> {
    let mut all = vec![
        b"\0\0\0\0".to_vec(),
        b"\0\0\0\x05hello".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes().to_vec(),
    ];
    let transaction = Transaction::random().unwrap();
    for edges in [
        EdgeRequest::Grant(Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![address(BOB)],
            sender: Some(address(BOB)),
            client: None,
            seconds: 600,
        }),
        EdgeRequest::Release(transaction),
        EdgeRequest::Opened {
            transaction,
            recipient: address(ALICE),
            key: KeyId::random().unwrap(),
        },
        EdgeRequest::Next(None),
    ] {
        all.push(edges.to_frame(NUMBER).unwrap());
    }
    // Another version, and another kind of question.
    for place in [4, 9] {
        let mut frame = good.to_frame(NUMBER).unwrap();
        frame[place] ^= 0x80;
        all.push(frame);
    }
    all
}

fn opens(answer: &Answer) -> bool {
    matches!(answer, Answer::Key(key) if key.expose() == [9; 16])
}

/// The program that has copies, as the edge has it.
struct Maker {
    child: Child,
    line: UnixStream,
}

impl Maker {
    /// One that is not confined yet.
    fn start() -> Self {
        let (line, theirs) = UnixStream::pair().unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env_clear()
            .env(STAGE, "copies")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        drop(command);
        Self { child, line }
    }

    /// A copy with this connection to the key process. The one before it is ended.
    fn copy(&self, keys: UnixStream) -> Thief {
        let (line, theirs) = UnixStream::pair().unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        for end in [&theirs, &keys] {
            kenin_sys::send_descriptor(self.line.as_fd(), end.as_fd()).unwrap();
        }
        Thief(line)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy that somebody has taken over, as it is heard over its line.
struct Thief(UnixStream);

impl Thief {
    fn tries(&self, what: u8, with: &[u8]) -> (u8, Vec<u8>) {
        does(&self.0, what, with)
    }

    /// What the key process answers it.
    fn asks(&self, request: &WorkerRequest) -> Answer {
        let (came, octets) = self.tries(ASK, &request.to_frame(NUMBER).unwrap());
        assert_eq!(came, DONE, "{request:?}");
        let (number, answer) = Answer::from_frame(&octets).unwrap();
        assert_eq!(number, NUMBER);
        answer
    }
}

/// What comes of it when whoever is at the other end tries this.
fn does(line: &UnixStream, what: u8, with: &[u8]) -> (u8, Vec<u8>) {
    say(line, what, with);
    hear(line).expect("it says what came of it")
}

/// What a template does (`gateway/src/worker/serve/template.rs`), after whatever it is told to try.
fn make_copies() {
    kenin_sys::ignore_termination().unwrap();
    kenin_sys::forbid_core_dumps().unwrap();
    kenin_sys::keep_out_of_dumps().unwrap();
    kenin_sys::forbid_tracing().unwrap();
    kenin_sys::limit_memory(256 << 20).unwrap();
    let line = UnixStream::from(kenin_sys::take_standard_input().unwrap());
    Secret::random(1).unwrap();
    obey(&line, None);
    let template = Template::confine(Otherwise::Refuse).unwrap();
    let mut copy: Option<Copied> = None;
    while let Some(own) = kenin_sys::receive_descriptor(line.as_fd()).unwrap() {
        drop(copy.take());
        let keys = kenin_sys::receive_descriptor(line.as_fd()).unwrap();
        let keys = UnixStream::from(keys.unwrap());
        match template.fork().unwrap() {
            Fork::Template(copied) => copy = Some(copied),
            Fork::Copy => {
                drop(line);
                obey(&UnixStream::from(own), Some(&keys));
                kenin_sys::end_at_once(0);
            }
        }
    }
}

/// Tries what is said over the line, and says what came of it, until that is enough.
fn obey(line: &UnixStream, keys: Option<&UnixStream>) {
    while let Some((what, with)) = hear(line) {
        if what == ENOUGH {
            return;
        }
        match tried(what, &with, keys) {
            Ok(octets) => say(line, DONE, &octets),
            Err(error) => say(line, kind(&error), b""),
        }
    }
}

fn tried(what: u8, with: &[u8], keys: Option<&UnixStream>) -> io::Result<Vec<u8>> {
    let text = std::str::from_utf8(with).unwrap_or_default();
    let done = match what {
        ASK => return answer(keys.unwrap(), with),
        READ => return fs::read(text),
        WRITE => File::options().append(true).open(text).map(drop),
        LIST => fs::read_dir(text).map(drop),
        TCP => TcpStream::connect(text).map(drop),
        UDP => UdpSocket::bind(text).map(drop),
        UNIX => UnixStream::connect(text).map(drop),
        PAIR => UnixStream::pair().map(drop),
        RUN => Command::new(text).status().map(drop),
        SIGNAL => {
            let pid = Pid::from_raw(text.parse().unwrap());
            test_kill_process(pid.unwrap()).map_err(io::Error::from)
        }
        _ => panic!("nothing that can be tried"),
    };
    done.map(|()| Vec::new())
}

fn kind(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => REFUSED,
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => ENDED,
        _ => FAILED,
    }
}

/// What the key process answers to these octets, without its length.
fn answer(mut keys: &UnixStream, frame: &[u8]) -> io::Result<Vec<u8>> {
    keys.write_all(frame)?;
    let mut length = [0; 4];
    keys.read_exact(&mut length)?;
    let mut octets = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    keys.read_exact(&mut octets)?;
    Ok(octets)
}

/// Says what it is, and with what.
fn say(mut line: &UnixStream, what: u8, with: &[u8]) {
    let length = u32::try_from(with.len()).unwrap().to_be_bytes();
    let said = [&[what][..], &length, with].concat();
    line.write_all(&said).unwrap();
}

/// The same from the other end; nothing where that has gone.
fn hear(mut line: &UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    line.read_exact(&mut head).ok()?;
    let [what, length @ ..] = head;
    let mut with = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    line.read_exact(&mut with).ok()?;
    Some((what, with))
}

/// Set for the program that has copies.
const STAGE: &str = "KENIN_TAKEN_OVER";
/// Of a question, which its answer repeats.
const NUMBER: u32 = 7;
const DENIED: Answer = Answer::Refused(Refusal::NotGranted);

/// A question to the key process, as it is.
const ASK: u8 = b'a';
const READ: u8 = b'r';
const WRITE: u8 = b'w';
const LIST: u8 = b'l';
const TCP: u8 = b't';
const UDP: u8 = b'd';
const UNIX: u8 = b'u';
const PAIR: u8 = b'p';
/// Another program.
const RUN: u8 = b'x';
/// To another process; one that does nothing.
const SIGNAL: u8 = b's';
/// Nothing more is to be tried.
const ENOUGH: u8 = b'.';

/// What came of it.
const DONE: u8 = 0;
const REFUSED: u8 = 1;
/// The connection has ended.
const ENDED: u8 = 2;
const FAILED: u8 = 3;
