//! What was opened is written nowhere (DEC-15): not to a disk, a log or a core, nor are the keys that opened it. Whoever runs
//! the gateway has it log all that it can.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_tests::client::stuffed;
use kenin_tests::disk::Disk;
use kenin_tests::forge::enveloped::{Parts, Way, encrypted, fields, mail, shows};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::memory::{catch, doing, hex, in_files, is_unnamed, open_files, written};
use kenin_tests::opened::{BOB, People, keep_metrics, prepared, secrets, setup, started, text};
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::{files, is_gone, run, wait_for};
use rustix::process::{Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
const ATTACKER: &str = "attacker@evil.example";

/// A gateway that logs all that it and its libraries can say.
fn talkative(next_hop: SocketAddr) -> Setup {
    let mut setup = setup(next_hop);
    setup.log_lines = "level = \"trace\"\n".to_owned();
    setup
}

fn is_talkative(gateway: &Gateway) -> bool {
    gateway.log().contains("\"level\":\"debug\"")
}

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
    let mut gateway = started(&talkative(sink.address));
    let bob = &People::get().bob;
    for (number, (signal, size)) in [(Signal::KILL, 100), (Signal::ABORT, 3_000_000)]
        .into_iter()
        .enumerate()
    {
        let mut entity = text(CANARY);
        while entity.len() < size {
            entity.extend_from_slice(format!("{CANARY} {CANARY}\r\n").as_bytes());
        }
        let object = encrypted(Way::Gcm, &[bob], &entity);
        let needles = secrets(CANARY, &[Parts::of(&object).content_key(bob)]);
        let traces = |gateway: &Gateway| in_files(&files(gateway.folder.path()), &needles);
        let raw = mail(&fields(ATTACKER, "killed@evil.example"), &object);
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
        // Files without a name, too: a large mail waits in one, as it came.
        if let Some(open) = open_files(gateway.process().pid()) {
            let waits = open.iter().any(|file| is_unnamed(file));
            assert!(waits || size < 1 << 20, "{open:?}");
            assert_eq!(in_files(&open, &needles), [""; 0]);
        }
        keep_metrics(&gateway);
        assert_eq!(traces(&gateway), [""; 0]);
        gateway.process().signal(signal);
        gateway.process().wait();
        gone.store(number + 1, Ordering::SeqCst);
        assert_eq!(traces(&gateway), [""; 0]);
        let cores = std::fs::read_dir(".").unwrap().flatten();
        let cores = cores.filter(|file| file.file_name().to_string_lossy().starts_with("core"));
        assert_eq!(cores.count(), 0);
        gateway.restart();
        assert_eq!(traces(&gateway), [""; 0]);
    }
    assert!(is_talkative(&gateway));
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

/// All that a gateway can write to.
struct Ground {
    /// A small file system that is nobody else's, with its state, its temporary files and its cores. Where nobody may mount
    /// one the state is a folder like others.
    disk: Option<Disk>,
    /// Where it is seen from here.
    state: PathBuf,
    /// In there: where the gateway is started, and what it is told to be for temporary files.
    place: PathBuf,
    /// In front of the gateway's command line: it begins there, and may leave cores as large as they come.
    prefix: Vec<String>,
}

impl Ground {
    /// Of a gateway that is prepared and not started.
    fn of(gateway: &Gateway) -> Self {
        let within = gateway.folder.join("state");
        let disk = Disk::in_memory_if_allowed(&within, "256m");
        let (state, mut prefix) = match &disk {
            Some(disk) => (disk.seen(), disk.prefix()),
            None => (within.clone(), Vec::new()),
        };
        if disk.is_some() {
            // The keys were put there before.
            let mut copy = Command::new("cp");
            run(copy.arg("-a").arg(within.join(".")).arg(&state));
        }
        let place = state.join("place");
        std::fs::create_dir(&place).unwrap();
        let begins = within.join("place").display().to_string();
        prefix.extend([
            "env".to_owned(),
            format!("--chdir={begins}"),
            format!("TMPDIR={begins}"),
            "prlimit".to_owned(),
            "--core=unlimited:unlimited".to_owned(),
        ]);
        Self {
            disk,
            state,
            place,
            prefix,
        }
    }

    /// The files there, those of the gateway's folder, its log among them, and those where cores go which hold one of these.
    fn remains(&self, gateway: &Gateway, needles: &[Vec<u8>]) -> Vec<String> {
        let mut all = files(gateway.folder.path());
        if self.disk.is_some() {
            all.extend(files(&self.state));
        }
        if let Some(cores) = cores(&self.place).filter(|cores| *cores != self.place) {
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
}

/// DEC-15: each of the three kinds of process is ended while a worker has a mail open, by signals that leave a core where
/// cores are not forbidden. Here the machine forbids none.
#[test]
fn dec_15_no_core_and_no_file_tells_what_was_opened() {
    let sink = Sink::start();
    let mut setup = talkative(sink.address);
    setup.tables.push_str("[workers]\nisolate = true\n");
    let mut gateway = prepared(&setup);
    let ground = Ground::of(&gateway);
    let key = People::get().bob.key.private_pieces()[0].clone();
    let mut needles = secrets(CANARY, &[]);

    // The search finds what is there: in a core, where this machine writes any, and in a file.
    let held = hex(&[CANARY.as_bytes(), &key].concat());
    let script = "import os, sys; held = bytes.fromhex(sys.argv[1]); os.abort()";
    let mut other = Command::new(&ground.prefix[0]);
    other
        .args(&ground.prefix[1..])
        .args(["python3", "-c", script, &held]);
    let ended = other.status().unwrap();
    if ended.signal().is_none() {
        eprintln!("SKIPPED: the limit of cores cannot be raised here: {ended}");
        return;
    }
    if cores(&ground.place).is_some() {
        let find = |needle: &[u8]| ground.remains(&gateway, &[needle.to_vec()]);
        let found = find(CANARY.as_bytes());
        assert_eq!(found.len(), 1, "one core: {found:?}");
        assert_eq!(find(&key), found);
        std::fs::remove_file(&found[0]).unwrap();
    }
    let file = ground.place.join("kept");
    std::fs::write(&file, CANARY).unwrap();
    assert_eq!(ground.remains(&gateway, &needles).len(), 1);
    std::fs::remove_file(&file).unwrap();

    for who in ["edge", "key-process", "worker"] {
        for signal in [Signal::ABORT, Signal::SEGV, Signal::KILL] {
            gateway.restart_under(&ground.prefix);
            let Some(caught) = catch(&mut gateway, CANARY) else {
                return;
            };
            needles.extend(caught.content_keys.iter().flat_map(|key| written(key)));
            let edge = gateway.process().pid();
            let pid = match who {
                "edge" => edge,
                "worker" => caught.worker,
                _ => doing(&mut gateway, who)[0],
            };
            let before = ground.remains(&gateway, &needles);
            assert_eq!(before, [""; 0], "while {who} lives");
            // Nor does a file without a name that one of them has open: the mail waits in one, as it came.
            let mut all = vec![edge, caught.worker];
            for kind in ["key-process", "template", "worker"] {
                all.extend(doing(&mut gateway, kind));
            }
            let open = all.into_iter().filter_map(open_files).flatten();
            let open: Vec<PathBuf> = open.collect();
            assert!(open.iter().any(|file| is_unnamed(file)), "{open:?}");
            assert_eq!(in_files(&open, &needles), [""; 0], "while {who} lives");
            wait_for("it ends", || {
                // What is paused ends when it goes on, and a first SEGV that nothing has caused is let pass.
                let _ = kill_process(pid, signal);
                let _ = kill_process(pid, Signal::CONT);
                is_gone(pid)
            });
            caught.let_go(&mut gateway);
            if who != "edge" {
                keep_metrics(&gateway);
            }
            let left = ground.remains(&gateway, &needles);
            assert_eq!(left, [""; 0], "{who} {signal:?}");
        }
    }
    assert!(is_talkative(&gateway));
    // Nor is there a core without them, nor anything else.
    assert!(files(&ground.place).is_empty());
}
