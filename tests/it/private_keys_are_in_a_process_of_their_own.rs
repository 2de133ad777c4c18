//! `kenin run` with `[keys]`: another process has the keys. It is there before mail is, ends with the gateway, and mail that
//! needs no key does not miss it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::opened;
use kenin_tests::sink::Sink;
use kenin_tests::world::{children, is_gone, listens, wait_for, write_secret};
use rustix::process::{Pid, Signal, kill_process};

fn with_keys(sink: &Sink) -> Gateway {
    let mut setup = Setup::new(sink.address);
    setup.tables.push_str("[keys]\nkey_file = \"kek\"\n");
    Gateway::prepare(&setup)
}

fn started(sink: &Sink) -> Gateway {
    let mut gateway = with_keys(sink);
    write_secret(&gateway.folder.join("kek"), &[7; 32]);
    gateway.restart();
    gateway
}

/// The key processes that the gateway has.
fn key_processes(gateway: &mut Gateway) -> Vec<Pid> {
    let is_one = |pid: &Pid| {
        let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let words = words.unwrap_or_default();
        words
            .split(|octet| *octet == 0)
            .any(|word| word == b"key-process")
    };
    let parent = gateway.process().pid();
    children(parent).into_iter().filter(is_one).collect()
}

fn is_up(gateway: &Gateway, up: bool) -> bool {
    let line = format!("kenin_key_process_up {}", u8::from(up));
    gateway.get("/metrics").1.lines().any(|l| l == line)
}

fn send(gateway: &Gateway) {
    let raw = mime::plain(
        &mime::headers("sender@example.jp"),
        "nothing is needed for it",
    );
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
}

#[test]
fn it_is_started_again_when_it_has_been_killed_and_no_mail_waits_for_it() {
    let sink = Sink::start();
    let mut gateway = started(&sink);
    let &[first] = key_processes(&mut gateway).as_slice() else {
        panic!("one key process");
    };
    assert!(is_up(&gateway, true));
    send(&gateway);
    kill_process(first, Signal::KILL).unwrap();
    wait_for("it is missed", || {
        gateway.log().contains("the key process has ended")
    });
    send(&gateway);
    wait_for("another is there", || {
        gateway.log().contains("the key process is there again")
    });
    assert!(is_up(&gateway, true));
    let &[second] = key_processes(&mut gateway).as_slice() else {
        panic!("one key process");
    };
    assert_ne!(first, second);
    send(&gateway);
    assert_eq!(sink.count(), 3);
}

#[test]
fn it_ends_with_the_gateway_however_that_ends() {
    let sink = Sink::start();
    for signal in [Signal::KILL, Signal::TERM] {
        let mut gateway = started(&sink);
        let all = key_processes(&mut gateway);
        assert_eq!(all.len(), 1);
        // A service manager tells them all.
        kill_process(all[0], Signal::TERM).unwrap();
        send(&gateway);
        assert!(is_up(&gateway, true));
        gateway.process().signal(signal);
        let ended = gateway.process().wait();
        assert_eq!(ended.success(), signal == Signal::TERM);
        wait_for("the key process ends", || is_gone(all[0]));
    }
}

#[test]
fn a_reload_brings_another_and_lets_the_old_one_go() {
    let sink = Sink::start();
    let mut gateway = started(&sink);
    let first = key_processes(&mut gateway)[0];
    gateway.process().signal(Signal::HUP);
    wait_for("the old one ends", || is_gone(first));
    assert_eq!(key_processes(&mut gateway).len(), 1);
    assert!(is_up(&gateway, true));
    send(&gateway);
    // Keys that do not open take nothing away from those that do.
    let second = key_processes(&mut gateway)[0];
    fs::write(gateway.folder.join("kek"), "too short").unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("the log says so", || {
        gateway.log().contains("the keys stay as they were")
    });
    assert_eq!(key_processes(&mut gateway), [second]);
    assert!(is_up(&gateway, true));
    send(&gateway);
    // Who looks at the metric alone sees it, too.
    let is_well = |gateway: &Gateway, well: bool| {
        let line = format!("kenin_config_last_reload_successful {}", u8::from(well));
        gateway.get("/metrics").1.lines().any(|l| l == line)
    };
    assert!(is_well(&gateway, false));
    let ready = gateway.get("/readyz?verbose").1;
    assert!(ready.contains("the keys stay as they were"), "{ready}");
    fs::write(gateway.folder.join("kek"), [7; 32]).unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("the second one ends", || is_gone(second));
    wait_for("all is well", || is_well(&gateway, true));
}

/// Each SIGHUP started another at once, dozens of them where they came fast; and one that had read the keys earlier and was
/// ready later took over from a later one, with keys that were removed in between.
#[test]
fn a_reload_waits_for_the_one_before_it() {
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    // What is made of a passphrase takes its time.
    let table = "[keys]\npassphrase_file = \"passphrase\"\n";
    setup.tables.push_str(table);
    let mut gateway = Gateway::prepare(&setup);
    write_secret(&gateway.folder.join("passphrase"), b"correct horse\n");
    opened::import(&gateway, &opened::People::get().bob, &[]);
    gateway.restart();
    let first = key_processes(&mut gateway)[0];
    for _ in 0..40 {
        gateway.process().signal(Signal::HUP);
        send(&gateway);
        // The one that is there, one that comes, and those that were let go and have not ended yet.
        let all = key_processes(&mut gateway);
        assert!(all.len() <= 5, "{all:?}");
    }
    wait_for("another one is there alone", || {
        let all = key_processes(&mut gateway);
        all.len() == 1 && all[0] != first
    });
    assert!(is_up(&gateway, true));
    send(&gateway);
}

#[test]
fn keys_that_cannot_be_read_are_a_mistake_of_the_configuration() {
    let sink = Sink::start();
    let mut gateway = with_keys(&sink);
    let ended = gateway.try_restart_under(&[]);
    assert_eq!(ended.and_then(|status| status.code()), Some(78));
    assert!(gateway.log().contains("kek"), "{}", gateway.log());
    assert!(!listens(gateway.address));
}

/// A file that others may read is not used: its mail goes on closed, and somebody has to see that.
#[test]
fn fewer_keys_after_a_reload_are_told_of() {
    let sink = Sink::start();
    let setup = opened::setup(sink.address);
    let mut gateway = opened::started(&setup);
    let has = |gateway: &Gateway, keys: usize| {
        let line = format!("kenin_keys {keys}");
        gateway.get("/metrics").1.lines().any(|l| l == line)
    };
    assert!(has(&gateway, 3));
    let mut files = fs::read_dir(gateway.folder.join("state/keys")).unwrap();
    let is_key = |path: &PathBuf| path.extension().is_some_and(|end| end == "key");
    let file = files.find_map(|entry| Some(entry.unwrap().path()).filter(is_key));
    fs::set_permissions(file.unwrap(), Permissions::from_mode(0o644)).unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("the log says so", || {
        gateway.log().contains("with fewer keys")
    });
    wait_for("the metric says so", || has(&gateway, 2));
}
