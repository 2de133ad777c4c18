//! Held mail is on the disk before anybody hears 250: a kill or a power cut loses none of it and leaves none half; a full
//! or a failing disk leaves it with its sender.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kenin_tests::client::{Client, Envelope};
use kenin_tests::disk::Disk;
use kenin_tests::held::{Desk, READER, folder, names, prepared, setup};
use kenin_tests::kenin::Gateway;
use kenin_tests::sink::Sink;
use kenin_tests::strace::{Injection, Strace};
use kenin_tests::world::{Dice, PATIENCE, wait_for};

const HELD: &str = "250 2.0.0 Accepted";
const FULL: &str = "452 4.3.1 Insufficient system storage";
const BROKEN: &str = "451 4.3.0 Local storage error, try again later";

fn id(number: usize) -> String {
    format!("<{number}@held.example>")
}

/// A mail of about this size.
fn mail(number: usize, size: usize) -> Vec<u8> {
    let line = format!("{}\r\n", "0123456789".repeat(7));
    format!(
        "From: sender@example.jp\r\nTo: {READER}\r\nMessage-ID: {}\r\n\r\n{}",
        id(number),
        line.repeat(size / line.len())
    )
    .into_bytes()
}

/// What its sender hears; nothing where the connection breaks.
fn send(address: &SocketAddr, to: &str, raw: &[u8]) -> Option<String> {
    let mut client = Client::try_connect(*address, PATIENCE)?;
    client.hear().ok()?;
    client.try_command("EHLO client.example")?;
    let envelope = Envelope::new("sender@example.jp", to);
    client.mail(&envelope, raw).map(|reply| reply.text())
}

/// A gateway whose quarantine is a folder that is there already.
fn with_folder() -> (Sink, Gateway) {
    let sink = Sink::start();
    let gateway = prepared(&setup(sink.address));
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder(&gateway));
    made.unwrap();
    (sink, gateway)
}

/// No mail is sent twice here, so that what is held twice was held twice.
#[test]
fn a_killed_kenin_holds_what_it_said_that_it_holds() {
    let (sink, mut gateway) = with_folder();
    gateway.restart();
    let (tried, accepted) = (Mutex::new(0_usize), Mutex::new(BTreeSet::new()));
    let mut dice = Dice::new(0x6b69_6c6c);
    for round in 0..10 {
        let over = AtomicBool::new(false);
        let address = gateway.address;
        let before = accepted.lock().unwrap().len();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        let number = {
                            let mut tried = tried.lock().unwrap();
                            *tried += 1;
                            *tried
                        };
                        let size = 1000 + number % 7 * 50_000;
                        let Some(told) = send(&address, READER, &mail(number, size)) else {
                            continue;
                        };
                        assert_eq!(told, HELD);
                        accepted.lock().unwrap().insert(id(number));
                    }
                });
            }
            let some = usize::try_from(2 + dice.below(6)).unwrap();
            wait_for("some are held", || {
                accepted.lock().unwrap().len() >= before + some
            });
            gateway.kill();
            over.store(true, Ordering::SeqCst);
        });
        gateway.restart();
        let left = names(&folder(&gateway));
        let stray = left.iter().find(|name| !name.ends_with(".mail"));
        assert_eq!(stray, None, "round {round}");
    }
    let held = Desk::of(&gateway, &[]).message_ids();
    let once: BTreeSet<String> = held.iter().cloned().collect();
    assert_eq!(once.len(), held.len(), "none is there twice");
    let accepted = accepted.into_inner().unwrap();
    let lost: Vec<&String> = accepted.difference(&once).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let tried = tried.into_inner().unwrap();
    let all: BTreeSet<String> = (1..=tried).map(id).collect();
    assert!(once.is_subset(&all));
    println!(
        "{tried} tried, {} accepted, {} held",
        accepted.len(),
        once.len()
    );
    assert_eq!(sink.count(), 0);
}

/// The disk as it was at the moment of the last answer: what only lay in memory is not on it.
#[test]
fn a_power_cut_loses_no_held_mail() {
    let (_sink, mut gateway) = with_folder();
    let image = gateway.folder.join("disk.img");
    Disk::make(&image, 24);
    let place = folder(&gateway);
    let Some(disk) = Disk::of_file(&place, &image) else {
        return;
    };
    gateway.restart_under(&disk.prefix());
    let sizes = [1000, 65_536, 200_000, 20_000, 700_000, 1000];
    for (number, size) in sizes.iter().enumerate() {
        let told = send(&gateway.address, READER, &mail(number, *size));
        assert_eq!(told.as_deref(), Some(HELD));
    }
    let copy = gateway.folder.join("after.img");
    std::fs::copy(&image, &copy).unwrap();
    gateway.kill();
    drop(disk);
    let disk = Disk::of_file(&place, &copy).unwrap();
    gateway.restart_under(&disk.prefix());
    let desk = Desk::of(&gateway, &disk.prefix());
    let held: BTreeSet<String> = desk.message_ids().into_iter().collect();
    let all: BTreeSet<String> = (0..sizes.len()).map(id).collect();
    assert_eq!(held, all);
    let whole: Vec<Vec<u8>> = (0..).zip(sizes).map(|(n, size)| mail(n, size)).collect();
    for id in desk.ids() {
        let raw = desk.raw(&id);
        assert!(whole.iter().any(|mail| raw.ends_with(mail)), "{id}");
    }
    gateway.kill();
}

#[test]
fn a_full_disk_leaves_mail_with_its_sender() {
    let (sink, mut gateway) = with_folder();
    let disk = Disk::in_memory(&folder(&gateway), "500k");
    gateway.restart_under(&disk.prefix());
    let desk = Desk::of(&gateway, &disk.prefix());
    let told = |number, size| send(&gateway.address, READER, &mail(number, size)).unwrap();
    assert_eq!(told(1, 300_000), HELD);
    for number in 2..4 {
        assert_eq!(told(number, 300_000), FULL);
        // What was written of it is given back.
        assert_eq!(names(&disk.seen()).len(), 1);
    }
    assert_eq!(told(4, 50_000), HELD);
    // A disk that is full is not one that fails.
    let (code, body) = gateway.get("/readyz?verbose");
    assert!(code == 200 && body.contains("ok quarantine: "), "{body}");
    let first = desk.ids().remove(0);
    assert_eq!(desk.said(&["delete", &first]).0, 0);
    assert_eq!(told(5, 300_000), HELD);
    assert_eq!(desk.message_ids(), [id(4), id(5)]);
    let passing = send(&gateway.address, "reader@x.example", &mail(6, 1000));
    assert!(passing.unwrap().starts_with("250 "));
    assert_eq!(sink.count(), 1);
    gateway.kill();
}

/// failures.md: never asked again, and said aloud.
#[test]
fn a_disk_that_fails_once_holds_nothing_until_the_next_start() {
    let (sink, mut gateway) = with_folder();
    let strace = Strace::new(Injection {
        call: "fsync",
        error: "EIO",
        nth: 1,
        paths: vec![folder(&gateway)],
    });
    gateway.restart_under(&strace.prefix());
    for number in 0..3 {
        let told = send(&gateway.address, READER, &mail(number, 1000));
        assert_eq!(told.as_deref(), Some(BROKEN));
    }
    assert!(strace.happened());
    assert!(names(&folder(&gateway)).is_empty());
    let (code, body) = gateway.get("/readyz?verbose");
    assert!(
        code == 503 && body.contains("failed quarantine: read-only"),
        "{body}"
    );
    let (_, metrics) = gateway.get("/metrics");
    assert!(metrics.contains("kenin_quarantine_writable 0"), "{metrics}");
    let passing = send(&gateway.address, "reader@x.example", &mail(3, 1000));
    assert!(passing.unwrap().starts_with("250 "));
    assert_eq!(sink.count(), 1);
    gateway.kill();
    gateway.restart();
    let told = send(&gateway.address, READER, &mail(4, 1000));
    assert_eq!(told.as_deref(), Some(HELD));
    assert_eq!(Desk::of(&gateway, &[]).message_ids(), [id(4)]);
    assert_eq!(gateway.get("/readyz").0, 200);
}

/// Whatever fails on the way, nothing is said to be held that is not, and nothing half is left.
#[test]
fn a_mail_that_cannot_be_given_its_name_is_not_held() {
    for (error, answer) in [("ENOSPC", FULL), ("EIO", BROKEN)] {
        let (_sink, mut gateway) = with_folder();
        let strace = Strace::new(Injection {
            call: "rename",
            error,
            nth: 1,
            paths: Vec::new(),
        });
        gateway.restart_under(&strace.prefix());
        let told = send(&gateway.address, READER, &mail(0, 1000));
        assert!(strace.happened());
        assert_eq!(told.as_deref(), Some(answer), "{error}");
        assert!(names(&folder(&gateway)).is_empty(), "{error}");
    }
}

#[test]
fn a_folder_that_is_away_is_no_failure_for_ever() {
    let (_sink, mut gateway) = with_folder();
    gateway.restart();
    let place = folder(&gateway);
    let away = place.with_extension("away");
    std::fs::rename(&place, &away).unwrap();
    let told = send(&gateway.address, READER, &mail(0, 1000));
    assert_eq!(told.as_deref(), Some(BROKEN));
    std::fs::rename(&away, &place).unwrap();
    let told = send(&gateway.address, READER, &mail(1, 1000));
    assert_eq!(told.as_deref(), Some(HELD));
    assert_eq!(Desk::of(&gateway, &[]).message_ids(), [id(1)]);
}

/// What one service is writing is no leftover to another that starts.
#[test]
fn leftovers_go_with_the_next_start() {
    let (_sink, mut gateway) = with_folder();
    let place = folder(&gateway);
    let half = place.join(".01J0000000000000000000000A.new");
    let busy = place.join(".01J0000000000000000000000B.new");
    let lonely = place.join("01J0000000000000000000000C.notice");
    for path in [&half, &busy, &lonely] {
        std::fs::write(path, "half").unwrap();
    }
    let writer = std::fs::File::open(&busy).unwrap();
    writer.try_lock().unwrap();
    gateway.restart();
    let left: Vec<String> = names(&place).into_iter().collect();
    assert_eq!(left, [".01J0000000000000000000000B.new"]);
}
