//! Frames on a stream: the thin part that reads and writes, for both ends.

use std::io::{self, Read, Write};

use kenin_pki::crypto::Secret;

use crate::protocol::{LENGTH, MAX_FRAME};

/// The frames of a stream. It reads as far as something has come, so that a frame costs one system call and not two; what
/// came of the next frames is kept for them, so nobody else can read from the stream.
#[derive(Debug)]
pub(crate) struct Frames<S> {
    stream: S,
    /// It may hold a key.
    ahead: Secret,
}

impl<S> Frames<S> {
    /// From the beginning of a frame.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Secret::new(Vec::new()),
        }
    }

    /// For writing.
    pub(crate) const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: Read> Frames<S> {
    /// The next frame without its length; nothing where the stream has ended between two frames. It may hold a key.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Secret>> {
        while self.ahead.len() < LENGTH {
            if !self.read_on()? {
                return Ok(None);
            }
        }
        let Some((length, came)) = self.ahead.expose().split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(invalid("a frame is too long"));
        }
        let (own, of_next) = came.split_at_checked(length).unwrap_or((came, &[]));
        let mut frame = Vec::with_capacity(length);
        frame.extend_from_slice(own);
        frame.resize(length, 0);
        let read = match frame.get_mut(own.len()..) {
            Some(rest) if !rest.is_empty() => self.stream.read_exact(rest),
            _ => Ok(()),
        };
        let frame = Secret::new(frame);
        self.ahead = Secret::new(of_next.to_vec());
        read?;
        Ok(Some(frame))
    }

    /// Waits for more octets; false where the stream has ended between two frames.
    fn read_on(&mut self) -> io::Result<bool> {
        let mut octets = vec![0; AHEAD];
        let read = loop {
            match self.stream.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let octets = Secret::new(octets);
        let more = octets.expose().get(..read?).unwrap_or_default();
        if more.is_empty() && !self.ahead.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.ahead = Secret::new([self.ahead.expose(), more].concat());
        Ok(!more.is_empty())
    }
}

/// Writes a whole frame, with its length.
pub(crate) fn write(mut stream: impl Write, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame)?;
    stream.flush()
}

/// What was said is not what is said here.
pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Octets that are read at once: more than most frames have.
const AHEAD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many octets at once, and counts how often it is asked.
    struct Slow<'a> {
        octets: &'a [u8],
        at_once: usize,
        asked: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.asked += 1;
            if self.asked.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let room = into.len().min(self.at_once);
            self.octets.read(&mut into[..room])
        }
    }

    /// All frames, and how often the stream was asked for them.
    fn all(octets: &[u8], at_once: usize) -> (Vec<Vec<u8>>, usize) {
        let mut frames = Frames::new(Slow {
            octets,
            at_once,
            asked: 0,
        });
        let mut all = Vec::new();
        while let Some(frame) = frames.next_frame().unwrap() {
            all.push(frame.expose().to_vec());
        }
        (all, frames.stream().asked)
    }

    fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let with_length = |frame: &Vec<u8>| {
            let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
            [&length[..], &frame[..]].concat()
        };
        frames.iter().flat_map(with_length).collect()
    }

    #[test]
    fn frames_are_told_from_each_other_and_from_the_end() {
        let lengths = [
            2,
            0,
            1,
            AHEAD - 5,
            AHEAD - 4,
            AHEAD - 3,
            AHEAD,
            3 * AHEAD,
            MAX_FRAME,
            0,
            7,
        ];
        let frames = (b'a'..).zip(lengths);
        let frames: Vec<_> = frames.map(|(octet, len)| vec![octet; len]).collect();
        let octets = written(&frames);
        for at_once in [1, 2, 3, 4, 5, AHEAD - 1, AHEAD, usize::MAX] {
            assert_eq!(all(&octets, at_once).0, frames, "{at_once}");
        }
    }

    #[test]
    fn what_has_come_is_read_at_once() {
        let frames: Vec<_> = (0..5).map(|octet| vec![octet; 100]).collect();
        let octets = written(&frames);
        // All of them, and the end.
        assert_eq!(all(&octets, usize::MAX).1, 2);
    }

    #[test]
    fn what_is_cut_or_too_long_ends_the_stream() {
        for stream in [&b"\0"[..], b"\0\0\0", b"\0\0\0\x02a", b"\0\x01\0\x01"] {
            assert!(Frames::new(stream).next_frame().is_err());
        }
        let mut second = Frames::new(&b"\0\0\0\x01a\0\0"[..]);
        assert!(second.next_frame().is_ok());
        assert!(second.next_frame().is_err());
    }
}
