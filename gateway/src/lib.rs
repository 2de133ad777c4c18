//! Kenin, a secure-mail gateway that acts as a trusted third-party verifier: the program.
//!
//! This crate wires the others together: configuration, the SMTP front end, the verdict engine,
//! the stores, metrics and the command line. It never parses ASN.1 or MIME itself, and it never
//! decides what a signature is worth; those are `kenin-smime`, `kenin-pki` and `kenin-policy`.
//! The first page to read is `pipeline`.

mod act;
mod arc;
pub mod check;
pub mod cli;
mod clock;
pub mod config;
mod delivered;
pub mod demo;
mod dns;
pub mod exit;
pub mod front;
#[doc(hidden)]
pub mod fuzzing;
mod harvest;
pub mod http;
mod identity;
pub mod init;
mod key_process;
mod keyfile;
mod keyring;
mod log;
mod metrics;
mod opening;
pub mod pipeline;
mod poison;
mod protect;
mod quarantine;
mod refresh;
pub mod reload;
mod reply;
pub mod run;
mod sender;
mod services;
pub mod snapshot;
mod sources;
mod status;
mod store;
mod substitute;
mod summary;
mod worker;
mod wrapper;
