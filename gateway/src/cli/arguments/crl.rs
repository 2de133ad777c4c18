//! `kenin crl`.

use clap::{Args, Subcommand};

use super::Format;
use crate::exit::Exit;

/// `kenin crl`.
#[derive(Debug, Clone, Args)]
pub struct Crl {
    /// What to do.
    #[command(subcommand)]
    pub command: CrlCommand,
}

/// The verbs of `kenin crl`.
#[derive(Debug, Clone, Subcommand)]
pub enum CrlCommand {
    /// List the revocation lists in use; a stale one, or a URL that gave none, is a negative result
    #[command(after_help = Exit::help())]
    Status {
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Fetch lists now; the running service takes over what is newer
    #[command(after_help = Exit::help())]
    Refresh {
        /// URLs as in trust.toml [default: all of them]
        #[arg(value_name = "URL")]
        urls: Vec<String>,
        /// Fetch and judge, but keep nothing
        #[arg(long)]
        dry_run: bool,
    },
}
