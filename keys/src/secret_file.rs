//! Files of secrets: a key-encryption key of 32 octets, as it is or guarded by a token, or a passphrase. The service
//! manager's credentials are such.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kenin_pki::crypto::Secret;

use crate::guarded::GuardedKey;
use crate::kek::{KEY_LEN, Unlock};

/// Reads a key-encryption key: exactly 32 octets.
///
/// # Errors
/// [`SecretFileError`] where the file cannot be read, others may read it, or it has another length.
pub fn read_key_file(path: &Path) -> Result<Unlock, SecretFileError> {
    let secret =
        read(path).map_err(|error| error.unless_there("head -c 32 /dev/urandom makes one"))?;
    if secret.len() != KEY_LEN {
        // Nobody is told to make one over what stands there.
        let what = "it has not exactly 32 octets; name the right file, or restore it from a backup";
        return Err(SecretFileError::new(path, what));
    }
    Ok(Unlock::Key(secret))
}

/// Reads a passphrase: all that stands in the file, without the end of its line.
///
/// # Errors
/// [`SecretFileError`] where the file cannot be read, others may read it, or it is empty.
pub fn read_passphrase_file(path: &Path) -> Result<Unlock, SecretFileError> {
    let how = "openssl rand -base64 24 makes one";
    let secret = read_password_file(path).map_err(|error| error.unless_there(how))?;
    if secret.is_empty() {
        return Err(SecretFileError::new(path, "there is no passphrase in it"));
    }
    Ok(Unlock::Passphrase(secret))
}

/// Reads the password of a file of keys: as a passphrase, and it may be empty, as that of many a PKCS #12 file is.
///
/// # Errors
/// [`SecretFileError`] where the file cannot be read, or others may read it.
pub fn read_password_file(path: &Path) -> Result<Secret, SecretFileError> {
    let secret = read(path)?;
    let text = secret.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(Secret::new(text.to_vec()))
}

/// Reads a key-encryption key that a token guards. The file alone is no secret, and lies where secrets do.
///
/// # Errors
/// [`SecretFileError`] where the file cannot be read, others may read it, or it holds no such key.
pub fn read_guarded_file(path: &Path) -> Result<GuardedKey, SecretFileError> {
    let octets = read(path);
    let octets = octets.map_err(|error| error.unless_there(SEAL_SECRET))?;
    GuardedKey::from_octets(octets.expose()).map_err(|error| {
        let what = format!("{error}; {}", error.advice());
        SecretFileError::new(path, what)
    })
}

/// Reads the PIN of a token: as a passphrase, and it must be text.
///
/// # Errors
/// [`SecretFileError`] where the file cannot be read, others may read it, or there is no PIN in it.
pub fn read_pin_file(path: &Path) -> Result<Secret, SecretFileError> {
    let pin = read_password_file(path)?;
    match !pin.is_empty() && std::str::from_utf8(pin.expose()).is_ok() {
        true => Ok(pin),
        false => Err(SecretFileError::new(path, "there is no PIN in it")),
    }
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct SecretFileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

impl SecretFileError {
    /// Says what makes the file where it is not there.
    fn unless_there(mut self, how: &str) -> Self {
        if matches!(self.path.try_exists(), Ok(false)) {
            self.what = format!("{}; {how}; one that was lost is in a backup", self.what);
        }
        self
    }

    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

fn read(path: &Path) -> Result<Secret, SecretFileError> {
    let failed = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => NOT_OURS,
            _ => "",
        };
        SecretFileError::new(path, format!("{error}{advice}"))
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & OPEN_TO_ALL != 0 {
        let what = "it can be read or changed by others; chmod 600";
        return Err(SecretFileError::new(path, what));
    }
    // All its room from the beginning, so that it never moves.
    let mut octets = Vec::with_capacity(MAX_SECRET * 2);
    let most = u64::try_from(MAX_SECRET).unwrap_or(u64::MAX);
    let read = file.take(most + 1).read_to_end(&mut octets);
    let secret = Secret::new(octets);
    if read.map_err(failed)? > MAX_SECRET {
        return Err(SecretFileError::new(path, "it is larger than any secret"));
    }
    Ok(secret)
}

/// Others may do something with the file, or its group may write it. A group that reads is how credentials are handed
/// to a service.
const OPEN_TO_ALL: u32 = 0o027;
const NOT_OURS: &str = "; it has to belong to the user who runs this, that of the service: chown, runuser -u NAME -- kenin …";
/// What makes the file of a key that a token guards.
const SEAL_SECRET: &str = "\"kenin key seal-secret\" makes it";
/// Octets of a secret, at most.
const MAX_SECRET: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn secrets_are_read_as_they_are() {
        for mode in [0o600, 0o400, 0o440, 0o640] {
            let key = file(&[7; 32], mode);
            let read = read_key_file(key.path()).unwrap();
            assert!(matches!(read, Unlock::Key(key) if key.expose() == [7; 32]));
        }
        for (content, expected) in [
            (&b"open sesame\n"[..], &b"open sesame"[..]),
            (b"open sesame\r\n", b"open sesame"),
            (b"two\nlines\n\n", b"two\nlines\n"),
            (b" spaces ", b" spaces "),
        ] {
            let file = file(content, 0o600);
            let read = read_passphrase_file(file.path()).unwrap();
            assert!(matches!(read, Unlock::Passphrase(word) if word.expose() == expected));
        }
    }

    #[test]
    fn a_pin_is_one_line_of_text() {
        let read = read_pin_file(file(b"1234\n", 0o600).path()).unwrap();
        assert_eq!(read.expose(), b"1234");
        for content in [&b""[..], b"\n", b"\xff\xfe"] {
            assert!(read_pin_file(file(content, 0o600).path()).is_err());
        }
        assert!(read_pin_file(file(b"1234", 0o644).path()).is_err());
    }

    #[test]
    fn what_others_may_read_and_what_is_no_secret_is_refused() {
        for mode in [0o604, 0o620, 0o601, 0o666] {
            let error = read_key_file(file(&[7; 32], mode).path()).unwrap_err();
            assert!(error.to_string().ends_with("chmod 600"), "{error}");
        }
        for length in [0, 31, 33, 5000] {
            let error = read_key_file(file(&vec![7; length], 0o600).path()).unwrap_err();
            assert!(!error.to_string().contains("urandom"), "{error}");
        }
        for content in [&b""[..], b"\n", b"\r\n", &[b'x'; 5000]] {
            assert!(read_passphrase_file(file(content, 0o600).path()).is_err());
        }
        // A file of keys may have an empty password, and it has to be said that it has.
        for content in [&b""[..], b"\n", b"\r\n"] {
            let empty = read_password_file(file(content, 0o600).path()).unwrap();
            assert!(empty.is_empty());
        }
        assert!(read_password_file(file(b"word\n", 0o644).path()).is_err());
        let absent = Path::new("/nonexistent");
        let error = read_key_file(absent).unwrap_err().to_string();
        assert!(error.contains("makes one; one that was lost"), "{error}");
        let error = read_guarded_file(absent).unwrap_err().to_string();
        assert!(error.contains(SEAL_SECRET), "{error}");
        let error = read_passphrase_file(absent).unwrap_err().to_string();
        assert!(error.contains("makes one; one that was lost"), "{error}");
        let error = read_pin_file(absent).unwrap_err().to_string();
        assert!(!error.contains("makes one"), "{error}");
    }
}
