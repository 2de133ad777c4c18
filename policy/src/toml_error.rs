//! Errors of configuration files: which file, which line and column, and what was probably meant.
//! Never guesses a value: a key that is not known is an error.

use std::ops::Range;

/// What is wrong with a policy file. `Display` gives `file:line:column: message (hint)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}{}", in_brackets(self.hint.as_deref()))]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error at a byte range of the text.
    pub(crate) fn at(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let (line, column) = place(text, span.start);
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            hint: None,
        }
    }

    /// The error of the TOML reader, with a suggestion.
    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let (message, hint) = words(error);
        let base = Self::at(file, text, error.span().unwrap_or(0..0), message);
        Self { hint, ..base }
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut start = offset.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = text.get(..start).unwrap_or_default();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// What the TOML reader complains about, on one line, and the nearest known word where it does not
/// know one.
pub fn words(error: &toml::de::Error) -> (String, Option<String>) {
    let message = error.message();
    if message.starts_with("wanted string or table") {
        let shown = "wanted a word, and found something else";
        return (shown.to_owned(), Some("write it in quotes".to_owned()));
    }
    if let Some((shown, hint)) = plain(message) {
        return (shown, Some(hint.to_owned()));
    }
    let hint = nearest(message);
    // Serde lists every word it knows; the hint names those that matter.
    let short = message.split(", expected").next().unwrap_or(message);
    let shown = if hint.is_some() { short } else { message };
    (shown.lines().next().unwrap_or("not TOML").to_owned(), hint)
}

/// What serde says of a value of another kind, in words of the file: `invalid type: string "30d", expected u32`.
fn plain(message: &str) -> Option<(String, &'static str)> {
    let (found, expected) = message.lines().next()?.rsplit_once(", expected ")?;
    let found = found.strip_prefix("invalid type: ")?;
    let (wanted, hint) = match (expected, found) {
        ("a sequence", "map") => ("a list of tables", "write its name in two brackets: [[…]]"),
        ("a sequence", _) => ("a list", "write it in brackets: [\"…\"]"),
        ("u16" | "u32" | "u64" | "usize" | "i64", _) => {
            ("a whole number", "write digits alone, without quotes")
        }
        ("a boolean", _) => ("true or false", "without quotes"),
        ("a string", _) => ("a text", "write it in quotes"),
        _ if expected.starts_with("struct ") => ("a table", "write it in braces: { … }"),
        _ => return None,
    };
    let found = match found {
        "map" => "one table",
        other => other,
    };
    Some((format!("wanted {wanted}, and found {found}"), hint))
}

/// Reads serde's ``unknown field `a`, expected one of `b`, `c` ``.
fn nearest(message: &str) -> Option<String> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    suggestion(written, &quoted.collect::<Vec<&str>>())
}

/// What was probably meant by a word that is not known here; nothing where no word is known.
pub fn suggestion(written: &str, known: &[&str]) -> Option<String> {
    let best = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), *name))
        .min()?;
    // A third of the letters wrong is still a slip; more is another word, unless one only goes on.
    Some(match best {
        (wrong, name)
            if wrong <= (written.chars().count() / 3).max(1) || written.starts_with(name) =>
        {
            format!("did you mean \"{name}\"?")
        }
        _ => format!("known here: {}", known.join(", ")),
    })
}

fn in_brackets(hint: Option<&str>) -> String {
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let message = "unknown field `revokation`, expected one of `name`, `revocation`, `use`";
        let wanted = Some("did you mean \"revocation\"?".to_owned());
        assert_eq!(nearest(message), wanted);
        let wanted = Some("known here: name".to_owned());
        assert_eq!(nearest("unknown field `zzzzzz`, expected `name`"), wanted);
        assert_eq!(nearest("invalid type: `name`"), None);
        assert_eq!(nearest("unknown field `a`, there are none"), None);
    }

    #[test]
    fn a_value_of_another_kind_is_told_in_words_of_the_file() {
        for (message, shown, hint) in [
            (
                "invalid type: string \"30d\", expected u32",
                "wanted a whole number, and found string \"30d\"",
                "digits",
            ),
            (
                "invalid type: map, expected a sequence",
                "wanted a list of tables, and found one table",
                "[[…]]",
            ),
            (
                "invalid type: string \"a\", expected a sequence",
                "wanted a list, and found string \"a\"",
                "brackets",
            ),
            (
                "invalid type: string \"a\", expected struct RawSecret",
                "wanted a table, and found string \"a\"",
                "braces",
            ),
            (
                "invalid type: string \"no\", expected a boolean",
                "wanted true or false, and found string \"no\"",
                "quotes",
            ),
            (
                "invalid type: integer `3`, expected a string",
                "wanted a text, and found integer `3`",
                "quotes",
            ),
        ] {
            let (text, advice) = plain(message).unwrap();
            assert_eq!(text, shown);
            assert!(advice.contains(hint), "{advice}");
        }
        for message in [
            "unknown field `a`, expected `b`",
            "invalid type: floating point `2.5`, expected a duration",
        ] {
            assert_eq!(plain(message), None);
        }
    }

    #[test]
    fn places_are_counted_from_one() {
        let text = "a\nb\n田 c";
        for (offset, wanted) in [
            (0, (1, 1)),
            (2, (2, 1)),
            (4, (3, 1)),
            (8, (3, 3)),
            (6, (3, 1)),
        ] {
            assert_eq!(place(text, offset), wanted, "{offset}");
        }
        assert_eq!(place(text, 400), (3, 4));
        assert_eq!(
            ConfigError::at("f", text, 2..3, "x").to_string(),
            "f:2:1: x"
        );
    }
}
