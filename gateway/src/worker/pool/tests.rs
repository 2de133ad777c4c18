//! Workers that have been taken over: programs that say what they like on the one socket that they have.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kenin_keys::{Granted, KeyFacts, KeyId, MAX_USES, NoKey, State, Uses};
use kenin_pki::address::Address;
use kenin_pki::crypto::{KeyType, SignatureAlgorithm, SigningKey, SoftKey, Wrapped};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_policy::Question;
use tokio::sync::Semaphore;

use super::answers::{
    MAX_AT_ONCE, MAX_ERRANDS, MAX_NAMES, MAX_QUESTIONS, MAX_SIGNATURES, MAX_STATEMENTS,
};
use super::*;
use crate::clock::{Trust, unix_time};
use crate::config::Config;
use crate::init::{InitOptions, Mode, postfix};
use crate::opening::{Answers, Arrival};
use crate::pipeline::Core;
use crate::pipeline::tests::mail;
use crate::protect::{AuthorKey, Signatory};
use crate::worker::codec::question::Errand;

/// A pool whose workers are this script; its standard input is the socket.
async fn pool(dir: &Path, script: &str) -> Pool {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let config = Config::load(&[dir.join("etc/kenin.toml")]).unwrap();
    let snapshot = Snapshot::build(Arc::new(config), None).await.unwrap();
    Pool {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        ..Pool::new(Arc::new(ArcSwap::from_pointee(snapshot)))
    }
}

/// What comes of a mail within so many milliseconds.
async fn decided(pool: Pool, milliseconds: u64) -> (Result<Decided, Lost>, usize) {
    decided_for(pool, milliseconds, Author::default()).await
}

async fn decided_for(
    pool: Pool,
    milliseconds: u64,
    author: Author,
) -> (Result<Decided, Lost>, usize) {
    let core = Core::take(
        &Arc::new(Semaphore::new(1)),
        tokio::time::Instant::now() + Duration::from_secs(600),
    )
    .await
    .unwrap();
    let done = tokio::task::spawn_blocking(move || {
        let snapshot = pool.snapshots.load_full();
        let mail = mail("bob@example.net", "From: a@b.example\r\n\r\nhello\r\n");
        let now = moment();
        let work = Work {
            mail: &mail,
            snapshot: &snapshot,
            author: &author,
            now,
            had: &[],
            office: None,
            until: Instant::now() + Duration::from_millis(milliseconds),
        };
        let mut clerk = Clerk::new(&snapshot, unix_time(now.time), Some(&core));
        let mut protecting = protect::Clerk::new(&snapshot, &author, now, Some(&core));
        let done = pool.decide(work, &mut clerk, &mut protecting);
        (done, pool.spares.count())
    });
    done.await.unwrap()
}

fn moment() -> Moment {
    Moment {
        time: std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        trust: Trust::Yes,
    }
}

/// Says that it is ready, and takes what it judges by and a mail.
const READY: &str = "printf '\\000\\000\\000\\001\\020' >&0";

#[tokio::test]
async fn what_ends_or_talks_nonsense_is_no_worker() {
    for (script, lost) in [
        ("exit 0", Lost::NoWorker),
        ("printf 'HTTP/1.1 200 OK\\r\\n' >&0", Lost::NoWorker),
        // Another kind of frame before it is ready.
        ("printf '\\000\\000\\000\\001\\022' >&0", Lost::NoWorker),
        ("exec /bin/sleep 1000", Lost::Late),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (done, free) = decided(pool(dir.path(), script).await, 300).await;
        assert_eq!((done.err(), free), (Some(lost), 0), "{script}");
    }
}

#[tokio::test]
async fn a_worker_that_ends_or_lies_costs_its_mail_and_is_not_kept() {
    for (script, lost) in [
        // It ends.
        ("exit 1", Lost::Died),
        // A frame of no known kind; one that is not read to its end; one that is no decision.
        ("printf '\\000\\000\\000\\001\\143' >&0", Lost::Died),
        ("printf '\\000\\000\\000\\005\\022xx' >&0", Lost::Died),
        (
            "printf '\\000\\000\\000\\003\\022xx' >&0; exec /bin/sleep 1000",
            Lost::Died,
        ),
        // Longer than any mail.
        (
            "printf '\\377\\377\\377\\377\\022' >&0; exec /bin/sleep 1000",
            Lost::Died,
        ),
        // A question that is none.
        (
            "printf '\\000\\000\\000\\002\\021\\143' >&0; exec /bin/sleep 1000",
            Lost::Died,
        ),
        // It has panicked.
        (
            "printf '\\000\\000\\000\\004\\024x:1' >&0; exec /bin/sleep 1000",
            Lost::Died,
        ),
        // It says nothing, and a little now and then.
        ("exec /bin/sleep 1000", Lost::Late),
        (
            "while :; do printf '\\000' >&0; /bin/sleep 0.1; done",
            Lost::Died,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("{READY}\n/usr/bin/head -c 200 <&0 >/dev/null\n{script}");
        let (done, free) = decided(pool(dir.path(), &script).await, 2000).await;
        assert_eq!((done.err(), free), (Some(lost), 0), "{script}");
    }
}

/// Where the gateway had no descriptor left, the mail was counted as one that kills workers: at its third try it went on without
/// having been looked at, or was refused for good where it must be encrypted.
#[test]
fn a_gateway_without_descriptors_does_not_blame_the_mail() {
    for (code, expected) in [
        (23, Lost::NoWorker),
        (24, Lost::NoWorker),
        (105, Lost::NoWorker),
        (109, Lost::NoWorker),
        // ENOMEM, EPIPE, ECONNRESET.
        (12, Lost::NoRoom),
        (32, Lost::Died),
        (104, Lost::Died),
    ] {
        assert_eq!(
            lost(&io::Error::from_raw_os_error(code)),
            expected,
            "{code}"
        );
    }
    // What a worker says of itself is none of these.
    assert_eq!(lost(&panicked(b"x:24")), Lost::Died);
    assert_eq!(lost(&invalid("another kind of frame")), Lost::Died);
}

/// A template whose copies do this with their line, and who is told when a copy has to end. Shells take no descriptors: a
/// thread does.
fn template(
    snapshot: &Arc<Snapshot>,
    copy: impl Fn(UnixStream) + Send + 'static,
) -> (Worker, mpsc::Receiver<()>) {
    let (stream, theirs) = UnixStream::pair().unwrap();
    let (over, is_over) = mpsc::channel();
    thread::spawn(move || {
        loop {
            match kenin_sys::receive_descriptor(theirs.as_fd()) {
                Ok(None) => return,
                Ok(Some(line)) => copy(line.into()),
                Err(_) => {
                    let _ = over.send(());
                }
            }
        }
    });
    let worker = Worker {
        sort: Sort::Template,
        stream,
        child: process_that_waits(),
        snapshot: Arc::clone(snapshot),
        lists: HashMap::new(),
        copy: None,
        mails: 0,
        idle: Instant::now(),
    };
    (worker, is_over)
}

fn process_that_waits() -> Child {
    let mut command = Command::new("/bin/cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// A key that never works.
struct Never;

impl Granted for Never {
    fn unwrap(&self, _: &Address, _: KeyId, _: usize, _: &Wrapped) -> Result<Secret, NoKey> {
        Err(NoKey::Gone)
    }

    fn sign(&self, _: KeyId, _: SignatureAlgorithm, _: &[u8]) -> Result<Vec<u8>, NoKey> {
        Err(NoKey::Gone)
    }
}

/// An author who has a key: such mail is for a template.
fn with_a_key() -> Author {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let name = common_name("Alice").unwrap();
    let certificate = CertificateBuilder::new(name.clone(), key.public_key())
        .sign(&name, &[1; 20], &key)
        .unwrap();
    let facts = KeyFacts {
        id: KeyId::from_octets([1; 16]),
        tenant: "default".to_owned(),
        version: 1,
        state: State::Active,
        uses: Uses {
            decrypt: false,
            sign: true,
        },
        addresses: Vec::new(),
        public: key.public_key().clone(),
        certificates: Vec::new(),
    };
    let key = AuthorKey {
        signatory: Signatory {
            facts: Arc::new(facts),
            certificate,
            chain: Vec::new(),
        },
        granted: Arc::new(Never),
    };
    Author::known(None, Some(key))
}

/// Each copy was laid out as the one before it: whoever guessed where things are could guess again, as often as a template has
/// mails.
#[tokio::test]
async fn nobody_guesses_twice_at_the_memory_of_one_template() {
    const READY: [u8; 5] = [0, 0, 0, 1, 16];
    for (said, lost) in [
        // It does not come to be; it ends; it says what no worker says; it has panicked.
        (vec![], Lost::NoWorker),
        (READY.to_vec(), Lost::Died),
        ([&READY[..], &[0, 0, 0, 3, 18, 1, 1]].concat(), Lost::Died),
        ([&READY[..], &[0, 0, 0, 2, 17, 99]].concat(), Lost::Died),
        (
            [&READY[..], &[0, 0, 0, 4, 20, 120, 58, 49]].concat(),
            Lost::Died,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path(), "exit 1").await;
        let (worker, is_over) = template(&pool.snapshots.load_full(), {
            let said = said.clone();
            move |mut line| {
                let _ = line.write_all(&said);
                // What it is told is read, or the end of its line is an error.
                let _ = line.shutdown(Shutdown::Write);
                let _ = io::copy(&mut line, &mut io::sink());
            }
        });
        pool.spares.push(worker);
        let (done, free) = decided_for(pool, 2000, with_a_key()).await;
        assert_eq!((done.err(), free), (Some(lost), 0), "{said:?}");
        assert!(is_over.recv().is_err(), "{said:?}");
    }
}

/// What a rush had left stayed until the next mail came, with its descriptors and its memory: over a night, or a week.
#[tokio::test]
async fn what_a_rush_has_left_goes_though_no_mail_comes() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool {
        spares: Spares::new(2),
        ..pool(dir.path(), "exit 1").await
    };
    let long_ago = Instant::now().checked_sub(Duration::from_secs(11));
    for _ in 0..5 {
        let (worker, _) = template(&pool.snapshots.load_full(), drop);
        pool.spares.put(worker, &pool.snapshots);
    }
    assert_eq!(pool.spares.count(), 5);
    pool.spares.have_been_idle_since(long_ago.unwrap());
    let gone = async {
        while pool.spares.count() > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(gone.is_ok(), "{}", pool.spares.count());
    assert_eq!(pool.spares.count(), 2);
}

#[tokio::test]
async fn a_copy_that_says_nothing_is_ended_with_its_template() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path(), "exit 1").await;
    let (worker, is_over) = template(&pool.snapshots.load_full(), |mut line| {
        let _ = line.write_all(&[0, 0, 0, 1, 16]);
        let _ = io::copy(&mut line, &mut io::sink());
    });
    pool.spares.push(worker);
    let (done, free) = decided_for(pool, 300, with_a_key()).await;
    assert_eq!((done.err(), free), (Some(Lost::Late), 0));
    assert!(is_over.recv().is_err());
}

/// Whoever has taken over a copy kept the connection of each of its mails, until the key process took nobody's any more.
#[test]
fn a_connection_to_the_keys_ends_with_its_mail_whoever_keeps_it() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut kept = ours.try_clone().unwrap();
    drop(Lent(ours));
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    assert!(kept.write_all(b"more").is_err());
}

/// Mail that somebody's key signs is nobody's who has had another.
#[tokio::test]
async fn a_worker_gets_no_mail_that_somebodys_key_signs() {
    let dir = tempfile::tempdir().unwrap();
    // A worker would be asked, and has nothing to say.
    let pool = pool(
        dir.path(),
        "[ \"$0\" = template ] && exit 1; exec /bin/sleep 1000",
    )
    .await;
    let done = decided_for(pool, 2000, with_a_key()).await.0;
    assert_eq!(done.err(), Some(Lost::NoWorker));
}

/// KEY-03: what the edge signs for a worker is about the mail that it has.
#[tokio::test]
async fn a_worker_gets_no_signature_for_another_mail() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path(), "").await;
    let snapshot = pool.snapshots.load_full();
    let mail = mail("bob@example.net", "From: a@b.example\r\n\r\nhello\r\n");
    let author = Author::default();
    let work = |now: Moment| Work {
        mail: &mail,
        snapshot: &snapshot,
        author: &author,
        now,
        had: &[],
        office: None,
        until: Instant::now(),
    };
    let ask =
        |ask: Ask, now: Moment| tell(&ask, &work(now), &mut HashMap::new(), &mut Desks::default());
    assert!(snapshot.key.is_some());
    for text in [&b""[..], b"a.b", b"From: a@b.example\r\n\r\n"] {
        assert!(ask(Ask::Statement(text.to_vec()), moment()).is_err());
    }
    let untrusted = Moment {
        trust: Trust::Jumped,
        ..moment()
    };
    let error = ask(Ask::Statement(b"a.b".to_vec()), untrusted).unwrap_err();
    assert!(error.to_string().contains("without a time"), "{error}");
    let algorithm = SignatureAlgorithm::Ed25519;
    assert!(ask(Ask::Wrapping(algorithm, vec![0x31, 0]), moment()).is_err());
    assert!(ask(Ask::Author(algorithm, vec![0x31, 0]), moment()).is_err());
    // Nothing is to be asked for mail that is not examined.
    let question = Question::Registration {
        certificate: [0; 32],
        address: Address::parse("a@b.example").unwrap(),
    };
    assert!(ask(Ask::Questions(vec![question]), moment()).is_err());
    // Nor opened.
    assert!(ask(Ask::Office(Errand::Grant), moment()).is_err());
    let entry = Ask::Entry {
        list: [0; 32],
        issuer: 0,
        serial: vec![1],
    };
    assert!(ask(entry, moment()).is_err());
}

/// Whoever has taken over a worker learns nothing of people who have nothing to do with its mail.
#[tokio::test]
async fn a_worker_asks_for_certificates_of_its_mail_only() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path(), "").await;
    let snapshot = pool.snapshots.load_full();
    let mail = mail("bob@example.net", "From: a@b.example\r\n\r\nhello\r\n");
    let (author, now) = (Author::default(), moment());
    let work = Work {
        mail: &mail,
        snapshot: &snapshot,
        author: &author,
        now,
        had: &[],
        office: None,
        until: Instant::now(),
    };
    let told = |address: &str, asked: bool| {
        let address = Address::parse(address).unwrap();
        let question = kenin_policy::protect::Question::RecipientCertificates(address);
        let mut protecting = protect::Clerk::new(&snapshot, &author, now, None);
        let mut desks = Desks {
            clerk: None,
            protecting: asked.then_some(&mut protecting),
        };
        let ask = Ask::Protection(vec![question]);
        tell(&ask, &work, &mut HashMap::new(), &mut desks).is_ok()
    };
    assert!(told("bob@example.net", true));
    assert!(told("domain-confidentiality-authority@EXAMPLE.net", true));
    assert!(!told("bob@elsewhere.example", true));
    assert!(!told("bob@example.net", false));
}

#[test]
fn a_mail_asks_only_so_much() {
    let mut asked = Asked::default();
    let statement = Ask::Statement(Vec::new());
    for _ in 0..MAX_STATEMENTS {
        assert!(asked.one_more(&statement).is_ok());
    }
    assert!(asked.one_more(&statement).is_err());
    let entry = Ask::Entry {
        list: [0; 32],
        issuer: 0,
        serial: Vec::new(),
    };
    for _ in 0..MAX_QUESTIONS {
        assert!(asked.one_more(&entry).is_ok());
    }
    assert!(asked.one_more(&entry).is_err());
    let question = Question::Registration {
        certificate: [0; 32],
        address: Address::parse("a@b.example").unwrap(),
    };
    // The answers of one frame lie in memory together.
    let round = |many: usize| Ask::Questions(vec![question.clone(); many]);
    assert!(Asked::default().one_more(&round(MAX_AT_ONCE)).is_ok());
    assert!(Asked::default().one_more(&round(MAX_AT_ONCE + 1)).is_err());
    let mut asked = Asked::default();
    assert!(
        (0..=MAX_QUESTIONS / MAX_AT_ONCE).any(|_| asked.one_more(&round(MAX_AT_ONCE)).is_err())
    );
    // Nor is nothing asked without end.
    let mut asked = Asked::default();
    assert!((0..=MAX_QUESTIONS).any(|_| asked.one_more(&round(0)).is_err()));
}

/// One worker could fill the line on which all mails are announced to the key process, and the memory of the edge.
#[test]
fn no_more_keys_are_said_to_have_opened_something_than_can_have_worked_for_a_mail() {
    let alice = Address::parse("alice@example.com").unwrap();
    let used = |times: usize| {
        let one = (alice.clone(), KeyId::from_octets([1; 16]));
        Ask::Office(Errand::Opened(vec![one; times], Vec::new()))
    };
    assert!(Asked::default().one_more(&used(MAX_USES + 1)).is_err());
    let mut asked = Asked::default();
    assert!(asked.one_more(&used(MAX_USES - 1)).is_ok());
    assert!(asked.one_more(&used(1)).is_ok());
    assert!(asked.one_more(&used(1)).is_err());
    // Nor is that there was nothing said without end.
    let mut asked = Asked::default();
    assert!((0..=MAX_USES).any(|_| asked.one_more(&used(0)).is_err()));
}

/// Whoever has taken over a worker could fill the store, in which each name stays for 400 days.
#[test]
fn no_more_names_are_remembered_than_a_mail_and_its_copies_have() {
    let named = |times: usize| Ask::Office(Errand::Opened(Vec::new(), vec![[1; 32]; times]));
    // The most that is read of a message.
    let header: String = (0..500)
        .map(|n| format!("Message-ID: <{n}@x.example>\r\n"))
        .collect();
    let most = kenin_policy::protect::message_ids(header.as_bytes()).len();
    let mut asked = Asked::default();
    assert!(asked.one_more(&admitted(most, 1)).is_ok());
    for _ in 0..MAX_SIGNATURES {
        assert!(asked.one_more(&named(most)).is_ok());
    }
    assert!(asked.one_more(&named(1)).is_err());
    assert!(asked.one_more(&admitted(1, 1)).is_err());
    assert!(Asked::default().one_more(&named(MAX_NAMES + 1)).is_err());
    // Nor is that a mail has none said without end.
    let mut asked = Asked::default();
    assert!((0..=MAX_USES).any(|_| asked.one_more(&named(0)).is_err()));
}

/// A layer with so many names and digests.
fn admitted(names: usize, digests: usize) -> Ask {
    Ask::Office(Errand::Admit(Arrival {
        message_ids: vec![[1; 32]; names],
        digests: vec![[2; 32]; digests],
        answers: Answers::of(b""),
        octets: None,
        wait: false,
        grant: false,
    }))
}

#[test]
fn only_what_nothing_comes_of_is_said_without_an_answer() {
    let opened = |names: usize| Ask::Office(Errand::Opened(Vec::new(), vec![[1; 32]; names]));
    assert!(is_note(&opened(0)));
    for other in [
        opened(1),
        admitted(0, 0),
        Ask::Office(Errand::Grant),
        Ask::Statement(Vec::new()),
    ] {
        assert!(!is_note(&other), "{other:?}");
    }
}

/// The same with contents, which stay for a hundred days.
#[test]
fn no_more_contents_are_remembered_than_a_mail_has_layers_and_people() {
    let mut asked = Asked::default();
    assert!(asked.one_more(&admitted(0, MAX_ERRANDS - 1)).is_ok());
    // One that has none is one all the same.
    assert!(asked.one_more(&admitted(0, 0)).is_ok());
    assert!(asked.one_more(&admitted(0, 1)).is_err());
}
