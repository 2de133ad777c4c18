//! Kenin as a program: its configuration in a folder, started, killed, started again.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::client::{Client, Envelope, Reply, send};
use crate::forge::Town;
use crate::forge::certificates::pem;
use crate::memory::{copies, doing};
use crate::parts;
use crate::world::{Folder, Process, files, free_address, listens, run, wait_for, write_secret};

/// What a gateway is started with.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Setup {
    pub next_hop: SocketAddr,
    /// More lines for `[next_hop]`.
    pub next_hop_lines: String,
    pub mode: &'static str,
    pub bare_newline: &'static str,
    pub listener_tls: bool,
    pub trusted_peers: Option<String>,
    /// More lines for `[limits]`.
    pub limits: String,
    /// Lines before the first table.
    pub top: String,
    /// More tables.
    pub tables: String,
    /// mail.toml.
    pub mail: String,
    /// More lines for the anchor of trust.toml.
    pub anchor: String,
    pub log_format: &'static str,
    /// More lines for `[log]`.
    pub log_lines: String,
}

impl Setup {
    /// The usual gateway in front of a next hop.
    pub fn new(next_hop: SocketAddr) -> Self {
        Self {
            next_hop,
            next_hop_lines: String::new(),
            mode: "before-queue",
            bare_newline: "reject",
            listener_tls: false,
            trusted_peers: None,
            limits: String::new(),
            top: String::new(),
            tables: String::new(),
            mail: String::new(),
            anchor: String::new(),
            log_format: "json",
            log_lines: String::new(),
        }
    }

    /// The same, refusing what is not good for this domain.
    #[must_use]
    pub fn strict(mut self, domain: &str) -> Self {
        self.mail.push_str(&format!(
            "[[rule]]\nwhen = {{ domain = \"{domain}\" }}\nthen = {{ enforce = \"strict\" }}\n"
        ));
        self
    }
}

/// A running gateway.
pub struct Gateway {
    /// Where it takes mail.
    pub address: SocketAddr,
    /// Its health and metrics listener.
    pub http: SocketAddr,
    /// Configuration, state and log.
    pub folder: Folder,
    process: Option<Process>,
}

/// The authserv-id of gateways started here.
pub const AUTHSERV_ID: &str = "smime.gw.example.jp";
/// An id of another filter on the same host.
pub const SITE_ID: &str = "gw.example.jp";

impl Gateway {
    /// Writes the configuration and starts.
    pub fn start(setup: &Setup) -> Self {
        let mut gateway = Self::prepare(setup);
        gateway.restart();
        gateway
    }

    /// Writes the configuration, does not start.
    pub fn prepare(setup: &Setup) -> Self {
        let folder = Folder::new();
        let (address, http) = (free_address(), free_address());
        Town::get().write(folder.path());
        let tls = if setup.listener_tls {
            let key = crate::forge::keys::Key::p256();
            let own = crate::forge::certificates::Authority::root("gateway");
            let certificate = own
                .person("gw", "gw@gw.example.jp", key.clone())
                .certificate;
            std::fs::write(folder.join("tls.pem"), pem("CERTIFICATE", &certificate)).unwrap();
            write_secret(&folder.join("tls.key"), &key.pem());
            "tls = { certificate = \"tls.pem\", key = \"tls.key\" }\n"
        } else {
            ""
        };
        let peers = setup
            .trusted_peers
            .as_ref()
            .map_or_else(String::new, |p| format!("trusted_peers = {p}\n"));
        let state = folder.join("state");
        std::fs::create_dir(&state).unwrap();
        // Every test can be run without workers: KENIN_ISOLATE=0 tests/run.
        let threads = std::env::var("KENIN_ISOLATE").is_ok_and(|v| v == "0");
        let workers = match threads && !setup.tables.contains("[workers]") {
            true => "[workers]\nisolate = false\n",
            false => "",
        };
        let text = format!(
            "hostname = \"gw.example.jp\"\nsite_authserv_ids = [\"{SITE_ID}\"]\nstate_dir = \"{}\"\n{}\n\
             [[listener]]\naddress = \"{address}\"\nmode = \"{}\"\nbare_newline = \"{}\"\n{peers}{tls}\
             [next_hop]\naddress = \"{}\"\n{}\n[http]\naddress = \"{http}\"\n\
             [limits]\n{}\n[log]\nformat = \"{}\"\n{}{workers}{}",
            state.display(),
            setup.top,
            setup.mode,
            setup.bare_newline,
            setup.next_hop,
            setup.next_hop_lines,
            setup.limits,
            setup.log_format,
            setup.log_lines,
            setup.tables,
        );
        std::fs::write(folder.join("kenin.toml"), text).unwrap();
        let trust = format!(
            "intermediates = [\"intermediates\"]\ncrls = [\"crls\"]\n[[anchor]]\nname = \"test-root\"\n\
             file = \"anchors/root.pem\"\nuse = [\"mail-signing\"]\n{}\n",
            setup.anchor
        );
        std::fs::write(folder.join("trust.toml"), trust).unwrap();
        std::fs::write(folder.join("mail.toml"), &setup.mail).unwrap();
        Self {
            address,
            http,
            folder,
            process: None,
        }
    }

    /// A gateway whose folder somebody else wrote.
    pub fn of(folder: Folder, address: SocketAddr, http: SocketAddr) -> Self {
        Self {
            address,
            http,
            folder,
            process: None,
        }
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("kenin.toml")
    }

    /// Starts it (again) and waits until it listens.
    pub fn restart(&mut self) {
        self.restart_under(&[]);
    }

    /// The same, with words in front of the command line.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn restart_under(&mut self, prefix: &[String]) {
        self.begin_under(prefix);
        let address = self.address;
        self.process().ready(address);
    }

    /// Starts it with words in front of the command line; gives its exit status if it ends instead of
    /// listening.
    pub fn try_restart_under(&mut self, prefix: &[String]) -> Option<ExitStatus> {
        self.begin_under(prefix);
        let address = self.address;
        wait_for("Kenin listens or ends", || {
            self.process().ended().is_some() || listens(address)
        });
        self.process().ended()
    }

    fn begin_under(&mut self, prefix: &[String]) {
        self.process = None;
        let mut words = prefix.iter().map(OsString::from).collect::<Vec<_>>();
        words.push(parts::kenin().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .env_remove("KENIN_CONFIG");
        self.process = Some(Process::start(command, &self.folder.join("kenin.log")));
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was started")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// The workers that it has.
    pub fn workers(&mut self) -> Vec<Pid> {
        doing(self, "worker")
    }

    /// The templates that it has, whose copies open mail.
    pub fn templates(&mut self) -> Vec<Pid> {
        doing(self, "template")
    }

    /// How many descriptors it has open, but for what is kept for the next mails: its line to each worker, template and
    /// copy, and the files of its store, which is opened as often as was needed at one time.
    pub fn descriptors(&mut self) -> usize {
        let lines = |own: &mut Self| {
            let all = own.workers().len() + own.templates().len();
            all + copies(own).len()
        };
        loop {
            let lines_before = lines(self);
            let all = self.open_files();
            let all = all.iter().filter(|name| !name.contains(".sqlite")).count();
            // One that was started meanwhile would be missed in what was counted first.
            if lines(self) == lines_before {
                return all.saturating_sub(lines_before);
            }
        }
    }

    /// How often the store's file is open.
    pub fn store_connections(&mut self) -> usize {
        let all = self.open_files();
        all.iter().filter(|name| name.ends_with(".sqlite")).count()
    }

    /// What its descriptors stand for: files by name, all else by kind and number.
    fn open_files(&mut self) -> Vec<String> {
        let pid = self.process().pid().as_raw_nonzero();
        let all = std::fs::read_dir(format!("/proc/{pid}/fd"));
        let names = all.into_iter().flatten().flatten();
        // One that was closed meanwhile is none.
        let names = names.filter_map(|one| std::fs::read_link(one.path()).ok());
        let mut names = names
            .map(|name| name.display().to_string())
            .collect::<Vec<_>>();
        names.sort();
        names
    }

    /// How much memory it holds, in KiB.
    pub fn resident_kib(&mut self) -> u64 {
        let pid = self.process().pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// What has not gone within a time: descriptors over the baseline, files beside store, keys and quarantine.
    pub fn left_behind(&mut self, descriptors: usize, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let mut left = Vec::new();
            let open = self.descriptors();
            if open > descriptors {
                let all = self.open_files().join(", ");
                left.push(format!("{open} descriptors, {descriptors} before: {all}"));
            }
            let stray = files(&self.folder.join("state"));
            let stays = ["sqlite", "/state/keys/", "/state/quarantine/"];
            let stray = stray.iter().filter(|path| {
                let path = path.to_string_lossy();
                !stays.iter().any(|stays| path.contains(stays))
            });
            left.extend(stray.map(|path| path.display().to_string()));
            if left.is_empty() || Instant::now() >= end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("kenin.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All that its store holds, a statement of SQL a line, by somebody else's hand.
    ///
    /// # Panics
    /// When there is no store.
    pub fn store_dump(&self) -> String {
        let store = files(&self.folder.join("state"))
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "sqlite"));
        let script = "import sqlite3,sys\n\
                      print('\\n'.join(sqlite3.connect(sys.argv[1]).iterdump()))";
        let mut command = Command::new("python3");
        let out = run(command.args(["-c", script]).arg(store.expect("a store")));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A client that has said EHLO.
    pub fn client(&self) -> Client {
        Client::greeted(self.address)
    }

    /// Sends one mail and returns the answer.
    pub fn send(&self, envelope: &Envelope, raw: &[u8]) -> Reply {
        send(self.address, envelope, raw)
    }

    /// GET a path of the health listener: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        // Its port is made after the one for mail, whose answer tells that Kenin is there.
        let mut connected = None;
        wait_for("the health listener answers", || {
            connected = std::net::TcpStream::connect(self.http).ok();
            connected.is_some()
        });
        let mut stream = connected.expect("it was waited for");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let body = text
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        (status, body)
    }
}

/// The usual envelope.
pub fn envelope() -> Envelope {
    Envelope::new("sender@example.jp", "reader@example.jp").with("BODY=8BITMIME")
}

/// Runs a `kenin` command to its end.
pub fn kenin(arguments: &[&str]) -> Output {
    Command::new(parts::kenin())
        .args(arguments)
        .env_remove("KENIN_CONFIG")
        .output()
        .unwrap()
}
