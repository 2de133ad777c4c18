//! `[quarantine]`: mail that is held by the gateway itself. This module only reads what is written;
//! `crate::quarantine` reads the key and opens the folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::value::Size;
use super::{Config, ConfigError};

/// Where held mail is kept, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// `key_file` or `credential`: 32 random octets that mail is sealed with.
    pub key: KeyAt,
    /// `previous_key_files`: keys of before, which open what was sealed with them.
    pub previous: Vec<PathBuf>,
    /// `keep`: how long a mail is kept, in days. Default 30.
    pub keep: Duration,
    /// `size`: octets of all files together, at most. Default 5 GiB.
    pub size: u64,
    /// `entries`: mails at once, at most. Default 10000.
    pub entries: usize,
    /// `notify`: who is told that something is held. Default `recipient`.
    pub notify: Notify,
    /// `postmaster`: their address. Default `postmaster@<hostname>`.
    pub postmaster: String,
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAt {
    /// In a file.
    File(PathBuf),
    /// In a credential of the service manager, by its name.
    Credential(String),
}

/// Who is told that the next hop did not take a mail, and that it is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notify {
    /// Those whom it was for.
    #[default]
    Recipient,
    /// The postmaster.
    Postmaster,
    /// Nobody: somebody looks by himself.
    Nobody,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuarantine {
    key_file: Option<String>,
    credential: Option<String>,
    previous_key_files: Option<Vec<String>>,
    keep: Option<u32>,
    size: Option<Size>,
    entries: Option<usize>,
    notify: Option<Notify>,
    postmaster: Option<String>,
}

impl RawQuarantine {
    /// With the defaults filled in; an error comes with the key that is to blame.
    pub(super) fn finish(
        self,
        dir: &Path,
        hostname: &str,
    ) -> Result<Quarantine, (&'static str, String)> {
        let key = match (self.key_file, self.credential) {
            (Some(file), None) => KeyAt::File(dir.join(file)),
            (None, Some(name)) if is_name(&name) => KeyAt::Credential(name),
            (None, Some(name)) => {
                let text = format!("\"{name}\" is no name of a credential");
                return Err(("quarantine.credential", text));
            }
            (Some(_), Some(_)) => {
                let text = "there is a key_file as well: the key is in one place";
                return Err(("quarantine.credential", text.to_owned()));
            }
            (None, None) => {
                let text = "key_file is missing in [quarantine]: what held mail is sealed with";
                return Err(("quarantine", text.to_owned()));
            }
        };
        let days = self.keep.unwrap_or(DEFAULT_KEEP);
        if !(1..=MAX_KEEP).contains(&days) {
            let text = format!("{days} days: write 1 to {MAX_KEEP}");
            return Err(("quarantine.keep", text));
        }
        let entries = self.entries.unwrap_or(DEFAULT_ENTRIES);
        if !(1..=MAX_ENTRIES).contains(&entries) {
            let text = format!("{entries} mails: write 1 to {MAX_ENTRIES}");
            return Err(("quarantine.entries", text));
        }
        let postmaster = self
            .postmaster
            .unwrap_or_else(|| format!("postmaster@{hostname}"));
        if !is_address(&postmaster) {
            let text = format!("\"{postmaster}\" is no mail address");
            return Err(("quarantine.postmaster", text));
        }
        let previous = self.previous_key_files.into_iter().flatten();
        Ok(Quarantine {
            key,
            previous: previous.map(|file| dir.join(file)).collect(),
            keep: Duration::from_secs(u64::from(days) * DAY),
            size: self.size.map_or(DEFAULT_SIZE, |size| size.0),
            entries,
            notify: self.notify.unwrap_or_default(),
            postmaster,
        })
    }
}

/// What the settings need of each other.
pub(super) fn coherent(config: &Config) -> Result<(), ConfigError> {
    if config.quarantine.is_none() {
        return Ok(());
    }
    if config.next_hop.is_none() {
        let text = "held mail goes on to a [next_hop], and there is none";
        let hint = "behind a milter the MTA holds mail itself; leave [quarantine] out";
        return Err(config.mistake("quarantine", text).hint(hint));
    }
    Ok(())
}

/// A credential is a file of one folder.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain)
}

/// One that stands in a command; whether it is served is the next hop's to say.
fn is_address(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '\\' | ',');
    let parts = text.split_once('@');
    text.len() <= 254
        && text.chars().all(fits)
        && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

const DAY: u64 = 86_400;
const DEFAULT_KEEP: u32 = 30;
const MAX_KEEP: u32 = 3650;
const DEFAULT_ENTRIES: usize = 10_000;
/// All of them are looked through at the start.
const MAX_ENTRIES: usize = 1_000_000;
const DEFAULT_SIZE: u64 = 5 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<Quarantine, (&'static str, String)> {
        let raw: RawQuarantine = toml::from_str(lines).unwrap();
        raw.finish(Path::new("/etc/kenin"), "gw.example.jp")
    }

    #[test]
    fn a_key_is_all_that_has_to_be_said() {
        let usual = read("key_file = \"quarantine.key\"\n").unwrap();
        let file = PathBuf::from("/etc/kenin/quarantine.key");
        assert_eq!(usual.key, KeyAt::File(file));
        assert_eq!(usual.keep, Duration::from_secs(30 * 86_400));
        assert_eq!((usual.size, usual.entries), (5 << 30, 10_000));
        assert_eq!(usual.notify, Notify::Recipient);
        assert_eq!(usual.postmaster, "postmaster@gw.example.jp");
        let lines = "credential = \"kenin-quarantine\"\nprevious_key_files = [\"old.key\"]\n\
                     keep = 7\nsize = \"1G\"\nentries = 5\nnotify = \"postmaster\"\n\
                     postmaster = \"mail@example.jp\"\n";
        let all = read(lines).unwrap();
        assert_eq!(all.key, KeyAt::Credential("kenin-quarantine".to_owned()));
        assert_eq!(all.previous, [PathBuf::from("/etc/kenin/old.key")]);
        assert_eq!(all.keep, Duration::from_secs(7 * 86_400));
        assert_eq!((all.size, all.entries), (1 << 30, 5));
        assert_eq!(all.notify, Notify::Postmaster);
        assert_eq!(all.postmaster, "mail@example.jp");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let key = "key_file = \"k\"\n";
        for (lines, blamed) in [
            ("keep = 3\n".to_owned(), "quarantine"),
            (
                format!("{key}credential = \"c\"\n"),
                "quarantine.credential",
            ),
            (
                "credential = \"../c\"\n".to_owned(),
                "quarantine.credential",
            ),
            ("credential = \"\"\n".to_owned(), "quarantine.credential"),
            (format!("{key}keep = 0\n"), "quarantine.keep"),
            (format!("{key}keep = 4000\n"), "quarantine.keep"),
            (format!("{key}entries = 0\n"), "quarantine.entries"),
            (
                format!("{key}postmaster = \"root\"\n"),
                "quarantine.postmaster",
            ),
            (
                format!("{key}postmaster = \"a@b> NOTIFY=NEVER\"\n"),
                "quarantine.postmaster",
            ),
        ] {
            assert_eq!(read(&lines).unwrap_err().0, blamed, "{lines}");
        }
        for lines in ["key_file = 7\n", "notify = \"sender\"\n", "key = \"k\"\n"] {
            assert!(toml::from_str::<RawQuarantine>(lines).is_err(), "{lines}");
        }
    }
}
