//! Lets the n-th call of a system call fail, in a program that knows nothing of it (strace's fault
//! injection). Calls are counted in each thread by itself.

use std::path::{Path, PathBuf};

use crate::world::Folder;

/// What fails.
#[derive(Clone, Debug)]
pub struct Injection {
    /// The system call.
    pub call: &'static str,
    /// `EIO`, `ENOSPC`…
    pub error: &'static str,
    /// Which call of it, from 1.
    pub nth: usize,
    /// Only calls on these paths count; none: every call.
    pub paths: Vec<PathBuf>,
}

/// A running injection's prefix of a command line, and its log.
pub struct Strace {
    folder: Folder,
    injection: Injection,
}

impl Strace {
    /// Prepares it.
    pub fn new(injection: Injection) -> Self {
        Self {
            folder: Folder::new(),
            injection,
        }
    }

    /// Words to put in front of a program's own. The program keeps the process id: strace stands
    /// beside it and goes with it.
    pub fn prefix(&self) -> Vec<String> {
        let Injection {
            call,
            error,
            nth,
            paths,
        } = &self.injection;
        let mut words: Vec<String> = ["strace", "-D", "-f", "-qq", "-o"]
            .map(str::to_owned)
            .to_vec();
        words.push(self.log().display().to_string());
        words.extend(["-e".to_owned(), format!("trace={call}")]);
        words.extend([
            "-e".to_owned(),
            format!("inject={call}:error={error}:when={nth}"),
        ]);
        for path in paths {
            words.extend(["-P".to_owned(), path.display().to_string()]);
        }
        words
    }

    /// Whether a call has failed.
    pub fn happened(&self) -> bool {
        std::fs::read_to_string(self.log()).is_ok_and(|log| log.contains("(INJECTED)"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("strace.log")
    }
}

/// Words that give a program a small disk of its own at a folder: a tmpfs that nobody else sees and
/// that goes with it. Its unnamed files are called `#2`, `#3` and so on.
pub fn small_disk(folder: &Path, size: &str) -> Vec<String> {
    let script = format!(
        "mount -t tmpfs -o size={size},mode=0700 tmpfs '{}' && exec \"$@\"",
        folder.display()
    );
    ["unshare", "-m", "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .to_vec()
}

/// The unnamed files of such a disk.
pub fn unnamed_files(folder: &Path) -> Vec<PathBuf> {
    (2..60)
        .map(|number| folder.join(format!("#{number}")))
        .collect()
}
