//! A small file system that outlives the programs on it: a sleeping process holds the mount namespace that it is in,
//! and others come and go there. Nobody else sees it, and it goes with its holder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::{Folder, Process, run, wait_for};

/// A disk at a folder.
pub struct Disk {
    holder: Process,
    folder: PathBuf,
    _log: Folder,
}

impl Disk {
    /// In memory, of this size (`"300k"`).
    pub fn in_memory(folder: &Path, size: &str) -> Self {
        Self::in_memory_if_allowed(folder, size).expect("a disk in memory")
    }

    /// The same; nothing, and said so, where nobody lets us mount one. That takes root.
    pub fn in_memory_if_allowed(folder: &Path, size: &str) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size={size},mode=0700 tmpfs");
        let disk = Self::mounted(folder, &mount);
        if disk.is_none() {
            eprintln!("SKIPPED: no disk in memory can be mounted here: it takes root");
        }
        disk
    }

    /// Ext4 in a file that [`Disk::make`] made; nothing, and said so, where this machine lets no file be a disk. What
    /// is not brought to the disk stays in memory for minutes.
    pub fn of_file(folder: &Path, image: &Path) -> Option<Self> {
        let mount = format!("mount -o loop,commit=600 '{}'", image.display());
        let disk = Self::mounted(folder, &mount);
        if disk.is_none() {
            eprintln!("SKIPPED: this machine mounts no file as a disk");
        }
        disk
    }

    /// Makes a file with an empty ext4, for its owner alone.
    pub fn make(image: &Path, mebibytes: u64) {
        let file = std::fs::File::create(image).unwrap();
        file.set_len(mebibytes << 20).unwrap();
        let mut command = Command::new("mkfs.ext4");
        run(command
            .args(["-q", "-F", "-E", "root_owner=0:0"])
            .arg(image));
    }

    /// Words that put a program into the namespace. It keeps its process id.
    pub fn prefix(&self) -> Vec<String> {
        let pid = self.holder.pid().as_raw_nonzero();
        ["nsenter", "-t", &pid.to_string(), "-m", "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Its folder, as who is not in the namespace may look into it.
    pub fn seen(&self) -> PathBuf {
        let pid = self.holder.pid().as_raw_nonzero();
        let folder = self.folder.strip_prefix("/").unwrap();
        Path::new(&format!("/proc/{pid}/root")).join(folder)
    }

    fn mounted(folder: &Path, mount: &str) -> Option<Self> {
        let log = Folder::new();
        let ready = log.join("ready");
        let at = folder.display();
        let script = format!(
            "{mount} '{at}' && chmod 700 '{at}' && touch '{}' && exec sleep 1000000",
            ready.display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]);
        let mut holder = Process::start(command, &log.join("log"));
        wait_for("the disk is there or is not to be had", || {
            ready.exists() || holder.ended().is_some()
        });
        ready.exists().then_some(Self {
            holder,
            folder: folder.to_owned(),
            _log: log,
        })
    }
}
