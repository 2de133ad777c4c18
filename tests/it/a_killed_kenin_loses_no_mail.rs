//! `kill -9` of Kenin, and of the next hop, at random moments while mails go through by every road:
//! every recipient gets his mail as it is to be for him, or the sender is told that he does not, and one
//! gets it twice only where its sender sent the dot and got no answer. A thousand kills in `bench/soak`.

use std::time::Duration;

use kenin_tests::ledger::{Account, Plan, Road, run_plan};

fn run(road: Road, mails: usize, secrets: bool, kills: usize, seed: u64) -> Account {
    let plan = Plan {
        road,
        mails,
        secrets,
        kills,
        sink_kills: kills / 4,
        seed,
        deadline: Duration::from_secs(300),
    };
    println!("{plan:x?}");
    let account = run_plan(&plan);
    println!("{}: {account}\n{:#?}", road.name(), account.replies);
    assert!(account.balanced(), "{account:#?}");
    assert_eq!((account.sent, account.kills), (mails, kills));
    account
}

fn balanced(road: Road, mails: usize, kills: usize, seed: u64) {
    let account = run(road, mails, false, kills, seed);
    let settled = account.arrived + account.notified;
    if road.divides() {
        // Every way that a mail to several can end has happened; an LMTP client of its own notifies
        // nobody.
        assert!(
            account.deliveries > mails && account.arrived > mails,
            "{account}"
        );
        assert!(account.notified > 0 || road == Road::Lmtp, "{account}");
        assert!(settled >= account.accepted, "{account}");
    } else {
        assert_eq!((account.accepted, account.arrived), (mails, mails));
    }
}

/// I4, I5: what is opened for somebody is shown to nobody else, and what must be encrypted to nobody at all, by the next
/// hop, a notification, a file or the log.
#[test]
fn what_is_for_some_eyes_only_is_neither_lost_nor_shown() {
    for (road, mails, kills, seed) in [
        (Road::Smtp, 168, 6, 0x6b65_6e73),
        (Road::Lmtp, 72, 3, 0x6b65_6e74),
    ] {
        let account = run(road, mails, true, kills, seed);
        // Two of three, of eight kinds: three of these are opened for somebody, and one of them is held.
        let each = mails / 3 * 2 / 8;
        assert!(account.opened >= 2 * each, "{account}: {}", account.opened);
        assert!(account.held >= each, "{account}: {}", account.held);
        assert!(
            account.encrypted >= 2 * each,
            "{account}: {}",
            account.encrypted
        );
    }
}

#[test]
fn a_client_of_its_own_loses_none() {
    balanced(Road::Smtp, 1200, 24, 0x6b65_6e6c);
}

#[test]
fn an_lmtp_client_loses_none() {
    balanced(Road::Lmtp, 1200, 24, 0x6b65_6e6d);
}

#[test]
fn after_the_queue() {
    balanced(Road::AfterQueue, 150, 8, 0x6b65_6e69);
}

#[test]
fn beside_the_queue() {
    balanced(Road::Milter, 150, 8, 0x6b65_6e6b);
}

#[test]
fn before_the_queue() {
    balanced(Road::BeforeQueue, 150, 8, 0x6b65_6e6a);
}

#[test]
fn behind_the_queue_by_lmtp() {
    balanced(Road::PostfixLmtp, 150, 8, 0x6b65_6e6e);
}
