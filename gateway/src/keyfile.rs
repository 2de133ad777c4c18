//! Files of private keys, which nobody else may read.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tracing::warn;

use crate::config::{Config, ConfigError};

/// Reads the file that the setting `key` names; `hint` says where such a file comes from.
///
/// Whoever has the key speaks in our name: a file that others can read, or the group can write, is refused.
pub(crate) fn read(
    config: &Config,
    key: &str,
    path: &Path,
    hint: &str,
) -> Result<Vec<u8>, ConfigError> {
    let wrong = |text: &str| config.mistake(key, format!("{}: {text}", path.display()));
    let failed = |error: std::io::Error| wrong(&error.to_string()).hint(hint);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_or(0, |data| data.permissions().mode());
    if mode & OPEN_TO_ALL != 0 {
        let error = wrong("can be read or changed by anybody");
        return Err(error.hint(format!("chmod 600 {}", path.display())));
    }
    if mode & 0o077 != 0 {
        warn!(file = %path.display(), "the key can be read by its group; chmod 600");
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Others may do something with the file, or the group may write it.
const OPEN_TO_ALL: u32 = 0o027;
/// No key is larger.
const MAX_KEY: u64 = 64 << 10;
