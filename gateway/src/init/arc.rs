//! `kenin init arc`: the key of ARC seals, and what to publish of it.

use std::path::{Path, PathBuf};

use super::{InitError, Initialized, Writer};
use crate::arc;
use crate::config::HostName;

/// What the command line says about `kenin init arc`.
#[derive(Debug, Clone)]
pub struct ArcOptions {
    /// Folder of the configuration (`/etc/kenin`).
    pub dir: PathBuf,
    /// The `d=` of the seals.
    pub domain: String,
    /// Their `s=`.
    pub selector: String,
    /// Write nothing.
    pub dry_run: bool,
}

/// Makes `arc.key` where there is none, and tells the TXT record of its public half and the lines for
/// `kenin.toml`.
pub fn arc(options: &ArcOptions) -> Result<Initialized, InitError> {
    for (name, value) in [
        ("--domain", &options.domain),
        ("--selector", &options.selector),
    ] {
        let parsed = value.parse::<HostName>();
        parsed.map_err(|error| InitError::Usage(format!("{name}: {error}")))?;
    }
    let path = options.dir.join("arc.key");
    let mut writer = Writer {
        dry_run: options.dry_run,
        written: Vec::new(),
    };
    let record = if path.exists() {
        arc::record_of(&path).map_err(|text| InitError::Usage(told(&path, &text)))?
    } else {
        let (pem, record) = arc::generate()
            .map_err(|text| InitError::Usage(format!("cannot make a key: {text}")))?;
        writer.folder(&options.dir, 0o755)?;
        writer.file(&path, pem.as_bytes(), 0o600)?;
        record
    };
    // Without the file there is no such key, and nothing to publish.
    let lines = match options.dry_run && !path.exists() {
        true => String::new(),
        false => zone_lines(&options.domain, &options.selector, &record),
    };
    let notes = NOTES
        .replace("{domain}", &options.domain)
        .replace("{selector}", &options.selector)
        .replace("{key}", &path.display().to_string())
        .replace(
            "{file}",
            &options.dir.join("kenin.toml").display().to_string(),
        );
    Ok(Initialized {
        written: writer.written,
        lines,
        notes,
    })
}

fn told(path: &Path, text: &str) -> String {
    format!("{}: {text}", path.display())
}

/// A TXT record as zone files have it: strings of 255 octets at most (RFC 1035 §3.3.14).
fn zone_lines(domain: &str, selector: &str, record: &str) -> String {
    let mut text = format!("{selector}._domainkey.{domain}. IN TXT (");
    let mut rest = record;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(PIECE));
        text.push_str(&format!("\n    \"{piece}\""));
        rest = after;
    }
    text.push_str(" )\n");
    text
}

const PIECE: usize = 200;

const NOTES: &str = r#"
Next:
  1. Publish the TXT record that is printed on stdout.
  2. Add to {file}:

       [arc]
       domain = "{domain}"
       selector = "{selector}"
       key = "arc.key"

  3. The user of the service must be able to read arc.key, and nobody else: chown kenin {key}
  4. kenin check    looks whether the record is there and is this key's; then reload Kenin.
  5. Tell who takes the mail to trust seals of {domain}. Without that a seal changes nothing.
"#;
