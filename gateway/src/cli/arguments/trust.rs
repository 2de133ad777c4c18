//! `kenin trust`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Format, Revocation};
use crate::exit::Exit;

/// `kenin trust`.
#[derive(Debug, Clone, Args)]
pub struct Trust {
    /// What to do.
    #[command(subcommand)]
    pub command: TrustCommand,
}

/// The verbs of `kenin trust`.
#[derive(Debug, Clone, Subcommand)]
pub enum TrustCommand {
    /// List the anchors of trust.toml
    #[command(after_help = Exit::help())]
    List {
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Trust a certificate: copy it to anchors/ and add it to trust.toml
    #[command(after_help = Exit::help())]
    Add(TrustAdd),
    /// Take an anchor out of trust.toml; its file stays
    #[command(after_help = Exit::help())]
    Remove {
        /// Name of the anchor
        name: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// `kenin trust add`.
#[derive(Debug, Clone, Args)]
pub struct TrustAdd {
    /// The certificate, PEM or DER
    pub file: PathBuf,
    /// Name of the anchor [default: made from the subject]
    #[arg(long)]
    pub name: Option<String>,
    /// What it is trusted for
    #[arg(
        long = "use",
        value_enum,
        value_name = "USE",
        default_value = "mail-signing"
    )]
    pub uses: Vec<AnchorUse>,
    /// Whether a fresh revocation status is needed below it
    #[arg(long, value_enum, default_value_t = Revocation::Required, value_name = "RULE")]
    pub revocation: Revocation,
    /// How much of what was found may leave
    #[arg(long, value_enum, default_value_t = Disclosure::Full)]
    pub disclosure: Disclosure,
    /// Add it although it is no authority, has expired, or its key is too short
    #[arg(long)]
    pub force: bool,
    /// Say what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What an anchor is trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnchorUse {
    /// Certificates of people who sign mail
    MailSigning,
    /// Time stamps on signatures (RFC 3161)
    TimeStamping,
}

/// Disclosure of an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Disclosure {
    /// Everything
    Full,
    /// The verdict and nothing of the certificate
    VerdictOnly,
}
