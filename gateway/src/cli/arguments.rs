//! The command line as types: clap's derive reads this file, and `completions` and `man` are made
//! from it. Never does any work; each command's module does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

mod cert;
mod clock;
mod crl;
mod decrypt;
mod key;
mod protect;
mod quarantine;
mod trust;

pub use cert::{Cert, CertCommand};
pub use clock::{Clock, ClockCommand};
pub use crl::{Crl, CrlCommand};
pub use decrypt::Decrypt;
pub use key::{AddressesCommand, Key, KeyAddresses, KeyCommand, KeyImport, KeyUse};
pub use protect::{Cipher, Encrypt, Sign};
pub use quarantine::{Quarantine, QuarantineCommand};
pub use trust::{AnchorUse, Disclosure, Trust, TrustAdd, TrustCommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "kenin",
    version,
    about = "A secure-mail gateway that verifies S/MIME and stamps what it found",
    long_about = "Kenin stands on the mail route, verifies S/MIME signatures over the bytes as \
                  received, and stamps what was found. For people whose keys it holds it opens and signs mail, and \
                  encrypts it for those who have certificates. It changes no signed byte and loses no mail.",
    after_help = Exit::help(),
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Configuration file; may be repeated, later ones win [default: $KENIN_CONFIG or
    /// /etc/kenin/kenin.toml; none for verify, explain, and files and keys that are named]
    // Not clap's `env`: what `verify` trusts must stand on its command line.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Colour on standard output
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a reading command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything on this machine: an authority, the gateway, mail that is good and bad
    #[command(after_help = Exit::help())]
    Demo(Demo),
    /// Write a commented configuration and print the lines for the mail server
    #[command(after_help = Exit::help())]
    Init(Init),
    /// Run the service
    #[command(after_help = Exit::help())]
    Run(Run),
    /// What "kenin run" starts to work with private keys; nobody else does
    #[command(hide = true, after_help = Exit::help())]
    KeyProcess(Run),
    /// What "kenin run" starts to parse mail; nobody else does
    #[command(hide = true, after_help = Exit::help())]
    Worker(Worker),
    /// What "kenin run" starts to open mail; nobody else does
    #[command(hide = true, after_help = Exit::help())]
    Template(Worker),
    /// Check the configuration, then what it needs around it
    #[command(after_help = Exit::help())]
    Check(Check),
    /// Verify mail files with the engine of the service
    #[command(after_help = Exit::help(), long_about = "Verify mail files (message/rfc822) or bare CMS files (DER, BER, PEM or \
                  base64; with --content for a detached one) with the same engine as the service.\n\nLone LF \
                  line ends are taken as CRLF, as an SMTP client would have sent them. Several \
                  files are verified in parallel; output keeps the order given. Without --config \
                  only what the options name is trusted.")]
    Verify(Verify),
    /// Explain every step from the bytes of a mail file to its verdict
    #[command(after_help = Exit::help())]
    Explain(Explain),
    /// Open an encrypted mail file with the keys that are named
    #[command(after_help = Exit::help(), long_about = "Open the encrypted layers of a mail file, or of bare CMS, with the keys \
                  that are named, and write the message with the content in their place.\n\nWhat the \
                  whole message is gets opened, layer by layer, also inside a signature over the whole; \
                  a part that is encrypted stays as it is. Signatures inside stay in the message: \
                  \"kenin verify\" judges them. Standard error tells the cipher, and whether anybody \
                  can have changed the content. A layer that stays closed is a negative result.")]
    Decrypt(Decrypt),
    /// Encrypt a mail file for its recipients
    #[command(after_help = Exit::help(), long_about = "Encrypt a mail file for its recipients.\n\nEvery certificate is looked at \
                  anew: it must be the recipient's, lead to a trust anchor, and be known not to be \
                  revoked, as for signatures. If one recipient has none that is good, nothing is \
                  written. --config, or --anchor and the like, say whom to trust.")]
    Encrypt(Encrypt),
    /// Sign a mail file
    #[command(after_help = Exit::help(), long_about = "Sign a mail file: clear-signed, so that every program shows the text, or \
                  --opaque. The algorithm is that of the key.\n\nThe content is made fit for all \
                  relays first, and a copy of the header that people read is signed with it (RFC 9788).")]
    Sign(Sign),
    /// Private keys of people, sealed in a folder; none is ever given away
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Key(Key),
    /// List, add and remove the trust anchors in trust.toml
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Trust(Trust),
    /// Certificates in the store, and the addresses registered to them
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Cert(Cert),
    /// The revocation lists in use, and those that are fetched
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Crl(Crl),
    /// Whether this machine's time can be right, and the latest that was believed
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Clock(Clock),
    /// Mail that is held: look at it, send it on, throw it away
    #[command(after_help = Exit::help(), subcommand_required = true)]
    Quarantine(Quarantine),
    /// Ask the running service whether it is ready
    #[command(after_help = Exit::help())]
    Health(Health),
    /// Print a completion script for a shell
    #[command(after_help = Exit::help())]
    Completions(Completions),
    /// Print the manual page, or write one page a command
    #[command(after_help = Exit::help())]
    Man(Man),
    /// Print the version
    #[command(after_help = Exit::help())]
    Version(Version),
}

/// `kenin demo`.
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// Check the results and end, instead of staying up
    #[arg(long)]
    pub once: bool,
    /// Work in this folder and keep it, instead of in a temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How to write the results
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `kenin init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// What to write: a configuration for a mail server, or a key to seal or wrap mail with
    #[arg(value_enum, default_value_t = MailServer::Postfix)]
    pub server: MailServer,
    /// Where Kenin stands on the route [default: before-queue for Postfix, after-queue for Exim]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Folder to write the configuration to
    #[arg(long, value_name = "DIR", default_value = "/etc/kenin")]
    pub dir: PathBuf,
    /// State folder [default: /var/lib/kenin, or `state` below --dir elsewhere than /etc/kenin]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// This host's name [default: what the system says]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Address the gateway listens on for mail
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10025")]
    pub listen: std::net::SocketAddr,
    /// Address mail is handed on to; a milter hands nothing on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10026")]
    pub next_hop: std::net::SocketAddr,
    /// Address of the health and metrics listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9025")]
    pub http: std::net::SocketAddr,
    /// Service of Postfix's master.cf that takes mail from outside, for --mode before-queue
    /// [default: smtp/inet]
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Domain in whose name changed mail is sealed, for arc
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Selector of the key that is published, for arc [default: kenin]
    #[arg(long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Address that wrapped mail comes from, for wrap
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Make another certificate under the authority that is there, for wrap
    #[arg(long)]
    pub renew: bool,
    /// Overwrite files that exist; never the key
    #[arg(long)]
    pub force: bool,
    /// Say what would be written, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `init` can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MailServer {
    /// Prints `postconf` command lines
    Postfix,
    /// Prints pieces of Exim's configuration; --mode after-queue or lmtp
    Exim,
    /// Makes the key of ARC seals and prints its DNS record; --domain and --selector
    Arc,
    /// Makes the certificate that wrapped mail is signed with, and prints its authority's; --address
    Wrap,
}

/// Where Kenin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// `smtpd_proxy_filter`: before Postfix takes the mail
    BeforeQueue,
    /// `content_filter`, or a router of Exim: after the mail server took it
    AfterQueue,
    /// `smtpd_milters`: Postfix shows the mail and keeps it
    Milter,
    /// The same as after-queue by LMTP: each recipient is answered by itself
    Lmtp,
}

/// `kenin run`.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// How log lines look [default: that of the configuration]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// `kenin worker`, `kenin template`.
#[derive(Debug, Clone, Args)]
pub struct Worker {
    /// Octets of memory that it may have
    #[arg(long, value_name = "OCTETS")]
    pub memory: u64,
}

/// Log formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Pretty,
    /// key=value
    Logfmt,
    /// One JSON object a line
    Json,
}

/// `kenin check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Only the files, not the ports and services around them
    #[arg(long)]
    pub offline: bool,
    /// Warnings count as errors
    #[arg(long)]
    pub deny_warnings: bool,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What to trust, and when.
#[derive(Debug, Clone, Args)]
pub struct TrustOptions {
    /// Trust anchor: a PEM or DER file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub anchor: Vec<PathBuf>,
    /// Intermediate certificates: a PEM or DER file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub intermediate: Vec<PathBuf>,
    /// Revocation lists: a PEM or DER file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub crl: Vec<PathBuf>,
    /// OCSP responses: a DER file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub ocsp: Vec<PathBuf>,
    /// Whether a fresh, trusted revocation status is needed [default: required; with
    /// --config what each anchor says]
    #[arg(long, value_enum, value_name = "RULE")]
    pub revocation: Option<Revocation>,
    /// Time to verify at (RFC 3339), for certificates, revocation lists and OCSP responses alike
    /// [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub at: Option<String>,
    /// Acceptable certificate policy (user-initial-policy-set of RFC 5280)
    #[arg(long, value_name = "OID")]
    pub initial_policy: Vec<String>,
    /// Require a valid certificate policy (initial-explicit-policy)
    #[arg(long)]
    pub require_explicit_policy: bool,
    /// Forbid policy mapping (initial-policy-mapping-inhibit)
    #[arg(long)]
    pub inhibit_policy_mapping: bool,
    /// Do not take anyPolicy for any policy (initial-any-policy-inhibit)
    #[arg(long)]
    pub inhibit_any_policy: bool,
}

/// What a file is judged by: shared by `verify` and `explain`.
#[derive(Debug, Clone, Args)]
pub struct JudgeOptions {
    /// What to trust.
    #[command(flatten)]
    pub trust: TrustOptions,
    /// Content of a detached CMS file
    #[arg(long, value_name = "FILE")]
    pub content: Option<PathBuf>,
}

/// Strictness about revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Revocation {
    /// Without a fresh status the result is `temperror`
    Required,
    /// A status counts when there is one
    IfAvailable,
    /// Not looked at
    Off,
}

/// `kenin verify`.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// What it is judged by.
    #[command(flatten)]
    pub judge: JudgeOptions,
    /// Open encrypted layers first: a certificate and its private key, or one file with both
    #[arg(long, value_name = "CERT:KEY")]
    pub decrypt_with: Vec<String>,
    /// File with the password of these key files [default: asked for at the terminal]
    #[arg(long, value_name = "FILE", requires = "decrypt_with")]
    pub password_file: Option<PathBuf>,
    /// How to write the verdicts
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Files to verify; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `kenin explain`.
#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// What it is judged by.
    #[command(flatten)]
    pub judge: JudgeOptions,
    /// How to write the explanation
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File to explain; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `kenin health`.
#[derive(Debug, Clone, Args)]
pub struct Health {
    /// Wait until it is ready, at most this long
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "60")]
    pub wait: Option<u64>,
    /// Address to ask [default: that of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<std::net::SocketAddr>,
}

/// `kenin completions`.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `kenin man`.
#[derive(Debug, Clone, Args)]
pub struct Man {
    /// Write one page a command to this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `kenin version`.
#[derive(Debug, Clone, Args)]
pub struct Version {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}
