//! Dialogues with a session, and the smuggling set.

use std::{sync::Arc, time::Instant};

use super::{Answer, Session, SessionEvent};
use crate::{
    Body, Envelope, Reply,
    client::Capabilities,
    server::{BareNewline, ServerConfig},
    tls,
};

/// A session with a next hop that accepts all recipients but `bad@…`, and keeps what it gets.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) hop: Option<Capabilities>,
    pub(super) mails: Vec<(Envelope, Vec<u8>)>,
    pub(super) rejected: usize,
    pub(super) aborted: usize,
    pub(super) closed: bool,
    pub(super) overloaded: bool,
    pub(super) now: Instant,
    stored: Vec<u8>,
}

impl Bench {
    pub(super) fn new(config: ServerConfig) -> Self {
        let now = Instant::now();
        let client = "192.0.2.1:25".parse().unwrap();
        let mut bench = Self {
            session: Session::new(Arc::new(config), client, now),
            hop: Some(Capabilities {
                dsn: true,
                smtputf8: true,
                ..Capabilities::default()
            }),
            mails: Vec::new(),
            rejected: 0,
            aborted: 0,
            closed: false,
            overloaded: false,
            now,
            stored: Vec::new(),
        };
        bench.session.open();
        assert_eq!(bench.output(), "220 gw.test ESMTP Kenin\r\n");
        bench
    }

    /// What the session says to these bytes.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.session.receive(bytes.as_ref(), self.now);
        self.output()
    }

    pub(super) fn output(&mut self) -> String {
        while let Some(event) = self.session.poll() {
            self.act(event);
        }
        String::from_utf8(self.session.transmit().unwrap_or_default()).unwrap()
    }

    fn act(&mut self, event: SessionEvent) {
        let reply = match event {
            SessionEvent::Probe => {
                self.session
                    .answer(Answer::Capabilities(self.hop.clone()), self.now);
                return;
            }
            SessionEvent::EndOfData(_) if self.overloaded => {
                Reply::new(421, "4.3.2", "System busy")
            }
            SessionEvent::Mail(from, _) if from.address.starts_with("bad") => {
                Reply::new(451, "4.4.1", "no next hop")
            }
            SessionEvent::Mail(..) => Reply::new(250, "2.1.0", "Ok"),
            SessionEvent::Rcpt(to) if to.address.starts_with("bad") => {
                Reply::new(550, "5.1.1", "Unknown")
            }
            SessionEvent::Rcpt(_) => Reply::new(250, "2.1.5", "Ok"),
            SessionEvent::Store(bytes) => return self.stored.extend(bytes),
            SessionEvent::EndOfData(completed) => {
                let stored = std::mem::take(&mut self.stored);
                assert_eq!(completed.size, stored.len() as u64);
                self.mails.push((completed.envelope, stored));
                Reply::new(250, "2.0.0", "queued")
            }
            SessionEvent::Rejected(_, reply) => {
                assert!(!reply.is_positive());
                self.rejected += 1;
                return self.stored.clear();
            }
            SessionEvent::Abort => {
                self.aborted += 1;
                return self.stored.clear();
            }
            SessionEvent::Handshake => return self.session.secured("TLS".to_owned(), self.now),
            SessionEvent::Close => {
                self.closed = true;
                return;
            }
        };
        self.session.answer(Answer::Reply(reply), self.now);
    }
}

pub(super) fn config() -> ServerConfig {
    ServerConfig::new("gw.test", "127.0.0.1:1")
}

pub(super) fn with_tls(mut config: ServerConfig) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["gw.test".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    config.tls = Some(tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap());
    config
}

pub(super) fn to_data(bench: &mut Bench) {
    bench.send("EHLO c\r\n");
    let said = bench.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    assert!(
        said.ends_with("354 End data with <CR><LF>.<CR><LF>\r\n"),
        "{said}"
    );
}

#[test]
fn a_mail_from_greeting_to_quit() {
    let mut bench = Bench::new(config());
    assert_eq!(
        bench.send("EHLO client.test\r\n"),
        "250-gw.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n\
         250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n"
    );
    assert_eq!(
        bench.send(
            "MAIL FROM:<a@b> BODY=8BITMIME SIZE=5 RET=HDRS\r\nRCPT TO:<bad@d>\r\n\
             RCPT TO:<c@d> NOTIFY=NEVER\r\nDATA\r\n"
        ),
        "250 2.1.0 Ok\r\n550 5.1.1 Unknown\r\n250 2.1.5 Ok\r\n\
         354 End data with <CR><LF>.<CR><LF>\r\n"
    );
    assert_eq!(
        bench.send("A: b\r\n\r\n..x\r\n.\r\nNOOP\r\n"),
        "250 2.0.0 queued\r\n250 2.0.0 Ok\r\n"
    );
    assert_eq!(bench.send("QUIT\r\n"), "221 2.0.0 Bye\r\n");
    assert!(bench.closed);
    let (envelope, content) = bench.mails.pop().unwrap();
    assert_eq!(content, b"A: b\r\n\r\n.x\r\n");
    assert_eq!(envelope.mail_from, "a@b");
    assert_eq!(envelope.body, Body::EightBitMime);
    assert_eq!(
        (envelope.size, envelope.ret.as_deref()),
        (Some(5), Some("HDRS"))
    );
    assert_eq!(envelope.rcpt_to.len(), 1);
    assert_eq!(envelope.rcpt_to[0].notify.as_deref(), Some("NEVER"));
    assert_eq!(
        (envelope.helo.as_str(), envelope.esmtp),
        ("client.test", true)
    );
    assert_eq!(bench.aborted, 0);
}

#[test]
fn only_what_the_next_hop_takes_is_offered() {
    let mut bench = Bench::new(config());
    bench.hop = None;
    let said = bench.send("EHLO c\r\n");
    assert!(said.contains("8BITMIME") && !said.contains("DSN") && !said.contains("SMTPUTF8"));
    assert!(!said.contains("STARTTLS") && !said.contains("XFORWARD") && !said.contains("AUTH"));
    bench.hop = Some(Capabilities {
        size: Some(1000),
        ..Capabilities::default()
    });
    assert!(bench.send("EHLO c\r\n").contains("SIZE 1000\r\n"));
}

#[test]
fn smuggled_ends_are_no_ends() {
    let ends: &[&[u8]] = &[
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\r\r\n",
        b"\r\n.\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n\0\0.\0\r\n",
        b"\r\r\n.\n\r\n",
        b"\r\0\n.\r\n",
    ];
    for mode in [BareNewline::Reject, BareNewline::Normalize] {
        for end in ends {
            for step in [1, 2, 3, 1000] {
                let mut bench = Bench::new(ServerConfig {
                    bare_newline: mode,
                    ..config()
                });
                to_data(&mut bench);
                let smuggled = b"MAIL FROM:<x@y>\r\nRCPT TO:<z@w>\r\nDATA\r\nEvil: yes\r\n.\r\n";
                let wire = [b"Subject: x\r\n\r\nfirst", *end, smuggled].concat();
                let said: String = wire.chunks(step).map(|chunk| bench.send(chunk)).collect();
                let refused =
                    mode == BareNewline::Reject || end.contains(&0) && !end.contains(&b'\r');
                let count = bench.mails.len();
                assert!(count <= 1, "{end:?}");
                assert_eq!(said.matches("\r\n").count(), 1, "{end:?} {said}");
                if refused {
                    assert!(said.starts_with("550 5.5.2 "), "{end:?} {said}");
                    assert_eq!((count, bench.rejected), (0, 1));
                } else if count == 1 {
                    let content = String::from_utf8(bench.mails.remove(0).1).unwrap();
                    assert!(content.contains("Evil: yes"), "{end:?}");
                    assert!(
                        !content.replace("\r\n", "").contains(['\r', '\n']),
                        "{end:?}"
                    );
                }
                assert!(bench.send("NOOP\r\n").starts_with("250"), "{end:?}");
            }
        }
    }
}

#[test]
fn commands_behind_starttls_are_never_run() {
    let mut bench = Bench::new(with_tls(config()));
    assert!(bench.send("EHLO c\r\n").contains("250-STARTTLS\r\n"));
    assert_eq!(
        bench.send("STARTTLS\r\nMAIL FROM:<x@y>\r\n"),
        "503 5.5.1 Commands after STARTTLS, closing\r\n"
    );
    assert!(bench.closed);
    assert_eq!(bench.send("MAIL FROM:<x@y>\r\n"), "");
}

#[test]
fn tls_forgets_what_was_said_in_clear() {
    let trusted = vec!["192.0.2.0/24".parse().unwrap()];
    let mut bench = Bench::new(with_tls(ServerConfig {
        trusted_peers: trusted,
        ..config()
    }));
    assert!(bench.send("EHLO c\r\n").contains("XFORWARD NAME ADDR"));
    bench.send("XFORWARD NAME=evil\r\n");
    assert_eq!(
        bench.send("STARTTLS\r\n"),
        "220 2.0.0 Ready to start TLS\r\n"
    );
    assert_eq!(
        bench.send("MAIL FROM:<x@y>\r\n"),
        "503 5.5.1 Send EHLO first\r\n"
    );
    assert!(!bench.send("EHLO d\r\n").contains("STARTTLS"));
    bench.send("MAIL FROM:<x@y>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    bench.send("x\r\n.\r\n");
    let (envelope, _) = bench.mails.pop().unwrap();
    assert!(envelope.xforward.is_empty());
    assert_eq!(envelope.tls.as_deref(), Some("TLS"));
}

#[test]
fn xforward_holds_for_one_transaction() {
    let trusted = vec!["192.0.2.0/24".parse().unwrap()];
    let mut bench = Bench::new(ServerConfig {
        trusted_peers: trusted,
        ..config()
    });
    bench.send("EHLO c\r\nXFORWARD ADDR=198.51.100.7 HELO=far\r\n");
    for expected in [Some("198.51.100.7"), None] {
        bench.send("MAIL FROM:<x@y>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
        bench.send("x\r\n.\r\n");
        let (envelope, _) = bench.mails.pop().unwrap();
        assert_eq!(envelope.xforward.addr.as_deref(), expected);
    }
}

/// Who may write to such a listener speaks for everybody: it must be a trusted peer.
#[test]
fn a_reverse_path_is_proven_only_by_a_trusted_peer_of_a_submission_listener() {
    for (submission, network, from, expected) in [
        (
            true,
            "192.0.2.0/24",
            "alice@own.example",
            Some("alice@own.example"),
        ),
        (true, "192.0.2.0/24", "", None),
        (true, "198.51.100.0/24", "alice@own.example", None),
        (false, "192.0.2.0/24", "alice@own.example", None),
    ] {
        let mut bench = Bench::new(ServerConfig {
            trusted_peers: vec![network.parse().unwrap()],
            submission,
            ..config()
        });
        bench.send("EHLO c\r\n");
        bench.send(format!("MAIL FROM:<{from}>\r\nRCPT TO:<a@b>\r\nDATA\r\n"));
        bench.send("x\r\n.\r\n");
        let (envelope, _) = bench.mails.pop().unwrap();
        assert_eq!(
            envelope.authenticated.as_deref(),
            expected,
            "{submission} {network}"
        );
        assert_eq!(envelope.mail_from, from);
    }
}

#[test]
fn data_before_354_closes() {
    let mut bench = Bench::new(config());
    let said = bench
        .send("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n.\r\nQUIT\r\n");
    assert!(
        said.ends_with("250 2.1.5 Ok\r\n503 5.5.1 Data sent before 354, closing\r\n"),
        "{said}"
    );
    assert!(bench.closed && bench.mails.is_empty());
    assert_eq!(bench.aborted, 1);
}

#[test]
fn talk_before_the_greeting_is_refused() {
    let now = Instant::now();
    let client = "192.0.2.1:25".parse().unwrap();
    let mut session = Session::new(Arc::new(config()), client, now);
    session.receive(b"EHLO c\r\n", now);
    assert!(session.poll().is_none());
    session.open();
    assert!(matches!(session.poll(), Some(SessionEvent::Close)));
    let said = session.transmit().unwrap();
    assert_eq!(said, b"521 5.5.1 Client talked before the greeting\r\n");
}

#[test]
fn storage_trouble_answers_the_dot() {
    for together in [false, true] {
        let mut bench = Bench::new(config());
        to_data(&mut bench);
        let content = if together {
            &b"x\r\n.\r\n"[..]
        } else {
            b"x\r\n"
        };
        bench.session.receive(content, bench.now);
        assert!(matches!(bench.session.poll(), Some(SessionEvent::Store(_))));
        bench
            .session
            .storage_failed(Reply::new(452, "4.3.1", "full"));
        let mut said = bench.output();
        if !together {
            assert_eq!(said, "");
            said = bench.send("y\r\n.\r\n");
        }
        assert_eq!(said, "452 4.3.1 full\r\n");
        assert!(bench.mails.is_empty());
        // The filter is told of it: one log line a mail.
        assert_eq!((bench.rejected, bench.aborted), (1, 0));
        assert!(bench.send("NOOP\r\n").starts_with("250"));
    }
}

#[test]
fn draining_lets_a_transaction_finish() {
    let goodbye = "421 4.3.2 Service shutting down\r\n";
    let mut idle = Bench::new(config());
    idle.send("EHLO c\r\n");
    idle.session.shut_down(idle.now);
    assert_eq!(idle.output(), goodbye);
    assert!(idle.closed);

    let mut busy = Bench::new(config());
    to_data(&mut busy);
    busy.session.shut_down(busy.now);
    assert_eq!(busy.send("x\r\n"), "");
    assert_eq!(
        busy.send(".\r\nMAIL FROM:<a@b>\r\n"),
        format!("250 2.0.0 queued\r\n{goodbye}")
    );
    assert!(busy.closed);

    let mut stuck = Bench::new(config());
    to_data(&mut stuck);
    stuck.session.shut_down(stuck.now);
    stuck.session.abandon();
    assert_eq!(stuck.output(), goodbye);
    assert_eq!((stuck.closed, stuck.aborted), (true, 1));
}

#[test]
fn open_relay_probes_reach_no_next_hop_as_other_addresses() {
    // Whom to relay for is the next hop's to say; what is not one plain mailbox never gets there.
    for probe in [
        "<@gw.test:a@b>",
        "<@a,@b:c@d>",
        "<a@b@c>",
        "<a>",
        "a@b",
        "<\"a@b>",
        "<a@b",
        "<>",
        "<a b@c>",
        "<a@b c>",
        "<a@>",
        "<@b>",
        "<a@b\\>",
        "<(x)a@b>",
        "<a,b@c>",
        "<a;b@c>",
        "<<a@b>>",
        "<a@b>>",
        "<a:b@c>",
        "< a@b>",
        "<b!a>",
    ] {
        let mut bench = Bench::new(config());
        bench.send("EHLO c\r\nMAIL FROM:<>\r\n");
        let said = bench.send(format!("RCPT TO:{probe}\r\n"));
        assert!(
            said.starts_with("501 5.1.3") || said.starts_with("553 5.1.3"),
            "{probe} {said}"
        );
    }
}

#[test]
fn an_answer_nobody_asked_for_changes_nothing() {
    let mut bench = Bench::new(config());
    bench
        .session
        .answer(Answer::Reply(Reply::new(250, "2.0.0", "x")), bench.now);
    assert_eq!(bench.output(), "");
    assert!(bench.send("NOOP\r\n").starts_with("250"));
}
