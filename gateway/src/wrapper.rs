//! The certificate and key of `[wrap]`: what signs the messages that mail is wrapped in.
//!
//! Mail is worth more than its wrapping: without a usable key it goes on, stamped, and what must not be
//! shown stays out all the same.

use std::path::Path;

use kenin_certstore::read_certificates;
use kenin_pki::crypto::SoftKey;
use kenin_pki::time::UnixTime;
use kenin_policy::{Disclosure, TrustPolicy, Wrapper, WrapperError};

use crate::config::{Config, ConfigError};
use crate::keyfile;

/// Reads certificate and key; nothing where `[wrap]` is not set.
pub(crate) fn read(config: &Config) -> Result<Option<Wrapper>, ConfigError> {
    let Some(wrap) = &config.wrap else {
        return Ok(None);
    };
    let wrong = |key: &str, path: &Path, text: &str| {
        let mistake = config.mistake(key, format!("{}: {text}", path.display()));
        mistake.hint(HINT)
    };
    let certificates = read_certificates(&wrap.certificate).map_err(|error| {
        let mistake = config.mistake("wrap.certificate", error.to_string());
        mistake.hint(HINT)
    })?;
    let bytes = keyfile::read(config, "wrap.key", &wrap.key, HINT)?;
    let key = SoftKey::from_pem_or_der(&bytes)
        .map_err(|error| wrong("wrap.key", &wrap.key, &error.to_string()))?;
    match Wrapper::new(Box::new(key), certificates, &wrap.name) {
        Ok(wrapper) => Ok(Some(wrapper)),
        Err(error @ WrapperError::OtherKey) => {
            Err(wrong("wrap.key", &wrap.key, &error.to_string()))
        }
        Err(error) => {
            let text = error.to_string();
            Err(wrong("wrap.certificate", &wrap.certificate, &text))
        }
    }
}

/// What is wrong with the wrapping at this time, for those who look after it.
pub(crate) fn concern(
    config: &Config,
    trust: &TrustPolicy,
    wrapper: Option<&Wrapper>,
    now: UnixTime,
) -> Option<ConfigError> {
    let Some(wrapper) = wrapper else {
        let anchor = shielding(trust).filter(|_| config.wrap.is_none())?;
        let text = format!(
            "anchor \"{anchor}\" shows the verdict only, and there is no [wrap]: its mail loses its signature \
             and gets a stamp, but no signed statement that people can read"
        );
        let error = ConfigError::new(config.trust_file(), text);
        return Some(error.hint("\"kenin init wrap\" makes certificate and key for it"));
    };
    let end = wrapper.certificate().not_after().ok()?;
    let text = match wrapper.is_valid_at(now) {
        false => "the certificate is not valid now: mail is stamped, not wrapped".to_owned(),
        true if end < now.plus(SOON) => format!("the certificate ends at {end}"),
        true => return None,
    };
    let error = config.mistake("wrap.certificate", text);
    Some(error.hint("\"kenin init wrap --renew\" makes another under the same authority"))
}

/// The name of an anchor whose certificates must not be shown.
pub(crate) fn shielding(trust: &TrustPolicy) -> Option<&str> {
    let mut anchors = trust.anchors().iter();
    let closed = anchors.find(|anchor| anchor.settings.disclosure == Disclosure::VerdictOnly);
    closed.map(|anchor| anchor.name.as_str())
}

const HINT: &str = "\"kenin init wrap\" makes certificate and key";
/// 30 days, in seconds.
const SOON: i64 = 30 * 86_400;
