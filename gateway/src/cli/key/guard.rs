//! `kenin key seal-secret`: makes the key-encryption key that a token guards. It loads the token's module, and gives the
//! key itself to nobody.

use kenin_keys::GuardedKey;

use super::{configured, mistaken, say};
use crate::config::{Config, KeysError, SecretAt, TokenKeyAt};
use crate::exit::{Exit, Failure};

/// Makes the file that `token_key` of `[keys]` names.
pub(super) fn command(config: &Config, dry_run: bool) -> Result<Exit, Failure> {
    let keys = configured(config)?;
    let SecretAt::Token(TokenKeyAt { file, key }) = &keys.seal else {
        let text = format!(
            "[keys] has no token_key; write it in the place of {}",
            keys.seal.key()
        );
        let mistake = config.mistake("keys", text).hint(EXAMPLE);
        return Err(Failure::new(Exit::Configuration, mistake.report()));
    };
    let name = file.display();
    if file.exists() {
        let what = format!(
            "{name} is there already and stays as it is: what is sealed under the key in it would be lost. For a new \
             one name another file, and this one under `previous`"
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    let guards = keys.guards();
    let guards = guards.map_err(|error| mistaken(config, keys, &KeysError::from(error)))?;
    let made = GuardedKey::make(&guards, key).map_err(|error| {
        let file = file.clone();
        mistaken(config, keys, &KeysError::Guarded { file, error })
    })?;
    if dry_run {
        say(&format!(
            "would write {name}; the token opens what is made for it"
        ))?;
        return Ok(Exit::Ok);
    }
    let written = made.write_new(file);
    written.map_err(|error| Failure::file(file, &error))?;
    say(&format!(
        "written {name}: the service's user must be able to read it, and nobody else"
    ))?;
    if keys.previous.is_some() {
        say("\"kenin key rekey\" seals the keys under it")?;
    }
    say("without this file, and without this key of the token, no key opens: keep a copy of each")?;
    Ok(Exit::Ok)
}

const EXAMPLE: &str = r#"token_key = { token = "hsm", key = "pkcs11:id=%01", file = "keys.kek" }"#;
