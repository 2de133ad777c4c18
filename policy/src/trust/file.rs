//! `trust.toml` exactly as written: every default stands here, unknown keys are refused.

use std::path::PathBuf;

use kenin_pki::certificate::Certificate;
use kenin_pki::extension::KeyUsage;
use kenin_pki::oid::{self, OidBuf};
use kenin_pki::path::RevocationMode;
use serde::Deserialize;
use toml::Spanned;

use super::fetch::{FetchEntry, FetchTable, Mistake, Sources};
use super::{AnchorSettings, Disclosure};
use crate::profile::Profile;
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
    pub(super) fetch: FetchTable,
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
    profile: Option<Spanned<ProfileEntry>>,
    fetch: Option<Spanned<FetchEntry>>,
}

impl AnchorEntry {
    pub(super) fn settings(&self, text: &str, file: &str) -> Result<AnchorSettings, ConfigError> {
        let profile = self.profile.as_ref().map(|profile| {
            let read = profile.get_ref().read();
            read.map_err(|what| ConfigError::at(file, text, profile.span(), what))
        });
        Ok(AnchorSettings {
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
            profile: profile.transpose()?,
        })
    }

    /// What may be fetched for the authorities of this entry, if anything may.
    pub(super) fn sources(
        &self,
        certificates: &[Certificate],
        text: &str,
        file: &str,
    ) -> Result<Option<Sources>, ConfigError> {
        let read = self.fetch.as_ref().map(|fetch| {
            let (name, certificates) = (self.name.get_ref().clone(), certificates.to_vec());
            let sources = fetch.get_ref().read(name, certificates, text, file);
            sources.map_err(|what| match what {
                Mistake::Whole(what) => ConfigError::at(file, text, fetch.span(), what),
                Mistake::At(error) => error,
            })
        });
        read.transpose()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileEntry {
    certificate_policies: Option<Vec<String>>,
    key_usage: Option<Vec<Usage>>,
    holder_attributes: Option<String>,
}

impl ProfileEntry {
    fn read(&self) -> Result<Profile, String> {
        let mut profile = Profile::default();
        let usage = self.key_usage.as_deref();
        let policies = self.certificate_policies.as_deref();
        let holder = self.holder_attributes.as_deref();
        // An empty list would ask for nothing where somebody meant to ask for something.
        if (policies.is_none() && usage.is_none() && holder.is_none())
            || policies.is_some_and(<[_]>::is_empty)
            || usage.is_some_and(<[_]>::is_empty)
        {
            let text = "a profile that asks for nothing; write certificate_policies, key_usage or \
                        holder_attributes, each with something in it";
            return Err(text.to_owned());
        }
        for text in policies.unwrap_or_default() {
            let policy = identifier(text)?;
            // Every policy is no policy that could be told from another.
            if policy == oid::ANY_POLICY {
                return Err("anyPolicy is no policy of a profile".to_owned());
            }
            profile.policies.push(policy);
        }
        profile.key_usage =
            usage.map(|words| KeyUsage(words.iter().fold(0, |bits, word| bits | word.bit())));
        profile.holder_attributes = holder.map(identifier).transpose()?;
        Ok(profile)
    }
}

/// The key usages that a signer's certificate can have.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Usage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
}

impl Usage {
    const fn bit(&self) -> u16 {
        match self {
            Self::DigitalSignature => KeyUsage::DIGITAL_SIGNATURE,
            Self::NonRepudiation => KeyUsage::NON_REPUDIATION,
            Self::KeyEncipherment => KeyUsage::KEY_ENCIPHERMENT,
            Self::DataEncipherment => KeyUsage::DATA_ENCIPHERMENT,
            Self::KeyAgreement => KeyUsage::KEY_AGREEMENT,
        }
    }
}

fn identifier(text: &str) -> Result<OidBuf, String> {
    OidBuf::from_dotted(text).ok_or_else(|| format!("`{text}` is not an object identifier"))
}

fn mail_signing() -> Spanned<Vec<Use>> {
    Spanned::new(0..0, vec![Use::MailSigning])
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Use {
    MailSigning,
    TimeStamping,
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
