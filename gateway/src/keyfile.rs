//! Files of private keys, which nobody else may read.

use std::io::{ErrorKind, Read};
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
    let failed = |error: std::io::Error| {
        let mistake = wrong(&error.to_string());
        match advice(error.kind(), hint) {
            Some(advice) => mistake.hint(advice),
            None => mistake,
        }
    };
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

/// What to do about a file that cannot be read. Where it is there, nobody is told to make another one: that would be the end
/// of all that the one that is there opens.
fn advice(kind: ErrorKind, hint: &str) -> Option<&str> {
    match kind {
        ErrorKind::NotFound => Some(hint),
        ErrorKind::PermissionDenied => Some(NOT_OURS),
        _ => None,
    }
}

const NOT_OURS: &str = "it has to belong to the user of the service (chown), who runs this: runuser -u NAME -- kenin …";
/// Others may do something with the file, or the group may write it.
const OPEN_TO_ALL: u32 = 0o027;
/// No key is larger.
const MAX_KEY: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_make_a_key_that_is_there() {
        let hint = "head -c 32 /dev/urandom > quarantine.key";
        assert_eq!(advice(ErrorKind::NotFound, hint), Some(hint));
        assert_eq!(advice(ErrorKind::PermissionDenied, hint), Some(NOT_OURS));
        assert_eq!(advice(ErrorKind::IsADirectory, hint), None);
    }
}
