//! Completion scripts and manual pages, made from the command line's own description. Writes
//! nothing but what it was asked for.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;

use super::arguments::Arguments;
use super::aside::aside;
use crate::exit::{Exit, Failure};

/// Prints the completion script.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    // clap_complete panics when it cannot write: make the text first.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kenin", &mut text);
    io::stdout().write_all(&text)?;
    Ok(Exit::Ok)
}

/// Prints the page of `kenin`, or writes one page a command to a folder.
pub(super) fn man(dir: Option<&Path>) -> Result<Exit, Failure> {
    let Some(dir) = dir else {
        let text = page(&strip_exit_codes(Arguments::command()), "kenin")?;
        io::stdout().write_all(&text)?;
        return Ok(Exit::Ok);
    };
    std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
    for (name, text) in pages()? {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
        writeln!(aside(), "wrote {}", path.display())?;
    }
    Ok(Exit::Ok)
}

/// Every page: `kenin`, `kenin-verify`, `kenin-trust-add`, …
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut root = Arguments::command();
    root.build();
    let mut made = Vec::new();
    let mut stack = vec![(String::from("kenin"), root)];
    while let Some((name, command)) = stack.pop() {
        let told = |c: &&clap::Command| c.get_name() != "help" && !c.is_hide_set();
        for below in command.get_subcommands().filter(told) {
            stack.push((format!("{name}-{}", below.get_name()), below.clone()));
        }
        let text = page(&strip_exit_codes(command), &name)?;
        made.push((name, text));
    }
    made.sort();
    Ok(made)
}

/// The list of exit codes has a section of its own in a page.
fn strip_exit_codes(command: clap::Command) -> clap::Command {
    command.after_help("").disable_help_subcommand(true)
}

fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>, Failure> {
    let command = command.clone().display_name(name.to_owned());
    let man = clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .source(concat!("kenin ", env!("CARGO_PKG_VERSION")))
        .manual("Kenin Manual");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    text.extend_from_slice(&exit_section());
    text.extend_from_slice(FILES.as_bytes());
    man.render_version_section(&mut text)?;
    Ok(text)
}

fn exit_section() -> Vec<u8> {
    let mut text = String::from(".SH \"EXIT STATUS\"\n");
    for exit in Exit::ALL {
        text.push_str(&format!(
            ".TP\n\\fB{}\\fR\n{}\n",
            exit.code(),
            exit.meaning()
        ));
    }
    text.into_bytes()
}

const FILES: &str = r".SH FILES
.TP
\fI/etc/kenin/kenin.toml\fR
Deployment settings: listeners, next hop, state.
.TP
\fI/etc/kenin/conf.d/*.toml\fR
More of them, laid over it.
.TP
\fI/etc/kenin/trust.toml\fR
Trust anchors, what each is trusted for, revocation, algorithms.
.TP
\fI/etc/kenin/mail.toml\fR
What is done with mail, by domain.
.TP
\fI/var/lib/kenin\fR
State.
.TP
\fI/var/lib/kenin/keys\fR
Sealed private keys, one file a key.
.TP
\fI/var/lib/kenin/quarantine\fR
Held mail, sealed, one file a mail.
.SH ENVIRONMENT
.TP
\fBKENIN_CONFIG\fR
Configuration file, as \-\-config; verify, explain, and other commands that are given all they need do not read it.
.TP
\fBCREDENTIALS_DIRECTORY\fR
Where the service manager puts credentials, for \fIcredential\fR in [keys] and [quarantine], and \fIpin_credential\fR.
.TP
\fBNO_COLOR\fR
No colour.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_verb() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "kenin",
            "kenin-verify",
            "kenin-demo",
            "kenin-trust-add",
            "kenin-clock-reset",
            "kenin-decrypt",
            "kenin-key-import",
            "kenin-key-addresses-add",
            "kenin-run",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for (name, text) in &pages {
            let text = String::from_utf8(text.clone()).unwrap();
            assert!(
                !name.contains("key-process") && !text.contains("key-process"),
                "{name}"
            );
            assert!(text.contains("EXIT STATUS"), "{name}");
            assert!(text.contains("\"kenin 0."), "{name}");
            assert!(text.contains("kenin.toml"), "{name}");
            assert!(!text.contains("Exit codes:"), "{name}");
        }
    }

    #[test]
    fn completions_know_the_options() {
        let mut text = Vec::new();
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut Arguments::command(),
            "kenin",
            &mut text,
        );
        assert!(
            String::from_utf8(text)
                .unwrap()
                .contains("--inhibit-any-policy")
        );
    }
}
