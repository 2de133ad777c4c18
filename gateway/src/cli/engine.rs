//! The engine of the service for one file: the same case, steps and judgement, with an answerer that
//! knows only the files the options (and, with `--config`, trust.toml) name. Fetches nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kenin_certstore::{
    CertStore, RevocationIndex, StoreError, address_key, read_certificates, read_crls, read_ocsp,
};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::oid::OidBuf;
use kenin_pki::path::{Budget, RevocationMode};
use kenin_pki::time::UnixTime;
use kenin_policy::Verdict;
use kenin_policy::scrub::Scrubber;
use kenin_policy::step::{self, Answer, Case, Question};
use kenin_policy::trust::{Anchor, AnchorSettings, PathOptions, TrustPolicy};
use kenin_smime::{Examined, Limits, examine_cms};

use crate::clock::{self, Trust};
use crate::config::Config;
use crate::snapshot::remembered;
use crate::substitute;

use super::arguments::{JudgeOptions, Revocation, TrustOptions};
use super::aside::remark;
use super::input::{self, Kind};
use crate::exit::{Exit, Failure};

mod opened;

/// The name that is shown where no configuration says another.
const EXAMPLE_AUTHSERV_ID: &str = "smime.gw.example";

/// Everything needed to judge a file.
pub(super) struct Engine {
    pub(super) trust: TrustPolicy,
    trusts_nobody: bool,
    pub(super) store: CertStore,
    ocsp: Vec<OcspResponse>,
    /// Fingerprints of certificates with addresses that are registered to them.
    registrations: HashSet<([u8; 32], String)>,
    pub(super) time: UnixTime,
    /// Whether that can be right.
    clock: Trust,
    /// Under which name the service would stamp.
    pub(super) authserv_id: String,
    /// The other names of the site.
    pub(super) site_authserv_ids: Vec<String>,
    pub(super) limits: Limits,
    /// What paths may cost.
    pub(super) budget: Budget,
    content: Option<Vec<u8>>,
}

/// A verdict with the facts under it.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) examined: Examined,
    pub(super) kind: Kind,
    /// The bytes that were judged: mail with CRLF line ends.
    pub(super) bytes: Vec<u8>,
}

impl Engine {
    /// From the options, on top of the configuration if one is named.
    pub(super) fn new(config: &[PathBuf], options: &JudgeOptions) -> Result<Self, Failure> {
        let config = match config.is_empty() {
            true => None,
            false => Some(super::load_config(config)?),
        };
        let mut engine = Self::trusting(config.as_ref(), &options.trust)?;
        engine.say_if_nobody_is_trusted();
        if let Some(path) = &options.content {
            let read = input::read(path, engine.message_limit());
            engine.content = Some(read.map_err(|error| Failure::file(path, &error))?);
        }
        Ok(engine)
    }

    /// The same without a content beside the files.
    pub(super) fn trusting(
        config: Option<&Config>,
        options: &TrustOptions,
    ) -> Result<Self, Failure> {
        let time = match &options.at {
            None => now(),
            Some(text) => UnixTime::parse_rfc3339(text).ok_or_else(|| {
                let what = "is not a time like 2026-11-22T00:00:00Z";
                Failure::new(Exit::Usage, format!("--at {text} {what} (RFC 3339)"))
            })?,
        };
        let mut sources = Sources::default();
        let mut limits = Limits::default();
        let mut budget = Budget::DEFAULT;
        let mut authserv_id = EXAMPLE_AUTHSERV_ID.to_owned();
        let mut site_authserv_ids = Vec::new();
        if let Some(config) = config {
            limits = config.engine_limits();
            budget = config.caps.budget();
            sources.add_config(config)?;
            authserv_id.clone_from(&config.authserv_id);
            site_authserv_ids.clone_from(&config.site_authserv_ids);
        }
        sources.add_options(options)?;
        let path_options = path_options(options, &sources.path)?;
        let clock = match options.at {
            // Somebody says what time is meant, and it need not be the present one.
            Some(_) => Trust::Yes,
            None => clock::plausible(time, sources.mark),
        };
        if let Some(why) = clock.why() {
            remark(&format!(
                "this machine's time is {time}, which cannot be right: {why}"
            ));
        }
        let store = sources.store(time);
        Ok(Self {
            trusts_nobody: sources.anchors.is_empty(),
            trust: TrustPolicy::from_parts(sources.anchors, path_options)
                .with_time_stamping(sources.time_stamping),
            store,
            ocsp: sources.ocsp,
            registrations: sources.registrations,
            time,
            clock,
            authserv_id,
            site_authserv_ids,
            limits,
            budget,
            content: None,
        })
    }

    /// For whatever asks whom to trust.
    pub(super) fn say_if_nobody_is_trusted(&self) {
        if self.trusts_nobody {
            let how = "name --anchor PATH, or --config FILE with an anchor in its trust.toml";
            remark(&format!("nothing is trusted: {how}"));
        }
    }

    /// Whether the time can be right.
    pub(super) const fn clock(&self) -> Trust {
        self.clock
    }

    /// How long a message may be.
    pub(super) fn message_limit(&self) -> u64 {
        u64::try_from(self.limits.message_size).unwrap_or(u64::MAX)
    }

    /// Judges the bytes of a file.
    pub(super) fn judge(&self, bytes: Vec<u8>) -> Judged {
        if let Some(cms) = input::base64_cms(&bytes) {
            return self.judge_cms(cms);
        }
        // A content beside it says that the file is CMS, even where it does not look like it.
        let kind = if self.content.is_some() {
            Kind::Cms
        } else {
            input::kind(&bytes)
        };
        if kind == Kind::Cms {
            return self.judge_cms(bytes);
        }
        let converted = match input::wire_form(&bytes) {
            Cow::Owned(mail) => Some(mail),
            Cow::Borrowed(_) => None,
        };
        self.judge_mail(converted.unwrap_or(bytes))
    }

    /// Judges a mail as it is.
    fn judge_mail(&self, mail: Vec<u8>) -> Judged {
        let known = self.store.intermediates();
        // What the service says is about the mail without the forged stamps that it takes out.
        let scrubber = Scrubber::new(&self.authserv_id, &self.site_authserv_ids);
        let case = Case::new(&mail, &self.trust, known, self.time, &self.limits)
            .within(self.budget.clone())
            .scrubbed_by(&mail, &scrubber);
        let outcome = step::run(&case, |question| self.answer(question));
        let examined = case.examined().clone();
        Judged {
            verdict: substitute::unless_clock_is_trusted(outcome.verdict, self.clock),
            examined,
            kind: Kind::Mail,
            bytes: mail,
        }
    }

    fn judge_cms(&self, bytes: Vec<u8>) -> Judged {
        let known = self.store.intermediates();
        let content = self.content.as_deref();
        let examined = examine_cms(&bytes, content, &self.limits, known);
        let case = Case::bare(examined, &self.trust, known, self.time).within(self.budget.clone());
        let outcome = step::run(&case, |question| self.answer(question));
        let examined = case.examined().clone();
        Judged {
            verdict: substitute::unless_clock_is_trusted(outcome.verdict, self.clock),
            examined,
            kind: Kind::Cms,
            bytes,
        }
    }

    /// What the files say of a certificate. As with lists, those from after the time count only where there are no
    /// others: nobody could have had them then.
    fn responses(&self, certificate: &Certificate) -> Vec<OcspResponse> {
        let all = self.ocsp.iter().filter(|one| one.mentions(certificate));
        let (after, before): (Vec<_>, Vec<_>) = all
            .cloned()
            .partition(|one| one.produced_at().is_ahead_of(self.time));
        if before.is_empty() { after } else { before }
    }

    /// Answers from the files.
    pub(super) fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Issuers { name, key_id, .. } => {
                Answer::Issuers(self.store.issuers(name, key_id.as_deref()))
            }
            Question::Status {
                certificate,
                issuer,
                ..
            } => Answer::Status {
                crls: self.store.crls(issuer, self.time),
                ocsp: self.responses(certificate),
                unasked: false,
            },
            Question::Registration {
                certificate,
                address,
            } => {
                let asked = (*certificate, address_key(address));
                Answer::Registered(self.registrations.contains(&asked))
            }
        }
    }
}

/// What the options and files name, before it is put together.
#[derive(Default)]
struct Sources {
    anchors: Vec<Anchor>,
    time_stamping: Vec<Anchor>,
    certificates: Vec<Certificate>,
    crls: Vec<Crl>,
    ocsp: Vec<OcspResponse>,
    registrations: HashSet<([u8; 32], String)>,
    /// The latest time that the service believed.
    mark: Option<UnixTime>,
    /// Takes the long lists; what is read of them outlives it.
    lists: RevocationIndex,
    path: PathOptions,
}

impl Sources {
    /// What is known at that time. Of an issuer with lists from before and after it, only those from
    /// before count: the store keeps the newest, which nobody could have had then.
    fn store(&mut self, time: UnixTime) -> CertStore {
        let mut crls = std::mem::take(&mut self.crls);
        let had: HashSet<Name> = crls
            .iter()
            .filter(|crl| !crl.this_update().is_ahead_of(time))
            .map(|crl| crl.issuer().clone())
            .collect();
        crls.retain(|crl| !crl.this_update().is_ahead_of(time) || !had.contains(crl.issuer()));
        let signers: Vec<Certificate> = self
            .anchors
            .iter()
            .map(|anchor| anchor.certificate.clone())
            .collect();
        CertStore::new(std::mem::take(&mut self.certificates), crls, &signers)
    }

    fn add_config(&mut self, config: &Config) -> Result<(), Failure> {
        let file = config.trust_file();
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let what = format!(
                "{}: {error} (\"kenin init postfix\" writes one)",
                file.display()
            );
            Failure::new(Exit::Configuration, what)
        })?;
        let dir = config.dir.clone();
        let load = |path: &Path| read_certificates(&dir.join(path)).map_err(|e| e.to_string());
        let policy = TrustPolicy::from_toml(&text, &file.to_string_lossy(), &load)
            .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
        let wrong = |error: StoreError| Failure::new(Exit::Configuration, error.to_string());
        for path in policy.intermediates() {
            self.certificates
                .extend(read_certificates(&dir.join(path)).map_err(wrong)?);
        }
        for path in policy.crls() {
            self.crls
                .extend(read_crls(&dir.join(path), &self.lists).map_err(wrong)?);
        }
        // The service goes on with what it remembers, and so must what says the same as it.
        match remembered(config) {
            Ok(remembered) => {
                self.certificates.extend(remembered.authorities);
                self.crls.extend(remembered.crls);
                self.registrations.extend(remembered.registrations);
                self.mark = remembered.mark.map(|mark| mark.time);
            }
            Err(error) => remark(&format!("the service's store is left out: {error}")),
        }
        self.anchors.extend(policy.anchors().iter().cloned());
        self.time_stamping
            .extend(policy.time_stamping().iter().cloned());
        self.path = policy.options().clone();
        Ok(())
    }

    fn add_options(&mut self, options: &TrustOptions) -> Result<(), Failure> {
        if let Some(rule) = options.revocation {
            for anchor in &mut self.anchors {
                anchor.settings.revocation = mode(rule);
            }
        }
        let rule = mode(options.revocation.unwrap_or(Revocation::Required));
        for path in &options.anchor {
            let found = read_certificates(path).map_err(|error| failure(&error))?;
            say_if_empty(path, &found);
            let many = found.len() > 1;
            for (place, certificate) in found.into_iter().enumerate() {
                let file = path
                    .file_name()
                    .map_or_else(|| path.to_string_lossy(), |n| n.to_string_lossy());
                let name = if many {
                    format!("{file}#{}", place.saturating_add(1))
                } else {
                    file.into_owned()
                };
                let settings = AnchorSettings {
                    revocation: rule,
                    ..AnchorSettings::default()
                };
                self.anchors.push(Anchor {
                    name,
                    certificate,
                    settings,
                });
            }
        }
        for path in &options.intermediate {
            self.certificates.extend(several(
                path,
                read_certificates,
                &["pem", "crt", "cer", "der"],
            )?);
        }
        for path in &options.crl {
            let read = |path: &Path| read_crls(path, &self.lists);
            let found = several(path, read, &["pem", "crl", "der"])?;
            self.crls.extend(found);
        }
        for path in &options.ocsp {
            self.ocsp
                .extend(several(path, read_ocsp, &["ors", "ocsp", "der"])?);
        }
        Ok(())
    }
}

/// Reads a file, or every file of a folder. In a folder of many hands one that cannot be used is
/// said on standard error and passed over: it only takes away, it cannot make anything trusted.
fn several<T>(
    path: &Path,
    read: impl Fn(&Path) -> Result<Vec<T>, StoreError>,
    extensions: &[&str],
) -> Result<Vec<T>, Failure> {
    if !path.is_dir() {
        return read(path).map_err(|error| failure(&error));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|error| Failure::file(path, &error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let extension = file
                .extension()
                .and_then(|e| e.to_str())
                .map(str::to_ascii_lowercase);
            file.is_file() && extension.is_some_and(|e| extensions.contains(&e.as_str()))
        })
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        match read(&file) {
            Ok(more) => found.extend(more),
            // Certificates and lists often share a folder.
            Err(_) if is_of_the_other_kind(&file) => {}
            // So do keys.
            Err(StoreError::Content { message, .. }) if message.starts_with("holds no ") => {}
            Err(error) => remark(&format!("passed over: {error}")),
        }
    }
    say_if_empty(path, &found);
    Ok(found)
}

/// A folder without anything of use is probably not the one that was meant.
fn say_if_empty<T>(folder: &Path, found: &[T]) {
    if found.is_empty() {
        let folder = folder.display();
        remark(&format!(
            "{folder}: nothing of use in it (*.pem, *.crt, *.cer, *.crl, *.ors, *.der)"
        ));
    }
}

fn is_of_the_other_kind(file: &Path) -> bool {
    let lists = RevocationIndex::passing();
    read_certificates(file).is_ok() || read_crls(file, &lists).is_ok() || read_ocsp(file).is_ok()
}

/// What the certificate store says, with its exit code.
pub(super) fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Read { path, error } => {
            let mut failure = Failure::file(path, error);
            failure.exit = Exit::NoInput;
            failure
        }
        _ => Failure::new(Exit::Data, error.to_string()),
    }
}

fn path_options(options: &TrustOptions, base: &PathOptions) -> Result<PathOptions, Failure> {
    let mut path = base.clone();
    for text in &options.initial_policy {
        let oid = OidBuf::from_dotted(text).ok_or_else(|| {
            let what = "is not an object identifier like 2.16.840.1.101.3.2.1.48.1";
            Failure::new(Exit::Usage, format!("--initial-policy {text} {what}"))
        })?;
        path.initial_policies.push(oid);
    }
    path.require_explicit_policy |= options.require_explicit_policy;
    path.inhibit_policy_mapping |= options.inhibit_policy_mapping;
    path.inhibit_any_policy |= options.inhibit_any_policy;
    Ok(path)
}

const fn mode(rule: Revocation) -> RevocationMode {
    match rule {
        Revocation::Required => RevocationMode::Required,
        Revocation::IfAvailable => RevocationMode::IfAvailable,
        Revocation::Off => RevocationMode::Off,
    }
}

/// The clock of a command that a person runs.
pub(crate) fn now() -> UnixTime {
    clock::unix_time(clock::now())
}

#[cfg(test)]
mod tests;
