//! Starting a key process: this program again, as another image, with two sockets in the place of its standard input and
//! output. And when one is started again that has ended. Never reads a key or its secret.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use kenin_keys::ClientError;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info};

use super::vault::{Vault, introduce};
use crate::config::LogFormat;
use crate::exit::Exit;

/// How a key process is started.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    program: PathBuf,
    arguments: Vec<OsString>,
    patience: Duration,
    /// A file that its log goes to, instead of where ours goes.
    log: Option<PathBuf>,
}

/// Why there is no key process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    /// The system did not start it.
    #[error("the key process cannot be started: {0}")]
    System(#[from] io::Error),
    /// It has ended; why is in what it said.
    #[error("the key process has ended at its start ({0})")]
    Ended(ExitStatus),
    /// It says nothing, or nothing that one says.
    #[error("the key process does not answer: {0}")]
    Silent(ClientError),
}

impl NotStarted {
    /// Whether the configuration is to blame, or what it names.
    pub(super) fn is_mistake(&self) -> bool {
        let wrong = i32::from(Exit::Configuration.code());
        matches!(self, Self::Ended(status) if status.code() == Some(wrong))
    }
}

impl Starter {
    /// With the settings of these files.
    pub(super) fn new(config: &[PathBuf], log_format: Option<LogFormat>) -> Self {
        let mut arguments = Vec::new();
        for file in config {
            arguments.push(OsString::from("--config"));
            arguments.push(file.into());
        }
        arguments.push(OsString::from("key-process"));
        if let Some(format) = log_format {
            arguments.push(OsString::from("--log-format"));
            arguments.push(format.as_str().into());
        }
        Self {
            // What runs now, also where the file has another version by now.
            program: "/proc/self/exe".into(),
            arguments,
            patience: START,
            log: None,
        }
    }

    /// With its log at the end of this file.
    pub(super) fn logging_to(self, log: PathBuf) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// Starts something else.
    #[cfg(test)]
    pub(super) fn of(program: &str, arguments: &[&str], patience: Duration) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            patience,
            log: None,
        }
    }

    /// Starts one, and hears which keys it has. Within a runtime.
    pub(super) async fn start(&self) -> Result<Vault, NotStarted> {
        let (line, theirs) = UnixStream::pair()?;
        let (door, inside) = UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg0("kenin")
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(inside));
        for name in OF_THE_SERVICE {
            command.env_remove(name);
        }
        if let Some(log) = &self.log {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            command.stderr(file);
        }
        let mut child = command.spawn()?;
        // Its ends are its own: where it has gone, ours tell.
        drop(command);
        let (heard, patience) = (line.try_clone()?, self.patience);
        let keys = spawn_blocking(move || introduce(&heard, patience)).await;
        let silent = match keys.map_err(io::Error::other)? {
            Ok(keys) => {
                tokio::spawn(until_its_end(child));
                return Ok(Vault::new(line, door, keys)?);
            }
            Err(silent) => silent,
        };
        drop((line, door));
        match timeout(END, child.wait()).await {
            Ok(Ok(status)) => Err(NotStarted::Ended(status)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                child.kill().await?;
                Err(NotStarted::Silent(silent))
            }
        }
    }
}

async fn until_its_end(mut child: Child) {
    match child.wait().await {
        Ok(status) if status.success() => info!("a key process has ended"),
        Ok(status) => error!(%status, "a key process has ended"),
        Err(error) => error!(%error, "a key process cannot be waited for"),
    }
}

/// When a key process is started again: later each time, and not for ever. What ends it again and again is not mended
/// by another start, and may be somebody's way of asking.
#[derive(Debug, Default)]
pub(super) struct Patience(VecDeque<Instant>);

impl Patience {
    /// It has ended, or did not start, for this reason. How long to wait before it is started; nothing where it is not.
    pub(super) fn after(&mut self, now: Instant, failed: Option<&NotStarted>) -> Option<Duration> {
        while let Some(first) = self.0.front() {
            if now.saturating_duration_since(*first) < HOUR {
                break;
            }
            self.0.pop_front();
        }
        let pause = PAUSES.get(self.0.len()).copied();
        self.0.push_back(now);
        if failed.is_some_and(NotStarted::is_mistake) {
            return None;
        }
        pause.map(Duration::from_secs)
    }
}

/// A passphrase may be made into a key at great cost.
pub(super) const START: Duration = Duration::from_secs(60);
/// How long one that is not wanted any more may take to end.
const END: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
/// In seconds.
const PAUSES: [u64; 4] = [1, 4, 16, 64];
/// By which the service manager knows the one process that it has started.
const OF_THE_SERVICE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use tokio::sync::watch;

    use super::super::Keyring;
    use super::*;

    #[test]
    fn who_ends_again_and_again_is_left_alone_and_an_hour_forgives() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let seconds = |number| start + Duration::from_secs(number);
        for (at, pause) in [
            (0, Some(1)),
            (10, Some(4)),
            (20, Some(16)),
            (40, Some(64)),
            (110, None),
            // The first two are longer ago than an hour.
            (3615, Some(64)),
            (9000, Some(1)),
        ] {
            let found = patience.after(seconds(at), None);
            assert_eq!(found, pause.map(Duration::from_secs), "{at}");
        }
    }

    /// A wrong PIN was tried by each of four starts, and three lock most tokens.
    #[test]
    fn a_mistake_is_not_tried_again_before_a_reload() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let pause = |seconds| Some(Duration::from_secs(seconds));
        let ended = |code: i32| NotStarted::Ended(ExitStatus::from_raw(code << 8));
        assert_eq!(patience.after(start, None), pause(1));
        // A token that is away may be there another time.
        assert_eq!(patience.after(start, Some(&ended(69))), pause(4));
        assert_eq!(patience.after(start, Some(&ended(78))), None);
        // What a reload has started may end, too.
        assert_eq!(patience.after(start, None), pause(64));
    }

    #[tokio::test]
    async fn what_it_says_goes_to_its_file_and_one_that_cannot_be_written_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        for _ in 0..2 {
            let starter = Starter::of("/bin/sh", &["-c", "echo why >&2; exit 78"], START);
            let failed = starter.logging_to(log.clone()).start().await.unwrap_err();
            assert!(failed.is_mistake(), "{failed}");
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "why\nwhy\n");
        let starter = Starter::of("/bin/sh", &["-c", "exit 78"], START);
        let nowhere = starter.logging_to(folder.path().join("absent/log"));
        let failed = nowhere.start().await.unwrap_err();
        assert!(matches!(failed, NotStarted::System(_)), "{failed}");
    }

    #[tokio::test]
    async fn what_ends_at_once_is_told_by_its_code() {
        for (code, mistake) in [("78", true), ("69", false)] {
            let script = format!("exit {code}");
            let starter = Starter::of("/bin/sh", &["-c", &script], START);
            let failed = starter.start().await.unwrap_err();
            assert!(matches!(failed, NotStarted::Ended(_)), "{failed}");
            assert_eq!(failed.is_mistake(), mistake);
        }
        let missing = Starter::of("/nonexistent/kenin", &[], START);
        let failed = missing.start().await.unwrap_err();
        assert!(matches!(failed, NotStarted::System(_)), "{failed}");
    }

    #[tokio::test]
    async fn what_says_nothing_is_not_waited_for() {
        // It says nothing on its line, and ends when that does.
        let starter = Starter::of("/bin/cat", &["-"], Duration::from_millis(50));
        let failed = starter.start().await.unwrap_err();
        assert!(matches!(failed, NotStarted::Ended(status) if status.success()));
    }

    /// Where it was given up, a reload may bring another; nobody saw when that one had ended.
    #[tokio::test(start_paused = true)]
    async fn who_has_given_up_watches_all_the_same() {
        let (line, end) = UnixStream::pair().unwrap();
        let (door, _inside) = UnixStream::pair().unwrap();
        drop(end);
        let vault = Vault::new(line, door, Vec::new()).unwrap();
        let keyring = Keyring::new(vault, Some(Starter::of("/nonexistent/kenin", &[], START)));
        let (stop, stopping) = watch::channel(false);
        let watching = tokio::spawn(keyring.clone().watch(stopping));
        // Longer than all its pauses.
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!keyring.is_there());
        assert!(!watching.is_finished());
        stop.send(true).unwrap();
        watching.await.unwrap();
    }
}
