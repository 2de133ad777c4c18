//! `kenin encrypt`: encrypts one mail file for recipients whose certificates are looked at now, as the gateway does it.
//! Where one recipient has none that is good, nothing is written: nobody gets a mail that another cannot read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kenin_certstore::{DEFAULT_TENANT, Origin, read_certificates};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Aes, ContentKind};
use kenin_pki::path::encrypting_usage;
use kenin_policy::mail::Unknown;
use kenin_policy::protect::{Encryption, Protection, Reader, cipher_for, copy};
use kenin_policy::reason::Reason;
use kenin_policy::recipient::{self, Judged, RecipientCase, Refused};
use kenin_smime::header_protection::{HeaderProtection, protect_header};
use kenin_smime::sign::Form;
use kenin_smime::{Capabilities, Limits};

use super::arguments::{Cipher, Encrypt};
use super::aside::aside;
use super::cert::find::{Finding, Search, search};
use super::decrypt::{address, write_out};
use super::engine::{Engine, failure};
use super::input::{self, Kind};
use super::paint::harmless;
use super::sign::Pen;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store;

/// Encrypts the file.
pub(super) fn command(config: &[PathBuf], options: &Encrypt) -> Result<Exit, Failure> {
    if options.to.is_empty() && options.certificate.is_empty() {
        let what = "name the recipients: --to ADDRESS, or --certificate FILE";
        return Err(Failure::new(Exit::Usage, what));
    }
    let config = match options.to.is_empty() && config.is_empty() {
        true => None,
        false => Some(super::load_config(config)?),
    };
    let engine = Engine::trusting(config.as_ref(), &options.trust)?;
    // --unchecked asks nobody, and goes without --to.
    if !options.unchecked {
        engine.say_if_nobody_is_trusted();
    }
    if !engine.clock().is_trusted() && !options.unchecked {
        let what = "this machine's time cannot be right: nothing is encrypted by it";
        return Err(Failure::new(Exit::Temporary, what));
    }
    let pen = match &options.sign_with {
        Some(pair) => Some(Pen::read(
            pair,
            options.password_file.as_deref(),
            engine.time,
        )?),
        None => None,
    };
    let message = mail(&options.file, &engine.limits)?;
    let readers = readers(config.as_ref(), &engine, options)?;
    let said: Vec<Option<&Capabilities>> = readers.iter().map(|one| one.said.as_ref()).collect();
    let cipher = options.cipher.map_or_else(
        || cipher_for(said.iter().copied(), Unknown::Cbc),
        content_kind,
    );
    let protection = Protection {
        sign: pen.as_ref().map(|_| Form::Clear),
        header: (!options.no_header_protection).then_some(HeaderProtection::Cipher),
        required: true,
        encryption: Some(Encryption {
            cipher,
            readers: readers.iter().map(Found::reader).collect(),
        }),
    };
    let signer = pen.as_ref().map(|pen| pen.signer(engine.time, &[]));
    let copied = copy(&message, &protection, signer.as_ref(), &engine.limits)
        .map_err(|error| told(&options.file, Exit::Data, &error))?;
    tell(&engine, &message, &protection, cipher)?;
    if !options.dry_run {
        write_out(options.output.as_deref(), &copied)?;
    }
    Ok(Exit::Ok)
}

/// The mail of a file, as it travels.
pub(super) fn mail(file: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let most = u64::try_from(limits.message_size).unwrap_or(u64::MAX);
    let bytes = input::read(file, most).map_err(|error| Failure::file(file, &error))?;
    if bytes.len() > limits.message_size {
        return Err(told(file, Exit::Data, &"larger than any mail"));
    }
    if bytes.is_empty() {
        return Err(told(file, Exit::Data, &"it is empty, and no mail"));
    }
    if input::kind(&bytes) == Kind::Cms || input::base64_cms(&bytes).is_some() {
        let what = "a bare CMS object, and no mail";
        return Err(told(file, Exit::Data, &what));
    }
    let converted = match input::wire_form(&bytes) {
        Cow::Owned(mail) => Some(mail),
        Cow::Borrowed(_) => None,
    };
    Ok(converted.unwrap_or(bytes))
}

/// Somebody whom it is encrypted for.
struct Found {
    certificate: Certificate,
    /// What its holder can read, as far as anybody said so.
    said: Option<Capabilities>,
}

impl Found {
    fn reader(&self) -> Reader {
        Reader {
            certificate: self.certificate.clone(),
            oaep: self.said.as_ref().is_some_and(|said| said.oaep),
        }
    }
}

/// A certificate for each recipient, each once.
fn readers(
    config: Option<&Config>,
    engine: &Engine,
    options: &Encrypt,
) -> Result<Vec<Found>, Failure> {
    let mut chosen: Vec<Certificate> = Vec::new();
    let mut add = |certificate: Certificate| {
        if !chosen.contains(&certificate) {
            chosen.push(certificate);
        }
    };
    for file in &options.certificate {
        add(of_file(engine, file, options.unchecked)?);
    }
    let addresses: Vec<Address> = options
        .to
        .iter()
        .map(|text| address(text))
        .collect::<Result<_, _>>()?;
    let mut kept = HashMap::new();
    if let Some(config) = config {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        for one in &addresses {
            add(of_address(
                engine,
                one,
                runtime.block_on(search(config, one))?,
            )?);
        }
        kept = runtime.block_on(said(config, &chosen));
    }
    let found = chosen.into_iter().map(|certificate| Found {
        said: kept
            .remove(certificate.sha256())
            .or_else(|| Capabilities::of_certificate(&certificate)),
        certificate,
    });
    Ok(found.collect())
}

/// What the store remembers that holders of certificates said; nothing where there is no store.
async fn said(config: &Config, chosen: &[Certificate]) -> HashMap<[u8; 32], Capabilities> {
    let mut found = HashMap::new();
    let Ok(store) = store::open_to_read(config).await else {
        return found;
    };
    for certificate in chosen {
        let sha256 = certificate.sha256();
        if let Ok(Some(kept)) = store.capabilities(DEFAULT_TENANT, sha256).await {
            let said = Capabilities {
                ciphers: kept.ciphers,
                oaep: kept.oaep,
            };
            found.insert(*sha256, said);
        }
    }
    store.close().await;
    found
}

/// The certificate in a file, the first one; what stands behind it may lead up from it.
fn of_file(engine: &Engine, file: &Path, unchecked: bool) -> Result<Certificate, Failure> {
    let read = read_certificates(file);
    let read = read.map_err(|error| failure(&error))?;
    let Some((certificate, chain)) = read.split_first() else {
        return Err(told(file, Exit::Data, &"holds no certificate"));
    };
    let subject = harmless(&certificate.subject().to_string());
    if unchecked {
        if let Some((reason, detail)) = fault(certificate) {
            let what = format!(
                "{subject} is not good for encryption; nothing is encrypted: {} ({})",
                reason.id(),
                harmless(&detail)
            );
            return Err(told(file, Exit::Negative, &what));
        }
        say(&format!(
            "for {subject}: neither path nor status was looked at"
        ))?;
        return Ok(certificate.clone());
    }
    let mut own = certificate.addresses().unwrap_or_default();
    own.extend(certificate.subject_addresses());
    let Some(address) = own.first() else {
        let what = "no mail address stands in the certificate; register it to one, and say --to";
        return Err(told(file, Exit::Data, &what));
    };
    let only = std::slice::from_ref(certificate);
    let judged = judge(engine, address, only, chain);
    if judged.good.is_empty() {
        return Err(refused(address, only, &judged, &[], false));
    }
    say(&format!(
        "for {}: {subject}",
        harmless(&address.to_string())
    ))?;
    Ok(certificate.clone())
}

/// What a certificate says against itself, whoever vouches for it: what its key is for, or that the key is weak.
fn fault(certificate: &Certificate) -> Option<(Reason, String)> {
    if let Err(error) = encrypting_usage(certificate) {
        return Some((Reason::KeyUsage, error.detail().to_owned()));
    }
    let weakness = certificate.public_key().weakness()?;
    Some((Reason::WeakAlgorithm, weakness.to_string()))
}

/// The best of the certificates that were found for an address.
fn of_address(
    engine: &Engine,
    address: &Address,
    searched: Search,
) -> Result<Certificate, Failure> {
    let (mut looked_at, mut bad) = (Vec::new(), Judged::default());
    // As the gateway does it: what came by itself does not take the place of what an administrator put there.
    for origin in [Origin::Admin, Origin::Harvest, Origin::Directory] {
        let used = |one: &&Finding| !one.kept.quarantined && one.kept.origin == origin;
        let found: Vec<&Finding> = searched.found.iter().filter(used).collect();
        let certificates: Vec<Certificate> = found
            .iter()
            .map(|one| one.kept.certificate.clone())
            .collect();
        let judged = judge(engine, address, &certificates, &[]);
        if let Some(best) = judged.good.first().and_then(|at| found.get(*at)) {
            let subject = best.kept.certificate.subject().to_string();
            say(&format!(
                "for {}: {} ({})",
                harmless(&address.to_string()),
                harmless(&subject),
                harmless(&best.place)
            ))?;
            return Ok(best.kept.certificate.clone());
        }
        let before = looked_at.len();
        bad.refused
            .extend(judged.refused.into_iter().map(|one| Refused {
                position: before + one.position,
                ..one
            }));
        looked_at.extend(certificates);
    }
    let waits = |one: &&Finding| one.kept.quarantined;
    let waiting: Vec<&Finding> = searched.found.iter().filter(waits).collect();
    Err(refused(
        address,
        &looked_at,
        &bad,
        &waiting,
        searched.silent,
    ))
}

fn judge(
    engine: &Engine,
    address: &Address,
    certificates: &[Certificate],
    chain: &[Certificate],
) -> Judged {
    let known = [engine.store.intermediates(), chain].concat();
    let case = RecipientCase::new(address, certificates, &engine.trust, &known, engine.time);
    let case = case.within(engine.budget.clone());
    recipient::run(&case, |question| engine.answer(question))
}

/// Why nothing is encrypted for an address, certificate by certificate; those in quarantine are named.
fn refused(
    address: &Address,
    certificates: &[Certificate],
    judged: &Judged,
    waiting: &[&Finding],
    silent: bool,
) -> Failure {
    let who = harmless(&address.to_string());
    let mut text = match certificates.is_empty() && waiting.is_empty() {
        true => format!("no certificate was found for {who}; nothing is encrypted"),
        false => {
            format!("no certificate of {who} is good for encryption now; nothing is encrypted")
        }
    };
    for one in &judged.refused {
        let subject = certificates.get(one.position).map(Certificate::subject);
        let subject = subject.map_or_else(String::new, ToString::to_string);
        text.push_str(&format!(
            "\n  {}: {} ({})",
            harmless(&subject),
            one.reason.id(),
            harmless(&one.detail)
        ));
    }
    for one in waiting {
        text.push_str(&format!(
            "\n  {}: quarantined (kenin cert promote)",
            harmless(&one.kept.certificate.subject().to_string())
        ));
    }
    let exit = match () {
        () if judged.is_to_be_tried_again() => Exit::Temporary,
        () if silent => Exit::Unavailable,
        () => Exit::Negative,
    };
    Failure::new(exit, text)
}

/// Says how it is encrypted, and what is left open by that.
fn tell(
    engine: &Engine,
    message: &[u8],
    protection: &Protection,
    cipher: ContentKind,
) -> io::Result<()> {
    say(&format!("encrypted by {}", name(cipher)))?;
    let examined = kenin_smime::examine(message, &engine.limits, &[]);
    let signed = protection.sign.is_some() || examined.root_signature().is_some();
    if matches!(cipher, ContentKind::AesCbc(_)) && !signed {
        say("integrity: none: sign it too (--sign-with), or nobody notices changes on its way")?;
    }
    let protected = protection
        .header
        .and_then(|how| protect_header(message, how))
        .is_some();
    if !protected {
        say("the header stays as it is: everybody on the way can read its Subject")?;
    }
    Ok(())
}

const fn content_kind(cipher: Cipher) -> ContentKind {
    match cipher {
        Cipher::Aes256Gcm => ContentKind::AesGcm(Aes::Bits256),
        Cipher::Aes128Gcm => ContentKind::AesGcm(Aes::Bits128),
        Cipher::Aes256Cbc => ContentKind::AesCbc(Aes::Bits256),
        Cipher::Aes128Cbc => ContentKind::AesCbc(Aes::Bits128),
        Cipher::ChaCha20Poly1305 => ContentKind::ChaCha20Poly1305,
    }
}

const fn name(kind: ContentKind) -> &'static str {
    match kind {
        ContentKind::AesGcm(Aes::Bits256) => "aes-256-gcm",
        ContentKind::AesGcm(Aes::Bits192) => "aes-192-gcm",
        ContentKind::AesGcm(Aes::Bits128) => "aes-128-gcm",
        ContentKind::AesCbc(Aes::Bits256) => "aes-256-cbc",
        ContentKind::AesCbc(Aes::Bits192) => "aes-192-cbc",
        ContentKind::AesCbc(Aes::Bits128) => "aes-128-cbc",
        ContentKind::ChaCha20Poly1305 => "chacha20-poly1305",
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(aside(), "kenin: {text}")
}

pub(super) fn told(file: &Path, exit: Exit, what: &dyn Display) -> Failure {
    Failure::new(exit, format!("{}: {what}", file.display()))
}
