//! Folders, ports, processes and waiting.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder that everybody may enter (Postfix's own users have to).
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new one.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new()
            .prefix("kenin-it-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// A loopback address whose port was free a moment ago and lies below the range from which the
/// system gives ports to clients, so that no connection takes it meanwhile.
pub fn free_address() -> SocketAddr {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 900) as u16 * 20;
    for _ in 0..20_000 {
        let port = 12_000 + (first - 12_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
    panic!("no free port");
}

/// Waits until something holds.
///
/// # Panics
/// After `PATIENCE`.
pub fn wait_for(what: &str, holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, holds);
}

/// Waits until something holds, with a deadline of its own.
///
/// # Panics
/// After the deadline.
pub fn wait_within(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !holds() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        // A short pause between two looks; what ends the wait is the condition.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether something listens there.
pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A child process that does not outlive its handle, with its output in a file.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command; both outputs go to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            child,
            name,
            log: log.to_owned(),
            ended: None,
        }
    }

    /// Waits until it listens.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn ready(&mut self, address: SocketAddr) {
        let end = Instant::now() + PATIENCE;
        while !listens(address) {
            if let Some(status) = self.ended() {
                panic!("{} ended with {status}:\n{}", self.name, self.output());
            }
            assert!(
                Instant::now() < end,
                "{} does not listen:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(&format!("{} ends", self.name), || self.ended().is_some());
        self.ended.unwrap()
    }

    /// Sends a signal, if it still lives.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            kill_process(self.pid(), signal).unwrap();
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.ended = Some(self.child.wait().unwrap());
        }
    }

    /// [`pause`].
    pub fn pause(&mut self) {
        pause(self.pid());
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// SIGSTOP, and waits until no thread of it runs: it is still there, and says nothing.
pub fn pause(pid: Pid) {
    // One that has ended says nothing either.
    let _ = kill_process(pid, Signal::STOP);
    wait_for("a process stops", || {
        let threads = std::fs::read_dir(folder_of(pid).join("task"));
        let mut threads = threads.into_iter().flatten().flatten();
        threads.all(|thread| {
            let state = state_of(&thread.path());
            state.is_none_or(|(letter, _)| matches!(letter, 'T' | 'X' | 'Z'))
        })
    });
}

/// The processes that it started and that still live.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let state = state_of(&entry.path());
        state.is_some_and(|(letter, by)| by == parent && letter != 'Z')
    })
    .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
    .filter_map(Pid::from_raw)
    .collect()
}

/// Whether it has ended, also where nobody has asked yet how.
pub fn is_gone(pid: Pid) -> bool {
    state_of(&folder_of(pid)).is_none_or(|(letter, _)| letter == 'Z')
}

fn folder_of(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

/// The state of a process or thread by its folder (proc_pid_stat(5)), and the number of its parent; nothing when
/// it is gone.
fn state_of(folder: &Path) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(folder.join("stat")).ok()?;
    // In front stands its name in brackets, which may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let letter = words.next()?.chars().next()?;
    Some((letter, words.next()?.parse().ok()?))
}

/// Runs a command to its end and returns its standard output.
///
/// # Panics
/// When it fails.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What a command used, as the kernel counted it.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// The largest resident set, in KiB.
    pub peak_kib: u64,
    /// Exit code; 128 and the signal's number where one ended it.
    pub code: i32,
}

/// Runs a command and measures it. `stdout` goes to a file.
pub fn measure(program: &Path, arguments: &[String], stdout: &Path) -> Usage {
    // std cannot ask for a child's rusage without unsafe code; Python can.
    let script = "import resource,subprocess,sys\n\
        r=subprocess.run(sys.argv[2:],stdout=open(sys.argv[1],'wb')).returncode\n\
        u=resource.getrusage(resource.RUSAGE_CHILDREN)\n\
        print(u.ru_utime+u.ru_stime,u.ru_maxrss,r if r>=0 else 128-r)";
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        .arg(stdout)
        .arg(program)
        .args(arguments)
        .env("RUST_MIN_STACK", "524288");
    let text = String::from_utf8(run(&mut command)).unwrap();
    let mut words = text.split_whitespace();
    let mut next = || words.next().unwrap();
    Usage {
        cpu: Duration::from_secs_f64(next().parse().unwrap()),
        peak_kib: next().parse().unwrap(),
        code: next().parse().unwrap(),
    }
}

/// Writes a file that only its owner may read, as private keys are.
pub fn write_secret(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path)
            } else {
                out.push(path)
            }
        }
    }
    out
}

/// A seeded generator of numbers: the same seed, the same test (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
