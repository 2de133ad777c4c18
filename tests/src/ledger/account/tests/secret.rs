//! Of what is for some eyes only.

use super::*;

const MUST: &str = "ann@must.example";
const HUSHED: &str = "451 4.3.0 Try again later";

fn inside() -> [u8; 32] {
    openssl::sha::sha256(b"inside\r\n")
}

/// One answer for all.
fn said(to: &[&str], line: &str) -> Try {
    each(to, &vec![Ok(reply(line)); to.len()])
}

/// What is wrong where a mail came encrypted to these, or not, and is opened for some.
fn found(
    (to, came_encrypted, opens): (&[&str], bool, &[&str]),
    tries: Vec<Try>,
    records: &[Record],
    circumstances: Circumstances,
) -> Vec<Invariant> {
    let ledger = Ledger::default();
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new("sender@example.jp", READER)
    };
    let raw = [b"Subject: Hello\r\n\r\n", BODY].concat();
    let opens: Vec<String> = opens.iter().map(|to| (*to).to_owned()).collect();
    let secret = Secret {
        came_encrypted,
        named: opens.clone(),
        opens,
        inside: inside(),
    };
    ledger.open_secret("<1@x>", &envelope, &raw, secret);
    for one in tries {
        ledger.tried("<1@x>", one);
    }
    let account = ledger.check(records, &circumstances);
    account.violations.iter().map(|v| v.invariant).collect()
}

/// A copy that was opened.
fn open() -> Record {
    Record {
        body: inside(),
        shows: true,
        ..copy("none")
    }
}

/// One that stays as it came.
fn closed(to: &str) -> Record {
    Record {
        stamps: Vec::new(),
        to: vec![to.to_owned()],
        ..copy("none")
    }
}

/// One that was encrypted.
fn encrypted() -> Record {
    Record {
        subject: "[...]".to_owned(),
        to: vec![MUST.to_owned()],
        inside: Some(inside()),
        body: [7; 32],
        ..copy("none")
    }
}

#[test]
fn each_gets_what_is_for_their_eyes() {
    let to = [READER, TAGGED];
    let with = |one: Record, other: Record| {
        let tries = vec![said(&to, TAKEN)];
        found(
            (&to, true, &[READER]),
            tries,
            &[one, other],
            Circumstances::default(),
        )
    };
    assert_eq!(with(open(), closed(TAGGED)), []);
    let leaked = Record {
        shows: true,
        ..closed(TAGGED)
    };
    let inside_only = [Invariant::I5OpenedStaysInside];
    assert_eq!(with(open(), leaked), inside_only);
    // Opened for whom it is not.
    let others = Record {
        to: vec![TAGGED.to_owned()],
        ..open()
    };
    assert!(with(open(), others).contains(&Invariant::I5OpenedStaysInside));
    // Not opened for whom it is.
    let kept = with(closed(READER), closed(TAGGED));
    assert!(kept.contains(&Invariant::I1NothingIsLost), "{kept:?}");
    // Somebody else's.
    let other = Record {
        body: [1; 32],
        ..open()
    };
    assert_eq!(with(other, closed(TAGGED)), [Invariant::I1NothingIsLost]);
    let mut both = open();
    both.to.push(TAGGED.to_owned());
    let together = with(both.clone(), both);
    assert!(together.contains(&Invariant::I2NothingRefusedArrives));
    let mut notice = notice("<d@x>");
    notice.shows = true;
    let told = with(open(), notice);
    assert!(told.contains(&Invariant::I5OpenedStaysInside), "{told:?}");
}

#[test]
fn what_must_be_encrypted_is() {
    let with = |record: Record| {
        let tries = vec![said(&[MUST], TAKEN)];
        found(
            (&[MUST], false, &[]),
            tries,
            &[record],
            Circumstances::default(),
        )
    };
    assert_eq!(with(encrypted()), []);
    let clear = Record {
        shows: true,
        ..encrypted()
    };
    assert_eq!(with(clear), [Invariant::I4MustIsEncrypted]);
    let for_others = Record {
        inside: None,
        ..encrypted()
    };
    assert_eq!(with(for_others), [Invariant::I1NothingIsLost]);
    let told = Record {
        subject: "Hello".to_owned(),
        ..encrypted()
    };
    assert_eq!(with(told), [Invariant::I6PassIsTrue]);
}

#[test]
fn what_is_held_is_there_and_what_lies_about_is_noticed() {
    let with = |circumstances: Circumstances| {
        let tries = vec![said(&[READER], TAKEN)];
        found((&[READER], true, &[READER]), tries, &[], circumstances)
    };
    let held = |id: &str, body| Circumstances {
        held: vec![HeldMail {
            id: id.to_owned(),
            body,
            to: vec![READER.to_owned()],
        }],
        ..Circumstances::default()
    };
    let lost = [Invariant::I1NothingIsLost];
    assert_eq!(with(Circumstances::default()), lost);
    assert_eq!(with(held("<1@x>", inside())), []);
    assert_eq!(with(held("<1@x>", [1; 32])), lost);
    let nobodys = with(held("<2@x>", inside()));
    assert!(nobodys.contains(&Invariant::I2NothingRefusedArrives));
    let leaking = Circumstances {
        leaks: vec!["state/temp".to_owned()],
        ..held("<1@x>", inside())
    };
    assert_eq!(with(leaking), [Invariant::I5OpenedStaysInside]);
}

#[test]
fn a_reply_that_hides_a_loss_needs_one() {
    let with = |opens: &[&str], hop_breaks| {
        let tries = vec![said(&[READER], HUSHED), said(&[READER], TAKEN)];
        let twice = match opens.is_empty() {
            true => [closed(READER), closed(READER)],
            false => [open(), open()],
        };
        let circumstances = Circumstances {
            hop_breaks,
            ..Circumstances::default()
        };
        found((&[READER], true, opens), tries, &twice, circumstances)
    };
    let duplicate = [Invariant::I3DuplicatesWereInDoubt];
    assert_eq!(with(&[READER], 1), []);
    assert_eq!(with(&[READER], 0), duplicate);
    // Of other mail it is told.
    assert_eq!(with(&[], 1), duplicate);
}
