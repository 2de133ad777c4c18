//! What the operating system says of a process and all its children: CPU time and memory.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kenin_tests::world::Process;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::load::Trouble;

/// A program that is measured; stopped by its own means, so that no child of it stays.
pub(crate) struct Program(Process);

impl Program {
    pub(crate) fn start(command: Command, log: &std::path::Path) -> Self {
        Self(Process::start(command, log))
    }

    pub(crate) fn from(process: Process) -> Self {
        Self(process)
    }

    /// Itself and its descendants.
    pub(crate) fn tree(&self) -> Tree {
        Tree(self.0.pid().as_raw_nonzero().get().unsigned_abs())
    }

    /// Waits until `holds`; a program that ends instead is an error with what it said.
    pub(crate) fn wait_until(&mut self, holds: impl Fn() -> bool) -> Result<(), Trouble> {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            if self.0.ended().is_some() || Instant::now() > end {
                return Err(format!("a program is not ready:\n{}", self.0.output()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.signal(Signal::TERM);
        let end = Instant::now() + Duration::from_secs(10);
        while self.0.ended().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process and its descendants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(pub(crate) u32);

impl Tree {
    /// User and system time of those that live.
    pub(crate) fn cpu(self) -> Duration {
        let ticks: u64 = self.members().iter().filter_map(|pid| ticks(*pid)).sum();
        Duration::from_millis(ticks.saturating_mul(1000 / USER_HZ))
    }

    /// Memory of all of them.
    pub(crate) fn memory(self) -> Memory {
        self.members()
            .iter()
            .fold(Memory::default(), |sum, pid| sum.plus(Memory::of(*pid)))
    }

    /// Open descriptors of the process itself.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count)
    }

    /// Watches memory until the watch is asked for what it saw.
    pub(crate) fn watch(self) -> Watch {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = Memory::default();
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.at_least(self.memory());
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        Watch { stop, thread }
    }

    fn members(self) -> BTreeSet<u32> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(pid) = pid
                && let Some(parent) = stat(pid, 1)
            {
                parents.push((pid, parent));
            }
        }
        let mut known = BTreeSet::from([self.0]);
        loop {
            let before = known.len();
            for (pid, parent) in &parents {
                if u32::try_from(*parent).is_ok_and(|parent| known.contains(&parent)) {
                    known.insert(*pid);
                }
            }
            if known.len() == before {
                return known;
            }
        }
    }
}

/// Memory as it grows.
pub(crate) struct Watch {
    stop: std::sync::Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

impl Watch {
    /// The largest values seen.
    pub(crate) fn peak(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Bytes in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, mapped files included.
    pub(crate) resident: u64,
    /// Resident and not backed by a file.
    pub(crate) anonymous: u64,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        };
        Self {
            resident: line("Rss:").unwrap_or(0),
            anonymous: line("Anonymous:").unwrap_or(0),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            anonymous: self.anonymous + other.anonymous,
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            anonymous: self.anonymous.max(other.anonymous),
        }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "resident_bytes": self.resident, "anonymous_bytes": self.anonymous })
    }
}

/// Bytes as mebibytes, for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn ticks(pid: u32) -> Option<u64> {
    Some(stat(pid, 11)? + stat(pid, 12)?)
}

/// A number of `/proc/PID/stat`, counted behind the program's name and its state.
fn stat(pid: u32, place: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, numbers) = text.rsplit_once(')')?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

/// The unit of times in `/proc`, the same on every Linux that we run on.
const USER_HZ: u64 = 100;
