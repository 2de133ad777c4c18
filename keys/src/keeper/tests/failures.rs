//! What does not open, and how often: DEC-06 and what stands in its way of honest mail.

use super::*;

/// DEC-06: ten thousand changed copies of a mail for Alice from one network.
#[test]
fn ten_thousand_changed_copies_cost_twenty_operations_and_raise_one_alert() {
    let mut world = World::of(&[ALICE]);
    for _ in 0..10_000 {
        world.now += Duration::from_millis(300);
        let transaction = world.grant(&[ALICE]);
        let answer = world.unwrap(transaction, ALICE, 0);
        assert!(matches!(answer, Answer::Key(_)) || answer == TOO_MANY);
        assert_eq!(world.edge(EdgeRequest::Release(transaction)), Answer::Done);
    }
    assert_eq!(world.calls(0), 20);
    let alert = Alert::Network {
        key: world.id(0),
        network: Network::V4([192, 0, 2]),
    };
    assert_eq!(world.alerts(), [alert]);
    // Mail from elsewhere is opened as ever.
    let transaction = world.grant_from(&[ALICE], None, "203.0.113.1");
    assert!(matches!(
        world.unwrap(transaction, ALICE, 0),
        Answer::Key(_)
    ));
}

/// Good mail does not use up what is for bad mail.
#[test]
fn a_thousand_mails_that_open_are_all_opened() {
    let mut world = World::of(&[ALICE]);
    for _ in 0..1000 {
        let transaction = world.grant(&[ALICE]);
        assert!(matches!(
            world.unwrap(transaction, ALICE, 0),
            Answer::Key(_)
        ));
        assert_eq!(world.opened(transaction, ALICE, 0), Answer::Done);
        // Said twice it is not true.
        assert_eq!(world.opened(transaction, ALICE, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::NotUsed));
        world.edge(EdgeRequest::Release(transaction));
    }
    assert_eq!(world.calls(0), 1000);
}

/// Of three hundred good mails in thirty-two sessions of one network twenty stayed encrypted: those in work counted as
/// failures.
#[test]
fn many_good_mails_at_once_are_no_failures() {
    let mut world = World::of(&[ALICE]);
    let mut in_work = VecDeque::new();
    for _ in 0..300 {
        if in_work.len() == limits::MAX_IN_WORK {
            let oldest = in_work.pop_front().unwrap();
            assert_eq!(world.opened(oldest, ALICE, 0), Answer::Done);
            assert_eq!(world.edge(EdgeRequest::Release(oldest)), Answer::Done);
        }
        let transaction = world.grant(&[ALICE]);
        let answer = world.unwrap(transaction, ALICE, 0);
        assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
        in_work.push_back(transaction);
    }
    assert_eq!(world.calls(0), 300);
    assert_eq!(world.keeper.refusals(), 0);
    assert!(world.alerts().is_empty());
}

/// DEC-06: as many copies at once as can be.
#[test]
fn ten_thousand_changed_copies_at_once_cost_what_may_fail_and_what_is_in_work() {
    let mut world = World::of(&[ALICE]);
    let mut in_work = VecDeque::new();
    for _ in 0..10_000 {
        world.now += Duration::from_millis(300);
        let transaction = world.grant(&[ALICE]);
        let mut answer = world.unwrap(transaction, ALICE, 0);
        if answer == BUSY {
            let oldest: Transaction = in_work.pop_front().unwrap();
            assert_eq!(world.edge(EdgeRequest::Release(oldest)), Answer::Done);
            answer = world.unwrap(transaction, ALICE, 0);
        }
        assert!(matches!(answer, Answer::Key(_)) || answer == TOO_MANY);
        in_work.push_back(transaction);
    }
    let most = limits::PER_NETWORK - 1 + limits::MAX_IN_WORK;
    assert_eq!(world.calls(0), u64::try_from(most).unwrap());
    // Who is told to come later is not taken for one who has taken over a worker.
    let alert = Alert::Network {
        key: world.id(0),
        network: Network::V4([192, 0, 2]),
    };
    assert_eq!(world.alerts(), [alert]);
}

/// What an attacker hears is 250 or 451. Which it is must not depend on how his ciphertexts fared.
#[test]
fn who_is_told_to_come_later_does_not_depend_on_what_opened() {
    let busy = |opens: bool, layers: usize| {
        let mut world = World::of(&[ALICE]);
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut in_work = VecDeque::new();
        let mut busy = Vec::new();
        for _ in 0..1000 {
            if dice.roll(4) == 0
                && let Some(oldest) = in_work.pop_front()
            {
                assert_eq!(world.edge(EdgeRequest::Release(oldest)), Answer::Done);
            }
            let transaction = world.grant(&[ALICE]);
            let first = world.unwrap(transaction, ALICE, 0);
            busy.push(first == BUSY);
            if first == BUSY {
                assert_eq!(world.edge(EdgeRequest::Release(transaction)), Answer::Done);
                continue;
            }
            in_work.push_back(transaction);
            if !opens {
                continue;
            }
            // What is inside may be encrypted again.
            for _ in 1..layers {
                let answer = world.unwrap(transaction, ALICE, 0);
                assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
            }
            for _ in 0..layers {
                assert_eq!(world.opened(transaction, ALICE, 0), Answer::Done);
            }
        }
        busy
    };
    let nothing = busy(false, 1);
    assert!(nothing.contains(&true) && nothing.contains(&false));
    assert_eq!(busy(true, 1), nothing);
    assert_eq!(busy(true, 3), nothing);
}

/// A use is a failure when its mail ends: also that of a mail of which nobody says so.
#[test]
fn what_expires_has_failed_and_holds_no_place() {
    let mut world = World::of(&[ALICE]);
    for _ in 0..limits::MAX_IN_WORK {
        let transaction = world.grant(&[ALICE]);
        let answer = world.unwrap(transaction, ALICE, 0);
        assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
    }
    let transaction = world.grant(&[ALICE]);
    assert_eq!(world.unwrap(transaction, ALICE, 0), BUSY);
    world.now += Duration::from_secs(600);
    let transaction = world.grant(&[ALICE]);
    assert_eq!(world.unwrap(transaction, ALICE, 0), TOO_MANY);
    world.now += Duration::from_secs(3600);
    let transaction = world.grant(&[ALICE]);
    let answer = world.unwrap(transaction, ALICE, 0);
    assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
}

/// Of a mail with several layers those count that nobody has seen open.
#[test]
fn the_layers_of_a_mail_fail_each_by_itself() {
    let mut world = World::of(&[ALICE]);
    for round in 0..10 {
        let transaction = world.grant(&[ALICE]);
        for _ in 0..3 {
            let answer = world.unwrap(transaction, ALICE, 0);
            assert!(matches!(answer, Answer::Key(_)), "{round}: {answer:?}");
        }
        assert_eq!(world.opened(transaction, ALICE, 0), Answer::Done);
        world.edge(EdgeRequest::Release(transaction));
    }
    let transaction = world.grant(&[ALICE]);
    assert_eq!(world.unwrap(transaction, ALICE, 0), TOO_MANY);
}

/// A mail that took so long that its grant was forgotten, and opened, raised "one may be taken over".
#[test]
fn what_opens_after_its_grant_was_forgotten_is_nobodys_attack() {
    let mut world = World::of(&[ALICE]);
    let slow: Vec<Transaction> = (0..10).map(|_| world.grant(&[ALICE])).collect();
    for transaction in &slow {
        let answer = world.unwrap(*transaction, ALICE, 0);
        assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
    }
    world.now += MAX_LIFETIME;
    let transaction = world.grant(&[ALICE]);
    assert_eq!(world.keeper.grants.len(), 1);
    for transaction in &slow {
        assert_eq!(world.opened(*transaction, ALICE, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::Expired));
    }
    assert!(world.alerts().is_empty());
    // Of a mail that is known it is still the lie of a worker.
    for _ in 0..10 {
        assert_eq!(world.opened(transaction, ALICE, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::NotUsed));
    }
    assert_eq!(world.alerts(), [Alert::Hostile]);
}

#[test]
fn a_key_under_attack_from_everywhere_answers_late() {
    let mut world = World::of(&[ALICE]);
    let (wrapped, _) = wrapped_for(&world.keys[0].0.public);
    let mut delayed = 0;
    for number in 0..=250_u32 {
        let [.., a, b] = number.to_be_bytes();
        let transaction = world.grant_from(&[ALICE], None, &format!("10.{a}.{b}.1"));
        let request = Unwrap {
            transaction,
            recipient: address(ALICE),
            key: world.id(0),
            length: 32,
            wrapped: wrapped.clone(),
        };
        match world.keeper.unwrap(world.now, world.reach, request) {
            Decision::Work(_, Duration::ZERO) => assert!(number < 200),
            Decision::Work(_, delay) => {
                assert_eq!(delay, DELAY);
                delayed += 1;
            }
            Decision::Answer(answer) => panic!("{answer:?}"),
        }
        // What is in work has not failed.
        assert_eq!(world.edge(EdgeRequest::Release(transaction)), Answer::Done);
    }
    assert_eq!(delayed, 51);
    assert_eq!(world.alerts(), [Alert::Key { key: world.id(0) }]);
}
