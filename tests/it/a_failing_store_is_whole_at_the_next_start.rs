//! The store is there whole, before or after: whichever system call on it fails while the service
//! starts, the service runs or ends with "unavailable", and the next start finds what was kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::Sink;
use kenin_tests::strace::{Injection, Strace};
use kenin_tests::world::{files, listens, run, wait_for};

/// All that a store holds, in SQL, by somebody else's hand.
fn dump(store: &Path) -> String {
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\n\
                  assert c.execute('pragma integrity_check').fetchall()==[('ok',)]\n\
                  print('\\n'.join(c.iterdump()))";
    let mut command = Command::new("python3");
    let out = run(command.args(["-c", script]).arg(store));
    String::from_utf8(out).unwrap()
}

/// Where SQLite keeps a store.
fn paths_of(store: &Path) -> Vec<PathBuf> {
    let mut paths = vec![store.parent().unwrap().to_owned(), store.to_owned()];
    let beside = ["-wal", "-shm", "-journal"].map(|end| format!("{}{end}", store.display()).into());
    paths.extend(beside);
    paths
}

/// The service is started while a call on its store fails, and again without a fault.
fn store_survives(fresh: bool) {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let state = gateway.folder.join("state");
    let store = files(&state)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "sqlite"))
        .expect("the store");
    let wanted = dump(&store);
    // A row that no start writes: it has to be there in the end.
    let add = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\n\
               c.execute(\"insert into revision values ('kept', 7)\")\nc.commit()";
    let paths = paths_of(&store);
    let (mut refused, mut happened) = (0, 0);
    for (call, error) in [
        ("openat", "EMFILE"),
        ("openat", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("pwrite64", "EINTR"),
        ("fsync", "EIO"),
        ("fdatasync", "EIO"),
        ("ftruncate", "ENOSPC"),
        ("mmap", "ENOMEM"),
        ("pread64", "EIO"),
    ] {
        for nth in 1..=3 {
            gateway.kill();
            if fresh {
                for path in files(&state) {
                    std::fs::remove_file(path).unwrap();
                }
            }
            let strace = Strace::new(Injection {
                call,
                error,
                nth,
                paths: paths.clone(),
            });
            let ended = gateway.try_restart_under(&strace.prefix());
            let case = format!("{call} {error} {nth}, fresh {fresh}: {ended:?}");
            if let Some(status) = ended {
                refused += 1;
                assert_eq!(status.code(), Some(69), "{case}");
            }
            if !strace.happened() {
                assert!(ended.is_none(), "{case}");
                break;
            }
            happened += 1;
            gateway.kill();
            gateway.restart();
            // It is bound after the port for mail.
            wait_for("the health listener", || listens(gateway.http));
            assert_eq!(gateway.get("/readyz").0, 200, "{case}");
            let sent = gateway.send(&envelope(), b"Subject: x\r\n\r\nbody\r\n");
            assert_eq!(sent.code, 250, "{case}");
            let now = dump(&store);
            if fresh {
                assert_eq!(schema(&now), schema(&wanted), "{case}");
            } else {
                assert!(happened == 1 || now.contains("'kept',7"), "{case}: {now}");
                if happened == 1 {
                    run(Command::new("python3").args(["-c", add]).arg(&store));
                }
            }
            assert!(!gateway.log().contains("panicked"), "{case}");
        }
    }
    println!("fresh {fresh}: {happened} faults, {refused} starts refused");
    assert!(happened >= 8 && refused >= 3, "{happened} {refused}");
}

/// systemd does not start the service again after exit code 78.
#[test]
fn a_store_that_fails_at_the_start_is_no_mistake_of_the_configuration() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let store = gateway.folder.join("state/kenin.sqlite");
    assert!(store.exists());
    let mut codes = Vec::new();
    for nth in 1..=4 {
        gateway.kill();
        let strace = Strace::new(Injection {
            call: "openat",
            error: "EMFILE",
            nth,
            paths: paths_of(&store),
        });
        codes.extend(gateway.try_restart_under(&strace.prefix()));
    }
    println!("{codes:?}");
    assert!(codes.len() >= 2, "{codes:?}");
    assert!(codes.iter().all(|s| s.code() == Some(69)), "{codes:?}");
}

/// The tables of a dump.
fn schema(dump: &str) -> Vec<&str> {
    dump.lines()
        .filter(|line| line.starts_with("CREATE"))
        .collect()
}

#[test]
fn a_store_that_is_there_stays_whole() {
    store_survives(false);
}

#[test]
fn a_store_that_is_being_made_is_made_at_the_next_start() {
    store_survives(true);
}
