//! Colour on terminals, and the escaping of what strangers wrote. Never lets a byte of a mail or a
//! certificate reach the terminal as a control character.

use std::io::IsTerminal;

use super::arguments::Colour;

/// Whether to colour, and how.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colour.
    pub const PLAIN: Self = Self { on: false };

    /// What the option, `NO_COLOR` and the terminal say together (<https://no-color.org>).
    pub fn for_stdout(colour: Colour) -> Self {
        let on = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                !set("NO_COLOR") && !dumb && std::io::stdout().is_terminal()
            }
        };
        Self { on }
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// The text in the colour of a result word; the word itself says it first.
    pub fn result(self, word: &str, text: &str) -> String {
        let code = match word {
            "pass" => "1;32",
            "fail" | "permerror" => "1;31",
            "policy" | "temperror" | "neutral" => "1;33",
            _ => "1",
        };
        self.wrap(code, text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One line of text by a stranger, safe to print: control characters, line and paragraph
/// separators and bidirectional controls are shown as escapes, and it is cut at 500 characters.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(600));
    for (count, c) in text.chars().enumerate() {
        if count == 500 {
            out.push('…');
            break;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}');
        if hidden {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_write_to_the_terminal() {
        assert_eq!(
            harmless("a\x1b[31mb\r\nc\u{202e}d"),
            "a\\u{1b}[31mb\\u{d}\\u{a}c\\u{202e}d"
        );
        assert_eq!(harmless("山田 太郎"), "山田 太郎");
        assert_eq!(harmless(&"x".repeat(1000)).chars().count(), 501);
    }

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::PLAIN.result("pass", "pass"), "pass");
        assert!(
            Paint::for_stdout(Colour::Always)
                .bold("x")
                .contains("\x1b[1mx")
        );
    }
}
