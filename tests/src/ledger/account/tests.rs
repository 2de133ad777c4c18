//! The checker catches what it is there to catch: each violation is planted once.

use super::*;

const BODY: &[u8] = b"body\r\n";

fn reply(line: &str) -> Reply {
    Reply {
        code: line[..3].parse().unwrap(),
        lines: vec![line.to_owned()],
    }
}

fn told(line: &str) -> Try {
    Try {
        dot: true,
        answer: Ok(reply(line)),
        heard: vec![reply(line)],
    }
}

fn silent(dot: bool) -> Try {
    Try {
        dot,
        answer: Err(Silence::Closed),
        heard: Vec::new(),
    }
}

fn copy(stamp: &str) -> Record {
    Record {
        id: "<1@x>".to_owned(),
        body: openssl::sha::sha256(BODY),
        stamps: vec![format!("smime.gw.example.jp; smime={stamp}")],
    }
}

const TAKEN: &str = "250 2.0.0 Ok: kept";
const LATER: &str = "451 4.3.2 System busy, try again later";
const IN_DOUBT: &str = "451 4.4.2 Connection lost after end of data";

fn account(tries: Vec<Try>, records: &[Record], circumstances: &Circumstances) -> Vec<Invariant> {
    let ledger = Ledger::default();
    ledger.open("<1@x>", Truth::Good, Some(BODY));
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
    let ledger = Ledger::default();
    ledger.open("<1@x>", Truth::NotGood, Some(BODY));
    ledger.tried("<1@x>", told(TAKEN));
    assert_eq!(
        ledger.check(&[copy("pass")], &circumstances).violations[0].invariant,
        Invariant::I6PassIsTrue
    );
    assert!(ledger.check(&[copy("fail")], &circumstances).balanced());
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
        found(vec![told("550 5.3.2 System busy, try again later")], 0),
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
