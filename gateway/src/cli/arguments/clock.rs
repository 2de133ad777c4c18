//! `kenin clock`.

use clap::{Args, Subcommand};

use super::Format;
use crate::exit::Exit;

/// `kenin clock`.
#[derive(Debug, Clone, Args)]
pub struct Clock {
    /// What to do.
    #[command(subcommand)]
    pub command: ClockCommand,
}

/// The verbs of `kenin clock`.
#[derive(Debug, Clone, Subcommand)]
pub enum ClockCommand {
    /// Tell this machine's time and the latest that was believed; a clock that cannot be right is a negative result
    #[command(
        after_help = Exit::help(),
        long_about = "Tell this machine's time, the latest time that was believed (the mark) and whether the clock can be \
                      right by it. One that cannot is a negative result.\n\nWhether the clock has jumped lately is known to \
                      the running service alone: \"kenin health\" asks it."
    )]
    Status {
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Say that this machine's time is right although a later one was believed already
    #[command(
        after_help = Exit::help(),
        long_about = "Take this machine's time for the latest that was believed (the mark), on all nodes of the store.\n\nFor \
                      a clock that was ahead, has raised the mark, and is right now: it would not be trusted until the mark \
                      is reached. Set the clocks of all nodes right first. Whoever does this while the clock is wrong makes \
                      certificates good that have ended: without --force it is said what would be done, and nothing is done."
    )]
    Reset {
        /// Do it: this machine's time is right
        #[arg(long)]
        force: bool,
        /// Say what would change, change nothing
        #[arg(long, conflicts_with = "force")]
        dry_run: bool,
    },
}
