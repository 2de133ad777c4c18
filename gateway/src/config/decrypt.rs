//! `[decrypt]`: how mail that was opened is kept while it passes, and on which way it goes on. Whose mail is opened is
//! said by keys and by the rules of `mail.toml`.

use kenin_pki::address::Address;
use serde::Deserialize;

use super::value::Size;

/// What becomes of mail that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypt {
    /// `memory`: octets that all mails which are open at one moment may take. Default 256M.
    pub memory: u64,
    /// `return_path`: who gets what comes back of mail that went on in confidence. Default: nobody.
    pub return_path: Option<String>,
    /// `receipts`. Default `strip`.
    pub receipts: Receipts,
}

/// What becomes of a sender's wish for a receipt in mail that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receipts {
    /// The fields are taken out.
    Strip,
    /// They stay.
    Keep,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDecrypt {
    pub(super) memory: Option<Size>,
    pub(super) return_path: Option<String>,
    pub(super) receipts: Option<Receipts>,
}

impl RawDecrypt {
    /// With its defaults; an error comes with the key that is to blame.
    pub(super) fn finish(self) -> Result<Decrypt, (&'static str, String)> {
        let memory = self.memory.map_or(DEFAULT_MEMORY, |size| size.0);
        if memory < LEAST_MEMORY {
            return Err(("decrypt.memory", "memory is below 16M".to_owned()));
        }
        let return_path = match self.return_path.as_deref() {
            None | Some("") => None,
            Some(path) => match Address::parse(path) {
                Ok(address) if address.is_ascii() && is_plain(path) => Some(path.to_owned()),
                _ => {
                    let text = format!("\"{path}\" is no mail address of ASCII");
                    return Err(("decrypt.return_path", text));
                }
            },
        };
        Ok(Decrypt {
            memory,
            return_path,
            receipts: self.receipts.unwrap_or(Receipts::Strip),
        })
    }
}

/// Whether it is said in SMTP as it stands here, without quotes.
fn is_plain(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"@.-_+=".contains(&byte))
}

const DEFAULT_MEMORY: u64 = 256 << 20;
const LEAST_MEMORY: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError};

    fn parse(lines: &str) -> Result<Decrypt, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n{lines}"
        );
        let config = Config::parse(&text, Path::new("/etc/kenin/kenin.toml"));
        config.map(|config| config.decrypt)
    }

    #[test]
    fn there_are_defaults_and_all_can_be_said() {
        let default = Decrypt {
            memory: 256 << 20,
            return_path: None,
            receipts: Receipts::Strip,
        };
        assert_eq!(parse("").unwrap(), default);
        assert_eq!(
            parse("[decrypt]\nreturn_path = \"\"\n").unwrap(),
            default,
            "the null sender"
        );
        let said = parse(
            "[decrypt]\nmemory = \"1G\"\nreturn_path = \"kenin-bounces@example.jp\"\nreceipts = \"keep\"\n",
        );
        let wanted = Decrypt {
            memory: 1 << 30,
            return_path: Some("kenin-bounces@example.jp".to_owned()),
            receipts: Receipts::Keep,
        };
        assert_eq!(said.unwrap(), wanted);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (line, told) in [
            ("memory = \"1M\"", "memory is below 16M"),
            ("return_path = \"nobody\"", "is no mail address"),
            ("return_path = \"a b@example.jp\"", "is no mail address"),
            ("return_path = \"<a@example.jp>\"", "is no mail address"),
            ("return_path = \"\\u691c@example.jp\"", "is no mail address"),
            ("receipts = \"drop\"", "unknown variant"),
            ("memroy = 1", "did you mean \"memory\"?"),
        ] {
            let error = parse(&format!("[decrypt]\n{line}\n")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("kenin.toml:8:"), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }
}
