mod addresses;
mod holding;
mod timing;

use std::net::SocketAddr;

use super::{
    MilterConfig,
    frame::{Packets, write},
    session::{Answer, Completed, NOBODY, ProtocolError, Session, SessionEvent, Wants},
};
use crate::{Body, Edit, Reply, server::Limits};

/// A session with its MTA: what is sent, and what came back.
struct Bench {
    session: Session,
    mail: Vec<u8>,
    completed: Vec<Completed>,
    rejected: Vec<(Completed, Reply)>,
    aborted: usize,
    closed: bool,
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7);
/// Everything that Postfix 3.7 offers.
const ACTIONS: u32 = 0x1ff;
const OFFERED: u32 = 0x1f_ffff;

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            session: Session::new(limits, Wants::default(), PEER),
            mail: Vec::new(),
            completed: Vec::new(),
            rejected: Vec::new(),
            aborted: 0,
            closed: false,
        }
    }

    /// One that wants more than to change the header.
    fn wanting(wants: Wants, actions: u32) -> Self {
        let mut bench = Self::new();
        bench.session = Session::new(Limits::default(), wants, PEER);
        bench.negotiate(6, actions, OFFERED);
        bench
    }

    /// One that has agreed on everything.
    fn ready() -> Self {
        let mut bench = Self::new();
        bench.negotiate(6, ACTIONS, OFFERED);
        bench
    }

    fn negotiate(&mut self, version: u32, actions: u32, offered: u32) -> Vec<(u8, Vec<u8>)> {
        let numbers = [version, actions, offered].map(u32::to_be_bytes);
        self.say(b'O', numbers.as_flattened())
    }

    /// One command; the packets that came back.
    fn say(&mut self, command: u8, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut packet = Vec::new();
        write(&mut packet, command, &[data]);
        self.session.receive(&packet);
        self.pump()
    }

    fn pump(&mut self) -> Vec<(u8, Vec<u8>)> {
        while let Some(event) = self.session.poll() {
            match event {
                SessionEvent::Store(bytes) => self.mail.extend(bytes),
                SessionEvent::EndOfMessage(completed) => self.completed.push(*completed),
                SessionEvent::Rejected(completed, reply) => self.rejected.push((*completed, reply)),
                SessionEvent::Abort => {
                    self.aborted += 1;
                    self.mail.clear();
                }
                SessionEvent::Close => self.closed = true,
            }
        }
        let mut packets = Packets::default();
        packets.push(&self.session.transmit().unwrap_or_default());
        let mut out = Vec::new();
        while let Some(packet) = packets.next().unwrap() {
            out.push((packet.command, packet.data));
        }
        out
    }

    fn answer(&mut self, answer: &Answer) -> (bool, Vec<(u8, Vec<u8>)>) {
        let made = self.session.answer(answer).is_ok();
        (made, self.pump())
    }

    /// The mail is taken with these edits.
    fn take(&mut self, edits: Vec<Edit>) -> (bool, Vec<(u8, Vec<u8>)>) {
        let mail = self.mail.clone();
        self.answer(&Answer::Edits(mail.into(), edits))
    }

    /// A whole mail up to its end.
    fn whole(&mut self) {
        self.say(b'C', b"mx.example\x004\x04\xd2192.0.2.1\0");
        self.say(b'H', b"client.example\0");
        self.say(b'M', b"<a@example.org>\0BODY=8BITMIME\0SIZE=12\0ENVID=x\0");
        self.say(b'R', b"<b@example.jp>\0NOTIFY=NEVER\0");
        self.say(b'L', b"Subject\0 one\n two\0");
        self.say(b'L', b"X-Kenin-Verdict\0 forged\0");
        self.say(b'L', b"x-kenin-verdict \0forged too\0");
        self.say(b'N', b"");
        self.say(b'B', b"line\r\n");
        self.say(b'E', b"last\r\n");
    }
}

#[test]
fn nothing_is_asked_for_that_is_not_used() {
    let mut bench = Bench::new();
    let said = bench.negotiate(6, ACTIONS, OFFERED);
    let [(b'O', terms)] = said.as_slice() else {
        panic!("{said:?}")
    };
    let numbers: Vec<u32> = terms
        .chunks(4)
        .map(|n| u32::from_be_bytes(n.try_into().unwrap()))
        .collect();
    // Add and change header fields; no unknown commands, no DATA, no answers, exact header bytes.
    assert_eq!(numbers, [6, 0x11, 0x1f_f380]);
    // What an older MTA does not offer is not asked for; what a newer one is, is not spoken.
    let mut bench = Bench::new();
    let said = bench.negotiate(2, 0x3f, 0x7f);
    assert_eq!(said[0].1[..4], [0, 0, 0, 2]);
    assert_eq!(said[0].1[8..], [0, 0, 0, 0]);
    let mut bench = Bench::new();
    assert_eq!(bench.negotiate(7, ACTIONS, OFFERED)[0].1[3], 6);
}

#[test]
fn an_mta_that_cannot_do_what_is_needed_is_told_nothing_false() {
    for (version, actions, wanted) in [
        (1, ACTIONS, ProtocolError::Version(1)),
        (6, 0x01, ProtocolError::NoHeaderChanges),
        (6, 0x10, ProtocolError::NoHeaderChanges),
    ] {
        let mut bench = Bench::new();
        assert!(bench.negotiate(version, actions, OFFERED).is_empty());
        assert!(bench.closed);
        assert_eq!(bench.session.trouble(), Some(wanted));
    }
}

#[test]
fn a_mail_is_put_together_as_it_was() {
    let mut bench = Bench::ready();
    bench.say(b'D', b"Cj\0mx.example.jp\0{daemon_name}\0ORIGINATING\0");
    bench.say(b'D', b"M{auth_authen}\0alice\0i\x004F1\0");
    bench.say(b'D', b"H{tls_version}\0TLSv1.3\0{cipher}\0X\0");
    bench.whole();
    let completed = bench.completed.pop().unwrap();
    let mail = "Subject: one\r\n two\r\nX-Kenin-Verdict: forged\r\n\
                x-kenin-verdict :forged too\r\n\r\nline\r\nlast\r\n";
    assert_eq!(String::from_utf8_lossy(&bench.mail), mail);
    assert_eq!(completed.size, mail.len() as u64);
    let envelope = completed.envelope;
    assert_eq!(envelope.mail_from, "a@example.org");
    assert_eq!(envelope.body, Body::EightBitMime);
    assert_eq!(
        (envelope.size, envelope.envid.as_deref()),
        (Some(12), Some("x"))
    );
    assert_eq!(envelope.rcpt_to[0].address, "b@example.jp");
    assert_eq!(envelope.rcpt_to[0].notify.as_deref(), Some("NEVER"));
    assert_eq!(envelope.helo, "client.example");
    assert_eq!(envelope.client, "192.0.2.1:1234".parse().unwrap());
    assert_eq!(envelope.tls.as_deref(), Some("TLSv1.3 X"));
    assert_eq!(envelope.authenticated.as_deref(), Some("alice"));
    assert_eq!(envelope.daemon.as_deref(), Some("ORIGINATING"));
    assert_eq!(envelope.xforward.ident.as_deref(), Some("4F1"));
    assert_eq!(envelope.xforward.name.as_deref(), Some("mx.example"));
}

#[test]
fn forged_fields_go_and_new_ones_come_first() {
    let mut bench = Bench::ready();
    bench.whole();
    let start = "Subject: one\r\n two\r\n".len();
    let end = bench
        .mail
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap()
        + 2;
    let edits = vec![
        Edit::Remove(start..end),
        Edit::Prepend(b"Authentication-Results: x;\r\n smime=pass 100%\r\nX-Two: y\r\n".to_vec()),
    ];
    let (made, said) = bench.take(edits);
    assert!(made);
    let wanted: [(u8, &[u8]); 5] = [
        (b'm', b"\0\0\0\x02x-kenin-verdict\0\0"),
        (b'm', b"\0\0\0\x01X-Kenin-Verdict\0\0"),
        (b'i', b"\0\0\0\0X-Two\0 y\0"),
        (
            b'i',
            b"\0\0\0\0Authentication-Results\0 x;\n smime=pass 100%\0",
        ),
        (b'a', b""),
    ];
    let said: Vec<(u8, &[u8])> = said.iter().map(|(c, d)| (*c, d.as_slice())).collect();
    assert_eq!(said, wanted);
    assert!(!bench.session.has_mail());
}

#[test]
fn a_tagged_subject_keeps_its_place_and_its_folds() {
    // The MTA that keeps a space for itself has two of them here.
    for offered in [OFFERED, 0] {
        let mut bench = Bench::new();
        bench.negotiate(6, ACTIONS, offered);
        bench.whole();
        let place = memchr::memmem::find(&bench.mail, b"one").unwrap();
        let (made, said) = bench.take(vec![Edit::Insert(place, b"[t] ".to_vec())]);
        assert!(made);
        let wanted = b"\0\0\0\x01Subject\0 [t] one\n two\0".to_vec();
        assert_eq!(said[0], (b'm', wanted), "{offered}");
    }
}

#[test]
fn without_exact_header_bytes_the_mta_adds_the_space() {
    let mut bench = Bench::new();
    bench.negotiate(2, ACTIONS, 0);
    bench.whole();
    let edits = vec![Edit::Prepend(b"A: b\r\n".to_vec())];
    let (_, said) = bench.take(edits);
    assert_eq!(said[0], (b'i', b"\0\0\0\0A\0b\0".to_vec()));
}

/// What is signed or encrypted of the header is what the next one sees of it, and DKIM's `simple` holds.
#[test]
fn the_space_that_an_mta_keeps_for_itself_stands_in_the_mail() {
    for (offered, value, field) in [
        (0, &b"A\0b\n c\0"[..], "A: b\r\n c\r\n"),
        (0, b"A\0 b\0", "A:  b\r\n"),
        (0, b"A\0\0", "A:\r\n"),
        (0, b"A\0\n b\0", "A:\r\n b\r\n"),
        (0, b"A\0\tb\0", "A:\tb\r\n"),
        (OFFERED, b"A\0b\0", "A:b\r\n"),
        (OFFERED, b"A\0 b\0", "A: b\r\n"),
    ] {
        let mut bench = Bench::new();
        bench.negotiate(6, ACTIONS, offered);
        bench.say(b'M', b"<a@b>\0");
        bench.say(b'R', b"<c@d>\0");
        bench.say(b'L', value);
        bench.say(b'N', b"");
        assert_eq!(String::from_utf8_lossy(&bench.mail), format!("{field}\r\n"));
    }
}

#[test]
fn where_an_answer_is_expected_there_is_one() {
    let mut bench = Bench::new();
    bench.negotiate(6, ACTIONS, 0);
    for (command, data) in [
        (b'C', &b"h\0U"[..]),
        (b'H', b"c\0"),
        (b'M', b"<>\0"),
        (b'R', b"<b@c>\0"),
        (b'T', b""),
        (b'L', b"A\0b\0"),
        (b'N', b""),
        (b'B', b"x\r\n"),
        (b'U', b"what\0"),
    ] {
        assert_eq!(bench.say(command, data), [(b'c', Vec::new())], "{command}");
    }
    assert!(bench.say(b'D', b"Ei\x001\0").is_empty());
    assert!(bench.say(b'E', b"").is_empty());
    assert_eq!(bench.completed[0].envelope.mail_from, "");
    assert_eq!(bench.completed[0].envelope.client, PEER);
    bench.session.progress();
    assert_eq!(bench.pump(), [(b'p', Vec::new())]);
}

#[test]
fn a_refusal_is_told_as_it_is() {
    let mut bench = Bench::ready();
    bench.whole();
    let reply = Reply::new(550, "5.7.7", "100% bad");
    let (made, said) = bench.answer(&Answer::Refuse(reply));
    assert!(made);
    assert_eq!(said, [(b'y', b"550 5.7.7 100%% bad\0".to_vec())]);
    // The session goes on with the next mail.
    bench.mail.clear();
    bench.whole();
    assert_eq!(bench.completed.len(), 2);
}

#[test]
fn an_edit_that_cannot_be_told_is_a_temporary_failure() {
    let mut bench = Bench::ready();
    bench.whole();
    let (made, said) = bench.take(vec![Edit::Remove(3..5)]);
    assert!(!made);
    assert_eq!(said[0].0, b'y');
    assert!(said[0].1.starts_with(b"451 4.3.0 "));
}

#[test]
fn nothing_happens_while_an_answer_is_awaited() {
    let mut bench = Bench::ready();
    bench.whole();
    let mail = bench.mail.clone();
    // An MTA that does not wait would mix two mails.
    bench.say(b'M', b"<x@y>\0");
    bench.say(b'L', b"A\0b\0");
    assert_eq!((bench.completed.len(), &bench.mail), (1, &mail));
    bench.take(Vec::new());
    assert_eq!(bench.completed.len(), 1);
    assert!(bench.session.has_mail(), "the next one has begun");
}

#[test]
fn limits_hold_at_their_edges() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    // "A:b\r\n" and the empty line, then the body.
    let case = |limits: Limits, fields: usize, body: &[u8]| {
        let mut bench = Bench::with(limits);
        bench.negotiate(6, ACTIONS, OFFERED);
        bench.say(b'M', b"<a@b>\0");
        bench.say(b'R', b"<c@d>\0");
        for _ in 0..fields {
            bench.say(b'L', b"A\0b\0");
        }
        bench.say(b'N', b"");
        bench.say(b'B', body);
        let said = bench.say(b'E', b"");
        match bench.rejected.pop() {
            None => assert_eq!(bench.completed.len(), 1),
            Some((_, reply)) => assert_eq!(said[0].1, format!("{reply}\0").into_bytes()),
        }
        said.first().map_or("", |(_, text)| {
            if text.starts_with(b"552 5.3.4") {
                "big"
            } else {
                "many"
            }
        })
    };
    assert_eq!(case(limits(|l| l.message_size = 10), 1, b"xyz"), "");
    assert_eq!(case(limits(|l| l.message_size = 9), 1, b"xyz"), "big");
    assert_eq!(case(limits(|l| l.header_size = 8), 2, b""), "");
    assert_eq!(case(limits(|l| l.header_size = 6), 2, b""), "big");
    assert_eq!(case(limits(|l| l.header_fields = 2), 2, b""), "");
    assert_eq!(case(limits(|l| l.header_fields = 1), 2, b""), "many");
}

#[test]
fn what_does_not_belong_ends_the_session() {
    for command in [b'R', b'L', b'N', b'B', b'E', b'O', b'?'] {
        let mut bench = Bench::ready();
        bench.say(command, b"a\0b\0");
        assert!(bench.closed, "{}", char::from(command));
        assert_eq!(
            bench.session.trouble(),
            Some(ProtocolError::OutOfPlace(char::from(command)))
        );
    }
    let mut bench = Bench::new();
    bench.say(b'M', b"<a@b>\0");
    assert!(bench.closed, "before the negotiation");
    for (command, data) in [(b'O', &b"short"[..]), (b'C', b"h"), (b'D', b"")] {
        let mut bench = if command == b'O' {
            Bench::new()
        } else {
            Bench::ready()
        };
        bench.say(command, data);
        assert_eq!(
            bench.session.trouble(),
            Some(ProtocolError::Malformed(char::from(command)))
        );
    }
    let mut bench = Bench::ready();
    bench.session.receive(&[0xff; 8]);
    bench.pump();
    assert!(bench.closed);
}

#[test]
fn a_mail_that_is_given_up_leaves_nothing() {
    for (command, data) in [
        (b'A', &b""[..]),
        (b'M', b"<x@y>\0"),
        (b'K', b""),
        (b'Q', b""),
    ] {
        let mut bench = Bench::ready();
        bench.say(b'M', b"<a@b>\0");
        bench.say(b'R', b"<c@d>\0");
        bench.say(b'L', b"A\0b\0");
        bench.say(b'N', b"");
        bench.say(command, data);
        assert_eq!(bench.aborted, 1, "{}", char::from(command));
        assert!(bench.mail.is_empty());
        assert_eq!(bench.closed, command == b'Q');
    }
    // The next client is not taken for the last.
    let mut bench = Bench::ready();
    bench.say(b'D', b"M{auth_authen}\0alice\0");
    bench.whole();
    bench.take(Vec::new());
    bench.say(b'K', b"");
    bench.say(b'M', b"<a@b>\0");
    bench.say(b'E', b"");
    let last = bench.completed.pop().unwrap().envelope;
    assert_eq!((last.authenticated, last.helo.as_str()), (None, ""));
    assert_eq!(last.client, PEER);
}

#[test]
fn macros_of_the_last_mail_are_not_those_of_this_one() {
    let mut bench = Bench::ready();
    bench.say(b'D', b"M{auth_authen}\0alice\0");
    bench.whole();
    bench.take(Vec::new());
    bench.say(b'D', b"Mi\x002\0");
    bench.say(b'M', b"<a@b>\0");
    bench.say(b'E', b"");
    assert_eq!(bench.completed[1].envelope.authenticated, None);
    bench.take(Vec::new());
    // Not even where nothing is said in its stead.
    bench.say(b'M', b"<a@b>\0");
    bench.say(b'E', b"");
    assert_eq!(bench.completed[2].envelope.xforward.ident, None);
    bench.take(Vec::new());
    // Nor those of one that was given up before it began.
    bench.say(b'D', b"M{auth_authen}\0alice\0");
    bench.say(b'A', b"");
    bench.say(b'M', b"<a@b>\0");
    bench.say(b'E', b"");
    assert_eq!(bench.completed[3].envelope.authenticated, None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), 0..20),
    ) {
        let mut bench = Bench::ready();
        for piece in &pieces {
            bench.session.receive(piece);
            bench.pump();
        }
    }

    #[test]
    fn any_commands_in_any_order_are_survived(
        commands in proptest::collection::vec(("[ABCDEHKLMNOQRTU]", proptest::collection::vec(proptest::prelude::any::<u8>(), 0..30)), 0..40),
    ) {
        let mut bench = Bench::ready();
        for (command, data) in &commands {
            bench.say(command.as_bytes()[0], data);
            let _ = bench.session.answer(&Answer::Edits(Vec::new().into(), Vec::new()));
        }
    }
}

#[test]
fn only_a_trusted_peer_says_who_a_client_proved_to_be() {
    let config = MilterConfig {
        trusted_peers: vec!["127.0.0.0/8".parse().unwrap()],
        ..MilterConfig::default()
    };
    assert!(config.trusts(PEER));
    assert!(config.trusts(NOBODY));
    assert!(!config.trusts("192.0.2.1:7".parse().unwrap()));
    let nobody = MilterConfig::default();
    assert!(!nobody.trusts(PEER) && nobody.trusts(NOBODY));
}
