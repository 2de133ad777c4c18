//! Streams whose reader may go away (`2>&1 | head -1`, `| grep -q`) before a command has done its work: what is written
//! then is dropped, and the work and the exit code are as if somebody had read all of it.
//!
//! Not for a result that is nothing but output: there a reader that went away has what it wanted, and ends the command.

use std::io::{self, Write};

/// What drops what nobody reads any more. Other errors are errors.
pub(super) struct Unheard<W>(W);

impl<W: Write> Write for Unheard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            done => done,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }
}

/// Standard error, for what is said to a person beside the result.
pub(super) fn aside() -> Unheard<io::Stderr> {
    Unheard(io::stderr())
}

/// Standard output, for commands that do more than write, or whose exit code is the answer.
pub(super) fn answer() -> Unheard<io::StdoutLock<'static>> {
    Unheard(io::stdout().lock())
}

/// Says what is odd about the input, if anybody listens.
pub(super) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "kenin: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
        let mut gone = Unheard(Fails(io::ErrorKind::BrokenPipe));
        writeln!(gone, "nobody hears this").unwrap();
        gone.flush().unwrap();
        let mut full = Unheard(Fails(io::ErrorKind::StorageFull));
        assert!(writeln!(full, "nor this").is_err());
        assert!(full.flush().is_err());
    }
}
