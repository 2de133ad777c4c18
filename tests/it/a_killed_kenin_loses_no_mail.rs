//! `kill -9` of Kenin, and of the next hop, at random moments while mails go through by every road:
//! every recipient gets his mail as it is to be for him, or the sender is told that he does not, and one
//! gets it twice only where its sender sent the dot and got no answer. A thousand kills in `bench/soak`.

use std::time::Duration;

use kenin_tests::ledger::{Plan, Road, run_plan};

fn balanced(road: Road, mails: usize, kills: usize, seed: u64) {
    let plan = Plan {
        road,
        mails,
        kills,
        sink_kills: kills / 4,
        seed,
        deadline: Duration::from_secs(300),
    };
    println!("{plan:x?}");
    let account = run_plan(&plan);
    println!("{}: {account}\n{:#?}", road.name(), account.replies);
    assert!(account.balanced(), "{account:#?}");
    assert_eq!(account.sent, mails);
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
    assert_eq!(account.kills, kills);
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
