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
    /// User and system time of those that live, and of those that ended and were waited for.
    pub(crate) fn cpu(self) -> Duration {
        let mut members = self.members();
        let mut sum = 0;
        // Whoever is waited for between two looks would count twice, or not at all: then it is looked again.
        for _ in 0..LOOKS {
            sum = members.iter().filter_map(|pid| ticks(*pid)).sum::<u64>();
            let after = self.members();
            if after == members {
                break;
            }
            members = after;
        }
        Duration::from_millis(sum.saturating_mul(1000 / USER_HZ))
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
                && let Some(parent) = parent(pid)
            {
                parents.push((pid, parent));
            }
        }
        let mut known = BTreeSet::from([self.0]);
        loop {
            let before = known.len();
            for (pid, parent) in &parents {
                if known.contains(parent) {
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
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        match file("smaps_rollup") {
            Ok(text) => Self::told(&text, "Rss:", "Anonymous:"),
            // Who lets nobody look into its memory says here how large it is.
            Err(_) => Self::told(&file("status").unwrap_or_default(), "VmRSS:", "RssAnon:"),
        }
    }

    fn told(text: &str, resident: &str, anonymous: &str) -> Self {
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        };
        Self {
            resident: line(resident).unwrap_or(0),
            anonymous: line(anonymous).unwrap_or(0),
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

/// Its own user and system time, and those of its children that it waited for, with those of theirs.
fn ticks(pid: u32) -> Option<u64> {
    let text = stat(pid)?;
    let times = numbers(&text)?.skip(11).take(4);
    Some(times.filter_map(|time| time.parse::<u64>().ok()).sum())
}

fn parent(pid: u32) -> Option<u32> {
    let text = stat(pid)?;
    numbers(&text)?.nth(1)?.parse().ok()
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// What `/proc/PID/stat` has behind the program's name: its state, its parent and so on.
fn numbers(stat: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, numbers) = stat.rsplit_once(')')?;
    Some(numbers.split_whitespace())
}

/// The unit of times in `/proc`, the same on every Linux that we run on.
const USER_HZ: u64 = 100;
/// How often at most it is looked until nobody comes or goes meanwhile.
const LOOKS: usize = 10;

#[cfg(test)]
mod tests {
    use kenin_tests::world::Folder;

    use super::*;

    /// The time of a worker that was replaced was lost with it.
    #[test]
    fn the_time_of_who_has_ended_counts_and_counts_once() {
        let folder = Folder::new();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]);
        let mut program = Program::start(command, &folder.join("log"));
        let log = folder.join("log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        program.wait_until(|| said().contains("done")).unwrap();
        let counted = program.tree().cpu().as_secs_f64();
        // Of itself and of its children, user and system: "0m0.01s 0m0.00s", twice.
        let said = said();
        let times = said.split_whitespace().filter_map(|word| {
            let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
            let minutes: f64 = minutes.parse().ok()?;
            Some(minutes * 60.0 + seconds.parse::<f64>().ok()?)
        });
        let times: f64 = times.sum();
        assert!(times > 0.1, "{said}");
        assert!((counted - times).abs() < times * 0.4, "{counted}, {said}");
    }

    /// A shell that waits for one which calculates, says what time that took, and lives on.
    const SCRIPT: &str = "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; times; echo done; exec sleep 60";
}
