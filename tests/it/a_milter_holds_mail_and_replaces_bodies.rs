//! What a milter can do beside header fields, with a real Postfix: have mail held, and replace bodies.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kenin_smtp_filter::milter::{self, Listener, MilterConfig, Wants};
use kenin_smtp_filter::{Edit, Filter, Mail, Treating, Treatment};
use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::forge::{Town, mime};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Sink, split};
use kenin_tests::world::{Folder, files, run, wait_for};

fn send(postfix: &Postfix, raw: &[u8]) -> Reply {
    let envelope = Envelope::new("sender@example.jp", "reader@example.jp").with("BODY=8BITMIME");
    Client::greeted(postfix.front)
        .mail(&envelope, raw)
        .expect("Postfix answers")
}

fn tool(postfix: &Postfix, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(format!("/usr/sbin/{name}"));
    command.arg("-c").arg(postfix.configuration());
    String::from_utf8_lossy(&run(command.args(arguments))).into_owned()
}

fn held(postfix: &Postfix) -> Vec<String> {
    let folder = postfix.configuration().with_file_name("queue").join("hold");
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files(&folder).iter().map(name).collect()
}

#[test]
fn a_mail_that_is_held_arrives_when_it_is_let_go() {
    let town = Town::get();
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    let rule = "[[rule]]\nthen = { enforce = \"quarantine\" }\n";
    std::fs::write(gateway.folder.join("mail.toml"), rule).unwrap();
    gateway.restart();
    let honest = town.clear_signed(&town.bob, "bob@example.jp", "Pay one");
    let text = String::from_utf8(honest.clone()).unwrap();
    let changed = text.replace("Pay one", "Pay two").into_bytes();
    let reply = send(&postfix, &changed);
    assert_eq!(reply.code, 250, "{}", reply.text());
    wait_for("it is held", || held(&postfix).len() == 1);
    let id = held(&postfix).concat();
    assert!(tool(&postfix, "postqueue", &["-p"]).contains(&format!("{id}!")));
    wait_for("both logs say so", || {
        let hold = |line: &str| line.contains(&id) && line.contains("milter triggers HOLD action");
        let ours = format!("queue_id={id} ");
        let told = |line: &str| {
            line.contains(&ours)
                && ["policy=mail.toml#1", "action=quarantine", "fate=returned"]
                    .iter()
                    .all(|part| line.contains(part))
        };
        postfix.log().lines().any(hold) && gateway.log().lines().any(told)
    });
    // Another mail goes by it.
    assert_eq!(send(&postfix, &honest).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(got.fields("Authentication-Results")[0].contains("smime=pass"));
    assert_eq!(held(&postfix).concat(), id);
    tool(&postfix, "postsuper", &["-H", &id]);
    let got = sink.wait(2, Duration::from_secs(60)).pop().unwrap();
    let stamps = got.fields("Authentication-Results");
    assert_eq!(stamps.len(), 1, "{stamps:?}");
    assert!(
        stamps[0].contains("smime=fail (digest-mismatch)"),
        "{stamps:?}"
    );
    assert_eq!(split(&got.raw).1, split(&changed).1);
    assert!(held(&postfix).is_empty());
}

/// Gives every mail another body.
struct NewBody(Vec<u8>);

impl Filter for NewBody {
    fn treat(&self, mail: Mail) -> Treating<'_> {
        Box::pin(async move {
            let at = mail.raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            Treatment::Relay(vec![
                Edit::Body(at, self.0.clone().into()),
                Edit::Prepend(b"X-Body: new\r\n".to_vec()),
            ])
        })
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[test]
fn postfix_takes_a_new_body_of_any_length() {
    let sink = Sink::start();
    let postfix = Postfix::start(sink.address, "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let line = b".a line that begins with a dot, as lines may\r\n";
    let mut bodies = vec![b"short\r\n".to_vec()];
    for length in [65_534, 65_535, 200_000] {
        let mut body = line.repeat(length / line.len());
        let rest = length - body.len();
        body.resize(length.max(body.len() + 2), b'x');
        let end = body.len() - 2;
        body[end..].copy_from_slice(b"\r\n");
        assert!(rest < 998 && body.len() >= length);
        bodies.push(body);
    }
    for (turn, body) in bodies.into_iter().enumerate() {
        let folder = Folder::new();
        let path = folder.join("milter");
        let config = Arc::new(MilterConfig {
            wants: Wants {
                body: true,
                quarantine: false,
                sender: false,
            },
            ..MilterConfig::default()
        });
        let filter = Arc::new(NewBody(body.clone()));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let serving = runtime.spawn({
            let path = path.clone();
            async move {
                let listener = Listener::unix(&path, 0o666).unwrap();
                let source = Arc::new(move || Arc::clone(&config));
                milter::serve(listener, source, filter, stopped).await
            }
        });
        wait_for("the socket is there", || path.exists());
        postfix.execute(&format!(
            "postconf -e 'smtpd_milters=unix:{}'",
            path.display()
        ));
        let raw = mime::plain(&mime::headers("a@b.example"), "the old body");
        let reply = send(&postfix, &raw);
        assert_eq!(reply.code, 250, "{}", reply.text());
        let got = sink.wait(turn + 1, Duration::from_secs(30)).pop().unwrap();
        let (_, arrived) = split(&got.raw);
        assert!(
            arrived == body,
            "{} bytes became {}",
            body.len(),
            arrived.len()
        );
        assert_eq!(got.fields("X-Body"), ["new"]);
        stop.send(true).unwrap();
        runtime.block_on(serving).unwrap().unwrap();
    }
}
