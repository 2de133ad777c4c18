//! Descriptors on their way to another process, over a socket that both have (unix(7), SCM_RIGHTS). Each goes with octets
//! of the stream: one that says nothing, or some that say what it is. Never opens anything.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};

/// Gives another process what this descriptor is of.
///
/// # Errors
///
/// When the socket has ended, or the system refuses.
pub fn send_descriptor(over: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    send_descriptor_with(over, descriptor, &[0])
}

/// The same, with octets that say what it is: a few, since they go at once or not at all.
///
/// # Errors
///
/// As [`send_descriptor`].
pub fn send_descriptor_with(
    over: BorrowedFd<'_>,
    descriptor: BorrowedFd<'_>,
    octets: &[u8],
) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let content = [IoSlice::new(octets)];
        match sendmsg(over, &content, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Ok(sent) if sent == octets.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes what another process gives; nothing where the socket has ended. It is closed where another program is started.
///
/// # Errors
///
/// When something else came, or the system refuses.
pub fn receive_descriptor(over: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let came = receive_descriptor_with::<1>(over)?;
    Ok(came.map(|(descriptor, _)| descriptor))
}

/// The same, with what was said of it ([`send_descriptor_with`]).
///
/// # Errors
///
/// As [`receive_descriptor`], and when less was said.
pub fn receive_descriptor_with<const N: usize>(
    over: BorrowedFd<'_>,
) -> io::Result<Option<(OwnedFd, [u8; N])>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut octets = [0; N];
        let mut into = [IoSliceMut::new(&mut octets)];
        match recvmsg(over, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(received) if received.bytes == 0 => return Ok(None),
            Ok(received) => {
                let came = control.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                    _ => None,
                });
                return match came {
                    Some(descriptor) if received.bytes == N => Ok(Some((descriptor, octets))),
                    Some(_) => Err(invalid("too little is said of a descriptor")),
                    None => Err(invalid("no descriptor came")),
                };
            }
        }
    }
}

/// Whether the other end of a socket is there, and has said nothing that is not taken yet. Waits for nothing.
#[must_use]
pub fn is_quiet(socket: BorrowedFd<'_>) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(recv(socket, &mut [0; 1], flags), Err(Errno::AGAIN))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_file_arrives_in_its_place_in_the_stream() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile();
        file.write_all(b"content").unwrap();
        file.rewind().unwrap();
        ours.write_all(b"before").unwrap();
        send_descriptor(ours.as_fd(), file.as_fd()).unwrap();
        ours.write_all(b"after").unwrap();
        drop((ours, file));
        let mut before = [0; 6];
        theirs.read_exact(&mut before).unwrap();
        assert_eq!(&before, b"before");
        let came = receive_descriptor(theirs.as_fd()).unwrap().unwrap();
        let mut content = String::new();
        File::from(came).read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let mut after = [0; 5];
        theirs.read_exact(&mut after).unwrap();
        assert_eq!(&after, b"after");
        assert!(receive_descriptor(theirs.as_fd()).unwrap().is_none());
    }

    #[test]
    fn what_is_said_of_a_descriptor_comes_with_it_and_too_little_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let file = tempfile();
        for said in [b"one", b"two"] {
            send_descriptor_with(ours.as_fd(), file.as_fd(), said).unwrap();
        }
        send_descriptor(ours.as_fd(), file.as_fd()).unwrap();
        for said in [b"one", b"two"] {
            let came = receive_descriptor_with::<3>(theirs.as_fd()).unwrap();
            assert_eq!(&came.unwrap().1, said);
        }
        let error = receive_descriptor_with::<3>(theirs.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_octet_without_a_descriptor_is_an_error() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        let error = receive_descriptor(theirs.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(theirs);
        let file = tempfile();
        assert!(send_descriptor(ours.as_fd(), file.as_fd()).is_err());
    }

    /// A file without a name.
    fn tempfile() -> File {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = openat(
            CWD,
            std::env::temp_dir().as_path(),
            flags,
            Mode::RUSR | Mode::WUSR,
        );
        made.unwrap().into()
    }
}
