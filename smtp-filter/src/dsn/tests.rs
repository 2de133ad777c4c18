use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::{Body, Division, XForward};

fn envelope(sender: &str) -> Envelope {
    Envelope {
        id: "01J".to_owned(),
        mail_from: sender.to_owned(),
        body: Body::SevenBit,
        smtputf8: false,
        size: None,
        ret: None,
        envid: Some("QQ+2B1".to_owned()),
        rcpt_to: Vec::new(),
        helo: "c".to_owned(),
        esmtp: true,
        division: Division::Copies,
        seven_bit_only: false,
        client: ([127, 0, 0, 1], 1).into(),
        tls: None,
        authenticated: None,
        daemon: None,
        xforward: XForward::default(),
    }
}

fn told(sender: &str, recipient: &Recipient, raw: &[u8]) -> String {
    told_that("who", sender, recipient, raw)
}

fn told_that(why: &str, sender: &str, recipient: &Recipient, raw: &[u8]) -> String {
    let reply = Reply::new(550, "5.1.1", why);
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let failed = [(recipient, &reply)];
    let text = notification(&envelope(sender), &failed, raw, "gw.test", now);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_fields_are_those_of_rfc_3464() {
    let recipient = Recipient {
        orcpt: Some("rfc822;b+2Bx@y.example".to_owned()),
        ..Recipient::new("b@y.example")
    };
    let text = told("a@x.example", &recipient, b"Subject: s\r\n\r\nbody\r\n");
    let wanted = "Content-Type: message/delivery-status\r\n\r\n\
                  Original-Envelope-Id: QQ+1\r\n\
                  Reporting-MTA: dns; gw.test\r\n\r\n\
                  Original-Recipient: rfc822; b+x@y.example\r\n\
                  Final-Recipient: rfc822; b@y.example\r\n\
                  Action: failed\r\n\
                  Status: 5.1.1\r\n\
                  Diagnostic-Code: smtp; 550 5.1.1 who\r\n\r\n\
                  --=_kenin-01J\r\n\
                  Content-Type: text/rfc822-headers\r\n\r\nSubject: s\r\n\r\n\
                  --=_kenin-01J--\r\n";
    assert!(text.ends_with(wanted), "{text}");
    assert!(text.is_ascii());
}

#[test]
fn what_the_next_hop_says_in_another_script_needs_no_smtputf8() {
    let recipient = Recipient::new("b@y.example");
    let text = told_that("だれ", "a@x.example", &recipient, b"Subject: s\r\n\r\n");
    assert!(text.is_ascii());
    assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 ??\r\n"));
}

#[test]
fn international_addresses_make_it_global() {
    let recipient = Recipient::new("ぼ@y.example");
    let text = told("a@x.example", &recipient, "Subject: 件\r\n\r\n".as_bytes());
    for line in [
        "Content-Type: multipart/report; report-type=global-delivery-status;",
        "Content-Type: message/global-delivery-status",
        "Final-Recipient: utf-8; ぼ@y.example",
        "Content-Type: message/global-headers",
        "Subject: 件",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
}

#[test]
fn an_odd_header_goes_back_as_quoted_printable() {
    let recipient = Recipient::new("b@y.example");
    let text = told("a@x.example", &recipient, b"Subject: \xe4= \r\nX: \t\r\n");
    assert!(text.is_ascii());
    let wanted = "Content-Transfer-Encoding: quoted-printable\r\n\r\n\
                  Subject: =E4=3D=20\r\nX: =09\r\n\r\n--=_kenin";
    assert!(text.contains(wanted), "{text}");
    let long = format!("X: {}\r\n\r\n", "y".repeat(2000));
    let text = told("a@x.example", &recipient, long.as_bytes());
    assert!(text.split("\r\n").all(|line| line.len() <= 76), "{text}");
}

#[test]
fn a_header_without_an_end_is_cut_between_fields() {
    let recipient = Recipient::new("b@y.example");
    let raw = format!("A: b\r\n c\r\n{}", "X: y\r\n z\r\n".repeat(10_000));
    let text = told("a@x.example", &recipient, raw.as_bytes());
    assert!(text.len() < HEADER + 4096);
    assert!(text.contains(" z\r\n\r\n--=_kenin"), "whole fields");
}

#[test]
fn who_wants_none_gets_none() {
    for (sender, notify, wanted) in [
        ("a@x.example", None, true),
        ("a@x.example", Some("SUCCESS,failure"), true),
        ("a@x.example", Some("NEVER"), false),
        ("a@x.example", Some("DELAY"), false),
        ("", None, false),
    ] {
        let recipient = Recipient {
            notify: notify.map(str::to_owned),
            ..Recipient::new("b@y.example")
        };
        assert_eq!(
            is_wanted(&envelope(sender), &recipient),
            wanted,
            "{notify:?}"
        );
    }
}
