//! Whether what `[keys]` names is there and opens. Shows nothing of any key.

use std::io::ErrorKind;

use kenin_certstore::DEFAULT_TENANT;
use kenin_keys::{FolderCause, KeyFacts, KeyFolder, State, Unlocker, read_guarded_file};
use kenin_pki::address::Address;
use kenin_pki::path::mail_signing_usage;
use kenin_pki::time::UnixTime;
use kenin_policy::{MailRules, Parties, Shown};

use super::{Finding, warning};
use crate::clock::{now, unix_time};
use crate::config::{Config, ConfigError, Keys, ListenerMode, PinAt, SecretAt, StoreAt};
use crate::store::{self, OpenError};

/// The secrets, the folder, and each key in it; and what the rules, where they can be read, want of those who have some.
/// Offline no token is asked, and what it guards is not opened.
pub(super) fn look(
    config: &Config,
    rules: Option<&MailRules>,
    online: bool,
    findings: &mut Vec<Finding>,
    notes: &mut Vec<String>,
) {
    let Some(keys) = &config.keys else { return };
    tokens(config, keys, findings);
    if !online && guarded(config, keys, findings) {
        notes.push("private keys: not looked at, since a token guards them".to_owned());
        return;
    }
    let Some(mut unlocker) = unlocker(config, keys, findings) else {
        return;
    };
    let folder = match keys.open_folder() {
        Ok(folder) => folder,
        Err(error) if is_absent(&error.cause) => {
            let text = format!("{} is not there: there are no keys", keys.folder.display());
            let hint = "\"kenin key import\" makes it";
            findings.push(warning(config.mistake("keys.folder", text).hint(hint)));
            return;
        }
        Err(error) => {
            findings.push(config.mistake("keys.folder", error.to_string()).into());
            return;
        }
    };
    match opened(&folder, &mut unlocker) {
        Ok(opened) => {
            if opened.count == 0 && opened.of_another_secret {
                let key = format!("keys.{}", keys.seal.key());
                let text = format!(
                    "none of the keys in {} opens with it",
                    keys.folder.display()
                );
                let hint =
                    "write the secret that they were sealed under, or say it under `previous`";
                findings.push(config.mistake(&key, text).hint(hint).into());
            }
            for text in &opened.troubles {
                // The service goes on with the others.
                findings.push(warning(config.mistake("keys.folder", text.clone())));
            }
            for text in &opened.ended {
                let mistake = config.mistake("keys.folder", text.clone());
                let hint = "import its renewed certificate, or a new key with \"kenin key rotate\"; one that opens old mail \
                            only is for \"kenin key retire\"";
                findings.push(warning(mistake.hint(hint)));
            }
            if opened.decrypts {
                place_for_refused(config, findings);
            }
            if let Some(rules) = rules {
                if opened.decrypts && rules.protecting().replies {
                    proven_answers(config, findings);
                }
                encrypted_again(config, rules, online, &opened.readers, findings);
            }
            notes.push(format!("private keys that open: {}", opened.count));
        }
        Err(text) => findings.push(config.mistake("keys.folder", text).into()),
    }
}

/// Whether a token guards a secret. The files of such are read.
fn guarded(config: &Config, keys: &Keys, findings: &mut Vec<Finding>) -> bool {
    let mut any = false;
    for at in keys.secrets() {
        if let SecretAt::Token(guarded) = at {
            any = true;
            if let Err(error) = read_guarded_file(&guarded.file) {
                findings.push(config.mistake("keys.token_key", error.to_string()).into());
            }
        }
    }
    any
}

/// The files of the tokens. No module is loaded here: "kenin key doctor" does that.
fn tokens(config: &Config, keys: &Keys, findings: &mut Vec<Finding>) {
    for token in &keys.tokens {
        if !token.module.exists() {
            let text = format!(
                "the module of the token {:?} is not there: {}",
                token.name,
                token.module.display()
            );
            findings.push(config.mistake("keys.token", text).into());
        }
        if let Err(error) = token.settings() {
            let mistake = config.mistake("keys.token", error.to_string());
            findings.push(match token.pin {
                // In a shell there is none, and the service may have it all the same.
                Some(PinAt::Credential(_)) => warning(mistake),
                _ => mistake.into(),
            });
        }
    }
}

/// Mail is opened only where there is a place for what the next hop refuses of it.
fn place_for_refused(config: &Config, findings: &mut Vec<Finding>) {
    let mut listeners = config.listeners.iter();
    let relays = listeners.position(|one| one.mode != ListenerMode::Milter);
    let (Some(index), None) = (relays, &config.quarantine) else {
        return;
    };
    let key = format!("listener.{index}.mode");
    let text =
        "there are keys that open mail, and no [quarantine]: what comes here stays encrypted";
    let hint = "make a [quarantine]: it holds what the next hop refuses of opened mail";
    findings.push(warning(config.mistake(&key, text).hint(hint)));
}

/// Answers to opened mail must be encrypted only where their author is proven.
fn proven_answers(config: &Config, findings: &mut Vec<Finding>) {
    let mut listeners = config.listeners.iter();
    if listeners.any(|one| one.submission || one.mode == ListenerMode::Milter) {
        return;
    }
    let text = "there are keys that open mail, and no listener tells whose mail it is: answers to such mail go as the \
                rules say, in clear if they do not encrypt them";
    let hint = "let a milter take what your people send, or set submission = true for a listener that gets only mail \
                whose sender the MTA has checked against the login";
    findings.push(warning(config.mistake("listener.0.mode", text).hint(hint)));
}

/// What is opened is encrypted again for certificates of store and directories, and not for those of the keys.
fn encrypted_again(
    config: &Config,
    rules: &MailRules,
    online: bool,
    readers: &[Address],
    findings: &mut Vec<Finding>,
) {
    let server = matches!(config.store, StoreAt::Server(_));
    // A directory may have what the store has not.
    if !config.directories.is_empty() || (server && !online) {
        return;
    }
    let wanted = readers.iter().filter(|one| is_encrypted_again(rules, one));
    let mut wanted: Vec<&Address> = wanted.collect();
    // Several keys may work for one address.
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        return;
    }
    // Whether the store opens was said with it.
    let Ok(without) = without_certificate(config, &wanted) else {
        return;
    };
    let Some(first) = without.first() else { return };
    let others = match without.len().saturating_sub(1) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let text = format!(
        "mail that is opened for {first}{others} is to be encrypted again, and the store has no certificate for it: it \
         stays as it came"
    );
    let error = ConfigError::new(config.mail_file(), text);
    let hint = "\"kenin cert import\" takes it in; that of the key is not looked at";
    findings.push(warning(error.hint(hint)));
}

/// Whether a rule says so for mail to this address, whoever sends it.
fn is_encrypted_again(rules: &MailRules, reader: &Address) -> bool {
    let reader = reader.to_string();
    let said = rules.opening_each(Parties {
        sender: None,
        shown: &Shown::default(),
        recipients: &[reader.as_str()],
    });
    said.iter().any(|rule| rule.decrypt && rule.reencrypt)
}

/// Those of whom the store has no certificate that is in use.
fn without_certificate(config: &Config, readers: &[&Address]) -> Result<Vec<Address>, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Ok(Vec::new());
    };
    runtime.block_on(async {
        let store = match store::open_to_read(config).await {
            Ok(store) => store,
            Err(error) if error.is_absent() => {
                return Ok(readers.iter().map(|one| (*one).clone()).collect());
            }
            Err(error) => return Err(error),
        };
        let mut without = Vec::new();
        for one in readers {
            let kept = store.certificates_by_address(DEFAULT_TENANT, one).await?;
            if kept.iter().all(|kept| kept.quarantined) {
                without.push((*one).clone());
            }
        }
        store.close().await;
        Ok(without)
    })
}

/// What was found in the folder.
#[derive(Default)]
struct Opened {
    /// How many open.
    count: usize,
    /// Whether one of them is for opening mail.
    decrypts: bool,
    /// For whom those work that new mail may be for.
    readers: Vec<Address>,
    /// Why the others do not open.
    troubles: Vec<String>,
    /// Those that sign no more since their certificates have ended. The mail of their people just goes unsigned.
    ended: Vec<String>,
    /// One of them is sealed under a secret that is not at hand.
    of_another_secret: bool,
}

/// Opens each. Whether those in tokens work, `kenin key doctor` finds out.
fn opened(folder: &KeyFolder, unlocker: &mut Unlocker) -> Result<Opened, String> {
    let ids = folder.ids().map_err(|error| error.to_string())?;
    let mut opened = Opened::default();
    let now = unix_time(now());
    for id in ids {
        let sealed = match folder.read(id) {
            Ok(sealed) => sealed,
            Err(error) => {
                opened.troubles.push(error.to_string());
                continue;
            }
        };
        match sealed.check(unlocker) {
            Ok(()) => {
                opened.count += 1;
                let facts = sealed.facts();
                opened.decrypts |= facts.uses.decrypt;
                if facts.uses.decrypt && facts.state == State::Active {
                    opened.readers.extend(facts.addresses.iter().cloned());
                }
                if let (Some(end), Some(first)) = (ended(facts, now), facts.addresses.first()) {
                    let text = format!(
                        "key {id} of {first}: its certificate ended {end}, and it signs nothing any more"
                    );
                    opened.ended.push(text);
                }
            }
            Err(error) => {
                opened.of_another_secret |= error.is_of_another_secret();
                let text = format!("key {id}: {error}; {}", error.advice());
                opened.troubles.push(text);
            }
        }
    }
    Ok(opened)
}

/// When the last of its certificates to sign with ended, if it may sign and none is left.
fn ended(facts: &KeyFacts, now: UnixTime) -> Option<UnixTime> {
    let own = facts.certificates.iter().filter(|one| {
        one.public_key().bits() == facts.public.bits() && mail_signing_usage(one).is_ok()
    });
    let last = own.filter_map(|one| one.not_after().ok()).max()?;
    (facts.may_sign() && last < now).then_some(last)
}

fn unlocker(config: &Config, keys: &Keys, findings: &mut Vec<Finding>) -> Option<Unlocker> {
    let secrets = [
        ("keys", Some(&keys.seal)),
        ("keys.previous", keys.previous.as_ref()),
    ];
    // Where a PIN cannot be read, that was found with its token.
    let guards = keys.guards().ok()?;
    let mut read = Vec::new();
    let mut whole = true;
    for (table, at) in secrets {
        let Some(at) = at else { continue };
        match at.read(&guards) {
            Ok(secret) => read.push(secret),
            Err(error) => {
                whole = false;
                let mistake = config.mistake(&format!("{table}.{}", at.key()), error.to_string());
                // In a shell there is none, and the service may have it all the same.
                findings.push(match at {
                    SecretAt::Credential(_) => warning(mistake),
                    _ => mistake.into(),
                });
            }
        }
    }
    if !whole {
        return None;
    }
    match Unlocker::new(read) {
        Ok(unlocker) => Some(unlocker),
        Err(error) => {
            let text = format!("{error}; {}", error.advice());
            findings.push(config.mistake("keys", text).into());
            None
        }
    }
}

fn is_absent(cause: &FolderCause) -> bool {
    matches!(cause, FolderCause::Io(error) if error.kind() == ErrorKind::NotFound)
}
