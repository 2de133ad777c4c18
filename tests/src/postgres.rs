//! PostgreSQL, as the store that several nodes share: in a folder of its own, on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Folder, children, free_address, is_gone, pause, wait_for};

/// A server, which ends with its handle.
pub struct Postgres {
    folder: Folder,
    programs: PathBuf,
    address: SocketAddr,
}

impl Postgres {
    /// Makes its files and starts it.
    pub fn start() -> Self {
        let folder = Folder::new();
        if is_root() {
            // It refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let server = Self {
            folder,
            programs: programs(),
            address: free_address(),
        };
        run(server
            .own("initdb")
            .args(["-U", USER, "-A", "trust", "--no-sync"]));
        server.begin();
        server
    }

    /// Starts it, again if it was stopped.
    pub fn begin(&self) {
        let folder = self.folder.path().display();
        let port = self.address.port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        );
        run(self
            .own("pg_ctl")
            .args(["-w", "-s", "-o", &options, "-l"])
            .arg(self.folder.join("log"))
            .arg("start"));
    }

    /// Stops it in the middle of whatever it does.
    pub fn stop(&self) {
        run(self
            .own("pg_ctl")
            .args(["-w", "-s", "-m", "immediate", "stop"]));
    }

    /// SIGKILL of all its processes: nobody is told, nothing is written.
    pub fn kill(&self) {
        // Stopped before, so that none starts another one meanwhile.
        self.pause();
        let all = self.processes();
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        wait_for("PostgreSQL is gone", || all.iter().all(|pid| is_gone(*pid)));
        // Who is dead and was not waited for still has his number, and the next one would give way to it.
        let socket = format!(".s.PGSQL.{}.lock", self.address.port());
        for name in ["data/postmaster.pid", socket.as_str()] {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }

    /// SIGSTOP of all its processes: it is there, and says nothing.
    pub fn pause(&self) {
        // First the one that starts others: then no more are to come.
        if let Some(postmaster) = self.postmaster() {
            pause(postmaster);
        }
        self.processes().into_iter().for_each(pause);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    /// The one that starts others, and those.
    fn processes(&self) -> Vec<Pid> {
        let Some(postmaster) = self.postmaster() else {
            return Vec::new();
        };
        let mut all = vec![postmaster];
        all.extend(children(postmaster));
        all
    }

    /// A database in it, as `[store]` names it.
    pub fn url(&self) -> String {
        format!("postgresql://{USER}@{}/postgres", self.address)
    }

    /// One of its programs, as the user that it runs as.
    fn own(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(self.folder.join("data"));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that failed may have left it stopped, in either sense.
        self.resume();
        let stop = ["-s", "-m", "immediate", "stop"];
        let _ = self.own("pg_ctl").args(stop).output();
    }
}

/// The folder of the newest one that is installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is missing: `tests/run --packages` brings it")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) {
    // No pipe: the server, which goes on running, would keep it open.
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

const USER: &str = "kenin";
