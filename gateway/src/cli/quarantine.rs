//! `kenin quarantine`: looks at held mail, sends it on, throws it away; beside the running service, which goes by the
//! same locks. Shows nothing of a mail's content but a few header fields, unless it is asked for.

use std::io::{self, Write};
use std::path::PathBuf;

use kenin_certstore::FileSet;
use kenin_pki::time::UnixTime;
use kenin_policy::header;
use serde_json::{Map, Value, json};

use super::arguments::{Format, QuarantineCommand};
use super::aside::{answer, aside};
use super::paint::harmless;
use crate::config::{Config, ConfigError};
use crate::exit::{Exit, Failure};
use crate::front;
use crate::quarantine::{Claimed, Facts, Folder, Id, Keys, OpenError, SendError, Why, release};

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &QuarantineCommand) -> Result<Exit, Failure> {
    let config = super::load_config(config)?;
    let desk = Desk::open(&config)?;
    match verb {
        QuarantineCommand::List { format } => desk.list(*format),
        QuarantineCommand::Show {
            id,
            raw: false,
            format,
        } => desk.show(&parsed(id)?, *format),
        QuarantineCommand::Show { id, raw: true, .. } => desk.raw(&parsed(id)?),
        QuarantineCommand::Release { ids, dry_run } => {
            each(ids, |id| desk.release(&config, id, *dry_run))
        }
        QuarantineCommand::Delete { ids, dry_run } => each(ids, |id| desk.delete(id, *dry_run)),
        QuarantineCommand::Expire { dry_run } => desk.expire(&config, *dry_run),
    }
}

/// The open quarantine; nothing where no mail was ever held.
struct Desk {
    folder: Option<Folder>,
    keys: Keys,
}

impl Desk {
    fn open(config: &Config) -> Result<Self, Failure> {
        let Some(settings) = &config.quarantine else {
            let what = "the configuration has no [quarantine]: nothing is held here";
            return Err(Failure::new(Exit::Configuration, what));
        };
        let keys = Keys::read(config, settings).map_err(|error| misconfigured(&error))?;
        let path = config.quarantine_dir();
        let folder = match Folder::open(&path) {
            Ok(folder) => Some(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::file(&path, &error)),
        };
        Ok(Self { folder, keys })
    }

    fn list(&self, format: Format) -> Result<Exit, Failure> {
        let mut out = io::BufWriter::new(answer());
        let mut exit = Exit::Ok;
        let mut first = true;
        if format == Format::Json {
            write!(out, "[")?;
        }
        for id in self.ids()? {
            let facts = match self.facts(&id) {
                // Somebody has taken it out meanwhile.
                Err(error) if is_absent(&error) => continue,
                facts => facts,
            };
            if facts.is_err() {
                exit = Exit::Data;
            }
            match format {
                Format::Text => writeln!(out, "{}", line(&id, &facts))?,
                Format::Jsonl => writeln!(out, "{}", object(&id, &facts))?,
                Format::Json => {
                    let comma = if first { "" } else { "," };
                    write!(out, "{comma}\n{}", object(&id, &facts))?;
                }
            }
            first = false;
        }
        if format == Format::Json {
            writeln!(out, "\n]")?;
        }
        out.flush()?;
        Ok(exit)
    }

    fn show(&self, id: &Id, format: Format) -> Result<Exit, Failure> {
        let mut read = self
            .folder(id)?
            .read(id, &self.keys)
            .map_err(|e| unread(id, &e))?;
        let head = read.chunk().map_err(|error| unread(id, &error))?;
        let head = head.unwrap_or_default();
        let facts = read.facts();
        let shown = shown(&head);
        let mut out = io::stdout().lock();
        match format {
            Format::Text => out.write_all(text(id, facts, &shown).as_bytes())?,
            Format::Json | Format::Jsonl => {
                let mut value = object(id, &Ok(facts.clone()));
                let fields = shown.into_iter();
                let fields: Vec<Value> = fields
                    .map(|(name, value)| json!({ "name": name, "value": value }))
                    .collect();
                if let Some(value) = value.as_object_mut() {
                    value.insert("header".to_owned(), Value::Array(fields));
                }
                writeln!(out, "{value}")?;
            }
        }
        Ok(Exit::Ok)
    }

    fn raw(&self, id: &Id) -> Result<Exit, Failure> {
        let read = self.folder(id)?.read(id, &self.keys);
        // All of it is proven before any of it is written.
        let read = read.and_then(|read| read.content());
        let (_, content) = read.map_err(|error| unread(id, &error))?;
        let mut out = io::stdout().lock();
        out.write_all(content.expose())?;
        out.flush()?;
        Ok(Exit::Ok)
    }

    fn release(&self, config: &Config, id: &Id, dry_run: bool) -> Result<(), Failure> {
        let claimed = self
            .folder(id)?
            .claim(id)
            .map_err(|error| failed(id, &error))?;
        let claim = match claimed {
            Claimed::Ours(claim) => claim,
            Claimed::Busy => return Err(busy(id)),
            Claimed::Absent => return Err(absent(id)),
        };
        let read = claim.read(&self.keys).and_then(|read| read.content());
        let (facts, content) = read.map_err(|error| unread(id, &error))?;
        let whom = recipients(&facts);
        if dry_run {
            writeln!(aside(), "would send {id} to {whom}")?;
            return Ok(());
        }
        let Some(next) = &config.next_hop else {
            let what = "the configuration has no [next_hop] to send it to";
            return Err(Failure::new(Exit::Configuration, what));
        };
        let next = front::next_hop(config, next, &mut FileSet::default())
            .map_err(|error| misconfigured(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sending = release(&next, &config.hostname, &facts, content.expose());
        let reply = runtime.block_on(sending).map_err(|error| {
            let exit = match &error {
                SendError::Unusable(_) => Exit::Unavailable,
                SendError::Refused(reply) if !reply.is_transient() => Exit::Negative,
                SendError::Refused(_) | SendError::InDoubt => Exit::Temporary,
            };
            Failure::new(exit, format!("{id}: {error}; it is still held"))
        })?;
        // The next hop has it; only from here on may it go.
        claim.remove().map_err(|error| {
            let what = format!("{id}: it was sent, and cannot be removed: {error}");
            Failure::new(Exit::Io, what)
        })?;
        let reply = harmless(&reply.to_string());
        writeln!(aside(), "sent {id} to {whom}: {reply}")?;
        Ok(())
    }

    fn delete(&self, id: &Id, dry_run: bool) -> Result<(), Failure> {
        let claimed = self
            .folder(id)?
            .claim(id)
            .map_err(|error| failed(id, &error))?;
        let claim = match claimed {
            Claimed::Ours(claim) => claim,
            Claimed::Busy => return Err(busy(id)),
            Claimed::Absent => return Err(absent(id)),
        };
        // Also what cannot be read.
        let word = match dry_run {
            true => "would throw away",
            false => {
                claim.remove().map_err(|error| failed(id, &error))?;
                "threw away"
            }
        };
        writeln!(aside(), "{word} {id}")?;
        Ok(())
    }

    fn expire(&self, config: &Config, dry_run: bool) -> Result<Exit, Failure> {
        let now = super::clock::believed(config)?;
        let mut due = Vec::new();
        for id in self.ids()? {
            if self.facts(&id).is_ok_and(|facts| facts.is_due(now)) {
                due.push(id.to_string());
            }
        }
        each(&due, |id| match self.delete(id, dry_run) {
            // The service has the same thing to do.
            Err(failure) if matches!(failure.exit, Exit::NoInput | Exit::Temporary) => Ok(()),
            done => done,
        })
    }

    fn ids(&self) -> Result<Vec<Id>, Failure> {
        match &self.folder {
            None => Ok(Vec::new()),
            Some(folder) => folder.ids().map_err(|error| {
                let what = format!("the quarantine: {error}");
                Failure::new(Exit::Io, what)
            }),
        }
    }

    fn facts(&self, id: &Id) -> Result<Facts, OpenError> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let folder = self.folder.as_ref().ok_or_else(absent)?;
        Ok(folder.read(id, &self.keys)?.facts().clone())
    }

    fn folder(&self, id: &Id) -> Result<&Folder, Failure> {
        self.folder.as_ref().ok_or_else(|| absent(id))
    }
}

/// Does all that can be done; the first failure decides the exit code.
fn each(ids: &[String], mut work: impl FnMut(&Id) -> Result<(), Failure>) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for id in ids {
        if let Err(failure) = parsed(id).and_then(|id| work(&id)) {
            let _ = writeln!(io::stderr(), "kenin: {failure}");
            if exit == Exit::Ok {
                exit = failure.exit;
            }
        }
    }
    Ok(exit)
}

fn parsed(text: &str) -> Result<Id, Failure> {
    Id::parse(&text.to_ascii_uppercase()).ok_or_else(|| {
        let what = format!("{} is no id of a held mail", harmless(text));
        Failure::new(Exit::Usage, what)
    })
}

/// The fields that say what mail it is, as far as they stand near its beginning, in their order.
fn shown(head: &[u8]) -> Vec<(&'static str, String)> {
    let header = header::scan(head);
    let named = header.fields.iter().filter_map(|field| {
        let name = SHOWN.iter().find(|name| field.is_plainly(head, name))?;
        let value = header::unfold(field.value(head));
        let value = String::from_utf8_lossy(&value).trim().to_owned();
        Some((*name, value))
    });
    named.take(MAX_SHOWN).collect()
}

/// A mail in one line.
fn line(id: &Id, facts: &Result<Facts, OpenError>) -> String {
    match facts {
        Err(error) => format!("{id}  cannot be read: {error}"),
        Ok(facts) => format!(
            "{id}  {}  {:>9}  <{}> to {}  {}",
            UnixTime(facts.held),
            facts.size,
            harmless(&facts.from),
            recipients(facts),
            harmless(facts.why.reason()),
        ),
    }
}

fn text(id: &Id, facts: &Facts, shown: &[(&str, String)]) -> String {
    let until = facts.until.map(|until| UnixTime(until).to_string());
    let mut rows = vec![
        ("id", id.to_string()),
        ("transaction", facts.transaction.clone()),
        ("tenant", facts.tenant.clone()),
        ("held", UnixTime(facts.held).to_string()),
        (
            "until",
            until.unwrap_or_else(|| "somebody decides: the clock was not trusted".to_owned()),
        ),
        ("why", facts.why.reason().to_owned()),
    ];
    if let Why::Refused { reply, .. } = &facts.why {
        rows.push(("next hop said", reply.clone()));
    }
    rows.push(("size", facts.size.to_string()));
    rows.push(("client", facts.client.clone()));
    rows.push(("sender", format!("<{}>", facts.from)));
    if facts.return_path != facts.from {
        rows.push(("return path", format!("<{}>", facts.return_path)));
    }
    let to = facts.recipients.iter();
    rows.extend(to.map(|to| ("recipient", format!("<{}>", to.address))));
    let fields = shown.iter();
    rows.extend(fields.map(|(name, value)| (*name, value.clone())));
    let lines = rows.iter();
    lines
        .map(|(name, value)| format!("{name:<14} {}\n", harmless(value)))
        .collect()
}

fn object(id: &Id, facts: &Result<Facts, OpenError>) -> Value {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return json!({ "id": id.as_str(), "error": error.to_string() }),
    };
    let (why, reply) = match &facts.why {
        Why::Rule { .. } => ("rule", None),
        Why::Refused { reply, .. } => ("refused", Some(reply)),
    };
    let time = |time: i64| UnixTime(time).to_string();
    let to = facts.recipients.iter();
    let to: Vec<&str> = to.map(|to| to.address.as_str()).collect();
    let pairs = [
        ("id", json!(id.as_str())),
        ("transaction", json!(facts.transaction)),
        ("tenant", json!(facts.tenant)),
        ("held", json!(time(facts.held))),
        ("until", json!(facts.until.map(time))),
        ("why", json!(why)),
        ("reason", json!(facts.why.reason())),
        ("reply", json!(reply)),
        ("size", json!(facts.size)),
        ("client", json!(facts.client)),
        ("sender", json!(facts.from)),
        ("return_path", json!(facts.return_path)),
        ("recipients", json!(to)),
    ];
    let pairs = pairs.into_iter();
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

/// For whom it is, as one line shows it.
fn recipients(facts: &Facts) -> String {
    let all = facts.recipients.iter().take(MAX_SHOWN);
    let mut text: Vec<String> = all
        .map(|to| format!("<{}>", harmless(&to.address)))
        .collect();
    let more = facts.recipients.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

fn is_absent(error: &OpenError) -> bool {
    matches!(error, OpenError::Io(error) if error.kind() == io::ErrorKind::NotFound)
}

fn misconfigured(error: &ConfigError) -> Failure {
    Failure::new(Exit::Configuration, error.report())
}

fn absent(id: &Id) -> Failure {
    Failure::new(Exit::NoInput, format!("{id}: no such mail is held"))
}

fn busy(id: &Id) -> Failure {
    let what = format!("{id}: somebody else is sending it on or removing it");
    Failure::new(Exit::Temporary, what)
}

fn unread(id: &Id, error: &OpenError) -> Failure {
    match error {
        OpenError::Io(error) => failed(id, error),
        OpenError::UnknownKey(_) => {
            let what = format!("{id}: {error}; name its file in previous_key_files");
            Failure::new(Exit::Configuration, what)
        }
        other => Failure::new(Exit::Data, format!("{id}: {other}")),
    }
}

fn failed(id: &Id, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => absent(id),
        io::ErrorKind::PermissionDenied => {
            let what = format!("{id}: {error}; run this as the user of the service");
            Failure::new(Exit::NotPermitted, what)
        }
        _ => Failure::new(Exit::Io, format!("{id}: {error}")),
    }
}

/// What tells a mail from others.
const SHOWN: [&str; 6] = ["From", "To", "Cc", "Date", "Subject", "Message-ID"];
/// As many of them as are worth a line.
const MAX_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_a_mail_from_others_is_shown() {
        let head = b"Received: from x\r\nFrom: a@b.example\r\nSubject: one\r\n two\r\n\
                     X-Secret: y\r\nmessage-id: <1@b>\r\n\r\nSubject: body\r\n";
        assert_eq!(
            shown(head),
            [
                ("From", "a@b.example".to_owned()),
                ("Subject", "one two".to_owned()),
                ("Message-ID", "<1@b>".to_owned()),
            ]
        );
        assert!(shown(b"").is_empty());
    }

    #[test]
    fn words_of_strangers_cannot_paint_the_terminal() {
        let facts = Facts {
            tenant: "default".to_owned(),
            transaction: "01J0000000000000000000000A".to_owned(),
            from: "a\u{1b}[2J@x.example".to_owned(),
            return_path: String::new(),
            recipients: Vec::new(),
            smtputf8: true,
            eight_bit: false,
            client: "192.0.2.1".to_owned(),
            why: Why::Refused {
                reason: "odd".to_owned(),
                reply: "550 \u{1b}]0;x".to_owned(),
            },
            held: 1_800_000_000,
            until: None,
            size: 7,
        };
        let id = Id::parse(&facts.transaction).unwrap();
        let fields = [("Subject", "\u{1b}[1mbold".to_owned())];
        let text = text(&id, &facts, &fields);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.contains("return path    <>\n"), "{text}");
        let line = line(&id, &Ok(facts.clone()));
        assert!(
            !line.contains('\u{1b}') && line.contains("2027-01-15T08:00:00Z"),
            "{line}"
        );
        let value = object(&id, &Ok(facts));
        assert_eq!(value["until"], Value::Null);
        assert_eq!(value["why"], "refused");
        let broken = object(&id, &Err(OpenError::Changed));
        assert_eq!(broken["id"], id.as_str());
        assert!(broken["error"].as_str().unwrap().contains("changed"));
    }
}
