//! A mistake in a configuration file, told with file, line, column and "did you mean".

use std::ops::Range;
use std::path::{Path, PathBuf};

use kenin_policy::toml_error;

/// A mistake in a configuration file. `Display` gives `file:line:column: message (hint)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line_text())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Where in it, if it is known.
    pub place: Option<Box<Place>>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A place in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line itself, for a caret below it.
    pub source: String,
}

impl Place {
    /// A place in this text.
    pub(crate) fn new(text: &str, line: usize, column: usize) -> Self {
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        Self {
            line,
            column,
            source: source.chars().take(160).collect(),
        }
    }
}

impl ConfigError {
    /// A mistake of the file as a whole.
    pub fn new(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            place: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A mistake at these bytes of the file's text.
    pub fn at(file: &Path, text: &str, span: &Range<usize>, message: impl Into<String>) -> Self {
        let place = Some(Box::new(locate(text, span.start)));
        Self {
            place,
            ..Self::new(file, message)
        }
    }

    /// What the TOML reader complains about, with the nearest known key where one is unknown.
    pub fn toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let (shown, hint) = toml_error::words(error);
        let base = match error.span() {
            Some(span) => Self::at(file, text, &span, shown),
            None => Self::new(file, shown),
        };
        Self { hint, ..base }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The message, the line of the file, and a caret under the place.
    pub fn report(&self) -> String {
        let mut text = self.line_text();
        let Some(place) = &self.place else {
            return text;
        };
        let number = place.line.to_string();
        let indent = " ".repeat(number.len());
        text.push_str(&format!("\n {indent} |\n {number} | {}", place.source));
        // Tabs stay tabs, so that the caret stands under its character.
        let before = place.source.chars().take(place.column.saturating_sub(1));
        let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        text.push_str(&format!("\n {indent} | {pad}^"));
        text
    }

    fn line_text(&self) -> String {
        let mut text = self.file.display().to_string();
        if let Some(place) = &self.place {
            text.push_str(&format!(":{}:{}", place.line, place.column));
        }
        text.push_str(": ");
        text.push_str(&self.message);
        if let Some(hint) = &self.hint {
            text.push_str(&format!(" ({hint})"));
        }
        text
    }
}

/// The place of a byte offset.
fn locate(text: &str, offset: usize) -> Place {
    let (line, column) = toml_error::place(text, offset);
    Place::new(text, line, column)
}
