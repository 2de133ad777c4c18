//! `kenin sign`: signs one mail file as the gateway does it: in a form that relays do not change, with the header that
//! people read inside.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kenin_keys::KeyFacts;
use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{ContentKind, Weakness};
use kenin_pki::path::mail_signing_usage;
use kenin_pki::time::UnixTime;
use kenin_policy::protect::{Protection, copy};
use kenin_policy::{header, mailbox};
use kenin_smime::Limits;
use kenin_smime::header_protection::{HeaderProtection, protect_header};
use kenin_smime::sign::{CAPABILITIES, Form, Signer};

use super::arguments::Sign;
use super::aside::aside;
use super::decrypt::{address, write_out};
use super::encrypt::{mail, told};
use super::engine::now;
use super::key::{Folder, works_for};
use super::paint::harmless;
use super::private::Holder;
use crate::clock::plausible;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Signs the file.
pub(super) fn command(config: &[PathBuf], options: &Sign) -> Result<Exit, Failure> {
    let now = now();
    if let Some(why) = plausible(now, None).why() {
        let what = format!("this machine's time is {now}, and {why}: nothing is signed by it");
        return Err(Failure::new(Exit::Temporary, what));
    }
    let mut limits = Limits::default();
    let mut capabilities = options.capabilities;
    let pen = match (&options.key, &options.sender) {
        (Some(pair), _) => Pen::read(pair, options.password_file.as_deref(), now)?,
        (None, Some(sender)) => {
            let config = super::load_config(config)?;
            limits = config.engine_limits();
            let sender = address(sender)?;
            let (pen, opens) = Pen::of(&config, &sender, now)?;
            capabilities |= opens;
            pen
        }
        (None, None) => {
            let what = "name the key: --key CERT:KEY, or --sender ADDRESS for those of [keys]";
            return Err(Failure::new(Exit::Usage, what));
        }
    };
    let message = mail(&options.file, &limits)?;
    pen.look_at_sender(&message)?;
    let header = (!options.no_header_protection).then_some(HeaderProtection::Clear);
    let protection = Protection {
        encryption: None,
        sign: Some(match options.opaque {
            true => Form::Opaque,
            false => Form::Clear,
        }),
        header,
        required: true,
    };
    let said: &[ContentKind] = match capabilities {
        true => &CAPABILITIES,
        false => &[],
    };
    let signer = pen.signer(now, said);
    let signed = copy(&message, &protection, Some(&signer), &limits)
        .map_err(|error| told(&options.file, Exit::Data, &error))?;
    let who = pen.certificate.subject().to_string();
    let (algorithm, digest) = (signer.algorithm.name(), signer.digest.name());
    say(&format!(
        "signed by {}: {algorithm}, {digest}",
        harmless(&who)
    ))?;
    if header.is_some_and(|how| protect_header(&message, how).is_none()) {
        say("the header is not signed: the message is protected already, or its header is odd")?;
    }
    if !options.dry_run {
        write_out(options.output.as_deref(), &signed)?;
    }
    Ok(Exit::Ok)
}

/// What signs: a key, with the one of its certificates that is good for it now.
pub(super) struct Pen {
    holder: Holder,
    certificate: Certificate,
}

/// Why a key does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    /// There is none.
    #[error("there is no key")]
    Absent,
    /// It is not here.
    #[error("its key lies in a token, and signs for the service alone")]
    InToken,
    /// Something is wrong with it.
    #[error("{0}")]
    Weak(Weakness),
    /// All that is certified of it is something else.
    #[error("its certificate is not for signing mail")]
    Usage,
    /// It was, or will be.
    #[error("its certificate is not valid now")]
    Time,
}

impl Pen {
    /// The key that a person names, and no other.
    pub(super) fn read(
        pair: &str,
        password: Option<&Path>,
        now: UnixTime,
    ) -> Result<Self, Failure> {
        let mut why = Unfit::Absent;
        for holder in Holder::read(pair, password)? {
            match Self::new(holder, now) {
                Ok(pen) => return Ok(pen),
                Err(error) => why = error,
            }
        }
        Err(Failure::new(Exit::Data, format!("{pair}: {why}")))
    }

    /// The key of the folder that signs for an address, and whether another, or the same, opens mail to it.
    fn of(config: &Config, sender: &Address, now: UnixTime) -> Result<(Self, bool), Failure> {
        let folder = Folder::open(config)?;
        let opens = folder.has(|facts| facts.uses.decrypt && works_for(facts, sender))?;
        let wanted = |facts: &KeyFacts| facts.may_sign() && works_for(facts, sender);
        let signs = folder.holders(wanted)?;
        let who = harmless(&sender.to_string());
        let mut why = match folder.has_in_token(wanted)? {
            true => Unfit::InToken,
            false => Unfit::Absent,
        };
        let mut pens = Vec::new();
        for holder in signs {
            match Self::new(holder, now) {
                Ok(pen) => pens.push(pen),
                Err(error) => why = error,
            }
        }
        // Of several the one that the gateway would take, and not whose id happens to come first.
        let newest = pens.into_iter();
        let newest = newest.max_by_key(|pen| pen.certificate.not_before().ok());
        if let Some(pen) = newest {
            return Ok((pen, opens));
        }
        let what = format!("no key in the folder signs for {who}: {why}");
        Err(Failure::new(Exit::Data, what))
    }

    fn new(holder: Holder, now: UnixTime) -> Result<Self, Unfit> {
        if let Some(weakness) = holder.weakness {
            return Err(Unfit::Weak(weakness));
        }
        let signs = |one: &&Certificate| mail_signing_usage(one).is_ok();
        let lasts = |one: &&Certificate| {
            let begun = one.not_before().is_ok_and(|begin| begin <= now);
            begun && one.not_after().is_ok_and(|end| end >= now)
        };
        let signing: Vec<&Certificate> = holder.own.iter().filter(signs).collect();
        if signing.is_empty() {
            return Err(Unfit::Usage);
        }
        let valid = signing.into_iter().find(lasts);
        let certificate = valid.cloned();
        match certificate {
            Some(certificate) => Ok(Self {
                holder,
                certificate,
            }),
            None => Err(Unfit::Time),
        }
    }

    /// Signs at a time, and says what can be read.
    pub(super) fn signer<'a>(
        &'a self,
        now: UnixTime,
        capabilities: &'a [ContentKind],
    ) -> Signer<'a> {
        Signer {
            chain: &self.holder.chain,
            signing_time: Some(now),
            capabilities,
            ..Signer::new(&self.holder.key, &self.certificate)
        }
    }

    /// Says so where readers will find that somebody else sent the mail.
    fn look_at_sender(&self, message: &[u8]) -> io::Result<()> {
        let from = mailbox::from_field(message, &header::scan(message));
        let Ok(from) = from.mailbox else {
            return say(
                "From is not one plain mailbox: readers will not take the signature for its",
            );
        };
        let mut own = self.certificate.addresses().unwrap_or_default();
        own.extend(self.certificate.subject_addresses());
        let is_own = |own: &Address| own.matches(&from.address, AddressCase::Insensitive);
        if own.iter().any(is_own) {
            return Ok(());
        }
        let who = harmless(&from.address.to_string());
        say(&format!(
            "From is {who}, which does not stand in the certificate: readers will say from-mismatch"
        ))
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(aside(), "kenin: {text}")
}

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
    use kenin_pki::extension::KeyUsage;
    use kenin_pki::issue::{CertificateBuilder, common_name};
    use kenin_pki::oid;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const DAY: i64 = 86_400;

    fn holder(shapes: &[fn(CertificateBuilder) -> CertificateBuilder]) -> Holder {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = |shape: &fn(CertificateBuilder) -> CertificateBuilder| {
            let builder = CertificateBuilder::new(common_name("A").unwrap(), key.public_key());
            let builder = builder.validity(NOW.plus(-DAY), NOW.plus(DAY));
            shape(builder).self_signed(&key).unwrap()
        };
        let certificates: Vec<Certificate> = shapes.iter().map(certificate).collect();
        Holder::new(key, &certificates).unwrap().unwrap()
    }

    #[test]
    fn the_certificate_that_is_for_signatures_now_is_taken() {
        let ended = |b: CertificateBuilder| b.validity(NOW.plus(-9), NOW.plus(-1));
        let agrees = |b: CertificateBuilder| b.key_usage(KeyUsage::KEY_AGREEMENT);
        let signs = |b: CertificateBuilder| b.key_usage(KeyUsage::DIGITAL_SIGNATURE);
        let pen = Pen::new(holder(&[ended, agrees, signs]), NOW).ok().unwrap();
        let usage = pen.certificate.key_usage().unwrap().unwrap();
        assert!(usage.any(KeyUsage::DIGITAL_SIGNATURE));
        let why = |shape| Pen::new(holder(&[shape]), NOW).err().unwrap();
        assert_eq!(why(agrees), Unfit::Usage);
        // Nobody believes such a signature, whatever the key usage says.
        assert_eq!(
            why(|b: CertificateBuilder| b.ext_key_usage(&[oid::SERVER_AUTH])),
            Unfit::Usage
        );
        assert_eq!(why(ended), Unfit::Time);
    }
}
