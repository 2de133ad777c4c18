//! Who gets which copy of a mail: for whom it is encrypted and how, whether it is signed, and who gets none.
//!
//! Read [`plan`](mod@plan) first (wishes and certificates to a plan, by asking and answering), then [`copy`](fn@copy)
//! (the plan and a message to another message). Where encryption is required nothing goes in clear, whatever could not
//! be had or failed: [`Course::Clear`] is said in one place only, for recipients of whom nothing requires more.
//!
//! RFC 8551 §2.7, §3; RFC 9788 (header protection).

mod cipher;
mod copy;
mod difference;
pub mod plan;
mod references;

pub use cipher::choose as cipher_for;
pub use copy::{CopyError, copy, copy_again};
pub use difference::difference;
pub use plan::{
    Answer, Answered, Candidate, Course, Encryption, Found, Group, Outgoing, Plan, Protection,
    Question, Reader, Refusal, Step, To, Unavailable, step,
};
pub use references::{answered, message_ids, visible};
