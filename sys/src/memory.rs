//! What keeps secrets in memory from the disk: neither swapped out nor dumped. Never looks at the content.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, dumpable_behavior, getrlimit, set_dumpable_behavior,
};

/// Keeps all memory of this process, present and future, out of swap.
///
/// # Errors
///
/// When the system refuses: the limit of locked memory is too low, and the error says what it is.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).map_err(|error| {
        let limit = getrlimit(Resource::Memlock).current;
        let limit = limit.map_or_else(|| "none".to_owned(), |octets| octets.to_string());
        let error = io::Error::from(error);
        let what = format!(
            "memory cannot be locked ({error}); the limit is {limit} octets: raise LimitMEMLOCK"
        );
        io::Error::new(error.kind(), what)
    })
}

/// Forbids that others of the same user read or trace this process, and that it is dumped.
///
/// # Errors
///
/// When the system refuses.
pub fn forbid_tracing() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Leaves all memory out of dumps of this process and of those that it starts (core(5)): where one is made all the same,
/// no mapping of whatever kind is in it. Has to come before [`forbid_tracing`], after which who is not root cannot say it.
///
/// # Errors
///
/// When the system refuses, or does not show a process to itself.
pub fn keep_out_of_dumps() -> io::Result<()> {
    let opened = OpenOptions::new().write(true).open(FILTER);
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if opened.as_ref().is_err_and(absent) && Path::new(ITSELF).is_dir() {
        // A kernel without this file makes no dumps at all.
        return Ok(());
    }
    let written = opened.and_then(|mut filter| filter.write_all(b"0"));
    // Of a program that its user may run and not read there is no dump, and this file is not the user's.
    if written.is_err() && dumpable_behavior() == Ok(DumpableBehavior::NotDumpable) {
        return Ok(());
    }
    written.map_err(|error| io::Error::new(error.kind(), format!("{FILTER}: {error}")))
}

/// This process, as the system shows it to itself.
const ITSELF: &str = "/proc/self";
/// Which mappings go into a dump, a bit for each kind.
const FILTER: &str = "/proc/self/coredump_filter";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::testing::in_a_child;

    /// A line of `/proc/self/status`.
    fn status(name: &str) -> String {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    }

    #[test]
    fn locked_memory_is_locked_or_says_why_not() {
        in_a_child(
            "memory::tests::locked_memory_is_locked_or_says_why_not",
            || match lock_memory() {
                Ok(()) => assert_ne!(status("VmLck:"), "0 kB"),
                Err(error) => assert!(error.to_string().contains("LimitMEMLOCK")),
            },
        );
    }

    #[test]
    fn a_process_that_forbids_it_cannot_be_read() {
        in_a_child(
            "memory::tests::a_process_that_forbids_it_cannot_be_read",
            || {
                assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
                forbid_tracing().unwrap();
                let now = dumpable_behavior();
                assert_eq!(now, Ok(DumpableBehavior::NotDumpable));
            },
        );
    }

    /// The most that a process can ask for is in a core, then nothing, and it stays so for those that it starts.
    #[test]
    fn nothing_that_lies_in_memory_goes_into_a_core() {
        in_a_child(
            "memory::tests::nothing_that_lies_in_memory_goes_into_a_core",
            || {
                if !Path::new(FILTER).exists() {
                    eprintln!("SKIPPED: this kernel makes no cores");
                    assert!(keep_out_of_dumps().is_ok());
                    return;
                }
                fs::write(FILTER, "0x1ff").unwrap();
                let filter = || fs::read_to_string(FILTER).unwrap();
                assert_eq!(filter().trim(), "000001ff");
                // Twice does no harm.
                for _ in 0..2 {
                    keep_out_of_dumps().unwrap();
                    assert_eq!(filter().trim(), "00000000");
                }
                let other = Command::new("cat").arg(FILTER).output().unwrap();
                assert_eq!(other.stdout, b"00000000\n");
            },
        );
    }
}
