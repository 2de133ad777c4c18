//! `timing`: whether the time that an answer takes tells what a private key has seen.
//!
//! `unwrap` times the call that is given somebody else's ciphertext, as finely as the clock allows. `reply` times what
//! a client sees of it: the answer to its mail.

mod reply;
mod unwrap;
mod welch;

use serde_json::Value;

use crate::load::Trouble;

/// The unwrap call, so many times.
pub(crate) fn unwrap(numbers: &[&str]) -> Result<Value, Trouble> {
    unwrap::measure(number(numbers, CALLS)?)
}

/// The answers to so many mails of each class.
pub(crate) fn reply(numbers: &[&str]) -> Result<Value, Trouble> {
    reply::measure(number(numbers, MAILS)?)
}

fn number(numbers: &[&str], usual: usize) -> Result<usize, Trouble> {
    match numbers {
        [] => Ok(usual),
        [number] => Ok(number.parse()?),
        _ => Err("timing takes one number".into()),
    }
}

/// performance.md.
const CALLS: usize = 1_000_000;
/// DEC-07 of threats.md: of each class.
const MAILS: usize = 2_000;
/// performance.md: what |t| stays below where nothing is told.
const BAR: f64 = 4.5;
