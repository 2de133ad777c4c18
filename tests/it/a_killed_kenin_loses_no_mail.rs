//! `kill -9` of Kenin at random moments while Postfix sends 200 mails through it: every mail arrives,
//! and one arrives twice only where Postfix sent the dot and got no answer. 2,000 in `bench/soak`.

use std::time::Duration;

use kenin_tests::ledger::{Plan, run_plan_in};

fn balanced(mode: &str, seed: u64) {
    let plan = Plan {
        mails: 200,
        kills: 12,
        seed,
        deadline: Duration::from_secs(300),
    };
    let account = run_plan_in(&plan, mode);
    println!("{mode}: {account:?}");
    assert!(account.balanced(), "{account:#?}");
    assert_eq!(account.arrived, plan.mails);
    assert_eq!(account.kills, plan.kills);
}

#[test]
fn after_the_queue() {
    balanced("after-queue", 0x6b65_6e69);
}

#[test]
fn beside_the_queue() {
    balanced("milter", 0x6b65_6e6b);
}

#[test]
fn before_the_queue() {
    balanced("before-queue", 0x6b65_6e6a);
}
