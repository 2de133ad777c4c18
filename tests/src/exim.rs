//! A real Exim of its own: unpacked, never installed (it conflicts with Postfix), with its own
//! configuration, queue and log, no port that anybody uses. Started and stopped here, by root.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::kenin::{Gateway, Setup};
use crate::parts;
use crate::sink::Sink;
use crate::world::{Folder, Process, files, free_address, run, wait_for};

/// One instance.
pub struct Exim {
    /// Where it takes mail.
    pub front: SocketAddr,
    sink: SocketAddr,
    folder: Folder,
    process: Option<Process>,
}

impl Exim {
    /// One that relays everything to a sink, except to local parts `unknown`: those it refuses. Not
    /// started yet.
    pub fn prepare(sink: SocketAddr) -> Self {
        let root = rustix::process::geteuid().is_root();
        assert!(
            root,
            "Exim has to be started by root: run the tests as root"
        );
        let folder = Folder::new();
        // A copy: what it starts anew runs as Exim's user, who may not enter every project folder.
        std::fs::copy(parts::exim(), folder.join("exim4")).unwrap();
        for name in ["spool", "log"] {
            std::fs::create_dir(folder.join(name)).unwrap();
            run(Command::new("chown")
                .arg("Debian-exim")
                .arg(folder.join(name)));
        }
        Self {
            front: free_address(),
            sink,
            folder,
            process: None,
        }
    }

    /// Puts the pieces that `kenin init exim` prints where their headings say, as an admin would, and
    /// starts Exim. It stays on loopback, and is quicker to try again.
    pub fn start(&mut self, printed: &str) {
        self.configure(&Pieces::of(printed));
        let mut command = Command::new(self.folder.join("exim4"));
        command.arg("-C").arg(self.folder.join("exim.conf"));
        command.args(["-bdf", "-q1s"]);
        let process = Process::start(command, &self.folder.join("daemon.log"));
        let daemon = self.process.insert(process);
        // A connection is no sign yet: now and then the first ones are closed without a word.
        wait_for("Exim greets", || {
            let ended = daemon.ended();
            assert!(ended.is_none(), "Exim ended: {ended:?}");
            greets(self.front)
        });
    }

    fn configure(&self, pieces: &Pieces) {
        let dir = self.folder.path().display();
        let main = pieces.main.replace("0.0.0.0 ; ::0", "127.0.0.1");
        let text = format!(
            "primary_hostname = mx.example.jp\nexim_path = {dir}/exim4\nspool_directory = {dir}/spool\n\
             log_file_path = {dir}/log/%s\npid_file_path = {dir}/exim.pid\nkeep_environment =\n\
             daemon_smtp_ports = {front}\ndaemon_startup_retries = 0\nlog_selector = +smtp_connection\n\
             tls_advertise_hosts =\nhost_lookup =\nmessage_size_limit = 100M\n\
             acl_smtp_rcpt = check_rcpt\n{main}\
             begin acl\ncheck_rcpt:\n{acl}\n  accept\n    hosts = 127.0.0.1\n    verify = recipient\n\
             begin routers\n{routers}\nout:\n  driver = manualroute\n  local_parts = ! unknown\n  \
             route_list = * 127.0.0.1\n  self = send\n  transport = out\n\
             begin transports\n{transports}\nout:\n  driver = smtp\n  port = {sink}\n  \
             message_linelength_limit = 1G\n\
             begin retry\n{retry}\n*  *  F,4d,1s\n",
            front = self.front.port(),
            sink = self.sink.port(),
            acl = pieces.acl,
            routers = pieces.routers,
            transports = pieces.transports,
            retry = pieces.retry.replace("F,4d,1m", "F,4d,1s"),
        );
        std::fs::write(self.folder.join("exim.conf"), text).unwrap();
    }

    /// The daemon first, by its own means, then what it left running.
    fn stop(&mut self) {
        if let Some(mut daemon) = self.process.take() {
            daemon.signal(Signal::TERM);
            daemon.wait();
        }
        wait_for("Exim's processes end", || self.kill_all() == 0);
    }

    /// Kills receptions and deliveries, which are known by the program that they run, a copy that
    /// nobody else has; how many there were.
    fn kill_all(&self) -> usize {
        let program = self.folder.join("exim4");
        let running = processes().filter(|(_, exe)| *exe == program);
        let mut count = 0;
        for (pid, _) in running {
            let _ = kill_process(pid, Signal::KILL);
            count += 1;
        }
        count
    }

    /// Its log.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read(self.folder.join("log").join(name));
        String::from_utf8_lossy(&read("main").unwrap_or_default()).into_owned()
    }

    /// How many mails are in its queue.
    pub fn queued(&self) -> usize {
        let spool = files(&self.folder.join("spool/input"));
        let header = |path: &&PathBuf| path.to_string_lossy().ends_with("-H");
        spool.iter().filter(header).count()
    }
}

/// Exim with Kenin behind its queue. Kenin hands mail back to Exim's second listener, or, where told
/// so, to another port. It is not started yet.
pub fn behind_exim(sink: &Sink, mode: &str, wrong_port: bool) -> (Exim, Gateway) {
    let mut exim = Exim::prepare(sink.address);
    let again = free_address();
    let gateway = Gateway::prepare(&Setup::new(again));
    let trust = std::fs::read(gateway.folder.join("trust.toml")).unwrap();
    let pieces = init(&gateway, mode, again);
    if wrong_port {
        init(&gateway, mode, exim.front);
    }
    std::fs::write(gateway.folder.join("trust.toml"), trust).unwrap();
    exim.start(&pieces);
    (exim, gateway)
}

fn init(gateway: &Gateway, mode: &str, next_hop: SocketAddr) -> String {
    let mut command = Command::new(parts::kenin());
    command
        .args(["init", "exim", "--force", "--mode", mode])
        .args(["--hostname", "gw.example.jp"])
        .arg("--dir")
        .arg(gateway.folder.path())
        .arg("--state-dir")
        .arg(gateway.folder.join("state"))
        .args(["--listen", &gateway.address.to_string()])
        .args(["--next-hop", &next_hop.to_string()])
        .args(["--http", &gateway.http.to_string()])
        .env_remove("KENIN_CONFIG");
    String::from_utf8(run(&mut command)).unwrap()
}

impl Drop for Exim {
    fn drop(&mut self) {
        // A test that panics must not panic again here.
        if std::thread::panicking() {
            let daemon = std::fs::read_to_string(self.folder.join("daemon.log"));
            let ended = self.process.as_mut().and_then(Process::ended);
            eprintln!(
                "Exim ({ended:?}):\n{}\n{}",
                self.log(),
                daemon.unwrap_or_default()
            );
            self.process = None;
            self.kill_all();
        } else {
            self.stop();
        }
    }
}

/// What `kenin init exim` prints, by place.
#[derive(Default)]
struct Pieces {
    main: String,
    acl: String,
    routers: String,
    transports: String,
    retry: String,
}

impl Pieces {
    fn of(printed: &str) -> Self {
        let mut pieces = Self::default();
        let mut parts = printed.split("# --- ").skip(1);
        for (heading, place) in [
            ("1. Main section", &mut pieces.main),
            ("2. Access control", &mut pieces.acl),
            ("3. Routers", &mut pieces.routers),
            ("4. Transports", &mut pieces.transports),
            ("5. Retry rules", &mut pieces.retry),
        ] {
            let part = parts.next().unwrap_or_default();
            assert!(part.starts_with(heading), "no {heading}:\n{printed}");
            let (_, lines) = part.split_once('\n').unwrap();
            place.push_str(lines);
        }
        assert!(parts.next().is_none(), "{printed}");
        pieces
    }
}

fn greets(address: SocketAddr) -> bool {
    let mut code = [0; 3];
    TcpStream::connect(address)
        .and_then(|mut stream| {
            stream.read_exact(&mut code)?;
            stream.write_all(b"QUIT\r\n")
        })
        .is_ok_and(|()| code == *b"220")
}

/// Every process and the program it runs, as far as one may know.
fn processes() -> impl Iterator<Item = (Pid, PathBuf)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let exe = std::fs::read_link(entry.path().join("exe")).ok()?;
        Some((pid, exe))
    })
}
