//! Frames between edge and worker: four octets of length, one that says what it is, and what it is. Both ends are the same
//! program image, so there is no version. Nothing is allocated for a length that is only claimed.

use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To a worker: what it judges by.
    Outfit = 1,
    /// To a worker: a mail, and what is to be done with it.
    Job = 2,
    /// To a worker: what it asked.
    Told = 3,
    /// From a worker: it is ready.
    Ready = 16,
    /// From a worker: a question.
    Ask = 17,
    /// From a worker: what was decided.
    Decided = 18,
    /// From a worker: what was looked for in a mail.
    Found = 19,
    /// From a worker: where it panicked. It ends then.
    Panicked = 20,
    /// From a worker: it cannot map the mail's file, and for this the mail is not to blame. It ends then.
    Unmapped = 21,
    /// From a worker: something that is not answered.
    Note = 22,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Outfit,
        Self::Job,
        Self::Told,
        Self::Ready,
        Self::Ask,
        Self::Decided,
        Self::Found,
        Self::Panicked,
        Self::Unmapped,
        Self::Note,
    ];
}

/// Sends a frame: in one piece, from where it lies. What is in it may have been opened, and is not copied for this.
pub(super) fn send(to: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len().saturating_add(1));
    let length = length.map_err(|_| invalid("a frame is too long"))?;
    let [a, b, c, d] = length.to_be_bytes();
    let head = [a, b, c, d, kind as u8];
    let mut pieces = [IoSlice::new(&head), IoSlice::new(content)];
    let mut left = pieces.as_mut_slice();
    while !left.is_empty() {
        match to.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The next frame, whose content has no more octets than `most`; nothing where the other end has gone between two.
pub(super) fn receive(from: &mut impl Read, most: usize) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; 5];
    let count = loop {
        match from.read(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if count == 0 {
        return Ok(None);
    }
    from.read_exact(head.get_mut(count..).unwrap_or_default())?;
    let [a, b, c, d, kind] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let mut kinds = Kind::ALL.into_iter();
    let kind = kinds.find(|one| *one as u8 == kind);
    let kind = kind.ok_or_else(|| invalid("an unknown kind of frame"))?;
    let length = match length.checked_sub(1) {
        Some(length) if length <= most => length,
        _ => return Err(invalid("a frame is too long")),
    };
    let mut content = Vec::with_capacity(length.min(AT_ONCE));
    let bound = u64::try_from(length).unwrap_or(u64::MAX);
    from.by_ref().take(bound).read_to_end(&mut content)?;
    match content.len() == length {
        true => Ok(Some((kind, content))),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A socket that is used until a time and not longer, however little comes with each read.
pub(super) struct Until<'a> {
    stream: &'a UnixStream,
    end: Instant,
    /// When the socket was told how long it may take.
    told: Option<Instant>,
}

impl<'a> Until<'a> {
    pub(super) const fn new(stream: &'a UnixStream, end: Instant) -> Self {
        Self {
            stream,
            end,
            told: None,
        }
    }

    pub(super) const fn stream(&self) -> &'a UnixStream {
        self.stream
    }

    /// How long it may still take, told to the socket, unless that has just been said: each time costs two system calls.
    fn set(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let left = self.end.saturating_duration_since(now);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.told.is_none_or(|told| now.duration_since(told) > LATE) {
            self.stream.set_read_timeout(Some(left))?;
            self.stream.set_write_timeout(Some(left))?;
            self.told = Some(now);
        }
        Ok(())
    }
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.set()?;
        self.stream.read(into).map_err(late)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.set()?;
        self.stream.write(octets).map_err(late)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.set()?;
        self.stream.write_vectored(pieces).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A time-out has two names.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// How much longer than its time a socket may be used.
const LATE: Duration = Duration::from_millis(10);
/// More than this is not made room for before it has come.
const AT_ONCE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_each_other_and_from_the_end() {
        let mut octets = Vec::new();
        send(&mut octets, Kind::Job, b"mail").unwrap();
        send(&mut octets, Kind::Ready, b"").unwrap();
        let mut stream = octets.as_slice();
        let mut next = || receive(&mut stream, 4).unwrap();
        assert_eq!(next(), Some((Kind::Job, b"mail".to_vec())));
        assert_eq!(next(), Some((Kind::Ready, Vec::new())));
        assert_eq!(next(), None);
    }

    /// Takes a few octets at a time, and is interrupted before each.
    struct Slow {
        taken: Vec<u8>,
        at_once: usize,
        ready: bool,
    }

    impl Write for Slow {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.ready = !self.ready;
            if self.ready {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let (now, _) = octets.split_at(octets.len().min(self.at_once));
            self.taken.extend_from_slice(now);
            Ok(now.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_that_goes_in_pieces_is_the_same() {
        for at_once in 1..=6 {
            let mut slow = Slow {
                taken: Vec::new(),
                at_once,
                ready: false,
            };
            send(&mut slow, Kind::Ready, b"").unwrap();
            send(&mut slow, Kind::Job, b"mail").unwrap();
            assert_eq!(slow.taken, b"\0\0\0\x01\x10\0\0\0\x05\x02mail");
        }
        let mut full = Slow {
            taken: Vec::new(),
            at_once: 0,
            ready: false,
        };
        let failed = send(&mut full, Kind::Job, b"mail").unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn what_is_cut_too_long_or_unknown_is_an_error() {
        for octets in [
            &b"\0"[..],
            b"\0\0\0\x01",
            b"\0\0\0\x05\x02mai",
            b"\0\0\0\x06\x02mails",
            b"\xff\xff\xff\xff\x02",
            b"\0\0\0\0\x02",
            b"\0\0\0\x01\x63",
        ] {
            assert!(receive(&mut &*octets, 4).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn who_says_a_little_now_and_then_is_not_waited_for_longer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"\0\0").unwrap();
        let mut until = Until::new(&ours, Instant::now() + Duration::from_millis(20));
        let error = receive(&mut until, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            until.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
