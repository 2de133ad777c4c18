//! `[keys]`: the folder of sealed private keys, and the secret that opens them. This module only reads what is written
//! and, when asked, the files of the secrets, one of which a token may have to open; it opens no key of people.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kenin_keys::{
    FolderError, GuardError, KeyFolder, Reference, SealError, SecretFileError, TokenSettings,
    Tokens, Unlock, Unlocker, read_guarded_file, read_key_file, read_passphrase_file,
};
use serde::Deserialize;

use super::tokens::{self, ObjectUri, RawToken, Token};

/// Where private keys lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// `folder`. Default `keys` below `state_dir`.
    pub folder: PathBuf,
    /// `passphrase_file`, `key_file`, `credential` or `token_key`: seals what is new, and opens.
    pub seal: SecretAt,
    /// `previous`: opens what is not sealed anew yet.
    pub previous: Option<SecretAt>,
    /// `when_gone`: what happens to mail that needs a key while the key process is not there. Default `tempfail`.
    pub when_gone: WhenGone,
    /// `token`: tokens that keys lie in.
    pub tokens: Vec<Token>,
}

/// What happens to mail that could be opened while no key works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenGone {
    /// It stays the sender's for a while.
    #[default]
    Tempfail,
    /// It is delivered as encrypted as it came.
    Deliver,
}

/// Where a secret lies that keys are sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretAt {
    /// `passphrase_file`: a passphrase, without the end of its line.
    Passphrase(PathBuf),
    /// `key_file`: 32 octets.
    Key(PathBuf),
    /// `credential`: 32 octets that the service manager hands over under this name.
    Credential(String),
    /// `token_key`: 32 octets in a file, which a token opens.
    Token(TokenKeyAt),
}

/// A key-encryption key that a token guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKeyAt {
    /// `file`: what the token opens.
    pub file: PathBuf,
    /// `token` and `key`: by which key in which token.
    pub key: Reference,
}

/// Why keys cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A token does not open a secret.
    #[error("{}: {error}; {}", file.display(), error.advice())]
    Guarded {
        /// The secret's file.
        file: PathBuf,
        /// Why.
        error: GuardError,
    },
    /// A secret cannot be used.
    #[error("{0}; {advice}", advice = .0.advice())]
    Seal(#[from] SealError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl KeysError {
    /// Whether a token is away that opens a secret: nothing is wrong with what is written, and another time it may go
    /// well.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Guarded { error, .. } if error.is_away())
    }
}

impl Keys {
    /// The folder, which must be there.
    ///
    /// # Errors
    /// Where it is not, or others may look into it.
    pub fn open_folder(&self) -> Result<KeyFolder, FolderError> {
        KeyFolder::open(&self.folder)
    }

    /// The tokens, with their PINs.
    ///
    /// # Errors
    /// Where a PIN cannot be read.
    pub fn token_settings(&self) -> Result<Vec<TokenSettings>, SecretFileError> {
        self.tokens.iter().map(Token::settings).collect()
    }

    /// The tokens that open the secrets, with their modules loaded; mostly none.
    ///
    /// # Errors
    /// Where a PIN cannot be read.
    pub fn guards(&self) -> Result<Tokens, SecretFileError> {
        let guards = |token: &&Token| self.secrets().any(|at| at.guard() == Some(&token.name));
        let settings = self.tokens.iter().filter(guards).map(Token::settings);
        Ok(Tokens::start(settings.collect::<Result<_, _>>()?))
    }

    /// What opens the keys: the secret, and the one before it. Tokens are asked for those that they guard.
    ///
    /// # Errors
    /// Where one of them cannot be read or used.
    pub fn unlocker(&self, tokens: &Tokens) -> Result<Unlocker, KeysError> {
        let secrets = self.secrets().map(|at| at.read(tokens));
        Ok(Unlocker::new(secrets.collect::<Result<_, _>>()?)?)
    }

    /// The secret, and the one before it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretAt> {
        [Some(&self.seal), self.previous.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl SecretAt {
    /// Reads the secret, with the help of the token that guards it.
    ///
    /// # Errors
    /// Where it cannot be read, others may read it, or it is none, or the token does not open it.
    pub fn read(&self, tokens: &Tokens) -> Result<Unlock, KeysError> {
        Ok(match self {
            Self::Passphrase(path) => read_passphrase_file(path)?,
            Self::Key(path) => read_key_file(path)?,
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                read_key_file(&credential(folder, name)?)?
            }
            Self::Token(TokenKeyAt { file, key }) => {
                let opened = read_guarded_file(file)?.open(tokens, key);
                opened.map_err(|error| KeysError::Guarded {
                    file: file.clone(),
                    error,
                })?
            }
        })
    }

    /// The token that guards it.
    pub(crate) fn guard(&self) -> Option<&String> {
        match self {
            Self::Token(at) => Some(&at.key.token),
            Self::Passphrase(_) | Self::Key(_) | Self::Credential(_) => None,
        }
    }

    /// The key of `[keys]` that names it.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase_file",
            Self::Key(_) => "key_file",
            Self::Credential(_) => "credential",
            Self::Token(_) => "token_key",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeys {
    folder: Option<String>,
    passphrase_file: Option<String>,
    key_file: Option<String>,
    credential: Option<String>,
    token_key: Option<RawTokenKey>,
    previous: Option<RawSecret>,
    when_gone: Option<WhenGone>,
    #[serde(default)]
    token: Vec<RawToken>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecret {
    passphrase_file: Option<String>,
    key_file: Option<String>,
    credential: Option<String>,
    token_key: Option<RawTokenKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTokenKey {
    token: String,
    key: ObjectUri,
    file: String,
}

impl RawKeys {
    /// With paths that begin in `dir`, and the folder below `state_dir` where none is named; an error comes with the key
    /// that is to blame.
    pub(super) fn finish(
        self,
        state_dir: &Path,
        dir: &Path,
    ) -> Result<Keys, (&'static str, &'static str)> {
        let seal = RawSecret {
            passphrase_file: self.passphrase_file,
            key_file: self.key_file,
            credential: self.credential,
            token_key: self.token_key,
        };
        let previous = self.previous.map(|one| one.finish(dir)).transpose();
        let keys = Keys {
            folder: self
                .folder
                .map_or_else(|| state_dir.join("keys"), |folder| dir.join(folder)),
            seal: seal.finish(dir).map_err(|text| ("keys", text))?,
            previous: previous.map_err(|text| ("keys.previous", text))?,
            when_gone: self.when_gone.unwrap_or_default(),
            tokens: tokens::finish(self.token, dir).map_err(|text| ("keys.token", text))?,
        };
        for (place, at) in [
            ("keys.token_key", Some(&keys.seal)),
            ("keys.previous", keys.previous.as_ref()),
        ] {
            let guard = at.and_then(SecretAt::guard);
            if guard.is_some_and(|name| !keys.tokens.iter().any(|token| token.name == *name)) {
                return Err((place, "no [[keys.token]] has the name that stands here"));
            }
        }
        Ok(keys)
    }
}

impl RawSecret {
    fn finish(self, dir: &Path) -> Result<SecretAt, &'static str> {
        let Self {
            passphrase_file,
            key_file,
            credential,
            token_key,
        } = self;
        match (passphrase_file, key_file, credential, token_key) {
            (Some(path), None, None, None) => Ok(SecretAt::Passphrase(dir.join(path))),
            (None, Some(path), None, None) => Ok(SecretAt::Key(dir.join(path))),
            (None, None, Some(name), None) if is_plain(&name) => Ok(SecretAt::Credential(name)),
            (None, None, Some(_), None) => Err("a credential is a name, not a path"),
            (None, None, None, Some(at)) => Ok(SecretAt::Token(TokenKeyAt {
                file: dir.join(at.file),
                key: Reference {
                    token: at.token,
                    object: at.key.0,
                },
            })),
            _ => Err("write one of passphrase_file, key_file, credential and token_key"),
        }
    }
}

/// Whether it is the name of a file in a folder, and of nothing else.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Where the service manager has put a credential.
pub(super) fn credential(folder: Option<OsString>, name: &str) -> Result<PathBuf, SecretFileError> {
    let path = folder.map(|folder| Path::new(&folder).join(name));
    // Of one that is there and cannot be read its reader says why.
    match path.filter(|path| !matches!(path.try_exists(), Ok(false))) {
        Some(path) => Ok(path),
        None => Err(SecretFileError {
            path: name.into(),
            what: "no credential is at hand: the service manager hands it over to what it starts \
                   (LoadCredentialEncrypted= in the unit; systemd-run -P -p LoadCredentialEncrypted=… \
                   in a shell)"
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use kenin_keys::{PinFault, TokenError, TokenUri};

    use super::*;
    use crate::config::{Config, ConfigError};

    fn parse(tables: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n{tables}"
        );
        Config::parse(&text, Path::new("/etc/kenin/kenin.toml"))
    }

    fn keys(lines: &str) -> Keys {
        parse(&format!("[keys]\n{lines}\n")).unwrap().keys.unwrap()
    }

    #[test]
    fn each_place_of_the_secret_is_read() {
        assert_eq!(parse("").unwrap().keys, None);
        let passphrase = keys("passphrase_file = \"keys.passphrase\"");
        assert_eq!(passphrase.folder, Path::new("/var/lib/kenin/keys"));
        let file = PathBuf::from("/etc/kenin/keys.passphrase");
        assert_eq!(passphrase.seal, SecretAt::Passphrase(file));
        assert_eq!(passphrase.previous, None);
        assert_eq!(passphrase.when_gone, WhenGone::Tempfail);
        let deliver = keys("key_file = \"/k\"\nwhen_gone = \"deliver\"");
        assert_eq!(deliver.when_gone, WhenGone::Deliver);
        let key = keys(
            "folder = \"/srv/keys\"\nkey_file = \"/k\"\nprevious = { credential = \"kenin-keys\" }",
        );
        assert_eq!(key.folder, Path::new("/srv/keys"));
        assert_eq!(key.seal, SecretAt::Key("/k".into()));
        let name = "kenin-keys".to_owned();
        assert_eq!(key.previous, Some(SecretAt::Credential(name)));
    }

    #[test]
    fn a_secret_may_lie_in_a_file_that_a_token_opens() {
        let lines = |secret: &str| {
            format!(
                "{secret}\n[[keys.token]]\nname = \"hsm\"\nmodule = \"/m.so\"\ntoken = \"pkcs11:token=a\""
            )
        };
        let at = "{ token = \"hsm\", key = \"pkcs11:id=%05\", file = \"keys.kek\" }";
        let new = keys(&lines(&format!("token_key = {at}")));
        let guarded = SecretAt::Token(TokenKeyAt {
            file: "/etc/kenin/keys.kek".into(),
            key: Reference {
                token: "hsm".to_owned(),
                object: TokenUri::parse("pkcs11:id=%05").unwrap(),
            },
        });
        assert_eq!((&new.seal, new.seal.key()), (&guarded, "token_key"));
        let old = keys(&lines(&format!(
            "key_file = \"/k\"\nprevious = {{ token_key = {at} }}"
        )));
        assert_eq!(old.previous, Some(guarded));
        for (lines, line, expected) in [
            (format!("token_key = {at}"), 8, "no [[keys.token]] has"),
            (
                format!("key_file = \"/k\"\nprevious = {{ token_key = {at} }}"),
                9,
                "no [[keys.token]] has",
            ),
            (
                lines(&format!("key_file = \"/k\"\ntoken_key = {at}")),
                7,
                "write one of",
            ),
            (
                lines(&format!("token_key = {}", at.replace("id=%05", "token=a"))),
                8,
                "which key in the token",
            ),
            (
                lines(&format!("token_key = {}", at.replace("id=", "token=a;id="))),
                8,
                "which key in the token",
            ),
            (
                lines(&format!("token_key = {}", at.replace("pkcs11:", ""))),
                8,
                "pkcs11:",
            ),
        ] {
            let text = parse(&format!("[keys]\n{lines}\n"))
                .unwrap_err()
                .to_string();
            assert!(text.contains(&format!("kenin.toml:{line}:")), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_token_that_is_away_is_no_mistake_and_a_wrong_pin_is_one() {
        let error = |error| KeysError::Guarded {
            file: "/etc/kenin/keys.kek".into(),
            error,
        };
        let token = || "hsm".to_owned();
        let absent = TokenError::Absent {
            token: token(),
            what: "no slot".to_owned(),
        };
        let away = error(absent.into());
        assert!(away.is_away());
        assert!(away.to_string().contains("keys.kek: the token"), "{away}");
        let pin = TokenError::Pin {
            token: token(),
            fault: PinFault::Wrong,
        };
        for mistake in [pin, TokenError::Unknown(token())] {
            assert!(!error(mistake.into()).is_away());
        }
        assert!(!error(GuardError::Changed).is_away());
    }

    #[test]
    fn none_and_two_secrets_are_mistakes_with_their_place() {
        for (lines, line, expected) in [
            ("", 7, "write one of"),
            (
                "key_file = \"a\"\npassphrase_file = \"b\"",
                7,
                "write one of",
            ),
            ("credential = \"../a\"", 7, "not a path"),
            ("credential = \"\"", 7, "not a path"),
            ("key_file = \"a\"\nprevious = {}", 9, "write one of"),
            ("keyfile = \"a\"", 8, "did you mean"),
        ] {
            let error = parse(&format!("[keys]\n{lines}\n")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("kenin.toml:{line}:")), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_credential_that_nobody_handed_over_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let handed = || Some(OsString::from(folder.path()));
        // None at all, and others alone.
        for folder in [None, handed()] {
            let error = credential(folder, "kenin-keys").unwrap_err().to_string();
            assert!(error.contains("LoadCredentialEncrypted"), "{error}");
        }
        let expected = folder.path().join("kenin-keys");
        std::fs::write(&expected, [7; 32]).unwrap();
        assert_eq!(credential(handed(), "kenin-keys").unwrap(), expected);
    }
}
