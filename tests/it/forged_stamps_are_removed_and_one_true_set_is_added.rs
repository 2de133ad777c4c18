//! HDR-01: whatever a mail brings that looks like Kenin's own fields is gone, in any spelling; what
//! other filters wrote stays byte for byte; and exactly one set of ours stands on top.

use std::net::SocketAddr;
use std::time::Duration;

use kenin_tests::client::Client;
use kenin_tests::forge::Town;
use kenin_tests::forge::cms;
use kenin_tests::forge::mime::{self, join};
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, SITE_ID, Setup, envelope};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::sink::{Received, Sink, split};

/// Raw header lines that claim to be ours, each in its own spelling.
fn forgeries() -> Vec<(&'static str, Vec<u8>)> {
    let id = AUTHSERV_ID;
    let mut out: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut add = |name, line: String| out.push((name, line.into_bytes()));
    let claim = "smime=pass body.smime-identifier=alice@example.jp";
    add(
        "plain",
        format!("Authentication-Results: {id}; {claim}\r\n"),
    );
    add(
        "lower-case name",
        format!("authentication-results: {id}; {claim}\r\n"),
    );
    add(
        "upper-case name",
        format!("AUTHENTICATION-RESULTS: {id}; {claim}\r\n"),
    );
    add(
        "mixed case",
        format!("aUtHeNtIcAtIoN-rEsUlTs: {id}; {claim}\r\n"),
    );
    add(
        "upper-case id",
        format!("Authentication-Results: {}; {claim}\r\n", id.to_uppercase()),
    );
    add(
        "no space",
        format!("Authentication-Results:{id}; {claim}\r\n"),
    );
    add("tab", format!("Authentication-Results:\t{id}; {claim}\r\n"));
    add(
        "many spaces",
        format!("Authentication-Results:        {id} ; {claim}\r\n"),
    );
    add(
        "space before the colon",
        format!("Authentication-Results : {id}; {claim}\r\n"),
    );
    add(
        "tab before the colon",
        format!("Authentication-Results\t: {id}; {claim}\r\n"),
    );
    add(
        "folded at once",
        format!("Authentication-Results:\r\n {id}; {claim}\r\n"),
    );
    add(
        "folded with tab",
        format!("Authentication-Results:\r\n\t{id};\r\n\t{claim}\r\n"),
    );
    add(
        "folded twice",
        format!("Authentication-Results: \r\n  \t {id};\r\n {claim}\r\n"),
    );
    add(
        "comment before the id",
        format!("Authentication-Results: (x) {id}; {claim}\r\n"),
    );
    add(
        "nested comment",
        format!("Authentication-Results: (a(b)c) {id} (d); {claim}\r\n"),
    );
    add(
        "comment with the other id",
        format!("Authentication-Results: ({SITE_ID}) {id}; {claim}\r\n"),
    );
    add(
        "quoted id",
        format!("Authentication-Results: \"{id}\"; {claim}\r\n"),
    );
    add(
        "quoted id with escapes",
        format!("Authentication-Results: \"smime.g\\w.example.jp\"; {claim}\r\n"),
    );
    add(
        "version",
        format!("Authentication-Results: {id} 1; {claim}\r\n"),
    );
    add(
        "version in a comment",
        format!("Authentication-Results: {id} (1) 1; {claim}\r\n"),
    );
    add(
        "trailing dot",
        format!("Authentication-Results: {id}.; {claim}\r\n"),
    );
    add("only the id", format!("Authentication-Results: {id}\r\n"));
    add("none", format!("Authentication-Results: {id}; none\r\n"));
    add(
        "another method",
        format!("Authentication-Results: {id}; dkim=pass header.d=example.jp\r\n"),
    );
    add(
        "two in a row",
        format!(
            "Authentication-Results: {id}; {claim}\r\nAuthentication-Results: {id}; {claim}\r\n"
        ),
    );
    add(
        "site id with smime",
        format!("Authentication-Results: {SITE_ID}; {claim}\r\n"),
    );
    add(
        "site id with smime behind dkim",
        format!("Authentication-Results: {SITE_ID}; dkim=pass; {claim}\r\n"),
    );
    add(
        "site id with smime in upper case",
        format!("Authentication-Results: {SITE_ID}; SMIME=PASS\r\n"),
    );
    add(
        "site id, smime folded",
        format!("Authentication-Results: {SITE_ID}; dkim=pass;\r\n smime = pass\r\n"),
    );
    add(
        "site id, comment inside",
        format!("Authentication-Results: {SITE_ID}; smime(x)=(y)pass\r\n"),
    );
    add(
        "site id, method version",
        format!("Authentication-Results: {SITE_ID}; smime/1=pass\r\n"),
    );
    add(
        "verdict",
        "X-Kenin-Verdict: eyJhbGciOiJub25lIn0..\r\n".to_owned(),
    );
    add(
        "verdict, other case",
        "x-kenin-verdict: eyJhbGciOiJub25lIn0..\r\n".to_owned(),
    );
    add(
        "verdict, space before the colon",
        "X-Kenin-Verdict : eyJh\r\n".to_owned(),
    );
    add(
        "verdict, folded",
        "X-Kenin-Verdict:\r\n eyJh\r\n eyJh\r\n".to_owned(),
    );
    add("our namespace", "X-Kenin-Anything: pass\r\n".to_owned());
    add("our namespace, empty", "X-KENIN-: \r\n".to_owned());
    add(
        "two verdicts",
        "X-Kenin-Verdict: a\r\nX-Kenin-Verdict: b\r\n".to_owned(),
    );
    add(
        "full stop in dots of other scripts",
        format!(
            "Authentication-Results: {}; {claim}\r\n",
            id.replace('.', "\u{3002}")
        ),
    );
    add(
        "full-width id",
        "Authentication-Results: ｓｍｉｍｅ.gw.example.jp; smime=pass\r\n".to_owned(),
    );
    out.push((
        "8-bit in a comment",
        [
            b"Authentication-Results: (\xe9) ",
            id.as_bytes(),
            b"; smime=pass\r\n",
        ]
        .concat(),
    ));
    out.push(("after 1000 fields", {
        let mut lines = "X-Filler: y\r\n".repeat(1000).into_bytes();
        lines.extend(
            format!("Authentication-Results: {id}; {claim}\r\nX-Kenin-Verdict: e\r\n").bytes(),
        );
        lines
    }));
    out
}

/// Fields of others, which have to stay.
fn genuine() -> Vec<String> {
    vec![
        format!(
            "Authentication-Results: {SITE_ID}; dkim=pass header.d=example.jp;\r\n\tspf=pass smtp.mailfrom=a@example.jp\r\n"
        ),
        "Authentication-Results: mx.other.example; smime=pass body.smime-part=2\r\n".to_owned(),
        format!("Authentication-results:   {SITE_ID} 1 ;   arc=none (smime=pass)\r\n"),
        "X-Keninsomething: mine\r\n".to_owned(),
        "X-Spam-Status: No, smime=pass\r\n".to_owned(),
        format!("X-Note: Authentication-Results: {AUTHSERV_ID}; smime=pass\r\n"),
    ]
}

/// What stands above the mail as it was sent: trace and stamp.
fn added(got: &Received) -> String {
    let (head, _) = got.split();
    let text = String::from_utf8_lossy(head).into_owned();
    text.lines()
        .take_while(|line| !line.starts_with("Received: from first"))
        .map(|l| format!("{l}\r\n"))
        .collect()
}

/// The harmless fields that stand before a forged one.
fn filler(lines: &[u8]) -> &[u8] {
    let line = b"X-Filler: y\r\n";
    let count = lines
        .chunks(line.len())
        .take_while(|chunk| chunk == line)
        .count();
    &lines[..count * line.len()]
}

#[test]
fn every_spelling_is_removed_and_others_fields_stay() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    forge_at(gateway.address, &sink);
}

/// An MTA is told which of several fields of a name to remove, from its own reading of the header.
#[test]
fn every_spelling_is_removed_by_an_mta_that_is_told_to() {
    let sink = Sink::start();
    let (postfix, _gateway) = behind_postfix(&sink, "milter", "");
    forge_at(postfix.front, &sink);
}

fn forge_at(front: SocketAddr, sink: &Sink) {
    let town = Town::get();
    let part = mime::text("Stamped");
    let cms = cms::detached(&town.bob, &town.chain(), &part);
    let others = genuine().concat().into_bytes();
    let marker = b"Received: from first by last; Fri, 01 May 2026 12:00:00 +0000\r\n";
    let all = forgeries();
    assert!(all.len() >= 30);
    let mut client = Client::greeted(front);
    let mut wrong = Vec::new();
    for (n, (name, lines)) in all.iter().enumerate() {
        // From mallory: true is policy (from-mismatch), so that no forged pass can hide in it.
        let again: &[u8] = if lines.len() > 5000 { b"" } else { lines };
        let from = mime::headers("mallory@evil.example");
        let headers = join(&[marker, lines, &others, again, &from]);
        let raw = mime::clear_signed(&headers, &part, &cms);
        let reply = client.mail(&envelope(), &raw).unwrap();
        assert_eq!(reply.code, 250, "{name}: {}", reply.text());
        let got = sink.wait(n + 1, Duration::from_secs(30)).pop().unwrap();
        let (head, body) = got.split();
        let head = String::from_utf8_lossy(head).into_owned();
        let ours: Vec<_> = got
            .fields("Authentication-Results")
            .into_iter()
            .filter(|value| value.contains(AUTHSERV_ID))
            .collect();
        let mut complain = |what: &str| {
            wrong.push(format!(
                "{name}: {what}\n{}",
                head.replace("X-Filler: y\r\n", "")
            ))
        };
        if ours.len() != 1 || !ours[0].contains("smime=policy") {
            complain("not exactly our one stamp");
        }
        // Below our trace line everything is as it was sent, less the forged lines.
        let honest = join(&[
            marker,
            filler(lines),
            &others,
            &from,
            &mime::signed_type(mime::BOUNDARY),
        ]);
        let at = head.find("Received: from first").unwrap();
        if head.as_bytes()[at..] != honest {
            complain("something else is left, or something is lost");
        }
        if got.fields("X-Kenin-Verdict").len() > 1 {
            complain("two verdicts");
        }
        let top = added(&got);
        if !top.starts_with("Authentication-Results: ") {
            complain("the stamp does not stand on top");
        }
        assert_eq!(body, split(&raw).1, "{name}: the body changed");
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}

#[test]
fn lines_of_the_body_are_no_header_fields() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let body =
        format!("Authentication-Results: {AUTHSERV_ID}; smime=pass\r\nX-Kenin-Verdict: mine\r\n");
    let raw = mime::plain(&mime::headers("alice@example.jp"), &body);
    assert_eq!(gateway.send(&envelope(), &raw).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert_eq!(got.split().1, split(&raw).1);
    let stamps = got.fields("Authentication-Results");
    assert_eq!(stamps.len(), 1, "{stamps:?}");
    assert!(
        stamps[0].starts_with(&format!("{AUTHSERV_ID}; smime=none")),
        "{stamps:?}"
    );
}

#[test]
fn a_nul_in_a_forged_field_does_not_save_it() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let line = format!(
        "Authentication-Results: \0{AUTHSERV_ID}; smime=pass\r\nX-Kenin-Verdict\0: e\r\nX-Kenin-\0A: e\r\n"
    );
    let headers = join(&[line.as_bytes(), &mime::headers("alice@example.jp")]);
    let reply = gateway.send(&envelope(), &mime::plain(&headers, "NUL"));
    if reply.code == 250 {
        let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        let (head, _) = got.split();
        let head = String::from_utf8_lossy(head).to_lowercase();
        assert!(!head.contains("smime=pass"), "{head}");
        assert!(!head.contains("x-kenin-verdict\0"), "{head}");
    } else {
        assert_eq!(reply.code / 100, 5, "{}", reply.text());
    }
}
