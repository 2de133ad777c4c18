//! What a milter may do beside header fields: replace the body, and have the mail held.

use super::{ACTIONS, Bench, OFFERED, PEER};
use crate::{
    Edit,
    milter::session::{Answer, Session, Untold, Wants},
    server::Limits,
};

const ALL: Wants = Wants {
    body: true,
    quarantine: true,
    sender: true,
};

#[test]
fn no_more_is_asked_for_than_is_wanted_and_offered() {
    for (wants, offered, asked) in [
        (Wants::default(), ACTIONS, 0x11),
        (ALL, ACTIONS, 0x73),
        (ALL, 0x11, 0x11),
        (ALL, 0x13, 0x13),
        (Wants { body: false, ..ALL }, ACTIONS, 0x71),
    ] {
        let mut bench = Bench::new();
        bench.session = Session::new(Limits::default(), wants, PEER);
        let said = bench.negotiate(6, offered, OFFERED);
        assert_eq!(
            said[0].1[4..8],
            u32::to_be_bytes(asked),
            "{wants:?} {offered:x}"
        );
    }
}

/// The first place of the body of [`Bench::whole`]'s mail.
fn body_of(mail: &[u8]) -> usize {
    memchr::memmem::find(mail, b"\r\n\r\n").unwrap() + 4
}

#[test]
fn a_new_body_comes_in_pieces_that_sixteen_bits_count() {
    for (size, pieces) in [
        (0, &[0][..]),
        (2, &[2]),
        (65_533, &[65_533]),
        (65_534, &[65_534]),
        (65_535, &[65_534, 1]),
        (65_536, &[65_534, 2]),
        (2 * 65_534, &[65_534, 65_534]),
        (2 * 65_534 + 1, &[65_534, 65_534, 1]),
    ] {
        let mut bench = Bench::wanting(ALL, ACTIONS);
        bench.whole();
        let mut body = vec![b'x'; size];
        if let Some(end) = body.last_chunk_mut() {
            *end = *b"\r\n";
        }
        let edit = Edit::Body(body_of(&bench.mail), body.clone().into());
        let (made, said) = bench.take(vec![edit]);
        assert!(made, "{size}");
        let (last, chunks) = said.split_last().unwrap();
        assert_eq!(last, &(b'a', Vec::new()));
        assert!(chunks.iter().all(|(command, _)| *command == b'b'));
        let sizes: Vec<usize> = chunks.iter().map(|(_, data)| data.len()).collect();
        assert_eq!(sizes, pieces, "{size}");
        let told: Vec<u8> = chunks.iter().flat_map(|(_, data)| data.clone()).collect();
        assert_eq!(told, body);
    }
}

#[test]
fn the_header_the_body_the_hold_and_then_the_answer() {
    let mut bench = Bench::wanting(ALL, ACTIONS);
    bench.whole();
    let edits = vec![
        Edit::Body(body_of(&bench.mail), b"new\r\n".to_vec().into()),
        Edit::Prepend(b"A: b\r\n".to_vec()),
        Edit::Remove(0.."Subject: one\r\n two\r\n".len()),
    ];
    let reason = format!("why\0\r\nnot \u{e4}{}", "!".repeat(300));
    let answer = Answer::Hold(bench.mail.clone().into(), edits, reason);
    let (made, said) = bench.answer(&answer);
    assert!(made);
    let commands: Vec<u8> = said.iter().map(|(command, _)| *command).collect();
    assert_eq!(commands, *b"mibqa");
    let (reason, end) = said[3].1.split_at(200);
    assert!(reason.starts_with(b"why???not ??!!"), "{reason:?}");
    assert_eq!(end, b"\0");
}

#[test]
fn another_return_path_and_octets_above_127_are_told_as_they_are() {
    for (path, told) in [
        ("", &b"<>\0"[..]),
        ("a+b@gw.example", b"<a+b@gw.example>\0"),
    ] {
        let mut bench = Bench::wanting(ALL, ACTIONS);
        bench.whole();
        let body = "Schl\u{fc}ssel\r\n".as_bytes().to_vec();
        let (made, said) = bench.take(vec![
            Edit::ReturnPath(path.to_owned()),
            Edit::Body(body_of(&bench.mail), body.clone().into()),
        ]);
        assert!(made);
        let wanted = [(b'e', told.to_vec()), (b'b', body), (b'a', Vec::new())];
        assert_eq!(said, wanted);
    }
    for bad in ["a b@x", "<a@x>", "a@x\0RET=FULL", "a@x\r\n"] {
        let mut bench = Bench::wanting(ALL, ACTIONS);
        bench.whole();
        let (made, said) = bench.take(vec![Edit::ReturnPath(bad.to_owned())]);
        assert!(!made && said[0].0 == b'y', "{bad:?}");
    }
}

/// Postfix does what it is told at once; with `default_action=accept` a connection that is cut leaves the mail as it is by then.
#[test]
fn a_cut_connection_leaves_no_opened_body_under_the_senders_return_path() {
    let mut bench = Bench::wanting(ALL, ACTIONS);
    bench.whole();
    let (made, said) = bench.take(vec![
        Edit::Body(body_of(&bench.mail), b"opened\r\n".to_vec().into()),
        Edit::Prepend(b"Subject: hidden\r\n".to_vec()),
        Edit::ReturnPath(String::new()),
    ]);
    assert!(made);
    let commands: Vec<u8> = said.iter().map(|(command, _)| *command).collect();
    assert_eq!(commands, *b"eiba");
}

#[test]
fn what_was_not_agreed_on_is_a_temporary_failure_and_nothing_else() {
    let held = |bench: &Bench| {
        let mail = bench.mail.clone().into();
        Answer::Hold(
            mail,
            vec![Edit::Prepend(b"A: b\r\n".to_vec())],
            "x".to_owned(),
        )
    };
    let replaced = |bench: &Bench| {
        let edit = Edit::Body(body_of(&bench.mail), b"new\r\n".to_vec().into());
        Answer::Edits(bench.mail.clone().into(), vec![edit])
    };
    let sent = |bench: &Bench| {
        let edit = Edit::ReturnPath(String::new());
        Answer::Edits(bench.mail.clone().into(), vec![edit])
    };
    for (wants, actions) in [(Wants::default(), ACTIONS), (ALL, 0x11)] {
        for (answer, why) in [
            (&held as &dyn Fn(&Bench) -> Answer, Untold::Quarantine),
            (&replaced, Untold::Body),
            (&sent, Untold::Sender),
        ] {
            let mut bench = Bench::wanting(wants, actions);
            bench.whole();
            let answer = answer(&bench);
            assert_eq!(bench.session.answer(&answer), Err(why));
            let said = bench.pump();
            assert_eq!(said.len(), 1);
            assert_eq!(said[0].0, b'y');
            assert!(said[0].1.starts_with(b"451 4.3.0 "));
        }
    }
}

/// What opens needs another body, and what does not open does not: whoever sent it must not learn from the answer which it was.
#[test]
fn an_mta_that_allows_too_little_gets_no_mail_that_names_keys_whether_it_opens_or_not() {
    let path = || Edit::ReturnPath(String::new());
    for (actions, why) in [
        (0x31, Untold::Sender),
        (0x33, Untold::Sender),
        (0x51, Untold::Body),
        (0x71, Untold::Body),
    ] {
        let answers: [&dyn Fn(&Bench) -> Answer; 2] = [
            &|bench: &Bench| {
                let edit = Edit::Body(body_of(&bench.mail), b"opened\r\n".to_vec().into());
                Answer::Edits(bench.mail.clone().into(), vec![edit, path()])
            },
            &|bench: &Bench| Answer::Edits(bench.mail.clone().into(), vec![path()]),
        ];
        for answer in answers {
            let mut bench = Bench::wanting(ALL, actions);
            bench.whole();
            let answer = answer(&bench);
            assert_eq!(bench.session.answer(&answer), Err(why), "{actions:x}");
            let said = bench.pump();
            assert_eq!(said.len(), 1);
            assert!(said[0].1.starts_with(b"451 4.3.0 "));
        }
    }
}
