use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use kenin_pki::crypto::{Aes, PublicKey, Secret};
use kenin_pki::crypto::{DigestAlgorithm, Kdf, KeyWrap, SignatureAlgorithm, Wrapped, Wrapping};

use super::*;
use crate::client::{ClientError, EdgeClient, WorkerClient};
use crate::granted::{Granted, Hand, NoKey};
use crate::keeper::{Event, HeldKey};
use crate::key::KeyFacts;
use crate::protocol::{Grant, MAX_FRAME, Sign, Transaction, Unwrap};
use crate::testing::{address, facts, generated};

struct Nowhere;

impl Log for Nowhere {
    fn record(&mut self, _: Moment, _: &Event) -> bool {
        true
    }
}

/// A server with the key of alice@example.com, for whom time stands still.
fn server() -> (Arc<Server<Nowhere>>, KeyFacts) {
    server_that_waits(|_| {})
}

/// The same, whose answers wait like this.
fn server_that_waits(wait: fn(Duration)) -> (Arc<Server<Nowhere>>, KeyFacts) {
    let (key, _) = generated();
    let facts = facts(&key);
    let held = HeldKey::soft(facts.clone(), key).unwrap();
    let time = Time {
        now: || Duration::from_secs(1000),
        wait,
    };
    (Server::new(Keeper::new(vec![held], Nowhere), time), facts)
}

type Served = JoinHandle<io::Result<()>>;

fn raw_edge(server: &Arc<Server<Nowhere>>) -> (UnixStream, Served) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Arc::clone(server);
    (ours, thread::spawn(move || server.edge(theirs)))
}

fn edge(server: &Arc<Server<Nowhere>>) -> (EdgeClient, Served) {
    let (ours, served) = raw_edge(server);
    (EdgeClient::new(ours), served)
}

/// Over a connection of the edge's own.
fn raw_worker(server: &Arc<Server<Nowhere>>) -> (UnixStream, Served) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Arc::clone(server);
    (
        ours,
        thread::spawn(move || server.worker(theirs, Reach::All)),
    )
}

fn worker(server: &Arc<Server<Nowhere>>) -> (WorkerClient, Served) {
    let (ours, served) = raw_worker(server);
    (WorkerClient::new(ours), served)
}

/// A server behind its line and its door, and how it ended.
fn behind_a_door<L: Log + Send + 'static>(
    server: &Arc<Server<L>>,
) -> (EdgeClient, UnixStream, Served) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (door, inside) = UnixStream::pair().unwrap();
    let server = Arc::clone(server);
    let served = thread::spawn(move || server.run(theirs, inside));
    (EdgeClient::new(ours), door, served)
}

/// The other end of a connection that is handed in.
fn handed_in(door: &UnixStream, reach: Reach) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let said = reach.to_octets();
    kenin_sys::send_descriptor_with(door.as_fd(), theirs.as_fd(), &said).unwrap();
    ours
}

fn grant(client: &str) -> Grant {
    Grant {
        transaction: Transaction::random().unwrap(),
        tenant: "default".to_owned(),
        recipients: vec![address("alice@example.com")],
        sender: Some(address("alice@example.com")),
        client: Some(client.parse().unwrap()),
        seconds: 60,
    }
}

fn wrapped(public: &PublicKey) -> Wrapped {
    let wrapping = Wrapping::Agreement {
        kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
        wrap: KeyWrap::Aes(Aes::Bits128),
        shared_info: Vec::new(),
    };
    Wrapped::wrap(wrapping, public, &Secret::new(vec![9; 16])).unwrap()
}

fn unwrap(transaction: Transaction, facts: &KeyFacts) -> Unwrap {
    Unwrap {
        transaction,
        recipient: address("alice@example.com"),
        key: facts.id,
        length: 16,
        wrapped: wrapped(&facts.public),
    }
}

#[test]
fn a_mail_goes_through_over_real_sockets() {
    let (server, facts) = server();
    let (mut edge, edge_served) = edge(&server);
    let (mut worker, worker_served) = worker(&server);
    assert_eq!(edge.keys().unwrap(), std::slice::from_ref(&facts));
    let grant = grant("192.0.2.1");
    let transaction = grant.transaction;
    edge.grant(grant).unwrap();
    let key = worker.unwrap(unwrap(transaction, &facts)).unwrap();
    assert_eq!(key.expose(), [9; 16]);
    edge.opened(transaction, address("alice@example.com"), facts.id)
        .unwrap();
    let sign = Sign {
        transaction,
        key: facts.id,
        algorithm: SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
        attributes: b"no attributes".to_vec(),
    };
    let refused = worker.sign(sign).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::NotGranted)));
    edge.release(transaction).unwrap();
    let refused = worker.unwrap(unwrap(transaction, &facts)).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::NotGranted)));
    drop((edge, worker));
    assert!(edge_served.join().unwrap().is_ok());
    assert!(worker_served.join().unwrap().is_ok());
}

/// Whether a connection ends with these octets, and nothing comes back.
fn is_not_heard((mut stream, served): (UnixStream, Served), octets: &[u8]) -> bool {
    stream.write_all(octets).unwrap();
    let ended = served.join().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest.is_empty() && ended.is_err_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// KEY-03: of all kinds of questions that a frame can name the edge has four and a worker has two, of which none brings a key.
/// Whatever is said of another kind ends the connection, also where it is what the other one may say.
#[test]
fn no_other_kind_of_question_has_an_answer() {
    // Behind the length, the version and the number.
    const KIND: usize = 9;
    let (server, facts) = server();
    let (mut granting, _) = edge(&server);
    let grant = grant("192.0.2.1");
    let transaction = grant.transaction;
    granting.grant(grant.clone()).unwrap();
    let of_edge = [
        EdgeRequest::Grant(grant),
        EdgeRequest::Release(Transaction::random().unwrap()),
        EdgeRequest::Opened {
            transaction,
            recipient: address("alice@example.com"),
            key: facts.id,
        },
        EdgeRequest::Next(None),
    ];
    let of_worker = [
        WorkerRequest::Unwrap(unwrap(transaction, &facts)),
        WorkerRequest::Sign(Sign {
            transaction,
            key: facts.id,
            algorithm: SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            attributes: b"no attributes".to_vec(),
        }),
    ];
    let of_edge = of_edge.map(|request| request.to_frame(7).unwrap());
    let of_worker = of_worker.map(|request| request.to_frame(7).unwrap());
    let edges = of_edge.each_ref().map(|frame| frame[KIND]);
    let workers = of_worker.each_ref().map(|frame| frame[KIND]);
    for kind in 0..=u8::MAX {
        for frame in of_edge.iter().chain(&of_worker) {
            let mut frame = frame.clone();
            frame[KIND] = kind;
            let (edges, workers) = (edges.contains(&kind), workers.contains(&kind));
            assert!(edges || is_not_heard(raw_edge(&server), &frame), "{kind}");
            let not_heard = || is_not_heard(raw_worker(&server), &frame);
            assert!(workers || not_heard(), "{kind}");
        }
    }
    // The grant still holds, and no key has worked.
    let counts = || server.keeper().unwrap().counts(facts.id).unwrap();
    assert_eq!((counts().unwraps, counts().signatures), (0, 0));
    let (mut worker, _) = worker(&server);
    assert!(worker.unwrap(unwrap(transaction, &facts)).is_ok());
}

/// KEY-03: a worker that says what does not read, or what is the edge's to say, is heard no more; others are.
#[test]
fn a_malformed_frame_ends_its_own_connection_only() {
    let (server, facts) = server();
    let (mut edge, _) = edge(&server);
    let (mut good, _) = worker(&server);
    let grant = grant("192.0.2.1");
    let transaction = grant.transaction;
    let granting = EdgeRequest::Grant(grant.clone()).to_frame(1).unwrap();
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    for bad in [&b"\0\0\0\x01x"[..], b"\0\0\0\0", &too_long, &granting] {
        assert!(is_not_heard(raw_worker(&server), bad));
    }
    // The last of them was no grant.
    let refused = good.unwrap(unwrap(transaction, &facts)).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Refusal::NotGranted)));
    edge.grant(grant).unwrap();
    assert!(good.unwrap(unwrap(transaction, &facts)).is_ok());
}

/// At a reload, where a worker was lost meanwhile: that was told as a key process that failed.
#[test]
fn an_edge_that_goes_before_its_last_answer_has_gone_well() {
    let (server, _) = server();
    let (mut stream, served) = raw_edge(&server);
    // What is written to us fails now.
    stream.shutdown(Shutdown::Read).unwrap();
    let release = EdgeRequest::Release(Transaction::random().unwrap());
    stream.write_all(&release.to_frame(1).unwrap()).unwrap();
    drop(stream);
    assert!(served.join().unwrap().is_ok());
}

/// Answers that wait are answered all the same.
#[test]
fn a_key_under_attack_still_answers() {
    let (server, facts) = server();
    let (mut edge, _) = edge(&server);
    let (mut worker, _) = worker(&server);
    for number in 0..=220_u32 {
        let [.., a, b] = number.to_be_bytes();
        let grant = grant(&format!("10.{a}.{b}.1"));
        let transaction = grant.transaction;
        edge.grant(grant).unwrap();
        assert!(worker.unwrap(unwrap(transaction, &facts)).is_ok());
        edge.release(transaction).unwrap();
    }
}

/// Under attack, too, the mail of others is no failure of theirs where no key has worked for it.
#[test]
fn what_is_turned_away_since_too_many_answers_wait_is_no_failure() {
    static DOOR: Mutex<()> = Mutex::new(());
    let shut = DOOR.lock().unwrap();
    let (server, facts) = server_that_waits(|_| drop(DOOR.lock()));
    let (mut edge, _) = edge(&server);
    let mut granted = |number: u32| {
        let [.., a, b] = number.to_be_bytes();
        let grant = grant(&format!("10.{a}.{b}.1"));
        let transaction = grant.transaction;
        edge.grant(grant).unwrap();
        transaction
    };
    let attack: Vec<Transaction> = (0..200).map(&mut granted).collect();
    let waiting: Vec<Transaction> = (200..264).map(&mut granted).collect();
    let other = granted(264);
    let (mut first, _) = worker(&server);
    for transaction in attack {
        assert!(first.unwrap(unwrap(transaction, &facts)).is_ok());
        edge.release(transaction).unwrap();
    }
    let (stream, _) = raw_worker(&server);
    for transaction in waiting.into_iter().chain([other]) {
        let request = WorkerRequest::Unwrap(unwrap(transaction, &facts));
        frame::write(&stream, &request.to_frame(7).unwrap()).unwrap();
    }
    let mut frames = Frames::new(&stream);
    let answer = frames.next_frame().unwrap().unwrap();
    let (_, answer) = Answer::from_frame(answer.expose()).unwrap();
    assert_eq!(answer, Answer::Refused(Refusal::TooManyFailures));
    let counts = server.keeper().unwrap().counts(facts.id).unwrap();
    assert_eq!(counts.unwraps, 264);
    // Nothing is left of it that could be a failure.
    let alice = address("alice@example.com");
    assert!(edge.opened(other, alice, facts.id).is_err());
    drop(shut);
    for _ in 0..64 {
        let answer = frames.next_frame().unwrap().unwrap();
        let (_, answer) = Answer::from_frame(answer.expose()).unwrap();
        assert_eq!(answer, Answer::Key(Secret::new(vec![9; 16])));
    }
}

#[test]
fn who_comes_in_by_the_door_is_served_until_the_edge_goes() {
    let (server, facts) = server();
    let (mut edge, door, served) = behind_a_door(&server);
    let grant = grant("192.0.2.1");
    let transaction = grant.transaction;
    edge.grant(grant).unwrap();
    for reach in [Reach::One(transaction), Reach::One(transaction), Reach::All] {
        let mut worker = WorkerClient::new(handed_in(&door, reach));
        assert!(worker.unwrap(unwrap(transaction, &facts)).is_ok());
    }
    drop(edge);
    assert!(served.join().unwrap().is_ok());
}

/// How many connections it was told to have been turned away, each time.
#[derive(Default)]
struct TurnedAway(Vec<u64>);

impl Log for TurnedAway {
    fn record(&mut self, _: Moment, event: &Event) -> bool {
        if let Event::TurnedAway { connections } = event {
            self.0.push(*connections);
        }
        true
    }
}

/// Nothing told that it was this, and not a key process that had gone.
#[test]
fn connections_that_are_turned_away_are_written_down_once_a_minute() {
    static NOW: AtomicU64 = AtomicU64::new(1000);
    let time = Time {
        now: || Duration::from_secs(NOW.load(Ordering::SeqCst)),
        wait: |_| {},
    };
    let server = Server::new(Keeper::new(Vec::new(), TurnedAway::default()), time);
    let (mut edge, door, _) = behind_a_door(&server);
    server.connections.store(MAX_CONNECTIONS, Ordering::SeqCst);
    let turned_away = |times: u32| {
        for _ in 0..times {
            // It is written down before the other end sees it.
            let mut stream = handed_in(&door, Reach::All);
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        server.keeper().unwrap().log().0.clone()
    };
    let later = |seconds: u64| NOW.fetch_add(seconds, Ordering::SeqCst);
    assert_eq!(turned_away(3), [1]);
    later(59);
    assert_eq!(turned_away(1), [1]);
    later(1);
    assert_eq!(turned_away(2), [1, 4]);
    // The last ones are told too, where no others come after them.
    later(60);
    assert!(edge.keys().is_ok());
    assert_eq!(turned_away(0), [1, 4, 1]);
    assert_eq!(server.connections.load(Ordering::SeqCst), MAX_CONNECTIONS);
}

/// The thread that heard one of them hears the next one, too.
#[test]
fn connections_neither_wait_for_others_nor_see_what_others_left() {
    let (server, facts) = server();
    let (mut edge, door, served) = behind_a_door(&server);
    let grant = grant("192.0.2.1");
    let transaction = grant.transaction;
    edge.grant(grant).unwrap();
    let connected = || handed_in(&door, Reach::One(transaction));
    let mut silent = connected();
    silent.write_all(b"\0\0").unwrap();
    for _ in 0..3 {
        let mut cut = connected();
        cut.write_all(b"\0\0\0\x09abc").unwrap();
        drop(cut);
        let mut worker = WorkerClient::new(connected());
        assert!(worker.unwrap(unwrap(transaction, &facts)).is_ok());
    }
    drop((edge, silent));
    assert!(served.join().unwrap().is_ok());
}

/// Without a door nobody could use what is granted.
#[test]
fn whose_door_is_shut_serves_no_longer() {
    let (server, _) = server();
    let (mut edge, door, served) = behind_a_door(&server);
    drop(door);
    assert!(served.join().unwrap().is_ok());
    assert!(edge.keys().is_err());
}

/// One of which it is not said for which mail it is would be for all of them.
#[test]
fn no_connection_comes_in_for_nobody() {
    let (server, _) = server();
    for said in [&[1][..], &[2; Reach::LEN], &[0; Reach::LEN - 1]] {
        let (mut edge, door, served) = behind_a_door(&server);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        kenin_sys::send_descriptor_with(door.as_fd(), theirs.as_fd(), said).unwrap();
        drop(theirs);
        // The edge is no edge, and is heard no more.
        let _ = served.join().unwrap();
        assert!(edge.keys().is_err());
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}

/// KEY-03: the id of another mail that is live is worth nothing to whoever has this one, also where the same thread of ours
/// has heard the other's worker.
#[test]
fn a_connection_serves_the_mail_that_it_was_handed_in_for_and_no_other() {
    let (server, facts) = server();
    let (mut edge, door, _) = behind_a_door(&server);
    let mut granted = || {
        let grant = grant("192.0.2.1");
        let transaction = grant.transaction;
        edge.grant(grant).unwrap();
        transaction
    };
    let (one, other) = (granted(), granted());
    let worked = || server.keeper().unwrap().counts(facts.id).unwrap().unwraps;
    for (own, others, before) in [(one, other, 0), (other, one, 1), (one, other, 2)] {
        let mut worker = WorkerClient::new(handed_in(&door, Reach::One(own)));
        let unknown = Transaction::random().unwrap();
        for transaction in [others, unknown] {
            let refused = worker.unwrap(unwrap(transaction, &facts)).unwrap_err();
            assert!(matches!(refused, ClientError::Refused(Refusal::NotGranted)));
        }
        assert_eq!(worked(), before);
        assert!(worker.unwrap(unwrap(own, &facts)).is_ok());
        assert_eq!(worked(), before + 1);
    }
}

/// What whoever works on a mail has in hand is a connection and the mail, and nothing of it shows.
#[test]
fn a_hand_reaches_what_was_granted() {
    let (server, facts) = server();
    let (mut edge, _) = edge(&server);
    let (worker, _) = worker(&server);
    let worker = Arc::new(Mutex::new(worker));
    let grant = grant("192.0.2.1");
    let hand = Hand::new(Arc::clone(&worker), grant.transaction);
    let alice = address("alice@example.com");
    let wrapped = wrapped(&facts.public);
    let refused = hand.unwrap(&alice, facts.id, 16, &wrapped).unwrap_err();
    assert_eq!(refused, NoKey::Refused(Refusal::NotGranted));
    edge.grant(grant).unwrap();
    let key = hand.unwrap(&alice, facts.id, 16, &wrapped).unwrap();
    assert_eq!(key.expose(), [9; 16]);
    let bob = address("bob@example.com");
    let refused = hand.unwrap(&bob, facts.id, 16, &wrapped).unwrap_err();
    assert_eq!(refused, NoKey::Refused(Refusal::NotGranted));
}

/// What a panic is about may be a secret; that there was one is not.
#[test]
fn a_panic_ends_the_process_and_tells_where_and_not_what() {
    const NAME: &str = "serve::tests::a_panic_ends_the_process_and_tells_where_and_not_what";
    const CHILD: &str = "KENIN_KEYS_ALONE";
    if std::env::var_os(CHILD).is_some() {
        abort_on_panic();
        panic!("open sesame");
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.signal().is_some(), "{:?}", child.status);
    assert!(said.contains("panic in keys/src/serve/tests.rs"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}
