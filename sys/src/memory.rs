//! What keeps secrets in memory from the disk: neither swapped out nor dumped. Never looks at the content.
#![allow(unsafe_code)]

use std::io;

use rustix::mm::{Advice, MlockAllFlags, madvise, mlockall};
use rustix::param::page_size;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};

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

/// Keeps the pages in which `octets` lie out of dumps of this process, and with them what else lies in these pages.
///
/// # Errors
///
/// When the system refuses.
pub fn keep_out_of_dumps(octets: &[u8]) -> io::Result<()> {
    if octets.is_empty() {
        return Ok(());
    }
    let before = octets.as_ptr().addr() % page_size();
    let start = octets.as_ptr().wrapping_sub(before).cast_mut();
    // SAFETY: the pages hold `octets`, so they are mapped; the advice changes what a dump contains and not what the
    // memory does.
    let advised = unsafe { madvise(start.cast(), before + octets.len(), Advice::LinuxDontDump) };
    Ok(advised?)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
                assert_eq!(
                    rustix::process::dumpable_behavior(),
                    Ok(DumpableBehavior::Dumpable)
                );
                forbid_tracing().unwrap();
                let now = rustix::process::dumpable_behavior();
                assert_eq!(now, Ok(DumpableBehavior::NotDumpable));
            },
        );
    }

    #[test]
    fn pages_of_secrets_are_marked() {
        // More than a page of its own.
        let secret = vec![7_u8; 1 << 20];
        keep_out_of_dumps(&secret).unwrap();
        keep_out_of_dumps(&[]).unwrap();
        let middle = secret.as_ptr().addr() + secret.len() / 2;
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let flags = maps.lines().find(|line| {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let number = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((Some(start), Some(end))) = range.map(|(a, b)| (number(a), number(b))) {
                inside = (start..end).contains(&middle);
            }
            inside && line.starts_with("VmFlags:")
        });
        assert!(flags.unwrap().split(' ').any(|flag| flag == "dd"));
    }
}
