//! `kenin key`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;
use crate::exit::Exit;

/// `kenin key`.
#[derive(Debug, Clone, Args)]
pub struct Key {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// The verbs of `kenin key`. There is none that gives a private key away.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Seal the private keys of a file (PEM, PKCS #8, PKCS #12) into the folder
    #[command(
        after_help = Exit::help(),
        long_about = "Seal the private keys of a file (PEM, PKCS #8, PKCS #12) into the folder of [keys].\n\nEach needs a \
                      certificate: in the same file, or by --certificate. A key that is there already gets the new \
                      certificates and addresses. What it is for follows from its certificates unless --use says it; for \
                      whom it works are the addresses in them unless --for says it. Mail is encrypted for its certificates only \
                      where \"kenin cert import\" has put them into the store, too. A weak key is refused; with --retired \
                      it is taken in to open old mail. The file itself stays as it is: remove it, or keep it where nobody \
                      else comes to."
    )]
    Import(KeyImport),
    /// Seal a new key into the folder for whom an older one works, and retire that
    #[command(
        after_help = Exit::help(),
        long_about = "Seal the private key of a file into the folder for the addresses that another key works for, and \
                      retire that one: it still opens old mail and signs nothing any more."
    )]
    Rotate {
        /// The id of the older key, or the beginning of it
        #[arg(value_name = "ID")]
        old: String,
        /// The new key.
        #[command(flatten)]
        new: KeyImport,
    },
    /// List the keys: whose they are, what they are for, when their certificates end
    #[command(after_help = Exit::help())]
    List {
        /// Only those that work for this mail address; none is a negative result
        #[arg(long, value_name = "ADDRESS")]
        address: Option<String>,
        /// How to write the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show one key, and whether it opens; one that does not is a negative result
    #[command(after_help = Exit::help())]
    Show {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Let a key open old mail and sign nothing any more
    #[command(after_help = Exit::help())]
    Retire {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Seal all keys anew under the passphrase or key that kenin.toml names now
    #[command(
        after_help = Exit::help(),
        long_about = "Seal all keys anew under the passphrase, the key, or what a token guards, as kenin.toml names it now; \
                      the one that they are sealed under still stands under `previous`. It may be begun again where it \
                      ended early."
    )]
    Rekey {
        /// Say what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the key-encryption key that a token guards, as `token_key` of the keys names it
    #[command(
        after_help = Exit::help(),
        long_about = "Make the key-encryption key that a token guards, as `token_key` of [keys] names it: 32 random bytes, \
                      enciphered for the key pair in the token, in a new file that is for its owner alone. They are shown \
                      nowhere and lie nowhere in clear. The token is asked to open them before the file is written. \
                      \"kenin key rekey\" then seals the keys under it that are there already."
    )]
    SealSecret {
        /// Make it and let the token open it, write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Try tokens and keys: whether each would work for the service, and what to do where not
    #[command(
        after_help = Exit::help(),
        long_about = "Try tokens and keys: whether each would work for the service, and what to do where not. Modules of \
                      tokens are loaded, their PINs are tried once, something is signed and opened with each key. A \
                      failure is a negative result."
    )]
    Doctor {
        /// Ids of keys, or their beginnings [default: all]
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// For whom a key works
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Addresses {
        /// What to do.
        #[command(subcommand)]
        command: AddressesCommand,
    },
    /// Remove a key for good: mail that was encrypted for it is lost to everybody here
    #[command(
        after_help = Exit::help(),
        long_about = "Remove a key for good. Mail that was encrypted for it opens nowhere here any more: \"kenin key retire\" \
                      is for keys that were replaced. Without --force it is said what would be done, and nothing is done."
    )]
    Remove {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
        /// Do it
        #[arg(long)]
        force: bool,
        /// Say what would change, change nothing
        #[arg(long, conflicts_with = "force")]
        dry_run: bool,
    },
}

/// What is taken in, by `import` and `rotate`.
#[derive(Debug, Clone, Args)]
pub struct KeyImport {
    /// File with the private keys; - is standard input. With --token the place of the key in it: pkcs11:id=%01
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The key lies in this token of [[keys.token]] and stays there; which it is its --certificate says
    #[arg(
        long,
        value_name = "NAME",
        requires = "certificate",
        conflicts_with = "password_file"
    )]
    pub token: Option<String>,
    /// Certificates of the keys, and what leads up from them: PEM or DER [default: those in FILE]
    #[arg(long, value_name = "FILE")]
    pub certificate: Vec<PathBuf>,
    /// A mail address that it works for [default: those of the key that it replaces, or those in the certificates];
    /// whoever has the certificate can find it out by mail
    #[arg(long = "for", value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    /// What it is for [default: what its certificates allow]
    #[arg(long = "use", value_enum, value_name = "USE")]
    pub uses: Vec<KeyUse>,
    /// File with the password of FILE [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Take it in for old mail only; it may be weak then, and replaces no other key
    #[arg(long)]
    pub retired: bool,
    /// Say what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyUse {
    /// Opens mail that was encrypted for it
    Decrypt,
    /// Signs
    Sign,
}

/// The verbs of `kenin key addresses`.
#[derive(Debug, Clone, Subcommand)]
pub enum AddressesCommand {
    /// Let a key work for more mail addresses: aliases, lists
    #[command(after_help = Exit::help())]
    Add(KeyAddresses),
    /// Let a key work for a mail address no longer
    #[command(after_help = Exit::help())]
    Remove(KeyAddresses),
}

/// A key and addresses.
#[derive(Debug, Clone, Args)]
pub struct KeyAddresses {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// The mail addresses
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
    /// Say what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
}
