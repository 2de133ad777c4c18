//! `kenin check`: configuration, policy, references, then environment. Finds the mistake before
//! the reload does; changes nothing but for trying out ports and folders.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::config::{Config, ConfigError, StoreAt};
use crate::exit::Exit;
use kenin_certstore::RevocationIndex;

use crate::snapshot::{Parts, Remembered, Snapshot, remembered};
use crate::store::OpenError;

mod environment;
mod keys;
mod protection;
mod references;
mod services;

/// What the command line says about `kenin check`.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Configuration files; none means the usual ones.
    pub config: Vec<PathBuf>,
    /// Skip the environment (ports, freshness, other programs).
    pub offline: bool,
    /// Warnings count as errors.
    pub deny_warnings: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Kenin would not start, or would keep the old configuration.
    Error,
    /// Kenin would start, but probably not do what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The file, if one is to blame.
    pub file: Option<PathBuf>,
    /// Line in it, from 1.
    pub line: Option<usize>,
    /// Column in it, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do, e.g. `did you mean "hostname"?`.
    pub hint: Option<String>,
    /// All that, to be written for people.
    #[serde(skip)]
    error: ConfigError,
}

/// Everything found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether the configuration may be used (with `deny_warnings`: without any warning).
    pub ok: bool,
    /// In the order found.
    pub findings: Vec<Finding>,
    /// What is well and worth a word.
    pub notes: Vec<String>,
}

/// Checks the configuration.
pub fn check(options: &CheckOptions) -> Report {
    let (mut findings, mut notes) = (Vec::new(), Vec::new());
    match Config::load(&options.config) {
        Ok(config) => look(&Arc::new(config), options, &mut findings, &mut notes),
        Err(error) => findings.push(error.into()),
    }
    let counts = |finding: &Finding| options.deny_warnings || finding.severity == Severity::Error;
    Report {
        ok: !findings.iter().any(counts),
        findings,
        notes,
    }
}

fn look(
    config: &Arc<Config>,
    options: &CheckOptions,
    findings: &mut Vec<Finding>,
    notes: &mut Vec<String>,
) {
    references::settings(config, findings);
    references::quarantine(config, findings);
    let known = store(config, options, findings, notes);
    if !options.offline {
        environment::clock(config, known.mark, findings);
    }
    let mut rules = None;
    match Parts::read(Arc::clone(config), Arc::new(RevocationIndex::passing())) {
        Ok(parts) => {
            let mut snapshot: Snapshot = parts.with(known.authorities, known.crls);
            findings.extend(snapshot.key_trouble.take().map(Finding::from));
            findings.extend(snapshot.arc_trouble.take().map(Finding::from));
            findings.extend(snapshot.wrap_trouble.take().map(Finding::from));
            references::mail(&snapshot, findings);
            protection::look(&snapshot, findings);
            references::trust(&snapshot, findings);
            if !options.offline {
                environment::trust(&snapshot, findings);
                environment::arc(&snapshot, findings);
                environment::wrap(&snapshot, findings);
            }
            rules = Some(snapshot.mail);
        }
        Err(error) => findings.push(error.into()),
    }
    if !options.offline {
        environment::machine(config, findings);
    }
    services::look(config, !options.offline, findings);
    keys::look(config, rules.as_ref(), !options.offline, findings, notes);
}

/// What lies in the store, and whether it answers. Offline, a file is read and nobody is asked.
fn store(
    config: &Config,
    options: &CheckOptions,
    findings: &mut Vec<Finding>,
    notes: &mut Vec<String>,
) -> Remembered {
    let server = matches!(config.store, StoreAt::Server(_));
    if server && options.offline {
        return Remembered::default();
    }
    match remembered(config) {
        Ok(known) => {
            let name = config.store.name().display();
            match (server, known.there) {
                (true, true) => notes.push(format!("the store answers: {name}")),
                (true, false) => notes.push(format!(
                    "the store answers, and is empty until \"kenin run\": {name}"
                )),
                (false, _) => {}
            }
            known
        }
        Err(OpenError::Setting(error)) => {
            findings.push(error.into());
            Remembered::default()
        }
        Err(OpenError::Store(error)) => {
            if !options.offline {
                let text = error.to_string();
                findings.push(config.mistake(config.store.key(), text).into());
            }
            Remembered::default()
        }
    }
}

impl Report {
    /// 0, or 78 if not `ok`.
    pub fn exit_code(&self) -> Exit {
        if self.ok {
            Exit::Ok
        } else {
            Exit::Configuration
        }
    }

    /// A line a finding, with the place in the file below it, and how many there are.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let _ = writeln!(text, "{word}: {}", finding.error.report());
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        let errors = self
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .count();
        let warnings = self.findings.len().saturating_sub(errors);
        let _ = match (errors, warnings) {
            (0, 0) => writeln!(text, "no mistakes found"),
            _ => writeln!(
                text,
                "{}, {}",
                count(errors, "error"),
                count(warnings, "warning")
            ),
        };
        text
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<ConfigError> for Finding {
    fn from(error: ConfigError) -> Self {
        let file = (!error.file.as_os_str().is_empty()).then(|| error.file.clone());
        Self {
            severity: Severity::Error,
            file,
            line: error.place.as_ref().map(|place| place.line),
            column: error.place.as_ref().map(|place| place.column),
            message: error.message.clone(),
            hint: error.hint.clone(),
            error,
        }
    }
}

/// The same place and words as a warning.
fn warning(error: ConfigError) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..error.into()
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests;
