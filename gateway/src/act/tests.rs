use kenin_policy::{Language, Reason};

use super::*;

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
    let one = groups(&each, &[5], Division::Copies, Form::One);
    assert_eq!(
        one,
        [
            (Course::Stamp(StampMode::Wrap), vec![0, 1, 3, 4]),
            (Course::Refuse, vec![2]),
            (Course::Had, vec![5]),
        ]
    );
    let several = groups(&each, &[5], Division::Copies, Form::Each);
    assert_eq!(several.len(), 5);
    assert_eq!(several[0].1, [0, 3]);
    let never = groups(&each[..2], &[], Division::Never, Form::Each);
    assert_eq!(never, [(Course::Stamp(StampMode::Headers), vec![0, 1])]);
    let never = groups(&each[..2], &[], Division::Never, Form::One);
    assert_eq!(never, [(Course::Stamp(StampMode::Wrap), vec![0, 1])]);
}

/// It stayed in memory then, with as many others as there are messages.
#[test]
fn a_large_body_that_cannot_be_kept_is_not_relayed() {
    let dir = tempfile::tempdir().unwrap();
    let large = Delivered {
        body: Some((0, vec![b'x'; IN_MEMORY + 1])),
        wrapped: true,
        ..Delivered::default()
    };
    let made = Made::of(StampMode::Wrap, large.clone(), dir.path()).unwrap();
    assert_eq!(made.wrapped, Some(true));
    let [Edit::Prepend(_), Edit::Body(0, bytes)] = made.edits.as_slice() else {
        panic!("{:?}", made.edits)
    };
    assert!(bytes.is_mapped() && bytes.len() == IN_MEMORY + 1);
    let gone = dir.path().join("gone");
    let failed = Made::of(StampMode::Wrap, large, &gone).err().unwrap();
    assert!(matches!(failed, TempBodyError::Storage(_)));
    let small = Delivered {
        body: Some((0, vec![b'x'; IN_MEMORY])),
        ..Delivered::default()
    };
    assert!(Made::of(StampMode::Wrap, small, &gone).is_ok());
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
