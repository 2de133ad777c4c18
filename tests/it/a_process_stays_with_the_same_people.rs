//! `[workers] keep_opening`, `keep_signing`: who has had mail that somebody's keys work for has more mail of the same people
//! for a while, where the administrator allows it, and never mail of anybody else.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::forge::enveloped::{Way, encrypted, fields, mail, shows};
use kenin_tests::kenin::Gateway;
use kenin_tests::memory::{copies, in_memory};
use kenin_tests::opened::{self, BOB, MALLORY, People};
use kenin_tests::sink::Sink;
use kenin_tests::world::{is_gone, wait_for, wait_within};
use rustix::process::{Pid, Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
const FROM: &str = "alice@example.jp";
/// Much later than anything is to have ended, and much sooner than ten minutes.
const SOON: Duration = Duration::from_secs(30);

fn opening(sink: &Sink, keep: &str) -> Gateway {
    let mut setup = opened::setup(sink.address);
    let table = format!("[workers]\nisolate = true\nkeep_opening = \"{keep}\"\n");
    setup.tables.push_str(&table);
    opened::started(&setup)
}

/// Sends them a mail that opens for each of them. Who had it, where somebody is kept.
fn opened_for(gateway: &mut Gateway, sink: &Sink, to: &[&str]) -> Option<Pid> {
    sink.clear();
    let people = People::get();
    let readers: Vec<_> = to
        .iter()
        .map(|to| match *to {
            BOB => &people.bob,
            _ => &people.mallory,
        })
        .collect();
    let object = encrypted(Way::Gcm, &readers, &opened::text(CANARY));
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new(FROM, BOB)
    };
    let reply = gateway.send(&envelope, &mail(&fields(FROM, "one@example.jp"), &object));
    assert_eq!(reply.code, 250, "{}", reply.text());
    let mails = sink.mails();
    assert!(mails.iter().all(|got| shows(&got.raw, CANARY)));
    assert!(!mails.is_empty());
    assert_eq!(gateway.templates().len(), 1);
    let all = copies(gateway);
    assert!(all.len() < 2, "{all:?}");
    all.first().copied()
}

#[test]
fn one_process_has_mail_of_the_same_people_and_of_nobody_else() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let first = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    assert_eq!(opened_for(&mut gateway, &sink, &[BOB]), Some(first));
    opened::used(&gateway, 2);
    // Also where Bob is among them.
    for to in [&[BOB, MALLORY][..], &[MALLORY], &[BOB]] {
        let before = copies(&mut gateway)[0];
        let had_it = opened_for(&mut gateway, &sink, to).unwrap();
        assert_ne!(had_it, before, "{to:?}");
        assert!(is_gone(before), "{to:?}");
        assert_eq!(opened_for(&mut gateway, &sink, to), Some(had_it), "{to:?}");
    }
    // Mail in clear, to Bob as well, is a worker's.
    let before = copies(&mut gateway);
    let raw = kenin_tests::forge::mime::plain(&fields(FROM, "two@example.jp"), "in clear");
    assert_eq!(gateway.send(&Envelope::new(FROM, BOB), &raw).code, 250);
    assert_eq!(gateway.workers().len(), 1);
    assert_eq!(copies(&mut gateway), before);
    let log = gateway.log();
    assert!(!log.contains("a worker was lost"), "{log}");
    assert_eq!(opened::traces(&gateway, CANARY), [""; 0]);
}

/// Who has somebody's mail in hand has nothing of what was opened for others before.
#[test]
fn what_was_opened_for_others_is_not_in_its_memory() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let bobs = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    let Some(counts) = in_memory(bobs, &[BOB.as_bytes().to_vec()]) else {
        return;
    };
    // The search finds what there is.
    assert!(counts[0] > 0);
    let other = "a bird of another feather";
    let object = encrypted(Way::Gcm, &[&People::get().mallory], &opened::text(other));
    let raw = mail(&fields(FROM, "three@example.jp"), &object);
    let to_mallory = Envelope::new(FROM, MALLORY);
    assert_eq!(gateway.send(&to_mallory, &raw).code, 250);
    assert!(shows(&sink.mails().pop().unwrap().raw, other));
    let had_it = copies(&mut gateway)[0];
    // What was opened is wiped by whoever opened it; for whom it was is not.
    let sought = [CANARY, BOB, MALLORY].map(|text| text.as_bytes().to_vec());
    let counts = in_memory(had_it, &sought).unwrap();
    assert_eq!(counts[..2], [0, 0]);
    assert!(counts[2] > 0);
}

/// By default each has one mail; and where it may have more, none after its time, whether another comes or not.
#[test]
fn nobody_stays_longer_than_is_allowed() {
    let sink = Sink::start();
    for keep in ["0s", "1s"] {
        let mut gateway = opening(&sink, keep);
        opened_for(&mut gateway, &sink, &[BOB]);
        let template = gateway.templates()[0];
        wait_for("it has ended", || copies(&mut gateway).is_empty());
        assert_eq!(gateway.templates(), [template]);
        opened_for(&mut gateway, &sink, &[BOB]);
        assert_eq!(gateway.templates(), [template]);
    }
}

/// Has it keep processes for another time from now on.
fn reload(gateway: &mut Gateway, [before, after]: [&str; 2]) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let line = |keep: &str| format!("keep_opening = \"{keep}\"");
    assert!(text.contains(&line(before)));
    let text = text.replace(&line(before), &line(after));
    std::fs::write(gateway.config(), text).unwrap();
    gateway.process().signal(Signal::HUP);
    opened::told(gateway, "configuration taken over", 1);
}

/// One that was to be kept for ten minutes was there for so long, though nothing was to be kept any more.
#[test]
fn after_a_reload_nobody_stays_by_what_was_said_before() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let first = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    reload(&mut gateway, ["10m", "0s"]);
    wait_within(SOON, "it has ended", || is_gone(first));
}

/// Who was to end in a second stayed until another's ten minutes were over, which had been waited for before.
#[test]
fn nobody_stays_for_as_long_as_another_may() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    opened_for(&mut gateway, &sink, &[BOB]);
    reload(&mut gateway, ["10m", "1s"]);
    opened_for(&mut gateway, &sink, &[BOB]);
    wait_within(SOON, "it has ended", || copies(&mut gateway).is_empty());
}

/// Whoever tries something that ends a copy after its mail could try again at the same memory, once in each time that copies
/// are kept, and the log said nothing of it.
#[test]
fn a_template_whose_copy_has_ended_before_its_time_is_ended_with_it() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "5s");
    let copy = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    kill_process(copy, Signal::KILL).unwrap();
    wait_within(SOON, "its template has ended", || {
        gateway.templates().is_empty()
    });
    opened::told(&gateway, "while it had no mail", 1);
}

#[test]
fn who_is_killed_while_it_has_nothing_to_do_costs_no_mail() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let first = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    let template = gateway.templates()[0];
    kill_process(first, Signal::KILL).unwrap();
    wait_for("it has no line any more", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", first.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    });
    // Its copies were laid out alike.
    assert!(opened_for(&mut gateway, &sink, &[BOB]).is_some());
    assert_ne!(gateway.templates(), [template]);
    opened::used(&gateway, 2);
}

/// What it has had of memory it would keep.
#[test]
fn after_a_large_mail_it_has_no_other() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let first = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    let large = opened::text(&format!("{CANARY}\r\n{}", "many words\r\n".repeat(100_000)));
    let raw = mail(
        &fields(FROM, "four@example.jp"),
        &encrypted(Way::Gcm, &[&People::get().bob], &large),
    );
    assert!(raw.len() > 1 << 20);
    assert_eq!(gateway.send(&Envelope::new(FROM, BOB), &raw).code, 250);
    wait_for("it has ended", || is_gone(first));
    assert!(copies(&mut gateway).is_empty());
}

/// KEY-03: the connection over which one mail's keys work is no other mail's.
#[test]
fn each_mail_brings_its_own_connection_to_the_keys() {
    let sink = Sink::start();
    let mut gateway = opening(&sink, "10m");
    let first = opened_for(&mut gateway, &sink, &[BOB]).unwrap();
    let sockets = |pid: Pid| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
        let targets = open
            .flatten()
            .flat_map(|one| std::fs::read_link(one.path()));
        // Its line is there twice: once for its last words.
        let is_socket = |to: &PathBuf| to.to_string_lossy().starts_with("socket:");
        targets.filter(is_socket).collect::<HashSet<_>>().len()
    };
    // Its line, and nothing of the mail that it has had.
    wait_for("it has let go", || sockets(first) == 1);
    assert_eq!(opened_for(&mut gateway, &sink, &[BOB]), Some(first));
    wait_for("it has let go", || sockets(first) == 1);
    opened::used(&gateway, 2);
}
