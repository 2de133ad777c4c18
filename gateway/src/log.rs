//! The log: one event, one line on stderr, in one of three formats.
//!
//! Every value may come from a stranger (From, HELO, names in certificates), so every value is
//! escaped and cut here, in one place, whatever the caller did. No body, key or password is ever
//! given to it.

use std::cell::Cell;
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kenin_pki::time::UnixTime;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::metrics;
use writer::Queue;

mod writer;

/// Sends the log of this process to stderr, without waiting for whoever reads it. A second call changes
/// nothing.
pub(crate) fn install(log: &Log, format: Option<LogFormat>) {
    let (format, stamp) = outward(log, format);
    start(targets(log), format, stamp, move || {
        Pen(queue(format, stamp))
    });
}

/// The same for a process whose lines are a record that must be whole: what `module` says is written at any level that
/// is set, and the process waits for whoever reads it.
pub(crate) fn install_record(log: &Log, format: Option<LogFormat>, module: &'static str) {
    let (format, stamp) = outward(log, format);
    start(recorded(targets(log), module), format, stamp, || Pen(None));
}

fn recorded(targets: Targets, module: &'static str) -> Targets {
    match targets.would_enable(module, &Level::INFO) {
        true => targets,
        false => targets.with_target(module, LevelFilter::INFO),
    }
}

/// The configuration was checked; what it cannot say here is the usual level.
fn targets(log: &Log) -> Targets {
    let targets = log.level.parse::<Targets>();
    targets.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

/// The format, and whether lines are stamped: the journal does it itself.
fn outward(log: &Log, format: Option<LogFormat>) -> (LogFormat, bool) {
    let format = format.unwrap_or(log.format);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    (format, !journal || format == LogFormat::Json)
}

fn start<P>(targets: Targets, format: LogFormat, stamp: bool, pen: P)
where
    P: Fn() -> Pen + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(pen)
        .with_ansi(false)
        .event_format(Lines { format, stamp });
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(layer)
        .try_init();
}

/// Waits until what was logged is out; not for long where nobody reads it.
pub(crate) fn flush(patience: Duration) {
    if let Some(Some(queue)) = QUEUE.get() {
        queue.flush(patience);
    }
}

/// Says the last words of a service, behind its log.
pub(crate) fn last_words(text: &str) {
    let _ = io::Write::write_all(&mut Pen(QUEUE.get().cloned().flatten()), text.as_bytes());
    flush(LAST);
}

/// The way to stderr; made when it is first needed. `None` where there can be no thread for it.
fn queue(format: LogFormat, stamp: bool) -> Option<Arc<Queue>> {
    let made = QUEUE.get_or_init(|| {
        let lament = move |lost: u64| {
            let fields = Fields {
                message: "log lines were lost here: nobody read them in time".to_owned(),
                values: vec![("lines", Value::from(lost))],
            };
            line(format, time(stamp), &Level::WARN, &fields)
        };
        Queue::to_stderr(Box::new(lament)).ok()
    });
    made.clone()
}

/// Puts lines into the queue; where there is none, writes them.
struct Pen(Option<Arc<Queue>>);

impl io::Write for Pen {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(queue) => {
                if !queue.push(lines) {
                    metrics::log_line_dropped();
                }
                Ok(lines.len())
            }
            // To say that this failed there is no other place; whoever must not go on without asks.
            None => {
                let written = io::Write::write_all(&mut io::stderr(), lines);
                WRITTEN.set(written.is_ok());
                Ok(lines.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the last line of a record that this thread wrote came out, as far as it can know.
pub(crate) fn is_written() -> bool {
    WRITTEN.get()
}

thread_local! {
    /// Of this thread: lines of others come between.
    static WRITTEN: Cell<bool> = const { Cell::new(true) };
}
static QUEUE: OnceLock<Option<Arc<Queue>>> = OnceLock::new();
/// For the end of a service: systemd waits longer, people do not.
const LAST: Duration = Duration::from_secs(1);

/// Writes events as lines.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
    stamp: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        // Third parties' events say which module speaks; ours are known by their words.
        if !metadata.target().starts_with("kenin") {
            fields
                .values
                .push(("target", Value::from(metadata.target())));
        }
        let line = line(self.format, time(self.stamp), metadata.level(), &fields);
        writeln!(writer, "{line}")
    }
}

fn time(stamp: bool) -> Option<UnixTime> {
    stamp.then(|| crate::clock::unix_time(crate::clock::now()))
}

/// One event as a line without its end.
fn line(format: LogFormat, now: Option<UnixTime>, level: &Level, fields: &Fields) -> String {
    let level = level.as_str();
    match format {
        LogFormat::Json => {
            let mut map = serde_json::Map::new();
            if let Some(now) = now {
                map.insert("ts".to_owned(), Value::from(now.to_string()));
            }
            map.insert("level".to_owned(), Value::from(level.to_ascii_lowercase()));
            map.insert("msg".to_owned(), Value::from(fields.message.clone()));
            for (name, value) in &fields.values {
                map.insert((*name).to_owned(), value.clone());
            }
            Value::Object(map).to_string()
        }
        LogFormat::Logfmt => {
            let mut text = String::new();
            if let Some(now) = now {
                let _ = write!(text, "ts={now} ");
            }
            let _ = write!(text, "level={}", level.to_ascii_lowercase());
            let _ = write!(text, " msg={}", bare_or_quoted(&fields.message));
            fields.pairs(&mut text);
            text
        }
        LogFormat::Pretty => {
            let mut text = String::new();
            if let Some(now) = now {
                let _ = write!(text, "{now} ");
            }
            let _ = write!(text, "{level:5} {}", fields.message);
            fields.pairs(&mut text);
            text
        }
    }
}

/// The fields of one event, already harmless.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    values: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, text: &str) {
        let text = escape(text);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.values.push((field.name(), Value::from(text)));
        }
    }

    fn pairs(&self, text: &mut String) {
        for (name, value) in &self.values {
            let value = match value {
                Value::String(value) => bare_or_quoted(value),
                other => other.to_string(),
            };
            let _ = write!(text, " {name}={value}");
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.push((field.name(), Value::from(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Control characters, line separators and what turns the direction of text become `\u00XX`; a
/// long value is cut and says so.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len().min(MAX_VALUE));
    for character in value.chars() {
        if text.len() >= MAX_VALUE {
            text.push('…');
            break;
        }
        let hidden = matches!(
            character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
        );
        if character.is_control() || hidden {
            let _ = write!(text, "\\u{:04X}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

/// A value as `key=value` takes it: quoted unless it is one plain word.
fn bare_or_quoted(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        // The backslash too: one before a quotation mark would end the value.
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    }
}

const MAX_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// `level = "warn"` had the uses of keys written nowhere.
    #[test]
    fn no_level_silences_a_record() {
        for (level, others) in [
            ("warn", false),
            ("off", false),
            ("kenin=error", false),
            ("debug", true),
        ] {
            let targets = recorded(level.parse().unwrap(), "kenin::key_process");
            assert!(
                targets.would_enable("kenin::key_process", &Level::INFO),
                "{level}"
            );
            assert_eq!(
                targets.would_enable("kenin::other", &Level::INFO),
                others,
                "{level}"
            );
        }
        let off = "kenin::key_process=off".parse().unwrap();
        assert!(
            recorded(off, "kenin::key_process").would_enable("kenin::key_process", &Level::INFO)
        );
    }

    fn fields(value: &str) -> Fields {
        let values = vec![
            ("from", Value::from(escape(value))),
            ("rcpts", Value::from(2)),
        ];
        Fields {
            message: "message".to_owned(),
            values,
        }
    }

    fn at(seconds: i64) -> Option<UnixTime> {
        Some(UnixTime(seconds))
    }

    #[test]
    fn three_formats() {
        let fields = fields("a@b.c");
        let of = |format| line(format, at(0), &Level::INFO, &fields);
        assert_eq!(
            of(LogFormat::Pretty),
            "1970-01-01T00:00:00Z INFO  message from=a@b.c rcpts=2"
        );
        assert_eq!(
            of(LogFormat::Logfmt),
            "ts=1970-01-01T00:00:00Z level=info msg=message from=a@b.c rcpts=2"
        );
        let json: Value = serde_json::from_str(&of(LogFormat::Json)).unwrap();
        assert_eq!(json["from"], "a@b.c");
        assert_eq!(json["rcpts"], 2);
        assert_eq!(json["ts"], "1970-01-01T00:00:00Z");
    }

    /// One event stays one line, and its fields stay themselves, whatever a stranger wrote.
    #[test]
    fn no_value_can_add_a_line_or_a_field() {
        for nasty in [
            "a\r\nlevel=info msg=\"all is well\"",
            "a\n",
            "\u{1b}[2Jcleared",
            "x\" verdict=pass y=\"",
            "x\\\" verdict=pass y=\\\"",
            "x y\\",
            "{\"verdict\":\"pass\"}",
            "%s%n",
            "a\u{2028}b\u{85}c",
            "abc\u{202E}fdp.exe",
            "\0",
            "a b",
        ] {
            for format in [LogFormat::Pretty, LogFormat::Logfmt, LogFormat::Json] {
                let line = line(format, at(1), &Level::INFO, &fields(nasty));
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains(['\u{2028}', '\u{202E}']), "{line:?}");
                if format == LogFormat::Json {
                    let json: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!(json.as_object().unwrap().len(), 5);
                } else {
                    let rest = line.split(" from=").nth(1).unwrap();
                    assert!(rest.ends_with(" rcpts=2"), "{line}");
                    let value = rest.strip_suffix(" rcpts=2").unwrap();
                    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                    match quoted {
                        Some(inner) => {
                            let pairs = inner.replace("\\\\", "").replace("\\\"", "");
                            assert!(!pairs.contains(['"', '\\']), "{line}");
                        }
                        None => assert!(!value.contains([' ', '"', '=']), "{line}"),
                    }
                }
            }
        }
    }

    #[test]
    fn long_values_are_cut() {
        let text = escape(&"あ".repeat(5000));
        assert!(text.len() <= MAX_VALUE + 6);
        assert!(text.ends_with('…'));
    }
}
