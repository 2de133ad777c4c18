//! Whether the directories and the cache answer. Kenin starts without them, so that nothing here is an error.

use kenin_certstore::directory::Directory;

use super::{Finding, warning};
use crate::config::{Config, ConfigError};
use crate::services;

/// Opens each, and asks it.
pub(super) fn look(config: &Config, online: bool, findings: &mut Vec<Finding>) {
    if config.directories.is_empty() && config.cache.is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let mut say = |error: ConfigError| findings.push(warning(error));
    for (index, one) in config.directories.iter().enumerate() {
        match services::directory(config, index, one) {
            Ok(directory) if online => {
                say_if_silent(config, index, &directory, &runtime, &mut say);
            }
            Ok(_) => {}
            Err(error) => say(error),
        }
    }
    match services::shared_cache(config) {
        Ok(Some(cache)) if online => {
            if let Err(text) = runtime.block_on(cache.probe()) {
                let text = format!("the cache does not answer: {text}");
                let hint =
                    "\"kenin cert find\" goes on without it, and asks the directories each time";
                say(config.mistake("cache.url", text).hint(hint));
            }
        }
        Ok(_) => {}
        Err(error) => say(error),
    }
}

fn say_if_silent(
    config: &Config,
    index: usize,
    directory: &Directory,
    runtime: &tokio::runtime::Runtime,
    say: &mut impl FnMut(ConfigError),
) {
    if let Err(error) = runtime.block_on(directory.probe()) {
        let server = &directory.settings().server;
        let text = format!("{server} does not answer: {error}");
        say(config.mistake(&format!("directory.{index}.url"), text));
    }
}
