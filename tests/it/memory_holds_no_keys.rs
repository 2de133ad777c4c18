//! KEY-02: a private key lies in the memory of the key process and of no other, and in that no longer than it is there. Mail
//! that is opened lies in the memory of those who have it in hand. Nothing of either is swapped out or can be traced.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenin_tests::client::{Envelope, send};
use kenin_tests::forge::enveloped::Way;
use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, envelope};
use kenin_tests::memory::{catch, doing, in_memory, status_kib};
use kenin_tests::opened::{BOB, People, import, setup, text, to_bob, write_secrets};
use kenin_tests::parts;
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::{is_gone, run, wait_for};
use rustix::process::{Pid, Signal};

const CANARY: &str = "the canary sings in the coal mine";
const ATTACKER: &str = "attacker@evil.example";
const MAY_BE_SWAPPED: &str = "private keys may be written to the swap space";

/// A gateway with workers and three keys, and the id of Bob's.
fn started(sink: &Sink) -> (Gateway, String) {
    let mut setup = setup(sink.address);
    setup.tables.push_str("[workers]\nisolate = true\n");
    // One of them is kept waiting.
    setup.limits.push_str("deadline = \"60s\"\n");
    let mut gateway = Gateway::prepare(&setup);
    write_secrets(&gateway);
    let people = People::get();
    let bobs = import(&gateway, &people.bob, &[]);
    for person in [&people.mallory, &people.carol] {
        import(&gateway, person, &[]);
    }
    gateway.restart();
    (gateway, bobs)
}

/// The one key process.
fn keys(gateway: &mut Gateway) -> Pid {
    let all = doing(gateway, "key-process");
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// Pieces of the private keys of all three.
fn all_pieces() -> Vec<Vec<u8>> {
    let people = People::get();
    let three = [&people.bob, &people.mallory, &people.carol];
    three.map(|person| person.key.private_pieces()).concat()
}

/// Whether one of these lies in the memory of a process; nothing where that cannot be seen.
fn has(pid: Pid, needles: &[Vec<u8>]) -> Option<bool> {
    let found = in_memory(pid, needles)?;
    Some(found.iter().any(|times| *times > 0))
}

/// Nothing of it has been swapped out.
fn is_not_swapped(pid: Pid) {
    assert_eq!(status_kib(pid, "VmSwap"), 0);
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    // Below the names of the columns.
    if swaps.lines().count() < 2 {
        eprintln!("SKIPPED: this machine has no swap space, so that nothing is in it says nothing");
    }
}

/// Words in front of a command line by which what it starts has not this right.
fn without(right: &str) -> Vec<String> {
    let prefix = [
        "setpriv".to_owned(),
        format!("--inh-caps=-{right}"),
        format!("--bounding-set=-{right}"),
    ];
    match works(&prefix) {
        true => prefix.to_vec(),
        // Who is not root has no such right.
        false => vec!["env".to_owned()],
    }
}

/// Words by which what is started may lock as much memory as it likes; nothing where that cannot be had.
fn unlimited() -> Option<Vec<String>> {
    const IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = u64::from_str_radix(rights?.trim(), 16).unwrap();
    if (rights >> IPC_LOCK) & 1 == 1 {
        // For whom no limit holds.
        return Some(Vec::new());
    }
    let prefix = [
        "prlimit".to_owned(),
        "--memlock=unlimited:unlimited".to_owned(),
    ];
    works(&prefix).then(|| prefix.to_vec())
}

fn works(prefix: &[String]) -> bool {
    let mut command = Command::new(&prefix[0]);
    let ended = command.args(&prefix[1..]).arg("true").status();
    ended.is_ok_and(|status| status.success())
}

fn canary() -> [Vec<u8>; 1] {
    [CANARY.as_bytes().to_vec()]
}

#[test]
fn a_private_key_is_in_no_process_but_the_one_for_keys() {
    let (there, gone) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let sink = {
        let (there, gone) = (Arc::clone(&there), Arc::clone(&gone));
        Sink::with(Behaviour::default().at_dot(move |_, _| {
            there.store(true, Ordering::SeqCst);
            wait_for("the test", || gone.load(Ordering::SeqCst));
            Dot::Accept
        }))
    };
    let (mut gateway, _) = started(&sink);
    let (edge, keys) = (gateway.process().pid(), keys(&mut gateway));
    let pieces = all_pieces();
    // The edge has an opened mail in hand, and the key has worked for it.
    let raw = to_bob(Way::Gcm, ATTACKER, "held@evil.example", &text(CANARY));
    let address = gateway.address;
    let sending = std::thread::spawn(move || send(address, &Envelope::new(ATTACKER, BOB), &raw));
    wait_for("it is at the next hop", || there.load(Ordering::SeqCst));
    let Some(seen) = has(edge, &canary()) else {
        gone.store(true, Ordering::SeqCst);
        assert_eq!(sending.join().unwrap().code, 250);
        return;
    };
    // What is there is found: the mail in the one, the keys in the other; and not the other way round.
    assert!(seen, "the edge has the mail");
    assert_eq!(has(edge, &pieces), Some(false), "the edge has a key");
    for person in [&People::get().bob, &People::get().carol] {
        let theirs = person.key.private_pieces();
        assert_eq!(has(keys, &theirs), Some(true), "the search finds keys");
    }
    assert_eq!(has(keys, &canary()), Some(false), "it sees no mail");
    let templates = doing(&mut gateway, "template");
    assert_eq!(templates.len(), 1);
    for template in templates {
        assert_eq!(has(template, &pieces), Some(false), "it has a key");
        assert_eq!(has(template, &canary()), Some(false), "it sees no mail");
    }
    gone.store(true, Ordering::SeqCst);
    assert_eq!(sending.join().unwrap().code, 250);
    // A worker in the middle of another mail.
    let Some(caught) = catch(&mut gateway, CANARY) else {
        return;
    };
    assert_eq!(has(caught.worker, &canary()), Some(true));
    assert_eq!(has(caught.worker, &pieces), Some(false));
    assert_eq!(has(edge, &pieces), Some(false));
    for pid in [edge, keys, caught.worker] {
        is_not_swapped(pid);
    }
    caught.let_go(&mut gateway);
}

#[test]
fn a_key_that_was_removed_is_in_no_process_after_a_reload() {
    let sink = Sink::start();
    let (mut gateway, id) = started(&sink);
    let people = People::get();
    let (bobs, others) = (
        people.bob.key.private_pieces(),
        people.mallory.key.private_pieces(),
    );
    let raw = to_bob(Way::Gcm, ATTACKER, "used@evil.example", &text(CANARY));
    let reply = gateway.send(&Envelope::new(ATTACKER, BOB), &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let first = keys(&mut gateway);
    let Some(seen) = has(first, &bobs) else {
        return;
    };
    assert!(seen, "the search finds keys");
    let mut command = Command::new(parts::kenin());
    command.args(["key", "remove", "--force", "--config"]);
    command.arg(gateway.config()).arg(&id);
    run(command.env_remove("KENIN_CONFIG"));
    gateway.process().signal(Signal::HUP);
    wait_for("the first key process ends", || is_gone(first));
    let second = keys(&mut gateway);
    assert_eq!(has(second, &others), Some(true));
    assert_eq!(has(second, &bobs), Some(false));
    let edge = gateway.process().pid();
    assert_eq!(has(edge, &bobs), Some(false));
    is_not_swapped(second);
}

/// Both: where it may be locked it is, and where it may not mail goes on, and the log says what to do.
#[test]
fn the_memory_with_the_keys_is_locked_or_the_log_says_that_it_is_not() {
    let sink = Sink::start();
    let (mut gateway, _) = started(&sink);
    let mut start = |prefix: &[String]| {
        let before = gateway.log().len();
        gateway.restart_under(prefix);
        let raw = to_bob(Way::Gcm, ATTACKER, "locked@evil.example", &text(CANARY));
        let reply = gateway.send(&Envelope::new(ATTACKER, BOB), &raw);
        assert_eq!(reply.code, 250, "{}", reply.text());
        let keys = keys(&mut gateway);
        let log = gateway.log().split_off(before);
        let warned = log.lines().find(|line| line.contains(MAY_BE_SWAPPED));
        (status_kib(keys, "VmLck"), warned.map(str::to_owned))
    };
    match unlimited() {
        Some(prefix) => {
            let (locked, warned) = start(&prefix);
            assert_eq!(warned, None);
            assert!(locked > 0, "none is locked");
        }
        None => eprintln!("SKIPPED: nobody may lock as much memory as they like here"),
    }
    let none = ["prlimit".to_owned(), "--memlock=0:0".to_owned()];
    let (locked, warned) = start(&[&none[..], &without("ipc_lock")].concat());
    assert_eq!(locked, 0);
    let warned = warned.expect("the log says so");
    assert!(warned.contains("raise LimitMEMLOCK"), "{warned}");
}

/// Where a core is made all the same, whatever else allows it: nothing that lies in memory is in it, also of what libraries
/// have. That is more than MADV_DONTDUMP on the pages of secrets.
#[test]
fn no_memory_of_any_of_them_goes_into_a_core() {
    const FILTER: &str = "coredump_filter";
    let filter = |pid: Pid| {
        let filter = std::fs::read_to_string(format!("/proc/{}/{FILTER}", pid.as_raw_nonzero()));
        filter.unwrap().trim().to_owned()
    };
    if !Path::new("/proc/self").join(FILTER).exists() {
        eprintln!("SKIPPED: this kernel makes no cores");
        return;
    }
    // What is started like this has all of its memory in a core.
    let script = format!("echo 0x1ff > /proc/self/{FILTER} && exec \"$@\"");
    let prefix = ["sh", "-c", &script, "sh"].map(str::to_owned);
    let mut other = Command::new(&prefix[0])
        .args(&prefix[1..])
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    wait_for("another process", || {
        filter(Pid::from_child(&other)) == "000001ff"
    });
    other.kill().unwrap();
    other.wait().unwrap();
    let sink = Sink::start();
    let (mut gateway, _) = started(&sink);
    gateway.restart_under(&prefix);
    let plain = mime::plain(&mime::headers("sender@example.jp"), "any mail");
    assert_eq!(gateway.send(&envelope(), &plain).code, 250);
    let raw = to_bob(Way::Gcm, ATTACKER, "core@evil.example", &text(CANARY));
    let reply = gateway.send(&Envelope::new(ATTACKER, BOB), &raw);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(filter(gateway.process().pid()), "00000000", "edge");
    for what in ["key-process", "worker", "template"] {
        let all = doing(&mut gateway, what);
        assert!(!all.is_empty(), "{what}");
        for pid in all {
            assert_eq!(filter(pid), "00000000", "{what}");
        }
    }
}

/// Whoever runs code in one of them has the rights of its user, which are those of the others, and reads none of them.
#[test]
fn none_of_them_can_be_read_by_another_of_the_same_user() {
    // Root reads all; so both are without that right.
    let prefix = without("sys_ptrace");
    let reads = |pid: Pid| {
        let memory = format!("if=/proc/{}/mem", pid.as_raw_nonzero());
        let mut command = Command::new(&prefix[0]);
        // Opened, which is what takes the right, and nothing read.
        command
            .args(&prefix[1..])
            .args(["dd", "count=0", "of=/dev/null"]);
        command.arg(memory).output().unwrap().status.success()
    };
    let sink = Sink::start();
    let (mut gateway, _) = started(&sink);
    gateway.restart_under(&prefix);
    let plain = mime::plain(&mime::headers("sender@example.jp"), "any mail");
    assert_eq!(gateway.send(&envelope(), &plain).code, 250);
    let (keys, workers) = (keys(&mut gateway), doing(&mut gateway, "worker"));
    assert_eq!(workers.len(), 1);
    let mut other = Command::new(&prefix[0])
        .args(&prefix[1..])
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    // What forbids nothing is read, once it is what it will be.
    wait_for("another process is read", || reads(Pid::from_child(&other)));
    other.kill().unwrap();
    other.wait().unwrap();
    for pid in [gateway.process().pid(), keys, workers[0]] {
        assert!(!reads(pid), "{pid:?}");
    }
}
