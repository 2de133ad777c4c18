//! KEY-03: the real key process between an edge and a worker who have been taken over. Whatever they say, a worker has the
//! keys of the recipients of its mail, a few times, and the rest is refused in one word and written down.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use kenin_keys::protocol::{
    Answer, EdgeRequest, Grant, MAX_FRAME, MAX_RECIPIENTS, Reach, Refusal, Transaction,
    WorkerRequest,
};
use kenin_keys::{ClientError, KeyFacts, KeyId, MAX_USES_OF_KEY};
use kenin_pki::crypto::{DigestAlgorithm, SignatureAlgorithm};
use kenin_tests::parts;
use kenin_tests::world::{Folder, wait_for, write_secret};
use rustix::process::{Signal, kill_process};

use crate::key_process::{ALICE, BOB, KeyProcess, address, attributes, sign, unwrap};

mod pairs;
mod questions;

/// Who has no key.
const CAROL: &str = "carol@example.com";

fn is_not_granted<T>(answer: Result<T, ClientError>) -> bool {
    matches!(answer, Err(ClientError::Refused(Refusal::NotGranted)))
}

/// Whether a connection is closed, and nothing was said before.
fn ends_without_a_word(mut connection: UnixStream) -> bool {
    let mut rest = Vec::new();
    let end = connection.read_to_end(&mut rest);
    // Whether or not all that was said there was read.
    let ended = end.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
    ended && rest.is_empty()
}

/// On a full disk keys went on working, and nothing told of it.
#[test]
fn no_key_works_whose_use_cannot_be_written_down() {
    let full = |_: &Folder| File::options().write(true).open("/dev/full").unwrap();
    let mut process = KeyProcess::writing("warn", full);
    let alice = process.alice.clone();
    let mail = process.mail(Some(ALICE), 60);
    let mut worker = process.worker(mail);
    let unwrapped = worker.unwrap(unwrap(mail, ALICE, &alice)).map(drop);
    let signed = worker.sign(sign(mail, &alice, attributes())).map(drop);
    for answer in [unwrapped, signed] {
        let refused = matches!(answer, Err(ClientError::Refused(Refusal::Unavailable)));
        assert!(refused, "{answer:?}");
    }
}

#[test]
fn a_worker_has_the_keys_of_its_mail_and_no_others() {
    let mut process = KeyProcess::start();
    let (alice, bob) = (process.alice.clone(), process.bob.clone());
    let (mail, ended) = (process.mail(None, 60), process.mail(None, 60));
    process.edge.release(ended).unwrap();
    let (expired, another) = (process.mail(None, 0), process.mail(None, 60));
    let invented = Transaction::random().unwrap();
    let mut worker = process.worker(mail);
    let key = worker.unwrap(unwrap(mail, ALICE, &alice)).unwrap();
    assert_eq!(key.expose(), [9; 16]);
    let mut unknown = alice.clone();
    unknown.id = KeyId::random().unwrap();
    for (what, request) in [
        ("another recipient", unwrap(mail, BOB, &bob)),
        ("another's key", unwrap(mail, ALICE, &bob)),
        ("somebody without one", unwrap(mail, CAROL, &alice)),
        ("a key that is not there", unwrap(mail, ALICE, &unknown)),
        ("no mail", unwrap(invented, ALICE, &alice)),
        ("somebody else's mail", unwrap(another, ALICE, &alice)),
    ] {
        assert!(is_not_granted(worker.unwrap(request)), "{what}");
    }
    for (what, mail) in [
        ("a mail that has ended", ended),
        ("a mail of long ago", expired),
    ] {
        let answer = process.worker(mail).unwrap(unwrap(mail, ALICE, &alice));
        assert!(is_not_granted(answer), "{what}");
    }
    // Nobody is proven to have sent this one, not even Alice.
    assert!(is_not_granted(worker.sign(sign(
        mail,
        &alice,
        attributes()
    ))));
    let hers = process.mail(Some(ALICE), 60);
    // Over its own connection only.
    assert!(is_not_granted(worker.sign(sign(
        hers,
        &alice,
        attributes()
    ))));
    let mut her_worker = process.worker(hers);
    let signed = her_worker.sign(sign(hers, &alice, attributes()));
    let signature = signed.unwrap();
    let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);
    let checked = alice.public.verify(algorithm, &attributes(), &signature);
    assert!(checked.is_ok());
    let text = sign(hers, &alice, b"a digest".to_vec());
    assert!(is_not_granted(her_worker.sign(text)), "what is no mail");
    let bobs = process.mail(Some(BOB), 60);
    let as_her = sign(bobs, &alice, attributes());
    let answer = process.worker(bobs).sign(as_her);
    assert!(is_not_granted(answer), "another sender");
    // It is all written down where a worker cannot reach, with the reason that it was not told.
    wait_for("the log has every refusal", || {
        process.said("a key was refused") == 12
    });
    assert_eq!(process.said("a key was used"), 2);
    for why in [
        "not a recipient",
        "not their key",
        "no such mail",
        "another mail's connection",
        "expired",
    ] {
        assert!(process.said(why) > 0, "{why} in {}", process.log());
    }
    assert!(process.said("one may be taken over") > 0);
}

#[test]
fn ten_thousand_questions_bring_eight_answers() {
    let mut process = KeyProcess::start();
    let alice = process.alice.clone();
    let mail = process.mail(None, 600);
    let mut worker = process.worker(mail);
    let request = unwrap(mail, ALICE, &alice);
    let answered = (0..10_000).filter(|_| worker.unwrap(request.clone()).is_ok());
    assert_eq!(answered.count(), MAX_USES_OF_KEY);
    // The next mail is none the worse for it.
    let next = process.mail(None, 60);
    let answer = process.worker(next).unwrap(unwrap(next, ALICE, &alice));
    assert!(answer.is_ok());
}

#[test]
fn what_does_not_read_ends_its_own_connection() {
    let mut process = KeyProcess::start();
    let alice = process.alice.clone();
    let mail = process.mail(None, 60);
    let mut good = process.worker(mail);
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    let grant = EdgeRequest::Grant(Grant {
        transaction: Transaction::random().unwrap(),
        tenant: "default".to_owned(),
        recipients: vec![address(BOB)],
        sender: None,
        client: None,
        seconds: 60,
    });
    let next = EdgeRequest::Next(None).to_frame(1).unwrap();
    let mut another_version = WorkerRequest::Unwrap(unwrap(mail, ALICE, &alice))
        .to_frame(1)
        .unwrap();
    another_version[4] ^= 1;
    for bad in [
        &b"\0\0\0\0"[..],
        b"\0\0\0\x05hello",
        b"GET / HTTP/1.1\r\n\r\n",
        &too_long,
        &grant.to_frame(1).unwrap(),
        &next,
        &another_version,
    ] {
        let mut connection = process.connection(Reach::One(mail));
        connection.write_all(bad).unwrap();
        assert!(ends_without_a_word(connection), "{bad:?}");
    }
    // Half a frame and a long silence keep nobody from anything.
    let mut silent = process.connection(Reach::One(mail));
    silent.write_all(b"\0\0").unwrap();
    assert!(good.unwrap(unwrap(mail, ALICE, &alice)).is_ok());
    assert!(process.edge.keys().is_ok());
}

#[test]
fn it_ends_with_its_edge_and_with_nothing_else() {
    let mut process = KeyProcess::start();
    let alice = process.alice.clone();
    let mail = process.mail(None, 60);
    let mut worker = process.worker(mail);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(process.pid(), signal).unwrap();
    }
    assert!(worker.unwrap(unwrap(mail, ALICE, &alice)).is_ok());
    assert!(process.edge.keys().is_ok());
    process.line.shutdown(Shutdown::Both).unwrap();
    assert!(process.ended().success());
    assert!(worker.unwrap(unwrap(mail, ALICE, &alice)).is_err());
}

/// Somebody in the place of an edge, who keeps every octet that comes back.
struct Thief {
    line: UnixStream,
    connection: UnixStream,
    heard: Vec<Vec<u8>>,
}

impl Thief {
    fn edge(&mut self, request: &EdgeRequest) -> Answer {
        let frame = request.to_frame(7).unwrap();
        let octets = answer(&self.line, &frame);
        self.keep(octets)
    }

    fn worker(&mut self, request: &WorkerRequest) -> Answer {
        let frame = request.to_frame(7).unwrap();
        let octets = answer(&self.connection, &frame);
        self.keep(octets)
    }

    fn keep(&mut self, octets: Vec<u8>) -> Answer {
        let (_, answer) = Answer::from_frame(&octets).unwrap();
        self.heard.push(octets);
        answer
    }

    /// Announces a mail to Alice and Bob, by Alice, from there, and says whether it was taken.
    fn announce(&mut self, transaction: Transaction, client: &str) -> bool {
        let grant = EdgeRequest::Grant(Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![address(ALICE), address(BOB)],
            sender: Some(address(ALICE)),
            client: Some(client.parse().unwrap()),
            seconds: u32::MAX,
        });
        self.edge(&grant) == Answer::Done
    }

    /// Has a key work for a mail, and says whether it did.
    fn use_it(&mut self, transaction: Transaction, recipient: &str, facts: &KeyFacts) -> bool {
        let request = WorkerRequest::Unwrap(unwrap(transaction, recipient, facts));
        matches!(self.worker(&request), Answer::Key(_))
    }

    /// Says that something opened, and whether that was believed.
    fn claim(&mut self, transaction: Transaction, recipient: &str, key: KeyId) -> bool {
        let claim = EdgeRequest::Opened {
            transaction,
            recipient: address(recipient),
            key,
        };
        self.edge(&claim) == Answer::Done
    }

    /// Whether 16 octets of it, one behind the other, have come back.
    fn has_heard(&self, secret: &[u8]) -> bool {
        secret.windows(16).any(|piece| {
            let has = |octets: &Vec<u8>| octets.windows(16).any(|window| window == piece);
            self.heard.iter().any(has)
        })
    }
}

/// What comes back for these octets, without its length.
fn answer(mut stream: &UnixStream, frame: &[u8]) -> Vec<u8> {
    stream.write_all(frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut octets).unwrap();
    octets
}

/// An edge that somebody else has taken over announces mails that nobody has sent, asks as a worker, and says what it likes
/// of what opened. It has uses of keys, no key, and all that it asks is written down where it cannot reach.
#[test]
fn an_edge_that_was_taken_over_has_uses_of_keys_and_no_key_and_each_call_is_written_down() {
    let process = KeyProcess::at_level("debug");
    let (alice, bob) = (process.alice.clone(), process.bob.clone());
    let mut thief = Thief {
        line: process.line.try_clone().unwrap(),
        connection: process.connection(Reach::All),
        heard: Vec::new(),
    };
    let random = || Transaction::random().unwrap();
    // Which keys there are, before, between and behind them.
    for after in [
        None,
        Some(alice.id),
        Some(bob.id),
        Some(KeyId::random().unwrap()),
        Some(KeyId::from_octets([0xff; 16])),
    ] {
        let told = thief.edge(&EdgeRequest::Next(after));
        assert!(matches!(told, Answer::Facts(_) | Answer::NoMore));
    }
    // A mail once, to as many as there can be, and one that ends before it has begun.
    let mail = random();
    assert!(thief.announce(mail, "192.0.2.1"));
    assert!(!thief.announce(mail, "192.0.2.1"), "it could be made wider");
    let crowd = EdgeRequest::Grant(Grant {
        transaction: random(),
        tenant: "another".to_owned(),
        recipients: vec![address(ALICE); MAX_RECIPIENTS],
        sender: None,
        client: None,
        seconds: 0,
    });
    assert_eq!(thief.edge(&crowd), Answer::Done);
    assert_eq!(thief.edge(&EdgeRequest::Release(random())), Answer::Done);
    // What was not used has not opened: of no mail, of nobody's, of another's, of a key that is not there, and twice.
    assert!(!thief.claim(random(), ALICE, alice.id));
    assert!(!thief.claim(mail, ALICE, alice.id));
    assert!(thief.use_it(mail, ALICE, &alice));
    assert!(!thief.claim(mail, BOB, alice.id));
    assert!(!thief.claim(mail, ALICE, bob.id));
    assert!(!thief.claim(mail, ALICE, KeyId::random().unwrap()));
    assert!(thief.claim(mail, ALICE, alice.id));
    assert!(!thief.claim(mail, ALICE, alice.id));
    let signed = thief.worker(&WorkerRequest::Sign(sign(mail, &alice, attributes())));
    assert!(matches!(signed, Answer::Signature(_)));
    // Mail of one network that it says nothing of.
    let mut worked = 0;
    for _ in 0..300 {
        let mail = random();
        assert!(thief.announce(mail, "198.51.100.1"));
        worked += usize::from(thief.use_it(mail, ALICE, &alice));
        assert_eq!(thief.edge(&EdgeRequest::Release(mail)), Answer::Done);
    }
    assert_eq!(worked, 20);
    // Mail of networks that there are not, all of which it says to have opened: what holds then is a hundred thousand an
    // hour (keys/src/keeper/limits.rs), and the log.
    for number in 0..100 {
        let mail = random();
        assert!(thief.announce(mail, &format!("10.0.{number}.1")));
        assert!(thief.use_it(mail, BOB, &bob));
        assert!(thief.claim(mail, BOB, bob.id));
    }
    // Each call has its line; three more were made when it was started.
    let written = |what: &[&str]| -> usize {
        let lines = what.iter().map(|what| format!("\"msg\":\"{what}\""));
        lines.map(|line| process.said(&line)).sum()
    };
    let uses = ["a key was used", "a key was refused"];
    assert_eq!(written(&uses), 1 + 1 + 300 + 100);
    assert_eq!(written(&uses[..1]), 1 + 1 + 20 + 100);
    assert_eq!(written(&["granted", "not granted"]), 2 + 1 + 300 + 100);
    assert_eq!(written(&["released"]), 1 + 300);
    assert_eq!(written(&["opened", "said to have opened"]), 7 + 100);
    assert_eq!(written(&["told which keys there are"]), 3 + 5);
    let all = [&uses[..], &["granted", "not granted", "released"]].concat();
    let others = ["opened", "said to have opened", "told which keys there are"];
    assert_eq!(written(&all) + written(&others), 3 + thief.heard.len());
    assert!(process.said("fails too often for this key") > 0);
    // What everybody may know has come, so the search finds what is there; and nothing of what nobody may.
    assert!(thief.has_heard(alice.public.spki()));
    for private in &process.private {
        assert!(!thief.has_heard(private));
    }
}

#[test]
fn an_edge_that_does_not_speak_the_language_ends_it() {
    let mut process = KeyProcess::start();
    let alice = process.alice.clone();
    let mail = process.mail(None, 60);
    let workers = WorkerRequest::Unwrap(unwrap(mail, ALICE, &alice));
    process
        .line
        .write_all(&workers.to_frame(1).unwrap())
        .unwrap();
    assert_eq!(process.ended().code(), Some(69));
}

#[test]
fn it_has_no_rights_that_it_does_not_need() {
    let process = KeyProcess::start();
    let status = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    assert_eq!(line("Seccomp:"), "2");
    assert_eq!(line("NoNewPrivs:"), "1");
}

#[test]
fn keys_that_cannot_be_opened_are_told_and_the_others_work() {
    let folder = Folder::new();
    write_secret(&folder.join("kek"), &[7; 32]);
    let start = |tables: &str| {
        let settings = format!(
            "hostname = \"gw.example.jp\"\nstate_dir = \"{}\"\n[next_hop]\naddress = \"127.0.0.1:2\"\n\
             [[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"before-queue\"\n{tables}",
            folder.join("state").display()
        );
        fs::write(folder.join("kenin.toml"), settings).unwrap();
        let (_line, theirs) = UnixStream::pair().unwrap();
        let (_door, inside) = UnixStream::pair().unwrap();
        let mut command = Command::new(parts::kenin());
        command
            .arg("--config")
            .arg(folder.join("kenin.toml"))
            .arg("key-process")
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(inside));
        let output = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        output
    };
    for (tables, code, said) in [
        ("", 78, "there is no [keys]"),
        ("[keys]\nkey_file = \"absent\"\n", 78, "absent"),
        ("[keys]\nnonsense = 1\n", 78, "nonsense"),
    ] {
        let output = start(tables).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{tables}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
    fs::set_permissions(folder.join("kek"), Permissions::from_mode(0o644)).unwrap();
    let output = start("[keys]\nkey_file = \"kek\"\n")
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    // From a shell it is nothing.
    let mut command = Command::new(parts::kenin());
    let output = command.arg("key-process").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kenin run"));
}
