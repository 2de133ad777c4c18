//! What was opened is written nowhere (DEC-15): not to a disk, a log or a core.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_tests::client::stuffed;
use kenin_tests::forge::enveloped::{Way, forms, shows};
use kenin_tests::kenin::Gateway;
use kenin_tests::memory::{catch, doing, hex, in_files};
use kenin_tests::opened::{BOB, People, setup, started, text, to_bob, traces};
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::{Folder, files, is_gone, wait_for};
use rustix::process::{Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
const ATTACKER: &str = "attacker@evil.example";

/// DEC-15: the service is killed while it holds an opened mail, a small and a large one.
#[test]
fn dec_15_a_kill_leaves_nothing_in_clear() {
    // How many mails are at the sink's dot, and how many it has let go.
    let (there, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let sink = {
        let (there, gone) = (Arc::clone(&there), Arc::clone(&gone));
        Sink::with(Behaviour::default().at_dot(move |number, mail| {
            assert!(shows(&mail.raw, CANARY));
            there.store(number + 1, Ordering::SeqCst);
            wait_for("the test", || gone.load(Ordering::SeqCst) > number);
            Dot::Die
        }))
    };
    let mut gateway = started(&setup(sink.address));
    for (number, (signal, size)) in [(Signal::KILL, 100), (Signal::ABORT, 3_000_000)]
        .into_iter()
        .enumerate()
    {
        let mut entity = text(CANARY);
        while entity.len() < size {
            entity.extend_from_slice(format!("{CANARY} {CANARY}\r\n").as_bytes());
        }
        let raw = to_bob(Way::Gcm, ATTACKER, "killed@evil.example", &entity);
        let mut client = gateway.client();
        for line in [
            format!("MAIL FROM:<{ATTACKER}>"),
            format!("RCPT TO:<{BOB}>"),
        ] {
            assert_eq!(client.command(&line).code, 250);
        }
        assert_eq!(client.command("DATA").code, 354);
        client.send(&stuffed(&raw));
        wait_for("it is on its way", || there.load(Ordering::SeqCst) > number);
        // Files without a name, too.
        assert!(open_files(&mut gateway) > 0);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
        gateway.process().signal(signal);
        gateway.process().wait();
        gone.store(number + 1, Ordering::SeqCst);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
        let cores = std::fs::read_dir(".").unwrap().flatten();
        let cores = cores.filter(|file| file.file_name().to_string_lossy().starts_with("core"));
        assert_eq!(cores.count(), 0);
        gateway.restart();
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
    }
}

/// How many files it has open, none of which shows it.
fn open_files(gateway: &mut Gateway) -> usize {
    let pid = gateway.process().pid().as_raw_nonzero();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    let mut count = 0;
    for entry in entries {
        let path = entry.path();
        if !std::fs::metadata(&path).is_ok_and(|file| file.is_file()) {
            continue;
        }
        count += 1;
        let octets = std::fs::read(&path).unwrap_or_default();
        assert!(!shows(&octets, CANARY), "{:?}", std::fs::read_link(&path));
    }
    count
}

/// Where this machine puts the cores of what is started in `folder`; nothing, said aloud, where a program takes them.
fn cores(folder: &Path) -> Option<PathBuf> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') {
        eprintln!(
            "SKIPPED: cores go to a program here ({}), and are not searched",
            pattern.trim()
        );
        return None;
    }
    Some(match pattern.starts_with('/') {
        true => Path::new(pattern.trim()).parent().unwrap().to_owned(),
        false => folder.to_owned(),
    })
}

/// The files of a gateway, its log among them, of its temporary folder and of that of cores which hold one of these.
fn remains(gateway: &Gateway, folder: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let mut all = files(gateway.folder.path());
    all.extend(files(folder));
    if let Some(cores) = cores(folder).filter(|cores| cores != folder) {
        // It is everybody's; what was there before, and in folders below, is not ours.
        let entries = std::fs::read_dir(cores).into_iter().flatten().flatten();
        all.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_file()),
        );
    }
    in_files(&all, needles)
}

/// DEC-15: each of the three kinds of process is ended while a worker has a mail open, by signals that leave a core where
/// cores are not forbidden. Here the machine forbids none.
#[test]
fn dec_15_no_core_and_no_file_tells_what_was_opened() {
    let folder = Folder::new();
    let place = folder.path().display().to_string();
    let prefix = [
        "env".to_owned(),
        format!("--chdir={place}"),
        format!("TMPDIR={place}"),
        "prlimit".to_owned(),
        "--core=unlimited:unlimited".to_owned(),
    ];
    let people = People::get();
    let three = [&people.bob, &people.mallory, &people.carol];
    let mut needles = three.map(|person| person.key.private_pieces()).concat();
    let key = needles[0].clone();
    needles.extend(forms(CANARY));
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.tables.push_str("[workers]\nisolate = true\n");
    let mut gateway = started(&setup);

    // The search finds what is there: in a core, where this machine writes any, and in a file.
    let held = hex(&[CANARY.as_bytes(), &key].concat());
    let script = "import os, sys; held = bytes.fromhex(sys.argv[1]); os.abort()";
    let mut other = Command::new(&prefix[0]);
    other
        .args(&prefix[1..])
        .args(["python3", "-c", script, &held]);
    let ended = other.status().unwrap();
    if ended.signal().is_none() {
        eprintln!("SKIPPED: the limit of cores cannot be raised here: {ended}");
        return;
    }
    if cores(folder.path()).is_some() {
        let find = |needle: &[u8]| remains(&gateway, folder.path(), &[needle.to_vec()]);
        let found = find(CANARY.as_bytes());
        assert_eq!(found.len(), 1, "one core: {found:?}");
        assert_eq!(find(&key), found);
        std::fs::remove_file(&found[0]).unwrap();
    }
    let file = folder.join("kept");
    std::fs::write(&file, CANARY).unwrap();
    assert_eq!(remains(&gateway, folder.path(), &needles).len(), 1);
    std::fs::remove_file(&file).unwrap();

    for who in ["edge", "key-process", "worker"] {
        for signal in [Signal::ABORT, Signal::SEGV, Signal::KILL] {
            gateway.restart_under(&prefix);
            let Some(caught) = catch(&mut gateway, CANARY) else {
                return;
            };
            let pid = match who {
                "edge" => gateway.process().pid(),
                "worker" => caught.worker,
                _ => doing(&mut gateway, who)[0],
            };
            let before = remains(&gateway, folder.path(), &needles);
            assert_eq!(before, [""; 0], "while {who} lives");
            wait_for("it ends", || {
                // What is paused ends when it goes on, and a first SEGV that nothing has caused is let pass.
                let _ = kill_process(pid, signal);
                let _ = kill_process(pid, Signal::CONT);
                is_gone(pid)
            });
            caught.let_go(&mut gateway);
            let left = remains(&gateway, folder.path(), &needles);
            assert_eq!(left, [""; 0], "{who} {signal:?}");
        }
    }
    // Nor is there a core without them, nor anything else.
    assert!(files(folder.path()).is_empty());
}
