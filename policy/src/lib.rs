//! Opinions: trust anchors and their uses, verdicts, what is stamped.
//!
//! The facts come from `kenin_smime` and `kenin_pki`; this crate decides what they are worth. Read
//! [`mod@step`] first (ask or answer), then `judge` (facts to verdict), then [`mod@stamp`] (verdict
//! to header fields) and [`mod@wrap`] (verdict to a message of the gateway's own). [`Reason`] is the one list of
//! reasons.
//!
//! It never does I/O, never reads a clock, and says `pass` in one place only, in `judge`, from a
//! value that proves every condition.

mod arrival;
mod decryption;
pub mod header;
pub mod holder;
mod identity;
mod idna;
mod judge;
pub mod jws;
pub mod mail;
pub mod mailbox;
pub mod note;
pub mod profile;
pub mod protect;
mod protection;
pub mod reason;
pub mod recipient;
pub mod scrub;
pub mod stamp;
pub mod step;
pub mod subject;
pub mod toml_error;
pub mod trust;
mod trustpath;
pub mod verdict;
pub mod wrap;
mod writer;

#[cfg(test)]
mod testing;

pub use arrival::ArrivalResults;
pub use decryption::Vouched;
pub use holder::HolderAttributes;
pub use judge::cipher_name;
pub use mail::{Act, Handling, Harvest, MailRules, OpeningRule, Parties, StampMode};
pub use mailbox::Shown;
pub use note::NoteId;
pub use profile::Profile;
pub use reason::{Actor, Reason, ResultWord, StrictReply};
pub use stamp::{HeaderEdits, StampContext, StampKey, Stated, stamp};
pub use step::{Answer, Answered, Case, News, Outcome, PathCache, Question, Step, step};
pub use subject::Language;
pub use toml_error::ConfigError;
pub use trust::{Anchor, AnchorSettings, Disclosure, TrustPolicy};
pub use verdict::Verdict;
pub use wrap::{Delivered, Wrapper, WrapperError, deliver, deliver_each, is_wrapped};
