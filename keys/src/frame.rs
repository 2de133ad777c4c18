//! Frames on a stream: the thin part that reads and writes, for both ends.

use std::io::{self, Read, Write};

use kenin_pki::crypto::Secret;

use crate::protocol::{LENGTH, MAX_FRAME};

/// The next frame without its length; nothing where the stream has ended between two frames. It may hold a key.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Secret>> {
    let mut length = [0; LENGTH];
    if !begins(stream, &mut length)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(invalid("a frame is too long"));
    }
    let mut frame = vec![0; length];
    let read = stream.read_exact(&mut frame);
    let frame = Secret::new(frame);
    read?;
    Ok(Some(frame))
}

/// Writes a whole frame, with its length.
pub(crate) fn write(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame)?;
    stream.flush()
}

/// What was said is not what is said here.
pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the length, unless the stream has ended before it.
fn begins(stream: &mut impl Read, length: &mut [u8; LENGTH]) -> io::Result<bool> {
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_each_other_and_from_the_end() {
        let mut stream = &b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c"[..];
        let mut next = || {
            let frame = read(&mut stream).unwrap();
            frame.map(|frame| frame.expose().to_vec())
        };
        assert_eq!(next(), Some(b"ab".to_vec()));
        assert_eq!(next(), Some(Vec::new()));
        assert_eq!(next(), Some(b"c".to_vec()));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_cut_or_too_long_ends_the_stream() {
        for mut stream in [&b"\0"[..], b"\0\0\0", b"\0\0\0\x02a", b"\0\x01\0\x01"] {
            assert!(read(&mut stream).is_err());
        }
    }
}
