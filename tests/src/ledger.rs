//! The ledger: who sent what and was told what, what is at the sink, and one checker of the
//! invariants over both. Mails go through Kenin by every road while Kenin and the sink are killed at
//! random moments. Bounded in the tests, long in `bench/soak`.
//!
//! I4 and I5 speak of encryption and decryption, which Kenin does not do yet.

mod account;
mod answers;
mod courier;
mod plan;
mod postfix_log;
mod roads;

pub use account::{Account, Circumstances, Invariant, Ledger, Truth, Try, Violation};
pub use answers::Answers;
pub use courier::{Courier, Leave};
pub use plan::{Letters, Plan, run_plan};
pub use roads::{Road, behind_postfix};
