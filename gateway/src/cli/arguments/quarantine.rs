//! `kenin quarantine`.

use clap::{Args, Subcommand};

use super::Format;
use crate::exit::Exit;

/// `kenin quarantine`.
#[derive(Debug, Clone, Args)]
pub struct Quarantine {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// The verbs of `kenin quarantine`.
#[derive(Debug, Clone, Subcommand)]
pub enum QuarantineCommand {
    /// List the mails that are held, the oldest first
    #[command(after_help = Exit::help())]
    List {
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show why a mail is held, and who wrote to whom
    #[command(
        after_help = Exit::help(),
        long_about = "Show why a mail is held, its envelope, and what From, To, Cc, Date, Subject and Message-ID say; nothing \
                      else of its content. --raw writes the mail itself, as it would be sent on."
    )]
    Show {
        /// Its id
        id: String,
        /// Write the mail itself
        #[arg(long, conflicts_with = "format")]
        raw: bool,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Send mails on to the next hop; what it accepts is no longer held
    #[command(
        after_help = Exit::help(),
        long_about = "Send mails on to the next hop, as they would have gone at first. What it accepts is removed, and \
                      only then; what it refuses stays (exit code 1, or 75 where another try may do).\n\nWhere the next hop \
                      is lost after the end of a mail, nobody knows whether it has it: it stays too, and another try may \
                      bring it twice."
    )]
    Release {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Say what would be sent to whom, send nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Throw mails away; nobody is told
    #[command(after_help = Exit::help())]
    Delete {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Say what would be thrown away, throw nothing away
        #[arg(long)]
        dry_run: bool,
    },
    /// Throw away what is kept no longer, as the running service does by itself
    #[command(after_help = Exit::help())]
    Expire {
        /// Say what would be thrown away, throw nothing away
        #[arg(long)]
        dry_run: bool,
    },
}
