//! The certificate and key of `[wrap]`: what signs the messages that mail is wrapped in.
//!
//! Mail is worth more than its wrapping: without a usable key it goes on, stamped, and what must not be
//! shown stays out all the same.

use std::path::Path;

use kenin_certstore::read_certificates;
use kenin_pki::crypto::SoftKey;
use kenin_pki::time::UnixTime;
use kenin_policy::{Disclosure, TrustPolicy, Wrapper, WrapperError};

use tracing::{error, warn};

use crate::config::{Config, ConfigError};
use crate::keyfile;
use crate::snapshot::Snapshot;

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
    let text = match Standing::of(wrapper, now) {
        Standing::Over => {
            "the certificate is not valid now: mail is stamped, not wrapped".to_owned()
        }
        Standing::Ending(end) => format!("the certificate ends at {end}"),
        Standing::Good => return None,
    };
    let error = config.mistake("wrap.certificate", text);
    Some(error.hint("\"kenin init wrap --renew\" makes another under the same authority"))
}

/// Whether mail can be wrapped at this time; nothing where nobody asked for it.
pub(crate) fn is_usable(config: &Config, wrapper: Option<&Wrapper>, now: UnixTime) -> Option<bool> {
    let usable = || wrapper.is_some_and(|wrapper| wrapper.is_valid_at(now));
    config.wrap.as_ref().map(|_| usable())
}

/// How a certificate stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// It ends within 30 days.
    Ending(UnixTime),
    /// It has ended, or not begun.
    Over,
}

impl Standing {
    fn of(wrapper: &Wrapper, now: UnixTime) -> Self {
        if !wrapper.is_valid_at(now) {
            return Self::Over;
        }
        match wrapper.certificate().not_after() {
            Ok(end) if end < now.plus(SOON) => Self::Ending(end),
            _ => Self::Good,
        }
    }
}

/// Tells of the end of the certificate while the service runs: once when it comes near, once when it is there.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    /// Which certificate was looked at last, by its fingerprint, and how it stood.
    seen: Option<([u8; 32], Standing)>,
}

impl Vigil {
    /// Looks again, and logs what is new.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot, now: UnixTime) {
        let wrapper = snapshot.wrapper.as_ref();
        let Some(standing) = self.news(wrapper, now) else {
            return;
        };
        let Some(concern) = concern(&snapshot.config, &snapshot.trust, wrapper, now) else {
            return;
        };
        match standing {
            Standing::Over => error!(error = %concern, "wrapping mail"),
            Standing::Ending(_) | Standing::Good => warn!(error = %concern, "wrapping mail"),
        }
    }

    /// How the certificate stands, where that is worse than good and was not so the last time.
    fn news(&mut self, wrapper: Option<&Wrapper>, now: UnixTime) -> Option<Standing> {
        let seen = wrapper.map(|wrapper| {
            let fingerprint = *wrapper.certificate().sha256();
            (fingerprint, Standing::of(wrapper, now))
        });
        let before = std::mem::replace(&mut self.seen, seen);
        let (_, standing) = seen.filter(|_| seen != before)?;
        (standing != Standing::Good).then_some(standing)
    }
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

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{KeyType, SigningKey};
    use kenin_pki::issue::{CertificateBuilder, common_name};

    use super::*;

    const START: UnixTime = UnixTime(1_800_000_000);
    const DAY: i64 = 86_400;

    fn day(number: i64) -> UnixTime {
        START.plus(number * DAY)
    }

    /// One whose certificate is valid from the first day to the hundredth, or longer.
    fn wrapper(days: i64) -> Wrapper {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = CertificateBuilder::new(common_name("K").unwrap(), key.public_key())
            .mail_signer(&["kenin@gw.example.jp"])
            .validity(day(0), day(days))
            .self_signed(&key)
            .unwrap();
        Wrapper::new(Box::new(key), vec![certificate], "Kenin").unwrap()
    }

    #[test]
    fn the_end_is_told_once_when_it_is_near_and_once_when_it_is_there() {
        let first = wrapper(100);
        let mut vigil = Vigil::default();
        let ending = Some(Standing::Ending(day(100)));
        let second = wrapper(400);
        for (at, wrapper, news) in [
            (day(0), Some(&first), None),
            (day(70), Some(&first), None),
            (day(70).plus(1), Some(&first), ending),
            (day(71), Some(&first), None),
            (day(100), Some(&first), None),
            (day(100).plus(1), Some(&first), Some(Standing::Over)),
            (day(101), Some(&first), None),
            // Another one takes its place.
            (day(102), Some(&second), None),
            (day(399), Some(&second), Some(Standing::Ending(day(400)))),
            (day(399), None, None),
            (day(400).plus(1), Some(&second), Some(Standing::Over)),
            // The clock was wrong: it is told when it is right.
            (day(-1), Some(&second), None),
            (day(390), Some(&second), Some(Standing::Ending(day(400)))),
        ] {
            assert_eq!(vigil.news(wrapper, at), news, "{at}");
        }
        let at_start = Vigil::default().news(Some(&first), day(101));
        assert_eq!(at_start, Some(Standing::Over));
    }

    /// It stayed "usable" after the certificate had ended.
    #[test]
    fn whether_mail_can_be_wrapped_follows_the_time() {
        let text = "hostname = \"a.b\"\n[next_hop]\naddress = \"[::1]:25\"\n[[listener]]\n\
                    mode = \"after-queue\"\naddress = \"[::1]:10025\"\n";
        let without = Config::parse(text, Path::new("/nowhere/kenin.toml")).unwrap();
        let text = format!("{text}[wrap]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n");
        let with = Config::parse(&text, Path::new("/nowhere/kenin.toml")).unwrap();
        let wrapper = wrapper(100);
        for (at, usable) in [
            (day(-1), false),
            (day(0), true),
            (day(100), true),
            (day(100).plus(1), false),
        ] {
            assert_eq!(is_usable(&with, Some(&wrapper), at), Some(usable));
            assert_eq!(is_usable(&with, None, at), Some(false));
            assert_eq!(is_usable(&without, Some(&wrapper), at), None);
        }
    }
}
