//! Large mail waits in a temporary file: where the disk is full, broken, or no file can be opened, the
//! answer is a temporary failure that docs/operating.md has (452 4.3.1, 451 4.3.0) and never 250; the
//! service lives, and takes the mail when the fault is over.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::{
    Account, Answers, Circumstances, Courier, Ledger, Road, Truth, Try, behind_postfix,
};
use kenin_tests::sink::Sink;
use kenin_tests::strace::{Injection, Strace, small_disk, unnamed_files};
use kenin_tests::world::PATIENCE;

const FULL: &str = "452 4.3.1 Insufficient system storage";
const BROKEN: &str = "451 4.3.0 Local storage error, try again later";

/// A signed mail of about a size, in lines.
fn large(size: usize, id: &str) -> Vec<u8> {
    let town = Town::get();
    let line = format!("{}\r\n", "0123456789".repeat(7));
    let part = mime::text(&line.repeat(size / line.len()));
    let cms = kenin_tests::forge::cms::detached(&town.bob, &town.chain(), &part);
    let raw = mime::clear_signed(&mime::headers("bob@example.jp"), &part, &cms);
    let text = String::from_utf8(raw).unwrap();
    text.replacen("<forged@example.jp>", id, 1).into_bytes()
}

/// Kenin whose temporary files lie on a disk of its own.
struct Desk {
    sink: Sink,
    gateway: Gateway,
    ledger: Ledger,
    descriptors: usize,
}

impl Desk {
    /// On a disk of this size, with more words in front of the command line.
    fn new(disk: &str, prefix: impl FnOnce(&Gateway) -> Vec<String>) -> Self {
        Self::with(disk, "", prefix)
    }

    /// And with more settings.
    fn with(disk: &str, tables: &str, prefix: impl FnOnce(&Gateway) -> Vec<String>) -> Self {
        let sink = Sink::start();
        let mut gateway = Gateway::prepare(&Setup {
            tables: tables.to_owned(),
            ..Setup::new(sink.address)
        });
        let folder = gateway.folder.join("state/tmp");
        std::fs::create_dir(&folder).unwrap();
        let mut words = small_disk(&folder, disk);
        words.extend(prefix(&gateway));
        gateway.restart_under(&words);
        let descriptors = gateway.descriptors();
        Self {
            sink,
            gateway,
            ledger: Ledger::default(),
            descriptors,
        }
    }

    /// Writes a mail of a size.
    fn letter(&self, id: &str, size: usize) -> Vec<u8> {
        let raw = large(size, id);
        let envelope = Envelope::new("sender@example.jp", "reader@example.jp");
        self.ledger.open(id, Truth::Good, &envelope, &raw);
        raw
    }

    /// Tries to hand a mail over once.
    fn attempt(&self, id: &str, raw: &[u8], parameters: &str) -> Try {
        let mut envelope = Envelope::new("sender@example.jp", "reader@example.jp");
        if !parameters.is_empty() {
            envelope = envelope.with(parameters);
        }
        let mut courier = Courier::new(self.gateway.address, PATIENCE);
        let told = courier.hand_over(&self.ledger, id, &envelope, raw);
        courier.quit();
        told
    }

    /// Tries until the mail is taken; gives what was said before.
    fn until_taken(&self, id: &str, size: usize) -> Vec<String> {
        let raw = self.letter(id, size);
        let mut told = Vec::new();
        for _ in 0..20 {
            let one = self.attempt(id, &raw, "");
            if one.is_accepted() {
                return told;
            }
            told.push(one.answer.unwrap().text());
        }
        panic!("never taken: {told:?}");
    }

    fn close(mut self) -> Account {
        let circumstances = Circumstances {
            answers: Answers::of_the_sink(),
            left_behind: self.gateway.left_behind(self.descriptors + 8, PATIENCE),
            ..Circumstances::default()
        };
        assert!(
            self.gateway.process().ended().is_none(),
            "the service lives"
        );
        let account = self.ledger.check(&self.sink.records(), &circumstances);
        assert!(account.balanced(), "{account:#?}");
        account
    }
}

/// Kenin in whose threads the n-th call fails, on files of mail.
fn failing(tables: &str, call: &'static str, error: &'static str, nth: usize) -> (Desk, Strace) {
    let mut strace = None;
    let desk = Desk::with("64m", tables, |gateway| {
        let folder = gateway.folder.join("state/tmp");
        let mut paths = unnamed_files(&folder);
        paths.push(folder);
        let made = Strace::new(Injection {
            call,
            error,
            nth,
            paths,
        });
        let words = made.prefix();
        strace = Some(made);
        words
    });
    (desk, strace.unwrap())
}

/// One call fails; what is answered, and whether it must have happened.
fn case(call: &'static str, error: &'static str, nth: usize, answer: Option<&str>) -> bool {
    // A worker is a thread of its own too, and each has its n-th call.
    let (desk, strace) = failing("[workers]\nisolate = false\n", call, error, nth);
    let told = desk.until_taken("<large@disk.example>", 1_500_000);
    let happened = strace.happened();
    println!("{call} {error} {nth}: happened {happened}, told {told:?}");
    for text in &told {
        assert_eq!(Some(text.as_str()), answer, "{call} {error} {nth}");
    }
    // Where it happened and is not repaired, the first answer tells of it.
    assert_eq!(
        happened && answer.is_some(),
        !told.is_empty(),
        "{call} {error} {nth}"
    );
    desk.close();
    happened
}

#[test]
fn a_call_that_fails_is_a_temporary_failure() {
    for (call, error, answer) in [
        ("openat", "ENOSPC", Some(FULL)),
        ("openat", "EDQUOT", Some(FULL)),
        ("openat", "EIO", Some(BROKEN)),
        ("openat", "EMFILE", Some(BROKEN)),
        ("mmap", "ENOMEM", Some(BROKEN)),
        ("mmap", "EIO", Some(BROKEN)),
    ] {
        assert!(case(call, error, 1, answer), "{call} {error}");
    }
    for (error, answer) in [
        ("ENOSPC", Some(FULL)),
        ("EIO", Some(BROKEN)),
        // Repeated, and nobody notices.
        ("EINTR", None),
    ] {
        assert!(case("write", error, 1, answer), "write {error}");
        // A later one: only where the same thread comes to it.
        case("write", error, 2, answer);
    }
}

/// It was taken for a mail that ends workers: counted, and at the third time not examined.
#[test]
fn a_worker_that_cannot_map_a_mail_says_nothing_of_the_mail() {
    let (desk, strace) = failing("", "mmap", "ENOMEM", 1);
    let id = "<mapped@disk.example>";
    let raw = desk.letter(id, 1_500_000);
    for _ in 0..10 {
        let told = desk.attempt(id, &raw, "");
        assert_eq!(told.answer.unwrap().text(), BROKEN);
    }
    assert!(strace.happened());
    assert_eq!(desk.close().kept_by_sender, 1);
}

/// A disk that is full in the middle of a write: first a short one, then ENOSPC.
#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_mail() {
    let desk = Desk::new("1200k", |_| Vec::new());
    for n in 0..3 {
        let id = format!("<too.large.{n}@disk.example>");
        let told = desk.attempt(&id, &desk.letter(&id, 1_500_000), "");
        assert_eq!(told.answer.unwrap().text(), FULL);
        // What was written of it is given back: the next one finds its room.
        let told = desk.until_taken(&format!("<fits.{n}@disk.example>"), 1_100_000);
        assert!(told.is_empty(), "{told:?}");
        let small = desk.until_taken(&format!("<small.{n}@disk.example>"), 2000);
        assert!(small.is_empty(), "{small:?}");
    }
    assert_eq!(desk.close().kept_by_sender, 3);
}

#[test]
fn a_declared_size_without_room_is_refused_at_once() {
    let desk = Desk::new("2m", |_| Vec::new());
    let id = "<declared@disk.example>";
    let told = desk.attempt(id, &desk.letter(id, 1_500_000), "SIZE=1500000");
    assert!(!told.dot);
    assert_eq!(told.answer.unwrap().text(), FULL);
    desk.close();
}

/// The milter's answer goes through a real Postfix.
#[test]
fn a_milter_on_a_full_disk_puts_mail_off() {
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, Road::Milter.mode(), "");
    let send = |size| {
        let mut client = Client::greeted(postfix.front);
        let envelope = Envelope::new("sender@example.jp", "reader@example.jp");
        client
            .mail(&envelope, &large(size, "<milter@disk.example>"))
            .unwrap()
    };
    let folder = gateway.folder.join("state/tmp");
    gateway.kill();
    gateway.restart_under(&small_disk(&folder, "1200k"));
    assert_eq!(send(1_500_000).text(), FULL);
    assert_eq!(send(2000).code, 250);
    gateway.restart();
    assert_eq!(send(1_500_000).code, 250);
    let got = sink.wait(2, Duration::from_secs(60));
    assert_eq!(got.len(), 2);
    assert!(got[1].fields("Authentication-Results")[0].contains("smime=pass"));
}

/// A mail that gets another body needs room twice: for itself, and for the copy while it waits.
#[test]
fn a_disk_without_room_for_a_wrapped_copy_puts_the_mail_off() {
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, Road::Milter.mode(), "");
    let rule = "[[rule]]\nthen = { stamp = \"wrap\" }\n";
    std::fs::write(gateway.folder.join("mail.toml"), rule).unwrap();
    let send = |size| {
        let mut client = Client::greeted(postfix.front);
        let envelope = Envelope::new("sender@example.jp", "reader@example.jp");
        client
            .mail(&envelope, &large(size, "<wrapped@disk.example>"))
            .unwrap()
    };
    let folder = gateway.folder.join("state/tmp");
    gateway.kill();
    gateway.restart_under(&small_disk(&folder, "2m"));
    for _ in 0..2 {
        assert_eq!(send(1_200_000).text(), FULL);
        // What was written of it is given back, and what fits into memory needs no room.
        assert_eq!(send(2000).code, 250);
    }
    gateway.restart();
    assert_eq!(send(1_200_000).code, 250);
    let got = sink.wait(3, Duration::from_secs(60));
    assert_eq!(got.len(), 3);
    for mail in got {
        let from = mail.fields("From").concat();
        assert!(from.contains(" via "), "{from}");
    }
}

/// Without a descriptor for one more connection the service waits and goes on.
#[test]
fn a_service_out_of_descriptors_goes_on_when_it_has_some() {
    let limit = ["prlimit", "--nofile=64:64"].map(str::to_owned).to_vec();
    let desk = Desk::new("64m", move |_| limit.clone());
    let idle: Vec<_> = (0..80)
        .filter_map(|_| Client::try_connect(desk.gateway.address, Duration::from_millis(300)))
        .map(|mut client| {
            let _ = client.hear();
            client
        })
        .collect();
    assert!(idle.len() > 60, "{}", idle.len());
    drop(idle);
    assert!(
        desk.until_taken("<after@disk.example>", 1_500_000)
            .is_empty()
    );
    desk.close();
}
