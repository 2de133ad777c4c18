//! `kenin decrypt`.

use std::path::PathBuf;

use clap::Args;

/// `kenin decrypt`.
#[derive(Debug, Clone, Args)]
pub struct Decrypt {
    /// A certificate and its private key, as CERT:KEY, or one file with both (PEM, PKCS #12)
    #[arg(long, value_name = "CERT:KEY")]
    pub key: Vec<String>,
    /// Open with the keys of the folder that kenin.toml names which work for this mail address
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Vec<String>,
    /// File with the password of the key files [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Open what old programs encrypted too: Triple DES, RC2
    #[arg(long)]
    pub legacy: bool,
    /// Write the opened message to this file, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Open and say so, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// File to open: a mail, or bare CMS in DER, BER, PEM or base64; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
