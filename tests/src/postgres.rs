//! PostgreSQL, as the store that several nodes share: in a folder of its own, on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::world::{Folder, free_address};

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
        // A test that failed may have left it stopped.
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
