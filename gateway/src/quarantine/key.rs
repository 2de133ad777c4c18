//! The keys that held mail is sealed with: the one of now, and those of before, which open what is still there.

use std::path::{Path, PathBuf};

use kenin_pki::crypto::{Sealer, Secret};

use crate::config::{Config, ConfigError, KeyAt, Quarantine};
use crate::keyfile;

/// All keys that are at hand.
#[derive(Debug)]
pub(crate) struct Keys {
    current: Key,
    previous: Vec<Key>,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    id: KeyId,
    sealer: Sealer,
}

/// Which key something is sealed with. It tells nothing of the key.
pub(super) type KeyId = [u8; 16];

impl Keys {
    /// Reads the keys that the settings name.
    pub(crate) fn read(config: &Config, settings: &Quarantine) -> Result<Self, ConfigError> {
        let current = match &settings.key {
            KeyAt::File(path) => read(config, "quarantine.key_file", path)?,
            KeyAt::Credential(name) => {
                let key = "quarantine.credential";
                let path = credential(name).ok_or_else(|| {
                    let text = format!("the service manager has given no credential \"{name}\"");
                    let hint =
                        format!("LoadCredentialEncrypted={name} in the unit, or key_file here");
                    config.mistake(key, text).hint(hint)
                })?;
                read(config, key, &path)?
            }
        };
        let previous = settings.previous.iter();
        let previous = previous.map(|path| read(config, PREVIOUS, path));
        Ok(Self {
            current,
            previous: previous.collect::<Result<_, _>>()?,
        })
    }

    /// One key and no other, of these octets: for `fuzz/`, which reads no file.
    pub(super) fn alone(octets: &[u8; 32]) -> Option<Self> {
        Some(Self {
            current: Key::new(octets)?,
            previous: Vec::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn of(octets: &[u8]) -> Self {
        let keys = octets.iter().map(|octet| Key::new(&[*octet; 32]).unwrap());
        let mut keys: Vec<Key> = keys.collect();
        let current = keys.remove(0);
        Self {
            current,
            previous: keys,
        }
    }

    /// The one that new mail is sealed with.
    pub(super) fn current(&self) -> &Key {
        &self.current
    }

    /// The one of this name.
    pub(super) fn named(&self, id: &KeyId) -> Option<&Key> {
        let mut all = std::iter::once(&self.current).chain(&self.previous);
        all.find(|key| key.id == *id)
    }
}

impl Key {
    fn new(octets: &[u8; 32]) -> Option<Self> {
        let sealer = Sealer::new(octets)?;
        let name = sealer.name(&[b"kenin: quarantine key"]);
        Some(Self {
            id: *name.first_chunk::<16>()?,
            sealer,
        })
    }

    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

fn read(config: &Config, setting: &str, path: &Path) -> Result<Key, ConfigError> {
    let file = path.display();
    // A key of before opens what it sealed, and another in its place opens nothing.
    let hint = match setting {
        PREVIOUS => LOST.to_owned(),
        _ => format!(
            "make one: (umask 077; head -c 32 /dev/urandom > {file}); one that was lost is in a backup"
        ),
    };
    let octets = Secret::new(keyfile::read(config, setting, path, &hint)?);
    let key = <&[u8; 32]>::try_from(octets.expose()).map_err(|_| {
        let text = format!("{file}: {} bytes, and not 32", octets.len());
        config.mistake(setting, text).hint(NO_KEY)
    })?;
    Key::new(key).ok_or_else(|| {
        let text = format!("{file}: the cryptographic library cannot use it");
        config.mistake(setting, text)
    })
}

/// Where the service manager has put a credential (systemd.exec(5)), if it has.
fn credential(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let path = Path::new(&folder).join(name);
    // Of one that is there and cannot be read it is told where it is read.
    (!matches!(path.try_exists(), Ok(false))).then_some(path)
}

const PREVIOUS: &str = "quarantine.previous_key_files";
const LOST: &str = "it is in a backup; without it what it sealed opens no more: leave it out if nothing of that is held";
/// Whatever stands there is not to be written over.
const NO_KEY: &str =
    "name the right file, or restore it from a backup: what it sealed opens with no other";
