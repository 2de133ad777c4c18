//! `kenin encrypt` and `kenin sign`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::TrustOptions;

/// `kenin encrypt`.
#[derive(Debug, Clone, Args)]
pub struct Encrypt {
    /// A recipient's mail address: the certificate is looked up in the store and in the directories
    #[arg(long, value_name = "ADDRESS")]
    pub to: Vec<String>,
    /// A recipient's certificate: a PEM or DER file
    #[arg(long, value_name = "FILE")]
    pub certificate: Vec<PathBuf>,
    /// Encrypt for the files of --certificate without a look at their path and status; key usage and weak keys count
    #[arg(long, requires = "certificate")]
    pub unchecked: bool,
    /// How the content is encrypted [default: what all recipients are known to read, else aes-256-cbc]
    #[arg(long, value_enum, value_name = "CIPHER")]
    pub cipher: Option<Cipher>,
    /// Sign the content first, with a certificate and its private key
    #[arg(long, value_name = "CERT:KEY")]
    pub sign_with: Option<String>,
    /// File with the password of the key file [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Leave the header as it is: no protected copy inside, the Subject readable outside
    #[arg(long)]
    pub no_header_protection: bool,
    /// Write the encrypted message to this file, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Look up and check the certificates and say so, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What to trust.
    #[command(flatten)]
    pub trust: TrustOptions,
    /// Mail to encrypt; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Ciphers that contents are encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cipher {
    /// AES-256-GCM: changes are noticed; many programs of 2026 cannot open it
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    /// AES-128-GCM
    #[value(name = "aes-128-gcm")]
    Aes128Gcm,
    /// AES-256-CBC: every program opens it; sign the content, or nobody notices changes
    #[value(name = "aes-256-cbc")]
    Aes256Cbc,
    /// AES-128-CBC
    #[value(name = "aes-128-cbc")]
    Aes128Cbc,
    /// ChaCha20-Poly1305
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// `kenin sign`.
#[derive(Debug, Clone, Args)]
pub struct Sign {
    /// A certificate and its private key, as CERT:KEY, or one file with both (PEM, PKCS #12)
    #[arg(long, value_name = "CERT:KEY")]
    pub key: Option<String>,
    /// Sign with the key of the folder that kenin.toml names which signs for this mail address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "key")]
    pub sender: Option<String>,
    /// File with the password of the key file [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// One object around the content, which programs without S/MIME cannot read [default: clear-signed]
    #[arg(long)]
    pub opaque: bool,
    /// Say in the signature which ciphers can be read [default: with --sender, where its keys decrypt]
    #[arg(long)]
    pub capabilities: bool,
    /// Leave the header out of the signature
    #[arg(long)]
    pub no_header_protection: bool,
    /// Write the signed message to this file, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Sign and say so, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Mail to sign; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
