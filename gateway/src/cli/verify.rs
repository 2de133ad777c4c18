//! `kenin verify`: mail and CMS files through the engine of the service, several at a time, answers in
//! the order of the files. A file that cannot be read, or that makes the engine panic, is an error
//! of that file only.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use kenin_policy::Verdict;

use super::arguments::{Format, Verify};
use super::engine::Engine;
use super::paint::{Paint, harmless};
use super::private::Holder;
use super::{input, report};
use crate::exit::{Exit, Failure};

/// Verifies the files and ends with 65 or 66 if any could not be read, else 1 if any is not `pass`.
pub(super) fn command(config: &[PathBuf], options: &Verify, paint: Paint) -> Result<Exit, Failure> {
    input::standard_input_once(options.files.iter().chain(&options.judge.content))?;
    let engine = Engine::new(config, &options.judge)?;
    let mut holders = Vec::new();
    for pair in &options.decrypt_with {
        holders.extend(Holder::read(pair, options.password_file.as_deref())?);
    }
    let mut out = Output {
        out: io::stdout().lock(),
        format: options.format,
        paint,
        count: 0,
    };
    let exit = all((&engine, &holders), &options.files, |name, answer| {
        out.write(name, answer)
    })?;
    match out.finish() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(exit),
    }
}

/// What became of one file.
type Answer = Result<Box<Verdict>, Failure>;

/// Verifies all files and hands each answer on in the order of the files.
fn all(
    by: (&Engine, &[Holder]),
    files: &[PathBuf],
    mut each: impl FnMut(&str, &Answer) -> io::Result<()>,
) -> Result<Exit, Failure> {
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(files.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel(workers.saturating_mul(4).max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { return };
                    // The receiver is gone when the output cannot be written.
                    if sender.send((at, one(by, file))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut worst = Worst::default();
        let mut expected = 0;
        let mut read = true;
        // The receiver must go with this block: a worker that still has an answer would wait for ever.
        for (at, answer) in receiver {
            waiting.insert(at, answer);
            while let Some(answer) = waiting.remove(&expected) {
                let name = files
                    .get(expected)
                    .map(|f| f.to_string_lossy())
                    .unwrap_or_default();
                worst.take(&answer);
                // Who stops reading has seen enough of the answers; the exit code speaks of all files.
                if read {
                    match each(&name, &answer) {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => read = false,
                        written => written?,
                    }
                }
                expected = expected.saturating_add(1);
            }
        }
        Ok(worst.exit())
    })
}

/// The verdict on one file.
fn one((engine, holders): (&Engine, &[Holder]), file: &Path) -> Answer {
    let bytes = input::read(file, engine.message_limit()).map_err(|error| {
        let failure = Failure::file(file, &error);
        // What is there and cannot be opened is no input either, by the table of exit codes.
        let exit = if failure.exit == Exit::Io {
            Exit::Data
        } else {
            Exit::NoInput
        };
        Failure::new(exit, error.to_string())
    })?;
    catch_unwind(AssertUnwindSafe(|| {
        engine.judge_with(bytes, holders).verdict
    }))
    .map(Box::new)
    .map_err(|_| Failure::new(Exit::Data, "internal error: verification was aborted"))
}

/// The exit code over several files.
#[derive(Debug, Default)]
struct Worst {
    unreadable: Option<Exit>,
    not_pass: bool,
}

impl Worst {
    fn take(&mut self, answer: &Answer) {
        match answer {
            Ok(verdict) => self.not_pass |= !verdict.is_pass(),
            Err(failure) => {
                self.unreadable.get_or_insert(failure.exit);
            }
        }
    }

    fn exit(&self) -> Exit {
        self.unreadable.unwrap_or(if self.not_pass {
            Exit::Negative
        } else {
            Exit::Ok
        })
    }
}

/// Writes answers in the chosen format.
struct Output<W> {
    out: W,
    format: Format,
    paint: Paint,
    count: usize,
}

impl<W: Write> Output<W> {
    fn write(&mut self, name: &str, answer: &Answer) -> io::Result<()> {
        let first = self.count == 0;
        self.count = self.count.saturating_add(1);
        match self.format {
            Format::Text => {
                if !first {
                    writeln!(self.out)?;
                }
                let text = match answer {
                    Ok(verdict) => report::verdict(name, verdict, self.paint),
                    Err(failure) => {
                        let word = self.paint.result("fail", "cannot be read");
                        format!(
                            "{}: {word}: {}\n",
                            harmless(name),
                            harmless(&failure.message)
                        )
                    }
                };
                self.out.write_all(text.as_bytes())?;
            }
            Format::Jsonl => writeln!(self.out, "{}", json(name, answer))?,
            Format::Json => {
                let before = if first { "[\n  " } else { ",\n  " };
                write!(self.out, "{before}{}", json(name, answer))?;
            }
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "{}", if self.count == 0 { "[]" } else { "\n]" })?;
        }
        self.out.flush()
    }
}

fn json(name: &str, answer: &Answer) -> String {
    match answer {
        Ok(verdict) => verdict.to_json(name),
        // Written by hand for the order of the fields.
        Err(failure) => {
            let [file, error] = [name, &failure.message].map(serde_json::Value::from);
            format!("{{\"file\":{file},\"error\":{error}}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Arguments, Command};
    use super::*;
    use clap::Parser;

    fn engine() -> Engine {
        let parsed = Arguments::try_parse_from(["kenin", "verify", "--revocation", "off", "x"]);
        let Command::Verify(verify) = parsed.unwrap().command else {
            panic!("verify")
        };
        Engine::new(&[], &verify.judge).unwrap()
    }

    #[test]
    fn answers_keep_the_order_and_unreadable_files_decide_the_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for number in 0..40 {
            let file = folder.path().join(format!("{number}.eml"));
            std::fs::write(
                &file,
                format!("From: a@example.jp\n\n{}", "x\n".repeat(40 - number)),
            )
            .unwrap();
            files.push(file);
        }
        files.insert(20, folder.path().join("absent.eml"));
        let mut names = Vec::new();
        let exit = all((&engine(), &[]), &files, |name, answer| {
            assert_eq!(answer.is_err(), name.contains("absent"), "{name}");
            names.push(PathBuf::from(name));
            Ok(())
        });
        assert_eq!(exit.unwrap(), Exit::NoInput);
        assert_eq!(names, files);
    }

    #[test]
    fn a_reader_that_goes_away_does_not_make_it_good() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.eml");
        std::fs::write(&file, "From: a@example.jp\n\nx\n").unwrap();
        let files = vec![file; 300];
        let mut asked = 0;
        let exit = all((&engine(), &[]), &files, |_, _| {
            asked += 1;
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        });
        assert_eq!((exit.unwrap(), asked), (Exit::Negative, 1));
        let exit = all((&engine(), &[]), &files, |_, _| {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(exit.unwrap_err().exit, Exit::Io);
    }

    #[test]
    fn the_formats_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.eml");
        std::fs::write(&file, "From: a@example.jp\n\nx\n").unwrap();
        let answer = one((&engine(), &[]), &file);
        let absent = one((&engine(), &[]), &folder.path().join("b.eml"));
        let write = |format| {
            let mut out = Output {
                out: Vec::new(),
                format,
                paint: Paint::PLAIN,
                count: 0,
            };
            out.write("a.eml", &answer).unwrap();
            out.write("b.eml", &absent).unwrap();
            out.finish().unwrap();
            String::from_utf8(out.out).unwrap()
        };
        let lines = write(Format::Jsonl);
        let objects: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let whole: Vec<serde_json::Value> = serde_json::from_str(&write(Format::Json)).unwrap();
        assert_eq!(objects, whole);
        assert_eq!(objects[0]["file"], "a.eml");
        assert_eq!(objects[0]["result"], "none");
        assert_eq!(objects[0]["reason"], "not-signed");
        assert!(objects[1]["error"].is_string());
        let text = write(Format::Text);
        assert!(
            text.contains("a.eml") && text.contains("b.eml: cannot be read"),
            "{text}"
        );
    }
}
