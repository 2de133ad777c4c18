//! Limits of this process, what it does when it is told to end, and copies of it. Never touches another process but
//! these.
#![allow(unsafe_code)]

use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process,
    set_parent_process_death_signal, setrlimit, waitpid,
};
use seccompiler::BpfProgram;

use crate::confine::{Otherwise, Role, confine, for_copies, restrict_further};

/// Raises the soft limit of open descriptors to the hard one and says what it is now.
///
/// # Errors
///
/// When the system refuses.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum)
}

/// Forbids core dumps: memory holds other people's mail.
///
/// # Errors
///
/// When the system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    let limit = getrlimit(Resource::Core);
    // A limit of none does not hold where cores are handed to a program (core(5)), of which some keep them all the same.
    // One octet does: no core is that small, and Linux hands none over (fs/coredump.c).
    let most = limit.maximum.unwrap_or(ONE);
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(most.min(ONE)),
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// An octet.
const ONE: u64 = 1;

/// Bounds the memory that this process can write and has for itself, in octets. What would be beyond is refused, which ends
/// a program that cannot do without.
///
/// # Errors
///
/// When the system refuses.
pub fn limit_memory(octets: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(octets),
        maximum: Some(octets),
    };
    Ok(setrlimit(Resource::Data, limit)?)
}

/// Bounds how many descriptors this process may have at one time. What would be beyond is refused.
///
/// # Errors
///
/// When the system refuses.
pub fn limit_descriptors(count: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(count),
        maximum: Some(count),
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Goes on when a terminal or the service manager tells a whole group of processes to end (SIGHUP, SIGINT, SIGTERM): for
/// a process that ends with the one that has started it.
///
/// # Errors
///
/// When the system refuses.
pub fn ignore_termination() -> io::Result<()> {
    for number in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        // SAFETY: SIG_IGN is no function of ours: nothing is called when such a signal comes.
        let before = unsafe { libc::signal(number, libc::SIG_IGN) };
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ends this process, and runs nothing before: no destructor, no function that a library has registered for the end, no
/// buffer that is written. For a process that has nothing to write any more, and whose memory would have to be touched for
/// all of that. What is in the memory nobody sees: the system makes it zeros before anybody else has it.
pub fn end_at_once(status: i32) -> ! {
    // SAFETY: it takes a number, touches no memory of ours, and does not come back.
    unsafe { libc::_exit(status) }
}

/// A process of one thread that can begin no other, and doubles itself (fork(2)). A copy may do what a worker may
/// ([`Role::Worker`]), begins neither threads nor processes, and ends with its template.
#[derive(Debug)]
pub struct Template {
    /// Its number.
    number: u32,
    /// What a copy takes from itself.
    further: BpfProgram,
}

/// Who goes on after a fork.
#[derive(Debug)]
pub enum Fork {
    /// The template. It has a copy now.
    Template(Copied),
    /// The copy.
    Copy,
}

/// A copy, as its template has it. It is ended when this is dropped, and waited for.
#[derive(Debug)]
pub struct Copied(Pid);

impl Template {
    /// Confines this process ([`Role::Template`]).
    ///
    /// # Errors
    ///
    /// When it has other threads, or the system refuses; the process must not go on then.
    pub fn confine(otherwise: Otherwise) -> io::Result<Self> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("other threads would be missing in a copy"));
        }
        let further = for_copies(otherwise)?;
        confine(Role::Template, otherwise)?;
        Ok(Self {
            number: std::process::id(),
            further,
        })
    }

    /// Doubles this process. Both go on from here with the same memory and the same descriptors. A copy that cannot be
    /// confined ends before it goes on.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn fork(&self) -> io::Result<Fork> {
        // SAFETY: this process has one thread: there was one when `self` was made, which can be made in no other way, and the
        // system has let none begin since. So no lock is held by a thread that the copy lacks, no memory is half written, and the
        // copy may do what any program may.
        let number = unsafe { libc::fork() };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let Some(copy) = Pid::from_raw(number) else {
            if self.begin().is_err() {
                end_at_once(1);
            }
            return Ok(Fork::Copy);
        };
        Ok(Fork::Template(Copied(copy)))
    }

    /// What a copy does before anything else.
    fn begin(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before.
        if std::os::unix::process::parent_id() != self.number {
            return Err(io::ErrorKind::NotFound.into());
        }
        restrict_further(&self.further)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Its number is nobody else's before it was waited for.
        let _ = kill_process(self.0, Signal::KILL);
        while matches!(
            waitpid(Some(self.0), WaitOptions::empty()),
            Err(Errno::INTR)
        ) {}
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::getpid;

    use super::*;
    use crate::testing::{in_a_child, killed_in_a_child};

    #[test]
    fn who_ignores_it_is_not_ended() {
        in_a_child("process::tests::who_ignores_it_is_not_ended", || {
            ignore_termination().unwrap();
            for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
                kill_process(getpid(), signal).unwrap();
            }
        });
    }

    #[test]
    fn what_is_beyond_the_limit_of_memory_is_refused() {
        killed_in_a_child(
            "process::tests::what_is_beyond_the_limit_of_memory_is_refused",
            libc::SIGABRT,
            || {
                limit_memory(64 << 20).unwrap();
                assert_eq!(vec![1_u8; 16 << 20].last(), Some(&1));
                assert_eq!(vec![1_u8; 128 << 20].last(), Some(&1));
            },
        );
    }

    /// A core of the gateway, with what was opened, was handed to whatever collects cores.
    #[test]
    fn a_core_is_not_handed_to_a_program_either() {
        in_a_child(
            "process::tests::a_core_is_not_handed_to_a_program_either",
            || {
                forbid_core_dumps().unwrap();
                let limit = getrlimit(Resource::Core);
                // Where more than none is allowed.
                if limit.maximum != Some(0) {
                    assert_eq!(limit.current, Some(1));
                }
                // Again, and under a limit that was lowered meanwhile.
                setrlimit(
                    Resource::Core,
                    Rlimit {
                        current: Some(0),
                        maximum: Some(0),
                    },
                )
                .unwrap();
                forbid_core_dumps().unwrap();
                assert_eq!(getrlimit(Resource::Core).current, Some(0));
            },
        );
    }

    #[test]
    fn who_ends_at_once_runs_nothing_before() {
        const NAME: &str = "KENIN_SYS_ENDS";
        extern "C" fn at_the_end() {
            std::process::abort();
        }
        if std::env::var_os(NAME).is_some() {
            // SAFETY: a function of this program, which takes nothing.
            let registered = unsafe { libc::atexit(at_the_end) };
            end_at_once(if registered == 0 { 77 } else { 1 });
        }
        let name = "process::tests::who_ends_at_once_runs_nothing_before";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env(NAME, "1");
        let status = child.stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(77), "{status:?}");
    }

    #[test]
    fn descriptors_beyond_the_limit_are_refused() {
        in_a_child(
            "process::tests::descriptors_beyond_the_limit_are_refused",
            || {
                limit_descriptors(16).unwrap();
                let all = (0..16).map(|_| std::fs::File::open("/dev/null"));
                let all: Vec<_> = all.collect();
                assert!(all.first().is_some_and(Result::is_ok));
                assert!(all.last().is_some_and(Result::is_err));
                assert_eq!(getrlimit(Resource::Nofile).maximum, Some(16));
            },
        );
    }

    #[test]
    fn limits_can_be_set() {
        raise_descriptor_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        forbid_core_dumps().unwrap();
        let core = getrlimit(Resource::Core).current;
        assert!(core.is_some_and(|core| core <= 1), "{core:?}");
    }
}
