//! `trust.toml` exactly as written: every default stands here, unknown keys are refused.

use std::path::PathBuf;

use kenin_pki::path::RevocationMode;
use serde::Deserialize;
use toml::Spanned;

use super::{AnchorSettings, Disclosure};
use crate::toml_error::ConfigError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustFile {
    #[serde(default)]
    pub(super) intermediates: Vec<PathBuf>,
    #[serde(default)]
    pub(super) crls: Vec<PathBuf>,
    #[serde(default)]
    pub(super) algorithms: Algorithms,
    #[serde(default)]
    pub(super) anchor: Vec<AnchorEntry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Algorithms {
    minimum_rsa_bits: Option<Spanned<usize>>,
}

impl Algorithms {
    /// The floor may be raised, never lowered.
    pub(super) fn checked_rsa_bits(&self, text: &str, file: &str) -> Result<usize, ConfigError> {
        let Some(bits) = &self.minimum_rsa_bits else {
            return Ok(2048);
        };
        match *bits.get_ref() {
            bits @ 2048..=8192 => Ok(bits),
            _ => Err(ConfigError::at(
                file,
                text,
                bits.span(),
                "minimum_rsa_bits must be between 2048 and 8192",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnchorEntry {
    pub(super) name: Spanned<String>,
    pub(super) file: Spanned<PathBuf>,
    #[serde(rename = "use", default = "mail_signing")]
    pub(super) uses: Spanned<Vec<Use>>,
    #[serde(default)]
    revocation: Revocation,
    #[serde(default)]
    disclosure: DisclosureWord,
    #[serde(default)]
    address_case: AddressCase,
    #[serde(default)]
    dn_email: bool,
}

impl AnchorEntry {
    pub(super) fn settings(&self) -> AnchorSettings {
        AnchorSettings {
            revocation: match self.revocation {
                Revocation::Required => RevocationMode::Required,
                Revocation::IfAvailable => RevocationMode::IfAvailable,
                Revocation::Off => RevocationMode::Off,
            },
            disclosure: match self.disclosure {
                DisclosureWord::Full => Disclosure::Full,
                DisclosureWord::VerdictOnly => Disclosure::VerdictOnly,
            },
            exact_case: self.address_case == AddressCase::Exact,
            dn_email: self.dn_email,
        }
    }
}

fn mail_signing() -> Spanned<Vec<Use>> {
    Spanned::new(0..0, vec![Use::MailSigning])
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Use {
    MailSigning,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Revocation {
    #[default]
    Required,
    IfAvailable,
    Off,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DisclosureWord {
    #[default]
    Full,
    VerdictOnly,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AddressCase {
    #[default]
    Insensitive,
    Exact,
}
