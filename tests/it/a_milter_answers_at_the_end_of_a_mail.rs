//! Kenin as a milter of a real Postfix: what it refuses is refused, what it cannot do is put off and
//! never let through, and the mail stays Postfix's.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope, Reply};
use kenin_tests::forge::Town;
use kenin_tests::forge::mime;
use kenin_tests::kenin::Gateway;
use kenin_tests::ledger::behind_postfix;
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Sink, split};
use kenin_tests::world::{files, wait_for};
use rustix::process::Signal;

fn send(postfix: &Postfix, to: &str, raw: &[u8]) -> Reply {
    let envelope = Envelope::new("sender@example.jp", to).with("BODY=8BITMIME");
    Client::greeted(postfix.front)
        .mail(&envelope, raw)
        .expect("Postfix answers")
}

/// Changes a line of the configuration and starts again.
fn reconfigure(gateway: &mut Gateway, from: &str, to: &str) {
    let old = std::fs::read_to_string(gateway.config()).unwrap();
    assert!(old.contains(from), "{old}");
    std::fs::write(gateway.config(), old.replace(from, to)).unwrap();
    gateway.restart();
}

fn tampered(town: &Town) -> Vec<u8> {
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "Pay one");
    let text = String::from_utf8(raw).unwrap();
    text.replace("Pay one", "Pay two").into_bytes()
}

#[test]
fn strict_rules_refuse_with_the_reasons_reply() {
    let town = Town::get();
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    let rule = "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                then = { enforce = \"strict\" }\n";
    std::fs::write(gateway.folder.join("mail.toml"), rule).unwrap();
    gateway.restart();
    let reply = send(&postfix, "reader@strict.example", &tampered(town));
    assert_eq!(reply.code, 550);
    let text = reply.text();
    assert!(text.contains("5.7.7 Message integrity failure"), "{text}");
    assert!(text.contains("(digest-mismatch, id "), "{text}");
    // The log line names the rule, and Postfix's queue id by which its log is found.
    wait_for("the log line", || {
        gateway.log().contains("\"fate\":\"refused\"") || gateway.log().contains("fate=refused")
    });
    let log = gateway.log();
    assert!(log.contains("mail.toml#1"), "{log}");
    assert_eq!(
        send(&postfix, "reader@example.jp", &tampered(town)).code,
        250
    );
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(got.fields("Authentication-Results")[0].contains("smime=fail (digest-mismatch)"));
    wait_for("the log line", || gateway.log().contains("fate=returned"));
    let line = gateway
        .log()
        .lines()
        .rfind(|line| line.contains("fate=returned"))
        .unwrap()
        .to_owned();
    let queue = line.split("queue_id=").nth(1).unwrap();
    let queue = queue.split(' ').next().unwrap();
    assert!(
        postfix.log().contains(&format!("{queue}: message-id=")),
        "{line}"
    );
}

#[test]
fn without_kenin_mail_waits_with_its_sender() {
    let town = Town::get();
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "Later");
    gateway.kill();
    let mut client = Client::connect(postfix.front);
    // Postfix may already say at the greeting that it has to be asked later.
    let greeting = client.reply().unwrap();
    let code = if greeting.code == 220 {
        client.command("EHLO client.example");
        let envelope = Envelope::new("sender@example.jp", "reader@example.jp");
        client.mail(&envelope, &raw).unwrap().code
    } else {
        greeting.code
    };
    assert_eq!(code / 100, 4, "{code}");
    gateway.restart();
    assert_eq!(send(&postfix, "reader@example.jp", &raw).code, 250);
    let got = sink.wait(1, Duration::from_secs(30));
    assert_eq!(got.len(), 1);
    assert!(got[0].fields("Authentication-Results")[0].contains("smime=pass"));
}

#[test]
fn large_mail_goes_through_a_file_and_too_large_mail_is_refused() {
    let town = Town::get();
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    reconfigure(
        &mut gateway,
        "# message_size = \"50M\"",
        "message_size = \"6M\"",
    );
    let line = format!("{}\r\n", "0123456789".repeat(7));
    for (size, code) in [(5_000_000, 250), (7_000_000, 552)] {
        let part = mime::text(&line.repeat(size / line.len()));
        let cms = kenin_tests::forge::cms::detached(&town.bob, &town.chain(), &part);
        let raw = mime::clear_signed(&mime::headers("bob@example.jp"), &part, &cms);
        let reply = send(&postfix, "reader@example.jp", &raw);
        assert_eq!(reply.code, code, "{}", reply.text());
        if code == 250 {
            let got = sink.wait(1, Duration::from_secs(60)).pop().unwrap();
            assert_eq!(got.split().1, split(&raw).1);
            let stamp = got.fields("Authentication-Results").concat();
            assert!(stamp.contains("smime=pass"), "{stamp}");
        } else {
            assert!(reply.text().contains("5.3.4"), "{}", reply.text());
        }
    }
    assert!(files(&gateway.folder.join("state/tmp")).is_empty());
}

#[test]
fn a_unix_socket_is_made_with_its_mode_and_goes_with_the_service() {
    use std::os::unix::fs::PermissionsExt;

    let town = Town::get();
    let sink = Sink::start();
    let (postfix, mut gateway) = behind_postfix(&sink, "milter", "");
    let socket = gateway.folder.join("milter.sock");
    let listen = format!("address = \"{}\"\nmode = \"milter\"", gateway.address);
    let address = format!("local:{}", socket.display());
    // The TCP listener stays, so that the harness sees when it is up.
    let both = format!(
        "{listen}\n[[listener]]\naddress = \"{address}\"\nmode = \"milter\"\nsocket_mode = \"0666\""
    );
    // What a killed process left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    reconfigure(&mut gateway, &listen, &both);
    // Sockets are made one after the other: the port that the harness looks at is the first.
    wait_for("the socket has its mode", || {
        std::fs::metadata(&socket).is_ok_and(|data| data.permissions().mode() & 0o777 == 0o666)
    });
    postfix.execute(&format!(
        "postconf -e 'smtpd_milters=unix:{}'",
        socket.display()
    ));
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "By socket");
    assert_eq!(send(&postfix, "reader@example.jp", &raw).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    let stamps = got.fields("Authentication-Results");
    assert!(
        stamps.len() == 1 && stamps[0].contains("smime=pass"),
        "{stamps:?}"
    );
    gateway.process().signal(Signal::TERM);
    assert!(gateway.process().wait().success());
    assert!(!socket.exists());
}
