//! Exit codes: the number, its words, and errors that carry one. Never decides anything; commands
//! choose.
//!
//! The numbers above 63 are those of `sysexits.h`; 2 is clap's own for a usage error.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done and every answer was the good one.
    Ok,
    /// The work was done and the answer is no: a signature is not `pass`, a check failed.
    Negative,
    /// The command line was wrong.
    Usage,
    /// A file was read but is not what it should be.
    Data,
    /// A file is missing or could not be opened.
    NoInput,
    /// A service could not be reached.
    Unavailable,
    /// Reading or writing failed half-way.
    Io,
    /// Try again later.
    Temporary,
    /// The system refuses.
    NotPermitted,
    /// The configuration is wrong.
    Configuration,
}

impl Exit {
    /// All of them, in the order of the help text.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Negative,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unavailable,
        Self::Io,
        Self::Temporary,
        Self::NotPermitted,
        Self::Configuration,
    ];

    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Io => 74,
            Self::Temporary => 75,
            Self::NotPermitted => 77,
            Self::Configuration => 78,
        }
    }

    /// A few words for help texts and man pages.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Negative => "negative result (a signature is not `pass`, a check failed)",
            Self::Usage => "usage",
            Self::Data => "bad data",
            Self::NoInput => "no input",
            Self::Unavailable => "unavailable",
            Self::Io => "input/output error",
            Self::Temporary => "temporary failure",
            Self::NotPermitted => "not permitted",
            Self::Configuration => "configuration",
        }
    }

    /// The list that every `--help` ends with.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command gave up: a code for the shell and a sentence for the person.
#[derive(Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// The sentence; empty when nothing more need be said.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// An I/O error on a named file: absent files are `NoInput`, the rest as the system says.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let path = path.display();
        let text = match error.kind() {
            // Only the making of a folder ends so.
            io::ErrorKind::AlreadyExists => format!("{path} is there already and is no folder"),
            _ => format!("{path}: {error}"),
        };
        Self::new(exit_of(error), text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Errors of writing to standard output: a reader that closed the pipe has what it wanted.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "");
        }
        Self::new(exit_of(&error), error.to_string())
    }
}

fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Exit::NoInput
        }
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => Exit::Unavailable,
        _ => Exit::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_documentation() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes, [0, 1, 2, 65, 66, 69, 74, 75, 77, 78]);
        assert!(Exit::help().contains("78  configuration"));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit, Exit::Ok);
        let failure = Failure::file(
            std::path::Path::new("x"),
            &io::Error::from(io::ErrorKind::NotFound),
        );
        assert_eq!(failure.exit, Exit::NoInput);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_said_to_be_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = std::fs::create_dir_all(file.path()).unwrap_err();
        let failure = Failure::file(file.path(), &error);
        assert!(failure.message.ends_with("is no folder"), "{failure}");
    }
}
