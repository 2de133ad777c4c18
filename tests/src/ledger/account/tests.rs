//! The checker catches what it is there to catch: each violation is planted once.

use super::*;
use crate::client::{Reply, Silence};
use crate::sink::Notice;

mod secret;

const BODY: &[u8] = b"body\r\n";

fn reply(line: &str) -> Reply {
    Reply {
        code: line[..3].parse().unwrap(),
        lines: vec![line.to_owned()],
    }
}

/// An attempt with an answer for each of these.
fn each(to: &[&str], answers: &[Result<Reply, Silence>]) -> Try {
    let answers = to
        .iter()
        .map(|to| (*to).to_owned())
        .zip(answers.iter().cloned());
    Try {
        dot: true,
        answer: Err(Silence::Closed),
        each: answers.collect(),
        one_by_one: true,
        heard: Vec::new(),
    }
}

/// The same answer for all.
fn one(dot: bool, answer: Result<Reply, Silence>) -> Try {
    let answers = [&answer; ALL.len()].map(Clone::clone);
    Try {
        dot,
        heard: answer.iter().cloned().collect(),
        one_by_one: false,
        ..each(&ALL, &answers)
    }
}

fn told(line: &str) -> Try {
    one(true, Ok(reply(line)))
}

fn silent(dot: bool) -> Try {
    one(dot, Err(Silence::Closed))
}

fn copy(stamp: &str) -> Record {
    Record {
        id: "<1@x>".to_owned(),
        body: openssl::sha::sha256(BODY),
        stamps: vec![format!("smime.gw.example.jp; smime={stamp}")],
        subject: "Hello".to_owned(),
        to: vec![READER.to_owned()],
        notice: None,
        shows: false,
        inside: None,
    }
}

const READER: &str = "reader@example.jp";
const TAGGED: &str = "one@tagged.example";
const STRICT: &str = "two@strict.example";
const ALL: [&str; 3] = [READER, TAGGED, STRICT];

/// An account of a mail to one, or to all.
fn opened(truth: Truth, to: &[&str]) -> Ledger {
    let ledger = Ledger::default();
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new("sender@example.jp", READER)
    };
    let raw = [b"Subject: Hello\r\n\r\n", BODY].concat();
    ledger.open("<1@x>", truth, &envelope, &raw);
    ledger
}

const TAKEN: &str = "250 2.0.0 Ok: kept";
const LATER: &str = "451 4.3.2 System busy, try again later";
const IN_DOUBT: &str = "451 4.4.2 Connection lost after end of data";

fn account(tries: Vec<Try>, records: &[Record], circumstances: &Circumstances) -> Vec<Invariant> {
    let ledger = opened(Truth::Good, &[READER]);
    for one in tries {
        ledger.tried("<1@x>", one);
    }
    let account = ledger.check(records, circumstances);
    account.violations.iter().map(|v| v.invariant).collect()
}

fn found(tries: Vec<Try>, copies: usize) -> Vec<Invariant> {
    let circumstances = Circumstances {
        answers: Answers::new(&[TAKEN]),
        hop_breaks: 1,
        ..Circumstances::default()
    };
    account(tries, &vec![copy("pass"); copies], &circumstances)
}

#[test]
fn what_may_be_balances() {
    assert_eq!(found(vec![told(TAKEN)], 1), []);
    assert_eq!(found(vec![told(LATER)], 0), []);
    assert_eq!(found(vec![silent(false), told(LATER), told(TAKEN)], 1), []);
    assert_eq!(found(vec![silent(true)], 0), []);
    assert_eq!(found(vec![silent(true)], 1), []);
    assert_eq!(found(vec![silent(true), told(TAKEN)], 2), []);
    assert_eq!(found(vec![told(IN_DOUBT), told(TAKEN)], 2), []);
    assert_eq!(found(vec![told(IN_DOUBT)], 1), []);
}

#[test]
fn a_false_250_is_a_loss() {
    assert_eq!(found(vec![told(TAKEN)], 0), [Invariant::I1NothingIsLost]);
    let twice = vec![told(TAKEN), told(TAKEN)];
    assert_eq!(found(twice, 1), [Invariant::I1NothingIsLost]);
}

#[test]
fn what_was_refused_may_not_arrive() {
    let refused = [Invariant::I2NothingRefusedArrives];
    assert_eq!(found(vec![told(LATER)], 1), refused);
    assert_eq!(found(vec![silent(false)], 1), refused);
    assert_eq!(found(vec![silent(true), told(LATER)], 2), refused);
    assert_eq!(found(vec![], 1), refused);
    let mut stray = copy("pass");
    stray.id = "<2@x>".to_owned();
    let circumstances = Circumstances::default();
    assert_eq!(account(vec![], &[stray], &circumstances), refused);
}

#[test]
fn a_duplicate_has_to_have_been_in_doubt() {
    let duplicate = [Invariant::I3DuplicatesWereInDoubt];
    assert_eq!(found(vec![told(TAKEN)], 2), duplicate);
    assert_eq!(found(vec![told(LATER), told(TAKEN)], 2), duplicate);
    assert_eq!(found(vec![silent(true), told(TAKEN)], 3), duplicate);
}

#[test]
fn a_stamp_has_to_be_there_and_true() {
    let circumstances = Circumstances {
        answers: Answers::new(&[TAKEN]),
        ..Circumstances::default()
    };
    let untrue = [Invariant::I6PassIsTrue];
    let one = |record| account(vec![told(TAKEN)], &[record], &circumstances);
    assert_eq!(one(copy("fail")), untrue);
    let mut unstamped = copy("pass");
    unstamped.stamps.clear();
    assert_eq!(one(unstamped), untrue);
    let mut twice = copy("pass");
    twice.stamps.push(twice.stamps[0].clone());
    assert_eq!(one(twice), untrue);
    let ledger = opened(Truth::NotGood, &[READER]);
    ledger.tried("<1@x>", told(TAKEN));
    assert_eq!(
        ledger.check(&[copy("pass")], &circumstances).violations[0].invariant,
        Invariant::I6PassIsTrue
    );
    assert!(ledger.check(&[copy("fail")], &circumstances).balanced());
    let ledger = opened(Truth::Unsure, &[READER]);
    ledger.tried("<1@x>", told(TAKEN));
    for (stamp, balanced) in [("pass", true), ("temperror", true), ("fail", false)] {
        let account = ledger.check(&[copy(stamp)], &circumstances);
        assert_eq!(account.balanced(), balanced, "{stamp}");
    }
}

#[test]
fn good_mail_that_could_not_be_checked_is_put_off_and_not_refused() {
    let found = |line: &str| {
        let ledger = opened(Truth::Unsure, &[STRICT]);
        ledger.tried("<1@x>", told(line));
        let account = ledger.check(&[], &Circumstances::default());
        let violations = account.violations.iter().map(|v| v.invariant);
        violations.collect::<Vec<_>>()
    };
    let later = "451 4.7.5 Revocation status unavailable, try again later: x";
    assert_eq!(found(later), []);
    let never = "550 5.7.5 Cryptographic failure: x";
    assert_eq!(found(never), [Invariant::I1NothingIsLost]);
}

#[test]
fn another_body_is_a_loss() {
    let mut other = copy("pass");
    other.body[0] ^= 1;
    let circumstances = Circumstances {
        answers: Answers::new(&[TAKEN]),
        ..Circumstances::default()
    };
    let found = account(vec![told(TAKEN)], &[other], &circumstances);
    assert_eq!(found, [Invariant::I1NothingIsLost]);
}

#[test]
fn an_unknown_reply_is_noticed() {
    let unknown = [Invariant::I8EveryReplyIsKnown];
    assert_eq!(found(vec![told("451 4.3.0 Oops")], 0), unknown);
    assert_eq!(
        found(vec![told("450 4.3.2 System busy, try again later")], 0),
        unknown
    );
    // "In doubt" without a connection that was cut is a lie.
    let circumstances = Circumstances::default();
    assert_eq!(account(vec![told(IN_DOUBT)], &[], &circumstances), unknown);
}

#[test]
fn what_is_left_open_is_noticed() {
    let circumstances = Circumstances {
        answers: Answers::new(&[TAKEN]),
        left_behind: vec!["40 descriptors".to_owned()],
        ..Circumstances::default()
    };
    let found = account(vec![told(TAKEN)], &[copy("pass")], &circumstances);
    assert_eq!(found, [Invariant::I7NothingIsLeftOpen]);
}

fn to_tagged(stamp: &str, tag: &str) -> Record {
    Record {
        subject: format!("{tag}Hello"),
        to: vec![TAGGED.to_owned()],
        ..copy(stamp)
    }
}

fn notice(id: &str) -> Record {
    Record {
        id: id.to_owned(),
        to: vec!["sender@example.jp".to_owned()],
        notice: Some(Notice {
            about: "<1@x>".to_owned(),
            failed: vec![STRICT.to_owned()],
        }),
        ..copy("none")
    }
}

/// A tampered mail to all three, and these at the sink.
fn divided(tries: Vec<Try>, records: &[Record]) -> Vec<Invariant> {
    let ledger = opened(Truth::NotGood, &ALL);
    for one in tries {
        ledger.tried("<1@x>", one);
    }
    let circumstances = Circumstances {
        answers: Answers::new(&[TAKEN, FULL]),
        hop_breaks: 1,
        ..Circumstances::default()
    };
    let account = ledger.check(records, &circumstances);
    account.violations.iter().map(|v| v.invariant).collect()
}

const FULL: &str = "452 4.2.2 Mailbox full";
const INVALID: &str = "[Signature INVALID] ";

#[test]
fn each_recipient_has_a_copy_or_the_sender_a_notification() {
    let all = || vec![copy("fail"), to_tagged("fail", INVALID), notice("<d@x>")];
    assert_eq!(divided(vec![told(TAKEN)], &all()), []);
    for missing in 0..3 {
        let mut some = all();
        some.remove(missing);
        assert_eq!(
            divided(vec![told(TAKEN)], &some),
            [Invariant::I1NothingIsLost]
        );
    }
    // Both is one too many, and he may not have it at all.
    let mut also = copy("fail");
    also.to = vec![STRICT.to_owned()];
    let found = divided(vec![told(TAKEN)], &[all(), vec![also]].concat());
    let expected = [
        Invariant::I3DuplicatesWereInDoubt,
        Invariant::I2NothingRefusedArrives,
    ];
    assert_eq!(found, expected);
    // In doubt once, once again for each; one notification that came twice is another matter.
    let twice = [all(), all()].concat();
    let mut again = twice.clone();
    again[5].id = "<e@x>".to_owned();
    assert_eq!(divided(vec![silent(true), told(TAKEN)], &again), []);
    assert_eq!(
        divided(vec![silent(true), told(TAKEN)], &twice),
        [Invariant::I3DuplicatesWereInDoubt]
    );
}

#[test]
fn who_has_it_already_does_not_get_it_again() {
    let later = || told("452 4.2.2 next hop said: Mailbox full");
    let some = [copy("fail")];
    assert_eq!(divided(vec![later(), later()], &some), []);
    let twice = [copy("fail"), copy("fail")];
    let refused = [Invariant::I2NothingRefusedArrives];
    assert_eq!(divided(vec![later(), later()], &twice), refused);
    // What Kenin could not do itself was done for nobody.
    assert_eq!(divided(vec![told(LATER)], &some), refused);
}

#[test]
fn a_recipient_with_an_answer_of_his_own_is_held_to_it() {
    let answers = |reader: &str, tagged: &str| {
        let refused = "550 5.7.7 Message integrity failure: x";
        let all = [reader, tagged, refused].map(|line| Ok(reply(line)));
        each(&ALL, &all)
    };
    let one = || answers(TAKEN, FULL);
    assert_eq!(divided(vec![one()], &[copy("fail")]), []);
    assert_eq!(divided(vec![one()], &[]), [Invariant::I1NothingIsLost]);
    let both = [copy("fail"), to_tagged("fail", INVALID)];
    assert_eq!(
        divided(vec![one()], &both),
        [Invariant::I2NothingRefusedArrives]
    );
    // The connection broke between two answers.
    let broken = [Ok(reply(TAKEN)), Err(Silence::Closed), Err(Silence::Closed)];
    assert_eq!(divided(vec![each(&ALL, &broken)], &both), []);
    // Nobody refuses a good mail, or one to a recipient without a rule, for nothing.
    let unjust = answers("550 5.7.1 No", TAKEN);
    assert_eq!(
        divided(vec![unjust], &both[1..]),
        [Invariant::I1NothingIsLost]
    );
}

#[test]
fn each_copy_is_as_its_recipients_want_it() {
    let with = |reader: Record, tagged: Record| {
        divided(vec![told(TAKEN)], &[reader, tagged, notice("<d@x>")])
    };
    let untrue = [Invariant::I6PassIsTrue];
    assert_eq!(with(copy("fail"), to_tagged("fail", "")), untrue);
    let mut tagged = copy("fail");
    tagged.subject = format!("{INVALID}Hello");
    assert_eq!(with(tagged, to_tagged("fail", INVALID)), untrue);
    let valid = to_tagged("fail", "[Signature valid] ");
    assert_eq!(with(copy("fail"), valid), untrue);
    let mut together = copy("fail");
    together.to.push(TAGGED.to_owned());
    assert_eq!(
        divided(vec![told(TAKEN)], &[together, notice("<d@x>")]),
        [Invariant::I2NothingRefusedArrives]
    );
    let mut astray = notice("<d@x>");
    astray.to = vec![READER.to_owned()];
    assert_eq!(
        divided(
            vec![told(TAKEN)],
            &[copy("fail"), to_tagged("fail", INVALID), astray]
        ),
        [Invariant::I2NothingRefusedArrives]
    );
}
