//! `[[keys.token]]`: tokens that private keys lie in. This module only reads what is written and, when asked, the PIN;
//! it loads no PKCS#11 module.

use std::path::{Path, PathBuf};

use kenin_keys::{MAX_SESSIONS, SecretFileError, TokenSettings, TokenUri, UriError, read_pin_file};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::keys::{credential, is_plain};

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// `name`: what key files call it.
    pub name: String,
    /// `module`: the PKCS#11 module that knows it.
    pub module: PathBuf,
    /// `token`: which one of the module's, as a `pkcs11:` URI.
    pub token: TokenUri,
    /// `pin_file` or `pin_credential`. Without one nobody logs in.
    pub pin: Option<PinAt>,
    /// `sessions`: calls at one time. Default 4.
    pub sessions: usize,
}

/// Where the PIN of a token lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinAt {
    /// `pin_file`.
    File(PathBuf),
    /// `pin_credential`: what the service manager hands over under this name.
    Credential(String),
}

impl Token {
    /// With the PIN.
    ///
    /// # Errors
    /// Where that cannot be read, others may read it, or there is none in the file.
    pub fn settings(&self) -> Result<TokenSettings, SecretFileError> {
        let pin = match &self.pin {
            None => None,
            Some(PinAt::File(path)) => Some(read_pin_file(path)?),
            Some(PinAt::Credential(name)) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                Some(read_pin_file(&credential(folder, name)?)?)
            }
        };
        Ok(TokenSettings {
            name: self.name.clone(),
            module: self.module.clone(),
            token: self.token.clone(),
            pin,
            sessions: self.sessions,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawToken {
    name: String,
    module: String,
    token: Uri,
    pin_file: Option<String>,
    pin_credential: Option<String>,
    sessions: Option<usize>,
}

impl RawToken {
    /// With paths that begin in `dir`.
    pub(super) fn finish(self, dir: &Path) -> Result<Token, &'static str> {
        let written = !self.name.chars().any(char::is_control);
        if !is_plain(&self.name) || !written || self.name.len() > MAX_NAME {
            return Err("a token's name is a few letters");
        }
        let sessions = self.sessions.unwrap_or(SESSIONS);
        if !(1..=MAX_SESSIONS).contains(&sessions) {
            return Err("a token has 1 to 32 sessions");
        }
        Ok(Token {
            name: self.name,
            module: dir.join(self.module),
            token: self.token.0,
            pin: match (self.pin_file, self.pin_credential) {
                (None, None) => None,
                (Some(path), None) => Some(PinAt::File(dir.join(path))),
                (None, Some(name)) if is_plain(&name) => Some(PinAt::Credential(name)),
                (None, Some(_)) => return Err("a credential is a name, not a path"),
                (Some(_), Some(_)) => {
                    return Err("write one of pin_file and pin_credential");
                }
            },
            sessions,
        })
    }
}

/// All of them.
pub(super) fn finish(raw: Vec<RawToken>, dir: &Path) -> Result<Vec<Token>, &'static str> {
    let mut tokens: Vec<Token> = Vec::with_capacity(raw.len());
    for one in raw {
        let token = one.finish(dir)?;
        if tokens.iter().any(|other| other.name == token.name) {
            return Err("two tokens have one name");
        }
        tokens.push(token);
    }
    Ok(tokens)
}

#[derive(Debug)]
struct Uri(TokenUri);

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let uri = TokenUri::parse(&text).and_then(|uri| {
            match uri.names_token() && !uri.names_object() {
                true => Ok(uri),
                false => Err(UriError(
                    "it says which token is meant (token, serial, model, manufacturer or slot-id), and no key",
                )),
            }
        });
        uri.map(Self)
            .map_err(|error| D::Error::custom(format!("\"{text}\" is {error}")))
    }
}

/// Which key in a token.
#[derive(Debug)]
pub(super) struct ObjectUri(pub(super) TokenUri);

impl<'de> Deserialize<'de> for ObjectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let uri =
            TokenUri::parse(&text).and_then(|uri| match uri.names_object() && !uri.names_token() {
                true => Ok(uri),
                false => Err(UriError(
                    "it says which key in the token is meant (id or object), and no token",
                )),
            });
        uri.map(Self)
            .map_err(|error| D::Error::custom(format!("\"{text}\" is {error}")))
    }
}

const SESSIONS: usize = 4;
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Config, ConfigError};

    fn parse(tables: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n\
             [keys]\nkey_file = \"/k\"\n{tables}"
        );
        Config::parse(&text, Path::new("/etc/kenin/kenin.toml"))
    }

    #[test]
    fn tokens_are_read() {
        let config = parse(
            "[[keys.token]]\nname = \"hsm\"\nmodule = \"/usr/lib/p.so\"\n\
             token = \"pkcs11:token=kenin\"\npin_file = \"hsm.pin\"\n\
             [[keys.token]]\nname = \"card\"\nmodule = \"m.so\"\n\
             token = \"pkcs11:serial=1\"\npin_credential = \"pin\"\nsessions = 1\n",
        );
        let tokens = config.unwrap().keys.unwrap().tokens;
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens[0].module, Path::new("/usr/lib/p.so"));
        let file = PathBuf::from("/etc/kenin/hsm.pin");
        assert_eq!(tokens[0].pin, Some(PinAt::File(file)));
        assert_eq!(tokens[0].sessions, 4);
        assert_eq!(tokens[1].module, Path::new("/etc/kenin/m.so"));
        assert_eq!(tokens[1].token.to_string(), "pkcs11:serial=1");
        assert_eq!(tokens[1].pin, Some(PinAt::Credential("pin".to_owned())));
        assert_eq!(tokens[1].sessions, 1);
        assert!(parse("").unwrap().keys.unwrap().tokens.is_empty());
    }

    #[test]
    fn mistakes_are_told() {
        let token = "[[keys.token]]\nname = \"hsm\"\nmodule = \"m\"\ntoken = \"pkcs11:token=a\"\n";
        for (tables, expected) in [
            (format!("{token}{token}"), "one name"),
            (format!("{token}sessions = 0\n"), "1 to 32"),
            (format!("{token}sessions = 33\n"), "1 to 32"),
            (
                format!("{token}pin_file = \"a\"\npin_credential = \"b\"\n"),
                "write one of",
            ),
            (format!("{token}pin_credential = \"../b\"\n"), "not a path"),
            (format!("{token}pin = \"1234\"\n"), "unknown field"),
            (token.replace("\"hsm\"", "\"\""), "few letters"),
            (token.replace("pkcs11:token=a", "a"), "pkcs11:"),
            (token.replace("pkcs11:token=a", "pkcs11:"), "which token"),
            (token.replace("token=a", "token=a;id=%01"), "no key"),
            (
                token.replace("token=a", "token=a?pin-value=1234"),
                "question mark",
            ),
        ] {
            let error = parse(&tables).unwrap_err().to_string();
            assert!(error.contains(expected), "{tables}{error}");
            assert!(error.contains("kenin.toml:"), "{error}");
        }
    }

    #[test]
    fn the_pin_is_read_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pin");
        let token = |pin| Token {
            name: "hsm".to_owned(),
            module: "/m".into(),
            token: TokenUri::default(),
            pin,
            sessions: 1,
        };
        let with_file = token(Some(PinAt::File(file.clone())));
        assert!(with_file.settings().is_err());
        fs::write(&file, "1234\n").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let settings = with_file.settings().unwrap();
        assert_eq!(settings.pin.unwrap().expose(), b"1234");
        assert!(token(None).settings().unwrap().pin.is_none());
    }
}
