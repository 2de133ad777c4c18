//! Listening sockets handed over by the service manager (`LISTEN_PID`, `LISTEN_FDS`,
//! `LISTEN_FDNAMES`; sd_listen_fds(3)), and a standard input that is a socket. Never opens one itself.
#![allow(unsafe_code)]

use std::{
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// One listening socket and its `FileDescriptorName=`.
#[derive(Debug)]
pub struct Inherited {
    /// The name, empty when none was given.
    pub name: String,
    /// The socket.
    pub listener: TcpListener,
}

/// Takes over the TCP sockets that the service manager passed. A second call gives none; a
/// descriptor that is no listening TCP socket is left alone: a wrong count must not close what is
/// somebody else's.
#[must_use]
pub fn inherited() -> Vec<Inherited> {
    let meant_for_us = var("LISTEN_PID").and_then(|v| v.parse().ok()) == Some(std::process::id());
    let count: RawFd = var("LISTEN_FDS").and_then(|v| v.parse().ok()).unwrap_or(0);
    if !meant_for_us || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let names = var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let last = FIRST.saturating_add(count.clamp(0, MOST));
    (FIRST..last)
        .filter_map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            // SAFETY: the service manager passed descriptors 3…3+n to this very process
            // (LISTEN_PID is ours), so this one is open. Were it not, the calls below would fail
            // with EBADF and nothing would be kept of it.
            let seen = unsafe { BorrowedFd::borrow_raw(number) };
            if !is_listening_tcp(&seen) {
                return None;
            }
            // SAFETY: it is open and a listening socket that was passed to us to own; nothing else
            // in the process knows of it, and TAKEN makes sure that it is taken once.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            Some(Inherited {
                name,
                listener: TcpListener::from(fd),
            })
        })
        .collect()
}

/// Has what is open, but standard input, output and error, closed in every program that is started from now on. What this
/// program opens is so from the first; what it was handed by whoever has started it is not, and a port among that would be
/// open in processes that are to have no network.
///
/// # Errors
///
/// When the system does not tell what is open.
pub fn close_in_other_programs() -> std::io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<RawFd> = name.to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number >= FIRST) else {
            continue;
        };
        // SAFETY: it was open a moment ago. Where it no longer is, the call fails and changes nothing; where its number is
        // another's by now, that one is to be closed too.
        let open = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(open, rustix::io::FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Takes over what this process has as its standard input, in whose place there is nothing then (`/dev/null`).
///
/// # Errors
///
/// When the system refuses.
pub fn take_standard_input() -> std::io::Result<OwnedFd> {
    let taken = std::io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(taken)
}

fn is_listening_tcp(fd: &impl AsFd) -> bool {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let fd = fd.as_fd();
    sockopt::socket_type(fd) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(fd) == Ok(true)
        && matches!(
            sockopt::socket_domain(fd),
            Ok(AddressFamily::INET | AddressFamily::INET6)
        )
        && rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).is_ok()
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

static TAKEN: AtomicBool = AtomicBool::new(false);
const FIRST: RawFd = 3;
const MOST: RawFd = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::in_a_child;

    /// The key process is started before ports are taken over, and had them open.
    #[test]
    fn what_was_handed_over_is_closed_in_other_programs() {
        in_a_child(
            "inherited::tests::what_was_handed_over_is_closed_in_other_programs",
            || {
                let (handed, _other) = std::os::unix::net::UnixStream::pair().unwrap();
                rustix::io::fcntl_setfd(&handed, rustix::io::FdFlags::empty()).unwrap();
                let number = std::os::fd::AsRawFd::as_raw_fd(&handed).to_string();
                let is_open_there = || {
                    let mut shell = std::process::Command::new("/bin/sh");
                    shell.args(["-c", "[ -e \"/proc/self/fd/$0\" ]", &number]);
                    shell.status().unwrap().success()
                };
                assert!(is_open_there());
                close_in_other_programs().unwrap();
                assert!(!is_open_there());
            },
        );
    }

    #[test]
    fn nothing_is_taken_when_it_is_meant_for_another_process() {
        // The test process has no LISTEN_PID of its own; descriptors 3… belong to others here.
        assert!(inherited().is_empty());
    }

    /// Runs this test binary again, with a socket handed over as the service manager does it.
    #[test]
    fn a_handed_over_socket_is_taken_once() {
        if std::env::var_os("KENIN_SYS_CHILD").is_some() {
            let taken = inherited();
            assert_eq!(taken.len(), 1);
            assert_eq!(taken[0].name, "smtp");
            assert!(taken[0].listener.local_addr().is_ok());
            assert!(inherited().is_empty());
            // The one that is no socket is still open, as is what else the count reached.
            assert!(std::fs::read_link("/proc/self/fd/4").is_ok_and(|to| to.ends_with("null")));
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
        // The second descriptor is no socket and must be left alone; the others do not exist.
        let script = format!(
            "exec 3<&{number} 4</dev/null; [ {number} -le 4 ] || exec {number}<&-; export LISTEN_PID=$$; exec \"$0\" --exact \
             inherited::tests::a_handed_over_socket_is_taken_once"
        );
        let status = std::process::Command::new("bash")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env("KENIN_SYS_CHILD", "1")
            .env("LISTEN_FDS", "40")
            .env("LISTEN_FDNAMES", "smtp:other")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[test]
    fn only_listening_tcp_sockets_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        assert!(is_listening_tcp(&OwnedFd::from(listener)));
        assert!(!is_listening_tcp(&OwnedFd::from(stream)));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_listening_tcp(&OwnedFd::from(file)));
    }
}
