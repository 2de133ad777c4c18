//! The harness: a world of real parts on loopback (Postfix, Exim, OpenSSL, opendkim, a recording
//! sink, a raw SMTP client, Kenin itself as a program) and a forger of mail. Shared by the end-to-end tests
//! and by `bench/soak`.
//!
//! It never sleeps for luck (every wait is for a condition and has a deadline), never uses a network
//! but loopback, and stops only what it started.
// A harness ends a test by panicking: that is its job.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod bombs;
pub mod cargo_rules;
pub mod client;
pub mod disk;
pub mod dkimpy;
pub mod dns;
pub mod encryption;
pub mod exim;
pub mod faults;
pub mod forge;
pub mod held;
pub mod http_server;
pub mod kenin;
pub mod ledger;
pub mod memory;
pub mod mixture;
pub mod neighbours;
pub mod nss;
pub mod opendkim;
pub mod opened;
pub mod openssl_mail;
pub mod openssl_ocsp;
pub mod openssl_tsa;
pub mod oracles;
pub mod parts;
pub mod postfix;
pub mod postgres;
pub mod proxy;
pub mod readers;
pub mod redis;
pub mod sealing;
pub mod signing;
pub mod sink;
pub mod slapd;
pub mod softhsm;
pub mod strace;
pub mod verify;
pub mod world;
