//! SMTP-01 and SMTP-02: smuggling. Only CRLF.CRLF ends a message, however the bytes are cut; a bare
//! CR or LF is refused or made CRLF, and what is judged is what is forwarded.

use std::time::Duration;

use kenin_tests::client::Client;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Received, Sink, split};

/// What looks like an end of data and is none.
const ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\n.\n",
    b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\r.\r\n",
    b"\r\n.\r\0\n",
    b"\n\n.\n\n",
    b"\r\n . \r\n",
];

/// Ways to cut what is sent into segments.
const CUTS: &[&[usize]] = &[&[], &[1, 1, 1, 1, 1, 1, 1, 1], &[2, 1], &[3, 2, 1], &[4]];

const MARK: &str = "X-Smuggled: yes";

/// A mail that, to a reader who ends it early, is two.
fn smuggling(end: &[u8]) -> Vec<u8> {
    let mut out = mime::plain(&mime::headers("alice@example.jp"), "first");
    out.truncate(out.len() - 2);
    out.extend_from_slice(end);
    out.extend_from_slice(
        b"MAIL FROM:<smuggler@evil.example>\r\nRCPT TO:<victim@example.jp>\r\nDATA\r\n",
    );
    out.extend_from_slice(format!("{MARK}\r\n\r\nsecond\r\n.\r\n").as_bytes());
    out
}

/// Sends bytes after 354 with the cut right at the odd end, and gives back every reply.
fn attempt(gateway: &Gateway, end: &[u8], cut: &[usize]) -> Vec<u16> {
    let mut client = gateway.client();
    for line in ["MAIL FROM:<a@example.jp>", "RCPT TO:<reader@example.jp>"] {
        assert_eq!(client.command(line).code, 250);
    }
    assert_eq!(client.command("DATA").code, 354);
    let bytes = smuggling(end);
    let at = bytes.windows(5).position(|w| w == b"first").unwrap() + 5;
    client.send(&bytes[..at]);
    client.send_split(&bytes[at..], cut);
    let mut codes = Vec::new();
    if let Some(reply) = client.reply() {
        codes.push(reply.code);
        // After the answer to the dot the session is in order: nothing smuggled is executed.
        for line in ["NOOP", "QUIT"] {
            match client.try_command(line) {
                Some(reply) => codes.push(reply.code),
                None => break,
            }
        }
    }
    codes
}

fn bare(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(i, b)| match b {
        b'\r' => bytes.get(i + 1) != Some(&b'\n'),
        b'\n' => i == 0 || bytes[i - 1] != b'\r',
        _ => false,
    })
}

fn check_sink(mails: &[Received], before: usize, name: &str) {
    let new = &mails[before..];
    assert!(new.len() <= 1, "{name}: {} mails at the sink", new.len());
    for mail in new {
        assert!(!bare(&mail.wire), "{name}: a bare CR or LF goes on");
        assert!(
            !mail.mail.contains("smuggler"),
            "{name}: the smuggled mail arrived"
        );
        assert!(
            mail.recipients.iter().all(|r| !r.contains("victim")),
            "{name}"
        );
        let (head, _) = mail.split();
        assert!(!String::from_utf8_lossy(head).contains(MARK), "{name}");
    }
}

#[test]
fn nothing_is_smuggled_when_bare_line_ends_are_refused() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    for end in ENDS {
        for cut in CUTS {
            let before = sink.count();
            let name = format!("reject, {}, cut {cut:?}", end.escape_ascii());
            let codes = attempt(&gateway, end, cut);
            check_sink(&sink.mails(), before, &name);
            let arrived = sink.count() - before;
            if bare(&smuggling(end)) {
                assert!(
                    matches!((codes[0], arrived), (521 | 550, 0)),
                    "{name}: {codes:?}"
                );
            } else if end.contains(&0) {
                assert!(
                    matches!((codes[0], arrived), (250, 1) | (550, 0)),
                    "{name}: {codes:?}"
                );
            } else {
                // No bare line end: it is text, and goes on as one mail.
                assert_eq!((codes[0], arrived), (250, 1), "{name}: {codes:?}");
            }
        }
    }
}

#[test]
fn nothing_is_smuggled_when_bare_line_ends_are_normalized() {
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.bare_newline = "normalize";
    let gateway = Gateway::start(&setup);
    for end in ENDS {
        for cut in CUTS {
            let before = sink.count();
            let name = format!("normalize, {}, cut {cut:?}", end.escape_ascii());
            let codes = attempt(&gateway, end, cut);
            check_sink(&sink.mails(), before, &name);
            // A NUL is no line end: there is nothing to normalize, and the mail may be refused.
            let arrived = sink.count() - before;
            if end.contains(&0) {
                assert!(
                    matches!((codes[0], arrived), (250, 1) | (550, 0)),
                    "{name}: {codes:?}"
                );
            } else {
                assert_eq!((codes[0], arrived), (250, 1), "{name}: {codes:?}");
            }
        }
    }
}

#[test]
fn bare_line_ends_in_signed_mail_are_judged_as_they_are_forwarded() {
    let town = Town::get();
    let sink = Sink::start();
    let mut setup = Setup::new(sink.address);
    setup.bare_newline = "normalize";
    let normal = Gateway::start(&setup);
    let strict = Gateway::start(&Setup::new(sink.address));
    let part = mime::text("line one\r\nline two");
    let cms = cms::detached(&town.bob, &town.chain(), &part);
    // Signed canonically, sent with LF inside the signed part.
    let lf: Vec<u8> = part.iter().copied().filter(|b| *b != b'\r').collect();
    let mail = |part: &[u8]| mime::clear_signed(&mime::headers("bob@example.jp"), part, &cms);
    let reply = strict.send(&envelope(), &mail(&lf));
    assert!(matches!(reply.code, 521 | 550), "{}", reply.text());
    assert!(reply.text().contains("5.5.2"), "{}", reply.text());
    assert_eq!(sink.count(), 0);
    // Normalized, it is what was signed, and what is forwarded is what was judged.
    assert_eq!(normal.send(&envelope(), &mail(&lf)).code, 250);
    let got = sink.wait(1, Duration::from_secs(30)).pop().unwrap();
    assert!(got.fields("Authentication-Results")[0].contains("smime=pass"));
    assert_eq!(got.split().1, split(&mail(&part)).1);
    // A bare CR inside becomes CRLF: the signature does not hold, and the stamp says so.
    let cr = [&part[..part.len() - 2], b"\rmore\r\n"].concat();
    let cms_cr = cms::detached(&town.bob, &town.chain(), &cr);
    let raw = mime::clear_signed(&mime::headers("bob@example.jp"), &cr, &cms_cr);
    assert_eq!(normal.send(&envelope(), &raw).code, 250);
    let got = sink.wait(2, Duration::from_secs(30)).pop().unwrap();
    assert!(!bare(&got.raw));
    assert!(!got.fields("Authentication-Results")[0].contains("smime=pass"));
}

#[test]
fn dots_and_long_lines_pass_however_they_are_cut() {
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let body = format!(
        ".\r\n..\r\n.x\r\n{}\r\n\r\n.\r\n...\r\n",
        "y".repeat(20_000)
    );
    let raw = mime::plain(&mime::headers("alice@example.jp"), &body);
    let mut count = 0;
    for cut in [
        &[][..],
        &[1; 600],
        &[2; 300],
        &[1000; 30],
        &[997, 1, 1, 1, 3, 4096],
    ] {
        let mut client: Client = gateway.client();
        for line in ["MAIL FROM:<a@example.jp>", "RCPT TO:<reader@example.jp>"] {
            assert_eq!(client.command(line).code, 250);
        }
        assert_eq!(client.command("DATA").code, 354);
        client.send_split(&kenin_tests::client::stuffed(&raw), cut);
        assert_eq!(client.reply().unwrap().code, 250);
        count += 1;
        let got = sink.wait(count, Duration::from_secs(30)).pop().unwrap();
        assert_eq!(got.split().1, split(&raw).1);
    }
}
