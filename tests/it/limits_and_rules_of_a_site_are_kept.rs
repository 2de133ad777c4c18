//! What an admin sets: how many clients at once, how large a mail may be, that a domain wants
//! signatures, that an anchor's certificates are not to be told to others.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Sink, split};
use kenin_tests::world::wait_for;

#[test]
fn more_clients_than_allowed_are_told_to_come_back() {
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.limits = "connections = 4".to_owned();
    let gateway = Gateway::start(&setup);
    wait_for("the harness's own look at the port is over", || {
        let mut held: Vec<Client> = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(gateway.address);
            match client.reply() {
                Some(reply) if reply.code == 220 => held.push(client),
                _ => return false,
            }
        }
        let mut fifth = Client::connect(gateway.address);
        let reply = fifth.reply().expect("a reply");
        assert!(
            reply.code == 421 && reply.text().contains("4.3.2"),
            "{}",
            reply.text()
        );
        true
    });
    wait_for("room again", || {
        Client::connect(gateway.address)
            .reply()
            .is_some_and(|r| r.code == 220)
    });
}

#[test]
fn one_client_does_not_take_all_sessions() {
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.trusted_peers = Some("[]".to_owned());
    setup.limits = "connections_per_client = 2".to_owned();
    let gateway = Gateway::start(&setup);
    wait_for("the harness's own look at the port is over", || {
        let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(gateway.address)).collect();
        let codes: Vec<u16> = clients
            .iter_mut()
            .map(|client| client.reply().map_or(0, |reply| reply.code))
            .collect();
        codes == [220, 220, 421]
    });
}

#[test]
fn caps_are_settings() {
    let town = Town::get();
    let sink = Sink::start();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "Two certificates");
    let mut answers = Vec::new();
    for caps in [
        "certificates = 2",
        "certificates = 1",
        "ber_elements = 50",
        "signature_checks = 1",
        "header_fields = 3",
    ] {
        let gateway = Gateway::start(&Setup {
            tables: format!("[caps]\n{caps}\n"),
            ..Setup::new(sink.address)
        });
        sink.clear();
        let code = gateway.send(&envelope(), &raw).code;
        let (stamp, metrics) = match code {
            250 => (
                sink.wait(1, Duration::from_secs(30))[0].fields("Authentication-Results")[0]
                    .clone(),
                gateway.get("/metrics").1,
            ),
            _ => (String::new(), String::new()),
        };
        let reason = metrics
            .lines()
            .find_map(|line| line.strip_prefix("kenin_reasons_total{reason=\""))
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
            .to_owned();
        assert!(
            code != 250 || reason == "ok" || stamp.contains(&format!("({reason})")),
            "{stamp} {reason}"
        );
        answers.push((code, reason));
    }
    let answers: Vec<(u16, &str)> = answers.iter().map(|(c, r)| (*c, r.as_str())).collect();
    assert_eq!(
        answers,
        [
            (250, "ok"),
            (250, "limit-certificates"),
            (250, "limit-asn1"),
            (250, "path-budget"),
            (550, ""),
        ]
    );
}

#[test]
fn a_large_signed_mail_passes_in_little_memory() {
    let town = Town::get();
    let sink = Sink::start();
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let body =
        "A large mail is an unlinked temporary file, mapped for reading.\r\n".repeat(450_000);
    let raw = town.clear_signed(&town.bob, "bob@example.jp", &body);
    assert!(raw.len() > 27 << 20);
    let pid = gateway.process().pid().as_raw_nonzero();
    let anonymous = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|l| l.starts_with("RssAnon:"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = anonymous();
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let after = anonymous();
    let got = sink.wait(1, Duration::from_secs(60)).pop().unwrap();
    assert!(got.fields("Authentication-Results")[0].contains("smime=pass"));
    assert!(got.split().1 == split(&raw).1, "the body changed");
    assert!(after < before + 20 * 1024, "{before} KiB, then {after} KiB");
    // The file has no name that would outlive the process.
    let left = kenin_tests::world::files(&gateway.folder.join("state"));
    assert!(
        left.iter()
            .all(|path| path.to_string_lossy().contains("sqlite")),
        "{left:?}"
    );
}

#[test]
fn a_domain_that_wants_signatures_gets_nothing_else() {
    let town = Town::get();
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.mail = "[[rule]]\nwhen = { domain = \"signed.example\" }\n\
        then = { enforce = \"strict\", require_signature = true }\n"
        .to_owned();
    let gateway = Gateway::start(&setup);
    let to = Envelope::new("a@b.example", "c@signed.example").with("BODY=8BITMIME");
    let reply = gateway.send(&to, &mime::plain(&mime::headers("a@b.example"), "unsigned"));
    assert!(
        reply.code == 550 && reply.text().contains("5.7.1"),
        "{}",
        reply.text()
    );
    let signed = town.clear_signed(&town.bob, "bob@example.jp", "signed");
    let below = mime::mixed(
        &mime::headers("bob@example.jp"),
        "mixed",
        &[
            &mime::text("around"),
            &signed[mime::headers("bob@example.jp").len()..],
        ],
    );
    let reply = gateway.send(&to, &below);
    assert!(
        reply.code == 550 && reply.text().contains("5.7.1"),
        "{}",
        reply.text()
    );
    assert_eq!(gateway.send(&to, &signed).code, 250);
    assert_eq!(sink.count(), 1);
    // A mail to both domains: whose rule wants no signature gets it, and the sender hears of the other.
    let both = Envelope {
        to: vec!["x@free.example".to_owned(), "c@signed.example".to_owned()],
        ..to
    };
    let reply = gateway.send(
        &both,
        &mime::plain(&mime::headers("a@b.example"), "unsigned"),
    );
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(3, Duration::from_secs(30));
    let recipients: Vec<&String> = got.iter().flat_map(|mail| &mail.recipients).collect();
    assert_eq!(
        recipients,
        [
            "RCPT TO:<c@signed.example>",
            "RCPT TO:<x@free.example>",
            "RCPT TO:<a@b.example>"
        ]
    );
    let told = String::from_utf8_lossy(&got[2].raw).into_owned();
    assert!(
        told.contains("Final-Recipient: rfc822; c@signed.example"),
        "{told}"
    );
}

#[test]
fn an_anchor_of_restricted_disclosure_tells_the_verdict_only() {
    let town = Town::get();
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address).strict("strict.example");
    setup.anchor = "disclosure = \"verdict-only\"".to_owned();
    let gateway = Gateway::start(&setup);
    let mut form = town
        .issuer
        .person_form("Late", "late@example.jp", &town.bob.key);
    form.not_after = kenin_tests::forge::der::time("20240101000000Z");
    let late = town.issuer.issue(&form, town.bob.key.clone());
    let mut stamps = Vec::new();
    for (person, from) in [(&town.rita, "rita@example.jp"), (&late, "late@example.jp")] {
        let raw = town.clear_signed(person, from, "who?");
        assert_eq!(gateway.send(&envelope(), &raw).code, 250);
        let got = sink
            .wait(stamps.len() + 1, Duration::from_secs(30))
            .pop()
            .unwrap();
        let stamp = got.fields("Authentication-Results").concat();
        assert!(stamp.contains("smime=policy (not-accepted)"), "{stamp}");
        for word in ["revoked", "expired", "serial", "issuer", "Kenin Test"] {
            assert!(!stamp.contains(word), "{word} in {stamp}");
        }
        stamps.push(stamp);
        let strict = Envelope::new("a@b.example", "c@strict.example").with("BODY=8BITMIME");
        let reply = gateway.send(&strict, &raw);
        let text = reply.text();
        assert!(reply.code == 550 && text.contains("5.7.1"), "{text}");
        assert!(
            !text.contains("revoked") && !text.contains("expired"),
            "{text}"
        );
    }
    let alike = |stamp: &str, who: &str| stamp.replace(who, "somebody");
    assert_eq!(alike(&stamps[0], "rita"), alike(&stamps[1], "late"));
    // An address that the mail does not name is not told.
    let raw = town.clear_signed(&town.mallory, "alice@example.jp", "whose?");
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let got = sink.wait(3, Duration::from_secs(30)).pop().unwrap();
    let stamp = got.fields("Authentication-Results").concat();
    assert!(
        stamp.contains("smime=policy") && !stamp.contains("mallory"),
        "{stamp}"
    );
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "fine");
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let got = sink.wait(3, Duration::from_secs(30)).pop().unwrap();
    let stamp = got.fields("Authentication-Results").concat();
    assert!(stamp.contains("smime=pass"), "{stamp}");
    assert!(
        !stamp.contains("serial") && !stamp.contains("issuer"),
        "{stamp}"
    );
}
