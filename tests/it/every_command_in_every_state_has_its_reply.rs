//! SMTP-05: a table of each command in each state of a session, and what never may be pipelined.

use std::time::Duration;

use kenin_tests::client::{Client, Reply};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::{Behaviour, Sink};

/// States of a session, reached by these lines.
const STATES: &[(&str, &[&str])] = &[
    ("greeted", &[]),
    ("HELO", &["HELO client.example"]),
    ("EHLO", &["EHLO client.example"]),
    ("MAIL", &["EHLO client.example", "MAIL FROM:<a@example.jp>"]),
    (
        "RCPT refused",
        &[
            "EHLO client.example",
            "MAIL FROM:<a@example.jp>",
            "RCPT TO:<refused@example.jp>",
        ],
    ),
    (
        "RCPT",
        &[
            "EHLO client.example",
            "MAIL FROM:<a@example.jp>",
            "RCPT TO:<b@example.jp>",
        ],
    ),
    (
        "RSET",
        &[
            "EHLO client.example",
            "MAIL FROM:<a@example.jp>",
            "RCPT TO:<b@example.jp>",
            "RSET",
        ],
    ),
    (
        "mail sent",
        &[
            "EHLO client.example",
            "MAIL FROM:<a@example.jp>",
            "RCPT TO:<b@example.jp>",
            "DATA",
            "Subject: x\r\n\r\nx\r\n.",
        ],
    ),
    (
        "EHLO again",
        &[
            "EHLO client.example",
            "MAIL FROM:<a@example.jp>",
            "EHLO client.example",
        ],
    ),
];

/// Commands, and the replies they may get: before a greeting of the client, outside a transaction,
/// after MAIL, after a refused RCPT, after RCPT.
#[rustfmt::skip]
const COMMANDS: &[(&str, [&[u16]; 5])] = &[
    ("EHLO again.example",                     [&[250], &[250], &[250], &[250], &[250]]),
    ("HELO again.example",                     [&[250], &[250], &[250], &[250], &[250]]),
    ("ehlo lower.example",                     [&[250], &[250], &[250], &[250], &[250]]),
    ("EHLO",                                   [&[501], &[501], &[501], &[501], &[501]]),
    ("MAIL FROM:<c@example.jp>",               [&[503], &[250], &[503], &[503], &[503]]),
    ("mail from:<c@example.jp>",               [&[503], &[250], &[503], &[503], &[503]]),
    ("MAIL FROM:<>",                           [&[503], &[250], &[503], &[503], &[503]]),
    ("MAIL FROM c@example.jp",                 [&[501, 503], &[501], &[501, 503], &[501, 503], &[501, 503]]),
    ("MAIL FROM:<c@example.jp> FOO=BAR",       [&[503, 555], &[555], &[503, 555], &[503, 555], &[503, 555]]),
    ("MAIL FROM:<c@example.jp> SIZE=1e9",      [&[501, 503], &[501, 555], &[501, 503], &[501, 503], &[501, 503]]),
    ("MAIL FROM:<c@example.jp> SIZE=99999999999", [&[503, 552], &[552], &[503, 552], &[503, 552], &[503, 552]]),
    ("RCPT TO:<d@example.jp>",                 [&[503], &[503], &[250], &[250], &[250]]),
    ("RCPT TO:<>",                             [&[501, 503], &[501, 503], &[501, 550, 553], &[501, 550, 553], &[501, 550, 553]]),
    ("RCPT TO d@example.jp",                   [&[501, 503], &[501, 503], &[501], &[501], &[501]]),
    ("RCPT TO:<d@example.jp> FOO=BAR",         [&[503, 555], &[503, 555], &[555], &[555], &[555]]),
    ("DATA now",                               [&[501, 503], &[501, 503], &[501, 503], &[501, 503, 554], &[501]]),
    ("DATA",                                   [&[503], &[503], &[503], &[503, 554], &[354]]),
    ("BDAT 0 LAST",                            [&[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503]]),
    ("RSET",                                   [&[250], &[250], &[250], &[250], &[250]]),
    ("NOOP",                                   [&[250], &[250], &[250], &[250], &[250]]),
    ("NOOP with words",                        [&[250, 501], &[250, 501], &[250, 501], &[250, 501], &[250, 501]]),
    ("VRFY postmaster",                        [&[252, 502, 503], &[252, 502], &[252, 502], &[252, 502], &[252, 502]]),
    ("EXPN list",                              [&[502, 503], &[502], &[502], &[502], &[502]]),
    ("HELP",                                   [&[214, 502], &[214, 502], &[214, 502], &[214, 502], &[214, 502]]),
    ("STARTTLS",                               [&[454, 500, 502, 503], &[454, 500, 502, 503], &[454, 500, 502, 503], &[454, 500, 502, 503], &[454, 500, 502, 503]]),
    ("AUTH PLAIN AGEAYg==",                    [&[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503]]),
    ("ETRN example.jp",                        [&[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503], &[500, 502, 503]]),
    ("XCLIENT ADDR=192.0.2.1",                 [&[500, 502, 503, 550], &[500, 502, 503, 550], &[500, 502, 503, 550], &[500, 502, 503, 550], &[500, 502, 503, 550]]),
    ("NONSENSE",                               [&[500, 502], &[500, 502], &[500, 502], &[500, 502], &[500, 502]]),
    ("",                                       [&[500], &[500], &[500], &[500], &[500]]),
    ("RSET now",                               [&[250, 501], &[250, 501], &[250, 501], &[250, 501], &[250, 501]]),
    ("QUIT",                                   [&[221], &[221], &[221], &[221], &[221]]),
    ("GET / HTTP/1.1",                         [&[221], &[221], &[221], &[221], &[221]]),
    ("POST / HTTP/1.1",                        [&[221], &[221], &[221], &[221], &[221]]),
];

/// Which column of the table a state stands for.
fn column(state: &str) -> usize {
    match state {
        "greeted" => 0,
        "MAIL" => 2,
        "RCPT refused" => 3,
        "RCPT" => 4,
        _ => 1,
    }
}

fn sink() -> Sink {
    let mut behaviour = Behaviour::default();
    behaviour
        .recipients
        .push(("refused@".to_owned(), "550 5.1.1 no such user".to_owned()));
    Sink::with(behaviour)
}

#[test]
fn the_table_holds() {
    let sink = sink();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let mut cells = 0;
    let mut wrong = Vec::new();
    for (state, lines) in STATES {
        for (command, replies) in COMMANDS {
            cells += 1;
            let mut client = Client::connect(gateway.address);
            assert_eq!(client.reply().unwrap().code, 220);
            for line in *lines {
                client.command(line);
            }
            let expected = replies[column(state)];
            let reply = client.try_command(command);
            let code = reply.as_ref().map_or(0, |r| r.code);
            if !expected.contains(&code) {
                let text = reply
                    .as_ref()
                    .map_or_else(|| "closed".to_owned(), Reply::text);
                wrong.push(format!(
                    "{state}, {command:?}: {text}, expected {expected:?}"
                ));
            }
            let enhanced = reply.as_ref().is_some_and(|r| {
                let line = r.lines.last().map_or("", |l| l.as_str());
                let class = line.get(4..6);
                matches!(r.code, 220 | 250 | 354) || class.is_some_and(|c| c.ends_with('.'))
            });
            if !enhanced {
                wrong.push(format!("{state}, {command:?}: no enhanced code: {reply:?}"));
            }
            if code == 221 {
                assert!(client.is_closed(), "{state}, {command:?}: still open");
            }
        }
    }
    assert!(cells >= 150, "{cells}");
    assert!(
        wrong.is_empty(),
        "{} of {cells}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_comes_before_the_greeting_is_no_mail() {
    let sink = sink();
    let gateway = Gateway::start(&Setup::new(sink.address));
    // HTTP from a browser, in one write, before anything was said.
    let mut client = Client::connect(gateway.address);
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO a\r\nMAIL FROM:<a@example.jp>\r\nRCPT TO:<b@example.jp>\r\nDATA\r\nx\r\n.\r\n");
    let codes: Vec<u16> = client
        .replies(Duration::from_millis(500))
        .iter()
        .map(|r| r.code)
        .collect();
    assert!(client.is_closed());
    assert!(
        !codes.contains(&354) && codes.iter().filter(|c| **c == 250).count() == 0,
        "{codes:?}"
    );
    assert_eq!(sink.count(), 0);
}

#[test]
fn commands_may_be_pipelined_but_data_ends_the_group() {
    let sink = sink();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let mut client = gateway.client();
    client.send(b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<b@example.jp>\r\nRCPT TO:<refused@example.jp>\r\nDATA\r\n");
    let codes: Vec<u16> = (0..4).map(|_| client.reply().unwrap().code).collect();
    assert_eq!(codes, [250, 250, 550, 354]);
    client.send(b"Subject: pipelined\r\n\r\nx\r\n.\r\nMAIL FROM:<c@example.jp>\r\nQUIT\r\n");
    let codes: Vec<u16> = (0..3).map(|_| client.reply().unwrap().code).collect();
    assert_eq!(codes, [250, 250, 221]);
    assert_eq!(sink.wait(1, Duration::from_secs(10))[0].recipients.len(), 1);
    // The text in the same write as DATA, before 354: refused, or taken as text; never as commands.
    let mut client = gateway.client();
    client.send(b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<b@example.jp>\r\nDATA\r\nSubject: early\r\n\r\nMAIL FROM:<evil@evil.example>\r\n.\r\nNOOP\r\n");
    let codes: Vec<u16> = client
        .replies(Duration::from_millis(700))
        .iter()
        .map(|r| r.code)
        .collect();
    let fine =
        codes == [250, 250, 354, 250, 250] || (codes.len() <= 4 && !codes[2..].contains(&354));
    assert!(fine, "{codes:?}");
    assert!(
        sink.commands().iter().all(|c| !c.contains("evil@")),
        "{:?}",
        sink.commands()
    );
    // With every recipient refused there is no DATA, and the text is not taken for commands.
    let mut client = gateway.client();
    let before = sink.count();
    client.send(b"MAIL FROM:<a@example.jp>\r\nRCPT TO:<refused@example.jp>\r\nDATA\r\n");
    let codes: Vec<u16> = (0..3).map(|_| client.reply().unwrap().code).collect();
    assert!(codes[..2] == [250, 550] && codes[2] / 100 == 5, "{codes:?}");
    assert_eq!(sink.count(), before);
}

#[test]
fn lines_without_end_are_cut_off() {
    let sink = sink();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let mut client = gateway.client();
    client.send(&vec![b'A'; 1 << 20]);
    client.send(b"\r\n");
    let replies = client.replies(Duration::from_millis(500));
    assert!(
        replies.iter().all(|r| r.code / 100 == 5 || r.code == 421),
        "{replies:?}"
    );
    let again = gateway.client().command("NOOP");
    assert_eq!(again.code, 250);
    // Nonsense is not listened to for ever.
    let mut client = gateway.client();
    let mut said = 0;
    while let Some(reply) = client.try_command("NONSENSE") {
        said += 1;
        assert!(said < 500, "{}", reply.text());
    }
}
