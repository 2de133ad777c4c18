//! `kenin demo`: an authority, signers, the real gateway and a receiving mailbox in one process, on
//! loopback only; mail good and bad goes through, and what arrives is compared with the truth. Then two sites with private
//! keys, whose gateways have processes as `kenin run` starts them: mail is encrypted and opened for people, and stolen.
//!
//! Uses the same gateway as `kenin run`. Never touches files outside its own folder.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kenin_pki::certificate::Certificate;
use kenin_policy::StampKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Paint;
use crate::cli::arguments::{Demo, Format};
use crate::config::{Config, ListenAddress};
use crate::exit::{Exit, Failure};
use crate::run::Gateway;

pub mod authority;
pub mod cast;
pub mod client;
pub mod delivered;
mod forge;
mod house;
pub mod mailbox;
pub mod mails;
mod people;
mod show;
mod wrapped;

use cast::Cast;
use delivered::Row;
use mailbox::{Arrived, Mailbox};

/// Runs the demo.
pub(crate) fn command(options: &Demo, paint: Paint) -> Result<Exit, Failure> {
    let folder = Folder::new(options.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(demo(options, folder.path(), paint))
}

async fn demo(options: &Demo, folder: &Path, paint: Paint) -> Result<Exit, Failure> {
    let started = Instant::now();
    if options.format == Format::Text {
        writeln!(
            io::stderr(),
            "Making keys and certificates, starting the gateway …"
        )?;
    }
    let mut world = World::start(folder).await?;
    let mut rows = world.verdicts().await?;
    let story = people::tell(folder, &mut world.cast.authority).await?;
    rows.extend(story.rows);
    let wrong = rows.iter().filter(|row| !row.problems.is_empty()).count();
    write_rows(&rows, options.format)?;
    if options.format == Format::Text {
        let seconds = started.elapsed().as_secs_f32();
        let right = rows.len().saturating_sub(wrong);
        let line = format!(
            "{right} of {} mails as expected, {seconds:.1} s",
            rows.len()
        );
        if let Some(statement) = rows.iter().find_map(|row| row.statement.as_deref()) {
            let title = paint.bold("What people read in front of a wrapped mail");
            writeln!(io::stdout(), "\n{title}\n{}", show::indented(statement))?;
        }
        let title = paint.bold(people::TITLE);
        write!(io::stdout(), "{title}\n{}", story.text)?;
        let word = if wrong == 0 { "pass" } else { "fail" };
        writeln!(io::stdout(), "{}", paint.result(word, &line))?;
    }
    if !options.once {
        world.stay(paint, options.format).await?;
    }
    world.gateway.stop().await;
    Ok(if wrong == 0 { Exit::Ok } else { Exit::Negative })
}

/// The folder of the demo: one of its own that goes with it, or a named one that stays.
enum Folder {
    Temporary(tempfile::TempDir),
    Named(PathBuf),
}

impl Folder {
    fn new(named: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = named else {
            let folder = tempfile::Builder::new().prefix("kenin-demo-").tempdir()?;
            return Ok(Self::Temporary(folder));
        };
        std::fs::create_dir_all(path).map_err(|error| Failure::file(path, &error))?;
        let path = path
            .canonicalize()
            .map_err(|error| Failure::file(path, &error))?;
        let mut entries = std::fs::read_dir(&path).map_err(|error| Failure::file(&path, &error))?;
        if entries.next().is_some() {
            let what = format!(
                "{} is not empty; the demo wants a folder of its own",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Self::Named(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Named(path) => path,
        }
    }
}

/// Everything that runs.
struct World {
    cast: Cast,
    authserv_id: String,
    key: StampKey,
    /// Whose certificates sign what the gateway wraps.
    wrapping: Certificate,
    mailbox: Mailbox,
    gateway: Gateway,
    smtp: SocketAddr,
    folder: PathBuf,
}

impl World {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        let cast = Cast::new(crate::cli::now()).map_err(broken)?;
        let mailbox = Mailbox::start(&folder.join("mailbox")).await?;
        cast.authority.write(folder)?;
        cast.write(&folder.join("people"))?;
        let (key, text) = StampKey::generate().map_err(broken)?;
        cast::write_private(&folder.join("stamp.key"), text.as_bytes())?;
        std::fs::create_dir_all(folder.join("state"))?;
        std::fs::write(folder.join("trust.toml"), TRUST)?;
        std::fs::write(folder.join("mail.toml"), MAIL)?;
        let made = crate::init::wrap(&crate::init::WrapOptions {
            dir: folder.to_owned(),
            address: Some("kenin@gw.demo.example".to_owned()),
            hostname: "gw.demo.example".to_owned(),
            renew: false,
            dry_run: false,
        });
        let wrapping = Certificate::from_pem_or_der_many(made.map_err(broken)?.lines.as_bytes());
        let wrapping = wrapping.map_err(broken)?.into_iter().next();
        let wrapping = wrapping.ok_or_else(|| broken("no certificate to wrap with"))?;
        let path = folder.join("kenin.toml");
        std::fs::write(
            &path,
            KENIN.replace("{mailbox}", &mailbox.address.to_string()),
        )?;
        let config = Config::load(&[path])
            .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
        let authserv_id = config.authserv_id.clone();
        let gateway = Gateway::start(config)
            .await
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        let smtp = gateway
            .mail
            .first()
            .and_then(ListenAddress::tcp)
            .ok_or_else(|| broken("no listener"))?;
        Ok(Self {
            cast,
            authserv_id,
            key,
            wrapping,
            mailbox,
            gateway,
            smtp,
            folder: folder.to_owned(),
        })
    }

    /// Sends all mail, good and bad, and compares what arrives.
    async fn verdicts(&mut self) -> Result<Vec<Row>, Failure> {
        let mails = mails::all(&self.cast, &self.authserv_id).map_err(broken)?;
        let mut rows = Vec::with_capacity(mails.len());
        for case in &mails {
            rows.push(self.send(case).await);
        }
        Ok(rows)
    }

    /// Sends one mail and compares what arrives.
    async fn send(&mut self, case: &mails::Case) -> Row {
        let to = format!("<{}>", case.to);
        let reply = heard(self.smtp, "<sender@demo.example>", &to, &case.mail).await;
        let arrived: Option<Arrived> = if reply.starts_with('2') {
            tokio::time::timeout(PATIENCE, self.mailbox.next())
                .await
                .ok()
                .flatten()
        } else {
            self.mailbox.try_next()
        };
        delivered::inspect(
            case,
            &reply,
            arrived.as_ref(),
            &self.authserv_id,
            &self.key,
            &self.wrapping,
        )
    }

    /// Says how to use it, then shows what arrives until Ctrl-C.
    async fn stay(&mut self, paint: Paint, format: Format) -> Result<(), Failure> {
        say(format, &self.directions(paint))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let arrived = tokio::select! {
                arrived = self.mailbox.next() => arrived,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            };
            let Some(arrived) = arrived else { break };
            let stamp = delivered::stamp_of(&arrived.bytes, &self.authserv_id);
            say(format, &format!("{}  {stamp}", arrived.file.display()))?;
        }
        writeln!(io::stderr(), "\nEnding.")?;
        Ok(())
    }

    /// Lines for a shell, which work as printed.
    fn directions(&self, paint: Paint) -> String {
        let http = self.gateway.http.map_or_else(String::new, |http| {
            let title = paint.bold("Ask how it is");
            format!("\n{title}\n  curl http://{http}/readyz\n  curl http://{http}/metrics\n")
        });
        // Started by cargo, the program is not on the path.
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("kenin"));
        DIRECTIONS
            .replace("{send}", &paint.bold("Send to it"))
            .replace("{read}", &paint.bold("Read what arrived"))
            .replace("{check}", &paint.bold("Check it again"))
            .replace(
                "{end}",
                &paint.dim("What arrives is shown below. Ctrl-C ends the demo."),
            )
            .replace("{smtp}", &self.smtp.to_string())
            .replace("{http}", &http)
            .replace("{folder}", &shell_word(&self.folder))
            .replace("{kenin}", &shell_word(&program))
    }
}

/// What a client hears that sends a mail, or that it hears nothing.
async fn heard(to: SocketAddr, from: &str, recipient: &str, mail: &[u8]) -> String {
    let recipients = [recipient];
    let sent = client::send(to, from, &recipients, mail);
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => format!("connection lost: {error}"),
        Err(_) => "no answer".to_owned(),
    }
}

/// A path as a shell takes it for one word.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What is not the table is talk where a program reads the table.
fn say(format: Format, text: &str) -> io::Result<()> {
    match format {
        Format::Text => writeln!(io::stdout(), "{text}"),
        Format::Json | Format::Jsonl => writeln!(io::stderr(), "{text}"),
    }
}

fn write_rows(rows: &[Row], format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => out.write_all(show::table(rows).as_bytes()),
        Format::Json => {
            let all: Vec<serde_json::Value> = rows.iter().map(show::json).collect();
            writeln!(out, "{}", serde_json::Value::from(all))
        }
        Format::Jsonl => rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", show::json(row))),
    }
}

/// Something of ours does not work.
fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Io, error.to_string())
}

/// Far more than a mail takes.
const PATIENCE: Duration = Duration::from_secs(20);

const KENIN: &str = r#"# The demo's own configuration, on free loopback ports.
hostname = "gw.demo.example"
state_dir = "state"

[[listener]]
address = "127.0.0.1:0"
mode = "before-queue"

[next_hop]
address = "{mailbox}"

[http]
address = "127.0.0.1:0"

[stamp]
key = "stamp.key"

[wrap]
certificate = "wrap/certificate.pem"
key = "wrap/key.pem"
"#;

const TRUST: &str = r#"intermediates = ["intermediates"]
crls = ["crls"]

[[anchor]]
name = "j-sim"
file = "anchors/root.pem"
use = ["mail-signing"]
"#;

const MAIL: &str = r#"[[rule]]
when = { domain = "strict.example" }
then = { enforce = "strict" }

[[rule]]
when = { domain = "people.example" }
then = { stamp = "wrap" }
"#;

/// `openssl` mixes line ends, which SMTP does not allow: `sed` makes them all CRLF.
const DIRECTIONS: &str = r#"
{send}
  D={folder} KENIN={kenin}
  printf 'Content-Type: text/plain\r\n\r\nHello.\r\n' | openssl cms -sign \
    -signer "$D/people/alice.pem" -inkey "$D/people/alice.key" -certfile "$D/intermediates/intermediate.pem" \
    -from alice@demo.example -to carol@recipient.example -subject Hello | sed 's/\r*$/\r/' > "$D/hello.eml"
  curl smtp://{smtp} --mail-from alice@demo.example --mail-rcpt carol@recipient.example \
    --upload-file "$D/hello.eml"
  (bob and mallory have keys too; to strict.example goes only mail whose signature holds)
  (signed mail to people.example arrives wrapped)

{read}
  ls "$D/mailbox/"

{check}
  openssl cms -verify -CAfile "$D/anchors/root.pem" -in "$D/mailbox/0001.eml"
  "$KENIN" verify --config "$D/kenin.toml" "$D/mailbox/0001.eml"
  "$KENIN" explain --config "$D/kenin.toml" "$D/mailbox/0001.eml"
{http}
{end}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        for (path, word) in [
            ("/tmp/kenin-demo-1", "/tmp/kenin-demo-1"),
            ("/my demo", "'/my demo'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Folder::new(Some(folder.path())).is_ok());
        std::fs::write(folder.path().join("x"), "").unwrap();
        assert!(Folder::new(Some(folder.path())).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_mail_arrives_with_a_true_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::start(folder.path()).await.unwrap();
        let rows = world.verdicts().await.unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!(row.problems, [""; 0], "{}", row.title);
        }
        world.gateway.stop().await;
    }
}
