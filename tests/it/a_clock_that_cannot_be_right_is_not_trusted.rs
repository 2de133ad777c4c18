//! PKI-05: a wall clock before the latest time that was believed passes nothing, signs nothing and loses nothing, until
//! somebody who knows says that it is right.

use std::process::{Command, Output};
use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::{Received, Sink, split};
use kenin_tests::world::{Folder, run, wait_for, write_secret};

/// 2040-01-01: later than it is.
const AHEAD: i64 = 2_208_988_800;
const DISTRUST: &str = "the clock is not trusted";

/// Starts again, with this as the latest time that was believed, written by somebody else's hand.
fn restart_with_a_mark(gateway: &mut Gateway, mark: i64) {
    gateway.restart();
    gateway.kill();
    let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\n\
                  c.execute(\"insert or replace into clock values ('default', ?, 0)\", (int(sys.argv[2]),))\n\
                  c.commit()";
    let mut command = Command::new("python3");
    let store = gateway.folder.join("state/kenin.sqlite");
    run(command
        .args(["-c", script])
        .arg(store)
        .arg(mark.to_string()));
    gateway.restart();
}

fn clock(gateway: &Gateway, words: &[&str]) -> Output {
    let config = gateway.config().display().to_string();
    kenin(&[&["clock"][..], words, &["--config", config.as_str()][..]].concat())
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn words(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Resets, and waits until the service knows.
fn reset(gateway: &Gateway) {
    let done = clock(gateway, &["reset", "--force"]);
    assert_eq!(code(&done), Some(0), "{}", words(&done));
    wait_for("the service goes by it", || {
        let (_, metrics) = gateway.get("/metrics");
        metrics.contains("kenin_clock_trusted 1")
    });
}

/// The mail that arrives as the next one.
fn through(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> Received {
    let before = sink.count();
    assert_eq!(gateway.send(&envelope(), raw).code, 250);
    let mails = sink.wait(before + 1, Duration::from_secs(30));
    mails.into_iter().next_back().unwrap()
}

fn stamp(mail: &Received) -> String {
    mail.fields("Authentication-Results").concat()
}

fn is_put_off(gateway: &Gateway, to: &str, raw: &[u8]) {
    let envelope = Envelope::new("alice@example.jp", to).with("BODY=8BITMIME");
    let reply = gateway.send(&envelope, raw);
    let text = reply.text();
    assert!(
        reply.code == 451 && text.contains("4.7.5 Time source not trusted"),
        "{text}"
    );
    assert!(text.contains("clock-not-trusted"), "{text}");
}

#[test]
fn a_clock_before_the_mark_passes_nothing_until_it_is_reset() {
    let (town, sink) = (Town::get(), Sink::start());
    let mut setup = Setup::new(sink.address).strict("strict.example");
    setup
        .mail
        .push_str("[[rule]]\nthen = { harvest = \"use\" }\n");
    setup.tables = "[stamp]\nkey = \"stamp.key\"\n".to_owned();
    let mut gateway = Gateway::prepare(&setup);
    write_secret(&gateway.folder.join("stamp.key"), &Key::ed25519().pem());
    restart_with_a_mark(&mut gateway, AHEAD);
    let good = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    let plain = mime::plain(&mime::headers("a@b.example"), "hello");

    for _ in 0..3 {
        let mail = through(&gateway, &sink, &good);
        let told = stamp(&mail);
        assert!(
            told.contains("smime=temperror (clock-not-trusted)"),
            "{told}"
        );
        assert!(mail.fields("X-Kenin-Verdict").is_empty());
        assert_eq!(split(&mail.raw).1, split(&good).1);
    }
    let mail = through(&gateway, &sink, &plain);
    assert!(stamp(&mail).contains("smime=none"), "{}", stamp(&mail));
    assert!(mail.fields("X-Kenin-Verdict").is_empty());
    is_put_off(&gateway, "reader@strict.example", &good);
    assert_eq!(sink.count(), 4);

    // It is told once, to whoever looks after it.
    let (status, body) = gateway.get("/readyz?verbose");
    assert!(status == 200 && body.contains("degraded clock: "), "{body}");
    let (_, metrics) = gateway.get("/metrics");
    assert!(metrics.contains("kenin_clock_trusted 0"), "{metrics}");
    let log = gateway.log();
    assert_eq!(log.matches(DISTRUST).count(), 1, "{log}");
    let config = gateway.config().display().to_string();
    let kept = kenin(&["cert", "list", "--config", &config]);
    assert!(!words(&kept).contains("alice@example.jp"), "it was kept");

    // The commands say what the service says, unless they are told a time.
    let file = gateway.folder.join("good.eml");
    std::fs::write(&file, &good).unwrap();
    let (file, config) = (file.display().to_string(), config.as_str());
    let verify = ["verify", "--config", config, "--format", "jsonl", &file];
    let said = kenin(&verify);
    assert_eq!(code(&said), Some(1));
    assert!(words(&said).contains("\"reason\":\"clock-not-trusted\""));
    let at = "--at=2026-06-01T00:00:00Z";
    let said = kenin(&[&verify[..], &[at][..]].concat());
    assert_eq!(code(&said), Some(0), "{}", words(&said));
    let said = kenin(&["check", "--config", config]);
    assert!(words(&said).contains("cannot be right"), "{}", words(&said));

    // Nothing is reset by chance.
    let said = clock(&gateway, &["status"]);
    assert_eq!(code(&said), Some(1));
    assert!(words(&said).contains("2040-01-01T00:00:00Z"));
    let said = clock(&gateway, &["reset", "--dry-run"]);
    assert_eq!(code(&said), Some(0), "{}", words(&said));
    let said = clock(&gateway, &["reset"]);
    assert_eq!(code(&said), Some(2), "{}", words(&said));
    assert!(words(&said).contains("--force"), "{}", words(&said));
    let said = clock(&gateway, &["status", "--format", "json"]);
    assert_eq!(code(&said), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(value["mark"], "2040-01-01T00:00:00Z");
    assert_eq!(value["trusted"], false);

    reset(&gateway);
    assert_eq!(code(&clock(&gateway, &["status"])), Some(0));
    let log = gateway.log();
    assert!(log.contains("somebody has set the latest time"), "{log}");
    let again = clock(&gateway, &["reset", "--force"]);
    assert!(words(&again).contains("nothing to reset") && code(&again) == Some(0));
    // Also after the next start.
    for _ in 0..2 {
        let mail = through(&gateway, &sink, &good);
        assert!(stamp(&mail).contains("smime=pass"), "{}", stamp(&mail));
        assert_eq!(mail.fields("X-Kenin-Verdict").len(), 1);
        let strict = Envelope::new("alice@example.jp", "reader@strict.example");
        assert_eq!(gateway.send(&strict.with("BODY=8BITMIME"), &good).code, 250);
        gateway.restart();
    }
    assert_eq!(sink.count(), 8, "each mail that was taken is there once");
}

#[test]
fn what_would_be_wrapped_waits_for_a_clock() {
    let (town, sink, folder) = (Town::get(), Sink::start(), Folder::new());
    let dir = folder.path().display();
    let made = kenin(&[
        "init",
        "wrap",
        "--dir",
        &dir.to_string(),
        "--address",
        "seal@gw.example.jp",
    ]);
    assert!(made.status.success(), "{}", words(&made));
    let mut gateway = Gateway::prepare(&Setup {
        mail: "[[rule]]\nwhen = { recipient_domain = \"people.example\" }\nthen = { stamp = \"wrap\" }\n".to_owned(),
        tables: format!(
            "[wrap]\ncertificate = \"{dir}/wrap/certificate.pem\"\nkey = \"{dir}/wrap/key.pem\"\n"
        ),
        ..Setup::new(sink.address)
    });
    restart_with_a_mark(&mut gateway, AHEAD);
    let raw = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    is_put_off(&gateway, "bob@people.example", &raw);
    assert_eq!(sink.count(), 0);
    reset(&gateway);
    let to = Envelope::new("alice@example.jp", "bob@people.example").with("BODY=8BITMIME");
    assert_eq!(gateway.send(&to, &raw).code, 250);
    let mail = sink.wait(1, Duration::from_secs(30)).remove(0);
    let from = mail.fields("From").concat();
    assert!(from.ends_with("<seal@gw.example.jp>"), "{from}");
}

/// A mark that is as old as the last run is what every start finds.
#[test]
fn an_honest_restart_is_trusted_at_once() {
    let (town, sink) = (Town::get(), Sink::start());
    let mut gateway = Gateway::prepare(&Setup::new(sink.address));
    // 2026-11-01: where such programs begin.
    restart_with_a_mark(&mut gateway, 1_793_491_200);
    let good = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    let mail = through(&gateway, &sink, &good);
    assert!(stamp(&mail).contains("smime=pass"), "{}", stamp(&mail));
    let (_, body) = gateway.get("/readyz?verbose");
    assert!(body.contains("ok clock: "), "{body}");
    assert!(!gateway.log().contains(DISTRUST));
}
