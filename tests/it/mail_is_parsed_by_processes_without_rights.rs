//! `[workers] isolate`: mail is parsed by processes that can do nothing else. What they say is what threads would say; one
//! that is killed, hangs or is replaced loses no mail.

use std::collections::HashSet;
use std::fs;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::forge::enveloped::{Way, encrypted, fields, mail, shows, with_last_bit_changed};
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::memory::{catch, copies, in_memory};
use kenin_tests::opened::{self, BOB, MALLORY, People};
use kenin_tests::parts;
use kenin_tests::sink::Sink;
use kenin_tests::world::{Folder, is_gone, pause, run, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
/// How a process gives up rights, and hears.
const CALLS: &str = "trace=landlock_create_ruleset,landlock_restrict_self,seccomp,recvfrom,recvmsg";

fn setup(sink: &Sink) -> Setup {
    Setup {
        tables: "[workers]\nisolate = true\n".to_owned(),
        ..Setup::new(sink.address)
    }
}

fn plain() -> Vec<u8> {
    mime::plain(&mime::headers("sender@example.jp"), "any mail")
}

/// Sends one mail, and gives the one worker that had it.
fn one_worker(gateway: &mut Gateway) -> Pid {
    assert_eq!(gateway.send(&envelope(), &plain()).code, 250);
    let all = gateway.workers();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

#[test]
fn a_worker_has_no_rights() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&setup(&sink));
    let worker = one_worker(&mut gateway);
    let status = fs::read_to_string(format!("/proc/{}/status", worker.as_raw_nonzero())).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    assert_eq!(line("Seccomp:"), "2");
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Threads:"), "1");
    // Signed mail is judged, stamped and its statement signed, and the same worker does it.
    let town = Town::get();
    let raw = town.clear_signed(&town.alice, "alice@example.jp", "good");
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let last = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    let stamp = &last.fields("Authentication-Results")[0];
    assert!(stamp.contains("smime=pass"), "{stamp}");
    assert_eq!(gateway.workers(), [worker]);
}

/// What Landlock keeps from a process is shown nowhere: its own calls are looked at. What can be done after them is shown of
/// the same functions (`sys/src/confine.rs`, `tests/taken_over`); a copy has what its template has.
#[test]
fn who_is_to_parse_mail_gives_up_files_and_calls_before_it_hears_anything() {
    for role in ["worker", "template"] {
        let folder = Folder::new();
        let (edge, theirs) = UnixStream::pair().unwrap();
        // It is told nothing, and ends.
        edge.shutdown(Shutdown::Write).unwrap();
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-e", CALLS, "-o"])
            .arg(folder.join("trace"))
            .arg(parts::kenin())
            .args([role, "--memory", "1000000000"])
            .stdin(OwnedFd::from(theirs));
        run(&mut command);
        let trace = fs::read_to_string(folder.join("trace")).unwrap();
        let hears = |line: &&str| line.contains("recvfrom(") || line.contains("recvmsg(");
        assert!(trace.lines().any(|line| hears(&line)), "{trace}");
        let before = trace.lines().take_while(|line| !hears(line));
        let done = |call: &str| {
            let ends = |line: &&str| line.contains(call) && line.ends_with("= 0");
            before.clone().filter(ends).count()
        };
        assert_eq!(done("seccomp(SECCOMP_SET_MODE_FILTER"), 2, "{trace}");
        let mut versions = trace.lines();
        let version = versions.find(|line| line.contains("LANDLOCK_CREATE_RULESET_VERSION"));
        if version.unwrap().contains("= -1") {
            eprintln!("SKIPPED: this kernel has no Landlock");
            continue;
        }
        assert_eq!(done("landlock_restrict_self("), 1, "{trace}");
    }
}

#[test]
fn large_mail_goes_by_its_file() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&setup(&sink));
    let town = Town::get();
    let text = "A line of many octets, of which there are very many.\r\n".repeat(60_000);
    let raw = town.clear_signed(&town.alice, "alice@example.jp", &text);
    assert!(raw.len() > 3 << 20);
    for _ in 0..3 {
        assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    }
    for mail in sink.wait(3, Duration::from_secs(60)) {
        let stamp = &mail.fields("Authentication-Results")[0];
        assert!(stamp.contains("smime=pass"), "{stamp}");
        assert!(mail.raw.len() > 3 << 20);
    }
    assert_eq!(gateway.workers().len(), 1);
}

/// Mail is opened by these.
fn opening(sink: &Sink) -> Gateway {
    let mut setup = opened::setup(sink.address);
    setup.tables.push_str("[workers]\nisolate = true\n");
    opened::started(&setup)
}

fn one_template(gateway: &mut Gateway) -> Pid {
    let all = gateway.templates();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// What is in one mail is seen by whoever had it, and by nobody who has another.
#[test]
fn who_opens_a_mail_has_had_no_other_and_gets_no_other() {
    let sink = Sink::start();
    let mut gateway = opening(&sink);
    let worker = one_worker(&mut gateway);
    assert!(gateway.templates().is_empty());
    let both = Envelope {
        to: vec![MALLORY.to_owned(), BOB.to_owned()],
        ..Envelope::new("alice@example.jp", BOB)
    };
    let good = encrypted(Way::Gcm, &[&People::get().bob], &opened::text(CANARY));
    let bad = with_last_bit_changed(&good);
    let mut templates = Vec::new();
    for (object, opens) in [(good, 1), (bad, 0)] {
        sink.clear();
        let raw = mail(&fields("alice@example.jp", "one@example.jp"), &object);
        let reply = gateway.send(&both, &raw);
        assert_eq!(reply.text(), "250 2.0.0 Accepted");
        wait_for("who opened it ends", || copies(&mut gateway).is_empty());
        templates.push(one_template(&mut gateway));
        let mails = sink.mails();
        assert_eq!(mails.len(), 2);
        let open = mails.iter().filter(|got| shows(&got.raw, CANARY));
        assert_eq!(open.count(), opens);
    }
    // Who makes them is the same, and has seen nothing; workers had no part in it.
    assert_eq!(templates[0], templates[1]);
    if let Some(found) = in_memory(templates[0], &[CANARY.as_bytes().to_vec()]) {
        assert_eq!(found, [0]);
    }
    assert_eq!(one_worker(&mut gateway), worker);
    opened::used(&gateway, 2);
    assert_eq!(opened::traces(&gateway, CANARY), [""; 0]);
    let log = gateway.log();
    assert!(!log.contains("a worker was lost"), "{log}");
    let ended = format!(") Z {} ", templates[0].as_raw_nonzero());
    wait_for("nothing that has ended is left", || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let mut states = all.map(|one| fs::read_to_string(one.path().join("stat")));
        !states.any(|state| state.is_ok_and(|state| state.contains(&ended)))
    });
}

/// A process of its own costs many times what the mail does.
#[test]
fn mail_in_clear_is_a_workers_also_where_its_recipient_has_a_key() {
    let sink = Sink::start();
    let mut gateway = opening(&sink);
    let town = Town::get();
    let to_bob = Envelope::new("alice@example.jp", BOB);
    let signed = town.clear_signed(&town.alice, "alice@example.jp", "in clear");
    for raw in [plain(), signed] {
        assert_eq!(gateway.send(&to_bob, &raw).code, 250);
    }
    assert_eq!(gateway.workers().len(), 1);
    assert!(gateway.templates().is_empty());
    opened::used(&gateway, 0);
    // What is encrypted within a signature is a copy's, also where a worker has to find it: no program labels it so.
    let object = encrypted(Way::Gcm, &[&People::get().bob], &opened::text(CANARY));
    let usual = mime::opaque_entity("authEnveloped-data", &object);
    let text = String::from_utf8(usual.clone()).unwrap();
    let strange = text.replace("application/pkcs7-mime", "application/octet-stream");
    let strange = strange.replace(".p7m", ".p7z").into_bytes();
    for (part, uses) in [(usual, 1), (strange, 2)] {
        sink.clear();
        let cms = cms::detached(&town.alice, &town.chain(), &part);
        let raw = mime::clear_signed(&fields("alice@example.jp", "one@example.jp"), &part, &cms);
        assert_eq!(gateway.send(&to_bob, &raw).code, 250);
        one_template(&mut gateway);
        assert!(shows(&sink.mails()[0].raw, CANARY));
        opened::used(&gateway, uses);
    }
}

#[test]
fn who_opens_a_mail_is_confined_as_a_worker_and_begins_nothing() {
    let sink = Sink::start();
    let mut gateway = opening(&sink);
    let Some(caught) = catch(&mut gateway, CANARY) else {
        return;
    };
    let template = one_template(&mut gateway);
    let line = |pid: Pid, name: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    for pid in [template, caught.worker] {
        assert_eq!(line(pid, "Seccomp:"), "2");
        assert_eq!(line(pid, "NoNewPrivs:"), "1");
        assert_eq!(line(pid, "Threads:"), "1");
    }
    // One filter more: it may do less than who has made it.
    let filters = |pid| line(pid, "Seccomp_filters:").parse::<u32>().unwrap_or(0);
    let (own, copied) = (filters(template), filters(caught.worker));
    assert!(own == 0 || copied == own + 1, "{own} {copied}");
    // It has its own line and its own connection, and of the template's nothing.
    let sockets = |pid: Pid| -> HashSet<PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
        let targets = open.flatten().map(|one| fs::read_link(one.path()).unwrap());
        targets
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .collect()
    };
    let (own, copied) = (sockets(template), sockets(caught.worker));
    assert_eq!((own.len(), copied.len()), (1, 2));
    assert!(own.is_disjoint(&copied));
    caught.let_go(&mut gateway);
}

#[test]
fn who_is_killed_while_it_opens_a_mail_costs_this_mail_only() {
    let sink = Sink::start();
    let mut gateway = opening(&sink);
    let Some(caught) = catch(&mut gateway, CANARY) else {
        return;
    };
    let (template, copy) = (one_template(&mut gateway), caught.worker);
    kill_process(copy, Signal::KILL).unwrap();
    wait_for("it ends", || is_gone(copy));
    let before = sink.count();
    assert_eq!(caught.let_go(&mut gateway).unwrap().code, 451);
    assert_eq!(sink.count(), before);
    let from = "alice@example.jp";
    let raw = opened::to_bob(Way::Gcm, from, "next@example.jp", &opened::text(CANARY));
    assert_eq!(gateway.send(&Envelope::new(from, BOB), &raw).code, 250);
    // Its copies were laid out alike.
    assert_ne!(one_template(&mut gateway), template);
    wait_for("who opened it ends", || copies(&mut gateway).is_empty());
}

/// Whoever makes them is ended with them, and the next mail has another.
#[test]
fn who_opens_a_mail_ends_with_its_template_and_with_the_gateway() {
    let sink = Sink::start();
    for which in ["template", "gateway", "gateway that drains"] {
        let mut gateway = opening(&sink);
        let Some(caught) = catch(&mut gateway, CANARY) else {
            return;
        };
        let (template, copy) = (one_template(&mut gateway), caught.worker);
        match which {
            "template" => kill_process(template, Signal::KILL).unwrap(),
            "gateway" => gateway.process().kill(),
            _ => gateway.process().signal(Signal::TERM),
        }
        if which != "gateway that drains" {
            wait_for("it ends", || is_gone(copy));
        }
        let reply = caught.let_go(&mut gateway);
        if which == "template" {
            assert_eq!(reply.unwrap().code, 451);
            let from = "alice@example.jp";
            let raw = opened::to_bob(Way::Gcm, from, "next@example.jp", &opened::text(CANARY));
            assert_eq!(gateway.send(&Envelope::new(from, BOB), &raw).code, 250);
            assert_ne!(one_template(&mut gateway), template);
        } else {
            gateway.process().wait();
        }
        wait_for("both have ended", || is_gone(template) && is_gone(copy));
    }
}

#[test]
fn a_worker_that_is_killed_loses_no_mail() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&setup(&sink));
    let idle = one_worker(&mut gateway);
    // While it has nothing to do: nobody notices.
    kill_process(idle, Signal::KILL).unwrap();
    wait_for("it has ended", || is_gone(idle));
    let busy = one_worker(&mut gateway);
    assert_ne!(idle, busy);
    // While it has a mail: that one is its sender's, for another try.
    pause(busy);
    let address = gateway.address;
    let sending =
        std::thread::spawn(move || kenin_tests::client::send(address, &envelope(), &plain()));
    wait_for("the mail has come to its end", || {
        gateway.log().contains("a worker was lost") || {
            // As often as needed: it may not have the mail yet.
            let _ = kill_process(busy, Signal::KILL);
            sending.is_finished()
        }
    });
    let reply = sending.join().unwrap();
    // It was killed before it had the mail, or after.
    let aborted = (451, true) == (reply.code, reply.text().contains("Processing aborted"));
    assert!(aborted || reply.code == 250, "{}", reply.text());
    // Whoever looks for a fault of the program by the log finds none.
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
    let sent = sink.count();
    assert_eq!(sent, 2 + usize::from(reply.code == 250));
    let third = one_worker(&mut gateway);
    assert_ne!(busy, third);
    assert_eq!(sink.count(), sent + 1);
}

#[test]
fn a_worker_that_hangs_is_ended_and_its_mail_is_not_examined() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup {
        limits: "deadline = \"2s\"\n".to_owned(),
        ..setup(&sink)
    });
    let hanging = one_worker(&mut gateway);
    pause(hanging);
    let town = Town::get();
    let raw = town.clear_signed(&town.alice, "alice@example.jp", "too slow");
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let last = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    let stamp = &last.fields("Authentication-Results")[0];
    assert!(stamp.contains("smime=permerror (limit-time"), "{stamp}");
    wait_for("it has been ended", || is_gone(hanging));
}

#[test]
fn a_reload_brings_workers_that_judge_by_it() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::start(&setup(&sink));
    let first = one_worker(&mut gateway);
    let raw = town.clear_signed(&town.alice, "alice@example.jp", "Whom do you trust?");
    // Nobody is trusted any more.
    let trust = gateway.folder.join("trust.toml");
    fs::write(&trust, "").unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("it is taken over", || {
        gateway.log().matches("configuration taken over").count() > 0
    });
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let last = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    let stamp = &last.fields("Authentication-Results")[0];
    assert!(stamp.contains("issuer-not-trusted"), "{stamp}");
    wait_for("the old worker ends", || is_gone(first));
    // What is wrong with a later file changes nothing, also for workers that are new.
    let second = gateway.workers()[0];
    fs::write(&trust, "nonsense = true\n").unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("it is refused", || gateway.log().contains("nonsense"));
    kill_process(second, Signal::KILL).unwrap();
    wait_for("it has ended", || is_gone(second));
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let last = sink.wait(3, Duration::from_secs(30)).pop().unwrap();
    let stamp = &last.fields("Authentication-Results")[0];
    assert!(stamp.contains("issuer-not-trusted"), "{stamp}");
}

#[test]
fn workers_end_with_the_gateway_however_that_ends() {
    let sink = Sink::start();
    for signal in [Signal::KILL, Signal::TERM] {
        let mut gateway = Gateway::start(&setup(&sink));
        let worker = one_worker(&mut gateway);
        // A service manager tells them all.
        kill_process(worker, Signal::TERM).unwrap();
        assert_eq!(one_worker(&mut gateway), worker);
        gateway.process().signal(signal);
        let ended = gateway.process().wait();
        assert_eq!(ended.success(), signal == Signal::TERM);
        wait_for("the worker ends", || is_gone(worker));
    }
}

#[test]
fn from_a_shell_a_worker_is_nothing() {
    let out = kenin_tests::kenin::kenin(&["worker", "--memory", "1000000000"]);
    assert!(!out.status.success());
    assert!(out.stdout.is_empty());
    let out = kenin_tests::kenin::kenin(&["template", "--memory", "1000000000"]);
    assert!(!out.status.success());
    assert!(out.stdout.is_empty());
}
