//! The text of a configuration file, which others are laid over it, and where in it a key stands.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError};

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Config {
    /// The texts that this was read from, each under the name of its file.
    pub(crate) fn texts(&self) -> Vec<(PathBuf, String)> {
        let texts = self.sources.iter();
        texts
            .map(|source| (self.absolute(&source.path), source.text.clone()))
            .collect()
    }

    /// Reads these texts again, and no file.
    pub(crate) fn of_texts(texts: Vec<(PathBuf, String)>) -> Result<Self, ConfigError> {
        let sources = texts.into_iter();
        let sources = sources.map(|(path, text)| Source { path, text });
        Self::from_sources(sources.collect())
    }

    /// A configuration file by its whole path: relative paths begin beside the first.
    fn absolute(&self, file: &Path) -> PathBuf {
        let name = file.file_name().unwrap_or_default();
        self.dir.join(name)
    }
}

/// `conf.d/*.toml` beside the main file.
pub(super) fn fragments(main: &Path) -> Vec<PathBuf> {
    let folder = main.with_file_name("conf.d");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    files
}

/// A mistake in the value of a key. The last file that has the key is the one that counts; only
/// listeners and directories add up, and are numbered through all files.
pub(super) fn mistake(sources: &[Source], key: &str, message: impl Into<String>) -> ConfigError {
    let place = match numbered(key) {
        Some((table, number, rest)) => place_of_numbered(sources, table, number, rest),
        None => sources
            .iter()
            .rev()
            .find_map(|source| Some((source, find(&source.text, key)?))),
    };
    if let Some((source, span)) = place {
        return ConfigError::at(&source.path, &source.text, &span, message);
    }
    let first = sources
        .first()
        .map(|source| source.path.clone())
        .unwrap_or_default();
    ConfigError::new(first, message)
}

/// The table and the number in `listener.1.address`, and what follows them.
fn numbered(key: &str) -> Option<(&str, usize, &str)> {
    let (table, rest) = key.split_once('.')?;
    let (number, rest) = rest.split_once('.')?;
    let adds_up = matches!(table, "listener" | "directory");
    adds_up.then_some((table, number.parse().ok()?, rest))
}

fn place_of_numbered<'a>(
    sources: &'a [Source],
    table: &str,
    mut number: usize,
    rest: &str,
) -> Option<(&'a Source, Range<usize>)> {
    for source in sources {
        let here = (0..).take_while(|n| find(&source.text, &format!("{table}.{n}")).is_some());
        let count = here.count();
        if number < count {
            // What is not written has the place of its table.
            let whole = format!("{table}.{number}");
            let span = find(&source.text, &format!("{whole}.{rest}"));
            return Some((source, span.or_else(|| find(&source.text, &whole))?));
        }
        number -= count;
    }
    None
}

/// The bytes of a value; numbers in the key count through arrays.
fn find(text: &str, key: &str) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let mut value = table.get_ref().get(first)?;
    for part in rest.split('.').filter(|part| !part.is_empty()) {
        value = match value.get_ref() {
            DeValue::Table(table) => table.get(part)?,
            DeValue::Array(array) => array.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.span())
}
