//! `kenin key doctor`: whether each token and each key would work for the service, and what to do where it would not.
//! Beside the key process it is what loads the modules of all tokens. It signs and opens something of its own
//! with each key, and shows nothing of any.

use std::io::{self, Write};

use kenin_keys::{KeyFolder, KeyId, TokenError, Tokens, Unlocker};
use kenin_pki::time::UnixTime;
use serde_json::{Value, json};

use crate::cli::arguments::Format;
use crate::cli::aside::answer;
use crate::cli::now;
use crate::cli::paint::harmless;
use crate::config::{Config, Keys, KeysError};
use crate::exit::{Exit, Failure};

mod checks;

/// Looks at the tokens, and at the keys whose ids begin so, or at all.
pub(super) fn command(config: &Config, ids: &[String], format: Format) -> Result<Exit, Failure> {
    let keys = config.keys.as_ref().ok_or_else(|| {
        let what = "there is no [keys] in the configuration";
        Failure::new(Exit::Configuration, what)
    })?;
    let mistaken =
        |text: String| Failure::new(Exit::Configuration, config.mistake("keys", text).report());
    let settings = keys.token_settings();
    let settings = settings.map_err(|error| mistaken(error.to_string()))?;
    let tokens = Tokens::start(settings);
    let mut report = Report::default();
    for token in &keys.tokens {
        let mut part = checks::token(&tokens, token);
        checks::guarded(&mut part, keys, (&tokens, token));
        report.parts.push(part);
    }
    let unlocker = unlocker(keys, &tokens);
    let mut unlocker = unlocker.map_err(|error| mistaken(error.to_string()))?;
    if let Some(folder) = folder(keys)? {
        for id in wanted(&folder, ids)? {
            let part = checks::key(&folder, id, (&mut unlocker, &tokens), now());
            report.parts.push(part);
        }
    } else if !ids.is_empty() {
        return Err(Failure::new(Exit::Data, "there are no keys"));
    }
    report.write(format)?;
    Ok(match report.is_good() {
        true => Exit::Ok,
        false => Exit::Negative,
    })
}

/// What opens the keys, without a secret that a token does not open: that was told with the token. Keys under the other one
/// open all the same.
fn unlocker(keys: &Keys, tokens: &Tokens) -> Result<Unlocker, KeysError> {
    let mut secrets = Vec::new();
    for at in keys.secrets() {
        match at.read(tokens) {
            Ok(secret) => secrets.push(secret),
            Err(KeysError::Guarded { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Unlocker::new(secrets)?)
}

/// The folder, if there is one yet.
fn folder(keys: &Keys) -> Result<Option<KeyFolder>, Failure> {
    if !keys.folder.exists() {
        return Ok(None);
    }
    match keys.open_folder() {
        Ok(folder) => Ok(Some(folder)),
        Err(error) => Err(Failure::new(Exit::Io, error.to_string())),
    }
}

fn wanted(folder: &KeyFolder, beginnings: &[String]) -> Result<Vec<KeyId>, Failure> {
    let all = folder.ids();
    let all = all.map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    if beginnings.is_empty() {
        return Ok(all);
    }
    let mut chosen = Vec::new();
    for beginning in beginnings {
        let begins = beginning.to_ascii_lowercase();
        let mut found = all.iter().filter(|id| id.to_string().starts_with(&begins));
        match (found.next(), found.next()) {
            (Some(id), None) => chosen.push(*id),
            (None, _) => {
                let what = format!("no key in the folder begins with {}", harmless(beginning));
                return Err(Failure::new(Exit::Data, what));
            }
            _ => {
                let what = format!("several keys begin with {}", harmless(beginning));
                return Err(Failure::new(Exit::Data, what));
            }
        }
    }
    Ok(chosen)
}

/// All that was looked at.
#[derive(Debug, Default)]
struct Report {
    parts: Vec<Part>,
}

/// A token, or a key.
#[derive(Debug)]
struct Part {
    kind: Kind,
    /// The token's name, or the key's id.
    name: String,
    /// For whom the key works.
    addresses: Vec<String>,
    checks: Vec<Check>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    Key,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Key => "key",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    /// What: one word that stays.
    name: &'static str,
    state: State,
    text: String,
    /// What to do, where something is.
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// It works, and should be looked at.
    Warning,
    Bad,
    /// It could not be looked at, since something before it is bad.
    Skipped,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Part {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            addresses: Vec::new(),
            checks: Vec::new(),
        }
    }

    fn good(&mut self, name: &'static str, text: impl Into<String>) {
        self.push(name, State::Good, text, None);
    }

    fn skipped(&mut self, name: &'static str) {
        self.push(name, State::Skipped, "not reached", None);
    }

    fn warning(&mut self, name: &'static str, text: impl Into<String>, advice: &str) {
        self.push(name, State::Warning, text, Some(advice));
    }

    fn bad(&mut self, name: &'static str, text: impl Into<String>, advice: &str) {
        self.push(name, State::Bad, text, Some(advice));
    }

    fn token_error(&mut self, name: &'static str, error: &TokenError) {
        self.bad(name, error.to_string(), error.advice());
    }

    fn push(
        &mut self,
        name: &'static str,
        state: State,
        text: impl Into<String>,
        advice: Option<&str>,
    ) {
        self.checks.push(Check {
            name,
            state,
            text: text.into(),
            advice: advice.map(str::to_owned),
        });
    }

    fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.state != State::Bad)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{} {}", self.kind.as_str(), harmless(&self.name));
        for address in &self.addresses {
            text.push_str(&format!(" {}", harmless(address)));
        }
        text.push('\n');
        for check in &self.checks {
            text.push_str(&format!(
                "  {:<8} {:<12} {}\n",
                check.state.as_str(),
                check.name,
                harmless(&check.text)
            ));
            if let Some(advice) = &check.advice {
                text.push_str(&format!(
                    "  {:<8} {:<12} {}\n",
                    "",
                    "what to do",
                    harmless(advice)
                ));
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            json!({
                "check": check.name,
                "result": check.state.as_str(),
                "text": check.text,
                "advice": check.advice,
            })
        });
        let checks: Vec<Value> = checks.collect();
        let good = self.is_good();
        match self.kind {
            Kind::Token => json!({ "token": self.name, "ok": good, "checks": checks }),
            Kind::Key => json!({
                "key": self.name, "addresses": self.addresses, "ok": good, "checks": checks,
            }),
        }
    }
}

impl Report {
    fn is_good(&self) -> bool {
        self.parts.iter().all(Part::is_good)
    }

    fn write(&self, format: Format) -> io::Result<()> {
        let mut out = answer();
        match format {
            Format::Text => {
                for part in &self.parts {
                    out.write_all(part.to_text().as_bytes())?;
                }
                if self.parts.is_empty() {
                    writeln!(out, "there are no keys and no tokens")?;
                }
                Ok(())
            }
            Format::Json => {
                let of = |kind| {
                    let parts = self.parts.iter().filter(|part| part.kind == kind);
                    parts.map(Part::to_json).collect::<Vec<_>>()
                };
                let (tokens, keys) = (of(Kind::Token), of(Kind::Key));
                writeln!(
                    out,
                    "{}",
                    json!({ "ok": self.is_good(), "tokens": tokens, "keys": keys })
                )
            }
            Format::Jsonl => {
                for part in &self.parts {
                    writeln!(out, "{}", part.to_json())?;
                }
                Ok(())
            }
        }
    }
}

/// What a key is looked at with.
type Means<'a> = (&'a mut Unlocker, &'a Tokens);

#[cfg(test)]
mod tests;
