//! Copies of a process. Who makes them has one thread, which no test in a harness has: this is a program of its own.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kenin_sys::{Fork, Otherwise, Template};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, getpid, kill_process, wait};

fn main() {
    match std::env::var(STAGE).as_deref() {
        Ok("confined") => copies_may_do_what_workers_may(),
        Ok("orphan") => a_copy_that_never_ends(),
        _ => {
            assert!(stage("confined").status().unwrap().success());
            a_copy_ends_with_its_template();
        }
    }
}

fn stage(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(STAGE, name);
    command
}

fn refused<T>(tried: io::Result<T>) -> bool {
    tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn no_thread_begins() -> bool {
    thread::Builder::new().spawn(|| ()).is_err()
}

fn sleep() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}

fn copies_may_do_what_workers_may() {
    // Whoever has two threads makes no copies.
    let (end, ended) = mpsc::channel::<()>();
    let other = thread::spawn(move || ended.recv());
    assert!(Template::confine(Otherwise::Refuse).is_err());
    assert!(File::open("/etc/passwd").is_ok());
    drop(end);
    assert!(other.join().unwrap().is_err());
    while fs::read_dir("/proc/self/task").unwrap().count() != 1 {
        thread::yield_now();
    }

    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let number = getpid();
    let template = Template::confine(Otherwise::Refuse).unwrap();
    assert!(refused(File::open("/etc/passwd")));
    assert!(refused(UnixStream::pair()));
    assert!(refused(Command::new("/bin/true").status()));
    assert!(no_thread_begins());
    for _ in 0..3 {
        let copy = match template.fork().unwrap() {
            Fork::Template(copy) => copy,
            Fork::Copy => {
                let killed = kill_process(number, Signal::KILL);
                let holds = [
                    // It is no template.
                    refused(template.fork()),
                    refused(Command::new("/bin/true").status()),
                    no_thread_begins(),
                    // It does nothing to who has made it.
                    killed == Err(Errno::PERM),
                    refused(File::open("/etc/passwd")),
                    refused(UnixStream::pair()),
                    // It works all the same.
                    vec![1_u8; 8 << 20].last() == Some(&1),
                ];
                theirs.write_all(&holds.map(u8::from)).unwrap();
                sleep();
            }
        };
        let mut holds = [0; 7];
        ours.read_exact(&mut holds).unwrap();
        assert_eq!(holds, [1; 7]);
        // It is ended, and waited for.
        drop(copy);
        assert_eq!(wait(WaitOptions::NOHANG).unwrap_err(), Errno::CHILD);
    }
}

fn a_copy_that_never_ends() {
    let template = Template::confine(Otherwise::Refuse).unwrap();
    // Whoever lets go of a copy ends it.
    let fork = template.fork().unwrap();
    if matches!(fork, Fork::Copy) {
        println!("the copy");
    }
    sleep();
}

fn a_copy_ends_with_its_template() {
    let mut template = stage("orphan").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(template.stdout.take().unwrap());
    let mut said = String::new();
    output.read_line(&mut said).unwrap();
    assert_eq!(said, "the copy\n");
    template.kill().unwrap();
    template.wait().unwrap();
    // That ends once nobody can write there any more.
    assert_eq!(output.read_to_string(&mut said).unwrap(), 0);
}

const STAGE: &str = "KENIN_SYS_STAGE";
