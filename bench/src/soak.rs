//! `soak`: mails from a real Postfix through Kenin while Kenin is killed at random moments; in the
//! end every mail is accounted for. The tests run the same plan with a tenth of the mails.

use std::error::Error;
use std::time::{Duration, Instant};

use kenin_tests::ledger::{Plan, run_plan};
use serde_json::{Value, json};

/// One kill for so many mails.
const MAILS_A_KILL: usize = 40;

/// Runs the plan and prints the account; an account that does not balance is an error.
pub(crate) fn soak(mails: usize) -> Result<Value, Box<dyn Error>> {
    let plan = Plan {
        mails,
        kills: mails / MAILS_A_KILL,
        seed: 0x6b65_6e69_6e21,
        deadline: Duration::from_secs(1800),
    };
    println!(
        "{} mails, {} kills (SIGKILL at random moments)",
        plan.mails, plan.kills
    );
    let begin = Instant::now();
    let account = run_plan(&plan);
    println!(
        "sent {}, arrived {}, lost {}, duplicates {}, deliveries in doubt {}, unexplained {}, wrong {}; {:.0} s",
        account.sent,
        account.arrived,
        account.lost.len(),
        account.duplicates,
        account.in_doubt,
        account.unexplained.len(),
        account.wrong.len(),
        begin.elapsed().as_secs_f64()
    );
    if !account.balanced() {
        return Err(format!("the account does not balance: {account:?}").into());
    }
    Ok(json!({
        "bench": "soak", "mails": mails, "kills": account.kills, "seed": plan.seed,
        "sent": account.sent, "arrived": account.arrived, "lost": account.lost.len(),
        "duplicates": account.duplicates, "in_doubt": account.in_doubt,
    }))
}
