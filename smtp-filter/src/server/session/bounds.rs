//! What a session bounds: sizes, recipients, errors, idle talk, time.

use std::time::Duration;

use super::tests::{Bench, config, to_data};
use crate::server::ServerConfig;

const WORN_OUT: &str = "421 4.7.0 Too many commands without a mail, closing connection\r\n";

#[test]
fn idle_talk_ends_the_session() {
    for command in [
        "NOOP",
        "RSET",
        "VRFY a",
        "HELP",
        "EHLO c",
        "HELO c",
        "MAIL FROM:<bad@b>",
    ] {
        let mut bench = Bench::new(config());
        bench.send("HELO c\r\n");
        for turn in 1..100 {
            let said = bench.send(format!("{command}\r\n"));
            assert!(!bench.closed, "{command} {turn} {said}");
        }
        bench.send(format!("{command}\r\n"));
        if !bench.closed {
            assert_eq!(bench.send(format!("{command}\r\n")), WORN_OUT, "{command}");
        }
        assert!(bench.closed, "{command}");
    }
}

#[test]
fn a_mail_buys_more_idle_talk() {
    let mut bench = Bench::new(config());
    for _ in 0..5 {
        bench.send("RSET\r\n".repeat(90));
        to_data(&mut bench);
        assert!(bench.send("x\r\n.\r\n").starts_with("250"));
    }
    let said = bench.send("NOOP\r\n".repeat(100));
    assert_eq!(said, "250 2.0.0 Ok\r\n".repeat(100));
    assert_eq!(bench.send("NOOP\r\nMAIL FROM:<a@b>\r\n"), WORN_OUT);
}

#[test]
fn grace_behind_a_refused_mail_is_bounded() {
    let mut config = config();
    config.limits.recipients = 3;
    let mut bench = Bench::new(config);
    bench.send("EHLO c\r\nMAIL FROM:<bad@b>\r\n");
    let said = bench.send("RCPT TO:<c@d>\r\n".repeat(40));
    assert_eq!(said.matches("503 5.5.1").count(), 4 + 20);
    assert!(said.ends_with("421 4.7.0 Too many errors, closing connection\r\n"));
}

#[test]
fn a_421_of_the_filter_ends_the_session() {
    let mut bench = Bench::new(config());
    bench.overloaded = true;
    to_data(&mut bench);
    let said = bench.send("x\r\n.\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(said, "421 4.3.2 System busy\r\n");
    assert_eq!((bench.closed, bench.aborted), (true, 0));
}

#[test]
fn refused_recipients_count_against_their_limit() {
    let mut config = config();
    config.limits.recipients = 3;
    let mut bench = Bench::new(config);
    bench.send("EHLO c\r\nMAIL FROM:<a@b>\r\n");
    let said = bench.send("RCPT TO:<bad@d>\r\n".repeat(3));
    assert_eq!(said.matches("550 5.1.1").count(), 3);
    assert!(bench.send("RCPT TO:<c@d>\r\n").starts_with("452 4.5.3"));
}

#[test]
fn limits_answer_at_the_dot() {
    let case = |change: fn(&mut ServerConfig), mail: &str| {
        let mut config = config();
        change(&mut config);
        let mut bench = Bench::new(config);
        to_data(&mut bench);
        let said = bench.send(format!("{mail}\r\n.\r\n"));
        assert!(bench.send("NOOP\r\n").starts_with("250"));
        assert_eq!(bench.mails.len(), usize::from(said.starts_with("250")));
        said[..9].to_owned()
    };
    assert_eq!(
        case(|c| c.limits.message_size = 14, "A: b\r\n\r\nbody"),
        "250 2.0.0"
    );
    assert_eq!(
        case(|c| c.limits.message_size = 13, "A: b\r\n\r\nbody"),
        "552 5.3.4"
    );
    assert_eq!(
        case(|c| c.limits.header_size = 8, "A: b\r\n\r\nbody"),
        "250 2.0.0"
    );
    assert_eq!(
        case(|c| c.limits.header_size = 7, "A: b\r\n\r\nbody"),
        "552 5.3.4"
    );
    assert_eq!(
        case(|c| c.limits.header_fields = 1, "A: b\r\nB: c\r\n\r\n"),
        "550 5.6.0"
    );
    assert_eq!(case(|_| {}, &"Received: x\r\n".repeat(100)), "250 2.0.0");
    assert_eq!(case(|_| {}, &"Received: x\r\n".repeat(101)), "554 5.4.6");
}

#[test]
fn a_declared_size_over_the_limit_is_refused_at_mail() {
    let mut bench = Bench::new(config());
    bench.send("EHLO c\r\n");
    let said = bench.send("MAIL FROM:<a@b> SIZE=52428801\r\n");
    assert_eq!(said, "552 5.3.4 Message size exceeds fixed limit\r\n");
    assert!(
        bench
            .send("MAIL FROM:<a@b> SIZE=52428800\r\n")
            .starts_with("250")
    );
}

#[test]
fn recipients_are_limited() {
    let mut config = config();
    config.limits.recipients = 2;
    let mut bench = Bench::new(config);
    bench.send("EHLO c\r\nMAIL FROM:<a@b>\r\n");
    let said = bench.send("RCPT TO:<c@d>\r\n".repeat(3));
    assert!(
        said.ends_with("452 4.5.3 Too many recipients\r\n"),
        "{said}"
    );
    bench.send("DATA\r\n");
    bench.send("x\r\n.\r\n");
    assert_eq!(bench.mails[0].0.rcpt_to.len(), 2);
}

#[test]
fn too_many_errors_end_the_session() {
    let mut bench = Bench::new(config());
    let said = bench.send("FOO\r\n".repeat(30));
    assert_eq!(said.matches("500 5.5.2").count(), 20);
    assert!(said.ends_with("421 4.7.0 Too many errors, closing connection\r\n"));
    assert!(bench.closed);
}

#[test]
fn pipelining_behind_a_refused_mail_is_no_error() {
    let mut bench = Bench::new(config());
    bench.send("EHLO c\r\n");
    for _ in 0..30 {
        let said = bench.send("MAIL FROM:<bad@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        assert!(
            said.starts_with("451") && said.matches("503 5.5.1").count() == 2,
            "{said}"
        );
        let said = bench.send("MAIL FROM:<a@b>\r\nRCPT TO:<bad@d>\r\nDATA\r\n");
        assert!(
            said.ends_with("554 5.5.1 No valid recipients\r\n"),
            "{said}"
        );
        bench.send("RSET\r\n");
    }
}

#[test]
fn deadlines_are_not_moved_by_drips() {
    let mut bench = Bench::new(config());
    let start = bench.now;
    bench.send("EHLO c\r\n");
    for second in (10..300).step_by(10) {
        bench.now = start + Duration::from_secs(second);
        assert_eq!(bench.send("N"), "");
        bench.session.expire(bench.now);
    }
    assert_eq!(
        bench.session.deadline(),
        Some(start + Duration::from_secs(300))
    );
    bench.now = start + Duration::from_secs(300);
    bench.session.expire(bench.now);
    assert_eq!(bench.output(), "421 4.4.2 Timeout, closing connection\r\n");
    assert!(bench.closed);
}

#[test]
fn a_dripping_mail_ends_too() {
    let mut bench = Bench::new(config());
    let start = bench.now;
    to_data(&mut bench);
    let mut last = 0;
    for second in (10..4000).step_by(10) {
        bench.now = start + Duration::from_secs(second);
        bench.send("x");
        bench.session.expire(bench.now);
        if bench.output().starts_with("421 4.4.2") {
            last = second;
            break;
        }
    }
    assert_eq!(last, 300);
    assert_eq!(
        (bench.closed, bench.aborted, bench.mails.len()),
        (true, 1, 0)
    );
    // One that is a little faster ends with its transaction.
    let mut bench = Bench::new(config());
    let start = bench.now;
    to_data(&mut bench);
    for second in (10..4000).step_by(10) {
        bench.now = start + Duration::from_secs(second);
        bench.send([b'x'; 1024]);
        bench.session.expire(bench.now);
        if bench.output().starts_with("421 4.4.2") {
            assert_eq!(second, 1800);
            return;
        }
    }
    panic!("never ended");
}
