//! SIGTERM: mail that is under way is finished, idle clients are told, the exit code is 0. SIGHUP: a
//! good configuration is taken over, a bad one changes nothing and is said aloud.

use std::time::Duration;

use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::{Behaviour, Dot, Sink};
use kenin_tests::world::{listens, wait_for};
use rustix::process::Signal;

#[test]
fn a_mail_under_way_is_finished() {
    let slow = Behaviour::default().at_dot(|_, _| Dot::Slow(Duration::from_millis(700)));
    let sink = Sink::with(slow);
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let mut idle = gateway.client();
    let mut busy = gateway.client();
    let raw = mime::plain(&mime::headers("a@b.example"), "under way");
    for line in ["MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>"] {
        assert_eq!(busy.command(line).code, 250);
    }
    assert_eq!(busy.command("DATA").code, 354);
    busy.send(&kenin_tests::client::stuffed(&raw));
    wait_for("the mail is at the next hop's dot", || {
        sink.commands().iter().any(|c| c == "DATA")
    });
    gateway.process().signal(Signal::TERM);
    let reply = idle.reply().expect("idle clients are told");
    assert_eq!(reply.code, 421, "{}", reply.text());
    assert!(reply.text().contains("4.3.2"), "{}", reply.text());
    assert_eq!(busy.reply().expect("the mail is answered").code, 250);
    assert!(gateway.process().wait().success());
    assert_eq!(sink.count(), 1);
    assert!(!listens(gateway.address));
}

/// Nor does a next hop that takes too long; and of mail that is cut off so the log tells, since nobody else does.
#[test]
fn a_client_that_never_ends_does_not_hold_the_service() {
    let slow = Behaviour::default().at_dot(|_, _| Dot::Slow(Duration::from_secs(120)));
    let sink = Sink::with(slow);
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let mut stuck = gateway.client();
    let mut waiting = gateway.client();
    for client in [&mut stuck, &mut waiting] {
        for line in ["MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA"] {
            client.command(line);
        }
    }
    stuck.send(b"Subject: never ends\r\n");
    let raw = mime::plain(&mime::headers("a@b.example"), "under way");
    waiting.send(&kenin_tests::client::stuffed(&raw));
    wait_for("the mail is at the next hop's dot", || {
        sink.commands().iter().any(|c| c == "DATA")
    });
    gateway.process().signal(Signal::TERM);
    assert!(gateway.process().wait().success());
    assert_eq!(sink.count(), 0);
    let log = gateway.log();
    let told = log.matches("a message was cut off").count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn a_reload_takes_over_what_is_good_and_nothing_else() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let raw = town.clear_signed(
        &town.strange_alice,
        "alice@example.jp",
        "Whom do you trust?",
    );
    let mut sent = 0;
    let mut stamp = |gateway: &Gateway| {
        assert_eq!(gateway.send(&envelope(), &raw).code, 250);
        sent += 1;
        sink.wait(sent, Duration::from_secs(30))
            .pop()
            .unwrap()
            .fields("Authentication-Results")[0]
            .clone()
    };
    assert!(stamp(&gateway).contains("issuer-not-trusted"));

    // Bad: a word that nobody knows. The old configuration stays, the log and the metric say so.
    let trust = gateway.folder.join("trust.toml");
    let old = std::fs::read_to_string(&trust).unwrap();
    std::fs::write(&trust, format!("{old}\nnonsense = true\n")).unwrap();
    gateway.process().signal(Signal::HUP);
    let failed = |gateway: &Gateway, value: &str| {
        let line = format!("kenin_config_last_reload_successful {value}");
        gateway.get("/metrics").1.lines().any(|l| l == line)
    };
    wait_for("the bad reload is noticed", || failed(&gateway, "0"));
    // Its line has a thread of its own.
    wait_for("the log says why", || gateway.log().contains("nonsense"));
    assert!(stamp(&gateway).contains("issuer-not-trusted"));
    assert_eq!(gateway.get("/readyz").0, 200);

    // Good: the strange root is trusted, without a CRL.
    let strange = pem("CERTIFICATE", &town.strange_root.certificate);
    std::fs::write(gateway.folder.join("anchors/strange.pem"), strange).unwrap();
    let anchor = "[[anchor]]\nname = \"strange\"\nfile = \"anchors/strange.pem\"\n\
        use = [\"mail-signing\"]\nrevocation = \"off\"\n";
    std::fs::write(&trust, format!("{old}\n{anchor}")).unwrap();
    gateway.process().signal(Signal::HUP);
    wait_for("the good reload is taken over", || failed(&gateway, "1"));
    assert!(stamp(&gateway).contains("smime=pass"));

    // A new CRL in its folder counts without being told.
    let mail = town.clear_signed(&town.bob, "bob@example.jp", "Still valid?");
    assert_eq!(gateway.send(&envelope(), &mail).code, 250);
    sent += 1;
    let before = sink.wait(sent, Duration::from_secs(30)).pop().unwrap();
    assert!(before.fields("Authentication-Results")[0].contains("smime=pass"));
    let list = town.issuer.crl(&[&town.bob.serial]);
    std::fs::write(gateway.folder.join("crls/issuer.crl"), list).unwrap();
    wait_for("the new CRL counts", || {
        assert_eq!(gateway.send(&envelope(), &mail).code, 250);
        sent += 1;
        let got = sink.wait(sent, Duration::from_secs(30)).pop().unwrap();
        got.fields("Authentication-Results")[0].contains("smime=fail (revoked")
    });
}

#[test]
fn health_and_metrics_tell_how_it_is() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    assert_eq!(gateway.get("/livez").0, 200);
    assert_eq!(gateway.get("/readyz").0, 200);
    assert_eq!(gateway.get("/nothing").0, 404);
    let config = gateway.config().display().to_string();
    assert_eq!(
        kenin(&["health", "--config", &config]).status.code(),
        Some(0)
    );
    for body in ["one", "two"] {
        let raw = town.clear_signed(&town.bob, "bob@example.jp", body);
        assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    }
    let (status, metrics) = gateway.get("/metrics");
    assert_eq!(status, 200);
    let counted: f64 = metrics
        .lines()
        .filter(|l| l.starts_with("kenin_messages_total{") && l.contains("pass"))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!((counted - 2.0).abs() < 0.1, "{metrics}");
    assert!(!metrics.contains("example.jp"), "an address in a metric");
    // One line a mail, with what joins it to the MTA's log.
    gateway.process().signal(Signal::TERM);
    gateway.process().wait();
    let log = gateway.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let summaries: Vec<_> = lines
        .iter()
        .filter(|l| l.to_string().contains("<forged@example.jp>"))
        .collect();
    assert_eq!(summaries.len(), 2, "{log}");
}
