//! Opens what `[[directory]]` and `[cache]` name. Connects to nothing: that happens when somebody asks.

use std::path::Path;

use kenin_certstore::directory::{Bind, Directory};
use kenin_certstore::{Cache, CacheSettings, read_limited};

use crate::clock;
use crate::config::{self, Config, ConfigError};
use crate::keyfile;

/// The `index`-th directory.
pub(crate) fn directory(
    config: &Config,
    index: usize,
    one: &config::Directory,
) -> Result<Directory, ConfigError> {
    let key = |name: &str| format!("directory.{index}.{name}");
    let ca = one.ca.as_deref();
    let ca = ca.map(|path| authorities(config, &key("ca"), path));
    let bind = match (&one.bind_dn, &one.password_file) {
        (Some(dn), Some(path)) => Some(Bind {
            dn: dn.clone(),
            password: password(config, &key("password_file"), path)?,
        }),
        _ => None,
    };
    let ca = ca.transpose()?;
    Directory::new(one.settings.clone(), ca.as_deref(), bind).map_err(|mistake| {
        let text = format!("{} {}", mistake.key, mistake.text);
        config.mistake(&key(mistake.key), text)
    })
}

/// The cache of all tenants, if there is one.
pub(crate) fn shared_cache(config: &Config) -> Result<Option<Cache>, ConfigError> {
    let Some(one) = &config.cache else {
        return Ok(None);
    };
    let ca = one.ca.as_deref();
    let ca = ca.map(|path| authorities(config, "cache.ca", path));
    let ca = ca.transpose()?;
    let secret = one.password_file.as_deref();
    let secret = secret.map(|path| password(config, "cache.password_file", path));
    let secret = secret.transpose()?.map(String::from_utf8).transpose();
    let settings = CacheSettings {
        server: one.server.clone(),
        user: one.user.clone(),
        password: secret
            .map_err(|_| config.mistake("cache.password_file", "the password is no UTF-8 text"))?,
    };
    let file = one.key_file.display();
    let hint = format!("make one: (umask 077; head -c 32 /dev/urandom > {file})");
    let bytes = keyfile::read(config, "cache.key_file", &one.key_file, &hint)?;
    let key = <[u8; 32]>::try_from(bytes).map_err(|bytes| {
        let text = format!("{file}: {} bytes, and not 32", bytes.len());
        let hint = "name the right file, or one that is not there yet";
        config.mistake("cache.key_file", text).hint(hint)
    })?;
    let clock = || clock::unix_time(clock::now());
    Cache::new(&settings, ca.as_deref(), &key, clock)
        .map(Some)
        .map_err(|error| config.mistake("cache.url", error.to_string()))
}

/// A password without the line end that editors put behind it.
fn password(config: &Config, key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let hint = "write the password to that file, for nobody else to read";
    let mut bytes = keyfile::read(config, key, path, hint)?;
    while bytes
        .last()
        .is_some_and(|last| matches!(last, b'\r' | b'\n'))
    {
        bytes.pop();
    }
    Ok(bytes)
}

fn authorities(config: &Config, key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    read_limited(path, MAX_CA).map_err(|error| config.mistake(key, error.to_string()))
}

/// A file of authorities is no longer.
const MAX_CA: u64 = 1 << 20;
