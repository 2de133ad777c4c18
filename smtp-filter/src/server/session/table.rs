//! Every command in every state: what the session answers.

use super::tests::{Bench, config, with_tls};
use crate::server::ServerConfig;

/// The states, and how a session comes into each.
const STATES: [(&str, &[&str]); 8] = [
    ("new", &[]),
    ("helo", &["HELO c"]),
    ("ehlo", &["EHLO c"]),
    ("mail", &["EHLO c", "MAIL FROM:<a@b>"]),
    ("refused", &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<bad@d>"]),
    ("rcpt", &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]),
    (
        "after",
        &[
            "EHLO c",
            "MAIL FROM:<a@b>",
            "RCPT TO:<c@d>",
            "DATA",
            "x\r\n.",
        ],
    ),
    ("tls", &["EHLO c", "STARTTLS"]),
];

/// Command, and its code in each state, in the order above; one code is the same in all.
const TABLE: &[(&str, &str)] = &[
    ("EHLO c", "250"),
    ("ehlo c", "250"),
    ("HELO c", "250"),
    ("EHLO", "501"),
    ("HELO", "501"),
    ("EHLO a b", "501"),
    ("MAIL FROM:<a@b>", "503 250 250 503 503 503 250 503"),
    ("mail from:<a@b>", "503 250 250 503 503 503 250 503"),
    ("MAIL FROM: <a@b>", "503 250 250 503 503 503 250 503"),
    ("MAIL FROM:<>", "503 250 250 503 503 503 250 503"),
    ("MAIL FROM:a", "503 501 501 503 503 503 501 503"),
    ("MAIL", "503 501 501 503 503 503 501 503"),
    ("MAIL FROM:<a@b> X=1", "503 555 555 503 503 503 555 503"),
    (
        "MAIL FROM:<a@b> SIZE=999999999999",
        "503 552 552 503 503 503 552 503",
    ),
    (
        "MAIL FROM:<a@b> BODY=BINARYMIME",
        "503 501 501 503 503 503 501 503",
    ),
    ("RCPT TO:<c@d>", "503 503 503 250 250 250 503 503"),
    ("RCPT TO:<bad@d>", "503 503 503 550 550 550 503 503"),
    ("RCPT TO:c", "503 503 503 501 501 501 503 503"),
    ("RCPT", "503 503 503 501 501 501 503 503"),
    ("DATA", "503 503 503 503 554 354 503 503"),
    ("DATA x", "501"),
    ("RSET", "250"),
    ("RSET x", "501"),
    ("NOOP", "250"),
    ("NOOP x", "250"),
    ("VRFY a", "252"),
    ("VRFY", "501"),
    ("EXPN a", "502"),
    ("HELP", "214"),
    ("HELP MAIL", "214"),
    ("QUIT", "221"),
    ("QUIT x", "501"),
    ("STARTTLS", "220 220 220 503 503 503 220 503"),
    ("STARTTLS x", "501 501 501 503 503 503 501 503"),
    ("XFORWARD NAME=a", "503 250 250 503 503 503 250 503"),
    ("XFORWARD NAME", "503 501 501 503 503 503 501 503"),
    ("AUTH PLAIN AAAA", "502"),
    ("BDAT 1 LAST", "502"),
    ("ETRN a", "502"),
    ("TURN", "502"),
    ("XCLIENT NAME=a", "502"),
    ("GET / HTTP/1.1", "221"),
    ("POST / HTTP/1.1", "221"),
    ("CONNECT a:25 HTTP/1.1", "221"),
    ("PRI * HTTP/2.0", "221"),
    ("{\"json\": 1}", "221"),
    (" NOOP", "221"),
    ("\u{16}\u{3}\u{1}", "221"),
    ("Host: x", "500"),
    ("FOO", "500"),
    ("", "500"),
    (".", "221"),
    ("NOOP\u{0}", "500"),
    ("NO\nOP", "500"),
];

fn session_in(steps: &[&str], config: ServerConfig) -> Bench {
    let mut bench = Bench::new(config);
    for step in steps {
        let said = bench.send(format!("{step}\r\n"));
        let fine = said.starts_with(['2', '3']) || step.contains("bad@");
        assert!(fine, "{step}: {said}");
    }
    bench
}

#[test]
fn every_command_in_every_state() {
    let trusted = ServerConfig {
        trusted_peers: vec!["192.0.2.1".parse().unwrap()],
        ..config()
    };
    let trusted = with_tls(trusted);
    let mut cells = 0;
    for (command, codes) in TABLE {
        let mut codes = codes.split(' ').cycle();
        for ((state, steps), code) in STATES.into_iter().zip(&mut codes) {
            let mut bench = session_in(steps, trusted.clone());
            let said = bench.send(format!("{command}\r\n"));
            assert!(said.starts_with(code), "{command:?} in {state}: {said}");
            assert_eq!(bench.closed, code == "221", "{command:?} in {state}");
            cells += 1;
            // What was refused changed nothing: the transaction can go on.
            if state == "rcpt" && code.starts_with('5') {
                assert!(bench.send("DATA\r\n").starts_with("354"), "{command:?}");
            }
        }
    }
    assert!(cells >= 150, "{cells}");
}

#[test]
fn xforward_from_strangers_is_refused_in_every_state() {
    for (state, steps) in STATES {
        for command in ["XFORWARD NAME=a", "XFORWARD", "XFORWARD NAME"] {
            let mut bench = session_in(steps, with_tls(config()));
            let said = bench.send(format!("{command}\r\n"));
            assert!(
                said.starts_with("550 5.7.0"),
                "{command} in {state}: {said}"
            );
        }
    }
}

#[test]
fn without_a_certificate_starttls_does_not_exist() {
    for (state, steps) in STATES.into_iter().filter(|(state, _)| *state != "tls") {
        let mut bench = session_in(steps, config());
        assert!(bench.send("STARTTLS\r\n").starts_with("502"), "{state}");
    }
}
