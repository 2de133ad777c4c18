use kenin_policy::{Language, Reason};

use super::*;
use crate::protect::Fate;
use crate::substitute::tests::signed;

/// All modes give the same copy of a mail whose certificate must not be shown: it is made, looked through and
/// kept once.
#[test]
fn a_shielded_mail_is_one_group_whatever_the_modes() {
    let refuse = Act::Refuse {
        reason: Reason::NotAccepted,
        reply: Reason::NotAccepted.strict_reply().unwrap(),
        rule: 1,
    };
    let each = [
        Act::Stamp(StampMode::Headers),
        Act::Stamp(StampMode::Subject(Language::Ja)),
        refuse,
        Act::Stamp(StampMode::Folder),
        Act::Stamp(StampMode::Wrap),
        Act::Stamp(StampMode::Headers),
    ];
    let fates = [Fate::AsItIs; 6];
    let one = groups(&each, &[5], Division::Copies, Form::One, &fates);
    assert_eq!(
        one,
        [
            (Course::Stamp(StampMode::Wrap), vec![0, 1, 3, 4]),
            (Course::Refuse, vec![2]),
            (Course::Had, vec![5]),
        ]
    );
    let several = groups(&each, &[5], Division::Copies, Form::Each, &fates);
    assert_eq!(several.len(), 5);
    assert_eq!(several[0].1, [0, 3]);
    let never = groups(&each[..2], &[], Division::Never, Form::Each, &fates);
    assert_eq!(never, [(Course::Stamp(StampMode::Headers), vec![0, 1])]);
    let never = groups(&each[..2], &[], Division::Never, Form::One, &fates);
    assert_eq!(never, [(Course::Stamp(StampMode::Wrap), vec![0, 1])]);
}

/// Whoever has one body for all holds it for all; elsewhere only the copies of those for whom a rule says so are held.
#[test]
fn who_has_it_held_is_a_group_where_there_can_be_groups() {
    let hold = || Act::Hold {
        reason: Reason::NotSigned,
        mode: StampMode::Headers,
        rule: 1,
    };
    let each = [Act::Stamp(StampMode::Headers), hold(), hold()];
    let fates = [Fate::AsItIs; 3];
    for division in [Division::Copies, Division::Answers] {
        let groups = groups(&each, &[2], division, Form::Each, &fates);
        assert_eq!(
            groups,
            [
                (Course::Stamp(StampMode::Headers), vec![0]),
                (Course::Hold(StampMode::Headers), vec![1]),
                (Course::Had, vec![2]),
            ]
        );
    }
    let never = groups(&each, &[], Division::Never, Form::Each, &fates);
    assert_eq!(never, [(Course::Stamp(StampMode::Headers), vec![0, 1, 2])]);
}

/// It stayed in memory then, with as many others as there are messages.
#[test]
fn a_large_body_that_cannot_be_kept_is_not_relayed() {
    let dir = tempfile::tempdir().unwrap();
    let made = |octets: usize| {
        let copy = Delivered {
            body: Some((0, vec![b'x'; octets])),
            wrapped: true,
            ..Delivered::default()
        };
        let made = Made::of(Course::Stamp(StampMode::Wrap), copy);
        assert_eq!(made.wrapped, Some(true));
        Decided {
            treatment: Treatment::Relay(made.edits),
            bodies: vec![true],
            ..refusal_of(signed(), Reply::aborted(), None, Trust::Yes)
        }
    };
    let gone = dir.path().join("gone");
    for (octets, folder, mapped) in [(IN_MEMORY + 1, dir.path(), true), (IN_MEMORY, &gone, false)] {
        let kept = keep(made(octets), "id", folder);
        let Treatment::Relay(edits) = kept.treatment else {
            panic!("{:?}", kept.treatment)
        };
        let [Edit::Prepend(_), Edit::Body(0, bytes)] = edits.as_slice() else {
            panic!("{edits:?}")
        };
        assert_eq!((bytes.is_mapped(), bytes.len()), (mapped, octets));
    }
    let kept = keep(made(IN_MEMORY + 1), "id", &gone);
    assert_eq!(kept.action, "refuse");
    let Treatment::Refuse(reply) = kept.treatment else {
        panic!("{:?}", kept.treatment)
    };
    assert!(
        reply
            .to_string()
            .starts_with("451 4.3.0 Local storage error")
    );
}

/// DEC-15: what was opened lies in memory, however large it is, and whatever is around it.
#[test]
fn a_large_body_that_was_opened_goes_to_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let copy = Delivered {
        body: Some((0, vec![b'x'; IN_MEMORY + 1])),
        wrapped: true,
        ..Delivered::default()
    };
    let made = Made::opened(Course::Stamp(StampMode::Wrap), copy, None);
    let treatment = Treatment::Divide(vec![Group {
        recipients: vec![0],
        share: Share::Confide(kenin_smtp_filter::Confided {
            content: None,
            edits: made.edits,
            return_path: None,
            reason: String::new(),
        }),
    }]);
    let decided = Decided {
        treatment,
        ..refusal_of(signed(), Reply::aborted(), None, Trust::Yes)
    };
    let Treatment::Divide(groups) = keep(decided, "id", dir.path()).treatment else {
        panic!("not divided")
    };
    let Share::Confide(confided) = &groups[0].share else {
        panic!("not confided")
    };
    let body = confided.edits.iter().find_map(|edit| match edit {
        Edit::Body(_, body) => Some(body),
        _ => None,
    });
    let body = body.unwrap();
    assert!(!body.is_mapped() && body.len() == IN_MEMORY + 1);
}

/// Where there would be too many copies nobody has it opened, nor where a rule refuses it.
#[test]
fn what_nobody_gets_opened_is_not_said_to_be_opened() {
    let share = |content: Option<&[u8]>| {
        Share::Confide(kenin_smtp_filter::Confided {
            content: content.map(|content| content.to_vec().into()),
            edits: Vec::new(),
            return_path: None,
            reason: String::new(),
        })
    };
    let shares = [
        share(Some(&b"A: b\r\n\r\n"[..])),
        share(None),
        share(None),
        Share::Relay(Vec::new()),
    ];
    let groups = shares.into_iter().enumerate();
    let groups = groups.map(|(place, share)| Group {
        recipients: vec![place],
        share,
    });
    let decided = Decided {
        treatment: Treatment::Divide(groups.collect()),
        ..refusal_of(signed(), Reply::aborted(), None, Trust::Yes)
    };
    let opening = crate::opening::Opening {
        states: vec![
            (0, State::Opened),
            (1, State::Opened),
            (2, State::Opened),
            (3, State::Throttled),
        ],
        ..crate::opening::Opening::default()
    };
    assert_eq!(
        confided::states(&opening, &decided),
        [
            State::Opened,
            State::Undecryptable,
            State::Undecryptable,
            State::Throttled
        ]
    );
}

/// Each has the copy that was planned, shown as the rules say; where there would be too many, in the plainest form.
#[test]
fn the_plan_divides_those_whom_the_rules_treat_alike() {
    let stamp = |mode| Act::Stamp(mode);
    let (headers, tag) = (StampMode::Headers, StampMode::Subject(Language::Ja));
    let each = [
        stamp(headers),
        stamp(headers),
        stamp(tag),
        stamp(headers),
        stamp(headers),
    ];
    let fates = [
        Fate::Copy(0),
        Fate::AsItIs,
        Fate::Copy(0),
        Fate::Refused(1),
        Fate::Copy(0),
    ];
    let found = groups(&each, &[3], Division::Copies, Form::Each, &fates);
    assert_eq!(
        found,
        [
            (Course::Protect(headers, 0), vec![0, 4]),
            (Course::Stamp(headers), vec![1]),
            (Course::Protect(tag, 0), vec![2]),
            (Course::Had, vec![3]),
        ]
    );
    let denied = groups(&each, &[], Division::Answers, Form::Each, &fates);
    assert_eq!(denied[3], (Course::Denied(1), vec![3]));
    let (many, copies): (Vec<Act>, Vec<Fate>) = (0..18)
        .map(|at| {
            (
                stamp(if at % 2 == 0 { tag } else { headers }),
                Fate::Copy(at / 2),
            )
        })
        .unzip();
    let found = groups(&many, &[], Division::Copies, Form::Each, &copies);
    assert_eq!(found.len(), 9);
    assert_eq!(found[8], (Course::Protect(headers, 8), vec![16, 17]));
}

/// A mail that had to be wrapped, and that nobody got to in time, was refused for good.
#[test]
fn what_took_too_long_to_be_wrapped_is_put_off() {
    let said = |reason| kept_back(reason, "01").to_string();
    assert_eq!(
        said(Reason::LimitTime),
        "451 4.3.2 System busy, try again later"
    );
    for (reason, begin) in [
        (Reason::ClockNotTrusted, "451 4.7.5 "),
        (Reason::LimitMime, "550 5.6.0 "),
        (Reason::NotAccepted, "550 5.7.1 "),
    ] {
        assert!(said(reason).starts_with(begin), "{}", said(reason));
    }
}
