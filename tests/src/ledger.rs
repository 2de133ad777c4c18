//! The ledger: who sent what to whom and was told what, what is at the sink, and one checker of the
//! invariants over both, for each recipient of each mail. Mails go through Kenin by every road while
//! Kenin and the sink are killed at random moments. Some of them are for some eyes only. Bounded in the tests, long in
//! `bench/soak`.

mod account;
mod answers;
mod attempt;
mod courier;
pub mod fan;
mod plan;
mod postfix_log;
mod roads;
mod sealed;

pub use account::{Account, Circumstances, HeldMail, Invariant, Ledger, Secret, Truth, Violation};
pub use answers::Answers;
pub use attempt::{Told, Try};
pub use courier::{Courier, Leave};
pub use plan::{Letters, Plan, run_plan, until_settled};
pub use roads::{Road, behind_postfix};
