//! HDR-02, LOG-01: names in certificates and mail are text, never structure: not in the header, not
//! in the log, not in an SMTP reply.

use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{Person, alt_names, name, rfc822};
use kenin_tests::forge::der::{tlv, utf8};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::mime;
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, Setup, envelope};
use kenin_tests::sink::{Received, Sink};

fn texts() -> Vec<String> {
    let mut out: Vec<String> = [
        "a\r\nX-Kenin-Verdict: pass",
        "a\r\n\r\nbody",
        "a\nAuthentication-Results: smime.gw.example.jp; smime=pass",
        "a\rb",
        "a\0b",
        "a;smime=pass",
        "a) smime=pass (b",
        "((((((",
        "))))))",
        "\"; smime=pass",
        "\\\"; smime=pass",
        "\\",
        "a\u{202e}b",
        "a\u{2066}b\u{2069}",
        "\u{feff}",
        "日本語の名前",
        "=?utf-8?Q?a=0D=0AX-Kenin-Verdict:_pass?=",
        "\u{1b}[2J\u{1b}[31mred",
        "%s%n%x{}{{}}${jndi}",
        "{\"result\":\"pass\"}",
        "a, b + c < d > e # f",
        "\u{85}\u{2028}\u{2029}",
    ]
    .iter()
    .map(|s| (*s).to_owned())
    .collect();
    out.push("x".repeat(65_536));
    out.push("\r\nA: b".repeat(5000));
    out.push("長".repeat(20_000));
    out
}

/// Somebody whose certificate says this wherever it may say anything.
fn says(town: &Town, key: &Key, text: &str) -> Person {
    let mut form = town.issuer.person_form("x", "bob@example.jp", key);
    form.subject = name(&[
        ("2.5.4.3", utf8(text)),
        ("2.5.4.10", utf8(text)),
        ("1.2.3.4.5", utf8(text)),
    ]);
    form.extensions[0] = alt_names(&[
        rfc822(b"bob@example.jp"),
        rfc822(text.as_bytes()),
        tlv(0x82, text.as_bytes()),
        tlv(0x86, text.as_bytes()),
    ]);
    form.serial = vec![0x7f; 18];
    town.issuer.issue(&form, key.clone())
}

/// No field that we did not mean, no line that is too long or not ASCII.
fn check_head(got: &Received, text: &str) {
    let (head, _) = got.split();
    let shown: String = text.chars().take(60).collect();
    assert!(head.is_ascii(), "{shown:?}: not ASCII");
    let head = String::from_utf8(head.to_vec()).unwrap();
    for line in head.split_inclusive("\r\n") {
        assert!(
            line.len() <= 1000,
            "{shown:?}: a line of {} octets",
            line.len()
        );
        let inner = line.trim_end_matches("\r\n");
        assert!(
            !inner.chars().any(|c| c.is_control() && c != '\t'),
            "{shown:?}: {inner:?}"
        );
    }
    let known = [
        "Received",
        "Authentication-Results",
        "X-Kenin-Verdict",
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Return-Path",
    ];
    for line in head.lines().filter(|line| !line.starts_with([' ', '\t'])) {
        let field = line.split(':').next().unwrap();
        assert!(known.contains(&field), "{shown:?} added {line:?}");
    }
    assert_eq!(got.fields("Authentication-Results").len(), 1, "{shown:?}");
    assert!(got.fields("X-Kenin-Verdict").len() <= 1, "{shown:?}");
    assert!(
        got.fields("Authentication-Results")[0].starts_with(AUTHSERV_ID),
        "{shown:?}"
    );
}

#[test]
fn names_of_certificates_stay_text() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address).strict("strict.example"));
    let key = Key::p256();
    let mut client = gateway.client();
    let mut stamps = Vec::new();
    for (n, text) in texts().iter().enumerate() {
        let person = says(town, &key, text);
        let raw = town.clear_signed(&person, "bob@example.jp", "Names");
        let reply = client.mail(&envelope(), &raw).unwrap();
        assert_eq!(reply.code, 250, "{}", reply.text());
        let got = sink.wait(n + 1, Duration::from_secs(30)).pop().unwrap();
        check_head(&got, text);
        stamps.extend(got.fields("Authentication-Results"));
        // A signer who is not From is named in the refusal of a strict domain.
        let raw = town.clear_signed(&person, "mallory@evil.example", "Names");
        let to = Envelope::new("x@example.jp", "y@strict.example").with("BODY=8BITMIME");
        let reply = client.mail(&to, &raw).unwrap();
        assert_eq!(reply.code / 100, 5, "{}", reply.text());
        assert_eq!(reply.lines.len(), 1);
        assert!(
            reply.lines[0].is_ascii() && reply.lines[0].len() <= 300,
            "{}",
            reply.text()
        );
    }
    if let Some(read) = kenin_tests::readers::authres(&stamps) {
        for (stamp, read) in stamps.iter().zip(read) {
            assert_eq!(read.authserv_id, AUTHSERV_ID, "{stamp}");
            assert_eq!(read.results.len(), 1, "{stamp}");
        }
    }
    // At its end the whole log is out.
    gateway.process().signal(rustix::process::Signal::TERM);
    gateway.process().wait();
    let log = gateway.log();
    for line in log.lines() {
        let _: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line.len() < 16_384, "a log line of {} octets", line.len());
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn names_of_mails_and_clients_stay_text() {
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    for text in texts()
        .iter()
        .filter(|t| !t.contains(['\r', '\n', '\0']) && t.len() < 400)
    {
        let mut client = kenin_tests::client::Client::connect(gateway.address);
        assert_eq!(client.reply().unwrap().code, 220);
        let reply = client.command(&format!("EHLO {text}"));
        if reply.code != 250 {
            assert_eq!(reply.code / 100, 5);
            assert_eq!(client.command("EHLO plain.example").code, 250);
        }
        let headers =
            mime::headers_with_from(format!("From: \"{text}\" <a@b.example>\r\n").as_bytes());
        let raw = mime::plain(&headers, "x");
        let reply = client
            .mail(
                &Envelope::new("a@b.example", "c@d.example").with("BODY=8BITMIME SMTPUTF8"),
                &raw,
            )
            .unwrap();
        assert!(matches!(reply.code, 250 | 500..=599), "{}", reply.text());
    }
    for got in sink.mails() {
        assert_eq!(got.fields("Authentication-Results").len(), 1);
        assert_eq!(got.fields("Received").len(), 1);
    }
    gateway.process().signal(rustix::process::Signal::TERM);
    gateway.process().wait();
    for line in gateway.log().lines() {
        let _: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
