//! Asks a person for a secret at the terminal. What is typed is not shown, and the terminal is as it was afterwards,
//! whatever happens to the question.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Writes `prompt` to the terminal of this process and reads a line there, without its end.
///
/// # Errors
/// Where there is no terminal; [`io::ErrorKind::Interrupted`] where the person ends it with Ctrl-C or Ctrl-D; and
/// [`io::ErrorKind::InvalidInput`] for more than a kilobyte.
pub fn ask_for_secret(prompt: &str) -> io::Result<Vec<u8>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let answer = {
        let mut raw = Raw::begin(&terminal)?;
        // Whoever answers at once is not shown either.
        raw.terminal.write_all(prompt.as_bytes())?;
        line(&mut raw.terminal)
    };
    // The end of the line was not shown either.
    terminal.write_all(b"\n")?;
    answer
}

/// A terminal that gives every key as it is pressed and shows none, until this is dropped.
struct Raw<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        // Ctrl-C too is a key then: ended by a signal, the program would leave the terminal mute.
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Flush, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // It was set a moment ago; if it cannot be set now, there is no terminal any more.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// A line as a person types it, with corrections.
fn line(keys: &mut impl Read) -> io::Result<Vec<u8>> {
    // All its room from the beginning, so that it never moves.
    let mut line = Vec::with_capacity(MAX_LINE);
    loop {
        let mut key = [0];
        match keys.read(&mut key) {
            Ok(0) => return Ok(line),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match key {
            [b'\r' | b'\n'] => return Ok(line),
            [CTRL_C | CTRL_D] => return Err(io::ErrorKind::Interrupted.into()),
            [CTRL_U] => line.clear(),
            [BACKSPACE | DELETE] => remove_last(&mut line),
            [_] if line.len() >= MAX_LINE => return Err(io::ErrorKind::InvalidInput.into()),
            [octet] => line.push(octet),
        }
    }
}

/// Takes the last character back, in UTF-8.
fn remove_last(line: &mut Vec<u8>) {
    while let Some(octet) = line.pop() {
        if octet & 0xc0 != 0x80 {
            return;
        }
    }
}

/// Octets that are read.
const MAX_LINE: usize = 1024;
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> io::Result<Vec<u8>> {
        line(&mut keys.as_bytes())
    }

    #[test]
    fn a_line_is_what_is_left_after_corrections() {
        for (keys, expected) in [
            ("secret\rmore", "secret"),
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("secrex\x7ft\r", "secret"),
            ("\x08\x08a\r", "a"),
            ("\u{79d8}\u{5bc6}\x7f\r", "\u{79d8}"),
            ("wrong\x15right\r", "right"),
            (" a b \r", " a b "),
            ("\r", ""),
        ] {
            assert_eq!(typed(keys).unwrap(), expected.as_bytes(), "{keys:?}");
        }
    }

    #[test]
    fn it_ends_when_the_person_ends_it_and_is_bounded() {
        for keys in ["abc\x03\r", "\x04"] {
            let error = typed(keys).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{keys:?}");
        }
        let error = typed(&"x".repeat(MAX_LINE + 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(typed(&"x".repeat(MAX_LINE)).unwrap().len(), MAX_LINE);
    }
}
