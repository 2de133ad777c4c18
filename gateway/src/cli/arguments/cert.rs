//! `kenin cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;
use crate::exit::Exit;

/// `kenin cert`.
#[derive(Debug, Clone, Args)]
pub struct Cert {
    /// What to do.
    #[command(subcommand)]
    pub command: CertCommand,
}

/// The verbs of `kenin cert`.
#[derive(Debug, Clone, Subcommand)]
pub enum CertCommand {
    /// List the certificates in the store, those that end first first
    #[command(after_help = Exit::help())]
    List {
        /// Only those of this mail address; none is a negative result
        #[arg(long, value_name = "ADDRESS")]
        address: Option<String>,
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Find the certificates of a mail address, in the store and in the directories
    #[command(
        after_help = Exit::help(),
        long_about = "Find the certificates of a mail address: in the store, then in each [[directory]].\n\nWhat is \
                      shown are candidates: nothing is trusted or kept by it. The result is negative when none of \
                      them is valid at this moment, and \"unavailable\" when there is none and a directory did not \
                      answer."
    )]
    Find {
        /// The mail address
        address: String,
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List the certificates that have ended or will end soon
    #[command(after_help = Exit::help())]
    Expiring {
        /// Days from now
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        within: u32,
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show one certificate
    #[command(after_help = Exit::help())]
    Show {
        /// Its SHA-256 fingerprint, or the beginning of it
        #[arg(value_name = "FINGERPRINT")]
        which: String,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print one certificate as PEM
    #[command(after_help = Exit::help())]
    Export {
        /// Its SHA-256 fingerprint, or the beginning of it
        #[arg(value_name = "FINGERPRINT")]
        which: String,
    },
    /// Keep certificates in the store; what they issue is trusted only below an anchor of trust.toml
    #[command(after_help = Exit::help())]
    Import {
        /// Files or folders, PEM or DER
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a certificate and what is registered to it
    #[command(after_help = Exit::help())]
    Remove {
        /// Its SHA-256 fingerprint, or the beginning of it
        #[arg(value_name = "FINGERPRINT")]
        which: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a certificate out of quarantine: from then on it is used
    #[command(after_help = Exit::help())]
    Promote {
        /// Its SHA-256 fingerprint, or the beginning of it
        #[arg(value_name = "FINGERPRINT")]
        which: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Register a mail address to a certificate in which it does not stand, as that of a card
    #[command(after_help = Exit::help())]
    Register {
        /// The mail address
        address: String,
        /// A file with the certificate, or the fingerprint of one in the store
        #[arg(value_name = "FILE|FINGERPRINT")]
        which: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a registration back
    #[command(after_help = Exit::help())]
    Unregister {
        /// The mail address
        address: String,
        /// The fingerprint of the certificate, or the beginning of it
        #[arg(value_name = "FINGERPRINT")]
        which: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl CertCommand {
    /// Whether it may change the store.
    pub fn writes(&self) -> bool {
        match self {
            Self::List { .. }
            | Self::Find { .. }
            | Self::Expiring { .. }
            | Self::Show { .. }
            | Self::Export { .. } => false,
            Self::Import { dry_run, .. }
            | Self::Remove { dry_run, .. }
            | Self::Promote { dry_run, .. }
            | Self::Register { dry_run, .. }
            | Self::Unregister { dry_run, .. } => !dry_run,
        }
    }
}
