//! The command line: reads the arguments, calls one command, ends with its exit code.
//!
//! Data goes to standard output, talk to standard error. Nothing here decides about mail: `verify`
//! and `explain` ask the engine of the service, `run`, `check` and `init` are in their own modules.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

pub mod arguments;
mod aside;
mod cert;
mod clock;
mod crl;
mod decrypt;
mod documentation;
mod encrypt;
mod engine;
mod explain;
mod input;
mod key;
mod open;
mod paint;
mod private;
mod quarantine;
mod report;
mod sign;
mod trust;
mod verify;

use crate::exit::{Exit, Failure};
use arguments::{Arguments, Command, Format, LogFormat, Mode};
pub(crate) use engine::now;
pub use paint::Paint;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for, and go to standard output.
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let _ = error.print();
            return if asked { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    match run(arguments) {
        Ok(End::Exit(exit)) => exit.into(),
        Ok(End::Code(code)) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(io::stderr(), "kenin: {failure}");
            }
            failure.exit.into()
        }
    }
}

/// How a command ended: with a code of ours, or with one that is already the system's.
enum End {
    Exit(Exit),
    Code(ExitCode),
}

fn run(arguments: Arguments) -> Result<End, Failure> {
    let Arguments { global, command } = arguments;
    // What commands have in memory is people's keys and mail. Where the system refuses, the command does all the same.
    let _ = kenin_sys::forbid_core_dumps();
    let _ = kenin_sys::keep_out_of_dumps();
    let paint = Paint::for_stdout(global.color);
    let exit = match command {
        Command::Demo(options) => crate::demo::command(&options, paint)?,
        Command::Init(options) => init(&global, &options)?,
        Command::Run(options) => {
            let options = run_options(&global.config, &options);
            return Ok(End::Code(crate::run::run(&options)));
        }
        Command::KeyProcess(options) => {
            let options = run_options(&global.config, &options);
            return Ok(End::Code(crate::key_process::run(&options)));
        }
        Command::Worker(options) => return Ok(End::Code(crate::worker::run(options.memory))),
        Command::Template(options) => {
            return Ok(End::Code(crate::worker::run_template(options.memory)));
        }
        Command::Check(options) => check(global.config, &options)?,
        Command::Verify(options) => verify::command(&global.config, &options, paint)?,
        Command::Explain(options) => explain::command(&global.config, &options, paint)?,
        Command::Decrypt(options) => decrypt::command(&global.config, &options)?,
        Command::Encrypt(options) => encrypt::command(&global.config, &options)?,
        Command::Sign(options) => sign::command(&global.config, &options)?,
        Command::Key(options) => key::command(&global.config, &options.command)?,
        Command::Trust(options) => trust::command(&global.config, &options.command)?,
        Command::Cert(options) => cert::command(&global.config, &options.command)?,
        Command::Crl(options) => crl::command(&global.config, &options.command)?,
        Command::Clock(options) => clock::command(&global.config, &options.command)?,
        Command::Quarantine(options) => quarantine::command(&global.config, &options.command)?,
        Command::Health(options) => health(&global.config, &options)?,
        Command::Completions(options) => documentation::completions(options.shell)?,
        Command::Man(options) => documentation::man(options.dir.as_deref())?,
        Command::Version(options) => version(options.json)?,
    };
    Ok(End::Exit(exit))
}

fn run_options(config: &[PathBuf], options: &arguments::Run) -> crate::run::RunOptions {
    let log_format = options.log_format.map(|format| match format {
        LogFormat::Pretty => crate::config::LogFormat::Pretty,
        LogFormat::Logfmt => crate::config::LogFormat::Logfmt,
        LogFormat::Json => crate::config::LogFormat::Json,
    });
    crate::run::RunOptions {
        config: config.to_vec(),
        log_format,
    }
}

fn init(global: &arguments::Global, options: &arguments::Init) -> Result<Exit, Failure> {
    use crate::init::InitOptions;
    use arguments::MailServer;
    if !global.config.is_empty() {
        let what = "--config names what is read; say where \"kenin init\" writes by --dir FOLDER";
        return Err(Failure::new(Exit::Usage, what));
    }
    let for_wrap = options.address.is_some() || options.renew;
    if for_wrap && options.server != MailServer::Wrap {
        let what = "--address and --renew are for \"kenin init wrap\"";
        return Err(Failure::new(Exit::Usage, what));
    }
    if options.server == MailServer::Arc {
        return init_arc(options);
    }
    if options.domain.is_some() || options.selector.is_some() {
        let what = "--domain and --selector are for \"kenin init arc\"";
        return Err(Failure::new(Exit::Usage, what));
    }
    let hostname = match &options.hostname {
        Some(name) => name.clone(),
        None => system_hostname()?,
    };
    if options.server == MailServer::Wrap {
        let done = crate::init::wrap(&crate::init::WrapOptions {
            dir: options.dir.clone(),
            address: options.address.clone(),
            hostname,
            renew: options.renew,
            dry_run: options.dry_run,
        });
        return initialized(done, options.dry_run);
    }
    let mode = options.mode.unwrap_or(match options.server {
        MailServer::Postfix => Mode::BeforeQueue,
        MailServer::Exim | MailServer::Arc | MailServer::Wrap => Mode::AfterQueue,
    });
    let mode = match mode {
        Mode::BeforeQueue => crate::init::Mode::BeforeQueue,
        Mode::AfterQueue => crate::init::Mode::AfterQueue,
        Mode::Milter => crate::init::Mode::Milter,
        Mode::Lmtp => crate::init::Mode::Lmtp,
    };
    let mut init = InitOptions::new(mode, hostname);
    if let Some(state_dir) = &options.state_dir {
        init.state_dir.clone_from(state_dir);
    } else if options.dir != init.dir {
        // Somebody who tries it in a folder of their own may not write to /var/lib.
        init.state_dir = options.dir.join("state");
    }
    init.dir.clone_from(&options.dir);
    init.listen = options.listen;
    init.reinject = options.next_hop;
    init.http = options.http;
    if [init.listen, init.reinject].contains(&init.http) {
        let what = format!("--http {}: mail has this address; name another", init.http);
        return Err(Failure::new(Exit::Usage, what));
    }
    init.force = options.force;
    init.dry_run = options.dry_run;
    let done = match (options.server, &options.service) {
        (MailServer::Postfix, service) => {
            if let Some(service) = service {
                init.service.clone_from(service);
            }
            crate::init::postfix(&init)
        }
        (_, Some(_)) => {
            let what = "--service is one of Postfix's master.cf; Exim has none";
            return Err(Failure::new(Exit::Usage, what));
        }
        (_, None) => crate::init::exim(&init),
    };
    initialized(done, options.dry_run)
}

fn init_arc(options: &arguments::Init) -> Result<Exit, Failure> {
    let Some(domain) = options.domain.clone() else {
        let what = "say --domain DOMAIN: the one in whose name changed mail is sealed";
        return Err(Failure::new(Exit::Usage, what));
    };
    if options.mode.is_some() || options.service.is_some() {
        let what = "--mode and --service are for a mail server's configuration, not for a key";
        return Err(Failure::new(Exit::Usage, what));
    }
    let done = crate::init::arc(&crate::init::ArcOptions {
        dir: options.dir.clone(),
        domain,
        selector: options
            .selector
            .clone()
            .unwrap_or_else(|| "kenin".to_owned()),
        dry_run: options.dry_run,
    });
    initialized(done, options.dry_run)
}

/// Says what was written.
fn initialized(
    done: Result<crate::init::Initialized, crate::init::InitError>,
    dry_run: bool,
) -> Result<Exit, Failure> {
    use crate::init::InitError;
    let done = done.map_err(|error| match error {
        InitError::Exists(_) => Failure::new(Exit::Configuration, error.to_string()),
        InitError::Usage(_) => Failure::new(Exit::Usage, error.to_string()),
        InitError::Io { path, error } => Failure::file(&path, &error),
    })?;
    let verb = if dry_run { "would write" } else { "wrote" };
    let mut talk = aside::aside();
    for path in &done.written {
        writeln!(talk, "{verb} {}", path.display())?;
    }
    talk.write_all(done.notes.as_bytes())?;
    io::stdout().write_all(done.lines.as_bytes())?;
    Ok(Exit::Ok)
}

/// The kernel's name of this host; `init` writes it down, so a guess would be worse than a question.
fn system_hostname() -> Result<String, Failure> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "this host has no name; say --hostname NAME",
        ));
    }
    Ok(name.to_owned())
}

fn check(config: Vec<PathBuf>, options: &arguments::Check) -> Result<Exit, Failure> {
    let report = crate::check::check(&crate::check::CheckOptions {
        config,
        offline: options.offline,
        deny_warnings: options.deny_warnings,
    });
    let mut out = aside::answer();
    match options.format {
        Format::Text => out.write_all(report.to_text().as_bytes())?,
        Format::Json | Format::Jsonl => writeln!(out, "{}", report.to_json())?,
    }
    Ok(report.exit_code())
}

fn health(config: &[PathBuf], options: &arguments::Health) -> Result<Exit, Failure> {
    let address = match options.address {
        Some(address) => address,
        None => load_config(config)?.http.ok_or_else(|| {
            Failure::new(
                Exit::Configuration,
                "the configuration has no [http] address to ask; add one or say --address",
            )
        })?,
    };
    match crate::http::health_client(address, options.wait.map(Duration::from_secs)) {
        Ok(answer) => {
            writeln!(io::stdout(), "{}", answer.trim_end())?;
            Ok(Exit::Ok)
        }
        Err(why) => Err(Failure::new(Exit::Unavailable, format!("{address}: {why}"))),
    }
}

/// The configuration of the options, or the usual one.
fn load_config(files: &[PathBuf]) -> Result<crate::config::Config, Failure> {
    crate::config::Config::load(files)
        .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))
}

fn version(json: bool) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    if json {
        let value = serde_json::json!({
            "name": "kenin",
            "version": version,
            "target": std::env::consts::ARCH,
            "os": std::env::consts::OS,
        });
        writeln!(out, "{value}")?;
    } else {
        writeln!(out, "kenin {version}")?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_lists_its_exit_codes() {
        let mut stack = vec![Arguments::command()];
        while let Some(mut command) = stack.pop() {
            stack.extend(command.get_subcommands().cloned());
            let help = command.render_long_help().to_string();
            assert!(help.contains("78  configuration"), "{}", command.get_name());
        }
    }

    #[test]
    fn no_option_takes_a_password_and_none_gives_a_key_away() {
        let mut stack = vec![Arguments::command()];
        while let Some(command) = stack.pop() {
            stack.extend(command.get_subcommands().cloned());
            let name = command.get_name().to_owned();
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let named = id.contains("password") || id.contains("passphrase");
                assert!(!named || id.ends_with("_file"), "{name}: {id}");
            }
        }
        for export in ["export", "dump", "extract"] {
            let parsed = Arguments::try_parse_from(["kenin", "key", export, "abcd"]);
            assert!(parsed.is_err(), "{export}");
        }
    }

    #[test]
    fn options_that_exim_does_not_have_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        for (more, wanted) in [
            (["--mode", "milter"], "Exim has no milter"),
            (["--mode", "before-queue"], "Exim has no milter"),
            (["--service", "smtp/inet"], "master.cf"),
            (["--next-hop", "127.0.0.1:25"], "pass Kenin by"),
        ] {
            let arguments = [
                "kenin",
                "init",
                "exim",
                "--hostname",
                "gw.example.jp",
                "--dir",
            ];
            let arguments = arguments
                .into_iter()
                .chain([etc.to_str().unwrap()])
                .chain(more);
            let parsed = Arguments::try_parse_from(arguments).unwrap();
            let Command::Init(options) = parsed.command else {
                panic!("init")
            };
            let refused = init(&parsed.global, &options).err().unwrap();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(refused.message.contains(wanted), "{}", refused.message);
            assert!(!etc.exists());
        }
    }

    /// Keys that were to lie beside that configuration were written to another folder.
    #[test]
    fn init_writes_nothing_where_a_configuration_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        for server in ["postfix", "exim", "arc", "wrap"] {
            let arguments = ["kenin", "init", server, "--config", "kenin.toml", "--dir"];
            let arguments = arguments.into_iter().chain([etc.to_str().unwrap()]);
            let parsed = Arguments::try_parse_from(arguments).unwrap();
            let Command::Init(options) = parsed.command else {
                panic!("init")
            };
            let refused = init(&parsed.global, &options).err().unwrap();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(refused.message.contains("--dir"), "{}", refused.message);
            assert!(!etc.exists());
        }
    }

    #[test]
    fn wait_takes_a_number_only_with_an_equals_sign() {
        let parsed = Arguments::try_parse_from(["kenin", "health", "--wait"]).unwrap();
        let Command::Health(health) = parsed.command else {
            panic!("health")
        };
        assert_eq!(health.wait, Some(60));
        let parsed = Arguments::try_parse_from(["kenin", "health", "--wait=5"]).unwrap();
        let Command::Health(health) = parsed.command else {
            panic!("health")
        };
        assert_eq!(health.wait, Some(5));
    }
}
