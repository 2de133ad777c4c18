//! `kenin init postfix|exim|arc|wrap`: a commented configuration, keys, and the exact lines for the
//! mail server.
//!
//! Nothing of the mail server is touched: the lines are printed, for the admin to read and use. No
//! file that exists is overwritten without `force`, and the key never.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use crate::config::ListenerMode as Mode;

mod arc;
mod exim;
mod lines;
mod wrap;

pub use arc::{ArcOptions, arc};
pub use wrap::{WrapOptions, wrap};

/// What the command line says about `kenin init`.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Before-queue proxy, after-queue filter (by SMTP or LMTP), or milter.
    pub mode: Mode,
    /// Folder of the configuration (`/etc/kenin`).
    pub dir: PathBuf,
    /// Folder of the state (`/var/lib/kenin`).
    pub state_dir: PathBuf,
    /// This host's name; authserv-id becomes `smime.<hostname>`.
    pub hostname: String,
    /// Where Kenin listens (127.0.0.1:10025).
    pub listen: SocketAddr,
    /// Where the mail server takes the mail back (127.0.0.1:10026).
    pub reinject: SocketAddr,
    /// Metrics and health listener (127.0.0.1:9025).
    pub http: SocketAddr,
    /// The service of `master.cf` that takes mail from outside (`smtp/inet`).
    pub service: String,
    /// Overwrite files that exist (never the key).
    pub force: bool,
    /// Write nothing.
    pub dry_run: bool,
}

impl InitOptions {
    /// The usual addresses and folders.
    pub fn new(mode: Mode, hostname: impl Into<String>) -> Self {
        Self {
            mode,
            dir: PathBuf::from("/etc/kenin"),
            state_dir: PathBuf::from("/var/lib/kenin"),
            hostname: hostname.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 10025)),
            reinject: SocketAddr::from(([127, 0, 0, 1], 10026)),
            http: SocketAddr::from(([127, 0, 0, 1], 9025)),
            service: "smtp/inet".to_owned(),
            force: false,
            dry_run: false,
        }
    }
}

/// What was (or, with `dry_run`, would be) done.
#[derive(Debug, Clone)]
pub struct Initialized {
    /// Files and folders written, in order.
    pub written: Vec<PathBuf>,
    /// For stdout: `postconf` command lines that a shell executes as printed, or the pieces of
    /// Exim's configuration.
    pub lines: String,
    /// For stderr: what to do next.
    pub notes: String,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file is there already and `force` is not given.
    #[error("{path} exists; --force overwrites it", path = .0.display())]
    Exists(PathBuf),
    /// The options make no configuration that could be used.
    #[error("{0}")]
    Usage(String),
    /// Writing failed.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Writes the configuration for Postfix.
pub fn postfix(options: &InitOptions) -> Result<Initialized, InitError> {
    if options.service.split('/').count() != 2 || options.service.contains(char::is_whitespace) {
        let text = format!(
            "\"{}\" is no service of master.cf; write smtp/inet",
            options.service
        );
        return Err(InitError::Usage(text));
    }
    Ok(Initialized {
        written: write(options)?,
        lines: lines::postfix(options),
        notes: lines::notes(options),
    })
}

/// Writes the configuration for Exim.
pub fn exim(options: &InitOptions) -> Result<Initialized, InitError> {
    exim::fits(options).map_err(InitError::Usage)?;
    Ok(Initialized {
        written: write(options)?,
        lines: exim::pieces(options),
        notes: exim::notes(options),
    })
}

/// Writes what does not depend on the mail server.
fn write(options: &InitOptions) -> Result<Vec<PathBuf>, InitError> {
    let files = [
        ("kenin.toml", fill(KENIN, options)),
        ("trust.toml", fill(TRUST, options)),
        ("mail.toml", fill(MAIL, options)),
    ];
    for (name, text) in &files {
        let path = options.dir.join(name);
        if *name == "kenin.toml" {
            crate::config::Config::parse(text, &path)
                .map_err(|error| InitError::Usage(error.message))?;
        }
        if !options.force && path.exists() {
            return Err(InitError::Exists(path));
        }
    }
    let mut writer = Writer {
        dry_run: options.dry_run,
        written: Vec::new(),
    };
    writer.folder(&options.dir, 0o755)?;
    for name in ["anchors", "intermediates", "crls"] {
        writer.folder(&options.dir.join(name), 0o755)?;
    }
    writer.folder(&options.state_dir, 0o750)?;
    for (name, text) in files {
        writer.file(&options.dir.join(name), text.as_bytes(), 0o644)?;
    }
    writer.key(&options.dir.join("stamp.key"))?;
    let own = WrapOptions {
        dir: options.dir.clone(),
        address: None,
        hostname: options.hostname.clone(),
        renew: false,
        dry_run: options.dry_run,
    };
    wrap::make(&mut writer, &own)?;
    Ok(writer.written)
}

struct Writer {
    dry_run: bool,
    written: Vec<PathBuf>,
}

impl Writer {
    fn folder(&mut self, path: &Path, mode: u32) -> Result<(), InitError> {
        if path.is_dir() {
            return Ok(());
        }
        self.written.push(path.to_owned());
        if self.dry_run {
            return Ok(());
        }
        let made = DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|error| InitError::Io {
            path: path.to_owned(),
            error,
        })
    }

    /// Written beside it and renamed, so that a reader never sees half a file.
    fn file(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), InitError> {
        self.written.push(path.to_owned());
        if self.dry_run {
            return Ok(());
        }
        let failed = |error| InitError::Io {
            path: path.to_owned(),
            error,
        };
        let part = path.with_extension("new");
        // A part that an aborted run left has perhaps another mode.
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&part)
            .map_err(failed)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&part, path));
        // Half of a key is of no use to anybody who should have it.
        written.map_err(|error| {
            let _ = fs::remove_file(&part);
            failed(error)
        })
    }

    /// Who loses the key loses every stamp made with it: an existing one stays.
    fn key(&mut self, path: &Path) -> Result<(), InitError> {
        if path.exists() {
            return Ok(());
        }
        let (_, pem) = kenin_policy::StampKey::generate()
            .map_err(|text| InitError::Usage(format!("cannot make a stamp key: {text}")))?;
        self.file(path, pem.as_bytes(), 0o600)
    }
}

fn fill(template: &str, options: &InitOptions) -> String {
    let mode = match options.mode {
        Mode::BeforeQueue => "before-queue",
        Mode::AfterQueue => "after-queue",
        Mode::Milter => "milter",
        Mode::Lmtp => "lmtp",
    };
    let route = if options.mode == Mode::Milter {
        MILTER
    } else {
        RELAY
    };
    // A folder's name may hold what TOML would take for an escape.
    let state_dir = std::path::absolute(&options.state_dir).unwrap_or(options.state_dir.clone());
    let state_dir = state_dir
        .display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    template
        .replace("{route}", route.trim_end())
        .replace("{hostname}", &options.hostname)
        .replace("{state_dir}", &state_dir)
        .replace("{listen}", &options.listen.to_string())
        .replace("{reinject}", &options.reinject.to_string())
        .replace("{http}", &options.http.to_string())
        .replace("{mode}", mode)
}

const KENIN: &str = include_str!("init/kenin.toml");
const RELAY: &str = include_str!("init/relay.toml");
const MILTER: &str = include_str!("init/milter.toml");
const TRUST: &str = include_str!("init/trust.toml");
const MAIL: &str = include_str!("init/mail.toml");

#[cfg(test)]
mod tests;
