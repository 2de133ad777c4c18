//! Takes from a process what it does not need, for ever: system calls (seccomp), and files (Landlock). It gives nothing
//! back and asks nobody.
//!
//! It is called when the process has opened all that it needs and before it has heard anything from outside. Landlock
//! holds for the thread that calls and those that it starts, so it is called before any other thread is.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};
use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, BpfProgramRef, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Parses mail: it computes, and reads and writes what is open already.
    Worker,
    /// Doubles itself for whoever says so ([`crate::Template`]): as a worker, but that it begins processes and ends them, and no
    /// threads.
    Template,
    /// Works with private keys: as a worker, and it locks memory.
    Keys,
    /// Works with private keys, of which some are in tokens: what speaks with these may use files, and sockets that have no
    /// network. Files stay within reach of the threads that have begun before, and of those that these begin.
    Tokens,
}

/// What happens to a system call that a process may not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Otherwise {
    /// It fails with EPERM.
    Refuse,
    /// The process is killed.
    Kill,
}

/// How far files are out of reach. System calls always are, or there is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Files {
    /// As far as is known how.
    OutOfReach,
    /// As far as this kernel can.
    Partly,
    /// Not at all: this kernel has no Landlock. That no file can be opened rests on system calls alone then, and with
    /// [`Role::Tokens`] on nothing.
    ByCallsOnly,
}

/// Confines this process. Randomness must have been used before, and time and locale have been asked for: what a library
/// opens at its first use cannot be opened later.
///
/// # Errors
///
/// When the system refuses; the process must not go on then.
pub fn confine(role: Role, otherwise: Otherwise) -> io::Result<Files> {
    let files = restrict_files()?;
    restrict_calls(role, otherwise)?;
    Ok(files)
}

/// No file can be opened, made, renamed or removed by its name any more.
fn restrict_files() -> io::Result<Files> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(Ruleset::create)
        .and_then(|created| created.restrict_self())
        .map_err(io::Error::other)?;
    Ok(match ruleset.ruleset {
        RulesetStatus::FullyEnforced => Files::OutOfReach,
        RulesetStatus::PartiallyEnforced => Files::Partly,
        RulesetStatus::NotEnforced => Files::ByCallsOnly,
    })
}

/// What a copy of a template takes from itself, so that what is left to it is what a worker may, without threads. It is made
/// before, and says no more than that: each copy has the kernel translate it anew.
pub(crate) fn for_copies(otherwise: Otherwise) -> io::Result<BpfProgram> {
    let worker = allowed(Role::Worker)?;
    let mut less = BTreeMap::new();
    for (call, rules) in allowed(Role::Template)? {
        let Some(kept) = worker.get(&call) else {
            less.insert(call, Vec::new());
            continue;
        };
        let gone: Vec<SeccompRule> = rules
            .into_iter()
            .filter(|rule| !kept.contains(rule))
            .collect();
        // No rules at all would be all of the call.
        if !gone.is_empty() {
            less.insert(call, gone);
        }
    }
    less.insert(libc::SYS_clone, Vec::new());
    // The number of this process is not the copy's. Whoever aborts ends all the same.
    less.insert(libc::SYS_tgkill, Vec::new());
    filter(less, SeccompAction::Allow, denied(otherwise))
}

/// Adds a filter to those that this process has.
pub(crate) fn restrict_further(program: BpfProgramRef<'_>) -> io::Result<()> {
    seccompiler::apply_filter_all_threads(program).map_err(io::Error::other)
}

fn denied(otherwise: Otherwise) -> SeccompAction {
    match otherwise {
        Otherwise::Refuse => errno(libc::EPERM),
        Otherwise::Kill => SeccompAction::KillProcess,
    }
}

fn restrict_calls(role: Role, otherwise: Otherwise) -> io::Result<()> {
    // What flags clone3 has cannot be seen by a filter. Where it is not there, the library takes clone.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let no_clone3 = filter(no_clone3, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let allowed = filter(allowed(role)?, denied(otherwise), SeccompAction::Allow)?;
    for program in [no_clone3, allowed] {
        restrict_further(&program)?;
    }
    Ok(())
}

fn filter(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> io::Result<BpfProgram> {
    let made = TargetArch::try_from(std::env::consts::ARCH)
        .and_then(|arch| SeccompFilter::new(rules, otherwise, matching, arch))
        .and_then(BpfProgram::try_from);
    made.map_err(io::Error::other)
}

fn errno(number: c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// The system calls that a process may make, with what must hold of their arguments.
fn allowed(role: Role) -> io::Result<BTreeMap<c_long, Vec<SeccompRule>>> {
    let mut rules = BTreeMap::new();
    let (more, files) = match role {
        Role::Worker => (&[][..], &[][..]),
        Role::Template => (FOR_TEMPLATES, &[][..]),
        Role::Keys => (FOR_KEYS, &[][..]),
        Role::Tokens => (FOR_KEYS, FOR_FILES),
    };
    for call in COMPUTING.iter().chain(TALKING).chain(more).chain(files) {
        rules.insert(*call, Vec::new());
    }
    let exec = number(libc::PROT_EXEC);
    let thread = number(libc::CLONE_VM | libc::CLONE_THREAD);
    let own = u64::from(std::process::id());
    let restricted = [
        // Nothing that was written is run.
        (libc::SYS_mmap, vec![masked(2, exec, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, exec, 0)?]),
        // Threads, and no processes.
        (libc::SYS_clone, vec![masked(0, thread, thread)?]),
        // Signals to itself: how a process aborts.
        (libc::SYS_tgkill, vec![equal(0, own)?]),
        (
            libc::SYS_prctl,
            vec![equal(0, number(libc::PR_SET_NAME))?, equal(0, PR_SET_VMA)?],
        ),
        // Whether a socket waits.
        (libc::SYS_ioctl, vec![equal(1, FIONBIO)?]),
        (
            libc::SYS_fcntl,
            vec![
                equal(1, number(libc::F_GETFD))?,
                equal(1, number(libc::F_SETFD))?,
                equal(1, number(libc::F_GETFL))?,
                equal(1, number(libc::F_SETFL))?,
                equal(1, number(libc::F_DUPFD_CLOEXEC))?,
            ],
        ),
    ];
    rules.extend(restricted);
    if role == Role::Template {
        // Processes, and no threads: what fork(2) asks for, with one C library or another.
        let process = number(libc::SIGCHLD);
        let told = number(libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID);
        let forks = vec![equal(0, process | told)?, equal(0, process)?];
        rules.insert(libc::SYS_clone, forks);
        // Their end.
        let kill = equal(1, number(libc::SIGKILL))?;
        rules.insert(libc::SYS_kill, vec![kill]);
        // What they do before they are confined further.
        let further = rules.entry(libc::SYS_prctl).or_default();
        for what in [libc::PR_SET_PDEATHSIG, libc::PR_SET_NO_NEW_PRIVS] {
            further.push(equal(0, number(what))?);
        }
        let filters = equal(0, u64::from(libc::SECCOMP_SET_MODE_FILTER))?;
        rules.insert(libc::SYS_seccomp, vec![filters]);
    }
    if role == Role::Tokens {
        let written = number(libc::PROT_WRITE | libc::PROT_EXEC);
        // Libraries of a library, loaded when they are needed: what is run is not written.
        let run = masked(2, written, exec)?;
        rules.entry(libc::SYS_mmap).or_default().push(run);
        // Locks of files.
        let locks = rules.entry(libc::SYS_fcntl).or_default();
        for command in [libc::F_GETLK, libc::F_SETLK, libc::F_SETLKW, libc::F_DUPFD] {
            locks.push(equal(1, number(command))?);
        }
        let local = equal(0, number(libc::AF_UNIX))?;
        rules.insert(libc::SYS_socket, vec![local]);
    }
    Ok(rules)
}

/// The argument at this place has these bits of those of the mask.
fn masked(place: u8, mask: u64, bits: u64) -> io::Result<SeccompRule> {
    rule(place, SeccompCmpOp::MaskedEq(mask), bits)
}

/// The argument at this place is this number.
fn equal(place: u8, value: u64) -> io::Result<SeccompRule> {
    rule(place, SeccompCmpOp::Eq, value)
}

fn rule(place: u8, operation: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    // The kernel looks at 32 bits of all of these arguments.
    SeccompCondition::new(place, SeccompCmpArgLen::Dword, operation, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(io::Error::other)
}

/// A constant of the C library that is not negative.
fn number(constant: c_int) -> u64 {
    u64::from(constant.unsigned_abs())
}

const FIONBIO: u64 = 0x5421;
/// Gives a piece of memory a name, as the C library does.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// Memory, threads, time, randomness, and how a process ends.
const COMPUTING: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    // Another filter says that it is not there.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];
/// Reading and writing what is open.
const TALKING: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_fstat,
    libc::SYS_getsockopt,
    libc::SYS_lseek,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_write,
    libc::SYS_writev,
];
const FOR_TEMPLATES: &[c_long] = &[libc::SYS_getppid, libc::SYS_wait4];
const FOR_KEYS: &[c_long] = &[libc::SYS_mlock, libc::SYS_munlock];
/// What modules of tokens do: they keep objects in files, and speak with the daemons of readers.
const FOR_FILES: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getppid,
    libc::SYS_getsockname,
    libc::SYS_getuid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    libc::SYS_setsockopt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_unlinkat,
];

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::os::unix::process::parent_id;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use rustix::fs::{Mode, OFlags, openat};
    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;
    use crate::testing::{in_a_child, killed_in_a_child};
    use crate::{receive_descriptor, send_descriptor};

    /// Whether something was refused.
    fn refused<T>(tried: io::Result<T>) -> bool {
        tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// KEY-03: whoever runs their own code in a worker reaches no file, no network and no other process.
    #[test]
    fn a_worker_computes_and_talks_and_can_do_nothing_else() {
        in_a_child(
            "confine::tests::a_worker_computes_and_talks_and_can_do_nothing_else",
            || {
                let (mut ours, mut theirs) = UnixStream::pair().unwrap();
                let folder = std::env::temp_dir();
                let address = TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap();
                confine(Role::Worker, Otherwise::Refuse).unwrap();
                assert!(refused(File::open("/etc/passwd")));
                assert!(refused(File::create(folder.join("kenin-confined"))));
                assert!(refused(fs::remove_file(folder.join("kenin-confined"))));
                assert!(refused(fs::read_dir("/")));
                assert!(refused(TcpStream::connect(address)));
                assert!(refused(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))));
                assert!(refused(UnixStream::connect("/run/kenin")));
                assert!(refused(Command::new("/bin/true").status()));
                // It works all the same: threads, memory, its sockets.
                let thread = thread::spawn(move || {
                    let mut heard = [0; 5];
                    theirs.read_exact(&mut heard).unwrap();
                    heard
                });
                ours.write_all(b"hello").unwrap();
                assert_eq!(&thread.join().unwrap(), b"hello");
                assert_eq!(
                    vec![1_u8; 64 << 20]
                        .iter()
                        .map(|one| usize::from(*one))
                        .sum::<usize>(),
                    64 << 20
                );
                ours.set_nonblocking(true).unwrap();
                assert!(ours.try_clone().is_ok());
            },
        );
    }

    /// KEY-03: as the user whose keys lie there, with a folder open, by whatever call.
    #[test]
    fn a_worker_opens_no_key_file_and_no_socket() {
        let place = |owner: u32| std::env::temp_dir().join(format!("kenin-key-{owner}"));
        in_a_child(
            "confine::tests::a_worker_opens_no_key_file_and_no_socket",
            || {
                let folder = place(parent_id());
                fs::create_dir(&folder).unwrap();
                let (key, other) = (folder.join("key"), folder.join("other"));
                let mut options = File::options();
                let made = options.write(true).create_new(true).mode(0o600).open(&key);
                made.unwrap().write_all(b"private").unwrap();
                let opened = File::open(&folder).unwrap();
                let beside = |flags| {
                    let found = openat(&opened, "key", flags, Mode::empty());
                    found.map_err(io::Error::from)
                };
                // Its own user may, until now.
                assert_eq!(fs::read(&key).unwrap(), b"private");
                assert!(beside(OFlags::RDONLY).is_ok());
                assert!(UnixStream::pair().is_ok());
                confine(Role::Worker, Otherwise::Refuse).unwrap();
                assert!(refused(File::open(&key)));
                assert!(refused(File::options().write(true).open(&key)));
                for flags in [OFlags::RDONLY, OFlags::RDWR, OFlags::PATH] {
                    assert!(refused(beside(flags)));
                }
                assert!(refused(fs::metadata(&key)));
                assert!(refused(fs::read_dir(&folder)));
                assert!(refused(fs::hard_link(&key, &other)));
                assert!(refused(fs::rename(&key, &other)));
                assert!(refused(fs::copy(&key, &other)));
                assert!(refused(fs::remove_file(&key)));
                assert!(refused(fs::set_permissions(
                    &key,
                    Permissions::from_mode(0o644)
                )));
                for family in [
                    AddressFamily::INET,
                    AddressFamily::INET6,
                    AddressFamily::UNIX,
                    AddressFamily::NETLINK,
                ] {
                    for kind in [SocketType::STREAM, SocketType::DGRAM, SocketType::RAW] {
                        let made = socket(family, kind, None).map_err(io::Error::from);
                        assert!(refused(made), "{family:?} {kind:?}");
                    }
                }
                assert!(refused(UnixStream::pair()));
            },
        );
        // Who is confined cannot do that either.
        let _ = fs::remove_dir_all(place(std::process::id()));
    }

    #[test]
    fn the_key_process_is_handed_connections_and_makes_none() {
        in_a_child(
            "confine::tests::the_key_process_is_handed_connections_and_makes_none",
            || {
                let folder = std::env::temp_dir();
                let path = folder.join(format!("kenin-confine-{}", std::process::id()));
                let listener = UnixListener::bind(&path).unwrap();
                fs::remove_file(&path).unwrap();
                let (door, inside) = UnixStream::pair().unwrap();
                let (mut ours, theirs) = UnixStream::pair().unwrap();
                send_descriptor(door.as_fd(), theirs.as_fd()).unwrap();
                confine(Role::Keys, Otherwise::Refuse).unwrap();
                let handed = receive_descriptor(inside.as_fd()).unwrap().unwrap();
                UnixStream::from(handed).write_all(b"x").unwrap();
                let mut heard = [0];
                ours.read_exact(&mut heard).unwrap();
                assert!(refused(UnixStream::connect(&path)));
                assert!(refused(listener.accept()));
                assert!(refused(File::open("/etc/passwd")));
            },
        );
    }

    /// A module's threads begin before, and what hears workers begins after.
    #[test]
    fn what_speaks_with_tokens_reaches_files_and_no_network() {
        in_a_child(
            "confine::tests::what_speaks_with_tokens_reaches_files_and_no_network",
            || {
                let (go, begun) = mpsc::channel();
                let (answer, heard) = mpsc::channel();
                thread::spawn(move || {
                    begun.recv().unwrap();
                    let path = std::env::temp_dir();
                    let path = path.join(format!("kenin-token-{}", std::process::id()));
                    let file = File::create(&path).and_then(|file| file.sync_all());
                    let read = fs::read(&path);
                    let removed = fs::remove_file(&path);
                    answer.send((file, read, removed)).unwrap();
                });
                let address = TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap();
                let files = confine(Role::Tokens, Otherwise::Refuse).unwrap();
                go.send(()).unwrap();
                let (file, read, removed) = heard.recv().unwrap();
                file.unwrap();
                assert!(read.unwrap().is_empty());
                removed.unwrap();
                assert!(refused(TcpStream::connect(address)));
                assert!(refused(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))));
                assert!(refused(Command::new("/bin/true").status()));
                // Whom it may speak with is not here.
                let daemon = UnixStream::connect("/nonexistent/pcscd.comm");
                assert_eq!(daemon.unwrap_err().kind(), io::ErrorKind::NotFound);
                if files == Files::OutOfReach {
                    assert!(refused(File::open("/etc/passwd")));
                    let after = thread::spawn(|| refused(File::open("/etc/passwd")));
                    assert!(after.join().unwrap());
                }
            },
        );
    }

    /// A call that a template may make without conditions, and a worker with some, would be left to a copy as it is.
    #[test]
    fn what_a_copy_may_can_be_said_by_what_is_taken_from_it() {
        let worker = allowed(Role::Worker).unwrap();
        for (call, rules) in allowed(Role::Template).unwrap() {
            let conditions = worker.get(&call).is_some_and(|kept| !kept.is_empty());
            assert!(!rules.is_empty() || !conditions, "{call}");
        }
    }

    #[test]
    fn a_worker_takes_no_connections() {
        in_a_child("confine::tests::a_worker_takes_no_connections", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            confine(Role::Worker, Otherwise::Refuse).unwrap();
            assert!(refused(listener.accept()));
        });
    }

    #[test]
    fn who_is_to_be_killed_is_killed() {
        killed_in_a_child(
            "confine::tests::who_is_to_be_killed_is_killed",
            libc::SIGSYS,
            || {
                confine(Role::Worker, Otherwise::Kill).unwrap();
                let _ = File::open("/etc/passwd");
            },
        );
    }

    /// Without the filter of system calls.
    #[test]
    fn files_are_out_of_reach_where_the_kernel_can() {
        in_a_child(
            "confine::tests::files_are_out_of_reach_where_the_kernel_can",
            || {
                let open = || File::open("/etc/passwd");
                assert!(open().is_ok());
                match restrict_files().unwrap() {
                    Files::OutOfReach | Files::Partly => assert!(refused(open())),
                    Files::ByCallsOnly => assert!(open().is_ok(), "this kernel has no Landlock"),
                }
            },
        );
    }
}
